"""The weighted points of a posterior in its results tree, and the posterior from them again.

The tree keeps where the points lie and what they weigh. All else follows from the specification and the priors beside
them, by evaluating the points once more, which takes a fraction of what finding them did.
"""

import json
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.bayes.chart import Chart
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.bayes.lattice import Lattice, keys
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.bayes.quadrature import Quadrature
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.posterior_draws import beta_draws
from bayesmeta.tree.schema_check import written_hashes
from bayesmeta.tree.specification import group, read_once, spec_from_tree

DEEPEST = 60.0  # below the largest log weight, from which points are not kept
MOST = 4096  # points that effects of groups are predicted from, where they are draws
RECENT = 3  # posteriors that are kept in memory


def integration_group(posterior: WeightedPoints) -> xr.Dataset:
    """`/integration`: the points of a posterior and their weights, and the step of a lattice."""
    log, kept = _kept(posterior)
    variables: dict[str, Any] = {
        schema.U: ((schema.NODE, schema.COORDINATE), posterior.points.u[kept]),
        schema.LOG_WEIGHT: ((schema.NODE,), log[kept]),
    }
    if isinstance(posterior, Quadrature) and posterior.lattice is not None:
        variables[schema.STEP] = ((schema.COORDINATE,), posterior.lattice.step)
    labels = [coordinate.label for coordinate in posterior.evaluator.chart.coordinates]
    return table_of(variables, {schema.COORDINATE: pd.Index(labels, dtype=object)})


def _kept(posterior: WeightedPoints) -> tuple[FloatArray, BoolArray]:
    """Log weights below the largest, and which points are kept."""
    log = posterior.log_weight - posterior.log_weight.max()
    return log, np.isfinite(log) & (log > -DEEPEST) & posterior.points.usable


@dataclass(frozen=True, eq=False)
class Resampled(WeightedPoints):
    """Weighted draws of importance sampling, read back from a tree."""

    def draw(self, n: int, rng: np.random.Generator) -> Evaluated:
        """Points as often as their weights say, by systematic resampling."""
        return self.points.take(rng.permutation(self._systematic(n, rng.random())))

    def predicted(self, X: FloatArray, Z: Sequence[FloatArray], groups: Sequence[IntArray]) -> Normals:
        """From as many points as draws of Markov chains usually are: effects of groups cost more than the points do."""
        return super(Resampled, self.fewer).predicted(X, Z, groups)

    @cached_property
    def fewer(self) -> "Resampled":
        """At most 4,096 of them, chosen by their weights."""
        if len(self.points) <= MOST:
            return self
        points = self.points.take(self._systematic(MOST, 0.5))
        return replace(self, points=points, log_weight=np.zeros(MOST))

    def _systematic(self, n: int, start: float) -> IntArray:
        """n positions among the points, those with neighbouring first coordinates one after the other."""
        order = np.argsort(self.points.u[:, 0])
        at = np.searchsorted(np.cumsum(self.weight[order]), (np.arange(n) + start) / n)
        return order[np.minimum(at, len(order) - 1)]


def exact_posterior(tree: xr.DataTree) -> WeightedPoints | None:
    """The posterior behind a results tree; None where it is one of Markov chains, or of an earlier version."""
    if schema.INTEGRATION not in tree.children:
        return None
    posterior: WeightedPoints = read_once(tree, f"/{schema.INTEGRATION}", lambda: _remembered(tree))
    return posterior


_RECENT: OrderedDict[str, WeightedPoints] = OrderedDict()  # by the hashes of their trees, since questions come in rows


def _remembered(tree: xr.DataTree) -> WeightedPoints:
    """The posterior, evaluated anew unless it was a moment ago; the tree is checked in any case."""
    group(tree, schema.INTEGRATION)
    spec_from_tree(tree)
    key = _key(tree)
    posterior = _RECENT.pop(key, None) or _read_back(tree)
    _keep(key, posterior)
    return posterior


def _key(tree: xr.DataTree) -> str:
    """What a posterior depends on; empty where the tree does not say."""
    hashes = written_hashes(tree)
    known = [hashes.get(name) for name in ("", schema.INTEGRATION, schema.CRITERIA)]
    return json.dumps(known) if all(known) else ""


def _keep(key: str, posterior: WeightedPoints) -> None:
    if key:
        _RECENT[key] = posterior
    while len(_RECENT) > RECENT:
        _RECENT.popitem(last=False)


def remember(tree: xr.DataTree, posterior: WeightedPoints) -> None:
    """Spare those who ask for the posterior behind a new tree its evaluation: it is what they would read back."""
    log, kept = _kept(posterior)
    step = posterior.lattice.step if isinstance(posterior, Quadrature) and posterior.lattice is not None else None
    known = posterior.log_marginal_likelihood, posterior.error
    _keep(
        _key(tree),
        _posterior(posterior.evaluator, posterior.points.take(kept), log[kept], step, *known),
    )


def _read_back(tree: xr.DataTree) -> WeightedPoints:
    table, criteria = group(tree, schema.INTEGRATION), group(tree, schema.CRITERIA)
    spec, priors = spec_from_tree(tree), ModelPriors.from_json(tree.attrs["priors"])
    u = table[schema.U].transpose(schema.NODE, schema.COORDINATE).to_numpy().astype(float)
    _check_coordinates(table, spec, priors)
    evaluator = Evaluator(spec, priors)
    step = table[schema.STEP].to_numpy().astype(float) if schema.STEP in table else None
    known = float(criteria[schema.LOG_ML]), float(criteria[schema.LOG_ML_SE])
    return _posterior(evaluator, evaluator(u), table[schema.LOG_WEIGHT].to_numpy().astype(float), step, *known)


def _posterior(
    evaluator: Evaluator,
    points: Evaluated,
    log_weight: FloatArray,
    step: FloatArray | None,
    log_marginal_likelihood: float,
    error: float,
) -> WeightedPoints:
    """From the points that are kept; step : of a lattice."""
    known = log_marginal_likelihood, error
    if evaluator.dim and step is None:
        return Resampled(evaluator, points, log_weight, *known)
    lattice = _lattice(points, step) if evaluator.dim and step is not None else None
    return Quadrature(evaluator, points if lattice is None else lattice.points, log_weight, *known, lattice)


def _check_coordinates(table: xr.Dataset, spec: Spec, priors: ModelPriors) -> None:
    """That the points are of this model."""
    expected = [coordinate.label for coordinate in Chart.of(spec, priors).coordinates]
    if (known := [str(label) for label in table[schema.COORDINATE].values]) != expected:
        raise SpecError(f"/{schema.INTEGRATION} is of {known}, and the model of this tree has {expected} to integrate")


def _lattice(points: Evaluated, step: FloatArray) -> Lattice:
    """The lattice of points that are kept in the order of their keys."""
    origin = points.u[int(np.argmax(points.log_density))]
    position = np.rint((points.u - origin) / step).astype(np.int64)
    key = keys(position)
    return Lattice(origin, step, position, points, key)


def beta_moments(tree: xr.DataTree) -> tuple[FloatArray, FloatArray]:
    """Mean (P,) and covariance (P, P) of the coefficients of a posterior, of Markov chains those of the draws."""
    if (points := exact_posterior(tree)) is not None:
        return points.beta_moments
    draws = beta_draws(tree)
    return draws.mean(0), np.atleast_2d(np.cov(draws.T))
