"""Correlations that are assumed in a pattern: numbers of other software, the definition, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta import within
from bayesmeta.errors import DataError
from tests.support.reference import REFERENCE, read_reference

FILES = sorted(path.stem for path in (REFERENCE / "within").glob("*.json") if path.stem != "craft2003")
CASES = [(name, i) for name in FILES for i in range(len(read_reference(f"within/{name}")["cases"]))]


def lower(S: np.ndarray) -> np.ndarray:
    """The lower triangle by column."""
    return S.T[np.triu_indices(len(S))]


@pytest.mark.parametrize(("name", "case"), CASES)
def test_covariances_are_those_of_metafor_and_clubsandwich(name: str, case: int) -> None:
    file = read_reference(f"within/{name}")
    expected, data = file["cases"][case], pd.DataFrame(file["data"])
    arguments = dict(expected["arguments"])
    if isinstance(table := arguments.get("rho"), dict):
        arguments["rho"] = pd.DataFrame(table["table"], index=table["labels"], columns=table["labels"])
    S = getattr(within, expected["builder"])(data, **arguments)
    assert [str(label) for label in S] == list(expected["S"])
    for own, theirs in zip(S.values(), expected["S"].values(), strict=True):
        sd = np.sqrt(np.diag(own))
        np.testing.assert_allclose(lower(own), np.ravel(theirs), rtol=0, atol=1e-9 * sd.max() ** 2)


def test_ten_published_data_sets() -> None:
    assert len(FILES) >= 10
    assert sum(read_reference(f"within/{name}")["citation"] != "" for name in FILES) == len(FILES)


def test_the_numbers_of_the_first_file() -> None:
    file = read_reference("metafor/vcalc")
    data = pd.DataFrame(file["data"])
    data["row"] = range(len(data))
    calls: dict[str, dict[str, Any]] = {
        "constant_rho_0.6": {"obs": "row", "rho": 0.6},
        "ar_phi_0.8": {"time1": "time", "phi": 0.8},
        "type_rho": {"type": "outcome", "rho": 0.4},
    }
    for name, arguments in calls.items():
        expected = np.array(file[name])
        if name == "type_rho":  # of both outcomes at both times
            arguments = {"type": "outcome", "obs": "row", "rho": [0.6, 0.4]}
        S = within.vcalc(data, "v", "study", checkpd=False, **arguments)
        for label, own in S.items():
            at = np.flatnonzero(data.study == label)
            np.testing.assert_allclose(own, expected[np.ix_(at, at)], rtol=1e-9, err_msg=name)


def random_table(seed: int, n: int = 14) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"study": rng.integers(0, 4, n), "v": rng.uniform(0.1, 2, n), "row": range(n)})
    data["type"] = rng.choice(["pain", "mood", "sleep"], n)
    data["arm"], data["control"] = rng.choice(["a", "b"], n), rng.choice(["c", "d"], n)
    data["t1"], data["t2"] = rng.integers(0, 4, n) / 2, rng.integers(0, 4, n) / 2
    data["n1"], data["n2"] = rng.integers(10, 90, n), rng.integers(10, 90, n)
    return data


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10_000), rho=st.floats(0, 0.9), other=st.floats(0, 0.9), phi=st.floats(0, 0.95))
def test_every_pair_by_the_definition(seed: int, rho: float, other: float, phi: float) -> None:
    data = random_table(seed)
    columns = {"obs": "row", "type": "type", "grp1": "arm", "grp2": "control", "time1": "t1", "time2": "t2"}
    columns |= {"w1": "n1", "w2": "n2"}
    S = within.vcalc(data, "v", "study", rho=[rho, other], phi=phi, checkpd=False, **columns)

    def mean(g: str, t: float, h: str, s: float) -> float:
        return float(g == h) * (1.0 if t == s else phi ** abs(t - s))

    def people(i: int, j: int) -> float:
        a, b = data.iloc[i], data.iloc[j]
        sides = [(1, "arm", "t1", "n1"), (-1, "control", "t2", "n2")]
        return sum(
            p * q * mean(a[g], a[t], b[h], b[s]) / np.sqrt(a[n] * b[m]) for p, g, t, n in sides for q, h, s, m in sides
        )

    for label, own in S.items():
        at = np.flatnonzero(data.study == label)
        for x, i in enumerate(at):
            for y, j in enumerate(at):
                measured = 1.0 if i == j else rho if data.type[i] == data.type[j] else other
                r = measured * people(i, j) / np.sqrt(people(i, i) * people(j, j))
                assert own[x, y] == pytest.approx(r * np.sqrt(data.v[i] * data.v[j]), rel=1e-9, abs=1e-12)


def test_correlations_by_study() -> None:
    data = pd.DataFrame({"s": ["a", "a", "b", "b"], "v": [1.0] * 4, "i": range(4), "r": [0.2, 0.2, 0.7, np.nan]})
    for rho in ("r", {"a": 0.2, "b": 0.7}):
        S = within.vcalc(data, "v", "s", obs="i", rho=rho)
        assert [S[label][0, 1] for label in "ab"] == [0.2, 0.7]
        assert within.imputed(data, "v", "s", rho=rho)["b"][0, 1] == 0.7


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"obs": "row"}, bm.SpecError, "obs needs rho="),
        ({"rho": 0.5}, bm.SpecError, "name their column"),
        ({"obs": "row", "type": "type", "rho": 0.5}, bm.SpecError, "must be a list of two"),
        ({"obs": "row", "rho": 1.5}, bm.SpecError, "rho is 1.5; it must lie between -1 and 1"),
        ({"obs": "row", "rho": "high"}, bm.SpecError, "no column 'high'"),
        ({"obs": "row", "rho": {0: 0.5}}, bm.SpecError, "rho has no correlation for study"),
        ({"obs": "row", "rho": "v"}, bm.DataError, r"column 'v' \(rho\) has several values"),
        ({"obs": "row", "rho": None, "phi": 0.5}, bm.SpecError, "obs needs rho="),
        ({"phi": 0.5}, bm.SpecError, "time1 and phi belong together"),
        ({"time1": "t1"}, bm.SpecError, "time1 and phi belong together"),
        ({"time1": "t1", "phi": -0.5}, bm.SpecError, "with fractional times it cannot be"),
        ({"grp2": "arm"}, bm.SpecError, "grp2 is given without grp1"),
        ({"grp1": "arm", "grp2": "arm"}, bm.DataError, "the same group at the same time in row"),
        ({"type": "type", "rho": pd.DataFrame([[1.0]], ["pain"], ["pain"])}, bm.SpecError, "no row and column for"),
        ({"rvars": ["v"], "rho": 0.5}, bm.SpecError, "leave out rho"),
        ({"rvars": ["v"]}, bm.SpecError, "rvars has 1 columns"),
        ({"grp1": "arm", "grp2": "control", "w1": "zero"}, bm.DataError, r"'zero' \(w1\) is not positive"),
        ({"vi": "zero", "obs": "row", "rho": 0.5}, bm.DataError, "'zero' is zero in row 0"),
        ({"time1": "gap", "phi": 0.5}, bm.DataError, r"'gap' \(time1\) is missing or infinite in row 3"),
    ],
)
def test_what_makes_no_sense_is_refused(changes: dict[str, Any], error: type[Exception], message: str) -> None:
    data = random_table(1).assign(zero=0.0, gap=lambda d: np.where(d.row == 3, np.nan, 1.0))
    arguments = {"vi": "v", "cluster": "study"} | changes
    with pytest.raises(error, match=message):
        within.vcalc(data, **arguments)


@settings(max_examples=30, deadline=None)
@given(m=st.integers(2, 8), rho=st.floats(-0.99, -0.05))
def test_impossible_correlations_name_the_study_and_the_nearest_possible(m: int, rho: float) -> None:
    """Equal correlations of m estimates must be above -1 / (m - 1)."""
    data = pd.DataFrame({"s": ["A 1"] * m + ["B"], "v": np.linspace(1, 2, m + 1), "i": range(m + 1)})
    limit = -1 / (m - 1)
    if rho > limit * (1 - 1e-6):
        assert np.linalg.eigvalsh(within.vcalc(data, "v", "s", obs="i", rho=rho)["A 1"])[0] > 0
        return
    with pytest.raises(bm.DataError, match=r"assumed in s A 1 .* the nearest valid rho is") as caught:
        within.vcalc(data, "v", "s", obs="i", rho=rho)
    found = float(str(caught.value).splitlines()[0].split()[-1])
    assert found == pytest.approx(limit, rel=1e-3)
    repaired = within.vcalc(data, "v", "s", obs="i", rho=rho, nearpd=True)["A 1"]
    assert np.linalg.eigvalsh(repaired)[0] > 0
    np.testing.assert_allclose(np.diag(repaired), data.v[:m], rtol=1e-9)


def test_imputed_covariances_need_what_belongs_together() -> None:
    data = random_table(2)
    for arguments, message in (
        ({}, "rho=, or of neighbouring times"),
        ({"ar1": 0.5}, "ar1 and time belong together"),
        ({"rho": 0.2, "pattern": "type"}, "must be a DataFrame"),
        ({"rho": 0.2, "ar1": -0.1, "time": "t1"}, "ar1 is -0.1; it must lie between 0 and 1"),
    ):
        with pytest.raises(bm.SpecError, match=message):
            within.imputed(data, "v", "study", **arguments)


def test_car1_is_ar1_at_any_times() -> None:
    data = pd.DataFrame({"s": ["a"] * 3, "v": [1.0, 4.0, 9.0], "t": [0.0, 0.3, 7.0]})
    S = within.car1(data, "v", 0.8, "s", "t")["a"]
    assert S[0, 2] == pytest.approx(3 * 0.8**7)
    np.testing.assert_array_equal(S, within.ar1(data, "v", 0.8, "s", "t")["a"])
    for changes, error, message in (
        ({"rho": -0.1}, bm.SpecError, "between 0 and 1"),
        ({"rho": 1}, bm.SpecError, "between 0 and 1"),
        (
            {"data": data.assign(t=[0, 0, 1])},
            bm.DataError,
            r"s a has position 0 more than once \(column 't', rows 0, 1\)",
        ),
    ):
        with pytest.raises(error, match=message):
            within.car1(**({"data": data, "variance": "v", "rho": 0.8, "group": "s", "time": "t"} | changes))


def test_what_was_assumed_goes_with_the_specification_into_every_text(tmp_path: Any) -> None:
    school = bm.datasets.load("school")
    S = within.correlated(school, variance="var", rho=0.5, group="district")
    words = "sampling errors of one district were assumed to correlate by 0.5"
    assert S.words == words
    spec = bm.specify("effect ~ 1", school, S=S, random="1 | district/study")
    assert spec.S_assumed["builder"] == "correlated"
    assert words in " ".join(repr(spec).split())
    tree = bm.load(bm.save(bm.fit(spec), tmp_path / "tree.nc"))
    assert bm.Spec.from_tree(tree).S_assumed == spec.S_assumed
    assert words in " ".join(str(bm.summary(tree)).split())
    assert f"The sampling variances were taken as known; {words}." in bm.methods_text(tree).methods
    plain = bm.specify("effect ~ 1", school, S=dict(S), random="1 | district/study")
    assert not plain.S_assumed
    assert "assumed to correlate" not in repr(plain)


def test_one_correlation_of_the_outcomes_of_a_row_is_an_assumption_too() -> None:
    berkey = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", berkey, S=["var_PD", "var_AL"], S_correlation=0.4)
    assert "outcomes of a row were assumed to correlate by 0.4" in spec.S_assumed["words"]


@pytest.mark.parametrize(
    ("argument", "words"), [("sparse", "stored by its entries"), ("retdat", "columns of your data")]
)
def test_arguments_of_vcalc_without_a_meaning_here_are_refused_with_a_reason(argument, words):
    data = pd.DataFrame({"s": ["a", "a"], "v": [1.0, 4.0], "o": [1, 2]})
    with pytest.raises(bm.SpecError, match=f"has no argument '{argument}'; .*{words}"):
        within.vcalc(data, "v", "s", obs="o", rho=0.5, **{argument: True})


def schools() -> pd.DataFrame:
    """Two effects of every school; labels of schools recur in districts, those of `school_id` do not."""
    rows = [(d, s) for d in range(5) for s in range(3) for _ in range(2)]
    data = pd.DataFrame(rows, columns=["district", "school"])
    data["school_id"] = data["district"] * 10 + data["school"]
    rng = np.random.default_rng(11)
    return data.assign(y=rng.normal(size=len(data)), v=rng.uniform(0.05, 0.2, len(data)))


def test_matrices_of_groups_inside_the_outer_level_are_taken_as_those_of_its_subgroups() -> None:
    data = schools().assign(row=range(30))
    inner = within.correlated(data, "v", 0.6, "school_id")
    outer = within.imputed(data, "v", "district", subgroup="school", rho=0.6)
    vcalc = within.vcalc(data, "v", "district", subgroup="school", obs="row", rho=0.6)
    specs = [bm.specify("y ~ 1", data, S=S, random="1 | district/school_id") for S in (inner, outer, vcalc)]
    dense = np.zeros((3, 30, 30))
    for own, spec in zip(dense, specs, strict=True):
        own[spec.S.row, spec.S.col] = own[spec.S.col, spec.S.row] = spec.S.value
    np.testing.assert_allclose(dense[1:], dense[[0, 0]], rtol=1e-14)
    sd, same = np.sqrt(data["v"].to_numpy()), np.equal.outer(*[data["school_id"].to_numpy()] * 2)
    np.testing.assert_allclose(dense[0], np.outer(sd, sd) * np.where(np.eye(len(sd)) == 1, 1, 0.6) * same, rtol=1e-12)
    tables = [bm.rho_sensitivity(spec, [0.0, 0.5]) for spec in specs]
    for table in tables[1:]:
        np.testing.assert_allclose(table["loglik"], tables[0]["loglik"], rtol=1e-9)


def test_matrices_over_labels_that_recur_in_outer_groups_name_the_remedy() -> None:
    data = schools()
    with pytest.raises(
        DataError, match=r"one matrix for school 0, 1, 2, whose rows lie in several groups of 'dist"
    ) as e:
        bm.specify("y ~ 1", data, S=within.correlated(data, "v", 0.6, "school"), random="1 | district/school")
    assert "group='district', subgroup='school' of bm.within.imputed" in str(e.value)


def test_words_name_the_people_whose_estimates_are_correlated() -> None:
    data = schools().assign(row=range(30))
    for S in (
        within.imputed(data, "v", "district", subgroup="school", rho=0.6),
        within.vcalc(data, "v", "district", subgroup="school", obs="row", rho=0.6),
    ):
        spec = bm.specify("y ~ 1", data, S=S, random="1 | district/school")
        for text in (S.words, str(bm.summary(bm.fit(spec))), bm.methods_text(bm.fit(spec)).methods):
            assert "sampling errors of one school of a district were assumed to correlate by 0.6" in " ".join(
                text.split()
            )
