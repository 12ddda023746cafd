"""Milliseconds of the corrections for small samples: `python -m tests.benchmarks.small_sample`.

Beside bayesmeta, where R has them: clubSandwich and metafor, which has no Kenward-Roger, for the same fits. Fitting is
not counted. Processor time, which other work on the machine hardly changes.
"""

import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayesmeta as bm
from tests.benchmarks.__main__ import machine

RUNS = 21
PATIENCE = 600  # seconds for the packages of R
R = """
suppressMessages({library(metafor); library(clubSandwich)})
data <- read.csv("FILE")
time <- function(call) {
  call()
  median(replicate(RUNS, sum(system.time(call())[1:2]) * 1e3))
}
"""


class Case(NamedTuple):
    """What is timed, and its counterparts in R: what makes the fit, and calls with the names of their packages."""

    call: Callable[[], object]
    data: pd.DataFrame
    fit: str
    calls: dict[str, str]


SCHOOL_FIT = "fit <- rma.mv(effect, var, mods = ~ I(year - 1990), random = ~ 1 | district/study, data = data)"
CLUSTER_FIT = (
    "S <- vcalc(v, cluster = cluster, obs = row, rho = 0.5, data = data, sparse = TRUE); "
    "fit <- rma.mv(y, S, mods = ~ x, random = ~ 1 | cluster, data = data, sparse = TRUE)"
)
OF_SCHOOL = {
    "clubSandwich, CR2": 'coef_test(fit, vcov = "CR2")',
    "metafor, robust": "robust(fit, cluster = data$district)",
}


def school_data() -> pd.DataFrame:
    return bm.datasets.load("school")


def school(df: str | None, vcov: str | None = None) -> Case:
    data = school_data()
    fit = bm.fit(bm.specify("effect ~ I(year - 1990)", data, S="var", random="1 | district/study"))
    return Case(lambda: bm.wald_test(fit, vcov=vcov, df=df), data, SCHOOL_FIT, OF_SCHOOL if vcov else {})


def school_table() -> Case:
    """Every estimate with its interval, as a data frame."""
    data = school_data()
    fit = bm.fit(bm.specify("effect ~ I(year - 1990)", data, S="var", random="1 | district/study"))
    return Case(lambda: bm.estimates(fit, df="kenward-roger"), data, SCHOOL_FIT, {})


def clusters(bootstrap: str | None = None) -> Case:
    """1,000 clusters of 10 rows with correlated errors."""
    rng, n = np.random.default_rng(1), 10_000
    data = pd.DataFrame({"cluster": np.repeat(np.arange(1000), 10), "x": rng.normal(size=n), "v": 0.1})
    data["y"] = rng.normal(0, 0.5, 1000)[data["cluster"]] + rng.normal(0, 0.4, n)
    data["row"] = np.arange(n)
    S = bm.within.correlated(data, variance="v", rho=0.5, group="cluster")
    fit = bm.fit(bm.specify("y ~ x", data, S=S, random="1 | cluster"), random_effects=False)
    if bootstrap:
        return Case(lambda: bm.wald_test(fit, vcov="CR2", bootstrap=bootstrap, random_seed=1), data, CLUSTER_FIT, {})  # type: ignore[arg-type]
    calls = {"clubSandwich, CR2": 'coef_test(fit, vcov = "CR2")', "metafor, robust": "robust(fit, data$cluster)"}
    return Case(lambda: bm.estimates(fit, vcov="CR2"), data, CLUSTER_FIT, calls)


CASES: dict[str, Callable[[], Case]] = {
    "Kenward-Roger, school with year: test": lambda: school("kenward-roger"),
    "Kenward-Roger, school with year: all estimates": school_table,
    "CR2, school with year: test": lambda: school(None, "CR2"),
    "CR2, 1,000 clusters of 10 rows": clusters,
    "CR2 with 1,999 draws of the wild bootstrap, 1,000 clusters of 10 rows": lambda: clusters("wild"),
}


def milliseconds(call: Callable[[], object]) -> float:
    call()
    seconds = []
    for _ in range(RUNS):
        start = process_time()
        call()
        seconds.append(process_time() - start)
    return 1e3 * median(seconds)


def in_r(case: Case, runs: int = 3) -> dict[str, str]:
    """The same by packages of R; in words where they have no number."""
    if not case.calls:
        return {}
    if shutil.which("Rscript") is None:
        return dict.fromkeys(case.calls, "no R")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "data.csv"
        case.data.to_csv(file, index=False)
        timed = [f"cat(time(function() {call}), '\\n')" for call in case.calls.values()]
        script = R.replace("FILE", str(file)).replace("RUNS", str(runs)) + case.fit + "\n" + "\n".join(timed)
        try:
            done = subprocess.run(
                ["Rscript", "-e", script], capture_output=True, text=True, timeout=PATIENCE, check=False
            )
        except subprocess.TimeoutExpired:
            return dict.fromkeys(case.calls, f"not within {PATIENCE} s, with the fit")
    numbers = [line.strip() for line in done.stdout.splitlines()]
    lacking = ["fails"] * (len(case.calls) - len(numbers))
    return dict(zip(case.calls, numbers + lacking, strict=True))


def main() -> None:
    print(machine(), "| case | bayesmeta | others |\n|---|---:|---|", sep="\n\n")
    for name, make in CASES.items():
        case = make()
        own = milliseconds(case.call)
        others = "; ".join(f"{package}: {value}" for package, value in in_r(case).items())
        print(f"| {name} | {own:.1f} | {others} |", flush=True)


if __name__ == "__main__":
    main()
