"""Curves of the effect against a dose, relative to a reference dose."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.errors import DataError, SpecError
from bayesmeta.plots import curves, estimates, style, words
from bayesmeta.plots.grid import Predictor, chosen_outcome, has_intercept
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_NEAR = 0.1  # a lowest dose below this fraction of the highest lies near zero


@dataclass(frozen=True, eq=False)
class Response:
    """What is drawn of one tree.

    dose : the predictor.  found : the curve.  reference : dose of no effect; None, that of the studies.
    comparable : whether the studies' own effects are relative to the same dose as the curve.
    held : words on the other predictors.
    """

    dose: Predictor
    found: estimates.Estimates
    reference: float | None
    comparable: bool
    held: str


def dose_response(
    trees: xr.DataTree | Mapping[str, xr.DataTree],
    dose: str,
    ax: "Axes | None" = None,
    *,
    reference: float | None = None,
    at: Mapping[str, Any] | None = None,
    upto: float | None = None,
    outcome: str | None = None,
    ratio: bool | None = None,
    prob: float = 0.95,
    studies: bool = True,
) -> "Axes":
    """Effect against dose, one curve with its band for every model.

    Parameters
    ----------
    trees : of `bm.fit` or `bm.sample`, one or up to six by name.
    dose : column of the data, a predictor of numbers in every model.
    ax : matplotlib axes to draw into; by default new ones.
    reference : dose at which there is no effect, in units of the column. The curve is then the difference of the
        means at a dose and at the reference. By default a model without intercept, of which effects against the
        reference categories of the studies are the data, is drawn as it predicts them, and of any other the
        reference is 0.
    at : values of other predictors, by column. Those not named are held at their mean, categories at the most frequent
        one; the label of the x axis says so.
    upto : highest dose of the curves; by default the highest of the data. Curves begin at the lowest dose of the data
        or at the reference, whichever is lower, and at 0 where the lowest dose is less than a tenth of the highest.
    outcome : of a model with several, the one to be drawn.
    ratio : whether effects are drawn as ratios on a logarithmic axis; by default, where the measure is one of ratios.
    prob : probability of the bands, between 0 and 1.
    studies : whether the effects that the studies report are drawn, faintly; as ticks of their doses on the axis where
        these effects are not relative to the reference of the curves.

    Returns
    -------
    Axes
        Lines are labelled by the names of the trees.

    Raises
    ------
    SpecError
        For a dose that is no predictor or is taken as categories, a reference at which a model has no value, an `upto`
        below the beginning of the curves, an unknown name or category in `at`, trees of different
        measures, and several outcomes of which none is chosen.

    Notes
    -----
    A difference (x - x0) beta has the variance (x - x0) Var(beta) (x - x0)', of a posterior the quantiles of its draws
    are taken: at the reference the band has no width. A curve that a model without intercept predicts need not pass
    exactly through no effect at dose 0, where the basis of a spline is not zero: Figure 2 of Sera et al. (2019) is
    drawn so.

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
    given = estimates.named(trees, "plots.dose_response")
    shown = {name: response(tree, dose, reference, at, upto, outcome, prob) for name, tree in given.items()}
    first = next(iter(given.values()))
    as_ratio = style.is_ratio(first, ratio)
    own = ax is None
    if ax is None:
        ax = style.new_axes()[1][0, 0]
    handles = [(name, curves.curve(ax, s.found, as_ratio, i, name)) for i, (name, s) in enumerate(shown.items())]
    beyond = ""
    if studies and all(s.comparable for s in shown.values()):
        sources = estimates.with_own_data(s.dose for s in shown.values())
        handles.append(("studies", curves.studies(ax, sources, as_ratio)))
        beyond = curves.focus(ax, [s.found for s in shown.values()], sources, as_ratio)
    elif studies:
        handles.append(("doses of the studies", _rug(ax, shown)))
    style.effect_axis(ax, first, as_ratio, "y")
    curves.no_effect(ax, first, as_ratio)
    against = "reference dose" if reference is None and None in {s.reference for s in shown.values()} else None
    against = against or f"{dose} = {next(iter(shown.values())).reference:g}"
    ax.set_ylabel(words.upright(f"{style.effect_label(first, as_ratio)} against {against}"), fontsize=style.TEXT)
    lines = words.legend_above(ax, handles) - 1
    notes = [words.interval_words(given.values(), prob), *words.by_name({n: s.held for n, s in shown.items()})]
    notes += [*_extrapolated(shown), beyond, words.not_drawn([s.found for s in shown.values()], as_ratio)]
    lines += words.label_below(ax, dose, notes) - 1
    if own:
        words.make_room(ax, lines)
    return ax


def response(
    tree: xr.DataTree,
    dose: str,
    reference: float | None = None,
    at: Mapping[str, Any] | None = None,
    upto: float | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> Response:
    """The curve of one tree; arguments as in `dose_response`."""
    spec = spec_from_tree(tree)
    place = chosen_outcome(spec, outcome)
    found = Predictor.of(spec, dose, place, "dose")
    if found.categories:
        raise SpecError(
            f"dose: the model takes {dose!r} as categories, which have no curve\n"
            "  bm.plots.longitudinal and bm.plots.bubble draw the estimate of each category"
        )
    absolute, held = has_intercept(spec, place), found.held(at)
    against = 0.0 if reference is None and absolute else reference
    x = _grid(found, held, against, upto)
    rows, told = found.rows(x, held), found.words(held, at)
    if against is None:
        return Response(found, estimates.predicted(tree, x, rows, place, "confidence", prob), None, True, told)
    x0 = _design(found, held, against)
    if x0 is None:
        raise SpecError(
            f"reference: the model has no value at {dose} = {against:g}: {spec.terms.fixed}\n"
            f"  give another reference, such as the lowest dose of the data: {_lowest(found):.6g}"
        )
    difference = estimates.contrast(tree, x, rows, found.rows([against], held), place, prob)
    return Response(found, difference, float(against), not absolute and not x0.any(), told)


def _grid(dose: Predictor, held: Mapping[str, Any], reference: float | None, upto: float | None) -> FloatArray:
    low, high = _lowest(dose), float(dose.observed().max())
    if reference is not None:
        if not np.isfinite(reference):
            raise SpecError(f"reference is {reference!r}; give a dose, in units of column {dose.column!r}")
        low, high = min(low, float(reference)), max(high, float(reference))
    elif 0 < low < _NEAR * high and _design(dose, held, 0.0) is not None:
        low = 0.0
    if upto is not None and not low < upto < np.inf:
        raise SpecError(f"upto is {upto!r}; the curves begin at {dose.column} = {low:.4g} and must end above")
    return dose.curve(low, high if upto is None else float(upto))


def _lowest(dose: Predictor) -> float:
    return float(dose.observed().min())


def _design(dose: Predictor, held: Mapping[str, Any], value: float) -> FloatArray | None:
    """(P,) at a dose; None where the model has no value there, as the logarithm of zero."""
    try:
        return np.asarray(dose.spec.design.fixed(dose.rows([value], held))[0, dose.outcome])
    except DataError:
        return None


def _rug(ax: "Axes", shown: Mapping[str, Response]) -> Any:
    doses = np.unique(np.concatenate([s.dose.observed() for s in shown.values()]))
    at_foot: dict[str, Any] = {
        "transform": ax.get_xaxis_transform(),
        "clip_on": False,
        "zorder": 1,
        "markeredgewidth": 0.6,
    }
    return ax.plot(doses, np.zeros(len(doses)), "|", color=style.MUTED, label="_doses", **at_foot)[0]


def _extrapolated(shown: Mapping[str, Response]) -> list[str]:
    """Words on curves that leave the doses of their data."""
    highest = {name: float(s.dose.observed().max()) for name, s in shown.items()}
    told = {
        n: f"no data above {shown[n].dose.column} = {h:.4g}" for n, h in highest.items() if shown[n].found.x[-1] > h
    }
    return words.by_name(told)
