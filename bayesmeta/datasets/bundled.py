"""The loader of the bundled tables.

The package holds the tables as published; effect estimates and sampling covariances that a paper derives from
counts are computed when a table is loaded. Beside each `NAME.csv` lies `NAME.toml` with the description.
"""

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta.datasets import derived
from bayesmeta.datasets.csv_files import read_csv
from bayesmeta.errors import DataError, warn_deprecated

_HERE = Path(__file__).parent
_DERIVED: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "bcg": derived.bcg,
    "gliomas": derived.gliomas,
    "smoking": derived.smoking,
}


def load(name: str) -> pd.DataFrame:
    """A bundled data set as a new data frame.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    DataFrame
        The columns that `describe(name)` explains, in the order of the published table.

    Raises
    ------
    DataError
        If no data set of that name is bundled.

    Examples
    --------
    >>> load("school").head(2)
       district  study  effect    var  year
    0        11      1   -0.18  0.118  1976
    1        11      2   -0.22  0.118  1976
    """
    _check_name(name)
    table = read_csv(_HERE / f"{name}.csv")
    return _DERIVED[name](table) if name in _DERIVED else table


def fetch(name: str) -> pd.DataFrame:
    """A bundled data set; deprecated, use `load`.

    Until version 0.1 six of the tables were downloaded. All of them are bundled now.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    DataFrame
        The same as `load(name)`.

    Raises
    ------
    DataError
        If no data set of that name is bundled.

    Examples
    --------
    >>> import warnings
    >>> with warnings.catch_warnings(action="ignore", category=DeprecationWarning):
    ...     fetch("thrombolytic").shape
    (38, 10)
    """
    warn_deprecated("datasets.fetch")
    return load(name)


def describe(name: str) -> str:
    """Title, citation, source table and every column of a data set, with its unit.

    Parameters
    ----------
    name : str
        One of `names()`.

    Returns
    -------
    str
        Several lines, for printing.

    Raises
    ------
    DataError
        If no data set of that name is bundled.

    Examples
    --------
    >>> print(describe("school").splitlines()[0])
    Modified school calendars and achievement: 56 studies in 11 districts
    """
    _check_name(name)
    text = _description(name)
    lines = [text["title"], "", f"Citation: {text['citation']}", f"Table: {text['table']}"]
    lines += [f"Note: {text['note'].strip()}"] if "note" in text else []
    columns = {**text["columns"], **{k: f"{v}; computed on loading" for k, v in text.get("derived", {}).items()}}
    width = max(map(len, columns))
    return "\n".join([*lines, "", *(f"  {column:<{width}}  {meaning}" for column, meaning in columns.items())])


def names() -> list[str]:
    """Names of the bundled data sets, in alphabetical order.

    Returns
    -------
    list of str
        Names that `load` and `describe` take.

    Examples
    --------
    >>> names()[:4]
    ['alcohol', 'auditc', 'bangertdrowns2004', 'bcg']
    """
    return sorted(path.stem for path in _HERE.glob("*.csv"))


def _description(name: str) -> dict[str, Any]:
    return tomllib.loads((_HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _check_name(name: str) -> None:
    bundled = names()
    if not isinstance(name, str) or name not in bundled:
        raise DataError(
            f"unknown data set {shown(name)}{did_you_mean(name, bundled)}\n"
            f"bundled: {listing(bundled, most=len(bundled))}; a table of your own is read with pandas.read_csv"
        )
