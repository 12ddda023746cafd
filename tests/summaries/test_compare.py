"""Results trees side by side."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree.parameters import parameters
from tests.support.edited import unhashed

S = ["var_PD", "cov_PD_AL", "var_AL"]


@pytest.fixture(scope="module")
def school() -> dict[str, xr.DataTree]:
    """The three models of Sera et al. (2019), Table 2."""
    data, levels = (
        bm.datasets.load("school"),
        {"district": "1 | district", "study": "1 | study", "both": "1 | district/study"},
    )
    return {name: bm.fit(bm.specify("effect ~ 1", data, S="var", random=r), method="ml") for name, r in levels.items()}


@pytest.fixture(scope="module")
def berkey() -> dict[str, xr.DataTree]:
    data = bm.datasets.load("berkey98").assign(year=lambda d: d.pubyear - 1983)
    models = {"reml": ("PD + AL ~ year", "reml"), "less": ("PD + AL ~ 1", "reml"), "ml": ("PD + AL ~ year", "ml")}
    return {name: bm.fit(bm.specify(formula, data, S=S), method=method) for name, (formula, method) in models.items()}


def test_estimates_stand_side_by_side(school):
    dataset = bm.compare(school, df="z").dataset
    assert dataset["estimate"].dims == ("parameter", "tree")
    assert list(dataset["tree"].values) == ["district", "study", "both"]
    assert list(dataset["parameter"].values) == [
        *("beta[Intercept]", "tau[district, Intercept]", "tau[study, Intercept]")
    ]
    assert list(dataset.data_vars) == ["estimate", "se", "lower", "upper"]
    for name, tree in school.items():
        own = parameters(tree)
        for statistic in dataset.data_vars:
            column = dataset[statistic].sel(tree=name).to_series()
            np.testing.assert_array_equal(column[own.index], own[statistic].astype(float))
            assert column.drop(own.index).isna().all()


def test_table_2_of_the_paper_can_be_read_off(school, reference):
    comparison = bm.compare(school)
    files = {"district": "school_district", "study": "school_study", "both": "school_district_study"}
    for name, file in files.items():
        expected = reference(f"mixmeta/{file}")["expected"]
        frame = comparison.to_dataframe()[name]
        assert frame.loc["beta[Intercept]", "estimate"] == pytest.approx(expected["coef"][0], abs=1e-5)
        assert comparison.criteria.loc[name, "aic"] == pytest.approx(expected["aic"], abs=1e-5)
        assert comparison.criteria.loc[name, "bic"] == pytest.approx(expected["bic"], abs=1e-5)


def test_frame_has_a_column_per_tree_and_statistic(berkey):
    frame = bm.compare(berkey).to_dataframe()
    assert list(frame.columns) == [(n, s) for n in ("reml", "less", "ml") for s in ("estimate", "se", "lower", "upper")]
    assert list(frame.index) == [
        *("beta[PD.Intercept]", "beta[AL.Intercept]", "beta[PD.year]", "beta[AL.year]"),
        *("tau[unit, PD]", "tau[unit, AL]", "rho[unit, PD~AL]"),
    ]
    assert frame.loc["beta[PD.year]", "less"].isna().all()


def test_parameters_of_a_level_stay_together():
    data = bm.datasets.load("school").assign(year=lambda d: d.year - 1990)
    randoms = ("1 | district/study", {"district": "1 + year", "study": "1"})
    trees = [bm.fit(bm.specify("effect ~ 1", data, S="var", random=random), method="ml") for random in randoms]
    assert list(bm.compare(*trees).dataset["parameter"].values[1:]) == [
        *("tau[district, Intercept]", "tau[district, year]", "tau[study, Intercept]", "rho[district, Intercept~year]")
    ]


def test_criteria(school):
    frame = bm.compare(school).criteria
    assert list(frame.columns) == ["loglik", "df", "aic", "aicc", "bic", "nobs", "method"]
    assert list(frame.index) == list(school)
    np.testing.assert_allclose(frame["aic"], -2 * frame["loglik"] + 2 * frame["df"], rtol=1e-14)
    assert list(frame["df"]) == [2, 2, 3]
    assert set(frame["method"]) == {"ml"}


def test_printed_page(school):
    page = str(bm.compare(school, df="z")).splitlines()
    assert page[:2] == ["Models", "district  ml; effect ~ 1; random 1 | district; psi unstr"]
    start = next(i for i, line in enumerate(page) if line.startswith("beta[Intercept]"))
    assert page[start].split() == ["beta[Intercept]", "0.1965", "(0.0858)", "0.1280", "(0.0435)", "0.1845", "(0.0805)"]
    assert page[start + 1].split() == ["[0.0283,", "0.3647]", "[0.0428,", "0.2132]", "[0.0267,", "0.3422]"]
    criteria = page[page.index("Criteria") + 1 :]
    assert criteria[0].split() == ["logLik", "AIC", "AICc", "BIC", "AIC", "-", "least", "df", "nobs"]
    assert criteria[3].split() == ["both", "-8.395", "22.790", "23.251", "28.866", "0.000", "3", "56"]
    assert criteria[1].split()[-3:] == ["46.642", "2", "56"]


def test_an_absent_parameter_leaves_its_cell_empty(school):
    page = str(bm.compare(school["district"], school["study"])).splitlines()
    columns = page[next(i for i, line in enumerate(page) if line.startswith("beta"))]
    district = next(line for line in page if line.startswith("tau[district"))
    assert len(district) < columns.rindex("(") - 8


def test_criteria_that_do_not_compare_are_refused_but_estimates_shown(berkey):
    comparison = bm.compare(berkey["reml"], berkey["ml"], names=["one", "two"])
    with pytest.raises(
        bm.SpecError, match="criteria not compared: one by reml and two by ml maximise different likelihoods"
    ):
        comparison.criteria  # noqa: B018
    page = " ".join(str(comparison).split())
    assert "Criteria not compared one by reml and two by ml maximise different likelihoods" in page
    assert "beta[PD.Intercept] 0.3588" in page
    assert "AIC" not in page


def test_names_by_default_are_what_differs(school, berkey):
    assert list(bm.compare(*school.values()).trees) == ["1 | district", "1 | study", "1 | district/study"]
    assert list(bm.compare(berkey["reml"], berkey["ml"]).trees) == ["reml", "ml"]
    assert list(bm.compare(berkey["less"]).trees) == ["reml"]
    assert list(bm.compare(*berkey.values()).trees) == [
        "reml, PD + AL ~ year",
        "reml, PD + AL ~ 1",
        "ml, PD + AL ~ year",
    ]
    assert list(bm.compare(berkey["ml"], berkey["ml"]).trees) == ["ml 1", "ml 2"]


def test_names_may_be_given_in_three_ways(school):
    one, two = school["district"], school["both"]
    for comparison in (
        bm.compare(one, two, names=["a", "b"]),
        bm.compare({"a": one, "b": two}),
        bm.compare(a=one, b=two),
        bm.compare({"a": one}, b=two),
    ):
        assert list(comparison.trees) == ["a", "b"]
        assert comparison.trees["b"] is two


def test_bad_names_are_refused(school):
    one, two = school["district"], school["both"]
    with pytest.raises(bm.SpecError, match="1 names for 2 trees: a"):
        bm.compare(one, two, names=["a"])
    with pytest.raises(bm.SpecError, match="names: 'a' is there twice"):
        bm.compare(one, two, names=["a", "a"])
    with pytest.raises(bm.SpecError, match="names of trees must be unique, repeated: ml"):
        bm.compare(one, ml=two)


def test_something_else_than_trees_is_refused(school):
    with pytest.raises(bm.SpecError, match="at least one results tree"):
        bm.compare()
    with pytest.raises(bm.SpecError, match=r"expected the results tree that bm\.fit or bm\.sample returned, got Spec"):
        bm.compare(school["both"], bm.Spec.from_tree(school["both"]))
    with pytest.raises(bm.SpecError, match=r"^bm\.compare has no argument 'name'; did you mean 'names'"):
        bm.compare(school["both"], name=["x"])
    with pytest.raises(bm.SpecError, match="prob is 95"):
        bm.compare(school["both"], prob=95)


def test_many_trees_with_long_names_stay_on_the_page(school):
    trees = {
        f"model number {i} with random effects of every kind": tree for i, tree in enumerate([*school.values()] * 3)
    }
    comparison = bm.compare(trees)
    assert max(map(len, str(comparison).splitlines())) <= 100
    assert str(comparison).count("tau[study, Intercept]") > 1


def test_a_notebook_gets_escaped_tables(school):
    page = bm.compare({"<i>one</i>": school["both"]})._repr_html_()
    assert "&lt;i&gt;one&lt;/i&gt;" in page
    assert "<i>" not in page


def test_prob_sets_the_intervals(school):
    narrow = bm.compare(school["both"], prob=0.5)
    assert "50% intervals" in str(narrow)
    wide = bm.compare(school["both"]).to_dataframe()["ml"]
    half = narrow.to_dataframe()["ml"]
    ratio = (wide["upper"] - wide["estimate"])["beta[Intercept]"] / (half["upper"] - half["estimate"])[
        "beta[Intercept]"
    ]
    assert ratio == pytest.approx(1.959963984540054 / 0.6744897501960817, rel=1e-10)


def test_a_method_without_a_likelihood_has_no_criteria(school):
    silent = unhashed(school["both"])
    silent["criteria"] = xr.DataTree(silent["criteria"].to_dataset().assign(loglik=np.nan))
    silent.attrs["method"] = "mm"
    comparison = bm.compare(a=school["both"], b=silent)
    with pytest.raises(bm.SpecError, match=r"b has no likelihood \(method mm\)"):
        comparison.criteria  # noqa: B018
    assert isinstance(comparison.to_dataframe(), pd.DataFrame)
