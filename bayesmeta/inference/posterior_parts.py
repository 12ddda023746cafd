"""Posteriors of parts of the data, exactly: integrated anew, or the points of the whole weighted by what they lose.

With u the parameters that are integrated numerically, p(u | part) is p(u | y) p(part | u) / p(y | u), and p(y | u) is
known with the coefficients integrated out. Nothing is smoothed: log p(group | others) = log p(y) - log p(others).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import logsumexp

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.bayes.engines import choose
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import NotIntegratedError, tail_shape
from bayesmeta.bayes.importance import integrate as by_importance
from bayesmeta.bayes.integration_points import Resampled, exact_posterior
from bayesmeta.bayes.quadrature import integrate as by_quadrature
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.parts import part_of
from bayesmeta.kernel.pointwise import block_designs, block_S, marginal
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.tree.heterogeneity import heterogeneity_table
from bayesmeta.tree.specification import spec_from_tree

GOOD_K = 0.7  # Pareto k above which weighted draws say nothing: Vehtari et al. (2024), J. Mach. Learn. Res. 25:1-58
FEWEST = 400  # independent draws that weighted points must be worth


@dataclass(frozen=True, eq=False)
class PartPosterior:
    """The posterior of a part of the data.

    points : of it; None where the part does not identify the coefficients. pareto_k : of the weights of the points of
    the whole; NaN where they are points of its own. log_ml, error : log marginal likelihood and its standard error.
    """

    spec: Spec
    points: WeightedPoints | None
    pareto_k: float = np.nan
    log_ml: float = np.nan
    error: float = np.nan


def whole_points(tree: xr.DataTree, what: str) -> WeightedPoints:
    """The points of a posterior, integrated now where it is one of Markov chains.

    Raises
    ------
    SpecError
        When no engine without chains takes the model.
    """
    if (known := exact_posterior(tree)) is not None:
        return known
    return integrated(spec_from_tree(tree), ModelPriors.from_json(tree.attrs["priors"]), what)


def integrated(spec: Spec, priors: ModelPriors, what: str) -> WeightedPoints:
    """The points of the posterior of a model; errors as `whole_points`."""
    choice = choose(spec, priors, "auto")
    if choice.engine is None:
        raise SpecError(
            f"{what} needs a posterior without Markov chains, and {choice.why}\n"
            "  take priors whose quantiles are known in closed form, or a structure with fewer parameters"
        )
    try:
        return choice.engine.run(Evaluator(spec, priors), 0)
    except NotIntegratedError as reason:
        raise SpecError(
            f"{what} needs a posterior without Markov chains, and importance sampling failed, since {reason}"
        ) from None


def part_posteriors(whole: WeightedPoints, keep: BoolArray) -> list[PartPosterior]:
    """The posterior of every part, keep (B, n_obs)."""
    return [_part(whole, own) for own in keep]


def _part(whole: WeightedPoints, keep: BoolArray) -> PartPosterior:
    spec = part_of(whole.evaluator.spec, keep)
    if np.linalg.matrix_rank(spec.X) < spec.X.shape[1]:
        return PartPosterior(spec, None)
    evaluator = Evaluator(spec, whole.evaluator.priors)
    k = np.nan
    if isinstance(whole, Resampled):
        weighted = _weighted_anew(whole.fewer, evaluator)
        k = weighted.pareto_k
        if k <= GOOD_K and 1 / (weighted.points.weight**2).sum() >= FEWEST:  # type: ignore[union-attr]
            return weighted
    try:
        own = by_quadrature(evaluator) if evaluator.dim <= 3 else by_importance(evaluator, 1)
    except NotIntegratedError as reason:
        warn(f"a posterior of a part of the data could not be integrated: {reason}: NaN", AssumptionWarning)
        return PartPosterior(spec, None, k)
    return PartPosterior(spec, own, np.nan, own.log_marginal_likelihood, own.error)


def _weighted_anew(whole: Resampled, evaluator: Evaluator) -> PartPosterior:
    """The points of the whole, weighted by the density of the part and that of the whole."""
    points = evaluator(whole.points.u)
    with np.errstate(invalid="ignore"):
        gain = np.where(points.usable, points.loglik - whole.points.loglik, -np.inf)
    log = whole.log_weight + gain
    share = np.exp(gain - gain.max())
    mean = whole.weight @ share
    error = float(np.sqrt((whole.weight**2 * (share / mean - 1) ** 2).sum()))
    log_ml = whole.log_marginal_likelihood + float(logsumexp(log) - logsumexp(whole.log_weight))
    own = Resampled(evaluator, points, log, log_ml, error)
    return PartPosterior(evaluator.spec, own, tail_shape(log), log_ml, error)


def predictive(points: WeightedPoints, spec: Spec, left_out: IntArray) -> tuple[FloatArray, FloatArray]:
    """Mean (n, q) and covariance (n, q, q) of some observations given all others, at the main points of a posterior.

    points : of the posterior that beta has: without these observations, or of all. spec : of all. Given a point
    y_o = x_o beta + C (y_r - x_r beta) + e with C = Sigma_or Sigma_rr^-1, r what else there is of the outer groups.
    """
    at, q = points.main[1], len(left_out)
    X, known, cov = np.zeros((len(at), q, spec.X.shape[1])), np.zeros((len(at), q)), np.zeros((len(at), q, q))
    outer, place = spec.levels[0].index, np.full(len(spec.y), -1)
    place[left_out] = np.arange(q)
    for group in np.unique(outer[left_out]):
        rows = np.flatnonzero(outer == group)
        gone = place[rows] >= 0
        o, r = rows[gone], rows[~gone]
        Sigma = _marginal(spec, rows, points.psi)
        across = Sigma[:, ~gone][:, :, gone]
        C = np.linalg.solve(Sigma[:, ~gone][:, :, ~gone], across).mT
        own = place[o]
        X[:, own] = spec.X[o] - C @ spec.X[r]
        known[:, own] = spec.offset[o] + C @ (spec.y[r] - spec.offset[r])
        cov[:, own[:, None], own] = Sigma[:, gone][:, :, gone] - C @ across
    root = X @ at.root
    return (X @ at.beta[..., None])[..., 0] + known, cov + root @ root.mT


def _marginal(spec: Spec, rows: IntArray, psi: Sequence[FloatArray]) -> FloatArray:
    """Sigma (B, m, m) of the rows at every Psi (a, a, B)."""
    S, at = (spec.S.value, spec.S.row, spec.S.col), rows[:, None]
    between = block_designs([v.Z for v in spec.levels], [v.index for v in spec.levels], at)
    Sigma = marginal(block_S(S, at, len(spec.y)), between, psi)[:, :, 0]
    return np.moveaxis(np.broadcast_to(Sigma, (*Sigma.shape[:2], psi[0].shape[2])), -1, 0)


def moments(points: WeightedPoints) -> tuple[FloatArray, FloatArray, list[FloatArray]]:
    """Mean (P,) and covariance (P, P) of the coefficients, and means of Psi (a, a) of every level."""
    mean, cov = points.beta_moments
    flat = [points.function(np.moveaxis(each, -1, 0).reshape(each.shape[2], -1)).mean for each in points.psi]
    return mean, cov, [own.reshape(each.shape[:2]) for own, each in zip(flat, points.psi, strict=True)]


def heterogeneity(part: PartPosterior) -> xr.Dataset:
    """The table of `bm.heterogeneity` of a part."""
    assert part.points is not None
    psi = [np.moveaxis(each, -1, 0) for each in part.points.psi]
    return heterogeneity_table(part.spec, psi, part.points.main[0])


def variance(part: PartPosterior, level: str, effect: str) -> float:
    """The mean of a variance between groups."""
    if part.points is None:
        return np.nan
    at = next(i for i, each in enumerate(part.spec.levels) if each.name == level)
    j = part.spec.levels[at].effects.index(effect) if effect in part.spec.levels[at].effects else 0
    return float(part.points.function(part.points.psi[at][j, j][:, None]).mean[0])


def mention_unidentified(parts: Sequence[PartPosterior], names: Sequence[str], what: str) -> None:
    """Warn of parts that do not identify the coefficients."""
    if failed := [name for name, part in zip(names, parts, strict=True) if part.points is None]:
        warn(f"the data {what} {listing(failed)} do not identify the model: NaN", AssumptionWarning)
