"""How far the axis of a forest plot reaches, and its ticks."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.plots import style
from bayesmeta.plots.forest.axis import broken, draw_axis, limits
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.plots.forest.rows import Cell
from bayesmeta.plots.forest.spacing import width
from tests.support.pictures import crowded


def cells(*triples: tuple[float, float, float]) -> list[Cell]:
    return [Cell(observed=Interval(*triple)) for triple in triples]


def around(estimate: float, half: float) -> tuple[float, float, float]:
    return estimate, estimate - half, estimate + half


def test_all_bounds_lie_within() -> None:
    low, high = limits(cells(around(1, 0.5), around(1.4, 0.9), around(2, 0.4)), null=None, logs=False)
    assert 0.4 < low < 0.5
    assert 2.4 < high < 2.5


def test_no_effect_lies_within_unless_it_is_far() -> None:
    near, far = cells(around(1, 0.5), around(2, 0.5)), cells(around(10, 0.5), around(11, 0.5))
    assert limits(near, null=0.0, logs=False)[0] < 0
    assert limits(near, null=None, logs=False)[0] > 0.4
    assert limits(far, null=0.0, logs=False)[0] > 9
    assert limits(cells(around(-1, 0.5), around(-2, 0.5)), null=0.0, logs=False)[1] > 0


def test_imprecise_studies_do_not_squeeze_the_others() -> None:
    precise = [around(x, 0.2) for x in (0.1, 0.2, 0.3, 0.25)]
    low, high = limits(cells(*precise, around(9, 30), (0.2, -np.inf, np.inf)), null=0.0, logs=False)
    assert -1 < low < -0.1
    assert 0.5 < high < 1.2


def test_ratios_further_than_a_hundredfold_are_arrows() -> None:
    wide = [around(1, 60) for _ in range(3)]
    low, high = limits(cells(around(0, 0.5), *wide), null=0.0, logs=True)
    assert low > -6
    assert high < 7
    assert limits(cells(around(0, 0.5), *wide), null=0.0, logs=False)[1] > 60


def test_estimates_alone_have_an_axis_too() -> None:
    low, high = limits([Cell(observed=Interval(0.3, np.nan, np.nan))], null=None, logs=False)
    assert low < 0.3 < high
    low, high = limits([Cell(mean=Interval(0.3, 0.1, 0.5))], null=None, logs=False)
    assert low < 0.1
    assert high > 0.5


@pytest.mark.parametrize("ratio", [True, False])
@pytest.mark.parametrize("inches", [0.9, 4.0])
@pytest.mark.parametrize("ends", [(-3.2, 2.1), (-0.01, 0.013), (-8.0, 9.0)])
def test_ticks_have_room_and_keep_no_effect(ratio: bool, inches: float, ends: tuple[float, float]) -> None:
    tree = bm.fit(bm.specify("logrr ~ 1", bm.datasets.load("bcg"), S="logrrvar", measure="logrr"))
    figure = plt.figure(figsize=(inches + 1, 2))
    ax = figure.add_axes((0.5 / (inches + 1), 0.4, inches / (inches + 1), 0.5))
    ax.set_yticks([])
    if ratio:
        ax.set_xscale("log")
    ax.set_xlim(*(np.exp(ends) if ratio else ends))
    draw_axis(ax, style.reading(tree, "response" if ratio else "model"), 7, 72 * inches)
    assert crowded(figure) == []
    inside = [tick for tick in ax.get_xticks() if ax.get_xlim()[0] <= tick <= ax.get_xlim()[1]]
    assert any(np.isclose(inside, float(ratio)))
    assert len(inside) >= (2 if inches < 1 else 3)
    plt.close(figure)


def test_long_axis_labels_are_broken_between_words() -> None:
    label = broken("Standardised mean difference", 7, 80)
    assert label.split() == ["Standardised", "mean", "difference"]
    assert width(label, 7) <= 80
    assert broken("Odds ratio", 7, 80) == "Odds ratio"
    assert broken("Standardised", 7, 5) == "Standardised"
