"""The net heat plot: which designs disagree, and how much evidence flows from one to another."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.cluster.hierarchy import leaves_list, linkage
from scipy.spatial.distance import pdist

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_order
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.network.design_agreement import CONTRAST, DETACHED, SOURCE, net_heat
from bayesmeta.network.extended import JOINED
from bayesmeta.plots import style, words
from bayesmeta.plots.heat_cells import fill_cells, name_cells, scale_beside, squares_in_cells
from bayesmeta.plots.panels import compared, only_axes, wrapped
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_MOST = 8.0  # of a change that has a colour of its own, as published
_CELL, _LINE, _BESIDE, _BELOW = 0.28, 0.13, 2.2, 2.2  # inches: of a cell, of a line of its name, and of the names
_WIDTH = 35  # letters of such a line


def network_heat(
    source: xr.DataTree | Spec,
    ax: "Axes | None" = None,
    *,
    random: bool = False,
    order: Sequence[str] | None = None,
) -> "DrawnAxes":
    """Which designs disagree: how the parts of Cochran's Q between designs change when one of them is detached.

    Parameters
    ----------
    source : DataTree or Spec
        A consistency model of `bm.network.specify`, or its results.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    random : bool, default False
        Whether estimates vary between trials as in the model of design-by-treatment interaction, fitted as the results
        were, else by REML; by default by sampling errors alone.
    order : sequence of str, optional
        All contrasts that are drawn, in the order of rows and columns; by default those with similar colours stand
        together (complete linkage of the sums of absolute differences).

    Returns
    -------
    matplotlib Axes
        Rows are contrasts of designs, columns those of the design that is detached. Orange: the part of the row falls,
        so that its disagreement comes from that design; blue: it rises. The area of a square is the share of the direct
        evidence on its column in the network's estimate of its row. Designs without which a treatment would be cut off
        are left out, with a note.

    Raises
    ------
    SpecError
        When the source is no consistency model, fewer than two contrasts are left, or `order` does not hold each.

    See Also
    --------
    bayesmeta.network.net_heat : The numbers that are drawn.

    References
    ----------
    Krahn, Binder and König (2013), BMC Med. Res. Methodol. 13:35.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> ax = bm.plots.network_heat(spec)
    >>> len(ax.get_xticklabels())
    12
    """
    table = net_heat(source, random)
    of_design = table["change"].sel({DETACHED: table["design"].to_numpy()}).to_numpy()  # a column for each contrast
    kept = np.flatnonzero(np.isfinite(of_design).any(axis=0))
    if len(kept) < 2:
        raise SpecError(
            "network_heat needs two contrasts that can be detached\n  bm.network.designs(...) has the tests"
        )
    change, names = of_design[np.ix_(kept, kept)], table[CONTRAST].to_numpy()[kept].tolist()
    drawn = check_order(order, names, "order", "contrast")
    place = _alike(change) if order is None else np.array([names.index(name) for name in drawn])
    hat = np.abs(table["hat"].isel({CONTRAST: kept, SOURCE: kept}).to_numpy())
    labels = _labels(table.isel({CONTRAST: kept[place]}))
    size = len(kept) * max(_CELL, *(_LINE * (1 + label.count("\n")) for label in labels))
    panel = only_axes(ax, width=size + _BESIDE + 0.7, height=size + _BELOW)
    image = fill_cells(panel, change[np.ix_(place, place)], _MOST)
    squares_in_cells(panel, 0.9 * (hat / hat.max())[np.ix_(place, place)])
    name_cells(panel, labels, labels, True, style.SMALL - 0.5)
    scale_beside(panel, image, "fall of the part of Q")
    tau = f", tau {table.attrs['tau']:.2g}" if random else ""
    notes = [f"rows: parts of Cochran's Q between designs{tau}", "squares: share of direct evidence in the network's"]
    if left := len(of_design) - len(kept):
        notes.append(f"not drawn: {left} whose design alone reaches a treatment")
    lines = words.label_below(panel, "Design that is detached", notes)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _labels(table: xr.Dataset) -> list[str]:
    """Names of contrasts, with the design on a line of its own where it has more than two treatments."""
    labels = []
    for t, v, name in zip(table[TREATMENT].values, table[VERSUS].values, table[CONTRAST].values, strict=True):
        design = name.removeprefix(f"{t}{JOINED}{v}").strip()
        labels.append("\n".join(line for line in (compared(t, v, _WIDTH), wrapped(design, _WIDTH)) if line))
    return labels


def _alike(change: FloatArray) -> IntArray:
    """An order in which rows and columns with similar numbers stand together."""
    apart = pdist(change, "cityblock") + pdist(change.T, "cityblock")
    return np.asarray(leaves_list(linkage(apart, "complete", optimal_ordering=True)))
