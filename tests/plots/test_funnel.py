"""Funnel plots: points, regions and contours where they belong, residuals told from effects."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import norm

import bayesmeta as bm
from bayesmeta.errors import BoundaryWarning, SpecError
from bayesmeta.plots.funnel import funnel_points
from bayesmeta.tree.specification import data_hash
from tests.support.drawn import assert_tidy, fitted, legend, line, lines, notes, study_data
from tests.support.edited import unhashed
from tests.support.posteriors import make_posterior


def bcg(formula: str = "logor ~ 1") -> xr.DataTree:
    return bm.fit(bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", measure="logor"))


def contour(ax: Any, level: str) -> np.ndarray:
    """Corners of the region inside a contour."""
    (found,) = (each for each in ax.collections if each.get_label() == f"_contour {level}")
    return np.asarray(found.get_paths()[0].vertices)


def without_error(tree: xr.DataTree) -> xr.DataTree:
    found = unhashed(tree)
    found["constant_data"]["S_value"][:] = 0.0
    spec = bm.Spec.from_tree(tree)
    found.attrs["data_hash"] = data_hash(replace(spec, S=replace(spec.S, value=np.zeros_like(spec.S.value))))
    return found


@pytest.mark.parametrize("posterior", [False, True])
def test_effects_and_the_region_about_the_pooled_estimate(posterior: bool) -> None:
    tree, data = bcg(), bm.datasets.load("bcg")
    tree = make_posterior(bm.Spec.from_tree(tree)) if posterior else tree
    pooled = tree["posterior"]["beta"].mean().item() if posterior else tree["estimate"]["beta"].item()
    ax = bm.plots.funnel(tree, prob=0.9, contours=())
    seen = line(ax, "_observations")
    np.testing.assert_allclose(seen.get_xdata(), np.exp(data["logor"]))
    np.testing.assert_allclose(seen.get_ydata(), np.sqrt(data["logorvar"]))
    for edge, sign in zip(lines(ax, "_region"), (-1, 1), strict=True):
        np.testing.assert_allclose(np.log(edge.get_xdata()), pooled + sign * 1.6448536269514722 * edge.get_ydata())
    assert ax.yaxis_inverted()
    assert ax.get_ylim()[0] > np.sqrt(data["logorvar"].max())
    assert (ax.get_xlabel(), ax.get_ylabel(), ax.get_xscale()) == ("Odds ratio", "Standard error", "log")
    centre = next(each for each in ax.lines if len(set(each.get_xdata())) == 1)
    assert centre.get_xdata()[0] == pytest.approx(np.exp(pooled))


@pytest.mark.parametrize("y", ["se", "variance", "precision"])
def test_contours_are_where_the_p_value_is(y: str) -> None:
    ax = bm.plots.funnel(bcg(), y=y, contours=(0.99, 0.9))
    for level in ("0.9", "0.99"):
        corners = contour(ax, level)
        of = {"se": lambda v: v, "variance": np.sqrt, "precision": lambda v: 1 / v}[y]
        se = of(corners[:, 1])
        inside = se > 0
        p = 2 * norm.sf(np.abs(np.log(corners[inside, 0])) / se[inside])
        np.testing.assert_allclose(p, 1 - float(level), atol=1e-9)
    assert legend(ax)[:3] == ["p > 0.1", "0.01 < p < 0.1", "p < 0.01"]
    assert ax.yaxis_inverted() == (y != "precision")
    assert_tidy(ax)


def test_shades_are_told_apart_and_lighter_outwards() -> None:
    ax = bm.plots.funnel(bcg())
    handles = [each for each in ax.get_legend().legend_handles if hasattr(each, "get_facecolor")][:4]
    grey = [each.get_facecolor()[0] for each in handles]
    assert grey[0] == 1  # p > 0.1
    assert (np.diff(grey[1:]) > 0.05).all()
    assert grey[3] == ax.get_facecolor()[0] < 1
    assert [each.get_facecolor()[0][0] for each in ax.collections] == grey[2::-1]  # the innermost region lies on top


def test_without_contours() -> None:
    ax = bm.plots.funnel(bcg(), contours=())
    assert not ax.collections
    assert legend(ax) == ["pooled estimate", "no effect", "95% by sampling error"]
    assert not lines(bm.plots.funnel(bcg()), "_region")  # one funnel at a time
    assert ax.get_facecolor()[0] == 1


def test_residuals_about_fitted_values_have_no_contours() -> None:
    tree, data = bcg("logor ~ ablat"), bm.datasets.load("bcg")
    ax = bm.plots.funnel(tree)
    a, b = tree["estimate"]["beta"].values
    np.testing.assert_allclose(
        np.log(line(ax, "_observations").get_xdata()), data["logor"] - a - b * data["ablat"], atol=1e-12
    )
    assert not ax.collections
    assert ax.get_xlabel() == "Odds ratio: observed over fitted"
    assert notes(ax) == "no contours, since these are residuals"
    assert legend(ax) == ["fitted value", "95% by sampling error"]
    ax = bm.plots.funnel(tree, scale="model", contours=())
    assert ax.get_xlabel() == "Log odds ratio: observed minus fitted"


def test_which_models_have_residuals() -> None:
    data = study_data(5)
    assert not funnel_points(fitted("y ~ 1", data)).residual
    assert funnel_points(fitted("y ~ 0 + x", data)).residual
    assert funnel_points(fitted("y ~ 1 + offset(x)", data)).residual
    two = fitted("y + z ~ 1", data.assign(z=data["y"] * 2), S=["var", "var"], S_correlation=0, psi="diag")
    found = funnel_points(two, "z")
    assert not found.residual
    assert found.centre == pytest.approx(two["estimate"]["beta"].sel(coef="z.Intercept").item())
    np.testing.assert_allclose(found.effect, data["y"] * 2)
    with pytest.raises(SpecError, match="this model has 2 outcomes"):
        bm.plots.funnel(two)


def test_few_outer_groups_have_their_own_marks() -> None:
    data = study_data(6).assign(region=np.repeat(["North", "South, with a long name of its own"], 9))
    tree = fitted("y ~ 1", data, random="1 | region/study")
    ax = bm.plots.funnel(tree)
    marks = [line(ax, label) for label in ("North", "South, with a long name of its own")]
    np.testing.assert_allclose(marks[1].get_xdata(), data["y"][9:])
    assert len({mark.get_marker() for mark in marks}) == 2
    assert [text.replace("\n", " ") for text in legend(ax)][-2:] == ["North", "South, with a long name of its own"]
    assert_tidy(ax)
    many = bm.plots.funnel(fitted("y ~ 1", study_data(9)))
    assert len(line(many, "_observations").get_xdata()) == 27


@pytest.mark.parametrize("n", [3, 60])
@pytest.mark.parametrize("posterior", [False, True])
@pytest.mark.parametrize("formula", ["y ~ 1", "y ~ x"])
def test_few_and_many_studies_with_long_names(n: int, posterior: bool, formula: str) -> None:
    tree = fitted(formula, study_data(n), measure="logor")
    tree = make_posterior(bm.Spec.from_tree(tree), draws=30) if posterior else tree
    for y in ("se", "precision"):
        assert_tidy(bm.plots.funnel(tree, y=y))


@pytest.mark.parametrize("y", ["se", "variance", "precision"])
def test_equal_variances_and_one_study(y: str) -> None:
    data = study_data(3).assign(var=0.04)
    with pytest.warns(BoundaryWarning, match="which has one group"):
        one = fitted("y ~ 1", data[:1], random=None, method="fixed")
    for tree in (fitted("y ~ 1", data, random=None, method="fixed"), one):
        ax = bm.plots.funnel(tree, y=y)
        low, high = sorted(ax.get_ylim())
        at = {"se": 0.2, "variance": 0.04, "precision": 5}[y]
        np.testing.assert_allclose(line(ax, "_observations").get_ydata(), at)
        assert low < at < high
        assert_tidy(ax)


def test_outliers_have_names() -> None:
    data = bm.datasets.load("bcg")
    ax = bm.plots.funnel(bcg("logor ~ ablat"), label="outliers", labels=data["author"])
    named = [text.get_text() for text in ax.texts if text.get_gid() != "notes"]
    assert named == ["Vandiviere et al", "Comstock et al"]
    ax = bm.plots.funnel(bcg(), label="all", labels=data["author"])
    assert [text.get_text() for text in ax.texts] == data["author"].tolist()
    ax.set_title("A title")
    assert_tidy(ax)


def test_all_variances_zero() -> None:
    tree = without_error(fitted("y ~ 1", study_data(3), random=None))
    ax = bm.plots.funnel(tree)
    assert "all standard errors are 0" in notes(ax)
    assert set(line(ax, "_observations").get_ydata()) == {0}
    assert_tidy(ax)
    with pytest.raises(SpecError, match="9 effects have no sampling error, so their precision is infinite\n  y='se'"):
        bm.plots.funnel(tree, y="precision")


def smd() -> xr.DataTree:
    return bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi", measure="smd"))


def test_filled_effects_are_hollow_and_where_they_belong() -> None:
    tree = bm.small_study.filled(smd())
    ax = bm.plots.funnel(tree, contours=())
    (marks,) = (each for each in ax.lines if each.get_label() == "filled in, no data")
    np.testing.assert_allclose(marks.get_xdata(), tree["observed_data"]["y"][-3:])
    assert marks.get_markerfacecolor() != marks.get_markeredgecolor()
    assert len(line(ax, "_observations").get_xdata()) == 19
    assert "filled in, no data" in legend(ax)
    assert_tidy(ax)


@pytest.mark.parametrize("y", ["se", "variance", "precision"])
def test_lines_of_asymmetry_lead_to_their_limits(y: str) -> None:
    tree = bcg()
    egger, limit = bm.small_study.egger(tree), bm.small_study.limit_meta(tree)
    ends = {"egger": egger["limit"].item(), "limit": limit["estimate"].item()}
    for kind, end in ends.items():
        ax = bm.plots.funnel(tree, asymmetry=kind, y=y, scale="model")
        drawn = line(ax, f"_{kind}")
        if y != "precision":
            assert drawn.get_xdata()[0] == pytest.approx(end)
            assert drawn.get_ydata()[0] == 0
        se = np.sqrt(bm.Spec.from_tree(tree).S.variances.max())
        of = {"se": se, "variance": se**2, "precision": 1 / se}[y]
        order = np.argsort(drawn.get_ydata())
        at = np.interp(of, np.asarray(drawn.get_ydata())[order], np.asarray(drawn.get_xdata())[order])
        expected = {
            "egger": end + egger["estimate"].item() * se,
            "limit": limit["beta"].item() + limit["alpha"].item() * np.sqrt(se**2 + limit["tau2"].item()),
        }[kind]
        assert at == pytest.approx(expected, rel=1e-2)


def test_lines_are_those_of_the_data() -> None:
    """Filled effects, which make a funnel symmetric, have no part in them."""
    plain, filled = smd(), bm.small_study.filled(smd())
    for kind in ("egger", "limit"):
        one, other = (line(bm.plots.funnel(tree, asymmetry=kind), f"_{kind}") for tree in (plain, filled))
        np.testing.assert_allclose(one.get_xdata()[0], other.get_xdata()[0], rtol=1e-5)


def test_lines_of_asymmetry_are_refused_where_there_are_none() -> None:
    with pytest.raises(SpecError, match='asymmetry="egger" is for models without predictors'):
        bm.plots.funnel(bcg("logor ~ ablat"), asymmetry="egger")
    school = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
    with pytest.raises(SpecError, match="limit_meta takes effects as independent"):
        bm.plots.funnel(school, asymmetry="limit")


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_funnel_with_filled_effects() -> Any:
    return bm.plots.funnel(bm.small_study.filled(smd()), contours=(), asymmetry="egger").figure


def test_axes_that_are_given_are_used(tmp_path: Path) -> None:
    figure, ax = plt.subplots(layout="constrained")
    assert bm.plots.funnel(bcg(), ax) is ax
    for suffix in ("svg", "pdf", "png"):
        figure.savefig(tmp_path / f"figure.{suffix}")


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_funnel_about_the_pooled_estimate() -> Any:
    return bm.plots.funnel(bcg()).figure


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"y": "sd"}, "y is 'sd'\n  must be one of: se, variance, precision"),
        ({"contours": (90, 95)}, "a probability of contours is 90.0; it must lie strictly between 0 and 1"),
        ({"contours": (0.9, 1)}, "a probability of contours is 1.0;"),
        ({"prob": 0}, "prob is 0"),
        ({"outcome": "z"}, "no outcome 'z'"),
    ],
)
def test_bad_input(arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(SpecError, match=says):
        bm.plots.funnel(bcg(), **arguments)


def test_something_else_than_a_tree() -> None:
    with pytest.raises(SpecError, match="no group"):
        bm.plots.funnel(xr.DataTree())
    with pytest.raises(SpecError, match="expected the results tree"):
        bm.plots.funnel(pd.DataFrame())
