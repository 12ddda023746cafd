"""Estimates against the correlation of sampling errors that was assumed."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, plain
from bayesmeta.plots.words import label_below
from bayesmeta.tree.parameters import check_parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_HEIGHT = 2.4  # inches of a panel
_NEEDED = {"rho", "parameter", "kind", "estimate", "lower", "upper", "robust_lower", "robust_upper"}


def rho_sensitivity(
    table: pd.DataFrame, parameters: str | Sequence[str] | None = None, axes: "AxesLike | None" = None
) -> style.AxesArray:
    """Estimates and intervals of `bm.rho_sensitivity` against the correlation that was assumed.

    Parameters
    ----------
    table : DataFrame
        The result of `bm.rho_sensitivity`.
    parameters : str or sequence of str, optional
        Parameters or kinds of them to draw, such as "beta" or "tau[study, Intercept]"; by default coefficients and SDs.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are panels; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        One for each parameter: the estimate as a line with a dot at every correlation, the interval of the model as a
        band, and that of the robust covariance, which coefficients have, as dashed lines.

    Raises
    ------
    SpecError
        If `table` is anything else, a parameter is unknown, or the number of axes is wrong.

    See Also
    --------
    bayesmeta.rho_sensitivity : The numbers that are drawn.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> axes = bm.plots.rho_sensitivity(bm.rho_sensitivity(spec, [0, 0.4, 0.8]), "beta")
    >>> axes[0].get_title()
    'beta[Intercept]'
    """
    if not isinstance(table, pd.DataFrame) or not set(table) >= _NEEDED or not len(table):
        raise SpecError(
            f"plots.rho_sensitivity takes the table returned by bm.rho_sensitivity, not a {type(table).__name__}; "
            "write bm.plots.rho_sensitivity(bm.rho_sensitivity(spec))"
        )
    kinds = table.drop_duplicates("parameter").set_index("parameter")["kind"]
    asked = ["beta", "tau"] if parameters is None else check_names(parameters, "parameters")
    for name in asked if parameters is not None else []:
        check_parameter(name, kinds.index, kinds.unique())
    drawn = [str(name) for name, kind in kinds.items() if name in asked or kind in asked]
    panels = panel_axes(axes, drawn, _HEIGHT)
    for ax, name in zip(panels, drawn, strict=True):
        own = table[table["parameter"] == name].sort_values("rho")
        _draw(ax, own)
        ax.set_title(plain(name), fontsize=style.TEXT)
        first = name == drawn[0]
        notes = [_legend(own, table.attrs)] if first else []
        label_below(ax, "Assumed correlation", notes)
    return panels


def _draw(ax: "Axes", own: pd.DataFrame) -> None:
    x, estimate = (own[name].to_numpy(dtype=float) for name in ("rho", "estimate"))
    lower, upper = (own[name].to_numpy(dtype=float) for name in ("lower", "upper"))
    ax.fill_between(x, lower, upper, color=style.BLUE, alpha=0.2, linewidth=0)
    for name in ("robust_lower", "robust_upper"):
        bound: FloatArray = own[name].to_numpy(dtype=float)
        if np.isfinite(bound).any():
            ax.plot(x, bound, linestyle="--", color=style.INK, linewidth=0.9)
    ax.plot(x, estimate, "o-", color=style.BLUE, markersize=3.5, linewidth=1.5)
    if (own["kind"] == "beta").all() and ax.get_ylim()[0] < 0 < ax.get_ylim()[1]:
        ax.axhline(0, color=style.MUTED, linewidth=0.8, linestyle=":", zorder=0)
    if (own["kind"] == "tau").all():
        ax.set_ylim(bottom=0)


def _legend(own: pd.DataFrame, attrs: dict[object, object]) -> str:
    """What band and dashed lines are."""
    prob = percent(float(str(attrs.get("prob", 0.95))))
    words = f"Band: {prob} interval of the model"
    if np.isfinite(own["robust_lower"].to_numpy(dtype=float)).any():
        robust = attrs.get("robust", "robust")
        words += f"; dashed: robust ({robust['kind'] if isinstance(robust, dict) else robust})"
    return words
