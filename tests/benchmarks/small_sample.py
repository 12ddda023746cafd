"""Seconds of the corrections for small samples: `python -m tests.benchmarks.small_sample`."""

from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

import bayesmeta as bm
from tests.benchmarks.__main__ import machine

RUNS = 11


def school() -> Callable[[], object]:
    data = bm.datasets.load("school")
    fit = bm.fit(bm.specify("effect ~ I(year - 1990)", data, S="var", random="1 | district/study"))
    return lambda: bm.estimates(fit, df="kenward-roger")


def clusters() -> Callable[[], object]:
    """1,000 clusters of 10 rows with correlated errors."""
    rng, n = np.random.default_rng(1), 10_000
    data = pd.DataFrame({"cluster": np.repeat(np.arange(1000), 10), "x": rng.normal(size=n), "v": 0.1})
    data["y"] = rng.normal(0, 0.5, 1000)[data["cluster"]] + rng.normal(0, 0.4, n)
    S = bm.within.correlated(data, variance="v", rho=0.5, group="cluster")
    fit = bm.fit(bm.specify("y ~ x", data, S=S, random="1 | cluster"), random_effects=False)
    return lambda: bm.estimates(fit, vcov="CR2")


CASES = {
    "Kenward-Roger, school with year": school,
    "CR2, 1,000 clusters of 10 rows": clusters,
}


def main() -> None:
    print(machine(), "| case | milliseconds |\n|---|---:|", sep="\n\n")
    for name, make in CASES.items():
        call = make()
        call()
        seconds = []
        for _ in range(RUNS):
            start = perf_counter()
            call()
            seconds.append(perf_counter() - start)
        print(f"| {name} | {1e3 * median(seconds):.1f} |")


if __name__ == "__main__":
    main()
