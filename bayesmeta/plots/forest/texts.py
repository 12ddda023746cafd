"""The texts and numbers of a forest plot, and columns that users give by row."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._validation import check_name, check_names
from bayesmeta.display.tables import MINUS, percent, ratio_text
from bayesmeta.display.tables import decimals as decimals
from bayesmeta.display.tables import signed as signed
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.model.spec import Spec
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading
from bayesmeta.tree.row_labels import ByRow as ByRow
from bayesmeta.tree.row_labels import by_row as by_row

_MISSING = "–"

type Columns = pd.DataFrame | Mapping[Any, ByRow | Mapping[Any, ByRow]] | Sequence[str]
"""Columns with one value for each row of the data, under their headings, or the names of columns in the tree."""


@dataclass(frozen=True)
class Labels:
    """The labels of all rows, with their heading; `numbers` where rows have only numbers for names."""

    heading: str
    texts: list[str]
    numbers: bool = False


@dataclass(frozen=True)
class Counts:
    """One column beside the labels: its upper and lower heading, the texts of all rows, whether these are numbers."""

    headings: tuple[str, str]
    texts: list[str]
    numeric: bool


def row_labels(spec: Spec, labels: ByRow | None = None) -> Labels:
    """The labels that the user gives, else those of the specification, of the innermost level, or of the rows."""
    if labels is not None:
        column = by_row(spec, labels, "labels")
        row_texts = [
            f"row {row}" if pd.isna(x) or not str(x).strip() else plain(x)
            for x, row in zip(column, spec.row_labels, strict=True)
        ]
        return Labels(heading(column.name if isinstance(column.name, str) else "Study"), row_texts)
    if spec.labels is not None:
        return Labels(_heading_of(spec), list(spec.labels))
    index, inner = spec.data.index, spec.levels[-1]
    numbered = isinstance(index, pd.RangeIndex) and index.equals(pd.RangeIndex(len(index)))
    if numbered and inner.name in spec.data and len(set(spec.row)) == len({*inner.index}):
        return Labels(heading(inner.name), [named(inner.name, x) for x in spec.data[inner.name]])
    name = "" if index.name is None else str(index.name)
    above = inner.name if inner.name in spec.data else "Row"
    return Labels(heading(name or above), [named(name or "row", x) for x in spec.row_labels], numbered)


def _heading_of(spec: Spec) -> str:
    """The name of the column or index that holds the labels of a specification, "Study" where neither does."""
    assert spec.labels is not None
    columns = [(spec.data.index.name, spec.data.index), *((name, spec.data[name]) for name in spec.data)]
    names = [name for name, values in columns if name and [*map(str, values)] == list(spec.labels)]
    return heading(str(names[0])) if names else "Study"


def named(kind: str, label: object) -> str:
    """A label, preceded by its kind where it is only a number: "district 11", but "Aronson (1948)"."""
    text = "missing" if label is None or label is pd.NA or label != label else plain(label)
    return text if any(letter.isalpha() for letter in text) and text != "missing" else f"{kind} {text}"


def heading(text: str) -> str:
    return text[:1].upper() + text[1:]


def plain(value: object) -> str:
    """The text of a cell: whole numbers without decimals, a dash for a missing value."""
    if value is None or value is pd.NA or value != value:
        return _MISSING
    if isinstance(value, float | np.floating):
        return f"{value:.6g}".replace("-", MINUS)
    return str(value)


def counts(spec: Spec, columns: Columns | None) -> list[Counts]:
    """Columns of counts: by name, from a data frame, or from a mapping of headings to values by row."""
    result = []
    for upper, lower, column in _headed(columns):
        values = by_row(spec, column, f"columns[{lower!r}]")
        numeric = pd.api.types.is_numeric_dtype(values)
        result.append(Counts((upper, lower), [plain(value) for value in values], numeric))
    return result


def _headed(columns: Columns | None) -> Iterator[tuple[str, str, ByRow]]:
    """Upper heading, lower heading and values of every column."""
    if columns is None:
        return
    if isinstance(columns, list | tuple) and all(isinstance(name, str) for name in columns):
        columns = {name: name for name in check_names(columns, "columns", empty=True)}
    if not isinstance(columns, Mapping | pd.DataFrame):
        raise SpecError(
            f"columns is a {type(columns).__name__}; give a list of names of columns, a data frame, or a dict of "
            "headings to values by row"
        )
    for name in columns:
        values = columns[name]
        if isinstance(values, Mapping):
            yield from ((str(name), str(lower), below) for lower, below in values.items())
        elif isinstance(name, tuple) and len(name) == 2:
            yield str(name[0]), str(name[1]), values
        else:
            yield "", str(name), values


def pooled_label(tree: xr.DataTree) -> str:
    method = "posterior" if is_posterior(tree) else method_of(tree).short
    return f"Pooled ({method})"


def effect_heading(tree: xr.DataTree, reading: Reading, prob: float) -> str:
    """Heading of the numbers, such as "OR [95% CI]"; "interval" for a posterior, since pooled ones are credible."""
    return f"{reading.short_label} [{percent(prob)} {'interval' if is_posterior(tree) else 'CI'}]"


def interval_text(interval: Interval, places: int, reading: Reading, only_bounds: bool = False) -> str:
    """An estimate with its interval, such as "0.41 [0.13, 1.26]"."""
    texts = [_written(x, places, reading) for x in (interval.estimate, interval.lower, interval.upper)]
    bounds = "[no interval]" if np.isnan([interval.lower, interval.upper]).any() else f"[{texts[1]}, {texts[2]}]"
    return bounds if only_bounds else f"{texts[0]} {bounds}"


def _written(effect: float, places: int, reading: Reading) -> str:
    """A number as it is read; what is no ratio, such as a rate, in three digits, since its size is its own."""
    if reading.log and reading.record.null is not None:
        return ratio_text(effect, max(places, 2))
    value = float(reading.values(effect))
    return f"{value:.3g}".replace("inf", "∞") if reading.log else signed(value, max(places, 2 * reading.response))


def positions(spec: Spec, outcome: str | Sequence[str] | None) -> list[int]:
    """Positions of the outcomes that are drawn."""
    outcomes = list(spec.outcomes) if outcome is None else check_names(outcome, "outcome")
    for each in outcomes:
        check_name(each, spec.outcomes, "no outcome", "outcomes")
    return [spec.outcomes.index(each) for each in outcomes]
