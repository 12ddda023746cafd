"""From a data frame to a frozen specification: what is kept, in which order, what is refused and in which words."""

import dataclasses
import warnings
from typing import get_args

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import structures
from bayesmeta.measures import MEASURES
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import MeasureName, StructureName


def trials() -> pd.DataFrame:
    """Two outcomes of ten trials in four regions; trial names recur in other regions and contain separators."""
    return pd.DataFrame(
        {
            "A": [0.1, 0.4, np.nan, 0.3, 0.9, 0.2, np.nan, 0.8, 0.5, 0.7],
            "B": [1.0, np.nan, 1.3, 1.1, 1.9, 1.4, np.nan, 1.2, 1.6, 1.5],
            "vA": np.linspace(0.1, 0.28, 10),
            "vB": np.linspace(0.5, 0.68, 10),
            "x": [1.0, 2.0, 5.0, np.nan, 3.0, 4.0, 0.0, 2.0, 7.0, 1.0],
            "off": [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, np.nan, 8.0, 9.0],
            "region": [2, 1, 2, 1, "2", "a/b", 1, 1, "a", np.nan],
            "trial": ["t", "t", "u", "t", "t", "c", "u", "u", "b/c", "t"],
        },
        index=list("jihgfedcba"),
    )


def specify(formula="A + B ~ x", data=None, S=("vA", "vB"), psi="diag", **options) -> Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        return bm.specify(formula, trials() if data is None else data, S=S, psi=psi, **options)


def refused(error, pattern, *args, **options) -> str:
    with pytest.raises(error, match=pattern) as caught:
        specify(*args, **options)
    return str(caught.value)


# ---- rows and observations


def test_rows_are_dropped_with_a_reason_and_observations_keep_the_order_of_the_data():
    spec = specify(random="1 | region/trial", offset="off")
    reasons = dict(zip(spec.row_labels, spec.dropped, strict=True))
    assert reasons.pop("g") == "missing x"
    assert reasons.pop("d") == "all outcomes missing"
    assert reasons.pop("c") == "missing off"
    assert reasons.pop("a") == "missing group region"
    assert set(reasons.values()) == {""}
    np.testing.assert_array_equal(spec.kept, [not reason for reason in spec.dropped])
    assert [spec.row_labels[r] + spec.outcomes[j] for r, j in zip(spec.row, spec.outcome_index, strict=True)] == [
        *("jA", "jB", "iA", "hB", "fA", "fB", "eA", "eB", "bA", "bB")
    ]
    data = trials()
    np.testing.assert_array_equal(spec.y, data[["A", "B"]].to_numpy()[spec.row, spec.outcome_index])
    np.testing.assert_array_equal(spec.S.variances, data[["vA", "vB"]].to_numpy()[spec.row, spec.outcome_index])
    np.testing.assert_array_equal(spec.offset, data["off"].to_numpy()[spec.row])
    assert spec.coef == ("A.Intercept", "B.Intercept", "A.x", "B.x")
    x = data["x"].to_numpy()[spec.row]
    first = spec.outcome_index == 0
    np.testing.assert_array_equal(spec.X, np.column_stack([first, ~first, x * first, x * ~first]))


def test_one_outcome_missing_is_said_by_its_name():
    assert specify("A ~ 1", S="vA").dropped[2] == "missing A"


def test_groups_are_paths_numbered_by_first_appearance():
    outer, inner = specify(random="1 | region/trial").levels
    assert (outer.name, inner.name) == ("region", "trial")
    assert outer.labels == (("2",), ("1",), ("a/b",), ("a",))
    assert inner.labels == (("2", "t"), ("1", "t"), ("2", "u"), ("a/b", "c"), ("1", "u"), ("a", "b/c"))
    rows = list("jjihffeeccbb")
    region = {"j": 0, "i": 1, "h": 0, "f": 0, "e": 2, "c": 1, "b": 3}
    trial = {"j": 0, "i": 1, "h": 2, "f": 0, "e": 3, "c": 4, "b": 5}
    np.testing.assert_array_equal(outer.index, [region[r] for r in rows])
    np.testing.assert_array_equal(inner.index, [trial[r] for r in rows])


def test_matrices_are_those_that_the_design_gives_for_the_same_rows():
    spec = specify(random={"region": "1 + x", "trial": "1"})
    rows = spec.data[spec.kept]
    unit = np.cumsum(spec.kept)[spec.row] - 1
    for level in spec.levels:
        np.testing.assert_array_equal(level.Z, spec.design.random(level.name, rows)[unit, spec.outcome_index])
    assert spec.levels[0].effects == ("A.Intercept", "B.Intercept", "A.x", "B.x")
    np.testing.assert_array_equal(spec.X, spec.design.fixed(rows)[unit, spec.outcome_index])


def test_without_a_random_part_each_row_is_its_own_group():
    spec = specify()
    (unit,) = spec.levels
    assert (unit.name, unit.effects) == ("unit", ("A", "B"))
    assert unit.labels == tuple((label,) for label in "jihfecba")
    np.testing.assert_array_equal(spec.row[np.unique(unit.index, return_index=True)[1]], np.flatnonzero(spec.kept))
    np.testing.assert_array_equal(unit.Z, np.eye(2)[spec.outcome_index])


def test_rows_with_one_label_stay_apart():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0], "v": [0.1, 0.2, 0.3]}, index=["s", "s", "s"])
    spec = specify("y ~ 1", data, S="v")
    assert spec.row_labels == ("s", "s", "s")
    np.testing.assert_array_equal(spec.levels[0].index, [0, 1, 2])


@pytest.mark.parametrize("options", [{"groups": "region"}, {"random": "0 | region"}])
def test_groups_without_effects(options):
    (level,) = specify(**options).levels
    assert (level.name, level.effects, level.dim, level.n_groups) == ("region", (), 0, 4)
    assert level.Z.shape == (12, 0)
    assert level.structure == bm.structures.Fixed(np.zeros((0, 0)))


def test_offset_as_numbers_is_kept_among_the_raw_columns():
    given = trials()["off"]
    by_name = specify(offset="off")
    for offset in (given, given.to_numpy(), given.tolist()):
        spec = specify(offset=offset)
        np.testing.assert_array_equal(spec.offset, by_name.offset)
        np.testing.assert_array_equal(spec.data["(offset)"], given)
        assert spec.dropped[7] == "missing (offset)"
        np.testing.assert_array_equal(spec.design.offset(spec.data), given)


def test_permuted_rows_and_other_labels_give_the_same_model():
    spec = specify(random="1 | region/trial")
    order = np.array([3, 8, 0, 9, 5, 2, 7, 1, 6, 4])
    data = trials().iloc[order]
    data["trial"] = "no. " + data["trial"]
    other = specify(data=data, random="1 | region/trial")

    def facts(s: Spec) -> dict:
        keys = [(s.row_labels[r], j) for r, j in zip(s.row, s.outcome_index, strict=True)]
        same = [
            {
                key: frozenset(k for k, g in zip(keys, level.index, strict=True) if g == here)
                for key, here in zip(keys, level.index, strict=True)
            }
            for level in s.levels
        ]
        return {
            key: (
                s.y[i],
                *s.X[i],
                s.S.variances[i],
                *(z for level in s.levels for z in level.Z[i]),
                *(level[key] for level in same),
            )
            for i, key in enumerate(keys)
        }

    assert facts(spec) == facts(other)
    reasons = [dict(zip(s.row_labels, s.dropped, strict=True)) for s in (spec, other)]
    assert reasons[0] == reasons[1]


def test_other_tables_and_column_names():
    spec = bm.specify("A ~ 1", trials()[["A", "vA"]].to_dict("list"), S="vA")
    np.testing.assert_array_equal(spec.y, specify("A ~ 1", S="vA").y)
    assert spec.row_labels == tuple(map(str, range(10)))
    numbered = pd.DataFrame({0: [1.0, 2.0], "v": [0.1, 0.2], 7: ["p", "q"]})
    assert bm.specify("`0` ~ 1", numbered, S="v", groups="7").levels[0].labels == (("p",), ("q",))
    records = np.array([(1.0, 0.1), (2.0, 0.2)], dtype=[("y", float), ("v", float)])
    np.testing.assert_array_equal(bm.specify("y ~ 1", records, S="v").y, [1.0, 2.0])


def test_nullable_and_integer_columns_are_numbers():
    data = trials().convert_dtypes()
    np.testing.assert_array_equal(specify(data=data).y, specify().y)
    whole = pd.DataFrame({"y": [1, 2, 4], "v": [1, 1, 2], "x": [0, 1, 1]})
    spec = bm.specify("y ~ x", whole, S="v")
    assert spec.y.dtype == spec.X.dtype == spec.S.value.dtype == np.float64


# ---- frozen, complete, dumb


def test_the_callers_objects_are_left_alone_and_cannot_change_the_specification():
    data, before, random = trials(), trials(), {"region": "1", "trial": "1"}
    spec = specify(data=data, random=random, offset=np.ones(10))
    pd.testing.assert_frame_equal(data, before)
    data.loc[:, "A"] = 99.0
    random["trial"] = "1 + x"
    np.testing.assert_array_equal(spec.data["A"], before["A"])
    assert spec.terms.random == {"region": "1", "trial": "1"}
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.y = np.zeros(3)


def test_raw_columns_are_those_of_the_input():
    spec = specify("A + B ~ x", random="1 | region", offset="off")
    pd.testing.assert_frame_equal(spec.data, trials())
    assert set(spec.design.parsed.columns) == {"A", "B", "x", "region", "off"}


def test_terms_hold_the_formulas_as_given():
    spec = specify({"A": "1 + x", "B": "1"}, random=["1 | region", "1 | trial"], measure="logor")
    assert spec.terms.fixed == {"A": "1 + x", "B": "1"}
    assert spec.terms.random == ("1 | region", "1 | trial")
    assert spec.coef == ("A.Intercept", "B.Intercept", "A.x")
    assert spec.measure == "logor"
    common = specify("A + B ~ 1", common="x")
    assert (common.terms.common, common.coef) == ("x", ("A.Intercept", "B.Intercept", "x"))


# ---- structures


def test_structures_by_level_by_name_and_by_object():
    matrix = np.array([[2.0, 1.0], [1.0, 2.0]])
    prop = bm.structures.Proportional(matrix)
    region, trial = specify(random="1 | region/trial", psi={"trial": prop, "region": "cs"}).levels
    assert (region.structure.name, trial.structure) == ("cs", prop)
    assert [level.structure.name for level in specify(random="1 | region/trial", psi="hcs").levels] == ["hcs", "hcs"]
    assert specify(psi={"unit": "id"}).levels[0].structure.name == "id"
    mixed = specify(random={"region": "0", "trial": "1"}, psi={"trial": "id"})
    assert [level.structure.name for level in mixed.levels] == ["fixed", "id"]


@pytest.mark.parametrize(
    ("psi", "pattern"),
    [
        ({"regoin": "id", "trial": "id"}, "^psi: no level 'regoin'; did you mean 'region'"),
        ({"trial": "id"}, "^psi names no structure for the level 'region'"),
        ("unstrr", "^psi of level 'region': structure is 'unstrr'; did you mean 'unstr'"),
        ({"region": "id", "trial": "toeplitz"}, "^psi of level 'trial': structure is 'toeplitz'"),
        ({"region": "prop", "trial": "id"}, "^psi of level 'region': structure 'prop' needs a matrix"),
        (["id", "id"], "^psi of level 'region': structure is "),
    ],
)
def test_bad_psi(psi, pattern):
    refused(bm.SpecError, pattern, random="1 | region/trial", psi=psi)


def test_a_level_without_effects_takes_no_structure():
    pattern = "^psi names a structure for the level 'region', which has no random effects"
    refused(bm.SpecError, pattern, random={"region": "0", "trial": "1"}, psi={"region": "id", "trial": "id"})


def test_structures_that_cannot_have_the_dimension_name_the_level():
    for name in ("cs", "hcs", "ar1", "har1"):
        refused(bm.SpecError, f"^psi of level 'unit': structure '{name}' needs at least 2", "A ~ 1", S="vA", psi=name)
    wide = bm.structures.KnownCorrelation(np.eye(3))
    refused(bm.SpecError, "^psi of level 'trial': matrix of structure 'cor' is 3 x 3", random="1 | trial", psi=wide)


# ---- bad input


def test_unknown_columns_name_the_close_ones():
    refused(bm.SpecError, "no column 'C'|unknown column 'C'", "A + C ~ x", S=("vA", "vB"))
    assert "did you mean 'region'" in refused(bm.SpecError, "regoin", random="1 | regoin")
    assert "did you mean 'region'" in refused(bm.SpecError, "regoin", groups="regoin")
    assert "did you mean 'off'" in refused(bm.SpecError, "offf", offset="offf")
    refused(bm.SpecError, "^S: the data have no column 'regions'; did you mean 'region'", S=("vA", "regions"))


def test_unknown_measure():
    text = refused(bm.SpecError, "^measure is 'loggor'; did you mean 'logor'", measure="loggor")
    assert "smd" in text


@pytest.mark.parametrize("value", ["n/a", "0.5", pd.Timestamp("2020-01-01"), 1j])
def test_outcomes_that_are_no_numbers(value):
    data = trials().astype({"A": object})
    data.loc["f", "A"] = value
    text = refused(bm.DataError, "column 'A' is not numeric: row f", data=data)
    assert "pandas.to_numeric" in text


def test_infinite_values_name_column_and_row():
    for column in ("A", "x", "off"):
        data = trials()
        data.loc["f", column] = np.inf
        refused(bm.DataError, f"{column}.* row f", data=data, offset="off")


def test_nothing_left_says_why():
    data = trials()
    data["x"] = np.nan
    refused(bm.DataError, r"^nothing is left of 10 rows: missing x \(10\)", data=data)
    data["x"] = np.where(data["A"].isna(), 1.0, np.nan)
    refused(bm.DataError, r"^nothing is left of 10 rows: missing x \(8\), missing A \(2\)", "A ~ x", data=data, S="vA")
    refused(bm.DataError, "^the data have no rows", data=trials()[:0])
    refused(bm.DataError, "^data is a int that cannot become a data frame", data=7)


@pytest.mark.parametrize(
    ("offset", "error", "pattern"),
    [
        ([1.0, 2.0], bm.SpecError, r"^offset has shape \(2,\); expected a column name or \(10,\) numbers"),
        (1.0, bm.SpecError, r"^offset has shape \(\)"),
        ("trial", bm.DataError, "column 'trial' is not numeric"),
        (trials()["off"].iloc[::-1], bm.DataError, "^offset is a pandas object whose index is not that of the data"),
    ],
)
def test_bad_offsets(offset, error, pattern):
    refused(error, pattern, offset=offset)


def test_aliased_columns_are_named_with_what_they_follow_from():
    data = trials().assign(z=lambda d: 2 * d.x - 3, w=1e9, zero=0.0)
    refused(
        bm.SpecError,
        "^the fixed part has aliased columns: 'z' follows from Intercept, x\n",
        "A ~ x + z",
        data=data,
        S="vA",
    )
    text = refused(
        bm.SpecError,
        "aliased columns: 'w' follows from Intercept; 'zero' is zero throughout",
        "A ~ w + zero",
        data=data,
        S="vA",
    )
    assert "3 coefficients, rank 1" in text
    text = refused(
        bm.SpecError,
        "'A.z' follows from A.Intercept, A.x; 'B.z' follows from B.Intercept, B.x",
        "A + B ~ x + z",
        data=data,
    )


def test_an_outcome_that_is_never_observed_leaves_its_coefficients_empty():
    refused(bm.SpecError, "'B.Intercept' is zero throughout", "A + B ~ 1", data=trials().assign(B=np.nan))


def test_nearly_aliased_columns_are_fitted():
    rng = np.random.default_rng(3)
    data = pd.DataFrame(
        {"y": rng.normal(size=12), "v": 1.0, "year": np.arange(1995.0, 2007.0), "grams": rng.uniform(0, 60, 12)}
    )
    assert len(bm.specify("y ~ year + I(year**2)", data, S="v").coef) == 3
    assert len(bm.specify("y ~ grams + I(grams**2) + I(grams**3)", data, S="v").coef) == 4


def test_more_coefficients_than_observations():
    data = {"y": [1.0, 2.0], "v": [1.0, 1.0], "x": [1.0, 2.0], "z": [3.0, 5.0]}
    refused(
        bm.SpecError,
        "^more coefficients than observations: 3 coefficients, 2 observations\n",
        "y ~ x + z",
        data=data,
        S="v",
    )


def test_random_and_groups_exclude_each_other():
    refused(bm.SpecError, "both random and groups", random="1 | region", groups="region")


# ---- warnings and notes


def test_assumptions_and_boundaries_are_warned_of_and_noted():
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        spec = bm.specify("A + B ~ 1", trials().assign(all=1), S=["vA", "vB"], random="1 | all", psi="id")
    assert [w.category for w in caught] == [bm.AssumptionWarning, bm.BoundaryWarning]
    assert tuple(str(w.message) for w in caught) == spec.notes
    assert {w.filename for w in caught} == {__file__}


CROSSED = pd.DataFrame(
    {
        "y": [0.1, 0.4, 0.2, 0.6, 0.3, 0.9, 0.5, 0.2],
        "v": 0.1,
        "x": np.arange(8.0),
        "lab": list("aabbccaa"),
        "year": [1, 2, 1, 2, 1, 3, 1, 2],
        "arm": list("ijijijkl"),
    }
)
WARNED = (
    "labels of '{inner}' ({labels}) recur in several groups of '{outer}' and count as another group in each; if that "
    "is meant write '{path}' in random=; crossed effects, one for each label of '{inner}' across all groups of "
    "'{outer}', cannot be fitted yet"
)


@pytest.mark.parametrize(
    ("random", "path"),
    [
        (["1 | lab", "1 | year"], "lab/year"),
        (["1 | lab", "0 + x | year"], "lab/year"),
        ({"lab": "1", "year": "1"}, "lab/year"),
        (["1 | lab", "1 | year/arm"], "lab/year"),
    ],
)
def test_labels_that_recur_in_several_outer_groups_are_said_to_be_nested(random, path):
    with pytest.warns(bm.AssumptionWarning) as caught:
        spec = bm.specify("y ~ 1", CROSSED, S="v", random=random)
    outer, inner = path.split("/")
    (note,) = spec.notes
    assert note == str(caught[0].message) == WARNED.format(inner=inner, outer=outer, labels="1, 2", path=path)


def test_the_whole_path_is_what_to_write_of_a_third_level():
    message = "labels of 'arm' .* recur in several groups of 'year' .* write 'lab/year/arm' in random="
    with pytest.warns(bm.AssumptionWarning, match=message):
        bm.specify("y ~ 1", CROSSED, S="v", random=["1 | lab/year", "1 | arm"])


@pytest.mark.parametrize(
    "random",
    [
        "1 | lab/year",
        "1 | lab/year/arm",
        ["1 | lab/year"],
        {"lab": "1", "lab/year": "0 + x"},
        {"lab": "1", "lab/year": "1", "lab/year/arm": "1"},
        ["1 | lab"],
    ],
)
def test_levels_that_are_written_as_nested_are_not_warned_of(random):
    assert bm.specify("y ~ 1", CROSSED, S="v", random=random).notes == ()


def test_labels_that_recur_in_dropped_rows_only_are_not_warned_of():
    data = CROSSED.assign(year=[1, 2, 3, 4, 5, 6, 1, 2], y=CROSSED.y.where(CROSSED.index < 6))
    data.loc[7, "lab"] = "b"
    assert bm.specify("y ~ 1", data, S="v", random=["1 | lab", "1 | year"]).notes == ()
    with pytest.warns(bm.AssumptionWarning, match=r"labels of 'year' \(2\) recur"):
        bm.specify("y ~ 1", data.assign(y=1.0 * data.index), S="v", random=["1 | lab", "1 | year"])


def test_school_is_nested_however_it_is_written():
    school = bm.datasets.load("school")
    for random in ("1 | district/study", ["1 | district", "1 | study"], {"district": "1", "study": "1"}):
        assert bm.specify("effect ~ 1", school, S="var", random=random).notes == ()
    with pytest.warns(bm.AssumptionWarning, match="labels of 'year' .* recur in several groups of 'district'"):
        bm.specify("effect ~ 1", school, S="var", random=["1 | district", "1 | year"])


def test_a_model_without_reservations_is_silent():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0, 5.0, 2.0], "v": 1.0, "g": list("aabbcc"), "h": list("ijijij")})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert bm.specify("y ~ 1", data, S="v", random="1 | g/h").notes == ()


# ---- real data


def test_school_has_its_published_size(table):
    spec = bm.specify("effect ~ 1", table("school"), S="var", random="1 | district/study")
    assert (len(spec.y), [level.n_groups for level in spec.levels]) == (56, [11, 56])
    assert spec.levels[1].labels[0] == ("11", "1")


def test_smoking_keeps_all_rows_with_any_outcome(table):
    data = table("smoking")
    spec = bm.specify("yB + yC + yD ~ 1", data, S=["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"])
    assert (len(spec.y), spec.levels[0].n_groups, len(spec.S.value)) == (31, 24, 39)
    assert spec.kept.all()


def test_gliomas_by_matrices_of_the_builder(table):
    data = table("gliomas")
    S = bm.within.ar1(data, variance="logORvar", rho=0.61, group="study")
    spec = bm.specify("logOR ~ 0 + C(time)", data, S=S, random="0 + C(time) | study", psi="har1")
    assert len(spec.y) == 66
    first = spec.S.row[spec.levels[0].index[spec.S.row] == 0].max() + 1
    dense = np.zeros((first, first))
    inside = spec.S.row < first
    dense[spec.S.row[inside], spec.S.col[inside]] = spec.S.value[inside]
    sd = np.sqrt(data.logORvar[:4])
    np.testing.assert_allclose(
        dense, np.tril(np.outer(sd, sd) * 0.61 ** np.abs(np.subtract.outer(range(4), range(4)))), rtol=1e-14
    )


def test_a_wrong_length_of_variances_says_the_right_one():
    with pytest.raises(
        bm.SpecError, match=r"S has shape \(3,\).*\n  expected \(2,\) variances or \(2, 2\) one matrix$"
    ):
        bm.specify("y ~ 1", {"y": [0.5, 1.0]}, S=[0.1, 0.2, 0.3])


def test_the_names_of_the_signature_are_those_registered() -> None:
    without_arguments = {name for name, structure in structures.REGISTER.items() if not structure.arguments}
    assert set(get_args(StructureName)) == without_arguments
    assert set(get_args(MeasureName)) == set(MEASURES)
