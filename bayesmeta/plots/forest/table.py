"""The columns of text in a forest plot, drawn."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.rows import Cell, ForestContent
from bayesmeta.plots.forest.spacing import GAP, LineHeights, Panel, TextColumn, spans
from bayesmeta.tree.response import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Transform


def panels_of(
    content: ForestContent,
    labels: Sequence[str],
    heading: str,
    reading: Reading,
    labelled: Sequence[bool],
    legend: Sequence[str],
) -> list[Panel]:
    """A panel for every outcome: labels and counts on the left where `labelled`, numbers and weights on the right."""
    first = labelled.index(True)
    several = len(content.outcomes) > 1
    return [
        Panel(
            left=_left(content, labels) if labelled[j] else (),
            right=_right(content, j, heading, reading),
            title=content.outcomes[j] if several else "",
            legend=tuple(legend) if j == first else (),
            notes=content.notes[j] + (content.general if j == first else ()),
        )
        for j in range(len(content.outcomes))
    ]


def _left(content: ForestContent, labels: Sequence[str]) -> tuple[TextColumn, ...]:
    bold = [line.kind in ("heading", "mean") for line in content.lines]
    colours = [style.MUTED if line.kind in ("left out", "note") else style.INK for line in content.lines]
    depth = [line.depth for line in content.lines]
    columns = [TextColumn(labels, colours, content.label_heading, align="left", bold=bold, depth=depth)]
    for i, (upper, lower) in enumerate(content.headings):
        cells = [line.counts[i] if line.counts else "" for line in content.lines]
        columns.append(TextColumn(cells, colours, lower, upper, "right" if content.numeric[i] else "left"))
    return tuple(columns)


def _right(content: ForestContent, outcome: int, heading: str, reading: Reading) -> tuple[TextColumn, ...]:
    cells = content.cells(outcome)
    numbers = [numbers_text(cell, content.decimals[outcome], reading) for cell in cells]
    colours = [_colour(line.kind, cell) for line, cell in zip(content.lines, cells, strict=True)]
    columns = [TextColumn(numbers, colours, heading, bold=[line.kind == "mean" for line in content.lines])]
    for i, extra in enumerate(content.extras):
        columns.append(TextColumn([cell.extras[i] if cell.extras else "" for cell in cells], colours, extra))
    if content.weighted:
        columns.append(TextColumn([_weight(cell) for cell in cells], colours, "Weight"))
    return tuple(columns)


def _colour(kind: str, cell: Cell) -> str:
    """Numbers of a group have the colour of its mark."""
    return style.MUTED if cell.words else style.BLUE if kind == "heading" else style.INK


def numbers_text(cell: Cell, places: int, reading: Reading) -> str:
    """The numbers of a line: the observed ones of a study, those of the group in a heading, those of a result."""
    if cell.prediction:
        return texts.interval_text(cell.prediction, places, reading, only_bounds=True)
    interval = cell.observed or (cell.mean if not cell.words else None) or (cell.blup if not cell.words else None)
    return texts.interval_text(interval, places, reading) if interval else cell.words


def _weight(cell: Cell) -> str:
    return "" if np.isnan(cell.weight) else f"{100 * cell.weight:.1f}%".replace("-", "−")


def draw_texts(ax: "Axes", panel: Panel, heights: LineHeights, size: float) -> None:
    """All columns beside the plot, their headings and the rule below the headings."""
    for side, columns in (("left", panel.left), ("right", panel.right)):
        ends = list(_ends(panel, side, size))
        for column, ends_of in zip(columns, ends, strict=True):
            _column(ax, side, column, heights, ends_of, size)
        for upper, span in spans(columns):
            _upper(ax, side, upper, heights, (ends[span[0]][0], ends[span[-1]][1]), size)
    if panel.title:
        middle = panel.room("right", size) / 2
        _text(ax, "middle", middle, -0.05 - heights.head, panel.title, size, ha="center", weight="bold")
    _rule(ax, -panel.room("left", size), panel.room("right", size), -0.6)


def _ends(panel: Panel, side: str, size: float) -> Iterator[tuple[float, float]]:
    """Left and right end of every column in points, from the left or the right edge of the plot."""
    at = -panel.room("left", size) if side == "left" else GAP * size
    for wide in panel.widths(side, size):
        yield at, at + wide
        at += wide + GAP * size


def _column(
    ax: "Axes",
    side: str,
    column: TextColumn,
    heights: LineHeights,
    ends: tuple[float, float],
    size: float,
) -> None:
    at = ends[0] if column.align == "left" else ends[1]
    _text(ax, side, at, -0.8, column.heading, size, ha=column.align, va="baseline", weight="bold")
    for i, text in enumerate(column.texts):
        if text:
            weight = "bold" if column.bold and column.bold[i] else "normal"
            place = at + column.indent(i, size), heights.at[i]
            _text(ax, side, *place, text, size, ha=column.align, weight=weight, color=column.colours[i])


def _upper(ax: "Axes", side: str, text: str, heights: LineHeights, ends: tuple[float, float], size: float) -> None:
    """A heading over several columns, with a rule as wide as they are."""
    _text(ax, side, sum(ends) / 2, -0.05 - heights.head, text, size, ha="center", weight="bold")
    x = _EDGE[side]
    _line(ax, (x, ends[0]), (x, ends[1]), 0.42 - heights.head)


def _rule(ax: "Axes", left: float, right: float, y: float) -> None:
    _line(ax, (0, left), (1, right), y)


_EDGE = {"left": 0.0, "right": 1.0, "middle": 0.5}


def _text(ax: "Axes", side: str, points: float, y: float, text: str, size: float, **options: Any) -> None:
    """A text at a line, its position counted in points from an edge of the plot."""
    look: dict[str, Any] = {"va": "center_baseline", "color": style.INK, "linespacing": 1.1} | options
    ax.text(_EDGE[side], y, text, fontsize=size, transform=beside(ax, points), parse_math=False, **look)


def _line(ax: "Axes", one: tuple[float, float], two: tuple[float, float], y: float) -> None:
    ax.annotate(
        "",
        (one[0], y),
        (two[0], y),
        xycoords=beside(ax, one[1]),
        textcoords=beside(ax, two[1]),
        arrowprops={"arrowstyle": "-", "linewidth": 0.6, "color": style.INK, "shrinkA": 0, "shrinkB": 0},
        annotation_clip=False,
    )


def beside(ax: "Axes", points: float, up: float = 0.0) -> "Transform":
    """Coordinates: x as a fraction of the plot's width, y in lines; both moved by these points."""
    from matplotlib.transforms import ScaledTranslation

    return ax.get_yaxis_transform() + ScaledTranslation(points / 72, up / 72, ax.figure.dpi_scale_trans)
