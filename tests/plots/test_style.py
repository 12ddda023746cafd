"""What all plots share, and the machine's eye that the tests of plots look with."""

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.colors import to_rgb

import bayesmeta as bm
from bayesmeta.plots import style
from tests.support.pictures import crowded


@given(st.floats(-9, 9), st.floats(0.01, 12))
def test_ticks_of_ratios_are_few_and_inside(log_low: float, span: float) -> None:
    low, high = 10**log_low, 10 ** (log_low + span)
    ticks = style.ratio_ticks(low, high)
    assert 3 <= len(ticks) <= 8
    assert ticks == sorted(set(ticks))
    assert low <= ticks[0]
    assert ticks[-1] <= high


def test_colours_are_told_apart_in_grey() -> None:
    luminance = [np.dot([0.2126, 0.7152, 0.0722], np.array(to_rgb(c)) ** 2.2) for c in style.COLOURS[:3]]
    assert np.diff(np.sort(luminance)).min() > 0.1


def test_an_axis_of_ratios_is_logarithmic_and_named() -> None:
    tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    figure, axes = style.new_axes()
    ax = axes[0, 0]
    assert style.is_ratio(tree)
    reading = style.reading(tree)
    ax.plot(reading.values([-1.5, 0.5]), [0, 1])
    style.effect_axis(ax, reading)
    assert ax.get_xscale() == "log"
    assert ax.get_xlabel() == "Odds ratio"
    assert 1.0 in ax.xaxis.get_majorticklocs()
    assert not crowded(figure)
    plt.close(figure)
    assert style.reading(tree, "model").label == "Log odds ratio"


def test_a_figure_without_a_display(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_display(**_: object) -> None:
        raise ImportError("Cannot load backend 'TkAgg' which requires the 'tk' interactive framework")

    monkeypatch.setattr(plt, "figure", no_display)
    figure, axes = style.new_axes(1, 2)
    assert axes.shape == (1, 2)
    assert isinstance(figure, matplotlib.figure.Figure)


def test_overlapping_and_cut_texts_are_seen() -> None:
    figure, ax = plt.subplots()
    assert crowded(figure) == []
    ax.text(0.5, 0.5, "one")
    ax.text(0.51, 0.5, "two")
    ax.text(0.98, 0.2, "longer than the figure")
    assert len(crowded(figure)) == 2
    plt.close(figure)
