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
    "no reference": (
        lambda d: d.drop(index=6),
        {},
        "id hpm has no reference: no row has logrr = 0 and no standard error",
    ),
    "two references": (
        lambda d: put(d, 8, logrr=0.0, se=np.nan),
        {},
        r"id hpm has 2 references, rows 6, 8, with no standard error \('se'\); it needs exactly one",
    ),
    "reference with effect": (lambda d: put(d, 6, logrr=0.3), {}, "id hpm: the reference, row 6, has logrr = 0.3"),
    "reference with error": (
        lambda d: put(d, 6, se=0.1),
        {},
        r"id hpm: row 6 has logrr = 0, as a reference has, and a standard error of 0.1 \('se'\); a reference has none",
    ),
    "reference with both": (lambda d: put(d, 6, se=0.1, logrr=0.3), {}, "id hpm has no reference"),
    "marked reference with error": (
        lambda d: put(d, 6, se=0.1).assign(r=d.dose == 0),
        {"reference": "r"},
        r"the reference, row 6, has a standard error of 0.1 \('se'\); a reference has none",
    ),
    "marked effect without error": (
        lambda d: put(d, 8, se=np.nan).assign(r=d.dose == 0),
        {"reference": "r"},
        r"id hpm has no standard error \('se'\) in row 8; every effect needs one",
    ),
    "no mark": (lambda d: d.assign(r=d.index == 0), {"reference": "r"}, "id hpm has no rows that 'r' marks; it needs"),
    "two marks": (
        lambda d: d.assign(r=d.dose < 3),
        {"reference": "r"},
        r"id atm has 2 rows that 'r' marks \(rows 0, 1\)",
    ),
    "marks that are none": (
        lambda d: d.assign(r=(d.dose == 0) * 2),
        {"reference": "r"},
        "column 'r' is 2 in rows 0, 6, 12; it must hold true and false",
    ),
    "a mark that is missing": (
        lambda d: d.assign(r=(d.dose == 0).where(d.index != 8)),
        {"reference": "r"},
        "column 'r' is missing in row 8; it must hold true and false",
    ),
    "one dose": (lambda d: d.drop(index=range(7, 12)), {}, "id hpm has one dose, in row 6; it needs its reference and"),
    "the same dose": (lambda d: d.assign(dose=2.0), {}, "column 'dose' is 2 in every row; a curve needs two doses"),
    "missing dose": (
        lambda d: put(d, 8, dose=np.nan),
        {},
        r"'dose' is missing in row 8 \(id hpm\); a dose must be finite",
    ),
    "infinite dose": (lambda d: put(d, 8, dose=np.inf), {}, r"column 'dose' is inf in row 8 \(id hpm\)"),
    "text as dose": (lambda d: put(d, 8, dose="high"), {}, "column 'dose' is not numeric: row 8 holds 'high'"),
    "missing effect": (lambda d: put(d, 8, logrr=np.nan), {}, "id hpm has no finite effect in row 8 of column 'logrr'"),
    "no person-time": (
        lambda d: put(d, 8, peryears=0),
        {},
        r"column 'peryears' is 0 in row 8 \(id hpm\); person-time must be finite and above 0",
    ),
    "no cases": (
        lambda d: put(put(d, 8, cases=0), 13, cases=-2),
        {},
        r"column 'cases' is 0 in row 8 \(id hpm\), and unusable in row 13 too; a number of cases must be finite",
    ),
    "missing cases": (lambda d: put(d, 8, cases=np.nan), {}, r"column 'cases' is missing in row 8 \(id hpm\)"),
    "missing study": (
        lambda d: d.assign(id=d.id.where(d.index != 8)),
        {},
        "column 'id' has no study in row 8; every dose",
    ),
    "infinite error": (lambda d: put(d, 8, se=np.inf), {}, r"column 'se' is inf in row 8 \(id hpm\); a standard error"),
    "negative error": (lambda d: put(d, 8, se=-0.1), {}, r"column 'se' is -0.1 in row 8 \(id hpm\); a standard error"),
    "no error": (
        lambda d: put(d, 8, se=0),
        {},
        r"id hpm: row 8 has logrr = -0.0986 and no standard error \('se'\); every effect needs one, and the reference",
    ),
    "unknown design": (
        lambda d: d.assign(of="ir").assign(of=lambda x: x.of.where(x.index != 8, "cohort")),
        {"type": "of"},
        "column 'of' has the type 'cohort' in row 8; known types: cc, ir",
    ),
    "two designs": (
        lambda d: d.assign(of="ir").assign(of=lambda x: x.of.where(x.index != 8, "cc")),
        {"type": "of", "total": "n"},
        "id hpm has the types 'ir', 'cc'; it must be one for the whole study",
    ),
    "no rows": (lambda d: d.head(0), {}, "the data have no rows"),
    "no data": (lambda d: None, {}, "data is None; it must be a data frame"),
}


@pytest.mark.parametrize("case", ROWS, ids=str)
def test_rows(data, case):
    change, options, words = ROWS[case]
    with pytest.raises(bm.DataError, match=words):
        dose_response.specify(change(data), **COLUMNS, **options)


def test_every_cell_that_cannot_be_is_named_with_its_row_study_and_value(data):
    """One cell of one column of one row after another, of each kind of slip: the first line is enough to mend it."""
    rng = np.random.default_rng(3)
    slips = {
        "dose": [np.nan, np.inf],
        "cases": [0, -1, np.nan, np.inf],
        "peryears": [0, -1, np.nan],
        "se": [-1, np.inf],
    }
    for name, values in slips.items():
        for value in values:
            row = int(rng.integers(len(data)))
            with pytest.raises(bm.DataError) as refused:
                dose_response.specify(put(data, row, **{name: value}), **COLUMNS)
            first = str(refused.value).splitlines()[0]
            cell = "missing" if np.isnan(value) else f"{value:g}"
            assert first.startswith(f"column '{name}' is {cell} in row {row} (id {data.id[row]}); "), first


def test_words_of_dosresmeta(data):
    specs = [dose_response.specify(data, covariance=word, **COLUMNS) for word in ("gl", "greenland-longnecker")]
    np.testing.assert_array_equal(specs[0].S.value, specs[1].S.value)
    same = [dose_response.specify(data, basis=basis, **COLUMNS).X for basis in ("dose", "~ dose")]
    np.testing.assert_array_equal(*same)


def test_open_categories_are_as_wide_as_their_neighbour_in_the_same_study(data):
    table = pd.DataFrame({"id": ["a"] * 3 + ["b"] * 3, "low": [0, 5, 10, 0, 2, 10], "high": [5, 10, None, 2, 10, None]})
    table = table.assign(cases=[50, 40, 30] * 2, peryears=[1e4, 9e3, 8e3] * 2, first=table.low == 0)
    columns = {"study": "id", "cases": "cases", "person_years": "peryears", "reference": "first"}
    bounds = {"bounds": ("low", "high"), "center": False}
    said = "row 2: 10 and more as 12.5, as wide as 5 to 10; row 5: 10 and more as 14, as wide as 2 to 10"
    with pytest.warns(AssumptionWarning, match=said):
        spec = dose_response.specify(table, **bounds, **columns)
    np.testing.assert_allclose(spec.X[:, 0], [7.5, 12.5, 6.0, 14.0])
    printed = table.assign(low=[0, 5.1, 10.1, 0, 1, 10])  # as 5.1-10, 10.1 and more; and nothing near the last one
    with pytest.warns(AssumptionWarning, match="1.2 times the lower limit"):
        spec = dose_response.specify(printed.assign(high=[5, 10, None, 0, 3, None]), **bounds, **columns)
    np.testing.assert_allclose(spec.X[:, 0], [7.55, 10.1 + 4.9 / 2, 2.0, 12.0])


def test_cases_above_totals_and_totals_no_table_has(data):
    with pytest.raises(
        bm.DataError, match=r"column 'cases' is 104 in row 8 \(id hpm\); it must be below the .* 50 \('n'\)"
    ):
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
    "covariance": ({"covariance": "glm"}, "covariance is 'glm'"),
    "random in two stages": ({"stages": 2, "random": "dose"}, "random is of one stage"),
    "no errors": ({"se": None}, "y has no errors; give either se="),
    "both errors": ({"interval": ("a", "b")}, r"se is 'se' and interval \('a', 'b'\): name one of them"),
    "no counts": ({"cases": None, "person_years": None}, "covariances need counts"),
    "half the counts": ({"cases": None}, "'peryears' is given without the number of cases"),
    "means beside effects": ({"mean": "dose"}, "have no use beside reported effects"),
    "scale of nothing": ({"y": None, "se": None, "scale": "response"}, "se, interval and scale are of y"),
    "S beside counts": ({"S": {"atm": np.eye(5)}}, "counts and covariance have no use"),
    "no total": ({"person_years": None, "type": "ir"}, "cases are given without total"),
    "nothing": ({"y": None, "se": None, "cases": None}, "neither effects"),
    "S of one study": ({"S": {"atm": np.eye(5)}, "cases": None, "person_years": None}, "S has no matrix for id hpm"),
    "S of another shape": (
        {"S": {name: np.eye(4) for name in ("atm", "hpm", "io")}, "cases": None, "person_years": None},
        r"S of id atm has shape \(4, 4\), expected \(5, 5\)",
    ),
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
    "dose + ": r"nothing stands after '\+'; a term is missing",
    "+ dose": r"basis: nothing stands before a '\+' of '\+ dose'",
    "(dose": r"a bracket has no partner: there is a '\(' too many",
    "ns(dose": r"a bracket is not closed: '\)' is missing",
    "dose dose": r"'\+' or another operator is missing between dose and dose",
    "y ~ dose": "it must be the right-hand side alone",
    "rcs(dose, n=3)": r"basis: rcs\(\) has no argument 'n'",
    "rcs(dose, knots=[3])": "1 knot, 3; it takes at least 3",
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
    with pytest.raises(bm.DataError, match="id hpm has 1 dose beside its reference, too few"):
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
    "missing": ({"at": [np.nan]}, r"at: dose is \[nan\]; it must be one or more finite doses"),
    "none": ({"at": []}, r"at: dose is \[\]; it must be one or more finite doses"),
    "no dose": ({"at": {}}, "at has no doses"),
    "below the domain": ({"at": [1.0, -3.0]}, r"at: the basis has no value at dose = -3: log\(dose \+ 1\) is not"),
    "reference below": ({"at": [1.0], "reference": -5}, "reference: the basis has no value at dose = -5"),
    "reference": ({"at": [1.0], "reference": "low"}, "reference"),
    "others": ({"at": [1.0], "others": {"x": 1}}, "others: the basis has no other column"),
    "prob": ({"at": [1.0], "prob": 2}, "prob"),
    "interval": ({"at": [1.0], "interval": "both"}, "interval"),
}


@pytest.mark.parametrize("case", QUESTIONS, ids=str)
def test_questions(data, case):
    fit = bm.fit(dose_response.specify(data, basis="log(dose + 1)", **COLUMNS), "fixed")
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
