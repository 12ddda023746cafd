"""Forest plots: what is drawn equals what the tree says, and no text lies on another."""

import io
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection
from matplotlib.figure import Figure

import bayesmeta as bm
from bayesmeta.plots import style
from bayesmeta.plots.style import AxesArray
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior

WORDS = "a trial whose authors gave it a title that is much longer than any label should be, part"


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    return bm.datasets.load("bcg")


@pytest.fixture(scope="module")
def trials(bcg: pd.DataFrame) -> xr.DataTree:
    return bm.fit(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"))


def made(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(n)
    se = rng.uniform(0.05, 0.6, n)
    y = rng.normal(0.2, 0.3, n) + se * rng.normal(size=n)
    return pd.DataFrame({"study": [f"Author {i} ({1980 + i % 40})" for i in range(n)], "y": y, "v": se**2})


def berkey() -> tuple[bm.Spec, pd.DataFrame]:
    data = bm.datasets.load("berkey98")
    return bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], measure="md"), data


def figure_of(ax: Any) -> Figure:
    first = ax if isinstance(ax, Axes) else ax[0]
    figure = first.get_figure(root=True)
    assert isinstance(figure, Figure)
    return figure


def points(ax: Axes, label: str) -> PathCollection:
    return next(c for c in ax.collections if c.get_label() == label)


def offsets(ax: Axes, label: str) -> np.ndarray:
    return np.asarray(points(ax, label).get_offsets())


def segments(ax: Axes, colour: str) -> np.ndarray:
    """(n, 3) of lower, upper and height of all solid intervals of a colour."""
    lines = [x for x in ax.lines if x.get_color() == colour and x.get_linestyle() == "-" and len(x.get_xdata()) == 2]
    level = [x for x in lines if x.get_ydata()[0] == x.get_ydata()[1]]
    return np.array([[*x.get_xdata(), x.get_ydata()[0]] for x in level])


def texts(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.texts if text.get_text()]


def test_squares_and_intervals_are_the_data_and_circles_the_blups(trials: xr.DataTree, bcg: pd.DataFrame) -> None:
    ax = bm.plots.forest(trials, blup=True)
    assert isinstance(ax, Axes)
    squares, circles = offsets(ax, "observed"), offsets(ax, "BLUP")
    assert squares[:, 0] == pytest.approx(np.exp(bcg["logrr"]))
    assert circles[:, 0] == pytest.approx(np.exp(bm.blup(trials)["mean"].values[:, 0]))
    assert (squares[:, 1] < circles[:, 1]).all()
    assert np.rint(squares[:, 1]).tolist() == list(range(13))
    half = 1.959963984540054 * np.sqrt(bcg["logrrvar"])
    observed, blups = segments(ax, style.INK), segments(ax, style.BLUE)
    assert observed[:, 0] == pytest.approx(np.exp(bcg["logrr"] - half))
    assert observed[:, 1] == pytest.approx(np.exp(bcg["logrr"] + half))
    assert blups[:, 0] == pytest.approx(np.exp(bm.blup(trials)["lower"].values[:, 0]))
    assert ax.get_xlabel() == "Risk ratio"


def test_areas_of_squares_are_in_proportion_to_the_weights_printed(trials: xr.DataTree) -> None:
    ax = bm.plots.forest(trials)
    *weights, total = [float(text[:-1]) for text in texts(ax) if text.endswith("%") and text[0].isdigit()]
    weights = np.array(weights)
    assert total == 100
    assert weights.sum() == pytest.approx(100, abs=0.6)
    areas = points(ax, "observed").get_sizes()
    assert areas / areas.max() == pytest.approx(weights / weights.max(), abs=0.01)


def test_the_diamond_is_the_pooled_interval_and_the_dashes_the_prediction(trials: xr.DataTree) -> None:
    ax = bm.plots.forest(trials)
    (diamond,) = (patch for patch in ax.patches if patch.get_label() == "mean")
    pooled = bm.predict(trials, {}, interval="confidence")
    x = diamond.get_xy()[:, 0]
    assert sorted(set(x.round(12))) == pytest.approx(
        np.exp([pooled[name].item() for name in ("lower", "mean", "upper")]), rel=1e-9
    )
    (dashed,) = (line for line in ax.lines if line.get_linestyle() == "--" and line.get_ydata()[0] > 13)
    future = bm.predict(trials, {}, interval="prediction")
    assert dashed.get_xdata() == pytest.approx(np.exp([future["lower"].item(), future["upper"].item()]))
    uprights = {line.get_label(): line.get_xdata()[0] for line in ax.lines}
    assert uprights["no effect"] == 1
    assert uprights["pooled"] == pytest.approx(np.exp(pooled["mean"].item()))
    assert "0.49 [0.33, 0.73]" in texts(ax)
    assert "[0.14, 1.76]" in texts(ax)


def test_the_same_on_a_posterior(bcg: pd.DataFrame) -> None:
    tree = make_posterior(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"))
    ax = bm.plots.forest(tree, prob=0.9, labels=bcg["author"], blup=True)
    circles = offsets(ax, "BLUP")
    assert circles[:, 0] == pytest.approx(bm.blup(tree, scale="response")["mean"].values[:, 0])
    assert {"Pooled (posterior)", "90% prediction interval", "RR [90% interval]"} <= set(texts(ax))
    legend = ax.get_legend()
    assert legend is not None
    assert [text.get_text() for text in legend.get_texts()] == ["observed", "posterior"]
    assert crowded(figure_of(ax)) == []


def test_logs_where_ratios_are_not_wanted(trials: xr.DataTree, bcg: pd.DataFrame) -> None:
    ax = bm.plots.forest(trials, scale="model")
    assert offsets(ax, "observed")[:, 0] == pytest.approx(bcg["logrr"])
    assert ax.get_xscale() == "linear"
    assert "log RR [95% CI]" in texts(ax)


def test_intervals_beyond_the_axis_end_in_arrows() -> None:
    data = pd.DataFrame({"y": [0.1, 0.2, -0.1, 0.15, 30.0, -0.3], "v": [0.01, 0.02, 0.03, 0.02, 40.0, 300.0]})
    ax = bm.plots.forest(bm.fit(bm.specify("y ~ 1", data, S="v"), method="dl"), blup=False)
    low, high = ax.get_xlim()
    assert offsets(ax, "observed")[:, 0] == pytest.approx([0.1, 0.2, -0.1, 0.15, -0.3])
    arrows = {(line.get_marker(), line.get_ydata()[0]): line.get_xdata()[0] for line in ax.lines}
    assert arrows["<", 5] == pytest.approx(low)
    assert arrows[">", 5] == pytest.approx(high)
    assert (">", 4) in arrows
    assert not any((marker, row) in arrows for marker in "<>" for row in range(4))
    assert "30.00 [17.60, 42.40]" in texts(ax)


def test_limits_of_the_axis_are_those_asked_for(trials: xr.DataTree) -> None:
    ax = bm.plots.forest(trials, limits=(0.5, 2))
    assert ax.get_xlim() == pytest.approx((0.5, 2))
    assert any(line.get_marker() == "<" for line in ax.lines)
    for wrong in ((2, 0.5), (0, 2), (0.1, np.inf)):
        with pytest.raises(bm.SpecError, match="limits="):
            bm.plots.forest(trials, limits=wrong)


def test_a_common_effect_has_neither_circles_nor_prediction(bcg: pd.DataFrame) -> None:
    ax = bm.plots.forest(bm.fit(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"), method="fixed"))
    assert [c.get_label() for c in ax.collections] == ["observed"]
    assert ax.get_legend() is None
    assert "Pooled (common effect)" in texts(ax)
    assert not any("prediction" in text for text in texts(ax))
    assert offsets(ax, "observed")[:, 1].tolist() == list(range(13))


def test_meta_regression_shows_fitted_values_and_no_weights(bcg: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("logrr ~ ablat", bcg, S="logrrvar", measure="logrr"))
    ax = bm.plots.forest(tree)
    fitted = [patch for patch in ax.patches if patch.get_label() == "fitted"]
    predicted = bm.predict(tree, interval="confidence")
    assert [patch.get_xy()[:, 0].max() for patch in fitted] == pytest.approx(np.exp(predicted["upper"].values[:, 0]))
    assert not any(patch.get_label() == "mean" for patch in ax.patches)
    assert "Weight" not in texts(ax)
    assert crowded(figure_of(ax)) == []


def test_groups_have_open_diamonds() -> None:
    tree = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
    ax = bm.plots.forest(tree, blup=True)
    groups = [patch for patch in ax.patches if patch.get_label() == "group"]
    found = bm.blup(tree, level="district")["lower"].values[:, 0]
    assert [patch.get_xy()[:, 0].min() for patch in groups] == pytest.approx(list(dict.fromkeys(found)))
    assert crowded(figure_of(ax)) == []


def test_measures_of_one_group_have_no_line_of_no_effect() -> None:
    data = made(5)
    labels = [
        {line.get_label() for line in bm.plots.forest(bm.fit(bm.specify("y ~ 1", data, S="v", measure=m))).lines}
        for m in ("mean", "smd")
    ]
    assert "no effect" not in labels[0]
    assert "no effect" in labels[1]


# one study has as many coefficients as observations
@pytest.mark.filterwarnings("ignore:as many coefficients as observations", "ignore:no random effects")
@pytest.mark.parametrize("n", [1, 3, 13, 60])
@pytest.mark.parametrize("wordy", [False, True])
def test_no_text_lies_on_another(n: int, wordy: bool) -> None:
    data = made(n)
    alone = {"groups": "study"} if n == 1 else {}  # a variance between studies takes two
    tree = bm.fit(bm.specify("y ~ 1", data, S="v", measure="logor", **alone))
    labels = [f"{WORDS} {i}" if wordy and i % 2 == 0 else x for i, x in enumerate(data["study"])]
    columns = {("Treated", "events"): range(n), ("Treated", "all"): [10**6] * n, "a longer heading": ["x"] * n}
    ax = bm.plots.forest(tree, labels=labels, columns=columns if wordy else None)
    assert crowded(figure_of(ax)) == []
    assert sum(text.replace("\n", " ") in labels for text in texts(ax)) == n


def test_figures_grow_with_their_rows() -> None:
    heights = []
    for n in (3, 60):
        figure = figure_of(bm.plots.forest(bm.fit(bm.specify("y ~ 1", made(n), S="v"), method="dl")))
        heights.append(figure.get_figheight())
    assert heights[1] > 7 > 3 > heights[0]


def test_several_outcomes_share_their_labels() -> None:
    spec, data = berkey()
    axes = bm.plots.forest(bm.fit(spec), labels=data["author"])
    assert isinstance(axes, np.ndarray)
    assert len(axes) == 2
    assert crowded(figure_of(axes)) == []
    for ax, outcome in zip(axes, ("PD", "AL"), strict=True):
        assert offsets(ax, "observed")[:, 0] == pytest.approx(data[outcome])
        assert outcome in texts(ax)
    assert "Becker et al." in texts(axes[0])
    assert "Becker et al." not in texts(axes[1])
    assert figure_of(axes).get_figwidth() <= style.PAGE
    one = bm.plots.forest(bm.fit(spec), outcome="AL")
    assert isinstance(one, Axes)
    assert "AL" not in texts(one)


def test_axes_of_the_user(trials: xr.DataTree, bcg: pd.DataFrame) -> None:
    for layout in ("constrained", "tight", None):
        figure, axes = plt.subplots(1, 2, figsize=(11, 4), layout=layout)
        assert bm.plots.forest(trials, axes[0], labels=bcg["author"]) is axes[0]
        axes[1].plot([0, 1])
        axes[1].set_ylabel("another plot")
        assert crowded(figure) == []
    spec, data = berkey()
    figure, axes = plt.subplots(2, 1, figsize=(6, 5), layout="constrained")
    found = bm.plots.forest(bm.fit(spec), axes, labels=data["author"])
    assert [ax is own for ax, own in zip(found, axes, strict=True)] == [True, True]
    assert "Becker et al." in texts(axes[1])  # below one another each has its labels
    assert crowded(figure) == []
    parts = plt.figure(figsize=(9, 3.5)).subfigures(1, 2, width_ratios=[2, 1])
    ax = bm.plots.forest(trials, parts[0].subplots(), labels=bcg["author"])
    assert crowded(figure_of(ax)) == []


def test_letters_shrink_in_small_axes_down_to_a_floor() -> None:
    tree = bm.fit(bm.specify("y ~ 1", made(60), S="v"), method="dl")
    figure, ax = plt.subplots(figsize=(5, 7), layout="constrained")
    bm.plots.forest(tree, ax)
    assert 5 <= ax.texts[0].get_fontsize() < 7
    assert crowded(figure) == []
    _, ax = plt.subplots(figsize=(5, 4))
    with pytest.raises(bm.SpecError, match=r"these axes are .* x 3.1 inches, .* need at least .* x [56].\d"):
        bm.plots.forest(tree, ax)
    assert not ax.texts


def test_wrong_axes_are_refused(trials: xr.DataTree) -> None:
    spec, _ = berkey()
    _, ax = plt.subplots()
    with pytest.raises(bm.SpecError, match=r"1 axes for 2 outcomes: PD, AL\n.*outcome='PD'"):
        bm.plots.forest(bm.fit(spec), ax)
    with pytest.raises(bm.SpecError, match="ax is a Figure"):
        bm.plots.forest(trials, plt.figure())
    with pytest.raises(bm.SpecError, match="expected the results tree"):
        bm.plots.forest(spec)


def test_a_sequence_of_axes_gives_an_array(trials: xr.DataTree) -> None:
    _, ax = plt.subplots(figsize=(6, 4))
    assert isinstance(bm.plots.forest(trials, [ax]), np.ndarray)


def test_a_sequence_of_outcomes_gives_an_array_with_its_figure() -> None:
    fit = bm.fit(berkey()[0])
    one, two = bm.plots.forest(fit, outcome=["PD"]), bm.plots.forest(fit)
    assert isinstance(one, AxesArray)
    assert isinstance(two, AxesArray)
    assert (len(one), len(two)) == (1, 2)
    assert two.figure is two[1].figure


@pytest.mark.parametrize("suffix", ["png", "pdf", "svg"])
def test_it_can_be_saved(trials: xr.DataTree, suffix: str) -> None:
    file = io.BytesIO()
    figure_of(bm.plots.forest(trials)).savefig(file, format=suffix, bbox_inches="tight")
    assert len(file.getvalue()) > 5000


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_picture_of_bcg(trials: xr.DataTree, bcg: pd.DataFrame) -> Figure:
    columns = {("Vaccinated", "TB"): bcg["tpos"], ("Vaccinated", "all"): bcg["tpos"] + bcg["tneg"]}
    return figure_of(bm.plots.forest(trials, labels=bcg["author"], columns=columns, order="weight"))


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_picture_of_two_outcomes() -> Figure:
    spec, data = berkey()
    return figure_of(bm.plots.forest(bm.fit(spec), labels=data["author"]))


@pytest.mark.mpl_image_compare(tolerance=10, style="default", savefig_kwargs={"dpi": 80})
def test_picture_of_nested_levels() -> Figure:
    school = bm.datasets.load("school").query("district < 60")
    tree = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd"))
    return figure_of(bm.plots.forest(tree))
