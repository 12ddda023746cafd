"""Columns of two arms in, columns of estimates out: what all effect measures share."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import listing, shown
from bayesmeta.errors import BayesmetaWarning, SpecError, warn
from bayesmeta.io.columns import as_frame

Arms = Sequence[str]  # the column of the first arm and that of the second
Estimate = tuple[FloatArray, FloatArray]  # (n,) effect estimates and their sampling variances


def frame_of(data: Any) -> pd.DataFrame:
    """The data, with what earlier calls recorded about their columns."""
    frame = as_frame(data, "data")
    frame.attrs = dict(getattr(data, "attrs", {}))
    return frame


def is_pair(names: object) -> bool:
    """Whether this is two names."""
    pair = isinstance(names, Sequence) and not isinstance(names, str) and len(names) == 2
    return pair and all(isinstance(name, str) for name in names)  # type: ignore[attr-defined]


def arm_names(arms: Any, columns: Arms) -> tuple[str, str] | None:
    """The names of the arms that the user gives, else what sets the names of their columns apart, where it is words.

    >>> arm_names(None, ("events_vaccine", "events_control")), arm_names(None, ("tpos", "cpos"))
    (('vaccine', 'control'), None)
    """
    if arms is not None:
        if not is_pair(arms) or arms[0] == arms[1] or not all(name.strip() for name in arms):
            raise SpecError(f"arms is {shown(arms)}; it must be two names, of the first arm and of the second")
        return arms[0], arms[1]
    first, second = (re.split(r"[_. ]+", name) for name in columns)
    differ = [(a, b) for a, b in zip(first, second, strict=False) if a != b]
    if not 1 < len(first) == len(second) or len(differ) != 1:
        return None
    return differ[0] if all(word.isalpha() and len(word) > 2 for word in differ[0]) else None


def with_estimates(
    frame: pd.DataFrame,
    measure: str,
    estimate: Estimate,
    names: Sequence[str],
    arms: tuple[str, str] | None,
    corrected: Mapping[str, BoolArray] | None = None,
    **reported: Arms | None,
) -> pd.DataFrame:
    """The data with the estimates, NaN and a warning where there is none with a positive variance.

    Their attributes tell `specify` what the estimates are, column by column, and `measure` and `arms` of the last call.

    corrected : what was added to empty cells, in words, and (n,) in which rows.
    reported : the columns of the two arms that the estimates were made from, by what they hold.
    """
    ours = frame.attrs.get("columns", {})  # written by earlier calls, and the same call may be run again
    if not is_pair(names) or names[0] == names[1] or not all(name.strip() for name in names):
        raise SpecError(
            f"names is {shown(names)}; it must be two names, for the columns of the estimate and of its variance"
        )
    for name in names:
        if name in frame.columns and ours.get(name) != measure:
            raise SpecError(f"names: the data already have a column '{name}'; choose another name for the new one")
    y, v = estimate
    usable = np.isfinite(y) & np.isfinite(v) & (v > 0)
    table = frame.assign(**{names[0]: np.where(usable, y, np.nan), names[1]: np.where(usable, v, np.nan)})
    compared = frame.attrs.get("column_arms", {}) | {names[0]: arms}
    table.attrs = {**frame.attrs, "measure": measure, "columns": ours | dict.fromkeys(names, measure)}
    made_from = {what: list(columns) for what, columns in reported.items() if columns is not None}
    behind = frame.attrs.get("arm_columns", {}) | {names[0]: made_from}
    table.attrs |= {"arms": arms, "column_arms": compared, "arm_columns": behind}
    # by estimate and variance, which rows keep when they are sorted, chosen or named anew
    cells = {words: np.column_stack([y, v])[usable & rows].tolist() for words, rows in (corrected or {}).items()}
    others = {name: each for name, each in frame.attrs.get("corrected", {}).items() if name != names[0]}
    table.attrs |= {"corrected": others | ({names[0]: cells} if cells else {})}
    if not table.attrs["corrected"]:
        del table.attrs["corrected"]
    if not usable.all():
        _report(frame.index, np.isnan(y) & np.isnan(v), usable)
    return table


def _report(index: pd.Index, missing: BoolArray, usable: BoolArray) -> None:
    reasons = {
        "a value is missing or left out": missing,
        "it is infinite or its variance is not positive": ~usable & ~missing,
    }
    clauses = [f"rows {listing(index[rows])}, where {why}" for why, rows in reasons.items() if rows.any()]
    count = f"{int((~usable).sum())} of {len(usable)} rows"
    warn(f"no effect estimate in {'; in '.join(clauses)} ({count})", BayesmetaWarning)
