"""Where climbs begin: the likelihood at points spread over the family, and moment estimates."""

from functools import cache

import numpy as np

from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import IntArray, Objective
from bayesmeta.kernel import likelihood
from bayesmeta.model.spec import FloatArray

SMALLEST = 0.05  # SD in units of the typical sampling SD, of the points of a scan
LARGEST = 4.0  # the same, times the excess of Q over its degrees of freedom
AT_ZERO = 0.1  # share of the points at which an SD is zero
APART = 0.35  # distance between starts in the unit cube, times sqrt(F)


@cache
def sobol(n: int, F: int, seed: int) -> FloatArray:
    """(n, F) points of the unit cube."""
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(F, rng=np.random.default_rng(seed)).random(n))


def sd_of(share: FloatArray, largest: float) -> FloatArray:
    part = (share - AT_ZERO) / (1 - AT_ZERO)
    return np.where(share < AT_ZERO, 0.0, SMALLEST * (largest / SMALLEST) ** part)


def scan(objective: Objective, n: int, seed: int = 0) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Shares (n, F) of the unit cube, z (n, F) and log-likelihoods (n,) of one data set."""
    stats, free = objective.stats, objective.free
    share = sobol(n, free.size, seed)
    excess = float(stats.Q[0]) / max(1, stats.n_obs - stats.n_coef)
    largest = LARGEST * np.sqrt(max(1.0, excess))
    z = free.scatter(share.T, lambda u: sd_of(u, largest)).T
    return share, z, objective.loglik(z)


def diverse(share: FloatArray, loglik: FloatArray, most: int) -> IntArray:
    """The best points, each at a distance from those before it."""
    chosen: list[int] = []
    apart = APART * np.sqrt(share.shape[1])
    for i in np.argsort(-loglik):
        if len(chosen) == most or not np.isfinite(loglik[i]):
            break
        if all(np.linalg.norm(share[i] - share[j]) >= apart for j in chosen):
            chosen.append(int(i))
    return np.array(chosen, dtype=np.int64)


def moment_starts(objective: Objective, multiple: float, em_steps: int) -> FloatArray:
    """z (B, F) after EM steps from diagonal Psi of `multiple` times the typical sampling variances.

    EM for Psi_l: Psi + 2/n_l Psi (d loglik / d Psi) Psi, which is the mean of E(b b') given the data.
    """
    stats, free = objective.stats, objective.free
    moments = [np.repeat(np.diag(multiple * t**2)[None], stats.n_data_sets, axis=0) for t in free.typical]
    for _ in range(em_steps):
        scores = likelihood(stats, moments, objective.restricted, gradient=True).scores
        assert scores is not None
        moments = [p + 2 / n * p @ s @ p for p, s, n in zip(moments, scores, stats.n_groups, strict=True)]
    return free.starts(moments).T
