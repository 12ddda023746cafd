"""Whether one model is nested in another, and what the larger one adds: fixed effects, variances, covariances."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.same_data import in_order, within
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.specification import spec_from_tree

Variances = list[int | None]
FIXED_APART = "the fixed effects of the smaller model are no linear combinations of those of the larger one"


@dataclass(frozen=True, eq=False)
class Model:
    """One results tree with its observations in an order that does not depend on that of the data.

    X : (n_obs, rank); offset : (n_obs,); S : rows, columns and values of the sampling covariance, sorted.
    levels : those with a random part that is not zero; none for a fixed-effects fit.
    """

    X: FloatArray
    offset: FloatArray
    S: FloatArray
    levels: tuple[Level, ...]

    @classmethod
    def of(cls, tree: xr.DataTree) -> "Model":
        spec, order = spec_from_tree(tree), in_order(tree)
        kept = [] if method_of(tree).zero_psi else [v for v in spec.levels if v.varies]
        levels = tuple(
            Level(v.name, v.labels, _renumbered(v.index[order]), v.Z[order], v.effects, v.structure) for v in kept
        )
        return cls(spec.X[order], spec.offset[order], _sorted_S(spec, order), levels)


@dataclass(frozen=True)
class Addition:
    """What a larger model adds to a smaller one that is nested in it.

    coefficients : number of fixed effects more.
    parameters : number of covariance parameters more.
    variances : groups of random effects that the smaller model holds at zero, each by the number of effects that they
        may be correlated with; None for one whose null distribution is not one of a single variance.
    """

    coefficients: int
    parameters: int
    variances: tuple[int | None, ...]


def addition(small: Model, big: Model) -> Addition | str:
    """What the big model adds, or why the small one may not be nested in it, both of the same observations."""
    if reason := outside(small, big):
        return reason
    left, variances = list(small.levels), Variances()
    for level in big.levels:
        inner = next((v for v in left if np.array_equal(v.index, level.index)), None)
        more = _new_level(level) if inner is None else _more_effects(inner, level)
        if isinstance(more, str):
            return more
        variances += more
        left = [v for v in left if v is not inner]
    if left:
        return f"the groups of level '{left[0].name}' of the smaller model are no level of the larger one"
    parameters = _n_free(big.levels) - _n_free(small.levels)
    return Addition(big.X.shape[1] - small.X.shape[1], parameters, tuple(variances))


def outside(small: Model, big: Model) -> str:
    """Why the S, the offset and the fixed part of one model are not nested in another; empty when they are."""
    if not np.array_equal(small.S, big.S):
        return "they take different sampling covariances S as known"
    if not within(big.X, small.X):
        return FIXED_APART
    if not within(big.X, (small.offset - big.offset)[:, None]):
        return "their offsets differ"
    return ""


def same_random(one: Model, other: Model) -> bool:
    """Whether two models have the same levels with the same effects and structures."""
    return len(one.levels) == len(other.levels) and all(
        np.array_equal(a.index, b.index) and np.array_equal(a.Z, b.Z) and a.structure == b.structure
        for a, b in zip(one.levels, other.levels, strict=True)
    )


def _new_level(level: Level) -> Variances | str:
    """The variances of a level that the smaller model does not have."""
    if level.never_zero:
        return f"level '{level.name}' of the larger model, which the smaller one lacks, is held at a fixed matrix"
    return [0 if _one_variance(level) else None]


def _one_variance(level: Level) -> bool:
    """Whether the level has one free parameter, an SD."""
    return level.n_free == len(level.structure.zero_positions(level.dim)) == 1


def _more_effects(small: Level, big: Level) -> Variances | str:
    """The variances that one level has more than the same level of the smaller model."""
    place = _columns(small.Z, big.Z)
    if not _holds(small, big, place):
        return (
            f"whether structure '{big.structure.name}' of level '{big.name}' with effects {listing(big.effects)} holds "
            f"'{small.structure.name}' with effects {listing(small.effects)} is not known"
        )
    extra = big.dim - small.dim
    if not extra or not big.structure.n_free(big.dim):
        return []
    if extra > 1 or small.structure.n_free(small.dim) != big.structure.n_free(small.dim):
        return [None]
    return [big.structure.new_correlations(small.dim)]


def _holds(small: Level, big: Level, place: IntArray | None) -> bool:
    """Whether every Z Psi Z' of the small level is one of the big level's, as far as that is known."""
    a, b = small.structure, big.structure
    if b.unrestricted:
        return within(big.Z, small.Z)
    if place is None:
        return False
    if small.dim < big.dim:
        single = small.dim == 1 and a.n_free(1) == 1
        return b.loses_effects and (single or a.uncorrelated)
    if big.dim == 1:
        return a == b or b.n_free(1) == 1
    return b.holds(a, big.dim, bool(np.all(place == np.arange(big.dim))))


def _columns(small: FloatArray, big: FloatArray) -> IntArray | None:
    """For every column of one design its place in the other; None where a column has none."""
    same = (small[:, :, None] == big[:, None, :]).all(axis=0)
    return same.argmax(axis=1) if same.any(axis=1).all() else None


def _n_free(levels: Sequence[Level]) -> int:
    return sum(level.n_free for level in levels)


def _renumbered(codes: IntArray) -> IntArray:
    """The same groups, numbered by first appearance."""
    _, first, inverse = np.unique(codes, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)


def _sorted_S(spec: Spec, order: IntArray) -> FloatArray:
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    row, col, nonzero = place[spec.S.row], place[spec.S.col], spec.S.value != 0
    entries = np.array([np.maximum(row, col), np.minimum(row, col), spec.S.value])[:, nonzero]
    return np.asarray(entries[:, np.lexsort(entries[1::-1])])
