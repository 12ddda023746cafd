"""Diagrams of specifications: what is drawn is what the specification holds, and every text fits its box."""

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, Rectangle

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.structure import Unit, groups_of
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior
from tests.support.trials import bcg, berkey, school, trial_spec
from tests.tree.test_posterior_draws import smoking

MODELS = Path(__file__).resolve().parents[2] / "models"


def model(file: str, name: str) -> bm.Spec:
    return bm.load_analysis(MODELS / f"{file}.toml").models[name].spec


def cells(ax: Axes, filled: bool) -> int:
    """Squares in the diagram, those of the key not counted."""
    key = max(t.get_position()[0] for t in ax.texts if t.get_text().startswith("unit, a row"))
    first = min(t.get_position()[1] for t in ax.texts if t.get_position()[0] == key and "groups" in t.get_text())
    squares = [p for p in ax.patches if isinstance(p, Rectangle) and p.get_y() < first - 0.1]
    return sum((p.get_facecolor() != (1, 1, 1, 1)) is filled for p in squares)


def texts(ax: Axes) -> list[str]:
    return [t.get_text() for t in ax.texts]


def test_levels_units_and_outcomes_are_all_drawn() -> None:
    ax = bm.plots.structure(school(), most=20)
    boxes = [p for p in ax.patches if isinstance(p, FancyBboxPatch)]
    assert len(boxes) == 11 + 53 + 2  # district 58 has three more than fit, and two boxes are in the key
    assert "+3 more" in texts(ax)
    assert cells(ax, True) == 53
    assert "district: 11 groups; random effects Intercept" in texts(ax)
    assert any(t.startswith("study: 56 groups inside these") for t in texts(ax))
    assert "S: sampling errors are independent" in texts(ax)


def test_missing_outcomes_are_empty_and_coupled_ones_bracketed() -> None:
    spec = smoking("unstr")
    ax = bm.plots.structure(spec, most=100)
    assert cells(ax, True) == len(spec.y) == 31
    assert cells(ax, False) == 24 * 3 - 31
    within = {(r, c) for r, c in zip(spec.S.row, spec.S.col, strict=True) if r != c}
    coupled = {spec.row[r] for r, _ in within}
    assert len(ax.lines) == len(coupled) + 1  # and one in the key
    assert {"observed: 31", "missing: 41", "S couples the sampling errors of the outcomes of a unit"} <= set(texts(ax))


def test_records_say_what_is_coupled() -> None:
    spec = model("alcohol", "L2")
    groups = groups_of(spec, 100, 100)
    for g, group in enumerate(groups):
        own = np.flatnonzero(spec.levels[0].index == g)
        assert len(group.inside) == len(own)
        assert all(isinstance(unit, Unit) and not unit.coupled for unit in group.inside)
        assert len({unit.block for unit in group.units}) == 1
    assert len({next(group.units).block for group in groups}) == len(groups)
    assert all(unit.block == -1 for group in groups_of(bcg(), 20, 8) for unit in group.units)


def test_brackets_reach_over_the_units_of_a_block() -> None:
    ax = bm.plots.structure(model("gliomas", "4"), most=4)
    ends = [line.get_xdata() for line in ax.lines if np.ptp(line.get_ydata()) == 0]
    squares = [p.get_x() for p in ax.patches if isinstance(p, Rectangle)][:16]
    for x, four in zip(ends, np.reshape(squares, (4, 4)), strict=False):
        np.testing.assert_allclose(x, [four[0] + 0.055, four[-1] + 0.055])
    assert len(ends) == 5  # four groups and the key


SPECS = {
    "school": school,
    "bcg": bcg,
    "berkey": berkey,
    "smoking": lambda: smoking("unstr"),
    "gliomas": lambda: model("gliomas", "4"),
    "alcohol": lambda: model("alcohol", "L2"),
    "three": lambda: trial_spec(3),
    "sixty": lambda: trial_spec(60, True),
}


@pytest.mark.parametrize("name", SPECS)
def test_texts_fit_their_boxes_and_the_page(name: str) -> None:
    ax = bm.plots.structure(SPECS[name]())
    figure = ax.figure
    assert figure.get_size_inches()[0] <= 7.2
    assert crowded(figure) == []
    boxes = [p.get_window_extent() for p in ax.patches if isinstance(p, FancyBboxPatch)]
    for text in ax.texts:
        box = text.get_window_extent()
        inside = [b for b in boxes if b.x0 <= box.x0 <= b.x1 and b.y0 <= (box.y0 + box.y1) / 2 <= b.y1]
        assert all(box.x1 <= b.x1 + 1 for b in inside), text.get_text()
    assert max(b.x1 for b in boxes) <= figure.bbox.x1 + 1
    assert min(t.get_fontsize() for t in ax.texts) >= 6


def test_a_tree_is_drawn_like_its_specification() -> None:
    spec = berkey()
    assert texts(bm.plots.structure(bm.fit(spec))) == texts(bm.plots.structure(spec))
    common = texts(bm.plots.structure(bm.fit(spec, method="fixed")))
    assert "covariance unstr" in " ".join(texts(bm.plots.structure(spec)))
    assert "covariance fixed" in " ".join(common)
    assert texts(bm.plots.structure(make_posterior(spec))) == texts(bm.plots.structure(spec))


def test_one_more_group_is_drawn_rather_than_counted() -> None:
    ax = bm.plots.structure(bcg())
    assert not any("more" in text for text in texts(ax))
    assert cells(ax, True) == 13


def test_large_groups_and_many_levels_say_what_is_left_out() -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(size=600), "v": 0.1, "a": np.arange(600) // 200, "b": np.arange(600) // 20})
    data["c"] = np.arange(600) // 2
    ax = bm.plots.structure(bm.specify("y ~ 1", data, S="v", random="1 | a/b/c"), most=2)
    assert "... and 1 more group of a" in texts(ax)
    assert sum(t.endswith(" more") for t in texts(ax)) > 2
    assert crowded(ax.figure) == []
    blocks = {g: 0.05 + 0.05 * np.eye(200) for g in range(3)}
    ax = bm.plots.structure(bm.specify("y ~ 1", data, S=blocks, random="1 | a"))
    assert texts(ax).count("+184 more") == 3
    assert sum(line.get_linestyle() == ":" for line in ax.lines) == 3  # the bracket goes on
    assert crowded(ax.figure) == []


def test_given_axes_show_what_fits() -> None:
    ax = plt.subplots(figsize=(5, 3))[1]
    assert bm.plots.structure(school(), ax) is ax
    assert crowded(ax.figure) == []
    assert any("more groups of district" in t for t in texts(ax))
    with pytest.raises(SpecError, match="too small for this diagram"):
        bm.plots.structure(school(), plt.subplots(figsize=(1, 1))[1])


def test_refusals() -> None:
    for given, message in [
        ({"spec": "y ~ 1"}, "not str"),
        ({"spec": bcg(), "most": 0}, "most is 0; it must be a whole number"),
    ]:
        with pytest.raises(SpecError, match=message):
            bm.plots.structure(**given)


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="structure.png")
def test_picture() -> Figure:
    return bm.plots.structure(model("gliomas", "4"), most=9).figure
