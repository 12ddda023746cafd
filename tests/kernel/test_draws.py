"""Many draws at once against full matrices, one draw at a time.

A draw is mean + A z with z from `standard_normal`. Zeros and unit vectors in place of z give the mean and A themselves,
so distributions are compared exactly.
"""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta import kernel
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import assert_close, statistics
from tests.support.random_models import models, random_model

seeds = st.integers(0, 2**32 - 1)


class Given:
    """In place of a generator: hands out the columns of `values` (B, N), the N normals of every draw."""

    def __init__(self, values: FloatArray) -> None:
        self.values, self.at = values, 0

    def standard_normal(self, shape: tuple[int, ...]) -> FloatArray:
        start, self.at = self.at, self.at + int(np.prod(shape[1:]))
        return self.values[:, start : self.at].reshape(shape).copy()


def mean_and_map(draw: Callable[[Any], FloatArray], n: int) -> tuple[FloatArray, FloatArray]:
    """Mean and A of draws (n + 1, N) that are made of n normals each."""
    values = draw(Given(np.vstack([np.zeros(n), np.eye(n)])))
    return values[0], (values[1:] - values[0]).T


def flat(effects: list[FloatArray]) -> FloatArray:
    """(B, N) in the order of dense.all_effects."""
    return np.concatenate([e.reshape(len(e), -1) for e in effects], axis=1)


def n_effects(model: Model) -> int:
    return sum(len(psi) * int(g.max() + 1) for psi, g in zip(model.psi, model.groups, strict=True))


def parameters(model: Model, seed: int, scales: tuple[float, ...] = (1.0, 0.0, 0.3, 20.0)) -> list[Model]:
    """The model at every draw: Psi multiplied by the scales in some order."""
    return [
        model.at(psi=[scale * psi for psi in model.psi]) for scale in np.random.default_rng(seed).permutation(scales)
    ]


def stacked(draws: list[Model]) -> list[FloatArray]:
    return [np.stack(psi) for psi in zip(*(draw.psi for draw in draws), strict=True)]


def some_beta(model: Model, seed: int, B: int) -> FloatArray:
    return dense.coefficients(model) + np.random.default_rng(seed).normal(size=(B, model.X.shape[1]))


def conditional_mean(model: Model, beta: FloatArray) -> FloatArray:
    Z, D = dense.all_effects(model)
    return D @ Z.T @ np.linalg.solve(dense.marginal_covariance(model), model.y - model.X @ beta)


def assert_conditional(model: Model, beta: FloatArray) -> None:
    """Mean and covariance of all effects together, within and between levels and groups."""
    n = n_effects(model)
    many = [np.broadcast_to(psi, (n + 1, *psi.shape)) for psi in model.psi]
    stats = statistics(model)
    mean, A = mean_and_map(lambda rng: flat(kernel.conditional_draws(stats, many, beta, rng)), n)
    assert_close(mean, conditional_mean(model, beta))
    assert_close(A @ A.T, dense.conditional_variance(model))


@given(models(), seeds)
def test_loglik_per_group_of_many_draws(model: Model, seed: int) -> None:
    draws = parameters(model, seed)
    beta = some_beta(model, seed, len(draws))
    actual = kernel.loglik_per_group(statistics(model), stacked(draws), beta)
    expected = [dense.loglik_per_group(draw, b) for draw, b in zip(draws, beta, strict=True)]
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@given(models(), seeds)
def test_what_all_draws_share_is_given_once(model: Model, seed: int) -> None:
    stats, draws = statistics(model), parameters(model, seed)
    beta = some_beta(model, seed, len(draws))
    one_beta = kernel.loglik_per_group(stats, stacked(draws), beta[0])
    expected = kernel.loglik_per_group(stats, stacked(draws), np.broadcast_to(beta[0], beta.shape))
    assert_close(one_beta, expected, 1e-11)
    one_psi = kernel.loglik_per_group(stats, model.psi, beta)
    assert_close(one_psi, [kernel.loglik_per_group(stats, model.psi, b) for b in beta], 1e-11)
    mixed = [psi if level else model.psi[level] for level, psi in enumerate(stacked(draws))]
    shape = (len(draws), len(stats.outer_group))
    assert kernel.loglik_per_group(stats, mixed, beta).shape == shape


@given(models(), seeds)
def test_mean_and_covariance_of_all_random_effects(model: Model, seed: int) -> None:
    assert_conditional(model, some_beta(model, seed, 1)[0])


@given(models(psi="singular", errors="across"), seeds)
def test_singular_psi_and_errors_that_couple_inner_groups(model: Model, seed: int) -> None:
    assert_conditional(model, some_beta(model, seed, 1)[0])


@given(models(psi="zero"), seeds)
def test_no_heterogeneity_no_effects(model: Model, seed: int) -> None:
    effects = kernel.conditional_draws(
        statistics(model), model.psi, some_beta(model, seed, 3), np.random.default_rng(seed)
    )
    assert not flat(effects).any()


@pytest.mark.parametrize("n_levels", [1, 2, 3, 4])
def test_one_outer_group_with_every_row_coupled(n_levels: int) -> None:
    model = random_model(n_levels, n_levels=n_levels, n_outcomes=2, psi="full")
    n = len(model.y)
    root = np.random.default_rng(0).normal(size=(n, 3))
    single = model.at(groups=[np.zeros(n, int), *model.groups[1:]])
    for case in (single, single.at(S=model.S + root @ root.T)):
        assert_conditional(case, some_beta(case, 1, 1)[0])


@given(models(), seeds)
def test_every_draw_has_its_own_parameters(model: Model, seed: int) -> None:
    draws = parameters(model, seed)
    beta, zeros = some_beta(model, seed, len(draws)), Given(np.zeros((len(draws), n_effects(model))))
    effects = kernel.conditional_draws(statistics(model), stacked(draws), beta, zeros)  # type: ignore[arg-type]
    for actual, draw, b in zip(flat(effects), draws, beta, strict=True):
        assert_close(actual, conditional_mean(draw, b))


@given(models(), seeds)
def test_draws_do_not_depend_on_how_many_are_worked_on_at_a_time(model: Model, seed: int) -> None:
    draws = parameters(model, seed)
    beta, stats, psi = some_beta(model, seed, len(draws)), statistics(model), stacked(draws)

    def results() -> list[FloatArray]:
        rng = np.random.default_rng(seed)
        drawn = [
            flat(kernel.conditional_draws(stats, psi, beta, rng)),
            flat(kernel.fresh_effects(psi, [3] * len(psi), rng)),
        ]
        drawn.append(kernel.sampling_errors(dense.triplet(model.S), len(model.y), len(draws), rng))
        return [*drawn, kernel.loglik_per_group(stats, psi, beta), pointwise(model, psi, beta)]

    whole = results()
    for again, before in zip(results(), whole, strict=True):
        assert np.array_equal(again, before)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importlib.import_module("bayesmeta.kernel.likelihood"), "PIECE", 1)
        for piecewise, before in zip(results(), whole, strict=True):
            assert_close(piecewise, before)


def test_a_sample_has_the_mean_and_covariance() -> None:
    model, B = random_model(11, n_levels=3, n_outcomes=2, psi="full", errors="across"), 20_000
    beta = dense.coefficients(model)
    many = np.broadcast_to(beta, (B, len(beta)))
    sample = flat(kernel.conditional_draws(statistics(model), model.psi, many, np.random.default_rng(1)))
    covariance = dense.conditional_variance(model)
    variance = np.diag(covariance)
    assert (variance > 0).any()
    error = np.abs(sample.mean(0) - conditional_mean(model, beta))
    assert np.all(error <= 5 * np.sqrt(variance / B))
    error = np.abs(np.cov(sample.T) - covariance)
    assert np.all(error <= 6 * np.sqrt((covariance**2 + np.outer(variance, variance)) / B))


def test_shapes() -> None:
    model = random_model(3, n_levels=2)
    effects = kernel.conditional_draws(
        statistics(model), model.psi, dense.coefficients(model), np.random.default_rng(0)
    )
    expected = [(1, group.max() + 1, len(psi)) for group, psi in zip(model.groups, model.psi, strict=True)]
    assert [e.shape for e in effects] == expected
    assert [e.shape for e in kernel.fresh_effects([np.zeros((0, 0))], [4], np.random.default_rng(0))] == [(1, 4, 0)]


def test_statistics_of_several_data_sets_are_refused() -> None:
    model = random_model(0)
    stats = kernel.statistics(np.stack([model.y, -model.y]), model.X, model.Z, model.groups, dense.triplet(model.S))
    with pytest.raises(ValueError, match="the statistics hold 2"):
        kernel.conditional_draws(stats, model.psi, dense.coefficients(model), np.random.default_rng(0))


@given(models(), seeds)
def test_effects_of_new_groups(model: Model, seed: int) -> None:
    n = 2 * sum(map(len, model.psi))
    many = [np.broadcast_to(psi, (n + 1, *psi.shape)) for psi in model.psi]
    mean, A = mean_and_map(lambda rng: flat(kernel.fresh_effects(many, [2] * len(many), rng)), n)
    assert not mean.any()
    new = model.at(groups=[np.arange(len(model.y)) % 2 for _ in model.groups])
    assert_close(A @ A.T, dense.all_effects(new)[1])


@given(models())
def test_sampling_errors(model: Model) -> None:
    n, triplet = len(model.y), dense.triplet(model.S)
    mean, A = mean_and_map(lambda rng: kernel.sampling_errors(triplet, n, n + 1, rng), n)
    assert not mean.any()
    assert_close(A @ A.T, model.S)


@given(models(), seeds)
def test_linear_predictor(model: Model, seed: int) -> None:
    rng, beta = np.random.default_rng(seed), some_beta(model, seed, 3)
    b = [rng.normal(size=(3, g.max() + 1, len(psi))) for g, psi in zip(model.groups, model.psi, strict=True)]
    expected = beta @ model.X.T + flat(b) @ dense.all_effects(model)[0].T
    assert_close(kernel.linear_predictor(model.X, model.Z, model.groups, beta, b), expected)
    fixed_only = kernel.linear_predictor(model.X, [], [], beta, [])
    assert_close(fixed_only, beta @ model.X.T)


def pointwise(model: Model, psi: list[FloatArray], beta: FloatArray) -> FloatArray:
    return kernel.pointwise_loglik(model.y, model.X, model.Z, model.groups, dense.triplet(model.S), psi, beta)


@given(models(), seeds)
def test_every_observation_given_the_others(model: Model, seed: int) -> None:
    draws, n = parameters(model, seed, (1.0, 0.2)), len(model.y)
    beta = some_beta(model, seed, len(draws))
    others = [np.delete(np.arange(n), j) for j in range(n)]
    expected = [
        [dense.loglik_at(draw, b) - dense.loglik_at(draw.rows(rest), b) for rest in others]
        for draw, b in zip(draws, beta, strict=True)
    ]
    assert_close(pointwise(model, stacked(draws), beta), expected, 1e-8)
    assert_close(pointwise(draws[0], draws[0].psi, beta[0]), expected[:1], 1e-8)


@pytest.mark.parametrize("by_rows", [1, 1000])
def test_observations_given_the_others_in_one_large_group(by_rows: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmeta.kernel.pointwise.BY_ROWS", by_rows)
    model = random_model(5, n_levels=2, n_outcomes=1, psi="full", n_units=40)
    model = model.at(groups=[np.zeros(len(model.y), int), model.groups[1]])
    inverse, beta = np.linalg.inv(dense.marginal_covariance(model)), some_beta(model, 0, 2)
    weighted, precision = (model.y - beta @ model.X.T) @ inverse, np.diag(inverse)
    expected = 0.5 * (np.log(precision / (2 * np.pi)) - weighted**2 / precision)
    assert_close(pointwise(model, model.psi, beta), expected)
    assert_close(pointwise(model, [np.stack([psi, psi]) for psi in model.psi], beta), expected)
