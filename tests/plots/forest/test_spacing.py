"""Room for texts, and where the axis of a forest plot ends."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.transforms import Bbox

import bayesmeta as bm
from bayesmeta.plots.forest import spacing
from bayesmeta.plots.forest.spacing import LineHeights, Panel, TextColumn


def column(texts: list[str], heading: str = "h", upper: str = "") -> TextColumn:
    return TextColumn(texts, ["black"] * len(texts), heading, upper)


def test_widths_are_those_of_the_renderer() -> None:
    figure = plt.figure(dpi=200)
    for text, weight in (("Frimodt-Møller et al 1973", "normal"), ("95% [−0.43, 1.26]", "bold")):
        drawn = figure.text(0, 0, text, fontsize=6.5, weight=weight).get_window_extent().width * 72 / 200
        assert drawn <= spacing.width(text, 6.5, weight == "bold") <= 1.08 * drawn
    assert spacing.width("two\nlines of text", 7) == spacing.width("lines of text", 7)
    assert spacing.width("$X and $Y", 7) > spacing.width("X and Y", 7)
    plt.close(figure)


def test_an_upper_heading_widens_the_columns_below_it() -> None:
    few = [column(["1"], "n"), column(["2"], "m")]
    wide = [column(["1"], "n", "a very long heading"), column(["2"], "m", "a very long heading")]
    assert spacing.spans(wide) == [("a very long heading", [0, 1])]
    assert spacing.spans([wide[0], few[0], wide[1]]) == [("a very long heading", [0]), ("a very long heading", [2])]
    taken = sum(Panel(tuple(wide), ()).widths("left", 7)) + spacing.GAP * 7
    assert taken == pytest.approx(spacing.width("a very long heading", 7, True))
    assert taken > sum(Panel(tuple(few), ()).widths("left", 7)) + spacing.GAP * 7


def test_new_figures_are_a_column_wide_where_that_is_enough() -> None:
    short, long = Panel((column(["a"]),), (column(["0.1"]),)), Panel((column(["a" * 60]),), (column(["0.1" * 8]),))
    assert spacing.new_size([short]) == (7.0, 3.5)
    size, width = spacing.new_size([long])
    assert size >= 5.5
    assert 3.5 < width <= 7.2
    assert spacing.new_size([long] * 3)[1] > 7.2


def test_letters_shrink_to_five_points_and_then_the_size_needed_is_said() -> None:
    panel, lines = (
        Panel((column(["a study"] * 40),), (column(["0.10 [0.05, 0.15]"] * 40),)),
        LineHeights(range(40), 1, 39.6),
    )
    roomy, tight = Bbox.from_bounds(0, 0, 400, 700), Bbox.from_bounds(0, 0, 400, 41.1 * 1.2 * 5.5)
    assert spacing.fitting_size([panel], lines, [roomy]) == 7
    assert spacing.fitting_size([panel], lines, [tight]) == 5.5
    needed = np.ceil(10 * (panel.taken(5, spacing.LEAST_PLOT) / 72)) / 10
    with pytest.raises(bm.SpecError, match=rf"these axes are 5.6 x 2.8 inches, .* at least {needed:.1f} x 3.5\n"):
        spacing.fitting_size([panel], lines, [Bbox.from_bounds(0, 0, 400, 200)])
    assert spacing.fitting_size([panel], lines, [Bbox.from_bounds(0, 0, 72 * needed, 72 * 3.5)]) == 5
    with pytest.raises(bm.SpecError, match=r"these axes are 1.4 x 9.7 inches"):
        spacing.fitting_size([panel], lines, [Bbox.from_bounds(0, 0, 100, 700)])


def test_columns_keep_their_room_when_the_figure_changes() -> None:
    figure, ax = plt.subplots(figsize=(6, 3))
    ax.set_axes_locator(spacing.Inset(ax, 72, 36))
    for wide in (6, 9):
        figure.set_size_inches(wide, 3)
        figure.draw_without_rendering()
        place, whole = ax.get_window_extent(), ax.get_position(original=True)
        assert place.x0 / figure.dpi == pytest.approx(whole.x0 * wide + 1)
        assert place.x1 / figure.dpi == pytest.approx(whole.x1 * wide - 0.5)
    plt.close(figure)


def test_long_labels_run_over_several_lines() -> None:
    label = "a study with a title that somebody thought should be in the label of the plot, whole"
    parts = spacing.wrapped(label).split("\n")
    assert len(parts) == 2
    assert " ".join(parts) == label
    assert spacing.wrapped("x" * 100).count("\n") == 2
    assert spacing.wrapped("") == ""
    assert np.max([len(part) for part in spacing.wrapped(label, 2).split("\n")]) <= 42
