"""The axis of effects in a forest plot: how far it extends, and as many ticks as there is room for."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.plots import style
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.rows import Cell
from bayesmeta.plots.forest.spacing import GAP, width
from bayesmeta.tree.response import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_FAR = 2.5  # typical spreads beyond the outermost estimate: intervals that extend further end in arrows
_IMPRECISE = 3.0  # typical spreads: an estimate whose interval is wider on one side does not determine the axis
_FACTOR = float(np.log(100))  # ratios further from the outermost estimate are not informative
_MARGIN = 0.04
TICK, PAD, LABEL_PAD = 2.5, 1.5, 2.0  # points: length of a tick, to its number, from the numbers to the label


def limits(cells: Sequence[Cell], null: float | None, logs: bool) -> tuple[float, float]:
    """The limits of the axis, on the scale of the model.

    They include all estimates and bounds, except for intervals so much wider than the others that they would squeeze
    them, and no effect where it is no further away than the axis is long.

    cells : of one outcome.  null : the effect that means none, if there is one.  logs : whether effects are log ratios.
    """
    observed = [cell.observed for cell in cells if cell.observed]
    others = [interval for cell in cells for interval in (cell.blup, cell.mean, cell.prediction) if interval]
    low, high = _span(_array(observed), _array([*observed, *others]), _FACTOR if logs else np.inf)
    reach = high - low
    if null is not None and 0 < low - null <= reach:
        low = null
    elif null is not None and 0 < null - high <= reach:
        high = null
    margin = _MARGIN * (high - low)
    return low - margin, high + margin


def _span(observed: FloatArray, everything: FloatArray, most: float) -> tuple[float, float]:
    """Range of the estimates that are not far less precise than others, and of all bounds near it.

    most : a distance that is far whatever the spread of the others.
    """
    widths = _half_widths(observed)
    typical = float(np.median(widths)) if len(widths) else 0.0
    precise = observed[0, widths <= typical]
    spread = max(typical, float(np.ptp(precise)) / 2 if len(precise) else 0.0)
    core = everything[0, _half_widths(everything) <= min(_IMPRECISE * spread, 2 * most)]
    core = core if len(core) else everything[0]
    bounds = np.where(np.isnan(everything), everything[0], everything)
    far = min(_FAR * spread, most)
    low, high = max(bounds.min(), core.min() - far), min(bounds.max(), core.max() + far)
    return (low, high) if high > low else (low - 0.5, high + 0.5)


def _half_widths(intervals: FloatArray) -> FloatArray:
    """The wider side of each of (3, n) intervals; 0 where there are no bounds."""
    return np.nan_to_num(np.maximum(intervals[2] - intervals[0], intervals[0] - intervals[1]), nan=0.0)


def _array(intervals: Sequence[Interval]) -> FloatArray:
    """(3, n) of estimates, lower and upper bounds."""
    return np.array([[x.estimate, x.lower, x.upper] for x in intervals], float).reshape(-1, 3).T


def draw_axis(ax: "Axes", reading: Reading, size: float, points: float) -> None:
    """Label and ticks of an axis that is `points` wide and has its limits."""
    style.effect_axis(ax, reading)
    ax.tick_params(axis="x", labelsize=size, length=TICK, pad=PAD)
    ax.xaxis.set_label_text(broken(ax.get_xlabel(), size, points + 2 * GAP * size), fontsize=size)
    ax.xaxis.labelpad = LABEL_PAD
    if reading.log:
        _fewer_ratio_ticks(ax, size, points)
    else:
        _fewer_ticks(ax, size, points)


def broken(text: str, size: float, points: float) -> str:
    """A text wrapped to be no wider than this, as far as its longest word allows."""
    lines: list[str] = []
    for word in text.split(" "):
        longer = f"{lines[-1]} {word}" if lines else ""
        if lines and width(longer, size) <= points:
            lines[-1] = longer
        else:
            lines.append(word)
    return "\n".join(lines)


def _fewer_ratio_ticks(ax: "Axes", size: float, points: float) -> None:
    from matplotlib.ticker import FixedLocator

    low, high = np.log(ax.get_xlim())
    ticks = ax.xaxis.get_majorticklocs()
    places = (np.log(ticks) - low) / (high - low) * points
    widths = [width(f"{tick:.6g}", size) for tick in ticks]
    sets = [range(first, len(ticks), every) for every in range(1, len(ticks) + 1) for first in range(every)]
    fitting = [chosen for chosen in sets if _apart(places[list(chosen)], [widths[i] for i in chosen])]
    null = int(np.argmin(np.abs(ticks - 1)))
    best = max(fitting, key=lambda chosen: (null in chosen and len(chosen) > 1, len(chosen)), default=range(0))
    ax.xaxis.set_major_locator(FixedLocator([float(ticks[i]) for i in best]))


def _fewer_ticks(ax: "Axes", size: float, points: float) -> None:
    from matplotlib.ticker import MaxNLocator

    low, high = ax.get_xlim()
    for intervals in range(6, 0, -1):
        locator = MaxNLocator(intervals, steps=[1, 2, 2.5, 5, 10])
        ax.xaxis.set_major_locator(locator)
        ticks = np.array([tick for tick in locator() if low <= tick <= high])
        texts = ax.xaxis.get_major_formatter().format_ticks(ticks.tolist())
        if _apart((ticks - low) / (high - low) * points, [width(text, size) for text in texts]):
            return


def _apart(places: FloatArray, widths: Sequence[float]) -> bool:
    """Whether there is room between texts centred at these places."""
    half = np.array(widths) / 2 + 1.0
    return bool(np.all(np.diff(places) > half[1:] + half[:-1]))
