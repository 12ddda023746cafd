"""Raw columns as formulas see them: floats, or categories with text labels in a known order."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bayesmeta.columns import as_floats
from bayesmeta.errors import DataError, did_you_mean, listing

FloatArray = NDArray[np.float64]


def label(value: object) -> str:
    """The text that stands for a group or category; 1, 1.0 and "1" are the same.

    >>> label(7.0), label("7"), label(7.5)
    ('7', '7', '7.5')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def labels(values: pd.Series) -> NDArray[np.object_]:
    """(n,) labels of values of which none is missing."""
    codes, unique = pd.factorize(values)
    return np.array([label(u) for u in unique], dtype=object)[codes]


def take(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of the data; DataError where there is none of that name."""
    if column not in frame.columns:
        raise DataError(
            f"the data have no column '{column}'{did_you_mean(column, frame.columns)}\n"
            f"  columns: {listing(frame.columns, 30)}"
        )
    found: pd.Series = frame[column]
    return found


def rows(frame: pd.DataFrame | pd.Series, where: NDArray[np.bool_]) -> str:
    """'row 7' or 'rows 3, 7', by their labels in the index."""
    found = [label(i) for i in frame.index[where]]
    return f"row{'s' * (len(found) > 1)} {listing(found)}"


def reasons_missing(frame: pd.DataFrame, reasons: Sequence[tuple[str, str]]) -> list[str]:
    """Per row the reasons of the columns that have no value there, joined; "" where all have one."""
    found = [""] * len(frame)
    for column, reason in reasons:
        for i in np.flatnonzero(take(frame, column).isna()):
            found[i] += ("; " if found[i] else "") + reason
    return found


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
    found = labels(values)
    unseen = sorted(map(repr, set(found) - set(known)))
    if unseen:
        raise DataError(
            f"column '{values.name}' holds {listing(unseen)}, which the model has not seen\n"
            f"  known categories: {listing(known, 30)}"
        )
    coded: Any = pd.Categorical(found, categories=list(known))
    return pd.Series(coded, index=values.index, name=values.name)
