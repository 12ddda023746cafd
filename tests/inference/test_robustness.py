"""A model under a grid of priors is what it is under each of them alone."""

import warnings
from dataclasses import replace

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.bayes import shared_draws, shared_lattice
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.quadrature import integrate as alone
from bayesmeta.errors import AssumptionWarning, ConvergenceError, ConvergenceWarning, SpecError
from bayesmeta.inference.prior_grid import FAMILIES
from bayesmeta.priors.defaults import resolve

NORMAL = bm.Prior("Normal", mu=0, sigma=1)
CLOSE = 1e-3  # posterior SDs: what quadrature promises of quantiles of three parameters
SCALES = [0.05, 0.1, 0.2, 0.4, 0.8, 1.6]


def bcg(rows: int = 13, formula: str = "logor ~ 1") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg").iloc[:rows], S="logorvar", measure="logor")


def school() -> bm.Spec:
    return bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")


def berkey() -> bm.Spec:
    return bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"])


def apart(cell, spec: bm.Spec, priors: bm.Priors) -> float:
    """The largest difference of estimate, SD and interval from the posterior by itself, in SDs, or of log p(y)."""
    post = bm.sample(spec, priors, draws=2, random_seed=1)
    single = bm.estimates(post)
    single = single[single["kind"] != "psi"].loc[cell["parameter"].values]
    here = np.stack([cell[name] for name in ("estimate", "sd", "lower", "upper")], axis=1)
    there = single[["estimate", "se", "lower", "upper"]].to_numpy(float)
    known = float(post["criteria"]["log_marginal_likelihood"])
    differences = np.abs(here - there) / there[:, [1]]
    return max(float(np.nanmax(differences)), abs(float(cell["log_marginal_likelihood"]) - known))


@pytest.mark.parametrize(
    ("spec", "beta"),
    [
        (bcg(), NORMAL),
        (bcg(formula="logor ~ ablat"), {"Intercept": NORMAL, "ablat": bm.Prior("Normal", mu=0, sigma=0.1)}),
        (bcg(), bm.Prior("Cauchy", alpha=0, beta=0.7)),
        (bcg(), bm.Prior("Flat")),
        (bcg(3), NORMAL),
        (school(), NORMAL),
    ],
    ids=["one", "moderator", "Cauchy", "flat", "three studies", "two levels"],
)
def test_every_cell_is_the_posterior_under_its_prior(spec, beta):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        robust = bm.robustness(spec, {"tau": list(FAMILIES), "scale": SCALES}, bm.Priors(beta=beta))
        rng = np.random.default_rng(1)
        for family in FAMILIES:
            scale = float(rng.choice(SCALES))
            cell = robust.sel(family=family, scale=scale)
            assert apart(cell, spec, bm.Priors(beta=beta, tau=FAMILIES[family](scale))) < CLOSE, (family, scale)
            assert float(cell["log_marginal_likelihood_se"]) < 1e-4
    assert (robust["engine"] == "quadrature").all()


def test_three_parameters_with_etas_and_priors_of_coefficients():
    spec = berkey()
    wide = bm.Prior("Normal", mu=0, sigma=3)
    grid = {"tau": ["half-normal"], "scale": [0.05, 0.3], "eta": [1, 4], "beta": {"usual": NORMAL, "wide": wide}}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        robust = bm.robustness(spec, grid)
        assert robust["estimate"].dims == ("family", "scale", "beta", "eta", "parameter")
        for scale, eta, name in ((0.05, 4.0, "wide"), (0.3, 1.0, "usual")):
            own = bm.Priors(beta=grid["beta"][name], tau=bm.priors.half_normal(scale), rho=bm.Prior("LKJ", eta=eta))
            cell = robust.sel(family="half-normal", scale=scale, eta=eta, beta=name)
            assert apart(cell, spec, own) < CLOSE


def drawn_prior(rng: np.random.Generator) -> bm.Prior:
    scale = float(np.exp(rng.uniform(np.log(0.02), np.log(3))))
    kinds = [
        bm.priors.half_normal(scale),
        bm.priors.half_cauchy(scale),
        bm.priors.half_t(scale, float(rng.uniform(1, 9))),
        bm.Prior("Exponential", scale=scale),
        bm.Prior("LogNormal", mu=float(np.log(scale)), sigma=float(rng.uniform(0.3, 1.5))),
        bm.Prior("Gamma", alpha=float(rng.uniform(0.4, 5)), beta=1 / scale),
        bm.Prior("InverseGamma", alpha=float(rng.uniform(1, 5)), beta=scale),
        bm.Prior("TruncatedNormal", mu=scale, sigma=scale, lower=0),
    ]
    return kinds[int(rng.integers(len(kinds)))]


@pytest.mark.parametrize("seed", range(6))
def test_drawn_priors_and_data_share_a_lattice_without_error(seed):
    rng = np.random.default_rng(seed)
    m = int(rng.integers(2, 25))
    v = np.exp(rng.normal(-3, 1, m))
    table = {"y": rng.normal(0, np.sqrt(v + rng.uniform(0, 0.5) ** 2)), "v": v}
    spec = bm.specify("y ~ 1", table, S="v", measure="smd")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        cells = [resolve(spec, bm.Priors(beta=NORMAL, tau=drawn_prior(rng))) for _ in range(30)]
    found = shared_lattice.integrate(spec, cells)
    served = np.isfinite(found.error)
    assert served.mean() > 0.7
    for i in np.flatnonzero(served):
        single = alone(Evaluator(spec, cells[i]))
        assert abs(single.log_marginal_likelihood - found.log[i]) <= found.error[i] + single.error, cells[i]


def test_a_lattice_that_ends_too_early_says_so(monkeypatch):
    monkeypatch.setattr(shared_lattice, "DEPTH", {1: 4.0})
    spec = bcg(4)
    found = shared_lattice.integrate(spec, [resolve(spec, bm.Priors(tau=bm.priors.half_cauchy(s))) for s in (0.1, 1.0)])
    assert np.isinf(found.error).any()


def test_bayes_factors_are_those_of_the_posterior():
    spec = school()
    robust = bm.robustness(spec, {"tau": ["half-normal"], "scale": [0.1, 0.5]}, effect="beta[Intercept]")
    reference = bm.sample(spec, draws=2, random_seed=1)
    for scale in (0.1, 0.5):
        post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(scale)), draws=2, random_seed=1)
        cell = robust.sel(family="half-normal", scale=scale)
        known = [bm.bayes_factor(post, other) for other in (reference, "tau = 0", "Intercept = 0")]
        names = ["log_bayes_factor", "log_bayes_factor_heterogeneity", "log_bayes_factor_effect"]
        for name, each in zip(names, known, strict=True):
            assert float(cell[name]) == pytest.approx(float(each["log_bayes_factor"]), abs=1e-6)
    assert robust.attrs["effect"] == "beta[Intercept]"


def test_probabilities_are_those_of_the_mixture():
    spec = bcg()
    priors = bm.Priors(beta=NORMAL, tau=bm.priors.half_normal(0.5))
    cell = bm.robustness(spec, {"one": priors}, null=-0.7).isel(prior=0)
    draws = bm.sample(spec, priors, draws=25_000, random_seed=1, random_effects=False)["posterior"]["beta"].values
    assert float(cell["probability_below"][0]) == pytest.approx((draws < -0.7).mean(), abs=0.006)
    assert np.isnan(cell["probability_below"][1])


def test_bayes_factors_that_are_undefined_are_missing():
    spec = bcg()
    with pytest.warns(AssumptionWarning, match="improper"):
        robust = bm.robustness(spec, {"flat": bm.Priors(beta=bm.Prior("Flat")), "proper": bm.Priors(beta=NORMAL)})
    flat, proper = robust.sel(prior="flat"), robust.sel(prior="proper")
    assert np.isnan(flat["log_bayes_factor"])
    assert np.isnan(flat["log_bayes_factor_effect"])
    assert np.isfinite(flat["log_bayes_factor_heterogeneity"])
    assert np.isfinite(proper["log_bayes_factor"])
    # the default prior of an intercept beside a moderator is that of the effect at its mean
    centred = bm.robustness(bcg(formula="logor ~ ablat"), {"scale": [0.5]})
    assert np.isnan(centred["log_bayes_factor_effect"]).all()


@pytest.fixture(scope="module")
def smoking():
    S = ["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"]
    return bm.specify("yB + yC + yD ~ 1", bm.datasets.load("smoking"), S=S, measure="logor")


def test_reweighted_draws_are_those_of_the_prior(smoking):
    grid = {"tau": ["half-normal", "half-Cauchy"], "scale": [0.3, 0.5, 0.8]}
    robust = bm.robustness(smoking, grid)
    assert (robust["engine"] == "importance").all()
    assert float(robust["ess"].min()) >= 2000
    assert float(robust["pareto_k"].max()) <= 0.7
    assert len(np.unique(robust["anchor"].values.astype(str))) < 6
    tau = bm.priors.half_cauchy(0.8)
    post = bm.sample(smoking, bm.Priors(tau=tau), draws=2, random_seed=7)
    cell = robust.sel(family="half-Cauchy", scale=0.8)
    single = bm.estimates(post).loc[cell["parameter"].values]
    error = 4 * np.sqrt(1 / float(cell["ess"]) + 1 / float(post["criteria"]["effective_size"]))
    away = np.abs(cell["estimate"].values - single["estimate"].to_numpy(float)) / single["se"].to_numpy(float)
    assert (away < error).all()
    difference = float(cell["log_marginal_likelihood"]) - float(post["criteria"]["log_marginal_likelihood"])
    both = np.hypot(cell["log_marginal_likelihood_se"], post["criteria"]["log_marginal_likelihood_se"])
    assert abs(difference) < 4 * float(both)


def test_anchors_that_contradict_each_other_are_not_used(smoking, monkeypatch):
    """The second anchor says something else of the cell between: this one gets draws of its own."""
    cells = [resolve(smoking, bm.Priors(tau=bm.priors.half_normal(s))) for s in (0.4, 0.5, 5.0)]
    known = shared_draws.reweighted

    def moved(own, priors, owner):
        made = known(own, priors, owner)
        good = np.arange(3) == owner
        if owner == 0:  # serves itself and the next
            good = np.array([True, True, False])
        if owner == 2:
            good = np.array([False, True, True])
        shift = np.array([0.0, 1.0, 0.0]) * (owner == 2)
        size = np.where(good, 5000.0, 10.0)
        return replace(
            made, log=made.log + shift, error=0 * made.error, effective=size, largest=0 * size, shape=0 * size
        )

    monkeypatch.setattr(shared_draws, "reweighted", moved)
    found = shared_draws.integrate(smoking, cells, 1)
    assert found.owners == (0, 2, 1)
    assert found.anchor.tolist() == [0, 2, 1]


def test_a_prior_under_which_importance_sampling_fails_is_missing_and_said(smoking, monkeypatch):
    known, calls = shared_draws.importance.integrate, []

    def fails_after_the_first(evaluator, seed):
        calls.append(evaluator)
        if len(calls) > 1:
            raise shared_draws.NotIntegratedError("the weights are uneven")
        return known(evaluator, seed)

    monkeypatch.setattr(shared_draws.importance, "integrate", fails_after_the_first)
    with pytest.warns(ConvergenceWarning, match="failed under 1 of 2 priors, whose results are NaN: the weights"):
        robust = bm.robustness(smoking, {"scale": [0.02, 0.5], "tau": "half-normal"})
    assert robust["log_marginal_likelihood"].isnull().values.ravel().tolist() == [True, False]
    assert robust["estimate"].isnull().all("parameter").values.ravel().tolist() == [True, False]
    with pytest.raises(ConvergenceError, match="failed under all 3 priors"):
        bm.robustness(smoking, {"scale": [0.02, 0.5], "tau": "half-normal"})


def test_the_usual_grid_follows_the_default_prior():
    robust = bm.robustness(bcg())
    assert robust.sizes["family"] == 4
    assert robust["scale"].values[[0, -1]] == pytest.approx([0.05, 2.0])
    level = bm.robustness(school(), {"level": "study", "scale": [0.1, 1]})
    kept = [
        text for text in level["priors"].values.ravel() if "tau[district, Intercept] ~ HalfNormal(sigma=0.3536)" in text
    ]
    assert len(kept) == 8


@pytest.mark.parametrize(
    ("grid", "message"),
    [
        ([1], r"grid is \[1\]; it must be a dict"),
        ({}, "grid is empty"),
        ({"a": 1}, r"grid\['a'\] is 1"),
        ({"tau": ["half-normale"], "scale": [1]}, "did you mean 'half-normal'"),
        ({"tau": [], "scale": [1]}, "tau is empty"),
        ({"tau": {"mine": 3}, "scale": [1]}, "must be a function of the scale"),
        ({"tau": {"mine": lambda s: s}, "scale": [1]}, "must make a bm.Prior"),
        ({"tau": {"mine": lambda s: bm.Prior("Normal", mu=0, sigma=s)}, "scale": [1]}, "wrong support"),
        ({"scale": [0]}, "scale is 0; it must be a finite number greater than 0"),
        ({"scale": [1, 1.0]}, "scale has a number twice"),
        ({"scale": []}, "scale is"),
        ({"scales": [1], "tau": ["half-normal"]}, "unknown key 'scales'"),
        ({"eta": [2], "scale": [1]}, "the model has no rho"),
        ({"level": "studdy"}, "no level with free SDs 'studdy'"),
        ({"beta": 1}, "beta is 1; it must be a dict"),
        ({"scale": list(range(1, 2000))}, "more than 5,000"),
    ],
)
def test_grids_that_do_not_fit(grid, message):
    with pytest.raises(SpecError, match=message):
        bm.robustness(bcg(), grid)


def test_other_bad_input():
    with pytest.raises(SpecError, match="no coefficient 'ablatt'"):
        bm.robustness(bcg(), effect="ablatt")
    with pytest.raises(SpecError, match="needs Markov chains"):
        bm.robustness(bcg(), {"odd": bm.Priors(tau=bm.Prior("Wald", mu=1, lam=1))})
    with pytest.warns(AssumptionWarning, match="common-effect model"):
        fixed = bm.specify(
            "logor ~ 1",
            bm.datasets.load("bcg"),
            S="logorvar",
            psi={"unit": bm.structures.Fixed([[0.0]])},
            measure="logor",
        )
    with pytest.raises(SpecError, match="no SD that is free"):
        bm.robustness(fixed, {"scale": [1]})
    with pytest.raises(SpecError, match="varies nothing"):
        bm.robustness(fixed)


def test_a_model_without_sds_under_priors_of_its_coefficient():
    with pytest.warns(AssumptionWarning, match="common-effect model"):
        fixed = bm.specify(
            "logor ~ 1",
            bm.datasets.load("bcg"),
            S="logorvar",
            psi={"unit": bm.structures.Fixed([[0.0]])},
            measure="logor",
        )
    robust = bm.robustness(fixed, {"beta": {"a": NORMAL, "b": bm.Prior("Normal", mu=0, sigma=0.05)}}, bm.Priors(NORMAL))
    v, y = (bm.datasets.load("bcg")[name].to_numpy() for name in ("logorvar", "logor"))
    for name, sd in (("a", 1.0), ("b", 0.05)):
        precision = (1 / v).sum() + sd**-2
        assert float(robust["estimate"].sel(beta=name)[0]) == pytest.approx((y / v).sum() / precision)
        assert float(robust["sd"].sel(beta=name)[0]) == pytest.approx(precision**-0.5)
    assert robust["log_bayes_factor_heterogeneity"].isnull().all()
