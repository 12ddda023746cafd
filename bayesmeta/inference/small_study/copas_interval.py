"""Henmi and Copas' interval: the common-effect estimate, which small studies move least, with its full error."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import gammainc

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_probability
from bayesmeta.inference.small_study.evidence import evidence, result

_NEAR_ZERO = 1e-6  # of the pivot, in units of the standard error


def henmi_copas(tree: xr.DataTree, *, outcome: str | None = None, prob: float = 0.95) -> xr.Dataset:
    """The common-effect estimate with an interval that allows for heterogeneity.

    Random-effects weights are more equal than those of a common effect, so that small studies, and what biases them,
    count for more. Here the weights are 1 / sampling variance, and the interval is that of the random-effects model.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors and of independent effects; its own estimates are not used.
    outcome : str, optional
        The outcome; required for a model with several.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.

    Returns
    -------
    Dataset
        Scalars: `estimate`, `se`, `lower`, `upper`; `tau2` by DerSimonian and Laird; `k`.

    Raises
    ------
    SpecError
        When the model has predictors, effects are dependent, or the tree is a posterior.
    DataError
        When there are fewer than three effects.

    Notes
    -----
    At least three effects. The interval comes from the joint distribution of estimate and Q, the latter approximated
    by a gamma distribution given the former.

    References
    ----------
    Henmi and Copas (2010), Stat. Med. 29:2969-2983.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> out = bm.small_study.henmi_copas(fit)
    >>> [round(out[name].item(), 4) for name in ("estimate", "se", "lower", "upper")]
    [-0.4361, 0.3132, -1.191, 0.3187]
    """
    check_probability(prob)
    of = evidence(tree, outcome, "henmi_copas")
    of.check_independent('pet_peese(tree, vcov="CR2") is for dependent effects')
    of.check_intercept_alone()
    w = 1 / of.v
    total = float(w.sum())
    estimate = float((w * of.y).sum()) / total
    Q = float((w * (of.y - estimate) ** 2).sum())
    moments = tuple(float((w**power).sum()) / total for power in (2, 3, 4))
    tau2 = max(0.0, (Q - (of.n - 1)) / (total - moments[0]))
    pivot = _Pivot(of.n, tau2, total, *moments)
    se = float(np.sqrt(pivot.inflation / total))
    half = pivot.quantile((1 - prob) / 2) * np.sqrt(pivot.inflation) * se
    numbers = {
        "estimate": estimate,
        "se": se,
        "lower": estimate - half,
        "upper": estimate + half,
        "tau2": tau2,
        "k": of.n,
    }
    return result(numbers, of.attrs(prob=prob))


@dataclass(frozen=True)
class _Pivot:
    """The estimate over its standard error as estimated by DerSimonian and Laird's tau2.

    n : effects; tau2 : at which its distribution is taken; W1 : sum of the weights w = 1 / v; W2, W3, W4 : sums of
    their powers over W1.
    """

    n: int
    tau2: float
    W1: float
    W2: float
    W3: float
    W4: float

    @property
    def inflation(self) -> float:
        """Variance of the estimate over 1 / W1."""
        return 1 + self.tau2 * self.W2

    def gamma(self, z: FloatArray | float) -> tuple[FloatArray, FloatArray]:
        """Shape and scale of Q given that the estimate is z standard errors away (appendix of the paper)."""
        t, W1, W2, W3, W4 = self.tau2, self.W1, self.W2, self.W3, self.W4
        square = np.asarray(z, dtype=float) ** 2
        spread = W3 - W2**2
        shift = (square - 1) / self.inflation
        mean = self.n - 1 + t * (W1 - W2) + t**2 * shift * spread
        at_zero = 2 * (self.n - 1) + 4 * t * (W1 - W2) + 2 * t**2 * (W1 * W2 - 2 * W3 + W2**2)
        moving = 4 * t**2 * shift * spread + 4 * t**3 * shift * (W4 - 2 * W2 * W3 + W2**3)
        variance = at_zero + moving + 2 * t**4 * (1 - 2 * square) * (spread / self.inflation) ** 2
        return mean**2 / variance, variance / mean

    def beyond(self, x: float) -> float:
        """Probability that the pivot exceeds sqrt(inflation) x, for x > 0."""
        from scipy.integrate import quad

        def density(z: float) -> float:
            # the estimated variance is small enough when Q does not exceed this
            bound = (self.W1 / self.W2 - 1) * ((z / x) ** 2 - 1) + self.n - 1
            shape, scale = self.gamma(z)
            return float(gammainc(shape, bound / scale) * np.exp(-(z**2) / 2) / np.sqrt(2 * np.pi))

        return float(quad(density, x, np.inf, epsabs=1e-12, epsrel=1e-10, limit=200)[0])

    def quantile(self, tail: float) -> float:
        """The x of `beyond` with a probability; 0 where that of all positive x does not exceed it."""
        from scipy.optimize import brentq

        high = 2.0
        while self.beyond(high) > tail:
            high *= 2
        if self.beyond(_NEAR_ZERO) <= tail:
            return 0.0
        return float(brentq(lambda x: self.beyond(x) - tail, _NEAR_ZERO, high, xtol=1e-12))
