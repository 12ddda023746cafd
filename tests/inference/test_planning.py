"""Priors for a new study and what it is expected to say: against RBesT, simulation, and what must hold."""

from typing import Any

import numpy as np
import pytest
from scipy.special import ndtr
from scipy.stats import norm

import bayesmeta as bm
from bayesmeta.inference.map_priors import MapPrior
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from tests.bayes.test_quadrature import HALF, bcg, berkey98, normal, school

PRIORS = bm.Priors(beta=normal(1), tau=HALF)


@pytest.fixture(scope="module")
def crohn(reference: Any) -> tuple[dict[str, Any], Any]:
    known = reference("planning/crohn")
    data = {"y": known["y"], "se": known["sigma"] / np.sqrt(known["n"])}
    priors = bm.Priors(beta=normal(known["sigma"]), tau=bm.priors.half_normal(known["sigma"] / 2))
    return known, bm.sample(bm.specify("y ~ 1", data, se="se"), priors, draws=10, random_seed=1)


@pytest.fixture(scope="module")
def post() -> Any:
    return bm.sample(bcg(), PRIORS, draws=25_000, random_seed=1, random_effects=False)


def of_reference(known: dict[str, Any]) -> MapPrior:
    own = known["mixture"]
    return MapPrior(*(np.array(own[name]) for name in ("weight", "mean", "sd")), sigma=known["sigma"])


def test_other_software_draws_from_this_distribution(crohn: Any) -> None:
    """Means and quantiles in Monte Carlo errors of independent draws; chains are worth less than these."""
    known, tree = crohn
    prior, n = bm.map_prior(tree, sigma=known["sigma"]), known["draws"]
    for run in known["runs"]:
        assert run["map"]["mean"] == pytest.approx(prior.mean, abs=3 * prior.sd / np.sqrt(n))
        assert run["map"]["sd"] == pytest.approx(prior.sd, rel=0.05)
        for p, value in zip(known["probabilities"], run["map"]["quantiles"], strict=True):
            assert abs(prior.below(value) - p) < 3 * np.sqrt(2 * p * (1 - p) / n)
        for name in ("mean", "sd"):
            assert run["tau"][name] == pytest.approx(float(tree["marginals"][f"tau_unit_{name}"]), rel=0.05)


def test_effective_sizes_of_a_mixture_are_those_of_other_software(crohn: Any) -> None:
    known, _ = crohn
    prior, robust = of_reference(known), known["robust"]
    assert round(prior.ess()) == known["ess"]["elir"]
    assert round(prior.ess("moment")) == known["ess"]["moment"]
    assert round(prior.robust(robust["weight"], robust["mean"]).ess()) == known["ess"]["robust"]


def test_the_final_analysis_is_that_of_other_software(crohn: Any) -> None:
    known, _ = crohn
    final, robust = known["final"], known["robust"]
    placebo = of_reference(known).robust(robust["weight"], robust["mean"]).updated(*final["placebo"])
    mean, sd = final["active_prior"]
    active = MapPrior(np.ones(1), np.array([float(mean)]), np.array([float(sd)])).updated(*final["active"])
    less = ndtr((placebo.centre - active.centre) / np.hypot(placebo.spread, active.spread))
    assert float(placebo.weight @ less) == pytest.approx(final["probability"], abs=5e-9)


def test_a_normal_prior_is_worth_its_precision() -> None:
    prior = MapPrior(np.ones(1), np.array([1.0]), np.array([2.0]), 10.0)
    assert prior.ess() == pytest.approx(25, rel=1e-10)
    assert prior.ess("moment") == pytest.approx(25)


@pytest.mark.parametrize("n", [30, 300])
def test_effective_sizes_grow_by_the_observations(post: Any, n: int) -> None:
    """The property that defines the local information ratio, over the predictive distribution of the mean of n."""
    prior, rng = bm.map_prior(post, sigma=2.0).robust(0.2), np.random.default_rng(3)
    which = rng.choice(len(prior.weight), 400, p=prior.weight)
    y = rng.normal(prior.centre[which], np.hypot(prior.spread[which], 2.0 / np.sqrt(n)))
    gained = np.array([prior.updated(each, 2.0 / np.sqrt(n)).ess() - n for each in y])
    assert gained.mean() == pytest.approx(prior.ess(), abs=4 * gained.std() / np.sqrt(len(y)))


def test_the_prior_is_the_predictive_distribution(post: Any) -> None:
    prior, new = bm.map_prior(post), bm.predict(post, {}, "prediction", 0.9).squeeze()
    assert prior.mean == pytest.approx(float(new["mean"]), rel=1e-12)
    assert prior.sd == pytest.approx(float(new["se"]), rel=1e-12)
    assert [prior.quantile(p) for p in (0.05, 0.95)] == pytest.approx([float(new["lower"]), float(new["upper"])])
    assert prior.below(-0.2) == pytest.approx(bm.exceedance(post, below=-0.2)["mean"].item(), rel=1e-9)
    table = prior.to_dataframe()
    assert table["weight"].sum() == pytest.approx(1)
    assert (table["weight"] @ table["mean"]) == pytest.approx(prior.mean)


@pytest.mark.parametrize("make", [bcg, school])
def test_merged_components_keep_mean_and_sd_and_come_closer(make: Any) -> None:
    tree = bm.sample(make(), PRIORS, draws=10, random_seed=1)
    whole = bm.map_prior(tree, sigma=2)
    far = []
    for n in (1, 2, 4, 8):
        prior = bm.map_prior(tree, sigma=2, components=n)
        assert len(prior.weight) == n
        assert (prior.mean, prior.sd) == (pytest.approx(whole.mean), pytest.approx(whole.sd))
        x = whole.mean + whole.sd * np.linspace(-4, 4, 200)
        far.append(max(abs(prior.below(value) - whole.below(value)) for value in x))
    assert far == sorted(far, reverse=True)
    assert far[-1] < 0.005


def test_outcomes_and_predictors_are_those_of_predict() -> None:
    tree = bm.sample(berkey98(), PRIORS, draws=10, random_seed=1)
    new = bm.predict(tree, {}, "prediction")
    for outcome in ("PD", "AL"):
        prior = bm.map_prior(tree, outcome=outcome)
        assert prior.mean == pytest.approx(new["mean"].sel(outcome=outcome).item())
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    slope = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    new = bm.predict(slope, {"ablat": 20}, "prediction").squeeze()
    assert bm.map_prior(slope, {"ablat": 20}).sd == pytest.approx(float(new["se"]), rel=1e-9)
    assert bm.assurance(slope, 0.1, below=0, newdata={"ablat": 20}).sizes == {"se": 1}


def test_assurance_is_what_simulated_studies_say(post: Any) -> None:
    """Estimates from draws of the posterior; the updated posteriors by importance weights of all draws."""
    se, threshold = 0.3, -0.5
    found = bm.assurance(post, se, below=threshold, probability=0.9, prob=0.8).squeeze("se")
    mu, tau2 = beta_draws(post)[:, 0], psi_draws(post, "unit")[:, 0, 0]
    rng = np.random.default_rng(5)
    theta = rng.normal(mu, np.sqrt(tau2))
    y = rng.normal(theta, se)
    alone = np.mean(y + norm.ppf(0.9) * se < threshold)
    assert float(found["study"]) == pytest.approx(alone, abs=5 * np.sqrt(0.25 / len(y)))
    some, pooled, own, width = rng.choice(len(y), 300, replace=False), [], [], []
    for each in y[some]:
        weight = norm.pdf(each, mu, np.sqrt(tau2 + se**2))
        weight /= weight.sum()
        pooled.append(weight[mu < threshold].sum())
        share = tau2 / (tau2 + se**2)
        own.append(weight @ ndtr((threshold - mu - share * (each - mu)) / np.sqrt(share * se**2)))
        order = np.argsort(mu)
        ends = np.interp([0.1, 0.9], np.cumsum(weight[order]), mu[order])
        width.append(ends[1] - ends[0])
    for name, values in (("pooled", pooled), ("updated", own)):
        assert float(found[name]) == pytest.approx(np.mean(np.array(values) > 0.9), abs=4.5 * np.sqrt(0.25 / 300))
    assert float(found["width"]) == pytest.approx(np.mean(width), rel=0.02)
    assert float(found["probability_now"]) == pytest.approx(np.mean(mu < threshold), abs=0.01)


def test_the_limits_of_assurance(post: Any) -> None:
    found = bm.assurance(post, [1e-4, 1e3], below=-0.5)
    prior = bm.map_prior(post)
    assert found["study"].values == pytest.approx([prior.below(-0.5), 0.025], abs=1e-3)
    assert found["updated"].values[0] == pytest.approx(prior.below(-0.5), abs=2e-3)
    assert found["pooled"].values[1] == 0.0  # nothing is learnt, and the probability before is not enough
    assert found["width"].values[1] == pytest.approx(found["width_now"].item(), rel=1e-5)
    assert found["study_width"].values == pytest.approx([2 * 1.96e-4, found["study_width_now"].item()], rel=1e-3)
    above, below = (bm.assurance(post, 0.2, **{side: -0.5}) for side in ("above", "below"))
    assert above["probability_now"].item() == pytest.approx(1 - below["probability_now"].item())
    assert above["width"].values == pytest.approx(below["width"].values)


def test_what_is_refused(post: Any) -> None:
    with pytest.raises(bm.SpecError, match=r"map_prior is of a posterior, .* fit\n  bm.sample\(spec\) makes one"):
        bm.map_prior(bm.fit(bcg()))
    with pytest.raises(bm.SpecError, match="sigma is -1; it must be a finite number greater than 0"):
        bm.map_prior(post, sigma=-1)
    with pytest.raises(bm.SpecError, match="components is 0"):
        bm.map_prior(post, components=0)
    with pytest.raises(bm.SpecError, match="the new study is one row, newdata has 2"):
        bm.map_prior(post, bm.datasets.load("bcg").iloc[:2])
    with pytest.raises(bm.SpecError, match=r"in units of one observation\n  give its SD: sigma="):
        bm.map_prior(post).ess()
    with pytest.raises(bm.SpecError, match="method is 'elri'; did you mean 'elir'"):
        bm.map_prior(post, sigma=2).ess("elri")
    with pytest.raises(bm.SpecError, match="robust needs the SD of the vague component"):
        bm.map_prior(post).robust(0.2)
    with pytest.raises(bm.SpecError, match="weight is 2"):
        bm.map_prior(post).robust(2)
    with pytest.raises(bm.SpecError, match="se is 0"):
        bm.map_prior(post).updated(0.1, 0)
    two = bm.sample(berkey98(), PRIORS, draws=10, random_seed=1)
    with pytest.raises(bm.SpecError, match="map_prior is of one outcome, and the model has 2"):
        bm.map_prior(two)
    with pytest.raises(bm.SpecError, match="outcome: no 'pd'"):
        bm.map_prior(two, outcome="pd")
    with pytest.raises(bm.SpecError, match="assurance takes one threshold"):
        bm.assurance(post, 0.1)
    for bad in (0, -0.1, [0.1, np.nan], [], "a"):
        with pytest.raises((bm.SpecError, bm.DataError), match="se"):
            bm.assurance(post, bad, below=0)
    with pytest.raises(bm.SpecError, match=r"probability is 97\.5"):
        bm.assurance(post, 0.1, below=0, probability=97.5)
