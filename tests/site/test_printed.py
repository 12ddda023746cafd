"""Printed numbers beside ours: what does not round to the printed digits is an error that says all."""

import importlib.util

import numpy as np
import pytest

from tests.support.make_gallery import GALLERY

SPECIFIED = importlib.util.spec_from_file_location("printed", GALLERY / "printed.py")
assert SPECIFIED is not None
assert SPECIFIED.loader is not None
PRINTED = importlib.util.module_from_spec(SPECIFIED)
SPECIFIED.loader.exec_module(PRINTED)
beside = PRINTED.beside


@pytest.mark.parametrize("ours", [0.12345, 0.12344, 0.12355, np.array([0.1234]), np.float64(0.12350)])
def test_what_rounds_to_the_printed_digits_agrees(ours):
    table = beside("page", {"mean": ("0.123" if np.max(ours) < 0.1235 else "0.124", ours)})
    assert table.index.tolist() == ["mean"]
    assert table.loc["mean", "printed"] in ("0.123", "0.124")


@pytest.mark.parametrize("ours", [0.12451, 0.12349, -0.124, np.nan, np.inf])
def test_a_number_that_moved_names_page_number_and_both_values(ours):
    with pytest.raises(AssertionError, match=r"page, mean: printed 0\.124, now"):
        beside("page", {"mean": ("0.124", ours)})


def test_some_units_apart_by_permission():
    assert beside("page", {"mean": ("0.124", 0.1252)}, rounded={"mean": 1.5}).loc["mean", "bayesmeta"] == "0.12520"
    with pytest.raises(AssertionError, match=r"at most 1 units"):
        beside("page", {"mean": ("0.124", 0.1252)}, rounded={"mean": 1})


def test_whole_numbers_and_exponents():
    beside("page", {"cases": ("12", 11.6), "large": ("1.2e3", 1204.0)})
