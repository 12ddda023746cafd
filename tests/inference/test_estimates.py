"""Every parameter in one data frame: the same as summary, confint and compare have, under the same names."""

from collections.abc import Iterator

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.io.toml_files import bundled
from bayesmeta.tree.parameters import check_parameter
from tests.support.posteriors import make_posterior

COLUMNS = ["term", "kind", "level", "outcome", "estimate", "se", "lower", "upper", "statistic", "df", "pvalue"]
NUMBERS = ["estimate", "se", "lower", "upper"]


def bcg(formula: str = "logor ~ 1", **options: object) -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg"), **{"S": "logorvar", "measure": "logor"} | options)


def berkey(formula: str = "PD + AL ~ 1", **options: object) -> bm.Spec:
    data = bm.datasets.load("berkey98").assign(year=lambda rows: rows.pubyear - 1983)
    return bm.specify(formula, data, S=["var_PD", "cov_PD_AL", "var_AL"], **options)


def bundled_models() -> Iterator[tuple[str, str]]:
    for name in sorted(bundled()):
        try:
            analysis = bm.load_analysis(name)
        except bm.SpecError:  # a simulation study
            continue
        yield from ((name, model) for model in analysis.models)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize(("file", "model"), list(bundled_models()))
def test_the_same_as_summary_confint_and_compare_for_every_model_file(file: str, model: str) -> None:
    declared = bm.load_analysis(file).models[model]
    for tree in (bm.fit(declared.spec, method=declared.method), make_posterior(declared.spec)):
        frame = bm.estimates(tree)
        assert list(frame.columns) == COLUMNS
        pd.testing.assert_frame_equal(bm.summary(tree).to_dataframe(), frame)
        compared = bm.compare(tree, names=["one"]).to_dataframe()["one"]
        np.testing.assert_array_equal(compared[NUMBERS], frame.loc[compared.index, NUMBERS])
        assert set(compared.index) == set(frame.index[frame["kind"] != "psi"])
        if tree.attrs["backend"] == "sample":
            assert frame[["statistic", "df", "pvalue"]].isna().all(axis=None)
            continue
        wald = bm.confint(tree).to_dataframe()
        np.testing.assert_array_equal(wald[NUMBERS], frame.loc[wald.index, NUMBERS])
        kinds = [kind for kind in ("tau2", "psi") if frame.index.str.startswith(f"{kind}[").any()]
        if kinds:
            squares = bm.confint(tree, parameters=kinds).to_dataframe()
            np.testing.assert_array_equal(squares[NUMBERS], frame.loc[squares.index, NUMBERS])


def test_kinds_levels_outcomes_and_names() -> None:
    frame = bm.estimates(bm.fit(berkey()))
    assert frame.index.tolist() == [
        *("beta[PD.Intercept]", "beta[AL.Intercept]", "tau[unit, PD]", "tau[unit, AL]", "rho[unit, PD~AL]"),
        *("tau2[unit, PD]", "tau2[unit, AL]", "psi[unit, PD~AL]"),
    ]
    assert frame["kind"].tolist() == ["beta", "beta", "tau", "tau", "rho", "psi", "psi", "psi"]
    assert frame["outcome"].tolist() == ["PD", "AL", "PD", "AL", "", "PD", "AL", ""]
    assert frame["level"].tolist() == ["", "", *["unit"] * 6]
    assert all(frame[name].dtype.kind == "f" for name in NUMBERS)


def test_variances_and_covariances_are_those_of_psi_with_the_errors_of_the_delta_method() -> None:
    fit = bm.fit(berkey())
    frame, psi = bm.estimates(fit), fit["estimate"]["psi_unit"].values
    own = frame.loc[["tau2[unit, PD]", "tau2[unit, AL]", "psi[unit, PD~AL]"]]
    np.testing.assert_allclose(own["estimate"], [psi[0, 0], psi[1, 1], psi[0, 1]], rtol=1e-12)
    taus = frame.loc[["tau[unit, PD]", "tau[unit, AL]"]]
    np.testing.assert_allclose(own["se"].iloc[:2], 2 * taus["estimate"] * taus["se"], rtol=1e-8)
    np.testing.assert_allclose(own[["lower", "upper"]].iloc[:2], taus[["lower", "upper"]] ** 2, rtol=1e-12)
    # the covariance's error by differences of psi in the free parameters
    structure = bm.Spec.from_tree(fit).levels[0].structure
    xi, cov = fit["estimate"]["xi"].values, fit["estimate"]["xi_cov"].values
    step = 1e-6 * np.eye(len(xi))
    slope = [(structure.psi(xi + h, 2) - structure.psi(xi - h, 2))[0, 1] / 2e-6 for h in step]
    assert own["se"].iloc[2] == pytest.approx(np.sqrt(slope @ cov @ slope), rel=1e-5)


def test_covariances_of_a_posterior_are_those_of_its_draws() -> None:
    tree = make_posterior(berkey())
    draws = tree["derived"]["psi_unit"].values.reshape(-1, 2, 2)
    frame = bm.estimates(tree, prob=0.9)
    for label, (i, j) in {"tau2[unit, AL]": (1, 1), "psi[unit, PD~AL]": (0, 1)}.items():
        own = draws[:, i, j]
        expected = [own.mean(), own.std(ddof=1), *np.quantile(own, [0.05, 0.95])]
        np.testing.assert_allclose(frame.loc[label, NUMBERS].astype(float), expected, rtol=1e-12)


def test_tests_are_normal_on_request() -> None:
    frame = bm.estimates(bm.fit(bcg("logor ~ ablat")), df="z")
    beta = frame[frame["kind"] == "beta"]
    np.testing.assert_allclose(beta["statistic"], beta["estimate"] / beta["se"])
    assert beta["statistic"].round(4).tolist() == [1.4026, -5.0247]  # rma() of metafor 3.8-1 prints these
    assert (beta["df"] == np.inf).all()
    assert frame[frame["kind"] != "beta"][["statistic", "df", "pvalue"]].isna().all(axis=None)


def test_response_scale_takes_bounds_there_and_leaves_standard_errors_out() -> None:
    fit = bm.fit(bcg("logor ~ ablat"))
    model, response = bm.estimates(fit), bm.estimates(fit, scale="response")
    bounds = ["estimate", "lower", "upper"]
    beta = model["kind"] == "beta"
    np.testing.assert_allclose(response.loc[beta, bounds], np.exp(model.loc[beta, bounds]), rtol=1e-12)
    assert response.loc[beta, "se"].isna().all()
    pd.testing.assert_frame_equal(response[~beta], model[~beta], check_like=True)
    pd.testing.assert_series_equal(response["pvalue"], model["pvalue"])
    assert (model.attrs["scale"], response.attrs["scale"]) == ("model", "response")


def test_metafors_odds_ratio() -> None:
    """`predict(rma(yi, vi), transf = exp)` of metafor 3.8-1: 0.4746 [0.3296, 0.6835]."""
    row = bm.estimates(bm.fit(bcg()), scale="response", df="z").loc["beta[Intercept]"]
    assert [round(row[name], 4) for name in ("estimate", "lower", "upper")] == [0.4746, 0.3296, 0.6835]


def test_a_posterior_is_transformed_draw_by_draw() -> None:
    tree = make_posterior(bcg())
    draws = np.exp(tree["posterior"]["beta"].values.reshape(-1))
    row = bm.estimates(tree, scale="response").loc["beta[Intercept]"]
    assert row["estimate"] == pytest.approx(draws.mean(), rel=1e-12)
    assert row["lower"] == pytest.approx(np.quantile(draws, 0.025), rel=1e-9)
    assert np.isnan(row["se"])


def test_effects_and_differences_have_scales_of_their_own() -> None:
    rows = {"y": [-1.0, 0.2, 0.5, 1.0], "v": [0.1, 0.1, 0.2, 0.1], "x": [0.0, 1.0, 2.0, 3.0], "g": list("aabb")}

    def change(measure: str, formula: str) -> list[bool]:
        spec = bm.specify(formula, rows, S="v", measure=measure)
        fit = bm.fit(spec, "fixed")
        model, response = (bm.estimates(fit, scale=scale) for scale in ("model", "response"))
        beta = model["kind"] == "beta"
        return (model["estimate"] != response["estimate"])[beta].tolist()

    assert change("zcor", "y ~ x") == [True, False]  # a difference of z is no correlation
    assert change("logit", "y ~ x") == [True, True]
    assert change("zcor", "y ~ 0 + g") == [True, True]  # means of groups are effects
    assert change("zcor", "y ~ 0 + g + x") == [True, True, False]
    assert change("zcor", "y ~ g") == [True, False]
    logit = bm.fit(bm.specify("y ~ x", rows, S="v", measure="logit"), "fixed")
    model, response = (bm.estimates(logit, scale=scale)["estimate"] for scale in ("model", "response"))
    assert response.iloc[0] == pytest.approx(1 / (1 + np.exp(-model.iloc[0])))
    assert response.iloc[1] == pytest.approx(np.exp(model.iloc[1]))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"scale": "response"},
            r'no scale="response": the model does not say .*\n  give it to specify, as in measure=',
        ),
        ({"scale": "log"}, "scale is 'log'"),
        ({"vcov": "robust"}, "vcov is 'robust'\n  must be one of"),
        ({"df": 3}, "df is 3\n  must be one of"),
        ({"prob": 95}, "prob is 95"),
    ],
)
def test_what_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(bm.SpecError, match=message):
        bm.estimates(bm.fit(bcg(measure=None)), **options)


def test_a_measure_read_on_the_scale_of_the_model_has_no_other() -> None:
    with pytest.raises(bm.SpecError, match="a risk difference is read on the scale of the model"):
        bm.estimates(bm.fit(bcg(measure="rd")), scale="response")


LABELS = [
    *("beta[Intercept]", "beta[ablat]", "tau[district, Intercept]", "tau[study, Intercept]"),
    *("tau2[district, Intercept]", "rho[unit, PD~AL]", "psi[unit, PD~AL]"),
]


@pytest.mark.parametrize(
    ("spelling", "right"),
    [
        *[(each, "beta[ablat]") for each in ("ablat", "beta_ablat", "b_ablat", "Beta[ablat]", "beta[ ablat ]")],
        *[(each, "beta[Intercept]") for each in ("mu", "intrcpt", "(Intercept)", "intercept")],
        *[
            (each, "tau[district, Intercept]")
            for each in ("tau_district", "tau_district[Intercept]", "district / tau", "district.sd", "tau[district]")
        ],
        *[(each, "tau2[district, Intercept]") for each in ("psi[district, Intercept]", "tau2_district", "tau^2")],
        *[(each, "rho[unit, PD~AL]") for each in ("rho_unit", "rho[unit,PD~AL]", "rho[PD~AL]")],
    ],
)
def test_other_spellings_are_answered_with_the_right_one(spelling: str, right: str) -> None:
    with pytest.raises(bm.SpecError, match="it is called") as caught:
        check_parameter(spelling, LABELS, ["beta", "tau", "tau2", "rho", "psi"])
    assert f"it is called '{right}'" in str(caught.value).splitlines()[0]


@pytest.mark.parametrize("function", ["wald", "profile", "qprofile", "plot", "priors"])
def test_every_function_takes_the_same_names(function: str) -> None:
    fit = bm.fit(bcg())
    calls = {
        "wald": lambda name: bm.confint(fit, parameters=name),
        "profile": lambda name: bm.profile(fit, name, points=2),
        "qprofile": lambda name: bm.confint(fit, "qprofile", name),
        "plot": lambda name: bm.plots.compare({"one": fit}, parameters=name),
        "priors": lambda name: bm.plots.prior_posterior(make_posterior(bcg()), name),
    }
    calls[function]("tau[unit, Intercept]")
    with pytest.raises(bm.SpecError, match=r"no parameter 'tau_unit'; it is called 'tau\[unit, Intercept\]'"):
        calls[function]("tau_unit")


def test_the_frame_of_a_tree_read_from_a_file_is_the_same(tmp_path: object) -> None:
    fit = bm.fit(bcg("logor ~ ablat"))
    fit.to_netcdf(f"{tmp_path}/fit.nc")
    with xr.open_datatree(f"{tmp_path}/fit.nc") as read:
        pd.testing.assert_frame_equal(bm.estimates(read), bm.estimates(fit))
