"""Draws from exact posteriors are computed when somebody reads them, as ordinary arrays, and by nobody who need not."""

import copy
import gc
import pickle
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import arviz
import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.bayes import engines
from bayesmeta.errors import DataError, SpecError
from bayesmeta.tree.specification import group
from bayesmeta.tree.unread import Source, unread
from tests.support.trials import bcg, berkey, school

DRAWN = (
    *(schema.POSTERIOR, schema.RANDOM_EFFECTS, schema.DERIVED, schema.SAMPLE_STATS, schema.LOG_PRIOR),
    *(schema.LOG_LIKELIHOOD, schema.POINTWISE, schema.POSTERIOR_PREDICTIVE, schema.NEW_GROUPS),
    *(schema.PRIOR, schema.PRIOR_PREDICTIVE),
)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The kinds of arrays that were computed so far."""
    computed: list[str] = []
    whole = Source.array

    def counted(self: Source, key: str, sizes: dict[str, int], part: Callable) -> object:
        def counts() -> object:
            arrays = part()
            computed.append(next(iter(arrays)).partition("/")[0])
            return arrays

        return whole(self, key, sizes, counts)

    monkeypatch.setattr(Source, "array", counted)
    return computed


def posterior(spec: bm.Spec, draws: int = 50, **options) -> xr.DataTree:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return bm.sample(spec, random_seed=3, draws=draws, **options)


def waiting(tree: xr.DataTree) -> list[str]:
    return [name for name in tree.children if any(unread(v) is not None for v in tree[name].variables.values())]


@pytest.mark.parametrize("make", [bcg, school, berkey])
def test_everything_drawn_waits(make: Callable[[], bm.Spec]) -> None:
    tree = posterior(make())
    assert set(waiting(tree)) == set(DRAWN)
    for name in DRAWN:
        for key, variable in tree[name].data_vars.items():
            assert variable.dtype == np.float64
            assert variable.values.shape == variable.shape, (name, key)
    assert not waiting(tree)


@pytest.mark.parametrize("make", [bcg, school, berkey])
def test_nobody_who_need_not_reads_draws(make: Callable[[], bm.Spec], made: list[str]) -> None:
    spec = make()
    tree, fit = posterior(spec), bm.fit(spec)
    for text in (tree, tree["posterior"], bm.summary(tree), bm.compare(ml=fit, bayes=tree), bm.estimates(tree)):
        assert str(text)
        assert not hasattr(text, "_repr_html_") or text._repr_html_()
    bm.predict(tree, covariance=True), bm.blup(tree), bm.heterogeneity(tree), bm.table(tree), bm.methods_text(tree)
    if len(spec.levels) == len(spec.outcomes) == 1:
        bm.prior_check(tree), bm.plots.forest(tree), bm.plots.prior_posterior(tree)
    assert made == []
    arviz.summary(tree)
    assert made == ["posterior"]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        arviz.loo(tree)
    assert made == ["posterior", "log_prior"]


def test_values_are_those_of_draws_that_are_made_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    later = posterior(school())
    at_once = engines.Undrawn
    monkeypatch.setattr(engines, "Undrawn", lambda shape, make: make())
    now = posterior(school())
    assert at_once is not engines.Undrawn
    assert set(DRAWN) <= set(waiting(later))
    assert not waiting(now)
    for name in DRAWN:
        xr.testing.assert_identical(later[name].to_dataset(), now[name].to_dataset())
    assert list(later.children) == list(now.children)


def test_reading_in_another_order_gives_the_same() -> None:
    one, two = posterior(bcg()), posterior(bcg())
    for name in DRAWN:
        one[name].load()
    for name in reversed(DRAWN):
        two[name].load()
    for name in DRAWN:
        xr.testing.assert_identical(one[name].to_dataset(), two[name].to_dataset())


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda tree: tree.copy(deep=True), lambda tree: tree.copy()])
def test_copies_wait_too(copied: Callable, made: list[str]) -> None:
    tree = posterior(bcg())
    other = copied(tree)
    assert made == []
    np.testing.assert_array_equal(other["posterior/beta"].values, tree["posterior/beta"].values)
    assert len(made) == 1


def test_an_edit_of_one_deep_copy_is_not_one_of_another() -> None:
    tree = posterior(bcg())
    other, third = tree.copy(deep=True), copy.deepcopy(tree)
    before = tree["posterior/beta"].values.copy()
    tree["posterior/beta"][0, 0] = 7.0
    other["posterior/beta"].values[0, 1] = 8.0
    assert tree["posterior/beta"].values[0, 0] == 7
    np.testing.assert_array_equal(third["posterior/beta"].values, before)
    assert (other["posterior/beta"].values != before).sum() == 1
    copied = copy.deepcopy(tree)
    copied["posterior/beta"].values[:] = 0
    assert tree["posterior/beta"].values[0, 0] == 7


def test_pickles_hold_the_numbers() -> None:
    tree = posterior(bcg())
    again = pickle.loads(pickle.dumps(tree))
    assert not waiting(again)
    for name in tree.children:
        xr.testing.assert_identical(again[name].to_dataset(), tree[name].to_dataset())
    again["posterior/beta"].values[:] = 0
    with pytest.raises(SpecError, match="/posterior beta is not what was computed"):
        group(again, "posterior")


def test_threads_read_the_same(made: list[str]) -> None:
    tree = posterior(school())
    with ThreadPoolExecutor(8) as pool:
        read = list(pool.map(lambda _: tree["posterior/beta"].values, range(16)))
    assert made == ["posterior"]
    assert all(values is read[0] for values in read)


def test_xarray_takes_them_for_arrays() -> None:
    tree, known = posterior(school()), posterior(school())["posterior"].to_dataset().load()
    table = tree["posterior"].to_dataset()
    some = {"chain": [0, 2], "draw": slice(3, 9)}
    xr.testing.assert_identical(table.isel(some), known.isel(some))
    other = posterior(school())["posterior"].to_dataset()
    xr.testing.assert_identical(xr.concat([other, other], "draw"), xr.concat([known, known], "draw"))
    picked = xr.DataArray([1, 3], dims="pick")
    other = posterior(school())["posterior"].to_dataset()
    xr.testing.assert_identical(other.isel(chain=picked, draw=picked), known.isel(chain=picked, draw=picked))
    other = posterior(school())["posterior"].to_dataset()
    xr.testing.assert_identical(other.stack(sample=("chain", "draw")), known.stack(sample=("chain", "draw")))
    other = posterior(school())["posterior"].to_dataset()
    assert float(other["beta"].mean()) == float(known["beta"].mean())
    xr.testing.assert_identical(other.transpose("draw", ...), known.transpose("draw", ...))
    other = posterior(school())["posterior"].to_dataset()
    assert float(other["beta"].T[0, 0, 0]) == float(known["beta"].T[0, 0, 0])


def test_chunks_of_dask() -> None:
    pytest.importorskip("dask.array")
    tree, known = posterior(bcg()), posterior(bcg())
    chunked = tree["posterior"].to_dataset().chunk({"draw": 20})
    xr.testing.assert_identical(chunked.compute(scheduler="threads"), known["posterior"].to_dataset().load())


def test_files_hold_numbers_and_their_hashes(tmp_path: Path) -> None:
    tree = posterior(bcg())
    assert "unread" in tree.attrs["group_hashes"]
    path = bm.save(tree, tmp_path / "one.nc")
    again = bm.load(path)
    assert "unread" not in again.attrs["group_hashes"]
    xr.testing.assert_identical(again, tree)
    read = posterior(bcg())
    read["posterior"].load()
    assert bm.load(bm.save(read, tmp_path / "two.nc")).attrs["group_hashes"] == again.attrs["group_hashes"]
    again["derived/psi_unit"].values[0, 0] += 1
    with pytest.raises(SpecError, match="/derived psi_unit is not what was computed"):
        group(again, "derived")


def test_files_by_xarray(tmp_path: Path) -> None:
    tree = posterior(bcg())
    tree.to_netcdf(tmp_path / "own.nc", engine="h5netcdf")
    again = bm.load(tmp_path / "own.nc")
    xr.testing.assert_equal(again["posterior"].to_dataset(), tree["posterior"].to_dataset())
    assert str(bm.summary(again)) == str(bm.summary(tree))


def edited_in_place(tree: xr.DataTree) -> None:
    tree["posterior/beta"].values[1, 2] += 1


def edited_by_label(tree: xr.DataTree) -> None:
    tree["posterior/beta"].loc[{"chain": 1, "draw": 2}] = 0


def edited_once_read(tree: xr.DataTree) -> None:
    group(tree, "posterior").load()
    edited_in_place(tree)


def edited_after_a_check(tree: xr.DataTree) -> None:
    assert group(tree, "posterior").sizes["draw"] == 50
    edited_in_place(tree)


def edited_twice(tree: xr.DataTree) -> None:
    tree["posterior/beta"].load()
    group(tree, "posterior")
    edited_in_place(tree)


def exchanged_unread(tree: xr.DataTree) -> None:
    own = tree["posterior/beta"]
    tree["posterior"]["beta"] = xr.DataArray(np.zeros(own.shape), dims=own.dims)


def exchanged_once_loaded(tree: xr.DataTree) -> None:
    tree.load()
    exchanged_unread(tree)


def of_another_seed(tree: xr.DataTree) -> None:
    tree["posterior"] = bm.sample(bcg(), random_seed=4, draws=50)["posterior"]


EDITS = (
    *(edited_in_place, edited_by_label, edited_once_read, edited_after_a_check, edited_twice),
    *(exchanged_unread, exchanged_once_loaded, of_another_seed),
)


@pytest.mark.parametrize("edit", EDITS)
def test_edits_are_noticed(edit: Callable[[xr.DataTree], None], tmp_path: Path) -> None:
    tree = posterior(bcg())
    edit(tree)
    path = bm.save(tree, tmp_path / "edited.nc")
    with pytest.raises(SpecError, match=r"/posterior \w+ is not what was computed"):
        group(tree, "posterior")
    with pytest.raises(DataError, match=r"/posterior \w+ is not what was computed"):
        bm.load(path)


def test_a_variable_that_is_gone_is_noticed() -> None:
    tree = posterior(bcg())
    del tree["posterior"]["tau_unit"]
    with pytest.raises(SpecError, match="/posterior tau_unit is missing"):
        group(tree, "posterior")


def test_a_tree_that_is_not_edited_stays_valid_however_it_is_read() -> None:
    tree = posterior(school())
    group(tree, "posterior")
    tree["posterior/beta"].load()
    group(tree, "posterior")
    other = xr.DataTree.from_dict(tree.copy().to_dict())
    for name in DRAWN:
        group(other, name)
        other[name].load()
        group(other, name)


def test_draws_can_be_read_after_an_interruption(monkeypatch: pytest.MonkeyPatch) -> None:
    tree, whole, calls = posterior(bcg()), engines.independent, []

    def once(*args: object, **options: object) -> object:
        calls.append(True)
        if len(calls) == 1:
            raise KeyboardInterrupt
        return whole(*args, **options)

    monkeypatch.setattr(engines, "independent", once)
    with pytest.raises(KeyboardInterrupt):
        tree["posterior/beta"].load()
    assert np.isfinite(tree["posterior/beta"].values).all()


def test_edits_are_noticed_beside_an_equal_posterior_that_is_gone() -> None:
    tree, other = posterior(bcg()), posterior(bcg())
    for name in (schema.POSTERIOR, schema.DERIVED):
        tree[name].load()
    group(tree, schema.POSTERIOR)
    del other
    gc.collect()
    tree["posterior/beta"].values[0, 0] += 100
    with pytest.raises((SpecError, DataError), match="not what was computed"):
        group(tree, schema.POSTERIOR)
