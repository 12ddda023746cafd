"""Bad input of diagnostic analyses: what is refused, what is assumed, and what is said of it."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm

D = bm.diagnostic
GOOD: dict[str, Any] = {
    "study": ["A 1999", "B 2001", "C 2002", "D 2005", "E 2007", "F 2010"],
    "tp": [40, 30, 25, 60, 44, 80],
    "fp": [8, 12, 5, 30, 9, 14],
    "fn": [5, 9, 4, 12, 6, 15],
    "tn": [90, 70, 60, 200, 110, 150],
}


def changed(**cells: tuple[int, Any]) -> pd.DataFrame:
    data = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in GOOD.items()})
    for name, (row, value) in cells.items():
        data.loc[row, name] = value
    return data


@pytest.fixture(scope="module")
def fit():
    return bm.fit(D.specify(GOOD, study="study"))


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (changed(tp=(1, -3)), "true positives cannot be negative; B 2001 has -3"),
        (changed(fn=(2, 4.5)), "false negatives are whole numbers of persons; C 2002 has 4.5"),
        (changed(tn=(2, np.inf)), "true negatives are whole numbers of persons; C 2002 has inf"),
        (changed(tn=(0, "ninety")), "column 'tn' is not numeric: row 0 holds 'ninety'"),
        (changed(tn=(0, True)), "column 'tn' is not numeric: row 0 holds True"),
        (changed(tp=(3, 0), fn=(3, 0)), r"no diseased persons \(tp \+ fn is 0\) in D 2005, and so no sensitivity"),
        (changed(fp=(3, 0), tn=(3, 0)), r"no healthy persons \(fp \+ tn is 0\) in D 2005, and so no specificity"),
        (changed(tp=(3, 0), fn=(3, 0), fp=(3, 0), tn=(3, 0)), "no diseased persons .* in D 2005"),
        ({name: [] for name in GOOD}, "the data have no rows"),
        ("tables.csv", "the name of a file"),
        (None, "data is None; it must be a data frame"),
        (pd.DataFrame(GOOD).assign(tp=None, fn=None), "no row has both cells of tp [+] fn, and so none a sensitivity"),
    ],
)
def test_cells_that_cannot_be(data: Any, message: str) -> None:
    with pytest.raises(bm.DataError, match=message):
        D.specify(data, study="study")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"tp": "TP"}, "tp: the data have no column 'TP'; did you mean 'tp'"),
        ({"tp": "fp"}, "tp, fp are all column 'fp'; every cell of a table has a column of its own"),
        ({"tp": 3}, "tp is 3; it must be the name of a column"),
        ({"tp": [1, 2]}, "tp is .* one number for each of the 6 rows"),
        ({"study": "trial"}, "study: the data have no column 'trial'"),
        ({"correction": 0.5}, "correction is 0.5; it must be one of: single, all, none\n.*add=0.5"),
        ({"correction": -0.5}, "correction is -0.5"),
        ({"correction": "singel"}, "correction is 'singel'; did you mean 'single'"),
        ({"add": -0.5}, "add is -0.5; it must be a finite number greater than 0"),
        ({"add": 0}, "add is 0"),
        ({"link": "logti"}, "link is 'logti'; did you mean 'logit'"),
        ({"link": (1, 3)}, "link is .*two numbers from 0 to 2"),
        ({"link": None}, "link is None"),
        ({"formula": "sensitivity ~ 1"}, "formula is 'sensitivity ~ 1'; it must be predictors alone"),
        ({"formula": {"sens": "1"}}, "formula: unknown key 'sens'"),
        ({"formula": 3}, "formula is 3"),
        ({"formula": "threshold"}, "no column 'threshold'"),
    ],
)
def test_arguments_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        D.specify(GOOD, **{"study": "study"} | options)


def test_empty_cells_are_corrected_and_counted() -> None:
    data = changed(fn=(1, 0), fp=(4, 0))
    with pytest.warns(
        bm.AssumptionWarning, match=r"0.5 was added to every cell of the tables of B 2001, E 2007: 2 of 24"
    ):
        spec = D.specify(data, study="study")
    assert "2 of 24 cells are empty, in 2 of 6 tables" in spec.notes[0]
    np.testing.assert_allclose(spec.y[[2, 3]], np.log([30.5 / 0.5, 70.5 / 12.5]))
    np.testing.assert_allclose(spec.y[:2], np.log([40 / 5, 90 / 8]))
    np.testing.assert_allclose(spec.S.variances[2:4], [1 / 30.5 + 1 / 0.5, 1 / 70.5 + 1 / 12.5])
    every = D.specify(data, study="study", correction="all", add=0.1)
    np.testing.assert_allclose(every.y[:2], np.log([40.1 / 5.1, 90.1 / 8.1]))
    with pytest.raises(bm.DataError, match='correction="none": false negatives of B 2001 are 0'):
        D.specify(data, study="study", correction="none")
    plain = D.specify(GOOD, study="study", correction="all")
    np.testing.assert_allclose(plain.y[:2], np.log([40 / 5, 90 / 8]))  # no cell is empty


def test_a_study_counts_for_the_outcome_that_it_has() -> None:
    with pytest.warns(bm.AssumptionWarning, match="cells are missing in B 2001"):
        spec = D.specify(changed(fp=(1, None), tn=(1, None)), study="study")
    assert len(spec.y) == 11
    assert D.studies(spec)["specificity"].isna().tolist() == [False, True, False, False, False, False]
    with pytest.warns(bm.AssumptionWarning, match="cells are missing"):
        spec = D.specify(changed(fp=(1, None), tp=(1, None)), study="study")
    assert len(spec.y) == 10
    assert spec.dropped[1]


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BoundaryWarning")
@pytest.mark.parametrize("k", [1, 2])
def test_fewer_studies_than_parameters(k: int) -> None:
    with pytest.warns(bm.BoundaryWarning, match=f"{2 * k} observed proportions and 5 parameters"):
        D.specify(pd.DataFrame(GOOD).head(k), study="study")


def test_columns_that_the_model_computes() -> None:
    data = pd.DataFrame(GOOD).assign(sensitivity=0.9)
    with pytest.warns(bm.AssumptionWarning, match="left out: sensitivity"):
        spec = D.specify(data, study="study")
    np.testing.assert_allclose(spec.y[0], np.log(8))


def test_several_tables_of_a_study() -> None:
    data = pd.DataFrame(GOOD).assign(study=["A", "A", "B", "B", "C", "D"])
    with pytest.warns(bm.AssumptionWarning, match="studies with several tables: A, B; .*\n.*1 | study/table"):
        spec = D.specify(data, study="study")
    assert [level.name for level in spec.levels] == ["study", "table"]
    assert [level.name for level in D.specify(data, study="study", random="1 | study").levels] == ["study"]


def test_cells_as_arrays_are_kept() -> None:
    data = pd.DataFrame(GOOD)
    spec = D.specify(data[["study"]], *(data[cell].to_numpy() for cell in ("tp", "fp", "fn", "tn")), study="study")
    tree = bm.fit(spec)
    np.testing.assert_array_equal(D.studies(tree)["tp"], GOOD["tp"])
    np.testing.assert_allclose(D.summary_point(tree), D.summary_point(bm.fit(D.specify(GOOD, study="study"))))


@pytest.mark.parametrize("name", ["summary_point", "likelihood_ratios", "hsroc", "sroc", "auc", "regions", "studies"])
def test_trees_of_other_analyses(name: str) -> None:
    tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    with pytest.raises(bm.SpecError, match=f"{name} is for analyses of diagnostic accuracy"):
        getattr(D, name)(tree)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda fit: D.predictive_values(fit, 0), "prevalence is 0.0; it must lie strictly between 0 and 1"),
        (lambda fit: D.predictive_values(fit, [0.1, 1.2]), "prevalence is 1.2"),
        (lambda fit: D.predictive_values(fit, 10), "for 10 percent: 0.1"),
        (lambda fit: D.predictive_values(fit, []), "prevalence is \\[\\]"),
        (lambda fit: D.predictive_values(fit, "low"), "prevalence"),
        (lambda fit: D.predictive_values(fit, 0.1, prevalence_sd=0.4), "has a standard deviation|is below 0.3"),
        (lambda fit: D.sroc(fit, "rutter"), "kind is 'rutter'\n.*rutter-gatsonis, eta-xi"),
        (lambda fit: D.sroc(fit, fpr=[0, 0.5]), "fpr is 0.0; it must lie strictly between 0 and 1"),
        (lambda fit: D.sroc(fit, fpr=[]), "fpr is \\[\\]"),
        (lambda fit: D.auc(fit, within=(0.5, 0.2)), "within is \\(0.5, 0.2\\); it must be two rates"),
        (lambda fit: D.regions(fit, region="credible"), "region is 'credible'"),
        (lambda fit: D.regions(fit, shape="highest-density"), "is of posteriors"),
        (lambda fit: D.likelihood_ratios(fit, method="simulation"), "method is 'simulation'"),
        (lambda fit: D.univariate(fit, "lr+"), "measure is 'lr\\+'"),
        (lambda fit: D.summary_point(fit, prob=95), "for 95 percent: 0.95"),
        (lambda fit: D.summary_point(fit, df="kr"), "df is 'kr'"),
        (lambda fit: bm.plots.fagan(fit, 1.0), "prevalence is 1.0"),
        (lambda fit: bm.plots.sroc(fit, studies="dots"), "studies is 'dots'"),
        (lambda fit: bm.plots.sroc({}), "takes a results tree, or a dict of several"),
        (lambda fit: bm.plots.predictive_values(fit, prevalence=(0.5, 0.1)), "the smaller one first"),
    ],
)
def test_questions_that_have_no_answer(fit: Any, call: Any, message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        call(fit)


def test_predictors_that_are_numbers_need_values() -> None:
    data = pd.DataFrame(GOOD).assign(year=[1999, 2001, 2002, 2005, 2007, 2010])
    tree = bm.fit(D.specify(data, study="study", formula="year", psi="diag"))
    with pytest.raises(
        bm.SpecError, match=r"newdata is missing; the model has the predictors year\n.*'year': \[0, 1\]"
    ):
        D.summary_point(tree)
    assert len(D.summary_point(tree, {"year": [2000, 2010]})) == 6


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BoundaryWarning")
def test_curves_that_have_no_meaning() -> None:
    data = pd.DataFrame(GOOD).assign(tp=[40, 20, 28, 40, 49, 90], tn=[95, 40, 62, 120, 118, 160])
    data["fn"], data["fp"] = 50 - data["tp"].clip(upper=49), 170 - data["tn"]
    with pytest.warns(bm.AssumptionWarning, match="positively correlated between studies"):
        D.sroc(bm.fit(D.specify(data, study="study")))
    fixed = bm.fit(D.specify(GOOD, study="study"), "fixed")
    with pytest.warns(bm.BoundaryWarning, match="no curve 'rutter-gatsonis'"):
        assert D.sroc(fixed)["estimate"].isna().all()
    assert np.isfinite(D.summary_point(fixed)).all(axis=None)
