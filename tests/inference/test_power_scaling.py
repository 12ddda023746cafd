"""Powers of prior and likelihood: exact ones against weighted draws, and closed forms where there are some."""

import warnings

import numpy as np
import pytest
import xarray as xr
from scipy.special import ndtr, ndtri

import bayesmeta as bm
from bayesmeta.bayes.power_scaled import jensen_shannon
from bayesmeta.errors import AssumptionWarning, SpecError
from bayesmeta.inference import power_scaling
from bayesmeta.inference.power_scaling import CONFLICT, NEITHER, STRONG

KNOWN = bm.Prior("Normal", mu=1, sigma=0.2)


def bcg(priors: bm.Priors) -> xr.DataTree:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    return bm.sample(spec, priors, random_seed=1)


@pytest.fixture(scope="module")
def conflict() -> xr.DataTree:
    return bcg(bm.Priors(beta=KNOWN, tau=bm.priors.half_normal(0.5)))


def by_draws(tree: xr.DataTree, scaled: xr.Dataset) -> xr.Dataset:
    components, powers = scaled["component"].values.tolist(), scaled["alpha"].values.tolist()
    model = power_scaling.model_of(tree, "tree")
    return power_scaling._dataset(power_scaling._by_draws(tree, model, components, powers), components, powers, 0.05)


def test_exact_powers_are_those_of_weighted_draws(conflict):
    scaled = bm.power_scaling(conflict, blocks=True)
    assert scaled["component"].values.tolist() == ["prior", "likelihood", "beta", "tau"]
    drawn = by_draws(conflict, scaled)
    assert float(drawn["pareto_k"].max()) < 0.7
    error = 5 / np.sqrt(drawn["ess"])
    assert (np.abs(scaled["estimate"] - drawn["estimate"]) < error * scaled["sd"]).all()
    assert (np.abs(scaled["sd"] - drawn["sd"]) < error * scaled["sd"]).all()
    np.testing.assert_allclose(scaled["sensitivity"], drawn["sensitivity"], atol=0.03)
    assert scaled["diagnosis"].values.tolist() == drawn["diagnosis"].values.tolist() == [CONFLICT, CONFLICT]


def test_powers_are_other_priors_where_they_have_a_name(conflict):
    """A normal density to a power is a normal one, and a half-normal one a half-normal one."""
    scaled = bm.power_scaling(conflict, [0.5])
    for component, alpha in (("prior", 0.5), ("prior", 0.99)):
        other = bcg(
            bm.Priors(
                beta=bm.Prior("Normal", mu=1, sigma=0.2 / alpha**0.5), tau=bm.priors.half_normal(0.5 / alpha**0.5)
            )
        )
        single = bm.estimates(other).loc[scaled["parameter"].values]
        cell = scaled.sel(component=component, alpha=alpha)
        np.testing.assert_allclose(cell["estimate"], single["estimate"].astype(float), rtol=1e-6)
        np.testing.assert_allclose(cell["sd"], single["se"].astype(float), rtol=1e-5)


def test_a_power_of_the_likelihood_of_known_variances():
    """Without SDs, that is data with their variances divided by the power."""
    table = {"y": [0.1, 0.5, 0.3], "v": [0.04, 0.02, 0.03]}
    with pytest.warns(AssumptionWarning, match="common-effect model"):
        spec = bm.specify("y ~ 1", table, S="v", psi={"unit": bm.structures.Fixed([[0.0]])})
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=0.3))
    scaled = bm.power_scaling(bm.sample(spec, priors, random_seed=1), [1.25])
    weight = 1.25 / np.array(table["v"])
    variance = 1 / (weight.sum() + 0.3**-2)
    cell = scaled.sel(component="likelihood", alpha=1.25)
    assert float(cell["sd"][0]) == pytest.approx(variance**0.5)
    assert float(cell["estimate"][0]) == pytest.approx(variance * (weight @ table["y"]))


def test_diagnoses():
    strong = bcg(bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2), tau=bm.Prior("LogNormal", mu=-0.6, sigma=0.05)))
    words = bm.power_scaling(strong)["diagnosis"]
    assert words.sel(parameter="tau[unit, Intercept]").item() == STRONG
    assert words.sel(parameter="beta[Intercept]").item() == NEITHER


def test_distance_by_hand():
    """Of two normal distributions, over so wide a range that the bound is the range."""
    x = np.linspace(-6, 6, 4001)
    p, q = ndtr(x), ndtr(x - 0.3)
    middle = (p + q) / 2
    divergence = np.trapezoid(p * np.log2(p / middle) + q * np.log2(q / middle), x)
    by_hand = np.sqrt(divergence / np.trapezoid(p + q, x))
    ours = jensen_shannon(np.diff(x), (p[1:] + p[:-1]) / 2, (q[1:] + q[:-1]) / 2)
    assert ours >= by_hand * (1 - 1e-6)  # the larger of both directions
    assert ours == pytest.approx(by_hand, rel=0.05)
    assert jensen_shannon(np.diff(x), p[1:], p[1:]) == 0
    assert jensen_shannon(np.ones(2), np.zeros(2), np.ones(2)) == 1


def known_models() -> dict[str, xr.DataTree]:
    normal, half = (lambda sd, mean=0: bm.Prior("Normal", mu=mean, sigma=sd)), bm.priors.half_normal
    bcg, school = bm.datasets.load("bcg"), bm.datasets.load("school")
    on_latitude = bm.specify("logor ~ ablat", bcg, S="logorvar", measure="logor")
    levels = bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd")
    beta = {"Intercept": normal(1), "ablat": normal(0.02)}
    return {
        "moderator": bm.sample(on_latitude, bm.Priors(beta=beta, tau=half(0.2)), draws=50, random_seed=1),
        "levels": bm.sample(levels, bm.Priors(beta=normal(0.2), tau=half(0.1)), draws=50, random_seed=1),
    }


def test_sensitivities_are_those_of_priorsense(reference, conflict):
    known = reference("power_scaling/sensitivity")
    for name, tree in {"conflict": conflict, **known_models()}.items():
        record = known["models"][name]
        scaled = bm.power_scaling(tree, threshold=0.055).sel(parameter=record["parameters"])
        ours = scaled["sensitivity"].sel(component=known["components"]).to_numpy()
        theirs, se = np.array(record["sensitivity"]), np.array(record["se"])
        np.testing.assert_array_less(np.abs(ours - theirs), 4 * se + 0.06 * theirs, err_msg=name)
        prior, likelihood = theirs > 0.055  # at 0.05 one of them lies on the edge
        words = np.where(prior & likelihood, CONFLICT, np.where(prior, STRONG, NEITHER))
        assert scaled["diagnosis"].values.tolist() == words.tolist(), name


def test_distances_are_those_of_priorsense(reference):
    known = reference("power_scaling/sensitivity")["distances"]
    x = ndtri((np.arange(known["points"]) + 0.5) / known["points"])
    even = np.arange(1, len(x)) / len(x)
    for name, values in {"normal": x, "log_normal": np.exp(x)}.items():
        for a, distance in zip(known["powers"], known[name], strict=True):
            weight = np.exp(a * x - 0.2 * a * x**2)
            below = np.cumsum(weight)[:-1] / weight.sum()
            assert jensen_shannon(np.diff(values), even, below) == pytest.approx(distance, rel=1e-11)


def test_coefficients_without_a_normal_prior_are_weighted():
    tree = bcg(bm.Priors(beta=bm.Prior("Cauchy", alpha=0, beta=0.7), tau=bm.priors.half_normal(0.5)))
    scaled = bm.power_scaling(tree)
    assert scaled.attrs["engine"] == "draws"
    assert scaled["ess"].notnull().all()


def test_several_outcomes_and_moderators():
    spec = bm.specify(
        "PD + AL ~ pubyear", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"], psi="diag"
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.2)), draws=500, random_seed=1)
        scaled = bm.power_scaling(tree, blocks=True)
        drawn = by_draws(tree, scaled)
    near = scaled.sel(alpha=[0.9, 1.1]), drawn.sel(alpha=[0.9, 1.1])
    error = 5 / np.sqrt(near[1]["ess"])
    assert (np.abs(near[0]["estimate"] - near[1]["estimate"]) < error * near[0]["sd"]).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"alpha": []}, "alpha is"),
        ({"alpha": [0.5, 0]}, "alpha has 0"),
        ({"alpha": "half"}, "alpha is 'half'"),
        ({"blocks": 1}, "blocks"),
        ({"threshold": -1}, "threshold is -1"),
    ],
)
def test_bad_input(conflict, arguments, message):
    with pytest.raises(SpecError, match=message):
        bm.power_scaling(conflict, **arguments)


def test_not_a_posterior():
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    with pytest.raises(SpecError, match="tree is a fit"):
        bm.power_scaling(bm.fit(spec))
