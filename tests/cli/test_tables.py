"""Tables of a paper from the shell: `bayesmeta show -o table.docx` and `bayesmeta estimates -o table.docx`."""

from pathlib import Path

import docx
import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app

RUN = CliRunner()


@pytest.fixture
def results(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    trials = bm.effects.odds_ratio(bm.datasets.load("bcg"), ("tpos", "cpos"), no_events=("tneg", "cneg"))
    spec = bm.specify("y ~ 1", trials, S="v")
    return bm.save({"reml": bm.fit(spec), "ml": bm.fit(spec, "ml")}, "bcg.nc")


def run(*arguments: str, code: int = 0) -> str:
    ran = RUN.invoke(app, list(arguments), env={"COLUMNS": "200"})
    assert ran.exit_code == code, ran.output
    return " ".join(ran.output.split())


def test_show_saves_the_tables_of_all_models_in_one_file(results: Path) -> None:
    assert run("show", "bcg.nc", "-o", "table.docx") == "Table saved in table.docx"
    document = docx.Document("table.docx")
    captions = [p.text for p in document.paragraphs if "odds ratio" in p.text and "k = 13" in p.text]
    assert captions == [
        "reml: Random-effects model (k = 13): odds ratio",
        "ml: Random-effects model (k = 13): odds ratio",
    ]
    assert "−0.7452" in [cell.text for cell in document.tables[0].rows[2].cells]
    assert "−0.7420" in [cell.text for cell in document.tables[1].rows[2].cells]


def test_studies_and_heterogeneity_are_printed_and_saved(results: Path) -> None:
    printed = run("show", "bcg.nc", "--model", "ml", "--of", "studies")
    assert "Aronson (1948) 4/123 11/139 0.39 (0.12 to 1.26)" in printed
    assert "163.16" in run("show", "bcg.nc", "--of", "heterogeneity")
    assert run("show", "bcg.nc", "--of", "studies", "--out", "s.html", "--quiet") == ""
    assert Path("s.html").read_text(encoding="utf-8").count("Aronson (1948)") == 2


def test_estimates_are_a_table_too(results: Path) -> None:
    run("estimates", "bcg.nc", "--model", "reml", "--scale", "response", "-o", "e.md")
    text = Path("e.md").read_text(encoding="utf-8")
    assert "0.4746" in text
    assert "0.3160 to 0.7130" in text
    assert run("estimates", "bcg.nc").startswith("model,parameter")


@pytest.mark.parametrize("command", ["show", "estimates"])
def test_what_is_no_table_is_refused_before_anything_is_read(results: Path, command: str) -> None:
    assert "table.csv: tables are saved as .docx (Word)" in run(command, "none.nc", "-o", "table.csv", code=2)
    assert "no directory none" in run(command, "bcg.nc", "-o", "none/table.docx", code=2)
    assert "--json and --out exclude each other" in run(command, "bcg.nc", "-o", "t.docx", "--json", code=2)
    assert not list(Path().glob("t*"))


def test_json_is_the_whole(results: Path) -> None:
    assert "--json has the whole of the results" in run("show", "bcg.nc", "--json", "--of", "studies", code=2)
