"""netCDF files written through HDF5: what xarray reads in them is the tree; what they cannot hold goes xarray's way."""

from collections.abc import Callable
from pathlib import Path

import h5netcdf
import h5py
import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.errors import DataError
from bayesmeta.tree import netcdf
from tests.support.awkward import awkward_spec

pytestmark = pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")


@pytest.fixture(scope="module")
def posterior() -> xr.DataTree:
    spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    return bm.sample(spec, random_seed=1, draws=10)


@pytest.fixture(scope="module")
def awkward() -> xr.DataTree:
    return bm.fit(awkward_spec())


@pytest.mark.parametrize("name", ["posterior", "awkward"])
def test_xarray_reads_what_was_written(name: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    tree: xr.DataTree = request.getfixturevalue(name)
    path = bm.save(tree, tmp_path / "tree.nc")
    own = netcdf.read_tree(path)
    assert own is not None
    with xr.open_datatree(path, engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), own)
        for ours, theirs in zip(own.subtree, read.subtree, strict=True):
            assert list(ours.variables) == list(theirs.variables), ours.path
            assert set(ours.xindexes) == set(theirs.xindexes), ours.path
    xr.testing.assert_identical(bm.load(path), tree)


def test_several_models_are_read_by_xarray(posterior: xr.DataTree, awkward: xr.DataTree, tmp_path: Path) -> None:
    path = bm.save({"one-model": posterior, "b": awkward}, tmp_path / "trees.nc")
    with xr.open_dataset(path, engine="h5netcdf", group="one-model/marginals") as read:
        xr.testing.assert_identical(read.load(), posterior["marginals"].to_dataset(inherit=False))
    assert list(bm.load(path)) == ["one-model", "b"]


@pytest.mark.parametrize("seed", range(8))
def test_any_plain_dataset_comes_back(seed: int, tmp_path: Path) -> None:
    """Dimensions of any size, with and without labels, coordinates beside them, every type of number, any texts."""
    rng = np.random.default_rng(seed)
    sizes = {f"d{i}": int(rng.choice([0, 1, 3, 4, 7])) for i in range(3)}
    kinds = [
        lambda shape: rng.standard_normal(shape).astype(rng.choice([np.float32, np.float64])),
        lambda shape: rng.integers(0, 100, shape).astype(rng.choice([np.int8, np.uint8, np.int32, np.int64])),
        lambda shape: rng.random(shape) < 0.5,
        lambda shape: rng.choice(np.array(["", "ä/ö", "\N{SNOWMAN} ", "a,b", "x" * 300], object), shape),
    ]

    def variable() -> xr.Variable:
        dims = list(rng.permutation(list(sizes))[: rng.integers(0, 4)])
        values = np.asarray(kinds[rng.integers(len(kinds))](tuple(sizes[dim] for dim in dims)))
        return xr.Variable(dims, values, {"unit": "kg", "n": 3, "x": 0.25} if rng.random() < 0.5 else {})

    coords = {dim: np.array([f"{dim} {j}" for j in range(n)], object) for dim, n in sizes.items() if rng.random() < 0.5}
    table = xr.Dataset(
        {f"v{i}": variable() for i in range(6)} | {"all": (list(sizes), np.ones(list(sizes.values())))}, coords
    )
    table = table.assign_coords(beside=("d0", np.arange(sizes["d0"])))
    tree = xr.DataTree(xr.Dataset(attrs={"a": "", "b": "ü"}), {"one": xr.DataTree(table), "two": xr.DataTree(table)})
    assert netcdf.is_plain(tree)
    (tmp_path / "t.nc").write_bytes(netcdf.content_of(tree))
    own = netcdf.read_tree(tmp_path / "t.nc")
    assert own is not None
    xr.testing.assert_identical(own, tree)
    with xr.open_datatree(tmp_path / "t.nc", engine="h5netcdf") as read:
        xr.testing.assert_identical(read.load(), tree)


UNUSUAL: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "a list": lambda t: t.assign_attrs(names=["a", "b"]),
    "a truth value": lambda t: t.assign_attrs(flag=np.arange(2)),
    "times": lambda t: t.assign(when=("t", np.array(["2020-01-01"], "datetime64[ns]"))),
    "complex numbers": lambda t: t.assign(z=("t", np.array([1 + 1j]))),
    "mixed cells": lambda t: t.assign(z=("t", np.array([None], object))),
    "a coordinate of nothing": lambda t: t.assign_coords(alone=("far", [1.0, 2.0])),
    "labels with attributes": lambda t: t.assign_coords(t=("t", [1], {"unit": "s"})),
}


@pytest.mark.parametrize("what", UNUSUAL)
def test_what_is_not_plain_is_left_to_xarray(what: str) -> None:
    plain = xr.Dataset({"y": ("t", [1.0])})
    assert netcdf.is_plain(xr.DataTree.from_dict({"g": plain}))
    assert not netcdf.is_plain(xr.DataTree.from_dict({"g": UNUSUAL[what](plain)}))


def test_a_tree_with_more_than_is_plain_is_saved_all_the_same(awkward: xr.DataTree, tmp_path: Path) -> None:
    more = awkward.copy(deep=True)
    more.attrs["tags"] = ["a", "b"]
    assert not netcdf.is_plain(more)
    assert bm.load(bm.save(more, tmp_path / "more.nc")).attrs["tags"] == ["a", "b"]


def test_what_another_program_changes_is_noticed(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = bm.save(posterior, tmp_path / "tree.nc")
    with h5netcdf.File(path, "a") as file:
        file["criteria"].create_variable("more", (), "f8", data=1.0).attrs["list"] = ["a", "b"]
    with pytest.raises(DataError, match="not that which was saved"):
        bm.load(path)
    with h5py.File(path, "a") as file:
        file["criteria"].create_dataset("odd", data=np.array([b"abc"]))
    with pytest.raises(DataError, match=r"not that which was saved|not a results file"):
        bm.load(path)


def test_a_damaged_file_is_refused(posterior: xr.DataTree, tmp_path: Path) -> None:
    path = bm.save(posterior, tmp_path / "tree.nc")
    content, rng = bytearray(path.read_bytes()), np.random.default_rng(1)
    for at in rng.integers(0, len(content), 20).tolist():
        damaged = content.copy()
        damaged[at] ^= 0xFF
        path.write_bytes(damaged)
        try:
            read = bm.load(path)
        except DataError:
            continue
        xr.testing.assert_equal(read, posterior)  # a byte that stands for nothing
    path.write_bytes(content[: len(content) // 2])
    with pytest.raises(DataError, match="not a results file"):
        bm.load(path)
