"""The free parameters xi of all levels of a specification as one vector."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bayesmeta._typing import FloatArray, IndexArray
from bayesmeta.kernel.batched_linalg import first_last, last_first
from bayesmeta.model.identification import absorbed
from bayesmeta.model.partitioned_spec import InSearch, LevelElsewhere
from bayesmeta.model.spec import Level, Spec

MANY = 6  # parameters from which steps in theta save more evaluations than they cost


@dataclass(frozen=True)
class Free:
    """Maps z = xi / units (F, N) to Psi per level, and derivatives by Psi back to those by z.

    typical : per level (a,) the natural size of every effect's SD.
    """

    spec: Spec | InSearch
    typical: tuple[FloatArray, ...]

    @cached_property
    def slices(self) -> list[slice]:
        sizes = [level.structure.n_free(level.dim) for level in self.spec.levels]
        return [slice(int(i), int(j)) for i, j in pairwise(np.cumsum([0, *sizes]))]

    @property
    def size(self) -> int:
        return self.slices[-1].stop

    @cached_property
    def labels(self) -> tuple[str, ...]:
        return tuple(f"{v.name}.{label}" for v in self.spec.levels for label in v.structure.labels(v.effects))

    @cached_property
    def units(self) -> FloatArray:
        return np.concatenate([v.structure.units(t) for v, t in zip(self.spec.levels, self.typical, strict=True)])

    @cached_property
    def lower(self) -> FloatArray:
        return np.concatenate([v.structure.lower(v.dim) for v in self.spec.levels])

    @cached_property
    def zero_positions(self) -> IndexArray:
        """Positions of parameters that make a Psi singular at zero: SDs, and diagonals of Cholesky factors."""
        parts = [s.start + v.structure.zero_positions(v.dim) for v, s in self.parts()]
        return np.concatenate(parts).astype(int)

    @cached_property
    def rho_positions(self) -> IndexArray:
        """Positions of angles of correlations."""
        parts = [(v.structure.rho_position(v.dim), s.start) for v, s in self.parts()]
        return np.array([start + at for at, start in parts if at is not None], dtype=int)

    @cached_property
    def silent(self) -> IndexArray:
        """Positions of parameters about which a restricted likelihood says nothing; see `identification.absorbed`."""
        silent = [np.arange(0)]
        for v, s in self.parts():
            taken = v.taken_up if isinstance(v, LevelElsewhere) else absorbed(v, np.asarray(self.spec.X))
            of_effects = [v.structure.sd_positions(int(i), v.dim) for i in np.flatnonzero(taken)]
            positions = [np.arange(s.stop - s.start)] if taken.all() else of_effects
            silent += [s.start + part for part in positions]
        return np.unique(np.concatenate(silent)).astype(int)

    @cached_property
    def groups_per_parameter(self) -> float:
        """The smallest number of groups for each parameter of a level; levels that cannot be identified apart."""
        silent = set(self.silent.tolist())
        open_ = [v for v, place in self.parts() if not silent.issuperset(range(place.start, place.stop))]
        return min((v.n_groups / v.n_free for v in open_), default=np.inf)

    @cached_property
    def theta_slices(self) -> list[slice]:
        """Place of every level's theta among those of all levels."""
        sizes = [len(v.structure.theta_units(self.units[s], v.dim)) for v, s in self.parts()]
        return [slice(int(i), int(j)) for i, j in pairwise(np.cumsum([0, *sizes]))]

    @cached_property
    def theta_units(self) -> FloatArray:
        return np.concatenate([v.structure.theta_units(self.units[s], v.dim) for v, s in self.parts()])

    @cached_property
    def curved(self) -> bool:
        """Whether steps are better taken in theta: every Psi is linear in it, and there are many parameters."""
        moving = [v.structure for v, s in self.parts() if s.stop > s.start]
        linear = all(v.structure.linear(v.dim) for v, s in self.parts() if s.stop > s.start)
        return linear and bool(moving) and self.size >= MANY

    def parts(self) -> Iterator[tuple[Level, slice]]:
        """Levels with the place of their parameters."""
        yield from zip(self.spec.levels, self.slices, strict=True)

    def psi(self, xi: FloatArray) -> list[FloatArray]:
        """Psi (a, a, ...) of every level at xi (F, ...)."""
        return [np.asarray(v.structure.psi(xi[s], v.dim)) for v, s in self.parts()]

    def psi_batch(self, z: FloatArray) -> list[FloatArray]:
        """Psi (N, a, a) of every level at z (F, N)."""
        psi = self.psi(z * self.units[:, None])
        return [np.broadcast_to(p, (*p.shape[:2], z.shape[1])).transpose(2, 0, 1) for p in psi]

    def theta(self, z: FloatArray) -> FloatArray:
        """(N, m) coordinates of all levels, in units of their natural sizes, at z (N, F); see `Structure.theta`."""
        return np.concatenate([v.structure.theta(z.T[s], v.dim) for v, s in self.parts()]).T

    def theta_jacobian(self, z: FloatArray) -> FloatArray:
        """(N, m, F) derivatives of theta by z."""
        J = np.zeros((len(z), len(self.theta_units), self.size))
        for (v, s), place in zip(self.parts(), self.theta_slices, strict=True):
            J[:, place, s] = last_first(v.structure.theta_jacobian(z.T[s], v.dim))
        return J

    def theta_bend(self, z: FloatArray, weight: FloatArray) -> FloatArray:
        """(N, F, F) second derivatives by z of the sum of weights (N, m) times theta."""
        H = np.zeros((len(z), self.size, self.size))
        for (v, s), place in zip(self.parts(), self.theta_slices, strict=True):
            if v.structure.linear(v.dim):
                H[:, s, s] = last_first(v.structure.theta_curvature(z.T[s], weight.T[place], v.dim))
        return H

    def directions(self, z: FloatArray) -> list[FloatArray]:
        """Per level (a, a, m_l, N), or (a, a, m_l, 1) where they do not depend on z, derivatives of Psi by theta."""
        made = []
        for (v, s), place in zip(self.parts(), self.theta_slices, strict=True):
            xi = (z[:1] if v.structure.linear(v.dim) else z).T[s] * self.units[s, None]
            made.append(v.structure.directions(xi, v.dim) * self.theta_units[place, None])
        return made

    def psi_bend(self, z: FloatArray, scores: Sequence[FloatArray]) -> FloatArray:
        """(N, m, m) second derivatives by theta of the sum of scores (N, a, a) times Psi."""
        H = np.zeros((len(z), len(self.theta_units), len(self.theta_units)))
        for (v, s), place, score in zip(self.parts(), self.theta_slices, scores, strict=True):
            if s.stop > s.start and not v.structure.linear(v.dim):
                xi, units = z.T[s] * self.units[s, None], self.units[s]
                bend = v.structure.curvature(xi, first_last(score), v.dim)
                H[:, place, place] = last_first(bend) * np.outer(units, units)
        return H

    def start(self, moments: Sequence[FloatArray]) -> FloatArray:
        """z (F,) near positive semi-definite moment estimates of every Psi."""
        levels = zip(self.spec.levels, moments, strict=True)
        return np.concatenate([v.structure.start(moment) for v, moment in levels]) / self.units

    def starts(self, moments: Sequence[FloatArray]) -> FloatArray:
        """`start` for moments (N, a, a): (F, N)."""
        return np.column_stack([self.start(each) for each in zip(*moments, strict=True)])

    def scatter(self, share: FloatArray, sd: Callable[[FloatArray], FloatArray]) -> FloatArray:
        """z (F, N) spread over the family, from points (F, N) of the unit cube; see `Structure.scatter`."""
        return np.concatenate([v.structure.scatter(share[s], sd, v.dim) for v, s in self.parts()])

    def canonical(self, z: FloatArray) -> FloatArray:
        """The same Psi with SDs that are not negative and angles within half a turn."""
        return np.concatenate([v.structure.canonical(z[s], v.dim) for v, s in self.parts()])
