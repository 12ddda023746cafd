"""The likelihood of data in pieces: every sweep is a sum over outer groups, so that pieces of whole groups add up.

A piece keeps its sufficient statistics where it is. One evaluation sends it every Psi and receives the small matrices
that reach the top; coefficients are solved for after the sum, and scores take a second round, with the coefficients.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from bayesmeta._typing import IndexArray
from bayesmeta.kernel.elimination import Upward, scores, upward
from bayesmeta.kernel.information import Information, Sums, information, information_sums
from bayesmeta.kernel.lane_sweeps import LaneSweeps, compiled
from bayesmeta.kernel.orthogonal import log_determinant
from bayesmeta.kernel.statistics import Statistics

Arrays = tuple[np.ndarray, ...]


class Pieces(Protocol):
    """Statistics of whole outer groups, wherever they are."""

    def totals(self, work: Callable[..., Arrays], *arguments: Any) -> Arrays:
        """Sums over the pieces of the arrays that work(statistics, *arguments) returns."""
        ...


@dataclass(frozen=True)
class PartitionedStatistics:
    """What `Statistics` are to data in one place, with the leaves in pieces; see there for the other parts.

    logdet_S (1, 1) : log|S| of all.
    """

    pieces: Pieces
    n_obs: int
    n_coef: int
    dims: tuple[int, ...]
    n_groups: tuple[int, ...]
    depth: int
    beta0: np.ndarray
    R: np.ndarray
    beta_fixed: np.ndarray
    Q: np.ndarray
    logdet_S: np.ndarray
    logdet_XX: float
    typical: tuple[np.ndarray, ...]

    @cached_property
    def logdet_R(self) -> np.ndarray:
        return log_determinant(np.moveaxis(self.R, -1, 0))

    @property
    def n_data_sets(self) -> int:
        return 1

    def take(self, data_sets: IndexArray) -> "PartitionedStatistics":
        """The only data set."""
        return self


@dataclass(frozen=True)
class Sweeps:
    """What the top of the tree receives at some Psi, (a_l, a_l, B, 1) of every level with effects at or below it."""

    stats: Statistics
    psi: Sequence[np.ndarray]

    @cached_property
    def _up(self) -> Upward:
        return upward(self.stats, self.psi)

    @property
    def C(self) -> np.ndarray:
        """(P + 1, P + 1, B), of X and y."""
        return self._up.C

    @property
    def logdet(self) -> np.ndarray:
        return self._up.logdet

    def scores(self, phi: np.ndarray) -> list[np.ndarray]:
        return scores(self.stats, self._up, phi)

    def information(
        self, phi: np.ndarray, beta_root: np.ndarray, restricted: bool, directions: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Information]:
        return information(self.stats, self._up, phi, beta_root, restricted, directions)


@dataclass(frozen=True)
class PartitionedSweeps:
    """The same over pieces."""

    stats: PartitionedStatistics
    psi: Sequence[np.ndarray]

    @cached_property
    def _up(self) -> Arrays:
        return self.stats.pieces.totals(value_totals, self.psi)

    @property
    def C(self) -> np.ndarray:
        return self._up[0]

    @property
    def logdet(self) -> np.ndarray:
        return self._up[1]

    def scores(self, phi: np.ndarray) -> list[np.ndarray]:
        return list(self.stats.pieces.totals(score_totals, self.psi, phi))

    def information(
        self, phi: np.ndarray, beta_root: np.ndarray, restricted: bool, directions: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Information]:
        twice_average, expected, top, *slopes = self.stats.pieces.totals(
            information_totals, self.psi, phi, list(directions)
        )
        sums = Sums.zero(self.stats.dims, self.stats.n_coef, directions, self.C.shape[2])
        return Sums(sums.place, twice_average, expected, top, slopes).finished(phi, beta_root, restricted)


def sweeps(
    stats: Statistics | PartitionedStatistics, psi: Sequence[np.ndarray]
) -> Sweeps | LaneSweeps | PartitionedSweeps:
    if isinstance(stats, PartitionedStatistics):
        return PartitionedSweeps(stats, psi)
    return LaneSweeps(stats, psi) if stats.side_by_side and compiled() is not None else Sweeps(stats, psi)


@np.errstate(all="ignore")  # of a Psi without a likelihood, as where the search asks
def value_totals(stats: Statistics, psi: Sequence[np.ndarray]) -> Arrays:
    """Of one piece [[F, h], [h', c]] and the log-determinant."""
    up = upward(stats, psi)
    return up.C, up.logdet


@np.errstate(all="ignore")
def score_totals(stats: Statistics, psi: Sequence[np.ndarray], phi: np.ndarray) -> Arrays:
    """Of one piece the scores of every Psi."""
    return tuple(scores(stats, upward(stats, psi), phi))


@np.errstate(all="ignore")
def information_totals(
    stats: Statistics, psi: Sequence[np.ndarray], phi: np.ndarray, directions: Sequence[np.ndarray]
) -> Arrays:
    """Of one piece what `Sums` holds."""
    sums = information_sums(stats, upward(stats, psi), phi, directions)
    return sums.twice_average, sums.expected, sums.top, *sums.scores
