"""What an estimator returns, before it becomes a results tree."""

from dataclasses import dataclass

from bayesmeta._typing import BoolArray, FloatArray


@dataclass(frozen=True)
class Modes:
    """Local maxima that climbs arrived at, the highest first.

    loglik (M,); xi, start (M, F) free parameters there, and where the climb began.
    """

    loglik: FloatArray
    xi: FloatArray
    start: FloatArray


@dataclass(frozen=True)
class Optimizer:
    """What the search did.

    starts (n_starts, F) free parameters at which climbs began; path log-likelihood after every step of the winning one;
    evaluations points at which it took the log-likelihood with its derivatives; all_evaluations the same of all climbs;
    scan_evaluations points at which the log-likelihood alone was taken; gradient (F,) of the log-likelihood at the end,
    in natural units of every parameter; gradient_norm its largest entry for relative steps; decrement the Newton
    decrement g'H^-1 g, twice the log-likelihood still to be gained; at_boundary (F,) whether a parameter lies at
    the edge of its range.
    """

    starts: FloatArray
    path: FloatArray
    evaluations: int
    gradient: FloatArray
    gradient_norm: float
    converged: bool
    at_boundary: BoolArray
    message: str
    all_evaluations: int = 0
    scan_evaluations: int = 0
    decrement: float = 0.0
    modes: Modes | None = None


@dataclass(frozen=True)
class Estimate:
    """Point estimates of one specification by one method.

    P coefficients, F free parameters of all levels, and a random effects at a level.

    Parameters
    ----------
    method : str
        The name of the method.
    beta : ndarray
        (P,) coefficients.
    beta_cov : ndarray
        (P, P) their covariance.
    psi : tuple of ndarray
        Psi (a, a) of every level.
    xi : ndarray
        (F,) free parameters.
    xi_cov : ndarray
        (F, F) inverse observed information, NaN where a parameter is at its boundary.
    free : tuple of str
        (F,) labels of the free parameters.
    loglik : float
        Log-likelihood; NaN for methods without one.
    df_fixed, df_random : int
        Number of coefficients, and of free parameters.
    nobs : int
        Number of observations, less P for REML.
    optimizer : Optimizer or None
        What the search did.
    tau2_se : tuple of ndarray, optional
        (a,) standard errors of the variances of every level, at zero too; None where the method estimates none.
    """

    method: str
    beta: FloatArray
    beta_cov: FloatArray
    psi: tuple[FloatArray, ...]
    xi: FloatArray
    xi_cov: FloatArray
    free: tuple[str, ...]
    loglik: float
    df_fixed: int
    df_random: int
    nobs: int
    optimizer: Optimizer | None
    tau2_se: tuple[FloatArray, ...] | None = None
