"""The results tree: what is in it, under which names, and that it is what the estimator found."""

import json
from dataclasses import replace
from datetime import datetime

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.result_tree import from_estimate
from tests.support.awkward import awkward_spec

GROUPS = ["estimate", "criteria", "heterogeneity", "optimizer", "observed_data", "constant_data", "data"]


def estimate_at(spec: bm.Spec, psi: list[np.ndarray], method: str = "reml") -> Estimate:
    """The record of a search that ended at the given Psi."""
    found = kernel.likelihood(spec.statistics, psi, restricted=method == "reml")
    free = tuple(f"{level.name}.{label}" for level in spec.levels for label in level.structure.labels(level.effects))
    F, P = len(free), len(spec.coef)
    search = Optimizer(
        starts=np.ones((2, F)),
        path=np.array([-3.0, -2.0, -1.0]),
        evaluations=7,
        gradient=np.full(F, 1e-9),
        gradient_norm=1e-9,
        converged=True,
        at_boundary=np.arange(F) == 0,
        message="gradient is zero",
    )
    return Estimate(
        method=method,
        beta=found.beta,
        beta_cov=found.beta_cov,
        psi=tuple(psi),
        xi=np.arange(F, dtype=float),
        xi_cov=np.diag(np.arange(F, dtype=float)),
        free=free,
        loglik=float(found.loglik),
        df_fixed=P,
        df_random=F,
        nobs=len(spec.y) - (P if method == "reml" else 0),
        optimizer=search,
    )


@pytest.fixture(scope="module")
def spec() -> bm.Spec:
    return awkward_spec()


@pytest.fixture(scope="module")
def estimate(spec: bm.Spec) -> Estimate:
    lab = np.full((4, 4), 0.02) + np.diag([0.03] * 4)
    return estimate_at(spec, [np.diag([0.25, 0.0]), lab])


@pytest.fixture(scope="module")
def tree(spec: bm.Spec, estimate: Estimate) -> xr.DataTree:
    return from_estimate(spec, estimate)


@pytest.fixture(scope="module")
def school() -> bm.Spec:
    return bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")


def test_groups_of_the_tree(tree: xr.DataTree):
    assert list(tree.children) == GROUPS
    assert not tree.data_vars
    assert not tree.coords
    assert not tree.dims


def test_every_dimension_of_the_schema_has_labels(tree: xr.DataTree):
    unlabelled = {dim for node in tree.subtree for dim in node.dims if dim not in node.coords}
    assert unlabelled == {"start", "iteration", "nonzero"}
    for node in tree.subtree:
        assert not any(index.nlevels > 1 for index in node.indexes.values())


def test_estimates_have_their_names_and_dimensions(tree: xr.DataTree):
    found = {name: variable.dims for name, variable in tree["estimate"].data_vars.items()}
    per_level = {
        name.format(L): tuple(dim.format(L) for dim in dims)
        for L in ("region", "lab")
        for name, dims in {
            "psi_{}": ("effect_{}", "effect_{}_bis"),
            "tau_{}": ("effect_{}",),
            "rho_{}": ("pair_{}",),
            "b_{}": ("group_{}", "effect_{}"),
            "b_{}_se": ("group_{}", "effect_{}"),
        }.items()
    }
    beta = {"beta": ("coef",), "beta_se": ("coef",), "beta_cov": ("coef", "coef_bis")}
    assert found == beta | per_level | {"xi": ("free",), "xi_cov": ("free", "free_bis")}


def test_labels(tree: xr.DataTree, spec: bm.Spec):
    found = tree["estimate"].to_dataset()
    assert tuple(found["coef"].values) == tuple(found["coef_bis"].values) == spec.coef
    assert list(found["effect_lab"].values) == ["A.Intercept", "B.Intercept", "A.dose", "B.dose"]
    assert list(found["pair_region"].values) == ["A~B"]
    assert list(found["pair_lab"].values)[:4] == [
        "A.Intercept~B.Intercept", "A.Intercept~A.dose", "A.Intercept~B.dose", "B.Intercept~A.dose",
    ]  # fmt: skip
    assert set(found["group_region"].values) == {r"n\/orth", "south\\\\", "east", "west"}
    assert len(set(found["group_lab"].values)) == 12
    assert r"n\/orth/b\/" in found["group_lab"].values


def test_estimates_are_the_estimator_s(tree: xr.DataTree, estimate: Estimate):
    found = tree["estimate"].to_dataset()
    for name in ("beta", "beta_cov", "xi", "xi_cov"):
        np.testing.assert_array_equal(found[name], getattr(estimate, name))
    np.testing.assert_allclose(found["beta_se"] ** 2, np.diag(estimate.beta_cov), rtol=1e-14)
    for level, psi in zip(("region", "lab"), estimate.psi, strict=True):
        np.testing.assert_array_equal(found[f"psi_{level}"], psi)
        np.testing.assert_allclose(found[f"tau_{level}"] ** 2, np.diag(psi), rtol=1e-14)
    np.testing.assert_allclose(found["rho_lab"], 0.4, rtol=1e-14)


def test_correlation_with_a_constant_effect_is_not_a_number(tree: xr.DataTree):
    np.testing.assert_array_equal(tree["estimate"]["tau_region"], [0.5, 0.0])
    assert np.isnan(tree["estimate"]["rho_region"].item())


def test_pairs_are_in_the_order_of_their_correlations(school: bm.Spec):
    spec = awkward_spec()
    lab = np.array([[1.0, 0.1, 0.2, 0.3], [0.1, 1.0, 0.4, 0.5], [0.2, 0.4, 1.0, 0.6], [0.3, 0.5, 0.6, 1.0]])
    found = from_estimate(spec, estimate_at(spec, [np.eye(2), lab]))["estimate"]["rho_lab"]
    by_label = dict(zip(found["pair_lab"].values, found.values, strict=True))
    for i, a in enumerate(spec.levels[1].effects):
        for j, b in enumerate(spec.levels[1].effects):
            if i < j:
                assert by_label[f"{a}~{b}"] == lab[i, j]
    no_pairs = from_estimate(school, estimate_at(school, [np.eye(1), np.eye(1)]))["estimate"]
    assert no_pairs["rho_district"].shape == (0,)


def test_random_effects_are_kept_unless_there_are_too_many(spec, estimate, tree, monkeypatch):
    monkeypatch.setattr("bayesmeta.estimation.result_tree.MOST_RANDOM_EFFECTS", 4 * 2 + 12 * 4)
    assert "b_lab" in from_estimate(spec, estimate)["estimate"]
    monkeypatch.setattr("bayesmeta.estimation.result_tree.MOST_RANDOM_EFFECTS", 4 * 2 + 12 * 4 - 1)
    without = from_estimate(spec, estimate)["estimate"]
    assert not {"b_region", "b_lab", "b_region_se", "b_lab_se"} & set(without.data_vars)
    assert "b_lab" in from_estimate(spec, estimate, random_effects=True)["estimate"]
    assert "b_lab" not in from_estimate(spec, estimate, random_effects=False)["estimate"]


def test_random_effects_are_those_of_ranef(tree: xr.DataTree):
    for level, found in bm.ranef(tree).children.items():
        np.testing.assert_array_equal(tree["estimate"][f"b_{level}"], found["mean"])
        np.testing.assert_array_equal(tree["estimate"][f"b_{level}_se"], found["se"])


@pytest.mark.parametrize("method", ["reml", "ml"])
def test_criteria(spec: bm.Spec, estimate: Estimate, method: str):
    estimate = estimate_at(spec, list(estimate.psi), method)
    found = {name: variable.item() for name, variable in from_estimate(spec, estimate)["criteria"].data_vars.items()}
    n, P, F = len(spec.y), len(spec.coef), 4
    nobs, df, deviance = n - P if method == "reml" else n, P + F, -2 * estimate.loglik
    assert found == {
        "loglik": estimate.loglik,
        "aic": pytest.approx(deviance + 2 * df, rel=1e-14),
        "aicc": pytest.approx(deviance + 2 * df * nobs / (nobs - df - 1), rel=1e-14),
        "bic": pytest.approx(deviance + np.log(nobs) * df, rel=1e-14),
        "df": df, "df_fixed": P, "df_random": F, "nobs": nobs, "rank": P,
    }  # fmt: skip


def test_criteria_of_published_fits(school: bm.Spec, reference):
    reml, metafor = bm.fit(school)["criteria"], reference("metafor/multilevel_school")
    assert reml["loglik"].item() == pytest.approx(metafor["loglik"], abs=1e-6)
    assert reml["aicc"].item() == pytest.approx(metafor["aicc"], abs=1e-5)
    ablat = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar"))["criteria"]
    ml = bm.fit(school, method="ml")["criteria"]
    for ours, name in ((ablat, "bcg_reml_ablat"), (ml, "school_district_study")):
        mixmeta = reference(f"mixmeta/{name}")["expected"]
        for criterion in ("loglik", "aic", "bic"):
            assert ours[criterion].item() == pytest.approx(mixmeta[criterion], abs=1e-5)
        assert (ours["df"].item(), ours["nobs"].item()) == (mixmeta["df"], mixmeta["nobs"])


def test_aicc_counts_at_least_two_observations_more_than_parameters(school: bm.Spec):
    few = replace(estimate_at(school, [np.eye(1), np.eye(1)]), nobs=2)
    found = from_estimate(school, few)["criteria"]
    assert found["aicc"].item() == pytest.approx(-2 * few.loglik + 2 * 3 * 5 / (5 - 3 - 1))


def test_without_a_likelihood_there_are_no_criteria(school: bm.Spec):
    moments = replace(estimate_at(school, [np.eye(1), np.eye(1)]), method="mm", loglik=np.nan, optimizer=None)
    found = from_estimate(school, moments)
    assert all(np.isnan(found["criteria"][name]) for name in ("loglik", "aic", "aicc", "bic"))
    assert found["criteria"]["df"] == 3
    assert "optimizer" not in found.children


def test_optimizer(tree: xr.DataTree, estimate: Estimate):
    found, search = tree["optimizer"].to_dataset(), estimate.optimizer
    assert search is not None
    assert tuple(found["free"].values) == estimate.free
    assert found["starts"].dims == ("start", "free")
    assert found["path"].dims == ("iteration",)
    for name in ("starts", "path", "evaluations", "gradient", "gradient_norm", "converged", "at_boundary"):
        np.testing.assert_array_equal(found[name], getattr(search, name))
    assert found["converged"].dtype == found["at_boundary"].dtype == bool
    assert found.attrs["message"] == search.message


def test_data_and_designs(tree: xr.DataTree, spec: bm.Spec):
    assert list(tree["observed_data"].data_vars) == ["y"]
    observed, constant = tree["observed_data"].to_dataset(), tree["constant_data"].to_dataset()
    np.testing.assert_array_equal(observed["y"], spec.y)
    np.testing.assert_array_equal(observed["obs"], np.arange(len(spec.y)))
    assert [(r, o) for r, o in zip(observed["row"].values, observed["outcome"].values, strict=True)] == [
        (spec.row_labels[r], spec.outcomes[o]) for r, o in zip(spec.row, spec.outcome_index, strict=True)
    ]
    assert constant["X"].dims == ("obs", "coef")
    np.testing.assert_array_equal(constant["X"], spec.X)
    np.testing.assert_array_equal(constant["offset"], spec.offset)
    for level in spec.levels:
        np.testing.assert_array_equal(constant[f"Z_{level.name}"], level.Z)
        np.testing.assert_array_equal(constant[f"group_{level.name}_index"], level.index)
    for name in ("value", "row", "col"):
        np.testing.assert_array_equal(constant[f"S_{name}"], getattr(spec.S, name))


def test_raw_data_say_what_was_dropped_and_why(tree: xr.DataTree):
    raw = tree["data"].to_dataset().to_dataframe()
    assert list(raw.index[~raw["kept"]]) == [row for row in raw.index if row in ("r3", "r7")]
    assert raw.loc["r3", "dropped"] == "missing dose"
    assert raw.loc["r7", "dropped"]
    assert (raw["dropped"][raw["kept"]] == "").all()


def test_root_attributes(tree: xr.DataTree):
    attrs = tree.attrs
    assert attrs["bayesmeta_version"] == bm.__version__
    assert (attrs["backend"], attrs["method"], attrs["measure"]) == ("fit", "reml", "smd")
    assert attrs["formula"] == "A + B ~ ns(dose, df=3) + kind + C(year)"
    assert json.loads(attrs["random"]) == {"region": "1", "region/lab": "1 + dose"}
    assert (attrs["offset"], attrs["common"], attrs["groups"]) == ("base", "", "")
    assert list(json.loads(attrs["psi"]).items()) == [("region", "diag"), ("lab", "cs")]
    assert json.loads(attrs["outcomes"]) == ["A", "B"]
    assert abs((datetime.now().astimezone() - datetime.fromisoformat(attrs["created_at"])).total_seconds()) < 3600
    assert len(attrs["data_hash"]) == 64


def test_two_trees_of_one_specification_do_not_share_their_attributes(spec: bm.Spec, estimate: Estimate):
    first, second = from_estimate(spec, estimate), from_estimate(spec, estimate)
    first["constant_data"].attrs["mine"] = 1
    first["constant_data"]["X"].attrs["mine"] = 1
    first["constant_data"] = first["constant_data"].to_dataset().drop_vars("X")
    assert "mine" not in second["constant_data"].attrs
    assert "X" in second["constant_data"]
    assert "X" in from_estimate(spec, estimate)["constant_data"]


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("psi", ["unstr", "diag", "id"])
def test_variances_at_an_edge_have_the_standard_errors_of_the_expected_information(method: str, psi: str) -> None:
    rng = np.random.default_rng(2)
    g = np.repeat(np.arange(8), 4)
    data = pd.DataFrame({"y": rng.normal(0, 0.1, 32) + rng.normal(0, 0.6, 8)[g], "v": rng.uniform(0.1, 0.2, 32)})
    data = data.assign(g=g, u=np.arange(32) // 2, x=np.tile(["a", "b"], 16))
    tree = bm.fit(
        bm.specify("y ~ 1", data, S="v", random={"g": "1", "u": "0 + x"}, psi={"g": "unstr", "u": psi}), method
    )
    spec, estimate = bm.Spec.from_tree(tree), tree["estimate"]
    assert estimate["tau_u"].values.max() < 1e-6
    Z = [
        level.Z[:, None, :] * (level.index[:, None, None] == np.arange(level.n_groups)[:, None])
        for level in spec.levels
    ]
    entries = {"unstr": [(0, 0), (0, 1), (1, 1)], "diag": [(0, 0), (1, 1)], "id": [None]}[psi]
    changes = [np.einsum("nga,mga->nm", Z[0], Z[0])]
    for entry in entries:
        D = np.eye(2) if entry is None else np.zeros((2, 2))
        if entry is not None:
            D[entry] = D[entry[::-1]] = 1
        changes.append(np.einsum("nga,ab,mgb->nm", Z[1], D, Z[1]))
    Sigma = np.diag(data["v"]) + float(estimate["tau_g"].item()) ** 2 * changes[0]
    P = np.linalg.inv(Sigma)
    if method == "reml":
        P = P - P @ spec.X @ np.linalg.inv(spec.X.T @ P @ spec.X) @ spec.X.T @ P
    J = [[np.trace(P @ one @ P @ two) / 2 for two in changes] for one in changes]
    errors = np.sqrt(np.diag(np.linalg.inv(J)))[1:]
    expected = {"unstr": errors[[0, -1]], "diag": errors, "id": errors[[0, 0]]}[psi]
    np.testing.assert_allclose(estimate["tau2_u_se"], expected, rtol=1e-6)


def test_what_is_assumed_to_be_zero_has_no_standard_error() -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), "fixed")
    assert "tau2_unit_se" not in fit["estimate"]
