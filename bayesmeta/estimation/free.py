"""The free parameters xi of all levels of a specification as one vector."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bayesmeta.kernel.information import entries, symmetric_basis
from bayesmeta.model.spec import FloatArray, Level, Spec


@dataclass(frozen=True)
class Free:
    """Maps z = xi / units (F, N) to Psi per level, and derivatives by Psi back to those by z.

    typical : per level (a,) the natural size of every effect's SD.
    """

    spec: Spec
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
    def zero_positions(self) -> np.ndarray:
        """Positions of parameters that make a Psi singular at zero: SDs, and diagonals of Cholesky factors."""
        parts = [s.start + v.structure.zero_positions(v.dim) for v, s in self.parts()]
        return np.concatenate(parts).astype(int)

    @cached_property
    def n_entries(self) -> int:
        return sum(v.dim * (v.dim + 1) // 2 for v in self.spec.levels)

    @cached_property
    def entries(self) -> list[slice]:
        """Place of every level among the entries of all Psi."""
        return entries([v.dim for v in self.spec.levels])

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

    def jacobian(self, z: FloatArray) -> FloatArray:
        """(N, K, F) derivatives of the entries of all Psi by z (F, N)."""
        J = np.zeros((z.shape[1], self.n_entries, self.size))
        xi = z * self.units[:, None]
        for (v, s), place in zip(self.parts(), self.entries, strict=True):
            if s.stop > s.start:
                J[:, place, s] = np.moveaxis(v.structure.jacobian(xi[s], v.dim), -1, 0).swapaxes(1, 2)
        return J * self.units

    def bend(self, z: FloatArray, scores: FloatArray) -> FloatArray:
        """(N, F, F) second derivatives by z (F, N) of the sum of scores (N, K) times the entries of all Psi."""
        H = np.zeros((z.shape[1], self.size, self.size))
        xi = z * self.units[:, None]
        for (v, s), place in zip(self.parts(), self.entries, strict=True):
            if s.stop > s.start:
                half = symmetric_basis(v.dim) / symmetric_basis(v.dim).sum((0, 1))
                psi_bar = np.tensordot(half, scores[:, place], (2, 1))
                H[:, s, s] = np.moveaxis(v.structure.curvature(xi[s], psi_bar, v.dim), -1, 0)
        return H * np.outer(self.units, self.units)

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
