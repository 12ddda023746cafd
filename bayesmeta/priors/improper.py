"""Flat and Jeffreys priors of SDs, and whether the posterior under them is proper.

As the SDs of a set J of effects go to infinity together, like r, the likelihood with flat coefficients integrated out
falls like r to the minus rank of their designs, as far as no flat coefficient takes their place; the flat prior adds
r^(|J| - 1) dr. So the posterior is proper if the rank exceeds |J| for every set J.

Jeffreys' prior of the one SD of a model is the root of the information about it, the coefficients taken as known
(Bodnar, Link and Elster 2016, Bayesian Anal. 11:25-45, whose reference prior it is). It falls like 1 / r, so the
tail of the posterior goes like r^-(rank + 1): proper from a rank of 1 on, with a mean from 2, and an SD from 3.
"""

from collections.abc import Sequence
from itertools import combinations

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.kernel.statistics import whitened_design
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.distributions import FLAT, IMPROPER, JEFFREYS
from bayesmeta.priors.model_priors import LevelPriors
from bayesmeta.priors.prior import Prior

MOST = 8  # SDs with flat priors
LEAST = 3  # variances that Jeffreys' prior is taken for
TINY = 1e-12  # eigenvalue, relative to the largest of all groups, that is none
DENSE = 4000  # observations up to which ranks are computed where bounds do not suffice


def with_variances(spec: Spec, level: Level, prior: Prior) -> Prior:
    """Jeffreys' prior with the variances that it depends on; any other prior as it is.

    The information about tau is sum_i 2 (tau / (v_i + tau^2))^2, with 1 / v_i the eigenvalues, over all groups, of
    K^1/2 Z'S^-1 Z K^1/2, K being Psi at tau = 1: of one effect in every group, v_i are the variances of the estimates.

    Raises
    ------
    SpecError
        For a model with another SD or a correlation, and one of fewer than three such variances.
    """
    if prior.name != JEFFREYS or prior.params:
        return prior
    others = sum(each.structure.n_tau(each.dim) for each in spec.levels) - 1
    if others or level.structure.n_rho(level.dim):
        has = f"{others + 1} SDs" if others else f"correlations, structure '{level.structure.name}'"
        raise SpecError(
            f"prior of tau[{level.name}] is Jeffreys, which is taken for the SD of a model with one SD and no"
            f" correlations: this one has {has}\n  choose HalfNormal or HalfCauchy"
        )
    variances = _variances(spec, level)
    if len(variances) < LEAST:
        groups = f"{level.n_groups} group{'s' if level.n_groups > 1 else ''}"
        raise SpecError(
            f"prior of tau[{level.name}] is Jeffreys, which takes {LEAST} groups or more, and level '{level.name}' has"
            f" {groups}: the posterior would be improper, or without an SD\n  choose HalfNormal or HalfCauchy"
        )
    return Prior(JEFFREYS, **{f"v{i + 1}": v for i, v in enumerate(variances)})


def _variances(spec: Spec, level: Level) -> FloatArray:
    K = np.asarray(level.structure.compose(np.ones(1), np.zeros(0), level.dim), float)
    size, axes = np.linalg.eigh(K)
    Z = level.Z @ (axes * np.sqrt(np.maximum(size, 0.0)))
    design = whitened_design(np.zeros((len(Z), 0)), [Z], [level.index], (spec.S.value, spec.S.row, spec.S.col))
    columns = design.columns[:, :, 0]
    information = np.zeros((level.n_groups, level.dim, level.dim))
    np.add.at(information, design.plan.codes[0], columns[:, :, None] * columns[:, None, :])
    found = np.linalg.eigvalsh(information)
    return np.asarray(1 / found[found > TINY * found.max(initial=0.0)])


def check_proper_posterior(spec: Spec, beta: Sequence[Prior], levels: Sequence[LevelPriors]) -> dict[str, str]:
    """Labels of SDs with improper priors, and the names of these.

    Raises
    ------
    SpecError
        When the posterior would be improper, or nobody knows, or under Jeffreys' prior have no mean.
    """
    flat: list[tuple[str, Level, int]] = []
    names: dict[str, str] = {}
    for level, own in zip(spec.levels, levels, strict=True):
        flat += [(own.tau_labels[j], level, j) for j, prior in enumerate(own.tau) if prior.name in IMPROPER]
        names |= {own.tau_labels[j]: prior.name for j, prior in enumerate(own.tau) if prior.name in IMPROPER}
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
                raise SpecError(_too_few(spec, {label: names[label] for label, *_ in chosen}, X.shape[1]))
    return names


def _too_few(spec: Spec, priors: dict[str, str], flat: int) -> str:
    labels = [*priors]
    also = f" with {flat} flat coefficient{'s' if flat > 1 else ''}" if flat else ""
    groups = {level.name: level.n_groups for level in spec.levels}
    level = labels[0].removeprefix("tau[").partition(",")[0].removesuffix("]")
    what = "have no mean" if JEFFREYS in priors.values() else "be improper"
    return (
        f"prior of {' and '.join(labels)} is {priors[labels[0]]}, and the posterior would {what}{also}:"
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
