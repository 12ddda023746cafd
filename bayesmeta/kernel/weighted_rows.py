"""Weighted least squares of many data sets of one outcome with independent rows, data sets along the last axis.

Columns of X are made orthogonal in the inner product of the weights, each twice (Giraud, Langou and Rozloznik 2005,
Comput. Math. Appl. 50:1069-1075), so that as many digits are kept as by an orthogonal decomposition. Every sum adds
the rows in their order, so that the numbers of a data set do not depend on those beside it, to the last bit.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Literal

import numpy as np

from bayesmeta._typing import FloatArray, IndexArray

SINGULAR = 1e-10  # share of the square of a column that is left of it after those before
ROUNDING = 4 * np.finfo(float).eps
Wanted = Literal["rss", "fall", "traces"]  # the last of the sums of a fit that is needed
MOST_STEPS = 1000  # of Newton's method, which takes some ten


def total(values: FloatArray) -> FloatArray:
    """Sums (B,) over the rows of values (n, B), in their order."""
    if values.shape[1] > 1:
        return np.asarray(np.add.reduce(values, axis=0))
    return np.asarray(np.add.accumulate(values, axis=0)[-1])


@dataclass(frozen=True, eq=False)
class Direction:
    """A column x (n, B) or (n, 1) of the basis, its product with the weights, and its size x'Wx (B,).

    plain : whether it is of ones.
    """

    x: FloatArray
    weighted: FloatArray
    size: FloatArray
    plain: bool


@dataclass(frozen=True, eq=False)
class Weighted:
    """A weighted least-squares fit: weights, residuals (n, B), an orthogonal basis of X, and steps (P, B) along it.

    mixed (P, P, B) : shares of the columns of X that the basis before them takes.
    """

    w: FloatArray
    residual: FloatArray
    basis: Sequence[Direction]
    mixed: FloatArray
    steps: FloatArray

    @cached_property
    def weighted_residual(self) -> FloatArray:
        return self.w * self.residual

    @cached_property
    def rss(self) -> FloatArray:
        """(B,) y'Py, the residual sum of squares."""
        return total(self.weighted_residual * self.residual)

    @property
    def fall(self) -> FloatArray:
        """(B,) y'PPy, by which `rss` falls with tau2 where the weights are 1 / (v + tau2)."""
        return total(self.weighted_residual**2)

    @property
    def weight(self) -> FloatArray:
        """(B,) or (1,) tr W."""
        return total(self.w)

    @cached_property
    def beta(self) -> FloatArray:
        """(P, B) coefficients."""
        return self._back(self.steps)

    @cached_property
    def V(self) -> FloatArray:
        """(P, P, B) (X'WX)^-1."""
        P = len(self.basis)
        if P == 1:
            return np.broadcast_to(1.0 / self.basis[0].size, (1, 1, self.steps.shape[1]))
        T = np.array([self._back(unit[:, None] * np.ones_like(self.mixed[0])) for unit in np.eye(P)])
        made = sum(T[p, :, None] * T[p, None] / one.size for p, one in enumerate(self.basis))
        return np.broadcast_to(made, (P, P, self.steps.shape[1]))

    def _back(self, along: FloatArray) -> FloatArray:
        """Coefficients (P, B) of the columns of X, from those of the basis."""
        if len(along) == 1:
            return along
        beta = along.copy()
        for p in range(len(beta) - 2, -1, -1):
            for q in range(p + 1, len(beta)):
                beta[p] -= self.mixed[p, q] * beta[q]
        return beta

    @cached_property
    def left(self) -> FloatArray:
        """(n, B) one less the leverages."""
        lost = sum((one.weighted if one.plain else one.weighted * one.x) * (1.0 / one.size) for one in self.basis)
        return np.asarray(1.0 - lost)

    def trace(self, m: FloatArray | float = 1.0) -> FloatArray:
        """tr(P M) for the diagonal matrix M."""
        return total(self.w * self.left if isinstance(m, float) else self.w * self.left * m)

    def trace_of_square(self, m: FloatArray) -> FloatArray:
        """tr(P M P M)."""
        d = self.w * m
        value = total(d**2 * (2.0 * self.left - 1.0))
        for p in self.basis:
            for q in self.basis:
                value = value + total(d * p.weighted * q.x) ** 2 / (p.size * q.size)
        return value


@dataclass(frozen=True, eq=False)
class Column:
    """A column of X (n, 1), and whether it is of ones, so that products with it need not be made."""

    x: FloatArray
    ones: bool


def weighted(y: FloatArray, columns: Sequence[Column], w: FloatArray, passes: int = 1) -> "Weighted":
    """The fit of y (n, B) with weights w (n, B) or (n, 1); NaN where X has not full rank.

    passes : a second removes the rounding of the first, which is relative to y.
    """
    basis: list[Direction] = []
    mixed = np.zeros((len(columns), len(columns), w.shape[1] if len(columns) > 1 else 1))
    for p, column in enumerate(columns):
        x, plain = column.x, column.ones and not p
        least: FloatArray | float = 0.0
        if p:
            least = SINGULAR * total(w * x * x)
            for q, before in [*enumerate(basis), *enumerate(basis)]:
                share = total(before.weighted * x) / before.size
                x, mixed[q, p] = x - share * before.x, mixed[q, p] + share
        wx = w if plain else w * x
        size = total(wx if plain else wx * x)
        basis.append(Direction(x, wx, np.where(size > least, size, np.nan), plain))
    residual = y
    steps: list[FloatArray | float] = [0.0] * len(columns)
    for p, one in [*enumerate(basis)] * passes:
        step = total(one.weighted * residual) / one.size
        residual = residual - (step if one.plain else step * one.x)
        steps[p] = steps[p] + step
    return Weighted(w, residual, basis, mixed, np.array(steps))


@dataclass(frozen=True, eq=False)
class Rows:
    """B data sets of one outcome with the same X.

    effects : (n, B) effect estimates less the offset.  v : (n, B) sampling variances, or (n, 1) of all data sets.
    seen : (n, B) one where there is an estimate and zero elsewhere, where y is zero; 1.0 where nothing is missing.
    at_zero : the fit without tau2.  y : (n, B) its residuals, of which later fits lose nothing by rounding.
    """

    effects: FloatArray
    columns: Sequence[Column]
    v: FloatArray
    seen: FloatArray | float
    at_zero: Weighted
    y: FloatArray

    @classmethod
    def of(cls, y: FloatArray, X: FloatArray, v: FloatArray, seen: FloatArray | float = 1.0) -> "Rows":
        """From arrays in C order and X (n, P)."""
        columns = [Column(np.ascontiguousarray(x[:, None]), bool((x == 1).all())) for x in X.T]
        first = weighted(y, columns, seen / v, passes=2)
        return cls(y, columns, v, seen, first, first.residual)

    @cached_property
    def n(self) -> FloatArray:
        """(B,) number of rows."""
        if isinstance(self.seen, float):
            return np.full(self.y.shape[1], float(len(self.y)))
        return total(self.seen)

    @property
    def df(self) -> FloatArray:
        return self.n - len(self.columns)

    @property
    def crude(self) -> FloatArray:
        """(B,) variance of the effect estimates, with divisor n."""
        return crude_variance(self.effects, self.seen, self.n)

    @property
    def log_v(self) -> FloatArray:
        """(B,) or (1,) sum of the logarithms of the sampling variances."""
        return total(self.seen * np.log(self.v))

    def at(self, tau2: FloatArray | float, wanted: Wanted = "traces") -> Weighted:
        """The fit of y with the weights 1 / (v + tau2), which has more than is wanted, made when it is asked for."""
        return weighted(self.y, self.columns, self.seen / (self.v + tau2))

    @property
    def unweighted(self) -> tuple[Weighted, FloatArray]:
        """The fit of y in which every row counts alike, and tr(P V) of it."""
        w = np.ones((len(self.y), 1)) if isinstance(self.seen, float) else self.seen
        fit = weighted(self.y, self.columns, w)
        return fit, fit.trace(self.v)

    def tau2_at(self, Q: FloatArray) -> FloatArray:
        """(B,) tau2 at which the generalised Q, which falls in tau2, has given values (B,); NaN where Q(0) is less."""
        return root(self, Q)

    def take(self, which: IndexArray) -> "Rows":
        """Some of the data sets, for further fits."""
        of = self.y.shape[1]
        seen = self.seen if isinstance(self.seen, float) else _some(self.seen, which, of)
        return replace(self, y=_some(self.y, which, of), v=_some(self.v, which, of), seen=seen)


def root(rows: Any, Q: FloatArray) -> FloatArray:
    """(B,) tau2 at which the generalised Q of rows, which falls in tau2, has given values (B,); NaN where Q(0) is less.

    Q is a sum of z^2 / (l + tau2) over error contrasts with variances l. Its reciprocal is concave, so that Newton
    steps on it, from zero, come to the root from below.
    """
    rss = rows.at_zero.rss
    tau2, place = np.where(rss < Q, np.nan, 0.0), np.flatnonzero(rss >= Q)
    now = rows.take(place)
    for _ in range(MOST_STEPS):
        if not len(place):
            break
        fit = now.at(tau2[place], "fall")
        step = fit.rss / fit.fall * (fit.rss / Q[place] - 1.0)
        tau2[place] += np.maximum(step, 0.0)
        going = np.flatnonzero(step > ROUNDING * tau2[place])
        if len(going) < len(place):
            now, place = now.take(going), place[going]
    return tau2


def crude_variance(effects: FloatArray, seen: FloatArray | float, n: FloatArray) -> FloatArray:
    """(B,) variance of effect estimates (n, B) about their mean, with divisor n."""
    away = effects - seen * (total(effects) / n)
    return total(away**2) / n


def _some(values: FloatArray, which: IndexArray, of: int) -> FloatArray:
    """Columns (n, b) of values (n, of); what is of all data sets stays."""
    if len(which) == of or values.shape[1] < of:
        return values
    return np.ascontiguousarray(values[:, which])
