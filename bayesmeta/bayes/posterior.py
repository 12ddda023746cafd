"""What follows from draws of beta, tau and rho: Psi, random effects, densities and predictions; nothing is compiled."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
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
from bayesmeta.tree.fingerprint import number_hash
from bayesmeta.tree.heterogeneity import heterogeneity_table
from bayesmeta.tree.single_entries import EFFECT
from bayesmeta.tree.specification import MOST_RANDOM_EFFECTS, results_tree
from bayesmeta.tree.unread import Source

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


@dataclass(frozen=True, eq=False)
class Undrawn:
    """Draws that are made when somebody reads them; shape : chains and draws."""

    shape: tuple[int, int]
    make: Callable[[], Draws]


def posterior_tree(
    spec: Spec,
    priors: ModelPriors,
    draws: Draws | Undrawn,
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
    own = _Drawn(spec, priors, draws, seeds)
    if random_effects is None:
        random_effects = own.n * sum(level.n_groups * level.dim for level in spec.levels) <= MOST_RANDOM_EFFECTS
    parts, groups = own.parts(random_effects, sample_stats is None), dict(exact or {})
    if isinstance(draws, Draws):
        groups |= {name: table for part in parts for name, table in part.computed().items()}
        if exact is None:
            groups[schema.HETEROGENEITY] = heterogeneity_table(spec, own.psi)
    else:
        source = Source(f"{own.shape} {seeds}", number_hash)
        groups |= {name: table for part in parts for name, table in part.unread(source).items()}
    if sample_stats is not None:
        statistics = {name: (SAMPLE, np.asarray(values)) for name, values in sample_stats.items()}
        groups[schema.SAMPLE_STATS] = own.view.table(statistics)
        groups[schema.DIAGNOSTICS] = diagnostics(parameter_chains(own.draws, priors, spec), sample_stats)
    groups[schema.POSTERIOR].attrs["b_seed"] = seeds[0]
    ordered = {
        name: groups[name] for name in dict.fromkeys((schema.POSTERIOR, *(exact or ()), *_ORDER)) if name in groups
    }
    return results_tree({"backend": "sample", "method": "bayes", "priors": priors.to_json(), **about}, ordered, spec)


_ORDER = (  # of the groups in a tree, after what is exact
    *(schema.RANDOM_EFFECTS, schema.DERIVED, schema.SAMPLE_STATS, schema.DIAGNOSTICS),
    *(schema.LOG_PRIOR, schema.LOG_LIKELIHOOD, schema.POINTWISE),
    *(schema.POSTERIOR_PREDICTIVE, schema.NEW_GROUPS, schema.PRIOR, schema.PRIOR_PREDICTIVE, schema.HETEROGENEITY),
)

Arrays = dict[tuple[str, str], FloatArray]  # by group and variable


@dataclass(frozen=True, eq=False)
class _Part:
    """Groups of draws that are computed together.

    variables : by group and variable their dimensions after those of the draws, and perhaps attributes.
    compute : their values, with one axis over all draws first.
    """

    view: "_View"
    variables: dict[str, dict[str, Any]]
    compute: Callable[[], Arrays]
    attrs: dict[str, dict[str, str]] = field(default_factory=dict)

    def computed(self) -> dict[str, xr.Dataset]:
        arrays = self.compute()
        return self._tables(lambda group, name, sizes: arrays[group, name].reshape(tuple(sizes.values())))

    def unread(self, source: Source) -> dict[str, xr.Dataset]:
        """The same of arrays that are computed when one of them is read."""

        def by_key() -> dict[str, FloatArray]:
            return {f"{group}/{name}": values for (group, name), values in self.compute().items()}

        return self._tables(lambda group, name, sizes: source.array(f"{group}/{name}", sizes, by_key))

    def _tables(self, array: Callable[[str, str, dict[str, int]], Any]) -> dict[str, xr.Dataset]:
        tables = {}
        for group, variables in self.variables.items():
            sizes = {name: self.view.sizes(dims) for name, (dims, *_) in variables.items()}
            shaped = {
                name: (tuple(sizes[name]), array(group, name, sizes[name]), *attrs)
                for name, (_, *attrs) in variables.items()
            }
            tables[group] = self.view.table(shaped, **self.attrs.get(group, {}))
        return tables


class _Drawn:
    """What follows from draws of the parameters of a model, in parts; seeds : see `posterior_tree`."""

    def __init__(self, spec: Spec, priors: ModelPriors, draws: Draws | Undrawn, seeds: Sequence[int]) -> None:
        self.spec, self.priors, self.shape = spec, priors, draws.shape
        self.n, self.view = int(np.prod(draws.shape)), _View(spec, draws.shape)
        self.b_seed, self.prior_seed, self.predictive_seed = seeds
        self._made: Draws | Undrawn | None = draws

    @cached_property
    def draws(self) -> Draws:
        assert self._made is not None
        made = self._made if isinstance(self._made, Draws) else self._made.make()
        self._made = None  # what draws are made from takes more room than they do
        return made

    @cached_property
    def psi(self) -> list[FloatArray]:
        return self.draws.psi(self.spec)

    @property
    def beta(self) -> FloatArray:
        return self.draws.stacked[0]

    def parts(self, random_effects: bool, with_lp: bool) -> list[_Part]:
        """All of them; random_effects : whether they are kept. with_lp : whether log densities of the posterior are."""
        parts = [self._parameters(), self._densities(with_lp), self._pointwise(), self._effects(random_effects)]
        return [*parts, _prior(self.spec, self.priors, self.shape[1], self.prior_seed)]

    def _parameters(self) -> _Part:
        """The parameters themselves, and Psi."""
        levels = [v for v in self.spec.levels if v.dim]
        psi = {schema.psi(v.name): ((schema.effect(v.name), schema.bis(schema.effect(v.name))),) for v in levels}

        def compute() -> Arrays:
            named = zip(self.spec.levels, self.psi, strict=True)
            matrices = {(schema.DERIVED, schema.psi(v.name)): matrix for v, matrix in named if v.dim}
            return _by_name(schema.POSTERIOR, self.spec, self.draws) | matrices

        return _Part(self.view, {schema.POSTERIOR: _layout(self.spec), schema.DERIVED: psi}, compute)

    def _densities(self, with_lp: bool) -> _Part:
        """Of the prior by block, of every outer group, and of the posterior up to a constant; NaN if none is kept."""
        outer = self.spec.levels[0]
        blocks = {name: ((),) for name in _layout(self.spec) if self.priors.beta or name != BETA}
        likelihood = {Y: ((schema.group(outer.name),),)} if self.n * outer.n_groups <= MOST_PREDICTIONS else {}
        variables: dict[str, dict[str, Any]] = {schema.LOG_PRIOR: blocks}
        variables |= {schema.LOG_LIKELIHOOD: likelihood} if likelihood else {}
        variables |= {schema.SAMPLE_STATS: {"lp": ((),)}} if with_lp else {}

        def compute() -> Arrays:
            known, arrays = log_prior(self.priors, self.spec, *self.draws.stacked), Arrays()
            arrays |= {(schema.LOG_PRIOR, name): np.broadcast_to(known[name], self.n) for name in blocks}
            of_groups: FloatArray | None = None
            if likelihood:
                of_groups = kernel.loglik_per_group(self.spec.statistics, self.psi, self.beta)
                arrays[schema.LOG_LIKELIHOOD, Y] = of_groups
            if with_lp:
                total = np.full(self.n, np.nan) if of_groups is None else of_groups.sum(-1)
                arrays[schema.SAMPLE_STATS, "lp"] = sum(known.values(), np.zeros(self.n)) + total
            return arrays

        return _Part(self.view, variables, compute)

    def _pointwise(self) -> _Part:
        """The log density of every observation given all others of its group."""
        spec, kept = self.spec, self.n * len(self.spec.y) <= MOST_PREDICTIONS

        def compute() -> Arrays:
            Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
            S = (spec.S.value, spec.S.row, spec.S.col)
            values = pointwise_loglik(spec.y - spec.offset, spec.X, Z, index, S, self.psi, self.beta)
            return {(schema.POINTWISE, Y): values}

        return _Part(self.view, {schema.POINTWISE: {Y: ((schema.OBS,),)}} if kept else {}, compute)

    def _effects(self, kept: bool) -> _Part:
        """Random effects given the data, and y again: of the same groups, given their random effects, and of new groups
        with the same designs."""
        spec, again = self.spec, self.n * len(self.spec.y) <= MOST_PREDICTIONS
        b_dims = {schema.b(v.name): ((schema.group(v.name), schema.effect(v.name)),) for v in spec.levels if v.dim}
        variables: dict[str, dict[str, Any]] = {schema.RANDOM_EFFECTS: b_dims} if b_dims and kept else {}
        predicted = (schema.POSTERIOR_PREDICTIVE, schema.NEW_GROUPS) if again else ()
        variables |= {name: {Y: ((schema.OBS,),)} for name in predicted}

        def compute() -> Arrays:
            b = conditional_draws(spec.statistics, self.psi, self.beta, np.random.default_rng(self.b_seed))
            arrays = Arrays()
            if schema.RANDOM_EFFECTS in variables:
                own = zip(spec.levels, b, strict=True)
                arrays |= {(schema.RANDOM_EFFECTS, schema.b(v.name)): v.present(x) for v, x in own if v.dim}
            if predicted:
                rng = np.random.default_rng(self.predictive_seed)
                fresh = fresh_effects(self.psi, [level.n_groups for level in spec.levels], rng)
                for name, effects in zip(predicted, (b, fresh), strict=True):
                    arrays[name, Y] = observations(spec, self.beta, effects, rng)
            return arrays

        return _Part(self.view, variables, compute, dict(zip(predicted, _PREDICTED, strict=False)))


_PREDICTED = ({Y: "of the same groups, given their random effects"}, {Y: "of new groups"})


def _layout(spec: Spec) -> dict[str, Any]:
    """Dimensions of the parameters after those of the draws; of the SD of one effect also its label as attribute."""
    variables: dict[str, Any] = {BETA: ((schema.COEF,),)}
    for level in spec.levels:
        if level.structure.n_tau(level.dim):
            labelled = ((), {EFFECT: level.effects[0]}) if level.dim == 1 else ((schema.effect(level.name),),)
            variables[schema.tau(level.name)] = labelled if tau_dim(level) else ((),)
        if level.structure.n_rho(level.dim):
            dim = rho_dim(level)
            variables[schema.rho(level.name)] = ((dim,),) if dim else ((),)
    return variables


def _by_name(group: str, spec: Spec, draws: Draws) -> Arrays:
    """The parameters by variable."""
    arrays = {(group, BETA): draws.beta}
    for level, tau, rho in zip(spec.levels, draws.tau, draws.rho, strict=True):
        arrays |= {(group, schema.tau(level.name)): tau} if tau.shape[-1] else {}
        arrays |= {(group, schema.rho(level.name)): rho} if rho.shape[-1] else {}
    return arrays


def _prior(spec: Spec, priors: ModelPriors, n: int, seed: int) -> _Part:
    """Draws of the parameters from the prior, and of y; nothing where a prior is improper."""
    improper = any(prior.name in IMPROPER for prior in (*priors.beta, *(tau for v in priors.levels for tau in v.tau)))
    variables: dict[str, dict[str, Any]] = {} if improper else {schema.PRIOR: _layout(spec)}
    if variables and n * len(spec.y) <= MOST_PREDICTIONS:
        variables[schema.PRIOR_PREDICTIVE] = {Y: ((schema.OBS,),)}

    def compute() -> Arrays:
        rng = np.random.default_rng(seed)
        beta, taus, rhos = prior_draws(priors, spec, n, rng)
        draws = Draws(beta[None], tuple(t.T[None] for t in taus), tuple(r.T[None] for r in rhos))
        arrays = _by_name(schema.PRIOR, spec, draws)
        if schema.PRIOR_PREDICTIVE in variables:
            with np.errstate(over="ignore"):  # of a prior that reaches beyond numbers
                psi = draws.psi(spec)
            b = fresh_effects(psi, [level.n_groups for level in spec.levels], rng)
            arrays[schema.PRIOR_PREDICTIVE, Y] = observations(spec, beta, b, rng)
        return arrays

    return _Part(_View(spec, (1, n)), variables, compute if variables else Arrays)


class _View:
    """Gives arrays over the draws their sizes, dimensions and labels."""

    def __init__(self, spec: Spec, shape: tuple[int, int]) -> None:
        chain, draw = (pd.RangeIndex(n) for n in shape)
        self.of_obs: dict[str, Any] = {
            schema.ROW: (schema.OBS, np.array(spec.row_labels)[spec.row]),
            schema.OUTCOME: (schema.OBS, np.array(spec.outcomes)[spec.outcome_index]),
        }
        self.labels = spec.coords | {schema.CHAIN: chain, schema.DRAW: draw, schema.OBS: pd.RangeIndex(len(spec.y))}

    def sizes(self, dims: tuple[str, ...]) -> dict[str, int]:
        """Of the draws and of further dimensions."""
        return {dim: len(self.labels[dim]) for dim in (*SAMPLE, *dims)}

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
