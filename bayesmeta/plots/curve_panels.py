"""Curves of an exposure: the pooled one, or a panel for every place."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._validation import check_is, check_name, check_names, check_type, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.inference.reduced_curves import AT
from bayesmeta.io.arrays import as_numbers
from bayesmeta.plots import style
from bayesmeta.plots.panels import panel_axes, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesArray, AxesLike

MOST, _ACROSS, _BINS = 60, 4, 40
_HEIGHT = 0.16  # of the distribution, to that of a panel


def curves(
    table: xr.Dataset,
    axes: "AxesLike | None" = None,
    *,
    places: str | Sequence[str] | None = None,
    xlabel: str = "Exposure",
    exposure: ArrayLike | None = None,
) -> "AxesArray":
    """Curves of an exposure with their bands, one panel a row, and where each is least.

    Parameters
    ----------
    table : Dataset
        Of `bm.curve`.
    axes : matplotlib Axes or sequence of them, optional
        Axes to draw into, as many as rows; by default new ones.
    places : str or sequence of str, optional
        Rows to draw, by label or name; by default all, of at most 60.
    xlabel : str, default "Exposure"
        What the exposure is, with its unit.
    exposure : array, optional
        Values of the exposure, in any arrangement, whose distribution is drawn along the lower edge of every panel.

    Returns
    -------
    AxesArray
        The panels, in the order of the rows. The dashed line is the reference; the dotted one the minimum with its
        interval as a grey band, drawn where the curve is read against another value.

    Raises
    ------
    SpecError
        When `table` is none of `bm.curve`, a place is unknown, or there are more rows than can be drawn.

    See Also
    --------
    bayesmeta.curve : The numbers that are drawn.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> import numpy as np
    >>> data, S = bm.from_first_stage({p: ([b, 0.4], np.eye(2) / 50) for p, b in zip("abcd", (-0.3, -0.1, -0.2, -0.5))})
    >>> blups = bm.blup(bm.fit(bm.specify("coef1 + coef2 ~ 1", data, S=S)), covariance=True)
    >>> of_places = bm.curve(blups, lambda x: np.stack([x, x**2], 1), np.linspace(-1, 2, 31), scale="ratio")
    >>> bm.plots.curves(of_places, xlabel="Dose").shape
    (4,)
    """
    check_is(table, xr.Dataset, "table", "what bm.curve returns")
    check_type(xlabel, str, "xlabel")
    if AT not in table.coords or "minimum_lower" not in table:
        raise SpecError("table holds no curves; write bm.plots.curves(bm.curve(...))")
    names = [str(n) for n in table[schema.NAME if schema.NAME in table.coords else schema.ROW].to_numpy()]
    rows = list(range(len(names))) if places is None else _chosen(table, names, places)
    if len(rows) > MOST:
        raise SpecError(f"{len(rows)} curves; at most {MOST} can be drawn\n  choose some: places={names[:3]}")
    values = None if exposure is None else np.ravel(as_numbers(exposure, "exposure", DataError))
    if values is not None and not (values.size and np.isfinite(values).all()):
        raise DataError(f"exposure is {shown(exposure)}; it must have finite numbers")
    panels = panel_axes(axes, [names[row] for row in rows], 1.6 if len(rows) > 1 else 2.6, _ACROSS, sharey=True)
    ratio = table.attrs.get("scale") == "ratio"
    for ax, row in zip(panels, rows, strict=True):
        _draw(ax, table.isel({schema.ROW: row}), ratio)
        if len(rows) > 1 or names[row] != "0":
            ax.set_title(wrapped(names[row]), fontsize=style.TEXT)
        ax.set_xlabel(xlabel, fontsize=style.TEXT)
    if ratio:
        _ratio_axes(panels, values is not None)
    elif values is not None:
        bottom, top = panels[0].get_ylim()
        panels[0].set_ylim(bottom - _HEIGHT * (top - bottom), top)
    if values is not None:
        for ax in panels:
            _distribution(ax, values[np.isfinite(values)])
    panels[0].set_ylabel("Relative risk" if ratio else "Difference", fontsize=style.TEXT)
    return panels


def _chosen(table: xr.Dataset, names: Sequence[str], places: Any) -> list[int]:
    labels = [str(label) for label in table[schema.ROW].to_numpy()]
    wished = check_names(places, "places")
    for place in wished:
        check_name(place, [*names, *labels], "places: no row", "rows")
    return [names.index(place) if place in names else labels.index(place) for place in wished]


def _draw(ax: "Axes", one: xr.Dataset, ratio: bool) -> None:
    x = one[AT].to_numpy()
    ax.axhline(1.0 if ratio else 0.0, color=style.FAINT, linewidth=0.8)
    ax.fill_between(x, one["lower"].to_numpy(), one["upper"].to_numpy(), color=style.BLUE, alpha=0.2, linewidth=0)
    ax.plot(x, one["mean"].to_numpy(), color=style.BLUE, linewidth=1.4)
    ax.axvline(float(one["reference"]), color=style.MUTED, linewidth=0.8, linestyle="--")
    if float(one["reference"]) != float(one["minimum"]) and np.isfinite(float(one["minimum"])):
        ax.axvspan(float(one["minimum_lower"]), float(one["minimum_upper"]), color=style.FAINT, alpha=0.25, linewidth=0)
        ax.axvline(float(one["minimum"]), color=style.MUTED, linewidth=0.8, linestyle=":")
    ax.set_xlim(x.min(), x.max())


def _ratio_axes(panels: "AxesArray", room: bool) -> None:
    """Logarithmic axes with round ratios, alike in all panels; room: below the curves, for the distribution."""
    low, high = (f(ax.get_ylim()[end] for ax in panels) for f, end in ((min, 0), (max, 1)))
    drawn = [line.get_ydata() for ax in panels for line in ax.get_lines()]
    least = min(float(np.nanmin(np.asarray(y, dtype=float))) for y in drawn)
    low = max(low, least / 4)
    ticks = style.ratio_ticks(low, high)
    low *= (low / high) ** _HEIGHT if room else 1.0
    for ax in panels:
        ax.set_yscale("log")
        ax.set_ylim(low, high)
        style.tick_ratios(ax, ticks, "y")


def _distribution(ax: "Axes", values: np.ndarray) -> None:
    counts, edges = np.histogram(values, _BINS, ax.get_xlim())
    inset = ax.inset_axes((0, 0, 1, _HEIGHT), sharex=ax)
    inset.bar(edges[:-1], counts, np.diff(edges), align="edge", color=style.FAINT)
    inset.axis("off")
