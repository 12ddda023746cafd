"""Sufficient statistics laid out in a few arrays, for compiled code and for other array libraries.

The beta of the Bayesian target is given, so what is left of a group is its ancestors' effects and one residual.
"""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel.leaves import Chunk
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.kernel.statistics import Statistics


@dataclass(frozen=True)
class Shape:
    """Leaves of one shape: r rows, a own effects in blocks (level, first column), parents at a level (-1: none)."""

    rows: int
    own: int
    parent_level: int
    blocks: tuple[tuple[int, int], ...]


@dataclass(frozen=True, eq=False, repr=False)
class Flat:
    """Everything about the likelihood of one data set that does not depend on beta or Psi.

    values : R (P, P), beta0 (P,), then the blocks of `leaf`, `node` and `top`, row by row.
        Of a leaf [E, A] (r, a + q + P + 1), q the ancestors' effects, nearest first; of a node and of the top what is
        left of its leaves, (s + P + 1)^2 with s its own and its ancestors' effects, and (P + 1)^2.
    base : (m,) -(n log 2 pi + log|S|) / 2 of every outer group, in the order of `outer_group`.
    leaf : (n_leaf, 4) shape, parent, outer group, first value; a parent is a node, or behind them an outer group.
    node : (n_node, 4) level, parent, outer group, first value; inner levels first.
    top : (m,) first value. shape : (n_shape, 4) rows, own effects, level of the parents, first block; and one row more.
    block : (n_block, 2) level and first column. dims : (depth,) effects of every level.
    """

    values: np.ndarray
    base: np.ndarray
    leaf: IntArray
    node: IntArray
    top: IntArray
    shape: IntArray
    block: IntArray
    dims: IntArray
    outer_group: IntArray

    @property
    def tables(self) -> tuple[IntArray, ...]:
        """What does not depend on y, in the order in which compiled code takes it."""
        return self.leaf, self.node, self.top, self.shape, self.block, self.dims


def flatten(stats: Statistics) -> Flat:
    """The statistics of one data set in flat arrays."""
    if stats.beta0.shape[1] != 1:
        raise ValueError("one data set at a time")
    P, depth, m = stats.n_coef, stats.depth, len(stats.outer_group)
    dims = np.array(stats.dims[:depth], dtype=np.int64)
    first, node = _nodes(stats)
    left = [
        np.zeros((int(n),) * 2 + (len(nodes.group),)) for n, nodes in zip(_widths(dims, P), stats.nodes, strict=True)
    ]
    top = np.zeros((P + 1, P + 1, m))
    store = _Store([stats.R[:, :, 0].ravel(), stats.beta0[:, 0]])
    shapes: dict[Shape, int] = {}
    leaves = []
    for chunk in stats.chunks:
        which = shapes.setdefault(_shape(chunk, dims.tolist()), len(shapes))
        leaves.append(_leaves(chunk, which, first, len(node), store))
        _add_left(chunk, left, top)
    for level, blocks in enumerate(left):
        node[first[level] : first[level] + blocks.shape[2], 3] = store.add(blocks)
    at_top = store.add(top)
    shape, block = _shape_tables(list(shapes))
    return Flat(
        values=store.values(),
        base=-(stats.outer_size * LOG_2PI + stats.logdet_S[:, 0]) / 2,
        leaf=np.concatenate(leaves),
        node=node,
        top=at_top,
        shape=shape,
        block=block,
        dims=dims,
        outer_group=stats.outer_group,
    )


class _Store:
    """One long array that grows by batches of equal blocks."""

    def __init__(self, parts: list[np.ndarray]) -> None:
        self.parts = parts
        self.size = sum(map(len, parts))

    def add(self, blocks: np.ndarray) -> IntArray:
        """Append blocks (rows, columns, n) one after the other; where each begins."""
        each, n = blocks.shape[0] * blocks.shape[1], blocks.shape[2]
        start = self.size + each * np.arange(n)
        self.parts.append(np.moveaxis(blocks, -1, 0).ravel())
        self.size += each * n
        return start

    def values(self) -> np.ndarray:
        return np.concatenate(self.parts)


def _widths(dims: IntArray, P: int) -> IntArray:
    """Rows of what arrives at the nodes of every level: own and ancestors' effects, X and y."""
    return np.asarray(np.cumsum(dims) + P + 1)[:-1] if len(dims) else dims


def _nodes(stats: Statistics) -> tuple[dict[int, int], IntArray]:
    """First node of every upper level, inner levels first, and the table of nodes without their values."""
    first, at = {}, 0
    for level in range(len(stats.nodes) - 1, -1, -1):
        first[level] = at
        at += len(stats.nodes[level].group)
    table = np.full((at, 4), -1, dtype=np.int64)
    for level, nodes in enumerate(stats.nodes):
        rows = slice(first[level], first[level] + len(nodes.group))
        table[rows, 0], table[rows, 2] = level, nodes.outer
        table[rows, 1] = first[level - 1] + nodes.ancestors[-1] if nodes.ancestors else at + nodes.outer
    return first, table


def _shape(chunk: Chunk, dims: IntArray) -> Shape:
    blocks, at = [], 0
    for j in range(len(chunk.members) - 1, -1, -1):
        level = chunk.parent_level + 1 + j
        for _ in range(len(chunk.members[j])):
            blocks.append((level, at))
            at += int(dims[level])
    return Shape(len(chunk.EA), chunk.a, chunk.parent_level, tuple(blocks))


def _leaves(chunk: Chunk, which: int, first: dict[int, int], n_node: int, store: _Store) -> IntArray:
    parent = first[chunk.parent_level] + chunk.ancestors[-1] if chunk.ancestors else n_node + chunk.outer
    return np.column_stack([np.full(len(parent), which), parent, chunk.outer, store.add(chunk.EA[:, :, 0])])


def _add_left(chunk: Chunk, left: list[np.ndarray], top: np.ndarray) -> None:
    """What is left of a leaf without its own effects does not depend on Psi and goes to the parent once."""
    total = left[chunk.parent_level] if chunk.ancestors else top
    parent = chunk.ancestors[-1] if chunk.ancestors else chunk.outer
    np.add.at(np.moveaxis(total, -1, 0), parent, np.moveaxis(chunk.C0[:, :, 0], -1, 0))


def _shape_tables(shapes: list[Shape]) -> tuple[IntArray, IntArray]:
    blocks = [block for shape in shapes for block in shape.blocks]
    start = np.cumsum([0, *(len(shape.blocks) for shape in shapes)])
    rows = [(s.rows, s.own, s.parent_level, int(at)) for s, at in zip(shapes, start, strict=False)]
    table = np.array([*rows, (0, 0, 0, int(start[-1]))], dtype=np.int64)
    return table, np.array(blocks, dtype=np.int64).reshape(-1, 2)
