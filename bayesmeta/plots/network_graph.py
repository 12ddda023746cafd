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
from bayesmeta.plots.panels import only_axes, plain, wrapped
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_LARGEST, _SMALLEST = 22.0, 6.0  # points, diameters of circles
_WIDEST = 7.0  # points, of the line of the most trials
_ROOM = 1.45  # of the axes, in radii of the ring
_OUTSIDE = 1.16  # where names stand


def network_graph(
    source: xr.DataTree | Spec,
    ax: "Axes | None" = None,
    *,
    size: Literal["people", "trials"] | None = None,
    order: Sequence[str] | None = None,
    numbers: bool = True,
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
    numbers : bool, default True
        Whether the number of trials stands beside every line.

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
    numbers = check_boolean(numbers, "numbers")
    panel = only_axes(ax, height=3.3, width=3.7)
    angle = 2 * np.pi * np.arange(len(names)) / len(names)
    at = np.column_stack([np.cos(angle), np.sin(angle)])
    _shade(panel, at, several)
    _lines(panel, at, count, numbers)
    diameter = np.maximum(_SMALLEST, _LARGEST * np.sqrt(area / area.max()))
    panel.scatter(at[:, 0], at[:, 1], s=diameter**2, color=style.BLUE, edgecolor=style.PAPER, linewidth=0.8, zorder=4)
    for (x, y), name, own in zip(at, names, diameter, strict=True):
        side = "left" if x > 0.2 else "right" if x < -0.2 else "center"
        level = "center" if abs(y) < 0.9 else "bottom" if y > 0 else "top"
        panel.annotate(
            wrapped(name, 18),
            (x, y),
            xytext=(np.array([x, y]) * (own / 2 + 4)),
            textcoords="offset points",
            ha=side,
            va=level,
            fontsize=style.SMALL,
            color=style.INK,
            zorder=5,
            annotation_clip=False,
        )
    panel.set(xlim=(-_ROOM, _ROOM), ylim=(-_ROOM + 0.15, _ROOM - 0.15), aspect="equal", xticks=[], yticks=[])
    panel.spines[:].set_visible(False)
    lines = words.notes_below(panel, [f"circles: {what}; lines: trials with both arms"])
    if ax is None:
        words.make_room(panel, lines)
    return panel


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

    for each in several:
        ax.add_patch(Polygon(at[each], facecolor=style.SKY, alpha=0.18, edgecolor="none", zorder=1))


def _lines(ax: "Axes", at: FloatArray, count: np.ndarray, numbers: bool) -> None:
    for i, j in zip(*np.nonzero(np.triu(count)), strict=True):
        wide = max(0.8, _WIDEST * count[i, j] / count.max())
        ax.plot(*at[[i, j]].T, color=style.MUTED, linewidth=wide, solid_capstyle="butt", zorder=2, alpha=0.8)
        if numbers:
            x, y = at[i] + 0.36 * (at[j] - at[i]) if (i + j) % 2 else at[j] + 0.36 * (at[i] - at[j])
            look: dict[str, Any] = {"boxstyle": "round,pad=0.12", "facecolor": style.PAPER, "edgecolor": "none"}
            ax.text(
                x, y, plain(str(count[i, j])), fontsize=style.SMALL - 1, ha="center", va="center", bbox=look, zorder=3
            )
