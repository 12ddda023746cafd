"""Rankings of treatments: the probabilities of their ranks, or their P-scores."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.network.ranks import RANK, ranking
from bayesmeta.plots import style
from bayesmeta.plots.panels import ROW, label_rows, only_axes, panel_axes, rows_height, wrapped
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.within.trial_tables import TREATMENT

if TYPE_CHECKING:
    from bayesmeta.plots.style import AxesLike

_PANEL = 1.35  # inches, height of one
_TITLE = 26  # letters of a line
_TICKS = 8  # at most


@asks_in_one_way
def network_ranking(
    tree: xr.DataTree,
    better: Literal["smaller", "larger"] | None = None,
    axes: "AxesLike | None" = None,
    *,
    kind: Literal["rankogram", "cumulative", "p_score"] | None = None,
    at: Mapping[str, float] | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "style.AxesArray":
    """How treatments rank: the probability of each rank, its cumulative curve, or P-scores.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network.
    better : {"smaller", "larger"}, optional
        Which effects are good; by default as `bm.network.specify` was told.
    axes : Axes or sequence of Axes, optional
        One for each treatment of a posterior, one of a fit; by default new ones.
    kind : {"rankogram", "cumulative", "p_score"}, optional
        "rankogram", the default of posteriors, draws the probability of each rank; "cumulative" that of being at least
        as good, whose surface is SUCRA; "p_score", the default of fits and theirs alone, P-scores.
    at, vcov, df : optional
        As for `bm.network.ranking`.

    Returns
    -------
    array of Axes
        Treatments in the order of SUCRA or P-score, the best first.

    Raises
    ------
    SpecError
        When the tree is not of a network, or does not have what is to be drawn.

    References
    ----------
    Salanti, Ades and Ioannidis (2011), J. Clin. Epidemiol. 64:163-171.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> axes = bm.plots.network_ranking(bm.fit(spec), better="smaller")
    >>> axes[0].get_xlabel()
    'P-score'
    """
    table = ranking(tree, better, at, vcov, df)
    exact = is_posterior(tree)
    kind = ("rankogram" if exact else "p_score") if kind is None else kind
    check_choice(kind, ("rankogram", "cumulative", "p_score"), "kind")
    if exact == (kind == "p_score"):
        raise SpecError(
            f"kind='{kind}' is drawn of {'fits' if exact else 'posteriors'}, this is not one of them\n"
            f"  bm.plots.network_ranking(bm.{'fit' if exact else 'sample'}(spec), ...)"
        )
    return _of_probabilities(table, kind, axes) if exact else _of_scores(table, axes)


def _of_scores(table: xr.Dataset, axes: "AxesLike | None") -> "style.AxesArray":
    table = table.sortby("p_score", ascending=False)
    score = table["p_score"].to_numpy()
    place = np.arange(len(score))[::-1].astype(float)
    labels = [wrapped(name, 26) for name in table[TREATMENT].values]
    height = rows_height(labels)
    panel = only_axes(axes, height=height)  # type: ignore[arg-type]
    panel.hlines(place, 0, score, color=style.FAINT, linewidth=1.2)
    panel.plot(score, place, "o", color=style.BLUE, markersize=4.5, clip_on=False, zorder=3)
    label_rows(panel, place, labels, "", height)
    panel.set_xlim(0, 1)
    panel.set_ylim(-0.7, len(score) - 0.3)
    panel.set_xlabel("P-score", fontsize=style.TEXT)
    return style.AxesArray.of([panel])


def _of_probabilities(table: xr.Dataset, kind: str, axes: "AxesLike | None") -> "style.AxesArray":
    table = table.sortby("sucra", ascending=False)
    names = [str(name) for name in table[TREATMENT].values]
    titles = [wrapped(name, _TITLE) for name in names]
    height = _PANEL + ROW * max(title.count("\n") for title in titles)
    panels = panel_axes(axes, names, height, most=4, sharey=axes is None)
    ranks, top = table[RANK].to_numpy(), 1.0
    if kind == "rankogram" and (highest := table["probability"].max().item()) < 0.5:
        top = 1.1 * highest  # of many treatments no rank is probable
    for ax, name, title in zip(panels, names, titles, strict=True):
        own = table.sel({TREATMENT: name})
        look: dict[str, Any] = {"color": style.BLUE}
        if kind == "rankogram":
            ax.bar(ranks, own["probability"], width=0.8, **look)
        else:
            ax.plot(ranks, own["cumulative"], "o-", linewidth=1.2, markersize=2.5, **look)
            ax.fill_between(ranks[:-1], 0, own["cumulative"][:-1], color=style.BLUE, alpha=0.15, linewidth=0)
        ax.set_title(f"{title}\nSUCRA {own['sucra'].item():.0%}", fontsize=style.SMALL)
        ax.set(ylim=(0, top), xlim=(0.4, len(ranks) + 0.6))
        ax.set_xticks(ranks[:: -(-len(ranks) // _TICKS)])
    for ax in panels:
        if (where := ax.get_subplotspec()) is not None and where.is_last_row():
            ax.set_xlabel("Rank", fontsize=style.TEXT)
        if where is None or where.is_first_col():
            ax.set_ylabel("Probability" if kind == "rankogram" else "Cumulative", fontsize=style.TEXT)
    return panels
