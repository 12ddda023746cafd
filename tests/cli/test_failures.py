"""What becomes of the good when something is bad: models of a file, arguments of plots."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli import replication, run_models
from bayesmeta.cli.app import app
from bayesmeta.errors import SpecError
from bayesmeta.io.toml_files import bundled
from bayesmeta.model_files.figures import KINDS, drawer
from bayesmeta.model_files.reproduce import rows_of
from bayesmeta.tree import files

RUN = CliRunner()
THREE = """
title = "Trials"
data = "bcg"
[tables]
Both = ["first", "third"]
[model.first]
formula = "logor ~ 1"
S = "logorvar"
measure = "logor"
[model.second]
formula = "logor ~ latitude"
S = "logorvar"
measure = "logor"
[model.third]
formula = "logor ~ ablat"
S = "logorvar"
measure = "logor"
"""
FEW = ["--draws", "60", "--tune", "60", "--chains", "1"]


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("three.toml").write_text(THREE)
    return tmp_path


@pytest.mark.parametrize(
    ("command", "file", "saved"),
    [
        (["fit"], "three.nc", ["first", "third"]),
        (["sample", *FEW], "three_sample.nc", ["first", "third"]),
        (["compare", *FEW], "three_compare.nc", ["first_reml", "first_bayes", "third_reml", "third_bayes"]),
    ],
)
def test_good_models_are_kept_beside_a_bad_one(
    directory: Path, command: list[str], file: str, saved: list[str]
) -> None:
    ran = RUN.invoke(app, [command[0], "three.toml", *command[1:]])
    assert ran.exit_code == 1
    assert re.search(r"^== third", ran.stdout, re.MULTILINE)
    assert f"Results saved in {file}" in ran.stdout
    assert "\nError: 1 failed; the results of the others are saved\nsecond: " in f"\n{ran.stderr}"
    assert "latitude" in ran.stderr
    assert json.loads(xr.open_datatree(file).attrs["models"]) == saved
    assert ("== Both" in ran.stdout) == (command == ["fit"])


def test_a_report_has_the_good_models(directory: Path) -> None:
    ran = RUN.invoke(app, ["report", "three.toml", "--no-bayes"])
    assert ran.exit_code == 1
    assert ran.stderr.startswith("Error: 1 failed; the others are in the report\nsecond: ")
    page = Path("three.html").read_text(encoding="utf-8")
    assert "third" in page
    assert "latitude" not in page


def test_several_that_fail_are_all_listed(directory: Path) -> None:
    Path("three.toml").write_text(THREE.replace("~ ablat", "~ year2"))
    ran = RUN.invoke(app, ["fit", "three.toml"])
    assert ran.exit_code == 1
    assert "Error: 2 failed" in ran.stderr
    assert "second: " in ran.stderr
    assert "third: " in ran.stderr
    assert xr.open_datatree("three.nc").attrs["method"] == "reml"


def test_one_reason_for_all_is_said_once(directory: Path) -> None:
    Path("three.toml").write_text(THREE.replace('"bcg"', '"bgc"'))
    ran = RUN.invoke(app, ["fit", "three.toml"])
    assert ran.exit_code == 2
    assert ran.stderr.count("bgc") == 1
    assert not list(directory.glob("*.nc"))


def test_an_interruption_loses_nothing(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit = bm.fit

    def interrupted(spec: bm.Spec, **options: Any) -> xr.DataTree:
        if "ablat" in str(spec.terms.fixed):
            raise KeyboardInterrupt
        return fit(spec, **options)

    monkeypatch.setattr(run_models, "fit_model", interrupted)
    ran = RUN.invoke(app, ["fit", "three.toml"])
    assert ran.exit_code != 0
    assert xr.open_datatree("three.nc").attrs["method"] == "reml"


def test_reproduce_goes_on_after_a_model_that_fails(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def failing(analysis: Any, name: str) -> Any:
        if name == "district":
            raise SpecError("no such thing")
        return rows_of(analysis, name)

    (directory / "models").mkdir()
    (directory / "models" / "school.toml").write_text(bundled()["school"].read_text())
    monkeypatch.setattr(replication, "rows_of", failing)
    ran = RUN.invoke(app, ["reproduce", "--models", "models"])
    assert ran.exit_code == 1
    assert "school, district: no such thing" in ran.stderr
    assert ran.stdout.count("✓") > 5


# -- tables of figures: whoever draws none is not told of their arguments


@pytest.mark.parametrize("command", [["fit"], ["sample", "--draws", "20"], ["compare", "--draws", "20"]])
@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('title = "Trials"', "'kind' is missing"),
        ('kind = "florest"', "kind"),
        ('kind = "forest"\nmodels = ["frist"]', "no model 'frist'"),
        ('kind = "forest"\nmodels = []', "models: the list is empty"),
        ('kind = "forest"\ntitle = 3', "title"),
        ('kind = "forest"\nmethod = "rmel"', "method"),
        ("3", "figure bad"),
    ],
)
def test_every_command_checks_what_a_figure_shows(
    directory: Path, command: list[str], table: str, problem: str
) -> None:
    written = "[figure]\nbad = 3\n" if table == "3" else f"[figure.bad]\n{table}\n"
    Path("three.toml").write_text(THREE + written)
    ran = RUN.invoke(app, [command[0], "three.toml", "--model", "first", *command[1:]])
    assert ran.exit_code == 2
    assert re.match(r"Error: three\.toml.*figure bad", ran.stderr)
    assert problem in ran.stderr
    assert not list(directory.glob("*.nc"))


@pytest.mark.parametrize("argument", ["colour = 3", 'prob = "wide"'])
def test_arguments_of_a_figure_are_checked_by_the_commands_that_may_draw_it(directory: Path, argument: str) -> None:
    Path("three.toml").write_text(f'{THREE}[figure.bad]\nkind = "forest"\n{argument}\n')
    for command in (["fit"], ["sample", "--draws", "20"], ["compare", "--draws", "20"]):
        ran = RUN.invoke(app, [command[0], "three.toml", "--model", "first", *command[1:]])
        assert ran.exit_code == 0, ran.output
        assert "figure" not in ran.stderr
    for name in ("plot", "report", "methods"):
        ran = RUN.invoke(app, [name, "three.toml", "--model", "first"])
        assert ran.exit_code == 2, name
        assert re.match(r"Error: three\.toml.*figure bad", ran.stderr), ran.stderr
        assert argument.split()[0] in ran.stderr


# -- arguments of plots


def test_a_value_of_another_type_is_refused(directory: Path) -> None:
    rules = {"blup=banana": "true or false", "prob=banana": "a number", "limits=[1]": "a list of 2"}
    for argument, rule in rules.items():
        ran = RUN.invoke(app, ["plot", "bcg", "--kind", "forest", "--model", "ml", "--set", argument])
        assert ran.exit_code == 2, argument
        assert ran.stderr.startswith("Error: --set, for forest: " + argument.split("=")[0])
        assert f"it must be {rule}" in ran.stderr
        assert "Traceback" not in ran.output


def arguments() -> list[tuple[str, str]]:
    import inspect

    return [
        (kind, name)
        for kind in KINDS
        for name in list(inspect.signature(drawer(kind)).parameters)[1:]
        if name not in ("ax", "axes")
    ]


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("results") / "fit.nc"
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    bm.fit(spec).to_netcdf(path)
    return path


NEEDED = {"bubble": "x=ablat", "dose_response": "dose=ablat", "longitudinal": "time=ablat"}
ODD = ['"banana"', "true", "-1", "nan", "[]", "[-1, 1]", '["banana"]', "{banana = 2}"]


@pytest.mark.parametrize(("kind", "name"), arguments())
def test_no_value_of_any_argument_is_a_traceback(
    kind: str, name: str, saved: Path, directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trees = files.read(saved)  # which takes longer than most pictures, and is the same for every value
    monkeypatch.setattr(files, "read", lambda path: trees)
    for value in ODD:
        needed = [NEEDED[kind]] if kind in NEEDED and not NEEDED[kind].startswith(f"{name}=") else []
        settings = [part for text in [*needed, f"{name}={value}"] for part in ("--set", text)]
        ran = RUN.invoke(app, ["plot", str(saved), "--kind", kind, *settings, "-o", "picture.svg"])
        assert ran.exit_code in (0, 2), (value, ran.exception)
        assert ran.exit_code == 0 or ran.stderr.startswith("Error: "), value
