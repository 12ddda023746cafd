"""Covariance structures of the random effects: one file per family, one register.

A new family is a new file in this folder whose class carries the `register` decorator; nothing else changes.
"""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.structures.base import REGISTER, Structure

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

_BY_CLASS = {cls.__name__: cls for cls in REGISTER.values()}
_NEED_MATRIX = ("prop", "cor", "fixed")


def __getattr__(name: str) -> type[Structure]:
    try:
        return _BY_CLASS[name]
    except KeyError:
        raise AttributeError(f"bayesmeta.structures has no '{name}'{did_you_mean(name, _BY_CLASS)}") from None


def __dir__() -> list[str]:
    return [*_BY_CLASS, "resolve", "from_json", "REGISTER"]


def resolve(given: str | Structure) -> Structure:
    """A structure from its name or itself.

    Raises
    ------
    SpecError
        When the name is unknown, or names a structure that needs a matrix.

    Examples
    --------
    >>> resolve("cs")
    CompoundSymmetry()
    """
    if isinstance(given, Structure):
        return given
    if not isinstance(given, str) or given not in REGISTER:
        raise SpecError(
            f"unknown structure {given!r}{did_you_mean(str(given), REGISTER)}\n  known: {listing(REGISTER, 20)}"
        )
    if given in _NEED_MATRIX:
        raise SpecError(f"structure '{given}' needs a matrix: bm.structures.{REGISTER[given].__name__}(matrix)")
    return REGISTER[given]()


def from_json(value: str | dict[str, Any]) -> Structure:
    """The structure that `Structure.to_json` wrote."""
    if isinstance(value, str):
        return resolve(value)
    return REGISTER[value["name"]](value["matrix"])  # type: ignore[call-arg]
