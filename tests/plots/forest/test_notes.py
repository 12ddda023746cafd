"""What a forest plot says below its lines. Numbers of metafor 3.8-1: rma(), rma(subset=), rma(mods=), method="FE"."""

import re

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from matplotlib.axes import Axes

import bayesmeta as bm
from bayesmeta.inference.reference import asked
from bayesmeta.plots.forest.rows import ForestContent, forest_content
from tests.support.pictures import crowded
from tests.support.posteriors import make_posterior


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    return bm.datasets.load("bcg")


def fitted(data: pd.DataFrame, formula: str = "logor ~ 1", method: str = "reml") -> xr.DataTree:
    return bm.fit(bm.specify(formula, data, S="logorvar", measure="logor"), method)


def sentences(content: ForestContent, outcome: int = 0) -> list[str]:
    return [text.replace("\N{NO-BREAK SPACE}", " ") for text in (*content.notes[outcome], *content.general)]


def drawn(ax: Axes) -> str:
    return " ".join(text.get_text() for text in ax.texts).replace("\N{NO-BREAK SPACE}", " ")


def test_heterogeneity_and_the_overall_effect(bcg: pd.DataFrame) -> None:
    tree = fitted(bcg)
    spread, effect = sentences(forest_content(tree))
    assert spread == "Heterogeneity: Q = 163.16, df = 12, p < 0.0001; I² = 92.1%; τ² = 0.34 [0.13, 1.18]"
    assert effect == "Overall effect: t(12) = −3.99, p = 0.0018"
    figure = (ax := bm.plots.forest(tree)).figure
    assert spread in drawn(ax)
    assert effect in drawn(ax)
    assert crowded(figure) == []
    assert "Heterogeneity" not in drawn(bm.plots.forest(tree, statistics=False))


def test_predictors_are_tested_together(bcg: pd.DataFrame) -> None:
    spread, test = sentences(forest_content(fitted(bcg, "logor ~ alloc")))
    assert spread.startswith("Residual heterogeneity: Q = 137.07, df = 10, p < 0.0001; ")
    assert test == "Moderators: F = 0.82, df = 2 and 10, p = 0.4667"


def test_subgroups_of_separate_fits(bcg: pd.DataFrame) -> None:
    with asked(df="z"):
        content = forest_content(fitted(bcg), subgroup=bcg["alloc"])
    means = {line.label: line.cells[0] for line in content.lines if line.kind == "mean"}
    mean = means["Mean, systematic"].mean
    assert mean is not None
    assert np.exp([mean.estimate, mean.lower, mean.upper]) == pytest.approx([0.6508438, 0.3168463, 1.336919], rel=1e-4)
    assert sum(means[f"Mean, {each}"].weight for each in bcg["alloc"].unique()) == pytest.approx(1)
    assert means["Pooled (REML)"].weight == pytest.approx(1)
    within = [line.label.replace("\N{NO-BREAK SPACE}", " ") for line in content.lines if line.kind == "note"]
    assert within == [
        "Q = 111.31, df = 6, p < 0.0001; I² = 90.2%; τ² = 0.41",
        "Q = 8.83, df = 1, p = 0.0030; I² = 88.7%; τ² = 0.24",
        "Q = 16.93, df = 3, p = 0.0007; I² = 86.8%; τ² = 0.42",
    ]
    assert sentences(content)[-1] == "Subgroup differences (separate fits): Q = 1.64, df = 2, p = 0.4404"


def test_subgroups_of_one_model(bcg: pd.DataFrame) -> None:
    content = forest_content(fitted(bcg, "logor ~ alloc"), subgroup=bcg["alloc"])
    assert sentences(content)[-1] == "Subgroup differences (one model): F = 0.82, df = 2 and 10, p = 0.4667"
    assert not any("Moderators" in each for each in sentences(content))


def test_a_subgroup_of_one_study_is_that_study(bcg: pd.DataFrame) -> None:
    alone = pd.Series(np.where(bcg.index == 3, "one", "others"), name="part")
    content = forest_content(fitted(bcg), subgroup=alone)
    mean = next(line.cells[0].mean for line in content.lines if line.label == "Mean, one")
    assert mean is not None
    assert mean.estimate == pytest.approx(bcg["logor"][3])
    assert mean.upper - mean.lower == pytest.approx(2 * 1.959964 * np.sqrt(bcg["logorvar"][3]))


def test_the_common_effect_beside_the_random_one(bcg: pd.DataFrame) -> None:
    ax = bm.plots.forest(fitted(bcg), common=True)
    assert "0.65 [0.60, 0.70]" in drawn(ax)
    assert [patch.get_label() for patch in ax.patches] == ["common", "mean"]
    assert crowded(ax.figure) == []


def test_a_posterior_has_no_q(bcg: pd.DataFrame) -> None:
    tree = make_posterior(bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor"))
    spread, effect = sentences(forest_content(tree))
    assert re.fullmatch(r"Heterogeneity: τ = 0\.\d\d \[0\.\d\d, \d\.\d\d\]", spread)
    assert effect.startswith("Overall effect: P(OR < 1) ")


def test_several_levels_and_outcomes_have_their_own_notes() -> None:
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    (spread, _) = sentences(forest_content(bm.fit(school)))
    assert spread.endswith("τ² (district) = 0.065; τ² (study) = 0.033")
    data = bm.datasets.load("berkey98")
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], measure="md"))
    content = forest_content(tree)
    assert sentences(content, 0)[0].startswith("Heterogeneity: Q = 14.74, df = 4, p = 0.0053; ")
    assert sentences(content, 1)[0].startswith("Heterogeneity: Q = 112.09, df = 4, p < 0.0001; ")
    axes = bm.plots.forest(tree, labels=data["author"])
    assert "Q = 112.09" in drawn(axes[1])
    assert "Q = 112.09" not in drawn(axes[0])
    assert crowded(axes.figure) == []


@pytest.mark.parametrize("favours", [("vaccine", "control"), ("Favors a treatment with a long name", "Favors none")])
def test_who_is_favoured_stands_beside_no_effect(bcg: pd.DataFrame, favours: tuple[str, str]) -> None:
    for shift in (-3.0, 0.0, 3.0):
        tree = fitted(bcg.assign(logor=bcg["logor"] + shift))
        ax = bm.plots.forest(tree, favours=favours)
        left, right = (text if text.startswith("Fav") else f"Favours {text}" for text in favours)
        assert left in drawn(ax).replace("\n", " ")
        assert right in drawn(ax).replace("\n", " ")
        assert crowded(ax.figure) == []
        plt.close(ax.figure)


def test_nobody_is_favoured_by_a_mean(bcg: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar", measure="mean"))
    with pytest.raises(bm.SpecError, match="a mean has no value that means no effect"):
        bm.plots.forest(tree, favours=("a", "b"))
    for wrong in ("a", ("a",), 3):
        with pytest.raises(bm.SpecError, match="favours="):
            bm.plots.forest(fitted(bcg), favours=wrong)  # type: ignore[arg-type]


def test_labels_and_titles_of_the_user_compose(bcg: pd.DataFrame) -> None:
    ax = bm.plots.forest(fitted(bcg), favours=("vaccination", "no vaccination"))
    ax.set_title("BCG vaccine")
    ax.set_xlabel("Odds ratio of tuberculosis")
    assert crowded(ax.figure) == []


@pytest.mark.parametrize("n", [2, 13, 68])
def test_sixty_eight_studies_fit_a_page(n: int) -> None:
    rng = np.random.default_rng(n)
    data = pd.DataFrame({"y": rng.normal(0, 0.3, n), "v": rng.uniform(0.02, 0.2, n)})
    data.index = pd.Index([f"Author and Coauthor {i} ({1950 + i})" for i in range(n)], name="study")
    counts = {"Treated": {"events": range(n), "all": [100] * n}, "Control": {"events": range(n), "all": [100] * n}}
    tree = bm.fit(bm.specify("y ~ 1", data, S="v", measure="logor"), "dl")
    figure = bm.plots.forest(tree, columns=counts, favours=("new drug", "placebo"), common=True).figure
    assert figure.get_figheight() < 9.5
    assert figure.get_figwidth() <= 7.2
    assert crowded(figure) == []


def test_arms_of_the_specification_say_where_the_outcome_is_lower(bcg: pd.DataFrame) -> None:
    arms = ("vaccinated", "not vaccinated")
    tree = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor", arms=arms))
    texts = {
        favours: drawn(bm.plots.forest(tree, favours=favours)).replace("\n", " ") for favours in (None, True, False)
    }
    assert "Lower in vaccinated" in texts[None]
    assert "Lower in not vaccinated" in texts[None]
    assert "Favours vaccinated" in texts[True]
    assert "vaccinated" not in texts[False]
    with pytest.raises(bm.SpecError, match="favours=True takes the names of the arms"):
        bm.plots.forest(fitted(bcg), favours=True)
