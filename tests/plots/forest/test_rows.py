"""The lines of a forest plot: which rows, under which headings, with which results."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.plots.forest.rows import ForestContent, forest_content
from tests.support.posteriors import make_posterior


@pytest.fixture(scope="module")
def bcg() -> pd.DataFrame:
    return bm.datasets.load("bcg")


@pytest.fixture(scope="module")
def school() -> bm.Spec:
    return bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))


def logrr(data: pd.DataFrame, formula: str = "logrr ~ 1") -> bm.Spec:
    return bm.fit(bm.specify(formula, data, S="logrrvar", measure="logrr"))


def labels(said: ForestContent, *kinds: str) -> list[str]:
    return [line.label for line in said.lines if line.kind in kinds]


def test_rows_pooled_estimate_and_prediction_interval(bcg: pd.DataFrame) -> None:
    tree = logrr(bcg)
    said = forest_content(tree, labels=bcg["author"])
    assert labels(said, "row") == bcg["author"].tolist()
    assert said.label_heading == "Author"
    assert [line.kind for line in said.lines[-2:]] == ["mean", "prediction"]
    mean, prediction = (line.cells[0] for line in said.lines[-2:])
    assert mean.mean is not None
    assert mean.mean.estimate == pytest.approx(tree["estimate/beta"].item())
    assert prediction.prediction is not None
    assert prediction.prediction.upper == pytest.approx(bm.predict(tree, {}, interval="prediction")["upper"].item())
    assert sum(cell.weight for cell in said.cells(0)[:13]) == pytest.approx(1)
    assert max(cell.size for cell in said.cells(0)[:13]) == 1


def test_what_is_not_asked_for_is_left_out(bcg: pd.DataFrame) -> None:
    said = forest_content(logrr(bcg), blup=False, prediction=False, weights=False)
    assert not any(cell.blup or cell.prediction for cell in said.cells(0))
    assert said.lines[-1].kind == "mean"
    assert not said.weighted
    assert said.cells(0)[0].size > 0


def test_nested_levels_have_headings_with_the_blup_of_the_group(school: bm.Spec) -> None:
    said = forest_content(school)
    assert labels(said, "heading")[:2] == ["district 11", "district 12"]
    assert len(labels(said, "heading")) == 11
    assert len(labels(said, "row")) == 56
    assert said.levels == ("district",)
    assert said.lines[1].label == "study 1"
    of_district = bm.blup(school, level="district")
    heading = said.lines[0].cells[0].blup
    assert heading is not None
    assert heading.lower == pytest.approx(of_district["lower"].values[0, 0])
    row = said.lines[1].cells[0].blup
    assert row is not None
    assert row.estimate == pytest.approx(bm.blup(school)["mean"].values[0, 0])


def test_groups_without_one_prediction_have_headings_alone() -> None:
    data = bm.datasets.load("school")
    said = forest_content(bm.fit(bm.specify("effect ~ year", data, S="var", random="1 | district/study")))
    years = data.groupby("district")["year"].nunique()
    marks = {line.label: line.cells[0].blup for line in said.lines if line.kind == "heading"}
    assert {label for label, mark in marks.items() if mark} == {f"district {d}" for d in years.index[years == 1]}
    assert all(cell.mean for line, cell in zip(said.lines, said.cells(0), strict=True) if line.kind == "row")
    assert not labels(said, "mean", "prediction")


def test_a_subgroup_in_the_model_has_its_mean(bcg: pd.DataFrame) -> None:
    tree = logrr(bcg, "logrr ~ alloc")
    said = forest_content(tree, subgroup="alloc")
    assert labels(said, "heading") == ["random", "alternate", "systematic"]
    whole = "Pooled (REML, without subgroups)"
    assert labels(said, "mean") == ["Mean, random", "Mean, alternate", "Mean, systematic", whole]
    predicted = bm.predict(tree, {"alloc": ["random", "alternate", "systematic"]}, interval="confidence")
    means = [line.cells[0].mean for line in said.lines if line.kind == "mean" and line.depth]
    assert [mean.lower for mean in means if mean] == pytest.approx(predicted["lower"].values[:, 0])
    assert not any(line.cells[0].mean for line in said.lines if line.kind == "row")
    assert said.weighted


def test_the_pooled_estimate_beside_subgroups_of_one_model(bcg: pd.DataFrame) -> None:
    """It is that of the model without predictors, as are the weights; the means stay those of the one model."""
    tree, plain = logrr(bcg, "logrr ~ alloc"), logrr(bcg)
    content, alone = forest_content(tree, subgroup="alloc"), forest_content(plain)
    (whole,) = (line for line in content.lines if line.kind == "mean" and line.depth == 0)
    assert whole.label == "Pooled (REML, without subgroups)"
    assert whole.cells[0].mean == next(line for line in alone.lines if line.kind == "mean").cells[0].mean
    ours = {line.row: line.cells[0].weight for line in content.lines if line.kind == "row"}
    assert ours == {line.row: line.cells[0].weight for line in alone.lines if line.kind == "row"}
    assert content.pooled == alone.pooled
    means = [line.cells[0] for line in content.lines if line.kind == "mean" and line.depth]
    assert sum(cell.weight for cell in means) == pytest.approx(1)
    random = bm.predict(tree, {"alloc": ["random"]})["mean"].item()
    assert means[0].mean is not None
    assert means[0].mean.estimate == pytest.approx(random)
    said = " ".join(content.notes[0]).replace("\xa0", " ")
    assert said.startswith("Heterogeneity: Q = 152.23")
    assert "Residual heterogeneity: Q = 132.37" in said
    assert "Subgroup differences (one model)" in said
    assert [line.kind for line in forest_content(tree, subgroup="alloc", common=True).lines][-3:][0] == "common"
    two = logrr(bcg, "logrr ~ alloc + ablat")
    assert not [line for line in forest_content(two, subgroup="alloc").lines if line.kind == "mean"]


def test_groups_of_one_row_within_a_subgroup_have_no_headings() -> None:
    data = bm.datasets.load("gliomas")
    tree = bm.fit(bm.specify("logOR ~ 0 + C(time)", data, S="logORvar", random="1 | study", measure="logor"))
    said = forest_content(tree, subgroup="time")
    assert labels(said, "heading") == ["time 6", "time 12", "time 18", "time 24", "Not in the model"]
    assert labels(said, "row")[:2] == ["study 1", "study 2"]
    assert said.label_heading == "Study"
    assert len(labels(said, "mean")) == 5
    by_study = forest_content(tree)
    assert labels(by_study, "row")[:2] == ["row 0", "row 1"]
    assert labels(by_study, "heading")[0] == "study 1"


def test_a_subgroup_that_the_model_does_not_know_has_a_fit_of_its_own(bcg: pd.DataFrame) -> None:
    said = forest_content(logrr(bcg), subgroup=bcg["alloc"].where(bcg["alloc"] != "systematic"))
    assert labels(said, "heading") == ["random", "alternate", "alloc missing"]
    assert labels(said, "mean") == ["Mean, random", "Mean, alternate", "Mean, alloc missing", "Pooled (REML)"]
    means = [line.cells[0].mean for line in said.lines if line.kind == "mean"]
    alone = logrr(bcg[bcg["alloc"] == "alternate"])
    assert means[1] is not None
    assert means[1].estimate == pytest.approx(alone["estimate/beta"].item())


def test_subgroups_of_a_posterior_have_headings_alone(bcg: pd.DataFrame) -> None:
    tree = make_posterior(bm.specify("logrr ~ 1", bcg, S="logrrvar", measure="logrr"))
    said = forest_content(tree, subgroup=bcg["alloc"])
    assert labels(said, "heading") == ["random", "alternate", "systematic"]
    assert labels(said, "mean") == ["Pooled (posterior)"]


def test_rows_that_are_not_in_the_model_are_listed_with_the_reason(bcg: pd.DataFrame) -> None:
    data = bcg.assign(ablat=bcg["ablat"].astype(float))
    data.loc[2, "ablat"], data.loc[7, "logrr"] = np.nan, np.nan
    said = forest_content(logrr(data, "logrr ~ ablat"), labels=data["author"], columns={"TB": data["tpos"]})
    left_out = [line for line in said.lines if line.kind == "left out"]
    assert [line.label for line in left_out] == ["Rosenthal et al", "TPT Madras"]
    assert [line.cells[0].words for line in left_out] == ["missing ablat", "missing logrr"]
    assert left_out[0].counts == ("3",)
    assert len(labels(said, "row")) == 11


def test_missing_outcomes_are_called_so() -> None:
    data = bm.datasets.load("berkey98")
    data.loc[1, "AL"] = np.nan
    tree = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"]))
    said = forest_content(tree, labels=data["author"])
    assert said.outcomes == ("PD", "AL")
    assert said.lines[1].cells[1].words == "not reported"
    assert said.lines[1].cells[1].blup is not None
    assert said.lines[1].cells[0].words == ""
    only = forest_content(tree, outcome="AL")
    assert only.outcomes == ("AL",)
    assert [cell.observed for cell in only.cells(0)] == [cell.observed for cell in said.cells(1)]


def test_sorting(bcg: pd.DataFrame, school: bm.Spec) -> None:
    tree = logrr(bcg)
    by_estimate = [cell.observed.estimate for cell in forest_content(tree, order="estimate").cells(0) if cell.observed]
    assert by_estimate == sorted(by_estimate)
    weights = [cell.weight for cell in forest_content(tree, order="weight").cells(0) if cell.observed]
    assert weights == sorted(weights, reverse=True)
    by_year = forest_content(tree, order=bcg["year"], labels=bcg["year"])
    assert labels(by_year, "row") == [str(year) for year in sorted(bcg["year"])]
    assert labels(forest_content(tree, order="label", labels=bcg["author"]), "row") == sorted(bcg["author"])
    nested = forest_content(school, order="estimate")
    depth, groups = [line.depth for line in nested.lines], labels(nested, "heading")
    assert len(groups) == len(set(groups)) == 11
    assert depth[:2] == [0, 1]


def test_unknown_names_are_refused_with_what_is_known(bcg: pd.DataFrame) -> None:
    tree = logrr(bcg)
    with pytest.raises(bm.SpecError, match="order='autor' is neither one of estimate, weight, label"):
        forest_content(tree, order="autor")
    with pytest.raises(bm.SpecError, match=r"no outcome 'logr'; did you mean 'logrr'\?"):
        forest_content(tree, outcome="logr")
    with pytest.raises(bm.SpecError, match="outcome is empty"):
        forest_content(tree, outcome=[])
    with pytest.raises(bm.SpecError, match="prob is 95"):
        forest_content(tree, prob=95)
