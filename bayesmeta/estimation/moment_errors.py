"""Sampling covariances of moment estimates of Psi, under normal distributions.

The estimates are linear in the sum over units of u_i r_i', where the residuals r_i and the weighted ones u_i = U_i r_i
are linear in y. So the covariance of two entries of the sum follows from those of four normal variables (Isserlis 1918,
Biometrika 12:134-139). The weights are taken as known, as in the standard errors of the estimators of one tau2.
"""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.estimation.units import Units


@dataclass(frozen=True, eq=False)
class Residuals:
    """The covariance of residuals: that of the units i and j is own_i (if i = j) + L_i M L_j'.

    own (m, k, k); L (m, k, q); M (q, q).
    """

    own: FloatArray
    L: FloatArray
    M: FloatArray

    @classmethod
    def of_fixed_fit(cls, units: Units, Sigma: FloatArray, W: FloatArray) -> "Residuals":
        """Of the fit with weights W = S^-1 (m, k, k) where the marginal covariances are Sigma."""
        X = _orthonormal(units, units.S)
        WX, one = W @ X, np.eye(X.shape[2])
        K = np.einsum("iap,iab,ibq->pq", WX, Sigma, WX)
        return cls(Sigma, np.concatenate([X, Sigma @ WX], axis=2), np.block([[K, -one], [-one, 0 * one]]))

    @classmethod
    def of_gls_fit(cls, units: Units, Sigma: FloatArray) -> "Residuals":
        """Of the generalised least-squares fit with the marginal covariances Sigma."""
        X = _orthonormal(units, Sigma)
        return cls(Sigma * units.pairs, X, -np.eye(X.shape[2]))

    def times(self, R: FloatArray) -> "Residuals":
        """Of R_i r_i."""
        return Residuals(R @ self.own @ np.swapaxes(R, 1, 2), R @ self.L, self.M)

    def covariance_of_sum(self, U: FloatArray) -> FloatArray:
        """Covariance (k, k, k, k) of the entries p, q and s, t of the sum over units of U_i r_i r_i'."""
        L, a, M = self.L, U @ self.L, self.M
        weighted = U @ self.own
        pairs = (
            (weighted @ np.swapaxes(U, 1, 2), a @ M @ np.swapaxes(a, 1, 2), "ips,iqt->pqst", self.own, L, L),
            (weighted, a @ M @ np.swapaxes(L, 1, 2), "ipt,iqs->pqst", np.swapaxes(weighted, 1, 2), L, a),
        )
        total = np.zeros((U.shape[1],) * 4)
        for own, low, which, other_own, left, right in pairs:
            other_low = left @ M @ np.swapaxes(right, 1, 2)
            total += np.einsum(which, own, other_own + other_low) + np.einsum(which, low, other_own)
        G = np.einsum("ipa,iqc->pqac", a, L)
        through = np.einsum("ab,stbd,cd->stac", M, G, M)
        crossed = np.einsum("ab,stdb,cd->stac", M, G, M)
        return total + np.einsum("pqac,stac->pqst", G, through + crossed)


def _orthonormal(units: Units, Sigma: FloatArray) -> FloatArray:
    """X (m, k, P) in a basis of its columns such that X' Sigma^-1 X = I, whatever the units of the predictors."""
    white = np.linalg.solve(np.linalg.cholesky(Sigma), units.X)
    R = np.linalg.qr(white.reshape(-1, white.shape[2]), mode="r")
    return np.linalg.solve(R.T, np.swapaxes(units.X, 1, 2)).swapaxes(1, 2)


def of_matrix_moments(units: Units, psi: FloatArray, slope: FloatArray) -> FloatArray:
    """Covariance (k * k, k * k) of the entries of Psi by matrix moments.

    slope (k * k, k * k) : derivative of Psi by the weighted sum.
    """
    W = units.precision
    cov = Residuals.of_fixed_fit(units, units.covariances(psi) * units.pairs, W).covariance_of_sum(W)
    return slope @ cov.reshape(slope.shape) @ slope.T


def of_variance_components(units: Units, psi: FloatArray, R: FloatArray, divisor: FloatArray) -> FloatArray:
    """Covariance (k * k, k * k) of the entries of Psi by variance components.

    R (m, k, k) : what the residuals are multiplied by. divisor (k, k) : of the sums of their products.
    """
    residuals = Residuals.of_gls_fit(units, units.covariances(psi)).times(R)
    one = np.eye(len(psi)) * units.seen[:, None, :]
    cov = residuals.covariance_of_sum(one).reshape(psi.size, psi.size)
    return cov / np.outer(divisor, divisor)


def of_variances(cov: FloatArray) -> FloatArray:
    """(k,) standard errors of the diagonal of Psi, from the covariance (k * k, k * k) of its entries."""
    k = round(np.sqrt(len(cov)))
    return np.sqrt(np.diag(cov)[:: k + 1])


def of_factor(L: FloatArray, row: np.ndarray, col: np.ndarray, cov: FloatArray) -> FloatArray:
    """Covariance (F, F) of the entries of the lower triangular L from that of the entries of Psi = L L'."""
    k, slopes = len(L), []
    for i, j in zip(row, col, strict=True):
        change = np.zeros((k, k))
        change[i, j] = 1.0
        slopes.append((change @ L.T + L @ change.T)[row, col])
    inverse = np.linalg.inv(np.column_stack(slopes))
    place = row * k + col
    return inverse @ cov[np.ix_(place, place)] @ inverse.T
