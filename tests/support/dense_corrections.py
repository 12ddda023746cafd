"""Small-sample corrections and sandwich covariances written out with full matrices, sharing nothing with the kernel.

Formulas are those of the papers: Kenward and Roger (1997), Fai and Cornelius (1996), Bell and McCaffrey (2002),
Tipton and Pustejovsky (2015).
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.linalg import sqrtm

import bayesmeta as bm
from tests.support.dense import FloatArray, IntArray, Model, marginal_covariance, together


def dense_model(spec: bm.Spec, psi: list[FloatArray]) -> Model:
    n, S = len(spec.y), np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    Z, groups = [np.array(v.Z) for v in spec.levels], [np.array(v.index) for v in spec.levels]
    assert S.shape == (n, n)
    return Model(spec.y - spec.offset, np.array(spec.X), Z, groups, S, psi)


@dataclass(frozen=True)
class Corrections:
    """Kenward and Roger's quantities of a dense model; slopes: per level (a, a, K) derivatives of Psi by theta."""

    model: Model
    slopes: list[FloatArray]

    @cached_property
    def S(self) -> list[FloatArray]:
        """dSigma / dtheta of every parameter."""
        of = zip(self.model.Z, self.model.groups, self.slopes, strict=True)
        return [(Z @ D[:, :, r] @ Z.T) * together(g) for Z, g, D in of for r in range(D.shape[2])]

    @cached_property
    def inverse(self) -> FloatArray:
        return np.linalg.inv(marginal_covariance(self.model))

    @cached_property
    def Phi(self) -> FloatArray:
        return np.linalg.inv(self.model.X.T @ self.inverse @ self.model.X)

    @cached_property
    def information(self) -> FloatArray:
        X, V = self.model.X, self.inverse
        P = V - V @ X @ self.Phi @ X.T @ V
        return np.array([[np.trace(P @ a @ P @ b) / 2 for b in self.S] for a in self.S])

    @cached_property
    def W(self) -> FloatArray:
        return np.linalg.inv(self.information)

    @cached_property
    def P(self) -> list[FloatArray]:
        X, V = self.model.X, self.inverse
        return [-X.T @ V @ a @ V @ X for a in self.S]

    @cached_property
    def adjusted(self) -> FloatArray:
        X, V, total = self.model.X, self.inverse, np.zeros_like(self.Phi)
        for r, a in enumerate(self.S):
            for s, b in enumerate(self.S):
                Q = X.T @ V @ a @ V @ b @ V @ X
                total += self.W[r, s] * (Q - self.P[r] @ self.Phi @ self.P[s])
        return self.Phi + 2 * self.Phi @ total @ self.Phi

    def of_second_derivatives(self, bends: list[FloatArray]) -> FloatArray:
        """What the term of second derivatives (a, a, K, K) of Psi adds to the adjusted covariance."""
        X, V, total, first = self.model.X, self.inverse, np.zeros_like(self.Phi), 0
        for Z, g, bend in zip(self.model.Z, self.model.groups, bends, strict=True):
            K = bend.shape[2]
            for r in range(K):
                for s in range(K):
                    S_rs = (Z @ bend[:, :, r, s] @ Z.T) * together(g)
                    total += self.W[first + r, first + s] * X.T @ V @ S_rs @ V @ X
            first += K
        return -self.Phi @ total @ self.Phi / 2

    def satterthwaite(self, c: FloatArray) -> float:
        d = np.array([-c @ self.Phi @ P @ self.Phi @ c for P in self.P])
        return float(2 * (c @ self.Phi @ c) ** 2 / (d @ self.W @ d))

    def kenward_roger(self, L: FloatArray) -> tuple[float, float]:
        """m and lambda of the F test of L'beta by the formulas as printed, which divide by zero at m = 2 and 4."""
        q = L.shape[1]
        Theta = L @ np.linalg.solve(L.T @ self.Phi @ L, L.T)
        moved = [Theta @ self.Phi @ P @ self.Phi for P in self.P]
        K = range(len(moved))
        A1 = sum(self.W[r, s] * np.trace(moved[r]) * np.trace(moved[s]) for r in K for s in K)
        A2 = sum(self.W[r, s] * np.trace(moved[r] @ moved[s]) for r in K for s in K)
        B = (A1 + 6 * A2) / (2 * q)
        g = ((q + 1) * A1 - (q + 4) * A2) / ((q + 2) * A2)
        h = 3 * q + 2 * (1 - g)
        c1, c2, c3 = g / h, (q - g) / h, (q + 2 - g) / h
        E = 1 / (1 - A2 / q)
        V = 2 / q * (1 + c1 * B) / ((1 - c2 * B) ** 2 * (1 - c3 * B))
        rho = V / (2 * E**2)
        m = 4 + (q + 2) / (q * rho - 1)
        return float(m), float(m / (E * (m - 2)))


@dataclass(frozen=True)
class Robust:
    """Sandwich covariances of a dense model; cluster: (n,) codes."""

    model: Model
    cluster: IntArray

    @cached_property
    def Sigma(self) -> FloatArray:
        return marginal_covariance(self.model)

    @cached_property
    def Phi(self) -> FloatArray:
        return np.linalg.inv(self.model.X.T @ np.linalg.solve(self.Sigma, self.model.X))

    @cached_property
    def hat(self) -> FloatArray:
        return self.model.X @ self.Phi @ self.model.X.T @ np.linalg.inv(self.Sigma)

    def members(self) -> list[IntArray]:
        return [np.flatnonzero(self.cluster == c) for c in range(int(self.cluster.max()) + 1)]

    def adjustment(self, kind: str, at: IntArray) -> FloatArray:
        m, (N, P) = len(self.members()), self.model.X.shape
        factor = {"CR0": 1.0, "CR1": m / (m - 1), "CR1p": m / (m - P), "CR1S": m * (N - 1) / ((m - 1) * (N - P))}
        if kind in factor:
            return np.sqrt(factor[kind]) * np.eye(len(at))
        if kind == "CR3":
            return np.linalg.inv(np.eye(len(at)) - self.hat[np.ix_(at, at)])
        Sigma, X = self.Sigma[np.ix_(at, at)], self.model.X[at]
        D = np.real(sqrtm(Sigma))  # another root than the kernel's: the answer is the same for any
        B = D @ (Sigma - X @ self.Phi @ X.T) @ D.T
        size, axes = np.linalg.eigh((B + B.T) / 2)
        K = np.linalg.solve(D.T, X)
        lost = int((np.linalg.eigvalsh(np.eye(len(at)) - K @ self.Phi @ K.T) < 1e-9).sum())
        power = np.r_[np.zeros(lost), size[lost:] ** -0.5]
        return D.T @ (axes * power) @ axes.T @ D

    def influence(self, kind: str) -> FloatArray:
        """(m, n, P) G_c'(V - H) of every cluster as rows of a matrix over all observations, transposed."""
        X, n = self.model.X, len(self.model.y)
        inverse, away = np.linalg.inv(self.Sigma), np.eye(n) - self.hat
        parts = []
        for at in self.members():
            A = self.adjustment(kind, at)
            parts.append((away[at].T @ A.T @ inverse[np.ix_(at, at)] @ X[at]) @ self.Phi)
        return np.array(parts)

    def covariance(self, kind: str) -> FloatArray:
        scores = np.einsum("n,mnp->mp", self.model.y, self.influence(kind))
        return scores.T @ scores

    def _moments(self, kind: str, L: FloatArray) -> FloatArray:
        """(m, m, q, q) covariances of the clusters' scores of L'beta where the model is right."""
        g = (self.influence(kind) @ L).transpose(0, 2, 1)
        m, q, n = g.shape
        rows = g.reshape(m * q, n)
        return (rows @ self.Sigma @ rows.T).reshape(m, q, m, q).transpose(0, 2, 1, 3)

    def satterthwaite(self, kind: str, c: FloatArray) -> float:
        M = self._moments(kind, c[:, None])[:, :, 0, 0]
        return float(np.trace(M) ** 2 / (M * M).sum())

    def hotelling(self, kind: str, L: FloatArray) -> float:
        P, q = self._moments(kind, L), L.shape[1]
        omega = np.einsum("iist->st", P)
        root = np.linalg.inv(np.real(sqrtm(omega)))
        P = np.einsum("as,ijst,tb->ijab", root, P, root)
        same = np.einsum("ijss->ij", P)
        return float(q * (q + 1) / ((same**2).sum() + np.einsum("ijst,ijts->", P, P)))
