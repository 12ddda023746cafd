"""The command line as a process: readers that go, disks that are full, and Ctrl-C as a terminal sends it."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import bayesmeta as bm

COMMAND = [sys.executable, "-m", "bayesmeta"]
# a shell takes the handler of Ctrl-C from what runs in its background, so it is put back
INTERRUPTIBLE = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from bayesmeta.__main__ import main
sys.argv = ["bayesmeta", *sys.argv[1:]]
main()
"""


def lines(stderr: str) -> list[str]:
    return stderr.strip().splitlines()


@pytest.mark.parametrize("command", [["--version"], ["fit", "school", "--model", "district"]])
def test_a_reader_that_goes_loses_nothing(command: list[str], tmp_path: Path) -> None:
    """As `| head -1` does, and at the first character already."""
    read, write = os.pipe()
    os.close(read)
    ran = subprocess.run([*COMMAND, *command], stdout=write, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    os.close(write)
    assert ran.stderr == ""
    assert ran.returncode == 0
    if command[0] == "fit":
        assert bm.load(tmp_path / "school.nc")


@pytest.mark.parametrize("command", [["--version"], ["fit", "school", "--model", "district"], ["show", "school.nc"]])
def test_output_to_a_full_disk_is_one_line(command: list[str], tmp_path: Path) -> None:
    if command[0] == "show":
        bm.save(bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var")), tmp_path / "school.nc")
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run([*COMMAND, *command], stdout=full, stderr=subprocess.PIPE, text=True, cwd=tmp_path)
    assert ran.returncode == 2, ran.stderr
    assert len(lines(ran.stderr)) == 1
    assert ran.stderr.startswith("Error: the output cannot be written (No space left on device)")
    if command[0] == "fit":
        assert bm.load(tmp_path / "school.nc")


def group_members(group: int) -> list[int]:
    """Processes of a group that are running, from /proc."""
    members = []
    for each in Path("/proc").iterdir():
        if each.name.isdigit():
            try:
                state, _, its_group = (each / "stat").read_text().rpartition(")")[2].split()[:3]
            except (OSError, ValueError):
                continue
            if int(its_group) == group and state != "Z":
                members.append(int(each.name))
    return members


def interrupted(command: list[str], folder: Path, after: float, ready: str = "") -> tuple[int, str, float, list[int]]:
    """Send Ctrl-C to a command and its children, as a terminal does.

    after : seconds from the start, or from when the file `ready` is there.
    Returns the exit code, the error stream, the seconds until the end, and the processes that are left.
    """
    process = subprocess.Popen(
        [sys.executable, "-c", INTERRUPTIBLE, *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
        start_new_session=True,
    )
    try:
        deadline = time.time() + 120
        while ready and not list(folder.glob(ready)) and time.time() < deadline and process.poll() is None:
            time.sleep(0.05)
        time.sleep(after)
        start = time.time()
        os.killpg(process.pid, signal.SIGINT)
        _, stderr = process.communicate(timeout=120)
        took = time.time() - start
        deadline = time.time() + 5
        while group_members(process.pid) and time.time() < deadline:
            time.sleep(0.1)
        return process.returncode, stderr, took, group_members(process.pid)
    finally:
        for member in group_members(process.pid):
            os.kill(member, signal.SIGKILL)
        process.wait()


LARGE = """
title = "Large"
data = "large.csv"
[model.large]
formula = "y ~ x"
S = "v"
random = "x | g / h"
"""


@pytest.fixture
def large(tmp_path: Path) -> Path:
    """A model that takes some twelve seconds, so that it is not fitted yet when it is interrupted."""
    rows = (f"{(i * 7919) % 1009 / 500},{0.1 + i % 13 / 50},{i % 17},{i // 20},{i}\n" for i in range(400_000))
    (tmp_path / "large.toml").write_text(LARGE)
    (tmp_path / "large.csv").write_text("y,v,x,g,h\n" + "".join(rows))
    return tmp_path


def check(
    fate: tuple[int, str, float, list[int]], folder: Path, seconds: float = 3, before: tuple[str, ...] = ()
) -> None:
    """One line about the interruption, and nothing else but what was announced `before` it, patterns in their order."""
    code, stderr, took, left = fate
    assert code == 130, stderr
    *announced, last = lines(stderr)
    assert last.startswith("Interrupted"), stderr
    assert len(announced) <= len(before), stderr
    assert all(map(re.fullmatch, before, announced)), stderr
    assert took < seconds
    assert left == []
    assert not list(folder.rglob("*.part"))


def test_ctrl_c_in_a_fit(large: Path) -> None:
    before = {path.name for path in large.iterdir()}
    check(interrupted(["fit", "large.toml"], large, 4), large)
    assert {path.name for path in large.iterdir()} == before


@pytest.mark.slow
def test_ctrl_c_in_a_study(tmp_path: Path) -> None:
    fate = interrupted(["simulate", "table6", "--out", "out", "--jobs", "2"], tmp_path, 1, "out/script-*.nc")
    check(fate, tmp_path, 15)  # the pieces that were begun


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["nutpie", "pymc"])
@pytest.mark.parametrize("after", [2.5, 12])
def test_ctrl_c_in_sampling(sampler: str, after: float, tmp_path: Path) -> None:
    """While packages load or a model is compiled, and while it samples."""
    options = ["--model", "district", "--draws", "2000000", "--chains", "2", "--sampler", sampler]
    announced = f"Markov chains, because sampler='{sampler}' is asked for", r"Compiling the .* \.\.\."
    check(interrupted(["sample", "school", *options], tmp_path, after), tmp_path, 10, announced)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("options", [["--no-bayes"], ["--draws", "2000000", "--chains", "2"]])
def test_ctrl_c_in_a_report(options: list[str], tmp_path: Path) -> None:
    announced = ("Markov chains, because .*", r"Compiling the .* \.\.\.") if "--draws" in options else ()
    check(interrupted(["report", "school", *options], tmp_path, 4), tmp_path, 10, announced)
    assert not list(tmp_path.iterdir())
