"""The known sampling covariance S = C C', factorised component by component."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.layout import Layout, run_starts


@dataclass(frozen=True)
class Whitener:
    """Cholesky factors of the connected components of S, in buckets of one size.

    rows : per bucket (s, n) sorted observations, ascending; factors : per bucket (s, s, B, n).
    """

    rows: tuple[IntArray, ...]
    factors: tuple[np.ndarray, ...]

    def whiten(self, W: np.ndarray) -> np.ndarray:
        """C^-1 W for W (n_obs, columns, B)."""
        result = np.empty(np.broadcast_shapes(W.shape, (1, 1, self.factors[0].shape[2])))
        for rows, C in zip(self.rows, self.factors, strict=True):
            result[rows] = _solve(C, W[rows])
        return result

    def precision_times(self, W: np.ndarray) -> np.ndarray:
        """S^-1 W for W (n_obs, columns, B)."""
        result = self.whiten(W)
        for rows, C in zip(self.rows, self.factors, strict=True):
            white = np.moveaxis(result[rows], 1, -1)
            result[rows] = np.moveaxis(batched_linalg.solve_transposed(C, white), -1, 1)
        return result

    def whiten_part(self, W: np.ndarray, first: int, place: IntArray) -> np.ndarray:
        """The same for some whole components: observation `first + i` is row place[i] of W, where that is not -1."""
        result = np.empty(np.broadcast_shapes(W.shape, (1, 1, self.factors[0].shape[2])))
        for rows, C in zip(self.rows, self.factors, strict=True):
            low, high = np.searchsorted(rows[0], (first, first + len(place)))
            local = place[rows[:, low:high] - first]
            inside = local[0] >= 0
            result[local[:, inside]] = _solve(C[..., low:high][..., inside], W[local[:, inside]])
        return result

    def logdet(self, n: int) -> np.ndarray:
        """log|S| (n, B), each component's on its first observation."""
        logdet = np.zeros((n, self.factors[0].shape[2]))
        for rows, C in zip(self.rows, self.factors, strict=True):
            logdet[rows[0]] = 2 * batched_linalg.log_diagonal(C).T
        return logdet


@dataclass(frozen=True)
class PartWhitener(Whitener):
    """The same for B parts of the data, each without some components of S: what is left out is zero.

    keep : (n_obs, B) 1 for observations of a part, in sorted order; 0 for whole components.
    """

    keep: np.ndarray

    def whiten(self, W: np.ndarray) -> np.ndarray:
        return super().whiten(W) * self.keep[:, None]

    def whiten_part(self, W: np.ndarray, first: int, place: IntArray) -> np.ndarray:
        inside = np.flatnonzero(place >= 0)
        keep = np.empty((len(W), self.keep.shape[1]))
        keep[place[inside]] = self.keep[first + inside]
        return super().whiten_part(W, first, place) * keep[:, None]

    def logdet(self, n: int) -> np.ndarray:
        return super().logdet(n) * self.keep


def _solve(C: np.ndarray, W: np.ndarray) -> np.ndarray:
    return np.moveaxis(batched_linalg.solve_lower(C, np.moveaxis(W, 1, -1)), -1, 1)


def whitener(value: np.ndarray, row: IntArray, col: IntArray, plan: Layout) -> Whitener:
    """Factorise S, given as triplets with values (B, nnz)."""
    n = len(plan.order)
    place = np.empty(n, np.int64)
    place[plan.order] = np.arange(n)
    start = run_starts(plan.component)
    size = np.diff(np.r_[start, n])
    low, high = np.minimum(place[row], place[col]), np.maximum(place[row], place[col])
    component = plan.component[low]
    all_rows, factors = [], []
    for s in np.unique(size):
        these = np.flatnonzero(size == s)
        position = np.full(len(start), -1)
        position[these] = np.arange(len(these))
        own = np.flatnonzero(position[component] >= 0)
        i, j, at = high[own] - start[component[own]], low[own] - start[component[own]], position[component[own]]
        block = np.zeros((s, s, value.shape[0], len(these)))
        block[i, j, :, at] = value[:, own].T
        block[j, i, :, at] = value[:, own].T
        all_rows.append(start[these] + np.arange(s)[:, None])
        factors.append(batched_linalg.accurate_cholesky(block))
    return Whitener(tuple(all_rows), tuple(factors))
