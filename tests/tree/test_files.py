"""Results in Zarr directories: they answer as those in memory and in netCDF do, alone and several in one."""

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from typer.testing import CliRunner

import bayesmeta as bm
from bayesmeta.cli.app import app
from bayesmeta.errors import DataError, SpecError
from bayesmeta.tree import files
from tests.support.awkward import awkward_new_data, awkward_spec
from tests.tree.test_specification import SPECS

MODELS = Path(__file__).resolve().parents[2] / "models"
RUN = CliRunner()
pytestmark = [
    pytest.mark.filterwarnings("ignore:Consolidated metadata is currently not part"),
    pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning"),
]

ANSWERS = """
import json, sys, warnings
warnings.simplefilter("error")
import pandas as pd, xarray as xr, bayesmeta as bm

def answers(fit, new):
    tables = {
        "new": bm.predict(fit, new, interval="prediction", prob=0.8),
        "blup": bm.blup(fit, level="region", kind="residual"),
        "lab": bm.ranef(fit)["lab"].to_dataset(),
        "heterogeneity": bm.heterogeneity(fit),
        "again": bm.fit(bm.Spec.from_tree(fit), method="fixed")["estimate"].to_dataset(),
    }
    pages = {"summary": str(bm.summary(fit)), "compare": bm.compare(a=fit, b=fit).to_markdown()}
    return {name: table.to_dict() for name, table in tables.items()} | pages

if __name__ == "__main__":
    with xr.open_datatree(sys.argv[1], engine="zarr") as fit:
        print(json.dumps(answers(fit, pd.read_json(sys.argv[2], convert_axes=False))))
"""


@pytest.fixture(scope="module")
def awkward(tmp_path_factory: pytest.TempPathFactory) -> tuple[xr.DataTree, Path]:
    """A fit with everything that a tree can hold, and its directory."""
    fit, path = bm.fit(awkward_spec()), tmp_path_factory.mktemp("zarr") / "fit.zarr"
    fit.to_zarr(path)
    return fit, path


def test_a_tree_read_back_is_identical(awkward: tuple[xr.DataTree, Path]) -> None:
    fit, path = awkward
    with xr.open_datatree(path, engine="zarr") as read:
        xr.testing.assert_identical(read.load(), fit)


@pytest.mark.parametrize("name", sorted(set(SPECS) - {"awkward"}))
def test_every_kind_of_specification_is_identical(name: str, tmp_path: Path) -> None:
    """Levels without effects, dimensions of size zero, indices of every type, structures with matrices."""
    make: Callable[[], bm.Spec] = SPECS[name]
    fit = bm.fit(make(), method="fixed")
    files.save(fit, tmp_path / "fit.zarr")
    (read,) = files.read(tmp_path / "fit.zarr").values()
    xr.testing.assert_identical(read.load(), fit)


def test_a_new_process_with_the_directory_alone_answers_identically(
    awkward: tuple[xr.DataTree, Path], tmp_path: Path
) -> None:
    fit, path = awkward
    new = awkward_new_data()
    new.to_json(tmp_path / "new.json", double_precision=15)
    (tmp_path / "answers.py").write_text(ANSWERS)
    command = [sys.executable, "answers.py", str(path), "new.json"]
    there = subprocess.run(command, check=True, cwd=tmp_path, capture_output=True, text=True).stdout
    namespace: dict[str, Callable[..., object]] = {"__name__": "here"}
    exec(ANSWERS, namespace)
    assert json.loads(there) == json.loads(json.dumps(namespace["answers"](fit, new)))


@pytest.fixture(scope="module")
def trees() -> dict[str, xr.DataTree]:
    data = pd.DataFrame({"y": [0.5, -0.25, 1.0], "v": [0.5, 0.25, 1.0]})
    spec = bm.specify("y ~ 1", data, S="v")
    return {"rändom <1>": bm.fit(spec, method="ml"), "all equal": bm.fit(spec, method="fixed")}


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_several_trees_in_one_file(suffix: str, trees: dict[str, xr.DataTree], tmp_path: Path) -> None:
    path = tmp_path / f"both{suffix}"
    files.save(trees, path)
    read = files.read(path)
    assert list(read) == list(trees)
    for name, tree in trees.items():
        alone = xr.DataTree.from_dict(read[name].load().to_dict())
        xr.testing.assert_identical(alone, tree)
    engine = "zarr" if suffix == ".zarr" else "h5netcdf"
    with xr.open_datatree(path, engine=engine, group="all equal") as one:
        assert str(bm.summary(one)) == str(bm.summary(trees["all equal"]))


@pytest.mark.parametrize("suffix", [".nc", ".zarr"])
def test_results_replace_those_that_the_file_held(suffix: str, trees: dict[str, xr.DataTree], tmp_path: Path) -> None:
    path = tmp_path / f"again{suffix}"
    files.save(trees, path)
    files.save(trees["all equal"], path)
    assert list(files.read(path)) == [""]


def test_a_name_that_would_be_a_path_is_refused(trees: dict[str, xr.DataTree], tmp_path: Path) -> None:
    with pytest.raises(SpecError, match="may not contain '/': a/b"):
        files.save({"a/b": trees["all equal"], "c": trees["all equal"]}, tmp_path / "x.nc")
    assert not list(tmp_path.iterdir())


def test_only_results_are_replaced(trees: dict[str, xr.DataTree], tmp_path: Path) -> None:
    precious = tmp_path / "precious.zarr"
    precious.mkdir()
    (precious / "thesis.txt").write_text("years of work")
    for path, message in ((precious, "is not a Zarr directory"), (tmp_path, "is a directory")):
        with pytest.raises(DataError, match=message):
            files.save(trees, path)
    assert (precious / "thesis.txt").read_text() == "years of work"


def test_what_holds_no_results_is_refused(trees: dict[str, xr.DataTree], tmp_path: Path) -> None:
    other = xr.DataTree(children={"fit": trees["all equal"], "other": xr.DataTree(xr.Dataset({"x": 1.0}))})
    other.to_zarr(tmp_path / "other.zarr")
    xr.DataTree(xr.Dataset({"x": 1.0})).to_netcdf(tmp_path / "other.nc")
    (tmp_path / "empty.zarr").mkdir()
    for name in ("other.zarr", "other.nc", "empty.zarr"):
        with pytest.raises(DataError, match=f"{name} is not a results file"):
            files.read(tmp_path / name)
    with pytest.raises(DataError, match=r"no file .*none\.zarr"):
        files.read(tmp_path / "none.zarr")


def test_fit_writes_and_show_reads_zarr(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    ran = RUN.invoke(app, ["fit", str(MODELS / "school.toml"), "--out", "results.zarr"])
    assert ran.exit_code == 0, ran.output
    assert "Results saved in results.zarr" in ran.output
    assert [path.name for path in tmp_path.iterdir()] == ["results.zarr"]
    shown = RUN.invoke(app, ["show", "results.zarr"])
    assert shown.exit_code == 0, shown.output
    headings = re.findall(r"^== (.*)$", shown.output, re.M)
    assert headings == list(bm.load_analysis(MODELS / "school.toml").models)
    for page in re.split(r"^== .*$", shown.output, flags=re.M)[1:]:
        assert page.strip() in ran.output
