"""Structures of the form Psi_ij = s_i s_j M_ij with SDs s and a matrix M that depends on at most one parameter."""

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np

from bayesmeta.structures.base import Law, Structure, eye, over_data_sets

EDGE = 0.05  # a start keeps this share of the range away from either limit of a correlation


class Scaled(Structure):
    """SDs times a matrix; one SD for all effects (`common`) or one for each.

    With separate SDs and a matrix that is not diagonal, the sign of an SD would flip correlations and leave the
    family, so |s| enters and the search is bounded below by zero.
    """

    common: ClassVar[bool]

    def matrix(self, rho: Any, dim: int) -> Any:
        """M (dim, dim, ...) at rho (n_rho, ...)."""
        return over_data_sets(eye(dim), rho)

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
        M = self.matrix(self.rho_of(xi, dim), dim)
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
        M, n = self.matrix(self.rho_of(xi, dim), dim), self.n_tau(dim)
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

    def scatter(self, share: np.ndarray, sd: Any, dim: int) -> np.ndarray:
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


class Correlated(Scaled):
    """SDs times a correlation matrix with one parameter, an angle: rho = low + (1 - low) (1 - cos angle) / 2.

    So the limits of rho are ordinary stationary points of a function of the angle, which has no limits.
    """

    def low(self, dim: int) -> float:
        """Infimum of the correlations for which M is positive definite."""
        raise NotImplementedError

    def rho_of(self, xi: Any, dim: int) -> Any:
        return self.low(dim) + (1 - self.low(dim)) * (1 - np.cos(xi[-1:])) / 2

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        """First and second derivative of M by rho."""
        raise NotImplementedError

    def matrix_slopes(self, xi: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = self.by_rho(self.rho_of(xi, dim)[0], dim)
        half = (1 - self.low(dim)) / 2
        slope, bend = half * np.sin(xi[-1]), half * np.cos(xi[-1])
        return slope * first, bend * first + slope * slope * second

    def correlation_of(self, R: np.ndarray) -> float:
        """Rough value of the parameter for an empirical correlation matrix."""
        raise NotImplementedError

    def n_rho(self, dim: int) -> int:
        return 1

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return (*super().labels(effects), "angle_rho")

    def start(self, moment: np.ndarray) -> np.ndarray:
        sd = np.sqrt(np.diag(moment))
        with np.errstate(invalid="ignore", divide="ignore"):
            rho = self.correlation_of(np.nan_to_num(moment / np.outer(sd, sd)))
        low = self.low(len(moment))
        share = np.clip((rho - low) / (1 - low), EDGE, 1 - EDGE)
        sds = np.atleast_1d(np.sqrt(np.mean(sd**2))) if self.common else sd
        return np.append(sds, np.arccos(1 - 2 * share))

    def lower(self, dim: int) -> np.ndarray:
        bound = np.full(self.n_free(dim), -np.inf)
        if not self.common:
            bound[:dim] = 0.0
        return bound

    def rho_position(self, dim: int) -> int:
        return self.n_tau(dim)


class Exchangeable(Correlated):
    """Every pair of effects has the same correlation, in (-1/(d-1), 1)."""

    def low(self, dim: int) -> float:
        return -1.0 / (dim - 1)

    def matrix(self, rho: Any, dim: int) -> Any:
        same = over_data_sets(eye(dim), rho)
        return same + rho[0] * (1 - same)

    def lkj(self, dim: int, eta: float) -> Law:
        # |R| = (1 - rho)^(d-1) (1 + (d-1) rho)
        return Law(self.low(dim), eta, (dim - 1) * (eta - 1) + 1)

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        return 1 - over_data_sets(eye(dim), rho[None]), 0.0

    def correlation_of(self, R: np.ndarray) -> float:
        return float(R[np.tril_indices_from(R, -1)].mean())


class Autoregressive(Correlated):
    """Correlation rho^|i-j| between effects i and j, rho in (-1, 1)."""

    def low(self, dim: int) -> float:
        return -1.0

    def powers(self, rho: Any, dim: int) -> list[Any]:
        """rho^1 .. rho^(dim-1) by repeated multiplication: rho ** 0 has no derivative at rho = 0."""
        powers = [rho]
        while len(powers) < dim - 1:
            powers.append(powers[-1] * rho)
        return powers

    def lags(self, rho: Any, dim: int) -> list[np.ndarray]:
        lag = np.abs(np.subtract.outer(np.arange(dim), np.arange(dim)))
        return [over_data_sets((lag == h).astype(float), rho) for h in range(dim)]

    def matrix(self, rho: Any, dim: int) -> Any:
        same, *lags = self.lags(rho, dim)
        return sum((p * at for p, at in zip(self.powers(rho[0], dim), lags, strict=True)), same)

    def lkj(self, dim: int, eta: float) -> Law:
        a = (dim - 1) * (eta - 1) + 1  # |R| = (1 - rho^2)^(d-1)
        return Law(-1.0, a, a)

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        _, *lags = self.lags(rho[None], dim)
        powers = [np.ones_like(rho), *self.powers(rho, dim)]
        first = sum(h * p * at for h, p, at in zip(range(1, dim), powers, lags, strict=False))
        second = sum(h * (h - 1) * p * at for h, p, at in zip(range(2, dim), powers, lags[1:], strict=False))
        return first, second

    def correlation_of(self, R: np.ndarray) -> float:
        return float(np.diag(R, 1).mean())
