"""Orthonormal bases of designs, of which those with many indicator columns are mostly zeros."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.kernel.batched_linalg import WIDE, solve_upper

SPREAD = 100.0  # ratio of the sizes of rows of X, whitened, from which their order matters
FEW_OTHERS = 4  # columns for each that overlaps, from which the indicators are worth a basis of their own
ROUNDED = 1e-14  # products of columns of a basis that are orthogonal


@dataclass(frozen=True)
class Disjoint:
    """Q R of the columns of X in another order: first those that share no row with one another, whose Q needs no work.

    order (P,) : columns of X, the disjoint ones first.
    place, value (n,) : the disjoint column that is not zero in a row, and Q there; zero where there is none.
    rest (n, P - m) : Q of the others. R (P, P) : upper triangular, in that order.
    """

    order: IntArray
    place: IntArray
    value: FloatArray
    rest: FloatArray
    R: FloatArray

    @property
    def leverages(self) -> FloatArray:
        """(n,) sums of squares of the rows of Q."""
        return np.asarray(self.value**2 + (self.rest * self.rest).sum(1))

    @property
    def Q(self) -> FloatArray:
        """(n, P)"""
        disjoint = np.zeros((len(self.place), len(self.order) - self.rest.shape[1]))
        np.put_along_axis(disjoint, self.place[:, None], self.value[:, None], 1)
        return np.hstack([disjoint, self.rest])

    @property
    def factor(self) -> FloatArray:
        """(P, P) R with its columns where those of X are: X = Q factor."""
        shuffled = np.empty(self.R.shape)
        shuffled[:, self.order] = self.R
        return shuffled


def disjoint(X: FloatArray) -> Disjoint | None:
    """Such a factorisation of X (n, P) of full column rank, None where it is not worth while or not exact."""
    n, P = X.shape
    if P < WIDE:
        return None
    own, place = _disjoint_columns(X != 0)
    others = np.setdiff1d(np.arange(P), own)
    if len(others) * FEW_OTHERS > P:
        return None
    E, entry = X[:, others], np.where(place < 0, 0.0, X[np.arange(n), own[place]])
    place = np.maximum(place, 0)
    m, size = len(own), np.sqrt(np.bincount(place, entry**2, len(own)))
    value = entry / size[place]
    shared = np.zeros((m, len(others)))
    for _ in range(2):  # what the first pass leaves is the rounding of what it takes away
        step = _sums(place, value[:, None] * E, m)
        E = E - value[:, None] * step[place]
        shared += step
    rest, R_rest = np.linalg.qr(E)
    if np.abs(_sums(place, value[:, None] * rest, m)).max(initial=0.0) > ROUNDED:
        return None
    R = np.zeros((P, P))
    R[np.arange(m), np.arange(m)] = size
    R[:m, m:], R[m:, m:] = shared, R_rest
    return Disjoint(np.r_[own, others], place, value, rest, R)


def _disjoint_columns(filled: np.ndarray) -> tuple[IntArray, IntArray]:
    """Columns of which no two are filled in the same row, and which of them is in each row, -1 for none.

    Those with the fewest rows are taken first.
    """
    count, place = filled.sum(0), np.full(len(filled), -1)
    row = np.nonzero(filled.T)[1]  # of the entries of one column after the other
    end = np.cumsum(count)
    own: list[int] = []
    for j in np.argsort(count, kind="stable"):
        rows = row[end[j] - count[j] : end[j]]
        if count[j] and (place[rows] < 0).all():
            place[rows] = len(own)
            own.append(j)
    return np.array(own, np.int64), place


def _sums(place: IntArray, rows: FloatArray, m: int) -> FloatArray:
    """(m, columns) sums of the rows of every place."""
    return np.stack([np.bincount(place, column, m) for column in rows.T], axis=1) if rows.size else np.zeros((m, 0))


def orthonormal(X: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Q R of every X (B, n, P), R upper triangular, or with many indicators such a matrix with its columns in another
    order (see `solve`): Q then is mostly zeros, as X is. Where rows are of very different sizes the largest go first.

    Reflections leave errors of the size of the largest row so far: the small rows would keep no digits of their own.
    Cox and Higham (1998), in: Numerical Analysis 1997, Addison Wesley Longman, 57-73.
    """
    size = np.abs(X).max(2, initial=0.0)
    if not X.shape[2] or size.max() <= SPREAD * size.min():
        parts = disjoint(X[0]) if len(X) == 1 else None
        Q, R = np.linalg.qr(X) if parts is None else (parts.Q[None], parts.factor[None])
        return Q, R
    order = np.argsort(-size, axis=1)[:, :, None]
    sorted_Q, R = np.linalg.qr(np.take_along_axis(X, order, 1))
    Q = np.empty(X.shape)
    np.put_along_axis(Q, np.broadcast_to(order, Q.shape), sorted_Q, 1)
    return Q, R


def leverages(X: FloatArray) -> FloatArray:
    """(n,) diagonal of the projection on the columns of X (n, P)."""
    if X.shape[1] >= WIDE:
        size = np.abs(X).max(1)
        parts = disjoint(X) if size.max() <= SPREAD * size.min() else None
        if parts is not None:
            return parts.leverages
    Q = orthonormal(X[None])[0][0]
    return np.asarray((Q * Q).sum(axis=1))


def logdet_gram(X: FloatArray) -> float:
    """log|X'X| of X (n, P) of full column rank."""
    parts = disjoint(X)
    R = np.linalg.qr(X, mode="r") if parts is None else parts.R
    return 2 * float(np.log(np.abs(np.diag(R))).sum())


def solve(R: FloatArray, B: FloatArray) -> FloatArray:
    """R^-1 B for R (matrices, P, P) of `orthonormal`."""
    order = _triangular_order(R)
    if order is None:
        return np.asarray(np.linalg.solve(R, B)) if R.shape[1] >= WIDE else solve_upper(R, B)
    solved = solve_upper(R[:, :, order], B)
    result = np.empty(solved.shape)
    result[:, order] = solved
    return result


def log_determinant(R: FloatArray) -> FloatArray:
    """(matrices,) log|det R| of R (matrices, P, P) of `orthonormal`."""
    order = _triangular_order(R)
    if order is None and R.shape[1] >= WIDE:
        return np.asarray(np.linalg.slogdet(R)[1])
    diagonal = np.diagonal(R if order is None else R[:, :, order], axis1=1, axis2=2)
    return np.asarray(np.log(np.abs(diagonal)).sum(-1))


def _triangular_order(R: FloatArray) -> IntArray | None:
    """Order of its columns in which R is upper triangular; None where there is none, and for small R, which are."""
    P = R.shape[1]
    if P < WIDE:
        return None
    last = P - 1 - np.argmax(R[:, ::-1] != 0, axis=1)  # the last row of every column that is not zero
    order = np.argsort(last[0])
    return order if (np.sort(last, axis=1) == np.arange(P)).all() and (last == last[0]).all() else None
