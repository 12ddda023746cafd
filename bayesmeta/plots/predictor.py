"""Effects along one predictor, the others held: at which values, the model's predictions there, and their curves."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_mapping, check_name, check_probability, did_you_mean, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.formula.safety import Part
from bayesmeta.inference.posterior_predict import means
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import reference as reference_of
from bayesmeta.io.columns import as_categories, categories, finite, is_categorical, label
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style
from bayesmeta.tree.response import Reading
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

POINTS = 241  # of a curve; 240 steps, so that curves over 60 or 24 units pass through whole numbers
ESTIMATE = "estimate"  # label of the curve of a single model
_IN_C = re.compile(r"\bC\s*\(\s*(\w+)")
_MOST_LOG = 100.0  # of a ratio: 43 digits
_MOST_TREES = len(style.LINES)
_MARGIN = 0.05  # of the height of an axis


@dataclass(frozen=True, eq=False)
class Predictor:
    """A raw column of the part of the model that concerns one outcome, with numbers or categories.

    parts : the formulas that predictions are made of.
    """

    spec: Spec
    column: str
    outcome: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, spec: Spec, column: str, outcome: int, argument: str, random: bool = False) -> "Predictor":
        """The column, checked to be a predictor of the outcome; `random`: predictions use the random parts too."""
        columns = _columns(_fixed_parts(spec, outcome))
        check_name(column, columns, f"{argument}: {spec.outcomes[outcome]} has no predictor", "predictors")
        random_parts = spec.design.parsed.random if random else ()
        return cls(spec, column, outcome, (*_fixed_parts(spec, outcome), *random_parts))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Labels in the order of the model; empty for numbers."""
        values = self.spec.data.loc[self.spec.kept, self.column]
        return categories(values) if _is_category(self.column, values, self.parts) else ()

    @cached_property
    def positions(self) -> FloatArray:
        """Positions of the categories: their values where these are numbers, such as months, else 0, 1, ..."""
        return self._numbers if self.numeric else np.arange(len(self.categories), dtype=float)

    @property
    def numeric(self) -> bool:
        """Whether all categories are numbers."""
        return bool(np.isfinite(self._numbers).all())

    @cached_property
    def _numbers(self) -> FloatArray:
        return pd.to_numeric(pd.Series(self.categories, dtype=object), errors="coerce").to_numpy(float)

    @cached_property
    def obs(self) -> IntArray:
        """Positions of the outcome's observations."""
        return np.flatnonzero(self.spec.outcome_index == self.outcome)

    def observed(self) -> FloatArray:
        """Numbers, or positions of the categories, of the outcome's observations."""
        values = self.spec.data[self.column].iloc[self.spec.row[self.obs]]
        if not self.categories:
            return finite(values.to_frame(), self.column, booleans=True)
        return self.positions[as_categories(values, self.categories).cat.codes.to_numpy()]

    def curve(self, low: float, high: float) -> FloatArray:
        return np.linspace(low, high, POINTS)

    def values(self) -> list[Any]:
        """The categories as they appear in the data."""
        by_label = {label(value): value for value in self.spec.data.loc[self.spec.kept, self.column].unique()}
        return [by_label[category] for category in self.categories]

    def rows(self, values: Sequence[Any] | FloatArray, held: Mapping[str, Any]) -> pd.DataFrame:
        """Rows to predict for, with these values of the column."""
        columns = {name: [value] * len(values) for name, value in held.items()}
        return pd.DataFrame(columns | {self.column: list(values)})

    def held(self, at: Mapping[str, Any] | None) -> dict[str, Any]:
        """The value of every other predictor of the model: from `at`, else its mean or most frequent category."""
        others = [name for name in self.spec.predictors if name != self.column]
        fixed = check_mapping(at, "at", "predictors and their values")
        for name, value in fixed.items():
            check_name(name, others, "at: no other predictor", "other predictors")
            self._check(name, value)
        return {name: fixed.get(name, self._typical(name)) for name in others}

    def _check(self, column: str, value: Any) -> None:
        if not np.isscalar(value) or bool(pd.isna(value)):  # type: ignore[arg-type]
            raise SpecError(f"at: {column!r} is {shown(value)}; give one value, as it appears in the data")
        labels = categories(self.spec.data.loc[self.spec.kept, column]) if self._is_category(column) else ()
        if labels and label(value) not in labels:
            hint = did_you_mean(label(value), labels)
            raise SpecError(
                f"at: {column!r} is never {shown(value)} in the data{hint}\n  categories: {listing(labels, 30)}"
            )

    def held_text(self, held: Mapping[str, Any], at: Mapping[str, Any] | None) -> str:
        """At which values the outcome's other predictors are held; "" where there are none."""
        how = {True: "most frequent", False: "mean"}
        texts = [
            f"{name} = {_number(held[name])}" + ("" if name in (at or {}) else f" ({how[self._is_category(name)]})")
            for name in _columns(self.parts)
            if name in held
        ]
        return "; ".join(texts)

    def _typical(self, column: str) -> Any:
        values = self.spec.data.loc[self.spec.kept, column]
        if not self._is_category(column):
            mean = float(np.mean(finite(values.to_frame(), column, booleans=True)))
            return self.spec.nearest_known(column, mean)
        counts = values.map(label).value_counts()
        most_frequent = max(categories(values), key=lambda text: int(counts[text]))  # the first in case of ties
        return next(value for value in values if label(value) == most_frequent)

    def _is_category(self, column: str) -> bool:
        parsed = self.spec.design.parsed
        common = () if parsed.common is None else (parsed.common,)
        parts = (*parsed.fixed, *common, *parsed.random, *parsed.offsets)
        return _is_category(column, self.spec.data.loc[self.spec.kept, column], parts)


def chosen_outcome(spec: Spec, outcome: str | None) -> int:
    """Position of the outcome to be drawn; SpecError where there are several and none is named."""
    if outcome is None and len(spec.outcomes) > 1:
        raise SpecError(
            f"this model has {len(spec.outcomes)} outcomes: {listing(spec.outcomes)}\n"
            f"  draw one of them: outcome={spec.outcomes[0]!r}, each into its own axes"
        )
    if outcome is not None:
        check_name(outcome, spec.outcomes, "no outcome", "outcomes")
    return 0 if outcome is None else spec.outcomes.index(outcome)


def has_intercept(spec: Spec, outcome: int) -> bool:
    """Whether some combination of coefficients gives all observations of an outcome the same mean."""
    X = spec.X[spec.outcome_index == outcome]
    ones = np.ones(len(X))
    return bool(np.allclose(X @ np.linalg.lstsq(X, ones)[0], ones, atol=1e-6))


def _fixed_parts(spec: Spec, outcome: int) -> tuple[Part, ...]:
    """The formulas of an outcome's mean."""
    parsed = spec.design.parsed
    common = () if parsed.common is None else (parsed.common,)
    return (parsed.fixed[outcome], *common, *parsed.offsets)


def _columns(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(column for part in parts for column in part.columns))


def _is_category(column: str, values: pd.Series, parts: Sequence[Part]) -> bool:
    """Whether one of the formulas treats the column as categories, so that there are no values between them."""
    for part in parts:
        for name in (name for name, source in part.names.items() if source == column):
            free = name not in part.numeric and is_categorical(values, coded=True)
            if free or name in _IN_C.findall(part.text):
                return True
    return False


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else label(value)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Mean and interval at every value x of a predictor, all of shape (n,), on the scale of the model."""

    x: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def shifted(self, by: float) -> "Estimates":
        """The same estimates, drawn beside x."""
        return replace(self, x=self.x + by)

    def sorted(self) -> "Estimates":
        """The same estimates in the order of x."""
        order = np.argsort(self.x, kind="stable")
        return Estimates(self.x[order], self.mean[order], self.lower[order], self.upper[order])

    def without_interval(self, reading: Reading) -> int:
        """The number of intervals that cannot be drawn."""
        return int((np.isnan(drawable(self.lower, reading)) | np.isnan(drawable(self.upper, reading))).sum())


def drawable(effects: FloatArray, reading: Reading) -> FloatArray:
    """Effects on the scale of the axis; NaN where infinite or, for ratios, beyond what a logarithmic axis can hold."""
    beyond = ~np.isfinite(effects) | (np.abs(effects) > _MOST_LOG if reading.log else False)
    return reading.values(np.where(beyond, np.nan, effects))


def predictions(
    tree: xr.DataTree,
    x: FloatArray,
    rows: pd.DataFrame,
    outcome: int,
    interval: Literal["confidence", "prediction"],
    prob: float,
) -> Estimates:
    """Those of `bm.predict` for these rows, at x."""
    table = predict(tree, rows, interval=interval, prob=prob).isel(outcome=outcome)
    return Estimates(x, *(table[name].to_numpy() for name in ("mean", "lower", "upper")))


def differences(
    tree: xr.DataTree, x: FloatArray, rows: pd.DataFrame, reference: pd.DataFrame, outcome: int, prob: float
) -> Estimates:
    """Mean of the rows less that of the one row `reference`, with the interval of the difference."""
    design = spec_from_tree(tree).design
    X = (design.fixed(rows) - design.fixed(reference))[:, outcome]
    offset = design.offset(rows) - design.offset(reference)
    if (used := reference_of(tree)) is None:
        values = means(tree, X, offset, prob)
        return Estimates(x, values["mean"], values["lower"], values["upper"])
    tests = used.each(X)
    lower, upper = tests.bounds(check_probability(prob))
    zero = (X == 0).all(1)  # the reference itself, whose difference is known
    return Estimates(x, tests.estimate + offset, *(np.where(zero, 0.0, end) + offset for end in (lower, upper)))


def named_trees(trees: xr.DataTree | Mapping[str, xr.DataTree], call: str) -> dict[str, xr.DataTree]:
    """The trees by name, "" for a single one; all must have the same measure, since they share an axis."""
    single = isinstance(trees, xr.DataTree) or not isinstance(trees, Mapping)  # a DataTree is a Mapping too
    by_name: dict[str, Any] = {"": trees} if single else dict(trees)
    if not 1 <= len(by_name) <= _MOST_TREES:
        raise SpecError(f"{call} draws 1 to {_MOST_TREES} trees, and {len(by_name)} were given\n  draw fewer at a time")
    for name, tree in by_name.items():
        if not isinstance(tree, xr.DataTree):
            raise SpecError(
                f"{call}: {repr(name) if name else 'trees'} is a {type(tree).__name__}, not a results tree\n"
                "  give the tree of bm.fit or bm.sample, or several as {name: tree}"
            )
    measures = {name: tree.attrs.get("measure") or "generic" for name, tree in by_name.items()}
    if len(set(measures.values())) > 1:
        pairs = ", ".join(f"{name}: {measure}" for name, measure in measures.items())
        raise SpecError(f"the trees have different measures, which cannot share an axis\n  {pairs}")
    return {str(name): tree for name, tree in by_name.items()}


def trajectories(predictor: Predictor) -> IntArray:
    """Which observations are joined: those of a group of the innermost level whose groups have several values of x."""
    x = predictor.observed()
    for level in reversed(predictor.spec.levels):
        index = level.index[predictor.obs]
        if any(len(np.unique(x[index == g])) > 1 for g in np.unique(index)):
            return index
    return np.arange(len(x))


def distinct_data(predictors: Iterable[Predictor]) -> list[Predictor]:
    """Of the predictors of several models, one for each data set."""
    by_data = {(p.observed().tobytes(), p.spec.y[p.obs].tobytes()): p for p in predictors}
    return list(by_data.values())


def draw_curve(ax: "Axes", estimates: Estimates, reading: Reading, look: int, name: str) -> "Artist":
    """A line labelled `name` and its band, with edges in the same style; returns the line.

    `look` selects the line's colour and style. A single model has no name, and its line is labelled `ESTIMATE`.
    """
    name = name or ESTIMATE
    colour, line = style.COLOURS[look], style.LINES[look]
    lower, upper = drawable(estimates.lower, reading), drawable(estimates.upper, reading)
    ax.fill_between(estimates.x, lower, upper, color=colour, alpha=0.18, linewidth=0, zorder=2, label=f"_{name} band")
    draw_edges(ax, estimates, reading, f"_{name} edge", color=colour, linestyle=line, linewidth=0.6)
    mean = drawable(estimates.mean, reading)
    return ax.plot(estimates.x, mean, color=colour, linestyle=line, linewidth=1.6, zorder=5, label=name)[0]


def draw_edges(ax: "Axes", estimates: Estimates, reading: Reading, name: str, **look: Any) -> "Artist":
    """Both ends of the intervals as lines; returns one."""
    for edge in (estimates.lower, estimates.upper):
        line = ax.plot(estimates.x, drawable(edge, reading), zorder=3, label=name, **look)[0]
    return line


def draw_points(ax: "Axes", estimates: Estimates, reading: Reading, look: int, name: str) -> "Artist":
    """Points labelled `name`, joined by a line, with their intervals as bars; returns the line."""
    name = name or ESTIMATE
    colour = style.COLOURS[look]
    mean, lower, upper = (drawable(values, reading) for values in (estimates.mean, estimates.lower, estimates.upper))
    ax.vlines(estimates.x, lower, upper, color=colour, linewidth=1.2, zorder=4, label=f"_{name} intervals")
    marker: dict[str, Any] = {"marker": style.MARKERS[look], "markersize": 4, "markeredgecolor": style.PAPER}
    line: dict[str, Any] = {"color": colour, "linestyle": style.LINES[look], "linewidth": 1}
    return ax.plot(estimates.x, mean, zorder=6, label=name, **line, **marker)[0]


def mark_no_effect(ax: "Axes", tree: xr.DataTree, reading: Reading) -> None:
    """A thin horizontal line at no effect where this lies within the limits, which stay as they are."""
    null = style.measure_of(tree).null
    low, high = sorted(ax.get_ylim())
    if null is not None and low <= (value := float(reading.values(null))) <= high:
        ax.axhline(value, color=style.MUTED, linewidth=0.6, zorder=1)


def draw_studies(ax: "Axes", predictors: Sequence[Predictor], reading: Reading) -> "Artist":
    """Observed effects, faint, those of one group joined: a line with gaps for each predictor; returns the last."""
    joined = [trajectories(predictor) for predictor in predictors]
    look: dict[str, Any] = {"color": style.FAINT, "linewidth": 0.5, "marker": ".", "markersize": 2.5, "zorder": 1}
    look["alpha"] = float(np.clip(20 / sum(len(np.unique(index)) for index in joined), 0.4, 0.7))
    for predictor, index in zip(predictors, joined, strict=True):
        x, y = predictor.observed(), reading.values(predictor.spec.y[predictor.obs])
        order = np.lexsort((x, index))
        gaps = np.flatnonzero(np.diff(index[order])) + 1
        x, y = (np.insert(values[order], gaps, np.nan) for values in (x, y))
        line = ax.plot(x, y, label="_studies", **look)[0]
    return line


def focus(ax: "Axes", curves: Sequence[Estimates], predictors: Sequence[Predictor], reading: Reading) -> str:
    """Keep distant studies from flattening the curves: the axis ends at most one range of the curves beyond them.

    Returns a note on the observed effects that lie outside, "" for none.
    """
    inside = np.concatenate([np.concatenate([each.lower, each.mean, each.upper]) for each in curves])
    inside = inside[np.isfinite(drawable(inside, reading))]
    y = np.concatenate([predictor.spec.y[predictor.obs] for predictor in predictors])
    if len(inside) == 0 or (span := float(np.ptp(inside))) == 0:
        return ""
    low, high = (float(end) for end in (inside.min(), inside.max()))
    low, high = max(low - span, min(low, y.min())), min(high + span, max(high, y.max()))
    margin = _MARGIN * (high - low)
    outside = int(((y < low - margin) | (y > high + margin)).sum())
    if not outside:
        return ""
    ax.set_ylim(*reading.values([low - margin, high + margin]))
    return f"beyond the axis: {outside} of {len(y)} effects of studies"
