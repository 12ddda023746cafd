"""Radial (Galbraith) plots: standardised effects against their precision, an estimate being a slope."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.plots import style, words
from bayesmeta.plots.funnel import funnel_points
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.tree.response import Reading, Scale
from bayesmeta.tree.row_labels import ByRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_ROOM = 1.06  # radius of the arc to that of the farthest point
_SHAPE = 0.7  # of the axes as drawn, half their height to their width, by which the arc is round
_HIGHEST = 0.9  # of half the height of the axes, to which the arc reaches
_ARC = 100  # points of the arc


def radial(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    heterogeneity: bool = True,
    scale: Scale | None = None,
    prob: float = 0.95,
    label: Labelled = "outliers",
    labels: ByRow | None = None,
) -> "DrawnAxes":
    """Standardised effects against their precision: an effect is the slope of a line through zero.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    heterogeneity : bool, default True
        Whether the variance of an effect includes the heterogeneity; False for sampling errors alone, as Galbraith
        drew it.
    scale : {"model", "response"}, optional
        How the effects on the arc are read, as for `bm.plots.funnel`.
    prob : float, default 0.95
        Probability of the band around the line of the pooled estimate, between 0 and 1.
    label : {"outliers", "all"}, default "outliers"
        Which studies are named: those outside the band, or all; None for none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.

    Returns
    -------
    matplotlib Axes
        The line is the pooled estimate. A line from zero through a point meets the arc on the right at its effect. For
        a model with predictors, the residuals from its fitted values are drawn, as the axis says.

    Raises
    ------
    SpecError
        When effects have no sampling error and heterogeneity is left out, or the model has several outcomes and none is
        chosen.

    See Also
    --------
    bayesmeta.plots.funnel : The same in other coordinates.

    References
    ----------
    Galbraith (1988), Technometrics 30:271-281.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.radial(fit)
    >>> ax.get_xlabel()
    '1 / √(sampling variance + heterogeneity)'
    """
    check_boolean(heterogeneity, "heterogeneity")
    z, points = quantile(prob), funnel_points(tree, outcome, labels)
    sd = points.spread if heterogeneity else points.se
    if not (sd > 0).all():
        raise SpecError("radial: an effect without sampling error has infinite precision\n  keep heterogeneity=True")
    reading = style.reading(tree, "model" if points.residual and scale is None else scale)
    precision, standardised = 1 / sd, points.effect / sd
    panel = only_axes(ax, height=3.0, width=style.COLUMN + 0.8)
    height = 1.1 * max(np.abs(standardised).max(), np.abs(points.centre).max() * precision.max() + z)
    shape = _SHAPE * precision.max() / height
    radius = _ROOM * np.hypot(precision, shape * standardised).max()
    x = np.array([0.0, radius])
    panel.plot(x, points.centre * x, color=style.BLUE, linewidth=1.2, label="pooled estimate", zorder=2)
    panel.fill_between(x, points.centre * x - z, points.centre * x + z, color=style.grey(0.9), linewidth=0, zorder=0)
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": style.PAPER, "markeredgewidth": 0.5}
    panel.plot(precision, standardised, color=style.BLUE, markersize=4.5, label="_observations", zorder=4, **look)
    panel.set_xlim(0, radius)
    panel.set_ylim(-height, height)
    _arc(panel, points.effect, radius, height, shape, reading)
    across = "1 / √(sampling variance + heterogeneity)" if heterogeneity else "1 / standard error"
    lines = words.label_below(panel, across, [f"band: {percent(prob)} of effects around the line"])
    panel.set_ylabel("Standardised residual" if points.residual else "Standardised effect", fontsize=style.TEXT)
    if ax is None:
        words.make_room(panel, lines)
    outside = np.abs(standardised - points.centre * precision) > z
    name_points(panel, precision, standardised, short(points.names), which(label, outside))
    return panel


def _arc(ax: "Axes", effects: FloatArray, radius: float, height: float, shape: float, reading: Reading) -> None:
    """An arc that a line from zero meets at the effect that is its slope, with ticks; nearly round as drawn."""
    low, high = float(effects.min()), float(effects.max())
    most = np.arcsin(min(1.0, _HIGHEST * shape * height / radius))
    ends = np.clip(np.arctan(shape * np.array([low, high])), -most, most)
    angles = np.linspace(float(ends[0]), float(ends[1]), _ARC)
    look: dict[str, Any] = {"color": style.MUTED, "linewidth": 0.8, "clip_on": False}
    ax.plot(radius * np.cos(angles), radius * np.sin(angles) / shape, label="_arc", **look)
    for tick in _ticks(low, high, reading):
        angle = np.arctan(shape * tick)
        if abs(angle) > most:
            continue
        x, y = radius * np.cos(angle), radius * np.sin(angle) / shape
        ax.plot([x, 1.015 * x], [y, 1.015 * y], label="_tick", **look)
        text = f"{float(reading.values(tick)):.3g}"
        ax.annotate(text, (1.03 * x, 1.03 * y), fontsize=style.SMALL, va="center", annotation_clip=False)
    place: dict[str, Any] = {"xy": (1, 1), "xycoords": "axes fraction", "ha": "right", "va": "bottom"}
    ax.annotate(reading.label, fontsize=style.SMALL, color=style.MUTED, **place)


def _ticks(low: float, high: float, reading: Reading) -> list[float]:
    """Round numbers as they are read, as effects."""
    from matplotlib.ticker import MaxNLocator

    ends = np.sort(reading.values([low, high]))
    if reading.log:
        return [float(np.log(t)) for t in style.ratio_ticks(float(ends[0]), float(ends[1]))]
    return [reading.inverse(float(t)) for t in MaxNLocator(6).tick_values(*ends) if ends[0] <= t <= ends[1]]
