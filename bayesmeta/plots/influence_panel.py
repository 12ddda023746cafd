"""Panels of influence diagnostics, one below the other over the rows or groups that are left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_names
from bayesmeta.errors import SpecError
from bayesmeta.inference.influence import influence as diagnostics_of
from bayesmeta.inference.part_estimates import VARIANCE
from bayesmeta.inference.weights import covariances
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import group, spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesArray, AxesLike

_HEIGHT = 1.15  # inches of a panel
_SIDE_BY_SIDE = 2
_LABELS = {
    "rstudent": "Studentised residual",
    "rstandard": "Standardised residual",
    "dffits": "DFFITS",
    "chi2": "χ² of the residuals",
    "cooks_distance": "Cook's distance",
    "cov_ratio": "Covariance ratio",
    "tau2_deleted": "τ² without it",
    "Q_deleted": "Q without it",
    "hat": "Hat value",
    "weight": "Weight (%)",
    "dfbetas": "DFBETAS",
}
_OF_ROWS = ("rstudent", "dffits", "cooks_distance", "cov_ratio", "tau2_deleted", "Q_deleted", "hat", "weight")
_OF_GROUPS = ("chi2", "cooks_distance", "cov_ratio", "tau2_deleted", "Q_deleted", "dfbetas")
_CUTS = {"dffits": "dffits_cutoff", "cooks_distance": "cooks_cutoff", "hat": "hat_cutoff", "dfbetas": "dfbetas_cutoff"}
_BOTH_SIDES = ("dffits", "dfbetas")
_RESIDUAL = 1.96  # normal quantile within which 95 of 100 residuals lie


@dataclass(frozen=True, eq=False)
class _Line:
    """Values of one diagnostic along the rows or groups; label : of its outcome or variance, "" where there is one."""

    values: FloatArray
    label: str


def influence(
    tree: xr.DataTree,
    axes: "AxesLike | None" = None,
    *,
    by: ByRow | None = None,
    exact: bool = True,
    diagnostics: Sequence[str] | None = None,
    label: Labelled = "outliers",
) -> "AxesArray":
    """Influence diagnostics, one panel for each, over the rows or groups that are left out in turn.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are diagnostics; by default new ones, two side by side.
    by : str or sequence, optional
        What is left out at a time, as for `bm.influence`; by default single rows.
    exact : bool, default True
        As for `bm.influence`.
    diagnostics : sequence of str, optional
        Which ones, by their names in `bm.influence`; by default all that there are for rows, or for groups.
    label : {"outliers", "all"}, default "outliers"
        Which rows or groups are named: those that are influential, or all; None for none.

    Returns
    -------
    array of Axes
        Rings mark influential rows or groups, dashed lines the cut-offs, dotted ones the values of all rows.

    Raises
    ------
    SpecError
        What `bm.influence` raises; for a diagnostic that there is not, and for the wrong number of axes.

    See Also
    --------
    bayesmeta.influence : The numbers that are drawn, with their definitions.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> axes = bm.plots.influence(fit)
    >>> [ax.get_title("left") for ax in axes][:3]
    ['Studentised residual', 'DFFITS', "Cook's distance"]
    """
    which(label, np.zeros(0, bool))
    table = diagnostics_of(tree, by, exact)
    dim = str(table["k"].dims[0])
    shown = _chosen(table, dim, diagnostics)
    panels = panel_axes(axes, [_LABELS[name] for name in shown], _HEIGHT, _SIDE_BY_SIDE)
    whole = _of_all(tree, table)
    influential, names = table["influential"].to_numpy(), [str(name) for name in table[dim].to_numpy()]
    for ax, name in zip(panels, shown, strict=True):
        lines = list(_lines(table[name], dim))
        _draw(ax, lines, influential)
        _cut_offs(ax, table, name)
        _whole(ax, whole.get(name))
        ax.set_title(_LABELS[name], fontsize=style.SMALL, loc="left")
        if len(lines) > 1:
            ax.legend(frameon=False, fontsize=style.SMALL - 1, handlelength=1.6, loc="best")
    _places(panels, len(names), "row" if dim == schema.ROW else str(table.attrs["by"]))
    chosen = which(label, influential)
    for ax, name in zip(panels, shown, strict=True):
        top = next(_lines(table[name], dim)).values
        name_points(ax, np.arange(1.0, len(names) + 1), top, short(names), chosen & np.isfinite(top))
    return panels


def _chosen(table: xr.Dataset, dim: str, diagnostics: Sequence[str] | None) -> list[str]:
    """Names of the diagnostics to draw."""
    known = [name for name in _LABELS if name in table and dim in table[name].dims]
    if diagnostics is None:
        return [name for name in (_OF_ROWS if dim == schema.ROW else _OF_GROUPS) if name in known]
    wanted = check_names(diagnostics, "diagnostics")
    if wrong := [name for name in wanted if name not in known]:
        raise SpecError(f"diagnostics: there is no {wrong[0]!r} to draw here\n  known: {', '.join(known)}")
    return wanted


def _lines(values: xr.DataArray, dim: str) -> Iterator[_Line]:
    """One line, or one for each outcome, variance or coefficient."""
    others = [other for other in (schema.OUTCOME, VARIANCE, schema.COEF) if other in values.dims]
    if not others:
        yield _Line(values.to_numpy().astype(float), "")
        return
    (other,) = others
    several = values.sizes[other] > 1
    for each in values[other].to_numpy():
        yield _Line(values.sel({other: each}).to_numpy().astype(float), str(each) if several else "")


def _draw(ax: "Axes", lines: Sequence[_Line], influential: BoolArray) -> None:
    x = np.arange(1, len(influential) + 1)
    ring: dict[str, Any] = {"markerfacecolor": "none", "markeredgecolor": style.INK, "markersize": 6.5}
    for i, line in enumerate(lines):
        colour = style.COLOURS[i % len(style.COLOURS)]
        look: dict[str, Any] = {"linewidth": 0.7, "markersize": 2.6, "markerfacecolor": colour, "markeredgewidth": 0}
        look |= {"linestyle": style.LINES[i % len(style.LINES)], "marker": style.MARKERS[i % len(style.MARKERS)]}
        between = style.FAINT if len(lines) == 1 else colour
        ax.plot(x, line.values, color=between, label=line.label or "_values", zorder=3, **look)
        own = influential & np.isfinite(line.values)
        ax.plot(x[own], line.values[own], linestyle="none", marker="o", label="_influential", zorder=4, **ring)


def _cut_offs(ax: "Axes", table: xr.Dataset, name: str) -> None:
    """Dashed lines where a diagnostic becomes remarkable, within what the data show or near it."""
    cut = float(table.attrs.get(_CUTS.get(name, ""), np.nan))
    cuts = [cut, -cut] if name in _BOTH_SIDES else [cut]
    cuts += [_RESIDUAL, -_RESIDUAL] if name in ("rstudent", "rstandard") else []
    low, high = ax.get_ylim()
    for at in cuts:
        if np.isfinite(at) and low - (high - low) <= at <= high + (high - low):
            ax.axhline(at, color=style.MUTED, linewidth=0.8, linestyle="--", label="_cut", zorder=1)


def _whole(ax: "Axes", value: float | None) -> None:
    """A dotted line at the value of all rows, or where nothing moves."""
    if value is not None:
        ax.axhline(value, color=style.MUTED, linewidth=0.8, linestyle=":", label="_whole", zorder=1)


def _of_all(tree: xr.DataTree, table: xr.Dataset) -> dict[str, float]:
    """What diagnostics are for all rows: of hat values and weights the mean, of changes none."""
    values = dict.fromkeys(("rstudent", "rstandard", "dffits", "dfbetas", "cooks_distance"), 0.0) | {"cov_ratio": 1.0}
    heterogeneity = group(tree, schema.HETEROGENEITY)
    n = int(np.isfinite(table["hat"]).sum())
    values |= {
        "hat": table.sizes[schema.COEF] / n,
        "weight": 100 / n,
        "Q_deleted": float(np.ravel(heterogeneity["Q"])[0]),
    }
    spec = spec_from_tree(tree)
    own = [(level, psi) for level, psi in zip(spec.levels, covariances(tree, spec).mean, strict=True) if level.dim]
    if len(own) == 1 and own[0][0].dim == 1:
        values["tau2_deleted"] = float(own[0][1].mean())
    return values


def _places(panels: "AxesArray", n: int, kind: str) -> None:
    from matplotlib.ticker import MaxNLocator

    last = len(panels) - min(_SIDE_BY_SIDE, len(panels))
    for i, ax in enumerate(panels):
        ax.set_xlim(0.4, n + 0.6)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        if i >= last:
            ax.set_xlabel(f"Place of the {kind} in the data", fontsize=style.SMALL)
