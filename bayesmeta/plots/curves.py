"""Estimates along a predictor, as numbers and as drawn: curves with bands, points with intervals, words around them."""

import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta.errors import SpecError
from bayesmeta.plots import style
from bayesmeta.plots.grid import Predictor
from bayesmeta.posterior_draws import beta_draws, is_posterior, summarised
from bayesmeta.predict import predict
from bayesmeta.prediction_rows import normal, quadratic, quantile
from bayesmeta.spec import FloatArray, IntArray, Spec
from bayesmeta.tree_io import group

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

_WITHOUT_NONE = ("logit", "mean")  # measures of which no value means "no effect"
_HANDLE = 6  # letters that a legend's sample line takes
_LETTERS = 0.5  # width of a letter in units of its size, on average
_MOST_TREES = len(style.COLOURS)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Mean and interval at every value x of a predictor, all of shape (n,), on the scale of the model."""

    x: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def moved(self, by: float) -> "Estimates":
        """The same, drawn beside x."""
        return replace(self, x=self.x + by)

    def sorted(self) -> "Estimates":
        """The same in the order of x."""
        order = np.argsort(self.x, kind="stable")
        return Estimates(self.x[order], self.mean[order], self.lower[order], self.upper[order])

    @property
    def without_interval(self) -> int:
        """How many have an interval that is infinite or not known."""
        return int((~np.isfinite(self.lower) | ~np.isfinite(self.upper)).sum())


def predicted(tree: xr.DataTree, x: FloatArray, rows: pd.DataFrame, outcome: int, what: Any, prob: float) -> Estimates:
    """Of `bm.predict`; `what` is its interval."""
    found = predict(tree, rows, interval=what, prob=prob).isel(outcome=outcome)
    return Estimates(x, *(found[name].to_numpy() for name in ("mean", "lower", "upper")))


def contrast(
    tree: xr.DataTree, x: FloatArray, rows: pd.DataFrame, reference: pd.DataFrame, outcome: int, prob: float
) -> Estimates:
    """Mean of the rows less that of the one row `reference`: its interval is that of the difference."""
    z, design = quantile(prob), Spec.from_tree(tree).design
    X = (design.fixed(rows) - design.fixed(reference))[:, outcome]
    offset = design.offset(rows) - design.offset(reference)
    if is_posterior(tree):
        found = summarised(X @ beta_draws(tree).T + offset[:, None], prob, axis=1)
    else:
        estimate = group(tree, "estimate")
        variance = quadratic(X[:, None], estimate["beta_cov"].to_numpy())[:, 0]
        found = normal(X @ estimate["beta"].to_numpy() + offset, np.sqrt(variance), z)
    return Estimates(x, found["mean"], found["lower"], found["upper"])


def named(trees: xr.DataTree | Mapping[str, xr.DataTree], call: str) -> dict[str, xr.DataTree]:
    """The trees by name; the name of a single one is empty. All of one measure, so that they share an axis."""
    found = {"": trees} if isinstance(trees, xr.DataTree) or not isinstance(trees, Mapping) else dict(trees)
    if not 1 <= len(found) <= _MOST_TREES:
        raise SpecError(f"{call} draws 1 to {_MOST_TREES} trees, it was given {len(found)}")
    for name, tree in found.items():
        if not isinstance(tree, xr.DataTree):
            raise SpecError(
                f"{call}: {repr(name) + ' is' if name else 'given is'} a {type(tree).__name__}, no results tree\n"
                "  give the tree of bm.fit or bm.sample, or several as {name: tree}"
            )
    measures = {name: tree.attrs.get("measure") or "generic" for name, tree in found.items()}
    if len(set(measures.values())) > 1:
        told = ", ".join(f"{name}: {measure}" for name, measure in measures.items())
        raise SpecError(f"the trees have different measures, which no axis can share\n  {told}")
    return {str(name): tree for name, tree in found.items()}


def drawn(values: FloatArray, ratio: bool) -> FloatArray:
    """As on the axis; NaN where infinite, since nothing can be drawn there."""
    with np.errstate(over="ignore"):
        found = style.shown(values, ratio)
    return np.where(np.isfinite(found), found, np.nan)


def curve(ax: "Axes", found: Estimates, ratio: bool, look: int, name: str, dashed: bool = False) -> "Artist":
    """A line labelled `name` and its band, whose edges are drawn in the same style; returns the line.

    `look` picks colour and style of the line. `dashed` draws the band by its edges alone.
    """
    colour, line = style.COLOURS[look], style.LINES[look]
    mean, lower, upper = (drawn(values, ratio) for values in (found.mean, found.lower, found.upper))
    if not dashed:
        ax.fill_between(found.x, lower, upper, color=colour, alpha=0.18, linewidth=0, zorder=2, label=f"_{name} band")
    for edge in (lower, upper):
        ax.plot(found.x, edge, color=colour, linestyle=line, linewidth=0.6, zorder=3, label=f"_{name} edge")
    return ax.plot(found.x, mean, color=colour, linestyle=line, linewidth=1.6, zorder=5, label=name)[0]


def intervals(
    ax: "Axes", found: Estimates, ratio: bool, look: int, name: str, joined: bool = True, width: float = 1.2
) -> "Artist":
    """Points labelled `name` with their intervals as bars, joined by a line or not; returns the points."""
    colour = style.COLOURS[look]
    mean, lower, upper = (drawn(values, ratio) for values in (found.mean, found.lower, found.upper))
    ax.vlines(found.x, lower, upper, color=colour, linewidth=width, zorder=4, label=f"_{name} intervals")
    line = style.LINES[look] if joined else "none"
    marker: dict[str, Any] = {"marker": style.MARKERS[look], "markersize": 4.5, "markeredgecolor": "white"}
    return ax.plot(found.x, mean, color=colour, linestyle=line, linewidth=1, zorder=6, label=name, **marker)[0]


def no_effect(ax: "Axes", tree: xr.DataTree, ratio: bool, which: str = "y") -> None:
    """A thin line at no effect where this lies within the limits; the limits stay."""
    value = float(ratio)
    low, high = sorted(ax.get_ylim() if which == "y" else ax.get_xlim())
    if tree.attrs.get("measure") not in _WITHOUT_NONE and low <= value <= high:
        (ax.axhline if which == "y" else ax.axvline)(value, color=style.MUTED, linewidth=0.6, zorder=1)


def studies(ax: "Axes", predictors: Sequence[Predictor], ratio: bool) -> "Artist":
    """Observed effects, faint, those of one group joined; the same data of several models once. Returns one line."""
    handle, seen = None, set()
    for predictor in predictors:
        x, y = predictor.observed(), predictor.spec.y[predictor.obs]
        if (key := (x.tobytes(), y.tobytes())) in seen:
            continue
        seen.add(key)
        index = trajectories(predictor)
        for g in np.unique(index):
            own = np.flatnonzero(index == g)
            own = own[np.argsort(x[own], kind="stable")]
            look = {"color": style.FAINT, "linewidth": 0.5, "marker": ".", "markersize": 2.5, "zorder": 1}
            handle = ax.plot(x[own], style.shown(y[own], ratio), label="_study", **look)[0]
    return handle


def trajectories(predictor: Predictor) -> IntArray:
    """Which observations are joined: those of a group of the innermost level that has several values of x."""
    x = predictor.observed()
    for level in reversed(predictor.spec.levels):
        index = level.index[predictor.obs]
        if any(len(np.unique(x[index == g])) > 1 for g in np.unique(index)):
            return index
    return np.arange(len(x))


def legend_above(ax: "Axes", handles: Mapping[str, Any]) -> None:
    """Names above the axes, where no data lie, in as many columns as their letters leave room for."""
    room = _characters(ax, style.SMALL)
    texts = {textwrap.fill(label, room - _HANDLE): handle for label, handle in handles.items() if label}
    if not texts:
        return
    longest = _HANDLE + max(len(line) for text in texts for line in text.splitlines())
    ax.legend(
        list(texts.values()),
        list(texts),
        loc="lower left",
        bbox_to_anchor=(0, 1),
        borderaxespad=0.3,
        ncols=int(np.clip(room // longest, 1, min(3, len(texts)))),
        frameon=False,
        fontsize=style.SMALL,
        handlelength=2.4,
        columnspacing=1.2,
    )


def label_below(ax: "Axes", label: str, notes: Sequence[str]) -> None:
    """The label of the x axis, and below it what a reader has to know, each note once."""
    lines = [label, *(textwrap.fill(note, _characters(ax, style.TEXT)) for note in dict.fromkeys(notes) if note)]
    ax.set_xlabel("\n".join(lines), fontsize=style.TEXT)


def categories_axis(ax: "Axes", positions: FloatArray, labels: Sequence[str]) -> None:
    """Names of categories as ticks, upright where they would touch each other."""
    room = _characters(ax, style.SMALL) // len(labels) - 1
    fits = max(map(len, labels)) <= room
    shown = list(labels) if fits else [textwrap.fill(text, 24) for text in labels]
    ax.set_xticks(positions, shown, rotation=0 if fits else 90, fontsize=style.SMALL)


def upright(label: str) -> str:
    """The label of a y axis in lines that axes of the usual height hold."""
    return textwrap.fill(label, 36)


def interval_words(trees: Iterable[xr.DataTree], prob: float, what: str = "bands") -> str:
    kinds = {"credible" if is_posterior(tree) else "confidence" for tree in trees}
    return f"{what}: {100 * prob:g}% {' and '.join(sorted(kinds))} intervals"


def by_name(told: Mapping[str, str]) -> list[str]:
    """Words on each model, once where they are the same of all."""
    if len(set(told.values())) == 1:
        return [next(iter(told.values()))]
    return [f"{name}: {words}" for name, words in told.items() if words]


def not_drawn(found: Sequence[Estimates]) -> str:
    """A word on intervals that cannot be drawn."""
    missing, all_ = sum(each.without_interval for each in found), sum(len(each.x) for each in found)
    return f"no finite interval at {missing} of {all_} values" if missing else ""


def _characters(ax: "Axes", size: float) -> int:
    """How many letters of a size lie side by side under the axes, with the labels beside them taken off."""
    share = ax.get_subplotspec()
    columns = share.get_gridspec().ncols if share is not None else 1
    inches = ax.figure.get_figwidth() / columns - 0.7  # type: ignore[union-attr]
    return max(12, int(inches * 72 / (_LETTERS * size)))
