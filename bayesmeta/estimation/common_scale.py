"""DerSimonian and Laird's estimator where groups share effects whose covariance is tau2 times a known matrix.

Networks are such models, and one random intercept for the several rows of a study. Cochran's Q of all rows about the
fixed effects, y'Py with P = W - W X (X'WX)^-1 X'W and W = S^-1, has the mean n - P + tau2 tr(PB), where B = Z M Z'
within groups (Jackson, White and Riley 2012, Stat. Med. 31:3805-3820; Rücker and Schwarzer 2014, Stat. Med.
33:4353-4369, for networks). Since P S P = P, the variance of Q is 2 (n - P + 2 tau2 tr(PB) + tau2^2 tr(PBPB)).
"""

from dataclasses import replace
from typing import NamedTuple

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import DataError
from bayesmeta.estimation.methods import REGISTER, register
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.tau2 import dersimonian_laird, fit_tau2
from bayesmeta.estimation.units import at_psi, one_effect_a_row
from bayesmeta.kernel.layout import layout
from bayesmeta.kernel.whitening import whitener
from bayesmeta.model.spec import Spec


class Form(NamedTuple):
    """Cochran's Q about the fixed effects, its degrees of freedom n - P, and the traces of PB and PBPB."""

    Q: float
    df: int
    trace: float
    trace_of_square: float

    def tau2(self) -> tuple[float, float]:
        """The estimate, truncated at zero, and its standard error there."""
        tau2 = max(0.0, (self.Q - self.df) / self.trace)
        variance = 2 * (self.df + 2 * tau2 * self.trace + tau2**2 * self.trace_of_square)
        return tau2, float(np.sqrt(variance) / self.trace)


def fit_dl(spec: Spec) -> Estimate:
    """tau2 of DerSimonian and Laird: of every row, or of groups that share effects with one variance."""
    if one_effect_a_row(spec) or not has_one_variance(spec):
        return fit_tau2(spec, "dl", dersimonian_laird)
    (level,) = spec.levels
    M = np.asarray(level.structure.psi(np.ones(1), level.dim))
    tau2, se = quadratic_form(spec, M).tau2()
    xi_variance = (se / (2 * np.sqrt(tau2))) ** 2 if tau2 > 0 else np.nan
    none, at_zero = np.full(1, np.nan), np.array([tau2 == 0])
    search = Optimizer(np.zeros((0, 1)), np.zeros(0), 0, none, np.nan, True, at_zero, "solved directly")
    xi, xi_cov = np.array([np.sqrt(tau2)]), np.array([[xi_variance]])
    return at_psi(spec, "dl", tau2 * M, se * np.diag(M), xi, xi_cov, search)


def has_one_variance(spec: Spec) -> bool:
    """Whether there is one level, whose Psi is an unknown multiple of a known matrix."""
    if len(spec.levels) > 1:
        return False
    (level,) = spec.levels
    one_sd = (level.structure.n_tau(level.dim), level.structure.n_rho(level.dim)) == (1, 0)
    return one_sd and level.n_free == 1 and level.structure.linear(level.dim)


def quadratic_form(spec: Spec, M: FloatArray) -> Form:
    """Q and its traces for Psi = tau2 M of the only level.

    With X and Z whitened by S, the basis of the former and A = Z M^(1/2) group by group, PB has the trace of
    A'A - A'HA, H = basis basis'; all sums are over groups, and the largest matrix is (P, P) or (a, a).
    """
    (level,) = spec.levels
    plan = layout([level.index], spec.S.row, spec.S.col)
    values, vectors = np.linalg.eigh(M)
    Z = level.Z @ (vectors * np.sqrt(np.maximum(values, 0.0)))
    columns = np.column_stack([spec.y - spec.offset, spec.X, Z])[plan.order]
    white = whitener(np.atleast_2d(spec.S.value), spec.S.row, spec.S.col, plan).whiten(columns[:, :, None])[:, :, 0]
    y, X, A = np.split(white, [1, 1 + spec.X.shape[1]], axis=1)
    basis, df = np.linalg.qr(X)[0], len(y) - X.shape[1]
    for _ in range(2):  # the second pass removes the rounding of the first
        y = y - basis @ (basis.T @ y)
    start = np.flatnonzero(np.diff(level.index[plan.order], prepend=-1))
    own = np.add.reduceat(A[:, :, None] * A[:, None], start)
    shared = np.add.reduceat(basis[:, :, None] * A[:, None], start)  # (groups, P, a)
    through = np.einsum("gpa,gpb->gab", shared, shared)
    trace = float(np.einsum("gaa->", own - through))
    if df < 1 or trace <= 0:
        raise DataError(
            f"method 'dl' needs more rows than coefficients, and groups that vary beyond them: there are {len(y)} rows "
            f"and {X.shape[1]} coefficients"
        )
    between = np.einsum("gpa,gqa->pq", shared, shared)
    square = np.sum((own - through) ** 2) + np.sum(between**2) - np.sum(through**2)
    return Form(float(np.sum(y**2)), df, trace, float(square))


register(replace(REGISTER["dl"], estimate=fit_dl))
