"""One lattice for the posteriors under many priors, in coordinates that no prior enters.

SDs are s exp(v - exp(-v)), which goes to zero twice exponentially, so that the trapezoid rule converges under every
prior that is smooth on the half-line; correlations stand at the quantiles of LKJ(1). The lattice is filled as long as
the density under any of the priors matters.

Trefethen and Weideman (2014), SIAM Rev. 56:385-458; Takahasi and Mori (1974), Publ. RIMS 9:721-741, for the map.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.bayes.chart import Chart
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.bayes.lattice import Lattice, fill, keys
from bayesmeta.bayes.quadrature import DEPTH, FAR, HALVINGS, STEP
from bayesmeta.bayes.shared_points import SharedPoints, log_normal_density
from bayesmeta.model.spec import Spec
from bayesmeta.priors.closed_forms import ClosedForm, closed_form
from bayesmeta.priors.distributions import IMPROPER, logp
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior

UNIFORM = Prior("LKJ", eta=1.0)
SIDES = {1: 81, 2: 25, 3: 13}  # points of a scan along every axis
LOWEST, HIGHEST = -1.8, 30.0  # of the scan: in v, and in multiples of what data can tell
SEEDS = 4  # modes that are climbed to and measured; others begin where the scan is highest
DISTANCE = np.geomspace(1e-3, 6.0, 40)
DROP = 2.0  # fall of a log density, of a normal one after two SDs
WIDER = {1: 1.2, 2: 1.2, 3: 0.9}  # times the step of a lattice in a chart of one prior
SERVED = {
    1: 3e-5,
    2: 1e-3,
    3: 1e-3,
}  # difference of rules of double step, which errors of quantiles are in proportion to
FEW, FEW_SHARE = 3, 0.05  # priors, and share of them, for whose sake the step is not halved
POINTS = 60_000  # at most
MOST_TO_FILL, ALIKE = 32, 2.0  # priors that a fill goes by; log density by which another must add to what they cover
SLIGHT = 1e-6  # error that is not taken for squared
BY_CHANCE = 2e-8  # error behind which two rules may agree by chance: 1.6e-8 was the most under 1,800 priors
NOTHING = -1e5  # log density of a prior that is zero in the range of numbers
EDGE = 1e-5  # share of the mass on the edge of the lattice, from which it may not reach far enough


@dataclass(frozen=True, eq=False)
class HalfLine(ClosedForm):
    """v -> scale exp(v - exp(-v)), in the place of the quantiles of a prior."""

    scale: float = 1.0

    def of_normal(self, u: FloatArray) -> FloatArray:
        with np.errstate(over="ignore"):
            return np.asarray(self.scale * np.exp(u - np.exp(-u)))

    def log_slope(self, u: FloatArray) -> FloatArray:
        """Log of the derivative."""
        with np.errstate(over="ignore"):
            return np.asarray(np.log(self.scale) + u - np.exp(-u) + np.log1p(np.exp(-u)))

    def about_normal(self, value: FloatArray) -> FloatArray:
        u = np.linspace(-3.5, FAR, 4000)
        return np.interp(value, self.of_normal(u), u)


def _half_line(scale: float) -> HalfLine:
    return HalfLine(np.zeros_like, np.zeros_like, np.zeros_like, scale)


def takes(priors: ModelPriors) -> bool:
    """Whether a prior is smooth here: all SDs on the whole half-line, coefficients normal given them."""
    on_half_line = all(_smooth(prior) for own in priors.levels for prior in own.tau)
    correlations = all(own.rho is None or own.rho.name == "LKJ" for own in priors.levels)
    return on_half_line and correlations and all(_conjugate(prior) for prior in priors.beta)


def _smooth(prior: Prior) -> bool:
    bounded = prior.name in ("Uniform", "Beta") or "upper" in prior.params or prior.params.get("lower", 0.0) != 0
    return (prior.name in IMPROPER or closed_form(prior) is not None) and not bounded


def _conjugate(prior: Prior) -> bool:
    return prior.name in ("Normal", "Flat", "StudentT", "Cauchy")


def common_chart(spec: Spec, cells: Sequence[ModelPriors]) -> Chart:
    """The chart of models that differ in priors only, of the same kinds."""
    priors = cells[0]
    uniform = tuple(replace(own, rho=None if own.rho is None else UNIFORM) for own in priors.levels)
    chart = Chart.of(spec, replace(priors, levels=uniform))
    typical = float(np.median(np.concatenate([t for t in spec.statistics.typical if len(t)])))
    proper = {prior for each in cells for own in each.levels for prior in own.tau if prior.name not in IMPROPER}
    medians = [float(_law(prior).of_normal(np.zeros(1))[0]) for prior in proper]
    scale = min([typical / 2, *(m for m in medians if m > 0)])
    coordinates, precisions = list(chart.coordinates), {position for _, position, _ in chart.beta.scaled}
    for j, coordinate in enumerate(coordinates):
        if coordinate.sd or j in precisions:
            coordinates[j] = coordinate._replace(prior=_half_line(scale if coordinate.sd else 0.2))
    scaled = tuple((i, at, _half_line(0.2)) for i, at, _ in chart.beta.scaled)
    # improper priors need no other one here
    return replace(chart, coordinates=tuple(coordinates), beta=replace(chart.beta, scaled=scaled), improper=())


def _law(prior: Prior) -> ClosedForm:
    law = closed_form(prior)
    assert law is not None
    return law


def log_volume(chart: Chart, u: FloatArray) -> FloatArray:
    """(n,) log volume of points per unit of SDs and precisions."""
    total = np.zeros(len(u))
    for j, coordinate in enumerate(chart.coordinates):
        law = coordinate.prior
        total += law.log_slope(u[:, j]) if isinstance(law, HalfLine) else log_normal_density(u[:, j])
    return total


@dataclass(frozen=True, eq=False)
class SharedLattice(SharedPoints):
    """Shared points on a lattice."""

    lattice: Lattice


def log_priors(
    shared: SharedLattice, j: int, cells: Sequence[ModelPriors]
) -> Callable[[FloatArray], FloatArray] | None:
    """(cells, n) log densities of coordinate j under every prior, where it is an SD of a common chart."""
    law = shared.chart.coordinates[j].prior
    if not isinstance(law, HalfLine) or not shared.chart.coordinates[j].sd:
        return None
    level = max(i for i, (first, *_) in enumerate(shared.chart.places) if first <= j)
    own = [each.levels[level].tau[j - shared.chart.places[level][0]] for each in cells]

    def log(u: FloatArray) -> FloatArray:
        tau, slope = law.of_normal(u), law.log_slope(u)
        with np.errstate(all="ignore"):
            known = {prior: np.asarray(logp(prior, tau), float) + slope for prior in dict.fromkeys(own)}
        return np.maximum(np.array([known[prior] for prior in own]), NOTHING)

    return log


class _Densities:
    """Log densities of many priors in a common chart, at any points."""

    def __init__(self, evaluator: Evaluator, cells: Sequence[ModelPriors]) -> None:
        self.evaluator, self.cells = evaluator, cells
        self.sds = [(j, c.prior) for j, c in enumerate(evaluator.chart.coordinates) if c.sd and c.prior is not None]
        self.size = np.ones(len(self.sds))

    @property
    def dim(self) -> int:
        return self.evaluator.dim

    def at(self, points: Evaluated) -> FloatArray:
        """(cells, n)."""
        u = points.u
        shared = SharedPoints(self.evaluator, points, log_volume(self.evaluator.chart, u))
        with np.errstate(all="ignore"):
            log = shared.log_weights(self.cells)
        return np.where(np.isfinite(log), log, -np.inf)

    def __call__(self, u: FloatArray) -> "Ranked":
        points = self.evaluator(u)
        log, more = self.at(points), np.zeros(len(points))
        with np.errstate(all="ignore"):
            for (j, law), size in zip(self.sds, self.size, strict=True):
                more = np.maximum(more, 2 * np.log1p(law.of_normal(u[:, j]) / size))
        parts = {field.name: getattr(points, field.name) for field in fields(Evaluated)}
        return Ranked(**parts, log=log.T, more=np.where(np.isfinite(more), more, 0.0))

    def some(self, log: FloatArray) -> "_Densities":
        """The priors under which other points matter than under those before, by a scan (cells, n)."""
        with np.errstate(invalid="ignore"):
            log = np.nan_to_num(np.maximum(log - log.max(1, keepdims=True), -DEPTH[self.dim]), nan=-DEPTH[self.dim])
        chosen: list[int] = []
        covered = np.full(log.shape[1], -DEPTH[self.dim])
        while len(chosen) < MOST_TO_FILL:
            excess = (log - covered).max(1)
            if excess.max() <= ALIKE:
                break
            chosen.append(int(excess.argmax()))
            covered = np.maximum(covered, log[chosen[-1]])
        few = _Densities(self.evaluator, [self.cells[i] for i in chosen or [0]])
        few.size = self.size
        return few


@dataclass(frozen=True, eq=False)
class Ranked(Evaluated):
    """Points with their log densities under some priors (n, cells), and what second moments add (n,)."""

    log: FloatArray
    more: FloatArray


def rank(parts: Sequence[Ranked]) -> FloatArray:
    """How much points matter under any of the priors, with second moments as in `quadrature`."""
    log, more = (np.concatenate(each) for each in zip(*((points.log, points.more) for points in parts), strict=True))
    highest = log.max(0)
    usable = np.isfinite(highest)
    if not usable.any():
        return np.full(len(log), -np.inf)
    return np.asarray((log[:, usable] - highest[usable]).max(1) + more)


class _One:
    """One of them as `quadrature` climbs it."""

    def __init__(self, densities: _Densities, i: int) -> None:
        self.of = _Densities(densities.evaluator, densities.cells[i : i + 1])
        self.dim = densities.dim

    def __call__(self, u: FloatArray) -> Any:
        return _Log(self.of.at(self.of.evaluator(u))[0])


@dataclass
class _Log:
    log_density: FloatArray


@dataclass(frozen=True, eq=False)
class Integrated:
    """Integrals under many priors: log marginal likelihoods, bounds of their errors, and weights (cells, n)."""

    shared: SharedLattice
    log: FloatArray
    error: FloatArray
    weight: FloatArray


def integrate(spec: Spec, cells: Sequence[ModelPriors]) -> Integrated | None:
    """All posteriors on one lattice; infinite errors of those that it does not serve. None where it serves none."""
    evaluator = Evaluator(spec, cells[0], common_chart(spec, cells))
    densities, k = _Densities(evaluator, cells), evaluator.dim
    start = _start(densities)
    if start is None:
        return None
    few, seeds, step = start
    lattice = None
    for _ in range(HALVINGS):
        lattice = fill(few, lattice, seeds[0], step, seeds, rank, DEPTH[k], POINTS)
        log = densities.at(lattice.points)
        apart = _disagreement(log, lattice)
        rough = (apart > SERVED[k]).sum(0) > max(FEW, FEW_SHARE * len(cells))
        if not rough.any() or len(lattice.key) * 2 ** rough.sum() > POINTS:
            break
        lattice, step = lattice.refined(rough), np.where(rough, step / 2, step)
    assert lattice is not None
    return _integrated(evaluator, lattice, log, apart, k)


def _integrated(evaluator: Evaluator, lattice: Lattice, log: FloatArray, apart: FloatArray, k: int) -> Integrated:
    log = log + float(np.log(lattice.step).sum())
    highest = log.max(1, keepdims=True)
    weight = np.exp(log - np.where(np.isfinite(highest), highest, 0.0))
    total = weight.sum(1, keepdims=True)
    with np.errstate(all="ignore"):
        weight = weight / total
        # what lies beyond, where densities fall at least as exp(-v), as under a half-Cauchy prior and two studies
        edge = weight @ _at_edge(lattice) / -np.expm1(-lattice.step.min())
        # half the step squares the error, but for priors that are not analytic at zero, such as inverse gamma ones
        error = (apart**2 + np.minimum(apart, SLIGHT)).sum(1) + edge + BY_CHANCE
        served = (apart <= SERVED[k]).all(1) & (edge <= EDGE)
        logs = (highest + np.log(total))[:, 0]
    shared = SharedLattice(evaluator, lattice.points, log_volume(evaluator.chart, lattice.points.u), lattice)
    return Integrated(shared, logs, np.where(served & np.isfinite(logs), error, np.inf), np.nan_to_num(weight))


def _start(densities: _Densities) -> tuple[_Densities, FloatArray, FloatArray] | None:
    """The priors to fill by, places where densities are high, the first of them a mode, and a step that fits the
    narrowest that was measured."""
    evaluator, k = densities.evaluator, densities.dim
    axes = [_scanned(evaluator, j) for j in range(k)]
    grid = np.stack([x.ravel() for x in np.meshgrid(*axes, indexing="ij")], axis=1)
    log = densities.at(evaluator(grid))
    usable = np.isfinite(log).any(1)
    if not usable.any():
        return None
    best = np.where(usable, np.nan_to_num(log, nan=-np.inf).argmax(1), -1)
    tops, owners = np.unique(best[usable], return_index=True)
    owner = np.flatnonzero(usable)[owners]
    climbed, scales = [], []
    for i in _apart(grid[tops]):
        one = _One(densities, int(owner[i]))
        climbed.append(_climbed(one, grid[tops[i]]))
        scales.append(_scale(one, climbed[-1]))
    densities.size = np.array([max(float(law.of_normal(climbed[0][j])), 1e-300) for j, law in densities.sds])
    few = densities.some(log)
    # a fill from everywhere that the scan has seen to matter takes fewer rounds
    wide = grid[rank([few(grid)]) > -DEPTH[k]]
    return (
        few,
        np.concatenate([climbed, grid[tops], wide]),
        np.asarray(WIDER[k] * STEP[k] * np.minimum(np.min(scales, axis=0), 1.0)),
    )


def _apart(places: FloatArray) -> list[int]:
    """The first of the places, and those farthest from the chosen ones."""
    chosen, distance = [0], np.linalg.norm(places - places[0], axis=1)
    while len(chosen) < SEEDS and distance.max() > 0:
        chosen.append(int(distance.argmax()))
        distance = np.minimum(distance, np.linalg.norm(places - places[chosen[-1]], axis=1))
    return chosen


def _scanned(evaluator: Evaluator, j: int) -> FloatArray:
    coordinate, n = evaluator.chart.coordinates[j], SIDES[evaluator.dim]
    law = coordinate.prior
    if not isinstance(law, HalfLine):
        return np.linspace(-3.5, 3.5, n)
    if not coordinate.sd:
        return np.linspace(LOWEST, 4.0, n)
    stats = evaluator.stats
    typical = float(np.median(np.concatenate([t for t in stats.typical if len(t)])))
    excess = np.sqrt(max(1.0, float(np.median(stats.Q)) / max(1, stats.n_obs - stats.n_coef)))
    return np.linspace(LOWEST, max(np.log(HIGHEST * typical * excess / law.scale), 3.0), n)


def _climbed(one: _One, start: FloatArray) -> FloatArray:
    """Near the maximum uphill, by a pattern search with all moves in one batch."""
    k, at, size = len(start), start, 0.3
    best = float(one(at[None]).log_density[0])
    moves = np.stack(np.meshgrid(*[[-1.0, -0.3, 0.0, 0.3, 1.0]] * k, indexing="ij"), axis=-1).reshape(-1, k)
    for _ in range(12):
        tried = at + size * moves
        log = one(tried).log_density
        top = int(np.argmax(log))
        if log[top] <= best + 1e-3:
            size /= 6
        if log[top] > best:
            at, best = tried[top], float(log[top])
        if size < 1e-3:
            break
    return at


def _scale(one: _One, mode: FloatArray) -> FloatArray:
    """(k,) half the distance along every axis, to the nearer side, after which a density has fallen like a normal one
    after two SDs."""
    k, offsets = len(mode), np.concatenate([DISTANCE, -DISTANCE])
    points = np.repeat(mode[None], k * len(offsets), axis=0).reshape(k, len(offsets), k)
    points[np.arange(k), :, np.arange(k)] += offsets
    log = one(points.reshape(-1, k)).log_density.reshape(k, 2, len(DISTANCE))
    # below its own height: another mode on the same axis may be higher
    fallen = ~(log > float(one(mode[None]).log_density[0]) - DROP)
    first = np.where(fallen.any(2), fallen.argmax(2), len(DISTANCE) - 1)
    return np.asarray(DISTANCE[first].min(1) / 2)


def _disagreement(log: FloatArray, lattice: Lattice) -> FloatArray:
    """(cells, k) how much the two rules of double step differ along every axis."""
    with np.errstate(all="ignore"):
        weight = np.exp(log - log.max(1, keepdims=True))
        apart = [
            np.abs(np.log(weight @ (column % 2 == 0)) - np.log(weight @ (column % 2 == 1)))
            for column in lattice.position.T
        ]
    return np.nan_to_num(np.stack(apart, axis=1), nan=np.inf, posinf=np.inf)


def _at_edge(lattice: Lattice) -> BoolArray:
    """(n,) whether a point lacks a neighbour."""
    edge = np.zeros(len(lattice.key), bool)
    for axis in np.eye(lattice.position.shape[1], dtype=np.int64):
        for sign in (-1, 1):
            key = keys(lattice.position + sign * axis)
            at = np.minimum(np.searchsorted(lattice.key, key), len(lattice.key) - 1)
            edge |= lattice.key[at] != key
    return edge
