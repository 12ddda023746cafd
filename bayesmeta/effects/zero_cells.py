"""What is done about empty cells among counts of events."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_booleans, check_choice, check_number, listing, shown
from bayesmeta.effects.reported import Reported
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn

Zero = Literal["only0", "if0all", "all", "none"]
Add = float | Literal["opposite-arm"]  # what is added to cells; the word is of tables of two arms
OPPOSITE = "opposite-arm"
ZEROS = ("only0", "if0all", "all", "none")
CORRECTIONS = {"single": "only0", "all": "if0all", "none": "none"}  # what tables of tests call them


def is_correction(note: str) -> bool:
    """Whether a note says what was added to empty cells."""
    return " was added to " in note and "empty" in note


def where_added(empty: BoolArray, zero: str | None) -> BoolArray:
    """(n,) rows to whose cells something is added: those with an empty cell, all if any has one, or all."""
    return {"if0all": empty | empty.any(), "all": np.ones_like(empty)}.get(zero or "", empty)


def corrected(
    cells: FloatArray, names: Sequence[str], words: Sequence[str], correction: Any, add: Any, scale: str
) -> tuple[FloatArray, str]:
    """(c, n) cells of tables with what is added to them, and a sentence on it, "" where nothing was.

    names : (n,) of the tables.  words : (c,) of the cells.  scale : why a cell cannot be empty.
    correction : "single", "all", "none", or None where the user left it open: then a warning tells.
    """
    if isinstance(correction, int | float) and not isinstance(correction, bool):
        check_number(correction, "correction", least=0)
        raise SpecError(
            f"correction is {correction:g}; it must be one of: {listing(CORRECTIONS)}\n"
            f'  what is added is add={correction:g}; correction="single" adds it to the tables with an empty cell'
        )
    rule = "single" if correction is None else check_choice(correction, CORRECTIONS, "correction")
    add = check_number(add, "add", above=0)
    empty = np.asarray(cells == 0)
    at_all = empty.any(0)
    if not at_all.any():
        return cells, ""
    tables = listing(np.array(names, dtype=object)[at_all])
    if rule == "none":
        of, at = np.argwhere(empty.T)[0].tolist()
        raise DataError(
            f'correction="none": {words[at]} of {names[of]} are 0, and {scale} ({tables})\n'
            '  take correction="single", which adds 1/2 to the cells of such tables, or leave these out'
        )
    whom = "all tables, since there are empty cells" if rule == "all" else f"the tables of {tables}"
    added = (
        f"{add:g} was added to every cell of {whom}: {int(empty.sum())} of {cells.size} cells are empty, "
        f"in {int(at_all.sum())} of {len(at_all)} tables"
    )
    if correction is None:
        advice = '  correction="single" does so without a warning; "all" adds to all tables, "none" refuses'
        warn(f"{added}\n{advice}", AssumptionWarning)
    return cells + add * where_added(at_all, CORRECTIONS[rule]), added


@dataclass(frozen=True)
class ZeroCells:
    """What is done about empty cells, see `bayesmeta.effects.odds_ratio`; None where the user did not choose."""

    zero: Zero | None = None
    add: Add = 0.5
    drop_double_zero: bool | None = None

    def __post_init__(self) -> None:
        if self.zero is not None:
            check_choice(self.zero, ZEROS, "zero")
        if not (isinstance(self.add, str) and self.add == OPPOSITE):
            if isinstance(self.add, str):
                raise SpecError(f"add is {shown(self.add)}; it must be a number greater than 0 or '{OPPOSITE}'")
            check_number(self.add, "add", above=0)
        if self.drop_double_zero is not None:
            check_booleans(drop_double_zero=self.drop_double_zero)

    def by_default(self, adds: bool) -> "ZeroCells":
        """With the default of a measure that needs nothing added, where the user did not choose."""
        return self if adds or self.zero is not None else replace(self, zero="none")

    def applied(
        self,
        cells: FloatArray,
        reported: Reported,
        what: str,
        double_zero: BoolArray | None = None,
        opposite: FloatArray | None = None,
    ) -> FloatArray:
        """(c, n) cells with what is added to them, NaN where a row is left out.

        reported : where they come from, which keeps a record.
        what : the cells that something is added to, in words.  double_zero : (n,) rows that say nothing of a ratio.
        opposite : (c, n) what is added to each cell where that goes by the size of the opposite arm.
        """
        if self.add == OPPOSITE and opposite is None:
            raise SpecError(f"add='{OPPOSITE}' is for events and persons of two arms\n  give a number")
        cells = np.where(np.isnan(cells).any(axis=0), np.nan, cells)
        none = np.zeros(cells.shape[1], dtype=bool) if double_zero is None else double_zero
        if self.drop_double_zero:
            cells = np.where(none, np.nan, cells)
        empty = (cells == 0).any(axis=0)
        none_added = np.zeros_like(empty)
        rows = none_added if self.zero == "none" else where_added(empty, self.zero)
        self._warn(reported.frame.index, rows, none & ~np.isnan(cells).any(axis=0), what)
        if rows.any():
            reported.corrected[f"{self._words} was added to {what}"] = rows
        added = opposite if isinstance(self.add, str) else self.add
        return np.where(rows, cells + np.asarray(added), cells)

    @property
    def _words(self) -> str:
        return "what the size of the opposite arm says" if self.add == OPPOSITE else f"{self.add:g}"

    def _warn(self, index: pd.Index, rows: BoolArray, none: BoolArray, what: str) -> None:
        if self.zero is None and rows.any():
            warn(
                f"{self._words} was added to {what} of every row with an empty cell: rows {listing(index[rows])}"
                '\n  zero="only0" does so without a warning, zero="none" adds nothing',
                AssumptionWarning,
            )
        if self.drop_double_zero is None and none.any() and self.zero != "none":
            warn(
                f"no events in either arm, or nothing but events in both: rows {listing(index[none])}\n"
                "  what such a row contributes to a ratio comes from what is added to its cells;\n"
                "  drop_double_zero=True leaves it without an estimate, False keeps it without a warning",
                AssumptionWarning,
            )
