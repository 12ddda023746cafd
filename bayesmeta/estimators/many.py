"""Maximum likelihood for many data sets of one design: the search of `search`, all data sets advancing together.

A data set that does not pass the convergence test here is given to the search of one data set, so that the answer is
not worse than that of fitting it alone.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta.errors import ConvergenceWarning
from bayesmeta.estimators.batch import (
    BoolArray,
    FloatArray,
    Objectives,
    Points,
    climb,
    eigen,
    norms,
    polish,
    residual_gradients,
)
from bayesmeta.estimators.free import Free
from bayesmeta.estimators.ml import fit_likelihood
from bayesmeta.estimators.search import (
    EDGE_LOGIT,
    EDGE_SHARE,
    MOST_POLISHING,
    OFF_LIMIT,
    OFF_ZERO,
    POLISHED_ENOUGH,
    SMALL_SD,
)
from bayesmeta.estimators.steps import FLAT, GAIN
from bayesmeta.kernel import likelihood, statistics
from bayesmeta.spec import SamplingCovariance, Spec

TOLERANCE = 1e-6  # of the convergence test, as the default of one data set
STARTS = ((1.0, 3), (25.0, 1))  # of the searches of one data set: multiples of the sampling variances, EM steps


@dataclass(frozen=True)
class ManyEstimates:
    """Estimates of B data sets.

    beta, beta_se (B, P); psi one (B, a, a) array per level; xi, at_boundary (B, F); loglik, converged (B,).
    """

    beta: FloatArray
    beta_se: FloatArray
    psi: tuple[FloatArray, ...]
    xi: FloatArray
    loglik: FloatArray
    converged: BoolArray
    at_boundary: BoolArray


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

    def take(self, which: slice) -> "DataSets":
        return replace(self, y=self.y[which], S=self.S if self.S.ndim == 1 else self.S[which])

    def one(self, i: int) -> Spec:
        """The specification of one data set."""
        value = self.S if self.S.ndim == 1 else self.S[i]
        return replace(self.spec, y=self.y[i], S=SamplingCovariance(value, self.row, self.col))


@dataclass(frozen=True)
class Found:
    """Finished searches: the points, which parameters were set to an edge (F, B), and Hessians (B, F, F)."""

    points: Points
    at_edge: BoolArray
    H: FloatArray

    def put(self, which: np.ndarray, other: "Found") -> "Found":
        at_edge, H = self.at_edge.copy(), self.H.copy()
        at_edge[:, which], H[which] = other.at_edge, other.H
        return Found(self.points.put(which, other.points), at_edge, H)

    def take(self, which: np.ndarray) -> "Found":
        return Found(self.points.take(which), self.at_edge[:, which], self.H[which])


def fit_likelihood_many(
    data: DataSets, typical: tuple[FloatArray, ...], restricted: bool, start: FloatArray | None = None
) -> ManyEstimates:
    """Maximise the (restricted) log-likelihood of every data set.

    typical : per level the natural size of every effect's SD, by which the searches measure their steps.
    start : free parameters (F,) or (F, B) at which the first searches begin; by default SDs of the typical size.
    """
    spec, free = data.spec, Free(data.spec, typical)
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    stats = statistics(data.y - spec.offset, spec.X, Z, index, (data.S, data.row, data.col))
    if free.size == 0:
        none = np.zeros((stats.n_data_sets, 0))
        return _estimates(Objectives(stats, free, restricted), none.T, np.ones(len(none), bool), none.astype(bool))
    objectives = Objectives(stats, free, restricted)
    first = free.start([np.diag(t**2) for t in typical]) if start is None else start
    z = np.reshape(first, (free.size, -1)) / free.units[:, None]
    found = maximise_many(objectives, np.array(np.broadcast_to(z, (free.size, objectives.size))))
    residual = np.where(found.at_edge, 0.0, residual_gradients(free, found.points))
    test = TOLERANCE * max(1.0, np.sqrt(stats.n_obs / 100))
    converged = np.isfinite(found.points.loglik) & (np.abs(residual).max(axis=0) <= test)
    at_boundary = found.at_edge | (found.points.z <= free.lower[:, None])
    together = _estimates(objectives, found.points.z, converged, at_boundary.T)
    return _alone(data, restricted, together)


def maximise_many(objectives: Objectives, z: FloatArray) -> Found:
    """Searches from z (F, B), and from the starts of `search` for the data sets that it gives a second one."""
    free = objectives.free
    best = local_searches(objectives, z)
    inside = interiors(free, best.points, best.at_edge)
    curved = eigen(best.H, best.points.z, inside)[0].min(axis=1)
    again = ~inside.all(axis=0) | (curved <= FLAT) | (norms(free, best.points) > TOLERANCE)
    again |= any(v.structure.name == "unstr" and v.dim >= 3 for v in free.spec.levels)
    which = np.flatnonzero(again)
    for multiple, em_steps in STARTS if len(which) else ():
        here = objectives.take(which)
        second = local_searches(here, moment_starts(here, multiple, em_steps))
        higher = np.flatnonzero(second.points.loglik > best.points.loglik[which] + GAIN)
        best = best.put(which[higher], second.take(higher))
    return best


def moment_starts(objectives: Objectives, multiple: float, em_steps: int) -> FloatArray:
    """z (F, B) after EM steps from diagonal Psi of `multiple` times the typical sampling variances."""
    stats, free, B = objectives.stats, objectives.free, objectives.size
    moments = [np.repeat(np.diag(multiple * t**2)[None], B, axis=0) for t in free.typical]
    for _ in range(em_steps):
        scores = likelihood(stats, moments, objectives.restricted, gradient=True).scores
        assert scores is not None
        moments = [p + 2 / n * p @ s @ p for p, s, n in zip(moments, scores, stats.n_groups, strict=True)]
    return np.column_stack([free.start([p[i] for p in moments]) for i in range(B)]) / free.units[:, None]


def local_searches(objectives: Objectives, z: FloatArray) -> Found:
    """Searches from z (F, B), with the edges tried and left again where the likelihood rises inwards."""
    free = objectives.free
    points = from_zero(objectives, climb(objectives, z))
    points, at_edge = try_edges(objectives, points)
    for which, again in list(inward_starts(free, points, at_edge)):
        here = objectives.take(which)
        inward, edge = try_edges(here, climb(here, again))
        higher = np.flatnonzero(inward.loglik > points.loglik[which] + GAIN)
        points = points.put(which[higher], inward.take(higher))
        at_edge[:, which[higher]] = edge[:, higher]
    inside = interiors(free, points, at_edge)
    points, H = polish(objectives, points, inside)
    for _ in range(MOST_POLISHING - 1):
        residual = np.where(inside, residual_gradients(free, points), 0.0)
        which = np.flatnonzero(np.abs(residual).max(axis=0) > POLISHED_ENOUGH)
        if not len(which):
            break
        polished, H[which] = polish(objectives.take(which), points.take(which), inside[:, which])
        points = points.put(which, polished)
    return Found(points, at_edge, H)


def from_zero(objectives: Objectives, points: Points) -> Points:
    """The points, or where one SD at zero or all of them give a higher likelihood, what a climb from there reaches."""
    zeros = objectives.free.zero_positions
    best, best_z = points.loglik + GAIN, points.z.copy()
    for moved in [[i] for i in zeros] + ([list(zeros)] if len(zeros) > 1 else []):
        z = points.z.copy()
        z[moved] = 0.0
        loglik = objectives.loglik(z)
        best_z, best = np.where(loglik > best, z, best_z), np.fmax(best, loglik)
    which = np.flatnonzero(best > points.loglik + GAIN)
    if not len(which):
        return points
    lower = climb(objectives.take(which), best_z[:, which])
    higher = np.flatnonzero(lower.loglik > points.loglik[which])
    return points.put(which[higher], lower.take(higher))


def try_edges(objectives: Objectives, points: Points) -> tuple[Points, BoolArray]:
    """Set small SDs to zero and near-limit correlations to their limits where that costs nothing; which are there."""
    free = objectives.free
    at_edge = np.zeros(points.z.shape, bool)
    candidates = [(i, np.abs(points.z[i]) < SMALL_SD, np.zeros(objectives.size)) for i in free.zero_positions]
    for i in free.rho_positions:
        share = (1 + np.tanh(-np.abs(points.z[i]) / 2)) / 2
        candidates.append((i, share < EDGE_SHARE, np.copysign(EDGE_LOGIT, points.z[i])))
    for i, near, value in candidates:
        which = np.flatnonzero(near)
        if len(which):
            z = points.z[:, which]
            z[i] = value[which]
            moved = objectives.take(which)(z)
            costless = moved.loglik >= points.loglik[which] - GAIN
            points = points.put(which[costless], moved.take(np.flatnonzero(costless)))
            at_edge[i, which[costless]] = True
    return points, at_edge


def inward_starts(free: Free, points: Points, at_edge: BoolArray) -> Iterator[tuple[np.ndarray, FloatArray]]:
    """Data sets, and starts for them a little inside the edges where they ended; see `search.inward_starts`."""
    on_edge = at_edge | (points.z <= free.lower[:, None])
    zeros = np.zeros_like(on_edge)
    zeros[free.zero_positions] = on_edge[free.zero_positions]
    single = [zeros & (np.arange(free.size) == i)[:, None] & (zeros.sum(axis=0) > 1) for i in free.zero_positions]
    for moved in [zeros, *single]:
        which = np.flatnonzero(moved.any(axis=0))
        if len(which):
            yield which, np.where(moved, OFF_ZERO, points.z)[:, which]
    for i in free.rho_positions:
        level = free.level_of(int(i))
        which = np.flatnonzero(on_edge[level].any(axis=0))
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[level])
        size = np.abs(points.z[sds][:, which])
        for logit, least in ((-OFF_LIMIT, OFF_ZERO), (0.0, size.mean(axis=0)), (OFF_LIMIT, OFF_ZERO)):
            if len(which):
                z = points.z[:, which]
                z[sds] = np.maximum(size, least)
                z[i] = logit
                yield which, z


def interiors(free: Free, points: Points, at_edge: BoolArray) -> BoolArray:
    """Parameters (F, B) that are neither at an edge nor meaningless because the SDs they belong to are zero."""
    inside = ~at_edge & (points.z > free.lower[:, None])
    for i in free.rho_positions:
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[free.level_of(int(i))])
        inside[i] &= (points.z[sds] != 0).sum(axis=0) >= min(2, len(sds))
    return inside


def _estimates(objectives: Objectives, z: FloatArray, converged: BoolArray, at_boundary: BoolArray) -> ManyEstimates:
    psi = objectives.psi(z)
    value = likelihood(objectives.stats, psi, objectives.restricted)
    return ManyEstimates(
        beta=value.beta,
        beta_se=np.sqrt((value.beta_factor**2).sum(axis=2)),
        psi=tuple(psi),
        xi=(z * objectives.free.units[:, None]).T,
        loglik=np.asarray(value.loglik),
        converged=converged,
        at_boundary=at_boundary,
    )


def _alone(data: DataSets, restricted: bool, found: ManyEstimates) -> ManyEstimates:
    """The same, with the data sets that did not converge searched one by one, where that leads higher."""
    arrays = {name: np.array(getattr(found, name)) for name in ("beta", "beta_se", "xi", "loglik", "at_boundary")}
    converged, psi = found.converged.copy(), [np.array(p) for p in found.psi]
    for i in np.flatnonzero(~found.converged):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            alone = fit_likelihood(data.one(int(i)), restricted)
        assert alone.optimizer is not None
        if alone.optimizer.converged or alone.loglik > found.loglik[i] + GAIN:
            one = (alone.beta, np.sqrt(np.diag(alone.beta_cov)), alone.xi, alone.loglik, alone.optimizer.at_boundary)
            for array, value in zip(arrays.values(), one, strict=True):
                array[i] = value
            converged[i] = alone.optimizer.converged
            for level, value in zip(psi, alone.psi, strict=True):
                level[i] = value
    return ManyEstimates(psi=tuple(psi), converged=converged, **arrays)
