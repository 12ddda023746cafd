"""Sampling covariances by group that carry what was assumed to make them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import is_number, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, find_column, group_labels, label, rows

SMALLEST = 1e-10  # eigenvalue of a correlation matrix below which it is not positive definite
ROUNDING = 1e-14  # the same of assumed ones; what is nearly singular beyond rounding is the business of `specify`


class AssumedCovariance(dict[Any, FloatArray]):
    """Sampling covariances, a matrix for each group, with what was assumed to make them.

    A dict {label of the group: (rows, rows) matrix in the order of the data}, as `bm.specify` takes it for `S`.

    Parameters
    ----------
    matrices : mapping
        The matrices by label.
    words : str
        What was assumed, in a sentence without its full stop; specifications, summaries and methods texts have it.
    builder : str
        Name of the function of `bm.within` that made them.
    arguments : mapping or None
        Its arguments but the data. They are kept where all are plain values, so that `bm.rho_sensitivity` can make the
        matrices of another correlation.
    """

    def __init__(
        self, matrices: Mapping[Any, FloatArray], words: str, builder: str, arguments: Mapping[str, Any] | None
    ) -> None:
        super().__init__(matrices)
        self.words, self.builder = words, builder
        self.arguments = None if arguments is None else plain(arguments)

    @property
    def group(self) -> str | None:
        """The column of the groups, or of the clusters, that have the matrices; None where it was not kept."""
        arguments = self.arguments or {}
        return arguments.get("group", arguments.get("cluster"))

    def record(self) -> dict[str, Any]:
        """What a specification keeps."""
        return {"words": self.words, "builder": self.builder, "arguments": self.arguments}


def plain(arguments: Mapping[str, Any]) -> dict[str, Any] | None:
    """Arguments as values that JSON holds; None where one of them is a table or a function."""
    kept: dict[str, Any] = {}
    for name, value in arguments.items():
        if value is None:
            continue
        if isinstance(value, dict):
            value = {str(key): each for key, each in value.items()}
        numbers = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(each, str | bool) or is_number(each) for each in numbers):
            return None
        kept[name] = list(value) if isinstance(value, tuple) else value
    return kept


class Groups:
    """The groups of a column: their labels, and the rows of each in the order of the data."""

    def __init__(self, frame: pd.DataFrame, name: str, found: Mapping[Any, IntArray]) -> None:
        self.frame, self.name, self.rows = frame, name, dict(found)

    def called(self, key: Any) -> str:
        return f"{self.name} {label(key)}"

    def scalar(self, value: Any, what: str, low: float = -1.0) -> dict[Any, float]:
        """A correlation for each group: one for all, by the label of the group, or from a column, constant in each.

        low : below which, or at which, no correlation of this kind lies.
        """
        if isinstance(value, str):
            return self._from_column(value, what, low)
        if isinstance(value, Mapping):
            texts = {str(key): each for key, each in value.items()}
            lacking = [key for key in self.rows if str(key) not in texts]
            if lacking:
                raise SpecError(
                    f"{what} has no correlation for {self.name} {listing(map(label, lacking))}\n"
                    "  name every group, or give one number for all"
                )
            unknown = set(texts) - {str(key) for key in self.rows}
            if unknown:
                raise SpecError(
                    f"{what} has correlations for {self.name} {listing(sorted(unknown))}, not in the data"
                    "\n  its keys must be labels of the data"
                )
            return {key: in_range(texts[str(key)], f"{what} of {self.called(key)}", low) for key in self.rows}
        number = in_range(value, what, low)
        return dict.fromkeys(self.rows, number)

    def _from_column(self, name: str, what: str, low: float) -> dict[Any, float]:
        values, found = column(self.frame, name, what), {}
        for key, at in self.rows.items():
            own = np.unique(values[at][~np.isnan(values[at])])
            if len(own) != 1:
                several = f"several values ({listing(f'{v:g}' for v in own)})" if len(own) else "no value"
                raise DataError(f"column '{name}' ({what}) has {several} in {self.called(key)}; it must have one")
            found[key] = in_range(float(own[0]), f"column '{name}' ({what}) in {self.called(key)}", low)
        return found


def in_range(value: Any, what: str, low: float = -1.0) -> float:
    """A correlation, after a check that it lies between `low` and 1 without them (0 without 1 for low=0)."""
    if not is_number(value):
        raise SpecError(f"{what} is {shown(value)}; it must be a number between {low:g} and 1")
    number = float(value)
    inside = (low <= number if low == 0 else low < number) and number < 1
    if not inside:
        raise SpecError(f"{what} is {number:g}; it must lie between {low:g} and 1")
    return number


def of_correlations(
    groups: Groups,
    variances: FloatArray,
    correlation: Callable[[Any, IntArray], FloatArray],
    check: bool = True,
    repair: Callable[[FloatArray], FloatArray] | None = None,
    rho: Mapping[Any, float] | None = None,
) -> dict[Any, FloatArray]:
    """The covariances of every group from its correlations, which must be positive definite where variances are known.

    repair : makes a matrix positive definite that is not. rho : of every group the number to which its correlations
    are in proportion, where there is one.
    """
    sd, made = np.sqrt(variances), {}
    for key, at in groups.rows.items():
        R = correlation(key, at)
        known = np.flatnonzero(~np.isnan(sd[at]))
        if check and len(known):
            inside = R[np.ix_(known, known)]
            smallest = float(np.linalg.eigvalsh(inside)[0])
            if smallest < ROUNDING and repair is not None:
                R = R.copy()
                R[np.ix_(known, known)] = repair(inside)
            elif smallest < ROUNDING:
                raise indefinite(groups.called(key), smallest, None if rho is None else rho[key])
        made[key] = R * np.outer(sd[at], sd[at])
    return made


def indefinite(name: str, smallest: float, rho: float | None = None) -> DataError:
    """About correlations R whose smallest eigenvalue is not positive, with the nearest that are possible.

    All shrunk by t they have the eigenvalues 1 + t (those of R less 1), so t must stay below 1 / (1 - the smallest).

    rho : the one number that all are in proportion to, where there is one.
    """
    factor = 1 / (1 - smallest)
    nearest = f"the nearest valid ones are less than {factor:.4g} times these"
    if rho is not None:
        nearest = f"with rho {rho:g}; the nearest valid rho is {factor * rho:.4g}"
    return DataError(
        f"the correlations assumed in {name} are not those of any data, {nearest}\n  the smallest eigenvalue of their "
        f"matrix is {smallest:.3g}; nearpd=True of bm.within.vcalc, or bm.within.nearest, repairs a matrix"
    )


def check_column(name: Any, what: str) -> str:
    """The name of a column, which must be text."""
    if not isinstance(name, str):
        raise SpecError(f"{what} is {shown(name)}; it must be the name of a column")
    return name


def check_variances(frame: pd.DataFrame, name: str, what: str) -> FloatArray:
    """A column of sampling variances, positive and finite where it is not missing."""
    variances = column(frame, name, what)
    for bad, word in ((variances < 0, "negative"), (variances == 0, "zero"), (np.isinf(variances), "infinite")):
        if bad.any():
            row = frame.index[int(np.argmax(bad))]
            raise DataError(
                f"column '{name}' is {word} in row {row}; sampling variances are positive and finite"
                "\n  fill it in, or drop the row"
            )
    return variances


def codes_of(frame: pd.DataFrame, name: str, what: str) -> tuple[IntArray, list[str]]:
    """(n,) which category of a column a row has, and the categories as text; DataError where one is missing."""
    codes, texts = pd.factorize(group_labels(find_column(frame, name, what)))
    if (codes < 0).any():
        raise DataError(
            f"column '{name}' ({what}) is missing in {rows(frame, codes < 0)}\n  fill it in, or drop the rows"
        )
    return codes, [str(text) for text in texts]


def complete(frame: pd.DataFrame, name: str, what: str) -> FloatArray:
    """A column of finite numbers without missing ones."""
    values = column(frame, name, what)
    bad = ~np.isfinite(values)
    if bad.any():
        raise DataError(
            f"column '{name}' ({what}) is missing or infinite in {rows(frame, bad)}\n  fill it in, or drop the rows"
        )
    return values
