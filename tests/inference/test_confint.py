"""Confidence intervals: Wald as the summary has them, Q-profile against its definition and the published ones."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree.parameters import parameters

STATISTICS = ["estimate", "se", "lower", "upper"]


def bcg(formula: str = "logor ~ 1", method: str = "reml", **given: Any) -> xr.DataTree:
    return bm.fit(bm.specify(formula, bm.datasets.load("bcg"), S="logorvar", **given), method)


@pytest.fixture(scope="module")
def bivariate() -> xr.DataTree:
    return bm.fit(bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=["var_PD", "cov_PD_AL", "var_AL"]))


def alike() -> pd.DataFrame:
    return pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1, 0.1], "v": 0.04})


@pytest.mark.parametrize("prob", [0.5, 0.95])
def test_wald_intervals_are_those_of_the_summary(bivariate: xr.DataTree, prob: float) -> None:
    found, expected = bm.confint(bivariate, prob=prob, df="z"), parameters(bivariate, prob)
    assert found["parameter"].values.tolist() == list(expected.index)
    assert found["kind"].values.tolist() == ["beta", "beta", "tau", "tau", "rho"]
    np.testing.assert_array_equal(found.to_dataframe()[STATISTICS], expected[STATISTICS].astype(float))
    assert found.attrs["method"] == "wald"
    assert found.attrs["prob"] == prob


def test_choosing_parameters(bivariate: xr.DataTree) -> None:
    assert bm.confint(bivariate, parameters="rho")["parameter"].values.tolist() == ["rho[unit, PD~AL]"]
    several = bm.confint(bivariate, parameters=["tau", "beta[AL.Intercept]"])["parameter"].values.tolist()
    assert several == ["beta[AL.Intercept]", "tau[unit, PD]", "tau[unit, AL]"]
    with pytest.raises(bm.SpecError, match=r"no parameter 'tau\[PD\]'"):
        bm.confint(bivariate, parameters="tau[PD]")
    with pytest.raises(bm.SpecError, match="no parameter 'Tau2'; it is called 'tau2'"):
        bm.confint(bcg(), "qprofile", parameters=["Tau2"])


def test_published_intervals(reference: Callable[[str], Any], table: Callable[[str], pd.DataFrame]) -> None:
    expected = reference("metafor/tau2_ci_bcg")
    data = table("bcg")
    found = bm.confint(bm.fit(bm.specify("logor ~ 1", data, S="logorvar")), "qprofile")
    assert found["parameter"].values.tolist() == ["tau2[unit, Intercept]", "tau[unit, Intercept]", "I2", "H2"]
    frame = found.to_dataframe()[["estimate", "lower", "upper"]]
    np.testing.assert_allclose(frame, expected["q_profile"], rtol=1e-4)


def naive_Q(spec: bm.Spec, tau2: float) -> float:
    W = np.diag(1 / (spec.S.variances + tau2))
    P = W - W @ spec.X @ np.linalg.inv(spec.X.T @ W @ spec.X) @ spec.X.T @ W
    y = spec.y - spec.offset
    return float(y @ P @ y)


def lower_tail(Q: float, df: int) -> float:
    return float(mpmath.gammainc(mpmath.mpf(df) / 2, 0, mpmath.mpf(Q) / 2, regularized=True))


@pytest.mark.parametrize("prob", [0.8, 0.95, 0.99])
@pytest.mark.parametrize("formula", ["logor ~ 1", "logor ~ ablat"])
@pytest.mark.parametrize("scale", [1.0, 1e-4])
def test_bounds_solve_the_generalised_q(formula: str, prob: float, scale: float) -> None:
    data = bm.datasets.load("bcg").assign(shift=lambda d: np.cos(np.arange(len(d))) * scale)
    data["logor"] *= scale
    data["logorvar"] *= scale**2
    spec = bm.specify(formula, data, S="logorvar", offset="shift")
    found = bm.confint(bm.fit(spec), "qprofile", "tau2", prob)
    df = len(spec.y) - len(spec.coef)
    assert lower_tail(naive_Q(spec, found["lower"].item()), df) == pytest.approx(0.5 + prob / 2, abs=1e-8)
    assert lower_tail(naive_Q(spec, found["upper"].item()), df) == pytest.approx(0.5 - prob / 2, abs=1e-8)


def test_the_four_are_one_interval_on_four_scales() -> None:
    frame = bm.confint(bcg("logor ~ ablat"), "qprofile").to_dataframe()
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar")
    W = np.diag(1 / spec.S.variances)
    P = W - W @ spec.X @ np.linalg.inv(spec.X.T @ W @ spec.X) @ spec.X.T @ W
    typical = (len(spec.y) - 2) / np.trace(P)
    for column in ("estimate", "lower", "upper"):
        tau2 = frame.loc["tau2[unit, Intercept]", column]
        assert frame.loc["tau[unit, Intercept]", column] ** 2 == pytest.approx(tau2, rel=1e-12)
        assert frame.loc["I2", column] == pytest.approx(100 * tau2 / (tau2 + typical), rel=1e-9)
        assert frame.loc["H2", column] == pytest.approx(1 + tau2 / typical, rel=1e-9)
    tau2, step = frame.loc["tau2[unit, Intercept]", "estimate"], 1e-6
    slope = 100 * ((tau2 + step) / (tau2 + step + typical) - (tau2 - step) / (tau2 - step + typical)) / (2 * step)
    assert frame.loc["I2", "se"] == pytest.approx(slope * frame.loc["tau2[unit, Intercept]", "se"], rel=1e-6)
    assert frame.loc["H2", "se"] == pytest.approx(frame.loc["tau2[unit, Intercept]", "se"] / typical, rel=1e-9)


def test_bounds_do_not_depend_on_the_estimator() -> None:
    bounds = [bm.confint(bcg(method=m), "qprofile")[["lower", "upper"]] for m in ("reml", "dl", "mm", "fixed")]
    for other in bounds[1:]:
        xr.testing.assert_allclose(other.drop_attrs(), bounds[0].drop_attrs(), rtol=1e-12)
    fixed = bm.confint(bcg(method="fixed"), "qprofile", "tau2")
    assert fixed["estimate"].item() == 0.0
    assert np.isnan(fixed["se"].item())


def test_read_back_from_a_file(tmp_path: Path) -> None:
    tree = bcg("logor ~ ablat", "pm")
    tree.to_netcdf(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc") as read:
        xr.testing.assert_identical(bm.confint(read, "qprofile"), bm.confint(tree, "qprofile"))


def test_an_empty_interval_is_said() -> None:
    tree = bm.fit(bm.specify("y ~ 1", alike(), S="v"))
    with pytest.warns(bm.BoundaryWarning, match="the interval of tau2 is empty: Q at zero is 0.005") as caught:
        found = bm.confint(tree, "qprofile")
    assert caught[0].filename == __file__
    assert np.isnan(found["lower"].values).all()
    assert np.isnan(found["upper"].values).all()
    assert found["estimate"].values.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert "empty" in found.attrs["note"]


def test_a_bound_of_zero_is_zero_and_said() -> None:
    data = alike().assign(y=[0.1, 0.5, -0.2, 0.3, -0.1])
    found = bm.confint(bm.fit(bm.specify("y ~ 1", data, S="v")), "qprofile")
    assert found["lower"].values.tolist() == [0.0, 0.0, 0.0, 1.0]
    assert (found["upper"].values > 0).all()
    assert "lower bound of tau2 is zero" in found.attrs["note"]
    assert bm.confint(bcg(), "qprofile").attrs["note"] == ""


def test_what_q_profile_is_not_for(bivariate: xr.DataTree) -> None:
    with pytest.raises(bm.SpecError, match="'qprofile' is for one outcome, the model has 2: PD, AL"):
        bm.confint(bivariate, "qprofile")
    school = bm.datasets.load("school")
    for random, words in (
        ("1 | district/study", "levels district, study"),
        ("1 | district", "joins 56 rows"),
        ("0 + year | study", "are: year"),
    ):
        tree = bm.fit(bm.specify("effect ~ 1", school, S="var", random=random), "ml")
        with pytest.raises(bm.SpecError, match=words):
            bm.confint(tree, "qprofile")


def test_unknown_methods_and_probabilities() -> None:
    tree = bcg()
    with pytest.raises(bm.SpecError, match="method is 'bootstrap'\n  must be one of: wald, qprofile"):
        bm.confint(tree, "bootstrap")
    with pytest.raises(bm.SpecError, match="did you mean 'qprofile'"):
        bm.confint(tree, "q-profile")
    for method in ("wald", "qprofile"):
        with pytest.raises(bm.SpecError, match="prob is 95"):
            bm.confint(tree, method, prob=95)
    with pytest.raises(bm.SpecError, match="expected the results tree"):
        bm.confint(xr.Dataset(), "qprofile")
