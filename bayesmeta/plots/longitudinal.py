"""Estimates over time: curves where time is a number of the model, points where it has categories."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.plots import curves, estimates, style, words
from bayesmeta.plots.grid import Predictor, chosen_outcome
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_APART = 0.08  # of the shortest time between categories, from one model's points to the next one's
_MOST_TICKS = 8


@dataclass(frozen=True, eq=False)
class Course:
    """What is drawn of one tree. held : words on the other predictors."""

    time: Predictor
    found: estimates.Estimates
    held: str


def longitudinal(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    time: str,
    ax: "Axes | None" = None,
    *,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    studies: bool = True,
) -> "Axes":
    """Effect over time, by one model or by several beside each other.

    Parameters
    ----------
    trees : of `bm.fit` or `bm.sample`, one or up to six by name.
    time : column of the data, a predictor of every model. Where a model takes it as categories, as in `C(time)`, each
        has a point with its interval, joined by lines; else there is a curve with a band.
    ax : matplotlib axes to draw into; by default new ones.
    at : values of other predictors, by column. Those not named are held at their mean, categories at the most frequent
        one; the label of the x axis says so.
    outcome : of a model with several, the one to be drawn.
    ratio : whether effects are drawn as ratios on a logarithmic axis; by default, where the measure is one of ratios.
    prob : probability of the intervals, between 0 and 1.
    studies : whether the effects that the studies report are drawn, faintly, those of one study joined.

    Returns
    -------
    Axes
        Lines are labelled by the names of the trees. Points of several models stand a little apart at each time.

    Raises
    ------
    SpecError
        For a time that is no predictor, categories without numbers that differ between models, an unknown name or
        category in `at`, trees of different measures, and several outcomes of which none is chosen.

    Notes
    -----
    Drawn is `bm.predict` with confidence intervals, of a posterior with credible ones. Categories that are all numbers,
    such as months, stand where these are; others at equal distances in the order of the model.

    References
    ----------
    Sera, Armstrong, Blangiardo and Gasparrini (2019), Statistics in Medicine 38:5429-5444, section 4.5 and Figure 3.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = bm.datasets.load("gliomas")
    >>> model = {"data": data, "S": "logORvar", "random": "1 | study", "measure": "logor"}
    >>> times = bm.fit(bm.specify("logOR ~ 0 + C(time)", **model), "ml")
    >>> line = bm.fit(bm.specify("logOR ~ time", **model), "ml")
    >>> ax = bm.plots.longitudinal({"times": times, "linear": line}, "time")
    >>> [text.get_text() for text in ax.get_legend().get_texts()]
    ['times', 'linear', 'studies']
    """
    given = estimates.named(trees, "plots.longitudinal")
    shown = {name: course(tree, time, at, outcome, prob) for name, tree in given.items()}
    positions, labels = _categories(shown)
    first = next(iter(given.values()))
    as_ratio = style.is_ratio(first, ratio)
    own = ax is None
    if ax is None:
        ax = style.new_axes()[1][0, 0]
    shift = _shifts(shown, positions)
    handles = [
        (name, _draw(ax, each, shift.get(name), as_ratio, i, name)) for i, (name, each) in enumerate(shown.items())
    ]
    beyond = ""
    if studies:
        sources = estimates.with_own_data(each.time for each in shown.values())
        handles.append(("studies", curves.studies(ax, sources, as_ratio)))
        beyond = curves.focus(ax, [each.found for each in shown.values()], sources, as_ratio)
    style.effect_axis(ax, first, as_ratio, "y")
    curves.no_effect(ax, first, as_ratio)
    ax.set_ylabel(words.upright(style.effect_label(first, as_ratio)), fontsize=style.TEXT)
    lines = words.legend_above(ax, handles) - 1
    if len(positions) and (labels or len(positions) <= _MOST_TICKS):
        lines += words.categories_axis(ax, positions, labels or [f"{at:g}" for at in positions])
    what = "bands" if not shift else "bars" if len(shift) == len(shown) else "bands and bars"
    notes = [words.interval_words(given.values(), prob, what), *words.by_name({n: c.held for n, c in shown.items()})]
    lines += (
        words.label_below(
            ax, time, [*notes, beyond, words.not_drawn([each.found for each in shown.values()], as_ratio)]
        )
        - 1
    )
    if own:
        words.make_room(ax, lines)
    return ax


def course(
    tree: xr.DataTree,
    time: str,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> Course:
    """The estimates of one tree; arguments as in `longitudinal`."""
    spec = spec_from_tree(tree)
    place = chosen_outcome(spec, outcome)
    found = Predictor.of(spec, time, place, "time")
    held, observed = found.held(at), found.observed()
    x = found.positions if found.categories else found.curve(observed.min(), observed.max())
    rows = found.rows(found.values() if found.categories else x, held)
    drawn = estimates.predicted(tree, x, rows, place, "confidence", prob)
    return Course(found, drawn.sorted(), found.words(held, at))


def _draw(ax: "Axes", shown: Course, shift: float | None, ratio: bool, look: int, name: str) -> Any:
    """Points moved by `shift`; a curve where that is None."""
    if shift is None:
        return curves.curve(ax, shown.found, ratio, look, name)
    return curves.intervals(ax, shown.found.moved(shift), ratio, look, name)


def _categories(shown: Mapping[str, Course]) -> tuple[FloatArray, tuple[str, ...]]:
    """Where categories stand, and their names unless they are numbers."""
    named = {name: each.time.categories for name, each in shown.items() if each.time.categories}
    if not named:
        return np.zeros(0), ()
    places = [shown[name].time.positions for name in named]
    if all(shown[name].time.numeric for name in named):
        return np.unique(np.concatenate(places)), ()
    if len(named) < len(shown) or len(set(named.values())) > 1:
        told = "; ".join(f"{name}: {listing(found)}" for name, found in named.items())
        raise SpecError(f"time: the models do not have the same categories\n  {told}")
    return places[0], next(iter(named.values()))


def _shifts(shown: Mapping[str, Course], positions: FloatArray) -> dict[str, float]:
    """How far the points of each model with categories stand from their time."""
    names = [name for name, each in shown.items() if each.time.categories]
    step = _APART * float(np.diff(positions).min(initial=np.inf)) if len(positions) > 1 else _APART
    return {name: (i - (len(names) - 1) / 2) * step for i, name in enumerate(names)}
