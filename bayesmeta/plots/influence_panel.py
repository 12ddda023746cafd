"""Panels of influence diagnostics, one below the other over the rows or groups that are left out."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_names
from bayesmeta.errors import SpecError
from bayesmeta.inference.influence import influence as diagnostics_of
from bayesmeta.inference.part_estimates import VARIANCE
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes
from bayesmeta.plots.point_labels import Labelled, name_points, which
from bayesmeta.tree.row_labels import ByRow

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
        Orange marks are influential rows or groups, dashed lines the cut-offs, dotted ones the values of all rows.

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
    >>> [ax.get_ylabel() for ax in axes][:3]
    ['Studentised residual', 'DFFITS', "Cook's distance"]
    """
    which(label, np.zeros(0, bool))
    table = diagnostics_of(tree, by, exact)
    dim = str(table["k"].dims[0])
    shown = _chosen(table, dim, diagnostics)
    panels = panel_axes(axes, [_LABELS[name] for name in shown], _HEIGHT, _SIDE_BY_SIDE)
    influential, names = table["influential"].to_numpy(), [str(name) for name in table[dim].to_numpy()]
    for ax, name in zip(panels, shown, strict=True):
        lines = list(_lines(table[name], dim))
        _draw(ax, lines, influential)
        _cut_offs(ax, table, name)
        ax.set_ylabel(_LABELS[name], fontsize=style.SMALL)
        if len(lines) > 1:
            ax.legend(frameon=False, fontsize=style.SMALL - 1, handlelength=1.6, loc="best")
    _places(panels, len(names), "row" if dim == schema.ROW else str(table.attrs["by"]))
    chosen = which(label, influential)
    for ax, name in zip(panels, shown, strict=True):
        top = next(_lines(table[name], dim)).values
        name_points(ax, np.arange(1.0, len(names) + 1), top, names, chosen & np.isfinite(top))
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
    for i, line in enumerate(lines):
        colour, dashes = style.COLOURS[i % len(style.COLOURS)], style.LINES[i % len(style.LINES)]
        marker = style.MARKERS[i % len(style.MARKERS)]
        look = {"linewidth": 0.7, "markersize": 2.6, "linestyle": dashes, "marker": marker}
        ax.plot(
            x,
            line.values,
            color=style.FAINT if len(lines) == 1 else colour,
            label=line.label or "_values",
            markerfacecolor=colour,
            markeredgewidth=0,
            zorder=3,
            **look,
        )
        own = influential & np.isfinite(line.values)
        ax.plot(
            x[own],
            line.values[own],
            linestyle="none",
            marker=marker,
            markersize=4.5,
            color=style.ORANGE,
            label="_influential",
            zorder=4,
        )


def _cut_offs(ax: "Axes", table: xr.Dataset, name: str) -> None:
    """Dashed lines where a diagnostic becomes remarkable, within what the data show or near it."""
    cut = float(table.attrs.get(_CUTS.get(name, ""), np.nan))
    cuts = [cut, -cut] if name in _BOTH_SIDES else [cut]
    cuts += [_RESIDUAL, -_RESIDUAL] if name in ("rstudent", "rstandard") else []
    low, high = ax.get_ylim()
    for at in cuts:
        if np.isfinite(at) and low - (high - low) <= at <= high + (high - low):
            ax.axhline(at, color=style.MUTED, linewidth=0.8, linestyle="--", label="_cut", zorder=1)
    whole = {"rstudent": 0.0, "rstandard": 0.0, "dffits": 0.0, "dfbetas": 0.0, "cov_ratio": 1.0}.get(name)
    if whole is not None:
        ax.axhline(whole, color=style.MUTED, linewidth=0.8, linestyle=":", label="_whole", zorder=1)


def _places(panels: "AxesArray", n: int, kind: str) -> None:
    from matplotlib.ticker import MaxNLocator

    last = len(panels) - min(_SIDE_BY_SIDE, len(panels))
    for i, ax in enumerate(panels):
        ax.set_xlim(0.4, n + 0.6)
        ax.xaxis.set_major_locator(MaxNLocator(integer=True, nbins=8, min_n_ticks=1))
        if i >= last:
            ax.set_xlabel(f"Place of the {kind} in the data", fontsize=style.SMALL)
