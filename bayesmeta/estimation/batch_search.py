"""The search of `search` for many data sets of one design, all advancing together by the steps of `batch`."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.estimation.batch import Objectives, Points, climb, eigen, norms, polish, residual_gradients
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.search import (
    EDGE_LOGIT,
    EDGE_SHARE,
    MOST_POLISHING,
    OFF_LIMIT,
    OFF_ZERO,
    POLISHED_ENOUGH,
    SMALL_SD,
    edges,
)
from bayesmeta.estimation.steps import FLAT, GAIN
from bayesmeta.kernel import likelihood

TOLERANCE = 1e-6  # of the convergence test, as the default of one data set
STARTS = ((1.0, 3), (25.0, 1))  # of the searches of one data set: multiples of the sampling variances, EM steps


@dataclass(frozen=True)
class Found:
    """Finished searches: the points, which parameters were set to an edge (F, B), and Hessians (B, F, F)."""

    points: Points
    at_edge: BoolArray
    H: FloatArray

    def put(self, which: np.ndarray, other: "Found") -> "Found":
        at_edge, H = self.at_edge.copy(), self.H.copy()
        at_edge[:, which], H[which] = other.at_edge, other.H
        return Found(self.points.put(which, other.points), at_edge, H)

    def take(self, which: np.ndarray) -> "Found":
        return Found(self.points.take(which), self.at_edge[:, which], self.H[which])


def maximise_many(objectives: Objectives, z: FloatArray) -> Found:
    """Searches from z (F, B), and from the starts of `search` for the data sets that it gives a second one."""
    free = objectives.free
    best = local_searches(objectives, z)
    inside = interiors(free, best.points, best.at_edge)
    curved = eigen(best.H, best.points.z, inside)[0].min(axis=1)
    again = ~inside.all(axis=0) | (curved <= FLAT) | (norms(free, best.points) > TOLERANCE)
    again |= any(v.structure.name == "unstr" and v.dim >= 3 for v in free.spec.levels)
    which = np.flatnonzero(again)
    for multiple, em_steps in STARTS if len(which) else ():
        here = objectives.take(which)
        second = local_searches(here, moment_starts(here, multiple, em_steps))
        higher = np.flatnonzero(second.points.loglik > best.points.loglik[which] + GAIN)
        best = best.put(which[higher], second.take(higher))
    return best


def moment_starts(objectives: Objectives, multiple: float, em_steps: int) -> FloatArray:
    """z (F, B) after EM steps from diagonal Psi of `multiple` times the typical sampling variances."""
    stats, free, B = objectives.stats, objectives.free, objectives.size
    moments = [np.repeat(np.diag(multiple * t**2)[None], B, axis=0) for t in free.typical]
    for _ in range(em_steps):
        scores = likelihood(stats, moments, objectives.restricted, gradient=True).scores
        assert scores is not None
        moments = [p + 2 / n * p @ s @ p for p, s, n in zip(moments, scores, stats.n_groups, strict=True)]
    return free.starts(moments) / free.units[:, None]


def local_searches(objectives: Objectives, z: FloatArray) -> Found:
    """Searches from z (F, B), with the edges tried and left again where the likelihood rises inwards."""
    free = objectives.free
    points = from_zero(objectives, climb(objectives, z))
    points, at_edge = try_edges(objectives, points)
    for which, again in list(inward_starts(free, points, at_edge)):
        here = objectives.take(which)
        inward, edge = try_edges(here, climb(here, again))
        higher = np.flatnonzero(inward.loglik > points.loglik[which] + GAIN)
        points = points.put(which[higher], inward.take(higher))
        at_edge[:, which[higher]] = edge[:, higher]
    points, at_edge = off_edges(objectives, points, at_edge)
    inside = interiors(free, points, at_edge)
    points, H = polish(objectives, points, inside)
    for _ in range(MOST_POLISHING - 1):
        residual = np.where(inside, residual_gradients(free, points), 0.0)
        which = np.flatnonzero(np.abs(residual).max(axis=0) > POLISHED_ENOUGH)
        if not len(which):
            break
        polished, H[which] = polish(objectives.take(which), points.take(which), inside[:, which])
        points = points.put(which, polished)
    return Found(points, at_edge, H)


def from_zero(objectives: Objectives, points: Points) -> Points:
    """The points, or where one SD at zero or all of them give a higher likelihood, what a climb from there reaches."""
    zeros = objectives.free.zero_positions
    best, best_z = points.loglik + GAIN, points.z.copy()
    for moved in [[i] for i in zeros] + ([list(zeros)] if len(zeros) > 1 else []):
        z = points.z.copy()
        z[moved] = 0.0
        loglik = objectives.loglik(z)
        best_z, best = np.where(loglik > best, z, best_z), np.fmax(best, loglik)
    which = np.flatnonzero(best > points.loglik + GAIN)
    if not len(which):
        return points
    lower = climb(objectives.take(which), best_z[:, which])
    higher = np.flatnonzero(lower.loglik > points.loglik[which])
    return points.put(which[higher], lower.take(higher))


def try_edges(objectives: Objectives, points: Points) -> tuple[Points, BoolArray]:
    """Set small SDs to zero and near-limit correlations to their limits where that costs nothing; which are there."""
    free = objectives.free
    at_edge = np.zeros(points.z.shape, bool)
    candidates = [(i, np.abs(points.z[i]) < SMALL_SD, np.zeros(objectives.size)) for i in free.zero_positions]
    for i in free.rho_positions:
        share = (1 + np.tanh(-np.abs(points.z[i]) / 2)) / 2
        candidates.append((i, share < EDGE_SHARE, np.copysign(EDGE_LOGIT, points.z[i])))
    for i, near, value in candidates:
        which = np.flatnonzero(near)
        if len(which):
            z = points.z[:, which]
            z[i] = value[which]
            moved = objectives.take(which)(z)
            costless = moved.loglik >= points.loglik[which] - GAIN
            points = points.put(which[costless], moved.take(np.flatnonzero(costless)))
            at_edge[i, which[costless]] = True
    return points, at_edge


def off_edges(objectives: Objectives, points: Points, at_edge: BoolArray) -> tuple[Points, BoolArray]:
    """Parameters moved a little away from edges where the likelihood rises inwards; see `search.off_edges`."""
    at_edge = at_edge.copy()
    for i, edge in edges(objectives.free):
        which = np.flatnonzero(at_edge[i])
        if not len(which):
            continue
        here, z, side = objectives.take(which), points.z[:, which], np.sign(points.z[i, which])
        slopes = []
        for u in (edge.near, edge.far):
            z[i] = edge.z(u, side)
            slopes.append(edge.slope(here(z).gradient[i], u, side))
        best = edge.highest(*slopes)
        rising = np.flatnonzero(np.isfinite(best))
        if len(rising):
            z = z[:, rising]
            z[i] = edge.z(best[rising], side[rising])
            moved = here.take(rising)(z)
            higher = np.flatnonzero(moved.loglik > points.loglik[which[rising]] + GAIN)
            points = points.put(which[rising[higher]], moved.take(higher))
            at_edge[i, which[rising[higher]]] = False
    return points, at_edge


def inward_starts(free: Free, points: Points, at_edge: BoolArray) -> Iterator[tuple[np.ndarray, FloatArray]]:
    """Data sets, and starts for them a little inside the edges where they ended; see `search.inward_starts`."""
    on_edge = at_edge | (points.z <= free.lower[:, None])
    zeros = np.zeros_like(on_edge)
    zeros[free.zero_positions] = on_edge[free.zero_positions]
    single = [zeros & (np.arange(free.size) == i)[:, None] & (zeros.sum(axis=0) > 1) for i in free.zero_positions]
    for moved in [zeros, *single]:
        which = np.flatnonzero(moved.any(axis=0))
        if len(which):
            yield which, np.where(moved, OFF_ZERO, points.z)[:, which]
    for i in free.rho_positions:
        level = free.level_of(int(i))
        which = np.flatnonzero(on_edge[level].any(axis=0))
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[level])
        size = np.abs(points.z[sds][:, which])
        for logit, least in ((-OFF_LIMIT, OFF_ZERO), (0.0, size.mean(axis=0)), (OFF_LIMIT, OFF_ZERO)):
            if len(which):
                z = points.z[:, which]
                z[sds] = np.maximum(size, least)
                z[i] = logit
                yield which, z


def interiors(free: Free, points: Points, at_edge: BoolArray) -> BoolArray:
    """Parameters (F, B) that are neither at an edge nor meaningless because the SDs they belong to are zero."""
    inside = ~at_edge & (points.z > free.lower[:, None])
    for i in free.rho_positions:
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[free.level_of(int(i))])
        inside[i] &= (points.z[sds] != 0).sum(axis=0) >= min(2, len(sds))
    return inside
