"""The free parameters xi of all levels of a specification as one vector."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np

from bayesmeta.model.spec import Spec
from bayesmeta.structures.base import Structure


@dataclass(frozen=True)
class Free:
    """Maps xi (F,) to Psi per level and scores of Psi back to a gradient.

    typical : per level (a,) the natural size of every effect's SD.
    """

    spec: Spec
    typical: tuple[np.ndarray, ...]

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
    def units(self) -> np.ndarray:
        return np.concatenate([v.structure.units(t) for v, t in zip(self.spec.levels, self.typical, strict=True)])

    @cached_property
    def lower(self) -> np.ndarray:
        return np.concatenate([v.structure.lower(v.dim) for v in self.spec.levels])

    @cached_property
    def zero_positions(self) -> np.ndarray:
        """Positions of parameters for which exactly zero must be tried: SDs, and diagonals of Cholesky factors."""
        parts = zip(self.spec.levels, self.slices, strict=True)
        return np.concatenate([s.start + v.structure.zero_positions(v.dim) for v, s in parts]).astype(int)

    @cached_property
    def rho_positions(self) -> np.ndarray:
        parts = [(v.structure.rho_position(v.dim), s.start) for v, s in zip(self.spec.levels, self.slices, strict=True)]
        return np.array([start + at for at, start in parts if at is not None], dtype=int)

    def level_of(self, position: int) -> slice:
        """The parameters of the level that a parameter belongs to."""
        return next(s for s in self.slices if s.start <= position < s.stop)

    def psi(self, xi: np.ndarray) -> list[np.ndarray]:
        return [v.structure.psi(xi[s], v.dim) for v, s in zip(self.spec.levels, self.slices, strict=True)]

    def pullback(self, xi: np.ndarray, scores: Sequence[np.ndarray]) -> np.ndarray:
        levels = zip(self.spec.levels, self.slices, scores, strict=True)
        return np.concatenate([v.structure.pullback(xi[s], score, v.dim) for v, s, score in levels])

    def start(self, moments: Sequence[np.ndarray]) -> np.ndarray:
        levels = zip(self.spec.levels, moments, strict=True)
        return np.concatenate([v.structure.start(moment) for v, moment in levels])

    def starts(self, moments: Sequence[np.ndarray]) -> np.ndarray:
        """`start` for moments (B, a, a) of many data sets: (F, B)."""
        return np.concatenate([_starts(v.structure, each) for v, each in zip(self.spec.levels, moments, strict=True)])


def _starts(structure: Structure, moments: np.ndarray) -> np.ndarray:
    if moments.shape[1:] == (1, 1) and structure.n_free(1) == 1:  # proportional to the SD
        return structure.start(np.ones((1, 1)))[:, None] * np.sqrt(moments[:, 0, 0])
    return np.column_stack([structure.start(moment) for moment in moments])
