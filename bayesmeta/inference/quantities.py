"""Quantities that follow from means and covariances between groups: estimates and intervals, of fits and posteriors.

A quantity is a function of the means of the outcomes at some values of the predictors, and of their covariance Psi
between groups. Of a fit its error follows by the delta method, on the scale on which it is nearest to normal. Of a
posterior without chains its distribution is known, since given Psi the means are normal; of chains it is computed draw
by draw.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple, Self

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.effects.links import Link
from bayesmeta.errors import SpecError
from bayesmeta.inference.of_normals import SumOfTwo
from bayesmeta.inference.prediction_rows import Rows, new_design
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import free_of_levels
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from bayesmeta.tree.specification import group

type NewData = pd.DataFrame | Mapping[str, Any] | None
QUANTITY = "quantity"
STATISTICS = ("estimate", "lower", "upper")
_STEP = 1e-5  # of central differences, on scales of the size of one
_SMALL = 1e-300


@dataclass(frozen=True, eq=False)
class Truth:
    """Means (..., k) of the outcomes, and Psi (..., k, k) of a new group about them.

    links : of proportions whose outcomes are on another scale.
    """

    mean: FloatArray
    psi: FloatArray
    links: tuple[Link, ...]

    def part(self, j: int) -> FloatArray:
        """The proportion at the mean of outcome j."""
        return self.links[j].inverse(self.mean[..., j])

    def log(self, j: int, complement: bool = False) -> FloatArray:
        """Its logarithm, or that of its complement, exact near 0 and 1 for logits."""
        x = self.mean[..., j]
        if self.links[j].name == "logit":
            return np.asarray(-np.logaddexp(0, x if complement else -x))
        p = self.part(j)
        return np.asarray(np.log(np.maximum(1 - p if complement else p, _SMALL)))


class Along(NamedTuple):
    """A quantity that given Psi rises with one combination of the means: `linear`, as that plus a constant.

    weights : (..., m, k) of the means, of a truth.
    """

    weights: Callable[[Truth], FloatArray]
    linear: bool = True

    @classmethod
    def outcome(cls, j: int) -> "Along":
        """The mean of outcome j itself."""
        return cls(
            lambda at: np.broadcast_to(np.eye(at.mean.shape[-1])[[j]], (*at.mean.shape[:-1], 1, at.mean.shape[-1]))
        )


@dataclass(frozen=True)
class SumOfParts:
    """A quantity that is the sum of a monotone function of either mean, plus each of (m,) numbers."""

    first: Callable[[Truth], FloatArray]
    second: Callable[[Truth], FloatArray]
    plus: tuple[float, ...] = (0.0,)

    def __call__(self, at: Truth) -> FloatArray:
        """(..., m)"""
        return np.asarray((self.first(at) + self.second(at))[..., None] + np.array(self.plus))

    def distribution(
        self, weight: FloatArray, centre: FloatArray, cov: FloatArray, links: tuple[Link, ...]
    ) -> SumOfTwo:
        """Of means that are a mixture of normals: (n,), (n, 2), (n, 2, 2)."""

        def alone(of: Callable[[Truth], FloatArray]) -> Callable[[FloatArray], FloatArray]:
            return lambda x: of(Truth(np.stack([x, x], axis=-1), np.empty(0), links))

        return SumOfTwo.of(weight, centre, cov, alone(self.first), alone(self.second))


@dataclass(frozen=True)
class Quantity:
    """m numbers that follow from the truth.

    names : (m,).  value : on the scale on which they are nearest to normal, (..., m) of a truth.
    read : from there to what is reported.  between : whether they depend on Psi.
    given_psi : how they follow from the means there, by which posteriors are exact; "known" where Psi is all that they
        follow from, None where nothing is known.
    """

    names: tuple[str, ...]
    value: Callable[[Truth], FloatArray]
    read: Callable[[FloatArray], FloatArray] = np.asarray
    between: bool = False
    given_psi: Along | SumOfParts | Literal["known"] | None = None


@dataclass(frozen=True, eq=False)
class Points:
    """The rows that are asked about.

    X : (n, k, P) designs.  Z : (n, k, a) of a new group of every level.  labels : (n, predictors) what they are.
    links : of outcomes that are proportions on another scale.
    """

    tree: xr.DataTree
    spec: Spec
    X: FloatArray
    offset: FloatArray
    Z: tuple[FloatArray, ...]
    labels: pd.DataFrame
    links: tuple[Link, ...]

    @classmethod
    def at(cls, tree: xr.DataTree, newdata: NewData, what: str, spec: Spec, links: tuple[Link, ...]) -> Self:
        """By default every combination of categories in the data; what : the function that asks."""
        if not spec.predictors and newdata is not None and not (isinstance(newdata, Mapping) and not newdata):
            raise SpecError(f"{what}: newdata has no meaning for a model without predictors\n  leave it out")
        frame = combinations(spec, what) if newdata is None else newdata
        rows = Rows.of(spec, frame)
        X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)
        Z = tuple(new_design(spec, level, rows.frame) for level in spec.levels)
        shown = [name for name in rows.frame.columns if name in spec.predictors]
        return cls(tree, spec, X, offset, Z, rows.frame[shown].reset_index(drop=True), links)

    @property
    def categories(self) -> list[str]:
        """Predictors that are categories."""
        return [name for name in self.labels.columns if name in self.spec.design.categories]

    @property
    def names(self) -> list[str]:
        """Of the rows, by the values of their predictors."""
        columns = [self.labels[name].tolist() for name in self.labels.columns]
        return [", ".join(str(column[i]) for column in columns) for i in range(len(self.labels))]

    def truth(self, beta: FloatArray, psi: Sequence[FloatArray]) -> Truth:
        """(n, B) truths of coefficients (B, P) and covariances (B, a, a) of every level."""
        mean = np.einsum("nkp,bp->nbk", self.X, beta) + self.offset[:, None, None]
        between = np.zeros((*mean.shape, mean.shape[-1]))
        for Z, each in zip(self.Z, psi, strict=True):
            between += np.einsum("nka,bac,nlc->nbkl", Z, each, Z)
        return Truth(mean, between, self.links)

    @cached_property
    def draws(self) -> Truth:
        """Of a posterior."""
        return self.truth(beta_draws(self.tree), [psi_draws(self.tree, level.name) for level in self.spec.levels])

    @property
    def fitted(self) -> Truth:
        """Of a fit, B = 1."""
        estimate = group(self.tree, schema.ESTIMATE)
        psi = [estimate[schema.psi(level.name)].to_numpy()[None] for level in self.spec.levels]
        return self.truth(estimate["beta"].to_numpy()[None], psi)

    def moved(self, k: int, step: float) -> Truth:
        """Of a fit, with free parameter k of Psi moved by a step."""
        estimate, places = group(self.tree, schema.ESTIMATE), free_of_levels(self.tree)
        xi = estimate["xi"].to_numpy().copy()
        xi[k] += step
        psi = [
            np.asarray(level.structure.psi(xi[places[level.name]], level.dim))[None]
            if places[level.name].stop > places[level.name].start
            else estimate[schema.psi(level.name)].to_numpy()[None]
            for level in self.spec.levels
        ]
        return self.truth(estimate["beta"].to_numpy()[None], psi)


def combinations(spec: Spec, what: str) -> pd.DataFrame:
    """One row for every combination of categories in the data; SpecError where a predictor is a number."""
    if not spec.predictors:
        return pd.DataFrame(index=[0])
    numeric = [name for name in spec.predictors if name not in spec.design.categories]
    if numeric:
        raise SpecError(
            f"{what}: newdata is missing; the model has the predictors {listing(spec.predictors)}\n"
            f"  say where it is asked about, as newdata={{{numeric[0]!r}: [0, 1]}}"
        )
    return spec.data.loc[spec.kept, list(spec.predictors)].drop_duplicates().sort_values(list(spec.predictors))


def as_table(
    points: Points,
    names: Sequence[str] | Sequence[tuple[Any, ...]] | FloatArray,
    columns: Mapping[str, FloatArray],
    index: str | tuple[str, ...] = QUANTITY,
) -> pd.DataFrame:
    """(n, q) columns as a frame with one row for each quantity at each of the points.

    names : (q,), or (n, q) where they differ; of tuples where the index has several levels.
    """
    n, q = next(iter(columns.values())).shape
    frame = pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()})
    labels = [np.repeat(points.labels[name].to_numpy(), q) for name in points.labels.columns]
    own = zip(*names, strict=True) if isinstance(index, tuple) else [names]
    levels = [*labels, *(np.broadcast_to(np.asarray(each), (n, q)).reshape(-1) for each in own)]
    of_levels = [*points.labels.columns, *([index] if isinstance(index, str) else index)]
    several = len(levels) > 1
    frame.index = pd.MultiIndex.from_arrays(levels, names=of_levels) if several else pd.Index(levels[0], name=index)
    return frame
