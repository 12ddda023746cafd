"""The graph of a network: treatments as circles, direct comparisons as lines."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_order
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import network_of
from bayesmeta.network.splitting import trial_pairs
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes, plain, shortened, wrapped
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_LARGEST, _SMALLEST = 22.0, 6.0  # points, diameters of circles
_WIDEST, _OF_ONE = 7.0, 2.5  # points, of the line of the most trials, and of one trial where none has many
_MANY = 12  # treatments from which on names are turned
_ROOM, _ROOM_TURNED = 1.45, 1.8  # of the axes, in radii of the ring
_SHADE = 0.18  # opacity of a trial with several arms


def network_graph(
    source: xr.DataTree | Spec,
    ax: "Axes | None" = None,
    *,
    size: Literal["people", "trials"] | None = None,
    order: Sequence[str] | None = None,
    numbers: bool | None = None,
) -> "DrawnAxes":
    """Which treatments have been compared, and how often.

    Parameters
    ----------
    source : DataTree or Spec
        A network of `bm.network.specify`, or its results.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    size : {"people", "trials"}, optional
        What the area of a circle is proportional to: the persons of all arms, by default where the data have them, or
        the number of trials.
    order : sequence of str, optional
        All treatments in the order around the circle, anticlockwise from the right; by default that of the alphabet.
    numbers : bool, optional
        Whether the number of trials stands beside every line; by default of networks of at most 12 treatments.

    Returns
    -------
    matplotlib Axes
        The width of a line is proportional to the number of trials that have both arms. Trials with several arms are
        shaded.

    Raises
    ------
    SpecError
        When the source is no network, its data have no numbers of persons, or `order` does not hold each treatment.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> ax = bm.plots.network_graph(spec)
    >>> len(ax.lines)
    15
    """
    spec = network_of(source, "network_graph")
    names = check_order(order, spec.analysis["treatments"], "order", "treatment")
    count, several, area, what = _counts(spec, names, size)
    many = len(names) > _MANY
    numbers = not many if numbers is None else check_boolean(numbers, "numbers")
    side = style.PAGE if many else 3.7
    panel = only_axes(ax, height=side - 0.2, width=side)
    angle = 2 * np.pi * np.arange(len(names)) / len(names)
    at = np.column_stack([np.cos(angle), np.sin(angle)])
    _shade(panel, at, several)
    _lines(panel, at, count, numbers)
    diameter = np.maximum(_SMALLEST, _LARGEST * np.sqrt(area / area.max()))
    panel.scatter(at[:, 0], at[:, 1], s=diameter**2, color=style.BLUE, edgecolor=style.PAPER, linewidth=0.8, zorder=4)
    for place, name, own in zip(at, names, diameter, strict=True):
        (_along if many else _outside)(panel, place, name, own)
    room = _ROOM_TURNED if many else _ROOM
    panel.set(xlim=(-room, room), ylim=(-room, room - 0.15), aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    lines = words.notes_below(panel, [f"circles: {what}; lines: trials with both arms"])
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _outside(ax: "Axes", at: FloatArray, name: str, diameter: float) -> None:
    """The name of a treatment beside its circle, away from the middle."""
    x, y = at
    side = "left" if x > 0.2 else "right" if x < -0.2 else "center"
    level = "center" if abs(y) < 0.9 else "bottom" if y > 0 else "top"
    _name(ax, at, wrapped(name, 16), diameter, ha=side, va=level)


def _along(ax: "Axes", at: FloatArray, name: str, diameter: float) -> None:
    """The same in the direction of the radius, where many names stand close to each other."""
    x, y = at
    turned, side = np.degrees(np.arctan2(y, x)), "left" if x >= 0 else "right"
    angle = turned if x >= 0 else turned + 180
    _name(ax, at, shortened(name), diameter, ha=side, va="center", rotation=angle, rotation_mode="anchor")


def _name(ax: "Axes", at: FloatArray, text: str, diameter: float, **look: Any) -> None:
    look |= {"textcoords": "offset points", "fontsize": style.SMALL, "color": style.INK, "zorder": 5}
    ax.annotate(text, tuple(at), xytext=tuple(at * (diameter / 2 + 4)), annotation_clip=False, **look)


def _counts(spec: Spec, names: list[str], size: str | None) -> tuple[np.ndarray, list[list[int]], FloatArray, str]:
    """Trials (T, T) by comparison, the arms of those with more than two, and the areas of circles."""
    place = {name: i for i, name in enumerate(names)}
    count = np.zeros((len(names), len(names)), dtype=int)
    for one, two, *_ in trial_pairs(spec):
        count[place[one], place[two]] += 1
        count[place[two], place[one]] += 1
    rows = spec.data.loc[spec.kept]
    study = spec.analysis["study"]
    first = rows.drop_duplicates(study)
    has = "people" in rows and rows["people"].notna().all()
    if size is not None:
        check_choice(size, ("people", "trials"), "size")
        if size == "people" and not has:
            raise SpecError('size="people": the data have no numbers of persons\n  size="trials" has those of trials')
    arms = pd.concat([rows[TREATMENT], first[VERSUS]])
    if has and size != "trials":
        people = pd.concat([rows["people"], first["people versus"]])
        area = people.groupby(arms.to_numpy()).sum().reindex(names).to_numpy(float)
        what = "persons"
    else:
        area, what = arms.value_counts().reindex(names).to_numpy(float), "trials"
    own = [[*group[TREATMENT], group[VERSUS].iloc[0]] for _, group in rows.groupby(study, sort=False)]
    return count, [sorted({place[t] for t in each}) for each in own if len(each) > 2], area, what


def _shade(ax: "Axes", at: FloatArray, several: list[list[int]]) -> None:
    from matplotlib.patches import Polygon

    shade = min(_SHADE, max(_SHADE / 5, 5 * _SHADE / max(len(several), 1)))  # those of many lie on each other
    for each in several:
        ax.add_patch(Polygon(at[each], facecolor=style.SKY, alpha=shade, edgecolor="none", zorder=1))


def _lines(ax: "Axes", at: FloatArray, count: np.ndarray, numbers: bool) -> None:
    for i, j in zip(*np.nonzero(np.triu(count)), strict=True):
        wide = max(0.8, min(_WIDEST, _OF_ONE * count.max()) * count[i, j] / count.max())
        ax.plot(*at[[i, j]].T, color=style.MUTED, linewidth=wide, solid_capstyle="butt", zorder=2, alpha=0.8)
        if numbers:
            x, y = at[i] + 0.36 * (at[j] - at[i]) if (i + j) % 2 else at[j] + 0.36 * (at[i] - at[j])
            look: dict[str, Any] = {"boxstyle": "round,pad=0.12", "facecolor": style.PAPER, "edgecolor": "none"}
            ax.text(
                x, y, plain(str(count[i, j])), fontsize=style.SMALL - 1, ha="center", va="center", bbox=look, zorder=3
            )
