"""Whether two answers are the same, and what a value of NumPy or pandas is in plain Python."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr


def plain(value: Any) -> str:
    """The line of the same value without NumPy and pandas; empty where it is plain already, or has no such line."""
    if isinstance(value, np.ma.MaskedArray) or not isinstance(
        value, np.generic | np.ndarray | pd.Series | pd.Index | range
    ):
        return ""
    if isinstance(value, pd.Series) and set(value.index) == set(range(len(value))):
        value = value.sort_index()  # labels of rows bind, whatever their order
    python = list(value) if isinstance(value, range) else value.tolist()
    cells = python if isinstance(python, list) else [python]
    return repr(python) if all(isinstance(cell, str | bool | int | float) and cell == cell for cell in cells) else ""


def same(one: Any, two: Any) -> bool:
    """Whether two answers are alike; pictures, and what has no text of its own, count as alike where of one class."""
    if type(one) is not type(two):
        return False
    if isinstance(one, xr.DataTree | xr.Dataset | xr.DataArray | pd.DataFrame | pd.Series):
        return bool(one.equals(two))
    if isinstance(one, np.ndarray):
        return one.shape == two.shape and (one.dtype == object or bool(np.array_equal(one, two, equal_nan=True)))
    if isinstance(one, Mapping):
        return list(one) == list(two) and all(same(one[key], two[key]) for key in one)
    return " at 0x" in repr(one) or repr(one) == repr(two)
