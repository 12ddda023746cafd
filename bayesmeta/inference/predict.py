"""Predictions from a results tree: the fixed part for any row, and the random effects of the groups in the data."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_draws, check_probability
from bayesmeta.inference import posterior_predict
from bayesmeta.inference.prediction_intervals import (
    DRAWS,
    NAGASHIMA,
    OF_THE_MEAN,
    check_predictive,
    nagashima,
    riley_df,
)
from bayesmeta.inference.prediction_rows import (
    JOINT,
    Covariance,
    Rows,
    check_covariance,
    depth,
    joint_of,
    new_design,
    new_effect,
    new_levels,
    normal,
    quadratic,
    quantile,
    table,
)
from bayesmeta.inference.reference import Reference, Vcov, reference
from bayesmeta.inference.reference import quantile as t_quantile
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import DIFFERENCE, EFFECT, Scale, reading
from bayesmeta.tree.specification import group, spec_from_tree


def predict(
    tree: xr.DataTree,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    interval: Literal["confidence", "prediction"] | None = "confidence",
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    level: str | None = None,
    draws: int | None = None,
    random_seed: int | Sequence[int] | None = None,
    covariance: Covariance = False,
) -> xr.Dataset:
    """Mean of every outcome at the given predictors: the fixed part of the model, offset included.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` or `sample`, in memory or read with `xarray.open_datatree`.
    newdata : DataFrame or mapping, optional
        Rows to predict for: a data frame, or a dict of columns or of single values, with the predictors only; outcomes
        and groups need not be there. `{}` is one row, of a model that needs no predictors. By default the rows of the
        data, also those that were dropped for want of an outcome.
    interval : {"confidence", "prediction"} or None, default "confidence"
        "confidence", for the mean; "prediction", for the true effect of a new unit in a new group of every level, or of
        the levels down to `level`, which needs the predictors of the random parts as well; None, no interval.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", on the scale on which people read the measure: odds ratios of log odds ratios, correlations of
        Fisher's z. By default the scale of the model.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`. A prediction interval
        takes the degrees of freedom of its mean, also by default. Kinds of its own are `df="riley"` (Higgins, Thompson
        and Spiegelhalter: as many less than "residual" as Psi has parameters, with the covariance of the model),
        "riley-knapp-hartung" (the same with that of Knapp and Hartung) and "nagashima" (draws of tau2 from its
        confidence distribution, whatever the method of the fit), the last two for one outcome with one random effect a
        row.
    level : str, optional
        Of a prediction interval: the innermost level of which a group is new. "district" of "district/study" is the
        mean of the studies of a new district. By default the last level.
    draws : int, optional
        Of "nagashima", by default 25,000.
    random_seed : int or sequence of int, optional
        Of "nagashima": whatever `numpy.random.SeedSequence` takes.
    covariance : bool or "joint", default False
        Whether the covariances of the outcomes of a row are returned as well, on the scale of the model; for curves of
        several coefficients, see `bm.curve`. "joint": also those between rows, which share the coefficients.

    Returns
    -------
    Dataset
        Over (row, outcome): `mean`; `se`, its standard error, for "prediction" the standard deviation of the new effect
        about `mean`, that of the model unless `vcov` or `df` is given; with an interval `lower` and `upper`, by the
        reference distribution and its covariance. On the response
        scale the bounds are transformed, of a posterior every draw, and there is no `se`, which has no counterpart. A
        row with a missing predictor is NaN, as is a row of the data that was dropped because of its predictors; missing
        outcomes are predicted. Of a posterior, mean and SD of the draws, and their quantiles as an equal-tailed
        interval. On request `covariance` (row, outcome, outcome_bis), whose diagonal is the square of `se`, and `joint`
        (row, outcome, row_bis, outcome_bis).

    Raises
    ------
    DataError
        When `newdata` has no rows, or a predictor is not in it or has a category that the data did not have.
    SpecError
        When an argument is not as above, the measure of the model is not read on another scale, or the tree holds
        neither a fit nor a posterior.

    Warns
    -----
    AssumptionWarning
        When `newdata` has columns that the model does not use, unless the outcomes are among them, as in a data set.

    Notes
    -----
    With designs x0 and z_l the variances are x0 Var(beta) x0' and x0 Var(beta) x0' + sum over levels of z_l Psi_l z_l'.
    The uncertainty of Psi is in neither. A posterior has it in both: the variance of a new effect is Var(x0 beta) plus
    the mean over draws of z_l Psi_l z_l', and its quantiles are those of x0 beta + sum of z_l b_l with one new b_l from
    N(0, Psi_l) for each draw, the same for all rows and at every call.

    References
    ----------
    Higgins, Thompson and Spiegelhalter (2009), J. R. Stat. Soc. A 172:137-159; Riley, Higgins and Deeks (2011), BMJ
    342:d549; Partlett and Riley (2017), Stat. Med. 36:301-317; Nagashima, Noma and Furukawa (2019), Stat. Methods Med.
    Res. 28:1689-1702.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> bm.predict(bm.fit(spec), {"year": 1990})["mean"].round(3).item()
    0.181
    >>> bcg = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    >>> bm.predict(bcg, {}, interval="prediction", scale="response").to_dataframe().round(3)
                  mean  lower  upper
    row outcome
    0   logor    0.475  0.126  1.795
    """
    if interval is not None:
        check_choice(interval, ("confidence", "prediction"), "interval")
    prob, read = check_probability(prob), reading(tree, scale)
    own = df if isinstance(df, str) and df in OF_THE_MEAN and not is_posterior(tree) else None
    if own:
        check_predictive(own, interval, vcov)
    draws = check_draws(draws, random_seed, DRAWS, None if own == NAGASHIMA else f'df="{NAGASHIMA}"')
    used, spec = reference(tree, vcov, OF_THE_MEAN[own] if own else df), spec_from_tree(tree)
    levels = new_levels(spec, level, interval)
    rows = Rows.of(spec, newdata)
    check_covariance(covariance, read, len(rows.used), len(spec.outcomes))
    if used is None:
        return posterior_predict.predict(tree, rows, interval, prob, read, levels, covariance)
    estimate = group(tree, schema.ESTIMATE)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)[:, None]
    mean, between = X @ used.beta + offset, np.zeros(X.shape[:2])
    for each in levels:
        between += quadratic(new_design(spec, each, rows.frame), estimate[schema.psi(each.name)].to_numpy())
    dfs = used.dfs(X.reshape(-1, X.shape[-1])).reshape(mean.shape) if own is None else riley_df(spec, own)
    statistics = normal(mean, np.sqrt(quadratic(X, used.cov) + between), t_quantile(prob, dfs))
    if vcov is None and df is None:  # nobody asked for another covariance than that in the tree
        statistics["se"] = np.sqrt(quadratic(X, estimate["beta_cov"].to_numpy()) + between)
    if own == NAGASHIMA:
        bounds = nagashima(spec, X[:, 0], prob, draws, random_seed)
        statistics |= {name: bound[:, None] + offset for name, bound in zip(("lower", "upper"), bounds, strict=True)}
    predicted = rows.table(spec.outcomes, read.bounds(statistics))
    how = used.attrs | ({"df": own} if own else {})
    about = {"se": f"standard deviation of {new_effect(spec, levels)}" if levels else "standard error of the mean"}
    predicted.attrs = read.attrs(about | ({"interval": interval, "prob": prob} | how if interval else {}))
    if covariance:
        cov = estimate["beta_cov"].to_numpy() if vcov is None and df is None else used.cov
        designs = [(X, cov), *((new_design(spec, v, rows.frame), estimate[schema.psi(v.name)].values) for v in levels)]
        rows.with_covariance(predicted, sum(Z @ V @ Z.mT for Z, V in designs))
        if covariance == JOINT:
            rows.with_joint_covariance(predicted, np.sum([joint_of(Z, V) for Z, V in designs], axis=0))
    return predicted if interval else predicted.drop_vars(["lower", "upper"])


def blup(
    tree: xr.DataTree,
    level: str | None = None,
    kind: Literal["outcome", "residual"] = "outcome",
    se: Literal["exact", "paper"] = "exact",
    prob: float = 0.95,
    scale: Scale | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
    covariance: Covariance = False,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Best linear unbiased prediction of the true effects behind every row of the data.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` or `sample`, in memory or read with `xarray.open_datatree`.
    level : str, optional
        Name of a level: the random effects of this one and of those outside it are in the prediction; by default all.
        The marginal covariance is that of the whole model, whatever the level.
    kind : {"outcome", "residual"}, default "outcome"
        "outcome", fixed part, offset and random effects; "residual", the random effects alone.
    se : {"exact", "paper"}, default "exact"
        "exact", the prediction error with the uncertainty of beta and its covariance with the random effects; "paper",
        equation (6) of Sera et al. (2019), which leaves that covariance out and means nothing for a posterior.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", on the scale on which people read the measure, as odds ratios of log odds ratios; of residuals,
        which are differences, as ratios of these. By default the scale of the model.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`, for the part of the
        error that comes with them: an interval reaches sqrt(t^2 a'Var(beta)a + z^2 v) from its mean, with the error a
        of the prediction for that of beta, and the variance v given beta. By default normal quantiles for all.
    covariance : bool or "joint", default False
        Whether the covariances of the prediction errors of a row are returned as well, on the scale of the model; for
        curves of several coefficients, see `bm.curve`. "joint": also those between rows, which share the coefficients
        and the groups around them; of a posterior, those of its draws. It is what `bm.attributable` needs for totals.
    newdata : DataFrame or mapping, optional
        Rows to predict for, as in `bm.predict`, of groups that the data have: the predictors, and the columns of the
        levels down to `level`. A place can so be predicted at values of its predictors that it did not have. By default
        the rows of the data.

    Returns
    -------
    Dataset
        Over (row, outcome): `mean`, `se`, `lower`, `upper`, for every row of the data. A row that
        was dropped is NaN; a missing outcome is predicted from the other observations of its groups. Of a posterior,
        mean, SD and quantiles of the draws. On the response scale the bounds are transformed, of a posterior every
        draw, and there is no `se`. On request `covariance` (row, outcome, outcome_bis), whose diagonal is the square of
        `se`.

    Raises
    ------
    SpecError
        When an argument is not as above, or the tree holds neither a fit nor a posterior.
    DataError
        When `newdata` lacks a predictor or the column of a level, or has a group that the data do not have.

    References
    ----------
    Robinson (1991), Stat. Sci. 6:15-32. Henderson (1975), Biometrics 31:423-447.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> fit = bm.fit(spec)
    >>> bm.blup(fit, level="district", kind="residual")["mean"][0].round(4).item()
    -0.19
    >>> bm.blup(fit, level="district", newdata={"district": 71})["mean"].round(4).item()
    0.719
    """
    check_choice(kind, ("outcome", "residual"), "kind")
    check_choice(se, ("exact", "paper"), "se")
    prob, used, read = (
        check_probability(prob),
        _asked(tree, vcov, df),
        reading(tree, scale, DIFFERENCE if kind == "residual" else EFFECT),
    )
    spec = spec_from_tree(tree)
    rows = Rows.of_known_groups(spec, newdata, depth(spec, level))
    check_covariance(covariance, read, len(rows.used), len(spec.outcomes))
    if is_posterior(tree):
        return posterior_predict.blup(tree, rows, level, kind, se, prob, read, covariance)
    effects = _random_effects(tree, spec)
    mean, with_beta, conditional = _random_part(spec, rows, effects, depth(spec, level))
    if se == "paper":
        with_beta = np.zeros_like(with_beta)
    if kind == "outcome":
        X = spec.design.fixed(rows.frame)
        mean += X @ effects.beta + spec.design.offset(rows.frame)[:, None]
        with_beta += X @ effects.beta_factor
    given_beta, cov = np.sum(conditional**2, axis=-1), np.eye(with_beta.shape[-1])
    z, how, of_beta = np.full(mean.shape, quantile(prob)), {}, quadratic(with_beta, cov)
    if used is not None:
        by_beta, cov = np.linalg.solve(effects.beta_factor.T, with_beta[..., None])[..., 0], used.cov
        with_beta, of_beta = by_beta, quadratic(by_beta, cov)
        t = t_quantile(prob, used.dfs(by_beta.reshape(-1, by_beta.shape[-1]))).reshape(mean.shape)
        spread = given_beta + of_beta
        half = np.sqrt(z**2 * given_beta + np.where(of_beta > 0, t**2 * of_beta, 0.0))
        z, how = half / np.sqrt(np.where(spread > 0, spread, 1.0)), used.attrs
    predicted = rows.table(spec.outcomes, read.bounds(normal(mean, np.sqrt(given_beta + of_beta), z)))
    about = {"level": level or spec.levels[-1].name, "kind": kind, "se": se, "prob": prob}
    predicted.attrs = read.attrs(about | how)
    if covariance:
        rows.with_covariance(predicted, with_beta @ cov @ with_beta.mT + conditional @ conditional.mT)
    if covariance == JOINT:
        rows.with_joint_covariance(predicted, joint_of(with_beta, cov) + _shared(spec, rows, conditional))
    return predicted


def _shared(spec: Spec, rows: Rows, conditional: FloatArray) -> FloatArray:
    """(n, k, n, k) covariances of errors given beta: those of the groups, level by level, that two rows share."""
    n, k, _ = conditional.shape
    errors, at = np.zeros((n, k, n, k)), 0
    for level in spec.levels:
        own = conditional[..., at : at + level.dim]
        if own.shape[-1]:
            of_row = rows.group(spec, level)
            errors += joint_of(own, np.eye(level.dim)) * (of_row[:, None] == of_row[None, :])[:, None, :, None]
        at += level.dim
    return errors


def _asked(tree: xr.DataTree, vcov: Vcov | None, df: str | None) -> Reference | None:
    """The reference that is asked for; None where none is."""
    return None if vcov is None and df is None else reference(tree, vcov, df)


def ranef(tree: xr.DataTree, prob: float = 0.95) -> xr.DataTree:
    """Predicted random effects of every group at every level.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` or `sample`, in memory or read with `xarray.open_datatree`.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.

    Returns
    -------
    DataTree
        One node per level, named by the level, each with `mean`, `se`, `lower`, `upper` over (group_L, effect_L), L the
        level: BLUPs, the exact standard deviations of their prediction errors, and intervals by normal quantiles; of a
        posterior, mean, SD and quantiles of the draws. A group's label is preceded by those of the groups it lies in,
        as in "11/3". Where the effects are times, NaN at those that a group does not have.

    Raises
    ------
    SpecError
        When `prob` is not a probability, or the tree holds neither a fit nor a posterior.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> bm.ranef(bm.fit(spec))["district"]["mean"].sel(group_district="71").round(3).item()
    0.534
    """
    z = quantile(prob)
    if is_posterior(tree):
        return posterior_predict.ranef(tree, prob)
    spec = spec_from_tree(tree)
    effects = _random_effects(tree, spec)
    root = xr.DataTree(xr.Dataset(attrs={"se": "exact", "prob": prob}))
    for level, b in zip(spec.levels, effects.levels, strict=True):
        dims = (schema.group(level.name), schema.effect(level.name))
        coords = {dim: spec.coords[dim] for dim in dims}
        mean, se = (level.present(each.T) for each in (b.mean, np.sqrt(np.sum(b.factor**2, axis=1))))
        statistics = normal(mean, se, z)
        root[level.name] = xr.DataTree(table(dims, statistics, coords))
    return root


def _random_effects(tree: xr.DataTree, spec: Spec) -> kernel.Prediction:
    estimate = group(tree, schema.ESTIMATE)
    return kernel.random_effects(
        spec.statistics, [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels]
    )


def _random_part(
    spec: Spec, rows: Rows, effects: kernel.Prediction, depth: int
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Sum of the random terms (n, k) of the first levels, and a root of its error variance in two parts.

    The first, (n, k, P), is the error that comes with beta's, the second, (n, k, a_1 + .. + a_l), the error given beta.
    """
    P, levels = len(spec.coef), spec.levels[:depth]
    shape = (len(rows.frame), len(spec.outcomes))
    mean, error = np.zeros(shape), np.zeros((*shape, P + sum(level.dim for level in levels)))
    for level, b in zip(levels, effects.levels, strict=False):
        Z, of_row = spec.design.random(level.name, rows.frame), rows.group(spec, level)
        mean += np.einsum("nka,an->nk", Z, b.mean[:, of_row])
        error[..., : b.factor.shape[1]] += np.einsum("nka,acn->nkc", Z, b.factor[:, :, of_row])
    return mean, error[..., :P], error[..., P:]
