"""Tetrachoric correlations: the correlation of a bivariate normal distribution that has the shares of a table.

Three parameters, two cuts and the correlation, meet three free shares, so that the likelihood is largest where the
distribution has exactly those of the table: the cuts are quantiles of the margins, and one equation is left.
"""

import numpy as np
from scipy.special import ndtr, ndtri, owens_t

from bayesmeta._typing import FloatArray

MOST_STEPS = 200


def bivariate_normal(h: FloatArray, k: FloatArray, rho: FloatArray) -> FloatArray:
    """P(X < h, Y < k) of standard normal variables with correlation rho, by Owen's T function.

    Owen (1956), Ann. Math. Stat. 27:1075-1090, equation 2.1; a cut of exactly 0 is its limit.
    """
    h, k = (np.where(cut == 0, 1e-300, cut) for cut in (h, k))
    root = np.sqrt(1 - rho**2)
    opposite = 0.5 * ((h * k) < 0)
    slope_h, slope_k = (k / h - rho) / root, (h / k - rho) / root
    return 0.5 * (ndtr(h) + ndtr(k)) - owens_t(h, slope_h) - owens_t(k, slope_k) - opposite


def _density(h: FloatArray, k: FloatArray, rho: FloatArray) -> FloatArray:
    free = 1 - rho**2
    return np.exp(-(h**2 - 2 * rho * h * k + k**2) / (2 * free)) / (2 * np.pi * np.sqrt(free))


def tetrachoric(a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Correlations and variances of tables, each (n,); plus or minus 1 and NaN where a cell is empty, NaN for a margin.

    >>> r, v = tetrachoric(*(np.array([float(cell)]) for cell in (40, 10, 10, 40)))
    >>> bool(abs(r[0] - np.sin(np.pi / 2 * 0.6)) < 1e-12)  # both variables cut at their medians: Sheppard (1898)
    True
    """
    n = a + b + c + d
    row, col = (a + b) / n, (a + c) / n
    h, k = ndtri(row), ndtri(col)
    inside = (np.stack([a, b, c, d]) > 0).all(axis=0)
    r = np.where((b == 0) | (c == 0), 1.0, -1.0)
    r = np.where((row == 0) | (row == 1) | (col == 0) | (col == 1) | np.isnan(n), np.nan, r)
    v = np.full_like(r, np.nan)
    if inside.any():
        cuts = h[inside], k[inside]
        r[inside] = _correlation(*cuts, a[inside] / n[inside])
        v[inside] = _variance(*cuts, r[inside], a[inside], b[inside], c[inside], d[inside])
    return r, v


def _correlation(h: FloatArray, k: FloatArray, share: FloatArray) -> FloatArray:
    """Newton's steps on the angle of the correlation, kept within a bracket that halves where they would leave it."""
    low, high = np.full_like(h, -np.pi / 2), np.full_like(h, np.pi / 2)
    angle = np.zeros_like(h)
    for _ in range(MOST_STEPS):
        rho = np.sin(angle)
        excess = bivariate_normal(h, k, rho) - share
        low, high = np.where(excess < 0, angle, low), np.where(excess > 0, angle, high)
        step = angle - excess / (_density(h, k, rho) * np.cos(angle))
        after = np.where((step > low) & (step < high), step, (low + high) / 2)
        done = np.abs(after - angle) <= 1e-15 * np.maximum(np.abs(angle), 1e-3)
        angle = np.where(excess == 0, angle, after)
        if np.all(done | (excess == 0)):
            break
    return np.sin(angle)


def _variance(
    h: FloatArray, k: FloatArray, rho: FloatArray, a: FloatArray, b: FloatArray, c: FloatArray, d: FloatArray
) -> FloatArray:
    """Inverse information: the variance of what one person adds to the correlation, over n.

    A person in a cell changes the share of the first cell and those of the two margins, which move the cuts.
    """
    root, n = np.sqrt(1 - rho**2), a + b + c + d
    by_row, by_col = ndtr((k - rho * h) / root), ndtr((h - rho * k) / root)
    values = np.stack([1 - by_row - by_col, -by_row, -by_col, np.zeros_like(h)])
    shares = np.stack([a, b, c, d]) / n
    mean = (shares * values).sum(axis=0)
    return (shares * (values - mean) ** 2).sum(axis=0) / (n * _density(h, k, rho) ** 2)
