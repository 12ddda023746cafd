"""Comparisons drawn: fits and posteriors, the dataset of bm.sensitivity, and rows without an interval."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.tree.parameters import parameters
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior
from tests.support.trials import LONG, bcg, berkey, school, trial_spec


def results() -> dict[str, xr.DataTree]:
    return {m: bm.fit(bcg(), method=m) for m in ("reml", "fixed")} | {"Bayes": make_posterior(bcg())}


def test_panels_hold_the_estimates_and_intervals_of_the_summaries() -> None:
    given = results()
    beta, tau = bm.plots.compare(given, prob=0.8, df="z")
    tables = [parameters(tree, 0.8) for tree in given.values()]
    assert [t.get_text() for t in beta.get_yticklabels()] == ["reml", "fixed", "Bayes"]
    there = [bm.estimates(tree, 0.8, "response").loc["beta[Intercept]", "estimate"] for tree in given.values()]
    np.testing.assert_allclose(beta.lines[0].get_xdata(), there)
    np.testing.assert_allclose(
        np.array(beta.collections[0].get_segments())[..., 0],
        np.exp([t.loc["beta[Intercept]", ["lower", "upper"]].astype(float) for t in tables]),
    )
    assert beta.get_xlabel() == "Odds ratio, 80% interval"
    np.testing.assert_allclose(tau.lines[0].get_xdata(), [t.loc["tau[unit, Intercept]", "estimate"] for t in tables])
    assert tau.lines[0].get_ydata().tolist() == [2, 1, 0]
    assert tau.get_xlim()[0] == 0
    assert tau.get_xscale() == "linear"
    assert [(t.get_text(), t.xy) for t in tau.texts if "interval" in t.get_text()] == [("no interval", (0, 1))]
    table = tables[0].loc["beta[Intercept]", ["estimate", "lower", "upper"]].astype(float)
    assert beta.texts[0].get_text() == "{:.2f} [{:.2f}, {:.2f}]".format(*np.exp(table))
    assert [line.get_xdata()[0] for line in beta.lines if line.get_label() == "no effect"] in ([], [1])
    assert len(tau.collections[0].get_segments()) == 2
    assert crowded(beta.figure) == []


def test_a_parameter_that_a_model_lacks_is_said() -> None:
    panels = bm.plots.compare({"two": bm.fit(school()), "one": bm.fit(trial_spec(5))})
    titles = [ax.get_title() for ax in panels]
    assert titles == ["beta[Intercept]", *(f"tau[{level}, Intercept]" for level in ("district", "study"))]
    assert panels[1].texts[0].get_text() == "not in this model"
    assert panels[0].get_xlabel() == "Estimate, 95% interval"  # of different measures


def test_a_comparison_and_a_sensitivity_are_drawn_too() -> None:
    given = results()
    comparison = bm.compare(given, prob=0.8)
    one, two = (bm.plots.compare(each, prob=0.8)[1] for each in (given, comparison))
    np.testing.assert_array_equal(one.lines[0].get_xydata(), two.lines[0].get_xydata())
    dataset = comparison.dataset.rename(tree="prior").assign_attrs(prob=0.8)
    beta = bm.plots.sensitivity(dataset)[0]
    fits = np.exp(beta.lines[0].get_xdata())[:2]
    np.testing.assert_allclose(fits, bm.plots.compare(given)[0].lines[0].get_xdata()[:2])
    with pytest.raises(SpecError, match=r"prob is 0\.9, but the intervals of these results have prob=0\.8"):
        bm.plots.compare(dataset, prob=0.9)


def test_what_structures_hold_constant_is_left_out_unless_asked_for() -> None:
    fits = {"one": bm.fit(berkey("diag")), "two": bm.fit(berkey("diag"), method="ml")}
    assert "rho[unit, PD~AL]" not in [ax.get_title() for ax in bm.plots.compare(fits)]
    ax = bm.plots.compare(fits, "rho[unit, PD~AL]")[0]
    assert ax.lines[0].get_xdata().tolist() == [0, 0]
    assert len(ax.texts) == 2


@pytest.mark.parametrize(("n", "long"), [(3, False), (3, True), (60, False), (60, True)])
def test_readable_with_few_and_with_many(n: int, long: bool) -> None:
    trees = [bm.fit(trial_spec(12, seed=seed)) if seed % 2 else make_posterior(trial_spec(12)) for seed in range(4)]
    given = {f"{LONG if long else ''}result {i}": trees[i % 4] for i in range(n)}
    panels = bm.plots.compare(given)
    assert crowded(panels[0].figure) == []
    assert len(panels[0].get_yticklabels()) == n
    single = bm.plots.compare(given, ["tau[study, Intercept]"])
    assert single[0].figure.get_size_inches()[0] == 3.5
    assert crowded(single[0].figure) == []


def test_refusals() -> None:
    fit = bm.fit(bcg())
    for given, message in [
        (fit, "not DataTree"),
        ({}, r"not \{\}"),
        ([fit], "not list"),
        (xr.Dataset(), "not Dataset"),
    ]:
        with pytest.raises(SpecError, match=f"results must be a dict of names and results trees, {message}"):
            bm.plots.compare(given)
    with pytest.raises(SpecError, match="no parameter 'tau'"):
        bm.plots.compare({"a": fit}, "tau")
    with pytest.raises(SpecError, match="1 axes for 2 panels"):
        bm.plots.compare({"a": fit}, axes=plt.gca())
    with pytest.raises(SpecError, match="prob is 95"):
        bm.plots.compare({"a": fit}, prob=95)
    with pytest.raises(SpecError, match="expected the results tree"):
        bm.plots.compare({"a": fit, "b": "tree"})


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="compare.png")
def test_picture() -> Figure:
    return bm.plots.compare(results())[0].figure
