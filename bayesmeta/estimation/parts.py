"""One model fitted to many parts of its data: without each group, to subsets, to the first groups.

A part is the same rows with those that it leaves out set to zero, so that all parts are data sets of one design, whose
climbs begin at the estimates from all rows and advance together.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from functools import cached_property, partial

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.climb import DECREMENT, FIRST_RADIUS, NEARLY, bounded_steps, local
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method
from bayesmeta.estimation.objective import Objective, Points
from bayesmeta.estimation.parallel import ALONE, Jobs
from bayesmeta.estimation.scan import ONE_MODE, Starts, starts, variances_alike, well_determined
from bayesmeta.estimation.search import maximise, near_edges
from bayesmeta.kernel import Likelihood, Statistics, likelihood, part_statistics
from bayesmeta.kernel.affected import affected_blocks, changes
from bayesmeta.model.identification import ALIASED
from bayesmeta.model.spec import Spec
from bayesmeta.model.subset import of_rows

BLOCK = 60_000  # observations that are worked through together: few calls, and arrays that stay near the processor
LAST = 1e-9  # standard errors from its maximum at which the search for a part need not be tested once more
TURN = 1e-3  # relative step of the differences that tell how curvatures turn
UNLIKE = 10.0  # times the share of the data that a part lacks: by how much its third derivatives may be others
FLAT = 1e-7  # curvature and slope for relative steps below which a likelihood may say nothing of a parameter
MANY = 100  # parts with few groups, of more than which a smaller scan for all takes the place of one for each
FEW = 4  # groups left for each parameter, with fewer than which climbs begin as if nothing were known of a part


@dataclass(frozen=True)
class PartFits:
    """Estimates from B parts of the data; NaN where a part does not identify the coefficients.

    beta (B, P); beta_cov (B, P, P); psi per level (B, a, a); xi (B, F); rss (B,) the residual sum of squares weighted
    by the marginal covariance; beta_fixed (B, P) and Q (B,), the fit at Psi = 0 and Cochran's Q; converged (B,).
    identified (B,) whether the rows of a part tell all coefficients apart.
    """

    identified: BoolArray
    beta: FloatArray
    beta_cov: FloatArray
    psi: tuple[FloatArray, ...]
    xi: FloatArray
    rss: FloatArray
    beta_fixed: FloatArray
    Q: FloatArray
    converged: BoolArray


@dataclass(frozen=True, eq=False)
class Here:
    """The likelihood of all rows at their estimates.

    points : the only one.  residual : (n_obs,).  beta_cov : (P, P).
    """

    points: Points
    residual: FloatArray
    beta_cov: FloatArray


@dataclass(frozen=True, eq=False)
class Whole:
    """What parts are fitted from: the model with all its rows, and the estimates from them.

    xi : (F,) free parameters of the fit to all rows.
    """

    spec: Spec
    method: Method
    xi: FloatArray

    @cached_property
    def free(self) -> Free:
        return Free(self.spec, self.spec.statistics.typical)

    @cached_property
    def here(self) -> "Here":
        z = self.xi[None] / self.free.units
        value = likelihood(self.spec.statistics, self.free.psi_batch(z.T), restricted=False)
        residual = self.spec.y - self.spec.offset - self.spec.X @ value.beta[0]
        points = Objective(self.spec.statistics, self.free, self.restricted)(z)
        return Here(points, residual, value.beta_cov[0])

    @cached_property
    def turning(self) -> FloatArray:
        """(F, F, F) derivatives of the negative Hessian of all rows, the last axis by the parameter that moves."""
        z, F = self.here.points.z, self.free.size
        step = np.diag(TURN * np.maximum(1.0, np.abs(z[0])))
        H = Objective(self.spec.statistics, self.free, self.restricted)(np.concatenate([z + step, z - step])).H
        return np.moveaxis((H[:F] - H[F:]) / (2 * np.diag(step)[:, None, None]), 0, -1)

    @property
    def together(self) -> bool:
        """Whether all parts are fitted at once: methods by moments are solved one part after the other."""
        return self.method.zero_psi or (self.method.searches and self.method.together is not None)

    @property
    def restricted(self) -> bool:
        return self.method.likelihood == "restricted"


def fit_parts(whole: Whole, keep: BoolArray, exact: bool = True, jobs: Jobs = ALONE) -> PartFits:
    """Fit the model to every part.

    Parameters
    ----------
    whole : the model and the fit to all rows.
    keep : (B, n_obs) whether an observation belongs to a part. What is left out are whole components of S.
    exact : False for one Newton step from the estimates of all rows, in place of the maximum.
    jobs : where pieces of the parts are worked on.
    """
    identified = np.concatenate([identifies(whole.spec, keep[piece]) for piece in pieces(keep)])
    fits = _empty(whole, identified)
    which = np.flatnonzero(identified)
    parts = [which[piece] for piece in pieces(keep[which])]
    made = jobs.in_order(partial(_fitted, whole, exact), [keep[own] for own in parts], "parts of the data")
    for own, of_own in zip(parts, made, strict=True):
        _put(fits, own, of_own)
    return fits


def _fitted(whole: Whole, exact: bool, keep: BoolArray) -> PartFits:
    return _together(whole, keep, exact) if whole.together else _one_by_one(whole, keep)


def pieces(keep: BoolArray) -> Iterator[slice]:
    """Slices of parts that are worked through together."""
    step = max(1, BLOCK // max(1, keep.shape[1]))
    for start in range(0, len(keep), step):
        yield slice(start, min(start + step, len(keep)))


def identifies(spec: Spec, keep: BoolArray) -> BoolArray:
    """(B,) whether the rows of a part tell the coefficients apart, by the rule of `identification.check_rank`."""
    P = len(spec.coef)
    if not P:
        return keep.any(1)
    if keep.shape[1] < P:
        return np.zeros(len(keep), bool)
    X = keep[:, :, None] * spec.X
    length = np.linalg.norm(X, axis=1, keepdims=True)
    R = np.linalg.qr(X / np.where(length > 0, length, 1.0), mode="r")
    left = np.abs(np.diagonal(R, axis1=1, axis2=2)).min(1)
    return np.asarray((left > ALIASED) & (keep.sum(1) >= P))


def _empty(whole: Whole, identified: BoolArray) -> PartFits:
    B, P, F = len(identified), len(whole.spec.coef), whole.free.size if whole.method.searches else len(whole.xi)

    def nan(*shape: int) -> FloatArray:
        return np.full((B, *shape), np.nan)

    psi = tuple(nan(level.dim, level.dim) for level in whole.spec.levels)
    return PartFits(identified, nan(P), nan(P, P), psi, nan(F), nan(), nan(P), nan(), np.zeros(B, bool))


def _put(fits: PartFits, which: np.ndarray, made: PartFits) -> None:
    for name in (f.name for f in fields(PartFits)):
        if name == "psi":
            for all_, own in zip(fits.psi, made.psi, strict=True):
                all_[which] = own
        else:
            getattr(fits, name)[which] = getattr(made, name)


def covariance_terms(
    spec: Spec,
) -> tuple[list[FloatArray], list[IntArray], tuple[FloatArray, IntArray, IntArray]]:
    """Of every level Z and the groups of observations, and S, as the kernel takes them."""
    S = spec.S.value, spec.S.row, spec.S.col
    return [level.Z for level in spec.levels], [level.index for level in spec.levels], S


def _statistics(spec: Spec, keep: BoolArray) -> Statistics:
    return part_statistics(spec.y - spec.offset, spec.X, *covariance_terms(spec), keep)


def _together(whole: Whole, keep: BoolArray, exact: bool) -> PartFits:
    stats, free = _statistics(whole.spec, keep), whole.free
    B = len(keep)
    if whole.method.zero_psi or not free.size:
        psi = [np.zeros((B, a, a)) for a in stats.dims] if whole.method.zero_psi else free.psi_batch(np.zeros((0, B)))
        z, converged = np.zeros((B, 0)), np.ones(B, bool)
    else:
        objective = Objective(stats, free, whole.restricted)
        begin = np.broadcast_to(whole.xi / free.units, (B, free.size))
        if exact:
            z, converged = _maxima(whole, objective, _foreseen(whole, keep, begin), keep)
        else:
            z, converged = _one_step(objective, begin), np.ones(B, bool)
        psi = free.psi_batch(z.T)
    value = likelihood(stats, psi, restricted=False)
    return PartFits(
        identified=np.ones(B, bool),
        beta=value.beta,
        beta_cov=value.beta_cov,
        psi=tuple(psi),
        xi=z * free.units if z.shape[1] else z,
        rss=_rss(value),
        beta_fixed=stats.beta_fixed.T,
        Q=stats.Q,
        converged=converged,
    )


def _rss(value: Likelihood) -> FloatArray:
    return np.maximum(value.rss, 0.0)  # of as many coefficients as rows rounding may leave less than nothing


def _maxima(whole: Whole, objective: Objective, begin: FloatArray, keep: BoolArray) -> tuple[FloatArray, BoolArray]:
    """Where the likelihood of every part is highest: z (B, F), and whether the searches passed their test."""
    points, converged = _near(whole, objective, begin, 1 - keep.mean(1))
    z = points.z.copy()
    few = _few_groups(whole, keep)
    one_mode = well_determined(whole.free, ONE_MODE) and variances_alike(whole.spec)
    for which in (few, ~few & (not one_mode)):
        if len(some := np.flatnonzero(which)):
            own = objective.take(some)
            as_alone = which is few and len(some) <= MANY
            scanned = _scanned_alone(whole, keep[some]) if as_alone else starts(own)
            more = maximise(own, _and_from(scanned, points.z[some]))
            z[some], converged[some] = _rounded_off(whole.free, more.points), more.converged
    return _silenced(whole, objective, points, z, keep), converged


def _near(whole: Whole, objective: Objective, begin: FloatArray, lack: FloatArray) -> tuple[Points, BoolArray]:
    """The maxima next to z (B, F), and whether they were reached.  lack : (B,) share of the data that is left out."""
    points, known = _last_step(whole, objective(np.array(begin)), lack)
    rest = np.flatnonzero(~known)
    if not len(rest):
        return points, known
    searched = maximise(objective.take(rest), Starts(points.z[rest], np.arange(len(rest)), 0, provisional=True))
    reached = known.copy()
    reached[rest] = searched.converged
    ends = searched.points
    return points.put(rest, replace(ends, z=_rounded_off(whole.free, ends))), reached


def _rounded_off(free: Free, points: Points) -> FloatArray:
    """The ends z (B, F) of searches, with the last step of Newton that is in sight; what is at an edge stays there."""
    at = local(points, free.lower)
    move, _ = bounded_steps(points, at, free.lower, np.full(len(points.z), FIRST_RADIUS))
    sure = np.isfinite(move).all(1) & (at.curved > 0).all(1) & (at.decrement <= DECREMENT)
    at_edge = (points.z == 0) | (points.z == np.pi)
    return np.where(sure[:, None] & ~at_edge, points.z + move, points.z)


def _last_step(whole: Whole, points: Points, lack: FloatArray) -> tuple[Points, BoolArray]:
    """The points one step of third order on, and whether each is then known to be at its maximum.

    The step d of Newton, and c = -1/2 H^-1 H'[d] d, after which what is left is some c |c| / |d|, and c times by how
    much the third derivatives of a part differ from those of the whole. Near an edge the search has more to try.
    """
    lower = whole.free.lower
    at = local(points, lower)
    move, _ = bounded_steps(points, at, lower, np.full(len(points.z), FIRST_RADIUS))
    z, known = np.where(np.isfinite(move), points.z + move, points.z), np.zeros(len(points.z), bool)
    smooth = np.isfinite(points.loglik) & np.isfinite(move).all(1) & (at.curved > 0).all(1) & ~at.held.any(1)
    some = np.flatnonzero(smooth & (UNLIKE * lack < 1) & (at.decrement < NEARLY))
    if len(some):
        d, H = move[some], points.H[some]
        c = np.linalg.solve(H, -np.einsum("ijk,bk,bj->bi", whole.turning, d, d)[..., None] / 2)[..., 0]
        far, bend = (np.sqrt(np.einsum("bi,bij,bj->b", step, H, step)) for step in (d, c))
        z[some] += c
        known[some] = bend * (bend / np.maximum(far, LAST) + UNLIKE * lack[some]) <= LAST
    return replace(points, z=z), known & ~near_edges(whole.free, z)


def _scanned_alone(whole: Whole, keep: BoolArray) -> Starts:
    """Where `fit` would begin climbs for each of a few parts."""
    alone = [_starts_alone(whole, own) for own in keep]
    owner = np.repeat(np.arange(len(keep)), [len(each.z) for each in alone])
    return Starts(np.concatenate([each.z for each in alone]), owner, alone[0].scanned, alone[0].provisional)


def _starts_alone(whole: Whole, keep: BoolArray) -> Starts:
    """The starts of one part by itself, in the units of the whole: its natural sizes may be others."""
    part = part_of(whole.spec, keep)
    free = Free(part, part.statistics.typical)
    begin = starts(Objective(part.statistics, free, whole.restricted))
    return replace(begin, z=begin.z * free.units / whole.free.units)


def _and_from(scanned: Starts, z: FloatArray) -> Starts:
    owner = np.concatenate([np.arange(len(z)), scanned.owner])
    return Starts(np.concatenate([z, scanned.z]), owner, scanned.scanned, scanned.provisional)


def _few_groups(whole: Whole, keep: BoolArray) -> BoolArray:
    """(B,) which parts have so few groups that their maximum may be another than the one near that of all rows."""
    few = np.zeros(len(keep), bool)
    for level in whole.spec.levels:
        if level.n_free:
            few |= groups_left(level.index, keep) < FEW * level.n_free
    return few


def groups_left(index: np.ndarray, keep: BoolArray) -> np.ndarray:
    """(B,) number of groups of which a part has observations."""
    order = np.argsort(index, kind="stable")
    first = np.flatnonzero(np.diff(index[order], prepend=-1))
    return np.asarray(np.logical_or.reduceat(keep[:, order], first, axis=1).sum(1))


def _silenced(whole: Whole, objective: Objective, points: Points, z: FloatArray, keep: BoolArray) -> FloatArray:
    """The points with zero for parameters of which the rows of a part say nothing: one group has no variance between.

    By REML alone, see `identification.absorbed`: by ML the likelihood rises until they are zero.
    """
    if not objective.restricted:
        return z
    size = np.maximum(np.abs(points.z), 1.0)
    bend = np.abs(np.diagonal(points.H, axis1=1, axis2=2)) * size**2
    quiet = ((bend < FLAT) & (np.abs(points.gradient) * size < FLAT)).any(1)
    for part in np.flatnonzero(quiet):
        z[part, Free(part_of(whole.spec, keep[part]), whole.free.typical).silent] = 0.0
    return z


def _foreseen(whole: Whole, keep: BoolArray, begin: FloatArray) -> FloatArray:
    """About where one Newton step from z (B, F) leads, from what parts lack of the whole; else z itself."""
    spec, here, terms = whole.spec, whole.here, covariance_terms(whole.spec)
    affected = affected_blocks(*terms, keep)
    if affected is None or not np.isfinite(here.points.loglik).all():
        return begin
    B, free = len(keep), whole.free
    psi = free.psi_batch(begin.T)
    lack = changes(affected, spec.X, *terms, psi, here.residual, here.beta_cov if whole.restricted else None)
    by_theta = [
        np.einsum("nij,ijmk->nm", score, D) for score, D in zip(lack.scores, free.directions(begin[:1]), strict=True)
    ]
    points = here.points.take(np.zeros(B, int))
    scores = points.scores + np.concatenate(by_theta, axis=1)
    J = free.theta_jacobian(points.z)
    H = J.mT @ points.observed @ J - free.theta_bend(points.z, scores)
    own = replace(points, gradient=(scores[:, None, :] @ J)[:, 0], H=H)
    move, _ = bounded_steps(own, local(own, free.lower), free.lower, np.full(B, FIRST_RADIUS))
    return np.where(np.isfinite(move), begin + move, begin)


def _one_step(objective: Objective, begin: FloatArray) -> FloatArray:
    """One Newton step from z (B, F), no further than the search takes one."""
    points, lower = objective(np.array(begin)), objective.free.lower
    move, _ = bounded_steps(points, local(points, lower), lower, np.full(len(begin), FIRST_RADIUS))
    return points.z + move


def _one_by_one(whole: Whole, keep: BoolArray) -> PartFits:
    """Methods that are solved directly, such as those by moments."""
    made = _empty(whole, np.ones(len(keep), bool))
    for i, own in enumerate(keep):
        part = part_of(whole.spec, own)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is worth saying of all parts is said once
            try:
                fit = whole.method.estimate(part) if len(part.y) > 1 else None
            except BayesmetaError:
                made.identified[i] = False
                continue
        psi = [np.zeros((a, a)) for a in part.statistics.dims] if fit is None else fit.psi
        value = likelihood(part.statistics, psi, restricted=False)
        made.beta[i], made.beta_cov[i], made.rss[i] = value.beta, value.beta_cov, _rss(value)
        made.beta_fixed[i], made.Q[i] = part.statistics.beta_fixed[:, 0], part.statistics.Q[0]
        made.xi[i] = 0.0 if fit is None else fit.xi
        made.converged[i] = fit is None or fit.optimizer is None or fit.optimizer.converged
        for level, own_psi in zip(made.psi, psi, strict=True):
            level[i] = own_psi
    return made


def part_of(spec: Spec, keep: BoolArray) -> Spec:
    """The specification of the rows that have observations in a part, keep (n_obs,)."""
    rows = np.zeros(len(spec.kept), bool)
    rows[spec.row[keep]] = True
    return of_rows(spec, rows)
