"""Known correlation: separate variances, correlations given."""

from typing import Any

import numpy as np

from bayesmeta.errors import SpecError
from bayesmeta.structures.base import over_data_sets, register
from bayesmeta.structures.correlated import Scaled
from bayesmeta.structures.known import WithMatrix


@register
class KnownCorrelation(WithMatrix, Scaled):
    """Psi_ij = sd_i sd_j R_ij with R given; xi are the SDs (>= 0).

    Parameters
    ----------
    matrix : (a, a) positive semi-definite; a covariance matrix is reduced to its correlations.
    """

    name = "cor"
    common = False

    def __init__(self, matrix: Any) -> None:
        super().__init__(matrix)
        diagonal = np.diag(self.given)
        if not np.all(diagonal > 0):
            raise SpecError("matrix of structure 'cor' has a zero on its diagonal; give a correlation matrix")
        self.correlation = self.given / np.sqrt(np.outer(diagonal, diagonal))

    def matrix(self, rho: Any, dim: int) -> Any:
        return over_data_sets(self.correlation, rho)

    def lower(self, dim: int) -> np.ndarray:
        return np.full(dim, 0.0 if dim > 1 else -np.inf)
