"""Marginal distributions that are exact given weighted points: mixtures of normals, densities along an axis, and points."""

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from scipy.interpolate import BSpline, make_interp_spline
from scipy.special import ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta.priors.closed_forms import ClosedForm

FINE = 16  # parts of a step of a lattice between which a distribution function is interpolated
DEGREE = 5  # of the spline through a log-density
NEWTON, CLOSE = 60, 1e-12  # steps to a quantile at most; change, in SDs, after which it stands
NEGLIGIBLE = 1e-9  # mass of points that quantiles of mixtures leave out
WEIGHTLESS, MATTERS = 1e-30, 1e-6  # a weight; share of a moment by such, from which it does not exist
CELLS = 1 << 21  # numbers held at a time
SQRT_2PI = float(np.sqrt(2 * np.pi))


class Marginal(Protocol):
    """Distributions of one or more quantities; the last axis of every answer is that of the quantities."""

    @property
    def mean(self) -> FloatArray: ...
    @property
    def sd(self) -> FloatArray: ...
    def quantile(self, prob: FloatArray) -> FloatArray: ...
    def density(self, x: FloatArray) -> FloatArray: ...


def weighted_moments(
    weight: FloatArray, values: FloatArray, spread: FloatArray | float = 0.0
) -> tuple[FloatArray, FloatArray]:
    """Mean and variance over the first axis, of values (n, q) with normal errors of SD `spread` (n, q).

    Infinite where points that weigh nothing make up the sum: an integral that does not exist.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        mean = weight @ values
        share = weight[:, None] * ((values - mean) ** 2 + np.square(spread))
        variance, size = share.sum(0), weight @ np.abs(values)
        none = weight < WEIGHTLESS
        if none.any():
            variance = np.where(share[none].sum(0) > MATTERS * variance, np.inf, variance)
            mean = np.where(weight[none] @ np.abs(values[none]) > MATTERS * size, np.nan, mean)
    return np.asarray(mean), np.asarray(variance)


@dataclass(frozen=True, eq=False)
class Normals:
    """Mixtures of normals: weight (n,), and centre and spread (n, q) of every component."""

    weight: FloatArray
    centre: FloatArray
    spread: FloatArray

    @property
    def mean(self) -> FloatArray:
        return self._moments[0]

    @property
    def sd(self) -> FloatArray:
        return np.sqrt(self._moments[1])

    @cached_property
    def _moments(self) -> tuple[FloatArray, FloatArray]:
        return weighted_moments(self.weight, self.centre, self.spread)

    @cached_property
    def main(self) -> "Normals":
        """Without the components that hardly weigh anything."""
        order = np.argsort(self.weight)
        kept = order[np.cumsum(self.weight[order]) > NEGLIGIBLE]
        return Normals(self.weight[kept] / self.weight[kept].sum(), self.centre[kept], self.spread[kept])

    def at(self, x: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Distribution function and density (m, q) at x (m, q)."""
        below, density = np.empty(x.shape), np.empty(x.shape)
        step = max(1, CELLS // max(1, len(self.weight) * x.shape[0]))
        for start in range(0, x.shape[1], step):
            part = slice(start, start + step)
            spread = np.maximum(self.spread[:, None, part], np.finfo(float).tiny)
            with np.errstate(over="ignore", under="ignore"):
                z = (x[None, :, part] - self.centre[:, None, part]) / spread
                below[:, part] = np.tensordot(self.weight, ndtr(z), 1)
                density[:, part] = np.tensordot(self.weight, np.exp(-0.5 * z * z) / (SQRT_2PI * spread), 1)
        return below, density

    def density(self, x: FloatArray) -> FloatArray:
        return self.at(x)[1]

    def quantile(self, prob: FloatArray) -> FloatArray:
        """(m, q) roots of the distribution functions, by Newton's method inside a bracket."""
        return self.main._roots(np.asarray(prob, float))

    def _roots(self, prob: FloatArray) -> FloatArray:
        z, sd = ndtri(prob)[:, None], np.where(np.isfinite(self.sd), self.sd, 1.0)
        low, high = self._bracket(z)
        x = np.clip(np.where(np.isfinite(self.mean), self.mean, 0.0) + sd * z, low, high)
        scale = np.where(sd > 0, sd, 1.0)
        for _ in range(NEWTON):
            below, density = self.at(x)
            excess = below - prob[:, None]
            low, high = np.where(excess < 0, x, low), np.where(excess > 0, x, high)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                new = x - excess / density
            new = np.where((new > low) & (new < high), new, (low + high) / 2)
            moved, x = np.abs(np.where(excess == 0, 0.0, new - x)) / scale, np.where(excess == 0, x, new)
            if moved.max(initial=0.0) < CLOSE:
                break
        return x

    def _bracket(self, z: FloatArray) -> tuple[FloatArray, FloatArray]:
        """The quantile of a mixture lies between those of its components."""
        own = self.centre[:, None] + self.spread[:, None] * z
        return own.min(0), own.max(0)


@dataclass(frozen=True, eq=False)
class Axis:
    """One coordinate of the chart by its density at equidistant nodes, and the parameter that stands there.

    nodes (n,) : ascending. log_density (n,) : of the coordinate, up to a constant. prior : maps it to the parameter, and
    gives the parameter's density.
    """

    nodes: FloatArray
    log_density: FloatArray
    prior: ClosedForm

    @cached_property
    def _fine(self) -> tuple[FloatArray, FloatArray, FloatArray, BSpline, float]:
        """Fine nodes, distribution function and density there, the spline of the log-density, and its constant."""
        log = make_interp_spline(self.nodes, self.log_density - self.log_density.max(), k=DEGREE)
        u = np.linspace(self.nodes[0], self.nodes[-1], FINE * (len(self.nodes) - 1) + 1)
        half = (u[1] - u[0]) / 2
        density, middle = np.exp(log(u)), np.exp(log(u[:-1] + half))
        below = np.append(0.0, np.cumsum(half / 3 * (density[:-1] + 4 * middle + density[1:])))
        total = float(below[-1])
        return u, below / total, density / total, log, total

    @cached_property
    def _moments(self) -> tuple[float, float]:
        weight = np.exp(self.log_density - self.log_density.max())
        mean, variance = weighted_moments(weight / weight.sum(), self.prior.of_normal(self.nodes)[:, None])
        return float(mean[0]), float(variance[0])

    @property
    def mean(self) -> FloatArray:
        return np.array([self._moments[0]])

    @property
    def sd(self) -> FloatArray:
        return np.sqrt(np.array([self._moments[1]]))

    def quantile(self, prob: FloatArray) -> FloatArray:
        """(m, 1) values of the parameter."""
        u, below, density, log, total = self._fine
        x = np.interp(prob, below, u)
        for _ in range(3):
            at = np.clip(np.searchsorted(u, x) - 1, 0, len(u) - 2)
            part = x - u[at]  # by Simpson's rule from the fine node below
            f0, f1, f2 = density[at], np.exp(log(u[at] + part / 2)) / total, np.exp(log(x)) / total
            x = np.clip(x - (below[at] + part / 6 * (f0 + 4 * f1 + f2) - prob) / f2, u[0], u[-1])
        return self.prior.of_normal(x)[:, None]

    def density(self, x: FloatArray) -> FloatArray:
        """(m, 1) density of the parameter at x (m, 1): its prior's, times the ratio of both in the chart."""
        u, _, _, log, total = self._fine
        values = self.prior.of_normal(u)
        inside = (x >= values[0]) & (x <= values[-1])
        kept = np.flatnonzero(np.diff(values, prepend=-np.inf) > 0)
        at = np.interp(x, values[kept], u[kept])
        ratio = log(at) - np.log(total) + at**2 / 2 + np.log(SQRT_2PI)
        first = log(u[0]) - np.log(total) + u[0] ** 2 / 2 + np.log(SQRT_2PI)
        # towards the ends of the support the likelihood is constant, and with it the ratio
        ratio = np.where(x < values[0], first, ratio)
        return np.where(inside | (x < values[0]), np.exp(self.prior.logpdf(x) + ratio), 0.0)


@dataclass(frozen=True, eq=False)
class Weighted:
    """Quantities that are functions of the chart: values (n, q) at points of these weights (n,)."""

    weight: FloatArray
    values: FloatArray

    @property
    def mean(self) -> FloatArray:
        return weighted_moments(self.weight, self.values)[0]

    @property
    def sd(self) -> FloatArray:
        return np.sqrt(weighted_moments(self.weight, self.values)[1])

    def quantile(self, prob: FloatArray) -> FloatArray:
        """(m, q), between the values in proportion to the mass on either side of them."""
        columns = []
        for column in self.values.T:
            order = np.argsort(column)
            mass = self.weight[order]
            columns.append(np.interp(prob, np.cumsum(mass) - mass / 2, column[order]))
        return np.stack(columns, axis=1) if columns else np.zeros((len(prob), 0))

    def density(self, x: FloatArray) -> FloatArray:
        """(m, q) by a normal kernel of Silverman's width."""
        size = 1 / (self.weight**2).sum()
        width = np.maximum(0.9 * self.sd * size**-0.2, np.finfo(float).tiny)
        return Normals(self.weight, self.values, np.broadcast_to(width, self.values.shape)).density(x)
