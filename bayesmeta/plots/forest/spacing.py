"""Room for the texts of a forest plot: columns measured with the renderer, and the size of letters that fits."""

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.forest.rows import ForestContent

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.transforms import Bbox

SIZES = (7.0, 6.5, 6.0, 5.5, 5.0)  # font sizes in points; the largest that fits is used
GAP = 1.2  # between columns, in letters
PITCH, TIGHTEST = 1.65, 1.2  # from line to line, in letters
LEAST_PLOT, PLOT = 88.0, 130.0  # width of the plot itself in points, without and with room to spare
_LETTERS = 46  # of a label; longer ones are wrapped
_DPI = 288
_NOTE = 0.85  # height of a line of a note, in lines
_INDENT = 0.9  # of a line below a heading, in letters
_SAFE = 1.03  # at other resolutions letters are rounded to other pixels
_LEGEND_HANDLE = 3.2  # width in letters of mark and gap


def _no_foot(size: float) -> float:
    return 0.0


@dataclass(frozen=True)
class TextColumn:
    """Texts of all lines below a heading, with the colour of each, whether it is bold and how deep it is indented."""

    texts: Sequence[str]
    colours: Sequence[str]
    heading: str
    upper: str = ""
    align: str = "right"
    bold: Sequence[bool] = ()
    depth: Sequence[int] = ()

    def width(self, size: float) -> float:
        """In points."""
        bold = self.bold or [False] * len(self.texts)
        depth = self.depth or [0] * len(self.texts)
        own = [width(t, size, b) + _INDENT * size * d for t, b, d in zip(self.texts, bold, depth, strict=True)]
        return max([*own, width(self.heading, size, True)])

    def indent(self, line: int, size: float) -> float:
        return _INDENT * size * self.depth[line] if self.depth else 0.0


@dataclass(frozen=True)
class Panel:
    """Columns left and right of one plot, the title above it, the texts of its legend and the notes below it."""

    left: tuple[TextColumn, ...]
    right: tuple[TextColumn, ...]
    title: str = ""
    legend: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def room(self, side: str, size: float) -> float:
        """Width in points of the columns on one side, with the gap to the plot."""
        columns = self.left if side == "left" else self.right
        taken = sum(w + GAP * size for w in self.widths(side, size)) if columns else 0.0
        if side == "left" and self.legend:
            taken = max(taken, max(width(word, size) for word in self.legend) + (_LEGEND_HANDLE + GAP) * size)
        if columns and side == "left" and self.notes:
            taken = max(taken, max(width(word, size) for note in self.notes for word in note.split(" ")) + GAP * size)
        return taken

    def widths(self, side: str, size: float) -> list[float]:
        """Widths of the columns; those below an upper heading are wide enough for it."""
        columns = self.left if side == "left" else self.right
        widths = [column.width(size) for column in columns]
        for upper, span in spans(columns):
            missing = width(upper, size, True) - sum(widths[i] for i in span) - GAP * size * (len(span) - 1)
            for i in span:
                widths[i] += max(0.0, missing) / len(span)
        return widths

    def plot(self, size: float, least: float) -> float:
        """Width of the plot in points: the least one, or more where the title needs it."""
        return max(least, width(self.title, size, True) - self.room("right", size))

    def taken(self, size: float, least: float) -> float:
        return self.room("left", size) + self.plot(size, least) + self.room("right", size)


@dataclass(frozen=True)
class LineHeights:
    """Heights of lines in units of the pitch, counted downwards from the first line of the data at 0.

    at : centre of every line.  head : number of lines of headings above.  bottom : below the last line.
    """

    at: Sequence[float]
    head: int
    bottom: float

    @property
    def units(self) -> float:
        return self.bottom + self.head + 0.5


def line_heights(content: ForestContent, labels: Sequence[str]) -> LineHeights:
    """Heights of the lines; those with wrapped labels are higher, and results stand a little apart."""
    at, below = [], -0.5
    for i, line in enumerate(content.lines):
        if line.kind in ("mean", "common") and line.depth == 0 and content.lines[i - 1].kind != "common" and i:
            below += 0.4
        height = (labels[i].count("\n") + 1) * (_NOTE if line.kind == "note" else 1)
        at.append(below + height / 2)
        below += height
    headings = [content.label_heading, *(lower for _, lower in content.headings)]
    upper = len(content.outcomes) > 1 or any(upper for upper, _ in content.headings)
    return LineHeights(at, max(text.count("\n") + 1 for text in headings) + upper, below + 0.1)


def wrapped(label: str, depth: int = 0, letters: int = _LETTERS) -> str:
    return "\n".join(textwrap.wrap(label, letters - 2 * depth, break_on_hyphens=False)) or label


def spans(columns: Sequence[TextColumn]) -> list[tuple[str, list[int]]]:
    """Upper headings with the neighbouring columns that each spans."""
    headings: list[tuple[str, list[int]]] = []
    for i, column in enumerate(columns):
        if column.upper and headings and headings[-1][0] == column.upper and headings[-1][1][-1] == i - 1:
            headings[-1][1].append(i)
        elif column.upper:
            headings.append((column.upper, [i]))
    return headings


def new_size(panels: Sequence[Panel]) -> tuple[float, float]:
    """Font size and width in inches: that of a journal's column if possible, else of a page, else what is needed."""
    for limit, sizes in ((style.COLUMN, SIZES[:3]), (style.PAGE, SIZES[:4])):
        for size in sizes:
            taken = _inches(panels, size, LEAST_PLOT)
            if taken <= limit:
                return size, limit if limit == style.COLUMN else min(limit, _inches(panels, size, PLOT))
    return SIZES[2], _inches(panels, SIZES[2], LEAST_PLOT)


def fitting_size(
    panels: Sequence[Panel], heights: LineHeights, boxes: Sequence["Bbox"], foot: Callable[[float], float] = _no_foot
) -> float:
    """The largest font size that fits axes with these boxes, in points; SpecError where none does.

    foot : height in points of what is below the lines, by font size.
    """
    for size in SIZES:
        if heights.units * TIGHTEST * size + foot(size) <= min(box.height for box in boxes) and all(
            panel.taken(size, LEAST_PLOT) <= box.width for panel, box in zip(panels, boxes, strict=True)
        ):
            return size
    least = SIZES[-1]
    tall = heights.units * TIGHTEST * least + foot(least)
    need = max(panel.taken(least, LEAST_PLOT) for panel in panels) / 72, tall / 72
    have = min(box.width for box in boxes) / 72, min(box.height for box in boxes) / 72
    raise SpecError(
        f"these axes are {have[0]:.1f} x {have[1]:.1f} inches, but the texts of this forest plot need at least "
        f"{np.ceil(10 * need[0]) / 10:.1f} x {np.ceil(10 * need[1]) / 10:.1f}\n"
        "  make the figure larger, shorten the labels, or leave out ax: a new figure is as large as it needs to be"
    )


@lru_cache(maxsize=20_000)
def width(text: str, size: float, bold: bool = False) -> float:
    """Width in points of the widest line of a text, as the renderer draws it."""
    from matplotlib.font_manager import FontProperties

    font = FontProperties(size=size, weight="bold" if bold else "normal")
    return max(_renderer().get_text_width_height_descent(line, font, False)[0] for line in text.split("\n")) * (
        72 / _DPI * _SAFE
    )


@lru_cache(maxsize=1)
def _renderer() -> Any:
    from matplotlib.backends.backend_agg import RendererAgg

    return RendererAgg(1, 1, _DPI)  # type: ignore[no-untyped-call]


def _inches(panels: Sequence[Panel], size: float, least: float) -> float:
    """Width of a figure with these panels side by side, including its margins."""
    return (sum(panel.taken(size, least) for panel in panels) + 2 * GAP * size * (len(panels) - 1)) / 72 + 0.12


class Inset:
    """Places axes within the space that the figure gives them, so that columns of text keep their width at any size."""

    def __init__(self, ax: "Axes", left: float, right: float) -> None:
        self.ax, self.left, self.right = ax, left, right
        self.place: Any = ax.get_axes_locator()

    def get_subplotspec(self) -> Any:
        """The place of the axes in a grid, which `tight_layout` asks the locator for."""
        return self.ax.get_subplotspec()

    def __call__(self, ax: Any, renderer: Any) -> "Bbox":
        from matplotlib.transforms import Bbox

        place = self.place(ax, renderer) if self.place else ax.get_position(original=True)
        point = ax.figure.dpi / 72 / ax.figure.bbox.width
        left, right = place.x0 + self.left * point, place.x1 - self.right * point
        return Bbox.from_extents(left, place.y0, max(right, left + point), place.y1)
