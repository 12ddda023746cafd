"""Curves, points and studies as they are drawn."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.measures import measure
from bayesmeta.plots import style
from bayesmeta.plots.predictor import Estimates, Predictor, draw_curve, draw_points, draw_studies, focus, mark_no_effect
from bayesmeta.tree.response import EFFECT, Reading
from tests.support.drawn import bars, fitted, line, lines, study_data

X = np.array([1.0, 2.0, 3.0])
PLAIN, RATIOS = (Reading(measure("logor"), EFFECT, response) for response in (False, True))
ESTIMATES = Estimates(X, X / 10, X / 10 - 0.5, X / 10 + 0.5)


@pytest.fixture
def ax():
    figure, axes = style.new_axes()
    yield axes[0, 0]
    plt.close(figure)


@pytest.mark.parametrize("reading", [PLAIN, RATIOS])
def test_a_curve_with_its_band(ax, reading: Reading) -> None:
    draw_curve(ax, ESTIMATES, reading, 1, "name")
    np.testing.assert_allclose(line(ax, "name").get_ydata(), reading.values(ESTIMATES.mean))
    lower, upper = (each.get_ydata() for each in lines(ax, "_name edge"))
    np.testing.assert_allclose(lower, reading.values(ESTIMATES.lower))
    np.testing.assert_allclose(upper, reading.values(ESTIMATES.upper))
    (band,) = (each for each in ax.collections if each.get_label() == "_name band")
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (lower.min(), upper.max())


def test_every_model_has_a_line_of_its_own_style(ax) -> None:
    for look in range(6):
        draw_curve(ax, ESTIMATES, PLAIN, look, str(look))
    assert len({str(line(ax, str(look))._dash_pattern) for look in range(6)}) == 6


def test_points_with_intervals(ax) -> None:
    draw_points(ax, ESTIMATES, PLAIN, 0, "name")
    np.testing.assert_allclose(line(ax, "name").get_ydata(), ESTIMATES.mean)
    np.testing.assert_allclose(bars(ax, "_name intervals"), np.column_stack([X, ESTIMATES.lower, ESTIMATES.upper]))


@pytest.mark.parametrize("draw", [draw_curve, draw_points])
def test_infinite_and_unknown_ends_are_left_out(ax, draw) -> None:
    odd = Estimates(X, ESTIMATES.mean, np.array([-np.inf, np.nan, 0.0]), np.array([1.0, 1.0, 800.0]))
    draw(ax, odd, RATIOS, 0, "name")
    ax.figure.canvas.draw()
    assert np.isfinite(ax.get_ylim()).all()
    assert ax.get_ylim()[1] < 10


def test_no_effect_is_a_line_within_the_limits_alone(ax) -> None:
    tree = fitted("y ~ 1", study_data(3))
    ax.plot([0, 1], [0.5, 0.7])
    before = ax.get_ylim()
    mark_no_effect(ax, tree, PLAIN)
    assert len(ax.lines) == 1
    assert ax.get_ylim() == before
    ax.plot([0, 1], [-0.5, 0.7])
    mark_no_effect(ax, tree, PLAIN)
    assert list(ax.lines[-1].get_ydata()) == [0, 0]
    mark_no_effect(ax, fitted("y ~ 1", study_data(3), measure="mean"), PLAIN)
    assert len(ax.lines) == 3


def test_studies_are_joined_in_the_order_of_x(ax) -> None:
    data = study_data(4).sample(frac=1, random_state=1)
    predictor = Predictor.of(bm.specify("y ~ time", data, S="var", random="1 | study"), "time", 0, "x")
    result = draw_studies(ax, [predictor], PLAIN)
    x, y = result.get_xdata(), result.get_ydata()
    assert np.isnan(x).sum() == 3
    for piece in np.split(np.arange(len(x)), np.flatnonzero(np.isnan(x))):
        piece = piece[np.isfinite(x[piece])]
        assert list(x[piece]) == [6, 12, 24]
        own = data[data["y"] == y[piece[0]]]["study"].item()
        expected = data[data["study"] == own].sort_values("time")
        np.testing.assert_allclose(y[piece], expected["y"])


def test_far_off_studies_do_not_press_the_estimates_flat(ax) -> None:
    data = study_data(4)
    data.loc[0, "y"] = 30
    predictor = Predictor.of(bm.specify("y ~ time", data, S="var", random="1 | study"), "time", 0, "x")
    result = Estimates(X, X * 0, X * 0 - 1, X * 0 + 2)
    draw_studies(ax, [predictor], RATIOS)
    assert focus(ax, [result], [predictor], RATIOS) == "beyond the axis: 1 of 12 effects of studies"
    low, high = np.log(ax.get_ylim())
    assert 5 <= high < 5.4
    assert low < min(-1, data["y"].min())
    assert focus(ax, [Estimates(X, X, X - 40, X + 40)], [predictor], RATIOS) == ""
    unknown = Estimates(X, X * 0, X * np.nan, X * np.nan)
    assert focus(ax, [unknown], [predictor], RATIOS) == ""
