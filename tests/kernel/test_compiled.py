"""The compiled recursion against full matrices, outer group by outer group."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta import kernel
from bayesmeta.kernel.compiled import loglik_and_gradient
from tests.support import dense
from tests.support.dense import Model
from tests.support.flat_calls import any_beta, dense_gradient, entries, evaluated, flat_of
from tests.support.kernel_calls import assert_close, statistics
from tests.support.random_models import models, random_model

seeds = st.integers(0, 2**32 - 1)


@given(models(), seeds)
def test_loglik_of_every_outer_group(model: Model, seed: int) -> None:
    beta = any_beta(model, seed)
    loglik, _ = evaluated(model, beta)
    np.testing.assert_allclose(loglik, dense.loglik_per_group(model, beta), rtol=1e-9, atol=1e-9)
    np.testing.assert_allclose(
        loglik, kernel.loglik_per_group(statistics(model), model.psi, beta), rtol=1e-9, atol=1e-9
    )


@given(models(), seeds)
def test_gradient_of_every_outer_group(model: Model, seed: int) -> None:
    beta = any_beta(model, seed)
    _, gradient = evaluated(model, beta)
    expected = dense_gradient(model, beta)
    assert gradient.shape == (len(expected), model.X.shape[1] + len(entries(model, flat_of(model))))
    assert_close(gradient, expected[:, : gradient.shape[1]], 1e-7)
    assert not expected[:, gradient.shape[1] :].any()


@given(models())
def test_at_the_profiled_beta_the_gradient_is_the_score(model: Model) -> None:
    fit = kernel.likelihood(statistics(model), model.psi, restricted=False, gradient=True)
    loglik, gradient = evaluated(model, fit.beta)
    assert loglik.sum() == pytest.approx(fit.loglik, rel=1e-9, abs=1e-9)
    P = model.X.shape[1]
    scale = np.abs(gradient).sum(0)
    assert (np.abs(gradient[:, :P].sum(0)) <= 1e-7 * scale[:P] + 1e-9).all()
    expected = np.concatenate([np.zeros(0), *(score.ravel() for score in fit.scores)])[: gradient.shape[1] - P]
    assert_close(gradient[:, P:].sum(0), expected, 1e-7)


@given(models(psi="zero"))
def test_without_variance_between_groups(model: Model) -> None:
    beta = any_beta(model)
    loglik, gradient = evaluated(model, beta)
    np.testing.assert_allclose(loglik, dense.loglik_per_group(model, beta), rtol=1e-9, atol=1e-9)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("factor", [1e4, 1e8, 1e12])
def test_psi_far_larger_than_the_sampling_errors(factor: float) -> None:
    for seed in range(6):
        model = random_model(seed, n_levels=2, psi="full")
        model = model.at(psi=[factor * psi for psi in model.psi])
        beta = any_beta(model)
        loglik, gradient = evaluated(model, beta)
        of_kernel = kernel.loglik_per_group(statistics(model), model.psi, beta)
        np.testing.assert_allclose(loglik, of_kernel, rtol=1e-7, atol=1e-9)
        assert np.isfinite(gradient).all()


def test_effects_far_from_zero_lose_no_digits() -> None:
    model = random_model(4, n_levels=2)
    beta = any_beta(model)
    there = model.at(y=model.y + model.X @ np.full(len(beta), 1e6))
    np.testing.assert_allclose(evaluated(there, beta + 1e6)[0], evaluated(model, beta)[0], rtol=1e-6)


def broken(what: str, value: float, model: Model) -> tuple[np.ndarray, np.ndarray]:
    flat = flat_of(model)
    given = {"beta": any_beta(model), "psi": entries(model, flat), "values": flat.values, "base": flat.base}
    given[what] = given[what].copy()
    given[what][-1 if what == "values" else 0] = value
    with np.errstate(all="ignore"):
        return loglik_and_gradient(*given.values(), flat.tables)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("what", ["beta", "psi", "values", "base"])
@pytest.mark.parametrize("seed", range(8))
def test_what_is_not_finite_stays_so(what: str, value: float, seed: int) -> None:
    model = random_model(seed, psi="full")
    if what == "psi" and not len(entries(model, flat_of(model))):
        pytest.skip("a model without random effects")
    loglik, _ = broken(what, value, model)
    assert not np.isfinite(loglik).all()
    if what == "beta":
        assert not np.isfinite(loglik).any()


@pytest.mark.parametrize("n_levels", [1, 2, 3])
@pytest.mark.parametrize("seed", range(8))
def test_psi_that_is_no_covariance_matrix(n_levels: int, seed: int) -> None:
    model = random_model(seed, n_levels=n_levels, psi="full")
    model = model.at(psi=[-3.0 * psi for psi in model.psi])
    loglik, _ = evaluated(model, any_beta(model))
    expected = dense.loglik_per_group(model, any_beta(model))
    for g in np.flatnonzero(np.isfinite(loglik)):
        own = model.rows(np.flatnonzero(model.groups[0] == g))
        assert np.linalg.eigvalsh(dense.marginal_covariance(own))[0] > 0
        assert loglik[g] == pytest.approx(expected[g], rel=1e-8)


@pytest.mark.parametrize(
    "psi", [[[0.0, 0.3], [0.3, 1.0]], [[0.0, np.nan], [np.nan, 1.0]], [[1.0, np.inf], [np.inf, 1.0]], [[1, 2], [2, 1]]]
)
@pytest.mark.parametrize("level", [0, 1])
def test_indefinite_psi_is_seen_at_every_level(level: int, psi: list[list[float]]) -> None:
    rng, n = np.random.default_rng(2), 12
    Z = [rng.normal(size=(n, 2)) for _ in range(2)]
    groups = [np.arange(n) // 6, np.arange(n) // 2]
    covariances = [np.eye(2), np.eye(2)]
    covariances[level] = np.array(psi) * 10.0
    model = Model(rng.normal(size=n), np.ones((n, 1)), Z, groups, np.eye(n), covariances)
    loglik, _ = evaluated(model, np.zeros(1))
    if level == 0 or not np.isfinite(psi).all():
        assert not np.isfinite(loglik).any()
    for g in np.flatnonzero(np.isfinite(loglik)):  # at leaves Sigma may be a covariance matrix although Psi is none
        own = model.rows(np.flatnonzero(groups[0] == g))
        assert np.linalg.eigvalsh(dense.marginal_covariance(own))[0] > 0
        assert loglik[g] == pytest.approx(dense.loglik_at(own, np.zeros(1)))


@given(models())
def test_inputs_are_left_alone_and_answers_repeat(model: Model) -> None:
    flat, beta = flat_of(model), any_beta(model)
    psi = entries(model, flat)
    given = [beta, psi, flat.values, flat.base]
    before = [array.copy() for array in given]
    first = loglik_and_gradient(*given, flat.tables)
    again = loglik_and_gradient(*given, flat.tables)
    for array, same in zip(given, before, strict=True):
        assert np.array_equal(array, same)
    for array, same in zip(first, again, strict=True):
        assert np.array_equal(array, same)


def test_strided_and_integer_inputs() -> None:
    model = random_model(3, psi="full")
    flat, beta = flat_of(model), np.arange(model.X.shape[1])
    psi = entries(model, flat)
    strided = np.repeat(psi, 2)[::2]
    expected = loglik_and_gradient(beta.astype(float), psi, flat.values, flat.base, flat.tables)
    found = loglik_and_gradient(beta, strided, flat.values, flat.base, flat.tables)
    for array, same in zip(found, expected, strict=True):
        assert np.array_equal(array, same)


@pytest.mark.parametrize("seed", range(3))
def test_one_outer_group(seed: int) -> None:
    model = random_model(seed)
    model = model.at(groups=[np.zeros(len(model.y), int), *model.groups[1:]])
    beta = any_beta(model)
    loglik, gradient = evaluated(model, beta)
    np.testing.assert_allclose(loglik, dense.loglik_per_group(model, beta), rtol=1e-9)
    assert_close(gradient, dense_gradient(model, beta)[:, : gradient.shape[1]], 1e-7)
