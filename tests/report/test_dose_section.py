"""The part of a report that dose-response models have: numbers are those of the questions."""

import warnings

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.report.sections.dose_section import dose_drawings, dose_section, round_doses
from bayesmeta.report.sections.drawings import drawings, first

COLUMNS = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}


@pytest.fixture(scope="module")
def trees() -> dict:
    specify, data = bm.dose_response.specify, bm.datasets.load("alcohol")
    return {s: bm.fit(specify(data, basis="rcs(dose, 3)", stages=s, **COLUMNS), "ml") for s in (1, 2)}


@pytest.mark.parametrize("stages", [1, 2])
def test_the_table_is_the_curve_and_sentences_its_tests(trees, stages):
    tree = trees[stages]
    (section,) = dose_section({"ml": tree}, 0.95)
    table, words = section.blocks
    assert table.title == "Incidence rate ratio against dose = 0 by dose, with 95% intervals"
    doses = [float(row[0]) for row in table.rows]
    assert doses == [0, 10, 20, 30, 40, 50, 60]
    made = bm.dose_response.curve(tree, doses)
    for i, row in enumerate(table.rows):
        assert float(row[1].split()[0]) == pytest.approx(made["mean"][i].item(), abs=0.006)
    text = " ".join(words.sentences)
    p, fit = bm.dose_response.nonlinearity(tree)["pvalue"].item(), bm.dose_response.goodness_of_fit(tree)
    assert f"{p:.3f}" in text
    assert f"{fit['deviance'].item():.2f} on {fit['df'].item():.0f} degrees of freedom" in text


def test_its_pictures_are_those_of_the_page(trees):
    spec = bm.Spec.from_tree(trees[1])
    titles = [each.title for each in dose_drawings({"ml": trees[1]}, spec)]
    assert titles == ["Effect by dose", "Decorrelated residuals"]
    shown, _ = drawings({"ml": trees[1]}, 0.95)
    assert [first({"ml": trees[1]}, 0.95).title, *(each.title for each in shown)] == titles


def test_a_curve_that_needs_more_than_a_dose_says_so_and_other_models_have_no_section():
    data = bm.datasets.load("alcohol").assign(region=lambda d: np.where(d.id < "n", "north", "south"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = bm.fit(bm.dose_response.specify(data, basis="dose + dose:region", random="dose", **COLUMNS), "ml")
    (section,) = dose_section({"ml": tree}, 0.95)
    assert "depends on region" in " ".join(section.blocks[0].sentences)
    assert dose_section({"": bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))}, 0.95) == ()


def test_round_doses():
    for low, high in ((0, 60.6), (0.3, 9.8), (12, 12.9), (-5, 1e6)):
        at = round_doses(low, high)
        assert 3 <= len(at) <= 8
        assert low <= at[0]
        assert at[-1] <= high
