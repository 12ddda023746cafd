"""Data frames of other libraries (Polars, PyArrow, Modin, cuDF, DuckDB ...) as those of pandas, types kept.

Converting through floats would change large integers with missing values, and text would stand for categories. So
every column becomes the type of pandas that holds its values exactly: nullable integers and booleans where some are
missing, categories in their own order, times with their resolution and zone.
"""

from typing import TYPE_CHECKING, Any

import pandas as pd

from bayesmeta.errors import DataError

if TYPE_CHECKING:
    from narwhals import Series


def from_foreign(table: Any, what: str = "data") -> Any:
    """A data frame of another library as one of pandas; anything else as it is.

    A frame that is lazy, such as a query of DuckDB or a LazyFrame of Polars, is computed.

    >>> from_foreign([1, 2])
    [1, 2]
    """
    import narwhals.stable.v2 as nw
    from narwhals.exceptions import DuplicateError

    try:
        frame = nw.from_native(table, pass_through=True)
    except DuplicateError as error:
        raise DataError(
            f"{what} has several columns of one name: {error}\n  rename them, or drop all but one"
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        return table
    return pd.DataFrame({series.name: _column(series) for series in frame.iter_columns()})


def _column(series: "Series[Any]") -> Any:
    """The values of a column, as pandas holds them."""
    import narwhals.stable.v2 as nw

    kind, missing = series.dtype, bool(series.null_count())
    if isinstance(kind, nw.Int128 | nw.UInt128) or kind.is_nested():
        return pd.Series(series.to_list(), dtype=object)
    if kind.is_integer() or isinstance(kind, nw.Boolean):
        nullable: Any = "boolean" if isinstance(kind, nw.Boolean) else str(kind)
        return pd.array(series.to_list(), dtype=nullable) if missing else series.to_numpy()
    if kind.is_float():
        return series.to_numpy()
    if isinstance(kind, nw.Enum):
        return pd.Categorical(series.to_list(), categories=list(kind.categories), ordered=True)
    if isinstance(kind, nw.Categorical):
        return pd.Categorical(series.to_list(), categories=series.cat.get_categories().to_list())
    if isinstance(kind, nw.Datetime | nw.Date | nw.Duration):
        return _times(series, getattr(kind, "time_zone", None))
    return pd.Series(series.to_list(), dtype=None if isinstance(kind, nw.String) else object)


def _times(series: "Series[Any]", zone: str | None) -> Any:
    times: Any = pd.Series(series.to_numpy())
    if times.dtype == object:  # dates without a time of day
        times = pd.to_datetime(times)
    return times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone and times.dt.tz is None else times
