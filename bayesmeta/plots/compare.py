"""Estimates side by side: of several fits, of several posteriors, and of one model under several priors."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import AnyArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import (
    ROW,
    TALLEST,
    Rows,
    draw_rows,
    fitted,
    panel_axes,
    percent,
    plain,
    probability,
    wrapped,
)
from bayesmeta.summaries.compare import Comparison
from bayesmeta.tree.parameters import BETA, RHO, TAU
from bayesmeta.tree.parameters import parameters as parameters_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

RESULT, PARAMETER = "result", "parameter"
_WRAPPED = 20  # results whose names may take two lines each
_SHOWN = ("estimate", "lower", "upper")


def compare(
    results: Mapping[str, xr.DataTree] | xr.Dataset | Comparison,
    parameters: Sequence[str] | None = None,
    axes: Any = None,
    *,
    prob: float | None = None,
    ratio: bool | None = None,
) -> "AnyArray":
    """Estimates and intervals of every parameter by several methods, models or priors, below one another.

    Parameters
    ----------
    results : `{name: tree}` of fits and posteriors, of one model or of several; what `bm.compare` returned; or what
        `bm.sensitivity` returned.
    parameters : labels to draw, such as "tau[unit, Intercept]"; by default all but correlations
        that structures hold at 0.
    axes : as many matplotlib axes; by default new ones, up to three side by side.
    prob : probability of the intervals, between 0 and 1; by default 0.95, and that of the dataset where one is given.
    ratio : whether coefficients are drawn back-transformed on logarithmic axes; by default where the measure of all
        results is a log ratio. What `bm.sensitivity` returned does not know its measure, and is drawn as it is.

    Returns
    -------
    array of Axes
        One per parameter. SDs begin at 0. Where a method gives no interval, or a model lacks the parameter, the row
        says so.

    Raises
    ------
    SpecError
        For anything else, an unknown parameter, the wrong number of axes, and a prob that a dataset does not have.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> axes = bm.plots.compare({method: bm.fit(spec, method=method) for method in ("reml", "ml", "dl")})
    >>> [ax.get_title() for ax in axes]
    ['beta[Intercept]', 'tau[unit, Intercept]']
    """
    found = estimates(results, prob)
    ratios = _are_ratios(results, ratio)
    chosen = chosen_parameters(found, parameters)
    panels = panel_axes(axes, chosen, _height(found), sharey=axes is None)
    for ax, label in zip(panels, chosen, strict=True):
        draw_panel(ax, found.sel(parameter=label), label, ratios)
    return panels


def estimates(results: Mapping[str, xr.DataTree] | xr.Dataset | Comparison, prob: float | None = None) -> xr.Dataset:
    """`estimate`, `lower`, `upper` over (result, parameter) of whatever `compare` draws; attribute `prob`."""
    if isinstance(results, Comparison):
        return _of_dataset(results.dataset.rename(tree=RESULT).assign_attrs(prob=results.prob), prob)
    if isinstance(results, xr.Dataset) and {"prior", PARAMETER} <= set(results.dims):
        return _of_dataset(results.rename(prior=RESULT), prob)
    trees = isinstance(results, Mapping) and not isinstance(results, xr.Dataset | xr.DataTree)
    if not trees or not results:
        raise SpecError(
            f"compare takes a dict of names and results trees, not {'{}' if trees else type(results).__name__}"
            '\n  such as {"REML": bm.fit(spec), "Bayes": bm.sample(spec)}; or what bm.sensitivity returned'
        )
    probability(prob := 0.95 if prob is None else prob)
    given: Any = results
    tables = {str(name): parameters_of(tree, prob) for name, tree in given.items()}
    kinds = pd.concat([table["kind"] for table in tables.values()])
    kinds = kinds[~kinds.index.duplicated()].sort_values(
        key=lambda kind: kind.map([BETA, TAU, RHO].index), kind="stable"
    )
    numbers = {
        name: ((RESULT, PARAMETER), np.stack([t[name].reindex(kinds.index).astype(float) for t in tables.values()]))
        for name in (*_SHOWN, "se")
    }
    coords = {
        RESULT: pd.Index(list(tables), dtype=object),
        PARAMETER: pd.Index(kinds.index, dtype=object),
        "kind": (PARAMETER, kinds.to_numpy(dtype=object)),
    }
    return xr.Dataset(numbers, coords, {"prob": prob})


def _of_dataset(found: xr.Dataset, prob: float | None) -> xr.Dataset:
    if prob is not None and prob != found.attrs["prob"]:
        raise SpecError(f"prob is {prob}, and the intervals given are those of prob={found.attrs['prob']}")
    return found.transpose(RESULT, PARAMETER, ...)


def chosen_parameters(found: xr.Dataset, wanted: Sequence[str] | None) -> list[str]:
    """The labels wanted, or all that are not held constant; SpecError where one is unknown."""
    known = found[PARAMETER].values.tolist()
    if wanted is None:
        free = [label for label in known if _varies(found.sel(parameter=label))]
        return free or known
    for label in [wanted] if isinstance(wanted, str) else wanted:
        if label not in known:
            raise SpecError(f"no parameter {label!r}{did_you_mean(label, known)}\n  known: {listing(known, 20)}")
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _varies(values: xr.Dataset) -> bool:
    """False for correlations that the structures of all results hold at 0."""
    return values["kind"].item() != RHO or bool(values["se"].notnull().any() or (np.abs(values["estimate"]) > 0).any())


def draw_panel(ax: "Axes", values: xr.Dataset, label: str, ratios: xr.DataTree | None = None) -> None:
    """One parameter; ratios : a tree of the measure, where coefficients are drawn as ratios."""
    as_ratio = ratios is not None and values["kind"].item() == BETA
    place = np.arange(values.sizes[RESULT])[::-1].astype(float)
    if as_ratio:
        ax.set_xscale("log")
    estimate, lower, upper = (style.shown(values[name].values, as_ratio) for name in _SHOWN)
    draw_rows(ax, Rows(place, estimate, lower, upper), 0.0 if values["kind"].item() == TAU else None)
    ax.set_title(plain(label), fontsize=style.TEXT)
    ax.set_yticks(place, _names(values), fontsize=style.SMALL)
    ax.tick_params("y", length=0)
    if as_ratio and ratios is not None:
        style.effect_axis(ax, ratios, True)
    what = ax.get_xlabel() if as_ratio else "Estimate"
    ax.set_xlabel(f"{what}, {percent(values.attrs['prob'])} interval", fontsize=style.SMALL)


def _height(found: xr.Dataset) -> float:
    lines = max(name.count("\n") + 1 for name in _names(found))
    return min(0.8 + max(ROW * 1.25 * lines, 0.18) * (found.sizes[RESULT] + 0.5), TALLEST)


def _names(found: xr.Dataset) -> list[str]:
    """Names of the results; where they are many, on one line each."""
    given = found[RESULT].values
    return [wrapped(name) if len(given) <= _WRAPPED else fitted(name) for name in given]


def _are_ratios(results: Any, ratio: bool | None) -> xr.DataTree | None:
    """A tree whose measure the coefficients of all results have, where they are to be drawn as ratios."""
    trees = list((results.trees if isinstance(results, Comparison) else results).values())
    if not all(isinstance(tree, xr.DataTree) for tree in trees):
        trees = []
    same = trees and len({tree.attrs["measure"] for tree in trees}) == 1
    wanted = bool(same and style.is_ratio(trees[0])) if ratio is None else ratio
    return (trees[0] if same else xr.DataTree(xr.Dataset(attrs={"measure": ""}))) if wanted else None
