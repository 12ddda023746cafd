"""Panels, rows of intervals and labels."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bayesmeta.plots.panels import EstimateRows, draw_rows, label_rows, panel_axes, plain, shortened, wrapped
from tests.support.pictures import crowded


@given(st.text(max_size=80), st.integers(8, 40))
def test_labels_fit(text: str, most: int) -> None:
    label = shortened(text, most)
    assert len(label.replace("\\$", "$")) <= most
    words = " ".join(text.split())
    assert len(words) > most or label == plain(words)
    lines = wrapped(text, most).replace("\\$", "$").split("\n")
    assert len(lines) <= 2
    assert max(map(len, lines)) <= most


def test_dollars_are_letters() -> None:
    figure, ax = plt.subplots()
    ax.set_title(plain("from $5 to $6"))
    figure.canvas.draw()
    assert ax.title._preprocess_math(ax.get_title()) == ("from $5 to $6", False)
    plt.close(figure)


def test_rows_with_infinite_missing_and_absent_intervals() -> None:
    figure, axes = plt.subplots(figsize=(3, 2), layout="constrained")
    nan, inf = np.nan, np.inf
    rows = EstimateRows(
        np.arange(5.0)[::-1],
        np.array([0.5, 0.4, 0.3, nan, 0.2]),
        np.array([0.2, 0.1, nan, nan, -inf]),
        np.array([0.9, inf, nan, nan, inf]),
    )
    draw_rows(axes, rows, start=0.0)
    low, high = axes.get_xlim()
    assert low == 0
    assert 0.9 < high < 1.2
    drawn = [s[:, 0].tolist() for c in axes.collections for s in c.get_segments()]
    assert drawn == [[0.2, 0.9], [0.1, high], [low, high]]
    arrows = [(line.get_marker(), line.get_xdata()[0], line.get_ydata()[0]) for line in axes.lines[1:]]
    assert arrows == [(">", high, 3), ("<", low, 0), (">", high, 0)]
    assert [(t.get_text(), t.xy[1]) for t in axes.texts] == [("no interval", 2), ("not in this model", 1)]
    assert crowded(figure) == []
    plt.close(figure)


def test_new_panels_are_wrapped_and_spare_ones_removed() -> None:
    panels = panel_axes(None, list("abcd"), 2.0)
    assert panels.shape == (4,)
    assert panels[0].figure.axes == panels.tolist()
    assert panels[0].figure.get_size_inches().tolist() == [7.2, 4.0]
    plt.close(panels[0].figure)


@pytest.mark.parametrize(("n", "shown"), [(10, True), (100, False)])
def test_labels_of_rows_are_left_out_where_nobody_could_read_them(n: int, shown: bool) -> None:
    figure, ax = plt.subplots()
    label_rows(ax, np.arange(n), [f"row {i}" for i in range(n)], "Rows", 3.0)
    assert bool(ax.get_yticklabels()) is shown
    assert ("too many to label" in ax.get_ylabel()) is not shown
    plt.close(figure)


@pytest.mark.parametrize(("panels", "rows"), [(1, [1]), (3, [3]), (4, [2, 2]), (5, [3, 2]), (7, [3, 3, 1])])
def test_rows_of_panels_are_of_one_length_where_they_can_be(panels: int, rows: list[int]) -> None:
    axes = panel_axes(None, [f"p{i}" for i in range(panels)], 2.0)
    own = [ax.get_subplotspec().rowspan.start for ax in axes]
    assert [own.count(row) for row in sorted(set(own))] == rows
    plt.close("all")
