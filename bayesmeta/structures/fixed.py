"""Fixed: a known covariance matrix, nothing to estimate."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from bayesmeta.structures.base import over_data_sets, register
from bayesmeta.structures.known import WithMatrix


@register
class Fixed(WithMatrix):
    """Psi as given; no free parameter.

    Parameters
    ----------
    matrix : (a, a) positive semi-definite; zeros switch the level off.
    """

    name = "fixed"

    def n_tau(self, dim: int) -> int:
        return 0

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        return over_data_sets(self.given, tau)

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0), np.zeros(0)

    def n_free(self, dim: int) -> int:
        return 0

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return ()

    def psi(self, xi: Any, dim: int) -> Any:
        return over_data_sets(self.given, xi)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        return np.zeros((0, *psi_bar.shape[2:]))

    def curvature(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        return np.zeros((0, 0, *psi_bar.shape[2:]))

    def scatter(self, share: np.ndarray, sd: Any, dim: int) -> np.ndarray:
        return share

    def start(self, moment: np.ndarray) -> np.ndarray:
        return np.zeros(0)

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        return np.zeros(0)
