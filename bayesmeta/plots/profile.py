"""Profile likelihoods as curves."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, plain
from bayesmeta.plots.words import label_below

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_HEIGHT = 2.3  # inches of a panel
_POINTS, _FEW = 200, 4  # of a smooth curve; too few to make one of


@keeps_old_names
def profile(dataset: xr.Dataset, axes: "AxesLike | None" = None) -> style.AxesArray:
    """Curves of `bm.profile`, one panel for each parameter that the structure does not hold constant.

    Variances and covariances, whose curves say nothing that those of their SDs and correlations do not, are drawn only
    where these are not in the dataset.

    Parameters
    ----------
    dataset : Dataset
        The result of `bm.profile`.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are curves; by default new ones, up to three side by side.

    Returns
    -------
    array of Axes
        The log-likelihood relative to its maximum, that of the fit: a smooth curve through the points of the dataset.
        The dashed line is the loss at which the interval ends, the thick part of it the interval, the dot the estimate.
        A square marks a bound at the edge of the parameter's range, where the interval is one-sided, an arrow one that
        was not reached; a note below the axis says which.

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
    curved = [name for name in curved if not _drawn_already(name, curved)]
    if not curved:
        raise SpecError(
            "no curve to draw: every parameter is held constant\n  take the profile of a parameter that is estimated"
        )
    panels = panel_axes(axes, curved, _HEIGHT)
    cut = -float(chdtri(1, 1 - dataset.attrs["prob"])) / 2
    constant = [name for name in names if not np.isfinite(dataset["loglik"].sel(parameter=name)).any()]
    held = [f"Held constant, no curve: {listing(constant, 4)}"] if constant else []
    for ax, name in zip(panels, curved, strict=True):
        notes = _draw(ax, dataset.sel(parameter=name), cut, dataset.attrs["fitted"])
        label_below(ax, plain(name), [*notes, *(held if name == curved[-1] else [])])
    for ax in panels:
        place = ax.get_subplotspec()
        if axes is not None or place is None or place.is_first_col():
            ax.set_ylabel("Log-likelihood,\nrelative to maximum", fontsize=style.TEXT)
    return panels


def _drawn_already(name: str, curved: Sequence[str]) -> bool:
    """Whether a variance or covariance has the SD or correlation beside it."""
    kind, bracket, place = name.partition("[")
    return kind in ("psi", "tau2") and bool({f"tau{bracket}{place}", f"rho{bracket}{place}"} & set(curved))


def _draw(ax: "Axes", own: xr.Dataset, cut: float, fitted: float) -> list[str]:
    """The curve with its interval; returns the notes on its bounds."""
    estimate, lower, upper = (float(own[name]) for name in ("estimate", "lower", "upper"))
    notes = [note for note in str(own["note"].item()).split("; ") if note]
    reached = [x for side, x in (("lower", lower), ("upper", upper)) if not any(n.startswith(side) for n in notes)]
    x, loss = _smooth(own, fitted, {estimate: 0.0, **dict.fromkeys(reached, cut)})
    ax.plot(x, loss, color=style.BLUE, linewidth=1.5)
    ax.axhline(cut, linestyle="--", color=style.MUTED, linewidth=0.8)
    ax.set_ylim(1.7 * cut, -0.12 * cut)
    ax.set_xlim(*ax.get_xlim())
    ax.hlines([cut], [lower], [upper], color=style.INK, linewidth=2.5)
    for side, bound in (("lower", lower), ("upper", upper)):
        note = next((note for note in notes if note.startswith(side)), "")
        _bound(ax, side, bound, cut, note)
    ax.plot([estimate], [0], "o", color=style.INK, markersize=4, clip_on=False, zorder=3)
    text = f"{_number(estimate)} [{_number(lower)}, {_number(upper)}]"
    look: dict[str, Any] = {"xycoords": ax.get_yaxis_transform(), "textcoords": "offset points", "color": style.INK}
    ax.annotate(text, (0.5, cut), (0, -4), ha="center", va="top", fontsize=style.SMALL, **look)
    return [f"{percent(own.attrs['prob'])} interval", *notes]


def _smooth(own: xr.Dataset, fitted: float, exact: dict[float, float]) -> tuple[FloatArray, FloatArray]:
    """A curve without corners through the points of the dataset and those known besides."""
    value, loss = own["value"].to_numpy(), own["loglik"].to_numpy() - fitted
    points = {float(x): float(y) for x, y in zip(value, loss, strict=True) if np.isfinite([x, y]).all()}
    points |= {x: y for x, y in exact.items() if np.isfinite(x) and min(points) <= x <= max(points)}
    x, y = np.array(sorted(points.items())).T
    if len(x) < _FEW:
        return x, y
    from scipy.interpolate import Akima1DInterpolator

    fine = np.unique(np.concatenate([x, np.linspace(x[0], x[-1], _POINTS)]))
    return fine, np.asarray(Akima1DInterpolator(x, y, method="makima")(fine))


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
