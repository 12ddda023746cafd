"""Formulas: what they mean, what they refuse, and that a design depends on nothing but its rows."""

import io
import json
import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Terms, parse
from bayesmeta.formula.safety import ELEMENTWISE, FUNCTIONS, split
from bayesmeta.io.columns import label
from bayesmeta.model.observations import nested


def frame() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "y": [0.1, 0.2, np.nan, 0.4, 0.5, 0.6],
            "PD": [0.5, 0.2, 0.4, np.nan, 0.3, 0.1],
            "AL": [-0.3, -0.6, -0.1, -0.3, np.nan, -0.2],
            "year": [1983, 1982, 1979, 1987, 1988, 1980],
            "dose": [0.0, 2.5, 10.0, 12.5, 25.0, 40.0],
            "alloc": ["random", "alternate", "random", "systematic", "alternate", "random"],
            "time": [6, 12, 18, 6, 12, 18],
            "district": [11, 11, 12, 12, 18, 18],
            "study": [1, 2, 1, 2, 1, 2],
            "n at risk": [10, 20, 30, 40, 50, 60],
            "log.or": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        },
        index=[3, 1, 4, 15, 9, 2],
    )


def model(fixed="y ~ 1", data=None, **terms):
    data = frame() if data is None else data
    parsed = parse(Terms(fixed, **terms), data.columns)
    kept = np.array([reason == "" for reason in parsed.missing(data)])
    return parsed, Design(parsed, data[kept])


def columns(fixed, data=None, **terms) -> dict[str, list[float]]:
    """Coefficients of a model of one outcome with their columns of X."""
    data = frame() if data is None else data
    _, design = model(fixed, data, **terms)
    return dict(zip(design.coef, design.fixed(data)[:, 0].T, strict=True))


# outcomes


@pytest.mark.parametrize(
    ("fixed", "outcomes"),
    [
        ("y ~ 1", ("y",)),
        ("PD + AL ~ year", ("PD", "AL")),
        ("cbind(PD, AL) ~ year", ("PD", "AL")),
        ("cbind( PD ,AL, y ) ~ 1", ("PD", "AL", "y")),
        ("log(y) ~ 1", ("log(y)",)),
        ("I(AL - PD) + y ~ 1", ("I(AL - PD)", "y")),
        ("log.or ~ 1", ("log.or",)),
        ("`n at risk` + log(`n at risk`) ~ 1", ("n at risk", "log(n at risk)")),
        ({"PD": "1 + year", "AL": "1"}, ("PD", "AL")),
    ],
)
def test_outcomes_are_labelled_as_written(fixed, outcomes):
    assert model(fixed)[0].outcomes == outcomes


def test_response_keeps_missing_outcomes():
    parsed, _ = model("cbind(PD, AL, log(y)) ~ 1")
    data = frame()
    assert_array_equal(parsed.response(data), data[["PD", "AL", "y"]].assign(y=np.log(data.y)))


@pytest.mark.parametrize(
    "fixed", ["y", "~ year", "y ~", " ~ ", "y ~ 1 ~ 1", "", "y + ~ 1", "cbind() ~ 1", 3, None, {}, ["y ~ 1"]]
)
def test_a_formula_has_two_sides(fixed):
    with pytest.raises(SpecError):
        model(fixed)


def test_one_outcome_twice_is_refused():
    with pytest.raises(SpecError, match="outcome 'PD' occurs twice"):
        model("PD + PD ~ 1")
    with pytest.raises(SpecError, match="'PD' is an outcome and also a predictor"):
        model("PD ~ year + PD")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"y": ["a", "b", None, "c", "d", "e"]}, "column 'y' is not numeric: row 3 holds 'a'"),
        ({"y": [1, 2, np.inf, 4, -np.inf, 6]}, "column 'y' is infinite in rows 4, 9"),
    ],
)
def test_outcomes_are_finite_numbers(change, message):
    data = frame().assign(**change)
    with pytest.raises(DataError, match=message):
        parse(Terms("y ~ 1"), data.columns).response(data)


def test_an_undefined_outcome_is_not_a_missing_one():
    with pytest.raises(DataError, match=r"log\(AL\) is not a finite number in rows 3, 1, 4, 15, 2"):
        model("log(AL) ~ 1")[0].response(frame())


# fixed part


def test_predictors_are_outermost_and_outcomes_fastest():
    _, design = model("PD + AL ~ year")
    assert design.coef == ("PD.Intercept", "AL.Intercept", "PD.year", "AL.year")
    X = design.fixed(frame())
    assert X.dtype == np.float64
    assert_array_equal(X[1], [[1, 0, 1982, 0], [0, 1, 0, 1982]])


def test_predictors_may_differ_by_outcome():
    _, design = model({"PD": "1 + year", "AL": "dose", "y": "0 + year"})
    assert design.coef == ("PD.Intercept", "AL.Intercept", "PD.year", "y.year", "AL.dose")
    assert_array_equal(design.fixed(frame())[1], [[1, 0, 1982, 0, 0], [0, 1, 0, 0, 2.5], [0, 0, 0, 1982, 0]])


def test_common_predictors_have_one_coefficient_and_no_intercept():
    _, design = model("PD + AL ~ 1", common="year + alloc")
    assert design.coef == ("PD.Intercept", "AL.Intercept", "year", "alloc[T.random]", "alloc[T.systematic]")
    assert_array_equal(design.fixed(frame())[0], [[1, 0, 1983, 1, 0], [0, 1, 1983, 1, 0]])
    assert model("PD + AL ~ 0 + year", common="1")[1].coef == ("PD.year", "AL.year", "Intercept")
    assert model("PD + AL ~ 0 + year", common="0 + alloc")[1].coef[2:] == (
        "alloc[alternate]",
        "alloc[random]",
        "alloc[systematic]",
    )


def test_common_may_not_repeat_a_coefficient():
    with pytest.raises(SpecError, match="coefficient 'year' arises twice"):
        model("y ~ year", common="year")


@pytest.mark.parametrize(
    ("right", "coef"),
    [
        ("1", ("Intercept",)),
        ("year", ("Intercept", "year")),
        ("0 + year", ("year",)),
        ("-1 + year", ("year",)),
        ("alloc", ("Intercept", "alloc[T.random]", "alloc[T.systematic]")),
        ("0 + alloc", ("alloc[alternate]", "alloc[random]", "alloc[systematic]")),
        ("C(time)", ("Intercept", "C(time)[T.12]", "C(time)[T.18]")),
        ("0 + C(time)", ("C(time)[6]", "C(time)[12]", "C(time)[18]")),
        ("C(time, Treatment(12))", ("Intercept", "C(time, Treatment(12))[T.6]", "C(time, Treatment(12))[T.18]")),
        ("dose*year", ("Intercept", "dose", "year", "dose:year")),
        ("dose:year", ("Intercept", "dose:year")),
        ("(dose + year)**2", ("Intercept", "dose", "year", "dose:year")),
        ("dose + I(dose**2)", ("Intercept", "dose", "I(dose ** 2)")),
        ("`n at risk`:log(`n at risk`)", ("Intercept", "n at risk:log(n at risk)")),
        ("log.or", ("Intercept", "log.or")),
        ("poly(dose, 2)", ("Intercept", "poly(dose, 2)[1]", "poly(dose, 2)[2]")),
        ("ns(dose, knots=[10, 25])", ("Intercept", *(f"ns(dose, knots=[10, 25])[{j}]" for j in (1, 2, 3)))),
        ("~ year", ("Intercept", "year")),
    ],
)
def test_coefficients(right, coef):
    assert model({"y": right})[1].coef == coef
    if not right.startswith("~"):
        assert model(f"y ~ {right}")[1].coef == coef


def test_values_of_factors_and_interactions():
    data = frame()
    found = columns("y ~ alloc*dose + yC:acd", data.assign(yC=[1, 0, 1, 0, 1, 0], acd=[1, 1, 0, 0, 1, 1]))
    assert_array_equal(found["alloc[T.random]"], [1, 0, 1, 0, 0, 1])
    assert_array_equal(found["alloc[T.random]:dose"], [0, 0, 10, 0, 0, 40])
    assert_array_equal(found["yC:acd"], [1, 0, 0, 0, 1, 0])


@pytest.mark.parametrize("name", [name for name in ELEMENTWISE if name != "I"])
def test_elementwise_functions(name):
    label_, values = list(columns(f"y ~ {name}(year - 1900)").items())[1]
    assert label_ == f"{name}(year - 1900)"
    np.testing.assert_allclose(values, getattr(np, name)(frame()["year"] - 1900.0), rtol=1e-15)


def test_arithmetic_is_done_in_floats():
    data = frame().assign(big=[10**4, 2, 3, 4, 5, 6])
    found = columns("y ~ I(big**10) + I(big**-1) + I(1/time) + I((-time + 2.5)*3 // 2 % 7)", data)
    assert_array_equal(found["I(big ** 10)"], data.big.astype(float) ** 10)
    assert_array_equal(found["I(big ** (-1))"], 1 / data.big)
    assert_array_equal(found["I(1 / time)"], 1 / data.time)


def test_integer_designs_are_floats():
    _, design = model("y ~ 0 + C(time)", random="0 + C(time) | study")
    assert design.fixed(frame()).dtype == np.float64
    assert design.random("study", frame()).dtype == np.float64


@pytest.mark.parametrize("right", ["dose**2", "dose + dose**2", "dose^2", "(dose)**2", "log(dose + 1)**2"])
def test_a_power_outside_of_brackets_is_not_what_it_seems(right):
    with pytest.raises(SpecError, match=r"write I\("):
        model(f"y ~ {right}")


@pytest.mark.parametrize(
    "right",
    ["(dose + year)**1", "(dose + year)**6", "(dose + year)**99999", "(dose + year)**year", "(dose + year)**2.5"],
)
def test_exponents_of_brackets(right):
    with pytest.raises(SpecError):
        model(f"y ~ {right}")


def test_nothing_to_estimate():
    with pytest.raises(SpecError, match="no coefficients"):
        model("y ~ 0")


def test_centre_scale_and_spline_remember_the_rows_kept():
    data = frame().assign(dose=[0, 2.5, 10, 12.5, 25, np.nan])
    _, design = model("y ~ center(dose) + scale(year) + ns(dose, df=2) + poly(year, 2)", data)
    X = design.fixed(data)
    kept = data.iloc[:5]
    np.testing.assert_allclose(X[:5, 0, 1], kept.dose - 10, atol=1e-14)
    np.testing.assert_allclose(X[:5, 0, 2], (kept.year - kept.year.mean()) / kept.year.std(), atol=1e-13)
    assert np.isnan(X[5]).all()
    new = pd.DataFrame({"dose": [10.0, 100.0], "year": [1982, 2000]})
    assert_array_equal(design.fixed(new.iloc[:1])[:, :, 1], [[0]])
    assert_array_equal(design.fixed(new)[0], design.fixed(new.iloc[:1])[0])


# offset


def test_offsets_add_up():
    data = frame()
    _, design = model("y ~ year + offset(log(`n at risk`)) + offset(dose)", offset="time")
    np.testing.assert_allclose(design.offset(data), np.log(data["n at risk"]) + data.dose + data.time, rtol=1e-15)
    assert design.coef == ("Intercept", "year")
    assert model("y ~ offset(dose)")[1].coef == ("Intercept",)
    assert_array_equal(model("y ~ year")[1].offset(data), np.zeros(6))


def test_offset_makes_a_row_unusable():
    data = frame().assign(dose=[0, 1, 2, 3, np.nan, 5])
    parsed, design = model("y ~ 1", data, offset="dose")
    assert parsed.missing(data) == [""] * 4 + ["missing dose", ""]
    assert_array_equal(design.offset(data), data.dose)


@pytest.mark.parametrize(
    "fixed", [{"y": "1 + offset(dose)"}, "y ~ year*offset(dose)", "y ~ year - offset(dose)", "y ~ offset(ns(dose))"]
)
def test_offset_stands_alone(fixed):
    with pytest.raises(SpecError):
        model(fixed)


@pytest.mark.parametrize("offset", ["log(dose)", "dosis", "", 3])
def test_offset_argument_is_a_column(offset):
    with pytest.raises(SpecError, match="offset"):
        model("y ~ 1", offset=offset)


# random part


@pytest.mark.parametrize(
    ("random", "levels"),
    [
        (None, {"unit": ("Intercept",)}),
        ("1 | district", {"district": ("Intercept",)}),
        ("~ 1 | district/study", {"district": ("Intercept",), "study": ("Intercept",)}),
        ("year | district/study", {"district": ("Intercept", "year"), "study": ("Intercept", "year")}),
        ("I(time - 15) | study", {"study": ("Intercept", "I(time - 15)")}),
        ("0 + C(time) | study", {"study": ("C(time)[6]", "C(time)[12]", "C(time)[18]")}),
        ("0 | study", {"study": ()}),
        ({"district": "1", "study": "1 + year"}, {"district": ("Intercept",), "study": ("Intercept", "year")}),
        (["1 | district", "0 + year | study"], {"district": ("Intercept",), "study": ("year",)}),
        (
            ("1 | time", "1 | district / study"),
            {"time": ("Intercept",), "district": ("Intercept",), "study": ("Intercept",)},
        ),
        ("1 | `n at risk`", {"n at risk": ("Intercept",)}),
    ],
)
def test_levels_and_effects(random, levels):
    parsed, design = model("y ~ 1", random=random)
    assert parsed.levels == tuple(levels)
    assert {level: design.effects(level) for level in parsed.levels} == levels
    for level, effects in levels.items():
        assert design.random(level, frame()).shape == (6, 1, len(effects))


def test_effects_of_several_outcomes():
    _, design = model("PD + AL ~ 1", random={"district": "1", "study": "1 + year"})
    assert design.effects("district") == ("PD", "AL")
    assert design.effects("study") == ("PD.Intercept", "AL.Intercept", "PD.year", "AL.year")
    assert_array_equal(design.random("district", frame()), np.broadcast_to(np.eye(2), (6, 2, 2)))
    assert_array_equal(design.random("study", frame())[1], [[1, 0, 1982, 0], [0, 1, 0, 1982]])
    assert model("PD + AL ~ 1", random="0 + year | study")[1].effects("study") == ("PD.year", "AL.year")
    unit = model("PD + AL + y ~ 1")[1]
    assert unit.effects("unit") == ("PD", "AL", "y")
    assert_array_equal(unit.random("unit", frame()), np.broadcast_to(np.eye(3), (6, 3, 3)))


def paths(design, data):
    """Per level the label path of every row."""
    levels = nested([data[column] for column in design.parsed.group_columns])
    return [[level.labels[code] for code in level.codes] for level in levels]


def test_groups_without_random_effects():
    parsed, design = model("PD + AL ~ 1", groups="district")
    assert parsed.levels == ("district",)
    assert design.effects("district") == ()
    assert design.random("district", frame()).shape == (6, 2, 0)
    assert paths(design, frame())[0][2] == ("12",)


def test_group_labels_are_paths_outer_to_inner():
    _, design = model("y ~ 1", random="1 | district/study")
    assert paths(design, frame()) == [
        [("11",), ("11",), ("12",), ("12",), ("18",), ("18",)],
        [("11", "1"), ("11", "2"), ("12", "1"), ("12", "2"), ("18", "1"), ("18", "2")],
    ]


def test_labels_that_differ_only_in_type_are_the_same():
    assert label(7) == label(7.0) == label(np.float64(7)) == label("7") == label(np.int64(7)) == "7"
    assert (label(7.25), label("7.0"), label(True), label("a/b")) == ("7.25", "7.0", "True", "a/b")
    _, design = model("y ~ 1", random="1 | g", data=frame().assign(g=[1, "1", 1.0, "a|b", "2", 2]))
    assert [g for (g,) in paths(design, frame().assign(g=[1, "1", 1.0, "a|b", "2", 2]))[0]] == [
        "1",
        "1",
        "1",
        "a|b",
        "2",
        "2",
    ]


def test_a_missing_group_is_a_reason():
    data = frame().assign(district=[11, np.nan, 12, 12, 18, 18])
    parsed, design = model("y ~ 1", data, random="1 | district/study")
    assert parsed.missing(data) == ["", "missing group district", "", "", "", ""]
    assert paths(design, data.drop(index=1))[0] == [(g,) for g in ("11", "12", "12", "18", "18")]


def test_a_level_may_be_named_with_those_around_it():
    columns = ["y", "x", "a", "b", "c"]
    parsed = parse(Terms("y ~ 1", random={"a": "1", "a/b": "1 + x", "a/b/c": "1"}), columns)
    assert parsed.levels == parsed.group_columns == ("a", "b", "c")
    assert parsed.nested == (False, True, True)
    assert parse(Terms("y ~ 1", random=("1 | a", "x | b/c")), columns).nested == (False, False, True)
    for random in ({"a/b": "1"}, {"a": "1", "c/b": "1"}, {"a": "1", "b": "1", "b/c": "1"}):
        with pytest.raises(SpecError, match="which is not what stands before it\n  the levels before it: "):
            parse(Terms("y ~ 1", random=random), columns)


@pytest.mark.parametrize(
    ("random", "message"),
    [
        (
            "1 | district:study",
            "'district:study' is not a plain column\n  levels are nested anyway: write district/study",
        ),
        ("1 | interaction(district, study)", "is not a plain column\n  make it a column of the data first"),
        ("1 | factor(district)", "'factor\\(district\\)' is not a plain column"),
        ("1 | distric", "no column 'distric'; did you mean 'district'"),
        ("1 | district/", "random is ''"),
        ("1", r"must be predictors \| grouping column"),
        ("1 || district", "psi='diag'"),
        ("(1 | district) + (1 | study)", "without brackets"),
        ("(1 | district)", "without brackets"),
        ("1 | district | study", r"must be predictors \| grouping column"),
        (" | district", "has no predictors|is ''"),
        ("1 | district/district", "level 'district' occurs twice"),
        (["1 | district", "1 | district/study"], "level 'district' occurs twice"),
        ({"district": "1 | study"}, r"must hold predictors only"),
        ({"district:study": "1"}, "is not a plain column"),
        ({"district": 1}, "level 'district' is 1"),
        ("", "random is ''"),
        ([], "random is empty"),
        ({}, "random is empty"),
        (["1"], r"must be predictors \| grouping column"),
        ([1], "random is 1"),
        (1, "random is a int"),
        ("yeer | district", "no column 'yeer'; did you mean 'year'"),
    ],
)
def test_random_parts_that_are_refused(random, message):
    with pytest.raises(SpecError, match=message):
        model("y ~ 1", random=random)


def test_an_outcome_may_not_have_the_name_of_all_outcomes():
    with pytest.raises(SpecError, match="outcome 'overall' has the name"):
        parse(Terms("overall + AL ~ 1"), ["overall", "AL"])


@pytest.mark.parametrize("other", ["study_se", "study_index", "study_bis"])
def test_levels_that_would_share_a_name_in_the_results_are_refused(other):
    for random in (f"1 | study/{other}", f"1 | {other}/study"):
        with pytest.raises(SpecError, match=f"levels 'study' and '{other}' would share a name"):
            parse(Terms("y ~ 1", random=random), ["y", "study", other])
    with pytest.raises(SpecError, match="level 'a/b' has a slash in its name"):
        parse(Terms("y ~ 1", random={"a/b": "1"}), ["y", "a/b"])


@pytest.mark.parametrize("groups", ["district:study", "factor(district)", "distric", "", 1])
def test_groups_is_a_plain_column(groups):
    with pytest.raises(SpecError, match="groups"):
        model("y ~ 1", groups=groups)


def test_groups_and_random_exclude_each_other():
    with pytest.raises(SpecError, match="both random and groups"):
        model("y ~ 1", random="1 | district", groups="study")


# columns and reasons


def test_columns_in_a_stable_order():
    parsed, _ = model(
        "PD + log(AL) ~ ns(dose) + C(time)",
        data=frame().assign(AL=1.0),
        random={"district": "1", "study": "year"},
        common="alloc",
        offset="n at risk",
    )
    assert parsed.columns == ("PD", "AL", "dose", "time", "alloc", "year", "n at risk", "district", "study")


def test_reasons_name_every_missing_column():
    data = frame().assign(
        dose=[np.nan, 1, 2, 3, 4, 5],
        alloc=[None, "a", "b", "a", "b", pd.NA],
        study=[None, 2, None, 2, 1, 2],
        time=np.nan,
    )
    parsed = parse(Terms("y ~ dose + alloc", random="dose | district/study"), data.columns)
    assert parsed.missing(data) == [
        "missing dose; missing alloc; missing group study",
        "",
        "missing group study",
        "",
        "",
        "missing alloc",
    ]


def test_unknown_columns_are_named_with_the_closest():
    for fixed, terms in (
        ("y ~ yeer", {}),
        ("y ~ log(yeer)", {}),
        ({"y": "yeer"}, {}),
        ("yeer ~ 1", {}),
        ("y ~ offset(yeer)", {}),
        ("y ~ 1", {"common": "yeer"}),
        ("y ~ `yeer`", {}),
    ):
        with pytest.raises(SpecError, match=r"no column 'yeer'; did you mean 'year'\?\n  columns: y, PD"):
            model(fixed, **terms)


def test_columns_named_as_functions():
    data = frame().assign(log=1.0, C=[1, 2, 3, 4, 5, 6], I=2.0)
    assert_array_equal(columns("y ~ C + dose", data)["C"], data.C)
    with pytest.raises(SpecError, match="'C' is both a column and a function"):
        model("y ~ C(time) + C", data)
    assert model("y ~ C(time)", data)[1].coef[1] == "C(time)[T.12]"
    with pytest.raises(SpecError, match=r"no column 'sqrt'; the function is written sqrt\(\.\.\.\)"):
        model("y ~ sqrt", data)


def test_a_column_that_occurs_twice_is_refused_where_used():
    data = pd.concat([frame(), frame()[["dose"]]], axis=1)
    with pytest.raises(SpecError, match="several columns named 'dose'"):
        parse(Terms("y ~ dose"), data.columns)
    assert model("y ~ year", data)[1].coef == ("Intercept", "year")


def test_backticks_hold_column_names_alone():
    data = frame().assign(**{"a": 1.0, "a b": [1, 2, 3, 4, 5, 6], "a b c": [6, 5, 4, 3, 2, 1]})
    found = columns("y ~ I(`a b c` - `a b`) + `a b`:`a b c` + `a`", data)
    assert list(found) == ["Intercept", "I(a b c - a b)", "a", "a b:a b c"]
    assert_array_equal(found["I(a b c - a b)"], data["a b c"] - data["a b"])


# data that cannot serve


@pytest.mark.parametrize(
    ("right", "change", "message"),
    [
        ("dose", {"dose": [0, 1, np.inf, 3, -np.inf, 5]}, "column 'dose' is infinite in rows 4, 9"),
        ("log(year)", {"year": [1, 2, "3", 4, 5, 6]}, "column 'year' is not numeric: row 4 holds '3'"),
        ("year", {"year": [1, 2, "n/a", 4, 5, 6]}, "column 'year' mixes text and numbers: 'n/a' in row 4"),
        ("I(alloc)", {}, "column 'alloc' is not numeric: row 3 holds 'random'"),
        ("ns(alloc)", {}, "column 'alloc' is not numeric"),
        ("year", {"year": pd.to_datetime(["2020-01-01"] * 6)}, "column 'year' is not numeric"),
        ("year", {"year": [1j] * 6}, "column 'year' is not numeric"),
        ("log(dose - 5)", {}, r"log\(dose - 5\) is not a finite number in rows 3, 1"),
        ("log(dose)", {}, r"log\(dose\) is not a finite number in row 3"),
        ("I(1/dose)", {}, r"I\(1 / dose\) is not a finite number in row 3"),
        ("ns(log(dose - 5), df=2)", {}, r"ns\(log\(dose - 5\), df=2\)\[1\] is not a finite number in rows 3, 1"),
        ("C(log(dose - 5))", {}, "is undefined"),
        ("log(`n at risk` - 30)", {}, r"log\(n at risk - 30\) is not a finite number in rows 3, 1, 4"),
        ("alloc", {"alloc": "random"}, "'alloc' has no coefficient: a single category"),
        ("C(time)", {"time": 6}, r"'C\(time\)' has no coefficient"),
        ("C(alloc, levels=['random', 'alternate'])", {}, "column 'alloc' holds 'systematic'"),
        ("ns(dose)", {"dose": 1.0}, "at least two different values"),
        ("scale(dose)", {"dose": 1.0}, r"scale\(dose\) is not a finite number"),
    ],
)
def test_columns_that_cannot_serve(right, change, message):
    data = frame().assign(**change)
    with pytest.raises(DataError, match=message):
        model(f"y ~ {right}", data)[1].fixed(data)


@pytest.mark.parametrize(
    ("right", "message"),
    [
        ("ns(dose, degree=2)", "degree"),
        ("ns(dose, df=0)", "df is 0"),
        ("ns()", "uses no column"),
        ("ns(df=dose)", "cannot be evaluated"),
        ("poly(dose, -1)", "degree is -1; it must be a whole number"),
        ("poly(dose, 1000000)", "degree is 1000000; it must be a whole number"),
        ("C(alloc, Treatment('randum'))", "randum"),
        ("I(1/0*dose)", "division by zero"),
    ],
)
def test_arguments_that_cannot_serve(right, message):
    with pytest.raises(SpecError, match=message):
        model(f"y ~ {right}")[1].fixed(frame())


def test_a_missing_predictor_gives_a_row_of_nan():
    data = frame().assign(year=[1983, np.nan, 1979, 1987, 1988, 1980])
    _, design = model({"PD": "year", "AL": "1"}, data, random="year | study", common="dose")
    X = design.fixed(data)
    assert np.isnan(X[1, 0]).all()
    assert_array_equal(X[1, 1], [0, 1, 0, 2.5])
    assert not np.isnan(np.delete(X, 1, axis=0)).any()
    assert np.isnan(design.random("study", data)[1]).all()


def test_a_missing_category_is_not_the_reference():
    data = frame().assign(alloc=["random", None, "random", "systematic", "alternate", "alternate"])
    found = columns("y ~ alloc + C(alloc, Treatment('random'))", data)
    assert all(np.isnan(values[1]) for values in found.values())
    assert_array_equal(np.delete(found["alloc[T.random]"], 1), [1, 1, 0, 0, 0])


def test_an_unseen_category_is_an_error():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for right in ("alloc", "C(alloc)", "0 + alloc:dose", "alloc*dose"):
            _, design = model(f"y ~ {right}", random=f"{right} | study")
            new = frame().assign(alloc=["random", "lottery", "coin", "random", "random", None])
            for build in (design.fixed, lambda rows, d=design: d.random("study", rows)):
                message = (
                    r"column 'alloc' holds 'coin', 'lottery', which .*\n  known categories: alternate, random, syst"
                )
                with pytest.raises(DataError, match=message):
                    build(new)
        _, design = model("y ~ C(time)")
        with pytest.raises(DataError, match=r"column 'time' holds '24', which .*\n  known categories: 6, 12, 18"):
            design.fixed(frame().assign(time=[6, 6, 24, 12, 18, 18]))


def test_numbers_where_the_model_knows_categories_and_the_reverse():
    _, design = model("y ~ alloc + dose")
    with pytest.raises(DataError, match="column 'alloc' holds '1'"):
        design.fixed(frame().assign(alloc=1))
    with pytest.raises(DataError, match="column 'dose' is not numeric"):
        design.fixed(frame().assign(dose="low"))


def test_new_data_need_the_predictors_and_not_the_outcomes():
    _, design = model("PD + AL ~ year", random="dose | study")
    assert design.fixed(pd.DataFrame({"year": [1990]})).shape == (1, 2, 4)
    with pytest.raises(DataError, match="the data have no column 'year'; did you mean 'years'"):
        design.fixed(pd.DataFrame({"years": [1990]}))


def test_no_rows_and_rows_without_a_value():
    _, design = model("y ~ alloc + ns(dose, df=2)")
    assert design.fixed(frame().iloc[:0]).shape == (0, 1, 5)
    assert np.isnan(design.fixed(frame().assign(dose=np.nan))).all()
    assert np.isnan(design.fixed(frame().assign(alloc=None))).all()


# kinds of columns


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x.astype(object),
        lambda x: x.astype("string"),
        lambda x: x.astype("category"),
        lambda x: x.astype(pd.CategoricalDtype(["alternate", "lottery", "random", "systematic"])),
        lambda x: x.astype(pd.CategoricalDtype(["alternate", "random", "systematic"], ordered=True)),
    ],
)
def test_text_of_every_dtype_gives_the_same_design(same):
    data = frame()
    expected = columns("y ~ alloc*dose + C(alloc):year", data)
    found = columns("y ~ alloc*dose + C(alloc):year", data.assign(alloc=same(data.alloc)))
    assert list(found) == list(expected)
    assert_array_equal(list(found.values()), list(expected.values()))


@pytest.mark.parametrize(
    "same",
    [
        lambda x: x.astype(float),
        lambda x: x.astype("Int64"),
        lambda x: x.astype(object),
        lambda x: x.astype("category"),
    ],
)
def test_numbers_of_every_dtype_give_the_same_categories(same):
    data = frame()
    expected = columns("y ~ 0 + C(time)", data)
    found = columns("y ~ 0 + C(time)", data.assign(time=same(data.time)))
    assert list(found) == ["C(time)[6]", "C(time)[12]", "C(time)[18]"]
    assert_array_equal(list(found.values()), list(expected.values()))


def test_booleans_and_nullable_numbers_are_numbers():
    flag = [True, False, True, True, False, False]
    for values in (flag, pd.array(flag, dtype="boolean"), np.array(flag, dtype=object)):
        assert_array_equal(columns("y ~ flag", frame().assign(flag=values))["flag"], np.array(flag, dtype=float))
    data = frame().assign(dose=pd.array([1, None, 3, 4, 5, 6], dtype="Int64"))
    assert_array_equal(columns("y ~ I(dose**2)", data)["I(dose ** 2)"], [1, np.nan, 9, 16, 25, 36])


def test_categories_with_an_order_keep_it_and_unused_ones_go():
    size = pd.Categorical(
        ["low", "high", "mid", "low", None, "high"], categories=["none", "low", "mid", "high"], ordered=True
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(columns("y ~ size", frame().assign(size=size))) == ["Intercept", "size[T.mid]", "size[T.high]"]
        assert list(columns("y ~ C(size)", frame().assign(size=size)))[1:] == ["C(size)[T.mid]", "C(size)[T.high]"]
    cut = pd.cut(frame().dose, [-1, 5, 15, 50])
    assert list(columns("y ~ band", frame().assign(band=cut))) == ["Intercept", "band[T.(5, 15]]", "band[T.(15, 50]]"]


def test_categories_come_from_the_rows_kept():
    data = frame().assign(
        alloc=["alternate", "random", "lottery", "random", "systematic", "random"], dose=[1, 2, np.nan, 4, 5, 6]
    )
    _, design = model("y ~ alloc + dose", data)
    assert design.coef == ("Intercept", "alloc[T.random]", "alloc[T.systematic]", "dose")
    with pytest.raises(DataError, match="column 'alloc' holds 'lottery'"):
        design.fixed(data.assign(dose=1.0))
    assert np.isnan(design.fixed(data)[2]).all()


def test_levels_argument_sets_the_order():
    found = columns("y ~ C(alloc, levels=['systematic', 'random', 'alternate', 'lottery'])")
    assert [name.split("[")[-1] for name in found][1:] == ["T.random]", "T.alternate]"]


# a design depends on nothing but its rows

EVERYTHING = (
    "PD + AL ~ alloc*dose + C(time) + ns(dose, df=3) + ns(dose, knots=[5, 20]) + poly(year, 2) + scale(year)"
    " + I(dose**2)"
)


def test_the_same_rows_give_the_same_arrays():
    data = frame()
    one, two = (model(EVERYTHING, random="alloc + ns(dose, df=2) | district/study")[1] for _ in range(2))
    assert one.coef == two.coef
    assert_array_equal(one.fixed(data), two.fixed(data))
    assert_array_equal(one.random("study", data), two.random("study", data))


def test_columns_read_back_from_a_file_give_the_same_arrays():
    data = frame().assign(
        alloc=["random", None, "random", "systematic", "alternate", "random"], district=["a", "b", "c", "a", None, "b"]
    )
    terms = Terms(EVERYTHING, random="alloc + ns(dose, df=2) | district/study", offset="n at risk")
    parsed = parse(terms, data.columns)
    text = io.StringIO(data[list(parsed.columns)].to_csv(index=False))
    again = pd.read_csv(text).astype({"alloc": object, "district": object})
    terms_again = Terms.from_json(json.loads(json.dumps(terms.to_json())))
    assert terms_again == terms
    parsed_again = parse(terms_again, again.columns)
    kept = np.array([r == "" for r in parsed.missing(data)])
    assert [r == "" for r in parsed_again.missing(again)] == kept.tolist()
    one, two = Design(parsed, data[kept]), Design(parsed_again, again[kept])
    assert one.coef == two.coef
    assert_array_equal(one.fixed(data[kept]), two.fixed(again[kept]))
    assert_array_equal(one.random("district", data[kept]), two.random("district", again[kept]))
    assert_array_equal(one.offset(data), two.offset(again))
    assert paths(one, data[kept]) == paths(two, again[kept])


@settings(max_examples=8)
@given(st.permutations(range(6)))
def test_permuted_rows_give_the_permuted_design(order):
    data = frame()
    order = list(order)
    _, one = model(EVERYTHING, random="year | district/study")
    _, two = model(EVERYTHING, data.iloc[order], random="year | district/study")
    assert one.coef == two.coef
    np.testing.assert_allclose(two.fixed(data.iloc[order]), one.fixed(data)[order], rtol=1e-12, atol=1e-12)
    assert_array_equal(one.fixed(data.iloc[order]), one.fixed(data)[order])
    assert_array_equal(two.random("study", data), one.random("study", data))
    assert paths(one, data.iloc[order])[1] == [paths(one, data)[1][i] for i in order]


@settings(max_examples=15)
@given(st.lists(st.integers(0, 5), min_size=1, max_size=9))
def test_any_of_the_rows_as_new_data(rows):
    _, design = model(EVERYTHING, random="ns(dose, df=2) + alloc | study")
    new = frame().iloc[rows].reset_index(drop=True)
    assert_array_equal(design.fixed(new), design.fixed(frame())[rows])
    assert_array_equal(design.random("study", new), design.random("study", frame())[rows])


def test_duplicate_row_labels_do_not_mix_rows_up():
    data = frame().set_axis([0, 0, 0, 1, 1, 1])
    _, design = model("y ~ alloc*dose", data, random="1 | study")
    assert_array_equal(design.fixed(data), model("y ~ alloc*dose")[1].fixed(frame()))


# formulas from other people's files

ATTACKS = [
    "__import__('os').system('touch {canary}')",
    "(__import__('os').system('touch {canary}'))",
    "{{__import__('os').system('touch {canary}')}}",
    "__import__('os').system('touch {canary}')()",
    "().__class__",
    "().__class__.__bases__[0].__subclasses__()",
    "year.__class__",
    "year.__class__()",
    "log.__globals__",
    "log.__globals__['os']",
    "[x for x in [1]]",
    "[x for x in [open('{canary}', 'w')]]",
    "sum(x for x in [1])",
    "lambda: 1",
    "(lambda: open('{canary}', 'w'))()",
    "(lambda x: x)(year)",
    "(x := 1)",
    "f'{{open}}'",
    "year[0]",
    "year.values[0]",
    "open('{canary}', 'w')",
    "eval('1')",
    "exec('1')",
    "globals()",
    "print(1)",
    "Q('year')",
    "np.log(year)",
    "np.load('{canary}')",
    "year if year else dose",
    "year and dose",
    "not year",
    "year > 3",
    "log(~year)",
    "year @ dose",
    "year << 2",
    "{{'a': 1}}",
    "{{1, 2}}",
    "*year",
    "**year",
    "yield year",
    "await year",
    "1j",
    "b'a'",
    "...",
    "9**9**9**9",
    "'a' * 10",
    "[0] * 10",
    "__builtins__",
    "__file__",
    "__FORMULAIC_CONTEXT__",
    "`year`.__class__",
    "`__import__`('os')",
    "`__import__('os').system('touch {canary}')`",
    "`",
    "log(`year)",
    "`year` + ` + dose`",
    "contr.treatment",
    "hashed(alloc)",
    "lag(year)",
    "cc(year, df=3)",
    "ｅｖａｌ('1')",  # letters that Python reads as those of ASCII
    "__ｉｍｐｏｒｔ__('os').system('touch {canary}')",
    "year.__ｃｌａｓｓ__",
    "еval('1')",  # a Cyrillic letter
    "log('\\'' + \"open('{canary}', 'w')\")",
    'f\'{{open("{canary}", "w")}}\'',
    "year\\",
    "'\\\\', `year`, ''",
    "ns(*year)",
    "ns(**year)",
    "ns(year, _state=dose)",
    "log(year, dose)",
    "log(year, out=dose)",
    "log(year, where=[True])",
    "log(2)",
    "C('a')",
    "C([1, 2])",
]
WRAPPED = [
    "{}",
    "I({})",
    "C({})",
    "ns({}, df=2)",
    "log({})",
    "C(alloc, levels=[{}])",
    "C(alloc, Treatment({}))",
    "year + {}",
    "year:{}",
    "(year + {})",
]
COLUMNS = tuple(frame().columns)
PLACES = {
    "formula": lambda text: Terms(f"y ~ {text}"),
    "outcome": lambda text: Terms(f"{text} ~ 1"),
    "cbind": lambda text: Terms(f"cbind(y, {text}) ~ 1"),
    "dict": lambda text: Terms({"y": text}),
    "dict outcome": lambda text: Terms({text: "1"}),
    "offset": lambda text: Terms(f"y ~ 1 + offset({text})"),
    "offset column": lambda text: Terms("y ~ 1", offset=text),
    "common": lambda text: Terms("y ~ 1", common=text),
    "random": lambda text: Terms("y ~ 1", random=f"{text} | district"),
    "random dict": lambda text: Terms("y ~ 1", random={"district": text}),
    "group": lambda text: Terms("y ~ 1", random=f"1 | {text}"),
    "group dict": lambda text: Terms("y ~ 1", random={text: "1"}),
    "group list": lambda text: Terms("y ~ 1", random=("1 | district", f"1 | {text}")),
    "groups": lambda text: Terms("y ~ 1", groups=text),
}


@pytest.fixture(scope="module")
def canary(tmp_path_factory):
    """A file that no attack may bring into being."""
    path = tmp_path_factory.mktemp("canary") / "ran"
    yield path
    assert not path.exists()


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_outside_the_allow_list_passes(attack, canary):
    text = attack.format(canary=canary)
    for place in PLACES.values():
        with pytest.raises(SpecError):
            parse(place(text), COLUMNS)
    assert not canary.exists()


@pytest.mark.parametrize("wrapped", WRAPPED)
def test_nor_inside_of_what_is_allowed(wrapped, canary):
    alone = {"'a'", "log(2)", "C('a')", "C([1, 2])"}  # harmless as arguments
    for attack in set(ATTACKS) - alone:
        with pytest.raises(SpecError):
            parse(Terms("y ~ " + wrapped.format(attack.format(canary=canary))), COLUMNS)
    assert not canary.exists()


def test_the_piece_is_named_with_what_is_allowed():
    with pytest.raises(SpecError) as caught:
        model("y ~ year + I(dose.mean() + 1)")
    message = str(caught.value)
    assert message.splitlines()[0] == "formula 'year + I(dose.mean() + 1)': 'dose.mean()' (call) is not allowed"
    assert all(name in message for name in FUNCTIONS)
    with pytest.raises(SpecError, match=r"the function scal\(\); did you mean 'scale'\? is not allowed"):
        model("y ~ scal(dose)")


def test_names_of_the_caller_are_out_of_reach():
    secret = np.ones(6)
    assert len(secret) == 6
    with pytest.raises(SpecError, match="no column 'secret'"):
        model("y ~ secret")
    with pytest.raises(SpecError, match="no column 'secret'"):
        model("y ~ I(secret)")


def test_hostile_column_names_are_only_names(canary):
    hostile = [
        f"__import__('os').system('touch {canary}')",
        "x), __import__('os'",
        "a' + 'b",
        'a" + "b',
        "log",
        "lambda: 1",
    ]
    for name in hostile:
        data = frame().assign(**{name: [1.0, 2, 3, 4, 5, 6]})
        found = columns(f"y ~ `{name}` + I(`{name}` + dose)", data)
        assert_array_equal(found[f"I({name} + dose)"], data[name] + data.dose)
    assert not canary.exists()


def parsed_or_refused(terms, known):
    try:
        return parse(terms, known)
    except SpecError:
        return None


@given(st.text(st.sampled_from("xy19 +-*/:^~|()[]{}'\"`.,=_\\@%lognsCI\n"), max_size=25))
def test_any_text_is_parsed_or_refused(text):
    for terms in (Terms(f"y ~ {text}"), Terms(f"{text} ~ x"), Terms("y ~ 1", random=text), Terms("y ~ 1", common=text)):
        parsed = parsed_or_refused(terms, ["x", "y", "n"])
        assert parsed is None or set(parsed.columns) <= {"x", "y", "n"}


@pytest.mark.parametrize(
    "text",
    [
        "(" * 500 + "year" + ")" * 500,
        "I(" + "-" * 5000 + "year)",
        "+".join(["I(year + 1)"] * 3),
        "I(" + "year+" * 20000 + "1)",
    ],
)
def test_deep_formulas_end_in_an_answer(text):
    parsed = parsed_or_refused(Terms(f"y ~ {text}"), COLUMNS)
    assert parsed is None or parsed.columns == ("y", "year")


# terms


def test_terms_survive_json():
    for random in (None, "1 | district", {"district": "1", "study": "year"}, ("1 | district", "1 | study")):
        terms = Terms({"PD": "1 + year", "AL": "1"}, random, "dose", "time")
        again = Terms.from_json(json.loads(json.dumps(terms.to_json())))
        assert again == terms
        assert again == replace(terms)
    assert Terms("y ~ 1", random=["1 | a"]) == Terms("y ~ 1", random=("1 | a",))


def test_terms_from_json_refuses_what_it_does_not_know():
    with pytest.raises(SpecError, match="unknown key 'randm'; did you mean 'random'"):
        Terms.from_json({"fixed": "y ~ 1", "randm": "1 | district"})
    with pytest.raises(SpecError, match="'fixed' is missing"):
        Terms.from_json({"random": "1 | district"})


def test_split_respects_brackets_and_quotes():
    assert split("a + log(b + c) + `d + e` + C(f, levels=['+'])", "+") == [
        "a",
        "log(b + c)",
        "`d + e`",
        "C(f, levels=['+'])",
    ]
    assert split("", "+") == [""]
