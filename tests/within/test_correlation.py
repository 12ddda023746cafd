import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import within

pytestmark = pytest.mark.filterwarnings("ignore:no group in row 6")


@pytest.fixture
def series() -> pd.DataFrame:
    """Two studies in turn; the second row of study b has no outcome and no variance."""
    return pd.DataFrame(
        {
            "study": ["a", "b", "a", "b", "a", "b", None],
            "v": [1.0, 4.0, 9.0, np.nan, 16.0, 25.0, 1.0],
            "time": [6.0, 6.0, 12.0, 12.0, 24.0, 18.0, 6.0],
            "y": [0.1, 0.2, 0.3, np.nan, 0.4, 0.1, 0.2],
        }
    )


def test_ar1_by_order_within_the_group(series):
    S = within.ar1(series, variance="v", rho=0.5, group="study")
    assert list(S) == ["a", "b"]
    np.testing.assert_allclose(S["a"], [[1, 1.5, 1], [1.5, 9, 6], [1, 6, 16]], rtol=1e-15)
    np.testing.assert_allclose(S["b"], [[4, np.nan, 2.5], [np.nan] * 3, [2.5, np.nan, 25]], rtol=1e-15)


def test_ar1_by_position(series):
    S = within.ar1(series, variance="v", rho=0.5, group="study", position="time")
    np.testing.assert_allclose(S["a"][0], [1.0, 3 * 0.5**6, 4 * 0.5**18], rtol=1e-14)
    np.testing.assert_allclose(S["b"][0, 2], 10 * 0.5**12, rtol=1e-14)
    halves = series.assign(time=series.time / 12)
    np.testing.assert_allclose(within.ar1(halves, "v", 0.5, "study", "time")["a"][0, 1], 3 * 0.5**0.5, rtol=1e-14)
    negative = within.ar1(series, "v", -0.5, "study")
    np.testing.assert_allclose(negative["a"][0], [1.0, -1.5, 1.0], rtol=1e-15)


def test_ar1_equals_the_published_construction(table):
    """Powers of 0.61 over the four follow-up times of the gliomas trials, the missing ones left out afterwards."""
    data = table("gliomas")
    S = within.ar1(data, variance="logORvar", rho=0.61, group="study")
    powers = 0.61 ** np.abs(np.subtract.outer(range(4), range(4)))
    for study, rows in data.groupby("study"):
        kept = rows.logOR.notna().to_numpy()
        sd = np.sqrt(rows.logORvar.to_numpy())
        known = (powers * np.outer(sd, sd))[np.ix_(kept, kept)]
        np.testing.assert_allclose(S[study][np.ix_(kept, kept)], known, rtol=1e-14)


def test_correlated(series):
    S = within.correlated(series, variance="v", rho=-0.25, group="study")
    np.testing.assert_allclose(S["a"], [[1, -0.75, -1], [-0.75, 9, -3], [-1, -3, 16]], rtol=1e-15)
    np.testing.assert_allclose(S["b"][0, 2], -2.5, rtol=1e-15)


@pytest.mark.parametrize("build", [within.ar1, within.correlated])
def test_what_is_built_is_taken(series, build):
    data = series[series.study.notna()].reset_index(drop=True)
    spec = bm.specify("y ~ 1", data, S=build(series, variance="v", rho=0.5, group="study"), random="1 | study")
    np.testing.assert_array_equal(spec.S.variances, [1, 4, 9, 16, 25])
    assert len(spec.S.value) == 5 + 3 + 1


@pytest.mark.parametrize("build", [within.ar1, within.correlated])
@pytest.mark.parametrize("rho", [1.0, -1.0, 1.5, np.nan])
def test_correlations_lie_inside_their_range(series, build, rho):
    with pytest.raises(bm.SpecError, match=f"rho is {rho}; it must lie strictly between -1 and 1"):
        build(series, variance="v", rho=rho, group="study")


def test_bad_series(series):
    with pytest.raises(bm.SpecError, match="group: the data have no column 'studi'; did you mean 'study'"):
        within.ar1(series, "v", 0.5, "studi")
    with pytest.raises(bm.SpecError, match="variance: the data have no column 'var'"):
        within.ar1(series, "var", 0.5, "study")
    with pytest.raises(bm.SpecError, match="position: the data have no column 'times'; did you mean 'time'"):
        within.ar1(series, "v", 0.5, "study", "times")
    with pytest.raises(bm.DataError, match=r"study a has position 6 more than once \(column 'time', rows"):
        within.ar1(series.assign(time=[6.0, 6, 6, 12, 24, 18, 6]), "v", 0.5, "study", "time")
    with pytest.raises(
        bm.DataError, match=r"study b has a position that is missing or infinite \(column 'time', rows 3\)"
    ):
        within.ar1(series.assign(time=[6.0, 6, 8, np.nan, 24, 18, 6]), "v", 0.5, "study", "time")
    with pytest.raises(bm.SpecError, match=r"rho is -0.5; with fractional positions"):
        within.ar1(series.assign(time=series.time / 12), "v", -0.5, "study", "time")
    with pytest.raises(bm.DataError, match="column 'v' is negative in row 2"):
        within.correlated(series.assign(v=[1.0, 1, -1, 1, 1, 1, 1]), "v", 0.5, "study")


def test_standard_errors_are_squared():
    data = pd.DataFrame({"y": [1.0, 2.0, 4.0], "z": [3.0, 1.0, 1.0], "se": [0.1, 0.2, 0.3], "sz": [0.4, 0.5, 0.6]})
    squares = data[["se", "sz"]].to_numpy() ** 2
    for given in (["se"], [data["se"]], [data["se"].to_numpy()]):
        spec = bm.specify("y ~ 1", data, S=within.from_se(*given))
        np.testing.assert_allclose(spec.S.variances, squares[:, 0], rtol=1e-15)
    for given in (["se", "sz"], [["se", "sz"]], [data[["se", "sz"]]], [data[["se", "sz"]].to_numpy()]):
        spec = bm.specify("y + z ~ 1", data, S=within.from_se(*given), S_correlation=0.5)
        np.testing.assert_allclose(spec.S.variances, squares.ravel(), rtol=1e-15)


@pytest.mark.parametrize("given", [(), ("se", 1.0), (np.ones(3), np.ones(3))])
def test_standard_errors_are_columns_or_one_array(given):
    with pytest.raises(bm.SpecError, match="from_se takes column names, one per outcome, or one array"):
        within.from_se(*given)


# ---- nearest


def test_nearest_of_highams_example():
    """The 3 x 3 example of Higham (2002), section 4: off-diagonal elements 0.7607 and 0.1573."""
    found = within.nearest([[1.0, 1.0, 0.0], [1.0, 1.0, 1.0], [0.0, 1.0, 1.0]])
    np.testing.assert_allclose(found, [[1, 0.7607, 0.1573], [0.7607, 1, 0.7607], [0.1573, 0.7607, 1]], atol=5e-5)
    assert np.linalg.eigvalsh(found)[0] > 0


def test_nearest_keeps_variances_and_is_nearest_on_the_correlation_scale():
    rng = np.random.default_rng(4)
    given = np.corrcoef(rng.normal(size=(6, 5)))
    given[0, 1] = given[1, 0] = 0.99
    given[0, 2] = given[2, 0] = -0.9
    sd = np.array([1e-3, 1.0, 2.0, 1e3, 5.0, 0.1])
    found = within.nearest(given * np.outer(sd, sd))
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), np.diag(given * np.outer(sd, sd)))
    R = found / np.outer(sd, sd)
    assert 0 < np.linalg.eigvalsh(R)[0] < 1e-7
    for _ in range(200):  # no other correlation matrix is nearer
        root = rng.normal(size=(6, 6))
        other = root @ root.T
        other /= np.sqrt(np.outer(np.diag(other), np.diag(other)))
        mixed = R + 1e-2 * (other - R)
        assert np.linalg.norm(mixed - given) > np.linalg.norm(R - given) - 1e-8


def test_nearest_leaves_a_positive_definite_matrix_as_it_is():
    given = np.array([[2.0, 1.0], [1.0, 3.0]])
    np.testing.assert_array_equal(within.nearest(given), given)


@pytest.mark.parametrize(
    ("matrix", "pattern"),
    [
        (np.ones((2, 3)), r"square matrix of finite numbers, got shape \(2, 3\)"),
        ([[1.0, np.nan], [np.nan, 1.0]], "square matrix of finite numbers"),
        ([[1.0, 0.5], [0.4, 1.0]], "symmetric matrix with positive variances"),
        ([[1.0, 0.5], [0.5, -1.0]], "symmetric matrix with positive variances"),
    ],
)
def test_nearest_refuses(matrix, pattern):
    with pytest.raises(bm.DataError, match=pattern):
        within.nearest(matrix)
