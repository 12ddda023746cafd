"""What is exact in a posterior tree: `/marginals` and `/criteria`, from weighted points."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.mixtures import Marginal
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.model.spec import Level
from bayesmeta.priors.model_priors import BETA
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.single_entries import over_effects
from bayesmeta.tree.specification import MOST_RANDOM_EFFECTS

# so dense that a spline through them is right to 1e-5 SD, and those that people ask for
PROBABILITIES = np.unique(
    np.round(
        np.concatenate(
            [ndtr(np.arange(-3.25, 3.3, 0.25)), [0.005, 0.01, 0.025, 0.05, 0.1, 0.25]],
        ),
        10,
    )
)
PROBABILITIES = np.unique(np.round(np.concatenate([PROBABILITIES, 1 - PROBABILITIES]), 10))
POINTS = 129  # of a density
ENDS = (0.0006, 0.9994)  # probabilities between which densities are shown
MOST_CELLS = 40_000_000  # points times random effects times probabilities, from which effects have no quantiles


def marginal_groups(posterior: WeightedPoints) -> dict[str, xr.Dataset]:
    """`/marginals` of beta, tau, rho, psi and b, and `/criteria`."""
    spec = posterior.evaluator.spec
    variables = statistics(BETA, posterior.beta, lambda values: ((schema.COEF,), values), density=True)
    b = posterior.effects if sum(level.n_groups * level.dim for level in spec.levels) <= MOST_RANDOM_EFFECTS else []
    for i, level in enumerate(spec.levels):
        if level.dim:
            variables |= _of_level(posterior, i, level)
            variables |= _psi(posterior, i, level)
        if level.dim and b:
            variables |= _effects(b[i], level)
    used = {dim for dims, *_ in variables.values() for dim in dims}
    labels = {**spec.coords, schema.QUANTILE: pd.Index(PROBABILITIES), schema.POINT: pd.RangeIndex(POINTS)}
    coords: dict[str, Any] = {dim: values for dim, values in labels.items() if dim in used}
    criteria = {
        schema.LOG_ML: ((), posterior.log_marginal_likelihood),
        schema.LOG_ML_SE: ((), posterior.error),
        **{name: ((), value) for name, value in posterior.diagnostics.items()},
    }
    return {schema.MARGINALS: table_of(variables, coords), schema.CRITERIA: table_of(criteria, {})}


Place = Callable[[FloatArray], tuple[Any, ...]]


def statistics(name: str, marginal: Marginal, place: Place, density: bool) -> dict[str, Any]:
    """Mean, SD, quantiles and density of quantities (..., q); place : gives values their dimensions and attributes."""
    variables = {f"{name}_mean": place(marginal.mean), f"{name}_sd": place(marginal.sd)}
    quantiles = marginal.quantile(PROBABILITIES)
    variables[f"{name}_quantile"] = _before(schema.QUANTILE, quantiles, place)
    if density:
        low, high = (np.array([np.interp(p, PROBABILITIES, q) for q in quantiles.T]) for p in ENDS)
        grid = low + (high - low) * np.linspace(0, 1, POINTS)[:, None]
        variables[f"{name}_grid"] = _before(schema.POINT, grid, place)
        variables[f"{name}_density"] = _before(schema.POINT, marginal.density(grid), place)
    return variables


def _before(dim: str, values: FloatArray, place: Place) -> tuple[Any, ...]:
    """The values (m, q) of quantities with their dimension first."""
    shaped = [place(row) for row in values]
    dims, _, *attrs = shaped[0]
    return ((dim, *dims), np.stack([np.asarray(row[1]) for row in shaped]), *attrs)


class Several:
    """Several marginals of one quantity each as one of several quantities."""

    def __init__(self, parts: Sequence[Marginal]) -> None:
        self.parts = parts

    @property
    def mean(self) -> FloatArray:
        return np.concatenate([part.mean for part in self.parts])

    @property
    def sd(self) -> FloatArray:
        return np.concatenate([part.sd for part in self.parts])

    def quantile(self, prob: FloatArray) -> FloatArray:
        return np.concatenate([part.quantile(prob) for part in self.parts], axis=1)

    def density(self, x: FloatArray) -> FloatArray:
        return np.concatenate([part.density(x[:, i : i + 1]) for i, part in enumerate(self.parts)], axis=1)


def _of_level(posterior: WeightedPoints, i: int, level: Level) -> dict[str, Any]:
    """SDs and correlations that are free."""
    chart = posterior.evaluator.chart
    first, middle, end = chart.places[i]
    structure, variables = level.structure, dict[str, Any]()
    if middle > first:
        tau = Several([posterior.coordinate(j) for j in range(first, middle)])
        many = structure.n_tau(2) > 1
        variables |= statistics(
            schema.tau(level.name),
            tau,
            (lambda v: over_effects(level.name, level.effects, v)) if many else (lambda v: ((), v[0])),
            density=True,
        )
    if end > middle:
        known = all(chart.coordinates[j].prior is not None for j in range(middle, end))
        rho: Marginal = (
            Several([posterior.coordinate(j) for j in range(middle, end)])
            if known
            else posterior.function(chart.rho(posterior.main[1].u)[i].T)
        )
        pairs = structure.n_rho(3) > 1
        variables |= statistics(
            schema.rho(level.name),
            rho,
            (lambda v: ((schema.pair(level.name),), v)) if pairs else (lambda v: ((), v[0])),
            density=True,
        )
    return variables


def _psi(posterior: WeightedPoints, i: int, level: Level) -> dict[str, Any]:
    a, dims = level.dim, (schema.effect(level.name), schema.bis(schema.effect(level.name)))
    values = np.moveaxis(posterior.psi[i], -1, 0).reshape(-1, a * a)

    def place(entries: FloatArray) -> tuple[Any, ...]:
        return dims, entries.reshape(a, a)

    psi = posterior.function(values)
    variables = statistics(schema.psi(level.name), psi, place, density=False)
    quantiles = variables[f"{schema.psi(level.name)}_quantile"][1]
    first, middle, _ = posterior.evaluator.chart.places[i]
    weight, points = posterior.main
    tau = posterior.evaluator.chart.tau(points.u)[i]
    top = np.argsort(weight)[-min(len(weight), 50) :]
    for j in range(middle - first):  # an entry in proportion to the square of one SD has its quantiles
        with np.errstate(all="ignore"):
            ratio = values[top] / tau[j, top, None] ** 2
        same = np.isfinite(ratio).all(0) & (np.ptp(ratio, axis=0) <= 1e-9 * np.abs(ratio).max(0))
        own = posterior.coordinate(first + j).quantile(PROBABILITIES)[:, 0] ** 2
        for at in np.flatnonzero(same & (ratio[0] != 0)):
            scaled = ratio[0, at] * own
            quantiles[:, at // a, at % a] = scaled if ratio[0, at] > 0 else scaled[::-1]
    return variables


def _effects(b: Marginal, level: Level) -> dict[str, Any]:
    shape, dims = (level.n_groups, level.dim), (schema.group(level.name), schema.effect(level.name))

    def place(values: FloatArray) -> tuple[Any, ...]:
        return dims, np.reshape(values, shape)

    if len(PROBABILITIES) * len(getattr(b, "weight", ())) * shape[0] * shape[1] <= MOST_CELLS:
        return statistics(schema.b(level.name), b, place, density=False)
    name = schema.b(level.name)
    return {f"{name}_mean": place(b.mean), f"{name}_sd": place(b.sd)}
