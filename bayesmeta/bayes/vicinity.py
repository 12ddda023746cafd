"""Where to begin to sample, and in which coordinates: the REML estimate, moved off the edges."""

import warnings
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.estimation import fit_likelihood
from bayesmeta.kernel import likelihood
from bayesmeta.model.spec import Spec
from bayesmeta.structures.base import Structure

OFF_ZERO = 0.3  # in units of the typical sampling SD of the effect: an SD that REML puts at zero begins here


@dataclass(frozen=True)
class Vicinity:
    """A point near the mode of the posterior under weak priors.

    beta (P,), beta_factor (P, P) lower triangular, a root of the covariance of beta there; tau and rho of every level.
    """

    beta: FloatArray
    beta_factor: FloatArray
    tau: tuple[FloatArray, ...]
    rho: tuple[FloatArray, ...]


def vicinity(spec: Spec) -> Vicinity:
    """The REML estimate with SDs at zero raised and correlations drawn in; what it cannot identify starts somewhere."""
    with warnings.catch_warnings():
        # whether REML converges is not what is asked here
        warnings.simplefilter("ignore", BayesmetaWarning)
        estimate = fit_likelihood(spec, restricted=True)
    parts = [
        _start(level.structure, psi, unit)
        for level, psi, unit in zip(spec.levels, estimate.psi, spec.statistics.typical, strict=True)
    ]
    psi = [level.structure.compose(tau, rho, level.dim) for level, (tau, rho) in zip(spec.levels, parts, strict=True)]
    near = likelihood(spec.statistics, psi, restricted=True)
    return Vicinity(near.beta, np.linalg.cholesky(near.beta_cov), *zip(*parts, strict=True))


def _start(structure: Structure, psi: FloatArray, unit: FloatArray) -> tuple[FloatArray, FloatArray]:
    tau, rho = structure.decompose(psi)
    if len(tau):
        least = OFF_ZERO * (np.median(unit) if len(tau) < len(unit) else unit)
        tau = np.maximum(tau, least)
    return tau, rho
