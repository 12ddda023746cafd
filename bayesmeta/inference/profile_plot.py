"""Curves of profile likelihoods, drawn."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr
from scipy.special import chdtri

from bayesmeta.errors import SpecError

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def plot_profile(profile: xr.Dataset) -> "Figure":
    """Draw the curves of `bm.profile`, one panel for each parameter that the structure does not hold constant.

    Parameters
    ----------
    profile : what `bm.profile` returned.

    Returns
    -------
    Figure : the log-likelihood less that of the fit, the loss that ends the interval (dashed), the estimate and the
        bounds (dotted).

    Raises
    ------
    SpecError
        When there is nothing to draw, or `profile` is something else.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> len(bm.plot_profile(bm.profile(fit, "tau")).axes)
    1
    """
    if not isinstance(profile, xr.Dataset) or not {"value", "loglik", "lower", "upper"} <= set(profile):
        raise SpecError("plot_profile takes the Dataset that bm.profile returned")
    drawn = [
        name for name in profile["parameter"].to_numpy() if np.isfinite(profile["loglik"].sel(parameter=name)).any()
    ]
    if not drawn:
        raise SpecError("no curve to draw: every parameter is held constant")
    from matplotlib.figure import Figure

    columns = min(3, len(drawn))
    rows = -(-len(drawn) // columns)
    figure = Figure(figsize=(4 * columns, 3 * rows), layout="constrained")
    cut = -float(chdtri(1, 1 - profile.attrs["prob"])) / 2
    for place, name in enumerate(drawn, start=1):
        own = profile.sel(parameter=name)
        axes = figure.add_subplot(rows, columns, place)
        axes.plot(own["value"], own["loglik"] - profile.attrs["fitted"])
        axes.axhline(cut, linestyle="--", color="grey")
        for bound in ("lower", "estimate", "upper"):
            if np.isfinite(own[bound]):
                axes.axvline(float(own[bound]), linestyle=":", color="grey")
        axes.set(xlabel=name, ylabel="log-likelihood less the fit's")
    return figure
