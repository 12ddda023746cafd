"""Influence diagnostics: metafor's numbers, fits without the rows, dense formulas, posteriors, and refusals."""

import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.estimation import parts
from bayesmeta.estimation.methods import method_of
from bayesmeta.estimation.parts import Whole, fit_parts, part_of
from bayesmeta.inference.data_groups import rows_alone
from bayesmeta.inference.reweighted import Draws, log_density_given_others
from bayesmeta.kernel import likelihood, pointwise_loglik
from tests.support.posteriors import make_posterior
from tests.support.stored_models import DRAWN, stored

ONE_LEVEL = ["bangertdrowns2004", "bcg", "bcg_ablat", "normand1999", "raudenbush1985", "raudenbush1985_weeks"]
NAMES = {
    "rstudent": "rstudent",
    "rstandard": "rstandard",
    "dffits": "dffits",
    "cooks_distance": "cook.d",
    "cov_ratio": "cov.r",
    "tau2_deleted": "tau2.del",
    "Q_deleted": "QE.del",
    "hat": "hat",
    "weight": "weight",
}
REFITS = {"estimate": "estimate", "se": "se", "statistic": "zval", "pvalue": "pval", "lower": "ci.lb", "upper": "ci.ub"}
REFITS |= {"Q": "Q", "Q_pvalue": "Qp", "tau2": "tau2", "I2": "I2", "H2": "H2"}
last_step = parts._last_step
SMALL = 1e-6  # of a standard error, of tau2 or of a percentage: what the search of metafor leaves


def close(ours: Any, theirs: Any, atol: float = 0.0) -> None:
    np.testing.assert_allclose(np.asarray(ours, float), np.asarray(theirs, float), rtol=1e-5, atol=atol)


def fitted(record: Any) -> xr.DataTree:
    predictor = record["r_call"].split("mods=~")[1].rstrip(")")
    return bm.fit(bm.specify(f"yi ~ {predictor}", pd.DataFrame(record["data"]), S="vi"))


@pytest.fixture(scope="module")
def bcg() -> xr.DataTree:
    return bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))


@pytest.fixture(scope="module")
def school(reference: Callable[[str], Any]) -> tuple[xr.DataTree, Any]:
    record = reference("influence/school_multilevel")
    data = pd.DataFrame(record["data"])
    return bm.fit(bm.specify("yi ~ 1", data, S="vi", random="1 | district/school")), record["expected"]


@pytest.mark.parametrize("name", ONE_LEVEL)
def test_every_row_as_influence_of_metafor(name: str, reference: Callable[[str], Any]) -> None:
    record = reference(f"influence/{name}")
    table, theirs = bm.influence(fitted(record)), record["expected"]["influence"]
    for ours, their_name in NAMES.items():
        close(table[ours], theirs[their_name])
    close(table["dfbetas"], np.transpose(list(theirs["dfbetas"].values())))


@pytest.mark.parametrize("name", [name for name in ONE_LEVEL if "_" not in name])
def test_refits_as_leave1out_and_cumul(name: str, reference: Callable[[str], Any]) -> None:
    record = reference(f"influence/{name}")
    tree, expected = fitted(record), record["expected"]
    without, growing = bm.leave_one_out(tree, df="z"), bm.cumulative(tree, "vi", df="z")
    for ours, theirs in REFITS.items():
        close(without[ours], expected["leave1out"][theirs], atol=SMALL)
        # of a single study metafor has 0, 1 and 1 for I2, H2 and the p-value of Q, of which it says nothing
        close(growing[ours][1:], expected["cumulative_by_variance"][theirs][1:], atol=SMALL)
    assert growing["k"].tolist() == expected["cumulative_by_variance"]["k"]
    close(growing["estimate"][:1], expected["cumulative_by_variance"]["estimate"][:1])


def test_subsets_as_gosh(reference: Callable[[str], Any]) -> None:
    record = reference("influence/normand1999")
    theirs, subsets = record["expected"]["gosh"], bm.gosh(fitted(record))
    assert subsets.sizes["subset"] == theirs["subsets"]
    close(subsets["estimate"].mean(), theirs["mean_estimate"])
    close(subsets["estimate"].std(ddof=1), theirs["sd_estimate"])
    close(subsets["I2"].mean(), theirs["mean_I2"])


@pytest.mark.parametrize("by", ["district", "study"])
def test_clusters_of_nested_levels(by: str, school: tuple[xr.DataTree, Any]) -> None:
    tree, expected = school
    table, theirs = bm.influence(tree, by), expected[f"by {by}"]
    assert table["group"].values.tolist() == theirs["cluster_order"]
    assert table["k"].values.tolist() == theirs["cluster_k"]
    close(table["cooks_distance"], theirs["cooks"], atol=SMALL)
    close(table["dfbetas"][:, 0], theirs["dfbetas"]["intrcpt"], atol=SMALL)
    close(table["chi2"], theirs["cluster_X2"])
    close(table["rstudent"], theirs["rstudent_z"])
    assert (table["of"].values == np.repeat(table["group"].values, table["k"].values)).all()


def test_hat_values_weights_and_residuals_of_nested_levels(school: tuple[xr.DataTree, Any]) -> None:
    tree, expected = school
    table = bm.influence(tree)
    close(table["hat"], expected["hat"])
    close(table["weight"], expected["weights_rowsum"])
    close(table["rstandard"], expected["rstandard"])
    assert table.sizes["row"] == 56
    assert table["variance"].values.tolist() == ["district", "school"]


def models(n: int, most: int) -> list[Any]:
    """The first n stored models of up to `most` parameters whose parts tell these apart."""
    chosen: list[Any] = []
    for problem, _ in stored(DRAWN):
        if len(chosen) == n:
            break
        spec = problem.spec()
        few = sum(level.n_free for level in spec.levels) <= most
        if few and all(level.n_groups > 3 for level in spec.levels):
            chosen.append((problem.name, spec, problem.method))
    return chosen


@pytest.mark.parametrize(("n", "most"), [(12, 2), pytest.param(50, 6, marks=pytest.mark.slow)])
def test_refits_are_fits_without_the_group(n: int, most: int) -> None:
    checked, chosen = 0, models(n, most)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, spec, method in chosen:
            tree, outer = bm.fit(spec, method), spec.levels[0]
            keep = outer.index != np.arange(outer.n_groups)[:, None]
            whole = Whole(spec, method_of(tree), tree["estimate/xi"].to_numpy())
            fits = fit_parts(whole, keep)
            for g in (0, outer.n_groups - 1):
                if not fits.identified[g]:
                    continue
                part = part_of(spec, keep[g])
                own = bm.fit(part, method)
                again = likelihood(part.statistics, [psi[g] for psi in fits.psi], whole.restricted)
                assert float(again.loglik) == pytest.approx(float(own["criteria/loglik"]), abs=1e-8), name
                se = own["estimate/beta_se"].to_numpy()
                np.testing.assert_allclose(
                    fits.beta[g], own["estimate/beta"], rtol=0, atol=1e-8 * se.max(), err_msg=name
                )
                np.testing.assert_allclose(np.sqrt(np.diag(fits.beta_cov[g])), se, rtol=1e-8, err_msg=name)
                checked += 1
    assert len(chosen) == n
    assert checked > 1.6 * n


def test_a_step_that_is_not_tested_ends_at_the_maximum(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of many groups most refits end by a step of third order; an outlier and levels do not mislead it."""
    rng = np.random.default_rng(7)
    group, v = np.repeat(np.arange(250), 2), rng.uniform(0.01, 0.2, 500)
    y = 0.3 + rng.normal(0, 0.4, 250)[group] + rng.normal(0, np.sqrt(0.1 + v))
    y[0] += 4.0
    data = pd.DataFrame({"y": y, "v": v, "group": group.astype(str), "row": np.arange(500)})
    untested = []
    monkeypatch.setattr(parts, "_last_step", lambda *given: untested.append(last := last_step(*given)) or last)
    for random in ("1 | group/row", "1 | group"):
        fit = bm.fit(bm.specify("y ~ 1", data, S="v", random=random))
        tau2 = bm.influence(fit, "group")["tau2_deleted"].to_numpy().reshape(250, -1)
        known = np.concatenate([each[1] for each in untested])
        assert known.sum() > 50
        for g in ("0", *rng.choice(data["group"].unique(), 2)):
            alone = bm.fit(bm.specify("y ~ 1", data[data["group"] != g], S="v", random=random))
            own = [alone[f"estimate/tau_{name}"].item() ** 2 for name in random.split("| ")[1].split("/")]
            np.testing.assert_allclose(tau2[int(g)], own, rtol=3e-9)
        untested.clear()


def dense(tree: xr.DataTree, spec: bm.Spec) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sigma, the covariance of the coefficients and the coefficients, from full matrices at the fitted Psi."""
    n = len(spec.y)
    Sigma = np.zeros((n, n))
    Sigma[spec.S.row, spec.S.col] = Sigma[spec.S.col, spec.S.row] = spec.S.value
    for level in spec.levels:
        psi = tree[f"estimate/psi_{level.name}"].to_numpy()
        Sigma += (level.Z @ psi @ level.Z.T) * (level.index[:, None] == level.index)
    cov = np.linalg.inv(spec.X.T @ np.linalg.solve(Sigma, spec.X))
    return Sigma, cov, cov @ spec.X.T @ np.linalg.solve(Sigma, spec.y - spec.offset)


@pytest.mark.parametrize("method", ["reml", "ml", "fixed", "mm"])
def test_several_outcomes_against_full_matrices(method: str) -> None:
    data = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"])
    tree = bm.fit(spec, method)
    table = bm.influence(tree)
    Sigma, cov, beta = dense(tree, spec)
    hat = spec.X @ cov @ spec.X.T @ np.linalg.inv(Sigma)
    close(np.ravel(table["hat"]), np.diag(hat))
    left = np.eye(len(Sigma)) - hat
    residual = (spec.y - spec.X @ beta) / np.sqrt(np.diag(left @ Sigma @ left.T))
    close(np.ravel(table["rstandard"]), residual)
    alone = bm.fit(bm.specify("PD + AL ~ 1", data.drop(1), S=["var_PD", "cov_PD_AL", "var_AL"]), method)
    moved = beta - alone["estimate/beta"].to_numpy()
    close(table["cooks_distance"][1], moved @ np.linalg.solve(cov, moved), atol=1e-8)
    close(table["cov_ratio"][1], np.linalg.det(alone["estimate/beta_cov"]) / np.linalg.det(cov))
    close(table["tau2_deleted"][1], np.diag(alone["estimate/psi_unit"]), atol=1e-9)
    own = spec.row == 1
    psi, V = alone["estimate/psi_unit"].to_numpy(), alone["estimate/beta_cov"].to_numpy()
    r = spec.y[own] - alone["estimate/beta"].to_numpy()
    S = Sigma[np.ix_(own, own)] - tree["estimate/psi_unit"].to_numpy()
    close(table["chi2"][1], r @ np.linalg.solve(S + psi + V, r), atol=1e-7)
    close(table["rstudent"][1], r / np.sqrt(np.diag(S + psi + V)), atol=1e-8)


def test_a_column_whose_groups_lie_across_the_levels(school: tuple[xr.DataTree, Any]) -> None:
    tree, _ = school
    spec = bm.Spec.from_tree(tree)
    table = bm.influence(tree, "year")
    year = spec.data["year"].to_numpy()
    g = table["group"].values.tolist().index("1976")
    alone = bm.fit(bm.specify("yi ~ 1", spec.data[year != 1976], S="vi", random="1 | district/school"))
    V, own = alone["estimate/beta_cov"].item(), year == 1976
    C = np.diag(spec.S.variances[own]) + V
    for level in spec.levels:
        C += alone[f"estimate/psi_{level.name}"].item() * (level.index[own, None] == level.index[own])
    r = spec.y[own] - alone["estimate/beta"].item()
    close(table["chi2"][g], r @ np.linalg.solve(C, r), atol=1e-6)
    assert table["k"][g] == own.sum()


def test_the_page_runs_and_names_every_diagnostic(bcg: xr.DataTree) -> None:
    page = (Path(__file__).parents[2] / "docs/influence.md").read_text(encoding="utf-8")
    space: dict[str, Any] = {}
    for code in re.findall(r"^```python\n(.*?)^```", page, re.M | re.S):
        exec(code, space)
    named = set(re.findall(r"`(\w+)`", page))
    assert set(map(str, bm.influence(bcg).data_vars)) - {"converged"} <= named
    assert float(space["table"]["cooks_distance"].max()) == pytest.approx(0.2, abs=0.01)


def test_one_step_points_at_the_same_rows(bcg: xr.DataTree, school: tuple[xr.DataTree, Any]) -> None:
    for tree in (bcg, school[0]):
        exact, step = bm.influence(tree), bm.influence(tree, exact=False)
        assert step.attrs["exact"] == 0
        assert np.corrcoef(exact["cooks_distance"], step["cooks_distance"])[0, 1] > 0.9
        np.testing.assert_allclose(step["hat"], exact["hat"])
        np.testing.assert_allclose(step["dfbetas"], exact["dfbetas"], atol=0.15)


def test_rule_for_what_is_influential(reference: Callable[[str], Any]) -> None:
    tree = fitted(reference("influence/normand1999"))
    table = bm.influence(tree)
    assert table["influential"].values.nonzero()[0].tolist() == [2]
    assert table.attrs["dffits_cutoff"] == pytest.approx(3 * np.sqrt(1 / 8))
    assert table.attrs["hat_cutoff"] == pytest.approx(3 / 9)
    assert table.attrs["cooks_cutoff"] == pytest.approx(0.4549364)


def test_what_is_not_identified_without_a_group_has_a_reason() -> None:
    data = bm.datasets.load("bcg")
    data["only"] = (data["author"] == "Aronson").astype(float)
    tree = bm.fit(bm.specify("logor ~ only", data, S="logorvar"))
    with pytest.warns(bm.AssumptionWarning, match=r"without row Aronson \(1948\) do not identify the model: NaN"):
        table = bm.influence(tree)
    first, others = table.isel(row=0), table.isel(row=slice(1, None))
    assert "'only' is zero throughout" in first["reason"].item()
    assert np.isnan(first[["cooks_distance", "rstudent"]].to_array()).all()
    assert not first["converged"]
    assert first["hat"] == pytest.approx(1.0)
    assert (others["reason"] == "").all()
    assert np.isfinite(others["cooks_distance"]).all()


def test_correlated_rows_stay_together() -> None:
    data = pd.DataFrame({"y": [0.1, 0.3, 0.2, 0.5, 0.4, 0.1], "g": list("aabbcc"), "x": range(6)})
    S = np.eye(6) * 0.04 + 0.02 * np.kron(np.eye(3), 1 - np.eye(2))
    tree = bm.fit(bm.specify("y ~ 1", data, S=S, random="1 | g"))
    table = bm.influence(tree)
    assert table.attrs["by"] == "g"
    assert table["group"].values.tolist() == ["a", "b", "c"]
    with pytest.raises(bm.SpecError, match=r"by \('x'\) splits rows whose sampling errors are correlated") as caught:
        bm.influence(tree, "x")
    assert "by='g'" in str(caught.value)
    for other in (bm.leave_one_out, bm.cumulative, bm.gosh):
        with pytest.raises(bm.SpecError, match="splits rows"):
            other(tree, by="x")


def test_few_subsets_may_hold_none_that_can_be_fitted() -> None:
    tree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg").head(3), S="logorvar"))
    answers = []
    for seed in range(12):  # four of the eight subsets have fewer than two groups
        try:
            answers.append(str(bm.gosh(tree, subsets=1, random_seed=seed).sizes["subset"]))
        except bm.SpecError as error:
            answers.append(str(error).split(",")[0])
    assert set(answers) == {"1", "gosh: subsets=1 were drawn"}


def test_what_is_refused(bcg: xr.DataTree) -> None:
    with pytest.raises(bm.SpecError, match="by='aloc' is neither a level nor a column"):
        bm.influence(bcg, "aloc")
    two = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg").head(2), S="logorvar"))
    with pytest.raises(bm.SpecError, match=r"there are 2 groups .*it takes 3 at least"):
        bm.influence(two)
    with pytest.raises(bm.SpecError, match="gosh: there are 2 groups; it takes 3"):
        bm.gosh(two)
    with pytest.raises(bm.SpecError, match="exact"):
        bm.influence(bcg, exact="yes")
    with pytest.raises(bm.SpecError, match=r"gosh fits the model to subsets.*posterior"):
        bm.gosh(make_posterior(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")))
    with pytest.raises(bm.SpecError, match="subsets"):
        bm.gosh(bcg, subsets=0)
    with pytest.raises(bm.SpecError, match=r"vif compares coefficients.*0 beside intercepts"):
        bm.vif(bcg)


def test_sampled_subsets(school: tuple[xr.DataTree, Any]) -> None:
    tree = school[0]
    one, two = (bm.gosh(tree, subsets=60, random_seed=3) for _ in range(2))
    xr.testing.assert_identical(one, two)
    assert one.attrs["sampled"] == 1
    assert one.sizes["subset"] <= 60
    assert len(np.unique(one["included"], axis=0)) == one.sizes["subset"]
    chosen = one["included"].isel(subset=-1)
    names = chosen["group"].values[chosen.values].astype(int)
    data = bm.Spec.from_tree(tree).data
    alone = bm.fit(bm.specify("yi ~ 1", data[data["district"].isin(names)], S="vi", random="1 | district/school"))
    last = one.isel(subset=-1)
    assert float(last["estimate"][0]) == pytest.approx(alone["estimate/beta"].item(), abs=1e-7)
    assert float(last["I2"]) == pytest.approx(bm.heterogeneity(alone)["I2_tau2"].item(), abs=1e-4)


def test_variance_inflation_as_metafor() -> None:
    """metafor 3.8.1, vif(rma(yi, vi, mods=~ablat+year+alloc), btt=list("ablat", "year", "alloc"))."""
    tree = bm.fit(bm.specify("logor ~ ablat + year + alloc", bm.datasets.load("bcg"), S="logorvar"))
    table = bm.vif(tree)
    assert table["term"].tolist() == ["ablat", "year", "alloc"]
    assert table["m"].tolist() == [1, 1, 2]
    close(table["vif"], [1.7537749662, 1.9106938994, 1.2423050874])
    close(table["sif"], [1.3243016900, 1.3822785173, 1.0557402175])


def test_density_of_a_group_given_the_others(school: tuple[xr.DataTree, Any]) -> None:
    spec = bm.Spec.from_tree(school[0])
    rng = np.random.default_rng(1)
    draws = Draws(rng.normal(size=(5, 1)), [rng.uniform(0.1, 1, (5, 1, 1)) for _ in spec.levels])
    groups = rows_alone(spec)
    assert groups is not None
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    S = (spec.S.value, spec.S.row, spec.S.col)
    expected = pointwise_loglik(spec.y, spec.X, Z, index, S, draws.psi, draws.beta)
    np.testing.assert_allclose(log_density_given_others(spec, groups, draws), expected, rtol=1e-10)


def test_a_posterior_is_weighted_as_if_the_group_were_not_there() -> None:
    """The weights are one over the density of what is left out: checked with normal weights where these suffice."""
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    tree = make_posterior(spec, draws=2000)
    with pytest.warns(bm.AssumptionWarning, match=r"Pareto k of the weights exceeds 0.7 without row .*\n.*exact=True"):
        table = bm.influence(tree, exact=False)
    draws, groups = Draws.of(tree, spec), rows_alone(spec)
    assert groups is not None
    logs = -log_density_given_others(spec, groups, draws)
    weights = np.exp(logs - logs.max(0))
    mean = (weights.T / weights.sum(0)[:, None]) @ draws.psi[0][:, 0, 0]
    good = (table["pareto_k"] < 0.5).to_numpy()
    assert good.sum() > 3
    np.testing.assert_allclose(table["tau2_deleted"][good], mean[good], rtol=0.02)
    assert not table["refitted"].any()
    assert "converged" not in table


def test_sentences_for_a_paper(bcg: xr.DataTree, school: tuple[xr.DataTree, Any]) -> None:
    text = bm.methods_text(bcg, influence=bm.influence(bcg))
    assert "We examined the influence of each study by leaving it out and fitting the model again" in text.methods
    assert text.results.endswith("No study was influential.")
    assert any(reference.startswith("Viechtbauer W, Cheung") for reference in text.references)
    assert "influence" not in bm.methods_text(bcg).methods
    nested = bm.methods_text(school[0], influence=bm.influence(school[0], "district"))
    assert "1 of 11 groups (district) was influential: 71" in nested.results
    with pytest.raises(bm.SpecError, match=r"not what bm\.influence returns"):
        bm.methods_text(bcg, influence=xr.Dataset())
