"""Pieces of work on several processes: results do not depend on where, and a process that dies costs nothing."""

import os
import signal
import warnings
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.estimation.parallel import in_order


def square(piece: int) -> int:
    return piece**2


def dies_once(folder: Path, piece: int) -> int:
    """The square, but the first process that comes to piece 3 is killed."""
    mark = folder / "died"
    if piece == 3 and not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return piece**2


def dies(piece: int) -> int:
    if piece == 2:
        os.kill(os.getpid(), signal.SIGKILL)
    return piece


def test_a_process_that_dies_is_replaced_and_nothing_is_lost(tmp_path: Path) -> None:
    with pytest.warns(bm.errors.AssumptionWarning, match="a process died at piece .* of 6"):
        results = list(in_order(partial(dies_once, tmp_path), range(6), n_jobs=2))
    assert results == [0, 1, 4, 9, 16, 25]


@pytest.mark.slow
def test_what_is_missing_is_said_where_processes_die_again_and_again() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", bm.errors.AssumptionWarning)
        with pytest.raises(
            bm.errors.DataError, match=r"died 3 times at piece \d of 4.*\n  \d pieces were done, \d are"
        ):
            list(in_order(dies, range(4), n_jobs=2))


@pytest.mark.parametrize("backend", ["dask", "cloud", 3])
def test_backends_that_are_not_there(backend: Any) -> None:
    with pytest.raises(bm.errors.SpecError, match="backend"):
        list(in_order(square, range(3), backend=backend))


@pytest.fixture(scope="module")
def trials() -> xr.DataTree:
    data = bm.datasets.load("bcg")
    return bm.fit(bm.specify("logor ~ 1", data, S="logorvar", random="1 | trial", measure="logor"))


def answers(tree: xr.DataTree, **where: Any) -> Iterator[xr.Dataset]:
    spec = bm.Spec.from_tree(tree)
    Y = bm.simulate(tree, 5, random_seed=1, **where)
    yield xr.Dataset({"Y": (("dataset", "row", "outcome"), Y)})
    yield bm.fit_many(spec, Y, **where)
    yield bm.bootstrap(tree, 6, random_seed=1, kind="groups", **where)
    yield bm.profile(tree, "tau", points=3, **where)
    yield bm.influence(tree, **where)
    scales = {str(scale): bm.Priors(tau=bm.priors.half_normal(scale)) for scale in (0.5, 1.0)}
    yield bm.sensitivity(spec, scales, sampler="quadrature", random_seed=1, draws=50, **where)


@pytest.mark.parametrize("where", [{"n_jobs": 2, "backend": "threading"}])
def test_results_do_not_depend_on_jobs(where: dict[str, Any], trials: xr.DataTree, monkeypatch: Any) -> None:
    monkeypatch.setattr("bayesmeta.estimation.fit_many.BLOCK", 26)
    monkeypatch.setattr("bayesmeta.estimation.parts.BLOCK", 39)
    monkeypatch.setattr("bayesmeta.inference.simulate.BLOCK", 60)
    for one, several in zip(answers(trials), answers(trials, **where), strict=True):
        xr.testing.assert_identical(one, several)


@pytest.mark.slow
def test_results_on_a_cluster_are_those_of_one_process(trials: xr.DataTree, tmp_path: Path, monkeypatch: Any) -> None:
    distributed = pytest.importorskip("distributed", reason="the extra `distributed`")
    monkeypatch.setattr("bayesmeta.estimation.parts.BLOCK", 39)
    study = bm.load_study("table6")
    with (
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None, silence_logs=50) as own,
        distributed.Client(own),
    ):
        for one, several in zip(answers(trials), answers(trials, backend="dask"), strict=True):
            xr.testing.assert_identical(one, several)
        made = bm.run_study(study, tmp_path / "cluster", datasets=1, backend="dask")
    here = bm.run_study(study, tmp_path / "here", datasets=1)
    for name in here.children:
        np.testing.assert_array_equal(made[name]["beta"], here[name]["beta"])
