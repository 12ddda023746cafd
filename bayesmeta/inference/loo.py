"""Leave-one-out cross-validation of posteriors: how well each group is predicted from the others, exactly."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logsumexp, ndtr, softmax

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_bayes
from bayesmeta.bayes.evaluator import Evaluated
from bayesmeta.bayes.importance import tail_shape
from bayesmeta.bayes.integration_points import Resampled, exact_posterior
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import SpecError
from bayesmeta.inference.data_groups import Groups, groups_by
from bayesmeta.inference.part_estimates import GROUP
from bayesmeta.inference.posterior_parts import (
    GOOD_K,
    PartPosterior,
    mention_unidentified,
    part_posteriors,
    predictive,
    whole_points,
)
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.kernel.pointwise import pointwise_moments
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.row_labels import ByRow
from bayesmeta.tree.specification import reading_once, spec_from_tree

FAINT, UNSEEN = 1e-5, 1e-4  # weight of a point, relative to the largest, below which it may get no more than this
_SECONDS = {0: 0.002, 1: 0.015, 2: 0.04}  # that a posterior without a group takes, by the number of parameters
_PATIENCE = 3.0  # seconds
_BAD = "Estimated shape parameter of Pareto"  # what ArviZ warns of; tables and notes say it in our words
HANGS = 1e-9  # share of a variance that is none: without the observation a coefficient is not identified


def loo(tree: xr.DataTree, by: ByRow | None = None) -> xr.Dataset:
    """Leave-one-out cross-validation of a posterior: log predictive densities, and probability integral transforms.

    Each group is left out in turn, and predicted by the posterior of the others. Nothing is estimated from draws.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`, also read back from a file.
    by : str or sequence, optional
        What is left out at a time, as in `bm.leave_one_out`: by default the groups of the outer level.

    Returns
    -------
    Dataset
        0-d: `elpd_loo`, the expected log predictive density of new groups; `se`, its standard error between the groups;
        `p_loo`, the effective number of parameters. Over `group`: `elpd`, the log density of the observations of the
        group given all others; `elpd_error`, a bound of its numerical error, or its standard error; `pareto_k`, of
        weights by importance sampling, NaN where the posterior without the group was integrated anew. Over `obs`, with
        `row` and `outcome`: `pit`, the probability that the posterior without its group gave to values below the one
        observed, uniform over observations where the model is right. Attribute `by`.

    Raises
    ------
    SpecError
        When the tree is no posterior, no engine without Markov chains takes the model, `by` is neither a level nor a
        column, or there is only one group.
    DataError
        When the column has missing values in rows of the model.

    Warns
    -----
    AssumptionWarning
        When a group is left out without which a coefficient is not identified; what depends on it is NaN.

    See Also
    --------
    bayesmeta.compare : The same of several models side by side.
    bayesmeta.leave_one_out : The posteriors without each group.

    Notes
    -----
    `log p(y_g | y_-g)` is the difference of two log marginal likelihoods. ArviZ and `loo` in R estimate it from draws
    of one posterior, which fails for the groups that matter most (Pareto k above 0.7). `p_loo` is the log density of
    the groups with all data known, less `elpd_loo`.

    References
    ----------
    Vehtari, Gelman and Gabry (2017), Stat. Comput. 27:1413-1432; Gelfand, Dey and Chang (1992), in Bayesian Statistics
    4, for the integral transform.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1)
    >>> left_out = bm.loo(post)
    >>> round(float(left_out["elpd_loo"]), 2)
    -14.72
    >>> left_out["elpd"].idxmin("group").item()
    'Comstock & Webster (1969)'
    """
    if not is_posterior(tree):
        spec_from_tree(tree)  # what is no results tree at all says so
        raise SpecError("loo is of a posterior, and this tree holds a fit\n  bm.leave_one_out(fit) fits its parts")
    with reading_once():
        spec = spec_from_tree(tree)
        groups = groups_by(spec, by, "loo")
        whole = whole_points(tree, "loo")
        parts = part_posteriors(whole, groups.without(spec))
        mention_unidentified(parts, groups.names, f"without {groups.kind or 'row'}")
        return _table(spec, groups, Predictions.of(whole, parts, spec, groups))


def elpd_of(tree: xr.DataTree, which: IntArray) -> FloatArray:
    """Log predictive densities of some of the outer groups, by position."""
    with reading_once():
        spec = spec_from_tree(tree)
        keep = groups_by(spec, None, "loo").without(spec)[which]
        whole = whole_points(tree, "loo")
        return np.array([whole.log_marginal_likelihood - part.log_ml for part in part_posteriors(whole, keep)])


class LeftOut(NamedTuple):
    """Leave-one-out cross-validation by the outer groups (G,).

    elpd : log predictive densities.  p : effective number of parameters.  bad : (G,) whether Pareto k is above good_k.
    """

    elpd: FloatArray
    p: float
    bad: BoolArray
    good_k: float

    @property
    def bad_k(self) -> float:
        """Share of the groups whose density is not reliable."""
        return float(self.bad.mean())


def left_out(tree: xr.DataTree) -> LeftOut:
    """Exact where that is quick; else by weighted draws, with exact ones in place of those that do not serve."""
    points, n = exact_posterior(tree), spec_from_tree(tree).levels[0].n_groups
    if points is not None and n * _SECONDS.get(points.evaluator.dim, np.inf) <= _PATIENCE:
        own = loo(tree)
        elpd = own["elpd"].to_numpy()
        if np.isfinite(elpd).all():
            return LeftOut(elpd, float(own["p_loo"]), np.zeros(n, bool), GOOD_K)
    drawn = _by_draws(tree)
    elpd, k = np.array(drawn.elpd_i.values, float), drawn.pareto_k.values
    bad, p = ~(k <= float(drawn.good_k)), float(drawn.p)
    if points is not None and bad.any():
        exact = elpd_of(tree, np.flatnonzero(bad))
        p += float(np.nansum(elpd[bad] - exact))
        elpd[bad] = np.where(np.isfinite(exact), exact, elpd[bad])
        bad[bad] = ~np.isfinite(exact)
    return LeftOut(elpd, p, bad, float(drawn.good_k))


def _by_draws(tree: xr.DataTree) -> Any:
    check_bayes("elpd_loo")
    import arviz  # half a second and more, and only here

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", _BAD, UserWarning)
        return arviz.loo(tree, pointwise=True)


@dataclass(frozen=True, eq=False)
class Predictions:
    """Of every group log densities given the others, their errors, Pareto k, and given all (G,); pit (n_obs,)."""

    elpd: FloatArray
    error: FloatArray
    pareto_k: FloatArray
    given_all: FloatArray
    pit: FloatArray

    @classmethod
    def of(cls, whole: WeightedPoints, parts: Sequence[PartPosterior], spec: Spec, groups: Groups) -> "Predictions":
        code, n = groups.of_obs(spec), len(parts)
        elpd, error, k, given_all = np.full((4, n), np.nan)
        pit = np.full(len(spec.y), np.nan)
        whole = getattr(whole, "fewer", whole)
        for g, part in enumerate(parts):
            own = np.flatnonzero(code == g)
            k[g] = part.pareto_k
            if part.points is None:
                continue
            elpd[g] = whole.log_marginal_likelihood - part.log_ml
            error[g] = part.error if np.isfinite(k[g]) else whole.error + part.error
            mean, cov = predictive(part.points, spec, own)
            sd = np.sqrt(np.diagonal(cov, axis1=1, axis2=2))
            pit[own] = Normals(part.points.main[0], mean, sd).below(spec.y[own][None])[0]
            given_all[g] = _log_density(whole.main[0], *predictive(whole, spec, own), spec.y[own])
        return cls(elpd, error, k, given_all, pit)


def _log_density(weight: FloatArray, mean: FloatArray, cov: FloatArray, y: FloatArray) -> float:
    """Log density of a mixture of normals, mean (n, q) and cov (n, q, q), at y (q,)."""
    away = y - mean
    form = (away * np.linalg.solve(cov, away[..., None])[..., 0]).sum(1)
    return float(logsumexp(-(form + np.linalg.slogdet(cov)[1] + len(y) * LOG_2PI) / 2, b=weight))


def single_observations(tree: xr.DataTree) -> tuple[FloatArray, FloatArray] | None:
    """Of every observation the probability below it given all others, and Pareto k, NaN where nothing was weighted.

    None where the tree has no posterior without Markov chains.

    Given a point, y_j has mean m and variance c given beta and the others, and beta given all makes m vary by v.
    Without y_j its residual r is r c / (c - v), of variance c^2 / (c - v), so points are weighted by one over that
    density.
    """
    whole = exact_posterior(tree)
    if whole is None:
        return None
    spec, drawn = whole.evaluator.spec, isinstance(whole, Resampled)
    whole = getattr(whole, "fewer", whole)
    (weight, at), y = whole.main, spec.y - spec.offset
    z, log = _without_themselves(spec, y, at, [np.moveaxis(psi, -1, 0) for psi in whole.psi])
    own = np.log(weight)[:, None] - log
    share = softmax(own, axis=0)
    pit = (share * ndtr(z)).sum(0)
    k = np.array([tail_shape(column) for column in own.T]) if drawn else np.full(len(y), np.nan)
    faint = share[weight < FAINT * weight.max()].sum(0)
    for j in np.flatnonzero((k > GOOD_K) if drawn else ~(faint < UNSEEN)):
        part = part_posteriors(whole, np.arange(len(y))[None] != j)[0]
        pit[j], k[j] = np.nan, part.pareto_k
        if part.points is not None:
            mean, cov = predictive(part.points, spec, np.array([j]))
            pit[j] = Normals(part.points.main[0], mean, np.sqrt(cov[:, 0])).below(spec.y[[j]][None])[0, 0]
    return pit, k


def _without_themselves(
    spec: Spec, y: FloatArray, at: Evaluated, psi: Sequence[FloatArray]
) -> tuple[FloatArray, FloatArray]:
    """Standardised residuals of observations given all others (n, n_obs), and log densities; NaN of those that a
    coefficient hangs on."""
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    moments = partial(pointwise_moments, y, spec.X, Z, index, (spec.S.value, spec.S.row, spec.S.col), psi)
    mean, sd = moments(at.beta)
    along = [moments(at.beta + at.root[:, :, i])[0] - mean for i in range(at.root.shape[2])]
    left = sd**2 - np.sum(np.square(along), axis=0)
    left = np.where(left > HANGS * sd**2, left, np.nan)
    z = (y - mean) / np.sqrt(left)
    return z, np.log(left) / 2 - np.log(sd) * 2 - (z * z + LOG_2PI) / 2


def _table(spec: Spec, groups: Groups, made: Predictions) -> xr.Dataset:
    n = len(made.elpd)
    variables: dict[str, Any] = {
        "elpd_loo": ((), made.elpd.sum()),
        "se": ((), np.sqrt(n * made.elpd.var(ddof=1))),
        "p_loo": ((), (made.given_all - made.elpd).sum()),
        "elpd": (GROUP, made.elpd),
        "elpd_error": (GROUP, made.error),
        "pareto_k": (GROUP, made.pareto_k),
        "pit": (schema.OBS, made.pit),
    }
    coords: Mapping[str, Any] = {
        GROUP: pd.Index(list(groups.names), dtype=object),
        schema.OBS: pd.RangeIndex(len(spec.y)),
        schema.ROW: (schema.OBS, np.array(spec.row_labels, dtype=object)[spec.row]),
        schema.OUTCOME: (schema.OBS, np.array(spec.outcomes, dtype=object)[spec.outcome_index]),
    }
    return xr.Dataset(variables, coords, {"by": groups.kind or "row"})
