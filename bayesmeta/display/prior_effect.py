"""What the priors of the coefficients did to their posterior means, without another fit."""

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.integration_points import beta_moments
from bayesmeta.display.tables import number
from bayesmeta.priors.distributions import IMPROPER
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior

_OF_NORMAL = {"mu", "sigma", "tau"}
_VISIBLE = 0.05  # posterior SDs by which a mean must have moved to be worth a sentence


def flat_prior_means(mean: FloatArray, covariance: FloatArray, priors: ModelPriors) -> FloatArray | None:
    """Posterior means (P,) under flat priors of the coefficients, from those under normal ones.

    The posterior is taken for normal: the precision and the pull of the prior are subtracted from it. None where a
    prior is neither normal nor flat, or is all that holds a coefficient.
    """
    if not all(
        prior.name in IMPROPER or (prior.name == "Normal" and set(prior.params) <= _OF_NORMAL) for prior in priors.beta
    ):
        return None
    weight = np.array([_precision(prior) for prior in priors.beta])
    at = np.array([prior.params.get("mu", 0.0) for prior in priors.beta])
    information = np.linalg.inv(covariance)
    own = information - priors.centring.T @ (weight[:, None] * priors.centring)
    if np.linalg.eigvalsh(own).min() <= 0:
        return None
    return np.asarray(np.linalg.solve(own, information @ mean - priors.centring.T @ (weight * at)))


def _precision(prior: Prior) -> float:
    """Of a normal prior, given as such or by its SD, which PyMC takes for 1 where neither is; 0 of a flat one."""
    if prior.name in IMPROPER:
        return 0.0
    return prior.params["tau"] if "tau" in prior.params else prior.params.get("sigma", 1.0) ** -2.0


def prior_effect(tree: xr.DataTree, priors: ModelPriors) -> str:
    """Which posterior means the priors moved, from where; empty where none moved visibly.

    priors : those of the tree.
    """
    mean, covariance = beta_moments(tree)
    flat = flat_prior_means(mean, covariance, priors) if np.all(np.diag(covariance) > 0) else None
    if flat is None:
        return ""
    sd = np.sqrt(np.diag(covariance))
    moved = [
        f"beta[{label}] from {number(before, spread)} to {number(after, spread)}"
        for label, before, after, spread in zip(priors.beta_labels, flat, mean, sd, strict=True)
        if abs(after - before) > _VISIBLE * spread
    ]
    if not moved:
        return ""
    return f"moved the mean of {', '.join(moved)} (the first under a flat prior, by normal approximation)"
