"""`Sweeps` by the compiled functions of `lanes`: what a likelihood needs of the tree of groups, at some Psi."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from types import SimpleNamespace
from typing import Any

import numpy as np

from bayesmeta.kernel import batched_linalg, lane_information, lanes
from bayesmeta.kernel.elimination import add_leaf_score, leaf_psi
from bayesmeta.kernel.information import Information, Sums, leaf_directions
from bayesmeta.kernel.leaves import Chunk
from bayesmeta.kernel.statistics import Statistics


@cache
def compiled() -> Any:
    """The functions of `lanes` and `lane_information` that are called from here; None where there is no place to keep
    them on disk, since every process would compile anew then, for many seconds.

    Loading them takes the time of some hundred evaluations, so that only `statistics.worth_compiling` leads here.
    """
    from numba import njit

    modules, called = (lanes, lane_information), {}
    names = [(module, name) for module in modules for name in (*module.INNER, *module.CALLED)]
    try:
        for module, name in names:
            kept = name in module.CALLED
            options = {"error_model": "numpy", "cache": kept, "no_cpython_wrapper": not kept}
            plain = getattr(module, name)
            called[name] = njit(**options)(getattr(plain, "py_func", plain))  # another thread may have been first
    except RuntimeError:
        return None
    for module in modules:
        for name in called.keys() & vars(module).keys():
            setattr(module, name, called[name])
    return SimpleNamespace(**called)


def _whole(array: np.ndarray) -> np.ndarray:
    """The array as the compiled functions know it: in C order, and writeable."""
    flags = array.flags
    return array if flags.c_contiguous and flags.writeable else np.array(array, np.float64, order="C")


def _shared(psi: np.ndarray) -> np.ndarray:
    """(a, a, 1 or B) from (a, a, 1 or B, 1)."""
    return _whole(psi[..., 0])


@dataclass(frozen=True)
class LaneSweeps:
    """What the top of the tree receives at some Psi, (a_l, a_l, B, 1) of every level with effects at or below it."""

    stats: Statistics
    psi: Sequence[np.ndarray]

    @cached_property
    def _batch(self) -> int:
        return max(max(p.shape[2] for p in self.psi), self.stats.n_data_sets)

    @cached_property
    def _up(self) -> "_Upward":
        return _upward(self.stats, self.psi, self._batch)

    @property
    def C(self) -> np.ndarray:
        """(P + 1, P + 1, B), of X and y."""
        return self._up.C

    @property
    def logdet(self) -> np.ndarray:
        return self._up.logdet

    def scores(self, phi: np.ndarray) -> list[np.ndarray]:
        none = [np.zeros((a, a, 0, 1)) for a in self.stats.dims]
        return self._sums(phi, none).scores

    def information(
        self, phi: np.ndarray, beta_root: np.ndarray, restricted: bool, directions: Sequence[np.ndarray]
    ) -> tuple[list[np.ndarray], Information]:
        return self._sums(phi, directions).finished(phi, beta_root, restricted)

    def _sums(self, phi: np.ndarray, directions: Sequence[np.ndarray]) -> Sums:
        """What adds up over the outer groups, as `information.information_sums` has it."""
        sums = Sums.zero(self.stats.dims, self.stats.n_coef, directions, self._batch)
        above, q = self._downward(phi)
        ends = [place.stop for place in sums.place]
        deep = [
            np.zeros((*M.shape[:2], ends[-1] - end, *M.shape[3:])) for M, end in zip(self._up.M, ends, strict=False)
        ]
        target = [sums.top[..., None], *deep]
        for chunk in self.stats.chunks:
            if len(chunk.EA):
                parent = chunk.parent_level + 1
                _leaf(sums, chunk, self.psi, directions, above[parent], target[parent])
        for level in range(len(deep) - 1, -1, -1):
            M, S, group = self._up.M[level], self._up.S[level], self.stats.nodes[level].parent
            here = slice(sums.place[level].start, ends[-1])
            totals = sums.twice_average[here, here], sums.expected[here, here], sums.scores[level]
            D = _whole(directions[level])
            compiled().node_information(M, S, q[level], D, above[level], group, deep[level], *totals, target[level])
        sums.top[...] += np.triu(sums.top.T, 1).swapaxes(-1, -2).T  # only lower triangles were added to
        return sums

    def _downward(self, phi: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Phi of the ancestors of every level's groups and of (beta, -1), and N H Phi of every upper level."""
        above, q = [_whole(phi)], []
        for node, M, S in zip(self.stats.nodes, self._up.M, self._up.S, strict=True):
            a, (D, c) = S.shape[1] - M.shape[1], above[-1].shape[:2]
            q.append(np.empty((a, c, *M.shape[3:])))
            above.append(np.zeros((a + D, c + a, *M.shape[3:])))
            compiled().node_down(M, S, above[-2], node.parent, q[-1], above[-1])
        return above, q


@dataclass(frozen=True)
class _Upward:
    """C and logdet as `elimination.Upward` has them; M and S of the nodes of every level."""

    C: np.ndarray
    logdet: np.ndarray
    M: list[np.ndarray]
    S: list[np.ndarray]


def _upward(stats: Statistics, psi: Sequence[np.ndarray], batch: int) -> _Upward:
    run, top = compiled(), stats.n_coef + 1
    C, logdet = np.zeros((top, top, 1, batch, 1)), np.zeros(batch)
    sizes = [sum(stats.dims[: level + 1]) + top for level in range(len(stats.nodes))]
    M = [np.zeros((s, s, 1, batch, len(node.group))) for s, node in zip(sizes, stats.nodes, strict=True)]
    target = [C, *M]
    for chunk in stats.chunks:
        total, left = target[chunk.parent_level + 1], chunk.left_by_leaf
        if len(chunk.EA):
            run.leaf_up(chunk.EA, _shared(leaf_psi(chunk, psi)), left, chunk.parent, total, logdet)
        elif chunk.segments is not None and left.size:
            chunk.segments.add_to(total[:, :, 0], left)
        if not chunk.ancestors:
            C[:, :, 0, :, 0] += chunk.C0_sum
    S: list[np.ndarray] = []
    for level in range(len(stats.nodes) - 1, -1, -1):
        F = _shared(batched_linalg.psd_factor(psi[level]))
        S.insert(0, np.empty((len(F), M[level].shape[0] + len(F), *M[level].shape[3:])))
        run.node_up(M[level], F, stats.nodes[level].parent, S[0], target[level], logdet)
    return _Upward(C[:, :, 0, :, 0], logdet, M, S)


def _leaf(
    sums: Sums,
    chunk: Chunk,
    psi: Sequence[np.ndarray],
    directions: Sequence[np.ndarray],
    phi: np.ndarray,
    target: np.ndarray,
) -> None:
    """Add a chunk of leaves to the sums, and to the changes of what their parents receive."""
    D = _whole(leaf_directions(chunk, directions))
    first = sums.place[chunk.parent_level + 1].start
    here = slice(first, first + D.shape[2])
    score = np.zeros((chunk.a, chunk.a, phi.shape[2]))
    totals = sums.twice_average[here, here], sums.expected[here, here]
    own = _shared(leaf_psi(chunk, psi))
    compiled().leaf_information(chunk.EA, own, D, phi, chunk.parent, *totals, score, target)
    add_leaf_score(sums.scores, chunk, score)
