"""Level-wise I2 and R2 against dense matrices."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given

import bayesmeta as bm
from bayesmeta.errors import SpecError
from bayesmeta.kernel.precision import residual_precision
from tests.support import dense
from tests.support.awkward import awkward_spec
from tests.support.random_models import models


def residual_matrices(X: np.ndarray, S: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """P = S^-1 - S^-1 X (X' S^-1 X)^-1 X' S^-1, and S P."""
    W = np.linalg.inv(S)
    P = W - W @ X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    return P, S @ P


def dense_S(spec: bm.Spec) -> np.ndarray:
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return S


def school(formula: str = "effect ~ 1", **options: Any) -> xr.DataTree:
    method = options.pop("method", "reml")
    data = bm.datasets.load("school").assign(year=lambda rows: rows.year - 1990)
    given = {"S": "var", "random": "1 | district/study"} | options
    return bm.fit(bm.specify(formula, data, **given), method=method)


@given(models())
def test_diagonals(model: dense.Model) -> None:
    own, residual = residual_precision(model.X, model.groups[0], dense.triplet(model.S))
    P, M = residual_matrices(model.X, model.S)
    np.testing.assert_allclose(own, np.diag(P), rtol=1e-9, atol=1e-12 * np.diag(P).max())
    np.testing.assert_allclose(residual, np.diag(M), atol=1e-11)


def test_metafors_recipe_on_school(reference: Callable[[str], Any]) -> None:
    case = reference("metafor/multilevel_school")
    v = bm.datasets.load("school")["var"].to_numpy()
    P, _ = residual_matrices(np.ones((len(v), 1)), np.diag(v))
    typical = (len(v) - 1) / np.trace(P)
    expected = 100 * np.array([*case["sigma2"], typical]) / (sum(case["sigma2"]) + typical)
    found = bm.variance_partition(school()).sel(outcome="overall")
    assert list(found["level"].values) == ["district", "study", "sampling"]
    np.testing.assert_allclose(found["share"], expected, rtol=1e-5)
    np.testing.assert_allclose(expected, [63.32, 31.86, 4.81], atol=0.006)  # printed with metafor's own recipe
    assert found["variance"].sel(level="sampling").item() == pytest.approx(typical, rel=1e-12)
    assert found["I2"].item() == pytest.approx(found["share"][:2].sum().item(), rel=1e-12)
    assert found["H2"].item() == pytest.approx(1 / (1 - found["I2"].item() / 100), rel=1e-10)


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize(("formula", "case"), [("logor ~ 1", "intercept_only"), ("logor ~ ablat", "with_ablat")])
def test_univariate_I2_and_H2_of_metafor(method: str, formula: str, case: str, reference: Callable[[str], Any]) -> None:
    expected = reference("metafor/tau2_estimators_bcg")[case][method.upper()]
    spec = bm.specify(formula, bm.datasets.load("bcg"), S="logorvar")
    found = bm.variance_partition(bm.fit(spec, method=method))
    assert found["I2"].item() == pytest.approx(expected["I2"], rel=1e-5)
    assert found["H2"].item() == pytest.approx(expected["H2"], rel=1e-5)


def test_random_slopes() -> None:
    """The mean of z' Psi z, by the diagonal of the whole Z Psi Z'."""
    tree = school("effect ~ year", random={"district": "1 + year", "study": "1"})
    spec, estimate = bm.Spec.from_tree(tree), tree["estimate"]
    P, _ = residual_matrices(spec.X, dense_S(spec))
    variance = [np.trace(v.Z @ estimate[f"psi_{v.name}"].values @ v.Z.T) / len(spec.y) for v in spec.levels]
    variance.append((len(spec.y) - 2) / np.trace(P))
    found = bm.variance_partition(tree).sel(outcome="overall")
    np.testing.assert_allclose(found["variance"], variance, rtol=1e-10)
    np.testing.assert_allclose(found["share"], 100 * np.array(variance) / sum(variance), rtol=1e-10)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("method", ["ml", "fixed"])
def test_outcomes_missing_here_and_there_with_covariances(method: str) -> None:
    spec = awkward_spec()
    tree = bm.fit(spec, method=method)
    P, M = residual_matrices(spec.X, dense_S(spec))
    found = bm.variance_partition(tree)
    assert list(found["outcome"].values) == ["A", "B"]
    for j, outcome in enumerate(spec.outcomes):
        own = spec.outcome_index == j
        # without common predictors the outcome's part of the residual degrees of freedom is a whole number
        assert np.trace(M[np.ix_(own, own)]) == pytest.approx(own.sum() - len(spec.coef) / 2, rel=1e-10)
        expected = [
            np.mean(np.diag(v.Z[own] @ tree["estimate"][f"psi_{v.name}"].values @ v.Z[own].T)) for v in spec.levels
        ]
        expected.append((own.sum() - len(spec.coef) / 2) / np.trace(P[np.ix_(own, own)]))
        np.testing.assert_allclose(found["variance"].sel(outcome=outcome), expected, rtol=1e-9)
        np.testing.assert_allclose(found["share"].sel(outcome=outcome).sum(), 100, rtol=1e-12)
    assert (found["I2"].values == 0).all() == (method == "fixed")


def test_common_predictors_divide_their_degree_of_freedom() -> None:
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"A": rng.normal(size=9), "B": rng.normal(size=9), "x": rng.normal(size=9)})
    S = rng.uniform(0.1, 0.5, (9, 2))
    spec = bm.specify({"A": "1", "B": "1"}, data, S=S, S_correlation=0.4, common="x")
    P, M = residual_matrices(spec.X, dense_S(spec))
    own = [np.diag(M)[spec.outcome_index == j].sum() for j in range(2)]
    assert sum(own) == pytest.approx(15)
    assert own[0] != pytest.approx(7.5, rel=1e-3)
    expected = [d / np.diag(P)[spec.outcome_index == j].sum() for j, d in enumerate(own)]
    found = bm.variance_partition(bm.fit(spec, method="fixed"))["variance"].sel(level="sampling")
    np.testing.assert_allclose(found, expected, rtol=1e-10)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_an_outcome_without_degrees_of_freedom_has_none() -> None:
    data = pd.DataFrame({"A": [0.5, 1.0, 0.2], "B": [np.nan, np.nan, 0.3]})
    spec = bm.specify("A + B ~ 1", data, S=np.full((3, 2), 0.1), S_correlation=0.0)
    found = bm.variance_partition(bm.fit(spec, method="fixed"))
    assert np.isnan(found.sel(outcome="B")["share"]).all()
    assert np.isfinite(found.sel(outcome="A")["share"]).all()


def test_many_rows_at_once() -> None:
    n = 100_000
    rng = np.random.default_rng(5)
    X, group = np.column_stack([np.ones(n), rng.normal(size=n)]), np.arange(n) // 2
    v, c = rng.uniform(1, 2, n), rng.uniform(-0.5, 0.5, n // 2)
    odd = np.arange(1, n, 2)
    S = (np.r_[v, c], np.r_[np.arange(n), odd], np.r_[np.arange(n), odd - 1])
    own, residual = residual_precision(X, group, S)
    a, b, determinant = v[::2], v[1::2], (v[::2] * v[1::2] - c**2)[:, None]
    WX = np.empty_like(X)  # S^-1 X, pair by pair
    WX[::2] = (b[:, None] * X[::2] - c[:, None] * X[1::2]) / determinant
    WX[1::2] = (a[:, None] * X[1::2] - c[:, None] * X[::2]) / determinant
    trace = np.sum((a + b) / determinant[:, 0]) - np.trace(np.linalg.solve(X.T @ WX, WX.T @ WX))
    assert own.sum() == pytest.approx(trace, rel=1e-12)
    assert residual.sum() == pytest.approx(n - 2, rel=1e-12)


def test_a_level_cannot_be_called_sampling() -> None:
    data = bm.datasets.load("school").rename(columns={"district": "sampling"})
    tree = bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | sampling"))
    with pytest.raises(SpecError, match="level has the name 'sampling'"):
        bm.variance_partition(tree)


def test_r_squared_of_each_level_and_in_all() -> None:
    tree, simpler = school("effect ~ year"), school()
    found = bm.r_squared(tree, simpler).sel(outcome="overall")
    assert list(found["level"].values) == ["district", "study", "total"]
    before, after = (
        np.array([float(t["estimate"][f"tau_{level}"].item() ** 2) for level in ("district", "study")])
        for t in (simpler, tree)
    )
    expected = 100 * (1 - np.r_[after, after.sum()] / np.r_[before, before.sum()])
    np.testing.assert_allclose(found["R2"], np.maximum(expected, 0), rtol=1e-10)
    assert expected[0] < 0  # a variance that is estimated larger with the predictor explains nothing


@pytest.mark.parametrize("method", ["ml", "reml"])
def test_univariate_R2_of_metafor(method: str, reference: Callable[[str], Any]) -> None:
    expected = reference("metafor/tau2_estimators_bcg")["with_ablat"][method.upper()]["R2"]
    specs = [bm.specify(f"logor ~ {x}", bm.datasets.load("bcg"), S="logorvar") for x in ("ablat", "1")]
    found = bm.r_squared(*(bm.fit(spec, method=method) for spec in specs))
    np.testing.assert_allclose(found["R2"], [[expected, expected]], rtol=1e-5)


def test_r_squared_where_there_is_nothing_to_explain() -> None:
    found = bm.r_squared(school("effect ~ year", method="fixed"), school(method="fixed"))
    assert np.isnan(found["R2"]).all()


def test_r_squared_does_not_depend_on_the_order_of_the_data() -> None:
    data = bm.datasets.load("school")
    turned = bm.fit(bm.specify("effect ~ year", data[::-1], S="var", random="1 | district/study"))
    straight = bm.fit(bm.specify("effect ~ year", data, S="var", random="1 | district/study"))
    simpler = bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | district/study"))
    xr.testing.assert_allclose(bm.r_squared(turned, simpler), bm.r_squared(straight, simpler), rtol=1e-5)


def test_r_squared_takes_an_offset_that_the_larger_model_can_take_up() -> None:
    found = bm.r_squared(school("effect ~ year"), school(offset="year"))
    assert found["variance_simpler"].sel(level="total").item() > 1


@pytest.mark.parametrize(
    ("larger", "simpler", "message"),
    [
        ({"formula": "effect ~ 1"}, {"formula": "effect ~ year"}, "of the smaller model are no linear combinations"),
        ({}, {"method": "ml"}, "one fit is by reml, the simpler one by ml"),
        ({}, {"random": "1 | district"}, "different random parts"),
        ({}, {"psi": {"district": "unstr", "study": "id"}}, "different random parts"),
        ({}, {"S": np.full(56, 0.1)}, "different sampling covariances"),
        ({"offset": "study"}, {}, "offsets differ"),
        ({}, {"formula": "I(2 * effect) ~ 1"}, "do not describe the same observations"),
    ],
)
def test_r_squared_refuses(larger: dict[str, Any], simpler: dict[str, Any], message: str) -> None:
    fits = school(**{"formula": "effect ~ year"} | larger), school(**simpler)
    with pytest.raises(SpecError, match=message):
        bm.r_squared(*fits)
