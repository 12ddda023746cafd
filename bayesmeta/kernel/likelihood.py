"""ML and REML log-likelihoods, their profiled coefficients and the scores of Psi."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod

import numpy as np

from bayesmeta.kernel import batched_linalg
from bayesmeta.kernel.elimination import upward
from bayesmeta.kernel.information import Information
from bayesmeta.kernel.mostly_zero import root_of_inverse
from bayesmeta.kernel.orthogonal import solve
from bayesmeta.kernel.partitioned import PartitionedStatistics, sweeps
from bayesmeta.kernel.statistics import Statistics

LOG_2PI = float(np.log(2 * np.pi))
PIECE = 1 << 20  # numbers held for the draws worked on at a time: some ten arrays of this size, 8 MB each


@dataclass(frozen=True)
class Likelihood:
    """Profiled log-likelihood at one Psi; a leading axis over data sets where there are several.

    loglik : log-likelihood, restricted or not; rss : residual sum of squares weighted by the marginal covariance;
    scores : d loglik / d Psi_l (a_l, a_l) per level, or None; information : second derivatives along the
    directions asked for, or None.
    """

    stats: Statistics | PartitionedStatistics
    top: "Top"
    one: bool
    loglik: np.ndarray
    scores: tuple[np.ndarray, ...] | None
    information: Information | None = None

    @property
    def rss(self) -> np.ndarray:
        return self.top.rss[0] if self.one else self.top.rss

    @cached_property
    def beta(self) -> np.ndarray:
        """(P,) coefficients."""
        beta = self._coefficients[0]
        return beta[0] if self.one else beta

    @cached_property
    def beta_factor(self) -> np.ndarray:
        """(P, P) root of the coefficients' covariance: Var(beta) = factor factor'."""
        factor = self._coefficients[1]
        return factor[0] if self.one else factor

    @cached_property
    def _coefficients(self) -> tuple[np.ndarray, np.ndarray]:
        return coefficients(self.stats, self.top)

    @property
    def beta_cov(self) -> np.ndarray:
        """(P, P) covariance of the coefficients."""
        return np.asarray(self.beta_factor @ self.beta_factor.mT)


def as_batch(stats: Statistics | PartitionedStatistics, psi: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Psi as (a, a, B, 1) for every level with effects at or below it, from (a, a) or (B, a, a)."""
    return [matrix_first(p) for p in psi[: stats.depth]]


def matrix_first(psi: np.ndarray) -> np.ndarray:
    """(a, a) or (B, a, a) as (a, a, 1 or B, 1)."""
    psi = np.asarray(psi, float)
    return batched_linalg.first_last(psi)[..., None] if psi.ndim == 3 else psi[:, :, None, None]


def one_data_set(stats: Statistics, psi: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The same for what answers for one data set at a time."""
    if stats.beta0.shape[1] > 1 or any(np.ndim(p) != 2 for p in psi):
        raise ValueError("one data set and one Psi at a time")
    return as_batch(stats, psi)


@dataclass(frozen=True)
class Top:
    """GLS at the top of the tree, in the orthogonalised coordinates of Statistics, data sets first."""

    beta: np.ndarray
    M: np.ndarray
    rss: np.ndarray
    logdet_F: np.ndarray

    def phi(self, with_beta: bool) -> np.ndarray:
        """Factor of the second moment of (beta, -1): its mean, then the root of Var(beta)."""
        B, P = self.beta.shape
        phi = np.zeros((P + 1, 1 + (P if with_beta else 0), B, 1))
        phi[:P, 0, :, 0] = self.beta.T
        phi[P, 0] = -1.0
        if with_beta:
            phi[:P, 1:, :, 0] = self.M.transpose(1, 2, 0)
        return phi


def solve_top(C: np.ndarray) -> Top:
    """Generalised least squares from C = [[F, h], [h', c]] (P + 1, P + 1, B)."""
    C = C.transpose(2, 0, 1)
    F, h, c = C[:, :-1, :-1], C[:, :-1, -1:], C[:, -1, -1]
    M, logdet = root_of_inverse(F)
    z = M.mT @ h
    beta = (M @ z)[..., 0]
    rss = c - (z * z).sum((1, 2))
    return Top(beta, M, rss, logdet)


def likelihood(
    stats: Statistics | PartitionedStatistics,
    psi: Sequence[np.ndarray],
    restricted: bool,
    gradient: bool = False,
    directions: Sequence[np.ndarray] | None = None,
) -> Likelihood:
    """Log-likelihood at the given Psi with beta profiled out.

    Parameters
    ----------
    psi : per level, (a_l, a_l) or (B, a_l, a_l), positive semi-definite.
    restricted : REML instead of ML.
    gradient : also the scores of Psi, by one downward sweep.
    directions : per level (a_l, a_l, K_l) or (a_l, a_l, K_l, B), symmetric changes of Psi along which the average and
        the expected information are taken too, with the scores, by one sweep more.

    Notes
    -----
    Sera et al. (2019), equation (2), with the constants of metafor's default.
    """
    swept = sweeps(stats, as_batch(stats, psi))
    top = solve_top(swept.C)
    n = stats.n_obs - (stats.n_coef if restricted else 0)
    deviance = n * LOG_2PI + stats.logdet_S.sum(0) + swept.logdet + top.rss
    if restricted:
        # log|F| in the original coordinates is log|F| here + 2 log|det R|.
        deviance = deviance + top.logdet_F + 2 * stats.logdet_R - stats.logdet_XX
    one = len(deviance) == 1 and all(np.ndim(p) == 2 for p in psi)
    slopes, info, phi = None, None, top.phi(with_beta=restricted)
    if directions is not None:
        along = [D[..., None] if D.ndim == 3 else D for D in directions]
        slopes, info = swept.information(phi, top.M, restricted, along)
    elif gradient:
        slopes = swept.scores(phi)
    dpsi = None if slopes is None else tuple(s[:, :, 0] if one else batched_linalg.last_first(s) for s in slopes)
    loglik = -deviance / 2
    return Likelihood(stats, top, one, loglik[0] if one else loglik, dpsi, info)


def coefficients(stats: Statistics | PartitionedStatistics, top: Top) -> tuple[np.ndarray, np.ndarray]:
    """beta (B, P) and a root of its covariance (B, P, P) in the original coordinates."""
    R = stats.R.transpose(2, 0, 1)
    beta = stats.beta0.T + solve(R, top.beta[..., None])[..., 0]
    return beta, solve(R, top.M)


def loglik_per_group(stats: Statistics, psi: Sequence[np.ndarray], beta: np.ndarray) -> np.ndarray:
    """ML log-likelihood of every outer group, numbered as its codes, at given coefficients, of one draw or many.

    Parameters
    ----------
    psi : per level, (a_l, a_l) or (B, a_l, a_l), positive semi-definite.
    beta : (P,) or (B, P).

    Returns
    -------
    (n_outer,), or (B, n_outer) where one of the arguments has an axis over draws.
    """
    draws = draws_of(stats, psi, beta)
    result = np.empty((draws.n, len(stats.outer_group)))
    for part, some, top in draws.parts(stats):
        up = upward(stats, some, per_group=True)
        rss = (batched_linalg.product(up.C, top) * top).sum((0, 1))
        deviance = stats.outer_size * LOG_2PI + stats.logdet_S[:, 0] + up.logdet + rss
        result[part, stats.outer_group] = -deviance / 2
    return result[0] if draws.one else result


@dataclass(frozen=True)
class Draws:
    """Parameters of many draws of one data set.

    psi : per level (a, a, B, 1), or all (a, a, 1, 1) where the draws share them; top (P + 1, 1, B, 1) : (beta~, -1).
    """

    psi: list[np.ndarray]
    top: np.ndarray
    one: bool

    @property
    def n(self) -> int:
        return self.top.shape[2]

    def parts(self, stats: Statistics) -> Iterator[tuple[slice, list[np.ndarray], np.ndarray]]:
        """The draws in pieces whose sweeps fit a modest part of the memory."""
        leaves = sum(3 * chunk.EA[:, :, 0].size + prod(chunk.C0_shape) // chunk.C0_shape[2] for chunk in stats.chunks)
        widths = [stats.n_coef + 1 + sum(stats.dims[: level + 1]) for level in range(len(stats.nodes))]
        nodes = sum(3 * width**2 * len(node.group) for width, node in zip(widths, stats.nodes, strict=True))
        for part in pieces(self.n, leaves + nodes):
            yield part, [p[:, :, part] if p.shape[2] > 1 else p for p in self.psi], self.top[:, :, part]


def pieces(n: int, width: int) -> Iterator[slice]:
    """Slices of n draws, each of which needs `width` numbers."""
    step = max(1, PIECE // max(1, width))
    for start in range(0, n, step):
        yield slice(start, min(start + step, n))


def draws_of(stats: Statistics, psi: Sequence[np.ndarray], beta: np.ndarray) -> Draws:
    """Draws from psi per level, (a, a) or (B, a, a), and beta (P,) or (B, P), in original coordinates."""
    if stats.beta0.shape[1] > 1:
        raise ValueError(f"draws are of one data set, and the statistics hold {stats.beta0.shape[1]}")
    batch, beta = as_batch(stats, psi), np.asarray(beta, float)
    n_psi = max(p.shape[2] for p in batch)
    batch = [np.broadcast_to(p, (*p.shape[:2], n_psi, 1)) for p in batch]
    n = np.broadcast_shapes(beta.shape[:-1], (n_psi,))[0]
    top = np.full((stats.n_coef + 1, 1, n, 1), -1.0)
    top[:-1, 0, :, 0] = stats.R[:, :, 0] @ (np.atleast_2d(beta) - stats.beta0[:, 0]).T
    return Draws(batch, top, beta.ndim == 1 and all(np.ndim(p) == 2 for p in psi))
