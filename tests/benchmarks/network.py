"""Networks of treatments beside chains, and beside the binomial model: `python -m tests.benchmarks.network`.

Rank probabilities of the posterior by quadrature and of a long run of Hamiltonian Monte Carlo on the same model, in
Monte Carlo errors; and effects of counselling under the normal approximation, and under the binomial distribution.
"""

import warnings
from time import perf_counter

import arviz as az
import numpy as np
import pandas as pd
import pymc as pm
import xarray as xr

import bayesmeta as bm
from bayesmeta._typing import FloatArray

PRIORS = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=100), tau=bm.Prior("Uniform", lower=0, upper=5))


def counselling(without: tuple[int, ...] = ()) -> tuple[pd.DataFrame, bm.Spec]:
    """The trials of Hasselblad (1998), and their network."""
    arms = bm.datasets.load("hasselblad1998")
    arms = arms[~arms["study"].isin(without)]
    columns = {"study": "study", "treatment": "treatment", "events": "quit", "total": "total", "measure": "logor"}
    return arms, bm.network.specify(arms, **columns, reference="no contact", better="larger", add=0.5)


def rank_distances(exact: xr.DataTree, chains: xr.DataTree) -> FloatArray:
    """Of all rank probabilities of two posteriors, in Monte Carlo errors of both."""
    own, theirs = bm.network.ranking(exact), bm.network.ranking(chains)
    beta = chains["posterior"]["beta"].transpose("chain", "draw", "coef").to_numpy()
    reference = bm.Spec.from_tree(exact).analysis["reference"]
    names = [name for name in own["treatment"].values if name != reference]
    at = [list(chains["posterior"]["coef"].values).index(name) for name in names]
    effects = np.concatenate([beta[..., at], np.zeros((*beta.shape[:2], 1))], axis=-1)
    ranks = np.argsort(np.argsort(effects if own.attrs["better"] == "smaller" else -effects, axis=-1), axis=-1)
    far = []
    for i, name in enumerate([*names, reference]):
        for rank in own["rank"].values:
            hit = (ranks[..., i] == rank - 1).astype(float)
            if 0 < hit.mean() < 1:
                p, q = (float(each["probability"].sel(treatment=name, rank=rank)) for each in (own, theirs))
                error = float(own["probability_mcse"].sel(treatment=name, rank=rank))
                far.append((p - q) / np.sqrt(q * (1 - q) / float(az.ess(hit)) + error**2))
    return np.array(far)


def largest_deviation(draws: int = 10_000, seed: int = 2) -> float:
    """Of all rank probabilities, in Monte Carlo errors of both."""
    spec = counselling()[1]
    exact = bm.sample(spec, random_seed=seed, draws=5 * draws)
    chains = bm.sample(spec, random_seed=seed, draws=draws, sampler="nutpie", progress=False)
    return float(np.abs(rank_distances(exact, chains)).max())


def binomial(arms: pd.DataFrame, seed: int = 1) -> pd.DataFrame:
    """Posterior of the model with binomial events: logit p of an arm = mu of the trial + delta."""
    treatments = ["no contact", "self-help", "individual counselling", "group counselling"]
    study, _ = pd.factorize(arms["study"])
    arm = np.array([treatments.index(name) for name in arms["treatment"]])
    with pm.Model():
        mu = pm.Normal("mu", 0, 10, shape=int(study.max()) + 1)
        d = pm.Normal("d", 0, 100, shape=3)
        tau = pm.Uniform("tau", 0, 5)
        u = pm.Normal("u", 0, 1, shape=len(arm))  # of the arms: any two differ by the variance tau2
        effect = pm.math.concatenate([[0.0], d])
        logit = mu[study] + effect[arm] + tau / np.sqrt(2) * u
        pm.Binomial("events", arms["total"].to_numpy(), logit_p=logit, observed=arms["quit"].to_numpy())
        drawn = pm.sample(2000, tune=2000, chains=4, cores=1, random_seed=seed, target_accept=0.95, progressbar=False)
    beta, sd = drawn.posterior["d"].to_numpy().reshape(-1, 3), drawn.posterior["tau"].to_numpy().ravel()
    values = np.column_stack([beta, sd])
    table = pd.DataFrame({"mean": values.mean(0), "sd": values.std(0)}, [*treatments[1:], "tau"])
    table.loc["tau", "mean"] = np.median(sd)
    return table


def main() -> None:
    warnings.simplefilter("ignore")
    start = perf_counter()
    worst = largest_deviation()
    print(f"rank probabilities: at most {worst:.1f} Monte Carlo errors apart ({perf_counter() - start:.0f} s)")
    for without in ((), (5, 19)):
        arms, spec = counselling(without)
        normal = bm.estimates(bm.sample(spec, PRIORS, random_seed=1)).query("kind in ['beta', 'tau']")
        print(
            f"\nwithout trials {without}: normal approximation\n{normal[['term', 'estimate', 'se']].iloc[:4].round(2)}"
        )
        print(f"binomial\n{binomial(arms).round(2)}")


if __name__ == "__main__":
    main()
