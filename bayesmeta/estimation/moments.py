"""Moment estimators of the covariance between units: matrix moments, and iterated variance components."""

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import AssumptionWarning, ConvergenceWarning, DataError, warn
from bayesmeta.estimation import moment_errors
from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.units import LIKELIHOOD, Units, at_psi, check_unstructured, least_squares, units_of
from bayesmeta.kernel import Likelihood
from bayesmeta.model.spec import Spec
from bayesmeta.structures.unstructured import lower_entries

UNSOLVABLE = 1e-10  # singular value of the moment equations, per unit and in units of the sampling errors
WHOLE = 1e-8  # eigenvalue of I - H_ii below which a unit alone determines a coefficient
ZERO = 1e-6  # of an SD: what is left of it given the effects before it, below which Psi is singular


def fit_mm(spec: Spec) -> Estimate:
    """Matrix-based method of moments; for one outcome the estimator of DerSimonian and Laird, also with covariates.

    The sum over units of W_i r_i r_i', with W = S^-1 and the residuals r of the fixed-effects fit, is equated to its
    expectation, which is linear in Psi. The solution is made symmetric, its negative eigenvalues are set to zero; where
    there are some, the estimate depends on the units of the outcomes.

    An outcome that is missing has no weight and no residual, and every equation is the expectation over the observed
    ones: unbiased before truncation where outcomes are missing completely at random, which a warning says is assumed.

    Jackson, White and Riley (2013), Biom. J. 55:231-245.
    """
    units = _units(spec, "mm")
    fixed = least_squares(spec, np.zeros((units.y.shape[1],) * 2))
    moments, slope = matrix_moments(units, fixed)
    psi = positive_part(moments)
    cov = moment_errors.of_matrix_moments(units, psi, slope)
    return _estimate(spec, "mm", psi, cov, evaluations=1, change=0.0, message="solved directly")


def fit_vc(spec: Spec, vc_adjust: bool = True, max_iterations: int = 1000, tolerance: float = 1.5e-8) -> Estimate:
    """Iterated variance components.

    Psi_ab is the mean of r_ia r_ib over the units that observe both outcomes, less the mean of S_i,ab, with the
    residuals of the generalised least-squares fit at the Psi of the step before; begun at zero, negative eigenvalues
    set to zero in every step. `vc_adjust` multiplies the residuals of every unit by (I - H_ii)^(-1/2), the principal
    square root of the block of the hat matrix; without it the first mean has p subtracted from its divisor, the number
    of coefficients of an outcome (of two outcomes with different predictors the larger).

    An outcome that is missing is left out of the residuals, of H_ii and of all means: unlike a divisor of the smaller
    of the two outcomes' counts, the number of pairs does not shrink covariances towards zero. Outcomes are taken as
    missing completely at random, which a warning says.
    """
    units = _units(spec, "vc")
    psi = np.zeros((units.y.shape[1],) * 2)
    size = np.outer(units.typical, units.typical)
    change = np.inf
    for iteration in range(1, max_iterations + 1):
        fit = least_squares(spec, psi)
        before, psi = psi, positive_part(variance_components(units, psi, fit, vc_adjust))
        change = float(np.max(np.abs(psi - before) / (size + np.abs(psi))))
        if change <= tolerance:
            R, divisor = _adjustment(units, before, fit.beta_cov, vc_adjust)
            cov = moment_errors.of_variance_components(units, psi, R, divisor)
            return _estimate(spec, "vc", psi, cov, iteration, change, "fixed point")
    warn(
        f"variance components did not converge: relative change {change:.1e} in iteration {max_iterations}; "
        "allow more (max_iterations=)",
        ConvergenceWarning,
    )
    none = np.full((psi.size, psi.size), np.nan)
    return _estimate(spec, "vc", psi, none, max_iterations, change, f"{max_iterations} iterations", converged=False)


def _units(spec: Spec, method: str) -> Units:
    units = units_of(spec, f"method '{method}'", LIKELIHOOD)
    check_unstructured(spec, method)
    a, b = np.nonzero(np.triu(units.n_pairs == 0))
    if len(a):
        names = listing(f"{spec.outcomes[i]} and {spec.outcomes[j]}" for i, j in zip(a, b, strict=True))
        raise DataError(
            f"method '{method}' cannot estimate a covariance of outcomes never observed together: {names}"
            '\n  take method="reml" with psi="diag", or another structure without such a correlation'
        )
    if missing := int((~units.seen).sum()):
        warn(
            f"method '{method}' takes the {missing} missing outcomes as missing completely at random\n"
            '  method="reml" and "ml" need only missing at random',
            AssumptionWarning,
        )
    return units


def matrix_moments(units: Units, fixed: Likelihood) -> tuple[FloatArray, FloatArray]:
    """Psi (k, k), symmetric but of any sign, from the fixed-effects fit, and its derivative (k * k, k * k) by the sum.

    W(I - H) = (I - H)'W, so the sum over units of the diagonal blocks of W r r' has the expectation
    sum_i (R_i - H_ii') + sum_ij [(I - H)'W]_ij Psi [(I - H)']_ji, with R_i the identity of the observed outcomes.
    """
    m, k, P = units.X.shape
    r, V = units.residuals(fixed.beta), fixed.beta_cov
    R = np.eye(k) * units.seen[:, None, :]
    W = units.precision
    WX, XV = W @ units.X, units.X @ V
    H_t = WX @ np.swapaxes(XV, 1, 2)
    A = W - WX @ V @ np.swapaxes(WX, 1, 2)
    # T[p, q, a, b] is what Psi_ab adds to the entry p, q of the sum
    once = _sum_of_products(A, R) - _sum_of_products(W, H_t)
    outer = _sum_of_products(WX @ V, XV).transpose(0, 2, 1, 3).reshape(k * k, P * P)
    inner = _sum_of_products(WX, WX).transpose(0, 2, 1, 3).reshape(k * k, P * P)
    T = once.transpose(0, 3, 1, 2) + (outer @ inner.T).reshape(k, k, k, k)
    observed = np.einsum("ipq,iq,ir->pr", W, r, r)
    u = units.typical
    scale = np.einsum("p,q,a,b->pqab", u, 1 / u, u, u).reshape(k * k, k * k)
    scaled = T.reshape(k * k, k * k) * scale
    if np.linalg.svd(scaled, compute_uv=False)[-1] < UNSOLVABLE * m:
        raise DataError(
            f"the moment equations of Psi have no unique solution: {units.seen.sum()} observations of {m} units for "
            f'{P} coefficients\n  simplify the formula, or use method="fixed"'
        )
    excess = (observed - (R - H_t).sum(axis=0)) * np.outer(u, 1 / u)
    psi = np.linalg.solve(scaled, excess.ravel()).reshape(k, k) * np.outer(u, u)
    slope = np.linalg.inv(scaled) * np.outer(np.outer(u, u), np.outer(u, 1 / u))
    mirrored = slope.reshape(k, k, -1).swapaxes(0, 1).reshape(slope.shape)
    return (psi + psi.T) / 2, (slope + mirrored) / 2


def _sum_of_products(A: FloatArray, B: FloatArray) -> FloatArray:
    """sum_i A_i[p, c] B_i[q, d] over (p, c, q, d), as one matrix product."""
    m = len(A)
    return (A.reshape(m, -1).T @ B.reshape(m, -1)).reshape(*A.shape[1:], *B.shape[1:])


def variance_components(units: Units, psi: FloatArray, fit: Likelihood, adjust: bool) -> FloatArray:
    """One step of the iteration: Psi (k, k) of any sign from the least-squares fit at the Psi before."""
    R, divisor = _adjustment(units, psi, fit.beta_cov, adjust)
    r = (R @ units.residuals(fit.beta)[:, :, None])[:, :, 0]
    return r.T @ r / divisor - np.where(units.pairs, units.S, 0.0).sum(axis=0) / units.n_pairs


def _adjustment(units: Units, psi: FloatArray, V: FloatArray, adjust: bool) -> tuple[FloatArray, FloatArray]:
    """What residuals are multiplied by (m, k, k), and what their products are divided by (k, k)."""
    if adjust:
        return inverse_root(units, units.covariances(psi), V), units.n_pairs
    own = (units.X != 0).any(axis=0).sum(axis=1)
    divisor = units.n_pairs - np.maximum.outer(own, own)
    if divisor.min() <= 0:
        raise DataError(
            f'method "vc" needs more units that observe both of two outcomes than coefficients of each, there are '
            f"{units.n_pairs.min():.0f} for {own.max()}\n  simplify the formula, or keep vc_adjust=True"
        )
    return np.broadcast_to(np.eye(len(psi)), units.S.shape), divisor


def inverse_root(units: Units, Sigma: FloatArray, V: FloatArray) -> FloatArray:
    """(I - H_ii)^(-1/2) of every unit (m, k, k) with H_ii = X_i V X_i' Sigma_i^-1 and the principal square root.

    With Sigma = C C' it is C G^(-1/2) C^-1 for the symmetric G = I - C^-1 X V X' C'^-1.
    """
    C = np.linalg.cholesky(Sigma)
    C_inverse = np.linalg.inv(C)
    X = C_inverse @ units.X
    values, vectors = np.linalg.eigh(np.eye(C.shape[1]) - X @ V @ np.swapaxes(X, 1, 2))
    if len(whole := np.flatnonzero(values[:, 0] < WHOLE)):
        raise DataError(
            f"{len(whole)} units each determine a coefficient alone, so that their residuals cannot be adjusted "
            f"(the first in place {whole[0] + 1})\n  use vc_adjust=False"
        )
    return C @ (vectors / np.sqrt(values)[:, None, :]) @ np.swapaxes(vectors, 1, 2) @ C_inverse


def positive_part(psi: FloatArray) -> FloatArray:
    """A symmetric matrix with its negative eigenvalues set to zero."""
    values, vectors = np.linalg.eigh(psi)
    if values[0] >= 0:
        return psi
    half = vectors * np.sqrt(np.maximum(values, 0.0))
    return half @ half.T


def _estimate(
    spec: Spec,
    method: str,
    psi: FloatArray,
    cov: FloatArray,
    evaluations: int,
    change: float,
    message: str,
    converged: bool = True,
) -> Estimate:
    """The estimates at Psi, whose entries have the covariance `cov` (k * k, k * k)."""
    factor = lower_factor(psi)
    row, col = lower_entries(len(psi))
    at_zero = (row == col) & (factor[row, row] <= ZERO * np.sqrt(np.diag(psi))[row])
    none = np.full(len(row), np.nan)
    xi_cov = np.full((len(row), len(row)), np.nan) if at_zero.any() else moment_errors.of_factor(factor, row, col, cov)
    search = Optimizer(np.zeros((0, len(row))), np.zeros(0), evaluations, none, change, converged, at_zero, message)
    return at_psi(spec, method, psi, moment_errors.of_variances(cov), factor[row, col], xi_cov, search)


def lower_factor(psi: FloatArray) -> FloatArray:
    """Lower triangular L with Psi = L L' and no negative diagonal, of a Psi that may be singular."""
    values, vectors = np.linalg.eigh(psi)
    L = np.linalg.qr((vectors * np.sqrt(np.maximum(values, 0.0))).T, mode="r").T
    return L * np.where(np.diag(L) < 0, -1.0, 1.0)


AT_RANDOM = "missing completely at random"
register(
    Method(
        name="mm",
        label="the method of moments",
        short="moments",
        estimate=fit_mm,
        missing=AT_RANDOM,
        reference="Jackson D, White IR, Riley RD (2013). A matrix-based method of moments for fitting the multivariate "
        "random effects model for meta-analysis and meta-regression. Biometrical Journal 55:231-245.",
    )
)
register(
    Method(
        name="vc",
        label="variance components",
        short="variance components",
        estimate=fit_vc,
        options=("vc_adjust", "max_iterations", "tolerance"),
        missing=AT_RANDOM,
        reference="Berkey CS, Hoaglin DC, Antczak-Bouckoms A, Mosteller F, Colditz GA (1998). Meta-analysis of "
        "multiple outcomes by regression with random effects. Statistics in Medicine 17:2537-2550.",
    )
)
