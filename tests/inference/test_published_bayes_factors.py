"""Bayes factors and averages that others published: the power pose effect, by metaBMA and RoBMA."""

import numpy as np
import pytest
from scipy import stats

import bayesmeta as bm
from bayesmeta.model.respecify import homogeneous

TAU = "tau[unit, Intercept]"


class PowerPose:
    """The four models of a data set under a prior of the effect that is truncated to positive values."""

    def __init__(self, record: dict, data: str, prior: str) -> None:
        self.prior = record["priors"][prior]
        self.tau = bm.Prior("InverseGamma", **record["priors"]["tau"])
        spec = bm.specify("d ~ 1", record["data"][data], se="se", measure="smd")
        self.specs = {"fixed": homogeneous(spec), "random": spec}

    def posterior(self, name: str):
        tau = {"tau": self.tau} if name == "random" else {}
        return bm.sample(self.specs[name], bm.Priors(beta=bm.Prior("StudentT", **self.prior), **tau), random_seed=1)

    def truncated(self, name: str) -> tuple[float, float]:
        """Bayes factor of a positive effect, and log marginal likelihood without one.

        That of the whole prior, times the posterior probability of positive values over the prior one.
        """
        spec, priors = self.specs[name], bm.Priors(beta=bm.Prior("StudentT", **self.prior))
        if name == "random":
            priors = bm.Priors(beta=priors.beta, tau=self.tau)
        found = bm.robustness(spec, {"one": priors}, priors).isel(prior=0)
        factor = bm.bayes_factor(self.posterior(name), "Intercept = 0")
        before = stats.t(self.prior["nu"], self.prior["mu"], self.prior["sigma"]).sf(0)
        share = (1 - float(found["probability_below"][0])) / before
        return float(factor["bayes_factor"]) * share, float(factor["log_marginal_likelihood"][1])


@pytest.mark.parametrize("row", range(4))
def test_bayes_factors_of_the_effect(reference, row):
    record = reference("bayes_factors/power_pose")
    printed = record["bayes_factors"][row]
    models = PowerPose(record, printed["data"], printed["prior"])
    (fixed, null), (random, random_null) = (models.truncated(name) for name in ("fixed", "random"))
    assert fixed == pytest.approx(printed["fixed"], abs=6e-4)  # three decimals are printed
    assert random == pytest.approx(printed["random"], abs=6e-4)
    against = np.exp(null), np.exp(random_null)
    inclusion = (fixed * against[0] + random * against[1]) / sum(against)
    assert inclusion == pytest.approx(printed["inclusion"], abs=6e-4)


def test_a_half_cauchy_prior_needs_no_truncation(reference):
    record = reference("bayes_factors/power_pose")
    models = PowerPose(record, "all", "default")
    half = bm.Prior("HalfCauchy", beta=record["priors"]["default"]["sigma"])
    with pytest.warns(bm.AssumptionWarning, match="rules out negative values"):
        post = bm.sample(models.specs["random"], bm.Priors(beta=half, tau=models.tau), random_seed=1)
    assert float(bm.bayes_factor(post, "Intercept = 0")["bayes_factor"]) == pytest.approx(9.374, abs=6e-4)


@pytest.mark.parametrize("row", range(4))
def test_averaged_estimates(reference, row):
    """Two decimals of medians and highest-density intervals, which differ from equal-tailed ones in the second."""
    record = reference("bayes_factors/power_pose")
    printed = record["averaged"][row]
    models = PowerPose(record, printed["data"], printed["prior"])
    effect = bm.average({name: models.posterior(name) for name in models.specs}).sel(parameter="beta[Intercept]")
    for name in ("lower", "upper"):
        assert float(effect[name]) == pytest.approx(printed[name], abs=0.016)
    assert float(effect["estimate"]) == pytest.approx(printed["median"], abs=0.011)


def test_averages_of_robma(reference):
    """Which are of Markov chains, to three decimals: mean within 0.002, ends of intervals within 0.006."""
    record = reference("bayes_factors/power_pose")
    printed = record["robma"]["estimation"]
    models = PowerPose(record, "all", "default")
    averaged = bm.average({name: models.posterior(name) for name in models.specs})
    assert float(averaged["inclusion_bayes_factor"].sel(parameter=TAU)) == pytest.approx(0.250, abs=0.002)
    assert float(averaged["inclusion_probability"].sel(parameter=TAU)) == pytest.approx(0.200, abs=0.001)
    for label, name in (("beta[Intercept]", "mu"), (TAU, "tau")):
        own = averaged.sel(parameter=label)
        assert float(own["estimate"]) == pytest.approx(printed[name]["mean"], abs=0.002)
        assert float(own["lower"]) == pytest.approx(printed[name]["lower"], abs=0.006)
        assert float(own["upper"]) == pytest.approx(printed[name]["upper"], abs=0.006)


def test_posterior_probabilities_of_the_models(reference):
    record = reference("bayes_factors/power_pose")
    models = PowerPose(record, "all", "default")
    log, printed = {}, record["metabma_posterior"]
    for name in models.specs:
        factor, null = models.truncated(name)
        log |= {f"{name}_H0": null, f"{name}_H1": null + np.log(factor)}
    weight = np.exp(np.array(list(log.values())) - max(log.values()))
    for name, share in zip(log, weight / weight.sum(), strict=True):
        assert share == pytest.approx(printed[name], abs=6e-6)
