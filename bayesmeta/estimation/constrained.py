"""The highest log-likelihood with a function of the Psi of one level held at a value: what profiles are made of.

The climbs of `climb` go up the augmented Lagrangian loglik - multiplier c - penalty c^2 / 2, c the relative distance
from the value (Nocedal and Wright 2006, Numerical Optimization, algorithm 17.4).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray
from bayesmeta.estimation.climb import climb
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Objective, Points

PENALTY, HEAVIER, MOST_PENALTY = 1e3, 30.0, 3e4  # the first, what it grows by where a round did not help, the last
ROUNDS = 12
SLOW = 0.9  # share of its distance that a climb must lose in a round to be worth another
MET = 1e-8  # relative distance from the value at which the constraint is met
PARTLY = 1e-5  # the same where more is not to be had
MOST = 40  # evaluations of a climb in one round


@dataclass(frozen=True)
class Function:
    """A function of some entries of Psi.

    entries : (row, column) of each. of : entries (E, N) -> value (N,), slopes (E, N), second derivatives (E, E, N).
    """

    entries: tuple[tuple[int, int], ...]
    of: Callable[[FloatArray], tuple[FloatArray, FloatArray, FloatArray]]


def entry(i: int, j: int) -> Function:
    """Psi_ij."""

    def of(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        return p[0], np.ones_like(p), np.zeros((1, *p.shape))

    return Function(((i, j),), of)


def correlation(i: int, j: int) -> Function:
    """Psi_ij / sqrt(Psi_ii Psi_jj)."""

    def of(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        c, a, b = p[0], np.maximum(p[1], 1e-300), np.maximum(p[2], 1e-300)
        scale = np.sqrt(a) * np.sqrt(b)
        rho = c / scale
        slope = np.stack([1 / scale, -rho / (2 * a), -rho / (2 * b)])
        first, second = -1 / (2 * scale * a), -1 / (2 * scale * b)
        crossed = rho / (4 * a * b)
        bend = [
            [np.zeros_like(rho), first, second],
            [first, 3 * rho / (4 * a * a), crossed],
            [second, crossed, 3 * rho / (4 * b * b)],
        ]
        return rho, slope, np.array(bend)

    return Function(((i, j), (i, i), (j, j)), of)


def decay(i: int, j: int) -> Function:
    """-log of the correlation of two effects, for families in which it is positive; of rho^t it is t times -log rho.

    Distances from a value are relative to it, so that they keep their meaning where the correlation is nearly one.
    """

    def of(p: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        c, a, b = (np.maximum(each, 1e-300) for each in p)
        value = (np.log(a) + np.log(b)) / 2 - np.log(c)
        bend = np.zeros((3, *p.shape))
        bend[0, 0], bend[1, 1], bend[2, 2] = c**-2.0, -(a**-2.0) / 2, -(b**-2.0) / 2
        return value, np.stack([-1 / c, 1 / (2 * a), 1 / (2 * b)]), bend

    return Function(((i, j), (i, i), (j, j)), of)


@dataclass(frozen=True)
class Held:
    """The augmented Lagrangian of N climbs of one data set, as an objective.

    level : whose Psi the function is of; value, size, multiplier, penalty (N,).
    """

    objective: Objective
    level: int
    function: Function
    value: FloatArray
    size: FloatArray
    multiplier: FloatArray
    penalty: FloatArray
    curved: bool = False

    @property
    def free(self) -> Free:
        return self.objective.free

    def take(self, which: IndexArray) -> "Held":
        parts = {name: getattr(self, name)[which] for name in ("value", "size", "multiplier", "penalty")}
        return replace(self, **parts)

    def distance(self, z: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """c (N,), its gradient (N, F) and Hessian (N, F, F) by z (N, F)."""
        free, place = self.free, self.free.slices[self.level]
        level, xi = free.spec.levels[self.level], z.T[place] * free.units[place, None]
        picks = np.stack([_pick(level.dim, i, j) for i, j in self.function.entries], axis=2)
        psi = np.asarray(level.structure.psi(xi, level.dim))
        psi = np.broadcast_to(psi, (*psi.shape[:2], len(z)))
        p = np.einsum("ije,ijn->en", picks, psi)
        value, slope, bend = self.function.of(p)
        J = level.structure.pullback(xi[:, None], picks[..., None], level.dim)
        gradient, H = np.zeros(z.shape), np.zeros((len(z), z.shape[1], z.shape[1]))
        units = free.units[place]
        gradient[:, place] = np.einsum("fen,en->nf", J, slope) * units
        own = level.structure.curvature(xi, np.einsum("ije,en->ijn", picks, slope), level.dim)
        full = np.einsum("fen,edn,gdn->fgn", J, bend, J, optimize=True) + own
        H[:, place, place] = np.moveaxis(full, -1, 0) * np.outer(units, units)
        return (value - self.value) / self.size, gradient / self.size[:, None], H / self.size[:, None, None]

    def brought_near(self, z: FloatArray) -> FloatArray:
        """z (N, F) at which a variance has its value already; as it is where the function is another."""
        if any(i != j for i, j in self.function.entries):
            return z
        c, slope, _ = self.distance(z)
        now = c * self.size + self.value
        with np.errstate(all="ignore"):
            ratio = np.sqrt(self.value / now)
        ratio = np.where(np.isfinite(ratio) & (ratio > 0), ratio, 1.0)
        return np.where(np.abs(slope) * self.size[:, None] > 1e-12 * now[:, None], z * ratio[:, None], z)

    def __call__(self, z: FloatArray) -> Points:
        points = self.objective(z)
        with np.errstate(all="ignore"):
            c, slope, bend = self.distance(z)
            force = self.multiplier + self.penalty * c
            H = (
                points.H
                + force[:, None, None] * bend
                + self.penalty[:, None, None] * slope[:, :, None] * slope[:, None, :]
            )
            loglik = points.loglik - self.multiplier * c - self.penalty * c**2 / 2
            gradient = points.gradient - force[:, None] * slope
        good = np.isfinite(loglik) & np.isfinite(H).all((1, 2)) & np.isfinite(gradient).all(1)
        return replace(
            points,
            loglik=np.where(good, loglik, -np.inf),
            gradient=np.where(good[:, None], gradient, 0.0),
            H=np.where(good[:, None, None], H, 0.0),
        )


def _pick(dim: int, i: int, j: int) -> FloatArray:
    pick = np.zeros((dim, dim))
    pick[i, j] += 0.5
    pick[j, i] += 0.5
    return pick


def maximise_held(
    objective: Objective,
    level: int,
    function: Function,
    z: FloatArray,
    value: FloatArray,
    size: FloatArray,
    force: FloatArray,
) -> tuple[FloatArray, FloatArray, BoolArray, FloatArray]:
    """z (N, F) and log-likelihoods (N,) at the maxima under the constraint, whether it is met, and the force (N,).

    force : derivative of the log-likelihood by the value, first as it is expected, then as it is.
    """
    held = Held(objective, level, function, value, size, force * size, np.full(len(z), PENALTY))
    z = held.brought_near(z)
    distance, going = np.full(len(z), np.inf), np.arange(len(z))
    for _ in range(ROUNDS):
        some = held.take(going)
        z[going] = climb(some, z[going], MOST, 1e-10).points.z
        before, c = distance[going], some.distance(z[going])[0]
        distance[going] = np.abs(c)
        held.multiplier[going] += held.penalty[going] * c
        slow = np.abs(c) >= SLOW * before
        worth = (np.abs(c) > MET) & ~(slow & (held.penalty[going] >= MOST_PENALTY))
        held.penalty[going[slow]] *= HEAVIER
        going = going[worth]
        if not len(going):
            break
    return z, objective.loglik(z), distance <= PARTLY, held.multiplier / size
