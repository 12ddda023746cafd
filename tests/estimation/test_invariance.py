"""The scale of the data, the order of rows and the names of groups change nothing but units."""

import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm
from bayesmeta.structures import REGISTER

R = np.array([[1.0, 0.4, 0.1], [0.4, 1.0, 0.3], [0.1, 0.3, 1.0]])
OF_ANY_SCALE = ("unstr", "diag", "hcs", "har1", "cor")  # of which SDs are free, so that a slope's unit does not matter
SHIPPED = ("unstr", "diag", "id", "cs", "hcs", "ar1", "har1", "prop", "cor")
scales = st.sampled_from([1e-6, 1e-3, 1e3, 1e6])
seeds = st.integers(0, 2**16)


def structure(name: str, dim: int, factor: float = 1.0) -> Any:
    return REGISTER[name](factor * R[:dim, :dim]) if REGISTER[name].arguments else name  # type: ignore[call-arg]


def table(seed: int, n: int = 24) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    data = pd.DataFrame({"g": rng.integers(0, 8, n), "x": rng.normal(size=n)})
    effects = rng.normal(size=(8, 2)) * 0.7
    noise = rng.normal(size=(n, 2)) * np.sqrt([0.1, 0.2])
    data["a"], data["b"] = (effects[data.g] + noise).T
    data["slope"] = data.a + data.x * rng.normal(size=8)[data.g]
    return data.assign(va=0.1, vb=0.2, cab=0.05)


def fit(data: pd.DataFrame, psi: Any, formula: str = "a + b ~ 1", random: str = "1 | g", **options: Any) -> Any:
    S = ["va", "cab", "vb"] if "+ b" in formula else "va"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bm.fit(bm.specify(formula, data, S=S, random=random, psi=psi), **options)


def loglik(tree: Any) -> float:
    return float(tree["criteria"]["loglik"])


@settings(max_examples=2)
@pytest.mark.parametrize("name", SHIPPED)
@given(seed=seeds, c=scales)
def test_effects_and_S_scaled_together(name: str, seed: int, c: float) -> None:
    data = table(seed)
    scaled = data.assign(a=data.a * c, b=data.b * c, va=data.va * c * c, vb=data.vb * c * c, cab=data.cab * c * c)
    one, other = fit(data, structure(name, 2)), fit(scaled, structure(name, 2))
    nobs = int(one["criteria"]["nobs"])
    assert loglik(other) + nobs * np.log(c) == pytest.approx(loglik(one), abs=1e-7)
    np.testing.assert_allclose(other["estimate"]["beta"] / c, one["estimate"]["beta"], atol=1e-5)
    np.testing.assert_allclose(other["estimate"]["psi_g"] / c**2, one["estimate"]["psi_g"], atol=1e-4)


@settings(max_examples=2)
@pytest.mark.parametrize("name", OF_ANY_SCALE)
@given(seed=seeds, c=scales)
def test_a_predictor_scaled_in_the_random_part(name: str, seed: int, c: float) -> None:
    data = table(seed)
    how = {"formula": "slope ~ x", "random": "1 + x | g"}
    one, other = fit(data, structure(name, 2), **how), fit(data.assign(x=data.x * c), structure(name, 2), **how)
    assert loglik(other) == pytest.approx(loglik(one), abs=1e-6)
    np.testing.assert_allclose(other["estimate"]["tau_g"] * [1, c], one["estimate"]["tau_g"], atol=1e-4)


@settings(max_examples=2)
@pytest.mark.parametrize("name", SHIPPED)
@given(seed=seeds)
def test_rows_and_groups_in_another_order(name: str, seed: int) -> None:
    data, rng = table(seed), np.random.default_rng(seed)
    names = rng.permutation(8)
    mixed = data.iloc[rng.permutation(len(data))].assign(g=lambda d: names[d.g])
    assert loglik(fit(mixed, structure(name, 2))) == pytest.approx(loglik(fit(data, structure(name, 2))), abs=1e-8)


@settings(max_examples=2)
@pytest.mark.parametrize("name", ["unstr", "diag", "id", "cs", "hcs", "ar1", "har1"])
@given(seed=seeds)
def test_two_outcomes_exchanged(name: str, seed: int) -> None:
    data = table(seed)
    turned = data.rename(columns={"a": "b", "b": "a", "va": "vb", "vb": "va"})
    one, other = fit(data, name, method="ml"), fit(turned, name, method="ml")
    assert loglik(other) == pytest.approx(loglik(one), abs=1e-8)
