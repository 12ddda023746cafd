"""Numbers from whatever a user passes: the one gate for arrays, lists, pandas objects and single cells.

Integers and real numbers are numbers; NaN, None, pandas' missing values and masked entries are missing. True and False,
digits as text, bytes, dates and complex numbers are not numbers: the first such cell is named, with its place.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_probability, entries, is_number, listing, shown
from bayesmeta.errors import BayesmetaError, DataError, SpecError

Place = Callable[[tuple[int, ...]], str]  # a cell in words, from its position

_PLAIN = frozenset({float, int, np.float64, np.float32, np.int64, np.int32})  # types of cells that need no second look
_SMALLER = "  measure it in another unit"
_CONVERT = "  convert it, for instance with pandas.to_numeric, and use NaN for a missing value"


def as_numbers(
    values: Any, what: str, error: type[BayesmetaError] = DataError, place: Place | None = None, booleans: bool = False
) -> FloatArray:
    """An array of floats, NaN where missing; the first cell that is not a number is an error.

    Parameters
    ----------
    values : array, masked array, Series, DataFrame, nested list or number
        What the user passed; pandas objects by position, their labels are the caller's to check.
    what : str
        The argument or column in the words of the error.
    error : type of BayesmetaError, default DataError
        What is raised.
    place : callable, optional
        Words for the position of a cell, such as "row 7"; by default the row of a pandas object, or the position.
    booleans : bool, default False
        Whether a series of nothing but True and False counts as 1 and 0.

    Returns
    -------
    array
        Of the shape of the values.

    Examples
    --------
    >>> as_numbers([1, None, 2.5], "dose")
    array([1. , nan, 2.5])
    >>> as_numbers([1, True], "dose")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.DataError: dose is not numeric: position 1 holds True
      write 1 and 0 if that is what True and False mean
    """
    if isinstance(values, pd.Series):
        return _of_series(values, what, error, place or rows_of(values.index), booleans)
    if isinstance(values, pd.DataFrame):
        columns = range(values.shape[1])
        parts = [as_numbers(values.iloc[:, j], f"{what}, column '{values.columns[j]}',", error, place) for j in columns]
        return np.column_stack(parts) if parts else np.empty(values.shape)
    place = place or position
    if isinstance(values, list | tuple):
        return _of_sequence(values, what, error, place)
    try:
        array = values if isinstance(values, np.ndarray) else np.asanyarray(values)
    except Exception:  # a foreign type's own conversion
        array = np.array(None)
    if (array.ndim == 0 and array.dtype.kind not in "fiu" and number(array[()]) is None) or values is None:
        raise error(f"{what} is {shown(values)}; it must be numbers")
    return _of_array(array, what, error, place)


def vectors_of_one_length(values: Mapping[str, Any], what: str, of: str) -> dict[str, FloatArray]:
    """Under every name one or more finite numbers, of all equally many; SpecError for others. of : what they are."""
    made = {name: np.atleast_1d(as_numbers(each, f"{what}: {name}", SpecError)) for name, each in values.items()}
    for name, each in made.items():
        if each.ndim != 1 or not len(each) or not np.isfinite(each).all():
            raise SpecError(f"{what}: {name} is {shown(values[name])}; it must be one or more finite {of}")
    if len({len(each) for each in made.values()}) != 1:
        numbers = ", ".join(f"{len(each)} of {name}" for name, each in made.items()) or f"no {of}"
        raise SpecError(f"{what} has {numbers}; it must have {of}, equally many under every name")
    return made


def number(cell: Any) -> float | None:
    """One cell as a float, NaN where it is missing, and None where it is not a number, or one too large for a float.

    >>> number(2), number(None), number(True), number("2")
    (2.0, nan, None, None)
    """
    if isinstance(cell, np.ndarray) and cell.ndim == 0 and not isinstance(cell, np.ma.core.MaskedConstant):
        cell = cell[()]
    if isinstance(cell, complex | np.complexfloating) and cell != cell:
        return float("nan")
    if cell is None or cell is pd.NA or cell is pd.NaT or cell is np.ma.masked:
        return float("nan")
    if isinstance(cell, np.datetime64 | np.timedelta64):
        return float("nan") if np.isnat(cell) else None
    if isinstance(cell, bool) or not isinstance(cell, Real | Decimal):
        return None
    try:
        result = float(cell)
    except (OverflowError, ValueError):
        return None
    return None if np.isinf(result) and not np.isinf(np.longdouble(cell) if isinstance(cell, Real) else 0) else result


def reads_as_number(text: Any) -> bool:
    """Whether text is a number as Python writes it.

    >>> reads_as_number(" 1e-3"), reads_as_number("1_000"), reads_as_number("5%")
    (True, False, False)
    """
    if not isinstance(text, str) or "_" in text:
        return False
    try:
        float(text)
    except ValueError:
        return False
    return True


def position(index: tuple[int, ...]) -> str:
    """A position in words.

    >>> position((3,)), position((3, 1))
    ('position 3', 'position [3, 1]')
    """
    return f"position {index[0]}" if len(index) == 1 else f"position [{', '.join(map(str, index))}]"


def rows_of(labels: Sequence[Any] | pd.Index) -> Place:
    """Places in a table whose first axis has these labels: "row 7"."""
    return lambda index: f"row {labels[index[0]]}"


def _of_series(values: pd.Series, what: str, error: type[BayesmetaError], place: Place, booleans: bool) -> FloatArray:
    dtype: Any = values.dtype
    if isinstance(dtype, np.dtype) and dtype.kind in "fiu":
        return _of_array(values.to_numpy(), what, error, place)
    if isinstance(dtype, pd.CategoricalDtype):
        return _of_series(values.astype(object), what, error, place, booleans)
    boolean = pd.api.types.is_bool_dtype(dtype)
    if (boolean and booleans) or (not boolean and pd.api.types.is_numeric_dtype(dtype) and dtype.kind != "c"):
        return values.to_numpy(dtype=float, na_value=np.nan)
    cells = values.to_numpy(dtype=object)
    if (
        booleans
        and len(cells)
        and all(isinstance(cell, bool | np.bool_) or number(cell) != number(cell) for cell in cells)
    ):
        return np.array([float(cell) if isinstance(cell, bool | np.bool_) else np.nan for cell in cells])
    return _of_cells(cells, what, error, place)


def _of_array(array: Any, what: str, error: type[BayesmetaError], place: Place) -> FloatArray:
    """An array of any type, with or without a mask."""
    if array.dtype.kind not in "fiu":
        cells = array.astype(object) if array.dtype.kind not in "Mm" else _dates(array)
        return _of_cells(cells.filled(np.nan) if isinstance(cells, np.ma.MaskedArray) else cells, what, error, place)
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(float), np.nan)
    result = np.asarray(array)
    if result.dtype.itemsize > 8 and (large := np.isfinite(result) & (np.abs(result) > np.finfo(float).max)).any():
        at = tuple(int(i) for i in np.argwhere(large)[0])
        raise error(f"{what}: {place(at)} holds {result[at]}, which is too large to compute with\n{_SMALLER}")
    return result.astype(float, copy=False)


def _dates(array: Any) -> Any:
    """Dates as objects that show as dates; NumPy's own conversion makes integers of those in nanoseconds."""
    cells = np.empty(array.shape, dtype=object)
    for at in np.ndindex(array.shape):
        cells[at] = array[at]
    return cells


def _of_cells(cells: Any, what: str, error: type[BayesmetaError], place: Place) -> FloatArray:
    """An array of objects, cell by cell."""
    flat = cells.ravel().tolist()
    floats = [number(cell) for cell in flat]
    wrong = [i for i, value in enumerate(floats) if value is None]
    if wrong:
        at = next((i for i in wrong if not reads_as_number(flat[i])), wrong[0])
        raise error(_not_numeric(flat[at], what, place(tuple(int(i) for i in np.unravel_index(at, cells.shape)))))
    return np.array(floats, dtype=float).reshape(cells.shape)


def _of_sequence(values: Sequence[Any], what: str, error: type[BayesmetaError], place: Place) -> FloatArray:
    """A list of numbers, or of things of one shape."""
    kinds = set(map(type, values))
    if kinds <= _PLAIN:
        try:
            return np.array(values, dtype=float)
        except OverflowError:
            pass
    if not any(issubclass(kind, list | tuple | np.ndarray | pd.Series | pd.DataFrame) for kind in kinds):
        cells = np.empty(len(values), dtype=object)
        cells[:] = values
        return _of_cells(cells, what, error, place)
    parts = [as_numbers(part, what, error, _within(place, i)) for i, part in enumerate(values)]
    for i, part in enumerate(parts):
        if part.shape != parts[0].shape:
            raise error(
                f"{what} is ragged: {place((i,))} has shape {part.shape}, {place((0,))} has {parts[0].shape}\n"
                "  all parts must be of one shape; use NaN for what is missing"
            )
    return np.stack(parts)


def _within(place: Place, i: int) -> Place:
    return lambda index: place((i, *index))


def _not_numeric(cell: Any, what: str, where: str) -> str:
    if isinstance(cell, bool | np.bool_):
        remedy = "  write 1 and 0 if that is what True and False mean"
    elif isinstance(cell, Real | Decimal):
        return f"{what}: {where} holds {shown(cell)}, which is too large to compute with\n{_SMALLER}"
    else:
        remedy = _CONVERT
    return f"{what} is not numeric: {where} holds {shown(cell)}\n{remedy}"


def check_labels(
    labels: pd.Index,
    expected: Iterable[Any],
    what: str,
    unlabelled: bool = True,
    error: type[BayesmetaError] = DataError,
) -> None:
    """That the labels of a pandas object are those expected, in their order; a plain range is none.

    >>> check_labels(pd.Index(["b", "a"]), ["a", "b"], "beta")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.DataError: beta is labelled b, a; expected a, b
      put it in this order, or pass .to_numpy() if it is so already
    """
    wanted = [str(label) for label in expected]
    names = [str(label) for label in labels]
    if names == wanted or (
        unlabelled and isinstance(labels, pd.RangeIndex) and names == [str(i) for i in range(len(names))]
    ):
        return
    raise error(
        f"{what} is labelled {listing(names)}; expected {listing(wanted)}\n"
        "  put it in this order, or pass .to_numpy() if it is so already"
    )


def two_proportions(pair: Any, what: str) -> FloatArray:
    """(2,) ends of a range of proportions, 0 and 1 among them.

    >>> two_proportions((0.5, 0.1), "within")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: within is (0.5, 0.1); it must be two rates from 0 to 1, the smaller one first
    """
    ends = entries(pair)
    if len(ends) != 2 or not all(map(is_number, ends)) or not 0 <= ends[0] < ends[1] <= 1:
        raise SpecError(f"{what} is {shown(pair)}; it must be two rates from 0 to 1, the smaller one first")
    return np.array(ends, dtype=float)


def proportions(values: Any, what: str) -> FloatArray:
    """(n,) one or several proportions of an argument, such as prevalences; SpecError unless all are inside (0, 1).

    >>> proportions([0.1, 1], "prevalence")
    Traceback (most recent call last):
        ...
    bayesmeta.errors.SpecError: prevalence is 1.0; it must lie strictly between 0 and 1
      for 95 percent: 0.95
    """
    rates = np.atleast_1d(as_numbers(values, what, SpecError))
    if rates.ndim != 1 or not len(rates):
        raise SpecError(f"{what} is {shown(values)}; it must be a number between 0 and 1, or a list of such numbers")
    for rate in rates.tolist():
        check_probability(rate, what)
    return rates
