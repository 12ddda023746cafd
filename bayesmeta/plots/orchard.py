"""Orchard plots: every observed effect, the mean with its interval, and where the effects of new studies lie."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, ObjectArray
from bayesmeta._validation import check_mapping, check_name, check_probability, listing, shown
from bayesmeta.display.tables import percent
from bayesmeta.errors import DataError, SpecError, keeps_old_names
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.io.columns import is_categorical, label
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.numbers import Interval, at_means
from bayesmeta.plots.forest.texts import decimals, interval_text
from bayesmeta.plots.panels import height_in_inches, only_axes, wrapped
from bayesmeta.tree.response import Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_HALF, _ABOVE, _BELOW = 0.3, 0.12, 0.32  # in rows: half a swarm's width; offsets of its centre and of the intervals
_LARGEST, _LEAST = 7.0, 1.6  # diameters of points in points
_SAME = 1e-6  # of the interval's width: intervals that differ by less are drawn as one
_MOST_CATEGORIES = 20
_NEAR = 0.25  # of the axis: a number nearer to its end is written towards the middle


@dataclass(frozen=True)
class OrchardRow:
    """One row of an orchard plot.

    y, se : (k,) observed effects and their standard errors. groups : number of outer groups.
    mean, confidence, prediction : of the true effects; the last two are intervals.
    """

    category: str
    y: FloatArray
    se: FloatArray
    groups: int
    mean: float
    confidence: tuple[float, float]
    prediction: tuple[float, float]


@keeps_old_names
@asks_in_one_way
def orchard(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Observed effects as swarms of points, with the mean, its confidence interval and the prediction interval.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    by : str, optional
        Column of a categorical predictor of the model, or of a numeric one of at most 20 values, each with one row;
        by default one row for all.
    at : mapping of str to value, optional
        Values of other predictors at which means and intervals are computed; by default numeric ones are at their mean
        over the rows in the model.
    outcome : str, optional
        One of several outcomes; by default each outcome has its rows.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis, correlations of Fisher's z, proportions of logits; "model" as they are modelled.
    prob : float, default 0.95
        Probability of both intervals, between 0 and 1.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for the intervals; see `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        Points are observed effects, with areas proportional to 1 / SE. Below them the thick line is the confidence
        interval of the mean (for a posterior, its credible interval), the thin one the prediction interval. Labels give
        k, the number of effects, and how many outer groups they come from.

    Raises
    ------
    SpecError
        If `by` is not a predictor of the model or has too many values, or if a categorical predictor is neither `by`
        nor in `at`, so that the mean is not determined.

    See Also
    --------
    bayesmeta.plots.forest : Every effect on a line of its own.
    bayesmeta.plots.bubble : Effects against a numeric predictor.

    Notes
    -----
    Both intervals are those of `bm.predict`: the prediction interval is that of the true effect in a new unit of a new
    group of every level.

    References
    ----------
    Nakagawa et al. (2021), Res. Synth. Methods 12:4-12.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logor ~ alloc", bcg, S="logorvar", measure="logor"))
    >>> ax = bm.plots.orchard(fit, by="alloc")
    >>> ax.get_yticklabels()[0].get_text()
    'random\\nk = 7'
    """
    spec_from_tree(tree)  # says so where it is none
    reading = style.reading(tree, scale)
    rows, held = orchard_rows(tree, by, at, outcome, prob, reading)
    panel = only_axes(ax, 0.7 + 0.8 * len(rows), words.WIDE)
    if reading.log:
        panel.set_xscale("log")
    else:
        panel.locator_params("x", nbins=6)
    _limits(panel, rows, reading)
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        colour = style.COLOURS[(len(rows) - 1 - place) % len(style.COLOURS)] if len(rows) > 1 else style.BLUE
        _swarm(panel, row, place, reading, max(_precision(rows)), len(rows), colour)
        _intervals(panel, row, place - _BELOW, reading)
        _numbers(panel, row, place - _BELOW, reading)
    labels = [_label(row, spec_from_tree(tree).levels[0].name) for row in rows]
    panel.set_yticks(range(len(rows))[::-1], labels, fontsize=style.SMALL)
    panel.tick_params("y", length=0)
    style.effect_axis(panel, reading)
    _no_effect(panel, tree, reading)
    words.label_below(panel, panel.get_xlabel(), [f"at {held}" if held else ""])
    _legend(panel, rows, prob, tree)
    return panel


def _no_effect(ax: "Axes", tree: xr.DataTree, reading: Reading) -> None:
    """A line at no effect where this lies within the axis."""
    null = style.measure_of(tree).null
    at = np.nan if null is None else float(reading.values(null))
    low, high = ax.get_xlim()
    if low <= at <= high:
        ax.axvline(at, color=style.MUTED, linewidth=0.7, zorder=0, label="no effect")


def _numbers(ax: "Axes", row: OrchardRow, place: float, reading: Reading) -> None:
    """The mean and its interval, below the lines that show them."""
    if not np.isfinite([row.mean, *row.confidence]).all():
        return
    text = interval_text(Interval(row.mean, *row.confidence), decimals(row.se), reading)
    x = float(reading.values(row.mean))
    fraction = ax.transAxes.inverted().transform(ax.transData.transform((x, place)))[0]
    side = "left" if fraction < _NEAR else "right" if fraction > 1 - _NEAR else "center"
    ax.annotate(
        text, (x, place), (0, -5), textcoords="offset points", ha=side, va="top", fontsize=style.SMALL - 1, zorder=5
    )


def orchard_rows(
    tree: xr.DataTree,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
    reading: Reading | None = None,
) -> tuple[list[OrchardRow], str]:
    """The rows of an orchard plot from top to bottom, and a note on the values of the other predictors.

    reading : how they are drawn, where a posterior has its means.
    """
    check_probability(prob)
    spec = spec_from_tree(tree)
    frame = spec.data.loc[spec.kept]
    if outcome is not None:
        check_name(outcome, spec.outcomes, "no outcome", "outcomes")
    values = _values(spec, frame, by)
    first = [0] if by is None else [int(np.flatnonzero(values == value)[0]) for value in dict.fromkeys(values)]
    new, held = _newdata(
        spec, frame.iloc[first].copy(), frame, by, check_mapping(at, "at", "predictors and their values")
    )
    try:
        confidence, prediction = (predict(tree, new, interval, prob) for interval in ("confidence", "prediction"))
        drawn = at_means(tree, reading, partial(predict, tree, new, "confidence", prob))[0]
    except DataError as error:  # such as the mean of a number that the formula takes for a category
        raise SpecError(f"no prediction at {held}: {error}\n  give by= or at= for these predictors") from None
    confidence = confidence.assign(mean=((schema.ROW, schema.OUTCOME), drawn))
    of_row = np.full(len(spec.kept), "", dtype=object)
    of_row[spec.kept] = values
    of_obs = of_row[spec.row]
    rows = []
    for j in [spec.outcomes.index(outcome)] if outcome else range(len(spec.outcomes)):
        for i, value in enumerate(dict.fromkeys(values)):
            used = (of_obs == value) & (spec.outcome_index == j)
            means = (table.isel(row=i, outcome=j) for table in (confidence, prediction))
            rows.append(_row(spec, _name(spec, j, value, outcome), used, *means))
    return rows, held


def _row(spec: Spec, name: str, used: BoolArray, confidence: xr.Dataset, prediction: xr.Dataset) -> OrchardRow:
    bounds = [(float(table["lower"]), float(table["upper"])) for table in (confidence, prediction)]
    se = np.sqrt(spec.S.variances[used])
    groups = len(np.unique(spec.levels[0].index[used]))
    return OrchardRow(name, spec.y[used], se, groups, float(confidence["mean"]), *bounds)


def _values(spec: Spec, frame: pd.DataFrame, by: str | None) -> ObjectArray:
    """(n,) category of every kept row, as text; "" for all without `by`."""
    if by is None:
        return np.full(len(frame), "", dtype=object)
    check_name(by, spec.design.parsed.predictors, "by: the model has no predictor", "predictors")
    values = np.array([label(value) for value in frame[by]], dtype=object)
    n = len(set(values))
    if n > _MOST_CATEGORIES:
        raise SpecError(
            f"by is {shown(by)}, which has {n} values; at most {_MOST_CATEGORIES} can be drawn\n"
            "  bm.plots.bubble draws effects against a continuous predictor"
        )
    return values


def _newdata(
    spec: Spec, new: pd.DataFrame, frame: pd.DataFrame, by: str | None, at: Mapping[str, Any]
) -> tuple[pd.DataFrame, str]:
    """Rows to predict for, one for each category, and the values at which other predictors are held."""
    others = [column for column in spec.predictors if column != by]
    for column in at:
        check_name(column, others, "at: no other predictor", "other predictors")
    held = []
    for column in others:
        values = frame[column]
        if column not in at and is_categorical(values, coded=True) and values.nunique() > 1:
            raise SpecError(
                f"the mean depends on the categories of {column!r}\n  give by={column!r}, or at={{{column!r}: ...}} "
                f"with one of {listing(values.unique())}"
            )
        if column not in at and is_categorical(values, coded=True):
            continue
        value: Any = at[column] if column in at else spec.nearest_known(column, values.mean())
        if not _is_single(value):
            raise SpecError(f"at: {column!r} is {shown(value)}; give one value, as it appears in the data")
        new[column] = value
        held.append(f"{column} = {value:.4g}" if isinstance(value, float) else f"{column} = {value!s}")
    return new, ", ".join(held)


def _is_single(value: Any) -> bool:
    return bool(np.isscalar(value)) and not isinstance(value, bytes)


def _name(spec: Spec, j: int, value: str, outcome: str | None) -> str:
    parts = [spec.outcomes[j]] if len(spec.outcomes) > 1 and outcome is None else []
    return ", ".join([*parts, *([value] if value else [])]) or "All"


def _precision(rows: list[OrchardRow]) -> Iterator[float]:
    yield from (float(p) for row in rows for p in 1 / row.se)


def _limits(ax: "Axes", rows: list[OrchardRow], reading: Reading) -> None:
    """Set the limits first, because positions in a swarm depend on them; arrows will mark infinite ends."""
    ends = np.concatenate([[*row.y, row.mean, *row.confidence, *row.prediction] for row in rows])
    ends = ends[np.isfinite(ends)]
    margin = 0.06 * (np.ptp(ends) or 1.0)
    ax.set_xlim(*reading.values([ends.min() - margin, ends.max() + margin]))
    ax.set_ylim(-0.6, len(rows) - 0.4)


def _swarm(ax: "Axes", row: OrchardRow, place: int, reading: Reading, most: float, n_rows: int, colour: str) -> None:
    inches = ax.get_position().width * style.root_figure(ax).get_size_inches()[0]
    wide = 0.8 * 72 * inches  # labels take some of it
    high = 0.75 * 72 * height_in_inches(ax) / n_rows
    low, top = np.log(ax.get_xlim()) if reading.log else ax.get_xlim()
    diameter = _diameters(1 / row.se, most)
    height = swarm((reading.along(row.y) - low) / (top - low) * wide, diameter / 2) / high
    if height.size and np.abs(height).max() > _HALF:
        height *= _HALF / np.abs(height).max()
    ax.scatter(
        reading.values(row.y),
        place + _ABOVE + height,
        s=diameter**2,
        color=colour,
        edgecolor=style.PAPER,
        linewidth=0.5,
        alpha=0.7,
        zorder=2,
    )


def _diameters(precision: FloatArray, most: float) -> FloatArray:
    return np.maximum(_LARGEST * np.sqrt(precision / most), _LEAST)


def _intervals(ax: "Axes", row: OrchardRow, place: float, reading: Reading) -> None:
    """The mean with both intervals, below the swarm."""
    limits = ax.get_xlim()
    for (low, high), width in ((row.prediction, 1.0), (row.confidence, 3.2)):
        if np.isnan(low) or np.isnan(high):
            continue
        ends = np.clip(reading.values([low, high]), *limits)
        ax.hlines([place], *ends, color=style.INK, linewidth=width, zorder=3)
        for end, bound, shape in zip(ends, (low, high), "<>", strict=True):
            if np.isinf(bound):
                ax.plot([end], [place], shape, color=style.INK, markersize=4, clip_on=False, zorder=3)
    mean = reading.values([row.mean])
    ax.plot(mean, [place], "o", color=style.ORANGE, markeredgecolor=style.INK, markersize=6, zorder=4)
    if np.isnan(row.prediction).any():
        ax.annotate(
            "no interval", (mean[0], place), (0, 8), textcoords="offset points", ha="center", fontsize=style.SMALL
        )


def _label(row: OrchardRow, outer: str) -> str:
    k = len(row.y)
    groups = (
        ""
        if row.groups == k and outer == schema.UNIT
        else f" in {row.groups} {'group' if row.groups == 1 else 'groups'}"
    )
    return f"{wrapped(row.category, 18)}\nk = {k}{groups}"


def _legend(ax: "Axes", rows: list[OrchardRow], prob: float, tree: xr.DataTree) -> None:
    from matplotlib.lines import Line2D

    low, high = np.quantile(list(_precision(rows)), [0.1, 1.0])
    same = all(np.allclose(row.confidence, row.prediction, atol=_SAME, equal_nan=True) for row in rows)
    word = "credible" if schema.POSTERIOR in tree.children else "confidence"
    lines = [
        Line2D([], [], color=style.INK, linewidth=3.2, label=f"{percent(prob)} {word}"),
        Line2D(
            [], [], color=style.INK, linewidth=1.0, label=f"{percent(prob)} prediction{': the same' if same else ''}"
        ),
    ]
    for text in dict.fromkeys(f"{value:.2g}" for value in (low, high)):
        point = Line2D([], [], marker="o", linestyle="", color=style.MUTED, markeredgecolor=style.PAPER, alpha=0.7)
        point.set(markersize=float(_diameters(np.array([float(text)]), high)[0]), label=f"1/SE = {text}")
        lines.append(point)
    words.legend_beside(ax, [(str(line.get_label()), line) for line in lines])


def swarm(x: FloatArray, radius: FloatArray) -> FloatArray:
    """Heights at which discs at x do not overlap, each as close to the line as the discs before it allow.

    Parameters
    ----------
    x : (n,) array
        Positions along the line.
    radius : (n,) array
        Radii of the discs, in the same unit.

    Returns
    -------
    (n,) array
        Heights around 0, always the same for the same discs. Larger discs are placed first, so they lie closer to the
        line.

    Examples
    --------
    >>> swarm(np.array([0.0, 0.0, 5.0]), np.array([1.0, 0.5, 1.0]))
    array([0. , 1.5, 0. ])
    """
    height = np.zeros(len(x))
    order = np.lexsort((np.arange(len(x)), x, -radius))
    for position, i in enumerate(order):
        placed = order[:position]
        reach = radius[placed] + radius[i]
        near = placed[np.abs(x[placed] - x[i]) < reach]
        reach = radius[near] + radius[i]
        room = np.sqrt(np.maximum(reach**2 - (x[near] - x[i]) ** 2, 0))
        candidates = np.concatenate([[0.0], height[near] + room, height[near] - room])
        candidates = candidates[np.lexsort((-candidates, np.abs(candidates).round(9)))]
        apart = (x[near] - x[i]) ** 2 + (height[near] - candidates[:, None]) ** 2
        free = (apart >= (reach * (1 - 1e-9)) ** 2).all(1)
        height[i] = candidates[np.argmax(free)]
    return height
