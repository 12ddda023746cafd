"""Regions of two quantities: what they hold, by independent draws and by the normal distribution."""

import numpy as np
import pytest
from matplotlib.path import Path
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.inference.joint_regions import Mixture, ellipse, highest_density


def random_mixture(seed: int) -> Mixture:
    rng = np.random.default_rng(seed)
    roots = rng.normal(0, 0.4, (5, 2, 2))
    return Mixture(rng.dirichlet(np.ones(5)), rng.normal(0, 0.4, (5, 2)), roots @ roots.mT + 0.3 * np.eye(2))


def test_one_normal_distribution_has_an_ellipse():
    cov = np.array([[2.0, 0.7], [0.7, 0.5]])
    one = Mixture(np.ones(1), np.array([[1.0, -2.0]]), cov[None])
    for prob in (0.5, 0.95, 0.999):
        away = highest_density(one, prob) - [1.0, -2.0]
        distance = np.einsum("ni,ij,nj->n", away, np.linalg.inv(cov), away)
        np.testing.assert_allclose(distance, chi2.ppf(prob, 2), rtol=5e-4)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("prob", [0.5, 0.95])
def test_it_holds_its_probability_and_is_the_smallest_such(seed: int, prob: float):
    mixture, rng = random_mixture(seed), np.random.default_rng(100 + seed)
    of = rng.choice(5, 100_000, p=mixture.weight)
    noise = (np.linalg.cholesky(mixture.cov)[of] @ rng.normal(size=(len(of), 2, 1)))[..., 0]
    draws, outline = mixture.centre[of] + noise, highest_density(mixture, prob)
    inside = Path(outline).contains_points(draws).mean()
    assert inside == pytest.approx(prob, abs=4 * np.sqrt(prob * (1 - prob) / len(draws)) + 1e-3)
    on_edge = mixture.density(outline)
    np.testing.assert_allclose(on_edge, on_edge.mean(), rtol=2e-3)
    mean, cov = mixture.moments
    np.testing.assert_allclose(mean, draws.mean(0), atol=0.02)
    np.testing.assert_allclose(cov, np.cov(draws.T), atol=0.03)


def test_tails_beyond_the_rays_are_looked_for():
    far = Mixture(np.array([0.9, 0.1]), np.zeros((2, 2)), np.stack([np.eye(2), 400 * np.eye(2)]))
    outline = highest_density(far, 0.99)
    radius = np.linalg.norm(outline, axis=1)
    assert 0.9 * chi2.cdf(radius[0] ** 2, 2) + 0.1 * chi2.cdf(radius[0] ** 2 / 400, 2) == pytest.approx(0.99, abs=1e-4)


@pytest.mark.filterwarnings("ignore::bayesmeta.AssumptionWarning")
def test_regions_of_a_posterior_hold_its_independent_draws():
    spec = bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all")
    post = bm.sample(spec, draws=8000, random_seed=1)
    outlines = bm.diagnostic.regions(post)
    beta = post["posterior"]["beta"].to_numpy().reshape(-1, 2)
    tau = post["posterior"]["tau_unit"].to_numpy().reshape(-1, 2)
    rho = post["posterior"]["rho_unit"].to_numpy().ravel()
    z = np.random.default_rng(2).normal(size=beta.shape)
    second = rho * z[:, 0] + np.sqrt(1 - rho**2) * z[:, 1]
    new = beta + tau * np.column_stack([z[:, 0], second])
    for name, draws in (("confidence", beta), ("prediction", new)):
        own = outlines.loc[name]
        on_model = np.log(np.column_stack([own["sensitivity"], 1 - own["fpr"]]))
        on_model -= np.log(np.column_stack([1 - own["sensitivity"], own["fpr"]]))
        inside = Path(on_model).contains_points(draws).mean()
        assert inside == pytest.approx(0.95, abs=4 * np.sqrt(0.95 * 0.05 / len(draws)))
    shape = bm.diagnostic.regions(post, region="confidence", shape="ellipse")
    assert shape.attrs["shape"] == "ellipse"


def test_an_ellipse_without_spread_is_a_point():
    np.testing.assert_allclose(ellipse(np.array([1.0, 2.0]), np.zeros((2, 2)), 3.0), np.tile([1.0, 2.0], (121, 1)))
