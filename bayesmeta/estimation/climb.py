"""Climbs by second-order steps in a trust region, in lock step."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Protocol, Self

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray, IntArray
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Points

DECREMENT = 1e-12  # g'H^-1 g, twice the log-likelihood still to be gained, at which a climb has arrived
NEARLY = 1e-6  # the same, at which a climb below another one of its data set ends: it will not rise above it
FLAT = 1e-9  # curvature for relative steps, as a share of the largest, below which a direction is flat
BENT = 1e-7  # of the same, downwards: curvature more negative than this is a way up
ROUNDING = 1e-12  # relative error of a log-likelihood
FIRST_RADIUS, SMALLEST_RADIUS, LARGEST_RADIUS = 1.0, 1e-7, 1e3
SECULAR_STEPS, NEAR_RADIUS = 30, 0.1  # of the search for the multiplier: steps, and how near the radius they must get
MOST_EVALUATIONS = 200  # of a climb
LEAST_SHARE = 1e-4  # of the promised gain, without which a step is not taken
INNER_STEPS, INNER = 30, 1e-3  # of the search for the maximum of a model: steps, and what it may leave of the gain
MOST_RIDGE = 1e4

Report = Callable[[int, float], None] | None


class Climbable(Protocol):
    """What can be climbed: `Objective`, or the same under a constraint."""

    @property
    def free(self) -> Free: ...

    @property
    def curved(self) -> bool: ...

    def take(self, which: IndexArray) -> Self: ...

    def __call__(self, z: FloatArray) -> Points: ...


@dataclass(frozen=True)
class Climbs:
    """N climbs: where they stand, evaluations used, whether they have arrived, and their log-likelihoods (steps, N).

    overtaken : those that ended next to a maximum, because another climb of their data set was higher.
    """

    points: Points
    evaluations: IntArray
    arrived: BoolArray
    decrement: FloatArray
    path: FloatArray
    overtaken: BoolArray

    @property
    def at_maximum(self) -> BoolArray:
        """(N,) whether a maximum is known where a climb ended, to six digits at least."""
        return self.arrived | self.overtaken

    def and_more(self, more: "Climbs") -> "Climbs":
        """These climbs and others after them."""
        steps = max(len(self.path), len(more.path))
        paths = [np.pad(c.path, [(0, steps - len(c.path)), (0, 0)], mode="edge") for c in (self, more)]
        return Climbs(
            points=self.points.and_more(more.points),
            evaluations=np.concatenate([self.evaluations, more.evaluations]),
            arrived=np.concatenate([self.arrived, more.arrived]),
            decrement=np.concatenate([self.decrement, more.decrement]),
            path=np.concatenate(paths, axis=1),
            overtaken=np.concatenate([self.overtaken, more.overtaken]),
        )

    def resumed(self, which: IndexArray, more: "Climbs") -> "Climbs":
        """These climbs, some of which went on from where they had ended."""
        before, steps = self.evaluations[which], len(more.path)
        longer = max(0, int(before.max()) + steps - len(self.path))
        path = np.pad(self.path, [(0, longer), (0, 0)], mode="edge")
        for i, climb_, n in zip(range(len(which)), which, before, strict=True):
            path[n : n + steps, climb_], path[n + steps :, climb_] = more.path[:, i], more.path[-1, i]
        changes = {name: getattr(self, name).copy() for name in ("evaluations", "arrived", "decrement", "overtaken")}
        changes["evaluations"][which] += more.evaluations
        for name in ("arrived", "decrement", "overtaken"):
            changes[name][which] = getattr(more, name)
        return replace(self, points=self.points.put(which, more.points), path=path, **changes)

    def went_on(self, which: IndexArray, points: Points, decrement: FloatArray) -> "Climbs":
        """These climbs after one more step of some of them, to points."""
        path = np.concatenate([self.path, self.path[-1:]])
        evaluations, left = self.evaluations.copy(), self.decrement.copy()
        for column, loglik in zip(which, points.loglik, strict=True):
            path[evaluations[column] :, column] = loglik
        evaluations[which] += 1
        left[which] = decrement
        return replace(self, points=self.points.put(which, points), evaluations=evaluations, decrement=left, path=path)


@dataclass(frozen=True)
class Race:
    """Climbs of the same data sets: owner (N,) of every climb, and `least` (B,), the highest end so far."""

    owner: IndexArray
    least: FloatArray

    def behind(self, loglik: FloatArray) -> BoolArray:
        """(N,) whether another climb of the data set stands higher, or one before it as high."""
        top = self.least.copy()
        np.maximum.at(top, self.owner, loglik)
        leads = loglik > self.least[self.owner]
        leads &= loglik == top[self.owner]
        first = np.unique(np.where(leads, self.owner, -1), return_index=True)[1]
        behind = np.ones(len(loglik), bool)
        behind[first] = ~leads[first]
        return behind


@dataclass(frozen=True)
class Pace:
    """Of N climbs: radius (N,) of steps in z, and ridge (N,), the share of its diagonal added to the information."""

    radius: FloatArray
    ridge: FloatArray

    def take(self, which: IndexArray) -> "Pace":
        return Pace(self.radius[which], self.ridge[which])


@dataclass(frozen=True)
class Local:
    """Eigenvectors of the negative Hessian for relative steps of the parameters that are not held at a bound."""

    size: FloatArray
    held: BoolArray
    curved: FloatArray
    directions: FloatArray
    slope: FloatArray
    flat: BoolArray

    def take(self, which: IndexArray) -> "Local":
        return Local(*(getattr(self, f.name)[which] for f in fields(self)))

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
    if not np.isfinite(lower).any():
        return np.zeros(points.z.shape, bool)
    bend = np.diagonal(points.H, axis1=1, axis2=2)
    tiny = 1e-9 * np.maximum(1.0, np.abs(points.gradient).max(1, keepdims=True))
    return np.asarray((points.z <= lower) & ((points.gradient < -tiny) | ((points.gradient <= tiny) & (bend >= -tiny))))


def local(points: Points, lower: FloatArray, extra: BoolArray | None = None) -> Local:
    size, held = relative_sizes(points.z), held_at_bounds(points, lower)
    if extra is not None:
        held = held | extra
    scale = np.where(held, 0.0, size)
    H = points.H * scale[:, :, None] * scale[:, None, :]
    curved, directions = np.linalg.eigh(np.where(np.isfinite(H), H, 0.0))
    gradient = np.where(np.isfinite(points.gradient), scale * points.gradient, 0.0)
    slope = (directions.mT @ gradient[:, :, None])[:, :, 0]
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

    step = steps(np.zeros(len(least)))
    inside = (least > tiny) & (np.linalg.norm(step, axis=1) <= radius)
    if inside.all():
        return step, (slope * step - curved * step**2 / 2).sum(1)
    length = np.linalg.norm(slope, axis=1)
    low, high = floor.copy(), floor + length / radius + tiny
    mu = np.where(inside, 0.0, floor + np.minimum(length / radius, tiny + 1e-3 * length / radius))
    for _ in range(SECULAR_STEPS):
        step = steps(mu)
        norm = np.maximum(np.linalg.norm(step, axis=1), 1e-300)
        if np.all(inside | (np.abs(norm - radius) <= NEAR_RADIUS * radius) | (high - low <= 1e-12 * (1.0 + high))):
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
    too_long = norm > (1 + NEAR_RADIUS) * radius
    step[too_long] *= (radius / np.maximum(norm, 1e-300))[too_long, None]
    return step, (slope * step - curved * step**2 / 2).sum(1)


def bounded_steps(points: Points, at: Local, lower: FloatArray, radius: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steps in z and promised gains; parameters that would cross their bound go to it, the others follow."""
    step, gain = trust_region(at, radius)
    move = at.size * (at.directions @ step[:, :, None])[:, :, 0]
    if not np.isfinite(lower).any():
        return move, gain
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


@dataclass(frozen=True)
class Model:
    """The log-likelihood as a quadratic function of theta near some points, as a function of z."""

    free: Free
    theta: FloatArray
    scores: FloatArray
    information: FloatArray

    def take(self, which: IndexArray) -> "Model":
        return Model(self.free, self.theta[which], self.scores[which], self.information[which])

    def __call__(self, z: FloatArray) -> Points:
        free = self.free
        d = free.theta(z) - self.theta
        bent = (self.information @ d[:, :, None])[:, :, 0]
        scores = self.scores - bent
        J = free.theta_jacobian(z)
        gradient = (scores[:, None, :] @ J)[:, 0]
        H = J.mT @ self.information @ J - free.theta_bend(z, scores)
        value = ((self.scores - bent / 2) * d).sum(1)
        return Points(z, value, gradient, H, scores, self.information, self.information)


def model_steps(free: Free, points: Points, here: Local, ridge: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Steps in z to the maximum of the quadratic model in theta, and the gains promised.

    The information is the observed one where the likelihood is concave in z, otherwise the average; `ridge` (N,)
    times its diagonal is added.
    """
    observed, average = points.observed, points.average
    definite = here.curved[:, 0] >= 0
    info = np.where(definite[:, None, None], observed, average)
    diagonal = np.diagonal(info, axis1=1, axis2=2)
    least = 1e-8 * np.abs(diagonal).max(1, keepdims=True) + 1e-300
    info = (
        info
        + np.eye(info.shape[1])
        * (ridge[:, None] * np.maximum(diagonal, least) + ~definite[:, None] * least)[:, None, :]
    )
    model = Model(free, free.theta(points.z), points.scores, info)
    start = replace(points, loglik=np.zeros(len(points.z)), H=info_hessian(free, points, info))
    end = _ascend(model, start, free.lower, np.full(len(points.z), 4 * FIRST_RADIUS))
    return end.z - points.z, end.loglik


def info_hessian(free: Free, points: Points, info: FloatArray) -> FloatArray:
    J = free.theta_jacobian(points.z)
    return J.mT @ info @ J - free.theta_bend(points.z, points.scores)


def _ascend(model: Model, start: Points, lower: FloatArray, radius: FloatArray) -> Points:
    """Maximise the model by trust-region steps; no data are looked at."""
    at, radius = start, radius.copy()
    for _ in range(INNER_STEPS):
        here = local(at, lower)
        going = (here.decrement > INNER * np.maximum(at.loglik, 1e-14)) | ~here.at_top
        going &= radius > SMALLEST_RADIUS
        rows = np.flatnonzero(going)
        if not len(rows):
            break
        everyone = len(rows) == len(going)
        some, of_some, here = (at, model, here) if everyone else (at.take(rows), model.take(rows), here.take(rows))
        move, gain = bounded_steps(some, here, lower, radius[rows])
        new = of_some(some.z + move)
        rise = new.loglik - some.loglik
        length = np.linalg.norm(move / relative_sizes(some.z), axis=1)
        better = rise > 1e-4 * gain
        radius[rows] = np.where(
            rise < 0.25 * gain,
            0.25 * length,
            np.where(rise > 0.75 * gain, np.maximum(radius[rows], 2.5 * length), radius[rows]),
        )
        at = new if everyone and better.all() else at.put(rows[better], new.take(np.flatnonzero(better)))
    return at


@np.errstate(all="ignore")  # a step too far is turned back, whatever it overflows
def climb(
    objective: Climbable,
    z: FloatArray,
    most: int = MOST_EVALUATIONS,
    tolerance: float = DECREMENT,
    report: Report = None,
    race: Race | None = None,
) -> Climbs:
    """Climb from every z (N, F), all in lock step; one that has arrived leaves the batch.

    objective : of one data set, of N, or with a constraint. most : evaluations of a climb. tolerance : of the Newton
    decrement, at which it has arrived. report : called with the number of steps and the highest log-likelihood.
    race : which climbs are of the same data set, where only the highest is wanted.
    """
    free, lower, N = objective.free, objective.free.lower, len(z)
    at = done = objective(z)
    evaluations, decrement = np.ones(N, np.int64), np.full(N, np.inf)
    arrived, overtaken = np.zeros(N, bool), np.zeros(N, bool)
    path, which, pace = [done.loglik], np.arange(N), Pace(np.full(N, FIRST_RADIUS), np.zeros(N))
    for step in range(1, most):
        here = local(at, lower)
        decrement[which], arrived[which] = here.decrement, (here.decrement <= tolerance) & here.at_top
        if race is not None:
            behind = race.behind(path[-1])[which]
            overtaken[which] = behind & (here.decrement <= NEARLY) & here.at_top & ~arrived[which]
        ended = arrived[which] | overtaken[which]
        going = np.flatnonzero(~ended & np.isfinite(at.loglik) & (pace.radius > SMALLEST_RADIUS))
        if len(going) < len(which):
            done = done.put(which, at)
            objective, at, here, which, pace = (
                objective.take(going),
                at.take(going),
                here.take(going),
                which[going],
                pace.take(going),
            )
        if not len(which):
            break
        move, gain = next_steps(free, at, here, pace, objective.curved)
        new = objective(at.z + move)
        evaluations[which] += 1
        better, pace = judged(at, new, move, gain, pace, objective.curved)
        at = new if better.all() else at.put(np.flatnonzero(better), new.take(np.flatnonzero(better)))
        path.append(path[-1].copy())
        path[-1][which] = at.loglik
        if report is not None:
            report(step, float(path[-1].max()))
    return Climbs(done.put(which, at), evaluations, arrived, decrement, np.array(path), overtaken)


def next_steps(free: Free, at: Points, here: Local, pace: Pace, curved: bool) -> tuple[FloatArray, FloatArray]:
    """Steps in z and the gains that they promise: in theta where that serves and has not failed, otherwise in z."""
    move, gain = bounded_steps(at, here, free.lower, pace.radius)
    rows = np.flatnonzero(pace.ridge < MOST_RIDGE) if curved else np.arange(0)
    if len(rows):
        everyone = len(rows) == len(move)
        some, of_some = (at, here) if everyone else (at.take(rows), here.take(rows))
        move[rows], gain[rows] = model_steps(free, some, of_some, pace.ridge[rows])
    return move, gain


def judged(
    at: Points, new: Points, move: FloatArray, gain: FloatArray, pace: Pace, curved: bool
) -> tuple[BoolArray, Pace]:
    """Which steps are taken, and radius and ridge of the next ones."""
    rounding = ROUNDING * (1.0 + np.abs(at.loglik))
    in_theta = curved & (pace.ridge < MOST_RIDGE)
    with np.errstate(invalid="ignore"):
        rise = new.loglik - at.loglik
        better = (rise > LEAST_SHARE * gain) | ((np.abs(rise) <= 10 * rounding) & (gain <= 1e-9))
        length = np.linalg.norm(move / relative_sizes(at.z), axis=1)
        poor, good = ~(rise >= 0.25 * gain - rounding), (rise >= 0.75 * gain) & (length >= 0.9 * pace.radius)
        radius = np.where(good, np.minimum(2.5 * pace.radius, LARGEST_RADIUS), pace.radius)
        radius = np.where(poor, 0.25 * np.minimum(length, pace.radius), radius)
        eased = np.where(rise > 0.5 * gain, np.where(pace.ridge < 1e-2, 0.0, pace.ridge / 10), pace.ridge)
        ridge = np.where(better, eased, np.maximum(10 * pace.ridge, 0.1))
        resumed = np.where(better & ~poor, 1.0, pace.ridge)  # after a good step in z, theta is tried again
    return better, Pace(np.where(in_theta, pace.radius, radius), np.where(in_theta, ridge, resumed))
