"""A process that is killed while it overwrites a file leaves the old or the new one; one process writes at a time."""

import ctypes
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.bayes import samplers
from bayesmeta.errors import AssumptionWarning, DataError
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.run import run_study
from bayesmeta.tree import files
from tests.hostile.killed import KINDS


def killed_while_writing(folder: Path, moments: int, kinds: tuple[str, ...] = KINDS) -> None:
    command = [sys.executable, "-m", "tests.hostile.killed", str(folder), str(moments), *kinds]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.count("0 broken, 0 mixed") == len(kinds), ran.stdout
    assert ran.stdout.count("looks, 0 mixed") == len(kinds), ran.stdout


def test_a_kill_leaves_whole_files(tmp_path: Path) -> None:
    killed_while_writing(tmp_path, 2, ("nc", "zarr", "html", "piece.nc"))


@pytest.mark.slow
def test_fifty_kills_leave_whole_files(tmp_path: Path) -> None:
    killed_while_writing(tmp_path, 50)


HOLDING = """
import sys, time
from pathlib import Path
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.folder import claimed
with claimed(load_study("table6"), Path(sys.argv[1])):
    print("begun", flush=True)
    time.sleep(60)
"""


def test_the_second_writer_of_a_study_is_told_of_the_first(tmp_path: Path) -> None:
    folder, study = tmp_path / "out", load_study("table6")
    first = subprocess.Popen([sys.executable, "-c", HOLDING, str(folder)], stdout=subprocess.PIPE)
    try:
        assert first.stdout is not None
        first.stdout.readline()
        with pytest.raises(DataError, match=f"is being written to by process {first.pid} on "):
            run_study(study, folder, datasets=1)
    finally:
        first.kill()
        first.communicate()
    assert len(run_study(study, folder, datasets=1).children) == 16  # a lock dies with its process


WRITING = """
import sys, time
from pathlib import Path
from bayesmeta.io.atomic import sole_writer
with sole_writer(Path(sys.argv[1])):
    print("begun", flush=True)
    sys.stdin.readline()
"""


@contextmanager
def writing(path: Path) -> Iterator[subprocess.Popen[bytes]]:
    """Another process that writes to a file until it is told to end."""
    other = subprocess.Popen(
        [sys.executable, "-c", WRITING, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    try:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == b"begun"
        yield other
    finally:
        other.kill()
        other.communicate()


@pytest.fixture(scope="module")
def fitted() -> xr.DataTree:
    return bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))


@pytest.mark.parametrize("name", ["a.nc", "a.zarr"])
def test_the_second_writer_of_results_is_told_of_the_first(
    name: str, fitted: xr.DataTree, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(files, "_PATIENCE", 0.2)
    path = tmp_path / name
    with writing(path) as other:
        message = (
            rf"(?s)is being written to by process {other.pid} on .*\n  wait for it or stop it, or give another name"
        )
        with pytest.raises(DataError, match=message):
            bm.save(fitted, path)
        assert not path.exists()
        other.communicate(b"\n", timeout=30)
    assert not list(tmp_path.iterdir())  # the lock is gone with its process
    bm.save(fitted, path)
    assert [each.name for each in tmp_path.iterdir()] == [name]


def test_a_writer_waits_for_one_that_ends(fitted: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    with writing(path) as other:
        assert other.stdin is not None
        threading.Timer(1.0, lambda: (other.stdin.write(b"\n"), other.stdin.flush())).start()
        bm.save(fitted, path)
    assert bm.load(path).identical(fitted)


def test_the_lock_of_a_killed_process_is_taken_over_and_said(
    fitted: xr.DataTree, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "a.nc"
    with writing(path) as other:
        other.kill()
        other.wait()
        assert [each.name for each in tmp_path.iterdir()] == [".a.nc.lock"]
        with caplog.at_level("WARNING", logger="bayesmeta"):
            bm.save(fitted, path)
        assert f"process {other.pid} on " in caplog.text
        assert "its lock is taken over" in caplog.text
    assert [each.name for each in tmp_path.iterdir()] == ["a.nc"]


@pytest.mark.parametrize(
    "command", [["fit", "bcg", "--out", "a.nc"], ["report", "bcg", "--no-bayes", "-o", "a.html"]], ids=lambda c: c[0]
)
def test_a_command_is_told_of_another_one_before_it_begins(command: list[str], tmp_path: Path) -> None:
    run = [sys.executable, "-m", "bayesmeta", *command]
    with writing(tmp_path / command[-1]) as other:
        ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 2, ran.stdout + ran.stderr
        assert f"{command[-1]} is being written to by process {other.pid} on " in ran.stderr
        assert "Traceback" not in ran.stderr
        other.kill()
        other.wait()
        ran = subprocess.run(run, cwd=tmp_path, capture_output=True, text=True)
        assert ran.returncode == 0, ran.stderr
        assert "its lock is taken over" in ran.stderr
    assert [each.name for each in tmp_path.iterdir()] == [command[-1]]


def test_many_writers_hold_a_lock_one_at_a_time(tmp_path: Path) -> None:
    """Each removes the lock that others wait for, so that they must not take the one that is gone for theirs."""
    code = """
import sys
from pathlib import Path
from bayesmeta.io.atomic import sole_writer
target = Path(sys.argv[1])
for _ in range(40):
    with sole_writer(target, patience=60):
        counted = int(target.read_text() or 0)
        target.write_text(str(counted + 1))
"""
    target = tmp_path / "count.txt"
    target.write_text("0")
    running = [subprocess.Popen([sys.executable, "-c", code, str(target)]) for _ in range(4)]
    assert [each.wait(timeout=120) for each in running] == [0] * 4
    assert target.read_text() == "160"
    assert [each.name for each in tmp_path.iterdir()] == ["count.txt"]


def test_a_damaged_piece_is_fitted_again(tmp_path: Path) -> None:
    study = load_study("table6")
    before = run_study(study, tmp_path / "out", datasets=2)
    pieces = sorted((tmp_path / "out").glob("script-*.nc"))
    pieces[0].write_bytes(pieces[0].read_bytes()[:1000])
    with xr.open_dataset(pieces[1], engine="h5netcdf") as opened:
        zero = opened.load() * 0
    zero.to_netcdf(pieces[1], engine="h5netcdf")
    with pytest.warns(AssumptionWarning, match="is damaged") as caught:
        again = run_study(study, tmp_path / "out", datasets=2)
    assert len(caught) == 2
    xr.testing.assert_identical(again, before)


INTERRUPTED = """
import os, sys, threading, time, signal
import bayesmeta as bm
signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell takes from what runs in its background
spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
bm.sample(spec, draws=10, tune=10, random_seed=1, sampler="nutpie", progress=False)  # which compiles
threading.Timer(4, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.time()
try:
    bm.sample(spec, draws=5_000_000, tune=10, chains=1, random_seed=1, sampler="nutpie", progress=False)
except KeyboardInterrupt:
    print("interrupted", time.time() - start)
"""


def test_an_interruption_is_not_the_end_of_one_chain_only() -> None:
    """PyMC takes KeyboardInterrupt for the end of a chain, and begins the next one."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    after = []
    try:
        try:
            with samplers._interruptible():
                try:
                    signal.raise_signal(signal.SIGINT)
                except KeyboardInterrupt:
                    after.append("the next chain")
                after.append("the next chain")
        except KeyboardInterrupt:
            after.append("interrupted")
        assert after == ["interrupted"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def _without_errors(call: Callable[[], object]) -> Callable[[], None]:
    def quiet() -> None:
        with suppress(BaseException):
            call()

    return quiet


def test_an_interruption_that_a_compiler_swallows_comes_after_it() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    after = []
    try:
        try:
            with samplers._interruptible():
                try:
                    signal.raise_signal(signal.SIGINT)
                except BaseException:
                    after.append("swallowed")
            after.append("sampled")
        except KeyboardInterrupt:
            after.append("interrupted")
        assert after == ["swallowed", "interrupted"]
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_error_that_compiled_code_makes_of_an_interruption_is_one() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def compiled() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
        except BaseException as error:
            raise SystemError("returned a result with an exception set") from error

    try:
        with pytest.raises(KeyboardInterrupt), samplers._interruptible():
            compiled()
        with pytest.raises(SystemError), samplers._interruptible():
            raise SystemError("of its own")
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_callback_of_a_compiler_says_nothing_of_an_interruption(capsys: pytest.CaptureFixture[str]) -> None:
    """It cannot pass exceptions on, and Python would print a traceback of what comes later as KeyboardInterrupt."""
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook
    callback = ctypes.CFUNCTYPE(None)
    try:
        with pytest.raises(KeyboardInterrupt), samplers._interruptible():
            callback(lambda: signal.raise_signal(signal.SIGINT))()
        assert capsys.readouterr().err == ""
        assert sys.unraisablehook is hook
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("swallow", [ctypes.CFUNCTYPE(None), _without_errors])
def test_an_interruption_that_is_swallowed_comes_again(swallow: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where a library compiles and then samples in one call, it goes on for hours."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    monkeypatch.setattr(samplers, "AGAIN", 0.1)

    sampled = []

    def compile_and_sample() -> None:
        with samplers._interruptible():
            swallow(lambda: signal.raise_signal(signal.SIGINT))()
            time.sleep(20)
            sampled.append(True)

    try:
        with pytest.raises(KeyboardInterrupt):
            compile_and_sample()
    finally:
        signal.signal(signal.SIGINT, before)
    assert not sampled
    assert not [thread for thread in threading.enumerate() if isinstance(thread, threading.Timer)]


def test_an_interrupted_chain_is_never_returned() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED], capture_output=True, text=True, timeout=200
    )
    assert run.stdout.startswith("interrupted"), run.stdout + run.stderr


def test_an_interruption_on_the_way_out_leaves_no_handler_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    before, hook = signal.signal(signal.SIGINT, signal.default_int_handler), sys.unraisablehook

    class Timer(threading.Timer):
        def cancel(self) -> None:
            super().cancel()
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(samplers.threading, "Timer", Timer)
    try:
        with pytest.raises(KeyboardInterrupt), samplers._interruptible():
            signal.raise_signal(signal.SIGINT)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert sys.unraisablehook is hook
    finally:
        signal.signal(signal.SIGINT, before)
