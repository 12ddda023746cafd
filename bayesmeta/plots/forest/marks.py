"""The marks of a forest plot: squares, circles, diamonds and intervals, at the height of each line."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.plots import style
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.rows import ForestContent
from bayesmeta.plots.forest.spacing import LineHeights
from bayesmeta.tree.response import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 0.19  # distance of a study's two marks from the middle of the line
_SQUARE, _LEAST_SQUARE, _CIRCLE = 0.46, 2.2, 0.3  # sides of the largest square and of circles in lines; points
_DIAMOND, _GROUP, _FITTED = 0.34, 0.26, 0.44  # half heights


class Marks:
    """Draws the marks of one outcome into its axes.

    limits : of the axis, on the scale of the model.  pitch : height of a line in points.
    """

    def __init__(self, ax: "Axes", limits: tuple[float, float], reading: Reading, pitch: float) -> None:
        self.ax, self.low, self.high, self.reading, self.pitch = ax, *limits, reading, pitch

    def draw(self, content: ForestContent, outcome: int, heights: LineHeights, null: float | None) -> None:
        cells, at = content.cells(outcome), np.asarray(heights.at)
        self._vertical_lines(content.pooled[outcome], heights, null)
        kinds = [line.kind for line in content.lines]
        of_row = [kind == "row" for kind in kinds]
        two = any(cell.observed and cell.blup for cell in cells)
        shift = _APART if two else 0.0
        for y, cell, kind in zip(at, cells, kinds, strict=True):
            is_row = kind == "row"
            if cell.mean:
                self._diamond(cell.mean, y, "fitted" if kind == "row" else kind)
            if cell.prediction:
                self._interval(cell.prediction, y, style.INK, linestyle=(0, (3, 1.5)), linewidth=1.2, ends=True)
            if cell.blup and not is_row:
                self._diamond(cell.blup, y, "group")
            if cell.observed:
                self._interval(cell.observed, y - shift, style.INK, linewidth=0.9)
            if cell.blup and is_row:
                self._interval(cell.blup, y + shift, style.BLUE, linewidth=0.9)
        self._squares([(y - shift, c.observed, c.size) for y, c in zip(at, cells, strict=True) if c.observed])
        self._circles([(y + shift, c.blup) for y, c, row in zip(at, cells, of_row, strict=True) if c.blup and row])

    def _vertical_lines(self, pooled: Interval | None, heights: LineHeights, null: float | None) -> None:
        """Lines at no effect and at the pooled estimate, from the first line to the last."""
        ends = -0.5, heights.bottom
        if null is not None and self.low <= null <= self.high:
            self.ax.plot([self._x(null)] * 2, ends, color=style.MUTED, linewidth=0.7, zorder=1, label="no effect")
        if pooled:
            x = [self._x(pooled.estimate)] * 2
            self.ax.plot(x, ends, color=style.FAINT, linewidth=0.8, linestyle=":", zorder=1, label="pooled")

    def _interval(self, interval: Interval, y: float, colour: str, ends: bool = False, **look: Any) -> None:
        """A line from bound to bound, with an arrow where it extends beyond the axis."""
        if np.isnan([interval.lower, interval.upper]).any():
            return
        inside = np.clip([interval.lower, interval.upper], self.low, self.high)
        if inside[0] < inside[1] or self.low < inside[0] < self.high:
            self.ax.plot(self._x(inside), [y, y], color=colour, solid_capstyle="butt", zorder=3, **look)
        marks = [("<", interval.lower < self.low, self.low), (">", interval.upper > self.high, self.high)]
        for marker, beyond, x in marks:
            if beyond:
                self._arrow(marker, x, y, colour)
        stops = [x for x, (_, beyond, _) in zip((interval.lower, interval.upper), marks, strict=True) if not beyond]
        if ends and stops:
            self.ax.plot(self._x(stops), [y] * len(stops), "|", color=colour, markersize=0.45 * self.pitch, zorder=3)

    def _arrow(self, marker: str, x: float, y: float, colour: str) -> None:
        size = 0.3 * self.pitch
        self.ax.plot(
            self._x([x]), [y], marker, color=colour, markersize=size, markeredgewidth=0, clip_on=False, zorder=4
        )

    def _squares(self, studies: Sequence[tuple[float, Interval, float]]) -> None:
        """Squares with areas proportional to the weights, none too small to be seen."""
        inside = [(y, x.estimate, size) for y, x, size in studies if self.low <= x.estimate <= self.high]
        if inside:
            y, x, size = (np.array(column) for column in zip(*inside, strict=True))
            area = np.maximum(size * (_SQUARE * self.pitch) ** 2, _LEAST_SQUARE**2)
            look: dict[str, Any] = {"marker": "s", "color": style.INK, "linewidths": 0}
            self.ax.scatter(self._x(x), y, area, label="observed", zorder=5, **look)

    def _circles(self, predictions: Sequence[tuple[float, Interval]]) -> None:
        inside = [(y, x.estimate) for y, x in predictions if self.low <= x.estimate <= self.high]
        if inside:
            y, x = (np.array(column) for column in zip(*inside, strict=True))
            look: dict[str, Any] = {"facecolor": style.PAPER, "edgecolor": style.BLUE, "linewidths": 0.9}
            self.ax.scatter(self._x(x), y, (_CIRCLE * self.pitch) ** 2, label="BLUP", zorder=6, **look)

    def _diamond(self, interval: Interval, y: float, kind: str) -> None:
        lower, upper = np.nan_to_num([interval.lower, interval.upper], nan=interval.estimate)
        looks: dict[str, tuple[float, dict[str, Any]]] = {
            "fitted": (_FITTED, {"facecolor": style.grey(0.851), "edgecolor": style.FAINT, "zorder": 2}),
            "common": (_DIAMOND, {"facecolor": style.PAPER, "edgecolor": style.INK, "zorder": 4}),
            "mean": (_DIAMOND, {"facecolor": style.INK, "edgecolor": style.INK, "zorder": 4}),
            "group": (_GROUP, {"facecolor": style.PAPER, "edgecolor": style.BLUE, "zorder": 4}),
        }
        half, look = looks[kind]
        x = self._x(np.clip([lower, interval.estimate, upper, interval.estimate], self.low, self.high))
        self.ax.fill(x, [y, y - half, y, y + half], linewidth=0.9, label=kind, **look)
        if kind != "fitted":
            for marker, beyond, end in (("<", lower < self.low, self.low), (">", upper > self.high, self.high)):
                if beyond:
                    self._arrow(marker, end, y, style.INK if kind == "mean" else style.BLUE)

    def _x(self, values: Any) -> FloatArray:
        return self.reading.values(values)


def legend_handles(words: Sequence[str], kinds: Sequence[str]) -> list[Any]:
    """The kinds of marks with the words that explain them."""
    from matplotlib.lines import Line2D

    lone: dict[str, Any] = {"markersize": 4, "linestyle": ""}
    looks: dict[str, dict[str, Any]] = {
        "observed": {"marker": "s", "color": style.INK, "markersize": 3.5},
        "blup": {"marker": "o", "color": style.BLUE, "markerfacecolor": style.PAPER, "markersize": 3.2},
        "group": lone | {"marker": "d", "color": style.BLUE, "markerfacecolor": style.PAPER},
        "fitted": lone | {"marker": "D", "color": style.FAINT, "markerfacecolor": style.grey(0.851)},
    }
    return [Line2D([], [], linewidth=0.9, label=word, **looks[kind]) for word, kind in zip(words, kinds, strict=True)]
