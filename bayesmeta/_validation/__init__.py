"""Every check of a value that a user wrote, once: numbers, probabilities, choices, names of columns, TOML tables.

Each check says which argument is wrong, its value and what would be right, and returns the value as what it is.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from importlib.util import find_spec
from math import isfinite
from numbers import Integral, Real
from os import PathLike, fsencode, fspath
from pathlib import Path
from typing import Any

from bayesmeta.errors import BayesmetaError, SpecError

_DISTRIBUTED_AS = {"docx": "python-docx", "great_tables": "great-tables", "arviz_stats": "arviz-stats"}
BAYES = ("pymc", "pytensor", "arviz", "arviz_stats")  # packages of the extra that no fit needs
MARGINAL = ("marginaleffects", "polars")  # likewise of the adapter for that package
LONGEST_PATH = 4096  # characters
MOST_COUNT = 10**15  # of draws, data sets ...: more has no figure in bytes that anyone could read
MOST_MEMORY = 16e9  # bytes of one result: more than a laptop has is a slip of the keyboard


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


def shown(value: object, most: int = 60) -> str:
    """A value as Python writes it, cut after `most` characters.

    >>> shown("a" * 100, most=8)
    "'aaaaaaa..."
    """
    try:
        if type(value).__module__ == "numpy" and getattr(value, "ndim", 1) == 0:
            value = value.item()  # type: ignore[attr-defined]  # 0.5 rather than np.float64(0.5)
        text = repr(value)
    except Exception:  # a foreign type's own words, or an integer of more digits than Python writes
        text = f"a {type(value).__name__}"
    text = " ".join(text.encode("utf-8", "backslashreplace").decode().split())
    return text if len(text) <= most else f"{text[:most]}..."


def is_number(value: object) -> bool:
    """Whether a value is a finite real number within the range of floats, which True and False are not."""
    if isinstance(value, bool) or not isinstance(value, Real):
        return False
    try:
        return isfinite(value)
    except OverflowError:
        return False


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
        raise SpecError(f"{name} is {shown(value)}; it must lie strictly between 0 and 1\n  {example}")
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
        raise SpecError(f"{name} is {shown(value)}; it must be a whole number {span}{remedy}")
    return int(value)


def check_count(value: Any, name: str, least: int = 1) -> int:
    """How many of something are to be made; `check_size` then says what memory they need.

    >>> check_count(10**400, "draws")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: draws is 1...; it must be a whole number from 1 to 1000000000000000
    """
    too_many = isinstance(value, Integral) and int(value) > MOST_COUNT
    return check_integer(value, name, least, MOST_COUNT if too_many else None)


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
        raise SpecError(f"{name} is {shown(value)}; it must be a finite number{span}")
    return float(value)


def check_correlation(value: Any, name: str) -> float:
    """A correlation strictly between -1 and 1.

    >>> check_correlation(1, "rho")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: rho is 1; it must lie strictly between -1 and 1
    """
    if not is_number(value) or not -1 < float(value) < 1:
        raise SpecError(f"{name} is {shown(value)}; it must lie strictly between -1 and 1")
    return float(value)


def check_choice(
    value: Any, choices: Iterable[str], name: str, synonyms: Callable[[str], Iterable[str]] | None = None
) -> str:
    """One of the words that an argument can take, as it is spelt here.

    synonyms : other words for each of the choices; then case, blanks and punctuation do not matter either.

    >>> check_choice("remml", ["reml", "ml"], "method")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: method is 'remml'; did you mean 'reml'?
      must be one of: reml, ml
    >>> check_choice("FE", ["reml", "fixed"], "method", {"reml": [], "fixed": ["fe", "ee"]}.get)
    'fixed'
    """
    choices = list(choices)
    if not isinstance(value, str) or value not in choices:
        meant = _meant(value, choices, synonyms) if synonyms and isinstance(value, str) else None
        if meant is not None:
            return meant
        raise SpecError(
            f"{name} is {shown(value)}{did_you_mean(value, choices)}\n  must be one of: {listing(choices, 20)}"
        )
    return value


def _meant(value: str, choices: Iterable[str], synonyms: Callable[[str], Iterable[str]]) -> str | None:
    """The one choice that a word stands for: its own spelling comes before those of others."""
    plain = _plain(value)
    for words in (lambda choice: (choice,), synonyms):
        matches = [choice for choice in choices if plain and plain in map(_plain, words(choice))]
        if len(matches) == 1:
            return matches[0]
    return None


def _plain(word: str) -> str:
    """Letters and digits alone, without regard to case.

    >>> _plain("log(OR)"), _plain("log_or"), _plain("Hedges' g")
    ('logor', 'logor', 'hedgesg')
    """
    return "".join(character for character in word.casefold() if character.isalnum())


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
    if not is_label(name) or name not in known:
        raise error(f"{what} {shown(name)}{did_you_mean(name, known)}\n  {plural}: {listing(known, most) or 'none'}")


def is_label(value: object) -> bool:
    """Whether a value can be a label, and not, for instance, a list or an array.

    >>> is_label("a"), is_label(["a"])
    (True, False)
    """
    try:
        hash(value)
        bool(value == value)
    except (TypeError, ValueError):  # of a list, and of pandas' missing value, which is equal to nothing
        return False
    return True


def check_names(values: Any, name: str, empty: bool = False) -> list[str]:
    """One name, or several, as a list; an empty list only if it is allowed.

    >>> check_names("tau", "parameters"), check_names(["tau", "tau2"], "parameters")
    (['tau'], ['tau', 'tau2'])
    >>> check_names(3, "parameters")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: parameters is 3; it must be a name or a list of names
    """
    if isinstance(values, str):
        return [values]
    listed = (
        isinstance(values, Iterable)
        and not isinstance(values, Mapping | bytes | set | frozenset)  # which have no order
        and getattr(values, "ndim", 1) == 1
    )
    names = list(values) if listed else []
    if not listed or not all(isinstance(each, str) for each in names):
        raise SpecError(f"{name} is {shown(values)}; it must be a name or a list of names")
    if not names and not empty:
        raise SpecError(f"{name} is empty; name at least one, or leave it out")
    if twice := next((each for i, each in enumerate(names) if each in names[:i]), None):
        raise SpecError(f"{name}: '{twice}' is there twice\n  leave one of them out")
    return names


def check_order(values: Any, known: Iterable[str], name: str, what: str) -> list[str]:
    """All of these names in an order of the user's, the known one where it is None.

    >>> check_order(["A"], ["A", "B"], "order", "treatment")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: order is A; it must hold each treatment once: A, B
    """
    known = list(known)
    names = known if values is None else check_names(values, name)
    if sorted(names) != sorted(known):
        raise SpecError(f"{name} is {listing(names)}; it must hold each {what} once: {listing(known, 30)}")
    return names


def entries(value: Any) -> list[Any]:
    """What a list, a tuple, a range, or a one-dimensional array or Series holds; nothing of anything else.

    >>> entries((1, 2)), entries("ab"), entries(3)
    ([1, 2], [], [])
    """
    if isinstance(value, str | bytes) or getattr(value, "ndim", 1) != 1:
        return []
    listed = isinstance(value, Sequence) or (hasattr(value, "ndim") and isinstance(value, Iterable))
    return list(value) if listed else []


def check_boolean(value: Any, name: str) -> bool:
    """True or False, and nothing that Python merely takes for one of them.

    >>> check_boolean("no", "nested")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: nested is 'no'; it must be True or False
    """
    if isinstance(value, bool):
        return value
    if type(value).__module__ == "numpy" and type(value).__name__ in ("bool", "bool_"):
        return bool(value)
    raise SpecError(f"{name} is {shown(value)}; it must be True or False")


def check_booleans(**values: Any) -> None:
    """That every argument is True or False, or None where it has been left to the function."""
    for name, value in values.items():
        if value is not None:
            check_boolean(value, name)


def check_seed(seed: Any, name: str = "random_seed") -> Any:
    """A seed of random numbers: None, a whole number of at least 0, or several.

    >>> check_seed("a")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: random_seed is 'a'; it must be a whole number of at least 0, a list of them, or None
    """
    parts = seed if isinstance(seed, Sequence) and not isinstance(seed, str | bytes) else [seed]
    if seed is None or (len(parts) and all(_is_count(part) for part in parts)):
        return seed
    raise SpecError(f"{name} is {shown(seed)}; it must be a whole number of at least 0, a list of them, or None")


def check_draws(draws: Any, seed: Any, default: int, used_by: str | None) -> int:
    """How many draws something takes by default or as asked; both arguments are refused where nothing is drawn.

    used_by : None where something is drawn, else what would draw.

    >>> check_draws(100, None, 1999, 'bootstrap="wild"')
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: draws=100 has no effect here: it belongs to bootstrap="wild"
      add bootstrap="wild", or leave draws out
    """
    for name, value in (("draws", draws), ("random_seed", seed)):
        if used_by and value is not None:
            shows = f"{name}={shown(value)} has no effect here: it belongs to {used_by}"
            raise SpecError(f"{shows}\n  add {used_by}, or leave {name} out")
    check_seed(seed)
    return default if draws is None else check_count(draws, "draws")


def _is_count(value: Any) -> bool:
    return not isinstance(value, bool) and isinstance(value, Integral) and int(value) >= 0


def check_mapping(value: Any, name: str, what: str) -> dict[str, Any]:
    """A dict of names, or None for an empty one.

    >>> check_mapping([1], "at", "predictors and their values")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: at is [1]; it must be a dict of predictors and their values
    """
    if value is not None and not isinstance(value, Mapping):
        raise SpecError(f"{name} is {shown(value)}; it must be a dict of {what}")
    return dict(value or {})


def check_is(value: Any, kind: type[Any], name: str, what: str, error: type[BayesmetaError] = SpecError) -> None:
    """That an argument is an object of a class of ours, with words for what that is.

    >>> check_is(3, dict, "study", "a simulation study from bm.load_study")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: study is of type int; it must be a simulation study from bm.load_study
    """
    if not isinstance(value, kind):
        raise error(f"{name} is of type {type(value).__name__}; it must be {what}")


def check_path(path: Any, name: str = "path") -> Path:
    """A path as text or a Path.

    >>> check_path(3)
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: path is 3; it must be the name of a file as text, or a Path
    """
    if isinstance(path, str | PathLike):
        text = fspath(path)
        if isinstance(text, str) and text.strip() and "\0" not in text and len(text) < LONGEST_PATH:
            with suppress(UnicodeEncodeError):  # of halves of characters, which no file system has
                fsencode(text)
                return Path(text)
    raise SpecError(f"{name} is {shown(path)}; it must be the name of a file as text, or a Path")


def check_size(size: float, what: str, most: float = MOST_MEMORY, remedy: str = "") -> None:
    """That bytes needed are within what a machine has; the figure in the message.

    >>> check_size(8e13, "10,000,000,000 data sets of 1,000 values")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: 10,000,000,000 data sets of 1,000 values need 80,000 GB of memory; ...
    """
    if size > most:
        raise SpecError(f"{what} need {size / 1e9:,.0f} GB of memory; at most {most / 1e9:,.0f} GB are used{remedy}")


def check_bayes(what: str) -> None:
    """That the packages of full Bayes are installed, which a frequentist analysis does not need."""
    _check_extra(what, BAYES, "bayes")


def check_tables(what: str, *packages: str) -> None:
    """That packages are installed that write tables, of an extra that no analysis needs.

    >>> check_tables("to_word", "docx")
    """
    _check_extra(what, packages, "tables")


def check_extra_with(what: str, package: str | None) -> None:
    """That the packages are installed without one of which a module of ours could not be loaded."""
    marginal = (package or "").split(".")[0] in MARGINAL
    _check_extra(what, MARGINAL if marginal else BAYES, "marginaleffects" if marginal else "bayes")


def _check_extra(what: str, packages: Iterable[str], extra: str) -> None:
    missing = [_DISTRIBUTED_AS.get(package, package) for package in packages if find_spec(package) is None]
    if missing:
        raise SpecError(
            f"{what} needs {listing(missing)}, which {'is' if len(missing) == 1 else 'are'} not installed\n"
            f'  pip install "bayesmeta[{extra}]"'
        )


def check_keys(table: Mapping[str, Any], known: Collection[str], where: str, required: Iterable[str] = ()) -> None:
    """That a table of a TOML file has keys that are known, and those that are required."""
    for key in table:
        if key not in known:
            raise SpecError(f"{where}: unknown key '{key}'{did_you_mean(key, known)}\nknown: {listing(known, most=20)}")
    for key in required:
        if key not in table:
            raise SpecError(f"{where}: '{key}' is missing\n  write {key} there, beside {listing(table) or 'nothing'}")


_TYPES: Mapping[Any, str] = {str: "a string", list: "a list", dict: "a table"}


def check_type(value: Any, kind: type[Any], where: str) -> None:
    """That a value of a TOML file is a string, a list or a table."""
    if not isinstance(value, kind):
        raise SpecError(f"{where} is {shown(value)}; it must be {_TYPES[kind]}")


def check_strings(values: Sequence[Any], where: str) -> None:
    """That every value of a list of a TOML file is a string."""
    for value in values:
        check_type(value, str, where)
