"""Prints the table of docs/diagnostic.md: the normal approximation of sensitivity and specificity beside the truth.

`python -m tests.benchmarks.sparse_tables`: about three minutes on one processor. Counts are binomial given logits that
are normal between 15 studies, with SD 0.5 of either and correlation -0.5; 300 data sets of each design, empty cells
corrected by "single", fits by REML with their default intervals.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.special import expit, logit

import bayesmeta as bm

DATA_SETS, STUDIES, SD, RHO = 300, 15, 0.5, -0.5
PERSONS = ((200, 400), (50, 100), (20, 40))  # diseased, healthy
POINTS = ((0.8, 0.9), (0.95, 0.98))  # sensitivity, specificity


def data_set(persons: tuple[int, int], point: tuple[float, float], rng: np.random.Generator) -> pd.DataFrame:
    psi = SD**2 * np.array([[1, RHO], [RHO, 1]])
    true = expit(logit(point) + rng.multivariate_normal([0, 0], psi, STUDIES))
    tp, tn = (rng.binomial(n, p) for n, p in zip(persons, true.T, strict=True))
    return pd.DataFrame({"tp": tp, "fp": persons[1] - tn, "fn": persons[0] - tp, "tn": tn})


def row(persons: tuple[int, int], point: tuple[float, float]) -> str:
    rng, results, empty = np.random.default_rng(1), [], []
    for _ in range(DATA_SETS):
        data = data_set(persons, point, rng)
        tree = bm.fit(bm.diagnostic.specify(data, correction="single"))
        pooled = bm.diagnostic.summary_point(tree).iloc[:2]
        lower, upper = pooled[["lower", "upper"]].to_numpy().T
        covered = (lower <= point) & (upper >= point)
        results.append([*pooled["estimate"], *np.diag(tree["estimate"]["psi_unit"]), *covered])
        empty.append((data == 0).any(axis=1).mean())
    of = np.mean(np.array(results, dtype=float), axis=0)
    sds = np.sqrt(of[2:4])
    return (
        f"| {persons[0]} / {persons[1]} | {point[0]} / {point[1]} | {100 * np.mean(empty):.0f}% | "
        f"{of[0]:.3f} / {of[1]:.3f} | {sds[0]:.2f} / {sds[1]:.2f} | {100 * of[4]:.0f}% / {100 * of[5]:.0f}% |"
    )


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    for persons in PERSONS:
        for point in POINTS:
            print(row(persons, point), flush=True)
