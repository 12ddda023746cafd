"""Model files, and the command line, that start from what studies report."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.model_files.model_file import load_analysis

RUN = CliRunner()
MODEL = '[model.main]\nformula = "y ~ 1"\nS = "v"\n'


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    bm.datasets.load("bcg")[["author", "tpos", "tneg", "cpos", "cneg"]].to_csv("trials.csv", index=False)
    pd.DataFrame(
        {"r": [0.3, 0.5, 0.1], "n": [30, 40, 25], "or": [0.5, 1.2, 2.0], "lo": [0.3, 0.9, 1.1], "hi": [0.83, 1.6, 3.64]}
    ).to_csv("other.csv", index=False)
    return tmp_path


def written(data: str, effects: str) -> str:
    return f'title = "t"\ndata = "{data}"\n{effects}\n{MODEL}'


COUNTS = 'events = ["tpos", "cpos"]\nno_events = ["tneg", "cneg"]'
TABLES = {  # a table, and the function call that it stands for
    f'[effects]\nmeasure = "odds_ratio"\n{COUNTS}': lambda d: bm.effects.odds_ratio(
        d, ("tpos", "cpos"), no_events=("tneg", "cneg")
    ),
    f'[effects]\nmeasure = "logrr"\n{COUNTS}': lambda d: bm.effects.risk_ratio(
        d, ("tpos", "cpos"), no_events=("tneg", "cneg")
    ),
    '[effects]\nmeasure = "RD"\nai = "tpos"\nbi = "tneg"\nci = "cpos"\ndi = "cneg"\nvtype = "UB"': lambda d: (
        bm.effects.risk_difference(d, ("tpos", "cpos"), no_events=("tneg", "cneg"), variance="UB")
    ),
}
OTHERS = {
    '[effects]\nmeasure = "fisher_z"\nn = "n"\nr = "r"': lambda d: bm.effects.fisher_z(d, "n", r="r"),
    '[effects]\nfunction = "from_interval"\nestimate = "or"\ninterval = ["lo", "hi"]\nmeasure = "logor"': lambda d: (
        bm.effects.from_interval(d, "or", ("lo", "hi"), measure="logor")
    ),
}


@pytest.mark.parametrize(
    ("file", "table", "call"),
    [("trials.csv", *each) for each in TABLES.items()] + [("other.csv", *each) for each in OTHERS.items()],
)
def test_a_model_file_makes_the_effects_of_the_function(file, table, call, directory):
    (directory / "model.toml").write_text(written(file, table))
    spec = load_analysis("model.toml").models["main"].spec
    expected = call(pd.read_csv(file))
    np.testing.assert_array_equal(spec.y[:, 0] if spec.y.ndim > 1 else spec.y, expected["y"])
    assert spec.measure == expected.attrs["measure"]


def test_two_outcomes_are_two_tables(directory):
    first = f'[[effects]]\nmeasure = "logor"\nnames = ["y", "v"]\n{COUNTS}'
    effects = f'{first}\n[[effects]]\nmeasure = "rd"\nnames = ["z", "w"]\n{COUNTS}'
    (directory / "model.toml").write_text(written("trials.csv", effects))
    frame = load_analysis("model.toml").models["main"].source.frame
    assert {"y", "v", "z", "w"} <= set(frame.columns)
    assert frame.attrs["columns"] == {"y": "logor", "v": "logor", "z": "rd", "w": "rd"}


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ('[effects]\nmeasure = "odds_ratoi"\nevents = ["tpos", "cpos"]', "did you mean 'odds_ratio'"),
        ('[effects]\nevents = ["tpos", "cpos"]', "'measure' is missing"),
        ('[effects]\nfunction = "delta_method"', "function is 'delta_method'"),
        ("effects = 3", "effects"),
    ],
)
def test_a_table_that_cannot_be_meant_is_refused_when_the_file_is_read(table, message, directory):
    text = f'title = "t"\ndata = "trials.csv"\n{table}\n{MODEL}'
    (directory / "model.toml").write_text(text)
    with pytest.raises(bm.SpecError, match=re.escape(message)):
        load_analysis("model.toml")


def test_an_unknown_argument_is_refused_when_the_data_are_read(directory):
    (directory / "model.toml").write_text(
        written("trials.csv", f'[effects]\nmeasure = "odds_ratio"\nevnts = "x"\n{COUNTS}')
    )
    with pytest.raises(bm.SpecError, match="odds_ratio has no argument 'evnts'; did you mean 'events'"):
        load_analysis("model.toml").models["main"].spec  # noqa: B018


@pytest.mark.parametrize(
    ("line", "measure"),
    [
        (["other.csv", "--measure", "fisher_z", "--n", "n", "--r", "r"], "zcor"),
        (["other.csv", "--measure", "ZCOR", "--set", "ni=n", "--set", "ri=r"], "zcor"),
        (["other.csv", "--measure", "correlation", "--n", "n", "--r", "r", "--set", "variance=AV"], "cor"),
        (["trials.csv", "--measure", "PETO", "--events", "tpos,cpos", "--no-events", "tneg,cneg"], "logor"),
        (
            [
                "other.csv",
                "--function",
                "from_interval",
                "--measure",
                "logor",
                "--set",
                "estimate=or",
                "--set",
                "interval=lo,hi",
            ],
            "logor",
        ),
    ],
)
def test_the_command_line_makes_every_effect(line, measure, directory):
    ran = RUN.invoke(app, ["effects", *line, "-o", "made.csv"])
    assert ran.exit_code == 0, ran.output
    assert f"--measure {measure}" in ran.stdout
    made = pd.read_csv("made.csv")
    assert made[["y", "v"]].notna().all(axis=None)
    assert RUN.invoke(app, ["fit", "made.csv", "y ~ 1", "--variance", "v", "--measure", measure]).exit_code == 0


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--measure", "fisher_z"], "--measure fisher_z needs --n"),
        (["--measure", "fisher_z", "--n", "n"], "needs r, t or p"),
        (
            ["--measure", "fisher_z", "--n", "n", "--events", "r"],
            "--measure fisher_z takes --n, --r, --t, --p, not --events",
        ),
        (["--measure", "fisher_z", "--n", "n", "--set", "r"], "--set is 'r'; it must be NAME=VALUE"),
        (["--measure", "fisher_z", "--n", "n", "--set", "rr=r"], "fisher_z has no argument 'rr'"),
        (["--n", "n"], "'measure' is missing"),
        (["--measure", "nothing", "--n", "n"], "nothing"),
    ],
)
def test_the_command_line_refuses_in_one_line(line, message, directory):
    ran = RUN.invoke(app, ["effects", "other.csv", *line])
    assert ran.exit_code == 2, ran.output
    assert message in " ".join(ran.stderr.split())
