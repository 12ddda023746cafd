"""Coverage of intervals of coefficients in small samples: `python -m tests.benchmarks.coverage --datasets 2000`.

A declared study: m studies (or groups), a variance between them of zero, of the size of the sampling variances, or four
times that, sampling variances equal or very unequal (log-normal, SD 1), for one outcome, two correlated outcomes, and
two rows within each group. Of every data set the mean, or the first of two means, is bracketed at 95% by every method.
"""

import argparse
import warnings
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from itertools import product
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.inference.reference import reference
from bayesmeta.tree.specification import reading_once

GROUPS = (5, 10, 20, 50)
TAU2 = {"zero": 0.0, "moderate": 1.0, "large": 4.0}  # in units of the median sampling variance
VARIANCES = ("equal", "unequal")
DESIGNS = ("univariate", "two outcomes", "two levels")
METHODS: dict[str, dict[str, str]] = {
    "z": {},
    "t": {"df": "residual"},
    "KH": {"df": "knapp-hartung"},
    "Satt": {"df": "satterthwaite"},
    "KR": {"df": "kenward-roger"},
    "CR2": {"vcov": "CR2"},
}
CORRELATION = 0.5


class Cell(NamedTuple):
    """One combination of the study."""

    design: str
    m: int
    tau2: str
    variances: str


def cells() -> Iterator[Cell]:
    yield from (Cell(d, m, t, v) for d, m, t, v in product(DESIGNS, GROUPS, TAU2, VARIANCES))


def sampling_variances(cell: Cell, rng: np.random.Generator) -> np.ndarray:
    rows = cell.m * (2 if cell.design == "two levels" else 1)
    return np.full(rows, 0.1) if cell.variances == "equal" else 0.1 * np.exp(rng.normal(0.0, 1.0, rows))


def drawn(cell: Cell, rng: np.random.Generator) -> bm.Spec:
    """One data set whose true means are zero."""
    v, tau2 = sampling_variances(cell, rng), 0.1 * TAU2[cell.tau2]
    if cell.design == "two outcomes":
        S = np.array([[1.0, CORRELATION], [CORRELATION, 1.0]])
        roots = np.linalg.cholesky(S * v[:, None, None] + S * tau2)
        Y = (roots @ rng.normal(size=(cell.m, 2, 1)))[:, :, 0]
        data = pd.DataFrame({"a": Y[:, 0], "b": Y[:, 1], "v11": v, "v21": CORRELATION * v, "v22": v})
        return bm.specify("a + b ~ 1", data, S=["v11", "v21", "v22"])
    if cell.design == "univariate":
        data = pd.DataFrame({"y": rng.normal(0.0, np.sqrt(v + tau2)), "v": v})
        return bm.specify("y ~ 1", data, S="v")
    group = np.repeat(np.arange(cell.m), 2)
    y = rng.normal(0.0, np.sqrt(tau2 / 2), cell.m)[group] + rng.normal(0.0, np.sqrt(v + tau2 / 2))
    data = pd.DataFrame({"y": y, "v": v, "group": group, "row": np.arange(2 * cell.m)})
    return bm.specify("y ~ 1", data, S="v", random="1 | group/row")


def redrawn(spec: bm.Spec, cell: Cell, rng: np.random.Generator) -> bm.Spec:
    """Another data set: new sampling variances where these differ, which needs a new specification."""
    if cell.variances == "unequal":
        return drawn(cell, rng)
    return replace(spec, y=drawn_y(cell, rng))


def drawn_y(cell: Cell, rng: np.random.Generator) -> np.ndarray:
    """Effects alone, with equal sampling variances."""
    tau2 = 0.1 * TAU2[cell.tau2]
    if cell.design == "two outcomes":
        root = np.linalg.cholesky(np.array([[1.0, CORRELATION], [CORRELATION, 1.0]]) * (0.1 + tau2))
        return (rng.normal(size=(cell.m, 2)) @ root.T).ravel()
    if cell.design == "univariate":
        return rng.normal(0.0, np.sqrt(0.1 + tau2), cell.m)
    between = np.repeat(rng.normal(0.0, np.sqrt(tau2 / 2), cell.m), 2)
    return between + rng.normal(0.0, np.sqrt(0.1 + tau2 / 2), 2 * cell.m)


def covered(cell: Cell, seed: int, n: int) -> dict[str, np.ndarray]:
    """Of every method whether its interval holds zero, and whether there was one: (n, 2)."""
    rng, spec = np.random.default_rng([seed, *map(ord, str(cell))]), None
    methods = [name for name in METHODS if name != "KH" or cell.design == "univariate"]
    result = {name: np.zeros((n, 2), bool) for name in methods}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for i in range(n):
            spec = drawn(cell, rng) if spec is None else redrawn(spec, cell, rng)
            fit = bm.fit(spec, random_effects=False)
            first = np.eye(len(spec.coef))[:1]
            with reading_once():
                for name in methods:
                    used = reference(fit, **METHODS[name])
                    assert used is not None
                    lower, upper = used.each(first).bounds(0.95)
                    result[name][i] = lower[0] <= 0 <= upper[0], np.isfinite(upper[0])
    return result


def row(cell: Cell, result: dict[str, np.ndarray]) -> str:
    """Coverage of every method among the intervals that there are, with how many lack where some do."""
    texts = []
    for name in METHODS:
        if name not in result:
            texts.append("")
            continue
        hit, there = result[name].T
        lacking = int((~there).sum())
        texts.append(f"{hit[there].mean():.3f}" + (f" ({lacking} none)" if lacking else ""))
    return f"| {cell.design} | {cell.m} | {cell.tau2} | {cell.variances} | {' | '.join(texts)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--m", type=int, action="append", choices=GROUPS, help="by default all")
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    chosen = [cell for cell in cells() if options.m is None or cell.m in options.m]
    error = np.sqrt(0.95 * 0.05 / options.datasets)
    print(f"{options.datasets} data sets a cell, Monte Carlo error {error:.4f}\n")
    print(f"| design | m | tau2 | sampling variances | {' | '.join(METHODS)} |")
    print("|---|---:|---|---|" + "---:|" * len(METHODS))
    with ProcessPoolExecutor(options.jobs) as pool:
        runs = [pool.submit(covered, cell, options.seed, options.datasets) for cell in chosen]
        for cell, run in zip(chosen, runs, strict=True):
            print(row(cell, run.result()), flush=True)


if __name__ == "__main__":
    main()
