"""The model written out with full matrices: slow, obvious, and sharing nothing with the kernel.

y = X beta + sum over levels of Z_l b_l + e with Var(b_l) = Psi_l in every group and Var(e) = S, so that
Var(y) = Sigma = S + sum over levels of (Z_l Psi_l Z_l') wherever two rows share the group of the level.
"""

from dataclasses import dataclass, replace
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Model:
    """One data set with its covariances.

    y : (n,); X : (n, P); S : (n, n).
    Z, groups, psi : per level, outer to inner: (n, a_l) designs, (n,) codes, (a_l, a_l) covariances.
    """

    y: FloatArray
    X: FloatArray
    Z: list[FloatArray]
    groups: list[IntArray]
    S: FloatArray
    psi: list[FloatArray]

    def at(self, **changes: Any) -> "Model":
        """The same model with some of its arrays replaced."""
        return replace(self, **changes)

    def rows(self, which: NDArray[Any]) -> "Model":
        """The same model for a selection, or another order, of its rows; group codes are kept."""
        Z, groups = [z[which] for z in self.Z], [g[which] for g in self.groups]
        return self.at(y=self.y[which], X=self.X[which], Z=Z, groups=groups, S=self.S[np.ix_(which, which)])


def triplet(S: FloatArray) -> tuple[FloatArray, IntArray, IntArray]:
    """Non-zeros of the lower triangle of S: value, row, col."""
    row, col = np.nonzero(np.tril(S))
    return S[row, col], row, col


def together(group: IntArray) -> NDArray[np.bool_]:
    """(n, n): whether two rows are in the same group."""
    return group[:, None] == group[None, :]


def marginal_covariance(model: Model) -> FloatArray:
    Sigma = model.S.copy()
    for Z, group, psi in zip(model.Z, model.groups, model.psi, strict=True):
        Sigma += Z @ psi @ Z.T * together(group)
    return Sigma


def information(model: Model) -> FloatArray:
    """(P, P) F = X' Sigma^-1 X."""
    return model.X.T @ np.linalg.solve(marginal_covariance(model), model.X)


def coefficients(model: Model) -> FloatArray:
    return np.linalg.solve(information(model), model.X.T @ np.linalg.solve(marginal_covariance(model), model.y))


def coefficient_covariance(model: Model) -> FloatArray:
    return np.linalg.inv(information(model))


def loglik_at(model: Model, beta: FloatArray) -> float:
    """ML log-likelihood at any beta."""
    Sigma, residual = marginal_covariance(model), model.y - model.X @ beta
    quadratic = residual @ np.linalg.solve(Sigma, residual)
    return float(-0.5 * (len(residual) * np.log(2 * np.pi) + np.linalg.slogdet(Sigma)[1] + quadratic))


def loglik(model: Model, restricted: bool) -> float:
    """Log-likelihood with beta profiled out, or the restricted one with the constants of the paper's equation (2)."""
    full = loglik_at(model, coefficients(model))
    if not restricted:
        return full
    logdet_F, logdet_XX = np.linalg.slogdet(information(model))[1], np.linalg.slogdet(model.X.T @ model.X)[1]
    return float(full + 0.5 * (model.X.shape[1] * np.log(2 * np.pi) - logdet_F + logdet_XX))


def loglik_per_group(model: Model, beta: FloatArray) -> FloatArray:
    """ML log-likelihood of every outer group at a given beta, in the order of the group codes."""
    outer = model.groups[0]
    return np.array([loglik_at(model.rows(np.flatnonzero(outer == g)), beta) for g in range(outer.max() + 1)])


def q_statistic(model: Model) -> float:
    """Residual sum of squares of the fixed-effects model."""
    residual = model.y - model.X @ coefficients(model.at(psi=[0 * psi for psi in model.psi]))
    fixed = model.at(psi=[0 * psi for psi in model.psi])
    return float(residual @ np.linalg.solve(marginal_covariance(fixed), residual))


def scores(model: Model, restricted: bool) -> list[FloatArray]:
    """Derivative of the log-likelihood by every entry of every Psi, each entry taken as free of its mirror image."""
    inverse = np.linalg.inv(marginal_covariance(model))
    weighted = inverse @ (model.y - model.X @ coefficients(model))
    if restricted:
        inverse = inverse - inverse @ model.X @ coefficient_covariance(model) @ model.X.T @ inverse
    result = []
    for Z, group in zip(model.Z, model.groups, strict=True):
        score = np.zeros((Z.shape[1], Z.shape[1]))
        for i, j in np.ndindex(score.shape):
            dSigma = np.outer(Z[:, i], Z[:, j]) * together(group)
            trace = np.sum(inverse * dSigma.T)  # of the product of the two
            score[i, j] = -0.5 * trace + 0.5 * weighted @ dSigma @ weighted
        result.append(0.5 * (score + score.T))
    return result


def all_effects(model: Model) -> tuple[FloatArray, FloatArray]:
    """Design (n, N) and covariance (N, N) of all random effects: levels outer to inner, groups, effects fastest."""
    columns, blocks = [np.zeros((len(model.y), 0))], []
    for Z, group, psi in zip(model.Z, model.groups, model.psi, strict=True):
        for g in range(group.max() + 1):
            columns.append(Z * (group == g)[:, None])
            blocks.append(psi)
    D = np.zeros((sum(map(len, blocks)),) * 2)
    start = 0
    for block in blocks:
        D[start : start + len(block), start : start + len(block)] = block
        start += len(block)
    return np.hstack(columns), D


def positions(model: Model, level: int, g: int) -> IntArray:
    """Positions of the effects of group g of a level among all random effects."""
    start = sum(model.psi[below].shape[0] * int(model.groups[below].max() + 1) for below in range(level))
    dim = model.psi[level].shape[0]
    return np.arange(start + g * dim, start + (g + 1) * dim)


def estimators(model: Model) -> tuple[FloatArray, FloatArray]:
    """The matrices that y is multiplied by to get beta_hat (P, n) and the BLUPs of all random effects (N, n)."""
    n = len(model.y)
    Z, D = all_effects(model)
    inverse = np.linalg.inv(marginal_covariance(model))
    to_beta = coefficient_covariance(model) @ model.X.T @ inverse
    return to_beta, D @ Z.T @ inverse @ (np.eye(n) - model.X @ to_beta)


def blups(model: Model) -> FloatArray:
    """(N,) predictions of all random effects, each with the full Sigma."""
    return estimators(model)[1] @ model.y


def prediction_error(model: Model) -> FloatArray:
    """(P + N, P + N) covariance of (beta_hat - beta, b_hat - b), straight from its definition as a map of (b, e)."""
    to_beta, to_b = estimators(model)
    Z, D = all_effects(model)
    of_b = np.vstack([to_beta @ Z, to_b @ Z - np.eye(len(D))])
    of_e = np.vstack([to_beta, to_b])
    return of_b @ D @ of_b.T + of_e @ model.S @ of_e.T


def conditional_variance(model: Model) -> FloatArray:
    """(N, N) Var(b | y, beta)."""
    Z, D = all_effects(model)
    return D - D @ Z.T @ np.linalg.solve(marginal_covariance(model), Z @ D)


def path(model: Model, row: int) -> list[int]:
    """The groups of a row, outer to inner."""
    return [int(group[row]) for group in model.groups]


def selector(model: Model, x0: FloatArray, z: list[FloatArray], groups: list[int]) -> FloatArray:
    """(P + N,) weights of (beta, b) in x0 beta + the sum of z_l b_l[group] over the levels given, the outer ones."""
    n_effects = sum(len(psi) * int(g.max() + 1) for psi, g in zip(model.psi, model.groups, strict=True))
    weights = np.concatenate([x0, np.zeros(n_effects)])
    for level, (z_l, g) in enumerate(zip(z, groups, strict=True)):
        weights[len(x0) + positions(model, level, g)] = z_l
    return weights


def predict(model: Model, x0: FloatArray, z: list[FloatArray], groups: list[int]) -> tuple[float, float]:
    """Predicted outcome of a row in known groups and the exact variance of its error."""
    weights = selector(model, x0, z, groups)
    mean = weights @ np.concatenate([coefficients(model), blups(model)])
    return float(mean), float(weights @ prediction_error(model) @ weights)


def predict_paper(model: Model, x0: FloatArray, z: list[FloatArray], groups: list[int]) -> float:
    """The paper's equation (6): variance of the fixed part plus conditional variance of the random part."""
    weights = selector(model, x0, z, groups)[len(x0) :]
    return float(x0 @ coefficient_covariance(model) @ x0 + weights @ conditional_variance(model) @ weights)


def loglik_mp(model: Model, restricted: bool, digits: int = 60) -> mpmath.mpf:
    """The log-likelihood of `loglik` with the given number of decimal digits; the entries of the arrays are exact."""
    with mpmath.workdps(digits):
        L, F, _, residual = _least_squares_mp(model)
        counted = len(model.y) - (model.X.shape[1] if restricted else 0)
        total = counted * mpmath.log(2 * mpmath.pi) + _logdet_mp(L) + mpmath.fdot(residual, residual)
        if restricted:
            X = mpmath.matrix(model.X.tolist())
            total += _logdet_mp(mpmath.cholesky(F)) - _logdet_mp(mpmath.cholesky(X.T * X))
        return -total / 2


def coefficients_mp(model: Model, digits: int = 60) -> tuple[FloatArray, FloatArray]:
    """The coefficients and their covariance, rounded from the given number of digits."""
    with mpmath.workdps(digits):
        _, F, beta, _ = _least_squares_mp(model)
        return np.array(beta.tolist(), float)[:, 0], np.array(mpmath.inverse(F).tolist(), float)


def moved(model: Model, level: int, i: int, j: int, step: Any) -> Model:
    """The model with entry (i, j) of one Psi moved by `step` (float or mpf), half of it on the mirror image."""
    psi = model.psi[level].astype(object if isinstance(step, mpmath.mpf) else float)
    psi[i, j] += step / 2
    psi[j, i] += step / 2
    return model.at(psi=[*model.psi[:level], psi, *model.psi[level + 1 :]])


def scores_mp(model: Model, restricted: bool, digits: int = 60) -> list[FloatArray]:
    """Central differences of `loglik_mp`: the step is a third of the digits, so a double's digits are all right."""
    with mpmath.workdps(digits):
        step = mpmath.mpf(10) ** (-digits // 3)
        result = []
        for level, psi in enumerate(model.psi):
            score = np.zeros(psi.shape)
            for i, j in np.ndindex(psi.shape):
                up, down = (loglik_mp(moved(model, level, i, j, sign * step), restricted, digits) for sign in (1, -1))
                score[i, j] = float((up - down) / (2 * step))
            result.append(score)
        return result


def _least_squares_mp(model: Model) -> tuple[mpmath.matrix, mpmath.matrix, mpmath.matrix, mpmath.matrix]:
    """L with L L' = Sigma, F = X' Sigma^-1 X, beta, and the whitened residual L^-1 (y - X beta)."""
    L = mpmath.cholesky(_marginal_covariance_mp(model))
    whitened = mpmath.matrix([_forward_mp(L, mpmath.matrix(column)) for column in model.X.T.tolist()]).T
    target = mpmath.matrix(_forward_mp(L, mpmath.matrix(model.y.tolist())))
    F = whitened.T * whitened
    beta = mpmath.cholesky_solve(F, whitened.T * target)
    return L, F, beta, target - whitened * beta


def _marginal_covariance_mp(model: Model) -> mpmath.matrix:
    Sigma = mpmath.matrix(model.S.tolist())
    for Z, group, psi in zip(model.Z, model.groups, model.psi, strict=True):
        if Z.shape[1]:
            design = mpmath.matrix(Z.tolist())
            between = design * mpmath.matrix(psi.tolist()) * design.T
            for r, c in zip(*np.nonzero(together(group)), strict=True):
                Sigma[int(r), int(c)] += between[int(r), int(c)]
    return Sigma


def _forward_mp(L: mpmath.matrix, b: mpmath.matrix) -> list[mpmath.mpf]:
    """Solution of L x = b for lower triangular L."""
    x: list[mpmath.mpf] = []
    for i in range(L.rows):
        x.append((b[i] - mpmath.fsum(L[i, j] * x[j] for j in range(i))) / L[i, i])
    return x


def _logdet_mp(L: mpmath.matrix) -> mpmath.mpf:
    """Log-determinant of L L'."""
    return 2 * mpmath.fsum(mpmath.log(L[i, i]) for i in range(L.rows))
