"""Every check of a value that a user wrote, once: numbers, probabilities, choices, names of columns, TOML tables.

Each check says which argument is wrong, its value and what would be right, and returns the value as what it is.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from difflib import get_close_matches
from math import isfinite
from numbers import Integral, Real
from typing import Any

from bayesmeta.errors import BayesmetaError, SpecError


def did_you_mean(word: str, known: Iterable[object]) -> str:
    """A short hint naming the known word closest to the one written; empty when none is close.

    >>> did_you_mean("unstrr", ["unstr", "diag"])
    "; did you mean 'unstr'?"
    >>> did_you_mean("SMD", ["smd", "rd"])
    "; did you mean 'smd'?"
    """
    words = {str(k).casefold(): str(k) for k in known}
    close = get_close_matches(str(word).casefold(), words, n=1)
    return f"; did you mean '{words[close[0]]}'?" if close else ""


def listing(items: Iterable[object], most: int = 8) -> str:
    """Items joined by commas, cut after `most` with a count of the rest.

    >>> listing(range(10), most=3)
    '0, 1, 2 and 7 more'
    """
    words = [str(i) for i in items]
    rest = len(words) - most
    return ", ".join(words) if rest <= 0 else ", ".join(words[:most]) + f" and {rest} more"


def is_number(value: object) -> bool:
    """Whether a value is a real number, which True and False are not."""
    return isinstance(value, Real) and not isinstance(value, bool)


def is_finite(value: Any) -> bool:
    """Whether a number is finite, and not too large to be a float."""
    try:
        return isfinite(value)
    except OverflowError:
        return False


def check_probability(value: Any, name: str = "prob") -> float:
    """A probability strictly between 0 and 1.

    >>> check_probability(95)
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: prob is 95; it must lie strictly between 0 and 1
      for 95 percent: 0.95
    """
    if not is_number(value) or not 0 < float(value) < 1:
        as_percent = is_number(value) and 1 < value < 100
        example = f"for {value:g} percent: {value / 100:g}" if as_percent else "for 95 percent: 0.95"
        raise SpecError(f"{name} is {value!r}; it must lie strictly between 0 and 1\n  {example}")
    return float(value)


def check_integer(value: Any, name: str, least: int, most: int | None = None, remedy: str = "") -> int:
    """A whole number, at least `least` and at most `most`; `remedy` says what else may be given.

    >>> check_integer(2.5, "draws", 1)
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: draws is 2.5; it must be a whole number of at least 1
    """
    whole = isinstance(value, Integral) and not isinstance(value, bool)
    if not whole or value < least or (most is not None and value > most):
        span = f"of at least {least}" if most is None else f"from {least} to {most}"
        raise SpecError(f"{name} is {value!r}; it must be a whole number {span}{remedy}")
    return int(value)


def check_number(value: Any, name: str, above: float | None = None, least: float | None = None) -> float:
    """A finite number, greater than `above`, or at least `least`.

    >>> check_number(0, "tolerance", above=0)
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: tolerance is 0; it must be a finite number greater than 0
    """
    low = above if least is None else least
    if not is_number(value) or not is_finite(value) or not (low is None or value > low or value == least):
        span = "" if low is None else f" greater than {above:g}" if least is None else f" of at least {least:g}"
        raise SpecError(f"{name} is {value!r}; it must be a finite number{span}")
    return float(value)


def check_correlation(value: Any, name: str) -> float:
    """A correlation strictly between -1 and 1.

    >>> check_correlation(1, "rho")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: rho is 1; it must lie strictly between -1 and 1
    """
    if not is_number(value) or not -1 < float(value) < 1:
        raise SpecError(f"{name} is {value!r}; it must lie strictly between -1 and 1")
    return float(value)


def check_choice(value: Any, choices: Iterable[str], name: str) -> str:
    """One of the words that an argument can take.

    >>> check_choice("remml", ["reml", "ml"], "method")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: method is 'remml'; did you mean 'reml'?
      must be one of: reml, ml
    """
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        raise SpecError(f"{name} is {value!r}{did_you_mean(value, choices)}\n  must be one of: {listing(choices, 20)}")
    return value


def check_name(
    name: Any,
    known: Iterable[object],
    what: str,
    plural: str,
    error: type[BayesmetaError] = SpecError,
    most: int = 20,
) -> None:
    """That a column, level, outcome, model ... of this name exists; the message lists those that do.

    >>> check_name("efect", ["effect", "var"], "formula: no column", "columns")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: formula: no column 'efect'; did you mean 'effect'?
      columns: effect, var
    """
    known = list(known)
    if name not in known:
        raise error(f"{what} {name!r}{did_you_mean(name, known)}\n  {plural}: {listing(known, most) or 'none'}")


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str, required: Iterable[str] = ()) -> None:
    """That a table of a TOML file has keys that are known, and those that are required."""
    for key in table:
        if key not in known:
            raise SpecError(f"{where}: unknown key '{key}'{did_you_mean(key, known)}\nknown: {listing(known, most=20)}")
    for key in required:
        if key not in table:
            raise SpecError(f"{where}: '{key}' is missing")


_TYPES: Mapping[Any, str] = {str: "a string", list: "a list", dict: "a table"}


def check_type(value: Any, kind: type[Any], where: str) -> None:
    """That a value of a TOML file is a string, a list or a table."""
    if not isinstance(value, kind):
        raise SpecError(f"{where} is {value!r}; it must be {_TYPES[kind]}")


def check_strings(values: Sequence[Any], where: str) -> None:
    """That every value of a list of a TOML file is a string."""
    for value in values:
        check_type(value, str, where)
