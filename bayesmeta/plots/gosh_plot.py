"""GOSH plots: the estimates from all subsets of the studies against their heterogeneity."""

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice, check_name
from bayesmeta.errors import SpecError
from bayesmeta.inference.gosh import INCLUDED
from bayesmeta.inference.gosh import gosh as subsets_of
from bayesmeta.inference.part_estimates import GROUP, VARIANCE
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.refits import chosen_terms
from bayesmeta.tree.response import Reading, Scale, roles
from bayesmeta.tree.row_labels import ByRow

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

type Variation = Literal["I2", "tau2", "H2", "Q"]
_LABELS: dict[Variation, str] = {"I2": "I² (%)", "tau2": "τ²", "H2": "H²", "Q": "Q"}
_BINS = 50
_MARGIN = 0.18  # height of a histogram, of that of the axes


def gosh(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    term: str | None = None,
    outcome: str | None = None,
    y: Variation = "I2",
    highlight: str | None = None,
    subsets: int | None = None,
    by: ByRow | None = None,
    scale: Scale | None = None,
    random_seed: int | None = None,
) -> "DrawnAxes":
    """Estimates from all subsets of the studies, against the heterogeneity of each subset.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    term : str, optional
        The coefficient to draw; required for a model with predictors.
    outcome : str, optional
        The outcome to draw; required for a model with several, unless `term` is of one of them.
    y : {"I2", "tau2", "H2", "Q"}, default "I2"
        The measure of heterogeneity.
    highlight : str, optional
        Name of a study or group: subsets with it are orange, those without it blue. Two clouds apart are its doing.
    subsets, by : optional
        As for `bm.gosh`.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws odds ratios of log odds ratios; "model" as they are
        modelled.
    random_seed : int, optional
        As for `bm.gosh`.

    Returns
    -------
    matplotlib Axes
        With histograms of both above and on the right.

    Raises
    ------
    SpecError
        What `bm.gosh` raises; when `highlight` is no group, `y` is tau2 of a model with several, or a model with
        predictors or several outcomes leaves open which coefficient to draw.

    See Also
    --------
    bayesmeta.gosh : The numbers that are drawn.

    References
    ----------
    Olkin, Dahabreh and Trikalinos (2012), Res. Synth. Methods 3:214-223.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.gosh(fit, highlight="TPT Madras (1980)")
    >>> ax.get_xlabel(), ax.get_ylabel()
    ('Odds ratio', 'I² (%)')
    """
    check_choice(y, _LABELS, "y")
    terms = chosen_terms(tree, outcome, term)
    if len(terms) > 1:
        raise SpecError(
            f"gosh draws one outcome: outcome={next(iter(terms))!r}, or term={terms[next(iter(terms))]!r}"
            "\n  name one of them"
        )
    coef = next(iter(terms.values()))
    role = roles(tree)[coef]
    reading = style.reading(tree, scale, role) if role else Reading(style.measure_of(tree), role, False)
    table = subsets_of(tree, subsets, by, random_seed=random_seed)
    if y not in table or VARIANCE in table[y].dims:
        raise SpecError(f'y="{y}": this model has not one variance between groups\n  take y="I2" or y="Q"')
    if highlight is not None:
        check_name(highlight, table[GROUP].to_numpy().tolist(), "highlight: no group", "groups")
    known = np.isfinite(table["estimate"].sel({schema.COEF: coef}).to_numpy())
    if not known.any():
        raise SpecError(f"gosh: none of {len(known)} subsets identifies '{coef}'\n  take more subsets, or another term")
    table = table.isel(subset=known)
    effect, variation = reading.values(table["estimate"].sel({schema.COEF: coef}).to_numpy()), table[y].to_numpy()
    panel = only_axes(ax, height=3.4, width=style.COLUMN + 0.5)
    with_it = None if highlight is None else table[INCLUDED].sel({GROUP: highlight}).to_numpy()
    handles = _clouds(panel, effect, variation, with_it, highlight)
    panel.set_ylabel(_LABELS[y], fontsize=style.TEXT)
    style.effect_axis(panel, reading, "x")
    number = f"{table.sizes['subset']:,} {'sampled ' if table.attrs['sampled'] else ''}subsets"
    lines = words.label_below(panel, panel.get_xlabel(), [number])
    _histograms(panel, effect, variation, with_it, reading)
    if handles:
        marks = [mark for _, mark in handles]
        panel.legend(marks, [text for text, _ in handles], loc="lower left", fontsize=style.SMALL, framealpha=0.8)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _clouds(
    ax: "Axes", effect: FloatArray, variation: FloatArray, with_it: BoolArray | None, highlight: str | None
) -> list[tuple[str, Any]]:
    """Points, in two colours where subsets with a group are told apart from those without."""
    alpha = float(np.clip(150 / np.sqrt(len(effect)) / 10, 0.08, 0.8))
    look: dict[str, Any] = {"linestyle": "none", "marker": "o", "markersize": 2.2, "markeredgewidth": 0, "alpha": alpha}
    look |= {"rasterized": True, "zorder": 3}
    if with_it is None:
        ax.plot(effect, variation, color=style.BLUE, label="_subsets", **look)
        return []
    handles: list[tuple[str, Any]] = []
    for own, colour, words_ in ((~with_it, style.BLUE, "without"), (with_it, style.ORANGE, "with")):
        ax.plot(effect[own], variation[own], color=colour, label=f"_{words_}", **look)
        (mark,) = ax.plot([], [], "o", color=colour, markersize=4)
        handles.append((f"{words_} {highlight}", mark))
    return handles


def _histograms(
    ax: "Axes", effect: FloatArray, variation: FloatArray, with_it: BoolArray | None, reading: Reading
) -> None:
    """How often each estimate and each heterogeneity occur, in the same colours."""
    parts = [(np.ones(len(effect), bool), style.BLUE)] if with_it is None else []
    parts += [] if with_it is None else [(~with_it, style.BLUE), (with_it, style.ORANGE)]
    for values, box, sideways in ((effect, (0, 1.02, 1, _MARGIN), False), (variation, (1.02, 0, _MARGIN, 1), True)):
        log = reading.log and not sideways
        inset = ax.inset_axes(box, sharey=ax) if sideways else ax.inset_axes(box, sharex=ax)
        low, high = float(values.min()), float(values.max())
        bins = np.geomspace(low, high, _BINS) if log and high > low else np.linspace(low, high + (high == low), _BINS)
        for own, colour in parts:
            counts = np.histogram(values[own], bins)[0]
            bars = inset.barh if sideways else inset.bar
            bars(bins[:-1], counts, np.diff(bins), align="edge", color=colour, alpha=0.6)
        inset.axis("off")
