"""Columns of a data frame as numbers, groups and categories, and numbers from whatever a user passes."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray, ObjectArray
from bayesmeta._validation import check_name, listing
from bayesmeta.errors import DataError, SpecError


def as_frame(table: Any, what: str) -> pd.DataFrame:
    """A data frame of anything that pandas can turn into one."""
    try:
        return pd.DataFrame(table)
    except (TypeError, ValueError) as error:
        raise DataError(f"{what} is a {type(table).__name__} that cannot become a data frame: {error}") from None


def numbers(values: Any, frame: pd.DataFrame, what: str) -> tuple[FloatArray, str]:
    """The values as floats, NaN where missing, and where they came from: `column var`, or `what`."""
    if isinstance(values, str):
        return column(frame, values, what), f"column {values}"
    if isinstance(values, list | tuple) and values and all(isinstance(name, str) for name in values):
        return np.column_stack([column(frame, name, what) for name in values]), f"columns {listing(values, 12)}"
    if isinstance(values, pd.Series | pd.DataFrame):
        return from_pandas(values, frame, what), what
    try:
        if np.iscomplexobj(values):
            raise TypeError
        masked = np.ma.asarray(values, dtype=float)  # keeps the mask of a masked array, which np.asarray would drop
    except (TypeError, ValueError):
        kind = type(values).__name__
        raise SpecError(f"{what} is of type {kind}, neither column names nor an array of numbers") from None
    return np.ma.filled(masked, np.nan), what


def find_column(frame: pd.DataFrame, name: str, what: str) -> pd.Series:
    """One column, or an error that names its nearest neighbours."""
    check_name(name, frame.columns, f"{what}: the data have no column", "columns", most=30)
    if list(frame.columns).count(name) > 1:
        raise SpecError(f"{what}: the data have several columns named '{name}'\n  rename them, or drop all but one")
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


def from_pandas(values: pd.Series | pd.DataFrame, frame: pd.DataFrame, what: str) -> FloatArray:
    """Values of a pandas object that has the data's own index; another one would leave the order of the rows open."""
    if len(values) == len(frame) and not values.index.equals(frame.index):
        raise DataError(
            f"{what} is a pandas object whose index is not that of the data, so the rows cannot be matched\n"
            "  give it the data's index, or pass .to_numpy() if it is in the order of the data"
        )
    if isinstance(values, pd.Series):
        return as_floats(values, what)
    return np.column_stack(
        [as_floats(values.iloc[:, j], f"{what}, column '{c}',") for j, c in enumerate(values.columns)]
    )


def label(value: object) -> str:
    """The text that stands for a group or category; 1, 1.0 and "1" are the same.

    >>> label(7.0), label("7"), label(7.5)
    ('7', '7', '7.5')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def labels(values: pd.Series) -> ObjectArray:
    """(n,) labels of values of which none is missing."""
    codes, unique = pd.factorize(values)
    return np.array([label(u) for u in unique], dtype=object)[codes]


def take(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of the data; DataError where there is none of that name."""
    check_name(column, frame.columns, "the data have no column", "columns", DataError, most=30)
    values: pd.Series = frame[column]
    return values


def rows(frame: pd.DataFrame | pd.Series, where: BoolArray) -> str:
    """'row 7' or 'rows 3, 7', by their labels in the index."""
    names = [label(i) for i in frame.index[where]]
    return f"row{'s' * (len(names) > 1)} {listing(names)}"


def reasons_missing(frame: pd.DataFrame, reasons: Sequence[tuple[str, str]]) -> list[str]:
    """Per row the reasons of the columns that have no value there, joined; "" where all have one."""
    joined = [""] * len(frame)
    for column, reason in reasons:
        for i in np.flatnonzero(take(frame, column).isna()):
            joined[i] += ("; " if joined[i] else "") + reason
    return joined


def finite(frame: pd.DataFrame, column: str) -> FloatArray:
    """A column as floats, NaN where missing; DataError for text and infinite values."""
    values = take(frame, column)
    if isinstance(values.dtype, pd.CategoricalDtype):
        values = values.astype(object)
    numbers = as_floats(values, f"column '{column}'")
    if np.isinf(numbers).any():
        where = rows(frame, np.isinf(numbers))
        raise DataError(f"column '{column}' is infinite in {where}\n  use NaN for a missing value")
    return numbers


def is_categorical(values: pd.Series) -> bool:
    """Whether a column holds categories: pandas categories, or text; DataError when it mixes text and numbers."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return True
    present = values.dropna()
    if not (values.dtype == object or isinstance(values.dtype, pd.StringDtype)):
        return False
    text = present.map(lambda v: isinstance(v, str)).to_numpy(dtype=bool)
    if text.any() and not text.all():
        odd = text if 2 * text.sum() <= len(text) else ~text
        raise DataError(
            f"column '{values.name}' mixes text and numbers: {present[odd].iloc[0]!r} in {rows(present, odd)}\n"
            "  make it numbers (pandas.to_numeric) or all text (astype(str))"
        )
    return bool(text.any())


def categories(values: pd.Series) -> tuple[str, ...]:
    """Labels of the categories that occur: in their own order where the column has one, else sorted."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return tuple(label(c) for c in values.cat.remove_unused_categories().cat.categories)
    return tuple(label(v) for v in np.sort(values.unique()))


def as_categories(values: pd.Series, known: Sequence[str]) -> pd.Series:
    """The values as pandas categories of which the known labels are all; DataError for any other value."""
    texts = labels(values)
    unseen = sorted(map(repr, set(texts) - set(known)))
    if unseen:
        raise DataError(
            f"column '{values.name}' holds {listing(unseen)}, which are not in the data of the model\n"
            f"  known categories: {listing(known, 30)}"
        )
    coded: Any = pd.Categorical(texts, categories=list(known))
    return pd.Series(coded, index=values.index, name=values.name)
