"""One variance of effects that groups share, by DerSimonian and Laird's method: dense algebra, simulation, refusals."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import block_diag

import bayesmeta as bm
from bayesmeta.errors import DataError, SpecError
from bayesmeta.estimation.common_scale import quadratic_form

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning", "ignore::bayesmeta.BoundaryWarning")


def groups(seed: int, slopes: bool) -> tuple[bm.Spec, np.ndarray, np.ndarray, np.ndarray]:
    """A model of groups of one to four rows with correlated errors; its Z Psi Z' / tau2 and S as whole matrices."""
    rng = np.random.default_rng(seed)
    group = np.repeat(np.arange(7), rng.integers(1, 5, 7))
    n = len(group)
    data = pd.DataFrame({"group": group, "x": rng.normal(size=n), "y": rng.normal(0, 1, n)})
    S = {}
    for g, own in data.groupby("group"):
        root = rng.normal(size=(len(own), len(own) + 1))
        S[g] = 0.3 * root @ root.T
    M = np.array([[1.0, 0.4], [0.4, 0.7]]) if slopes else np.eye(1)
    random = "1 + x | group" if slopes else "1 | group"
    spec = bm.specify("y ~ x", data, S=S, random=random, psi=bm.structures.Proportional(M))
    Z = np.column_stack([np.ones(n), data["x"]]) if slopes else np.ones((n, 1))
    B = (group[:, None] == group) * (Z @ M @ Z.T)
    return spec, np.column_stack([np.ones(n), data["x"]]), B, block_diag(*S.values())


@settings(max_examples=15, deadline=None, derandomize=True)
@given(st.integers(0, 10**6), st.booleans())
def test_it_is_what_whole_matrices_say(seed: int, slopes: bool):
    spec, X, B, S = groups(seed, slopes)
    W = np.linalg.inv(S)
    P = W - W @ X @ np.linalg.solve(X.T @ W @ X, X.T @ W)
    df, trace = len(X) - X.shape[1], np.trace(P @ B)
    tau2 = max(0.0, (spec.y @ P @ spec.y - df) / trace)
    Sigma = S + tau2 * B
    fit = bm.fit(spec, "dl")["estimate"]
    first = fit["psi_group"].to_numpy().ravel()[0]
    assert first == pytest.approx(tau2, rel=1e-9, abs=1e-12)
    se = np.sqrt(2 * np.trace(P @ Sigma @ P @ Sigma)) / trace
    assert np.ravel(fit["tau2_group_se"])[0] == pytest.approx(se, rel=1e-9)
    F = X.T @ np.linalg.solve(Sigma, X)
    np.testing.assert_allclose(fit["beta"], np.linalg.solve(F, X.T @ np.linalg.solve(Sigma, spec.y)), atol=1e-9)
    np.testing.assert_allclose(fit["beta_cov"], np.linalg.inv(F), atol=1e-9)


def test_before_truncation_it_is_unbiased_and_has_this_error():
    spec, _, B, S = groups(3, slopes=True)
    root, rng = np.linalg.cholesky(S + 0.5 * B), np.random.default_rng(1)
    M = spec.levels[0].structure.known
    made = []
    for _ in range(400):
        form = quadratic_form(replace(spec, y=root @ rng.normal(size=len(S))), M)
        made.append((form.Q - form.df) / form.trace)
    assert np.mean(made) == pytest.approx(0.5, abs=4 * np.std(made) / 20)


def test_one_row_for_each_group_is_the_usual_estimator():
    bcg = bm.datasets.load("bcg")
    usual = bm.fit(bm.specify("logor ~ 1", bcg, S="logorvar"), "dl")["estimate"]
    one = bm.specify("logor ~ 1", bcg, S="logorvar", random="1 | trial", psi=bm.structures.Proportional([[2.0]]))
    form = quadratic_form(one, np.eye(1))
    assert form.tau2() == pytest.approx((float(usual["psi_unit"].item()), float(usual["tau2_unit_se"].item())))


def test_models_of_several_variances_are_refused():
    school = bm.datasets.load("school")
    spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study")
    with pytest.raises(SpecError, match="method 'dl' needs one random effect for each row"):
        bm.fit(spec, "dl")


def test_nothing_is_left_to_estimate():
    table = pd.DataFrame({"g": [1, 1, 2], "x": [0.0, 1.0, 0.0], "y": [0.1, 0.2, 0.4], "z": [0.0, 0.0, 1.0]})
    spec = bm.specify("y ~ x + z", table, S={1: np.eye(2), 2: np.eye(1)}, random="1 | g")
    with pytest.raises(DataError, match="more rows than coefficients"):
        bm.fit(spec, "dl")
