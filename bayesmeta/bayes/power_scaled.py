"""A posterior with its prior or its likelihood raised to powers near one: exactly, at the points where it is known.

The marginal likelihood of the coefficients, a normal one, has a normal power; so have normal priors; and the densities
of SDs and correlations are raised where they stand. Nothing is integrated or sampled again.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.evaluator import Evaluated
from bayesmeta.bayes.many_priors import Served
from bayesmeta.bayes.shared_points import SharedPoints
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.priors.closed_forms import moments
from bayesmeta.priors.correlations import rho_logp
from bayesmeta.priors.distributions import IMPROPER, logp
from bayesmeta.priors.model_priors import ModelPriors

PRIOR, LIKELIHOOD = "prior", "likelihood"
BLOCKS = ("beta", "tau", "rho")  # of priors


class Scaled(NamedTuple):
    """One posterior: weight (n,), and mean and SD of the coefficients given every point (n, P)."""

    weight: FloatArray
    centre: FloatArray
    spread: FloatArray


def takes(priors: ModelPriors) -> bool:
    """Whether powers of the priors of the coefficients are known: those of normal and flat ones are."""
    return all(prior.name in IMPROPER or moments(prior) is not None for prior in priors.beta)


def scaled(part: Served, priors: ModelPriors, component: str, alpha: float) -> Scaled:
    """The posterior with the prior, a block of it ("beta", "tau", "rho") or the likelihood raised to a power."""
    shared, points = part.shared, part.shared.points
    power = {block: alpha if component in (PRIOR, block) else 1.0 for block in BLOCKS}
    b = alpha if component == LIKELIHOOD else 1.0
    under = _under(shared, power["beta"], b)
    with np.errstate(all="ignore"):
        stats = shared.evaluator.stats
        constant = stats.n_obs * LOG_2PI + stats.logdet_S.sum(0) + points.logdet
        log = under.loglik - (b - 1) / 2 * constant + shared.log_prior(priors) + shared.log_volume
        log = log + _extra(shared, priors, power)
    log = np.where(points.usable & np.isfinite(log), log, -np.inf)
    weight = np.exp(log - log.max())
    spread = np.sqrt((under.root**2).sum(2))
    return Scaled(weight / weight.sum(), np.where(points.usable[:, None], under.beta, 0.0), spread)


def _under(shared: SharedPoints, power: float, b: float) -> Evaluated:
    """The points with the coefficients integrated out, their prior and the likelihood raised to powers."""
    if power == b == 1:
        return shared.points
    base = shared.chart.beta
    scaled_prior = replace(base, sd=base.sd / np.sqrt(power))
    return shared.evaluator.under(replace(shared.points, C=b * shared.points.C), scaled_prior)


def _extra(shared: SharedPoints, priors: ModelPriors, power: dict[str, float]) -> FloatArray:
    """(n,) what powers add to the log prior of SDs and correlations."""
    total = np.zeros(len(shared.points))
    for level, own, taus, rho in zip(shared.evaluator.spec.levels, priors.levels, shared.tau, shared.rho, strict=True):
        if power["tau"] != 1:
            for prior, tau in zip(own.tau, taus, strict=True):
                total = total + (power["tau"] - 1) * logp(prior, tau)
        if own.rho is not None and power["rho"] != 1:
            total = total + (power["rho"] - 1) * rho_logp(level.structure, level.dim, own.rho, rho)
    return total


def blocks(priors: ModelPriors) -> list[str]:
    """The blocks of a model that have a proper prior."""
    some = {
        "beta": any(prior.name not in IMPROPER for prior in priors.beta),
        "tau": any(prior.name not in IMPROPER for own in priors.levels for prior in own.tau),
        "rho": any(own.rho is not None for own in priors.levels),
    }
    return [name for name in BLOCKS if some[name]]


def jensen_shannon(width: FloatArray, p: FloatArray, q: FloatArray) -> float:
    """Cumulative Jensen-Shannon distance, between 0 and 1, of distribution functions over intervals of this width (n,).

    The square root of the sum of both divergences over its bound, and the larger of it and that of the mirrored
    distributions: Kallioinen et al. (2024), Stat. Comput. 34:57, section 2.3.2; Nguyen and Vreeken (2015).

    >>> jensen_shannon(np.array([1.0, 1.0]), np.array([0.2, 0.5]), np.array([0.2, 0.5]))
    0.0
    """
    return max(_one_sided(width, p, q), _one_sided(width, 1 - p, 1 - q))


def _one_sided(width: FloatArray, p: FloatArray, q: FloatArray) -> float:
    p, q = np.clip(p, 0, 1), np.clip(q, 0, 1)
    middle = (p + q) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        both = np.where(p > 0, p * np.log2(p / middle), 0.0) + np.where(q > 0, q * np.log2(q / middle), 0.0)
    bound = width @ (p + q)
    return float(np.sqrt(max(width @ both, 0.0) / bound)) if bound > 0 else 0.0


def distances(width: Sequence[FloatArray], one: Sequence[FloatArray], other: Sequence[FloatArray]) -> FloatArray:
    """(q,) of q quantities."""
    return np.array([jensen_shannon(*each) for each in zip(width, one, other, strict=True)])
