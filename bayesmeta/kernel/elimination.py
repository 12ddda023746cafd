"""The two sweeps over the tree of groups that every likelihood quantity comes from.

Upward: each group's random effects are eliminated and what is left of [ancestors' effects, X, y] is passed to the
parent; Psi is never inverted. Downward: every group receives a factor Phi of the second moments of its ancestors'
effects and (beta, -1) given the data, and appends the rows of its own effects. Its first column holds means (the
BLUPs), the others a square root of the prediction error covariance; scores of Psi and predictions both read it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.leaves import Chunk, segments
from bayesmeta.kernel.statistics import Statistics


@dataclass(frozen=True)
class LeafState:
    """R^-1 E and R^-1 A, with I + E Psi E' = R R'."""

    V: np.ndarray
    W: np.ndarray


@dataclass(frozen=True)
class NodeState:
    """At the groups of an upper level R^-1 [F'G, F'H, F'], with Psi = F F' and I + F'GF = R R'."""

    G: np.ndarray
    H: np.ndarray
    SG: np.ndarray
    W: np.ndarray
    T: np.ndarray


@dataclass(frozen=True)
class Upward:
    """Result of the upward sweep.

    C : (P + 1, P + 1, B), or with the outer groups behind when they were asked for; logdet likewise.
    """

    C: np.ndarray
    logdet: np.ndarray
    leaves: tuple[LeafState, ...]
    nodes: tuple[NodeState, ...]
    factors: tuple[np.ndarray, ...]


def leaf_psi(chunk: Chunk, psi: Sequence[np.ndarray]) -> np.ndarray:
    """Psi of a leaf's own effects: that of every own level, repeated for its groups, innermost first."""
    if chunk.a == len(psi[-1]):
        return psi[-1]
    own = list(zip(chunk.members, psi[chunk.parent_level + 1 :], strict=True))
    Psi = np.zeros((chunk.a, chunk.a, *psi[-1].shape[2:]))
    at = 0
    for members, block in reversed(own):
        for _ in range(len(members)):
            Psi[at : at + len(block), at : at + len(block)] = block
            at += len(block)
    return Psi


def _leaf_up(chunk: Chunk, psi: Sequence[np.ndarray]) -> tuple[LeafState, np.ndarray]:
    if chunk.a == 0 or len(chunk.EA) == 0:
        return LeafState(chunk.EA[:, : chunk.a], chunk.EA[:, chunk.a :]), np.zeros(chunk.EA.shape[2:])
    E = chunk.EA[:, : chunk.a]
    EPsi = batched_linalg.left(leaf_psi(chunk, psi), E)
    B = (
        batched_linalg.gram(batched_linalg.transpose(EPsi), batched_linalg.transpose(E))
        if len(E) > 1
        else (EPsi * E).sum(1, keepdims=True)
    )
    for i in range(len(B)):
        B[i, i] += 1.0
    R = batched_linalg.cholesky(B)
    VW = batched_linalg.solve_lower(R, chunk.EA)
    return LeafState(VW[:, : chunk.a], VW[:, chunk.a :]), 2 * batched_linalg.log_diagonal(R)


def _node_up(M: np.ndarray, a: int, F: np.ndarray) -> tuple[NodeState, np.ndarray, np.ndarray]:
    G, H, C = M[:a, :a], M[:a, a:], M[a:, a:]
    if a == 0:
        return NodeState(G, H, G, H, G), C, np.zeros(M.shape[2:])
    Ft = batched_linalg.transpose(F)
    FM = batched_linalg.transpose(batched_linalg.left(Ft, M[:, :a]))
    B = batched_linalg.left(Ft, FM[:, :a])
    for i in range(a):
        B[i, i] += 1.0
    R = batched_linalg.cholesky(B)
    S = batched_linalg.solve_lower(R, np.concatenate([FM, np.broadcast_to(Ft, (a, a, *FM.shape[2:]))], axis=1))
    W = S[:, a:-a]
    return NodeState(G, H, S[:, :a], W, S[:, -a:]), C - batched_linalg.gram(W, W), 2 * batched_linalg.log_diagonal(R)


def _squares(chunk: Chunk, W: np.ndarray) -> np.ndarray:
    """W'W (D, D, B), over all leaves."""
    if chunk.pattern is not None:
        return chunk.pattern.gram_sum(W)
    Wt = batched_linalg.transpose(W)
    return batched_linalg.gram_sum(Wt, Wt)


class _Total:
    """Collects what reaches the top: the sum over outer groups, or every outer group by itself."""

    def __init__(self, stats: Statistics, batch: int, per_group: bool) -> None:
        top = stats.n_coef + 1
        self.per_group = per_group
        m = (len(stats.outer_group),) if per_group else ()
        self.C = np.zeros((top, top, batch, *m))
        self.logdet = np.zeros((batch, *m))

    def add_logdet(self, value: np.ndarray, outer: np.ndarray) -> None:
        if self.per_group:
            segments(outer).add_to(self.logdet, value)
        else:
            self.logdet += value.sum(-1)

    def add_leaves(self, chunk: Chunk, W: np.ndarray) -> None:
        if self.per_group:
            self.add(chunk.C0 + batched_linalg.gram(W, W) if len(W) else chunk.C0, chunk.outer)
        else:
            self.C += chunk.C0_sum + (_squares(chunk, W) if len(W) else 0.0)

    def add(self, C: np.ndarray, outer: np.ndarray) -> None:
        if self.per_group:
            segments(outer).add_to(self.C, C)
        else:
            self.C += C.sum(-1)


def upward(stats: Statistics, psi: Sequence[np.ndarray], per_group: bool = False) -> Upward:
    """Eliminate all random effects, innermost level first. psi : (a_l, a_l, B, 1) per level."""
    batch = max(max(p.shape[2] for p in psi), stats.beta0.shape[1])
    total = _Total(stats, batch, per_group)
    sizes = [stats.dims[level] + sum(stats.dims[:level]) + stats.n_coef + 1 for level in range(len(stats.nodes))]
    M = [np.zeros((s, s, batch, len(n.group))) for s, n in zip(sizes, stats.nodes, strict=True)]
    leaves = []
    for chunk in stats.chunks:
        state, logdet = _leaf_up(chunk, psi)
        leaves.append(state)
        total.add_logdet(logdet, chunk.outer)
        if chunk.segments is None:
            total.add_leaves(chunk, state.W)
        else:
            C = chunk.C0 + batched_linalg.gram(state.W, state.W) if len(state.W) else chunk.C0
            chunk.segments.add_to(M[chunk.parent_level], C)
    factors = tuple(batched_linalg.psd_factor(psi[level]) for level in range(len(stats.nodes)))
    nodes: list[NodeState] = []
    for level in range(len(stats.nodes) - 1, -1, -1):
        node = stats.nodes[level]
        node_state, C, logdet = _node_up(M[level], stats.dims[level], factors[level])
        nodes.insert(0, node_state)
        total.add_logdet(logdet, node.outer)
        if node.segments is None:
            total.add(C, node.outer)
        else:
            node.segments.add_to(M[level - 1], C)
    return Upward(total.C, total.logdet, tuple(leaves), tuple(nodes), factors)


def leaves_times_phi(chunk: Chunk, W: np.ndarray, own: Sequence[np.ndarray], top: np.ndarray) -> np.ndarray:
    """`times_phi` of leaves."""
    return times_phi(W, chunk.ancestors, own, top) if chunk.pattern is None else chunk.pattern.times(W, top)


def times_phi(W: np.ndarray, ancestors: Sequence[np.ndarray], own: Sequence[np.ndarray], top: np.ndarray) -> np.ndarray:
    """W Phi with Phi's rows in the order of W's columns: nearest ancestor .. outer, then (beta, -1)."""
    n_top = len(top)
    first = _times_top(W[:, W.shape[1] - n_top :], top)
    if not ancestors:
        return first
    width = own[len(ancestors) - 1].shape[1]
    result = np.zeros((len(W), width, *first.shape[2:]))
    result[:, : first.shape[1]] = first
    at = 0
    for level in range(len(ancestors) - 1, -1, -1):
        phi = own[level]
        if len(phi):
            gathered = np.take(phi, ancestors[level], axis=-1)
            result[:, : phi.shape[1]] += batched_linalg.product(W[:, at : at + len(phi)], gathered)
        at += len(phi)
    return result


def _times_top(W: np.ndarray, top: np.ndarray) -> np.ndarray:
    """W phi for phi = [[beta, M], [-1, 0]], M upper triangular or absent: (rows, 1 or 1 + P, data sets, groups)."""
    P = len(top) - 1
    wide = len(W) == 1 and P >= batched_linalg.WIDE and top.shape[1:] == (P + 1, 1, 1)
    if not wide or np.tril(top[:, 1:, 0, 0], -1).any():
        return batched_linalg.left(batched_linalg.transpose(top), W)
    result = np.empty((1, P + 1, *W.shape[2:]))
    rows = W[0].reshape(P + 1, -1)
    result[0, 0] = (top[:, 0, 0, 0] @ rows).reshape(W.shape[2:])
    result[0, 1:] = batched_linalg.times_upper(rows[:P].T, top[:P, 1:, 0, 0]).T.reshape(P, *W.shape[2:])
    return result


def downward_nodes(stats: Statistics, up: Upward, top: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """For every group of every upper level, outer first, its own rows of Phi, and N H Phi for the score of Psi."""
    own: list[np.ndarray] = []
    NH: list[np.ndarray] = []
    for state, node in zip(up.nodes, stats.nodes, strict=True):
        Hphi = times_phi(state.H, node.ancestors, own, top)
        if len(state.G) == 0:
            own.append(Hphi)
            NH.append(Hphi)
            continue
        Wphi = times_phi(state.W, node.ancestors, own, top)
        NH.append(Hphi - batched_linalg.gram(state.SG, Wphi))
        own.append(np.concatenate([-batched_linalg.gram(state.T, Wphi), batched_linalg.transpose(state.T)], axis=1))
    return own, NH


def downward_leaves(
    stats: Statistics, up: Upward, own: Sequence[np.ndarray], top: np.ndarray
) -> Iterator[tuple[Chunk, LeafState, np.ndarray]]:
    """For every chunk of leaves V' W Phi, the derivative of the residual quadratic form at the leaf."""
    for chunk, state in zip(stats.chunks, up.leaves, strict=True):
        if chunk.a and len(state.V):
            yield chunk, state, batched_linalg.gram(state.V, leaves_times_phi(chunk, state.W, own, top))


def scores(stats: Statistics, up: Upward, top: np.ndarray) -> list[np.ndarray]:
    """d loglik / d Psi_l (a_l, a_l, B) for every level, as if the entries were free."""
    own, NH = downward_nodes(stats, up, top)
    total = [np.zeros((a, a, up.C.shape[2])) for a in stats.dims]
    for level, (state, NHphi) in enumerate(zip(up.nodes, NH, strict=True)):
        NG = state.G.sum(-1) - _gram_over_groups(state.SG)
        total[level] += (batched_linalg.gram_sum(NHphi, NHphi) - NG) / 2
    for chunk, leaf, Qphi in downward_leaves(stats, up, own, top):
        add_leaf_score(total, chunk, (batched_linalg.gram_sum(Qphi, Qphi) - _gram_over_groups(leaf.V)) / 2)
    return [(t + batched_linalg.transpose(t)) / 2 for t in total]


def _gram_over_groups(V: np.ndarray) -> np.ndarray:
    Vt = batched_linalg.transpose(V)
    return batched_linalg.gram_sum(Vt, Vt)


def add_leaf_score(total: list[np.ndarray], chunk: Chunk, score: np.ndarray) -> None:
    """The score of a level is the sum of the diagonal blocks of its groups inside the leaf."""
    at = 0
    for j in range(len(chunk.members) - 1, -1, -1):
        level = chunk.parent_level + 1 + j
        a = len(total[level])
        for _ in range(len(chunk.members[j])):
            total[level] += score[at : at + a, at : at + a]
            at += a
