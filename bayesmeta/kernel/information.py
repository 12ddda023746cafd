"""Second derivatives of the log-likelihoods by the entries of every Psi, from the sufficient statistics.

The two sweeps of `elimination` are differentiated once more. Upwards, every group receives the change of what its
children pass it for each entry of the Psi of the levels below, and adds the curvature of its own step; all that came
from the mean of (b, beta) given the data is the average information (twice), the rest the expected information.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from bayesmeta.kernel import batched_linalg as small
from bayesmeta.kernel.elimination import (
    LeafState,
    NodeState,
    Upward,
    add_leaf_score,
    downward_nodes,
    leaves_times_phi,
    times_phi,
)
from bayesmeta.kernel.leaves import Chunk
from bayesmeta.kernel.mostly_zero import congruent
from bayesmeta.kernel.statistics import Statistics

MOST_MOMENTS = 12  # effects of a leaf up to which these products are summed whatever the number of directions


@dataclass(frozen=True)
class Information:
    """Along K directions, symmetric changes of every Psi (levels outer to inner): (B, K, K).

    average : half the mean of the observed and the expected information; expected : of the (restricted) likelihood.
    The observed information of the (restricted, or profiled) log-likelihood is 2 average - expected.

    Gilmour, Thompson and Cullis (1995), Biometrics 51:1440-1450; Searle, Casella and McCulloch (1992), Variance
    Components, section 6.6.
    """

    average: np.ndarray
    expected: np.ndarray

    @property
    def observed(self) -> np.ndarray:
        return np.asarray(2 * self.average - self.expected)


def places(directions: Sequence[np.ndarray]) -> list[slice]:
    """Place of every level's directions among those of all levels."""
    ends = np.cumsum([0, *(D.shape[2] for D in directions)])
    return [slice(int(i), int(j)) for i, j in pairwise(ends)]


@dataclass(frozen=True)
class Sums:
    """Twice the average and the expected information (K, K, B), and scores, as they add up over groups.

    top (P + 1, P + 1, K, B) : change of what the outer groups pass to the top.
    """

    place: list[slice]
    twice_average: np.ndarray
    expected: np.ndarray
    top: np.ndarray
    scores: list[np.ndarray]

    @classmethod
    def zero(cls, dims: Sequence[int], n_coef: int, directions: Sequence[np.ndarray], batch: int) -> "Sums":
        place = places(directions)
        size = place[-1].stop
        square, top = np.zeros((size, size, batch)), np.zeros((n_coef + 1, n_coef + 1, size, batch))
        return cls(place, square, square.copy(), top, [np.zeros((a, a, batch)) for a in dims])

    def finished(
        self, phi: np.ndarray, beta_root: np.ndarray, restricted: bool
    ) -> tuple[list[np.ndarray], Information]:
        """Scores and information, with the curvature of the generalised least squares fit."""
        _at_top(self, self.top, phi[:, 0, :, 0], beta_root, restricted)
        average, expected = (small.last_first(m) for m in (self.twice_average / 2, self.expected))
        scores = [(s + small.transpose(s)) / 2 for s in self.scores]
        return scores, Information(_symmetric(average), _symmetric(expected))

    def own(self, places: slice, half_logdet: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
        """tr(G D_r G D_s) / 2, and the quadratic forms of mean and covariance, of a level's (or a leaf's) entries."""
        self.twice_average[places, places] += mean
        self.expected[places, places] += half_logdet - spread

    def crossed(self, own: slice, deep: slice, half_logdet: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
        self.twice_average[own, deep] -= mean
        self.twice_average[deep, own] -= mean.swapaxes(0, 1)
        self.expected[own, deep] -= half_logdet - spread
        self.expected[deep, own] -= (half_logdet - spread).swapaxes(0, 1)

    def deep(self, deep: slice, half_logdet: np.ndarray, mean: np.ndarray, spread: np.ndarray) -> None:
        self.twice_average[deep, deep] -= mean
        self.expected[deep, deep] += half_logdet + spread


def information(
    stats: Statistics,
    up: Upward,
    phi: np.ndarray,
    beta_root: np.ndarray,
    restricted: bool,
    directions: Sequence[np.ndarray],
) -> tuple[list[np.ndarray], Information]:
    """Scores of every Psi (a, a, B), and its information.

    phi : (P + 1, cols, B, 1) as `scores` takes it; beta_root (B, P, P) with beta_root beta_root' = Var(beta).
    directions : per level (a, a, K_l, 1 or B), symmetric.
    """
    return information_sums(stats, up, phi, directions).finished(phi, beta_root, restricted)


def information_sums(stats: Statistics, up: Upward, phi: np.ndarray, directions: Sequence[np.ndarray]) -> "Sums":
    """What adds up over the outer groups; arguments as those of `information`."""
    batch = up.C.shape[2]
    sums = Sums.zero(stats.dims, stats.n_coef, directions, batch)
    own, NH = downward_nodes(stats, up, phi)
    widths = [state.H.shape[1] for state in up.nodes]
    deep = [slice(sums.place[level].stop, sums.place[-1].stop) for level in range(len(stats.nodes))]
    changes = [
        np.zeros((state.G.shape[0] + w, state.G.shape[0] + w, d.stop - d.start, batch, len(node.group)))
        for state, w, d, node in zip(up.nodes, widths, deep, stats.nodes, strict=True)
    ]
    top = sums.top
    for chunk, leaf in zip(stats.chunks, up.leaves, strict=True):
        if chunk.a and len(leaf.V):
            _leaf(sums, directions, chunk, leaf, own, phi, changes, top)
    for level in range(len(stats.nodes) - 1, -1, -1):
        node, state = stats.nodes[level], up.nodes[level]
        ancestors = times_phi_own(stats, level, own, phi)
        passed = _node(sums, directions[level], level, deep[level], state, NH[level], ancestors, changes[level])
        here = slice(sums.place[level].start, sums.place[-1].stop)
        if node.segments is None:
            top[:, :, here] += passed.sum(-1)
        else:
            above = here.start - deep[level - 1].start
            node.segments.add_to(changes[level - 1][:, :, above : above + passed.shape[2]], passed)
    return sums


def _symmetric(A: np.ndarray) -> np.ndarray:
    return np.asarray((A + A.mT) / 2)


def times_phi_own(stats: Statistics, level: int, own: Sequence[np.ndarray], top: np.ndarray) -> np.ndarray:
    """Phi of the ancestors of every group of a level, nearest first, then that of (beta, -1)."""
    node = stats.nodes[level]
    rows = sum(stats.dims[:level]) + len(top)
    identity = np.broadcast_to(small.identity(rows), (rows, rows, top.shape[2], len(node.group)))
    return times_phi(identity, node.ancestors, own, top)


def leaf_directions(chunk: Chunk, directions: Sequence[np.ndarray]) -> np.ndarray:
    """(a, a, K, 1 or B) changes of the Psi of a leaf's own effects along the directions of its own levels."""
    own = directions[chunk.parent_level + 1 : chunk.parent_level + 1 + len(chunk.members)]
    if len(own) == 1 and len(chunk.members[0]) == 1:
        return own[0]
    place = places(own)
    D = np.zeros((chunk.a, chunk.a, place[-1].stop, max(d.shape[3] for d in own)))
    at = 0
    for j in range(len(own) - 1, -1, -1):
        for _ in range(len(chunk.members[j])):
            D[at : at + len(own[j]), at : at + len(own[j]), place[j]] = own[j]
            at += len(own[j])
    return D


def _traces(D: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """sum over groups of tr(D_r A D_s B), for symmetric A and B (a, a, data sets, groups): (K, K, data sets)."""
    a = len(A)
    if a == 1:
        return np.asarray(D[0, 0][:, None] * D[0, 0][None] * (A[0, 0] * B[0, 0]).sum(-1))
    if a <= MOST_MOMENTS:
        return _traces_by_moments(D, A, B)
    if D.shape[2] > a:  # hardly more work than for one direction, but large: one data set at a time
        pairs = [
            (np.s_[..., b : b + 1] if D.shape[3] > 1 else np.s_[...], np.s_[:, :, b : b + 1]) for b in range(A.shape[2])
        ]
        return np.concatenate([_traces_by_moments(D[of], A[at], B[at]) for of, at in pairs], axis=2)
    K, batch, n = D.shape[2], A.shape[2], A.shape[3]
    rows = D.transpose(3, 2, 0, 1).reshape(-1, K * a, a)  # of each data set, or of all
    DA, DB = ((rows @ M.transpose(2, 0, 1, 3).reshape(batch, a, a * n)).reshape(batch, K, a, a, n) for M in (A, B))
    flat = DB.swapaxes(2, 3).reshape(batch, K, -1)
    return np.asarray(small.first_last(DA.reshape(batch, K, -1) @ flat.mT))


def _traces_by_moments(D: np.ndarray, A: np.ndarray, B: np.ndarray) -> np.ndarray:
    """The same from the sums over groups of all products of an entry of A and one of B."""
    a = len(A)
    left, right = (M.reshape(a * a, *M.shape[2:]).swapaxes(0, 1) for M in (A, B))
    moments = (left @ right.mT).reshape(-1, a, a, a, a).transpose(0, 4, 1, 2, 3)
    flat = _by_batch(D)
    return np.asarray(small.first_last(flat.mT @ moments.reshape(-1, a * a, a * a) @ flat))


def _by_batch(D: np.ndarray) -> np.ndarray:
    """(1 or B, a a, K) directions (a, a, K, 1 or B) as matrices, for products by BLAS."""
    return small.last_first(D.reshape(D.shape[0] * D.shape[1], *D.shape[2:]))


def _leaf(
    sums: Sums,
    directions: Sequence[np.ndarray],
    chunk: Chunk,
    leaf: LeafState,
    own: Sequence[np.ndarray],
    phi: np.ndarray,
    changes: Sequence[np.ndarray],
    top: np.ndarray,
) -> None:
    """Curvature of eliminating leaves, and what their own Psi changes in what they pass on."""
    D = leaf_directions(chunk, directions)
    first = sums.place[chunk.parent_level + 1].start
    places = slice(first, first + D.shape[2])
    G, Q = small.gram(leaf.V, leaf.V), small.gram(leaf.V, leaf.W)
    q = leaves_times_phi(chunk, Q, own, phi)
    mean, spread = (
        small.product(q[:, :1], small.transpose(q[:, :1])),
        small.product(q[:, 1:], small.transpose(q[:, 1:])),
    )
    sums.own(places, _traces(D, G, G) / 2, _traces(D, G, mean), _traces(D, G, spread))
    add_leaf_score(sums.scores, chunk, (mean + spread - G).sum(-1) / 2)
    if chunk.pattern is not None:
        for k in range(D.shape[2]):
            DQ = np.einsum("ijb,jcbn->icbn", D[:, :, k], Q)
            top[:, :, places.start + k] -= chunk.pattern.gram_sum(Q, DQ)
    elif chunk.segments is None:
        a, width = Q.shape[:2]
        flat = Q.reshape(a * width, *Q.shape[2:]).swapaxes(0, 1)
        products = flat @ flat.mT
        if a == 1 and D.shape[2] == 1:  # nothing to sum, and the matrix may be large
            products *= D[0, 0, 0][:, None, None]
            top[:, :, places.start] -= small.first_last(products)
            return
        products = products.reshape(-1, a, width, a, width).transpose(0, 2, 4, 1, 3)
        change = products.reshape(-1, width * width, a * a) @ _by_batch(D)
        top[:, :, places] -= small.first_last(change.reshape(-1, width, width, D.shape[2]))
    else:
        target = changes[chunk.parent_level]
        start = first - (sums.place[chunk.parent_level].stop)
        chunk.segments.add_to(target[:, :, start : start + D.shape[2]], -_sandwich(D, Q))


def _sandwich(D: np.ndarray, Q: np.ndarray) -> np.ndarray:
    """Q'D_r Q (c, c, K, data sets, groups) of every group."""
    if len(Q) == 1:
        square = Q[0][:, None] * Q[0][None]
        return np.asarray(square[:, :, None] * D[0, 0][:, :, None])
    DQ = np.einsum("ijrb,jcbn->icrbn", D, Q)
    return np.asarray(np.einsum("icbn,idrbn->cdrbn", Q, DQ))


def _node(
    sums: Sums,
    D: np.ndarray,
    level: int,
    deep: slice,
    state: NodeState,
    q: np.ndarray,
    phi: np.ndarray,
    dM: np.ndarray,
) -> np.ndarray:
    """Curvature of eliminating the groups of an upper level; the change of what they pass on, own entries first.

    phi : that of the ancestors and (beta, -1); q : N H phi; dM : change of [[G, H], [H', C]] by the deeper entries.
    """
    a = len(state.G)
    if a == 0:
        return dM
    own = sums.place[level]
    G = state.G - small.gram(state.SG, state.SG)  # Z' Sigma^-1 Z with the levels from this one inwards
    Q = state.H - small.gram(state.SG, state.W)
    mean, spread = (
        small.product(q[:, :1], small.transpose(q[:, :1])),
        small.product(q[:, 1:], small.transpose(q[:, 1:])),
    )
    sums.own(own, _traces(D, G, G) / 2, _traces(D, G, mean), _traces(D, G, spread))
    sums.scores[level] += (mean + spread - G).sum(-1) / 2
    if dM.shape[2] == 0:
        return -_sandwich(D, Q)
    N = small.identity(a) - small.gram(state.SG, state.T)
    J = np.concatenate(
        [-small.gram(state.T, state.W), np.broadcast_to(small.identity(Q.shape[1]), (Q.shape[1], *Q.shape[1:]))]
    )
    dMJ = np.einsum("ijkbn,jdbn->idkbn", dM, J)
    Xphi = np.einsum("idkbn,dcbn->ickbn", dMJ[:a], phi)
    NX = np.einsum("ijbn,jckbn->ickbn", N, Xphi)
    NdG = np.einsum("ijbn,jlkbn->ilkbn", N, dM[:a, :a])
    NdGN = np.einsum("ilkbn,mlbn->imkbn", NdG, N)
    Dq = np.einsum("ijrb,jcbn->icrbn", D, q)
    crossed = [np.einsum("icrbn,icsbn->rsb", Dq[:, part], NX[:, part]) for part in (slice(0, 1), slice(1, None))]
    sums.crossed(own, deep, np.einsum("ijrb,ijsb->rsb", D, NdGN.sum(-1)) / 2, *crossed)
    TX = np.einsum("ijbn,jckbn->ickbn", state.T, Xphi)
    TG = np.einsum("ilkbn,mlbn->imkbn", np.einsum("ijbn,jlkbn->ilkbn", state.T, dM[:a, :a]), state.T)
    squares = [np.einsum("icrbn,icsbn->rsb", TX[:, part], TX[:, part]) for part in (slice(0, 1), slice(1, None))]
    sums.deep(deep, np.einsum("ijrbn,ijsbn->rsb", TG, TG) / 2, *squares)
    passed = np.einsum("icbn,idkbn->cdkbn", J, dMJ)
    return np.concatenate([-_sandwich(D, Q), passed], axis=2)


def _at_top(sums: Sums, dC: np.ndarray, mean: np.ndarray, beta_root: np.ndarray, restricted: bool) -> None:
    """Curvature of the generalised least squares fit: dC (P + 1, P + 1, K, B), mean (P + 1, B) of (beta, -1)."""
    root = beta_root.transpose(1, 2, 0)
    x = np.einsum("pib,pkb->ikb", root, np.einsum("pdkb,db->pkb", dC[:-1], mean))
    np.subtract(sums.twice_average, np.einsum("irb,isb->rsb", x, x), out=sums.twice_average)
    if restricted:
        if len(root) >= small.WIDE:
            F = np.empty((*dC.shape[2:], len(root), len(root)))
            for k, b in np.ndindex(dC.shape[2:]):
                F[k, b] = congruent(dC[:-1, :-1, k, b], beta_root[b])
            F = F.transpose(2, 3, 0, 1)
        else:
            F = np.einsum("iqkb,qjb->ijkb", np.einsum("pib,pqkb->iqkb", root, dC[:-1, :-1]), root)
        np.add(sums.expected, np.einsum("ijrb,ijsb->rsb", F, F) / 2, out=sums.expected)
