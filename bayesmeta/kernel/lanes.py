"""The two sweeps of `elimination` and their derivatives (`information`), compiled: many small matrices side by side.

The mathematics is that of the two modules, step by step. There every operation of NumPy goes through memory once for
all groups, and for few groups its call costs more than its arithmetic; here up to `LANES` groups of one data set stay
in the fastest cache through all steps, one beside the other along the last axis. Data sets never meet in a sum, so that
the numbers of one do not depend on those beside it, to the last bit.

The functions are plain until `lane_sweeps.compiled` has replaced them, since the compiler takes longer to load than all
of these. What is kept on disk goes by the time of the file of a called function alone: who changes this one touches
`lane_information` too.
"""

import numpy as np

from bayesmeta._typing import FloatArray, IntArray

LANES = 64
CALLED = ("leaf_up", "node_up", "node_down")
INNER = (
    "load",
    "load_rows",
    "gather",
    "store",
    "runs_of",
    "add_row",
    "over_lanes",
    "times",
    "crossed",
    "factorise",
    "solve",
    "logs",
    "at",
    "squares",
    "congruent",
    "whiten",
    "inflated",
    "mirrored",
)


def load(A: FloatArray, b: int, first: int, w: int, T: FloatArray) -> None:
    """The matrices of w groups, the same in T (rows, columns, LANES)."""
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            for n in range(w):
                T[i, j, n] = A[i, j, b, first + n]


def load_rows(M: FloatArray, a: int, b: int, first: int, w: int, T: FloatArray) -> None:
    """The same of the first a rows of M (rows, columns, 1, data sets, groups)."""
    for i in range(a):
        for j in range(M.shape[1]):
            for n in range(w):
                T[i, j, n] = M[i, j, 0, b, first + n]


def gather(A: FloatArray, b: int, group: IntArray, first: int, w: int, T: FloatArray) -> None:
    """The matrices of the parents of w groups."""
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            for n in range(w):
                T[i, j, n] = A[i, j, b, group[first + n]]


def store(T: FloatArray, i0: int, A: FloatArray, b: int, first: int, w: int) -> None:
    """`load` backwards, from row i0 of T."""
    for i in range(A.shape[0]):
        for j in range(A.shape[1]):
            for n in range(w):
                A[i, j, b, first + n] = T[i0 + i, j, n]


def runs_of(group: IntArray, first: int, w: int, runs: IntArray) -> int:
    """Parents of w groups, and where the groups of each end, in runs (2, LANES); how many."""
    count = 0
    for n in range(w):
        if n and group[first + n] == runs[0, count - 1]:
            runs[1, count - 1] = n + 1
        else:
            runs[0, count], runs[1, count] = group[first + n], n + 1
            count += 1
    return count


def add_row(T: FloatArray, m: int, runs: IntArray, count: int, C: FloatArray, c: int, d0: int, k: int, b: int) -> None:
    """Add m <= 4 entries of a row of w groups, T (4, LANES), to those of their parents, C[c, d0:, k, b]."""
    n = 0
    for run in range(count):
        parent, end = runs[0, run], runs[1, run]
        s0 = s1 = s2 = s3 = 0.0
        while n < end:  # four sums, so that no addition waits for the one before
            s0 += T[0, n]
            s1 += T[1, n]
            s2 += T[2, n]
            s3 += T[3, n]
            n += 1
        C[c, d0, k, b, parent] += s0
        if m > 1:
            C[c, d0 + 1, k, b, parent] += s1
        if m > 2:
            C[c, d0 + 2, k, b, parent] += s2
        if m > 3:
            C[c, d0 + 3, k, b, parent] += s3


def over_lanes(x: FloatArray, y: FloatArray, w: int, parts: FloatArray) -> float:
    """Sum of products, in eight parts side by side."""
    whole = w - w % 8
    for k in range(8):
        parts[k] = 0.0
    for first in range(0, whole, 8):
        for k in range(8):
            parts[k] += x[first + k] * y[first + k]
    s = ((parts[0] + parts[1]) + (parts[2] + parts[3])) + ((parts[4] + parts[5]) + (parts[6] + parts[7]))
    for n in range(whole, w):
        s += x[n] * y[n]
    return s


def times(A: FloatArray, d0: int, rows: int, inner: int, B: FloatArray, columns: int, w: int, out: FloatArray) -> None:
    """A B, of columns of A from d0."""
    for i in range(rows):
        for j in range(columns):
            for n in range(w):
                out[i, j, n] = A[i, d0, n] * B[0, j, n]
            for d in range(1, inner):
                for n in range(w):
                    out[i, j, n] += A[i, d0 + d, n] * B[d, j, n]


def crossed(
    A: FloatArray, i0: int, rows: int, B: FloatArray, j0: int, columns: int, inner: int, w: int, out: FloatArray
) -> None:
    """A'B of columns of A from i0 and of B from j0."""
    for i in range(rows):
        for j in range(columns):
            for n in range(w):
                out[i, j, n] = A[0, i0 + i, n] * B[0, j0 + j, n]
            for d in range(1, inner):
                for n in range(w):
                    out[i, j, n] += A[d, i0 + i, n] * B[d, j0 + j, n]


def factorise(B: FloatArray, a: int, w: int, pivots: FloatArray) -> None:
    """Lower Cholesky factors in place, their diagonals inverted; NaN where there is none. pivots: the determinants."""
    for n in range(w):
        pivots[n] = 1.0
    for j in range(a):
        for k in range(j):
            for i in range(j, a):
                for n in range(w):
                    B[i, j, n] -= B[i, k, n] * B[j, k, n]
        for n in range(w):
            pivots[n] *= B[j, j, n]
            B[j, j, n] = 1.0 / np.sqrt(B[j, j, n])
        for i in range(j + 1, a):
            for n in range(w):
                B[i, j, n] *= B[j, j, n]


def solve(B: FloatArray, a: int, X: FloatArray, columns: int, w: int) -> None:
    """X becomes R^-1 X for R of `factorise`."""
    for i in range(a):
        for c in range(columns):
            for k in range(i):
                for n in range(w):
                    X[i, c, n] -= B[i, k, n] * X[k, c, n]
            for n in range(w):
                X[i, c, n] *= B[i, i, n]


def logs(pivots: FloatArray, w: int) -> float:
    """Sum of the logarithms of numbers that are not below one."""
    total, product = 0.0, 1.0
    for n in range(w):
        product *= pivots[n]
        if not product < 1e100:
            total += np.log(product)
            product = 1.0
    return total + np.log(product)


def at(b: int, size: int) -> int:
    """Place of data set b on an axis that may be shared by all of them."""
    return b if size > 1 else 0


def leaf_up(
    EA: FloatArray, psi: FloatArray, left: FloatArray, group: IntArray, C: FloatArray, logdet: FloatArray
) -> None:
    """`elimination._leaf_up`: what the parents receive of leaves with effects is added to C.

    EA (r, a + D, data sets, n); psi (a, a, data sets); left (D, D, data sets, n) or without groups; group (n,) parents;
    C (D, D, 1, batch, parents); logdet (batch,).
    """
    r, width, data_sets, n_leaf = EA.shape
    a = psi.shape[0]
    X, B, S = np.empty((r, width, LANES)), np.empty((r, r, LANES)), np.empty((a, LANES))
    T, t, runs = np.zeros((4, LANES)), np.empty(LANES), np.empty((2, LANES), np.int64)
    for b in range(C.shape[3]):
        of, p = at(b, data_sets), at(b, psi.shape[2])
        for first in range(0, n_leaf, LANES):
            w = min(LANES, n_leaf - first)
            whiten(EA, psi, of, p, first, w, X, B, S, t)
            logdet[b] += logs(t, w)
            count = runs_of(group, first, w, runs)
            for c in range(a, width):
                for d0 in range(a, c + 1, 4):
                    m = min(4, c + 1 - d0)
                    squares(X, r, c, d0, m, w, T)
                    if left.shape[3] > 0:
                        for k in range(m):
                            for n in range(w):
                                T[k, n] += left[c - a, d0 - a + k, of, first + n]
                    add_row(T, m, runs, count, C, c - a, d0 - a, 0, b)
    mirrored(C)


def whiten(
    EA: FloatArray,
    psi: FloatArray,
    of: int,
    p: int,
    first: int,
    w: int,
    X: FloatArray,
    B: FloatArray,
    S: FloatArray,
    pivots: FloatArray,
) -> None:
    """X = R^-1 [E, A] with I + E Psi E' = R R', its determinant in pivots; B and S are places for the steps.

    It is done once more for the derivatives: that takes less time than to keep the results in memory.
    """
    load(EA, of, first, w, X)
    inflated(X, len(X), psi, p, w, S, B)
    factorise(B, len(X), w, pivots)
    solve(B, len(X), X, X.shape[1], w)


def squares(X: FloatArray, r: int, c: int, d0: int, m: int, w: int, T: FloatArray) -> None:
    """m entries of row c of X'X from column d0."""
    for k in range(m):
        for n in range(w):
            T[k, n] = X[0, c, n] * X[0, d0 + k, n]
        for i in range(1, r):
            for n in range(w):
                T[k, n] += X[i, c, n] * X[i, d0 + k, n]


def inflated(X: FloatArray, r: int, psi: FloatArray, p: int, w: int, S: FloatArray, B: FloatArray) -> None:
    """Lower triangles of I + E Psi E', E the first columns of X."""
    a = len(psi)
    for i in range(r):
        for f in range(a):
            for n in range(w):
                S[f, n] = X[i, 0, n] * psi[0, f, p]
            for e in range(1, a):
                for n in range(w):
                    S[f, n] += X[i, e, n] * psi[e, f, p]
        for j in range(i + 1):
            one = 1.0 if i == j else 0.0
            for n in range(w):
                B[i, j, n] = one + S[0, n] * X[j, 0, n]
            for f in range(1, a):
                for n in range(w):
                    B[i, j, n] += S[f, n] * X[j, f, n]


def mirrored(C: FloatArray) -> None:
    """Copy the lower triangles of C (D, D, 1, batch, groups) to the upper ones."""
    for c in range(C.shape[0]):
        for d in range(c):
            for b in range(C.shape[3]):
                for n in range(C.shape[4]):
                    C[d, c, 0, b, n] = C[c, d, 0, b, n]


def node_up(M: FloatArray, F: FloatArray, group: IntArray, S: FloatArray, C: FloatArray, logdet: FloatArray) -> None:
    """`elimination._node_up`: S (a, a + D + a), R^-1 [F'G, F'H, F'], and C - W'W of M = [[G, H], [H', C]] to parents.

    M (a + D, a + D, 1, batch, n); F (a, a, data sets), a root of Psi.
    """
    a, width, n_node = F.shape[0], M.shape[0], M.shape[4]
    X, B, t = np.empty((a, width + a, LANES)), np.empty((a, a, LANES)), np.empty(LANES)
    T, runs = np.zeros((4, LANES)), np.empty((2, LANES), np.int64)
    for b in range(M.shape[3]):
        p = at(b, F.shape[2])
        for first in range(0, n_node, LANES):
            w = min(LANES, n_node - first)
            congruent(M, F, b, p, first, w, X, B)
            if a > 0:
                factorise(B, a, w, t)
                logdet[b] += logs(t, w)
                solve(B, a, X, width + a, w)
                store(X, 0, S, b, first, w)
            count = runs_of(group, first, w, runs)
            for c in range(a, width):
                for d0 in range(a, c + 1, 4):
                    m = min(4, c + 1 - d0)
                    for k in range(m):
                        for n in range(w):
                            T[k, n] = M[c, d0 + k, 0, b, first + n]
                        for i in range(a):
                            for n in range(w):
                                T[k, n] -= X[i, c, n] * X[i, d0 + k, n]
                    add_row(T, m, runs, count, C, c - a, d0 - a, 0, b)
    mirrored(C)


def congruent(M: FloatArray, F: FloatArray, b: int, p: int, first: int, w: int, X: FloatArray, B: FloatArray) -> None:
    """X = [F'G, F'H, F'], and the lower triangles of B = I + F'GF."""
    a, width = F.shape[0], M.shape[0]
    for i in range(a):
        for c in range(width):
            for n in range(w):
                X[i, c, n] = F[0, i, p] * M[0, c, 0, b, first + n]
            for k in range(1, a):
                for n in range(w):
                    X[i, c, n] += F[k, i, p] * M[k, c, 0, b, first + n]
        for c in range(a):
            for n in range(w):
                X[i, width + c, n] = F[c, i, p]
        for j in range(i + 1):
            one = 1.0 if i == j else 0.0
            for n in range(w):
                B[i, j, n] = one + X[i, 0, n] * F[0, j, p]
            for k in range(1, a):
                for n in range(w):
                    B[i, j, n] += X[i, k, n] * F[k, j, p]


def node_down(M: FloatArray, S: FloatArray, above: FloatArray, group: IntArray, q: FloatArray, phi: FloatArray) -> None:
    """`elimination.downward_nodes`: q = N H Phi (a, c), and Phi of the children, own rows first (a + D, c + a).

    above : (D, c, data sets, parents), Phi of the ancestors and of (beta, -1).
    """
    a, c, n_node = q.shape[0], q.shape[1], q.shape[3]
    D = above.shape[0]
    P, H, W = np.empty((D, c, LANES)), np.empty((a, a + D, LANES)), np.empty((a, 2 * a + D, LANES))
    A, B = np.empty((a, c, LANES)), np.empty((a, c, LANES))
    for b in range(q.shape[2]):
        for first in range(0, n_node, LANES):
            w = min(LANES, n_node - first)
            gather(above, b, group, first, w, P)
            for i in range(D):
                for j in range(c):
                    for n in range(w):
                        phi[a + i, j, b, first + n] = P[i, j, n]
            if a == 0:
                continue
            load_rows(M, a, b, first, w, H)
            load(S, b, first, w, W)
            times(W, a, a, D, P, c, w, A)
            crossed(W, a + D, a, A, 0, c, a, w, B)
            for i in range(a):
                for j in range(c):
                    for n in range(w):
                        phi[i, j, b, first + n] = -B[i, j, n]
                for j in range(a):
                    for n in range(w):
                        phi[i, c + j, b, first + n] = W[j, a + D + i, n]
            crossed(W, 0, a, A, 0, c, a, w, B)
            times(H, a, a, D, P, c, w, A)
            for i in range(a):
                for j in range(c):
                    for n in range(w):
                        q[i, j, b, first + n] = A[i, j, n] - B[i, j, n]
