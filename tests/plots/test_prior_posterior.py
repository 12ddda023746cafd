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


def half_normal(sigma: float) -> bm.Priors:
    return bm.Priors(tau=bm.priors.half_normal(sigma))


def test_the_curves_are_the_prior_and_the_density_of_the_draws() -> None:
    tree = make_posterior(bcg(), draws=2000, priors=half_normal(0.5))
    ax = bm.plots.prior_posterior(tree)[0]
    posterior, prior = ax.lines
    x = prior.get_xdata()
    np.testing.assert_allclose(prior.get_ydata(), halfnorm.pdf(x, scale=0.5), rtol=1e-6)
    draws = tree["posterior"]["tau_unit"].values.ravel()
    assert np.trapezoid(posterior.get_ydata(), x) == pytest.approx((draws <= x[-1]).mean(), abs=0.005)
    cumulated = np.cumsum(posterior.get_ydata()) * x[1]
    assert np.abs(cumulated - np.searchsorted(np.sort(draws), x) / len(draws)).max() < 0.03
    assert ax.get_xlim()[0] == 0
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
    uniform = densities(make_posterior(bcg(), priors=bm.Priors(tau=bm.Prior("Uniform", lower=0, upper=0.9))))[0]
    assert uniform.x[-1] > 0.9
    assert not uniform.posterior[uniform.x > 0.9].any()
    wide = densities(make_posterior(bcg(), priors=half_normal(3.0)))[0]
    assert wide.beyond == pytest.approx(halfnorm.sf(wide.x[-1], scale=3.0), abs=1e-3)
    ax = bm.plots.prior_posterior(make_posterior(bcg(), priors=half_normal(3.0)))[0]
    assert f"{100 * wide.beyond:.0f}% of the prior lies beyond the axis" in ax.get_title()
    steep = bm.plots.prior_posterior(make_posterior(bcg(), priors=half_normal(0.01)))[0]
    assert steep.get_ylim()[1] < 4 * steep.lines[0].get_ydata().max()


def test_every_sd_has_a_panel_and_fits_are_marked() -> None:
    spec = school()
    fit = bm.fit(spec)
    panels = bm.plots.prior_posterior(make_posterior(spec), fit=fit)
    assert [ax.get_xlabel() for ax in panels] == ["tau[district, Intercept]", "tau[study, Intercept]"]
    for ax, level in zip(panels, ("district", "study"), strict=True):
        assert ax.lines[-1].get_xdata() == [fit["estimate"][f"tau_{level}"].item()]
        assert ax.get_legend().get_texts()[-1].get_text() == "estimate, REML"
    assert crowded(panels[0].figure) == []
    ax = bm.plots.prior_posterior(make_posterior(spec), "tau[study, Intercept]")
    assert [a.get_xlabel() for a in ax] == ["tau[study, Intercept]"]


def test_one_sd_of_several_effects() -> None:
    spec = berkey("cs")
    fit = bm.fit(spec)
    ax = bm.plots.prior_posterior(make_posterior(spec), fit=fit)[0]
    assert ax.get_xlabel() == "tau[unit]"
    assert ax.lines[-1].get_xdata() == pytest.approx(fit["estimate"]["tau_unit"].values[:1])
    two = bm.plots.prior_posterior(make_posterior(berkey()))
    assert [a.get_xlabel() for a in two] == ["tau[unit, PD]", "tau[unit, AL]"]


@pytest.mark.parametrize("n", [3, 60])
def test_readable(n: int) -> None:
    assert crowded(bm.plots.prior_posterior(make_posterior(trial_spec(n)))[0].figure) == []


def test_refusals() -> None:
    post, fit = make_posterior(school()), bm.fit(school())
    for call, message in [
        (lambda: bm.plots.prior_posterior(fit), r"has no posterior, and a fit has no priors\n  bm\.sample\(spec\)"),
        (
            lambda: bm.plots.prior_posterior(post, ["tau[unit]"]),
            r"no parameter 'tau\[unit\]'.*\n  known: tau\[district",
        ),
        (lambda: bm.plots.prior_posterior(post, axes=plt.gca()), "1 axes for 2 panels"),
        (lambda: bm.plots.prior_posterior(post, fit=bm.fit(bcg())), r"the fit lacks tau\[district, Intercept\]"),
        (lambda: bm.plots.prior_posterior(post, fit=post), "fit is a posterior"),
        (lambda: bm.plots.prior_posterior(make_posterior(no_effects())), "no SD of random effects"),
        (lambda: bm.plots.prior_posterior(school()), "has no posterior"),
    ]:
        with pytest.raises(SpecError, match=message):
            call()


@pytest.mark.mpl_image_compare(
    tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="prior_posterior.png"
)
def test_picture() -> Figure:
    return bm.plots.prior_posterior(make_posterior(bcg(), draws=2000), fit=bm.fit(bcg()))[0].figure
