"""Answers about quantities: of fits by the delta method, of posteriors by their distributions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.mixtures import NEGLIGIBLE, Normals
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import BoundaryWarning, warn
from bayesmeta.inference.exact_predict import of_psi
from bayesmeta.inference.of_normals import GRID, OfOneNormal, SumOfTwo
from bayesmeta.inference.quantities import STATISTICS, Along, Points, Quantity, SumOfParts, Truth, as_table
from bayesmeta.inference.reference import Reference, Vcov, quantile, reference
from bayesmeta.tree.posterior_draws import summarised
from bayesmeta.tree.specification import group

_STEP = 1e-5  # of central differences, on scales of the size of one


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
            exact = exact_posterior(points.tree)
            columns = [_of_posterior(points, exact, each, prob) for each in quantities]
        else:
            columns = [_of_fit(each, *linearised(points, each), prob, used) for each in quantities]
    return {name: np.concatenate([column[name] for column in columns], axis=1) for name in STATISTICS}


def _of_posterior(
    points: Points, exact: WeightedPoints | None, quantity: Quantity, prob: float
) -> dict[str, FloatArray]:
    """Statistics (n, m)."""
    if exact is None or quantity.given_psi is None:
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
        smooth = all(link.smooth for link in self.truth.links)
        for i in range(len(values)):
            spread = np.sqrt(np.maximum(np.einsum("bmk,bkl,bml->bm", weights[i], self.cov(i), weights[i]), 0.0))
            weight, defined = self._defined(values[i], spread)
            made = Normals(weight, values[i][defined], spread[defined])
            if not len(weight):
                rows.append(_unknown(values.shape[2]))
                continue
            mean = made.mean_of_proportion(read) if smooth else made.mean_of(read)
            rows.append(_read(mean, read(made.quantile(tails))))
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


def with_independent(
    points: Points,
    quantity: Quantity,
    sums: Sequence[FloatArray],
    prob: float,
    vcov: Vcov | None,
    df: str | None,
) -> dict[str, FloatArray]:
    """Statistics (n, m) of a single quantity plus another variable, independent of it, as they are read.

    sums : equally probable values of each of m such variables, as many as of the quantity are taken.
    """
    middle = (np.arange(len(sums[0])) + 0.5) / len(sums[0])
    own, columns = quantiles(points, quantity, middle, vcov, df), []
    for values in sums:
        read = quantity.read(own[:, :, None] + values).reshape(len(own), -1)
        columns.append([read.mean(1), *np.quantile(read, [(1 - prob) / 2, (1 + prob) / 2], axis=1)])
    return dict(zip(STATISTICS, np.moveaxis(np.array(columns), 0, -1), strict=True))
