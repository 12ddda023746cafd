"""What a test changes: likelihood ratios, predictive values by prevalence, and Fagan's nomogram."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr
from scipy.special import logit

from bayesmeta._validation import check_probability, entries, shown
from bayesmeta.diagnostic.accuracy_measures import likelihood_ratios as ratios_of
from bayesmeta.diagnostic.accuracy_measures import predictive_values as values_of
from bayesmeta.diagnostic.by_study import studies
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.quantities import NewData
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes, plain
from bayesmeta.plots.roc_plane import Series, series_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_CONFIRMS, _EXCLUDES = 10.0, 0.1  # likelihood ratios beyond which a test settles the matter (Jaeschke et al. 1994)
_PROBABILITIES = (
    0.001,
    0.002,
    0.005,
    0.01,
    0.02,
    0.05,
    0.1,
    0.2,
    0.3,
    0.5,
    0.7,
    0.8,
    0.9,
    0.95,
    0.98,
    0.99,
    0.995,
    0.999,
)
_RATIOS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)


@asks_in_one_way
def likelihood_ratios(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    ax: "Axes | None" = None,
    *,
    newdata: NewData = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Positive against negative likelihood ratios: whether a test confirms a disease, excludes it, both or neither.

    Parameters
    ----------
    trees : DataTree or dict of str to DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made; several by name.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    prob : float, default 0.95
        Probability of the intervals of the summary points.
    vcov, df : optional
        As for `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        With lines where a positive ratio is 10 and a negative one 0.1.

    Raises
    ------
    SpecError
        When a tree is not that of a diagnostic analysis, or an argument is not as above.

    References
    ----------
    Stengel, Bauwens, Sehouli, Ekkernkamp and Porzsolt (2003), BMC Med. Res. Methodol. 3:13.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.plots.likelihood_ratios(fit).get_xlabel()
    'Negative likelihood ratio'
    """
    prob = check_probability(prob)
    drawn = series_of(trees, newdata, "bm.plots.likelihood_ratios")
    panel = only_axes(ax, height=3.2)
    panel.set_xscale("log")
    panel.set_yscale("log")
    handles = []
    for i, one in enumerate(drawn):
        colour, marker = style.COLOURS[i % 6], style.MARKERS[i % 6]
        table, pooled = studies(one.tree)[one.own], ratios_of(one.tree, one.newdata, prob=prob)
        look: dict[str, Any] = {"color": colour, "alpha": 0.45, "markersize": 3.5, "linestyle": "none"}
        panel.plot(table["negative"], table["positive"], marker=marker, **look)
        (x, *across), (y, *up) = (pooled[["estimate", "lower", "upper"]].iloc[k].tolist() for k in (1, 0))
        panel.plot(across, [y, y], color=colour, linewidth=1.2)
        panel.plot([x, x], up, color=colour, linewidth=1.2)
        (handle,) = panel.plot([x], [y], marker=marker, color=colour, markersize=6.5, markeredgecolor=style.PAPER)
        handles.append((plain(one.name), handle))
    panel.set_xlim(min(panel.get_xlim()[0], 0.05), 1.3)
    panel.set_ylim(0.8, max(panel.get_ylim()[1], 20.0))
    panel.axvline(_EXCLUDES, color=style.FAINT, linewidth=0.8, linestyle="--", zorder=0)
    panel.axhline(_CONFIRMS, color=style.FAINT, linewidth=0.8, linestyle="--", zorder=0)
    _quadrants(panel)
    panel.set_ylabel("Positive likelihood ratio", fontsize=style.TEXT)
    note = f"large marks: summary points with {percent(prob)} intervals"
    lines = words.label_below(panel, "Negative likelihood ratio", [note])
    lines += words.legend_above(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _quadrants(panel: "Axes") -> None:
    """What a test does in each corner, and plain numbers along the axes."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    for axis in (panel.xaxis, panel.yaxis):
        axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
        axis.set_minor_formatter(NullFormatter())
    corners = {
        (0.02, 0.98): ("confirms and excludes", "left", "top"),
        (0.98, 0.98): ("confirms", "right", "top"),
        (0.02, 0.02): ("excludes", "left", "bottom"),
        (0.98, 0.02): ("neither", "right", "bottom"),
    }
    for place, (text, across, up) in corners.items():
        panel.annotate(
            text, place, xycoords="axes fraction", ha=across, va=up, fontsize=style.SMALL - 1, color=style.MUTED
        )


@asks_in_one_way
def predictive_values(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    ax: "Axes | None" = None,
    *,
    prevalence: tuple[float, float] = (0.01, 0.99),
    newdata: NewData = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Probability of the disease after a positive and after a negative test, by that before it.

    Parameters
    ----------
    trees : DataTree or dict of str to DataTree
        As for `bm.plots.likelihood_ratios`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    prevalence : (float, float), default (0.01, 0.99)
        The range of the prevalence, strictly between 0 and 1.
    newdata, prob, vcov, df : optional
        As for `bm.plots.likelihood_ratios`.

    Returns
    -------
    matplotlib Axes
        The upper curve is the positive predictive value, the lower one 1 less the negative one, with bands.

    Raises
    ------
    SpecError
        When a tree is not that of a diagnostic analysis, or an argument is not as above.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.plots.predictive_values(fit).get_xlabel()
    'Prevalence'
    """
    prob = check_probability(prob)
    pair = entries(prevalence)
    if len(pair) != 2 or not check_probability(pair[0], "prevalence") < check_probability(pair[1], "prevalence"):
        raise SpecError(f"prevalence is {shown(prevalence)}; it must be two probabilities, the smaller one first")
    x = np.linspace(float(pair[0]), float(pair[1]), 99)
    drawn = series_of(trees, newdata, "bm.plots.predictive_values")
    panel = only_axes(ax, height=3.0)
    panel.plot(x, x, color=style.FAINT, linewidth=0.8, linestyle=":", zorder=0)
    handles = []
    for i, one in enumerate(drawn):
        colour, line = style.COLOURS[i % 6], style.LINES[i % 6]
        table = values_of(one.tree, x.tolist(), one.newdata, prob=prob).xs
        ppv, npv = table("ppv", level="quantity"), 1 - table("npv", level="quantity")
        for own in (ppv, npv):
            panel.fill_between(x, own["lower"], own["upper"], color=colour, alpha=0.18, linewidth=0)
            (handle,) = panel.plot(x, own["estimate"], color=colour, linewidth=1.3, linestyle=line)
        handles.append((plain(one.name), handle))
    panel.set_ylim(-0.02, 1.02)
    panel.set_ylabel("Probability after the test", fontsize=style.TEXT)
    notes = ["above the diagonal: after a positive test; below: after a negative one"]
    notes += [words.interval_note([one.tree for one in drawn], prob)]
    lines = words.label_below(panel, "Prevalence", notes) + words.legend_above(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    return panel


@asks_in_one_way
def fagan(
    tree: xr.DataTree,
    prevalence: float,
    ax: "Axes | None" = None,
    *,
    newdata: NewData = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Fagan's nomogram: from the probability of the disease before a test to that after it.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    prevalence : float
        Probability of the disease before the test, strictly between 0 and 1.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    newdata : DataFrame or mapping, optional
        One row of values of the predictors, where the model has some.
    prob : float, default 0.95
        Probability of the intervals in the legend.
    vcov, df : optional
        As for `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        Three scales, with a line for a positive and one for a negative test.

    Raises
    ------
    SpecError
        When the tree is not that of a diagnostic analysis, there are several summary points, or an argument is not as
        above.

    References
    ----------
    Fagan (1975), N. Engl. J. Med. 293:257.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> ax = bm.plots.fagan(fit, 0.1)
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['positive test: 31%...', 'negative test: 1.5%...']
    """
    prob, before = check_probability(prob), check_probability(prevalence, "prevalence")
    drawn = series_of(tree, newdata, "bm.plots.fagan")
    if len(drawn) != 1:
        names = ", ".join(one.name for one in drawn)
        raise SpecError(
            f"fagan draws one summary point, and there are {len(drawn)}: {names}\n  choose one: newdata={{...}}"
        )
    panel = only_axes(ax, height=4.6)
    lowest, highest = float(logit(_PROBABILITIES[0])), float(logit(_PROBABILITIES[-1]))
    for x, side in ((0.0, -1), (1.0, 1)):
        _scale(
            panel, x, [(side * float(logit(p)), f"{100 * p:g}") for p in _PROBABILITIES], "right" if x == 0 else "left"
        )
    _scale(panel, 0.5, [(float(np.log(ratio)) / 2, f"{ratio:g}") for ratio in _RATIOS], "right")
    handles = _lines(panel, drawn[0], before, prob)
    panel.set_xlim(-0.12, 1.12)
    panel.set_ylim(lowest - 0.3, highest + 0.3)
    panel.set_xticks([0, 0.5, 1], ["Before the\ntest (%)", "Likelihood\nratio", "After the\ntest (%)"])
    panel.tick_params("x", length=0, labelsize=style.TEXT)
    panel.set_yticks([])
    panel.spines[["left", "bottom"]].set_visible(False)
    lines = words.legend_above(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _scale(panel: "Axes", x: float, ticks: list[tuple[float, str]], side: str) -> None:
    """A vertical scale with texts on one side."""
    places = [y for y, _ in ticks]
    panel.plot([x, x], [min(places), max(places)], color=style.INK, linewidth=0.8, zorder=1)
    outwards = -1 if side == "right" else 1
    for y, text in ticks:
        panel.plot([x, x + 0.015 * outwards], [y, y], color=style.INK, linewidth=0.8, zorder=1)
        panel.annotate(
            text,
            (x, y),
            xytext=(4 * outwards, 0),
            textcoords="offset points",
            ha=side,
            va="center",
            fontsize=style.SMALL - 1,
            color=style.INK,
        )


def _lines(panel: "Axes", one: Series, before: float, prob: float) -> list[tuple[str, Any]]:
    """The lines of both results of the test, with their words."""
    table = values_of(one.tree, before, one.newdata, prob=prob)
    handles = []
    for name, row, colour, line in (("positive", 0, style.BLUE, "-"), ("negative", 1, style.ORANGE, "--")):
        after, low, high = (float(table[column].iloc[row]) for column in ("estimate", "lower", "upper"))
        if name == "negative":
            after, low, high = 1 - after, 1 - high, 1 - low
        (handle,) = panel.plot([0, 1], [-logit(before), logit(after)], color=colour, linewidth=1.4, linestyle=line)
        handles.append((f"{name} test: {_figure(after)}% ({_figure(low)} to {_figure(high)})", handle))
    return handles


def _figure(probability: float) -> str:
    return f"{100 * probability:.2g}"
