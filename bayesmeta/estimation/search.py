"""The search for the highest point of a (restricted) log-likelihood over z, of one data set or of many.

Climbs begin at the best points of a scan (`scan`) and go up together (`climb`). Where they end at so many maxima that
there may well be others, a second scan begins as many climbs again. Where the highest ends on an edge of the family at
which a correlation has no meaning, climbs begin again a little inside.
"""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray, IntArray
from bayesmeta.estimation.climb import (
    DECREMENT,
    FIRST_RADIUS,
    MOST_EVALUATIONS,
    NEARLY,
    Climbs,
    Race,
    Report,
    bounded_steps,
    climb,
    local,
)
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Objective, Points
from bayesmeta.estimation.scan import Starts, further
from bayesmeta.estimation.scan import starts as scanned_starts

GAIN = 1e-8  # log-likelihood that another end must gain to be taken for a better one
SMALL = 1e-3  # SDs, and angles from a limit, below which the edge itself is tried
ROUNDING = 1e-11  # share of the log-likelihood that the edge may cost
RAISED = 0.2  # SD at which a climb begins again that ended at zero
ANGLES = np.pi * np.array([0.06, 0.3, 0.55, 0.8, 0.94])  # of correlations at which it begins again
ROUNDS = 3
UNSEEN = 0.6  # expected number of maxima not seen yet from which another scan begins more climbs
NEAR_EDGE = 0.15  # SD, and angle in half turns from a limit, nearer than which an end leaves a doubt
NEAR = 1e-4  # log-likelihood within which two ends are taken for the same maximum
BATCHES = 2  # scans
STABLE = 1e-16  # Newton decrement at which estimates stand still to 1e-8 of their standard errors


@dataclass(frozen=True)
class Maxima:
    """The highest points of B data sets.

    points : B of them; at_edge (B, F) parameters at the edge of their range; decrement, converged (B,).
    evaluations (B,) of the winning climb; all_evaluations (B,). climbs, starts, owner : every climb, where it began,
    and its data set; winner (B,) the winning ones. scanned : points of the scans.
    """

    points: Points
    at_edge: BoolArray
    decrement: FloatArray
    converged: BoolArray
    evaluations: IntArray
    all_evaluations: IntArray
    climbs: Climbs
    starts: FloatArray
    owner: IndexArray
    winner: IndexArray
    scanned: int


def maximise(
    objective: Objective,
    starts: Starts,
    most: int = MOST_EVALUATIONS,
    tolerance: float = DECREMENT,
    report: Report = None,
) -> Maxima:
    """Climb from all starts, again from inside the edges, and take the highest end of every data set."""
    race = Race(starts.owner, np.full(objective.stats.n_data_sets, -np.inf))
    climbs = climb(objective.take(starts.owner), starts.z, most, tolerance, report, race)
    z, owner, scanned = starts.z, starts.owner, starts.scanned
    for batch in range(1, BATCHES):
        which = np.flatnonzero(in_doubt(objective, starts, climbs, owner))
        if not len(which):
            break
        extra = scanned_starts(objective.take(which), batch)
        whose = which[extra.owner]
        race = Race(whose, climbs.points.loglik[winners(climbs, owner)])
        climbs = climbs.and_more(climb(objective.take(whose), extra.z, most, tolerance, report, race))
        z, owner = np.concatenate([z, extra.z]), np.concatenate([owner, whose])
        scanned += extra.scanned
    best = winners(climbs, owner)
    for _ in range(ROUNDS):
        again, whose = inward_starts(objective.free, climbs.points.z[best])
        if not len(again):
            break
        whose = owner[best][whose]
        before = climbs.points.loglik[best]
        more = climb(objective.take(whose), again, most, tolerance, report, Race(whose, before))
        climbs, z, owner = climbs.and_more(more), np.concatenate([z, again]), np.concatenate([owner, whose])
        new = winners(climbs, owner)
        higher = climbs.points.loglik[new] > before + GAIN
        best = np.where(higher, new, best)
        if not higher.any():
            break
    climbs = resumed(objective, climbs, owner, best, most, tolerance)
    best = np.where(climbs.arrived[best], best, winners(climbs, owner))
    climbs = polished(objective, climbs, owner, best)
    points, at_edge = settled(objective, climbs.points.take(best))
    decrement, converged = climbs.decrement[best], climbs.arrived[best]
    if objective.restricted and len(objective.free.silent):
        points, at_edge, decrement, converged = silenced(objective, points, at_edge)
    return Maxima(
        points=points,
        at_edge=at_edge,
        decrement=decrement,
        converged=converged,
        evaluations=climbs.evaluations[best],
        all_evaluations=np.bincount(owner, climbs.evaluations).astype(np.int64),
        climbs=climbs,
        starts=z,
        owner=owner,
        winner=best,
        scanned=scanned,
    )


def in_doubt(objective: Objective, starts: Starts, climbs: Climbs, owner: IndexArray) -> BoolArray:
    """(B,) data sets that may have a higher maximum than those at which climbs have ended so far."""
    B = objective.stats.n_data_sets
    if starts.provisional:
        best = winners(climbs, owner)
        doubt = ~climbs.arrived[best] | near_edges(objective.free, climbs.points.z[best])
        return np.asarray(doubt | (maxima_seen(climbs, owner, B) > 1))
    if starts.scanned and further(objective):
        return unseen(climbs, owner, B) >= UNSEEN
    return np.zeros(B, bool)


def near_edges(free: Free, z: FloatArray) -> BoolArray:
    """(B,) whether an SD is near zero, or a correlation near a limit of its range.

    Not of families that hold every matrix: there climbs go round a singular one, and singular ends are normal.
    """
    z = free.canonical(z.T).T
    families = [(v.structure, v.dim, place.start) for v, place in free.parts() if not v.structure.unrestricted]
    sds = [start + structure.zero_positions(dim) for structure, dim, start in families]
    small = np.abs(z[:, np.concatenate([np.arange(0), *sds])]) < NEAR_EDGE
    angles = z[:, free.rho_positions] / np.pi
    return np.asarray(small.any(1) | (np.minimum(angles, 1 - angles) < NEAR_EDGE).any(1))


def unseen(climbs: Climbs, owner: IndexArray, n_data_sets: int) -> FloatArray:
    """(B,) expected number of maxima at which no climb has ended, w (w + 1) / (n - w - 2) after w in n climbs.

    Boender and Rinnooy Kan (1987), Mathematical Programming 37:59-80, equation (9), starts taken as random.
    """
    n, w = np.bincount(owner[climbs.at_maximum], minlength=n_data_sets), maxima_seen(climbs, owner, n_data_sets)
    return np.asarray(w * (w + 1) / np.maximum(1, n - w - 2))


def maxima_seen(climbs: Climbs, owner: IndexArray, n_data_sets: int) -> IntArray:
    """(B,) number of maxima at which climbs have ended, at least one, told apart by their log-likelihoods."""
    loglik, owner = climbs.points.loglik[climbs.at_maximum], owner[climbs.at_maximum]
    order = np.lexsort((loglik, owner))
    new = np.append(True, (np.diff(owner[order]) > 0) | (np.diff(loglik[order]) > NEAR))[: len(order)]
    return np.maximum(1, np.bincount(owner[order], new, n_data_sets)).astype(np.int64)


def winners(climbs: Climbs, owner: IndexArray) -> IndexArray:
    """For every data set the climb that ended highest; of those that differ by rounding one that arrived, the shortest.

    One that arrived wins over one that stopped short a little higher, by what a log-likelihood of large Psi is rounded.
    """
    loglik, evaluations = climbs.points.loglik.copy(), climbs.evaluations
    loglik[~climbs.arrived] -= GAIN
    top = np.full(int(owner.max()) + 1, -np.inf)
    np.maximum.at(top, owner, loglik)
    with np.errstate(invalid="ignore"):
        at_top = loglik >= top[owner] - ROUNDING * (1.0 + np.abs(top[owner]))
    order = np.lexsort((evaluations, ~climbs.arrived, ~at_top, owner))
    return order[np.r_[True, np.diff(owner[order]) > 0]]


def inward_starts(free: Free, z: FloatArray) -> tuple[FloatArray, IndexArray]:
    """Starts a little inside the edges at which climbs ended at z (B, F), and the ends that they belong to.

    Where an SD is zero its correlations have no meaning, and the slope of the likelihood in the SD depends on them: the
    end may be none for other correlations.
    """
    again, whose = [np.zeros((0, free.size))], [np.zeros(0, np.int64)]
    for level, place in free.parts():
        zeros = place.start + level.structure.zero_positions(level.dim)
        at_zero = np.abs(z[:, zeros]) < SMALL
        rows = np.flatnonzero(at_zero.any(1))
        angle = level.structure.rho_position(level.dim)
        bounded = np.isfinite(free.lower[place]).any()
        if not len(rows) or (angle is None and not bounded):
            continue
        raised = z[rows]
        raised[:, zeros] = np.where(at_zero[rows], RAISED, raised[:, zeros])
        for value in [None] if angle is None else ANGLES:
            start = raised.copy()
            if value is not None:
                start[:, place.start + angle] = value
            again.append(start)
            whose.append(rows)
    return np.concatenate(again), np.concatenate(whose)


def resumed(
    objective: Objective, climbs: Climbs, owner: IndexArray, best: IndexArray, most: int, tolerance: float
) -> Climbs:
    """The climbs, of which those that were overtaken next to the same maximum go on where the winner did not arrive.

    Where the likelihood is hardly curved, rounding decides which way up ends.
    """
    gap = climbs.points.loglik[best][owner] - climbs.points.loglik
    rows = np.flatnonzero(climbs.overtaken & ~climbs.arrived[best][owner] & (gap <= NEARLY))
    if not len(rows):
        return climbs
    return climbs.resumed(rows, climb(objective.take(owner[rows]), climbs.points.z[rows], most, tolerance))


def polished(objective: Objective, climbs: Climbs, owner: IndexArray, best: IndexArray) -> Climbs:
    """The climbs with one Newton step more of those winners whose estimates it moves.

    A decrement of d leaves parameters sqrt(d) of their standard errors from the maximum; a step there squares it.
    """
    moving = best[climbs.arrived[best] & (climbs.decrement[best] > STABLE)]
    if not len(moving):
        return climbs
    lower, points = objective.free.lower, climbs.points.take(moving)
    move, _ = bounded_steps(points, local(points, lower), lower, np.full(len(moving), FIRST_RADIUS))
    new = objective.take(owner[moving])(points.z + move)
    left = local(new, lower)
    level = ROUNDING * (1.0 + np.abs(points.loglik))
    better = left.at_top & (left.decrement < climbs.decrement[moving]) & (new.loglik >= points.loglik - level)
    return climbs.went_on(moving[better], new.take(np.flatnonzero(better)), left.decrement[better])


def settled(objective: Objective, points: Points) -> tuple[Points, BoolArray]:
    """The points with small SDs at zero, and angles at their limits, where that costs nothing; which are there."""
    free = objective.free
    z = free.canonical(points.z.T).T
    at_edge = np.zeros(z.shape, bool)
    edges = [(i, 0.0) for i in free.zero_positions] + [(i, limit) for i in free.rho_positions for limit in (0.0, np.pi)]
    for i, edge in edges:
        rows = np.flatnonzero(np.abs(z[:, i] - edge) < SMALL)
        if not len(rows):
            continue
        moved = z[rows]
        moved[:, i] = edge
        loglik = objective.take(rows).loglik(moved)
        free_of_cost = loglik >= points.loglik[rows] - ROUNDING * (1.0 + np.abs(points.loglik[rows]))
        z[rows[free_of_cost], i] = edge
        at_edge[rows[free_of_cost], i] = True
    changed = np.flatnonzero((z != points.z).any(1))
    if len(changed):
        points = points.put(changed, objective.take(changed)(z[changed]))
    return points, at_edge


def silenced(
    objective: Objective, points: Points, at_edge: BoolArray
) -> tuple[Points, BoolArray, FloatArray, BoolArray]:
    """Points, edges, decrement and convergence with parameters at zero about which the likelihood says nothing.

    Where climbs left them is chance; at zero they do not widen the standard errors of anything.
    """
    z, at_edge = points.z.copy(), at_edge.copy()
    z[:, objective.free.silent], at_edge[:, objective.free.silent] = 0.0, True
    points = objective(z)
    here = local(points, objective.free.lower, at_edge)
    return points, at_edge, here.decrement, (here.decrement <= DECREMENT) & here.at_top


def interiors(free: Free, z: FloatArray, at_edge: BoolArray) -> BoolArray:
    """Parameters (B, F) that are neither at an edge nor without meaning because the SDs they belong to are zero."""
    inside = ~at_edge & (z > free.lower)
    for level, place in free.parts():
        angle = level.structure.rho_position(level.dim)
        if angle is not None:
            sds = place.start + level.structure.zero_positions(level.dim)
            inside[:, place.start + angle] &= (z[:, sds] != 0).sum(1) >= min(2, len(sds))
    return inside
