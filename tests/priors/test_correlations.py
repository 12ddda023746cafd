"""Priors of correlations: normalised, restricted as they should be, and drawn from the density they state."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats
from scipy.integrate import quad

from bayesmeta import structures
from bayesmeta.priors.correlations import rho_draws, rho_logp
from bayesmeta.priors.prior import Prior

ONE = [("cs", 2), ("cs", 4), ("hcs", 3), ("ar1", 3), ("har1", 4), ("unstr", 2)]
ETAS = [0.7, 1.0, 2.0, 3.5]


def structure(name):
    return structures.resolve(name)


@pytest.mark.parametrize(("name", "dim"), ONE)
@pytest.mark.parametrize("eta", [1.0, 2.0, 3.5])
def test_one_correlation(name, dim, eta):
    s, prior = structure(name), Prior("LKJ", eta=eta)
    low = s.lkj(dim, eta).low

    def density(rho):
        return float(np.exp(rho_logp(s, dim, prior, np.array([rho]))))

    assert quad(density, low, 1)[0] == pytest.approx(1, abs=1e-8)
    rho = np.linspace(low, 1, 9)[None, 1:-1]
    R = np.moveaxis(s.compose(np.ones((s.n_tau(dim), rho.shape[1])), rho, dim), -1, 0)
    ratio = rho_logp(s, dim, prior, rho) - (eta - 1) * np.log(np.linalg.det(R))
    np.testing.assert_allclose(ratio, ratio[0], atol=1e-10)
    outside = rho_logp(s, dim, prior, np.array([[low - 1e-9, low, 1.0, 1 + 1e-9]]))
    assert (outside == -np.inf).all()
    drawn = rho_draws(s, dim, prior, 4000, np.random.default_rng(1))
    assert drawn.shape == (1, 4000)
    q = float(np.quantile(drawn, 0.3))
    assert quad(density, low, q)[0] == pytest.approx(0.3, abs=0.03)


@pytest.mark.parametrize("dim", [2, 3, 4, 5])
@pytest.mark.parametrize("eta", ETAS)
def test_marginals_of_draws(dim, eta):
    drawn = rho_draws(structure("unstr"), dim, Prior("LKJ", eta=eta), 3000, np.random.default_rng(dim))
    assert drawn.shape == (dim * (dim - 1) // 2, 3000)
    a = eta - 1 + dim / 2
    for pair in drawn:
        assert stats.kstest((pair + 1) / 2, stats.beta(a, a).cdf).pvalue > 1e-4
    R = np.moveaxis(structure("unstr").compose(np.ones((dim, 3000)), drawn, dim), -1, 0)
    assert (np.linalg.eigvalsh(R)[:, 0] > 0).all()
    # the determinant is a product of independent Beta variables, whose mean is known
    k = np.arange(1, dim)
    b = eta + (dim - 1 - k) / 2
    mean = np.prod((b / (b + 0.5)) ** (dim - k))
    det = np.linalg.det(R)
    assert det.mean() == pytest.approx(mean, abs=5 * det.std() / np.sqrt(3000))


@pytest.mark.parametrize("eta", [1.0, 2.0, 3.5])
def test_the_density_of_three_correlations_integrates_to_one(eta):
    grid, weight = np.polynomial.legendre.leggauss(60)
    rho = np.array(np.meshgrid(grid, grid, grid, indexing="ij"))
    # r23 = r12 r13 + c sqrt((1 - r12^2) (1 - r13^2)) with c in (-1, 1) fills the elliptope
    jacobian = np.sqrt((1 - rho[0] ** 2) * (1 - rho[1] ** 2))
    rho[2] = rho[0] * rho[1] + rho[2] * jacobian
    density = np.exp(rho_logp(structure("unstr"), 3, Prior("LKJ", eta=eta), rho)) * jacobian
    assert np.einsum("ijk,i,j,k", density, weight, weight, weight) == pytest.approx(1, abs=2e-4)


@pytest.mark.parametrize("dim", [3, 4])
def test_density_is_that_of_pymc(dim):
    prior = Prior("LKJ", eta=2.5)
    rho = rho_draws(structure("unstr"), dim, prior, 4, np.random.default_rng(3))
    L = np.linalg.cholesky(np.moveaxis(structure("unstr").compose(np.ones((dim, 4)), rho, dim), -1, 0))
    theirs = [float(pm.logp(pm.LKJCorr.dist(n=dim, eta=2.5), factor).eval()) for factor in L]
    # theirs is the density of the Cholesky factor: dR / dL is the product of L_kk^(d - k)
    jacobian = (np.arange(dim - 1, -1, -1) * np.log(np.diagonal(L, axis1=1, axis2=2))).sum(1)
    np.testing.assert_allclose(rho_logp(structure("unstr"), dim, prior, rho) + jacobian, theirs, atol=1e-10)


def test_any_batch_axes():
    rho = rho_draws(structure("unstr"), 3, Prior("LKJ", eta=2.0), 12, np.random.default_rng(3))
    flat = rho_logp(structure("unstr"), 3, Prior("LKJ", eta=2.0), rho)
    batched = rho_logp(structure("unstr"), 3, Prior("LKJ", eta=2.0), rho.reshape(3, 2, 6))
    np.testing.assert_array_equal(batched, flat.reshape(2, 6))
    assert rho_logp(structure("unstr"), 3, Prior("LKJ", eta=2.0), rho[:, 0]).shape == ()


def test_what_is_no_correlation_matrix_has_no_density():
    rho = np.array([[0.9, 1.2, 0.0], [0.9, 0.0, 0.0], [-0.9, 0.0, 0.0]])
    found = rho_logp(structure("unstr"), 3, Prior("LKJ", eta=2.0), rho)
    assert found[0] == found[1] == -np.inf
    assert np.isfinite(found[2])


def test_other_distributions():
    prior, rho = Prior("Uniform", lower=0, upper=1), np.array([[-0.1, 0.5]])
    assert rho_logp(structure("cs"), 3, prior, rho).tolist() == [-np.inf, 0.0]
    assert rho_draws(structure("cs"), 3, prior, 5, np.random.default_rng(1)).shape == (1, 5)
