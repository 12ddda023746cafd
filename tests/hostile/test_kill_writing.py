"""A process that is killed while it overwrites a file leaves the old one or the new one; studies have one writer."""

import signal
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr

from bayesmeta.bayes import samplers
from bayesmeta.errors import AssumptionWarning, DataError
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.run import run_study
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
bm.sample(spec, draws=10, tune=10, random_seed=1, progress=False)  # which compiles
threading.Timer(2, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
start = time.time()
try:
    bm.sample(spec, draws=5_000_000, tune=10, chains=1, random_seed=1, progress=False)
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


def test_an_interrupted_chain_is_never_returned() -> None:
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", INTERRUPTED], capture_output=True, text=True, timeout=200
    )
    assert run.stdout.startswith("interrupted"), run.stdout + run.stderr
