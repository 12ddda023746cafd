"""Published tables: the data sets of the worked analyses, each with its citation and a description of its columns.

The package holds the tables as published; effect estimates and sampling covariances that a paper derives from
counts are computed when a table is loaded. Beside each `NAME.csv` lies `NAME.toml` with the description. Tables that
the package does not hold come from a directory of the user's, or from the cache of what `fetch` has downloaded.
"""

import os
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd

from bayesmeta._validation import did_you_mean, listing
from bayesmeta.datasets import derived, remote
from bayesmeta.errors import DataError

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
    name : a bundled data set (bcg, berkey98, dbs, gliomas, school, smoking), `NAME` where the directory in the
        environment variable `BAYESMETA_DATA` holds `NAME.csv`, or one that `fetch` has downloaded. The places are asked
        in this order, so a bundled data set always comes from the package.

    Returns
    -------
    pandas.DataFrame with the columns that `describe(name)` explains, in the order of the published table.

    Raises
    ------
    DataError : unknown name, or a table that is not distributed with the package, not in the directory and not fetched.

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
    if name in remote.cached():
        return remote.read(name)
    raise _not_found(name, directory)


def fetch(name: str) -> pd.DataFrame:
    """A data set that is not bundled, downloaded at the first call; afterwards `load` and model files find it too.

    Parameters
    ----------
    name : alcohol, fibrinogen, hsls, hyp, p53 or thrombolytic, as the R package mixmeta distributes them. Where the
        directory in the environment variable `BAYESMETA_DATA` holds `NAME.csv`, that is read and nothing is downloaded.

    Returns
    -------
    pandas.DataFrame, as of `load`.

    Raises
    ------
    DataError : another name; no network; a file that is not, bit for bit, the one expected; a cache that cannot be
        written to.

    Notes
    -----
    Files are kept in the operating system's directory for caches, or in that of the variable `BAYESMETA_CACHE`.

    Examples
    --------
    >>> fetch("thrombolytic").shape  # doctest: +SKIP
    (38, 10)
    >>> fetch("school")
    Traceback (most recent call last):
    bayesmeta.errors.DataError: data set 'school' comes with bayesmeta, use load('school')
    """
    if name in _bundled():
        raise DataError(f"data set '{name}' comes with bayesmeta, use load('{name}')")
    if name not in remote.SHA256:
        hint = did_you_mean(name, remote.SHA256)
        raise DataError(f"no data set '{name}' can be fetched{hint}\nthose that can: {listing(remote.SHA256)}")
    directory = os.environ.get(DIRECTORY)
    if not (directory and name in _found(directory)):
        remote.download(name)
    return load(name)


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
    """Names that `load` can serve now: the bundled data sets, then those of the user's directory and of the cache.

    >>> names()[:6]
    ['bcg', 'berkey98', 'dbs', 'gliomas', 'school', 'smoking']
    """
    directory = os.environ.get(DIRECTORY)
    others = {*(_found(directory) if directory else ()), *remote.cached()}
    return _bundled() + sorted(others - set(_bundled()))


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
    outside = f"to be fetched: {listing(remote.SHA256)}; from the directory in {DIRECTORY}: any NAME.csv"
    return f"bundled: {listing(_bundled(), most=20)}; {outside}"


def _not_found(name: str, directory: str | None) -> DataError:
    where = f"the directory in {DIRECTORY} ({directory})" if directory else f"{DIRECTORY}, which is not set"
    if name in remote.SHA256:
        return DataError(
            f"data set '{name}' is not distributed with bayesmeta, not fetched, and there is no {name}.csv in {where}\n"
            f"bm.datasets.fetch('{name}') downloads it. {remote.without_network(name)}"
        )
    return DataError(
        f"unknown data set '{name}'{did_you_mean(name, {*names(), *remote.SHA256})}\n{_known()}; looked in {where}"
    )
