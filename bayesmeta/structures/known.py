"""What structures with a matrix given by the user share: its checks and its plain form."""

from typing import Any, ClassVar

import numpy as np

from bayesmeta.errors import SpecError
from bayesmeta.structures.base import Structure

TOLERANCE = 1e-10  # of the largest entry, for symmetry and for negative eigenvalues


def semidefinite(matrix: Any, name: str) -> np.ndarray:
    """The matrix as floats, after a check that it is a square, finite, symmetric and positive semi-definite one."""
    try:
        M = np.array(matrix, dtype=float)
    except (TypeError, ValueError):
        raise SpecError(f"matrix of structure '{name}' is not a square matrix of numbers") from None
    M = M.reshape(0, 0) if M.size == 0 else M  # of a level without effects, whose plain form is an empty list
    if M.ndim != 2 or M.shape[0] != M.shape[1]:
        raise SpecError(f"matrix of structure '{name}' has shape {M.shape}; give a square matrix")
    if not np.isfinite(M).all():
        raise SpecError(f"matrix of structure '{name}' has entries that are not finite")
    size = np.abs(M).max(initial=0.0)
    if np.abs(M - M.T).max(initial=0.0) > TOLERANCE * size:
        raise SpecError(f"matrix of structure '{name}' is not symmetric")
    smallest = np.linalg.eigvalsh(M)[0] if len(M) else 0.0
    if smallest < -TOLERANCE * size:
        raise SpecError(
            f"matrix of structure '{name}' is not positive semi-definite: smallest eigenvalue {smallest:.3g}"
        )
    M = (M + M.T) / 2
    M.flags.writeable = False
    return M


class WithMatrix(Structure):
    """Mixin: holds the given matrix and demands its size."""

    name: ClassVar[str]

    def __init__(self, matrix: Any) -> None:
        self.given = semidefinite(matrix, self.name)

    def check(self, dim: int) -> None:
        if len(self.given) != dim:
            raise SpecError(
                f"matrix of structure '{self.name}' is {len(self.given)} x {len(self.given)}; "
                f"the level has {dim} random effects"
            )

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "matrix": self.given.tolist()}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.given.tolist()})"
