"""Data in partitions against the same data in one place: specifications, fits and what is asked of them."""

import sys
import warnings
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.io import partitions as source
from bayesmeta.model import partitions_read

pytest.importorskip("distributed", reason="the extra `distributed`")
dd = pytest.importorskip("dask.dataframe")

Model = tuple[str | dict[str, str], dict[str, Any]]


@cache
def trials() -> pd.DataFrame:
    """90 trials in 24 districts of very unequal sizes, with whatever the models need; some values are missing."""
    rng = np.random.default_rng(20)
    n = 90
    district = np.sort(rng.choice(24, n, p=np.r_[0.25, np.full(23, 0.75 / 23)]))
    frame = pd.DataFrame({"district": district})
    frame["study"] = frame.groupby("district").cumcount() // 2
    frame["month"] = frame.groupby("district").cumcount() % 4
    frame["x"] = rng.normal(size=n).round(3)
    frame["arm"] = rng.choice(["usual", "new", "both"], n)
    frame["base"] = rng.normal(size=n).round(2)
    u = rng.normal(0, 0.5, (24, 3))
    for j, name in enumerate(("a", "b", "c")):
        frame[f"v{name}"] = rng.uniform(0.02, 0.4, n)
        frame[name] = u[district, j] + 0.3 * frame.x + rng.normal(0, np.sqrt(frame[f"v{name}"] + 0.05))
    frame["cab"] = 0.4 * np.sqrt(frame.va * frame.vb)
    frame.loc[rng.choice(n, 8, replace=False), "b"] = np.nan
    frame.loc[rng.choice(n, 4, replace=False), "x"] = np.nan
    return frame.sample(frac=1, random_state=3).reset_index(drop=True)


def blocks(frame: pd.DataFrame, group: str = "district") -> dict[Any, Any]:
    """AR(1) errors among the rows of every group."""
    made = {}
    for label, rows in frame.groupby(group):
        sd = np.sqrt(rows["va"].to_numpy())
        lag = np.abs(np.subtract.outer(np.arange(len(rows)), np.arange(len(rows))))
        made[label] = 0.5**lag * np.outer(sd, sd)
    return made


MODELS: dict[str, Model] = {
    "a row a group": ("a ~ x", {"S": "va"}),
    "two levels": ("a ~ x + arm", {"S": "va", "random": "1 | district/study"}),
    "slopes": ("a ~ x", {"S": "va", "random": "1 + x | district"}),
    "two outcomes": ("a + b ~ x", {"S": ["va", "cab", "vb"], "random": "1 | district"}),
    "three outcomes": (
        "a + b + c ~ 1",
        {"S": ["va", "vb", "vc"], "S_correlation": 0.3, "random": "1 | district/study", "psi": "cs"},
    ),
    "blocks of S": ("a ~ arm", {"S": blocks, "random": "1 | district/study"}),
    "common effect, blocks of S": ("a ~ x", {"S": blocks, "groups": "district"}),
    "splines": ("a ~ ns(x, df=3) * arm + offset(base)", {"S": "va", "random": "1 | district"}),
    "times": (
        "a ~ 1",
        {"S": "va", "random": "1 | district", "psi": bm.structures.CAR1(time="month")},
    ),
    "predictors by outcome": (
        {"a": "1 + x", "b": "1"},
        {
            "se": ["va", "vb"],
            "S_correlation": 0.2,
            "random": {"district": "1"},
            "psi": "hcs",
            "common": "poly(base, 2)",
        },
    ),
    "categories in numbers": ("a ~ C(month) + scale(x)", {"S": "va", "random": "1 | district", "psi": "diag"}),
}


def quiet(make: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.errors.BayesmetaWarning)
        return make(*arguments, **options)


@cache
def in_one_place(name: str, method: str) -> xr.DataTree:
    formula, options = MODELS[name]
    own = options | ({"S": blocks(trials())} if options.get("S") is blocks else {})
    return quiet(lambda: bm.fit(bm.specify(formula, trials(), **own), method))


def in_partitions(name: str, data: Any, method: str = "reml", **where: Any) -> xr.DataTree:
    formula, options = MODELS[name]
    return quiet(lambda: bm.fit(bm.specify(formula, data, **options, **where), method))


def assert_same(tree: xr.DataTree, expected: xr.DataTree, tolerance: float = 1e-10) -> None:
    for group in ("estimate", "criteria", "heterogeneity"):
        for key in expected[group].data_vars:
            name = str(key)
            if name.startswith(("b_", "psi_", "rho_")) and name not in tree[group]:
                assert name.startswith("b_")
                continue
            one, other = tree[group][name].values, expected[group][name].values
            scale = max(np.nanmax(np.abs(other), initial=0.0), 1e-2)
            spread = 1e-7 if name in ("xi_cov", "xi") or "_se" in name or name.startswith("rho") else tolerance
            np.testing.assert_allclose(one, other, rtol=spread, atol=spread * scale, err_msg=f"{group} {name}")


@pytest.mark.parametrize(("name", "turn"), [(name, i) for i, name in enumerate(MODELS)])
def test_results_do_not_depend_on_partitions(name: str, turn: int) -> None:
    partitions, method = (2, 5, 9)[turn % 3], ("reml", "ml")[turn % 2]
    assert_same(in_partitions(name, trials(), method, partitions=partitions), in_one_place(name, method))


def files_of(frame: pd.DataFrame, folder: Path, pieces: list[slice]) -> str:
    folder.mkdir()
    for i, piece in enumerate(pieces):
        frame.iloc[piece].to_parquet(folder / f"part{i}.parquet", index=False)
    return str(folder)


UNEVEN = [slice(0, 3), slice(3, 3), slice(3, 60), slice(60, 61), slice(61, 90)]  # one has no rows


@pytest.mark.parametrize("where", ["dask", "narwhals of dask", "sorted files", "shuffled files", "hive", "polars"])
def test_results_do_not_depend_on_where_rows_are(where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROWS", 20)
    name, frame, options = "slopes", trials(), {}
    in_order = frame.sort_values("district", kind="stable").reset_index(drop=True)
    if "dask" in where:
        data: Any = dd.from_pandas(in_order, npartitions=4)
        if where != "dask":
            import narwhals as nw

            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # that Dask will be a package of theirs of its own
                data = nw.from_native(data)
    elif "files" in where:
        data = files_of(in_order if where == "sorted files" else frame, tmp_path / "trials", UNEVEN)
    elif where == "hive":
        data = str(tmp_path / "hive")
        frame.to_parquet(data, partition_cols=["district"])
    else:
        import polars as pl

        data, options = pl.from_pandas(frame), {"partitions": 3}
    assert_same(in_partitions(name, data, **options), in_one_place(name, "reml"))


def test_categories_and_knots_are_those_of_all_partitions() -> None:
    """Every partition has one arm alone, as text or as categories of its own."""
    frame = trials().sort_values("arm").assign(district=lambda d: d["district"].astype(str) + d["arm"])
    parts = [part.assign(arm=pd.Categorical(part["arm"])) for _, part in frame.groupby("arm")]
    formula, options = MODELS["splines"]
    whole = quiet(lambda: bm.fit(bm.specify(formula, frame, **options)))
    data = dd.from_map(lambda part: part, parts)
    with pytest.warns(bm.errors.AssumptionWarning, match="come from whole columns"):
        spec = bm.specify(formula, data, **options)
    assert_same(quiet(bm.fit, spec), whole)


def test_an_effect_that_the_fixed_part_takes_up_is_known_over_partitions() -> None:
    frame = trials().assign(side=lambda d: np.where(d["district"] < 8, "north", "south"))
    arguments = {"formula": "a ~ side", "S": "va", "random": "1 | side/district"}
    whole, parts = (
        quiet(lambda options=options: bm.fit(bm.specify(data=frame, **arguments, **options)))
        for options in ({}, {"partitions": 2})
    )
    assert_same(parts, whole)
    assert float(parts["estimate"]["tau_side"]) == 0


@pytest.fixture(scope="module")
def nested_fit() -> tuple[bm.Spec, xr.DataTree]:
    formula, options = MODELS["two levels"]
    spec = quiet(bm.specify, formula, trials(), partitions=4, **options)
    return spec, quiet(bm.fit, spec)


def test_the_tree_is_small_and_answers_after_a_round_trip(nested_fit: Any, tmp_path: Path) -> None:
    _, tree = nested_fit
    whole = in_one_place("two levels", "reml")
    bm.save(tree, tmp_path / "fit.nc")
    tree = bm.load(tmp_path / "fit.nc")
    new = pd.DataFrame({"x": [0.0, 1.0], "arm": ["new", "usual"]})
    for interval in ("confidence", "prediction"):
        one, other = (bm.predict(t, new, interval=interval, df="z") for t in (tree, whole))
        xr.testing.assert_allclose(one, other, rtol=1e-9)
    xr.testing.assert_allclose(bm.wald_test(tree, ["arm"]), bm.wald_test(whole, ["arm"], df="z"), rtol=1e-8)
    page, of_whole = str(bm.summary(tree)), str(bm.summary(whole, df="z"))
    for line in ("Data ", "beta[x]", "tau[study", "Criteria", "note"):
        assert [r.split() for r in page.splitlines() if r.startswith(line)] == [
            r.split() for r in of_whole.splitlines() if r.startswith(line)
        ] or line == "note"
    assert "4 of 90 rows dropped: missing x" in page


def test_knots_come_back_from_a_file(tmp_path: Path) -> None:
    tree = in_partitions("splines", trials(), partitions=3)
    bm.save(tree, tmp_path / "fit.nc")
    new = pd.DataFrame({"x": [-0.5, 0.7], "arm": ["new", "both"], "base": [0.0, 0.0]})
    made = bm.predict(bm.load(tmp_path / "fit.nc"), new, df="z")
    expected = bm.predict(in_one_place("splines", "reml"), new, df="z")
    np.testing.assert_allclose(made["mean"], expected["mean"], rtol=1e-9)


def test_predictions_are_written_by_partition(nested_fit: Any, tmp_path: Path) -> None:
    spec, tree = nested_fit
    folder = bm.write_blup(spec, tree, tmp_path / "predicted")
    whole = in_one_place("two levels", "reml")
    blup = pd.read_parquet(folder / "blup").astype({"row": int}).set_index("row").sort_index()
    expected = bm.blup(whole, df="z").to_dataframe().dropna().reset_index()
    for column in ("mean", "se", "lower", "upper"):
        np.testing.assert_allclose(blup[column], expected[column], rtol=1e-8)
    studies = pd.read_parquet(folder / "ranef_study")
    b = whole["estimate"]["b_study"].to_series()
    labels = studies["district"] + "/" + studies["study"]
    np.testing.assert_allclose(studies["mean"], b.loc[labels].to_numpy(), rtol=1e-8, atol=1e-12)
    assert len(list((folder / "ranef_district").iterdir())) == spec.totals.n_partitions


def test_a_zarr_store_holds_what_parquet_does(nested_fit: Any, tmp_path: Path, monkeypatch: Any) -> None:
    """Also where partitions end within chunks of the arrays, and where a store of an earlier call is replaced."""
    spec, tree = nested_fit
    files = bm.write_blup(spec, tree, tmp_path / "predicted")
    for chunk in (7, 100_000):
        monkeypatch.setattr("bayesmeta.inference.partition_blups.CHUNK", chunk)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            store = bm.write_blup(spec, tree, tmp_path / "predicted.zarr")
        with xr.open_datatree(store, engine="zarr", consolidated=False) as whole:
            assert set(whole.children) == {"blup", "ranef_district", "ranef_study"}
            for name, table in whole.children.items():
                expected = pd.read_parquet(files / name)
                made = table.to_dataset().to_dataframe()[list(expected)].reset_index(drop=True)
                pd.testing.assert_frame_equal(made.astype(object), expected.astype(object))


@pytest.mark.parametrize("zarr", [False, True])
def test_predictions_leave_nothing_behind_when_they_fail(
    zarr: bool, nested_fit: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    """In the middle of the partitions; what an earlier call has written stays."""
    spec, tree = nested_fit
    owner, name = (xr.Dataset, "to_zarr") if zarr else (pd.DataFrame, "to_parquet")
    path, works, calls = tmp_path / ("predicted.zarr" if zarr else "predicted"), getattr(owner, name), []

    def full(*arguments: Any, **options: Any) -> None:
        calls.append(1)
        if len(calls) > 4:
            raise OSError(28, "No space left on device")
        works(*arguments, **options)

    monkeypatch.setattr(owner, name, full)
    with pytest.raises(bm.errors.DataError, match="No space left"):
        bm.write_blup(spec, tree, path)
    assert not list(tmp_path.iterdir())
    monkeypatch.setattr(owner, name, works)
    bm.write_blup(spec, tree, path)
    before = sorted(each.relative_to(path) for each in path.rglob("*"))
    monkeypatch.setattr(owner, name, full)
    with pytest.raises(bm.errors.DataError, match="No space left"):
        bm.write_blup(spec, tree, path)
    assert sorted(each.relative_to(path) for each in path.rglob("*")) == before
    assert list(tmp_path.iterdir()) == [path]


def test_predictions_replace_nothing_but_predictions(nested_fit: Any, tmp_path: Path) -> None:
    spec, tree = nested_fit
    own = tmp_path / "mine"
    own.mkdir()
    (own / "notes.txt").write_text("kept")
    with pytest.raises(bm.errors.DataError, match=r"mine' holds 'notes.txt', which write_blup did not write"):
        bm.write_blup(spec, tree, own)
    with pytest.raises(bm.errors.DataError, match=r"notes.txt' is a file; give the path of a folder"):
        bm.write_blup(spec, tree, own / "notes.txt")
    assert (own / "notes.txt").read_text() == "kept"


@pytest.mark.parametrize(
    "ask",
    [
        lambda spec, tree: bm.blup(tree),
        lambda spec, tree: bm.influence(tree),
        lambda spec, tree: bm.sample(spec),
        lambda spec, tree: bm.simulate(spec, 2, random_seed=1),
        lambda spec, tree: bm.bootstrap(tree, 2),
        lambda spec, tree: bm.plots.forest(tree),
        lambda spec, tree: bm.fit(spec, random_effects=True),
        lambda spec, tree: spec.y,
    ],
)
def test_what_needs_all_rows_says_so(ask: Any, nested_fit: Any) -> None:
    with pytest.raises(bm.errors.SpecError, match=r"partition|session that specified"):
        ask(*nested_fit)


TWO = [slice(0, 45), slice(45, 90)]


def wrong(change: Callable[[pd.DataFrame], pd.DataFrame], folder: Path) -> str:
    """Two files of trials, the second of which was changed."""
    folder.mkdir()
    for i, piece in enumerate(TWO):
        part = trials().iloc[piece]
        (change(part) if i else part).to_parquet(folder / f"part{i}.parquet", index=False)
    return str(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda d: d.assign(x=d["x"].astype(str)),
            r"column 'x' of the Parquet set .* is double in part0.* and \w*string",
        ),
        (lambda d: d.drop(columns="va"), r"part1.parquet of the Parquet set .* has no column 'va'"),
        (lambda d: d.assign(va=-d["va"]), r"part1.parquet: .*variance.*row"),
        (lambda d: d.assign(a=np.inf), r"part1.parquet: column 'a' is infinite"),
        (lambda d: d.assign(x=d["x"] > 0), r"column 'x' of the Parquet set .* is double in part0.* and bool in part1"),
        (lambda d: d.assign(x=pd.Timestamp("2020-01-01")), r"'x' of the Parquet set .* is double .* and timestamp"),
        (lambda d: d.assign(va=d["va"].astype(str)), r"column 'va' of the Parquet set .* and \w*string in part1"),
    ],
)
def test_a_wrong_file_is_named(change: Any, message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source, "ROWS", 20)
    with pytest.raises(bm.errors.DataError, match=message):
        bm.specify("a ~ x", wrong(change, tmp_path / "trials"), S="va")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"formula": "a ~ z"}, "no column 'z'|unknown column|z"),
        ({"S": "vz"}, "vz"),
        ({"S": np.ones(90)}, "S is an array over all rows"),
        ({"offset": np.ones(90)}, "offset is an array over all rows"),
        ({"partitions": 0}, "partitions"),
        ({"labels": "study"}, "labels"),
        ({"S": {"nowhere": np.eye(2)}, "random": "1 | district"}, "nowhere"),
        ({"S": blocks(trials()), "random": None}, "names no groups"),
        ({"formula": "a ~ x + I(2 * x)"}, "aliased"),
    ],
)
def test_bad_arguments(arguments: dict[str, Any], message: str) -> None:
    usual = {"formula": "a ~ x", "S": "va", "random": "1 | district", "partitions": 3}
    with pytest.raises(bm.errors.BayesmetaError, match=message):
        bm.specify(data=trials(), **usual | arguments)


def test_bad_partitions() -> None:
    frame = trials()
    mixed = dd.from_map(lambda i: frame.iloc[TWO[i]].assign(x="high" if i else 0.5), range(2), meta=frame)
    with pytest.raises(bm.errors.DataError, match="column 'x' holds numbers in partition 0 and text in partition 1"):
        bm.specify("a ~ x", mixed, S="va")
    with pytest.raises(bm.errors.DataError, match=r"groups of 'district' lie in several partitions.*\n.*\n.*shuffle"):
        bm.specify("a ~ x", dd.from_pandas(frame, npartitions=6), S="va", random="1 | district")
    with pytest.raises(bm.errors.DataError, match="nothing is left of 90 rows"):
        bm.specify("a ~ x", frame.assign(a=np.nan), S="va", partitions=3)
    with pytest.raises(bm.errors.DataError, match=r"cannot be read|no such|name of a file"):
        bm.specify("a ~ x", "nowhere.parquet", S="va")


def test_partitions_without_rows_say_nothing(tmp_path: Path) -> None:
    """Wherever they stand; where all of them are, that is the error."""
    frame, (first, second) = trials(), TWO
    alone = bm.fit(bm.specify("a ~ x", frame, S="va"), random_effects=False)["criteria"]["loglik"].item()
    nothing = frame.iloc[:0]
    for i, parts in enumerate(([nothing, frame], [frame[first], nothing, frame[second]], [frame, nothing, nothing])):
        folder = tmp_path / f"{i}"
        folder.mkdir()
        for j, part in enumerate(parts):
            part.to_parquet(folder / f"{j}.parquet", index=False)
        lazy = dd.from_map(lambda j, parts=parts: parts[j], range(len(parts)), meta=nothing)
        for data in (str(folder), lazy):
            fit = bm.fit(bm.specify("a ~ x", data, S="va"))
            assert fit["criteria"]["loglik"].item() == pytest.approx(alone, abs=1e-10)
    lazy = dd.from_map(lambda _: nothing, range(2), meta=nothing)
    with pytest.raises(bm.errors.DataError, match="the data have no rows: Dask data frame, 2 partitions"):
        bm.specify("a ~ x", lazy, S="va")
    (tmp_path / "empty").mkdir()
    with pytest.raises(bm.errors.DataError, match=r"data is the folder '.*empty', which holds no Parquet files"):
        bm.specify("a ~ x", str(tmp_path / "empty"), S="va")


@pytest.mark.parametrize(
    ("S", "message"),
    [
        (lambda part: part["nowhere"], r"partition 0: the function S raised KeyError: 'nowhere'\n  it is called with"),
        (lambda _: 1 / 0, "partition 0: the function S raised ZeroDivisionError: division by zero"),
        (lambda _: None, "partition 0: the function S returned None"),
        (lambda _: np.eye(3), "partition 0: S has shape .3, 3., which does not fit"),
        (lambda part: -part["va"], "partition 0: sampling variance of rows .* is negative"),
    ],
)
def test_functions_for_S_that_fail_are_named(S: Any, message: str) -> None:
    with pytest.raises(bm.errors.BayesmetaError, match=message):
        bm.specify("a ~ x", trials(), S=S, random="1 | district", partitions=3)


def test_files_that_change_after_they_were_specified_are_refused(tmp_path: Path, monkeypatch: Any) -> None:
    """Predictions would otherwise mix what was and what is; a worker that dies reads its files again."""
    monkeypatch.setattr(source, "ROWS", 20)
    folder = tmp_path / "set"
    folder.mkdir()
    for i, piece in enumerate(TWO):
        trials().iloc[piece].to_parquet(folder / f"part{i}.parquet", index=False)
    spec = bm.specify("a ~ x", str(folder), S="va")
    tree = bm.fit(spec)
    changed = trials().iloc[TWO[1]].assign(a=lambda d: d.a + 1)
    changed.to_parquet(folder / "part1.parquet", index=False)
    with pytest.raises(
        bm.errors.DataError, match=r"part1.parquet: the rows are not those .*\n  specify the data again"
    ):
        bm.write_blup(spec, tree, tmp_path / "out")
    (folder / "part1.parquet").unlink()
    with pytest.raises(bm.errors.DataError, match=r"part1.parquet|cannot be written"):
        bm.write_blup(spec, tree, tmp_path / "out.zarr")
    assert [*tmp_path.iterdir()] == [folder]
    work = spec.work
    assert work is not None
    piece = work.reader(work.asked, work.taught, changed)
    with pytest.raises(bm.errors.DataError, match="the data have changed since"):
        partitions_read.check_unchanged(piece, {"another"})


def test_without_dask_an_error_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(bm.errors.SpecError, match=r"Dask is not installed.*\n  pip install 'bayesmeta\[distributed\]'"):
        bm.specify("a ~ x", trials(), S="va", partitions=2)
