"""What is asked of the fixed part: Wald tests, contrasts of means, and probabilities beyond a threshold."""

import numpy as np
import pytest
from scipy.stats import multivariate_t, norm

import bayesmeta as bm
from bayesmeta.inference.multiplicity import holm, largest, single_step
from tests.support.posteriors import make_posterior

BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]


def bcg(formula="logor ~ alloc + ablat", **options):
    return bm.fit(bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", measure="logor", **options))


def berkey(formula="PD + AL ~ I(pubyear - 1983)"):
    return bm.fit(bm.specify(formula, bm.datasets.load("berkey98"), S=BERKEY))


SAME = [
    ("alloc[T.random] = 0, ablat = 0", {"terms": ["alloc", "ablat"]}),
    ([{"alloc[T.random]": 1}, {"alloc[T.systematic]": 1}], {"terms": "alloc"}),
    ([[0, 1, -1, 0]], {"contrast": "alloc[T.random] - alloc[T.systematic]"}),
    ("2 * ablat = 1", {"contrast": "ablat = 0.5"}),
    ("`ablat` = 0", {"terms": "ablat"}),
    (["ablat", "Intercept"], {"contrast": "ablat, Intercept"}),
]


@pytest.mark.parametrize(("contrast", "other"), SAME[1:])
def test_the_same_question_in_other_words(contrast, other):
    fit = bcg()
    own, expected = bm.wald_test(fit, contrast=contrast, df="residual"), bm.wald_test(fit, df="residual", **other)
    for name in ("statistic", "df1", "df2", "pvalue"):
        assert own[name] == pytest.approx(float(expected[name]), rel=1e-10)


def test_a_term_has_the_coefficients_of_all_outcomes():
    test = bm.wald_test(berkey(), "I(pubyear - 1983)")
    assert list(test["contrast"].values) == ["PD.I(pubyear - 1983)", "AL.I(pubyear - 1983)"]
    assert bm.wald_test(berkey(), "PD.I(pubyear - 1983)")["df1"] == 1


def test_names_with_operators_are_names():
    fit = bcg("logor ~ alloc * ablat")
    test = bm.wald_test(fit, contrast="alloc[T.random]:ablat - alloc[T.systematic]:ablat = 0")
    weights = {"alloc[T.random]:ablat": 1, "alloc[T.systematic]:ablat": -1}
    assert test["statistic"] == pytest.approx(float(bm.wald_test(fit, contrast=weights)["statistic"]))
    assert list(bm.wald_test(fit, "alloc:ablat")["contrast"].values) == [*weights]


def test_by_default_all_predictors_are_tested():
    """QM of metafor 3.8.1 in small_sample/bcg_alloc_ablat, and of berkey98 without predictors."""
    assert bm.wald_test(bcg(), df="z")["statistic"] == pytest.approx(12.4943515845768, rel=1e-5)
    assert bm.wald_test(berkey("PD + AL ~ 1"))["df1"] == 2


WRONG = [
    ({"contrast": "foo = 1"}, "no coefficient 'foo'"),
    ({"contrast": "ablatt = 1"}, "did you mean 'ablat'"),
    ({"contrast": ""}, "contrast is empty"),
    ({"contrast": "ablat,"}, "contrast is empty"),
    ({"contrast": "ablat * ablat"}, "no linear combination"),
    ({"contrast": "ablat > 0"}, "contrast 'ablat > 0'"),
    ({"contrast": "__import__('os').system('true')"}, "contrast"),
    ({"contrast": [1, 2]}, "a weight for each of the 4"),
    ({"contrast": []}, "has shape"),
    ({"contrast": np.zeros((2, 2, 2))}, "has shape"),
    ({"contrast": [0, 0, 0, np.inf]}, "not finite"),
    ({"contrast": [[0, 0, 0, 1], [0, 0, 0, 2]]}, "follows from the others"),
    ({"contrast": [0, 0, 0, 0]}, "no coefficient in it"),
    ({"contrast": {"ablat": "x"}}, "must be a finite number"),
    ({"contrast": {"latitude": 1}}, "no coefficient 'latitude'"),
    ({"contrast": object()}, "must be text, weights"),
    ({"terms": "allok"}, "did you mean 'alloc'"),
    ({"terms": []}, "terms is empty"),
    ({"terms": 3}, "terms is 3"),
    ({"terms": "alloc", "contrast": "ablat = 0"}, "not both"),
    ({"prob": 95}, "prob"),
]


@pytest.mark.parametrize(("arguments", "message"), WRONG)
def test_wrong_questions_are_answered(arguments, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.wald_test(bcg(), **arguments)


def test_means_and_differences():
    fit = bcg()
    made = bm.contrast(fit, {"ablat": [13, 42], "alloc": "random"}, df="residual")
    predicted = bm.predict(fit, {"ablat": [13, 42], "alloc": ["random", "random"]}, df="residual")
    for name in ("mean", "se", "lower", "upper"):
        np.testing.assert_allclose(made[name], predicted[name], rtol=1e-10)
    slope = bm.estimates(fit, df="residual").loc["beta[ablat]"]
    assert made["difference"].item() == pytest.approx(29 * slope["estimate"])
    assert made["pvalue"].item() == pytest.approx(slope["pvalue"])
    covariance = made["covariance"].to_numpy()[0]
    assert np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1]) == pytest.approx(29 * slope["se"])


def test_categories_that_are_not_named_count_the_same():
    fit = bcg()
    made = bm.contrast(fit, {"ablat": [33]})
    each = bm.contrast(fit, {"ablat": [33], "alloc": ["random", "systematic", "alternate"]})
    assert made["mean"].item() == pytest.approx(float(each["mean"].mean()))
    assert made.sizes["pair"] == 0


def test_differences_within_and_as_ratios():
    made = bm.contrast(bcg(), {"alloc": ["random", "alternate"], "ablat": [20, 40]}, by="ablat", scale="response")
    assert made.sizes["pair"] == 2
    model = bm.contrast(bcg(), {"alloc": ["random", "alternate"], "ablat": [20, 40]}, by="ablat")
    np.testing.assert_allclose(made["difference"], np.exp(model["difference"]))
    np.testing.assert_allclose(made["mean"], np.exp(model["mean"]))
    assert "difference_se" not in made


def test_every_outcome_has_its_means():
    made = bm.contrast(berkey(), {"pubyear": [1980, 1983]})
    assert made.sizes == {"at": 2, "at_bis": 2, "pair": 1, "outcome": 2}
    predicted = bm.predict(berkey(), {"pubyear": [1980, 1983]})
    np.testing.assert_allclose(made["mean"], predicted["mean"], rtol=1e-10)


BAD_AT = [
    ({}, "at is empty"),
    ({"x": 1}, "no predictor 'x'"),
    ({"ablat": "a"}, "finite number"),
    ({"alloc": []}, "no values"),
]
BAD_AT += [({"alloc": "randm"}, "did you mean 'random'"), (3, "at is 3"), ({"ablat": range(300)}, "300 combinations")]


@pytest.mark.parametrize(("at", "message"), BAD_AT)
def test_values_that_are_not_there(at, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.contrast(bcg(), at)


def test_by_is_one_of_the_values():
    with pytest.raises(bm.SpecError, match="by: at has no predictor 'year'"):
        bm.contrast(bcg(), {"ablat": [1, 2]}, by="year")


def test_single_step_is_the_multivariate_t_distribution():
    cov, df = np.array([[1.0, 0.5], [0.5, 2.0]]), 7.0
    draws, t = largest(cov, df), 2.2
    correlation = cov / np.sqrt(np.outer(np.diag(cov), np.diag(cov)))
    box = multivariate_t(shape=correlation, df=df).cdf([t, t], lower_limit=[-t, -t], random_state=1)
    assert single_step(np.array([t]), draws)[0] == pytest.approx(1 - box, abs=1e-3)


def test_single_step_lies_between_one_test_and_bonferroni():
    fit, at = bcg(), {"alloc": ["random", "systematic", "alternate"]}
    plain, holms, joint = (bm.contrast(fit, at, adjust=adjust)["pvalue"].to_numpy()[:, 0] for adjust in ADJUSTED)
    assert ((plain <= joint + 1e-3) & (joint <= np.minimum(3 * plain, 1) + 1e-3)).all()
    np.testing.assert_allclose(holms, holm(plain))
    wide = bm.contrast(fit, at, adjust="single-step")
    assert (wide["difference_upper"] > bm.contrast(fit, at)["difference_upper"]).all()


ADJUSTED = ("none", "holm", "single-step")


def test_goldstein_intervals_of_two_equal_means_have_139_standard_errors():
    """Goldstein and Healy (1995), table 1: 1.39 standard errors for two independent means of the same error."""
    data = bm.datasets.load("bcg").iloc[:10].assign(logorvar=0.2, half=["a", "b"] * 5)
    fit = bm.fit(bm.specify("logor ~ 0 + half", data, S="logorvar"))
    made = bm.contrast(fit, {"half": ["a", "b"]}, df="z")
    half = (made["comparison_upper"] - made["mean"]) / made["se"]
    np.testing.assert_allclose(half, norm.ppf(0.975) / np.sqrt(2), rtol=1e-6)


def test_exceedance_of_a_fit():
    fit = bcg("logor ~ 1")
    estimate = fit["estimate"]
    beta, tau, tau_se = float(estimate["beta"][0]), float(estimate["tau_unit"]), float(bm.estimates(fit)["se"].iloc[1])
    made = bm.exceedance(fit, below=0, df="z")
    assert made["mean"].item() == pytest.approx(norm.cdf(-beta / tau))
    se = np.hypot(float(estimate["beta_se"][0]) / tau, beta / tau**2 * tau_se)
    assert made["upper"].item() == pytest.approx(norm.cdf(-beta / tau + norm.ppf(0.975) * se), rel=1e-6)
    assert bm.exceedance(fit, above=0)["mean"].item() == pytest.approx(1 - made["mean"].item())


@pytest.mark.parametrize("method", ["dl", "pm"])
def test_exceedance_by_moments_has_the_error_of_tau2(method):
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), method)
    estimate = fit["estimate"]
    beta, tau2, error = float(estimate["beta"][0]), float(estimate["tau_unit"]) ** 2, float(estimate["tau2_unit_se"])
    se = np.hypot(float(estimate["beta_se"][0]) / np.sqrt(tau2), beta / (2 * tau2**1.5) * error)
    made = bm.exceedance(fit, below=0, df="z")
    assert made["upper"].item() == pytest.approx(norm.cdf(-beta / np.sqrt(tau2) + norm.ppf(0.975) * se), rel=1e-6)


@pytest.mark.parametrize("method", ["reml", "mm", "vc"])
def test_exceedance_has_the_errors_of_the_free_parameters(method):
    """The delta method again, by differences of the probit in beta and xi."""
    fit = bm.fit(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=BERKEY), method)
    estimate, structure = fit["estimate"], bm.structures.Unstructured()
    beta, xi = estimate["beta"].to_numpy(), estimate["xi"].to_numpy()

    def probit(b, x):
        return b[1] / np.sqrt(structure.psi(x, 2)[1, 1])

    steps = 1e-6 * np.eye(3)
    slope = np.array([(probit(beta, xi + h) - probit(beta, xi - h)) / 2e-6 for h in steps])
    tau = np.sqrt(structure.psi(xi, 2)[1, 1])
    variance = (float(estimate["beta_se"][1]) / tau) ** 2 + slope @ estimate["xi_cov"].to_numpy() @ slope
    upper = norm.cdf(probit(beta, xi) + norm.ppf(0.975) * np.sqrt(variance))
    assert bm.exceedance(fit, above=0, df="z")["upper"].sel(outcome="AL").item() == pytest.approx(upper, rel=1e-6)


def test_exceedance_with_predictors_levels_and_outcomes():
    slope = bm.exceedance(bcg("logor ~ ablat"), below=0, newdata={"ablat": [13, 55]})
    assert (np.diff(slope["mean"].to_numpy()[:, 0]) > 0).all()
    both = bm.exceedance(berkey("PD + AL ~ 1"), above=0)
    assert both["mean"].to_numpy()[0, 0] > 0.9 > 0.1 > both["mean"].to_numpy()[0, 1]


def test_exceedance_of_a_posterior_is_the_mean_over_the_draws():
    tree = make_posterior(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), draws=400)
    beta, tau = (tree["posterior"][name].to_numpy().ravel() for name in ("beta", "tau_unit"))
    made, share = bm.exceedance(tree, below=-0.2), norm.cdf((-0.2 - beta) / tau)
    assert made["mean"].item() == pytest.approx(share.mean())
    assert made["lower"].item() == pytest.approx(np.quantile(share, 0.025))


def test_exceedance_without_heterogeneity_has_no_interval():
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ 1", data, S="logorvar"), "fixed")
    made = bm.exceedance(fit, below=0, df="z")
    assert made["mean"].item() == 1.0
    assert np.isnan(made["upper"].item())


@pytest.mark.parametrize(
    "arguments", [{}, {"below": 0, "above": 1}, {"below": "a"}, {"above": np.nan}, {"below": True}]
)
def test_exceedance_takes_one_threshold(arguments):
    with pytest.raises(bm.SpecError):
        bm.exceedance(bcg("logor ~ 1"), **arguments)


@pytest.mark.parametrize("text", ["ablat = -0.03", "ablat=-0.03", "ablat = - 0.03", "-ablat = +0.03"])
def test_a_hypothesis_has_a_value_with_a_sign(text):
    fit = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar"))
    test = bm.wald_test(fit, contrast=text, df="z")
    t = (fit["estimate"]["beta"].values[1] + 0.03) / fit["estimate"]["beta_se"].values[1]
    assert float(test["statistic"]) == pytest.approx(t**2)
