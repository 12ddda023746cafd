"""Orchard plots: every observed effect, the mean with its interval, and where the effects of new studies lie."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta import schema
from bayesmeta._typing import FloatArray
from bayesmeta.plots import style
from bayesmeta.plots.orchard_rows import Orchard, categories
from bayesmeta.plots.panels import inches_high, only_axes, percent, wrapped
from bayesmeta.plots.swarm import swarm
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HALF, _ABOVE, _BELOW = 0.3, 0.12, 0.32  # in rows: half a swarm's width, and its centre and the intervals off the row's
_LARGEST, _LEAST = 7.0, 1.6  # diameters of points in points
_SAME = 1e-6  # of the interval's width: intervals that differ by less are one


def orchard(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
) -> "Axes":
    """Observed effects as swarms of points, with the mean, its confidence interval and the prediction interval.

    Parameters
    ----------
    tree : results tree of `bm.fit` or `bm.sample`.
    ax : matplotlib axes to draw into; by default new ones.
    by : column of a categorical predictor of the model, each category of which has a row; by default one row for all.
    at : values of other predictors for which means and intervals hold; by default numeric ones are at their mean over
        the rows in the model.
    outcome : one of several outcomes; by default each has its rows.
    ratio : whether effects are drawn back-transformed on a logarithmic axis; by default where the measure is a log
        ratio.
    prob : probability of both intervals, between 0 and 1.

    Returns
    -------
    Axes
        Points are observed effects, their areas proportional to 1 / SE. Below them the thick line is the confidence
        interval of the mean (of a posterior, its credible interval), the thin one the prediction interval. Labels
        give k, the number of effects, and how many outer groups they come from.

    Raises
    ------
    SpecError
        When `by` is no predictor of the model or has too many values, and when a categorical predictor that is neither
        `by` nor in `at` would leave open which mean is meant.

    Notes
    -----
    Nakagawa et al. (2021), Res. Synth. Methods 12:4-12. Both intervals are those of `bm.predict`: the prediction
    interval is that of the true effect in a new unit of a new group of every level.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logor ~ alloc", bcg, S="logorvar", measure="logor"))
    >>> ax = bm.plots.orchard(fit, by="alloc")
    >>> ax.get_yticklabels()[0].get_text()
    'random\\nk = 7'
    """
    rows, held = categories(tree, by, at, outcome, prob)
    as_ratio = style.is_ratio(tree, ratio)
    ax = only_axes(ax, 1.0 + 0.75 * len(rows))
    if as_ratio:
        ax.set_xscale("log")
    else:
        ax.locator_params("x", nbins=6)
    _limits(ax, rows, as_ratio)
    for place, row in zip(range(len(rows))[::-1], rows, strict=True):
        _swarm(ax, row, place, as_ratio, max(_precision(rows)), len(rows))
        _trunk(ax, row, place - _BELOW, as_ratio)
    labels = [_label(row, spec_from_tree(tree).levels[0].name) for row in rows]
    ax.set_yticks(range(len(rows))[::-1], labels, fontsize=style.SMALL)
    ax.tick_params("y", length=0)
    style.effect_axis(ax, tree, as_ratio)
    ax.set_xlabel("\n".join([ax.get_xlabel(), *([wrapped(f"at {held}", 50)] if held else [])]))
    _legend(ax, rows, prob, tree)
    return ax


def _precision(rows: list[Orchard]) -> Iterator[float]:
    yield from (float(p) for row in rows for p in 1 / row.se)


def _limits(ax: "Axes", rows: list[Orchard], as_ratio: bool) -> None:
    """Set before anything is drawn, as the places in a swarm depend on them; infinite ends are left to arrows."""
    ends = np.concatenate([[*row.y, row.mean, *row.confidence, *row.prediction] for row in rows])
    ends = ends[np.isfinite(ends)]
    margin = 0.06 * (np.ptp(ends) or 1.0)
    ax.set_xlim(*style.shown([ends.min() - margin, ends.max() + margin], as_ratio))
    ax.set_ylim(-0.6, len(rows) - 0.4)


def _swarm(ax: "Axes", row: Orchard, place: int, as_ratio: bool, most: float, n_rows: int) -> None:
    figure = ax.get_figure(root=True)
    assert figure is not None
    wide = 0.8 * 72 * ax.get_position().width * figure.get_size_inches()[0]  # labels take some of it
    high = 0.75 * 72 * inches_high(ax) / n_rows
    low, top = np.log(ax.get_xlim()) if as_ratio else ax.get_xlim()
    diameter = _diameters(1 / row.se, most)
    height = swarm((row.y - low) / (top - low) * wide, diameter / 2) / high
    if height.size and np.abs(height).max() > _HALF:
        height *= _HALF / np.abs(height).max()
    ax.scatter(
        style.shown(row.y, as_ratio),
        place + _ABOVE + height,
        s=diameter**2,
        color=style.SKY,
        edgecolor=style.BLUE,
        linewidth=0.4,
        alpha=0.6,
        zorder=2,
    )


def _diameters(precision: FloatArray, most: float) -> FloatArray:
    return np.maximum(_LARGEST * np.sqrt(precision / most), _LEAST)


def _trunk(ax: "Axes", row: Orchard, place: float, as_ratio: bool) -> None:
    limits = ax.get_xlim()
    for (low, high), width in ((row.prediction, 1.0), (row.confidence, 3.2)):
        if np.isnan(low) or np.isnan(high):
            continue
        ends = np.clip(style.shown([low, high], as_ratio), *limits)
        ax.hlines([place], *ends, color=style.INK, linewidth=width, zorder=3)
        for end, bound, shape in zip(ends, (low, high), "<>", strict=True):
            if np.isinf(bound):
                ax.plot([end], [place], shape, color=style.INK, markersize=4, clip_on=False, zorder=3)
    mean = style.shown([row.mean], as_ratio)
    ax.plot(mean, [place], "o", color=style.ORANGE, markeredgecolor=style.INK, markersize=6, zorder=4)
    if np.isnan(row.prediction).any():
        ax.annotate(
            "no interval", (mean[0], place), (0, 8), textcoords="offset points", ha="center", fontsize=style.SMALL
        )


def _label(row: Orchard, outer: str) -> str:
    k = len(row.y)
    groups = (
        ""
        if row.groups == k and outer == schema.UNIT
        else f" in {row.groups} {'group' if row.groups == 1 else 'groups'}"
    )
    return f"{wrapped(row.category, 18)}\nk = {k}{groups}"


def _legend(ax: "Axes", rows: list[Orchard], prob: float, tree: xr.DataTree) -> None:
    from matplotlib.lines import Line2D

    low, high = np.quantile(list(_precision(rows)), [0.1, 1.0])
    same = all(np.allclose(row.confidence, row.prediction, atol=_SAME, equal_nan=True) for row in rows)
    word = "credible" if schema.POSTERIOR in tree.children else "confidence"
    lines = [
        Line2D([], [], color=style.INK, linewidth=3.2, label=f"{percent(prob)} {word}"),
        Line2D([], [], color=style.INK, linewidth=1.0, label="prediction: the same" if same else "prediction"),
    ]
    for text in dict.fromkeys(f"{value:.2g}" for value in (low, high)):
        point = Line2D([], [], marker="o", linestyle="", color=style.SKY, markeredgecolor=style.BLUE, alpha=0.6)
        point.set(markersize=float(_diameters(np.array([float(text)]), high)[0]), label=f"1/SE = {text}")
        lines.append(point)
    ax.legend(
        handles=lines,
        loc="lower left",
        bbox_to_anchor=(-0.02, 1.0),
        ncols=2,
        fontsize=style.SMALL,
        frameon=False,
        borderpad=0,
        columnspacing=1.2,
    )
