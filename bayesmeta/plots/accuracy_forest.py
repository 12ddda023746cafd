"""Coupled forest plots: sensitivity and specificity of every study side by side."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.diagnostic.accuracy_measures import summary_point
from bayesmeta.diagnostic.bivariate import OUTCOMES
from bayesmeta.diagnostic.by_study import studies
from bayesmeta.display.tables import percent
from bayesmeta.inference.quantities import NewData
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import ROW, TALLEST, height_in_inches, panel_axes, shortened
from bayesmeta.plots.roc_plane import Series, series_of
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesArray, AxesLike

_CELLS = {"sensitivity": ("tp", "fn"), "specificity": ("tn", "fp")}
_MARGIN = 1.0  # inches above and below the rows
_LARGEST = 6.5  # points
_POINTS, _LEAST = 72, 3.0  # to the inch; the smallest letters


@asks_in_one_way
def accuracy_forest(
    tree: xr.DataTree,
    axes: "AxesLike | None" = None,
    *,
    sort: str | None = None,
    newdata: NewData = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "AxesArray":
    """Sensitivity and specificity of every study side by side, with counts and summary points.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    axes : two matplotlib Axes, optional
        Axes to draw into, for sensitivity and for specificity; by default new ones.
    sort : {"sensitivity", "specificity"}, optional
        By which studies are sorted, the highest on top; by default they are in the order of the data.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`: one summary row, below its studies, for each.
    prob : float, default 0.95
        Probability of the intervals: Wilson's of the studies, and those of the summary points.
    vcov, df : optional
        As for `bm.estimates`.

    Returns
    -------
    AxesArray
        Two matplotlib axes that share their rows.

    Raises
    ------
    SpecError
        When the tree is not that of a diagnostic analysis, or an argument is not as above.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = bm.datasets.load("auditc")
    >>> axes = bm.plots.accuracy_forest(bm.fit(bm.diagnostic.specify(data, study="study", correction="all")))
    >>> [ax.get_xlabel() for ax in axes]
    ['Sensitivity', 'Specificity']
    """
    prob = check_probability(prob)
    sort = None if sort is None else check_choice(sort, OUTCOMES, "sort")
    drawn = series_of(tree, newdata, "bm.plots.accuracy_forest")
    rows = _rows(drawn, sort, prob)
    height = min(2 * TALLEST, ROW * 1.25 * (len(rows) + 1) + _MARGIN)
    grid = panel_axes(axes, OUTCOMES, height, most=2, sharey=axes is None)
    for panel, outcome in zip(grid, OUTCOMES, strict=True):
        _draw(panel, rows, outcome, first=outcome == OUTCOMES[0])
    kind = "credible" if is_posterior(tree) else "confidence"
    words.notes_below(grid[0], [f"diamonds: summary points with {percent(prob)} {kind} intervals"])
    return grid


def _rows(drawn: Sequence[Series], sort: str | None, prob: float) -> list[dict[str, object]]:
    """From top to bottom: studies, and the summary row of each series below its studies."""
    rows: list[dict[str, object]] = []
    for one in drawn:
        table = studies(one.tree, prob=prob)[one.own]
        if sort is not None:
            table = table.sort_values(sort, ascending=False, kind="stable")
        if one.name:
            rows.append({"label": one.name, "kind": "heading"})
        rows += [
            {"label": name, "kind": "study"} | {str(column): value for column, value in row.items()}
            for name, row in zip(table.index, table.to_dict("records"), strict=True)
        ]
        summary = summary_point(one.tree, one.newdata, prob=prob)
        pooled = dict(zip(OUTCOMES, summary.iloc[:2].to_dict("records"), strict=True))
        values = {name: own["estimate"] for name, own in pooled.items()}
        ends = {f"{name}_{end}": own[end] for name, own in pooled.items() for end in ("lower", "upper")}
        rows.append({"label": "Summary", "kind": "summary", **values, **ends})
    return rows


def _draw(panel: "Axes", rows: Sequence[dict[str, object]], outcome: str, first: bool) -> None:
    """One panel: points with intervals, diamonds, and texts to the right."""
    place = -np.arange(len(rows), dtype=float)
    letters = float(np.clip(0.8 * _POINTS * height_in_inches(panel) / len(rows), _LEAST, style.SMALL))
    persons = [sum(_number(row, cell) for cell in _CELLS[outcome]) for row in rows]
    most = max(persons) or 1.0
    for y, row, n in zip(place, rows, persons, strict=True):
        if row["kind"] == "heading":
            continue
        middle, low, high = (_number(row, f"{outcome}{end}") for end in ("", "_lower", "_upper"))
        if row["kind"] == "summary":
            panel.fill([low, middle, high, middle], [y, y + 0.32, y, y - 0.32], color=style.BLUE, linewidth=0, zorder=3)
        elif np.isfinite(middle):
            panel.hlines([y], low, high, color=style.INK, linewidth=0.9, zorder=2)
            size = max(2.0, _LARGEST * np.sqrt(n / most))
            panel.plot([middle], [y], "s", color=style.BLUE, markersize=size, zorder=3)
        panel.annotate(
            _text(row, outcome, middle, low, high),
            (1.03, y),
            xycoords=panel.get_yaxis_transform(),
            va="center",
            fontsize=letters,
            color=style.INK,
            annotation_clip=False,
        )
    _axis(panel, rows, place, outcome, letters, first)


def _axis(
    panel: "Axes", rows: Sequence[dict[str, object]], place: FloatArray, outcome: str, letters: float, first: bool
) -> None:
    top = f"{' / '.join(cell.upper() for cell in _CELLS[outcome])}   estimate"
    panel.annotate(
        top,
        (1.03, 1.0),
        xycoords=panel.get_yaxis_transform(),
        fontsize=letters,
        color=style.MUTED,
        annotation_clip=False,
    )
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(place.min() - 0.7, 1.6)
    panel.set_xlabel(outcome.capitalize(), fontsize=style.TEXT)
    panel.spines["left"].set_visible(False)
    if first:
        panel.set_yticks(place, [shortened(row["label"], 26) for row in rows], fontsize=letters)
        for text, row in zip(panel.get_yticklabels(), rows, strict=True):
            text.set_fontweight("bold" if row["kind"] != "study" else "normal")
    panel.tick_params("y", length=0, labelleft=first)


def _number(row: dict[str, object], name: str) -> float:
    value = row.get(name, 0.0)
    return float(value) if isinstance(value, int | float) else 0.0


def _text(row: dict[str, object], outcome: str, middle: float, low: float, high: float) -> str:
    if not np.isfinite(middle):
        return "not reported"
    estimate = f"{middle:.2f} [{low:.2f}, {high:.2f}]"
    if row["kind"] == "summary":
        return estimate
    return f"{' / '.join(f'{_number(row, cell):.0f}' for cell in _CELLS[outcome])}   {estimate}"
