"""Diagonals of the generalised least squares fit at Psi = 0, without any matrix over pairs of observations."""

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.orthogonal import leverages
from bayesmeta.kernel.statistics import Design, sorted_design, whitened_design


def residual_precision(
    X: np.ndarray, group: IntArray, S: tuple[np.ndarray, IntArray, IntArray]
) -> tuple[np.ndarray, np.ndarray]:
    """Diagonals (n_obs,) of P = S^-1 - S^-1 X (X' S^-1 X)^-1 X' S^-1 and of S P = I - H, H the hat matrix.

    Parameters
    ----------
    X : (n_obs, rank) of full column rank.
    group : (n_obs,) codes of groups between which S has no entries.
    S : values, rows and columns of the lower triangle of the sampling covariance.

    Notes
    -----
    With S = C C' and C^-1 X = Q R the diagonals follow from the rows of C^-T, of C^-T Q and of X R^-1.
    """
    if np.array_equal(S[1], S[2]):
        return _uncorrelated(X, S[0], S[1])
    design = whitened_design(X, [np.zeros((len(X), 0))], [group], S)
    precision, weights = _inverse(design)
    fitted = np.linalg.solve(design.R[:, :, 0].T, design.X.T).T
    own, residual = np.empty(len(X)), np.empty(len(X))
    own[design.plan.order] = precision - (weights * weights).sum(1)
    residual[design.plan.order] = 1 - (fitted * weights).sum(1)
    return own, residual


def piece_precision(
    X: np.ndarray, group: IntArray, S: tuple[np.ndarray, IntArray, IntArray], R: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`residual_precision` of a piece of the data.

    R : (rank, rank) triangular factor of C^-1 X of all pieces.
    """
    design = sorted_design(X, [np.zeros((len(X), 0))], [group], S)
    design.columns[:, :, 0] = np.linalg.solve(R.T, design.columns[:, :, 0].T).T
    precision, weights = _inverse(design)
    fitted = np.linalg.solve(R.T, design.X.T).T
    own, residual = np.empty(len(X)), np.empty(len(X))
    own[design.plan.order] = precision - (weights * weights).sum(1)
    residual[design.plan.order] = 1 - (fitted * weights).sum(1)
    return own, residual


def _uncorrelated(X: np.ndarray, variance: np.ndarray, row: IntArray) -> tuple[np.ndarray, np.ndarray]:
    """The same for independent errors, where whitening is a division: every fit asks this."""
    precision = np.empty(len(X))
    precision[row] = 1 / variance
    residual = 1 - leverages(X * np.sqrt(precision)[:, None])
    return precision * residual, residual


def _inverse(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Diagonal of S^-1 (n_obs,) and C^-T Q (n_obs, rank), in sorted order."""
    precision, weights = np.empty(len(design.X)), np.empty(design.X.shape)
    for rows, C in zip(design.white.rows, design.white.factors, strict=True):
        root = batched_linalg.solve_lower(C, np.broadcast_to(batched_linalg.identity(len(C)), C.shape))
        precision[rows] = (root * root).sum(0)[:, 0]
        Q = np.moveaxis(design.columns[rows], 1, -1)
        weights[rows] = batched_linalg.gram(root, Q)[:, :, 0].swapaxes(1, 2)
    return precision, weights


def part_precision(
    X: np.ndarray, group: IntArray, S: tuple[np.ndarray, IntArray, IntArray], keep: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """`residual_precision` of B parts of the data, keep (B, n_obs) of whole components of S: twice (B, n_obs).

    Zero for what a part leaves out; the others identify all coefficients.
    """
    design = whitened_design(X, [np.zeros((len(X), 0))], [group], S)
    kept = keep[:, design.plan.order].astype(float)
    precision, weights = _inverse(design)
    fitted = np.linalg.solve(design.R[:, :, 0].T, design.X.T).T
    P = X.shape[1]
    F = (kept @ (fitted[:, :, None] * weights[:, None, :]).reshape(len(X), -1)).reshape(-1, P, P)
    solved = np.linalg.solve((F + F.mT) / 2, np.broadcast_to(weights.T, (len(keep), *weights.T.shape)))
    own, residual = np.empty(keep.shape), np.empty(keep.shape)
    own[:, design.plan.order] = kept * (precision - np.einsum("np,bpn->bn", weights, solved))
    residual[:, design.plan.order] = kept * (1 - np.einsum("np,bpn->bn", fitted, solved))
    return own, residual
