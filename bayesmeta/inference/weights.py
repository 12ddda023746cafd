"""The weight of each observation in the coefficients, and its variance under the model."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior, psi_draws
from bayesmeta.tree.specification import group

_MOST_DRAWS = 500  # processed at a time


class Covariances(NamedTuple):
    """Between-group covariances: of a fit the estimate, of a posterior what its averages are taken over.

    psi : for every level (B, a, a). weight : (B,), which add up to one.
    """

    psi: list[FloatArray]
    weight: FloatArray

    @property
    def mean(self) -> list[FloatArray]:
        """(a, a) of every level."""
        return [np.einsum("b,bij->ij", self.weight, own) for own in self.psi]


def gls_weights(spec: Spec, covariances: Covariances) -> FloatArray:
    """(P, n_obs) matrix W with beta = W (y - offset) by generalised least squares, averaged over Psi.

    Parameters
    ----------
    spec : Spec
        With n_obs observations and P coefficients.
    covariances : Covariances
        Of a results tree.

    Returns
    -------
    (P, n_obs) array

    Notes
    -----
    W = (X' Sigma^-1 X)^-1 X' Sigma^-1 with Sigma = S + Z Psi Z'. For a posterior, W y is the mean of beta if its prior
    is flat, since E(beta | y) is the mean over Psi of E(beta | Psi, y) = W(Psi) y.
    """
    psi, weight = covariances
    total = np.zeros((len(spec.coef), len(spec.y)))
    for start in range(0, len(weight), _MOST_DRAWS):
        some = slice(start, start + _MOST_DRAWS)
        total += _summed(spec, [own[some] for own in psi], weight[some])
    return total


def marginal_variances(spec: Spec, covariances: Covariances) -> FloatArray:
    """(n_obs,) variances of the observations around their means, the diagonal of Sigma, averaged over Psi."""
    variances = spec.S.variances.copy()
    for level, own in zip(spec.levels, covariances.mean, strict=True):
        variances += np.einsum("ia,ab,ib->i", level.Z, own, level.Z)
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


def covariances(tree: xr.DataTree, spec: Spec) -> Covariances:
    """Psi of every level: of a fit its estimate, of a posterior the points of its integration, or its draws."""
    if not is_posterior(tree):
        estimate = group(tree, schema.ESTIMATE)
        return Covariances([estimate[schema.psi(v.name)].to_numpy()[None] for v in spec.levels], np.ones(1))
    if (points := exact_posterior(tree)) is None:
        draws = [psi_draws(tree, level.name) for level in spec.levels]
        return Covariances(draws, np.full(len(draws[0]), 1 / len(draws[0])))
    few = points.fewer
    return Covariances([np.moveaxis(own, -1, 0) for own in few.psi], few.main[0])


def _summed(spec: Spec, psi: Sequence[FloatArray], weight: FloatArray) -> FloatArray:
    """Weighted sum of W."""
    P = len(spec.coef)
    information = np.zeros((len(psi[0]), P, P))
    solved = np.zeros((len(psi[0]), P, len(spec.y)))
    for own, Sigma in _blocks(spec, psi):
        X = np.broadcast_to(spec.X[own], (len(Sigma), len(own), P))
        solved[:, :, own] = np.linalg.solve(Sigma, X).mT
        information += solved[:, :, own] @ spec.X[own]
    return np.einsum("b,bpi->pi", weight, np.linalg.solve(information, solved))


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
