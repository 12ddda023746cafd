"""A forest plot drawn: axes of the right size, and in each the marks, columns of text and what stands below them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._validation import listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.io.arrays import as_numbers
from bayesmeta.plots import style
from bayesmeta.plots.forest import axis, spacing, texts
from bayesmeta.plots.forest.foot import Foot, draw_favours, draw_notes
from bayesmeta.plots.forest.marks import Marks, legend_handles
from bayesmeta.plots.forest.rows import ForestContent
from bayesmeta.plots.forest.spacing import Inset, LineHeights, Panel
from bayesmeta.plots.forest.table import beside, draw_texts, panels_of
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike, DrawnAxes

_SHORTEST = 16  # letters to which notes within the lines are wrapped, at least
_TALLEST = 9.2  # inches: a figure higher than a page has smaller letters and lines closer to one another
_CLOSER = ((1.0, 1.0), (0.93, 0.93), (0.86, 0.88), (0.8, 0.82), (0.75, 0.78))  # factors of letters and of pitch


@dataclass(frozen=True)
class _Look:
    """What all panels of one figure share.  size : of letters, in points."""

    tree: xr.DataTree
    content: ForestContent
    heights: LineHeights
    foot: Foot
    size: float
    reading: Reading
    null: float | None
    legend: dict[str, str]


def draw(
    tree: xr.DataTree,
    content: ForestContent,
    own: Sequence["DrawnAxes"] | None,
    reading: Reading,
    prob: float,
    limits: tuple[float, float] | None,
    favours: tuple[str, str],
) -> Sequence["DrawnAxes"]:
    """Every outcome into the user's own axes, or into those of a new figure."""
    names, legend = _names(content), _legend(tree, content)
    labelled = _labelled(own, len(content.outcomes))
    heading = texts.effect_heading(tree, reading, prob)
    panels = panels_of(content, names, heading, reading, labelled, list(legend.values()))
    heights = spacing.line_heights(content, names)
    foot = Foot(reading.label, favours)
    axes, size = _new(panels, heights, foot) if own is None else (own, _font_size(own, panels, heights, foot))
    look = _Look(tree, content, heights, foot, size, reading, reading.null, legend)
    below = _foot_height(panels, foot, size)
    for j, (ax, panel) in enumerate(zip(axes, panels, strict=True)):
        needed = axis.limits(content.cells(j), reading.null, reading.record.is_ratio)
        ends = needed if limits is None else _limits(limits, reading)
        _panel(ax, look, j, panel, ends, below)
    return axes


def _names(content: ForestContent) -> list[str]:
    """Labels on as many lines as they need; notes are no wider than the labels of studies."""
    longest = max([_SHORTEST, *(len(line.label) + 2 * line.depth for line in content.lines if line.kind != "note")])
    return [
        spacing.wrapped(line.label, line.depth, *([longest] if line.kind == "note" else [])) for line in content.lines
    ]


def _panel(ax: "Axes", look: _Look, outcome: int, panel: Panel, ends: tuple[float, float], below: float) -> None:
    """Draw one outcome into its axes.  below : height in points of what stands below the lines."""
    size, heights = look.size, look.heights
    left, right = panel.room("left", size), panel.room("right", size)
    box = _box(ax)
    ax.set_axes_locator(Inset(ax, left, right))
    style.tidy(ax)
    ax.spines["left"].set_visible(False)
    ax.patch.set_visible(False)  # texts beside it belong to the same picture, whatever the style
    ax.grid(False)
    ax.spines["bottom"].set_position(("data", heights.bottom))
    ax.set_yticks([])
    if look.reading.log:
        ax.set_xscale("log")
    ax.set_xlim(*look.reading.values(ends))
    pitch = (box.height - below) / heights.units
    ax.set_ylim(heights.bottom + below / pitch, -heights.head - 0.5)
    Marks(ax, ends, look.reading, pitch).draw(look.content, outcome, heights, look.null)
    draw_texts(ax, panel, heights, size)
    plot = box.width - left - right
    axis.draw_axis(ax, look.reading, size, plot)
    if any(look.foot.favours) and look.null is not None:
        null, low, high = look.reading.along([look.null, *ends])
        at = (null - low) / (high - low), heights.bottom
        draw_favours(ax, look.foot.favours, at, size, plot, look.foot.drop(size, plot))
    drop = draw_notes(ax, look.foot, panel, heights.bottom, size, plot)
    if panel.legend:
        _draw_legend(ax, look.legend, (-left, heights.bottom, drop), size)


def _draw_legend(ax: "Axes", legend: dict[str, str], place: tuple[float, float, float], size: float) -> None:
    """The legend, below the notes and beside the axis, where there is nothing else.

    place : points from the left edge of the plot, the height of a line, points below it.
    """
    x, y, drop = place
    ax.legend(
        handles=legend_handles(list(legend.values()), list(legend)),
        loc="upper left",
        bbox_to_anchor=(0, y),
        bbox_transform=beside(ax, x, -drop),
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


def _foot_height(panels: Sequence[Panel], foot: Foot, size: float) -> float:
    """Of the panel that needs most."""
    return max(foot.height(panel, size, panel.plot(size, spacing.LEAST_PLOT)) for panel in panels)


def _new(panels: Sequence[Panel], heights: LineHeights, foot: Foot) -> tuple[list["DrawnAxes"], float]:
    """Axes of a new figure, as large as its texts need."""
    largest, width = spacing.new_size(panels)
    for smaller, closer in _CLOSER:
        size = max(smaller * largest, spacing.SIZES[-1])
        height = (heights.units * closer * spacing.PITCH * size + _foot_height(panels, foot, size)) / 72 + 0.1
        if height <= _TALLEST:
            break
    ratios = [panel.taken(size, spacing.LEAST_PLOT) for panel in panels]
    spare = (72 * width - sum(ratios)) / len(ratios)
    _, axes = style.new_axes(1, len(panels), width, height, width_ratios=[r + spare for r in ratios])
    return list(axes[0]), size


def _font_size(axes: Sequence["Axes"], panels: Sequence[Panel], heights: LineHeights, foot: Foot) -> float:
    """Font size for axes of the user's own size, which is known once their ticks are gone."""
    for ax in axes:
        style.tidy(ax)
        ax.set_yticks([])
        ax.set_xticks([])
    return spacing.fitting_size(
        panels, heights, [_box(ax) for ax in axes], lambda size: _foot_height(panels, foot, size)
    )


def _box(ax: "Axes") -> Any:
    """The space that the figure gives to axes, in points."""
    from matplotlib.transforms import Affine2D

    style.root_figure(ax).draw_without_rendering()
    return ax.get_window_extent().transformed(Affine2D().scale(72 / ax.figure.dpi))


def own_axes(ax: "AxesLike | None", content: ForestContent) -> list["DrawnAxes"] | None:
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


def _limits(limits: tuple[float, float], reading: Reading) -> tuple[float, float]:
    ends = as_numbers(limits, "limits", SpecError)
    if ends.shape != (2,):
        raise SpecError(f"limits is {shown(limits)}; give two numbers, the lower and the upper end of the axis")
    low, high = ends.tolist()
    if not (np.isfinite([low, high]).all() and low < high and (low > 0 or not reading.log)):
        rule = "two ratios above zero" if reading.log else "two numbers"
        raise SpecError(f"limits={shown(limits)}; give {rule}, the smaller one first")
    return reading.inverse(low), reading.inverse(high)
