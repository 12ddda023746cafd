"""Moment estimators: against loops over dense matrices, the reference fits, and the published estimators of tau2."""

import warnings
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pytest
from scipy.linalg import block_diag, sqrtm

import bayesmeta as bm
from bayesmeta.estimation import moment_errors, moments
from bayesmeta.estimation.units import least_squares, units_of

TAU2 = ["dl", "he", "hs", "sj", "eb", "pm", "pmm"]
LOOSE = np.finfo(float).eps ** 0.25  # at which the reference stopped looking for the roots of PM and PMM


def draw(seed: int, k: int, m: int = 12, missing: float = 0.0, spread: float = 1.0) -> tuple[pd.DataFrame, list[str]]:
    """m units with k correlated outcomes, a predictor, and the lower triangles of their sampling covariances."""
    rng = np.random.default_rng(seed)
    factor = rng.normal(size=(k, k)) * spread
    data = pd.DataFrame({"x": rng.normal(size=m), "shift": rng.normal(size=m)})
    S = []
    for _ in range(m):
        half = rng.normal(size=(k, k + 2)) * np.exp(rng.normal(size=(k, 1)) * 0.3)
        S.append(half @ half.T / (k + 2))
    y = np.array([rng.multivariate_normal(np.zeros(k), s + factor @ factor.T) for s in S])
    y += 2 + np.outer(data["x"], np.arange(k))
    y[:, 1:][rng.random((m, k - 1)) < missing] = np.nan
    for a in range(k):
        data[f"y{a}"] = y[:, a]
    columns = []
    for a in range(k):
        for b in range(a, k):
            columns.append(f"s{b}{a}")
            data[columns[-1]] = [s[b, a] for s in S]
    return data, columns


def quietly(build: Callable[[], Any]) -> Any:
    """The value of `build` without warnings, which tests of their own hold."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        return build()


def dense(spec: bm.Spec, k: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """y (mk,), X (mk, P), S (mk, mk) with zeros where an outcome is missing, and which are seen (mk,)."""
    units = sorted(set(spec.row.tolist()))
    place = np.array([units.index(r) for r in spec.row]) * k + spec.outcome_index
    N = len(units) * k
    y, X, S, seen = np.zeros(N), np.zeros((N, spec.X.shape[1])), np.zeros((N, N)), np.zeros(N, bool)
    y[place], X[place], seen[place] = spec.y - spec.offset, spec.X, True
    S[place[spec.S.row], place[spec.S.col]] = spec.S.value
    S[place[spec.S.col], place[spec.S.row]] = spec.S.value
    return y, X, S, seen


def inverse_where_seen(A: np.ndarray, seen: np.ndarray) -> np.ndarray:
    inverse = np.zeros_like(A)
    inverse[np.ix_(seen, seen)] = np.linalg.inv(A[np.ix_(seen, seen)])
    return inverse


def truncated(psi: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(psi)
    return vectors @ np.diag(np.maximum(values, 0)) @ vectors.T


def naive_matrix_moments(spec: bm.Spec, k: int) -> np.ndarray:
    """The expectation of every entry of the block trace of W r r', from dense (mk, mk) matrices."""
    y, X, S, seen = dense(spec, k)
    W = inverse_where_seen(S, seen)
    projection = np.diag(seen * 1.0) - X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    m = len(y) // k

    def block_trace(A: np.ndarray) -> np.ndarray:
        return sum(A[i * k : (i + 1) * k, i * k : (i + 1) * k] for i in range(m))

    r = projection @ y
    observed = block_trace(W @ np.outer(r, r))
    without = block_trace(W @ projection @ S @ projection.T)
    columns = []
    for a, b in np.ndindex(k, k):
        unit = np.zeros((k, k))
        unit[a, b] = 1.0
        columns.append(block_trace(W @ projection @ block_diag(*[unit] * m) @ projection.T).ravel())
    psi = np.linalg.solve(np.column_stack(columns), (observed - without).ravel()).reshape(k, k)
    return (psi + psi.T) / 2


def naive_variance_components(spec: bm.Spec, k: int, adjust: bool) -> np.ndarray:
    """The iteration, unit by unit and pair by pair."""
    y, X, S, seen = dense(spec, k)
    p = [sum(k == 1 or name.startswith(f"y{a}.") for name in spec.coef) for a in range(k)]
    m = len(y) // k
    own = [slice(i * k, (i + 1) * k) for i in range(m)]
    psi = np.zeros((k, k))
    for _ in range(2000):
        before = psi
        W = inverse_where_seen(S + block_diag(*[psi] * m), seen)
        V = np.linalg.inv(X.T @ W @ X)
        r = np.where(seen, y - X @ V @ X.T @ W @ y, 0.0)
        if adjust:
            for at in own:
                o = np.flatnonzero(seen[at]) + at.start
                H = X[o] @ V @ X[o].T @ W[np.ix_(o, o)]
                r[o] = np.linalg.inv(sqrtm(np.eye(len(o)) - H)) @ r[o]
        psi = np.empty((k, k))
        for a, b in np.ndindex(k, k):
            both = [at.start for at in own if seen[at][a] and seen[at][b]]
            products, errors = [r[i + a] * r[i + b] for i in both], [S[i + a, i + b] for i in both]
            psi[a, b] = sum(products) / (len(both) - (0 if adjust else max(p[a], p[b]))) - sum(errors) / len(both)
        psi = truncated(psi)
        if np.abs(psi - before).max() < 1e-13:
            return psi
    raise AssertionError("the iteration of the test did not converge")


CASES = {
    "bivariate": (1, 2, 0.0, "y0 + y1 ~ x", 1.0),
    "missing": (2, 2, 0.4, "y0 + y1 ~ x", 1.0),
    "three, missing": (3, 3, 0.3, "y0 + y1 + y2 ~ 1", 1.0),
    "homogeneous": (4, 3, 0.3, "y0 + y1 + y2 ~ x", 0.05),
    "predictors by outcome": (5, 2, 0.3, {"y0": "x", "y1": "1"}, 1.0),
    "one outcome": (6, 1, 0.0, "y0 ~ x", 1.0),
}


@pytest.fixture(params=CASES.values(), ids=CASES)
def case(request: pytest.FixtureRequest) -> tuple[bm.Spec, int]:
    seed, k, missing, formula, spread = request.param
    data, S = draw(seed, k, missing=missing, spread=spread)
    return bm.specify(formula, data, S=S, offset="shift"), k


def test_matrix_moments_against_dense_matrices(case: tuple[bm.Spec, int]) -> None:
    spec, k = case
    naive = naive_matrix_moments(spec, k)
    tree = quietly(lambda: bm.fit(spec, "mm"))
    np.testing.assert_allclose(tree["estimate"]["psi_unit"], truncated(naive), rtol=1e-9, atol=1e-12)
    boundary = bool(tree["optimizer"]["at_boundary"].any())
    assert boundary == (np.linalg.eigvalsh(naive)[0] < 0)


def test_one_case_is_truncated_and_says_so() -> None:
    seed, k, missing, formula, spread = CASES["homogeneous"]
    data, S = draw(seed, k, missing=missing, spread=spread)
    tree = quietly(lambda: bm.fit(bm.specify(formula, data, S=S), "mm"))
    assert bool(tree["optimizer"]["at_boundary"].any())
    assert "at its boundary" in str(bm.summary(tree))
    values = np.linalg.eigvalsh(tree["estimate"]["psi_unit"])
    assert values[0] == pytest.approx(0.0, abs=1e-14)


@pytest.mark.parametrize("adjust", [True, False])
def test_variance_components_against_loops(case: tuple[bm.Spec, int], adjust: bool) -> None:
    spec, k = case
    tree = quietly(lambda: bm.fit(spec, "vc", vc_adjust=adjust))
    naive = naive_variance_components(spec, k, adjust)
    np.testing.assert_allclose(tree["estimate"]["psi_unit"], naive, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", ["bcg_mm", "bcg_vc", "berkey98_mm", "berkey98_vc_unadjusted"])
def test_reference_fits(reference: Callable[[str], Any], table: Callable[[str], pd.DataFrame], name: str) -> None:
    case = reference(f"mixmeta/{name}")
    given, expected = case["spec"], case["expected"]
    data = table(given["data"])
    if "derive" in given:
        data = data.assign(year=data.pubyear - 1983)
    options = {"vc_adjust": given["vc_adjust"]} if "vc_adjust" in given else {}
    tree = bm.fit(bm.specify(given["formula"], data, S=given["S"]), given["method"], **options)
    np.testing.assert_allclose(tree["estimate"]["psi_unit"], expected["psi"][0], rtol=2e-7)
    np.testing.assert_allclose(tree["estimate"]["beta"], expected["coef"], rtol=1e-6)
    np.testing.assert_allclose(tree["estimate"]["beta_cov"], expected["vcov"], rtol=1e-6)


@pytest.mark.parametrize("formula", ["logor ~ 1", "logor ~ ablat"])
def test_matrix_moments_of_one_outcome_are_dersimonian_laird(formula: str) -> None:
    spec = bm.specify(formula, bm.datasets.load("bcg"), S="logorvar")
    mm, dl = (bm.fit(spec, method)["estimate"] for method in ("mm", "dl"))
    np.testing.assert_allclose(mm["psi_unit"], dl["psi_unit"], rtol=1e-12)
    np.testing.assert_allclose(mm["beta_cov"], dl["beta_cov"], rtol=1e-12)


def test_counts_criteria_and_page() -> None:
    spec = bm.specify("PD + AL ~ pubyear", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"])
    for method in ("mm", "vc"):
        tree = bm.fit(spec, method)
        criteria = {name: float(value) for name, value in tree["criteria"].to_dataset().items()}
        assert (criteria["df_fixed"], criteria["df_random"], criteria["df"], criteria["nobs"]) == (4, 3, 7, 10)
        assert np.isnan([criteria[name] for name in ("loglik", "aic", "aicc", "bic")]).all()
        np.testing.assert_allclose(tree["estimate"]["xi_cov"], tree["estimate"]["xi_cov"].T, rtol=1e-9)
        L = np.zeros((2, 2))
        L[[0, 1, 1], [0, 0, 1]] = tree["estimate"]["xi"]
        np.testing.assert_allclose(L @ L.T, tree["estimate"]["psi_unit"], rtol=1e-12)
        assert (bm.summary(tree).components()["se"] > 0).all()
        assert "logLik" not in str(bm.summary(tree))
    with pytest.raises(bm.SpecError, match="has no likelihood"):
        _ = bm.compare(tree, bm.fit(spec, "ml")).criteria


@pytest.mark.parametrize("method", ["mm", "vc"])
def test_missing_outcomes_are_an_assumption(method: str) -> None:
    data, S = draw(2, 2, missing=0.4)
    lost = int(data["y1"].isna().sum())
    with pytest.warns(bm.AssumptionWarning, match=f"the {lost} missing outcomes as missing completely at random"):
        tree = bm.fit(bm.specify("y0 + y1 ~ x", data, S=S), method)
    assert "missing completely at random" in str(bm.summary(tree))


@pytest.mark.parametrize("method", ["mm", "vc"])
def test_units_of_the_outcomes_do_not_matter(method: str) -> None:
    data, S = draw(8, 2, m=30, missing=0.3, spread=2.0)
    c = 1e5
    other = data.assign(y1=data.y1 * c, s10=data.s10 * c, s11=data.s11 * c * c)
    one, two = (quietly(lambda d=d: bm.fit(bm.specify("y0 + y1 ~ x", d, S=S), method)) for d in (data, other))
    scale = np.outer([1, c], [1, c])
    psi = one["estimate"]["psi_unit"].values
    assert np.linalg.eigvalsh(psi)[0] > 0  # truncation of eigenvalues depends on units
    np.testing.assert_allclose(two["estimate"]["psi_unit"], psi * scale, rtol=1e-7)


@pytest.mark.parametrize("method", ["mm", "vc", *TAU2])
def test_a_named_level_of_single_rows_is_the_same_model(method: str) -> None:
    data = bm.datasets.load("bcg").assign(id=lambda d: [f"t{i}" for i in range(len(d))][::-1])
    none, named = (
        bm.fit(bm.specify("logor ~ ablat", data, S="logorvar", random=r), method)["estimate"] for r in (None, "1 | id")
    )
    np.testing.assert_allclose(named["psi_id"], none["psi_unit"], rtol=1e-12)


def school(random: str) -> bm.Spec:
    return bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random=random)


def berkey(**given: Any) -> bm.Spec:
    return bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"], **given)


@pytest.mark.parametrize("method", ["mm", "vc", "he", "pmm"])
def test_other_levels_effects_and_structures_are_refused(method: str) -> None:
    with pytest.raises(bm.SpecError, match="the model has the levels district, study"):
        bm.fit(school("1 | district/study"), method)
    with pytest.raises(bm.SpecError, match="level 'district' joins 56 rows in 11 groups"):
        bm.fit(school("1 | district"), method)
    with pytest.raises(bm.SpecError, match="random effects of level 'study' are: Intercept, year"):
        bm.fit(school("1 + year | study"), method)
    with pytest.raises(bm.SpecError, match="random effects of level 'study' are: year"):
        bm.fit(school("0 + year | study"), method)
    one = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", psi="diag")
    with pytest.raises(bm.SpecError, match='estimates an unstructured Psi, the model has psi="diag"'):
        bm.fit(one, method)


def test_structures_of_several_outcomes_are_refused() -> None:
    for psi in ("diag", "cs", bm.structures.Fixed(np.eye(2))):
        with pytest.raises(bm.SpecError, match="unstructured Psi"):
            bm.fit(berkey(psi=psi), "mm")


@pytest.mark.parametrize("method", TAU2)
def test_estimators_of_one_tau2_refuse_several_outcomes(method: str) -> None:
    with pytest.raises(bm.SpecError, match=f"method '{method}' is for one outcome, the model has 2: PD, AL"):
        bm.fit(berkey(), method)


def test_options_belong_to_methods() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    with pytest.raises(bm.SpecError, match="method 'mm' has no option 'vc_adjust'"):
        bm.fit(spec, "mm", vc_adjust=False)
    with pytest.raises(TypeError, match="vc_adj"):
        bm.fit(spec, "vc", vc_adj=False)  # type: ignore[call-arg]
    with pytest.raises(bm.SpecError, match="method 'dl' has no option"):
        bm.fit(spec, "dl", tolerance=1e-3)
    with pytest.raises(bm.SpecError, match="tolerance is 0; it must be a finite number greater than 0"):
        bm.fit(spec, "pm", tolerance=0)


@pytest.mark.parametrize("method", ["mm", "vc"])
def test_outcomes_never_observed_together(method: str) -> None:
    data, S = draw(1, 2)
    data.loc[:5, "y0"], data.loc[6:, "y1"] = np.nan, np.nan
    spec = quietly(lambda: bm.specify("y0 + y1 ~ 1", data, S=S))
    with pytest.raises(bm.DataError, match="never observed together: y0 and y1"):
        bm.fit(spec, method)


def test_too_few_units() -> None:
    data, S = draw(1, 2, m=2)
    spec = quietly(lambda: bm.specify("y0 + y1 ~ x", data, S=S))
    with pytest.raises(bm.DataError, match="no unique solution: 4 observations of 2 units for 4 coefficients"):
        bm.fit(spec, "mm")
    with pytest.raises(bm.DataError, match="more units that observe both of two outcomes than coefficients"):
        bm.fit(spec, "vc", vc_adjust=False)
    with pytest.raises(bm.DataError, match="determine a coefficient alone"):
        bm.fit(spec, "vc")
    with pytest.raises(bm.DataError, match="2 rows and 2 coefficients"):
        bm.fit(quietly(lambda: bm.specify("y0 ~ x", data, S="s00")), "dl")


def test_variance_components_that_do_not_settle_say_so() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    with pytest.warns(bm.ConvergenceWarning, match="did not converge") as caught:
        tree = bm.fit(spec, "vc", max_iterations=2)
    assert caught[0].filename == __file__
    assert not bool(tree["optimizer"]["converged"])
    assert "THE SEARCH DID NOT CONVERGE (2 iterations, relative change" in " ".join(str(bm.summary(tree)).split())


@pytest.mark.parametrize("method", TAU2)
@pytest.mark.parametrize(("part", "formula"), [("intercept_only", "logor ~ 1"), ("with_ablat", "logor ~ ablat")])
def test_published_estimators(
    reference: Callable[[str], Any], table: Callable[[str], pd.DataFrame], method: str, part: str, formula: str
) -> None:
    expected = reference("metafor/tau2_estimators_bcg")[part][method.upper()]
    data = table("bcg")
    options = {"tolerance": LOOSE} if method in ("pm", "pmm") else {}
    tree = bm.fit(bm.specify(formula, data, S="logorvar"), method, **options)
    estimate, tau2 = tree["estimate"], bm.confint(tree, "qprofile", "tau2")
    assert tau2["estimate"].item() == pytest.approx(expected["tau2"], abs=1e-9)
    assert tau2["se"].item() == pytest.approx(expected["se_tau2"], abs=1e-9)
    np.testing.assert_allclose(estimate["beta"], np.atleast_1d(expected["beta"]), atol=1e-8)
    np.testing.assert_allclose(estimate["beta_se"], np.atleast_1d(expected["se"]), atol=1e-8)
    tau = estimate["tau_unit"].item()
    assert bm.summary(tree).components()["se"].item() == pytest.approx(expected["se_tau2"] / (2 * tau), abs=1e-8)


@pytest.mark.parametrize("method", [*TAU2, "mm", "vc", "ml", "reml"])
@pytest.mark.parametrize(("part", "formula"), [("intercept_only", "y ~ 1"), ("with_x", "y ~ x")])
def test_tau2_at_zero_has_its_standard_error(
    reference: Callable[[str], Any], method: str, part: str, formula: str
) -> None:
    values = reference("metafor/tau2_at_zero")
    spec = bm.specify(formula, pd.DataFrame({name: values[name] for name in "yvx"}), S="v")
    tree = bm.fit(spec, method)
    table = quietly(lambda: bm.confint(tree, "qprofile")).to_dataframe()  # its interval is empty, which a warning says
    expected = values[part].get("DL" if method == "mm" else method.upper())
    if expected is not None:
        assert table["estimate"]["tau2[unit, Intercept]"] == pytest.approx(expected["tau2"], abs=1e-12)
        assert table["se"]["tau2[unit, Intercept]"] == pytest.approx(expected["se_tau2"], rel=1e-9)
    assert tree["estimate"]["tau2_unit_se"].item() == table["se"]["tau2[unit, Intercept]"] > 0
    assert table.loc[["I2", "H2"], "se"].min() > 0
    assert np.isnan(table["se"]["tau[unit, Intercept]"]) == (table["estimate"]["tau[unit, Intercept]"] == 0)


def test_the_standard_error_of_matrix_moments_of_one_outcome_is_that_of_dersimonian_laird() -> None:
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar")
    mm, dl = (bm.fit(spec, method)["estimate"] for method in ("mm", "dl"))
    np.testing.assert_allclose(mm["tau2_unit_se"], dl["tau2_unit_se"], rtol=1e-9)
    np.testing.assert_allclose(mm["xi_cov"], dl["xi_cov"], rtol=1e-9)


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_the_covariance_of_residual_products_against_dense_matrices(missing: float) -> None:
    data, S = draw(5, 2, missing=missing)
    spec = quietly(lambda: bm.specify("y0 + y1 ~ x", data, S=S))
    units, psi, k = units_of(spec, "", ""), np.array([[0.5, 0.2], [0.2, 0.4]]), 2
    _, X, S_dense, seen = dense(spec, k)
    W = inverse_where_seen(S_dense, seen)
    left = np.diag(seen.astype(float)) - X @ np.linalg.inv(X.T @ W @ X) @ X.T @ W
    Sigma = S_dense + np.kron(np.eye(len(units.y)), psi) * np.outer(seen, seen)
    C = left @ Sigma @ left.T
    blocks = np.linalg.inv(units.S) * units.pairs
    form = {}
    for p, q in np.ndindex(k, k):
        A = np.zeros_like(C)
        for i, block in enumerate(blocks):
            A[i * k + q, i * k : i * k + k] = block[p]
        form[p, q] = (A + A.T) / 2
    found = moment_errors.Residuals.of_fixed_fit(units, units.covariances(psi) * units.pairs, blocks)
    cov = found.covariance_of_sum(blocks)
    for p, q, s, t in np.ndindex(k, k, k, k):
        assert cov[p, q, s, t] == pytest.approx(2 * np.trace(form[p, q] @ C @ form[s, t] @ C), rel=1e-9)


@pytest.mark.parametrize(("method", "missing"), [("mm", 0.0), ("vc", 0.0), ("mm", 0.3), ("vc", 0.3)])
def test_standard_errors_of_psi_are_the_spread_of_its_estimates(method: str, missing: float) -> None:
    data, S = draw(3, 2, m=60, missing=missing, spread=1.5)
    spec = quietly(lambda: bm.specify("y0 + y1 ~ x", data, S=S))
    psi = np.array([[1.5, 0.5], [0.5, 1.0]])
    Y = bm.simulate(spec, 1500, 1, beta=[1.0, 0.0, 0.3, 0.2], psi=psi)
    estimates = quietly(lambda: bm.fit_many(spec, Y, method=method))["psi_unit"].values
    units = units_of(spec, "", "")
    if method == "mm":
        _, slope = moments.matrix_moments(units, least_squares(spec, 0 * psi))
        cov = moment_errors.of_matrix_moments(units, psi, slope)
    else:
        R, divisor = moments._adjustment(units, psi, least_squares(spec, psi).beta_cov, True)
        cov = moment_errors.of_variance_components(units, psi, R, divisor)
    np.testing.assert_allclose(np.sqrt(np.diag(cov)), estimates.std(axis=0, ddof=1).ravel(), rtol=0.07)


def naive_Q(spec: bm.Spec, tau2: float) -> float:
    W = np.diag(1 / (spec.S.variances + tau2))
    P = W - W @ spec.X @ np.linalg.inv(spec.X.T @ W @ spec.X) @ spec.X.T @ W
    return float(spec.y @ P @ spec.y)


@pytest.mark.parametrize("formula", ["logor ~ 1", "logor ~ ablat"])
def test_roots_are_exact_by_default(formula: str) -> None:
    """The reference's PM and PMM solve their equations to three digits; ours, and its own EB, to all of them."""
    spec = bm.specify(formula, bm.datasets.load("bcg"), S="logorvar")
    df = len(spec.y) - len(spec.coef)
    Q = {m: naive_Q(spec, bm.fit(spec, m)["estimate"]["psi_unit"].item()) for m in ("pm", "eb", "pmm")}
    assert Q["pm"] == pytest.approx(df, rel=1e-11)
    assert Q["eb"] == pytest.approx(df, rel=1e-11)
    assert float(mpmath.gammainc(df / 2, 0, Q["pmm"] / 2, regularized=True)) == pytest.approx(0.5, abs=1e-9)


@pytest.mark.parametrize("method", TAU2)
def test_units_and_origin_of_the_effect(method: str) -> None:
    data = bm.datasets.load("bcg")
    base = bm.fit(bm.specify("logor ~ ablat", data, S="logorvar"), method)["estimate"]
    for c, shift in ((1e-6, 0.0), (1e6, 0.0), (1.0, 1e6)):
        other = data.assign(logor=data.logor * c + shift, logorvar=data.logorvar * c * c)
        found = bm.fit(bm.specify("logor ~ ablat", other, S="logorvar"), method)["estimate"]
        np.testing.assert_allclose(found["psi_unit"], base["psi_unit"] * c * c, rtol=1e-7)
        np.testing.assert_allclose(found["xi_cov"], base["xi_cov"] * c * c, rtol=1e-7)


@pytest.mark.parametrize("method", ["mm", "vc", *TAU2])
def test_offset_is_subtracted(method: str) -> None:
    data = bm.datasets.load("bcg").assign(known=lambda d: np.sin(np.arange(len(d))))
    moved = data.assign(logor=data.logor + data.known)
    base = bm.fit(bm.specify("logor ~ 1", data, S="logorvar"), method)["estimate"]
    found = bm.fit(bm.specify("logor ~ 1", moved, S="logorvar", offset="known"), method)["estimate"]
    np.testing.assert_allclose(found["psi_unit"], base["psi_unit"], rtol=1e-9)


@pytest.mark.parametrize("method", [m for m in ["mm", "vc", *TAU2] if m != "sj"])
def test_less_variation_than_sampling_error_gives_exactly_zero(method: str) -> None:
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1, 0.1], "v": 0.04})
    tree = bm.fit(bm.specify("y ~ 1", data, S="v"), method)
    assert tree["estimate"]["tau_unit"].item() == 0.0
    assert tree["optimizer"]["at_boundary"].values.tolist() == [True]
    assert np.isnan(tree["estimate"]["xi_cov"].item())
    assert tree["estimate"]["beta_se"].item() == pytest.approx(np.sqrt(0.04 / 5), rel=1e-12)


def test_sidik_jonkman_is_zero_only_for_equal_effects() -> None:
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1, 0.1], "v": 0.04})
    assert bm.fit(bm.specify("y ~ 1", data, S="v"), "sj")["estimate"]["tau_unit"].item() > 0
    tree = bm.fit(bm.specify("y ~ 1", data.assign(y=0.5), S="v"), "sj")
    assert tree["estimate"]["tau_unit"].item() == 0.0


def test_page_names_the_estimator() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    for method in TAU2:
        assert f"({method.upper()})" in str(bm.summary(bm.fit(spec, method))).splitlines()[1]
