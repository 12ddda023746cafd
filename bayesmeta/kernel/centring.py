"""From data and designs to sufficient statistics, centred so that no digits are lost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bayesmeta.kernel.likelihood import likelihood
from bayesmeta.kernel.orthogonal import orthonormal
from bayesmeta.kernel.partitioned import PartitionedStatistics
from bayesmeta.kernel.statistics import Design, Statistics, reduce, whitened_design
from bayesmeta.kernel.whitening import PartWhitener

UNEQUAL = 1e4  # ratio of standard errors from which X is made orthonormal at another Psi than 0
ENORMOUS = 1e5  # Q / df from which it is the work of a few observations, or nothing varies less
CANDIDATES = 9  # Psi that are tried then
ROUNDS = 3  # of that: each finds more digits of the smaller one
HETEROSCEDASTIC = 1e8  # ratio of the sampling variances from which the same is tried
HETEROGENEOUS = 100.0  # Q / df above which the fixed-effects fit is too far from the answer to centre y by


def statistics(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Statistics:
    """Reduce data and designs to sufficient statistics.

    Parameters
    ----------
    y : (n_obs,) or (B, n_obs) effect estimates of one or B data sets of the same design.
    X : (n_obs, P) of full column rank.
    Z, groups : per level, outer to inner, (n_obs, a_l) designs and (n_obs,) codes 0 .. n_groups - 1. An inner group
        lies within one outer group.
    S : values (nnz,) or (B, nnz), rows and columns of the lower triangle of the sampling covariance; it does not
        couple observations of different outer groups.
    """
    design = whitened_design(X, Z, groups, S)
    return _centred(design, np.atleast_2d(y)[:, design.plan.order].T, S)


def part_statistics(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    keep: np.ndarray,
) -> Statistics:
    """Statistics of B parts of one data set, as of B data sets: what a part leaves out is as if it were not there.

    `n_obs`, `outer_size`, `n_groups` and `logdet_XX` remain those of the whole, so that log-likelihoods of different
    parts have different constants.

    Parameters
    ----------
    y, X, Z, groups, S : as for `statistics`, of one data set.
    keep : (B, n_obs) whether an observation belongs to a part; the others are whole components of S, and those that
        remain identify all coefficients.
    """
    whole = whitened_design(X, Z, groups, S)
    kept = np.ascontiguousarray(keep[:, whole.plan.order].T, dtype=float)
    columns = whole.columns * kept[:, None]
    first_x = columns.shape[1] - X.shape[1]
    Q, R = orthonormal(np.moveaxis(columns[:, first_x:], -1, 0))
    columns[:, first_x:] = np.moveaxis(Q, 0, -1)
    white = PartWhitener(whole.white.rows, whole.white.factors, kept)
    design = replace(whole, columns=columns, white=white, R=np.moveaxis(R @ whole.R[:, :, 0], 0, -1))
    return _centred(design, np.broadcast_to(y[whole.plan.order, None], kept.shape), S)


def _centred(design: Design, y: np.ndarray, S: tuple[np.ndarray, np.ndarray, np.ndarray]) -> Statistics:
    """Statistics of y (n_obs, B) in sorted order."""
    stats = reduce(design, y, design.fixed_fit(y))
    excess = stats.Q / max(1, stats.n_obs - stats.n_coef)
    variances = np.atleast_2d(S[0])[:, S[1] == S[2]]
    ratio = float((variances.max(1) / variances.min(1)).max())
    most = np.maximum(excess, ratio if ratio > HETEROSCEDASTIC else 0.0)
    if most.max() > HETEROGENEOUS and any(stats.dims):
        # The residual sum of squares would be a difference of numbers of the size of Psi / S.
        near = _centred_at(heterogeneous(stats, most), stats, design, y)
        return replace(near, beta_fixed=stats.beta_fixed, Q=stats.Q)
    return stats


def heterogeneous(stats: Statistics | PartitionedStatistics, most: np.ndarray) -> list[np.ndarray]:
    """Psi (B, a, a) of every level that explains the excess (B,) of Q over its degrees of freedom.

    Where a few very precise observations make it enormous, or hide it, the likeliest of none and smaller ones.
    """
    if most.max() <= ENORMOUS:
        return _multiple(stats, most)
    factors = [0 * most, *(most**share for share in np.linspace(0.0, 1.0, CANDIDATES))]
    candidates = [_multiple(stats, factor) for factor in factors]
    loglik = np.stack([np.atleast_1d(likelihood(stats, psi, restricted=False).loglik) for psi in candidates])
    return _multiple(stats, np.choose(loglik.argmax(0), factors))


def _multiple(stats: Statistics | PartitionedStatistics, factor: np.ndarray) -> list[np.ndarray]:
    """Psi (B, a, a) of every level: zero but at the innermost, a multiple (B,) of the typical sampling variances."""
    innermost = stats.depth - 1
    psi = [np.zeros((len(factor), a, a)) for a in stats.dims]
    psi[innermost] += factor[:, None, None] * np.diag(stats.typical[innermost] ** 2)
    return psi


def _centred_at(psi: list[np.ndarray], stats: Statistics, design: Design, y: np.ndarray) -> Statistics:
    """Statistics of y centred by the fit at Psi, X orthonormal there where it must be."""
    for _ in range(ROUNDS):
        value = likelihood(stats, psi, restricted=False)
        rotate = one_sided(value.top.M)
        design = rotated(design, value.top.M) if rotate else design
        stats = reduce(design, y, value.beta.T)
        if not rotate:
            break
    return stats


def one_sided(M: np.ndarray) -> bool:
    """Whether coefficients that Psi = 0 tells apart equally well are told apart very unequally at another Psi.

    M (B, P, P) : root of their covariance there, upper triangular, where that at Psi = 0 is the identity.
    """
    if M.shape[1] == 1:
        return False
    return bool((np.linalg.norm(M, axis=(1, 2)) * np.linalg.norm(np.linalg.inv(M), axis=(1, 2)) > UNEQUAL).any())


def rotated(design: Design, M: np.ndarray) -> Design:
    """The design with X R^-1 M for X R^-1."""
    first_x = design.columns.shape[1] - design.X.shape[1]
    shape = (len(design.columns), design.columns.shape[1], len(M))
    columns = np.broadcast_to(design.columns, shape).copy()
    columns[:, first_x:] = np.einsum("npb,bpq->nqb", columns[:, first_x:], M)
    R = np.linalg.solve(M, np.moveaxis(design.R, -1, 0))
    return replace(design, columns=columns, R=np.moveaxis(R, 0, -1))
