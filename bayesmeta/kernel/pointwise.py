"""Distribution of every observation given the others, for many draws of the parameters: what leave-one-out needs."""

from collections.abc import Iterator, Sequence

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.layout import components
from bayesmeta.kernel.likelihood import LOG_2PI, matrix_first, pieces

BY_ROWS = 128  # largest block for which loops over rows, for many draws at once, keep up with LAPACK


def pointwise_loglik(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    psi: Sequence[np.ndarray],
    beta: np.ndarray,
) -> np.ndarray:
    """log p(y_j | the other observations, beta, Psi) of every observation, for every draw: (B, n_obs).

    Parameters
    ----------
    y : (n_obs,) effect estimates, less the offset; X : (n_obs, P).
    Z, groups : per level, outer to inner, (n_obs, a_l) designs and (n_obs,) codes.
    S : values, rows and columns (nnz,) of the lower triangle of the sampling covariance.
    psi : per level (a_l, a_l) or (B, a_l, a_l), positive semi-definite.
    beta : (P,) or (B, P).

    Notes
    -----
    N(y_j; y_j - g_j / c_j, 1 / c_j) with g = Sigma^-1 (y - X beta) and c = diag Sigma^-1 (Rasmussen and Williams 2006,
    Gaussian Processes for Machine Learning, equation 5.12). Sigma is worked on block by block with full matrices: a
    block, an outer group unless that falls apart, of n observations costs some n^3 operations for every draw.
    """
    found = np.empty((len(y), _n_draws(psi, beta)))
    for at, weighted, precision in _given_others(y, X, Z, groups, S, psi, beta):
        found[at] = (np.log(precision) - LOG_2PI - weighted * weighted / precision) / 2
    return found.T


def pointwise_moments(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    psi: Sequence[np.ndarray],
    beta: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD of every observation given the other observations, beta and Psi, for every draw: twice (B, n_obs).

    Arguments are those of `pointwise_loglik`, which is the log density of y under these normal distributions.
    """
    mean, sd = np.empty((2, len(y), _n_draws(psi, beta)))
    for at, weighted, precision in _given_others(y, X, Z, groups, S, psi, beta):
        mean[at] = y[at[0], None] - weighted / precision
        sd[at] = 1 / np.sqrt(precision)
    return mean.T, sd.T


def _n_draws(psi: Sequence[np.ndarray], beta: np.ndarray) -> int:
    return int(np.broadcast_shapes(np.atleast_2d(beta).shape[:1], *(np.shape(p)[:-2] for p in psi))[0])


def _given_others(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    psi: Sequence[np.ndarray],
    beta: np.ndarray,
) -> Iterator[tuple[tuple[IntArray, slice], np.ndarray, np.ndarray]]:
    """Observations (s, n) and draws, with Sigma^-1 (y - X beta) and diag Sigma^-1 (s, n, B) of these."""
    B, batch = _n_draws(psi, beta), [matrix_first(p)[..., 0] for p in psi]
    residual = np.array(np.broadcast_to(y[:, None] - np.einsum("np,bp->nb", X, np.atleast_2d(beta)), (len(y), B)))
    for rows in blocks(Z, groups, S):
        known, between = block_S(S, rows, len(y)), block_designs(Z, groups, rows)
        for part in pieces(B, 4 * known.size):
            some = [p[..., part] if p.shape[2] > 1 else p for p in batch]
            inverse = _by_lapack if len(rows) > BY_ROWS else _by_rows
            at = rows, part
            yield at, *inverse(marginal(known, between, some), residual[at])


def blocks(
    Z: Sequence[np.ndarray], groups: Sequence[np.ndarray], S: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> Iterator[IntArray]:
    """Observations (s, n) of n blocks of one size, each block independent of all other observations."""
    n_obs = len(groups[0])
    row, col = [S[1]], [S[2]]
    for z, code in zip(Z, groups, strict=True):
        if z.shape[1]:
            first, which = np.unique(code, return_index=True, return_inverse=True)[1:]
            row.append(np.arange(n_obs))
            col.append(first[which])
    label = components(n_obs, np.concatenate(row), np.concatenate(col))
    order, size = np.argsort(label, kind="stable"), np.bincount(label)
    start = np.cumsum(size) - size
    for s in np.unique(size).tolist():
        these = start[size == s]
        for part in pieces(len(these), s * s):
            yield order[these[part] + np.arange(s)[:, None]]


def block_S(S: tuple[np.ndarray, np.ndarray, np.ndarray], rows: IntArray, n_obs: int) -> np.ndarray:
    """(s, s, n, 1) sampling covariances of the blocks."""
    value, row, col = S
    s, n = rows.shape
    place, block = np.full(n_obs, -1), np.zeros(n_obs, np.int64)
    place[rows], block[rows] = np.arange(s)[:, None], np.arange(n)
    own = np.flatnonzero(place[row] >= 0)
    i, j, at = place[row[own]], place[col[own]], block[row[own]]
    known = np.zeros((s, s, n, 1))
    known[i, j, at, 0] = value[own]
    known[j, i, at, 0] = value[own]
    return known


def block_designs(
    Z: Sequence[np.ndarray], groups: Sequence[np.ndarray], rows: IntArray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Per level (s, n, a) designs and (s, s, n, 1) whether two observations share the group."""
    codes = [np.asarray(code)[rows] for code in groups]
    return [(z[rows], (code[:, None] == code[None])[..., None]) for z, code in zip(Z, codes, strict=True)]


def marginal(
    known: np.ndarray, between: Sequence[tuple[np.ndarray, np.ndarray]], psi: Sequence[np.ndarray]
) -> np.ndarray:
    """Sigma = S + Z Psi Z' (s, s, n, B)."""
    Sigma = np.array(np.broadcast_to(known, (*known.shape[:3], max(p.shape[2] for p in psi))))
    for (z, together), p in zip(between, psi, strict=True):
        for c, d in np.ndindex(p.shape[:2]):
            weight = z[:, None, :, c] * z[None, :, :, d]
            Sigma += (weight[..., None] * together) * p[c, d]
    return Sigma


def _by_rows(Sigma: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sigma^-1 residual and diag Sigma^-1, from the inverse of the Cholesky factor row by row."""
    L = batched_linalg.cholesky(Sigma)
    weighted, precision = np.zeros(residual.shape), np.zeros(L.shape[1:])
    rows: list[np.ndarray] = []
    for i in range(len(L)):
        row = np.zeros((i + 1, *L.shape[2:]))
        row[i] = 1.0
        for k, above in enumerate(rows):
            row[: k + 1] -= L[i, k] * above
        row /= L[i, i]
        rows.append(row)
        precision[: i + 1] += row * row
        weighted[: i + 1] += row * (row * residual[: i + 1]).sum(0)
    return weighted, precision


def _by_lapack(Sigma: np.ndarray, residual: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The same one matrix at a time."""
    from scipy.linalg import lapack

    # Transposed symmetric matrices are what LAPACK takes without a copy.
    matrices = np.ascontiguousarray(Sigma.transpose(2, 3, 0, 1))
    weighted, precision = np.empty(residual.shape), np.empty(residual.shape)
    for block, draw in np.ndindex(residual.shape[1:]):
        at = block, min(draw, matrices.shape[1] - 1)
        L, failed = lapack.dpotrf(matrices[at].T, lower=1)
        if failed:
            raise np.linalg.LinAlgError("a marginal covariance is not positive definite")
        weighted[:, block, draw] = lapack.dpotrs(L, residual[:, block, draw], lower=1)[0]
        precision[:, block, draw] = np.diagonal(lapack.dpotri(L, lower=1)[0])
    return weighted, precision
