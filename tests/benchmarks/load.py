"""Prints the table of docs/load.md: processor seconds and memory by the size of the data and of the model.

    python -m tests.benchmarks.load [--quick | --kept]

Each row in a process of its own; what imports take is in the memory, not in the seconds.
"""

import argparse
import warnings
from collections.abc import Iterator, Sequence
from functools import partial
from math import log10
from time import process_time

import numpy as np
import pandas as pd

import bayesmeta as bm
from tests.benchmarks.cases import Arguments, Case, exchangeable, two_levels
from tests.benchmarks.timing import Result, alone


def many_outcomes(rng: np.random.Generator, outcomes: int, psi: str, rows: int = 300) -> Arguments:
    """Effect estimates of that many outcomes with correlations of 1/2 within and between rows."""
    sd, R = rng.uniform(0.2, 0.7, (rows, outcomes)), exchangeable(outcomes, 0.5)
    y = rng.standard_normal((rows, outcomes)) @ np.linalg.cholesky(R).T * np.sqrt(0.1 + sd**2)
    names = [f"y{j}" for j in range(outcomes)]
    S = sd[:, :, None] * R * sd[:, None, :]
    return {"formula": " + ".join(names) + " ~ 1", "data": pd.DataFrame(y, columns=names), "S": S, "psi": psi}


def nested_levels(rng: np.random.Generator, levels: int, rows: int = 10_000) -> Arguments:
    """Levels each of whose groups hold some ten, eight, ... groups of the next."""
    names = [f"level{i}" for i in range(levels)]
    sizes = np.unique(np.geomspace(max(2, rows // 10**levels * 5), rows // 2, levels).astype(int))
    frame = {name: np.arange(rows) * size // rows for name, size in zip(names, sizes, strict=True)}
    v = rng.uniform(0.05, 0.5, rows)
    b = sum(rng.normal(0, 0.3, size)[frame[name]] for name, size in zip(names, sizes, strict=True))
    data = pd.DataFrame({"y": b + rng.normal(0, np.sqrt(v)), "v": v} | frame)
    return {"formula": "y ~ 1", "data": data, "S": "v", "random": "1 | " + "/".join(names)}


def factor(rng: np.random.Generator, values: int, rows: int = 2_000) -> Arguments:
    """A predictor with many values, a coefficient for each."""
    v = rng.uniform(0.05, 0.5, rows)
    data = pd.DataFrame({"y": rng.normal(0, np.sqrt(0.1 + v)), "v": v})
    return {"formula": "y ~ f", "data": data.assign(f=[f"f{i % values}" for i in range(rows)]), "S": "v"}


ROWS = [Case(f"{10 * m:,} rows, two levels", partial(two_levels, outer=m, inner=10), 10 * m, runs=1)
        for m in (10, 100, 1_000, 10_000, 100_000)]  # fmt: skip
OUTCOMES = [Case(f"{k} outcomes, unstr, 300 rows", partial(many_outcomes, outcomes=k, psi="unstr"), k, runs=1)
            for k in (1, 2, 5, 10, 20, 30)]  # fmt: skip
SHARED = [Case(f"{k} outcomes, cs, 300 rows", partial(many_outcomes, outcomes=k, psi="cs"), k, runs=1)
          for k in (2, 10, 30)]  # fmt: skip
LEVELS = [Case(f"{n} level{'s' * (n > 1)}, 10,000 rows", partial(nested_levels, levels=n), n, runs=1)
          for n in (1, 2, 3, 4)]  # fmt: skip
VALUES = [Case(f"factor of {k:,} values, 2,000 rows", partial(factor, values=k), k, runs=1)
          for k in (10, 100, 1_000)]  # fmt: skip


def kept(runs: int = 15) -> Iterator[str]:
    """What the columns cost that no formula uses: medians of ratios of fits with and without them."""
    bcg, school = (bm.datasets.load(name) for name in ("bcg", "school"))
    large = two_levels(np.random.default_rng(1), outer=1_000, inner=10)
    more = {f"x{i}": np.random.default_rng(i).normal(size=len(large["data"])) for i in range(10)}
    cases = {
        "bcg, 11 columns more": ({"formula": "logor ~ 1", "data": bcg, "S": "logorvar"}, 20),
        "school, 1 column more": (
            {"formula": "effect ~ 1", "data": school, "S": "var", "random": "1 | district/study"},
            10,
        ),
        "10,000 rows, two levels, 10 columns more": ({**large, "data": large["data"].assign(**more)}, 1),
    }
    for title, (arguments, repeats) in cases.items():
        ratios = []
        for _ in range(runs):
            seconds = []
            for keep in (None, []):
                start = process_time()
                for _ in range(repeats):
                    bm.fit(bm.specify(**arguments, keep=keep))
                seconds.append(process_time() - start)
            ratios.append(seconds[0] / seconds[1])
        yield f"| {title} | {100 * (np.median(ratios) - 1):.1f} |"


def row(case: Case, result: Result) -> str:
    seconds = result.times.specify / 1e3, result.times.fit / 1e3
    return f"| {case.title} | {seconds[0]:.2g} | {seconds[1]:.2g} | {result.memory:.2f} |"


def exponents(cases: Sequence[Case], results: Sequence[Result]) -> str:
    """Growth of the seconds from the last size but one to the last."""
    decades = log10(cases[-1].rows / cases[-2].rows)
    last, before = results[-1].times, results[-2].times
    parts = [
        f"{name} {log10(getattr(last, name) / getattr(before, name)) / decades:.1f}" for name in ("specify", "fit")
    ]
    return f"| *exponent of the last step* | {parts[0]} | {parts[1]} | |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="without the last, largest case of each kind")
    parser.add_argument("--kept", action="store_true", help="only what columns cost that no formula uses, in percent")
    asked = parser.parse_args()
    if asked.kept:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", bm.BayesmetaWarning)
            print("| columns kept | specify and fit take longer by, % |\n|---|---:|", *kept(), sep="\n")
        return
    quick = asked.quick
    print("| size | specify, s | fit, s | memory, GB |\n|---|---:|---:|---:|", flush=True)
    for cases in (ROWS, OUTCOMES, SHARED, LEVELS, VALUES):
        results = []
        for case in cases[: -1 if quick else None]:
            results.append(alone(case))
            print(row(case, results[-1]), flush=True)
        print(exponents(cases[: len(results)], results), flush=True)


if __name__ == "__main__":
    main()
