"""Baujat plots: which studies make the heterogeneity, and which of them move the estimate."""

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta.inference.influence import deletions
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.texts import row_labels
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.plots.predictor import chosen_outcome
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_FAR = 0.5  # of the largest value on an axis, from which a point is named


def baujat(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    by: ByRow | None = None,
    label: Labelled = "outliers",
    labels: ByRow | None = None,
) -> "DrawnAxes":
    """What each study adds to the heterogeneity, against how much it moves the estimate.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    by : str or sequence, optional
        What is left out at a time, as for `bm.influence`; by default single rows.
    label : {"outliers", "all"}, default "outliers"
        Which studies are named: those far out on one of the axes, or all; None for none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.

    Returns
    -------
    matplotlib Axes
        Across, the squared Pearson residual of an effect, (y - mean)^2 over its variance with heterogeneity; up, the
        squared change of its fitted mean without its group, over the variance of that mean.

    Raises
    ------
    SpecError
        What `bm.influence` raises, or if the model has several outcomes and none is chosen.

    See Also
    --------
    bayesmeta.plots.influence : All diagnostics.

    References
    ----------
    Baujat, Mahe, Pignon and Hill (2002), Stat. Med. 21:2641-2652.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.baujat(fit)
    >>> ax.get_xlabel()
    'Squared Pearson residual'
    """
    which(label, np.zeros(0, bool))
    spec = spec_from_tree(tree)
    own = np.flatnonzero(spec.outcome_index == chosen_outcome(spec, outcome))
    made = deletions(tree, by)
    residual, change = (values[own] for values in made.contributions())
    panel = only_axes(ax, height=2.9)
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markeredgecolor": style.PAPER, "markeredgewidth": 0.5}
    panel.plot(
        residual, change, color=style.BLUE, markersize=4.5, label="_observations", clip_on=False, zorder=4, **look
    )
    panel.set_xlim(0, 1.08 * np.nanmax(residual))
    panel.set_ylim(0, 1.08 * np.nanmax(change))
    unknown = int(np.isnan(change).sum())
    notes = [f"{unknown} of {len(own)} not drawn: without them the model is not identified" if unknown else ""]
    lines = words.label_below(panel, "Squared Pearson residual", notes)
    panel.set_ylabel("Squared change of the mean", fontsize=style.TEXT)
    if ax is None:
        words.make_room(panel, lines)
    far = (residual > _FAR * np.nanmax(residual)) | (change > _FAR * np.nanmax(change))
    names = [row_labels(spec, labels).texts[row] for row in spec.row[own]]
    name_points(panel, residual, change, short(names), which(label, far) & np.isfinite(change))
    return panel
