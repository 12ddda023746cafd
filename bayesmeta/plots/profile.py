"""Profile likelihoods as curves."""

import textwrap
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta._validation import listing
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, plain

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_HEIGHT = 2.3  # inches of a panel


@keeps_old_names
def profile(dataset: xr.Dataset, axes: "AxesLike | None" = None) -> style.AxesArray:
    """Curves of `bm.profile`, one panel for each parameter that the structure does not hold constant.

    Parameters
    ----------
    dataset : Dataset
        The result of `bm.profile`.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are curves; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        The log-likelihood minus that of the fit. The dashed line is the loss at which the interval ends, the thick part
        of it the interval, the dot the estimate. A square marks a bound at the edge of the parameter's range, where the
        interval is one-sided, an arrow one that was not reached; the title says which.

    Raises
    ------
    SpecError
        If there is nothing to draw, `dataset` is anything else, or the number of axes is wrong.

    See Also
    --------
    bayesmeta.profile : The numbers that are drawn.
    bayesmeta.confint : The intervals alone.

    References
    ----------
    Venzon and Moolgavkar (1988), Appl. Stat. 37:87-94.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.plots.profile(bm.profile(fit, "tau"))[0].get_xlabel()
    'tau[unit, Intercept]'
    """
    if not isinstance(dataset, xr.Dataset) or not {"value", "loglik", "lower", "upper", "note"} <= set(dataset):
        raise SpecError(
            f"plots.profile takes the dataset returned by bm.profile, not a {type(dataset).__name__}; "
            "write bm.plots.profile(bm.profile(fit))"
        )
    names = dataset["parameter"].values.tolist()
    curved = [name for name in names if np.isfinite(dataset["loglik"].sel(parameter=name)).any()]
    if not curved:
        raise SpecError("no curve to draw: every parameter is held constant")
    panels = panel_axes(axes, curved, _HEIGHT)
    cut = -float(chdtri(1, 1 - dataset.attrs["prob"])) / 2
    for ax, name in zip(panels, curved, strict=True):
        _draw(ax, dataset.sel(parameter=name), cut, dataset.attrs["fitted"])
        ax.set_xlabel(plain(name), fontsize=style.TEXT)
    for ax in panels[:: 3 if axes is None else 1]:
        ax.set_ylabel("Log-likelihood\nminus the fit's", fontsize=style.TEXT)
    if constant := [name for name in names if name not in curved]:
        note = "\n".join(textwrap.wrap(f"Held constant, no curve: {listing(constant, 4)}", 44))
        panels[-1].set_xlabel(f"{panels[-1].get_xlabel()}\n{plain(note)}", fontsize=style.SMALL)
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
    texts = [f"{percent(own.attrs['prob'])} interval {_number(lower)} to {_number(upper)}", *notes]
    lines = [line for text in texts for line in textwrap.wrap(text, 36)]
    ax.set_title("\n".join(lines), fontsize=style.SMALL - 0.5, color=style.MUTED)


def _bound(ax: "Axes", side: str, bound: float, cut: float, note: str) -> None:
    """A dotted line below a bound; a square where it is the edge of the range; an arrow where it was not reached."""
    if "not bracketed" in note:
        ax.plot([bound], [cut], "<" if side == "lower" else ">", color=style.INK, markersize=6, clip_on=False)
    elif "edge" in note:
        ax.plot([bound], [cut], "s", color=style.INK, markersize=5, clip_on=False, zorder=3)
    else:
        ax.vlines([bound], ax.get_ylim()[0], cut, linestyle=":", color=style.INK, linewidth=0.8)


def _number(value: float) -> str:
    return f"{value:.3g}".replace("-", "\N{MINUS SIGN}")
