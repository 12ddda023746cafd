"""Which groups become leaves, and how leaves hang below the groups of upper levels.

A leaf is the smallest set of whole innermost groups whose sampling errors are independent of everything outside it: an
innermost group, or, where S couples rows of several innermost groups, all the groups so joined (method: connected
components of S, joined until every group below the parent is wholly inside).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import BoolArray, IntArray


@dataclass(frozen=True)
class Layout:
    """The nesting of one data set.

    order : (n_obs,) positions of the observations sorted by leaf (and so by all upper groups).
    leaves_are_groups : whether every leaf is one innermost group.
    leaf_start : (n_leaf,) first sorted observation of every leaf; leaf_size : (n_leaf,).
    leaf_parent : (n_leaf,) level of the parent group, -1 for none.
    codes : one array (n_obs,) per level, group of every sorted observation.
    outer : (n_obs,) position of the outer group, numbered in sorted order.
    component : (n_obs,) connected component of S, numbered so that components are contiguous in sorted order.
    """

    order: IntArray
    leaves_are_groups: bool
    leaf_start: IntArray
    leaf_size: IntArray
    leaf_parent: IntArray
    codes: tuple[IntArray, ...]
    outer: IntArray
    component: IntArray


def components(n: int, row: IntArray, col: IntArray) -> IntArray:
    """Label of the connected component of every node of a graph."""
    if len(row) == 0:
        return np.arange(n)
    first = np.arange(n)
    np.minimum.at(first, row, col)
    np.minimum.at(first, col, row)
    if np.array_equal(first[first], first) and np.array_equal(first[row], first[col]):
        return np.cumsum(first == np.arange(n))[first] - 1  # all are joined to the first of their component
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(row), np.int8), (row, col)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _chain(code: IntArray, among: BoolArray) -> tuple[IntArray, IntArray]:
    """Edges that join all nodes with the same code, among the chosen ones."""
    nodes = np.flatnonzero(among)
    nodes = nodes[np.argsort(code[nodes], kind="stable")]
    same = code[nodes[1:]] == code[nodes[:-1]]
    return nodes[:-1][same], nodes[1:][same]


def _constant_within(label: IntArray, code: IntArray) -> BoolArray:
    """For every label, whether all its nodes have one code."""
    n = int(label.max()) + 1
    low, high = np.full(n, np.iinfo(np.int64).max), np.full(n, -1)
    np.minimum.at(low, label, code)
    np.maximum.at(high, label, code)
    return low == high


def distinct(codes: IntArray) -> IntArray:
    """The values that occur among whole numbers from 0, ascending, without the sort and the hashes of `numpy.unique`.

    >>> distinct(np.array([3, 0, 3]))
    array([0, 3])
    """
    return np.flatnonzero(np.bincount(codes))


def join_leaves(groups: Sequence[IntArray], row: IntArray, col: IntArray) -> tuple[IntArray, IntArray]:
    """Leaf of every observation and parent level of every leaf.

    Parameters
    ----------
    groups : codes (n_obs,) of every level, outer to inner.
    row, col : the coupled pairs of observations.
    """
    L, n = len(groups), len(groups[0])
    innermost = groups[-1]
    if np.array_equal(innermost[row], innermost[col]):
        leaf = np.unique(innermost, return_inverse=True)[1]
        return leaf, np.full(int(leaf.max()) + 1, L - 2)
    extra_row, extra_col = _chain(innermost, np.ones(n, bool))
    leaf = np.zeros(0, np.int64)
    while True:
        rows, cols = np.concatenate([row, extra_row]), np.concatenate([col, extra_col])
        new = components(n, rows, cols)
        parent = sum(
            (_constant_within(new, code).astype(np.int64) for code in groups[:-1]), np.full(int(new.max()) + 1, -1)
        )
        if len(leaf) and new.max() == leaf.max():
            return new, np.asarray(parent)
        leaf = new
        for level in range(1, L):
            touched = np.zeros(int(groups[level].max()) + 1, bool)
            touched[groups[level][parent[leaf] == level - 1]] = True
            more_row, more_col = _chain(groups[level], touched[groups[level]])
            extra_row, extra_col = np.concatenate([extra_row, more_row]), np.concatenate([extra_col, more_col])


def layout(groups: Sequence[IntArray], row: IntArray, col: IntArray) -> Layout:
    """Sort the observations by outer to inner groups, leaf and component of S."""
    n = len(groups[0])
    off = row != col
    row, col = row[off], col[off]
    if not np.array_equal(groups[0][row], groups[0][col]):
        raise ValueError("S couples observations of different outer groups")
    leaf, parent = join_leaves(groups, row, col)
    component = components(n, row, col)
    # Below its parent a leaf may hold several groups, so the groups at and above the parent sort before the leaf.
    keys = [np.where(parent[leaf] >= level, code, -1) for level, code in enumerate(groups[:-1])]
    outer = groups[0]
    order = np.lexsort((component, leaf, *reversed(keys), outer))
    sorted_leaf = leaf[order]
    start = run_starts(sorted_leaf)
    return Layout(
        order=order,
        leaves_are_groups=len(parent) == int(groups[-1].max()) + 1,
        leaf_start=start,
        leaf_size=np.diff(np.r_[start, n]),
        leaf_parent=parent[sorted_leaf[start]],
        codes=tuple(np.asarray(code)[order] for code in groups),
        outer=renumber(np.asarray(outer)[order]),
        component=renumber(component[order]),
    )


def run_starts(code: IntArray) -> IntArray:
    """Positions at which runs of equal codes begin."""
    return np.flatnonzero(np.r_[True, code[1:] != code[:-1]])[: len(code)]


def renumber(sorted_code: IntArray) -> IntArray:
    """Consecutive numbers for runs of equal codes."""
    return np.cumsum(np.r_[0, sorted_code[1:] != sorted_code[:-1]])[: len(sorted_code)]
