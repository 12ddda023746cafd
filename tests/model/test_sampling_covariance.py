"""Every form of S gives the same matrix, and nothing that is no covariance matrix of the data gets through."""

import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

import bayesmeta as bm
from bayesmeta.model.spec import Spec

VARIANCES = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 8.0], [9.0, 10.0], [11.0, 12.0]])
COVARIANCES = np.array([0.5, -1.0, 0.0, 2.0, -3.0, 4.0])


def matrices() -> np.ndarray:
    S = np.zeros((6, 2, 2))
    S[:, [0, 1], [0, 1]] = VARIANCES
    S[:, 0, 1] = S[:, 1, 0] = COVARIANCES
    return S


def table() -> pd.DataFrame:
    """Two outcomes in six rows of two studies, in turn: row b lacks A, row e lacks B, row d lacks the predictor."""
    return pd.DataFrame(
        {
            "A": [0.1, np.nan, 0.3, 0.4, 0.5, 0.6],
            "B": [1.1, 1.2, 1.3, 1.4, np.nan, 1.6],
            "x": [1.0, 2.0, 4.0, np.nan, 5.0, 3.0],
            "study": [7, "8", 7, "8", 7, "8"],
            "vA": VARIANCES[:, 0],
            "cAB": COVARIANCES,
            "vB": VARIANCES[:, 1],
            "rho": COVARIANCES / np.sqrt(VARIANCES.prod(axis=1)),
        },
        index=list("abcdef"),
    )


def specify(S, data=None, random="1 | study", **options) -> Spec:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BoundaryWarning)
        return bm.specify("A + B ~ x", table() if data is None else data, S=S, random=random, psi="diag", **options)


def dense(spec: Spec) -> np.ndarray:
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = spec.S.value
    S[spec.S.col, spec.S.row] = spec.S.value
    return S


def block_diagonal(blocks: np.ndarray) -> np.ndarray:
    """(6, 2, 2) -> (12, 12)."""
    whole = np.zeros((12, 12))
    for i, block in enumerate(blocks):
        whole[2 * i : 2 * i + 2, 2 * i : 2 * i + 2] = block
    return whole


PRESENT = np.array([0, 1, 3, 4, 5, 6, 7, 8, 10, 11])
OBSERVED = np.array([0, 1, 3, 4, 5, 8, 10, 11])  # of the twelve cells: without the missing outcomes and row d
STUDIES = {7: np.array([0, 1, 4, 5, 8, 9]), 8: np.array([2, 3, 6, 7, 10, 11])}


def by_study(cells=None, whole=None) -> dict:
    whole = block_diagonal(matrices()) if whole is None else whole
    inside = {g: c if cells is None else c[np.isin(c, cells)] for g, c in STUDIES.items()}
    return {g: whole[np.ix_(c, c)] for g, c in inside.items()}


def forms() -> dict:
    data, whole = table(), block_diagonal(matrices())
    triangle = np.column_stack([VARIANCES[:, 0], COVARIANCES, VARIANCES[:, 1]])
    text = {str(g): matrix for g, matrix in by_study().items()}
    return {
        "names": ["vA", "cAB", "vB"],
        "tuple of names": ("vA", "cAB", "vB"),
        "lower triangles": triangle,
        "nested lists": triangle.tolist(),
        "data frame": data[["vA", "cAB", "vB"]],
        "nullable data frame": data[["vA", "cAB", "vB"]].astype("Float64"),
        "matrices": matrices(),
        "list of matrices": list(matrices()),
        "dict, full size": by_study(),
        "dict, missing outcomes left out": by_study(PRESENT),
        "dict, missing outcomes and dropped rows left out": by_study(OBSERVED),
        "dict, in another order": dict(reversed(by_study().items())),
        "dict, labels as text": text,
        "dict, labels as floats": {float(g): matrix for g, matrix in by_study().items()},
        "one matrix": whole,
        "one matrix of those present": whole[np.ix_(PRESENT, PRESENT)],
        "one matrix of those observed": whole[np.ix_(OBSERVED, OBSERVED)],
    }


@pytest.mark.parametrize("form", forms())
def test_every_form_gives_the_same_triplets(form):
    found, known = specify(forms()[form]).S, block_diagonal(matrices())[np.ix_(OBSERVED, OBSERVED)]
    row, col = np.nonzero(np.tril(known))
    np.testing.assert_array_equal(found.row, row)
    np.testing.assert_array_equal(found.col, col)
    np.testing.assert_array_equal(found.value, known[row, col])


def correlations() -> dict:
    rho = table()["rho"].to_numpy()
    return {
        "column": "rho",
        "per row": rho,
        "series": table()["rho"],
        "matrix of one column": rho[:, None],
        "name in a list": ["rho"],
    }


@pytest.mark.parametrize("form", correlations())
@pytest.mark.parametrize(
    "variances", [["vA", "vB"], VARIANCES, bm.within.from_se(np.sqrt(VARIANCES))], ids=["names", "array", "se"]
)
def test_variances_with_correlations_equal_the_matrices(variances, form, recwarn):
    np.testing.assert_allclose(
        dense(specify(variances, S_correlation=correlations()[form])),
        dense(specify(matrices())),
        rtol=1e-14,
        atol=1e-15,
    )
    assert not [w for w in recwarn if issubclass(w.category, bm.AssumptionWarning)]


@pytest.mark.parametrize(
    "rho", [0.3, [0.3], np.array(0.3), [[1, 0.3], [0.3, 1]]], ids=["number", "vector", "0-d", "matrix"]
)
def test_one_correlation_for_all_rows(rho):
    S = matrices()
    S[:, 0, 1] = S[:, 1, 0] = 0.3 * np.sqrt(VARIANCES.prod(axis=1))
    np.testing.assert_allclose(dense(specify(VARIANCES, S_correlation=rho)), dense(specify(S)), rtol=1e-15)


def test_variances_alone_assume_zero_covariances_and_say_so():
    with pytest.warns(
        bm.AssumptionWarning, match="sampling covariances between the outcomes of a row are taken as zero"
    ):
        spec = specify(["vA", "vB"])
    assert any("taken as zero" in note for note in spec.notes)
    np.testing.assert_array_equal(dense(spec), np.diag(VARIANCES.ravel()[OBSERVED]))


def test_nothing_is_assumed_where_no_row_has_two_outcomes(recwarn):
    data = table().assign(A=[np.nan, np.nan, np.nan, 0.4, 0.5, 0.6], B=[1.1, 1.2, 1.3, np.nan, np.nan, np.nan])
    spec = specify(["vA", "vB"], data)
    assert not spec.notes or "taken as zero" not in spec.notes[0]
    assert not [w for w in recwarn if issubclass(w.category, bm.AssumptionWarning)]


@pytest.fixture
def three() -> pd.DataFrame:
    return pd.DataFrame({"A": [1.0, 2, 3], "B": [1.0, 3, 2], "C": [2.0, 1, 5]})


THREE = np.array([[4.0, 1.0, 2.0], [1.0, 9.0, 3.0], [2.0, 3.0, 16.0]])
ROOTS = np.sqrt(np.diag(THREE))


@pytest.mark.parametrize(
    ("S", "rho"),
    [
        (np.tile([4.0, 1, 2, 9, 3, 16], (3, 1)), None),
        (np.tile(THREE, (3, 1, 1)), None),
        (np.tile([4.0, 9, 16], (3, 1)), [1 / 6, 1 / 4, 1 / 4]),
        (np.tile([4.0, 9, 16], (3, 1)), np.tile([1 / 6, 1 / 4, 1 / 4], (3, 1))),
        (np.tile([4.0, 9, 16], (3, 1)), THREE / np.outer(ROOTS, ROOTS)),
    ],
    ids=["triangles", "matrices", "three correlations", "three per row", "correlation matrix"],
)
def test_lower_triangle_goes_by_column(three, S, rho):
    spec = bm.specify("A + B + C ~ 1", three, S=S, S_correlation=rho, psi="id")
    for i in range(3):
        np.testing.assert_allclose(dense(spec)[3 * i : 3 * i + 3, 3 * i : 3 * i + 3], THREE, rtol=1e-15)


@pytest.mark.parametrize(
    "S", ["v", ["v"], np.array([0.1, 0.2, 0.3]), [0.1, 0.2, 0.3], [[0.1], [0.2], [0.3]], np.diag([0.1, 0.2, 0.3])]
)
def test_forms_for_one_outcome(S):
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0], "v": [0.1, 0.2, 0.3]})
    np.testing.assert_array_equal(dense(bm.specify("y ~ 1", data, S=S)), np.diag([0.1, 0.2, 0.3]))


def test_scalars_stand_for_groups_with_one_observation():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0], "g": ["u", "v", "w"]})
    spec = bm.specify("y ~ 1", data, S={"w": 0.3, "u": [0.1], "v": [[0.2]]}, groups="g")
    np.testing.assert_array_equal(spec.S.variances, [0.1, 0.2, 0.3])


def test_masked_variances_are_missing():
    data = pd.DataFrame({"y": [1.0, 2.0, np.nan]})
    spec = bm.specify("y ~ 1", data, S=np.ma.masked_array([0.1, 0.2, 0.3], [0, 0, 1]))
    np.testing.assert_array_equal(spec.S.variances, [0.1, 0.2])
    with pytest.raises(bm.DataError, match="sampling variance of row 1 is missing"):
        bm.specify("y ~ 1", data, S=np.ma.masked_array([0.1, 0.2, 0.3], [0, 1, 1]))


@pytest.mark.parametrize("odd", [np.nan, 0.0, -1.0, np.inf, 1e9])
def test_entries_for_missing_outcomes_are_ignored(odd):
    S = matrices()
    S[1, 0, 0] = S[1, 0, 1] = odd  # row b lacks A; its two triangles need not agree either
    S[4, 1, :] = odd
    S[3] = odd
    np.testing.assert_array_equal(dense(specify(S)), dense(specify(matrices())))
    whole = by_study(whole=block_diagonal(S))
    np.testing.assert_array_equal(dense(specify(whole)), dense(specify(matrices())))


def test_matrices_by_study_couple_its_rows_and_no_others():
    rng = np.random.default_rng(5)
    whole = np.zeros((12, 12))
    for cells in STUDIES.values():
        root = rng.normal(size=(6, 8))
        whole[np.ix_(cells, cells)] = root @ root.T
    for cells in (None, PRESENT, OBSERVED):
        spec = specify(by_study(cells, whole))
        np.testing.assert_allclose(dense(spec), whole[np.ix_(OBSERVED, OBSERVED)], rtol=1e-15)
    np.testing.assert_allclose(dense(specify(whole)), whole[np.ix_(OBSERVED, OBSERVED)], rtol=1e-15)


def test_a_dict_may_leave_out_a_group_without_observations():
    data = table()
    data.loc[data.study == "8", "x"] = np.nan
    only = {7: by_study()[7]}
    np.testing.assert_array_equal(dense(specify(only, data)), dense(specify(by_study(), data)))


def test_labels_that_contain_separators_are_matched_whole():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0, 3.0], "g": ["a", "a/b", "a", "a-b"], "h": ["b", "c", "c", "b"]})
    S = {"a/b": 0.3, "a": [[0.1, 0.01], [0.01, 0.2]], "a-b": 0.4}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BoundaryWarning)
        spec = bm.specify("y ~ 1", data, S=S, random="1 | g/h")
    np.testing.assert_array_equal(spec.S.variances, [0.1, 0.3, 0.2, 0.4])
    assert (spec.S.row[spec.S.value == 0.01], spec.S.col[spec.S.value == 0.01]) == (2, 0)


# ---- what is refused


def refused(error, pattern, S, data=None, **options):
    with pytest.raises(error, match=pattern) as caught:
        specify(S, data, **options)
    return str(caught.value)


def with_entry(value, row, i, j) -> np.ndarray:
    S = matrices()
    S[row, i, j] = S[row, j, i] = value
    return S


@pytest.mark.parametrize(
    ("value", "what"),
    [(0.0, "zero"), (-0.2, "negative"), (np.nan, "missing where the outcome is observed"), (np.inf, "infinite")],
)
def test_impossible_variances_name_row_outcome_and_columns(value, what):
    refused(bm.DataError, rf"^sampling variance of B in row c is {what} \(S\)", with_entry(value, 2, 1, 1))
    data = table()
    data.loc[["a", "f"], "vB"] = value
    refused(bm.DataError, rf"B in row a, B in row f is {what} \(columns vA, cAB, vB\)", ["vA", "cAB", "vB"], data)
    refused(
        bm.DataError, rf"B in row a, B in row f is {what} \(columns vA, vB\)", ["vA", "vB"], data, S_correlation=0.1
    )
    one = pd.DataFrame({"y": [1.0, 2.0, 3.0], "v": [0.1, value, value]})
    with pytest.raises(
        bm.DataError, match=rf"^sampling variance of rows 1, 2 is {what} \(column v\)\n.* standard error"
    ):
        bm.specify("y ~ 1", one, S="v")


def test_a_negative_standard_error_does_not_vanish_in_its_square():
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "se": [0.1, -0.2, 0.3]})
    with pytest.raises(bm.DataError, match=r"row 1 is negative \(column se\)"):
        bm.specify("y ~ 1", data, S=bm.within.from_se("se"))


SE = np.sqrt(VARIANCES)


@pytest.mark.parametrize(
    "se", [["sA", "sB"], SE, pd.DataFrame(SE, table().index, ["A", "B"])], ids=["names", "array", "frame"]
)
def test_standard_errors_of_several_outcomes_stand_for_their_squares(se):
    data = table().assign(sA=SE[:, 0], sB=SE[:, 1])
    by_se = bm.specify("A + B ~ 1", data, se=se, S_correlation=0.3)
    np.testing.assert_allclose(by_se.S.value, bm.specify("A + B ~ 1", data, S=["vA", "vB"], S_correlation=0.3).S.value)


@given(
    arrays(
        float,
        4,
        elements=st.one_of(st.floats(1e-60, 1e60), st.sampled_from([np.nan, np.inf, 0.0, -1.0, 1e-250, 1e250])),
    )
)
def test_standard_errors_give_what_their_squares_give_or_an_error_that_names_them(errors):
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0, 2.5], "error": errors})
    with np.errstate(over="ignore"):
        data["square"] = errors * np.abs(errors)
    results = []
    for sampling in ({"se": "error"}, {"S": "square"}):
        try:
            results.append(bm.specify("y ~ 1", data, **sampling).S.value.tolist())
        except bm.DataError as refused:
            results.append(str(refused).splitlines()[0])
    if isinstance(results[0], list):
        assert results[0] == results[1]
    else:
        assert "standard error" in results[0]
        assert "(column error)" in results[0]
        assert "sampling variance" not in results[0]
        assert isinstance(results[1], str)


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"S": "v", "se": "s"}, bm.SpecError, "^both S and se are given"),
        ({"se": "sd"}, bm.SpecError, r"^se: the data have no column 'sd'; did you mean 's'\?"),
        ({"se": "text"}, bm.DataError, "^column 'text' is not numeric: row 0 holds 'a'"),
        ({"se": ["s", "s", "s"]}, bm.SpecError, r"^standard errors have shape \(3, 3\).*\n  expected .*: \(3,\)"),
        ({"se": 0.3}, bm.SpecError, r"^standard errors have shape \(\)"),
        ({"se": {"a": [[1.0]]}}, bm.DataError, "^se is {'a'"),
    ],
)
def test_what_are_no_standard_errors_is_refused(arguments, error, message):
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "v": [0.1, 0.2, 0.3], "s": [0.1, 0.2, 0.3], "text": list("abc")})
    with pytest.raises(error, match=message):
        bm.specify("y ~ 1", data, **arguments)


@pytest.mark.parametrize(("value", "what"), [(np.nan, "missing"), (np.inf, "infinite")])
def test_covariance_between_observed_outcomes_is_needed(value, what):
    refused(
        bm.DataError,
        f"^sampling covariance of B in row a and A in row a is {what} although both",
        with_entry(value, 0, 0, 1),
    )


def test_not_positive_definite_names_group_rows_columns_and_correlation():
    data = table()
    data.loc["c", "cAB"] = 5.6
    text = refused(
        bm.DataError,
        r"^sampling covariance of study 7 is not positive definite \(smallest eigenvalue -1.2e-01\)",
        ["vA", "cAB", "vB"],
        data,
    )
    assert "columns vA, cAB, vB, row c; implied correlation of A and B is 1.02" in text
    assert "bm.within.nearest" in text
    bad = {
        "y": [1.0, 2.0, 3.0],
        "z": [3.0, 1.0, 1.0],
        "v": [0.1, 0.2, 0.3],
        "c": [0.0, -0.3, 0.0],
        "w": [0.1, 0.2, 0.3],
    }
    with pytest.raises(bm.DataError, match=r"^sampling covariance of row 1 is not positive definite") as caught:
        bm.specify("y + z ~ 1", bad, S=["v", "c", "w"])
    assert "implied correlation of y and z is -1.5" in str(caught.value)


def test_not_positive_definite_across_rows():
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0, 0.0], "g": ["p", "p", "p", "q"]}, index=["r1", "r2", "r3", "r4"])
    S = {"p": np.array([[1.0, 0.9, -0.9], [0.9, 1.0, 0.9], [-0.9, 0.9, 1.0]]), "q": 1.0}
    with pytest.raises(
        bm.DataError, match=r"^sampling covariance of g p is not positive definite \(smallest eigenvalue -8.0e-01\)"
    ) as caught:
        bm.specify("y ~ 1", data, S=S, groups="g")
    assert "S, rows r1, r2, r3; implied correlation of row r1 and row r2 is 0.9" in str(caught.value)
    repaired = bm.specify("y ~ 1", data, S={**S, "p": bm.within.nearest(S["p"])}, groups="g")
    np.testing.assert_array_equal(repaired.S.variances, np.ones(4))


@pytest.mark.parametrize("scale", [1e-12, 1.0, 1e12])
def test_perfect_correlation_is_singular_at_any_scale_and_a_nearly_perfect_one_is_not(scale):
    data = pd.DataFrame({"y": [1.0, 2.0, 3.0], "z": [2.0, 1.0, 1.0]})
    S = np.tile(scale * np.array([[1.0, 2.0], [2.0, 4.0]]), (3, 1, 1))
    with pytest.raises(bm.DataError, match="not positive definite"):
        bm.specify("y + z ~ 1", data, S=S)
    S[:, 0, 1] = S[:, 1, 0] = 2 * scale * (1 - 1e-9)
    assert len(bm.specify("y + z ~ 1", data, S=S).y) == 6


def test_asymmetry_names_the_entries():
    S = matrices()
    S[2, 0, 1] = 0.25
    text = refused(bm.DataError, "^sampling covariance of study 7 is not symmetric", S)
    assert "A in row c with B in row c is 0.25 and 0" in text
    S = matrices()
    S[0, 0, 1] *= 1 + 1e-13
    np.testing.assert_allclose(dense(specify(S)), dense(specify(matrices())), rtol=1e-12)
    lower = by_study()
    lower[8] = np.tril(lower[8])
    refused(bm.DataError, "^sampling covariance of study 8 is not symmetric", lower)


@pytest.mark.parametrize("shape", [(6,), (5,), (6, 4), (5, 2), (6, 2, 3), (7, 7), (2, 6), ()])
def test_wrong_shapes_say_what_would_be_right(shape):
    text = refused(
        bm.SpecError,
        rf"^S has shape {str(shape).replace('(', '[(]').replace(')', '[)]')}, which does not fit 6 rows and 2 outcomes",
        np.ones(shape),
    )
    for right in ("(6, 2) variances", "(6, 3) lower triangles by column", "(6, 2, 2) matrices", "(8, 8) one matrix"):
        assert right in text


def test_a_shape_with_two_meanings_is_refused():
    data = pd.DataFrame({"y": [1.0, np.nan, 3.0], "z": [np.nan, 2.0, 5.0]}).iloc[[0, 1, 2]]
    data.loc[2, "y"] = np.nan  # three observations in three rows: a 3 x 3 matrix is also three lower triangles
    with pytest.raises(bm.SpecError, match=r"S of shape \(3, 3\) can be one line per row of the data or one matrix"):
        bm.specify("y + z ~ 1", data, S=np.eye(3))


def test_S_is_required_and_must_be_numbers():
    refused(bm.SpecError, "^neither S nor se is given: name the column", None)
    refused(bm.SpecError, "^S: the data have no column 'cABB'; did you mean 'cAB'", ["vA", "cABB", "vB"])
    refused(bm.DataError, "column 'study' is not numeric: row b holds '8'", ["vA", "study", "vB"])
    refused(bm.DataError, "^S is not numeric: position 0 holds 'vA'", ["vA", 1.0, "vB"])
    refused(bm.DataError, "^S is <object object at .*>; it must be numbers", object())


def test_pandas_objects_with_another_index_are_refused():
    moved = table()[["vA", "cAB", "vB"]].iloc[::-1]
    refused(bm.DataError, "^S is a pandas object whose index is not that of the data", moved)
    refused(bm.DataError, "whose index is not that of the data", moved.reset_index(drop=True))
    specify(moved.to_numpy()[::-1])


def test_dict_labels_must_be_those_of_the_data():
    S = by_study()
    refused(bm.DataError, "^S has no matrix for study 8$", {7: S[7]})
    text = refused(bm.DataError, "^S has no matrix for study 8\n", {7: S[7], "8th": S[8]})
    assert "labels in S that the data do not have: 8th; S holds a matrix for every study, over its rows" in text
    refused(bm.DataError, "^S has a matrix for study 9, which the data do not have", {**S, 9: S[8]})
    refused(bm.DataError, "^S has two matrices for study 7; 1 and '1' are the same label", {**S, "7": S[7]})


def test_dict_matrices_must_have_the_size_of_their_group():
    S = by_study()
    S[8] = np.eye(2)
    refused(bm.DataError, r"^sampling covariance of study 8 is 2 x 2, expected 6 x 6 or 5 x 5 or 3 x 3\n", S)
    refused(
        bm.DataError,
        r"^sampling covariance of study 8 has shape \(2, 3\); give a square matrix",
        {**S, 8: np.ones((2, 3))},
    )
    refused(
        bm.DataError, r"^sampling covariance of study 8 has shape \(3,\); give a square matrix", {**S, 8: [1, 2, 3]}
    )
    refused(bm.DataError, "^sampling covariance of study 8 is 'x'; it must be numbers", {**S, 8: "x"})


def test_a_dict_needs_groups():
    text = refused(
        bm.SpecError, "^S is a dict of matrices by group, but the model names no groups", by_study(), random=None
    )
    assert "random='1 | study'" in text
    assert "groups='study'" in text


def test_coupled_groups_are_refused_by_name():
    whole = block_diagonal(matrices())
    whole[0, 3] = whole[3, 0] = 0.01
    text = refused(bm.DataError, "^S couples study 7 with study 8, which the model takes as independent", whole)
    assert "random= or groups=" in text
    refused(bm.DataError, "^S couples row a with row b, which the model takes as independent", whole, random=None)


@pytest.mark.parametrize(
    ("rho", "error", "pattern"),
    [
        (1.2, bm.DataError, r"^S_correlation of A and B in row a is 1.2; expected a number from -1 to 1"),
        ([0, 0, -1.01, 0, 0, 0], bm.DataError, r"^S_correlation of A and B in row c is -1.01"),
        ([0, 0, np.nan, 0, 0, 0], bm.DataError, r"^S_correlation of A and B in row c is missing"),
        (1.0, bm.DataError, "^sampling covariance of study 7 is not positive definite"),
        (
            [0.1, 0.2],
            bm.SpecError,
            r"^S_correlation has shape \(2,\); expected one number, \(1,\), \(6, 1\) or \(2, 2\)",
        ),
        ([[1, 0.2], [0.3, 1]], bm.SpecError, "^S_correlation is not symmetric"),
        ("Rho", bm.SpecError, "^S_correlation: the data have no column 'Rho'; did you mean 'rho'"),
    ],
)
def test_bad_correlations(rho, error, pattern):
    refused(error, pattern, VARIANCES, S_correlation=rho)


def test_correlations_where_an_outcome_is_missing_are_ignored():
    rho = [0.1, 7.0, 0.1, np.nan, -9.0, 0.1]
    specify(VARIANCES, S_correlation=rho)


@pytest.mark.parametrize("form", ["names", "matrices", "dict, full size", "one matrix"])
def test_correlations_beside_covariances_are_refused(form):
    refused(
        bm.SpecError, "^S_correlation is given although S already holds covariances", forms()[form], S_correlation=0.1
    )


def test_correlations_of_one_outcome_are_refused():
    with pytest.raises(bm.SpecError, match="S_correlation is for several outcomes"):
        bm.specify("y ~ 1", {"y": [1.0, 2.0], "v": [1.0, 1.0]}, S="v", S_correlation=0.5)


def test_permuted_rows_permute_S():
    rng = np.random.default_rng(2)
    whole = np.zeros((12, 12))
    for cells in STUDIES.values():
        root = rng.normal(size=(6, 8))
        whole[np.ix_(cells, cells)] = root @ root.T
    order = np.array([4, 1, 5, 0, 3, 2])
    cells = (2 * order[:, None] + np.arange(2)).ravel()
    spec = specify(by_study(whole=whole))
    moved = table().iloc[order]
    inside = {g: np.flatnonzero(np.isin(cells, c)) for g, c in STUDIES.items()}
    permuted = whole[np.ix_(cells, cells)]
    other = specify({g: permuted[np.ix_(c, c)] for g, c in inside.items()}, moved)
    place = {(other.row_labels[r], j): i for i, (r, j) in enumerate(zip(other.row, other.outcome_index, strict=True))}
    at = [place[spec.row_labels[r], j] for r, j in zip(spec.row, spec.outcome_index, strict=True)]
    np.testing.assert_array_equal(dense(other)[np.ix_(at, at)], dense(spec))
