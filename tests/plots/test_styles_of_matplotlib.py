"""Every plot in styles with dark, grey and gridded backgrounds: each text stands out against what is behind it."""

from collections.abc import Callable
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb, to_rgba

import bayesmeta as bm
from bayesmeta.plots import style
from tests.support.pictures import drawn_texts
from tests.support.posteriors import make_posterior

LEAST = 4.5  # WCAG 2.1, level AA, for text


def contrast(one: Any, two: Any) -> float:
    a, b = sorted((style.luminance(to_rgb(one)), style.luminance(to_rgb(two))))
    return (b + 0.05) / (a + 0.05)


@pytest.fixture(scope="module")
def trees() -> dict[str, Any]:
    bcg, school = bm.datasets.load("bcg"), bm.datasets.load("school")
    spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor", arms=("vaccinated", "control"))
    latitude = bm.specify("logor ~ ablat + alloc", bcg, S="logorvar", measure="logor")
    nested = bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd")
    columns = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
    return {
        "cohorts": bm.fit(bm.dose_response.specify(bm.datasets.load("alcohol"), **columns)),
        "fit": bm.fit(spec),
        "latitude": bm.fit(latitude),
        "nested": bm.fit(nested),
        "post": make_posterior(spec, draws=200),
        "network": bm.load_analysis("diabetes").models["random"].spec,
        "accuracy": bm.fit(bm.load_analysis("auditc").models["reml"].spec),
    }


def assumed() -> Any:
    school = bm.datasets.load("school")
    S = bm.within.correlated(school, variance="var", rho=0.5, group="district")
    return bm.rho_sensitivity(bm.specify("effect ~ 1", school, S=S, random="1 | district/study"), [0, 0.5])


def priors(tree: Any) -> Any:
    return bm.robustness(bm.Spec.from_tree(tree), {"scale": [0.1, 0.5]})


def line(tree: Any) -> Any:
    return bm.curve(bm.predict(tree, {}, covariance=True), lambda x: x[:, None], [0.0, 1.0, 2.0], 1.0, random_seed=1)


def funnel_of(tree: Any) -> Any:
    return bm.plots.network_funnel(tree, order=list(bm.network.league(tree)["treatment"].values))


PLOTS: dict[str, Callable[[Any], Any]] = {
    "forest": lambda t: bm.plots.forest(t["fit"], blup=True, common=True),
    "forest of levels": lambda t: bm.plots.forest(t["nested"], blup=True),
    "forest of predictors": lambda t: bm.plots.forest(t["latitude"]),
    "cumulative": lambda t: bm.plots.cumulative(t["fit"], order="year"),
    "leave_one_out": lambda t: bm.plots.leave_one_out(t["nested"]),
    "influence": lambda t: bm.plots.influence(t["fit"]),
    "baujat": lambda t: bm.plots.baujat(t["fit"]),
    "radial": lambda t: bm.plots.radial(t["nested"]),
    "qqnorm": lambda t: bm.plots.qqnorm(t["fit"]),
    "gosh": lambda t: bm.plots.gosh(t["fit"], subsets=200, highlight="TPT Madras (1980)", random_seed=1),
    "labbe": lambda t: bm.plots.labbe(t["fit"], events=["tpos", "cpos"], total=["tneg", "cneg"], label="all"),
    "funnel": lambda t: bm.plots.funnel(t["fit"], label="all"),
    "bubble": lambda t: bm.plots.bubble(t["latitude"], "ablat", label="all", statistics=True),
    "bubble of categories": lambda t: bm.plots.bubble(t["latitude"], "alloc"),
    "orchard": lambda t: bm.plots.orchard(t["latitude"], by="alloc"),
    "caterpillar": lambda t: bm.plots.caterpillar(t["nested"]),
    "structure": lambda t: bm.plots.structure(t["nested"]),
    "compare": lambda t: bm.plots.compare({"fit": t["fit"], "post": t["post"]}),
    "profile": lambda t: bm.plots.profile(bm.profile(t["fit"])),
    "rho_sensitivity": lambda t: bm.plots.rho_sensitivity(assumed(), "beta"),
    "prior_posterior": lambda t: bm.plots.prior_posterior(t["post"], fit=t["fit"]),
    "longitudinal": lambda t: bm.plots.longitudinal(t["latitude"], "ablat"),
    "dose_response": lambda t: bm.plots.dose_response(t["latitude"], "ablat", reference=20, upto=50),
    "dose_response of cohorts": lambda t: bm.plots.dose_response(t["cohorts"]),
    "dose_residuals": lambda t: bm.plots.dose_residuals(t["cohorts"]),
    "network_graph": lambda t: bm.plots.network_graph(t["network"]),
    "network_forest": lambda t: bm.plots.network_forest(bm.fit(t["network"])),
    "network_ranking": lambda t: bm.plots.network_ranking(bm.fit(t["network"]), "smaller"),
    "network_heat": lambda t: bm.plots.network_heat(t["network"]),
    "network_split": lambda t: bm.plots.network_split(bm.fit(t["network"]), show="all"),
    "network_league": lambda t: bm.plots.network_league(bm.fit(t["network"])),
    "network_funnel": lambda t: funnel_of(bm.fit(t["network"])),
    "sroc": lambda t: bm.plots.sroc(t["accuracy"], label="all"),
    "accuracy_forest": lambda t: bm.plots.accuracy_forest(t["accuracy"]),
    "likelihood_ratios": lambda t: bm.plots.likelihood_ratios(t["accuracy"]),
    "predictive_values": lambda t: bm.plots.predictive_values(t["accuracy"]),
    "fagan": lambda t: bm.plots.fagan(t["accuracy"], 0.2),
    "robustness": lambda t: bm.plots.robustness(priors(t["nested"])),
    "curves": lambda t: bm.plots.curves(line(t["fit"])),
}
NOT_HERE = {"loo_pit", "loo_pit_values", "sensitivity", "simulation"}  # numbers, and plots of what takes long to make


def test_no_plot_is_forgotten() -> None:
    assert {name.split(" ")[0] for name in PLOTS} | NOT_HERE == set(dir(bm.plots))


def behind(text: Any) -> list[Any]:
    """The colours that may be behind a text: those of the figure, of the axes it lies in, and of boxes in these."""
    figure = text.get_figure(root=True)
    box, paper = text.get_window_extent(), to_rgba(figure.get_facecolor())
    colours = [paper]
    for ax in figure.findobj(Axes):
        if ax.patch.get_visible() and ax.axison and ax.get_window_extent().overlaps(box):
            colours.append(to_rgba(ax.get_facecolor()))
        for patch in ax.patches:
            extent = patch.get_window_extent()
            if patch.get_zorder() < text.get_zorder() and extent.x0 <= box.x0 and box.x1 <= extent.x1:
                colours += [patch.get_facecolor()] * bool(extent.y0 <= box.y0 and box.y1 <= extent.y1)
    return [colour for colour in colours[-1:] if colour[3] > 0.5]


@pytest.mark.parametrize("name", ["dark_background", "ggplot", "seaborn-v0_8-whitegrid"])
@pytest.mark.parametrize("plot", list(PLOTS))
def test_texts_stand_out(plot: str, name: str, trees: dict[str, Any]) -> None:
    with plt.style.context(name):
        figure = np.ravel(np.asarray(PLOTS[plot](trees), dtype=object))[0].figure
        figure.canvas.draw()
        faint = {text.get_text(): (text.get_color(), b) for text in drawn_texts(figure) for b in behind(text)}
        faint = {text: pair for text, pair in faint.items() if contrast(*pair) < LEAST}
    assert not faint


def test_colours_follow_the_background() -> None:
    light = style.INK, style.PAPER, style.COLOURS
    assert not style.is_dark()
    with plt.style.context("dark_background"):
        assert style.is_dark()
        assert contrast(style.INK, style.PAPER) > 10
        assert contrast(style.MUTED, style.PAPER) > LEAST
        assert min(contrast(colour, style.PAPER) for colour in style.COLOURS) > 3
        assert contrast(style.grey(0.95), style.PAPER) < 1.5
    assert light == (style.INK, style.PAPER, style.COLOURS)
    assert style.grey(1.0) == "#ffffff"
    with pytest.raises(AttributeError, match="no attribute 'INKS'"):
        style.INKS  # noqa: B018
