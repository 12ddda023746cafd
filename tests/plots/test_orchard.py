"""Orchards: swarms without overlap, and the intervals of bm.predict."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.collections import LineCollection, PathCollection
from matplotlib.figure import Figure

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.orchard import orchard_rows, swarm
from tests.support.drawn import notes
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior
from tests.support.trials import LONG, bcg, berkey, school, trial_spec, trials


@given(st.lists(st.tuples(st.floats(0, 20), st.floats(0.2, 3)), max_size=40))
def test_discs_of_a_swarm_do_not_overlap_and_stay_in_place(discs: list[tuple[float, float]]) -> None:
    x, radius = np.array(discs).reshape(-1, 2).T
    height = swarm(x, radius)
    apart = np.hypot(x[:, None] - x, height[:, None] - height)
    touching = radius[:, None] + radius
    np.fill_diagonal(apart, np.inf)
    assert (apart >= touching * (1 - 1e-6)).all()
    np.testing.assert_array_equal(height, swarm(x, radius))
    alone = [(np.abs(x - x[i]) >= touching[i])[np.arange(len(x)) != i].all() for i in range(len(x))]
    assert not height[np.array(alone, dtype=bool)].any()


@pytest.mark.parametrize("make", [bm.fit, make_posterior])
def test_rows_hold_the_data_and_the_intervals_of_predict(make) -> None:
    tree = make(bcg("logor ~ alloc"))
    data = bm.datasets.load("bcg")
    ax = bm.plots.orchard(tree, by="alloc", prob=0.9)
    kinds = list(dict.fromkeys(data["alloc"]))
    assert [t.get_text().split("\n")[0] for t in ax.get_yticklabels()] == kinds
    scatters = [c for c in ax.collections if isinstance(c, PathCollection)]
    bands = [c.get_segments()[0][:, 0] for c in ax.collections if isinstance(c, LineCollection)]
    for i, kind in enumerate(kinds):
        own = data[data["alloc"] == kind]
        assert ax.get_yticklabels()[i].get_text() == f"{kind}\nk = {len(own)}"
        np.testing.assert_allclose(scatters[i].get_offsets()[:, 0], np.exp(own["logor"]))
        place = len(kinds) - 1 - i
        assert (np.abs(scatters[i].get_offsets()[:, 1] - place) < 0.5).all()
        for band, interval in ((bands[2 * i], "prediction"), (bands[2 * i + 1], "confidence")):
            found = bm.predict(tree, {"alloc": kind}, interval, 0.9)
            np.testing.assert_allclose(band, np.exp([found["lower"].item(), found["upper"].item()]))
        assert bands[2 * i][0] < bands[2 * i + 1][0] < bands[2 * i + 1][1] < bands[2 * i][1]
    assert crowded(ax.figure) == []


def test_areas_are_proportional_to_precision() -> None:
    data = trials(8).assign(v=np.linspace(0.01, 0.05, 8))
    ax = bm.plots.orchard(bm.fit(bm.specify("y ~ 1", data, S="v")))
    sizes = ax.collections[0].get_sizes()
    np.testing.assert_allclose(sizes / sizes[0], np.sqrt(data["v"][0] / data["v"]))


def test_groups_are_counted_and_outcomes_have_rows() -> None:
    labels = [t.get_text() for t in bm.plots.orchard(bm.fit(school())).get_yticklabels()]
    assert labels == ["All\nk = 56 in 11 groups"]
    ax = bm.plots.orchard(bm.fit(berkey()))
    assert [t.get_text() for t in ax.get_yticklabels()] == ["PD\nk = 5", "AL\nk = 5"]
    assert ax.get_xlabel() == "Mean difference"
    one = bm.plots.orchard(bm.fit(berkey()), outcome="AL")
    assert [t.get_text() for t in one.get_yticklabels()] == ["All\nk = 5"]


def test_other_predictors_are_held_and_said() -> None:
    fit = bm.fit(bcg("logor ~ year + alloc"))
    year = bm.datasets.load("bcg")["year"].mean()
    rows, held = orchard_rows(fit, by="alloc")
    assert held == f"year = {year:.4g}"
    expected = bm.predict(fit, {"year": year, "alloc": "random"}, "confidence")
    assert rows[0].mean == pytest.approx(expected["mean"].item())
    assert "at year = " in notes(bm.plots.orchard(fit, by="alloc"))
    rows, held = orchard_rows(fit, by="alloc", at={"year": 1950})
    assert held == "year = 1950"
    assert rows[0].mean == pytest.approx(bm.predict(fit, {"year": 1950, "alloc": "random"})["mean"].item())


def test_means_have_numbers_and_no_effect_a_line() -> None:
    ax = bm.plots.orchard(bm.fit(bcg()))
    assert "0.47 [0.32, 0.71]" in [text.get_text() for text in ax.texts]
    assert [line.get_xdata()[0] for line in ax.lines if line.get_label() == "no effect"] == [1]
    ax.set_title("A title")
    assert crowded(ax.figure) == []


def test_without_heterogeneity_the_prediction_interval_is_said_to_be_the_same() -> None:
    texts = [t.get_text() for t in bm.plots.orchard(bm.fit(bcg(), method="fixed")).get_legend().get_texts()]
    assert "95% prediction: the same" in texts
    assert "95% prediction" in [t.get_text() for t in bm.plots.orchard(bm.fit(bcg())).get_legend().get_texts()]


@pytest.mark.parametrize("make", [bm.fit, make_posterior])
@pytest.mark.parametrize("n", [3, 60, 500])
def test_readable_with_few_and_with_many(make, n: int) -> None:
    ax = bm.plots.orchard(make(trial_spec(n)))
    assert crowded(ax.figure) == []
    points = ax.collections[0].get_offsets()
    assert len(points) == n
    assert np.abs(points[:, 1]).max() < 0.5


def test_readable_with_long_categories_and_one_study() -> None:
    data = trials(30).assign(kind=lambda rows: LONG + rows["kind"])
    ax = bm.plots.orchard(bm.fit(bm.specify("y ~ kind", data, S="v", measure="smd")), by="kind")
    assert crowded(ax.figure) == []
    alone = bm.plots.orchard(bm.fit(bm.specify("y ~ 1", trials(3)[:1], S="v", groups="study"), method="fixed"))
    assert alone.get_yticklabels()[0].get_text() == "All\nk = 1 in 1 group"


def test_given_axes_are_returned() -> None:
    ax = plt.subplots()[1]
    assert bm.plots.orchard(bm.fit(bcg()), ax) is ax


def test_refusals() -> None:
    fit = bm.fit(bcg("logor ~ year + alloc"))
    many = bm.fit(trial_spec(60, formula="y ~ year"))
    gliomas = bm.fit(bm.specify("logOR ~ 0 + C(time)", bm.datasets.load("gliomas"), S="logORvar", random="1 | study"))
    for call, message in [
        (lambda: bm.plots.orchard(fit, by="aloc"), "by: the model has no predictor 'aloc'; did you mean 'alloc'"),
        (lambda: bm.plots.orchard(fit), "depends on the categories of 'alloc'"),
        (
            lambda: bm.plots.orchard(fit, by="alloc", at={"yeer": 1}),
            "at: no other predictor 'yeer'; did you mean 'year'",
        ),
        (lambda: bm.plots.orchard(many, by="year"), r"has \d+ values; at most 20"),
        (lambda: bm.plots.orchard(gliomas), "no prediction at time = "),
        (lambda: bm.plots.orchard(fit, by="alloc", outcome="y"), "no outcome 'y'"),
        (lambda: bm.plots.orchard(fit, by="alloc", prob=1), "prob is 1; it must"),
        (lambda: bm.plots.orchard(bcg()), "expected the results tree"),
    ]:
        with pytest.raises(SpecError, match=message):
            call()
    assert len(bm.plots.orchard(gliomas, by="time").get_yticklabels()) == 4


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80}, filename="orchard.png")
def test_picture() -> Figure:
    return bm.plots.orchard(bm.fit(bcg("logor ~ alloc")), by="alloc").figure
