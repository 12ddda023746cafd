"""Q, I2 and H2, overall and by outcome."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.linalg import block_diag
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.errors import SpecError
from tests.support.awkward import awkward_spec
from tests.support.posteriors import make_posterior


def dense_S(spec: bm.Spec) -> np.ndarray:
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return S


@pytest.mark.parametrize("name", ["school_district_study", "bcg_reml_ablat", "berkey98_reml"])
def test_reference_fits(name: str, reference):
    case = reference(f"mixmeta/{name}")
    given, expected = case["spec"], case["expected"]
    data = bm.datasets.load(given["data"])
    if name == "berkey98_reml":
        data["year"] = data["pubyear"] - 1983
    spec = bm.specify(given["formula"], data, S=given["S"], random=given.get("random"))
    found = bm.heterogeneity(bm.fit(spec, method=given["method"]))
    labels = ["overall", *spec.outcomes] if len(spec.outcomes) > 1 else ["overall"]
    assert np.atleast_1d(found["outcome"]).tolist() == labels
    rtol = 1e-7 if name.startswith("bcg") else 1e-10  # the reference was fitted to rounded log odds ratios
    np.testing.assert_allclose(found["Q"], expected["Q"], rtol=rtol)
    np.testing.assert_array_equal(found["df"], expected["Q_df"])
    np.testing.assert_allclose(found["I2"], expected["I2"], rtol=rtol)
    np.testing.assert_allclose(found["H2"], np.maximum(np.divide(expected["Q"], expected["Q_df"]), 1), rtol=rtol)
    np.testing.assert_allclose(found["pvalue"], expected["Q_pvalue"], rtol=10 * rtol, atol=1e-15)


def test_definition_with_missing_outcomes_offset_and_covariances():
    spec = awkward_spec()
    y, S = spec.y - spec.offset, dense_S(spec)
    weighted = np.linalg.solve(S, spec.X)
    beta = np.linalg.solve(spec.X.T @ weighted, weighted.T @ y)
    residual = y - spec.X @ beta
    expected = [(residual @ np.linalg.solve(S, residual), len(y) - len(spec.coef))]
    for j in range(2):
        own = spec.outcome_index == j
        expected.append(((residual[own] ** 2 / np.diag(S)[own]).sum(), own.sum() - len(spec.coef) // 2))
    found = bm.heterogeneity(bm.fit(spec))
    Q, df = np.transpose(expected)
    np.testing.assert_allclose(found["Q"], Q, rtol=1e-10)
    np.testing.assert_array_equal(found["df"], df)
    np.testing.assert_allclose(found["pvalue"], chi2.sf(Q, df), rtol=1e-8)
    np.testing.assert_allclose(found["I2"], 100 * np.maximum(0, (Q - df) / Q), rtol=1e-10)
    np.testing.assert_allclose(found["H2"], np.maximum(Q / df, 1), rtol=1e-10)
    assert found["df"].dtype.kind == "i"


def test_definition_with_errors_that_couple_rows():
    """Whole districts with correlated errors, two outcomes of which some are missing, and an offset."""
    rng = np.random.default_rng(3)
    n, district = 24, np.repeat(list("abcd"), 6)
    data = pd.DataFrame(rng.normal(size=(n, 4)), columns=["A", "B", "x", "base"]).assign(district=district)
    data.loc[[1, 8], "A"] = data.loc[[3, 9, 20], "B"] = np.nan
    blocks = {}
    for name, rows in data.groupby("district"):
        root = rng.normal(size=(2 * len(rows), 2 * len(rows)))
        present = ~np.isnan(rows[["A", "B"]].to_numpy().ravel())
        blocks[name] = (root @ root.T + np.eye(len(root)))[np.ix_(present, present)]
    spec = bm.specify("A + B ~ x", data, S=blocks, random="1 | district", offset="base")
    S = block_diag(*blocks.values())
    observed = data.melt(["x", "base"], ["A", "B"], ignore_index=False).reset_index().sort_values(["index", "variable"])
    observed = observed.dropna()
    is_A = (observed["variable"] == "A").to_numpy()
    X = np.column_stack([is_A, ~is_A, is_A * observed["x"], ~is_A * observed["x"]]).astype(float)
    y = (observed["value"] - observed["base"]).to_numpy()
    beta = np.linalg.solve(X.T @ np.linalg.solve(S, X), X.T @ np.linalg.solve(S, y))
    r = y - X @ beta
    expected = [r @ np.linalg.solve(S, r), *(np.sum((r**2 / np.diag(S))[own]) for own in (is_A, ~is_A))]
    found = bm.heterogeneity(bm.fit(spec, method="fixed"))
    np.testing.assert_allclose(found["Q"], expected, rtol=1e-10)
    np.testing.assert_array_equal(found["df"], [len(y) - 4, is_A.sum() - 2, (~is_A).sum() - 2])


def test_common_coefficients_count_for_every_outcome_they_touch():
    rng = np.random.default_rng(2)
    data = pd.DataFrame({"A": rng.normal(size=8), "B": rng.normal(size=8), "x": rng.normal(size=8)})
    spec = bm.specify({"A": "1", "B": "1"}, data, S=np.full((8, 2), 0.1), S_correlation=0.0, common="x")
    assert spec.coef == ("A.Intercept", "B.Intercept", "x")
    np.testing.assert_array_equal(bm.heterogeneity(bm.fit(spec, method="fixed"))["df"], [13, 6, 6])


def test_no_excess_is_zero_percent():
    data = {"y": [0.1, 0.11, 0.09, 0.1], "v": [1.0, 1, 1, 1]}
    found = bm.heterogeneity(bm.fit(bm.specify("y ~ 1", data, S="v"), method="fixed"))
    assert found["I2"].item() == 0
    assert [found[name].item() for name in ("H2", "I2_tau2", "H2_tau2")] == [1, 0, 1]  # as metafor has them


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_nothing_is_tested_without_degrees_of_freedom():
    data = pd.DataFrame({"A": [0.5, 1.0, 0.2], "B": [np.nan, np.nan, 0.3]})
    spec = bm.specify("A + B ~ 1", data, S=np.full((3, 2), 0.1), S_correlation=0.0)
    found = bm.heterogeneity(bm.fit(spec, method="fixed")).sel(outcome="B")
    assert found["df"] == 0
    assert all(np.isnan(found[name]) for name in ("pvalue", "I2", "H2", "I2_tau2", "H2_tau2"))
    assert found["Q"].item() == pytest.approx(0, abs=1e-12)


def test_tree_without_the_table():
    with pytest.raises(SpecError, match="no group /heterogeneity in this tree; its groups: none"):
        bm.heterogeneity(xr.DataTree())


@pytest.mark.parametrize("method", ["ml", "reml", "dl", "eb", "sj"])
def test_metafors_I2_of_every_estimator(method: str, reference):
    """`rma()` computes I2 and H2 from its tau2; metafor 3.8-1, see the page in tests/reference/metafor."""
    expected = reference("metafor/tau2_estimators_bcg")["intercept_only"][method.upper()]
    found = bm.heterogeneity(bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), method=method))
    assert found["I2_tau2"].item() == pytest.approx(expected["I2"], rel=1e-5)
    assert found["H2_tau2"].item() == pytest.approx(expected["H2"], rel=1e-5)


def test_several_levels_and_outcomes_as_in_the_partition_of_variance():
    school = bm.fit(bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study"))
    slopes = bm.fit(
        bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="year | district", psi="id")
    )
    outcomes = bm.fit(awkward_spec())
    for tree in (school, slopes, outcomes):
        found, partition = bm.heterogeneity(tree), bm.variance_partition(tree)
        own = found.sel(outcome=partition["outcome"]) if "outcome" in found.dims else found
        np.testing.assert_allclose(own["I2_tau2"], partition["I2"], rtol=1e-10)
        np.testing.assert_allclose(own["H2_tau2"], partition["H2"], rtol=1e-10)


def test_overall_is_the_mean_of_the_outcomes_weighted_by_degrees_of_freedom():
    found = bm.heterogeneity(bm.fit(awkward_spec()))
    overall, *own = found["H2_tau2"].values
    assert min(own) < overall < max(own)
    unit = {"A": 1.0, "B": 1000.0}  # outcomes in other units: nothing changes
    data = pd.DataFrame(np.random.default_rng(1).normal(size=(20, 2)), columns=list(unit))
    S = np.full((20, 2), [0.2, 0.1])
    plain, scaled = (
        bm.heterogeneity(bm.fit(bm.specify("A + B ~ 1", data * units, S=S * np.square(units), S_correlation=0.3)))
        for units in ([1.0, 1.0], list(unit.values()))
    )
    np.testing.assert_allclose(plain["I2_tau2"], scaled["I2_tau2"], rtol=1e-5)
    weights = [19, 19]
    mean = np.average(plain["H2_tau2"].values[1:], weights=weights)
    assert plain["H2_tau2"].values[0] == pytest.approx(mean, rel=1e-10)


def test_of_a_posterior_the_means_over_its_draws():
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    tree = make_posterior(spec)
    tau2 = tree["derived"]["psi_unit"].values.reshape(-1)
    typical = bm.variance_partition(bm.fit(spec))["variance"].sel(level="sampling").item()
    found = bm.heterogeneity(tree)
    assert found["I2_tau2"].item() == pytest.approx(100 * np.mean(tau2 / (tau2 + typical)), rel=1e-10)
    assert found["H2_tau2"].item() == pytest.approx(1 + np.mean(tau2) / typical, rel=1e-10)
