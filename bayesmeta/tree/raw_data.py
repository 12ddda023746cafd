"""The raw columns of a specification as a table that netCDF can hold, and back without loss.

Numbers and booleans are stored as they are. What netCDF lacks is stored beside a note of the pandas dtype: texts with
missing values, nullable numbers, categories with their order, times (as integers), cells of mixed type (as JSON).
Intervals, periods and other objects become their text, which is all that formulas and groups see of them.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from bayesmeta._typing import AnyArray, BoolArray
from bayesmeta.tree.assembly import labels_of, table_of
from bayesmeta.tree_schema import ROW

KEPT, DROPPED = "kept", "dropped"
ROW_NAME = "row_name"  # absent where the data have no names of their rows
_INDEX = "input_index"
_RESERVED = {ROW, KEPT, DROPPED, ROW_NAME, _INDEX}
_PRESENT, _NONE, _NAN, _NA = range(4)
_ABSENT = {_NONE: None, _NAN: np.nan, _NA: pd.NA}


@dataclass(frozen=True)
class _Stored:
    """A column as plain numbers or texts: what they are, and where something is missing (0 no, 1 None, 2 NaN, 3 NA)."""

    kind: str
    dtype: str
    values: AnyArray
    missing: NDArray[np.uint8] | None = None
    categories: str = ""
    ordered: bool = False

    @property
    def attrs(self) -> dict[str, Any]:
        attrs: dict[str, Any] = {"kind": self.kind, "pandas_dtype": self.dtype}
        if self.kind == "category":
            attrs |= {"categories": self.categories, "ordered": int(self.ordered)}
        return attrs


def to_dataset(
    frame: pd.DataFrame,
    labels: Sequence[str],
    kept: BoolArray,
    dropped: Sequence[str],
    names: Sequence[str] | None = None,
) -> xr.Dataset:
    """The raw columns over `row`, with which rows were kept and why the others were dropped.

    frame : all rows of the input, untouched.
    labels : (n_rows,) labels of the rows; kept, dropped : (n_rows,); names : (n_rows,) for tables and plots.
    """
    variables: dict[str, Any] = {}
    for position, (label, column) in enumerate(frame.items()):
        name = str(label)
        variable = name if re.fullmatch(r"[^\W\d_]\w*", name) and name not in _RESERVED else f"column_{position}"
        while variable in variables:
            variable += "_"
        attrs = {"column": name, "position": position}
        variables |= _variables(variable, _encode(column), attrs)
    if not _is_default(frame.index):
        index = pd.Index(labels) if isinstance(frame.index, pd.MultiIndex) else frame.index
        variables |= _variables(_INDEX, _encode(index.to_series()), {"index": str(index.name or "")})
    variables |= {KEPT: (ROW, kept), DROPPED: (ROW, np.array(dropped))}
    if names is not None:
        variables[ROW_NAME] = (ROW, np.array(names))
    return table_of(variables, {ROW: labels_of(ROW, labels)})


def to_frame(table: xr.Dataset) -> pd.DataFrame:
    """The raw data frame that `to_dataset` stored."""
    columns = [v for v in table.data_vars if "column" in table[v].attrs]
    columns.sort(key=lambda v: table[v].attrs["position"])
    frame = pd.DataFrame({table[v].attrs["column"]: _decode(_stored(table, str(v))) for v in columns})
    if _INDEX in table:
        frame.index = pd.Index(_decode(_stored(table, _INDEX)), name=table[_INDEX].attrs["index"] or None)
    return frame


def _is_default(index: pd.Index) -> bool:
    return isinstance(index, pd.RangeIndex) and index.equals(pd.RangeIndex(len(index))) and index.name is None


def _variables(name: str, stored: _Stored, attrs: dict[str, Any]) -> dict[str, Any]:
    variables: dict[str, Any] = {name: (ROW, stored.values, attrs | stored.attrs)}
    if stored.missing is not None:
        variables[f"_{name}_missing"] = (ROW, stored.missing)
    return variables


def _stored(table: xr.Dataset, name: str) -> _Stored:
    attrs, missing = table[name].attrs, f"_{name}_missing"
    return _Stored(
        kind=attrs["kind"],
        dtype=attrs["pandas_dtype"],
        values=table[name].to_numpy(),
        missing=table[missing].to_numpy() if missing in table else None,
        categories=attrs.get("categories", ""),
        ordered=bool(attrs.get("ordered", False)),
    )


def _encode(column: pd.Series) -> _Stored:
    dtype: Any = column.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "biuf":
        wide = dtype.kind == "f" and dtype.itemsize not in (4, 8)
        return _Stored("number", str(dtype), column.to_numpy(np.float64 if wide else None))
    if isinstance(dtype, pd.StringDtype) or (dtype.kind == "O" and isinstance(dtype, np.dtype)):
        return _encode_objects(column, column.isna().to_numpy())
    if isinstance(dtype, pd.SparseDtype):
        return _encode(column.astype(dtype.subtype))
    if isinstance(dtype, pd.ArrowDtype) and dtype.kind in "mM":  # as pandas' own times, or text where these are none
        column = column.astype(object).infer_objects()
        dtype = column.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        known = _encode(pd.Series(dtype.categories))
        text = json.dumps({"kind": known.kind, "dtype": known.dtype, "values": known.values.tolist()})
        return _Stored("category", "category", column.cat.codes.to_numpy(), None, text, bool(dtype.ordered))
    if pd.api.types.is_datetime64_any_dtype(dtype) or pd.api.types.is_timedelta64_dtype(dtype):
        return _Stored("time", str(dtype), column.array.asi8)
    absent = column.isna().to_numpy()
    if pd.api.types.is_numeric_dtype(dtype):
        values = column.to_numpy(dtype.numpy_dtype, na_value=0)
        return _Stored("nullable", str(dtype), values, np.where(absent, _NA, _PRESENT).astype(np.uint8))
    return _encode_objects(column, absent)


def _encode_objects(column: pd.Series, absent: BoolArray) -> _Stored:
    """Texts as they are; cells of other types as JSON, and as their text where JSON has no word for them."""
    cells = column.to_numpy(dtype=object)
    is_string = isinstance(column.dtype, pd.StringDtype)
    is_text = is_string or all(isinstance(cell, str) for cell in cells[~absent])
    stored, missing = cells.copy(), np.zeros(len(cells), np.uint8)
    if not is_text:
        stored[~absent] = [json.dumps(_plain(cell)) for cell in cells[~absent]]
    if absent.any():
        stored[absent] = ""
        missing[absent] = [_NONE if c is None else _NA if c is pd.NA else _NAN for c in cells[absent]]
    return _Stored("text" if is_text else "json", str(column.dtype) if is_string else "object", stored, missing)


def _plain(cell: object) -> object:
    value = cell.item() if isinstance(cell, np.generic) else cell
    return value if isinstance(value, str | bool | int | float) else str(value)


def _decode(stored: _Stored) -> Any:
    dtype: Any = stored.dtype
    if stored.kind in ("number", "time"):
        return pd.Series(stored.values).astype(dtype)
    if stored.kind == "category":
        known = json.loads(stored.categories)
        categories = pd.Index(_decode(_Stored(known["kind"], known["dtype"], np.array(known["values"]))))
        return pd.Series(pd.Categorical.from_codes(stored.values, categories=categories, ordered=stored.ordered))
    if stored.kind == "nullable":
        return pd.Series(stored.values).astype(dtype).mask(np.asarray(stored.missing) != _PRESENT, pd.NA)
    return _decode_objects(stored)


def _decode_objects(stored: _Stored) -> Any:
    missing = np.zeros(len(stored.values), np.uint8) if stored.missing is None else stored.missing
    cells = np.empty(len(stored.values), dtype=object)
    for i, (cell, code) in enumerate(zip(stored.values.tolist(), missing.tolist(), strict=True)):
        cells[i] = _ABSENT[code] if code else json.loads(cell) if stored.kind == "json" else cell
    return pd.Series(cells, dtype=stored.dtype)
