"""What is one number is a scalar in the tree, in earlier files that are opened, and over its dimension for readers."""

import lzma
from pathlib import Path

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.errors import SpecError
from bayesmeta.tree.single_entries import EFFECT, one_effect, single, with_dimensions
from bayesmeta.tree.specification import group
from tests.support.posteriors import make_posterior


def specification(outcomes: int, effects: int) -> bm.Spec:
    """Studies within regions; the regions have one effect, the studies as many for each outcome as are asked for."""
    rng = np.random.default_rng(4)
    data = {"y": rng.normal(size=12), "z": rng.normal(size=12), "x": rng.normal(size=12)}
    data |= {"v": np.full(12, 0.1), "w": np.full(12, 0.2), "region": list("aabbccddeeff"), "study": range(12)}
    formula, S = ("y ~ x", "v") if outcomes == 1 else ("y + z ~ x", ["v", "w"])
    terms = {"region": "1", "study": "1 + x" if effects == 2 else "1"}
    return bm.specify(formula, data, S=S, random=terms, psi="diag", S_correlation=None if outcomes == 1 else 0.3)


@pytest.fixture(params=[(1, 1), (1, 2), (2, 1), (2, 2)], ids=lambda size: f"{size[0]} outcomes, {size[1]} effects")
def spec(request: pytest.FixtureRequest) -> bm.Spec:
    return specification(*request.param)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_scalars_where_there_is_one(spec: bm.Spec) -> None:
    fit, posterior = bm.fit(spec, method="ml"), make_posterior(spec)
    for level in spec.levels:
        dims = () if level.dim == 1 else (schema.effect(level.name),)
        for name in (schema.tau(level.name), schema.tau2_se(level.name)):
            if name in fit["estimate"]:
                assert fit["estimate"][name].dims == dims
        assert fit["estimate"][schema.psi(level.name)].ndim == 2
        assert fit["estimate"][schema.b(level.name)].ndim == 2
        assert posterior["posterior"][schema.tau(level.name)].dims == ("chain", "draw", *dims)
        if level.dim == 1:
            assert fit["estimate"][schema.tau(level.name)].attrs[EFFECT] == level.effects[0]
    for tree in (fit, posterior):
        for name, entry in tree["heterogeneity"].data_vars.items():
            assert entry.dims == (() if len(spec.outcomes) == 1 else ("outcome",)), name
            assert np.atleast_1d(entry["outcome"]).tolist()[0] == "overall"
        xr.testing.assert_identical(bm.heterogeneity(tree), tree["heterogeneity"].to_dataset())
    assert fit["estimate"]["beta"].dims == fit["estimate"]["beta_se"].dims == ("coef",)


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_readers_have_the_dimension(spec: bm.Spec) -> None:
    fit = bm.fit(spec, method="ml")
    estimate = group(fit, schema.ESTIMATE)
    for level in spec.levels:
        assert estimate[schema.tau(level.name)].dims == (schema.effect(level.name),)
        np.testing.assert_array_equal(estimate[schema.tau(level.name)] ** 2, np.diag(estimate[schema.psi(level.name)]))
    assert group(fit, schema.HETEROGENEITY)["Q"].dims == ("outcome",)


def test_a_number_is_a_float() -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    assert f"{float(fit['heterogeneity']['Q']):.2f}" == "163.16"
    assert f"{fit['estimate']['tau_unit']:.4f}" == "0.5812"


def earlier(tree: xr.DataTree, spec: bm.Spec) -> xr.DataTree:
    """The tree as it was when every entry had its dimension."""
    one = one_effect(tree, [level.name for level in spec.levels])
    tables = {name: with_dimensions(name, tree[name].to_dataset(), one) for name in ("estimate", "heterogeneity")}
    return xr.DataTree.from_dict({**tree.to_dict(), **{f"/{name}": table for name, table in tables.items()}})


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_earlier_trees_are_read_and_converted_when_opened(spec: bm.Spec, suffix: str, tmp_path: Path) -> None:
    fit = bm.fit(spec, method="ml")
    before = earlier(fit, spec)
    assert str(bm.summary(before)) == str(bm.summary(fit))
    opened = bm.load(bm.save(before, tmp_path / f"earlier{suffix}"))
    for name in ("estimate", "heterogeneity"):
        for entry in fit[name].data_vars:
            assert opened[name][entry].dims == fit[name][entry].dims
            np.testing.assert_array_equal(opened[name][entry], fit[name][entry])
    assert single(opened, [level.name for level in spec.levels]) is opened


def test_an_edited_scalar_is_noticed() -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    fit["heterogeneity"]["Q"] = xr.DataArray(-1.0)
    with pytest.raises(SpecError, match=r"^/heterogeneity Q is -1; it must be from 0 to inf"):
        bm.heterogeneity(fit)


@pytest.fixture(scope="module")
def stored(data_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of version 0.2.0 with dimensions of length 1, and hashes of every group."""
    path = tmp_path_factory.mktemp("stored") / "results.nc"
    path.write_bytes(lzma.decompress((data_dir / "results_0.2.nc.xz").read_bytes()))
    return path


def test_a_stored_file_is_opened_and_saved_again(stored: Path, tmp_path: Path) -> None:
    with xr.open_datatree(stored) as raw:
        assert raw["reml/heterogeneity"]["Q"].shape == (1,)
        assert raw["bayes/posterior"]["tau_unit"].dims == ("chain", "draw", "effect_unit")
    trees = bm.load(stored)
    assert isinstance(trees, dict)
    for tree in trees.values():
        assert tree["heterogeneity"]["Q"].shape == ()
    assert trees["reml"]["estimate"]["tau_unit"].shape == ()
    for name in ("posterior", "prior"):
        assert trees["bayes"][name]["tau_unit"].dims == ("chain", "draw")
        assert "effect_unit" not in trees["bayes"][name].coords
    again = bm.load(bm.save(trees, tmp_path / "again.nc"))
    assert isinstance(again, dict)
    for name, tree in trees.items():
        assert str(bm.summary(again[name])) == str(bm.summary(tree))
