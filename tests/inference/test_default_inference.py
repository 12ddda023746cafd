"""What is used where `vcov` and `df` are not given, and that one choice holds for all that is asked within it."""

import json
from collections.abc import Callable
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
from scipy.stats import norm, t

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.inference.reference import asked, check_asked, reference_of_fit
from bayesmeta.model_files.model_file import load_analysis
from tests.support.posteriors import make_posterior

BERKEY = ["var_PD", "cov_PD_AL", "var_AL"]


def bcg(formula: str = "logor ~ 1", n: int = 13, **options) -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("bcg").head(n), S="logorvar", measure="logor", **options)


def school(formula: str = "effect ~ 1", random: str = "1 | district/study") -> bm.Spec:
    return bm.specify(formula, bm.datasets.load("school"), S="var", random=random)


def berkey() -> bm.Spec:
    return bm.specify("PD + AL ~ 1", bm.datasets.load("berkey98"), S=BERKEY)


@pytest.mark.parametrize(
    ("make", "method", "df"),
    [
        (bcg, "reml", "knapp-hartung-adhoc"),
        (bcg, "ml", "knapp-hartung-adhoc"),
        (lambda: bcg("logor ~ ablat"), "dl", "knapp-hartung-adhoc"),
        (bcg, "fixed", "z"),
        (lambda: bcg(psi=bm.structures.Fixed([[0.3]])), "reml", "z"),
        (lambda: bcg("logor ~ ablat", n=2), "reml", "z"),
        (school, "reml", "satterthwaite-scaled"),
        (school, "ml", "z"),
        (lambda: school(random="1 | district"), "reml", "satterthwaite-scaled"),
        (berkey, "reml", "satterthwaite-scaled"),
        (berkey, "mm", "z"),
    ],
)
@pytest.mark.filterwarnings("ignore::bayesmeta.errors.BayesmetaWarning")
def test_the_default(make: Callable[[], bm.Spec], method: str, df: str) -> None:
    fit = bm.fit(make(), method)
    assert bm.estimates(fit).attrs["df"] == df
    assert bm.estimates(fit, vcov="CR1").attrs["df"] == "satterthwaite"
    pd.testing.assert_frame_equal(bm.estimates(fit), bm.estimates(fit, df=df))


def test_one_choice_holds_for_all_that_is_asked_within_it() -> None:
    fit = bm.fit(school())
    with asked(df="kenward-roger"):
        assert bm.estimates(fit).attrs["df"] == "kenward-roger"
        assert bm.predict(fit, {}).attrs["df"] == "kenward-roger"
        assert bm.estimates(fit, df="z").attrs["df"] == "z"
        with asked():  # nothing asked within changes nothing
            assert bm.wald_test(fit).attrs["df"] == "kenward-roger"
        with asked({"kind": "CR2", "cluster": "district"}):
            assert bm.estimates(fit).attrs["vcov"] == "CR2"
    assert bm.estimates(fit).attrs["df"] == "satterthwaite-scaled"


def test_a_choice_ends_with_an_error() -> None:
    with pytest.raises(ZeroDivisionError), asked(df="residual"):
        raise ZeroDivisionError
    assert bm.estimates(bm.fit(school())).attrs["df"] == "satterthwaite-scaled"


def test_what_was_used_asks_for_the_same() -> None:
    fit = bm.fit(school())
    for arguments in ({}, {"df": "residual"}, {"vcov": "CR2"}, {"vcov": {"kind": "CR1", "cluster": "district"}}):
        used = reference_of_fit(fit, arguments.get("vcov"), arguments.get("df"), "")
        again = reference_of_fit(fit, *used.arguments, "")
        assert again.attrs == used.attrs
        np.testing.assert_array_equal(again.cov, used.cov)


@pytest.mark.parametrize(("vcov", "df"), [("CR9", None), (None, "t"), ("CR2", "kenward-roger"), ({"kind": 3}, None)])
def test_what_there_is_not_is_refused_without_a_fit(vcov, df) -> None:
    with pytest.raises(bm.SpecError):
        check_asked(vcov, df)


def test_a_page_keeps_its_choice_after_it_was_made() -> None:
    with asked(df="residual"):
        page = bm.summary(bm.fit(school()))
    assert "t with residual degrees of freedom, df 55" in str(page)
    assert page.to_dataframe().attrs["df"] == "residual"


def test_blup_has_the_error_of_the_coefficients_from_the_sandwich() -> None:
    """Full matrices: the prediction of x'beta + z'b moves with beta by x' - z'Psi Z'Sigma^-1 X."""
    spec = school("effect ~ year", random="1 | district")
    fit = bm.fit(spec)
    index, psi = spec.levels[0].index, fit["estimate"]["psi_district"].to_numpy().item()
    among = psi * (index[:, None] == index[None, :])
    Sigma = np.diag(spec.S.variances) + among
    by_beta = spec.X - among @ np.linalg.solve(Sigma, spec.X)
    given_beta = np.diag(among - among @ np.linalg.solve(Sigma, among))
    used = reference_of_fit(fit, "CR2", None, "")
    of_beta = np.einsum("np,pq,nq->n", by_beta, used.cov, by_beta)
    half = np.sqrt(norm.ppf(0.975) ** 2 * given_beta + t.ppf(0.975, used.dfs(by_beta)) ** 2 * of_beta)
    made = bm.blup(fit, vcov="CR2")
    np.testing.assert_allclose(made["se"].to_numpy()[:, 0], np.sqrt(given_beta + of_beta), rtol=1e-9)
    np.testing.assert_allclose((made["upper"] - made["mean"]).to_numpy()[:, 0], half, rtol=1e-9)
    assert made.attrs["vcov"] == "CR2"
    assert "df" not in bm.blup(fit).attrs


def width(ax) -> float:
    """Of the shaded band in the middle of the picture."""
    (band,) = (
        each for each in ax.collections if type(each).__name__ in ("FillBetweenPolyCollection", "PolyCollection")
    )
    points = band.get_paths()[0].vertices
    middle = np.median(points[:, 0])
    near = points[np.abs(points[:, 0] - middle) < 0.1 * np.ptp(points[:, 0])]
    return float(np.ptp(near[:, 1]))


def test_pictures_draw_the_intervals_that_are_asked_for() -> None:
    fit = bm.fit(bcg("logor ~ ablat"))
    bands = [width(bm.plots.bubble(fit, "ablat", scale="model", interval="confidence", df=df)) for df in ("z", None)]
    assert bands[1] > 1.1 * bands[0]
    figure = bm.plots.bubble(fit, "ablat", statistics=True).figure
    texts = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
    assert "F = 17.60, df = 1 and 11" in " ".join(texts.split())
    plt.close("all")


def test_the_forest_and_its_test_follow() -> None:
    fit = bm.fit(bcg())
    for df, words in ((None, "t(12) = −3.99"), ("z", "z = −4.01"), ("residual", "t(12) = −4.01")):
        figure = bm.plots.forest(fit, df=df).figure
        texts = " ".join(text.get_text() for ax in figure.axes for text in ax.texts)
        assert words in texts.replace("\N{NO-BREAK SPACE}", " ")
    plt.close("all")


def test_a_posterior_has_intervals_of_its_own() -> None:
    post = make_posterior(bcg())
    for ask in (bm.plots.forest, bm.plots.orchard, bm.blup, bm.predict, bm.table):
        with pytest.raises(bm.SpecError, match="df is for fits"):
            ask(post, df="z")
    plt.close("all")


def test_tables_have_the_intervals_that_are_asked_for() -> None:
    fit = bm.fit(bcg())
    assert "0.47 (0.33 to 0.68)" in str(bm.table(fit, df="z"))
    assert "0.47 (0.32 to 0.71)" in str(bm.table(fit))
    for source in (bm.summary(fit), bm.estimates(fit)):
        with pytest.raises(bm.SpecError, match="df='z' has no meaning for this source"):
            bm.table(source, df="z")
    with pytest.raises(bm.SpecError, match="Cochran's Q"):
        bm.table(fit, "heterogeneity", df="z")


def test_refits_are_tested_as_the_fit_is() -> None:
    fit = bm.fit(bcg())
    frame = bm.leave_one_out(fit)
    assert (frame["df"] == 11).all()
    assert (bm.leave_one_out(fit, df="z")["df"] == np.inf).all()
    grown = bm.cumulative(fit, df="knapp-hartung")
    assert np.isnan(grown.loc[0, "pvalue"])  # one study
    assert np.isfinite(grown.loc[0, ["estimate", "se"]].astype(float)).all()
    assert grown["df"].iloc[-1] == 12


FILE = """
title = "Schools"
data = "school"
df = "residual"

[model.one]
formula = "effect ~ 1"
S = "var"
random = "1 | district"

[model.two]
formula = "effect ~ 1"
S = "var"
random = "1 | district"
vcov = {kind = "CR2", cluster = "district"}

[tables]
"Both" = ["one", "two"]
"""


def test_a_model_file_says_how(tmp_path: Path) -> None:
    path = tmp_path / "schools.toml"
    path.write_text(FILE)
    analysis = load_analysis(path)
    assert analysis.inference == analysis.models["one"].inference == (None, "residual")
    assert analysis.models["two"].inference == ({"kind": "CR2", "cluster": "district"}, None)
    path.write_text(FILE.replace('"residual"', '"residuals"'))
    with pytest.raises(bm.SpecError, match=r"schools.toml, line 4.*did you mean 'residual'"):
        load_analysis(path)


def test_commands_follow_the_file_and_options_the_command(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schools.toml").write_text(FILE)

    def run(*arguments: str) -> str:
        app(list(arguments), standalone_mode=False)
        return capsys.readouterr().out

    page = run("fit", "schools.toml")
    assert "t with residual degrees of freedom, df 55" in page
    assert "CR2 covariance by 11 clusters (district)" in page
    page = run("fit", "schools.toml", "--df", "z")
    assert page.count("Inference  normal") == 2
    record = json.loads(run("fit", "schools.toml", "--json"))
    assert [record["results"][name]["df"] for name in ("one", "two")] == ["residual", "satterthwaite"]
    run("report", "schools.toml", "--no-bayes", "--df", "kenward-roger", "-o", "page.html")
    html = Path("page.html").read_text()
    assert "degrees of freedom of Kenward and Roger" in " ".join(html.split())
    assert "df=&#39;kenward-roger&#39;" in html or "df='kenward-roger'" in html


def test_saved_results_keep_what_the_file_says(tmp_path: Path, monkeypatch, capsys) -> None:
    monkeypatch.chdir(tmp_path)
    Path("schools.toml").write_text(FILE)
    app(["fit", "schools.toml"], standalone_mode=False)
    fitted = capsys.readouterr().out
    trees = bm.load("schools.nc")
    assert bm.estimates(trees["one"]).attrs["df"] == "residual"
    assert bm.estimates(trees["two"]).attrs["vcov"] == "CR2"
    assert bm.estimates(trees["one"], df="z").attrs["df"] == "z"
    assert (bm.leave_one_out(trees["one"])["df"] < 55).all()
    assert str(bm.summary(trees["one"])) in fitted
    with asked(df="z"):
        assert bm.estimates(trees["two"]).attrs["df"] == "z"
    for wrong in ("{", '["a"]', '{"df": "t"}'):
        trees["one"].attrs["inference"] = wrong
        with pytest.raises(bm.SpecError):
            bm.estimates(trees["one"])


def test_a_report_follows(tmp_path: Path) -> None:
    fit = bm.fit(bcg())
    by_default, normal = (bm.report(fit, df=df).html for df in (None, "z"))
    assert "0.3160 to 0.7130" in by_default
    assert "0.3296 to 0.6835" in normal
    assert "0.3160" not in normal
