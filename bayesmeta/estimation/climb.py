"""Climbs by second-order steps in a trust region, in lock step."""

from dataclasses import dataclass, replace

import numpy as np

from bayesmeta.estimation.objective import BoolArray, IntArray, Objective, Points
from bayesmeta.model.spec import FloatArray

DECREMENT = 1e-12  # g'H^-1 g, twice the log-likelihood still to be gained, at which a climb has arrived
FLAT = 1e-9  # curvature for relative steps, as a share of the largest, below which a direction is flat
BENT = 1e-7  # of the same, downwards: curvature more negative than this is a way up
ROUNDING = 1e-12  # relative error of a log-likelihood
FIRST_RADIUS, SMALLEST_RADIUS, LARGEST_RADIUS = 1.0, 1e-7, 1e3
SECULAR_STEPS = 30


@dataclass(frozen=True)
class Climbs:
    """N climbs: where they stand, evaluations used, whether they have arrived, and paths of log-likelihoods."""

    points: Points
    evaluations: IntArray
    arrived: BoolArray
    decrement: FloatArray
    path: list[FloatArray]


@dataclass(frozen=True)
class Local:
    """Eigenvectors of the negative Hessian for relative steps of the parameters that are not held at a bound."""

    size: FloatArray
    held: BoolArray
    curved: FloatArray
    directions: FloatArray
    slope: FloatArray
    flat: BoolArray

    @property
    def decrement(self) -> FloatArray:
        """(N,) g'H^-1 g in the directions in which the likelihood is curved downwards."""
        good = ~self.flat & (self.curved > 0)
        return np.asarray(np.where(good, self.slope**2 / np.where(good, self.curved, 1.0), 0.0).sum(1))

    @property
    def at_top(self) -> BoolArray:
        """(N,) whether no direction that is not flat curves upwards."""
        return np.asarray((self.curved >= -self.bent[:, None]).all(1))

    @property
    def bent(self) -> FloatArray:
        return BENT * np.maximum(1.0, np.abs(self.curved).max(1))


def relative_sizes(z: FloatArray) -> FloatArray:
    return np.maximum(np.abs(z), 1.0)


def held_at_bounds(points: Points, lower: FloatArray) -> BoolArray:
    """Parameters at a bound from which the likelihood does not rise inwards: one-sided derivative, then curvature."""
    bend = np.diagonal(points.H, axis1=1, axis2=2)
    tiny = 1e-9 * np.maximum(1.0, np.abs(points.gradient).max(1, keepdims=True))
    return np.asarray((points.z <= lower) & ((points.gradient < -tiny) | ((points.gradient <= tiny) & (bend >= -tiny))))


def local(points: Points, lower: FloatArray, extra: BoolArray | None = None) -> Local:
    size, held = relative_sizes(points.z), held_at_bounds(points, lower)
    if extra is not None:
        held = held | extra
    scale = np.where(held, 0.0, size)
    curved, directions = np.linalg.eigh(points.H * scale[:, :, None] * scale[:, None, :])
    slope = (directions.mT @ (scale * points.gradient)[:, :, None])[:, :, 0]
    largest = np.maximum(np.abs(curved).max(1, keepdims=True, initial=0.0), 1e-300)
    flat = (np.abs(curved) <= FLAT * largest) & (np.abs(slope) <= np.sqrt(FLAT * largest * DECREMENT) + 1e-8)
    return Local(scale, held, curved, directions, slope, flat)


def trust_region(at: Local, radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steps (N, F) that maximise the quadratic model within a radius, and the gain that they promise.

    More and Sorensen (1983), SIAM J. Sci. Stat. Comput. 4:553-572, with their hard case.
    """
    slope = np.where(at.flat, 0.0, at.slope)
    curved = np.where(at.flat, np.abs(at.curved).max(1, keepdims=True) + 1.0, at.curved)
    least = curved.min(1)
    floor = np.maximum(0.0, -least)
    tiny = 1e-14 * np.maximum(1.0, np.abs(curved).max(1))

    def steps(mu: FloatArray) -> FloatArray:
        below = curved + mu[:, None]
        return slope / np.where(below > tiny[:, None], below, tiny[:, None])

    inside = (least > tiny) & (np.linalg.norm(steps(np.zeros(len(least))), axis=1) <= radius)
    length = np.linalg.norm(slope, axis=1)
    low, high = floor.copy(), floor + length / radius + tiny
    mu = np.where(inside, 0.0, floor + np.minimum(length / radius, tiny + 1e-3 * length / radius))
    for _ in range(SECULAR_STEPS):
        step = steps(mu)
        norm = np.maximum(np.linalg.norm(step, axis=1), 1e-300)
        if np.all(inside | (np.abs(norm - radius) <= 1e-3 * radius) | (high - low <= 1e-12 * (1.0 + high))):
            break
        low, high = np.where(norm > radius, mu, low), np.where(norm > radius, high, mu)
        below = np.maximum(curved + mu[:, None], tiny[:, None])
        change = (norm - radius) / radius * norm**2 / np.maximum((step**2 / below).sum(1), 1e-300)
        guess = mu + change
        mu = np.where(inside, 0.0, np.where((guess > low) & (guess < high), guess, (low + high) / 2))
    step = steps(mu)
    norm = np.linalg.norm(step, axis=1)
    short = ~inside & (least < 0) & (norm < 0.9 * radius)  # the hard case: the rest goes along the lowest curvature
    along = np.argmin(curved, axis=1)
    rows = np.flatnonzero(short)
    rest = np.sqrt(np.maximum(radius[rows] ** 2 - norm[rows] ** 2 + step[rows, along[rows]] ** 2, 0.0))
    step[rows, along[rows]] = np.where(slope[rows, along[rows]] < 0, -rest, rest)
    too_long = norm > 1.1 * radius
    step[too_long] *= (radius / np.maximum(norm, 1e-300))[too_long, None]
    return step, (slope * step - curved * step**2 / 2).sum(1)


def bounded_steps(points: Points, at: Local, lower: FloatArray, radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steps in z and promised gains; parameters that would cross their bound go to it, the others follow."""
    step, gain = trust_region(at, radius)
    move = at.size * (at.directions @ step[:, :, None])[:, :, 0]
    crossing = points.z + move < lower
    outward = crossing & (points.z <= lower)
    if outward.any():  # from a bound a direction without slope is taken inwards
        flip = (outward.any(1)) & (np.abs(at.slope).max(1) < 1e-8)
        move = np.where(flip[:, None], -move, move)
        crossing = points.z + move < lower
    rows = np.flatnonzero(crossing.any(1))
    if not len(rows):
        return move, gain
    to_bound = np.where(crossing[rows], np.broadcast_to(lower, points.z.shape)[rows] - points.z[rows], 0.0)
    some = points.take(rows)
    shifted = replace(some, gradient=some.gradient - (some.H @ to_bound[:, :, None])[:, :, 0])
    rest = local(shifted, lower, crossing[rows] | at.held[rows])
    again, _ = trust_region(rest, radius[rows])
    inner = to_bound + rest.size * (rest.directions @ again[:, :, None])[:, :, 0]
    moved = np.maximum(some.z + inner, lower) - some.z
    quadratic = (some.gradient * moved).sum(1) - ((some.H @ moved[:, :, None])[:, :, 0] * moved).sum(1) / 2
    move[rows], gain[rows] = moved, quadratic
    return move, gain


def climb(objective: Objective, z: FloatArray, most: int = 200) -> Climbs:
    """Climb from every z (N, F); a climb that has arrived leaves the batch."""
    lower = objective.free.lower
    done = objective(z)
    N = len(z)
    evaluations, arrived, decrement = np.ones(N, np.int64), np.zeros(N, bool), np.full(N, np.inf)
    path = [[float(v)] for v in done.loglik]
    at, which, radius = done, np.arange(N), np.full(N, FIRST_RADIUS)
    for _ in range(most):
        here = local(at, lower)
        decrement[which] = here.decrement
        stop = (here.decrement <= DECREMENT) & here.at_top
        arrived[which] = stop
        going = ~stop & np.isfinite(at.loglik) & (radius > SMALLEST_RADIUS)
        if not going.all():
            done = done.put(which, at)
            left = np.flatnonzero(going)
            if not len(left):
                return Climbs(done, evaluations, arrived, decrement, [np.array(p) for p in path])
            objective, at, which, radius = objective.take(left), at.take(left), which[left], radius[left]
            here = local(at, lower)
        move, gain = bounded_steps(at, here, lower, radius)
        new = objective(at.z + move)
        evaluations[which] += 1
        rounding = ROUNDING * (1.0 + np.abs(at.loglik))
        rise = new.loglik - at.loglik
        better = (rise > 1e-4 * gain) | ((np.abs(rise) <= 10 * rounding) & (gain <= 1e-9))
        length = np.linalg.norm(move / relative_sizes(at.z), axis=1)
        with np.errstate(invalid="ignore"):
            poor, good = ~(rise >= 0.25 * gain - rounding), (rise >= 0.75 * gain) & (length >= 0.9 * radius)
        radius = np.where(poor, 0.25 * np.minimum(length, radius), np.where(good, np.minimum(2.5 * radius, LARGEST_RADIUS), radius))
        at = at.put(np.flatnonzero(better), new.take(np.flatnonzero(better)))
        for i, n in enumerate(which):
            if better[i]:
                path[n].append(float(at.loglik[i]))
    done = done.put(which, at)
    return Climbs(done, evaluations, arrived, decrement, [np.array(p) for p in path])
