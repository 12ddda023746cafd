"""Profile likelihood intervals: metafor's, agreement between families, boundaries, and what is refused."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.errors import BoundaryWarning, ConvergenceWarning, SpecError
from tests.support.edited import unhashed
from tests.support.reference import read_table


def school(method: str = "reml", random: str = "1 | district/study") -> xr.DataTree:
    return bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random=random), method=method)


def berkey(psi: Any, method: str = "ml") -> xr.DataTree:
    data = bm.datasets.load("berkey98")
    return bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi), method=method)


def test_intervals_of_metafor(reference: Any) -> None:
    theirs = reference("metafor/multilevel_school")["profile_ci"]
    found = bm.confint(school(), "profile", "tau2")
    for level, row in (("district", 0), ("study", 1)):
        ours = [found[name][row].item() for name in ("estimate", "lower", "upper")]
        np.testing.assert_allclose(ours, theirs[f"sigma2_{level}"], rtol=1e-3)


def test_curves_and_the_scale_of_tau() -> None:
    fit = school("ml")
    found = bm.profile(fit, points=9)
    tau, psi = (found.sel(parameter=f"{kind}[study, Intercept]") for kind in ("tau", "tau2"))
    for name in ("lower", "upper"):
        assert tau[name].item() ** 2 == pytest.approx(psi[name].item(), rel=1e-4)
    fitted, half = found.attrs["fitted"], chi2.ppf(0.95, 1) / 2
    for label in found["parameter"].values:
        own = found.sel(parameter=label)
        loss, inside = fitted - own["loglik"].values, (own["value"] >= own["lower"]) & (own["value"] <= own["upper"])
        assert (loss > -1e-6).all()
        np.testing.assert_array_equal(loss < half, inside.values)


def test_one_variance_against_a_grid() -> None:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    fit = bm.fit(spec)
    found = bm.profile(fit, "tau2")
    for name in ("lower", "upper"):
        held = bm.specify(
            "logor ~ 1", bm.datasets.load("bcg"), S="logorvar", psi=bm.structures.Fixed([[found[name].item()]])
        )
        loss = fit["criteria"]["loglik"].item() - bm.fit(held)["criteria"]["loglik"].item()
        assert 2 * loss == pytest.approx(chi2.ppf(0.95, 1), abs=1e-4)


def test_two_families_of_the_same_models_agree() -> None:
    """Of two effects unstr and hcs hold the same covariances; correlations cost nothing where an SD is near zero."""
    one, two = bm.profile(berkey("unstr"), points=2), bm.profile(berkey("hcs"), points=2)
    assert list(one["parameter"].values) == list(two["parameter"].values)
    for name in ("lower", "upper"):
        np.testing.assert_allclose(one[name], two[name], atol=2e-3)


def test_bounds_at_the_edge_and_constants() -> None:
    found = bm.profile(berkey("diag"), ["tau", "rho"], points=2)
    assert found["lower"].values[0] == 0
    assert "lower bound at the edge" in found["note"].values[0]
    assert np.isnan(found["lower"].values[2])
    assert "held constant" in found["note"].values[2]


def test_an_estimate_of_zero_has_an_upper_bound() -> None:
    data = bm.datasets.load("bcg").assign(y=lambda rows: 1.1 * np.sqrt(rows.logorvar) * np.sin(np.arange(len(rows))))
    fit = bm.fit(bm.specify("y ~ 1", data, S="logorvar"))
    assert fit["estimate"]["tau_unit"].item() == 0
    found = bm.confint(fit, "profile", "tau")
    assert found["lower"].item() == 0
    assert 0 < found["upper"].item() < 1
    assert "edge of the range" in found.attrs["note"]


def test_a_point_that_beats_the_fit_is_a_warning() -> None:
    fit = unhashed(school())
    criteria = fit["criteria"].to_dataset()
    fit["criteria"] = xr.DataTree(criteria.assign(loglik=criteria["loglik"] - 0.1))
    with pytest.warns(ConvergenceWarning, match="higher than the fit's by 0.0"):
        bm.profile(fit, "tau[study, Intercept]", points=3)


def test_a_flat_profile_reports_how_far_it_went(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("bayesmeta.inference.profile.MOST_DOUBLINGS", 2)
    with pytest.warns(BoundaryWarning, match=r"upper bound not bracketed: the interval goes on beyond 0\.4"):
        found = bm.profile(school(), "tau[district, Intercept]", prob=0.9999, points=2)
    assert found["upper"].item() > 0.3


@pytest.mark.parametrize(
    ("method", "given", "message"),
    [
        ("reml", {"parameters": "beta"}, "coefficients have no profile in a restricted likelihood"),
        ("fixed", {}, "a fit by fixed has no profile likelihood"),
        ("ml", {"parameters": "tau[studi, Intercept]"}, "did you mean 'tau"),
        ("ml", {"prob": 2}, "prob is 2"),
        ("ml", {"points": 1}, "points is 1"),
    ],
)
def test_refusals(method: str, given: dict[str, Any], message: str) -> None:
    with pytest.raises(SpecError, match=message):
        bm.profile(school(method), **given)


MATRIX = np.array([[1.0, 0.4], [0.4, 1.0]])
OUTER = {name: name for name in ("unstr", "diag", "id", "cs", "hcs", "ar1", "har1")}
OUTER |= {"prop": bm.structures.Proportional(MATRIX), "cor": bm.structures.KnownCorrelation(MATRIX)}
PAIRS = [(outer, inner) for outer in OUTER for inner in ("unstr", "diag", "id", "cs", "hcs")]
ALWAYS = [("prop", "diag"), ("cor", "id"), ("id", "hcs")]


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize(
    ("outer", "inner"),
    [pytest.param(*pair, marks=[] if pair in ALWAYS else pytest.mark.slow) for pair in PAIRS],
)
def test_estimates_at_the_edges_of_two_structures(outer: str, inner: str) -> None:
    """Without variance between groups every profile ends, within the range of its parameter, or says why not."""
    data = read_table("no_between_variance")
    psi: Any = {"g": OUTER[outer], "u": inner}
    fit = bm.fit(bm.specify("y1 + y2 ~ 1", data, S=["v1", "c", "v2"], random="1 | g/u", psi=psi))
    table = bm.profile(fit, points=3)
    for parameter in table["parameter"].values:
        row = table.sel(parameter=parameter)
        lower, upper, note = (row[name].item() for name in ("lower", "upper", "note"))
        assert np.isfinite([lower, upper]).all() or note, parameter
        if parameter.startswith("tau") or (outer in ("prop", "cor") and parameter == "psi[g, y1~y2]"):
            assert not lower < 0, parameter
        if parameter.startswith("rho"):
            assert not lower < -1, parameter
            assert not upper > 1, parameter


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_a_singular_matrix_under_proportional() -> None:
    psi = bm.structures.Proportional([[1, 1], [1, 1]])
    data = bm.datasets.load("berkey98")
    fit = bm.fit(bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi=psi))
    table = bm.profile(fit, points=3)
    for parameter in ("tau2[unit, AL]", "psi[unit, PD~AL]"):  # all entries of Psi are one
        bounds = table[["lower", "upper"]].sel(parameter=[parameter, "tau2[unit, PD]"]).to_dataframe()
        assert np.isclose(*bounds[["lower", "upper"]].to_numpy(), rtol=1e-5).all()
    assert table["note"].sel(parameter="rho[unit, PD~AL]").item() == "held constant by the structure"


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_the_second_lag_of_an_autoregression_is_not_asked_below_zero() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame(rng.normal(size=(20, 3)), columns=["a", "b", "c"]).assign(v=0.2)
    fit = bm.fit(bm.specify("a + b + c ~ 1", data, S=["v", "v", "v"], psi="ar1"))
    table = bm.profile(fit, ["psi[unit, a~c]", "rho[unit, a~c]"], points=3)
    assert not (table["lower"] < 0).any()
    assert not (table["value"] < 0).any()


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_a_covariance_passes_an_sd_of_zero_to_the_other_sign() -> None:
    """At a negative covariance one SD goes to zero on the way to positive ones: the bound beyond was not reached."""
    data = read_table("no_between_variance")
    psi: Any = {"g": "unstr", "u": "hcs"}
    fit = bm.fit(bm.specify("y1 + y2 ~ 1", data, S=["v1", "c", "v2"], random="1 | g/u", psi=psi))
    table = bm.profile(fit, "psi[u, y1~y2]", points=3)
    assert table["estimate"].item() < 0
    assert table["upper"].item() == pytest.approx(0.050845, rel=1e-3)
