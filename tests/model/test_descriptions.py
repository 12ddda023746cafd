"""Measure, arms and names of rows travel with the data from effect sizes through the specification into the tree."""

import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.tree.row_labels import row_labels

BCG = bm.datasets.load("bcg")
CELLS = {"events": ("tpos", "cpos"), "no_events": ("tneg", "cneg")}
EFFECTS = {
    "logor": bm.effects.odds_ratio,
    "logrr": bm.effects.risk_ratio,
    "rd": bm.effects.risk_difference,
}
MEANS = {
    "m_drug": [1.0, 2.0],
    "m_sham": [0.5, 1.0],
    "s_drug": [1.0, 1.0],
    "s_sham": [1.0, 1.0],
    "n": [20, 30],
    "k": [20, 30],
}


def table(measure: str = "logor", **options) -> pd.DataFrame:
    return EFFECTS[measure](BCG, **CELLS, **options)


@pytest.mark.parametrize("measure", EFFECTS)
def test_the_measure_comes_from_where_the_effects_were_computed(measure):
    assert bm.specify("y ~ 1", table(measure), S="v").measure == measure
    assert bm.specify("y ~ 1", table(measure), S="v", measure="generic").measure == "generic"


@pytest.mark.parametrize(("effect", "measure"), [("mean_difference", "md"), ("hedges_g", "smd")])
def test_so_it_does_for_means_with_the_arms_that_their_columns_name(effect, measure):
    data = getattr(bm.effects, effect)(MEANS, ("m_drug", "m_sham"), ("s_drug", "s_sham"), ("n", "k"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        spec = bm.specify("y ~ 1", data, S="v")
    assert (spec.measure, spec.arms) == (measure, ("drug", "sham"))


def test_a_measure_of_other_columns_is_not_taken():
    data = table()
    assert bm.specify("logrr ~ 1", data, S="logrrvar").measure is None
    assert bm.specify("logrr ~ 1", data, S="logrrvar").arms is None
    both = bm.effects.risk_ratio(data, **CELLS, names=("y2", "v2"), arms=("BCG", "none"))
    assert bm.specify("y ~ 1", both, S="v").measure == "logor"
    assert bm.specify("y ~ 1", both, S="v").arms is None
    assert bm.specify("y2 ~ 1", both, S="v2").arms == ("BCG", "none")
    assert bm.specify("y + y2 ~ 1", both, S=["v", "v2"], S_correlation=0).measure is None


def test_attributes_that_pandas_loses_or_others_wrote_do_no_harm():
    assert bm.specify("y ~ 1", pd.DataFrame(table().to_dict("list")), S="v").measure is None
    for attrs in ({"measure": "temperature"}, {"measure": 3}, {"columns": "y"}, {"columns": {"y": "temperature"}}):
        data = table()
        data.attrs = attrs
        assert bm.specify("y ~ 1", data, S="v").measure is None
    data = BCG.copy()
    data.attrs = {"measure": "logor", "arms": ["vaccine", "control"]}
    spec = bm.specify("logor ~ 1", data, S="logorvar")
    assert (spec.measure, spec.arms) == ("logor", ("vaccine", "control"))


def test_favours_nothing_where_nothing_is_compared():
    with pytest.raises(bm.SpecError, match=r"^arms=\('a', 'b'\) with measure 'mean', which compares nothing"):
        bm.specify("logor ~ 1", BCG, S="logorvar", measure="mean", arms=("a", "b"))
    assert bm.specify("y ~ 1", table(arms=("a", "b")), S="v", measure="mean").arms is None


@pytest.mark.parametrize("arms", ["ab", ("a",), ("a", "a"), ("a", " "), ("a", 1), 3])
def test_arms_are_two_names(arms):
    for call in (lambda: bm.specify("logor ~ 1", BCG, S="logorvar", arms=arms), lambda: table(arms=arms)):
        with pytest.raises(bm.SpecError, match=r"^arms is .*; it must be two names"):
            call()


TEXTS = ["Aronson", "Stein", "Hart", "Coetzee"]
NAMES = {
    "a column of texts": (pd.DataFrame({"group": list("aabb"), "who": TEXTS}), TEXTS),
    "the first of two": (pd.DataFrame({"who": TEXTS, "place": list("wxyz")}), TEXTS),
    "categories": (pd.DataFrame({"who": pd.Categorical(TEXTS)}), TEXTS),
    "an index of texts": (pd.DataFrame({"place": list("wxyz")}, index=TEXTS), TEXTS),
    "a named index": (pd.DataFrame(index=pd.Index([4, 5, 6, 7], name="trial")), [f"trial {i}" for i in (4, 5, 6, 7)]),
    "authors and years": (
        pd.DataFrame({"who": ["Hart", "Hart", "Stein", "Coe"], "year": [1948, 1950, 1950, 1951]}),
        ["Hart (1948)", "Hart (1950)", "Stein (1950)", "Coe (1951)"],
    ),
    "numbers only": (pd.DataFrame({"trial": [4, 5, 6, 7]}), None),
    "texts that recur": (pd.DataFrame({"who": ["Hart", "Hart", "Stein", "Coe"]}), None),
    "categories with years": (pd.DataFrame({"alloc": list("aabb"), "year": [1948, 1950, 1948, 1950]}), None),
    "numbers as text": (pd.DataFrame({"id": list("1234")}), None),
    "a text that is missing": (pd.DataFrame({"who": ["Hart", None, "Stein", "Coe"]}), None),
}


@pytest.mark.parametrize("case", NAMES)
def test_names_of_rows_come_from_what_identifies_them(case):
    data, names = NAMES[case]
    spec = bm.specify("y ~ 1", data.assign(y=[1.0, 2.0, 4.0, np.nan], v=1.0), S="v")
    assert spec.labels == (None if names is None else tuple(names))
    tree = bm.fit(spec)
    assert bm.Spec.from_tree(tree).labels == spec.labels
    expected = names or [f"row {label}" for label in spec.row_labels]
    assert list(row_labels(tree)) == expected
    if names:
        assert bm.ranef(tree)["unit"]["group_unit"].values.tolist() == names[:3]
        assert bm.predict(tree)["name"].values.tolist() == names
        assert f"1 of 4 rows dropped: missing y ({names[3]})" in str(bm.summary(tree))


def test_the_names_that_the_user_gives_come_first(tmp_path: Path):
    data = pd.DataFrame({"who": TEXTS, "id": [1, 2, 3, 4], "y": [1.0, 2.0, 4.0, 4.0], "v": 1.0})
    assert bm.specify("y ~ 1", data, S="v", labels="id").labels == ("id 1", "id 2", "id 3", "id 4")
    for labels in (list("wxyz"), np.array(list("wxyz")), pd.Series(list("wxyz")), pd.Index(list("wxyz"))):
        assert bm.specify("y ~ 1", data, S="v", labels=labels).labels == ("w", "x", "y", "z")
    assert bm.specify("y ~ 1", pl.from_pandas(data), S="v", labels="who").labels == tuple(TEXTS)
    spec = bm.specify("y ~ 1", data, S="v", labels="id", arms=("drug", "sham"))
    bm.save(bm.fit(spec), tmp_path / "fit.nc")
    stored = bm.Spec.from_tree(bm.load(tmp_path / "fit.nc"))
    assert (stored.labels, stored.arms) == (spec.labels, spec.arms)


def test_labels_that_recur_are_numbered_with_a_warning_unless_they_are_groups():
    with pytest.warns(bm.AssumptionWarning, match=r"^labels: 'Rosenthal et al' names 2 rows \(2, 9\), which are told"):
        spec = bm.specify("logor ~ 1", BCG, S="logorvar", labels="author")
    assert spec.labels is not None
    assert (spec.labels[2], spec.labels[9]) == ("Rosenthal et al (1)", "Rosenthal et al (2)")
    school = bm.datasets.load("school")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study", labels="district")
    assert spec.labels is not None
    assert spec.labels[:2] == ("district 11 (1)", "district 11 (2)")


@given(st.lists(st.sampled_from(["a", "a (1)", "a (2)", "b", "", None, " "]), min_size=3, max_size=9))
def test_every_row_has_a_name_of_its_own(labels):
    data = pd.DataFrame({"y": np.arange(len(labels), dtype=float), "v": 1.0})
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = bm.specify("y ~ 1", data, S="v", labels=labels)
    assert spec.labels is not None
    assert len(set(spec.labels)) == len(labels)
    missing = [row for row, text in enumerate(labels) if not (text or "").strip()]
    present = [text for text in labels if (text or "").strip()]
    sentences = " ".join(str(each.message) for each in caught)
    assert ("labels: none in row" in sentences) == bool(missing)
    assert ("which are told apart" in sentences) == (len(set(present)) < len(present))
    for row in missing:
        assert spec.labels[row] == f"row {row}"
    for row, text in enumerate(labels):
        if row not in missing:
            assert spec.labels[row].startswith(text)


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ("autor", bm.SpecError, "^labels: the data have no column 'autor'; did you mean 'author'"),
        (["a"], bm.DataError, "^labels has 1 values, but the data have 13 rows"),
        (3, bm.SpecError, "^labels is 3; it must be the name of a column"),
        ([[1]] * 13, bm.DataError, r"^labels: row 0 holds \[1\]"),
        (pd.Series(["a"] * 13, index=range(1, 14)), bm.DataError, "^labels is a pandas object whose index is not"),
    ],
)
def test_what_cannot_name_the_rows_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        bm.specify("logor ~ 1", BCG, S="logorvar", labels=labels)


def test_a_model_file_names_rows_and_arms(tmp_path: Path):
    pd.DataFrame({"id": ["01", "02", "03"], "y": [1.0, 2.0, 4.0], "v": 1.0}).to_csv(tmp_path / "d.csv", index=False)
    model = (
        'title = "t"\ndata = "d.csv"\n[model.m]\nformula = "y ~ 1"\nS = "v"\nlabels = "id"\narms = ["drug", "sham"]\n'
    )
    (tmp_path / "m.toml").write_text(model)
    spec = bm.load_analysis(tmp_path / "m.toml").models["m"].spec
    assert (spec.labels, spec.arms) == (("id 01", "id 02", "id 03"), ("drug", "sham"))
    (tmp_path / "m.toml").write_text(model.replace('labels = "id"', "labels = 3"))
    with pytest.raises(bm.SpecError, match=r"labels is 3"):
        bm.load_analysis(tmp_path / "m.toml")


def test_rows_within_groups_go_by_their_groups():
    school = bm.datasets.load("school")
    spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study")
    assert spec.labels is None
    assert row_labels(spec)[0] == "study 1"
    within = school.assign(study=school.groupby("district").cumcount() + 1)
    assert (
        row_labels(bm.specify("effect ~ 1", within, S="var", random="1 | district/study"))[0] == "district 11, study 1"
    )


def test_names_in_a_tree_that_was_edited_are_noticed():
    tree = bm.fit(bm.specify("PD ~ 1", bm.datasets.load("berkey98"), S="var_PD"))
    tree["data"]["row_name"].values[0] = "Somebody else"
    with pytest.raises(bm.SpecError, match="row_name"):
        bm.Spec.from_tree(tree)


def test_a_column_that_is_called_as_the_level_of_rows_names_nothing():
    data = pd.DataFrame({"unit": [7, 8, 9], "y": [1.0, 2.0, 4.0], "v": 1.0})
    assert row_labels(bm.specify("y ~ unit", data, S="v")) == ("row 0", "row 1", "row 2")
