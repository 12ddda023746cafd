"""The search for the maximum of a (restricted) log-likelihood over xi.

Moment-based start, a few EM steps, quasi-Newton, Newton polish; then the edges of the family are tried and the result
is put to a gradient test of its own (method: Sera et al. 2019, section 3.2, do RIGLS and then quasi-Newton).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray, IndexArray
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.record import Optimizer
from bayesmeta.estimation.steps import (
    GAIN,
    Objective,
    Point,
    curvature,
    is_flat,
    moment_start,
    newton,
    quasi_newton,
    residual_gradient,
    scoring,
)

EM_STEPS = 3
POLISHED_ENOUGH = 1e-7  # gradient above which the Hessian is taken anew
MOST_POLISHING = 3
SMALL_SD = 0.03  # in units of the typical sampling SD: smaller SDs are tried at zero
OFF_ZERO = 0.1  # in the same units: so far from zero a search begins again
OFF_LIMIT = 2.0  # logit, of either sign, at which it begins again from a correlation's limit
EDGE_SHARE = 2e-3  # a correlation nearer to its limit than this share of its range is tried at the limit
EDGE_LOGIT = 36.0  # logit at which a correlation equals its limit in double precision
NEAR_LIMIT = (
    1e-6  # share of its range from its limit at which the slope there is taken; at the limit the logit has none
)


def try_edges(objective: Objective, point: Point) -> tuple[Point, np.ndarray]:
    """Set small SDs to zero and near-limit correlations to their limits where that costs nothing; which are there."""
    free = objective.free
    at_edge = np.zeros(free.size, bool)
    candidates = [(i, 0.0) for i in free.zero_positions if abs(point.z[i]) < SMALL_SD]
    share = {i: (1 + np.tanh(point.z[i] / 2)) / 2 for i in free.rho_positions}
    candidates += [(i, np.copysign(EDGE_LOGIT, point.z[i])) for i, s in share.items() if min(s, 1 - s) < EDGE_SHARE]
    for i, value in candidates:
        z = point.z.copy()
        z[i] = value
        loglik, gradient = objective(z)
        if loglik >= point.loglik - GAIN:
            point = Point(z, loglik, gradient, point.path)
            at_edge[i] = True
    return point, at_edge


@dataclass(frozen=True)
class Edge:
    """A way from an edge inwards, by a distance in which the likelihood has a slope there: z itself has none.

    near, far : distances at which the slope is taken.  z : of a distance and the edge's sign.
    slope : derivative by the distance, from that by z.
    """

    near: float
    far: float
    z: Callable[[Any, Any], Any]
    slope: Callable[[Any, Any, Any], Any]

    def highest(self, near: FloatArray, far: FloatArray) -> FloatArray:
        """Distance at which the likelihood is highest, its slope linear from near to far; NaN where it only falls."""
        with np.errstate(divide="ignore", invalid="ignore"):
            at = self.near + (self.far - self.near) * near / (near - far)
        at = np.where(far >= near, self.far, np.clip(at, self.near, self.far))
        return np.where(near > 0, at, np.nan)


# of an SD by its square, of a correlation by the share of its range that it is away from its limit
ZERO_SD = Edge(1e-6, SMALL_SD**2, lambda u, _: np.sqrt(u), lambda g, u, _: g / (2 * np.sqrt(u)))
LIMIT = Edge(1e-6, EDGE_SHARE, lambda u, side: side * np.log(1 / u - 1), lambda g, u, side: -side * g / (u * (1 - u)))


def edges(free: Free) -> Iterator[tuple[int, Edge]]:
    """Positions of the parameters that have edges, with the way inwards."""
    yield from ((int(i), ZERO_SD) for i in free.zero_positions)
    yield from ((int(i), LIMIT) for i in free.rho_positions)


def off_edges(objective: Objective, point: Point, at_edge: np.ndarray) -> tuple[Point, np.ndarray]:
    """The point with parameters moved a little away from edges where the likelihood rises inwards.

    A search may stop on the plateau of z before it gets to such a maximum.
    """
    at_edge = at_edge.copy()
    for i, edge in edges(objective.free):
        if not at_edge[i]:
            continue
        side = np.sign(point.z[i])
        z = np.repeat(point.z[:, None], 2, axis=1)
        z[i] = [edge.z(u, side) for u in (edge.near, edge.far)]
        gradients = objective.several(z)[1][i]
        slopes = [edge.slope(g, u, side) for g, u in zip(gradients, (edge.near, edge.far), strict=True)]
        best = edge.highest(*slopes)
        if np.isfinite(best):
            moved = point.z.copy()
            moved[i] = edge.z(best, side)
            loglik, gradient = objective(moved)
            if loglik > point.loglik + GAIN:
                point, at_edge[i] = Point(moved, loglik, gradient, point.path), False
    return point, at_edge


def better_at_zero(objective: Objective, point: Point) -> np.ndarray | None:
    """z with the one SD at zero, or all of them, where the likelihood is highest, if it is higher than at the point."""
    zeros = objective.free.zero_positions
    points = np.repeat(point.z[:, None], len(zeros) + 1, axis=1)
    points[zeros, np.arange(len(zeros))] = 0.0
    points[zeros, -1] = 0.0
    logliks = objective.several(points)[0]
    best = int(np.argmax(logliks))
    return points[:, best] if logliks[best] > point.loglik + GAIN else None


def inward_starts(free: Free, point: Point, at_edge: np.ndarray) -> Iterator[np.ndarray]:
    """Starts a little inside the edges where a search ended: at an edge the gradient of the parameter vanishes.

    Where an SD is zero or a correlation at its limit, the correlation may have another mode: it is tried at several
    values, with small SDs of its level raised.
    """
    on_edge = at_edge | (point.z <= free.lower)
    zeros = np.intersect1d(free.zero_positions, np.flatnonzero(on_edge))
    logits = [i for i in free.rho_positions if on_edge[free.level_of(i)].any()]
    for moved in ([zeros] if len(zeros) else []) + ([zeros[[j]] for j in range(len(zeros))] if len(zeros) > 1 else []):
        z = point.z.copy()
        z[moved] = OFF_ZERO
        yield z
    for i in logits:
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[free.level_of(i)])
        for logit, least in ((-OFF_LIMIT, OFF_ZERO), (0.0, np.abs(point.z[sds]).mean()), (OFF_LIMIT, OFF_ZERO)):
            z = point.z.copy()
            z[sds] = np.maximum(np.abs(z[sds]), least)
            z[i] = logit
            yield z


def interior_of(free: Free, point: Point, at_edge: np.ndarray) -> IndexArray:
    """Parameters that are neither at an edge nor meaningless because the SDs they belong to are zero."""
    inside = ~at_edge & (point.z > free.lower)
    for i in free.rho_positions:
        level = free.level_of(i)
        sds = [j for j in free.zero_positions if level.start <= j < level.stop]
        inside[i] &= sum(point.z[j] != 0 for j in sds) >= (2 if len(sds) > 1 else 1)
    return np.flatnonzero(inside)


@dataclass
class Outcome:
    """A finished local search."""

    point: Point
    at_edge: np.ndarray
    interior: IndexArray
    H: np.ndarray
    start: np.ndarray

    @property
    def well_curved(self) -> bool:
        return not is_flat(self.H, self.point.z[self.interior])


def local_search(
    objective: Objective, start: np.ndarray, max_iterations: int, report: Callable[[int, float], None]
) -> Outcome:
    """Search from one start, with the edges tried and left again where the likelihood rises inwards."""
    point, serves = scoring(objective, start, max_iterations, report)
    if not serves:
        point = quasi_newton(objective, point.z, max_iterations, report)
    lower = better_at_zero(objective, point)
    if lower is not None:
        point = max(point, quasi_newton(objective, lower, max_iterations, report), key=lambda p: p.loglik)
    point, at_edge = try_edges(objective, point)
    for again in list(inward_starts(objective.free, point, at_edge)):
        inward = quasi_newton(objective, again, max_iterations, report)
        if inward.loglik > point.loglik + GAIN:
            point, at_edge = try_edges(objective, inward)
    point, at_edge = off_edges(objective, point, at_edge)
    interior = interior_of(objective.free, point, at_edge)
    for _ in range(MOST_POLISHING):
        H = curvature(objective, point, interior)
        point = newton(objective, point, H, interior)
        if np.abs(residual_gradient(objective.free, point)[interior]).max(initial=0.0) <= POLISHED_ENOUGH:
            break
    return Outcome(point, at_edge, interior, H, start)


def maximise(
    objective: Objective,
    start: np.ndarray | None,
    max_iterations: int,
    tolerance: float,
    report: Callable[[int, float], None],
) -> tuple[np.ndarray, np.ndarray, Optimizer]:
    """xi at the maximum, its covariance and the record of the search."""
    free = objective.free
    first = moment_start(objective, 1.0, EM_STEPS) if start is None else start / free.units
    outcomes = [local_search(objective, first, max_iterations, report)]
    if needs_second_start(free, outcomes[0], tolerance):
        outcomes.append(local_search(objective, moment_start(objective, 25.0, 1), max_iterations, report))
    best = max(outcomes, key=lambda o: o.point.loglik)
    residual = residual_gradient(free, best.point)
    residual[best.at_edge] = 0.0
    norm = float(np.abs(residual).max(initial=0.0))
    at_bound = best.at_edge | (best.point.z <= free.lower)
    record = Optimizer(
        starts=np.array([o.start * free.units for o in outcomes]),
        path=np.array(best.point.path),
        evaluations=objective.evaluations,
        gradient=best.point.gradient / free.units,
        gradient_norm=norm,
        converged=norm <= tolerance * max(1.0, np.sqrt(objective.stats.n_obs / 100)),
        at_boundary=at_bound,
        message="" if len(outcomes) == 1 else f"best of {len(outcomes)} starts",
    )
    return best.point.z * free.units, covariance(free, best), record


def needs_second_start(free: Free, outcome: Outcome, tolerance: float) -> bool:
    norm = np.abs(residual_gradient(free, outcome.point)[outcome.interior]).max(initial=0.0)
    large_unstr = any(v.structure.name == "unstr" and v.dim >= 3 for v in free.spec.levels)
    return large_unstr or len(outcome.interior) < free.size or not outcome.well_curved or norm > tolerance


def covariance(free: Free, outcome: Outcome) -> np.ndarray:
    """Inverse observed information of xi; NaN where a parameter is at an edge or the likelihood is flat."""
    cov = np.full((free.size, free.size), np.nan)
    if len(outcome.interior) and outcome.well_curved:
        units = free.units[outcome.interior]
        cov[np.ix_(outcome.interior, outcome.interior)] = np.linalg.inv(outcome.H) * np.outer(units, units)
    return cov
