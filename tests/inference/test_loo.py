"""Posteriors of parts of the data: against posteriors of these parts, dense densities, and weighted draws."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import ndtr
from scipy.stats import kstest, multivariate_normal

import bayesmeta as bm
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import integrate
from bayesmeta.bayes.integration_points import exact_posterior, integration_group
from bayesmeta.estimation.parts import part_of
from bayesmeta.inference.posterior_parts import part_posteriors, predictive
from bayesmeta.priors.defaults import resolve
from tests.bayes.test_quadrature import CASES, HALF, bcg, berkey98, normal, school
from tests.support.edited import unhashed

PRIORS = bm.Priors(beta=normal(1), tau=HALF)
NAMES = ["estimate", "se", "lower", "upper"]


@pytest.fixture(scope="module")
def posteriors() -> dict[str, xr.DataTree]:
    made = {"bcg": bcg(), "school": school(), "berkey98": berkey98()}
    return {name: bm.sample(spec, PRIORS, draws=500, random_seed=1) for name, spec in made.items()}


@pytest.mark.parametrize("name", ["bcg", "school"])
def test_what_is_left_without_a_group_is_the_posterior_of_the_others(posteriors: Any, name: str) -> None:
    tree = posteriors[name]
    spec, table = bm.Spec.from_tree(tree), bm.leave_one_out(tree, prob=0.9)
    outer = spec.levels[0].index
    for g in (0, spec.levels[0].n_groups - 1):
        own = bm.sample(part_of(spec, outer != g), PRIORS, draws=10, random_seed=2)
        found, expected = table.iloc[g], bm.estimates(own, 0.9)
        np.testing.assert_allclose(
            found[NAMES].astype(float), expected.loc["beta[Intercept]", NAMES].astype(float), atol=2e-5
        )
        variances = expected.loc[expected["kind"] == "psi", "estimate"].to_numpy(float)
        np.testing.assert_allclose(found.filter(like="tau2").to_numpy(float), variances, rtol=1e-5)
        shares = bm.heterogeneity(own)
        for column, other in (("I2", "I2_tau2"), ("H2", "H2_tau2"), ("Q", "Q"), ("Q_df", "df")):
            assert found[column] == pytest.approx(float(shares[other]), rel=1e-6)
        assert found["k"] == len(bm.Spec.from_tree(own).y)
    assert table["pareto_k"].isna().all()
    assert table[["statistic", "df", "pvalue"]].isna().to_numpy().all()


@pytest.mark.parametrize("name", ["bcg", "school", "berkey98"])
def test_each_observation_given_all_others_is_what_the_posterior_of_these_says(posteriors: Any, name: str) -> None:
    whole = exact_posterior(posteriors[name])
    assert whole is not None
    spec = whole.evaluator.spec
    values = bm.plots.loo_pit_values(posteriors[name])
    assert values["pareto_k"].isnull().all()
    for j in range(len(spec.y))[:: 16 if name == "school" else 6]:
        part = part_posteriors(whole, np.arange(len(spec.y))[None] != j)[0]
        assert part.points is not None
        mean, cov = predictive(part.points, spec, np.array([j]))
        expected = part.points.main[0] @ ndtr((spec.y[j] - mean[:, 0]) / np.sqrt(cov[:, 0, 0]))
        assert float(values["pit"][j]) == pytest.approx(expected, abs=1e-6 if name != "berkey98" else 1e-5)


def test_observations_that_points_do_not_reach_are_left_out_anew() -> None:
    """One of three studies far from the others, and a coefficient that hangs on one observation."""
    table = {"y": [0.1, 0.2, 6.0, 0.3], "v": [0.01, 0.02, 0.005, 0.01], "x": [0, 0, 1, 0]}
    tree = bm.sample(bm.specify("y ~ 1", table, S="v", measure="smd"), PRIORS, draws=10, random_seed=1)
    part = bm.sample(
        bm.specify("y ~ 1", pd.DataFrame(table).drop(2), S="v", measure="smd"), PRIORS, draws=10, random_seed=1
    )
    points = exact_posterior(part)
    assert points is not None
    weight, at = points.main
    sd = np.sqrt(0.005 + points.psi[0][0, 0] + at.root[:, 0, 0] ** 2)
    pit = bm.plots.loo_pit_values(tree)["pit"]
    assert 1 - float(pit[2]) == pytest.approx(weight @ ndtr(-(6 - at.beta[:, 0]) / sd), rel=1e-3)
    flat = bm.Priors(beta=bm.Prior("Flat"), tau=HALF)
    spec = bm.specify("y ~ x", table, S="v", measure="smd")
    with pytest.warns(bm.AssumptionWarning, match="improper"):
        hanging = bm.sample(spec, flat, draws=10, random_seed=1)
    pit = bm.plots.loo_pit_values(hanging)["pit"]
    assert np.isnan(pit[2])
    assert np.isfinite(pit[[0, 1, 3]]).all()


@pytest.mark.filterwarnings("ignore:the data cannot identify the variance")
def test_the_evidence_builds_up_to_the_posterior_of_all(posteriors: Any) -> None:
    tree = posteriors["bcg"]
    table = bm.cumulative(tree, order="year")
    assert table["order"].is_monotonic_increasing
    last = bm.estimates(tree).loc["beta[Intercept]", NAMES]
    np.testing.assert_allclose(table.iloc[-1][NAMES].astype(float), last.astype(float), atol=2e-5)
    first = bm.datasets.load("bcg").sort_values("year", kind="stable").iloc[[0]]
    one = bm.sample(bm.specify("logor ~ 1", first, S="logorvar", measure="logor"), PRIORS, draws=10, random_seed=1)
    expected = bm.estimates(one).loc["beta[Intercept]", NAMES]
    np.testing.assert_allclose(table.iloc[0][NAMES].astype(float), expected.astype(float), atol=2e-5)
    ratios = bm.cumulative(tree, order="year", scale="response")
    np.testing.assert_allclose(ratios["lower"], np.exp(table["lower"]), rtol=1e-10)
    assert ratios["estimate"].iloc[-1] == pytest.approx(bm.estimates(tree, scale="response")["estimate"].iloc[0])
    ax = bm.plots.cumulative(tree, order="year")
    assert f"{ratios['lower'].iloc[0]:.2f}" in " ".join(text.get_text() for text in ax.texts)


@pytest.mark.parametrize("case", ["one", "two"])
def test_log_densities_and_transforms_are_those_of_full_matrices(case: str) -> None:
    make, dense, *_ = CASES[case]
    spec = make()
    found = bm.loo(bm.sample(spec, PRIORS, draws=10, random_seed=1))
    outer = spec.levels[0].index
    whole = dense(spec).answers()
    for g in (0, 3):
        own, rest = np.flatnonzero(outer == g), np.flatnonzero(outer != g)
        part = dense(part_of(spec, outer != g)).answers()
        expected = whole.log_marginal_likelihood - part.log_marginal_likelihood
        assert found["elpd"][g].item() == pytest.approx(expected, abs=2e-6)
        assert abs(found["elpd"][g].item() - expected) < found["elpd_error"][g].item() + 1e-8
        variance = part.cov[:, 0, 0] + (part.x**2).sum(1)
        for i in own:
            S = spec.S.variances[i]
            pit = part.weight @ ndtr((spec.y[i] - part.beta[:, 0]) / np.sqrt(variance + S))
            assert found["pit"][i].item() == pytest.approx(pit, abs=1e-5)
        assert len(rest) + len(own) == len(spec.y)


def test_studies_within_districts_are_predicted_from_the_others_of_their_district() -> None:
    """Densities of one study given those of the same district too, from joint densities by full matrices."""
    spec = school()
    found = bm.loo(bm.sample(spec, PRIORS, draws=10, random_seed=1), by="study")
    whole = CASES["two"][1](spec).answers()
    for i in (4, 40):
        keep = np.arange(len(spec.y)) != i
        part = CASES["two"][1](part_of(spec, keep)).answers()
        expected = whole.log_marginal_likelihood - part.log_marginal_likelihood
        assert found["elpd"][i].item() == pytest.approx(expected, abs=5e-6)
        mates = np.flatnonzero((spec.levels[0].index == spec.levels[0].index[i]) & keep)
        pit = 0.0
        for x, w, m, v in zip(part.x, part.weight, part.beta[:, 0], part.cov[:, 0, 0], strict=True):
            if w < 1e-12:
                continue
            Sigma = np.diag(spec.S.variances[mates]) + x[1] ** 2 * np.eye(len(mates)) + x[0] ** 2
            C = np.linalg.solve(Sigma, np.full(len(mates), x[0] ** 2))
            mean = m + C @ (spec.y[mates] - m)
            variance = x[0] ** 2 * (1 - C.sum()) + x[1] ** 2 + spec.S.variances[i] + v * (1 - C.sum()) ** 2
            pit += w * ndtr((spec.y[i] - mean) / np.sqrt(variance))
        assert found["pit"][i].item() == pytest.approx(pit, abs=1e-5)


def test_the_density_of_a_group_is_that_of_its_mixture(posteriors: Any) -> None:
    """log p(y_g | others) as difference of marginal likelihoods and as a mixture of the others' posterior."""
    tree = posteriors["berkey98"]
    spec, found = bm.Spec.from_tree(tree), bm.loo(tree)
    outer = spec.levels[0].index
    own = np.flatnonzero(outer == 1)
    part = bm.sample(part_of(spec, outer != 1), PRIORS, draws=25_000, random_seed=3, random_effects=False)
    beta, psi = (
        part[g][v].to_numpy().reshape(100_000, *s)
        for g, v, s in (("posterior", "beta", (2,)), ("derived", "psi_unit", (2, 2)))
    )
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    Sigma = psi + S[np.ix_(own, own)]
    away = spec.y[own] - beta
    log = -0.5 * ((away * np.linalg.solve(Sigma, away[..., None])[..., 0]).sum(1) + np.linalg.slogdet(Sigma)[1])
    density = np.exp(log) / (2 * np.pi)
    error = density.std() / density.mean() / np.sqrt(len(density))
    assert found["elpd"][1].item() == pytest.approx(np.log(density.mean()), abs=5 * error)


def test_weighted_draws_say_the_same_where_they_serve(posteriors: Any) -> None:
    import arviz

    tree = bm.sample(bcg(), PRIORS, draws=5000, random_seed=1)
    found, other = bm.loo(tree), arviz.loo(tree, pointwise=True)
    np.testing.assert_allclose(found["elpd"], other.elpd_i, atol=0.02)
    assert float(found["elpd_loo"]) == pytest.approx(float(other.elpd), abs=0.03)
    assert float(found["se"]) == pytest.approx(float(other.se), rel=0.02)
    assert float(found["p_loo"]) == pytest.approx(float(other.p), abs=0.03)
    compared = bm.compare(one=tree, two=posteriors["bcg"]).criteria
    assert compared["elpd_loo"].tolist() == [float(found["elpd_loo"])] * 2  # no noise from draws
    assert (compared["bad_k"] == 0).all()


def test_importance_sampling_says_the_same_as_quadrature() -> None:
    """Five studies of two outcomes, where some groups have more weight than draws of the whole can tell."""
    spec = berkey98()
    tree = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    other = tree.copy()
    weighted = integrate(Evaluator(spec, resolve(spec, PRIORS)), 1)
    other["integration"] = xr.DataTree(integration_group(weighted))
    other["criteria"]["log_marginal_likelihood"] = weighted.log_marginal_likelihood
    other["criteria"]["log_marginal_likelihood_se"] = weighted.error
    one, two = bm.loo(tree), bm.loo(unhashed(other))
    far = np.abs(two["elpd"] - one["elpd"]) / (one["elpd_error"] + two["elpd_error"] + weighted.error)
    assert float(far.max()) < 4
    assert (two["pareto_k"].dropna("group") <= 0.7).all()
    table, exact = bm.leave_one_out(unhashed(other)), bm.leave_one_out(tree)
    np.testing.assert_allclose((table["estimate"] - exact["estimate"]) / exact["se"], 0, atol=0.1)
    np.testing.assert_allclose(table["se"] / exact["se"], 1, atol=0.1)


def test_transforms_are_uniform_where_the_model_is_right() -> None:
    rng = np.random.default_rng(4)
    v = rng.uniform(0.02, 0.3, 60)
    spec = bm.specify("y ~ 1", {"y": 0.3 + rng.normal(0, np.sqrt(v + 0.09)), "v": v}, S="v", measure="smd")
    assert kstest(bm.loo(bm.sample(spec, PRIORS, draws=10, random_seed=1))["pit"], "uniform").pvalue > 0.01


def test_parts_that_do_not_identify_a_coefficient_are_said() -> None:
    data = bm.datasets.load("bcg")
    spec = bm.specify("logor ~ ablat", data, S="logorvar", measure="logor")
    tree = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    with pytest.warns(bm.AssumptionWarning, match=r"the data up to group .*do not identify the model: NaN"):
        table = bm.cumulative(tree)
    assert table["estimate"].isna().sum() == 2
    assert not table.loc[table["estimate"].isna(), "converged"].any()


def test_influence_is_of_exact_posteriors(posteriors: Any) -> None:
    tree = posteriors["bcg"]
    found, table = bm.influence(tree), bm.leave_one_out(tree)
    np.testing.assert_allclose(found["tau2_deleted"], table["tau2"], rtol=1e-8)
    se = bm.estimates(tree).loc["beta[Intercept]"]
    moved = (float(se["estimate"]) - table["estimate"]) / table["se"]
    assert np.corrcoef(moved, found["dfbetas"].squeeze())[0, 1] > 0.999
    assert found["refitted"].all()


def test_a_fit_is_refused_with_what_there_is() -> None:
    fit = bm.fit(bcg())
    with pytest.raises(bm.SpecError, match=r"loo is of a posterior, .*\n  bm.leave_one_out"):
        bm.loo(fit)
    prior = bm.Prior("Moyal", mu=0, sigma=1)
    tree = unhashed(bm.sample(bcg(), PRIORS, draws=10, random_seed=1))
    del tree["integration"]
    tree.attrs["priors"] = resolve(bcg(), bm.Priors(beta=prior, tau=HALF)).to_json()
    with pytest.raises(bm.SpecError, match="loo needs a posterior without Markov chains, and the prior Moyal"):
        bm.loo(tree)


def test_chains_are_integrated_where_that_can_be() -> None:
    """A tree by Markov chains has no points, but its model has."""
    tree = bm.sample(bcg(), PRIORS, draws=10, random_seed=1)
    bare = unhashed(tree.copy())
    del bare["integration"]
    xr.testing.assert_allclose(bm.loo(tree), bm.loo(bare))
    pd.testing.assert_frame_equal(bm.leave_one_out(tree), bm.leave_one_out(bare))


def test_the_joint_density_of_a_column_of_groups() -> None:
    """Groups of a column that cross the outer level share the coefficients: densities by full matrices."""
    spec = bcg()
    tree = bm.sample(spec, PRIORS, draws=10, random_seed=1)
    found = bm.loo(tree, by="alloc")
    whole = CASES["one"][1](spec).answers()
    alloc = spec.data["alloc"].to_numpy()
    for name, elpd in zip(found["group"].values, found["elpd"].values, strict=True):
        part = CASES["one"][1](part_of(spec, alloc != name)).answers()
        assert elpd == pytest.approx(whole.log_marginal_likelihood - part.log_marginal_likelihood, abs=2e-6)
        own = alloc == name
        n = int(own.sum())
        logs = [
            multivariate_normal.logpdf(spec.y[own], np.full(n, m), np.diag(spec.S.variances[own] + x[0] ** 2) + v)
            for x, m, v in zip(part.x, part.beta[:, 0], part.cov[:, 0, 0], strict=True)
        ]
        assert np.log(part.weight @ np.exp(logs)) == pytest.approx(elpd, abs=1e-4)
