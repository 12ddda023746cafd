"""Effect estimates against metafor's, by what they must obey, and with everything a table can hold that is wrong."""

import re
import warnings

import mpmath
import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta import effects
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning

EVENTS, OTHERS, TOTAL = ("tpos", "cpos"), ("tneg", "cneg"), ("tn", "cn")
GROUPS = (("m1", "m2"), ("sd1", "sd2"), ("n1", "n2"))
OF_COUNTS = {"OR": effects.odds_ratio, "RR": effects.risk_ratio, "RD": effects.risk_difference}
OF_MEANS = {"MD": effects.mean_difference, "SMD": effects.hedges_g}
BINARY = pytest.mark.parametrize("function", OF_COUNTS.values())

cell = st.integers(1, 10**6)
tables = st.tuples(cell, cell, cell, cell)
sizes, values, sds = st.integers(2, 10**6), st.floats(-100, 100), st.floats(1e-2, 1e3)
arms = st.tuples(values, values, sds, sds, sizes, sizes)


def counts(*rows: tuple[float, float, float, float]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["tpos", "tneg", "cpos", "cneg"])
    return frame.assign(tn=frame.tpos + frame.tneg, cn=frame.cpos + frame.cneg)


def groups(*rows: tuple[float, ...]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["m1", "m2", "sd1", "sd2", "n1", "n2"])


def estimates(function, frame: pd.DataFrame, *columns, **options) -> np.ndarray:
    """(n, 2) estimates and variances of all rows."""
    given_ = columns or GROUPS
    return function(frame, *given_, **options)[["y", "v"]].to_numpy()


def binary(function, frame: pd.DataFrame, **options) -> np.ndarray:
    return estimates(function, frame, EVENTS, no_events=OTHERS, **options)


def quietly(call):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)
        return call()


# -- against metafor


@pytest.mark.parametrize("measure", OF_COUNTS)
@pytest.mark.parametrize("others", ["no_events", "total"])
def test_counts_equal_metafor(measure, others, reference):
    held = reference("metafor/effect_sizes")
    frame = counts(*(tuple(row.values()) for row in held["two_by_two"]))
    columns = {"no_events": OTHERS, "total": TOTAL}[others]
    found = OF_COUNTS[measure](frame, EVENTS, **{others: columns})
    expected = held["expected"][measure]
    np.testing.assert_allclose(found["y"], expected["yi"], rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found["v"], expected["vi"], rtol=1e-9)


@pytest.mark.parametrize("measure", OF_MEANS)
def test_means_equal_metafor(measure, reference):
    held = reference("metafor/effect_sizes")
    found = OF_MEANS[measure](pd.DataFrame(held["two_group_means"]), *GROUPS)
    expected = held["expected"][measure]
    np.testing.assert_allclose(found["y"], expected["yi"], rtol=1e-9)
    np.testing.assert_allclose(found["v"], expected["vi"], rtol=1e-9)


def test_empty_cells_equal_the_authors(table):
    """Trials of the gliomas data in which nobody survived in an arm, or everybody did."""
    data = table("gliomas")
    survivors, persons = ("streat", "scontr"), ("ntreat", "ncontr")
    found = quietly(lambda: effects.odds_ratio(data, survivors, total=persons))
    cells = [data.streat, data.ntreat - data.streat, data.scontr, data.ncontr - data.scontr]
    assert (np.stack(cells) == 0).any(axis=0).sum() > 1
    np.testing.assert_allclose(found["y"], data["logOR"], rtol=1e-9)
    np.testing.assert_allclose(found["v"], data["logORvar"], rtol=1e-9)


@pytest.mark.parametrize("m", [2, 3, 17, 400, 10**5, 10**9])
def test_bias_factors(m):
    frame = groups((1.0, 0.0, 1.0, 1.0, m // 2 + 1, m - m // 2 + 1))
    exact, near, none = (
        effects.hedges_g(frame, *GROUPS, correction=c)["y"].item() for c in ("exact", "approximate", "none")
    )
    with mpmath.workdps(40):
        half = mpmath.mpf(m) / 2
        J = mpmath.exp(mpmath.loggamma(half) - mpmath.loggamma(half - 0.5)) / mpmath.sqrt(half)
    assert exact == pytest.approx(float(J), rel=1e-12)
    assert near == pytest.approx(1 - 3 / (4 * m - 1), rel=1e-12)
    assert none == pytest.approx(1.0, rel=1e-12)


# -- what estimates must obey


@BINARY
@given(tables)
def test_swapped_arms_change_the_sign(function, table):
    a, b, c, d = table
    (y, v), (other, w) = binary(function, counts((a, b, c, d), (c, d, a, b)))
    assert other == pytest.approx(-y, rel=1e-12, abs=1e-12)
    assert w == pytest.approx(v, rel=1e-12)


@given(tables)
def test_counting_the_others_changes_the_sign_of_odds_ratios_and_risk_differences(table):
    a, b, c, d = table
    for function in (effects.odds_ratio, effects.risk_difference):
        (y, v), (other, w) = binary(function, counts((a, b, c, d), (b, a, d, c)))
        assert other == pytest.approx(-y, rel=1e-12, abs=1e-11)
        assert w == pytest.approx(v, rel=1e-12)


@BINARY
@given(tables, st.integers(2, 50))
def test_more_persons_of_the_same_risks_divide_the_variance(function, table, times):
    (y, v), (more, w) = binary(function, counts(table, tuple(times * n for n in table)))
    assert more == pytest.approx(y, rel=1e-12, abs=1e-12)
    assert times * w == pytest.approx(v, rel=1e-12)


@given(tables)
def test_the_odds_ratio_lies_further_out_than_the_risk_ratio_and_the_difference_has_their_sign(table):
    frame = counts(table)
    logor, logrr, rd = (binary(function, frame)[0, 0] for function in OF_COUNTS.values())
    assert abs(logor) >= abs(logrr) - 1e-9
    assert rd * logrr >= -1e-12
    assert -1 < rd < 1


@pytest.mark.parametrize("function", OF_MEANS.values())
@given(arms)
def test_swapped_groups_change_the_sign(function, row):
    m1, m2, sd1, sd2, n1, n2 = row
    (y, v), (other, w) = estimates(function, groups(row, (m2, m1, sd2, sd1, n2, n1)))
    assert other == pytest.approx(-y, rel=1e-12, abs=1e-12)
    assert w == pytest.approx(v, rel=1e-12)


@given(arms, st.floats(1e-3, 1e3), values)
def test_another_unit_scales_the_mean_difference_and_leaves_the_standardised_one(row, scale, shift):
    m1, m2, sd1, sd2, n1, n2 = row
    frame = groups(row, (scale * m1 + shift, scale * m2 + shift, scale * sd1, scale * sd2, n1, n2))
    (y, v), (other, w) = estimates(effects.mean_difference, frame)
    rounding = 1e-13 * (abs(shift) + scale * (abs(m1) + abs(m2)))
    assert other == pytest.approx(scale * y, rel=1e-9, abs=rounding)
    assert w == pytest.approx(scale**2 * v, rel=1e-9)
    (g, v), (same, w) = estimates(effects.hedges_g, frame)
    assert same == pytest.approx(g, rel=1e-9, abs=rounding / (scale * min(sd1, sd2)) + 1e-300)  # not of subnormals
    assert w == pytest.approx(v, rel=1e-6)


@pytest.mark.parametrize("unit", [1e-200, 1e200])
def test_units_that_cannot_be_squared(unit):
    plain, other = groups((1, 0, 2, 3, 9, 8)), groups((unit, 0, 2 * unit, 3 * unit, 9, 8))
    assert estimates(effects.hedges_g, other) == pytest.approx(estimates(effects.hedges_g, plain), rel=1e-12)


@BINARY
@given(st.lists(tables, min_size=1, max_size=8))
def test_all_rows_at_once_are_the_rows_one_by_one(function, rows):
    together = binary(function, counts(*rows))
    assert np.array_equal(together, np.vstack([binary(function, counts(row)) for row in rows]))


# -- empty cells

EMPTY = counts((4, 10, 0, 9), (5, 9, 3, 8), (0, 7, 0, 6), (6, 0, 5, 0))


def by_hand(function, rows, add: float) -> np.ndarray:
    return quietly(lambda: binary(function, counts(*(tuple(n + add for n in row[:4]) for row in rows))))


@BINARY
def test_by_default_a_half_is_added_where_a_cell_is_empty_and_said(function):
    rows = list(EMPTY.itertuples(index=False))
    with pytest.warns(AssumptionWarning) as said:
        found = binary(function, EMPTY)
    assert found[[0, 2, 3]] == pytest.approx(by_hand(function, [rows[0], rows[2], rows[3]], 0.5), rel=1e-14)
    assert found[1] == pytest.approx(by_hand(function, [rows[1]], 0)[0], rel=1e-14)
    first, second = (str(w.message) for w in said)
    assert first.startswith("0.5 was added to the four cells of every row with an empty cell: rows 0, 2, 3\n")
    assert second.startswith("no events in either arm, or nothing but events in both: rows 2, 3\n")
    assert {w.filename for w in said} == {__file__}


@BINARY
@pytest.mark.parametrize(("zero", "added"), [("only0", [0, 2, 3]), ("if0all", [0, 1, 2, 3]), ("all", [0, 1, 2, 3])])
def test_who_says_what_is_done_gets_no_warning(function, zero, added):
    rows = list(EMPTY.itertuples(index=False))
    found = binary(function, EMPTY, zero=zero, add=0.25, drop_double_zero=False)
    expected = np.vstack([by_hand(function, [row], 0.25 * (i in added)) for i, row in enumerate(rows)])
    assert found == pytest.approx(expected, rel=1e-14)


def test_all_and_if0all_differ_without_an_empty_cell():
    full = EMPTY.iloc[[1]]
    plain, half = binary(effects.odds_ratio, full), by_hand(effects.odds_ratio, [tuple(full.iloc[0])], 0.5)
    assert binary(effects.odds_ratio, full, zero="if0all") == pytest.approx(plain)
    assert binary(effects.odds_ratio, full, zero="all") == pytest.approx(half)


@BINARY
def test_double_zeros_are_left_out_on_request_and_reported(function):
    with pytest.warns(BayesmetaWarning, match="no effect estimate in rows 2, 3, where a value is missing or left out"):
        found = binary(function, EMPTY, zero="only0", drop_double_zero=True)
    assert np.isnan(found).all(axis=1).tolist() == [False, False, True, True]
    kept = binary(function, EMPTY, zero="only0", drop_double_zero=False)
    assert np.array_equal(found[:2], kept[:2])


def test_a_double_zero_that_is_left_out_adds_nothing_to_the_others():
    frame = EMPTY.iloc[[1, 2]]
    found = quietly(lambda: binary(effects.odds_ratio, frame, zero="if0all", drop_double_zero=True))
    assert found[0] == pytest.approx(binary(effects.odds_ratio, frame.iloc[[0]])[0])


@pytest.mark.parametrize(
    ("function", "without"),
    [(effects.odds_ratio, [0, 2, 3]), (effects.risk_ratio, [0, 2, 3]), (effects.risk_difference, [2, 3])],
)
def test_nothing_added_leaves_no_estimate_where_there_is_none(function, without):
    rows = ", ".join(map(str, without))
    with pytest.warns(BayesmetaWarning, match=f"in rows {rows}, where it is infinite or its variance is not positive"):
        found = binary(function, EMPTY, zero="none", drop_double_zero=False)
    assert np.flatnonzero(np.isnan(found[:, 0])).tolist() == without
    if function is effects.risk_difference:
        assert found[0] == pytest.approx([4 / 14, 4 * 10 / 14**3])


# -- the table that comes back


def test_rows_order_index_and_columns_are_kept():
    trials = bm.datasets.load("bcg").set_index("author").iloc[::-1]
    before = trials.copy()
    found = effects.odds_ratio(trials, EVENTS, no_events=OTHERS, names=("logodds", "variance"))
    pd.testing.assert_frame_equal(trials, before)
    pd.testing.assert_frame_equal(found[trials.columns], trials)
    assert list(found.columns[-2:]) == ["logodds", "variance"]
    np.testing.assert_allclose(found["logodds"], trials["logor"], rtol=1e-12, atol=1e-14)
    assert found.attrs == {
        "measure": "logor",
        "columns": {"logodds": "logor", "variance": "logor"},
        "arms": None,
        "column_arms": {"logodds": None},
        "arm_columns": {"logodds": {"events": list(EVENTS), "no_events": list(OTHERS)}},
    }
    assert not trials.attrs


def test_what_comes_back_is_taken_by_specify():
    for function, measure in zip(OF_COUNTS.values(), ("logor", "logrr", "rd"), strict=True):
        table = function(bm.datasets.load("bcg"), EVENTS, no_events=OTHERS)
        assert table.attrs["measure"] == measure
        assert len(bm.specify("y ~ 1", table, S="v", measure=measure).y) == 13
    for function, measure in zip(OF_MEANS.values(), ("md", "smd"), strict=True):
        table = function(groups((1, 0, 1, 1, 9, 9), (1, 0, 2, 1, 9, 9)), *GROUPS)
        assert table.attrs["measure"] == measure
        assert len(bm.specify("y ~ 1", table, S="v", measure=measure).y) == 2


def test_a_cell_run_twice_and_a_column_that_would_be_lost():
    frame = counts((4, 10, 3, 9))
    once = effects.odds_ratio(frame, EVENTS, no_events=OTHERS)
    pd.testing.assert_frame_equal(effects.odds_ratio(once, EVENTS, no_events=OTHERS), once)
    with pytest.raises(bm.SpecError, match="the data already have a column 'y'"):
        effects.risk_ratio(once, EVENTS, no_events=OTHERS)
    both = effects.risk_ratio(once, EVENTS, no_events=OTHERS, names=("logrr", "v_logrr"))
    assert both.attrs["columns"] == dict.fromkeys("yv", "logor") | dict.fromkeys(["logrr", "v_logrr"], "logrr")
    with pytest.raises(bm.SpecError, match="the data already have a column 'tpos'"):
        effects.odds_ratio(frame, EVENTS, no_events=OTHERS, names=("tpos", "v"))


def test_missing_cells_give_missing_estimates_and_are_reported():
    frame = counts((4, 10, 3, 9), (np.nan, 9, 3, 8), (5, 9, 0, np.nan), (5, 9, 4, 8)).set_axis(list("abcd"))
    with pytest.warns(BayesmetaWarning, match="no effect estimate in rows b, c, where a value is missing") as said:
        found = binary(effects.odds_ratio, frame)
    assert len(said) == 1  # a half is not added to what is not known
    assert {w.filename for w in said} == {__file__}
    assert np.isnan(found).all(axis=1).tolist() == [False, True, True, False]
    missing = groups((1, 0, 1, 1, 9, 9), (1, 0, np.nan, 1, 9, 9))
    with pytest.warns(BayesmetaWarning, match="in rows 1, where a value is missing"):
        assert np.isnan(estimates(effects.hedges_g, missing)[1]).all()


def test_effective_counts_need_not_be_whole():
    with pytest.warns(AssumptionWarning, match="is not a whole number; it is used as it is") as noted:
        found = binary(effects.odds_ratio, counts((4.2, 10.1, 3.3, 9.9)))
    assert len(noted) == 4
    assert found[0, 1] == pytest.approx(1 / 4.2 + 1 / 10.1 + 1 / 3.3 + 1 / 9.9)


def test_one_row_and_none():
    assert len(binary(effects.odds_ratio, counts((4, 10, 3, 9)))) == 1
    assert len(binary(effects.odds_ratio, counts((4, 10, 3, 9)).iloc[:0])) == 0


# -- what is wrong


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"tpos": -1.0}, "column 'tpos': -1 in row late is a negative count"),
        ({"cneg": np.inf}, "column 'cneg': inf in row late is infinite"),
        ({"cpos": 0.0, "cneg": 0.0}, "column 'cpos': 0 in row late belongs to an arm without persons"),
    ],
)
@BINARY
def test_bad_counts(function, row, message):
    frame = counts((4, 10, 3, 9), (5, 9, 3, 8)).astype(float).set_axis(["early", "late"])
    frame.loc["late", list(row)] = list(row.values())
    with pytest.raises(bm.DataError, match=message):
        function(frame, EVENTS, no_events=OTHERS)


@BINARY
def test_more_events_than_persons(function):
    frame = counts((4, 10, 3, 9)).assign(cn=2)
    with pytest.raises(bm.DataError, match="column 'cpos': 3 in row 0 exceeds the number of persons, column 'cn'"):
        function(frame, EVENTS, total=TOTAL)
    with pytest.raises(bm.DataError, match="column 'cpos': 0 in row 0 belongs to an arm without persons"):
        function(frame.assign(cpos=0, cn=0), EVENTS, total=TOTAL)


def test_text_is_no_count():
    with pytest.raises(bm.DataError, match="column 'tpos' is not numeric: row 0 holds '4 of 14'"):
        effects.odds_ratio(counts((4, 10, 3, 9)).assign(tpos="4 of 14"), EVENTS, no_events=OTHERS)


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("sd1", 0.0, "column 'sd1': 0 in row 1 is not a standard deviation"),
        ("sd2", -1.0, "column 'sd2': -1 in row 1 is not a standard deviation"),
        ("n2", 1.0, "column 'n2': 1 in row 1 is fewer than two persons"),
        ("m1", -np.inf, "column 'm1': -inf in row 1 is infinite"),
    ],
)
@pytest.mark.parametrize("function", OF_MEANS.values())
def test_bad_groups(function, column, value, message):
    frame = groups((1, 0, 1, 1, 9, 9), (1, 0, 1, 1, 9, 9)).astype(float)
    frame.loc[1, column] = value
    with pytest.raises(bm.DataError, match=message):
        function(frame, *GROUPS)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"events": ("tpos", "cpos")}, "total or no_events: neither is given"),
        ({"events": EVENTS, "total": TOTAL, "no_events": OTHERS}, "total or no_events: both are given"),
        ({"events": "tpos", "no_events": OTHERS}, "events is 'tpos'; it must be two columns"),
        ({"events": ("tpos", "tpos"), "no_events": OTHERS}, "events: both arms are column 'tpos'"),
        (
            {"events": ("tpos", "cps"), "no_events": OTHERS},
            "events: the data have no column 'cps'; did you mean 'cpos'?",
        ),
        ({"events": EVENTS, "total": ("tn", "totl")}, "total: the data have no column 'totl'"),
        ({"events": EVENTS, "total": TOTAL, "zero": "only"}, "zero is 'only'; did you mean 'only0'?"),
        ({"events": EVENTS, "total": TOTAL, "add": 0}, "add is 0; it must be a finite number greater than 0"),
        ({"events": EVENTS, "total": TOTAL, "add": "half"}, "add is 'half'"),
        ({"events": EVENTS, "total": TOTAL, "names": ("y", "y")}, r"names is \('y', 'y'\); it must be two names"),
        ({"events": EVENTS, "total": TOTAL, "names": "yv"}, "names is 'yv'; it must be two names"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(bm.SpecError, match=message):
        effects.odds_ratio(counts((4, 10, 3, 9)), **arguments)


def test_unknown_correction():
    with pytest.raises(bm.SpecError, match="correction is 'exakt'; did you mean 'exact'"):
        effects.hedges_g(groups((1, 0, 1, 1, 9, 9)), *GROUPS, correction="exakt")


@BINARY
@pytest.mark.parametrize("column", ["tpos", "cneg"])
def test_a_fractional_count_is_used_as_it_is_and_noted(function, column):
    frame = counts((4, 10, 5, 12), (3, 11, 6, 13)).astype(float)
    frame.loc[1, column] += 0.5
    with pytest.warns(AssumptionWarning, match=rf"column '{column}': \d+.5 in row 1 is not a whole number"):
        assert np.isfinite(binary(function, frame)).all()


@pytest.mark.parametrize("function", OF_MEANS.values())
def test_a_fractional_size_is_noted(function):
    with pytest.warns(AssumptionWarning, match="column 'n2': 7.5 in row 0 is not a whole number"):
        estimates(function, groups((1, 2, 1, 1, 8, 7.5)))


def trials() -> pd.DataFrame:
    """Six trials, two of which have an empty cell."""
    arms = {"e1": [0, 5, 7, 3, 8, 2], "n1": [29, 40, 50, 30, 60, 20], "e2": [6, 9, 12, 5, 12, 0]}
    return pd.DataFrame({"trial": list("ABCDEF"), **arms, "n2": [30, 42, 50, 31, 58, 22]})


@pytest.mark.parametrize(
    ("zero", "expected"),
    [
        ("only0", "0.5 was added to the four cells of A, F (2 of 6 rows), because of empty cells"),
        ("all", "0.5 was added to the four cells of A, B, C, D, E, F (6 of 6 rows), because of empty cells"),
        ("none", ""),
    ],
)
def test_what_was_added_to_empty_cells_is_told_wherever_results_are(zero: str, expected: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)  # of rows without an estimate, where nothing is added
        table = effects.odds_ratio(trials(), events=("e1", "e2"), total=("n1", "n2"), zero=zero)
        moved = table.sort_values("n1", ascending=False).reset_index(drop=True)
        for data in (table, moved):
            fit = bm.fit(bm.specify("y ~ 1", data, S="v", labels="trial"))
            text = bm.methods_text(fit)
            assert not any("was added" in note for note in text.notes)
            if not expected:
                assert "was added" not in text.methods
                continue
            (note,) = re.findall(r"0\.5 was added.*?because of empty cells", text.methods)
            names = note.partition(" of ")[2].partition(" (")[0].split(", ")
            assert sorted(names) == expected.partition(" of ")[2].partition(" (")[0].split(", ")
            assert note.partition("(")[2] == expected.partition("(")[2]
            for printed in (str(bm.summary(fit)), bm.table(fit).to_markdown()):
                assert "0.5 was added to the four cells of" in " ".join(printed.split())


def test_rows_without_an_empty_cell_are_not_said_to_have_one() -> None:
    table = effects.risk_ratio(trials(), events=("e1", "e2"), total=("n1", "n2"), zero="only0")
    spec = bm.specify("y ~ 1", table, S="v", labels="trial", subset=table["e1"] * table["e2"] > 0)
    assert not spec.notes


def test_equal_estimates_without_an_empty_cell_are_not_said_to_be_corrected() -> None:
    """A trial without any event has the estimate 0, as every trial with equal risks."""
    arms = {"e1": [0, 5, 7, 3, 6, 2], "n1": [10, 20, 50, 30, 24, 20], "e2": [0, 5, 12, 5, 6, 4]}
    table = pd.DataFrame({"trial": list("ABCDEF"), **arms, "n2": [10, 20, 50, 31, 24, 22]})
    made = effects.odds_ratio(table, events=("e1", "e2"), total=("n1", "n2"), zero="only0", drop_double_zero=False)
    spec = bm.specify("y ~ 1", made, S="v", labels="trial")
    assert spec.notes == ("0.5 was added to the four cells of A (1 of 6 rows), because of empty cells",)
    by_error = bm.specify("y ~ 1", made.assign(se=np.sqrt(made["v"])), se="se", labels="trial")
    assert by_error.notes == spec.notes
    assert not bm.specify("y ~ 1", made, S="v", labels="trial", subset=made["trial"] != "A").notes
