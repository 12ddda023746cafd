"""The raw data frame comes back equal, whatever its dtypes, missing values, names and index."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from bayesmeta.tree.raw_data import to_dataset, to_frame

COLUMNS = {
    "float": [1.5, np.nan, -0.0, 1e-300],
    "float32": np.array([0.1, np.nan, 2, 3], np.float32),
    "float16": np.array([0.5, np.nan, 2, 3], np.float16),
    "int": [1, 2, 3, 2**62 + 1],
    "int8": np.array([1, -2, 3, 4], np.int8),
    "uint64": np.array([0, 1, 2, 2**64 - 1], np.uint64),
    "bool": [True, False, True, True],
    "text": ["a", None, "", "é/b\\"],
    "text with NA": pd.array(["a", None, "", "x"], dtype="string"),
    "object text": pd.Series(["a", None, np.nan, pd.NA], dtype=object),
    "object mixed": pd.Series([1, "1", None, True], dtype=object),
    "object numbers": pd.Series([1, 2.5, np.nan, 3], dtype=object),
    "category": pd.Categorical(["b", "a", None, "b"], categories=["c", "b", "a"]),
    "ordered": pd.Categorical(["b", "a", None, "b"], categories=["c", "b", "a"], ordered=True),
    "category of integers": pd.Categorical([3, 1, 3, 1]),
    "category of dates": pd.Categorical(pd.to_datetime(["2020-01-01", "1999-05-31", "2020-01-01", "2020-01-01"])),
    "Int64": pd.array([1, None, 3, 2**62 + 1], dtype="Int64"),
    "UInt8": pd.array([1, None, 3, 255], dtype="UInt8"),
    "Float64": pd.array([1.5, None, 2, 3], dtype="Float64"),
    "boolean": pd.array([True, None, False, True], dtype="boolean"),
    "datetime": pd.Series(
        np.array(["2020-01-01", "NaT", "1900-01-01", "2262-04-11T23:47:16.854775"], "datetime64[us]")
    ),
    "datetime ns": pd.Series(np.array(["2020-01-01", "NaT", "1900-01-01", "2020-01-01T00:00:00.000000001"], "M8[ns]")),
    "zoned": pd.to_datetime(["2020-01-01", None, "2021-05-05", "1900-01-01"]).tz_localize("Europe/Rome"),
    "timedelta": pd.to_timedelta([1, None, 3, 4], unit="h"),
}
INDEXES = {
    "default": pd.RangeIndex(4),
    "from one": pd.RangeIndex(1, 5),
    "repeated": pd.Index([5, 7, 7, 9]),
    "named": pd.Index(["a", "b", "c", "a"], name="study"),
    "dates": pd.DatetimeIndex(["2020-01-01", "2020-01-02", "2020-01-03", "2020-01-04"]),
}
KEPT, DROPPED = np.array([True, True, False, True]), ("", "", "missing x", "")


def stored(frame: pd.DataFrame) -> xr.Dataset:
    return to_dataset(frame, [str(label) for label in frame.index], KEPT, DROPPED)


def through_a_file(table: xr.Dataset, path: Path) -> xr.Dataset:
    table.to_netcdf(path, engine="h5netcdf")
    with xr.open_dataset(path, engine="h5netcdf") as read:
        return read.load()


def assert_equal(found: pd.DataFrame, frame: pd.DataFrame) -> None:
    pd.testing.assert_frame_equal(found, frame, check_index_type="equiv", check_freq=False)
    for name in frame:
        for ours, theirs in zip(found[name], frame[name], strict=True):
            assert type(ours) is type(theirs), "a missing value or a mixed column changed its type"


@pytest.mark.parametrize("name", COLUMNS)
def test_column_comes_back_equal(name: str):
    frame = pd.DataFrame({"y": [0.1, 0.2, 0.3, 0.4], name: COLUMNS[name]})
    assert_equal(to_frame(stored(frame)), frame)


def test_all_columns_come_back_equal_from_a_file(tmp_path: Path):
    frame = pd.DataFrame(COLUMNS)
    assert_equal(to_frame(through_a_file(stored(frame), tmp_path / "raw.nc")), frame)


@pytest.mark.parametrize("index", INDEXES.values(), ids=INDEXES.keys())
def test_index_comes_back_equal(index: pd.Index, tmp_path: Path):
    frame = pd.DataFrame({"y": [0.1, 0.2, 0.3, 0.4]}, index=index)
    table = through_a_file(stored(frame), tmp_path / "raw.nc")
    assert_equal(to_frame(table), frame)
    assert list(table["row"].values) == [str(label) for label in index]


def test_index_of_several_columns_becomes_its_labels():
    index = pd.MultiIndex.from_tuples([("a", 1), ("a", 2), ("b", 1), ("b", 2)])
    assert list(to_frame(stored(pd.DataFrame({"y": range(4)}, index=index))).index) == [str(i) for i in index]


def test_any_column_name_and_the_order_of_columns_survive(tmp_path: Path):
    names = ["z", "row", "kept", "dropped", "input_index", "a/b", "dose (g)", "é", "_y", "column_1", "y", " "]
    frame = pd.DataFrame({name: [i, i + 1, i + 2, i + 3] for i, name in enumerate(names)}, index=[4, 3, 2, 1])
    assert_equal(to_frame(through_a_file(stored(frame), tmp_path / "raw.nc")), frame)


def test_table_reads_as_the_data_do():
    table = stored(pd.DataFrame({"effect": [0.1, np.nan, 0.3, 0.4], "district": ["x", "y", None, "x"]}))
    assert dict(table.sizes) == {"row": 4}
    np.testing.assert_array_equal(table["effect"], [0.1, np.nan, 0.3, 0.4])
    assert list(table["district"].values) == ["x", "y", "", "x"]
    np.testing.assert_array_equal(table["kept"], KEPT)
    assert list(table["dropped"].values) == list(DROPPED)


def test_objects_without_a_word_in_json_become_their_text():
    intervals = pd.cut(pd.Series([1.0, 2.0, 3.0, 4.0]), 2)
    found = to_frame(stored(pd.DataFrame({"dose": intervals})))
    assert list(found["dose"]) == [str(cell) for cell in intervals]
    assert list(found["dose"].cat.categories) == [str(category) for category in intervals.cat.categories]


def test_sparse_columns_become_dense():
    frame = pd.DataFrame({"x": pd.arrays.SparseArray([0.0, 0.0, 1.5, np.nan])})
    pd.testing.assert_frame_equal(to_frame(stored(frame)), pd.DataFrame({"x": [0.0, 0.0, 1.5, np.nan]}))
