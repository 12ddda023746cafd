"""How often a true effect of a new study lies beyond a threshold."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_number, check_probability
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.errors import SpecError
from bayesmeta.inference import exact_predict
from bayesmeta.inference.prediction_rows import Rows, new_design, quadratic
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
        probit, by the delta method from the errors of beta and of Psi; NaN where nothing varies between the groups, and
        where Psi lies at an edge and has no errors. Of a posterior mean and quantiles of the probability over the
        draws; `mean` is then the probability that a new effect lies beyond the threshold with all uncertainty taken in.

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
    0   logor     0.9  0.604  0.989
    """
    if (below is None) == (above is None):
        raise SpecError("exceedance takes one threshold: below=0 or above=0")
    name, value = ("below", below) if above is None else ("above", above)
    threshold, prob = check_number(value, name), check_probability(prob)
    used, spec = reference(tree, vcov, df), spec_from_tree(tree)
    rows = Rows.of(spec, {} if newdata is None else newdata)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)[:, None]
    Z = [new_design(spec, level, rows.frame) for level in spec.levels]
    asked = _Beyond(X, Z, offset - threshold, 1 if name == "above" else -1)
    if used is None:
        statistics, how = _of_posterior(tree, spec, asked, prob), dict[str, Any]()
    else:
        statistics, how = _of_fit(tree, spec, used, asked, prob), used.attrs
    return rows.table(spec.outcomes, statistics).assign_attrs({name: threshold, "prob": prob} | how)


@dataclass(frozen=True)
class _Beyond:
    """Rows that are asked about: designs X (n, k, P) and Z (n, k, a) per level, offset less threshold (n, 1), side."""

    X: FloatArray
    Z: list[FloatArray]
    start: FloatArray
    side: int

    def share(self, away: FloatArray, variance: FloatArray) -> FloatArray:
        """Probability beyond the threshold of N(away, variance); a step where nothing varies."""
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            return np.where(variance > 0, ndtr(away / np.sqrt(variance)), np.where(away == 0, 0.5, away > 0))


def _of_fit(tree: xr.DataTree, spec: Spec, used: Reference, asked: _Beyond, prob: float) -> dict[str, FloatArray]:
    """Statistics (n, k) by normal theory."""
    estimate, X = group(tree, schema.ESTIMATE), asked.X
    psi = [estimate[schema.psi(level.name)].to_numpy() for level in spec.levels]
    away = (X @ used.beta + asked.start) * asked.side
    variance = sum((quadratic(z, p) for z, p in zip(asked.Z, psi, strict=True)), np.zeros(away.shape))
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        probit = away / np.sqrt(variance)
        of_psi = (probit / (2 * variance)) ** 2 * _variance_of(tree, spec, asked.Z)
        se = np.where(variance > 0, np.sqrt(quadratic(X, used.cov) / variance + of_psi), np.nan)
    half = quantile(prob, used.dfs(X.reshape(-1, X.shape[-1])).reshape(away.shape)) * se
    return {"mean": asked.share(away, variance), "lower": ndtr(probit - half), "upper": ndtr(probit + half)}


def _variance_of(tree: xr.DataTree, spec: Spec, Z: list[FloatArray]) -> FloatArray:
    """(n, k) sampling variance of the sum over levels of z Psi z', from that of the free parameters it depends on.

    NaN where one of these has no standard error, as at an edge of its range.
    """
    estimate, places = group(tree, schema.ESTIMATE), free_of_levels(tree)
    xi, cov = estimate["xi"].to_numpy(), estimate["xi_cov"].to_numpy()
    slopes = np.zeros((*Z[0].shape[:2], len(xi)))
    for level, z in zip(spec.levels, Z, strict=True):
        place = places[level.name]
        if len(xi[place]):
            for i, j in np.ndindex(*slopes.shape[:2]):
                slopes[i, j, place] = level.structure.pullback(xi[place], np.outer(z[i, j], z[i, j]), level.dim)
    known = np.isfinite(np.diag(cov))
    total = np.einsum("nkr,rs,nks->nk", slopes[..., known], cov[np.ix_(known, known)], slopes[..., known])
    return np.where(slopes[..., ~known].any(-1), np.nan, total)


def _of_posterior(tree: xr.DataTree, spec: Spec, asked: _Beyond, prob: float) -> dict[str, FloatArray]:
    """Statistics (n, k) of the probability over the posterior."""
    if (points := exact_posterior(tree)) is not None and any(level.dim for level in spec.levels):
        return exact_predict.of_probability(points, asked.X, asked.start[:, 0], asked.side, asked.Z, prob)
    beta, psi = beta_draws(tree), [psi_draws(tree, level.name) for level in spec.levels]
    rows = []
    for i, (x, start) in enumerate(zip(asked.X, asked.start, strict=True)):
        of_levels = [np.einsum("ka,bac,kc->kb", z[i], p, z[i]) for z, p in zip(asked.Z, psi, strict=True)]
        share = asked.share((x @ beta.T + start) * asked.side, sum(of_levels, np.zeros(1)))
        rows.append(summarised(share, prob, axis=-1))
    return {name: np.stack([row[name] for row in rows]) for name in ("mean", "lower", "upper")}
