"""Every parameter of a results tree with its estimate, standard error and interval, for people to read.

Summaries and comparisons read estimates here and nowhere else, whichever backend wrote the tree.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import structures
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, check_probability, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.structures.base import Structure
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.posterior_draws import (
    beta_draws,
    is_posterior,
    own_draws,
    psi_draws,
    rho_draws,
    summarised,
    tau_draws,
    unless_constant,
)
from bayesmeta.tree.specification import group

BETA, TAU, RHO, PSI = "beta", "tau", "rho", "psi"
TAU2 = "tau2"  # how the variances among the entries of Psi are called
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
    `kind` ("beta", "tau" or "rho"), `level` ("" for beta), `term` (coefficient, effect or pair of effects; "" for the
    SD and the correlation of a whole level, as `tau[study]` of structure car1), `estimate`,
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
    records = (
        [*_of_draws(tree, prob)]
        if is_posterior(tree)
        else [*_fixed(tree, z), *_between(tree, z, _standard_errors(tree))]
    )
    return _labelled(sorted(records, key=lambda record: (BETA, TAU, RHO).index(str(record[0]))))


class Row(NamedTuple):
    """A row of `parameters`."""

    kind: str
    level: str
    term: str
    estimate: float
    se: float
    lower: float
    upper: float

    @property
    def label(self) -> str:
        return _label(self.kind, self.level, self.term)


def posterior_rows(tree: xr.DataTree, prob: float) -> list[Row]:
    """The rows of `parameters` of a posterior, in any order, for what asks for many intervals."""
    return [Row(*record) for record in _of_draws(tree, prob)]  # type: ignore[arg-type]  # as they are yielded


def covariances(tree: xr.DataTree, prob: float = 0.95) -> pd.DataFrame:
    """Variances and covariances between groups of a results tree, as `parameters` has the rest.

    The kind of all is "psi", their labels are `tau2[unit, PD]` and `psi[unit, PD~AL]`. Intervals of variances are those
    of their SDs squared, of covariances normal; of a posterior they are those of the draws.

    Raises
    ------
    SpecError
        When `tree` is not a results tree with estimates, or `prob` is not a probability.
    """
    prob = check_probability(prob)
    z = float(ndtri(0.5 + prob / 2))
    records = _psi_of_draws(tree, prob) if is_posterior(tree) else _psi(tree, z)
    return _labelled(sorted(records, key=lambda record: record[0] != TAU2)).assign(kind=PSI)


def check_parameter(name: str, labels: Iterable[object], kinds: Iterable[str] = ()) -> None:
    """That a parameter, or a kind of them, has this name; other spellings are answered with the right one.

    labels : of the parameters, such as "tau[district, Intercept]". kinds : "beta", "tau" ...

    >>> check_parameter("tau_district", ["beta[Intercept]", "tau[district, Intercept]"])
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: no parameter 'tau_district'; it is called 'tau[district, Intercept]'
      known: beta[Intercept], tau[district, Intercept]
    """
    known = list(dict.fromkeys([*map(str, labels), *kinds]))
    if name in known:
        return
    plain = _plain(name)
    meant = [each for each in known if plain == _plain(each)] or [
        label for label in known if plain in _other_spellings(label)
    ]
    if meant:
        called = " or ".join(map(repr, meant[:3]))
        raise SpecError(f"no parameter {shown(name)}; it is called {called}\n  known: {listing(known, 20)}")
    check_name(name, known, "no parameter", "known")


def _other_spellings(label: str) -> set[str]:
    """How trees, samplers, other packages and earlier versions call a parameter, in plain letters."""
    parts = re.fullmatch(r"(\w+)\[(?:(.*?), )?(.*)\]", label)
    if parts is None:
        return set()
    kind, level, term = parts.groups()
    if kind == BETA:
        inner = label[len(BETA) + 1 : -1]
        spelt = [inner, *(form.format(inner) for form in ("beta_{}", "b_{}", "beta.{}", "beta {}", "b[{}]"))]
        spelt.append(label)
        return {_plain(each) for each in spelt + ["mu", "intrcpt", "(Intercept)", "b0"] * (inner == schema.INTERCEPT)}
    shared = [kind] if level is None else [f"{kind}_{level}", f"{kind}.{level}", f"{level}.{kind}", f"{level} / {kind}"]
    names = {TAU: (TAU, "sd"), TAU2: (TAU2, PSI, "tau^2", "variance", "sigma2")}.get(kind, (kind,))
    for name in names:
        shared += [f"{form}{end}" for form in (f"{name}_{level}", f"{name}[{level}]") for end in ("", f"[{term}]")]
        shared += [f"{level}.{name}", f"{name}[{term}]", f"{name}[{level}, {term}]", f"{name}[{level},{term}]", name]
    return {_plain(each) for each in shared}


def _plain(name: str) -> str:
    return re.sub(r"\s", "", name).lower()


def level_structures(tree: xr.DataTree) -> dict[str, Structure]:
    """The covariance structure of every level, outer to inner."""
    return {level: structures.from_json(value) for level, value in json.loads(tree.attrs["psi"]).items()}


def effects(tree: xr.DataTree, level: str) -> list[str]:
    """Labels of the random effects of a level; none for a level that only groups."""
    return [str(effect) for effect in group(tree, schema.CONSTANT)[schema.effect(level)].values]


def _labelled(records: Sequence[tuple[object, ...]]) -> pd.DataFrame:
    """Rows of the columns above, indexed by the names of the parameters."""
    labels = pd.Index([_label(*record[:3]) for record in records], name="parameter", dtype=object)
    columns = dict(zip(COLUMNS, zip(*records, strict=True), strict=True)) if records else dict.fromkeys(COLUMNS, ())
    words = {name: list(columns[name]) for name in COLUMNS[:3]}
    numbers = {name: np.array(columns[name], dtype=float) for name in COLUMNS[3:]}
    return pd.DataFrame(words | numbers, index=labels)


def _label(kind: object, level: object, term: object) -> str:
    return f"{kind}[{', '.join(str(part) for part in (level, term) if part)}]"


def _of_draws(tree: xr.DataTree, prob: float) -> Iterator[tuple[object, ...]]:
    """The rows of a posterior, which are those of a fit."""
    coef = [str(label) for label in group(tree, schema.POSTERIOR)[schema.COEF].values]
    exact = exact_marginals.statistics(tree, "beta", prob)
    yield from _rows(BETA, "", coef, summarised(beta_draws(tree), prob) if exact is None else exact)
    for level, structure in level_structures(tree).items():
        labels = effects(tree, level)
        if structure.own_parameters:
            yield from _rows(TAU, level, _sds(structure, labels), _own(tree, level, TAU, prob))
            yield from _rows(RHO, level, [""], _own(tree, level, RHO, prob))
            continue
        pairs = [f"{a}~{b}" for a, b in combinations(labels, 2)]
        sds = exact_marginals.of_sds(tree, level, structure, len(labels), prob)
        if sds is None:
            tau = tau_draws(tree, level)
            sds = unless_constant(summarised(tau, prob), tau.mean(0))
        yield from _rows(TAU, level, labels, sds)
        if not pairs:
            continue
        known = exact_marginals.of_correlations(tree, level, structure, len(labels), prob)
        if len(known) < len(pairs):
            correlations = unless_constant(summarised(rho_draws(tree, level), prob), 1.0)
        else:
            correlations = {name: np.empty(len(pairs)) for name in known[0]}
        for at, own in known.items():
            for name, value in own.items():
                correlations[name][at] = value
        yield from _rows(RHO, level, pairs, correlations)


def _own(tree: xr.DataTree, level: str, kind: str, prob: float) -> dict[str, FloatArray]:
    """Statistics of the SDs, or of the correlation, of a level with parameters of its own."""
    name = schema.tau(level) if kind == TAU else schema.rho(level)
    exact = exact_marginals.statistics(tree, name, prob)
    return (
        {key: np.ravel(values) for key, values in exact.items()}
        if exact
        else summarised(own_draws(tree, level, kind), prob)
    )


def _sds(structure: Structure, labels: Sequence[str]) -> Sequence[str]:
    """The terms of the SDs of a level with parameters of its own: its effects, or "" for one SD of all."""
    return labels if structure.n_tau(len(labels)) > 1 else [""]


def _rows(
    kind: str, level: str, terms: Sequence[str], statistics: Mapping[str, FloatArray]
) -> Iterator[tuple[object, ...]]:
    for term, *values in zip(terms, *statistics.values(), strict=True):
        yield kind, level, term, *values


def _psi_of_draws(tree: xr.DataTree, prob: float) -> Iterator[tuple[object, ...]]:
    """The rows of `covariances` of a posterior."""
    for level, structure in level_structures(tree).items():
        labels, exact = effects(tree, level), exact_marginals.statistics(tree, schema.psi(level), prob)
        if structure.own_parameters:
            terms = _sds(structure, labels)
            at = np.arange(len(terms))
            variances = {name: values[at, at] for name, values in exact.items()} if exact else None
            yield from _rows(TAU2, level, terms, variances or summarised(own_draws(tree, level, TAU) ** 2, prob))
            continue
        exact = exact or summarised(psi_draws(tree, level), prob)
        with np.errstate(over="ignore"):
            size = np.sqrt(np.outer(*2 * [np.diagonal(exact["mean"])]))
        for i, j in _lower(len(labels)):
            statistics = unless_constant({name: values[i, j][None] for name, values in exact.items()}, size[i, j])
            yield (*_entry(level, labels, i, j), *(float(values[0]) for values in statistics.values()))


def _psi(tree: xr.DataTree, z: float) -> Iterator[tuple[object, ...]]:
    """The rows of `covariances` of a fit."""
    estimate, errors = group(tree, schema.ESTIMATE), _standard_errors(tree, of_psi=True)
    rows = [row for row in _between(tree, z, errors) if row[0] == TAU]
    bounds = {row[1:3]: np.array(row[5:], dtype=float) ** 2 for row in rows}
    for level, structure in level_structures(tree).items():
        labels, psi = effects(tree, level), estimate[schema.psi(level)].to_numpy()
        stored = (
            np.atleast_1d(estimate[schema.tau2_se(level)].to_numpy()) if schema.tau2_se(level) in estimate else None
        )
        if structure.own_parameters:
            for i, term in enumerate(_sds(structure, labels)):
                se = np.nan if stored is None else stored[i]
                yield TAU2, level, term, psi[i, i], se, *bounds[level, term]
            continue
        for i, j in _lower(len(labels)):
            se = errors[level].psi[i, j]
            if i != j:
                yield *_entry(level, labels, i, j), psi[i, j], se, psi[i, j] - z * se, psi[i, j] + z * se
                continue
            se = se if stored is None else stored[i]
            yield *_entry(level, labels, i, i), psi[i, i], se, *bounds[level, labels[i]]


def _lower(d: int) -> Iterator[tuple[int, int]]:
    yield from ((i, j) for i in range(d) for j in range(i + 1))


def _entry(level: str, labels: Sequence[str], i: int, j: int) -> tuple[str, str, str]:
    """Kind, level and term of an entry of Psi."""
    return (TAU2, level, labels[i]) if i == j else (PSI, level, f"{labels[j]}~{labels[i]}")


def _fixed(tree: xr.DataTree, z: float) -> Iterator[tuple[object, ...]]:
    estimate = group(tree, schema.ESTIMATE)
    columns = (estimate[name].values for name in (schema.COEF, "beta", "beta_se"))
    for coef, beta, se in zip(*columns, strict=True):
        yield BETA, "", str(coef), beta, se, beta - z * se, beta + z * se


def _between(tree: xr.DataTree, z: float, errors: Mapping[str, "_Errors"]) -> Iterator[tuple[object, ...]]:
    estimate = group(tree, schema.ESTIMATE)
    structures = level_structures(tree)
    for level, own in errors.items():
        labels, structure = effects(tree, level), structures[level]
        labels = list(_sds(structure, labels)) if structure.own_parameters else labels
        taus = np.atleast_1d(estimate[schema.tau(level)].to_numpy())
        for effect, tau, se in zip(labels, taus, own.tau[: len(labels)], strict=True):
            ratio = np.exp(z * se / tau) if se < tau else np.nan
            yield TAU, level, effect, tau, se, tau / ratio, tau * ratio
        if structure.own_parameters:
            yield RHO, level, "", *_own_rho(structure, float(estimate[schema.rho(level)]), own.rho, z)
            continue
        place = {f"{a}~{b}": (i, j) for i, a in enumerate(labels) for j, b in enumerate(labels)}
        if schema.rho(level) not in estimate:
            continue
        for pair, rho in zip(estimate[schema.pair(level)].values, estimate[schema.rho(level)].values, strict=True):
            se = own.rho[place[str(pair)]]
            centre, half = (np.arctanh(rho), z * se / (1 - rho**2)) if abs(rho) < 1 else (np.nan, np.nan)
            yield RHO, level, str(pair), rho, se, np.tanh(centre - half), np.tanh(centre + half)


def _own_rho(structure: Structure, rho: float, errors: FloatArray, z: float) -> tuple[float, ...]:
    """A correlation over one unit of time, its SE, and an interval that is symmetric in log(-log rho).

    So the interval is the same in any unit of time. errors : SEs of all pairs.
    """
    assert structure.positions is not None
    lag = np.abs(np.subtract.outer(structure.positions, structure.positions))
    lag[np.isnan(errors)] = 0.0
    known = np.unravel_index(np.argmin(np.where(lag > 0, lag, np.inf)), lag.shape)
    if not (0 < rho < 1 and lag[known] > 0):
        return rho, np.nan, np.nan, np.nan
    se = float(errors[known] * rho ** (1 - lag[known]) / lag[known])
    decay = -np.log(rho)
    half = z * se / (rho * decay)
    return rho, se, float(np.exp(-decay * np.exp(half))), float(np.exp(-decay * np.exp(-half)))


def free_of_levels(tree: xr.DataTree) -> dict[str, slice]:
    """The place of every level's free parameters in xi; all empty where the method searched for none."""
    places, stop = {}, 0
    for level, structure in level_structures(tree).items():
        d = len(effects(tree, level))
        start, stop = stop, stop + (structure.n_free(d) if d else 0)
        places[level] = slice(start, stop)
    searched = group(tree, schema.ESTIMATE).sizes[schema.FREE] == stop
    return places if searched else dict.fromkeys(places, slice(0))


class _Errors(NamedTuple):
    """SEs of the SDs (a,), correlations (a, a) and entries of Psi (a, a) of one level."""

    tau: FloatArray
    rho: FloatArray
    psi: FloatArray


def _standard_errors(tree: xr.DataTree, of_psi: bool = False) -> dict[str, _Errors]:
    """The SEs of every level; those of the entries of Psi where they are asked for."""
    estimate, structures, errors = group(tree, schema.ESTIMATE), level_structures(tree), {}
    xi, cov = estimate["xi"].values, estimate["xi_cov"].values
    for level, free in free_of_levels(tree).items():
        d = len(effects(tree, level))
        none = _Errors(np.full(d, np.nan), *np.full((2, d, d), np.nan))
        errors[level] = _delta(structures[level], xi[free], cov[free, free], d, of_psi) if len(xi[free]) else none
    return errors


def _delta(structure: Structure, xi: FloatArray, cov: FloatArray, d: int, of_psi: bool) -> _Errors:
    """SEs of one level from the covariance of its free parameters."""
    psi = np.asarray(structure.psi(xi, d))
    sd = np.sqrt(np.diag(psi))

    def se(slope: FloatArray, size: float) -> float:
        gradient = structure.pullback(xi, slope, d)
        used = np.flatnonzero(gradient)
        variance = gradient[used] @ cov[np.ix_(used, used)] @ gradient[used]
        return float(np.sqrt(variance)) if variance > (_CONSTANT * size) ** 2 else np.nan

    tau_se, rho_se, psi_se, unit = np.full(d, np.nan), *np.full((2, d, d), np.nan), np.eye(d)
    for i, j in _lower(d) if of_psi else ():
        slope = (np.outer(unit[i], unit[j]) + np.outer(unit[j], unit[i])) / 2
        psi_se[i, j] = se(slope, sd[i] * sd[j])
    for i in map(int, np.flatnonzero(sd)):
        tau_se[i] = se(np.outer(unit[i], unit[i]) / (2 * sd[i]), sd[i])
        for j in map(int, np.flatnonzero(sd[:i])):
            a, b = unit[i] / sd[i], unit[j] / sd[j]
            rho = psi[i, j] / (sd[i] * sd[j])
            slope = (np.outer(a, b) + np.outer(b, a) - rho * (np.outer(a, a) + np.outer(b, b))) / 2
            rho_se[i, j] = rho_se[j, i] = se(slope, 1.0)
    return _Errors(tau_se, rho_se, psi_se)
