"""Data frames of any library: values and types arrive as they were, and results are those of pandas."""

import datetime as dt
from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.io.columns import as_frame

KINDS = {"polars": lambda frame: frame, "lazy": pl.DataFrame.lazy, "pyarrow": pl.DataFrame.to_arrow}
TIMES = [dt.datetime(2020, 1, 1, 3), None, dt.datetime(2021, 7, 1)]
COLUMNS: dict[str, tuple[Any, str, list[Any]]] = {
    "integers": (pl.Series([1, -2, 3], dtype=pl.Int16), "int16", [1, -2, 3]),
    "large integers, some missing": (pl.Series([2**60 + 1, None, 2]), "Int64", [2**60 + 1, pd.NA, 2]),
    "unsigned": (pl.Series([1, None, 2**64 - 1], dtype=pl.UInt64), "UInt64", [1, pd.NA, 2**64 - 1]),
    "floats": (pl.Series([0.1, None, np.nan]), "float64", [0.1, np.nan, np.nan]),
    "booleans": (pl.Series([True, False, True]), "bool", [True, False, True]),
    "booleans, some missing": (pl.Series([True, None, False]), "boolean", [True, pd.NA, False]),
    "decimals": (pl.Series([Decimal("1.5"), None, Decimal(2)]), "object", [Decimal("1.5"), None, Decimal(2)]),
    "days": (pl.Series([dt.date(2020, 1, 1)] * 3), "datetime64[s]", [pd.Timestamp("2020-01-01")] * 3),
    "times": (pl.Series(TIMES), "datetime64[us]", [pd.Timestamp(TIMES[0]), pd.NaT, pd.Timestamp(TIMES[2])]),
    "nanoseconds": (
        pl.Series([1, 2, 3]).cast(pl.Datetime("ns")),
        "datetime64[ns]",
        [pd.Timestamp(i) for i in (1, 2, 3)],
    ),
    "times of a zone": (
        pl.Series(TIMES).dt.replace_time_zone("Asia/Tokyo"),
        "datetime64[us, Asia/Tokyo]",
        [pd.Timestamp("2020-01-01 03:00+09:00"), pd.NaT, pd.Timestamp("2021-07-01 00:00+09:00")],
    ),
    "durations": (pl.Series([dt.timedelta(1)] * 3), "timedelta64[us]", [pd.Timedelta(days=1)] * 3),
    "lists": (pl.Series([[1], None, [2, 3]]), "object", [[1], None, [2, 3]]),
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", COLUMNS)
def test_a_column_keeps_its_values_and_its_type(name: str, kind: str) -> None:
    column, dtype, values = COLUMNS[name]
    result = as_frame(KINDS[kind](pl.DataFrame({"x": column})), "data")["x"]
    assert str(result.dtype) == dtype
    for cell, value in zip(result, values, strict=True):
        assert (pd.isna(cell) and pd.isna(value)) if pd.api.types.is_scalar(value) and pd.isna(value) else cell == value


@pytest.mark.parametrize("kind", KINDS)
def test_text_is_what_pandas_makes_of_text(kind: str) -> None:
    cells = ["a", None, "c"]
    result = as_frame(KINDS[kind](pl.DataFrame({"x": cells})), "data")["x"]
    assert result.dtype == pd.Series(cells).dtype
    assert result.isna().tolist() == [False, True, False]


def test_categories_keep_their_order() -> None:
    cells, order = ["low", "high", None], ["low", "middle", "high"]
    enum = as_frame(pl.DataFrame({"x": pl.Series(cells, dtype=pl.Enum(order))}), "data")["x"]
    assert (enum.cat.categories.tolist(), enum.cat.ordered) == (order, True)
    codes = pa.array([0, 2, None])
    arrow = as_frame(pa.table({"x": pa.DictionaryArray.from_arrays(codes, pa.array(order))}), "data")["x"]
    assert arrow.cat.categories.tolist() == order
    assert arrow.isna().tolist() == enum.isna().tolist() == [False, False, True]


def test_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array([1.0]), pa.array([2.0])], names=["y", "y"])
    with pytest.raises(bm.DataError, match=r"^data has several columns of one name"):
        bm.specify("y ~ 1", table, S=[1.0])


def test_a_frame_of_pandas_is_not_converted_through_another_library() -> None:
    frame = pd.DataFrame({"x": pd.array([1, None], dtype="Int8")}, index=["a", "b"])
    pd.testing.assert_frame_equal(as_frame(frame, "data"), frame)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=15)
@given(
    st.lists(
        st.tuples(
            st.floats(-2, 2, allow_subnormal=False),
            st.floats(0.05, 1),
            st.sampled_from(["a", "b", "c", None]),
            st.one_of(st.none(), st.integers(-5, 5)),
        ),
        min_size=6,
        max_size=12,
    )
)
def test_models_are_those_of_the_same_data_in_pandas(kind: str, rows: list[tuple[Any, ...]]) -> None:
    columns: dict[str, Any] = dict(zip("yvgx", map(list, zip(*rows, strict=True)), strict=True))
    columns["x"] = [*columns["x"][:-2], 1, 2]
    columns["g"] = [*columns["g"][:-2], "a", "b"]
    plain = pd.DataFrame(columns).astype({"x": "Int64"})
    results = []
    for data in (plain, KINDS[kind](pl.DataFrame(columns))):
        try:
            spec = bm.specify("y ~ x", data, S="v", random="1 | g")
            results.append((spec.y.tolist(), spec.X.tolist(), spec.levels[0].labels, spec.dropped))
        except bm.BayesmetaError as error:
            results.append(str(error))
    assert results[0] == results[1]


def test_every_function_that_takes_data_takes_them_from_any_library() -> None:
    counts = {"a": [4, 6, 11], "n": [120, 300, 220], "c": [11, 29, 20], "m": [139, 303, 231], "g": [1, 1, 2]}
    plain, other = pd.DataFrame(counts), pl.DataFrame(counts)
    tables = [bm.effects.odds_ratio(data, ("a", "c"), total=("n", "m")) for data in (plain, other)]
    pd.testing.assert_frame_equal(*tables)
    spec = bm.specify("y ~ n", tables[1], S="v", measure="logor")
    fit = bm.fit(spec, "ml")
    xr.testing.assert_identical(bm.predict(fit, plain[["n"]]), bm.predict(fit, other.select("n")))
    for data in (plain, other.lazy()):
        assert bm.within.ar1(data, "n", 0.5, "g")[1].shape == (2, 2)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_predictors_are_added_from_any_library() -> None:
    bcg = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar"), "ml")
    steps = [str(bm.add1(fit, "ablat", data)) for data in (bcg, pl.from_pandas(bcg))]
    assert steps[0] == steps[1]
