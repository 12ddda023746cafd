"""Given priors against the model: unknown names, parameters that are not there, supports."""

import pytest

import bayesmeta as bm
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.prior import Prior, Priors, half_cauchy, half_normal, half_t, rhodes, turner
from tests.priors.test_defaults import S2, model

LKJ = Prior("LKJ", eta=3)
TWO = {"formula": "PD ~ year", "random": "1 + year | study"}
THREE = {"formula": "PD ~ year + dose", "random": "1 + year + dose | study"}


def found(priors, **options):
    return resolve(model(**options), Priors(**priors))


def test_priors_by_level_and_effect():
    tau = {"study": {"year": half_normal(0.1)}}
    (level,) = found({"tau": tau, "rho": {"study": LKJ}}, **TWO).levels
    assert (level.tau_default, level.tau[1]) == ((True, False), half_normal(0.1))
    assert (level.rho, level.rho_default) == (LKJ, False)
    outer, inner = found({"tau": {"arm": half_t(1)}}, random="1 | study/arm").levels
    assert (outer.tau_default, inner.tau) == ((True,), (half_t(1),))


def test_one_prior_for_all():
    levels = found({"tau": half_cauchy(1), "beta": Prior("Laplace", mu=0, b=1)}, random="1 | study/arm").levels
    assert [level.tau for level in levels] == [(half_cauchy(1),)] * 2


def test_one_prior_passes_levels_without_such_a_parameter():
    psi = {"study": "unstr", "arm": bm.structures.Fixed([[0.1]])}
    levels = found({"tau": half_normal(1)}, random="1 | study/arm", psi=psi).levels
    assert [len(level.tau) for level in levels] == [1, 0]


SDS = [
    *(turner(), half_t(1)),
    pytest.param(rhodes(), marks=pytest.mark.filterwarnings("ignore:.*of Rhodes et al")),  # not of odds ratios
    Prior("Uniform", lower=0, upper=2),
    Prior("Gamma", alpha=1, beta=1),
    Prior("TruncatedNormal", mu=1, sigma=1, lower=0),
    Prior("InverseGamma", alpha=1, beta=1),
    Prior("Exponential", lam=1),
]


@pytest.mark.parametrize("prior", SDS, ids=str)
def test_priors_of_an_sd(prior):
    assert found({"tau": prior}).levels[0].tau == (prior,)


@pytest.mark.parametrize(
    ("priors", "options", "message"),
    [
        ({"beta": {"yaer": half_normal(1)}}, TWO, "no coefficient 'yaer'; did you mean 'year'.*\n.*year"),
        ({"tau": {"studi": half_normal(1)}}, TWO, "no level 'studi'; did you mean 'study'.*\n.*study"),
        ({"tau": {"study": {"dose": half_normal(1)}}}, TWO, "no random effect 'dose'.*\n.*Intercept, year"),
        ({"rho": {"studi": LKJ}}, TWO, "no level 'studi'"),
        ({"tau": {"study": {"year": half_normal(1)}}}, TWO | {"psi": "cs"}, "structure 'cs' has one SD for all"),
        ({"rho": {"study": LKJ}}, TWO | {"psi": "diag"}, "structure 'diag' of 2 random effects has no rho"),
        ({"rho": LKJ}, TWO | {"psi": "diag"}, "rho has a prior, but the model has no rho"),
        ({"rho": LKJ}, {}, "the model has no rho; structures: unit 'unstr'"),
        ({"tau": half_normal(1)}, {"psi": bm.structures.Fixed([[1.0]])}, "the model has no tau"),
        ({"tau": {"unit": half_normal(1)}}, {"psi": bm.structures.Fixed([[1.0]])}, "has no tau"),
        ({"beta": LKJ}, {}, r"prior of beta\[Intercept\] is LKJ"),
        ({"beta": Prior("HalfFlat")}, {}, "is HalfFlat; for a coefficient"),
        ({"beta": Prior("Normal", mean=0)}, {}, r"beta\[Intercept\]: Normal has no parameter 'mean'"),
        ({"tau": Prior("Flat")}, {}, "is Flat, which is improper\n.*HalfNormal"),
        ({"tau": Prior("Flat")}, {}, "is Flat, which is improper"),
        ({"tau": LKJ}, {}, "is a prior of correlations"),
        ({"tau": Prior("HalfNormal", sigma=-1)}, {}, "sigma > 0"),
        ({"tau": Prior("Poisson", mu=1)}, {}, r"tau\[unit, Intercept\]: prior Poisson is discrete"),
        ({"tau": Prior("Normal", mu=0, sigma=1)}, {}, "wrong support: an SD cannot be negative"),
        ({"tau": Prior("Normal", mu=1e3, sigma=1)}, {}, "wrong support"),
        ({"tau": Prior("Uniform", lower=-5.1, upper=-5)}, {}, "wrong support"),
        ({"tau": Prior("Uniform", lower=-0.01, upper=5)}, {}, "wrong support"),
        ({"rho": Prior("Flat")}, TWO, "which is improper"),
        ({"rho": Prior("Normal", mu=0, sigma=1)}, TWO, "lie between -1 and 1"),
        ({"rho": Prior("Uniform", lower=-1, upper=1)}, THREE | {"psi": "cs"}, "lie between -0.5 and 1"),
        ({"rho": Prior("Uniform", lower=0, upper=1.001)}, TWO | {"psi": "ar1"}, "wrong support"),
        ({"rho": Prior("Uniform", lower=0, upper=1)}, THREE, r"'unstr' has 3 correlations.*\n.*LKJ"),
        ({"rho": Prior("LKJ", eta=-1)}, TWO, r"rho\[study\]: prior LKJ\(eta=-1\) is not a valid distribution"),
    ],
)
def test_what_is_refused(priors, options, message):
    with pytest.raises(bm.SpecError, match=message):
        found(priors, **options)


@pytest.mark.parametrize(("psi", "low"), [("cs", -0.5), ("hcs", -0.5), ("ar1", -1), ("har1", -1)])
def test_other_priors_of_one_correlation(psi, low):
    prior = Prior("Uniform", lower=low, upper=1)
    assert found({"rho": prior}, **THREE, psi=psi).levels[0].rho == prior


def test_a_beta_prior_of_the_correlation_of_two_outcomes():
    prior = Prior("Beta", alpha=2, beta=2)
    assert found({"rho": prior}, formula="PD + AL ~ 1", S=S2).levels[0].rho == prior
