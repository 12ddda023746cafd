"""Estimates and Bayes factors under a grid of priors, as curves over the scale or as heat maps."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_choice, check_names, listing
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import label_rows, panel_axes, plain
from bayesmeta.plots.words import label_below, legend_beside
from bayesmeta.tree.parameters import check_parameter

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

BAYES_FACTORS = {
    "log_bayes_factor": "Log Bayes factor against the reference prior",
    "log_bayes_factor_heterogeneity": "Log Bayes factor against no heterogeneity",
    "log_bayes_factor_effect": "Log Bayes factor against no effect",
    schema.LOG_ML: "Log marginal likelihood",
}
OF_PARAMETERS = {"estimate": "Posterior mean", "sd": "Posterior SD", "probability_below": "Probability below {null:g}"}
SIGNED = (*BAYES_FACTORS,)[:3]  # whose zero means something
AXES = ("family", "scale", "beta", "eta")
_HEIGHT, _ROW = 2.4, 0.16  # inches of a panel of curves, and of a row of a heat map
_MOST_LINES = 6  # lines that can be told apart


def robustness(
    dataset: xr.Dataset,
    values: str = "estimate",
    parameters: str | Sequence[str] | None = None,
    kind: Literal["curves", "heatmap"] = "curves",
    axes: "AxesLike | None" = None,
) -> style.AxesArray:
    """What `bm.robustness` found over the scale of the prior, one curve or row for each family.

    Parameters
    ----------
    dataset : Dataset
        The result of `bm.robustness`, of two axes of its grid at most: choose of further ones by `sel`.
    values : str, default "estimate"
        "estimate" (curves with the ends of their intervals), "sd" or "probability_below" of every parameter; or
        "log_bayes_factor", "log_bayes_factor_heterogeneity", "log_bayes_factor_effect", "log_marginal_likelihood".
    parameters : str or sequence of str, optional
        Parameters or kinds of them to draw; by default coefficients and SDs, of probabilities coefficients alone.
    kind : {"curves", "heatmap"}, default "curves"
        Curves over the scale, or a cell for every prior with the value as its colour.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are panels; by default new ones.

    Returns
    -------
    array of Axes
        One for each parameter, or a single one.

    Raises
    ------
    SpecError
        If `dataset` is anything else or has more axes, a word or parameter is unknown, or the number of axes is wrong.

    See Also
    --------
    bayesmeta.robustness : The numbers that are drawn.
    bayesmeta.plots.sensitivity : A few priors by name.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> robust = bm.robustness(spec, {"tau": ["half-normal", "half-Cauchy"], "scale": [0.1, 0.3, 1]})
    >>> [ax.get_title() for ax in bm.plots.robustness(robust)]
    ['beta[Intercept]', 'tau[unit, Intercept]']
    """
    if not isinstance(dataset, xr.Dataset) or not {"estimate", *SIGNED} <= set(dataset):
        raise SpecError(
            f"plots.robustness takes the dataset returned by bm.robustness, not a {type(dataset).__name__}; write"
            " bm.plots.robustness(bm.robustness(spec))"
        )
    check_choice(values, [*OF_PARAMETERS, *BAYES_FACTORS], "values")
    check_choice(kind, ("curves", "heatmap"), "kind")
    across, down = _axes_of(dataset)
    drawn = _drawn(dataset, values, parameters)
    rows = dataset.sizes[down] if down else 1
    height = _HEIGHT if kind == "curves" else 1.1 + _ROW * rows
    panels = panel_axes(axes, drawn, height, most=3 if kind == "curves" else 1)
    for ax, name in zip(panels, drawn, strict=True):
        own = dataset.sel(parameter=name) if values in OF_PARAMETERS else dataset
        if kind == "curves":
            _curves(ax, own, values, across, down, first=name == drawn[0], last=name == drawn[-1])
        else:
            _heatmap(ax, own, values, across, down)
        ax.set_title(plain(name), fontsize=style.TEXT)
    return panels


def _axes_of(dataset: xr.Dataset) -> tuple[str, str | None]:
    """The axis of the grid that runs across, and the one whose values are lines or rows."""
    if "prior" in dataset["estimate"].dims:
        raise SpecError(
            "these priors have names, and no scale to draw over\n  bm.plots.sensitivity(dataset) draws them"
        )
    left = [str(dim) for dim in AXES if dim in dataset["estimate"].dims]
    numbers = [dim for dim in ("scale", "eta") if dim in left]
    if len(left) > 2:
        most = listing(left)
        raise SpecError(
            f"the grid has the axes {most}; choose a value of all but two, as by dataset.sel({left[-1]}=...)"
        )
    if not numbers:
        raise SpecError(
            f"the grid has no axis of numbers to draw over; it has {listing(left) or 'none'}"
            f'\n  give the grid scales, as in grid={{"tau": [...], "scale": [0.1, 0.3, 1]}}'
        )
    others = [dim for dim in left if dim != numbers[0]]
    return numbers[0], others[0] if others else None


def _drawn(dataset: xr.Dataset, values: str, parameters: Any) -> list[str]:
    if values in BAYES_FACTORS:
        if parameters is not None:
            raise SpecError(f"values={values!r} belongs to the whole model; leave parameters out")
        return [BAYES_FACTORS[values]]
    labels, kinds = dataset["parameter"].values.tolist(), dataset["kind"].values.tolist()
    asked = ["beta"] if values == "probability_below" else ["beta", "tau"]
    if parameters is not None:
        asked = check_names(parameters, "parameters")
        for name in asked:
            check_parameter(name, labels, set(kinds))
    drawn = [str(label) for label, kind in zip(labels, kinds, strict=True) if label in asked or kind in asked]
    return [name for name in drawn if dataset[values].sel(parameter=name).notnull().any()] or drawn


def _curves(ax: "Axes", own: xr.Dataset, values: str, across: str, down: str | None, first: bool, last: bool) -> None:
    x, lines = own[across].to_numpy().astype(float), own[down].values.tolist() if down else [None]
    if len(lines) > _MOST_LINES:
        raise SpecError(f"{len(lines)} lines of {down} cannot be told apart\n  draw kind='heatmap', or choose by sel")
    for i, name in enumerate(lines):
        one = own if name is None else own.sel({down: name})
        colour, dashes = style.COLOURS[i], style.LINES[i]
        label = "" if name is None else f"{name:g}" if isinstance(name, float) else str(name)
        ax.plot(x, one[values].transpose(across).to_numpy(), color=colour, linestyle=dashes, linewidth=1.5, label=label)
        for end in ("lower", "upper") if values == "estimate" else ():
            ax.plot(x, one[end].transpose(across).to_numpy(), color=colour, linestyle=dashes, linewidth=0.7)
    null = float(own.attrs.get("null", 0.0)) if values == "estimate" else 0.0
    beta = values == "estimate" and str(own["kind"].item()) == "beta"
    if (beta or values in SIGNED) and ax.get_ylim()[0] < null < ax.get_ylim()[1]:
        ax.axhline(null, color=style.MUTED, linewidth=0.8, linestyle=":", zorder=0)
    if values == "probability_below":
        ax.set_ylim(-0.02, 1.02)
    elif values == "estimate" and str(own["kind"].item()) == "tau":
        ax.set_ylim(bottom=0)
    _over_scale(ax, x)
    notes = []
    if first and values == "estimate":
        notes = [f"Thick: posterior mean; thin: {percent(float(own.attrs.get('prob', 0.95)))} interval"]
    label_below(ax, _label(across), notes)
    if values in OF_PARAMETERS:
        ax.set_ylabel(OF_PARAMETERS[values].format(null=float(own.attrs.get("null", 0.0))), fontsize=style.TEXT)
    if last and down:
        handles, labels = ax.get_legend_handles_labels()
        legend_beside(ax, list(zip(labels, handles, strict=True)))


def _over_scale(ax: "Axes", x: Any) -> None:
    """A logarithmic axis with round numbers."""
    if len(x) < 2:
        return
    ax.set_xscale("log")
    ax.set_xlim(x.min(), x.max())
    style.tick_ratios(ax, style.ratio_ticks(float(x.min()), float(x.max())))


def _label(across: str) -> str:
    return "Scale of the prior" if across == "scale" else "LKJ's eta"


def _heatmap(ax: "Axes", own: xr.Dataset, values: str, across: str, down: str | None) -> None:
    table = own[values] if down else own[values].expand_dims("all")
    rows = down or "all"
    numbers = table.transpose(rows, across).to_numpy().astype(float)
    signed = values in SIGNED
    most = np.nanmax(np.abs(numbers)) if signed and np.isfinite(numbers).any() else 1.0
    limits = (
        {"vmin": -most, "vmax": most} if signed else {"vmin": 0, "vmax": 1} if values == "probability_below" else {}
    )
    image = ax.pcolormesh(
        np.arange(numbers.shape[1] + 1),
        np.arange(numbers.shape[0] + 1),
        numbers,
        cmap="PuOr_r" if signed else "cividis",
        edgecolors=style.PAPER,
        linewidth=0.3,
        **limits,
    )
    ax.invert_yaxis()
    names = own[down].values.tolist() if down else [""]
    labels = [f"{name:g}" if isinstance(name, float) else str(name) for name in names]
    label_rows(ax, np.asarray(np.arange(len(labels)) + 0.5, float), labels, "", 5.0)
    x = own[across].to_numpy().astype(float)
    if len(x) < 9:
        ax.set_xticks(np.arange(len(x)) + 0.5, [f"{each:.3g}" for each in x], fontsize=style.SMALL)
    else:
        ticks = style.ratio_ticks(float(x.min()), float(x.max()))
        at = np.interp(np.log(ticks), np.log(x), np.arange(len(x)) + 0.5)
        ax.set_xticks(at, [f"{tick:.6g}" for tick in ticks], fontsize=style.SMALL)
    label_below(ax, _label(across), [])
    bar = style.root_figure(ax).colorbar(image, ax=ax, pad=0.02, aspect=12)
    bar.ax.tick_params(labelsize=style.SMALL)
    bar.outline.set_visible(False)
    if values in OF_PARAMETERS:
        bar.set_label(OF_PARAMETERS[values].format(null=float(own.attrs.get("null", 0.0))), fontsize=style.SMALL)
