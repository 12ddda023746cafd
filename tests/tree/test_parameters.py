"""Estimates, standard errors and intervals of every parameter, read from a tree."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import parameters
from bayesmeta.tree.specification import group

Z95 = 1.959963984540054


@pytest.fixture(scope="module")
def school() -> xr.DataTree:
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    return bm.fit(spec, method="ml")


def berkey(psi: object = "unstr", **changes: object) -> Spec:
    data = bm.datasets.load("berkey98").assign(**changes)
    return bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi)


@pytest.fixture(scope="module")
def bivariate() -> xr.DataTree:
    return bm.fit(berkey())


def numerical_errors(spec: Spec, restricted: bool, psi_of, at: np.ndarray) -> np.ndarray:
    """SEs from the curvature of the profiled log-likelihood, by central differences in the parameters themselves."""

    def loglik(theta: np.ndarray) -> float:
        return float(np.squeeze(kernel.likelihood(spec.statistics, psi_of(theta), restricted=restricted).loglik))

    step = 1e-3 * np.abs(at)
    curvature = np.empty((len(at), len(at)))
    for i, di in enumerate(np.diag(step)):
        for j, dj in enumerate(np.diag(step)):
            corners = loglik(at + di + dj) - loglik(at + di - dj) - loglik(at - di + dj) + loglik(at - di - dj)
            curvature[i, j] = corners / (4 * step[i] * step[j])
    return np.sqrt(np.diag(np.linalg.inv(-curvature)))


def test_labels_order_and_kinds(bivariate):
    table = parameters(bivariate)
    assert list(table.columns) == ["kind", "level", "term", "estimate", "se", "lower", "upper"]
    assert table.index.name == "parameter"
    assert list(table.index) == [
        *("beta[PD.Intercept]", "beta[AL.Intercept]"),
        *("tau[unit, PD]", "tau[unit, AL]", "rho[unit, PD~AL]"),
    ]
    assert list(table["kind"]) == ["beta", "beta", "tau", "tau", "rho"]
    assert list(table["level"]) == ["", "", "unit", "unit", "unit"]


def test_estimates_are_those_of_the_tree(bivariate):
    table, estimate = parameters(bivariate), group(bivariate, "estimate")
    values = np.concatenate([estimate[name].values for name in ("beta", "tau_unit", "rho_unit")])
    np.testing.assert_array_equal(table["estimate"].astype(float), values)
    np.testing.assert_array_equal(table["se"].astype(float)[:2], estimate["beta_se"])


def test_standard_errors_of_two_levels_follow_the_curvature(school):
    tau = parameters(school).loc[["tau[district, Intercept]", "tau[study, Intercept]"]]
    at = tau["estimate"].to_numpy(dtype=float)
    expected = numerical_errors(bm.Spec.from_tree(school), False, lambda t: [np.array([[x**2]]) for x in t], at)
    np.testing.assert_allclose(tau["se"].to_numpy(dtype=float), expected, rtol=1e-3)


@pytest.mark.parametrize("psi", ["unstr", "hcs", "har1"])
def test_standard_errors_of_sds_and_correlation_do_not_depend_on_the_free_parameters(psi):
    spec = berkey(psi)
    part = parameters(bm.fit(spec)).iloc[2:]

    def matrix(theta: np.ndarray) -> list[np.ndarray]:
        (a, b), rho = theta[:2], theta[2]
        return [np.array([[a * a, a * b * rho], [a * b * rho, b * b]])]

    expected = numerical_errors(spec, True, matrix, part["estimate"].to_numpy(dtype=float))
    np.testing.assert_allclose(part["se"].to_numpy(dtype=float), expected, rtol=2e-3)


def test_wald_intervals(bivariate):
    table = parameters(bivariate)[["estimate", "se", "lower", "upper"]].astype(float)
    beta, tau, rho = table.iloc[:2], table.iloc[2:4], table.iloc[4]
    np.testing.assert_allclose(beta["upper"] - beta["estimate"], Z95 * beta["se"], rtol=1e-12)
    np.testing.assert_allclose(np.log(tau["upper"] / tau["estimate"]), Z95 * tau["se"] / tau["estimate"], rtol=1e-12)
    np.testing.assert_allclose(tau["upper"] * tau["lower"], tau["estimate"] ** 2, rtol=1e-12)
    half = Z95 * rho["se"] / (1 - rho["estimate"] ** 2)
    assert np.arctanh(rho["upper"]) - np.arctanh(rho["estimate"]) == pytest.approx(half, rel=1e-9)
    assert -1 < rho["lower"] < rho["estimate"] < rho["upper"] < 1


def test_prob_sets_the_width(school):
    wide, narrow = parameters(school, prob=0.99), parameters(school, prob=0.5)
    ratio = (wide["upper"] - wide["estimate"])["beta[Intercept]"] / (narrow["upper"] - narrow["estimate"])[
        "beta[Intercept]"
    ]
    assert ratio == pytest.approx(2.5758293035489 / 0.6744897501960817, rel=1e-10)


def test_what_a_structure_holds_constant_has_no_error():
    diagonal = parameters(bm.fit(berkey("diag"))).iloc[-1]
    assert diagonal["estimate"] == 0
    assert np.isnan([diagonal["se"], diagonal["lower"], diagonal["upper"]]).all()
    known = bm.structures.KnownCorrelation([[1, 0.4], [0.4, 1]])
    table = parameters(bm.fit(berkey(known)))
    assert table["estimate"].iloc[-1] == pytest.approx(0.4, abs=1e-12)
    assert table["se"].isna().tolist() == [False, False, False, False, True]
    given = parameters(bm.fit(berkey(bm.structures.Fixed([[0.01, 0.0], [0.0, 0.04]]))))
    np.testing.assert_allclose(given["estimate"].astype(float).iloc[2:], [0.1, 0.2, 0.0], rtol=1e-12)
    assert given["se"].isna().tolist() == [False, False, True, True, True]


def test_a_fixed_effects_fit_has_zero_sds_without_errors():
    table = parameters(bm.fit(berkey(), method="fixed")).iloc[2:]
    assert table["estimate"].iloc[:2].tolist() == [0, 0]
    assert table[["se", "lower", "upper"]].isna().all(axis=None)


def test_an_sd_at_zero_has_no_interval():
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1], "v": [1.0, 2.0, 1.5, 1.0]})
    tau = parameters(bm.fit(bm.specify("y ~ 1", data, S="v"))).loc["tau[unit, Intercept]"]
    assert tau["estimate"] == 0
    assert np.isnan([tau["se"], tau["lower"], tau["upper"]]).all()


def test_an_sd_smaller_than_its_error_has_no_interval():
    data = pd.DataFrame({"y": [0.1, 0.9, -0.7, 0.3, 1.0], "v": [0.4, 0.5, 0.4, 0.5, 0.4]})
    tau = parameters(bm.fit(bm.specify("y ~ 1", data, S="v"))).loc["tau[unit, Intercept]"]
    assert 0 < tau["estimate"] < tau["se"]
    assert np.isnan([tau["lower"], tau["upper"]]).all()


def test_a_level_without_effects_has_no_parameters():
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random={"district": "0", "study": "1"})
    assert list(parameters(bm.fit(spec)).index) == ["beta[Intercept]", "tau[study, Intercept]"]


def test_what_is_no_results_tree_is_refused(school):
    with pytest.raises(bm.SpecError, match=r"expected the results tree that bm\.fit or bm\.sample returned, got Spec"):
        parameters(bm.Spec.from_tree(school))
    with pytest.raises(bm.SpecError, match="no group /estimate"):
        parameters(xr.DataTree())


@pytest.mark.parametrize("prob", [95, 0, 1, -0.1, float("nan")])
def test_prob_must_be_a_probability(school, prob):
    with pytest.raises(bm.SpecError, match=f"prob is {prob}"):
        parameters(school, prob=prob)
