"""Diagnostic analyses of random tables beside plain dense formulas, and what must not matter."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.special import expit, logit
from scipy.stats import chi2, multivariate_normal, norm

import bayesmeta as bm
from bayesmeta.diagnostic.curves import SLOPES
from bayesmeta.effects.links import links_of
from bayesmeta.inference.outcome_lines import Lines

D = bm.diagnostic
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
few = settings(max_examples=5)


@st.composite
def tables(draw: st.DrawFn) -> pd.DataFrame:
    """Counts of studies whose thresholds differ, with some empty cells."""
    seed, k = draw(st.integers(0, 10**6)), draw(st.integers(7, 14))
    rng = np.random.default_rng(seed)
    shift = rng.normal(0, 0.8, k)
    sensitivity = expit(rng.normal(1.2, 0.5, k) + shift)
    specificity = expit(rng.normal(1.6, 0.5, k) - shift)
    n1, n0 = rng.integers(12, 300, k), rng.integers(12, 300, k)
    tp, tn = rng.binomial(n1, sensitivity), rng.binomial(n0, specificity)
    return pd.DataFrame({"study": range(1, k + 1), "tp": tp, "fp": n0 - tn, "fn": n1 - tp, "tn": tn})


def fitted(data: pd.DataFrame, method: str = "ml", **options: Any) -> xr.DataTree:
    return bm.fit(D.specify(data, study="study", **options), method)


def estimated(tree: xr.DataTree) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    estimate = tree["estimate"]
    return estimate["beta"].to_numpy(), estimate["psi_study"].to_numpy(), estimate["beta_cov"].to_numpy()


@given(tables())
@few
def test_likelihood_and_coefficients_by_dense_formulas(data: pd.DataFrame) -> None:
    tree = fitted(data)
    beta, psi, cov = estimated(tree)
    loglik, precision, right = 0.0, np.zeros((2, 2)), np.zeros(2)
    for row in data.itertuples():
        add = 0.5 if min(row.tp, row.fp, row.fn, row.tn) == 0 else 0.0
        tp, fp, fn, tn = row.tp + add, row.fp + add, row.fn + add, row.tn + add
        y = np.log([tp / fn, tn / fp])
        Sigma = psi + np.diag([1 / tp + 1 / fn, 1 / tn + 1 / fp])
        loglik += multivariate_normal(beta, Sigma).logpdf(y)
        precision += np.linalg.inv(Sigma)
        right += np.linalg.solve(Sigma, y)
    np.testing.assert_allclose(tree["criteria"]["loglik"].item(), loglik, rtol=1e-9)
    np.testing.assert_allclose(beta, np.linalg.solve(precision, right), rtol=1e-7)
    np.testing.assert_allclose(cov, np.linalg.inv(precision), rtol=1e-6)


@given(tables())
@few
def test_summary_point_and_ratios_by_plain_formulas(data: pd.DataFrame) -> None:
    tree = fitted(data)
    (a, b), _, V = estimated(tree)
    se, sp = expit([a, b])
    point = D.summary_point(tree, df="z")
    half = norm.ppf(0.975) * np.sqrt(np.diag(V))
    np.testing.assert_allclose(point.loc["sensitivity"], expit([a, a - half[0], a + half[0]]), rtol=1e-9)
    np.testing.assert_allclose(point.loc["fpr"], 1 - expit([b, b + half[1], b - half[1]]), rtol=1e-9)
    gradients = {"positive": [1 - se, sp], "negative": [-se, -(1 - sp)], "dor": [1, 1]}
    values = {"positive": se / (1 - sp), "negative": (1 - se) / sp, "dor": np.exp(a + b)}
    ratios = D.likelihood_ratios(tree, df="z")
    for name, gradient in gradients.items():
        reach = norm.ppf(0.975) * np.sqrt(np.array(gradient) @ V @ gradient)
        ends = values[name] * np.exp([0, -reach, reach])
        np.testing.assert_allclose(ratios.loc[name], ends, rtol=1e-7)
    after = D.predictive_values(tree, 0.3, df="z")["estimate"].xs(0.3)
    np.testing.assert_allclose(after["ppv"], se * 0.3 / (se * 0.3 + (1 - sp) * 0.7), rtol=1e-10)
    np.testing.assert_allclose(after["npv"], sp * 0.7 / (sp * 0.7 + (1 - se) * 0.3), rtol=1e-10)


@given(tables())
@few
def test_hsroc_model_is_the_bivariate_one(data: pd.DataFrame) -> None:
    """Mean and covariance of both logits from Lambda, Theta, beta and the two variances (Rutter and Gatsonis)."""
    tree = fitted(data)
    mean, psi, _ = estimated(tree)
    if np.linalg.eigvalsh(psi)[0] < 1e-6:
        return
    of = D.hsroc(tree)["estimate"]
    down, up = np.exp(-of["beta"] / 2), np.exp(of["beta"] / 2)
    np.testing.assert_allclose(mean, [down * (of["Theta"] + of["Lambda"] / 2), -up * (of["Theta"] - of["Lambda"] / 2)])
    sums = of["sigma2_theta"] + of["sigma2_alpha"] / 4
    expected = [
        [down**2 * sums, -(of["sigma2_theta"] - of["sigma2_alpha"] / 4)],
        [-(of["sigma2_theta"] - of["sigma2_alpha"] / 4), up**2 * sums],
    ]
    np.testing.assert_allclose(psi, expected, rtol=1e-8)
    curve = D.sroc(tree, fpr=[0.05, 0.3, 0.8])["estimate"]
    line = of["Lambda"] * down + down**2 * logit([0.05, 0.3, 0.8])
    np.testing.assert_allclose(curve, expit(line), rtol=1e-9)


@given(tables())
@few
def test_slopes_of_arends(data: pd.DataFrame) -> None:
    tree = fitted(data)
    (a, b), psi, _ = estimated(tree)
    eta2, xi2, both = psi[0, 0], psi[1, 1], -psi[0, 1]
    if both <= 1e-3 or np.linalg.eigvalsh(psi)[0] < 1e-6:
        return
    sums = np.array([[eta2 + xi2 - 2 * both, eta2 - xi2], [eta2 - xi2, eta2 + xi2 + 2 * both]])  # of eta - xi, eta + xi
    on_s = sums[0, 1] / sums[1, 1]
    vector = np.linalg.eigh(np.array([[xi2, both], [both, eta2]]))[1][:, -1]
    slopes = {
        "rutter-gatsonis": np.sqrt(eta2 / xi2),
        "eta-xi": both / xi2,
        "xi-eta": eta2 / both,
        "moses-littenberg": (1 + on_s) / (1 - on_s),
        "major-axis": vector[1] / vector[0],
    }
    assert set(slopes) == set(SLOPES)
    for kind, slope in slopes.items():
        curve = D.sroc(tree, kind, [0.1, 0.4])["estimate"]
        np.testing.assert_allclose(curve, expit(a + slope * (logit([0.1, 0.4]) + b)), rtol=1e-8)
        through = D.sroc(tree, kind, [float(expit(-b))])["estimate"].item()
        np.testing.assert_allclose(through, expit(a), rtol=1e-9)  # every curve goes through the summary point


@given(tables(), st.sampled_from(sorted(SLOPES)), st.sampled_from(["logit", "probit", "cloglog", (0.5, 1.4)]))
@few
def test_areas_beside_adaptive_integration(data: pd.DataFrame, kind: str, link: Any) -> None:
    tree = fitted(data, link=link)
    if np.linalg.eigvalsh(estimated(tree)[1])[0] < 1e-4 or estimated(tree)[1][0, 1] > -1e-3:
        return

    def curve(rate: float) -> float:
        return float(D.sroc(tree, kind, [rate])["estimate"].item())

    areas = D.auc(tree, kind, within=(0.1, 0.3))["estimate"]
    np.testing.assert_allclose(areas["partial"], quad(curve, 0.1, 0.3, epsabs=1e-8, limit=60)[0] / 0.2, atol=1e-6)
    q = float(areas["q_star"])
    np.testing.assert_allclose(curve(1 - q), q, atol=1e-8)


def test_the_whole_area_beside_adaptive_integration() -> None:
    tree = bm.fit(D.specify(bm.datasets.load("auditc"), correction="all"))
    for kind in SLOPES:
        first, second = logit(D.sroc(tree, kind, [0.4, 0.5])["estimate"])
        slope = (first - second) / logit(0.4)
        area = quad(lambda rate, a=second, b=slope: expit(a + b * logit(rate)), 0, 1, epsabs=1e-12)[0]
        np.testing.assert_allclose(D.auc(tree, kind)["estimate"]["auc"], area, rtol=1e-9)


@pytest.mark.parametrize("slope", [-3.0, -0.6, 0.0, 0.3, 1.0, 1.7, 25.0])
@pytest.mark.parametrize("intercept", [-2.0, 0.4, 5.0])
def test_areas_and_crossings_of_any_line(intercept: float, slope: float) -> None:
    """Falling ones too, which single draws of a posterior have; both quadratures against adaptive integration."""
    one = np.array([[intercept]]), np.array([[slope]]), np.array([[False]])
    line = Lines(*one, links_of("logit"))

    def curve(rate: float) -> float:
        return float(expit(intercept + slope * logit(rate)))

    for within, scale in (((0.0, 1.0), 1.0), ((0.05, 0.4), 0.35), ((1e-9, 1 - 1e-9), 1.0)):
        area = quad(curve, *within, epsabs=1e-12, limit=500, points=[0.001, 0.5, 0.999])[0]
        np.testing.assert_allclose(line.area(np.array([within])), area / scale, atol=2e-9)
    both = line.crossing().item()
    np.testing.assert_allclose(curve(1 - both), both, atol=1e-10)


@given(tables())
@few
def test_the_disease_and_its_absence_change_places(data: pd.DataFrame) -> None:
    """A negative test for the absence of the disease: the curve is mirrored in the second diagonal."""
    tree = fitted(data)
    other = fitted(data.rename(columns={"tp": "tn", "tn": "tp", "fp": "fn", "fn": "fp"}))
    first, second = D.summary_point(tree), D.summary_point(other)
    np.testing.assert_allclose(first.loc["sensitivity"], second.loc["specificity"], atol=1e-5)
    if np.linalg.eigvalsh(estimated(tree)[1])[0] < 1e-4:
        return
    rate = 0.2
    here = float(D.sroc(tree, fpr=[rate])["estimate"].item())
    there = float(D.sroc(other, fpr=[1 - here])["estimate"].item())
    np.testing.assert_allclose(there, 1 - rate, atol=1e-4)
    np.testing.assert_allclose(D.auc(tree)["estimate"]["auc"], D.auc(other)["estimate"]["auc"], atol=1e-4)
    np.testing.assert_allclose(D.hsroc(tree)["estimate"]["beta"], -D.hsroc(other)["estimate"]["beta"], atol=1e-3)
    ratios, mirrored = (D.likelihood_ratios(each)["estimate"] for each in (tree, other))
    np.testing.assert_allclose(ratios["positive"], 1 / mirrored["negative"], rtol=1e-4)


@given(tables(), st.randoms(use_true_random=False))
@few
def test_the_order_of_rows_does_not_matter(data: pd.DataFrame, random: Any) -> None:
    order = list(range(len(data)))
    random.shuffle(order)
    first, second = fitted(data), fitted(data.iloc[order])
    for question in (D.summary_point, D.likelihood_ratios):
        np.testing.assert_allclose(question(first), question(second), rtol=1e-4)


@given(tables())
@few
def test_regions_hold_what_they_say(data: pd.DataFrame) -> None:
    tree = fitted(data)
    beta, psi, V = estimated(tree)
    for name, cov in (("confidence", V), ("prediction", V + psi)):
        outline = D.regions(tree, region=name, df="z", prob=0.9)  # type: ignore[arg-type]
        logits = np.column_stack([logit(outline["sensitivity"]), -logit(outline["fpr"])]) - beta
        distance = np.einsum("ni,ij,nj->n", logits, np.linalg.inv(cov), logits)
        np.testing.assert_allclose(distance, chi2.ppf(0.9, 2), rtol=1e-4)


def test_a_region_is_what_the_joint_test_does_not_reject() -> None:
    tree = bm.fit(D.specify(bm.datasets.load("auditc"), correction="all"))
    outline = D.regions(tree, region="confidence").iloc[::29]
    for fpr, sensitivity in outline.to_numpy():
        null = f"sensitivity.Intercept = {logit(sensitivity)}", f"specificity.Intercept = {-logit(fpr)}"
        np.testing.assert_allclose(bm.wald_test(tree, contrast=list(null))["pvalue"].item(), 0.05, atol=1e-6)


def test_errors_of_hsroc_parameters_beside_a_bootstrap() -> None:
    """The delta method with the errors of Psi, beside fits to data simulated from the fit."""
    data = bm.datasets.load("questionnaires").query("table == 1")
    tree = bm.fit(D.specify(data, correction="all"))
    spec = bm.Spec.from_tree(tree)
    rng = np.random.default_rng(3)
    beta, psi = tree["estimate"]["beta"].to_numpy(), tree["estimate"]["psi_unit"].to_numpy()
    k = len(spec.y) // 2
    draws = []
    for _ in range(120):
        y = (
            beta
            + rng.multivariate_normal([0, 0], psi, k)
            + rng.normal(size=(k, 2)) * np.sqrt(spec.S.variances.reshape(k, 2))
        )
        frame = pd.DataFrame(y, columns=["sensitivity", "specificity"])
        made = bm.specify("sensitivity + specificity ~ 1", frame, spec.S.variances.reshape(k, 2), S_correlation=0.0)
        again = bm.fit(made)["estimate"]
        sd = np.sqrt(np.diag(again["psi_unit"]))
        draws.append(float(np.log(sd[1] / sd[0])))
    interval = D.hsroc(tree, df="z").loc["beta"]
    se = (interval["upper"] - interval["lower"]) / (2 * norm.ppf(0.975))
    np.testing.assert_allclose(np.std(draws), se, rtol=0.25)
