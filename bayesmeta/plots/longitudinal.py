"""Effects over time: curves where the model takes time as a number, points where it takes it as categories."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, listing
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.predictor import (
    Estimates,
    Predictor,
    chosen_outcome,
    distinct_data,
    draw_curve,
    draw_points,
    draw_studies,
    focus,
    mark_no_effect,
    named_trees,
    predictions,
)
from bayesmeta.tree.response import Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_APART = 0.08  # of the shortest time between categories, from one model's points to the next model's
_MOST_TICKS = 8


@dataclass(frozen=True, eq=False)
class TimeCourse:
    """What is drawn for one tree. held : a note on the other predictors."""

    time: Predictor
    effects: Estimates
    held: str


@keeps_old_names
@asks_in_one_way
def longitudinal(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    time: str,
    ax: "Axes | None" = None,
    *,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    studies: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Effect over time, by one model or by several side by side.

    Parameters
    ----------
    trees : DataTree or mapping of str to DataTree
        Results of `bm.fit` or `bm.sample`, one or up to six by name.
    time : str
        A column of the data that is a predictor of every model. Where a model treats it as categories, as in `C(time)`,
        each has a point with its interval, joined by lines; otherwise there is a curve with a band.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    at : mapping of str to value, optional
        Values of other predictors, by column. Those not named are held at their mean, or at their most frequent
        category; the label of the x axis says so.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis, correlations of Fisher's z, proportions of logits; "model" as they are modelled.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    studies : bool, default True
        Whether to draw, faintly, the effects that the studies report, those of one study joined.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for the intervals; see `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        Lines are labelled with the names of the trees. Points of several models are drawn slightly apart at each time.

    Raises
    ------
    SpecError
        If `time` is not a predictor, the models have different categories that are not numbers, `at` has an unknown
        name or category, the trees have different measures, or there are several outcomes and none is chosen.

    See Also
    --------
    bayesmeta.predict : The numbers that are drawn.
    bayesmeta.plots.dose_response : Effects against a dose.

    Notes
    -----
    The estimates are those of `bm.predict` with confidence intervals, for a posterior with credible ones. Categories
    that are all numbers, such as months, are placed at their values, others at equal distances in the order of the
    model.

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
    check_boolean(studies, "studies")
    by_name = named_trees(trees, "plots.longitudinal")
    courses = {name: course(tree, time, at, outcome, prob) for name, tree in by_name.items()}
    positions, labels = _categories(courses)
    first = next(iter(by_name.values()))
    reading = style.reading(first, scale)
    panel = only_axes(ax)
    shift = _shifts(courses, positions)
    handles = [
        (name, _draw(panel, each, shift.get(name), reading, i, name)) for i, (name, each) in enumerate(courses.items())
    ]
    beyond = ""
    if studies:
        sources = distinct_data(each.time for each in courses.values())
        handles.append(("studies", draw_studies(panel, sources, reading)))
        beyond = focus(panel, [each.effects for each in courses.values()], sources, reading)
    style.effect_axis(panel, reading, "y")
    mark_no_effect(panel, first, reading)
    panel.set_ylabel(words.y_label(reading.label), fontsize=style.TEXT)
    lines = words.legend_above(panel, handles) - 1
    if len(positions) and (labels or len(positions) <= _MOST_TICKS):
        lines += words.categories_axis(panel, positions, labels or [f"{position:g}" for position in positions])
    shape = "bands" if not shift else "bars" if len(shift) == len(courses) else "bands and bars"
    notes = [
        words.interval_note(by_name.values(), prob, shape),
        *words.by_name({n: c.held for n, c in courses.items()}),
    ]
    notes += [beyond, words.not_drawn([each.effects for each in courses.values()], reading)]
    lines += words.label_below(panel, time, notes) - 1
    if ax is None:
        words.make_room(panel, lines)
    return panel


def course(
    tree: xr.DataTree,
    time: str,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> TimeCourse:
    """The estimates of one tree; arguments as in `longitudinal`."""
    spec = spec_from_tree(tree)
    j = chosen_outcome(spec, outcome)
    predictor = Predictor.of(spec, time, j, "time")
    held, observed = predictor.held(at), predictor.observed()
    x = predictor.positions if predictor.categories else predictor.curve(observed.min(), observed.max())
    rows = predictor.rows(predictor.values() if predictor.categories else x, held)
    effects = predictions(tree, x, rows, j, "confidence", prob)
    return TimeCourse(predictor, effects.sorted(), predictor.held_text(held, at))


def _draw(ax: "Axes", each: TimeCourse, shift: float | None, reading: Reading, look: int, name: str) -> Any:
    """Points moved by `shift`; a curve where that is None."""
    if shift is None:
        return draw_curve(ax, each.effects, reading, look, name)
    return draw_points(ax, each.effects.shifted(shift), reading, look, name)


def _categories(courses: Mapping[str, TimeCourse]) -> tuple[FloatArray, tuple[str, ...]]:
    """Where categories are placed, and their names unless they are numbers."""
    categories = {name: each.time.categories for name, each in courses.items() if each.time.categories}
    if not categories:
        return np.zeros(0), ()
    positions = [courses[name].time.positions for name in categories]
    if all(courses[name].time.numeric for name in categories):
        return np.unique(np.concatenate(positions)), ()
    if len(categories) < len(courses) or len(set(categories.values())) > 1:
        lists = "; ".join(f"{name}: {listing(labels)}" for name, labels in categories.items())
        raise SpecError(f"time: the models do not have the same categories\n  {lists}")
    return positions[0], next(iter(categories.values()))


def _shifts(courses: Mapping[str, TimeCourse], positions: FloatArray) -> dict[str, float]:
    """How far the points of each model with categories are moved from their time."""
    names = [name for name, each in courses.items() if each.time.categories]
    step = _APART * float(np.diff(positions).min(initial=np.inf)) if len(positions) > 1 else _APART
    return {name: (i - (len(names) - 1) / 2) * step for i, name in enumerate(names)}
