"""TOML files that declare analyses and simulation studies: found by path or bundled name, and read.

The files of the published analyses travel with the package; in a checkout they are the folder `models` at the top.
"""

import re
import tomllib
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bayesmeta._validation import check_path, did_you_mean, listing, shown
from bayesmeta.errors import DataError, SpecError

_LONGEST = 200  # characters of a value that messages show
_TOKEN = re.compile(
    r"""\"{3}(?:\\.|[^\\])*?\"{3,5}|'{3}.*?'{3,5}|"(?:\\.|[^"\\\n])*"|'[^'\n]*'|\#[^\n]*|\n|[\[\]{}=,.]|[^\s\[\]{}=,.#"']+""",
    re.DOTALL,
)
_PACKAGE = Path(__file__).parents[1]
TABLES = (".csv", ".tsv", ".xlsx", ".xls")  # extensions of what people give in place of a model file


def bundled() -> dict[str, Path]:
    """The bundled files by name, in alphabetical order.

    >>> list(bundled())[:2]
    ['alcohol', 'auditc']
    """
    within = _PACKAGE / "models"
    directory = within if within.is_dir() else _PACKAGE.parent / "models"
    return {path.stem: path for path in sorted(directory.glob("*.toml"))}


def is_declared(path: Path) -> bool:
    """Whether a path is read as a model file, or is the name of a bundled one; anything else is saved results."""
    return path.suffix in (".toml", *TABLES) or (not path.exists() and str(path) in bundled())


def locate(name: str | Path) -> Path:
    """The path of a file, or of the bundled file of that name; a path takes precedence.

    >>> locate("school").name
    'school.toml'
    >>> locate("shcool")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.DataError: no model file shcool, and no bundled one of that name; did you mean 'school'?
      bundled: alcohol, auditc, bcg, diabetes, gliomas, school, smoking, table6, thrombolytic
    """
    path, known = check_path(name, "the model file"), bundled()
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:
        raise DataError(
            f"no model file {shown(str(name))}: {error.__class__.__name__}"
            "\n  give the path of a file, or a name that `bayesmeta models` lists"
        ) from None
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        raise DataError(f"{name} is a directory, not a model file\n  give the path of a file in it")
    raise DataError(
        f"no model file {name}, and no bundled one of that name{did_you_mean(path.stem, known)}\n"
        f"  bundled: {listing(known, most=20)}"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file, which may begin with a byte order mark."""
    return read_with_places(path)[0]


def read_with_places(path: Path) -> tuple[dict[str, Any], "Place"]:
    """The content of a TOML file, and its root, from which every entry has its line."""
    if path.suffix.lower() in TABLES:
        raise SpecError(f"{path.name} is a table, not a model file (TOML)\n  bayesmeta init {path} writes one for it")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise SpecError(
            f"{path.name} is not TOML: it is not UTF-8 ({error.reason} at byte {error.start})"
            "\n  save it as text in UTF-8"
        ) from None
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror or error}\n  check the path, and whether you may read it"
        ) from None
    return parsed(text, path.name)


def parsed(text: str, name: str) -> tuple[dict[str, Any], "Place"]:
    """The content of a text in TOML, and its root; name : of the file, as errors begin."""
    try:
        return tomllib.loads(text), Place(name, lines_of_keys(text))
    except (tomllib.TOMLDecodeError, ValueError) as error:
        raise SpecError(
            f"{name} is not TOML: {shortened(str(error))}"
            '\n  mend that line; texts stand in quotes, as in name = "value"'
        ) from None
    except RecursionError:
        raise SpecError(
            f"{name} is not TOML that can be read: it is nested too deeply"
            "\n  tables of model files are at most a few levels deep"
        ) from None


def shortened(text: str) -> str:
    """A text of a file as messages show it."""
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} ..."


@dataclass(frozen=True)
class Place:
    """An entry of a TOML file; as text it says file, line and entry, as messages begin.

    >>> root = Place("a.toml", lines_of_keys('title = "A"\\n[model.m]\\nS = "v"'))
    >>> print(root.of("model", "m") / "S")
    a.toml, line 3: model m: S
    """

    file: str
    lines: Mapping[tuple[str | int, ...], int]
    path: tuple[str | int, ...] = ()
    text: str = ""

    def __truediv__(self, key: str | int) -> "Place":
        """An entry of this table, or of this list."""
        words = shortened(str(key)) if isinstance(key, str) else f"entry {key + 1}"
        return Place(self.file, self.lines, (*self.path, key), f"{self.text}: {words}" if self.text else words)

    def at(self, *keys: str | int) -> "Place":
        """The line of an entry below, and the words of this one."""
        return Place(self.file, self.lines, (*self.path, *keys), self.text)

    def of(self, kind: str, name: str) -> "Place":
        """An entry two levels below, as the table [model.NAME]."""
        words = f"{kind} {shortened(name)}"
        return Place(self.file, self.lines, (*self.path, kind, name), f"{self.text}: {words}" if self.text else words)

    def __str__(self) -> str:
        known = (self.lines[self.path[:n]] for n in range(len(self.path), 0, -1) if self.path[:n] in self.lines)
        line = next(known, None)
        return f"{self.file}{f', line {line}' if line else ''}{f': {self.text}' if self.text else ''}"

    def error(self, rule: str) -> SpecError:
        return SpecError(f"{self} {rule}")


def check_table(value: Any, known: Collection[str], place: Place, required: Iterable[str] = ()) -> dict[str, Any]:
    """A table whose keys are known, with those that are required."""
    if not isinstance(value, dict):
        raise place.error(f"is {shown(value)}; it must be a table")
    for key in value:
        if key not in known:
            hint = did_you_mean(key[:_LONGEST], known)
            raise SpecError(f"{place.at(key)}: unknown key '{shortened(key)}'{hint}\nknown: {listing(known, most=20)}")
    for key in required:
        if key not in value:
            raise SpecError(f"{place}: '{key}' is missing\n  write {key} = ... there")
    return value


def check_value(value: Any, kind: type[Any] | tuple[type[Any], ...], place: Place) -> Any:
    """A text, a list or a table."""
    if not isinstance(value, kind):
        words = {"str": "a string", "list": "a list", "dict": "a table"}
        kinds = kind if isinstance(kind, tuple) else (kind,)
        raise place.error(f"is {shown(value)}; it must be {' or '.join(words[each.__name__] for each in kinds)}")
    return value


def lines_of_keys(text: str) -> dict[tuple[str | int, ...], int]:
    """The line of every entry of a TOML file that has been read, by its path of keys and positions.

    >>> lines_of_keys('a = [{b = 1},\\n  {b = 2}]\\n[[c]]\\nd.e = 3')[("a", 1, "b")]
    2
    """
    return _Scanner(text).lines


class _Scanner:
    """Walks through TOML that is known to be right, and notes where every key stands."""

    def __init__(self, text: str) -> None:
        self.lines: dict[tuple[str | int, ...], int] = {}
        self.tokens: list[tuple[str, int]] = []
        line = 1
        for match in _TOKEN.finditer(text):
            if not match[0].startswith("#"):
                self.tokens.append((match[0], line))
            line += match[0].count("\n")
        self.at = 0
        self.arrays: dict[tuple[str | int, ...], int] = {}
        table: tuple[str | int, ...] = ()
        while self.at < len(self.tokens):
            if self.peek() == "[":
                table = self.header()
            elif self.peek() == "\n":
                self.at += 1
            else:
                self.entry(table)

    def peek(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else ""

    def note(self, path: tuple[str | int, ...], line: int) -> None:
        self.lines.setdefault(path, line)

    def keys(self, end: str) -> tuple[list[str], int]:
        """A dotted key up to a sign, and its line."""
        line, parts = self.tokens[self.at][1], []
        while self.peek() not in (end, ""):
            token = self.peek()
            if token != ".":
                parts.append(tomllib.loads(f"k = {token}")["k"] if token[0] in "\"'" else token)
            self.at += 1
        self.at += 1
        return parts, line

    def header(self) -> tuple[str | int, ...]:
        several = self.tokens[self.at + 1][0] == "["
        self.at += 2 if several else 1
        parts, line = self.keys("]")
        self.at += several
        path: tuple[str | int, ...] = ()
        for position, part in enumerate(parts):
            path = (*path, part)
            self.note(path, line)
            if several and position == len(parts) - 1:
                self.arrays[path] = self.arrays.get(path, -1) + 1
            if path in self.arrays:
                path = (*path, self.arrays[path])
                self.note(path, line)
        return path

    def entry(self, table: tuple[str | int, ...]) -> None:
        parts, line = self.keys("=")
        path = table
        for part in parts:
            path = (*path, part)
            self.note(path, line)
        self.value(path)

    def value(self, path: tuple[str | int, ...]) -> None:
        opening = self.peek()
        if opening not in ("[", "{"):
            while self.peek() not in ("\n", ",", "]", "}", ""):
                self.at += 1
            return
        self.at += 1
        position = 0
        while self.peek() not in ("]", "}", ""):
            if self.peek() in (",", "\n"):
                self.at += 1
            elif opening == "{":
                self.entry(path)
            else:
                self.note((*path, position), self.tokens[self.at][1])
                self.value((*path, position))
                position += 1
        self.at += 1
