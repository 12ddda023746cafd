"""Funnel plots: effects against their precision, around the pooled estimate or around fitted values."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_choice, check_probability, shown
from bayesmeta.display.tables import percent
from bayesmeta.errors import AssumptionWarning, SpecError, keeps_old_names
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.inference.small_study.asymmetry import egger
from bayesmeta.inference.small_study.filling import observed
from bayesmeta.inference.small_study.limit_analysis import limit_line
from bayesmeta.inference.weights import covariances, marginal_variances
from bayesmeta.io.arrays import as_numbers
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.texts import ByRow, row_labels
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, which
from bayesmeta.plots.predictor import chosen_outcome
from bayesmeta.tree.response import DIFFERENCE, EFFECT, Reading, Scale, on_response
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

type Asymmetry = Literal["egger", "limit"]
type PrecisionMeasure = Literal["se", "variance", "precision"]
_MOST_GROUPS = len(style.MARKERS)
_DARKEST, _LIGHTEST = 0.74, 0.95  # greys outside the innermost contour, which is white
_LINES = 200  # points of a contour


@dataclass(frozen=True)
class PrecisionAxis:
    """A measure of precision. of : its value for a standard error; upward : whether larger values are more precise."""

    label: str
    of: Callable[[FloatArray], FloatArray]
    upward: bool = False


PRECISION_AXES: dict[PrecisionMeasure, PrecisionAxis] = {
    "se": PrecisionAxis("Standard error", lambda se: se),
    "variance": PrecisionAxis("Sampling variance", lambda se: se**2),
    "precision": PrecisionAxis("Precision (1 / standard error)", lambda se: 1 / se, upward=True),
}


@dataclass(frozen=True, eq=False)
class FunnelPoints:
    """What is drawn, on the scale of the model.

    effect, se : (n,) observed effects, or their residuals from the fitted values; their standard errors.
    centre : the pooled estimate, 0 for residuals.
    group, groups : outer group of every observation, and the labels of the groups.
    spread : (n,) SDs of the effects under the model, heterogeneity included.  names : of the studies.
    filled : (n,) whether they are none of the data, but made up by trim and fill.
    """

    effect: FloatArray
    se: FloatArray
    centre: float
    residual: bool
    group: IntArray
    groups: tuple[str, ...]
    spread: FloatArray
    names: tuple[str, ...]
    filled: BoolArray


@keeps_old_names
def funnel(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    contours: Sequence[float] = (0.9, 0.95, 0.99),
    y: PrecisionMeasure = "se",
    scale: Scale | None = None,
    prob: float = 0.95,
    label: Labelled = None,
    labels: ByRow | None = None,
    asymmetry: Asymmetry | None = None,
) -> "DrawnAxes":
    """Observed effects against their standard errors, the most precise at the top.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    contours : sequence of float, default (0.9, 0.95, 0.99)
        Probabilities between 0 and 1: shades of grey separate effects whose two-sided p-values, against no effect, are
        above and below 1 minus these. Empty for none, and for the region around the pooled estimate in their place.
        Residuals have no contours, as these apply to effects.
    y : {"se", "variance", "precision"}, default "se"
        The measure on the y axis; precision is 1 / standard error.
    scale : {"model", "response"}, optional
        "response", the default for log ratios, draws effects as people read them: odds ratios of log odds ratios, on a
        logarithmic axis, correlations of Fisher's z, proportions of logits, whose contours are curved; "model" as they
        are modelled.
    prob : float, default 0.95
        Probability of the region around the pooled estimate, between 0 and 1.
    label : {"outliers", "all"}, optional
        Which studies are named: those that lie outside the interval in which the model, heterogeneity included, expects
        an effect of their precision with probability `prob`, or all. By default none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.
    asymmetry : {"egger", "limit"}, optional
        A line through the effects that studies of each precision have by `bm.small_study.egger`, or by
        `bm.small_study.limit_meta`, to the effect of a study without error at the top; of observed effects alone. By
        default none.

    Returns
    -------
    matplotlib Axes
        For a model with predictors or an offset, the residuals from its fitted values are drawn, as the axis says.
        Effects that `bm.small_study.filled` has put into the tree are hollow.

    Raises
    ------
    SpecError
        If `y` has another value, `contours` are not probabilities, precision is requested of effects without sampling
        error, the model has several outcomes and none is chosen, or `asymmetry` is requested of a model that has no
        such line.

    See Also
    --------
    bayesmeta.plots.forest : The same effects, study by study.

    Notes
    -----
    There is one funnel at a time: contours stand around no effect; the dashed lines, drawn where there are no
    contours, stand around the pooled estimate and contain observations of it with this probability if all
    differences are sampling error (Sterne and Egger 2001, J. Clin. Epidemiol. 54:1046-1055); heterogeneity is not
    included. For a model with several levels, observations are drawn as reported, or around the fixed part of the
    model alone: no random effect of a group is removed. Up to six outer groups with several observations have their
    own markers; more could not be told apart. Observations of one group are not independent, and together they can
    look like asymmetry.

    References
    ----------
    Peters, Sutton, Jones, Abrams and Rushton (2008), J. Clin. Epidemiol. 61:991-996.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> ax = bm.plots.funnel(bm.fit(spec))
    >>> ax.get_xlabel(), ax.get_ylabel(), bool(ax.yaxis_inverted())
    ('Odds ratio', 'Standard error', True)
    """
    check_choice(y, PRECISION_AXES, "y")
    if asymmetry is not None:
        check_choice(asymmetry, _ASYMMETRY, "asymmetry")
    z = quantile(prob)
    levels = _levels(contours)
    points = funnel_points(tree, outcome, labels)
    reading = _reading(tree, scale, points.residual)
    vertical, se = PRECISION_AXES[y], _contour_se(points, y)
    panel = only_axes(ax, height=2.7, width=words.WIDE)
    handles: list[tuple[str, Any]] = []
    null = style.measure_of(tree).null
    shades = () if points.residual or null is None else levels
    _limits(panel, points, vertical, se, z, [null] if shades and null is not None else [], reading)
    if shades and null is not None:
        handles += _shade(panel, vertical.of(se), se, shades, null, reading)
    handles += _lines(panel, points, None if points.residual else null, reading)
    if not shades:
        handles += _region(panel, points, vertical.of(se), se, z, prob, reading)
    if asymmetry is not None:
        handles += _asymmetry(panel, tree, outcome, asymmetry, vertical, se, reading)
    handles += _marks(panel, points, vertical, reading)
    style.effect_axis(panel, reading, "x")
    lines = words.label_below(panel, _label(points.residual, reading), _notes(points, bool(levels)))
    panel.set_ylabel(vertical.label, fontsize=style.TEXT)
    words.legend_beside(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    outliers = np.abs(points.effect - points.centre) > z * points.spread
    at = reading.values(points.effect), vertical.of(points.se)
    name_points(panel, *at, points.names, which(label, outliers))
    return panel


def funnel_points(tree: xr.DataTree, outcome: str | None = None, labels: ByRow | None = None) -> FunnelPoints:
    """Observations of an outcome and their centre; residuals where the fitted values differ."""
    spec = spec_from_tree(tree)
    j = chosen_outcome(spec, outcome)
    obs = np.flatnonzero(spec.outcome_index == j)
    fitted = style.fitted_means(tree)[spec.row[obs], j]
    same = np.ptp(spec.X[obs], axis=0).max() == 0 and np.ptp(spec.offset[obs]) == 0
    outer = spec.levels[0]
    groups = tuple(schema.join_label(label) for label in outer.labels)
    effect, centre = (spec.y[obs], float(fitted[0])) if same else (spec.y[obs] - fitted, 0.0)
    se, spread = np.sqrt(spec.S.variances[obs]), np.sqrt(marginal_variances(spec, covariances(tree, spec))[obs])
    names = tuple(row_labels(spec, labels).texts[row] for row in spec.row[obs])
    filled = spec.row[obs] >= len(spec.kept) - int(tree.attrs.get(schema.FILLED, 0))
    return FunnelPoints(effect, se, centre, not same, outer.index[obs], groups, spread, names, filled)


def _levels(contours: Sequence[float]) -> tuple[float, ...]:
    values = as_numbers(contours, "contours", SpecError)
    if values.ndim > 1:
        raise SpecError(f"contours is {shown(contours)}; it must be a list of probabilities")
    levels = tuple(np.sort(np.atleast_1d(values)).tolist())
    for level in levels:
        check_probability(level, "a probability of contours")
    return tuple(dict.fromkeys(levels))


def _contour_se(points: FunnelPoints, y: PrecisionMeasure) -> FloatArray:
    """Standard errors at which contours are drawn, between those at the ends of the axis."""
    exact = int((points.se == 0).sum())
    if y == "precision" and exact:
        raise SpecError(
            f"y: {exact} effects have no sampling error, so their precision is infinite\n  y='se' draws them at the top"
        )
    most = float(points.se.max()) or 1.0
    least = points.se.min() / 1.1 if y == "precision" else 0.0
    return np.linspace(least, 1.08 * most, _LINES)


def _limits(
    ax: "Axes",
    points: FunnelPoints,
    vertical: PrecisionAxis,
    se: FloatArray,
    z: float,
    nulls: Sequence[float],
    reading: Reading,
) -> None:
    """Set limits that show all points, the region around the centre, and the contours except the outermost."""
    widest = z * se[-1] * np.array([-1, 1])
    extent = [points.effect, points.centre + widest] + [null + widest for null in nulls]
    low, high = np.min(np.concatenate(extent)), np.max(np.concatenate(extent))
    margin = 0.04 * (high - low)
    if reading.log:
        ax.set_xscale("log")
    ax.set_xlim(*reading.values([low - margin, high + margin]))
    least, most = sorted(vertical.of(se[[0, -1]]))
    ax.set_ylim(*((least, most) if vertical.upward else (most, least - 0.03 * (most - least))))


def _shade(
    ax: "Axes", y: FloatArray, se: FloatArray, levels: Sequence[float], null: float, reading: Reading
) -> list[tuple[str, Any]]:
    """Regions between contours around no effect, white inside; the region outside all of them is the background."""
    from matplotlib.patches import Patch

    greys = [style.grey(grey) for grey in (1.0, *np.linspace(_DARKEST, _LIGHTEST, len(levels)))]
    ax.set_facecolor(greys[-1])
    for level, grey in reversed(list(zip(levels, greys, strict=False))):
        lower, upper = (reading.values(null + sign * quantile(level) * se) for sign in (-1, 1))
        ax.fill_betweenx(y, lower, upper, color=grey, linewidth=0, zorder=0, label=f"_contour {level:g}")
    p = [f"{1 - level:.4g}" for level in levels]
    between = [f"{low} < p < {high}" for high, low in pairwise(p)]
    labels = [f"p > {p[0]}", *between, f"p < {p[-1]}"]
    look: dict[str, Any] = {"edgecolor": style.MUTED, "linewidth": 0.5}
    return [(label, Patch(facecolor=grey, **look)) for label, grey in zip(labels, greys, strict=True)]


def _region(
    ax: "Axes", points: FunnelPoints, y: FloatArray, se: FloatArray, z: float, prob: float, reading: Reading
) -> list[tuple[str, Any]]:
    """The lines that contain `prob` of effects around the centre if there is no heterogeneity."""
    for sign in (-1, 1):
        edge = reading.values(points.centre + sign * z * se)
        look: dict[str, Any] = {"color": style.INK, "linestyle": style.LINES[1], "linewidth": 0.8, "zorder": 2}
        line = ax.plot(edge, y, label="_region", **look)[0]
    return [(f"{percent(prob)} by sampling error", line)]


def _lines(ax: "Axes", points: FunnelPoints, null: float | None, reading: Reading) -> list[tuple[str, Any]]:
    """The centre, and no effect."""
    label = "fitted value" if points.residual else "pooled estimate"
    centre = ax.axvline(float(reading.values(points.centre)), color=style.BLUE, linewidth=1.2, zorder=2)
    x = np.nan if null is None else float(reading.values(null))
    low, high = ax.get_xlim()
    if not low <= x <= high:
        return [(label, centre)]
    look: dict[str, Any] = {"color": style.INK, "linewidth": 0.8, "linestyle": ":", "zorder": 2}
    return [(label, centre), ("no effect", ax.axvline(x, label="_null", **look))]


def _asymmetry(
    ax: "Axes",
    tree: xr.DataTree,
    outcome: str | None,
    kind: Asymmetry,
    vertical: PrecisionAxis,
    se: FloatArray,
    reading: Reading,
) -> list[tuple[str, Any]]:
    """The mean effect of studies of each precision, which a regression has."""
    label, effect = _ASYMMETRY[kind](observed(tree), outcome, se)
    if not np.isfinite(effect).all():
        raise SpecError(f'asymmetry="{kind}" is for models without predictors; leave it out')
    low, high = ax.get_xlim()
    look: dict[str, Any] = {"color": style.ORANGE, "linewidth": 1.4, "zorder": 3}
    line = ax.plot(reading.values(effect), vertical.of(se), label=f"_{kind}", **look)[0]
    ax.set_xlim(low, high)
    return [(label, line)]


def _egger_line(tree: xr.DataTree, outcome: str | None, se: FloatArray) -> tuple[str, FloatArray]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)  # of the test, which is not made here
        out = egger(tree, outcome=outcome)
    return "Egger's regression", out["limit"].item() + out["estimate"].item() * se


def _limit_line(tree: xr.DataTree, outcome: str | None, se: FloatArray) -> tuple[str, FloatArray]:
    return "limit meta-analysis", limit_line(tree, "limit_meta").effect(se)


_ASYMMETRY: dict[Asymmetry, Callable[[xr.DataTree, str | None, FloatArray], tuple[str, FloatArray]]] = {
    "egger": _egger_line,
    "limit": _limit_line,
}


def _marks(ax: "Axes", points: FunnelPoints, vertical: PrecisionAxis, reading: Reading) -> list[tuple[str, Any]]:
    """The observations, marked by outer group where a few groups have several observations."""
    x, y = reading.values(points.effect), vertical.of(points.se)
    few = 2 <= len(points.groups) <= _MOST_GROUPS and len(points.groups) < len(x)
    size = float(np.clip(30 / np.sqrt(len(x)), 3.5, 5.5))
    look: dict[str, Any] = {"linestyle": "none", "markersize": size, "markeredgecolor": style.PAPER, "clip_on": False}
    look |= {"markeredgewidth": 0.5, "zorder": 4}
    if not few:
        seen = ~points.filled
        ax.plot(x[seen], y[seen], marker="o", color=style.BLUE, label="_observations", **look)
        if not points.filled.any():
            return []
        hollow = look | {"markerfacecolor": style.PAPER, "markeredgecolor": style.BLUE, "markeredgewidth": 1.0}
        label = "filled in, no data"
        return [(label, ax.plot(x[points.filled], y[points.filled], marker="o", label=label, **hollow)[0])]
    handles = []
    for g, label in enumerate(points.groups):
        own = points.group == g
        if own.any():
            marker, colour = style.MARKERS[g], style.COLOURS[g]
            mark = ax.plot(x[own], y[own], marker=marker, color=colour, label=label, **look)[0]
            handles.append((label, mark))
    return handles


def _reading(tree: xr.DataTree, scale: Scale | None, residual: bool) -> Reading:
    """How effects or residuals are drawn: contours are straight on the scale of the model, and as log ratios.

    Residuals of correlations and proportions are differences, which have no place on the scale of these.
    """
    record = style.measure_of(tree)
    if record.is_ratio:
        return style.reading(tree, scale)
    role = DIFFERENCE if residual and on_response(tree, scale) else EFFECT
    return style.reading(tree, "model" if scale is None else scale, role)


def _label(residual: bool, reading: Reading) -> str:
    label = reading.label
    return label if not residual else f"{label}: observed {'over' if reading.log else 'minus'} fitted"


def _notes(points: FunnelPoints, contours: bool) -> list[str]:
    residuals = "no contours, since these are residuals" if points.residual and contours else ""
    return [residuals, "all standard errors are 0" if not points.se.any() else ""]
