"""Weighted least squares of many data sets on one column of X, in compiled code that keeps only sums over the rows.

The operations are those of `weighted_rows`, in the same order, so that the numbers are the same to the last bit. Some
data sets at a time are copied to where they stay near the processor. Innermost loops go over them, each of few arrays
and over slices that begin at zero, so that they become vector instructions.
"""

from dataclasses import dataclass, replace
from functools import cache, cached_property
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray, IndexArray
from bayesmeta.kernel.weighted_rows import Wanted, crude_variance, root, total

NEAR = 2_048  # effect estimates that are copied at a time, which the first cache holds beside their weights
SIZE, STEP, RSS, FALL, TRACE, WEIGHT, FIRST, SECOND = range(8)  # sums of every data set
UNWEIGHTED = 8  # from where on the sums of the fit lie in which every row counts alike; its trace is tr(P V)


def _centre(y: FloatArray, x: FloatArray, v: FloatArray, tile: int, out: FloatArray) -> None:
    """The sums of the fits with the weights 1 / v, in two passes.

    y : (B, n).  x : (n,).  v : (B, n), infinite where nothing is seen, or (1, n).  out : (8, B), or (13, B) with the
    sums of the fits to the residuals in which every row counts alike.
    """
    B, n = y.shape
    Y, V, W, none = np.empty((n, tile)), np.empty((n, tile)), np.empty((n, tile)), np.zeros(tile)
    out[:, :] = 0.0
    for low in range(0, B, tile):
        high = min(low + tile, B)
        size, step, after = out[SIZE, low:high], out[FIRST, low:high], out[SECOND, low:high]
        _copy(y, low, high, Y)
        if len(v) > 1 or low == 0:
            _variances(v, low, high, V)
            _weigh(V, none, W)
        _line(Y, x, W, size, step)
        _subtract(step, x, Y)
        for i in range(n):
            w, left = W[i], Y[i]
            for b in range(len(after)):
                after[b] += w[b] * x[i] * left[b]
        for b in range(len(after)):
            after[b] = after[b] / size[b]
            out[STEP, low + b] = step[b] + after[b]
        _subtract(after, x, Y)
        _squares(Y, W, out[RSS, low:high], out[FALL, low:high])
        _traces(x, W, size, out[TRACE, low:high], out[WEIGHT, low:high])
        if len(out) > UNWEIGHTED:
            _unweighted(Y, x, V, 1 if len(v) == 1 else high - low, low, high, out)


def _unweighted(Y: FloatArray, x: FloatArray, V: FloatArray, own: int, low: int, high: int, out: FloatArray) -> None:
    """The sums of the fits in which every row counts alike, of which Y becomes the residuals.

    own : data sets with variances of their own; the others have those of the first.
    """
    m = high - low
    W = np.empty((len(x), m))
    for i in range(len(x)):
        w, variances = W[i], V[i]
        for b in range(m):
            w[b] = 1.0 if variances[b] < np.inf else 0.0
    size, step, trace = (
        out[UNWEIGHTED + SIZE, low:high],
        out[UNWEIGHTED + STEP, low:high],
        out[UNWEIGHTED + TRACE, low:high],
    )
    _line(Y, x, W, size, step)
    _subtract(step, x, Y)
    _square(Y, W, out[UNWEIGHTED + RSS, low:high])
    share = 1.0 / size
    for i in range(len(x)):
        w, variances = W[i], V[i]
        for b in range(own):
            known = variances[b] if variances[b] < np.inf else 0.0
            trace[b] += w[b] * (1.0 - w[b] * x[i] * x[i] * share[b]) * known
    trace[own:] = trace[0]


def _project(
    y: FloatArray, x: FloatArray, v: FloatArray, steps: FloatArray, tau2: FloatArray, tile: int, out: FloatArray
) -> None:
    """The sums of the fits to the residuals of `_centre` with the weights 1 / (v + tau2).

    steps : (2, B) of its two passes.  out : (3, B), (4, B) or (6, B), the first of the sums.
    """
    B, n = y.shape
    Y, V, W = np.empty((n, tile)), np.empty((n, tile)), np.empty((n, tile))
    out[:, :] = 0.0
    for low in range(0, B, tile):
        high = min(low + tile, B)
        size, step = out[SIZE, low:high], out[STEP, low:high]
        _copy(y, low, high, Y)
        _subtract(steps[0, low:high], x, Y)
        _subtract(steps[1, low:high], x, Y)
        if len(v) > 1 or low == 0:
            _variances(v, low, high, V)
        _weigh(V, tau2[low:high], W)
        _line(Y, x, W, size, step)
        _subtract(step, x, Y)
        if len(out) > FALL:
            _squares(Y, W, out[RSS, low:high], out[FALL, low:high])
        else:
            _square(Y, W, out[RSS, low:high])
        if len(out) > TRACE:
            _traces(x, W, size, out[TRACE, low:high], out[WEIGHT, low:high])


def _copy(values: FloatArray, low: int, high: int, to: FloatArray) -> None:
    for b in range(high - low):
        own = values[low + b]
        for i in range(len(own)):
            to[i, b] = own[i]


def _variances(v: FloatArray, low: int, high: int, V: FloatArray) -> None:
    if len(v) > 1:
        _copy(v, low, high, V)
    else:
        for i in range(len(V)):
            V[i, :] = v[0, i]


def _subtract(step: FloatArray, x: FloatArray, Y: FloatArray) -> None:
    for i in range(len(x)):
        left = Y[i]
        for b in range(len(step)):
            left[b] = left[b] - step[b] * x[i]


def _weigh(V: FloatArray, tau2: FloatArray, W: FloatArray) -> None:
    for i in range(len(V)):
        w, own = W[i], V[i]
        for b in range(len(tau2)):
            w[b] = 1.0 / (own[b] + tau2[b])


def _line(Y: FloatArray, x: FloatArray, W: FloatArray, size: FloatArray, step: FloatArray) -> None:
    """x'Wx, NaN where it is zero, and the coefficients."""
    for i in range(len(x)):
        w, effects = W[i], Y[i]
        for b in range(len(size)):
            wx = w[b] * x[i]
            size[b] += wx * x[i]
            step[b] += wx * effects[b]
    for b in range(len(size)):
        size[b] = size[b] if size[b] > 0.0 else np.nan
        step[b] = step[b] / size[b]


def _squares(Y: FloatArray, W: FloatArray, rss: FloatArray, fall: FloatArray) -> None:
    """y'Py and y'PPy from residuals."""
    for i in range(len(W)):
        w, left = W[i], Y[i]
        for b in range(len(rss)):
            e = w[b] * left[b]
            rss[b] += e * left[b]
            fall[b] += e * e


def _square(Y: FloatArray, W: FloatArray, rss: FloatArray) -> None:
    for i in range(len(W)):
        w, left = W[i], Y[i]
        for b in range(len(rss)):
            rss[b] += w[b] * left[b] * left[b]


def _traces(x: FloatArray, W: FloatArray, size: FloatArray, trace: FloatArray, weight: FloatArray) -> None:
    """tr P and tr W."""
    share = 1.0 / size
    for i in range(len(x)):
        w = W[i]
        for b in range(len(size)):
            trace[b] += w[b] * (1.0 - w[b] * x[i] * x[i] * share[b])
            weight[b] += w[b]


@cache
def _compiled() -> tuple[Any, Any]:
    """`_centre` and `_project`, compiled; kept on disk where numba finds a place for it."""
    from numba import njit

    parts = (_copy, _variances, _subtract, _weigh, _line, _squares, _square, _traces, _unweighted)
    for function in (*parts, _centre, _project):
        inner, plain = function in parts, getattr(function, "py_func", function)  # another thread may have been first
        try:
            made = njit(error_model="numpy", cache=True, no_cpython_wrapper=inner)(plain)
        except RuntimeError:  # nowhere to keep it
            made = njit(error_model="numpy")(plain)
        globals()[function.__name__] = made
    return globals()["_centre"], globals()["_project"]


@dataclass(frozen=True, eq=False)
class Summed:
    """The sums (B,) of a fit, as `weighted_rows.Weighted` has them."""

    sums: FloatArray

    @property
    def beta(self) -> FloatArray:
        """(1, B) the coefficient."""
        return self.sums[STEP : STEP + 1]

    @property
    def V(self) -> FloatArray:
        """(1, 1, B) its variance."""
        return (1.0 / self.sums[SIZE])[None, None]

    @property
    def rss(self) -> FloatArray:
        """y'Py, the residual sum of squares."""
        return self.sums[RSS]

    @property
    def fall(self) -> FloatArray:
        """y'PPy."""
        return self.sums[FALL]

    def trace(self) -> FloatArray:
        """tr P."""
        return self.sums[TRACE]

    @property
    def weight(self) -> FloatArray:
        """tr W."""
        return self.sums[WEIGHT]


@dataclass(frozen=True, eq=False)
class Sets:
    """B data sets of one outcome with the same one column of X, as `weighted_rows.Rows` has them.

    y : (B, n), zero where nothing is seen.  x : (n,).  v : (B, n), infinite there, or (1, n) of all data sets.
    at_zero : the fit without tau2.
    """

    y: FloatArray
    x: FloatArray
    v: FloatArray
    gaps: bool

    @classmethod
    def of(cls, y: FloatArray, x: FloatArray, v: FloatArray) -> "Sets":
        """From arrays in C order; NaN in y where nothing is seen."""
        if not np.isnan(y.sum()):
            return cls(y, np.ascontiguousarray(x), v, False)
        missing = np.isnan(y)
        return cls(np.where(missing, 0.0, y), np.ascontiguousarray(x), np.where(missing, np.inf, v), True)

    @cached_property
    def at_zero(self) -> Summed:
        """The fit without tau2."""
        return self._centre(UNWEIGHTED)

    @cached_property
    def unweighted(self) -> tuple[Summed, FloatArray]:
        """The fit of the residuals in which every row counts alike, and tr(P V) of it; made together with `at_zero`."""
        both = self._centre(UNWEIGHTED + TRACE + 1)
        self.__dict__["at_zero"], fit = both, Summed(both.sums[UNWEIGHTED:])
        return fit, fit.sums[TRACE]

    def _centre(self, wanted: int) -> Summed:
        sums = np.empty((wanted, len(self.y)))
        _compiled()[0](self.y, self.x, self.v, _tile(len(self.x)), sums)
        return Summed(sums)

    @cached_property
    def n(self) -> FloatArray:
        """(B,) number of rows."""
        return total(self._rows_seen) if self.gaps else np.full(len(self.y), float(len(self.x)))

    @property
    def df(self) -> FloatArray:
        return self.n - 1.0

    @property
    def crude(self) -> FloatArray:
        """(B,) variance of the effect estimates, with divisor n."""
        return crude_variance(np.ascontiguousarray(self.y.T), self._rows_seen if self.gaps else 1.0, self.n)

    @property
    def log_v(self) -> FloatArray:
        """(B,) or (1,) sum of the logarithms of the sampling variances."""
        v = np.ascontiguousarray(self.v.T)
        return total(np.log(np.where(v < np.inf, v, 1.0) if self.gaps else v))

    @property
    def _rows_seen(self) -> FloatArray:
        return np.ascontiguousarray((self.v < np.inf).T).astype(float)

    def at(self, tau2: FloatArray, wanted: Wanted = "traces") -> Summed:
        """The fit of the residuals with the weights 1 / (v + tau2)."""
        last = {"rss": RSS, "fall": FALL, "traces": WEIGHT}[wanted]
        sums, steps = np.empty((last + 1, len(self.y))), self.at_zero.sums[FIRST : SECOND + 1]
        _compiled()[1](self.y, self.x, self.v, steps, tau2, _tile(len(self.x)), sums)
        return Summed(sums)

    def tau2_at(self, Q: FloatArray) -> FloatArray:
        """(B,) tau2 at which the generalised Q, which falls in tau2, has given values (B,); NaN where Q(0) is less."""
        return root(self, Q)

    def take(self, which: IndexArray) -> "Sets":
        """Some of the data sets, for further fits."""
        if len(which) == len(self.y):
            return self
        some = replace(self, y=self.y[which], v=self.v if len(self.v) == 1 else self.v[which])
        some.__dict__["at_zero"] = Summed(self.at_zero.sums[:UNWEIGHTED, which])
        return some


def _tile(n: int) -> int:
    """Data sets of n rows that are copied at a time."""
    return max(8, min(256, NEAR // n))
