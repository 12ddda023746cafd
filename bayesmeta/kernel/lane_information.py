"""Second derivatives, as `information` takes them, side by side and compiled like the sweeps of `lanes`."""

from typing import NamedTuple

import numpy as np

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.kernel.lanes import LANES, add_row, at, crossed, gather, load, over_lanes, runs_of, times, whiten

CALLED = ("leaf_information", "node_information")
INNER = (
    "halves",
    "add_scores",
    "add_moments",
    "add_traces",
    "triangular",
    "one_side",
    "pass_on",
    "inverse",
    "with_levels_below",
    "change_at",
    "pass_change_on",
    "marginal",
    "scratch",
    "lower",
    "two_sided",
    "add_squares",
)


class Scratch(NamedTuple):
    """Places for what is needed for a moment, of w <= LANES groups: a row (4, LANES), a sum in parts (8,), the parents
    of the groups and their ends (2, LANES), rows D Q (a, D, LANES) and which they are (a,).
    """

    T: FloatArray
    parts: FloatArray
    runs: IntArray
    DQ: FloatArray
    which: IntArray


def halves(G: FloatArray, q: FloatArray, a: int, c: int, w: int, mean: FloatArray, rest: FloatArray) -> None:
    """Of w groups the square of the first column of q, and G / 2 less the squares of the others: lower triangles."""
    for i in range(a):
        for j in range(i + 1):
            for n in range(w):
                mean[i, j, n] = q[i, 0, n] * q[j, 0, n]
                rest[i, j, n] = 0.5 * G[i, j, n]
            for k in range(1, c):
                for n in range(w):
                    rest[i, j, n] -= q[i, k, n] * q[j, k, n]


def add_scores(G: FloatArray, mean: FloatArray, rest: FloatArray, a: int, w: int, score: FloatArray) -> None:
    """Add (mean + spread - G) / 2 to score (a, a)."""
    for i in range(a):
        for j in range(i + 1):
            s = 0.0
            for n in range(w):
                s += 0.5 * mean[i, j, n] - 0.5 * rest[i, j, n] - 0.25 * G[i, j, n]
            score[i, j] += s
            if j < i:
                score[j, i] += s


def add_moments(G: FloatArray, X: FloatArray, a: int, w: int, parts: FloatArray, moments: FloatArray) -> None:
    """Add the products of every two entries of the lower triangles of G and X to moments."""
    p = 0
    for i in range(a):
        for j in range(i + 1):
            q = 0
            for k in range(a):
                for m in range(k + 1):
                    moments[p, q] += over_lanes(G[i, j], X[k, m], w, parts)
                    q += 1
            p += 1


def add_traces(moments: FloatArray, D: FloatArray, p: int, a: int, traces: FloatArray) -> None:
    """Add the sums of tr(D_r G D_s X) over groups to traces (K, K), from the moments of G and X."""
    K = D.shape[2]
    for r in range(K):
        for i in range(a):
            for j in range(a):
                if D[i, j, r, p] == 0.0:
                    continue
                for s in range(K):
                    t = 0.0
                    for k in range(a):
                        for m in range(a):
                            if D[k, m, s, p] != 0.0:
                                t += D[k, m, s, p] * moments[triangular(j, k), triangular(m, i)]
                    traces[r, s] += D[i, j, r, p] * t


def triangular(i: int, j: int) -> int:
    """Place of an entry of a symmetric matrix among those of its lower triangle."""
    return i * (i + 1) // 2 + j if i > j else j * (j + 1) // 2 + i


def one_side(D: FloatArray, r: int, p: int, Q: FloatArray, w: int, DQ: FloatArray, which: IntArray) -> int:
    """Rows of D_r Q that are not zero, and which they are; how many."""
    rows = 0
    for i in range(Q.shape[0]):
        empty = True
        for j in range(Q.shape[0]):
            d = D[i, j, r, p]
            if d == 0.0:
                continue
            for c in range(Q.shape[1]):
                if empty:
                    for n in range(w):
                        DQ[rows, c, n] = d * Q[j, c, n]
                else:
                    for n in range(w):
                        DQ[rows, c, n] += d * Q[j, c, n]
            empty = False
        if not empty:
            which[rows] = i
            rows += 1
    return rows


def pass_on(
    D: FloatArray,
    p: int,
    Q: FloatArray,
    b: int,
    count: int,
    w: int,
    at_hand: Scratch,
    change: FloatArray,
) -> None:
    """Take Q'D_r Q off the changes of what the parents receive, lower triangles."""
    T, DQ, which = at_hand.T, at_hand.DQ, at_hand.which
    for r in range(D.shape[2]):
        rows = one_side(D, r, p, Q, w, DQ, which)
        for c in range(Q.shape[1]):
            for d0 in range(0, c + 1, 4):
                m = min(4, c + 1 - d0)
                for k in range(m):
                    for n in range(w):
                        T[k, n] = 0.0
                    for i in range(rows):
                        row = which[i]
                        for n in range(w):
                            T[k, n] -= DQ[i, c, n] * Q[row, d0 + k, n]
                add_row(T, m, at_hand.runs, count, change, c, d0, r, b)


def scratch(a: int, width: int) -> Scratch:
    T, parts, runs = np.zeros((4, LANES)), np.empty(8), np.empty((2, LANES), np.int64)
    return Scratch(T, parts, runs, np.empty((a, width, LANES)), np.empty(a, np.int64))


def leaf_information(
    EA: FloatArray,
    psi: FloatArray,
    D: FloatArray,
    phi: FloatArray,
    group: IntArray,
    average: FloatArray,
    expected: FloatArray,
    score: FloatArray,
    change: FloatArray,
) -> None:
    """`information._leaf`: traces to average and expected (K, K, batch), to score (a, a, batch), changes to parents.

    EA, psi as `leaf_up` has them; D (a, a, K, data sets); phi (D, c, batch, parents); of change (D, D, k, batch,
    parents) the first K.
    """
    r, n_leaf, a, K = EA.shape[0], EA.shape[3], D.shape[0], D.shape[2]
    width, c, s = EA.shape[1] - a, phi.shape[1], a * (a + 1) // 2
    B, S, t = np.empty((r, r, LANES)), np.empty((a, LANES)), np.empty(LANES)
    X, G, Q = np.empty((r, a + width, LANES)), np.empty((a, a, LANES)), np.empty((a, width, LANES))
    P, q = np.empty((width, c, LANES)), np.empty((a, c, LANES))
    mean, rest, moments = np.empty((a, a, LANES)), np.empty((a, a, LANES)), np.empty((2, s, s))
    at_hand = scratch(a, width)
    for b in range(phi.shape[2]):
        of, p = at(b, EA.shape[2]), at(b, D.shape[3])
        moments[:] = 0.0
        for first in range(0, n_leaf, LANES):
            w = min(LANES, n_leaf - first)
            whiten(EA, psi, of, at(b, psi.shape[2]), first, w, X, B, S, t)
            gather(phi, b, group, first, w, P)
            count = runs_of(group, first, w, at_hand.runs)
            crossed(X, 0, a, X, 0, a, r, w, G)
            crossed(X, 0, a, X, a, width, r, w, Q)
            times(Q, 0, a, width, P, c, w, q)
            halves(G, q, a, c, w, mean, rest)
            add_scores(G, mean, rest, a, w, score[:, :, b])
            if K == 0:
                continue
            add_moments(G, mean, a, w, at_hand.parts, moments[0])
            add_moments(G, rest, a, w, at_hand.parts, moments[1])
            pass_on(D, p, Q, b, count, w, at_hand, change)
        add_traces(moments[0], D, p, a, average[:, :, b])
        add_traces(moments[1], D, p, a, expected[:, :, b])


def node_information(
    M: FloatArray,
    S: FloatArray,
    q: FloatArray,
    D: FloatArray,
    above: FloatArray,
    group: IntArray,
    deep: FloatArray,
    average: FloatArray,
    expected: FloatArray,
    score: FloatArray,
    change: FloatArray,
) -> None:
    """`information._node`: the same of the groups of an upper level.

    M, S, q, above as `node_down` has them; deep (a + D, a + D, k, batch, n): changes of M by the levels below.
    average, expected : (K + k, K + k, batch).
    """
    a, c, width, n_node, K = q.shape[0], q.shape[1], above.shape[0], q.shape[3], D.shape[2]
    k, s = deep.shape[2], a * (a + 1) // 2
    W, moments, at_hand = np.empty((a, 2 * a + width, LANES)), np.empty((2, s, s)), scratch(a, width)
    G, Q, qs = np.empty((a, a, LANES)), np.empty((a, width, LANES)), np.empty((a, c, LANES))
    P, mean, rest = np.empty((width, c, LANES)), np.empty((a, a, LANES)), np.empty((a, a, LANES))
    N, J = np.empty((a, a, LANES)), np.empty((a, width, LANES))
    TX, TG = np.empty((k, a * c, LANES)), np.empty((k, a * a, LANES))
    for b in range(q.shape[2]):
        p = at(b, D.shape[3])
        moments[:] = 0.0
        for first in range(0, n_node, LANES):
            w = min(LANES, n_node - first)
            load(S, b, first, w, W)
            load(q, b, first, w, qs)
            count = runs_of(group, first, w, at_hand.runs)
            marginal(M, W, b, first, w, G, Q)
            halves(G, qs, a, c, w, mean, rest)
            add_scores(G, mean, rest, a, w, score[:, :, b])
            if K + k == 0:
                continue
            add_moments(G, mean, a, w, at_hand.parts, moments[0])
            add_moments(G, rest, a, w, at_hand.parts, moments[1])
            pass_on(D, p, Q, b, count, w, at_hand, change)
            if k > 0:
                gather(above, b, group, first, w, P)
                inverse(W, a, width, w, N, J)
                for r in range(k):
                    U = with_levels_below(deep, r, b, first, w, N, J, P, qs, W, at_hand, TX, TG, count, change, K)
                    for o in range(K):
                        for i in range(a):
                            for j in range(a):
                                average[o, K + r, b] -= 2.0 * D[i, j, o, p] * U[0, i, j]
                                expected[o, K + r, b] -= 2.0 * D[i, j, o, p] * U[1, i, j]
                add_squares(TX, TG, c, K, w, at_hand.parts, average[:, :, b], expected[:, :, b])
        add_traces(moments[0], D, p, a, average[:, :, b])
        add_traces(moments[1], D, p, a, expected[:, :, b])


def marginal(M: FloatArray, W: FloatArray, b: int, first: int, w: int, G: FloatArray, Q: FloatArray) -> None:
    """Z' Sigma^-1 Z and Z' Sigma^-1 [ancestors, X, y] with the levels from this one inwards."""
    a, width = Q.shape[0], Q.shape[1]
    crossed(W, 0, a, W, 0, a, a, w, G)
    crossed(W, 0, a, W, a, width, a, w, Q)
    for i in range(a):
        for j in range(a):
            for n in range(w):
                G[i, j, n] = M[i, j, 0, b, first + n] - G[i, j, n]
        for j in range(width):
            for n in range(w):
                Q[i, j, n] = M[i, a + j, 0, b, first + n] - Q[i, j, n]


def inverse(W: FloatArray, a: int, width: int, w: int, N: FloatArray, J: FloatArray) -> None:
    """N = (I + G Psi)^-1 and J = -K H of [F'G, F'H, F'] as `node_up` left it."""
    crossed(W, 0, a, W, a + width, a, a, w, N)
    crossed(W, a + width, a, W, a, width, a, w, J)
    for i in range(a):
        for j in range(a):
            one = 1.0 if i == j else 0.0
            for n in range(w):
                N[i, j, n] = one - N[i, j, n]
        for j in range(width):
            for n in range(w):
                J[i, j, n] = -J[i, j, n]


def with_levels_below(
    deep: FloatArray,
    r: int,
    b: int,
    first: int,
    w: int,
    N: FloatArray,
    J: FloatArray,
    P: FloatArray,
    q: FloatArray,
    W: FloatArray,
    at_hand: Scratch,
    TX: FloatArray,
    TG: FloatArray,
    count: int,
    change: FloatArray,
    K: int,
) -> FloatArray:
    """Of change r of M: what is passed on, TX and TG of `add_squares`, and U (2, a, a), of which a direction D of the
    level itself takes tr(D U) off the average and the expected information, once for either order of the two.
    """
    a, c, width = q.shape[0], q.shape[1], P.shape[0]
    dM, dMJ, U = np.empty((a + width, a + width, LANES)), np.empty((a + width, width, LANES)), np.zeros((2, a, a))
    A, B = np.empty((a, max(a, c), LANES)), np.empty((a, max(a, c), LANES))
    change_at(deep, r, b, first, w, J, dM, dMJ)
    pass_change_on(dMJ, J, w, count, at_hand, change, K + r, b)
    times(dMJ, 0, a, width, P, c, w, A)
    lower(W, a + width, a, A, c, w, TX[r])
    two_sided(W, a + width, a, dM, w, B, TG[r])
    times(N, 0, a, a, A, c, w, B)
    times(N, 0, a, a, dM, a, w, A)
    for i in range(a):
        for j in range(a):
            U[0, i, j] = over_lanes(q[j, 0], B[i, 0], w, at_hand.parts)
            for d in range(1, c):
                U[1, i, j] -= over_lanes(q[j, d], B[i, d], w, at_hand.parts)
            for d in range(a):
                U[1, i, j] += 0.5 * over_lanes(A[i, d], N[j, d], w, at_hand.parts)
    return U


def change_at(
    deep: FloatArray, r: int, b: int, first: int, w: int, J: FloatArray, dM: FloatArray, dMJ: FloatArray
) -> None:
    """Change r of M, from its lower triangle, and its product with [J, I]."""
    size, a = dM.shape[0], J.shape[0]
    for i in range(size):
        for j in range(i + 1):
            for n in range(w):
                dM[i, j, n] = deep[i, j, r, b, first + n]
                dM[j, i, n] = dM[i, j, n]
    times(dM, 0, size, a, J, size - a, w, dMJ)
    for i in range(size):
        for j in range(size - a):
            for n in range(w):
                dMJ[i, j, n] += dM[i, a + j, n]


def pass_change_on(
    dMJ: FloatArray, J: FloatArray, w: int, count: int, at_hand: Scratch, change: FloatArray, k: int, b: int
) -> None:
    """Add [J, I]' dM [J, I] to the changes of what the parents receive, at place k, lower triangles."""
    a, T = J.shape[0], at_hand.T
    for i in range(J.shape[1]):
        for j0 in range(0, i + 1, 4):
            m = min(4, i + 1 - j0)
            for o in range(m):
                for n in range(w):
                    T[o, n] = dMJ[a + i, j0 + o, n]
                for d in range(a):
                    for n in range(w):
                        T[o, n] += J[d, i, n] * dMJ[d, j0 + o, n]
            add_row(T, m, at_hand.runs, count, change, i, j0, k, b)


def lower(W: FloatArray, t0: int, a: int, A: FloatArray, c: int, w: int, out: FloatArray) -> None:
    """T A, row by row, with T the columns of W from t0."""
    for i in range(a):
        for j in range(c):
            for n in range(w):
                out[i * c + j, n] = W[i, t0, n] * A[0, j, n]
            for d in range(1, a):
                for n in range(w):
                    out[i * c + j, n] += W[i, t0 + d, n] * A[d, j, n]


def two_sided(W: FloatArray, t0: int, a: int, dM: FloatArray, w: int, A: FloatArray, out: FloatArray) -> None:
    """T dM T', row by row, of the first a rows and columns of dM."""
    times(W, t0, a, a, dM, a, w, A)
    for i in range(a):
        for j in range(a):
            for n in range(w):
                out[i * a + j, n] = A[i, 0, n] * W[j, t0, n]
            for d in range(1, a):
                for n in range(w):
                    out[i * a + j, n] += A[i, d, n] * W[j, t0 + d, n]


def add_squares(
    TX: FloatArray,
    TG: FloatArray,
    c: int,
    K: int,
    w: int,
    parts: FloatArray,
    average: FloatArray,
    expected: FloatArray,
) -> None:
    """Products of every two changes among those of the levels below; the first of c columns of TX holds means."""
    for r in range(len(TX)):
        for s in range(r + 1):
            mean = spread = logdet = 0.0
            for i in range(TX.shape[1]):
                product = over_lanes(TX[r, i], TX[s, i], w, parts)
                if i % c:
                    spread += product
                else:
                    mean += product
            for i in range(TG.shape[1]):
                logdet += over_lanes(TG[r, i], TG[s, i], w, parts)
            average[K + r, K + s] -= mean
            expected[K + r, K + s] += 0.5 * logdet + spread
            if s < r:
                average[K + s, K + r] -= mean
                expected[K + s, K + r] += 0.5 * logdet + spread
