"""The plane of the receiver operating characteristic: studies, summary points with their regions, and curves."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_boolean, check_choice, check_probability, shown
from bayesmeta.diagnostic.accuracy_measures import summary_point
from bayesmeta.diagnostic.bivariate import Accuracy, Asked
from bayesmeta.diagnostic.by_study import studies as tables_of
from bayesmeta.diagnostic.curves import Kind
from bayesmeta.diagnostic.curves import sroc as curve_of
from bayesmeta.diagnostic.regions import regions
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.outcome_lines import check_kind
from bayesmeta.inference.quantities import NewData
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes, plain
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

Studies = Literal["circles", "crosshairs"]
RegionsShown = Literal["confidence", "prediction", "both"]
_LARGEST, _LEAST = 14.0, 3.0  # points, diameters of circles
_WHOLE = np.linspace(0.001, 0.999, 400)
_CURVES = {
    "rutter-gatsonis": "Rutter-Gatsonis",
    "eta-xi": "η on ξ",
    "xi-eta": "ξ on η",
    "moses-littenberg": "Moses-Littenberg",
    "major-axis": "major axis",
}


@dataclass(frozen=True, eq=False)
class Series:
    """What has a summary point of its own: a results tree at some values of its predictors.

    name : for the legend.  newdata : one row.  own : (rows,) the tables of the data that belong to it.
    """

    name: str
    tree: xr.DataTree
    newdata: pd.DataFrame | None
    own: BoolArray


def series_of(trees: xr.DataTree | Mapping[str, xr.DataTree], newdata: NewData, what: str) -> list[Series]:
    """One for every row that is asked about of every tree."""
    by_name: dict[str, xr.DataTree] = {}
    if isinstance(trees, xr.DataTree):
        by_name = {"": trees}
    elif isinstance(trees, dict):
        by_name = trees
    if not by_name:
        raise SpecError(f"{what} takes a results tree, or a dict of several, not {shown(trees)}")
    made = []
    for tree_name, tree in by_name.items():
        points = Asked.of(tree, newdata, what)
        data, kept = points.accuracy.spec.data, points.accuracy.spec.kept
        for i, row_name in enumerate(points.names):
            row = points.labels.iloc[[i]] if len(points.labels.columns) else None
            alike = [data[name] == points.labels[name].iloc[i] for name in points.categories]
            own = kept & (np.all(alike, axis=0) if alike else True)
            made.append(Series(", ".join(filter(None, [str(tree_name), row_name])), tree, row, own))
    return made


@asks_in_one_way
def sroc(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    ax: "Axes | None" = None,
    *,
    kind: Kind | str | None = "rutter-gatsonis",
    studies: Studies | None = "circles",
    region: RegionsShown | None = "both",
    extrapolate: bool = False,
    newdata: NewData = None,
    prob: float = 0.95,
    label: Labelled = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Sensitivity against false-positive rate: studies, summary points with their regions, and summary ROC curves.

    Parameters
    ----------
    trees : DataTree or dict of str to DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made; several, such as tests, by name.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    kind : str, default "rutter-gatsonis"
        Definition of the curves, see `bm.diagnostic.sroc`; None for none.
    studies : {"circles", "crosshairs"} or None, default "circles"
        How studies are drawn: circles with areas that grow with the number of persons, or Wilson's intervals of both
        proportions.
    region : {"both", "confidence", "prediction"} or None, default "both"
        Regions about the summary points, see `bm.diagnostic.regions`.
    extrapolate : bool, default False
        Whether curves are drawn beyond the false-positive rates that studies have observed.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`: one summary point and curve for each row.
    prob : float, default 0.95
        Probability of regions and intervals.
    label : {"all"}, optional
        Whether studies are named; by default none is.
    vcov, df : optional
        As for `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        With the diagonal of a test that tells nothing.

    Raises
    ------
    SpecError
        When a tree is not that of a diagnostic analysis, or an argument is not as above.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = bm.datasets.load("auditc")
    >>> fit = bm.fit(bm.diagnostic.specify(data, study="study", correction="all"))
    >>> ax = bm.plots.sroc(fit)
    >>> ax.get_ylabel()
    'Sensitivity'
    """
    prob, kind = check_probability(prob), None if kind is None else check_kind(kind)
    marks = None if studies is None else check_choice(studies, ("circles", "crosshairs"), "studies")
    shown = None if region is None else check_choice(region, ("both", "confidence", "prediction"), "region")
    check_boolean(extrapolate, "extrapolate")
    drawn = series_of(trees, newdata, "bm.plots.sroc")
    panel = only_axes(ax, height=style.COLUMN)
    panel.plot([0, 1], [0, 1], color=style.FAINT, linewidth=0.7, linestyle=":", zorder=0)
    looks = [(style.COLOURS[i % 6], style.MARKERS[i % 6], style.LINES[i % 6]) for i in range(len(drawn))]
    places: list[tuple[FloatArray, FloatArray]] = []
    shared = len(drawn) > 1 and len({_tables(one) for one in drawn}) == 1
    for i, (one, (colour, marker, line)) in enumerate(zip(drawn, looks, strict=True)):
        look = (style.MUTED, "o") if shared else (colour, marker if len(drawn) > 1 else "o")
        places.append(_draw_studies(panel, one, *look, None if shared and i else marks, prob))
        _draw_regions(panel, one, colour, shown, prob)
        if kind is not None:
            _draw_curve(panel, one, colour, line if len(drawn) > 1 else "-", kind, extrapolate)
        _draw_summary(panel, one, colour, marker)
    panel.set_xlim(-0.02, 1.02)
    panel.set_ylim(-0.02, 1.02)
    panel.set_aspect("equal")
    panel.set_ylabel("Sensitivity", fontsize=style.TEXT)
    lines = words.label_below(panel, "False-positive rate (1 − specificity)", _notes(drawn, marks, shown, kind, prob))
    lines += words.legend_above(panel, _handles(panel, drawn, looks))
    if ax is None:
        words.make_room(panel, lines)
    for one, (x, y) in zip(drawn[:1] if shared else drawn, places, strict=not shared):
        names = short(np.array(Accuracy.of(one.tree, "sroc").tables.names, dtype=object)[one.own])
        if marks is not None:
            name_points(panel, x, y, names, which(label, np.zeros(len(x), bool)))
    return panel


def _tables(one: Series) -> bytes:
    """The studies of a series, to tell whether several have the same."""
    return Accuracy.of(one.tree, "sroc").tables.cells[:, one.own].tobytes()


def _draw_studies(
    panel: "Axes", one: Series, colour: str, marker: str, studies: str | None, prob: float
) -> tuple[FloatArray, FloatArray]:
    """Points of the studies; returns where they are."""
    table = tables_of(one.tree, prob=prob)[one.own]
    x, y = table["fpr"].to_numpy(), table["sensitivity"].to_numpy()
    if studies == "circles":
        n = table[["tp", "fp", "fn", "tn"]].sum(axis=1).to_numpy()
        size = np.maximum(_LARGEST * np.sqrt(n / n.max()), _LEAST)
        look: dict[str, Any] = {"facecolor": (colour, 0.25), "edgecolor": (colour, 0.9), "linewidth": 0.7}
        largest_first = np.argsort(-n)
        x_y = x[largest_first], y[largest_first]
        panel.scatter(*x_y, s=size[largest_first] ** 2, marker=marker, zorder=2, clip_on=False, **look)
    elif studies == "crosshairs":
        lines: dict[str, Any] = {"color": colour, "alpha": 0.45, "linewidth": 0.7, "zorder": 2}
        panel.hlines(y, table["fpr_lower"], table["fpr_upper"], **lines)
        panel.vlines(x, table["sensitivity_lower"], table["sensitivity_upper"], **lines)
        panel.plot(x, y, marker, color=colour, markersize=2.5, zorder=2, clip_on=False)
    return x, y


def _draw_regions(panel: "Axes", one: Series, colour: str, region: str | None, prob: float) -> None:
    if region is None:
        return
    for name in ("confidence", "prediction") if region == "both" else (region,):
        outline = regions(one.tree, one.newdata, region=name, prob=prob)
        line = {"confidence": "-", "prediction": (0, (4, 2))}[name]
        panel.plot(outline["fpr"], outline["sensitivity"], color=colour, linewidth=0.8, linestyle=line, zorder=3)


def _draw_curve(panel: "Axes", one: Series, colour: str, line: Any, kind: str, extrapolate: bool) -> None:
    curve = curve_of(one.tree, kind, _WHOLE if extrapolate else None, one.newdata)
    x = curve.index.get_level_values("fpr").to_numpy(dtype=float)
    panel.plot(x, curve["estimate"], color=colour, linewidth=1.6, linestyle=line, zorder=4)


def _draw_summary(panel: "Axes", one: Series, colour: str, marker: str) -> None:
    sensitivity, _, fpr = summary_point(one.tree, one.newdata)["estimate"]
    marker = "s" if marker == "o" else marker
    panel.plot([fpr], [sensitivity], marker, color=colour, markersize=5.5, markeredgecolor=style.PAPER, zorder=5)


def _notes(
    drawn: Sequence[Series], studies: str | None, region: str | None, kind: str | None, prob: float
) -> list[str]:
    """What is drawn, in words."""
    kinds = {"credible" if is_posterior(one.tree) else "confidence" for one in drawn}
    notes = []
    if region != "prediction" and region is not None:
        notes.append(f"solid outline: {percent(prob)} {' or '.join(sorted(kinds))} region")
    if region in ("both", "prediction"):
        notes.append(f"dashed outline: {percent(prob)} prediction region")
    if kind is not None:
        notes.append(f"curve: {_CURVES[kind]}")
    if studies == "circles":
        notes.append("areas grow with the number of persons")
    elif studies == "crosshairs":
        notes.append(f"crosshairs: {percent(prob)} intervals of studies")
    return ["; ".join(notes)]


def _handles(panel: "Axes", drawn: Sequence[Series], looks: Sequence[tuple[str, str, Any]]) -> list[tuple[str, Any]]:
    """Entries of the legend: the names of the series, where there are several."""
    if len(drawn) == 1 and not drawn[0].name:
        return []
    made = []
    for one, (colour, marker, line) in zip(drawn, looks, strict=True):
        shape = "s" if marker == "o" else marker
        (handle,) = panel.plot([], [], color=colour, marker=shape, markersize=4.5, linestyle=line, linewidth=1.4)
        made.append((plain(one.name), handle))
    return made
