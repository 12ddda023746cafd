"""Pictures of influence: the numbers of the tables, the axes of the measure, and what is refused."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.drawn import line
from tests.support.pictures import crowded


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    data = bm.datasets.load("bcg")
    data["vaccinated"], data["control"] = data["tpos"] + data["tneg"], data["cpos"] + data["cneg"]
    return data


@pytest.fixture(scope="module")
def fit(bcg: pd.DataFrame) -> Any:
    return bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor"))


@pytest.fixture(scope="module")
def outcomes() -> Any:
    return bm.fit(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"]))


def test_panels_show_the_table(fit: Any) -> None:
    table, axes = bm.influence(fit), bm.plots.influence(fit)
    assert len(axes) == 8
    for ax, name in zip(axes, ("rstudent", "dffits", "cooks_distance", "cov_ratio", "tau2_deleted"), strict=False):
        np.testing.assert_allclose(line(ax, "_values").get_ydata(), table[name])
    assert line(axes[4], "_whole").get_ydata()[0] == pytest.approx(fit["estimate/psi_unit"].item())
    assert line(axes[7], "_whole").get_ydata()[0] == pytest.approx(100 / 13)
    assert crowded(axes.figure) == []


def test_panels_of_groups_and_of_outcomes(outcomes: Any) -> None:
    school = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
    axes = bm.plots.influence(school, by="district")
    assert axes[0].get_title("left") == "χ² of the residuals"
    assert len(line(axes[1], "_influential").get_ydata()) == 1
    assert "71" in [text.get_text() for text in axes[1].texts]
    table = bm.influence(outcomes)
    (ax,) = bm.plots.influence(outcomes, diagnostics=["rstandard"], label=None)
    for name in ("PD", "AL"):
        np.testing.assert_allclose(line(ax, name).get_ydata(), table["rstandard"].sel(outcome=name))
    with pytest.raises(bm.SpecError, match="diagnostics: there is no 'cook' to draw here"):
        bm.plots.influence(outcomes, diagnostics=["cook"])


def test_baujat_points_are_as_metafor_draws_them(fit: Any) -> None:
    """metafor 3.8.1, baujat(rma(yi, vi)) of the odds ratios: the two largest."""
    points = line(bm.plots.baujat(fit), "_observations")
    x, y = np.asarray(points.get_xdata(), float), np.asarray(points.get_ydata(), float)
    np.testing.assert_allclose(
        x[[3, 7]], bm.influence(fit)["rstandard"][[3, 7]] ** 2 * (1 - bm.influence(fit)["hat"][[3, 7]])
    )
    table = bm.leave_one_out(fit, df="z")
    change = (table["estimate"] - fit["estimate/beta"].item()) ** 2 / table["se"] ** 2
    np.testing.assert_allclose(y, change)


def test_radial_lines_have_the_slopes_of_effects(fit: Any, bcg: pd.DataFrame) -> None:
    ax = bm.plots.radial(fit)
    points, pooled = line(ax, "_observations"), line(ax, "pooled estimate")
    slopes = np.asarray(points.get_ydata(), float) / np.asarray(points.get_xdata(), float)
    np.testing.assert_allclose(slopes, bcg["logor"])
    assert pooled.get_ydata()[1] / pooled.get_xdata()[1] == pytest.approx(fit["estimate/beta"].item())
    without = line(bm.plots.radial(fit, heterogeneity=False), "_observations")
    np.testing.assert_allclose(1 / np.asarray(without.get_xdata(), float) ** 2, bcg["logorvar"])
    arc = line(ax, "_arc")
    assert np.asarray(arc.get_xdata(), float).min() > np.asarray(points.get_xdata(), float)[1]


def test_gosh_points_are_the_subsets(fit: Any) -> None:
    subsets, ax = bm.gosh(fit), bm.plots.gosh(fit, highlight="TPT Madras (1980)")
    inside = subsets["included"].sel(group="TPT Madras (1980)").to_numpy()
    np.testing.assert_allclose(line(ax, "_with").get_xdata(), np.exp(subsets["estimate"][:, 0][inside]))
    np.testing.assert_allclose(line(ax, "_without").get_ydata(), subsets["I2"][~inside])
    assert ax.get_xscale() == "log"
    with pytest.raises(bm.SpecError, match="highlight: no group 'TPT'"):
        bm.plots.gosh(fit, highlight="TPT")


def test_quantiles_are_of_the_residuals_and_the_envelope_holds_most(fit: Any) -> None:
    ax = bm.plots.qqnorm(fit)
    np.testing.assert_allclose(line(ax, "_residuals").get_ydata(), np.sort(bm.influence(fit)["rstandard"]))
    # metafor 3.8.1, qqnorm(rma(yi, vi))$x: the quantile of the first study, and of the second
    x = np.asarray(line(ax, "_residuals").get_xdata(), float)
    order = np.argsort(bm.influence(fit)["rstandard"].to_numpy())
    np.testing.assert_allclose([x[order.argsort()[0]], x[order.argsort()[1]]], [0, -1.769], atol=1e-3)


def test_the_envelope_covers_data_of_the_model() -> None:
    rng = np.random.default_rng(2)
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    tree = bm.fit(spec)
    outside = []
    for y in bm.simulate(tree, n=12, random_seed=4)[:, :, 0]:
        data = bm.datasets.load("school").assign(effect=y)
        again = bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | district/study"))
        ax = bm.plots.qqnorm(again, simulations=200, random_seed=int(rng.integers(1000)))
        (band,) = (each for each in ax.collections if each.get_label() == "_envelope")
        vertices = band.get_paths()[0].vertices
        residuals = line(ax, "_residuals")
        x, values = np.asarray(residuals.get_xdata(), float), np.asarray(residuals.get_ydata(), float)
        low = [vertices[np.isclose(vertices[:, 0], at), 1].min() for at in x]
        high = [vertices[np.isclose(vertices[:, 0], at), 1].max() for at in x]
        outside.append(np.mean((values < low) | (values > high)))
        plt.close(ax.figure)
    assert np.mean(outside) < 0.15


def test_risks_of_both_arms(fit: Any, bcg: pd.DataFrame) -> None:
    counts: dict[str, Any] = {"events": ["tpos", "cpos"], "total": ["vaccinated", "control"]}
    ax = bm.plots.labbe(fit, **counts)
    (circles,) = (each for each in ax.collections if each.get_label() == "_studies")
    np.testing.assert_allclose(
        circles.get_offsets(), np.column_stack([bcg["cpos"] / bcg["control"], bcg["tpos"] / bcg["vaccinated"]])
    )
    pooled = line(ax, "pooled effect")
    second, first = (np.asarray(each, float) for each in (pooled.get_xdata(), pooled.get_ydata()))
    odds = first / (1 - first) / (second / (1 - second))
    np.testing.assert_allclose(odds, np.exp(fit["estimate/beta"].item()))
    assert bm.plots.labbe(fit, **counts, scale="model").get_xscale() == "logit"


def test_arms_that_effects_were_made_from() -> None:
    data = pd.DataFrame({"a": [3, 10, 4], "n": [20, 40, 30], "c": [6, 15, 2], "m": [21, 41, 29]})
    made = bm.effects.odds_ratio(data, events=("a", "c"), total=("n", "m"))
    tree = bm.fit(bm.specify("y ~ 1", made, S="v"))
    ax = bm.plots.labbe(tree)
    (circles,) = (each for each in ax.collections if each.get_label() == "_studies")
    np.testing.assert_allclose(np.asarray(circles.get_offsets())[:, 1], data["a"] / data["n"])


def test_arms_whose_persons_without_event_are_counted(bcg: pd.DataFrame, fit: Any) -> None:
    events, no_events = ("tpos", "cpos"), ("tneg", "cneg")
    made = bm.effects.odds_ratio(bcg, events, no_events=no_events)
    tree = bm.fit(bm.specify("y ~ 1", made, S="v"))
    for ax in (bm.plots.labbe(tree), bm.plots.labbe(fit, events=events, no_events=no_events)):
        (circles,) = (each for each in ax.collections if each.get_label() == "_studies")
        np.testing.assert_allclose(np.asarray(circles.get_offsets())[:, 1], bcg["tpos"] / bcg["vaccinated"])
    with pytest.raises(bm.SpecError, match="total= and no_events= are two ways to say the same"):
        bm.plots.labbe(fit, events=events, total=["vaccinated", "control"], no_events=no_events)


def test_what_is_refused(fit: Any, outcomes: Any) -> None:
    with pytest.raises(bm.SpecError, match="labbe: the tree does not say which columns hold the events of logor"):
        bm.plots.labbe(fit)
    with pytest.raises(bm.DataError, match="they must lie between 0 and 1"):
        bm.plots.labbe(fit, events=["tneg", "cneg"], total=["tpos", "cpos"])
    with pytest.raises(bm.SpecError, match="labbe draws risks, of which measure"):
        bm.plots.labbe(outcomes, outcome="PD")
    for plot in (bm.plots.baujat, bm.plots.radial, bm.plots.qqnorm):
        with pytest.raises(bm.SpecError, match="outcome"):
            plot(outcomes)
    with pytest.raises(bm.SpecError, match="gosh draws one outcome: outcome='PD'"):
        bm.plots.gosh(outcomes)
