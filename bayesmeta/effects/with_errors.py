"""Effects as papers report them, with standard errors or intervals, on their own scale or as ratios."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import shown
from bayesmeta.effects.printed import from_interval
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, rows
from bayesmeta.measures import measure as measure_named

_Y, _V = "(y)", "(v)"  # columns of a working copy


def two_columns(names: Any, what: str) -> tuple[str, str]:
    """The names of the columns of a lower and an upper limit."""
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != 2:
        raise SpecError(f"{what} is {shown(names)}; it must be two columns, the lower and the upper limit")
    return names[0], names[1]


def without_error(frame: pd.DataFrame, se: str | None, interval: Any) -> BoolArray:
    """Rows whose standard error is missing or zero, or whose interval is missing or has no width."""
    if se is not None:
        return np.asarray(~(column(frame, se, "se") > 0))
    low, high = (column(frame, name, "interval") for name in two_columns(interval, "interval"))
    return np.asarray(~(np.isfinite(low) | np.isfinite(high)) | (low == high))


def reported_effects(
    frame: pd.DataFrame, y: str, se: str | None, interval: Any, scale: str, measure: str, there: BoolArray
) -> tuple[FloatArray, FloatArray]:
    """(n,) effects on the scale of the model and their variances, in rows that have one; else 0 and NaN.

    Parameters
    ----------
    frame : data with the columns y and se, or those of the two limits of the 95 % interval; with neither variances are
        NaN.
    scale : "response" for ratios as they are printed, "model" for their logarithms.
    measure : of the effects, which says whether they are ratios.
    there : (n,) rows with an effect of their own.
    """
    effects, variances = np.zeros(len(frame)), np.full(len(frame), np.nan)
    if interval is not None:
        limits = two_columns(interval, "interval")
        read = from_interval(frame[there], y, limits, measure=measure, scale=scale, names=(_Y, _V))  # type: ignore[arg-type]
        effects[there], variances[there] = read[_Y], read[_V]
        return effects, variances
    values = column(frame, y, "y")
    if scale == "response":
        record = measure_named(measure)
        if not record.is_ratio:
            raise SpecError(f"scale='response': effects of measure '{measure}' are no ratios\n  leave scale out")
        if not (values[there] > 0).all():
            raise DataError(
                f"column '{y}' has a ratio that is not positive in {rows(frame, there & ~(values > 0))}"
                "\n  for effects that are logarithms already leave scale= out"
            )
        effects[there] = np.log(values[there])
    else:
        effects[there] = values[there]
    if se is not None:
        variances[there] = column(frame, se, "se")[there] ** 2
    return effects, variances
