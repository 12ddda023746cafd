"""The posterior of up to three parameters by the trapezoid rule on a lattice of the chart, which converges spectrally.

The rule's error falls like exp(-2 pi^2 / h^2) for a normal density of unit SD and step h, and like exp(-c / h) for any
analytic one: half the step squares the error at least. So where rules of double step differ by d, the error is at most
about d^2; where d is too large, as beside a cliff, the step is halved along the axes that are to blame.

Trefethen and Weideman (2014), SIAM Rev. 56:385-458.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.bayes.lattice import Lattice, fill
from bayesmeta.bayes.mixtures import Axis
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import SpecError

MOST = 3  # parameters
FAR = 37.0  # beyond, probabilities of the normal distribution leave the range of numbers
STEP = {1: 0.5, 2: 0.6, 3: 0.7}  # of a lattice, in conditional SDs, by the number of parameters
DEPTH = {1: 25.0, 2: 18.0, 3: 16.0}  # of a fill below the highest density
TOLERANCE = {1: 3e-5, 2: 1e-3, 3: 8e-3}  # of rules of double step, in the log marginal likelihood
POINTS = 200_000  # at most
SIDES = {1: 41, 2: 13, 3: 9}  # points of a scan along every axis, besides those in the units of the data
NATURAL = {1: 24, 2: 8, 3: 4}
SCANNED = 5.0  # the scan reaches so far at first
MODES = 6  # that a fill begins from
DROP = 2.0  # fall of the log density, of a normal one after two SDs, that a step is measured by
NEWTON, LONGEST_STEP = 8, 4.0  # steps uphill at most, and of each, in the distances that its differences are taken over
SMOOTH, LEVEL = 0.2, 0.02  # such a distance, and height, from the maximum within which the mode is found
INSIDE, MOST_INSIDE = 0.7, 20_000  # share of a fill's depth, and points, of an ellipsoid to begin with
HALVINGS = 9  # of the step at most
LONGEST = 1_000  # steps that a density may reach from its mode before it has fallen by DROP
EDGE = 0.01  # share of a lattice's points that the mass beyond it is bounded by, each as high as its edge
ROUNDING = 1e-11
DENSER, SHALLOW = {1: 4, 2: 2, 3: 1}, 14.0  # halvings of the step for functions of coordinates; depth of that fill


@dataclass(frozen=True, eq=False)
class Quadrature(WeightedPoints):
    """Weighted points that are nodes of a lattice; None for a model without free parameters."""

    lattice: Lattice | None

    def axis(self, j: int) -> Axis | None:
        prior = self.evaluator.chart.coordinates[j].prior
        if self.lattice is None or prior is None:
            return None
        return Axis(*self.lattice.along(j), prior)

    @property
    def unresolved(self) -> tuple[float, float]:
        return 1e-8, 0.01

    @cached_property
    def dense(self) -> tuple[FloatArray, FloatArray]:
        """Of one coordinate interpolated, of several on a lattice of half the step, or less."""
        lattice, k = self.lattice, self.evaluator.dim
        if lattice is None:
            return self.main[0], self.main[1].u
        if k == 1 and (axis := self.axis(0)) is not None:
            u, weight = axis.dense
            return weight, u[:, None]
        for _ in range(DENSER[k]):
            if len(lattice.key) * 2**k > POINTS:
                break
            lattice = lattice.refined(np.ones(k, bool))
            lattice = fill(
                self.evaluator, lattice, lattice.origin, lattice.step, lattice.points.u[:0], _density, SHALLOW, POINTS
            )
        weight = np.exp(lattice.log_density - lattice.log_density.max())
        return weight / weight.sum(), lattice.points.u

    def draw(self, n: int, rng: np.random.Generator) -> Evaluated:
        """By rejection from the density interpolated linearly between the nodes."""
        lattice = self.lattice
        if lattice is None:
            return self.evaluator(np.zeros((n, 0)))
        highest, weight = lattice.log_density.max(), np.exp(lattice.log_density - lattice.log_density.max())
        kept: list[Evaluated] = []
        missing, bound = n, 1.0
        while missing > 0:
            m = int(1.3 * missing) + 64
            node = rng.choice(len(weight), m, p=weight / weight.sum())
            u = lattice.origin + lattice.step * (
                lattice.position[node] + rng.random((m, len(lattice.step))) - rng.random((m, len(lattice.step)))
            )
            points = self.evaluator(u)
            ratio = np.exp(points.log_density - highest) / lattice.interpolated(u)
            if not kept:
                bound = float(ratio.max())
            accepted = points.take(rng.random(m) * bound < ratio)
            kept.append(accepted.take(slice(0, missing)))
            missing -= len(accepted)
        return Evaluated.joined(kept)


def integrate(evaluator: Evaluator, seed: int = 0) -> Quadrature:
    """The posterior of a model with at most three parameters in its chart; nothing in it is random.

    Raises
    ------
    SpecError
        Where the likelihood is zero, in the range of numbers, wherever the prior has mass.
    """
    k = evaluator.dim
    if k == 0:
        one = evaluator(np.zeros((1, 0)))
        return Quadrature(evaluator, one, np.zeros(1), float(one.loglik[0]), ROUNDING, None)
    seeds, peaks = _seeds(evaluator)
    scale, reach = (np.array(each) for each in zip(*[_scale(evaluator, seed) for seed in seeds], strict=True))
    # a density with a flat top is wider than its prior, of unit SD, and falls as steeply beyond
    step = np.asarray(STEP[k] * np.minimum(scale.min(0), 1.0), float)
    if (reach.max(0) > LONGEST * step).any():
        j = int(np.argmax(reach.max(0) / step))
        raise SpecError(_CLIFF.format(evaluator.chart.coordinates[j].label))
    lattice, previous, origin = None, np.full(k, np.inf), seeds[0]
    rank, begun = _Rank(evaluator, origin), np.concatenate([seeds, *(peak.around(origin, step) for peak in peaks)])
    for _ in range(HALVINGS):
        lattice = fill(evaluator, lattice, origin, step, begun, rank, DEPTH[k], POINTS)
        apart = lattice.disagreement()
        rough = apart > TOLERANCE[k]
        # halving must have helped last time: what is left is rounding, or the edge of the range of numbers
        if not rough.any() or (apart >= previous).all() or len(lattice.key) * 2 ** rough.sum() > POINTS:
            break
        previous, step = apart, np.where(rough, step / 2, step)
        lattice = lattice.refined(rough)
    assert lattice is not None
    # rules that converge exponentially square their error, or better, with half the step
    error = float((apart**2).sum() + np.exp(-DEPTH[k]) * len(lattice.key) * EDGE) + ROUNDING
    log = lattice.log_integral
    return Quadrature(evaluator, lattice.points, lattice.log_density - lattice.log_density.max(), log, error, lattice)


def _density(parts: Sequence[Evaluated]) -> FloatArray:
    log = np.concatenate([points.log_density for points in parts])
    return np.where(np.isfinite(log), log, -np.inf)


class _Rank:
    """What a fill goes by: the log density, and with it that of second moments, which reach further where tails are
    heavy."""

    def __init__(self, evaluator: Evaluator, mode: FloatArray) -> None:
        self.sds = [(j, c.prior) for j, c in enumerate(evaluator.chart.coordinates) if c.sd and c.prior is not None]
        self.size = [max(float(prior.of_normal(mode[j])), 1e-300) for j, prior in self.sds]
        self.known: WeakKeyDictionary[Evaluated, FloatArray] = WeakKeyDictionary()

    def __call__(self, parts: Sequence[Evaluated]) -> FloatArray:
        for points in parts:
            if points not in self.known:
                self.known[points] = self._of(points)
        return np.concatenate([self.known[points] for points in parts])

    def _of(self, points: Evaluated) -> FloatArray:
        log, more = points.log_density, np.zeros(len(points))
        with np.errstate(all="ignore"):
            for (j, prior), size in zip(self.sds, self.size, strict=True):
                more = np.maximum(more, 2 * np.log1p(prior.of_normal(points.u[:, j]) / size))
        return np.where(np.isfinite(log), log + np.where(np.isfinite(more), more, 0.0), -np.inf)


class _Peak(NamedTuple):
    """A maximum at (k,) of a log density whose second derivatives there are -curvature (k, k)."""

    at: FloatArray
    curvature: FloatArray

    def around(self, origin: FloatArray, step: FloatArray) -> FloatArray:
        """(m, k) points of a lattice in the ellipsoid that a fill of a normal density would reach, so that it need not
        go there step by step; none where they are too many to be worth it."""
        drop, k = INSIDE * DEPTH[len(step)], len(step)
        with np.errstate(all="ignore"):
            far = np.sqrt(2 * drop * np.diag(np.linalg.inv(self.curvature))) / step
        if not (far.prod() * 2**k <= MOST_INSIDE):
            return np.empty((0, k))
        middle = np.rint((self.at - origin) / step)
        sides = [np.arange(-np.floor(size), np.floor(size) + 1) for size in far]
        box = middle + np.stack([x.ravel() for x in np.meshgrid(*sides, indexing="ij")], axis=1)
        points = origin + step * box
        away = points - self.at
        inside = ((away @ self.curvature) * away).sum(1) < 2 * drop
        return np.asarray(points[inside & (np.abs(points) < FAR).all(1)])


def _seeds(evaluator: Evaluator) -> tuple[FloatArray, list[_Peak]]:
    """Where the density has maxima, the highest first: the peaks of a scan, climbed from; and those that are smooth."""
    axes = [_scanned(evaluator, j) for j in range(evaluator.dim)]
    for _ in range(4):
        grid = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
        log = evaluator.log_density(grid).reshape([len(axis) for axis in axes])
        if not np.isfinite(log).any():
            raise SpecError(_NOWHERE)
        at_edge = [
            (top == 0, top == len(axis) - 1)
            for top, axis in zip(np.unravel_index(np.nanargmax(log), log.shape), axes, strict=True)
        ]
        if not any(map(any, at_edge)):
            break
        axes = [_wider(axis, *edge) for axis, edge in zip(axes, at_edge, strict=True)]
    tops, smooth = [], []
    for start in grid[_peaks(log)]:
        peak, top = _newton(evaluator, start)
        smooth += [peak] if peak else []
        tops.append(peak.at if peak else _climbed(evaluator, top))
    climbed = np.array(tops)
    return climbed[np.argsort(-evaluator.log_density(climbed))], smooth


_NOWHERE = (
    "the likelihood is zero, in the range of numbers, wherever the priors have mass\n"
    "  check the units of the priors against those of the data, or sample by sampler='nutpie'"
)


def _scanned(evaluator: Evaluator, j: int) -> FloatArray:
    """Coordinates to look at along an axis: spread over its prior, and for an SD over the range that data can tell."""
    k, coordinate = evaluator.dim, evaluator.chart.coordinates[j]
    spread = np.linspace(-SCANNED, SCANNED, SIDES[k])
    if not coordinate.sd or coordinate.prior is None:
        return spread
    stats = evaluator.stats
    typical = float(np.median(np.concatenate([t for t in stats.typical if len(t)])))
    excess = np.sqrt(max(1.0, float(np.median(stats.Q)) / max(1, stats.n_obs - stats.n_coef)))
    natural = coordinate.prior.about_normal(typical * np.geomspace(0.05, 4 * excess, NATURAL[k]))
    return np.unique(np.concatenate([spread, natural]))


def _wider(axis: FloatArray, below: bool, above: bool) -> FloatArray:
    far = SCANNED * np.array([1.5, 2.2, 3.2, 4.5, 6.0, 7.3])
    parts = [-far[far > -axis[0]][::-1]] if below else []
    return np.concatenate([*parts, axis, *([far[far > axis[-1]]] if above else [])])


def _peaks(log: FloatArray) -> IntArray:
    """Flat positions of the highest local maxima of a grid."""
    padded = np.pad(np.where(np.isfinite(log), log, -np.inf), 1, constant_values=-np.inf)
    around = padded
    for axis in range(log.ndim):
        n = log.shape[axis]
        around = np.maximum.reduce([np.take(around, range(i, i + n), axis) for i in range(3)])
    top = np.flatnonzero((log >= around).ravel() & np.isfinite(log).ravel())
    ordered = top[np.argsort(-log.ravel()[top])]
    return np.asarray(ordered[:MODES])


def _newton(evaluator: Evaluator, start: FloatArray) -> tuple[_Peak | None, FloatArray]:
    """The maximum uphill of a point by Newton's method with differences over half a conditional SD, and the highest
    point on the way; no maximum where the density does not lead to one in a few steps."""
    k, at, size, top = len(start), start, np.full(len(start), 0.25), (-np.inf, start)
    one, two = np.eye(k), np.array([*combinations(range(k), 2)], int).reshape(-1, 2)
    moves = np.concatenate([np.zeros((1, k)), one, -one, one[two[:, 0]] + one[two[:, 1]]])
    for _ in range(NEWTON):
        tried = np.clip(at + size * moves, -FAR, FAR)
        log = evaluator.log_density(tried)
        if not np.isfinite(log).all():
            break
        top = max(top, (float(log.max()), tried[np.argmax(log)]), key=lambda pair: pair[0])
        middle, above, below, both = np.split(log, [1, 1 + k, 1 + 2 * k])
        curvature = np.diag(2 * middle - above - below)
        for (i, j), value in zip(two, both, strict=True):
            curvature[i, j] = curvature[j, i] = above[i] + above[j] - middle[0] - value
        if not np.linalg.eigvalsh(curvature)[0] > 0:
            break
        step = np.linalg.solve(curvature, (above - below) / 2)
        if abs(step).max() <= SMOOTH and middle[0] > top[0] - LEVEL:
            return _Peak(np.clip(at + size * step, -FAR, FAR), curvature / np.outer(size, size)), top[1]
        # a maximum further off than the differences tell of is approached in several steps
        at = np.clip(at + size * np.clip(step, -LONGEST_STEP, LONGEST_STEP), -FAR, FAR)
        size = np.minimum(size / np.sqrt(np.diag(curvature)) / 2, 1.0)
    return None, top[1]


def _climbed(evaluator: Evaluator, start: FloatArray) -> FloatArray:
    """Near the maximum uphill of a point, by a pattern search; it need not be exact, since a fill begins there."""
    k, at, size = len(start), start, np.full(len(start), 0.25)
    best = float(evaluator.log_density(at[None])[0])
    factors = np.array([0.25, 1.0, 4.0])
    for _ in range(25):
        moves = (np.concatenate([np.eye(k), -np.eye(k)])[:, None] * (factors[:, None] * size)).reshape(-1, k)
        tried = np.clip(at + moves, -FAR, FAR)
        log = np.where(np.isfinite(values := evaluator.log_density(tried)), values, -np.inf)
        top = int(np.argmax(log))
        if log[top] <= best + 1e-3:
            if size.max() < 1e-3 or log[top] <= best:
                size = size / 8
            if size.max() < 1e-4:
                break
        if log[top] > best:
            at, best = tried[top], float(log[top])
    return at


_CLIFF = (
    "the posterior of {} has cliffs, or mass at single points, which a lattice does not resolve, or lies so far out in"
    " its prior that numbers do not reach there\n"
    "  check the units of the priors against those of the data, or sample by sampler='nutpie'"
)


def _scale(evaluator: Evaluator, mode: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(k,) half the distance along every axis, to the nearer side, after which the density has fallen like a normal
    one after two SDs; and (k,) how far it reaches on the other side."""
    k = len(mode)
    distance = np.geomspace(1e-7, 8.0, 90)
    offsets = np.concatenate([distance, -distance])
    points = np.repeat(mode[None], k * len(offsets), axis=0).reshape(k, len(offsets), k)
    points[np.arange(k), :, np.arange(k)] += offsets
    log = evaluator.log_density(points.reshape(-1, k)).reshape(k, 2, len(distance))
    # below its own height: another mode on the same axis may be higher
    fallen = ~(log > float(evaluator.log_density(mode[None])[0]) - DROP)
    first = np.where(fallen.any(2), fallen.argmax(2), len(distance) - 1)
    return distance[first].min(1) / 2, np.where(~fallen, distance, 0.0).max((1, 2))
