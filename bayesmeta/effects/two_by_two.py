"""Two-by-two tables of arms by event, read from the columns of a data frame, and what is done about empty cells."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_booleans, check_choice, check_number, listing
from bayesmeta.effects.arms import Arms, Estimate, counts, refuse
from bayesmeta.errors import AssumptionWarning, SpecError, warn

Zero = Literal["only0", "if0all", "all", "none"]
ZEROS = ("only0", "if0all", "all", "none")


@dataclass(frozen=True, eq=False)
class TwoByTwo:
    """Events a and non-events b of the first arm, c and d of the second, each (n,), NaN where one is not known."""

    a: FloatArray
    b: FloatArray
    c: FloatArray
    d: FloatArray

    @property
    def cells(self) -> FloatArray:
        return np.stack([self.a, self.b, self.c, self.d])

    @property
    def empty(self) -> BoolArray:
        """(n,) whether a cell is 0."""
        return (self.cells == 0).any(axis=0)

    @property
    def double_zero(self) -> BoolArray:
        """(n,) whether both arms are without events, or both without anything else."""
        return ((self.a == 0) & (self.c == 0)) | ((self.b == 0) & (self.d == 0))

    def plus(self, number: float, rows: BoolArray) -> "TwoByTwo":
        return TwoByTwo(*np.where(rows, self.cells + number, self.cells))

    def without(self, rows: BoolArray) -> "TwoByTwo":
        return TwoByTwo(*np.where(rows, np.nan, self.cells))


@dataclass(frozen=True)
class ZeroCells:
    """What is done about empty cells, see `bayesmeta.effects.odds_ratio`; None where the user did not choose."""

    zero: Zero | None
    add: float
    drop_double_zero: bool | None

    def __post_init__(self) -> None:
        if self.zero is not None:
            check_choice(self.zero, ZEROS, "zero")
        check_number(self.add, "add", above=0)
        check_booleans(drop_double_zero=self.drop_double_zero)

    def applied(self, tables: TwoByTwo, index: pd.Index) -> TwoByTwo:
        """The tables from which estimates are computed, with a warning about what the user did not choose."""
        none, empty = tables.double_zero, tables.empty
        if self.drop_double_zero:
            tables, empty = tables.without(none), empty & ~none
        rows = {"none": empty & False, "if0all": empty | empty.any(), "all": empty | True}.get(self.zero or "", empty)
        self._warn(index, rows, none)
        return tables.plus(self.add, rows)

    def _warn(self, index: pd.Index, rows: BoolArray, none: BoolArray) -> None:
        if self.zero is None and rows.any():
            warn(
                f"{self.add:g} was added to the four cells of every row with an empty cell: rows {listing(index[rows])}"
                '\n  zero="only0" does so without a warning, zero="none" adds nothing',
                AssumptionWarning,
            )
        if self.drop_double_zero is None and none.any():
            warn(
                f"no events in either arm, or nothing but events in both: rows {listing(index[none])}\n"
                "  what such a row contributes to a ratio comes from what is added to its cells;\n"
                "  drop_double_zero=True leaves it without an estimate, False keeps it without a warning",
                AssumptionWarning,
            )


def read(frame: pd.DataFrame, events: Arms, total: Arms | None, no_events: Arms | None) -> TwoByTwo:
    """The tables of all rows, checked."""
    if (total is None) == (no_events is None):
        which = "neither is" if total is None else "both are"
        raise SpecError(
            f"total or no_events: {which} given\n  give all persons of the arms, or those without the event"
        )
    cases = counts(frame, events, "events")
    others = _others(frame, cases, total) if no_events is None else counts(frame, no_events, "no_events")
    for some, rest in zip(cases, others, strict=True):
        refuse(some, some + rest == 0, "belongs to an arm without persons\n  use NaN for an arm that is missing")
    (a, c), (b, d) = (tuple(count.to_numpy() for count in pair) for pair in (cases, others))
    known = TwoByTwo(a, b, c, d)
    return known.without(np.isnan(known.cells).any(axis=0))


def _others(frame: pd.DataFrame, cases: tuple[pd.Series, ...], total: Any) -> tuple[pd.Series, ...]:
    """Persons of the two arms without the event."""
    persons = counts(frame, total, "total")
    for some, all_ in zip(cases, persons, strict=True):
        refuse(some, some > all_, f"exceeds the number of persons, column '{all_.name}'")
    return tuple(all_ - some for some, all_ in zip(cases, persons, strict=True))


def log_odds_ratio(t: TwoByTwo) -> Estimate:
    return np.log(t.a) - np.log(t.b) - np.log(t.c) + np.log(t.d), 1 / t.a + 1 / t.b + 1 / t.c + 1 / t.d


def log_risk_ratio(t: TwoByTwo) -> Estimate:
    n1, n2 = t.a + t.b, t.c + t.d
    return np.log(t.a / n1) - np.log(t.c / n2), t.b / (t.a * n1) + t.d / (t.c * n2)


def risk_difference(t: TwoByTwo) -> Estimate:
    n1, n2 = t.a + t.b, t.c + t.d
    return t.a / n1 - t.c / n2, t.a * t.b / n1**3 + t.c * t.d / n2**3


ESTIMATES: dict[str, Callable[[TwoByTwo], Estimate]] = {
    "logor": log_odds_ratio,
    "logrr": log_risk_ratio,
    "rd": risk_difference,
}
