"""The data as the model used them: one row for each row of the input, with estimates, standard errors and groups."""

import numpy as np
import pandas as pd

from bayesmeta.display.tables import NOTHING, Table, number
from bayesmeta.model.spec import Level, Spec

MOST_ROWS = 200


def data_table(spec: Spec, most: int = MOST_ROWS) -> tuple[Table, str]:
    """The table of the first `most` rows, and a sentence about the others, empty where there are none."""
    n = len(spec.row_labels)
    shown = min(n, most)
    columns = [*_groups(spec, shown), *_estimates(spec, shown), *_raw(spec, shown)]
    if not spec.kept[:shown].all():
        columns.append(("used", ["yes" if not why else f"no: {why}" for why in spec.dropped[:shown]]))
    header = tuple(name for name, _ in columns)
    rows = tuple(
        (label, *(cells[i] for _, cells in columns)) for i, label in enumerate((spec.labels or spec.row_labels)[:shown])
    )
    rest = f"The first {shown:,} of {n:,} rows; a results file holds all of them." if shown < n else ""
    return Table("Rows of the data", header, rows), rest


def _groups(spec: Spec, shown: int) -> list[tuple[str, list[str]]]:
    """The labels of every level that is not the row itself."""
    levels = [level for level in spec.levels if not _is_row(level, spec)]
    return [(level.name, _by_row(spec, level, shown)) for level in levels]


def _is_row(level: Level, spec: Spec) -> bool:
    names = spec.labels or spec.row_labels
    labels = [names[row] for row in dict.fromkeys(spec.row.tolist())]
    return [path[-1] for path in level.labels] == labels and level.name not in spec.data.columns


def _by_row(spec: Spec, level: Level, shown: int) -> list[str]:
    cells = [NOTHING] * shown
    for row, group in zip(spec.row, level.index, strict=True):
        if row < shown:
            cells[row] = level.labels[group][-1]
    return cells


def _estimates(spec: Spec, shown: int) -> list[tuple[str, list[str]]]:
    """Every outcome with its standard error."""
    se, columns = np.sqrt(spec.S.variances), []
    for k, outcome in enumerate(spec.outcomes):
        estimates, errors = [NOTHING] * shown, [NOTHING] * shown
        for j in np.flatnonzero((spec.outcome_index == k) & (spec.row < shown)):
            estimates[spec.row[j]], errors[spec.row[j]] = number(spec.y[j], se[j]), number(se[j], se[j])
        columns += [(outcome, estimates), ("SE" if len(spec.outcomes) == 1 else f"SE of {outcome}", errors)]
    return columns


def _raw(spec: Spec, shown: int) -> list[tuple[str, list[str]]]:
    """Columns of the data that the formulas used, other than outcomes and groups."""
    elsewhere = {*spec.outcomes, *(level.name for level in spec.levels)}
    names = [name for name in spec.design.parsed.columns if name not in elsewhere]
    return [(str(name), [_cell(value) for value in spec.data[name].iloc[:shown]]) for name in names]


def _cell(value: object) -> str:
    if pd.isna(value):  # type: ignore[call-overload]
        return NOTHING
    return f"{value:.6g}" if isinstance(value, float) else str(value)
