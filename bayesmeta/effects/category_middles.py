"""Doses of categories that are printed as intervals: their middles, and a rule for open ends."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, find_column, rows
from bayesmeta.io.long_tables import refuse_cells

_MOST = 12  # open categories of which a note says how they were taken
_NUMBER, _ABOVE, _BELOW = (
    r"(?P<{}>\d+(?:\.\d+)?)",
    r"(?:>=|≥|>|from|over|more than)",
    r"(?:<=|≤|<|under|less than|up to)",
)
_TO = "-|\N{EN DASH}|\N{EM DASH}|to"
_LOW, _HIGH = _NUMBER.format("low"), _NUMBER.format("high")
_FORMS = tuple(
    (re.compile(rf"\s*{text}\s*"), lower, upper)
    for text, lower, upper in (
        (_LOW, "low", "low"),
        (rf"{_ABOVE}?\s*{_LOW}\s*(?:{_TO})\s*{_BELOW}?\s*{_HIGH}", "low", "high"),
        (rf"{_LOW}\s*(?:\+|(?:or|and) (?:more|over|above|greater|higher))", "low", ""),
        (rf"{_ABOVE}\s*{_LOW}", "low", ""),
        (rf"{_BELOW}\s*{_HIGH}", "", "high"),
    )
)


def with_midpoints(frame: pd.DataFrame, dose: str, bounds: Any, group: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The data with the middle of every category as its dose, and what was assumed of open ends.

    An open lower end is 0. An open upper end makes the category as wide as its neighbour, the last one of its group,
    such as a study, before it, which may end a little lower, as 24 to 35.9 does before 36; where there is none, or it
    is further away than it is wide, the dose is 1.2 times the lower limit, as Berlin, Longnecker and Greenland (1993),
    Epidemiology 4:218-228, take it.
    """
    if isinstance(bounds, str) or not isinstance(bounds, Sequence) or len(bounds) != 2:
        raise SpecError(f"bounds is {shown(bounds)}; it must be two columns, the lower and the upper limit of the dose")
    if dose in frame.columns:
        raise SpecError(
            f"bounds are given, and the data have a column '{dose}'\n  name the new column, dose=, otherwise"
        )
    low, high = (column(frame, name, "bounds") for name in bounds)
    no_end = ~(np.isfinite(low) | np.isfinite(high))
    if no_end.any():
        raise DataError(
            f"neither column '{bounds[0]}' nor '{bounds[1]}' has a limit in {rows(frame, no_end)}; a category needs one"
        )
    open_below, open_above = ~np.isfinite(low), ~np.isfinite(high)
    if (negative := open_below & (high < 0)).any():
        raise DataError(
            f"'{bounds[0]}' is open, and '{bounds[1]}' below 0, in {rows(frame, negative)}"
            "\n  an open lower limit is read as 0; fill it in"
        )
    low = np.where(open_below, 0.0, low)
    if (crossed := ~open_above & (high < low)).any():
        at = int(np.argmax(crossed))
        raise DataError(
            f"column '{bounds[1]}' is below '{bounds[0]}' in {rows(frame, crossed)}: the first goes from {low[at]:g} "
            f"to {high[at]:g}\n  bounds are the lower limit first, then the upper one"
        )
    middle, how = _middles(low, high, pd.factorize(find_column(frame, group, "study"))[0], frame.index)
    if (endless := open_above & (middle == 0)).any():
        raise DataError(
            f"'{bounds[1]}' is open in {rows(frame, endless)}, and nothing tells how far above 0 the category goes"
            "\n  give it an upper limit"
        )
    notes = []
    if open_below.any():
        notes.append(f"'{bounds[0]}' is open in {rows(frame, open_below)}: taken as 0")
    if open_above.any():
        notes.append(f"'{bounds[1]}' is open in {rows(frame, open_above)}; taken: {'; '.join(how[:_MOST])}")
        notes[-1] += "; and so on" * (len(how) > _MOST)
    return frame.assign(**{dose: middle}), tuple(notes)


def _middles(low: FloatArray, high: FloatArray, groups: IntArray, names: pd.Index) -> tuple[FloatArray, list[str]]:
    """The middle of every category, and of those that are open above how it was taken."""
    middle, how = (low + high) / 2, []
    for row in np.flatnonzero(~np.isfinite(high)).tolist():
        below = np.flatnonzero((groups == groups[row]) & (high > low) & (high <= low[row]))
        nearest = below[np.argmax(high[below])] if len(below) else row
        if low[row] - high[nearest] <= high[nearest] - low[nearest]:
            middle[row] = low[row] + (high[nearest] - low[nearest]) / 2
            rule = f"as wide as {low[nearest]:g} to {high[nearest]:g}"
        else:
            middle[row], rule = 1.2 * low[row], "1.2 times the lower limit"
        how.append(f"row {names[row]}: {low[row]:g} and more as {middle[row]:.6g}, {rule}")
    return middle, how


def with_limits(frame: pd.DataFrame, dose: str) -> tuple[pd.DataFrame, tuple[str, str]] | None:
    """The data with the limits of categories that stand as text in place of a dose, and their two columns.

    None where no cell of the column is such a category. A category is "0", "0.1-11.9", "24 to 36", "36+", ">36" or
    "<1", as papers print it.
    """
    cells = find_column(frame, dose, "dose")
    if pd.api.types.is_numeric_dtype(cells) or pd.api.types.is_bool_dtype(cells):
        return None
    read = [limits_of(cell) for cell in cells]
    if not any(isinstance(cell, str) and each and each[0] != each[1] for cell, each in zip(cells, read, strict=True)):
        return None
    refuse_cells(frame, dose, cells.isna().to_numpy(), "every row needs its dose")
    for row, cell, each in zip(frame.index, cells, read, strict=True):
        if each is None:
            raise DataError(
                f"column '{dose}' holds {shown(cell)} in row {row}, which is no category of dose\n  write it as 0, "
                "0.1-11.9, 36+, >36 or <1, or give the limits in two columns, bounds=('from', 'to')"
            )
    names = (f"{dose}, lower limit", f"{dose}, upper limit")
    low, high = np.array(read, dtype=float).T
    return frame.drop(columns=dose).assign(**dict(zip(names, (low, high), strict=True))), names


def limits_of(cell: Any) -> tuple[float, float] | None:
    """Lower and upper limit of a category as papers print it, NaN where it is open; None for anything else.

    >>> limits_of("0.1-11.9"), limits_of("36+"), limits_of("<1"), limits_of("0"), limits_of("none")
    ((0.1, 11.9), (36.0, nan), (nan, 1.0), (0.0, 0.0), None)
    """
    if not isinstance(cell, str):
        number = float(cell) if isinstance(cell, int | float | np.number) else np.nan
        return (number, number) if np.isfinite(number) else None
    for form, lower, upper in _FORMS:
        if found := form.fullmatch(cell.strip().lower()):
            low, high = (float(found[name]) if name else np.nan for name in (lower, upper))
            return low, high
    return None
