"""Estimates of many data sets of one outcome with one variance tau2 between rows, compiled: each by itself, in a loop.

For independent sampling errors y_i ~ N(x_i beta, v_i + tau2), so that every statistic of a data set is a sum over its
rows with weights w = 1 / (v + tau2). With P = W - W X (X'WX)^-1 X'W the derivatives of the log-likelihoods by tau2 are

    ML    -1/2 (tr W - y'PPy)           1/2 tr WW - y'PPPy
    REML  -1/2 (tr P - y'PPy)           1/2 tr PP - y'PPPy

They vary on the scale of v + tau2, so that on a grid of which v_min + tau2 grows by a constant factor no maximum lies
unseen between two points: where the first derivative changes its sign, Newton's method finds it, and the highest is
taken. What is missing (NaN) in a data set is left out of it.

The functions are plain until `compiled` has replaced them, since the compiler takes longer to load than all of these,
and of few arguments and calls, since it takes longer for every one.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, NamedTuple

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray

TAU2, RSS, Q, LOGLIK, ARRIVED, ROWS = range(6)  # numbers of every data set
RATIO = 1.7  # of v_min + tau2 from one point of the grid to the next
MOST_POINTS, MOST_STEPS = 1_000, 100
DECREMENT = 1e-18  # of Newton's method
SINGULAR = 1e-10  # share of a row of X'WX that is left of it after those before
SMALL, ROUNDING = 1e-3, 1e-11  # SD, of the typical sampling SD, that is tried at zero; share of the loglik it may cost
EPS = float(np.finfo(float).eps)

# D (3 + P, n) of one data set: y, v, w, and the columns of X.  S (8,) sums of a fit: log|X'WX|, y'Py, y'PPy, y'PPPy,
# tr W, tr WW, tr P, tr PP.  M (2 + 4 P, P): beta, X'WW times the residuals, V = (X'WX)^-1, and X'WX, X'WWX, X'WWWX


def weigh(D: FloatArray, n: int, t: float, M: FloatArray) -> float:
    """The weighted fit at tau2 = t: weights, coefficients and their covariance in place; log|X'WX|, NaN if singular."""
    P = len(D) - 3
    if P == 1:
        F = h = 0.0
        for i in range(n):
            w = 1.0 / (D[1, i] + t)
            D[2, i] = w
            F += w * D[3, i] * D[3, i]
            h += w * D[3, i] * D[0, i]
        M[0, 0], M[2, 0] = h / F, 1.0 / F
        return np.log(F)
    M[:] = 0.0
    for i in range(n):
        w = 1.0 / (D[1, i] + t)
        D[2, i] = w
        for p in range(P):
            M[1, p] += w * D[3 + p, i] * D[0, i]
            for q in range(p + 1):
                product = w * D[3 + p, i] * D[3 + q, i]
                M[2 + P + p, q] += product
                M[2 + 2 * P + p, q] += w * product
                M[2 + 3 * P + p, q] += w * w * product
    logdet = invert(M, P)
    for p in range(P):
        for q in range(P):
            M[0, p] += M[2 + p, q] * M[1, q]
    return logdet


def fit_line(D: FloatArray, n: int, t: float, S: FloatArray, M: FloatArray) -> None:
    """The weighted fit at tau2 = t, and its sums."""
    S[0] = weigh(D, n, t, M)
    sums(D, n, S, M)


def sums_mean(D: FloatArray, n: int, S: FloatArray, M: FloatArray) -> None:
    """`sums` of one coefficient, where all of them are numbers."""
    w1 = w2 = q1 = q2 = q3 = u = c2 = c3 = 0.0
    mean, V = M[0, 0], M[2, 0]
    for i in range(n):
        w, x = D[2, i], D[3, i]
        residual = D[0, i] - x * mean
        e, wx = w * residual, w * x
        q1 += e * residual
        q2 += e * e
        q3 += w * e * e
        u += wx * e
        w1 += w
        w2 += w * w
        c2 += wx * wx
        c3 += w * wx * wx
    lost = c2 * V
    S[1], S[2], S[3] = q1, q2, q3 - u * u * V
    S[4], S[5], S[6], S[7] = w1, w2, w1 - lost, w2 - 2.0 * c3 * V + lost * lost


def squares(D: FloatArray, n: int, M: FloatArray) -> float:
    """y'Py after a fit."""
    rss = 0.0
    for i in range(n):
        residual = D[0, i]
        for p in range(len(D) - 3):
            residual -= D[3 + p, i] * M[0, p]
        rss += D[2, i] * residual * residual
    return rss


def invert(M: FloatArray, P: int) -> float:
    """(X'WX)^-1 in its place in M; the logarithm of the determinant, NaN where X has not full rank."""
    F, V, logdet = 2 + P, 2, 0.0
    for j in range(P):
        size = M[F + j, j]
        for k in range(j):
            M[F + j, j] -= M[F + j, k] * M[F + j, k]
        if not M[F + j, j] > SINGULAR * size:
            return np.nan
        M[F + j, j] = np.sqrt(M[F + j, j])
        logdet += 2.0 * np.log(M[F + j, j])
        for i in range(j + 1, P):
            for k in range(j):
                M[F + i, j] -= M[F + i, k] * M[F + j, k]
            M[F + i, j] /= M[F + j, j]
    for c in range(P):
        M[V + c, c] = 1.0
        for i in range(P):
            for k in range(i):
                M[V + i, c] -= M[F + i, k] * M[V + k, c]
            M[V + i, c] /= M[F + i, i]
        for i in range(P - 1, -1, -1):
            for k in range(i + 1, P):
                M[V + i, c] -= M[F + k, i] * M[V + k, c]
            M[V + i, c] /= M[F + i, i]
    return logdet


def sums(D: FloatArray, n: int, S: FloatArray, M: FloatArray) -> None:
    """The sums of a fit whose weights, coefficients and covariance are known, in place."""
    P = len(D) - 3
    if P == 1:
        sums_mean(D, n, S, M)
        return
    for k in range(1, 6):
        S[k] = 0.0
    M[1] = 0.0
    for i in range(n):
        w, residual = D[2, i], D[0, i]
        for p in range(P):
            residual -= D[3 + p, i] * M[0, p]
        e = w * residual
        S[1] += e * residual
        S[2] += e * e
        S[3] += w * e * e
        S[4] += w
        S[5] += w * w
        for p in range(P):
            M[1, p] += w * D[3 + p, i] * e
    C, E, lost, squared = 2 + 2 * P, 2 + 3 * P, 0.0, 0.0
    for p in range(P):
        for q in range(P):
            M[2 + P + p, q] = 0.0
            S[3] -= M[1, p] * M[2 + p, q] * M[1, q]
            squared -= 2.0 * M[2 + p, q] * M[E + max(p, q), min(p, q)]
            for k in range(P):
                M[2 + P + p, q] += M[2 + p, k] * M[C + max(k, q), min(k, q)]
        lost += M[2 + P + p, p]
    for p in range(P):
        for q in range(P):
            squared += M[2 + P + p, q] * M[2 + P + q, p]
    S[6], S[7] = S[4] - lost, S[5] + squared
    if np.isnan(S[0]):
        S[:] = np.nan


def twice_loglik(D: FloatArray, n: int, t: float, S: FloatArray, restricted: bool) -> float:
    """Twice the log-likelihood after a fit at t, but for constants."""
    total = S[1] + S[0] if restricted else S[1]
    for i in range(n):
        total += np.log(D[1, i] + t)
    return -total


def extent(D: FloatArray, n: int) -> tuple[float, float]:
    """The smallest sampling variance, and the sum of squares, beyond which no tau2 lies."""
    least, top = np.inf, 0.0
    for i in range(n):
        least = min(least, D[1, i])
        top += D[0, i] * D[0, i]
    return least, top


def highest(D: FloatArray, n: int, restricted: bool, S: FloatArray, M: FloatArray) -> tuple[float, float, bool]:
    """tau2 at the highest maximum of a likelihood, that likelihood as `twice_loglik`, and whether the search arrived.

    One loop over evaluations: of the grid, of Newton's method between two points of it, and at the maxima it finds.
    """
    least, top = extent(D, n)
    best, value, zero, arrived, there = np.nan, -np.inf, -np.inf, False, True
    t = at = slope_at = low = high = small = 0.0
    point = steps = 0
    climbing = found = False
    while point < MOST_POINTS:
        fit_line(D, n, t, S, M)
        slope = 0.5 * (S[2] - (S[6] if restricted else S[4]))
        bend = 0.5 * (S[7] if restricted else S[5]) - S[3]
        if np.isnan(slope):
            break
        if climbing:
            t, low, high, found = newton(t, low, high, slope, bend)
            steps += 1
            there = steps < MOST_STEPS
            climbing = not found and there
            found = not climbing
            continue
        if found or point == 0:
            now = twice_loglik(D, n, t, S, restricted)
            if point == 0:
                zero, small = now, SMALL * SMALL * n / S[4]
            if (found or slope <= 0) and now > value:
                best, value, arrived = t, now, there
        if found:
            found = False  # and on along the grid
        elif point > 0 and slope_at > 0 and slope <= 0:
            low, high, steps, climbing = at, t, 0, True
            t = at + (t - at) * slope_at / (slope_at - slope)
            at, slope_at = high, slope
            continue
        else:
            at, slope_at = t, slope
        if at > top and slope_at < 0:
            break
        point += 1
        t = least * (RATIO**point - 1.0)
    if 0 < best < small and zero >= value - 2.0 * ROUNDING * (1.0 + abs(value)):
        best, value = 0.0, zero
    return best, value, arrived


def newton(t: float, low: float, high: float, slope: float, bend: float) -> tuple[float, float, float, bool]:
    """A step of Newton's method between bounds, which move; whether it is the last."""
    if slope > 0:
        low = t
    else:
        high = t
    if bend < 0 and slope * slope <= -DECREMENT * bend:
        return max(t - slope / bend, 0.0), low, high, True
    after = t - slope / bend if bend < 0 else high
    if not low < after < high:
        after = 0.5 * (low + high)
    return after, low, high, after == t or high - low <= 2.0 * EPS * high


def centred(D: FloatArray, n: int, S: FloatArray, M: FloatArray, beta: FloatArray) -> bool:
    """The fit without tau2, of which y becomes the residuals, that nothing cancels; whether X has full rank."""
    S[0] = weigh(D, n, 0.0, M)
    if np.isnan(S[0]):
        return False
    for p in range(len(D) - 3):
        beta[p] = M[0, p]
        for i in range(n):
            D[0, i] -= D[3 + p, i] * beta[p]
        M[0, p] = 0.0
    sums(D, n, S, M)
    return True


def estimate(
    D: FloatArray,
    n: int,
    restricted: bool,
    S: FloatArray,
    M: FloatArray,
    beta: FloatArray,
    V: FloatArray,
    out: FloatArray,
) -> None:
    """Everything of one data set without missing values, in place; y becomes the residuals of the fixed-effects fit."""
    P = len(D) - 3
    out[:], beta[:], V[:, :] = np.nan, np.nan, np.nan
    out[ARRIVED], out[ROWS] = 0.0, n
    if n < P + restricted or not centred(D, n, S, M, beta):
        return
    out[Q] = S[1]
    t, value, arrived = highest(D, n, restricted, S, M)
    weigh(D, n, t, M)
    out[TAU2], out[RSS], out[ARRIVED] = t, squares(D, n, M), arrived
    out[LOGLIK] = 0.5 * (value - (n - P * restricted) * np.log(2.0 * np.pi))
    for p in range(P):
        beta[p] += M[0, p]
        for q in range(P):
            V[p, q] = M[2 + p, q]


def estimates(
    Y: FloatArray,
    X: FloatArray,
    v: FloatArray,
    restricted: bool,
    beta: FloatArray,
    V: FloatArray,
    out: FloatArray,
) -> None:
    """All data sets: Y (B, n), NaN where missing, v (B, n) or (1, n)."""
    B, n = Y.shape
    P = X.shape[1]
    D, S, M, m = np.zeros((3 + P, n)), np.zeros(8), np.zeros((2 + 4 * P, P)), 0
    for b in range(B):
        m, row, whole = 0, b if len(v) > 1 else 0, b > 0 and m == n  # then D has the whole X
        for i in range(n):
            if Y[b, i] == Y[b, i]:
                D[0, m], D[1, m] = Y[b, i], v[row, i]
                if not (whole and m == i):
                    for p in range(P):
                        D[3 + p, m] = X[i, p]
                m += 1
        estimate(D, m, restricted, S, M, beta[b], V[b], out[b])


_IN_ORDER: tuple[Callable[..., Any], ...] = (
    invert,
    weigh,
    sums_mean,
    sums,
    fit_line,
    squares,
    twice_loglik,
    newton,
    extent,
    highest,
    centred,
)
_IN_ORDER += (estimate, estimates)


@cache
def compiled() -> Any:
    """`estimates`, compiled, with all that it calls; kept on disk where numba finds a place for it."""
    from numba import njit

    for function in _IN_ORDER:
        inner = function is not estimates
        try:
            made = njit(error_model="numpy", cache=True, no_cpython_wrapper=inner)(function)
        except RuntimeError:  # nowhere to keep it
            made = njit(error_model="numpy")(function)
        globals()[function.__name__] = made
    return globals()["estimates"]


class RowFits(NamedTuple):
    """Estimates of B data sets of one outcome with one random effect a row; NaN where they cannot be told.

    beta (B, P); V (B, P, P) its covariance; tau2, the weighted residual sum of squares at it, and that at zero (B,);
    loglik (B,), NaN of moments; n (B,) rows; arrived (B,) whether the search did.
    """

    beta: FloatArray
    V: FloatArray
    tau2: FloatArray
    rss: FloatArray
    Q: FloatArray
    loglik: FloatArray
    n: FloatArray
    arrived: FloatArray

    def without(self, lacking: BoolArray) -> "RowFits":
        """The same with NaN for some data sets, which did not arrive."""
        if not lacking.any():
            return self
        beta, V, *numbers = (each.copy() for each in self)
        for each in (beta, V, *numbers[:-2]):
            each[lacking] = np.nan
        numbers[-1][lacking] = 0.0
        return RowFits(beta, V, *numbers)


def estimates_of(Y: FloatArray, X: FloatArray, v: FloatArray, restricted: bool) -> RowFits:
    """Estimates by (restricted) likelihood of the data sets Y (B, n), NaN where missing.

    X : (n, P).  v : (B, n) or (n,) sampling variances.
    """
    B, P = len(Y), X.shape[1]
    typical = v if v.ndim == 1 else np.exp(np.mean(np.log(v), axis=0))
    R = np.linalg.qr(X / np.sqrt(typical)[:, None], mode="r")
    X = np.linalg.solve(R.T, X.T).T
    beta, V, out = np.empty((B, P)), np.empty((B, P, P)), np.empty((B, 6))
    arrays = [np.ascontiguousarray(each, dtype=float) for each in (Y, X, np.atleast_2d(v))]
    compiled()(*arrays, restricted, beta, V, out)
    back = np.linalg.inv(R)
    loglik = out[:, LOGLIK] + _half_logdet(X, np.isnan(Y)) if restricted else out[:, LOGLIK]
    V = np.einsum("pq,bqr,sr->bps", back, V, back)
    return RowFits(beta @ back.T, V, out[:, TAU2], out[:, RSS], out[:, Q], loglik, out[:, ROWS], out[:, ARRIVED])


def _half_logdet(X: FloatArray, missing: BoolArray) -> FloatArray | float:
    """log|X'X| / 2 of the rows that every data set has."""
    if not missing.any():
        return float(np.linalg.slogdet(X.T @ X)[1] / 2)
    products = (X[:, :, None] * X[:, None, :]).reshape(len(X), -1)
    with np.errstate(divide="ignore", invalid="ignore"):
        crossed = ((~missing).astype(float) @ products).reshape(-1, X.shape[1], X.shape[1])
        return np.asarray(np.linalg.slogdet(crossed)[1] / 2)
