"""What the data cannot tell apart: aliased coefficients, and variances that leave no trace of their own."""

import itertools
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_size, listing
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, SpecError, warn
from bayesmeta.kernel.layout import distinct
from bayesmeta.kernel.orthogonal import disjoint
from bayesmeta.model.spec import Level
from bayesmeta.structures.base import Structure

ALIASED = 1e-10  # of a column's length: what is left of it after the columns before it
FLAT = 1e-12  # eigenvalue of the scaled Gram matrix of the derivatives: a square, so 1e-6 of their length
NULL = 1e-12  # length of one level's derivatives that count as none, where its design is aliased
ABSORBED = 1e-8  # of the length of an effect's design: what the fixed part may leave of it
SATURATED = 1e-8  # what an observation's leverage lacks to 1 when the fixed part has an effect of its own for it
MOST_EFFECTS = 50  # random effects of a level: memory grows with the fourth power
MANY_FREE = 500  # free parameters whose search takes minutes
MANY_COEFFICIENTS = 48  # from which sums over pairs of them may be too large
SUMS = 3  # of every innermost group that are held at a time
NAMED = 1e-3  # an entry of Psi is named from this share of the largest change


def check_rank(X: FloatArray, coef: Sequence[str]) -> FloatArray:
    """An orthonormal basis (n, P) of the columns of X; SpecError names those that follow from columns before them."""
    n, P = X.shape
    if n < P:
        raise SpecError(
            f"more coefficients than observations: {P} coefficients, {n} observation{'s' * (n != 1)}\n"
            f"  coefficients: {listing(coef, 12)}"
        )
    length = np.linalg.norm(X, axis=0)
    scaled = X / np.where(length > 0, length, 1.0)
    indicators = disjoint(scaled)
    if indicators is not None and (np.abs(np.diag(indicators.R)) > ALIASED).all():
        return indicators.Q
    Q, R = np.linalg.qr(scaled)
    if (np.abs(np.diag(R)) > ALIASED).all():  # what is left of each column after all those before it
        return Q
    basis = np.zeros((P, 0))
    free: list[int] = []
    aliased: list[str] = []
    for j in range(P):
        left = R[:, j] - basis @ (basis.T @ R[:, j])
        left -= basis @ (basis.T @ left)  # once more: the first pass leaves the rounding of what it removed
        if np.linalg.norm(left) > ALIASED:
            basis = np.column_stack([basis, left / np.linalg.norm(left)])
            free.append(j)
        else:
            weights = np.linalg.lstsq(R[:, free], R[:, j])[0]
            others = [coef[f] for f, w in zip(free, weights, strict=True) if abs(w) > 1e-6]
            aliased.append(f"'{coef[j]}' " + (f"follows from {listing(others)}" if others else "is zero throughout"))
    if aliased:
        raise SpecError(
            f"the fixed part has aliased columns: {'; '.join(aliased)}\n"
            f"  {P} coefficients, rank {len(free)}; leave the aliased columns out of the formula"
        )
    return Q


def further(X: FloatArray, columns: FloatArray) -> list[int]:
    """Which of further columns (n, m) do not follow from those of X (n, P), of full rank, and from those before them.

    >>> further(np.array([[1.0], [1.0], [1.0]]), np.array([[2.0, 0.0, 1.0], [2.0, 1.0, 1.0], [2.0, 0.0, 2.0]]))
    [1, 2]
    """
    basis, free = _basis(X), []
    for j, column in enumerate(columns.T):
        left = column - basis @ (basis.T @ column)
        left -= basis @ (basis.T @ left)
        if np.linalg.norm(left) > ALIASED * np.linalg.norm(column):
            basis = np.column_stack([basis, left / np.linalg.norm(left)])
            free.append(j)
    return free


def check_coefficients(levels: Sequence[Level], n_coef: int) -> None:
    """SpecError where what groups pass to those they lie in, a sum for every pair of coefficients, fills the memory."""
    upper = [level for level in levels[:-1] if level.dim]
    if upper and n_coef >= MANY_COEFFICIENTS:
        n = levels[-1].n_groups
        check_size(
            8.0 * SUMS * n * (n_coef + sum(level.dim for level in upper)) ** 2,
            f"{n_coef:,} coefficients with {n:,} groups of '{levels[-1].name}' inside those of '{upper[-1].name}'",
            remedy="\n  use fewer coefficients, or random effects of one level",
        )


def check_free(structures: Mapping[str, Structure], effects: Mapping[str, Sequence[str]]) -> None:
    """SpecError for a level with more random effects, or free parameters, than can be estimated in any time."""
    for level, structure in structures.items():
        dim = len(effects[level])
        if dim > MOST_EFFECTS:
            remedy, what = "leave outcomes or predictors out, or model them in parts", "random effects"
            if structure.time is not None:
                remedy, what = f"round column '{structure.time}', which groups share then", "distinct times"
            raise SpecError(f"level '{level}' has {dim} {what}; at most {MOST_EFFECTS} can be estimated\n  {remedy}")
        n_free = structure.n_free(dim) if dim else 0
        if n_free > MANY_FREE:
            warn(
                f"the covariance of level '{level}' has {n_free} free parameters; a search among so many takes minutes"
                "\n  psi='diag' or 'cs' has fewer",
                BayesmetaWarning,
            )


def warn_without_effects(levels: Sequence[Level]) -> None:
    """Say that a model without random effects is a common-effect model, whatever its method is called."""
    if not any(level.dim for level in levels):
        warn(
            f"no random effects vary between groups of '{levels[0].name}': whatever the method, this is a "
            "common-effect model",
            AssumptionWarning,
        )


def nothing_varies(levels: Sequence[Level]) -> list[str]:
    """A sentence where every level with random effects has a Psi that is given as zero."""
    of_effects = [level for level in levels if level.dim]
    if not of_effects or any(level.varies for level in of_effects):
        return []
    names = " and ".join(f"'{level.name}'" for level in of_effects)
    return [f"psi of level {names} is given as zero: nothing varies between groups, a common-effect model"]


def unidentified(levels: Sequence[Level], X: FloatArray, basis: FloatArray | None = None) -> list[str]:
    """Sentences that say which variances and correlations the data cannot identify; empty when they can all.

    A level whose groups each have fixed effects of their own has no variance to estimate; nor has one with one group
    and an intercept that the fixed part has too; likewise a single one of its effects (`absorbed`).
    For the others the derivatives of the marginal covariance sum_l Z_l Psi_l Z_l' by all free parameters are tested
    for linear independence, at a generic point.

    basis : that of X from `check_rank`, where there is one already.
    """
    sentences, tangents = [], []
    basis = _basis(X) if basis is None else basis
    telling = ~_saturated(basis)
    for level in levels:
        if not level.n_free:
            continue
        taken = absorbed(level, X, basis)
        if taken.all():
            sentences.append(_held_sentence(f"of level '{level.name}'", level.n_groups))
            continue
        taken &= [len(level.structure.sd_positions(i, level.dim)) > 0 for i in range(level.dim)]
        for i in np.flatnonzero(taken):
            of_groups = len(distinct(level.index[level.Z[:, i] != 0]))
            sentences.append(_held_sentence(f"of {level.effects[i]} ({level.name})", of_groups))
        if telling.any():
            tangents.append(_tangents(level, telling, taken))
    entries = _flat_entries(tangents) if tangents else []
    if entries:
        sentences.append(f"the data cannot identify, or tell apart, {listing(entries)}{_alike(levels)}")
    return sentences


def _alike(levels: Sequence[Level]) -> str:
    """A line of remedy where each group of a level has a single one of the next; else empty."""
    for outer, inner in itertools.pairwise(levels):
        if outer.dim and inner.dim and outer.n_groups == inner.n_groups:
            every = f"\n  since every group of '{outer.name}' has one group of '{inner.name}'"
            return f"{every}: leave one of these levels out, or write the outer one first, '1 | outer/inner'"
    return ""


def _held_sentence(whose: str, n_groups: int) -> str:
    reason = "since the fixed part has an effect for each of its groups"
    if n_groups <= 1:
        reason = "which has one group" if n_groups else "which is zero in every row"
    ml = "by ML the likelihood rises until it is 0" if n_groups else "by ML the likelihood is flat"
    return f"the data cannot identify the variance {whose}, {reason}; REML holds it at 0, {ml}"


def absorbed(level: Level, X: FloatArray, basis: FloatArray | None = None) -> BoolArray:
    """(a,) effects that the fixed part takes up: in every group the effect's column of Z follows from those of X.

    Then Pm Z_a = 0 whatever Psi is, and the restricted likelihood says nothing about the variance of the effect.
    """
    taken = np.zeros(level.dim, bool)
    # columns of different groups have no rows in common, so that only as many as X has can follow from it
    few = [i for i in range(level.dim) if _in_at_most(X.shape[1], level, i)]
    if not few:
        return taken
    Q = _basis(X) if basis is None else basis
    for i in few:
        rows = np.flatnonzero(level.Z[:, i])
        groups, index = np.unique(level.index[rows], return_inverse=True)
        own = np.zeros((len(X), len(groups)))
        own[rows, index] = level.Z[rows, i]
        taken[i] = np.linalg.norm(own - Q @ (Q.T @ own)) <= ABSORBED * np.linalg.norm(own)
    return taken


def _in_at_most(n: int, level: Level, effect: int) -> bool:
    """Whether the column of an effect has entries in at most n groups."""
    return level.n_groups <= n or len(distinct(level.index[level.Z[:, effect] != 0])) <= n


class _Tangents(NamedTuple):
    """Derivatives of one level's Z Psi Z' by its free parameters, as Q basis_j Q' with orthonormal Q and basis.

    Q : (n, r); basis : (r * r, .).
    change : (a * a, .) what Psi does along each column of the basis, effects in units of their designs.
    silent : (a * a, .) changes of Psi that Z Psi Z' does not show.
    taken : (a,) effects that the fixed part takes up, of which this is known already.
    """

    level: Level
    Q: FloatArray
    basis: FloatArray
    change: FloatArray
    silent: FloatArray
    taken: BoolArray


def _basis(X: FloatArray) -> FloatArray:
    return np.linalg.qr(X / np.linalg.norm(X, axis=0))[0]


def _saturated(Q: FloatArray) -> BoolArray:
    """(n,) observations that the fixed part, of basis Q, fits exactly whatever they are: they tell nothing of Psi."""
    return np.asarray(np.sum(Q * Q, axis=1) > 1 - SATURATED)


def _tangents(level: Level, telling: BoolArray, taken: BoolArray) -> _Tangents:
    """telling : (n,) observations that say something about Psi."""
    a = level.dim
    Z = level.Z * telling[:, None]
    norm = np.linalg.norm(Z, axis=0)
    norm[norm == 0] = 1.0
    Q, R = np.linalg.qr(Z / norm)
    D = _derivatives(level, norm).reshape(a * a, -1)
    D /= np.linalg.norm(D, axis=0)
    seen = np.einsum("ij,jkx,lk->ilx", R, D.reshape(a, a, -1), R).reshape(len(R) ** 2, -1)
    basis, size, directions = np.linalg.svd(seen)
    aliased = len(R) < a or np.abs(np.diag(R)).min() <= ALIASED
    rank = int((size > NULL * size.max()).sum()) if aliased else len(size)
    change = D @ directions.T
    return _Tangents(level, Q, basis[:, :rank], change[:, :rank] / size[:rank], change[:, rank:], taken)


def _derivatives(level: Level, norm: FloatArray) -> FloatArray:
    """(a, a, n_free) derivatives of Psi at a generic point, effects in units of their designs."""
    a, n_free = level.dim, level.structure.n_free(level.dim)
    xi = level.structure.units(1 / norm) * np.linspace(0.6, 1.0, n_free)
    return level.structure.slopes(xi, a) * np.outer(norm, norm)[:, :, None]


def _flat_entries(levels: Sequence[_Tangents]) -> list[str]:
    """The entries of Psi that can change, alone or together, without any change of the marginal covariance."""
    gram = np.block([[a.basis.T @ _inner_products(a, b) @ b.basis for b in levels] for a in levels])
    size = np.sqrt(np.maximum(np.diag(gram), np.finfo(float).tiny))
    values, vectors = np.linalg.eigh(gram / np.outer(size, size))
    flat = vectors[:, values < FLAT] / size[:, None]
    if not (flat.size or any(t.silent.size for t in levels)):
        return []
    ends = np.cumsum([t.basis.shape[1] for t in levels])
    moves = [t.change @ part for t, part in zip(levels, np.split(flat, ends[:-1]), strict=True)]
    largest = np.max([np.abs(m).max(axis=0, initial=0.0) for m in moves], axis=0)
    names: list[str] = []
    for t, move in zip(levels, moves, strict=True):
        moved = (np.abs(move) > NAMED * largest).any(axis=1) | (np.abs(t.silent) > NAMED).any(axis=1)
        open_ = np.outer(~t.taken, ~t.taken)
        names += _entry_names(t.level, moved.reshape(t.level.dim, -1) & open_)
    return names


def _inner_products(a: _Tangents, b: _Tangents) -> FloatArray:
    """(r_a r_a, r_b r_b) Frobenius products of Q_a E Q_a' and Q_b F Q_b' for unit E and F, within the inner groups."""
    inner = max(a.level, b.level, key=lambda level: level.n_groups)
    n_a, n_b = a.Q.shape[1], b.Q.shape[1]
    M = np.empty((inner.n_groups, n_a, n_b))
    for i, j in np.ndindex(n_a, n_b):
        M[:, i, j] = np.bincount(inner.index, a.Q[:, i] * b.Q[:, j], inner.n_groups)
    flat = M.reshape(inner.n_groups, -1)
    products = (flat.T @ flat).reshape(n_a, n_b, n_a, n_b)
    return products.transpose(0, 2, 1, 3).reshape(n_a * n_a, n_b * n_b)


def _entry_names(level: Level, moved: BoolArray) -> list[str]:
    def name(i: int, j: int) -> str:
        if i == j:
            return f"the variance of {level.effects[i]} ({level.name})"
        return f"the covariance of {level.effects[j]} and {level.effects[i]} ({level.name})"

    if level.structure.own_parameters:  # one correlation of all, and mostly one variance
        shared = (
            [f"the variance ({level.name})"] if level.structure.n_tau(level.dim) == 1 and moved.diagonal().any() else []
        )
        own = [] if shared else [name(i, i) for i in np.flatnonzero(moved.diagonal()).tolist()]
        return [*shared, *own, *[f"the correlation over time ({level.name})"] * bool(np.tril(moved, -1).any())]
    return [name(i, j) for i, j in zip(*map(np.ndarray.tolist, np.tril_indices(level.dim)), strict=True) if moved[i, j]]
