"""What every command has, and what is typed without a model file."""

import json
import logging
import math
import subprocess
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import EXIT_CODES, app
from bayesmeta.model_files.model_file import load_analysis

RUN = CliRunner()
COMMANDS = sorted(str(command.name) for command in app.registered_commands)


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    bm.datasets.load("bcg").drop(columns=["logor", "logorvar"]).to_csv("counts.csv", index=False)
    bm.datasets.load("bcg").to_csv("bcg.csv", index=False)
    return tmp_path


def test_help_loads_no_library_of_numbers() -> None:
    """Pandas alone takes longer than help and completion may."""
    code = """
import sys
from bayesmeta.cli import app
try:
    app(["fit", "--help"])
except SystemExit:
    heavy = {"numpy", "pandas", "scipy", "xarray", "matplotlib", "pymc", "numba"} & set(sys.modules)
    assert not heavy, heavy
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr


def test_a_fit_waits_for_no_library_that_it_does_not_use(directory: Path) -> None:
    """Half of SciPy, and what other analyses need, take longer to load than a fit of a small table takes."""
    code = """
import sys
from bayesmeta.cli import app
try:
    app(["fit", "bcg.csv", "logor ~ 1", "--variance", "logorvar"])
except SystemExit:
    own = {f"bayesmeta.{name}" for name in ("network", "diagnostic", "dose_response", "plots", "report")}
    half = {f"scipy.{name}" for name in ("stats", "optimize", "interpolate", "integrate")}
    heavy = {"matplotlib", "pymc", "numba", "arviz", *own, *half} & set(sys.modules)
    assert not heavy, heavy
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=directory)
    assert ran.returncode == 0, ran.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_the_same_help_and_options(command: str) -> None:
    wide = {"COLUMNS": "250", "TERM": "dumb"}
    long, short = (RUN.invoke(app, [command, option], env=wide) for option in ("--help", "-h"))
    assert long.exit_code == short.exit_code == 0
    assert long.output == short.output
    assert EXIT_CODES in " ".join(long.output.split())
    for option in ("--quiet", "--verbose", "-q", "-v"):
        assert option in long.output


def test_completion_knows_the_commands() -> None:
    environment = {"_BAYESMETA_COMPLETE": "complete_bash", "COMP_WORDS": "bayesmeta re", "COMP_CWORD": "1"}
    ran = RUN.invoke(app, [], prog_name="bayesmeta", env=environment)
    assert ran.output.split() == ["report", "reproduce"]


def test_quiet_prints_errors_alone(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", "bcg", "--model", "ml", "--quiet"])
    assert (ran.exit_code, ran.output) == (0, "")
    assert bm.load("bcg.nc")
    ran = RUN.invoke(app, ["fit", "bcg", "--model", "lm", "-q"])
    assert ran.exit_code == 2
    assert ran.stderr.startswith("Error: ")
    assert ran.stdout == ""


def test_quiet_and_verbose_exclude_each_other(directory: Path) -> None:
    assert RUN.invoke(app, ["models", "-q", "-v"]).exit_code == 2


def test_verbose_logs_on_the_error_stream_and_leaves_nothing_behind(directory: Path) -> None:
    before = list(logging.getLogger("bayesmeta").handlers)
    ran = RUN.invoke(app, ["fit", "bcg", "--model", "ml", "--verbose"])
    assert ran.exit_code == 0
    assert "fit by ml" in ran.stderr
    assert "bcg.nc" in ran.stderr
    assert ran.stdout == RUN.invoke(app, ["fit", "bcg", "--model", "ml"]).stdout
    assert logging.getLogger("bayesmeta").handlers == before


def test_json_has_the_numbers_of_the_trees_in_full(directory: Path) -> None:
    ran = RUN.invoke(app, ["fit", "school", "--json"])
    assert ran.exit_code == 0
    record = json.loads(ran.stdout)
    trees = bm.load("school.nc")
    assert isinstance(trees, dict)
    assert list(record["results"]) == list(trees)
    assert record["failures"] == {}
    assert record["saved"] == "school.nc"
    for name, tree in trees.items():
        rows, expected = record["results"][name]["estimates"], bm.estimates(tree)
        assert [row["parameter"] for row in rows] == list(expected.index)
        for row, (_, theirs) in zip(rows, expected.iterrows(), strict=True):
            for column in ("estimate", "se", "lower", "upper"):
                value = float(theirs[column])
                assert row[column] == (value if math.isfinite(value) else None)
    shown = json.loads(RUN.invoke(app, ["show", "school.nc", "--model", "year", "--json"]).stdout)
    assert shown["results"] == {"year": record["results"]["year"]}


def test_estimates_are_those_of_the_function(directory: Path) -> None:
    assert RUN.invoke(app, ["fit", "bcg", "--model", "ml"]).exit_code == 0
    tree = bm.load("bcg.nc")
    assert not isinstance(tree, dict)
    for scale in ("model", "response"):
        expected = bm.estimates(tree, prob=0.9, scale=scale)
        line = ["estimates", "bcg.nc", "--scale", scale, "--prob", "0.9"]
        header, *rows = (row.split(",") for row in RUN.invoke(app, line).stdout.splitlines())
        assert header == ["model", "parameter", *expected.columns]
        assert float(rows[0][header.index("upper")]) == expected["upper"].iloc[0]
        record = json.loads(RUN.invoke(app, [*line, "--json"]).stdout)
        assert [row["parameter"] for row in record["results"][""]] == list(expected.index)
    assert RUN.invoke(app, ["estimates", "bcg.nc", "--prob", "95"]).exit_code == 2


def test_json_names_what_failed(directory: Path) -> None:
    Path("two.toml").write_text(
        'title = "T"\ndata = "bcg"\n[model.good]\nformula = "logor ~ 1"\nS = "logorvar"\n'
        '[model.bad]\nformula = "logor ~ none"\nS = "logorvar"\n'
    )
    ran = RUN.invoke(app, ["fit", "two.toml", "--json"])
    assert ran.exit_code == 1
    record = json.loads(ran.stdout)
    assert list(record["results"]) == ["good"]
    assert "none" in record["failures"]["bad"]


# -- without a model file


def test_a_csv_file_is_fitted_and_its_model_file_does_the_same(directory: Path) -> None:
    line = ["bcg.csv", "logor ~ ablat", "--variance", "logorvar", "--random", "1 | trial", "--measure", "logor"]
    ran = RUN.invoke(app, ["fit", *line, "--save-model", "model.toml"])
    assert ran.exit_code == 0, ran.output
    bcg = bm.datasets.load("bcg")
    own = bm.fit(bm.specify("logor ~ ablat", bcg, S="logorvar", random="1 | trial", measure="logor"))
    (saved,) = [bm.load("bcg.nc")]
    assert not isinstance(saved, dict)
    assert saved["estimate"]["beta"].values.tolist() == own["estimate"]["beta"].values.tolist()
    assert saved.attrs["measure"] == "logor"
    again = RUN.invoke(app, ["fit", "model.toml", "-o", "again.nc"])
    assert again.exit_code == 0, again.output
    assert again.stdout.replace("again.nc", "bcg.nc") == ran.stdout.removeprefix("Model written to model.toml\n")
    assert RUN.invoke(app, ["fit", *line, "--save-model", "model.toml"]).exit_code == 0  # the same
    Path("model.toml").write_text("mine")
    assert RUN.invoke(app, ["fit", *line, "--save-model", "model.toml"]).exit_code == 2
    assert Path("model.toml").read_text() == "mine"


def test_standard_errors_in_place_of_variances(directory: Path) -> None:
    bcg = bm.datasets.load("bcg").assign(se=lambda d: d["logorvar"] ** 0.5)
    bcg.to_csv("se.csv", index=False)
    assert RUN.invoke(app, ["fit", "se.csv", "logor ~ 1", "--se", "se"]).exit_code == 0
    assert RUN.invoke(app, ["fit", "bcg.csv", "logor ~ 1", "--variance", "logorvar"]).exit_code == 0
    by_se, by_variance = (bm.load(name)["estimate"]["beta"].item() for name in ("se.nc", "bcg.nc"))
    assert by_se == pytest.approx(by_variance, abs=1e-9)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["bcg.csv"], "bcg.csv is a table, and a formula must follow it"),
        (["bcg.csv", "logor ~ 1"], "name the column of sampling variances by --variance"),
        (["bcg.csv", "logor ~ 1", "--variance", "v", "--se", "se"], "name the column of sampling variances"),
        (["bcg.csv", "logor ~ 1", "--variance", "logorvra"], "logorvra"),
        (["school", "effect ~ 1", "--variance", "var"], "FORMULA, --variance are for CSV files"),
        (["none.csv", "y ~ 1", "--variance", "v"], "no file none.csv"),
        (["bcg.csv", "logor ~ 1", "--variance", "logorvar", "--save-model", "m.csv"], "a model file ends in .toml"),
        (["bcg.csv", "logor ~ 1", "--variance", "logorvar", "--save-model", "no/m.toml"], "no directory no"),
        (["bcg.csv", "logor ~ 1", "--variance", "logorvar", "-o", "out.csv"], "saved as .nc (netCDF) or .zarr"),
    ],
)
def test_what_is_missing_or_too_much_is_said(line: list[str], message: str, directory: Path) -> None:
    before = sorted(directory.iterdir())
    ran = RUN.invoke(app, ["fit", *line])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr.splitlines()[0]
    assert sorted(directory.iterdir()) == before


@pytest.mark.parametrize("command", ["sample", "compare", "simulate", "report"])
def test_other_commands_say_how_a_table_becomes_a_model_file(command: str, directory: Path) -> None:
    ran = RUN.invoke(app, [command, "bcg.csv"])
    assert ran.exit_code == 2
    assert "bayesmeta init bcg.csv" in ran.stderr


def test_effects_are_those_of_the_functions(directory: Path) -> None:
    line = ["--events", "tpos,cpos", "--no-events", "tneg,cneg"]
    functions = {"logor": bm.effects.odds_ratio, "logrr": bm.effects.risk_ratio, "rd": bm.effects.risk_difference}
    counts = bm.datasets.load("bcg")
    for measure, function in functions.items():
        ran = RUN.invoke(app, ["effects", "counts.csv", "--measure", measure, *line, "-o", f"{measure}.csv"])
        assert ran.exit_code == 0, ran.output
        expected = function(counts, events=("tpos", "cpos"), no_events=("tneg", "cneg"))
        rows = [row.split(",") for row in Path(f"{measure}.csv").read_text().splitlines()]
        assert rows[0][-2:] == ["y", "v"]
        assert [float(row[-2]) for row in rows[1:]] == expected["y"].tolist()
    assert ran.stdout.splitlines()[1].strip() == 'bayesmeta fit rd.csv "y ~ 1" --variance v --measure rd'
    assert RUN.invoke(app, ["fit", "rd.csv", "y ~ 1", "--variance", "v", "--measure", "rd"]).exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--measure", "md", "--events", "tpos,cpos"], "--measure md takes --mean, --sd, --n, not --events"),
        (["--measure", "logor"], "--measure logor needs --events"),
        (["--measure", "logor", "--events", "tpos"], "--events is 'tpos'; it must be two columns"),
        (["--measure", "logor", "--events", "tpos,cpoz", "--no-events", "tneg,cneg"], "cpoz"),
        (["--measure", "logor", "--events", "tpos,cpos", "--no-events", "tneg,cneg", "-o", "x.nc"], "written as .csv"),
        (["--measure", "logor", "--events", "tpos,cpos", "--no-events", "tneg,cneg", "-o", "counts.csv"], "made from"),
    ],
)
def test_effects_are_refused_in_one_line(line: list[str], message: str, directory: Path) -> None:
    before = {path.name: path.read_bytes() for path in directory.iterdir()}
    ran = RUN.invoke(app, ["effects", "counts.csv", *line])
    assert ran.exit_code == 2, ran.output
    assert message in ran.stderr
    assert {path.name: path.read_bytes() for path in directory.iterdir()} == before


def test_init_writes_a_file_that_is_read_and_fitted(directory: Path) -> None:
    ran = RUN.invoke(app, ["init", "bcg.csv"])
    assert ran.exit_code == 0, ran.output
    model = load_analysis("bcg.toml").models["main"]
    assert model.settings["formula"] == "logor ~ 1"
    assert model.settings["S"] == "logorvar"
    assert model.settings["measure"] == "logor"
    assert RUN.invoke(app, ["fit", "bcg.toml"]).exit_code == 0
    # every line that is commented out is one that the reader takes
    text = Path("bcg.toml").read_text()
    for key in ("citation = ", "what = ", "random = ", "[derive]", "[tables]", "[figure.forest]"):
        assert f"# {key}" in text
    assert RUN.invoke(app, ["init", "bcg.csv"]).exit_code == 0
    Path("bcg.toml").write_text("mine")
    assert RUN.invoke(app, ["init", "bcg.csv"]).exit_code == 2
    assert Path("bcg.toml").read_text() == "mine"


def test_init_of_odd_names_can_be_read(directory: Path) -> None:
    Path("odd.csv").write_text('"my ""effect""",SE,a b\n1,0.1,x\n2,0.2,x\n')
    assert RUN.invoke(app, ["init", "odd.csv"]).exit_code == 0
    assert load_analysis("odd.toml").models["main"].settings["se"] == "SE"
    assert "No columns look like" in Path("odd.toml").read_text()


def test_arguments_of_a_plot_need_no_kind_where_there_is_one(directory: Path) -> None:
    assert RUN.invoke(app, ["fit", "bcg", "--model", "ml"]).exit_code == 0
    ran = RUN.invoke(app, ["plot", "bcg.nc", "--set", "blup=false", "-o", "pictures"])
    assert ran.exit_code == 0, ran.output
    assert [path.suffix for path in Path("pictures").iterdir()] == [".png"]  # in a folder that is new
    ran = RUN.invoke(app, ["plot", "bcg", "--set", "prob=0.9"])
    assert ran.exit_code == 2
    assert "name one with --kind: forest, bubble, funnel" in ran.stderr


def test_methods_reads_model_files_and_results(directory: Path) -> None:
    assert RUN.invoke(app, ["fit", "bcg"]).exit_code == 0
    declared, saved = (RUN.invoke(app, ["methods", file]) for file in ("bcg", "bcg.nc"))
    assert declared.exit_code == saved.exit_code == 0
    assert declared.output == saved.output
    trees = bm.load("bcg.nc")
    assert isinstance(trees, dict)
    for name, tree in trees.items():
        assert f"== {name}\n\n{bm.methods_text(tree)}\n" in saved.output
    one = RUN.invoke(app, ["methods", "bcg", "--model", "ml_ablat", "--prob", "0.9", "--scale", "model"])
    assert one.output.rstrip() == str(bm.methods_text(trees["ml_ablat"], 0.9, "model"))


def test_methods_as_json_markdown_and_latex(directory: Path) -> None:
    text = bm.methods_text(bm.fit(load_analysis("bcg").models["ml"].spec, "ml"), df="z")  # as the file says
    line = ["methods", "bcg", "--model", "ml"]
    record = json.loads(RUN.invoke(app, [*line, "--json"]).output)
    assert record["failures"] == {}
    assert record["results"]["ml"]["results"] == text.results
    assert record["results"]["ml"]["references"] == list(text.references)
    for form, written in (("markdown", text.to_markdown()), ("latex", text.to_latex())):
        assert RUN.invoke(app, [*line, "--format", form]).output.rstrip() == written


def test_methods_that_fail_are_told(directory: Path) -> None:
    ran = RUN.invoke(app, ["methods", "bcg", "--scale", "response"])
    assert ran.exit_code == 1
    assert "== ml\n" in ran.stdout
    assert ran.stderr.startswith("Error: 1 failed\nbivariate_ml: no scale=")
    for line in (
        ["nothing.nc"],
        ["bcg", "--prob", "95"],
        ["bcg", "--model", "lm"],
        ["thrombolytic", "--scale=response"],
    ):
        ran = RUN.invoke(app, ["methods", *line])
        assert (ran.exit_code, ran.stdout) == (2, "")
        assert ran.stderr.startswith("Error: ")
