"""What an estimator returns, before it becomes a results tree."""

from dataclasses import dataclass

import numpy as np

from bayesmeta._typing import FloatArray


@dataclass(frozen=True)
class Optimizer:
    """What the search did.

    starts (n_starts, F) free parameters at which searches began; path log-likelihood after every iteration of the best
    search; gradient (F,) of the log-likelihood at the end, in natural units of every parameter; gradient_norm the size
    that the convergence test looked at; at_boundary (F,) whether a parameter lies at the edge of its range.
    """

    starts: np.ndarray
    path: np.ndarray
    evaluations: int
    gradient: np.ndarray
    gradient_norm: float
    converged: bool
    at_boundary: np.ndarray
    message: str


@dataclass(frozen=True)
class Estimate:
    """Point estimates of one specification by one method.

    beta (P,), beta_cov (P, P); psi one (a, a) matrix per level; xi (F,) free parameters of all levels, labelled `free`;
    xi_cov (F, F) inverse observed information, NaN where a parameter is at its boundary; loglik is NaN for methods
    without a likelihood; nobs is N - P for REML; psi_se (a, a) per level, the standard errors of the entries of Psi,
    also of variances at zero, where the method has a formula of its own for them.
    """

    method: str
    beta: np.ndarray
    beta_cov: np.ndarray
    psi: tuple[np.ndarray, ...]
    xi: np.ndarray
    xi_cov: np.ndarray
    free: tuple[str, ...]
    loglik: float
    df_fixed: int
    df_random: int
    nobs: int
    optimizer: Optimizer | None
    psi_se: tuple[FloatArray, ...] | None = None
