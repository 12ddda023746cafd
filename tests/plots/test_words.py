"""Words around pictures: as many columns as fit, names of categories that do not touch, room for all of it."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.lines import Line2D

import bayesmeta as bm
from bayesmeta.measures import measure
from bayesmeta.plots import style, words
from bayesmeta.plots.predictor import Estimates
from bayesmeta.tree.response import EFFECT, Reading
from tests.support.drawn import LONG, assert_tidy, fitted, legend, notes, study_data
from tests.support.posteriors import make_posterior

PLAIN, RATIOS = (Reading(measure("logor"), EFFECT, response) for response in (False, True))


@pytest.fixture
def ax():
    figure, axes = style.new_axes()
    axes[0, 0].plot([0, 1], [0, 1])
    yield axes[0, 0]
    plt.close(figure)


@pytest.mark.parametrize(
    ("labels", "columns", "lines"), [(["a", "b", "c"], 3, 1), (["a", "b" * 25], 1, 2), ([LONG.format(7)], 1, 2)]
)
def test_names_stand_above_in_as_many_columns_as_fit(ax, labels: list[str], columns: int, lines: int) -> None:
    assert words.legend_above(ax, [(label, Line2D([], [])) for label in labels]) == lines
    assert [text.replace("\n", " ") for text in legend(ax)] == labels
    assert ax.get_legend()._ncols == columns
    words.make_room(ax, lines)
    assert_tidy(ax)
    assert ax.get_legend().get_window_extent().y0 >= ax.get_window_extent().y1


def test_a_single_model_needs_no_name(ax) -> None:
    assert words.legend_above(ax, [("", Line2D([], []))]) == 0
    assert ax.get_legend() is None


def test_notes_below_each_once(ax) -> None:
    assert words.label_below(ax, "dose", ["one", "", "one", "two " * 20]) == 3
    assert ax.get_xlabel() == "dose"
    assert notes(ax).startswith("one two two")
    ax.set_xlabel("another\nlabel")  # which the notes give way to
    assert_tidy(ax)


@pytest.mark.parametrize(
    ("labels", "rotation"),
    [
        (["a", "b"], 0),
        (["a drug with a long name", "placebo"], 0),
        ([LONG.format(i) for i in range(3)], 0),
        ([LONG.format(i) for i in range(5)], 90),
        ([LONG.format(i) for i in range(12)], 90),
    ],
)
def test_names_of_categories_do_not_touch(ax, labels: list[str], rotation: float) -> None:
    at = np.arange(len(labels), dtype=float)
    ax.set_xlim(-0.5, at[-1] + 0.5)
    words.make_room(ax, words.categories_axis(ax, at, labels))
    assert {tick.get_rotation() for tick in ax.get_xticklabels()} == {rotation}
    assert_tidy(ax)


def test_words_on_intervals() -> None:
    data = study_data(3)
    fit = fitted("y ~ 1", data)
    post = make_posterior(bm.Spec.from_tree(fit), draws=20)
    assert words.interval_note([fit], 0.9) == "bands: 90% confidence intervals"
    assert words.interval_note([post], 0.95, "bars") == "bars: 95% credible intervals"
    assert words.interval_note([post, fit], 0.95) == "bands: 95% confidence and credible intervals"
    gap = Estimates(*(np.array([0.0, 1.0]) for _ in range(3)), np.array([np.inf, 1.0]))
    assert words.not_drawn([gap, gap], PLAIN) == "no finite interval at 2 of 4 values"
    assert words.not_drawn([], RATIOS) == ""
    assert words.not_drawn([Estimates(*np.full((4, 1), 101.0))], RATIOS) == "no finite interval at 1 of 1 values"


def test_words_on_each_model() -> None:
    assert words.by_name({"a": "x = 1", "b": "x = 1"}) == ["x = 1"]
    assert words.by_name({"a": "x = 1", "b": ""}) == ["a: x = 1"]
    assert words.by_name({"": "x = 1"}) == ["x = 1"]
