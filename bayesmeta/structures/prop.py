"""Proportional: an unknown multiple of a known matrix."""

from typing import Any

import numpy as np

from bayesmeta.errors import SpecError
from bayesmeta.structures.base import over_data_sets, register
from bayesmeta.structures.correlated import Scaled
from bayesmeta.structures.known import WithMatrix


@register
class Proportional(WithMatrix, Scaled):
    """Psi = sd^2 M with M given; xi is the square root of the multiplier, whose sign has no meaning.

    Parameters
    ----------
    matrix : (a, a) positive semi-definite, not zero.
    """

    name = "prop"
    common = True

    def __init__(self, matrix: Any) -> None:
        super().__init__(matrix)
        if not np.any(np.diag(self.given) > 0):
            raise SpecError("matrix of structure 'prop' is zero; use bm.structures.Fixed for a level without variance")

    def matrix(self, rho: Any, dim: int) -> Any:
        return over_data_sets(self.given, rho)

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        diagonal = np.diag(self.given)
        return np.atleast_1d(np.median(effect_units[diagonal > 0] / np.sqrt(diagonal[diagonal > 0])))
