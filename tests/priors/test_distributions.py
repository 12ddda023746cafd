"""Densities and draws of priors against PyMC and SciPy; checks of names and parameters."""

import numpy as np
import pymc as pm
import pytest
from scipy import stats
from scipy.integrate import quad

import bayesmeta as bm
from bayesmeta.priors.distributions import check, dist, draws, families, logp, logp_graph
from bayesmeta.priors.prior import Prior

TABLE = [
    (Prior("Normal", mu=1, sigma=2), stats.norm(1, 2)),
    (Prior("HalfNormal", sigma=0.5), stats.halfnorm(scale=0.5)),
    (Prior("HalfStudentT", nu=3, sigma=0.7), None),
    (Prior("HalfCauchy", beta=0.4), stats.halfcauchy(scale=0.4)),
    (Prior("Exponential", lam=2), stats.expon(scale=0.5)),
    (Prior("LogNormal", mu=-1, sigma=0.9), stats.lognorm(0.9, scale=np.exp(-1))),
    (Prior("InverseGamma", alpha=1.7, beta=0.4), stats.invgamma(1.7, scale=0.4)),
    (Prior("Gamma", alpha=2, beta=3), stats.gamma(2, scale=1 / 3)),
    (Prior("Uniform", lower=0, upper=2), stats.uniform(0, 2)),
    (Prior("StudentT", nu=4, mu=1, sigma=0.5), stats.t(4, 1, 0.5)),
    (Prior("TruncatedNormal", mu=0, sigma=1, lower=0), stats.halfnorm()),
    (Prior("Rice", nu=1, sigma=2), stats.rice(0.5, scale=2)),
    (Prior("Moyal", mu=1, sigma=2), stats.moyal(1, 2)),
    (Prior("LogStudentT", nu=5, mu=-1.72, sigma=1.295), None),
]
X = np.array([[-2.0, -1e-9, 0.1], [0.5, 1.0, 3.0]])


@pytest.mark.parametrize(("prior", "scipy"), TABLE, ids=lambda v: str(v) if isinstance(v, Prior) else "")
def test_density_and_draws(prior, scipy):
    check(prior)
    found = logp(prior, X)
    assert found.shape == X.shape
    if scipy is not None:
        # PyMC holds the constant of the half-Cauchy in single precision
        np.testing.assert_allclose(found, scipy.logpdf(X), rtol=1e-8 if prior.name == "HalfCauchy" else 1e-12)
    mass, _ = quad(lambda x: float(np.exp(logp(prior, x))), -np.inf, 0)
    drawn = draws(prior, (2, 5000), np.random.default_rng(2))
    assert drawn.shape == (2, 5000)
    assert (drawn < 0).mean() == pytest.approx(mass, abs=0.02)
    q = np.quantile(drawn, 0.7)
    above = scipy.sf(q) if scipy is not None else quad(lambda x: float(np.exp(logp(prior, x))), q, np.inf)[0]
    assert above == pytest.approx(0.3, abs=0.02)


@pytest.mark.parametrize("prior", [row[0] for row in TABLE], ids=str)
def test_density_is_that_of_the_graph(prior):
    x = np.array([0.1, 0.7, 1.9])
    # PyMC holds log 2 and log pi of folded distributions in single precision, a constant that no sampler sees
    constant = 3e-8 if prior.name in ("HalfStudentT", "HalfCauchy") else 0.0
    np.testing.assert_allclose(logp(prior, x), logp_graph(prior, x).eval(), rtol=1e-9, atol=constant)


def test_log_student_is_a_student_t_of_the_logarithm():
    prior, x = Prior("LogStudentT", nu=5, mu=-1.72, sigma=1.295), np.array([1e-6, 0.2, 5.0])
    np.testing.assert_allclose(logp(prior, x), stats.t(5, -1.72, 1.295).logpdf(np.log(x)) - np.log(x), rtol=1e-12)
    assert (logp(prior, [-1.0, -1e-8]) == -np.inf).all()


def test_draws_depend_on_the_generator_alone():
    for prior, _ in TABLE:
        one, two = (draws(prior, 3, np.random.default_rng(7)) for _ in range(2))
        assert (one == two).all()
        assert (one != draws(prior, 3, np.random.default_rng(8))).all()
        rng = np.random.default_rng(7)
        assert (draws(prior, 3, rng) != draws(prior, 3, rng)).all()


def test_a_log_student_can_stand_in_a_model():
    with pm.Model() as model:
        model.register_rv(
            dist(Prior("LogStudentT", nu=5, mu=0, sigma=1)), "tau", transform=pm.distributions.transforms.log
        )
    # at tau = 1: t_5 density at 0, and a Jacobian of 1
    assert model.compile_logp()({"tau_log__": np.array(0.0)}) == pytest.approx(stats.t(5).logpdf(0))


def test_flat_has_a_density_and_no_draws():
    assert (logp(Prior("Flat"), X) == 0).all()
    with pytest.raises(bm.SpecError, match="Flat is improper"):
        draws(Prior("Flat"), 3, np.random.default_rng(1))


def test_families_are_continuous_and_univariate():
    assert {"Normal", "HalfNormal", "Flat", "LogNormal"} <= set(families())
    assert not {"Poisson", "MvNormal", "LKJCorr", "Interpolated", "Continuous", "PositiveContinuous"} & set(families())


@pytest.mark.parametrize(
    ("prior", "message"),
    [
        (Prior("HalfNorml", sigma=1), "unknown distribution 'HalfNorml'; did you mean 'HalfNormal'"),
        (Prior("halfnormal", sigma=1), "unknown distribution"),
        (Prior("Model", sigma=1), "unknown distribution"),
        (Prior("Poisson", mu=1), "prior Poisson is discrete"),
        (Prior("MvNormal", mu=1), "not a univariate"),
        (Prior("HalfNormal", sgima=1), "no parameter 'sgima'; did you mean 'sigma'"),
        (Prior("HalfNormal", size=3), "no parameter 'size'"),
        (Prior("HalfNormal"), "has no parameters; it takes sigma, tau"),
        (Prior("Flat", mu=0), "Flat has no parameter 'mu'"),
        (Prior("HalfNormal", sigma=-1), r"HalfNormal\(sigma=-1\) is not a valid distribution: sigma > 0"),
        (Prior("HalfNormal", sigma=1, tau=1), "not a valid distribution"),
        (Prior("Gamma", alpha=1), "not a valid distribution"),
        (Prior("HalfCauchy", beta=0), "not a valid distribution"),
        (Prior("Uniform", lower=2, upper=1), "has no support: lower must be less than upper"),
        (Prior("StudentT", mu=0, sigma=1), "not a valid distribution"),
        (Prior("LKJ"), "needs eta"),
        (Prior("LKJ", eta=0), "eta must be positive"),
        (Prior("LKJ", n=2, eta=1), "LKJ has no parameter 'n'"),
        (Prior("LogStudentT", nu=5, mu=0), "needs sigma"),
        (Prior("LogStudentT", nu=5, mu=0, sigma=-1), "sigma must be positive"),
    ],
    ids=str,
)
def test_wrong_priors_are_refused(prior, message):
    with pytest.raises(bm.SpecError, match=message):
        check(prior)


def test_lkj_is_no_univariate_distribution():
    with pytest.raises(bm.SpecError, match="LKJ is a prior of correlations"):
        dist(Prior("LKJ", eta=2))
