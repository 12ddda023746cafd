"""The joint prior of a model: blocks of the density, draws, and that the two belong together."""

import numpy as np
import pytest
from scipy import stats

import bayesmeta as bm
from bayesmeta.priors.correlations import rho_logp
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import log_prior, prior_draws
from bayesmeta.priors.prior import Prior, Priors
from bayesmeta.structures.base import REGISTER
from tests.priors.test_defaults import S2, YEAR, model

SPEC = model("PD + AL ~ year", S2, random="1 | study/arm", psi={"study": "unstr", "arm": "cs"})
PRIORS = resolve(SPEC)


def test_shapes_and_blocks():
    beta, taus, rhos = prior_draws(PRIORS, SPEC, 7, random_seed=1)
    assert beta.shape == (7, 4)
    assert [tau.shape for tau in taus] == [(2, 7), (1, 7)]
    assert [rho.shape for rho in rhos] == [(1, 7), (1, 7)]
    blocks = log_prior(PRIORS, SPEC, beta, taus, rhos)
    assert list(blocks) == ["beta", "tau_study", "rho_study", "tau_arm", "rho_arm"]
    assert {block.shape for block in blocks.values()} == {(7,)}
    batched = log_prior(
        PRIORS, SPEC, np.stack([beta, beta]), [np.stack([t, t], 1) for t in taus], [np.stack([r, r], 1) for r in rhos]
    )
    for name, block in batched.items():
        np.testing.assert_array_equal(block, [blocks[name]] * 2)


def test_values_of_the_blocks():
    beta, taus, rhos = prior_draws(PRIORS, SPEC, 5, random_seed=2)
    blocks = log_prior(PRIORS, SPEC, beta, taus, rhos)
    at_mean = beta[:, :2] + YEAR.mean() * beta[:, 2:]
    expected = stats.norm(0, 1).logpdf(at_mean).sum(1) + stats.norm(0, 0.5 / YEAR.std()).logpdf(beta[:, 2:]).sum(1)
    np.testing.assert_allclose(blocks["beta"], expected, rtol=1e-9)
    np.testing.assert_allclose(blocks["tau_study"], stats.halfnorm(scale=0.5).logpdf(taus[0]).sum(0), rtol=1e-12)
    np.testing.assert_array_equal(
        blocks["rho_arm"], rho_logp(SPEC.levels[1].structure, 2, Prior("LKJ", eta=2), rhos[1])
    )


def test_draws_have_the_prior_that_is_stated():
    beta, taus, _ = prior_draws(PRIORS, SPEC, 20_000, random_seed=3)
    at_mean = beta[:, :2] + YEAR.mean() * beta[:, 2:]
    assert at_mean.std(0) == pytest.approx([1, 1], rel=0.03)
    assert taus[1].mean() == pytest.approx(0.5 * np.sqrt(2 / np.pi), rel=0.03)


def test_blocks_without_parameters_are_left_out():
    spec = model(psi=bm.structures.Fixed([[0.1]]))
    priors = resolve(spec)
    beta, taus, rhos = prior_draws(priors, spec, 3, random_seed=1)
    assert (taus[0].shape, rhos[0].shape) == ((0, 3), (0, 3))
    assert list(log_prior(priors, spec, beta, taus, rhos)) == ["beta"]


def test_no_draws_from_an_improper_prior():
    spec = model()
    with pytest.warns(bm.AssumptionWarning):
        priors = resolve(spec, Priors(beta=Prior("Flat")))
    with pytest.raises(bm.SpecError, match="improper"):
        prior_draws(priors, spec, 3)


def test_a_seed_makes_draws_repeatable():
    one, two, three = (prior_draws(PRIORS, SPEC, 3, seed)[0] for seed in (1, 1, 2))
    assert (one == two).all()
    assert (one != three).all()


@pytest.mark.parametrize("name", sorted(REGISTER))
def test_every_structure_has_a_prior(name):
    family = REGISTER[name]
    given = {"matrix": np.eye(3), "positions": [0, 1, 3]}
    psi = family(**{name: given[name] for name in family.arguments if name in given})
    spec = model("PD ~ year + dose", random="1 + year + dose | study", psi=psi)
    priors = resolve(spec)
    beta, taus, rhos = prior_draws(priors, spec, 6, random_seed=1)
    assert (taus[0].shape, rhos[0].shape) == ((psi.n_tau(3), 6), (psi.n_rho(3), 6))
    assert all(np.isfinite(block).all() for block in log_prior(priors, spec, beta, taus, rhos).values())
    psis = psi.compose(taus[0], rhos[0], 3)
    assert (np.linalg.eigvalsh(np.moveaxis(np.broadcast_to(psis, (3, 3, 6)), -1, 0)) > 0).all()
