"""Panels side by side, rows of estimates with intervals in them, and labels that fit."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from bayesmeta.plots.style import AxesLike, DrawnAxes

ROW = 0.14  # inches from one line of text of size style.SMALL to the next
TALLEST = 9.0  # inches: a figure as high as a page
_LINE = 1.2  # points: width of an interval
LEAST_LETTERS = 4.5  # points; smaller labels cannot be read
_POINTS = 72  # to the inch
_LETTER, _LINE_HEIGHT = 0.6, 1.25  # width of a letter, on average, and height of a line, to the size of letters


def panel_axes(
    axes: "AxesLike | None", titles: Sequence[str], height: float, most: int = 3, sharey: bool = False
) -> style.AxesArray:
    """(n,) axes for the panels with these titles: the user's own, which must be as many, or new ones.

    height : of a new panel in inches. most : number of new panels side by side, fewer where rows are then alike; a
        single column of them is as wide as a journal's column, several are as wide as its page.
    sharey : whether new panels share their y axis.
    """
    if axes is not None:
        own = style.flat_axes(axes)
        if len(own) != len(titles):
            raise SpecError(
                f"{len(own)} axes for {len(titles)} panels: {listing(titles, 20)}"
                "\n  give one axes for each panel, as plt.subplots makes them, or none"
            )
        return style.AxesArray.of(own)
    rows = -(-len(titles) // most)
    columns = -(-len(titles) // rows)
    width = style.COLUMN if columns == 1 else style.PAGE
    grid = style.new_axes(rows, columns, width, height * rows, sharey=sharey)[1].ravel()
    for spare in grid[len(titles) :]:
        spare.remove()
    return style.AxesArray.of(grid[: len(titles)])


def only_axes(ax: "Axes | None", height: float = 2.6, width: float = style.COLUMN) -> "DrawnAxes":
    """The user's own axes, or new ones of this size in inches."""
    axes = style.new_axes(1, 1, width, height)[1] if ax is None else panel_axes(ax, ["the plot"], height)
    return cast("DrawnAxes", axes.flat[0])


def shortened(label: object, most: int = 24) -> str:
    """A label of at most this many letters; a longer one keeps both ends, because labels often differ in the last ones.

    >>> shortened("Journal of Unlikely Results 1998, arm 2", 20)
    'Journal of Un… arm 2'
    """
    return plain(_ends(" ".join(str(label).split()), most))


def _ends(text: str, most: int) -> str:
    tail = (most - 1) // 3
    return text if len(text) <= most else f"{text[: most - 1 - tail].rstrip()}…{text[-tail:] if tail else ''}"


def wrapped(label: object, width: int = 24, lines: int = 2) -> str:
    """A label on as many lines as it needs, at most this many; shortened where they are not enough."""
    text = " ".join(str(label).split())
    parts = textwrap.wrap(text, width)
    for most in range(lines * width, width, -2) if len(parts) > lines else ():  # words may leave lines unfilled
        parts = textwrap.wrap(_ends(text, most), width, break_long_words=False)
        if len(parts) <= lines and max(map(len, parts)) <= width:
            break
    else:
        parts = parts if len(parts) <= lines else [_ends(text, width)]
    return "\n".join(map(plain, parts))


def compared(first: object, second: object, width: int = 24) -> str:
    """A comparison, "A : B", on one line where it has room for it, else on two that are no wider.

    >>> compared("placebo", "drug"), compared("placebo", "a drug", 12)
    ('placebo : drug', 'placebo :\\na drug')
    """
    text = f"{first} : {second}"
    return plain(text) if len(text) <= width else f"{shortened(first, width - 2)} :\n{shortened(second, width)}"


def plain(text: str) -> str:
    """The text with dollar signs escaped, which matplotlib would take for the limits of a formula."""
    return text.replace("\\$", "$").replace("$", "\\$")


@dataclass(frozen=True)
class EstimateRows:
    """Estimates with intervals, the first on top; NaN marks what is missing.

    height : (n,) on the y axis. absent : the text in place of a missing estimate.
    """

    height: FloatArray
    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    absent: str = "not in this model"

    def segments(self) -> Iterator[tuple[float, float, float]]:
        for y, low, high in zip(self.height, self.lower, self.upper, strict=True):
            if not (np.isnan(low) or np.isnan(high)):
                yield float(y), float(low), float(high)


def draw_rows(ax: "Axes", rows: EstimateRows, start: float | None = None, dense: bool = False) -> None:
    """Points and the finite parts of their intervals; an infinite bound is an arrow at the edge of the axes.

    start : where the axis begins, if that is known. dense : smaller points and thinner lines, for hundreds of rows.
    The limits are set here, so nothing wider may be drawn afterwards.
    """
    size, colour, wide = (1.2, style.FAINT, 0.4) if dense else (3.5, style.INK, _LINE)
    known = np.isfinite(rows.estimate)
    finite = [(y, *_finite(low, high)) for y, low, high in rows.segments()]
    ax.plot(rows.estimate[known], rows.height[known], "o", color=style.BLUE, markersize=size, clip_on=False, zorder=3)
    whole = [(y, low, high) for y, low, high in finite if low is not None and high is not None]
    ends = [x for _, *bounds in finite for x in bounds if x is not None]
    ax.hlines(*np.reshape(whole, (-1, 3)).T, color=colour, linewidth=wide)
    if ends:
        ax.update_datalim([(x, rows.height[0]) for x in ends])
        ax.autoscale_view()
    ax.set_ylim(rows.height.min() - 0.7, rows.height.max() + 0.7)
    if start is not None:
        ax.set_xlim(left=start)
    ax.set_xlim(*ax.get_xlim())
    for y, low, high in finite:
        if low is None or high is None:
            _arrows(ax, y, low, high)
    _missing_texts(ax, rows)


def _finite(low: float, high: float) -> tuple[float | None, float | None]:
    return low if np.isfinite(low) else None, high if np.isfinite(high) else None


def _arrows(ax: "Axes", y: float, low: float | None, high: float | None) -> None:
    left, right = ax.get_xlim()
    ends = left if low is None else low, right if high is None else high
    ax.hlines([y], *ends, color=style.INK, linewidth=_LINE)
    for is_open, at, shape in ((low is None, left, "<"), (high is None, right, ">")):
        if is_open:
            ax.plot([at], [y], shape, color=style.INK, markersize=4, clip_on=False)


def _missing_texts(ax: "Axes", rows: EstimateRows) -> None:
    """Texts for rows without an estimate or an interval, on the side of the point where there is more room."""
    for y, estimate, low, high in zip(rows.height, rows.estimate, rows.lower, rows.upper, strict=True):
        if np.isnan(estimate):
            text, x, coords = rows.absent, 0.03, ax.get_yaxis_transform()
        elif np.isnan(low) or np.isnan(high):
            text, x, coords = "no interval", float(estimate), ax.transData
        else:
            continue
        fraction = ax.transAxes.inverted().transform(coords.transform((x, y)))[0]
        side = 1 if fraction < 0.5 else -1
        ax.annotate(
            text,
            (x, y),
            xycoords=coords,
            xytext=(5 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=style.SMALL - 1,
            color=style.MUTED,
        )


def label_rows(ax: "Axes", place: FloatArray, labels: Sequence[str], title: str, height: float) -> None:
    """Label rows in a font that fits axes of this height in inches; where it would be too small, give their number."""
    letters = min(style.SMALL, 0.92 * 72 * height / (np.ptp(place) + 1.4)) if len(place) else style.SMALL
    if letters >= LEAST_LETTERS:
        ax.set_yticks(place, labels, fontsize=letters)
        ax.set_ylabel(title, fontsize=style.TEXT)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{title}\n({len(place)}, too many to label)", fontsize=style.TEXT)
    ax.tick_params("y", length=0)


def rows_height(labels: Sequence[str]) -> float:
    """Inches for a row for each label, of one line or two, and for what is below them."""
    lines = 1 + max((label.count("\n") for label in labels), default=0)
    return max(1.4, (len(labels) * (0.5 + 0.5 * lines) + 4) * ROW * 1.25)


def height_in_inches(ax: "Axes") -> float:
    """The current height of axes, before a layout engine moves them."""
    return float(ax.get_position().height * style.root_figure(ax).get_size_inches()[1])


def titled(axes: Any, title: str) -> "Figure":
    """The picture with a title above everything else; its height grows accordingly."""
    picture: Figure = np.ravel(np.asarray(axes, dtype=object))[0].figure
    if not title:
        return picture
    lines = textwrap.wrap(title, int(picture.get_figwidth() * _POINTS / (_LETTER * style.TEXT)))
    before = picture.get_figheight()
    height = before + (len(lines) + 0.5) * _LINE_HEIGHT * style.TEXT / _POINTS
    picture.set_figheight(height)
    if picture.get_constrained_layout():
        picture.suptitle("\n".join(lines), fontsize=style.TEXT)
        return picture
    for ax in picture.axes:  # which nothing moves out of the way
        box = ax.get_position()
        ax.set_position((box.x0, box.y0 * before / height, box.width, box.height * before / height))
    picture.suptitle("\n".join(lines), fontsize=style.TEXT, y=1 - _LINE_HEIGHT * style.TEXT / 4 / _POINTS / height)
    return picture
