"""Networks in model files, reports and pictures, and the questions that are asked of any results."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.plots.style import root_figure
from bayesmeta.report.sections.network_section import network_section
from bayesmeta.report.sections.opening import differences, findings
from tests.support.pictures import crowded

SENN = {"study": "study", "treatment": "treatment", "mean": "mean", "sd": "sd", "n": "n", "measure": "md"}
COUNSELLING = {"study": "study", "treatment": "treatment", "events": "quit", "total": "total", "measure": "logor"}


@pytest.fixture(scope="module")
def senn() -> xr.DataTree:
    spec = bm.network.specify(bm.datasets.load("senn2013"), **SENN, reference="placebo", better="smaller")
    return bm.fit(spec)


@pytest.fixture(scope="module")
def post() -> xr.DataTree:
    arms = bm.datasets.load("hasselblad1998")
    spec = bm.network.specify(arms, **COUNSELLING, reference="no contact", better="larger", add=0.5)
    return bm.sample(spec, random_seed=1)


def test_a_model_file_asks_for_a_network(senn: xr.DataTree):
    model = bm.load_analysis("diabetes").models["random"]
    assert model.spec.analysis == bm.Spec.from_tree(senn).analysis
    np.testing.assert_array_equal(model.spec.y, bm.Spec.from_tree(senn).y)


def test_the_report_has_the_league_table_and_what_it_rests_on(senn: xr.DataTree, post: xr.DataTree):
    (own,) = network_section({"reml": senn}, 0.95, False)
    (of_both,) = network_section({"bayes": post}, 0.95, False)
    titles = [block.title for block in own.blocks[1:]]
    assert titles[:3] == ["Graph of the network", "Effects against the reference", "Ranking, reml"]
    assert titles[3:] == ["League table", "Agreement of designs (Cochran's Q)", "Direct and indirect evidence"]
    assert [block.title for block in of_both.blocks[3:]] == ["Ranking, bayes", "League table"]
    assert "against placebo: " in findings({"reml": senn}, 0.95)[0].text


def test_summaries_call_it_a_network(senn: xr.DataTree, post: xr.DataTree):
    assert "Random-effects network meta-analysis of 10 treatments" in str(bm.summary(senn))
    assert "odds ratio" in str(bm.summary(post))
    assert "per unit" not in str(bm.summary(post))


def test_questions_of_any_results(senn: xr.DataTree):
    robust = bm.network.league(senn, vcov="CR2")
    assert robust.sel(treatment="metformin", versus="placebo")["se"] > 0.1
    with pytest.warns(bm.AssumptionWarning, match=r"Hermansen \(2007\), Garber \(2008\) do not identify"):
        assert bm.influence(senn, by="study").sizes  # two drugs have one trial each
    assert bm.network.ranking(senn, df="satterthwaite")["p_score"].sum() == pytest.approx(5)
    written = " ".join(str(bm.methods_text(senn)).split())
    assert "per unit" not in written
    assert "network meta-analysis of 10 treatments" in written
    split = bm.fit(bm.network.node_split(senn, "metformin", "placebo"))
    assert bm.estimates(split).loc["beta[direct - indirect]", "estimate"] == pytest.approx(-0.13, abs=0.03)
    wide = bm.fit(bm.network.design_by_treatment(senn))
    test = bm.wald_test(wide, list(bm.Spec.from_tree(wide).analysis["interactions"]), df="z")
    assert float(test.pvalue) == pytest.approx(bm.network.designs(senn)["pvalue_interaction"].item(), abs=1e-6)


def test_pictures_can_be_read(senn: xr.DataTree, post: xr.DataTree):
    treatments = bm.Spec.from_tree(senn).analysis["treatments"]
    order = [*(t for t in treatments if t != "placebo"), "placebo"]
    for drawn in (
        bm.plots.network_graph(senn),
        bm.plots.network_graph(post, size="trials", numbers=False),
        bm.plots.network_forest(senn, sort=True, prediction=True),
        bm.plots.network_forest(post, versus="self-help"),
        bm.plots.network_ranking(senn)[0],
        bm.plots.network_ranking(post)[0],
        bm.plots.network_ranking(post, kind="cumulative")[0],
        bm.plots.network_league(post),
        bm.plots.network_split(senn, show="all"),
        bm.plots.network_funnel(senn, order=order),
        bm.plots.network_funnel(senn, order=order, around="network"),
    ):
        assert not crowded(root_figure(drawn))
        plt.close("all")


@pytest.mark.parametrize("size", [2, 5, 13])
def test_pictures_of_long_names_and_of_many_treatments_can_be_read(size: int):
    names = [f"treatment {k} with a dose of {k} mg, three times a day for twenty-six weeks" for k in range(size)]
    rng, chain = np.random.default_rng(1), [(k, k + 1) for k in range(size - 1)]
    sets = [
        *chain,
        *chain[:1],
        *((k, k + 1, k + 2) for k in range(0, size - 2, 3)),
        *((k, k + 2) for k in range(size - 2)),
    ]
    arms = pd.DataFrame([(i, names[k], rng.normal(k / 5), 0.3, 40) for i, own in enumerate(sets) for k in own])
    arms.columns = ["study", "treatment", "y", "se", "n"]
    spec = bm.network.specify(
        arms, study="study", treatment="treatment", y="y", se="se", n="n", measure="smd", better="smaller"
    )
    tree = bm.fit(spec)
    drawn = [bm.plots.network_graph(tree), bm.plots.network_forest(tree), bm.plots.network_funnel(tree, order=names)]
    drawn += [bm.plots.network_ranking(tree)[0], bm.plots.network_league(tree)]
    if size == 5:
        drawn += [bm.plots.network_ranking(bm.sample(spec, random_seed=1, draws=100))[0]]
        drawn += [bm.plots.network_split(tree), bm.plots.network_heat(tree)]
    for ax in drawn:
        assert not crowded(root_figure(ax))
    plt.close("all")


def test_the_graph_counts_trials_and_persons(post: xr.DataTree):
    ax = bm.plots.network_graph(post)
    arms = bm.datasets.load("hasselblad1998")
    people = arms.groupby("treatment")["total"].sum().sort_index()
    areas = ax.collections[-1].get_sizes()
    np.testing.assert_allclose(areas[areas > 40] / areas.max(), (people / people.max())[areas > 40], rtol=1e-6)
    assert {text.get_text() for text in ax.texts} >= {"15", "2", "3", "4"}


def test_the_funnel_is_about_direct_evidence(senn: xr.DataTree):
    treatments = bm.Spec.from_tree(senn).analysis["treatments"]
    ax = bm.plots.network_funnel(senn, order=treatments)
    other = bm.plots.network_funnel(senn, order=treatments[::-1])
    points, turned = (np.concatenate([line.get_xdata() for line in each.lines[3:]]) for each in (ax, other))
    assert len(points) == 28
    assert np.sort(points) == pytest.approx(np.sort(-turned), abs=1e-12)
    plt.close("all")


def test_the_picture_of_the_split_has_its_numbers(senn: xr.DataTree, post: xr.DataTree):
    for tree, read in ((senn, np.asarray), (post, np.exp)):
        own = bm.network.split(tree)
        ax = bm.plots.network_split(tree, show="direct")
        kept = own.isel(comparison=own["trials"].to_numpy() > 0)
        behind = (kept["treatment"] == bm.Spec.from_tree(tree).analysis["reference"]).to_numpy()
        sign = np.where(behind, -1, 1)[:, None]  # all others stand against the reference
        expected = (sign * np.stack([kept[name] for name in ("direct", "indirect", "network")], 1)).ravel()
        points = ax.lines[-1].get_xdata()
        np.testing.assert_allclose(points, read(expected[np.isfinite(expected)]), rtol=1e-12)
        written = [text.get_text().replace("\n", " ") for text in ax.get_yticklabels()]
        pairs = zip(kept["treatment"].values, kept["versus"].values, behind, strict=True)
        assert written[: kept.sizes["comparison"]] == [" : ".join((b, a) if turn else (a, b)) for a, b, turn in pairs]
        assert len(written) == kept.sizes["comparison"] + np.isfinite(expected).sum()
    plt.close("all")


def test_a_star_has_nothing_to_split(senn: xr.DataTree):
    arms = bm.datasets.load("senn2013")
    star = arms[arms.groupby("study")["treatment"].transform(lambda t: set(t) <= {"placebo", "metformin"})]
    tree = bm.fit(bm.network.specify(star, **SENN, reference="placebo"))
    with (
        pytest.warns(bm.AssumptionWarning, match="no closed loop"),
        pytest.raises(bm.SpecError, match="no comparison has both direct and indirect evidence"),
    ):
        bm.plots.network_split(tree)


def test_the_report_says_a_shared_heterogeneity_once(senn: xr.DataTree, post: xr.DataTree):
    for tree in (senn, post):
        words = differences({"one": tree}, 0.95)
        assert words.count("τ by one: study ") == 1
        assert "study (" not in words
    own = bm.fit(bm.network.specify(bm.datasets.load("hasselblad1998"), **COUNSELLING, psi="diag", add=0.5))
    assert "study (no contact)" in differences({"own": own}, 0.95)
