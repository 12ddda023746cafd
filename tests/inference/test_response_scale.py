"""Predictions and comparisons on the scale on which people read the measure."""

from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree.response import DIFFERENCE, EFFECT, PER_UNIT, roles
from tests.support.posteriors import make_posterior, stacked


def bcg(formula: str = "logor ~ 1", **options: Any) -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), **{"S": "logorvar", "measure": "logor"} | options)


def correlations() -> bm.Spec:
    data = {"z": [0.2, 0.5, 0.4, 0.9], "v": [0.02, 0.03, 0.01, 0.02], "x": [0.0, 1.0, 2.0, 3.0]}
    return bm.specify("z ~ x", data, S="v", measure="zcor")


def test_metafors_prediction_interval_of_an_odds_ratio() -> None:
    """`predict(rma(yi, vi), transf = exp)` of metafor 3.8-1: 0.4746, ci 0.3296 to 0.6835, pi 0.1435 to 1.5696."""
    fit = bm.fit(bcg())
    confidence, prediction = (
        bm.predict(fit, {}, each, scale="response", df="z") for each in ("confidence", "prediction")
    )
    assert [round(confidence[name].item(), 4) for name in ("mean", "lower", "upper")] == [0.4746, 0.3296, 0.6835]
    assert [round(prediction[name].item(), 4) for name in ("lower", "upper")] == [0.1435, 1.5696]
    how = {"interval": "prediction", "prob": 0.95, "vcov": "model", "df": "z"}
    assert prediction.attrs == how | {"scale": "response", "label": "odds ratio"}


@pytest.mark.parametrize(("spec", "function"), [(bcg("logor ~ ablat"), np.exp), (correlations(), np.tanh)])
@pytest.mark.parametrize("interval", ["confidence", "prediction", None])
def test_bounds_are_transformed_and_standard_errors_left_out(spec: bm.Spec, function: Any, interval: Any) -> None:
    fit = bm.fit(spec)
    model, response = (bm.predict(fit, interval=interval, scale=scale) for scale in (None, "response"))
    assert set(response.data_vars) == set(model.data_vars) - {"se"}
    for name in response.data_vars:
        np.testing.assert_allclose(response[name], function(model[name]), rtol=1e-12)
    blup, there = (bm.blup(fit, scale=scale) for scale in ("model", "response"))
    for name in ("mean", "lower", "upper"):
        np.testing.assert_allclose(there[name], function(blup[name]), rtol=1e-12)
    assert "se" not in there


@pytest.mark.parametrize("interval", ["confidence", "prediction", None])
def test_a_posterior_is_transformed_draw_by_draw(interval: Any) -> None:
    tree = make_posterior(bcg("logor ~ ablat"))
    spec = bm.Spec.from_tree(tree)
    draws = np.exp(stacked(tree, "posterior", "beta") @ spec.X.T)
    found = bm.predict(tree, interval=interval, scale="response")
    assert "se" not in found
    assert ("lower" in found) == (interval is not None)
    if interval != "prediction":
        np.testing.assert_allclose(found["mean"].values[:, 0], draws.mean(0), rtol=1e-10)
    if interval == "confidence":
        np.testing.assert_allclose(found["upper"].values[:, 0], np.quantile(draws, 0.975, axis=0), rtol=1e-10)
    if interval == "prediction":  # quantiles go with the draws, the mean of a ratio lies above the ratio of the mean
        model = bm.predict(tree, interval=interval)
        np.testing.assert_allclose(found["lower"], np.exp(model["lower"]), rtol=0.02)
        assert (found["mean"].values > np.exp(model["mean"].values)).all()


def test_residuals_are_differences() -> None:
    fit = bm.fit(bcg())
    model, response = (bm.blup(fit, kind="residual", scale=scale) for scale in (None, "response"))
    np.testing.assert_allclose(response["mean"], np.exp(model["mean"]), rtol=1e-12)
    assert response.attrs["label"] == "ratio of odds ratios"
    with pytest.raises(bm.SpecError, match="a difference in Fisher's z is read on the scale of the model"):
        bm.blup(bm.fit(correlations()), kind="residual", scale="response")


def test_estimates_side_by_side() -> None:
    fits = {"one": bm.fit(bcg()), "two": bm.fit(bcg("logor ~ ablat"))}
    page, frame = bm.compare(fits, scale="response"), bm.compare(fits).to_dataframe()
    there = page.to_dataframe()
    beta = frame.index.str.startswith("beta")
    for name in ("estimate", "lower", "upper"):
        at = (slice(None), name)
        np.testing.assert_allclose(there.loc[beta, at], np.exp(frame.loc[beta, at]), rtol=1e-12)
        np.testing.assert_array_equal(there.loc[~beta, at], frame.loc[~beta, at])
    assert "Estimates on the response scale and 95% intervals" in str(page)
    assert "0.4746" in str(page)


@pytest.mark.parametrize("call", ["predict", "blup", "compare", "estimates"])
def test_a_measure_is_asked_for(call: str) -> None:
    fit = bm.fit(bcg(measure=None))
    with pytest.raises(bm.SpecError, match=r'(?s)^no scale="response": .*measure="logor"'):
        getattr(bm, call)(fit, scale="response")


def test_an_interval_comes_without_asking() -> None:
    fit = bm.fit(bcg())
    found = bm.predict(fit)
    xr.testing.assert_identical(found, bm.predict(fit, interval="confidence"))
    assert list(bm.predict(fit, interval=None).data_vars) == ["mean", "se"]
    assert bm.predict(fit, {}).sizes["row"] == 1  # a model that needs no predictors


def doses(formula: str, **options: Any) -> bm.Spec:
    """Log risk ratios of alcohol and colorectal cancer against the dose, which has no effect where it is zero."""
    data = bm.datasets.load("alcohol").dropna().reset_index(drop=True)
    rows = np.arange(len(data))
    data = data.assign(
        sex=np.where(rows % 2, "m", "f"), age=30.0 + rows % 7, later=data["logrr"] + 0.1, w=data["se"] ** 2
    )
    return bm.specify(formula, data, **{"S": "w", "measure": "logrr", "random": "0 + dose | id"} | options)


@pytest.mark.parametrize(
    ("formula", "expected"),
    [
        ("logrr ~ dose", [EFFECT, DIFFERENCE]),
        ("logrr ~ 0 + dose", [PER_UNIT]),
        ("logrr ~ 0 + dose + age", [PER_UNIT, PER_UNIT]),
        ("logrr ~ 0 + ns(dose, knots=[10, 25])", [PER_UNIT] * 3),
        ("logrr ~ 0 + dose + dose:C(sex)", [PER_UNIT, DIFFERENCE]),
        ("logrr ~ 0 + dose:C(sex)", [PER_UNIT, PER_UNIT]),
        ("logrr ~ 0 + dose * age", [PER_UNIT, PER_UNIT, DIFFERENCE]),
        ("logrr ~ 0 + C(sex) + dose", [EFFECT, EFFECT, DIFFERENCE]),
        ("logrr ~ 0 + C(sex)", [EFFECT, EFFECT]),
        ("logrr ~ 0 + dose + offset(age)", [DIFFERENCE]),
    ],
)
def test_a_slope_without_an_intercept_is_the_effect_of_one_unit(formula: str, expected: list[str]) -> None:
    assert list(roles(bm.fit(doses(formula), "fixed")).values()) == expected


def test_slopes_of_several_outcomes() -> None:
    two = {"S": ["w", "w"], "S_correlation": 0.3}
    for formula, expected in (
        ("logrr + later ~ 0 + dose", [PER_UNIT] * 2),
        ("logrr + later ~ dose", [EFFECT] * 2 + [DIFFERENCE] * 2),
    ):
        assert list(roles(bm.fit(doses(formula, **two), "fixed")).values()) == expected


def test_scales_without_a_value_of_no_effect_have_slopes_that_are_differences() -> None:
    data = pd.DataFrame({"y": [0.2, 0.5, 0.4, 0.9], "v": [0.02, 0.03, 0.01, 0.02], "x": [0.0, 1.0, 2.0, 3.0]})

    def of(measure: str) -> xr.DataTree:
        return bm.fit(bm.specify("y ~ 0 + x", data, S="v", measure=measure), "fixed")

    assert roles(of("logit")) == {"x": DIFFERENCE}
    assert roles(of("zcor")) == {"x": PER_UNIT}
    assert bm.estimates(of("zcor"), scale="response").equals(bm.estimates(of("zcor")))  # tanh is not of a slope


def test_the_effect_of_one_unit_has_its_label_everywhere() -> None:
    spec = doses("logrr ~ 0 + dose")
    for tree in (bm.fit(spec), make_posterior(spec)):
        page = str(bm.summary(tree))
        assert "risk ratio per unit" in page
        assert "ratio of risk ratios" not in page
        results = bm.methods_text(tree).results
        assert "risk ratio was 1.0" in results
        assert "per unit of dose" in results
        assert "per unit per unit" not in results
    assert "P(RR " in page
    fit = bm.fit(spec)
    slope = bm.estimates(fit).loc["beta[dose]", ["estimate", "lower", "upper"]].to_numpy(float)
    read = bm.estimates(fit, scale="response").loc["beta[dose]", ["estimate", "lower", "upper"]].to_numpy(float)
    np.testing.assert_allclose(read, np.exp(slope), rtol=1e-12)
    assert bm.plots.compare({"REML": fit})[0].get_xlabel() == "Risk ratio per unit, 95% interval"
