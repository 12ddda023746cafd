"""What every plot keeps: both kinds of trees, few studies and many, no text on another, three file formats."""

import warnings
from collections.abc import Callable
from io import BytesIO
from typing import Any

import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import bayesmeta as bm
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior
from tests.support.trials import trials

HEADS = {"png": b"\x89PNG", "svg": b"<?xml", "pdf": b"%PDF"}


def tree(n: int, backend: str, formula: str = "y ~ 1") -> Any:
    """Results of n studies with long names; a dose, a time and a category beside their effects."""
    rng = np.random.default_rng(n)
    data = trials(n, long=True).assign(dose=rng.uniform(1, 9, n), month=rng.choice([6, 12, 24], n))
    data["kind"] = np.resize(["placebo", "no treatment"], n)
    spec = bm.specify(formula, data.set_index("study"), S="v", measure="logor")
    return bm.fit(spec) if backend == "fit" else make_posterior(spec, priors=bm.Priors(tau=bm.priors.half_normal(1)))


def of_cohorts(n: int, backend: str) -> Any:
    """Results of n cohorts with three doses each."""
    data = pd.DataFrame({"study": np.repeat(np.arange(n), 3), "dose": np.tile([0.0, 12, 36], n)})
    data["years"], data["cases"] = 1e4, np.random.default_rng(n).poisson(60, 3 * n)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)  # about the choice of references
        spec = bm.dose_response.specify(data, study="study", cases="cases", person_years="years")
    return bm.fit(spec) if backend == "fit" else make_posterior(spec, priors=bm.Priors(tau=bm.priors.half_normal(1)))


PLOTS: dict[str, Callable[[int, str], Any]] = {
    "forest": lambda n, backend: bm.plots.forest(tree(n, backend)),
    "funnel": lambda n, backend: bm.plots.funnel(tree(n, backend)),
    "bubble": lambda n, backend: bm.plots.bubble(tree(n, backend, "y ~ dose"), "dose"),
    "dose_response": lambda n, backend: bm.plots.dose_response(tree(n, backend, "y ~ 0 + dose"), "dose"),
    "dose_residuals": lambda n, backend: bm.plots.dose_residuals(of_cohorts(n, backend)),
    "longitudinal": lambda n, backend: bm.plots.longitudinal(tree(n, backend, "y ~ month"), "month"),
    "caterpillar": lambda n, backend: bm.plots.caterpillar(tree(n, backend)),
    "orchard": lambda n, backend: bm.plots.orchard(tree(n, backend, "y ~ kind"), by="kind"),
    "compare": lambda n, backend: bm.plots.compare({"REML": tree(n, "fit"), "the other": tree(n, backend)}),
    "structure": lambda n, backend: bm.plots.structure(tree(n, backend)),
    "leave_one_out": lambda n, _: bm.plots.leave_one_out(tree(min(n, 12), "fit")),
    "cumulative": lambda n, _: bm.plots.cumulative(tree(min(n, 12), "fit")),
    "influence": lambda n, _: bm.plots.influence(tree(n, "fit"), exact=False),
    "baujat": lambda n, _: bm.plots.baujat(tree(n, "fit")),
    "radial": lambda n, backend: bm.plots.radial(tree(n, backend)),
    "qqnorm": lambda n, _: bm.plots.qqnorm(tree(n, "fit"), simulations=100),
    "gosh": lambda n, _: bm.plots.gosh(tree(min(n, 10), "fit"), highlight=None),
    "profile": lambda n, _: bm.plots.profile(bm.profile(tree(n, "fit"), "tau")),
    "prior_posterior": lambda n, _: bm.plots.prior_posterior(tree(n, "posterior")),
}


def test_every_plot_is_here() -> None:
    elsewhere = {"labbe"}  # takes counts
    elsewhere |= {"curves", "rho_sensitivity", "robustness"}  # take tables of their own
    elsewhere |= {name for name in bm.plots.__all__ if name.startswith("network_")}  # in tests/network
    elsewhere |= {"sroc", "accuracy_forest", "likelihood_ratios", "predictive_values", "fagan"}  # in tests/diagnostic
    elsewhere |= {"loo_pit", "loo_pit_values", "sensitivity", "simulation"}  # take no tree that a fake can stand for
    assert set(PLOTS) == set(bm.plots.__all__) - elsewhere


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("backend", ["fit", "posterior"])
@pytest.mark.parametrize("name", PLOTS)
def test_axes_are_returned_and_texts_stand_apart(name: str, backend: str, n: int) -> None:
    drawn = PLOTS[name](n, backend)
    axes = np.ravel(np.asarray(drawn, dtype=object))
    assert all(isinstance(ax, Axes) for ax in axes)
    figure = drawn.figure
    assert isinstance(figure, Figure)
    assert axes[0].figure is figure
    assert not crowded(figure)
    for kind, head in HEADS.items():
        figure.savefig(file := BytesIO(), format=kind)
        assert file.getvalue().startswith(head)
        assert len(file.getvalue()) > 3000
