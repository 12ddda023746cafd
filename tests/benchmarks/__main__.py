"""Prints the first table of docs/timings.md."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from math import log10
from pathlib import Path

from tests.benchmarks.cases import GROWTH, LIMITS, ONE_GROUP, Case
from tests.benchmarks.timing import Result, alone

HEADER = """\
| case | specify | search | tree | fit | aim | mixmeta | ratio | memory |
|---|---:|---:|---:|---:|---:|---:|---:|---:|"""


def machine() -> str:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    model = next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.processor())
    packages = ", ".join(f"{name} {version(name)}" for name in ("bayesmeta", "numpy", "scipy", "pandas", "xarray"))
    return f"{model}, {os.cpu_count()} cores; Python {platform.python_version()}, {packages}."


def milliseconds(x: float) -> str:
    return f"{x:.1f} ms" if x < 100 else f"{x:,.0f} ms"


def ratio(x: float) -> str:
    return f"{x:.1f}" if x < 10 else f"{x:.0f}"


def row(case: Case, result: Result) -> str:
    limits = [f"{name} {limit:g} ms" for name, limit in (("search", case.search), ("fit", case.fit)) if limit]
    theirs = [f"{case.mixmeta:g} s", ratio(1e3 * case.mixmeta / result.times.fit)] if case.mixmeta else ["", ""]
    cells = [case.title, *map(milliseconds, result.times), ", ".join(limits), *theirs, f"{result.memory:.2f} GB"]
    return f"| {' | '.join(cells)} |"


def growth(cases: Sequence[Case], results: Sequence[Result]) -> str:
    """Exponents of the growth of the times from the first case to the last."""
    decades = log10(cases[-1].rows / cases[0].rows)
    first, last = results[0].times, results[-1].times
    exponents = [
        f"{name} {log10(getattr(last, name) / getattr(first, name)) / decades:.2f}" for name in ("specify", "fit")
    ]
    return f"growth exponent from {cases[0].rows:,} to {cases[-1].rows:,} rows: {', '.join(exponents)}."


def main() -> None:
    print(machine(), HEADER, sep="\n\n", flush=True)
    sentences = []
    for cases in (LIMITS, GROWTH, ONE_GROUP):
        results = []
        for case in cases:
            results.append(alone(case))
            print(row(case, results[-1]), flush=True)
        if cases is not LIMITS:
            sentences.append(f"{cases[0].title.split(':')[0].capitalize()}: {growth(cases, results)}")
    print("", *sentences, sep="\n")


if __name__ == "__main__":
    main()
