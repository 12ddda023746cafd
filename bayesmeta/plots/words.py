"""Words around a picture: legends above the axes, notes and names of categories below, and room for them."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.plots import style
from bayesmeta.plots.estimates import Estimates
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HANDLE = 6  # letters that a legend's sample line takes
_LINE = 0.14  # height of a line of text in inches
_MOST_LINES = 4  # of a category's name
_LETTERS = 0.5  # width of a letter in units of its size, on average


def legend_above(ax: "Axes", handles: Sequence[tuple[str, Any]]) -> int:
    """Names above the axes, where no data lie, in as many columns as their letters leave room for.

    Returns the number of lines that they take.
    """
    room = _characters(ax, style.SMALL)
    named = [(textwrap.fill(label, room - _HANDLE), handle) for label, handle in handles if label]
    if not named:
        return 0
    lines = [text.splitlines() for text, _ in named]
    longest = _HANDLE + max(len(line) for text in lines for line in text)
    columns = int(np.clip(room // longest, 1, min(3, len(named))))
    ax.legend(
        [handle for _, handle in named],
        [text for text, _ in named],
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.3,
        ncols=columns,
        frameon=False,
        fontsize=style.SMALL,
        handlelength=2.4,
        columnspacing=1.2,
    )
    return -(-sum(map(len, lines)) // columns)


def label_below(ax: "Axes", label: str, notes: Sequence[str]) -> int:
    """The label of the x axis, and below it notes, each once; returns the number of lines of the notes."""
    lines = [textwrap.fill(note, _characters(ax, style.TEXT)) for note in dict.fromkeys(notes) if note]
    ax.set_xlabel("\n".join([label, *lines]), fontsize=style.TEXT)
    return "".join(lines).count("\n") + len(lines)


def categories_axis(ax: "Axes", positions: FloatArray, labels: Sequence[str]) -> int:
    """Names of categories as ticks, in lines of their own or upright where they would touch each other.

    Returns the number of lines beyond the first that they take.
    """
    room = _characters(ax, style.SMALL) // len(labels) - 1
    word = max(len(word) for text in labels for word in text.split())
    level = word <= room and max(len(textwrap.wrap(text, room)) for text in labels) <= _MOST_LINES
    one_line = room * _LETTERS < 3  # upright, in units of the letters' size
    shown = [
        textwrap.fill(text, room) if level else _cut(text) if one_line else textwrap.fill(text, 24) for text in labels
    ]
    ax.set_xticks(positions, shown, rotation=0 if level else 90, fontsize=style.SMALL)
    lines = [text.splitlines() for text in shown]
    longest = max(len(line) for text in lines for line in text)
    return max(map(len, lines)) - 1 if level else int(longest * _LETTERS)


def upright(label: str) -> str:
    """The label of a y axis in lines that axes of the usual height hold."""
    return textwrap.fill(label, 36)


def interval_words(trees: Iterable[xr.DataTree], prob: float, what: str = "bands") -> str:
    kinds = {"credible" if is_posterior(tree) else "confidence" for tree in trees}
    return f"{what}: {100 * prob:g}% {' and '.join(sorted(kinds))} intervals"


def by_name(told: Mapping[str, str]) -> list[str]:
    """Words on each model, once where they are the same of all."""
    if len(set(told.values())) == 1:
        return [next(iter(told.values()))]
    return [f"{name}: {words}" for name, words in told.items() if words]


def not_drawn(found: Sequence[Estimates], ratio: bool) -> str:
    """A word on intervals that cannot be drawn."""
    missing, all_ = sum(each.without_interval(ratio) for each in found), sum(len(each.x) for each in found)
    return f"no finite interval at {missing} of {all_} values" if missing else ""


def make_room(ax: "Axes", lines: int) -> None:
    """Makes the figure higher by lines of text, so that they do not press the axes flat."""
    figure = ax.figure
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + _LINE * lines)  # type: ignore[union-attr]


def _cut(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _characters(ax: "Axes", size: float) -> int:
    """How many letters of a size lie side by side under the axes, with the labels beside them taken off."""
    share = ax.get_subplotspec()
    columns = share.get_gridspec().ncols if share is not None else 1
    inches = ax.figure.get_figwidth() / columns - 0.7  # type: ignore[union-attr]
    return max(12, int(inches * 72 / (_LETTERS * size)))
