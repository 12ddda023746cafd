"""Pictures of dose-response models made by `bm.dose_response`: curves with the studies, and residuals by dose."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_name, check_number, shown
from bayesmeta.dose_response.dose_curve import curve, dose_spec, reading_of, reference_doses
from bayesmeta.dose_response.dose_fit import dose_rows, goodness_of_fit
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.plots import style, words
from bayesmeta.plots.panels import only_axes
from bayesmeta.plots.predictor import POINTS, Estimates, draw_curve, drawable, mark_no_effect
from bayesmeta.tree.response import Reading, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import DrawnAxes

_SMALLEST, _LARGEST = 6.0, 70.0  # areas of the circles of studies, points squared
_SPAN = 0.75  # of the residuals, in each local line of their trend
_FEWEST = 6  # residuals that have a trend
_MARGIN = 0.05  # of the height of an axis


def draw_dose_curves(
    by_name: Mapping[str, xr.DataTree],
    ax: "Axes | None",
    dose: str | None,
    reference: float | None,
    at: Mapping[str, Any] | None,
    upto: float | None,
    scale: Scale | None,
    prob: float,
    studies: bool,
) -> "DrawnAxes":
    """Curves against one reference with their bands, the effects of studies as circles, and their doses as a rug."""
    check_boolean(studies, "studies")
    specs = {name: dose_spec(tree, "curve") for name, tree in by_name.items()}
    first = next(iter(specs.values()))
    name = _dose(specs, dose)
    if reference is not None:
        check_number(reference, "reference")
    against = reference_doses(first, None)[name] if reference is None else float(reference)
    x = _grid(specs, name, against, upto)
    reading = reading_of(first, scale)
    panel = only_axes(ax)
    asked = against if reference is not None or all(spec.analysis["center"] for spec in specs.values()) else None
    curves = {label: _estimates(tree, name, x, asked, at, prob) for label, tree in by_name.items()}
    handles = [(label, draw_curve(panel, each, reading, i, label)) for i, (label, each) in enumerate(curves.items())]
    notes = [words.interval_note(by_name.values(), prob), _held(first, name, at)]
    highest = max(float(spec.analysis["range"][name][1]) for spec in specs.values())
    notes.append(f"no data above {name} = {highest:.4g}" if x[-1] > highest else "")
    if studies:
        handles.append(
            ("studies", _draw_studies(panel, next(iter(by_name.values())), first, name, against, at, reading))
        )
        notes.append(_note_on_studies(first, name, against))
    style.effect_axis(panel, reading, "y")
    mark_no_effect(panel, next(iter(by_name.values())), reading)
    dose_of_one = "reference dose" if asked is None else f"{name}\u00a0=\u00a0{against:g}"
    panel.set_ylabel(words.y_label(f"{reading.label} against {dose_of_one}"), fontsize=style.TEXT)
    lines = words.legend_above(panel, handles) - 1
    lines += words.label_below(panel, name, [*notes, words.not_drawn(list(curves.values()), reading)]) - 1
    if ax is None:
        words.make_room(panel, lines)
    return panel


def _dose(specs: Mapping[str, Spec], dose: str | None) -> str:
    known = next(iter(specs.values())).analysis["doses"]
    if dose is not None:
        for spec in specs.values():
            check_name(dose, spec.analysis["doses"], "dose: the model has no dose", "doses")
    return str(known[0] if dose is None else dose)


def _grid(specs: Mapping[str, Spec], dose: str, against: float, upto: float | None) -> FloatArray:
    ends = np.array([spec.analysis["range"][dose] for spec in specs.values()])
    low, high = min(float(ends[:, 0].min()), against), max(float(ends[:, 1].max()), against)
    if upto is not None:
        high = check_number(upto, "upto")
        if not low < high:
            raise SpecError(f"upto is {shown(upto)}; the curves begin at {dose} = {low:.4g} and must end above it")
    return np.union1d(np.linspace(low, high, POINTS), [against] if against <= high else [])


def _estimates(
    tree: xr.DataTree, dose: str, x: FloatArray, against: float | None, at: Mapping[str, Any] | None, prob: float
) -> Estimates:
    """Effects at doses x; None takes those of models with `center=False` as they are."""
    spec = dose_spec(tree, "curve")
    other_doses = {name: np.full(len(x), value) for name, value in (at or {}).items() if name in spec.analysis["doses"]}
    others = {name: value for name, value in (at or {}).items() if name not in spec.analysis["doses"]}
    zero = None if against is None else {**{name: float(of[0]) for name, of in other_doses.items()}, dose: against}
    made = curve(tree, {**other_doses, dose: x}, zero, others=others, prob=prob, scale="model")
    return Estimates(x, *(made[name].to_numpy() for name in ("mean", "lower", "upper")))


def _held(spec: Spec, dose: str, at: Mapping[str, Any] | None) -> str:
    other = {name: value for name, value in reference_doses(spec, None).items() if name != dose} | dict(at or {})
    return "; ".join(
        f"{name} = {value:g}" if np.isreal(value) else f"{name} = {value}" for name, value in other.items()
    )


def _draw_studies(
    ax: "Axes",
    tree: xr.DataTree,
    spec: Spec,
    dose: str,
    against: float,
    at: Mapping[str, Any] | None,
    reading: Reading,
) -> Any:
    """Circles whose area grows with precision, at effects against the reference of the curve, and ticks at doses."""
    studies, doses, y, _, S = dose_rows(spec)
    x, own = doses[dose].to_numpy(float), np.array([spec.analysis["reference_of"][dose][name] for name in studies])
    moved = y + _estimates(tree, dose, own, against, at, 0.5).mean if (own != against).any() else y
    precision = np.concatenate([1 / np.sqrt(np.diag(S[name])) for name in dict.fromkeys(studies)])
    area = _SMALLEST + (_LARGEST - _SMALLEST) * precision / precision.max()
    ax.scatter(
        x, drawable(moved, reading), s=area, facecolors="none", edgecolors=style.MUTED, linewidths=0.6, zorder=4,
        label="_studies",
    )  # fmt: skip
    at_foot: dict[str, Any] = {"transform": ax.get_xaxis_transform(), "clip_on": False, "zorder": 1}
    rug = np.unique(np.concatenate([x, own]))
    ax.plot(rug, np.zeros(len(rug)), "|", color=style.MUTED, markeredgewidth=0.6, label="_doses", **at_foot)
    return ax.plot([], [], "o", mfc="none", mec=style.MUTED, mew=0.6, ms=4)[0]


def _note_on_studies(spec: Spec, dose: str, against: float) -> str:
    others = any(value != against for value in spec.analysis["reference_of"][dose].values())
    moved = "; those of studies with another reference are moved by the curve at it" if others else ""
    return f"circles grow with precision{moved}"


def dose_residuals(tree: xr.DataTree, ax: "Axes | None" = None, *, dose: str | None = None) -> "DrawnAxes":
    """Decorrelated residuals by dose: whether the curve describes the studies where they have data.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a specification of `bm.dose_response.specify`.
    ax : matplotlib Axes, optional
        Axes to draw into; by default new ones.
    dose : str, optional
        The exposure of the x axis, by default the first.

    Returns
    -------
    matplotlib Axes
        Residuals of `bm.dose_response.goodness_of_fit` as points, and their trend, local lines by tricube weights over
        three quarters of the points, where there are six or more.

    Raises
    ------
    SpecError
        For a tree of another model, or an unknown exposure.

    See Also
    --------
    bayesmeta.dose_response.goodness_of_fit : The residuals.

    References
    ----------
    Discacciati, Crippa and Orsini (2017), Res. Synth. Methods 8:149-160.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> cohorts = bm.datasets.load("alcohol")
    >>> columns = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
    >>> ax = bm.plots.dose_residuals(bm.fit(bm.dose_response.specify(cohorts, **columns)))
    >>> ax.get_ylabel()
    'Decorrelated residual'
    """
    spec = dose_spec(tree, "goodness_of_fit")
    name = _dose({"": spec}, dose)
    fit = goodness_of_fit(tree)
    x, residual = fit[name].to_numpy(), fit["residual"].to_numpy()
    panel = only_axes(ax)
    panel.axhline(0, color=style.MUTED, linewidth=0.6, zorder=1)
    panel.plot(x, residual, "o", mfc="none", mec=style.BLUE, mew=0.8, ms=4, zorder=3, label="_residuals")
    notes = [f"deviance {fit['deviance'].item():.1f} on {fit['df'].item():.0f} degrees of freedom"]
    if len(x) >= _FEWEST and len(np.unique(x)) > 2:
        at = np.linspace(x.min(), x.max(), 61)
        panel.plot(at, trend(x, residual, at), color=style.INK, linewidth=1.2, zorder=4, label="_trend")
        notes.append("line: their trend")
    lines = words.label_below(panel, name, notes)
    panel.set_ylabel("Decorrelated residual", fontsize=style.TEXT)
    if ax is None:
        words.make_room(panel, lines)
    return panel


def trend(x: FloatArray, y: FloatArray, at: FloatArray) -> FloatArray:
    """Local straight lines by tricube weights over the nearest three quarters of the points (Cleveland 1979)."""
    distance = np.abs(x - at[:, None])
    reach = np.sort(distance, axis=1)[:, min(int(np.ceil(_SPAN * len(x))), len(x)) - 1]
    w = np.clip(1 - (distance / (1.0000001 * np.maximum(reach, 1e-300)[:, None])) ** 3, 0, None) ** 3
    w = w / w.sum(1, keepdims=True)
    mean_x, mean_y = w @ x, w @ y
    spread = (w * (x - mean_x[:, None]) ** 2).sum(1)
    slope = (w * (x - mean_x[:, None]) * (y - mean_y[:, None])).sum(1) / np.where(spread > 0, spread, np.inf)
    return np.asarray(mean_y + slope * (at - mean_x))
