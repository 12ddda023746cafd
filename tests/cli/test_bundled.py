"""Model files by their names, from any folder."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import PACKAGES, app
from bayesmeta.io.toml_files import bundled

RUN = CliRunner()
NAMES = ["alcohol", "auditc", "bcg", "diabetes", "gliomas", "school", "smoking", "table6", "thrombolytic"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_models_are_listed_with_their_titles(directory: Path) -> None:
    ran = RUN.invoke(app, ["models"])
    assert ran.exit_code == 0, ran.output
    assert [line.split()[0] for line in ran.output.splitlines()] == NAMES == list(bundled())
    assert bm.load_analysis("school").title in ran.output
    assert re.search(r"^school +4 models", ran.output, re.MULTILINE)
    assert re.search(r"^table6 +simulation", ran.output, re.MULTILINE)


def test_a_bundled_file_is_fitted_from_any_folder(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", "school"])
    assert ran.exit_code == 0, ran.output
    assert "== Table 2" in ran.output
    assert (directory / "school.nc").is_file()


def test_a_path_takes_precedence_over_a_name(directory: Path) -> None:
    Path("school").write_text('title = "Mine"\ndata = "bcg"\n[model.one]\nformula = "logor ~ 1"\nS = "logorvar"\n')
    ran = RUN.invoke(app, ["fit", "school"])
    assert ran.exit_code == 0, ran.output
    assert ran.output.startswith("Mine\n")
    assert list(bm.load_analysis("school").models) == ["one"]


def test_a_folder_of_that_name_is_no_obstacle(directory: Path) -> None:
    Path("school").mkdir()
    assert bm.load_analysis("school").title.startswith("Modified school calendars")


@pytest.mark.parametrize("command", ["fit", "sample", "compare", "report", "simulate"])
def test_an_unknown_name_lists_the_bundled_ones(directory: Path, command: str) -> None:
    ran = RUN.invoke(app, [command, "shcool" if command != "report" else "shcool.toml"])
    assert ran.exit_code == 2
    assert "did you mean 'school'?" in ran.stderr
    assert all(name in ran.stderr for name in NAMES)


def test_plot_and_report_take_names(directory: Path) -> None:
    ran = RUN.invoke(app, ["plot", "bcg", "--kind", "structure", "--model", "ml"])
    assert ran.exit_code == 0, ran.output
    assert list(directory.glob("bcg_*.png"))
    ran = RUN.invoke(app, ["report", "bcg", "--model", "ml", "--no-bayes"])
    assert ran.exit_code == 0, ran.output
    page = (directory / "bcg.html").read_text(encoding="utf-8")
    assert "bayesmeta report bcg" in page
    assert str(Path(bm.__file__).parent) not in page


@pytest.mark.parametrize(("command", "message"), [("fit", "declares a simulation study"), ("simulate", "no table [[")])
def test_a_file_for_another_command_is_refused(directory: Path, command: str, message: str) -> None:
    ran = RUN.invoke(app, [command, "table6" if command == "fit" else "school"])
    assert ran.exit_code == 2
    assert message in ran.stderr


@pytest.mark.slow
def test_every_number_is_reproduced_in_an_empty_folder(directory: Path) -> None:
    ran = RUN.invoke(app, ["reproduce"])
    assert ran.exit_code == 0, ran.output
    assert "73 reproduced, 7 known to differ, 0 not reproduced" in ran.output
    assert not list(directory.iterdir())


def test_versions(directory: Path) -> None:
    command = [sys.executable, "-m", "bayesmeta", "--version"]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
    assert printed[0] == f"bayesmeta {bm.__version__}"
    assert printed[1] == f"Python {sys.version.split()[0]}"
    assert [line.split()[0] for line in printed[2:]] == list(PACKAGES)
    assert all(re.fullmatch(r"\w+ \d+(\.\w+)+.*", line) for line in printed[2:])


@pytest.mark.parametrize("command", ["fit", "sample", "compare", "plot", "report", "simulate"])
def test_every_command_that_writes_has_o(command: str) -> None:
    assert re.search(r"--out +-o\b", RUN.invoke(app, [command, "--help"], env={"COLUMNS": "200"}).output)


def test_o_is_where_results_go(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", "school", "--model", "study", "-o", "here.nc"])
    assert ran.exit_code == 0, ran.output
    assert xr.open_datatree("here.nc").attrs["method"] == "ml"
