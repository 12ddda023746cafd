"""Kill writers of every kind of file at random moments: `python -m tests.hostile.killed FOLDER MOMENTS [KIND ...]`.

Each is a child that writes two versions of a file in turn, over and over; what it leaves must be one of the two.
"""

import os
import random
import signal
import sys
import time
import warnings
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import xarray as xr

import bayesmeta as bm
from bayesmeta.io.atomic import write_file
from bayesmeta.report.render import Report
from bayesmeta.simulation.folder import read_piece, save_piece

KINDS = ("nc", "zarr", "several.nc", "several.zarr", "html", "piece.nc", "png", "svg", "pdf")


def fits() -> list[xr.DataTree]:
    data = bm.datasets.load("bcg")
    return [bm.fit(bm.specify(f"logor ~ {x}", data, S="logorvar", measure="logor")) for x in ("1", "ablat")]


def pictures(suffix: str) -> list[bytes]:
    made = []
    for fit in fits():
        content = BytesIO()
        bm.plots.forest(fit).figure.savefig(content, format=suffix)
        made.append(content.getvalue())
    return made


def trees_of(path: Path) -> list[xr.DataTree]:
    read = bm.load(path)
    return [read] if isinstance(read, xr.DataTree) else list(read.values())


def pieces() -> list[xr.Dataset]:
    return [xr.Dataset({"beta": ("dataset", np.full(50_000, x))}) for x in (1.0, 2.0)]


def is_one_of(path: Path, versions: list[list[xr.DataTree]]) -> bool:
    """Whether the file is one of the versions; it is read once, since a writer may replace it between two readings."""
    read = trees_of(path)
    return any(
        len(read) == len(trees) and all(one.identical(two) for one, two in zip(read, trees, strict=True))
        for trees in versions
    )


def writers(kind: str, path: Path) -> tuple[list[Callable[[], object]], Callable[[], bool]]:
    """What writes the two versions, and whether one of them is there, whole."""
    if kind in ("nc", "zarr"):
        both = fits()
        return [lambda tree=tree: bm.save(tree, path) for tree in both], lambda: is_one_of(path, [[t] for t in both])
    if kind.startswith("several"):
        one, two = fits()
        versions = [{"a": one, "b": two}, {"a": two, "b": one}]
        whole = lambda: is_one_of(path, [list(each.values()) for each in versions])  # noqa: E731
        return [lambda trees=trees: bm.save(trees, path) for trees in versions], whole
    if kind == "html":
        pages = [Report("a", f'<meta name="generator" content="bayesmeta">{x * 3_000_000}') for x in "ab"]
        return [
            lambda page=page: page.save(path) for page in pages
        ], lambda: path.read_text() in [p.html for p in pages]
    if kind == "piece.nc":
        tables = pieces()
        wanted = [table.copy(deep=True) for table in tables]
        right = lambda: any(map(read_piece(path).equals, wanted))  # noqa: E731
        return [lambda table=table: save_piece(table, path) for table in tables], right
    made = pictures(kind)
    return [lambda content=content: write_file(path, content) for content in made], lambda: path.read_bytes() in made


def forked(work: Callable[[], object]) -> int:
    """A child that does something over and over."""
    if child := os.fork():
        return child
    while True:
        work()


def ended(child: int) -> None:
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)


def written_by_two(kind: str, folder: Path, looks: int) -> None:
    """Two writers of one file at once, each of a version of its own, and a reader."""
    path = folder / f"a.{kind.split('.')[-1]}"
    save, whole = writers(kind, path)
    save[0]()
    children = [forked(each) for each in save]
    try:
        for _ in range(looks):
            if not whole():
                raise AssertionError(f"{kind}: neither one file nor the other")
    finally:
        for child in children:
            ended(child)
    if not whole():
        raise AssertionError(f"{kind}: neither one file nor the other in the end")
    print(f"{kind}: two writers, {looks} looks, 0 mixed")


def killed(kind: str, folder: Path, moments: int) -> None:
    """Writers of one kind of file, each killed at a random moment after it has begun."""
    path = folder / f"a.{kind.split('.')[-1]}"
    save, whole = writers(kind, path)
    save[0]()
    for moment in range(moments):
        child = forked(lambda: [each() for each in save])
        time.sleep(random.Random(moment).uniform(0, 0.25))
        ended(child)
        if not whole():
            raise AssertionError(f"{kind}, moment {moment}: neither the old file nor the new one")
    save[0]()
    left = sorted(each.name for each in folder.iterdir())
    if left != [path.name]:
        raise AssertionError(f"{kind}: left behind {left}")
    print(f"{kind}: {moments} kills, 0 broken, 0 mixed")


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for kind in sys.argv[3:] or KINDS:
        (folder := Path(sys.argv[1]) / kind).mkdir()
        killed(kind, folder, int(sys.argv[2]))
        (two := folder / "two").mkdir()
        written_by_two(kind, two, int(sys.argv[2]))
