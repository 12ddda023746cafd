"""The league table as a heat map."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta._validation import check_order, check_probability
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.network.comparisons import Network, league
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.texts import interval_text
from bayesmeta.plots.heat_cells import fill_cells, name_cells
from bayesmeta.plots.panels import LEAST_LETTERS, only_axes, shortened, wrapped
from bayesmeta.tree.response import Reading, Scale
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_CELL = 0.72, 0.36  # inches, width and height
_BESIDE = 1.2  # inches, of the names on the left
_POINTS, _LETTER = 72, 0.62  # to the inch; width of a bold letter, on average, to the size of letters
_MOST_WITH_NUMBERS = 14  # treatments
_FULL = 3.0  # estimate over standard error from which on colours are full


@asks_in_one_way
def network_league(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    order: Sequence[str] | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    at: Mapping[str, float] | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Every treatment of a row against every treatment of a column, coloured by the estimate over its standard error.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    order : sequence of str, optional
        All treatments in the order of rows and columns; by default by their effects.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1; cells whose interval has no effect in it are in bold.
    scale, at, vcov, df : optional
        As for `bm.network.league`; `scale` by default "response" where the measure has one.

    Returns
    -------
    matplotlib Axes
        Blue where the row's treatment has smaller effects than the column's, orange where larger.

    Raises
    ------
    SpecError
        When the tree is not of a network, or `order` does not hold each treatment.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> ax = bm.plots.network_league(bm.fit(spec))
    >>> len(ax.get_xticklabels())
    10
    """
    network, prob, reading = Network.of(tree, "network_league", at), check_probability(prob), style.reading(tree, scale)
    table = league(tree, prob, at=at, vcov=vcov, df=df)
    if order is None:
        base = table["mean"].sel({VERSUS: network.spec.analysis["reference"]})
        order = [str(name) for name in base.sortby(base)[TREATMENT].values]
    names = check_order(order, network.treatments, "order", "treatment")
    own = table.sel({TREATMENT: names, VERSUS: names})
    T = len(names)
    size = (T * _CELL[0] + _BESIDE, T * _CELL[1] + 0.8)
    panel = only_axes(ax, width=min(max(size[0], style.COLUMN), style.PAGE), height=size[1])
    with np.errstate(divide="ignore", invalid="ignore"):
        z = (own["mean"] / own["se"]).to_numpy()
    z[np.diag_indices(T)] = 0
    fill_cells(panel, z, _FULL)
    if T <= _MOST_WITH_NUMBERS:
        _write(panel, own, reading, _POINTS * (panel.figure.get_figwidth() - _BESIDE) / T)
    texts, width = [wrapped(name, 13) for name in names], _POINTS * (panel.figure.get_figwidth() - _BESIDE) / T
    longest = max(len(line) for text in texts for line in text.splitlines())
    letters = min(style.SMALL - 1, width / (_LETTER * longest))
    for i, text in enumerate(texts if letters >= LEAST_LETTERS else []):
        panel.text(i, i, text, ha="center", va="center", fontsize=letters, weight="bold")
    columns = texts if width > 2.5 * style.SMALL else [shortened(name) for name in names]
    lengths = [max(map(len, name.splitlines())) for name in columns]
    touching = any((a + b) / 2 * 0.6 * style.SMALL > width for a, b in pairwise(lengths))
    name_cells(panel, [wrapped(name, 14) for name in names], columns, T > 6 or touching, style.SMALL)
    lines = words.label_below(panel, reading.label, ["row against column; colours: estimate / standard error"])
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _write(ax: "Axes", table: xr.Dataset, reading: Reading, width: float) -> None:
    """Estimates with intervals; width : of a cell, in points."""
    mean, lower, upper = (table[name].to_numpy() for name in ("mean", "lower", "upper"))
    texts = {
        (i, j): interval_text(Interval(mean[i, j], lower[i, j], upper[i, j]), 2, reading).replace(" ", "\n", 1)
        for i, j in np.argwhere(~np.eye(len(mean), dtype=bool)).tolist()
    }
    longest = max(len(line) for text in texts.values() for line in text.splitlines())
    letters = min(style.SMALL - 1.5, width / (_LETTER * longest))
    for (i, j), text in texts.items():
        weight = "bold" if lower[i, j] > 0 or upper[i, j] < 0 else "normal"
        ax.text(j, i, text, ha="center", va="center", fontsize=letters, weight=weight, linespacing=1.1)
