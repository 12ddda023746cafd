"""Flat statistics of a model of tests.dense, and the answers that compiled code gives on them."""

import numpy as np

from bayesmeta.kernel.compiled import loglik_and_gradient
from bayesmeta.kernel.flat import Flat, flatten
from tests.support import dense
from tests.support.dense import FloatArray, Model
from tests.support.kernel_calls import statistics


def flat_of(model: Model) -> Flat:
    return flatten(statistics(model))


def entries(model: Model, flat: Flat) -> FloatArray:
    """The matrices of the levels that have effects at or below them, one after the other."""
    return np.concatenate([np.zeros(0), *(psi.ravel() for psi in model.psi[: len(flat.dims)])])


def any_beta(model: Model, seed: int = 0) -> FloatArray:
    return dense.coefficients(model) + np.random.default_rng(seed).normal(0, 0.5, model.X.shape[1])


def by_group(flat: Flat, values: FloatArray) -> FloatArray:
    """In the order of the codes of the outer groups."""
    return values[np.argsort(flat.outer_group)]


def evaluated(model: Model, beta: FloatArray, flat: Flat | None = None) -> tuple[FloatArray, FloatArray]:
    """Log-likelihood (m,) and gradient (m, P + n_psi) by compiled code, by the codes of the outer groups."""
    flat = flat or flat_of(model)
    loglik, gradient = loglik_and_gradient(beta, entries(model, flat), flat.values, flat.base, flat.tables)
    return by_group(flat, loglik), by_group(flat, gradient)


def dense_gradient(model: Model, beta: FloatArray) -> FloatArray:
    """Gradient of every outer group's log-likelihood by beta and by every entry of every Psi, from full matrices."""
    outer, rows = model.groups[0], []
    for g in range(int(outer.max()) + 1):
        own = model.rows(np.flatnonzero(outer == g))
        inverse = np.linalg.inv(dense.marginal_covariance(own))
        weighted = inverse @ (own.y - own.X @ beta)
        parts = [own.X.T @ weighted]
        for Z, group in zip(own.Z, own.groups, strict=True):
            by_sigma = 0.5 * (np.outer(weighted, weighted) - inverse) * dense.together(group)
            parts.append((Z.T @ by_sigma @ Z).ravel())
        rows.append(np.concatenate(parts))
    return np.array(rows)
