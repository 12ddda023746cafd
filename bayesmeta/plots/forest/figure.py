"""Forest plots: what every study reports, what the model predicts for it, and the pooled result."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal, overload

import numpy as np
import xarray as xr

from bayesmeta._validation import check_boolean
from bayesmeta.errors import keeps_old_names
from bayesmeta.inference.reference import Vcov, asks_in_one_way
from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.drawing import draw, own_axes
from bayesmeta.plots.forest.foot import Favours, favours_texts
from bayesmeta.plots.forest.rows import forest_content
from bayesmeta.tree.response import Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from bayesmeta._typing import AnyArray
    from bayesmeta.plots.style import AxesLike, DrawnAxes

type SortKey = Literal["estimate", "weight", "label"] | texts.ByRow


@overload
def forest(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | None = None,
    blup: bool = False,
    prediction: bool = True,
    weights: bool = True,
    order: SortKey | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    common: bool = False,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes": ...
@overload
def forest(
    tree: xr.DataTree,
    ax: "Sequence[Axes] | AnyArray",
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = False,
    prediction: bool = True,
    weights: bool = True,
    order: SortKey | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    common: bool = False,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> style.AxesArray: ...
@overload
def forest(
    tree: xr.DataTree,
    ax: "Axes | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: list[str] | tuple[str, ...],
    blup: bool = False,
    prediction: bool = True,
    weights: bool = True,
    order: SortKey | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    common: bool = False,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> style.AxesArray: ...
@keeps_old_names
@asks_in_one_way
def forest(
    tree: xr.DataTree,
    ax: "AxesLike | None" = None,
    *,
    labels: texts.ByRow | None = None,
    columns: texts.Columns | None = None,
    subgroup: texts.ByRow | None = None,
    outcome: str | Sequence[str] | None = None,
    blup: bool = False,
    prediction: bool = True,
    weights: bool = True,
    order: SortKey | None = None,
    scale: Scale | None = None,
    prob: float = 0.95,
    limits: tuple[float, float] | None = None,
    favours: Favours = None,
    common: bool = False,
    statistics: bool = True,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> "DrawnAxes | style.AxesArray":
    """Every study's estimate and interval, what the model predicts for it, and the pooled result.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`.
    ax : Axes or sequence of Axes, optional
        Matplotlib axes; for several outcomes a sequence with one for each. Columns of text are placed within the space
        of the axes, in the largest font from 7 to 5 points that fits. By default the axes of a new figure, which is as
        large as its texts need.
    labels : str or sequence, optional
        One text for each row of the data, or the name of a column of the data. By default the labels of the
        specification (`bm.specify(labels=)`), else those of the innermost level where the rows of the data are only
        numbered, else the index of the data.
    columns : DataFrame, mapping or sequence of str, optional
        Numbers to be shown beside the labels, such as events and totals: names of columns of the data, a
        data frame with the rows of the data, or a dict of headings to values by row or such names. A dict within it,
        as in {"Vaccinated": {"TB": ..., "all": ...}}, puts "TB" and "all" below "Vaccinated"; so does a heading that is
        a pair ("Vaccinated", "TB").
    subgroup : str or sequence, optional
        One value for each row, or the name of a column of the data: rows are grouped under headings. Below
        each group is its mean, if the model's predictors give all of its rows the same one, as `logrr ~ alloc` does for
        `subgroup="alloc"`; the pooled estimate at the bottom and the weights are then those of a fit without
        predictors. Where the model does not distinguish them, it is fitted to each subgroup on its own, and
        below the means stands the heterogeneity within; of a posterior, which would have to be sampled anew, there are
        headings only.
    outcome : str or sequence of str, optional
        One or several of the tree's outcomes; by default all, side by side.
    blup : bool, default False
        Whether to draw predictions of the true effects (`bm.blup`) below the observed ones.
    prediction : bool, default True
        Whether to draw the prediction interval for the true effect of a new group.
    weights : bool, default True
        Whether to print weights.
    order : {"estimate", "weight", "label"}, str or sequence, optional
        "estimate", smallest first; "weight", largest first; "label"; or a column to order by, as for `labels`. Rows are
        ordered within their groups, which keep the order of their first rows. By default as in the data.
    scale : {"model", "response"}, optional
        "response", the default where the measure has one, draws effects as people read them: odds ratios of log odds
        ratios, on a logarithmic axis, correlations of Fisher's z, proportions of logits; "model" as they are modelled.
    prob : float, default 0.95
        Probability of all intervals, between 0 and 1.
    limits : pair of float, optional
        Limits of the axis as drawn: odds ratios as odds ratios. By default all is visible, except for intervals many
        times wider than the others.
    favours : pair of str or bool, optional
        What is favoured left and right of no effect, such as ("vaccination", "no vaccination"); "Favours" is put before
        it. True takes the arms of the specification, the first on the left, as where the outcome is not wanted. By
        default the axis says on which side the outcome is lower in which arm, which holds for any outcome; False leaves
        that out.
    common : bool, default False
        Whether to add the pooled estimate that assumes one effect common to all studies, an open diamond.
    statistics : bool, default True
        Whether to print heterogeneity and tests below the studies.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of fits, for pooled results and tests; see
        `bm.estimates`.

    Returns
    -------
    matplotlib Axes or array of Axes
        Axes for one outcome; an array where there are several, or `ax` or `outcome` is a sequence. Type checkers, which
        cannot know how many outcomes a tree has, take it for Axes unless one of these is a sequence; `figure` is there
        either way. The axis of effects is an ordinary one; lines are at heights that count downwards from 0.

    Raises
    ------
    SpecError
        If a column is not in the tree or has the wrong length, an outcome is unknown, the number of axes is wrong, or
        the axes are too small for the texts; the message gives the size that they need.

    See Also
    --------
    bayesmeta.plots.orchard : Effects by category, without a line for each.
    bayesmeta.plots.caterpillar : Random effects alone, sorted.

    Notes
    -----
    Squares are the estimates y with y -+ z sqrt(S), with areas proportional to the weights; circles beside them are the
    predictions of `bm.blup`. Intervals that end in an arrow extend further. Where a level has groups of several rows,
    these are listed under headings with an open diamond, the prediction for the group. At the bottom are the pooled
    estimate (`bm.predict`), a diamond as wide as its interval, and the prediction interval, dashed. Rows that are not
    in the model are listed with the reason, and an outcome that a row lacks is marked as not reported.

    Below are Cochran's Q with its test, I2 and tau2 (of a posterior tau), with the Q-profile interval where each row
    has one random effect, and the test of the pooled estimate or of the predictors. Differences between subgroups are
    tested by F or Q: with the covariance of the coefficients of one model, which assumes the same tau2 in all, or by
    separate fits, each with its own tau2; the plot says which.

    Weights are those of generalised least squares, a row of (X' Sigma^-1 X)^-1 X' Sigma^-1 with the estimated Psi in
    Sigma; for a posterior their mean over draws, which gives the posterior mean of a coefficient with a flat prior.
    With several outcomes they are the weights in the mean of the outcome itself and add up to 100%; the other outcomes,
    whose weights add up to 0, contribute through the correlations.

    Estimates of a posterior are means on the scale that is drawn, as in tables: the mean odds ratio, which is a little
    above the exponential of the mean log odds ratio.

    With predictors there is no pooled estimate: a faint diamond in every row is the fitted value, and the areas of
    squares are proportional to 1 / Var(y). Trees of method "fixed" have neither BLUPs nor a prediction interval.

    References
    ----------
    Lewis and Clarke (2001), BMJ 322:1479-1480. Viechtbauer (2010), J. Stat. Softw. 36(3).

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"))
    >>> ax = bm.plots.forest(fit, labels=bcg["author"], columns={"TB": bcg["tpos"], "controls": bcg["cpos"]})
    >>> [text.get_text() for text in ax.texts if text.get_text().startswith("0.49")]
    ['0.49 [0.33, 0.73]']
    """
    switches = {"blup": blup, "prediction": prediction, "weights": weights, "common": common, "statistics": statistics}
    for name, value in switches.items():
        check_boolean(value, name)
    content = forest_content(
        tree,
        labels=labels,
        columns=columns,
        subgroup=subgroup,
        outcome=outcome,
        blup=blup,
        prediction=prediction,
        weights=weights,
        order=order,
        prob=prob,
        common=common,
        statistics=statistics,
        scale=scale,
    )
    reading = style.reading(tree, scale)
    axes = draw(tree, content, own_axes(ax, content), reading, prob, limits, favours_texts(tree, favours))
    several = len(axes) > 1 or not (outcome is None or isinstance(outcome, str))
    return style.AxesArray.of(axes) if several or isinstance(ax, list | tuple | np.ndarray) else axes[0]
