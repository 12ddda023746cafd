"""Calls of effect sizes of values that were measured: one function a family, which takes the words of the field.

`functions` binds each to the recipes of its family. The docstrings are the sections on parameters, with the parts of
`call_words` in braces.
"""

from collections.abc import Sequence
from typing import Any

import pandas as pd

from bayesmeta.effects.arms import Arms
from bayesmeta.effects.call_words import Names, Values, made, pair, single
from bayesmeta.effects.recipe import Choices, Correction, Recipe
from bayesmeta.errors import SpecError


def of_means(
    recipe: Recipe,
    data: Any,
    mean: Arms,
    sd: Arms,
    n: Arms,
    *,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    mean : (str, str)
        Columns of the means, (first arm, second arm).
    sd : (str, str)
        Columns of the standard deviations of persons, positive and in the unit of the means. Not standard errors.
    n : (str, str)
        Columns of the numbers of persons, at least 2, not necessarily whole.
    {variance}
    {correction}
    {names}
    {arms}
    """
    sources = pair(mean, "m1i", "m2i", "mean") | pair(sd, "sd1i", "sd2i", "sd") | pair(n, "n1i", "n2i", "n")
    choices = Choices(variance=variance, correction=correction, names=names, arms=arms)
    return made(recipe, data, sources, choices)


def of_sds(
    recipe: Recipe,
    data: Any,
    sd: Arms,
    n: Arms,
    *,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    sd : (str, str)
        Columns of the standard deviations of persons, (first arm, second arm), positive. Not standard errors.
    n : (str, str)
        Columns of the numbers of persons, at least 2, not necessarily whole.
    {variance}
    {correction}
    {names}
    {arms}
    """
    sources = pair(sd, "sd1i", "sd2i", "sd") | pair(n, "n1i", "n2i", "n")
    choices = Choices(variance=variance, correction=correction, names=names, arms=arms)
    return made(recipe, data, sources, choices)


def of_statistics(
    recipe: Recipe,
    data: Any,
    n: Arms,
    *,
    d: Values | None = None,
    t: Values | None = None,
    p: Values | None = None,
    r: Values | None = None,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    n : (str, str)
        Columns of the numbers of persons, (first arm, second arm).
    d : str or float, optional
        Column of Cohen's d, which is not corrected for bias. Where a row has several of these, the first counts.
    t : str or float, optional
        Column of the t statistic of the comparison of two independent arms, positive where the first is higher.
    p : str or float, optional
        Column of its two-sided p-value, with a minus sign where the first arm is lower.
    r : str or float, optional
        Column of the point-biserial correlation of the outcome with membership of the first arm.
    {variance}
    {correction}
    {names}
    {arms}
    """
    if all(each is None for each in (d, t, p, r)):
        raise SpecError(f"bm.effects.{recipe.function} needs one of d, t, p, r, the statistic that is reported")
    sources = pair(n, "n1i", "n2i", "n") | single(di=("d", d), ti=("t", t), pi=("p", p), ri=("r", r))
    choices = Choices(variance=variance, correction=correction, names=names, arms=arms)
    return made(recipe, data, sources, choices)


def of_ranks(
    recipe: Recipe,
    data: Any,
    auc: Values,
    n: Arms,
    *,
    ties: Values | None = None,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    auc : str or float
        Column of the area under the curve, U / (n1 n2) of the Mann-Whitney test, between 0 and 1.
    n : (str, str)
        Columns of the numbers of persons, (first arm, second arm).
    ties : str or float, optional
        Column of the share of pairs of persons that are tied, which variance="LS2" asks for; 0 by default.
    {variance}
    {names}
    {arms}
    """
    sources = single(ai=("auc", auc), mi=("ties", ties)) | pair(n, "n1i", "n2i", "n")
    return made(recipe, data, sources, Choices(variance=variance, names=names, arms=arms))


def of_correlations(
    recipe: Recipe,
    data: Any,
    n: Values,
    *,
    r: Values | None = None,
    t: Values | None = None,
    p: Values | None = None,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    n : str or float
        Column of the numbers of persons.
    r : str or float, optional
        Column of the correlations, between -1 and 1. Where a row has several of these, the first counts.
    t : str or float, optional
        Column of their t statistics.
    p : str or float, optional
        Column of their two-sided p-values, with a minus sign where the correlation is negative.
    {variance}
    {names}
    """
    if all(each is None for each in (r, t, p)):
        raise SpecError(f"bm.effects.{recipe.function} needs r, t or p, what is reported of the correlations")
    sources = single(ni=("n", n), ri=("r", r), ti=("t", t), pi=("p", p))
    return made(recipe, data, sources, Choices(variance=variance, names=names))


def of_regressions(
    recipe: Recipe,
    data: Any,
    n: Values,
    predictors: Values,
    *,
    r: Values | None = None,
    t: Values | None = None,
    p: Values | None = None,
    r_squared: Values | None = None,
    f: Values | None = None,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    n : str or float
        Column of the numbers of persons.
    predictors : str or float
        Column of the numbers of predictors of the regressions, without the intercept.
    r : str or float, optional
        Column of the partial or semi-partial correlations; not for R squared. Where a row has several of these, the
        first counts.
    t : str or float, optional
        Column of the t statistics of the predictor; not for R squared.
    p : str or float, optional
        Column of the two-sided p-values of the predictor, with a minus sign where its coefficient is negative; for R
        squared those of the F test.
    r_squared : str or float, optional
        Column of R squared of the regressions, needed for semi-partial correlations.
    f : str or float, optional
        Column of the F statistics of the regressions, for R squared.
    {variance}
    {names}
    """
    stated = single(ri=("r", r), ti=("t", t), pi=("p", p), r2i=("r_squared", r_squared), fi=("f", f))
    if not stated.keys() & set(recipe.inputs.arguments) - ({"r2i"} if "fi" not in recipe.inputs.arguments else set()):
        needed = "r_squared, f or p" if "fi" in recipe.inputs.arguments else "r, t or p"
        raise SpecError(f"bm.effects.{recipe.function} needs {needed}, what is reported of the regressions")
    if "r2i" in recipe.inputs.arguments and "fi" not in recipe.inputs.arguments and r_squared is None:
        raise SpecError(f"bm.effects.{recipe.function} needs r_squared, that of the regressions")
    if idle := [each.argument for name, each in stated.items() if name not in recipe.inputs.arguments]:
        raise SpecError(f"bm.effects.{recipe.function} is not made from {', '.join(idle)}\n  leave that out")
    sources = single(ni=("n", n), mi=("predictors", predictors)) | stated
    return made(recipe, data, sources, Choices(variance=variance, names=names))


def of_mean(
    recipe: Recipe,
    data: Any,
    mean: str,
    sd: str,
    n: str,
    *,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    mean : str
        Column of the means.
    sd : str
        Column of the standard deviations of persons, positive. Not standard errors.
    n : str
        Column of the numbers of persons, at least 2.
    {variance}
    {correction}
    {names}
    """
    sources = single(mi=("mean", mean), sdi=("sd", sd), ni=("n", n))
    return made(recipe, data, sources, Choices(variance=variance, correction=correction, names=names))


def of_sd(
    recipe: Recipe,
    data: Any,
    sd: str,
    n: str,
    *,
    correction: Correction = "exact",
    names: Names = ("y", "v"),
) -> pd.DataFrame:
    """{data}
    sd : str
        Column of the standard deviations of persons, positive. Not standard errors.
    n : str
        Column of the numbers of persons, at least 2.
    {correction}
    {names}
    """
    sources = single(sdi=("sd", sd), ni=("n", n))
    return made(recipe, data, sources, Choices(correction=correction, names=names))


def of_changes(
    recipe: Recipe,
    data: Any,
    mean: Arms,
    sd: Arms,
    n: Values,
    *,
    r: Values | None = None,
    sd_change: Values | None = None,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    mean : (str, str)
        Columns of the means; the first is compared with the second, so that (after, before) has gains positive.
    sd : (str, str)
        Columns of the standard deviations of persons in the same order, positive. Not standard errors, nor those of the
        changes.
    n : str or float
        Column of the numbers of persons, or of pairs, at least 2.
    r : str or float, optional
        Column of the correlations of the two values of a person, or a number for all rows. This or `sd_change` is
        needed.
    sd_change : str or float, optional
        Column of the standard deviations of the changes of persons, from which correlations follow where `r` has none.
    {variance}
    {correction}
    {names}
    {arms}
    """
    if r is None and sd_change is None:
        raise SpecError(
            f"bm.effects.{recipe.function} needs r or sd_change\n  r is the correlation of a person's two values, a "
            "column or a number that you assume; sd_change the column of the SDs of the changes"
        )
    sources = pair(mean, "m1i", "m2i", "mean") | pair(sd, "sd1i", "sd2i", "sd")
    sources |= single(ni=("n", n), ri=("r", r), sd_change=("sd_change", sd_change))
    choices = Choices(variance=variance, correction=correction, names=names, arms=arms)
    return made(recipe, data, sources, choices)


def of_sd_changes(
    recipe: Recipe,
    data: Any,
    sd: Arms,
    n: Values,
    *,
    r: Values | None = None,
    sd_change: Values | None = None,
    variance: str | Sequence[str] = "LS",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    sd : (str, str)
        Columns of the standard deviations of persons on the two occasions, positive. Not standard errors.
    n : str or float
        Column of the numbers of persons, or of pairs, at least 2.
    r : str or float, optional
        Column of the correlations of the two values of a person, or a number for all rows. This or `sd_change` is
        needed.
    sd_change : str or float, optional
        Column of the standard deviations of the changes of persons, from which correlations follow where `r` has none.
    {variance}
    {names}
    {arms}
    """
    if r is None and sd_change is None:
        raise SpecError(f"bm.effects.{recipe.function} needs r or sd_change, of a person's two values")
    sources = pair(sd, "sd1i", "sd2i", "sd") | single(ni=("n", n), ri=("r", r), sd_change=("sd_change", sd_change))
    return made(recipe, data, sources, Choices(variance=variance, names=names, arms=arms))


def of_controlled_changes(
    recipe: Recipe,
    data: Any,
    before: Arms,
    after: Arms,
    sd_before: Arms,
    n: Arms,
    *,
    r: Values | Arms,
    sd_after: Arms | None = None,
    variance: str | Sequence[str] = "LS",
    correction: Correction = "exact",
    names: Names = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """{data}
    before : (str, str)
        Columns of the means before treatment, (first arm, second arm).
    after : (str, str)
        Columns of the means after it.
    sd_before : (str, str)
        Columns of the standard deviations of persons before treatment, positive. Not standard errors.
    n : (str, str)
        Columns of the numbers of persons, at least 2.
    r : str, float or (str, str)
        Correlation of a person's values before and after: a number for all rows, a column, or one column for each arm.
    sd_after : (str, str), optional
        Columns of the standard deviations of persons after treatment, which `pre_post_control_raw` needs.
    {variance}
    {correction}
    {names}
    {arms}
    """
    sources = pair(before, "before1", "before2", "before") | pair(after, "after1", "after2", "after")
    sources |= pair(sd_before, "sd_before1", "sd_before2", "sd_before") | pair(n, "n1i", "n2i", "n")
    both = pair(r, "ri1", "ri2", "r") if isinstance(r, list | tuple) else single(ri1=("r", r), ri2=("r", r))
    if (sd_after is None) == ("sd_after1" in recipe.inputs.arguments):
        raise SpecError(f"bm.effects.{recipe.function} {'needs' if sd_after is None else 'has no'} sd_after")
    if sd_after is not None:
        sources |= pair(sd_after, "sd_after1", "sd_after2", "sd_after")
    choices = Choices(variance=variance, correction=correction, names=names, arms=arms)
    return made(recipe, data, sources | both, choices)


def of_alphas(
    recipe: Recipe, data: Any, alpha: Values, items: Values, n: Values, *, names: Names = ("y", "v")
) -> pd.DataFrame:
    """{data}
    alpha : str or float
        Column of the coefficients alpha, at most 1.
    items : str or float
        Column of the numbers of items of the scales, at least 2.
    n : str or float
        Column of the numbers of persons, at least 3.
    {names}
    """
    sources = single(ai=("alpha", alpha), mi=("items", items), ni=("n", n))
    return made(recipe, data, sources, Choices(names=names))
