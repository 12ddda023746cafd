"""Prints docs/variance_tests.md: shares of data sets without heterogeneity in which a variance is "significant".

`python -m tests.benchmarks.size`: about a quarter of an hour on two cores.
"""

import warnings

import numpy as np
import pandas as pd
from scipy.stats import chi2

import bayesmeta as bm
from bayesmeta.estimation.parallel import in_order

N, BOOTSTRAPS = 10_000, 1_000  # data sets of the chi-squared references, and of the bootstrap
P = 0.05
DESIGNS = ((13, "0.2"), (40, "0.2"), (40, "0.05 to 0.5"), (400, "0.05 to 0.5"), (4_000, "0.05 to 0.5"))


def frame(studies: int, variances: str) -> pd.DataFrame:
    """Studies with their sampling variances, the same in all data sets."""
    rng = np.random.default_rng(studies)
    v = rng.uniform(0.05, 0.5, studies) if "to" in variances else np.full(studies, float(variances))
    return pd.DataFrame({"y": rng.normal(size=studies), "v": v})


def statistics(data: pd.DataFrame, n: int) -> np.ndarray:
    """Likelihood-ratio statistics of tau2 by REML in n data sets without heterogeneity."""
    spec = bm.specify("y ~ 1", data, S="v")
    zero = bm.specify("y ~ 1", data, S="v", psi=bm.structures.Fixed([[0.0]]))
    Y = bm.simulate(spec, n, 1, beta=[0.2], psi=0.0)
    found = [bm.fit_many(model, Y, n_jobs=-1)["loglik"].to_numpy() for model in (spec, zero)]
    return np.maximum(2 * (found[0] - found[1]), 0.0)


def bootstrapped(job: tuple[pd.DataFrame, int]) -> float:
    """p-value of one data set by the parametric bootstrap."""
    data, seed = job
    spec = bm.specify("y ~ 1", data, S="v")
    own = data.assign(y=bm.simulate(spec, 1, [7, seed], beta=[0.2], psi=0.0)[0, :, 0])
    zero = bm.specify("y ~ 1", own, S="v", psi=bm.structures.Fixed([[0.0]]))
    fits = [bm.fit(model) for model in (zero, bm.specify("y ~ 1", own, S="v"))]
    return bm.lr_test(*fits, reference="bootstrap", bootstrap=199, random_seed=seed).pvalue


def share(hits: np.ndarray) -> str:
    mean = hits.mean()
    return f"{100 * mean:.1f}% ± {100 * np.sqrt(mean * (1 - mean) / len(hits)):.1f}"


def main() -> None:
    warnings.simplefilter("ignore", bm.BayesmetaWarning)
    print("| studies | sampling variances | mixture | chi2_1 | bootstrap |\n|---:|---|---:|---:|---:|")
    for studies, variances in DESIGNS:
        data = frame(studies, variances)
        null = statistics(data, N)
        cells = [share(null > chi2.ppf(1 - 2 * P, 1)), share(null > chi2.ppf(1 - P, 1))]
        if studies <= 40:
            jobs = [(data, seed) for seed in range(BOOTSTRAPS)]
            cells.append(share(np.array(list(in_order(bootstrapped, jobs, -1))) <= P))
        print(f"| {studies:,} | {variances} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
