"""Covariances of the coefficients that hold whatever the covariances within independent clusters (CR0 to CR3).

V = Phi (sum_c G_c' e_c e_c' G_c) Phi with Phi = (X'Sigma^-1 X)^-1, residuals e_c and G_c = A_c' Sigma_c^-1 X_c.
The kinds differ in A_c, which makes up for residuals that vary less than errors: a factor (CR0, CR1, CR1p, CR1S), what
makes V unbiased where the model is right (CR2), or the jackknife (CR3).

Bell and McCaffrey (2002), Surv. Methodol. 28:169-181; Pustejovsky and Tipton (2018), J. Bus. Econ. Stat. 36:672-683.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.kernel.pointwise import block_designs, block_S, marginal
from bayesmeta.kernel.weighting import Weighting

ABSORBED = 1e-9  # a cluster whose share of the information on a direction is within this of one determines it alone
UNEQUAL = 1e7  # ratio of the variances within a cluster from which the root of CR2 loses its digits


@dataclass(frozen=True)
class Clusters:
    """What the sandwich is made of: X (n, P), residuals e (n,), cluster codes (n,) and Phi (P, P).

    Clusters are unions of outer groups, Sigma is that at the Psi of `weighted`.
    """

    X: FloatArray
    residual: FloatArray
    code: IntArray
    weighted: Weighting
    cov: FloatArray

    @cached_property
    def U(self) -> FloatArray:
        """(n, P) Sigma^-1 X."""
        return self.weighted(self.X)

    @property
    def n(self) -> int:
        return int(self.code.max()) + 1

    def information(self) -> FloatArray:
        """(m, P, P) X_c' Sigma_c^-1 X_c of every cluster."""
        return self.sums(self.X[:, :, None] * self.U[:, None, :])

    def sums(self, values: FloatArray) -> FloatArray:
        """Sums of values (n, ...) over every cluster: (m, ...)."""
        total = np.zeros((self.n, *values.shape[1:]))
        np.add.at(total, self.code, values)
        return total

    @cached_property
    def _axes(self) -> tuple[FloatArray, FloatArray]:
        """Principal axes of the information of every cluster, in coordinates in which that of all is the identity."""
        root = np.linalg.cholesky(self.cov)
        share, axes = np.linalg.eigh(root.T @ self.information() @ root)
        return share, root @ axes

    def shares(self) -> FloatArray:
        """(m, P) shares of the information that each cluster has, ascending: 1 where it has all of a direction."""
        return self._axes[0]

    def absorbed(self) -> FloatArray:
        """(directions, P) of the coefficients that one cluster determines alone, of the size of their errors."""
        share, axes = self._axes
        cluster, axis = np.nonzero(share > 1 - ABSORBED)
        return np.asarray(axes[cluster, :, axis])

    def blocks(self) -> Iterator[IntArray]:
        """Observations (s, m_s) of the clusters of one size, for every size."""
        order, size = np.argsort(self.code, kind="stable"), np.bincount(self.code)
        start = np.cumsum(size) - size
        for s in np.unique(size).tolist():
            yield order[start[size == s] + np.arange(s)[:, None]]


@dataclass(frozen=True)
class Sandwich:
    """A covariance of the coefficients with what its degrees of freedom are made of.

    cov : (P, P) V; G : (n, P) adjusted designs G_c of all observations.
    """

    clusters: Clusters
    G: FloatArray
    cov: FloatArray

    def satterthwaite(self, c: FloatArray) -> float:
        """Degrees of freedom of c'beta, by the first two moments of c'Vc where the model is right."""
        D, R = self._parts(c[:, None])
        leverage = (R * R).sum((1, 2))
        gram = np.einsum("map,mbp->ab", R, R)
        d = D[:, 0, 0]
        squares = (d * d).sum() - 2 * (d * leverage).sum() + (gram * gram).sum()
        return float((d - leverage).sum() ** 2 / squares)

    def hotelling(self, L: FloatArray) -> float:
        """eta of the approximate Hotelling distribution of the Wald statistic of L'beta, L (P, q).

        NaN where the covariance of L'beta is singular.

        Tipton and Pustejovsky (2015), J. Educ. Behav. Stat. 40:604-634.
        """
        D, R = self._parts(L)
        omega = (D - R.mT @ R).sum(0)
        size, axes = np.linalg.eigh((omega + omega.T) / 2)
        if size[0] <= ABSORBED * size[-1]:
            return np.nan
        root = axes / np.sqrt(size)
        D, R = root.T @ D @ root, R @ root
        q = L.shape[1]
        return q * (q + 1) / _fourth_moments(D, R)

    def _parts(self, L: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Of the influences g_c (n_c, q) on L'beta: g_c'Sigma_c g_c (m, q, q) and Phi^(1/2)'X_c'g_c (m, P, q)."""
        of = self.clusters
        g = self.G @ (of.cov @ L)
        D = of.sums(g[:, :, None] * of.weighted.covariance_times(g)[:, None, :])
        T = of.sums(of.X[:, :, None] * g[:, None, :])
        return D, np.linalg.cholesky(of.cov).T @ T


def _fourth_moments(D: FloatArray, R: FloatArray) -> float:
    """sum_ij (tr P_ij)^2 + tr(P_ij P_ij) for P_ij = [i = j] D_i - R_i'R_j, without a matrix over pairs of clusters."""
    own = R.mT @ R
    C = np.einsum("mas,mbt->asbt", R, R)
    crossed = (C * C).sum() + (C * C.transpose(0, 3, 2, 1)).sum()
    rest = D - own
    return float(crossed + _squares(rest) - _squares(own))


def _squares(A: FloatArray) -> float:
    return float((np.trace(A, axis1=1, axis2=2) ** 2).sum() + (A * A.mT).sum())


def _scaled(factor: Callable[[int, int, int], float]) -> Callable[[Clusters], FloatArray]:
    """Designs of a kind whose A_c is the root of a factor of the numbers of clusters, observations and coefficients."""
    return lambda of: np.sqrt(factor(of.n, *of.X.shape)) * of.U


def _unbiased(of: Clusters) -> FloatArray:
    """CR2: A_c = D'B^(-1/2) D with Sigma_c = D'D and B = D (Sigma_c - X_c Phi X_c') D'; zeros of B are left out."""
    G, absorbed = np.empty(of.U.shape), (of.shares() > 1 - ABSORBED).sum(1)
    weighted = of.weighted
    for rows in of.blocks():
        known, between = block_S(weighted.S, rows, len(of.X)), block_designs(weighted.Z, weighted.groups, rows)
        Sigma = marginal(known, between, [p[:, :, None] for p in weighted.psi])[..., 0].transpose(2, 0, 1)
        D, X = np.linalg.cholesky(Sigma).mT, of.X[rows.T]
        B = D @ (Sigma - X @ of.cov @ X.mT) @ D.mT
        size, axes = np.linalg.eigh((B + B.mT) / 2)
        lost = np.arange(len(rows)) < absorbed[of.code[rows[0]]][:, None]
        power = np.where(lost, 0.0, 1 / np.sqrt(np.where(lost, 1.0, size)))
        half = axes.mT @ D
        G[rows.T] = half.mT @ (power[:, :, None] * (half @ of.U[rows.T]))
    return G


def _jackknife(of: Clusters) -> FloatArray:
    """CR3: G_c = U_c (I - Phi X_c'U_c)^-1, without a matrix over the observations of a cluster."""
    left_out = np.linalg.inv(np.eye(of.X.shape[1]) - of.cov @ of.information())
    return np.asarray((of.U[:, None, :] @ left_out[of.code])[:, 0])


KINDS: dict[str, Callable[[Clusters], FloatArray]] = {
    "CR0": _scaled(lambda m, n, P: 1.0),
    "CR1": _scaled(lambda m, n, P: m / (m - 1)),
    "CR1p": _scaled(lambda m, n, P: m / (m - P)),
    "CR1S": _scaled(lambda m, n, P: m * (n - 1) / ((m - 1) * (n - P))),
    "CR2": _unbiased,
    "CR3": _jackknife,
}


def sandwich(of: Clusters, kind: str) -> Sandwich:
    """The covariance of the coefficients of one of `KINDS`."""
    G = KINDS[kind](of)
    scores = of.sums(G * of.residual[:, None]) @ of.cov
    return Sandwich(of, G, scores.T @ scores)
