"""Structures with a matrix that the user gives: a multiple of it, its correlations, or the matrix itself."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta.errors import SpecError
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.structures.base import Structure, over_data_sets, register
from bayesmeta.structures.diagonal import Scaled

LEAST, MOST = 1e-100, 1e100  # largest entry of a matrix: beyond, squares leave the range of numbers
TOLERANCE = 1e-10  # of the largest entry, for symmetry and for negative eigenvalues


def semidefinite(matrix: Any, name: str) -> np.ndarray:
    """The matrix as floats, after a check that it is a square, finite, symmetric and positive semi-definite one."""
    if isinstance(matrix, pd.DataFrame):
        check_labels(matrix.columns, matrix.index, f"matrix of structure '{name}', by columns,", error=SpecError)
    M = np.array(as_numbers(matrix, f"matrix of structure '{name}'", SpecError))
    M = M.reshape(0, 0) if M.shape == (0,) else M  # of a level without effects, whose plain form is an empty list
    if M.ndim != 2 or M.shape[0] != M.shape[1]:
        raise SpecError(f"matrix of structure '{name}' has shape {M.shape}; give a square matrix")
    if not np.isfinite(M).all():
        raise SpecError(f"matrix of structure '{name}' has entries that are not finite\n  all of them must be numbers")
    size = np.abs(M).max(initial=0.0)
    if not (size == 0 or LEAST <= size <= MOST):
        raise SpecError(
            f"matrix of structure '{name}' has {size:.3g} as its largest entry; it must lie between {LEAST:g} and"
            f" {MOST:g}\n  measure the outcomes in another unit"
        )
    if np.abs(M - M.T).max(initial=0.0) > TOLERANCE * size:
        raise SpecError(f"matrix of structure '{name}' is not symmetric\n  entries (i, j) and (j, i) must be the same")
    smallest = np.linalg.eigvalsh(M)[0] if len(M) else 0.0
    if smallest < -TOLERANCE * size:
        raise SpecError(
            f"matrix of structure '{name}' is not positive semi-definite: smallest eigenvalue {smallest:.3g}"
            "\n  correlations in it lie between -1 and 1, and fit one another: bm.within.nearest"
        )
    M = (M + M.T) / 2
    M.flags.writeable = False
    return M


class WithMatrix(Structure):
    """Mixin: holds the given matrix and demands its size."""

    arguments = ("matrix",)

    def __init__(self, matrix: Any) -> None:
        self.known = semidefinite(matrix, self.name)

    def check(self, dim: int) -> None:
        if len(self.known) != dim:
            raise SpecError(
                f"matrix of structure '{self.name}' is {len(self.known)} x {len(self.known)}; "
                f"the level has {dim} random effects"
                "\n  give it a row and a column for each of them"
            )

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "matrix": self.known.tolist()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.known.tolist()})"


@register
class Proportional(WithMatrix, Scaled):
    """Psi = sd^2 M with M given; xi is the square root of the multiplier, whose sign has no meaning.

    Parameters
    ----------
    matrix : array_like
        (a, a) positive semi-definite, not zero.

    Examples
    --------
    >>> Proportional([[1.0, 0.5], [0.5, 1.0]]).psi(np.array([2.0]), 2)
    array([[4., 2.],
           [2., 4.]])
    """

    name = "prop"
    meaning = "an unknown multiple of a given matrix"
    phrase = "a covariance matrix that is known up to a factor"
    common = True

    def __init__(self, matrix: Any) -> None:
        super().__init__(matrix)
        if not np.any(np.diag(self.known) > 0):
            raise SpecError("matrix of structure 'prop' is zero; use bm.structures.Fixed for a level without variance")

    def matrix(self, rho: Any, dim: int) -> Any:
        return over_data_sets(self.known, rho)

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        diagonal = np.diag(self.known)
        return np.atleast_1d(np.median(effect_units[diagonal > 0] / np.sqrt(diagonal[diagonal > 0])))


@register
class KnownCorrelation(WithMatrix, Scaled):
    """Psi_ij = sd_i sd_j R_ij with R given; xi are the SDs (>= 0).

    Parameters
    ----------
    matrix : array_like
        (a, a) positive semi-definite; a covariance matrix is reduced to its correlations.

    Examples
    --------
    >>> KnownCorrelation([[1.0, 0.5], [0.5, 1.0]]).psi(np.array([1.0, 2.0]), 2)
    array([[1., 1.],
           [1., 4.]])
    """

    name = "cor"
    meaning = "a variance for each, given correlations"
    phrase = "a variance for each and known correlations"
    common = False

    def __init__(self, matrix: Any) -> None:
        super().__init__(matrix)
        diagonal = np.diag(self.known)
        if not np.all(diagonal > 0):
            raise SpecError("matrix of structure 'cor' has a zero on its diagonal; give a correlation matrix")
        self.correlation = self.known / np.sqrt(np.outer(diagonal, diagonal))

    def matrix(self, rho: Any, dim: int) -> Any:
        return over_data_sets(self.correlation, rho)

    def lower(self, dim: int) -> np.ndarray:
        return np.full(dim, 0.0 if dim > 1 else -np.inf)


@register
class Fixed(WithMatrix):
    """Psi as given; no free parameter.

    Parameters
    ----------
    matrix : array_like
        (a, a) positive semi-definite; zeros switch the level off.

    Examples
    --------
    >>> Fixed([[1.0, 0.5], [0.5, 1.0]]).psi(np.array([]), 2)
    array([[1. , 0.5],
           [0.5, 1. ]])
    """

    name = "fixed"
    meaning = "given, nothing to estimate"
    phrase = "a known covariance matrix, of which nothing was estimated"

    def n_tau(self, dim: int) -> int:
        return 0

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        return over_data_sets(self.known, tau)

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return np.zeros(0), np.zeros(0)

    def n_free(self, dim: int) -> int:
        return 0

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        return ()

    def psi(self, xi: Any, dim: int) -> Any:
        return over_data_sets(self.known, xi)

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        return np.zeros((0, *psi_bar.shape[2:]))

    def curvature(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        return np.zeros((0, 0, *psi_bar.shape[2:]))

    def directions(self, xi: np.ndarray, dim: int) -> np.ndarray:
        return np.zeros((dim, dim, 0, *xi.shape[1:]))

    def scatter(self, share: np.ndarray, sd: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
        return share

    def start(self, moment: np.ndarray) -> np.ndarray:
        return np.zeros(0)

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        return np.zeros(0)
