"""Priors as records: equality, plain form, printing, distributions of PreliZ, ready-made ones."""

import copy
import json
import pickle
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.priors.prior import Prior, Priors, as_prior

FINITE = st.floats(allow_nan=False, allow_infinity=False)


@given(st.dictionaries(st.sampled_from(["mu", "sigma", "nu", "name"]), FINITE))
def test_plain_form_goes_there_and_back(params):
    prior = Prior("Normal", **params)
    again = Prior.from_json(json.loads(json.dumps(prior.to_json())))
    assert again == prior
    assert hash(again) == hash(prior)
    assert copy.deepcopy(prior) == prior
    assert pickle.loads(pickle.dumps(prior)) == prior


def test_equality_is_by_value_and_blind_to_order():
    assert Prior("Normal", mu=0, sigma=1) == Prior("Normal", sigma=np.float32(1), mu=0.0)
    assert len({Prior("Normal", mu=0, sigma=1), Prior("Normal", sigma=1, mu=0)}) == 1
    assert Prior("Normal", mu=0, sigma=1) != Prior("Normal", mu=0, sigma=2)
    assert Prior("Normal", mu=0, sigma=1) != Prior("Laplace", mu=0, sigma=1)
    assert Prior("Flat") != "Flat"


def test_printing():
    prior = Prior("HalfNormal", sigma=1 / 3)
    assert str(prior) == "HalfNormal(sigma=0.3333)"
    assert repr(prior) == "HalfNormal(sigma=0.333333333333)"
    assert repr(Prior("Flat")) == "Flat()"


def test_a_prior_is_frozen():
    with pytest.raises(AttributeError, match="frozen"):
        Prior("Flat").name = "Normal"
    prior = Prior("HalfNormal", sigma=1)
    prior.params["sigma"] = 2
    assert prior.params == {"sigma": 1.0}


@pytest.mark.parametrize("value", [np.nan, np.inf, "1", None, True, [1.0], 1j])
def test_parameters_are_finite_numbers(value):
    with pytest.raises(bm.SpecError, match=r"sigma of the prior HalfNormal is .*; it must be a finite number"):
        Prior("HalfNormal", sigma=value)


def test_a_name_is_text():
    with pytest.raises(bm.SpecError, match="name of a prior is 3; it must be that of a distribution"):
        Prior(3)


class FromPreliz:
    """What PreliZ's distributions look like from outside."""

    def __init__(self, **params):
        self.params_dict = params


HalfNormal = type("HalfNormal", (FromPreliz,), {"__module__": "preliz.distributions.halfnormal"})
TruncatedNormal = type("TruncatedNormal", (FromPreliz,), {"__module__": "preliz.distributions.truncatednormal"})


def test_distributions_of_preliz_stand_for_priors():
    assert as_prior(HalfNormal(sigma=0.5), "tau") == Prior("HalfNormal", sigma=0.5)
    half_open = TruncatedNormal(mu=0.0, sigma=1.0, lower=0.0, upper=np.inf)
    assert as_prior(half_open, "tau") == Prior("TruncatedNormal", mu=0, sigma=1, lower=0)
    assert Priors(tau={"unit": HalfNormal(sigma=0.5)}).tau == {"unit": Prior("HalfNormal", sigma=0.5)}


def test_a_distribution_of_preliz_without_numbers_is_refused():
    with pytest.raises(bm.SpecError, match="sigma of the prior HalfNormal is None"):
        as_prior(HalfNormal(sigma=None), "tau")


@pytest.mark.parametrize(
    ("given", "what"),
    [
        ({"beta": 0.5}, "beta"),
        ({"tau": {"study": 0.5}}, r"tau\[study\]"),
        ({"tau": {"study": {"Intercept": "HalfNormal"}}}, r"tau\[study\]\[Intercept\]"),
        ({"rho": {"study": {"a": Prior("LKJ", eta=1)}}}, r"rho\[study\]"),
        ({"tau": [Prior("HalfNormal", sigma=1)]}, "tau"),
    ],
)
def test_priors_hold_nothing_but_priors(given, what):
    with pytest.raises(bm.SpecError, match=rf"prior of {what} is .*; expected a bm.Prior"):
        Priors(**given)


def test_priors_do_not_follow_the_callers_dict():
    tau = {"study": {"Intercept": Prior("HalfNormal", sigma=1)}}
    priors = Priors(tau=tau)
    tau["study"]["Intercept"] = None
    assert priors == Priors(tau={"study": {"Intercept": Prior("HalfNormal", sigma=1)}})


def test_none_inside_a_dict_means_the_default():
    assert Priors(beta={"x": None}) == Priors(beta={})


def test_ready_made():
    assert bm.priors.half_normal(0.5) == Prior("HalfNormal", sigma=0.5)
    assert bm.priors.half_t(0.5, df=4) == Prior("HalfStudentT", nu=4, sigma=0.5)
    assert bm.priors.half_cauchy(2) == Prior("HalfCauchy", beta=2)


@pytest.mark.parametrize("make", [bm.priors.half_normal, bm.priors.half_t, bm.priors.half_cauchy])
@pytest.mark.parametrize("scale", [0, -1, np.nan, np.inf, "1", None, True])
def test_scales_are_positive(make, scale):
    with pytest.raises(bm.SpecError, match=r"scale is .*; it must be a finite number greater than 0"):
        make(scale)


def test_import_is_light():
    code = "import bayesmeta, bayesmeta.priors, sys; bayesmeta.Prior; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {"pymc", "pytensor", "pandas", "xarray", "scipy.stats"}
