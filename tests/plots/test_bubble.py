"""Regression on one predictor: what is drawn is what bm.predict says, and bubbles are as wide as they should be."""

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.bubble import bubble_widths
from tests.support.drawn import LONG, assert_tidy, bars, fitted, legend, line, lines, notes, study_data
from tests.support.posteriors import make_posterior


def bubbles(ax: Any) -> Any:
    (found,) = (each for each in ax.collections if each.get_label() == "_studies")
    return found


def confidence(ax: Any) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper edge of the band."""
    (band,) = (each for each in ax.collections if each.get_label() == "_confidence")
    corners = np.unique(band.get_paths()[0].vertices, axis=0)
    ends = pd.DataFrame(corners).groupby(0)[1].agg(["min", "max"])
    return ends["min"].to_numpy(), ends["max"].to_numpy()


@pytest.mark.parametrize("posterior", [False, True])
@pytest.mark.parametrize(
    "formula", ["y ~ x", "y ~ ns(x, df=3)", "y ~ log(x)", "y ~ I(x - 20) + I((x - 20)**2)", "y ~ center(x)"]
)
def test_lines_are_those_of_predict(formula: str, posterior: bool) -> None:
    tree = fitted(formula, study_data(7))
    tree = make_posterior(bm.Spec.from_tree(tree), draws=50) if posterior else tree
    ax = bm.plots.bubble(tree, "x", prob=0.9)
    x = line(ax, "mean").get_xdata()
    rows = {"x": x}
    expected = {
        each: bm.predict(tree, rows, interval=each, prob=0.9).isel(outcome=0) for each in ("confidence", "prediction")
    }
    np.testing.assert_allclose(line(ax, "mean").get_ydata(), expected["confidence"]["mean"], rtol=1e-12)
    np.testing.assert_allclose(confidence(ax), [expected["confidence"][end] for end in ("lower", "upper")], rtol=1e-12)
    for found, end in zip(lines(ax, "_prediction"), ("lower", "upper"), strict=True):
        np.testing.assert_allclose(found.get_ydata(), expected["prediction"][end], rtol=1e-12)
    assert legend(ax)[1:] == ["mean", f"90% {'credible' if posterior else 'confidence'}", "90% prediction"]


def test_the_line_is_the_regression() -> None:
    tree = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    ax = bm.plots.bubble(tree, "ablat", interval=None)
    a, b = tree["estimate"]["beta"].values
    x = line(ax, "mean").get_xdata()
    assert x[[0, -1]] == pytest.approx(ax.get_xlim())
    assert x[0] < 13 < 55 < x[-1]
    np.testing.assert_allclose(line(ax, "mean").get_ydata(), np.exp(a + b * x), rtol=1e-12)
    assert not lines(ax, "_prediction")
    assert legend(ax) == ["studies (width: 1 / SE)", "mean"]
    assert ax.get_yscale() == "log"


def test_bubbles_are_the_observations_the_large_ones_first() -> None:
    data = bm.datasets.load("bcg")
    ax = bm.plots.bubble(bm.fit(bm.specify("logor ~ ablat", data, S="logorvar", measure="logor")), "ablat")
    order = np.argsort(data["logorvar"])
    expected = np.column_stack([data["ablat"], np.exp(data["logor"])])[order]
    np.testing.assert_allclose(bubbles(ax).get_offsets(), expected)
    widths = np.sqrt(bubbles(ax).get_sizes())
    large = widths > 2
    assert large.sum() > 3
    product = widths * np.sqrt(data["logorvar"].to_numpy()[order])
    np.testing.assert_allclose(product[large], product[0])
    assert (np.diff(widths) <= 0).all()


@pytest.mark.parametrize(
    ("se", "widths"),
    [
        ([0.1, 0.2, 0.4], [13, 6.5, 3.25]),
        ([0.1, 10.0], [13, 2]),
        ([0.3, 0.3], [13, 13]),
        ([0.0, 0.1, 0.2], [13, 13, 6.5]),
        ([0.0], [13]),
        ([0.5] * 100, [6.5] * 100),
    ],
)
def test_widths(se: list[float], widths: list[float]) -> None:
    found, note = bubble_widths(np.array(se))
    np.testing.assert_allclose(found, widths)
    assert ("the largest for 1 without error" in note) == (0.0 in se)


def test_categories_have_points_beside_their_bubbles() -> None:
    data = study_data(6)
    tree = fitted("y ~ arm + age", data)
    ax = bm.plots.bubble(tree, "arm", at={"age": 40})
    arms = sorted(data["arm"].unique())
    assert set(bubbles(ax).get_offsets()[:, 0]) == {0, 1, 2}
    for each, label in (("confidence", "_confidence"), ("prediction", "_prediction")):
        expected = bm.predict(tree, {"arm": arms, "age": [40] * 3}, interval=each).isel(outcome=0)
        found = bars(ax, label)
        np.testing.assert_allclose(found[:, 1:], np.column_stack([expected["lower"], expected["upper"]]))
        np.testing.assert_allclose(line(ax, "mean").get_ydata(), expected["mean"])
        assert (found[:, 0] > [0, 1, 2]).all()
    assert [text.get_text().replace("\n", " ") for text in ax.get_xticklabels()] == arms
    assert "age = 40" in notes(ax)
    assert_tidy(ax)


@pytest.mark.parametrize("formula", ["y ~ C(time)", "y ~ 0 + C(time)"])
def test_numbers_as_categories(formula: str) -> None:
    ax = bm.plots.bubble(fitted(formula, study_data(6)), "time", interval="prediction")
    assert set(bubbles(ax).get_offsets()[:, 0]) == {6, 12, 24}
    assert legend(ax)[1:] == ["mean", "95% prediction"]


def test_what_is_held_is_said() -> None:
    data = study_data(6)
    tree = fitted("y ~ x + age + arm", data)
    ax = bm.plots.bubble(tree, "x")
    most = data["arm"].value_counts()
    held = {"age": data["age"].mean(), "arm": sorted(most.index[most == most.max()])[0]}
    x = line(ax, "mean").get_xdata()
    expected = bm.predict(tree, pd.DataFrame({"x": x, **held}))["mean"].isel(outcome=0)
    np.testing.assert_allclose(line(ax, "mean").get_ydata(), expected)
    told = notes(ax)
    assert f"age = {held['age']:.4g} (mean); arm = {held['arm']} (most frequent)" in told


def test_predictors_of_the_random_part_are_held_for_predictions() -> None:
    tree = fitted("y ~ x", study_data(9), random="0 + age | study")
    assert "age" in notes(bm.plots.bubble(tree, "x"))
    assert "age" not in notes(bm.plots.bubble(tree, "x", interval="confidence"))


def test_one_of_several_outcomes() -> None:
    data = study_data(6).assign(z=lambda d: d["y"] + 1)
    tree = fitted("y + z ~ x", data, S=["var", "var"], S_correlation=0, psi="diag")
    ax = bm.plots.bubble(tree, "x", outcome="z")
    np.testing.assert_allclose(np.sort(bubbles(ax).get_offsets()[:, 1]), np.sort(data["z"]))
    with pytest.raises(SpecError, match="this model has 2 outcomes: y, z"):
        bm.plots.bubble(tree, "x")


def test_outliers_have_names() -> None:
    data = bm.datasets.load("bcg")
    tree = bm.fit(bm.specify("logor ~ ablat", data, S="logorvar", measure="logor"))
    names = [f"{author}, {year}" for author, year in zip(data["author"], data["year"], strict=True)]
    ax = bm.plots.bubble(tree, "ablat", label="outliers", labels=names)
    assert [text.get_text() for text in ax.texts] == ["Vandiviere et al, 1973", "Comstock et al, 1976"]
    everything = bm.plots.bubble(tree, "ablat", label="all", labels=names)
    assert [text.get_text() for text in everything.texts] == names
    assert not bm.plots.bubble(tree, "ablat").texts
    with pytest.raises(SpecError, match="label is 'some'"):
        bm.plots.bubble(tree, "ablat", label="some")  # type: ignore[arg-type]


def test_a_title_and_a_label_compose() -> None:
    ax = bm.plots.bubble(fitted("y ~ x + arm", study_data(9)), "x")
    ax.set_title("A title")
    ax.set_xlabel("Dose in mg")
    assert "arm = " in notes(ax)
    assert_tidy(ax)


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("formula", ["y ~ x + arm", "y ~ arm + x"])
@pytest.mark.parametrize("posterior", [False, True])
def test_few_and_many_studies_with_long_names(n: int, formula: str, posterior: bool) -> None:
    tree = fitted(formula, study_data(n), measure="logor")
    tree = make_posterior(bm.Spec.from_tree(tree), draws=30) if posterior else tree
    assert_tidy(bm.plots.bubble(tree, formula.split()[2]))


def test_many_categories_with_long_names() -> None:
    tree = fitted("y ~ study", study_data(18), random="1 | row")
    ax = bm.plots.bubble(tree, "study")
    assert len(ax.get_xticklabels()) == 18
    assert ax.figure.get_figwidth() == 7.2
    assert all(text.get_text().startswith("A study") for text in ax.get_xticklabels())


def test_equal_variances_and_one_study(tmp_path: Path) -> None:
    data = study_data(5).assign(var=0.1)
    ax = bm.plots.bubble(fitted("y ~ x", data), "x")
    assert len(set(bubbles(ax).get_sizes())) == 1
    one = fitted("y ~ x", data[:3], random=None, method="fixed")  # of one study
    ax = bm.plots.bubble(one, "x")
    assert_tidy(ax)
    for suffix in ("svg", "pdf", "png"):
        ax.figure.savefig(tmp_path / f"figure.{suffix}")


def test_axes_that_are_given_are_used() -> None:
    _, ax = plt.subplots(layout="constrained")
    assert bm.plots.bubble(fitted("y ~ x", study_data(3)), "x", ax) is ax


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_bubbles_of_bcg() -> Any:
    data = bm.datasets.load("bcg")
    tree = bm.fit(bm.specify("logor ~ ablat + alloc", data, S="logorvar", measure="logor"))
    return bm.plots.bubble(tree, "ablat").figure


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"x": "z"}, "x: y has no predictor 'z'"),
        ({"x": "x", "interval": "confidense"}, "interval is 'confidense'; did you mean 'confidence'"),
        ({"x": "x", "interval": ("confidence", "both")}, "interval is 'both'"),
        ({"x": "x", "at": {"arm": LONG}}, "at: 'arm' is never"),
        ({"x": "x", "prob": 1}, "prob is 1"),
        ({"x": "x", "prob": 2, "interval": None}, "prob is 2"),
        ({"x": "x", "outcome": "z"}, "no outcome 'z'"),
    ],
)
def test_bad_input(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bm.plots.bubble(fitted("y ~ x + arm", study_data(4)), **arguments)


def test_statistics_below_are_those_of_the_summary() -> None:
    data = bm.datasets.load("bcg")
    tree = bm.fit(bm.specify("logor ~ ablat + year", data, S="logorvar", measure="logor"))
    ax = bm.plots.bubble(tree, "ablat", statistics=True)
    said, summary = " ".join(notes(ax).split()).replace("\xa0", " "), str(bm.summary(tree))
    assert "year = 1966 (mean)" in said
    assert ax.get_xlabel() == "ablat"
    R2 = float(bm.r_squared(tree)["R2"].sel(level="total").item())
    assert f"R² = {R2:.1f}%" in said
    assert f"{R2:.2f}%" in summary or f"{R2:.1f}%" in summary
    assert "Moderators: F = 6.33, df = 2 and 10, p = 0.0168" in said
    assert "F = 6.33, df 2 and 10, p = 0.0168" in summary
    assert "Residual heterogeneity: Q = " in said
    assert_tidy(ax)
    at = bm.plots.bubble(tree, "ablat", at={"year": 1950})
    assert "year = 1950" in notes(at)
    rows = {"ablat": line(at, "mean").get_xdata(), "year": [1950] * len(line(at, "mean").get_xdata())}
    np.testing.assert_allclose(line(at, "mean").get_ydata(), np.exp(bm.predict(tree, rows)["mean"].values[:, 0]))


def test_statistics_of_a_posterior_and_refusals() -> None:
    tree = fitted("y ~ x", study_data(7))
    post = make_posterior(bm.Spec.from_tree(tree), draws=50)
    said = notes(bm.plots.bubble(post, "x", statistics=True))
    assert "Residual heterogeneity: τ" in said.replace("\n", " ").replace("\xa0", " ")
    assert "Moderators" not in said
    with pytest.raises(SpecError, match="statistics"):
        bm.plots.bubble(tree, "x", statistics="yes")  # type: ignore[arg-type]
