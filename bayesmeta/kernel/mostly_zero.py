"""Leaves most of whose columns are zero, as those of a factor with many values: products that touch only the others."""

from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_array

from bayesmeta._typing import IntArray
from bayesmeta.kernel.batched_linalg import WIDE, first_last, inverse_lower, times_upper

FILLED = 1 / 8  # largest share of entries that are not zero with which these products are worth while


@dataclass(frozen=True)
class Pattern:
    """Where the columns of a chunk's leaves may differ from zero; all rows of a leaf share their columns.

    leaf, column (k,) : of every entry, leaf by leaf.  start (n + 1,) : the first entry of every leaf.
    width : number of columns.
    """

    leaf: IntArray
    column: IntArray
    start: IntArray
    width: int

    def matrix(self, W: np.ndarray, data_set: int) -> csr_array:
        """(rows of all leaves, columns) of W (rows of a leaf, columns, data sets, leaves), first rows first."""
        r, k = len(W), len(self.leaf)
        starts = np.concatenate([[0], *(self.start[1:] + i * k for i in range(r))])
        values = W[:, self.column, data_set, self.leaf].ravel()
        return csr_array((values, np.tile(self.column, r), starts), shape=(r * W.shape[3], self.width))

    def gram_sum(self, U: np.ndarray, V: np.ndarray | None = None) -> np.ndarray:
        """U'V (columns, columns, data sets), summed over rows and leaves; of U alone U'U."""
        total = np.empty((U.shape[2], self.width, self.width))
        for b in range(U.shape[2]):
            left = self.matrix(U, b)
            (left.T @ (left if V is None else self.matrix(V, b))).tocsr().toarray(out=total[b])
        return first_last(total)

    def times(self, W: np.ndarray, dense: np.ndarray) -> np.ndarray:
        """W times a matrix (columns, m, data sets or 1, 1) that all leaves share: (rows, m, data sets, leaves)."""
        r, batch, n = len(W), max(W.shape[2], dense.shape[2]), W.shape[3]
        result = np.empty((batch, r, n, dense.shape[1]))  # so that every product is written as it comes
        for b in range(batch):
            matrix = self.matrix(W, min(b, W.shape[2] - 1))
            result[b] = (matrix @ dense[:, :, min(b, dense.shape[2] - 1), 0]).reshape(result.shape[1:])
        return result.transpose(1, 3, 0, 2)


def pattern_of(A: np.ndarray) -> Pattern | None:
    """That of A (rows, columns, data sets, leaves), None where too few columns are zero to gain by it."""
    width = A.shape[1]
    if width < WIDE or not A.size:
        return None
    filled = (A != 0).any((0, 2)).T
    if filled.sum() > FILLED * filled.size:
        return None
    leaf, column = np.nonzero(filled)
    return Pattern(leaf, column, np.r_[0, np.cumsum(filled.sum(1))], width)


def congruent(A: np.ndarray, U: np.ndarray) -> np.ndarray:
    """U'A U of symmetric A and upper triangular U."""
    if max(np.count_nonzero(A), np.count_nonzero(U)) > FILLED * A.size:
        return times_upper(times_upper(A, U).T, U)
    half = csr_array(U)
    return np.asarray((half.T @ csr_array(A) @ half).toarray())


def root_of_inverse(F: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Upper triangular M with M M' = F^-1 of positive definite F (matrices, P, P), and log|F|; LinAlgError of others.

    Where the first columns share nothing with one another but with the others, as those of a factor do, elimination
    of them fills nothing.
    """
    if F.shape[1] == 1:
        if not (F > 0).all():
            raise np.linalg.LinAlgError("Matrix is not positive definite")
        return 1 / np.sqrt(F), np.log(F[:, 0, 0])
    if F.shape[1] < WIDE:
        L = np.linalg.cholesky(F)
        return inverse_lower(L).mT, 2 * np.log(np.diagonal(L, axis1=1, axis2=2)).sum(-1)
    M = np.array([_root_of_inverse(each) for each in F])
    return M, -2 * np.log(np.diagonal(M, axis1=1, axis2=2)).sum(-1)


def _root_of_inverse(F: np.ndarray) -> np.ndarray:
    m = _diagonal_first(F)
    if m < WIDE:
        return np.asarray(inverse_lower(np.linalg.cholesky(F[None]))[0].T)
    pivot = np.diagonal(F)[:m]
    if not (pivot > 0).all():
        raise np.linalg.LinAlgError("Matrix is not positive definite")
    M = np.zeros(F.shape)
    M[np.arange(m), np.arange(m)] = 1 / np.sqrt(pivot)
    others = F[:m, m:] / np.sqrt(pivot)[:, None]
    inverse = np.linalg.inv(np.linalg.cholesky(F[m:, m:] - others.T @ others)).T
    M[m:, m:] = inverse
    M[:m, m:] = -(others @ inverse) / np.sqrt(pivot)[:, None]
    return M


def _diagonal_first(F: np.ndarray) -> int:
    """How many of the first columns of a symmetric matrix have nothing above their diagonal."""
    filled = F != 0
    np.fill_diagonal(filled, False)
    above = filled.any(0) & (filled.argmax(0) < np.arange(len(F)))
    return int(above.argmax()) if above.any() else len(F)
