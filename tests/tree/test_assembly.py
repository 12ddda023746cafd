"""Datasets put together from parts that fit are those that xarray's own constructor makes of them."""

import copy
import pickle

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.tree import assembly
from bayesmeta.tree.assembly import labels_of, table_of, tree_of

VARIABLES = {
    "Q": ((), 3.5),
    "beta": ("coef", np.array([0.5, -1.0])),
    "cov": (("coef", "coef_bis"), np.eye(2)),
    "noted": ("unit", np.arange(3), {"kind": "number"}),
}


def both(attrs: dict[str, str] | None) -> tuple[xr.Dataset, xr.Dataset]:
    names = ["a", "b"]
    index = pd.Index(names, dtype=object)
    by_unit = "unit", np.array(["x", "x", "y"])
    ours = table_of(
        VARIABLES,
        {
            "coef": labels_of("coef", names),
            "coef_bis": labels_of("coef_bis", index),
            "unit": labels_of("unit", pd.RangeIndex(3)),
            "outcome": by_unit,
            "alone": ((), "overall"),
        },
        attrs,
    )
    theirs = xr.Dataset(
        VARIABLES,
        {"coef": index, "coef_bis": index, "unit": pd.RangeIndex(3), "outcome": by_unit, "alone": "overall"},
        attrs,
    )
    return ours, theirs


@pytest.mark.parametrize("attrs", [None, {"message": "done"}])
def test_same_as_by_the_constructor(attrs: dict[str, str] | None) -> None:
    ours, theirs = both(attrs)
    xr.testing.assert_identical(ours, theirs)
    assert list(ours.variables) == list(theirs.variables)
    assert dict(ours.sizes) == dict(theirs.sizes)
    for name, variable in theirs.variables.items():
        assert ours.variables[name].dtype == variable.dtype
        assert type(ours.variables[name]) is type(variable)
    for name, index in theirs.indexes.items():
        assert type(ours.indexes[name]) is type(index)
        assert (ours.indexes[name].name, ours.indexes[name].dtype) == (index.name, index.dtype)


def test_questions_and_changes_work_as_ever() -> None:
    ours, theirs = both(None)
    xr.testing.assert_identical(ours.sel(coef="b", unit=[2, 0]), theirs.sel(coef="b", unit=[2, 0]))
    xr.testing.assert_identical(ours.assign(more=ours["beta"] * 2), theirs.assign(more=theirs["beta"] * 2))
    xr.testing.assert_identical(ours.merge(theirs, compat="equals", join="exact"), theirs)


def test_without_what_is_private_to_xarray_trees_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    spec = bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study")
    quick = bm.fit(spec)
    monkeypatch.setattr(assembly, "_AS_IT_IS", None)
    monkeypatch.setattr(assembly, "_BY_HAND", False)
    ours, theirs = both({"message": "done"})
    xr.testing.assert_identical(ours, theirs)
    again = bm.fit(bm.specify("effect ~ year", bm.datasets.load("school"), S="var", random="1 | district/study"))
    again.attrs["created_at"] = quick.attrs["created_at"]
    xr.testing.assert_identical(quick, again)


def test_sizes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="coef"):
        table_of({"beta": ("coef", np.zeros(3))}, {"coef": labels_of("coef", ["a", "b"])})


def test_trees_of_one_specification_share_no_change() -> None:
    spec = bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar")
    first, second = bm.fit(spec), bm.fit(spec, method="ml")
    first["estimate"]["coef"].attrs["unit"] = "degrees"
    first["constant_data"]["coef"].attrs["unit"] = "degrees"
    first["estimate"] = first["estimate"].to_dataset().assign_coords(coef=["b0", "b1"])
    third = bm.fit(spec)
    for tree in (second, third):
        assert tree["estimate"]["coef"].values.tolist() == ["Intercept", "ablat"]
        assert not tree["estimate"]["coef"].attrs
        assert not tree["constant_data"]["coef"].attrs


def test_the_same_tree_as_by_the_constructor() -> None:
    ours, theirs = both({"message": "done"})
    groups = {"first": ours, "second": ours.isel(coef=[1])}
    tree = tree_of({"method": "ml"}, groups)
    expected = xr.DataTree.from_dict(
        {"/": xr.Dataset(attrs={"method": "ml"}), "first": theirs, "second": theirs.isel(coef=[1])}
    )
    xr.testing.assert_identical(tree, expected)
    assert [node.path for node in tree.subtree] == ["/", "/first", "/second"]
    assert tree["first"].parent is tree
    assert tree["first"].name == "first"
    xr.testing.assert_identical(tree.copy(), expected)
    xr.testing.assert_identical(
        tree.map_over_datasets(lambda table: table * 2), expected.map_over_datasets(lambda table: table * 2)
    )
    tree["first"]["beta"].attrs["unit"] = "log"
    del tree["second"]
    assert list(tree.children) == ["first"]
    assert not ours["beta"].attrs


def test_changes_of_a_tree_are_checked_as_ever() -> None:
    tree = tree_of({}, {"first": both(None)[0]})
    with pytest.raises(ValueError, match="not aligned"):
        tree.dataset = xr.Dataset(coords={"coef": ["c", "d", "e"]})


def test_changes_of_one_tree_do_not_show_in_another() -> None:
    """Fits of one specification share its groups' arrays, but no variables and no attributes; copies are whole."""
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    one, two = bm.fit(spec), bm.fit(spec)
    two.attrs["created_at"] = one.attrs["created_at"]
    copies = [copy.deepcopy(two), pickle.loads(pickle.dumps(two)), two.copy()]
    raw = one["data"]
    raw["effect"].attrs["column"] = "other"
    raw.dataset.variables["effect"].attrs["column"] = "other"
    raw.attrs["new"] = "attribute"
    raw["more"] = raw["effect"] * 2
    one["observed_data"] = one["observed_data"].to_dataset().rename(y="z")
    assert "more" not in two["data"]
    assert not two["data"].attrs
    assert two["data"]["effect"].attrs["column"] == "effect"
    assert "y" in two["observed_data"]
    for each in copies:
        xr.testing.assert_identical(each, two)
    assert np.array_equal(bm.Spec.from_tree(two).y, spec.y)
