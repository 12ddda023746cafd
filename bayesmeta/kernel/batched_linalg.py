"""Algebra of many small matrices at once: (rows, columns, data sets, groups), vectorised over the last two axes.

LAPACK called once per small matrix costs more in calls than in arithmetic, so the loops here run over rows and
columns; large matrices, and few of them, go to LAPACK. Products go to einsum, not to BLAS, whose threads cost more than
they give on thin matrices; wide ones, of many coefficients, go to BLAS. Einsum broadcasts axes of length one.
"""

from functools import cache

import numpy as np
from scipy.linalg.blas import dtrmm
from scipy.linalg.lapack import dtrtri, dtrtrs

UNROLL = 12  # largest size for which loops over rows beat LAPACK
WIDE = 48  # number of rows from which BLAS wins over einsum
FEW = 24  # number of matrices up to which LAPACK wins
NEARLY_SINGULAR = 1e-3  # share of a variance that is left given those before it, below which a factor is refined
REFINEMENTS = 2  # steps; each squares the error


def _to_lapack(A: np.ndarray) -> np.ndarray:
    return A.transpose(2, 3, 0, 1)


def _from_lapack(A: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(A.transpose(2, 3, 0, 1))


def _by_lapack(A: np.ndarray) -> bool:
    return len(A) > UNROLL or (len(A) > 1 and A[0, 0].size <= FEW)


def cholesky(A: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors of positive definite matrices."""
    a = len(A)
    if a == 1:
        return np.sqrt(A)
    if _by_lapack(A):
        return _from_lapack(np.linalg.cholesky(_to_lapack(A)))
    L = np.zeros(A.shape)
    for j in range(a):
        column = A[j:, j]
        for k in range(j):
            column = column - L[j:, k] * L[j, k]
        np.sqrt(column[0], out=L[j, j])
        np.divide(column[1:], L[j, j], out=L[j + 1 :, j])
    return L


def accurate_cholesky(A: np.ndarray) -> np.ndarray:
    """Lower Cholesky factors, right to rounding of their own entries where the matrices are nearly singular.

    An error E of L L' = A - E is an error of L^-1 E L^-T in what the factor whitens, which grows as the inverse of the
    smallest eigenvalue. Taken from the exact difference A - L L', and undone as L (I + its lower half), what is left is
    the rounding of L itself, which grows as the square root of that inverse only.
    """
    L = cholesky(A)
    if len(A) == 1:
        return L
    diagonal = np.arange(len(A))
    pivot = (L[diagonal, diagonal] ** 2 / A[diagonal, diagonal]).min(0)
    data_set, group = np.nonzero(~(pivot > NEARLY_SINGULAR))
    if len(group):
        few = A[:, :, data_set, group][:, :, None]
        L[:, :, data_set, group] = _refined(L[:, :, data_set, group][:, :, None], few)[:, :, 0]
    return L


def _refined(L: np.ndarray, A: np.ndarray) -> np.ndarray:
    half = np.tril(np.ones((len(L), len(L))), -1) + np.eye(len(L)) / 2
    for _ in range(REFINEMENTS):
        G = solve_lower(L, transpose(solve_lower(L, _difference(A, L))))
        L = L + product(L, half[:, :, None, None] * G)
    return L


def _difference(A: np.ndarray, L: np.ndarray) -> np.ndarray:
    """A - L L', the products and their sum without rounding errors but those of the errors.

    Ogita, Rump and Oishi (2005), SIAM J. Sci. Comput. 26:1955-1988, algorithm 5.3 (Dot2).
    """
    total, errors = A, np.zeros(A.shape)
    for k in range(len(L)):
        p, e = _two_product(L[:, None, k], L[None, :, k])
        new = total - p
        part = new - total
        errors += (total - (new - part)) - (p + part) - e
        total = new
    return np.asarray(total + errors)


def _two_product(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The rounded product and its error (Dekker 1971)."""
    p = a * b
    a_high, b_high = _high(a), _high(b)
    a_low, b_low = a - a_high, b - b_high
    return p, ((a_high * b_high - p) + a_high * b_low + a_low * b_high) + a_low * b_low


def _high(a: np.ndarray) -> np.ndarray:
    """The upper half of the digits."""
    c = 134217729.0 * a
    return np.asarray(c - (c - a))


def solve_lower(L: np.ndarray, B: np.ndarray) -> np.ndarray:
    """L^-1 B for lower triangular L; batch axes broadcast."""
    a = len(L)
    if a == 1:
        return np.asarray(B / L)
    if a > UNROLL:
        return _from_lapack(np.linalg.solve(_to_lapack(L), _to_lapack(B)))
    X = np.empty((a, B.shape[1], *np.broadcast_shapes(L.shape[2:], B.shape[2:])))
    for i in range(a):
        row = B[i]
        for k in range(i):
            row = row - L[i, k] * X[k]
        np.divide(row, L[i, i], out=X[i])
    return X


def solve_transposed(L: np.ndarray, B: np.ndarray) -> np.ndarray:
    """L'^-1 B for lower triangular L; batch axes broadcast."""
    return solve_lower(L[::-1, ::-1].swapaxes(0, 1), B[::-1])[::-1]


def inverse_lower(L: np.ndarray) -> np.ndarray:
    """Inverses of lower triangular L (matrices, rows, columns)."""
    if L.shape[1] < WIDE:
        return np.asarray(np.linalg.inv(L))
    # the upper triangular transpose is what Fortran reads, and the inverse comes back the same way
    return np.array([dtrtri(np.ascontiguousarray(matrix).T, lower=0)[0].T for matrix in L])


def solve_upper(R: np.ndarray, B: np.ndarray) -> np.ndarray:
    """R^-1 B for upper triangular R (matrices, rows, columns)."""
    if R.shape[1] < WIDE:
        return np.asarray(np.linalg.solve(R, B))
    n = max(len(R), len(B))
    matrices = (np.broadcast_to(M, (n, *M.shape[1:])) for M in (R, B))
    return np.array([dtrtrs(*pair)[0] for pair in zip(*matrices, strict=True)])


def log_diagonal(L: np.ndarray) -> np.ndarray:
    """Sum over the diagonal of log L_jj, for every matrix."""
    return np.asarray(sum(np.log(L[j, j]) for j in range(len(L))))


def left(P: np.ndarray, T: np.ndarray) -> np.ndarray:
    """sum_d P[f, d] T[r, d], for P (f, d, data sets, 1), the same for all groups of a data set."""
    if P.shape[1] == 1:
        return np.asarray(P[:, 0] * T)
    if min(P.shape[:2]) >= WIDE:
        return (T.transpose(0, 2, 3, 1) @ last_first(P[..., 0]).mT).transpose(0, 3, 1, 2)
    if P.shape[2] == 1:
        return np.asarray(np.einsum("fd,rdbn->rfbn", P[:, :, 0, 0], T))
    return np.asarray(np.einsum("fdb,rdbn->rfbn", P[..., 0], T))


def times_upper(B: np.ndarray, U: np.ndarray) -> np.ndarray:
    """B U of two matrices, U upper triangular: half of what a full product takes."""
    return np.asarray(dtrmm(1.0, U.T, B.T, lower=1).T)


def gram(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """U'V for every matrix."""
    if len(U) == 1:
        return np.asarray(U[0][:, None] * V[0][None, :])
    return np.asarray(np.einsum("ribn,rjbn->ijbn", U, V))


def product(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """U V for every matrix."""
    if U.shape[1] == 1:
        return np.asarray(U * V)
    return np.asarray(np.einsum("idbn,djbn->ijbn", U, V))


def gram_sum(U: np.ndarray, V: np.ndarray) -> np.ndarray:
    """U V' summed over columns and groups, for matrices with the same rows: (rows of U, rows of V, data sets)."""
    if min(len(U), len(V)) >= WIDE:
        A, B = (M.transpose(2, 0, 1, 3).reshape(M.shape[2], len(M), -1) for M in _same_batch(U, V))
        return first_last(A @ B.mT)
    return np.asarray(np.einsum("icbn,jcbn->ijb", U, V))


def _same_batch(U: np.ndarray, V: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    if U.shape[2:] == V.shape[2:]:
        return U, V
    batch = np.broadcast_shapes(U.shape[2:], V.shape[2:])
    return np.broadcast_to(U, (*U.shape[:2], *batch)), np.broadcast_to(V, (*V.shape[:2], *batch))


def transpose(A: np.ndarray) -> np.ndarray:
    return A.swapaxes(0, 1)


def last_first(A: np.ndarray) -> np.ndarray:
    """A with its last axis before the others; `np.moveaxis` takes ten times as long to find out which that is."""
    return A.transpose(A.ndim - 1, *range(A.ndim - 1))


def first_last(A: np.ndarray) -> np.ndarray:
    """A with its first axis behind the others."""
    return A.transpose(*range(1, A.ndim), 0)


@cache
def identity(a: int) -> np.ndarray:
    """(a, a, 1, 1), not to be written to."""
    made = np.eye(a)[:, :, None, None]
    made.flags.writeable = False
    return made


def psd_factor(Psi: np.ndarray) -> np.ndarray:
    """F with F F' = Psi for positive semi-definite Psi (a, a, data sets, 1): its Cholesky factor, or where a Psi is
    singular, one from the eigenvectors of its correlation matrix.
    """
    if len(Psi) <= 1:
        return np.sqrt(Psi)
    try:
        return _from_lapack(np.linalg.cholesky(_to_lapack(Psi)))
    except np.linalg.LinAlgError:
        return _eigen_factor(Psi)


def _eigen_factor(Psi: np.ndarray) -> np.ndarray:
    # Of the correlation matrix, so that variances of very different sizes keep their digits.
    diagonal = np.arange(len(Psi))
    sd = np.sqrt(Psi[diagonal, diagonal])
    inverse = np.divide(1.0, sd, out=np.zeros_like(sd), where=sd > 0)
    values, vectors = np.linalg.eigh(_to_lapack(Psi * inverse[:, None] * inverse[None, :]))
    return _from_lapack(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :]) * sd[:, None]


def triangularise(W: np.ndarray, a: int) -> np.ndarray:
    """Householder reflections that make the first `a` columns of every W upper triangular; W is overwritten.

    The first `a` rows then hold R and U'(the other columns), the rows below what is left of the other columns after
    projecting off the first ones. The row with the largest entry comes first (Powell and Reid 1969): otherwise rows of
    very different sizes, as sampling variances of 1 and 1e-12 make them, would lose the digits of the small ones.
    """
    for j in range(min(a, len(W) - 1)):
        _largest_first(W[j:], j)
        v = W[j:, j].copy()
        norm = np.sqrt((v * v).sum(0))
        v[0] += np.copysign(norm, v[0])
        length = (v * v).sum(0)
        beta = np.divide(2.0, length, out=np.zeros_like(length), where=length > 0)
        rest = W[j:, j:]
        rest -= v[:, None] * (beta * (v[:, None] * rest).sum(0))
        W[j + 1 :, j] = 0.0
    return W


def root_of_sum(W: np.ndarray) -> np.ndarray:
    """Lower triangular R with R R' = I + W'W for every W (r, a); no square is formed, so W may be of any size."""
    a = W.shape[1]
    if a == 1:
        return np.asarray(np.sqrt(1.0 + (W * W).sum(0, keepdims=True)))
    stacked = np.concatenate([W, np.broadcast_to(identity(a), (a, a, *W.shape[2:]))])
    lower = transpose(triangularise(stacked, a)[:a])
    sign = np.copysign(1.0, lower[np.arange(a), np.arange(a)])
    return np.asarray(lower * sign[None])


def _largest_first(W: np.ndarray, column: int) -> None:
    """Exchange the first row of every W and the one whose entry in a column is the largest; in place."""
    which = np.abs(W[:, column]).argmax(0)
    data_set, group = np.nonzero(which)
    if len(group):
        at = which[data_set, group]
        first = W[0, :, data_set, group].copy()
        W[0, :, data_set, group] = W[at, :, data_set, group]
        W[at, :, data_set, group] = first
