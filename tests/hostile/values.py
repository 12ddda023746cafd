"""Kinds of arguments: values that no caller should pass, and those that a plain reading admits."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm

# lines of Python, so that a failing call can be pasted
POOL = (
    *("None", "True", "False", "0", "1", "2", "3", "-1", "1.5", "0.5", "95", "10**400", "-10**400", "1e308", "1e-320"),
    *("np.nan", "np.inf", "-np.inf", "1j", "np.float64(0.9)", "np.int64(2)", "np.True_", "np.complex128(1)"),
    *("''", "' '", "'a'", "'x'", "'y'", "'1'", "'reml'", "'no'", "'\\0'", "'\\ud800'", "'a' * 100000", "b'x'"),
    *("[]", "[1]", "['a']", "['x']", "['x', 'x']", "[1, 2]", "[None]", "[[1], [1, 2]]", "[True]", "[[]]", "['x', 3]"),
    *("()", "(1,)", "('a', 'b')", "{}", "{'a': 1}", "{'x': 1.0}", "{'g': 1}", "{1}", "set()", "object()", "float"),
    *("np.array([])", "np.ones(3)", "np.ones((2, 2))", "np.array(['a'])", "np.array(1.0)", "np.array([1j])"),
    *("np.ma.masked_array([1.0, 2.0], [False, True])", "np.ma.masked", "pd.NA", "pd.NaT", "pd.Timestamp('2020-01-01')"),
    *(
        "pd.Series([1.0, 2.0])",
        "pd.Series(['a', 'b'])",
        "pd.Series([], dtype=float)",
        "pd.DataFrame()",
        "D",
        "D.y",
        "D.g",
    ),
    *("D.iloc[::-1]", "D.y.iloc[::-1]", "E", "T", "SPEC", "POST", "PROFILE", "xr.Dataset()", "xr.DataTree()"),
    *(
        "xr.DataArray([1.0])",
        "lambda *_: 1",
        "range(3)",
        "iter([1])",
        "Path('x')",
        "bm",
        "bm.Prior('Flat')",
        "Ellipsis",
    ),
)


@dataclass(frozen=True)
class Kind:
    """A kind of argument.

    admits : whether a plain reading of the documentation admits a value.
    own : lines for values that are nearly right.
    meaning : the line of the value that an admitted one stands for; empty where it stands for itself.
    """

    admits: Callable[[Any], bool]
    own: tuple[str, ...] = ()
    meaning: Callable[[Any], str] = lambda _: ""


def is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool) and abs(value) < 1.7e308


def whole(least: int, most: float = np.inf) -> Kind:
    def admits(value: Any) -> bool:
        return isinstance(value, Integral) and not isinstance(value, bool) and least <= value <= most

    return Kind(admits, (str(least - 1), f"{least}.0", f"np.int64({least})", f"'{least}'", "10**12", "10**30"))


def real(above: float = -np.inf, below: float = np.inf, closed: bool = False) -> Kind:
    def admits(value: Any) -> bool:
        return is_number(value) and (above < value < below or (closed and value in (above, below)))

    return Kind(admits, ("0.0", "1.0", "-0.5", "'0.5'", "[0.5]", "np.array(0.5)"))


def optional(kind: Kind) -> Kind:
    return Kind(lambda value: value is None or kind.admits(value), kind.own, kind.meaning)


def words(*known: str) -> Kind:
    own = [repr(known[0]), repr(known[0].upper()), repr(known[0] + " "), f"[{known[0]!r}]", f"{{{known[0]!r}: 1}}"]
    return Kind(lambda value: isinstance(value, str) and value in known, (*own, f"np.array({known[0]!r})"))


def spellings(*known: str) -> Kind:
    """Words of which case, blanks and punctuation do not matter."""

    def meant(value: Any) -> str:
        letters = "".join(each for each in value.casefold() if each.isalnum()) if isinstance(value, str) else ""
        return repr(letters) if letters in known else ""

    return Kind(lambda value: bool(meant(value)), words(*known).own, meant)


def names(*known: str) -> Kind:
    """One name or several, each once."""

    def admits(value: Any) -> bool:
        if isinstance(value, str):
            return value in known
        if (
            not isinstance(value, Sequence | np.ndarray | pd.Series | pd.Index)
            or not getattr(value, "ndim", 1)
            or not len(value)
        ):
            return False
        return all(isinstance(each, str) and each in known for each in value) and len(set(value)) == len(value)

    return Kind(
        admits,
        (repr(known[0]), f"[{known[0]!r}]", f"[{known[0]!r}] * 2", f"[{known[0]!r}, 'zz']", f"[{known[0]!r}, 1]"),
    )


def texts(count: int | None = None) -> Kind:
    """Names that are free: a list of texts."""

    def admits(value: Any) -> bool:
        if isinstance(value, str):
            return count == 1  # a name is a list of one
        listed = isinstance(value, Sequence | np.ndarray | pd.Series | pd.Index) and not isinstance(value, bytes)
        right = (
            listed and getattr(value, "ndim", 1) == 1 and all(isinstance(each, str) and each.strip() for each in value)
        )
        return bool(right) and len(value) == (count or len(value)) and len(set(value)) == len(value)

    return Kind(admits, ("['A', 'B']", "('A', 'A')", "('A', '')", "'AB'", "['A', 1]"))


def numbers(*shapes: tuple[int, ...], positive: bool = False) -> Kind:
    """An array of finite numbers; labels of pandas objects must be none or those expected, which these never have."""

    def admits(value: Any) -> bool:
        if isinstance(value, pd.Series | pd.DataFrame):
            return isinstance(value.index, pd.RangeIndex) and admits(value.to_numpy())
        if isinstance(value, np.ma.MaskedArray):
            return False
        try:
            cells = np.array(value, dtype=object)
        except (TypeError, ValueError):
            return False
        right = cells.shape in shapes and all(is_number(cell) for cell in cells.ravel())
        return right and (not positive or (cells >= 0).all())

    return Kind(
        admits, ("np.ones((1, 1))", "[[1.0]]", "[['1']]", "[[True]]", "[[1j]]", "np.ones((3, 10, 1)) > 0", "0.3")
    )


def is_none(value: Any) -> bool:
    return value is None


def is_empty(value: Any) -> bool:
    return isinstance(value, Mapping) and not value


def is_fit(value: Any) -> bool:
    return isinstance(value, xr.DataTree) and "estimate" in value.children


def is_result(value: Any) -> bool:
    return is_fit(value) or (isinstance(value, xr.DataTree) and "posterior" in value.children)


def is_mapping_of(check: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, Mapping) and len(value) > 0 and all(map(check, value.values()))


BOOLEAN = Kind(lambda value: isinstance(value, bool | np.bool_), ("'yes'", "'no'", "np.array(True)", "[True]"))
PROBABILITY = real(0, 1)
SEED = Kind(
    lambda value: (
        value is None
        or (not isinstance(value, bool) and isinstance(value, Integral) and value >= 0)
        or (
            isinstance(value, Sequence)
            and not isinstance(value, str | bytes)
            and len(value) > 0
            and all(map(_seed_part, value))
        )
    ),
    ("np.random.default_rng(1)", "[1, 2]", "[1, -1]", "'1'", "1.0"),
)
FIT = Kind(is_fit, ("TML", "T2", "SPEC", "[T]", "{'a': T}", "T['estimate']"))
RESULT = Kind(is_result, ("POST", "T2", "SPEC", "[T]", "T['estimate'].to_dataset()"))
RESULTS = Kind(lambda value: is_result(value) or is_mapping_of(is_result)(value), ("{'a': T}", "{'a': 3}", "[T]"))
SPEC = Kind(lambda value: isinstance(value, bm.Spec), ("SPEC2", "T", "D"))
TEXT = Kind(lambda value: isinstance(value, str), ())
AXES = Kind(lambda value: value is None, ("3", "'ax'", "[None]", "np.array([None, None])"))
PATH = Kind(lambda value: isinstance(value, str | Path), ())


def _seed_part(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and value >= 0


def column(*known: str) -> Kind:
    own = (f"[{known[0]!r}]", f"D[{known[0]!r}]" if known[0] in "yvxgf" else "3", f"{known[0]!r}", "'zz'", "'Y'")
    return Kind(lambda value: isinstance(value, str) and value in known, own)


def pair(*known: str) -> Kind:
    """The columns of two arms."""

    def admits(value: Any) -> bool:
        listed = isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2
        return listed and all(isinstance(each, str) and each in known for each in value) and value[0] != value[1]

    return Kind(admits, ("('e', 'e')", "('e', 'zz')", "('e', 3)", "('e',)", "('e', 'c', 'n')", "'ec'", "['e', ['c']]"))


def priors() -> Kind:
    return Kind(
        lambda value: value is None or isinstance(value, bm.Priors),
        ("{'tau': 1}", "bm.Prior('Normal', mu=0, sigma=1)", "[bm.Priors()]", "bm.Priors"),
    )
