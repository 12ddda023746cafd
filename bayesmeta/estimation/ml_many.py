"""Maximum likelihood for many data sets of one design, their climbs advancing together."""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray, IntArray
from bayesmeta.estimation.climb import DECREMENT
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.ml import fit_likelihood
from bayesmeta.estimation.objective import Objective
from bayesmeta.estimation.scan import Starts, starts
from bayesmeta.estimation.search import GAIN, Maxima, maximise
from bayesmeta.kernel import Statistics, likelihood, one_variance, statistics
from bayesmeta.model.spec import SamplingCovariance, Spec

NOWHERE_ELSE = (
    GAIN  # log-likelihood by which a corner must be higher to be a start: where there is nothing else to move
)
CLIMBABLE = -0.5  # the same where the other parameters still move


@dataclass(frozen=True)
class ManyEstimates:
    """Estimates of B data sets.

    beta, beta_se (B, P); psi one (B, a, a) array per level; xi, at_boundary (B, F); loglik, converged (B,). Where each
    row has one random effect also Cochran's Q, the weighted residual sum of squares rss, and n_obs, its rows (B,).
    """

    beta: FloatArray
    beta_se: FloatArray
    psi: tuple[FloatArray, ...]
    xi: FloatArray
    loglik: FloatArray
    converged: BoolArray
    at_boundary: BoolArray
    Q: FloatArray | None = None
    rss: FloatArray | None = None
    n_obs: IntArray | None = None


@dataclass(frozen=True)
class DataSets:
    """Data sets of the design of a specification: y (B, n_obs), and values of S (B, nnz), or (nnz,) for all of them.

    row, col : of the lower triangle of S.
    """

    spec: Spec
    y: FloatArray
    S: FloatArray
    row: np.ndarray
    col: np.ndarray

    @cached_property
    def extremes(self) -> tuple[float, float]:
        """The smallest and the largest value of S."""
        return float(self.S.min()), float(self.S.max())

    def take(self, which: slice) -> "DataSets":
        return replace(self, y=self.y[which], S=self.S if self.S.ndim == 1 else self.S[which])

    def one(self, i: int) -> Spec:
        """The specification of one data set."""
        value = self.S if self.S.ndim == 1 else self.S[i]
        return replace(self.spec, y=self.y[i], S=SamplingCovariance(value, self.row, self.col))


def fit_likelihood_many(
    data: DataSets,
    typical: tuple[FloatArray, ...],
    restricted: bool,
    start: FloatArray | None = None,
    tolerance: float = DECREMENT,
) -> ManyEstimates:
    """Maximise the (restricted) log-likelihood of every data set.

    typical : per level the natural size of every effect's SD, by which the searches measure their steps.
    start : free parameters (B, F) at which further climbs begin.
    """
    spec = data.spec
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    stats = statistics(data.y - spec.offset, spec.X, Z, index, (data.S, data.row, data.col))
    return fit_statistics(stats, Free(spec, typical), restricted, start, tolerance)


def fit_statistics(
    stats: Statistics,
    free: Free,
    restricted: bool,
    start: FloatArray | None = None,
    tolerance: float = DECREMENT,
) -> ManyEstimates:
    """The same from sufficient statistics of B data sets."""
    objective, B = Objective(stats, free, restricted), stats.n_data_sets
    z, converged, at_edge = np.zeros((B, 0)), np.ones(B, bool), np.zeros((B, 0), bool)
    if free.size:
        begin = starts(objective)
        if start is not None:
            own = Starts(start / free.units, np.arange(B), 0)
            begin = replace(begin, z=np.concatenate([own.z, begin.z]), owner=np.concatenate([own.owner, begin.owner]))
        maxima = maximise(objective, begin, tolerance=tolerance)
        z, converged, at_edge = _or_from_corners(objective, maxima, tolerance)
        at_edge = at_edge | (z <= free.lower)
    psi = free.psi_batch(z.T)
    value = likelihood(stats, psi, restricted)
    return ManyEstimates(
        beta=value.beta,
        beta_se=np.sqrt((value.beta_factor**2).sum(axis=2)),
        psi=tuple(psi),
        xi=z * free.units,
        loglik=np.asarray(value.loglik),
        converged=converged,
        at_boundary=at_edge,
    )


def _or_from_corners(objective: Objective, maxima: Maxima, tolerance: float) -> tuple[FloatArray, BoolArray, BoolArray]:
    """The maxima, or higher ones near points where variances are zero: z and edges (B, F), and what has converged (B,).

    Few starts serve many data sets, and of few studies a likelihood may have a narrow mode at zero beside a flat one.
    """
    z, converged, at_edge = maxima.points.z.copy(), maxima.converged.copy(), maxima.at_edge.copy()
    reach = NOWHERE_ELSE if objective.free.size == 1 else CLIMBABLE
    units, begin, owner = objective.free.units, [], []
    for positions, others in _corners(objective.free):
        rows = np.flatnonzero((z[:, positions] != 0).any(1))
        if not len(rows):
            continue
        corner, variance = z[rows], ((z[rows] * units)[:, positions] ** 2).mean(1, keepdims=True)
        corner[:, positions] = 0.0
        corner[:, others] = np.sqrt(corner[:, others] ** 2 + variance / units[others] ** 2)
        near = objective.take(rows).loglik(corner) > maxima.points.loglik[rows] + reach
        begin.append(corner[near])
        owner.append(rows[near])
    if not owner:
        return z, converged, at_edge
    which, place = np.unique(np.concatenate(owner), return_inverse=True)
    if len(which):
        both = Starts(np.concatenate([z[which], *begin]), np.concatenate([np.arange(len(which)), place]), 0)
        more = maximise(objective.take(which), both, tolerance=tolerance)
        z[which], converged[which], at_edge[which] = more.points.z, more.converged, more.at_edge
    return z, converged, at_edge


def _corners(free: Free) -> list[tuple[IndexArray, IndexArray]]:
    """Parameters that are zero at each corner of the family, and SDs of another level that take over their variance.

    Zero are every SD by itself, those of a level, and those of all.
    """
    parts = [
        (v, place.start + v.structure.zero_positions(v.dim)) for v, place in free.parts() if place.stop > place.start
    ]
    sds = [positions for v, positions in parts if v.dim == 1 or not v.structure.unrestricted]
    none = np.arange(0)
    alone = [(np.array([i]), none) for positions in sds for i in positions]
    levels = [(positions, none) for _, positions in parts]
    handed_over = [(own, other) for own in sds for other in sds if own is not other]
    everything = [(np.concatenate([positions for _, positions in parts]), none)]
    corners = {
        tuple(tuple(int(i) for i in part) for part in each) for each in [*alone, *levels, *handed_over, *everything]
    }
    return [(np.array(own), np.array(others, np.int64)) for own, others in sorted(corners) if own]


OPTIONS = ("start", "max_iterations", "tolerance", "verbose")
register(
    Method(
        name="reml",
        label="restricted maximum likelihood (REML)",
        short="REML",
        estimate=partial(fit_likelihood, restricted=True),
        options=OPTIONS,
        likelihood="restricted",
        together=partial(fit_likelihood_many, restricted=True),
        one_variance=partial(one_variance.estimates_of, restricted=True),
        reference="Harville DA (1977). Maximum likelihood approaches to variance component estimation and to related "
        "problems. Journal of the American Statistical Association 72:320-338.",
    )
)
register(
    Method(
        name="ml",
        label="maximum likelihood (ML)",
        short="ML",
        estimate=partial(fit_likelihood, restricted=False),
        options=OPTIONS,
        likelihood="full",
        together=partial(fit_likelihood_many, restricted=False),
        one_variance=partial(one_variance.estimates_of, restricted=False),
        reference="Hardy RJ, Thompson SG (1996). A likelihood approach to meta-analysis with random effects. "
        "Statistics in Medicine 15:619-629.",
    )
)
