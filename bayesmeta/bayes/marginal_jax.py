"""The recursion of `kernel.compiled` in JAX: vectorised over the leaves of one shape and the nodes of one level."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.linalg import solve_triangular

from bayesmeta._typing import IntArray
from bayesmeta.kernel.flat import Flat

TOP = -1  # level of what has no effects above it


def evaluation(flat: Flat) -> Callable[[Any, Any, Any, Any], tuple[Any, Any]]:
    """A function of (beta, psi, values, base), the inputs of `MarginalLoglik`, that JAX compiles and differentiates.

    It returns the log-likelihood (m,) of every outer group and its gradient (m, P + len(psi)). The gradient takes one
    reverse pass in which every outer group has its own copy of beta and psi; XLA leaves it out where nobody reads it.
    """
    loglik = _loglik(flat)

    def evaluate(beta: Any, psi: Any, values: Any, base: Any) -> tuple[Any, Any]:
        betas, psis = (jnp.broadcast_to(x, (len(flat.base), len(x))) for x in (beta, psi))
        slopes = jax.grad(lambda betas, psis: loglik(betas, psis, values, base).sum(), argnums=(0, 1))(betas, psis)
        # the determinant alone does not tell: of two negative factors it is positive
        possible = jnp.stack([_is_covariance(p) for p in _matrices(flat.dims, psi[None])] or [jnp.array(True)]).all()
        return jnp.where(possible, loglik(betas, psis, values, base), jnp.nan), jnp.concatenate(slopes, axis=1)

    return evaluate


def _loglik(flat: Flat) -> Callable[[Any, Any, Any, Any], Any]:
    """The log-likelihoods (m,) given beta (m, P) and psi (m, len(psi)), a row for each outer group."""
    depth = len(flat.dims)
    effects = np.cumsum([0, *flat.dims])

    def loglik(beta: Any, psi: Any, values: Any, base: Any) -> Any:
        P = beta.shape[1]
        R, beta0 = values[: P * P].reshape(P, P), values[P * P : P * P + P]
        u = (beta - beta0) @ R.T
        matrices = _matrices(flat.dims, psi)
        M = {TOP: _folded(_blocks(values, flat.top, P + 1, P + 1), u)}
        of_level = {level: np.flatnonzero(flat.node[:, 0] == level) for level in range(depth)}
        for level, rows in of_level.items():
            if len(rows):
                width = int(effects[level + 1]) + P + 1
                M[level] = _folded(_blocks(values, flat.node[rows, 3], width, width), u[flat.node[rows, 2]])
        # nodes of one level stand together; outer groups come after all of them
        first = {TOP: len(flat.node)} | {level: int(rows[0]) for level, rows in of_level.items() if len(rows)}
        total = base
        for kind in range(len(flat.shape) - 1):
            table = flat.leaf[flat.leaf[:, 0] == kind]
            level, outer = int(flat.shape[kind, 2]), table[:, 2]
            logdet, C = _leaves(flat, kind, values, table, matrices, u[outer], int(effects[level + 1]))
            total = total.at[outer].add(-0.5 * logdet)
            M[level] = M[level].at[table[:, 1] - first[level]].add(C)
        for level in range(depth - 1, -1, -1):
            if level in M:
                table = flat.node[of_level[level]]
                logdet, C = _nodes(M[level], matrices[level][table[:, 2]])
                total = total.at[table[:, 2]].add(-0.5 * logdet)
                # a parent is a node of the next level out that has nodes, or an outer group
                above = level - 1 if level else TOP
                M[above] = M[above].at[table[:, 1] - first[above]].add(C)
        return total - 0.5 * M[TOP][:, 0, 0]

    return loglik


def _matrices(dims: IntArray, psi: Any) -> list[Any]:
    """Psi (n, a, a) of every level from (n, len(psi)); symmetric, so that derivatives by mirror images are equal."""
    matrices, at = [], 0
    for a in dims.tolist():
        matrix = psi[:, at : at + a * a].reshape(len(psi), a, a)
        matrices.append((matrix + matrix.swapaxes(1, 2)) / 2)
        at += a * a
    return matrices


def _is_covariance(psi: Any) -> Any:
    """Whether (1, a, a) is positive semi-definite, but for rounding."""
    if not psi.shape[1]:
        return jnp.array(True)
    values = jnp.linalg.eigvalsh(jax.lax.stop_gradient(psi))
    return (values[0, 0] >= -1e-8 * values[0, -1]) & jnp.isfinite(values).all()


def _blocks(values: Any, start: IntArray, rows: int, columns: int) -> Any:
    """(n, rows, columns) matrices that begin at `start`."""
    return values[start[:, None] + np.arange(rows * columns)].reshape(len(start), rows, columns)


def _folded(M: Any, u: Any) -> Any:
    """(n, s + 1, s + 1) of [effects, residual] from (n, s + P + 1, s + P + 1) of [effects, X, y]."""
    P = u.shape[1]
    s = M.shape[1] - P - 1
    residual = M[:, :, -1] - jnp.einsum("nip,np->ni", M[:, :, s : s + P], u)
    last = residual[:, -1] - (residual[:, s : s + P] * u).sum(1)
    column = residual[:, :s, None]
    return jnp.block([[M[:, :s, :s], column], [column.swapaxes(1, 2), last[:, None, None]]])


def _leaves(
    flat: Flat, kind: int, values: Any, table: IntArray, matrices: list[Any], u: Any, q: int
) -> tuple[Any, Any]:
    """log|I + E Psi E'| (n,), and what the leaves of one shape add to their parents (n, q + 1, q + 1)."""
    r, a, _, block = flat.shape[kind]
    P = u.shape[1]
    EA = _blocks(values, table[:, 3], int(r), int(a + q + P + 1))
    residual = EA[:, :, -1] - jnp.einsum("nip,np->ni", EA[:, :, a + q : a + q + P], u)
    W = jnp.concatenate([EA[:, :, a : a + q], residual[:, :, None]], axis=2)
    B = jnp.eye(r)[None]
    for level, at in flat.block[block : flat.shape[kind + 1, 3]]:
        E = EA[:, :, at : at + flat.dims[level]]
        B = B + E @ matrices[level][table[:, 2]] @ E.swapaxes(1, 2)
    L = jnp.linalg.cholesky(jnp.broadcast_to(B, (len(table), r, r)))
    W = solve_triangular(L, W, lower=True)
    return 2 * jnp.log(jnp.diagonal(L, axis1=1, axis2=2)).sum(1), W.swapaxes(1, 2) @ W


def _nodes(M: Any, psi: Any) -> tuple[Any, Any]:
    """log|I + G Psi| (n,) and C - H'KH, K = Psi (I + G Psi)^-1, for M = [[G, H], [H', C]]."""
    a = psi.shape[1]
    G, H, C = M[:, :a, :a], M[:, :a, a:], M[:, a:, a:]
    if not a:
        return jnp.zeros(len(M)), C
    A = jnp.eye(a) + G @ psi
    sign, logdet = jnp.linalg.slogdet(A)
    return jnp.where(sign > 0, logdet, jnp.nan), C - H.swapaxes(1, 2) @ psi @ jnp.linalg.solve(A, H)
