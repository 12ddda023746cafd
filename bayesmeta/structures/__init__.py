"""Covariance structures of the random effects: a file for each kind of family, and one register.

A new family is a class with the `register` decorator, here or in a user's own code; nothing else changes.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bayesmeta._validation import check_choice, check_keys, did_you_mean, listing, shown
from bayesmeta._validation.calls import explain
from bayesmeta.errors import SpecError
from bayesmeta.structures.base import REGISTER as REGISTER
from bayesmeta.structures.base import Law as Law
from bayesmeta.structures.base import NotRegisteredError
from bayesmeta.structures.base import Structure as Structure
from bayesmeta.structures.base import register as register
from bayesmeta.structures.continuous_time import CAR1 as CAR1
from bayesmeta.structures.continuous_time import HetCAR1 as HetCAR1
from bayesmeta.structures.correlated import AR1 as AR1
from bayesmeta.structures.correlated import CompoundSymmetry as CompoundSymmetry
from bayesmeta.structures.correlated import HetAR1 as HetAR1
from bayesmeta.structures.correlated import HetCompoundSymmetry as HetCompoundSymmetry
from bayesmeta.structures.diagonal import Diagonal as Diagonal
from bayesmeta.structures.diagonal import Identity as Identity
from bayesmeta.structures.examination import Examination
from bayesmeta.structures.known import Fixed as Fixed
from bayesmeta.structures.known import KnownCorrelation as KnownCorrelation
from bayesmeta.structures.known import Proportional as Proportional
from bayesmeta.structures.unstructured import Unstructured as Unstructured

MOST_EFFECTS = 100  # that `check` takes: more would fill the memory

__all__ = [
    "AR1",
    "CAR1",
    "REGISTER",
    "CompoundSymmetry",
    "Diagonal",
    "Fixed",
    "HetAR1",
    "HetCAR1",
    "HetCompoundSymmetry",
    "Identity",
    "KnownCorrelation",
    "Law",
    "Proportional",
    "Structure",
    "Unstructured",
    "check",
    "from_json",
    "register",
    "resolve",
]


def __dir__() -> list[str]:
    return __all__


def resolve(structure: str | Structure) -> Structure:
    """A structure from its name or itself.

    Parameters
    ----------
    structure : str or Structure
        A name in the register of a structure without arguments, or a synonym of one, in any case; or a structure.

    Returns
    -------
    Structure
        The structure.

    Raises
    ------
    SpecError
        When the name is unknown, or names a structure that needs a matrix.

    Examples
    --------
    >>> resolve("cs")
    CompoundSymmetry()
    """
    if isinstance(structure, Structure):
        return structure
    family = REGISTER[check_choice(structure, REGISTER, "structure", lambda name: REGISTER[name].synonyms)]
    if family.arguments:
        call = f"bm.structures.{family.__name__}({family.call or ', '.join(family.arguments)})"
        raise SpecError(f"structure '{structure}' needs a {family.arguments[0]}: {call}")
    return family()


def check(structure: str | Structure, dim: int) -> None:
    """Examine whether a structure keeps the contract of `Structure` over `dim` effects; SpecError for what it breaks.

    Compared are, all over the range of the free parameters: Psi, which must be symmetric and positive semi-definite;
    its derivatives (`pullback`, `curvature`, `directions`, `variance_slopes`, `variance_bends`) with differences;
    `compose` with `decompose` and `psi`; the limits `low` and `high` of a correlation with `rho_range` and with the
    support of its law `lkj`; shapes; and what the class says of its family (`members`, `any_order`, `pair`).

    `bm.specify` does it by itself for a class from outside the package, once for each number of effects.

    Parameters
    ----------
    structure : str or Structure
        A name in the register, or a structure.
    dim : int
        Number of effects, from 1 to 100.

    Returns
    -------
    None
        When nothing is wrong.

    Raises
    ------
    SpecError
        Names the method, the values at which it is wrong, and what to do.

    Examples
    --------
    >>> check("har1", 4)
    >>> class Wrong(CompoundSymmetry):
    ...     name = "wrong"
    ...     def low(self, dim):
    ...         return -1.0
    >>> check(Wrong(), 3)
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: structure 'wrong' over 3 effects: compose is indefinite at rho = -1, which ...
      let the methods low(dim) and high(dim) say between which rho it is positive definite
    """
    if not isinstance(dim, int | np.integer) or isinstance(dim, bool) or not 1 <= dim <= MOST_EFFECTS:
        raise SpecError(f"dim is {shown(dim)}; it must be a number of effects from 1 to {MOST_EFFECTS}")
    Examination(resolve(structure), int(dim)).run()


def from_json(value: str | dict[str, Any]) -> Structure:
    """The structure that `Structure.to_json` wrote.

    Parameters
    ----------
    value : str or dict
        A name, or `{"name": ..}` with the arguments of the structure's class.

    Returns
    -------
    Structure
        The structure.

    Raises
    ------
    SpecError
        When no structure of that name is registered.

    Examples
    --------
    >>> from_json({"name": "prop", "matrix": [[1.0, 0.5], [0.5, 1.0]]})
    Proportional([[1.0, 0.5], [0.5, 1.0]])
    """
    if isinstance(value, str):
        try:
            return resolve(value)
        except SpecError:
            if value in REGISTER:
                raise
            raise _unregistered(value) from None
    if not isinstance(value, Mapping) or "name" not in value:
        raise SpecError(f"structure is {shown(value)}; it must be a name, or a dict with 'name' and its arguments")
    name, arguments = value["name"], {key: of for key, of in value.items() if key != "name"}
    if not isinstance(name, str) or name not in REGISTER:
        raise _unregistered(name)
    needed = [argument for argument in REGISTER[name].arguments if argument not in REGISTER[name].optional]
    check_keys(arguments, REGISTER[name].arguments, f"structure '{name}'", needed)
    return REGISTER[name](**arguments)


def _unregistered(name: Any) -> NotRegisteredError:
    return NotRegisteredError(
        f"structure {shown(name)} is not registered here{did_you_mean(str(name), REGISTER)}\n  "
        "the package has none of this name; if it is one of somebody's own, import the module that defines its class "
        f"(@bm.structures.register) and read again\n  registered: {listing(REGISTER, 20)}"
    )


explain(globals(), __all__, "bm.structures.")
