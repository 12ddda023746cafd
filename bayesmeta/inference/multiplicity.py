"""Several comparisons at once: p-values and intervals that hold for all of them together."""

import numpy as np
from scipy.special import ndtri, stdtrit

from bayesmeta._typing import FloatArray

POINTS = 1 << 16  # of the quasi-random sequence: p-values are right to 1e-3
ADJUSTMENTS = ("none", "holm", "single-step")


def holm(pvalues: FloatArray) -> FloatArray:
    """Holm (1979), Scand. J. Stat. 6:65-70; NaN where there is no test, which counts as none.

    >>> holm(np.array([0.01, 0.04, np.nan, 0.03])).tolist()
    [0.03, 0.06, nan, 0.06]
    """
    adjusted = np.full(pvalues.shape, np.nan)
    order = np.argsort(pvalues)[: int(np.isfinite(pvalues).sum())]
    steps = pvalues[order] * np.arange(len(order), 0, -1)
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return adjusted


def largest(cov: FloatArray, df: float) -> FloatArray:
    """Quasi-random draws, sorted, of the largest |t| of comparisons with this covariance, which may be singular.

    Hothorn, Bretz and Westfall (2008), Biom. J. 50:346-363: a multivariate t distribution with df degrees of freedom.
    """
    from scipy.stats import qmc

    sd = np.sqrt(np.diag(cov))
    size, axes = np.linalg.eigh(cov / np.outer(sd, sd))
    kept = size > 1e-10 * size[-1]
    root = axes[:, kept] * np.sqrt(size[kept])
    points = qmc.Sobol(root.shape[1] + 1, seed=1).random(POINTS)
    z = ndtri(points[:, 1:]) @ root.T
    if np.isfinite(df):
        from scipy.stats import chi2

        z *= np.sqrt(df / chi2.ppf(points[:, :1], df))
    return np.sort(np.abs(z).max(1))


def single_step(statistics: FloatArray, draws: FloatArray) -> FloatArray:
    """p-values of statistics by the draws of the largest."""
    return 1 - np.searchsorted(draws, np.abs(statistics), side="left") / len(draws)


def comparison_factor(se: FloatArray, of_pairs: FloatArray, prob: float, df: float) -> float:
    """Half width, in standard errors, of intervals two of which overlap where the two do not differ significantly.

    On average over the pairs: Goldstein and Healy (1995), J. R. Stat. Soc. A 158:175-177. se (n,) : of the means;
    of_pairs (n, n) : of their differences.
    """
    upper = np.triu_indices(len(se), 1)
    t = ndtri(0.5 + prob / 2) if np.isinf(df) else stdtrit(df, 0.5 + prob / 2)
    return float(t * (of_pairs / (se[:, None] + se[None, :]))[upper].mean())
