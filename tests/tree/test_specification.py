"""A specification survives its tree, in memory and through a file, and a file alone answers every later question."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.errors import SpecError
from bayesmeta.tree.specification import data_hash, spec_from_tree
from tests.support.awkward import awkward_new_data, awkward_spec
from tests.support.edited import unhashed


def fibrinogen_like() -> bm.Spec:
    """Levels without effects and a sampling covariance that couples rows."""
    data = pd.DataFrame({"y": [0.1, 0.4, -0.2, 0.3, 0.0], "x": [1, 2, 3, 4, 6], "g": [1, 1, 2, 2, 2]})
    S = {1: np.array([[0.2, 0.1], [0.1, 0.3]]), 2: 0.1 * np.eye(3) + 0.05}
    return bm.specify("y ~ x", data, S=S, groups="g")


def each_row_its_own() -> bm.Spec:
    columns = {"PD": [0.1, 0.4, np.nan, 0.3, 0.2], "AL": [1, 2, 3, 4, 6.5], "y1": [2, 1, 2, 5, 3], "v": [0.1] * 5}
    matrix = np.array([[1, 0.5], [0.5, 2.0]])
    return bm.specify(
        {"PD": "1 + y1", "AL": "1"},
        pd.DataFrame(columns, index=[3, 1, 4, 1.5, 9]),
        S=np.full((5, 2), 0.1),
        S_correlation=0.3,
        psi=bm.structures.Proportional(matrix),
    )


def list_of_levels() -> bm.Spec:
    school = bm.datasets.load("school")
    return bm.specify(
        "effect ~ 1", school, S="var", random=["1 | district", "year | study"], psi={"district": "unstr", "study": "id"}
    )


SPECS: dict[str, Callable[[], bm.Spec]] = {
    "awkward": awkward_spec,
    "no effects": fibrinogen_like,
    "each row its own group": each_row_its_own,
    "list of levels": list_of_levels,
}


def assert_same(ours: object, theirs: object) -> None:
    if isinstance(theirs, np.ndarray):
        assert isinstance(ours, np.ndarray)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
    elif isinstance(theirs, pd.DataFrame):
        pd.testing.assert_frame_equal(ours, theirs, check_index_type="equiv")
    elif type(theirs).__name__ in ("Level", "SamplingCovariance"):
        for field in fields(theirs):
            assert_same(getattr(ours, field.name), getattr(theirs, field.name))
    elif isinstance(theirs, tuple):
        assert isinstance(ours, tuple)
        assert len(ours) == len(theirs)
        for a, b in zip(ours, theirs, strict=True):
            assert_same(a, b)
    else:
        assert type(ours) is type(theirs)
        assert ours == theirs


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("make", SPECS.values(), ids=SPECS.keys())
def test_specification_survives_its_tree(make: Callable[[], bm.Spec], tmp_path: Path):
    spec = replace(make(), notes=("one", 'two, "quoted"'))
    fit = bm.fit(spec, method="fixed")
    fit.to_netcdf(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc") as read:
        for found in (bm.Spec.from_tree(fit), bm.Spec.from_tree(read)):
            for field in fields(spec):
                assert_same(getattr(found, field.name), getattr(spec, field.name))
            assert_same(found.S.variances, spec.S.variances)
            assert found.design.coef == spec.coef
            assert data_hash(found) == data_hash(spec) == fit.attrs["data_hash"]


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    return bm.fit(awkward_spec())


@pytest.fixture(scope="module")
def saved(fit: xr.DataTree, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("trees") / "fit.nc"
    fit.to_netcdf(path)
    return path


def test_tree_read_back_is_identical(fit: xr.DataTree, saved: Path):
    with xr.open_datatree(saved) as read:
        xr.testing.assert_identical(read.load(), fit)


def test_refitting_a_specification_from_a_tree_gives_the_same_fit(fit: xr.DataTree):
    again = bm.fit(bm.Spec.from_tree(fit))
    for group in ("estimate", "criteria", "heterogeneity"):
        xr.testing.assert_identical(again[group].to_dataset(), fit[group].to_dataset())


ANSWERS = """
import json, sys, warnings
warnings.simplefilter("error")
import pandas as pd, xarray as xr, bayesmeta as bm

def answers(fit, new):
    tables = {
        "predict": bm.predict(fit, interval="confidence"),
        "new": bm.predict(fit, new),
        "interval": bm.predict(fit, new, interval="prediction", prob=0.8),
        "blup": bm.blup(fit),
        "outer": bm.blup(fit, level="region", kind="residual"),
        "paper": bm.blup(fit, se="paper"),
        "region": bm.ranef(fit)["region"].to_dataset(),
        "lab": bm.ranef(fit)["lab"].to_dataset(),
        "heterogeneity": bm.heterogeneity(fit),
    }
    return {name: table.to_dict() for name, table in tables.items()} | {"summary": str(bm.summary(fit))}

if __name__ == "__main__":
    with xr.open_datatree(sys.argv[1]) as fit:
        print(json.dumps(answers(fit, pd.read_json(sys.argv[2], convert_axes=False))))
"""


def test_a_new_process_with_the_file_alone_answers_identically(fit: xr.DataTree, saved: Path, tmp_path: Path):
    new = awkward_new_data()
    new.to_json(tmp_path / "new.json", double_precision=15)
    (tmp_path / "answers.py").write_text(ANSWERS)
    command = [sys.executable, "answers.py", str(saved), "new.json"]
    there = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    namespace: dict[str, Callable[..., object]] = {"__name__": "here"}
    exec(ANSWERS, namespace)
    assert there.strip() == json.dumps(namespace["answers"](fit, new))


def test_hash_depends_on_every_number_that_the_model_sees():
    spec = awkward_spec()
    level = spec.levels[0]
    changed = {
        "y": replace(spec, y=spec.y + np.eye(1, len(spec.y))[0] * 1e-12),
        "offset": replace(spec, offset=spec.offset * 2),
        "X": replace(spec, X=spec.X * 2),
        "S": replace(spec, S=replace(spec.S, value=spec.S.value * 2)),
        "Z": replace(spec, levels=(replace(level, Z=level.Z * 2), *spec.levels[1:])),
        "groups": replace(spec, levels=(replace(level, index=level.index[::-1].copy()), *spec.levels[1:])),
    }
    hashes = {data_hash(spec), *map(data_hash, changed.values())}
    assert len(hashes) == 1 + len(changed)
    assert data_hash(awkward_spec()) == data_hash(spec)


def test_hash_does_not_depend_on_the_platform():
    data = {"y": [0.5, -0.25, 1.0], "v": [0.5, 0.25, 1.0]}
    spec = bm.specify("y ~ 1", data, S="v")
    swapped = replace(spec, y=spec.y.astype(">f8"), row=spec.row.astype(">i4"))
    assert data_hash(spec) == data_hash(swapped)
    assert data_hash(spec) == "35ecbc99f9f4bf767ff6c67623860bf72ec4c1be7ccef3a4bb728455047c3737"


@pytest.mark.parametrize("path", [("a",), ("11", "3"), ("a/b", "c\\", "/"), ("\\/", ""), ("", "x"), ("\n/", "\\\\")])
def test_group_labels_can_be_taken_apart(path: tuple[str, ...]):
    from bayesmeta.tree.specification import _split_label

    assert _split_label(schema.join_label(path)) == path


@pytest.mark.parametrize("group", ["observed_data", "constant_data", "data"])
def test_a_tree_without_a_specification_says_so(group: str):
    fit = bm.fit(bm.specify("y ~ 1", {"y": [0.5, -0.25, 1.0], "v": [0.5, 0.25, 1.0]}, S="v"), method="fixed")
    del fit[group]
    with pytest.raises(SpecError, match=f"no group /{group} in this tree; its groups: estimate, "):
        spec_from_tree(fit)
    with pytest.raises(SpecError, match=r"expected the results tree .* got Dataset"):
        spec_from_tree(fit["estimate"].to_dataset())


def test_formulas_of_a_file_are_checked_before_they_are_used():
    fit = bm.fit(bm.specify("y ~ 1 + y2", {"y": [0.5, -0.25, 1.0], "y2": [1, 2, 5], "v": [0.5, 0.25, 1.0]}, S="v"))
    fit = unhashed(fit)
    fit.attrs["formula"] = "y ~ 1 + y2.to_csv('stolen')"
    with pytest.raises(SpecError):
        bm.predict(fit, {"y2": 1})
    fit.attrs["psi"] = json.dumps({"unit": "unstrr"})
    with pytest.raises(SpecError, match="unstrr"):
        bm.Spec.from_tree(fit)


@pytest.mark.parametrize(
    ("part", "formula", "message"),
    [
        ("formula", "y ~ x", "now give other coefficients: Intercept, x\n  stored: Intercept, z$"),
        ("formula", "y ~ z + x", "give other coefficients"),
        ("random", "x | g", "now give other effects of level 'g': Intercept, x\n  stored: Intercept$"),
    ],
)
def test_formulas_that_do_not_belong_to_the_numbers_of_a_tree_are_refused(part: str, formula: str, message: str):
    data = {"y": [0.5, -0.25, 1.0, 0.0], "x": [1, 2, 5, 4], "z": [3, 1, 0, 1], "g": list("aabb"), "v": [0.5] * 4}
    fit = bm.fit(bm.specify("y ~ z", data, S="v", random="1 | g", offset="x"))
    assert bm.predict(fit, {"x": 1, "z": 2})["mean"].notnull().all()
    fit = unhashed(fit)
    fit.attrs[part] = formula
    with pytest.raises(SpecError, match=message):
        bm.predict(fit, {"x": 1, "z": 2})
