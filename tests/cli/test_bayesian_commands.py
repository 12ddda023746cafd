"""`bayesmeta bayes-factor`, `robustness` and `average`: tables, JSON and files, and what they read of model files."""

import json
from pathlib import Path

import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app

RUN = CliRunner()
MODEL = """title = "Trials"
data = "bcg"
[priors]
beta = { name = "Normal", mu = 0, sigma = 1 }
tau = [{ name = "HalfNormal", sigma = 0.5 },
       { name = "HalfCauchy", beta = 0.5 }]
[average]
models = ["null", "ablat"]
weights = { null = 1, ablat = 2 }
[model.null]
formula = "logor ~ 1"
S = "logorvar"
measure = "logor"
[model.ablat]
formula = "logor ~ ablat"
S = "logorvar"
measure = "logor"
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("trials.toml").write_text(MODEL)
    return tmp_path


def run(*arguments: str) -> str:
    result = RUN.invoke(app, list(arguments))
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def posteriors(directory):
    models = bm.load_analysis("trials.toml").models
    return {name: bm.sample(model.spec, model.priors, random_seed=1) for name, model in models.items()}


def test_bayes_factors(posteriors):
    record = json.loads(run("bayes-factor", "trials.toml", "--json"))["results"]["ablat against null"]
    known = bm.bayes_factor(posteriors["ablat"], posteriors["null"])
    assert record["log_bayes_factor"] == pytest.approx(float(known["log_bayes_factor"]))
    text = run("bayes-factor", "trials.toml", "tau = 0", "--model", "null")
    assert "null against tau = 0" in text
    assert "62.98" in text
    bm.save(posteriors["null"], "null.nc")
    assert "75.04" in run("bayes-factor", "null.nc", "Intercept = 0")


def test_averages_are_those_of_the_file(posteriors):
    record = json.loads(run("average", "trials.toml", "--json"))
    known = bm.average(posteriors, {"null": 1, "ablat": 2})
    assert [row["weight"] for row in record["models"]] == pytest.approx(known["weight"].values.tolist())
    estimates = {row["parameter"]: row["estimate"] for row in record["parameters"]}
    assert estimates["beta[ablat]"] == pytest.approx(float(known["estimate"].sel(parameter="beta[ablat]")))
    assert "0.6546" in run("average", "trials.toml", "--weights", "posterior")


@pytest.mark.usefixtures("directory")
def test_robustness_of_the_alternatives_in_the_file():
    record = json.loads(run("robustness", "trials.toml", "--model", "null", "--json"))["results"]["null"]
    assert record["labels"]["prior"] == ["tau ~ HalfNormal(sigma=0.5)", "tau ~ HalfCauchy(beta=0.5)"]
    model = bm.load_analysis("trials.toml").models["null"]
    known = bm.robustness(model.spec, dict(model.alternatives), model.priors)
    assert record["robustness"]["estimate"]["values"] == pytest.approx(known["estimate"].values)
    assert "under 2 priors" in run("robustness", "trials.toml", "--model", "null")


@pytest.mark.usefixtures("directory")
def test_robustness_of_a_grid_and_its_files():
    grid = ["--model", "null", "--tau", "half-normal", "--scale", "0.1", "--scale", "1"]
    assert "under 2 priors" in run("robustness", "trials.toml", *grid)
    assert "Saved table.csv" in run("robustness", "trials.toml", *grid, "-o", "table.csv")
    assert set(pd.read_csv("table.csv")["scale"]) == {0.1, 1.0}
    assert "Saved curves.png" in run("robustness", "trials.toml", *grid, "-o", "curves.png")
    assert Path("curves.png").stat().st_size > 1000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["robustness", "trials.toml", "--tau", "half"], "tau has no family 'half'"),
        (["robustness", "trials.toml", "--json", "-o", "a.csv"], "--json and --out exclude each other"),
        (["robustness", "trials.toml", "-o", "a.doc"], "must be a .csv file"),
        (["bayes-factor", "trials.toml", "--model", "null"], "nothing to compare the model with"),
        (["bayes-factor", "trials.toml", "tau = 0", "--against", "null"], "exclude each other"),
        (["bayes-factor", "trials.toml", "zz = 0"], "zz"),
        (["average", "trials.toml", "--weights", "best"], "--weights is 'best'"),
        (["average", "trials.toml", "--model", "null"], "at least two posteriors"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_wrong_input(arguments, message):
    result = RUN.invoke(app, arguments)
    assert result.exit_code == 2
    assert message in result.output


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('models = ["null", "ablat"]', 'models = ["null"]', "line 8: average: models has one model"),
        ('models = ["null", "ablat"]', 'models = ["null", "x"]', "line 8: average: models: no model 'x'"),
        ("weights = { null = 1, ablat = 2 }", 'weights = "best"', "line 9: average: weights: weights is 'best'"),
        (
            "weights = { null = 1, ablat = 2 }",
            "weights = { null = 1 }",
            "line 9: average: weights: weights: 'ablat' is",
        ),
        ("weights = { null = 1, ablat = 2 }", "weights = { null = 0, ablat = 0 }", "line 9: average: weights: are all"),
        ("[average]\n", "[average]\nwieghts = 1\n", "line 8: average: unknown key 'wieghts'"),
        ("sigma = 0.5 }", 'sigma = "a" }', "line 5: priors: tau: entry 1: sigma of the prior HalfNormal is 'a'"),
        ('{ name = "HalfCauchy", beta = 0.5 }', '{ name = "HalfNormal", sigma = 0.5 }', "priors lists a prior twice"),
        ('{ name = "HalfCauchy", beta = 0.5 }', "3", "line 6: priors: tau: entry 2: tau is 3; it must be a table"),
    ],
)
@pytest.mark.usefixtures("directory")
def test_wrong_tables_of_a_model_file(old, new, message):
    Path("trials.toml").write_text(MODEL.replace(old, new))
    with pytest.raises(bm.SpecError, match=message.replace("[", r"\[")):
        bm.load_analysis("trials.toml")
