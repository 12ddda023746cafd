"""`bm.fit`: the maximum is found from anywhere, in any units, and the record of the search tells the truth."""

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import bayesmeta as bm

FIBRINOGEN = "b2 + b3 + b4 + b5 ~ 1"
MAXIMUM = {"id": -80.474, "hcs": -75.194}  # grid and Newton starts in other software; its default stops at -90.559


@pytest.fixture(scope="module")
def fibrinogen(table: Callable[[str], pd.DataFrame]) -> pd.DataFrame:
    return table("fibrinogen")


def fibrinogen_spec(data: pd.DataFrame, psi: str, c: float = 1.0) -> bm.Spec:
    scaled = data.copy()
    outcomes, variances = ["b2", "b3", "b4", "b5"], [v for v in data if v.startswith("V_")]
    scaled[outcomes] *= c
    scaled[variances] *= c * c
    return bm.specify(FIBRINOGEN, scaled, S=variances, psi=psi)


@pytest.fixture(scope="module")
def school() -> pd.DataFrame:
    return bm.datasets.load("school")


def loglik(tree: object) -> float:
    return float(tree["criteria"]["loglik"])  # type: ignore[index]


@pytest.mark.parametrize("psi", MAXIMUM)
def test_the_maximum_from_random_starts_and_in_other_units(fibrinogen: pd.DataFrame, psi: str) -> None:
    reached = loglik(bm.fit(fibrinogen_spec(fibrinogen, psi)))
    assert reached == pytest.approx(MAXIMUM[psi], abs=1e-3)
    spec = fibrinogen_spec(fibrinogen, psi)
    size = len(bm.fit(spec)["estimate"]["xi"])
    for seed in range(20):
        start = np.abs(np.random.default_rng(seed).standard_cauchy(size))
        start[:-1] *= 0.3
        assert loglik(bm.fit(spec, start=start)) == pytest.approx(reached, abs=1e-6), f"seed {seed}"
    c = 1e3
    rescaled = loglik(bm.fit(fibrinogen_spec(fibrinogen, psi, c)))
    nobs = int(bm.fit(spec)["criteria"]["nobs"])
    assert rescaled == pytest.approx(reached - nobs * np.log(c), abs=1e-6)


def test_predictors_in_other_units(reference: Callable[[str], Any], table: Callable[[str], pd.DataFrame]) -> None:
    alcohol = table("alcohol")
    covariances = reference("covariances/alcohol_greenland_longnecker")
    S = {cohort: np.array(matrix) for cohort, matrix in covariances.items()}
    alcohol = alcohol[alcohol.se.notna()].reset_index(drop=True)
    fits = []
    for unit in (1.0, 30.0):
        data = alcohol.assign(d=alcohol.dose / unit)
        spec = bm.specify("logrr ~ 0 + d + I(d**2)", data, S=S, random="0 + d + I(d**2) | id")
        fits.append(bm.fit(spec, method="ml"))
    scale = np.array([1 / 30, 1 / 900])
    assert loglik(fits[0]) == pytest.approx(loglik(fits[1]), abs=1e-7)
    assert loglik(fits[0]) > 7.27739
    np.testing.assert_allclose(fits[0]["estimate"]["beta"], fits[1]["estimate"]["beta"] * scale, rtol=1e-4)
    np.testing.assert_allclose(
        fits[0]["estimate"]["psi_id"], fits[1]["estimate"]["psi_id"].values * np.outer(scale, scale), rtol=2e-3
    )


@pytest.mark.parametrize("method", ["ml", "reml"])
@pytest.mark.parametrize("c", [1e-6, 1e6])
def test_units_of_the_effect(school: pd.DataFrame, method: str, c: float) -> None:
    base = bm.fit(bm.specify("effect ~ year", school, S="var", random="1 | district/study"), method=method)
    scaled = school.assign(effect=school.effect * c, var=school["var"] * c * c)
    other = bm.fit(bm.specify("effect ~ year", scaled, S="var", random="1 | district/study"), method=method)
    np.testing.assert_allclose(other["estimate"]["beta"], base["estimate"]["beta"] * c, rtol=1e-6)
    for level in ("district", "study"):
        np.testing.assert_allclose(
            other["estimate"][f"psi_{level}"], base["estimate"][f"psi_{level}"] * c * c, rtol=1e-5
        )
    expected = loglik(base) - int(base["criteria"]["nobs"]) * np.log(c)
    assert loglik(other) == pytest.approx(expected, rel=1e-9)


def test_a_linear_function_of_the_predictors_added_to_y(school: pd.DataFrame) -> None:
    base = bm.fit(bm.specify("effect ~ year", school, S="var", random="1 | district/study"))
    moved = school.assign(effect=school.effect + 2.0 - 0.25 * school.year)
    other = bm.fit(bm.specify("effect ~ year", moved, S="var", random="1 | district/study"))
    np.testing.assert_allclose(other["estimate"]["beta"], base["estimate"]["beta"] + [2.0, -0.25], rtol=1e-7)
    np.testing.assert_allclose(other["estimate"]["psi_district"], base["estimate"]["psi_district"], rtol=1e-6)
    assert loglik(other) == pytest.approx(loglik(base), abs=1e-9)


@settings(max_examples=10)
@given(st.integers(0, 2**32 - 1))
def test_row_order_and_labels(seed: int) -> None:
    school = bm.datasets.load("school")
    base = bm.fit(bm.specify("effect ~ year", school, S="var", random="1 | district/study"))
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(school))
    names = {d: f"d{i}" for i, d in enumerate(rng.permutation(school.district.unique()))}
    mixed = school.iloc[order].assign(district=lambda d: d.district.map(names))
    other = bm.fit(bm.specify("effect ~ year", mixed, S="var", random="1 | district/study"))
    np.testing.assert_allclose(other["estimate"]["beta"], base["estimate"]["beta"], rtol=1e-8)
    assert loglik(other) == pytest.approx(loglik(base), abs=1e-9)
    blups = bm.blup(other)["mean"].values[np.argsort(order)]
    np.testing.assert_allclose(blups, bm.blup(base)["mean"].values, rtol=1e-6)


def test_predictors_of_one_outcome_equal_the_long_form() -> None:
    wide = bm.datasets.load("berkey98").assign(year=lambda d: d.pubyear - 1983)
    S = ["var_PD", "cov_PD_AL", "var_AL"]
    per_outcome = bm.fit(bm.specify({"PD": "1 + year", "AL": "1"}, wide, S=S))
    rows, blocks = [], {}
    for trial, r in wide.iterrows():
        rows += [{"trial": trial, "y": r.PD, "PD": 1.0, "AL": 0.0, "year": r.year}]
        rows += [{"trial": trial, "y": r.AL, "PD": 0.0, "AL": 1.0, "year": r.year}]
        blocks[trial] = [[r.var_PD, r.cov_PD_AL], [r.cov_PD_AL, r.var_AL]]
    long = bm.specify("y ~ 0 + PD + AL + PD:year", pd.DataFrame(rows), S=blocks, random="0 + PD + AL | trial")
    fit = bm.fit(long)
    assert loglik(per_outcome) == pytest.approx(loglik(fit), abs=1e-9)
    assert list(per_outcome["estimate"]["coef"].values) == ["PD.Intercept", "AL.Intercept", "PD.year"]
    np.testing.assert_allclose(per_outcome["estimate"]["beta"], fit["estimate"]["beta"], rtol=1e-6)
    np.testing.assert_allclose(per_outcome["estimate"]["beta_cov"], fit["estimate"]["beta_cov"], rtol=1e-5, atol=1e-12)


def test_a_variance_at_zero_is_exactly_zero_and_flagged() -> None:
    data = pd.DataFrame({"y": [0.1, 0.11, 0.09, 0.1, 0.1], "v": 0.04})
    tree = bm.fit(bm.specify("y ~ 1", data, S="v"))
    assert float(tree["estimate"]["tau_unit"]) == 0.0
    assert tree["optimizer"]["at_boundary"].values.tolist() == [True]
    assert bool(tree["optimizer"]["converged"])
    assert np.isnan(tree["estimate"]["xi_cov"].values).all()


def test_a_correlation_at_its_limit_is_flagged() -> None:
    rng = np.random.default_rng(3)
    u = rng.normal(size=12)
    data = pd.DataFrame({"a": u, "b": 2 * u, "va": 0.001, "vb": 0.001})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.AssumptionWarning)
        spec = bm.specify("a + b ~ 1", data, S=["va", "vb"], psi="hcs")
    tree = bm.fit(spec)
    assert dict(zip(tree["optimizer"]["free"].values, tree["optimizer"]["at_boundary"].values, strict=True))[
        "unit.angle_rho"
    ]
    assert float(tree["estimate"]["rho_unit"][0]) == pytest.approx(1.0, abs=1e-9)


def test_standard_errors_of_the_free_parameters(school: pd.DataFrame) -> None:
    spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study")
    tree = bm.fit(spec)
    xi, cov = tree["estimate"]["xi"].values, tree["estimate"]["xi_cov"].values

    def at(i: int, j: int, hi: float, hj: float) -> float:
        x = xi.copy()
        x[i] += hi
        x[j] += hj
        return float(spec_loglik(spec, x))

    h = 1e-3
    H = [
        [(at(i, j, h, h) - at(i, j, h, -h) - at(i, j, -h, h) + at(i, j, -h, -h)) / (4 * h * h) for j in range(2)]
        for i in range(2)
    ]
    size = np.sqrt(np.diag(cov))
    np.testing.assert_allclose(
        cov / np.outer(size, size), np.linalg.inv(-np.array(H)) / np.outer(size, size), atol=1e-4
    )


def spec_loglik(spec: bm.Spec, xi: np.ndarray) -> float:
    from bayesmeta import kernel

    psi = [v.structure.psi(xi[i : i + 1], 1) for i, v in enumerate(spec.levels)]
    return float(kernel.likelihood(spec.statistics, psi, restricted=True).loglik)


def test_too_few_iterations_say_so(fibrinogen: pd.DataFrame) -> None:
    with pytest.warns(bm.ConvergenceWarning, match="did not converge"):
        tree = bm.fit(fibrinogen_spec(fibrinogen, "unstr"), max_iterations=1)
    assert not bool(tree["optimizer"]["converged"])


def test_fixed_keeps_groups_and_has_no_variance(school: pd.DataFrame) -> None:
    tree = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study"), method="fixed")
    assert float(tree["estimate"]["psi_district"].values[0, 0]) == 0.0
    assert len(tree["estimate"]["group_district"]) == 11
    w = 1 / school["var"]
    assert float(tree["estimate"]["beta"][0]) == pytest.approx((w * school.effect).sum() / w.sum(), rel=1e-12)
    assert int(tree["criteria"]["df_random"]) == 0


def test_unknown_method_and_options(school: pd.DataFrame) -> None:
    spec = bm.specify("effect ~ 1", school, S="var")
    with pytest.raises(bm.SpecError, match="did you mean 'reml'"):
        bm.fit(spec, method="remll")
    with pytest.raises(TypeError, match="tolerence"):
        bm.fit(spec, tolerence=1e-3)  # type: ignore[call-arg]
    with pytest.raises(bm.SpecError, match="1 finite numbers, for unit"):
        bm.fit(spec, start=[1.0, 2.0])


def test_verbose_prints_the_iterations(school: pd.DataFrame, capsys: pytest.CaptureFixture[str]) -> None:
    bm.fit(bm.specify("effect ~ 1", school, S="var"), verbose=True)
    assert "iteration   1  log-likelihood" in capsys.readouterr().out


def test_a_local_maximum_above_zero_is_not_taken_for_the_maximum() -> None:
    data = bm.datasets.load("bcg")
    fit = bm.fit(bm.specify("logor ~ ablat + year + alloc", data, S="logorvar"), method="ml")
    none = bm.fit(bm.specify("logor ~ ablat + year + alloc", data, S="logorvar"), method="fixed")
    assert loglik(fit) >= loglik(none) - 1e-9
    assert float(fit["estimate"]["tau_unit"]) == 0.0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"start": ["a"]}, "start is"),
        ({"max_iterations": 0}, "whole number of at least 1"),
        ({"max_iterations": "a"}, "whole number of at least 1"),
        ({"tolerance": -1.0}, "finite number greater than 0"),
    ],
)
def test_wrong_values_of_options(school: pd.DataFrame, options: dict[str, object], message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.fit(bm.specify("effect ~ 1", school, S="var"), **options)


def test_data_instead_of_a_specification(school: pd.DataFrame) -> None:
    with pytest.raises(bm.SpecError, match=r"takes a specification from bm\.specify, not a DataFrame"):
        bm.fit(school)  # type: ignore[arg-type]


def test_a_specification_is_frozen(school: pd.DataFrame) -> None:
    spec = bm.specify("effect ~ 1", school, S="var")
    for array in (spec.y, spec.X, spec.S.value, spec.levels[0].Z):
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 1.0


def test_a_flat_direction_does_not_stop_the_polish() -> None:
    rng = np.random.default_rng(0)
    data = pd.DataFrame({"y": rng.normal(size=12), "v": rng.uniform(0.1, 0.5, 12), "v2": 0.3, "c": 0.01})
    data["y2"] = [1.0] + [np.nan] * 11
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.BoundaryWarning)
        spec = bm.specify("y + y2 ~ 1", data, S=["v", "c", "v2"])
    fit = bm.fit(spec)
    alone = bm.fit(bm.specify("y ~ 1", data, S="v"))
    assert bool(fit["optimizer"]["converged"])
    assert float(fit["estimate"]["psi_unit"][0, 0]) == pytest.approx(
        float(alone["estimate"]["psi_unit"][0, 0]), rel=1e-5
    )


@pytest.mark.parametrize("v", [0.3256, 0.326])
def test_one_study_says_nothing_about_tau(v: float) -> None:
    """The restricted likelihood is flat: rounding would decide."""
    with pytest.warns(bm.BayesmetaWarning) as caught:
        fit = bm.fit(bm.specify("y ~ 1", pd.DataFrame({"y": [0.3], "v": [v]}), S="v"))
    assert any("holds it at 0" in str(w.message) for w in caught)
    assert any("undefined" in str(w.message) for w in caught)
    assert fit["estimate"]["tau_unit"].item() == 0.0
    assert fit["estimate"]["beta_se"].item() == pytest.approx(np.sqrt(v))
    assert np.isnan(loglik(fit))
    assert np.isnan(fit["estimate"]["xi_cov"].values).all()


@pytest.mark.parametrize(("random", "identified"), [("0 + x | h", True), ("1 | h", False)])
def test_one_group_identifies_a_slope_and_no_intercept(random: str, identified: bool) -> None:
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"x": rng.normal(size=20), "h": 1, "v": 0.1})
    data["y"] = 0.3 * rng.normal(size=20) + 2 * data.x
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        fit = bm.fit(bm.specify("y ~ 1", data, S="v", random=random))
    assert any("cannot identify" in str(w.message) for w in caught) == (not identified)
    tau = fit["estimate"]["tau_h"].item()
    assert tau > 1.0 if identified else tau == 0.0


@pytest.mark.parametrize("psi", ["unstr", "diag", "hcs", "har1"])
@pytest.mark.parametrize(("formula", "random"), [("y ~ 1", "1 + x | h"), ("y ~ g", "1 + x | g")])
def test_one_effect_that_the_fixed_part_takes_up_is_held_at_zero(psi: str, formula: str, random: str) -> None:
    """Its slope alone is estimated, as without the intercept; in many data sets too."""
    rng = np.random.default_rng(3)
    data = pd.DataFrame({"x": rng.normal(size=24), "h": "h", "g": np.repeat(list("abcdef"), 4), "v": 0.1})
    data["y"] = 0.3 * rng.normal(size=24) + np.repeat(rng.normal(size=6), 4) * data.x
    level = random[-1]
    with pytest.warns(bm.BoundaryWarning, match=rf"variance of Intercept \({level}\)"):
        spec = bm.specify(formula, data, S="v", random=random, psi={level: psi})
    fit = bm.fit(spec)
    alone = bm.fit(bm.specify(formula, data, S="v", random=random.replace("1", "0")))
    of_level = f"psi_{level}"
    assert loglik(fit) == pytest.approx(loglik(alone), abs=1e-9)
    assert bool(fit["optimizer"]["converged"])
    np.testing.assert_array_equal(fit["estimate"][of_level].values[0], 0.0)
    np.testing.assert_allclose(fit["estimate"]["beta_se"], alone["estimate"]["beta_se"], rtol=1e-6)
    many = bm.fit_many(spec, np.stack([data[["y"]].to_numpy()] * 2))
    np.testing.assert_allclose(many[of_level][0], fit["estimate"][of_level], atol=1e-6)
    np.testing.assert_allclose(many["beta_se"][1], fit["estimate"]["beta_se"], rtol=1e-6)


def test_a_start_skips_the_scan_and_says_so(school: pd.DataFrame) -> None:
    spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study")
    scanned, started = bm.fit(spec), bm.fit(spec, start=[0.3, 0.3])
    assert int(scanned["optimizer"]["scan_evaluations"]) > 0
    assert int(started["optimizer"]["scan_evaluations"]) == 0
    assert started["optimizer"].attrs["message"] == "from start=, without a scan"
    assert loglik(started) == pytest.approx(loglik(scanned), abs=1e-9)


def test_a_start_outside_the_range_is_refused() -> None:
    data = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="hcs")
    with pytest.raises(bm.SpecError, match=r"-1 for unit\.sd\[PD\], which cannot be negative"):
        bm.fit(spec, start=[-1.0, 0.5, 0.1])
