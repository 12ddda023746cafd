"""The kernel where doubles run out first, against the same formulas with sixty digits."""

from itertools import count

import numpy as np
import pytest
from numpy.typing import ArrayLike

from bayesmeta import kernel
from tests.support import dense
from tests.support.dense import Model
from tests.support.kernel_calls import statistics
from tests.support.random_models import Errors, random_model

either = pytest.mark.parametrize("restricted", [False, True])


def assert_loglik(model: Model, restricted: bool, tolerance: float = 1e-9) -> None:
    expected = float(dense.loglik_mp(model, restricted))
    actual = kernel.likelihood(statistics(model), model.psi, restricted).loglik
    assert actual == pytest.approx(expected, rel=tolerance, abs=tolerance)


def assert_coefficients(model: Model, restricted: bool, tolerance: float = 1e-9) -> None:
    """In standard errors, and relative to the coefficients themselves."""
    fit, (beta, covariance) = kernel.likelihood(statistics(model), model.psi, restricted), dense.coefficients_mp(model)
    se = np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.beta, beta, rtol=tolerance, atol=0.0)
    np.testing.assert_allclose(fit.beta / se, beta / se, rtol=0.0, atol=1e3 * tolerance)
    np.testing.assert_allclose(fit.beta_cov / np.outer(se, se), covariance / np.outer(se, se), atol=tolerance)


def assert_scores(model: Model, restricted: bool, tolerance: float = 1e-6) -> None:
    """Each entry in units of the standard deviations it belongs to."""
    scores = kernel.likelihood(statistics(model), model.psi, restricted, gradient=True).scores
    for score, expected, psi in zip(scores, dense.scores_mp(model, restricted), model.psi, strict=True):
        unit = np.sqrt(np.outer(np.diag(psi), np.diag(psi)))
        assert_relative_to_largest(score * unit, expected * unit, tolerance)


def assert_relative_to_largest(actual: ArrayLike, expected: ArrayLike, tolerance: float) -> None:
    np.testing.assert_allclose(actual, expected, rtol=0.0, atol=tolerance * np.abs(expected).max(initial=0.0))


def drawn_from(model: Model, seed: int) -> Model:
    """The model with outcomes that its own covariance makes plausible."""
    rng = np.random.default_rng([seed, 1])
    values, vectors = np.linalg.eigh(dense.marginal_covariance(model))
    noise = vectors @ (np.sqrt(np.maximum(values, 0)) * rng.normal(size=len(values)))
    return model.at(y=model.X @ rng.normal(size=model.X.shape[1]) + noise)


def small_model(seed: int, n_outcomes: int, errors: Errors, n_levels: int) -> Model:
    """About 13 observations, because sixty digits are slow, with random effects at the innermost level."""
    n_units = {1: 13, 2: 9, 3: 7}[n_outcomes]
    models = (random_model(s, n_levels, n_outcomes, errors, "full", n_units) for s in count(seed))
    return next(model for model in models if model.psi[-1].size)


def heterogeneous(seed: int, inner: float, upper: float, n_outcomes: int, errors: Errors, n_levels: int) -> Model:
    """Largest variance of the innermost level: `inner` times the median sampling variance; of the others: `upper`."""
    model = small_model(seed, n_outcomes, errors, n_levels)
    v = np.median(np.diag(model.S))
    units = [psi * v / np.linalg.norm(psi, 2) if psi.size else psi for psi in model.psi]
    return drawn_from(model.at(psi=[*(upper * unit for unit in units[:-1]), inner * units[-1]]), seed)


ratios = pytest.mark.parametrize(("inner", "upper"), [(1e10, 1.0), (1e10, 1e6), (1e10, 1e-6), (1.0, 1e6), (1e-10, 1e6)])


@either
@ratios
@pytest.mark.parametrize("n_outcomes", [1, 2, 3])
@pytest.mark.parametrize("errors", ["diagonal", "unit", "inside", "across"])
def test_large_between_group_variance(
    inner: float, upper: float, n_outcomes: int, errors: Errors, restricted: bool
) -> None:
    for seed, n_levels in ((1, 1), (2, 2), (3, 3)):
        assert_loglik(heterogeneous(seed, inner, upper, n_outcomes, errors, n_levels), restricted)


def nested_intercepts(tau2: list[float], v: float, seed: int, slopes: bool = False) -> Model:
    """Three outer groups of two, three and four pairs of rows; a random slope at every level if asked."""
    rng, n = np.random.default_rng(seed), 18
    outer = np.repeat([0, 1, 2], [4, 6, 8])
    groups = [outer, np.repeat(np.arange(9), 2), np.arange(n)][: len(tau2)]
    predictor = rng.normal(size=n)
    Z = np.column_stack([np.ones(n), predictor]) if slopes else np.ones((n, 1))
    dim = Z.shape[1]
    psi = [variance * (np.eye(dim) + 0.5 * (1 - np.eye(dim))) for variance in tau2]
    model = Model(np.zeros(n), np.column_stack([np.ones(n), predictor]), [Z] * len(tau2), groups, v * np.eye(n), psi)
    return drawn_from(model, seed)


@either
@pytest.mark.parametrize("slopes", [False, True])
@pytest.mark.parametrize("tau2", [[1e10], [1e6, 1e10], [1e6, 1e6, 1e10], [1e6, 1.0, 1e10], [1e6, 1e-6, 1e-6]])
@pytest.mark.parametrize("v", [1e-6, 1e4])
def test_large_variance_of_intercepts_and_slopes(tau2: list[float], slopes: bool, v: float, restricted: bool) -> None:
    assert_loglik(nested_intercepts([v * t for t in tau2], v, 0, slopes), restricted)


@either
@pytest.mark.parametrize("tau2", [[1e10], [1e6, 1e10]])
def test_large_variance_above_a_level_without_effects(tau2: list[float], restricted: bool) -> None:
    model = nested_intercepts(tau2, 1.0, 2, slopes=True)
    n = len(model.y)
    rows = model.at(Z=[*model.Z, np.zeros((n, 0))], groups=[*model.groups, np.arange(n)], psi=[*model.psi, np.eye(0)])
    assert_loglik(rows, restricted)
    assert_coefficients(rows, restricted)


@pytest.mark.parametrize("ratio", [1e-10, 1e-4, 1.0, 1e4, 1e10])
def test_coefficients_and_scores_of_large_variances(ratio: float) -> None:
    model = nested_intercepts([1e-2 * min(ratio, 1e6), 1e-2 * ratio], 1e-2, 1, slopes=True)
    assert_coefficients(model, True)
    assert_scores(model, True)


@pytest.mark.parametrize("ratio", [1e-12, 1e-6, 1.0, 1e6, 1e12])
def test_variance_of_a_random_effect_in_closed_form(ratio: float) -> None:
    """One row per group: (1 - lambda)^2 Var(beta) + lambda v of an outcome, lambda v + lambda^2 Var(beta) of b."""
    rng, n = np.random.default_rng(0), 7
    v = rng.uniform(0.5, 2.0, n)
    ones, psi = np.ones((n, 1)), np.array([[ratio]])
    model = Model(rng.normal(size=n), ones, [ones], [np.arange(n)], np.diag(v), [psi])
    fit = kernel.random_effects(statistics(model), model.psi)
    variance, shrunk, kept = 1 / (1 / (ratio + v)).sum(), ratio / (ratio + v), v / (ratio + v)
    factor = fit.levels[0].factor[0]
    outcome = factor + np.array([[fit.beta_factor[0, 0]], [0.0]])
    np.testing.assert_allclose((outcome**2).sum(0), shrunk * v + kept**2 * variance, rtol=1e-10)
    np.testing.assert_allclose((factor**2).sum(0), shrunk * v + shrunk**2 * variance, rtol=1e-10)
    np.testing.assert_allclose(fit.levels[0].mean[0], shrunk * (model.y - fit.beta[0]), rtol=1e-10)


def large_mean(predictors: int, seed: int) -> Model:
    """Outcomes of 1e6 that differ by 1e-3, on three levels."""
    model = nested_intercepts([1e-6, 1e-6, 1e-6], 1e-6, seed)
    noise = np.random.default_rng([seed, 2]).normal(0, 2e-3, len(model.y))
    return model.at(y=1e6 + noise, X=model.X[:, :predictors])


@either
@pytest.mark.parametrize("seed", range(4))
def test_large_mean_with_small_differences(seed: int, restricted: bool) -> None:
    assert_loglik(large_mean(1, seed), restricted)
    assert_coefficients(large_mean(1, seed), restricted)


@either
@pytest.mark.parametrize("seed", range(4))
def test_large_mean_and_a_predictor(seed: int, restricted: bool) -> None:
    """With a general X the best to hope for is what rounding each y by half a unit in its last place does."""
    model = large_mean(2, seed)
    residual = model.y - model.X @ dense.coefficients_mp(model)[0]
    weighted = np.linalg.solve(dense.marginal_covariance(model), residual)
    expected = float(dense.loglik_mp(model, restricted))
    actual = kernel.likelihood(statistics(model), model.psi, restricted).loglik
    assert actual == pytest.approx(expected, rel=1e-9, abs=float(np.abs(weighted) @ np.spacing(model.y)))


def dose_response(intercept: bool, seed: int) -> Model:
    """Dose and its square in grams; random slopes of both by study; errors coupled within a study."""
    rng = np.random.default_rng(seed)
    study = np.repeat(np.arange(6), [2, 3, 3, 4, 4, 5])
    n = len(study)
    dose = rng.uniform(0, 100, n)
    Z = np.column_stack([dose, dose**2])
    v = rng.uniform(0.005, 0.05, n)
    S = np.sqrt(np.outer(v, v)) * np.where(np.eye(n) == 1, 1.0, 0.4 * dense.together(study))
    psi = np.array([[4e-5, -3e-7], [-3e-7, 4e-9]])
    X = np.column_stack([np.ones(n), Z]) if intercept else Z
    return drawn_from(Model(np.zeros(n), X, [Z], [study], S, [psi]), seed)


@either
@pytest.mark.parametrize("intercept", [False, True])
def test_dose_and_its_square_in_grams(intercept: bool, restricted: bool) -> None:
    model = dose_response(intercept, 0)
    assert_loglik(model, restricted)
    assert_coefficients(model, restricted)
    assert_scores(model, restricted)


@either
@pytest.mark.parametrize("factor", [0.0, 1e-6, 1e6])
def test_dose_and_its_square_with_other_covariances(factor: float, restricted: bool) -> None:
    model = dose_response(False, 1)
    assert_loglik(model.at(psi=[factor * model.psi[0]]), restricted)


@either
@pytest.mark.parametrize("n_levels", [1, 2, 3])
@pytest.mark.parametrize("n_outcomes", [1, 2])
@pytest.mark.parametrize("errors", ["diagonal", "unit", "inside", "across"])
def test_sampling_variances_of_very_different_sizes(
    errors: Errors, n_outcomes: int, n_levels: int, restricted: bool
) -> None:
    model = small_model(n_levels, n_outcomes, errors, n_levels)
    sd = 10 ** np.random.default_rng(n_levels).uniform(-4, 1, len(model.y))
    scale = sd / np.sqrt(np.diag(model.S))
    model = drawn_from(model.at(S=scale[:, None] * model.S * scale[None, :]), 0)
    assert_loglik(model, restricted)
    assert_coefficients(model, restricted)


def nearly_singular(size: int, distance: float, kind: str, seed: int) -> Model:
    """Three groups whose errors are coupled, with the smallest eigenvalue of their correlations about `distance`."""
    rng, group = np.random.default_rng([seed, size]), np.repeat(np.arange(3), size)
    n = len(group)
    S = np.zeros((n, n))
    for g in range(3):
        rows = np.ix_(group == g, group == g)
        S[rows] = singular_correlation(rng, size, distance, kind)
    sd = 10 ** rng.uniform(-1, 1, n)
    S = S * np.outer(sd, sd)
    X = np.column_stack([np.ones(n), rng.normal(size=n)])
    return drawn_from(Model(np.zeros(n), X, [np.ones((n, 1))], [group], (S + S.T) / 2, [np.eye(1)]), seed)


def singular_correlation(rng: np.random.Generator, size: int, distance: float, kind: str) -> ArrayLike:
    """Exchangeable, autoregressive, or with random eigenvectors: one eigenvalue small, or one of every size."""
    lag = np.abs(np.subtract.outer(np.arange(size), np.arange(size)))
    if kind in ("cs", "ar1"):
        return (1 - distance) ** np.minimum(lag, 1 if kind == "cs" else size)
    vectors = np.linalg.qr(rng.normal(size=(size, size)))[0]
    values = np.geomspace(distance, 1, size) if kind == "graded" else np.r_[distance, np.linspace(1, 2, size - 1)]
    R = vectors * values @ vectors.T
    scale = np.sqrt(np.diag(R))
    return R / np.outer(scale, scale)


@pytest.mark.parametrize("psi", [0.0, 0.3])
@pytest.mark.parametrize("kind", ["cs", "ar1", "graded", "one"])
@pytest.mark.parametrize(("size", "distance"), [(2, 1e-10), (2, 2e-12), (3, 1e-11), (6, 1e-8), (6, 2e-12)])
def test_nearly_singular_sampling_covariance(size: int, distance: float, kind: str, psi: float) -> None:
    model = nearly_singular(size, distance, kind, 0).at(psi=[np.array([[psi]])])
    assert_loglik(model, True, 1e-7)
    beta, covariance = dense.coefficients_mp(model)
    se, fit = np.sqrt(np.diag(covariance)), kernel.likelihood(statistics(model), model.psi, True)
    np.testing.assert_allclose(fit.beta / se, beta / se, rtol=1e-9, atol=1e-6)
    np.testing.assert_allclose(fit.beta_cov / np.outer(se, se), covariance / np.outer(se, se), atol=1e-8)


@pytest.mark.parametrize("size", [6, 20])
def test_common_effects_of_estimates_that_a_nearly_singular_covariance_excludes(size: int) -> None:
    """The weights are huge and of both signs; without refinement coefficients are off by hundreds of SEs."""
    model = nearly_singular(size, 2e-12, "cs", 1)
    noise = np.random.default_rng(2).normal(size=len(model.y))
    model = model.at(y=noise, psi=[np.zeros((1, 1))])
    beta, covariance = dense.coefficients_mp(model, 40)
    fit = kernel.likelihood(statistics(model), model.psi, False)
    np.testing.assert_allclose(fit.beta, beta, rtol=1e-8, atol=1e-6 * np.sqrt(np.diag(covariance)).max())


@pytest.mark.parametrize("seed", range(3))
def test_few_very_precise_rows_that_disagree_about_the_fixed_part(seed: int) -> None:
    """X orthonormal at Psi = 0 alone would lose what the precise rows say about their differences within a group."""
    rng, n = np.random.default_rng(seed), 12
    v = rng.uniform(0.5, 2, n)
    v[[0, 1, 5]] *= 1e-12
    X, group = np.column_stack([np.ones(n), rng.normal(size=(n, 2))]), np.repeat(np.arange(4), 3)
    psi = [np.array([[1e10]])]
    model = drawn_from(Model(np.zeros(n), X, [np.ones((n, 1))], [group], np.diag(v), psi), seed)
    assert_loglik(model, True, 1e-4)
    beta, covariance = dense.coefficients_mp(model)
    fit, se = kernel.likelihood(statistics(model), model.psi, True), np.sqrt(np.diag(covariance))
    np.testing.assert_allclose(fit.beta / se, beta / se, atol=1e-3)
