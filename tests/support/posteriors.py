"""Posterior trees without a sampler: draws from simple laws in the layout of `bm.sample`."""

import warnings
from collections.abc import Sequence

import numpy as np
import pandas as pd
import xarray as xr

import bayesmeta as bm
from bayesmeta import tree_schema as schema
from bayesmeta.errors import AssumptionWarning
from bayesmeta.model.spec import Level
from bayesmeta.priors.correlations import rho_draws
from bayesmeta.priors.defaults import resolve
from bayesmeta.tree.heterogeneity import heterogeneity_table
from bayesmeta.tree.single_entries import over_effects
from bayesmeta.tree.specification import results_tree

LKJ = bm.Prior("LKJ", eta=2.0)
SAMPLE = (schema.CHAIN, schema.DRAW)


def make_posterior(
    spec: bm.Spec,
    draws: int = 100,
    seed: int = 1,
    chains: int = 2,
    store_b: bool = True,
    priors: bm.Priors | None = None,
    r_hat: float = 1.001,
    ess: float = 900.0,
    divergences: int = 0,
) -> xr.DataTree:
    """tau ~ Gamma, rho ~ LKJ(2), b ~ N(0, Psi), beta about the fixed-effects estimate; log-likelihoods are right.

    store_b : False leaves the random effects out, as for large models.  r_hat, ess : of every parameter.
    """
    rng, shape = np.random.default_rng(seed), (chains, draws)
    n = chains * draws
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AssumptionWarning)
        given = resolve(spec, priors)
    beta = spec.statistics.beta_fixed[:, 0] + rng.normal(0, 0.2, (n, len(spec.coef)))
    posterior, derived, effects = {"beta": ((*SAMPLE, schema.COEF), beta.reshape(*shape, -1))}, {}, {}
    psis = []
    for level in spec.levels:
        tau, rho, psi = _covariances(level, n, rng)
        psis.append(psi)
        if not level.dim:
            continue
        effect, pair = schema.effect(level.name), schema.pair(level.name)
        if len(tau):
            common = level.structure.n_tau(2) == 1
            over = over_effects(level.name, level.effects, tau.T.reshape(*shape, -1), SAMPLE)
            posterior[schema.tau(level.name)] = (SAMPLE, tau.reshape(shape)) if common else over
        if len(rho):
            single = level.structure.name != "unstr"
            posterior[schema.rho(level.name)] = (
                (SAMPLE, rho.reshape(shape)) if single else _variable(rho.T, shape, pair)
            )
        derived[schema.psi(level.name)] = _variable(psi, shape, effect, schema.bis(effect))
        if store_b:
            b = np.einsum("nij,nj...->n...i", _root(psi), rng.normal(size=(n, level.dim, level.n_groups)))
            effects[schema.b(level.name)] = _variable(b, shape, schema.group(level.name), effect)
    labels = spec.coords | {schema.CHAIN: pd.RangeIndex(chains), schema.DRAW: pd.RangeIndex(draws)}
    outer = schema.group(spec.levels[0].name)
    loglik = _variable(_group_loglik(spec, beta, psis), shape, outer)
    groups = {
        schema.POSTERIOR: _table(posterior, labels).assign_attrs(b_seed=seed + 1),
        **({schema.RANDOM_EFFECTS: _table(effects, labels)} if effects else {}),
        schema.DERIVED: _table(derived, labels),
        schema.LOG_LIKELIHOOD: _table({"y": loglik}, labels),
        schema.DIAGNOSTICS: _diagnostics(spec, r_hat, ess, divergences),
        schema.HETEROGENEITY: heterogeneity_table(spec, psis),
    }
    about = {"backend": "sample", "method": "bayes", "priors": given.to_json(), "sampler": "nutpie", "seed": str(seed)}
    return results_tree(about, groups, spec)


def stacked(tree: xr.DataTree, group: str, name: str) -> np.ndarray:
    """Draws of a variable with one axis over all chains."""
    values = tree[group][name].values
    return values.reshape(-1, *values.shape[2:])


def _covariances(level: Level, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    structure, dim = level.structure, level.dim
    if not dim:
        return np.zeros((0, n)), np.zeros((0, n)), np.zeros((n, 0, 0))
    tau = rng.gamma(4.0, 0.1, (structure.n_tau(dim), n))
    rho = rho_draws(structure, dim, LKJ, n, rng) if structure.n_rho(dim) else np.zeros((0, n))
    psi = np.broadcast_to(structure.compose(tau, rho, dim), (dim, dim, n))
    return tau, rho, np.moveaxis(psi, -1, 0)


def _root(psi: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(psi)
    return vectors * np.sqrt(np.maximum(values, 0))[:, None, :]


def _group_loglik(spec: bm.Spec, beta: np.ndarray, psis: Sequence[np.ndarray]) -> np.ndarray:
    """(B, outer groups) by full matrices."""
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    outer = spec.levels[0]
    residual = spec.y - spec.offset - beta @ spec.X.T
    loglik = []
    for g in range(outer.n_groups):
        own = np.flatnonzero(outer.index == g)
        Sigma = S[np.ix_(own, own)]
        for level, psi in zip(spec.levels, psis, strict=True):
            Z, same = level.Z[own], level.index[own, None] == level.index[own]
            Sigma = Sigma + np.einsum("ia,bac,jc->bij", Z, psi, Z) * same
        R = np.linalg.cholesky(Sigma)
        z = np.linalg.solve(np.broadcast_to(R, (len(beta), *R.shape[-2:])), residual[:, own, None])[..., 0]
        log_det = np.log(np.diagonal(R, axis1=-2, axis2=-1)).sum(-1)
        loglik.append(-0.5 * (z**2).sum(-1) - log_det - 0.5 * len(own) * np.log(2 * np.pi))
    return np.stack(loglik, axis=1)


def _diagnostics(spec: bm.Spec, r_hat: float, ess: float, divergences: int) -> xr.Dataset:
    labels = [f"beta[{coef}]" for coef in spec.coef] + [f"tau[{v.name}, {e}]" for v in spec.levels for e in v.effects]
    found = {"r_hat": r_hat, "ess_bulk": ess, "ess_tail": ess}
    steps = 1e-4 * np.arange(len(labels))  # so that the first parameter is the worst
    variables = {
        name: ("parameter", value - steps if name == "r_hat" else value + steps) for name, value in found.items()
    }
    counts = {"divergences": ((), divergences), "max_treedepth_hits": ((), 0)}
    return xr.Dataset(variables | counts, {"parameter": pd.Index(labels, dtype=object)})


def _variable(values: np.ndarray, shape: tuple[int, int], *dims: str) -> tuple[tuple[str, ...], np.ndarray]:
    return (*SAMPLE, *dims), values.reshape(*shape, *values.shape[1:])


def _table(variables: dict[str, tuple[Sequence[str], np.ndarray]], labels: dict[str, pd.Index]) -> xr.Dataset:
    used = {dim for dims, *_ in variables.values() for dim in dims}
    return xr.Dataset(variables, {dim: values for dim, values in labels.items() if dim in used})
