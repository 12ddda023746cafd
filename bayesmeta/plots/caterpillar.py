"""Predicted random effects of groups, sorted, with their intervals."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_name, check_probability
from bayesmeta.display.tables import percent
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.inference.predict import blup, ranef
from bayesmeta.model.spec import Level, Spec
from bayesmeta.plots import style
from bayesmeta.plots.forest.texts import row_labels
from bayesmeta.plots.panels import (
    LEAST_LETTERS,
    ROW,
    TALLEST,
    EstimateRows,
    draw_rows,
    height_in_inches,
    label_rows,
    panel_axes,
    plain,
    shortened,
)
from bayesmeta.plots.words import label_below
from bayesmeta.tree.response import DIFFERENCE, Reading, Scale
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike

_SHORT, _LONGEST = 16, 32  # letters of a label: that needs no room of its own, and that is not cut
_SAME = 1e-9  # of the largest value: predictions of a group that differ by less are the same
_MOST_LABELLED = int(TALLEST / (1.6 * LEAST_LETTERS / 72))  # rows of a figure as high as a page


type EffectKind = Literal["ranef", "blup"]


@dataclass(frozen=True)
class GroupEffects:
    """Predictions for the groups of a level, smallest first: one panel.

    term : the random effect, or the outcome.
    """

    level: str
    term: str
    labels: tuple[str, ...]
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray


@keeps_old_names
def caterpillar(
    tree: xr.DataTree,
    level: str | None = None,
    effect: str | None = None,
    axes: "AxesLike | None" = None,
    *,
    kind: EffectKind = "ranef",
    prob: float = 0.95,
    scale: Scale | None = None,
) -> style.AxesArray:
    """Predicted random effects of the groups, sorted, with intervals: which groups stand out, and how clearly.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    level : str, optional
        Name of a level; by default every level that has random effects.
    effect : str, optional
        Label of a random effect, or with kind "blup" of an outcome; by default all.
    axes : Axes or sequence of Axes, optional
        As many matplotlib axes as there are panels; by default new ones.
    kind : {"ranef", "blup"}, default "ranef"
        "ranef" draws the random effects, around 0; "blup" the true effects of the groups, that is the fixed part with
        the random effects of the level and of those outside it (`bm.blup`).
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", the default for kind "blup" where the measure has one, draws effects as people read them: odds
        ratios of log odds ratios, on a logarithmic axis, proportions of logits. Random effects are drawn on the scale
        of the model unless it is asked for: as ratios of effects to their mean.

    Returns
    -------
    array of Axes
        One for each level and effect. Each sorts its own groups, the largest on top. Where there are more groups than
        labels can be read, the labels are left out and the axis gives the number of groups.

    Raises
    ------
    SpecError
        If the model does not have the level or effect, or has no random effects; with kind "blup", if a predictor
        varies within a group, which then has no single true effect.

    See Also
    --------
    bayesmeta.ranef, bayesmeta.blup : The numbers that are drawn.

    Notes
    -----
    Predictions are shrunk towards the mean, the more so the less is known about a group, so intervals may overlap even
    where groups differ.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> axes = bm.plots.caterpillar(bm.fit(spec), level="district")
    >>> [label.get_text() for label in axes[0].get_yticklabels()][-2:]
    ['27', '71']
    """
    panels = group_effects(tree, level, effect, kind, prob)
    titles = [f"{panel.level}: {panel.term}" for panel in panels]
    reading = (
        style.reading(tree, scale)
        if kind == "blup"
        else style.reading(tree, "model" if scale is None else scale, DIFFERENCE)
    )
    drawn = _axes(axes, panels, titles)
    for ax, panel, title in zip(drawn, panels, titles, strict=True):
        null = (style.measure_of(tree).null or 0.0) if kind == "blup" else 0.0
        _draw(ax, panel, null, reading)
        if kind == "blup":
            _mark_pooled(ax, tree, panel, reading)
        if len(panels) > 1:
            ax.set_title(shortened(title, 34), fontsize=style.TEXT)
        if reading.log or kind == "blup":
            style.effect_axis(ax, reading)
        label_below(ax, f"{_quantity(ax, tree, kind, reading)}, {percent(prob)} interval", [_all_zero(panel)])
    return drawn


def _axes(axes: "AxesLike | None", panels: Sequence[GroupEffects], titles: Sequence[str]) -> style.AxesArray:
    """One for each panel; new ones of levels with unlike numbers of groups stand below one another, each as high as its
    groups need.
    """
    heights = [0.8 + (ROW * (n + 1) if n <= _MOST_LABELLED else 4.0) for n in (len(panel.labels) for panel in panels)]
    wide = 0.5 * any(len(label) > _SHORT for panel in panels for label in panel.labels)
    if axes is not None or max(heights) < 1.5 * min(heights):
        most = min(max(heights), TALLEST)
        if axes is None and len(panels) == 1:
            return style.AxesArray.of(style.new_axes(1, 1, style.COLUMN + wide, most)[1].ravel())
        return panel_axes(axes, titles, most)
    total = min(sum(heights), TALLEST)
    grid = style.new_axes(len(panels), 1, style.COLUMN + wide, total, height_ratios=heights)[1]
    return style.AxesArray.of(grid.ravel())


def _quantity(ax: "Axes", tree: xr.DataTree, kind: EffectKind, reading: Reading) -> str:
    measure = style.measure_of(tree)
    if kind == "blup":
        return ax.get_xlabel()
    if reading.response:
        return reading.label
    return f"Random effect ({measure.short_label or measure.label})" if measure.name != "generic" else "Random effect"


def _mark_pooled(ax: "Axes", tree: xr.DataTree, panel: GroupEffects, reading: Reading) -> None:
    """A line at the pooled estimate, where all groups have the same mean."""
    spec = spec_from_tree(tree)
    mean = shared_mean(tree, spec, spec.outcomes.index(panel.term))
    if mean is not None:
        at = float(reading.values(mean))
        ax.axvline(at, color=style.BLUE, linewidth=0.8, linestyle=":", zorder=0, label="pooled")


def group_effects(
    tree: xr.DataTree,
    level: str | None = None,
    effect: str | None = None,
    kind: EffectKind = "ranef",
    prob: float = 0.95,
) -> list[GroupEffects]:
    """What `caterpillar` draws, panel by panel; its arguments."""
    check_choice(kind, ("ranef", "blup"), "kind")
    check_probability(prob)
    spec = spec_from_tree(tree)
    levels = _levels(spec, level)
    panels = list(_ranef(tree, spec, levels, prob) if kind == "ranef" else _blup(tree, spec, levels, prob))
    if effect is None:
        return panels
    terms = list(dict.fromkeys(panel.term for panel in panels))
    check_name(effect, terms, "no effect", "effects")
    return [panel for panel in panels if panel.term == effect]


def _levels(spec: Spec, name: str | None) -> list[Level]:
    if name is not None:
        check_name(name, [level.name for level in spec.levels], "no level", "levels, outer to inner")
    chosen = [level for level in spec.levels if level.dim and name in (None, level.name)]
    if not chosen:
        subject = f"level {name!r} has" if name else "this model has"
        raise SpecError(f"{subject} no random effects to draw\n  bm.specify(random=...) makes a model that has some")
    return chosen


def _names(spec: Spec, level: Level) -> list[str]:
    """The labels of the groups; where each row is its own group, those of the rows."""
    if level.name != schema.UNIT or level.n_groups != len(set(spec.row.tolist())):
        return [str(label) for label in spec.coords[schema.group(level.name)].tolist()]
    texts, row_of = row_labels(spec).texts, dict(zip(level.index.tolist(), spec.row.tolist(), strict=True))
    return [texts[row_of[g]] for g in range(level.n_groups)]


def _ranef(tree: xr.DataTree, spec: Spec, levels: list[Level], prob: float) -> Iterator[GroupEffects]:
    tables = ranef(tree, prob)
    for level in levels:
        table = tables[level.name].to_dataset()
        for effect in level.effects:
            own = table.sel({schema.effect(level.name): effect})
            values = (own[name].to_numpy() for name in ("mean", "lower", "upper"))
            yield _sorted(level.name, effect, _names(spec, level), *values)


def _blup(tree: xr.DataTree, spec: Spec, levels: list[Level], prob: float) -> Iterator[GroupEffects]:
    for level in levels:
        table = blup(tree, level.name, prob=prob)
        groups = _names(spec, level)
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
                    f"rows of group {name!r} of level {level.name!r} differ in a predictor, so it has no single "
                    "true effect\n  kind='ranef' draws its random effects; bm.blup gives the effects of all rows"
                )
            yield _sorted(level.name, outcome, groups, *(each[first] for each in values))


def _sorted(level: str, term: str, labels: list[Any], *values: FloatArray) -> GroupEffects:
    order = np.argsort(values[0], kind="stable")
    order = order[~np.isnan(values[0][order])]  # not at times that a group does not have
    return GroupEffects(level, term, tuple(str(labels[i]) for i in order), *(each[order] for each in values))


def _draw(ax: "Axes", panel: GroupEffects, null: float, reading: Reading) -> None:
    n = len(panel.labels)
    place = np.arange(n, dtype=float)
    if reading.log:
        ax.set_xscale("log")
    line = float(reading.values(null))
    ax.axvline(line, color=style.MUTED, linewidth=0.8, linestyle="--", zorder=0)
    mean, lower, upper = (reading.values(values) for values in (panel.mean, panel.lower, panel.upper))
    draw_rows(ax, EstimateRows(place, mean, lower, upper), dense=n > _MOST_LABELLED)
    labels = [shortened(label, _LONGEST) for label in panel.labels]
    title = "" if panel.level == schema.UNIT else plain(panel.level[:1].upper() + panel.level[1:])
    label_rows(ax, place, labels, title, height_in_inches(ax))


def _all_zero(panel: GroupEffects) -> str:
    return "" if np.any([panel.mean, panel.lower, panel.upper]) else "all are 0, as their SD is 0"


def shared_mean(tree: xr.DataTree, spec: Spec, outcome: int) -> float | None:
    """The mean of an outcome, None where rows differ in a predictor."""
    mean = style.fitted_means(tree)[spec.kept, outcome]
    return float(mean[0]) if np.ptp(mean) <= _SAME * np.abs(mean).max() else None
