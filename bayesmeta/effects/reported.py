"""What studies report, as a call names it: columns, one number for all rows or one for each, checked and as floats.

A quantity goes by the name that metafor's escalc gives it (`ai`, `m1i`, `ni` ...), whatever the user called it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import is_number, listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.arrays import as_numbers
from bayesmeta.io.columns import column

_LARGEST = 1e150  # its square is a number


@dataclass(frozen=True)
class Source:
    """Where a quantity comes from.

    value : the name of a column, a number for all rows, or numbers, one for each row.
    argument : the argument of the call that names it.
    """

    value: Any
    argument: str


@dataclass(frozen=True, eq=False)
class Reported:
    """The quantities of one call, by name, and the data that they stand in.

    who : the function or measure that asks, for errors about what is lacking.
    corrected : what was added to cells because some were empty, in words, and (n,) in which rows; empty for nothing.
    """

    frame: pd.DataFrame
    sources: Mapping[str, Source]
    who: str
    corrected: dict[str, BoolArray] = field(default_factory=dict)

    def has(self, *names: str) -> bool:
        """Whether all of these are there."""
        return all(name in self.sources for name in names)

    def argument(self, name: str) -> str:
        """What the user calls it."""
        return self.sources[name].argument if name in self.sources else name

    def need(self, *names: str) -> None:
        """SpecError where one of these is not there."""
        if lacking := [name for name in names if name not in self.sources]:
            raise SpecError(
                f"{self.who} needs {listing(lacking)}\n  each is a column of the data; it was called with "
                f"{listing(dict.fromkeys(each.argument for each in self.sources.values())) or 'none'}"
            )

    def real(self, name: str) -> FloatArray:
        """(n,) any numbers, finite or NaN where they are missing."""
        self.need(name)
        values = self._series(name)
        self.refuse(name, np.isinf(values), "is infinite\n  fill in a number, or leave it empty")
        return values.to_numpy()

    def count(self, name: str) -> FloatArray:
        """Numbers of persons or events; a warning where one is a fraction.

        Imputed and weighted counts are fractions, and so is the column of something else.
        """
        values = self.real(name)
        self.refuse(name, values < 0, "is a negative count\n  counts are 0 or more; leave it empty where it is unknown")
        fractional = ~np.isnan(values) & (np.nan_to_num(values) % 1 != 0)
        if fractional.any():
            warn(f"{self.at(name, fractional)} is not a whole number; it is used as it is", AssumptionWarning)
        return values

    def size(self, name: str, least: int = 2, why: str = "") -> FloatArray:
        """Numbers of persons whose values were measured, or of items."""
        values = self.count(name)
        reason = why or (
            "fewer than two persons, which have no standard deviation" if least == 2 else f"less than {least}"
        )
        self.refuse(name, values < least, f"is {reason}\n  check the number, or leave it empty")
        return values

    def sd(self, name: str) -> FloatArray:
        """Standard deviations of persons."""
        values = self.real(name)
        self.refuse(
            name,
            values <= 0,
            "is not a standard deviation, which must be positive\n  leave it empty where it is unknown",
        )
        return values

    def positive(self, name: str, what: str) -> FloatArray:
        """Positive numbers, such as person-time."""
        values = self.real(name)
        self.refuse(name, values <= 0, f"is not {what}, which must be positive")
        return values

    def standard_error(self, name: str) -> FloatArray:
        """Positive numbers whose squares are numbers, too."""
        values = self.positive(name, "a standard error")
        self.refuse(
            name,
            values > _LARGEST,
            "is too large for a standard error, whose square is asked\n  measure the effects in another unit",
        )
        return values

    def between(self, name: str, low: float, high: float, what: str) -> FloatArray:
        """Numbers within bounds, such as correlations."""
        values = self.real(name)
        bounds = f"must be at most {high:g}" if np.isinf(low) else f"must lie between {low:g} and {high:g}"
        self.refuse(
            name,
            (values < low) | (values > high),
            f"is not {what}, which {bounds}\n  check the number, or leave it empty",
        )
        return values

    def correlation(self, name: str) -> FloatArray:
        """Correlations."""
        return self.between(name, -1, 1, "a correlation")

    def pvalue(self, name: str) -> FloatArray:
        """Two-sided p-values, negative where the effect is."""
        values = self.between(name, -1, 1, "a p-value with the sign of its effect")
        self.refuse(
            name,
            values == 0,
            "is not a p-value that says how large the effect is; '<0.001' is a bound"
            "\n  give the exact p-value, or leave it empty",
        )
        return values

    def refuse(self, name: str, bad: "pd.Series | BoolArray", why: str) -> None:
        """DataError where a value of a quantity is bad, naming the row and its study."""
        if np.asarray(bad).any():
            raise DataError(f"{self.at(name, np.asarray(bad))} {why}")

    def named(self, names: Sequence[str]) -> list[str] | None:
        """The columns behind these quantities; None unless each is one."""
        values = [self.sources[name].value for name in names if name in self.sources]
        return values if len(values) == len(names) and all(isinstance(value, str) for value in values) else None

    def row(self, at: int) -> str:
        """A row as errors name it: by its index, with the study's name where a column has it."""
        study = "" if self._studies is None else f" ({self._studies[at]})"
        return f"row {self.frame.index[at]}{study}"

    def at(self, name: str, bad: BoolArray) -> str:
        """The first bad value of a quantity, with its column and row."""
        at = int(np.argmax(bad))
        return f"{self.where(name)}: {self._series(name).iloc[at]:g} in {self.row(at)}"

    def where(self, name: str) -> str:
        """The column of a quantity, or its argument where that is none."""
        value = self.sources[name].value if name in self.sources else None
        return f"column '{value}'" if isinstance(value, str) else self.argument(name)

    def _series(self, name: str) -> pd.Series:
        value, argument = self.sources[name].value, self.argument(name)
        if isinstance(value, str):
            return pd.Series(column(self.frame, value, argument), self.frame.index, dtype=float)
        if is_number(value):
            return pd.Series(float(value), self.frame.index)
        return pd.Series(_one_for_each_row(value, argument, self.frame.index), self.frame.index)

    @cached_property
    def _studies(self) -> list[str] | None:
        """The first column of texts that are all different."""
        for at in range(self.frame.shape[1]):
            cells = self.frame.iloc[:, at]
            texts = cells.tolist()
            if cells.dtype.kind == "O" and all(isinstance(text, str) for text in texts) and cells.is_unique:
                return [" ".join(text.split())[:40] for text in texts]
        return None


def _one_for_each_row(value: Any, argument: str, index: pd.Index) -> FloatArray:
    """Numbers that the user passes in place of a column's name."""
    if not isinstance(value, list | tuple | np.ndarray | pd.Series):
        raise SpecError(
            f"{argument} is {shown(value)}; it must be the name of a column, a number, or one number for each row"
        )
    if isinstance(value, pd.Series) and not value.index.equals(index):
        raise DataError(f"{argument} is a pandas object whose index is not that of the data\n  pass .to_numpy()")
    numbers = as_numbers(value, argument)
    if numbers.shape != (len(index),):
        raise DataError(
            f"{argument} has the shape {numbers.shape}, and the data have {len(index)} rows"
            "\n  give one number for each row, or the name of a column"
        )
    return numbers
