"""Direct, indirect and network estimates of every comparison, below each other."""

from typing import TYPE_CHECKING, Literal

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.display.prose import counted
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError
from bayesmeta.network.comparisons import COMPARISON, network_of
from bayesmeta.network.splitting import split
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.notes import p_text
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.texts import interval_text
from bayesmeta.plots.panels import ROW, EstimateRows, compared, draw_rows, label_rows, only_axes
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Scale
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_KINDS = ("direct", "indirect", "network")
_NAME = 36  # letters of a line with the name of a comparison
_ROWS = len(_KINDS) + 2.0  # of a comparison: its name, its estimates and a gap
_TALLEST = 100.0  # inches: some files hold no higher picture
_HOW = {"back-calculation": "one heterogeneity", "refit": "a model for each"}


def network_split(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    show: Literal["both", "direct", "all"] = "both",
    method: Literal["back-calculation", "refit"] | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
) -> "DrawnAxes":
    """Direct, indirect and network estimates of every comparison, and whether the first two agree.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a consistency model without covariates.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    show : {"both", "direct", "all"}, default "both"
        The comparisons: those with direct and indirect evidence, all with direct evidence, or all of the network.
    method : {"back-calculation", "refit"}, optional
        How the evidence is split, see `bm.network.split`.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", the default where the measure is read on another scale, draws odds ratios of log odds ratios.

    Returns
    -------
    matplotlib Axes
        Beside the name of a comparison stand the number of trials with both arms, the share of their evidence where
        the split is by back-calculation, and the p-value of the difference between direct and indirect evidence;
        beside its rows estimates and intervals. Diamonds are of the network. Comparisons with the reference are against
        it, also where `bm.network.split` has them the other way round.
        The figure grows with the number of comparisons; a page holds 12 of them.

    Raises
    ------
    SpecError
        When the tree is not of a consistency model, or no comparison has the evidence that is asked for.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> ax = bm.plots.network_split(bm.fit(spec))
    >>> sum(text.get_text().startswith("indirect") for text in ax.get_yticklabels())
    11
    """
    check_choice(show, ("both", "direct", "all"), "show")
    own = _against(_shown(split(tree, method, prob), show), network_of(tree, "split").analysis["reference"])
    reading = style.reading(tree, scale)
    top = -_ROWS * np.arange(own.sizes[COMPARISON])
    height = max(1.4, min(_TALLEST, (_ROWS * len(top) + 4) * ROW))
    panel = only_axes(ax, height=height, width=5.2)
    if reading.log:
        panel.set_xscale("log")
    if reading.null is not None:
        panel.axvline(float(reading.values(reading.null)), color=style.MUTED, linewidth=0.8, linestyle=":", zorder=1)
    place = (top[:, None] - 1 - np.arange(len(_KINDS))).ravel()
    values = np.stack([np.stack([own[kind + end] for kind in _KINDS], 1).ravel() for end in ("", "_lower", "_upper")])
    here = np.isfinite(values[0])
    _draw(panel, place[here], reading.values(values[:, here]), np.arange(len(place))[here] % len(_KINDS) == 2)
    panel.set_ylim(place[-1] - 0.7, 1.2)
    names = [compared(*pair, _NAME) for pair in zip(own[TREATMENT].values, own[VERSUS].values, strict=True)]
    heads = top + [
        0.5 * name.count("\n") for name in names
    ]  # the second line of a name is beside the texts on the right
    label_rows(panel, np.append(heads, place[here]), [*names, *np.tile(_KINDS, len(top))[here]], "", height)
    for label in panel.get_yticklabels()[: len(top)]:
        label.set_fontweight("bold")
    texts = [interval_text(Interval(*each), 2, reading) for each in values[:, here].T]
    _texts_beside(panel, np.append(top, place[here]), [*_tests(own), *texts])
    style.effect_axis(panel, reading)
    kind = "credible" if is_posterior(tree) else "confidence"
    how = "p: direct = indirect, " + _HOW[own.attrs["method"]]
    lines = words.label_below(panel, reading.label, [f"lines: {percent(own.attrs['prob'])} {kind} intervals", how])
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _shown(own: xr.Dataset, show: str) -> xr.Dataset:
    """The comparisons that are asked for."""
    with_direct = own["trials"].to_numpy() > 0
    kept = {"both": np.isfinite(own["difference"].to_numpy()), "direct": with_direct, "all": np.ones_like(with_direct)}[
        show
    ]
    if not kept.any():
        raise SpecError(
            "no comparison has both direct and indirect evidence, so that there is nothing to compare\n"
            '  show="direct" draws what trials say, show="all" the whole network'
        )
    return own.isel({COMPARISON: np.flatnonzero(kept)})


def _against(own: xr.Dataset, reference: str) -> xr.Dataset:
    """Comparisons with the reference the other way round where it is the first."""
    turned = own[TREATMENT].to_numpy() == reference
    other = {TREATMENT: own[VERSUS], VERSUS: own[TREATMENT]}
    for kind in _KINDS:
        ends = {f"{kind}_lower": -own[f"{kind}_upper"], f"{kind}_upper": -own[f"{kind}_lower"]}
        other |= {kind: -own[kind]} | ends
    return own.assign({name: (COMPARISON, np.where(turned, values, own[name])) for name, values in other.items()})


def _draw(panel: "Axes", place: FloatArray, drawn: FloatArray, pooled: NDArray[np.bool_]) -> None:
    """Points with intervals (3, n); those of the network as diamonds."""
    panel.plot(drawn[0, pooled], place[pooled], "D", color=style.INK, markersize=5, zorder=4)
    draw_rows(panel, EstimateRows(place, *drawn))


def _tests(own: xr.Dataset) -> list[str]:
    """How many trials have both arms, what share of the evidence they are, and whether it agrees with the other."""
    told = []
    for at in range(own.sizes[COMPARISON]):
        row, p = own.isel({COMPARISON: at}), float(own["pvalue"][at])
        share = [f"{100 * row['share'].item():.0f}% direct"] if "share" in own else []
        told.append(
            ", ".join([counted(row["trials"].item(), "trial"), *share, *([] if np.isnan(p) else [f"p {p_text(p)}"])])
        )
    return told


def _texts_beside(panel: "Axes", place: FloatArray, texts: list[str]) -> None:
    """Texts on the right of the rows, where these have labels on the left, as large as they are."""
    if labels := panel.get_yticklabels():
        beside = panel.secondary_yaxis("right")
        beside.set_yticks(place, texts, fontsize=labels[0].get_fontsize())
        beside.tick_params(length=0)
        beside.spines["right"].set_visible(False)
