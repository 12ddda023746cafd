"""Which values a predictor takes, at which values the others are held, and the note that says so."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.plots.predictor import Predictor, chosen_outcome, has_intercept

DATA = pd.DataFrame(
    {
        "y": np.linspace(-0.5, 0.6, 12),
        "z": np.linspace(0.3, -0.2, 12) ** 2,
        "v": 0.1,
        "dose": np.linspace(1, 23, 12),
        "month": [6, 12, 18, 24] * 3,
        "arm": list("bbcabacbbabc"),
        "age": [50.0, 30.0, 50.0, 50.0, 40.0, *[50.0] * 7],
    }
)


def predictor(formula: str, column: str, **options) -> Predictor:
    random = options.pop("random", False)
    return Predictor.of(bm.specify(formula, DATA, S="v", **options), column, 0, "x", random)


@pytest.mark.parametrize(
    "formula", ["y ~ dose", "y ~ log(dose)", "y ~ ns(dose, df=3)", "y ~ I(dose - 12)", "y ~ dose:arm"]
)
def test_numbers_have_no_categories(formula: str) -> None:
    found = predictor(formula, "dose")
    assert found.categories == ()
    np.testing.assert_array_equal(found.observed(), DATA["dose"])


@pytest.mark.parametrize("formula", ["y ~ C(month)", "y ~ 0 + C( month ) + age", "y ~ age + C(month):age"])
def test_numbers_that_a_formula_takes_as_categories_stand_where_they_are(formula: str) -> None:
    found = predictor(formula, "month")
    assert found.categories == ("6", "12", "18", "24")
    assert found.values() == [6, 12, 18, 24]
    np.testing.assert_array_equal(found.positions, [6, 12, 18, 24])
    np.testing.assert_array_equal(found.observed(), DATA["month"])


def test_text_stands_at_equal_distances() -> None:
    found = predictor("y ~ arm", "arm")
    assert (found.categories, found.numeric) == (("a", "b", "c"), False)
    np.testing.assert_array_equal(found.positions, [0, 1, 2])
    np.testing.assert_array_equal(found.observed(), ["abc".index(arm) for arm in "bbcabacbbabc"])


def test_the_order_of_categories_is_that_of_the_data() -> None:
    data = DATA.assign(arm=pd.Categorical(DATA["arm"], categories=["c", "b", "a"]))
    found = Predictor.of(bm.specify("y ~ arm", data, S="v"), "arm", 0, "x")
    assert found.categories == ("c", "b", "a")


def test_categories_of_the_random_part_count_where_it_is_predicted() -> None:
    assert predictor("y ~ month", "month").categories == ()
    data = DATA.assign(s=[1] * 4 + [2] * 4 + [3] * 4)
    spec = bm.specify("y ~ month", data, S="v", random="0 + C(month) | s", psi="id")
    assert Predictor.of(spec, "month", 0, "x").categories == ()
    assert Predictor.of(spec, "month", 0, "x", random=True).categories == ("6", "12", "18", "24")


def test_others_are_held_at_the_mean_or_the_most_frequent_category() -> None:
    found = predictor("y ~ dose + arm + C(month) + age", "dose")
    held = found.held(None)
    assert held == {"arm": "b", "month": 6, "age": pytest.approx(570 / 12)}
    assert found.held_text(held, None) == "arm = b (most frequent); month = 6 (most frequent); age = 47.5 (mean)"
    given = {"age": 60, "arm": "c"}
    assert found.held(given) == {"arm": "c", "month": 6, "age": 60}
    assert found.held_text(found.held(given), given) == "arm = c; month = 6 (most frequent); age = 60"


def test_only_rows_in_the_model_count() -> None:
    data = DATA.assign(y=DATA["y"].where(DATA["age"] == 50))
    found = Predictor.of(bm.specify("y ~ dose + age + 0", data, S="v"), "dose", 0, "x")
    assert found.held(None) == {"age": 50.0}
    assert len(found.observed()) == 10


def test_words_leave_out_predictors_of_other_outcomes() -> None:
    spec = bm.specify({"y": "dose + age", "z": "dose + arm"}, DATA, S=["v", "v"], S_correlation=0)
    found = Predictor.of(spec, "dose", 1, "x")
    assert set(found.held(None)) == {"age", "arm"}
    assert found.held_text(found.held(None), None) == "arm = b (most frequent)"


def test_rows_to_predict_for() -> None:
    found = predictor("y ~ dose + arm", "dose")
    rows = found.rows([1.0, 2.0], found.held(None))
    assert rows.to_dict("list") == {"arm": ["b", "b"], "dose": [1.0, 2.0]}


@pytest.mark.parametrize(
    ("column", "says"),
    [
        ("dos", "x: y has no predictor 'dos'; did you mean 'dose'?\n  predictors: dose, arm"),
        ("v", "x: y has no predictor 'v'"),
        (3, "x: y has no predictor 3"),
    ],
)
def test_what_is_no_predictor(column: object, says: str) -> None:
    with pytest.raises(SpecError, match="^" + says.replace("?", r"\?")):
        predictor("y ~ dose + arm", column)


def test_a_model_without_predictors() -> None:
    with pytest.raises(SpecError, match="predictors: none"):
        predictor("y ~ 1", "dose")


@pytest.mark.parametrize(
    ("at", "says"),
    [
        ({"amr": "a"}, "at: no other predictor 'amr'; did you mean 'arm'"),
        ({"dose": 3}, "at: no other predictor 'dose'"),
        ({"arm": ["a", "b"]}, "at: 'arm' is .*; give one value"),
        ({"age": np.nan}, "at: 'age' is nan; give one value"),
    ],
)
def test_values_that_cannot_be_held(at: dict, says: str) -> None:
    with pytest.raises(SpecError, match=says):
        predictor("y ~ dose + arm + age", "dose").held(at)


def test_a_category_that_the_data_did_not_have() -> None:
    tree = bm.fit(bm.specify("y ~ dose + arm", DATA, S="v"))
    with pytest.raises(SpecError, match="at: 'arm' is never 'd' in the data\n  categories: a, b, c"):
        bm.plots.bubble(tree, "dose", at={"arm": "d"})


def test_the_outcome() -> None:
    one, two = bm.specify("y ~ 1", DATA, S="v"), bm.specify("y + z ~ 1", DATA, S=["v", "v"], S_correlation=0)
    assert (chosen_outcome(one, None), chosen_outcome(one, "y"), chosen_outcome(two, "z")) == (0, 0, 1)
    with pytest.raises(SpecError, match="this model has 2 outcomes: y, z\n  draw one of them: outcome='y'"):
        chosen_outcome(two, None)
    with pytest.raises(SpecError, match="no outcome 'yy'; did you mean 'y'"):
        chosen_outcome(two, "yy")


@pytest.mark.parametrize(
    ("formula", "absolute"),
    [("y ~ dose", True), ("y ~ 0 + dose", False), ("y ~ 0 + arm + dose", True), ("y ~ 0 + ns(dose, df=3)", False)],
)
def test_whether_there_is_an_intercept(formula: str, absolute: bool) -> None:
    assert has_intercept(bm.specify(formula, DATA, S="v"), 0) is absolute
