"""Random multilevel models as arrays: for the kernel's tests, small and as irregular as data can be."""

from typing import Literal, get_args

import numpy as np
from hypothesis import strategies as st

from tests.support.dense import FloatArray, IntArray, Model

Errors = Literal["diagonal", "unit", "inside", "across"]
PsiKind = Literal["full", "singular", "zero", "mixed"]


def random_model(
    seed: int,
    n_levels: int | None = None,
    n_outcomes: int | None = None,
    errors: Errors | None = None,
    psi: PsiKind | None = None,
    n_units: int | None = None,
) -> Model:
    """A model drawn from `seed`; whatever is not given is drawn too.

    errors : which rows S couples: none; those of a unit; some of an innermost group; some of an upper group.
    psi : rank of the covariances between groups; "mixed" draws it level by level.
    """
    rng = np.random.default_rng(seed)
    n_levels = n_levels or int(rng.integers(1, 5))
    k = n_outcomes or int(rng.choice([1, 1, 2, 3]))
    errors = errors or rng.choice(get_args(Errors))
    n_units = n_units or int(rng.integers(10, 45 // k + 1))
    unit, outcome = _observed(rng, n_units, k)
    groups = [_numbered(group[unit]) for group in _nested(rng, n_units, n_levels)]
    covariates = np.column_stack([np.ones(n_units), rng.normal(size=(n_units, 3))])[unit]
    X = _by_outcome(covariates[:, : int(rng.integers(1, 3))], outcome, k)
    Z = [_random_design(rng, covariates, outcome, k) for _ in groups]
    S = _sampling_covariance(rng, errors, groups, unit)
    covariances = [_psi(rng, z.shape[1], psi or "mixed") for z in Z]
    y = X @ rng.normal(3.0, 1.0, X.shape[1]) + rng.normal(0, 1.2, len(unit))
    return Model(y, X, Z, groups, S, covariances)


def models(**fixed: int | str) -> st.SearchStrategy[Model]:
    """Hypothesis strategy over `random_model`; what is given as `fixed` is not drawn."""
    drawn = {
        "seed": st.integers(0, 2**32 - 1),
        "n_levels": st.integers(1, 4),
        "n_outcomes": st.integers(1, 3),
        "errors": st.sampled_from(get_args(Errors)),
        "psi": st.sampled_from(get_args(PsiKind)),
    }
    return st.builds(random_model, **drawn | {name: st.just(value) for name, value in fixed.items()})


def _observed(rng: np.random.Generator, n_units: int, k: int) -> tuple[IntArray, IntArray]:
    """Unit and outcome of every observation, shuffled; a unit keeps at least one outcome, an outcome three units."""
    unit, outcome = np.divmod(rng.permutation(n_units * k), k)
    kept = (rng.random(len(unit)) < 0.75) | (unit % k == outcome)
    return unit[kept], outcome[kept]


def _nested(rng: np.random.Generator, n_units: int, n_levels: int) -> list[IntArray]:
    """Group of every unit at each level, outer to inner: children fall on parents at random, so many are singletons."""
    member = np.arange(n_units)
    levels: list[IntArray] = []
    for _ in range(n_levels):
        size = int(member.max()) + 1
        member = _numbered(rng.integers(0, max(2, int(0.6 * size)), size)[member])
        levels.insert(0, member)
    return levels


def _numbered(group: IntArray) -> IntArray:
    """The same groups numbered in order of first appearance."""
    codes: dict[int, int] = {}
    return np.array([codes.setdefault(int(g), len(codes)) for g in group])


def _by_outcome(columns: FloatArray, outcome: IntArray, k: int) -> FloatArray:
    """Row of predictors kron row of I_k."""
    return (columns[:, :, None] * np.eye(k)[outcome][:, None, :]).reshape(len(columns), -1)


def _random_design(rng: np.random.Generator, covariates: FloatArray, outcome: IntArray, k: int) -> FloatArray:
    """Zero to four effects; at times without the intercept, at times with a design that is zero in many rows."""
    columns = covariates if rng.random() < 0.7 else covariates[:, 1:] * (rng.random((len(outcome), 1)) < 0.7)
    return _by_outcome(columns[:, : int(rng.integers(0, 4 // k + 1))], outcome, k)


def _sampling_covariance(
    rng: np.random.Generator, errors: Errors, groups: list[IntArray], unit: IntArray
) -> FloatArray:
    sd = np.exp(rng.normal(-0.5, 0.5, len(unit)))
    blocks = {"diagonal": np.arange(len(unit)), "unit": unit, "inside": groups[-1]}
    block = blocks.get(errors, groups[int(rng.integers(0, max(1, len(groups) - 1)))])
    correlation = np.eye(len(unit))
    for b in np.unique(block):
        rows = rng.permutation(np.flatnonzero(block == b))
        # Two components side by side, and rows that stay alone, where the block is large enough.
        cut, end = sorted(rng.integers(0, len(rows) + 1, 2)) if errors in ("inside", "across") else (0, len(rows))
        for part in (rows[:cut], rows[cut:end]):
            correlation[np.ix_(part, part)] = _correlation(rng, len(part))
    return sd[:, None] * correlation * sd[None, :]


def _correlation(rng: np.random.Generator, size: int) -> FloatArray:
    """Full, or tridiagonal: connected although most pairs are not correlated."""
    if rng.random() < 0.3:
        return np.eye(size) + 0.45 * (np.eye(size, k=1) + np.eye(size, k=-1))
    root = np.column_stack([rng.normal(size=(size, 2)), np.ones(size)])
    covariance = root @ root.T + np.diag(rng.uniform(0.5, 2.0, size))
    scale = np.sqrt(np.diag(covariance))
    correlation = covariance / np.outer(scale, scale)
    return 0.5 * (correlation + correlation.T)


def _psi(rng: np.random.Generator, dim: int, kind: PsiKind) -> FloatArray:
    if kind == "mixed":
        kind = rng.choice(["full", "full", "singular", "zero"])
    rank = {"full": dim, "singular": dim // 2, "zero": 0}[kind]
    root = rng.normal(0, 0.7, (dim, rank))
    return root @ root.T + (0.1 * np.eye(dim) if kind == "full" else 0.0)
