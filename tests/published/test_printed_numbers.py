"""When a value is a printed number; the numbers here are made up."""

import numpy as np
import pytest

from bayesmeta.errors import SpecError
from bayesmeta.model_files.published import QUANTITIES, Printed, holds, read_printed, rounded

ENTRY = {"quantity": "aic", "printed": "12.5", "where": "Table 9"}
EXCEPTION = {**ENTRY, "ours": "12.71", "apart": "0.21", "reason": "a misprint"}


def other_digits(text: str) -> list[str]:
    """The text with one digit replaced, in every way."""
    return [text[:i] + d + text[i + 1 :] for i, c in enumerate(text) if c.isdigit() for d in "0123456789" if d != c]


@pytest.mark.parametrize(
    ("printed", "value", "expected"),
    [
        ("1.24", 1.2361, True),
        ("1.23", 1.2361, False),
        ("1.24", 1.2449999, True),
        ("1.24", 1.2450001, False),
        ("-0.50", -0.4951, True),
        ("0.50", -0.4951, False),
        ("0.00", -0.0049, True),
        ("7", 7, True),
        ("7", 7.6, False),
        ("<0.01", 0.0099, True),
        ("<0.01", 0.01, False),
        ("<0.02", 0.001, False),
        ("1.0", float("nan"), False),
        ("1.0", float("inf"), False),
        ("<0.1", float("nan"), False),
    ],
)
def test_holds(printed: str, value: float, expected: bool) -> None:
    assert holds(printed, value) is expected


def test_half_goes_to_even_as_written_in_decimals() -> None:
    assert [rounded(v, "0.0") for v in (0.25, 0.35, -0.05)] == ["0.2", "0.4", "0.0"]
    assert rounded(np.float64(2.5), "1") == "2"


@pytest.mark.parametrize("value", [12.5, 12.46, 3.04, -0.0501, 0.0004, 123.0])
@pytest.mark.parametrize("decimals", [0, 1, 3])
def test_changing_any_digit_breaks_it(value: float, decimals: int) -> None:
    text = rounded(value, f"{0:.{decimals}f}")
    assert holds(text, value)
    assert not any(holds(changed, value) for changed in other_digits(text))


def test_changing_any_digit_of_a_bound_breaks_it() -> None:
    assert holds("<0.001", 0.0)
    assert not any(holds(changed, 0.0) for changed in other_digits("<0.001"))


def test_an_exception_holds_at_our_value_only() -> None:
    entry = read_printed(EXCEPTION, "here")
    assert entry.holds(12.712)
    assert not entry.holds(12.72)
    assert not entry.holds(12.5)


@pytest.mark.parametrize("key", ["printed", "ours", "apart"])
def test_changing_any_digit_of_an_exception_breaks_it(key: str) -> None:
    for changed in other_digits(EXCEPTION[key]):
        assert not read_printed({**EXCEPTION, key: changed}, "here").holds(12.712)


def test_an_exception_that_is_none_is_not_held() -> None:
    assert not Printed("aic", (), {}, "12.7", "Table 9", ours="12.71", apart="0.01", reason="none").holds(12.71)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"prined": "1"}, "unknown key 'prined'; did you mean 'printed'"),
        ({"quantity": "aicc"}, "quantity is 'aicc'; did you mean 'aic'"),
        ({"quantity": "beta"}, "beta takes 1 labels in 'of', not 0"),
        ({"of": "x"}, "aic takes 0 labels in 'of', not 1"),
        ({"at": {"x": 1}}, "'at' must be given for exp_predict"),
        ({"quantity": "exp_predict"}, "'at' must be given for exp_predict"),
        ({"printed": 12.5}, "is not a number in quotes"),
        ({"printed": "12,5"}, "is not a number in quotes"),
        ({"printed": "NaN"}, "is not a number in quotes"),
        ({"ours": "12.71"}, "an exception must state ours, apart and reason, not only ours"),
        ({"ours": "12.71", "apart": "0.21"}, "an exception must state"),
    ],
)
def test_bad_entries(change: dict[str, object], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        read_printed({**ENTRY, **change}, "model x: paper")


@pytest.mark.parametrize("key", ["quantity", "printed", "where"])
def test_missing_keys(key: str) -> None:
    with pytest.raises(SpecError, match=f"model x: paper: '{key}' is missing"):
        read_printed({k: v for k, v in ENTRY.items() if k != key}, "model x: paper")


def test_an_entry_is_a_table() -> None:
    with pytest.raises(SpecError, match="is not a table"):
        read_printed("12.5", "model x: paper")


def test_labels() -> None:
    assert read_printed({**ENTRY, "quantity": "tau2", "of": ["district", "year"]}, "").label == "tau2[district, year]"
    assert read_printed({**ENTRY, "quantity": "exp_predict", "at": {"dose": 12}}, "").label == "exp_predict[dose=12]"
    assert all(" " not in name for name in QUANTITIES)
