"""From coefficients of places to curves, minima and attributable numbers: those of R's mixmeta, dlnm and attrdl."""

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm

FORMULA = "coef1 + coef2 + coef3 + coef4 + coef5 ~ lat"
BASIS = bm.basis("bs(t, knots=[4, 12, 20], degree=2, boundary_knots=[-8, 28])", {"t": [-8.0, 28.0]})
GRID = np.linspace(-8, 28, 181)


@pytest.fixture(scope="module")
def known(reference):
    return reference("two_stage/curves")


def places(known: dict) -> tuple[pd.DataFrame, np.ndarray]:
    first = {f"place {i}": pair for i, pair in enumerate(zip(known["coef"], known["S"], strict=True))}
    return bm.from_first_stage(first, data=pd.DataFrame({"lat": known["lat"]}, index=list(first)))


@pytest.fixture(scope="module")
def at_their_psi(known):
    data, S = places(known)
    psi = bm.structures.Fixed(np.array(known["Psi"]))
    return bm.fit(bm.specify(FORMULA, data, S=S, random="1 | place", psi=psi))


def test_our_search_ends_no_lower(known):
    data, S = places(known)
    tree = bm.fit(bm.specify(FORMULA, data, S=S, random="1 | place"))
    assert -1e-6 < tree["criteria"]["loglik"].item() - known["loglik"] < 1e-3


def test_pooled_curves(known, at_their_psi):
    assert at_their_psi["criteria"]["loglik"].item() == pytest.approx(known["loglik"], abs=1e-8)
    pooled = bm.predict(at_their_psi, {"lat": [45.0, 55.0]}, covariance=True)
    curves = bm.curve(pooled, BASIS, GRID, scale="ratio", random_seed=1)
    for i, theirs in enumerate(known["predictions"].values()):
        np.testing.assert_allclose(pooled["mean"][i], theirs["fit"], rtol=1e-8)
        np.testing.assert_allclose(pooled["covariance"][i], theirs["vcov"], rtol=1e-7, atol=1e-12)
        assert float(curves["minimum"][i]) == pytest.approx(theirs["min"])
        for ours, name in (("mean", "rr"), ("lower", "low"), ("upper", "high")):
            np.testing.assert_allclose(curves[ours][i, ::20], theirs[name], rtol=1e-8, err_msg=name)


def test_blups_minima_and_attributable_numbers(known, at_their_psi):
    blup = bm.blup(at_their_psi, se="paper", covariance="joint")
    curves = bm.curve(blup, BASIS, GRID, random_seed=1)
    labels = blup["row"].values.tolist()
    exposure, cases = (dict(zip(labels, known[name], strict=True)) for name in ("exposure", "cases"))
    minimum = curves["minimum"]
    for i, theirs in enumerate(known["places"]):
        np.testing.assert_allclose(blup["mean"][i], theirs["blup"], rtol=1e-8, atol=1e-10)
        np.testing.assert_allclose(blup["covariance"][i], theirs["vcov"], rtol=1e-6, atol=1e-11)
        assert float(minimum[i]) == pytest.approx(theirs["min"])
        one, row = blup.isel(row=[i], row_bis=[i]), labels[i]
        lowest = float(minimum[i])
        for name, between in (("all", None), ("heat", (lowest, 100.0)), ("cold", (-100.0, lowest))):
            made = bm.attributable(one, BASIS, {row: exposure[row]}, {row: cases[row]}, lowest, between, draws=2)
            assert float(made["number"][0]) == pytest.approx(theirs[name], rel=1e-8, abs=1e-9), (i, name)
    whole = bm.attributable(blup, BASIS, exposure, cases, minimum, draws=10, random_seed=1)
    assert float(whole["number"][-1]) == pytest.approx(sum(theirs["all"] for theirs in known["places"]), rel=1e-8)
