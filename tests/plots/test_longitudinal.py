"""Estimates over time: Figure 3 of the paper, categories and curves beside each other, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.errors import SpecError
from tests.support.drawn import LONG, assert_tidy, bars, fitted, legend, line, lines, notes, study_data
from tests.support.edited import unhashed
from tests.support.posteriors import make_posterior, stacked

MODELS = Path(__file__).parents[2] / "models"
Z = 1.959963984540054
TIMES = [6, 12, 18, 24]


@pytest.fixture(scope="module")
def gliomas() -> dict[str, xr.DataTree]:
    models = bm.load_analysis(MODELS / "gliomas.toml").models
    return {f"Model {name[0]}": bm.fit(models[name].spec, models[name].method) for name in ("4_ml", "7_ml")}


@pytest.fixture
def expected(reference: Callable[[str], Any]) -> Callable[[str], Any]:
    return lambda name: reference(f"mixmeta/gliomas_{name}")["expected"]


def test_figure_3_of_model_4(gliomas: Any, expected: Callable[[str], Any]) -> None:
    ax = bm.plots.longitudinal(gliomas, "time")
    fit, _, lower, upper = np.array(expected("4_ml")["predict"]).T
    points = line(ax, "Model 4")
    assert list(points.get_xdata()) == TIMES
    np.testing.assert_allclose(points.get_ydata(), np.exp(fit), atol=1e-4)
    np.testing.assert_allclose(
        bars(ax, "_Model 4 intervals")[:, 1:], np.exp(np.column_stack([lower, upper])), atol=1e-4
    )


def test_figure_3_of_model_7(gliomas: Any, expected: Callable[[str], Any]) -> None:
    ax = bm.plots.longitudinal(gliomas, "time")
    found = expected("7_ml")
    beta, V = np.array(found["coef"]), np.array(found["vcov"])
    x = line(ax, "Model 7").get_xdata()
    X = np.column_stack([np.ones(len(x)), x])
    mean, se = X @ beta, np.sqrt(np.einsum("np,pq,nq->n", X, V, X))
    at = [int(np.flatnonzero(np.isclose(x, time)).item()) for time in TIMES]
    drawn = [line(ax, "Model 7"), *lines(ax, "_Model 7 edge")]
    for curve, sign, column in zip(drawn, (0, -1, 1), (0, 2, 3), strict=True):
        np.testing.assert_allclose(curve.get_ydata(), np.exp(mean + sign * Z * se), atol=1e-4)
        np.testing.assert_allclose(curve.get_ydata()[at], np.exp(np.array(found["predict"])[:, column]), atol=1e-4)


def test_figure_3_looks_right(gliomas: Any) -> None:
    ax = bm.plots.longitudinal(gliomas, "time")
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "Odds ratio")
    assert [text.get_text() for text in ax.get_xticklabels()] == ["6", "12", "18", "24"]
    assert legend(ax) == ["Model 4", "Model 7", "studies"]
    y = bm.Spec.from_tree(gliomas["Model 4"]).y
    low, high = np.log(ax.get_ylim())
    beyond = ((y < low) | (y > high)).sum()
    assert ax.get_xlabel() == "time"
    assert notes(ax) == (f"bands and bars: 95% confidence intervals beyond the axis: {beyond} of 66 effects of studies")
    assert_tidy(ax)


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_figure_3(gliomas: Any) -> Any:
    return bm.plots.longitudinal(gliomas, "time").figure


def test_points_of_several_models_stand_beside_each_other(gliomas: Any) -> None:
    one = gliomas["Model 4"]
    ax = bm.plots.longitudinal({"a": one, "b": gliomas["Model 7"], "c": one, "d": one}, "time")
    at = np.array([line(ax, name).get_xdata() for name in "acd"])
    np.testing.assert_allclose(at.mean(0), TIMES)
    assert (np.diff(at, axis=0) > 0.3).all()
    assert (at.max(0) - at.min(0) < 3).all()
    np.testing.assert_array_equal(bars(ax, "_d intervals")[:, 0], at[2])
    assert_tidy(ax)


def test_posteriors_have_quantiles(gliomas: Any) -> None:
    spec = bm.Spec.from_tree(gliomas["Model 4"])
    tree = make_posterior(spec)
    ax = bm.plots.longitudinal(tree, "time", prob=0.5)
    draws = stacked(tree, "posterior", "beta")
    np.testing.assert_allclose(line(ax, "estimate").get_ydata(), np.exp(draws.mean(0)), rtol=1e-9)
    found = bars(ax, "_estimate intervals")[:, 1:].T
    np.testing.assert_allclose(found, np.exp(np.quantile(draws, [0.25, 0.75], axis=0)), rtol=1e-9)
    assert "bars: 50% credible intervals" in notes(ax)


def test_text_stands_in_its_order() -> None:
    data = study_data(5)
    order = ["baseline", "after half a year", "after two years"]
    data["visit"] = pd.Categorical([order[[6, 12, 24].index(time)] for time in data["time"]], categories=order)
    tree = fitted("y ~ 0 + visit", data)
    ax = bm.plots.longitudinal({"one": tree, "two": tree}, "visit")
    np.testing.assert_allclose(line(ax, "one").get_ydata(), tree["estimate"]["beta"])
    np.testing.assert_allclose(line(ax, "one").get_xdata() + line(ax, "two").get_xdata(), [0, 2, 4])
    assert [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()] == order
    assert_tidy(ax)


def test_numbers_written_as_text_stand_in_the_order_of_time() -> None:
    data = study_data(5).assign(month=lambda d: d["time"].astype(str))
    ax = bm.plots.longitudinal(fitted("y ~ C(month)", data), "month")
    assert list(line(ax, "estimate").get_xdata()) == [6, 12, 24]


def test_times_that_only_some_models_have() -> None:
    data = study_data(5)
    early = fitted("y ~ C(time)", data[data["time"] < 20])
    ax = bm.plots.longitudinal({"early": early, "all": fitted("y ~ C(time)", data)}, "time")
    assert len(line(ax, "early").get_xdata()) == 2
    assert [text.get_text() for text in ax.get_xticklabels()] == ["6", "12", "24"]
    assert len(lines(ax, "_studies")) == 2  # two data sets


def test_others_are_held() -> None:
    tree = fitted("y ~ time + arm", study_data(6))
    ax = bm.plots.longitudinal(tree, "time", at={"arm": "placebo"})
    beta = tree["estimate"]["beta"]
    expected = beta.sel(coef="Intercept").item() + beta.sel(coef="time").item() * line(ax, "estimate").get_xdata()
    expected = expected + beta.sel(coef="arm[T.placebo]").item()
    np.testing.assert_allclose(line(ax, "estimate").get_ydata(), expected)
    assert "arm = placebo" in notes(ax)


def test_one_of_several_outcomes() -> None:
    data = study_data(6).assign(z=lambda d: d["y"] + 1)
    tree = fitted("y + z ~ time", data, S=["var", "var"], S_correlation=0, psi="diag")
    ax = bm.plots.longitudinal(tree, "time", outcome="z", studies=False)
    expected = bm.predict(tree, {"time": [6, 24]})["mean"].sel(outcome="z")
    np.testing.assert_allclose(line(ax, "estimate").get_ydata()[[0, -1]], expected)
    assert ax.get_legend() is None
    with pytest.raises(SpecError, match="this model has 2 outcomes"):
        bm.plots.longitudinal(tree, "time")


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("formula", ["y ~ C(time)", "y ~ time"])
def test_few_and_many_studies_with_long_names(n: int, formula: str) -> None:
    tree = fitted(formula, study_data(n), measure="logrom")
    both = {LONG.format("A"): tree, LONG.format("B"): make_posterior(bm.Spec.from_tree(tree), draws=40)}
    assert_tidy(bm.plots.longitudinal(both, "time"))
    assert_tidy(bm.plots.longitudinal(tree, "time", scale="model"))


def test_an_unknown_variance_is_said_in_words() -> None:
    tree = unhashed(fitted("y ~ C(time)", study_data(5)))
    tree["estimate"]["beta_cov"][:] = np.nan
    ax = bm.plots.longitudinal(tree, "time")
    assert "no finite interval at 3 of 3 values" in notes(ax)
    assert_tidy(ax)


def test_axes_that_are_given_are_used(tmp_path: Path) -> None:
    figure, ax = plt.subplots(layout="constrained")
    size = tuple(figure.get_size_inches())
    assert bm.plots.longitudinal(fitted("y ~ time", study_data(3)), "time", ax) is ax
    assert tuple(figure.get_size_inches()) == size
    for suffix in ("svg", "pdf", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")


def test_bad_input() -> None:
    data = study_data(4)
    data["visit"] = data["time"].map({6: "a", 12: "b", 24: "c"})
    visits, fewer = fitted("y ~ visit", data), fitted("y ~ visit", data[data["time"] < 20])
    with pytest.raises(SpecError, match="time: y has no predictor 'tim'; did you mean 'time'"):
        bm.plots.longitudinal(fitted("y ~ time", data), "tim")
    with pytest.raises(SpecError, match="do not have the same categories\n  one: a, b, c; two: a, b"):
        bm.plots.longitudinal({"one": visits, "two": fewer}, "visit")
    with pytest.raises(SpecError, match="prob is 0"):
        bm.plots.longitudinal(visits, "visit", prob=0)
    with pytest.raises(SpecError, match="at: no other predictor 'age'"):
        bm.plots.longitudinal(visits, "visit", at={"age": 3})
    with pytest.raises(SpecError, match="not a results tree"):
        bm.plots.longitudinal({"one": bm.Spec.from_tree(visits)}, "visit")
