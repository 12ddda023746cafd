"""Flat priors of SDs: the posterior where it is proper, by brute force; a reason where it is not."""

import warnings

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, BoundaryWarning, SpecError

FLAT = bm.Prior("HalfFlat")
COEFFICIENT = bm.Prior("Flat")
NORMAL = bm.Prior("Normal", mu=0, sigma=2)


def bcg(rows: int, formula: str = "logor ~ 1") -> bm.Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BoundaryWarning)  # of one group
        return bm.specify(formula, bm.datasets.load("bcg").iloc[:rows], S="logorvar", measure="logor")


def test_the_posterior_is_that_of_the_likelihood():
    spec = bcg(13)
    with pytest.warns(AssumptionWarning, match=r"prior of tau\[unit, Intercept\] is improper \(HalfFlat\)"):
        post = bm.sample(spec, bm.Priors(beta=NORMAL, tau=FLAT), draws=50, random_seed=1)
    y, v = spec.y[:, None], spec.S.value[:, None]
    tau = np.linspace(0, 12, 200_001)
    w = 1 / (v + tau**2)
    precision = w.sum(0) + 1 / 4
    mean = (w * y).sum(0) / precision
    log = 0.5 * (np.log(w).sum(0) - np.log(2 * np.pi) * len(y) - (w * y**2).sum(0) + mean**2 * precision)
    log -= 0.5 * np.log(precision) + np.log(2)
    weight = np.exp(log - log.max())
    total = np.trapezoid(weight, tau)
    exact = post["marginals"]
    assert float(exact["tau_unit_mean"]) == pytest.approx(np.trapezoid(weight * tau, tau) / total, rel=1e-5)
    assert float(exact["beta_mean"][0]) == pytest.approx(np.trapezoid(weight * mean, tau) / total, rel=1e-6)
    known = np.log(total) + log.max()
    assert float(post["criteria"]["log_marginal_likelihood"]) == pytest.approx(known, abs=1e-6)
    assert "prior" not in post.children


@pytest.mark.parametrize(
    ("rows", "formula", "beta", "proper"),
    [
        (1, "logor ~ 1", NORMAL, False),  # one study
        (2, "logor ~ 1", NORMAL, True),
        (2, "logor ~ 1", COEFFICIENT, False),
        (3, "logor ~ 1", COEFFICIENT, True),
        (3, "logor ~ ablat", COEFFICIENT, False),
        (4, "logor ~ ablat", COEFFICIENT, True),
    ],
)
def test_as_many_groups_as_a_flat_prior_needs(rows, formula, beta, proper):
    """The likelihood falls like tau to the minus number of groups less flat coefficients."""
    spec, priors = bcg(rows, formula), bm.Priors(beta=beta, tau=FLAT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        if proper:
            post = bm.sample(spec, priors, draws=2, random_seed=1)
            assert np.isfinite(float(post["criteria"]["log_marginal_likelihood"]))
        else:
            with pytest.raises(SpecError, match="HalfFlat, and the posterior would be improper"):
                bm.sample(spec, priors, draws=2, random_seed=1)


def test_two_levels_need_groups_of_both():
    table = {"y": [0.1, 0.4, 0.3, 0.2, 0.6], "v": [0.02] * 5, "a": [*"ppqqq"], "b": [*"12345"]}
    spec = bm.specify("y ~ 1", table, S="v", random="1 | a/b", measure="smd")
    with pytest.raises(SpecError, match=r"tau\[a, Intercept\] is HalfFlat.*2 groups of level 'a'"):
        bm.sample(spec, bm.Priors(beta=COEFFICIENT, tau=FLAT), draws=2)
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    flat = bm.Priors(beta=COEFFICIENT, tau=FLAT)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        post = bm.sample(school, flat, draws=2, random_seed=1)
        robust = bm.robustness(school, {"flat": flat, "again": flat})  # in another chart
    cell = robust.isel(prior=0)
    assert float(cell["log_marginal_likelihood"]) == pytest.approx(
        float(post["criteria"]["log_marginal_likelihood"]), abs=1e-6
    )
    single = bm.estimates(post).loc[cell["parameter"].values]
    np.testing.assert_allclose(cell["estimate"], single["estimate"].astype(float), rtol=1e-5)
    assert np.isnan(cell["log_bayes_factor_heterogeneity"])


def test_bayes_factors_of_what_is_flat_are_refused():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        flat = bm.sample(bcg(13), bm.Priors(beta=NORMAL, tau=FLAT), draws=2, random_seed=1)
        proper = bm.sample(bcg(13), bm.Priors(beta=NORMAL), draws=2, random_seed=1)
    with pytest.raises(SpecError, match=r"improper prior of tau\[unit, Intercept\] is in one of a and b only"):
        bm.bayes_factor(flat, proper)
    with pytest.raises(SpecError, match="its Bayes factor is undefined"):
        bm.bayes_factor(flat, "tau = 0")
    assert np.isfinite(bm.bayes_factor(flat, "Intercept = 0")["log_bayes_factor"])  # tau is the same in both


def test_what_is_not_taken():
    berkey = bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"])
    with pytest.raises(SpecError, match="taken for SDs without correlations alone"):
        bm.sample(berkey, bm.Priors(tau=FLAT))
    with pytest.raises(SpecError, match=r"tau.* is Flat, which is improper"):
        bm.sample(bcg(13), bm.Priors(tau=COEFFICIENT))
