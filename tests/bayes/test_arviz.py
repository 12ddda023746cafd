"""ArviZ works on posterior trees as they are: the tree and nothing else, and no warning."""

from typing import Any

import arviz as az
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.special import ndtr
from scipy.stats import norm

import bayesmeta as bm
from bayesmeta.kernel.pointwise import pointwise_moments
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from tests.support.posteriors import make_posterior
from tests.tree.test_posterior_draws import smoking

PRIORS = bm.Priors(tau=bm.priors.half_normal(0.5))
# A statement about the data, not about the tree: leaving out one district moves the posterior far.
INFLUENTIAL = "ignore:Estimated shape parameter of Pareto:UserWarning"


def school() -> bm.Spec:
    """Two levels, 67 random effects: more than the panels that ArviZ draws."""
    data = bm.datasets.load("school")
    return bm.specify("effect ~ 1", data, S="var", random="1 | district/study", measure="smd")


def smoking_unstr() -> bm.Spec:
    """Three outcomes, not all observed, and an unstructured Psi."""
    return smoking("unstr")


def bcg() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")


CHAINS: dict[str, Any] = {"random_seed": 1, "sampler": "nutpie", "progress": False}
PARAMETERS = {"school": 3, "smoking": 9, "bcg": 2}  # scalars in the posterior


@pytest.fixture(scope="session")
def sampled() -> dict[str, xr.DataTree]:
    specs = {"school": school(), "smoking": smoking_unstr(), "bcg": bcg()}
    return {name: bm.sample(spec, PRIORS, **CHAINS) for name, spec in specs.items()}


@pytest.fixture(params=list(PARAMETERS))
def name(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def post(sampled: dict[str, xr.DataTree], name: str) -> xr.DataTree:
    return sampled[name]


def drawn(collection: az.PlotCollection) -> list[plt.Axes]:
    """The panels, once all of the figure has been drawn: visible, within finite limits, and none without a mark."""
    figure = collection.viz["figure"].item()
    figure.canvas.draw()
    panels = [ax for ax in figure.axes if ax.axison]
    for ax in panels:
        assert np.isfinite([*ax.get_xlim(), *ax.get_ylim()]).all()
        assert all(np.isfinite(line.get_ydata()).any() for line in ax.lines)
        assert ax.lines or ax.collections or ax.texts
    return panels


def test_summary(post: xr.DataTree, name: str):
    table = az.summary(post, ci_prob=0.95)
    assert len(table) == PARAMETERS[name]
    assert {"mean", "sd", "eti95_lb", "eti95_ub", "r_hat"} <= set(table.columns)
    assert table.notna().all(axis=None)


def test_plot_trace(post: xr.DataTree, name: str):
    assert len(drawn(az.plot_trace(post))) == PARAMETERS[name]


def test_plot_rank(post: xr.DataTree, name: str):
    assert len(drawn(az.plot_rank(post))) == PARAMETERS[name]


def test_plot_forest(post: xr.DataTree):
    drawn(az.plot_forest(post))


def test_plot_ppc_dist(post: xr.DataTree):
    assert len(drawn(az.plot_ppc_dist(post))) == 1


def test_plot_prior_posterior(post: xr.DataTree, name: str):
    panels = drawn(az.plot_prior_posterior(post))
    assert len(panels) == PARAMETERS[name]
    assert all(len(ax.lines) == 2 for ax in panels)


def test_psense_summary(post: xr.DataTree, name: str):
    table = az.psense_summary(post)
    assert len(table) == PARAMETERS[name]
    assert table.notna().all(axis=None)


def test_plot_psense_dist(post: xr.DataTree, name: str):
    assert len(drawn(az.plot_psense_dist(post))) == 2 * PARAMETERS[name]


@pytest.mark.filterwarnings(INFLUENTIAL)
def test_loo_leaves_out_outer_groups(post: xr.DataTree, name: str):
    loo = az.loo(post)
    assert loo.n_data_points == {"school": 11, "smoking": 24, "bcg": 13}[name]
    assert np.isfinite([loo.elpd, loo.se, loo.p]).all()
    if name == "school":
        assert post["log_likelihood"]["y"].dims[2:] == ("group_district",)


def test_loo_and_compare_without_a_warning_where_no_group_is_influential(sampled: dict[str, xr.DataTree]):
    post = sampled["bcg"]
    assert az.loo(post).elpd == pytest.approx(-14.7, abs=0.3)
    drawn(az.plot_khat(az.loo(post, pointwise=True)))
    other = bm.sample(bcg(), bm.Priors(tau=bm.priors.half_normal(1.0)), random_seed=2, progress=False)
    table = az.compare({"half": post, "one": other})
    assert list(table["rank"]) == [0, 1]
    assert abs(table["elpd_diff"].iloc[1]) < 1


@pytest.mark.filterwarnings(INFLUENTIAL)
def test_compare(post: xr.DataTree):
    table = az.compare({"one": post, "two": post})
    assert table["weight"].sum() == pytest.approx(1)
    assert (table["elpd_diff"] == 0).all()


def test_random_effects_are_a_group_of_their_own(sampled: dict[str, xr.DataTree]):
    post = sampled["school"]
    assert {str(v) for v in post["posterior"].data_vars} == {"beta", "tau_district", "tau_study"}
    assert len(az.summary(post, group="random_effects", ci_prob=0.95)) == 67
    drawn(az.plot_forest(post, group="random_effects"))


@pytest.mark.filterwarnings("ignore:no random effects")
def test_one_scalar_parameter_is_too_few_for_psense_plots():
    # ArviZ 1.3; the day this fails is the day the limit can go from the documentation
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", random="0 | trial", measure="logor")
    post = bm.sample(spec, bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2)), **CHAINS)
    assert len(az.psense_summary(post)) == 1
    drawn(az.plot_prior_posterior(post))
    with pytest.raises(TypeError, match="invalid indexer array"):
        az.plot_psense_dist(post)


def test_loo_pit_is_that_of_arviz_where_each_row_is_a_group(sampled: dict[str, xr.DataTree]):
    post = sampled["bcg"]
    ours = bm.plots.loo_pit_values(post)
    groups = {
        "posterior": "posterior",
        "log_likelihood": "log_likelihood_conditional",
        "observed_data": "observed_data",
        "posterior_predictive": "posterior_predictive_new",
    }
    theirs = az.loo_pit(xr.DataTree.from_dict({to: post[of].to_dataset() for to, of in groups.items()}))["y"]
    error = np.sqrt(ours["pit"] * (1 - ours["pit"]) / 2000)  # of 4000 draws with weights
    assert (abs(ours["pit"] - theirs) < 4 * error).all()
    whole = az.loo(post, pointwise=True)
    np.testing.assert_allclose(ours["pareto_k"], whole.pareto_k, atol=1e-6)


def test_loo_pit_is_what_a_posterior_without_the_observation_says():
    """The other study of the district stays, and says where the district lies."""
    data, out = bm.datasets.load("school").query("district in [11, 12, 18, 27, 56]"), 5

    def sample(frame: pd.DataFrame) -> xr.DataTree:
        spec = bm.specify("effect ~ 1", frame, S="var", random="1 | district/study", measure="smd")
        return bm.sample(spec, PRIORS, random_seed=3)

    row, without = data.iloc[out], sample(data.drop(data.index[out]))
    b = without["random_effects"]["b_district"].sel(group_district=str(int(row["district"])))
    mean = (without["posterior"]["beta"].squeeze("coef") + b.squeeze("effect_district")).to_numpy()
    tau = without["posterior"]["tau_study"].to_numpy().reshape(mean.shape)
    expected = ndtr((row["effect"] - mean) / np.sqrt(tau**2 + row["var"])).mean()
    found = bm.plots.loo_pit_values(sample(data)).isel(obs=out)
    assert np.isnan(found["pareto_k"])  # exact
    assert float(found["pit"]) == pytest.approx(expected, abs=0.015)  # of draws
    assert float(found["pit"]) != pytest.approx(0.5, abs=0.1)


def test_moments_are_those_of_the_conditional_densities(post: xr.DataTree):
    spec, density = bm.Spec.from_tree(post), post["log_likelihood_conditional"]["y"].to_numpy()
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    psi = [psi_draws(post, level.name) for level in spec.levels]
    S = spec.S.value, spec.S.row, spec.S.col
    mean, sd = pointwise_moments(spec.y, spec.X, Z, index, S, psi, beta_draws(post))
    np.testing.assert_allclose(norm.logpdf(spec.y, mean, sd), density.reshape(mean.shape), rtol=1e-9, atol=1e-9)
    _, again = pointwise_moments(spec.y + 1, spec.X, Z, index, S, psi, beta_draws(post))
    np.testing.assert_allclose(again, sd, rtol=1e-9)


def test_loo_pit_draws_into_the_axes_it_is_given(post: xr.DataTree):
    figure, axes = plt.subplots(1, 2)
    assert bm.plots.loo_pit(post, axes[1]) is axes[1]
    figure.canvas.draw()
    assert not axes[0].lines
    line = max(axes[1].lines, key=lambda x: len(x.get_xdata()))
    pit = bm.plots.loo_pit_values(post)["pit"].to_numpy()
    x, y = np.asarray(line.get_data(), float)
    np.testing.assert_allclose(y, (pit[:, None] <= x).mean(0) - x, atol=1 / len(pit) + 1e-9)
    assert f"LOO-PIT of {len(pit)} observations" in axes[1].get_xlabel()
    assert bm.plots.loo_pit(post).figure is not figure


def test_loo_pit_needs_conditional_densities():
    post = make_posterior(smoking_unstr(), draws=50)
    with pytest.raises(bm.SpecError, match="no group /log_likelihood_conditional"):
        bm.plots.loo_pit(post)
    with pytest.raises(bm.SpecError, match="no group"):
        bm.plots.loo_pit(bm.fit(bcg()))


def test_loo_pit_counts_observations_whose_weights_are_not_reliable(sampled: dict[str, xr.DataTree]):
    post = sampled["smoking"]
    values = bm.plots.loo_pit_values(post)
    bad = int((values["pareto_k"] > values.attrs["good_k"]).sum())
    assert bad > 0
    assert bm.plots.loo_pit(post).get_xlabel() == f"LOO-PIT of 31 observations; {bad} with Pareto k > 0.70"


def test_loo_pit_refuses_what_is_no_probability(sampled: dict[str, xr.DataTree]):
    with pytest.raises(bm.SpecError, match="prob is 95; it must lie strictly between 0 and 1"):
        bm.plots.loo_pit(sampled["bcg"], prob=95)
