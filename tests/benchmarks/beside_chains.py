"""Posteriors of networks and of tests, and under Jeffreys' prior, beside long Markov chains.

    python -m tests.benchmarks.beside_chains
    python -m tests.benchmarks.beside_chains --only Jeffreys

Without chains they are integrated by quadrature. Means and five quantiles of coefficients, SDs and correlations, and of
a network the rank probabilities, are compared with nutpie's draws of all parameters of the same model, in Monte Carlo
errors of the chains.
"""

import argparse
import warnings
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import xarray as xr

import bayesmeta as bm
from bayesmeta._typing import FloatArray
from tests.benchmarks.bridge import distances
from tests.benchmarks.network import counselling, rank_distances


def cases() -> Iterator[tuple[str, bm.Spec, bm.Priors | None]]:
    """Name, model and priors of each, None for the defaults."""
    senn = {"study": "study", "treatment": "treatment", "mean": "mean", "sd": "sd", "n": "n", "measure": "md"}
    yield "network, Hasselblad", counselling()[1], None
    yield "network, Senn", bm.network.specify(bm.datasets.load("senn2013"), **senn, better="smaller"), None
    yield "diagnostic, AUDIT-C", bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"), None
    tables = bm.datasets.load("questionnaires").query("table == 1")
    yield "diagnostic, questionnaires", bm.diagnostic.specify(tables, formula="questionnaire", correction="all"), None
    bcg = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    yield "one level under Jeffreys' prior, bcg", bcg, bm.Priors(tau=bm.Prior("Jeffreys"))


def correlation_distances(exact: xr.DataTree, chains: xr.DataTree) -> FloatArray:
    """Of the mean and the quantiles of correlations between effects."""
    import arviz_stats as az

    far = []
    for level in bm.Spec.from_tree(exact).levels:
        if (name := f"rho_{level.name}") not in chains["posterior"]:
            continue
        draws = chains["posterior"][name].transpose("chain", "draw", ...).to_numpy()
        for own in np.moveaxis(draws.reshape(*draws.shape[:2], -1), -1, 0):
            exact_draws = exact["posterior"][name].to_numpy().ravel()
            error = np.hypot(
                own.std() / np.sqrt(float(az.ess(own, method="mean"))), own.std() / len(exact_draws) ** 0.5
            )
            far.append((own.mean() - exact_draws.mean()) / error)
    return np.array(far)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--only", default="", help="part of the names of models")
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    print("| model | numbers | largest distance | root mean square | seconds |\n|---|---:|---:|---:|---:|", flush=True)
    for name, spec, priors in cases():
        if arguments.only not in name:
            continue
        start = perf_counter()
        exact = bm.sample(spec, priors, draws=5 * arguments.draws, random_seed=1, random_effects=False)
        settings = {"sampler": "nutpie", "progress": False, "random_effects": False}
        chains = bm.sample(spec, priors, draws=arguments.draws, random_seed=2, **settings)
        far = np.concatenate([distances(exact, chains), correlation_distances(exact, chains)])
        if spec.analysis.get("kind") == "network":
            far = np.append(far, rank_distances(exact, chains))
        size = f"{len(far)} | {np.abs(far).max():.2f} | {np.sqrt((far**2).mean()):.2f}"
        print(f"| {name} | {size} | {perf_counter() - start:.0f} |", flush=True)


if __name__ == "__main__":
    main()
