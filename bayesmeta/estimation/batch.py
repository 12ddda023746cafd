"""Steps of the searches of many data sets of one design, taken together: those of `steps`, with a data-set axis.

Points are (F, B) over free parameters and data sets, Hessians (B, F, F). A data set that has arrived leaves the batch
when enough others have arrived too, so that what is left is worked through without it.
"""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.steps import FLAT, GAIN, LEAST_CURVED, LOOSE, STEP
from bayesmeta.kernel import Statistics, likelihood

MOST_STEPS = 40  # of a climb; what is not there then is left to the search of one data set
SHORTER = 0.25  # of the step after one that led down
SHORTEST = 1e-6  # share of the full step below which a climb gives up
STILL_FULL = 0.7  # share of a batch that must still move for it to go on as it is
ARRIVED = 1e-8  # gradient below which nothing is left to gain
MOST_NEWTON = 6


@dataclass(frozen=True)
class Points:
    """Where the searches stand: z (F, B), log-likelihoods (B,), gradients (F, B)."""

    z: FloatArray
    loglik: FloatArray
    gradient: FloatArray

    def take(self, which: IntArray) -> "Points":
        return Points(self.z[:, which], self.loglik[which], self.gradient[:, which])

    def put(self, which: IntArray, other: "Points") -> "Points":
        """These points with some replaced."""
        z, loglik, gradient = self.z.copy(), self.loglik.copy(), self.gradient.copy()
        z[:, which], loglik[which], gradient[:, which] = other.z, other.loglik, other.gradient
        return Points(z, loglik, gradient)

    def where(self, chosen: BoolArray, other: "Points") -> "Points":
        """`other` where chosen, these points elsewhere."""
        which = np.flatnonzero(chosen)
        return self.put(which, other.take(which))


@dataclass(frozen=True)
class Objectives:
    """Log-likelihoods and gradients of B data sets over z = xi / units."""

    stats: Statistics
    free: Free
    restricted: bool

    @property
    def size(self) -> int:
        return self.stats.n_data_sets

    def psi(self, z: FloatArray) -> list[FloatArray]:
        """Psi of every level (B, a, a)."""
        psi = self.free.psi(z * self.free.units[:, None])
        return [np.broadcast_to(p, (*p.shape[:2], z.shape[1])).transpose(2, 0, 1) for p in psi]

    def __call__(self, z: FloatArray) -> Points:
        try:
            value = likelihood(self.stats, self.psi(z), self.restricted, gradient=True)
        except np.linalg.LinAlgError:
            return self._one_by_one(z)
        assert value.scores is not None
        units = self.free.units[:, None]
        scores = [s.transpose(1, 2, 0) for s in value.scores]
        return Points(z, value.loglik, self.free.pullback(z * units, scores) * units)

    def loglik(self, z: FloatArray) -> FloatArray:
        try:
            return np.asarray(likelihood(self.stats, self.psi(z), self.restricted).loglik)
        except np.linalg.LinAlgError:
            return self._one_by_one(z).loglik

    def take(self, which: IntArray) -> "Objectives":
        return Objectives(self.stats.take(which), self.free, self.restricted)

    def _one_by_one(self, z: FloatArray) -> Points:
        """The same where some data set has no likelihood at its point: minus infinity there, so that it turns back."""
        points = Points(z, np.full(z.shape[1], -np.inf), np.zeros(z.shape))
        if z.shape[1] == 1:
            return points
        for i in range(z.shape[1]):
            points = points.put(np.array([i]), self.take(np.array([i]))(z[:, [i]]))
        return points


def residual_gradients(free: Free, points: Points) -> FloatArray:
    """Gradients in relative steps (F, B), with what only pushes against a bound left out."""
    pushes = (points.z <= free.lower[:, None]) & (points.gradient < 0)
    return np.where(pushes, 0.0, points.gradient * np.maximum(np.abs(points.z), 1.0))


def norms(free: Free, points: Points) -> FloatArray:
    return np.asarray(np.abs(residual_gradients(free, points)).max(axis=0, initial=0.0))


def curvatures(objectives: Objectives, points: Points) -> FloatArray:
    """Negative Hessians (B, F, F) in z, by differences of the gradients."""
    F, B = points.z.shape
    H = np.empty((B, F, F))
    for j in range(F):
        ahead = points.z.copy()
        ahead[j] += STEP * np.maximum(1.0, np.abs(points.z[j]))
        H[:, j] = ((points.gradient - objectives(ahead).gradient) / (ahead[j] - points.z[j])).T
    return (H + H.mT) / 2


def relative_to(z: FloatArray) -> FloatArray:
    """(B, F) sizes of the parameters, by which steps are measured."""
    return np.maximum(np.abs(z), 1.0).T


def eigen(H: FloatArray, z: FloatArray, inside: BoolArray) -> tuple[FloatArray, FloatArray]:
    """Curvatures (B, F) and directions (B, F, F) for relative steps of the parameters inside (F, B); elsewhere ones."""
    relative = relative_to(z)
    free = inside.T[:, :, None] & inside.T[:, None, :]
    scaled = np.where(free, H * relative[:, :, None] * relative[:, None, :], np.eye(len(z)) * ~inside.T[:, None, :])
    return np.linalg.eigh(np.where(np.isfinite(scaled), scaled, 0.0))


def bounded_steps(H: FloatArray, points: Points, free: Free) -> tuple[FloatArray, FloatArray]:
    """Newton's steps (F, B) upwards, no parameter moved by more than its size, and H made positive definite for it."""
    relative, g = relative_to(points.z), residual_gradients(free, points).T
    held = (points.z <= free.lower[:, None]) & (points.gradient <= 0)
    curved, directions = eigen(H, points.z, ~held)
    curved = np.maximum(np.abs(curved), LEAST_CURVED * np.abs(curved).max(axis=1, keepdims=True))
    curved = np.where(curved > 0, curved, 1.0)
    step = (directions @ ((directions.mT @ g[:, :, None]) / curved[:, :, None]))[:, :, 0]
    step /= np.maximum(1.0, np.abs(step).max(axis=1, keepdims=True))
    positive = (directions * curved[:, None, :]) @ directions.mT / (relative[:, :, None] * relative[:, None, :])
    return (relative * step).T, positive


def updated(H: FloatArray, step: FloatArray, change: FloatArray) -> FloatArray:
    """Hessians that take a step (F, B) to the change of the gradient, by BFGS where that keeps them positive."""
    s, c = step.T[:, :, None], change.T[:, :, None]
    bend = H @ s
    along, before = (s.mT @ c), (s.mT @ bend)
    serves = ((along > 1e-10 * before) & np.isfinite(along))[:, 0, 0]
    with np.errstate(invalid="ignore", divide="ignore"):
        new = H + c @ c.mT / along - bend @ bend.mT / before
    return np.where((serves & np.isfinite(new).all(axis=(1, 2)))[:, None, None], new, H)


def climb(objectives: Objectives, z: FloatArray) -> Points:
    """Quasi-Newton from z (F, B), all data sets together, until the gradients are loose; each with its own reach."""
    free = objectives.free
    found = at = objectives(z)
    H, which, reach = curvatures(objectives, at), np.arange(z.shape[1]), np.ones(z.shape[1])
    for _ in range(MOST_STEPS):
        moving = np.isfinite(at.loglik) & (norms(free, at) > LOOSE) & (reach > SHORTEST)
        if not moving.any():
            break
        if moving.mean() < STILL_FULL:
            found, left = found.put(which, at), np.flatnonzero(moving)
            objectives, at, H, which, reach = objectives.take(left), at.take(left), H[left], which[left], reach[left]
            moving = moving[left]
        step, H = bounded_steps(H, at, free)
        new = objectives(np.maximum(at.z + np.where(moving, reach, 0.0) * step, free.lower[:, None]))
        H = updated(H, new.z - at.z, at.gradient - new.gradient)
        up = new.loglik >= at.loglik - GAIN
        reach = np.where(up, np.minimum(1.0, reach / SHORTER), reach * SHORTER)
        at = at.where(up & moving, new)
    return found.put(which, at)


def polish(objectives: Objectives, points: Points, inside: BoolArray) -> tuple[Points, FloatArray]:
    """Newton steps with one Hessian in its curved directions, as long as the gradients become smaller; the Hessians."""
    free, H = objectives.free, curvatures(objectives, points)
    curved, directions = eigen(H, points.z, inside)
    inverse = np.divide(1.0, curved, out=np.zeros_like(curved), where=curved > FLAT)
    which, at, going = np.arange(points.z.shape[1]), points, norms(free, points) > ARRIVED
    for _ in range(MOST_NEWTON):
        if not going.any():
            break
        if going.mean() < STILL_FULL:
            points, left = points.put(which, at), np.flatnonzero(going)
            objectives, at, which, going = objectives.take(left), at.take(left), which[left], going[left]
            inverse, directions, inside = inverse[left], directions[left], inside[:, left]
        relative, size = relative_to(at.z), norms(free, at)
        g = (relative * np.where(inside, at.gradient, 0.0).T)[:, :, None]
        step = relative * (directions @ (inverse[:, :, None] * (directions.mT @ g)))[:, :, 0]
        z = at.z + np.where(inside & going, step.T, 0.0)
        new = objectives(np.maximum(z, free.lower[:, None]))
        better = going & (z >= free.lower[:, None]).all(axis=0) & (new.loglik >= at.loglik - GAIN)
        better &= norms(free, new) <= size / 2
        at = at.where(better, new)
        going = better & (norms(free, at) > ARRIVED)
    return points.put(which, at), H
