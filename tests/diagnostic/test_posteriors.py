"""Diagnostic accuracy of posteriors: the same questions, and answers that agree with what is known of them exactly."""

import warnings

import numpy as np
import pytest
import xarray as xr
from matplotlib.path import Path
from scipy.special import expit, ndtri

import bayesmeta as bm
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.effects.links import LINKS
from bayesmeta.inference import quantity_answers
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws

D = bm.diagnostic
pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.errors.AssumptionWarning")


@pytest.fixture(scope="module")
def posterior() -> xr.DataTree:
    spec = D.specify(bm.datasets.load("auditc"), study="study", correction="all")
    return bm.sample(spec, random_seed=1)


@pytest.fixture(scope="module")
def compared() -> xr.DataTree:
    """Two tests, with levels: more parameters than a lattice has room for."""
    data = bm.datasets.load("questionnaires").query("study < 16")
    spec = D.specify(data, study="study", formula="questionnaire", correction="single", psi="diag")
    return bm.sample(spec, random_seed=1, draws=500)


def test_engines_without_chains(posterior: xr.DataTree, compared: xr.DataTree) -> None:
    assert posterior.attrs["sampler"] == "quadrature"
    assert compared.attrs["sampler"] == "importance"


def test_summary_points_are_those_of_every_other_table(posterior: xr.DataTree) -> None:
    point = D.summary_point(posterior)
    table = bm.estimates(posterior, scale="response")[["estimate", "lower", "upper"]].iloc[:2]
    np.testing.assert_allclose(point.iloc[:2], table, rtol=1e-9)
    np.testing.assert_allclose(point.loc["fpr", "estimate"], 1 - point.loc["specificity", "estimate"], rtol=1e-9)
    np.testing.assert_allclose(point.loc["fpr", "lower"], 1 - point.loc["specificity", "upper"], rtol=1e-9)


def test_functions_of_draws(posterior: xr.DataTree, monkeypatch: pytest.MonkeyPatch) -> None:
    """As where Markov chains were run, whose trees have no points of a lattice."""
    monkeypatch.setattr(quantity_answers, "exact_posterior", lambda tree: None)
    (a, b), psi = beta_draws(posterior).T, psi_draws(posterior, "study")
    positive = expit(a) / expit(-b)
    row = D.likelihood_ratios(posterior).loc["positive"]
    np.testing.assert_allclose(row, [positive.mean(), *np.quantile(positive, [0.025, 0.975])], rtol=1e-9)
    beta = np.log(psi[:, 1, 1] / psi[:, 0, 0]) / 2
    np.testing.assert_allclose(D.hsroc(posterior).loc["beta", "estimate"], beta.mean(), rtol=1e-9)
    ppv = 1 / (1 + (1 - 0.2) / 0.2 / positive)
    of_draws = D.predictive_values(posterior, 0.2).xs((0.2, "ppv"))
    np.testing.assert_allclose(of_draws, [ppv.mean(), *np.quantile(ppv, [0.025, 0.975])], rtol=1e-9)
    curve = expit(a + np.sqrt(psi[:, 0, 0] / psi[:, 1, 1]) * (np.log(0.25) + b))
    np.testing.assert_allclose(D.sroc(posterior, fpr=[0.2])["estimate"].item(), curve.mean(), rtol=1e-9)


def brute_force(tree: xr.DataTree, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Many draws of the points, and of the coefficients given each: (n, 2) means and (n, 2, 2) Psi."""
    exact, rng = exact_posterior(tree), np.random.default_rng(3)
    assert exact is not None
    weight, points = exact.main
    at = rng.choice(len(weight), n, p=weight)
    beta = points.beta[at] + (points.root[at] @ rng.standard_normal((n, 2, 1)))[..., 0]
    return beta, np.moveaxis(exact.psi[0], -1, 0)[at]


def test_everything_is_exact_where_no_chain_was_run(posterior: xr.DataTree) -> None:
    """Beside 60,000 draws of the same mixture: means and the probabilities of both bounds, in Monte Carlo errors."""
    (mean, psi), n = brute_force(posterior, 60_000), 60_000
    (a, b), sd = mean.T, np.sqrt(np.diagonal(psi, axis1=1, axis2=2))
    slope, x = sd[:, 0] / sd[:, 1], np.linspace(-20, 20, 161)
    some = slice(None, None, 5)  # whose areas are taken
    inside = np.exp(-np.logaddexp(0, x) - np.logaddexp(0, -x))
    area = expit((a + slope * b)[some, None] + slope[some, None] * x) @ inside / inside.sum()
    ratios, curve = D.likelihood_ratios(posterior), D.sroc(posterior, "eta-xi", fpr=[0.1, 0.5])
    of = {
        "positive": (ratios.loc["positive"], expit(a) / expit(-b)),
        "negative": (ratios.loc["negative"], expit(-a) / expit(b)),
        "dor": (ratios.loc["dor"], np.exp(a + b)),
        "ppv": (D.predictive_values(posterior, 0.1).xs((0.1, "ppv")), expit(np.log(expit(a) / expit(-b) / 9))),
        "sroc": (curve.loc[0.1], expit(a - psi[:, 0, 1] / psi[:, 1, 1] * (b + np.log(1 / 9)))),
        "theta": (D.hsroc(posterior).loc["Theta"], (a / np.sqrt(slope) - b * np.sqrt(slope)) / 2),
        "sigma2_theta": (D.hsroc(posterior).loc["sigma2_theta"], (sd.prod(1) - psi[:, 0, 1]) / 2),
        "auc": (D.auc(posterior).loc["auc"], area),
    }
    for name, (row, draws) in of.items():
        error = draws.std() / np.sqrt(len(draws))
        assert abs(row["estimate"] - draws.mean()) < 4.5 * error, name
        for bound, prob in (("lower", 0.025), ("upper", 0.975)):
            share = (draws < row[bound]).mean()
            assert abs(share - prob) < 4.5 * np.sqrt(prob * (1 - prob) / len(draws)), (name, bound)
    assert len(area) == n / 5


def test_bounds_are_those_of_what_they_are_functions_of(posterior: xr.DataTree) -> None:
    """Predictive values of the ratios; with Psi known the curve and its area of the intercept, which is normal."""
    bounds = ["lower", "upper"]
    ratio = D.likelihood_ratios(posterior)
    for name, odds in (("ppv", 0.25 * ratio.loc["positive", bounds]), ("npv", 4 / ratio.loc["negative", bounds[::-1]])):
        row = D.predictive_values(posterior, 0.2).xs((0.2, name))
        np.testing.assert_allclose(row[bounds], odds / (1 + odds), rtol=1e-8)
    psi, odds = bm.structures.Fixed([[0.6, -0.2], [-0.2, 0.4]]), bm.datasets.load("auditc")
    spec = D.specify(odds, study="study", correction="all", psi=psi)
    flat = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1e3))
    post, fit = bm.sample(spec, priors=flat, random_seed=1), bm.fit(spec, "ml")
    estimate, slope = fit["estimate"], np.sqrt(0.6 / 0.4)
    mean, cov = estimate["beta"].to_numpy(), estimate["beta_cov"].to_numpy()
    along = np.array([1.0, slope])
    ends = along @ mean + np.array([-1, 1]) * ndtri(0.975) * np.sqrt(along @ cov @ along)
    curve = D.sroc(post, fpr=[0.2, 0.4])
    for fpr in (0.2, 0.4):
        np.testing.assert_allclose(curve.loc[fpr, bounds], expit(ends + slope * np.log(fpr / (1 - fpr))), rtol=1e-5)
    x = np.linspace(-36, 36, 7201)
    inside = np.exp(-np.logaddexp(0, x) - np.logaddexp(0, -x))
    areas = expit(ends[:, None] + slope * x) @ inside / inside.sum()
    np.testing.assert_allclose(D.auc(post).loc["auc", bounds].astype(float), areas, rtol=1e-5)
    of_fit = D.likelihood_ratios(fit, method="distribution", df="z")
    np.testing.assert_allclose(D.likelihood_ratios(post), of_fit, rtol=1e-4)


def test_regions_hold_their_share_of_the_draws(posterior: xr.DataTree) -> None:
    (a, b), psi = beta_draws(posterior).T, psi_draws(posterior, "study")
    rng = np.random.default_rng(5)
    new = beta_draws(posterior) + np.stack([rng.multivariate_normal([0, 0], each) for each in psi])
    for shape in ("highest-density", "ellipse"):
        for name, draws in (("confidence", np.stack([a, b], axis=1)), ("prediction", new)):
            outline = D.regions(posterior, region=name, shape=shape, prob=0.9)  # type: ignore[arg-type]
            inside = Path(outline.to_numpy()).contains_points(
                np.stack([expit(-draws[:, 1]), expit(draws[:, 0])], axis=1)
            )
            close = 0.015 if shape == "highest-density" else 0.04
            assert abs(inside.mean() - 0.9) < close, (shape, name)


def test_uncertain_prevalence_beside_draws_of_it(posterior: xr.DataTree) -> None:
    (a, b), rng = beta_draws(posterior).T, np.random.default_rng(2)
    size = 0.2 * 0.8 / 0.05**2 - 1
    p = rng.beta(0.2 * size, 0.8 * size, (200, len(a)))
    ppv = expit(np.log(p / (1 - p)) + np.log(expit(a) / expit(-b)))
    ours = D.predictive_values(posterior, 0.2, prevalence_sd=0.05).xs((0.2, "ppv"))
    np.testing.assert_allclose(ours, [ppv.mean(), *np.quantile(ppv, [0.025, 0.975])], atol=2e-3)
    certain = D.predictive_values(posterior, 0.2).xs((0.2, "ppv"))
    assert ours["upper"] - ours["lower"] > certain["upper"] - certain["lower"]


def test_several_tests_and_levels(compared: xr.DataTree) -> None:
    point = D.summary_point(compared)
    assert list(point.index.get_level_values("questionnaire").unique()) == ["interviewer", "self"]
    own = D.summary_point(compared, {"questionnaire": "self"})
    np.testing.assert_allclose(own, point.loc[["self"]], rtol=1e-12)
    fit = bm.fit(bm.Spec.from_tree(compared))
    np.testing.assert_allclose(point["estimate"], D.summary_point(fit)["estimate"], atol=0.05)  # with priors
    assert np.isfinite(D.auc(compared)[["estimate", "lower", "upper"]]).all(axis=None)


def test_results_read_from_a_file_answer_alike(posterior: xr.DataTree, tmp_path) -> None:
    bm.save(posterior, tmp_path / "posterior.nc")
    again = bm.load(tmp_path / "posterior.nc")
    for question in (D.summary_point, D.auc, D.hsroc):
        np.testing.assert_allclose(question(again), question(posterior), rtol=1e-10)


def test_fits_answer_by_sandwiches_too() -> None:
    data = bm.datasets.load("questionnaires")
    tree = bm.fit(D.specify(data, study="study", formula="questionnaire"))
    robust = D.summary_point(tree, vcov="CR2")
    assert robust.attrs["vcov"] == "CR2"
    np.testing.assert_allclose(robust["estimate"], D.summary_point(tree)["estimate"], rtol=1e-12)
    assert not np.allclose(robust["upper"], D.summary_point(tree)["upper"])


@pytest.mark.parametrize(("link", "few"), [("logit", True), ((0.1, 0.1), False)])
def test_few_nodes_are_for_links_whose_inverse_is_smooth(link, few, monkeypatch):
    """Those of t_alpha near 0 and 2 bend close to the real axis, where few nodes lose digits."""
    asked, whole = [], Normals.mean_of_proportion
    monkeypatch.setattr(Normals, "mean_of_proportion", lambda own, of: (asked.append(True), whole(own, of))[1])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BayesmetaWarning)
        spec = bm.diagnostic.specify(bm.datasets.load("auditc"), study="study", link=link)
        bm.diagnostic.sroc(bm.sample(spec, random_seed=1))
    assert bool(asked) == few
    for known in LINKS.values():
        at = Normals(np.ones(1), np.linspace(-2, 2, 5)[None], np.full((1, 5), 0.8))
        assert known.smooth
        np.testing.assert_allclose(whole(at, known.inverse), at.mean_of(known.inverse, 150), rtol=0, atol=1e-9)
