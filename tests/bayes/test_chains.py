"""Whether chains are to be trusted, told from chains of which that is known."""

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.bayes.chains import alarms, diagnosed, diagnostics, worst
from tests.support.edited import unhashed

RNG = np.random.default_rng(8)


def tree(**found) -> xr.DataTree:
    good = {"r_hat": [1.001, 1.002], "ess_bulk": [900.0, 800.0], "ess_tail": [700.0, 850.0]} | found
    table = xr.Dataset(
        {name: ("parameter", good[name]) for name in ("r_hat", "ess_bulk", "ess_tail")}
        | {"divergences": ((), found.get("divergences", 0)), "max_treedepth_hits": ((), 0)},
        {"parameter": pd.Index(["beta[a]", "tau[b]"], dtype=object)},
    )
    fit = bm.fit(bm.specify("y ~ 1", {"y": [0.1, 0.4], "v": [0.2, 0.3]}, S="v"), "fixed")
    fit[schema.DIAGNOSTICS] = xr.DataTree(table)
    return unhashed(fit)


def test_independent_draws_are_worth_their_number():
    r_hat, bulk, tail = diagnosed(RNG.normal(size=(4, 1000)))
    assert r_hat == pytest.approx(1, abs=0.01)
    assert bulk == pytest.approx(4000, rel=0.15)
    assert tail == pytest.approx(4000, rel=0.2)


def test_correlated_draws_are_worth_less():
    chains = np.zeros((4, 4000))
    for t in range(1, 4000):
        chains[:, t] = 0.5 * chains[:, t - 1] + RNG.normal(size=4)
    assert diagnosed(chains)[1] == pytest.approx(16000 * 0.5 / 1.5, rel=0.15)


def test_chains_in_different_places_do_not_agree():
    assert diagnosed(RNG.normal(size=(4, 500)) + np.arange(4)[:, None])[0] > 1.2


def test_one_chain_has_no_r_hat_and_constant_chains_have_nothing():
    assert np.isnan(diagnosed(RNG.normal(size=(1, 500)))[0])
    assert np.isnan(diagnosed(np.ones((4, 500)))).all()
    assert np.isnan(diagnosed(RNG.normal(size=(4, 2)))).all()


def test_what_the_sampler_says_is_counted():
    stats = {"diverging": xr.DataArray(np.array([[True, False], [True, True]]))}
    found = diagnostics({"beta[a]": RNG.normal(size=(2, 2))}, stats)
    assert int(found["divergences"]) == 3
    assert int(found["max_treedepth_hits"]) == 0
    assert found["parameter"].values.tolist() == ["beta[a]"]


def test_good_chains_give_no_alarm():
    assert alarms(tree()) == []


@pytest.mark.parametrize(
    ("found", "what", "remedy"),
    [
        ({"r_hat": [1.0, 1.02]}, "R-hat 1.020 of tau[b]", "tune="),
        ({"ess_tail": [399.0, 850.0]}, "effective sample size 399 of beta[a]", "draws="),
        ({"ess_bulk": [900.0, 12.0]}, "effective sample size 12 of tau[b]", "draws="),
        ({"divergences": 1}, "1 DIVERGENCE", "target_accept="),
    ],
)
def test_bad_chains_give_an_alarm_that_says_what_to_do(found, what, remedy):
    (sentence,) = alarms(tree(**found))
    assert what in sentence
    assert remedy in sentence


def test_worst_of_nothing():
    values = xr.DataArray([np.nan], dims="parameter", coords={"parameter": ["a"]}, name="r_hat")
    assert worst(values)[0] == ""
