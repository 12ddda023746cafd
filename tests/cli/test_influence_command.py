"""`bayesmeta influence`: tables, JSON and files, of model files and of saved results."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app

RUN = CliRunner()
MODEL = """
title = "Trials"
data = "trials.csv"
[model.one]
formula = "y ~ 1"
S = "v"
[model.two]
formula = "y ~ x"
S = "v"
method = "ml"
"""


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("trials.toml").write_text(MODEL)
    rows = [(0.1, 0.02, "a", 1), (0.2, 0.03, "a", 2), (0.15, 0.02, "b", 0), (1.4, 0.02, "b", 3), (0.0, 0.05, "c", 1)]
    Path("trials.csv").write_text("y,v,lab,x\n" + "".join(f"{y},{v},{lab},{x}\n" for y, v, lab, x in rows))
    return tmp_path


def run(*arguments: str) -> str:
    result = RUN.invoke(app, ["influence", *arguments])
    assert result.exit_code == 0, result.output
    return result.output


@pytest.mark.usefixtures("directory")
def test_a_table_for_each_model() -> None:
    text = run("trials.toml")
    assert "== one" in text
    assert "== two" in text
    assert "row 3 *" in text.split("== two")[0]
    assert "* influential" in text
    assert "Influence: without each lab" in run("trials.toml", "--by", "lab", "--model", "one")
    assert "one step from the estimates" in run("trials.toml", "--one-step", "--model", "one")


@pytest.mark.usefixtures("directory")
def test_json_has_the_numbers() -> None:
    record = json.loads(run("trials.toml", "--model", "one", "--json"))["results"]["one"]
    tree = bm.fit(bm.load_analysis("trials.toml").models["one"].spec)
    table = bm.influence(tree)
    assert record["labels"]["row"] == table["row"].values.tolist()
    assert record["diagnostics"]["cooks_distance"] == {
        "dims": ["row"],
        "values": pytest.approx(table["cooks_distance"].values.tolist()),
    }
    assert record["cooks_cutoff"] == pytest.approx(0.4549364)


@pytest.mark.usefixtures("directory")
def test_saved_results_and_files_for_a_paper() -> None:
    bm.save(bm.fit(bm.load_analysis("trials.toml").models["one"].spec), "one.nc")
    assert "row 3 *" in run("one.nc")
    assert "Table saved in table.md" in run("one.nc", "-o", "table.md")
    assert "Cook's distance" in Path("table.md").read_text()


@pytest.mark.usefixtures("directory")
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["trials.toml", "--by", "labb"], "by='labb' is neither a level nor a column"),
        (["trials.toml", "--json", "-o", "a.md"], "--json and --out exclude each other"),
        (["trials.toml", "--method", "rml"], "--method"),
        (["trials.toml", "--model", "three"], "three"),
    ],
)
def test_wrong_input(arguments: list[str], message: str) -> None:
    result = RUN.invoke(app, ["influence", *arguments])
    assert result.exit_code == 2
    assert message in result.output
