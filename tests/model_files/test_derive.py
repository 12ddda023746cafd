"""Expressions of model files: what they compute, and that they can do nothing else."""

import itertools

import numpy as np
import pandas as pd
import pytest

from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.model_files.derive import derive

FRAME = pd.DataFrame({"x": [1.0, 2.0, 4.0], "n": [2, 4, 8], "g": ["a", "a", "b"]})


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("x / n + 1", [1.5, 1.5, 1.5]),
        ("-x ** 2", [-1.0, -4.0, -16.0]),
        ("log(x) - sqrt(n) * exp(0)", np.log([1, 2, 4]) - np.sqrt([2, 4, 8])),
        ("x - mean(x)", [-4 / 3, -1 / 3, 5 / 3]),
        ("x - mean(means(x, g))", [-1.75, -0.75, 1.25]),
        ("row_number()", [1, 2, 3]),
        ("g == 'a'", [1.0, 1.0, 0.0]),
        ("x >= 2", [0.0, 1.0, 1.0]),
        ("2.5", [2.5, 2.5, 2.5]),
    ],
)
def test_expressions(expression: str, expected: list[float]) -> None:
    np.testing.assert_allclose(derive(FRAME, {"new": expression}).new, expected, rtol=1e-15)


def test_a_later_column_may_use_an_earlier_one_and_the_data_stay_as_they_are() -> None:
    before = FRAME.copy()
    assert derive(FRAME, {"a": "2 * x", "b": "a + 1"}).b.tolist() == [3, 5, 9]
    pd.testing.assert_frame_equal(FRAME, before)


def test_a_missing_value_stays_missing() -> None:
    frame = pd.DataFrame({"x": [1.0, np.nan]})
    assert derive(frame, {"y": "log(x)"}).y.isna().tolist() == [False, True]


@pytest.mark.parametrize(
    ("expression", "message"),
    [
        ("y + 1", "no column 'y'"),
        ("lg(x)", "no function 'lg'; did you mean 'log'"),
        ("means(x, g)", "has 2 values for 3 rows"),
        ("g", "gives strings"),
        ("g + 1", "cannot be computed|gives strings"),
        ("log(x, n, g)", r"log\(\) takes numbers, and has 3 arguments"),
        ("mean(means(3, g))", r"means\(\) takes a column of numbers, a column"),
        ("g == 3", "its parts do not go together"),
        ("x +", "is not an expression"),
        ("x = 1", "is not an expression"),
        ("x.values", "is not allowed"),
        ("x[0]", "is not allowed"),
        ("__import__('os')", "no function '__import__'"),
        ("(lambda: 1)()", "is not allowed"),
        ("[v for v in x]", "is not allowed"),
        ("log(x=x)", "is not allowed"),
        ("1 < x < 3", "is not allowed"),
        ("x if n else g", "is not allowed"),
        ("x and n", "is not allowed"),
        ("True", "is not allowed"),
    ],
)
def test_anything_else_is_refused(expression: str, message: str) -> None:
    with pytest.raises(SpecError, match=message):
        derive(FRAME, {"new": expression})


def test_a_power_tower_of_numbers_is_an_error_at_once() -> None:
    with pytest.raises(DataError, match="not a finite number in rows 0, 1, 2"):
        derive(FRAME, {"new": "9 ** 9 ** 9 ** 9"})


def test_a_value_that_is_not_finite_names_its_rows() -> None:
    with pytest.raises(DataError, match=r"derive new = 'log\(x - 1\)' is not a finite number in rows 0,"):
        derive(FRAME, {"new": "log(x - 1)"})


def test_an_existing_column_is_not_overwritten() -> None:
    with pytest.raises(SpecError, match="already have a column 'n'"):
        derive(FRAME, {"n": "2 * n"})


PARTS = ("x", "n", "g", "3", "'a'", "means(x, g)", "mean(x)", "-x", "row_number()", "x > 1", "g == 'a'")
FORMS = (
    "log({0})",
    "mean({0})",
    "means({0}, {1})",
    "mean(means({0}, {1}))",
    "{0} + {1}",
    "{0} ** {1}",
    "{0} < {1}",
    "{0} == {1}",
    "-{0}",
    "log({0}, {1})",
    "mean()",
    "row_number({0})",
    "exp({0}) / {1}",
)


def outcome(expression: str) -> str:
    """The type of the column, or our own error."""
    try:
        return derive(FRAME, {"new": expression}).new.dtype.kind
    except BayesmetaError as error:
        return str(error)


@pytest.mark.parametrize("form", FORMS)
def test_any_parts_give_numbers_or_an_error_of_ours(form: str) -> None:
    for one, two in itertools.product(PARTS, PARTS):
        text = outcome(form.format(one, two))
        assert text in "if" or text.startswith("derive new = "), text
        assert "lambda" not in text
        assert "instances of" not in text


@pytest.mark.parametrize("expression", ["-" * 3000 + "x", " + ".join(["x"] * 5000), "(" * 150 + "x" + ")" * 150])
def test_depth_is_no_foreign_error(expression: str) -> None:
    assert len(outcome(expression)) < 300
