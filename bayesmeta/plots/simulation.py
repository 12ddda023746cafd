"""The table of a simulation study as a picture."""

import textwrap
from collections.abc import Hashable
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.panels import ROW, panel_axes, plain, wrapped

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_OWN = ("draw", "estimator", "statistic", "value", "mcse", "paper", "used", "datasets")
_ERRORS = 2  # Monte Carlo standard errors on either side
_NOMINAL = {"bias": 0.0, "coverage": 0.95}  # the ideal value of statistics of a kind


def simulation(table: pd.DataFrame, axes: "AxesLike | None" = None) -> style.AxesArray:
    """Bias, error and coverage of a simulation study with their Monte Carlo errors, beside published values.

    Parameters
    ----------
    table : DataFrame
        The result of `bm.study_table`: a row for each way of drawing, scenario, estimator and statistic.
    axes : Axes or sequence of Axes, optional
        One matplotlib axes for each statistic; by default new ones, up to four side by side.

    Returns
    -------
    array of Axes
        One for each statistic, with one row per scenario. Lines extend 2 Monte Carlo standard errors to either side.
        Crosses are the published values. The dashed line is no bias, or a coverage of 95%.

    Raises
    ------
    SpecError
        If `table` is empty or anything else, or the number of axes is wrong.

    See Also
    --------
    bayesmeta.study_table : The numbers that are drawn.

    References
    ----------
    Morris, White and Crowther (2019), Stat. Med. 38:2074-2102, on Monte Carlo errors (Table 6).

    Examples
    --------
    >>> import pandas as pd, bayesmeta as bm
    >>> one = {"draw": "script", "m": 10, "estimator": "reml", "statistic": "bias", "kind": "bias", "value": 0.01}
    >>> table = pd.DataFrame([one | {"mcse": 0.02, "paper": 0.0, "used": 100, "datasets": 100}])
    >>> [ax.get_title() for ax in bm.plots.simulation(table)]
    ['bias']
    """
    scenarios = scenarios_of(table)
    statistics = table["statistic"].drop_duplicates().tolist()
    several = table["draw"].nunique() > 1, table["estimator"].nunique() > 1
    series = list(table.groupby(["draw", "estimator"], sort=False))
    height = 0.7 + len(scenarios) * max(0.2, ROW * 0.8 * len(series))
    panels = panel_axes(axes, statistics, height + 0.3, most=4, sharey=axes is None)
    names = [wrapped(", ".join(f"{key}={value:g}" for key, value in each.items()), 30) for each in scenarios]
    for ax, statistic in zip(panels, statistics, strict=True):
        for at, (keys, rows) in enumerate(series):
            own = rows[rows["statistic"] == statistic]
            label = ", ".join(str(key) for key, varies in zip(keys, several, strict=True) if varies) or str(keys[1])
            _series(ax, own, _places(own, scenarios) + _offset(at, len(series)), at, label)
        _published(ax, table[table["statistic"] == statistic], scenarios)
        _finish(ax, table[table["statistic"] == statistic], names)
        ax.set_title(plain(str(statistic)), fontsize=style.TEXT)
    _legend(panels, table, axes is None)
    return panels


def scenarios_of(table: pd.DataFrame) -> list[dict[Hashable, float]]:
    """The settings of every scenario, in order; SpecError for any other table."""
    if not isinstance(table, pd.DataFrame) or not set(_OWN) <= set(table.columns):
        lacks = listing(c for c in _OWN if not isinstance(table, pd.DataFrame) or c not in table.columns)
        raise SpecError(f"plots.simulation takes the table returned by bm.study_table, and this one lacks {lacks}")
    if table.empty:
        raise SpecError(
            "the table of the simulation study has no rows\n  run the study first: bm.run_study, `bayesmeta simulate`"
        )
    return table[_keys(table)].drop_duplicates().to_dict("records")


def _keys(table: pd.DataFrame) -> list[str]:
    return [column for column in table.columns if column not in (*_OWN, "kind")]


def _places(rows: pd.DataFrame, scenarios: list[dict[Hashable, float]]) -> "FloatArray":
    """Heights of rows of the table, the first scenario on top."""
    return np.array([len(scenarios) - 1.0 - scenarios.index(each) for each in rows[_keys(rows)].to_dict("records")])


def _offset(at: int, of: int) -> float:
    return 0.5 * ((of - 1) / 2 - at) / of


def _series(ax: "Axes", rows: pd.DataFrame, place: "FloatArray", at: int, label: str) -> None:
    value, error = rows["value"].to_numpy(float), _ERRORS * rows["mcse"].to_numpy(float)
    colour = style.COLOURS[at % len(style.COLOURS)]
    ax.hlines(place, value - error, value + error, color=colour, linewidth=1.2)
    ax.plot(
        value,
        place,
        style.MARKERS[at % len(style.MARKERS)],
        color=colour,
        markerfacecolor=style.PAPER if at % 2 else colour,
        markersize=3.5,
        label=label,
    )


def _published(ax: "Axes", rows: pd.DataFrame, scenarios: list[dict[Hashable, float]]) -> None:
    rows = rows[rows["paper"].notna()].drop_duplicates([*_keys(rows), "paper"])
    if len(rows):
        ax.plot(
            rows["paper"], _places(rows, scenarios), "x", color=style.INK, markersize=5, label="published", zorder=3
        )


def _finish(ax: "Axes", rows: pd.DataFrame, names: list[str]) -> None:
    kind = rows["kind"].iloc[0] if "kind" in rows else ""
    if kind in _NOMINAL:
        ax.axvline(_NOMINAL[kind], color=style.MUTED, linewidth=0.8, linestyle="--", zorder=0)
    ax.set_yticks(np.arange(len(names))[::-1], names, fontsize=style.SMALL)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.tick_params("y", length=0)
    ax.locator_params("x", nbins=4)


def _legend(panels: style.AxesArray, table: pd.DataFrame, new: bool) -> None:
    """Below all panels of a new figure, or in the last of the user's own axes."""
    n, share = table["datasets"], table["used"] / table["datasets"]
    sets = f"{n.max():,}" if n.nunique() == 1 else f"{n.min():,} to {n.max():,}"
    title = f"{sets} data sets per scenario; lines: {_ERRORS} Monte Carlo errors on either side"
    if (share < 1).any():
        title += f"; at least {np.floor(1000 * share.min()) / 10:g}% of the fits converged and are used"
    handles, labels = panels[0].get_legend_handles_labels()
    options = {
        "title": "\n".join(textwrap.wrap(title, 110 if new else 40)),
        "title_fontsize": style.SMALL,
        "frameon": False,
    }
    labels, options["fontsize"] = [plain(label) for label in labels], style.SMALL
    if new:
        panels.figure.legend(handles, labels, loc="outside lower center", ncols=4, **options)
    else:
        panels[-1].legend(handles, labels, loc="upper left", bbox_to_anchor=(0, -0.2), **options)
