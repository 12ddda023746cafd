"""Posteriors by importance sampling: effective sizes and agreement of seeds on real data, and random data sets.

    python -m tests.benchmarks.importance --datasets 200

Random data sets have 3 to 30 studies, two to four outcomes, any heterogeneity, and half-normal or half-Cauchy priors of
SDs in turn. Those with at most three parameters are held to quadrature as well.
"""

import argparse
import time
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd

import bayesmeta as bm
from bayesmeta.bayes import importance, quadrature
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import Importance, NotIntegratedError
from bayesmeta.priors.defaults import resolve

SEEDS = (1, 2, 3)
BETA = bm.Prior("Normal", mu=0, sigma=2)
RANDOM = (
    bm.Priors(tau=bm.Prior("HalfCauchy", beta=0.5), beta=BETA),
    bm.Priors(tau=bm.priors.half_normal(0.5), beta=BETA),
)


class Row(NamedTuple):
    """One line of the table."""

    name: str
    parameters: int
    posterior: Importance
    seconds: float
    apart: float  # of the means of the coefficients between seeds, in SDs

    def __str__(self) -> str:
        p = self.posterior
        log = f"{p.log_marginal_likelihood:.4f} ± {p.error:.4f}"
        sizes = f"{p.effective_size:,.0f} of {len(p.log_weight):,} | {p.pareto_k:.2f}"
        return f"| {self.name} | {self.parameters} | {log} | {sizes} | {self.apart:.4f} | {self.seconds:.2f} |"


def real() -> Iterator[tuple[str, bm.Spec]]:
    load, smoking = bm.datasets.load, ["SBB", "SBC", "SBD", "SCC", "SCD", "SDD"]
    lower = [f"V_{i}_{j}" for i in range(2, 6) for j in range(i, 6)]
    yield "fibrinogen", bm.specify("b2 + b3 + b4 + b5 ~ 1", load("fibrinogen"), S=lower)
    yield "smoking", bm.specify("yB + yC + yD ~ 1", load("smoking"), S=smoking, measure="logor")
    yield "hsls", bm.specify("b1 + b2 + b3 ~ 1", load("hsls"), S=["V11", "V12", "V13", "V22", "V23", "V33"])
    dbs = load("dbs")
    effects = [name for name in dbs if str(name).startswith("eff_")]
    v = [name.replace("eff", "var") for name in effects]
    yield "dbs", bm.specify(" + ".join(effects) + " ~ 1", dbs, S=v, S_correlation=0.7)
    school = load("school").assign(decade=lambda d: (d["year"] - 1990) / 10)
    yield "school, slopes", bm.specify("effect ~ decade", school, S="var", random="1 + decade | district/study")


def drawn(seed: int) -> bm.Spec:
    rng = np.random.default_rng(seed)
    m, k = int(rng.integers(3, 31)), int(rng.integers(2, 5))
    psi, tau = str(rng.choice(["unstr", "unstr", "hcs", "diag", "har1"])), rng.uniform(0, 0.6)
    v = np.exp(rng.normal(-3, 0.7, (m, k)))
    y = rng.normal(0, tau, (m, k)) + rng.normal(size=(m, k)) * np.sqrt(v)
    columns = {f"y{j}": y[:, j] for j in range(k)} | {f"v{j}": v[:, j] for j in range(k)}
    formula, S = " + ".join(f"y{j}" for j in range(k)) + " ~ 1", [f"v{j}" for j in range(k)]
    return bm.specify(formula, pd.DataFrame(columns), S=S, S_correlation=0.4, psi=psi)


def row(name: str, spec: bm.Spec) -> Row:
    model = Evaluator(spec, resolve(spec))
    start = time.process_time()
    first = importance.integrate(model, SEEDS[0])
    seconds = time.process_time() - start
    means = np.array([first.beta.mean, *(importance.integrate(model, seed).beta.mean for seed in SEEDS[1:])])
    return Row(name, model.dim, first, seconds, float((np.ptp(means, axis=0) / first.beta.sd).max()))


def random_data(n: int) -> str:
    """How many were integrated, the least effective share, and the largest distance from quadrature in errors."""
    shares, apart, failed = [], [0.0], 0
    for seed in range(n):
        model = Evaluator(spec := drawn(seed), resolve(spec, RANDOM[seed % 2]))
        try:
            own = importance.integrate(model, seed)
        except NotIntegratedError as reason:
            failed += 1
            print(f"data set {seed}: {reason}")
            continue
        shares.append(own.effective_size / len(own.log_weight))
        if model.dim <= quadrature.MOST:
            exact = quadrature.integrate(model)
            apart.append(abs(own.log_marginal_likelihood - exact.log_marginal_likelihood) / own.error)
    return (
        f"{n} random data sets: {failed} not integrated; at least {min(shares):.0%} of the draws effective (median "
        f"{np.median(shares):.0%}); at most {max(apart):.1f} standard errors from quadrature"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--datasets", type=int, default=200)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| data | parameters | log marginal likelihood | effective | Pareto k | seeds apart (SD) | CPU s |")
    print("|---|---:|---:|---:|---:|---:|---:|")
    for name, spec in real():
        print(row(name, spec), flush=True)
    if options.datasets:
        print(random_data(options.datasets))


if __name__ == "__main__":
    main()
