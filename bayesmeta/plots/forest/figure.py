"""Forest plots: what every study reports, what the model predicts for it, and the pooled result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
import xarray as xr

from bayesmeta._validation import check_boolean, listing, shown
from bayesmeta.arrays import as_numbers
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.forest import axis, spacing, texts
from bayesmeta.plots.forest.marks import Marks, legend_handles
from bayesmeta.plots.forest.rows import ForestContent, forest_content
from bayesmeta.plots.forest.spacing import Inset, LineHeights, Panel
from bayesmeta.plots.forest.table import draw_texts, panels_of
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta._typing import AnyArray
    from bayesmeta.plots.style import AxesLike, DrawnAxes

type SortKey = Literal["estimate", "weight", "label"] | texts.ByRow


@overload
def forest(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | None = None,
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    sort: SortKey | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> "DrawnAxes": ...
@overload
def forest(
    tree: xr.DataTree,
    ax: "Sequence[Axes] | AnyArray",
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    sort: SortKey | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> style.AxesArray: ...
@overload
def forest(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: list[str] | tuple[str, ...],
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    sort: SortKey | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> style.AxesArray: ...
def forest(
    tree: xr.DataTree,
    ax: "AxesLike | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = True,
    prediction: bool = True,
    weights: bool = True,
    sort: SortKey | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
) -> "DrawnAxes | style.AxesArray":
    """Every study's estimate and interval, what the model predicts for it, and the pooled result.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : Axes or sequence of Axes, optional
        Matplotlib axes; for several outcomes a sequence with one for each. Columns of text are placed within the space
        of the axes, in the largest font from 7 to 5 points that fits. By default the axes of a new figure, which is as
        large as its texts need.
    labels : str or sequence, optional
        One text for each row of the data, or the name of a column of the data. By default the labels of the
        innermost level where the rows of the data are only numbered, else the index of the data.
    columns : DataFrame or mapping, optional
        Numbers to be shown beside the labels, such as events and totals: a data frame with the rows of the data, or a
        dict of headings to values by row. A pair ("Vaccinated", "TB") puts "TB" below "Vaccinated".
    subgroup : str or sequence, optional
        One value for each row, or the name of a column of the data: rows are grouped under headings. Below
        each group is its mean, if the model's predictors give all of its rows the same one, as `logrr ~ alloc` does for
        `subgroup="alloc"`; subgroups that the model does not distinguish have only headings, because the tree holds no
        separate fits of them.
    outcome : str or sequence of str, optional
        One or several of the tree's outcomes; by default all, side by side.
    blup : bool, default True
        Whether to draw predictions of the true effects (`bm.blup`).
    prediction : bool, default True
        Whether to draw the prediction interval for the true effect of a new group.
    weights : bool, default True
        Whether to print weights.
    sort : {"estimate", "weight", "label"}, str or sequence, optional
        "estimate", smallest first; "weight", largest first; "label"; or a column to sort by, as for `labels`. Rows are
        sorted within their groups, which keep the order of their first rows. By default the order of the data.
    ratio : bool, optional
        Whether effects are drawn as ratios on a logarithmic axis; by default, where the measure is a log ratio.
    prob : float, default 0.95
        Probability of all intervals, between 0 and 1.
    limits : pair of float, optional
        Limits of the axis as drawn: ratios as ratios. By default all is visible, except for intervals many times wider
        than the others.

    Returns
    -------
    matplotlib Axes or array of Axes
        Axes for one outcome; an array where there are several, or `ax` or `outcome` is a sequence. Type checkers, which
        cannot know how many outcomes a tree has, take it for Axes unless one of these is a sequence; `figure` is there
        either way. The axis of effects is an ordinary one; lines are at heights that count downwards from 0.

    Raises
    ------
    SpecError
        If a column is not in the tree or has the wrong length, an outcome is unknown, the number of axes is wrong, or
        the axes are too small for the texts; the message gives the size that they need.

    See Also
    --------
    bayesmeta.plots.orchard : Effects by category, without a line for each.
    bayesmeta.plots.caterpillar : Random effects alone, sorted.

    Notes
    -----
    Squares are the estimates y with y -+ z sqrt(S), with areas proportional to the weights; circles beside them are the
    predictions of `bm.blup`. Intervals that end in an arrow extend further. Where a level has groups of several rows,
    these are listed under headings with an open diamond, the prediction for the group. At the bottom are the pooled
    estimate (`bm.predict`), a diamond as wide as its interval, and the prediction interval, dashed. Rows that are not
    in the model are listed with the reason, and an outcome that a row lacks is marked as not reported.

    Weights are those of generalised least squares, a row of (X' Sigma^-1 X)^-1 X' Sigma^-1 with the estimated Psi in
    Sigma; for a posterior their mean over draws, which gives the posterior mean of a coefficient with a flat prior.
    With several outcomes they are the weights in the mean of the outcome itself and add up to 100%; the other outcomes,
    whose weights add up to 0, contribute through the correlations.

    With predictors there is no pooled estimate: a faint diamond in every row is the fitted value, and the areas of
    squares are proportional to 1 / Var(y). Trees of method "fixed" have neither BLUPs nor a prediction interval.

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
    for name, value in (("blup", blup), ("prediction", prediction), ("weights", weights)):
        check_boolean(value, name)
    content = forest_content(
        tree,
        labels=labels,
        columns=columns,
        subgroup=subgroup,
        outcome=outcome,
        blup=blup,
        prediction=prediction,
        weights=weights,
        sort=sort,
        prob=prob,
    )
    as_ratio = style.is_ratio(tree, ratio)
    axes = _draw(tree, content, _own_axes(ax, content), as_ratio, prob, limits)
    several = len(axes) > 1 or not (outcome is None or isinstance(outcome, str))
    return style.AxesArray.of(axes) if several or isinstance(ax, list | tuple | np.ndarray) else axes[0]


def _draw(
    tree: xr.DataTree,
    content: ForestContent,
    own: Sequence["DrawnAxes"] | None,
    ratio: bool,
    prob: float,
    limits: tuple[float, float] | None,
) -> Sequence["DrawnAxes"]:
    """Every outcome into the user's own axes, or into those of a new figure."""
    names = [spacing.wrapped(line.label, line.depth) for line in content.lines]
    legend = _legend(tree, content)
    labelled = _labelled(own, len(content.outcomes))
    heading = texts.effect_heading(tree, ratio, prob)
    panels = panels_of(content, names, heading, ratio, labelled, list(legend.values()))
    heights = spacing.line_heights(content, names)
    axes, size = _new(panels, heights) if own is None else (own, _font_size(own, tree, ratio, panels, heights))
    measure = style.measure_of(tree)
    for j, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        ends = (
            _limits(limits, ratio)
            if limits is not None
            else axis.limits(content.cells(j), measure.null, measure.is_ratio)
        )
        _panel(ax, tree, content, j, panel, heights, size, ends, ratio, measure.null, legend)
    return axes


def _panel(
    ax: "Axes",
    tree: xr.DataTree,
    content: ForestContent,
    outcome: int,
    panel: Panel,
    heights: LineHeights,
    size: float,
    ends: tuple[float, float],
    ratio: bool,
    null: float | None,
    legend: dict[str, str],
) -> None:
    """Draw one outcome into its axes."""
    left, right = panel.room("left", size), panel.room("right", size)
    box = _box(ax)
    ax.set_axes_locator(Inset(ax, left, right))
    style.tidy(ax)
    ax.spines["left"].set_visible(False)
    ax.set_yticks([])
    if ratio:
        ax.set_xscale("log")
    ax.set_xlim(*style.back_transformed(ends, ratio))
    ax.set_ylim(heights.bottom, -heights.head - 0.5)
    Marks(ax, ends, ratio, box.height / heights.units).draw(content, outcome, heights, null)
    draw_texts(ax, panel, heights, size)
    axis.draw_axis(ax, tree, ratio, size, box.width - left - right)
    if panel.legend:
        _draw_legend(ax, legend, left, size)


def _draw_legend(ax: "Axes", legend: dict[str, str], left: float, size: float) -> None:
    """The legend, below the labels and beside the axis, where there is nothing else."""
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


def _legend(tree: xr.DataTree, content: ForestContent) -> dict[str, str]:
    """Texts for the kinds of marks that are drawn, where one line can have several."""
    word = "posterior" if is_posterior(tree) else "BLUP"
    cells = [(line.kind, cell) for line in content.lines for cell in line.cells]
    texts = {
        "observed": "observed",
        "blup": word if any(kind == "row" and cell.blup for kind, cell in cells) else "",
        "group": f"{word}, {'/'.join(content.levels)}"
        if any(kind == "heading" and cell.blup for kind, cell in cells)
        else "",
        "fitted": "fitted" if any(kind == "row" and cell.mean for kind, cell in cells) else "",
    }
    drawn = {kind: text for kind, text in texts.items() if text}
    return drawn if len(drawn) > 1 else {}


def _new(panels: Sequence[Panel], heights: LineHeights) -> tuple[list["DrawnAxes"], float]:
    """Axes of a new figure, as large as its texts need."""
    size, width = spacing.new_size(panels)
    foot = max(3.9, 1.4 * len(panels[0].legend)) * size + 8
    height = (heights.units * spacing.PITCH * size + foot) / 72
    ratios = [panel.taken(size, spacing.LEAST_PLOT) for panel in panels]
    spare = (72 * width - sum(ratios)) / len(ratios)
    _, axes = style.new_axes(1, len(panels), width, height, width_ratios=[r + spare for r in ratios])
    return list(axes[0]), size


def _font_size(
    axes: Sequence["Axes"], tree: xr.DataTree, ratio: bool, panels: Sequence[Panel], heights: LineHeights
) -> float:
    """Font size for axes of the user's own size, which is known once their labels are there."""
    for ax in axes:
        style.tidy(ax)
        ax.set_yticks([])
        ax.set_xlabel("\n".join([style.effect_label(tree, ratio)] * 2), fontsize=spacing.SIZES[0])
    return spacing.fitting_size(panels, heights, [_box(ax) for ax in axes])


def _box(ax: "Axes") -> Any:
    """The space that the figure gives to axes, in points."""
    from matplotlib.transforms import Affine2D

    style.root_figure(ax).draw_without_rendering()
    return ax.get_window_extent().transformed(Affine2D().scale(72 / ax.figure.dpi))


def _own_axes(ax: "AxesLike | None", content: ForestContent) -> list["DrawnAxes"] | None:
    """The user's axes, one for each outcome."""
    if ax is None:
        return None
    axes = style.flat_axes(ax, "ax")
    if len(axes) != len(content.outcomes):
        raise SpecError(
            f"{len(axes)} axes for {len(content.outcomes)} outcomes: {listing(content.outcomes, 20)}\n"
            f"  give one for each outcome, or choose with outcome={content.outcomes[0]!r}"
        )
    return axes


def _labelled(axes: Sequence["Axes"] | None, k: int) -> list[bool]:
    """Which panels have the labels: the first, and those that are not beside the previous one."""
    if axes is None:
        return [True] + [False] * (k - 1)
    heights = [(box.y0, box.y1) for box in (ax.get_position(original=True) for ax in axes)]
    return [True] + [not np.allclose(one, two) for one, two in zip(heights[1:], heights[:-1], strict=True)]


def _limits(limits: tuple[float, float], ratio: bool) -> tuple[float, float]:
    ends = as_numbers(limits, "limits", SpecError)
    if ends.shape != (2,):
        raise SpecError(f"limits is {shown(limits)}; give two numbers, the lower and the upper end of the axis")
    low, high = ends.tolist()
    if not (np.isfinite([low, high]).all() and low < high and (low > 0 or not ratio)):
        rule = "two ratios above zero" if ratio else "two numbers"
        raise SpecError(f"limits={shown(limits)}; give {rule}, the smaller one first")
    return (float(np.log(low)), float(np.log(high))) if ratio else (low, high)
