"""Random effects drawn after sampling are those of the model that samples them explicitly."""

import numpy as np
import pandas as pd
import pytest
from arviz_stats.base import array_stats

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.bayes.pymc_model import to_pymc
from bayesmeta.bayes.sample import sample

FEW, MANY = 1500, 4000  # draws of each of four chains
FAR = 4.5  # Monte Carlo standard errors of the difference; several hundred are looked at


def school() -> tuple[bm.Spec, bm.Priors]:
    data = bm.datasets.load("school")
    return bm.specify("effect ~ 1", data, S="var", random="1 | district/study", measure="smd"), bm.Priors()


def two_outcomes() -> tuple[bm.Spec, bm.Priors]:
    """Ten studies, one outcome missing in one of them."""
    rng = np.random.default_rng(8)
    sd = rng.uniform(0.2, 0.5, (10, 2))
    S = sd[:, :, None] * (0.4 + 0.6 * np.eye(2)) * sd[:, None, :]
    y = rng.multivariate_normal([0.3, -0.2], 0.16 * (0.5 + 0.5 * np.eye(2)), 10) + sd * rng.normal(size=(10, 2))
    y[3, 1] = np.nan
    spec = bm.specify("PD + AL ~ 1", pd.DataFrame(y, columns=["PD", "AL"]), S=S, psi="unstr")
    return spec, bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))


def explicit(spec: bm.Spec, priors: bm.Priors, draws: int) -> dict[str, np.ndarray]:
    """Chains of the model with explicit random effects."""
    import nutpie

    wanted = ["beta", *(schema.b(level.name) for level in spec.levels)]
    compiled = nutpie.compile_pymc_model(to_pymc(spec, priors, parameterization="noncentered"), var_names=wanted)
    chains = nutpie.sample(compiled, draws=draws, tune=1000, chains=4, seed=4, target_accept=0.95, progress_bar=False)
    return {name: chains["posterior"][name].to_numpy() for name in wanted}


def flat(chains: dict[str, np.ndarray], spec: bm.Spec) -> np.ndarray:
    """(chain, draw, effects) of all levels."""
    shape = chains["beta"].shape[:2]
    return np.concatenate([chains[schema.b(v.name)].reshape(*shape, -1) for v in spec.levels], axis=-1)


def agree(first: np.ndarray, second: np.ndarray, method: str) -> None:
    """Means or SDs of two sets of chains (chain, draw, number), within Monte Carlo error."""
    of = {"mean": np.mean, "sd": np.std}[method]
    for x, y in zip(np.moveaxis(first, -1, 0), np.moveaxis(second, -1, 0), strict=True):
        error = np.hypot(array_stats.mcse(x, method=method), array_stats.mcse(y, method=method))
        assert abs(of(x) - of(y)) < FAR * error


def products(b: np.ndarray, beta: np.ndarray) -> np.ndarray:
    """Standardised products of every effect with every coefficient; their means are the correlations."""
    b, beta = ((x - x.mean((0, 1))) / x.std((0, 1)) for x in (b, beta))
    return (b[..., :, None] * beta[..., None, :]).reshape(*b.shape[:2], -1)


@pytest.mark.parametrize("draws", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
@pytest.mark.parametrize("model", [school, two_outcomes])
def test_effects_have_the_explicit_posterior(model, draws):
    spec, priors = model()
    tree = sample(spec, priors, draws=draws, random_seed=3, progress=False, random_effects=True)
    ours = {name: values.to_numpy() for part in ("posterior", "random_effects") for name, values in tree[part].items()}
    theirs = explicit(spec, priors, draws)
    b, other = flat(ours, spec), flat(theirs, spec)
    agree(b, other, "mean")
    agree(b, other, "sd")
    agree(products(b, ours["beta"]), products(other, theirs["beta"]), "mean")
