"""Many draws at once of what the likelihood integrates out: random effects and sampling errors.

A draw of the random effects given (beta, Psi, y) is exact: after the upward sweep every group receives the values drawn
for its ancestors and adds its own conditional mean and error. Nothing is inverted, so Psi may be zero or singular.
"""

from collections.abc import Sequence

import numpy as np

from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.elimination import NodeState, leaf_psi, times_phi, upward
from bayesmeta.kernel.layout import layout
from bayesmeta.kernel.likelihood import draws_of, matrix_first, pieces
from bayesmeta.kernel.prediction import conditional_root, leaf_mean, leaf_root
from bayesmeta.kernel.statistics import Statistics
from bayesmeta.kernel.whitening import whitener


def conditional_draws(
    stats: Statistics, psi: Sequence[np.ndarray], beta: np.ndarray, rng: np.random.Generator
) -> list[np.ndarray]:
    """One draw of all random effects from their distribution given y, for every draw of (beta, Psi).

    Parameters
    ----------
    stats : of one data set.
    psi : per level, outer to inner, (a_l, a_l) or (B, a_l, a_l), positive semi-definite.
    beta : (P,) or (B, P).

    Returns
    -------
    Per level (B, n_groups, a_l), groups numbered as their codes; jointly over all levels and groups.
    """
    draws = draws_of(stats, psi, beta)
    # Of all draws together: a factor must not depend on which draws are worked on at a time.
    factors = [batched_linalg.psd_factor(p) for p in draws.psi]
    # One normal for every effect, in the order of the result, which takes their place.
    effects = _normals(stats.n_groups, stats.dims, draws.n, rng)
    for part, some, top in draws.parts(stats):
        F = [f[:, :, part] if f.shape[2] > 1 else f for f in factors]
        _down(stats, some, F, top, [e[part] for e in effects])
    return effects


def _down(
    stats: Statistics,
    psi: Sequence[np.ndarray],
    factors: Sequence[np.ndarray],
    top: np.ndarray,
    effects: Sequence[np.ndarray],
) -> None:
    """Put draws of the effects in place of the normals; Phi is one column, the values drawn for the ancestors."""
    up = upward(stats, psi)
    own: list[np.ndarray] = []
    for level, (state, node) in enumerate(zip(up.nodes, stats.nodes, strict=True)):
        drawn = times_phi(state.W, node.ancestors, own, top)
        if len(drawn):
            z = _gather(effects[level], node.group[None])
            drawn = batched_linalg.product(_node_root(state, factors[level]), z) - batched_linalg.gram(state.T, drawn)
            scatter(effects[level], node.group[None], drawn)
        own.append(drawn)
    for chunk, leaf in zip(stats.chunks, up.leaves, strict=True):
        if chunk.a:
            own_levels = [(effects[chunk.parent_level + 1 + j], codes) for j, codes in enumerate(chunk.members)]
            z = np.concatenate([_gather(e, codes) for e, codes in reversed(own_levels)])
            drawn = batched_linalg.product(leaf_root(chunk, leaf_psi(chunk, factors)), z)
            drawn = drawn + leaf_mean(chunk, leaf, leaf_psi(chunk, psi), own, top)
            for e, codes in reversed(own_levels):
                rows = len(codes) * e.shape[2]
                scatter(e, codes, drawn[:rows])
                drawn = drawn[rows:]


def _node_root(state: NodeState, F: np.ndarray) -> np.ndarray:
    """Root (a, a, B, n) of the variance of a node's effects given its ancestors, y and beta."""
    Ft = batched_linalg.transpose(F)
    return conditional_root(F, batched_linalg.left(Ft, batched_linalg.transpose(batched_linalg.left(Ft, state.G))))


def _gather(effects: np.ndarray, codes: np.ndarray) -> np.ndarray:
    """(count * a, 1, B, n) effects of the groups (count, n) in every leaf, from (B, n_groups, a)."""
    values = effects[:, codes].transpose(1, 3, 0, 2)
    return values.reshape(len(codes) * effects.shape[2], 1, *values.shape[2:])


def scatter(effects: np.ndarray, codes: np.ndarray, values: np.ndarray) -> None:
    """The reverse of `_gather`."""
    count, n = codes.shape
    effects[:, codes] = values.reshape(count, effects.shape[2], len(effects), n).transpose(2, 0, 3, 1)


def _normals(n_groups: Sequence[int], dims: Sequence[int], B: int, rng: np.random.Generator) -> list[np.ndarray]:
    return [rng.standard_normal((B, m, a)) for m, a in zip(n_groups, dims, strict=True)]


def fresh_effects(psi: Sequence[np.ndarray], n_groups: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Random effects b ~ N(0, Psi) of new groups, per level (B, n_groups, a_l).

    Parameters
    ----------
    psi : per level (a_l, a_l) or (B, a_l, a_l), positive semi-definite.
    n_groups : how many groups each level has.
    """
    factors = [batched_linalg.psd_factor(matrix_first(p)) for p in psi]
    B = np.broadcast_shapes((1,), *(f.shape[2:3] for f in factors))[0]
    effects = _normals(n_groups, [len(f) for f in factors], B, rng)
    for F, z in zip(factors, effects, strict=True):
        F = np.broadcast_to(F, (*F.shape[:2], B, 1))
        for part in pieces(B, z[0].size):
            z[part] = np.einsum("fdb,bnd->bnf", F[:, :, part, 0], z[part])
    return effects


def sampling_errors(
    S: tuple[np.ndarray, np.ndarray, np.ndarray], n_obs: int, B: int, rng: np.random.Generator
) -> np.ndarray:
    """B draws of the errors e ~ N(0, S) of all observations: (B, n_obs).

    Parameters
    ----------
    S : values, rows and columns (nnz,) of the lower triangle of the sampling covariance.
    """
    value, row, col = S
    plan = layout([np.zeros(n_obs, np.int64)], row, col)
    white = whitener(np.atleast_2d(value), row, col, plan)
    errors = rng.standard_normal((B, n_obs))
    for rows, C in zip(white.rows, white.factors, strict=True):
        at = plan.order[rows]
        for part in pieces(B, at.size):
            z = errors[part, at].transpose(1, 0, 2)[:, None]
            errors[part, at] = batched_linalg.product(C, z)[:, 0].transpose(1, 0, 2)
    return errors


def linear_predictor(
    X: np.ndarray, Z: Sequence[np.ndarray], groups: Sequence[np.ndarray], beta: np.ndarray, b: Sequence[np.ndarray]
) -> np.ndarray:
    """X beta + the sum over levels of Z b[group], for every draw: (B, n_obs).

    Parameters
    ----------
    X : (n_obs, P).
    Z, groups, b : per level to be counted, (n_obs, a_l) designs, (n_obs,) codes and (B or 1, n_groups, a_l) effects.
    beta : (P,) or (B, P).
    """
    fixed = np.einsum("bp,np->bn", np.atleast_2d(beta), X)
    B = np.broadcast_shapes(fixed.shape[:1], *(e.shape[:1] for e in b))[0]
    result = np.array(np.broadcast_to(fixed, (B, len(X))))
    for z, code, effects in zip(Z, groups, b, strict=True):
        for part in pieces(B, z.size):
            for j in range(z.shape[1]):
                result[part] += z[:, j] * effects[part if len(effects) > 1 else slice(None), code, j]
    return result
