"""What the first page about a model says, beside what metafor prints of the same model."""

import io
import sys
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display.prior_effect import flat_prior_means
from bayesmeta.inference.partition import excess_error
from bayesmeta.priors import Prior
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.summaries.variation import _wald_shares
from bayesmeta.tree.specification import group, reading_once
from tests.support.posteriors import make_posterior


def bcg(formula: str = "logor ~ 1", **options: Any) -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), **{"S": "logorvar", "measure": "logor"} | options)


def berkey(formula: str = "PD + AL ~ 1", **options: Any) -> bm.Spec:
    data = bm.datasets.load("berkey98").assign(year=lambda rows: rows.pubyear - 1983)
    return bm.specify(formula, data, S=["var_PD", "cov_PD_AL", "var_AL"], **options)


def lines(tree: xr.DataTree, **options: Any) -> list[str]:
    return str(bm.summary(tree, **options)).splitlines()


def cells(page: list[str], label: str) -> list[str]:
    """What stands after a label."""
    return next(line for line in page if line.startswith(label)).removeprefix(label).split()


def test_a_random_effects_model_as_metafor_has_it() -> None:
    """metafor 3.8-1 with `control = list(threshold = 1e-12)`: `rma(yi, vi)`, its `confint` and `predict(transf = exp)`.

    tau2 0.33777, CI 0.13016 to 1.18119; tau 0.36078 to 1.08683; I2 92.07, 81.74 to 97.60; H2 12.61, 5.476 to 41.616;
    Q 163.165; OR 0.47465, 0.32963 to 0.68347, prediction interval 0.14353 to 1.56964. Our SE of tau2 is that of the
    observed information (0.1793), metafor's of the expected one (0.1784).
    """
    page = lines(bm.fit(bcg()), df="z")
    assert page[0] == "Random-effects model (k = 13)"
    assert "Measure    log odds ratio" in page
    assert not any(line.startswith(("Random ", "Psi")) for line in page)
    assert cells(page, "beta[Intercept]") == [
        *("-0.7452", "0.1860", "-4.01", "<0.0001", "-1.1098", "-0.3806", "0.4746", "0.3296", "0.6835")
    ]
    assert cells(page, "prediction interval") == ["-1.9412", "0.4508", "0.1435", "1.5696"]
    assert "Heterogeneity (95% intervals, by Q-profile)" in page
    assert cells(page, "tau2[unit, Intercept]") == ["0.3378", "0.1793", "0.1301", "1.1812"]
    assert cells(page, "tau[unit, Intercept]") == ["0.5812", "0.1543", "0.3608", "1.0868"]
    assert cells(page, "I2 (%, from tau2)")[::3] == ["92.07", "97.60"]
    assert cells(page, "H2 (from tau2)")[::2] == ["12.61", "5.48"]
    assert "Test of heterogeneity  Q = 163.16, df 12, p < 0.0001" in page
    assert page[-1].endswith("(df 2, n 12 = 13 - 1 coefficient)")
    assert max(map(len, page)) <= 100


def test_by_default_small_samples_are_allowed_for_as_metafor_does_on_request() -> None:
    """`rma(yi, vi, test = "adhoc")` of metafor 3.8-1, with its `predict(transf = exp)`."""
    page = lines(bm.fit(bcg()))
    assert "Inference  t with Knapp-Hartung standard errors, never smaller than the model's, df 12" in page
    assert cells(page, "beta[Intercept]") == [
        *("-0.7452", "0.1867", "-3.99", "0.0018", "-1.1520", "-0.3383", "0.4746", "0.3160", "0.7130")
    ]
    assert cells(page, "prediction interval")[2:] == ["0.1255", "1.7947"]
    assert "Test of moderators  F = 17.60, df 1 and 11, p = 0.0015" in lines(bm.fit(bcg("logor ~ ablat")))


@pytest.mark.parametrize(
    ("predictor", "test", "explained", "I2"),
    [
        ("ablat", "QM = 25.25, df 1, p < 0.0001", "85.07%", "57.39"),
        ("alloc", "QM = 1.65, df 2, p = 0.4390", "0.00%", "89.34"),
        ("0 + alloc", "QM = 1.65, df 2, p = 0.4390", "0.00%", "89.34"),
    ],
)
def test_a_meta_regression_as_metafor_has_it(predictor: str, test: str, explained: str, I2: str) -> None:
    """`rma(yi, vi, mods = ~ ablat)` of metafor 3.8-1 by REML with `control = list(threshold = 1e-12)`.

    QM 25.2473 and R2 85.069% (with its default threshold 25.2424 and 85.065%), I2 57.386; for alloc QM 1.64629, R2 0,
    I2 89.344.
    """
    page = lines(bm.fit(bcg(f"logor ~ {predictor}")), df="z")
    assert page[0] == "Random-effects meta-regression (k = 13)"
    assert f"Test of moderators  {test}" in page
    assert cells(page, "R2")[0] == explained
    assert cells(page, "I2 (%, from tau2)")[0] == I2
    assert "Residual heterogeneity (95% intervals, by Q-profile)" in page
    assert any(line.startswith("Test of residual heterogeneity") for line in page)
    assert not any(line.startswith("prediction interval") for line in page)


def test_several_outcomes_have_a_joint_test() -> None:
    """`rma.mv` of metafor 3.8-1 for berkey98: QM(df = 2) = 108.86."""
    page = lines(bm.fit(berkey()), df="z")
    assert page[0] == "Multivariate random-effects model (k = 5, 2 outcomes)"
    assert "Test that all effects are zero  chi2 = 108.86, df 2, p < 0.0001" in page
    assert [len(cells(page, f"prediction, {outcome}")) for outcome in ("PD", "AL")] == [2, 2]
    assert "Test of moderators" not in str(page)
    assert bm.wald_test(bm.fit(berkey("PD + AL ~ year")))["df1"] == 2


def test_a_fixed_effects_model_does_not_speak_of_tau() -> None:
    """`rma(yi, vi, method = "FE")` of metafor 3.8-1: I2 92.65%, H2 13.60."""
    page = lines(bm.fit(bcg(), "fixed"))
    assert page[0] == "Fixed-effects model (k = 13)"
    assert "Test of heterogeneity  Q = 163.16, df 12, p < 0.0001; I2 (from Q) 92.65%, H2 (from Q) 13.60" in page
    assert not any(word in " ".join(page) for word in ("tau", "Psi", "prediction"))
    assert "(df 1, n 13)" in page[-1]


def test_either_scale_alone() -> None:
    fit = bm.fit(bcg())
    assert cells(lines(fit, scale="response"), "beta[Intercept]") == ["0.4746", "0.3160", "0.7130"]
    assert len(cells(lines(fit, scale="model"), "beta[Intercept]")) == 6
    assert bm.summary(fit, scale="response").to_dataframe()["estimate"].iloc[0] == pytest.approx(0.47465, rel=1e-5)
    assert "odds ratio  " not in str(bm.summary(bm.fit(bcg(measure=None))))
    with pytest.raises(bm.SpecError, match=r'no scale="response"'):
        bm.summary(bm.fit(bcg(measure=None)), scale="response")


def test_effects_and_differences_are_told_apart() -> None:
    page = lines(bm.fit(bcg("logor ~ ablat")))
    assert "response  odds ratio for beta[Intercept]; ratio of odds ratios for beta[ablat]" in page
    data = {"z": [0.2, 0.5, 0.4, 0.9], "v": [0.02, 0.03, 0.01, 0.02], "x": [0.0, 1.0, 2.0, 3.0]}
    of_z = lines(bm.fit(bm.specify("z ~ x", data, S="v", measure="zcor"), "fixed"))
    assert len(cells(of_z, "beta[Intercept]")) == 9
    assert len(cells(of_z, "beta[x]")) == 6  # a difference of z has no other scale


def test_several_levels_say_that_their_intervals_are_wald() -> None:
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    page = lines(bm.fit(school))
    assert "Heterogeneity (95% intervals, Wald)" in page
    assert cells(page, "I2 (%, from tau2)") == ["95.19", "1.68", "90.59", "97.60"]
    assert len(cells(page, "prediction interval")) == 2


def test_a_posterior_says_it_all_from_its_draws() -> None:
    tree = make_posterior(bcg())
    page = lines(tree)
    draws = tree["posterior"]["beta"].values
    assert f"P(OR < 1) {(draws < 0).mean():.4f}" in " ".join(cells(page, "beta[Intercept]"))
    assert len(cells(page, "prediction interval")) == 4
    frame = bm.estimates(tree)
    for label in ("tau2[unit, Intercept]", "tau[unit, Intercept]"):
        assert float(cells(page, label)[0]) == pytest.approx(frame.loc[label, "estimate"], abs=1e-4)
    assert float(cells(page, "I2 (%, from tau2)")[0]) == pytest.approx(
        bm.heterogeneity(tree)["I2_tau2"].item(), abs=0.01
    )
    assert not any("Q =" in line or "p-value" in line for line in page)


def test_what_a_normal_prior_did_is_undone_exactly_for_a_normal_posterior() -> None:
    """A conjugate regression: the posterior with the prior gives back the estimates without it."""
    rng = np.random.default_rng(0)
    X, y = np.column_stack([np.ones(20), rng.normal(size=20)]), rng.normal(1, 1, 20)
    centring, weight, mu = np.array([[1.0, 0.3], [0.0, 1.0]]), np.array([4.0, 0.0]), np.array([0.5, 0.0])
    information = X.T @ X + centring.T @ (weight[:, None] * centring)
    mean = np.linalg.solve(information, X.T @ y + centring.T @ (weight * mu))
    betas = Prior("Normal", mu=0.5, sigma=0.5), Prior("Flat")
    priors = ModelPriors(betas, centring, (), (), ("Intercept", "x"), (True, True))
    flat = flat_prior_means(mean, np.linalg.inv(information), priors)
    np.testing.assert_allclose(flat, np.linalg.lstsq(X, y, rcond=None)[0], rtol=1e-9)
    by_precision = Prior("Normal", mu=0.5, tau=4.0), Prior("Flat")
    same = ModelPriors(by_precision, centring, (), (), ("Intercept", "x"), (True, True))
    np.testing.assert_allclose(flat_prior_means(mean, np.linalg.inv(information), same), flat, rtol=1e-12)
    by_default, explicit = (
        ModelPriors((prior, Prior("Flat")), centring, (), (), ("Intercept", "x"), (True, True))
        for prior in (Prior("Normal", mu=0.5), Prior("Normal", mu=0.5, sigma=1.0))
    )
    np.testing.assert_allclose(
        flat_prior_means(mean, np.linalg.inv(information), by_default),
        flat_prior_means(mean, np.linalg.inv(information), explicit),
        rtol=1e-12,
    )
    cauchy = ModelPriors((Prior("Cauchy", alpha=0, beta=1), Prior("Flat")), centring, (), (), ("a", "b"), (True, True))
    assert flat_prior_means(mean, np.linalg.inv(information), cauchy) is None


def test_a_narrow_terminal_gets_narrow_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    summary = bm.summary(bm.fit(bcg()))
    wide = str(summary)
    monkeypatch.setattr(sys, "stdout", Terminal())
    for columns in (80, 120):
        monkeypatch.setenv("COLUMNS", str(columns))
        assert max(map(len, str(summary).splitlines())) <= columns
    assert str(summary) == wide


def test_groups_are_read_once_inside_a_page_and_checked_again_after_it() -> None:
    fit = bm.fit(bcg())
    with reading_once():
        assert group(fit, "estimate") is group(fit, "estimate")
    assert group(fit, "estimate") is not group(fit, "estimate")


def test_r_squared_fits_the_model_without_predictors_itself() -> None:
    fit, simpler = bm.fit(bcg("logor ~ ablat")), bm.fit(bcg())
    xr.testing.assert_allclose(bm.r_squared(fit), bm.r_squared(fit, simpler))
    several = {"PD": "year", "AL": "1"}
    data = bm.datasets.load("berkey98").assign(year=lambda rows: rows.pubyear - 1983)
    tree = bm.fit(bm.specify(several, data, S=["var_PD", "cov_PD_AL", "var_AL"], psi="diag"))
    assert bm.r_squared(tree).sizes == {"outcome": 2, "level": 2}


def test_wald_intervals_of_shares_are_those_of_the_variance() -> None:
    """With one variance that of I2 is the interval of tau2, carried over; with two, errors by the delta method."""
    fit = bm.fit(bcg())
    frame, typical = bm.estimates(fit), bm.variance_partition(fit)["variance"].sel(level="sampling").item()
    (_, (_, _, lower, upper)), (_, (_, se, *_)) = _wald_shares(fit, bm.heterogeneity(fit)["H2_tau2"].item() - 1, 0.95)
    own = frame.loc["tau2[unit, Intercept]"]
    assert se == pytest.approx(2 * np.prod(frame.loc["tau[unit, Intercept]", ["estimate", "se"]]) / typical, rel=1e-9)
    assert [lower, upper] == pytest.approx([100 * own[x] / (own[x] + typical) for x in ("lower", "upper")], rel=1e-9)
    school = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
    xi, cov = (school["estimate"][name].values for name in ("xi", "xi_cov"))
    spec = bm.Spec.from_tree(school)
    sums = [
        sum(level.structure.psi(at[[i]], 1).item() for i, level in enumerate(spec.levels))
        for h in 1e-6 * np.eye(2)
        for at in (xi + h, xi - h)
    ]
    slope = (np.array(sums[::2]) - np.array(sums[1::2])) / 2e-6
    typical = bm.variance_partition(school)["variance"].sel(level="sampling").item()
    assert excess_error(school) == pytest.approx(np.sqrt(slope @ cov @ slope) / typical, rel=1e-5)


def test_models_of_several_levels_say_how_i2_is_made_up() -> None:
    school = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
    shares = bm.variance_partition(school)["share"].sel(outcome="overall").to_series().drop("sampling")
    line = next(row for row in str(bm.summary(school)).splitlines() if row.startswith("I2 by level"))
    assert line.split(maxsplit=3)[-1] == ", ".join(f"{level} {share:.2f}%" for level, share in shares.items())
    assert "I² was 95.2% (95% CI 90.6% to 97.6%): 63.3% between districts and 31.9%" in bm.methods_text(school).results
    assert "by level" not in str(bm.summary(bm.fit(bcg())))
