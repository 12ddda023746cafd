"""Distributions whose quantiles come closest to those that a paper prints."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtri

from bayesmeta._typing import FloatArray


@dataclass(frozen=True)
class Family:
    """A distribution by two parameters, on scales without bounds.

    start : from the mean and SD of about the values.  at : the distribution of parameters.
    """

    start: Callable[[float, float], tuple[float, float]]
    at: Callable[[float, float], Any]


def _stats() -> Any:
    from scipy import stats  # takes longer to load than all else here

    return stats


def _lognormal_start(mean: float, sd: float) -> tuple[float, float]:
    log_variance = np.log1p((sd / mean) ** 2)
    return np.log(mean) - log_variance / 2, np.log(log_variance) / 2


FAMILIES = {
    "normal": Family(lambda m, s: (m, np.log(s)), lambda m, log_s: _stats().norm(m, np.exp(log_s))),
    "lognormal": Family(_lognormal_start, lambda m, log_s: _stats().lognorm(np.exp(log_s), scale=np.exp(m))),
    "gamma": Family(
        lambda m, s: (2 * np.log(m / s), np.log(s**2 / m)),
        lambda log_a, log_b: _stats().gamma(np.exp(log_a), scale=np.exp(log_b)),
    ),
    "weibull": Family(
        lambda m, s: (1.09 * np.log(m / s), np.log(m)),
        lambda log_a, log_b: _stats().weibull_min(np.exp(log_a), scale=np.exp(log_b)),
    ),
}


def fitted_moments(five: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """(n,) means and SDs of the distributions with the least squared distance of their quantiles.

    five : minimum, quartiles and maximum, NaN where there is none, and persons. The extremes are taken for the
    quantiles of 1 / n and 1 - 1 / n: McGrath et al. (2020), Stat. Methods Med. Res. 29:2520-2537, section 2.2. Values
    that are not positive have the normal distribution alone.
    """
    moments = np.array([_of_row(row[:5], row[5]) for row in np.column_stack(list(five))]).reshape(-1, 2)
    return moments[:, 0], moments[:, 1]


def _of_row(numbers: FloatArray, n: float) -> tuple[float, float]:
    probs = np.array([1 / n, 0.25, 0.5, 0.75, 1 - 1 / n])
    known = ~np.isnan(numbers)
    if known.sum() < 3 or not known[2]:
        return np.nan, np.nan
    values, probs = numbers[known], probs[known]
    mean = float(values.mean())
    sd = float((values[-1] - values[0]) / (ndtri(probs[-1]) - ndtri(probs[0]))) or 1e-12
    families = FAMILIES.values() if values[0] > 0 else [FAMILIES["normal"]]
    best = min((_fit(family, values, probs, mean, sd) for family in families), key=lambda fit: fit[0])
    return best[1], best[2]


def _fit(family: Family, values: FloatArray, probs: FloatArray, mean: float, sd: float) -> tuple[float, float, float]:
    """Squared distance of the quantiles, mean and SD of the closest member of a family."""
    from scipy.optimize import least_squares  # heavy, and no fit of other data needs it

    def distances(parameters: FloatArray) -> FloatArray:
        return np.nan_to_num((family.at(*parameters).ppf(probs) - values) / sd, nan=1e6, posinf=1e6, neginf=-1e6)

    with np.errstate(all="ignore"):
        found = least_squares(distances, family.start(mean, sd), xtol=1e-12, ftol=1e-12, gtol=1e-12)
        closest = family.at(*found.x)
        return float(found.cost), float(closest.mean()), float(closest.std())
