"""Corrections of the fixed part for the estimation of Psi by REML: Kenward and Roger's, and Satterthwaite's.

theta are the (co)variances on which the Psi of all levels depend, S_r = dSigma / dtheta_r, Phi = (X'Sigma^-1 X)^-1:

    P_r  = -X'Sigma^-1 S_r Sigma^-1 X        W = inverse of the expected information of theta
    Phi_A = Phi + 2 Phi {sum_rs W_rs (X'Sigma^-1 S_r Sigma^-1 S_s Sigma^-1 X - P_r Phi P_s)} Phi

The term in braces is a quadratic form of V_r = S_r Sigma^-1 X with what is left of Sigma^-1 after projecting off X, so
nothing is subtracted. The term of second derivatives of Psi, -X'Sigma^-1 S_rs Sigma^-1 X / 4 in the braces, is zero
where Psi is linear in theta. Elsewhere it depends on the choice of theta, and is left out unless asked for, as in the
first-order version of the method.

Kenward and Roger (1997), Biometrics 53:983-997; (2009), Comput. Stat. Data Anal. 53:2583-2595.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.kernel.likelihood import likelihood
from bayesmeta.kernel.statistics import Statistics
from bayesmeta.kernel.weighting import Weighting, between_times

NULL = 1e-9  # share of the information of the full likelihood below which the restricted one has none
MOVED = 1e-5  # relative change of a variance along such a direction that is none


@dataclass(frozen=True)
class SmallSample:
    """What the corrections are made of.

    cov : (P, P) Phi, and `adjusted` Phi_A; slopes : (K, P, P) P_r.
    theta_cov : (K, K) W, and unseen : (m, K) directions of theta on which the restricted likelihood says nothing, of
    the size that the full likelihood could tell from zero.
    """

    cov: FloatArray
    adjusted: FloatArray
    slopes: FloatArray
    theta_cov: FloatArray
    unseen: FloatArray

    def changes(self, L: FloatArray) -> FloatArray:
        """(K, q, q) derivatives of L'Phi L by theta, for L (P, q)."""
        to = self.cov @ L
        return np.asarray(-to.T @ self.slopes @ to)

    def identified(self, L: FloatArray) -> bool:
        """Whether L'Phi L does not change where the restricted likelihood cannot see it.

        A direction that leaves Sigma as it is, such as of two levels with the same groups, does no harm.
        """
        moved = np.tensordot(self.unseen, self.changes(L), 1)
        return bool(np.abs(moved).max(initial=0.0) <= MOVED * np.abs(L.T @ self.cov @ L).max(initial=0.0))

    def variances(self, contrasts: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """Of single contrasts (q, P) the variances (q,), their derivatives (K, q), and whether they are identified."""
        to = contrasts @ self.cov
        size = np.einsum("qp,qp->q", to, contrasts)
        moved = np.array([-np.einsum("qp,qp->q", to @ P_r, to) for P_r in self.slopes]).reshape(-1, len(contrasts))
        unseen = np.abs(self.unseen @ moved).max(0, initial=0.0)
        return size, moved, unseen <= MOVED * np.abs(size)


def small_sample(
    X: FloatArray,
    stats: Statistics,
    weighted: Weighting,
    cov: FloatArray,
    slopes: Sequence[FloatArray],
    bends: Sequence[FloatArray] | None = None,
) -> SmallSample:
    """Terms of the corrections at the Psi of `weighted`.

    Parameters
    ----------
    X : (n_obs, P) design of the fixed part; cov : (P, P) covariance of its coefficients, Phi.
    slopes : per level (a_l, a_l, K_l) derivatives of Psi by theta; bends : second ones (a_l, a_l, K_l, K_l), or None
        to leave their term out.
    """
    U = weighted(X)  # Sigma^-1 X
    levels = list(zip(weighted.Z, weighted.groups, slopes, strict=True))
    V = [between_times(Z, g, D[:, :, r], U) for Z, g, D in levels for r in range(D.shape[2])]  # S_r Sigma^-1 X
    P = X.shape[1]
    by_theta = np.stack([-U.T @ v for v in V]) if V else np.zeros((0, P, P))
    by_theta = (by_theta + by_theta.mT) / 2
    W, unseen = _theta_covariance(stats, weighted.psi, slopes)
    left = [v - X @ (cov @ (U.T @ v)) for v in V]
    between = _quadratic_form(left, weighted, W, P)
    if bends is not None:
        between = between - _of_bends(U, weighted, W, bends) / 4
    adjusted = cov + 2 * cov @ between @ cov
    return SmallSample(cov, (adjusted + adjusted.T) / 2, by_theta, W, unseen)


def _quadratic_form(V: list[FloatArray], weighted: Weighting, W: FloatArray, P: int) -> FloatArray:
    """sum_rs W_rs V_r' Sigma^-1 V_s, by the principal axes of W."""
    if not V:
        return np.zeros((P, P))
    size, axes = np.linalg.eigh(W)
    roots = axes * np.sqrt(np.maximum(size, 0))
    along = np.einsum("rnp,rs->nsp", np.stack(V), roots).reshape(len(V[0]), -1)
    products = (along.T @ weighted(along)).reshape(len(V), P, len(V), P)
    return np.asarray(np.einsum("spsq->pq", products))


def _of_bends(U: FloatArray, weighted: Weighting, W: FloatArray, bends: Sequence[FloatArray]) -> FloatArray:
    """sum_rs W_rs U'S_rs U, in which the parameters of different levels do not meet."""
    total, first = np.zeros((U.shape[1], U.shape[1])), 0
    for Z, group, bend in zip(weighted.Z, weighted.groups, bends, strict=True):
        own = slice(first, first := first + bend.shape[2])
        total += U.T @ between_times(Z, group, np.einsum("rs,ijrs->ij", W[own, own], bend), U)
    return total


def _theta_covariance(
    stats: Statistics, psi: Sequence[FloatArray], slopes: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Pseudo-inverse of the expected information of the restricted likelihood, and the directions left out."""
    K = sum(D.shape[2] for D in slopes)
    if not K:
        return np.zeros((0, 0)), np.zeros((0, 0))
    restricted, full = (_expected(stats, psi, slopes, of) for of in (True, False))
    size = np.sqrt(np.diagonal(full))
    unit = np.where(size > 0, size, 1.0)
    held, axes = np.linalg.eigh(restricted / np.outer(unit, unit))
    known = held > NULL
    W = (axes[:, known] / held[known]) @ axes[:, known].T / np.outer(unit, unit)
    return W, axes[:, ~known].T / unit


def _expected(
    stats: Statistics, psi: Sequence[FloatArray], slopes: Sequence[FloatArray], restricted: bool
) -> FloatArray:
    information = likelihood(stats, psi, restricted, directions=list(slopes)).information
    assert information is not None
    return np.asarray(information.expected.reshape(information.expected.shape[-2:]))
