"""What must not change the kernel's answers, and several data sets at once."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta import kernel
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import assert_close, likelihood, predicted, statistics
from tests.support.random_models import models

seeds = st.integers(0, 2**32 - 1)
either = st.booleans()


def assert_same_answers(one: kernel.Likelihood, other: kernel.Likelihood) -> None:
    assert one.loglik == pytest.approx(other.loglik, rel=1e-10, abs=1e-10)
    assert_close(one.beta, other.beta)
    assert_close(one.beta_cov, other.beta_cov)


@given(models(), either, seeds)
def test_order_of_the_rows(model: Model, restricted: bool, seed: int) -> None:
    shuffled = model.rows(np.random.default_rng(seed).permutation(len(model.y)))
    one, other = (likelihood(m, restricted, gradient=True) for m in (model, shuffled))
    assert_same_answers(one, other)
    for score, same in zip(one.scores, other.scores, strict=True):
        assert_close(score, same)
    for level, same in zip(predicted(model).levels, predicted(shuffled).levels, strict=True):
        np.testing.assert_allclose(level.mean, same.mean, rtol=1e-9, atol=1e-10)
    beta = np.ones(model.X.shape[1])
    per_group = [kernel.loglik_per_group(statistics(m), m.psi, beta) for m in (model, shuffled)]
    np.testing.assert_allclose(*per_group, rtol=1e-9, atol=1e-10)


@given(models(), either, seeds)
def test_labels_of_the_groups(model: Model, restricted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    codes = [rng.permutation(int(group.max()) + 1) for group in model.groups]
    relabelled = model.at(groups=[code[group] for code, group in zip(codes, model.groups, strict=True)])
    assert_same_answers(likelihood(model, restricted), likelihood(relabelled, restricted))
    for level, same, code in zip(predicted(model).levels, predicted(relabelled).levels, codes, strict=True):
        np.testing.assert_allclose(level.mean, same.mean[:, code], rtol=1e-9, atol=1e-10)
        covariances = [np.einsum("icg,jcg->ijg", f, f) for f in (level.factor, same.factor[:, :, code])]
        np.testing.assert_allclose(*covariances, rtol=1e-9, atol=1e-10)
    beta = np.zeros(model.X.shape[1])
    per_group = [kernel.loglik_per_group(statistics(m), m.psi, beta) for m in (model, relabelled)]
    np.testing.assert_allclose(per_group[0], per_group[1][codes[0]], rtol=1e-9)


@given(models(), seeds)
def test_order_of_the_entries_of_S_and_explicit_zeros(model: Model, seed: int) -> None:
    value, row, col = dense.triplet(model.S)
    order = np.random.default_rng(seed).permutation(len(value) + 2)
    first, second = np.flatnonzero(model.groups[-1] == model.groups[-1][0])[[0, -1]]
    zero = model.S[second, first] == 0.0
    pairs = [(0.0, second, first)] * 2 if zero else []
    entries = np.array([*zip(value, row, col, strict=True), *pairs])
    entries = entries[order[order < len(entries)]]
    S = (entries[:, 0], entries[:, 1].astype(int), entries[:, 2].astype(int))
    shuffled = kernel.statistics(model.y, model.X, model.Z, model.groups, S)
    assert_same_answers(likelihood(model, True), kernel.likelihood(shuffled, model.psi, True))


@given(models(), either, seeds, st.sampled_from(["one group", "repeated", "rows"]), st.integers(0, 2))
def test_added_level_without_variance(model: Model, restricted: bool, seed: int, kind: str, dim: int) -> None:
    """A level of zero Psi, or without effects, above all, beside one of the levels or below all, changes nothing."""
    rng, n = np.random.default_rng(seed), len(model.y)
    repeated = int(rng.integers(len(model.groups)))
    at, group = {
        "one group": (0, np.zeros(n, int)),
        "repeated": (repeated, model.groups[repeated]),
        "rows": (len(model.groups), np.arange(n)),
    }[kind]
    design = rng.normal(size=(n, dim))

    def with_level(arrays: list, array: FloatArray) -> list:
        return [*arrays[:at], array, *arrays[at:]]

    Z, groups = with_level(model.Z, design), with_level(model.groups, group)
    larger = model.at(Z=Z, groups=groups, psi=with_level(model.psi, np.zeros((dim, dim))))
    one, other = (likelihood(m, restricted, gradient=True) for m in (model, larger))
    assert_same_answers(one, other)
    for score, expected in zip(other.scores, dense.scores(larger, restricted), strict=True):
        assert_close(score, expected, 1e-8)
    effects = predicted(larger).levels
    assert not effects[at].mean.any()
    assert np.abs(effects[at].factor).max(initial=0.0) == 0.0
    for level, same in zip(predicted(model).levels, effects[:at] + effects[at + 1 :], strict=True):
        np.testing.assert_allclose(level.mean, same.mean, rtol=1e-9, atol=1e-10)


def side_by_side(one: Model, other: Model) -> Model:
    """Two models with the same Psi as one data set."""
    n = len(one.y)
    S = np.zeros((n + len(other.y),) * 2)
    S[:n, :n], S[n:, n:] = one.S, other.S
    Z = [np.vstack(pair) for pair in zip(one.Z, other.Z, strict=True)]
    groups = [np.concatenate([a, b + a.max() + 1]) for a, b in zip(one.groups, other.groups, strict=True)]
    return one.at(y=np.concatenate([one.y, other.y]), X=np.vstack([one.X, other.X]), Z=Z, groups=groups, S=S)


@given(models(), seeds)
def test_independent_groups_side_by_side(model: Model, seed: int) -> None:
    rng = np.random.default_rng(seed)
    other = model.at(y=model.y + rng.normal(size=len(model.y)), X=model.X + rng.normal(size=model.X.shape))
    both, beta = side_by_side(model, other), rng.normal(size=model.X.shape[1])
    parts = [kernel.loglik_per_group(statistics(m), m.psi, beta) for m in (model, other)]
    whole = kernel.loglik_per_group(statistics(both), both.psi, beta)
    np.testing.assert_allclose(whole, np.concatenate(parts), rtol=1e-9, atol=1e-9)
    precision = [np.linalg.inv(likelihood(m, False).beta_cov) for m in (model, other, both)]
    assert_close(precision[2], precision[0] + precision[1], 1e-8)


@given(models(), either, seeds)
def test_merged_outer_groups(model: Model, restricted: bool, seed: int) -> None:
    """Outer groups put together under a level without effects: the same likelihood, counted in fewer parts."""
    m = int(model.groups[0].max()) + 1
    part = np.random.default_rng(seed).integers(0, 2, m)
    part = np.unique(part, return_inverse=True)[1]
    merged = model.at(
        Z=[np.zeros((len(model.y), 0)), *model.Z],
        groups=[part[model.groups[0]], *model.groups],
        psi=[np.zeros((0, 0)), *model.psi],
    )
    assert_same_answers(likelihood(model, restricted), likelihood(merged, restricted))
    beta = np.ones(model.X.shape[1])
    split, joined = (kernel.loglik_per_group(statistics(m), m.psi, beta) for m in (model, merged))
    np.testing.assert_allclose(joined, np.bincount(part, weights=split), rtol=1e-9, atol=1e-9)


@given(models(), either, seeds)
def test_fixed_effects_added_to_y(model: Model, restricted: bool, seed: int) -> None:
    added = np.random.default_rng(seed).normal(0, 10, model.X.shape[1])
    shifted = model.at(y=model.y + model.X @ added)
    one, other = likelihood(model, restricted), likelihood(shifted, restricted)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)
    assert_close(other.beta - added, one.beta, 1e-8)
    assert_close(other.beta_cov, one.beta_cov)
    assert statistics(shifted).Q[0] == pytest.approx(statistics(model).Q[0], rel=1e-9)
    for level, same in zip(predicted(model).levels, predicted(shifted).levels, strict=True):
        np.testing.assert_allclose(level.mean, same.mean, rtol=1e-8, atol=1e-9)


@given(models(), either, st.sampled_from([1e-6, 1e-2, 30.0, 1e5]))
def test_unit_of_y(model: Model, restricted: bool, c: float) -> None:
    scaled = model.at(y=c * model.y, S=c * c * model.S, psi=[c * c * psi for psi in model.psi])
    one, other = (likelihood(m, restricted, gradient=True) for m in (model, scaled))
    counted = len(model.y) - restricted * model.X.shape[1]
    assert other.loglik + counted * np.log(c) == pytest.approx(one.loglik, rel=1e-9, abs=1e-9)
    assert_close(other.beta / c, one.beta)
    assert_close(other.beta_cov / c**2, one.beta_cov)
    for score, same in zip(one.scores, other.scores, strict=True):
        assert_close(same * c * c, score)


@given(models(), either, seeds)
def test_other_columns_with_the_same_span(model: Model, restricted: bool, seed: int) -> None:
    P = model.X.shape[1]
    mix = np.eye(P) + 0.5 * np.tril(np.random.default_rng(seed).normal(size=(P, P)), -1)
    one, other = likelihood(model, restricted), likelihood(model.at(X=model.X @ mix), restricted)
    assert other.loglik == pytest.approx(one.loglik, rel=1e-9)
    assert_close(mix @ other.beta, one.beta, 1e-8)
    assert_close(mix @ other.beta_cov @ mix.T, one.beta_cov, 1e-8)


def assert_row_by_row(together: kernel.Likelihood, singles: list[kernel.Likelihood]) -> None:
    assert together.loglik.shape == (len(singles),)
    for name in ("loglik", "beta", "beta_cov"):
        assert_close(getattr(together, name), np.array([getattr(single, name) for single in singles]))
    for level, score in enumerate(together.scores):
        assert_close(score, np.array([single.scores[level] for single in singles]), 1e-8)


@given(models(), either, seeds)
def test_several_psi_at_once(model: Model, restricted: bool, seed: int) -> None:
    factors, stats = np.random.default_rng(seed).uniform(0, 3, 3), statistics(model)
    several = [factors[:, None, None] * psi for psi in model.psi]
    together = kernel.likelihood(stats, several, restricted, gradient=True)
    singles = [kernel.likelihood(stats, [f * psi for psi in model.psi], restricted, gradient=True) for f in factors]
    assert_row_by_row(together, singles)


@given(models(), either, seeds)
def test_several_outcomes_and_sampling_covariances_at_once(model: Model, restricted: bool, seed: int) -> None:
    rng = np.random.default_rng(seed)
    factors, (value, row, col) = rng.uniform(0.1, 5, 3), dense.triplet(model.S)
    Y, V = model.y + rng.normal(size=(3, len(model.y))), factors[:, None] * value

    def fit(y: FloatArray, v: FloatArray) -> kernel.Likelihood:
        stats = kernel.statistics(y, model.X, model.Z, model.groups, (v, row, col))
        return kernel.likelihood(stats, model.psi, restricted, gradient=True)

    for outcomes, values in ((Y, V), (Y, value), (model.y, V)):
        sets = zip(np.broadcast_to(outcomes, Y.shape), np.broadcast_to(values, V.shape), strict=True)
        assert_row_by_row(fit(outcomes, values), [fit(y, v) for y, v in sets])
