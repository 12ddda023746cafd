"""Correlations as estimates: metafor's numbers, simulation, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta import within
from bayesmeta.within.olkin_siotani import siotani
from tests.support.reference import read_reference

R = np.array([[1, 0.5, 0.3, 0.2], [0.5, 1, 0.4, 0.1], [0.3, 0.4, 1, -0.2], [0.2, 0.1, -0.2, 1]])
NAMES = list("abcd")
TABLE = pd.DataFrame(R, index=NAMES, columns=NAMES)
PAIRS = [(i, j) for j in range(4) for i in range(j)]


def numbers(values: Any) -> np.ndarray:
    return np.array([np.nan if value in ("NA", None) else value for value in np.ravel(values)], dtype=float)


@pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")
@pytest.mark.parametrize("scale", ["r", "z"])
def test_long_data_as_in_metafor(scale: str) -> None:
    file = read_reference("within/craft2003")
    data = pd.DataFrame(file["data"])
    data["ri"] = numbers(data["ri"])
    found = within.rcalc(data, "ni", ri="ri", var1="var1", var2="var2", study="study", rtoz=scale == "z")
    np.testing.assert_allclose(found.data["yi"], np.arctanh(data["ri"]) if scale == "z" else data["ri"], rtol=1e-12)
    for own, theirs in zip(found.S.values(), file[scale]["S"].values(), strict=True):
        np.testing.assert_allclose(own.T[np.triu_indices(len(own))], numbers(theirs), rtol=1e-9)


@pytest.mark.parametrize("scale", ["r", "z"])
def test_a_matrix_as_in_metafor(scale: str) -> None:
    expected = read_reference("within/craft2003")["matrix"]
    found = within.rcalc(TABLE, 50, rtoz=scale == "z")
    np.testing.assert_allclose(found.S[1], expected[scale]["V"], rtol=1e-9)
    column = "zi" if scale == "z" and "zi" in expected[scale]["dat"] else "yi"
    np.testing.assert_allclose(found.data["yi"], expected[scale]["dat"][column], rtol=1e-9)
    assert list(found.data["var1"]) == [NAMES[i] for i, _ in PAIRS]


def test_covariances_are_those_of_samples() -> None:
    rng, n = np.random.default_rng(3), 400
    x = rng.normal(size=(4000, n, 4)) @ np.linalg.cholesky(R).T
    x -= x.mean(axis=1, keepdims=True)
    C = np.einsum("bni,bnj->bij", x, x)
    sd = np.sqrt(np.einsum("bii->bi", C))
    r = C / (sd[:, :, None] * sd[:, None, :])
    sampled = np.cov(np.array([r[:, i, j] for i, j in PAIRS])) * n
    np.testing.assert_allclose(siotani(R, PAIRS), sampled, atol=0.08)
    P = np.linalg.inv(r[:, :3, :3])
    partial = -P[:, 0, 1] / np.sqrt(P[:, 0, 0] * P[:, 1, 1])
    found = within.partial_correlations(TABLE, n, [("a", "b")], "c")
    assert found.data["yi"].item() == pytest.approx(partial.mean(), abs=0.01)
    assert found.data["vi"].item() * (n - 2) == pytest.approx(partial.var() * n, rel=0.08)


def test_one_partial_correlation_has_the_variance_of_a_correlation() -> None:
    """(1 - r^2)^2 over the degrees of freedom (Olkin and Finn 1995)."""
    found = within.partial_correlations({"s": TABLE}, 60, [("a", "b"), ("a", "d")], ["c"])
    r = found.data["yi"].to_numpy()
    np.testing.assert_allclose(found.data["vi"], (1 - r**2) ** 2 / (60 - 2), rtol=1e-9)
    z = within.partial_correlations({"s": TABLE}, 60, [("a", "b"), ("a", "d")], ["c"], rtoz=True)
    np.testing.assert_allclose(z.data["vi"], 1 / (60 - 4), rtol=1e-9)
    np.testing.assert_allclose(np.tanh(z.data["yi"]), r, rtol=1e-12)


def test_estimates_go_into_a_model() -> None:
    tables = {f"s{i}": TABLE * (1 - 0.05 * i) + 0.05 * i * np.eye(4) for i in range(6)}
    found = within.rcalc(tables, {label: 60 + 10 * i for i, label in enumerate(tables)}, rtoz=True)
    data = found.data.assign(pair=found.data["var1"] + found.data["var2"])
    spec = bm.specify("yi ~ 0 + pair", data, S=found.S, groups="study", measure="zcor")
    fit = bm.fit(spec, method="fixed")
    assert len(fit.estimate["beta"]) == 6
    assert "Olkin and Siotani" in " ".join(repr(spec).split())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"x": TABLE, "ni": 4}, bm.DataError, "ni of study 1 is 4; it must be a number of at least 5"),
        ({"x": {"a": TABLE}, "ni": {"b": 9}}, bm.DataError, "ni of study a is None"),
        ({"x": TABLE.iloc[:3], "ni": 9}, bm.SpecError, "by columns"),
        ({"x": TABLE + np.eye(4), "ni": 9}, bm.DataError, "ones on its diagonal"),
        (
            {"x": 1.9 * np.eye(3) - 0.9, "ni": 9},
            bm.DataError,
            "not positive definite",
        ),
        ({"x": {}, "ni": 9}, bm.SpecError, "no correlation matrix"),
        ({"x": {"r": [0.5]}, "ni": "n", "ri": "r"}, bm.SpecError, "var1, var2 is not given"),
    ],
)
def test_malformed_matrices(arguments: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        within.rcalc(**arguments)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"r": [0.5, 1.0, 0.2]}, "'r' is not between -1 and 1 in row 1"),
        ({"n": [50, 50, 3]}, "'n' is missing, or less than 5, in row 2"),
        ({"b": ["y", "x", "z"]}, "row 1 of study 1 has the correlation of a variable with itself: x, x"),
        ({"a": ["x", "y", "y"], "b": ["y", "x", "z"]}, "a pair that another row has: y, x"),
    ],
)
def test_malformed_long_data(changes: dict[str, Any], message: str) -> None:
    data = {"s": [1] * 3, "a": ["x", "x", "y"], "b": ["y", "z", "z"], "r": [0.5, 0.3, 0.2], "n": [50] * 3} | changes
    with pytest.raises(bm.DataError, match=message):
        within.rcalc(pd.DataFrame(data), "n", ri="r", var1="a", var2="b", study="s")


def test_malformed_partial_correlations() -> None:
    for pairs, given, message in (
        ([("a", "z")], "c", "no variable 'z'"),
        ([("a", "a")], "c", "a variable twice"),
        ([("a", "c")], "c", "one that is held constant"),
    ):
        with pytest.raises(bm.SpecError, match=message):
            within.partial_correlations(TABLE, 50, pairs, given)
