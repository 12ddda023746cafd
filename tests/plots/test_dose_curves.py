"""Pictures of models of `bm.dose_response`: what they draw is what the questions answer."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import dose_response
from bayesmeta.plots.dose_curves import trend
from tests.support.drawn import assert_tidy, legend, line, lines, notes


def cohorts() -> pd.DataFrame:
    """Three cohorts, the second with another reference."""
    data = pd.DataFrame({"study": np.repeat(["a", "b", "c"], 4), "dose": [0, 5, 10, 20, 4, 8, 16, 30, 0, 6, 12, 25.0]})
    return data.assign(years=1e4, cases=[40, 44, 52, 70, 45, 50, 61, 90, 38, 44, 50, 77])


@pytest.fixture(scope="module")
def fit():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        spec = dose_response.specify(
            cohorts(), study="study", cases="cases", person_years="years", basis="dose + I(dose**2)", random="dose"
        )
        return bm.fit(spec, "ml")


def test_the_curve_and_its_band_are_those_that_are_asked_for(fit):
    ax = bm.plots.dose_response(fit, reference=10, prob=0.8)
    drawn = line(ax, "estimate")
    made = dose_response.curve(fit, drawn.get_xdata(), 10, prob=0.8)
    np.testing.assert_allclose(drawn.get_ydata(), made["mean"])
    for edge, name in zip(lines(ax, "_estimate edge"), ("lower", "upper"), strict=True):
        np.testing.assert_allclose(edge.get_ydata(), made[name])
    assert 1.0 in drawn.get_ydata()[drawn.get_xdata() == 10]
    assert ax.get_yscale() == "log"
    assert_tidy(ax)


def test_effects_against_another_reference_are_moved_by_the_curve_at_it(fit):
    ax = bm.plots.dose_response(fit)
    (circles,) = (each for each in ax.collections if each.get_label() == "_studies")
    x, y = circles.get_offsets().T
    spec = bm.Spec.from_tree(fit)
    moved = spec.y + np.where(spec.data["study"] == "b", np.log(dose_response.curve(fit, [4.0], 0)["mean"].item()), 0.0)
    np.testing.assert_allclose(x, spec.data["dose"])
    np.testing.assert_allclose(y, np.exp(moved))
    assert "moved by the curve at it" in notes(ax)
    assert legend(ax) == ["studies"]
    (rug,) = (each for each in ax.lines if each.get_label() == "_doses")
    assert set(rug.get_xdata()) == set(cohorts().dose)
    assert len(bm.plots.dose_response(fit, studies=False).collections) == 1


def test_residuals_are_those_of_the_fit(fit):
    ax = bm.plots.dose_residuals(fit)
    points = line(ax, "_residuals")
    made = dose_response.goodness_of_fit(fit)
    np.testing.assert_allclose(points.get_ydata(), made["residual"])
    np.testing.assert_allclose(points.get_xdata(), made["dose"])
    assert f"deviance {made['deviance'].item():.1f} on 7 degrees of freedom" in notes(ax)


def test_the_trend_of_points_on_a_line_is_the_line():
    x = np.array([0.0, 1, 1, 4, 9, 10, 20])
    np.testing.assert_allclose(trend(x, 2 - 3 * x, np.linspace(0, 20, 9)), 2 - 3 * np.linspace(0, 20, 9), atol=1e-9)


def test_what_is_refused(fit):
    for options, words in (
        ({"dose": "alcohol"}, "dose: the model has no dose 'alcohol'"),
        ({"upto": -1.0}, "upto is -1.0"),
        ({"outcome": "y"}, "leave outcome out"),
        ({"at": {"region": 1}}, "others: the basis has no other column"),
    ):
        with pytest.raises(bm.SpecError, match=words):
            bm.plots.dose_response(fit, **options)
    with pytest.raises(bm.SpecError, match="takes results of a dose-response model"):
        bm.plots.dose_residuals(bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")))
