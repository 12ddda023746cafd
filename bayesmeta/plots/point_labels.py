"""Names of points in a picture, each beside its point where it covers no other."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Literal

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.plots import style
from bayesmeta.plots.forest.spacing import width
from bayesmeta.plots.panels import shortened

if TYPE_CHECKING:
    from matplotlib.axes import Axes

type Labelled = Literal["outliers", "all"] | None
_LETTERS = style.SMALL - 1  # points
_MOST = 22  # letters of a short name
_FAR = 3.0  # points from a mark to its name
_SIDES = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_ALIGNED = {-1: "right", 0: "center", 1: "left"}
_LEVELLED = {-1: "top", 0: "center", 1: "bottom"}

type Box = tuple[float, float, float, float]


def which(label: Labelled, outliers: BoolArray) -> BoolArray:
    """Which points have names."""
    if label is None:
        return np.zeros(len(outliers), bool)
    check_choice(label, ("outliers", "all"), "label")
    return outliers if label == "outliers" else np.ones(len(outliers), bool)


def short(names: Iterable[str]) -> list[str]:
    """Names that leave room for others, both ends kept."""
    return [shortened(name, _MOST).replace("\\$", "$") for name in names]


def name_points(
    ax: "Axes", x: FloatArray, y: FloatArray, names: Sequence[str], chosen: BoolArray, radius: FloatArray | float = 2.5
) -> None:
    """Write the names of the chosen points, on the side where they cover least.

    x, y : (n,) of all points, in the units of the axes.  radius : of the marks, in points.
    """
    if not chosen.any():
        return
    style.root_figure(ax).draw_without_rendering()
    scale = 72 / ax.figure.dpi
    places = ax.transData.transform(np.column_stack([x, y])) * scale
    reach = np.broadcast_to(radius, len(places))
    frame = ax.get_window_extent()
    inside = frame.x0 * scale, frame.y0 * scale, frame.x1 * scale, frame.y1 * scale
    taken: list[Box] = [(a - r, b - r, a + r, b + r) for (a, b), r in zip(places.tolist(), reach.tolist(), strict=True)]
    for i in np.flatnonzero(chosen).tolist():
        far = float(reach[i]) + _FAR
        boxes = [_box(places[i], side, far, width(names[i], _LETTERS)) for side in _SIDES]
        costs = [sum(_overlap(box, other) for other in taken) + 5 * _outside(box, inside) for box in boxes]
        best = int(np.argmin(costs))
        taken.append(boxes[best])
        across, up = _SIDES[best]
        ax.annotate(
            names[i].replace("$", "\\$"),
            (x[i], y[i]),
            xytext=(across * far, up * far),
            textcoords="offset points",
            ha=_ALIGNED[across],
            va=_LEVELLED[up],
            fontsize=_LETTERS,
            color=style.INK,
            zorder=7,
        )


def _box(point: FloatArray, side: tuple[int, int], far: float, wide: float) -> Box:
    """The box of a name on one side of a point."""
    (x, y), (across, up) = point.tolist(), side
    left = x + across * far - wide * (1 - across) / 2
    low = y + up * far - _LETTERS * (1 - up) / 2
    return left, low, left + wide, low + _LETTERS


def _overlap(a: Box, b: Box) -> float:
    across, up = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return across * up if across > 0 and up > 0 else 0.0


def _outside(box: Box, frame: Box) -> float:
    """Area of a box that lies beyond the axes."""
    return (box[2] - box[0]) * (box[3] - box[1]) - _overlap(box, frame)
