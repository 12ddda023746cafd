"""Observed effects against a predictor as bubbles, with the meta-regression on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_names
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.inference.moderators import omnibus
from bayesmeta.inference.partition import TOTAL, r_squared
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.inference.reference import Vcov, asks_in_one_way, reference
from bayesmeta.inference.weights import covariances, marginal_variances
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.notes import heterogeneity_note, test_text
from bayesmeta.plots.forest.texts import ByRow, row_labels
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, which
from bayesmeta.plots.predictor import (
    Estimates,
    Predictor,
    chosen_outcome,
    draw_edges,
    drawable,
    mark_no_effect,
    predictions,
)
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

type IntervalKind = Literal["confidence", "prediction"]
_INTERVALS: tuple[IntervalKind, ...] = ("confidence", "prediction")
_LARGEST, _SMALLEST = 13.0, 2.0  # diameters of bubbles in points
_CROWD = (
    45.0  # the largest diameter of n bubbles is this divided by the square root of n, but at least half of _LARGEST
)
_BESIDE = 0.22  # of the distance between categories, from the bubbles to the estimate
_MANY = 12  # categories that need wider axes
_MOST_TICKS = 8
_BEYOND = 0.06  # of the range of the predictor, from the outermost study to the end of the axis


@keeps_old_names
@asks_in_one_way
def bubble(
    tree: xr.DataTree,
    x: str,
    ax: "Axes | None" = None,
    *,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    interval: IntervalKind | Sequence[IntervalKind] | None = _INTERVALS,
    scale: Scale | None = None,
    prob: float = 0.95,
    label: Labelled = None,
    labels: ByRow | None = None,
    statistics: bool = False,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Observed effects against one predictor, with the meta-regression on it.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    x : str
        A column of the data that is a predictor of the model, also inside a transformation: for `log(dose)` it is
        "dose". A numeric predictor has a curve; each category has a point with its intervals, beside its bubbles.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    at : mapping of str to value, optional
        Values of other predictors, by column, at which the regression is drawn. Those not named are held at their mean,
        or at their most frequent category; a note below the x axis says so.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    interval : {"confidence", "prediction"}, sequence of these, or None, default both
        "confidence" is the interval for the mean (shaded), "prediction" that for the true effect of a new unit in a new
        group (dashed).
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis, correlations of Fisher's z, proportions of logits; "model" as they are modelled.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    label : {"outliers", "all"}, optional
        Which studies are named: those whose effects lie outside the interval that the model expects for them,
        heterogeneity and sampling error included, or all. By default none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.
    statistics : bool, default False
        Whether to print below the axis the test of all predictors with R2 (`bm.r_squared`), and the residual
        heterogeneity; of a posterior its SD.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for intervals and tests; see `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        With the bubbles, the regression and its intervals.

    Raises
    ------
    SpecError
        If `x` is not a predictor, `at` has an unknown name or category, `interval` is not one of those above, or the
        model has several outcomes and none is chosen.

    See Also
    --------
    bayesmeta.predict : The numbers of the regression.
    bayesmeta.plots.orchard : Effects by category.

    Notes
    -----
    Bubbles show the observed effects, which are not adjusted for other predictors. Their width is proportional to 1
    over the sampling standard error, down to a smallest width that can still be seen. Lines and intervals are those of
    `bm.predict`.

    References
    ----------
    Thompson and Higgins (2002), Statistics in Medicine 21:1559-1573, Figure 1.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> ax = bm.plots.bubble(bm.fit(spec), "ablat")
    >>> ax.get_ylabel(), ax.get_xlabel().splitlines()
    ('Odds ratio', ['ablat'])
    """
    check_boolean(statistics, "statistics")
    intervals = _checked(interval)
    spec = spec_from_tree(tree)
    predictor = Predictor.of(spec, x, chosen_outcome(spec, outcome), "x", random="prediction" in intervals)
    held, reading = predictor.held(at), style.reading(tree, scale)
    curves = regression(tree, predictor, held, intervals, prob)
    panel = only_axes(ax, width=_width(predictor))
    bubbles, widths, size_note = _bubbles(panel, predictor, reading)
    kind = "credible" if is_posterior(tree) else "confidence"
    handles = (_points if predictor.categories else _lines)(panel, curves, reading, f"{percent(prob)} ", kind)
    lines = _ticks(panel, predictor) if predictor.categories else 0
    style.effect_axis(panel, reading, "y")
    panel.set_ylabel(words.y_label(panel.get_ylabel()), fontsize=style.TEXT)
    mark_no_effect(panel, tree, reading)
    words.legend_beside(panel, [(f"studies ({size_note})", bubbles), *handles])
    beyond = words.not_drawn(list(curves.values()) if intervals else [], reading)
    below = _statistics(tree, predictor, prob) if statistics else []
    lines += words.label_below(panel, x, [predictor.held_text(held, at), beyond, *below])
    if ax is None:
        words.make_room(panel, lines)
    effects = reading.values(spec.y[predictor.obs])
    names = [row_labels(spec, labels).texts[row] for row in spec.row[predictor.obs]]
    chosen = which(label, _outliers(tree, predictor, prob))
    name_points(panel, predictor.observed(), effects, names, chosen, widths / 2)
    return panel


def _statistics(tree: xr.DataTree, predictor: Predictor, prob: float) -> list[str]:
    """The test of the predictors, the share of the variance that they explain, and what is left."""
    rest = heterogeneity_note(tree, predictor.spec, predictor.outcome, prob, bounds=False)
    residual = [f"Residual heterogeneity: {rest}"] if rest else []
    used = reference(tree)
    test = None if used is None else omnibus(tree, used)
    if test is None:
        return residual
    moderators = f"Moderators: {test_text('QM', test)}"
    explained = _explained(tree, predictor.outcome)
    return [moderators + ("" if np.isnan(explained) else f"; R² = {explained:.1f}%"), *residual]


def _explained(tree: xr.DataTree, outcome: int) -> float:
    """R2 in percent, NaN where the model has no simpler one to be compared with."""
    try:
        shares = r_squared(tree)["R2"].sel(level=TOTAL).to_numpy()
    except SpecError:
        return np.nan
    return float(shares[outcome if len(shares) > 1 else 0])


def _outliers(tree: xr.DataTree, predictor: Predictor, prob: float) -> BoolArray:
    """Observations outside the interval that the model expects for them."""
    spec, own = predictor.spec, predictor.obs
    fitted = style.fitted_means(tree)[spec.row[own], predictor.outcome]
    spread = np.sqrt(marginal_variances(spec, covariances(tree, spec))[own])
    return np.asarray(np.abs(spec.y[own] - fitted) > quantile(prob) * spread)


def _checked(interval: IntervalKind | Sequence[IntervalKind] | None) -> tuple[IntervalKind, ...]:
    intervals: Any = () if interval is None else tuple(check_names(interval, "interval", empty=True))
    for each in intervals:
        check_choice(each, _INTERVALS, "interval")
    return intervals


def regression(
    tree: xr.DataTree, predictor: Predictor, held: Mapping[str, Any], intervals: Sequence[IntervalKind], prob: float
) -> dict[str, Estimates]:
    """Estimates by the kind of their interval, "" where there is none: at the categories, or along the numbers."""
    quantile(prob)  # raises for an invalid probability
    observed = predictor.observed()
    margin = _BEYOND * float(np.ptp(observed))  # the lines reach the ends of the axis
    ends = observed.min() - margin, observed.max() + margin
    x = predictor.positions if predictor.categories else predictor.curve(*ends)
    rows = predictor.rows(predictor.values() if predictor.categories else x, held)
    kinds: dict[str, IntervalKind] = {each: each for each in intervals} or {"": "confidence"}
    return {name: predictions(tree, x, rows, predictor.outcome, kind, prob).sorted() for name, kind in kinds.items()}


def _bubbles(ax: "Axes", predictor: Predictor, reading: Reading) -> tuple[Any, FloatArray, str]:
    """Draw the observed effects; returns a mark for the legend, the widths of bubbles and a note on them."""
    from matplotlib.lines import Line2D

    spec = predictor.spec
    se = np.sqrt(spec.S.variances[predictor.obs])
    widths, note = bubble_widths(se)
    effects = reading.values(spec.y[predictor.obs])
    fill, edge = (style.MUTED, 0.45), (style.INK, 1.0)  # the outline of each is seen through those above it
    order = np.argsort(se, kind="stable")  # large bubbles first, so that none is hidden
    look: dict[str, Any] = {"facecolor": fill, "edgecolor": edge, "linewidth": 0.7}
    ax.scatter(predictor.observed()[order], effects[order], s=widths[order] ** 2, zorder=3.5, label="_studies", **look)
    if not predictor.categories:
        margin = _BEYOND * float(np.ptp(predictor.observed()) or 1.0)
        ax.set_xlim(predictor.observed().min() - margin, predictor.observed().max() + margin)
    mark = Line2D([], [], linestyle="", marker="o", markersize=5, markerfacecolor=fill, markeredgecolor=edge)
    return mark, widths, note


def bubble_widths(se: FloatArray) -> tuple[FloatArray, str]:
    """Diameters (n,) in points, and a note that explains them."""
    largest = float(np.clip(_CROWD / np.sqrt(len(se)), _LARGEST / 2, _LARGEST))
    known = se > 0
    widths = np.full(len(se), largest)
    if known.any():
        widths[known] = np.maximum(largest * se[known].min() / se[known], _SMALLEST)
    exact = int((~known).sum())
    return widths, "width: 1 / SE" + (f"; the largest for {exact} without error" * bool(exact))


def _lines(
    ax: "Axes", curves: Mapping[str, Estimates], reading: Reading, prob: str, kind: str
) -> list[tuple[str, Any]]:
    from matplotlib.patches import Patch

    first, colour = next(iter(curves.values())), style.COLOURS[0]
    handles: list[tuple[str, Any]] = []
    mean = drawable(first.mean, reading)
    handles.append(("mean", ax.plot(first.x, mean, color=colour, linewidth=1.6, zorder=5, label="mean")[0]))
    if band := curves.get("confidence"):
        ends = drawable(band.lower, reading), drawable(band.upper, reading)
        ax.fill_between(band.x, *ends, color=colour, alpha=0.25, linewidth=0, zorder=2, label="_confidence")
        handles.append((prob + kind, Patch(color=colour, alpha=0.25)))
    if band := curves.get("prediction"):
        look = {"color": colour, "linestyle": style.LINES[1], "linewidth": 0.9}
        handles.append((prob + "prediction", draw_edges(ax, band, reading, "_prediction", **look)))
    return handles


def _points(
    ax: "Axes", curves: Mapping[str, Estimates], reading: Reading, prob: str, kind: str
) -> list[tuple[str, Any]]:
    from matplotlib.lines import Line2D

    x, colour = next(iter(curves.values())).x, style.COLOURS[0]
    beside = _BESIDE * (float(np.diff(x).min()) if len(x) > 1 else 1.0)
    handles: list[tuple[str, Any]] = []
    for name, label, width in (("prediction", "prediction", 0.9), ("confidence", kind, 2.2)):
        if bars := curves.get(name):
            ends = drawable(bars.lower, reading), drawable(bars.upper, reading)
            ax.vlines(bars.x + beside, *ends, color=colour, linewidth=width, zorder=4, label=f"_{name}")
            handles.append((prob + label, Line2D([], [], color=colour, linewidth=width)))
    mean = drawable(next(iter(curves.values())).mean, reading)
    look: dict[str, Any] = {
        "marker": "D",
        "markersize": 4,
        "markeredgecolor": style.PAPER,
        "markeredgewidth": 0.6,
        "color": colour,
    }
    dots = ax.plot(x + beside, mean, linestyle="none", zorder=6, label="mean", **look)[0]
    return [("mean", dots), *reversed(handles)]


def _ticks(ax: "Axes", predictor: Predictor) -> int:
    """Name the categories; returns the number of lines that the names take beyond the first."""
    positions, labels = predictor.positions, predictor.categories
    gap = float(np.diff(np.sort(positions)).min()) if len(positions) > 1 else 1.0
    ax.set_xlim(positions.min() - 0.5 * gap, positions.max() + 0.6 * gap)
    return words.categories_axis(ax, positions, labels) if not predictor.numeric or len(labels) <= _MOST_TICKS else 0


def _width(predictor: Predictor) -> float:
    """Inches of new axes, with room for the names of categories."""
    labels = predictor.categories if not predictor.numeric else ()
    return style.PAGE if len(labels) > _MANY else words.WIDE
