"""The pages beside the README: examples run, and every call is held against the reference file that its row names."""

import re
import warnings

import numpy as np
import pytest

import bayesmeta as bm
from tests.support.make_coming_from import MOST, NONE, PAGES, Digits, Page, Row, cells, run
from tests.support.reference import REFERENCE

# what a row must agree to, whatever the page says: coefficients and Psi as far as a flat likelihood lets them
LOWER, HIGHER = -1e-6, 5e-5
OTHER_INPUT = ("bcg", "smoking", "alcohol")  # their tables or covariances are not bit by bit those that R was given


def run_page(name: str, read) -> Page:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return run((PAGES / name).read_text(), read)


@pytest.fixture(scope="module")
def coming_from(reference) -> Page:
    return run_page("coming_from.md", reference)


@pytest.fixture(scope="module")
def fits(coming_from) -> dict[str, Row]:
    return {row.file: row for row in coming_from.rows.values() if is_fit_of_mixmeta(row)}


def is_fit_of_mixmeta(row: Row) -> bool:
    return row.file.startswith("mixmeta/") and len(row.written) == 4


def test_examples_print_what_the_page_says(coming_from):
    assert not coming_from.failures


def test_limits_are_those_of_the_package(reference):
    assert not run_page("limits.md", reference).failures


def test_the_page_on_dependence_prints_what_it_says(reference):
    assert not run_page("dependence.md", reference).failures


def test_measured_cells(coming_from):
    assert not [f"{line}\nnow: {row.line}" for line, row in coming_from.rows.items() if not row.holds]


def test_made_page_differs_in_measured_cells_only(coming_from):
    written, made = coming_from.text.splitlines(), coming_from.made.splitlines()
    assert len(written) == len(made)
    for before, after in zip(written, made, strict=True):
        assert before == after or cells(before)[:3] == cells(after)[:3]


def test_every_reference_file_is_there(coming_from, fits):
    assert set(fits) == {f"mixmeta/{path.stem}" for path in (REFERENCE / "mixmeta").glob("*.json")}
    rows = [row for row in coming_from.rows.values() if is_fit_of_mixmeta(row)]
    assert len(rows) == len(fits) == 44
    files = {row.file.removeprefix("metafor/") for row in coming_from.rows.values() if row.file.startswith("metafor/")}
    assert files == {path.stem for path in (REFERENCE / "metafor").glob("*.json")}


def test_r_calls_are_those_of_the_reference_files(fits):
    for row in fits.values():
        parts = row.reference["r_call"].split("...")
        # three dots, for what the calls of a data set have in common or more terms, are written out on the page
        assert re.fullmatch(".*".join(map(re.escape, parts)), row.cells[1]), row.cells[1]


def test_log_likelihoods(fits):
    for name, row in fits.items():
        theirs = row.reference["expected"].get("loglik")
        if theirs is None or name.removeprefix("mixmeta/").startswith(OTHER_INPUT):
            continue
        assert LOWER <= float(row.found["criteria"]["loglik"]) - theirs <= HIGHER, name


def test_coefficients_differ_by_small_parts_of_their_standard_errors(fits):
    for name, row in fits.items():
        expected, estimate = row.reference["expected"], row.found["estimate"]
        if name == "mixmeta/smoking_inconsistency":  # in another order
            assert np.isclose(np.sort(estimate["beta"]), np.sort(expected["coef"]), atol=1e-4).all()
            continue
        se = np.sqrt(np.diag(np.atleast_2d(expected["vcov"])))
        assert np.max(np.abs(np.ravel(estimate["beta"]) - expected["coef"]) / se) < 0.01, name


def test_single_precision_and_short_iterations_are_what_other_input_means(reference, table):
    for name, columns, most in (("bcg", ["logor", "logorvar"], 1e-7), ("smoking", ["yB", "yC", "SBB", "SCC"], 2e-6)):
        ours, theirs = bm.datasets.load(name)[columns], table(name)[columns]
        assert 0 < np.nanmax(np.abs(ours / theirs - 1)) < most
    theirs = reference("covariances/alcohol_greenland_longnecker")
    ours = bm.within.greenland_longnecker(
        bm.datasets.load("alcohol"), y="logrr", se="se", cases="cases", n="peryears", type="type", group="id"
    )
    assert 1e-5 < max(np.max(np.abs(ours[study] / np.array(theirs[study]) - 1)) for study in ours) < 1e-4


def test_what_the_page_says_of_mixmeta_is_in_the_reference_files(reference):
    assert reference("mixmeta/p53_scor95")["expected"]["Q"][1] is None
    assert reference("mixmeta/smoking_unstr")["expected"]["Q"][1:] == [None] * 3
    # standard errors of its BLUPs are those of se="paper"
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), method="ml")
    theirs = np.array(reference("mixmeta/bcg_ml")["expected"]["blup"])[:, 1]
    assert np.allclose(bm.blup(fit, se="paper")["se"].values[:, 0], theirs, rtol=1e-6)
    # its BLUP of an outer level is the one without the variance of the inner level
    expected, school = reference("mixmeta/school_district_study")["expected"], bm.datasets.load("school")
    rows, tau2 = school[school.district == 11], expected["psi"][0][0][0]
    residual = rows.effect.to_numpy() - expected["coef"][0]
    short = tau2 * np.linalg.solve(np.diag(rows["var"]) + tau2, residual).sum()
    assert np.isclose(expected["coef"][0] + short, expected["blup_by_level"][0][0][0], rtol=1e-8)


def test_both_ways_to_write_several_outcomes():
    p53 = bm.datasets.load("p53")
    one, two = (
        bm.specify(f"{left} ~ 1", p53, S=["V1", "V2"], S_correlation=0) for left in ("y1 + y2", "cbind(y1, y2)")
    )
    assert np.array_equal(one.y, two.y)
    assert np.array_equal(one.X, two.X)


@pytest.mark.parametrize("change", [('psi="diag"', 'psi="id"'), ('S="var"', 'S="year"'), ("school", "school[1:]")])
def test_another_model_does_not_hold(coming_from, change):
    tried = 0
    space = {"bm": bm, "np": np, "school": bm.datasets.load("school"), "smoking": bm.datasets.load("smoking")}
    space["S"] = ["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"]
    for row in coming_from.rows.values():
        if row.file in ("mixmeta/school_study", "mixmeta/smoking_diag") and change[0] in row.cells[2]:
            other = Row(row.cells, row.reference, eval(row.cells[2].replace(*change), space))
            assert not other.holds
            tried += 1
    assert tried == 1


@pytest.mark.parametrize(
    ("apart", "cell", "holds"),
    [
        (3e-6, "5", True),
        (3e-6, "6", False),
        (3e-6, "4", False),
        (1.05e-6, "6", True),
        (1.05e-6, "5", True),
        (0.0, str(MOST), True),
        (0.0, "7", False),
        (2.0, "0", True),
        (None, NONE, True),
        (None, "8", False),
        (0.0, NONE, False),
    ],
)
def test_digits(apart, cell, holds):
    assert Digits(apart).holds(cell) is holds


def test_readme_leads_to_the_pages():
    readme = (PAGES.parent / "README.md").read_text()
    assert all(f"](notebooks/{page.name})" in readme for page in sorted(PAGES.glob("*.md")))


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")
@pytest.mark.parametrize("name", ["posterior", "published_bayes_factors"])
def test_the_pages_on_posteriors_without_chains_run(name):
    page = (PAGES.parent / f"docs/{name}.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, names)


def test_the_page_on_posteriors_has_the_limits_of_the_engines():
    from bayesmeta.bayes import importance, quadrature

    page = (PAGES.parent / "docs/posterior.md").read_text(encoding="utf-8")
    assert f"up to {quadrature.MOST} parameters" in page
    assert f"up to {importance.MOST} parameters" in page
    page = (PAGES.parent / "docs/exact_posteriors.md").read_text(encoding="utf-8")
    assert f"fewer than {importance.EFFECTIVE:,} independent ones" in page
    assert f"more than {importance.LARGEST:.0%} of the" in page
    assert f"standard error above {importance.ERROR}" in page
