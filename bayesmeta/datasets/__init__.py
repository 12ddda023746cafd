"""Published tables: the data sets of the worked analyses, each with its citation and a description of its columns.

The package holds the tables as published; effect estimates and sampling covariances that a paper derives from
counts are computed when a table is loaded. Beside each `NAME.csv` lies `NAME.toml` with the description.
"""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bayesmeta.datasets import derived
from bayesmeta.errors import DataError, did_you_mean, listing

DIRECTORY = "BAYESMETA_DATA"
_HERE = Path(__file__).parent
_DERIVED: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "bcg": derived.bcg,
    "gliomas": derived.gliomas,
    "smoking": derived.smoking,
}


def load(name: str) -> pd.DataFrame:
    """A data set as a new data frame.

    Parameters
    ----------
    name : a bundled data set (bcg, berkey98, dbs, gliomas, school, smoking), or `NAME` where the directory in the
        environment variable `BAYESMETA_DATA` holds `NAME.csv` (thrombolytic and alcohol are read from there). A bundled
        data set always comes from the package, whatever the directory holds.

    Returns
    -------
    pandas.DataFrame with the columns that `describe(name)` explains, in the order of the published table.

    Raises
    ------
    DataError : unknown name, or a table that is not distributed with the package and not in the directory.

    Examples
    --------
    >>> load("school").head(2)
       district  study  effect    var  year
    0        11      1   -0.18  0.118  1976
    1        11      2   -0.22  0.118  1976
    """
    if name in _bundled():
        table = pd.read_csv(_HERE / f"{name}.csv")
        return _DERIVED[name](table) if name in _DERIVED else table
    directory = os.environ.get(DIRECTORY)
    if directory and name in _found(directory):
        return pd.read_csv(Path(directory) / f"{name}.csv")
    raise _not_found(name, directory)


def describe(name: str) -> str:
    """Title, citation, source table and every column with its unit.

    Parameters
    ----------
    name : a data set that the package describes: a bundled one, thrombolytic or alcohol.

    Raises
    ------
    DataError : the package has no description of that name.

    Examples
    --------
    >>> print(describe("school").splitlines()[0])
    Modified school calendars and achievement: 56 studies in 11 districts
    """
    if name not in _described():
        raise DataError(f"no description of a data set '{name}'{did_you_mean(name, _described())}\n{_known()}")
    text = _description(name)
    lines = [text["title"], "", f"Citation: {text['citation']}", f"Table: {text['table']}"]
    lines += [f"Note: {text['note'].strip()}"] if "note" in text else []
    columns = {**text["columns"], **{k: f"{v}; computed on loading" for k, v in text.get("derived", {}).items()}}
    width = max(map(len, columns))
    return "\n".join([*lines, "", *(f"  {column:<{width}}  {meaning}" for column, meaning in columns.items())])


def names() -> list[str]:
    """Names that `load` can serve now: the bundled data sets, then those in the directory of `BAYESMETA_DATA`.

    >>> names()[:6]
    ['bcg', 'berkey98', 'dbs', 'gliomas', 'school', 'smoking']
    """
    directory = os.environ.get(DIRECTORY)
    return _bundled() + sorted(set(_found(directory) if directory else ()) - set(_bundled()))


def _stems(suffix: str) -> list[str]:
    return sorted(path.stem for path in _HERE.glob(f"*{suffix}"))


def _bundled() -> list[str]:
    return _stems(".csv")


def _described() -> list[str]:
    return _stems(".toml")


def _description(name: str) -> dict[str, Any]:
    return tomllib.loads((_HERE / f"{name}.toml").read_text(encoding="utf-8"))


def _found(directory: str) -> list[str]:
    return sorted(path.stem for path in Path(directory).glob("*.csv"))


def _known() -> str:
    outside = f"from the directory in {DIRECTORY}: thrombolytic, alcohol, any NAME.csv"
    return f"bundled: {listing(_bundled(), most=20)}; {outside}"


def _not_found(name: str, directory: str | None) -> DataError:
    where = f"the directory in {DIRECTORY} ({directory})" if directory else f"{DIRECTORY}, which is not set"
    if name in _described():
        return DataError(
            f"data set '{name}' is not distributed with bayesmeta and there is no {name}.csv in {where}\n"
            f"The R package mixmeta holds it as data/{name}.rda (GitHub repository gasparrini/mixmeta). In R,\n"
            f"  load('{name}.rda'); write.csv({name}, '{name}.csv', row.names = FALSE, na = '')\n"
            f"saves it as CSV; set the environment variable {DIRECTORY} to the directory of {name}.csv."
        )
    return DataError(
        f"unknown data set '{name}'{did_you_mean(name, {*names(), *_described()})}\n{_known()}; looked in {where}"
    )
