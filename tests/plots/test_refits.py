"""Cumulative and leave-one-out forests: the numbers of the tables, and what is refused."""

from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.pictures import crowded

DRAWERS = [bm.plots.leave_one_out, bm.plots.cumulative]


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    return bm.datasets.load("bcg")


@pytest.fixture(scope="module")
def fit(bcg: pd.DataFrame) -> Any:
    return bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor"))


def words(ax: Any) -> list[str]:
    return [text.get_text() for text in ax.texts]


def squares(ax: Any) -> np.ndarray:
    (marks,) = (each for each in ax.collections if each.get_label() == "observed")
    return np.asarray(marks.get_offsets())[:, 0]


def test_squares_and_texts_are_those_of_the_table(fit: Any, bcg: pd.DataFrame) -> None:
    table, ax = bm.cumulative(fit, "year", scale="response"), bm.plots.cumulative(fit, order="year")
    np.testing.assert_allclose(squares(ax), table["estimate"])
    first = table.iloc[0]
    said = words(ax)
    assert f"{first['estimate']:.2f} [{first['lower']:.2f}, {first['upper']:.2f}]" in said
    assert said.count("Aronson (1948)") == 1
    assert "+ TPT Madras (1980)" in said
    assert {"Added", "Year", "k", "τ²", "I²", "OR [95% CI]", "1948", "92.1%"} <= set(said)
    assert crowded(ax.figure) == []
    one = bm.plots.leave_one_out(fit, statistics=False)
    np.testing.assert_allclose(squares(one), bm.leave_one_out(fit, scale="response")["estimate"])
    assert not {"τ²", "k"} & set(words(one))
    assert one.get_xlabel() == "Odds ratio"


def test_every_outcome_has_its_panel() -> None:
    data = bm.datasets.load("berkey98")
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], measure="md"))
    axes = bm.plots.leave_one_out(tree)
    table = bm.leave_one_out(tree)
    for ax, outcome in zip(axes, ("PD", "AL"), strict=True):
        np.testing.assert_allclose(squares(ax), table.loc[table["outcome"] == outcome, "estimate"])
    assert crowded(axes.figure) == []
    np.testing.assert_allclose(squares(bm.plots.leave_one_out(tree, outcome="AL")), squares(axes[1]))


def test_levels_are_named_and_have_a_variance_each() -> None:
    school = bm.datasets.load("school")
    tree = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd"))
    said = words(bm.plots.cumulative(tree, order="year"))
    assert {"district 11", "+ district 27", "τ² (district)", "τ² (study)", "56"} <= set(said)


def test_a_coefficient_of_a_predictor(bcg: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar", measure="logor"))
    with pytest.raises(bm.SpecError, match=r"logor has 2 coefficients: Intercept, ablat\n  choose .* term='ablat'"):
        bm.plots.leave_one_out(tree)
    ax = bm.plots.leave_one_out(tree, term="ablat")
    table = bm.leave_one_out(tree)
    np.testing.assert_allclose(squares(ax), np.exp(table.loc[table["term"] == "ablat", "estimate"]))
    assert ax.get_xlabel() == "Ratio of odds ratios"
    assert "All studies (REML)" in words(ax)
    assert bm.plots.leave_one_out(tree, term="ablat", scale="model").get_xscale() == "linear"


def test_what_is_not_identified_is_said(bcg: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("logor ~ alloc", bcg, S="logorvar", measure="logor"))
    with pytest.warns(bm.AssumptionWarning, match="do not identify"):
        ax = bm.plots.cumulative(tree, by="alloc", term="Intercept")
    assert words(ax).count("not identified") == 2
    assert len(squares(ax)) == 1


@pytest.mark.parametrize("draw", DRAWERS)
def test_axes_of_the_user_and_refusals(draw: Any, fit: Any, bcg: pd.DataFrame) -> None:
    own = plt.figure(figsize=(7, 4)).subplots()
    assert draw(fit, own) is own
    assert crowded(own.figure) == []
    for arguments, message in [
        ({"term": "ablt"}, "term: no coefficient 'ablt'"),
        ({"outcome": "logrr"}, "no outcome 'logrr'"),
        ({"by": "aloc"}, "neither a level nor a column"),
        ({"prob": 95}, "prob"),
        ({"scale": "odds"}, "scale"),
        ({"statistics": "yes"}, "statistics"),
        ({"limits": (2, 1)}, "limits"),
    ]:
        with pytest.raises(bm.SpecError, match=message):
            draw(fit, **arguments)
    with pytest.raises(bm.SpecError, match=r"bm\.fit"):
        draw(bm.predict(fit))
