"""The weight of each observation in the coefficients, and its variance under the model."""

from collections.abc import Iterator, Sequence

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior, psi_draws
from bayesmeta.tree.specification import group

_MOST_DRAWS = 500  # processed at a time


def gls_weights(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """(P, n_obs) matrix W with beta = W (y - offset) by generalised least squares, averaged over draws of Psi.

    Parameters
    ----------
    spec : Spec
        With n_obs observations and P coefficients.
    psi : sequence of arrays
        For every level the draws (B, a, a) of its covariance; for a fit a single one.

    Returns
    -------
    (P, n_obs) array

    Notes
    -----
    W = (X' Sigma^-1 X)^-1 X' Sigma^-1 with Sigma = S + Z Psi Z'. For a posterior, W y is the mean of beta if its prior
    is flat, since E(beta | y) is the mean over draws of Psi of E(beta | Psi, y) = W(Psi) y.
    """
    n_draws, total = len(psi[0]), np.zeros((len(spec.coef), len(spec.y)))
    for start in range(0, n_draws, _MOST_DRAWS):
        total += _summed(spec, [draws[start : start + _MOST_DRAWS] for draws in psi])
    return np.asarray(total / n_draws)


def marginal_variances(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """(n_obs,) variances of the observations around their means, the diagonal of Sigma, averaged over draws of Psi."""
    variances = spec.S.variances.copy()
    for level, draws in zip(spec.levels, psi, strict=True):
        variances += np.einsum("ia,ab,ib->i", level.Z, draws.mean(0), level.Z)
    return variances


def sampling_matrix(spec: Spec) -> FloatArray:
    """(n_obs, n_obs) S of all observations, for models of few."""
    S = np.zeros((len(spec.y), len(spec.y)))
    S[spec.S.row, spec.S.col] = S[spec.S.col, spec.S.row] = spec.S.value
    return S


def marginal_matrix(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """(n_obs, n_obs) Sigma = S + Z Psi Z' of all observations, for Psi (a, a) of every level."""
    Sigma = sampling_matrix(spec)
    for level, own in zip(spec.levels, psi, strict=True):
        Sigma += (level.index[:, None] == level.index) * (level.Z @ own @ level.Z.T)
    return Sigma


def whitened_residuals(root: FloatArray, X: FloatArray, y: FloatArray) -> FloatArray:
    """(n_obs,) residuals of generalised least squares in units of their errors, whose squares add up to Cochran's Q.

    root : Cholesky factor of the observations' covariance.
    """
    W, white = np.linalg.solve(root, X), np.linalg.solve(root, y)
    return np.asarray(white - W @ np.linalg.lstsq(W, white, rcond=None)[0])


def cochran(spec: Spec, *further: FloatArray) -> tuple[FloatArray, int]:
    """Squared residuals (n_obs,) by sampling errors alone, which add up to Cochran's Q, and its degrees of freedom.

    further : columns (n_obs, m) beside those of the fixed part, all of them independent.
    """
    X = np.column_stack([spec.X, *further])
    root = np.linalg.cholesky(sampling_matrix(spec))
    return whitened_residuals(root, X, spec.y - spec.offset) ** 2, len(X) - X.shape[1]


def pooled_weights(spec: Spec, W: FloatArray, pooled: Sequence[bool]) -> FloatArray:
    """(n_rows, k) weights of every outcome's observations in the mean of this outcome."""
    weight = np.full((len(spec.kept), len(spec.outcomes)), np.nan)
    for j in np.flatnonzero(pooled):
        own = np.flatnonzero(spec.outcome_index == j)
        if len(own):
            weight[spec.row[own], j] = spec.X[own[0]] @ W[:, own]
    return weight


def by_row(spec: Spec, values: FloatArray) -> FloatArray:
    """(n_rows, k) array of one value for every observation."""
    table = np.full((len(spec.kept), len(spec.outcomes)), np.nan)
    table[spec.row, spec.outcome_index] = values
    return table


def covariances(tree: xr.DataTree, spec: Spec) -> list[FloatArray]:
    """For every level the draws (B, a, a) of Psi; for a fit its estimate, with B = 1."""
    if is_posterior(tree):
        return [psi_draws(tree, level.name) for level in spec.levels]
    estimate = group(tree, schema.ESTIMATE)
    return [estimate[schema.psi(level.name)].to_numpy()[None] for level in spec.levels]


def _summed(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """Sum over draws of W."""
    P = len(spec.coef)
    information = np.zeros((len(psi[0]), P, P))
    solved = np.zeros((len(psi[0]), P, len(spec.y)))
    for own, Sigma in _blocks(spec, psi):
        X = np.broadcast_to(spec.X[own], (len(Sigma), len(own), P))
        solved[:, :, own] = np.linalg.solve(Sigma, X).mT
        information += solved[:, :, own] @ spec.X[own]
    return np.asarray(np.linalg.solve(information, solved).sum(0))


def _blocks(spec: Spec, psi: Sequence[FloatArray]) -> Iterator[tuple[IntArray, FloatArray]]:
    """Observations of every group of the outer level, and their Sigma (B, m, m); other blocks of Sigma are zero."""
    outer, S = spec.levels[0].index, spec.S
    place = np.zeros(len(spec.y), np.int64)
    entries = _split(outer[S.row], spec.levels[0].n_groups)
    for own, of_S in zip(_split(outer, spec.levels[0].n_groups), entries, strict=True):
        place[own] = np.arange(len(own))
        Sigma = np.zeros((len(psi[0]), len(own), len(own)))
        row, col = place[S.row[of_S]], place[S.col[of_S]]
        Sigma[:, row, col] = Sigma[:, col, row] = S.value[of_S]
        for level, draws in zip(spec.levels, psi, strict=True):
            Z, same = level.Z[own], level.index[own, None] == level.index[own]
            Sigma += (Z @ draws @ Z.T) * same
        yield own, Sigma


def _split(codes: IntArray, n_groups: int) -> list[IntArray]:
    """Positions of the members of every group."""
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes, minlength=n_groups))[:-1])
