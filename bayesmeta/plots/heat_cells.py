"""Tables of numbers as coloured cells, negative ones blue and positive ones orange: what such pictures share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.plots import style

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.image import AxesImage

_BAR = 5.0  # inches, the longest scale of colours


def fill_cells(ax: "Axes", values: FloatArray, most: float) -> "AxesImage":
    """Cells (rows, columns), the first row on top, in full colour from this size on."""
    from matplotlib.colors import LinearSegmentedColormap

    colours = LinearSegmentedColormap.from_list("signed", [style.SKY, style.PAPER, style.ORANGE])
    image = ax.imshow(np.clip(values, -most, most), cmap=colours, vmin=-most, vmax=most, aspect="auto", zorder=0)
    rows, columns = values.shape
    for edge in np.arange(rows + 1) - 0.5:
        ax.axhline(edge, color=style.PAPER, linewidth=1)
    for edge in np.arange(columns + 1) - 0.5:
        ax.axvline(edge, color=style.PAPER, linewidth=1)
    ax.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
    ax.spines[:].set_visible(False)
    return image


def name_cells(ax: "Axes", rows: Sequence[str], columns: Sequence[str], turned: bool, size: float) -> None:
    """Names beside the rows and below the columns, which may be turned."""
    ax.set_xticks(range(len(columns)), columns, rotation=90 if turned else 0, fontsize=size)
    ax.set_yticks(range(len(rows)), rows, fontsize=size)
    ax.tick_params(length=0)


def squares_in_cells(ax: "Axes", share: FloatArray) -> None:
    """A square in the middle of every cell; share : (rows, columns) of it that the square takes, between 0 and 1."""
    from matplotlib.collections import PatchCollection
    from matplotlib.patches import Rectangle

    at = [(i, j, float(np.sqrt(share[i, j]))) for i, j in np.ndindex(share.shape)]
    patches = [Rectangle((j - s / 2, i - s / 2), s, s) for i, j, s in at]
    ax.add_collection(PatchCollection(patches, facecolor=style.INK, alpha=0.25, edgecolor="none", zorder=2))


def scale_beside(ax: "Axes", image: "AxesImage", label: str) -> None:
    """What the colours stand for, to the right."""
    width, height = style.root_figure(ax).get_size_inches()
    bar = style.root_figure(ax).colorbar(
        image, ax=ax, pad=0.02, aspect=30, shrink=min(1.0, _BAR / height), fraction=min(0.15, _BAR / 4 / width)
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=style.SMALL, length=2)
    bar.set_label(label, fontsize=style.SMALL)
