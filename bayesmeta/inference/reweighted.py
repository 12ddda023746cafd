"""A posterior without each group of rows: integrated anew where it was computed without Markov chains.

Of chains the draws are weighted anew, or sampled again where too few of them count.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_bayes, listing
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import AssumptionWarning, warn
from bayesmeta.estimation.methods import method_named
from bayesmeta.estimation.parts import PartFits, Whole, fit_parts, part_of
from bayesmeta.inference.data_groups import Groups
from bayesmeta.inference.posterior_parts import GOOD_K, mention_unidentified, moments, part_posteriors
from bayesmeta.kernel.likelihood import LOG_2PI, loglik_per_group, matrix_first, pieces
from bayesmeta.kernel.pointwise import block_designs, block_S, marginal
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.tree.posterior_draws import beta_draws, psi_draws
from bayesmeta.tree.specification import group, spec_from_tree


@dataclass(frozen=True, eq=False)
class Draws:
    """Coefficients (B, P) and between-group covariances per level (B, a, a) of all draws, or of those of a refit."""

    beta: FloatArray
    psi: list[FloatArray]

    @classmethod
    def of(cls, tree: xr.DataTree, spec: Spec) -> "Draws":
        return cls(beta_draws(tree), [psi_draws(tree, level.name) for level in spec.levels])

    def moments(self, weights: FloatArray) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
        """Means of beta, their covariances, and means of Psi, for every row of weights (G, B)."""
        mean = weights @ self.beta
        away = self.beta - mean[:, None]
        cov = np.einsum("gb,gbp,gbq->gpq", weights, away, away)
        return mean, cov, [np.einsum("gb,bij->gij", weights, psi) for psi in self.psi]


@dataclass(frozen=True, eq=False)
class Reweighted:
    """Posteriors without each group.

    fits : posterior means, in place of estimates.  pareto_k : (groups,) of the weights.  refitted : (groups,) whether
    the posterior was sampled again.
    """

    fits: PartFits
    pareto_k: FloatArray
    refitted: np.ndarray


def whole_posterior(tree: xr.DataTree) -> xr.Dataset:
    """Posterior means as the estimates of a fit are written."""
    spec, points = spec_from_tree(tree), exact_posterior(tree)
    if points is None:
        draws = Draws.of(tree, spec)
        means, covs, psis = draws.moments(np.full((1, len(draws.beta)), 1 / len(draws.beta)))
        mean, cov, psi = means[0], covs[0], [each[0] for each in psis]
    else:
        mean, cov, psi = moments(points)
    levels = {
        schema.psi(level.name): ((schema.effect(level.name), schema.bis(schema.effect(level.name))), own)
        for level, own in zip(spec.levels, psi, strict=True)
    }
    return xr.Dataset({"beta": (schema.COEF, mean), "beta_cov": ((schema.COEF, schema.bis(schema.COEF)), cov)} | levels)


def without_groups(tree: xr.DataTree, groups: Groups, refit: bool) -> Reweighted:
    """The posterior without each group of a results tree of `bm.sample`.

    refit : whether it is sampled again where the weights of its draws do not serve.
    """
    spec = spec_from_tree(tree)
    if refit and (points := exact_posterior(tree)) is not None:
        return _integrated(points, groups)
    from arviz_stats.base import array_stats  # loads slowly

    check_bayes("influence")
    draws, keep = Draws.of(tree, spec), groups.without(spec)
    # what all draws share at Psi = 0, and whether the others identify the coefficients without a prior
    fits = fit_parts(Whole(spec, method_named("fixed"), np.zeros(0)), keep)
    # takes log densities, of which it weighs the inverse
    logs, k = array_stats.psislw(log_density_given_others(spec, groups, draws).T)
    weights = np.exp(logs - logs.max(1, keepdims=True))
    mean, cov, psi = draws.moments(weights / weights.sum(1, keepdims=True))
    everyone = np.ones(groups.n, bool)
    made = PartFits(
        everyone, mean, cov, tuple(psi), np.zeros((groups.n, 0)), fits.rss, fits.beta_fixed, fits.Q, everyone
    )
    bad = ~(k <= GOOD_K)
    if refit:
        for g in np.flatnonzero(bad):
            _replace(made, int(g), Draws.of(_sampled(tree, part_of(spec, keep[g])), spec))
    elif bad.any():
        names = listing(name for name, worse in zip(groups.names, bad, strict=True) if worse)
        warn(
            f"Pareto k of the weights exceeds {GOOD_K} without {groups.kind or 'row'} {names}: what is said of these "
            "may be far off\n  exact=True samples again without them",
            AssumptionWarning,
        )
    return Reweighted(made, k, bad & refit)


def _integrated(points: WeightedPoints, groups: Groups) -> Reweighted:
    """Exact posteriors without each group: integrated anew, by importance sampling where weights do not serve."""
    spec = points.evaluator.spec
    keep = groups.without(spec)
    parts = part_posteriors(points, keep)
    known = np.array([part.points is not None for part in parts])
    fits = fit_parts(Whole(spec, method_named("fixed"), np.zeros(0)), keep)
    mean, cov = np.full(fits.beta.shape, np.nan), np.full(fits.beta_cov.shape, np.nan)
    psi = [np.full((groups.n, level.dim, level.dim), np.nan) for level in spec.levels]
    for g, part in enumerate(parts):
        if part.points is not None:
            mean[g], cov[g], own = moments(part.points)
            for all_, each in zip(psi, own, strict=True):
                all_[g] = each
    mention_unidentified(parts, groups.names, f"without {groups.kind or 'row'}")
    none = np.zeros((groups.n, 0))
    made = PartFits(known, mean, cov, tuple(psi), none, fits.rss, fits.beta_fixed, fits.Q, known)
    k = np.array([part.pareto_k for part in parts])
    return Reweighted(made, k, np.isnan(k) & known)


def _replace(fits: PartFits, g: int, draws: Draws) -> None:
    """Put the moments of a posterior that was sampled again in place of those of weighted draws."""
    mean, cov, psi = draws.moments(np.full((1, len(draws.beta)), 1 / len(draws.beta)))
    fits.beta[g], fits.beta_cov[g] = mean[0], cov[0]
    for all_, own in zip(fits.psi, psi, strict=True):
        all_[g] = own[0]


def _sampled(tree: xr.DataTree, part: Spec) -> xr.DataTree:
    """The posterior of a part of the data under the priors of the whole, sampled as that was."""
    sampling = import_module("bayesmeta.bayes.sampling")  # loads PyMC, which takes seconds
    posterior, attrs = group(tree, schema.POSTERIOR), tree.attrs
    sampler = sampling.sampler_named(str(attrs.get("sampler", "auto")), None)
    settings = sampling.Settings(
        posterior.sizes[schema.DRAW],
        int(attrs.get("tune", 1000)),
        posterior.sizes.get(schema.CHAIN, 4),
        int(attrs.get("seed", 1)),
        float(attrs.get("target_accept", 0.9)),
        False,
    )
    return sampling.posterior(part, ModelPriors.from_json(attrs["priors"]), sampler, settings, None, False)


def log_density_given_others(spec: Spec, groups: Groups, draws: Draws) -> FloatArray:
    """(B, groups) log density of the observations of every group given all others, beta and Psi, for every draw.

    With Q = Sigma^-1 and r = y - X beta it is that of N(Q_gg^-1 (Q r)_g; 0, Q_gg^-1). Outer groups are independent, so
    that of a group is the sum over the outer groups in which it has observations.
    """
    code, outer = groups.of_obs(spec), spec.levels[0].index
    if all(len(np.unique(code[outer == g])) == 1 for g in range(spec.levels[0].n_groups)):
        first = np.unique(outer, return_index=True)[1]
        of_outer = np.atleast_2d(loglik_per_group(spec.statistics, draws.psi, draws.beta))
        return of_outer @ np.eye(groups.n)[code[first]]
    total = np.zeros((len(draws.beta), groups.n))
    for rows in _outer_groups(outer):
        Q, weighted = _precision(spec, rows, draws)
        for g in np.unique(code[rows]):
            own = np.flatnonzero(code[rows] == g)
            part, away = Q[:, own[:, None], own], weighted[:, own]
            form = (away * np.linalg.solve(part, away[..., None])[..., 0]).sum(1)
            total[:, g] += (np.linalg.slogdet(part)[1] - form - len(own) * LOG_2PI) / 2
    return total


def _outer_groups(outer: np.ndarray) -> Iterator[np.ndarray]:
    order = np.argsort(outer, kind="stable")
    yield from np.split(order, np.flatnonzero(np.diff(outer[order])) + 1)


def _precision(spec: Spec, rows: np.ndarray, draws: Draws) -> tuple[FloatArray, FloatArray]:
    """Sigma^-1 (B, m, m) of the observations of one outer group, and Sigma^-1 (y - X beta) (B, m), for every draw."""
    S, at = (spec.S.value, spec.S.row, spec.S.col), rows[:, None]
    known = block_S(S, at, len(spec.y))
    between = block_designs([v.Z for v in spec.levels], [v.index for v in spec.levels], at)
    residual = (spec.y - spec.offset)[rows] - draws.beta @ spec.X[rows].T
    Q = np.empty((len(residual), len(rows), len(rows)))
    for part in pieces(len(residual), 4 * len(rows) ** 2):
        Sigma = marginal(known, between, [matrix_first(psi[part])[..., 0] for psi in draws.psi])
        Q[part] = np.linalg.inv(np.moveaxis(Sigma[:, :, 0], -1, 0))
    return Q, (Q @ residual[..., None])[..., 0]
