"""Leaves in orthogonal form, in chunks that fit the cache.

The whitened rows of [Z of the leaf's own levels, Z of the upper levels, X, y] are reduced to

    own columns -> E (r x a, r <= a)    other columns -> A = U'other (r x D)    C0 = what is left of the others, squared

so that the cost of one evaluation does not depend on the number of rows, and nothing is lost to subtraction when Psi is
much larger than S.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.layout import Layout, distinct, run_starts
from bayesmeta.kernel.mostly_zero import Pattern, pattern_of
from bayesmeta.kernel.whitening import Whitener

DEPENDENT = 1e-3  # sine of the angle between a row of E and the rows above it, below which they are rotated
ROUNDING = 1e-12  # keeps the Cholesky factor of exactly dependent rows real
WIDE_CHUNK = 1 << 21  # of leaves with many coefficients, whose products BLAS divides to fit the cache
CHUNK = 1 << 15  # elements of the widest array of a chunk: a few of them fit the second-level cache


@dataclass(frozen=True)
class Segments:
    """Which children, in a row, belong to which node of the parent level."""

    start: IntArray
    target: IntArray | slice

    def add_to(self, total: np.ndarray, values: np.ndarray) -> None:
        """Add the sums over each node's children (last axis) to `total`."""
        total[..., self.target] += np.add.reduceat(values, self.start, axis=-1)


def segments(parent: IntArray) -> Segments:
    start = run_starts(parent)
    target = parent[start]
    contiguous = len(target) > 0 and target[-1] - target[0] + 1 == len(target)
    return Segments(start, slice(int(target[0]), int(target[-1]) + 1) if contiguous else target)


@dataclass(frozen=True)
class LeftRows:
    """What is left of leaves of many coefficients, whose squares would not fit into memory: rows (s, D, B, some) of
    some of the leaves at a time.
    """

    leaves: tuple[IntArray, ...]
    rows: tuple[np.ndarray, ...]

    def squares(self, shape: tuple[int, ...]) -> np.ndarray:
        """(D, D, B, n) of every leaf."""
        result = np.zeros(shape)
        for these, rows in zip(self.leaves, self.rows, strict=True):
            result[..., these] = batched_linalg.gram(rows, rows)
        return result

    def sum_of_squares(self, shape: tuple[int, ...]) -> np.ndarray:
        """(D, D, B), added up over the leaves."""
        total = np.zeros(shape)
        for rows in self.rows:
            columns = batched_linalg.transpose(rows)
            total += batched_linalg.gram_sum(columns, columns)
        return total

    def take(self, data_sets: IntArray) -> "LeftRows":
        return LeftRows(self.leaves, tuple(np.take(rows, data_sets, axis=2) for rows in self.rows))


@dataclass(frozen=True)
class Chunk:
    """Leaves of one shape: E (r, a, B, n) and A (r, D, B, n) side by side; what is left of the others.

    left : its squares C0 (D, D, B, n), or the rows themselves.  C0_sum (D, D, B) : the squares, over all leaves.
    pattern : where A may differ from zero, of leaves without ancestors most of whose columns are zero.

    ancestors : node of every leaf at each level from the outer one down to the parent.
    members : for each own level, innermost last, the group codes (count, n) inside every leaf.
    """

    EA: np.ndarray
    left: np.ndarray | LeftRows
    C0_sum: np.ndarray
    pattern: Pattern | None
    a: int
    outer: IntArray
    ancestors: tuple[IntArray, ...]
    segments: Segments | None
    members: tuple[IntArray, ...]

    @property
    def parent_level(self) -> int:
        return len(self.ancestors) - 1

    @cached_property
    def parent(self) -> IntArray:
        """(n,) node of every leaf at the level above; all zero where there is none."""
        return self.ancestors[-1] if self.ancestors else np.zeros(self.EA.shape[3], np.int64)

    @property
    def C0_shape(self) -> tuple[int, int, int, int]:
        D = self.EA.shape[1] - self.a
        return D, D, *self.EA.shape[2:]

    @cached_property
    def C0(self) -> np.ndarray:
        """(D, D, B, n) squares of what is left of every leaf."""
        return self.left if isinstance(self.left, np.ndarray) else self.left.squares(self.C0_shape)

    @cached_property
    def left_by_leaf(self) -> np.ndarray:
        """C0 where a parent receives it by leaf, (D, D, B, 0) where it is zero or only its sum is wanted."""
        return self.C0 if self.ancestors and self._leaves_some else np.zeros((*self.C0_shape[:3], 0))

    @property
    def _leaves_some(self) -> bool:
        return not isinstance(self.left, np.ndarray) or self.left.strides != (0,) * 4

    def take(self, data_sets: IntArray) -> "Chunk":
        """The same leaves of some of the data sets."""
        EA, C0_sum = (np.take(array, data_sets, axis=2) for array in (self.EA, self.C0_sum))
        if not isinstance(self.left, np.ndarray):
            return replace(self, EA=EA, left=self.left.take(data_sets), C0_sum=C0_sum)
        shape = (*self.left.shape[:2], len(data_sets), self.left.shape[3])
        left = np.take(self.left, data_sets, 2) if self._leaves_some else np.broadcast_to(0.0, shape)
        return replace(self, EA=EA, left=left, C0_sum=C0_sum)


@dataclass(frozen=True)
class Rows:
    """All observations in sorted order: whitened columns W = [Z outer .. Z inner, X, y], and Z before whitening."""

    W: np.ndarray
    Z: Sequence[np.ndarray]
    white: Whitener
    plan: Layout
    dims: Sequence[int]

    def first_column(self, level: int) -> int:
        return sum(self.dims[:level])

    def other_columns(self, parent: int) -> IntArray:
        """Columns of W that are not a leaf's own: nearest ancestor's effects first, then X and y."""
        ancestors = [self.first_column(j) + np.arange(self.dims[j]) for j in range(parent, -1, -1)]
        return np.concatenate([*ancestors, np.arange(sum(self.dims), self.W.shape[1])]).astype(np.int64)


def chunks_of(rows: Rows, node_of: Sequence[IntArray]) -> list[Chunk]:
    """All leaves in chunks of one shape; node_of holds for each upper level the node of every group."""
    chunks: list[Chunk] = []
    for parent in distinct(rows.plan.leaf_parent + 1) - 1:  # -1 stands for the outer groups' own
        leaves = np.flatnonzero(rows.plan.leaf_parent == parent)
        width = len(rows.other_columns(int(parent)))
        for shape, group in _by_shape(rows.plan, leaves, int(parent)):
            a = sum(c * d for c, d in zip(shape, rows.dims[parent + 1 :], strict=True))
            elements = WIDE_CHUNK if width >= batched_linalg.WIDE else CHUNK
            step = max(64, elements // ((a + 1) * (a + width) * rows.W.shape[2]))
            pieces = [group[i : i + step] for i in range(0, len(group), step)]
            chunks += [_chunk(rows, node_of, int(parent), shape, piece) for piece in pieces]
    return chunks


def _owner(plan: Layout) -> IntArray:
    """Leaf of every sorted observation."""
    return np.repeat(np.arange(len(plan.leaf_start)), plan.leaf_size)


def _by_shape(plan: Layout, leaves: IntArray, parent: int) -> list[tuple[tuple[int, ...], IntArray]]:
    """Leaves bucketed by how many groups of each own level they hold."""
    own = plan.codes[parent + 1 :]
    if plan.leaves_are_groups:
        return [((1,) * len(own), leaves)]
    owner, counts = _owner(plan), []
    for code in own:
        pairs = np.unique(np.column_stack([owner, code]), axis=0)
        counts.append(np.bincount(pairs[:, 0], minlength=len(plan.leaf_start))[leaves])
    shapes, which = np.unique(np.column_stack(counts), axis=0, return_inverse=True)
    return [(tuple(int(c) for c in shape), leaves[which.ravel() == i]) for i, shape in enumerate(shapes)]


def _chunk(rows: Rows, node_of: Sequence[IntArray], parent: int, shape: tuple[int, ...], leaves: IntArray) -> Chunk:
    plan = rows.plan
    held = _Held(rows, parent, shape, leaves)
    a = sum(count * d for count, d in zip(shape, rows.dims[parent + 1 :], strict=True))
    D = held.values.shape[1] - a
    largest = int(plan.leaf_size[leaves].max())
    r, B, n = min(a, largest), rows.W.shape[2], len(leaves)
    EA = np.zeros((r, a + D, B, n))
    rest: list[tuple[IntArray, np.ndarray]] = []
    sizes = plan.leaf_size[leaves] if largest <= a else _padded(plan.leaf_size[leaves])
    for size in distinct(sizes):
        these = np.flatnonzero(sizes == size)
        V = held.rows_of(these, int(size))
        if size > a:
            batched_linalg.triangularise(V, a)
            rest.append((these, V[a:, a:]))
        top = min(int(size), r)
        EA[:top, ..., these] = V[:top]
    separate(EA, a)
    lead = plan.leaf_start[leaves]
    ancestors = tuple(node_of[level][plan.codes[level][lead]] for level in range(parent + 1))
    left, C0_sum = _left(rest, (D, D, B, n), as_rows=D >= batched_linalg.WIDE and parent < 0)
    return Chunk(
        EA=EA,
        left=left,
        C0_sum=C0_sum,
        pattern=None if ancestors else pattern_of(EA[:, a:]),
        a=a,
        outer=plan.outer[lead],
        ancestors=ancestors,
        segments=segments(ancestors[-1]) if ancestors else None,
        members=held.members,
    )


def _left(
    rest: Sequence[tuple[IntArray, np.ndarray]], shape: tuple[int, ...], as_rows: bool
) -> tuple[np.ndarray | LeftRows, np.ndarray]:
    """`Chunk.left` and `Chunk.C0_sum`; leaves with no more rows than effects leave nothing, which takes no memory."""
    if not rest:
        return np.broadcast_to(0.0, shape), np.zeros(shape[:3])
    rows = LeftRows(tuple(these for these, _ in rest), tuple(left for _, left in rest))
    if as_rows:
        return rows, rows.sum_of_squares(shape[:3])
    C0 = rows.squares(shape)
    return C0, C0.sum(-1)


def separate(EA: np.ndarray, a: int) -> None:
    """Rotate the rows of leaves whose E has nearly dependent ones, so that E is orthogonal by rows; in place.

    I + E Psi E' would otherwise hold numbers of the size of Psi / S whose differences matter.
    """
    if len(EA) < 2 or a == 0:
        return
    E = EA[:, :a]
    length = np.sqrt((E * E).sum(1))
    unit = np.divide(E, length[:, None], out=np.zeros_like(E), where=length[:, None] > 0)
    angles = batched_linalg.gram(batched_linalg.transpose(unit), batched_linalg.transpose(unit))
    diagonal = np.arange(len(E))
    angles[diagonal, diagonal] = 1.0 + ROUNDING
    pivot = batched_linalg.cholesky(angles)[diagonal, diagonal].min(0)
    data_set, leaf = np.nonzero(pivot < DEPENDENT)
    W = np.moveaxis(EA[:, :, data_set, leaf], -1, 0)
    left, size, right = np.linalg.svd(W[:, :, :a])
    rank = size.shape[1]
    W = left.mT @ W
    W[:, :, :a] = 0.0
    W[:, :rank, :a] = size[:, :, None] * right[:, :rank]
    EA[:, :, data_set, leaf] = np.moveaxis(W, 0, -1)


def _padded(size: IntArray) -> IntArray:
    """Next of 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, ...: rows of zeros do not change a factorisation."""
    step = 1 << np.maximum(0, np.frexp(size)[1].astype(np.int64) - 3)
    return np.asarray(-(-size // step) * step)


class _Held:
    """Whitened rows of a chunk's leaves: [own columns, innermost level first; the other columns].

    Where a leaf holds several groups of a level, each has its own columns; they are zero outside the group before
    whitening, not after.
    """

    def __init__(self, rows: Rows, parent: int, shape: tuple[int, ...], leaves: IntArray) -> None:
        plan = rows.plan
        self.size = plan.leaf_size[leaves]
        self.start = np.cumsum(np.r_[0, self.size[:-1]])
        self.leaf = np.repeat(np.arange(len(leaves)), self.size)
        self.observation = np.arange(self.size.sum()) + (plan.leaf_start[leaves] - self.start)[self.leaf]
        levels = range(parent + 1, parent + 1 + len(shape))
        self.members = tuple(
            self._members(plan.codes[level], count, len(leaves)) for level, count in zip(levels, shape, strict=True)
        )
        blocks = [self._own(rows, level, members) for level, members in zip(levels, self.members, strict=True)]
        blocks = [*reversed(blocks), rows.W[self.observation][:, rows.other_columns(parent)]]
        self.values = np.concatenate([np.broadcast_to(v, (*v.shape[:2], rows.W.shape[2])) for v in blocks], axis=1)

    def _members(self, code: IntArray, count: int, n: int) -> IntArray:
        """(count, n) codes of the groups of one level inside every leaf, ascending."""
        code = code[self.observation]
        if count == 1:
            return code[self.start][None]
        pairs = np.unique(np.column_stack([self.leaf, code]), axis=0)
        return pairs[:, 1].reshape(n, count).T

    def _own(self, rows: Rows, level: int, members: IntArray) -> np.ndarray:
        first = rows.first_column(level)
        if len(members) == 1:
            return rows.W[self.observation, first : first + rows.dims[level]]
        inside = rows.plan.codes[level][self.observation][:, None] == members.T[self.leaf]
        own = inside[:, :, None] * rows.Z[level][self.observation][:, None, :]
        low = int(self.observation[0])
        place = np.full(int(self.observation[-1]) + 1 - low, -1)
        place[self.observation - low] = np.arange(len(place[self.observation - low]))
        return rows.white.whiten_part(own.reshape(len(own), -1, 1), low, place)

    def rows_of(self, these: IntArray, size: int) -> np.ndarray:
        """(size, columns, B, n) of some leaves, padded with rows of zeros."""
        offset = np.arange(size)[:, None]
        real = offset < self.size[these]
        V = self.values[self.start[these] + np.where(real, offset, 0)]
        if not real.all():
            V *= real[..., None, None]
        return np.ascontiguousarray(np.moveaxis(V, 1, -1))
