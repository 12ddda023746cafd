"""Covariances of dose-response data against the published ones, and crude data in, crude counts out."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import within
from bayesmeta.within import dose_response

CASES = np.array([200.0, 300.0, 400.0, 250.0])
N = np.array([1000.0, 1200.0, 900.0, 1100.0])
KINDS = ["cc", "ir", "ci"]


def crude(kind: str) -> tuple[np.ndarray, np.ndarray]:
    """Log ratios against the first dose, and the true covariance of the other three."""
    rest = N - CASES if kind == "cc" else N
    term = {"cc": 1 / CASES + 1 / (N - CASES), "ir": 1 / CASES, "ci": 1 / CASES - 1 / N}[kind]
    return np.log(CASES / rest * rest[0] / CASES[0]), np.diag(term[1:]) + term[0]


def table(kind: str) -> pd.DataFrame:
    """The crude study with its reference third, and a second study that is a tenth of it."""
    y, S = crude(kind)
    v = np.append(np.nan, np.diag(S))
    one = pd.DataFrame({"id": "one", "y": y, "v": v, "cases": CASES, "n": N, "kind": kind}).iloc[[1, 2, 0, 3]]
    two = one.assign(id=2, v=one.v * 10, cases=one.cases / 10, n=one.n / 10)
    return pd.concat([one, two], ignore_index=True)


def build(method, data, **options):
    given = {"y": "y", "variance": "v", "cases": "cases", "n": "n", "type": "kind", "group": "id"} | options
    return method(data, **given)


METHODS = pytest.mark.parametrize("method", [within.greenland_longnecker, within.hamling])
COUNTS = pytest.mark.parametrize("counts", [dose_response.counts_of_kept_margins, dose_response.counts_of_kept_ratios])


@COUNTS
@pytest.mark.parametrize("kind", KINDS)
def test_crude_data_in_crude_counts_out(counts, kind):
    y, S = crude(kind)
    A, total = counts(dose_response.Study("one", kind, y, np.diag(S), CASES, N))
    np.testing.assert_allclose(A, CASES, rtol=1e-11)
    np.testing.assert_allclose(total, N, rtol=1e-11)


@METHODS
@pytest.mark.parametrize("kind", KINDS)
def test_crude_data_have_their_true_covariance(method, kind):
    S = build(method, table(kind))
    truth = crude(kind)[1]
    assert list(S) == ["one", 2]
    np.testing.assert_allclose(S["one"], truth, rtol=1e-10)
    np.testing.assert_allclose(S[2], 10 * truth, rtol=1e-10)
    by_name = build(method, table(kind).assign(se=lambda d: np.sqrt(d.v)), se="se", variance=None, type=kind)
    np.testing.assert_allclose(by_name["one"], truth, rtol=1e-10)


@COUNTS
@pytest.mark.parametrize("kind", KINDS)
def test_counts_reproduce_what_they_promise_for_adjusted_data(counts, kind):
    """Adjusted log ratios and inflated variances: no table of the reported counts has them, the one found does."""
    rng = np.random.default_rng(7)
    crude_y, S = crude(kind)
    y = crude_y + np.append(0.0, rng.normal(scale=0.1, size=3))
    v = np.diag(S) * 1.3
    A, total = counts(dose_response.Study("one", kind, y, v, CASES, N))
    rest, given = (total - A, N - CASES) if kind == "cc" else (total, N)
    np.testing.assert_allclose(np.log(A / rest * rest[0] / A[0]), y, atol=1e-9)
    if counts is dose_response.counts_of_kept_margins:
        np.testing.assert_allclose(total, N, rtol=1e-12)
        np.testing.assert_allclose(A.sum(), CASES.sum(), rtol=1e-9)
    else:
        term = {"cc": 1 / A + 1 / (total - A), "ir": 1 / A, "ci": 1 / A - 1 / total}[kind]
        np.testing.assert_allclose(term[0] + term[1:], v, rtol=1e-9)
        np.testing.assert_allclose(rest[0] / rest.sum(), given[0] / given.sum(), rtol=1e-9)
        np.testing.assert_allclose(rest.sum() / A.sum(), given.sum() / CASES.sum(), rtol=1e-9)


@pytest.fixture(scope="module")
def alcohol(table) -> pd.DataFrame:
    return table("alcohol")


COLUMNS = {"y": "logrr", "se": "se", "cases": "cases", "n": "peryears", "type": "type", "group": "id"}


def log_cases(S: np.ndarray) -> np.ndarray:
    """Logarithms of the cases at every dose over those of the reference, recovered from a person-time covariance."""
    R = S / np.sqrt(np.outer(np.diag(S), np.diag(S)))
    square = np.array([R[i, i - 1] * R[i, i - 2] / R[i - 1, i - 2] for i in range(len(R))])
    return np.log(square / (1 - square))


def test_greenland_longnecker_equals_the_reference(alcohol, reference):
    """The reference takes the cases at the reference dose from the last step but one of its search.

    So the cases agree up to one factor per study, which differs from 1 by less than 1e-4.
    """
    known = reference("covariances/alcohol_greenland_longnecker")
    found = within.greenland_longnecker(alcohol, **COLUMNS)
    assert set(found) == set(known)
    for study, matrix in known.items():
        np.testing.assert_allclose(found[study], matrix, rtol=6e-5)
        np.testing.assert_allclose(np.diag(found[study]), np.diag(matrix), rtol=1e-13)
        factor = log_cases(found[study]) - log_cases(np.array(matrix))
        np.testing.assert_allclose(factor, factor[0], atol=2e-8)
        assert abs(factor[0]) < 1e-4


def test_hamling_explains_the_reference(alcohol, reference):
    """The reference takes the cells of cumulative incidence for these person-time data, then the terms of person-time.

    Done the same way it is met to the precision of its search; done right, the covariances of a study are all equal,
    to the reference's within 6 per cent where a dose's risk is a tenth and within 1e-3 where risks are small.
    """
    known = reference("covariances/alcohol_hamling")
    studies = dose_response.read(alcohol, "logrr", "se", None, "cases", "peryears", "type", "id")
    found = within.hamling(alcohol, **COLUMNS)
    assert set(found) == set(known) == set(studies)
    for label, matrix in known.items():
        study = studies[label]
        exchanged = dose_response.counts_of_kept_ratios(study._replace(design="ci"))
        np.testing.assert_allclose(dose_response.covariance(study, *exchanged), matrix, rtol=1e-4)
        np.testing.assert_allclose(found[label], matrix, rtol=6e-2 if label in ("nt", "ntm") else 1e-3)
        below = found[label][np.tril_indices_from(found[label], -1)]
        np.testing.assert_allclose(below, below[0], rtol=1e-12)


def test_counts_of_cumulative_incidence_are_not_those_of_odds_ratios():
    """What R's dosresmeta makes of crude risk ratios, by the equations of odds ratios, is documented."""
    cases, n = np.array([200.0, 300.0, 400.0]), np.full(3, 1000.0)
    term = 1 / cases - 1 / n
    study = dose_response.Study("one", "ci", np.log(cases / cases[0]), term[0] + term[1:], cases, n)
    theirs = dose_response.counts_of_kept_margins(study._replace(design="cc"))
    np.testing.assert_allclose(theirs[0], [226, 305, 369], atol=0.5)
    assert dose_response.covariance(study, *theirs)[0, 1] == pytest.approx(0.00373, abs=5e-6)
    ours = dose_response.counts_of_kept_margins(study)
    assert dose_response.covariance(study, *ours)[0, 1] == pytest.approx(0.004, rel=1e-12)


EXCHANGED = {
    "gl": (dose_response.counts_of_kept_margins, {"ci": "cc"}),
    "h": (dose_response.counts_of_kept_ratios, {"ci": "ir", "ir": "ci"}),
}


@pytest.mark.parametrize("method", EXCHANGED)
def test_the_difference_explains_the_reference_for_cumulative_incidence(method, reference):
    """Slopes of coffee and stroke, common to all studies: met with the other design's counts, missed with one's own."""
    known = reference("dose_response/coffee_stroke")
    data = pd.DataFrame(known["data"])
    counts, exchanged = EXCHANGED[method]
    expected = known["expected"][f"{method} linear fixed 1stage"]
    slopes = {}
    for name, designs in (("theirs", exchanged), ("ours", {})):
        S = {
            label: dose_response.covariance(
                study, *counts(study._replace(design=designs.get(study.design, study.design)))
            )
            for label, study in dose_response.read(data, "y", "se", None, "cases", "n", "type", "study").items()
        }
        reported = data.assign(dose=data.dose - data.groupby("study").dose.transform("first"))[data.se > 0]
        fit = bm.fit(bm.specify("y ~ 0 + dose", reported, S=S, groups="study"), method="fixed")
        slopes[name] = fit["estimate"]["beta"].item(), fit["estimate"]["beta_cov"].item()
    np.testing.assert_allclose(slopes["theirs"], (*expected["coef"], expected["vcov"][0][0]), rtol=2e-5)
    np.testing.assert_allclose(slopes["ours"], slopes["theirs"], rtol=4e-3)
    assert slopes["ours"][0] != pytest.approx(slopes["theirs"][0], rel=2e-4)


def test_matrices_serve_the_data_without_references(alcohol):
    data = alcohol[alcohol.se.notna()]
    S = within.greenland_longnecker(alcohol, **COLUMNS)
    spec = bm.specify("logrr ~ 0 + dose", data, S=S, random="0 + dose | id")
    np.testing.assert_allclose(spec.S.variances, data.se**2, rtol=1e-14)
    assert len(spec.S.value) == 8 * 15
    with pytest.raises(bm.DataError, match="a reference row of dose-response data has to be left out"):
        bm.specify("logrr ~ 0 + dose", alcohol, S=S, random="0 + dose | id")


# ---- what is refused, always by the study's name


def changed(row: int, **values) -> pd.DataFrame:
    data = table("cc").astype({"kind": object})
    for column, value in values.items():
        data.loc[row, column] = value
    return data


@METHODS
@pytest.mark.parametrize(
    ("data", "pattern"),
    [
        (changed(6, v=0.1), "^id 2 has 0 reference rows; it needs exactly one\n.*log ratio of 0"),
        (changed(6, y=0.1), "^id 2 has 0 reference rows"),
        (changed(4, y=0.0, v=0.0), "^id 2 has 2 reference rows"),
        (changed(4, v=np.nan), "^id 2 has a sampling variance that is missing or not positive"),
        (changed(4, y=np.nan), "^id 2 has a log ratio that is missing, or beyond 50"),
        (changed(0, cases=0.0), "^id one has a number of cases that is missing or not positive"),
        (changed(0, n=np.nan), "^id one has a n that is missing or not positive"),
        (changed(0, n=300.0), "^id one has as many cases as subjects, or more"),
        (
            changed(0, kind="ir"),
            "^id one has the types 'ir', 'cc'; it must be one for the whole study\n  one of 'cc' \\(case-control\\)",
        ),
    ],
)
def test_studies_that_cannot_be_used(method, data, pattern):
    with pytest.raises(bm.DataError, match=pattern):
        build(method, data)


@METHODS
def test_arguments(method):
    data = table("cc")
    with pytest.raises(bm.SpecError, match=r"^type: no design or column 'cd'\n"):
        build(method, data, type="cd")
    with pytest.raises(bm.SpecError, match=r"give either the standard errors \(se=\) or the variances"):
        build(method, data, se="v")
    with pytest.raises(bm.SpecError, match=r"give either the standard errors \(se=\) or the variances"):
        build(method, data, variance=None)
    with pytest.raises(bm.SpecError, match="cases: the data have no column 'case'; did you mean 'cases'"):
        build(method, data, cases="case")


def test_more_cases_than_subjects():
    data = table("ci")
    data.loc[1, "y"] = 8.0  # nearly all 1150 cases would be among 900 subjects
    with pytest.raises(bm.DataError, match=r"^id one: its log ratios need more cases than subjects at some dose"):
        build(within.greenland_longnecker, data)


def test_no_table_of_counts():
    data = table("ci").assign(n=lambda d: d.cases * 1.01)
    with pytest.raises(
        bm.DataError, match=r"^id one: no table of counts reproduces its log ratios.*\n.*cumulative incidence data"
    ):
        build(within.hamling, data)
