"""Data that are no network, and questions that a network cannot answer: what is said, and about which trial."""

import re
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.errors import AssumptionWarning, DataError, SpecError

COUNTS = {"study": "study", "treatment": "treatment", "events": "events", "total": "total", "measure": "logor"}
PAIRS = {"study": "study", "treat1": "t1", "treat2": "t2", "y": "y", "se": "se"}


@pytest.fixture
def arms() -> pd.DataFrame:
    """A triangle of two-arm trials, and one of three arms."""
    rows = [("1", "A", 4), ("1", "B", 7), ("2", "B", 6), ("2", "C", 9), ("3", "A", 3), ("3", "C", 8)]
    rows += [("4", "A", 5), ("4", "B", 6), ("4", "C", 9), ("5", "A", 4), ("5", "B", 8)]
    return pd.DataFrame(rows, columns=["study", "treatment", "events"]).assign(total=40)


@pytest.fixture
def pairs() -> pd.DataFrame:
    rows = [("1", "A", "B", 0.5, 0.3), ("2", "B", "C", 0.2, 0.4)]
    rows += [("3", "A", "B", 0.4, 0.5), ("3", "A", "C", 0.9, 0.5), ("3", "B", "C", 0.5, 0.5)]
    return pd.DataFrame(rows, columns=["study", "t1", "t2", "y", "se"])


def counts(arms: pd.DataFrame, **more: object) -> bm.Spec:
    return bm.network.specify(arms, **{**COUNTS, **more})


def changed(row: object, **cells: object) -> Callable[[pd.DataFrame], pd.DataFrame]:
    def of(table: pd.DataFrame) -> pd.DataFrame:
        table = table.astype(dict.fromkeys(cells, object))
        for name, value in cells.items():
            table.loc[row, name] = value
        return table

    return of


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(1, treatment="A"), "trial '1' has the arm 'A' twice, in rows 0, 1"),
        (changed(0, treatment=None), "no label in row 0"),
        (changed(0, treatment=" "), "no label in row 0"),
        (changed(3, study=None), "column 'study' (study) has no label in row 3"),
        (changed(1, study="9"), "trial '1' has one arm, 'A' (row 0)"),
        (changed(2, events=41), "column 'events': 41 in row 2 exceeds the number of persons, column 'total': 40"),
        (changed(2, events=-1), "column 'events': -1 in row 2 is a negative count"),
        (changed(2, total=0), "column 'events': 6 in row 2 exceeds the number of persons, column 'total'"),
        (changed(2, total=0, events=0), "column 'events': 0 in row 2 belongs to an arm without persons"),
        (changed(2, events="many"), "many"),
        (changed(2, total=np.inf), "row 2"),
        (changed(2, total=None, events=-2), "column 'events': -2 in row 2 is a negative count"),
        (lambda t: t.iloc[:0], "no"),
        (lambda t: t[t["study"] == "1"].replace({"A": "B"}), "trial '1' has the arm 'B' twice"),
    ],
)
def test_arms_that_make_no_trial(arms: pd.DataFrame, change, message: str):
    with pytest.raises(DataError, match=re.escape(message)):
        counts(change(arms))


def test_pieces_that_no_trial_connects(arms: pd.DataFrame):
    more = pd.DataFrame({"study": ["8", "8", "9", "9"], "treatment": list("XYYZ"), "events": 3, "total": 30})
    with pytest.raises(DataError, match=r"in 2 pieces that no trial connects: A, B, C \| X, Y, Z"):
        counts(pd.concat([arms, more], ignore_index=True))


def test_spellings_of_one_treatment_are_told(arms: pd.DataFrame):
    with pytest.warns(AssumptionWarning, match="'A' and 'a'"):
        counts(changed(9, treatment="a")(arms))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (changed(0, t2="A"), "trial '1': 'A' is compared with itself in row 0"),
        (changed(0, se=0.0), "column 'se': 0 in row 0 is not a standard error, which must be positive"),
        (changed(0, y=np.inf), "column 'y': inf in row 0 is infinite"),
        (changed(4, t1="D", t2="E"), "trial '3' compares 5 arms and lacks"),
        (changed(0, t1=None), "no label in row 0"),
        (changed(3, y=0.3), "trial '3': its comparisons contradict each other, by 0.6 around a loop"),
        (
            changed(4, se=1.5),
            "trial '3': no trial can have these standard errors; arm 'A' would have the variance -0.875",
        ),
        (lambda t: t.drop(index=4), "trial '3' compares 3 arms and lacks B with C"),
        (lambda t: pd.concat([t, t.iloc[[1]]], ignore_index=True), "the comparison 'B with C' twice, in rows 1, 5"),
    ],
)
def test_contrasts_that_no_trial_has(pairs: pd.DataFrame, change, message: str):
    with pytest.raises(DataError, match=re.escape(message)):
        bm.network.specify(change(pairs), **PAIRS)


def test_contradictions_as_after_rounding_are_averaged_and_told(pairs: pd.DataFrame):
    with pytest.warns(AssumptionWarning, match="by 0.02 around a loop"):
        spec = bm.network.specify(changed(3, y=0.92)(pairs), **PAIRS, reference="A")
    assert spec.y[-2:] - np.array([-0.4, -0.9]) == pytest.approx([-0.02 / 3, -0.02 * 2 / 3])
    with pytest.raises(DataError):
        bm.network.specify(changed(3, y=0.92)(pairs), **PAIRS, tolerance=0)


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning")
@settings(max_examples=30, deadline=None, derandomize=True)
@given(st.integers(3, 5), st.integers(0, 10**6))
def test_any_standard_error_that_is_too_large_for_its_trial_is_found(K: int, seed: int):
    """A comparison's variance is at most the sum of any two others that lead around it, but for the arm between."""
    rng = np.random.default_rng(seed)
    v, names = rng.uniform(0.01, 1, K), [f"t{i}" for i in range(K)]
    rows = [("1", names[i], names[j], 0.0, np.sqrt(v[i] + v[j])) for i in range(K) for j in range(i + 1, K)]
    table = pd.DataFrame(rows, columns=list(PAIRS.values()))
    spec = bm.network.specify(table, **PAIRS, reference="t0")
    S = np.zeros((K - 1, K - 1))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    np.testing.assert_allclose(S, np.diag(v[1:]) + v[0], atol=1e-12)
    table.loc[0, "se"] *= 40
    with pytest.raises(DataError, match="no trial can have these standard errors"):
        bm.network.specify(table, **PAIRS)


def test_empty_cells(arms: pd.DataFrame):
    empty = changed(0, events=0)(arms)
    with pytest.warns(AssumptionWarning, match=r"0.5 was added to the cells of all arms of trials .*: 1"):
        spec = counts(empty)
    assert spec.y[0] == pytest.approx(np.log(7.5 / 33.5) - np.log(0.5 / 40.5))
    assert counts(empty, add=0.25).y[0] == pytest.approx(np.log(7.25 / 33.25) - np.log(0.25 / 40.25))
    with pytest.warns(AssumptionWarning, match=r"fewer than two arms with an estimate: 1 \(row 0\); left out"):
        assert len(counts(empty, add=0).y) == len(spec.y) - 1
    assert counts(empty, measure="asd").y[0] == pytest.approx(np.arcsin(np.sqrt(7 / 40)))


def test_trials_without_events(arms: pd.DataFrame):
    none = changed(1, events=0)(changed(0, events=0)(arms))
    with pytest.warns(AssumptionWarning, match="no events in any arm, or nothing but events in all: 1"):
        left_out = counts(none)
    assert "1" not in set(left_out.data["study"])
    assert counts(none, drop_double_zero=True).y.tolist() == left_out.y.tolist()
    kept = counts(none, drop_double_zero=False, add=0.5)
    assert kept.y[0] == pytest.approx(0)
    assert len(counts(none, measure="rd", add=0.5).y) == len(kept.y)


def test_an_arm_without_numbers_is_left_out_and_told(arms: pd.DataFrame):
    with pytest.warns(AssumptionWarning, match="trial '4': no estimate of arm C, which is left out, in row 8"):
        spec = counts(changed(8, events=None)(arms))
    assert list(spec.data.loc[spec.data["study"] == "4", "treatment"]) == ["B"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"reference": "D"}, "reference: no trial has the treatment 'D'"),
        ({"measure": "md"}, "from events, total there is no 'md'"),
        ({"measure": None}, "measure is left out"),
        ({"total": None}, "of arms events is given"),
        ({"treatment": None}, "treatment is left out"),
        ({"treatment": "tretment"}, "did you mean 'treatment'"),
        ({"treat1": "treatment"}, "treat2, y, se is left out"),
        ({"psi": "equql"}, "did you mean 'equal'"),
        ({"slopes": "own"}, "slopes is 'own'"),
        ({"better": "good"}, "better is 'good'"),
        ({"covariates": "dose"}, "dose"),
        ({"treatment": ["treatment", "study"]}, "treatment lists 2, events, total names one"),
    ],
)
def test_calls_that_describe_no_network(arms: pd.DataFrame, arguments: dict[str, object], message: str):
    with pytest.raises(SpecError, match=re.escape(message)):
        counts(arms, **arguments)


WIDE = {"study": "study", "measure": "logor"}
WIDE |= {
    what: [f"{letter}{k}" for k in (1, 2, 3)] for what, letter in (("treatment", "t"), ("events", "r"), ("total", "n"))
}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            changed("x", r3=41),
            "column 'events': 41 in row x (treatment 3) exceeds the number of persons, column 'total': 40",
        ),
        (changed("y", t2="A"), "trial 'beta' has the arm 'A' twice, in rows y (treatment 1), y (treatment 2)"),
        (changed("y", study="alpha"), "trial 'alpha' has the arm 'A' twice, in rows x (treatment 1), y (treatment 1)"),
        (changed("z", r3=4), "column 'r3': 4 in row z belongs to no treatment: column 't3' is empty there"),
        (changed("z", t2=None), "column 'r2': 9 in row z belongs to no treatment: column 't2' is empty there"),
    ],
)
def test_one_row_for_each_trial_is_named_as_it_stands(change, message: str):
    """Trials keep the order of the data, whatever the labels of their rows."""
    rows = [["alpha", "A", "B", "C", 4, 7, 9, 40, 40, 40], ["beta", "A", "B", None, 3, 8, None, 40, 40, None]]
    rows += [["gamma", "B", "C", None, 6, 9, None, 40, 40, None]]
    columns = ["study", *(name for each in ("t", "r", "n") for name in (f"{each}1", f"{each}2", f"{each}3"))]
    table = pd.DataFrame(rows, index=["x", "y", "z"], columns=columns)
    spec = bm.network.specify(table.loc[["z", "x", "y"]], **WIDE)
    assert list(dict.fromkeys(spec.data["study"])) == ["gamma", "alpha", "beta"]
    with pytest.raises(DataError, match=re.escape(message)):
        bm.network.specify(change(table), **WIDE)


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning")
def test_what_no_logarithm_has_is_left_out_and_told():
    means = {"s": ["1", "1", "2", "2"], "t": list("ABAB"), "m": [2.0, -1.0, 2.0, 3.0], "sd": [1.0] * 4, "n": [20] * 4}
    with (
        pytest.warns(AssumptionWarning, match="column 'm': -1 in row 1 has no logarithm"),
        pytest.warns(AssumptionWarning, match=r"fewer than two arms with an estimate: 1 \(row 1\)"),
    ):
        bm.network.specify(means, study="s", treatment="t", mean="m", sd="sd", n="n", measure="logrom")


def test_contrasts_without_an_estimate_are_named(pairs: pd.DataFrame):
    more = pd.DataFrame([("4", "A", "C", 0.3, np.nan)], columns=pairs.columns)
    with pytest.warns(AssumptionWarning, match=r"no standard error in row 5: trial '4' \(A with C\); left out"):
        bm.network.specify(pd.concat([pairs, more], ignore_index=True), **PAIRS)
    with pytest.raises(SpecError, match=r"y is \['y'\]; of contrasts it must be the name of one column"):
        bm.network.specify(pairs, **{**PAIRS, "y": ["y"]})
    with pytest.raises(DataError, match="data is None"):
        bm.network.specify(None, **PAIRS)


def test_a_covariate_that_is_missing_may_cut_the_network(arms: pd.DataFrame):
    more = pd.DataFrame({"study": ["6", "6"], "treatment": list("AD"), "events": [4, 6], "total": 40})
    table = pd.concat([arms, more], ignore_index=True).assign(x=[*range(5), *range(5), 4, np.nan, np.nan])
    table["x"] = table.groupby("study")["x"].transform("first")
    message = "in 2 pieces that no trial connects without those that lack a covariate, '6': A, B, C | D"
    with pytest.raises(DataError, match=re.escape(message)):
        counts(table, covariates="x", slopes="common")


def test_a_covariate_is_the_same_in_all_arms_of_a_trial(arms: pd.DataFrame):
    with pytest.raises(DataError, match="column 'x' is not the same in all rows of trial '1'"):
        counts(arms.assign(x=range(len(arms))), covariates="x")


@pytest.mark.parametrize("name", ["study", "logor", "a`b", "Intercept", "any treatment", "versus"])
def test_treatments_whose_names_are_taken(arms: pd.DataFrame, name: str):
    with pytest.raises(DataError, match="give it another name"):
        counts(arms.replace({"C": name}))


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning")
def test_networks_without_a_loop(arms: pd.DataFrame):
    tree = bm.fit(counts(arms[arms["study"].isin(["1", "2", "5"])]), "fixed")
    with pytest.warns(AssumptionWarning, match="no comparison has both direct and indirect evidence"):
        split = bm.network.split(tree)
    assert np.isnan(split["difference"]).all()
    designs = bm.network.designs(tree)
    assert designs["df"].values.tolist() == [1, 1, 0]
    assert np.isnan(designs["pvalue_interaction"])
    with pytest.raises(SpecError, match="no design can contradict the others"):
        bm.network.design_by_treatment(tree)
    with pytest.raises(SpecError, match="all evidence is direct"):
        bm.network.node_split(tree, "A", "B")
    with pytest.raises(SpecError, match="no trial compares 'A' with 'C'"):
        bm.network.node_split(tree, "A", "C")


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning", "ignore::bayesmeta.AssumptionWarning")
def test_one_trial_alone(arms: pd.DataFrame):
    tree = bm.fit(counts(arms[arms["study"] == "4"]), "fixed")
    assert bm.network.league(tree)["se"].sel(treatment="A", versus="B").item() == pytest.approx(
        np.sqrt(1 / 5 + 1 / 35 + 1 / 6 + 1 / 34)
    )
    assert np.isnan(bm.network.split(tree)["indirect"]).all()


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning")
@pytest.mark.parametrize(
    ("ask", "message"),
    [
        (lambda t: bm.network.league(bm.Spec.from_tree(t)), "bm.network.league(bm.fit(spec))"),
        (lambda t: bm.network.league(t, at={"x": 1}), "at: no covariate 'x'"),
        (lambda t: bm.network.ranking(t), "better is left out"),
        (lambda t: bm.network.league_table(t, order=["A", "B"]), "it must hold each treatment once: A, B, C"),
        (lambda t: bm.network.node_split(t, "A", "D"), "versus: the network has no 'D'"),
        (lambda t: bm.network.components(t), "separator '+' is in no treatment"),
        (lambda t: bm.network.split(bm.fit(bm.network.node_split(t, "A", "B"))), "consistency models"),
        (lambda t: bm.network.designs(bm.network.node_split(t, "A", "B")), "consistency models"),
        (lambda t: bm.network.node_split(bm.network.node_split(t, "A", "B"), "A", "C"), "split of one comparison"),
        (lambda t: bm.network.contributions(t, "longest"), "method is 'longest'"),
        (lambda t: bm.plots.network_funnel(t), "order is left out"),
        (lambda t: bm.plots.network_graph(t, size="people", order=["A"]), "each treatment once"),
        (lambda t: bm.plots.network_forest(t, versus="Z"), "versus: the network has no 'Z'"),
        (lambda t: bm.plots.network_ranking(t, "larger", kind="rankogram"), "is drawn of posteriors"),
    ],
)
def test_questions_that_are_refused(arms: pd.DataFrame, ask, message: str):
    with pytest.raises(SpecError, match=re.escape(message)):
        ask(bm.fit(counts(arms)))


def test_what_is_no_network_is_refused():
    tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    for ask in (bm.network.league, bm.network.split, bm.network.designs, bm.plots.network_graph):
        with pytest.raises(SpecError, match=r"bm.network.specify makes"):
            ask(tree)


@pytest.mark.filterwarnings("ignore::bayesmeta.BoundaryWarning")
def test_the_record_survives_files(arms: pd.DataFrame, tmp_path):
    tree = bm.fit(counts(arms, better="smaller"))
    bm.save(tree, tmp_path / "network.nc")
    again = bm.load(tmp_path / "network.nc")
    assert bm.network.ranking(again).equals(bm.network.ranking(tree))
    assert bm.network.league(again).equals(bm.network.league(tree))


@pytest.mark.parametrize("add", [None, 0.5, 0])
def test_what_was_added_to_empty_cells_goes_into_the_methods(arms: pd.DataFrame, add: float | None):
    none = arms.assign(events=arms["events"].where(arms.index != 0, 0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        spec = counts(none, add=add, measure="rd" if add == 0 else "logor")
    said = "0.5 was added to the cells of all arms of trials with an empty cell: 1"
    assert (said in " ".join(bm.methods_text(bm.fit(spec)).methods.split())) == (add != 0)
    assert (said in spec.notes) == (add != 0)
