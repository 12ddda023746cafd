"""The comparison-adjusted funnel plot of a network."""

from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_order, check_probability, listing
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.inference.prediction_rows import quantile
from bayesmeta.inference.weights import sampling_matrix
from bayesmeta.network.comparisons import Network
from bayesmeta.network.splitting import direct_evidence, trial_pairs
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes, shortened
from bayesmeta.tree.posterior_draws import is_posterior

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_MOST_MARKS = 6  # comparisons with marks of their own


def network_funnel(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    order: Sequence[str] | None = None,
    around: Literal["direct", "network"] = "direct",
    prob: float = 0.95,
) -> "DrawnAxes":
    """Effects of trials less those of their comparisons, against their standard errors.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` for a network.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    order : sequence of str
        All treatments in an order in which bias is expected, such as from the newest to the oldest, or from active ones
        to placebo: effects are of the earlier against the later, so that a bias in favour of the newer is to one side.
        It must be given, since without one the picture says nothing.
    around : {"direct", "network"}, default "direct"
        The effect of a comparison: that of direct evidence, or that of the network.
    prob : float, default 0.95
        Probability of the region between the lines, by sampling errors alone.

    Returns
    -------
    matplotlib Axes
        Trials with several arms have a point for each comparison. The comparisons of the most trials have marks of
        their own.

    Raises
    ------
    SpecError
        When the tree is no fit of a network, or `order` does not hold each treatment.

    References
    ----------
    Chaimani and Salanti (2012), Res. Synth. Methods 3:161-176.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> order = [t for t in spec.analysis["treatments"] if t != "placebo"] + ["placebo"]
    >>> bm.plots.network_funnel(bm.fit(spec), order=order).get_ylabel()
    'Standard error'
    """
    network, prob = Network.of(tree, "network_funnel"), check_probability(prob)
    check_choice(around, ("direct", "network"), "around")
    if is_posterior(tree):
        raise SpecError("network_funnel is drawn of fits\n  bm.plots.network_funnel(bm.fit(spec), order=...)")
    if order is None:
        raise SpecError(
            "order is left out: in which order of treatments bias is expected, such as from the newest to the oldest\n"
            f"  order=[...] holds each of: {listing(network.treatments, 30)}"
        )
    names = check_order(order, network.treatments, "order", "treatment")
    away, se, pairs = _points(network, names, around)
    panel = only_axes(ax, height=2.9, width=words.WIDE)
    reading = style.reading(tree, None)
    most, z = 1.08 * se.max(), quantile(prob)
    for sign in (-1, 1):
        look: dict[str, Any] = {"color": style.INK, "linestyle": style.LINES[1], "linewidth": 0.8}
        region = panel.plot([0, sign * z * most], [0, most], label="_region", **look)[0]
    panel.axvline(0, color=style.BLUE, linewidth=1.2)
    handles = [(f"{percent(prob)} by sampling error", region), *_marks(panel, away, se, pairs)]
    panel.set_ylim(most, 0)
    low, high = min(away.min(), -z * most), max(away.max(), z * most)
    panel.set_xlim(low - 0.04 * (high - low), high + 0.04 * (high - low))
    panel.locator_params(axis="x", nbins=6)
    label = reading.record.label
    alone = "comparisons of one trial lie at 0" if around == "direct" and 1 in Counter(pairs).values() else ""
    lines = words.label_below(panel, f"{label[:1].upper()}{label[1:]} less that of the comparison", [alone])
    panel.set_ylabel("Standard error", fontsize=style.TEXT)
    words.legend_beside(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _points(network: Network, order: Sequence[str], around: str) -> tuple[FloatArray, FloatArray, list[str]]:
    """Effects less those of their comparisons, standard errors, and comparisons in words."""
    S, place = sampling_matrix(network.spec), {t: i for i, t in enumerate(network.treatments)}
    direct = direct_evidence(network)[0]
    beta = network.weights @ network.tree["estimate"]["beta"].to_numpy()
    away, se, pairs = [], [], []
    for first, second, at, contrast in trial_pairs(network.spec):
        i, j = place[first], place[second]
        centre = direct[i, j] if around == "direct" else beta[i] - beta[j]
        sign = 1 if order.index(first) < order.index(second) else -1
        away.append(sign * (contrast @ network.spec.y[at] - centre))
        se.append(float(np.sqrt(contrast @ S[np.ix_(at, at)] @ contrast)))
        names = [shortened(t) for t in ((first, second) if sign > 0 else (second, first))]
        pairs.append(" : ".join(names))
    return np.array(away), np.array(se), pairs


def _marks(ax: "Axes", away: FloatArray, se: FloatArray, pairs: list[str]) -> list[tuple[str, Any]]:
    counts = Counter(pairs)
    shown = sorted(counts, key=lambda pair: (-counts[pair], pair))[: _MOST_MARKS - (len(counts) > _MOST_MARKS)]
    kind = [pair if pair in shown else "others" for pair in pairs]
    handles = []
    for g, name in enumerate([*shown, *(["others"] if "others" in kind else [])]):
        own = np.array([k == name for k in kind])
        look: dict[str, Any] = {"markersize": 4.5, "markeredgecolor": style.PAPER, "markeredgewidth": 0.5}
        mark = ax.plot(
            away[own],
            se[own],
            style.MARKERS[g],
            linestyle="none",
            color=style.COLOURS[g],
            clip_on=False,
            zorder=4,
            **look,
        )[0]
        handles.append((name, mark))
    return handles
