"""The dense implementation against definitions, published numbers and itself, before it judges the kernel."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy.stats import multivariate_normal

from tests.support import dense
from tests.support.random_models import random_model

SEEDS = range(12)


@pytest.mark.parametrize("seed", SEEDS)
def test_loglik_is_the_normal_density(seed: int) -> None:
    model, beta = random_model(seed), np.random.default_rng(seed).normal(size=random_model(seed).X.shape[1])
    density = multivariate_normal(model.X @ beta, dense.marginal_covariance(model)).logpdf(model.y)
    assert dense.loglik_at(model, beta) == pytest.approx(density, rel=1e-11)
    assert dense.loglik_per_group(model, beta).sum() == pytest.approx(density, rel=1e-11)
    assert dense.loglik(model, restricted=False) >= density


@pytest.mark.parametrize("seed", SEEDS)
def test_restricted_loglik_is_the_density_of_error_contrasts(seed: int) -> None:
    model = random_model(seed)
    P = model.X.shape[1]
    contrasts = np.linalg.qr(model.X, mode="complete")[0][:, P:]
    density = multivariate_normal(cov=contrasts.T @ dense.marginal_covariance(model) @ contrasts).logpdf(
        contrasts.T @ model.y
    )
    assert dense.loglik(model, restricted=True) == pytest.approx(density, rel=1e-11)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_scores_are_central_differences(seed: int, restricted: bool) -> None:
    model = random_model(seed, psi="full")
    for level, score in enumerate(dense.scores(model, restricted)):
        for i, j in np.ndindex(score.shape):
            up, down = (dense.loglik(dense.moved(model, level, i, j, step), restricted) for step in (1e-5, -1e-5))
            assert score[i, j] == pytest.approx((up - down) / 2e-5, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("seed", SEEDS)
def test_prediction_error_is_the_inverse_of_henderson_s_matrix(seed: int) -> None:
    model = random_model(seed, psi="full")
    Z, D = dense.all_effects(model)
    W, P = np.hstack([model.X, Z]), model.X.shape[1]
    left = W.T @ np.linalg.solve(model.S, W)
    left[P:, P:] += np.linalg.inv(D)
    joint = np.linalg.inv(left)
    np.testing.assert_allclose(dense.prediction_error(model), joint, rtol=1e-8, atol=1e-11)
    solution = joint @ W.T @ np.linalg.solve(model.S, model.y)
    np.testing.assert_allclose(
        np.concatenate([dense.coefficients(model), dense.blups(model)]), solution, rtol=1e-8, atol=1e-10
    )
    np.testing.assert_allclose(dense.conditional_variance(model), np.linalg.inv(left[P:, P:]), rtol=1e-8, atol=1e-11)


@pytest.mark.parametrize("restricted", [False, True])
@pytest.mark.parametrize("seed", SEEDS)
def test_extended_precision_agrees(seed: int, restricted: bool) -> None:
    model = random_model(seed, n_levels=2)
    assert dense.loglik(model, restricted) == pytest.approx(float(dense.loglik_mp(model, restricted)), rel=1e-11)


def test_extended_precision_scores_agree() -> None:
    model = random_model(4, n_levels=2, n_outcomes=2, psi="full", n_units=6)
    assert sum(psi.size for psi in model.psi) > 4
    for exact, score in zip(dense.scores_mp(model, True), dense.scores(model, True), strict=True):
        np.testing.assert_allclose(score, exact, rtol=1e-9, atol=1e-10)


def test_published_multilevel_fit(table: Callable[[str], pd.DataFrame], reference: Callable[[str], Any]) -> None:
    """Konstantopoulos (2011), three levels by REML, as metafor reports it."""
    fit = reference("metafor/multilevel_school")
    data = table("school")
    ones = np.ones((len(data), 1))
    district = pd.factorize(data["district"])[0]
    study = pd.factorize(data["district"].astype(str) + "/" + data["study"].astype(str))[0]
    psi = [np.array([[variance]]) for variance in fit["sigma2"]]
    model = dense.Model(data["effect"].to_numpy(), ones, [ones, ones], [district, study], np.diag(data["var"]), psi)
    assert dense.loglik(model, True) == pytest.approx(fit["loglik"], rel=1e-10)
    assert dense.coefficients(model)[0] == pytest.approx(fit["beta"], rel=1e-10)
    assert dense.coefficient_covariance(model)[0, 0] ** 0.5 == pytest.approx(fit["se"], rel=1e-10)
    effects = [fit["ranef"]["district"], fit["ranef"]["district_study"]]
    np.testing.assert_allclose(dense.blups(model), effects[0]["pred"] + effects[1]["pred"], rtol=1e-9, atol=1e-11)
    se = np.sqrt(np.diag(dense.prediction_error(model))[1:])
    np.testing.assert_allclose(se, effects[0]["se"] + effects[1]["se"], rtol=1e-9)
