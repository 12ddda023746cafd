"""Simulation-based calibration of posteriors by quadrature: `python -m tests.benchmarks.exact_calibration`.

Parameters are drawn from the prior and data from the parameters. Then the posterior probability below the parameter is
uniform over data sets (Talts et al. 2018, arXiv:1804.06788); it is exact here, so that no rank among draws is needed.

A control shows that the table can fail: the same data sets with the SDs of the priors of beta and tau halved.
"""

import argparse
from collections.abc import Callable
from dataclasses import replace
from time import perf_counter
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chi2, kstest

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.chart import Chart
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.posterior import observations
from bayesmeta.bayes.quadrature import integrate
from bayesmeta.kernel.draws import fresh_effects
from bayesmeta.priors.defaults import resolve
from tests.benchmarks.calibration import outcomes, two_levels

BINS = 20


def one_level(n: int = 8) -> bm.Spec:
    """n studies with a predictor."""
    rng = np.random.default_rng(1)
    data = pd.DataFrame({"y": rng.normal(0, 0.5, n), "v": rng.uniform(0.02, 0.3, n), "x": rng.normal(size=n)})
    return bm.specify("y ~ x", data, S="v")


CASES: dict[str, Callable[[], bm.Spec]] = {
    "one level": one_level,
    "two levels": two_levels,
    "two outcomes": lambda: outcomes("unstr", 2),
}


def priors(scale: float = 1.0) -> bm.Priors:
    """Of all models; the control has them narrower."""
    return bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=scale), tau=bm.priors.half_normal(0.5 * scale))


def ranks(spec: bm.Spec, n: int, seed: int, scale: float = 1.0) -> dict[str, FloatArray]:
    """Posterior probabilities (n,) below every parameter, and below the first random effect of every level."""
    truth, ours = resolve(spec, priors()), resolve(spec, priors(scale))
    chart, rng = Chart.of(spec, truth), np.random.default_rng(seed)
    u = rng.standard_normal((n, chart.dim))
    theta = chart.beta.mean + chart.beta.sd * rng.standard_normal((n, len(spec.coef)))
    beta = np.linalg.solve(truth.centring, theta.T).T
    psi = [np.moveaxis(matrix, -1, 0) for matrix in chart.psi(u)]
    b = fresh_effects(psi, [level.n_groups for level in spec.levels], rng)
    y = observations(spec, beta, b, rng)
    found: dict[str, list[float]] = {}
    for i in range(n):
        posterior = integrate(Evaluator(replace(spec, y=y[i]), ours))
        for j, coordinate in enumerate(chart.coordinates):
            known, own = coordinate.prior, posterior.evaluator.chart.coordinates[j].prior
            assert known is not None
            assert own is not None
            value = known.of_normal(u[i, j])
            axis = posterior.axis(j)
            assert axis is not None
            at = u[i, j] if scale == 1 else own.about_normal(value)
            found.setdefault(coordinate.label, []).append(float(axis.below(np.atleast_1d(at))[0]))
        for j, label in enumerate(spec.coef):
            below = posterior.beta.at(np.broadcast_to(beta[i], (1, len(beta[i]))))[0][0, j]
            found.setdefault(f"beta[{label}]", []).append(float(below))
        for level, effects, own_b in zip(spec.levels, posterior.effects, b, strict=True):
            if level.dim:
                below = effects.at(own_b[i].reshape(1, -1))[0][0, 0]
                found.setdefault(f"b[{level.name}] of the first group", []).append(float(below))
    return {name: np.array(values) for name, values in found.items()}


class Line(NamedTuple):
    """One row of the table."""

    case: str
    parameter: str
    chi2: float
    p_chi2: float
    p_ks: float


def lines(case: str, found: dict[str, FloatArray]) -> list[Line]:
    rows = []
    for name, values in found.items():
        counts = np.bincount(np.minimum((values * BINS).astype(int), BINS - 1), minlength=BINS)
        expected = len(values) / BINS
        statistic = float(((counts - expected) ** 2 / expected).sum())
        rows.append(Line(case, name, statistic, float(chi2.sf(statistic, BINS - 1)), kstest(values, "uniform").pvalue))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--control", type=int, default=200, help="data sets of the control")
    parser.add_argument("--case", choices=CASES, action="append", help="one of the models; all by default")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    print("| model | parameter | chi-squared (19 df) | p | p, Kolmogorov-Smirnov |\n|---|---|---:|---:|---:|")
    for case, make in CASES.items():
        if given.case and case not in given.case:
            continue
        begun = perf_counter()
        for line in lines(case, ranks(make(), given.datasets, given.seed)):
            print(
                f"| {line.case} | {line.parameter} | {line.chi2:.1f} | {line.p_chi2:.3f} | {line.p_ks:.3f} |",
                flush=True,
            )
        print(f"{case}: {given.datasets} data sets, {perf_counter() - begun:.0f} s", flush=True)
    if given.control:
        for line in lines("control", ranks(one_level(), given.control, given.seed, 0.5)):
            print(f"| {line.case} | {line.parameter} | {line.chi2:.1f} | {line.p_chi2:.2g} | {line.p_ks:.2g} |")


if __name__ == "__main__":
    main()
