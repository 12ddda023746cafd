"""A function of two normal variables: its mean and its quantiles, without simulation."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from scipy.optimize import brentq
from scipy.special import ndtr

from bayesmeta._typing import FloatArray

_NODES, _WIDTH = 1001, 8.5  # of the trapezoidal rule over a normal distribution, which sees steps as they are
_HALVINGS, _FAR = 60, 60.0  # values of the function lie between minus this and this
_REACH = 40.0  # SDs of the second variable within which the function is inverted


@dataclass(frozen=True, eq=False)
class OfTwoNormals:
    """The distribution of f(x) for x normal with a mean (2,) and a covariance (2, 2).

    function : of (..., 2) to (...), which in its second argument `rises`, or else falls, everywhere. So given the first
    variable the distribution function is that of a normal one, and over both an integral in one dimension.
    """

    centre: FloatArray
    cov: FloatArray
    function: Callable[[FloatArray], FloatArray]
    rises: bool = True

    @cached_property
    def _given_first(self) -> tuple[FloatArray, FloatArray, FloatArray, float]:
        """Weights and values (nodes,) of the first variable, and mean and SD of the second at each."""
        z = np.linspace(-_WIDTH, _WIDTH, _NODES)
        weight = np.exp(-(z**2) / 2) / np.exp(-(z**2) / 2).sum()
        sd, slope = np.sqrt(self.cov[0, 0]), self.cov[0, 1] / self.cov[0, 0]
        middle = self.centre[1] + slope * sd * z
        return weight, self.centre[0] + sd * z, middle, float(np.sqrt(self.cov[1, 1] - slope * self.cov[0, 1]))

    def mean(self, read: Callable[[FloatArray], FloatArray]) -> float:
        """Of `read` of the function, by every tenth of the nodes."""
        some, z = slice(None, None, 10), np.linspace(-_WIDTH, _WIDTH, _NODES)
        weight, first, middle, spread = self._given_first
        coarse = weight[some] / weight[some].sum()
        second = middle[some, None] + spread * z[some]
        x = np.stack(np.broadcast_arrays(first[some, None], second), axis=-1)
        return float(coarse @ read(self.function(x)) @ coarse)

    def below(self, value: float) -> float:
        """Probability that the function is below a value; the second variable that makes it so by halving."""
        weight, first, middle, spread = self._given_first
        low, high = middle - _REACH * spread, middle + _REACH * spread
        for _ in range(_HALVINGS):
            half = (low + high) / 2
            under = (self.function(np.stack([first, half], axis=-1)) < value) == self.rises
            low, high = np.where(under, half, low), np.where(under, high, half)
        side = 1.0 if self.rises else -1.0
        return float(weight @ ndtr(side * (low - middle) / spread))

    def quantile(self, prob: float) -> float:
        """By Brent's method."""
        return float(brentq(lambda value: self.below(value) - prob, -_FAR, _FAR, xtol=1e-10))
