"""Whatever the package writes is there whole or not at all, and nothing but its own results is replaced."""

import errno
import os
import resource
import stat
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.io import atomic

RUN = CliRunner()


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    return bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar", measure="logor"))


@pytest.fixture(scope="module")
def page(fit: xr.DataTree) -> object:
    from bayesmeta.report.render import Report

    return Report("Trials", '<meta name="generator" content="bayesmeta 0">' + "x" * 200_000)


@pytest.fixture
def kinds(fit: xr.DataTree, page: object) -> dict[str, Callable[[Path], object]]:
    """Every kind of file, by extension, with what writes it."""
    return {
        ".nc": lambda path: bm.save(fit, path),
        ".zarr": lambda path: bm.save({"a": fit, "b": fit}, path),
        ".html": page.save,  # type: ignore[attr-defined]
        ".txt": lambda path: atomic.write_file(path, "x" * 200_000),
    }


def content(path: Path) -> dict[str, bytes]:
    """All bytes of a file or folder."""
    files = sorted(path.rglob("*")) if path.is_dir() else [path]
    return {str(file.relative_to(path)): file.read_bytes() for file in files if file.is_file()}


@contextmanager
def smallest_files(size: int) -> Iterator[None]:
    """No file may grow beyond a size, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".html", ".txt"])
def test_a_full_disk_leaves_the_old_file(
    suffix: str, kinds: dict[str, Callable[[Path], object]], tmp_path: Path
) -> None:
    path = tmp_path / f"results{suffix}"
    kinds[suffix](path)
    before = content(path)
    for size in (0, 100, 20_000) if suffix != ".zarr" else (0, 100):
        with smallest_files(size), pytest.raises(DataError) as caught:
            kinds[suffix](path)
        assert str(caught.value).startswith(f"{path} cannot be written: ")
        assert content(path) == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_a_full_disk_leaves_the_old_picture(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"picture{suffix}"
    line = ["plot", "bcg", "--kind", "forest", "--model", "ml", "-o", str(path)]
    assert RUN.invoke(app, line).exit_code == 0
    before = content(path)
    with smallest_files(1000):
        ran = RUN.invoke(app, line)
    assert ran.exit_code == 2, ran.exception
    assert ran.stderr.startswith(f"Error: {path} cannot be written: ")
    assert content(path) == before
    assert [each.name for each in tmp_path.iterdir()] == [path.name]


def test_a_study_on_a_full_disk_is_finished_later(tmp_path: Path) -> None:
    study = bm.load_study("table6")
    whole = bm.run_study(study, tmp_path / "whole", datasets=1)
    for size in (100, 8_000):
        with smallest_files(size), pytest.raises(DataError):
            bm.run_study(study, tmp_path / "out", datasets=1)
    xr.testing.assert_identical(bm.run_study(study, tmp_path / "out", datasets=1), whole)
    assert not list((tmp_path / "out").glob("*.part"))


def test_devices_are_written_to(kinds: dict[str, Callable[[Path], object]]) -> None:
    for suffix in (".nc", ".html", ".txt"):
        kinds[suffix](Path("/dev/null"))
        with pytest.raises(DataError, match=os.strerror(errno.ENOSPC)):
            kinds[suffix](Path("/dev/full"))
    for device in ("/dev/null", "/dev/full"):
        assert stat.S_ISCHR(os.stat(device).st_mode)


@pytest.mark.parametrize("suffix", [".nc", ".zarr", ".html", ".txt"])
def test_links_and_permissions_stay(suffix: str, kinds: dict[str, Callable[[Path], object]], tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    target, link = tmp_path / "elsewhere" / f"real{suffix}", tmp_path / f"link{suffix}"
    link.symlink_to(target)
    kinds[suffix](link)
    target.chmod(0o750 if target.is_dir() else 0o640)
    written = target.stat().st_ino
    kinds[suffix](link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == (0o750 if target.is_dir() else 0o640)
    assert target.stat().st_ino != written
    assert not list(tmp_path.rglob("*.part"))


def test_a_new_file_has_the_permissions_of_the_user(fit: xr.DataTree, tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        bm.save(fit, tmp_path / "a.nc")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.nc").stat().st_mode) == 0o640


def test_what_a_dead_process_left_behind_is_removed(fit: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / "a.nc"
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    prefix = atomic._prefix(path)
    left, others = tmp_path / f"{prefix}{ended.pid}.0.part", tmp_path / f"{prefix}{os.getppid()}.0.part"
    for part in (left, others):
        part.write_text("half")
    bm.save(fit, path)
    assert not left.exists()
    assert others.exists()


FOREIGN = {"thesis.nc": b"years of work", "thesis.html": b"<html>years of work", "thesis.svg": b"<svg/>"}


def test_only_results_of_its_own_are_replaced(fit: xr.DataTree, page: object, tmp_path: Path) -> None:
    for name, text in FOREIGN.items():
        (tmp_path / name).write_bytes(text)
    xr.Dataset({"x": 1.0}).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "empty.nc").touch()
    bm.save(fit, tmp_path / "empty.nc")
    for name in ("thesis.nc", "other.nc"):
        with pytest.raises(DataError, match="holds no results of bayesmeta; it is not overwritten"):
            bm.save(fit, tmp_path / name)
    with pytest.raises(DataError, match="is no report of bayesmeta"):
        page.save(tmp_path / "thesis.html")  # type: ignore[attr-defined]
    ran = RUN.invoke(app, ["plot", "bcg", "--kind", "forest", "--model", "ml", "-o", str(tmp_path / "thesis.svg")])
    assert ran.exit_code == 2
    assert "is no picture of bayesmeta" in ran.stderr
    assert all((tmp_path / name).read_bytes() == text for name, text in FOREIGN.items())


@pytest.mark.parametrize("path", ["a.txt", "a", "a.csv", "a.h5", "a.png", ""])
def test_other_extensions_are_refused(path: str, fit: xr.DataTree, tmp_path: Path) -> None:
    with pytest.raises(BayesmetaError):
        bm.save(fit, tmp_path / path)


@pytest.mark.parametrize("path", [3, None, b"a.nc", ["a.nc"], "a\0b.nc", "x" * 300 + ".nc", "none/a.nc"])
def test_what_is_no_path_is_refused(path: object, fit: xr.DataTree, page: object) -> None:
    for write in (lambda: bm.save(fit, path), lambda: page.save(path)):  # type: ignore[arg-type, attr-defined]
        with pytest.raises(BayesmetaError):
            write()


BAD_NAMES = ["", " ", ".", "..", "a/b", "a\0b", "a\nb", "__a", "zarr.json", "\ud800", "x" * 200]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_names_that_no_file_can_hold_are_refused(name: str, suffix: str, fit: xr.DataTree, tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="the name of a model"):
        bm.save({name: fit, "b": fit}, tmp_path / f"a{suffix}")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("label", ["a\0b", "\ud800"], ids=ascii)
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_labels_that_no_file_can_hold_are_refused(label: str, suffix: str, fit: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    bm.save(fit, path)
    before = content(path)
    data = fit["data"].to_dataset()
    odd = xr.DataTree.from_dict({**fit.to_dict(), "/data": data.assign(dropped=("row", [label] * data.sizes["row"]))})
    with pytest.raises(DataError, match="cannot hold"):
        bm.save(odd, path)
    assert content(path) == before


@pytest.mark.parametrize("trees", [3, None, {}, {"a": 3}, xr.Dataset(), xr.DataTree(), {"a": xr.DataTree()}])
def test_what_is_no_result_is_refused(trees: object, tmp_path: Path) -> None:
    with pytest.raises(SpecError):
        bm.save(trees, tmp_path / "a.nc")  # type: ignore[arg-type]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_what_is_loaded_is_what_was_saved(suffix: str, fit: xr.DataTree, tmp_path: Path) -> None:
    path = tmp_path / f"a{suffix}"
    assert bm.save(fit, str(path)) == path
    one = bm.load(str(path))
    assert isinstance(one, xr.DataTree)
    xr.testing.assert_identical(one, fit)
    bm.save({"one": fit}, path)  # over a file that has just been read
    several = bm.load(path)
    assert list(several) == ["one"]
    xr.testing.assert_identical(several["one"], fit)
    bm.save(several, path)
    plain = tmp_path / "plain.nc"
    fit.to_netcdf(plain)
    xr.testing.assert_identical(bm.load(plain), fit)


def test_a_reader_never_sees_half_a_file(fit: xr.DataTree, tmp_path: Path) -> None:
    """While one process saves again and again, another one reads whole results at any time."""
    path, text = tmp_path / "a.zarr", tmp_path / "again.py"
    bm.save(fit, path)
    text.write_text(
        textwrap.dedent("""
        import sys, bayesmeta as bm
        fit = bm.load(sys.argv[1])
        print("begun", flush=True)
        while True:
            bm.save(fit, sys.argv[1])
        """)
    )
    writer = subprocess.Popen([sys.executable, str(text), str(path)], stdout=subprocess.PIPE)
    try:
        assert writer.stdout is not None
        writer.stdout.readline()
        for _ in range(3):
            assert path.is_dir()
            xr.testing.assert_identical(bm.load(path), fit)
    finally:
        writer.kill()
        writer.communicate()
