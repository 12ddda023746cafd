"""Curves of profile likelihoods, drawn."""

import textwrap
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta._typing import AnyArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, percent, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_HEIGHT = 2.3  # inches of a panel


def profile(found: xr.Dataset, axes: Any = None) -> "AnyArray":
    """Curves of `bm.profile`, one panel for each parameter that the structure does not hold constant.

    Parameters
    ----------
    found : what `bm.profile` returned.
    axes : as many matplotlib axes as there are curves; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        The log-likelihood less that of the fit. The dashed line is the loss that ends the interval, the thick part of
        it the interval, the dot the estimate. A bound at the edge of the parameter's range, where the interval is
        one-sided, is a square, and one that was not reached an arrow; both are said above the panel.

    Raises
    ------
    SpecError
        When there is nothing to draw, `found` is something else, or the number of axes is wrong.

    Notes
    -----
    Venzon and Moolgavkar (1988), Appl. Stat. 37:87-94.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.plots.profile(bm.profile(fit, "tau"))[0].get_xlabel()
    'tau[unit, Intercept]'
    """
    if not isinstance(found, xr.Dataset) or not {"value", "loglik", "lower", "upper", "note"} <= set(found):
        raise SpecError("plots.profile takes the dataset that bm.profile returned")
    known = found["parameter"].values.tolist()
    curved = [name for name in known if np.isfinite(found["loglik"].sel(parameter=name)).any()]
    if not curved:
        raise SpecError("no curve to draw: every parameter is held constant")
    panels = panel_axes(axes, curved, _HEIGHT)
    cut = -float(chdtri(1, 1 - found.attrs["prob"])) / 2
    for ax, name in zip(panels, curved, strict=True):
        own = found.sel(parameter=name)
        _draw(ax, own, cut, found.attrs["fitted"])
        ax.set_xlabel(plain(name), fontsize=style.TEXT)
    for ax in panels[:: 3 if axes is None else 1]:
        ax.set_ylabel("Log-likelihood\nless the fit's", fontsize=style.TEXT)
    if constant := [name for name in known if name not in curved]:
        said = "\n".join(textwrap.wrap(f"Held constant, no curve: {listing(constant, 4)}", 44))
        panels[-1].set_xlabel(f"{panels[-1].get_xlabel()}\n{plain(said)}", fontsize=style.SMALL)
    return panels


def _draw(ax: "Axes", own: xr.Dataset, cut: float, fitted: float) -> None:
    loss = own["loglik"].to_numpy() - fitted
    ax.plot(own["value"], np.where(np.isfinite(loss), loss, np.nan), color=style.BLUE, linewidth=1.5)
    ax.axhline(cut, linestyle="--", color=style.MUTED, linewidth=0.8)
    ax.set_ylim(1.7 * cut, -0.12 * cut)
    ax.set_xlim(*ax.get_xlim())
    estimate, lower, upper = (float(own[name]) for name in ("estimate", "lower", "upper"))
    notes = [note for note in str(own["note"].item()).split("; ") if note]
    ax.hlines([cut], [lower], [upper], color=style.INK, linewidth=2.5)
    for side, bound in (("lower", lower), ("upper", upper)):
        note = next((note for note in notes if note.startswith(side)), "")
        _bound(ax, side, bound, cut, note)
    ax.plot([estimate], [0], "o", color=style.INK, markersize=4, clip_on=False, zorder=3)
    words = [f"{percent(own.attrs['prob'])} interval {_number(lower)} to {_number(upper)}", *notes]
    lines = [line for text in words for line in textwrap.wrap(text, 36)]
    ax.set_title("\n".join(lines), fontsize=style.SMALL - 0.5, color=style.MUTED)


def _bound(ax: "Axes", side: str, bound: float, cut: float, note: str) -> None:
    """A dotted line down from a bound that was found; a square at an edge; an arrow where the search ended."""
    if "not bracketed" in note:
        ax.plot([bound], [cut], "<" if side == "lower" else ">", color=style.INK, markersize=6, clip_on=False)
    elif "edge" in note:
        ax.plot([bound], [cut], "s", color=style.INK, markersize=5, clip_on=False, zorder=3)
    else:
        ax.vlines([bound], ax.get_ylim()[0], cut, linestyle=":", color=style.INK, linewidth=0.8)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
