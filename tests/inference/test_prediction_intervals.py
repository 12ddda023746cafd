"""Prediction intervals of their own kind: against published numbers, full integrals, and by levels."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy.integrate import quad

import bayesmeta as bm
from bayesmeta.estimation.tau2 import Study
from bayesmeta.inference.prediction_intervals import confident_tau2, nagashima
from tests.support.posteriors import make_posterior
from tests.support.reference import read_reference

SBP = read_reference("prediction/sbp")


def sbp(method):
    data = pd.DataFrame(SBP["data"])
    return bm.fit(bm.specify("y ~ 1", data, S=data["se"] ** 2), method)


def bcg(formula="logor ~ 1", **options):
    return bm.fit(bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", **options))


def school(formula="effect ~ 1"):
    return bm.fit(bm.specify(formula, bm.datasets.load("school"), S="var", random="1 | district/study"))


def bounds(dataset):
    return np.array([dataset["lower"].item(), dataset["upper"].item()])


@pytest.mark.parametrize("name", ["HTS", "APX", "HK"])
def test_riley_as_pimeta_prints_it(name):
    expected = SBP["expected"][name]
    own = bm.predict(sbp(expected["method"]), {}, interval="prediction", df=expected["df"])
    assert own["mean"].item() == pytest.approx(expected["mean"], abs=6e-5)
    np.testing.assert_allclose(bounds(own), expected["prediction"], atol=1.5e-4)
    assert own.attrs["df"] == expected["df"]


def test_the_bootstrap_of_nagashima_as_pimeta_prints_it():
    """Its three results differ by as much as from ours, whose error is a fifth of theirs."""
    expected = SBP["expected"]["boot"]
    own = bm.predict(sbp("dl"), {}, interval="prediction", df="nagashima", draws=1_000_000, random_seed=1)
    assert own["mean"].item() == pytest.approx(expected["mean"], abs=6e-5)
    for theirs in expected["prediction"]:
        np.testing.assert_allclose(bounds(own), theirs, atol=0.009)
    np.testing.assert_allclose(bounds(own), np.mean(expected["prediction"], axis=0), atol=0.005)


def beyond(q, weights):
    """P(sum of weights times chi-squared > q), by Imhof's integral (1961, Biometrika 48:419-426)."""

    def integrand(u):
        angle = (np.arctan(weights * u).sum() - q * u) / 2
        return np.sin(angle) / (u * np.prod((1 + (weights * u) ** 2) ** 0.25))

    return 0.5 + quad(integrand, 0, np.inf, limit=2000)[0] / np.pi


@pytest.mark.parametrize("predictor", [False, True])
def test_draws_of_tau2_have_the_distribution_of_q(predictor):
    data = bm.datasets.load("bcg")
    X = np.column_stack([np.ones(13), data["ablat"]] if predictor else [np.ones(13)])
    study = Study(data["logor"].to_numpy(), X, data["logorvar"].to_numpy())
    own = confident_tau2(study, 200_000, np.random.default_rng(1))
    W = np.diag(1 / study.v)
    A = W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W)
    q = study.y @ A @ study.y
    for tau2 in (0.0, 0.05, 0.2, 0.5, 2.0):
        root = np.diag(np.sqrt(study.v + tau2))
        weights = np.linalg.eigvalsh(root @ A @ root)[X.shape[1] :]
        share = max(beyond(q, weights), 0.0)  # rounding of the integral
        assert np.mean(own <= tau2) == pytest.approx(share, abs=4 * np.sqrt(share * (1 - share) / 200_000) + 1e-5)


def test_bounds_are_those_of_draws_made_one_by_one():
    """The same stream of random numbers, each draw by weighted least squares of its own."""
    fit = bcg("logor ~ ablat")
    spec = bm.Spec.from_tree(fit)
    x0, rng = np.array([[1.0, 20.0], [1.0, 50.0]]), np.random.default_rng(3)
    study = Study(spec.y, np.array(spec.X), spec.S.variances)
    tau2 = confident_tau2(study, 500, rng)
    z, t, new = rng.normal(size=500), rng.standard_t(11, 500), []
    for one, normal, student in zip(tau2, z, t, strict=True):
        W = np.diag(1 / (study.v + one))
        Phi = np.linalg.inv(study.X.T @ W @ study.X)
        beta = Phi @ study.X.T @ W @ study.y
        left = study.y - study.X @ beta
        se = np.sqrt(np.diag(x0 @ Phi @ x0.T) * (left @ W @ left) / 11)
        new.append(x0 @ beta + normal * np.sqrt(one) - student * se)
    lower, upper = nagashima(spec, x0, 0.9, 500, 3)
    np.testing.assert_allclose([lower, upper], np.quantile(new, [0.05, 0.95], axis=0), rtol=1e-9)
    own = bm.predict(
        fit, {"ablat": [20, 50]}, interval="prediction", prob=0.9, df="nagashima", draws=500, random_seed=3
    )
    np.testing.assert_allclose([own["lower"][:, 0], own["upper"][:, 0]], [lower, upper], rtol=1e-12)


def test_an_offset_and_large_effects_lose_no_digits():
    data = bm.datasets.load("bcg")
    plain = bm.predict(bcg(), {}, interval="prediction", df="nagashima", draws=2000, random_seed=1)
    moved = bm.fit(bm.specify("logor ~ 1", data.assign(logor=data["logor"] + 1e6), S="logorvar"))
    own = bm.predict(moved, {}, interval="prediction", df="nagashima", draws=2000, random_seed=1)
    np.testing.assert_allclose(bounds(own) - 1e6, bounds(plain), atol=1e-7)


def test_the_response_scale_is_that_of_the_bounds():
    fit = bcg(measure="logor")
    how = {"interval": "prediction", "df": "nagashima", "draws": 2000, "random_seed": 1}
    plain, response = bm.predict(fit, {}, **how), bm.predict(fit, {}, scale="response", **how)
    np.testing.assert_allclose(bounds(response), np.exp(bounds(plain)), rtol=1e-12)


def test_coverage_of_a_new_effect():
    """Ten studies with moderate heterogeneity: 95% of new effects (error 0.01) are in the intervals."""
    rng, hit, n = np.random.default_rng(8), 0, 400
    data = pd.DataFrame({"y": np.zeros(10), "v": 0.1 * np.exp(rng.normal(size=10))})
    spec = bm.specify("y ~ 1", data, S="v")
    for i in range(n):
        y = rng.normal(0, np.sqrt(data["v"] + 0.1))
        lower, upper = nagashima(replace(spec, y=y), np.ones((1, 1)), 0.95, 2000, i)
        hit += bool(lower[0] <= rng.normal(0, np.sqrt(0.1)) <= upper[0])
    assert hit / n == pytest.approx(0.95, abs=0.025)


def test_a_new_group_of_an_outer_level():
    fit = school()
    beta_var = float(fit["estimate"]["beta_cov"].item())
    between = [float(fit["estimate"][f"psi_{name}"].item()) for name in ("district", "study")]
    for level, variance in (("district", between[0]), ("study", sum(between)), (None, sum(between))):
        own = bm.predict(fit, {}, interval="prediction", level=level, df="z")
        assert own["se"].item() == pytest.approx(np.sqrt(beta_var + variance), rel=1e-10)
    assert (
        "mean true effect in a new group of level 'district'"
        in bm.predict(fit, {}, interval="prediction", level="district").attrs["se"]
    )


def test_a_new_group_of_an_outer_level_by_a_posterior():
    posterior = make_posterior(bm.Spec.from_tree(school()))
    inner, outer = (
        bm.predict(posterior, {}, interval="prediction", level=level)["se"].item() for level in ("study", "district")
    )
    assert outer < inner
    assert inner == bm.predict(posterior, {}, interval="prediction")["se"].item()


REFUSED = [
    (bcg, {"df": "nagashima"}, 'df="nagashima" is for prediction intervals'),
    (bcg, {"df": "riley-knapp-hartung", "interval": "prediction", "vcov": "CR2"}, "leave vcov out"),
    (school, {"df": "nagashima", "interval": "prediction"}, 'df="nagashima" needs one random effect for each row'),
    (school, {"df": "riley-knapp-hartung", "interval": "prediction"}, "needs one random effect for each row"),
    (school, {"level": "district"}, "level is of prediction intervals"),
    (school, {"level": "distict", "interval": "prediction"}, "did you mean 'district'?"),
    (bcg, {"df": "nagashima", "interval": "prediction", "draws": 0}, "draws is 0"),
    (bcg, {"df": "nagashima", "interval": "prediction", "random_seed": "a"}, "random_seed is 'a'"),
]


@pytest.mark.parametrize(("make", "arguments", "message"), REFUSED)
def test_what_does_not_fit_is_refused(make, arguments, message):
    with pytest.raises(bm.SpecError, match=re.escape(message)):
        bm.predict(make(), {}, **arguments)
