"""The content of a forest plot, line by line and outcome by outcome, before anything is drawn."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.moderators import without_predictors
from bayesmeta.inference.predict import predict
from bayesmeta.model.spec import Level, Spec
from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.notes import moderators_notes, outcome_notes
from bayesmeta.plots.forest.numbers import ForestNumbers, Interval, shared, stacked
from bayesmeta.plots.forest.subgroups import Overall, Subgroups, overall, subgroups
from bayesmeta.tree.response import Scale
from bayesmeta.tree.specification import spec_from_tree

ORDERS = ("estimate", "weight", "label")
NOT_REPORTED, NOT_USED = "not reported", "Not in the model"


@dataclass(frozen=True)
class Cell:
    """The content of one line for one outcome, on the scale of the model.

    observed : effect estimate with its interval.  blup : prediction with the random effects, of a row or, in the line
    of a heading, of the group.  mean : fitted value of the fixed part.  prediction : interval for the true effect in a
    new group.  weight : share in the pooled estimate.  size : area of the square, 1 for the largest.  words : text in
    place of numbers.  extras : further texts beside them.
    """

    observed: Interval | None = None
    blup: Interval | None = None
    mean: Interval | None = None
    prediction: Interval | None = None
    weight: float = np.nan
    size: float = np.nan
    words: str = ""
    extras: tuple[str, ...] = ()


@dataclass(frozen=True)
class Line:
    """One line of the plot: a heading, a row of the data, one that is not in the model, a result, or a note on one."""

    kind: Literal["heading", "row", "left out", "mean", "common", "prediction", "note"]
    label: str
    cells: tuple[Cell, ...]
    depth: int = 0
    counts: tuple[str, ...] = ()
    row: int = -1


@dataclass(frozen=True)
class ForestContent:
    """All lines, top to bottom, with the headings of their columns.

    headings : upper and lower heading of every column of counts.  numeric : whether a column holds numbers.
    pooled : by outcome the pooled estimate, None where means differ.
    decimals : by outcome the number that its estimates need.
    weighted : whether there is a column of weights.  levels : those whose groups have headings.
    notes : by outcome the sentences below the plot.  general : those for all outcomes.
    extras : headings of further columns of texts beside the numbers.
    """

    lines: tuple[Line, ...]
    outcomes: tuple[str, ...]
    label_heading: str
    headings: tuple[tuple[str, str], ...]
    numeric: tuple[bool, ...]
    pooled: tuple[Interval | None, ...]
    decimals: tuple[int, ...]
    weighted: bool
    levels: tuple[str, ...]
    notes: tuple[tuple[str, ...], ...]
    general: tuple[str, ...] = ()
    extras: tuple[str, ...] = ()

    def cells(self, outcome: int) -> list[Cell]:
        return [line.cells[outcome] for line in self.lines]


def forest_content(
    tree: xr.DataTree,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    order: texts.ByRow | None = None,
    prob: float = 0.95,
    common: bool = False,
    statistics: bool = True,
    scale: Scale | None = None,
) -> ForestContent:
    """The lines of `bm.plots.forest`; its arguments."""
    spec = spec_from_tree(tree)
    numbers = ForestNumbers.of(tree, spec, prob, blup, style.reading(tree, scale))
    groups = None
    if subgroup is not None:
        groups = subgroups(tree, spec, numbers, texts.by_row(spec, subgroup, "subgroup"), prob)
    by = [] if groups is None else [_split(groups, statistics)]
    whole = overall(tree, spec, groups, prob)
    results = whole.numbers if whole else numbers
    source = _Source(
        spec=spec,
        numbers=replace(numbers, weight=results.weight, size=results.size),
        outcomes=texts.positions(spec, outcome),
        fitted=tuple(not any(shown) for shown in zip(numbers.pooled, *(split.means for split in by), strict=True)),
        labels=texts.row_labels(spec, labels),
        counts=texts.counts(spec, columns),
        prediction=f"{percent(prob)} prediction interval" if prediction else "",
    )
    levels = list(_levels(source))
    lines = _section(source, _ordered(source, order), [*by, *levels], 0)
    lines += _left_out(source)
    lines += _common(source, results.pooled, prob) if common else []
    lines += _results(source, source.kept, _overall_label(tree, whole), 0, results.pooled, results)
    below = [
        outcome_notes(tree, spec, j, numbers.pooled[j], style.reading(tree, scale), prob) if statistics else ()
        for j in source.outcomes
    ]
    if whole and statistics:
        of_all = [
            outcome_notes(whole.tree, whole.spec, j, True, style.reading(tree, scale), prob) for j in source.outcomes
        ]
        below = [(*one, *two) for one, two in zip(of_all, below, strict=True)]
    if groups and groups.between and statistics:
        below = [
            (*own, between) if between else own
            for own, between in zip(below, (groups.between[j] for j in source.outcomes), strict=True)
        ]
    moderators = statistics and not groups and not all(numbers.pooled[j] for j in source.outcomes)
    se, of_obs = np.sqrt(spec.S.variances), spec.outcome_index
    return ForestContent(
        lines=tuple(lines),
        outcomes=tuple(spec.outcomes[j] for j in source.outcomes),
        label_heading=source.labels.heading,
        headings=tuple(column.headings for column in source.counts),
        numeric=tuple(column.numeric for column in source.counts),
        pooled=tuple(shared(results.mean, source.kept, j) for j in source.outcomes),
        decimals=tuple(texts.decimals(se[of_obs == j]) for j in source.outcomes),
        weighted=weights and any(results.pooled[j] for j in source.outcomes),
        levels=tuple(split.name for split in levels),
        notes=tuple(below),
        general=moderators_notes(tree, spec) if moderators else (),
    )


@dataclass(frozen=True, eq=False)
class _Source:
    """What all lines are made from.

    outcomes : positions of those that are drawn.  fitted : by outcome whether rows have means of their own that no
    result line shows.
    """

    spec: Spec
    numbers: ForestNumbers
    outcomes: Sequence[int]
    fitted: tuple[bool, ...]
    labels: texts.Labels
    counts: Sequence[texts.Counts]
    prediction: str

    @property
    def kept(self) -> list[int]:
        return np.flatnonzero(self.spec.kept).tolist()

    @property
    def empty(self) -> tuple[Cell, ...]:
        return tuple(Cell() for _ in self.outcomes)


@dataclass(frozen=True, eq=False)
class _Split:
    """One way to group rows under headings.

    codes : (n_rows,) group of every row.  label : of a group.  level : whose BLUP the heading shows, "" for none.
    means : by outcome whether all rows of a group have the same mean, which is then shown on a line below them.
    mean, prediction : (3, n_rows, k) these means and the intervals of new groups.  notes : by group, below its mean.
    """

    name: str
    codes: IntArray
    label: Callable[[int], str]
    level: str = ""
    means: tuple[bool, ...] = ()
    mean: FloatArray | None = None
    prediction: FloatArray | None = None
    notes: Mapping[int, str] = field(default_factory=dict)


def _section(source: _Source, rows: Sequence[int], splits: Sequence[_Split], depth: int) -> list[Line]:
    """Lines of these rows, under headings of the first split, within them of the next, and so on."""
    if not splits:
        return [_row(source, row, depth) for row in rows]
    split, lines = splits[0], []
    codes = split.codes[list(rows)].tolist()
    if not split.means and len(set(codes)) == len(rows):  # headings of one row each would only repeat it
        names = [split.label(code) if source.labels.numbers else "" for code in codes]
        return [_row(source, row, depth, name) for row, name in zip(rows, names, strict=True)]
    for code in dict.fromkeys(codes):
        own, label = [row for row in rows if split.codes[row] == code], split.label(code)
        group = source.numbers.blups.get(split.level)
        cells = source.empty if group is None else tuple(Cell(blup=shared(group, own, j)) for j in source.outcomes)
        lines.append(Line("heading", label, cells, depth))
        lines += _section(source, own, splits[1:], depth + 1)
        lines += _results(source, own, f"Mean, {label}", depth + 1, split.means, split)
        if note := split.notes.get(code, ""):
            lines.append(Line("note", note, source.empty, depth + 1))
    return lines


def _row(source: _Source, row: int, depth: int, name: str = "") -> Line:
    cells = tuple(_cell(source, row, j) for j in source.outcomes)
    return Line("row", name or source.labels.texts[row], cells, depth, tuple(c.texts[row] for c in source.counts), row)


def _cell(source: _Source, row: int, j: int) -> Cell:
    n = source.numbers
    observed = n.at(n.observed, row, j)
    innermost = n.blups.get(source.spec.levels[-1].name)
    return Cell(
        observed=observed,
        blup=n.at(innermost, row, j) if innermost is not None else None,
        mean=n.at(n.mean, row, j) if source.fitted[j] else None,
        weight=float(n.weight[row, j]),
        size=float(n.size[row, j] / np.nanmax(n.size[:, j])),
        words="" if observed else NOT_REPORTED,
    )


def _split(groups: Subgroups, annotated: bool) -> _Split:
    return _Split(
        groups.name,
        groups.codes,
        groups.label,
        means=groups.drawn,
        mean=groups.mean,
        prediction=groups.prediction,
        notes=groups.notes if annotated else {},
    )


def _levels(source: _Source) -> Iterator[_Split]:
    """Levels with several rows in a group, outer to inner."""
    effects = False
    for level in source.spec.levels:
        effects = effects or level.dim > 0
        codes = np.full(len(source.spec.kept), -1, np.int64)
        codes[source.spec.row] = level.index
        if len({*codes[source.kept].tolist()}) < len(source.kept):
            label = partial(_group_label, level)
            yield _Split(level.name, codes, label, level.name if effects else "")


def _group_label(level: Level, code: int) -> str:
    return texts.named(level.name, level.labels[code][-1])


def _results(
    source: _Source, own: list[int], label: str, depth: int, drawn: Sequence[bool], numbers: _Split | ForestNumbers
) -> list[Line]:
    """The mean of these rows and the prediction interval, for the outcomes where all of them share one."""
    if not any(drawn):
        return []
    assert numbers.mean is not None
    means = _shared(source, numbers.mean, own, drawn)
    weights = [
        float(np.nansum(source.numbers.weight[own, j])) if x else np.nan
        for j, x in zip(source.outcomes, means, strict=True)
    ]
    weights = [x or np.nan for x in weights]
    lines = [Line("mean", label, tuple(Cell(mean=x, weight=w) for x, w in zip(means, weights, strict=True)), depth)]
    if source.prediction and numbers.prediction is not None:
        intervals = _shared(source, numbers.prediction, own, drawn)
        if any(intervals):
            lines.append(Line("prediction", source.prediction, tuple(Cell(prediction=x) for x in intervals), depth))
    return lines if any(cell.mean for cell in lines[0].cells) else []


def _overall_label(tree: xr.DataTree, whole: Overall | None) -> str:
    """Of the pooled estimate, which says where it comes from another model than the subgroups."""
    label = texts.pooled_label(tree)
    return f"{label[:-1]}, without subgroups)" if whole else label


def _common(source: _Source, pooled: Sequence[bool], prob: float) -> list[Line]:
    """The pooled estimate if all true effects were the same."""
    spec = source.spec if all(source.numbers.pooled) else without_predictors(source.spec)
    common = stacked(predict(fit(spec, "fixed"), interval="confidence", prob=prob))
    means = _shared(source, common, source.kept, pooled)
    return [Line("common", "Common effect", tuple(Cell(mean=x) for x in means))] if any(means) else []


def _shared(source: _Source, values: FloatArray, own: list[int], drawn: Sequence[bool]) -> list[Interval | None]:
    return [shared(values, own, j) if drawn[j] else None for j in source.outcomes]


def _left_out(source: _Source) -> list[Line]:
    rows = np.flatnonzero(~source.spec.kept).tolist()
    lines = [Line("heading", NOT_USED, source.empty)] if rows else []
    for row in rows:
        words = tuple(Cell(words=source.spec.dropped[row]) for _ in source.outcomes)
        lines.append(
            Line("left out", source.labels.texts[row], words, 1, tuple(c.texts[row] for c in source.counts), row)
        )
    return lines


def _ordered(source: _Source, order: texts.ByRow | None) -> list[int]:
    """Kept rows in the requested order, for the first outcome; those without a value last."""
    if order is None:
        return source.kept
    first, n, data = source.outcomes[0], source.numbers, source.spec.data
    if isinstance(order, str) and order in ORDERS:
        values = {"estimate": n.observed[0, :, first], "weight": -n.size[:, first], "label": source.labels.texts}
        keys = pd.Series(values[order])
    elif isinstance(order, str) and order not in data:
        raise SpecError(
            f"order={shown(order)} is neither one of {listing(ORDERS)} nor a column in this tree"
            f"{did_you_mean(order, [*ORDERS, *data.columns])}\n"
            f"  columns: {listing(data.columns, 20)}; for another one give the values: order=data[{shown(order)}]"
        )
    else:
        keys = texts.by_row(source.spec, order, "order")
    return keys.loc[source.kept].sort_values(kind="stable", na_position="last").index.tolist()
