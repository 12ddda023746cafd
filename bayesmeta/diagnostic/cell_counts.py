"""Two-by-two tables of a test against the truth: read, checked, and corrected where cells are empty."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice, check_number, listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import label, numbers

Correction = Literal["single", "all", "none"]
CORRECTIONS = ("single", "all", "none")
CELLS = {
    "tp": "true positives",
    "fp": "false positives",
    "fn": "false negatives",
    "tn": "true negatives",
}


@dataclass(frozen=True, eq=False)
class Tables:
    """One table of a test against the truth for each row.

    cells : (4, n) tp, fp, fn, tn as observed, NaN where missing.  names : (n,) of the rows.
    """

    cells: FloatArray
    names: tuple[str, ...]

    @property
    def diseased(self) -> FloatArray:
        return np.asarray(self.cells[0] + self.cells[2])

    @property
    def healthy(self) -> FloatArray:
        return np.asarray(self.cells[1] + self.cells[3])

    @property
    def sensitivity(self) -> FloatArray:
        return np.asarray(self.cells[0] / self.diseased)

    @property
    def specificity(self) -> FloatArray:
        return np.asarray(self.cells[3] / self.healthy)

    @property
    def fpr(self) -> FloatArray:
        """The false-positive rate, 1 - specificity."""
        return np.asarray(self.cells[1] / self.healthy)

    def corrected(self, rows: BoolArray, add: float) -> "Tables":
        """With something added to all cells of some rows."""
        return Tables(self.cells + add * rows, self.names)


def read_cells(frame: pd.DataFrame, written: Mapping[str, Any], names: tuple[str, ...]) -> Tables:
    """The four cells of every row from columns or arrays; DataError names the first that cannot be a count.

    written : columns, or arrays, by the name of the cell.  names : of the rows.
    """
    tables = Tables(np.stack([_counts(frame, written[cell], cell, names) for cell in CELLS]), names)
    for persons, parts, kind, outcome in (
        (tables.diseased, "tp + fn", "diseased", "sensitivity"),
        (tables.healthy, "fp + tn", "healthy", "specificity"),
    ):
        if (none := persons == 0).any():
            raise DataError(
                f"no {kind} persons ({parts} is 0) in {_listed(names, none)}, and so no {outcome}\n"
                "  leave the row out, or make both cells missing (NaN): it then counts for the other outcome alone"
            )
    return tables


def _counts(frame: pd.DataFrame, values: Any, cell: str, names: tuple[str, ...]) -> FloatArray:
    """(n,) one of the cells."""
    counts, where = numbers(values, frame, cell)
    if counts.ndim != 1 or len(counts) != len(frame):
        raise SpecError(
            f"{cell} is {shown(values)}; it must be the name of a column, or one number for each of the "
            f"{len(frame)} rows"
        )
    wrong = ~np.isnan(counts) & ((counts < 0) | np.isinf(counts) | (counts != np.round(counts)))
    if wrong.any():
        at = int(np.argmax(wrong))
        rule = "cannot be negative" if counts[at] < 0 else "are whole numbers of persons"
        raise DataError(
            f"{where}: {CELLS[cell]} {rule}; {names[at]} has {counts[at]:g}\n"
            "  the counts are those observed; correction= and add= say what is added to tables with empty cells"
        )
    return counts


def correct(tables: Tables, correction: Any, add: Any) -> tuple[Tables, str]:
    """The tables that logits are taken of, and a sentence on what was added, "" where nothing was.

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
    empty = np.asarray(tables.cells == 0)
    at_all = empty.any(0)
    if not at_all.any():
        return tables, ""
    if rule == "none":
        of, at = np.argwhere(empty.T)[0].tolist()
        first, rows = f"{list(CELLS.values())[at]} of {tables.names[of]} are 0", _listed(tables.names, at_all)
        raise DataError(
            f'correction="none": {first}, and a proportion of 0 or 1 has no place on the scale of the model ({rows})\n'
            '  take correction="single", which adds 1/2 to the cells of such tables, or leave these out'
        )
    where = at_all if rule == "single" else np.ones_like(at_all)
    whom = (
        "all tables, since there are empty cells" if rule == "all" else f"the tables of {_listed(tables.names, at_all)}"
    )
    added = (
        f"{add:g} was added to every cell of {whom}: {int(empty.sum())} of {tables.cells.size} cells are empty, "
        f"in {int(at_all.sum())} of {len(at_all)} tables"
    )
    if correction is None:
        advice = '  correction="single" does so without a warning; "all" adds to all tables, "none" refuses'
        warn(f"{added}\n{advice}", AssumptionWarning)
    return tables.corrected(where, add), added


def mention_missing(tables: Tables) -> None:
    """Warn of cells that are missing: the row counts for the outcome that it has."""
    missing = np.isnan(tables.diseased) | np.isnan(tables.healthy)
    if missing.any():
        warn(
            f"cells are missing in {_listed(tables.names, missing)}: such a row counts for the outcome whose cells it "
            "has, and not at all without both",
            AssumptionWarning,
        )


def _listed(names: tuple[str, ...], where: BoolArray) -> str:
    return listing(np.array(names, dtype=object)[where])


def named_rows(frame: pd.DataFrame, study: str | None) -> tuple[str, ...]:
    """Names of the rows for messages: the study's, with the row where it has several."""
    rows = [f"row {label(row)}" for row in frame.index]
    if study is None:
        return tuple(rows)
    studies = [f"{study} {label(value)}" if not isinstance(value, str) else value for value in frame[study]]
    times = Counter(studies)
    return tuple(f"{name} ({row})" if times[name] > 1 else name for name, row in zip(studies, rows, strict=True))
