"""Functions of normal variables, mixtures of such among them: their means and quantiles, without simulation.

Given the covariances between groups the means of outcomes are normal. Over a posterior their distributions are
mixtures, so a function of them is known as well as an integral in one dimension is: the first variable by the
trapezoidal rule, and all else by the distribution function of the normal.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from scipy.interpolate import CubicSpline
from scipy.optimize import brentq
from scipy.special import ndtr, ndtri

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.bayes.mixtures import NEGLIGIBLE, mean_of_exponentials

_WIDTH, _WIDTH_MANY = 8.5, 6.5  # SDs that the trapezoidal rule reaches, for one distribution and each of a mixture
_NODES, _NODES_MANY = 1001, 21  # its nodes likewise, of one so many that steps are seen as they are
_HERMITE, _HERMITE_MANY = 48, 11  # nodes of a mean in either variable, likewise
_TABLE = 20_001  # points by which a function of the second variable is inverted
_STEPS, _SECANTS = 40, 12  # at most, to the variable of a value, and to a quantile before Brent's method
_SOME = 200  # components by which a root is looked for first
_NEGLIGIBLE_NODES = 1e-9  # mass of nodes that quantiles leave out
_CLOSE = 1e-10  # normal score at which a root stands
_FEW = 25  # probabilities up to which every quantile is a root of its own
GRID = np.linspace(-6.0, 6.0, 13)  # standard normal values at which functions of one variable are known
_SCORES = 41  # places between which many quantiles are interpolated


class _OfNormals:
    """A distribution on an interval, by its distribution function."""

    def below(self, value: float) -> float:
        """Probability of a smaller value."""
        raise NotImplementedError

    @cached_property
    def _range(self) -> tuple[float, float]:
        """Values between which all of it lies but what nobody asks for."""
        raise NotImplementedError

    @cached_property
    def _moments(self) -> tuple[float, float]:
        """Mean and SD, or something like them."""
        raise NotImplementedError

    def _near(self, prob: float) -> tuple[float, float]:
        """A value near a quantile, and how much values rise with the normal score there."""
        mean, sd = self._moments
        return mean + float(ndtri(prob)) * sd, sd

    def quantile(self, prob: FloatArray) -> FloatArray:
        """(m,) roots; of many probabilities between the outermost by their normal scores."""
        if len(prob) <= _FEW:
            return np.array([self._root(each) for each in prob.tolist()])
        x = np.linspace(self._root(prob.min()), self._root(prob.max()), _SCORES)
        score = ndtri([self.below(each) for each in x.tolist()])
        rises = np.append(True, np.diff(np.maximum.accumulate(score)) > 0)
        return np.asarray(np.interp(ndtri(prob), *_refined(score[rises], x[rises])))

    def _root(self, prob: float) -> float:
        """By the secant method for normal scores, and where that strays by Brent's."""
        (low, high), z = self._range, float(ndtri(prob))
        before, step = self._near(prob)
        excess = float(ndtri(self.below(before))) - z
        if abs(excess) < _CLOSE:
            return before
        x = before - excess * step
        for _ in range(_SECANTS):
            past, excess = excess, float(ndtri(self.below(x))) - z
            if abs(excess) < _CLOSE:
                return x
            x, before = x - excess * (x - before) / (excess - past or np.nan), x
            if not low <= x <= high or not np.isfinite(excess):
                break
        return float(brentq(lambda value: self.below(value) - prob, low, high, xtol=1e-11 * (high - low), rtol=1e-13))


def _refined(score: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """The smooth curve through points, at many more of them."""
    fine = np.linspace(score[0], score[-1], _TABLE)
    return fine, CubicSpline(score, x)(fine)


@dataclass(frozen=True, eq=False)
class OfOneNormal(_OfNormals):
    """A mixture of rising functions of a standard normal variable: weight (n,), and their values (n, 13) at `GRID`."""

    weight: FloatArray
    value: FloatArray

    @cached_property
    def _main(self) -> tuple[FloatArray, FloatArray]:
        """Weights, and the coefficients (4, 12, n) of the cubic splines through the values."""
        kept = _that_matter(self.weight)
        return self.weight[kept] / self.weight[kept].sum(), CubicSpline(GRID, self.value[kept].T).c

    @cached_property
    def _range(self) -> tuple[float, float]:
        return float(self.value.min()), float(self.value.max())

    @cached_property
    def _moments(self) -> tuple[float, float]:
        share = np.exp(-(GRID**2) / 2)
        mean, square = (float(self.weight @ x @ share / share.sum()) for x in (self.value, self.value**2))
        return mean, float(np.sqrt(max(square - mean**2, 0.0)))

    def below(self, value: float) -> float:
        weight, coefficients = self._main
        under = (coefficients[3] < value).sum(0)  # how many pieces begin below the value
        piece = np.maximum(under - 1, 0)
        c = coefficients[:, piece, np.arange(len(weight))]
        return float(weight @ ndtr(GRID[piece] + np.where(under > 0, _root_of_cubic(c, value, GRID[1] - GRID[0]), 0.0)))

    @property
    def mean(self) -> float:
        return self._moments[0]


def _root_of_cubic(c: FloatArray, value: float, width: float) -> FloatArray:
    """(n,) where rising cubics (4, n) reach a value between 0 and a width, at an end where they do not.

    Newton's method, and halving where it leaves what is left of the interval.
    """
    low, high = np.zeros(c.shape[1]), np.full(c.shape[1], width)
    t = (low + high) / 2
    with np.errstate(all="ignore"):
        for _ in range(_STEPS):
            excess = ((c[0] * t + c[1]) * t + c[2]) * t + c[3] - value
            low, high = np.where(excess < 0, t, low), np.where(excess < 0, high, t)
            there = t - excess / ((3 * c[0] * t + 2 * c[1]) * t + c[2])
            t, before = np.where((there >= low) & (there <= high), there, (low + high) / 2), t
            if np.abs(t - before).max(initial=0.0) < _CLOSE:
                break
    return t


@dataclass(frozen=True, eq=False)
class SumOfTwo(_OfNormals):
    """Sum of functions of either of two normal variables: weight (n,), centre (n, 2) and cov (n, 2, 2) of components.

    functions : of each variable, which rise, or else fall, everywhere. So given one variable the distribution is
    that of a normal variable; the one that is given is the one that tells less, by which the integral is smooth.
    """

    weight: FloatArray
    centre: FloatArray
    cov: FloatArray
    functions: tuple[Callable[[FloatArray], FloatArray], Callable[[FloatArray], FloatArray]]

    @classmethod
    def of(
        cls,
        weight: FloatArray,
        centre: FloatArray,
        cov: FloatArray,
        first: Callable[[FloatArray], FloatArray],
        second: Callable[[FloatArray], FloatArray],
    ) -> "SumOfTwo":
        """With the variables in the order in which they are worked with."""
        mean, sd = weight @ centre, np.sqrt(weight @ np.diagonal(cov, axis1=1, axis2=2))
        first_moves, second_moves = (
            abs(np.ptp(f(mean[j] + sd[j] * np.array([-1, 1])))) for j, f in enumerate((first, second))
        )
        if second_moves < first_moves:
            return cls(weight, centre[:, ::-1], cov[:, ::-1, ::-1], (second, first))
        return cls(weight, centre, cov, (first, second))

    def _given_first(self, z: FloatArray, kept: Any) -> tuple[FloatArray, FloatArray, FloatArray]:
        """(n, nodes) first variables at standard normal z, means of the second there, and (n,) its SDs."""
        centre, cov = self.centre[kept], self.cov[kept]
        sd = np.sqrt(cov[:, 0, 0])
        slope = np.divide(cov[:, 0, 1], cov[:, 0, 0], out=np.zeros(len(sd)), where=sd > 0)
        spread = np.sqrt(np.maximum(cov[:, 1, 1] - slope * cov[:, 0, 1], np.finfo(float).tiny))
        x = sd[:, None] * z
        return centre[:, :1] + x, centre[:, 1:] + slope[:, None] * x, spread

    @cached_property
    def _main(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """Of every node that matters: its weight, value of the first function, mean and SD of the second variable."""
        kept = _that_matter(self.weight)
        width, nodes = (_WIDTH, _NODES) if len(self.weight) == 1 else (_WIDTH_MANY, _NODES_MANY)
        z = np.linspace(-width, width, nodes)
        share, weight = np.exp(-(z**2) / 2), self.weight[kept] / self.weight[kept].sum()
        x, middle, spread = self._given_first(z, kept)
        each = np.outer(weight, share / share.sum()).ravel()
        some = _that_matter(each, _NEGLIGIBLE_NODES)
        first, width_of = self.functions[0](x).ravel()[some], np.repeat(spread, nodes)[some]
        return each[some] / each[some].sum(), first, middle.ravel()[some], width_of

    @cached_property
    def _inverse(self) -> tuple[FloatArray, FloatArray, bool]:
        """Ascending values of the second function, its argument at each, and whether it rises."""
        _, _, middle, spread = self._main
        centre, unit = float(self.weight @ self.centre[:, 1]), float(self.weight @ np.sqrt(self.cov[:, 1, 1]))
        ends = np.array([(middle - _WIDTH * spread).min(), (middle + _WIDTH * spread).max()])
        low, high = np.arcsinh((ends - centre) / unit)
        x = centre + unit * np.sinh(np.linspace(low, high, _TABLE))  # denser where most of it lies
        values = self.functions[1](x)
        rises = bool(values[-1] > values[0])
        return (values, x, rises) if rises else (values[::-1], x[::-1], rises)

    @cached_property
    def _range(self) -> tuple[float, float]:
        _, first, _, _ = self._main
        values = self._inverse[0]
        return float(first.min() + values[0]), float(first.max() + values[-1])

    @cached_property
    def _moments(self) -> tuple[float, float]:
        share, each = self._at_nodes
        mean, square = (self.weight @ np.einsum("a,nab,b->n", share, x, share) for x in (each, each**2))
        return float(mean), float(np.sqrt(max(square - mean**2, 0.0)))

    def _near(self, prob: float) -> tuple[float, float]:
        """By some of the components, which stand for all."""
        if len(self.weight) < 2 * _SOME:
            return super()._near(prob)
        x, z = self._some._root(prob), float(ndtri(prob))
        beside = x + 0.01 * self._some._moments[1]
        return x, (beside - x) / (float(ndtri(self._some.below(beside))) - z or np.nan)

    @cached_property
    def _some(self) -> "SumOfTwo":
        shares = np.cumsum(self.weight / self.weight.sum())
        at = np.minimum(np.searchsorted(shares, (np.arange(_SOME) + 0.5) / _SOME), len(shares) - 1)
        return SumOfTwo(np.full(_SOME, 1 / _SOME), self.centre[at], self.cov[at], self.functions)

    def below(self, value: float) -> float:
        weight, first, middle, spread = self._main
        values, x, rises = self._inverse
        z = (np.interp(value - first, values, x) - middle) / spread
        return float((weight * ndtr(z if rises else -z)).sum())

    def mean_of(self, read: Callable[[FloatArray], FloatArray], plus: FloatArray) -> FloatArray:
        """(m,) means of `read` of the sum plus each of (m,), by Gauss-Hermite quadrature in both variables."""
        share, each = self._at_nodes
        parts = [np.einsum("a,nab,b->n", share, read(each + shift), share) for shift in plus.tolist()]
        return np.array([self.weight @ part for part in parts])

    def mean_of_exponential(self, mass: float, share: float) -> float:
        """Mean of the exponential of the sum; infinite as `Normals.mean_of_exponential` tells."""
        of_node, each = self._at_nodes
        highest = each.max((1, 2))
        inside = np.einsum("a,nab,b->n", of_node, np.exp(each - highest[:, None, None]), of_node)
        return float(mean_of_exponentials(self.weight, (highest + np.log(inside))[:, None], mass, share)[0])

    @cached_property
    def _at_nodes(self) -> tuple[FloatArray, FloatArray]:
        """Shares (nodes,) of the nodes of either variable, and the sums (n, nodes, nodes) there."""
        z, share = np.polynomial.hermite_e.hermegauss(_HERMITE if len(self.weight) == 1 else _HERMITE_MANY)
        x, middle, spread = self._given_first(z, slice(None))
        second = self.functions[1](middle[..., None] + spread[:, None, None] * z)
        return share / share.sum(), self.functions[0](x)[..., None] + second


def _that_matter(weight: FloatArray, share: float = NEGLIGIBLE) -> IntArray:
    """Places of components that are not negligible: without the smallest, which together have this share."""
    order = np.argsort(weight)
    return np.sort(order[np.cumsum(weight[order]) > share * weight.sum()])
