"""SDs times a correlation matrix with one parameter: compound symmetry and first-order autoregression."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayesmeta.structures.base import Law, eye, inherits, need_two_effects, over_data_sets, register
from bayesmeta.structures.diagonal import Diagonal, Identity, Scaled

EDGE = 0.05  # a start keeps this share of the range away from either limit of a correlation


class Correlated(Scaled):
    """SDs times a correlation matrix with one parameter, an angle: rho = low + (high - low) (1 - cos angle) / 2.

    So the limits of rho are ordinary stationary points of a function of the angle, which has no limits.
    """

    def rho_of(self, xi: Any, dim: int) -> Any:
        return self.low(dim) + (self.high(dim) - self.low(dim)) * (1 - np.cos(xi[-1:])) / 2

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        """First and second derivative of M by rho."""
        raise NotImplementedError

    def by_correlation(self, xi: np.ndarray, dim: int) -> tuple[Any, Any]:
        """The same at xi, by the correlation that stands among variances and covariances."""
        return self.by_rho(self.rho_of(xi, dim)[0], dim)

    def matrix_slopes(self, xi: np.ndarray, dim: int) -> tuple[np.ndarray, np.ndarray]:
        first, second = self.by_rho(self.rho_of(xi, dim)[0], dim)
        half = (self.high(dim) - self.low(dim)) / 2
        slope, bend = half * np.sin(xi[-1]), half * np.cos(xi[-1])
        return slope * first, bend * first + slope * slope * second

    def variance_slopes(self, xi: np.ndarray, dim: int) -> np.ndarray:
        s = np.broadcast_to(np.abs(xi[: self.n_tau(dim)]), dim)
        by_rho = np.outer(s, s) * self.by_correlation(xi, dim)[0]
        kept = [by_rho[:, :, None]] if by_rho.any() else []
        return np.concatenate([super().variance_slopes(xi, dim), *kept], axis=2)

    def variance_bends(self, xi: np.ndarray, dim: int) -> np.ndarray:
        bends, m = super().variance_bends(xi, dim), self.variance_slopes(xi, dim).shape[2]
        s, n = np.broadcast_to(np.abs(xi[: self.n_tau(dim)]), dim), bends.shape[2]
        first, second = self.by_correlation(xi, dim)
        full = np.zeros((dim, dim, m, m))
        full[:, :, :n, :n] = bends
        if m > n:
            full[:, :, :n, n] = full[:, :, n, :n] = self.by_variances(first, xi, dim)
            full[:, :, n, n] = np.outer(s, s) * second
        return full

    def correlation_of(self, R: np.ndarray) -> float:
        """Rough value of the parameter for an empirical correlation matrix."""
        raise NotImplementedError

    def n_rho(self, dim: int) -> int:
        return 1

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return (*super().labels(effects), "angle_rho")

    def start(self, moment: np.ndarray) -> np.ndarray:
        variances, low, high = moment.diagonal(), self.low(len(moment)), self.high(len(moment))
        sd = np.sqrt(variances)
        scale = sd[:, None] * sd
        rho = self.correlation_of(np.divide(moment, scale, out=np.zeros(scale.shape), where=scale > 0))
        share = min(max((rho - low) / (high - low), EDGE), 1 - EDGE)
        sds = [np.sqrt(variances.mean())] if self.common else sd
        return np.array([*sds, np.arccos(1 - 2 * share)])

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

    def lkj(self, dim: int, eta: float) -> Law | None:
        if not inherits(self, Exchangeable, "matrix", "low", "high"):
            return super().lkj(dim, eta)
        # |R| = (1 - rho)^(d-1) (1 + (d-1) rho)
        return Law(self.low(dim), eta, (dim - 1) * (eta - 1) + 1)

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        return 1 - over_data_sets(eye(dim), rho[None]), 0.0

    def correlation_of(self, R: np.ndarray) -> float:
        return float((R.sum() - R.trace()) / (len(R) * (len(R) - 1)))


class Autoregressive(Correlated):
    """Correlation rho^|i-j| between effects i and j, rho in (-1, 1)."""

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

    def lkj(self, dim: int, eta: float) -> Law | None:
        if not inherits(self, Autoregressive, "matrix", "low", "high"):
            return super().lkj(dim, eta)
        a = (dim - 1) * (eta - 1) + 1  # |R| = (1 - rho^2)^(d-1)
        return Law(-1.0, a, a)

    def by_rho(self, rho: np.ndarray, dim: int) -> tuple[Any, Any]:
        _, *lags = self.lags(rho[None], dim)
        powers = [np.ones_like(rho), *self.powers(rho, dim)]
        first = sum(h * p * at for h, p, at in zip(range(1, dim), powers, lags, strict=False))
        second = sum(h * (h - 1) * p * at for h, p, at in zip(range(2, dim), powers, lags[1:], strict=False))
        return first, second

    def correlation_of(self, R: np.ndarray) -> float:
        return float(R.diagonal(1).mean())


@register
class CompoundSymmetry(Exchangeable):
    """Compound symmetry: one variance and one correlation.

    xi are the SD, whose sign has no meaning, and the angle of rho in [-1/(d-1), 1].

    Examples
    --------
    >>> CompoundSymmetry().compose(np.array([2.0]), np.array([0.25]), 3)
    array([[4., 1., 1.],
           [1., 4., 1.],
           [1., 1., 4.]])
    """

    name = "cs"
    synonyms = ("compound symmetry", "exchangeable")
    meaning = "one variance and one correlation"
    phrase = "a compound-symmetric covariance matrix (one variance, one correlation)"
    any_order = True
    pair = "equal"
    members = (Identity,)
    common = True

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)

    def variance_slopes(self, xi: np.ndarray, dim: int) -> np.ndarray:
        """By the variance v and the covariance c in Psi = v M(c / v), linear in both, also where both are zero."""
        rho = self.rho_of(xi, dim)
        slope = self.by_rho(rho[0], dim)[0]
        return np.stack([self.matrix(rho, dim) - rho[0] * slope, slope], axis=2)

    def variance_bends(self, xi: np.ndarray, dim: int) -> np.ndarray:
        rho, bends = self.rho_of(xi, dim)[0], np.zeros((dim, dim, 2, 2))
        second = self.by_rho(rho, dim)[1]
        if np.any(second):  # of a family whose matrix is not linear in rho, which has taken this one as its base
            bends += np.multiply.outer(second, np.outer([-rho, 1.0], [-rho, 1.0])) / xi[0] ** 2
        return bends


@register
class HetCompoundSymmetry(Exchangeable):
    """Heterogeneous compound symmetry: separate variances, one correlation.

    xi are the SDs (>= 0) and the angle of rho in [-1/(d-1), 1].

    Examples
    --------
    >>> HetCompoundSymmetry().compose(np.array([1.0, 2.0]), np.array([0.5]), 2)
    array([[1., 1.],
           [1., 4.]])
    """

    name = "hcs"
    synonyms = ("csh", "heterogeneous compound symmetry")
    meaning = "a variance for each, one correlation"
    phrase = "a heterogeneous compound-symmetric covariance matrix (a variance for each, one correlation)"
    any_order = loses_effects = True
    pair = "any"
    members = (CompoundSymmetry, Diagonal, Identity)
    common = False

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)


@register
class AR1(Autoregressive):
    """First-order autoregression over the order of the effects, with one variance.

    xi are the SD, whose sign has no meaning, and the angle of rho in [-1, 1].

    Examples
    --------
    >>> AR1().compose(np.array([2.0]), np.array([0.5]), 3)
    array([[4., 2., 1.],
           [2., 4., 2.],
           [1., 2., 4.]])
    """

    name = "ar1"
    synonyms = ("ar", "autoregressive")
    meaning = "first-order autoregression with one variance"
    phrase = "a first-order autoregressive covariance matrix with one variance"
    pair = "equal"
    members = (Identity,)
    common = True

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)


@register
class HetAR1(Autoregressive):
    """First-order autoregression over the order of the effects, with separate variances.

    xi are the SDs (>= 0) and the angle of rho in [-1, 1].

    Examples
    --------
    >>> HetAR1().compose(np.array([1.0, 2.0, 4.0]), np.array([0.5]), 3)
    array([[ 1.,  1.,  1.],
           [ 1.,  4.,  4.],
           [ 1.,  4., 16.]])
    """

    name = "har1"
    synonyms = ("har", "heterogeneous ar(1)")
    meaning = "first-order autoregression with a variance for each"
    phrase = "a first-order autoregressive covariance matrix with a variance for each"
    loses_effects = True
    pair = "any"
    members = (AR1, Diagonal, Identity)
    common = False

    def check(self, dim: int) -> None:
        need_two_effects(self.name, dim)
