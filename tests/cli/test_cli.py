"""The commands as a user types them."""

import re
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.model_files.model_file import load_analysis
from bayesmeta.model_files.published import rounded

MODELS = Path(__file__).resolve().parents[2] / "models"
RUN = CliRunner()


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_fit_prints_table_2_and_saves(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", str(MODELS / "school.toml")])
    assert ran.exit_code == 0, ran.output
    table = ran.output.split("== Table 2")[1]
    analysis = load_analysis(MODELS / "school.toml")
    for name in analysis.tables["Table 2"]:
        assert name in table
        for entry in analysis.models[name].paper:
            if entry.quantity in ("beta", "aic"):
                shown = [float(number) for number in re.findall(r"-?\d+\.\d+", table)]
                assert any(rounded(number, entry.printed) == entry.printed for number in shown), entry
    saved = directory / "school.nc"
    assert f"saved in {saved.name}" in ran.output
    tree = xr.open_datatree(saved, group="district")
    fit = bm.fit(analysis.models["district"].spec, method="ml")
    assert float(tree["estimate"]["beta"][0]) == float(fit["estimate"]["beta"][0])


def test_show_prints_what_fit_printed(directory: Path) -> None:
    fitted = RUN.invoke(app, ["fit", str(MODELS / "school.toml"), "--out", "here.nc"])
    shown = RUN.invoke(app, ["show", "here.nc"])
    assert shown.exit_code == 0, shown.output
    for name, model in load_analysis(MODELS / "school.toml").models.items():
        assert f"== {name}" in shown.output
        page = str(bm.summary(bm.fit(model.spec, method=model.method), df="z"))
        assert page in fitted.output
        assert page in shown.output


def test_one_model_by_another_method_is_saved_as_its_own_tree(directory: Path) -> None:
    ran = RUN.invoke(
        app, ["fit", str(MODELS / "school.toml"), "--model", "district", "--method", "reml", "--out", "d.nc"]
    )
    assert ran.exit_code == 0, ran.output
    assert "== Table 2" not in ran.output
    tree = xr.open_datatree(directory / "d.nc")
    assert tree.attrs["method"] == "reml"
    shown = RUN.invoke(app, ["show", "d.nc"])
    assert shown.output.rstrip() == str(bm.summary(tree)).rstrip()


def test_reproduce_ticks_every_number_and_gives_the_reasons_of_exceptions(directory: Path) -> None:
    for name in ("school.toml", "thrombolytic.toml"):
        (directory / name).write_text((MODELS / name).read_text(encoding="utf-8"), encoding="utf-8")
    ran = RUN.invoke(app, ["reproduce", "--models", str(directory)])
    assert ran.exit_code == 0, ran.output
    assert "24 reproduced, 2 known to differ, 0 not reproduced" in ran.output
    assert ran.output.count("✓") == 24
    words = " ".join(ran.output.split())
    for name in ("school", "thrombolytic"):
        for model in load_analysis(MODELS / f"{name}.toml").models.values():
            for entry in model.paper:
                assert entry.label in ran.output
                assert entry.printed in ran.output
                assert entry.reason in words


def test_reproduce_in_a_directory_without_model_files(directory: Path) -> None:
    ran = RUN.invoke(app, ["reproduce", "--models", "models"])
    assert ran.exit_code == 2
    assert "no model files (*.toml) in models" in ran.output


@pytest.mark.parametrize("entry", load_analysis(MODELS / "school.toml").models["district"].paper, ids=lambda e: e.label)
def test_a_changed_digit_makes_the_exit_code_1(entry: object, directory: Path) -> None:
    text = (MODELS / "school.toml").read_text(encoding="utf-8")
    printed = entry.printed  # type: ignore[attr-defined]
    changed = printed[:-1] + str((int(printed[-1]) + 1) % 10)
    assert text.count(f'"{printed}"') == 1
    (directory / "models").mkdir()
    (directory / "models" / "school.toml").write_text(text.replace(f'"{printed}"', f'"{changed}"'), encoding="utf-8")
    ran = RUN.invoke(app, ["reproduce", "--models", "models"])
    assert ran.exit_code == 1, ran.output
    assert "1 not reproduced" in ran.output


@pytest.mark.parametrize(
    ("command", "message"),
    [
        (["fit", "none.toml"], "no model file none.toml"),
        (["fit", str(MODELS / "school.toml"), "--model", "distrct"], "no model 'distrct'"),
        (["fit", str(MODELS / "school.toml"), "--method", "remll"], "remll"),
        (["fit", str(MODELS / "school.toml"), "--out", "none/x.nc"], "no directory none for the results file x.nc"),
        (["show", "none.nc"], "no file none.nc"),
        (["show", str(MODELS / "school.toml")], "school.toml is not a results file"),
    ],
)
def test_errors_are_messages(command: list[str], message: str, directory: Path) -> None:
    ran = RUN.invoke(app, command)
    assert ran.exit_code == 2
    assert message in ran.output
    assert "Traceback" not in ran.output
    assert ran.stderr.startswith("Error: ")
    assert not list(directory.iterdir())


def test_an_unknown_data_set_lists_those_that_are_bundled(directory: Path) -> None:
    (directory / "mine.toml").write_text('title = "T"\ndata = "alcohl"\n[model.one]\nformula = "y ~ 1"\nS = "v"\n')
    ran = RUN.invoke(app, ["fit", "mine.toml"])
    assert ran.exit_code == 2
    assert "unknown data set 'alcohl'; did you mean 'alcohol'?" in ran.output


def test_a_file_whose_models_have_no_random_effects_or_constructed_covariances(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", str(MODELS / "alcohol.toml")])
    assert ran.exit_code == 0, ran.output
    assert "== Table 4" in ran.output
    shown = RUN.invoke(app, ["show", "alcohol.nc"])
    assert shown.exit_code == 0, shown.output
    assert [line for line in shown.output.splitlines() if line.startswith("== ")] == [
        f"== {name}" for name in load_analysis(MODELS / "alcohol.toml").models
    ]


FEW = ["--draws", "60", "--tune", "60", "--chains", "2", "--seed", "3"]


def test_compare_prints_both_backends_and_saves_both(directory: Path) -> None:
    ran = RUN.invoke(app, ["compare", str(MODELS / "school.toml"), "--model", "district_study", *FEW])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"^ +reml +bayes$", ran.output, re.MULTILINE)
    for row in ("beta[Intercept]", "tau[district, Intercept]", "tau[study, Intercept]"):
        assert re.search(
            rf"^{re.escape(row)} +-?\d+\.\d+ \(\d+\.\d+\) +-?\d+\.\d+ \(\d+\.\d+\)$", ran.output, re.MULTILINE
        )
    assert "HalfNormal(sigma=0.3536) (default)" in ran.output
    assert "WARNING" in ran.output  # so few draws are not enough, which is said
    fit, post = (
        xr.open_datatree(directory / "school_compare.nc", group=f"district_study_{b}") for b in ("reml", "bayes")
    )
    spec = load_analysis(MODELS / "school.toml").models["district_study"].spec
    assert float(fit["estimate"]["beta"][0]) == float(bm.fit(spec, method="reml")["estimate"]["beta"][0])
    assert post["posterior"].sizes["draw"] == 60
    assert float(post["posterior"]["beta"].mean()) == pytest.approx(0.18, abs=0.1)
    shown = RUN.invoke(app, ["show", "school_compare.nc"])
    assert shown.exit_code == 0, shown.output
    assert "full Bayes (MCMC, 2 chains of 60 draws, nutpie)" in shown.output


def test_sample_prints_the_posterior_and_compare_leaves_out_what_the_file_leaves_out(directory: Path) -> None:
    file = directory / "bcg.toml"
    text = """
title = "BCG"
data = "bcg"
[priors]
tau = {name = "HalfCauchy", beta = 0.25}
[model.random]
formula = "logor ~ 1"
S = "logorvar"
measure = "logor"
[model.common]
formula = "logor ~ 1"
S = "logorvar"
method = "fixed"
measure = "logor"
priors = {beta = {Intercept = {name = "Normal", mu = 0, sigma = 2}}}
"""
    file.write_text(text)
    ran = RUN.invoke(app, ["sample", "bcg.toml", "--model", "random", *FEW])
    assert ran.exit_code == 0, ran.output
    assert "HalfCauchy(beta=0.25)" in ran.output
    assert (directory / "bcg_sample.nc").is_file()
    ran = RUN.invoke(app, ["compare", "bcg.toml", "--model", "common", *FEW])
    assert ran.exit_code == 0, ran.output
    assert re.search(r"^ +fixed +bayes$", ran.output, re.MULTILINE)
    assert "Normal(mu=0, sigma=2)" in ran.output
    assert "HalfCauchy" not in ran.output


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--draws", "0"], "draws is 0; it must be a whole number of at least 1"),
        (["--chains", "0"], "chains is 0"),
        (["--target-accept", "1.5"], "target_accept is 1.5"),
        (["--model", "distrct"], "did you mean 'district'?"),
    ],
)
def test_sample_refuses_in_one_line(directory: Path, options: list[str], complaint: str) -> None:
    ran = RUN.invoke(app, ["sample", str(MODELS / "school.toml"), *options])
    assert ran.exit_code == 2
    assert complaint in ran.output
    assert not list(directory.glob("*.nc"))
