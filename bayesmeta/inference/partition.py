"""How the variation between effect estimates divides: sampling error and levels (I2), explained or not (R2)."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_named
from bayesmeta.inference.moderators import without_predictors
from bayesmeta.inference.nesting import FIXED_APART, Model, outside, same_random
from bayesmeta.inference.same_data import same_observations, within
from bayesmeta.model.spec import Spec
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.parameters import free_of_levels
from bayesmeta.tree.specification import group, spec_from_tree
from bayesmeta.tree.variance_shares import between_variances, mean_squares, typical_variances

LEVEL, SAMPLING, TOTAL = "level", "sampling", "total"


def variance_partition(tree: xr.DataTree) -> xr.Dataset:
    """Variance of the effect estimates by level of the model and by sampling error, with level-wise I2.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit`, in memory or read with `xarray.open_datatree`.

    Returns
    -------
    Dataset
        Over (outcome, level), `outcome` "overall" where there is one, else every outcome; `level` the levels outer to
        inner, then "sampling". `variance`, in squared units of the outcome: of a level its tau squared, with random
        slopes the mean of z' Psi z over the observations; of "sampling" the typical sampling variance, (n - rank) /
        trace(P) with P = S^-1 - S^-1 X (X' S^-1 X)^-1 X' S^-1 and the whole S. `share`: percent of the sum of the
        variances; for a level its I2. Over `outcome`: `I2`, the share of all levels together, in percent; `H2`, the sum
        of the variances over the typical sampling variance.

    Raises
    ------
    SpecError
        When the tree holds no fit, or a level has the name "sampling".

    Notes
    -----
    For one outcome of several, P and I - H, whose trace is n - rank, count with the diagonal entries of its own
    observations; without predictors in `common` those of I - H sum to its observations less its coefficients. All are
    NaN for an outcome with as many coefficients as observations. With random slopes the shares are those at the
    predictors of these data, not properties of the model alone. `I2` of `heterogeneity` is computed from Q instead,
    with the moment estimate of the variance in place of the fitted one.

    References
    ----------
    Higgins and Thompson (2002), Stat. Med. 21:1539-1558, equation 9. Nakagawa and Santos (2012), Evol. Ecol.
    26:1253-1274. Johnson (2014), Methods Ecol. Evol. 5:944-946, for random slopes. Jackson, White and Riley (2012),
    Stat. Med. 31:3805-3820, for other multivariate generalisations of I2.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> bm.variance_partition(bm.fit(spec))["share"].sel(outcome="overall").to_series().round(2)
    level
    district    63.32
    study       31.86
    sampling     4.81
    Name: share, dtype: float64
    """
    spec = spec_from_tree(tree)
    if SAMPLING in (level.name for level in spec.levels):
        raise SpecError(f"a level has the name '{SAMPLING}', which stands for sampling error here\n  rename its column")
    variance = _variances(tree, spec)
    total = variance.sum(axis=1)
    share = 100 * variance / total[:, None]
    dims = (schema.OUTCOME, LEVEL)
    return xr.Dataset(
        {
            "variance": (dims, variance),
            "share": (dims, share),
            "I2": (schema.OUTCOME, share[:, :-1].sum(axis=1)),
            "H2": (schema.OUTCOME, total / variance[:, -1]),
        },
        _labels(spec, SAMPLING),
    )


def r_squared(tree: xr.DataTree, simpler: xr.DataTree | None = None) -> xr.Dataset:
    """Share of the between-group variance of a simpler model that the predictors of a larger one explain.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit`, of the larger model.
    simpler : DataTree, optional
        Fit of the same data by the same method with the same random part, whose fixed part is a special case of that of
        `tree`. By default the model with the means of the outcomes alone, which is fitted here.

    Returns
    -------
    Dataset
        Over (outcome, level), `outcome` "overall" where there is one, else every outcome; `level` the levels outer to
        inner, then "total", their sum. `variance`, `variance_simpler`: as in `variance_partition`. `R2`: 100
        (variance_simpler - variance) / variance_simpler, in percent, 0 where a variance is estimated larger with the
        predictors than without, as in other packages. NaN where there is no variance to explain.

    Raises
    ------
    SpecError
        When the trees are of different data, methods or random parts, or one is not a special case of the other; for
        one tree of a model without predictors.

    References
    ----------
    Raudenbush (2009), in The Handbook of Research Synthesis and Meta-Analysis, 2nd edition, chapter 16.
    López-López et al. (2014), Br. J. Math. Stat. Psychol. 67:30-48, on how imprecise R2 is with few studies.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> fit = bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar"))
    >>> bm.r_squared(fit)["R2"].sel(level="total").round(1).item()
    85.1
    """
    spec = spec_from_tree(tree)
    if simpler is None:
        before = _of_means(spec, str(tree.attrs["method"]))
    else:
        _check_comparable(tree, simpler)
        before = _between(simpler, spec_from_tree(simpler))
    after, before = _with_total(_between(tree, spec)), _with_total(before)
    explained = np.divide(before - after, before, out=np.full_like(before, np.nan), where=before > 0)
    dims = (schema.OUTCOME, LEVEL)
    values = {"variance": after, "variance_simpler": before, "R2": 100 * np.maximum(explained, 0)}
    return table_of({name: (dims, value) for name, value in values.items()}, _labels(spec, TOTAL))


def excess_error(tree: xr.DataTree) -> float:
    """SE of the variance between groups in units of the typical sampling variance, of one outcome and all levels.

    By the delta method from the free parameters, with the typical sampling variance known; NaN where they have none.
    """
    spec, estimate, free = spec_from_tree(tree), group(tree, schema.ESTIMATE), free_of_levels(tree)
    xi, cov = estimate["xi"].to_numpy(), estimate["xi_cov"].to_numpy()
    gradients = [
        level.structure.pullback(xi[free[level.name]], squares[0], level.dim) if level.dim else np.zeros(0)
        for level, squares in zip(spec.levels, mean_squares(spec), strict=True)
        if level.dim == 0 or free[level.name] != slice(0)
    ]
    gradient = np.concatenate(gradients) if gradients else np.zeros(0)
    used = np.flatnonzero(gradient)
    if len(gradient) != len(xi) or not len(used):
        return float("nan")
    return float(np.sqrt(gradient[used] @ cov[np.ix_(used, used)] @ gradient[used]) / typical_variances(spec)[0])


def _of_means(spec: Spec, method: str) -> FloatArray:
    """(outcomes, levels) of the model with the means of the outcomes alone, of which no tree is made."""
    means = without_predictors(spec)
    if means.coef == spec.coef:
        raise SpecError(
            "the model has no predictors that could explain variance; "
            "the fit with them comes first: bm.r_squared(fit, plain)"
        )
    if not within(spec.X, means.X):
        raise SpecError(f"no R2: {FIXED_APART}\n  give the fit of a simpler model: bm.r_squared(fit, simpler)")
    return between_variances(means, method_named(method).estimate(means).psi)


def _check_comparable(tree: xr.DataTree, simpler: xr.DataTree) -> None:
    if not same_observations(tree, simpler):
        raise SpecError("no R2: the two fits do not describe the same observations\n  fit both to the same rows")
    methods = [each.attrs["method"] for each in (tree, simpler)]
    if len(set(methods)) > 1:
        raise SpecError(f"no R2: one fit is by {methods[0]}, the simpler one by {methods[1]}\n  fit both by one method")
    big, small = Model.of(tree), Model.of(simpler)
    if reason := outside(small, big):
        hint = "the arguments are the larger fit, then the simpler one"
        raise SpecError(f"no R2: {reason}\n  {hint}")
    if not same_random(big, small):
        raise SpecError("no R2: the two fits have different random parts\n  only the fixed part may differ")


def level_shares(tree: xr.DataTree) -> dict[str, float]:
    """I2 of every level that varies, in percent, as `variance_partition` has it; empty unless there are several.

    tree : of a fit; its I2 is told where it has one outcome.
    """
    spec = spec_from_tree(tree)
    names = [level.name for level in spec.levels if level.varies]
    if len(names) < 2 or len(spec.outcomes) > 1 or schema.HETEROGENEITY not in tree.children:
        return {}
    variance = _variances(tree, spec)[0]
    shares = dict(zip((level.name for level in spec.levels), 100 * variance / variance.sum(), strict=False))
    return {name: float(shares[name]) for name in names} if np.isfinite(variance).all() else {}


def _variances(tree: xr.DataTree, spec: Spec) -> FloatArray:
    """(outcomes, levels + 1) of a fit, the typical sampling variance last."""
    return np.column_stack([_between(tree, spec), typical_variances(spec)])


def _between(tree: xr.DataTree, spec: Spec) -> FloatArray:
    """(outcomes, levels) of a fit."""
    estimate = group(tree, schema.ESTIMATE)
    return between_variances(spec, [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels])


def _with_total(variance: FloatArray) -> FloatArray:
    return np.column_stack([variance, variance.sum(axis=1)])


def _labels(spec: Spec, last: str) -> dict[str, pd.Index]:
    outcomes = list(spec.outcomes) if len(spec.outcomes) > 1 else [schema.OVERALL]
    levels = [*(level.name for level in spec.levels), last]
    return {schema.OUTCOME: pd.Index(outcomes, dtype=object), LEVEL: pd.Index(levels, dtype=object)}
