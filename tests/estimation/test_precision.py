"""Results keep the digits that notebooks/limits.md states, at the ends of the ranges that it states."""

from pathlib import Path

import pytest

from tests.benchmarks.precision import CASES, HEADER, Case, digits, line

PAGE = Path(__file__).parents[2] / "notebooks" / "limits.md"


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case.quantity} {case.range}".strip())
def test_digits(case: Case) -> None:
    kept = digits(case, range(2))
    assert all(k >= stated for k, stated in zip(kept, case.stated, strict=True)), f"{kept}, stated {case.stated}"


def test_the_page_holds_the_table() -> None:
    assert "\n".join([HEADER, *map(line, CASES)]) in PAGE.read_text(encoding="utf-8")
