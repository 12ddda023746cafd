"""L'Abbe plots: the proportion with an event in one arm against that in the other, study by study."""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_names, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.inference.weights import covariances, marginal_variances
from bayesmeta.io.columns import find_column
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style, words
from bayesmeta.plots.forest.texts import row_labels
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.point_labels import Labelled, name_points, short, which
from bayesmeta.plots.predictor import chosen_outcome
from bayesmeta.tree.response import Scale, on_response
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_LARGEST = 14.0  # points, diameter of the heaviest study
_CURVE = np.unique(
    np.r_[np.linspace(0.001, 0.999, 400), np.geomspace(1e-6, 0.5, 200), 1 - np.geomspace(1e-6, 0.5, 200)]
)
_AXES = {"logor": "logit", "logrr": "log"}  # on which lines of one effect are straight
_SMALLEST = 1e-4  # risk that is drawn for none on such axes


def _of_odds(risk: FloatArray, effect: float) -> FloatArray:
    return risk * np.exp(effect) / (1 - risk + risk * np.exp(effect))


# the risk in the first arm, by that in the second and the effect
CURVES: dict[str, Callable[[FloatArray, float], FloatArray]] = {
    "logor": _of_odds,
    "logrr": lambda risk, effect: risk * np.exp(effect),
    "rd": lambda risk, effect: risk + effect,
}


def labbe(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    outcome: str | None = None,
    events: Sequence[str] | None = None,
    total: Sequence[str] | None = None,
    no_events: Sequence[str] | None = None,
    scale: Scale | None = None,
    label: Labelled = None,
    labels: ByRow | None = None,
) -> "DrawnAxes":
    """The risk in the first arm against that in the second, with the line of the pooled effect.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for log odds ratios, log risk ratios or risk differences.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    outcome : str, optional
        The outcome to draw; required for a model with several.
    events, total, no_events : pair of str, optional
        Columns of the data with the numbers of events and of persons, or of persons without event, first the arm that
        is compared with the other. By default those from which `bm.effects` computed the outcome.
    scale : {"model", "response"}, optional
        "response", the default, draws risks; "model" the same on logarithmic axes for risk ratios, and on those of log
        odds for odds ratios, where lines of one effect are straight and rare events lie apart.
    label : {"outliers", "all"}, optional
        Which studies are named: those whose effects lie outside the interval in which the model expects 95% of them, or
        all. By default none.
    labels : str or sequence, optional
        Names of the rows, as for `bm.plots.forest`.

    Returns
    -------
    matplotlib Axes
        Circles grow with the weight of a study. Dotted: no effect; the curve: the pooled effect. Without a curve for a
        model with predictors.

    Raises
    ------
    SpecError
        When the measure is another one, the columns are not known, `total` and `no_events` are both named, or the model
        has several outcomes and none is chosen.
    DataError
        When the columns hold no numbers.

    References
    ----------
    L'Abbe, Detsky and O'Rourke (1987), Ann. Intern. Med. 107:224-233.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor")
    >>> ax = bm.plots.labbe(bm.fit(spec), events=["tpos", "cpos"], no_events=["tneg", "cneg"])
    >>> ax.get_ylabel()
    'Risk in the first arm'
    """
    spec = spec_from_tree(tree)
    record = style.measure_of(tree)
    if record.name not in CURVES:
        raise SpecError(f"labbe draws risks, of which measure {record.name!r} has none\n  it is for: {listing(CURVES)}")
    j = chosen_outcome(spec, outcome)
    own = np.flatnonzero(spec.outcome_index == j)
    first, second = _risks(spec, own, j, events, total, no_events)
    transformed = scale is not None and not on_response(tree, scale) and record.name in _AXES
    first, second, note = _inside(first, second) if transformed else (first, second, "")
    panel = only_axes(ax, height=3.3)
    if transformed:
        panel.set_xscale(_AXES[record.name])
        panel.set_yscale(_AXES[record.name])
    panel.plot(_CURVE, _CURVE, color=style.MUTED, linewidth=0.8, linestyle=":", label="no effect", zorder=1)
    variance = marginal_variances(spec, covariances(tree, spec))[own]
    fitted = style.fitted_means(tree)[spec.row[own], j]
    same = bool(np.ptp(spec.X[own], axis=0).max() == 0 and np.ptp(spec.offset[own]) == 0)
    if same:
        curve = CURVES[record.name](_CURVE, float(fitted[0]))
        panel.plot(_CURVE, curve, color=style.BLUE, linewidth=1.2, label="pooled effect", zorder=2)
    size = np.maximum(3.0, _LARGEST * np.sqrt(variance.min() / variance))
    look: dict[str, Any] = {"facecolor": style.BLUE, "alpha": 0.55, "edgecolor": style.PAPER, "linewidth": 0.6}
    panel.scatter(second, first, s=size**2, label="_studies", zorder=3, **look)
    _limits(panel, first, second, transformed)
    arms = spec.arms or ("the first arm", "the second arm")
    handles = [(str(line.get_label()), line) for line in panel.lines]
    lines = words.label_below(panel, f"Risk in {_arm(arms[1])}", [note, "" if same else "no curve: predictors"])
    panel.set_ylabel(f"Risk in {_arm(arms[0])}", fontsize=style.TEXT)
    lines += words.legend_above(panel, handles)
    if ax is None:
        words.make_room(panel, lines)
    far = np.abs(spec.y[own] - fitted) > 1.96 * np.sqrt(variance)
    names = [row_labels(spec, labels).texts[row] for row in spec.row[own]]
    name_points(panel, second, first, short(names), which(label, far), size / 2)
    return panel


def _arm(name: str) -> str:
    return name if name.startswith("the ") else f"arm “{name}”"


def _limits(ax: "Axes", first: FloatArray, second: FloatArray, transformed: bool) -> None:
    """Equal limits on both axes, with room for the largest circles."""
    low, high = float(min(first.min(), second.min())), float(max(first.max(), second.max()))
    wider = 0.6 * low, min(1.6 * high, 1 - (1 - high) / 1.6)
    ends = wider if transformed else (-0.03 * high, min(1.03, 1.12 * high))
    ax.set_xlim(*ends)
    ax.set_ylim(*ends)


def _inside(first: FloatArray, second: FloatArray) -> tuple[FloatArray, FloatArray, str]:
    """Risks that have a place on transformed axes: none and all are drawn at their ends, as a note says."""
    ends = sum(int(((risk <= 0) | (risk >= 1)).sum()) for risk in (first, second))
    known = np.concatenate([first, second])
    low = min(_SMALLEST, float(known[known > 0].min(initial=1.0)) / 2)
    note = f"{ends} risks of 0 or 1 are drawn at {low:.2g} from these" if ends else ""
    return np.clip(first, low, 1 - low), np.clip(second, low, 1 - low), note


def _risks(
    spec: Spec,
    own: np.ndarray,
    outcome: int,
    events: Sequence[str] | None,
    total: Sequence[str] | None,
    no_events: Sequence[str] | None,
) -> tuple[FloatArray, FloatArray]:
    """Proportions in both arms of every observation."""
    if total is not None and no_events is not None:
        raise SpecError("labbe: total= and no_events= are two ways to say the same; pass one of them")
    name = spec.outcomes[outcome]
    behind: dict[str, Sequence[str]] = dict(spec.arm_columns.get(name, {}))
    known = behind if total is None and "total" not in behind else {}
    others = "no_events" if no_events is not None or "no_events" in known else "total"
    pairs = []
    for role, columns in (("events", events), (others, no_events if others == "no_events" else total)):
        named = check_names(columns, role) if columns is not None else list(behind.get(role, ()))
        if not named:
            what = "events" if role == "events" else "persons"
            raise SpecError(
                f"labbe: the tree does not say which columns hold the {what} of {name}\n"
                f'  give them, first arm first: {role}=["...", "..."]'
            )
        if len(named) != 2:
            raise SpecError(f"{role} names {len(named)} columns; it must be two, of the first arm and the second")
        pairs.append([_numbers(spec, column, role)[spec.row[own]] for column in named])
    with np.errstate(divide="ignore", invalid="ignore"):
        persons = [a + n if others == "no_events" else n for a, n in zip(*pairs, strict=True)]
        first, second = (a / n for a, n in zip(pairs[0], persons, strict=True))
    _check_risks(spec, own, np.isfinite(first) & np.isfinite(second), first, second)
    return first, second


def _numbers(spec: Spec, column: str, where: str) -> FloatArray:
    values = find_column(spec.data, column, where)
    try:
        return values.to_numpy(dtype=float)
    except (TypeError, ValueError):
        raise DataError(f"{where}: column {column!r} holds no numbers\n  name the columns of the counts") from None


def _check_risks(spec: Spec, own: np.ndarray, known: BoolArray, first: FloatArray, second: FloatArray) -> None:
    wrong = ~known | (first < 0) | (first > 1) | (second < 0) | (second > 1)
    if wrong.any():
        at = int(np.flatnonzero(wrong)[0])
        name = row_labels(spec, None).texts[spec.row[own[at]]]
        raise DataError(
            f"labbe: risks of {name} are {first[at]:.6g} and {second[at]:.6g}; they must lie between 0 and 1\n"
            "  events and total are numbers of persons, first arm first"
        )
