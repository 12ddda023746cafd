"""Trees that were edited, in a file or in memory: refused, or answered as the tree that was not."""

import os
import random
import re
import warnings
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.tree.fingerprint import HASHES, with_hash
from tests.hostile.edited_trees import answers, edited, same, trees
from tests.support.edited import unhashed

CASES = int(os.environ.get("HOSTILE_CASES", "40"))
FILES = max(10, CASES // 8)  # half a second each
SEED = int(os.environ.get("HOSTILE_SEED", "1"))
pytestmark = [
    pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),  # of arithmetic with numbers that are none
]


@cache
def right(name: str) -> dict[str, Any]:
    return answers(trees()[name], name != "nested")


def asked(tree: xr.DataTree, name: str, what: str) -> str:
    """What became of the questions: "refused", or "right"; an AssertionError for anything else."""
    try:
        ours = answers(tree, name != "nested")
    except BayesmetaError:
        return "refused"
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    assert same(ours, right(name)), f"{what}: other answers"
    return "right"


def bytes_changed(rng: random.Random, path: Path) -> str:
    content = bytearray(path.read_bytes())
    if rng.random() < 0.3:
        del content[rng.randrange(len(content)) :]
        what = f"cut after {len(content)} bytes"
    else:
        n = rng.choice([1, 20, 200])
        for _ in range(n):
            content[rng.randrange(len(content))] = rng.randrange(256)
        what = f"{n} bytes changed"
    path.write_bytes(content)
    return what


def written(rng: random.Random, tree: xr.DataTree, path: Path) -> str:
    """Write a tree with one edit that a file can hold."""
    while True:
        copy, what = edited(rng, tree)
        try:
            copy.to_netcdf(path, engine="h5netcdf")
        except Exception:  # such as attributes that are true
            continue
        return what


def one_file(case: int, path: Path) -> str:
    """Write one edited file, read it and ask; what became of it."""
    rng = random.Random(case)
    name = rng.choice(sorted(trees()))
    tree = trees()[name]
    if rng.random() < 0.25:
        bm.save(tree, path)
        what = bytes_changed(rng, path)
    else:
        what = written(rng, with_hash(tree) if rng.random() < 0.3 else tree, path)
    what = f"HOSTILE_SEED={case} HOSTILE_CASES=1: {name}: {what}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", RuntimeWarning)
            read = bm.load(path)
    except DataError as error:
        if not str(error).startswith(str(path)):
            raise AssertionError(f"{what}: the file is not named: {error}") from error
        return "refused"
    except Exception as error:
        raise AssertionError(f"{what}: {error!r}") from error
    finally:
        path.unlink()
    assert isinstance(read, xr.DataTree), what
    return asked(read, name, what)


def test_edited_files(tmp_path: Path) -> None:
    fates = [one_file(case, tmp_path / "a.nc") for case in range(SEED, SEED + FILES)]
    assert fates.count("refused") > len(fates) / 2 or FILES < 10


def one_tree(case: int) -> str:
    """The same in memory: one edit, or two exchanges of rows, of a tree that has been read before, or has not."""
    rng = random.Random(case)
    name = rng.choice(sorted(trees()))
    copy, what = edited(rng, trees()[name])
    return asked(copy, name, f"HOSTILE_SEED={case} HOSTILE_CASES=1: in memory, {name}: {what}")


def test_trees_edited_in_memory() -> None:
    for case in range(SEED, SEED + CASES):
        one_tree(case)


def one_bare_tree(case: int) -> None:
    """A tree without hashes, as version 0.1 and other programs write: no exceptions of other libraries."""
    rng = random.Random(case)
    name = rng.choice(sorted(trees()))
    copy, what = edited(rng, unhashed(trees()[name]))
    try:
        answers(copy, name != "nested")
    except BayesmetaError:
        return
    except Exception as error:
        raise AssertionError(
            f"HOSTILE_SEED={case} HOSTILE_CASES=1: {name} without hashes, {what}: {error!r}"
        ) from error


def test_trees_without_hashes() -> None:
    for case in range(SEED, SEED + CASES):
        one_bare_tree(case)


@pytest.mark.hostile
def test_fresh_edits() -> None:
    start = int(os.environ.get("HOSTILE_SEED", os.environ["HOSTILE_FRESH"]))
    for case in range(start, start + 100):
        one_tree(case)
        one_bare_tree(case)


@pytest.mark.parametrize(("group", "name"), [("estimate", "beta"), ("estimate", "psi_unit"), ("observed_data", "y")])
def test_an_edit_where_a_number_stands_is_noticed_after_reading_too(group: str, name: str) -> None:
    tree = trees()["fit"].copy(deep=True)
    assert same(answers(tree, True), right("fit"))
    tree[group][name].values.flat[0] += 1
    with pytest.raises(SpecError, match=f"{name}.* edited"):
        bm.blup(tree)
    if group == "estimate":  # the data have a hash of their own
        del tree.attrs[HASHES]
        bm.blup(tree)


def test_variables_and_attributes_of_ones_own_are_no_edit() -> None:
    tree = trees()["posterior"].copy(deep=True)
    tree.attrs["title"] = "Vaccines"
    tree["posterior"]["rr"] = np.exp(tree["posterior"]["beta"])
    assert same(answers(tree, True), right("posterior"))


def test_every_reader_goes_through_the_checks() -> None:
    """Outside the package `tree`, groups are read by `group`, which checks them."""
    package = Path(bm.__file__).parent
    direct = re.compile(r"(?<!group\()\b(tree|fit|post|posterior|each)\[schema\.[A-Z_]+\]")
    files = [path for path in package.rglob("*.py") if path.parent.name != "tree"]
    assert [str(path) for path in files if direct.search(path.read_text())] == []
