"""`bayesmeta report` as a user types it, on model files and on saved results."""

import re
from dataclasses import replace
from html import unescape
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.report import from_file
from bayesmeta.report.from_file import ReportOptions, for_priors, report_file
from bayesmeta.tree import files
from tests.support.posteriors import make_posterior

MODELS = Path(__file__).resolve().parents[2] / "models"
RUN = CliRunner()
FEW = ["--draws", "60", "--tune", "60", "--chains", "2", "--seed", "3"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def text_of(path: Path) -> str:
    html = re.sub(r"<style>.*?</style>", "", path.read_text(encoding="utf-8"), flags=re.S)
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())


def test_a_model_is_fitted_and_sampled(directory: Path) -> None:
    given = ["report", str(MODELS / "school.toml"), "-o", "page.html", "--model", "district_study", *FEW]
    ran = RUN.invoke(app, given)
    assert ran.exit_code == 0, ran.output
    assert "Report written to page.html" in ran.output
    said, model = text_of(directory / "page.html"), bm.load_analysis(MODELS / "school.toml").models["district_study"]
    fit = bm.fit(model.spec, method="ml")
    beta, se = (float(fit["estimate"][name][0]) for name in ("beta", "beta_se"))
    assert f"{beta:.4f} ({se:.4f})" in said
    assert "2 chains of 60 draws" in said
    for section in ("as reported half as wide twice as wide half-Cauchy", "Traces", "Ranks", "Forest plot"):
        assert section in said
    assert "--model district_study --draws 60 --tune 60 --chains 2 --seed 3" in said
    assert "bm.sample(models['district_study'].spec, models['district_study'].priors, draws=60" in said
    assert fit.attrs["data_hash"] in said
    assert "S as given var" in said


def test_fits_alone_take_no_draws(directory: Path) -> None:
    ran = RUN.invoke(app, ["report", str(MODELS / "bcg.toml"), "--no-bayes"])
    assert ran.exit_code == 0, ran.output
    said = text_of(directory / "bcg.html")
    models = bm.load_analysis(MODELS / "bcg.toml").models
    for name, model in models.items():
        assert f"Model {name}" in said
        assert model.what in said
    assert "Models side by side" in said
    assert "R-hat" not in said
    assert "Sensitivity to priors" not in said
    assert "The same rows as those of model fixed." in said


def test_saved_results_say_what_the_trees_hold(directory: Path) -> None:
    spec = bm.load_analysis(MODELS / "school.toml").models["district"].spec
    files.save({"district_ml": bm.fit(spec, "ml"), "district_bayes": make_posterior(spec)}, Path("found.nc"))
    ran = RUN.invoke(app, ["report", "found.nc"])
    assert ran.exit_code == 0, ran.output
    said = text_of(directory / "found.html")
    page = bm.compare({"ml": bm.fit(spec, "ml")}).estimates_table()
    assert all(row[1] in said for row in page.rows)
    assert "trees = bm.load('found.nc')" in said
    assert "Sensitivity to priors: not part of saved results" in said
    assert "Model district" not in said  # one model needs no chapters
    files.save({"one": bm.fit(spec, "ml")}, Path("one.zarr"))
    assert RUN.invoke(app, ["report", "one.zarr"]).exit_code == 0
    assert "pooled standardised mean difference" in text_of(directory / "one.html")


def test_a_posterior_that_was_saved_is_not_sampled_again(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the same model, priors, draws and seed; anything else is sampled."""
    model = bm.load_analysis("bcg").models["ml"]
    post = make_posterior(model.spec)
    del post.attrs["group_hashes"]  # of a posterior without a number of tuning draws
    post.attrs["tune"] = "50"
    files.save({"ml_ml": bm.fit(model.spec, "ml"), "ml_bayes": post}, Path("bcg_compare.nc"))
    sampled: list[bm.Spec] = []
    monkeypatch.setattr(from_file, "sample", lambda spec, *rest, **options: sampled.append(spec) or post)
    options = ReportOptions("ml", draws=100, tune=50, chains=2, seed=1, sensitivity=False)
    report_file(Path("bcg"), Path("page.html"), options)
    assert sampled == []
    assert from_file._as_asked(post, model.spec, None, options)
    assert not from_file._as_asked(post, model.spec, bm.Priors(tau=bm.priors.half_normal(3)), options)
    assert not from_file._as_asked(post, bm.load_analysis("bcg").models["ml_ablat"].spec, None, options)
    for changed in ({"draws": 99}, {"seed": 2}, {"tune": 7}, {"chains": 3}):
        assert not from_file._as_asked(post, model.spec, None, replace(options, **changed)), changed


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["none.toml"], "no model file none.toml"),
        (["none.nc"], "no file none.nc"),
        ([str(MODELS / "school.toml"), "--model", "distrct"], "no model 'distrct'"),
        ([str(MODELS / "school.toml"), "-o", "none/x.html"], "no directory none"),
        ([str(MODELS / "school.toml"), "-o", "x.toml"], "a report is one HTML file"),
        ([str(MODELS / "school.toml"), "--draws", "0"], "draws is 0"),
        (["found.nc", "--no-bayes"], "--method and --no-bayes are for model files"),
        (["found.nc", "--model", "x"], "found.nc has no model 'x'"),
    ],
)
def test_refusals_are_one_line(directory: Path, given: list[str], message: str) -> None:
    if given[0] == "found.nc":
        spec = bm.load_analysis(MODELS / "school.toml").models["district"].spec
        files.save({"a": bm.fit(spec, "ml"), "b": bm.fit(spec)}, Path("found.nc"))
    ran = RUN.invoke(app, ["report", *given])
    assert ran.exit_code == 2
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert not list(directory.glob("*.html"))


def test_which_model_is_tried_with_other_priors() -> None:
    school = bm.load_analysis(MODELS / "school.toml")
    assert for_priors(school, list(school.models)) == "district_study"
    assert for_priors(school, ["year"]) == "year"
    bcg = bm.load_analysis(MODELS / "bcg.toml")
    assert for_priors(bcg, ["fixed", "reml_ablat"]) == "reml_ablat"


def test_options_are_written_as_typed() -> None:
    assert ReportOptions().arguments() == []
    assert ReportOptions(model="m", seed=4, bayes=False, sensitivity=True).arguments() == [
        *("--model", "m", "--seed", "4", "--no-bayes", "--sensitivity")
    ]
    assert ReportOptions(sensitivity=False).arguments() == ["--no-sensitivity"]
