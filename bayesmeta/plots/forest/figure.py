"""Forest plots: what every study reports, what the model predicts for it, and what comes out of all."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from bayesmeta._typing import AnyArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.forest import axis, spacing
from bayesmeta.plots.forest import texts as texts
from bayesmeta.plots.forest.marks import Marks, legend_handles
from bayesmeta.plots.forest.rows import Forest, forest_rows
from bayesmeta.plots.forest.spacing import Inset, Lines, Panel
from bayesmeta.plots.forest.table import draw_texts, panels_of
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


def forest(
    tree: xr.DataTree,
    ax: Any = None,
    *,
    labels: Any = None,
    columns: Any = None,
    subgroup: Any = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    sort: Any = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> "Axes | AnyArray":
    """Every study's estimate and interval, what the model predicts for it, and what comes out of all.

    Parameters
    ----------
    tree : results tree of `bm.fit` or `bm.sample`.
    ax : matplotlib axes; for several outcomes a sequence of them, one for each. Columns of text take their room within
        the place of the axes, with letters of 7 to 5 points, the largest that fit. By default those of a new figure,
        which is as large as its texts need.
    labels : of all rows of the data, one text each, or the name of a column that the formulas used. By default the
        labels of the innermost level where the rows of the data are only numbered, else the data's index.
    columns : numbers to stand beside the labels, such as events and totals: a data frame with the rows of the data, or
        a dict of headings to values by row. A pair ("Vaccinated", "TB") puts "TB" below "Vaccinated".
    subgroup : of all rows, or the name of a column that the formulas used: rows stand under headings. Below each stands
        the mean of the subgroup where the model's predictors give all of its rows one, as `logrr ~ alloc` does for
        `subgroup="alloc"`; subgroups that the model does not tell apart have headings alone, since no fit of their own
        is in the tree.
    outcome : one or several of the tree's; by default all, side by side.
    blup : whether predictions of the true effects (`bm.blup`) are drawn.
    prediction : whether the interval is drawn that the true effect of a new group lies in.
    weights : whether weights are printed.
    sort : "estimate", smallest first; "weight", largest first; "label"; or a column to sort by, as for `labels`. Rows
        are sorted within their groups, which come in the order of their first rows. By default the order of the data.
    ratio : whether effects are drawn as ratios; by default where the measure is the log of one.
    prob : of all intervals, between 0 and 1.
    limits : of the axis, as drawn: ratios as ratios. By default so that all is seen, except for intervals many times
        wider than the others.

    Returns
    -------
    Axes
        Of one outcome; of several, or where `ax` is a sequence, an array of them. The axis of effects is an ordinary
        one; lines stand at heights that count downwards from 0.

    Raises
    ------
    SpecError
        For a column that is not in the tree or has the wrong length, an unknown outcome, the wrong number of axes, and
        axes too small for the texts, with the size that they need.

    Notes
    -----
    Squares are the estimates y with y -+ z sqrt(S), their areas in proportion to the weights; circles beside them the
    predictions of `bm.blup`. Intervals that end in an arrow go on. Where a level has groups of several rows, these
    stand under headings with an open diamond, the prediction of the group. Below are the pooled estimate (`bm.predict`)
    as a diamond as wide as its interval and the prediction interval, dashed. Rows that are not in the model are listed
    with the reason, and an outcome that a row does not report is called so.

    Weights are those of generalised least squares, a row of (X' Sigma^-1 X)^-1 X' Sigma^-1 with the estimated Psi in
    Sigma; of a posterior their mean over draws, which gives the posterior mean of a coefficient with a flat prior. Of
    several outcomes they are the weights in the mean of the outcome itself and add up to 100%; the other outcomes,
    whose weights add up to 0, contribute through the correlations.

    With predictors there is nothing pooled: a faint diamond in every row is the fitted value, and the areas of squares
    are in proportion to 1 / Var(y). Trees of method "fixed" have neither BLUPs nor a prediction interval.

    References
    ----------
    Lewis and Clarke (2001), BMJ 322:1479-1480. Viechtbauer (2010), J. Stat. Softw. 36(3).

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"))
    >>> ax = bm.plots.forest(fit, labels=bcg["author"], columns={"TB": bcg["tpos"], "controls": bcg["cpos"]})
    >>> [text.get_text() for text in ax.texts if "[" in text.get_text()][-2:]
    ['0.49 [0.34, 0.70]', '[0.15, 1.55]']
    """
    asked = {"blup": blup, "prediction": prediction, "weights": weights}
    what = {"labels": labels, "columns": columns, "subgroup": subgroup, "outcome": outcome, "sort": sort}
    said = forest_rows(tree, **what, **asked, prob=prob)
    ratio = style.is_ratio(tree, ratio)
    given = _given(ax, said)
    names = [spacing.wrapped(line.label, line.depth) for line in said.lines]
    legend = _legend(tree, said)
    labelled = _labelled(given, len(said.outcomes))
    heading = texts.effect_heading(tree, ratio, prob)
    panels = panels_of(said, names, heading, ratio, labelled, list(legend.values()))
    lines = spacing.lines_of(said, names)
    axes, size = _new(panels, lines) if given is None else (given, _letters(given, tree, ratio, panels, lines))
    measure = style.measure_of(tree)
    for j, (one, panel) in enumerate(zip(axes, panels, strict=True)):
        ends = axis.limits(said.cells(j), measure.null, measure.is_ratio) if limits is None else _limits(limits, ratio)
        _panel(one, tree, said, j, panel, lines, size, ends, ratio, measure.null, legend)
    return np.array(axes, dtype=object) if len(axes) > 1 or _is_sequence(ax) else axes[0]


def _panel(
    ax: "Axes",
    tree: xr.DataTree,
    said: Forest,
    outcome: int,
    panel: Panel,
    lines: Lines,
    size: float,
    ends: tuple[float, float],
    ratio: bool,
    null: float | None,
    legend: dict[str, str],
) -> None:
    """One outcome into its axes."""
    left, right = panel.room("left", size), panel.room("right", size)
    box = _box(ax)
    ax.set_axes_locator(Inset(ax, left, right))
    style.tidy(ax)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    if ratio:
        ax.set_xscale("log")
    ax.set_xlim(*style.shown(ends, ratio))
    ax.set_ylim(lines.bottom, -lines.head - 0.5)
    Marks(ax, ends, ratio, box.height / lines.units).draw(said, outcome, lines, null)
    draw_texts(ax, panel, lines, size)
    axis.draw_axis(ax, tree, ratio, size, box.width - left - right)
    if panel.legend:
        _draw_legend(ax, legend, left, size)


def _draw_legend(ax: "Axes", legend: dict[str, str], left: float, size: float) -> None:
    """Below the labels, beside the axis, where nothing else stands."""
    from matplotlib.transforms import ScaledTranslation

    corner = ax.transAxes + ScaledTranslation(-left / 72, -2 / 72, ax.figure.dpi_scale_trans)
    ax.legend(
        handles=legend_handles(list(legend.values()), list(legend)),
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=corner,
        fontsize=size,
        frameon=False,
        borderpad=0,
        borderaxespad=0,
        handlelength=2,
        labelspacing=0.25,
        handletextpad=0.5,
    )


def _legend(tree: xr.DataTree, said: Forest) -> dict[str, str]:
    """Words for the kinds of marks that are drawn, where there are several of them in one line."""
    word = "posterior" if is_posterior(tree) else "BLUP"
    cells = [(line.kind, cell) for line in said.lines for cell in line.cells]
    known = {
        "observed": "observed",
        "blup": word if any(kind == "row" and cell.blup for kind, cell in cells) else "",
        "group": f"{word}, {'/'.join(said.levels)}"
        if any(kind == "heading" and cell.blup for kind, cell in cells)
        else "",
        "fitted": "fitted" if any(kind == "row" and cell.mean for kind, cell in cells) else "",
    }
    found = {kind: words for kind, words in known.items() if words}
    return found if len(found) > 1 else {}


def _new(panels: Sequence[Panel], lines: Lines) -> tuple[list["Axes"], float]:
    """Axes of a new figure, as large as its texts need."""
    size, width = spacing.new_size(panels)
    foot = max(3.9, 1.4 * len(panels[0].legend)) * size + 8
    height = (lines.units * spacing.PITCH * size + foot) / 72
    ratios = [panel.taken(size, spacing.LEAST_PLOT) for panel in panels]
    spare = (72 * width - sum(ratios)) / len(ratios)
    _, axes = style.new_axes(1, len(panels), width, height, width_ratios=[r + spare for r in ratios])
    return list(axes[0]), size


def _letters(axes: Sequence["Axes"], tree: xr.DataTree, ratio: bool, panels: Sequence[Panel], lines: Lines) -> float:
    """Size of letters for axes of a given size, which is known once their labels are there."""
    for ax in axes:
        style.tidy(ax)
        ax.set_yticks([])
        ax.set_xlabel("\n".join([style.effect_label(tree, ratio)] * 2), fontsize=spacing.SIZES[0])
    return spacing.fitting_size(panels, lines, [_box(ax) for ax in axes])


def _box(ax: "Axes") -> Any:
    """Place of axes in points, as the figure gives it to them."""
    from matplotlib.transforms import Affine2D

    _root(ax).draw_without_rendering()
    return ax.get_window_extent().transformed(Affine2D().scale(72 / ax.figure.dpi))


def _root(ax: "Axes") -> "Figure":
    return cast("Figure", ax.get_figure(root=True))


def _given(ax: Any, said: Forest) -> list["Axes"] | None:
    if ax is None:
        return None
    from matplotlib.axes import Axes

    axes = list(np.ravel(np.asarray(ax, dtype=object)))
    for one in axes:
        if not isinstance(one, Axes):
            raise SpecError(f"ax is a {type(one).__name__}; give matplotlib axes, such as those of plt.subplots()")
    if len(axes) != len(said.outcomes):
        raise SpecError(
            f"{len(axes)} axes for {len(said.outcomes)} outcomes: {listing(said.outcomes, 20)}\n"
            f"  give one axes for each, or choose with outcome={said.outcomes[0]!r}"
        )
    return axes


def _labelled(axes: Sequence["Axes"] | None, k: int) -> list[bool]:
    """Panels that carry the labels: the first, and those that do not stand beside the one before."""
    if axes is None:
        return [True] + [False] * (k - 1)
    heights = [(box.y0, box.y1) for box in (ax.get_position(original=True) for ax in axes)]
    return [True] + [not np.allclose(one, two) for one, two in zip(heights[1:], heights[:-1], strict=True)]


def _limits(given: tuple[float, float], ratio: bool) -> tuple[float, float]:
    low, high = (float(value) for value in given)
    if not (np.isfinite([low, high]).all() and low < high and (low > 0 or not ratio)):
        what = "two ratios above zero" if ratio else "two numbers"
        raise SpecError(f"limits={given!r}; give {what}, the smaller one first")
    return (float(np.log(low)), float(np.log(high))) if ratio else (low, high)


def _is_sequence(ax: Any) -> bool:
    return isinstance(ax, list | tuple | np.ndarray)
