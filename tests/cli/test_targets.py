"""What a command writes to never is what it reads from, nor anything that is not its own, by whatever path."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner

from bayesmeta.cli.app import app

RUN = CliRunner()
MODEL = """
title = "Trials"
data = "trials.csv"
[model.one]
formula = "y ~ 1"
S = "v"
"""
FEW = ["--draws", "20", "--tune", "20", "--chains", "1"]
COMMANDS: dict[str, list[str]] = {
    "fit": ["fit", "trials.toml"],
    "sample": ["sample", "trials.toml", *FEW],
    "compare": ["compare", "trials.toml", *FEW],
    "report": ["report", "trials.toml", "--no-bayes"],
    "plot": ["plot", "trials.toml", "--kind", "forest"],
    "simulate": ["simulate", "study.toml", "--datasets", "1"],
}
SUFFIX = {"report": ".html", "plot": ".svg", "simulate": ""}


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    from bayesmeta.io.toml_files import bundled

    monkeypatch.chdir(tmp_path)
    Path("trials.toml").write_text(MODEL)
    Path("trials.csv").write_text("y,v\n" + "".join(f"0.{i},0.1\n" for i in range(1, 9)))
    Path("study.toml").write_text(bundled()["table6"].read_text())
    Path("below").mkdir()
    return tmp_path


def contents(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def symbolic(target: str, name: str) -> str:
    Path(name).symlink_to(target)
    return name


def hard(target: str, name: str) -> str:
    os.link(target, name)
    return name


WAYS: dict[str, Callable[[str, str], str]] = {
    "itself": lambda target, name: target,
    "dot": lambda target, name: f"./{target}",
    "dots": lambda target, name: f"below/../{target}",
    "whole": lambda target, name: str(Path(target).absolute()),
    "symbolic link": symbolic,
    "hard link": hard,
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("command", COMMANDS)
def test_no_input_is_written_over(command: str, way: str, directory: Path) -> None:
    """Also where a link has the extension that the command writes."""
    line = COMMANDS[command]
    for target in (line[1], "trials.csv"):
        name = f"link_{target.replace('.', '_')}{SUFFIX.get(command, '.nc')}"
        out = WAYS[way](target, name)
        before = contents(directory)
        ran = RUN.invoke(app, [*line, "--out", out])
        assert ran.exit_code == 2, (target, ran.output, ran.exception)
        assert ran.stderr.startswith("Error: ")
        assert contents(directory) == before


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("content", [b"years of work", b"\x89HDF\r\n\x1a\n", b"<html></html>", b"<svg/>"])
def test_no_file_that_is_no_result_is_written_over(command: str, content: bytes, directory: Path) -> None:
    out = Path(f"thesis{SUFFIX.get(command, '.nc')}")
    out.write_bytes(content)
    before = contents(directory)
    ran = RUN.invoke(app, [*COMMANDS[command], "--out", str(out)])
    assert ran.exit_code == 2, (ran.output, ran.exception)
    assert ran.stderr.startswith("Error: ")
    assert contents(directory) == before


@pytest.mark.parametrize("kind", ["results", "page", "picture"])
def test_one_kind_of_own_file_does_not_replace_another(kind: str, directory: Path) -> None:
    made = {
        "results": ("fit", "a.nc"),
        "page": ("report", "a.html"),
        "picture": ("plot", "a.svg"),
    }
    command, name = made[kind]
    assert RUN.invoke(app, [*COMMANDS[command], "-o", name]).exit_code == 0
    for other, (line, suffix) in made.items():
        if other != kind:
            out = Path(f"b{Path(suffix).suffix}")
            out.write_bytes(Path(name).read_bytes())
            before = contents(directory)
            assert RUN.invoke(app, [*COMMANDS[line], "-o", str(out)]).exit_code == 2
            assert contents(directory) == before
            out.unlink()


def test_results_are_no_target_of_what_is_made_of_them(directory: Path) -> None:
    assert RUN.invoke(app, [*COMMANDS["fit"], "-o", "a.nc"]).exit_code == 0
    before = contents(directory)
    for line, name in ((["report", "a.nc"], "a.html"), (["plot", "a.nc", "--kind", "forest"], "a.svg")):
        os.link("a.nc", name)
        ran = RUN.invoke(app, [*line, "-o", name])
        assert ran.exit_code == 2
        Path(name).unlink()
    assert contents(directory) == before
