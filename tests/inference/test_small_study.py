"""Small-study effects: the numbers of metafor, meta and metasens, dense algebra, properties, and refusals."""

import json
import math
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta import small_study as ss
from bayesmeta.cli.app import app
from bayesmeta.report.blocks import Picture
from bayesmeta.report.sections.asymmetry_section import asymmetry
from bayesmeta.summaries.small_study_page import small_study_page
from tests.support.posteriors import make_posterior

PLAIN = ("bangertdrowns2004", "bcg", "normand1999", "raudenbush1985")
BINARY = ("bcg_counts", "magnesium", "magnesium_small")
CONVERGED = (*BINARY, "bangertdrowns2004_converged", "raudenbush1985_converged")
REGTEST = {
    "statistic": "statistic",
    "df": "df",
    "pvalue": "p",
    "limit": "limit",
    "limit_lower": "lower",
    "limit_upper": "upper",
}
BIAS = {"statistic": "statistic", "df": "df", "pvalue": "p", "estimate": "slope", "se": "se"}
PREDICTORS = {"sei": "se", "vi": "variance", "ni": "n", "ninv": "inverse_n"}
COUNTS: dict[str, Any] = {"events": ("a", "c"), "total": ("n1", "n2")}

Read = Callable[[str], Any]


def fit_of(file: Mapping[str, Any], method: str = "reml", measure: str | None = None) -> xr.DataTree:
    return bm.fit(bm.specify("yi ~ 1", pd.DataFrame(file["data"]), S="vi", measure=measure), method)


def agrees(out: xr.Dataset, expected: Mapping[str, Any], names: Mapping[str, str], rel: float = 1e-5) -> None:
    """Every number that the other software has."""
    for ours, theirs in names.items():
        if expected[theirs] is not None:
            assert out[ours].item() == pytest.approx(expected[theirs], rel=rel, abs=1e-14), ours


def simulated(seed: int, n: int = 12, tau: float = 0.3) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    v = rng.uniform(0.02, 0.5, n)
    return pd.DataFrame({"yi": rng.normal(0.4, np.sqrt(tau**2 + v)), "vi": v, "n": rng.integers(20, 400, n)})


@pytest.fixture(scope="module")
def bcg() -> xr.DataTree:
    return bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))


@pytest.fixture(scope="module")
def school() -> xr.DataTree:
    data = bm.datasets.load("school")
    return bm.fit(bm.specify("effect ~ 1", data, S="var", random="1 | district/study"))


@pytest.mark.parametrize("name", PLAIN)
def test_tests_of_metafor(reference: Read, name: str):
    file = reference(f"influence/{name}")
    fit, expected = fit_of(file), file["expected"]
    for theirs, model, df in (("rma", "mixed", "z"), ("lm", "ols", None)):
        for predictor in ("sei", "vi"):
            out = ss.egger(fit, PREDICTORS[predictor], model, df=df)
            agrees(out, expected[f"regtest {theirs} {predictor}"], REGTEST)
    agrees(ss.rank(fit), expected["ranktest"], {"tau": "tau", "pvalue": "p"})
    names = dict.fromkeys(("estimate", "se", "lower", "upper"))
    agrees(ss.henmi_copas(fit), expected["henmi_copas"], {each: each for each in names}, rel=3e-5)


@pytest.mark.parametrize("name", PLAIN)
def test_fail_safe_of_metafor(reference: Read, name: str):
    """N of kind "general" is the least whole number; metafor's root for bangertdrowns2004 is rounded up beyond it."""
    file = reference(f"influence/{name}")
    fit, expected = fit_of(file), file["expected"]
    for kind in ("rosenthal", "orwin", "rosenberg", "general"):
        theirs = expected[f"fsn {kind.title()}"]
        beyond = kind == "general" and name == "bangertdrowns2004"
        agrees(
            ss.fail_safe(fit, kind), {**theirs, "fsnum": theirs["fsnum"] - beyond}, {"n": "fsnum", "target": "target"}
        )
        # metafor ends its search for tau2 early: p of "general" is known to some four digits
        agrees(ss.fail_safe(fit, kind), theirs, {"pvalue": "p"}, rel=3e-4 if kind == "general" else 1e-5)


@pytest.mark.parametrize("name", PLAIN)
@pytest.mark.parametrize("estimator", ["L0", "R0", "Q0"])
def test_trim_and_fill_of_metafor(reference: Read, name: str, estimator: str):
    """The numbers that metafor prints rest on a tau2 with five digits; see the next test for those to the end."""
    file = reference(f"influence/{name}")
    fit, expected = fit_of(file), file["expected"][f"trimfill {estimator}"]
    out, tree = ss.trim_fill(fit, estimator=estimator, df="z"), ss.filled(fit, estimator=estimator)
    assert (out["k0"].item(), out["side"].item()) == (expected["k0"], expected["side"])
    agrees(out, expected, {"estimate": "estimate", "se": "se"}, rel=5e-5)
    agrees(out, expected, {"tau2": "tau2"}, rel=2e-4)
    k = len(file["data"]["yi"])
    assert tree.attrs["filled"] == expected["k0"]
    np.testing.assert_allclose(tree["observed_data"]["y"][k:], np.atleast_1d(expected["filled_yi"]), rtol=1e-4)
    spec = bm.Spec.from_tree(tree)
    np.testing.assert_allclose(spec.S.variances[k:], np.atleast_1d(expected["filled_vi"]))


@pytest.mark.parametrize("name", CONVERGED)
def test_estimates_of_metafor_and_metasens_to_the_end(reference: Read, name: str):
    file = reference(f"small_study/{name}")
    fit, expected = fit_of(file), file["expected"]
    interval = {each: each for each in ("estimate", "se", "lower", "upper")}
    agrees(ss.henmi_copas(fit), expected["henmi_copas"], interval)
    for estimator in ("L0", "R0", "Q0"):
        if theirs := expected.get(f"trimfill {estimator}"):
            out = ss.trim_fill(fit, estimator=estimator, df="z")
            assert (out["k0"].item(), out["side"].item()) == (theirs["k0"], theirs["side"])
            agrees(out, theirs, {"estimate": "estimate", "se": "se", "tau2": "tau2", "k0_se": "se_k0"})
            agrees(out, theirs, {"k0_pvalue": "p_k0"})
    more = {"statistic": "statistic", "pvalue": "p", "alpha": "alpha", "beta": "beta", "tau2": "tau2", "Q": "Q"}
    more |= {"Q_small": "Q_small", "Q_residual": "Q_residual", "G2": "G2"}
    for method in ("reml", "dl", "fixed"):
        if theirs := expected.get(f"limit_{method}"):
            agrees(ss.limit_meta(fit if method == "reml" else fit_of(file, method)), theirs, interval | more)


@pytest.mark.parametrize("name", BINARY)
def test_tests_from_counts_of_meta_and_metafor(reference: Read, name: str):
    file = reference(f"small_study/{name}")
    fit, expected = fit_of(file, measure="logor"), file["expected"]
    n = np.add(file["data"]["n1"], file["data"]["n2"])
    limit = BIAS | {"limit": "intercept"}
    agrees(ss.harbord(fit, **COUNTS), expected["harbord"], limit)
    agrees(ss.peters(fit, **COUNTS), expected["peters"], limit)
    agrees(ss.deeks(fit, n=("n1", "n2")), expected["deeks"], limit)
    agrees(ss.macaskill(fit, n=n), expected["macaskill"], BIAS)
    agrees(ss.arcsine(fit, df="z", **COUNTS), expected["arcsine_mixed"], REGTEST)
    agrees(ss.arcsine(fit, "ols", **COUNTS), expected["arcsine_ols"], REGTEST)
    for theirs, model, df in (("rma", "mixed", "z"), ("lm", "ols", None)):
        for predictor in ("ni", "ninv", "sei"):
            sizes = None if predictor == "sei" else n
            out = ss.egger(fit, PREDICTORS[predictor], model, df=df, n=sizes)
            agrees(out, expected[f"regtest {theirs} {predictor}"], REGTEST)
    assert math.isnan(ss.egger(fit, "n", n=n)["limit"].item())


def test_counts_come_with_effects_of_the_package(reference: Read):
    """Effects of `bm.effects` bring their columns along, and the tests need no arguments."""
    file = reference("small_study/bcg_counts")
    data = bm.effects.odds_ratio(pd.DataFrame(file["data"])[["a", "n1", "c", "n2"]], **COUNTS)
    fit = bm.fit(bm.specify("y ~ 1", data, S="v"))
    for name in ("harbord", "peters", "deeks"):
        agrees(getattr(ss, name)(fit), file["expected"][name], BIAS)
    agrees(ss.macaskill(fit), file["expected"]["macaskill"], BIAS)
    agrees(ss.egger(fit, "inverse_n"), file["expected"]["regtest lm ninv"], REGTEST)


def test_sizes_of_groups(reference: Read):
    file = reference("small_study/raudenbush1985_sizes")
    fit, expected = fit_of(file, measure="smd"), file["expected"]
    agrees(ss.pustejovsky_rodgers(fit, n=("n1", "n2")), expected["pustejovsky"], BIAS)
    out = ss.pustejovsky_rodgers(fit, "mixed", df="z", n=("n1", "n2"))
    names = {"statistic": "statistic", "pvalue": "p", "limit": "limit", "limit_lower": "lower", "limit_upper": "upper"}
    agrees(out, expected["pustejovsky_mixed"], names)


def test_dependent_effects_of_metafor_and_clubsandwich(reference: Read):
    file = reference("small_study/school_egger")
    spec = bm.specify("yi ~ 1", pd.DataFrame(file["data"]), S="vi", random="1 | district/school")
    fit, expected = bm.fit(spec), file["expected"]
    slope = {key: value[1] for key, value in expected["mixed"].items()}
    agrees(ss.egger(fit, df="z"), slope, {"estimate": "estimate", "se": "se", "statistic": "z", "pvalue": "p"})
    for model in ("mixed", "ols"):
        theirs = expected[f"{model}_CR2"]
        out = ss.egger(fit, model=model, vcov="CR2")
        names = {"estimate": "estimate", "se": "se", "statistic": "t", "df": "df", "pvalue": "p"}
        agrees(out, {key: value[1] for key, value in theirs.items()}, names)
        extrapolated = ss.pet(fit, model, vcov="CR2")
        agrees(extrapolated, {key: value[0] for key, value in theirs.items()}, names)
        assert out["limit"].item() == pytest.approx(theirs["estimate"][0], rel=1e-5)


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_regressions_by_dense_algebra(seed: int):
    data = simulated(seed)
    y, v = data["yi"].to_numpy(), data["vi"].to_numpy()
    fit = bm.fit(bm.specify("yi ~ 1", data, S="vi"))
    for predictor, x in (("se", np.sqrt(v)), ("variance", v), ("n", data["n"]), ("inverse_n", 1 / data["n"])):
        X, W = np.column_stack([np.ones(len(y)), x]), np.diag(1 / v)
        beta = np.linalg.inv(X.T @ W @ X) @ X.T @ W @ y
        r = y - X @ beta
        se = np.sqrt(np.diag(np.linalg.inv(X.T @ W @ X)) * (r @ W @ r) / (len(y) - 2))
        out = ss.egger(fit, predictor, "ols", n="n" if "n" in predictor.split("_") else None)
        assert out["statistic"].item() == pytest.approx(beta[1] / se[1], rel=1e-8)
        if predictor != "n":
            assert out["limit"].item() == pytest.approx(beta[0], rel=1e-8, abs=1e-10)


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.floats(0.2, 5.0), st.floats(-3.0, 3.0))
def test_units_and_shifts(seed: int, factor: float, shift: float):
    """In other units, or about another mean, everything is as before."""
    data = simulated(seed)
    moved = data.assign(yi=factor * data["yi"] + shift, vi=factor**2 * data["vi"])
    one, other = (bm.fit(bm.specify("yi ~ 1", each, S="vi")) for each in (data, moved))
    for name in ("egger", "rank", "trim_fill"):
        function = getattr(ss, name)
        assert function(other)["pvalue" if name != "trim_fill" else "k0"].item() == pytest.approx(
            function(one)["pvalue" if name != "trim_fill" else "k0"].item(), rel=1e-6
        )
    for name in ("pet", "peese", "henmi_copas", "limit_meta", "trim_fill"):
        function = getattr(ss, name)
        for end in ("estimate", "lower", "upper"):
            expected = factor * function(one)[end].item() + shift
            assert function(other)[end].item() == pytest.approx(expected, rel=1e-5, abs=1e-5)


@settings(max_examples=8)
@given(st.integers(0, 10_000))
def test_mirrored_effects_have_mirrored_results(seed: int):
    data = simulated(seed)
    one, other = (bm.fit(bm.specify("yi ~ 1", data.assign(yi=s * data["yi"]), S="vi")) for s in (1, -1))
    for estimator in ("L0", "R0"):
        left, right = ss.trim_fill(one, "left", estimator), ss.trim_fill(other, "right", estimator)
        assert left["k0"].item() == right["k0"].item()
        assert left["estimate"].item() == pytest.approx(-right["estimate"].item(), rel=1e-6)
    assert ss.pet_peese(one)["selected"].item() == ss.pet_peese(other)["selected"].item()
    for kind in ("rosenthal", "rosenberg", "orwin", "general"):
        assert ss.fail_safe(one, kind)["n"].item() == ss.fail_safe(other, kind)["n"].item()


@settings(max_examples=8)
@given(st.integers(0, 10_000), st.floats(0.01, 0.2))
def test_fail_safe_n_is_the_least_that_undoes_the_result(seed: int, alpha: float):
    """Rosenberg's: the common-effect p value of all studies and n more, whose information is that of the mean one."""
    data = simulated(seed)
    y, w = data["yi"].to_numpy(), 1 / data["vi"].to_numpy()
    n = ss.fail_safe(bm.fit(bm.specify("yi ~ 1", data, S="vi")), "rosenberg", alpha=alpha)["n"].item()

    def p(n: float) -> float:
        return math.erfc(abs((w * y).sum()) / np.sqrt(w.sum() + n * w.mean()) / np.sqrt(2))

    assert p(n) >= alpha * (1 - 1e-9)
    assert n == 0 or p(n - 1) < alpha


def test_henmi_copas_covers_by_simulation():
    """The pivot's quantile against draws of estimate and Q under the model at the tau2 that is estimated."""
    data = simulated(3, n=8, tau=0.4)
    fit = bm.fit(bm.specify("yi ~ 1", data, S="vi"))
    out = ss.henmi_copas(fit, prob=0.9)
    v, tau2 = data["vi"].to_numpy(), out["tau2"].item()
    rng, w = np.random.default_rng(1), 1 / data["vi"].to_numpy()
    y = rng.normal(0, np.sqrt(v + tau2), (200_000, len(v)))
    estimate = y @ w / w.sum()
    Q = (w * (y - estimate[:, None]) ** 2).sum(1)
    t = np.maximum(0, (Q - len(v) + 1) / (w.sum() - (w**2).sum() / w.sum()))
    pivot = np.abs(estimate) / np.sqrt((t * (w**2).sum() / w.sum() + 1) / w.sum())
    ours = (out["upper"].item() - out["estimate"].item()) / out["se"].item()
    assert ours == pytest.approx(np.quantile(pivot, 0.9), rel=0.02)


def test_limit_lies_on_the_line_where_there_is_no_heterogeneity(bcg: xr.DataTree):
    """With tau2 = 0 the limit is Egger's intercept, and its test that of PET without the residual variance."""
    fixed = bm.fit(bm.Spec.from_tree(bcg), "fixed")
    assert ss.limit_meta(fixed)["estimate"].item() == pytest.approx(ss.pet(fixed)["estimate"].item(), rel=1e-9)
    assert ss.limit_meta(fixed)["alpha"].item() == pytest.approx(ss.egger(fixed)["estimate"].item(), rel=1e-9)


def test_pet_peese_chooses_by_pet_in_the_direction_of_the_mean():
    v = np.linspace(0.01, 0.2, 12)
    data = pd.DataFrame({"yi": -0.5 + 0.05 * np.sin(np.arange(12)), "vi": v})
    for sign in (1, -1):
        fit = bm.fit(bm.specify("yi ~ 1", data.assign(yi=sign * data["yi"]), S="vi"))
        out = ss.pet_peese(fit)
        assert out["selected"].item() == "peese"
        assert out["estimate"].item() == ss.peese(fit)["estimate"].item()
        assert ss.pet_peese(fit, alpha=1e-13)["selected"].item() == "pet"


def test_one_outcome_of_several():
    """Each outcome beside the other, in its model; by least squares as if it were alone."""
    data = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"])
    both, alone = bm.fit(spec), bm.fit(bm.specify("PD ~ 1", data, S="var_PD"))
    for model in ("ols", "mixed"):
        assert np.isfinite(ss.egger(both, model=model, outcome="PD")["pvalue"].item())
    same = ss.egger(both, outcome="PD", model="ols")
    assert same["statistic"].item() == pytest.approx(ss.egger(alone)["statistic"].item(), rel=1e-9)
    assert ss.rank(both, outcome="PD")["tau"].item() == pytest.approx(ss.rank(alone)["tau"].item())
    with pytest.raises(bm.SpecError, match="trim_fill is for models of one outcome, and this one has PD, AL"):
        ss.trim_fill(both)
    with pytest.raises(bm.SpecError, match="outcome= chooses of PD, AL"):
        ss.egger(both)
    with pytest.raises(bm.SpecError, match="this one has 2 outcomes"):
        ss.fail_safe(both, "general", outcome="PD")


def test_predictors_stay_in_the_model():
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ ablat", data, S="logorvar"))
    again = bm.fit(bm.specify("logor ~ ablat + se", data.assign(se=np.sqrt(data["logorvar"])), S="logorvar"))
    expected = bm.estimates(again).set_index("term").loc["se", "pvalue"]
    out = ss.egger(fit, model="mixed")
    assert out["pvalue"].item() == pytest.approx(expected, rel=1e-6)
    assert math.isnan(out["limit"].item())


def test_filled_trees_are_trees(tmp_path: Any):
    """They can be saved, summarised, drawn, and tell what is no data."""
    fit = bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi", measure="smd"))
    tree = ss.filled(fit)
    bm.save(tree, tmp_path / "filled.nc")
    again = bm.load(tmp_path / "filled.nc")
    assert int(again.attrs["filled"]) == 3
    assert "3 effects were filled in by trim and fill" in str(bm.summary(again))
    assert list(bm.Spec.from_tree(again).labels)[-3:] == ["Filled 1", "Filled 2", "Filled 3"]
    with pytest.raises(bm.SpecError, match="3 effects of this tree were filled in"):
        ss.trim_fill(again)


REFUSED = {
    "few": (lambda fit, few, school: ss.egger(few), bm.DataError, "egger needs at least 3 studies, .* has 2"),
    "few_ranks": (lambda fit, few, school: ss.rank(few), bm.DataError, "rank needs at least 3 studies"),
    "few_filled": (lambda fit, few, school: ss.trim_fill(few), bm.DataError, "trim_fill needs at least 3"),
    "few_limit": (lambda fit, few, school: ss.limit_meta(few), bm.DataError, "limit_meta needs at least 3"),
    "few_copas": (lambda fit, few, school: ss.henmi_copas(few), bm.DataError, "henmi_copas needs at least 3"),
    "few_pet": (lambda fit, few, school: ss.pet_peese(few), bm.DataError, "pet_peese needs at least 3"),
    "levels": (lambda fit, few, school: ss.trim_fill(school), bm.SpecError, "joins 56 effects in 11 groups"),
    "what_instead": (lambda fit, few, school: ss.trim_fill(school), bm.SpecError, 'egger\\(tree, vcov="CR2"\\)'),
    "rank_levels": (lambda fit, few, school: ss.rank(school), bm.SpecError, "takes effects as independent"),
    "ols_levels": (lambda fit, few, school: ss.egger(school, model="ols"), bm.SpecError, 'vcov="CR2" keeps groups'),
    "counts": (lambda fit, few, school: ss.peters(fit), bm.SpecError, "needs the counts of both arms"),
    "one_column": (lambda fit, few, school: ss.harbord(fit, events=("tpos", "cpos")), bm.SpecError, "needs the counts"),
    "sizes": (lambda fit, few, school: ss.deeks(fit), bm.SpecError, "needs the sizes of both groups"),
    "n": (lambda fit, few, school: ss.egger(fit, "n"), bm.SpecError, "needs the numbers of participants"),
    "n_column": (lambda fit, few, school: ss.egger(fit, "n", n="zz"), bm.SpecError, "n='zz' is not a column"),
    "n_useless": (lambda fit, few, school: ss.egger(fit, n="year"), bm.SpecError, 'n is for predictor="n"'),
    "predictor": (lambda fit, few, school: ss.egger(fit, "sei"), bm.SpecError, "predictor is 'sei'"),
    "model": (lambda fit, few, school: ss.egger(fit, model="lm"), bm.SpecError, "model is 'lm'"),
    "df": (lambda fit, few, school: ss.egger(fit, df="z"), bm.SpecError, 'df="z" is for model="mixed"'),
    "target": (lambda fit, few, school: ss.fail_safe(fit, target=0.1), bm.SpecError, "target=0.1 is for kind="),
    "side": (lambda fit, few, school: ss.trim_fill(fit, "top"), bm.SpecError, "side is 'top'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused(bcg: xr.DataTree, school: xr.DataTree, case: str):
    few = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg").head(2), S="logorvar"))
    call, error, match = REFUSED[case]
    with pytest.raises(error, match=match):
        call(bcg, few, school)


def test_posteriors_are_refused():
    with pytest.raises(bm.SpecError, match="reads fits, and this tree is a posterior"):
        ss.egger(make_posterior(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")))


def test_a_study_without_information_on_an_odds_ratio_is_named():
    data = pd.DataFrame({"a": [0, 3, 5, 7], "n1": [10, 20, 30, 50], "c": [0, 5, 9, 9], "n2": [11, 21, 33, 48]})
    data = data.assign(y=[0.0, -0.5, -0.7, -0.3], v=[1.0, 0.4, 0.3, 0.2], trial=["P", "Q", "R", "S"])
    fit = bm.fit(bm.specify("y ~ 1", data, S="v", labels="trial"))
    with pytest.raises(bm.DataError, match=r"no events in either arm, .* in rows P"):
        ss.harbord(fit, **COUNTS)
    assert np.isfinite(ss.arcsine(fit, **COUNTS)["pvalue"].item())
    lacking = bm.fit(bm.specify("y ~ 1", data.assign(c=[1, np.nan, 9, 9]), S="v", labels="trial"))
    with pytest.raises(bm.DataError, match="no size or count in rows of the model: Q"):
        ss.peters(lacking, **COUNTS)


def test_equal_precision_tells_nothing():
    fit = bm.fit(bm.specify("y ~ 1", pd.DataFrame({"y": [0.1, 0.4, 0.2, 0.9], "v": [0.2] * 4}), S="v"))
    for function in (ss.egger, ss.pet, ss.rank, ss.limit_meta):
        with pytest.raises(bm.DataError, match="which tells nothing"):
            function(fit)


def test_the_artefact_of_standardised_mean_differences_is_a_warning():
    fit = bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi", measure="smd"))
    with pytest.warns(bm.AssumptionWarning, match=r"small_study\.pustejovsky_rodgers"):
        ss.egger(fit)


def test_the_page_runs_and_names_every_function():
    page = (Path(__file__).parents[2] / "docs/small_study.md").read_text(encoding="utf-8")
    exec("\n".join(re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)), {})
    assert {name for name in dir(ss) if f"`{name}`" not in page} == set()


def test_the_page_of_all_methods(bcg: xr.DataTree, school: xr.DataTree):
    """Numbers are those of the functions; what does not apply has its reason."""
    alone, dependent = small_study_page(bcg), small_study_page(school)
    assert set(alone.results) >= {"egger", "rank", "trim_fill", "pet_peese", "limit_meta", "henmi_copas", "fail_safe"}
    assert alone.results["egger"].identical(ss.egger(bcg))
    assert dependent.results["egger"].identical(ss.egger(school, vcov="CR2"))
    assert set(dependent.reasons) == {"rank", "trim_fill", "limit_meta", "henmi_copas", "fail_safe"}
    text = str(alone)
    for name in ("egger", "rank"):
        assert f"{alone.results[name]['pvalue'].item():.4f}" in text
    record = alone.record()["results"]["egger"]
    assert (record["df"], record["how"]["df"]) == (11.0, "residual")


def test_effects_from_counts_are_tested_from_counts():
    data = bm.datasets.load("egger2001")
    arms = {"events": ("deaths_magnesium", "deaths_control"), "total": ("n_magnesium", "n_control")}
    fit = bm.fit(bm.specify("y ~ 1", bm.effects.odds_ratio(data, **arms, zero="only0"), S="v"))
    assert {"harbord", "peters", "arcsine"} <= set(small_study_page(fit).results)
    smd = bm.fit(bm.specify("yi ~ 1", bm.datasets.load("raudenbush1985"), S="vi", measure="smd"))
    assert "artefact" in small_study_page(smd).reasons["pustejovsky_rodgers"]


@pytest.mark.parametrize("saved", [False, True])
def test_the_command(tmp_path: Any, monkeypatch: pytest.MonkeyPatch, bcg: xr.DataTree, saved: bool):
    monkeypatch.chdir(tmp_path)
    bm.save(bcg, "bcg.nc")
    file = ["bcg.nc"] if saved else ["bcg", "--model", "ml"]
    ran = CliRunner().invoke(app, ["small-study", *file])
    assert ran.exit_code == 0, ran.output
    assert "Egger (ols)" in ran.output
    assert "t = -1.507" in ran.output
    machine = json.loads(CliRunner().invoke(app, ["small-study", *file, "--json"]).output)
    (own,) = next(iter(machine["results"].values()))
    assert own["results"]["egger"]["pvalue"] == pytest.approx(ss.egger(bcg)["pvalue"].item())
    refused = CliRunner().invoke(app, ["small-study", *file, "--cluster", "alloc"])
    assert refused.exit_code == 2
    robust = CliRunner().invoke(app, ["small-study", *file, "--vcov", "CR2", "--cluster", "alloc"])
    assert "CR2" in robust.output


def test_the_command_has_nothing_for_posteriors(tmp_path: Any):
    bm.save(make_posterior(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")), tmp_path / "p.nc")
    ran = CliRunner().invoke(app, ["small-study", str(tmp_path / "p.nc")])
    assert ran.exit_code == 2
    assert "posterior" in ran.output


def test_sentences_for_a_paper(bcg: xr.DataTree, school: xr.DataTree):
    results = [
        getattr(ss, name)(bcg) for name in ("egger", "rank", "trim_fill", "pet_peese", "limit_meta", "henmi_copas")
    ]
    text, plain = bm.methods_text(bcg, small_study=results), bm.methods_text(bcg)
    assert text.methods.startswith(plain.methods)
    assert text.references[: len(plain.references)] == plain.references
    assert len(text.references) == len(plain.references) + len(results)
    assert "Egger's test gave t(11) = −1.51 (p = 0.1600)." in text.results
    assert "filled in no effect" in text.results
    dependent = bm.methods_text(school, small_study=ss.egger(school, vcov="CR2"))
    assert "CR2 covariance by district" in dependent.methods
    for wrong in (ss.fail_safe(bcg), 3, [bcg], "egger"):
        with pytest.raises(bm.SpecError, match="small_study: "):
            bm.methods_text(bcg, small_study=wrong)


def test_the_section_of_a_report(bcg: xr.DataTree, school: xr.DataTree):
    """Folded, with the tables, the funnel and the reasons; none for a posterior or two effects."""
    for tree in (bcg, school):
        (section,) = asymmetry({"fit": tree}, 0.95)
        assert section.folded
        assert [block.title for block in section.blocks if isinstance(block, Picture)] == [
            "Funnel plot with small-study effects"
        ]
    assert asymmetry({"p": make_posterior(bm.Spec.from_tree(bcg))}, 0.95) == ()
    few = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg").head(2), S="logorvar"))
    assert asymmetry({"fit": few}, 0.95) == ()


def test_egger_of_several_outcomes_is_a_joint_test_of_their_slopes():
    """The same as of a model with the standard errors written down, for two and three outcomes."""
    trials, S = bm.datasets.load("berkey98"), ["var_PD", "cov_PD_AL", "var_AL"]
    fit = bm.fit(bm.specify("PD + AL ~ 1", trials, S=S))
    made = ss.egger_joint(fit)
    written = trials.assign(first=trials["var_PD"] ** 0.5, second=trials["var_AL"] ** 0.5)
    model = bm.fit(bm.specify({"PD": "1 + first", "AL": "1 + second"}, written, S=S))
    for vcov in (None, "CR2"):
        made = ss.egger_joint(fit, vcov=vcov)
        expected = bm.wald_test(model, ["PD.first", "AL.second"], vcov=vcov)
        for name in ("statistic", "df1", "df2", "pvalue"):
            assert made[name].item() == pytest.approx(expected[name].item(), rel=1e-8)
        assert made["estimate"].to_numpy() == pytest.approx(expected["estimate"].to_numpy(), rel=1e-8)
    with pytest.raises(bm.SpecError, match="egger_joint is for several outcomes, and 'PD' is the only one"):
        ss.egger_joint(bm.fit(bm.specify("PD ~ 1", trials, S="var_PD")))
    text = bm.methods_text(fit, small_study=ss.egger_joint(fit))
    assert "The joint test of all outcomes gave F(2, 8.2) = 9.91 (p = 0.0065)." in text.results
    assert "Egger's test of all outcomes together" in text.methods


def test_the_joint_test_stands_in_command_and_report(tmp_path: Path) -> None:
    trials, S = bm.datasets.load("berkey98"), ["var_PD", "cov_PD_AL", "var_AL"]
    fit = bm.fit(bm.specify("PD + AL ~ 1", trials, S=S))
    bm.save(fit, file := tmp_path / "fit.nc")
    shown = CliRunner().invoke(app, ["small-study", str(file)]).stdout
    assert shown.count("== ") == 3
    assert re.search(r"Egger, all slopes \(mixed\)\s+F = 9.911\s+2, 8.2\s+0.0065", shown)
    *_, both = json.loads(CliRunner().invoke(app, ["small-study", str(file), "--json"]).stdout)["results"][""]
    test, expected = both["results"]["egger_joint"], ss.egger_joint(fit)
    assert both["outcome"] == "all outcomes together"
    assert test["pvalue"] == pytest.approx(expected["pvalue"].item())
    assert test["outcome_pvalue"] == pytest.approx(expected["outcome_pvalue"].to_series().to_dict())
    (section,) = asymmetry({"fit": fit}, 0.95)
    assert [part.title for part in section.sections] == ["PD", "AL", "all outcomes together"]
    assert "F = 9.911" in str(section.sections[-1].blocks)
    with_cr2 = CliRunner().invoke(app, ["small-study", str(file), "--vcov", "CR2"]).stdout
    assert "Egger, all slopes (mixed, CR2)" in with_cr2
