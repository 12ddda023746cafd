"""Effects as papers report them, with standard errors or intervals, on their own scale or as ratios."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import shown
from bayesmeta.effects.printed import from_interval
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, rows
from bayesmeta.io.long_tables import refuse_cells
from bayesmeta.measures import measure as measure_named

_Y, _V = "(y)", "(v)"  # columns of a working copy


def two_columns(names: Any, what: str) -> tuple[str, str]:
    """The names of the columns of a lower and an upper limit."""
    if isinstance(names, str) or not isinstance(names, Sequence) or len(names) != 2:
        raise SpecError(f"{what} is {shown(names)}; it must be two columns, the lower and the upper limit")
    return names[0], names[1]


class Errors(NamedTuple):
    """Which effects have an error, and in which columns.

    missing : (n,) rows whose standard error is missing or zero, or whose interval is missing or has no width.
    columns : that of the standard errors, or those of the two limits.
    """

    missing: BoolArray
    columns: tuple[str, ...]

    @classmethod
    def of(cls, frame: pd.DataFrame, se: str | None, interval: Any, group: str) -> "Errors":
        """Of a table; DataError for standard errors that are negative or infinite."""
        if se is not None:
            values = column(frame, se, "se")
            odd = (values < 0) | np.isinf(values)
            refuse_cells(frame, se, odd, "a standard error must be positive, or missing at a reference", group)
            return cls(np.asarray(~(values > 0)), (se,))
        names = two_columns(interval, "interval")
        low, high = (column(frame, name, "interval") for name in names)
        return cls(np.asarray(~(np.isfinite(low) | np.isfinite(high)) | (low == high)), names)

    @property
    def lacking(self) -> str:
        """What a row without an error has, in words."""
        noun = "standard error" if len(self.columns) == 1 else "interval"
        return f"no {noun} ({' to '.join(map(repr, self.columns))})"

    def at(self, frame: pd.DataFrame, row: int) -> str:
        """The error at a position, in words."""
        values = " to ".join(f"{frame[name].iloc[row]:g}" for name in self.columns)
        noun = "a standard error of" if len(self.columns) == 1 else "an interval of"
        return f"{noun} {values} ({' to '.join(map(repr, self.columns))})"


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
