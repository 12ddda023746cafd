"""Predicted random effects of groups, sorted, with their intervals."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta import schema
from bayesmeta._typing import AnyArray, FloatArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.inference.predict import blup, ranef
from bayesmeta.inference.prediction_rows import one_of
from bayesmeta.model.spec import Level, Spec
from bayesmeta.plots import style
from bayesmeta.plots.panels import (
    LEAST_LETTERS,
    ROW,
    TALLEST,
    Rows,
    draw_rows,
    fitted,
    inches_high,
    panel_axes,
    percent,
    plain,
    probability,
    row_labels,
)
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_SAME = 1e-9  # of the largest value: predictions of a group that differ by less are one
_MOST_LABELLED = int(TALLEST / (1.6 * LEAST_LETTERS / 72))  # rows of a figure that is a page high


@dataclass(frozen=True)
class Caterpillar:
    """Predictions of the groups of a level, smallest first, for one panel.

    term : the random effect, or the outcome.
    """

    level: str
    term: str
    labels: tuple[str, ...]
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


def caterpillar(
    tree: xr.DataTree,
    level: str | None = None,
    effect: str | None = None,
    axes: Any = None,
    *,
    kind: Literal["ranef", "blup"] = "ranef",
    prob: float = 0.95,
    ratio: bool | None = None,
) -> "AnyArray":
    """Predicted random effects of the groups, sorted, with intervals: which groups lie apart, and how surely.

    Parameters
    ----------
    tree : results tree of `bm.fit` or `bm.sample`.
    level : name of a level; by default every level that has random effects.
    effect : label of a random effect, or of kind "blup" an outcome; by default all.
    axes : as many matplotlib axes as there are panels; by default new ones.
    kind : "ranef", the random effects, about 0; "blup", the true effects of the groups, that is the fixed part with
        the random effects of the level and of those outside it (`bm.blup`).
    prob : probability of the intervals, between 0 and 1.
    ratio : whether effects of kind "blup" are drawn back-transformed on a logarithmic axis; by default where the
        measure is a log ratio. Random effects are drawn in the unit of the model.

    Returns
    -------
    array of Axes
        One for each level and effect. Each sorts its own groups, the largest on top; the labels of more groups than
        can be read are left out, and the axis says how many these are.

    Raises
    ------
    SpecError
        For a level or effect that the model does not have, or has no random effects; for kind "blup" where a
        predictor varies within a group, which then has no single true effect.

    Notes
    -----
    The numbers are those of `bm.ranef` and `bm.blup`. Predictions are drawn towards the mean, the more the less is
    known of a group, so that intervals may overlap although the groups differ.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> axes = bm.plots.caterpillar(bm.fit(spec), level="district")
    >>> [label.get_text() for label in axes[0].get_yticklabels()][-2:]
    ['27', '71']
    """
    panels = group_effects(tree, level, effect, kind, prob)
    most = max(len(panel.labels) for panel in panels)
    height = 0.8 + (ROW * (most + 1) if most <= _MOST_LABELLED else 4.0)
    titles = [f"{panel.level}: {panel.term}" for panel in panels]
    as_ratio = kind == "blup" and style.is_ratio(tree, ratio)
    for ax, panel in zip(found := panel_axes(axes, titles, min(height, TALLEST)), panels, strict=True):
        _draw(ax, panel, (style.measure_of(tree).null or 0.0) if kind == "blup" else 0.0, as_ratio)
        ax.set_title(fitted(f"{panel.level}: {panel.term}", 34), fontsize=style.TEXT)
        if kind == "blup":
            style.effect_axis(ax, tree, as_ratio)
        what = "Random effect" if kind == "ranef" else ax.get_xlabel()
        ax.set_xlabel(f"{what}, {percent(prob)} interval{_all_zero(panel)}", fontsize=style.TEXT)
    return found


def group_effects(
    tree: xr.DataTree, level: str | None = None, effect: str | None = None, kind: str = "ranef", prob: float = 0.95
) -> list[Caterpillar]:
    """What `caterpillar` draws, panel by panel; its arguments."""
    one_of("kind", kind, ("ranef", "blup"))
    probability(prob)
    spec = spec_from_tree(tree)
    levels = _levels(spec, level)
    found = _ranef(tree, levels, prob) if kind == "ranef" else _blup(tree, spec, levels, prob)
    panels = list(found)
    if effect is None:
        return panels
    known = list(dict.fromkeys(panel.term for panel in panels))
    if effect not in known:
        raise SpecError(f"no effect {effect!r}{did_you_mean(effect, known)}\n  effects: {listing(known, 20)}")
    return [panel for panel in panels if panel.term == effect]


def _levels(spec: Spec, wanted: str | None) -> list[Level]:
    known = [level.name for level in spec.levels]
    if wanted is not None and wanted not in known:
        raise SpecError(f"no level {wanted!r}{did_you_mean(wanted, known)}\n  levels, outer to inner: {listing(known)}")
    chosen = [level for level in spec.levels if level.dim and wanted in (None, level.name)]
    if not chosen:
        which = f"level {wanted!r} has" if wanted else "this model has"
        raise SpecError(f"{which} no random effects to draw\n  bm.specify(random=...) makes a model that has")
    return chosen


def _ranef(tree: xr.DataTree, levels: list[Level], prob: float) -> Iterator[Caterpillar]:
    found = ranef(tree, prob)
    for level in levels:
        table = found[level.name].to_dataset()
        for effect in level.effects:
            own = table.sel({schema.effect(level.name): effect})
            values = (own[name].to_numpy() for name in ("mean", "lower", "upper"))
            yield _sorted(level.name, effect, own[schema.group(level.name)].values.tolist(), *values)


def _blup(tree: xr.DataTree, spec: Spec, levels: list[Level], prob: float) -> Iterator[Caterpillar]:
    for level in levels:
        table = blup(tree, level.name, prob=prob)
        groups = spec.labels[schema.group(level.name)].tolist()
        of_row = np.full(len(spec.kept), -1)
        of_row[spec.row] = level.index
        first = np.array([np.flatnonzero(of_row == g)[0] for g in range(level.n_groups)], dtype=int)
        for outcome in spec.outcomes:
            own = table.sel(outcome=outcome)
            values = [own[name].to_numpy() for name in ("mean", "lower", "upper")]
            apart = np.abs(values[0] - values[0][first[of_row]])[of_row >= 0] > _SAME * np.nanmax(np.abs(values[0]))
            if apart.any():
                name = groups[of_row[of_row >= 0][apart][0]]
                raise SpecError(
                    f"rows of group {name!r} of level {level.name!r} differ in a predictor, so that it has no single "
                    "true effect\n  kind='ranef' draws its random effects; bm.blup gives the effects of all rows"
                )
            yield _sorted(level.name, outcome, groups, *(each[first] for each in values))


def _sorted(level: str, term: str, labels: list[Any], *values: FloatArray) -> Caterpillar:
    order = np.argsort(values[0], kind="stable")
    return Caterpillar(level, term, tuple(str(labels[i]) for i in order), *(each[order] for each in values))


def _draw(ax: "Axes", panel: Caterpillar, null: float, as_ratio: bool) -> None:
    n = len(panel.labels)
    place = np.arange(n, dtype=float)
    if as_ratio:
        ax.set_xscale("log")
    ax.axvline(float(style.shown(null, as_ratio)), color=style.MUTED, linewidth=0.8, linestyle="--", zorder=0)
    mean, lower, upper = (style.shown(values, as_ratio) for values in (panel.mean, panel.lower, panel.upper))
    draw_rows(ax, Rows(place, mean, lower, upper), dense=n > _MOST_LABELLED)
    labels = [fitted(label) for label in panel.labels]
    row_labels(ax, place, labels, plain(f"Groups of {panel.level}"), inches_high(ax))


def _all_zero(panel: Caterpillar) -> str:
    return "" if np.any([panel.mean, panel.lower, panel.upper]) else "\nall are 0, as their SD is 0"
