"""Estimates side by side: from several fits, from several posteriors, and from one model under several priors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import measures
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_names, check_probability
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.inference.estimates import calibrated, on_scale
from bayesmeta.inference.reference import Vcov, asks_in_one_way, reference
from bayesmeta.plots import style
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.texts import decimals, interval_text
from bayesmeta.plots.panels import (
    ROW,
    TALLEST,
    EstimateRows,
    draw_rows,
    panel_axes,
    plain,
    shortened,
    wrapped,
)
from bayesmeta.summaries.compare import Comparison
from bayesmeta.tree.parameters import BETA, RHO, TAU, check_parameter
from bayesmeta.tree.parameters import parameters as parameters_of
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import EFFECT, Reading, Scale, is_read_elsewhere, roles

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

RESULT, PARAMETER = "result", "parameter"
_WRAPPED = 20  # up to this many results, names may take two lines each
_DRAWN = ("estimate", "lower", "upper")


@keeps_old_names
@asks_in_one_way
def compare(
    results: Mapping[str, xr.DataTree] | xr.Dataset | Comparison,
    parameters: str | Sequence[str] | None = None,
    axes: "AxesLike | None" = None,
    *,
    prob: float | None = None,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> style.AxesArray:
    """Estimates and intervals of every parameter by several methods, models or priors, one below the other.

    Parameters
    ----------
    results : mapping of str to DataTree, Comparison or Dataset
        `{name: tree}` of fits and posteriors, of one model or of several; the result of `bm.compare`; or that of
        `bm.sensitivity`.
    parameters : str or sequence of str, optional
        Labels to draw, such as "tau[unit, Intercept]"; by default all except correlations that structures fix at 0.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are parameters; by default new ones, up to three side by side.
    prob : float, optional
        Probability of the intervals, between 0 and 1; by default 0.95, or that of the dataset or comparison.
    scale : {"model", "response"}, optional
        "response", the default where all results have one measure that is read on another scale, draws coefficients as
        people read them: log odds ratios as odds ratios, their differences as ratios of odds ratios, on logarithmic
        axes, and posteriors by their means there; "model" as they are modelled. The result of `bm.sensitivity` does not
        record its measure and is drawn as it is.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for the intervals; see `bm.estimates`.

    Returns
    -------
    array of Axes
        One for each parameter. SDs begin at 0. Where a method gives no interval, or a model lacks the parameter, the
        row says so.

    Raises
    ------
    SpecError
        If `results` is anything else, a parameter is unknown, the number of axes is wrong, or `prob` differs from that
        of the dataset.

    See Also
    --------
    bayesmeta.compare : The numbers that are drawn.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> axes = bm.plots.compare({method: bm.fit(spec, method=method) for method in ("reml", "ml", "dl")})
    >>> [ax.get_title() for ax in axes]
    ['beta[Intercept]', 'tau[unit, Intercept]']
    """
    if (vcov is not None or df is not None) and isinstance(results, Comparison | xr.Dataset):
        raise SpecError("vcov and df are for results trees, this has its intervals\n  give a dict of names and trees")
    estimates = estimates_of(results, prob)
    readings = _readings(results, scale)
    estimates = _at_means(estimates, results, readings)
    labels = chosen_parameters(estimates, parameters)
    panels = panel_axes(axes, labels, _height(estimates), sharey=axes is None)
    for ax, label in zip(panels, labels, strict=True):
        draw_panel(ax, estimates.sel(parameter=label), label, readings.get(label, _AS_MODELLED))
    return panels


def estimates_of(results: Mapping[str, xr.DataTree] | xr.Dataset | Comparison, prob: float | None = None) -> xr.Dataset:
    """`estimate`, `lower`, `upper` over (result, parameter) of whatever `compare` draws; attribute `prob`."""
    if isinstance(results, Comparison):
        if results.response:
            return _checked(_of_trees(results.trees, results.prob), prob)
        return _checked(results.dataset.rename(tree=RESULT).assign_attrs(prob=results.prob), prob)
    if isinstance(results, xr.Dataset) and {"prior", PARAMETER} <= set(results.dims):
        return _checked(results.rename(prior=RESULT), prob)
    is_mapping = isinstance(results, Mapping) and not isinstance(results, xr.Dataset | xr.DataTree)
    if not is_mapping or not results:
        raise SpecError(
            f"results must be a dict of names and results trees, not {'{}' if is_mapping else type(results).__name__}"
            '\n  such as {"REML": bm.fit(spec), "Bayes": bm.sample(spec)}; or the result of bm.sensitivity'
        )
    check_probability(prob := 0.95 if prob is None else prob)
    trees: Any = results
    return _of_trees(trees, prob)


def _of_trees(trees: Mapping[str, xr.DataTree], prob: float) -> xr.Dataset:
    """The parameters of all trees, coefficients first; NaN where a model does not have one."""
    tables = {str(name): calibrated(parameters_of(tree, prob), reference(tree), prob) for name, tree in trees.items()}
    kinds = pd.concat([table["kind"] for table in tables.values()])
    kinds = kinds[~kinds.index.duplicated()].sort_values(
        key=lambda kind: kind.map([BETA, TAU, RHO].index), kind="stable"
    )
    numbers = {
        name: ((RESULT, PARAMETER), np.stack([t[name].reindex(kinds.index).astype(float) for t in tables.values()]))
        for name in (*_DRAWN, "se")
    }
    coords = {
        RESULT: pd.Index(list(tables), dtype=object),
        PARAMETER: pd.Index(kinds.index, dtype=object),
        "kind": (PARAMETER, kinds.to_numpy(dtype=object)),
    }
    return xr.Dataset(numbers, coords, {"prob": prob})


def _at_means(estimates: xr.Dataset, results: Any, readings: Mapping[str, Reading]) -> xr.Dataset:
    """Coefficients of posteriors where their means are on the scale that is drawn, as in tables; infinite ones stay."""
    trees = {} if not readings else results.trees if isinstance(results, Comparison) else results
    moved, prob = estimates["estimate"].copy(deep=True), estimates.attrs["prob"]
    for name, tree in trees.items():
        if not is_posterior(tree):
            continue
        there = on_scale(parameters_of(tree, prob), tree, prob, "response")["estimate"]
        for label, reading in readings.items():
            value = reading.back(np.asarray(there.get(label, np.nan), float))
            if np.isfinite(value):
                moved.loc[{RESULT: str(name), PARAMETER: label}] = float(value)
    return estimates.assign(estimate=moved)


def _checked(dataset: xr.Dataset, prob: float | None) -> xr.Dataset:
    if prob is not None and prob != dataset.attrs["prob"]:
        raise SpecError(
            f"prob is {prob}, but the intervals of these results have prob={dataset.attrs['prob']}"
            f"\n  leave prob out, or make the table again: bm.compare(..., prob={prob})"
        )
    return dataset.transpose(RESULT, PARAMETER, ...)


def chosen_parameters(estimates: xr.Dataset, parameters: str | Sequence[str] | None) -> list[str]:
    """These labels, or all that are not held constant; SpecError where one is unknown."""
    labels = estimates[PARAMETER].values.tolist()
    if parameters is None:
        free = [label for label in labels if _varies(estimates.sel(parameter=label))]
        return free or labels
    chosen = check_names(parameters, "parameters")
    for label in chosen:
        check_parameter(label, labels)
    return chosen


def _varies(values: xr.Dataset) -> bool:
    """False for correlations that the structures of all results fix at 0."""
    return values["kind"].item() != RHO or bool(values["se"].notnull().any() or (np.abs(values["estimate"]) > 0).any())


def draw_panel(ax: "Axes", values: xr.Dataset, label: str, reading: Reading) -> None:
    """One parameter.  reading : how it is drawn."""
    height = np.arange(values.sizes[RESULT])[::-1].astype(float)
    if reading.log:
        ax.set_xscale("log")
    estimate, lower, upper = (reading.values(values[name].values) for name in _DRAWN)
    draw_rows(ax, EstimateRows(height, estimate, lower, upper), 0.0 if values["kind"].item() == TAU else None)
    _numbers(ax, height, values, reading)
    if values["kind"].item() == BETA:
        _no_effect(ax, np.nan if reading.null is None else float(reading.values(reading.null)))
    ax.set_title(plain(label), fontsize=style.TEXT)
    ax.set_yticks(height, _names(values), fontsize=style.SMALL)
    ax.tick_params("y", length=0)
    if reading.response:
        style.effect_axis(ax, reading)
    quantity = reading.label if reading.response else "Estimate"
    ax.set_xlabel(f"{quantity}, {percent(values.attrs['prob'])} interval", fontsize=style.SMALL)


def _numbers(ax: "Axes", height: FloatArray, values: xr.Dataset, reading: Reading) -> None:
    """Estimate and interval above every row, where there are few."""
    if len(height) > _WRAPPED:
        return
    se = float(np.nanmedian(values["se"])) if "se" in values and values["se"].notnull().any() else 0.1
    for y, *numbers in zip(height, *(values[name].values for name in _DRAWN), strict=True):
        if np.isfinite(numbers).all():
            text = interval_text(Interval(*map(float, numbers)), decimals(np.array([se])), reading)
            look: dict[str, Any] = {"textcoords": "offset points", "xycoords": ax.get_yaxis_transform()}
            ax.annotate(text, (0.5, y), (0, 3), ha="center", va="bottom", fontsize=style.SMALL - 1, **look)
    ax.set_ylim(height.min() - 0.5, height.max() + 0.8)


def _no_effect(ax: "Axes", at: float) -> None:
    low, high = ax.get_xlim()
    if low <= at <= high:
        ax.axvline(at, color=style.MUTED, linewidth=0.8, zorder=0, label="no effect")


def _height(estimates: xr.Dataset) -> float:
    lines = max(name.count("\n") + 1 for name in _names(estimates))
    room = 0.28 if estimates.sizes[RESULT] <= _WRAPPED else 0.18
    return min(0.8 + max(ROW * 1.25 * lines, room) * (estimates.sizes[RESULT] + 0.5), TALLEST)


def _names(estimates: xr.Dataset) -> list[str]:
    """Names of the results; on one line each where there are many."""
    names = estimates[RESULT].values
    return [wrapped(name) if len(names) <= _WRAPPED else shortened(name) for name in names]


def _readings(results: Any, scale: Scale | None) -> dict[str, Reading]:
    """How coefficients are drawn, by label, where all results have one measure and it is read on another scale."""
    trees = list((results.trees if isinstance(results, Comparison) else results).values())
    if not all(isinstance(tree, xr.DataTree) for tree in trees) or len({tree.attrs["measure"] for tree in trees}) != 1:
        check_choice("model" if scale is None else scale, ("model", "response"), "scale")
        if scale == "response":
            raise SpecError('no scale="response": these results do not share a measure\n  leave scale out')
        return {}
    style.reading(trees[0], scale)  # raises where there is no such scale
    of_coef = {coef: role for tree in trees for coef, role in roles(tree).items()}
    read = {f"{BETA}[{coef}]": Reading(style.measure_of(trees[0]), role, True) for coef, role in of_coef.items()}
    return {} if scale == "model" else {k: r for k, r in read.items() if is_read_elsewhere(r.record, r.role)}


_AS_MODELLED = Reading(measures.measure(None), EFFECT, False)
