"""Plots as images inside the page, or the reason why one cannot be drawn."""

import base64
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any

import numpy as np

from bayesmeta.errors import BayesmetaError
from bayesmeta.report.blocks import Picture

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS = 96  # of CSS, to the inch
_DPI = 2 * _PIXELS  # sharp on screens of twice the pixels, and in print
_SMALL = 24_000  # bytes of an SVG, which is sharp at any size
_SHADES = 48  # colours; more cannot be told apart in plots


@dataclass(frozen=True)
class Drawing:
    """A plot to be made: `draw` returns axes, an array of them, or a plot collection of ArviZ."""

    title: str
    alt: str
    caption: str
    draw: Callable[[], Any]


def pictures(drawings: Sequence[Drawing]) -> tuple[list[Picture], list[str]]:
    """The pictures that can be drawn, and a sentence about each of the others."""
    drawn, left_out = [], []
    with _no_windows():
        for drawing in drawings:
            try:
                drawn.append(picture(drawing))
            except BayesmetaError as error:
                reason = str(error).splitlines()[0]
                left_out.append(f"{drawing.title}: left out, because {reason}")
    return drawn, left_out


def picture(drawing: Drawing) -> Picture:
    import matplotlib.pyplot as plt

    figure = figure_of(drawing.draw())
    try:
        uri = image(figure, drawing.title)
        width, height = (round(float(inches) * _PIXELS) for inches in figure.get_size_inches())
    finally:
        plt.close(figure)
    return Picture(drawing.title, drawing.alt, drawing.caption, uri, width, height)


def figure_of(drawn: Any) -> "Figure":
    """The figure of axes, of an array of them, or of a plot collection of ArviZ; or a figure itself."""
    if hasattr(drawn, "viz"):
        return drawn.viz["figure"].item()
    if hasattr(drawn, "savefig"):
        return drawn
    return np.ravel(np.asarray(drawn, dtype=object))[0].get_figure(root=True)


def image(figure: "Figure", title: str) -> str:
    """A data URI: SVG, or pixels where an SVG would be large, and larger than those."""
    from matplotlib import rc_context

    drawn, traced = BytesIO(), BytesIO()
    with rc_context({"svg.hashsalt": title, "svg.fonttype": "path"}):
        figure.savefig(traced, format="svg", facecolor="white", metadata={"Date": None, "Title": title})
    figure.savefig(drawn, format="png", facecolor="white", dpi=_DPI)
    pixels = _few_colours(drawn)
    if traced.tell() <= max(_SMALL, len(pixels)):
        return _uri("image/svg+xml", traced.getvalue())
    return _uri("image/webp", pixels)


def _few_colours(picture: BytesIO) -> bytes:
    """The same picture as WebP without loss but of colours, half as large as a PNG of all colours."""
    from PIL import Image

    small = BytesIO()
    with Image.open(picture) as image:
        few = image.convert("RGB").quantize(_SHADES, dither=Image.Dither.NONE).convert("RGB")
    few.save(small, format="webp", lossless=True, method=6)
    return small.getvalue()


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


@contextmanager
def _no_windows() -> Iterator[None]:
    """Figures that are not shown, also where the chosen backend has no display to show them on."""
    import matplotlib.pyplot as plt

    try:
        plt.close(plt.figure())
    except ImportError:
        plt.switch_backend("agg")
    with plt.ioff():
        yield
