"""log p(y | u) at many points of the chart at once, with the random effects and the coefficients integrated out.

What the elimination leaves of [X, y] is kept for every point, so that under another prior of the coefficients, or other
weights of the points, nothing is eliminated again.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Self

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.bayes.chart import BetaPrior, Chart
from bayesmeta.kernel.elimination import upward
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.kernel.statistics import Statistics
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors

CELLS = 1 << 14  # entries of one matrix element that are worked on at a time: points times groups
EPSILON = 1e-14  # ratio of eigenvalues that is zero
LARGEST = 1e150  # entry of Psi beyond which squares leave the range of numbers


@dataclass(frozen=True, eq=False)
class Evaluated:
    """Points u (n, k) of a chart, and what is known there.

    C (n, P + 1, P + 1), logdet (n,) : what the elimination leaves of [X, y], in orthogonalised coordinates, and the
    log-determinant that it collects; NaN where `usable` (n,) is False, points out of the range of numbers.
    loglik (n,) : log p(y | u), -inf at points that are not usable. beta (n, P), root (n, P, m) : mean of the
    coefficients given u and y, and a root of their covariance.
    """

    u: FloatArray
    C: FloatArray
    logdet: FloatArray
    usable: BoolArray
    loglik: FloatArray
    beta: FloatArray
    root: FloatArray

    def __len__(self) -> int:
        return len(self.u)

    @property
    def log_density(self) -> FloatArray:
        """(n,) log p(y, u), of the density in the chart."""
        return _log_density(self.u, self.loglik)

    def take(self, which: IntArray | BoolArray | slice) -> Self:
        return type(self)(**{f.name: getattr(self, f.name)[which] for f in fields(self)})

    @classmethod
    def joined(cls, parts: Iterable[Self]) -> Self:
        listed = list(parts)
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in listed]) for f in fields(cls)})


def _log_density(u: FloatArray, loglik: FloatArray) -> FloatArray:
    return np.asarray(loglik - (u**2).sum(1) / 2 - u.shape[1] * LOG_2PI / 2)


class Evaluator:
    """A model with its priors as a function of points of its chart, or of another one."""

    def __init__(self, spec: Spec, priors: ModelPriors, chart: Chart | None = None) -> None:
        self.spec, self.priors, self.chart = spec, priors, chart or Chart.of(spec, priors)
        self.count = 0  # of points evaluated

    @property
    def dim(self) -> int:
        return self.chart.dim

    @cached_property
    def stats(self) -> Statistics:
        return self.spec.statistics

    def __call__(self, u: FloatArray) -> Evaluated:
        """Evaluate at u (n, k)."""
        u, C, logdet, usable = self._at(u)
        return self._completed(Evaluated(u, C, logdet, usable, *_empty(len(u), self.stats.n_coef)), self._frame)

    def log_density(self, u: FloatArray) -> FloatArray:
        """(n,) log p(y, u) alone, for searches that ask for nothing else."""
        u, C, logdet, ok = self._at(u)
        ok &= _with_roots(C[:, :-1, :-1])
        loglik = np.full(len(u), -np.inf)
        loglik[ok] = self._improper(self._frame.at(u[ok], C[ok], logdet[ok]).loglik, u[ok])
        return _log_density(u, loglik)

    def under(self, points: Evaluated, prior: BetaPrior) -> Evaluated:
        """The same points under another prior of the coefficients, which nothing was eliminated with."""
        return self._completed(points, _Frame(self.stats, self.priors.centring, prior))

    @cached_property
    def _frame(self) -> "_Frame":
        return _Frame(self.stats, self.priors.centring, self.chart.beta)

    def _at(self, u: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray, BoolArray]:
        u = np.asarray(u, float)
        self.count += len(u)
        return u, *self._eliminated(u)

    def _completed(self, points: Evaluated, frame: "_Frame") -> Evaluated:
        """The points with what follows from the prior of the coefficients."""
        ok = points.usable & _with_roots(points.C[:, :-1, :-1])
        solved = frame.at(points.u[ok], points.C[ok], points.logdet[ok])
        loglik, (beta, root) = self._improper(solved.loglik, points.u[ok]), solved.coefficients
        if ok.all():
            return replace(points, loglik=loglik, beta=beta, root=root)
        points = replace(points, usable=ok)
        full, mean, roots = _empty(len(points), self.stats.n_coef, root.shape[2])
        full[ok], mean[ok], roots[ok] = loglik, beta, root
        return replace(points, loglik=full, beta=mean, root=roots)

    def _improper(self, loglik: FloatArray, u: FloatArray) -> FloatArray:
        return loglik + self.chart.log_improper(u) if self.chart.improper else loglik

    def _eliminated(self, u: FloatArray) -> tuple[FloatArray, FloatArray, BoolArray]:
        """C and logdet of every point, in pieces that fit the processor's cache."""
        stats, psi = self.stats, self.chart.psi(u)[: self.stats.depth]
        usable = np.ones(len(u), bool)
        for matrix in psi:
            usable &= (np.abs(matrix) < LARGEST).all((0, 1))  # False for NaN
        if self.chart.beta.scaled:
            usable &= np.isfinite(self.chart.beta.sds(u)).all(1)
        usable &= np.isfinite(self.chart.beta.values(u)).all(1)
        C = np.full((len(u), stats.n_coef + 1, stats.n_coef + 1), np.nan)
        logdet, which = np.full(len(u), np.nan), np.flatnonzero(usable)
        step = max(8, CELLS // max(1, *stats.n_groups))
        for start in range(0, len(which), step):
            part = which[start : start + step]
            with np.errstate(all="ignore"):
                up = upward(stats, [np.ascontiguousarray(matrix[:, :, part])[..., None] for matrix in psi])
            C[part], logdet[part] = np.moveaxis(np.broadcast_to(up.C, (*C.shape[1:], len(part))), -1, 0), up.logdet
        usable &= np.isfinite(C).all((1, 2)) & np.isfinite(logdet)
        return C, logdet, usable


def _with_roots(F: FloatArray) -> BoolArray:
    """(n,) whether the precision of the coefficients is positive definite in the range of numbers.

    It is not where SDs are larger than others by more than the digits there are, so far out that no mass is there.
    """
    whole = np.ones(len(F), bool)
    try:
        np.linalg.cholesky(F)
    except np.linalg.LinAlgError:
        with np.errstate(invalid="ignore"):
            size = np.linalg.eigvalsh(np.where(np.isfinite(F), F, 0.0))
        whole = size[:, 0] > EPSILON * size[:, -1]
    return whole


def _empty(n: int, P: int, m: int | None = None) -> tuple[FloatArray, FloatArray, FloatArray]:
    return np.full(n, -np.inf), np.zeros((n, P)), np.zeros((n, P, P if m is None else m))


def coefficients_out(
    stats: Statistics, centring: FloatArray, prior: BetaPrior, u: FloatArray, C: FloatArray, logdet: FloatArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Integrate the coefficients out: log p(y | u) (n,), and their mean (n, P) and a root (n, P, m) given u and y."""
    solved = _Frame(stats, centring, prior).at(u, C, logdet)
    return solved.loglik, *solved.coefficients


def _log_diagonal(L: FloatArray) -> FloatArray:
    return np.asarray(np.log(np.diagonal(L, axis1=1, axis2=2)).sum(-1))


class _Frame:
    """Coordinates of the coefficients that are integrated out: orthonormal, and centred given those that are not.

    With theta = centring @ beta in two parts, a integrated and f moved to the chart, the kernel's orthogonalised
    coefficients are R (T_a a + T_f f - beta0) = Q a~ + v.
    """

    def __init__(self, stats: Statistics, centring: FloatArray, prior: BetaPrior) -> None:
        T, self.R = np.linalg.inv(centring), stats.R[:, :, 0]
        self.stats, self.prior, kept = stats, prior, ~prior.moved
        self.T_kept, self.T_moved = T[:, kept], T[:, prior.moved]
        self.Q, self.R_a = np.linalg.qr(self.R @ self.T_kept)
        self.inverse = np.linalg.inv(self.R_a)
        self.log_det = float(np.log(np.abs(np.diag(self.R_a))).sum())
        self.proper = kept & ~prior.flat
        self.rows = self.proper[kept]
        self.constant = stats.n_obs * LOG_2PI + stats.logdet_S.sum(0)

    def at(self, u: FloatArray, C: FloatArray, logdet: FloatArray) -> "_Solved":
        """At points u (n, k), for what elimination left there."""
        fixed = self.prior.values(u) @ self.T_moved.T  # T_f f
        shift = (fixed - self.stats.beta0[:, 0]) @ self.R.T
        along = shift @ self.Q
        centre = -np.linalg.solve(self.R_a, along.T).T  # a where a~ is zero
        return _Solved(self, C, logdet, fixed, shift - along @ self.Q.T, centre, self.prior.sds(u)[:, self.proper])


@dataclass(frozen=True, eq=False)
class _Solved:
    """The coefficients of a frame at points.

    What is left of the prior's deviations from the generalised least-squares estimate, r = W a - w, is normal with
    covariance I + W F^-1 W' =: E E', so nothing is subtracted that could cancel: with r priors that are not flat,

    log p = loglik_ML + (m - r) / 2 log 2 pi - sum log sd - 1/2 log|F| - log|E| - 1/2 |E^-1 r|^2.
    """

    frame: _Frame
    C: FloatArray
    logdet: FloatArray
    fixed: FloatArray
    v: FloatArray
    centre: FloatArray
    sd: FloatArray

    @property
    def loglik(self) -> FloatArray:
        """(n,) log p(y | u)."""
        F, L, _, _, rss = self._least_squares
        _, B, E, e = self._deviations
        with np.errstate(over="ignore"):  # of a prior so far from the data that its density there is no number
            apart = (e * e).sum((1, 2))
        deviance = self.frame.constant + self.logdet + rss + apart
        log_sd = np.log(self.sd).sum(1)
        deviance += 2 * (_log_diagonal(L) + self.frame.log_det + _log_diagonal(E) + log_sd)
        deviance -= (F.shape[1] - B.shape[1]) * LOG_2PI
        return np.asarray(-deviance / 2)

    @property
    def coefficients(self) -> tuple[FloatArray, FloatArray]:
        """Mean (n, P) and a root (n, P, m) of the covariance of the coefficients given u and y."""
        F, _, M, gls, _ = self._least_squares
        W, B, E, e = self._deviations
        mean = gls - (M @ (B.mT @ np.linalg.solve(E.mT, e)))[..., 0]
        root = np.linalg.inv(np.linalg.cholesky(F + W.mT @ W)).mT
        a = self.centre + mean @ self.frame.inverse.T
        return self.fixed + a @ self.frame.T_kept.T, self.frame.T_kept @ self.frame.inverse @ root

    @cached_property
    def _least_squares(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray, FloatArray]:
        """F, its Cholesky factor L, M with F^-1 = M M', the estimate a~, and what it leaves of y."""
        F, h, c = self._reduced()
        L = np.linalg.cholesky(F)
        M = np.linalg.inv(L).mT
        z = M.mT @ h
        return F, L, M, (M @ z)[..., 0], c - (z * z).sum((1, 2))

    def _reduced(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """F, h and c of the quadratic form c - 2 h'a~ + a~'F a~."""
        Q, F, h, c = self.frame.Q, self.C[:, :-1, :-1], self.C[:, :-1, -1:], self.C[:, -1, -1]
        v = self.v[..., None]
        Fv = F @ v
        return Q.T @ F @ Q, Q.T @ (h - Fv), c + (v * (Fv - 2 * h)).sum((1, 2))

    @cached_property
    def _deviations(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """W, with which W a~ - w is standard normal by the priors; W M, E, and E^-1 r."""
        frame = self.frame
        _, _, M, gls, _ = self._least_squares
        W = frame.inverse[frame.rows] / self.sd[..., None]
        w = (frame.prior.mean[frame.proper] - self.centre[:, frame.rows]) / self.sd
        B = W @ M
        E = np.linalg.cholesky(np.eye(B.shape[1]) + B @ B.mT)
        residual = (W @ gls[..., None])[..., 0] - w
        return W, B, E, np.linalg.solve(E, residual[..., None])
