"""How often a true effect of a new study lies beyond a threshold."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_number, check_probability
from bayesmeta.errors import SpecError
from bayesmeta.inference.prediction_rows import Rows, quadratic
from bayesmeta.inference.reference import Reference, Vcov, quantile, reference
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import free_of_levels
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws, summarised
from bayesmeta.tree.specification import group, spec_from_tree


def exceedance(
    tree: xr.DataTree,
    below: float | None = None,
    above: float | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> xr.Dataset:
    """Probability that the true effect of a new unit in a new group of every level lies beyond a threshold.

    Parameters
    ----------
    tree : DataTree
        Results tree of `bm.fit` or `bm.sample`, also one read back from a file.
    below, above : float
        The threshold, on the scale of the model; one of the two.
    newdata : DataFrame or mapping, optional
        Rows with the predictors, as for `bm.predict`. By default `{}`, one row of a model that needs no predictors.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`.

    Returns
    -------
    Dataset
        Over (row, outcome): `mean`, the probability, with `lower` and `upper`. Of a fit the interval is that of the
        probit, by the delta method from the errors of beta and of Psi; NaN where nothing varies between the groups. Of
        a posterior mean and quantiles of the probability over the draws; `mean` is then the probability that a new
        effect lies beyond the threshold with all uncertainty taken in.

    Raises
    ------
    SpecError
        When neither or both of `below` and `above` are given, one is not a finite number, or as `bm.predict` raises.

    References
    ----------
    Mathur and VanderWeele (2019), Stat. Med. 38:1336-1342.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> bm.exceedance(fit, below=0).to_dataframe().round(3)
                   mean  lower  upper
    row outcome
    0   logor      0.9  0.643  0.986
    """
    if (below is None) == (above is None):
        raise SpecError("exceedance takes one threshold: below=0 or above=0")
    name, value = ("below", below) if above is None else ("above", above)
    threshold, prob = check_number(value, name), check_probability(prob)
    used, spec = reference(tree, vcov, df), spec_from_tree(tree)
    rows = Rows.of(spec, {} if newdata is None else newdata)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)[:, None]
    Z = [spec.design.random(level.name, rows.frame) for level in spec.levels]
    if used is None:
        statistics = _of_draws(tree, spec, X, offset, Z, threshold, name == "above", prob)
        how: dict[str, Any] = {}
    else:
        statistics, how = _of_fit(tree, spec, used, X, offset, Z, threshold, name == "above", prob), used.attrs
    table = rows.table(spec.outcomes, statistics)
    return table.assign_attrs({name: threshold, "prob": prob} | how)


def _of_fit(
    tree: xr.DataTree,
    spec: Spec,
    used: Reference,
    X: FloatArray,
    offset: FloatArray,
    Z: list[FloatArray],
    threshold: float,
    above: bool,
    prob: float,
) -> dict[str, FloatArray]:
    """Statistics (n, k) by normal theory."""
    estimate = group(tree, schema.ESTIMATE)
    psi = [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels]
    away = (X @ used.beta + offset - threshold) * (1 if above else -1)
    variance = sum((quadratic(z, p) for z, p in zip(Z, psi, strict=True)), np.zeros(away.shape))
    with np.errstate(divide="ignore", invalid="ignore"):
        probit = away / np.sqrt(variance)
        of_beta = quadratic(X, used.cov) / variance
        of_psi = (probit / (2 * variance)) ** 2 * _variance_of(tree, spec, Z)
    se = np.where(variance > 0, np.sqrt(of_beta + of_psi), np.nan)
    half = quantile(prob, used.dfs(X.reshape(-1, X.shape[-1])).reshape(away.shape)) * se
    mean = np.where(variance > 0, ndtr(probit), np.where(away == 0, 0.5, away > 0))
    return {"mean": mean, "lower": ndtr(probit - half), "upper": ndtr(probit + half)}


def _variance_of(tree: xr.DataTree, spec: Spec, Z: list[FloatArray]) -> FloatArray:
    """(n, k) sampling variance of the sum over levels of z Psi z', from that of the free parameters."""
    estimate, places = group(tree, schema.ESTIMATE), free_of_levels(tree)
    xi, cov = estimate["xi"].to_numpy(), np.nan_to_num(estimate["xi_cov"].to_numpy())
    n, k = Z[0].shape[:2]
    slopes = np.zeros((n, k, len(xi)))
    for level, z in zip(spec.levels, Z, strict=True):
        place = places[level.name]
        if len(xi[place]):
            for i, j in np.ndindex(n, k):
                bar = np.outer(z[i, j], z[i, j])
                slopes[i, j, place] = level.structure.pullback(xi[place], bar, level.dim)
    return np.asarray(np.einsum("nkr,rs,nks->nk", slopes, cov, slopes))


def _of_draws(
    tree: xr.DataTree,
    spec: Spec,
    X: FloatArray,
    offset: FloatArray,
    Z: list[FloatArray],
    threshold: float,
    above: bool,
    prob: float,
) -> dict[str, FloatArray]:
    """Statistics (n, k) of the probability over the draws."""
    beta, psi = beta_draws(tree), [psi_draws(tree, level.name) for level in spec.levels]
    rows = []
    for i in range(len(X)):
        away = (X[i] @ beta.T + offset[i] - threshold) * (1 if above else -1)  # (k, draws)
        variance = sum((np.einsum("ka,bac,kc->kb", z[i], p, z[i]) for z, p in zip(Z, psi, strict=True)), np.zeros(1))
        with np.errstate(divide="ignore", invalid="ignore"):
            share = np.where(variance > 0, ndtr(away / np.sqrt(variance)), np.where(away == 0, 0.5, away > 0))
        rows.append(summarised(share, prob, axis=-1))
    return {name: np.stack([row[name] for row in rows]) for name in ("mean", "lower", "upper")}
