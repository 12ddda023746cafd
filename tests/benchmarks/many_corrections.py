"""Small-sample corrections of many data sets at once, for the studies of coverage and size.

For models whose groups have the same number of observations and whose Sigma is linear in theta: full matrices of every
group, with the data sets as a further axis. `coverage` compares the first data sets of every cell with the package.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.special import chdtri, fdtrc, ndtri, stdtr, stdtrit

from bayesmeta.inference.adjusted import moments_of_f
from tests.support.dense import FloatArray


@dataclass(frozen=True)
class Many:
    """B data sets of m groups of s observations.

    X (B, m, s, P) designs; y (B, m, s); S (B, m, s, s) sampling covariances; slopes (K, s, s) dSigma / dtheta within a
    group; theta (B, K).
    """

    X: FloatArray
    y: FloatArray
    S: FloatArray
    slopes: FloatArray
    theta: FloatArray

    @cached_property
    def Sigma(self) -> FloatArray:
        return self.S + np.tensordot(self.theta, self.slopes, 1)[:, None]

    @cached_property
    def V(self) -> FloatArray:
        return np.linalg.inv(self.Sigma)

    @cached_property
    def U(self) -> FloatArray:
        """Sigma^-1 X."""
        return self.V @ self.X

    @cached_property
    def Phi(self) -> FloatArray:
        return np.linalg.inv((self.X.mT @ self.U).sum(1))

    @cached_property
    def beta(self) -> FloatArray:
        score = np.einsum("bmsp,bms->bp", self.U, self.y)
        return np.asarray((self.Phi @ score[:, :, None])[:, :, 0])

    @cached_property
    def residual(self) -> FloatArray:
        return self.y - np.einsum("bmsp,bp->bms", self.X, self.beta)

    @property
    def observations(self) -> int:
        return int(self.y[0].size)

    @cached_property
    def P(self) -> FloatArray:
        """(K, B, P, P)."""
        return np.stack([-(self.U.mT @ D @ self.U).sum(1) for D in self.slopes])

    @cached_property
    def Q(self) -> FloatArray:
        """(K, K, B, P, P) of two slopes."""
        return np.stack([[(self.U.mT @ D @ self.V @ E @ self.U).sum(1) for E in self.slopes] for D in self.slopes])

    @cached_property
    def W(self) -> FloatArray:
        """(B, K, K) inverse of the expected information of theta."""
        VD = np.stack([self.V @ D for D in self.slopes])
        moved = self.Phi @ self.P
        information = (
            np.einsum("rbmst,qbmts->brq", VD, VD)
            - 2 * np.einsum("bij,rqbji->brq", self.Phi, self.Q)
            + np.einsum("rbij,qbji->brq", moved, moved)
        )
        return np.linalg.inv(information / 2)

    @cached_property
    def adjusted(self) -> FloatArray:
        """Phi_A of Kenward and Roger."""
        middle = self.Q - self.P[:, None] @ self.Phi @ self.P[None]
        return self.Phi + 2 * self.Phi @ np.einsum("brq,rqbij->bij", self.W, middle) @ self.Phi

    def changes(self, L: FloatArray) -> FloatArray:
        """(K, B, q, q) derivatives of L'Phi L, L (P, q)."""
        to = self.Phi @ L
        return np.asarray(-to.mT @ self.P @ to)

    def satterthwaite(self, c: FloatArray) -> FloatArray:
        """Degrees of freedom (B,) of c'beta."""
        moved = self.changes(c[:, None])[:, :, 0, 0]
        variance = np.einsum("p,bpq,q->b", c, self.Phi, c)
        return np.asarray(2 * variance**2 / np.einsum("rb,brq,qb->b", moved, self.W, moved))

    def kenward_roger(self, L: FloatArray) -> FloatArray:
        """p values (B,) of the hypothesis that L'beta = 0."""
        q, change = L.shape[1], self.changes(L)
        moved = np.linalg.solve(L.T @ self.Phi @ L, change)
        traces = np.trace(moved, axis1=2, axis2=3)
        A1 = np.einsum("rb,brq,qb->b", traces, self.W, traces)
        A2 = np.einsum("brq,rbij,qbji->b", self.W, moved, moved)
        wald = quadratic(self.beta @ L, L.T @ self.adjusted @ L)
        if q == 1:
            return np.asarray(2 * stdtr(2 / A2, -np.sqrt(wald)))
        moments = np.array([moments_of_f(q, one, two) for one, two in zip(A1, A2, strict=True)])
        return np.asarray(fdtrc(q, moments[:, 0], moments[:, 1] * wald / q))

    @cached_property
    def knapp_hartung(self) -> FloatArray:
        """Mean square (B,) of the weighted residuals."""
        rss = np.einsum("bms,bmst,bmt->b", self.residual, self.V, self.residual)
        return np.asarray(rss / (self.observations - self.X.shape[-1]))

    @cached_property
    def G(self) -> FloatArray:
        """(B, m, s, P) adjusted designs of CR2."""
        D = np.linalg.cholesky(self.Sigma).mT
        inner = D @ (self.Sigma - self.X @ self.Phi[:, None] @ self.X.mT) @ D.mT
        size, axes = np.linalg.eigh((inner + inner.mT) / 2)
        half = axes.mT @ D
        return half.mT @ (size[..., None] ** -0.5 * (half @ self.U))

    @cached_property
    def cr2(self) -> FloatArray:
        scores = np.einsum("bmsp,bms->bmp", self.G, self.residual) @ self.Phi
        return np.asarray(scores.mT @ scores)

    def cr2_moments(self, L: FloatArray) -> FloatArray:
        """(B, m, m, q, q) covariances of the groups' parts of L'beta where the model is right."""
        g = self.G @ (self.Phi @ L)[:, None]
        T = self.X.mT @ g
        crossed = -np.einsum("bipq,bpr,bjrt->bijqt", T, self.Phi, T)
        own = np.arange(g.shape[1])
        crossed[:, own, own] += g.mT @ self.Sigma @ g
        return crossed

    def cr2_satterthwaite(self, c: FloatArray) -> FloatArray:
        M = self.cr2_moments(c[:, None])[..., 0, 0]
        return np.asarray(np.trace(M, axis1=1, axis2=2) ** 2 / (M * M).sum((1, 2)))

    def hotelling(self, L: FloatArray) -> FloatArray:
        """p values (B,) of HTZ; NaN where there is no test."""
        q, M = L.shape[1], self.cr2_moments(L)
        size, axes = np.linalg.eigh(np.einsum("biist->bst", M))
        root = axes / np.sqrt(size)[:, None]
        M = np.einsum("bsa,bijst,btc->bijac", root, M, root)
        eta = q * (q + 1) / ((np.trace(M, axis1=3, axis2=4) ** 2).sum((1, 2)) + np.einsum("bijst,bijts->b", M, M))
        wald, df = quadratic(self.beta @ L, L.T @ self.cr2 @ L), eta - q + 1
        with np.errstate(invalid="ignore"):
            return np.asarray(np.where(df > 0, fdtrc(q, np.where(df > 0, df, np.nan), df / (eta * q) * wald), np.nan))

    def wild(self, L: FloatArray, eta: FloatArray) -> FloatArray:
        """p values (B,) of the wild bootstrap of CR2 by drawn multipliers (draws, m)."""
        to = self.Phi @ L
        fitted = to @ np.linalg.solve(L.T @ to, (self.beta @ L)[:, :, None])
        residual = self.residual + np.einsum("bmsp,bp->bms", self.X, fitted[:, :, 0])
        toward = np.einsum("bmsp,bms->bmp", self.U, residual) @ self.Phi
        own = np.einsum("bmsp,bms->bmp", self.G, residual) @ to
        through = np.einsum("bpq,bmsp,bmsr->bmqr", to, self.G, self.X)
        moved = eta @ toward  # (B, draws, P)
        scores = eta[:, :, None] * own[:, None] - np.einsum("bmqp,bdp->bdmq", through, moved)
        statistics = quadratic(moved @ L, scores.mT @ scores)
        extreme = (statistics >= quadratic(self.beta @ L, L.T @ self.cr2 @ L)[:, None] * (1 - 1e-9)).sum(1)
        return np.asarray((extreme + 1) / (len(eta) + 1))

    def half_widths(self, c: FloatArray) -> dict[str, FloatArray]:
        """Of every method half of the 95% interval of c'beta (B,)."""
        se, n = np.sqrt(np.einsum("p,bpq,q->b", c, self.Phi, c)), self.observations - self.X.shape[-1]
        satterthwaite, residual = self.satterthwaite(c), stdtrit(n, 0.975)
        factor = np.sqrt(self.knapp_hartung)
        bounded = np.maximum(factor, np.sqrt(chdtri(n, 0.75) / n))
        return {
            "z": ndtri(0.975) * se,
            "t": residual * se,
            "KH": residual * se * factor,
            "KH ad hoc": residual * se * np.maximum(factor, 1.0),
            "Satt": stdtrit(satterthwaite, 0.975) * se,
            "Satt scaled": stdtrit(satterthwaite, 0.975) * se * bounded,
            "KR": stdtrit(satterthwaite, 0.975) * np.sqrt(np.einsum("p,bpq,q->b", c, self.adjusted, c)),
            "CR2": stdtrit(self.cr2_satterthwaite(c), 0.975) * np.sqrt(np.einsum("p,bpq,q->b", c, self.cr2, c)),
        }


def quadratic(d: FloatArray, V: FloatArray) -> FloatArray:
    """d'V^-1 d over the leading axes."""
    return np.asarray(np.einsum("...q,...q->...", d, np.linalg.solve(V, d[..., None])[..., 0]))
