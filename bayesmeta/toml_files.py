"""TOML files that declare analyses and simulation studies: found by path or bundled name, and read.

The files of the published analyses travel with the package; in a checkout they are the folder `models` at the top.
"""

import tomllib
from pathlib import Path
from typing import Any

from bayesmeta._validation import check_path, did_you_mean, listing, shown
from bayesmeta.errors import DataError, SpecError

_PACKAGE = Path(__file__).parent


def bundled() -> dict[str, Path]:
    """The bundled files by name, in alphabetical order.

    >>> list(bundled())[:2]
    ['alcohol', 'bcg']
    """
    within = _PACKAGE / "models"
    directory = within if within.is_dir() else _PACKAGE.parent / "models"
    return {path.stem: path for path in sorted(directory.glob("*.toml"))}


def locate(name: str | Path) -> Path:
    """The path of a file, or of the bundled file of that name; a path takes precedence.

    >>> locate("school").name
    'school.toml'
    >>> locate("shcool")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.DataError: no model file shcool, and no bundled one of that name; did you mean 'school'?
      bundled: alcohol, bcg, gliomas, school, smoking, table6, thrombolytic
    """
    path, known = check_path(name, "the model file"), bundled()
    try:
        if path.is_file():
            return path
    except (OSError, ValueError) as error:
        raise DataError(f"no model file {shown(str(name))}: {error.__class__.__name__}") from None
    if str(name) in known:
        return known[str(name)]
    if path.is_dir():
        raise DataError(f"{name} is a directory, not a model file")
    raise DataError(
        f"no model file {name}, and no bundled one of that name{did_you_mean(path.stem, known)}\n"
        f"  bundled: {listing(known, most=20)}"
    )


def read_toml(path: Path) -> dict[str, Any]:
    """The content of a TOML file."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SpecError(f"{path.name} is not TOML: {error}") from None
