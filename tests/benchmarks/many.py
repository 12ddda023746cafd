"""Prints the timings of many data sets at once in docs/timings.md: `python -m tests.benchmarks.many`.

PyMARE (`pip install pymare` beside the project) is timed on the same data sets where it is installed, and both answers
are held to each other.
"""

import warnings
from collections.abc import Callable
from functools import partial
from statistics import median
from time import process_time

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.run import Piece, estimates
from tests.benchmarks.__main__ import machine

RUNS, MORE, SHORT = 5, 31, 0.2  # runs of each, and of what takes fewer seconds
ESTIMATORS = ("reml", "ml", "dl", "he")  # those that PyMARE has too


def seconds(*works: Callable[[], object]) -> list[float]:
    """Processor seconds of each, medians over runs in turn, after one that is not counted."""
    times: list[list[float]] = [[] for _ in works]
    while len(times[0]) <= (MORE if sum(own[-1] for own in times if own) < SHORT else RUNS):
        for own, work in zip(times, works, strict=True):
            start = process_time()
            work()
            own.append(process_time() - start)
    return [median(own[1:]) for own in times]


def univariate(n: int, tau2: float, studies: int, own: bool) -> tuple[bm.Spec, np.ndarray, np.ndarray | None]:
    """Specification, Y (n, studies), and the sampling variances, None where all data sets have those of the former."""
    rng = np.random.default_rng(0)
    v = rng.uniform(0.05, 0.5, (n if own else 1, studies))
    Y = rng.normal(0.2, np.sqrt(tau2 + v), (n, studies))
    return bm.specify("y ~ 1", pd.DataFrame({"y": Y[0], "v": v[0]}), S="v"), Y, v if own else None


def by_pymare(method: str, Y: np.ndarray, v: np.ndarray) -> Callable[[], np.ndarray] | None:
    """Estimates of tau2 by PyMARE, or None where it is not installed."""
    try:
        from pymare import estimators
    except ImportError:
        return None
    y, variances = np.ascontiguousarray(Y.T), np.ascontiguousarray(np.broadcast_to(v, Y.shape).T)
    makers = {"dl": estimators.DerSimonianLaird, "he": estimators.Hedges}

    def fit() -> np.ndarray:
        likely = estimators.VarianceBasedLikelihoodEstimator
        made = makers[method]() if method in makers else likely(method=method.upper())
        made.fit(y=y, v=variances, X=np.ones((len(y), 1)))
        return np.ravel(made.params_["tau2"])

    return fit


def beside_pymare(
    title: str, method: str, spec: bm.Spec, Y: np.ndarray, S: np.ndarray | None, fit: bool = False
) -> None:
    """One row: the same data sets by both, in turn; `fit`: by `bm.fit`, of the one data set of the specification."""
    theirs = by_pymare(method, Y, spec.S.variances if S is None else S)
    ours = partial(bm.fit, spec, method) if fit else partial(bm.fit_many, spec, Y, S, method)
    if theirs is None:
        row(title, *seconds(ours))
        return
    apart = (
        0.0 if fit else float(np.abs(theirs() - bm.fit_many(spec, Y, S, method)["psi_unit"].to_numpy().ravel()).max())
    )
    mine, other = seconds(ours, theirs)
    row(title, mine, other, "" if fit else f"tau2 differs by {apart:.0e} at most")


def row(title: str, ours: float, theirs: float | None = None, note: str = "") -> None:
    cells = ["", ""] if theirs is None else [f"{1e3 * theirs:,.1f} ms", f"{ours / theirs:.2f}"]
    print(f"| {title} | {1e3 * ours:,.1f} ms | {' | '.join(cells)} | {note} |", flush=True)


def main() -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    print(machine(), "\n| work | processor time | PyMARE | ratio | |\n|---|---:|---:|---:|---|", sep="\n")
    for method in ESTIMATORS:
        beside_pymare(f"10,000 data sets of 13 studies, {method}", method, *univariate(10_000, 0.1, 13, own=False))
    beside_pymare("the same without heterogeneity, reml", "reml", *univariate(10_000, 0.0, 13, own=False))
    for method in ESTIMATORS:
        title = f"100,000 data sets of 20 studies, variances of their own, {method}"
        beside_pymare(title, method, *univariate(100_000, 0.1, 20, own=True))
    for studies in (10_000, 13):
        one = univariate(1, 0.1, studies, own=False)
        beside_pymare(f"one data set of {studies:,} studies, reml, by `fit_many`", "reml", *one)
        beside_pymare("the same by `fit`, with its results tree", "reml", *one, fit=True)
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    fitted = bm.fit(school)
    row("school, two levels: bootstrap of 1,000", *seconds(lambda: bm.bootstrap(fitted, 1000, random_seed=1)))
    groups = seconds(lambda: bm.bootstrap(fitted, 1000, random_seed=1, kind="groups"))
    row("the same, districts drawn again", *groups)
    study = load_study("models/table6.toml")
    for scenario, m in ((6, 10), (7, 50)):
        piece = Piece("script", scenario, 0, 250)
        (each,) = seconds(lambda piece=piece: estimates(study, piece))
        row(f"Table 6, {m} groups of 10, rho 0.8: 250 data sets with their draws, one process", each)


if __name__ == "__main__":
    main()
