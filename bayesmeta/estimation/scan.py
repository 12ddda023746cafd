"""Where climbs begin: the likelihood at points spread over the family, and moment estimates."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IndexArray
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Objective
from bayesmeta.kernel import likelihood
from bayesmeta.model.partitioned_spec import InSearch
from bayesmeta.model.spec import Spec

SMALLEST = 0.05  # SD in units of the typical sampling SD, of the points of a scan
LARGEST = 4.0  # the same, times the root of the excess of Q over its degrees of freedom
AT_ZERO = 0.1  # share of the points at which an SD is zero
SEED = 1  # of the Sobol points
APART = 0.35  # distance between starts in the unit cube, times sqrt(F)
WELL_DETERMINED = 4  # groups for every parameter of a level from which likelihoods have hardly ever two modes
MOMENTS_FIRST = (
    5  # groups for every parameter from which moments lead to the highest mode, unless an end leaves a doubt
)
ONE_MODE = 8  # groups for every parameter of a level from which moments alone lead to the only mode,
ALIKE = 50.0  # where the sampling variances are no more unequal than this: the ratio of their outer deciles
LARGEST_BATCH, FEWEST = 1_000, 3  # parameters times climbs, since steps cost the cube of their number; climbs even so
UNEQUAL = 1e6  # ratio of sampling variances from which the range of a scan grows with it
CHEAP = 5_000  # points times groups up to which a grid costs less than moment estimates
MOMENTS = ((1.0, 3), (25.0, 1))  # multiples of the typical sampling variances, and EM steps from there


@dataclass(frozen=True)
class Effort:
    """How much is looked at before the climbs of one data set begin.

    sides, grid_climbs : points along every axis of a grid, and climbs, by the number of parameters. points, climbs : of
    a Sobol sequence, where there are more parameters. moments : how many of `MOMENTS` are among those climbs.
    if_in_doubt : climbs of a further scan, where the first ones leave a doubt.
    """

    sides: Mapping[int, int]
    grid_climbs: Mapping[int, int]
    points: int
    climbs: int
    moments: int
    if_in_doubt: int = 0


ALONE = Effort({1: 60, 2: 16}, {1: 3, 2: 4}, points=128, climbs=16, moments=2)
EASY = Effort({1: 60, 2: 16}, {1: 3, 2: 4}, points=32, climbs=2, moments=1, if_in_doubt=8)
FIRM = Effort({1: 60, 2: 16}, {1: 3, 2: 4}, points=64, climbs=4, moments=1, if_in_doubt=8)  # correlations shared
MANY = Effort({1: 12, 2: 5}, {1: 2, 2: 2}, points=32, climbs=3, moments=1, if_in_doubt=3)
MANY_BOUNDED = Effort({1: 12, 2: 5}, {1: 2, 2: 2}, points=64, climbs=6, moments=1)  # maxima are many where SDs are zero


@dataclass(frozen=True)
class Starts:
    """Where climbs begin: z (N, F), and for each its data set (N,); `scanned` points of each were looked at.

    provisional : whether a data set whose climbs end near an edge of the family, or apart, deserves more starts.
    """

    z: FloatArray
    owner: IndexArray
    scanned: int
    provisional: bool = False


@cache
def sobol(n: int, F: int, seed: int, batch: int = 0) -> FloatArray:
    """(n, F) points of the unit cube: of one sequence, the first n, the next n and so on."""
    from scipy.stats import qmc

    return np.asarray(qmc.Sobol(F, rng=np.random.default_rng(seed)).random(n * (batch + 1))[n * batch :])


@cache
def grid(n: int, F: int) -> FloatArray:
    """(n ** F, F) points of the unit cube, its faces included."""
    # one point where SDs are zero: several would be a plateau
    axes = np.meshgrid(*[np.append(0.0, np.linspace(AT_ZERO, 1.0, n - 1))] * F, indexing="ij")
    return np.stack([axis.ravel() for axis in axes], axis=1)


def sd_of(share: FloatArray, largest: float, smallest: float = SMALLEST) -> FloatArray:
    """SD, in units of the typical sampling SD, of a share: zero up to `AT_ZERO`, then log-uniform."""
    part = (share - AT_ZERO) / (1 - AT_ZERO)
    return np.where(share < AT_ZERO, 0.0, smallest * (largest / smallest) ** part)


def reach(spec: Spec | InSearch) -> float:
    """1, or where the sampling SDs of an outcome are very unequal the largest of their ratios: the scan's range grows
    by it, since the typical one says nothing of the others."""
    ratio = max(v.max() / v.min() for v in _variances(spec) if len(v))
    return float(np.sqrt(ratio)) if ratio > UNEQUAL else 1.0


def _variances(spec: Spec | InSearch) -> list[FloatArray]:
    return [spec.S.variances[spec.outcome_index == j] for j in range(len(spec.outcomes))]


def starts(objective: Objective, batch: int = 0) -> Starts:
    """The best points of a scan, far from one another, and with three or more parameters moment estimates.

    With many groups climbs begin at moment estimates alone, provisionally, where the scan would cost most and hardly
    ever finds more: of many data sets, and where one has correlations that several effects share.

    batch : 0, or the number of a further scan of Sobol points for more starts.
    """
    free, n_groups = objective.free, objective.stats.n_groups
    effort = effort_of(objective)
    side = effort.sides.get(free.size)
    cheap = side is not None and side**free.size * sum(n_groups) <= CHEAP
    one_mode = not cheap and well_determined(free, ONE_MODE) and variances_alike(free.spec)
    provisional = effort.if_in_doubt > 0 and not batch
    everyone = np.arange(objective.stats.n_data_sets)
    bounded = bool(np.isfinite(free.lower).any())  # at bounds of SDs there are more maxima
    moments_first = provisional and effort is not EASY and not bounded and many_groups(free, MOMENTS_FIRST)
    if one_mode or moments_first:
        return Starts(moment_starts(objective, *MOMENTS[0]), everyone, 0, moments_first and not one_mode)
    share = grid(side, free.size) if side else sobol(effort.points, free.size, SEED, batch)
    excess = np.median(objective.stats.Q) / max(1, objective.stats.n_obs - objective.stats.n_coef)
    wider = reach(free.spec)
    largest = LARGEST * float(np.sqrt(max(1.0, excess))) * wider
    z = free.scatter(share.T, lambda u: sd_of(u, largest, SMALLEST / wider)).T
    loglik = scan(objective, z)
    if side:
        point, owner = diverse(share, peaks(loglik, share), effort.grid_climbs[free.size], 0.0)
        return Starts(z[point], owner, len(share))
    moments = [] if batch else [moment_starts(objective, *how) for how in MOMENTS[: effort.moments]]
    climbs = (batch and effort.if_in_doubt) or effort.climbs
    climbs = min(climbs, max(FEWEST, LARGEST_BATCH // free.size))
    point, owner = diverse(share, loglik, climbs - len(moments), APART)
    owners = np.concatenate([*[everyone] * len(moments), owner])
    return Starts(np.concatenate([*moments, z[point]]), owners, len(share), provisional)


def effort_of(objective: Objective) -> Effort:
    """The effort that a problem deserves: less for each of many data sets, and where one mode is likely."""
    free = objective.free
    bounded, few = np.isfinite(free.lower).any(), not many_groups(free, WELL_DETERMINED)
    if objective.stats.n_data_sets > 1 and not (bounded and few):
        return MANY_BOUNDED if bounded else MANY
    if few:
        return ALONE
    return EASY if well_determined(free, WELL_DETERMINED) else FIRM


def further(objective: Objective) -> bool:
    """Whether further scans for more starts make sense: the points of a grid would be the same again."""
    size = objective.free.size
    return effort_of(objective) is ALONE and size not in ALONE.sides and size * ALONE.climbs <= LARGEST_BATCH


def well_determined(free: Free, groups: int) -> bool:
    """Whether few starts will do: that many groups for each parameter of every level, and Psi linear in its parameters.

    Correlations that several effects share make more modes, however many the groups.
    """
    return many_groups(free, groups) and all(
        v.structure.linear(v.dim) for v, place in free.parts() if place.stop > place.start
    )


def many_groups(free: Free, groups: int) -> bool:
    """Whether every level has that many groups for each of its parameters, one that cannot be identified apart."""
    return free.groups_per_parameter >= groups


def variances_alike(spec: Spec | InSearch) -> bool:
    """Whether no outcome has sampling variances of very different sizes, between which a second mode may hide."""
    return all(np.quantile(v, 0.9) <= ALIKE * np.quantile(v, 0.1) for v in _variances(spec) if len(v))


def scan(objective: Objective, z: FloatArray) -> FloatArray:
    """(P, B) log-likelihoods of all data sets at points z (P, F)."""
    if objective.stats.n_data_sets == 1:
        return objective.loglik(z)[:, None]
    B = objective.stats.n_data_sets
    return np.stack([objective.loglik(np.broadcast_to(at, (B, len(at)))) for at in z])


def peaks(loglik: FloatArray, share: FloatArray) -> FloatArray:
    """Log-likelihoods on a grid with those below a neighbour's replaced by minus infinity."""
    F = share.shape[1]
    n = round(len(share) ** (1 / F))
    values = loglik.reshape(*[n] * F, loglik.shape[1])
    padded = np.pad(values, [(1, 1)] * F + [(0, 0)], constant_values=-np.inf)
    around = padded
    for axis in range(F):
        around = np.maximum.reduce([np.take(around, range(i, i + n), axis) for i in range(3)])
    return np.where(values >= around, values, -np.inf).reshape(loglik.shape)


def diverse(share: FloatArray, loglik: FloatArray, most: int, apart: float) -> tuple[IndexArray, IndexArray]:
    """The best points of every data set, each at a distance from those before it; points and their data sets."""
    near = _near(share, apart)
    left, owners = np.where(np.isfinite(loglik), loglik, -np.inf), np.arange(loglik.shape[1])
    point, owner = [], []
    for _ in range(most):
        best = left.argmax(0)
        some = np.isfinite(left[best, owners])
        point.append(best[some])
        owner.append(owners[some])
        left = np.where(near[:, best] & some, -np.inf, left)
    return np.concatenate(point), np.concatenate(owner)


def _near(share: FloatArray, apart: float) -> BoolArray:
    """(P, P) whether two points are at most a distance apart."""
    if not apart:
        return np.eye(len(share), dtype=bool)
    return np.asarray(np.linalg.norm(share[:, None] - share[None], axis=2) <= apart * np.sqrt(share.shape[1]))


def moment_starts(objective: Objective, multiple: float, em_steps: int) -> FloatArray:
    """z (B, F) after EM steps from diagonal Psi of `multiple` times the typical sampling variances.

    EM for Psi_l: Psi + 2/n_l Psi (d loglik / d Psi) Psi, which is the mean of E(b b') given the data.
    """
    stats, free = objective.stats, objective.free
    moments = [np.repeat(np.diag(multiple * t**2)[None], stats.n_data_sets, axis=0) for t in free.typical]
    before = moments
    for _ in range(em_steps):
        scores = _scores(objective, moments)
        if scores is None:
            moments = before
            break
        before = moments
        moments = [p + 2 / n * p @ s @ p for p, s, n in zip(moments, scores, stats.n_groups, strict=True)]
    return free.starts(moments).T


@np.errstate(all="ignore")  # of a Psi that rounding made indefinite; the step that led there is taken back
def _scores(objective: Objective, psi: Sequence[FloatArray]) -> Sequence[FloatArray] | None:
    """Scores of every Psi (B, a, a); None where one of them has no likelihood."""
    try:
        scores = likelihood(objective.stats, psi, objective.restricted, gradient=True).scores
    except np.linalg.LinAlgError:
        return None
    assert scores is not None
    return scores if all(np.isfinite(s).all() for s in scores) else None
