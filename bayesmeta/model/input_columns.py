"""Columns of the input that no formula uses, which plots and later questions find by name all the same."""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._validation import check_names, listing
from bayesmeta.errors import DataError
from bayesmeta.io.columns import check_storable, find_column

_MOST_CELLS = 1_000_000  # of the input, beyond which columns that no formula uses are kept on request
_WIDEST = 8  # bytes of a number that files hold on every platform
_PLAIN = (str, bool, int, float, np.bool_, np.integer, np.floating)


def kept_columns(
    frame: pd.DataFrame, used: Collection[str], keep: str | Sequence[str] | None
) -> tuple[pd.DataFrame, list[str]]:
    """The columns that the formulas use and the others that are kept, and a sentence about those that cannot be.

    keep : the others that are kept; by default all, up to a million cells.
    """
    names = list(frame.columns)
    if keep is not None:
        wanted = [] if isinstance(keep, list | tuple) and not keep else check_names(keep, "keep")
        for name in wanted:
            find_column(frame, name, "keep")
        names = [name for name in names if name in used or name in wanted]
    elif frame.size > _MOST_CELLS:
        names = [name for name in names if name in used]
    lost = set()
    for name, dtype in zip(names, frame.dtypes[names] if len(names) < frame.shape[1] else frame.dtypes, strict=True):
        if name not in used and not (_is_number(dtype) or _can_be_kept(frame[name])):
            lost.add(name)
    if not _is_storable(names):
        lost |= {name for name in names if name not in used and not _is_storable([name])}
    kept = [name for name in names if name not in lost]
    columns = frame.copy() if len(kept) == frame.shape[1] else frame[kept].copy()
    return columns, [_left_out(sorted(lost))] if lost else []


def taken(frame: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    """Some columns, by position: pandas would make an index of the names first, which takes five times as long."""
    known = frame.columns.tolist()
    return frame.take([known.index(name) for name in names], axis=1)


def _left_out(lost: list[str]) -> str:
    several = len(lost) > 1
    return (
        f"column{'s' * several} {listing(map(repr, lost))} cannot be stored and {'are' if several else 'is'} left out "
        "of the results, which hold numbers, texts, dates and categories"
    )


def _is_number(dtype: Any) -> bool:
    return isinstance(dtype, np.dtype) and dtype.kind in "biuf" and dtype.itemsize <= _WIDEST


def _can_be_kept(column: pd.Series) -> bool:
    """Whether a column comes back from a file as it is now."""
    dtype: Any = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return _can_be_kept(pd.Series(dtype.categories))
    if isinstance(dtype, pd.SparseDtype):
        dtype = dtype.subtype
    if dtype.kind in "biufmM":
        return dtype.itemsize <= _WIDEST
    if dtype.kind == "c" or isinstance(dtype, pd.IntervalDtype | pd.PeriodDtype):
        return False
    cells = column.to_numpy(dtype=object).tolist()
    return all(isinstance(cell, _PLAIN) or cell is None or cell is pd.NA for cell in cells) and _is_storable(cells)


def _is_storable(texts: Collection[Any]) -> bool:
    try:
        check_storable(texts, "")
    except DataError:
        return False
    return True
