"""Panels side by side, rows of estimates with intervals in them, and labels that fit."""

import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes

ROW = 0.14  # inches from one row of letters of size style.SMALL to the next
TALLEST = 9.0  # inches of a figure: a page
_LINE: dict[str, Any] = {"color": style.INK, "linewidth": 1.2}
LEAST_LETTERS = 4.5  # points, below which nobody reads labels


def panel_axes(
    axes: Any, wanted: Sequence[str], height: float, most: int = 3, **options: Any
) -> "np.ndarray[Any, Any]":
    """(n,) axes of the wanted panels: those given, which must be as many, or new ones.

    height : of a new panel in inches. most : of new panels beside one another; one is as wide as a column of a
        journal, several are as wide as its page. options : of `Figure.subplots`.
    """
    if axes is not None:
        given = np.ravel(np.asarray(axes, dtype=object))
        if len(given) != len(wanted):
            raise SpecError(f"{len(given)} axes for {len(wanted)} panels: {listing(wanted, 20)}")
        if not all(hasattr(ax, "get_xlim") for ax in given):
            raise SpecError("axes are matplotlib axes, such as those of matplotlib.pyplot.subplots()[1]")
        return given
    columns = min(most, len(wanted))
    rows = -(-len(wanted) // columns)
    width = style.COLUMN if columns == 1 else style.PAGE
    grid = style.new_axes(rows, columns, width, height * rows, **options)[1].ravel()
    for spare in grid[len(wanted) :]:
        spare.remove()
    return np.asarray(grid[: len(wanted)])


def only_axes(ax: "Axes | None", height: float = 2.6, width: float = style.COLUMN) -> "Axes":
    """The axes given, or new ones of this size in inches."""
    if ax is None:
        return style.new_axes(1, 1, width, height)[1][0, 0]
    panel_axes(ax, ["the plot"], height)
    return ax


def probability(prob: float) -> float:
    """The probability of an interval, checked."""
    if not 0 < prob < 1:
        raise SpecError(f"prob is {prob!r}; give a probability between 0 and 1, such as 0.95")
    return float(prob)


def percent(prob: float) -> str:
    """A probability as people say it.

    >>> percent(0.95), percent(0.999)
    ('95%', '99.9%')
    """
    return f"{100 * prob:.6g}%"


def fitted(label: object, most: int = 24) -> str:
    """A label of at most so many letters; of a longer one both ends, as the last letters often tell labels apart.

    >>> fitted("Journal of Unlikely Results 1998, arm 2", 20)
    'Journal of Un… arm 2'
    """
    text = " ".join(str(label).split())
    if len(text) > most:
        tail = (most - 1) // 3
        text = f"{text[: most - 1 - tail].rstrip()}…{text[-tail:] if tail else ''}"
    return plain(text)


def wrapped(label: object, width: int = 24, lines: int = 2) -> str:
    """A label on as many lines as it needs, at most the number given, and shortened where these are too few."""
    text = " ".join(str(label).split())
    found = textwrap.wrap(text, width)
    if len(found) > lines:
        found = textwrap.wrap(fitted(text, lines * width - 2), width)
        if len(found) > lines:
            return fitted(text, width)
    return "\n".join(map(plain, found))


def plain(text: str) -> str:
    """The text with dollars as letters, which matplotlib would take for formulas."""
    return text.replace("\\$", "$").replace("$", "\\$")


@dataclass(frozen=True)
class Rows:
    """Estimates with intervals, the first on top; what is NaN has none.

    place : (n,) heights. absent : what stands in the place of an estimate that is not there.
    """

    place: FloatArray
    estimate: FloatArray
    lower: FloatArray
    upper: FloatArray
    absent: str = "not in this model"

    def segments(self) -> Iterator[tuple[float, float, float]]:
        for y, low, high in zip(self.place, self.lower, self.upper, strict=True):
            if not (np.isnan(low) or np.isnan(high)):
                yield float(y), float(low), float(high)


def draw_rows(ax: "Axes", rows: Rows, start: float | None = None, dense: bool = False) -> None:
    """Points and the finite parts of their intervals; infinite ones go on to the axis with an arrow.

    start : where the axis begins, if that is known. dense : smaller points and thinner lines, for hundreds of rows.
    Limits are set here, so nothing wider may be drawn afterwards.
    """
    size, line = (1.2, {"color": style.FAINT, "linewidth": 0.4}) if dense else (3.5, _LINE)
    known = np.isfinite(rows.estimate)
    finite = [(y, *_finite(low, high)) for y, low, high in rows.segments()]
    ax.plot(rows.estimate[known], rows.place[known], "o", color=style.BLUE, markersize=size, clip_on=False, zorder=3)
    whole = [(y, low, high) for y, low, high in finite if low is not None and high is not None]
    ends = [x for _, *bounds in finite for x in bounds if x is not None]
    ax.hlines(*np.reshape(whole, (-1, 3)).T, **line)
    if ends:
        ax.update_datalim([(x, rows.place[0]) for x in ends])
        ax.autoscale_view()
    ax.set_ylim(rows.place.min() - 0.7, rows.place.max() + 0.7)
    if start is not None:
        ax.set_xlim(left=start)
    ax.set_xlim(*ax.get_xlim())
    for y, low, high in finite:
        if low is None or high is None:
            _arrows(ax, y, low, high)
    _words(ax, rows)


def _finite(low: float, high: float) -> tuple[float | None, float | None]:
    return low if np.isfinite(low) else None, high if np.isfinite(high) else None


def _arrows(ax: "Axes", y: float, low: float | None, high: float | None) -> None:
    left, right = ax.get_xlim()
    ends = left if low is None else low, right if high is None else high
    ax.hlines([y], *ends, **_LINE)
    for is_open, at, shape in ((low is None, left, "<"), (high is None, right, ">")):
        if is_open:
            ax.plot([at], [y], shape, color=style.INK, markersize=4, clip_on=False)


def _words(ax: "Axes", rows: Rows) -> None:
    """What is said of rows without an estimate or without an interval, beside the point, where there is more room."""
    for y, estimate, low, high in zip(rows.place, rows.estimate, rows.lower, rows.upper, strict=True):
        if np.isnan(estimate):
            text, at, of = rows.absent, 0.03, ax.get_yaxis_transform()
        elif np.isnan(low) or np.isnan(high):
            text, at, of = "no interval", float(estimate), ax.transData
        else:
            continue
        share = ax.transAxes.inverted().transform(of.transform((at, y)))[0]
        side = 1 if share < 0.5 else -1
        ax.annotate(
            text,
            (at, y),
            xycoords=of,
            xytext=(5 * side, 0),
            textcoords="offset points",
            ha="left" if side > 0 else "right",
            va="center",
            fontsize=style.SMALL - 1,
            color=style.MUTED,
        )


def row_labels(ax: "Axes", place: FloatArray, labels: Sequence[str], what: str, height: float) -> None:
    """Labels of rows in letters that fit rows of an axes of this height in inches, or words that they are left out."""
    letters = min(style.SMALL, 0.92 * 72 * height / (np.ptp(place) + 1.4)) if len(place) else style.SMALL
    if letters >= LEAST_LETTERS:
        ax.set_yticks(place, labels, fontsize=letters)
        ax.set_ylabel(what, fontsize=style.TEXT)
    else:
        ax.set_yticks([])
        ax.set_ylabel(f"{what}\n({len(place)}, too many to label)", fontsize=style.TEXT)
    ax.tick_params("y", length=0)


def inches_high(ax: "Axes") -> float:
    """Height of axes as they stand now, before a layout moves them."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    return float(ax.get_position().height * figure.get_size_inches()[1])
