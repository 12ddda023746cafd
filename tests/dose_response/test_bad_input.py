"""What is no dose-response table or basis is refused, with the study, the row and the remedy; assumptions are said."""

import warnings

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import dose_response
from bayesmeta.errors import AssumptionWarning

COLUMNS = {"study": "id", "cases": "cases", "person_years": "peryears", "y": "logrr", "se": "se"}
PERSONS = {"study": "id", "cases": "cases", "total": "n", "y": "logrr", "se": "se", "type": "cc"}


@pytest.fixture
def data() -> pd.DataFrame:
    """The first three cohorts of the bundled table, rows 0 to 17; references are rows 0, 6 and 12."""
    return bm.datasets.load("alcohol").head(18).assign(n=lambda d: d.peryears.round())


def put(data: pd.DataFrame, row: int, **cells) -> pd.DataFrame:
    changed = data.copy()
    for name, value in cells.items():
        changed[name] = changed[name].astype(object if isinstance(value, str) else float)
        changed.loc[row, name] = value
    return changed


ROWS = {
    "no reference": (lambda d: d.drop(index=6), {}, "id hpm has 0 rows without a standard error"),
    "two references": (lambda d: put(d, 8, logrr=0.0, se=np.nan), {}, r"id hpm has 2 .*\(rows 6, 8\)"),
    "reference with effect": (lambda d: put(d, 6, logrr=0.3), {}, "id hpm: the reference, row 6, has logrr = 0.3"),
    "reference with error": (lambda d: put(d, 6, se=0.1), {}, "id hpm has 0 rows without a standard error"),
    "marked reference with error": (
        lambda d: put(d, 6, se=0.1).assign(r=d.dose == 0),
        {"reference": "r"},
        "the reference, row 6, has an error of its own",
    ),
    "marks that are none": (lambda d: d.assign(r=2), {"reference": "r"}, "must hold true and false"),
    "one dose": (lambda d: d.drop(index=range(7, 12)), {}, "id hpm has one dose, in row 6"),
    "missing dose": (lambda d: put(d, 8, dose=np.nan), {}, "column 'dose' has a dose that is missing .* row 8"),
    "infinite dose": (lambda d: put(d, 8, dose=np.inf), {}, "column 'dose' .* row 8"),
    "text as dose": (lambda d: put(d, 8, dose="high"), {}, "column 'dose' .* row 8"),
    "missing effect": (lambda d: put(d, 8, logrr=np.nan), {}, "id hpm: no effect in row 8"),
    "no person-time": (lambda d: put(d, 8, peryears=0), {}, "person-time .* not positive in row 8"),
    "no cases": (lambda d: put(d, 8, cases=0), {}, "number of cases .* not positive in row 8"),
    "missing study": (lambda d: d.assign(id=d.id.where(d.index != 8)), {}, "column 'id' has no study in row 8"),
    "infinite error": (lambda d: put(d, 8, se=np.inf), {}, "hpm has a sampling variance"),
    "negative error": (lambda d: put(d, 8, se=-0.1), {}, "id hpm has 2 rows without a standard error"),
}


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_rows(data, case):
    change, options, words = ROWS[case]
    with pytest.raises(bm.DataError, match=words):
        dose_response.specify(change(data), **COLUMNS, **options)


def test_cases_above_totals_and_totals_no_table_has(data):
    with pytest.raises(bm.DataError, match="as many cases as subjects, or more, in row 8"):
        dose_response.specify(put(data, 8, n=50), **PERSONS)
    nearly_all = data.assign(n=lambda d: d.cases * 1.01)
    with pytest.raises(bm.DataError, match=r"id [a-z]+: no table of counts"):
        dose_response.specify(nearly_all, covariance="hamling", **(PERSONS | {"type": "ci"}))


ARGUMENTS = {
    "type": ({"type": "cohort"}, "type is 'cohort'; it must be a column, or one of cc, ir, ci, md, smd"),
    "type of no persons": ({"type": "cc"}, "type 'cc' has subjects, not person-time"),
    "study": ({"study": "ids"}, "study: the data have no column 'ids'; did you mean 'id'"),
    "dose": ({"dose": "doses"}, "no column 'doses'"),
    "stages": ({"stages": 3}, "stages"),
    "covariance": ({"covariance": "gl"}, "covariance"),
    "random in two stages": ({"stages": 2, "random": "dose"}, "random is of one stage"),
    "no errors": ({"se": None}, "give the errors of y"),
    "both errors": ({"interval": ("a", "b")}, "give the errors of y"),
    "no counts": ({"cases": None, "person_years": None}, "covariances need counts"),
    "half the counts": ({"cases": None}, "'peryears' is given without the number of cases"),
    "means beside effects": ({"mean": "dose"}, "have no use beside reported effects"),
    "scale of nothing": ({"y": None, "se": None, "scale": "response"}, "se, interval and scale are of y"),
    "S beside counts": ({"S": {"atm": np.eye(5)}}, "counts and covariance have no use"),
    "no total": ({"person_years": None, "type": "ir"}, "cases are given without total"),
    "nothing": ({"y": None, "se": None, "cases": None}, "neither effects"),
    "S of one study": ({"S": {"atm": np.eye(5)}, "cases": None, "person_years": None}, "S of id hpm has shape"),
    "scale": ({"scale": "log"}, "scale"),
    "center": ({"center": "no"}, "center"),
    "bounds": ({"bounds": "dose"}, "bounds is 'dose'; it must be two columns"),
    "bounds and dose": ({"bounds": ("cases", "n")}, "the data have a column 'dose'"),
}


@pytest.mark.parametrize("case", ARGUMENTS, ids=str)
def test_arguments(data, case):
    options, words = ARGUMENTS[case]
    with pytest.raises((bm.SpecError, bm.DataError), match=words):
        dose_response.specify(data, **(COLUMNS | options))


BASES = {
    "1 + dose": "basis has an intercept",
    "dose + type": "'type' has no dose",
    "dose * type": "write them out",
    "dose - 1": "write the terms that are wanted",
    "ns(dose, df=3, intercept=True)": "contains the constant",
    "ns(dose, knots=[80])": "do not all lie strictly between",
    "rcs(dose, knots=[1, 20, 80])": "not all within the doses, 0 to 60.6",
    "rcs(dose, 2)": "n_knots",
    "rcs(dose, 9)": "n_knots",
    "fp(dose, 0, 1)": "need values above 0, and 0 is there",
    "fp(dose, -1)": "need values above 0",
    "fp(dose)": "one to 5 powers",
    "log(dose)": "no value at the reference dose",
    "1 / dose": "stands for several terms",
    "I(1 / dose)": "no value at the reference dose",
    "poly(dose, 2)": "is no basis here",
    "center(dose)": "is no basis here",
    "ns(dose + 1, knots=[5])": "of a dose as it is",
    "ns(dose, knots=cases)": "must be numbers",
    "rcs(dose, 3, against=5)": "leave against out",
    "dose:dose": "stands for dose alone",
    "exp(dose, 2)": "not allowed",
    "": "must be text",
    "dose + open('x')": "not allowed",
    "dos": "did you mean 'dose'",
}


@pytest.mark.parametrize("basis", BASES)
def test_bases(data, basis):
    with pytest.raises((bm.SpecError, bm.DataError), match=BASES[basis]):
        dose_response.specify(data, basis=basis, **COLUMNS)


def test_two_stages_name_the_study_that_has_too_few_doses_and_one_stage_takes_it(data):
    few = data.drop(index=[8, 9, 10, 11])
    options = COLUMNS | {"basis": "dose + I(dose**2)"}
    with pytest.raises(
        bm.DataError, match="id hpm has 1 dose beside its reference, too few or too close for 2 columns"
    ):
        dose_response.specify(few, stages=2, **options)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        assert len(dose_response.specify(few, **options).y) == 11


def test_what_is_assumed_is_said(data):
    shuffled = data.iloc[::-1]
    with pytest.warns(AssumptionWarning, match="rows of id io, hpm, atm are sorted by dose"):
        spec = dose_response.specify(shuffled, **COLUMNS)
    assert any("sorted by dose" in note for note in spec.notes)
    with pytest.warns(AssumptionWarning, match="id atm has one dose in several rows, rows 2, 3"):
        dose_response.specify(put(data, 3, dose=data.dose[2]), **COLUMNS)
    alone = dose_response.specify(data, covariance="independent", **COLUMNS)
    assert alone.S_assumed["words"].startswith("effects of one id were taken as independent")
    with pytest.warns(AssumptionWarning, match="the reference of every id is the row with its lowest dose"):
        dose_response.specify(data, study="id", cases="cases", person_years="peryears")


QUESTIONS = {
    "dose": ({"at": {"doses": [1.0]}}, "at: no dose 'doses'"),
    "missing": ({"at": [np.nan]}, "finite doses"),
    "none": ({"at": []}, "one or more finite doses"),
    "reference": ({"at": [1.0], "reference": "low"}, "reference"),
    "others": ({"at": [1.0], "others": {"x": 1}}, "others: the basis has no other column"),
    "prob": ({"at": [1.0], "prob": 2}, "prob"),
    "interval": ({"at": [1.0], "interval": "both"}, "interval"),
}


@pytest.mark.parametrize("case", QUESTIONS, ids=str)
def test_questions(data, case):
    fit = bm.fit(dose_response.specify(data, **COLUMNS), "fixed")
    options, words = QUESTIONS[case]
    with pytest.raises((bm.SpecError, bm.DataError), match=words):
        dose_response.curve(fit, **options)


def test_results_of_other_models_are_refused():
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    for question in (dose_response.curve, dose_response.nonlinearity, dose_response.goodness_of_fit):
        with pytest.raises(bm.SpecError, match=r"make its specification by bm\.dose_response\.specify"):
            question(fit)


def test_names_of_columns_that_formulas_cannot_have(data):
    """A stranger's table: blanks and brackets in every name."""
    strange = data.rename(columns={"dose": "Dose (g/day)", "id": "Study name", "logrr": "log RR", "se": "SE of log RR"})
    options = {"study": "Study name", "dose": "Dose (g/day)", "y": "log RR", "se": "SE of log RR"}
    for stages in (1, 2):
        ours = bm.fit(dose_response.specify(data, basis="dose + I(dose**2)", stages=stages, **COLUMNS), "fixed")
        theirs = bm.fit(
            dose_response.specify(strange, basis="dose + I(dose**2)", stages=stages, **(COLUMNS | options)), "fixed"
        )
        one, two = (dose_response.curve(tree, [5.0])["mean"].item() for tree in (ours, theirs))
        assert one == two
