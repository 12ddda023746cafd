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
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import listing
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.mixtures import NEGLIGIBLE, Normals
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.effects.links import Link
from bayesmeta.errors import BoundaryWarning, SpecError, warn
from bayesmeta.inference.exact_predict import of_psi
from bayesmeta.inference.of_normals import GRID, OfOneNormal, SumOfTwo
from bayesmeta.inference.prediction_rows import Rows, new_design
from bayesmeta.inference.reference import Reference, Vcov, quantile, reference
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import free_of_levels
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws, summarised
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


class SumOfParts(NamedTuple):
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


def answers(
    points: Points, quantities: Sequence[Quantity], prob: float, vcov: Vcov | None = None, df: str | None = None
) -> dict[str, FloatArray]:
    """`estimate`, `lower` and `upper` (n, sum of m) of quantities at the points.

    Of a fit estimates at the fitted truth, and intervals by the delta method: those of functions of the mean alone by
    the reference distribution of the coefficients, others by the normal one. Of a posterior mean and quantiles: of one
    without chains the exact ones, else those of the draws.
    """
    used = reference(points.tree, vcov, df)
    with np.errstate(all="ignore"):
        if used is None:
            columns = [_of_posterior(points, each, prob) for each in quantities]
        else:
            columns = [_of_fit(each, *linearised(points, each), prob, used) for each in quantities]
    return {name: np.concatenate([column[name] for column in columns], axis=1) for name in STATISTICS}


def _of_posterior(points: Points, quantity: Quantity, prob: float) -> dict[str, FloatArray]:
    """Statistics (n, m)."""
    exact = None if quantity.given_psi is None else exact_posterior(points.tree)
    if exact is None:
        over = summarised(quantity.read(quantity.value(points.draws)), prob, axis=1)
        return dict(zip(STATISTICS, (over["mean"], over["lower"], over["upper"]), strict=True))
    rows = _Exact(points, exact.fewer, quantity).statistics(prob)
    return {name: np.stack([row[name] for row in rows]) for name in STATISTICS}


@dataclass(frozen=True, eq=False)
class _Exact:
    """A quantity of a posterior that is known at weighted points, over which it is a mixture."""

    points: Points
    exact: WeightedPoints
    quantity: Quantity

    @cached_property
    def truth(self) -> Truth:
        """(n, B) means of the coefficients' distributions given the points."""
        return self.points.truth(self.exact.main[1].beta, [np.moveaxis(psi, -1, 0) for psi in self.exact.psi])

    def cov(self, i: int) -> FloatArray:
        """(B, k, k) of the means of row i, given the points."""
        root = self.points.X[i] @ self.exact.main[1].root
        return np.asarray(root @ root.mT)

    def statistics(self, prob: float) -> list[dict[str, FloatArray]]:
        """Of every row, (m,)."""
        tails, form = np.array([(1 - prob) / 2, (1 + prob) / 2]), self.quantity.given_psi
        if form == "known":
            return self._of_psi(prob)
        if isinstance(form, SumOfParts):
            return [self._of_sum(form, i, tails) for i in range(len(self.points.X))]
        assert isinstance(form, Along)
        return self._of_lines(form, tails) if form.linear else self._of_rising(form, tails)

    def _of_psi(self, prob: float) -> list[dict[str, FloatArray]]:
        n, beta = len(self.points.X), np.zeros((1, self.points.X.shape[2]))

        def values(psi: Sequence[FloatArray]) -> FloatArray:
            truth = self.points.truth(np.repeat(beta, len(psi[0]), axis=0), psi)
            return np.moveaxis(self.quantity.read(self.quantity.value(truth)), 0, 1).reshape(len(psi[0]), -1)

        over = of_psi(self.exact, values, prob)
        named = {"estimate": over["mean"], "lower": over["lower"], "upper": over["upper"]}
        return [{name: x.reshape(n, -1)[i] for name, x in named.items()} for i in range(n)]

    def _of_lines(self, form: Along, tails: FloatArray) -> list[dict[str, FloatArray]]:
        values, weights, read, rows = self.quantity.value(self.truth), form.weights(self.truth), self.quantity.read, []
        for i in range(len(values)):
            spread = np.sqrt(np.maximum(np.einsum("bmk,bkl,bml->bm", weights[i], self.cov(i), weights[i]), 0.0))
            weight, defined = self._defined(values[i], spread)
            made = Normals(weight, values[i][defined], spread[defined])
            known = len(weight) > 0
            rows.append(_read(made.mean_of(read), read(made.quantile(tails))) if known else _unknown(values.shape[2]))
        return rows

    def _of_rising(self, form: Along, tails: FloatArray) -> list[dict[str, FloatArray]]:
        at, weights, covs = (
            self.truth,
            form.weights(self.truth)[:, :, 0],
            [self.cov(i) for i in range(len(self.truth.mean))],
        )
        along = np.einsum("nbkl,nbl->nbk", np.array(covs), weights)
        spread = np.sqrt(np.maximum(np.einsum("nbk,nbk->nb", weights, along), np.finfo(float).tiny))
        mean = at.mean[:, :, None] + (along / spread[..., None])[:, :, None] * GRID[:, None]
        psi = np.repeat(at.psi, len(GRID), axis=1)
        there = Truth(mean.reshape(len(mean), -1, mean.shape[-1]), psi, at.links)
        values, rows = self.quantity.read(self.quantity.value(there)).reshape(mean.shape[:3]), []
        for i in range(len(values)):
            weight, defined = self._defined(values[i], spread[i])
            made = OfOneNormal(weight, values[i][defined])
            rows.append(_read(np.array([made.mean]), made.quantile(tails)[:, None]) if len(weight) else _unknown(1))
        return rows

    def _defined(self, values: FloatArray, spread: FloatArray) -> tuple[FloatArray, BoolArray]:
        """Weights of the points at which a quantity has a value, and which these are: none unless all that matter."""
        weight = self.exact.main[0]
        defined = np.isfinite(np.column_stack([values, spread])).all(1)
        defined &= weight[~defined].sum() < NEGLIGIBLE
        return weight[defined] / max(weight[defined].sum(), np.finfo(float).tiny), defined

    def sum_of(self, form: SumOfParts, i: int) -> SumOfTwo:
        """The distribution of a sum at row i, to which nothing is added."""
        return form.distribution(self.exact.main[0], self.truth.mean[i], self.cov(i), self.truth.links)

    def _of_sum(self, form: SumOfParts, i: int, tails: FloatArray) -> dict[str, FloatArray]:
        made, plus, read = self.sum_of(form, i), np.array(form.plus), self.quantity.read
        ends = made.quantile(tails)[:, None] + plus
        if read is np.exp:
            return _read(np.exp(plus) * made.mean_of_exponential(*self.exact.unresolved), read(ends))
        return _read(made.mean_of(read, plus), read(ends))


def _unknown(m: int) -> dict[str, FloatArray]:
    return dict.fromkeys(STATISTICS, np.full(m, np.nan))


def _read(mean: FloatArray, ends: FloatArray) -> dict[str, FloatArray]:
    """Of means (m,) and two quantiles (2, m)."""
    return dict(zip(STATISTICS, (mean, *np.sort(ends, axis=0)), strict=True))


def over_normal(points: Points, quantities: Sequence[Quantity], cov: FloatArray, prob: float) -> dict[str, FloatArray]:
    """Mean and quantiles (n, m) of single sums over the normal distribution of a fit's means, cov (n, k, k)."""
    at, tails = points.fitted, np.array([(1 - prob) / 2, (1 + prob) / 2])
    rows = []
    for i in range(len(cov)):
        forms = [each.given_psi for each in quantities]
        made = [f.distribution(np.ones(1), at.mean[i], cov[[i]], at.links) for f in forms if isinstance(f, SumOfParts)]
        of_row = [
            (m.mean_of(q.read, np.zeros(1))[0], *q.read(m.quantile(tails)))
            for m, q in zip(made, quantities, strict=True)
        ]
        rows.append(of_row)
    return dict(zip(STATISTICS, np.moveaxis(np.array(rows), -1, 0), strict=True))


class Linear(NamedTuple):
    """Quantities of a fit about their values (n, m): gradient (n, m, P) in beta, and the variance that Psi's brings.

    of_psi : (n, m), NaN where Psi lies at an edge and has no errors; None for functions of the mean alone.
    """

    value: FloatArray
    contrast: FloatArray
    of_psi: FloatArray | None


def linearised(points: Points, quantity: Quantity) -> Linear:
    """The delta method, by central differences."""
    at = points.fitted
    k_outcomes = at.mean.shape[-1]

    def shifted(k: int, step: float) -> FloatArray:
        return quantity.value(Truth(at.mean + step * np.eye(k_outcomes)[k], at.psi, at.links))[:, 0]

    slopes = np.stack([(shifted(k, _STEP) - shifted(k, -_STEP)) / (2 * _STEP) for k in range(k_outcomes)], axis=-1)
    contrast = np.einsum("nmk,nkp->nmp", slopes, points.X)
    value = quantity.value(at)[:, 0]
    if not quantity.between:
        return Linear(value, contrast, None)
    cov = group(points.tree, schema.ESTIMATE)["xi_cov"].to_numpy()
    moved = [[quantity.value(points.moved(k, step))[:, 0] for step in (_STEP, -_STEP)] for k in range(len(cov))]
    if not moved:
        return Linear(value, contrast, np.full(value.shape, np.nan))
    gradient = np.stack([(up - down) / (2 * _STEP) for up, down in moved], axis=-1)
    return Linear(value, contrast, np.einsum("nmk,kl,nml->nm", gradient, cov, gradient))


def _of_fit(
    quantity: Quantity, value: FloatArray, contrast: FloatArray, of_psi: FloatArray | None, prob: float, used: Reference
) -> dict[str, FloatArray]:
    variance = np.einsum("nmp,pq,nmq->nm", contrast, used.cov, contrast)
    if of_psi is None:
        half = quantile(prob, used.dfs(contrast.reshape(-1, contrast.shape[-1]))).reshape(value.shape) * np.sqrt(
            variance
        )
    else:
        half = quantile(prob, np.inf) * np.sqrt(variance + of_psi)
    ends = np.sort(np.stack([quantity.read(value - half), quantity.read(value + half)]), axis=0)
    return dict(zip(STATISTICS, (quantity.read(value), *ends), strict=True))


def as_table(
    points: Points, names: Sequence[str] | FloatArray, columns: Mapping[str, FloatArray], index: str = QUANTITY
) -> pd.DataFrame:
    """(n, q) columns as a frame with one row for each quantity at each of the points.

    names : (q,), or (n, q) where they differ.
    """
    n, q = next(iter(columns.values())).shape
    frame = pd.DataFrame({name: values.reshape(-1) for name, values in columns.items()})
    labels = [np.repeat(points.labels[name].to_numpy(), q) for name in points.labels.columns]
    levels = [*labels, np.broadcast_to(np.asarray(names), (n, q)).reshape(-1)]
    of_levels = [*points.labels.columns, index]
    frame.index = pd.MultiIndex.from_arrays(levels, names=of_levels) if labels else pd.Index(levels[0], name=index)
    return frame


def table_of(
    points: Points, quantities: Sequence[Quantity], prob: float, vcov: Vcov | None, df: str | None
) -> pd.DataFrame:
    """`answers` as a frame, whose attributes say by what they were made."""
    names = [name for each in quantities for name in each.names]
    frame, used = as_table(points, names, answers(points, quantities, prob, vcov, df)), reference(points.tree, vcov, df)
    frame.attrs.update({"prob": prob} | ({} if used is None else used.attrs))
    return frame


def quantiles(
    points: Points, quantity: Quantity, probability: FloatArray, vcov: Vcov | None, df: str | None
) -> FloatArray:
    """(n, parts) quantiles of a single quantity, a function of the means, on its own scale."""
    used = reference(points.tree, vcov, df)
    if used is None:
        form, exact = quantity.given_psi, exact_posterior(points.tree)
        if exact is None or not isinstance(form, SumOfParts):
            return np.asarray(np.quantile(quantity.value(points.draws)[..., 0], probability, axis=1).T)
        known = _Exact(points, exact.fewer, quantity)
        return np.stack([known.sum_of(form, i).quantile(probability) for i in range(len(points.X))])
    value, contrast, _ = linearised(points, quantity)
    se = np.sqrt(np.einsum("np,pq,nq->n", contrast[:, 0], used.cov, contrast[:, 0]))
    central, dfs = np.abs(2 * probability - 1), used.dfs(contrast[:, 0])
    z = np.stack([quantile(each, dfs) for each in central.tolist()], axis=1) * np.sign(probability - 0.5)
    return np.asarray(value + z * se[:, None])


def mention_no_interval(columns: Mapping[str, FloatArray], what: str) -> None:
    """Warn of intervals that are missing because Psi has no errors."""
    if np.isnan(columns["lower"]).any() and not np.isnan(columns["estimate"]).all():
        warn(
            f"{what}: no interval, because the covariance between studies lies at the edge of its range, or its method "
            "gives it no errors\n  intervals of a posterior have no such edge: bm.sample(spec)",
            BoundaryWarning,
        )
