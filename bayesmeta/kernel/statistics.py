"""Sufficient statistics of one specification: everything about the likelihood that does not depend on Psi or beta."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from bayesmeta._typing import IntArray
from bayesmeta.kernel.layout import Layout, layout, run_starts
from bayesmeta.kernel.leaves import Chunk, Rows, Segments, chunks_of, segments
from bayesmeta.kernel.orthogonal import log_determinant, logdet_gram, orthonormal, solve
from bayesmeta.kernel.whitening import Whitener, whitener

MOST_EFFECTS, MOST_COLUMNS = 6, 32  # of a group, and what is left of it, up to which no library is faster
WORTH_LOADING = 300_000  # multiplications of an evaluation, about, from which loading compiled code (0.3 s) pays


@dataclass(frozen=True)
class Nodes:
    """Groups of an upper level whose effects are eliminated after their children's.

    group : codes; ancestors : node at every level above; outer : position of the outer group.
    """

    group: IntArray
    ancestors: tuple[IntArray, ...]
    segments: Segments | None
    outer: IntArray

    @cached_property
    def parent(self) -> IntArray:
        """(n,) node of every group at the level above; all zero where there is none."""
        return self.ancestors[-1] if self.ancestors else np.zeros(len(self.group), np.int64)


@dataclass(frozen=True)
class Statistics:
    """What `likelihood` and `random_effects` need; made by `statistics`.

    dims, n_groups : number of effects a_l and of groups of every level.
    depth : levels down to the innermost that has effects; deeper ones say nothing.
    chunks : leaves; nodes : one entry per level above the leaves.
    beta0 (P, B), R (P, P, B) : the coefficients that centre y, and the factor that orthogonalises X (`orthogonal`).
    beta_fixed (P, B), Q (B,) : coefficients at Psi = 0, and Cochran's Q, their residual sum of squares with the full S.
    logdet_S (m, B) : log|S| of every outer group, in the order of `outer_group`, whose groups hold `outer_size`
    observations; logdet_XX : log|X'X|.
    parents : for every level but the outer one, the outer code of each group.
    typical (a_l,) per level : square root of the median sampling variance of each effect's group estimate.
    side_by_side : whether evaluations are compiled (`lanes`).
    """

    n_obs: int
    n_coef: int
    dims: tuple[int, ...]
    n_groups: tuple[int, ...]
    depth: int
    chunks: tuple[Chunk, ...]
    nodes: tuple[Nodes, ...]
    beta0: np.ndarray
    R: np.ndarray
    beta_fixed: np.ndarray
    Q: np.ndarray
    logdet_S: np.ndarray
    logdet_XX: float
    outer_group: IntArray
    outer_size: IntArray
    parents: tuple[IntArray, ...]
    typical: tuple[np.ndarray, ...]
    side_by_side: bool = False

    @cached_property
    def logdet_R(self) -> np.ndarray:
        return log_determinant(np.moveaxis(self.R, -1, 0))

    @property
    def n_data_sets(self) -> int:
        return self.beta0.shape[1]

    def take(self, data_sets: IntArray) -> "Statistics":
        """The same for some of the data sets; what all of them share stays as it is."""

        def own(array: np.ndarray) -> np.ndarray:
            return array if array.shape[-1] == 1 else np.take(array, data_sets, axis=-1)

        return replace(
            self,
            chunks=tuple(chunk.take(data_sets) for chunk in self.chunks),
            beta0=np.take(self.beta0, data_sets, axis=-1),
            R=own(self.R),
            beta_fixed=np.take(self.beta_fixed, data_sets, axis=-1),
            Q=self.Q[data_sets],
            logdet_S=own(self.logdet_S),
        )


@dataclass(frozen=True)
class Design:
    """Designs of one data set in sorted order, whitened and X orthonormal; what `reduce` adds y to.

    columns (n_obs, sum of dims + P, B) : C^-1 [Z outer .. Z inner, X R^-1].
    """

    X: np.ndarray
    Z: tuple[np.ndarray, ...]
    groups: tuple[IntArray, ...]
    plan: Layout
    white: Whitener
    columns: np.ndarray
    R: np.ndarray

    def fixed_fit(self, y: np.ndarray) -> np.ndarray:
        """Fixed-effects coefficients (P, B) of y (n_obs, B)."""
        first_x = self.columns.shape[1] - self.X.shape[1]
        h = np.einsum("npb,nb->bp", self.columns[:, first_x:], self.white.whiten(y[:, None])[:, 0])
        return np.asarray(solve(np.moveaxis(self.R, -1, 0), h[..., None])[..., 0].T)


def whitened_design(
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Design:
    """Sort, whiten, and make X orthonormal: C^-1 X = Q R."""
    design = sorted_design(X, Z, groups, S)
    first_x = design.columns.shape[1] - X.shape[1]
    Q, R = orthonormal(np.moveaxis(design.columns[:, first_x:], -1, 0))
    design.columns[:, first_x:] = np.moveaxis(Q, 0, -1)
    return replace(design, R=np.moveaxis(R, 0, -1))


def sorted_design(
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Design:
    """Sort and whiten; X as it is, with R the identity."""
    value, row, col = S
    depth = max([1, *(level + 1 for level, z in enumerate(Z) if z.shape[1])])
    plan = layout([np.asarray(g, dtype=np.int64) for g in groups[:depth]], row, col)
    white = whitener(np.atleast_2d(value), row, col, plan)
    columns = white.whiten(np.column_stack([*Z, X])[plan.order][:, :, None])
    sorted_Z = tuple(z[plan.order] for z in Z)
    return Design(X[plan.order], sorted_Z, tuple(groups), plan, white, columns, np.eye(X.shape[1])[..., None])


def reduce(design: Design, y: np.ndarray, beta0: np.ndarray) -> Statistics:
    """Statistics of y (n_obs, B), in sorted order, centred by X beta0, which is taken for the fixed-effects fit.

    Householder elimination takes every leaf's own random effects from its whitened rows.
    """
    residual = design.white.whiten((y - design.X @ beta0)[:, None])
    plan, X, dims = design.plan, design.X, tuple(z.shape[1] for z in design.Z)
    depth = len(plan.codes)
    B = max(residual.shape[2], design.columns.shape[2])
    W = np.concatenate([np.broadcast_to(design.columns, (*design.columns.shape[:2], B)), residual], axis=1)
    nodes, node_of = nodes_of(plan)
    starts = run_starts(plan.outer)
    chunks = tuple(chunks_of(Rows(W, design.Z, design.white, plan, dims[:depth]), node_of))
    return Statistics(
        n_obs=len(X),
        n_coef=X.shape[1],
        dims=dims,
        n_groups=tuple(int(g.max()) + 1 for g in design.groups),
        depth=depth,
        chunks=chunks,
        nodes=tuple(nodes),
        beta0=np.broadcast_to(beta0, (X.shape[1], B)),
        R=design.R,
        beta_fixed=np.broadcast_to(beta0, (X.shape[1], B)),
        Q=(residual * residual).sum((0, 1)),
        logdet_S=np.add.reduceat(design.white.logdet(len(X)), starts, axis=0),
        logdet_XX=logdet_gram(X),
        outer_group=plan.codes[0][starts],
        outer_size=np.diff(np.r_[starts, len(X)]),
        parents=tuple(_parent_codes(inner, outer) for outer, inner in pairwise(design.groups)),
        typical=_typical(design),
        side_by_side=worth_compiling(chunks, dims[: len(nodes)]),
    )


def worth_compiling(chunks: Sequence[Chunk], upper: Sequence[int]) -> bool:
    """Whether an evaluation is worth loading compiled code; by the data alone, so that results do not depend on what
    has been fitted before. upper : numbers of effects of the levels above the leaves.
    """
    work = sum(chunk.a * chunk.EA.shape[1] ** 2 * chunk.EA[0, 0].size for chunk in chunks if len(chunk.EA))
    return work >= WORTH_LOADING and small_enough(chunks, upper)


def small_enough(chunks: Sequence[Chunk], upper: Sequence[int]) -> bool:
    """Whether no matrix is one for LAPACK or BLAS, or mostly zero."""
    widest = max(chunk.EA.shape[1] - chunk.a for chunk in chunks)
    most, least = max([*upper, *(chunk.a for chunk in chunks)]), min([1, *upper])
    dense = all(chunk.pattern is None and isinstance(chunk.left, np.ndarray) for chunk in chunks)
    return dense and least > 0 and most <= MOST_EFFECTS and widest <= MOST_COLUMNS


def _parent_codes(inner: IntArray, outer: IntArray) -> IntArray:
    parent = np.empty(int(inner.max()) + 1, np.int64)
    parent[inner] = outer
    return parent


def _typical(design: Design) -> tuple[np.ndarray, ...]:
    return typical_of(group_information(design))


def group_information(design: Design) -> list[list[np.ndarray]]:
    """Of every level's effects what the groups tell of them: Z' S^-1 Z where that is not zero."""
    levels, first = [], 0
    for level, z in enumerate(design.Z):
        effects = []
        for j in range(z.shape[1]):
            information = np.bincount(design.plan.codes[level], weights=design.columns[:, first + j, 0] ** 2)
            effects.append(information[information > 0])
        levels.append(effects)
        first += z.shape[1]
    return levels


def typical_of(information: Sequence[Sequence[np.ndarray]]) -> tuple[np.ndarray, ...]:
    """`Statistics.typical` from `group_information`; 1 where no group tells anything."""
    return tuple(
        np.array([1 / np.sqrt(np.median(of_groups)) if len(of_groups) else 1.0 for of_groups in effects], dtype=float)
        for effects in information
    )


def nodes_of(plan: Layout) -> tuple[list[Nodes], list[IntArray]]:
    """Groups of every level above the innermost that are not inside a leaf, in sorted order; the node of each code."""
    nodes: list[Nodes] = []
    node_of: list[IntArray] = []
    for level, code in enumerate(plan.codes[:-1]):
        leaves = np.flatnonzero(plan.leaf_parent >= level)
        lead = code[plan.leaf_start[leaves]]
        first = run_starts(lead)
        at = plan.leaf_start[leaves[first]]
        ancestors = tuple(node_of[above][plan.codes[above][at]] for above in range(level))
        runs = segments(ancestors[-1]) if ancestors else None
        nodes.append(Nodes(group=lead[first], ancestors=ancestors, segments=runs, outer=plan.outer[at]))
        numbers = np.full(int(code.max()) + 1, -1)
        numbers[lead[first]] = np.arange(len(first))
        node_of.append(numbers)
    return nodes, node_of
