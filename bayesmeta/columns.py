"""Numbers from what a user passes: a column name, several, a pandas object or an array."""

from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmeta.errors import DataError, SpecError, did_you_mean, listing

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


def as_frame(given: Any, what: str) -> pd.DataFrame:
    """A data frame of what pandas can make one of."""
    try:
        return pd.DataFrame(given)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} is a {type(given).__name__} that cannot become a data frame: {error}") from None


def numbers(given: Any, frame: pd.DataFrame, what: str) -> tuple[FloatArray, str]:
    """The values as floats, NaN where missing, and where they came from: `column var`, or `what`."""
    if isinstance(given, str):
        return column(frame, given, what), f"column {given}"
    if isinstance(given, list | tuple) and given and all(isinstance(g, str) for g in given):
        return np.column_stack([column(frame, g, what) for g in given]), f"columns {listing(given, 12)}"
    if isinstance(given, pd.Series | pd.DataFrame):
        return from_pandas(given, frame, what), what
    try:
        if np.iscomplexobj(given):
            raise TypeError
        masked = np.ma.asarray(given, dtype=float)  # keeps the mask of a masked array, which np.asarray would drop
    except (TypeError, ValueError):
        kind = type(given).__name__
        raise SpecError(f"{what} is of type {kind}, neither column names nor an array of numbers") from None
    return np.ma.filled(masked, np.nan), what


def find_column(frame: pd.DataFrame, name: str, what: str) -> pd.Series:
    """One column, or an error that names its nearest neighbours."""
    if name not in frame.columns:
        raise SpecError(
            f"{what}: no column '{name}' in the data{did_you_mean(name, frame.columns)}\n"
            f"  columns: {listing(frame.columns, 30)}"
        )
    if list(frame.columns).count(name) > 1:
        raise SpecError(f"{what}: the data have several columns named '{name}'\n  rename or drop all but one")
    return frame[name]


def column(frame: pd.DataFrame, name: str, what: str) -> FloatArray:
    """One column as floats."""
    return as_floats(find_column(frame, name, what), f"column '{name}'")


def rows_by_group(frame: pd.DataFrame, name: str) -> dict[Any, IntArray]:
    """Positions of the rows of every group of a column, in the order of the data; rows without a group are in none."""
    codes, labels = pd.factorize(find_column(frame, name, "group"))
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    return {label: order[a:b] for label, (a, b) in zip(labels.tolist(), pairwise(ends), strict=True)}


def as_floats(values: pd.Series, what: str) -> FloatArray:
    """A series as floats, refusing text, dates and complex numbers."""
    if not (pd.api.types.is_numeric_dtype(values) or values.dtype == object) or values.dtype.kind == "c":
        bad = values.notna()
    else:
        odd = values.map(lambda v: isinstance(v, str | complex)) if values.dtype == object else False
        floats = pd.to_numeric(values, errors="coerce")
        bad = (floats.isna() | odd) & values.notna()
    if bad.any():
        at = int(np.argmax(bad.to_numpy()))
        raise DataError(
            f"{what} is not numeric: row {values.index[at]} holds {values.iloc[at]!r}\n"
            "  convert it, for instance with pandas.to_numeric, and use NaN for a missing value"
        )
    return floats.to_numpy(dtype=float, na_value=np.nan)


def from_pandas(given: pd.Series | pd.DataFrame, frame: pd.DataFrame, what: str) -> FloatArray:
    """Values of a pandas object that has the data's own index; another one would leave the order of the rows open."""
    if len(given) == len(frame) and not given.index.equals(frame.index):
        raise DataError(
            f"{what} is a pandas object whose index is not that of the data, so that rows cannot be matched\n"
            "  give it the data's index, or pass .to_numpy() when it is in the order of the data"
        )
    if isinstance(given, pd.Series):
        return as_floats(given, what)
    return np.column_stack([as_floats(given.iloc[:, j], f"{what}, column '{c}',") for j, c in enumerate(given.columns)])
