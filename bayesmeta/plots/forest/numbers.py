"""The numbers of a forest plot, for every row of the data and every outcome, on the scale of the model."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.predict import blup, predict
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.inference.weights import by_row, covariances, gls_weights, marginal_variances, pooled_weights
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading

_SAME = 1e-9  # of the largest value: differences below are rounding


@dataclass(frozen=True)
class Interval:
    """An estimate with its bounds, on the scale of the model: log ratios as logs."""

    estimate: float
    lower: float
    upper: float


@dataclass(frozen=True, eq=False)
class ForestNumbers:
    """Estimates with their bounds (3, n_rows, k), NaN where there is none.

    observed : effect estimates y with y -+ z sqrt(S).
    mean : fixed part of the model.
    blups : by name of a level the predictions with the random effects of this level and those outside it; none for a
        model without random effects.
    prediction : interval of the true effect in a new group; None without random effects.
    weight : (n_rows, k) share of a row in the pooled estimate of its outcome, NaN where nothing is pooled.
    size : (n_rows, k) to which the areas of squares are proportional: the weights or, without them, the precision.
    pooled : (k,) whether all rows of the outcome have the same mean.
    """

    observed: FloatArray
    mean: FloatArray
    blups: dict[str, FloatArray]
    prediction: FloatArray | None
    weight: FloatArray
    size: FloatArray
    pooled: tuple[bool, ...]

    @classmethod
    def of(
        cls,
        tree: xr.DataTree,
        spec: Spec,
        prob: float = 0.95,
        blups: bool = True,
        reading: Reading | None = None,
    ) -> "ForestNumbers":
        """The numbers of a results tree with this specification; `blups` : whether to compute those too; `reading` :
        how they will be read, of which the mean of a posterior depends."""
        means = partial(at_means, tree, reading)
        z, psi = quantile(prob), covariances(tree, spec)
        random = has_random_effects(tree, spec)
        half = z * np.sqrt(spec.S.variances)
        mean = means(partial(predict, tree, interval="confidence", prob=prob))
        kept = np.flatnonzero(spec.kept)
        pooled = tuple(shared(mean, kept, j) is not None for j in range(len(spec.outcomes)))
        weight = pooled_weights(spec, gls_weights(spec, psi), pooled)
        precision = by_row(spec, 1 / marginal_variances(spec, psi))
        return cls(
            observed=np.stack([by_row(spec, values) for values in (spec.y, spec.y - half, spec.y + half)]),
            mean=mean,
            blups={v.name: means(partial(blup, tree, level=v.name, prob=prob)) for v in spec.levels}
            if random and blups
            else {},
            prediction=means(partial(predict, tree, interval="prediction", prob=prob)) if random else None,
            weight=weight,
            size=np.where(pooled, weight, precision),
            pooled=pooled,
        )

    def at(self, values: FloatArray, row: int, outcome: int) -> Interval | None:
        """The interval of one row and outcome; None where there is no estimate."""
        interval = Interval(*(float(value) for value in values[:, row, outcome]))
        return None if np.isnan(interval.estimate) else interval


def has_random_effects(tree: xr.DataTree, spec: Spec) -> bool:
    """Whether the model lets true effects differ beyond their predictors."""
    return not method_of(tree).zero_psi and any(level.dim for level in spec.levels)


def shared(values: FloatArray, rows: Sequence[int] | IntArray, outcome: int) -> Interval | None:
    """The interval that all of these rows share, None where they differ."""
    own = values[:, rows, outcome]
    first = Interval(*(float(value) for value in own[:, 0]))
    if np.isnan(first.estimate):
        return None
    scale = float(np.nanmax(np.abs(own[:, 0])))
    return first if np.allclose(own, own[:, :1], rtol=0, atol=_SAME * scale, equal_nan=True) else None


def at_means(tree: xr.DataTree, reading: Reading | None, predicted: Callable[..., xr.Dataset]) -> FloatArray:
    """Predictions (3, n_rows, k) on the scale of the model, of a posterior at its means on the scale that is drawn.

    So tables have them: the mean odds ratio is not the exponential of the mean log odds ratio. An infinite mean cannot
    be drawn, and leaves the estimate at that exponential.

    predicted : `predict` or `blup`, with all arguments but the scale.
    """
    values = stacked(predicted())
    if reading is not None and reading.response and is_posterior(tree):
        there = reading.back(stacked(predicted(scale="response"))[0])
        values[0] = np.where(np.isfinite(there), there, values[0])
    return values


def stacked(table: xr.Dataset) -> FloatArray:
    ordered = table.transpose(schema.ROW, schema.OUTCOME)
    return np.stack([ordered[name].to_numpy() for name in ("mean", "lower", "upper")])
