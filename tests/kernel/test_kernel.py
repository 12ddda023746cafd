"""The kernel against full matrices."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from bayesmeta import kernel
from bayesmeta.kernel.layout import components
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import assert_close, likelihood, predicted, statistics
from tests.support.random_models import models, random_model

seeds = st.integers(0, 2**32 - 1)
either = st.booleans()


@given(models(), either)
def test_loglik(model: Model, restricted: bool) -> None:
    assert likelihood(model, restricted).loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)


@given(models(), either)
def test_coefficients(model: Model, restricted: bool) -> None:
    fit = likelihood(model, restricted)
    assert_close(fit.beta, dense.coefficients(model))
    assert_close(fit.beta_cov, dense.coefficient_covariance(model))
    assert np.array_equal(fit.beta_cov, fit.beta_cov.T)


@given(models(), either)
def test_scores(model: Model, restricted: bool) -> None:
    fit = likelihood(model, restricted, gradient=True)
    for score, expected in zip(fit.scores, dense.scores(model, restricted), strict=True):
        assert_close(score, expected, 1e-8)
        assert np.array_equal(score, score.T)


@given(models(psi="full"), either, seeds)
def test_scores_are_slopes_of_the_loglik(model: Model, restricted: bool, seed: int) -> None:
    stats, rng, h = statistics(model), np.random.default_rng(seed), 1e-3
    scores = kernel.likelihood(stats, model.psi, restricted, gradient=True).scores
    directions = [root + root.T for root in (rng.uniform(-0.5, 0.5, psi.shape) for psi in model.psi)]

    def along(step: float) -> float:
        moved = [psi + step * direction for psi, direction in zip(model.psi, directions, strict=True)]
        return float(kernel.likelihood(stats, moved, restricted).loglik)

    slope = (8 * (along(h) - along(-h)) - (along(2 * h) - along(-2 * h))) / (12 * h)
    terms = [score * direction for score, direction in zip(scores, directions, strict=True)]
    size = sum(np.abs(term).sum() for term in terms)
    assert sum(term.sum() for term in terms) == pytest.approx(slope, rel=1e-6, abs=1e-6 * size + 1e-9)


@given(models())
def test_scores_only_when_asked(model: Model) -> None:
    without, with_scores = likelihood(model, True), likelihood(model, True, gradient=True)
    assert without.scores is None
    assert with_scores.loglik == without.loglik


@given(models(), seeds)
def test_loglik_per_group(model: Model, seed: int) -> None:
    beta = dense.coefficients(model) + np.random.default_rng(seed).normal(size=model.X.shape[1])
    actual = kernel.loglik_per_group(statistics(model), model.psi, beta)
    expected = dense.loglik_per_group(model, beta)
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, rtol=1e-9, atol=1e-9)


@given(models())
def test_loglik_per_group_adds_up(model: Model) -> None:
    fit = likelihood(model, restricted=False)
    per_group = kernel.loglik_per_group(statistics(model), model.psi, fit.beta)
    assert per_group.sum() == pytest.approx(fit.loglik, rel=1e-11)


@given(models())
def test_q_statistic(model: Model) -> None:
    stats = statistics(model)
    assert stats.Q[0] == pytest.approx(dense.q_statistic(model), rel=1e-9)
    assert (stats.n_obs, stats.n_coef) == model.X.shape


@given(models())
def test_blups(model: Model) -> None:
    prediction, blups = predicted(model), dense.blups(model)
    assert_close(prediction.beta, dense.coefficients(model))
    assert_close(prediction.beta_factor @ prediction.beta_factor.T, dense.coefficient_covariance(model))
    means = [level.mean.T.ravel() for level in prediction.levels]
    assert_close(np.concatenate(means), blups)


@given(models())
def test_shapes_of_the_factors(model: Model) -> None:
    prediction, width = predicted(model), model.X.shape[1]
    for level, psi, group in zip(prediction.levels, model.psi, model.groups, strict=True):
        width += len(psi)
        assert level.mean.shape == (len(psi), group.max() + 1)
        assert level.factor.shape == (len(psi), width, group.max() + 1)


@given(models())
def test_variances_of_every_random_effect(model: Model) -> None:
    levels, P = predicted(model).levels, model.X.shape[1]
    exact = np.concatenate([(level.factor**2).sum(1).T.ravel() for level in levels])
    assert_close(exact, np.diag(dense.prediction_error(model))[P:])
    given_beta = np.concatenate([(level.factor[:, P:] ** 2).sum(1).T.ravel() for level in levels])
    assert_close(given_beta, np.diag(dense.conditional_variance(model)))


def chain(prediction: kernel.Prediction, groups: list[int]) -> FloatArray:
    """Factor of (beta, b_1, b_2, ...) of one group and its ancestors, padded with zero columns on the right."""
    factors = [prediction.beta_factor]
    factors += [level.factor[:, :, g] for level, g in zip(prediction.levels, groups, strict=True)]
    width = factors[-1].shape[1]
    return np.vstack([np.pad(factor, [(0, 0), (0, width - factor.shape[1])]) for factor in factors])


@given(models())
def test_joint_covariance_of_a_group_with_its_ancestors(model: Model) -> None:
    prediction, P = predicted(model), model.X.shape[1]
    error, conditional = dense.prediction_error(model), dense.conditional_variance(model)
    for groups in np.unique(np.column_stack(model.groups), axis=0).tolist():
        factor = chain(prediction, groups)
        effects = np.concatenate([dense.positions(model, level, g) for level, g in enumerate(groups)])
        both = np.concatenate([np.arange(P), P + effects])
        assert_close(factor @ factor.T, error[np.ix_(both, both)])
        assert_close(factor[P:, P:] @ factor[P:, P:].T, conditional[np.ix_(effects, effects)])


@given(models(), seeds)
def test_prediction_of_an_outcome_by_any_number_of_levels(model: Model, seed: int) -> None:
    prediction, rng = predicted(model), np.random.default_rng(seed)
    groups, x0 = dense.path(model, int(rng.integers(len(model.y)))), rng.normal(size=model.X.shape[1])
    z = [rng.normal(size=len(psi)) for psi in model.psi]
    for depth in range(len(groups) + 1):
        levels = list(zip(z[:depth], prediction.levels, groups, strict=False))
        mean = x0 @ prediction.beta + sum(z_l @ level.mean[:, g] for z_l, level, g in levels)
        weights = np.concatenate([x0, *z[:depth]])
        upto = kernel.Prediction(prediction.beta, prediction.beta_factor, prediction.levels[:depth])
        exact = weights @ chain(upto, groups[:depth])
        given_beta = exact[len(x0) :] - x0 @ chain(upto, groups[:depth])[: len(x0), len(x0) :]
        paper = x0 @ dense.coefficient_covariance(model) @ x0 + given_beta @ given_beta
        expected_mean, expected_variance = dense.predict(model, x0, z[:depth], groups[:depth])
        assert mean == pytest.approx(expected_mean, rel=1e-9, abs=1e-9)
        assert exact @ exact == pytest.approx(expected_variance, rel=1e-9)
        assert paper == pytest.approx(dense.predict_paper(model, x0, z[:depth], groups[:depth]), rel=1e-9)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("seed", range(4))
def test_one_outer_group(seed: int, restricted: bool) -> None:
    model = random_model(seed)
    model = model.at(groups=[np.zeros(len(model.y), int), *model.groups[1:]])
    fit = likelihood(model, restricted, gradient=True)
    assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)
    for score, expected in zip(fit.scores, dense.scores(model, restricted), strict=True):
        assert_close(score, expected, 1e-8)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("n_levels", [1, 2, 3, 4])
def test_every_row_coupled_with_every_other(n_levels: int, restricted: bool) -> None:
    model = random_model(n_levels, n_levels=n_levels, n_outcomes=2, psi="full")
    n = len(model.y)
    root = np.random.default_rng(0).normal(size=(n, 3))
    model = model.at(groups=[np.zeros(n, int), *model.groups[1:]], S=model.S + root @ root.T)
    fit = likelihood(model, restricted, gradient=True)
    assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)
    for score, expected in zip(fit.scores, dense.scores(model, restricted), strict=True):
        assert_close(score, expected, 1e-8)
    assert_close(np.concatenate([level.mean.T.ravel() for level in predicted(model).levels]), dense.blups(model))


@pytest.mark.parametrize("restricted", [False, True])
def test_a_single_row_per_outer_group_and_more_effects_than_rows(restricted: bool) -> None:
    rng, n = np.random.default_rng(5), 6
    root = rng.normal(size=(4, 4))
    X, Z = np.column_stack([np.ones(n), rng.normal(size=n)]), rng.normal(size=(n, 4))
    model = Model(rng.normal(size=n), X, [Z], [np.arange(n)], np.diag(rng.uniform(0.1, 1, n)), [root @ root.T])
    fit = likelihood(model, restricted, gradient=True)
    assert fit.loglik == pytest.approx(dense.loglik(model, restricted), rel=1e-9)
    assert_close(fit.scores[0], dense.scores(model, restricted)[0], 1e-8)
    assert_close(predicted(model).levels[0].mean.T.ravel(), dense.blups(model))


@pytest.mark.parametrize("n_levels", [1, 2, 3])
def test_errors_must_not_couple_outer_groups(n_levels: int) -> None:
    model = random_model(0, n_levels=n_levels)
    first, other = 0, int(np.flatnonzero(model.groups[0] != model.groups[0][0])[0])
    S = model.S.copy()
    S[first, other] = S[other, first] = 0.1 * np.sqrt(S[first, first] * S[other, other])
    with pytest.raises(ValueError, match="outer group"):
        statistics(model.at(S=S))


@pytest.mark.parametrize("seed", range(3))
def test_inputs_are_left_alone(seed: int) -> None:
    model = random_model(seed, errors="across")
    arrays = [model.y, model.X, *model.Z, *model.groups, *model.psi, *dense.triplet(model.S)]
    for array in arrays:
        array.flags.writeable = False
    before = [array.copy() for array in arrays]
    likelihood(model, True, gradient=True)
    predicted(model)
    for array, same in zip(arrays, before, strict=True):
        assert np.array_equal(array, same)


def test_components_are_those_of_the_graph() -> None:
    """Of complete components, in a row or scattered, which need no search, and of any graph."""
    rng = np.random.default_rng(0)
    for k in range(600):
        n = int(rng.integers(1, 30))
        if k % 2:
            block = rng.integers(0, max(1, n // 3), n)
            block = np.sort(block) if k % 4 == 1 else block
            row, col = np.nonzero(np.tril(block[:, None] == block, -1))
        else:
            row, col = rng.integers(0, n, (2, int(rng.integers(0, 2 * n))))
        graph = coo_array((np.ones(len(row), np.int8), (row, col)), shape=(n, n))
        assert np.array_equal(components(n, row, col), connected_components(graph, directed=False)[1])
