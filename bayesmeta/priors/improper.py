"""Flat priors of SDs, and whether the posterior under them is proper.

As the SDs of a set J of effects go to infinity together, like r, the likelihood with flat coefficients integrated out
falls like r to the minus rank of their designs, as far as no flat coefficient takes their place; the flat prior adds
r^(|J| - 1) dr. So the posterior is proper if the rank exceeds |J| for every set J.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.distributions import FLAT, HALF_FLAT
from bayesmeta.priors.model_priors import LevelPriors
from bayesmeta.priors.prior import Prior

MOST = 8  # SDs with flat priors
DENSE = 4000  # observations up to which ranks are computed where bounds do not suffice


def check_proper_posterior(spec: Spec, beta: Sequence[Prior], levels: Sequence[LevelPriors]) -> list[str]:
    """Labels of SDs with flat priors.

    Raises
    ------
    SpecError
        When the posterior would be improper, or nobody knows.
    """
    flat: list[tuple[str, Level, int]] = []
    for level, own in zip(spec.levels, levels, strict=True):
        flat += [(own.tau_labels[j], level, j) for j, prior in enumerate(own.tau) if prior == HALF_FLAT]
    for label, level, _ in flat:
        if level.structure.n_rho(level.dim):
            raise SpecError(
                f"prior of {label} is HalfFlat, which is improper, and taken for SDs without correlations alone:"
                f" structure '{level.structure.name}' has some\n  choose HalfNormal or HalfCauchy, or psi='diag'"
            )
    if len(flat) > MOST:
        raise SpecError(f"{len(flat)} SDs have the prior HalfFlat, more than {MOST}\n  choose HalfNormal or HalfCauchy")
    X = spec.X[:, [prior == FLAT for prior in beta]]
    for size in range(1, len(flat) + 1):
        for chosen in combinations(flat, size):
            if not _proper(spec, X, [(level, j) for _, level, j in chosen]):
                raise SpecError(_too_few(spec, [label for label, *_ in chosen], X.shape[1]))
    return [label for label, *_ in flat]


def _too_few(spec: Spec, labels: Sequence[str], flat: int) -> str:
    also = f" with {flat} flat coefficient{'s' if flat > 1 else ''}" if flat else ""
    groups = {level.name: level.n_groups for level in spec.levels}
    level = labels[0].removeprefix("tau[").partition(",")[0].removesuffix("]")
    return (
        f"prior of {' and '.join(labels)} is HalfFlat, and the posterior would be improper{also}:"
        f" {groups[level]} group{'s' if groups[level] > 1 else ''} of level '{level}' cannot bound an SD\n"
        "  choose HalfNormal or HalfCauchy"
    )


def _proper(spec: Spec, X: FloatArray, chosen: Sequence[tuple[Level, int]]) -> bool:
    """Whether the rank of the designs of these SDs, beyond flat coefficients, exceeds their number."""
    least = max(_groups_with_effect(level, j) for level, j in chosen) - X.shape[1]
    if least > len(chosen):
        return True
    if len(spec.y) > DENSE:
        return False
    Z = np.concatenate([_design(level, j) for level, j in chosen], axis=1)
    both = np.linalg.matrix_rank(np.concatenate([Z, X], axis=1))
    taken = np.linalg.matrix_rank(X) if X.shape[1] else 0
    return bool(both - taken > len(chosen))


def _columns(level: Level, j: int) -> slice:
    """The effects that an SD serves."""
    return slice(j, j + 1) if level.structure.n_tau(level.dim) > 1 else slice(None)


def _groups_with_effect(level: Level, j: int) -> int:
    some = (level.Z[:, _columns(level, j)] != 0).any(1)
    return len(np.unique(level.index[some]))


def _design(level: Level, j: int) -> FloatArray:
    """(n_obs, groups times effects) entries of Z in a block of columns for each group."""
    Z = level.Z[:, _columns(level, j)]
    n, a = Z.shape
    wide = np.zeros((n, level.n_groups, a))
    wide[np.arange(n), level.index] = Z
    return wide.reshape(n, -1)
