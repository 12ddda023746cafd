"""Diagonal structures, and SDs times a matrix, of which they are the simplest."""

from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import numpy as np

from bayesmeta.structures.base import Structure, eye, over_data_sets, register


class Scaled(Structure):
    """SDs times a matrix; one SD for all effects (`common`) or one for each.

    With separate SDs and a matrix that is not diagonal, the sign of an SD would flip correlations and leave the
    family, so |s| enters and the search is bounded below by zero.
    """

    common: ClassVar[bool]

    def matrix(self, rho: Any, dim: int) -> Any:
        """M (dim, dim, ...) at rho (n_rho, ...)."""
        return over_data_sets(eye(dim), rho)

    def matrix_at(self, xi: Any, dim: int) -> Any:
        """The matrix at xi."""
        return self.matrix(self.rho_of(xi, dim), dim)

    def matrix_slopes(self, xi: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray] | None:
        """First and second derivative of M by xi[-1], or None when M is constant."""
        return None

    def n_tau(self, dim: int) -> int:
        return 1 if self.common else dim

    def n_free(self, dim: int) -> int:
        return self.n_tau(dim) + self.n_rho(dim)

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return ("sd",) if self.common or len(effects) == 1 else tuple(f"sd[{e}]" for e in effects)

    def rho_of(self, xi: Any, dim: int) -> Any:
        """rho (n_rho, ...) at xi (n_free, ...)."""
        return xi[self.n_tau(dim) :]

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        scale = tau[0] * tau[0] if self.common else tau[:, None] * tau[None, :]
        return scale * self.matrix(rho, dim)

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        xi, dim = self.start(psi), len(psi)
        return np.abs(xi[: self.n_tau(dim)]), np.asarray(self.rho_of(xi, dim))

    def psi(self, xi: Any, dim: int) -> Any:
        return self.compose(abs(xi[: self.n_tau(dim)]), self.rho_of(xi, dim), dim)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        M = self.matrix_at(xi, dim)
        if self.common:
            sd_bar = [2 * xi[0] * (psi_bar * M).sum((0, 1))]
            scale = xi[0] * xi[0]
        else:
            s = abs(xi[:dim])
            sd_bar = list(2 * np.where(xi[:dim] < 0, -1.0, 1.0) * (psi_bar * M * s[None, :]).sum(1))
            scale = s[:, None] * s[None, :]
        slopes = self.matrix_slopes(xi, dim)
        rho_bar = [] if slopes is None else [(psi_bar * scale * slopes[0]).sum((0, 1))]
        return np.stack(np.broadcast_arrays(*sd_bar, *rho_bar))

    def curvature(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        M, n = self.matrix_at(xi, dim), self.n_tau(dim)
        s, slopes = np.broadcast_to(xi[:n], (dim, *xi.shape[1:])), self.matrix_slopes(xi, dim)
        # by every single SD; |s| enters where SDs have no sign
        sign = np.ones_like(s) if self.common else np.where(s < 0, -1.0, 1.0)
        s = s * sign
        by_sd = 2 * psi_bar * M * sign[:, None] * sign[None, :]
        H = np.zeros((self.n_free(dim), self.n_free(dim), *by_sd.shape[2:]))
        H[:n, :n] = by_sd.sum((0, 1)) if self.common else by_sd
        if slopes is not None:
            crossed = 2 * sign * (psi_bar * slopes[0] * s[None, :]).sum(1)
            H[:n, n] = H[n, :n] = crossed.sum(0) if self.common else crossed
            H[n, n] = (psi_bar * s[:, None] * s[None, :] * slopes[1]).sum((0, 1))
        return H

    def linear(self, dim: int) -> bool:
        return not self.n_rho(dim) and (self.common or dim == 1)

    def theta(self, xi: np.ndarray, dim: int) -> np.ndarray:
        return xi * xi if self.linear(dim) else super().theta(xi, dim)

    def theta_units(self, units: np.ndarray, dim: int) -> np.ndarray:
        return units**2 if self.linear(dim) else super().theta_units(units, dim)

    def theta_jacobian(self, xi: np.ndarray, dim: int) -> np.ndarray:
        own = over_data_sets(np.eye(len(xi)), xi)
        return own * 2 * xi if self.linear(dim) else own

    def theta_curvature(self, xi: np.ndarray, weight: np.ndarray, dim: int) -> np.ndarray:
        if not self.linear(dim):
            return super().theta_curvature(xi, weight, dim)
        return over_data_sets(np.eye(len(xi)), xi) * 2 * weight

    def directions(self, xi: np.ndarray, dim: int) -> np.ndarray:
        if not self.linear(dim):
            return super().directions(xi, dim)
        M = self.matrix(np.zeros(0), dim)
        if self.common:
            return over_data_sets(M[:, :, None], xi)
        return over_data_sets(M[:, :, None] * np.eye(dim)[:, None, :], xi)

    def variance_slopes(self, xi: np.ndarray, dim: int) -> np.ndarray:
        if self.linear(dim):
            return self.directions(xi, dim)
        return self.by_variances(np.asarray(self.matrix_at(xi, dim)), xi, dim)

    def by_variances(self, M: np.ndarray, xi: np.ndarray, dim: int) -> np.ndarray:
        """(dim, dim, m) derivatives of s_i s_j M_ij by the variances, for a constant M and the SDs of xi."""
        if self.common:
            return M[:, :, None]
        s = np.abs(xi[:dim])
        by_first = np.einsum("ij,ir,jr->ijr", M, np.eye(dim)[:, s > 0], s[:, None] / s[None, s > 0])
        return np.asarray((by_first + by_first.swapaxes(0, 1)) / 2)

    def variance_bends(self, xi: np.ndarray, dim: int) -> np.ndarray:
        if self.linear(dim):
            return super().variance_bends(xi, dim)
        if self.common:
            return np.zeros((dim, dim, 1, 1))
        s = np.abs(xi[:dim])
        off = np.asarray(self.matrix_at(xi, dim)) * (1 - np.eye(dim))  # variances bend nothing of their own
        own = np.eye(dim)[:, s > 0]
        per_sd = own / s[s > 0]
        bends = np.einsum("ij,ir,jt->ijrt", off, per_sd, per_sd) / 4  # by those of i and j
        bends -= np.einsum("ij,j,ir,it->ijrt", off, s, per_sd**3, own) / 4  # by that of i twice
        return bends + bends.swapaxes(0, 1)

    def scatter(self, share: np.ndarray, sd: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
        n = self.n_tau(dim)
        return np.concatenate([sd(share[:n]), np.pi * share[n:]])

    def canonical(self, xi: np.ndarray, dim: int) -> np.ndarray:
        n = self.n_tau(dim)
        return np.concatenate([np.abs(xi[:n]), np.abs(np.remainder(xi[n:] + np.pi, 2 * np.pi) - np.pi)])

    def start(self, moment: np.ndarray) -> np.ndarray:
        diagonal = np.diag(self.matrix(np.zeros(self.n_rho(len(moment))), len(moment)))
        ratio = np.diag(moment)[diagonal > 0] / diagonal[diagonal > 0]
        return np.sqrt(np.atleast_1d(ratio.mean()) if self.common else np.diag(moment))

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        units = np.ones(self.n_free(len(effect_units)))
        units[: self.n_tau(len(effect_units))] = np.median(effect_units) if self.common else effect_units
        return units

    def zero_positions(self, dim: int) -> np.ndarray:
        return np.arange(self.n_tau(dim))

    def sd_positions(self, effect: int, dim: int) -> np.ndarray:
        return np.arange(0) if self.common else np.array([effect])


@register
class Identity(Scaled):
    """Psi = sd^2 I; xi is the SD, whose sign has no meaning.

    Examples
    --------
    >>> Identity().psi(np.array([2.0]), 2)
    array([[4., 0.],
           [0., 4.]])
    """

    name = "id"
    synonyms = ("identity",)
    meaning = "one variance for all, no correlation"
    phrase = "one variance for all and no correlations"
    common = True
    uncorrelated = any_order = True


@register
class Diagonal(Scaled):
    """Psi = diag(sd^2); xi are the SDs, whose signs have no meaning.

    Examples
    --------
    >>> Diagonal().psi(np.array([1.0, 2.0]), 2)
    array([[1., 0.],
           [0., 4.]])
    """

    name = "diag"
    synonyms = ("diagonal",)
    meaning = "a variance for each, no correlation"
    phrase = "a diagonal covariance matrix"
    common = False
    uncorrelated = any_order = loses_effects = True
    members = (Identity,)

    def linear(self, dim: int) -> bool:
        return True

    def new_correlations(self, dim: int) -> int:
        return 0
