"""Draws against posteriors known by numerical integration, over many seeds: `python -m tests.benchmarks.exact`.

Distances are in Monte Carlo standard errors of the draws. The reference values are those of bayesmeta (R) 3.4.
"""

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from arviz_stats.base import array_stats

import bayesmeta as bm
from bayesmeta.bayes.posterior import Draws
from bayesmeta.bayes.pymc_model import WHICH, build
from bayesmeta.bayes.samplers import Nutpie, Settings, start
from bayesmeta.bayes.vicinity import vicinity
from bayesmeta.kernel.draws import conditional_draws, fresh_effects
from bayesmeta.model.spec import FloatArray
from bayesmeta.priors.defaults import resolve
from tests.support.reference import read_reference, read_table

FILES = ("bcg_logor", "school_univariate", "bcg_metaregression")
TAU = {
    "halfnormal_0.5": bm.priors.half_normal(0.5),
    "halfnormal_1": bm.priors.half_normal(1.0),
    "halfcauchy_0.5": bm.priors.half_cauchy(0.5),
    "halft4_0.3": bm.priors.half_t(0.3, df=4),
    "lognormal_m2_1.5": bm.Prior("LogNormal", mu=-2, sigma=1.5),
    "exponential_2": bm.Prior("Exponential", lam=2),
}
DRAWS, CHAINS = 5000, 4
FAR = 4.0  # Monte Carlo standard errors


class Distance(NamedTuple):
    """One number of a posterior: the draws' minus the exact one, in Monte Carlo standard errors."""

    prior: str
    quantity: str
    z: float


@dataclass(frozen=True)
class Problem:
    """A data set with its exact posteriors, and one compiled model for all its priors of tau."""

    spec: bm.Spec
    exact: dict[str, dict[str, Any]]  # prior of tau: quantity: quantiles, mean, sd
    probabilities: Sequence[float]
    compiled: Nutpie

    @classmethod
    def of(cls, reference: dict[str, Any], data: pd.DataFrame) -> "Problem":
        """From a reference file and the data set that it names."""
        if "formula" in reference:
            spec = bm.specify(reference["formula"], data, S=reference["S"])
            given = reference["beta_prior"]
            pairs = zip(spec.coef, given["mean"], given["sd"], strict=True)
            beta: Any = {label: bm.Prior("Normal", mu=mu, sigma=sd) for label, mu, sd in pairs}
            exact = {reference["tau_prior"]: {"tau": reference["tau"], "beta": reference["beta"]}}
        else:
            spec = bm.specify(f"{reference['y']} ~ 1", data, S=reference["v"])
            given = reference["mu_prior"]
            beta = bm.Prior("Normal", mu=given["normal_mean"], sigma=given["normal_sd"])
            exact = reference["tau_priors"]
        alternatives = [resolve(spec, bm.Priors(beta=beta, tau=TAU[name])) for name in exact]
        near = vicinity(spec)
        compiled = Nutpie(build(spec, alternatives, near), spec, start(spec, alternatives[0], near))
        return cls(spec, exact, reference["probabilities"], compiled)

    def sampled(self, prior: str, seed: int) -> dict[str, FloatArray]:
        """Chains (chain, draw, ...) of tau, beta, theta and theta_new."""
        settings = Settings(DRAWS, 1000, CHAINS, seed, 0.9, progress=False)
        which = {WHICH: np.int64(list(self.exact).index(prior))} if len(self.exact) > 1 else {}
        raw = self.compiled.run(settings, **which)
        draws = Draws.of(self.spec, raw["posterior"].to_dataset())
        psi, beta = draws.psi(self.spec), draws.beta.reshape(-1, draws.beta.shape[-1])
        rng = np.random.default_rng(seed)
        (b,) = conditional_draws(self.spec.statistics, psi, beta, rng)
        (new,) = fresh_effects(psi, [1], rng)
        theta, theta_new = (draws.beta[..., :1] + e[..., 0].reshape(CHAINS, DRAWS, -1) for e in (b, new))
        return {"tau": draws.tau[0], "beta": draws.beta, "mu": draws.beta, "theta": theta, "theta_new": theta_new}

    def distances(self, prior: str, seed: int) -> Iterator[Distance]:
        """Of every number that the reference has for this prior of tau."""
        sampled = self.sampled(prior, seed)
        for name, exact in self.exact[prior].items():
            if name in sampled:
                for quantity, z in z_scores(name, sampled[name], exact, self.probabilities):
                    yield Distance(prior, quantity, z)


def z_scores(name: str, chains: FloatArray, exact: Any, probabilities: Sequence[float]) -> Iterator[tuple[str, float]]:
    if isinstance(exact, list):  # the coefficients of a regression, one after the other
        for j, each in enumerate(exact):
            yield from z_scores(f"{name}[{j}]", chains[..., j : j + 1], each, probabilities)
        return
    mean, sd = np.atleast_1d(exact["mean"]), np.atleast_1d(exact["sd"])
    known = [exact["median"]] if "median" in exact else exact["quantiles"]
    quantiles = dict(zip([0.5] if "median" in exact else probabilities, known, strict=True))
    for j in range(chains.shape[-1]):
        label, x = (f"{name}[{j}]" if chains.shape[-1] > 1 else name), chains[..., j]
        yield f"{label} mean", (x.mean() - mean[j]) / array_stats.mcse(x, method="mean")
        yield f"{label} sd", (x.std(ddof=1) - sd[j]) / array_stats.mcse(x, method="sd")
        for p, value in quantiles.items():
            error = array_stats.mcse(x, method="quantile", prob=p)
            yield f"{label} {p:g}", (np.quantile(x, p) - np.atleast_1d(value)[j]) / error


def problem(file: str) -> Problem:
    reference = read_reference(f"bayes/{file}")
    # not `bm.datasets`: the reference was computed from the single precision of this file
    return Problem.of(reference, read_table(reference["data"]))


def report(file: str, seeds: int) -> Iterator[str]:
    """Lines of the table, and how many numbers are far from exact."""
    known = problem(file)
    found = [d for seed in range(1, seeds + 1) for prior in known.exact for d in known.distances(prior, seed)]
    rows: dict[tuple[str, str], list[float]] = {}
    for prior, quantity, z in found:
        variable = quantity.rsplit(" ", 1)[0].partition("[")[0]
        rows.setdefault((prior, variable), []).append(z)
    for (prior, variable), z in rows.items():
        worst, rms = np.abs(z).max(), np.sqrt(np.mean(np.square(z)))
        yield f"| {file} | {prior} | {variable} | {len(z)} | {rms:.2f} | {worst:.2f} | {np.sum(np.abs(z) > FAR)} |"
    numbers: dict[tuple[str, str], list[float]] = {}
    for prior, quantity, z in found:
        numbers.setdefault((prior, quantity), []).append(z)
    # a common error of all seeds would show here: about standard normal where there is none
    (prior, quantity), drift = max(
        ((key, np.sum(z) / np.sqrt(len(z))) for key, z in numbers.items()), key=lambda item: abs(item[1])
    )
    far = sum(abs(d.z) > FAR for d in found)
    yield (
        f"\n{file}: {far} of {len(found):,} numbers beyond {FAR:g} standard errors; largest mean over the seeds, in "
        f"standard errors of that mean: {drift:.2f} ({prior}, {quantity}) of {len(numbers)}.\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--file", choices=FILES, action="append")
    given = parser.parse_args()
    print("| file | prior of tau | quantity | numbers | root mean square z | largest |z| | beyond 4 |")
    print("|---|---|---|---:|---:|---:|---:|")
    for file in given.file or FILES:
        for line in report(file, given.seeds):
            print(line, flush=True)


if __name__ == "__main__":
    main()
