"""The recursion of `elimination` for one data set at a given beta, compiled: log-likelihoods and their gradients.

A sampler asks for one point after the other, and a call of NumPy costs more than the arithmetic of a small group. The
steps are those of `elimination`: leaves and nodes are eliminated upwards, the derivatives M_bar go downwards. One pass
gives every outer group's log-likelihood and its derivatives by beta and by every entry of every Psi.
"""

from collections.abc import Sequence

import numpy as np
from numba import carray, cfunc, njit, types

# no fastmath: what is not finite must stay so, and results must not depend on how the code was compiled
compiled = njit(fastmath=False, error_model="numpy")
_FLOATS, _INTS = types.CPointer(types.float64), types.CPointer(types.int64)


@compiled
def cholesky(A, n, singular):
    """Lower Cholesky factor in place of the lower triangle of A; where it may be singular some columns are zero."""
    for j in range(n):
        size = A[j, j]
        d = size
        for k in range(j):
            d -= A[j, k] * A[j, k]
        # rounding errors of d grow with the condition of the rows above; where it is worse Psi is no covariance matrix
        if singular and -1e-8 * size <= d <= 1e-14 * size < np.inf:
            A[j, j] = 0.0
            for i in range(j + 1, n):
                s = A[i, j]
                for k in range(j):
                    s -= A[i, k] * A[j, k]
                A[i, j] = 0.0 if s * s <= 1e-8 * size * A[i, i] else np.nan
            continue
        d = np.sqrt(d)
        A[j, j] = d
        for i in range(j + 1, n):
            s = A[i, j]
            for k in range(j):
                s -= A[i, k] * A[j, k]
            A[i, j] = s / d


@compiled
def solve_lower(L, X):
    """X becomes L^-1 X; log|L L'|."""
    logdet = 0.0
    for i in range(X.shape[0]):
        for k in range(i):
            for c in range(X.shape[1]):
                X[i, c] -= L[i, k] * X[k, c]
        for c in range(X.shape[1]):
            X[i, c] /= L[i, i]
        logdet += 2.0 * np.log(L[i, i])
    return logdet


@compiled
def fold(M0, s, u, M):
    """M of [effects, residual] from M0 of [effects, X, y], the residual being y - X u."""
    P = len(u)
    for i in range(s + 1):
        k = i if i < s else s + P
        for j in range(s):
            M[i, j] = M0[k, j]
        M[i, s] = M0[k, s + P]
        for p in range(P):
            M[i, s] -= M0[k, s + p] * u[p]
    for p in range(P):
        h = M0[s + p, s + P]
        for o in range(P):
            h -= M0[s + p, s + o] * u[o]
        for j in range(s):
            M[s, j] -= M0[s + p, j] * u[p]
        M[s, s] -= h * u[p]


@compiled
def fold_bar(M0, M_bar, s, u, u_bar):
    """Add to u_bar what `fold` makes of M_bar."""
    P = len(u)
    for p in range(P):
        h = M0[s + p, s + P]
        for o in range(P):
            h -= M0[s + p, s + o] * u[o]
        d = M_bar[s, s] * h
        for i in range(s):
            d += M_bar[i, s] * M0[i, s + p]
        u_bar[p] -= 2.0 * d


@compiled
def leaf_up(EA, psi, start, dims, block, u, q, B):
    """EA becomes R^-1 [E, A_ancestors, A_X, residual] with I + E Psi E' = R R'; log|R R'|."""
    r, y = EA.shape[0], EA.shape[1] - 1
    for i in range(r):
        for p in range(len(u)):
            EA[i, y] -= EA[i, y - len(u) + p] * u[p]
        for j in range(i + 1):
            B[i, j] = 1.0 if i == j else 0.0
        for k in range(len(block)):
            at, d, p0 = block[k, 1], dims[block[k, 0]], start[block[k, 0]]
            for f in range(d):
                s = 0.0
                for e in range(d):
                    s += EA[i, at + e] * psi[p0 + e * d + f]
                for j in range(i + 1):
                    B[i, j] += s * EA[j, at + f]
    cholesky(B, r, False)
    return solve_lower(B, EA)


@compiled
def gather(EA, a, q, V):
    """V (r, q + 1): the columns [ancestors, residual] of a leaf."""
    for i in range(EA.shape[0]):
        for k in range(q):
            V[i, k] = EA[i, a + k]
        V[i, q] = EA[i, EA.shape[1] - 1]


@compiled
def leaf_down(EA, W, C_bar, dims, start, block, a, q, u_bar, psi_bar, Q):
    """Add a leaf's derivatives by u and Psi; EA as `leaf_up` left it, W its columns, C_bar that of its parent."""
    r, x = EA.shape[0], a + q
    for i in range(r):
        t = 0.0
        for k in range(q + 1):
            t += W[i, k] * C_bar[k, q]
        for p in range(len(u_bar)):
            u_bar[p] -= 2.0 * t * EA[i, x + p]
    for e in range(a):
        for k in range(q + 1):
            Q[e, k] = 0.0
            for i in range(r):
                Q[e, k] += EA[i, e] * W[i, k]
    for n in range(len(block)):
        at, d, p0 = block[n, 1], dims[block[n, 0]], start[block[n, 0]]
        for e in range(d):
            for f in range(d):
                s = 0.0
                for i in range(r):
                    s -= 0.5 * EA[i, at + e] * EA[i, at + f]
                for k in range(q + 1):
                    for j in range(q + 1):
                        s -= Q[at + e, k] * C_bar[k, j] * Q[at + f, j]
                psi_bar[p0 + e * d + f] += s


@compiled
def node_up(M, F, K, a, w, S, T):
    """K = F (I + F'GF)^-1 F' for M = [[G, H], [H', C]]; T'T = [[K, KH], [., H'KH]]; log|I + F'GF|."""
    for i in range(a):
        for c in range(w):
            T[i, c] = F[c, i] if c < a else 0.0
            for k in range(a):
                if c >= a:
                    T[i, c] += F[k, i] * M[k, c]
        for j in range(i + 1):
            S[i, j] = 1.0 if i == j else 0.0
            for k in range(a):
                for e in range(a):
                    S[i, j] += F[k, i] * M[k, e] * F[e, j]
    cholesky(S, a, False)
    logdet = solve_lower(S, T[:a, :w])
    for i in range(w):
        for j in range(w):
            K[i, j] = 0.0
            for k in range(a):
                K[i, j] += T[k, i] * T[k, j]
    return logdet


@compiled
def node_down(M, K, M_bar, C_bar, a, w, psi_bar, p0, N):
    """M_bar from the parent's C_bar, and the derivatives by Psi of the level; K as `node_up` left it."""
    for i in range(a, w):
        for c in range(a, w):
            M_bar[i, c] = C_bar[i - a, c - a]
    for i in range(a):
        for c in range(w):
            N[i, c] = M[i, c]
            for k in range(a):
                N[i, c] -= M[i, k] * (K[k, c] if c >= a else 0.0)
        for c in range(a, w):
            t = 0.0
            for k in range(a, w):
                t -= K[i, k] * M_bar[k, c]
            M_bar[i, c] = t
            M_bar[c, i] = t
    for i in range(a):
        for j in range(a):
            G_bar, s = -0.5 * K[i, j], -0.5 * M[i, j]
            for c in range(a, w):
                G_bar -= M_bar[i, c] * K[j, c]
                for d in range(a, w):
                    s -= N[i, c] * C_bar[c - a, d - a] * N[j, d]
            for k in range(a):
                for e in range(a):
                    s += 0.5 * M[i, k] * K[k, e] * M[e, j]
            M_bar[i, j] = G_bar
            psi_bar[p0 + i * a + j] += s


@cfunc(
    types.void(*(_FLOATS,) * 4, *(_INTS,) * 6, *(_FLOATS,) * 2, _INTS),
    cache=True,
    fastmath=False,
    error_model="numpy",
)
def marginal(beta, psi, values, base, leaf, node, top, shape, block, dims, loglik, gradient, sizes):
    """Log-likelihood of every outer group and its gradient; a C function, so that its callers compile without it.

    Parameters
    ----------
    beta : (P,) in original coordinates. psi : the matrices of every level one after the other, row by row.
    values, base, leaf, node, top, shape, block, dims : of `Flat`.
    loglik : (m,), and gradient : (m, P + len(psi)), by beta and by every entry of psi taken as free, are written.
    sizes : of beta, psi, values, base, leaf, node, shape, block, dims.
    """
    size = carray(sizes, 9)
    P, m, n_node, L = size[0], size[3], size[5], size[8]
    beta, psi, values, base = carray(beta, P), carray(psi, size[1]), carray(values, size[2]), carray(base, m)
    leaf, node, top = carray(leaf, (size[4], 4)), carray(node, (n_node, 4)), carray(top, m)
    shape, block, dims = carray(shape, (size[6], 4)), carray(block, (size[7], 2)), carray(dims, L)
    loglik, gradient = carray(loglik, m), carray(gradient, (m, P + size[1]))
    start, effects = np.zeros(L + 1, np.int64), np.zeros(L + 1, np.int64)
    for i in range(L):
        start[i + 1] = start[i] + dims[i] * dims[i]
        effects[i + 1] = effects[i] + dims[i]
    u = np.zeros(P)
    for i in range(P):
        for p in range(P):
            u[i] += values[i * P + p] * (beta[p] - values[P * P + p])
    wide = effects[L] + 1
    widest = wide
    for k in range(len(shape)):
        widest = max(widest, shape[k, 0], shape[k, 1])
    A, B, F = np.zeros((widest, widest)), np.zeros((widest, widest)), np.zeros((L, wide, wide))
    for level in range(L):
        d = dims[level]
        for i in range(d):
            for j in range(i + 1):
                F[level, i, j] = psi[start[level] + i * d + j]
        cholesky(F[level], d, True)
    work = values.copy()
    M = np.zeros((n_node + m, wide, wide))
    M_bar, K = np.zeros(M.shape), np.zeros((n_node, wide, wide))
    gradient[:] = 0.0
    for n in range(n_node + m):
        s = effects[node[n, 0] + 1] if n < n_node else 0
        at, w = node[n, 3] if n < n_node else top[n - n_node], s + P + 1
        fold(values[at : at + w * w].reshape(w, w), s, u, M[n])
    loglik[:] = base
    for j in range(len(leaf)):
        kind, parent, g, at = leaf[j, 0], leaf[j, 1], leaf[j, 2], leaf[j, 3]
        r, a, q = shape[kind, 0], shape[kind, 1], effects[shape[kind, 2] + 1]
        EA = work[at : at + r * (a + q + P + 1)].reshape(r, a + q + P + 1)
        loglik[g] -= 0.5 * leaf_up(EA, psi, start, dims, block[shape[kind, 3] : shape[kind + 1, 3]], u, q, A)
        gather(EA, a, q, B)
        for k in range(q + 1):
            for c in range(q + 1):
                for i in range(r):
                    M[parent, k, c] += B[i, k] * B[i, c]
    for n in range(n_node):
        level, parent = node[n, 0], node[n, 1]
        a, w = dims[level], effects[level + 1] + 1
        loglik[node[n, 2]] -= 0.5 * node_up(M[n], F[level], K[n], a, w, A, B)
        for i in range(a, w):
            for c in range(a, w):
                M[parent, i - a, c - a] += M[n, i, c] - K[n, i, c]
    for g in range(m):
        loglik[g] -= 0.5 * M[n_node + g, 0, 0]
        M_bar[n_node + g, 0, 0] = -0.5
    for n in range(n_node + m - 1, -1, -1):
        s, g, at = 0, n - n_node, top[max(n - n_node, 0)]
        if n < n_node:
            level, g, at = node[n, 0], node[n, 2], node[n, 3]
            s, p0 = effects[level + 1], start[level]
            node_down(M[n], K[n], M_bar[n], M_bar[node[n, 1]], dims[level], s + 1, gradient[g, P:], p0, A)
        w = s + P + 1
        fold_bar(values[at : at + w * w].reshape(w, w), M_bar[n], s, u, gradient[g, :P])
    for j in range(len(leaf)):
        kind, parent, g, at = leaf[j, 0], leaf[j, 1], leaf[j, 2], leaf[j, 3]
        r, a, q = shape[kind, 0], shape[kind, 1], effects[shape[kind, 2] + 1]
        EA, blocks = (
            work[at : at + r * (a + q + P + 1)].reshape(r, a + q + P + 1),
            block[shape[kind, 3] : shape[kind + 1, 3]],
        )
        gather(EA, a, q, B)
        leaf_down(EA, B, M_bar[parent], dims, start, blocks, a, q, gradient[g, :P], gradient[g, P:], A)
    for g in range(m):
        u[:] = gradient[g, :P]
        for p in range(P):
            gradient[g, p] = 0.0
            for o in range(P):
                gradient[g, p] += values[o * P + p] * u[o]


def loglik_and_gradient(
    beta: np.ndarray, psi: np.ndarray, values: np.ndarray, base: np.ndarray, tables: Sequence[np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """`marginal` for arrays: log-likelihood (m,) of every outer group and its gradient (m, P + len(psi)).

    beta : (P,). psi : the matrices of every level one after the other, row by row. values, base, tables : of a `Flat`.
    """
    arrays = [np.ascontiguousarray(array, float) for array in (beta, psi, values, base)]
    arrays += [np.ascontiguousarray(table) for table in tables]
    sized = (*arrays[:4], *arrays[4:6], *arrays[7:])  # the third table is as long as base
    out = np.empty(len(base)), np.empty((len(base), len(beta) + len(psi)))
    given = [*arrays, *out, np.array([len(array) for array in sized], dtype=np.int64)]
    marginal.ctypes(*(a.ctypes.data_as(kind) for a, kind in zip(given, marginal.ctypes.argtypes, strict=True)))
    return out
