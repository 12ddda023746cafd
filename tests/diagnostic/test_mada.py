"""The numbers of mada, and what is behind those that differ: see tests/reference/diagnostic/README.md."""

import re
from functools import cache
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.diagnostic.bivariate import Accuracy
from tests.support.reference import read_reference

diagnostic = bm.diagnostic
CELLS = ("TP", "FP", "FN", "TN")
NAMES = ("AuditC", "Dementia", "skin_tests")
MODELS: dict[str, dict[str, Any]] = {
    "reml": {},
    "ml": {"method": "ml"},
    "fixed": {"method": "fixed"},
    "single": {"correction": "single"},
    "alpha_sens_0_fpr_2": {"link": (0, 0), "method": "ml"},  # alpha of the specificity is 2 - alpha of its complement
    "alpha_sens_0.6_fpr_1.3": {"link": (0.6, 0.7)},
    "alpha_sens_1.5_fpr_1": {"link": (1.5, 1), "method": "ml"},
}
EXACT, STOPPED = 1e-5, 6e-5  # of fits; where mvmeta's search ends before the optimum
MIRROR = np.array([1.0, -1.0])
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")


@cache
def fitted(name: str, link: Any = "logit", method: str = "reml", correction: Any = "all") -> xr.DataTree:
    data = pd.DataFrame(read_reference(f"diagnostic/{name}_mada")["data"])
    return bm.fit(diagnostic.specify(data, *CELLS, correction=correction, link=link), method)


def expected(name: str) -> Any:
    return read_reference(f"diagnostic/{name}_mada")["expected"]


def psi(tree: xr.DataTree) -> np.ndarray:
    return tree["estimate"]["psi_unit"].to_numpy()


def constant(tree: xr.DataTree, restricted: bool) -> float:
    """What mada's log-likelihood has and ours has not."""
    accuracy = Accuracy.of(tree, "test")
    proportions = accuracy.used.sensitivity, accuracy.used.specificity
    jacobian = sum(float(np.log(link.slope(p)).sum()) for link, p in zip(accuracy.links, proportions, strict=True))
    X = accuracy.spec.X
    return jacobian - (np.linalg.slogdet(X.T @ X)[1] / 2 if restricted else 0.0)


@pytest.mark.parametrize("name", ["AuditC", "Dementia"])
@pytest.mark.parametrize("method", ["reml", "ml"])
def test_the_published_examples(name: str, method: str) -> None:
    file = read_reference(f"diagnostic/{name}")["expected"][method]
    tree = fitted(name, method=method)
    beta, se = tree["estimate"]["beta"].to_numpy(), np.sqrt(np.diag(tree["estimate"]["beta_cov"]))
    table = np.array([row[:2] for row in file["coefficients"][:2]], dtype=float)
    np.testing.assert_allclose(np.column_stack([beta * MIRROR, se]), table, atol=EXACT)
    np.testing.assert_allclose(psi(tree) * np.outer(MIRROR, MIRROR), file["Psi"], atol=EXACT)
    cov = tree["estimate"]["beta_cov"].to_numpy() * np.outer(MIRROR, MIRROR)
    np.testing.assert_allclose(cov, file["vcov"], atol=EXACT)
    loglik = tree["criteria"]["loglik"].item() + constant(tree, method == "reml")
    np.testing.assert_allclose(loglik, file["loglik"], atol=EXACT)
    point = diagnostic.summary_point(tree, df="z").loc[["sensitivity", "fpr"]]
    rows = np.array([[row[0], row[4], row[5]] for row in file["coefficients"][2:]], dtype=float)
    np.testing.assert_allclose(point, rows, atol=EXACT)
    area = trapezoid(tree, "ruttergatsonis", np.arange(1, 100) / 100)
    np.testing.assert_allclose(area, file["auc"][0], atol=EXACT)
    np.testing.assert_allclose(partial(tree, "ruttergatsonis"), file["auc"][1], atol=EXACT)


def trapezoid(tree: xr.DataTree, kind: str, rates: np.ndarray) -> float:
    """The rule of mada, which divides by the number of rates where there is one step less."""
    curve = diagnostic.sroc(tree, kind, rates)["estimate"].to_numpy()
    return float((curve.sum() - (curve[0] + curve[-1]) / 2) / len(rates))


def partial(tree: xr.DataTree, kind: str) -> float:
    observed = Accuracy.of(tree, "test").tables.fpr
    return trapezoid(tree, kind, np.linspace(max(0.01, observed.min()), min(0.99, observed.max()), 99))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", MODELS)
def test_fits_are_as_good_or_better(name: str, model: str) -> None:
    file, tree = expected(name)[model], fitted(name, **MODELS[model])
    gain = tree["criteria"]["loglik"].item() + constant(tree, model in ("reml", "single", "alpha_sens_0.6_fpr_1.3"))
    if model != "fixed":  # whose log-likelihood in mvmeta is another
        assert -1e-7 < gain - file["loglik"] < 1e-4
    close = EXACT if model in ("reml", "ml", "fixed", "single") and name != "skin_tests" else STOPPED
    np.testing.assert_allclose(tree["estimate"]["beta"].to_numpy() * MIRROR, file["coefficients"], atol=close)
    if model != "fixed":
        np.testing.assert_allclose(psi(tree) * np.outer(MIRROR, MIRROR), file["Psi"], atol=close)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", [model for model in MODELS if model != "fixed"])
@pytest.mark.parametrize("kind", ["ruttergatsonis", "naive"])
def test_curves_and_their_areas(name: str, model: str, kind: str) -> None:
    file, tree = expected(name)[model], fitted(name, **MODELS[model])
    close = EXACT if name == "AuditC" and not model.startswith("alpha_sens_1.5") else 5e-5
    curve = diagnostic.sroc(tree, kind, file["sroc"]["fpr"])["estimate"]
    np.testing.assert_allclose(curve, file["sroc"][kind], atol=close)
    areas = trapezoid(tree, kind, np.arange(1, 100) / 100), partial(tree, kind)
    np.testing.assert_allclose(areas, file["auc"][kind], atol=close)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("model", ["reml", "ml", "single"])
def test_hsroc_parameters(name: str, model: str) -> None:
    ours = diagnostic.hsroc(fitted(name, **MODELS[model]))["estimate"]
    theirs = {re.sub("sigma2", "sigma2_", key): value for key, value in expected(name)[model]["hsroc"].items()}
    close = EXACT if name == "AuditC" else 6e-5
    np.testing.assert_allclose(ours, [theirs[key] for key in ours.index], atol=close)


@pytest.mark.parametrize("name", NAMES)
def test_confidence_ellipses(name: str) -> None:
    """Four points of mada's outline lie on ours: in the metric of the covariance at its radius."""
    tree = fitted(name)
    outline = np.array(expected(name)["reml"]["ellipse"])
    logits = np.log(outline[:, ::-1] / (1 - outline[:, ::-1])) * MIRROR
    away = logits - tree["estimate"]["beta"].to_numpy()
    radius = np.einsum("ni,ij,nj->n", away, np.linalg.inv(tree["estimate"]["beta_cov"].to_numpy()), away)
    ours = diagnostic.regions(tree, region="confidence", df="z")
    own = np.column_stack([np.log(p / (1 - p)) for p in (ours["sensitivity"], 1 - ours["fpr"])])
    own -= tree["estimate"]["beta"].to_numpy()
    radii = np.einsum("ni,ij,nj->n", own, np.linalg.inv(tree["estimate"]["beta_cov"].to_numpy()), own)
    np.testing.assert_allclose(radius, radii.mean(), rtol=1e-4)
    np.testing.assert_allclose(radii, radii.mean(), rtol=1e-9)


@pytest.mark.parametrize("name", NAMES)
def test_ratios_over_the_distribution_of_the_summary_point(name: str) -> None:
    file = expected(name)["summary_points"]
    ours = diagnostic.likelihood_ratios(fitted(name), method="distribution", df="z")
    theirs = np.array(file["values"])[[0, 1, 3]]
    spread = (theirs[:, 3] - theirs[:, 2]) / 3.92
    error = 4 * spread / np.sqrt(file["n_iter"])
    assert (np.abs(ours["estimate"] - theirs[:, 0]) < error).all()
    assert (np.abs(ours["lower"] - theirs[:, 2]) < 3 * error).all()  # quantiles have larger errors than means
    assert (np.abs(ours["upper"] - theirs[:, 3]) < 6 * error).all()


@pytest.mark.parametrize("name", ["AuditC", "Dementia"])
def test_measures_of_studies(name: str) -> None:
    file = read_reference(f"diagnostic/{name}")["expected"]["descriptive"]
    table = diagnostic.studies(fitted(name), corrected=True)
    for ours, theirs in (("sensitivity", "sens"), ("specificity", "spec")):
        np.testing.assert_allclose(table[ours], file[theirs], rtol=1e-10)
        np.testing.assert_allclose(table[[f"{ours}_lower", f"{ours}_upper"]], file[f"{theirs}_ci"], rtol=1e-10)
    more = expected(name)["more"]
    for ours, theirs in (("positive", "posLR"), ("negative", "negLR"), ("dor", "DOR")):
        np.testing.assert_allclose(table[ours], file[theirs], rtol=1e-10)
        np.testing.assert_allclose(table[[f"{ours}_lower", f"{ours}_upper"]], more[f"{theirs}_ci"], rtol=1e-10)
    about = table.attrs
    correlation = [about[key] for key in ("correlation", "correlation_lower", "correlation_upper")]
    np.testing.assert_allclose(correlation, more["cor"], rtol=1e-10)
    for ours, theirs in (("sensitivity", "sens_test"), ("specificity", "spec_test")):
        test = [about[f"{ours}_{key}"] for key in ("chi2", "df", "pvalue")]
        np.testing.assert_allclose(test, more[theirs], rtol=1e-8)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("measure", "theirs"), [("dor", "DOR"), ("positive", "posLR"), ("negative", "negLR")])
def test_one_measure_alone(name: str, measure: Any, theirs: str) -> None:
    tree = bm.fit(diagnostic.univariate(fitted(name), measure), "dl")
    (ratio, log, tau2, _) = expected(name)["more"]["madauni"][theirs]
    row = bm.estimates(tree, df="z").iloc[0]
    np.testing.assert_allclose(row[["estimate", "lower", "upper"]].to_numpy(dtype=float), log, rtol=1e-8)
    np.testing.assert_allclose(np.exp(row["estimate"]), ratio[0], rtol=1e-8)
    np.testing.assert_allclose(tree["estimate"]["psi_unit"].item(), tau2[0], rtol=1e-8)


@pytest.mark.parametrize(
    ("model", "formula", "method"),
    [("reml_type", "type", "reml"), ("ml_type", "type", "ml"), ("reml_type_population", "type + population", "reml")],
)
def test_meta_regression(model: str, formula: str, method: str) -> None:
    file = read_reference("diagnostic/questionnaires_mada")
    tree = bm.fit(diagnostic.specify(pd.DataFrame(file["data"]), *CELLS, formula=formula, correction="all"), method)
    theirs = file["expected"][model]
    beta = tree["estimate"]["beta"].to_numpy()
    order = [f"{outcome}.{term}" for outcome in ("sensitivity", "specificity") for term in _terms(tree)]
    assert sorted(order) == sorted(map(str, tree["estimate"]["coef"].values))
    place = [list(map(str, tree["estimate"]["coef"].values)).index(name) for name in order]
    signs = np.repeat(MIRROR, len(order) // 2)
    np.testing.assert_allclose(beta[place] * signs, theirs["coefficients"], atol=EXACT)
    cov = tree["estimate"]["beta_cov"].to_numpy()[np.ix_(place, place)] * np.outer(signs, signs)
    np.testing.assert_allclose(cov, theirs["vcov"], atol=EXACT)
    np.testing.assert_allclose(
        psi(tree) * np.outer(MIRROR, MIRROR), theirs["Psi"], atol=STOPPED if "population" in model else EXACT
    )


def _terms(tree: xr.DataTree) -> list[str]:
    names = [str(name).partition(".")[2] for name in tree["estimate"]["coef"].values]
    return list(dict.fromkeys(names))
