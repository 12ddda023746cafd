"""Words and numbers of a forest plot."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.measures import measure
from bayesmeta.plots import style
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.numbers import Interval
from bayesmeta.tree.response import EFFECT, Reading

PLAIN = Reading(measure("logor"), EFFECT, False)


def spec(data: pd.DataFrame | dict[str, object], **options: object) -> bm.Spec:
    return bm.specify("y ~ 1", data, S="v", **options)


DATA = pd.DataFrame({"y": [0.1, 0.3, 0.2], "v": 0.1, "trial": ["a", "b", "c"], "n": [1, 2, 3]})


@pytest.mark.parametrize(
    ("found", "places", "ratio", "expected"),
    [
        (Interval(0.1, -0.25, 0.456), 2, False, "0.10 [−0.25, 0.46]"),
        (Interval(-0.001, -0.2, 0.2), 2, False, "0.00 [−0.20, 0.20]"),
        (Interval(-33.44, -41, -26), 1, False, "−33.4 [−41.0, −26.0]"),
        (Interval(0.1, -np.inf, np.inf), 2, False, "0.10 [−∞, ∞]"),
        (Interval(0.1, np.nan, np.nan), 2, False, "0.10 [no interval]"),
        (Interval(np.log(0.41), np.log(0.13), np.log(1.26)), 2, True, "0.41 [0.13, 1.26]"),
        (Interval(np.log(12.345), np.log(1.2), np.log(1234.4)), 2, True, "12.3 [1.20, 1234]"),
        (Interval(0.0, -800, 800), 2, True, "1.00 [<0.01, >100,000]"),
        (Interval(0.0, -np.inf, np.inf), 2, True, "1.00 [0, ∞]"),
        (Interval(np.log(1.0012), np.log(0.9993), np.log(1.0031)), 4, True, "1.0012 [0.9993, 1.0031]"),
    ],
)
def test_intervals_as_texts(found: Interval, places: int, ratio: bool, expected: str) -> None:
    assert texts.interval_text(found, places, Reading(measure("logor"), EFFECT, ratio)) == expected


def test_bounds_alone() -> None:
    assert texts.interval_text(Interval(0, -1, 1), 1, PLAIN, only_bounds=True) == "[−1.0, 1.0]"


@pytest.mark.parametrize(("se", "places"), [([0.2, 0.3, 9.0], 2), ([3.0], 1), ([0.03], 3), ([40], 0), ([1e-9], 6)])
def test_decimals_show_two_figures_of_the_standard_error(se: list[float], places: int) -> None:
    assert texts.decimals(np.array(se)) == places


def test_labels_are_those_given_else_of_the_level_else_of_the_rows() -> None:
    nameless = DATA.drop(columns="trial")
    assert texts.row_labels(spec(DATA)).texts == ["a", "b", "c"]
    assert texts.row_labels(spec(DATA, labels=["x", "y", "z"])) == texts.Labels("Study", ["x", "y", "z"])
    assert texts.row_labels(spec(nameless)).texts == ["row 0", "row 1", "row 2"]
    assert texts.row_labels(spec(DATA.set_index("trial"))) == texts.Labels("Trial", ["a", "b", "c"])
    assert texts.row_labels(spec(DATA, random="1 | trial")) == texts.Labels("Trial", ["a", "b", "c"])
    assert texts.row_labels(spec(nameless, random="1 | n")).texts == ["n 1", "n 2", "n 3"]
    assert texts.row_labels(spec(DATA), ["x", None, " "]) == texts.Labels("Study", ["x", "row 1", "row 2"])
    assert texts.row_labels(spec(DATA, random="1 | trial"), "trial").texts == ["a", "b", "c"]


def test_series_go_by_their_index_where_it_is_that_of_the_data() -> None:
    indexed = spec(DATA.set_index("trial"))
    turned = pd.Series([30, 10, 20], index=["c", "a", "b"])
    assert texts.by_row(indexed, turned, "labels").tolist() == [10, 20, 30]
    with pytest.raises(bm.DataError, match=r"^labels is labelled 0, 1, 2; expected a, b, c"):
        texts.by_row(indexed, turned.reset_index(drop=True), "labels")
    assert texts.by_row(indexed, turned.to_numpy(), "labels").tolist() == [30, 10, 20]


def test_counts_as_people_write_them() -> None:
    frame = pd.DataFrame({("Drug", "events"): [1, np.nan, 3], ("Drug", "n"): [10, 20, 30], "arm": ["x", "y", None]})
    found = texts.counts(spec(DATA), frame)
    assert [column.headings for column in found] == [("Drug", "events"), ("Drug", "n"), ("", "arm")]
    assert [column.texts for column in found] == [["1", "–", "3"], ["10", "20", "30"], ["x", "y", "–"]]
    assert [column.numeric for column in found] == [True, True, False]
    assert texts.counts(spec(DATA, random="1 | trial"), {"id": "trial"})[0].texts == ["a", "b", "c"]
    assert texts.counts(spec(DATA), None) == []


def test_headings_need_not_be_repeated() -> None:
    model = spec(DATA, random="1 | trial")
    nested = texts.counts(model, {"Drug": {"events": [1, 2, 3], "n": [10, 20, 30]}, "id": "trial"})
    assert [column.headings for column in nested] == [("Drug", "events"), ("Drug", "n"), ("", "id")]
    by_name = texts.counts(model, ["trial"])
    assert [(column.headings, column.texts) for column in by_name] == [(("", "trial"), ["a", "b", "c"])]


def test_columns_that_do_not_fit_are_refused() -> None:
    with pytest.raises(bm.SpecError, match=r"labels='trail' is not a column in this tree(?s:.)*labels=data\['trail'\]"):
        texts.row_labels(spec(DATA), "trail")
    with pytest.raises(bm.SpecError, match="labels has 2 values, but the data have 3 rows"):
        texts.row_labels(spec(DATA), ["x", "y"])
    with pytest.raises(bm.SpecError, match="labels is a int"):
        texts.row_labels(spec(DATA), 3)
    with pytest.raises(bm.SpecError, match=r"columns\['n'\] has 2 values"):
        texts.counts(spec(DATA), {"n": [1, 2]})
    with pytest.raises(bm.SpecError, match="columns is a list"):
        texts.counts(spec(DATA), [1, 2, 3])


def test_headings_say_the_measure_and_the_probability() -> None:
    tree = bm.fit(spec(DATA, measure="logor"))
    assert texts.effect_heading(tree, style.reading(tree), 0.9) == "OR [90% CI]"
    assert texts.effect_heading(tree, style.reading(tree, "model"), 0.95) == "log OR [95% CI]"
    plain = bm.fit(spec(DATA))
    assert texts.effect_heading(plain, style.reading(plain), 0.95) == "Estimate [95% CI]"
    assert texts.pooled_label(tree) == "Pooled (REML)"
    assert texts.pooled_label(bm.fit(spec(DATA), method="fixed")) == "Pooled (common effect)"
    assert texts.pooled_label(bm.fit(spec(DATA), method="dl")) == "Pooled (DL)"
