"""Bayes factors: against integrals by brute force, between trees, of hypotheses, and what is refused."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.stats import halfnorm, multivariate_normal, norm

import bayesmeta as bm

PRIORS = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]


def bcg(formula: str = "logor ~ 1") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", measure="logor")


def school(formula: str = "effect ~ 1") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("school"), S="var", random="1 | district/study")


def log_bf(tree, b) -> float:
    return float(bm.bayes_factor(tree, b)["log_bayes_factor"])


@pytest.fixture(scope="module")
def pooled():
    return bm.sample(bcg(), PRIORS, draws=50, random_seed=1)


@pytest.fixture(scope="module")
def regression():
    return bm.sample(bcg("logor ~ 0 + ablat + alloc"), PRIORS, draws=50, random_seed=1)


def by_brute_force(mean_sd: float, tau: float | None) -> float:
    """log p(y) of the model with a common mean: multivariate normal, integrated over tau by adaptive quadrature."""
    data = bm.datasets.load("bcg")
    y, v = data["logor"].to_numpy(), data["logorvar"].to_numpy()

    def log_density(t: float) -> float:
        Sigma = np.diag(v + t**2) + mean_sd**2
        return float(multivariate_normal(np.zeros(len(y)), Sigma).logpdf(y))

    if tau is not None:
        return log_density(tau)
    highest = max(log_density(t) for t in np.linspace(0.05, 2, 40))
    total = quad(lambda t: np.exp(log_density(t) - highest) * halfnorm.pdf(t, scale=0.5), 0, 4, epsabs=1e-12)[0]
    return float(np.log(total) + highest)


def test_hypotheses_about_one_mean_are_integrals_by_brute_force(pooled):
    full = by_brute_force(1.0, None)
    assert log_bf(pooled, "Intercept = 0") == pytest.approx(full - by_brute_force(0.0, None), abs=1e-7)
    assert log_bf(pooled, "tau[unit] = 0") == pytest.approx(full - by_brute_force(1.0, 0.0), abs=1e-7)
    both = bm.bayes_factor(pooled, "tau = 0, beta[Intercept] = 0")
    assert float(both["log_bayes_factor"]) == pytest.approx(full - by_brute_force(0.0, 0.0), abs=1e-7)
    assert both["log_marginal_likelihood"].values == pytest.approx([full, by_brute_force(0.0, 0.0)], abs=1e-7)


def test_levels_of_school():
    """log Bayes factors of 40 x 40 nodes of Gauss-Legendre quadrature in other coordinates."""
    post = bm.sample(school(), PRIORS, draws=50, random_seed=1)
    for hypothesis, expected in (("tau[district] = 0", 7.526), ("tau[study] = 0", 22.168), ("tau = 0", 207.36)):
        assert log_bf(post, hypothesis) == pytest.approx(expected, abs=6e-4 if expected < 100 else 6e-3)


@pytest.mark.parametrize(
    "hypothesis",
    ["ablat = 0", "beta[ablat] = 0", "ablat = -0.03", "alloc[random] = 0", "2 * ablat = 0", "-ablat = 0.03"],
)
def test_of_one_coefficient_it_is_the_ratio_of_densities(regression, hypothesis):
    found = bm.bayes_factor(regression, hypothesis)
    assert float(found["log_bayes_factor"]) == pytest.approx(float(found["log_savage_dickey"]), abs=1e-6)
    assert float(found["log_bayes_factor_se"]) < 1e-4


def test_it_is_the_ratio_of_two_models(regression):
    smaller = bm.sample(bcg("logor ~ 0 + alloc"), PRIORS, draws=50, random_seed=2)
    between = bm.bayes_factor(regression, smaller)
    assert float(between["log_bayes_factor"]) == pytest.approx(log_bf(regression, "ablat = 0"), abs=1e-7)
    assert log_bf(smaller, regression) == pytest.approx(-float(between["log_bayes_factor"]), abs=1e-12)
    assert float(between["probability"]) == pytest.approx(1 / (1 + 1 / float(between["bayes_factor"])), rel=1e-12)
    assert list(between["model"].values) == ["a", "b"]


def test_a_term_with_several_coefficients(regression):
    post = bm.sample(bcg("logor ~ 0 + ablat"), PRIORS, draws=50, random_seed=1)
    assert log_bf(regression, "alloc = 0") == pytest.approx(
        float(bm.bayes_factor(regression, post)["log_bayes_factor"])
    )


def test_several_outcomes_and_importance_sampling():
    spec = bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=BERKEY)
    post = bm.sample(spec, PRIORS, draws=50, random_seed=1)
    small = bm.bayes_factor(post, "AL.Intercept = 0")
    assert float(small["log_bayes_factor"]) == pytest.approx(float(small["log_savage_dickey"]), abs=1e-4)
    log = log_bf(post, "tau[unit] = 0")
    data = bm.datasets.load("berkey98")
    y = data[["PD", "AL"]].to_numpy().ravel()
    S = np.zeros((10, 10))
    for i, (a, c, b) in enumerate(data[BERKEY].to_numpy()):
        S[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = [[a, c], [c, b]]
    X = np.tile(np.eye(2), (5, 1))
    null = multivariate_normal(np.zeros(10), S + X @ X.T).logpdf(y)
    assert log == pytest.approx(float(post["criteria"]["log_marginal_likelihood"]) - null, abs=1e-6)


def test_chains_are_integrated_for_their_marginal_likelihood(pooled):
    from tests.support.posteriors import make_posterior

    chains = make_posterior(bcg(), priors=PRIORS, draws=50)
    assert "log_marginal_likelihood" not in chains.get("criteria", {})
    assert log_bf(chains, "Intercept = 0") == pytest.approx(log_bf(pooled, "Intercept = 0"), abs=1e-8)


@pytest.mark.parametrize(
    ("b", "message"),
    [
        ("tau[study] = 0", "no such SD is free"),
        ("tau[unit] = 0.1", "an SD is tested at 0 alone"),
        ("ablat = 0", "no coefficient 'ablat'"),
        ("Intercept", "must say the value of single coefficients"),
        ("Intercept = ", "no linear combination|must say the value"),
        (3, "b is 3; it must be a posterior, or a hypothesis"),
        ([], "it must be a posterior, or a hypothesis"),
        ("", "must say the value|is empty"),
    ],
)
def test_other_hypotheses_are_refused(pooled, b, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.bayes_factor(pooled, b)


def test_differences_of_coefficients_are_refused(regression):
    with pytest.raises(bm.SpecError, match="single coefficients"):
        bm.bayes_factor(regression, "ablat - alloc[random] = 0")


@pytest.mark.filterwarnings("ignore:the prior of beta:bayesmeta.errors.AssumptionWarning")
def test_what_cannot_be_compared_is_refused(pooled):
    with pytest.raises(bm.SpecError, match="a is a fit"):
        bm.bayes_factor(bm.fit(bcg()), "Intercept = 0")
    fewer = bm.specify("logor ~ 1", bm.datasets.load("bcg").head(9), S="logorvar", measure="logor")
    with pytest.raises(bm.SpecError, match="different observations"):
        bm.bayes_factor(pooled, bm.sample(fewer, PRIORS, draws=50, random_seed=1))
    flat = bm.Priors(beta=bm.Prior("Flat"), tau=bm.priors.half_normal(0.5))
    improper = bm.sample(bcg(), flat, draws=50, random_seed=1)
    with pytest.raises(bm.SpecError, match="improper prior of Intercept is in one of a and b only"):
        bm.bayes_factor(pooled, improper)
    with pytest.raises(bm.SpecError, match="the prior of Intercept is improper"):
        bm.bayes_factor(improper, "Intercept = 0")
    assert np.isfinite(log_bf(improper, "tau[unit] = 0"))  # the flat prior is in both


def test_an_intercept_whose_prior_is_elsewhere_is_not_tested():
    spec = bcg("logor ~ ablat")
    post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), draws=50, random_seed=1)
    with pytest.raises(bm.SpecError, match="at the mean of the predictors"):
        bm.bayes_factor(post, "Intercept = 0")
    assert log_bf(post, "ablat = 0") == pytest.approx(
        float(bm.bayes_factor(post, "ablat = 0")["log_savage_dickey"]), abs=1e-6
    )


def test_the_density_of_a_normal_prior_far_from_the_data(pooled):
    """Against a value that nobody believes: the ratio of densities by hand, from mean and SD of the prior."""
    found = bm.bayes_factor(pooled, "Intercept = 3")
    assert float(found["log_savage_dickey"]) == pytest.approx(float(found["log_bayes_factor"]), abs=0.01)
    assert norm.logpdf(3) < float(found["log_bayes_factor"])
