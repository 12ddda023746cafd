"""Two-by-two tables of a test against the truth: read, checked, and corrected where cells are empty."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import listing
from bayesmeta.effects.zero_cells import corrected
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import counts

Correction = Literal["single", "all", "none"]
ADVICE = "the counts are those observed; correction= and add= say what is added to tables with empty cells"
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


def read_cells(frame: pd.DataFrame, written: Mapping[str, Any], names: tuple[str, ...]) -> Tables:
    """The four cells of every row from columns or arrays; DataError names the first that cannot be a count.

    written : columns, or arrays, by the name of the cell.  names : of the rows.
    """
    columns = [each for each in written.values() if isinstance(each, str)]
    if twice := next((each for each in columns if columns.count(each) > 1), None):
        both = listing(cell for cell, each in written.items() if isinstance(each, str) and each == twice)
        raise SpecError(f"{both} are all column '{twice}'; every cell of a table has a column of its own")
    cells = [counts(written[cell], frame, cell, words, names, ADVICE) for cell, words in CELLS.items()]
    tables = Tables(np.stack(cells), names)
    for persons, parts, kind, outcome in (
        (tables.diseased, "tp + fn", "diseased", "sensitivity"),
        (tables.healthy, "fp + tn", "healthy", "specificity"),
    ):
        if np.isnan(persons).all():
            raise DataError(
                f"no row has both cells of {parts}, and so none a {outcome}; the model is one of two outcomes\n"
                "  of one alone: the effect sizes of one group in bm.effects, and bm.specify"
            )
        if (none := persons == 0).any():
            raise DataError(
                f"no {kind} persons ({parts} is 0) in {_listed(names, none)}, and so no {outcome}\n"
                "  leave the row out, or make both cells missing (NaN): it then counts for the other outcome alone"
            )
    return tables


def correct(tables: Tables, correction: Any, add: Any) -> tuple[Tables, str]:
    """The tables that logits are taken of, and a sentence on what was added, "" where nothing was."""
    scale = "a proportion of 0 or 1 has no place on the scale of the model"
    cells, added = corrected(tables.cells, tables.names, [*CELLS.values()], correction, add, scale)
    return Tables(cells, tables.names), added


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
