"""Observed effects against a predictor as bubbles, with the regression on it."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.inference.prediction_rows import one_of, quantile
from bayesmeta.plots import curves, estimates, style, words
from bayesmeta.plots.grid import Predictor, chosen_outcome
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_INTERVALS = ("confidence", "prediction")
_LARGEST, _SMALLEST = 13.0, 2.0  # diameters of bubbles in points
_CROWD = 45.0  # the largest diameter of n bubbles is this, divided by the square root of n, at least half of _LARGEST
_BESIDE = 0.22  # of the distance between categories, from the bubbles to the estimate
_MANY = 12  # categories that need wider axes
_MOST_TICKS = 8


def bubble(
    tree: xr.DataTree,
    x: str,
    ax: "Axes | None" = None,
    *,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    interval: str | Sequence[str] | None = _INTERVALS,
    ratio: bool | None = None,
    prob: float = 0.95,
) -> "Axes":
    """Observed effects against one predictor, and the regression on it.

    Parameters
    ----------
    tree : of `bm.fit` or `bm.sample`.
    x : column of the data, a predictor of the model, also one inside a transformation: of `log(dose)` it is "dose". Of
        numbers there is a curve; categories each have a point with its intervals, beside their bubbles.
    ax : matplotlib axes to draw into; by default new ones.
    at : values of other predictors, by column, at which the regression is drawn. Those not named are held at their
        mean, categories at the most frequent one; the label of the x axis says so.
    outcome : of a model with several, the one to be drawn.
    interval : "confidence", for the mean (shaded), "prediction", for the true effect of a new unit in a new group
        (dashed), both, or None.
    ratio : whether effects are drawn as ratios on a logarithmic axis; by default, where the measure is one of ratios.
    prob : probability of the intervals, between 0 and 1.

    Returns
    -------
    Axes

    Raises
    ------
    SpecError
        For an x that is no predictor, an unknown name or category in `at`, another interval, and several outcomes of
        which none is chosen.

    Notes
    -----
    Bubbles stand at the observed effects, which are not adjusted for other predictors. Their width is proportional to 1
    over the sampling standard error, with a smallest width that can be seen. Lines and intervals are those of
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
    ('Odds ratio', ['ablat', 'width of bubbles: 1 / standard error'])
    """
    wanted = (interval,) if isinstance(interval, str) else tuple(interval or ())
    for each in wanted:
        one_of("interval", each, _INTERVALS)
    spec = spec_from_tree(tree)
    predictor = Predictor.of(spec, x, chosen_outcome(spec, outcome), "x", random="prediction" in wanted)
    held, as_ratio = predictor.held(at), style.is_ratio(tree, ratio)
    found = regression(tree, predictor, held, wanted, prob)
    own = ax is None
    if ax is None:
        ax = _new_axes(predictor)
    se = np.sqrt(spec.S.variances[predictor.obs])
    widths, note = bubble_widths(se)
    effects = style.shown(spec.y[predictor.obs], as_ratio)
    look: dict[str, Any] = {"facecolor": style.MUTED, "edgecolor": style.INK, "alpha": 0.45, "linewidth": 0.5}
    order = np.argsort(se, kind="stable")  # large bubbles first, so that none is hidden
    ax.scatter(predictor.observed()[order], effects[order], s=widths[order] ** 2, zorder=3.5, label="_studies", **look)
    kind = "credible" if is_posterior(tree) else "confidence"
    handles = (_points if predictor.categories else _lines)(ax, found, as_ratio, f"{100 * prob:g}% ", kind)
    lines = _ticks(ax, predictor) if predictor.categories else 0
    style.effect_axis(ax, tree, as_ratio, "y")
    ax.set_ylabel(words.upright(ax.get_ylabel()), fontsize=style.TEXT)
    curves.no_effect(ax, tree, as_ratio)
    lines += words.legend_above(ax, handles) - 1
    told = list(found.values()) if wanted else []
    lines += words.label_below(ax, x, [note, predictor.words(held, at), words.not_drawn(told, as_ratio)]) - 1
    if own:
        words.make_room(ax, lines)
    return ax


def regression(
    tree: xr.DataTree, predictor: Predictor, held: Mapping[str, Any], wanted: Sequence[str], prob: float
) -> dict[str, estimates.Estimates]:
    """Estimates by the name of their interval, "" where none is wanted: at the categories, or along the numbers."""
    quantile(prob)  # refuses what is no probability
    observed = predictor.observed()
    x = predictor.positions if predictor.categories else predictor.curve(observed.min(), observed.max())
    rows = predictor.rows(predictor.values() if predictor.categories else x, held)
    names = {each: each for each in wanted} or {"": "confidence"}
    return {
        name: estimates.predicted(tree, x, rows, predictor.outcome, what, prob).sorted() for name, what in names.items()
    }


def bubble_widths(se: FloatArray) -> tuple[FloatArray, str]:
    """Diameters (n,) in points, and the words that explain them."""
    largest = float(np.clip(_CROWD / np.sqrt(len(se)), _LARGEST / 2, _LARGEST))
    known = se > 0
    widths = np.full(len(se), largest)
    if known.any():
        widths[known] = np.maximum(largest * se[known].min() / se[known], _SMALLEST)
    exact = int((~known).sum())
    return widths, "width of bubbles: 1 / standard error" + (f"; the largest for {exact} without error" * bool(exact))


def _lines(
    ax: "Axes", found: Mapping[str, estimates.Estimates], ratio: bool, prob: str, kind: str
) -> list[tuple[str, Any]]:
    from matplotlib.patches import Patch

    any_, colour = next(iter(found.values())), style.COLOURS[0]
    handles: list[tuple[str, Any]] = []
    mean = estimates.drawn(any_.mean, ratio)
    handles.append(("mean", ax.plot(any_.x, mean, color=colour, linewidth=1.6, zorder=5, label="mean")[0]))
    if each := found.get("confidence"):
        ends = estimates.drawn(each.lower, ratio), estimates.drawn(each.upper, ratio)
        ax.fill_between(each.x, *ends, color=colour, alpha=0.25, linewidth=0, zorder=2, label="_confidence")
        handles.append((prob + kind, Patch(color=colour, alpha=0.25)))
    if each := found.get("prediction"):
        look = {"color": colour, "linestyle": style.LINES[1], "linewidth": 0.9}
        handles.append((prob + "prediction", curves.edges(ax, each, ratio, "_prediction", **look)))
    return handles


def _points(
    ax: "Axes", found: Mapping[str, estimates.Estimates], ratio: bool, prob: str, kind: str
) -> list[tuple[str, Any]]:
    from matplotlib.lines import Line2D

    x, colour = next(iter(found.values())).x, style.COLOURS[0]
    beside = _BESIDE * (float(np.diff(x).min()) if len(x) > 1 else 1.0)
    handles: list[tuple[str, Any]] = []
    for name, label, width in (("prediction", "prediction", 0.9), ("confidence", kind, 2.2)):
        if each := found.get(name):
            ends = estimates.drawn(each.lower, ratio), estimates.drawn(each.upper, ratio)
            ax.vlines(each.x + beside, *ends, color=colour, linewidth=width, zorder=4, label=f"_{name}")
            handles.append((prob + label, Line2D([], [], color=colour, linewidth=width)))
    mean = estimates.drawn(next(iter(found.values())).mean, ratio)
    look: dict[str, Any] = {
        "marker": "D",
        "markersize": 4,
        "markeredgecolor": "white",
        "markeredgewidth": 0.6,
        "color": colour,
    }
    dots = ax.plot(x + beside, mean, linestyle="none", zorder=6, label="mean", **look)[0]
    return [("mean", dots), *reversed(handles)]


def _ticks(ax: "Axes", predictor: Predictor) -> int:
    """Returns the number of lines beyond the first that the names of categories take."""
    positions, labels = predictor.positions, predictor.categories
    gap = float(np.diff(np.sort(positions)).min()) if len(positions) > 1 else 1.0
    ax.set_xlim(positions.min() - 0.5 * gap, positions.max() + 0.6 * gap)
    return words.categories_axis(ax, positions, labels) if not predictor.numeric or len(labels) <= _MOST_TICKS else 0


def _new_axes(predictor: Predictor) -> "Axes":
    """Room for the names of categories."""
    labels = predictor.categories if not predictor.numeric else ()
    axes = style.new_axes(width=style.PAGE if len(labels) > _MANY else style.COLUMN)[1]
    ax: Axes = axes[0, 0]
    return ax
