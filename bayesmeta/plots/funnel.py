"""Funnel plots: effects against their precision, about the pooled estimate or about fitted values."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta import schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.errors import SpecError
from bayesmeta.inference.predict import predict
from bayesmeta.inference.prediction_rows import one_of, quantile
from bayesmeta.plots import style, words
from bayesmeta.plots.grid import chosen_outcome
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_MOST_GROUPS = len(style.MARKERS)
_DARKEST, _LIGHTEST = 0.74, 0.95  # greys outside the innermost contour, which is white
_LINES = 200  # points of a contour


@dataclass(frozen=True)
class Scale:
    """A measure of precision. of : its value by standard error; upward : whether more of it is more precise."""

    label: str
    of: Callable[[FloatArray], FloatArray]
    upward: bool = False


SCALES = {
    "se": Scale("Standard error", lambda se: se),
    "variance": Scale("Sampling variance", lambda se: se**2),
    "precision": Scale("Precision (1 / standard error)", lambda se: 1 / se, upward=True),
}


@dataclass(frozen=True, eq=False)
class Funnel:
    """What is drawn, on the scale of the model.

    effect, se : (n,) observed effects, or what is left of them after the fitted values; their standard errors.
    centre : pooled estimate, 0 of residuals.
    group, groups : outer group of every observation, and their labels.
    """

    effect: FloatArray
    se: FloatArray
    centre: float
    residual: bool
    group: IntArray
    groups: tuple[str, ...]


def funnel(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    contours: Sequence[float] = (0.9, 0.95, 0.99),
    y: str = "se",
    ratio: bool | None = None,
    prob: float = 0.95,
) -> "Axes":
    """Observed effects against their standard errors, the most precise at the top.

    Parameters
    ----------
    tree : of `bm.fit` or `bm.sample`.
    ax : matplotlib axes to draw into; by default new ones.
    outcome : of a model with several, the one to be drawn.
    contours : probabilities between 0 and 1; shades of grey part effects whose two-sided p-values, against no effect,
        are above and below 1 less these. Empty for none. Residuals have no contours, as these hold for effects.
    y : "se", "variance" or "precision" (1 / standard error).
    ratio : whether effects are drawn as ratios on a logarithmic axis; by default, where the measure is one of ratios.
    prob : probability of the region about the pooled estimate, between 0 and 1.

    Returns
    -------
    Axes
        Of a model with predictors or an offset, the residuals about its fitted values are drawn, as the axis says.

    Raises
    ------
    SpecError
        For other values of `y`, contours that are no probabilities, precision of effects without sampling error, and
        several outcomes of which none is chosen.

    Notes
    -----
    Dashed lines hold observations of the pooled estimate with this probability where all differences are sampling error
    (Sterne and Egger 2001, J. Clin. Epidemiol. 54:1046-1055); heterogeneity is not in them. Of a model with several
    levels, observations are drawn as reported, or about the fixed part of the model alone: no random effect of a group
    is taken off. Up to six outer groups with several observations have markers of their own; more would not be told
    apart. Observations of one group are not independent, and together they can look like asymmetry.

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
    one_of("y", y, tuple(SCALES))
    z = quantile(prob)
    levels = _levels(contours)
    found, as_ratio = points(tree, outcome), style.is_ratio(tree, ratio)
    scale, se = SCALES[y], _contour_se(found, y)
    own = ax is None
    if ax is None:
        ax = style.new_axes(height=3.0)[1][0, 0]
    handles: list[tuple[str, Any]] = []
    shades = () if found.residual else levels
    null = style.measure_of(tree).null or 0.0
    _limits(ax, found, scale, se, z, [null] if shades else [], as_ratio)
    if shades:
        handles += _shade(ax, scale.of(se), se, shades, null, as_ratio)
    handles += _region(ax, found, scale.of(se), se, z, prob, as_ratio)
    handles += _marks(ax, found, scale, as_ratio)
    style.effect_axis(ax, tree, as_ratio, "x")
    lines = words.label_below(ax, _label(tree, found.residual, as_ratio), _notes(found, bool(levels)))
    ax.set_ylabel(scale.label, fontsize=style.TEXT)
    lines += words.legend_above(ax, handles)
    if own:
        words.make_room(ax, lines - 3)
    return ax


def points(tree: xr.DataTree, outcome: str | None = None) -> Funnel:
    """Observations of an outcome and their centre; residuals where the fitted values differ."""
    spec = spec_from_tree(tree)
    place = chosen_outcome(spec, outcome)
    obs = np.flatnonzero(spec.outcome_index == place)
    fitted = predict(tree)["mean"].to_numpy()[spec.row[obs], place]
    same = np.ptp(spec.X[obs], axis=0).max() == 0 and np.ptp(spec.offset[obs]) == 0
    outer = spec.levels[0]
    labels = tuple(schema.join_label(label) for label in outer.labels)
    effect, centre = (spec.y[obs], float(fitted[0])) if same else (spec.y[obs] - fitted, 0.0)
    return Funnel(effect, np.sqrt(spec.S.variances[obs]), centre, not same, outer.index[obs], labels)


def _levels(contours: Sequence[float]) -> tuple[float, ...]:
    levels = tuple(np.sort(np.ravel(np.asarray(contours, dtype=float))).tolist())
    for level in levels:
        if not 0 < level < 1:
            raise SpecError(f"contours: {level:g} is no probability between 0 and 1\n  such as (0.9, 0.95, 0.99)")
    return tuple(dict.fromkeys(levels))


def _contour_se(found: Funnel, y: str) -> FloatArray:
    """Standard errors at which contours are drawn, from those of the axis's ends."""
    exact = int((found.se == 0).sum())
    if y == "precision" and exact:
        raise SpecError(
            f"y: {exact} effects have no sampling error, and infinite precision\n  y='se' draws them at the top"
        )
    most = float(found.se.max()) or 1.0
    least = found.se.min() / 1.1 if y == "precision" else 0.0
    return np.linspace(least, 1.08 * most, _LINES)


def _limits(
    ax: "Axes", found: Funnel, scale: Scale, se: FloatArray, z: float, nulls: Sequence[float], ratio: bool
) -> None:
    """All points, the region about the centre, and the contours but the outermost."""
    widest = z * se[-1] * np.array([-1, 1])
    about = [found.effect, found.centre + widest] + [null + widest for null in nulls]
    low, high = np.min(np.concatenate(about)), np.max(np.concatenate(about))
    margin = 0.04 * (high - low)
    if ratio:
        ax.set_xscale("log")
    ax.set_xlim(*style.shown([low - margin, high + margin], ratio))
    least, most = sorted(scale.of(se[[0, -1]]))
    ax.set_ylim(*((least, most) if scale.upward else (most, least - 0.03 * (most - least))))


def _shade(
    ax: "Axes", y: FloatArray, se: FloatArray, levels: Sequence[float], null: float, ratio: bool
) -> list[tuple[str, Any]]:
    """Regions between contours about no effect, white inside; the region outside all is the ground."""
    from matplotlib.patches import Patch

    greys = [str(grey) for grey in (1.0, *np.linspace(_DARKEST, _LIGHTEST, len(levels)))]
    ax.set_facecolor(greys[-1])
    for level, grey in reversed(list(zip(levels, greys, strict=False))):
        lower, upper = (style.shown(null + sign * quantile(level) * se, ratio) for sign in (-1, 1))
        ax.fill_betweenx(y, lower, upper, color=grey, linewidth=0, zorder=0, label=f"_contour {level:g}")
    p = [f"{1 - level:.4g}" for level in levels]
    between = [f"p {low} to {high}" for high, low in pairwise(p)]
    labels = [f"p > {p[0]}", *between, f"p < {p[-1]}"]
    look: dict[str, Any] = {"edgecolor": style.MUTED, "linewidth": 0.5}
    return [(label, Patch(facecolor=grey, **look)) for label, grey in zip(labels, greys, strict=True)]


def _region(
    ax: "Axes", found: Funnel, y: FloatArray, se: FloatArray, z: float, prob: float, ratio: bool
) -> list[tuple[str, Any]]:
    """The centre, and the lines that hold `prob` of effects about it where there is no heterogeneity."""
    what = "fitted value" if found.residual else "pooled estimate"
    centre = ax.axvline(float(style.shown(found.centre, ratio)), color=style.INK, linewidth=0.9, zorder=2)
    for sign in (-1, 1):
        edge = style.shown(found.centre + sign * z * se, ratio)
        look: dict[str, Any] = {"color": style.INK, "linestyle": style.LINES[1], "linewidth": 0.8, "zorder": 2}
        line = ax.plot(edge, y, label="_region", **look)[0]
    return [(what, centre), (f"{100 * prob:g}% by sampling error", line)]


def _marks(ax: "Axes", found: Funnel, scale: Scale, ratio: bool) -> list[tuple[str, Any]]:
    """The observations, by outer group where few groups have several."""
    x, y = style.shown(found.effect, ratio), scale.of(found.se)
    few = 2 <= len(found.groups) <= _MOST_GROUPS and len(found.groups) < len(x)
    size = float(np.clip(30 / np.sqrt(len(x)), 3.5, 5.5))
    look: dict[str, Any] = {"linestyle": "none", "markersize": size, "markeredgecolor": "white", "clip_on": False}
    look |= {"markeredgewidth": 0.5, "zorder": 4}
    if not few:
        ax.plot(x, y, marker="o", color=style.BLUE, label="_observations", **look)
        return []
    handles = []
    for g, label in enumerate(found.groups):
        own = found.group == g
        if own.any():
            marker, colour = style.MARKERS[g], style.COLOURS[g]
            mark = ax.plot(x[own], y[own], marker=marker, color=colour, label=label, **look)[0]
            handles.append((label, mark))
    return handles


def _label(tree: xr.DataTree, residual: bool, ratio: bool) -> str:
    label = style.effect_label(tree, ratio)
    return label if not residual else f"{label}: observed {'over' if ratio else 'less'} fitted"


def _notes(found: Funnel, wanted: bool) -> list[str]:
    without = "no contours, since these are residuals" if found.residual and wanted else ""
    return [without, "all standard errors are 0" if not found.se.any() else ""]
