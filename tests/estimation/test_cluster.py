"""A fit on a real cluster of two processes that have less memory than the data, one of which is killed on the way."""

import os
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.io.cluster import KeptOnWorkers

distributed = pytest.importorskip("distributed", reason="the extra `distributed`")
dask = pytest.importorskip("dask")
dd = pytest.importorskip("dask.dataframe")

MB = 1 << 20
LIMIT = 512 * MB  # of a worker, of which Python and the libraries take half
PARTITIONS, ROWS, SPARE = 36, 20_000, 100  # 8 bytes a number: 104 numbers a row, 600 MB in all


def one_partition(i: int, rows: int = ROWS, spare: int = SPARE) -> pd.DataFrame:
    """Studies in groups of unequal sizes, and columns that only take memory."""
    rng = np.random.default_rng([7, i])
    group = i * rows + np.sort(rng.integers(0, rows // 4, rows))
    x, v = rng.normal(size=rows), rng.uniform(0.02, 0.5, rows)
    u = rng.normal(0, 0.4, rows)[group - i * rows]
    frame = pd.DataFrame({"y": 0.2 + 0.1 * x + u + rng.normal(0, np.sqrt(v)), "x": x, "v": v, "group": group})
    ballast = pd.DataFrame(rng.normal(size=(rows, spare)), columns=[f"z{j}" for j in range(spare)])
    return pd.concat([frame, ballast], axis=1)


def too_large(i: int) -> pd.DataFrame:
    """A partition that no worker has the memory for."""
    frame = one_partition(i, 100, 0)
    if i:
        ballast = np.ones(2 * LIMIT // 8)
        time.sleep(5)
        frame["x"] += ballast[:100]
    return frame


@pytest.fixture
def cluster() -> Any:
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 1}),
        distributed.LocalCluster(
            n_workers=2,
            threads_per_worker=1,
            memory_limit=LIMIT,
            dashboard_address=None,
            silence_logs="CRITICAL",
        ) as started,
        distributed.Client(started) as client,
    ):
        yield client


def killing(client: Any, at: int, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Kill a worker when sums are asked for the `at`-th time; the list of the processes that were killed."""
    killed: list[int] = []
    calls = [0]
    totals = KeptOnWorkers.totals

    def counted(self: Any, *arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == at:
            killed.append(next(iter(client.run(os.getpid).values())))
            os.kill(killed[0], signal.SIGKILL)
        return totals(self, *arguments)

    monkeypatch.setattr(KeptOnWorkers, "totals", counted)
    return killed


@pytest.mark.slow
def test_a_killed_worker_and_little_memory_change_no_digit(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dd.from_map(one_partition, range(PARTITIONS))
    model = {"formula": "y ~ x", "S": "v", "random": "1 | group"}
    assert PARTITIONS * one_partition(0).memory_usage(index=False).sum() > LIMIT
    spec = bm.specify(data=data, **model)
    killed = killing(cluster, 4, monkeypatch)
    tree = bm.fit(spec)
    assert len(killed) == 1
    bm.save(tree, tmp_path / "fit.nc")  # while there is a client
    assert bm.load(tmp_path / "fit.nc").equals(tree)
    columns = ["y", "x", "v", "group"]
    whole = pd.concat([one_partition(i)[columns] for i in range(PARTITIONS)], ignore_index=True)
    expected = bm.fit(bm.specify(data=whole, **model), random_effects=False)
    assert float(tree["criteria"]["loglik"]) == pytest.approx(float(expected["criteria"]["loglik"]), rel=1e-10)
    for name in ("beta", "beta_cov", "psi_group"):
        np.testing.assert_allclose(tree["estimate"][name].values, expected["estimate"][name].values, rtol=1e-10)


@pytest.mark.slow
def test_a_lost_cluster_and_too_little_memory_are_errors_in_words(cluster: Any) -> None:
    model = {"formula": "y ~ x", "S": "v", "random": "1 | group"}
    with pytest.raises(bm.errors.DataError, match="of too little memory"):
        bm.specify(data=dd.from_map(too_large, range(2)), **model)
    cluster.wait_for_workers(2)
    spec = bm.specify(data=one_partition(0, 1000, 0), partitions=3, **model)
    cluster.shutdown()
    with pytest.raises(bm.errors.DataError, match=r"the Dask cluster cannot be reached"):
        bm.fit(spec)
