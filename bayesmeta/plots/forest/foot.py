"""What stands below the lines of a forest plot: the axis with its label, favoured sides, notes and a legend."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta import measures
from bayesmeta._validation import shown
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.forest.axis import LABEL_PAD, PAD, TICK, broken
from bayesmeta.plots.forest.spacing import GAP, Panel, width
from bayesmeta.plots.forest.table import beside
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_LINE = 1.3  # from line to line, in letters
_LEGEND_LINE = 1.42
_ABOVE = 0.5  # from the last line to the notes, in letters
_BESIDE = 0.5  # between the two sides that are favoured and the line of no effect, in letters

type Favours = tuple[str, str] | bool | None
"""Who is favoured left and right of no effect; True takes the names of the arms, None says what lies there."""


@dataclass(frozen=True)
class Foot:
    """What is below the lines.  label : of the axis.  favours : left and right of no effect, both "" for none."""

    label: str
    favours: tuple[str, str] = ("", "")

    def height(self, panel: Panel, size: float, plot: float) -> float:
        """In points, below a plot of this width."""
        axis = self.drop(size, plot) + _LINE * size * self._favoured(size, plot) + 2
        notes = (_LINE * len(self.lines(panel, size, plot)) + _LEGEND_LINE * len(panel.legend) + 0.4) * size
        return float(max(axis, self.first_note(panel, size, plot) + notes))

    def drop(self, size: float, plot: float) -> float:
        """From the axis to what stands below its label, in points."""
        label = broken(self.label, size, plot + 2 * GAP * size)
        return TICK + PAD + LABEL_PAD + size * (1.1 + 1.2 * _lines(label))

    def first_note(self, panel: Panel, size: float, plot: float) -> float:
        """From the axis to the first note: beside the axis where there are labels to the left of it, else below it."""
        below = 0.0 if panel.left else self.drop(size, plot) + _LINE * size * self._favoured(size, plot)
        return below + _ABOVE * size

    def lines(self, panel: Panel, size: float, plot: float) -> list[str]:
        """The lines of the notes."""
        room = panel.room("left", size) - GAP * size if panel.left else plot + panel.room("right", size)
        return [line for note in panel.notes for line in broken(note, size, room).split("\n")]

    def _favoured(self, size: float, plot: float) -> int:
        return max(_lines(broken(text, size, plot / 2)) for text in self.favours) if any(self.favours) else 0


def favours_texts(tree: xr.DataTree, favours: Favours) -> tuple[str, str]:
    """The texts left and right of no effect; empty where nothing is known about the arms."""
    measure = measures.measure(tree.attrs.get("measure"))
    arms = spec_from_tree(tree).arms
    if favours is False or (favours is None and (arms is None or measure.null is None)):
        return "", ""
    if measure.null is None:
        raise SpecError(
            f"favours={shown(favours)}: a {measure.label} has no value that means no effect, so no side of it favours "
            "anybody\n  leave favours out"
        )
    if favours is None or favours is True:
        if arms is None:
            raise SpecError(
                "favours=True takes the names of the arms, which these results do not have\n"
                '  give both sides: favours=("treatment", "control"), the left one first'
            )
        return tuple(f"{'Favours' if favours else 'Lower in'} {arm}" for arm in arms)  # type: ignore[return-value]
    if not isinstance(favours, Sequence) or isinstance(favours, str) or len(favours) != 2:
        raise SpecError(
            f'favours={shown(favours)}; give what is favoured left and right of no effect: favours=("treatment", '
            '"control")'
        )
    left, right = (str(text).strip() for text in favours)
    return _favouring(left), _favouring(right)


def _favouring(text: str) -> str:
    return text if not text or text.lower().startswith(("favour", "favor")) else f"Favours {text}"


def draw_favours(
    ax: "Axes", favours: tuple[str, str], at: tuple[float, float], size: float, plot: float, drop: float
) -> None:
    """Both texts below the axis, beside the line of no effect as far as there is room.

    at : the place of no effect, as a fraction of the plot, and the height of the axis.  plot : its width in points.
    drop : from the axis to the texts.
    """
    left, right = (broken(text, size, plot / 2 - _BESIDE * size) for text in favours)
    middle = float(np.clip(at[0], 0, 1)) * plot
    start = max(middle - _BESIDE * size, width(left, size) - GAP * size)
    onwards = max(middle + _BESIDE * size, start + 2 * _BESIDE * size)
    for text, side, x in ((left, "right", start), (right, "left", onwards)):
        below(ax, text, (x, at[1], drop), size, ha=side)


def draw_notes(ax: "Axes", foot: Foot, panel: Panel, bottom: float, size: float, plot: float) -> float:
    """The notes, a text for each line; returns how far they reach below the axis, in points."""
    drop = foot.first_note(panel, size, plot)
    for line in foot.lines(panel, size, plot):
        below(ax, line, (-panel.room("left", size), bottom, drop), size, color=style.MUTED)
        drop += _LINE * size
    return drop


def below(ax: "Axes", text: str, place: tuple[float, float, float], size: float, **options: Any) -> None:
    """A text.  place : points from the left edge of the plot, the height of a line, points below it."""
    x, y, drop = place
    look: dict[str, Any] = {"va": "top", "color": style.INK, "linespacing": 1.1} | options
    ax.text(0, y, text, fontsize=size, transform=beside(ax, x, -drop), parse_math=False, **look)


def _lines(text: str) -> int:
    return text.count("\n") + 1 if text else 0
