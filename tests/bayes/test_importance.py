"""Importance sampling: its mixture, its weights, and its posteriors beside those of quadrature and of other seeds."""

import numpy as np
import pandas as pd
import pytest
from scipy.stats import genpareto

import bayesmeta as bm
from bayesmeta.bayes import importance, quadrature
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import Mixture, NotIntegratedError
from bayesmeta.priors.defaults import resolve

BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]
VAGUE = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2), tau=bm.priors.half_normal(0.5))


def evaluator(spec: bm.Spec, priors: bm.Priors = VAGUE) -> Evaluator:
    return Evaluator(spec, resolve(spec, priors))


def berkey(formula: str = "PD + AL ~ 1") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("berkey98"), S=BERKEY)


def slopes() -> bm.Spec:
    data = bm.datasets.load("school")
    data["decade"] = (data["year"] - 1990) / 10
    return bm.specify("effect ~ decade", data, S="var", random="1 + decade | district/study")


def drawn(seed: int, psi: str, k: int) -> bm.Spec:
    """3 to 30 studies of k outcomes whose heterogeneity may be none."""
    rng = np.random.default_rng(seed)
    m, tau = int(rng.integers(3, 31)), rng.choice([0.0, 0.2, 0.6])
    v = np.exp(rng.normal(-3, 0.7, (m, k)))
    y = rng.normal(0, tau, (m, k)) + rng.normal(size=(m, k)) * np.sqrt(v)
    columns = {f"y{j}": y[:, j] for j in range(k)} | {f"v{j}": v[:, j] for j in range(k)}
    formula, S = " + ".join(f"y{j}" for j in range(k)) + " ~ 1", [f"v{j}" for j in range(k)]
    return bm.specify(formula, pd.DataFrame(columns), S=S, S_correlation=0.4, psi=psi)


def mixture(k: int = 4) -> Mixture:
    rng = np.random.default_rng(3)
    root = np.tril(rng.normal(0, 0.2, (2, k, k))) + np.eye(k)
    return Mixture(np.array([0.5, 0.4]), rng.normal(0, 0.5, (2, k)), root)


def test_draws_of_the_mixture_have_its_density():
    own, u = mixture(), mixture().at(np.random.default_rng(1).random((200_000, 6)))
    for mean, sd in ((np.zeros(4), 0.7), (np.full(4, 0.5), 0.4)):
        log = -(((u - mean) / sd) ** 2).sum(1) / 2 - 4 * np.log(sd) - 2 * np.log(2 * np.pi)
        ratio = np.exp(log - own.log_density(u))  # which integrates to one
        assert ratio.mean() == pytest.approx(1, abs=4 * ratio.std() / np.sqrt(len(u)))


@pytest.mark.parametrize("k", [-0.3, 0.2, 0.5, 0.9])
def test_the_shape_of_the_tail_is_that_of_a_pareto_distribution(k):
    x = genpareto.rvs(k, size=400_000, random_state=1)
    assert importance.tail_shape(np.log(x)) == pytest.approx(k, abs=0.15)


def test_the_shape_of_the_tail_is_that_of_arviz():
    from arviz_stats.base import array_stats

    for seed in range(3):
        log_weight = np.random.default_rng(seed).normal(0, 1.5, 20_000)
        other = float(array_stats.psislw(-log_weight)[1])  # takes log-likelihoods, of which weights are the inverse
        assert importance.tail_shape(log_weight) == pytest.approx(other, abs=1e-3)


@pytest.mark.parametrize(
    ("spec", "priors"),
    [
        (berkey(), VAGUE),
        (berkey(), bm.Priors(tau=bm.Prior("HalfCauchy", beta=0.5), beta=bm.Prior("Normal", mu=0, sigma=2))),
        # the mode lies many SDs of the prior out, where the first draws do not reach
        (berkey(), bm.Priors(tau=bm.priors.half_normal(0.02), beta=bm.Prior("Normal", mu=3, sigma=0.2))),
        (drawn(1, "hcs", 2), VAGUE),
        (drawn(2, "diag", 3), VAGUE),
    ],
    ids=["vague", "cauchy", "conflict", "hcs", "diag"],
)
def test_it_agrees_with_quadrature(spec, priors):
    model = evaluator(spec, priors)
    exact, own = quadrature.integrate(model), importance.integrate(model, 1)
    assert own.log_marginal_likelihood == pytest.approx(exact.log_marginal_likelihood, abs=5 * own.error)
    assert own.error < 0.01
    np.testing.assert_allclose(own.beta.mean, exact.beta.mean, atol=0.01 * exact.beta.sd.min())
    np.testing.assert_allclose(own.beta.sd, exact.beta.sd, rtol=0.01)
    p = np.array([0.025, 0.5, 0.975])
    for j, coordinate in enumerate(model.chart.coordinates):
        if coordinate.prior is not None:
            there, here = (each.coordinate(j).quantile(p)[:, 0] for each in (exact, own))
            np.testing.assert_allclose(here, there, atol=0.05 * float(exact.coordinate(j).sd[0]))


@pytest.mark.parametrize("spec", [slopes(), drawn(5, "unstr", 4)], ids=["slopes", "four outcomes"])
def test_seeds_agree(spec):
    model = evaluator(spec)
    first, second = (importance.integrate(model, seed) for seed in (1, 2))
    assert first.effective_size > 5000
    assert first.pareto_k < 0.7
    apart = first.log_marginal_likelihood - second.log_marginal_likelihood
    assert abs(apart) < 5 * np.hypot(first.error, second.error)
    np.testing.assert_allclose(first.beta.mean, second.beta.mean, atol=0.01 * first.beta.sd.min())
    again = importance.integrate(model, 1)
    assert again.log_marginal_likelihood == first.log_marginal_likelihood


def test_draws_are_those_of_the_posterior():
    exact = importance.integrate(evaluator(slopes()), 1)
    n = 8000
    points = exact.draw(n, np.random.default_rng(1))
    assert len(points) == n
    assert len(np.unique(points.u, axis=0)) > 0.9 * n
    weight, known = exact.main
    for own, of in ((points.u, known.u), (points.u**2, known.u**2)):
        error = np.sqrt(np.maximum(own.var(0), 1e-12) / n + of.var(0) / exact.effective_size)
        assert (np.abs(own.mean(0) - weight @ of) < 5 * error).all()


@pytest.mark.parametrize("seed", range(8))
def test_random_data_are_integrated(seed):
    priors = [VAGUE, bm.Priors(tau=bm.Prior("HalfCauchy", beta=0.5), beta=bm.Prior("Normal", mu=0, sigma=2))][seed % 2]
    spec = drawn(100 + seed, ["unstr", "hcs", "har1", "diag"][seed // 2], 2 + seed % 3)
    assert importance.integrate(evaluator(spec, priors), seed).error < 0.05


def test_uneven_weights_are_refused(monkeypatch):
    monkeypatch.setattr(importance, "LARGEST", 1e-6)
    monkeypatch.setattr(importance, "SECOND", importance.FIRST)
    with pytest.raises(NotIntegratedError, match="of the weight"):
        importance.integrate(evaluator(berkey()), 1)


@pytest.mark.slow
def test_a_ridge_is_right_at_the_second_attempt():
    """One study in each of 150 clusters: only the sum of both levels' covariances is known."""
    rng, m = np.random.default_rng(0), 150
    v = rng.uniform(0.02, 0.1, (m, 2))
    y = rng.normal(0, 0.5, (m, 2)) + rng.normal(size=(m, 2)) * np.sqrt(v)
    data = pd.DataFrame({"a": y[:, 0], "b": y[:, 1], "v1": v[:, 0], "v2": v[:, 1], "cluster": np.arange(m)})
    data["study"] = data["cluster"]
    spec = bm.specify("a + b ~ 1", data, S=["v1", "v2"], S_correlation=0.3, random="1 | cluster/study")
    first, second = (importance.integrate(evaluator(spec), seed) for seed in (1, 2))
    assert first.effective_size > 5000
    assert first.log_marginal_likelihood == pytest.approx(second.log_marginal_likelihood, abs=0.02)
    for j in (0, 1):
        own, other = (p.coordinate(j) for p in (first, second))
        assert float(own.mean[0]) == pytest.approx(float(other.mean[0]), abs=0.03 * float(own.sd[0]))
