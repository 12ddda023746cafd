"""Priors of correlations, for one correlation or a whole matrix."""

from typing import Any

import numpy as np
from scipy.special import betaln, xlogy

from bayesmeta._typing import FloatArray
from bayesmeta.priors.closed_forms import beta_form, closed_form
from bayesmeta.priors.distributions import draws, logp
from bayesmeta.priors.prior import Prior
from bayesmeta.structures.base import Law, Structure, law_of


def rho_logp(structure: Structure, dim: int, prior: Prior, rho: Any) -> FloatArray:
    """Joint log-density (...) of correlations rho (n_rho, ...), pairs in the order of rows; -inf outside the range."""
    rho = np.asarray(rho, dtype=float)
    if prior.name != "LKJ":
        return logp(prior, rho).sum(0)
    law = law_of(structure, dim, prior.params["eta"])
    return _matrix_logp(structure, dim, prior.params["eta"], rho) if law is None else _beta_logp(law, rho[0])


def rho_draws(structure: Structure, dim: int, prior: Prior, n: int, rng: np.random.Generator) -> FloatArray:
    """(n_rho, n) draws of the correlations, pairs in the order of rows."""
    if prior.name != "LKJ":
        return draws(prior, (structure.n_rho(dim), n), rng)
    law = law_of(structure, dim, prior.params["eta"])
    if law is None:
        return _matrix_draws(dim, prior.params["eta"], n, rng)
    return (law.low + (law.high - law.low) * rng.beta(law.alpha, law.beta, n) ** (1 / law.power))[None]


def rho_of_normal(structure: Structure, dim: int, prior: Prior, u: FloatArray) -> FloatArray:
    """Correlations (n_rho, n), pairs in the order of rows, at standard normal coordinates u (n_rho, n) of their prior.

    One correlation through its quantiles; a whole matrix through the partial correlations of a C-vine, which LKJ makes
    independent beta variables (Lewandowski et al. 2009).
    """
    if prior.name != "LKJ":
        known = closed_form(prior)
        assert known is not None  # the chart has asked
        return known.of_normal(u)
    eta = prior.params["eta"]
    law = law_of(structure, dim, eta)
    if law is not None:
        return beta_form(law.alpha, law.beta, law.low, law.high, law.power).of_normal(u)
    return _vine(u, dim, eta)


def _vine(u: FloatArray, dim: int, eta: float) -> FloatArray:
    L = np.zeros((dim, dim, u.shape[1]))
    left, at = np.ones((dim, u.shape[1])), 0  # squared length of each row that is still to be filled
    for k in range(dim):
        L[k, k] = np.sqrt(left[k])
        a, below = eta + (dim - 2 - k) / 2, dim - 1 - k
        if below:
            partial = beta_form(a, a, -1.0).of_normal(u[at : at + below])
            L[k + 1 :, k] = partial * np.sqrt(left[k + 1 :])
            left[k + 1 :] *= 1 - partial**2
            at += below
    row, col = np.triu_indices(dim, k=1)
    return np.asarray(np.einsum("ikn,jkn->ijn", L, L)[row, col])


def _beta_logp(law: Law, rho: FloatArray) -> FloatArray:
    share = (rho - law.low) / (law.high - law.low)
    inside = (share > 0) & (share < 1)
    log_share = np.log(np.where(inside, share, 0.5))
    log_u = law.power * log_share
    rest = -np.expm1(log_u)
    inside &= rest > 0  # a power that rounds to one
    density = (law.alpha - 1) * log_u + xlogy(law.beta - 1, np.where(inside, rest, 0.5)) - betaln(law.alpha, law.beta)
    density = density + np.log(law.power) + log_u - log_share
    return np.where(inside, density - np.log(law.high - law.low), -np.inf)


def _log_volume(dim: int, eta: float) -> float:
    """Logarithm of the integral of |R|^(eta - 1) over all correlation matrices (Lewandowski et al. 2009)."""
    k = np.arange(1, dim)
    a = eta + (dim - 1 - k) / 2
    return float(((dim - k) * ((2 * a - 1) * np.log(2) + betaln(a, a))).sum())


def _matrix_logp(structure: Structure, dim: int, eta: float, rho: FloatArray) -> FloatArray:
    flat = rho.reshape(len(rho), -1)
    R = np.moveaxis(structure.compose(np.ones((dim, flat.shape[1])), flat, dim), -1, 0)
    eigenvalues = np.linalg.eigvalsh(R)
    inside = eigenvalues[..., 0] > 0
    log_det = np.log(np.where(inside[..., None], eigenvalues, 1.0)).sum(-1)
    density = np.where(inside, (eta - 1) * log_det - _log_volume(dim, eta), -np.inf)
    return density.reshape(rho.shape[1:])


def _matrix_draws(dim: int, eta: float, n: int, rng: np.random.Generator) -> FloatArray:
    """By independent partial correlations on the C-vine (Lewandowski et al. 2009)."""
    L = np.zeros((n, dim, dim))
    left = np.ones((n, dim))  # squared length of each row that is still to be filled
    for k in range(dim):
        L[:, k, k] = np.sqrt(left[:, k])
        a = eta + (dim - 2 - k) / 2
        partial = 2 * rng.beta(a, a, (n, dim - 1 - k)) - 1 if k < dim - 1 else np.zeros((n, 0))
        L[:, k + 1 :, k] = partial * np.sqrt(left[:, k + 1 :])
        left[:, k + 1 :] *= 1 - partial**2
    row, col = np.triu_indices(dim, k=1)
    return np.einsum("nik,njk->nij", L, L)[:, row, col].T
