"""Checks of what a user wrote: what is right passes, what is wrong is named with its value and the remedy."""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta import _validation as check


def test_what_is_right_passes():
    check.check_keys({"a": 1}, ("a", "b"), "file", required=("a",))
    check.check_type("text", str, "title")
    check.check_strings(["a", "b"], "columns")
    check.check_name("a", ["a", "b"], "no column", "columns")
    assert check.check_choice("one", iter(("one", "two")), "kind") == "one"
    assert check.check_probability(np.float32(0.5)) == 0.5
    assert check.check_integer(np.int64(3), "draws", 1, 3) == 3
    assert check.check_number(np.float64(2.5), "scale", above=0) == 2.5
    assert check.check_number(0, "scale", least=0) == 0.0
    assert check.check_number(-1, "y") == -1.0


@pytest.mark.parametrize("prob", [0, 1, -0.1, 95, True, False, "0.95", None, np.nan, [0.95], 1 + 0j])
def test_a_probability_lies_strictly_between_0_and_1(prob):
    with pytest.raises(bm.SpecError, match=r"^prob is .*; it must lie strictly between 0 and 1\n"):
        check.check_probability(prob)


@pytest.mark.parametrize("rho", [-1, 1, 2, np.nan, True, "0.5", None])
def test_a_correlation_lies_strictly_between_minus_1_and_1(rho):
    with pytest.raises(bm.SpecError, match=r"^rho is .*; it must lie strictly between -1 and 1$"):
        check.check_correlation(rho, "rho")
    assert check.check_correlation(-0.5, "rho") == -0.5


@pytest.mark.parametrize("value", [0, 4, 2.0, True, "2", None, np.nan, np.float64(2)])
def test_a_whole_number_is_neither_a_float_nor_a_truth_value(value):
    with pytest.raises(bm.SpecError, match=r"^draws is .*; it must be a whole number from 1 to 3, or None$"):
        check.check_integer(value, "draws", 1, 3, remedy=", or None")


@pytest.mark.parametrize("value", [0, -1, np.inf, np.nan, True, "2", None])
def test_a_number_is_finite_and_in_its_range(value):
    with pytest.raises(bm.SpecError, match=r"^scale is .*; it must be a finite number greater than 0$"):
        check.check_number(value, "scale", above=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: check.check_keys({"titel": 1}, ("title", "data"), "file"),
            "file: unknown key 'titel'; did you mean 'title'?",
        ),
        (lambda: check.check_keys({}, ("title",), "file", required=("title",)), "file: 'title' is missing"),
        (lambda: check.check_type(1, str, "title"), "title is 1; it must be a string"),
        (lambda: check.check_type("a", list, "complete"), "complete is 'a'; it must be a list"),
        (lambda: check.check_type("a", dict, "model"), "model is 'a'; it must be a table"),
        (lambda: check.check_strings(["a", 2], "columns"), "columns is 2; it must be a string"),
        (
            lambda: check.check_choice("tow", ("one", "two"), "kind"),
            "kind is 'tow'; did you mean 'two'?\n  must be one of: one, two",
        ),
        (lambda: check.check_choice(3, ("one", "two"), "kind"), "kind is 3\n"),
        (lambda: check.check_choice(["one"], ("one", "two"), "kind"), "kind is ['one']"),
        (
            lambda: check.check_name("YEAR", ["year", "x"], "no column", "columns"),
            "no column 'YEAR'; did you mean 'year'?\n  columns: year, x",
        ),
        (lambda: check.check_name("x", [], "no column", "columns"), "no column 'x'\n  columns: none"),
    ],
)
def test_what_is_wrong_is_named(call, message):
    with pytest.raises(bm.SpecError) as error:
        call()
    assert str(error.value).startswith(message)
