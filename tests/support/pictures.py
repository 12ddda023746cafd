"""What a person sees at once in a picture, found by machine: texts that lie on one another or are cut off."""

from collections.abc import Iterator
from itertools import combinations

from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text
from matplotlib.transforms import Bbox

TOUCH = 1.0  # pixels by which boxes may share a border


def crowded(figure: Figure) -> list[str]:
    """Pairs of texts whose boxes overlap, and texts that leave the figure, in words; empty when all is well."""
    FigureCanvasAgg(figure).draw()
    boxes = [(text, _box(text)) for text in drawn_texts(figure)]
    width, height = figure.canvas.get_width_height()
    cut = [
        f"{text.get_text()!r} leaves the figure"
        for text, box in boxes
        if box.x0 < -TOUCH or box.y0 < -TOUCH or box.x1 > width + TOUCH or box.y1 > height + TOUCH
    ]
    return cut + [
        f"{one.get_text()!r} lies on {two.get_text()!r}"
        for (one, a), (two, b) in combinations(boxes, 2)
        if _overlap(a, b)
    ]


def drawn_texts(figure: Figure) -> list[Text]:
    """Texts that the reader sees: visible, not empty, and of ticks those within the limits."""
    hidden = {id(label) for ax in figure.findobj(Axes) for axis in (ax.xaxis, ax.yaxis) for label in _outside(ax, axis)}
    return [
        text
        for text in figure.findobj(Text)
        if text.get_visible() and text.get_text().strip() and id(text) not in hidden and _parents_visible(text)
    ]


def _parents_visible(text: Text) -> bool:
    return text.axes is None or (text.axes.get_visible() and (text.axes.axison or text not in _ticks(text.axes)))


def _ticks(ax: Axes) -> list[Text]:
    return [*ax.xaxis.findobj(Text), *ax.yaxis.findobj(Text)]


def _outside(ax: Axes, axis: Axis) -> Iterator[Text]:
    low, high = sorted(axis.get_view_interval())
    slack = 1e-9 * (high - low)
    for tick in [*axis.majorTicks, *axis.minorTicks]:
        if not low - slack <= tick.get_loc() <= high + slack or not ax.axison:
            yield from (tick.label1, tick.label2)


def _box(text: Text) -> Bbox:
    # the box of the letters, not of a frame around them
    return text.get_window_extent()


def _overlap(a: Bbox, b: Bbox) -> bool:
    width = min(a.x1, b.x1) - max(a.x0, b.x0)
    height = min(a.y1, b.y1) - max(a.y0, b.y0)
    return width > TOUCH and height > TOUCH
