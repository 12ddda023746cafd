"""Prior and posterior densities of SDs: exact priors, no probability below 0, marks of fits, and what is refused."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.figure import Figure
from scipy.stats import halfnorm, norm

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.prior_posterior import densities, density
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior
from tests.support.trials import bcg, berkey, school, trial_spec
from tests.tree.test_posterior_draws import no_effects

TAU, TAU_OUTER = "tau[unit, Intercept]", "tau[district, Intercept]"


def half_normal(sigma: float) -> bm.Priors:
    return bm.Priors(tau=bm.priors.half_normal(sigma))


def test_the_curves_are_the_prior_and_the_density_of_the_draws() -> None:
    tree = make_posterior(bcg(), draws=2000, priors=half_normal(0.5))
    ax = bm.plots.prior_posterior(tree, TAU)[0]
    posterior, prior = ax.lines[:2]
    x = prior.get_xdata()
    np.testing.assert_allclose(prior.get_ydata(), halfnorm.pdf(x, scale=0.5), rtol=1e-6)
    draws = tree["posterior"]["tau_unit"].values.ravel()
    assert np.trapezoid(posterior.get_ydata(), x) == pytest.approx((draws <= x[-1]).mean(), abs=0.005)
    cumulated = np.cumsum(posterior.get_ydata()) * x[1]
    assert np.abs(cumulated - np.searchsorted(np.sort(draws), x) / len(draws)).max() < 0.03
    assert ax.get_xlim()[0] == 0
    np.testing.assert_allclose(ax.lines[2].get_xdata(), np.quantile(draws, [0.025, 0.975]))
    assert x[0] == 0
    assert ax.get_title() == "Prior: HalfNormal(sigma=0.5)"


def test_a_density_is_reflected_at_its_ends() -> None:
    rng = np.random.default_rng(1)
    x = np.linspace(0, 1.5, 301)
    found = density(np.abs(rng.normal(0, 0.3, 4000)), x)
    np.testing.assert_allclose(found, 2 * norm.pdf(x, 0, 0.3), atol=0.2)
    flat = density(rng.uniform(0, 1, 4000), x, high=1.0)
    assert not flat[x > 1].any()
    np.testing.assert_allclose(flat[x <= 1], 1, atol=0.15)


def test_a_prior_that_ends_and_one_that_lies_beyond_the_axis() -> None:
    uniform = densities(make_posterior(bcg(), priors=bm.Priors(tau=bm.Prior("Uniform", lower=0, upper=0.9))), TAU)[0]
    assert uniform.x[-1] > 0.9
    assert not uniform.posterior[uniform.x > 0.9].any()
    wide = densities(make_posterior(bcg(), priors=half_normal(3.0)), TAU)[0]
    assert wide.beyond == pytest.approx(halfnorm.sf(wide.x[-1], scale=3.0), abs=1e-3)
    ax = bm.plots.prior_posterior(make_posterior(bcg(), priors=half_normal(3.0)), TAU)[0]
    assert f"{100 * wide.beyond:.0f}% of the prior lies beyond the axis" in ax.get_title()
    steep = bm.plots.prior_posterior(make_posterior(bcg(), priors=half_normal(0.01)), TAU)[0]
    assert steep.get_ylim()[1] < 4 * steep.lines[0].get_ydata().max()


def test_every_sd_has_a_panel_and_fits_are_marked() -> None:
    spec = school()
    fit = bm.fit(spec)
    panels = bm.plots.prior_posterior(make_posterior(spec), fit=fit)
    sds = ["tau[district, Intercept]", "tau[study, Intercept]"]
    assert [ax.get_xlabel() for ax in panels] == ["beta[Intercept]", *sds]
    assert panels[0].lines[-1].get_xdata() == [fit["estimate"]["beta"].item()]
    for ax, level in zip(panels[1:], ("district", "study"), strict=True):
        assert ax.lines[-1].get_xdata() == [fit["estimate"][f"tau_{level}"].item()]
        assert ax.get_legend().get_texts()[-1].get_text() == "estimate, REML"
    assert crowded(panels[0].figure) == []
    ax = bm.plots.prior_posterior(make_posterior(spec), "tau[study, Intercept]")
    assert [a.get_xlabel() for a in ax] == ["tau[study, Intercept]"]


def test_one_sd_of_several_effects() -> None:
    spec = berkey("cs")
    fit = bm.fit(spec)
    ax = bm.plots.prior_posterior(make_posterior(spec), "tau[unit]", fit=fit)[0]
    assert ax.get_xlabel() == "tau[unit]"
    assert ax.lines[-1].get_xdata() == pytest.approx(fit["estimate"]["tau_unit"].values[:1])
    two = bm.plots.prior_posterior(make_posterior(berkey()))
    assert [a.get_xlabel() for a in two][-2:] == ["tau[unit, PD]", "tau[unit, AL]"]


@pytest.mark.parametrize("n", [3, 60])
def test_readable(n: int) -> None:
    assert crowded(bm.plots.prior_posterior(make_posterior(trial_spec(n)))[0].figure) == []


def test_refusals() -> None:
    post, fit = make_posterior(school()), bm.fit(school())
    for call, message in [
        (lambda: bm.plots.prior_posterior(fit), r"has no posterior, and a fit has no priors\n  bm\.sample\(spec\)"),
        (
            lambda: bm.plots.prior_posterior(post, ["tau[unit]"]),
            r"no parameter 'tau\[unit\]'.*\n  known: beta\[Intercept\], tau\[district",
        ),
        (lambda: bm.plots.prior_posterior(post, axes=plt.gca()), "1 axes for 3 panels"),
        (
            lambda: bm.plots.prior_posterior(post, "tau[district, Intercept]", fit=bm.fit(bcg())),
            r"the fit lacks tau\[district, Intercept\]",
        ),
        (lambda: bm.plots.prior_posterior(post, fit=post), "fit is a posterior"),
        (lambda: bm.plots.prior_posterior(make_posterior(no_effects()), "tau[unit]"), "no parameter"),
        (lambda: bm.plots.prior_posterior(post, prob=95), "prob"),
        (lambda: bm.plots.prior_posterior(post, scale="response"), "no scale="),
        (lambda: bm.plots.prior_posterior(school()), "has no posterior"),
    ]:
        with pytest.raises(SpecError, match=message):
            call()


def test_a_coefficient_is_drawn_as_ratios_of_whose_logs_it_is_the_density() -> None:
    tree = make_posterior(bcg(), draws=2000)
    ratios, logs = (bm.plots.prior_posterior(tree, "beta[Intercept]", scale=s)[0] for s in (None, "model"))
    assert (ratios.get_xscale(), ratios.get_xlabel()) == ("log", "beta[Intercept], odds ratio")
    for one, two in zip(ratios.lines[:2], logs.lines[:2], strict=True):
        np.testing.assert_allclose(one.get_xdata(), np.exp(two.get_xdata()))
        np.testing.assert_allclose(one.get_ydata(), two.get_ydata())
    prior = logs.lines[1]
    np.testing.assert_allclose(prior.get_ydata(), norm.pdf(prior.get_xdata(), 0, 1), rtol=1e-6)
    draws = tree["posterior"]["beta"].values.ravel()
    np.testing.assert_allclose(np.log(ratios.lines[2].get_xdata()), np.quantile(draws, [0.025, 0.975]))


def test_a_proportion_has_a_density_of_its_own() -> None:
    data = {"y": [-1.0, -0.4, -1.3, -0.2], "v": [0.1, 0.2, 0.1, 0.3]}
    tree = make_posterior(bm.specify("y ~ 1", data, S="v", measure="logit"), draws=2000)
    ax = bm.plots.prior_posterior(tree, "beta[Intercept]", scale="response")[0]
    posterior = ax.lines[0]
    assert ax.get_xlabel() == "beta[Intercept], proportion"
    assert np.trapezoid(posterior.get_ydata(), posterior.get_xdata()) == pytest.approx(0.996, abs=0.01)


def test_a_default_prior_of_an_intercept_is_that_at_the_mean_of_the_predictors() -> None:
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    tree, fit = make_posterior(spec, draws=500), bm.fit(spec)
    own = {each.label: each for each in densities(tree)}
    weights = own["beta[Intercept]"].combination
    np.testing.assert_allclose(weights, [1, bm.datasets.load("bcg")["ablat"].mean()])
    ax = bm.plots.prior_posterior(tree, "beta[Intercept]", fit=fit)[0]
    assert ax.get_xlabel().endswith("at the mean of the predictors")
    assert np.log(ax.lines[-1].get_xdata()[0]) == pytest.approx(float(fit["estimate"]["beta"].values @ weights))


def test_an_improper_prior_has_no_curve() -> None:
    tree = make_posterior(bcg(), priors=bm.Priors(beta=bm.Prior("Flat")))
    ax = bm.plots.prior_posterior(tree, "beta[Intercept]")[0]
    assert "prior" not in [text.get_text() for text in ax.get_legend().get_texts()]
    assert ax.get_title() == "Prior: Flat()"


@pytest.mark.mpl_image_compare(
    tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="prior_posterior.png"
)
def test_picture() -> Figure:
    return bm.plots.prior_posterior(make_posterior(bcg(), draws=2000), fit=bm.fit(bcg()))[0].figure


def test_a_density_falls_beyond_the_ends_of_the_grid_that_is_stored():
    """A level line from the first point to zero would be probability where there is none."""
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    axes = bm.plots.prior_posterior(bm.sample(spec, random_seed=1))
    (line,) = (line for line in axes[1].lines if line.get_label() == "posterior")
    x, density = (np.asarray(part, float) for part in line.get_data())
    assert x[0] == 0
    assert density[x < 0.15].max() < 1e-3 * density.max()
    assert abs(np.trapezoid(density, x) - 1) < 0.01
