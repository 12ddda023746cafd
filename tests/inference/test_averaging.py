"""Averages over models: weights by hand from marginal likelihoods, mixtures against draws, and sets of models."""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.inference.averaging import distinct_models

PRIORS = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]


def bcg(formula: str = "logor ~ ablat") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", measure="logor")


@pytest.fixture(scope="module")
def models():
    specs = bm.model_set(bcg(), terms=["1", "ablat", "ablat + alloc"])
    return {name: bm.sample(spec, PRIORS, draws=1000, random_seed=1) for name, spec in specs.items()}


def log_ml(tree) -> float:
    return float(tree["criteria"]["log_marginal_likelihood"])


def test_weights_are_posterior_probabilities(models):
    averaged = bm.average(models)
    log = np.array([log_ml(tree) for tree in models.values()])
    by_hand = np.exp(log) / np.exp(log).sum()
    np.testing.assert_allclose(averaged["weight"], by_hand, rtol=1e-12)
    np.testing.assert_allclose(averaged["prior_probability"], 1 / 3)
    odds = (by_hand[1] + by_hand[2]) / by_hand[0] / 2
    at = averaged.sel(parameter="beta[ablat]")
    assert float(at["inclusion_bayes_factor"]) == pytest.approx(odds, rel=1e-12)
    assert float(at["inclusion_probability"]) == pytest.approx(by_hand[1:].sum(), rel=1e-12)
    assert np.isnan(averaged["inclusion_bayes_factor"].sel(parameter="beta[Intercept]"))


def test_prior_weights_matter_by_their_proportions(models):
    averaged = bm.average(models, {"ablat": 2, "1": 1, "ablat + alloc": 1})
    log = np.array([log_ml(tree) for tree in models.values()]) + np.log([1, 2, 1])
    np.testing.assert_allclose(averaged["weight"], np.exp(log) / np.exp(log).sum(), rtol=1e-12)
    np.testing.assert_allclose(bm.average(models, [10, 20, 10])["weight"], averaged["weight"], rtol=1e-12)
    assert bm.average(models, [1, 0, 0])["weight"].values.tolist() == [1, 0, 0]


def test_estimates_are_those_of_the_mixture(models):
    averaged = bm.average(models)
    weight = averaged["weight"].values
    own = [bm.estimates(tree) for tree in models.values()]
    for label in ("beta[Intercept]", "beta[ablat]", "tau[unit, Intercept]"):
        moments = np.array([t.loc[label, ["estimate", "se"]] if label in t.index else (0, 0) for t in own], dtype=float)
        mean = weight @ moments[:, 0]
        sd = np.sqrt(weight @ (moments[:, 1] ** 2 + (moments[:, 0] - mean) ** 2))
        at = averaged.sel(parameter=label)
        assert float(at["estimate"]) == pytest.approx(mean, rel=1e-10)
        assert float(at["se"]) == pytest.approx(sd, rel=1e-10)
        draws = []
        for tree, share in zip(models.values(), weight, strict=True):
            n = round(200_000 * share)
            if label == "tau[unit, Intercept]":
                values = tree["posterior"]["tau_unit"].values.ravel()
            else:
                coef = label[5:-1]
                there = coef in tree["posterior"]["coef"].values
                values = tree["posterior"]["beta"].sel(coef=coef).values.ravel() if there else np.zeros(1)
            draws.append(np.resize(values, n))
        lower, upper = np.quantile(np.concatenate(draws), [0.025, 0.975])
        assert float(at["lower"]) == pytest.approx(lower, abs=0.12 * sd)
        assert float(at["upper"]) == pytest.approx(upper, abs=0.12 * sd)


def test_one_model_with_all_the_weight_is_that_model(models):
    averaged = bm.average(models, [0, 1, 0], prob=0.9)
    own = bm.estimates(models["ablat"], prob=0.9)
    for label in ("beta[Intercept]", "beta[ablat]", "tau[unit, Intercept]"):
        for name in ("estimate", "se", "lower", "upper"):
            at = averaged.sel(parameter=label)
            assert float(at[name]) == pytest.approx(own.loc[label, name], abs=5e-4 * own.loc[label, "se"])
            assert float(at[f"conditional_{name}"]) == float(at[name])


def test_a_parameter_that_is_mostly_absent_has_an_interval_at_zero(models):
    averaged = bm.average(models, [0.999, 0.0005, 0.0005])
    at = averaged.sel(parameter="beta[ablat]")
    assert float(at["upper"]) == 0
    assert float(at["conditional_upper"]) < 0


def test_a_model_that_stands_there_twice_is_one_of_those_to_average_over(models):
    """As of an analysis that has it by REML and by ML, whose posteriors are the same."""
    names = list(models)
    twice = {names[0]: models[names[0]], "again": models[names[0]].copy(), names[1]: models[names[1]]}
    assert list(distinct_models(twice)) == names[:2]
    other = bm.sample(bcg(), priors=bm.Priors(tau=bm.Prior("HalfNormal", sigma=0.3)), random_seed=1, draws=100)
    assert len(distinct_models({names[0]: models[names[0]], "other prior": other})) == 2


def test_stacking_is_best_at_predicting_left_out_groups(models):
    weight = bm.average(models, "stacking")["weight"].values
    assert weight.sum() == pytest.approx(1)
    score = np.stack([bm.loo(t)["elpd"].values for t in models.values()], 1)

    def total(w):
        return np.log(np.exp(score) @ w).sum()

    for other in np.random.default_rng(1).dirichlet(np.ones(3), 500):
        assert total(weight) >= total(other) - 1e-6


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ("best", "weights is 'best'"),
        ([1, 2], "for each of the 3 models"),
        ([1, -1, 1], "at least 0"),
        ([0, 0, 0], "not all zero"),
        ({"1": 1}, "weights"),
    ],
)
def test_weights_that_do_not_fit_are_refused(models, weights, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.average(models, weights)


def test_what_is_no_set_of_posteriors_is_refused(models):
    for wrong in (models["1"], {"one": models["1"]}, [models["1"], models["ablat"]]):
        with pytest.raises(bm.SpecError, match="dict of at least two posteriors"):
            bm.average(wrong)
    with pytest.raises(bm.SpecError, match="is a fit"):
        bm.average({"a": models["1"], "b": bm.fit(bcg())})


def test_sets_of_models():
    spec = bm.specify("PD + AL ~ pubyear", bm.datasets.load("berkey98"), S=BERKEY)
    made = bm.model_set(spec, psi=["unstr", "diag"], terms=["1", "pubyear"])
    assert [len(s.coef) for s in made.values()] == [2, 2, 4, 4]
    assert [s.levels[0].structure.name for s in made.values()] == ["unstr", "diag"] * 2
    fresh = bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=BERKEY, psi="diag")
    assert bm.fit(made["1, diag"])["criteria"]["loglik"] == pytest.approx(float(bm.fit(fresh)["criteria"]["loglik"]))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "needs terms="),
        ({"psi": "diag"}, "must be a list"),
        ({"terms": []}, "must be a list"),
        ({"terms": ["1", "1"]}, "comes twice"),
        ({"terms": ["1", None]}, "may not hold None"),
        ({"terms": ["1", "ablat"], "psi": [None]}, "may not hold None"),
        ({"terms": ["1", 3]}, "right-hand side"),
        ({"terms": ["latitude"]}, "no column 'latitude'"),
        ({"psi": ["unstr", "diag"]}, "every level has one random effect"),
        ({"psi": [{"study": "diag"}]}, "study"),
    ],
)
def test_sets_that_cannot_be_are_refused(arguments, message):
    with pytest.raises(bm.SpecError, match=message):
        bm.model_set(bcg(), **arguments)
