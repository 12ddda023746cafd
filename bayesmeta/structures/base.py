"""The contract of a between-group covariance structure, and the register of all of them.

A structure knows how the free parameters xi of one level make the covariance matrix Psi. Its arithmetic (`psi`)
uses only operators and indexing that NumPy and PyTensor share, so that both backends read the same lines.
Parameters stand on the first axis, matrices on the first two; further axes are data sets.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from functools import cache
from typing import Any, ClassVar

import numpy as np

from bayesmeta.errors import SpecError

REGISTER: dict[str, type["Structure"]] = {}


def register(cls: type["Structure"]) -> type["Structure"]:
    """Class decorator that enters a structure into the register under its name."""
    REGISTER[cls.name] = cls
    return cls


@cache
def eye(dim: int) -> np.ndarray:
    identity = np.eye(dim)
    identity.flags.writeable = False
    return identity


def over_data_sets(constant: np.ndarray, xi: Any) -> np.ndarray:
    """`constant` with one trailing axis for each data-set axis of xi."""
    return constant.reshape(constant.shape + (1,) * (xi.ndim - 1))


class Structure(ABC):
    """A family of a x a covariance matrices with free parameters xi."""

    name: ClassVar[str]

    @abstractmethod
    def n_free(self, dim: int) -> int:
        """Number of free parameters for `dim` effects."""

    @abstractmethod
    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        """One label per free parameter."""

    @abstractmethod
    def psi(self, xi: Any, dim: int) -> Any:
        """Psi (dim, dim, ...) at xi (n_free, ...)."""

    @abstractmethod
    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        """Gradient by xi of a function whose derivative by the entries of Psi is the symmetric `psi_bar`."""

    @abstractmethod
    def start(self, moment: np.ndarray) -> np.ndarray:
        """Free parameters of a non-singular member near a positive semi-definite moment estimate of Psi."""

    @abstractmethod
    def units(self, effect_units: np.ndarray) -> np.ndarray:
        """Natural size of every free parameter, given that of every effect's SD."""

    def lower(self, dim: int) -> np.ndarray:
        """Lower bound of every free parameter."""
        return np.full(self.n_free(dim), -np.inf)

    def zero_positions(self, dim: int) -> np.ndarray:
        """Positions in xi of parameters that make Psi singular at zero: SDs, the diagonal of a Cholesky factor."""
        return np.arange(0)

    def rho_position(self, dim: int) -> int | None:
        """Position in xi of the parameter that maps to a correlation, if there is one."""
        return None

    def check(self, dim: int) -> None:  # noqa: B027 (most structures take any number of effects)
        """Raise SpecError when the structure cannot have `dim` effects."""

    def to_json(self) -> str | dict[str, Any]:
        """Plain value that `from_json` turns back into the structure."""
        return self.name

    def __repr__(self) -> str:
        return f"{type(self).__name__}()"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Structure) and self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(str(self.to_json()))


def need_two_effects(name: str, dim: int) -> None:
    if dim < 2:
        raise SpecError(f"structure '{name}' needs at least 2 random effects, the level has {dim}; use 'unstr' or 'id'")
