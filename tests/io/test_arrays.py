"""The gate for numbers: what is a number, what is missing, and which cell is named."""

from decimal import Decimal

import numpy as np
import pandas as pd
import pytest

from bayesmeta.errors import DataError
from bayesmeta.io.arrays import as_numbers, check_labels

NO_NUMBERS = [True, np.True_, "1", "abc", b"1", 1j, pd.Timestamp("2020-01-01"), np.timedelta64(1, "D"), [1, 2], {}]
MISSING = [None, np.nan, pd.NA, pd.NaT, np.ma.masked, complex("nan"), Decimal("nan")]
FORMS = [
    lambda cells: list(cells),
    lambda cells: tuple(cells),
    lambda cells: _objects(cells),
    lambda cells: pd.Series(_objects(cells)),
    lambda cells: pd.DataFrame({"a": _objects(cells)}),
]


def _objects(cells):
    array = np.empty(len(cells), dtype=object)
    array[:] = cells
    return array


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("odd", NO_NUMBERS, ids=str)
@pytest.mark.parametrize("place", [0, 2, 4])
def test_one_cell_that_is_no_number_is_an_error(form, odd, place):
    cells = [1.0, 2, np.float32(3), np.int8(4), Decimal(5)]
    cells[place] = odd
    with pytest.raises(DataError, match=r"^x\b"):
        as_numbers(form(cells), "x")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("missing", MISSING, ids=str)
def test_missing_cells_are_nan(form, missing):
    np.testing.assert_array_equal(np.ravel(as_numbers(form([1.0, missing, 2]), "x")), [1.0, np.nan, 2.0])


@pytest.mark.parametrize(
    "array",
    [
        np.array([True, False]),
        np.array(["1", "2"]),
        np.array([b"1", b"2"]),
        np.array([1j, 2]),
        np.array(["2020-01-01"], "M8[ns]"),
        pd.Series([True, False]),
        pd.array([True, None], dtype="boolean"),
        pd.Series(["1", "2"]),
        pd.Categorical(["1", "2"]),
        "1",
        {"a": 1},
        {1.0},
        None,
        object,
    ],
    ids=repr,
)
def test_whole_arrays_of_another_kind_are_refused(array):
    with pytest.raises(DataError, match=r"^S "):
        as_numbers(array, "S")


def test_the_first_cell_that_cannot_be_read_is_named_also_in_a_column_of_text():
    cells = pd.Series(["0.5", "0.25", "abc", "-", "0.1"], index=list("vwxyz"))
    with pytest.raises(DataError, match=r"^y is not numeric: row x holds 'abc'"):
        as_numbers(cells, "y")
    with pytest.raises(DataError, match=r"^y is not numeric: row v holds '0.5'"):
        as_numbers(cells[["v", "w", "z"]], "y")


@pytest.mark.parametrize("nested", [False, True])
def test_a_mask_is_missing(nested):
    masked = np.ma.masked_array([1.0, 2.0], [False, True])
    values = as_numbers([masked, masked] if nested else masked, "S")
    np.testing.assert_array_equal(values, [[1, np.nan]] * 2 if nested else [1, np.nan])
    np.testing.assert_array_equal(as_numbers(np.ma.masked_array([1, 2], [True, False]), "S"), [np.nan, 2.0])


@pytest.mark.parametrize("large", [10**400, Decimal("1e400"), np.longdouble("1e400")])
def test_a_number_beyond_the_range_of_floats_is_an_error(large):
    for values in ([1.0, large], _objects([1.0, large]), np.array([1.0, large])):
        with pytest.raises(DataError, match=r"^S: position 1 holds .*, which is too large"):
            as_numbers(values, "S")


def test_ragged_lists_say_where():
    with pytest.raises(DataError, match=r"^S is ragged: position \[1, 1\] has shape \(2,\)"):
        as_numbers([[[1.0, 2.0], [1.0, 2.0]], [[1.0], [1.0, 2.0]]], "S")
    with pytest.raises(DataError, match=r"^S is ragged: position 1 has shape"):
        as_numbers([[1.0], 2.0], "S")


def test_floats_are_not_copied():
    values = np.arange(3.0)
    assert as_numbers(values, "S") is values or np.shares_memory(as_numbers(values, "S"), values)


def test_labels_are_those_expected_or_none_at_all():
    check_labels(pd.Index(["a", "b"]), ["a", "b"], "psi")
    check_labels(pd.RangeIndex(2), ["a", "b"], "psi")
    for wrong in (pd.Index(["b", "a"]), pd.Index([1, 0]), pd.RangeIndex(1, 3), pd.Index(["a"])):
        with pytest.raises(DataError, match=r"^psi is labelled"):
            check_labels(wrong, ["a", "b"], "psi")
    with pytest.raises(DataError):
        check_labels(pd.RangeIndex(2), ["a", "b"], "psi", unlabelled=False)
