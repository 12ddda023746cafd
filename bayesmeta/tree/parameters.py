"""Every parameter of a results tree with its estimate, standard error and interval, for people to read.

Summaries and comparisons read estimates here and nowhere else, whichever backend wrote the tree.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import structures
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_probability
from bayesmeta.structures.base import Structure
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, rho_draws, summarised, tau_draws, unless_constant
from bayesmeta.tree.specification import group

BETA, TAU, RHO = "beta", "tau", "rho"
COLUMNS = ("kind", "level", "term", "estimate", "se", "lower", "upper")
_CONSTANT = 1e-10  # an SE below this fraction of its parameter is rounding: the structure does not free the parameter


def parameters(tree: xr.DataTree, prob: float = 0.95) -> pd.DataFrame:
    """Fixed effects, between-group SDs and correlations of a results tree, in this order.

    Parameters
    ----------
    tree : results tree.
    prob : probability of the intervals, between 0 and 1.

    Returns
    -------
    DataFrame indexed by labels such as `beta[ablat]`, `tau[district, Intercept]`, `rho[unit, PD~AL]`. Its columns are
    `kind` ("beta", "tau" or "rho"), `level` ("" for beta), `term` (coefficient, effect or pair of effects), `estimate`,
    `se`, `lower` and `upper`. SEs of SDs and correlations follow from those of the free parameters by the delta method,
    and their Wald intervals are symmetric in log tau and atanh rho (Pinheiro and Bates 2000, section 2.4.3). Both are
    NaN for what the structure holds constant, at a boundary, and where the method gives no SE; so is the interval of
    an SD that is smaller than its SE, where the normal approximation in log tau means nothing. Of a posterior, they are
    mean, SD and equal-tailed interval of the draws, NaN but for the mean where the structure holds a value constant.

    Raises
    ------
    SpecError
        When `tree` is not a results tree with estimates, or `prob` is not a probability.
    """
    prob = check_probability(prob)
    z = float(ndtri(0.5 + prob / 2))
    records = _of_draws(tree, prob) if is_posterior(tree) else [*_fixed(tree, z), *_between(tree, z)]
    rows = pd.DataFrame(records, columns=list(COLUMNS))
    rows.index = pd.Index([_label(*row) for row in rows[["kind", "level", "term"]].itertuples(index=False)])
    order = [BETA, TAU, RHO]
    return rows.rename_axis("parameter").sort_values("kind", key=lambda kind: kind.map(order.index), kind="stable")


def level_structures(tree: xr.DataTree) -> dict[str, Structure]:
    """The covariance structure of every level, outer to inner."""
    return {level: structures.from_json(value) for level, value in json.loads(tree.attrs["psi"]).items()}


def effects(tree: xr.DataTree, level: str) -> list[str]:
    """Labels of the random effects of a level; none for a level that only groups."""
    return [str(effect) for effect in group(tree, schema.CONSTANT)[schema.effect(level)].values]


def _label(kind: str, level: str, term: str) -> str:
    return f"{kind}[{level}, {term}]" if level else f"{kind}[{term}]"


def _of_draws(tree: xr.DataTree, prob: float) -> Iterator[tuple[object, ...]]:
    """The rows of a posterior, which are those of a fit."""
    coef = [str(label) for label in group(tree, schema.POSTERIOR)[schema.COEF].values]
    yield from _rows(BETA, "", coef, summarised(beta_draws(tree), prob))
    for level in level_structures(tree):
        labels, tau, rho = effects(tree, level), tau_draws(tree, level), rho_draws(tree, level)
        pairs = [f"{a}~{b}" for a, b in combinations(labels, 2)]
        yield from _rows(TAU, level, labels, unless_constant(summarised(tau, prob), tau.mean(0)))
        yield from _rows(RHO, level, pairs, unless_constant(summarised(rho, prob), 1.0))


def _rows(
    kind: str, level: str, terms: Sequence[str], statistics: Mapping[str, FloatArray]
) -> Iterator[tuple[object, ...]]:
    for term, *values in zip(terms, *statistics.values(), strict=True):
        yield kind, level, term, *values


def _fixed(tree: xr.DataTree, z: float) -> Iterator[tuple[object, ...]]:
    estimate = group(tree, schema.ESTIMATE)
    columns = (estimate[name].values for name in (schema.COEF, "beta", "beta_se"))
    for coef, beta, se in zip(*columns, strict=True):
        yield BETA, "", str(coef), beta, se, beta - z * se, beta + z * se


def _between(tree: xr.DataTree, z: float) -> Iterator[tuple[object, ...]]:
    estimate = group(tree, schema.ESTIMATE)
    for level, (tau_se, rho_se) in _standard_errors(tree).items():
        labels = effects(tree, level)
        for effect, tau, se in zip(labels, estimate[schema.tau(level)].values, tau_se, strict=True):
            ratio = np.exp(z * se / tau) if se < tau else np.nan
            yield TAU, level, effect, tau, se, tau / ratio, tau * ratio
        place = {f"{a}~{b}": (i, j) for i, a in enumerate(labels) for j, b in enumerate(labels)}
        if schema.rho(level) not in estimate:
            continue
        for pair, rho in zip(estimate[schema.pair(level)].values, estimate[schema.rho(level)].values, strict=True):
            se = rho_se[place[str(pair)]]
            centre, half = (np.arctanh(rho), z * se / (1 - rho**2)) if abs(rho) < 1 else (np.nan, np.nan)
            yield RHO, level, str(pair), rho, se, np.tanh(centre - half), np.tanh(centre + half)


def free_of_levels(tree: xr.DataTree) -> dict[str, slice]:
    """The place of every level's free parameters in xi; all empty where the method searched for none."""
    places, stop = {}, 0
    for level, structure in level_structures(tree).items():
        d = len(effects(tree, level))
        start, stop = stop, stop + (structure.n_free(d) if d else 0)
        places[level] = slice(start, stop)
    searched = group(tree, schema.ESTIMATE).sizes[schema.FREE] == stop
    return places if searched else dict.fromkeys(places, slice(0))


def _standard_errors(tree: xr.DataTree) -> dict[str, tuple[FloatArray, FloatArray]]:
    """Per level the SEs of tau (a,) and of rho (a, a)."""
    estimate, structures, errors = group(tree, schema.ESTIMATE), level_structures(tree), {}
    xi, cov = estimate["xi"].values, estimate["xi_cov"].values
    for level, free in free_of_levels(tree).items():
        d = len(effects(tree, level))
        none = np.full(d, np.nan), np.full((d, d), np.nan)
        errors[level] = _delta(structures[level], xi[free], cov[free, free], d) if len(xi[free]) else none
    return errors


def _delta(structure: Structure, xi: FloatArray, cov: FloatArray, d: int) -> tuple[FloatArray, FloatArray]:
    """SEs of the SDs and correlations of one level from the covariance of its free parameters."""
    psi = np.asarray(structure.psi(xi, d))
    sd = np.sqrt(np.diag(psi))

    def se(slope: FloatArray, size: float) -> float:
        gradient = structure.pullback(xi, slope, d)
        used = np.flatnonzero(gradient)
        variance = gradient[used] @ cov[np.ix_(used, used)] @ gradient[used]
        return float(np.sqrt(variance)) if variance > (_CONSTANT * size) ** 2 else np.nan

    tau_se, rho_se, unit = np.full(d, np.nan), np.full((d, d), np.nan), np.eye(d)
    for i in np.flatnonzero(sd):
        tau_se[i] = se(np.outer(unit[i], unit[i]) / (2 * sd[i]), sd[i])
        for j in np.flatnonzero(sd[:i]):
            a, b = unit[i] / sd[i], unit[j] / sd[j]
            rho = psi[i, j] / (sd[i] * sd[j])
            slope = (np.outer(a, b) + np.outer(b, a) - rho * (np.outer(a, a) + np.outer(b, b))) / 2
            rho_se[i, j] = rho_se[j, i] = se(slope, 1.0)
    return tau_se, rho_se
