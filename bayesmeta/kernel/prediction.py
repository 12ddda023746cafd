"""Best linear unbiased predictions of the random effects with their exact prediction error covariances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.elimination import LeafState, downward_nodes, leaf_psi, leaves_times_phi, upward
from bayesmeta.kernel.leaves import Chunk
from bayesmeta.kernel.likelihood import Top, coefficients, one_data_set, pieces, solve_top
from bayesmeta.kernel.statistics import Statistics


@dataclass(frozen=True)
class RandomEffects:
    """Random effects of all groups of one level, numbered as their codes.

    mean : (a, n_groups) BLUPs.
    factor : (a, P + a_1 + .. + a_l, n_groups) square root of the prediction error covariance, jointly with beta and the
        effects of the group's ancestors: the first P columns carry the error of beta, the next a_1 the outer level's
        conditional errors, and so on.
    """

    mean: np.ndarray
    factor: np.ndarray


@dataclass(frozen=True)
class Prediction:
    """Coefficients and random effects of every level, outer to inner; beta_factor (P, P) is a root of Var(beta)."""

    beta: np.ndarray
    beta_factor: np.ndarray
    levels: tuple[RandomEffects, ...]


def random_effects(stats: Statistics, psi: Sequence[np.ndarray], top: Top | None = None) -> Prediction:
    """BLUPs at every level given Psi, by one upward and one downward sweep (exact, whatever the number of levels).

    For a row with designs x0 and z_l in groups g_l the prediction is x0 beta + sum_l z_l b_l, and its error is the
    length of the row vector x0 [beta_factor, 0] + sum_l z_l factor_l[:, :, g_l], shorter factors padded with zeros.

    top : the coefficients, where `stats` are those of a piece of the data.
    """
    full = one_data_set(stats, psi)
    up = upward(stats, full)
    top = solve_top(up.C) if top is None else top
    phi = top.phi(with_beta=True)
    own, _ = downward_nodes(stats, up, phi)
    widths = 1 + stats.n_coef + np.cumsum(stats.dims)
    levels = [np.zeros((a, int(w), g)) for a, w, g in zip(stats.dims, widths, stats.n_groups, strict=True)]
    for rows, node, level in zip(own, stats.nodes, levels, strict=False):
        level[:, :, node.group] = rows[:, :, 0]
    for chunk, state in zip(stats.chunks, up.leaves, strict=True):
        if chunk.a:
            _place(levels, stats, chunk, _leaf_phi(chunk, state, full, own, phi))
    beta, factor = coefficients(stats, top)
    return Prediction(beta[0], factor[0], tuple(RandomEffects(level[:, 0], level[:, 1:]) for level in levels))


def effects_given(
    stats: Statistics, psi: Sequence[np.ndarray], beta: np.ndarray, root: np.ndarray
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Mean and SD (B, n_groups, a_l) of all random effects of every level given y, at many Psi of one data set at once.

    Parameters
    ----------
    psi : per level (a_l, a_l, B), positive semi-definite.
    beta, root : (B, P) mean of the coefficients at every Psi, and (B, P, m) a root of their covariance, in which the
        SDs take part; zeros where the coefficients are known.
    """
    B = len(beta)
    full = [np.ascontiguousarray(p)[..., None] for p in psi[: stats.depth]]
    phi = _top(stats, beta, root)
    moments = [(np.zeros((B, g, a)), np.zeros((B, g, a))) for g, a in zip(stats.n_groups, stats.dims, strict=True)]
    width = sum(3 * chunk.EA[:, :, 0].size for chunk in stats.chunks) + sum(len(n.group) for n in stats.nodes)
    for part in pieces(B, 4 * width):
        some, top = [p[:, :, part] for p in full], phi[:, :, part]
        up = upward(stats, some)
        own, _ = downward_nodes(stats, up, top)
        for rows, node, (mean, sd) in zip(own, stats.nodes, moments, strict=False):
            _write_moments(mean[part], sd[part], node.group, rows)
        for chunk, state in zip(stats.chunks, up.leaves, strict=True):
            at, Psi = 0, leaf_psi(chunk, some)
            rows = np.concatenate(
                [leaf_mean(chunk, state, Psi, own, top), leaf_root(chunk, batched_linalg.psd_factor(Psi))], axis=1
            )
            for j in range(len(chunk.members) - 1, -1, -1):
                mean, sd = moments[chunk.parent_level + 1 + j]
                for codes in chunk.members[j]:
                    _write_moments(mean[part], sd[part], codes, rows[at : at + mean.shape[2]])
                    at += mean.shape[2]
    return moments


def combinations_given(
    stats: Statistics,
    psi: Sequence[np.ndarray],
    beta: np.ndarray,
    root: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
) -> tuple[np.ndarray, np.ndarray]:
    """Mean and SD (B, q) of x beta + sum over levels of z b_g given y, at many Psi of one data set at once.

    Parameters
    ----------
    psi, beta, root : as those of `effects_given`.
    X : (q, P). Z, groups : of the first levels, outer to inner, (q, a_l) designs and (q,) codes of the groups.
    """
    B, q, full = len(beta), len(X), [np.ascontiguousarray(p)[..., None] for p in psi[: stats.depth]]
    mean, sd = np.empty((B, q)), np.empty((B, q))
    used = range(min(len(Z), stats.depth))
    size = sum(stats.n_groups[i] * stats.dims[i] for i in used) + 2 * q
    for part in pieces(B, _width(stats, root.shape[2]) * size):
        rows = _phi_rows(stats, [p[:, :, part] for p in full], beta[part], root[part])
        total = np.zeros((_width(stats, root.shape[2]), len(beta[part]), q))
        total[0], total[1 : 1 + root.shape[2]] = beta[part] @ X.T, np.moveaxis(X @ root[part], 2, 0)
        for i in used:
            for j in range(stats.dims[i]):
                total += rows[i][j][:, :, groups[i]] * Z[i][:, j]
        mean[part], sd[part] = total[0], np.sqrt((total[1:] ** 2).sum(0))
    return mean, sd


def _width(stats: Statistics, m: int) -> int:
    """Columns of Phi at the leaves: means, errors of beta, of the upper levels, and of the leaf."""
    return 1 + m + sum(stats.dims[: len(stats.nodes)]) + max((chunk.a for chunk in stats.chunks), default=0)


def _phi_rows(stats: Statistics, psi: Sequence[np.ndarray], beta: np.ndarray, root: np.ndarray) -> list[np.ndarray]:
    """Rows of Phi (a_l, columns, B, n_groups) of every level: mean, then errors in which all rows of a group share."""
    top = _top(stats, beta, root)
    up = upward(stats, psi)
    own, _ = downward_nodes(stats, up, top)
    shape = _width(stats, root.shape[2]), len(beta)
    levels = [np.zeros((a, *shape, n)) for a, n in zip(stats.dims, stats.n_groups, strict=True)]
    for rows, node, level in zip(own, stats.nodes, levels, strict=False):
        level[:, : rows.shape[1], :, node.group] = rows
    for chunk, state in zip(stats.chunks, up.leaves, strict=True):
        at, Psi = 0, leaf_psi(chunk, psi)
        mean, factor = leaf_mean(chunk, state, Psi, own, top), leaf_root(chunk, batched_linalg.psd_factor(Psi))
        rows = np.concatenate([mean, np.broadcast_to(factor, (*factor.shape[:2], *mean.shape[2:]))], axis=1)
        for j in range(len(chunk.members) - 1, -1, -1):
            level = levels[chunk.parent_level + 1 + j]
            for codes in chunk.members[j]:
                level[:, : rows.shape[1], :, codes] = rows[at : at + len(level)]
                at += len(level)
    return levels


def _top(stats: Statistics, beta: np.ndarray, root: np.ndarray) -> np.ndarray:
    """Rows of Phi of (beta, -1) in the kernel's coordinates."""
    R, phi = stats.R[:, :, 0], np.zeros((stats.n_coef + 1, 1 + root.shape[2], len(beta), 1))
    phi[:-1, 0, :, 0] = R @ (beta - stats.beta0[:, 0]).T
    phi[:-1, 1:, :, 0] = np.moveaxis(R @ root, 0, -1)
    phi[-1, 0] = -1.0
    return phi


def _write_moments(mean: np.ndarray, sd: np.ndarray, codes: np.ndarray, rows: np.ndarray) -> None:
    """Mean and SD of effects from their rows of Phi (a, columns, B, n)."""
    mean[:, codes] = np.moveaxis(rows[:, 0], 0, -1)
    sd[:, codes] = np.moveaxis(np.sqrt((rows[:, 1:] ** 2).sum(1)), 0, -1)


def _leaf_phi(
    chunk: Chunk, state: LeafState, psi: Sequence[np.ndarray], own: Sequence[np.ndarray], top: np.ndarray
) -> np.ndarray:
    """Rows of Phi of a leaf's own effects: their means and a root of their variance given the ancestors."""
    Psi = leaf_psi(chunk, psi)
    mean = leaf_mean(chunk, state, Psi, own, top)
    return np.concatenate([mean, leaf_root(chunk, batched_linalg.psd_factor(Psi))], axis=1)[:, :, 0]


def leaf_mean(
    chunk: Chunk, state: LeafState, Psi: np.ndarray, own: Sequence[np.ndarray], top: np.ndarray
) -> np.ndarray:
    """-Psi V' W Phi (a, columns of Phi, B, n), what a leaf's own effects take from its ancestors and y."""
    if len(state.V):
        Qphi = batched_linalg.gram(state.V, leaves_times_phi(chunk, state.W, own, top))
        return -batched_linalg.transpose(batched_linalg.left(Psi, batched_linalg.transpose(Qphi)))
    width = own[len(chunk.ancestors) - 1].shape[1] if chunk.ancestors else top.shape[1]
    return np.zeros((chunk.a, width, Psi.shape[2], chunk.EA.shape[3]))


def leaf_root(chunk: Chunk, F: np.ndarray) -> np.ndarray:
    """Root (a, a, B, n) of the variance of a leaf's own effects given its ancestors, y and beta; Psi = F F'."""
    EF = batched_linalg.left(batched_linalg.transpose(F), chunk.EA[:, : chunk.a])
    return _times_inverse(F, batched_linalg.root_of_sum(EF))


def conditional_root(F: np.ndarray, information: np.ndarray) -> np.ndarray:
    """F R^-T with I + F'GF = R R', for F'GF the information that the data hold on the effects in units of F."""
    return _times_inverse(F, batched_linalg.cholesky(information + batched_linalg.identity(len(F))))


def _times_inverse(F: np.ndarray, R: np.ndarray) -> np.ndarray:
    return batched_linalg.transpose(
        batched_linalg.solve_lower(R, np.broadcast_to(batched_linalg.transpose(F), R.shape))
    )


def _place(levels: Sequence[np.ndarray], stats: Statistics, chunk: Chunk, phi: np.ndarray) -> None:
    """Write a leaf's rows to its groups; the leaf's conditional errors are first made triangular along each path."""
    above = phi.shape[1] - chunk.a
    first = chunk.parent_level + 1
    if len(chunk.members) == 1 and len(chunk.members[0]) == 1:
        levels[first][:, :, chunk.members[0][0]] = phi
        return
    offset = _offsets(chunk, stats.dims[first : stats.depth])
    for group in chunk.members[-1]:
        path: list[tuple[int, np.ndarray, np.ndarray]] = []
        codes = group
        for j in range(len(chunk.members) - 1, -1, -1):
            level = first + j
            at = offset[j] + stats.dims[level] * np.argmax(chunk.members[j] == codes, axis=0)
            path.insert(0, (level, codes, at))
            codes = stats.parents[level - 1][codes] if level else codes
        rows = np.concatenate([at + np.arange(stats.dims[level])[:, None] for level, _, at in path])
        own = phi[rows, :, np.arange(phi.shape[-1])]
        triangular = _triangular(np.moveaxis(own[..., above:], 1, 0))
        _write_path(levels, stats.dims, path, np.moveaxis(own[..., :above], 1, 0), triangular, above)


def _offsets(chunk: Chunk, dims: Sequence[int]) -> list[int]:
    """First row of every own level within the leaf, whose innermost level comes first."""
    sizes = [len(m) * d for m, d in zip(chunk.members, dims, strict=True)]
    return [sum(sizes[j + 1 :]) for j in range(len(sizes))]


def _triangular(rows: np.ndarray) -> np.ndarray:
    """Lower triangular root with non-negative diagonal of rows rows', for rows (n, s, a): (n, s, s)."""
    R = np.linalg.qr(rows.mT, mode="r")
    s = rows.shape[1]
    R = np.concatenate([R, np.zeros((len(R), s - R.shape[1], s))], axis=1)
    sign = np.where(np.diagonal(R, axis1=1, axis2=2) < 0, -1.0, 1.0)
    return np.asarray((sign[..., None] * R).mT)


def _write_path(
    levels: Sequence[np.ndarray],
    dims: Sequence[int],
    path: Sequence[tuple[int, np.ndarray, np.ndarray]],
    mean: np.ndarray,
    triangular: np.ndarray,
    above: int,
) -> None:
    at = 0
    for level, codes, _ in path:
        rows = slice(at, at + dims[level])
        width = above + at + dims[level]
        levels[level][:, :above, codes] = np.moveaxis(mean[:, rows], 0, -1)
        levels[level][:, above:width, codes] = np.moveaxis(triangular[:, rows, : at + dims[level]], 0, -1)
        at += dims[level]
