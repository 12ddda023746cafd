"""Ten million rows in memory and in Parquet: `python -m tests.benchmarks.large [ROWS ...]`, and `... parquet DIR`.

In memory: two levels, ten rows a group, fitted by REML in a process of its own for every number of rows: seconds,
processor seconds, memory at most, and the exponent with which they grow. With `parquet`: one random effect a group by
a cluster of two processes with 2 GB each from 40 files in DIR, and by one process, held to each other.
"""

import multiprocessing
import resource
import sys
import warnings
from pathlib import Path
from time import perf_counter, process_time

import numpy as np
import pandas as pd

import bayesmeta as bm

ROWS = (100_000, 1_000_000, 10_000_000)
FILES, EACH = 40, 10  # files of a set; rows of a group
TWO_LEVELS = {"formula": "y ~ x", "S": "v", "random": "1 | group/study"}
ONE_LEVEL = {"formula": "y ~ x", "S": "v", "random": "1 | group"}


def rows(n: int, seed: int = 1) -> pd.DataFrame:
    """Studies in groups of ten, with a predictor, and true SDs of 0.4 between groups and 0.3 within."""
    rng = np.random.default_rng(seed)
    group = np.arange(n) // EACH
    x, v = rng.normal(size=n), rng.uniform(0.02, 0.5, n)
    y = 0.2 + 0.1 * x + rng.normal(0, 0.4, n // EACH)[group] + rng.normal(0, np.sqrt(0.09 + v))
    return pd.DataFrame({"y": y, "x": x, "v": v, "group": group, "study": np.arange(n)})


def gigabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def in_memory(n: int) -> None:
    """One row of the table."""
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    bm.fit(bm.specify(data=rows(1000), **TWO_LEVELS))  # imports, and the first use of everything
    data = rows(n)
    before, clock, cpu = gigabytes(), perf_counter(), process_time()
    spec = bm.specify(data=data, **TWO_LEVELS)
    specified = process_time() - cpu
    tree = bm.fit(spec)
    cpu, clock = process_time() - cpu, perf_counter() - clock
    psi = [float(np.ravel(tree["estimate"][f"psi_{level.name}"])[0]) for level in spec.levels]
    cells = (
        f"{n:,} | {specified:.1f} s | {cpu - specified:.1f} s | {clock:.1f} s | {gigabytes():.2f} GB | {before:.2f} GB"
    )
    print(f"| {cells} | {psi[0]:.5f}, {psi[1]:.5f} |", flush=True)


def files_of(folder: Path, n: int) -> Path:
    """A Parquet set of rows that are sorted by group; nearly every file ends within one."""
    folder.mkdir(parents=True, exist_ok=True)
    if len(list(folder.glob("*.parquet"))) != FILES:
        data = rows(n)
        for i, part in enumerate(np.array_split(np.arange(n), FILES)):
            data.iloc[part[0] + 3 * (i > 0) : part[-1] + 1 + 3 * (i < FILES - 1)].to_parquet(
                folder / f"part-{i:03}.parquet"
            )
    return folder


def from_parquet(folder: Path, n: int) -> None:
    """The same model by a cluster and by one process: how far results are apart."""
    from dask.distributed import Client, LocalCluster

    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    source = str(files_of(folder, n))
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, memory_limit="2GB", dashboard_address=None) as cluster,
        Client(cluster) as client,
    ):
        clock = perf_counter()
        spec = bm.specify(data=source, **ONE_LEVEL)
        specified = perf_counter() - clock
        there = bm.fit(spec)
        fitted = perf_counter() - clock - specified
        most = max(client.run(gigabytes).values())
    print(f"specify {specified:.0f} s, fit {fitted:.0f} s; a worker {most:.2f} GB, this process {gigabytes():.2f} GB")
    here = bm.fit(bm.specify(data=pd.read_parquet(source), **ONE_LEVEL), random_effects=False)
    for name in ("beta", "beta_cov", "psi_group"):
        a, b = (tree["estimate"][name].to_numpy() for tree in (there, here))
        print(f"{name}: {np.abs(a / b - 1).max():.1e} apart", flush=True)
    a, b = (float(tree["criteria"]["loglik"]) for tree in (there, here))
    print(f"log-likelihood {b:.6f}: {abs(a / b - 1):.1e} apart; one process {gigabytes():.2f} GB")


def main() -> None:
    if sys.argv[1:2] == ["parquet"]:
        from_parquet(Path(sys.argv[2]), int(sys.argv[3]) if len(sys.argv) > 3 else ROWS[-1])
        return
    print(
        "| rows | specify | fit | both, by the clock | memory at most | before | psi |\n|---|---|---|---|---|---|---|"
    )
    for n in [int(each) for each in sys.argv[1:]] or ROWS:
        process = multiprocessing.get_context("spawn").Process(target=in_memory, args=(n,))
        process.start()
        process.join()


if __name__ == "__main__":
    main()
