"""`sample` against posteriors known by numerical integration, in Monte Carlo standard errors of 4 x 5,000 draws.

One seed here; twenty in `python -m tests.benchmarks.exact`.
"""

import numpy as np
import pytest

import bayesmeta as bm
from bayesmeta.bayes.sample import sample
from tests.benchmarks.exact import FAR, FILES, TAU, Problem, z_scores


@pytest.fixture(scope="module", params=FILES)
def problem(request, reference, table) -> Problem:
    known = reference(f"bayes/{request.param}")
    # not `bm.datasets`: the reference was computed from the single precision of this file
    return Problem.of(known, table(known["data"]))


def test_moments_and_quantiles_are_exact(problem):
    found = [distance for prior in problem.exact for distance in problem.distances(prior, seed=1)]
    expected = {"tau", "beta"} if "beta" in next(iter(problem.exact.values())) else {"tau", "mu", "theta", "theta_new"}
    assert {d.quantity.rsplit(" ", 1)[0].partition("[")[0] for d in found} == expected
    assert {d.prior for d in found} == set(problem.exact)
    assert not [d for d in found if not abs(d.z) < FAR]


def test_every_prior_of_tau_is_looked_at(reference):
    assert set(reference("bayes/bcg_logor")["tau_priors"]) == set(TAU)


def test_predict_and_blup_are_exact(reference, table):
    """What users call, from the tree of `sample`."""
    known = reference("bayes/bcg_logor")
    spec = bm.specify("logor ~ 1", table("bcg"), S="logorvar")
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=2), tau=TAU["halfnormal_0.5"])
    tree = sample(spec, priors, draws=5000, random_seed=2, sampler="nutpie", progress=False)
    exact, posterior = known["tau_priors"]["halfnormal_0.5"], tree["posterior"]
    theta = posterior["beta"].to_numpy() + tree["random_effects"]["b_unit"].to_numpy()[..., 0]
    blup = bm.blup(tree)
    for j, study in enumerate(theta.transpose(2, 0, 1)):
        assert blup["mean"][j].item() == pytest.approx(study.mean(), rel=1e-12)
        assert blup["se"][j].item() == pytest.approx(study.std(ddof=1), rel=1e-12)
    z = dict(z_scores("theta", theta, exact["theta"], known["probabilities"]))
    assert len(z) == 3 * len(theta[0, 0])
    assert max(map(abs, z.values())) < FAR
    n_eff = float(tree["diagnostics"]["ess_bulk"].min())  # new effects are independent given beta and tau
    for lower, upper, prob in ((0, -1, 0.95), (1, -2, 0.9), (2, -3, 0.5)):
        new = bm.predict(tree, interval="prediction", prob=prob).isel(row=0)
        for end, place in (("lower", lower), ("upper", upper)):
            # density at a quantile, from the neighbouring exact quantiles
            value, p = exact["theta_new"]["quantiles"][place], known["probabilities"][place]
            near = slice(place, place + 2) if end == "lower" else slice(place - 1, (place + 1) or None)
            density = np.ptp(known["probabilities"][near]) / np.ptp(exact["theta_new"]["quantiles"][near])
            assert abs(new[end].item() - value) < FAR * np.sqrt(p * (1 - p) / n_eff) / density
    assert new["se"].item() == pytest.approx(exact["theta_new"]["sd"], rel=0.03)
