"""Holds data sets fitted together against the same fitted one by one.

    python -m tests.benchmarks.agreement [DATA_SETS]

Many data sets are climbed from fewer starts than one. 2,000 data sets by default, shared among structures: few groups
and many, and true variances of zero too, so that many maxima lie at the edge of the family.
"""

import sys
import warnings
from collections.abc import Iterator
from time import process_time

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.fit_many import data_sets

DATA_SETS = 2000
FEW, MANY = ("unstr", "diag", "id", "cs", "hcs", "ar1", "har1"), ("cs", "hcs", "ar1", "har1")
DESIGNS = ("one level", "two levels", *FEW, *(f"{name}, 60 studies" for name in MANY))
LOW = 1e-6  # log-likelihood by which the two may differ
R = np.array([[1.0, 0.6, 0.2], [0.6, 1.0, 0.4], [0.2, 0.4, 1.0]])


def design(name: str, n: int) -> tuple[bm.Spec, np.ndarray]:
    """Specification and Y (n, rows, outcomes)."""
    rng = np.random.default_rng([n, DESIGNS.index(name)])
    if name in ("one level", "two levels"):
        rows, effects = 18, rng.choice([0.0, 0.1, 0.5], (n, 2))
        group = np.repeat(range(6), 3)
        frame = pd.DataFrame({"y": 0.0, "v": rng.uniform(0.02, 0.5, rows), "g": group, "r": range(rows)})
        spread = effects[:, :1] * rng.normal(size=(n, rows)) + (effects[:, 1:] * rng.normal(size=(n, 6)))[:, group]
        Y = np.sqrt(frame["v"].to_numpy()) * rng.normal(size=(n, rows)) + spread
        return bm.specify("y ~ 1", frame, S="v", random="1 | r" if name == "one level" else "1 | g/r"), Y[:, :, None]
    name, *many = name.split(", ")
    rows = 60 if many else 15
    sd = rng.uniform(0.2, 0.8, (rows, 3))
    S = sd[:, :, None] * (0.3 * R + 0.7 * np.eye(3)) * sd[:, None, :]
    tau = rng.choice([0.0, 0.2, 0.6], (n, 1, 3))
    Y = np.einsum("rij,nrj->nri", np.linalg.cholesky(S), rng.normal(size=(n, rows, 3)))
    Y += tau * (rng.normal(size=(n, rows, 3)) @ np.linalg.cholesky(R).T)
    frame = pd.DataFrame(np.zeros((rows, 3)), columns=["a", "b", "c"]).assign(x=rng.normal(size=rows))
    return bm.specify("a + b + c ~ x", frame, S=S, psi=name), Y


def differences(name: str, n: int) -> np.ndarray:
    """(n,) log-likelihood of data sets fitted together less that of each fitted alone, by REML."""
    spec, Y = design(name, n)
    together = bm.fit_many(spec, Y)["loglik"].to_numpy()
    data = data_sets(spec, Y, None)
    return np.asarray(together - [fit_likelihood(data.one(i), True).loglik for i in range(n)])


def lines(n: int) -> Iterator[str]:
    for name in DESIGNS:
        begun = process_time()
        apart = differences(name, n)
        low, high = int((apart < -LOW).sum()), int((apart > LOW).sum())
        yield f"| {name} | {n} | {low} | {high} | {np.abs(apart).max():.1e} | {process_time() - begun:.0f} s |"


def main() -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    n = (int(sys.argv[1]) if len(sys.argv) > 1 else DATA_SETS) // len(DESIGNS)
    print("| design | data sets | lower together | higher together | largest difference | CPU |")
    print("|---|---:|---:|---:|---:|---:|")
    for line in lines(n):
        print(line, flush=True)


if __name__ == "__main__":
    main()
