"""Doses of categories that are printed as intervals: their middles, and a rule for open ends."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._validation import shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, find_column, rows


def with_midpoints(frame: pd.DataFrame, dose: str, bounds: Any, group: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The data with the middle of every category as its dose, and what was assumed of open ends.

    An open lower end is 0. An open upper end makes the category as wide as its neighbour, the last one of its group,
    such as a study, before it, which may end a little lower, as 2.6 to 9.3 does before 9.4; where there is none, or it
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
        raise DataError(f"'{bounds[0]}' is open, and '{bounds[1]}' below 0, in {rows(frame, negative)}")
    low = np.where(open_below, 0.0, low)
    if (crossed := ~open_above & (high < low)).any():
        at = int(np.argmax(crossed))
        raise DataError(
            f"column '{bounds[1]}' is below '{bounds[0]}' in {rows(frame, crossed)}: the first goes from {low[at]:g} "
            f"to {high[at]:g}\n  bounds are the lower limit first, then the upper one"
        )
    middle, groups = np.where(open_above, np.nan, (low + high) / 2), pd.factorize(find_column(frame, group, "study"))[0]
    width, notes = high - low, []
    for row in np.flatnonzero(open_above):
        below = np.isfinite(high) & (high <= low[row]) & (width > 0) & (groups == groups[row])
        neighbours = width[below & (high == high[below].max(initial=-np.inf)) & (low[row] - high <= width)]
        middle[row] = low[row] + neighbours.mean() / 2 if len(neighbours) else 1.2 * low[row]
    if open_below.any():
        notes.append(f"'{bounds[0]}' is open in {rows(frame, open_below)}: taken as 0")
    if open_above.any():
        notes.append(
            f"'{bounds[1]}' is open in {rows(frame, open_above)}: as wide as its neighbour, or, where there "
            "is none, its dose as 1.2 times the lower limit"
        )
    return frame.assign(**{dose: middle}), tuple(notes)
