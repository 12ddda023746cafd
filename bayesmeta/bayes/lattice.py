"""Points of a lattice in the chart that carry the mass of a density: filled from its modes, refined, and drawn from."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.bayes.evaluator import Evaluated

REACH = {1: 8, 2: 3, 3: 1}  # how far a fill looks ahead along every axis, by dimension
BASE = 1 << 20  # positions along an axis


@dataclass(frozen=True, eq=False)
class Lattice:
    """Evaluated points origin + step * position, sorted by key.

    position (n, k) : integers. log_density (n,) : log p(y, u). depth : of the fill below the highest density.
    """

    origin: FloatArray
    step: FloatArray
    position: IntArray
    points: Evaluated
    key: IntArray

    @property
    def log_density(self) -> FloatArray:
        return self.points.log_density

    @property
    def volume(self) -> float:
        return float(np.prod(self.step))

    @property
    def log_integral(self) -> float:
        return _log_sum(self.log_density) + float(np.log(self.step).sum())

    def disagreement(self) -> FloatArray:
        """(k,) how much the two rules of double step differ along every axis: bounds of the error of this one."""
        log, apart = self.log_density, []
        for position in self.position.T:
            even = position % 2 == 0
            one, two = (_log_sum(log[which]) if which.any() else -np.inf for which in (even, ~even))
            apart.append(abs(one - two) if np.isfinite(one) and np.isfinite(two) else np.inf)
        return np.array(apart)

    def refined(self, axes: BoolArray) -> "Lattice":
        """The same points on a lattice of half the step along some axes; what lies between is still to be filled."""
        factor = np.where(axes, 2, 1)
        position = self.position * factor
        key = keys(position)
        order = np.argsort(key)
        points = self.points.take(order)
        return replace(self, step=self.step / factor, position=position[order], points=points, key=key[order])

    def along(self, j: int) -> tuple[FloatArray, FloatArray]:
        """Coordinates of axis j, ascending, and the log-density of its marginal there."""
        at = self.position[:, j]
        first, n = at.min(), int(np.ptp(at)) + 1
        highest = self.log_density.max()
        total = np.bincount(at - first, np.exp(self.log_density - highest), minlength=n)
        kept = np.flatnonzero(total > 0)
        run = np.arange(kept[0], kept[-1] + 1)
        # what the fill left out lies between points of no weight
        return self.origin[j] + self.step[j] * (first + run), np.interp(run, kept, np.log(total[kept]))

    def interpolated(self, u: FloatArray) -> FloatArray:
        """(n,) the density, relative to the highest, interpolated linearly along every axis."""
        share = (u - self.origin) / self.step
        base = np.floor(share).astype(np.int64)
        part, total = share - base, np.zeros(len(u))
        density = np.exp(self.log_density - self.log_density.max())
        for corner in np.ndindex(*[2] * u.shape[1]):
            key = keys(base + corner)
            at = np.minimum(np.searchsorted(self.key, key), len(self.key) - 1)
            total += np.where(self.key[at] == key, density[at], 0.0) * np.abs(1 - np.array(corner) - part).prod(1)
        return total


def keys(position: IntArray) -> IntArray:
    """One number for every position (n, k)."""
    key = np.zeros(len(position), np.int64)
    for column in position.T:
        key = key * BASE + (column + BASE // 2)
    return key


def fill(
    evaluator: Callable[[FloatArray], Evaluated],
    lattice: Lattice | None,
    origin: FloatArray,
    step: FloatArray,
    seeds: FloatArray,
    rank: Callable[[Sequence[Any]], FloatArray],
    depth: float,
    most: int,
) -> Lattice:
    """All points connected to the seeds (m, k), or to those of a lattice, on which `rank` is within `depth` of its
    highest value, and their neighbours. Stops at `most` points.

    rank : of all points, in the order of the parts in which they were evaluated.
    """
    if lattice is None:
        position = np.unique(np.rint((seeds - origin) / step).astype(np.int64), axis=0)
        parts = [evaluator(origin + step * position)]
    else:
        step, position, parts = lattice.step, lattice.position, [lattice.points]
    positions, known = [position], np.sort(keys(position))
    while len(known) < most:
        ranks = rank(parts)
        around = _around(position[ranks[-len(position) :] > ranks.max() - depth])
        key = keys(around)
        new = known[np.minimum(np.searchsorted(known, key), len(known) - 1)] != key
        if not new.any():
            break
        position = around[new]
        parts.append(evaluator(origin + step * position))
        positions.append(position)
        known = np.sort(np.concatenate([known, key[new]]), kind="stable")
    return _sorted(origin, step, np.concatenate(positions), type(parts[0]).joined(parts))


def _sorted(origin: FloatArray, step: FloatArray, position: IntArray, points: Evaluated) -> Lattice:
    key = keys(position)
    order = np.argsort(key)
    return Lattice(origin, step, position[order], points.take(order), key[order])


def _around(position: IntArray) -> IntArray:
    """Positions next to these along every axis, each once."""
    k = position.shape[1]
    ahead = np.arange(1, REACH[k] + 1)
    steps = np.concatenate([sign * far * np.eye(k, dtype=np.int64) for sign in (-1, 1) for far in ahead])
    around = (position[:, None] + steps).reshape(-1, k)
    _, first = np.unique(keys(around), return_index=True)
    return np.asarray(around[first])


def _log_sum(log: FloatArray) -> float:
    highest = log.max()
    return float(highest + np.log(np.exp(log - highest).sum()))
