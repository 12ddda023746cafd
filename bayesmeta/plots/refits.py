"""Forest plots of the model fitted to parts of the data: without each study, and with one study more at a time."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._validation import check_boolean, check_name, listing
from bayesmeta.errors import SpecError
from bayesmeta.inference import left_out
from bayesmeta.inference.estimates import estimates
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.drawing import draw, own_axes
from bayesmeta.plots.forest.foot import Favours, favours_texts
from bayesmeta.plots.forest.notes import small
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.rows import Cell, ForestContent, Line
from bayesmeta.tree.parameters import BETA
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import EFFECT, Reading, Scale, roles
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import spec_from_tree

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta.plots.style import AxesLike, DrawnAxes

_SIZE = 0.3  # of the squares, all of which are alike: every row is a fit of its own
_UNKNOWN = "not identified"


@asks_in_one_way
def leave_one_out(
    tree: xr.DataTree,
    ax: "Axes | AxesLike | None" = None,
    *,
    by: ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    term: str | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes | style.AxesArray":
    """The pooled estimate without each study in turn, and that of all: whether the result hangs on one of them.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`.
    ax : Axes or sequence of Axes, optional
        As for `bm.plots.forest`.
    by : str or sequence, optional
        What is left out at a time, as for `bm.leave_one_out`: a level or a column; by default each group of the outer
        level, single studies where each row is its own group.
    outcome : str or sequence of str, optional
        One or several of the tree's outcomes; by default all, side by side.
    term : str, optional
        The coefficient to draw, such as "ablat"; required for a model with predictors.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis; "model" as they are modelled.
    limits : pair of float, optional
        Limits of the axis as drawn.
    favours : pair of str or bool, optional
        As for `bm.plots.forest`.
    statistics : bool, default True
        Whether to print tau2 and I2 of every fit.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, as in `bm.leave_one_out`.

    Returns
    -------
    matplotlib Axes or array of Axes
        As for `bm.plots.forest`. Squares are the estimates without the study on the line, the diamond that of all.

    Raises
    ------
    SpecError
        What `bm.leave_one_out` raises; or if the model has predictors and no `term` is chosen.

    See Also
    --------
    bayesmeta.leave_one_out : The numbers that are drawn.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.leave_one_out(fit)
    >>> [text.get_text() for text in ax.texts if text.get_text().startswith("0.51")]
    ['0.51 [0.34, 0.76]']
    """
    check_boolean(statistics, "statistics")
    terms = chosen_terms(tree, outcome, term)
    frame = _at_means(tree, partial(left_out.leave_one_out, tree, by, prob=prob), terms, scale)
    content = _content(tree, frame, terms, (prob, scale), _Heading("Left out", statistics=statistics))
    return _drawn(tree, content, ax, terms, (scale, prob, limits, favours))


@asks_in_one_way
def cumulative(
    tree: xr.DataTree,
    ax: "Axes | AxesLike | None" = None,
    *,
    order: ByRow | None = None,
    by: ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    term: str | None = None,
    prob: float = 0.95,
    scale: Scale | None = None,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes | style.AxesArray":
    """The pooled estimate of the first study, the first two, and so on: how the evidence has built up.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit`.
    ax : Axes or sequence of Axes, optional
        As for `bm.plots.forest`.
    order : str or sequence, optional
        What studies are ordered by, smallest first, such as the year: a column of the data or one value for each row.
        By default as in the data.
    by : str or sequence, optional
        What is added at a time, as for `bm.cumulative`: a level or a column; by default each group of the outer level.
    outcome : str or sequence of str, optional
        One or several of the tree's outcomes; by default all, side by side.
    term : str, optional
        The coefficient to draw, such as "ablat"; required for a model with predictors.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        As for `bm.plots.leave_one_out`.
    limits : pair of float, optional
        Limits of the axis as drawn.
    favours : pair of str or bool, optional
        As for `bm.plots.forest`.
    statistics : bool, default True
        Whether to print tau2 and I2 of every fit.
    vcov, df : optional
        Covariance and reference distribution of the coefficients, as in `bm.cumulative`.

    Returns
    -------
    matplotlib Axes or array of Axes
        As for `bm.plots.forest`. Squares are the estimates of the studies down to the one on the line, the diamond that
        of all.

    Raises
    ------
    SpecError, DataError
        What `bm.cumulative` raises; or if the model has predictors and no `term` is chosen.

    See Also
    --------
    bayesmeta.cumulative : The numbers that are drawn.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> ax = bm.plots.cumulative(fit, order="year")
    >>> [text.get_text() for text in ax.texts if text.get_text().startswith("0.39")]
    ['0.39 [0.12, 1.26]']
    """
    check_boolean(statistics, "statistics")
    terms = chosen_terms(tree, outcome, term)
    frame = _at_means(tree, partial(left_out.cumulative, tree, order, by, prob=prob), terms, scale)
    name = order if isinstance(order, str) else getattr(order, "name", None)
    heading = _Heading("Added", "+ ", texts.heading(str(name or "order")), statistics)
    return _drawn(tree, _content(tree, frame, terms, (prob, scale), heading), ax, terms, (scale, prob, limits, favours))


@dataclass(frozen=True)
class _Heading:
    """What the columns are called.  before : what stands before the names of groups but the first."""

    names: str
    before: str = ""
    order: str = ""
    statistics: bool = True


def chosen_terms(tree: xr.DataTree, outcome: str | Sequence[str] | None, term: str | None) -> dict[str, str]:
    """The coefficient that is drawn, by outcome."""
    spec, frame = spec_from_tree(tree), estimates(tree)
    coefs = frame[frame["kind"] == BETA]
    outcomes = [spec.outcomes[j] for j in texts.positions(spec, outcome)]
    if term is not None:
        check_name(term, coefs["term"], "term: no coefficient", "coefficients")
        own = str(coefs.loc[coefs["term"] == term, "outcome"].item())
        if own and own not in outcomes:
            raise SpecError(f"term={term!r} belongs to outcome {own}, not to {listing(outcomes)}\n  leave outcome out")
        return {own: term}
    chosen = {}
    for name in outcomes:
        of_outcome = coefs.loc[coefs["outcome"].isin([name, ""]), "term"].tolist()
        if len(of_outcome) != 1:
            raise SpecError(
                f"{name} has {len(of_outcome)} coefficients: {listing(of_outcome, 12)}\n"
                f"  choose the one to draw: term={of_outcome[-1]!r}"
            )
        chosen[name] = of_outcome[0]
    return chosen


def _reading(tree: xr.DataTree, terms: dict[str, str], scale: Scale | None) -> Reading:
    role = roles(tree)[next(iter(terms.values()))]
    return style.reading(tree, scale, role) if role else Reading(style.measure_of(tree), role, False)


def _at_means(
    tree: xr.DataTree, make: Callable[..., pd.DataFrame], terms: dict[str, str], scale: Scale | None
) -> pd.DataFrame:
    """A table on the scale of the model, of a posterior with its means on the scale that is drawn, as tables have them.

    make : the table, with all arguments but the scale.
    """
    frame, reading = make(), _reading(tree, terms, scale)
    if reading.response and is_posterior(tree):
        there = reading.back(make(scale="response")["estimate"].to_numpy(float))
        frame["estimate"] = np.where(np.isfinite(there), there, frame["estimate"])
    return frame


def _content(
    tree: xr.DataTree,
    frame: pd.DataFrame,
    terms: dict[str, str],
    asked: tuple[float, Scale | None],
    heading: _Heading,
) -> ForestContent:
    """Lines of a forest: a row for each fit, and the estimate of all. asked : probability and scale."""
    whole = _at_means(tree, partial(estimates, tree, asked[0]), terms, asked[1])
    whole = whole[whole["kind"] == BETA].set_index("term")
    parts = [frame[frame["term"] == term].reset_index(drop=True) for term in terms.values()]
    variances = [name for name in map(str, frame.columns) if name.startswith("tau2")] if heading.statistics else []
    extras = (*(_tau2(name) for name in variances), "I²") if heading.statistics else ()
    columns = list(_columns(parts[0], heading))
    lines = [
        Line(
            "row",
            (heading.before if i else "") + texts.named(frame.attrs[left_out.BY], parts[0].iloc[i, 0]),
            tuple(_cell(part.iloc[i], variances, heading.statistics) for part in parts),
            counts=tuple(own[i] for _, own in columns),
        )
        for i in range(len(parts[0]))
    ]
    pooled = tuple(Interval(*whole.loc[term, ["estimate", "lower", "upper"]].astype(float)) for term in terms.values())
    lines.append(Line("mean", _label(tree, terms), tuple(Cell(mean=interval) for interval in pooled)))
    return ForestContent(
        lines=tuple(lines),
        outcomes=tuple(terms),
        label_heading=heading.names,
        headings=tuple(("", name) for name, _ in columns),
        numeric=tuple(True for _ in columns),
        pooled=pooled,
        decimals=tuple(texts.decimals(part["se"].dropna().to_numpy(float)) for part in parts),
        weighted=False,
        levels=(),
        notes=tuple(() for _ in terms),
        extras=extras,
    )


def _label(tree: xr.DataTree, terms: dict[str, str]) -> str:
    """Of the estimate from all studies, which is pooled unless it is a slope."""
    means = all(roles(tree)[term] == EFFECT for term in terms.values())
    return texts.pooled_label(tree) if means else texts.pooled_label(tree).replace("Pooled", "All studies")


def _columns(part: pd.DataFrame, heading: _Heading) -> Iterator[tuple[str, list[str]]]:
    """Columns beside the names: what groups are ordered by, and the number of rows where it is not always the same."""
    if left_out.ORDER in part:
        yield heading.order, [texts.plain(value) for value in part[left_out.ORDER]]
    if part["k"].nunique() > 1:
        yield "k", [str(k) for k in part["k"]]


def _cell(row: pd.Series, variances: Sequence[str], statistics: bool) -> Cell:
    if not np.isfinite(row["estimate"]):
        return Cell(words=_UNKNOWN)
    numbers = [small(row[name]) if np.isfinite(row[name]) else "" for name in variances]
    I2 = f"{row['I2']:.1f}%" if np.isfinite(row["I2"]) else ""
    interval = Interval(float(row["estimate"]), float(row["lower"]), float(row["upper"]))
    return Cell(observed=interval, size=_SIZE, extras=(*numbers, I2) if statistics else ())


def _tau2(column: str) -> str:
    """The heading of a variance: "tau2[district]" as that of the district."""
    level = column.removeprefix("tau2").strip("[]")
    return f"τ² ({level})" if level else "τ²"


def _drawn(
    tree: xr.DataTree,
    content: ForestContent,
    ax: "Axes | AxesLike | None",
    terms: dict[str, str],
    look: "tuple[Scale | None, float, tuple[float, float] | None, Favours]",
) -> "DrawnAxes | style.AxesArray":
    scale, prob, limits, favours = look
    role, reading = roles(tree)[next(iter(terms.values()))], _reading(tree, terms, scale)
    sides = favours_texts(tree, favours if role == EFFECT else False)
    axes = draw(tree, content, own_axes(ax, content), reading, prob, limits, sides)
    return style.AxesArray.of(axes) if len(axes) > 1 or isinstance(ax, list | tuple | np.ndarray) else axes[0]
