"""Blocks of observations of which a part of the data leaves some out: what these add to sums over all blocks.

A part of the data differs from the whole in few independent blocks, so that sums over the part are those over the whole
less the change of these blocks, whose matrices are small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.kernel.pointwise import block_designs, block_S, blocks

ILL_CONDITIONED = 1e4  # of a block, above which its inverse loses too many digits
WORK = 4  # entries of matrices of affected blocks, for each observation of each part, beyond which they are no saving


@dataclass(frozen=True)
class Affected:
    """Pairs of a part and a block that it does not keep whole: part (m,), rows (s, m) of the block, keep (s, m)."""

    part: IntArray
    rows: IntArray
    keep: BoolArray


def affected_blocks(
    Z: Sequence[FloatArray],
    groups: Sequence[IntArray],
    S: tuple[FloatArray, IntArray, IntArray],
    keep: BoolArray,
) -> list[Affected] | None:
    """The blocks that parts keep (B, n_obs) do not keep whole; None where they are many or large."""
    made, work = [], 0
    for rows in blocks(Z, groups, S):
        whole = np.logical_and.reduce(keep[:, rows], axis=1)
        part, block = np.nonzero(~whole)
        work += len(part) * len(rows) ** 2
        if work > WORK * keep.size:
            return None
        if len(part):
            own = rows[:, block]
            made.append(Affected(part, own, keep[part, own]))
    return made


@dataclass(frozen=True)
class Changes:
    """Sums over a part less those over the whole, of B parts, at one Psi or at one for each.

    information (B, P, P) : of X' Sigma^-1 X.  scores : per level (B, a, a), of the derivative of the log-likelihood by
    Psi, at the coefficients of the whole.  precise : whether no block is ill-conditioned.
    """

    information: FloatArray
    scores: tuple[FloatArray, ...]
    precise: bool


def changes(
    affected: Sequence[Affected],
    X: FloatArray,
    Z: Sequence[FloatArray],
    groups: Sequence[IntArray],
    S: tuple[FloatArray, IntArray, IntArray],
    psi: Sequence[FloatArray],
    residual: FloatArray | None = None,
    beta_cov: FloatArray | None = None,
) -> Changes:
    """What a part lacks of the sums over all observations, in each of its affected blocks.

    psi : per level (B, a, a).  residual : (n_obs,) y less the fixed part, None where no scores are wanted.
    beta_cov : (P, P) of the restricted likelihood, whose scores have a term of it.
    """
    B, P = len(psi[0]), X.shape[1]
    information, scores, condition = np.zeros((B, P, P)), tuple(np.zeros(p.shape) for p in psi), 1.0
    for own in affected:
        between = block_designs(Z, groups, own.rows)
        x, r = np.moveaxis(X[own.rows], 0, 1), None if residual is None else residual[own.rows].T
        Sigma = _marginal(own, between, S, psi, len(X))
        for sign, kept in ((-1.0, np.ones_like(own.keep)), (1.0, own.keep)):
            W = _inverse(Sigma, kept)
            condition = max(condition, float((_largest(Sigma) * _largest(W)).max()))
            U = W @ x
            np.add.at(information, own.part, sign * (x.mT @ U))
            if r is None:
                continue
            q = (W @ r[..., None])[..., 0]
            M = q[:, :, None] * q[:, None] - W
            if beta_cov is not None:
                M += U @ beta_cov @ U.mT
            for score, (z, together) in zip(scores, between, strict=True):
                inside = np.moveaxis(together[..., 0], -1, 0) * M
                np.add.at(score, own.part, sign / 2 * np.einsum("ima,mij,jmb->mab", z, inside, z))
    return Changes(information, scores, condition < ILL_CONDITIONED)


def _marginal(
    own: Affected,
    between: Sequence[tuple[FloatArray, BoolArray]],
    S: tuple[FloatArray, IntArray, IntArray],
    psi: Sequence[FloatArray],
    n_obs: int,
) -> FloatArray:
    """Sigma (m, s, s) of every pair."""
    _, first, block = np.unique(own.rows[0], return_index=True, return_inverse=True)
    Sigma = np.moveaxis(block_S(S, own.rows[:, first], n_obs)[..., 0], -1, 0)[block]
    for (z, together), p in zip(between, psi, strict=True):
        Sigma += np.einsum("ima,mab,jmb->mij", z, p[own.part], z) * np.moveaxis(together[..., 0], -1, 0)
    return Sigma


def _inverse(Sigma: FloatArray, kept: BoolArray) -> FloatArray:
    """Sigma^-1 (m, s, s) of the observations that are kept (s, m), zero for the others."""
    both = kept.T[:, :, None] & kept.T[:, None]
    alone = np.where(both, Sigma, np.eye(Sigma.shape[1]))
    return np.where(both, np.linalg.inv(alone), 0.0)


def _largest(A: FloatArray) -> FloatArray:
    return np.asarray(np.diagonal(A, axis1=1, axis2=2).max(1))
