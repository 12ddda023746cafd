"""Prints the README's timings of many data sets at once: `python -m tests.benchmarks.many`.

PyMARE (`pip install pymare` beside the project) is timed on the same data sets where it is installed, and both answers
are held to each other.
"""

import warnings
from collections.abc import Callable
from statistics import median
from time import perf_counter

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.simulation.declaration import load_study
from bayesmeta.simulation.run import Piece, estimates
from tests.benchmarks.__main__ import machine

RUNS = 5


def seconds(work: Callable[[], object]) -> float:
    """Median over runs, after one that is not counted."""
    times = []
    for _ in range(RUNS + 1):
        start = perf_counter()
        work()
        times.append(perf_counter() - start)
    return median(times[1:])


def univariate(n: int, tau2: float, studies: int = 13) -> tuple[bm.Spec, np.ndarray, np.ndarray]:
    """Specification, Y (n, studies, 1) and the sampling variances, the same in all data sets."""
    rng = np.random.default_rng(0)
    v = rng.uniform(0.05, 0.5, studies)
    Y = rng.normal(0.2, np.sqrt(tau2 + v), (n, studies))[:, :, None]
    return bm.specify("y ~ 1", pd.DataFrame({"y": Y[0, :, 0], "v": v}), S="v"), Y, v


def by_pymare(Y: np.ndarray, v: np.ndarray) -> Callable[[], np.ndarray] | None:
    """Estimates of tau2 by PyMARE's REML, or None where it is not installed."""
    try:
        from pymare.estimators import VarianceBasedLikelihoodEstimator
    except ImportError:
        return None
    y = Y[:, :, 0].T

    def fit() -> np.ndarray:
        found = VarianceBasedLikelihoodEstimator(method="REML")
        found.fit(y=y, v=np.broadcast_to(v[:, None], y.shape), X=np.ones((len(v), 1)))
        return np.ravel(found.params_["tau2"])

    return fit


def row(title: str, ours: float, aim: str = "", theirs: float | None = None, note: str = "") -> None:
    pymare = "" if theirs is None else f"{theirs:.2f} s"
    print(f"| {title} | {ours:.2f} s | {aim} | {pymare} | {note} |", flush=True)


def main() -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    print(machine(), "\n| work | time | aim | PyMARE | |\n|---|---:|---:|---:|---|", sep="\n")
    for tau2, aim in ((0.1, "1 s"), (0.0, "")):
        spec, Y, v = univariate(10_000, tau2)
        ours = seconds(lambda spec=spec, Y=Y: bm.fit_many(spec, Y))
        fit, theirs, note = by_pymare(Y, v), None, ""
        if fit is not None:
            theirs = seconds(fit)
            apart = np.abs(fit() - bm.fit_many(spec, Y)["psi_unit"].to_numpy().ravel()).max()
            note = f"tau2 differs by {apart:.0e} at most"
        row(f"10,000 univariate data sets of 13 studies, REML, tau2 = {tau2:g}", ours, aim, theirs, note)
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    fitted = bm.fit(school)
    row("school, two levels: bootstrap of 1,000", seconds(lambda: bm.bootstrap(fitted, 1000, random_seed=1)), "2 s")
    groups = seconds(lambda: bm.bootstrap(fitted, 1000, random_seed=1, kind="groups"))
    row("the same, districts drawn again", groups)
    study = load_study("models/table6.toml")
    for scenario, m in ((6, 10), (7, 50)):
        piece = Piece("script", scenario, 0, 250)
        each = 1e3 * seconds(lambda piece=piece: estimates(study, piece)) / 250
        row(f"Table 6, {m} groups of 10, rho 0.8: 1,000 data sets with their draws, one process", each)


if __name__ == "__main__":
    main()
