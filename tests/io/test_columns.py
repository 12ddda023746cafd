from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bayesmeta.errors import AssumptionWarning, DataError, SpecError
from bayesmeta.io.columns import as_floats, as_frame, numbered, numbers, rows_by_group


@pytest.mark.parametrize(
    "values",
    [
        [1, 2, 3],
        pd.array([1, 2, 3], dtype="Int64"),
        pd.array([1.0, 2.0, 3.0], dtype="Float32"),
        pd.Series([1, 2.0, np.int8(3)], dtype=object),
    ],
)
def test_numbers_of_any_type_become_floats(values):
    found = as_floats(pd.Series(values), "x")
    assert found.dtype == np.float64
    np.testing.assert_array_equal(found, [1.0, 2.0, 3.0])


@pytest.mark.parametrize("missing", [None, np.nan, pd.NA])
def test_missing_values_become_nan(missing):
    np.testing.assert_array_equal(as_floats(pd.Series([1.0, missing], dtype=object), "x"), [1.0, np.nan])
    np.testing.assert_array_equal(as_floats(pd.Series([1.0, missing]).convert_dtypes(), "x"), [1.0, np.nan])


@pytest.mark.parametrize("odd", ["7", "seven", pd.Timestamp("2020-01-01"), 1j])
def test_what_is_no_number_is_named_by_row(odd):
    with pytest.raises(DataError, match=r"^x is not numeric: row b holds"):
        as_floats(pd.Series([1.0, odd, 2.0], index=list("abc"), dtype=object), "x")
    with pytest.raises(DataError, match=r"^x is not numeric: row b holds"):
        as_floats(pd.Series([None, odd], index=list("ab")), "x")


def test_where_numbers_come_from():
    frame = pd.DataFrame({"v": [1.0, 2.0], "w": [3.0, 4.0]})
    assert numbers("v", frame, "S")[1] == "column v"
    assert numbers(["v", "w"], frame, "S")[1] == "columns v, w"
    assert numbers(frame[["v"]], frame, "S")[1] == "S"
    with pytest.raises(DataError, match=r"^S is ragged: row 1 has shape \(2,\), row 0 has \(1,\)"):
        numbers([[1.0], [2.0, 3.0]], frame, "S")
    with pytest.raises(DataError, match=r"^S is not numeric: row 0 holds \(1\+0j\)"):
        numbers(np.array([1.0, 2j]), frame, "S")


def test_a_name_of_several_columns_is_refused():
    frame = pd.DataFrame([[1.0, 2.0]], columns=["v", "v"])
    with pytest.raises(SpecError, match=r"^S: the data have several columns named 'v'"):
        numbers("v", frame, "S")


@pytest.mark.parametrize("given", [3, {"x": [1, 2], "z": [1]}])
def test_what_is_no_table_is_refused(given):
    with pytest.raises(DataError, match=rf"^newdata is a {type(given).__name__} that cannot become a data frame"):
        as_frame(given, "newdata")


def test_rows_by_group_keep_the_order_of_the_data():
    frame = pd.DataFrame({"g": ["b", "a", None, "b", "a"]})
    with pytest.warns(AssumptionWarning, match="^no group in row 2 of column 'g'"):
        found = {label: rows.tolist() for label, rows in rows_by_group(frame, "g").items()}
    assert found == {"b": [0, 3], "a": [1, 4]}


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("bcg.csv", "pandas.read_csv('bcg.csv')"),
        (Path("data") / "bcg.TSV", "pandas.read_csv('data/bcg.TSV', sep='\\t')"),
        ("bcg.xlsx", "pandas.read_excel('bcg.xlsx')"),
    ],
)
def test_the_name_of_a_file_is_not_its_content(path, line):
    with pytest.raises(DataError) as caught:
        as_frame(path, "data")
    assert str(caught.value) == f"data is {str(path)!r}, the name of a file; it must be a data frame\n  data = {line}"


def test_the_name_of_a_data_set_is_not_the_data_set():
    with pytest.raises(
        DataError, match=r"^data is the text 'bcg'; it must be a data frame\n  data = bm\.datasets\.load"
    ):
        as_frame("bcg", "data")


@pytest.mark.parametrize("dtype", ["int64", "int8", "uint16", "Int64", "float64", "str", "category"])
def test_codes_of_ascending_and_other_values_are_those_of_pandas(dtype):
    rng = np.random.default_rng(1)
    for n in (0, 1, 2, 30):
        drawn = rng.integers(0, 9, n)
        for values in (pd.Series(np.sort(drawn)), pd.Series(drawn), pd.Series(np.sort(drawn)[::-1])):
            series = values.astype(dtype)
            codes, distinct = numbered(series)
            expected, of = pd.factorize(series)
            np.testing.assert_array_equal(codes, expected)
            assert list(distinct) == list(of)
