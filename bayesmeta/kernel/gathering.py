"""Statistics of data in pieces: two looks at every piece, one to orthogonalise X and centre y, one to reduce it.

The triangular factors of the pieces, stacked, have that of the whole (a tree of QR factorisations), and the same
reflections turn y: nothing is squared on the way, so that as many digits are kept as in one place.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta.kernel.centring import HETEROGENEOUS, HETEROSCEDASTIC, ROUNDS, heterogeneous, one_sided
from bayesmeta.kernel.likelihood import likelihood
from bayesmeta.kernel.orthogonal import orthonormal, solve
from bayesmeta.kernel.partitioned import PartitionedStatistics, Pieces
from bayesmeta.kernel.statistics import (
    Design,
    Statistics,
    group_information,
    reduce,
    sorted_design,
    typical_of,
)


@dataclass(frozen=True)
class Look:
    """What one piece says of the whole.

    R (k, P), turned_y (k,) : triangular factor of C^-1 X, and Q' C^-1 y. R_X (k, P) : that of X itself.
    information : `group_information`. variances : least and greatest.
    """

    R: np.ndarray
    turned_y: np.ndarray
    R_X: np.ndarray
    information: list[list[np.ndarray]]
    variances: tuple[float, float]
    n_obs: int
    dims: tuple[int, ...]
    n_groups: tuple[int, ...]
    depth: int


@dataclass(frozen=True)
class Centre:
    """How every piece is orthogonalised and centred.

    R (P, P), rotations : C^-1 X R^-1, times every rotation, is orthonormal at some Psi. beta (P,) : what is subtracted.
    """

    R: np.ndarray
    rotations: tuple[np.ndarray, ...]
    beta: np.ndarray

    @property
    def total_R(self) -> np.ndarray:
        R = self.R
        for M in self.rotations:
            R = np.linalg.solve(M, R)
        return R


def look_at(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Look:
    """The first look; arguments as those of `statistics`, of one data set."""
    design = sorted_design(X, Z, groups, S)
    Q, R = _orthonormal(design)
    white_y = design.white.whiten(y[design.plan.order][:, None, None])[:, 0, 0]
    variances = S[0][S[1] == S[2]]
    return Look(
        R=R,
        turned_y=Q.T @ white_y,
        R_X=np.linalg.qr(X, mode="r"),
        information=group_information(design),
        variances=(float(variances.min()), float(variances.max())),
        n_obs=len(y),
        dims=tuple(z.shape[1] for z in Z),
        n_groups=tuple(int(g.max()) + 1 for g in groups),
        depth=len(design.plan.codes),
    )


def _orthonormal(design: Design) -> tuple[np.ndarray, np.ndarray]:
    """Q (n, k) and R (k, P) of the whitened X of a piece, which may have fewer rows than columns."""
    white_X = design.columns[:, design.columns.shape[1] - design.X.shape[1] :, 0]
    if len(white_X) < white_X.shape[1]:
        Q, R = np.linalg.qr(white_X)
        return Q, R
    Q, R = orthonormal(white_X[None])
    return Q[0], R[0]


def piece_statistics(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
    centre: Centre,
) -> Statistics:
    """The second look: statistics of one piece, whose `Q`, `logdet_S` and leaves add up to those of the whole."""
    design = sorted_design(X, Z, groups, S)
    Q, R = _orthonormal(design)
    own = Q @ np.linalg.solve(centre.R.T, R.T).T
    for M in centre.rotations:
        own = own @ M
    design.columns[:, design.columns.shape[1] - X.shape[1] :, 0] = own
    design = replace(design, R=centre.total_R[:, :, None])
    with np.errstate(divide="ignore"):  # log|X'X| of a piece alone, which nobody asks
        return reduce(design, y[design.plan.order][:, None], centre.beta[:, None])


def totals_of_piece(stats: Statistics) -> tuple[np.ndarray, ...]:
    """Of one piece Cochran's Q and log|S|."""
    return stats.Q, stats.logdet_S.sum(0, keepdims=True)


def first_centre(looks: Sequence[Look]) -> Centre:
    """Orthonormal at Psi = 0, and centred by the fixed-effects fit."""
    Q, R = orthonormal(np.concatenate([look.R for look in looks])[None])
    turned = Q[0].T @ np.concatenate([look.turned_y for look in looks])
    return Centre(R[0], (), solve(R, turned[None, :, None])[0, :, 0])


def gathered(looks: Sequence[Look], reduced: Callable[[Centre], Pieces]) -> PartitionedStatistics:
    """The statistics of all pieces; `centring.statistics` in the same steps.

    looks : at every piece.  reduced : the pieces' statistics at a centre, by `piece_statistics`.
    """
    centre = first_centre(looks)
    stats = _at(centre, looks, reduced)
    excess = stats.Q / max(1, stats.n_obs - stats.n_coef)
    ratio = max(look.variances[1] for look in looks) / min(look.variances[0] for look in looks)
    most = np.maximum(excess, ratio if ratio > HETEROSCEDASTIC else 0.0)
    if most.max() <= HETEROGENEOUS or not any(stats.dims):
        return stats
    near, psi = stats, heterogeneous(stats, most)
    for _ in range(ROUNDS):
        value = likelihood(near, psi, restricted=False)
        rotate = one_sided(value.top.M)
        rotations = (*centre.rotations, value.top.M[0]) if rotate else centre.rotations
        centre = Centre(centre.R, rotations, value.beta[0])
        near = _at(centre, looks, reduced)
        if not rotate:
            break
    return replace(near, beta_fixed=stats.beta_fixed, Q=stats.Q)


def _at(centre: Centre, looks: Sequence[Look], reduced: Callable[[Centre], Pieces]) -> PartitionedStatistics:
    pieces = reduced(centre)
    Q, logdet_S = pieces.totals(totals_of_piece)
    R_X = np.linalg.qr(np.concatenate([look.R_X for look in looks]), mode="r")
    first, beta = looks[0], centre.beta[:, None]
    return PartitionedStatistics(
        pieces=pieces,
        n_obs=sum(look.n_obs for look in looks),
        n_coef=len(beta),
        dims=first.dims,
        n_groups=tuple(sum(of_level) for of_level in zip(*(look.n_groups for look in looks), strict=True)),
        depth=first.depth,
        beta0=beta,
        R=centre.total_R[:, :, None],
        beta_fixed=beta,
        Q=Q,
        logdet_S=logdet_S,
        logdet_XX=2 * float(np.log(np.abs(np.diag(R_X))).sum()),
        typical=typical_of(_joined([look.information for look in looks])),
    )


def _joined(of_pieces: Sequence[list[list[np.ndarray]]]) -> list[list[np.ndarray]]:
    return [
        [np.concatenate(of_effect) for of_effect in zip(*of_level, strict=True)]
        for of_level in zip(*of_pieces, strict=True)
    ]
