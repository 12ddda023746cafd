"""Dose-response curves: effects against a dose, relative to a reference dose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_number, shown
from bayesmeta.dose_response.dose_models import KIND
from bayesmeta.errors import DataError, SpecError, keeps_old_names
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style, words
from bayesmeta.plots.dose_curves import draw_dose_curves
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.predictor import (
    Estimates,
    Predictor,
    chosen_outcome,
    differences,
    distinct_data,
    draw_curve,
    draw_studies,
    focus,
    has_intercept,
    mark_no_effect,
    named_trees,
    predictions,
)
from bayesmeta.tree.response import DIFFERENCE, EFFECT, Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_NEAR = 0.1  # a lowest dose below this fraction of the highest counts as near zero


@dataclass(frozen=True, eq=False)
class DoseCurve:
    """What is drawn for one tree.

    dose : the predictor.  effects : at every dose of the curve.  reference : dose of no effect; None for that of the
    studies.
    comparable : whether the studies' own effects are relative to the same dose as the curve.
    held : a note on the other predictors.
    """

    dose: Predictor
    effects: Estimates
    reference: float | None
    comparable: bool
    held: str


@keeps_old_names
@asks_in_one_way
def dose_response(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    dose: str | None = None,
    ax: "Axes | None" = None,
    *,
    reference: float | None = None,
    at: Mapping[str, Any] | None = None,
    upto: float | None = None,
    outcome: str | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    studies: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes":
    """Effect against dose, one curve with its band for every model.

    Parameters
    ----------
    trees : DataTree or mapping of str to DataTree
        Results of `bm.fit` or `bm.sample`, one or up to six by name.
    dose : str, optional
        A column of the data that is a numeric predictor in every model; where all are models of `bm.dose_response`, by
        default their dose.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    reference : float, optional
        Dose at which there is no effect, in units of the column. The curve is then the difference between the means at
        a dose and at the reference. By default, a model without an intercept, whose data are effects against the
        studies' own reference categories, is drawn as it predicts them; for any other model the reference is 0. Models
        of `bm.dose_response` know the references of their studies: the lowest of these is the default.
    at : mapping of str to value, optional
        Values of other predictors, by column. Those not named are held at their mean, or at their most frequent
        category; the label of the x axis says so.
    upto : float, optional
        Highest dose of the curves; by default the highest in the data. Curves begin at the lowest dose in the data or
        at the reference, whichever is lower, and at 0 where the lowest dose is less than a tenth of the highest.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis, correlations of Fisher's z, proportions of logits; "model" as they are modelled.
    prob : float, default 0.95
        Probability of the bands, between 0 and 1.
    studies : bool, default True
        Whether to draw, faintly, the effects that the studies report; where these are not relative to the reference of
        the curves, their doses are drawn as ticks on the axis. Of models of `bm.dose_response` both: circles that grow
        with precision, in which effects against another reference are moved by the curve at it, and a rug of doses.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for the intervals; see `bm.estimates`.

    Returns
    -------
    matplotlib Axes
        Lines are labelled with the names of the trees.

    Raises
    ------
    SpecError
        If `dose` is not a predictor or is treated as categories, a model has no value at the reference, `upto` lies
        below the beginning of the curves, `at` has an unknown name or category, the trees have different measures, or
        there are several outcomes and none is chosen.

    See Also
    --------
    bayesmeta.dose_response : Models from cases by dose, whose curves this draws without further arguments.
    bayesmeta.plots.longitudinal : Effects over time.

    Notes
    -----
    A difference (x - x0) beta has the variance (x - x0) Var(beta) (x - x0)'; for a posterior, quantiles of its draws
    are used. At the reference the band has no width. The curve of a model without an intercept need not pass exactly
    through no effect at dose 0, where the basis of a spline is not zero: Figure 2 of Sera et al. (2019) is drawn that
    way.

    References
    ----------
    Sera, Armstrong, Blangiardo and Gasparrini (2019), Statistics in Medicine 38:5429-5444, section 4.4 and Figure 2.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = {"id": [1, 1, 2, 2, 3, 3], "dose": [5, 20, 10, 30, 2, 25], "var": [0.02, 0.03] * 3}
    >>> data["logrr"] = [0.1, 0.3, 0.1, 0.5, 0.0, 0.4]
    >>> spec = bm.specify("logrr ~ 0 + dose", data, S="var", random="0 + dose | id", measure="logrr")
    >>> ax = bm.plots.dose_response(bm.fit(spec, "ml"), "dose")
    >>> ax.get_ylabel()
    'Risk ratio against reference dose'
    """
    check_boolean(studies, "studies")
    by_name = named_trees(trees, "plots.dose_response")
    if all(spec_from_tree(tree).analysis.get("kind") == KIND for tree in by_name.values()):
        if outcome is not None:
            raise SpecError("outcome: models of bm.dose_response have one curve\n  leave outcome out")
        return draw_dose_curves(by_name, ax, dose, reference, at, upto, scale, prob, studies)
    if dose is None:
        raise SpecError("dose is missing: name the column whose curve is to be drawn")
    curves = {name: dose_curve(tree, dose, reference, at, upto, outcome, prob) for name, tree in by_name.items()}
    first = next(iter(by_name.values()))
    record = style.measure_of(first)
    reading = style.reading(first, scale, EFFECT if record.is_ratio or not record.has_response else DIFFERENCE)
    panel = only_axes(ax)
    handles = [
        (name, draw_curve(panel, each.effects, reading, i, name)) for i, (name, each) in enumerate(curves.items())
    ]
    beyond = _studies(panel, curves, reading, handles) if studies else ""
    style.effect_axis(panel, reading, "y")
    mark_no_effect(panel, first, reading)
    own_references = reference is None and None in {each.reference for each in curves.values()}
    against = "reference dose" if own_references else f"{dose} = {next(iter(curves.values())).reference:g}"
    panel.set_ylabel(words.y_label(f"{reading.label} against {against}"), fontsize=style.TEXT)
    lines = words.legend_above(panel, handles) - 1
    notes = [words.interval_note(by_name.values(), prob), *words.by_name({n: c.held for n, c in curves.items()})]
    notes += [*_extrapolated(curves), beyond, words.not_drawn([each.effects for each in curves.values()], reading)]
    lines += words.label_below(panel, dose, notes) - 1
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _studies(ax: "Axes", curves: Mapping[str, DoseCurve], reading: Reading, handles: list[tuple[str, Any]]) -> str:
    """Draw the studies' effects, or only their doses, and add them to the legend; returns a note on those outside."""
    if not all(each.comparable for each in curves.values()):
        handles.append(("doses of the studies", _rug(ax, curves)))
        return ""
    sources = distinct_data(each.dose for each in curves.values())
    handles.append(("studies", draw_studies(ax, sources, reading)))
    return focus(ax, [each.effects for each in curves.values()], sources, reading)


def dose_curve(
    tree: xr.DataTree,
    dose: str,
    reference: float | None = None,
    at: Mapping[str, Any] | None = None,
    upto: float | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> DoseCurve:
    """The curve of one tree; arguments as in `dose_response`."""
    spec = spec_from_tree(tree)
    j = chosen_outcome(spec, outcome)
    predictor = Predictor.of(spec, dose, j, "dose")
    if predictor.categories:
        raise SpecError(
            f"dose: the model treats {dose!r} as categories, which have no curve\n"
            "  bm.plots.longitudinal and bm.plots.bubble draw the estimate of each category"
        )
    absolute, held = has_intercept(spec, j), predictor.held(at)
    against = 0.0 if reference is None and absolute else reference
    x = _grid(predictor, held, against, upto)
    rows, note = predictor.rows(x, held), predictor.held_text(held, at)
    if against is None:
        return DoseCurve(predictor, predictions(tree, x, rows, j, "confidence", prob), None, True, note)
    x0 = _design(predictor, held, against)
    if x0 is None:
        raise SpecError(
            f"reference: the model has no value at {dose} = {against:g}: {spec.terms.fixed}\n"
            f"  give another reference, such as the lowest dose in the data: {_lowest(predictor):.6g}"
        )
    effects = differences(tree, x, rows, predictor.rows([against], held), j, prob)
    return DoseCurve(predictor, effects, float(against), not absolute and not x0.any(), note)


def _grid(dose: Predictor, held: Mapping[str, Any], reference: float | None, upto: float | None) -> FloatArray:
    low, high = _lowest(dose), float(dose.observed().max())
    if upto is not None:
        check_number(upto, "upto")
    if reference is not None:
        check_number(reference, "reference")
        low, high = min(low, float(reference)), max(high, float(reference))
    elif 0 < low < _NEAR * high and _design(dose, held, 0.0) is not None:
        low = 0.0
    if upto is not None and not low < upto < np.inf:
        raise SpecError(f"upto is {shown(upto)}; the curves begin at {dose.column} = {low:.4g} and must end above it")
    return dose.curve(low, high if upto is None else float(upto))


def _lowest(dose: Predictor) -> float:
    return float(dose.observed().min())


def _design(dose: Predictor, held: Mapping[str, Any], value: float) -> FloatArray | None:
    """(P,) at a dose; None where the model has no value there, such as the logarithm of zero."""
    try:
        return np.asarray(dose.spec.design.fixed(dose.rows([value], held))[0, dose.outcome])
    except DataError:
        return None


def _rug(ax: "Axes", curves: Mapping[str, DoseCurve]) -> Any:
    doses = np.unique(np.concatenate([each.dose.observed() for each in curves.values()]))
    at_foot: dict[str, Any] = {
        "transform": ax.get_xaxis_transform(),
        "clip_on": False,
        "zorder": 1,
        "markeredgewidth": 0.6,
    }
    return ax.plot(doses, np.zeros(len(doses)), "|", color=style.MUTED, label="_doses", **at_foot)[0]


def _extrapolated(curves: Mapping[str, DoseCurve]) -> list[str]:
    """Notes on curves that extend beyond the doses of their data."""
    highest = {name: float(each.dose.observed().max()) for name, each in curves.items()}
    notes = {
        name: f"no data above {curves[name].dose.column} = {dose:.4g}"
        for name, dose in highest.items()
        if curves[name].effects.x[-1] > dose
    }
    return words.by_name(notes)
