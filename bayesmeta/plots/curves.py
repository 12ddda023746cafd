"""Estimates as curves with bands and as points with intervals, and the studies behind them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta.plots import style
from bayesmeta.plots.estimates import Estimates, drawn, trajectories
from bayesmeta.plots.grid import Predictor

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

ESTIMATE = "estimate"
_MARGIN = 0.05  # of the height of an axis


def curve(ax: "Axes", found: Estimates, ratio: bool, look: int, name: str) -> "Artist":
    """A line labelled `name` and its band, whose edges are drawn in the same style; returns the line.

    `look` picks colour and style of the line. A single model has no name, its line is labelled `ESTIMATE`.
    """
    name = name or ESTIMATE
    colour, line = style.COLOURS[look], style.LINES[look]
    lower, upper = drawn(found.lower, ratio), drawn(found.upper, ratio)
    ax.fill_between(found.x, lower, upper, color=colour, alpha=0.18, linewidth=0, zorder=2, label=f"_{name} band")
    edges(ax, found, ratio, f"_{name} edge", color=colour, linestyle=line, linewidth=0.6)
    mean = drawn(found.mean, ratio)
    return ax.plot(found.x, mean, color=colour, linestyle=line, linewidth=1.6, zorder=5, label=name)[0]


def edges(ax: "Axes", found: Estimates, ratio: bool, name: str, **look: Any) -> "Artist":
    """Both ends of the intervals as lines; returns one."""
    for edge in (found.lower, found.upper):
        line = ax.plot(found.x, drawn(edge, ratio), zorder=3, label=name, **look)[0]
    return line


def intervals(ax: "Axes", found: Estimates, ratio: bool, look: int, name: str) -> "Artist":
    """Points labelled `name`, joined by a line, with their intervals as bars; returns the line."""
    name = name or ESTIMATE
    colour = style.COLOURS[look]
    mean, lower, upper = (drawn(values, ratio) for values in (found.mean, found.lower, found.upper))
    ax.vlines(found.x, lower, upper, color=colour, linewidth=1.2, zorder=4, label=f"_{name} intervals")
    marker: dict[str, Any] = {"marker": style.MARKERS[look], "markersize": 4, "markeredgecolor": "white"}
    line: dict[str, Any] = {"color": colour, "linestyle": style.LINES[look], "linewidth": 1}
    return ax.plot(found.x, mean, zorder=6, label=name, **line, **marker)[0]


def no_effect(ax: "Axes", tree: xr.DataTree, ratio: bool) -> None:
    """A thin level line at no effect where this lies within the limits; the limits stay."""
    null = style.measure_of(tree).null
    low, high = sorted(ax.get_ylim())
    if null is not None and low <= (value := float(style.shown(null, ratio))) <= high:
        ax.axhline(value, color=style.MUTED, linewidth=0.6, zorder=1)


def studies(ax: "Axes", predictors: Sequence[Predictor], ratio: bool) -> "Artist":
    """Observed effects, faint, those of one group joined: a line with gaps for each predictor; returns the last."""
    joined = [trajectories(predictor) for predictor in predictors]
    look: dict[str, Any] = {"color": style.FAINT, "linewidth": 0.5, "marker": ".", "markersize": 2.5, "zorder": 1}
    look["alpha"] = float(np.clip(20 / sum(len(np.unique(index)) for index in joined), 0.4, 0.7))
    for predictor, index in zip(predictors, joined, strict=True):
        x, y = predictor.observed(), style.shown(predictor.spec.y[predictor.obs], ratio)
        order = np.lexsort((x, index))
        gaps = np.flatnonzero(np.diff(index[order])) + 1
        x, y = (np.insert(values[order], gaps, np.nan) for values in (x, y))
        line = ax.plot(x, y, label="_studies", **look)[0]
    return line


def focus(ax: "Axes", found: Sequence[Estimates], predictors: Sequence[Predictor], ratio: bool) -> str:
    """Keeps far-off studies from pressing the estimates flat: the axis ends one range of the estimates beyond them.

    Returns words on the observed effects that lie outside, "" for none.
    """
    inside = np.concatenate([np.concatenate([each.lower, each.mean, each.upper]) for each in found])
    inside = inside[np.isfinite(drawn(inside, ratio))]
    y = np.concatenate([predictor.spec.y[predictor.obs] for predictor in predictors])
    if len(inside) == 0 or (span := float(np.ptp(inside))) == 0:
        return ""
    low, high = (float(end) for end in (inside.min(), inside.max()))
    low, high = max(low - span, min(low, y.min())), min(high + span, max(high, y.max()))
    margin = _MARGIN * (high - low)
    outside = int(((y < low - margin) | (y > high + margin)).sum())
    if not outside:
        return ""
    ax.set_ylim(*style.shown([low - margin, high + margin], ratio))
    return f"beyond the axis: {outside} of {len(y)} effects of studies"
