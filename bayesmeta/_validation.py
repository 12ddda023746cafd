"""Checks of what a user wrote in a TOML file: keys that are known, values of the right kind."""

from collections.abc import Iterable, Mapping
from difflib import get_close_matches
from typing import Any

from bayesmeta.errors import SpecError


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A short hint naming the known word closest to the given one; empty when none is close.

    >>> did_you_mean("unstrr", ["unstr", "diag"])
    "; did you mean 'unstr'?"
    """
    close = get_close_matches(str(given), [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(items: Iterable[object], most: int = 8) -> str:
    """Items joined by commas, cut after `most` with a count of the rest.

    >>> listing(range(10), most=3)
    '0, 1, 2 and 7 more'
    """
    words = [str(i) for i in items]
    rest = len(words) - most
    return ", ".join(words) if rest <= 0 else ", ".join(words[:most]) + f" and {rest} more"


def check_keys(table: Mapping[str, Any], known: Iterable[str], where: str, required: Iterable[str] = ()) -> None:
    for key in table:
        if key not in known:
            raise SpecError(f"{where}: unknown key '{key}'{did_you_mean(key, known)}\nknown: {listing(known, most=20)}")
    for key in required:
        if key not in table:
            raise SpecError(f"{where}: '{key}' is missing")


def check_kind(value: Any, kind: type[Any], where: str) -> None:
    if not isinstance(value, kind):
        wanted = "text" if kind is str else "a list" if kind is list else "a table"
        raise SpecError(f"{where} is {value!r}; {wanted} is wanted")


def check_texts(values: Iterable[Any], where: str) -> None:
    for value in values:
        check_kind(value, str, where)


def check_word(word: Any, known: Iterable[str], where: str) -> None:
    """That a word is one of those known; `where` says what it is, such as "figure rates: kind"."""
    if word not in (known := list(known)):
        raise SpecError(f"{where} is {word!r}{did_you_mean(str(word), known)}\nknown: {listing(known, most=20)}")
