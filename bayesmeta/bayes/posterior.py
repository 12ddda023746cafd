"""What follows from draws of beta, tau and rho: Psi, random effects, densities and predictions; nothing is compiled."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import kernel
from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.chains import diagnostics
from bayesmeta.kernel.draws import conditional_draws, fresh_effects, linear_predictor, sampling_errors
from bayesmeta.kernel.pointwise import pointwise_loglik
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.distributions import IMPROPER
from bayesmeta.priors.model_priors import BETA, ModelPriors, log_prior, prior_draws
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.heterogeneity import heterogeneity_table
from bayesmeta.tree.single_entries import over_effects
from bayesmeta.tree.specification import MOST_RANDOM_EFFECTS, results_tree

SAMPLE = (schema.CHAIN, schema.DRAW)
MOST_PREDICTIONS = 10_000_000  # values of a group over the observations or outer groups; larger ones are left out
Y = "y"


def tau_dim(level: Level) -> str | None:
    """The dimension of a level's SDs; None where the structure has one SD for all effects."""
    return schema.effect(level.name) if level.structure.n_tau(2) > 1 else None


def rho_dim(level: Level) -> str | None:
    """The dimension of a level's correlations; None where the structure has one correlation for all pairs."""
    return schema.pair(level.name) if level.structure.n_rho(3) > 1 else None


def observations(spec: Spec, beta: FloatArray, b: Sequence[FloatArray], rng: np.random.Generator) -> FloatArray:
    """(B, n_obs) draws of y given coefficients (B, P) and random effects."""
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    errors = sampling_errors((spec.S.value, spec.S.row, spec.S.col), len(spec.y), len(beta), rng)
    return np.asarray(spec.offset + linear_predictor(spec.X, Z, index, beta, b) + errors)


@dataclass(frozen=True, eq=False)
class Draws:
    """Draws of the parameters: beta (C, D, P), and of every level tau (C, D, n_tau) and rho (C, D, n_rho)."""

    beta: FloatArray
    tau: tuple[FloatArray, ...]
    rho: tuple[FloatArray, ...]

    @classmethod
    def of(cls, spec: Spec, raw: xr.Dataset) -> "Draws":
        """From a sampler's dataset."""
        shape = raw.sizes[schema.CHAIN], raw.sizes[schema.DRAW]
        variables = {str(name): np.asarray(values, float).reshape(*shape, -1) for name, values in raw.items()}
        none = np.zeros((*shape, 0))
        tau = tuple(variables.get(schema.tau(level.name), none) for level in spec.levels)
        rho = tuple(variables.get(schema.rho(level.name), none) for level in spec.levels)
        return cls(variables[BETA], tau, rho)

    @property
    def shape(self) -> tuple[int, int]:
        return self.beta.shape[0], self.beta.shape[1]

    @property
    def stacked(self) -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
        """beta (B, P), tau (n_tau, B) and rho (n_rho, B), with one axis over all chains."""
        n = int(np.prod(self.shape))
        tau, rho = ([np.ascontiguousarray(x.reshape(n, x.shape[-1]).T) for x in part] for part in (self.tau, self.rho))
        return self.beta.reshape(n, -1), tau, rho

    def psi(self, spec: Spec) -> list[FloatArray]:
        """Psi (B, a, a) of every level."""
        (beta, taus, rhos), matrices = self.stacked, []
        for level, tau, rho in zip(spec.levels, taus, rhos, strict=True):
            psi = level.structure.compose(tau, rho, level.dim)
            matrices.append(
                np.ascontiguousarray(np.moveaxis(np.broadcast_to(psi, (level.dim, level.dim, len(beta))), -1, 0))
            )
        return matrices


def posterior_tree(
    spec: Spec,
    priors: ModelPriors,
    draws: Draws,
    sample_stats: dict[str, xr.DataArray] | None,
    about: dict[str, str],
    seeds: Sequence[int],
    random_effects: bool | None = None,
    exact: dict[str, xr.Dataset] | None = None,
) -> xr.DataTree:
    """The results tree of posterior draws.

    sample_stats : of a sampler; None for independent draws, which need no diagnostics.
    exact : further groups, of a posterior that is known exactly.
    seeds : of the random effects, the prior, and the predictions.
    random_effects : whether `/random_effects` is kept; by default where its values are at most a million.
    """
    b_seed, prior_seed, predictive_seed = seeds
    view = _View(spec, draws.shape)
    psi, beta = draws.psi(spec), draws.stacked[0]
    b = conditional_draws(spec.statistics, psi, beta, np.random.default_rng(b_seed))
    if random_effects is None:
        random_effects = sum(x.size for x in b) <= MOST_RANDOM_EFFECTS
    effects = {
        schema.b(v.name): view.by_group(v.present(x), v.name)
        for v, x in zip(spec.levels, b, strict=True)
        if v.dim and random_effects
    }
    log_priors, log_densities = log_prior(priors, spec, *draws.stacked), densities(spec, psi, beta, view)
    if sample_stats is None:
        checks, statistics = {}, {"lp": _log_posterior(log_priors, log_densities, draws.shape)}
    else:
        checks = {schema.DIAGNOSTICS: diagnostics(parameter_chains(draws, priors, spec), sample_stats)}
        statistics = {name: np.asarray(values) for name, values in sample_stats.items()}
    groups = {
        schema.POSTERIOR: view.table(view.parameters(draws)).assign_attrs(b_seed=b_seed),
        **(exact or {}),
        **({schema.RANDOM_EFFECTS: view.table(effects)} if effects else {}),
        schema.DERIVED: view.table(
            {schema.psi(v.name): view.square(p, v.name) for v, p in zip(spec.levels, psi, strict=True) if v.dim}
        ),
        schema.SAMPLE_STATS: view.table({name: (SAMPLE, values) for name, values in statistics.items()}),
        **checks,
        schema.LOG_PRIOR: view.table(view.blocks(log_priors)),
        **log_densities,
        **predictions(spec, psi, beta, b, view, np.random.default_rng(predictive_seed)),
        **prior_groups(spec, priors, draws.shape[1], prior_seed),
        **({} if exact else {schema.HETEROGENEITY: heterogeneity_table(spec, psi)}),
    }
    return results_tree({"backend": "sample", "method": "bayes", "priors": priors.to_json(), **about}, groups, spec)


def _log_posterior(
    log_priors: dict[str, FloatArray], log_densities: dict[str, xr.Dataset], shape: tuple[int, int]
) -> FloatArray:
    """Log density of the posterior at every draw, up to a constant; NaN where the likelihood is not kept."""
    prior = np.zeros(int(np.prod(shape)))
    for block in log_priors.values():
        prior = prior + block
    if schema.LOG_LIKELIHOOD not in log_densities:
        return np.full(shape, np.nan)
    return np.asarray(prior.reshape(shape) + log_densities[schema.LOG_LIKELIHOOD][Y].values.sum(-1))


class _View:
    """Gives arrays with one axis over all draws their dimensions and labels."""

    def __init__(self, spec: Spec, shape: tuple[int, int]) -> None:
        self.spec, self.shape = spec, shape
        chain, draw = (pd.RangeIndex(n) for n in shape)
        obs: dict[str, Any] = {
            schema.ROW: (schema.OBS, np.array(spec.row_labels)[spec.row]),
            schema.OUTCOME: (schema.OBS, np.array(spec.outcomes)[spec.outcome_index]),
        }
        self.labels = spec.coords | {schema.CHAIN: chain, schema.DRAW: draw, schema.OBS: pd.RangeIndex(len(spec.y))}
        self.of_obs = obs

    def dims(self, values: FloatArray, *dims: str) -> tuple[tuple[str, ...], FloatArray]:
        return (*SAMPLE, *dims), values.reshape(*self.shape, *values.shape[1:])

    def parameters(self, draws: Draws) -> dict[str, Any]:
        variables: dict[str, Any] = {BETA: ((*SAMPLE, schema.COEF), draws.beta)}
        for level, tau, rho in zip(self.spec.levels, draws.tau, draws.rho, strict=True):
            if tau.shape[-1]:
                over = over_effects(level.name, level.effects, tau, SAMPLE)
                variables[schema.tau(level.name)] = over if tau_dim(level) else (SAMPLE, tau[..., 0])
            if rho.shape[-1]:
                dim = rho_dim(level)
                variables[schema.rho(level.name)] = ((*SAMPLE, dim), rho) if dim else (SAMPLE, rho[..., 0])
        return variables

    def by_group(self, b: FloatArray, level: str) -> Any:
        return self.dims(b, schema.group(level), schema.effect(level))

    def square(self, psi: FloatArray, level: str) -> Any:
        return self.dims(psi, schema.effect(level), schema.bis(schema.effect(level)))

    def blocks(self, blocks: dict[str, FloatArray]) -> dict[str, Any]:
        return {name: self.dims(np.broadcast_to(values, int(np.prod(self.shape)))) for name, values in blocks.items()}

    def table(self, variables: dict[str, Any], **attrs: str) -> xr.Dataset:
        used = {dim for dims, *_ in variables.values() for dim in dims}
        coords: dict[str, Any] = {dim: labels for dim, labels in self.labels.items() if dim in used}
        return table_of(variables, coords | (self.of_obs if schema.OBS in used else {}), attrs)


def parameter_chains(draws: Draws, priors: ModelPriors, spec: Spec) -> dict[str, FloatArray]:
    """Chains (chain, draw) of every parameter, by the names that tables give it."""
    chains = {f"beta[{coef}]": chain for coef, chain in zip(spec.coef, np.moveaxis(draws.beta, -1, 0), strict=True)}
    for level, own_priors, tau, rho in zip(spec.levels, priors.levels, draws.tau, draws.rho, strict=True):
        chains |= zip(own_priors.tau_labels, np.moveaxis(tau, -1, 0), strict=True)
        pairs = spec.coords[schema.pair(level.name)].tolist() if rho_dim(level) else []
        labels = [f"rho[{level.name}, {pair}]" for pair in pairs] or [own_priors.rho_label] * rho.shape[-1]
        chains |= zip(labels, np.moveaxis(rho, -1, 0), strict=True)
    return chains


def densities(spec: Spec, psi: list[FloatArray], beta: FloatArray, view: _View) -> dict[str, xr.Dataset]:
    """Log-likelihood of every outer group, and log density of every observation given all others of its group."""
    groups, n = {}, len(beta)
    outer = spec.levels[0]
    if n * outer.n_groups <= MOST_PREDICTIONS:
        values = kernel.loglik_per_group(spec.statistics, psi, beta)
        groups[schema.LOG_LIKELIHOOD] = view.table({Y: view.dims(values, schema.group(outer.name))})
    if n * len(spec.y) <= MOST_PREDICTIONS:
        Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
        S = (spec.S.value, spec.S.row, spec.S.col)
        values = pointwise_loglik(spec.y - spec.offset, spec.X, Z, index, S, psi, beta)
        groups[schema.POINTWISE] = view.table({Y: view.dims(values, schema.OBS)})
    return groups


def predictions(
    spec: Spec, psi: list[FloatArray], beta: FloatArray, b: list[FloatArray], view: _View, rng: np.random.Generator
) -> dict[str, xr.Dataset]:
    """y again: of the same groups, given their random effects, and of new groups with the same designs."""
    if len(beta) * len(spec.y) > MOST_PREDICTIONS:
        return {}
    fresh = fresh_effects(psi, [level.n_groups for level in spec.levels], rng)
    same = "of the same groups, given their random effects"
    return {
        schema.POSTERIOR_PREDICTIVE: view.table({Y: view.dims(observations(spec, beta, b, rng), schema.OBS)}, y=same),
        schema.NEW_GROUPS: view.table(
            {Y: view.dims(observations(spec, beta, fresh, rng), schema.OBS)}, y="of new groups"
        ),
    }


def prior_groups(spec: Spec, priors: ModelPriors, n: int, seed: int) -> dict[str, xr.Dataset]:
    """Draws of the parameters from the prior, and of y; nothing where a prior is improper."""
    if any(prior.name in IMPROPER for prior in (*priors.beta, *(tau for own in priors.levels for tau in own.tau))):
        return {}
    rng = np.random.default_rng(seed)
    beta, taus, rhos = prior_draws(priors, spec, n, rng)
    draws = Draws(beta[None], tuple(t.T[None] for t in taus), tuple(r.T[None] for r in rhos))
    with np.errstate(over="ignore"):  # of a prior that reaches beyond numbers
        view, psi = _View(spec, draws.shape), draws.psi(spec)
    groups = {schema.PRIOR: view.table(view.parameters(draws))}
    if n * len(spec.y) <= MOST_PREDICTIONS:
        b = fresh_effects(psi, [level.n_groups for level in spec.levels], rng)
        groups[schema.PRIOR_PREDICTIVE] = view.table({Y: view.dims(observations(spec, beta, b, rng), schema.OBS)})
    return groups
