"""Posteriors by brute force: dense covariance matrices, Gauss-Legendre products over the parameters themselves.

Shares no code with the package but the records of a specification: no elimination, no chart, no rule of its own.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.special import ndtr

import bayesmeta as bm
from bayesmeta._typing import FloatArray

PIECE = 2_000  # points at a time
Psi = Callable[[FloatArray], Sequence[FloatArray]]  # parameters (n, k) to Psi (n, a, a) of every level


@dataclass
class Box:
    """The range of one parameter, and how Gauss-Legendre nodes are spread: by sinh, dense at `scale`, or evenly."""

    low: float
    high: float
    scale: float | None = None

    def nodes(self, n: int, high: float | None = None) -> tuple[FloatArray, FloatArray]:
        """Nodes and weights from the lower end to `high`."""
        z, w = np.polynomial.legendre.leggauss(n)
        end = self.high if high is None else high
        if self.scale is None:
            return self.low + (end - self.low) * (z + 1) / 2, w * (end - self.low) / 2
        a, b = np.arcsinh(self.low / self.scale), np.arcsinh(end / self.scale)
        t = a + (b - a) * (z + 1) / 2
        return self.scale * np.sinh(t), w * (b - a) / 2 * self.scale * np.cosh(t)


@dataclass
class Dense:
    """y ~ N(X m, S + sum of Z Psi Z' + X V X') with beta ~ N(m, V); a density of the covariance parameters."""

    spec: bm.Spec
    mean: FloatArray
    variance: FloatArray
    psi: Psi
    log_prior: Callable[[FloatArray], FloatArray]
    boxes: Sequence[Box]
    n: int = 60

    def __post_init__(self) -> None:
        spec = self.spec
        self.S = np.zeros((len(spec.y), len(spec.y)))
        self.S[spec.S.row, spec.S.col] = self.S[spec.S.col, spec.S.row] = spec.S.value
        self.same = [level.index[:, None] == level.index for level in spec.levels]

    def at(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """log of likelihood times prior (n,), and mean (n, P) and covariance (n, P, P) of beta, at points x (n, k)."""
        parts = [self._some(x[i : i + PIECE]) for i in range(0, len(x), PIECE)]
        log, beta, cov = (np.concatenate(each) for each in zip(*parts, strict=True))
        return log, beta, cov

    def _some(self, x: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        spec, X = self.spec, self.spec.X
        V = np.repeat(self.S[None], len(x), axis=0)
        for level, same, psi in zip(spec.levels, self.same, self.psi(x), strict=True):
            V += same * (level.Z @ psi @ level.Z.T)
        prior = np.diag(self.variance)
        total = V + X @ prior @ X.T
        r = spec.y - spec.offset - X @ self.mean
        solved = np.linalg.solve(total, np.broadcast_to(r[:, None], (len(x), len(r), 1)))[..., 0]
        log = -0.5 * (len(r) * np.log(2 * np.pi) + np.linalg.slogdet(total)[1] + solved @ r) + self.log_prior(x)
        gain = prior @ X.T
        beta = self.mean + solved @ gain.T
        cov = prior - gain @ np.linalg.solve(total, np.broadcast_to(gain.T, (len(x), *gain.T.shape)))
        return log, beta, cov

    def grid(self, ends: Sequence[float | None] = ()) -> tuple[FloatArray, FloatArray]:
        """Points and weights of the product rule, a parameter up to an end where one is given."""
        ends = [*ends, *[None] * (len(self.boxes) - len(ends))]
        axes = [box.nodes(self.n, end) for box, end in zip(self.boxes, ends, strict=True)]
        x = np.stack([m.ravel() for m in np.meshgrid(*[a[0] for a in axes], indexing="ij")], axis=1)
        w = np.prod([m.ravel() for m in np.meshgrid(*[a[1] for a in axes], indexing="ij")], axis=0)
        return x, w

    def answers(self) -> "Answers":
        x, w = self.grid()
        log, beta, cov = self.at(x)
        total = float(np.log(np.exp(log - log.max()) @ w) + log.max())
        return Answers(self, total, x, w * np.exp(log - total), beta, cov)


@dataclass
class Answers:
    """What follows: weights of the nodes add up to one."""

    dense: Dense
    log_marginal_likelihood: float
    x: FloatArray
    weight: FloatArray
    beta: FloatArray
    cov: FloatArray

    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean and SD of the covariance parameters, then of the coefficients."""
        mean, beta = self.weight @ self.x, self.weight @ self.beta
        own = self.weight @ (self.x - mean) ** 2
        variance = self.weight @ ((self.beta - beta) ** 2 + np.diagonal(self.cov, axis1=1, axis2=2))
        return np.concatenate([mean, beta]), np.sqrt(np.concatenate([own, variance]))

    def below_beta(self, j: int, value: float) -> float:
        """Probability that coefficient j lies below a value."""
        return float(self.weight @ ndtr((value - self.beta[:, j]) / np.sqrt(self.cov[:, j, j])))

    def below(self, j: int, value: float) -> float:
        """Probability that covariance parameter j lies below a value."""
        ends: list[Any] = [None] * len(self.dense.boxes)
        ends[j] = value
        x, w = self.dense.grid(ends)
        log, _, _ = self.dense.at(x)
        return float(np.exp(log - self.log_marginal_likelihood) @ w)
