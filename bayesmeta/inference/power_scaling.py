"""Sensitivity of a posterior to powers of its prior and of its likelihood, without another fit."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_bayes, check_boolean, check_number, is_number, shown
from bayesmeta.bayes import many_marginals, power_scaled
from bayesmeta.bayes.engines import choose
from bayesmeta.bayes.importance import NotIntegratedError
from bayesmeta.bayes.many_marginals import along_axis, terms
from bayesmeta.bayes.many_priors import Served, alone
from bayesmeta.bayes.power_scaled import LIKELIHOOD, PRIOR, Scaled, distances
from bayesmeta.bayes.shared_lattice import SharedLattice
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.inference.bayes_factors import Model, model_of
from bayesmeta.inference.posterior_parts import GOOD_K
from bayesmeta.tree.posterior_draws import beta_draws, own_draws, rho_draws, tau_draws
from bayesmeta.tree.specification import group, reading_once

ALPHAS = (0.8, 0.9, 0.99, 1.01, 1.1, 1.25)
STEP = (0.99, 1.01)  # powers that sensitivity is measured by, always among those computed
THRESHOLD = 0.05
ENDS = 1 / 8000  # probability beyond the range of values that distances go over: that of 4,000 draws
POINTS = 161  # at which the distribution function of a coefficient is computed
WEIGHTLESS = 1e-9  # weight, relative to the largest, of points that it leaves out
CONFLICT, STRONG, NEITHER = "prior-data conflict", "strong prior or weak likelihood", "none"


def power_scaling(
    tree: xr.DataTree,
    alpha: Sequence[float] = ALPHAS,
    *,
    blocks: bool = False,
    threshold: float = THRESHOLD,
) -> xr.Dataset:
    """How much a posterior changes when its prior, or its likelihood, counts a little more or less.

    Both are raised to powers about one. A posterior that moves with the prior and with the likelihood lies between
    two that disagree; one that moves with the prior alone is held by it.

    Parameters
    ----------
    tree : DataTree
        A posterior of `bm.sample`, also one read back from a file.
    alpha : sequence of float, default (0.8, 0.9, 0.99, 1.01, 1.1, 1.25)
        Powers, positive; those of the sensitivity itself, 0.99 and 1.01, are added where they are missing.
    blocks : bool, default False
        Whether the priors of coefficients, SDs and correlations are scaled one after the other as well.
    threshold : float, default 0.05
        Sensitivity from which a parameter counts as sensitive; 0.05 is about what moving a normal posterior by 0.3 SDs
        at a power of 2 comes to.

    Returns
    -------
    Dataset
        Over (component, parameter): `sensitivity`, the cumulative Jensen-Shannon distance at 0.99 and 1.01 for each
        doubling of the power, on average. Over `parameter`: `diagnosis`, "prior-data conflict" where both prior and
        likelihood reach the threshold, "strong prior or weak likelihood" where the prior alone does, else "none". Over
        (component, alpha, parameter): `estimate` the posterior mean, `sd`, and `distance` from the posterior itself.
        Over (component, alpha): `pareto_k` and `ess` of weighted draws, NaN where there are none. Components are
        "prior", "likelihood" and with `blocks` "beta", "tau" and "rho".

    Raises
    ------
    SpecError
        When `tree` is no posterior, or has none of the densities that draws are weighted by; for powers that are not
        positive.

    Warns
    -----
    AssumptionWarning
        When Pareto k of weighted draws exceeds 0.7 at 0.99 or 1.01.

    Notes
    -----
    Where the posterior can be integrated without chains, powers of normal densities and of those of SDs and
    correlations are exact at the points of the integral, so distances have no Monte Carlo error. Otherwise draws are
    weighted by Pareto smoothed importance sampling, among these where a coefficient has a prior that is not normal. The
    likelihood is that of the coefficients, SDs and correlations, with random effects integrated out.

    References
    ----------
    Kallioinen, Paananen, Buerkner and Vehtari (2024), Stat. Comput. 34:57.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> priors = bm.Priors(beta=bm.Prior("Normal", mu=1, sigma=0.2), tau=bm.priors.half_normal(0.5))
    >>> scaled = bm.power_scaling(bm.sample(spec, priors, random_seed=1))
    >>> scaled["diagnosis"].sel(parameter="beta[Intercept]").item()
    'prior-data conflict'
    """
    model = model_of(tree, "tree")
    powers = _powers(alpha)
    check_boolean(blocks, "blocks")
    threshold = check_number(threshold, "threshold", above=0)
    components = [PRIOR, LIKELIHOOD, *(power_scaled.blocks(model.priors) if blocks else [])]
    with reading_once():
        part = _integrated(model)
        made = _by_points(model, part, components, powers) if part else _by_draws(tree, model, components, powers)
    return _dataset(made, components, powers, threshold)


class _Made(NamedTuple):
    """labels, kinds (q,) of the parameters; mean, sd, distance (components, powers, q); shape, effective (components,
    powers); engine: where the numbers come from."""

    labels: list[str]
    kinds: list[str]
    mean: FloatArray
    sd: FloatArray
    distance: FloatArray
    shape: FloatArray
    effective: FloatArray
    engine: str


def _powers(alpha: Any) -> list[float]:
    values = alpha.tolist() if hasattr(alpha, "tolist") else alpha
    if not isinstance(values, list | tuple) or not values:
        raise SpecError(f"alpha is {shown(alpha)}; it must be a list of powers, such as {list(ALPHAS)}")
    for each in values:
        if not is_number(each) or not (math.isfinite(each) and each > 0):
            raise SpecError(
                f"alpha has {shown(each)}; powers are positive numbers\n  such as {', '.join(map(str, ALPHAS))}"
            )
    return sorted({*map(float, values), *STEP})


def _integrated(model: Model) -> Served | None:
    """The posterior as points; None where chains or other priors of the coefficients leave draws alone."""
    if not power_scaled.takes(model.priors) or choose(model.spec, model.priors, "auto").engine is None:
        return None
    try:
        return alone(model.spec, model.priors, 0)
    except NotIntegratedError:
        return None


def _by_points(model: Model, part: Served, components: Sequence[str], powers: Sequence[float]) -> _Made:
    base = power_scaled.scaled(part, model.priors, PRIOR, 1.0)
    listed = [term for term in terms(part.shared) if not term.constant]
    labels = [f"beta[{name}]" for name in model.spec.coef] + [_label(t.kind, t.level, t.name) for t in listed]
    kinds = ["beta"] * len(model.spec.coef) + [term.kind for term in listed]
    ranges = _ranges(base)
    width, one = _distributions(part, base, listed, ranges)
    shape = (len(components), len(powers), len(labels))
    mean, sd, distance = (np.empty(shape) for _ in range(3))
    for i, component in enumerate(components):
        for j, power in enumerate(powers):
            own = power_scaled.scaled(part, model.priors, component, power)
            distance[i, j] = distances(width, one, _distributions(part, own, listed, ranges)[1])
            mean[i, j], sd[i, j] = _moments(part, own, listed)
    none = np.full(shape[:2], np.nan)
    return _Made(labels, kinds, mean, sd, distance, none, none, part.engine)


def _label(kind: str, level: str, name: str) -> str:
    return f"{kind}[{', '.join(each for each in (level, name) if each)}]"


def _ranges(base: Scaled) -> list[FloatArray]:
    prob = np.array([ENDS, 1 - ENDS])
    ends = many_marginals.of_mixtures(base.weight[None], base.centre, base.spread, prob).quantile[0]
    return [low + (high - low) * (np.arange(POINTS) + 0.5) / POINTS for low, high in ends.T]


def _distributions(
    part: Served, own: Scaled, listed: Sequence[many_marginals.Term], ranges: Sequence[FloatArray]
) -> tuple[list[FloatArray], list[FloatArray]]:
    """Widths of intervals, and distribution functions there, of coefficients, SDs and correlations."""
    widths, functions = [], []
    kept = own.weight > WEIGHTLESS * own.weight.max()
    for j, values in enumerate(ranges):
        centre, spread = own.centre[kept, j, None], np.maximum(own.spread[kept, j, None], np.finfo(float).tiny)
        widths.append(np.full(POINTS, values[1] - values[0]))
        functions.append(own.weight[kept] @ ndtr((values - centre) / spread))
    for term in listed:
        width, below = _of_term(part, own.weight, term)
        widths.append(width)
        functions.append(below)
    return widths, functions


def _of_term(part: Served, weight: FloatArray, term: many_marginals.Term) -> tuple[FloatArray, FloatArray]:
    """The same of an SD or a correlation, between the points or along the axis of a lattice."""
    shared = part.shared
    if term.coordinate is not None and isinstance(shared, SharedLattice):
        j, lattice = term.coordinate, shared.lattice
        law = shared.chart.coordinates[j].prior
        if law is not None:
            both = np.stack([part.weight[0], weight])
            axis = along_axis(both, lattice.position[:, j], float(lattice.origin[j]), float(lattice.step[j]))
            base, below = (axis.under[:, 1:] + axis.under[:, :-1]) / 2
            kept = (base > ENDS) & (base < 1 - ENDS)
            return np.diff(term.scale * law.of_normal(axis.u))[kept], below[kept]
    usable = shared.points.usable & np.isfinite(term.values)
    order = np.argsort(term.values[usable], kind="stable")
    base, below = (np.cumsum(w[usable][order])[:-1] for w in (part.weight[0], weight))
    kept = (base > ENDS) & (base < 1 - ENDS)
    return np.diff(term.values[usable][order])[kept], below[kept]


def _moments(part: Served, own: Scaled, listed: Sequence[many_marginals.Term]) -> tuple[FloatArray, FloatArray]:
    mean, variance = many_marginals.moments(own.weight[None], own.centre, own.spread)
    values = np.stack([np.where(own.weight > 0, term.values, 0.0) for term in listed], 1) if listed else None
    if values is None:
        return mean[0], np.sqrt(variance[0])
    more, spread = many_marginals.moments(own.weight[None], np.nan_to_num(values), 0.0)
    return np.append(mean[0], more[0]), np.sqrt(np.append(variance[0], spread[0]))


# by draws


def _by_draws(tree: xr.DataTree, model: Model, components: Sequence[str], powers: Sequence[float]) -> _Made:
    check_bayes("power_scaling")
    from arviz_stats.base import array_stats  # loads slowly

    draws, labels, kinds = _draws(tree, model)
    logs = _log_densities(tree)
    shape = (len(components), len(powers), len(labels))
    mean, sd, distance = (np.empty(shape) for _ in range(3))
    k, effective = np.empty(shape[:2]), np.empty(shape[:2])
    order = np.argsort(draws, axis=0)
    width = [*np.diff(np.take_along_axis(draws, order, axis=0), axis=0).T]
    even = [np.arange(1, len(draws)) / len(draws)] * len(labels)
    for i, component in enumerate(components):
        for j, power in enumerate(powers):
            # takes log densities, of which it weighs the inverse
            smoothed, tail = array_stats.psislw(-(power - 1) * logs[component])
            weight = np.exp(smoothed - smoothed.max())
            weight = weight / weight.sum()
            k[i, j], effective[i, j] = float(tail), 1 / (weight**2).sum()
            mean[i, j] = weight @ draws
            sd[i, j] = np.sqrt(weight @ (draws - mean[i, j]) ** 2)
            below = [np.cumsum(weight[order[:, q]])[:-1] for q in range(len(labels))]
            distance[i, j] = distances(width, even, below)
    near = [j for j, power in enumerate(powers) if power in STEP]
    if (k[:, near] > GOOD_K).any():
        warn(
            f"Pareto k of the weights exceeds {GOOD_K} at powers of 0.99 or 1.01: sensitivities may be far off\n"
            "  sample more draws",
            AssumptionWarning,
        )
    return _Made(labels, kinds, mean, sd, distance, k, effective, "draws")


def _draws(tree: xr.DataTree, model: Model) -> tuple[FloatArray, list[str], list[str]]:
    """(B, q) draws of the parameters that vary, with labels and kinds."""
    columns = [*beta_draws(tree).T]
    names = [("beta", "", name) for name in model.spec.coef]
    for kind in ("tau", "rho"):
        for level in model.spec.levels:
            if not level.dim:
                continue
            if level.structure.own_parameters:
                own = own_draws(tree, level.name, kind)
                some = level.effects if kind == "tau" and level.structure.n_tau(2) > 1 else [""]
            else:
                own = tau_draws(tree, level.name) if kind == "tau" else rho_draws(tree, level.name)
                pairs = [f"{a}~{b}" for i, a in enumerate(level.effects) for b in level.effects[i + 1 :]]
                some = level.effects if kind == "tau" else pairs
            columns += [*own.T]
            names += [(kind, level.name, name) for name in some]
    kept = [
        i for i, c in enumerate(columns) if np.isfinite(c).all() and np.ptp(c) > 1e-10 * max(np.abs(c).max(), 1e-300)
    ]
    return (
        np.stack([columns[i] for i in kept], axis=1),
        [_label(*names[i]) for i in kept],
        [names[i][0] for i in kept],
    )


def _log_densities(tree: xr.DataTree) -> dict[str, FloatArray]:
    """(B,) log densities at the draws of the prior, of each of its blocks, and of the data."""
    for name in (schema.LOG_PRIOR, schema.LOG_LIKELIHOOD):
        if name not in tree.children:
            raise SpecError(f"tree has no /{name}, by which draws are weighted\n  sample fewer draws, which keep it")
    prior, made = group(tree, schema.LOG_PRIOR), dict[str, FloatArray]()
    for key, values in prior.data_vars.items():
        block = str(key).partition("_")[0]
        made[block] = made.get(block, 0.0) + values.to_numpy().ravel()
    made[PRIOR] = np.asarray(sum(made.values()), float)
    likelihood = group(tree, schema.LOG_LIKELIHOOD)["y"]
    made[LIKELIHOOD] = likelihood.to_numpy().reshape(len(made[PRIOR]), -1).sum(1)
    return made


def _dataset(made: _Made, components: Sequence[str], powers: Sequence[float], threshold: float) -> xr.Dataset:
    near = [powers.index(power) for power in STEP]
    doublings = np.abs(np.log2(np.array(STEP)))
    sensitivity = (made.distance[:, near] / doublings[:, None]).mean(1)
    prior, likelihood = (sensitivity[components.index(name)] >= threshold for name in (PRIOR, LIKELIHOOD))
    words = np.where(prior & likelihood, CONFLICT, np.where(prior, STRONG, NEITHER)).astype(object)
    variables: dict[str, Any] = {
        "sensitivity": (("component", "parameter"), sensitivity),
        "diagnosis": ("parameter", words),
        "estimate": (("component", "alpha", "parameter"), made.mean),
        "sd": (("component", "alpha", "parameter"), made.sd),
        "distance": (("component", "alpha", "parameter"), made.distance),
        schema.PARETO_K: (("component", "alpha"), made.shape),
        "ess": (("component", "alpha"), made.effective),
    }
    coords: dict[str, Any] = {
        "component": pd.Index(components, dtype=object),
        "alpha": list(powers),
        "parameter": pd.Index(made.labels, dtype=object),
        "kind": ("parameter", np.array(made.kinds, dtype=object)),
    }
    return xr.Dataset(variables, coords, {"threshold": threshold, "engine": made.engine})
