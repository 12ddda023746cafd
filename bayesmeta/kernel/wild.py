"""Wild bootstrap of Wald statistics with a sandwich covariance: errors of whole clusters multiplied at random.

Under the hypothesis L'beta = c the weighted estimate is b, with residuals e_c. A data set has X_c b + eta_c e_c in
cluster c. With the weights of the fit, t_c = G_c'e_c and M_c = G_c'X_c, its estimate and the scores of its sandwich are

    b + Phi sum_c eta_c X_c'Sigma_c^-1 e_c        eta_c t_c - M_c Phi sum_c eta_c X_c'Sigma_c^-1 e_c

linear in eta, so nothing is fitted again.

Cameron, Gelbach and Miller (2008), Rev. Econ. Stat. 90:414-427; Webb (2023), Can. J. Econ. 56:839-858; Joshi,
Pustejovsky and Beretvas (2022), Res. Synth. Methods 13:457-477.
"""

from itertools import product

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.kernel.likelihood import pieces
from bayesmeta.kernel.sandwich import Sandwich

# values of a multiplier, all equally probable: mean 0 and variance 1
MULTIPLIERS = {
    "rademacher": np.array([-1.0, 1.0]),
    "webb": np.array([-1.0, -1.0, -1.0, 1.0, 1.0, 1.0]) * np.sqrt([1.5, 1.0, 0.5, 0.5, 1.0, 1.5]),
}


def multipliers(kind: str, m: int, draws: int, rng: np.random.Generator) -> FloatArray:
    """(B, m) multipliers of m clusters: all that there are, if these are no more than `draws`, else so many of them."""
    values = MULTIPLIERS[kind]
    if is_enumerated(kind, m, draws):
        return np.array(list(product(values, repeat=m)))
    return values[rng.integers(0, len(values), (draws, m))]


def is_enumerated(kind: str, m: int, draws: int) -> bool:
    """Whether there are no more arrangements than draws."""
    return m * np.log(len(MULTIPLIERS[kind])) <= np.log(draws) + 1e-9


def wild_statistics(made: Sandwich, L: FloatArray, away: FloatArray, eta: FloatArray) -> FloatArray:
    """Wald statistics (B,) of L'beta in data sets made where the hypothesis holds, by multipliers (B, m).

    L (P, q); away (q,) is L'beta less its value under the hypothesis. Multipliers of one give the statistic of the
    data. Infinite where the covariance of L'beta is singular.
    """
    of = made.clusters
    to = of.cov @ L  # Phi L
    residual = of.residual + of.X @ (to @ np.linalg.solve(L.T @ to, away))
    toward = of.sums(of.U * residual[:, None]) @ of.cov  # (m, P) what each cluster adds to the estimate
    own = of.sums(made.G * residual[:, None]) @ to  # (m, q)
    through = to.T @ of.sums(made.G[:, :, None] * of.X[:, None, :])  # (m, q, P)
    statistics = np.empty(len(eta))
    for part in pieces(len(eta), 4 * own.size):
        moved = eta[part] @ toward
        scores = eta[part][:, :, None] * own - np.einsum("mqp,bp->bmq", through, moved)
        statistics[part] = _wald(moved @ L, scores.mT @ scores)
    return statistics


def _wald(d: FloatArray, V: FloatArray) -> FloatArray:
    """d'V^-1 d for d (B, q), V (B, q, q): infinite where a direction has no variance."""
    size, axes = np.linalg.eigh(V)
    along = np.einsum("bij,bi->bj", axes, d) ** 2
    rounding = np.finfo(float).eps * size[:, -1:]
    return np.asarray(np.where(size > rounding, along / np.where(size > rounding, size, 1.0), np.inf).sum(1))
