"""Effects of all treatments against one of them."""

from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from bayesmeta._validation import check_boolean, check_name, check_probability
from bayesmeta.display.tables import percent
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.network.comparisons import Network, league
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.texts import interval_text
from bayesmeta.plots.panels import EstimateRows, draw_rows, label_rows, only_axes, plain, rows_height, wrapped
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Scale
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes


@asks_in_one_way
def network_forest(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    versus: str | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    sort: bool = False,
    prediction: bool = False,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """The effect of every treatment against one of them, with intervals.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    versus : str, optional
        The treatment that others are compared with; by default the reference.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", the default where the measure is read on another scale, draws odds ratios of log odds ratios.
    sort : bool, default False
        Whether treatments stand in the order of their effects, and not of the alphabet.
    prediction : bool, default False
        Whether intervals for the effect in a new trial are drawn behind the others.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        The numbers stand on the right.

    Raises
    ------
    SpecError
        When the tree is not of a network, or it has no such treatment.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> ax = bm.plots.network_forest(bm.fit(spec), versus="placebo")
    >>> len(ax.get_yticklabels())
    9
    """
    network, prob = Network.of(tree, "network_forest"), check_probability(prob)
    check_boolean(sort, "sort")
    check_boolean(prediction, "prediction")
    against = network.spec.analysis["reference"] if versus is None else versus
    check_name(against, network.treatments, "versus: the network has no", "treatments")
    reading = style.reading(tree, scale)
    table = league(tree, prob, vcov=vcov, df=df)
    own = table.sel({VERSUS: against}).drop_sel({TREATMENT: against})
    if sort:
        own = own.sortby("mean")
    q = own.sizes[TREATMENT]
    place = np.arange(q)[::-1].astype(float)
    labels = [wrapped(name, 26) for name in own[TREATMENT].values]
    height = rows_height(labels)
    panel = only_axes(ax, height=height, width=4.2)
    if reading.log:
        panel.set_xscale("log")
    if reading.null is not None:
        panel.axvline(float(reading.values(reading.null)), color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
    if prediction:
        low, high = (reading.values(own[f"prediction_{name}"].to_numpy()) for name in ("lower", "upper"))
        panel.hlines(place, low, high, color=style.SKY, linewidth=3.5, zorder=1)
    mean, lower, upper = (own[name].to_numpy() for name in ("mean", "lower", "upper"))
    draw_rows(panel, EstimateRows(place, reading.values(mean), reading.values(lower), reading.values(upper)))
    label_rows(panel, place, labels, "", height)
    style.effect_axis(panel, reading)
    kind = "credible" if is_posterior(tree) else "confidence"
    notes = [f"against {plain(against)}; lines: {percent(prob)} {kind} intervals"]
    notes += ["bands: intervals for a new trial"] if prediction else []
    lines = words.label_below(panel, reading.label, notes)
    texts = [interval_text(Interval(*each), 2, reading) for each in zip(mean, lower, upper, strict=True)]
    beside = panel.secondary_yaxis("right")
    beside.set_yticks(place, texts, fontsize=style.SMALL)
    beside.tick_params(length=0)
    beside.spines["right"].set_visible(False)
    if ax is None:
        words.make_room(panel, lines)
    return panel
