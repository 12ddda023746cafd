"""Sentences about a posterior tree: how it was drawn, its priors, and whether its draws can be trusted."""

from itertools import combinations

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.bayes.chains import count, worst
from bayesmeta.display.prior_effect import prior_effect
from bayesmeta.display.tables import Facts, fixed
from bayesmeta.priors.correlations import rho_draws as prior_draws
from bayesmeta.priors.model_priors import LevelPriors, ModelPriors
from bayesmeta.structures.base import Structure
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.parameters import effects, level_structures
from bayesmeta.tree.posterior_draws import correlations, own_draws, rho_draws
from bayesmeta.tree.specification import group

_LITTLE = 0.9  # a correlation whose SD is no smaller than this share of its prior's was not learnt from the data
_PRIOR_DRAWS = 20_000  # their SD is known to half a percent


_ENGINES = {"quadrature": "exact, by quadrature", "importance": "by importance sampling"}


def method(tree: xr.DataTree) -> str:
    posterior = group(tree, schema.POSTERIOR)
    chains, draws = posterior.sizes[schema.CHAIN], posterior.sizes[schema.DRAW]
    many = f"{chains} chains" if chains > 1 else "1 chain"
    if schema.MARGINALS in tree.children:
        how = _ENGINES.get(tree.attrs["sampler"], tree.attrs["sampler"])
        return f"full Bayes ({how}; {chains * draws:,} independent draws)"
    return f"full Bayes (MCMC, {many} of {draws} draws, {tree.attrs['sampler']})"


def priors(tree: xr.DataTree) -> ModelPriors:
    return ModelPriors.from_json(tree.attrs["priors"])


def prior_facts(tree: xr.DataTree) -> tuple[tuple[str, str], ...]:
    """Every parameter with its prior, defaults marked."""
    return facts_of(priors(tree))


def facts_of(priors: ModelPriors) -> tuple[tuple[str, str], ...]:
    """The same of priors without a tree."""
    return tuple((row.parameter, row.prior + (" (default)" if row.default else "")) for row in priors.table())


def page(tree: xr.DataTree, name: str = "", notes: bool = False) -> list[Facts]:
    """Priors and diagnostics of a posterior, which has no criteria; name : of the tree, where there are several."""
    known = priors(tree)
    facts = [("The priors", moved)] if (moved := prior_effect(tree, known)) else []
    facts += [("Diagnostics", diagnostics(tree))] if schema.DIAGNOSTICS in tree.children else []
    facts += [("note", note) for note in known.notes] if notes else []
    title = f"Priors, {name}" if name else "Priors"
    return [Facts(prior_facts(tree), title), *([Facts(tuple(facts))] if facts else [])]


def diagnostics(tree: xr.DataTree) -> str:
    """The worst of the convergence diagnostics in one sentence; empty for a tree without them."""
    if schema.DIAGNOSTICS not in tree.children:
        return ""
    checks = group(tree, schema.DIAGNOSTICS)
    r_hat, bulk, tail = (worst(checks[name]) for name in ("r_hat", "ess_bulk", "ess_tail"))
    words = [f"largest R-hat {fixed(r_hat[1], 3)} ({r_hat[0]})" if r_hat[0] else "no R-hat"]
    if bulk[0] and tail[0]:
        words.append(
            f"smallest effective sample sizes {fixed(bulk[1], 0)} in the bulk ({bulk[0]}), "
            f"{fixed(tail[1], 0)} in the tails ({tail[0]})"
        )
    words.append(count(int(checks["divergences"]), "divergence"))
    if hits := int(checks["max_treedepth_hits"]):
        words.append(f"{count(hits, 'draw')} at the largest tree depth")
    return "; ".join(words)


def notes(tree: xr.DataTree) -> list[str]:
    """Assumptions of the priors, and correlations about which the data say little."""
    model = priors(tree)
    structures = level_structures(tree)
    sentences = [
        sentence
        for (level, structure), level_priors in zip(structures.items(), model.levels, strict=True)
        if level_priors.rho is not None
        for sentence in _poorly_learnt(tree, level, structure, level_priors)
    ]
    return [*model.notes, *sentences]


def _poorly_learnt(tree: xr.DataTree, level: str, structure: Structure, priors: LevelPriors) -> list[str]:
    labels = effects(tree, level)
    if structure.own_parameters:
        return _own_poorly_learnt(tree, level, structure, priors)
    pairs = [f" {a}~{b}" for a, b in combinations(labels, 2)]
    if structure.n_rho(len(labels)) == 1:  # one parameter, in whose terms all pairs are
        pairs = pairs[:1] if len(labels) == 2 else [""]
    sds = zip(pairs, _prior_sds(structure, priors, len(labels)), _posterior_sds(tree, level, structure), strict=False)
    descriptions = [
        f"rho[{level}{',' * bool(pair)}{pair}] (prior SD {fixed(prior, 2)}, posterior SD {fixed(posterior, 2)})"
        for pair, prior, posterior in sds
        if posterior >= _LITTLE * prior
    ]
    return [f"the data say little about {listing(descriptions)}: not to be interpreted"] if descriptions else []


def _own_poorly_learnt(tree: xr.DataTree, level: str, structure: Structure, priors: LevelPriors) -> list[str]:
    """The same of the one correlation that a level has as a parameter."""
    assert priors.rho is not None
    dim = len(effects(tree, level))
    prior = prior_draws(structure, dim, priors.rho, _PRIOR_DRAWS, np.random.default_rng(0)).std(ddof=1)
    exact = exact_marginals.statistics(tree, schema.rho(level), 0.95)
    posterior = float(np.ravel(exact["se"])[0]) if exact else own_draws(tree, level, "rho").std(ddof=1)
    if posterior < _LITTLE * prior:
        return []
    sds = f"prior SD {fixed(prior, 2)}, posterior SD {fixed(posterior, 2)}"
    return [f"the data say little about rho[{level}] ({sds}): not to be interpreted"]


def _posterior_sds(tree: xr.DataTree, level: str, structure: Structure) -> FloatArray:
    """SD of every pair's correlation under the posterior."""
    dim = len(effects(tree, level))
    exact = exact_marginals.of_correlations(tree, level, structure, dim, 0.95)
    if len(exact) == dim * (dim - 1) // 2:
        return np.array([exact[at]["se"] for at in sorted(exact)])
    return np.asarray(rho_draws(tree, level).std(axis=0, ddof=1))


def _prior_sds(structure: Structure, priors: LevelPriors, dim: int) -> FloatArray:
    """SD of every pair's correlation under the prior."""
    assert priors.rho is not None
    rho = prior_draws(structure, dim, priors.rho, _PRIOR_DRAWS, np.random.default_rng(0))
    psi = structure.compose(np.ones((structure.n_tau(dim), _PRIOR_DRAWS)), rho, dim)
    return correlations(np.moveaxis(psi, -1, 0)).std(axis=0, ddof=1)
