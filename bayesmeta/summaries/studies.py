"""The table of studies: what each reports, its estimate with interval and weight, and the pooled estimate below."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, check_names, shown
from bayesmeta.display import remarks
from bayesmeta.display.paper import ALARM, DASH, TO, PaperTable, Section, typeset
from bayesmeta.display.tables import decimals, fixed, percent, ratio_text, signed
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.predict import predict
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.inference.reference import reference_of_fit
from bayesmeta.inference.weights import by_row, covariances, gls_weights, pooled_weights
from bayesmeta.model.spec import Spec
from bayesmeta.summaries.paper_notes import interval_name, measured
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale, has_predictors, measure_of, reading
from bayesmeta.tree.row_labels import row_labels
from bayesmeta.tree.specification import spec_from_tree

type Columns = str | Sequence[str] | Mapping[str, str | tuple[str, str]]
"""Columns of the data by name, or under headings: one column, or two as "4/123", such as events and persons."""

_BOUNDS = ("lower", "upper")


@dataclass(frozen=True)
class _Column:
    """Texts of all rows of the data under a heading."""

    heading: str
    texts: Sequence[str]


def studies_table(tree: xr.DataTree, prob: float, scale: Scale | None, columns: Columns | None) -> PaperTable:
    """The rows that are in the model, and where they share one mean the pooled estimate.  scale : None is as read."""
    record = measure_of(tree)
    own: Scale = "response" if record.has_response else "model"
    read = reading(tree, own if scale is None else scale)
    spec, z = spec_from_tree(tree), quantile(prob)
    pooled = not has_predictors(tree) and not tree.attrs["offset"]
    beside = _chosen(spec, columns) if columns is not None else _reported(spec)
    effects = [_Effects(tree, spec, read, j, prob, z, pooled) for j in range(len(spec.outcomes))]
    kept = np.flatnonzero(spec.kept).tolist()
    labels = row_labels(spec)
    rows = [
        (labels[i], *(column.texts[i] for column in beside), *(cell for each in effects for cell in each.row(i)))
        for i in kept
    ]
    header = (*(column.heading for column in beside), *(name for each in effects for name in each.header()))
    sections = [Section("", tuple(rows))]
    if pooled:
        empty = [""] * len(beside)
        results = [each.results() for each in effects]
        of_all = [(label, *empty, *(cell for own in results for cell in own[label])) for label in results[0]]
        sections = [Section("Studies", tuple(rows)), Section(_pooled_title(tree), tuple(of_all))]
    alarms = tuple(f"{ALARM}: {alarm}." for alarm in remarks.alarms(tree))
    caption = f"Studies{measured(tree)}" if read.response else f"Studies: {record.label}"
    caption = caption if record.name != "generic" else "Studies"
    notes = tuple(_notes(tree, spec, read, prob, pooled))
    return PaperTable(caption, header, tuple(sections), notes, "Study", alarms)


def _pooled_title(tree: xr.DataTree) -> str:
    return f"Pooled ({'posterior' if is_posterior(tree) else method_of(tree).short})"


@dataclass(frozen=True, eq=False)
class _Effects:
    """The cells of one outcome."""

    tree: xr.DataTree
    spec: Spec
    read: Reading
    outcome: int
    prob: float
    z: float
    pooled: bool

    def header(self) -> tuple[str, ...]:
        """Heading of estimates with intervals, and of weights."""
        record, several = self.read.record, len(self.spec.outcomes) > 1
        label = record.short_label_of(self.read.response) if record.name != "generic" else "Estimate"
        own = f"{self.spec.outcomes[self.outcome]}, " if several else ""
        words = f"{own}{label} ({percent(self.prob)} {'interval' if is_posterior(self.tree) else 'CI'})"
        return (words, "Weight (%)") if self.pooled else (words,)

    def row(self, i: int) -> tuple[str, ...]:
        """Estimate with interval and weight of a row; dashes where it does not report the outcome."""
        values = self._observed[:, i, self.outcome]
        if np.isnan(values[0]):
            return (DASH, DASH) if self.pooled else (DASH,)
        weight = (fixed(100 * float(self._weight[i, self.outcome]), 1),) if self.pooled else ()
        return (self._text(*values), *map(typeset, weight))

    def results(self) -> dict[str, tuple[str, ...]]:
        """The mean and, where effects vary, the interval of a new one, by label."""
        mean = predict(self.tree, interval="confidence", prob=self.prob)
        total = fixed(100 * float(np.nansum(self._weight[:, self.outcome])), 1)
        lines: dict[str, tuple[str, ...]] = {
            "Mean": (self._text(*(self._of_first(mean, name) for name in ("mean", *_BOUNDS))), total)
        }
        if remarks.varies(self.tree):
            new = predict(self.tree, interval="prediction", prob=self.prob)
            bounds = [self._number(self._of_first(new, name)) for name in _BOUNDS]
            lines["Prediction interval"] = (TO.join(bounds), "")
        return lines

    def _of_first(self, table: xr.Dataset, name: str) -> float:
        """The value that all rows share."""
        first = int(np.flatnonzero(self.spec.kept)[0])
        return float(table[name].transpose(schema.ROW, schema.OUTCOME).to_numpy()[first, self.outcome])

    @property
    def _observed(self) -> FloatArray:
        spec, half = self.spec, self.z * np.sqrt(self.spec.S.variances)
        return np.stack([by_row(spec, values) for values in (spec.y, spec.y - half, spec.y + half)])

    @property
    def _weight(self) -> FloatArray:
        spec = self.spec
        return pooled_weights(spec, gls_weights(spec, covariances(self.tree, spec)), [self.pooled] * len(spec.outcomes))

    def _text(self, estimate: float, lower: float, upper: float) -> str:
        return f"{self._number(estimate)} ({self._number(lower)}{TO}{self._number(upper)})"

    def _number(self, value: float) -> str:
        """An effect on the scale of the model as it is read."""
        own = np.sqrt(self.spec.S.variances[self.spec.outcome_index == self.outcome])
        places = decimals(own)
        if self.read.response and self.read.record.is_ratio:
            return ratio_text(value, max(places, 2))
        return signed(float(self.read.values(np.asarray(value))), max(places, 2) if self.read.response else places)


def _notes(tree: xr.DataTree, spec: Spec, read: Reading, prob: float, pooled: bool) -> Iterator[str]:
    """Interval, scale, model, weights, and what was left out."""
    yield f"{remarks.model_name(tree)}; method: {remarks.method(tree)}."
    if is_posterior(tree):
        yield f"Intervals of studies: {percent(prob)} confidence intervals; of pooled effects: {percent(prob)} CrI."
    else:
        how = reference_of_fit(tree, None, None, "a table of studies")
        yield f"Intervals: {interval_name(prob, [tree])}, of studies normal, of pooled effects {how.words}."
    if read.response:
        yield f"Computed on the scale of the {read.record.label}."
    if pooled:
        yield "Weight: share of each study in the pooled estimate."
        if remarks.varies(tree):
            yield "Prediction interval: holds the true effect of a new study with this probability."
    for note in remarks.notes(tree):
        if "rows dropped" in note:
            yield typeset(f"Not in the model: {note}.")
    yield from (typeset(f"{note}.") for note in remarks.corrections(tree))
    used = ["CI, confidence interval", *(["CrI, credible interval (equal-tailed)"] if is_posterior(tree) else [])]
    short = read.record.short_label_of(read.response) if read.record.name != "generic" else ""
    label = read.record.response_label.lower() if read.response else read.record.label
    yield "; ".join([*used, *([f"{short}, {label}"] if short and short.lower() != label else [])]) + "."


def _reported(spec: Spec) -> list[_Column]:
    """What `bm.effects` made the estimates from, arm by arm: "4/123" of counts, "24.1 (5.1), 30" of means."""
    behind = [spec.arm_columns[outcome] for outcome in spec.outcomes if outcome in spec.arm_columns]
    if not behind or any(each != behind[0] for each in behind):
        return []
    columns = {what: [spec.data[name] for name in pair] for what, pair in behind[0].items()}
    counted = "events" in columns
    names = spec.arms or tuple(str(name) for name in behind[0]["events" if counted else "mean"])
    if counted:
        total = columns.get("total") or [a + b for a, b in zip(columns["events"], columns["no_events"], strict=True)]
        texts = [list(map(_of_total, *pair)) for pair in zip(columns["events"], total, strict=True)]
        return [_Column(f"{name}, n/N", own) for name, own in zip(names, texts, strict=True)]
    parts = zip(columns["mean"], columns["sd"], columns["n"], strict=True)
    return [
        _Column(f"{name}, mean (SD), n", [_mean_text(*cells) for cells in zip(*part, strict=True)])
        for name, part in zip(names, parts, strict=True)
    ]


def _mean_text(mean: object, sd: object, n: object) -> str:
    return f"{_plain(mean)} ({_plain(sd)}), {_plain(n)}"


def _of_total(events: object, total: object) -> str:
    return f"{_plain(events)}/{_plain(total)}"


def _chosen(spec: Spec, columns: Columns) -> list[_Column]:
    """The columns that the user names, under their headings."""
    if isinstance(columns, Mapping):
        named = dict(columns)
    else:
        named = {name: name for name in check_names(columns, "columns", empty=True)}
    return [_Column(_heading(heading), _texts(spec, heading, own)) for heading, own in named.items()]


def _heading(heading: object) -> str:
    if not isinstance(heading, str):
        raise SpecError(
            f'columns: the heading {shown(heading)} is no text\n  write headings as texts: columns={{"Year": "year"}}'
        )
    return heading


def _texts(spec: Spec, heading: str, column: object) -> list[str]:
    pair = list(column) if isinstance(column, tuple | list) else [column]
    if len(pair) not in (1, 2):
        raise SpecError(f"columns[{heading!r}] is {shown(column)}; it must be the name of a column, or two names")
    for name in pair:
        check_name(name, spec.data.columns, f"columns[{heading!r}]: no column", "columns")
    values = [spec.data[name] for name in pair]
    return [_of_total(*cells) for cells in zip(*values, strict=True)] if len(pair) > 1 else list(map(_plain, values[0]))


def _plain(value: object) -> str:
    """The text of a cell: whole numbers without decimals, a dash for a missing value."""
    if value is None or value is pd.NA or value != value:
        return DASH
    if isinstance(value, float | np.floating):
        return typeset(f"{value:.6g}")
    return typeset(str(value))
