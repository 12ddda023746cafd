"""Prints the timings of influence diagnostics beside metafor's: `python -m tests.benchmarks.deletions`.

metafor is timed where `Rscript` finds it, on the same data, and the Cook's distances of both are held to each other.
"""

import shutil
import subprocess
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from tests.benchmarks.__main__ import machine

RUNS = 3
MOST = 120  # seconds that R is waited for
TIME = 'cat(system.time(d <- {call})["elapsed"], "\\n"); cat(format(head(d, 50), digits=10), sep="\\n")'
FIT = {
    "one": "r <- rma(yi, vi, data=x)",
    "two": "r <- rma.mv(yi, vi, random=~1|a/b, data=x)",
}


def seconds(work: Callable[[], object]) -> float:
    """Median over runs, after one that is not counted."""
    times = []
    for _ in range(RUNS + 1):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times[1:])


def by_metafor(data: pd.DataFrame, levels: str, call: str) -> tuple[float, np.ndarray] | None:
    """Seconds that a call takes in R, and what it returns; None without R or metafor, infinite beyond `MOST`."""
    if shutil.which("Rscript") is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x.csv"
        data.to_csv(path, index=False)
        lines = f"suppressMessages(library(metafor)); x <- read.csv('{path}'); {FIT[levels]}; {TIME.format(call=call)}"
        try:
            done = subprocess.run(["Rscript", "-e", lines], capture_output=True, text=True, timeout=MOST, check=True)
        except subprocess.CalledProcessError:
            return None
        except subprocess.TimeoutExpired:
            return np.inf, np.zeros(0)
    first, *rest = done.stdout.split()
    return float(first), np.array(rest, dtype=float)


def row(
    title: str, ours: float, aim: str, theirs: tuple[float, np.ndarray] | None, values: xr.DataArray | None
) -> None:
    metafor = "" if theirs is None else f"{theirs[0]:.1f} s" if np.isfinite(theirs[0]) else f"over {MOST} s"
    note = ""
    if theirs is not None and len(theirs[1]) and values is not None:
        note = f"Cook's distances differ by {np.abs(values.to_numpy()[:50] - theirs[1]).max():.0e} at most"
    print(f"| {title} | {ours:.2f} s | {aim} | {metafor} | {note} |", flush=True)


def studies(n: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    vi = rng.uniform(0.01, 0.2, n)
    return pd.DataFrame({"yi": rng.normal(0.3, np.sqrt(0.1 + vi)), "vi": vi})


def nested_groups(m: int) -> pd.DataFrame:
    rng = np.random.default_rng(1)
    a, vi = np.repeat(np.arange(m), 3), rng.uniform(0.01, 0.2, 3 * m)
    yi = 0.3 + rng.normal(0, 0.3, m)[a] + rng.normal(0, np.sqrt(0.04 + vi))
    return pd.DataFrame({"yi": yi, "vi": vi, "a": a, "b": np.arange(3 * m)})


def main() -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    print(machine(), "\n| work | time | aim | metafor | |\n|---|---:|---:|---:|---|", sep="\n")
    school = bm.datasets.load("school").rename(columns={"effect": "yi", "var": "vi", "district": "a", "study": "b"})
    nested = bm.fit(bm.specify("yi ~ 1", school, S="vi", random="1 | a/b"))
    table = bm.influence(nested)
    theirs = by_metafor(school[["yi", "vi", "a", "b"]], "two", "cooks.distance(r)")
    row(
        "school: each of 56 studies, two levels",
        seconds(lambda: bm.influence(nested)),
        "0.3 s",
        theirs,
        table["cooks_distance"],
    )
    theirs = by_metafor(school[["yi", "vi", "a", "b"]], "two", "cooks.distance(r, cluster=a)")
    own = bm.influence(nested, by="a")["cooks_distance"]
    row("school: each of 11 districts", seconds(lambda: bm.influence(nested, by="a")), "", theirs, own)
    many = studies(1_000)
    one = bm.fit(bm.specify("yi ~ 1", many, S="vi"))
    theirs = by_metafor(many, "one", "influence(r)$inf$cook.d")
    row(
        "each of 1,000 studies, one level",
        seconds(lambda: bm.influence(one)),
        "3 s",
        theirs,
        bm.influence(one)["cooks_distance"],
    )
    row("the same, one step", seconds(lambda: bm.influence(one, exact=False)), "", None, None)
    groups = nested_groups(1_000)
    two = bm.fit(bm.specify("yi ~ 1", groups, S="vi", random="1 | a/b"))
    theirs = by_metafor(groups, "two", "cooks.distance(r, cluster=a)")
    row(
        "each of 1,000 groups of three rows, two levels",
        seconds(lambda: bm.influence(two, by="a")),
        "3 s",
        theirs,
        bm.influence(two, by="a")["cooks_distance"],
    )
    row("each of their 3,000 rows", seconds(lambda: bm.influence(two)), "", None, None)
    bcg = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    data = bm.datasets.load("bcg")[["logor", "logorvar"]].set_axis(["yi", "vi"], axis=1)
    theirs = by_metafor(data, "one", "gosh(r, progbar=FALSE)$res[, 'estimate']")
    row("GOSH of the 8,178 subsets of bcg", seconds(lambda: bm.gosh(bcg)), "1 s", theirs, None)


if __name__ == "__main__":
    main()
