"""Texts around a plot: legends above the axes, notes and names of categories below, and room for them."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.display.tables import percent
from bayesmeta.plots import style
from bayesmeta.plots.panels import plain
from bayesmeta.plots.predictor import Estimates
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HANDLE = 6  # width of a legend's sample line, in letters
_LINE = 0.14  # height of a line of text in inches
_MOST_LINES = 4  # of a category's name
_BESIDE = 26  # letters of a line in a legend beside the axes
WIDE = style.COLUMN + 1.3  # inches of a figure with such a legend
NOTES = "notes"  # by which the artist is known
_LETTERS = 0.5  # width of a letter in units of its size, on average


def legend_above(ax: "Axes", handles: Sequence[tuple[str, Any]]) -> int:
    """A legend above the axes, where it hides no data, in as many columns as fit; returns its number of lines."""
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


def legend_beside(ax: "Axes", handles: Sequence[tuple[str, Any]]) -> None:
    """A legend to the right of the axes, where it hides no data and leaves the place of a title free."""
    if named := [(plain(textwrap.fill(label, _BESIDE)), handle) for label, handle in handles if label]:
        ax.legend(
            [handle for _, handle in named],
            [text for text, _ in named],
            loc="upper left",
            bbox_to_anchor=(1.02, 1),
            borderaxespad=0,
            frameon=False,
            fontsize=style.SMALL,
            handlelength=2.0,
            handletextpad=0.6,
            labelspacing=0.4,
        )


def label_below(ax: "Axes", label: str, notes: Sequence[str]) -> int:
    """The label of the x axis, and notes below it, each once; returns the number of lines of the notes."""
    ax.set_xlabel(label, fontsize=style.TEXT)
    return notes_below(ax, notes)


def notes_below(ax: "Axes", notes: Sequence[str]) -> int:
    """Notes below the label of the x axis, whatever it is later set to; returns the number of their lines."""
    lines = [textwrap.fill(note, _characters(ax, style.SMALL)) for note in dict.fromkeys(notes) if note]
    if lines:
        ax.annotate(
            "\n".join(lines),
            (0.5, 0),
            xycoords=ax.xaxis.label,
            xytext=(0, -2),
            textcoords="offset points",
            ha="center",
            va="top",
            fontsize=style.SMALL,
            color=style.MUTED,
            annotation_clip=False,
            gid=NOTES,
        )
    return "".join(lines).count("\n") + len(lines)


def categories_axis(ax: "Axes", positions: FloatArray, labels: Sequence[str]) -> int:
    """Names of categories as ticks, on several lines or rotated where they would touch each other.

    Returns the number of lines that they take beyond the first.
    """
    room = _characters(ax, style.SMALL) // len(labels) - 1
    word = max(len(word) for text in labels for word in text.split())
    level = word <= room and max(len(textwrap.wrap(text, room)) for text in labels) <= _MOST_LINES
    one_line = room * _LETTERS < 3  # rotated, in units of the font size
    shown = [
        textwrap.fill(text, room) if level else _cut(text) if one_line else textwrap.fill(text, 24) for text in labels
    ]
    ax.set_xticks(positions, shown, rotation=0 if level else 90, fontsize=style.SMALL)
    lines = [text.splitlines() for text in shown]
    longest = max(len(line) for text in lines for line in text)
    return max(map(len, lines)) - 1 if level else int(longest * _LETTERS)


def y_label(label: str) -> str:
    """The label of a y axis, wrapped to fit axes of the usual height."""
    return textwrap.fill(label, 36)


def interval_note(trees: Iterable[xr.DataTree], prob: float, shape: str = "bands") -> str:
    """What the bands (or bars) show, such as "bands: 95% confidence intervals"."""
    kinds = {"credible" if is_posterior(tree) else "confidence" for tree in trees}
    return f"{shape}: {percent(prob)} {' and '.join(sorted(kinds))} intervals"


def by_name(notes: Mapping[str, str]) -> list[str]:
    """A note on each model; one without a name where it is the same for all."""
    if len(set(notes.values())) == 1:
        return [next(iter(notes.values()))]
    return [f"{name}: {note}" for name, note in notes.items() if note]


def not_drawn(curves: Sequence[Estimates], reading: Reading) -> str:
    """A note on intervals that cannot be drawn."""
    missing, total = sum(each.without_interval(reading) for each in curves), sum(len(each.x) for each in curves)
    return f"no finite interval at {missing} of {total} values" if missing else ""


def make_room(ax: "Axes", lines: int) -> None:
    """Make the figure higher by this many lines of text, so that they do not flatten the axes."""
    figure = ax.figure
    figure.set_size_inches(figure.get_figwidth(), figure.get_figheight() + _LINE * lines)  # type: ignore[union-attr]


def _cut(text: str, most: int = 32) -> str:
    return text if len(text) <= most else text[: most - 1] + "…"


def _characters(ax: "Axes", size: float) -> int:
    """How many letters of this size fit side by side under the axes, less the labels beside them."""
    place = ax.get_subplotspec()
    columns = place.get_gridspec().ncols if place is not None else 1
    wide = float(ax.figure.get_figwidth())  # type: ignore[union-attr]
    wide = style.COLUMN + 0.3 if wide == WIDE else wide  # beside a legend axes are no wider than a column
    inches = wide / columns - 0.7
    return max(12, int(inches * 72 / (_LETTERS * size)))
