"""Simulation-based calibration of the sampler: `python -m tests.benchmarks.calibration --datasets 500`.

Parameters are drawn from the prior and data from the parameters. Then the rank of a parameter among draws of its
posterior is uniform over data sets (Talts et al. 2018, arXiv:1804.06788). Besides the parameters, the log-likelihood is
ranked, which feels errors that the marginal ranks do not, and a random effect.

A control shows that the table can fail: the same data sets with the SDs of the sampler's priors halved.
"""

import argparse
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta import kernel
from bayesmeta.bayes.observed import STATISTICS, observations
from bayesmeta.bayes.posterior import Draws
from bayesmeta.bayes.pymc_model import build
from bayesmeta.bayes.samplers import Nutpie, Settings, start
from bayesmeta.bayes.vicinity import vicinity
from bayesmeta.kernel.draws import conditional_draws, fresh_effects
from bayesmeta.kernel.flat import flatten
from bayesmeta.model.spec import FloatArray
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import ModelPriors, prior_draws

DRAWS, THIN, TUNE = 990, 10, 400
KEPT = DRAWS // THIN  # ranks run from 0 to this
BINS = 20
SMALL = 0.001  # a p-value below this over the number of parameters is a failure


def _correlated(rng: np.random.Generator, n: int, k: int) -> FloatArray:
    """(n, k, k) sampling covariances with correlations of 0.4."""
    sd = rng.uniform(0.3, 0.7, (n, k))
    return sd[:, :, None] * (0.4 + 0.6 * np.eye(k)) * sd[:, None, :]


def outcomes(psi: str, k: int, n: int = 6, missing: int = 1) -> bm.Spec:
    """n studies of k outcomes, the first `missing` without the last one; so few that priors matter."""
    rng = np.random.default_rng(k)
    y = rng.normal(0, 0.5, (n, k))
    y[:missing, -1] = np.nan
    names = [f"y{j}" for j in range(k)]
    return bm.specify(f"{' + '.join(names)} ~ 1", pd.DataFrame(y, columns=names), S=_correlated(rng, n, k), psi=psi)


def two_levels(outer: int = 6, inner: int = 3) -> bm.Spec:
    """`outer` groups of `inner` studies, with a predictor."""
    rng, n = np.random.default_rng(2), outer * inner
    data = pd.DataFrame({"y": rng.normal(0, 0.5, n), "v": rng.uniform(0.05, 0.2, n), "x": rng.normal(size=n)})
    data = data.assign(outer=np.arange(n) // inner, inner=np.arange(n))
    return bm.specify("y ~ x", data, S="v", random="1 | outer/inner")


def over_time(groups: int = 10) -> bm.Spec:
    """`groups` studies at two to four of six uneven times, with continuous-time autoregression."""
    rng, at = np.random.default_rng(5), np.array([1.0, 2.0, 4.5, 5.0, 12.0, 20.0])
    times = [np.sort(rng.choice(at, rng.integers(2, 5), replace=False)) for _ in range(groups)]
    study = np.repeat(np.arange(groups), [len(own) for own in times])
    data = pd.DataFrame({"study": study, "month": np.concatenate(times), "y": rng.normal(0, 0.5, len(study))})
    data["v"] = rng.uniform(0.02, 0.1, len(data))
    psi = bm.structures.CAR1(time="month")
    return bm.specify("y ~ 1", data, S="v", random="1 | study", psi=psi)


CASES: dict[str, Callable[[], bm.Spec]] = {
    "unstr": lambda: outcomes("unstr", 2),
    "cs": lambda: outcomes("cs", 3),
    "ar1": lambda: outcomes("ar1", 3),
    "two levels": two_levels,
    "car1": over_time,
}
PRIORS = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))


class Line(NamedTuple):
    """One row of the table."""

    case: str
    parameter: str
    statistic: float
    p: float
    failed: bool


@dataclass(frozen=True)
class Simulated:
    """Data sets (n, n_obs) and the parameters behind them."""

    y: FloatArray
    truth: list[dict[str, float]]  # of every data set

    @classmethod
    def of(cls, spec: bm.Spec, priors: ModelPriors, n: int, seed: int) -> "Simulated":
        rng = np.random.default_rng(seed)
        beta, taus, rhos = prior_draws(priors, spec, n, rng)
        draws = Draws(beta[None], tuple(t.T[None] for t in taus), tuple(r.T[None] for r in rhos))
        psi = draws.psi(spec)
        b = fresh_effects(psi, [level.n_groups for level in spec.levels], rng)
        y = observations(spec, beta, b, rng)
        of_each = [quantities(spec, _one(draws, i), [e[i : i + 1] for e in b], y[i]) for i in range(n)]
        return cls(y, [{name: float(values[0]) for name, values in each.items()} for each in of_each])


def _one(draws: Draws, i: int) -> Draws:
    pick = slice(i, i + 1)
    return Draws(draws.beta[:, pick], tuple(t[:, pick] for t in draws.tau), tuple(r[:, pick] for r in draws.rho))


def statistics(spec: bm.Spec, y: FloatArray) -> Any:
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    return kernel.statistics(y - spec.offset, spec.X, Z, index, (spec.S.value, spec.S.row, spec.S.col))


def quantities(spec: bm.Spec, draws: Draws, b: list[FloatArray], y: FloatArray) -> dict[str, FloatArray]:
    """What is ranked, for every draw: parameters, log-likelihood, and the effects of the first group of every level."""
    found = {f"beta[{label}]": draws.beta[0, :, j] for j, label in enumerate(spec.coef)}
    for level, tau, rho, effects in zip(spec.levels, draws.tau, draws.rho, b, strict=True):
        found |= {f"tau_{level.name}[{j}]": tau[0, :, j] for j in range(tau.shape[-1])}
        found |= {f"rho_{level.name}[{j}]": rho[0, :, j] for j in range(rho.shape[-1])}
        found[f"b_{level.name}[0, 0]"] = effects[:, 0, 0]
    found["loglik"] = kernel.loglik_per_group(statistics(spec, y), draws.psi(spec), draws.beta[0]).sum(1)
    return found


def ranks(spec: bm.Spec, compiled: Nutpie, simulated: Simulated, seed: int) -> tuple[dict[str, list[int]], int]:
    """Of every quantity, over the data sets; and the number of divergent transitions."""
    found: dict[str, list[int]] = {name: [] for name in simulated.truth[0]}
    divergent = 0
    for i, (y, truth) in enumerate(zip(simulated.y, simulated.truth, strict=True)):
        stats = statistics(spec, y)
        settings = Settings(DRAWS, TUNE, 1, seed + i, 0.9, progress=False)
        raw = compiled.run(settings, **{STATISTICS: flatten(stats).values})
        divergent += int(raw["sample_stats"]["diverging"].sum())
        draws = Draws.of(spec, raw["posterior"].to_dataset().isel(draw=slice(THIN - 1, None, THIN)))
        b = conditional_draws(stats, draws.psi(spec), draws.beta[0], np.random.default_rng([seed, i]))
        for name, values in quantities(spec, draws, b, y).items():
            found[name].append(int((values < truth[name]).sum()))
    return found, divergent


def uniformity(found: list[int]) -> tuple[float, float]:
    """Chi-square statistic of ranks 0..KEPT in BINS bins, and its p-value."""
    counts = np.bincount(np.array(found) * BINS // (KEPT + 1), minlength=BINS)
    expected = len(found) / BINS
    statistic = float(((counts - expected) ** 2 / expected).sum())
    return statistic, float(chi2.sf(statistic, BINS - 1))


def lines(case: str, found: dict[str, list[int]]) -> list[Line]:
    tested = {name: uniformity(values) for name, values in found.items()}
    return [Line(case, name, s, p, p < SMALL / len(tested)) for name, (s, p) in tested.items()]


def halved(priors: ModelPriors) -> ModelPriors:
    """SDs of the normal priors of beta, and of the half-normal ones of the SDs, at half their size."""

    def half(prior: bm.Prior) -> bm.Prior:
        return bm.Prior(prior.name, **(prior.params | {"sigma": prior.params["sigma"] / 2}))

    levels = tuple(replace(level, tau=tuple(map(half, level.tau))) for level in priors.levels)
    return replace(priors, beta=tuple(map(half, priors.beta)), levels=levels)


def run(case: str, n: int, seed: int, control: bool) -> tuple[list[Line], str]:
    """The rows of a case, and a sentence on the run."""
    spec, begun = CASES[case](), perf_counter()
    priors = resolve(spec, PRIORS)
    simulated = Simulated.of(spec, priors, n, seed)
    used, near = halved(priors) if control else priors, vicinity(spec)
    compiled = Nutpie(build(spec, [used], near), spec, start(spec, used, near))
    ready = perf_counter()
    found, divergent = ranks(spec, compiled, simulated, 1000 * seed)
    label = f"{case}, control" if control else case
    seconds = f"{ready - begun:.0f} s to compile, {perf_counter() - ready:.0f} s for {n} data sets"
    return lines(label, found), f"{label}: {seconds}, {divergent} divergent transitions of {n * DRAWS:,}."


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--datasets", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--case", choices=list(CASES), action="append")
    parser.add_argument("--only", choices=("calibration", "control"), help="by default both")
    given = parser.parse_args()
    print(f"| case | quantity | chi-square ({BINS - 1} df) | p | p < {SMALL:g} / number |")
    print("|---|---|---:|---:|---|", flush=True)
    sentences, wrong = [], []
    for case in given.case or CASES:
        for control in {"calibration": (False,), "control": (True,)}.get(given.only, (False, True)):
            rows, sentence = run(case, given.datasets, given.seed, control)
            for label, name, statistic, p, failed in rows:
                print(f"| {label} | {name} | {statistic:.1f} | {p:.2g} | {'yes' if failed else ''} |", flush=True)
            sentences.append(sentence)
            if any(row.failed for row in rows) != control:
                wrong.append(f"{rows[0].case}: {'passed, and should have failed' if control else 'failed'}")
    print("", *sentences, *(wrong or ["All as expected: a case passes, and a control fails."]), sep="\n")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(main())
