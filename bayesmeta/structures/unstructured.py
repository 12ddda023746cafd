"""Unstructured: any covariance matrix."""

from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import numpy as np

from bayesmeta.structures.base import Law, Structure, eye, over_data_sets, register

CERTAIN = 0.95  # a start has this share of the correlations, so that it is never singular
RIDGE = 1e-2  # of every variance, added to a start so that no direction begins at zero, where the gradient vanishes
LEAST = 1e-8  # of the mean variance, what a variance counts there at least


@cache
def lower_entries(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the lower triangle, by column."""
    col, row = np.triu_indices(dim)
    return row, col


@cache
def placement(dim: int) -> np.ndarray:
    """(dim, dim, n_free) zeros and ones that put xi into the lower triangle."""
    row, col = lower_entries(dim)
    basis = np.zeros((dim, dim, len(row)))
    basis[row, col, np.arange(len(row))] = 1.0
    return basis


@cache
def partners(dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(m, n_free) twice: positions in xi whose sum is the derivative of an entry of Psi = L L' by an entry of L.

    dPsi_rc / dL_if is L_cf where r = i, and L_rf where c = i; n_free stands for zero.
    """
    row, col = lower_entries(dim)
    position = np.full((dim, dim), len(row))
    position[row, col] = np.arange(len(row))
    first = np.where(row[:, None] == row, position[col[:, None], col], len(row))
    second = np.where(col[:, None] == row, position[row[:, None], col], len(row))
    return first, second


@cache
def pair_placement(dim: int) -> np.ndarray:
    """(dim, dim, n_pairs) zeros and ones that put correlations of pairs, in the order of rows, on both sides."""
    row, col = np.triu_indices(dim, k=1)
    basis = np.zeros((dim, dim, len(row)))
    basis[row, col, np.arange(len(row))] = basis[col, row, np.arange(len(row))] = 1.0
    return basis


@cache
def _half_entries(dim: int) -> np.ndarray:
    """(dim, dim, n_free) symmetric weights that pick the entries of the lower triangle, by column."""
    basis = (placement(dim) + placement(dim).swapaxes(0, 1)) / 2
    basis.flags.writeable = False
    return basis


@register
class Unstructured(Structure):
    """Any positive semi-definite Psi = L L'; xi is the lower triangle of L by column, of any sign.

    >>> Unstructured().psi(np.array([1.0, 0.5, 2.0]), 2)
    array([[1.  , 0.5 ],
           [0.5 , 4.25]])
    """

    name = "unstr"
    synonyms = ("un", "unstructured")
    meaning = "any covariance matrix"
    phrase = "an unstructured covariance matrix"
    unrestricted = any_order = loses_effects = True
    pair = "any"

    def n_tau(self, dim: int) -> int:
        return dim

    def n_rho(self, dim: int) -> int:
        return dim * (dim - 1) // 2

    def compose(self, tau: Any, rho: Any, dim: int) -> Any:
        R = over_data_sets(eye(dim), tau)
        if dim > 1:
            R = R + pair_placement(dim) @ rho
        return (tau[:, None] * tau[None, :]) * R

    def decompose(self, psi: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        tau = np.sqrt(np.diag(psi))
        scale = np.outer(tau, tau)
        R = np.divide(psi, scale, out=np.eye(len(psi)), where=scale > 0)
        return tau, CERTAIN * R[np.triu_indices(len(psi), k=1)]

    def lkj(self, dim: int, eta: float) -> Law | None:
        return Law(-1.0, eta, eta) if dim == 2 else None

    def new_correlations(self, dim: int) -> int:
        return dim

    def n_free(self, dim: int) -> int:
        return self.n_tau(dim) + self.n_rho(dim)

    def labels(self, effects: Sequence[str]) -> tuple[str, ...]:
        if len(effects) == 1:
            return ("sd",)
        row, col = lower_entries(len(effects))
        return tuple(f"chol[{effects[i]},{effects[j]}]" for i, j in zip(row, col, strict=True))

    def psi(self, xi: Any, dim: int) -> Any:
        L = placement(dim) @ xi
        return sum(L[:, None, c] * L[None, :, c] for c in range(dim))

    def pullback(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        L = np.tensordot(placement(dim), xi, 1)
        row, col = lower_entries(dim)
        return np.asarray(2 * np.einsum("ij...,jk...->ik...", psi_bar, L)[row, col])

    def curvature(self, xi: np.ndarray, psi_bar: np.ndarray, dim: int) -> np.ndarray:
        row, col = lower_entries(dim)
        return np.asarray(2 * psi_bar[row[:, None], row[None, :]] * over_data_sets((col[:, None] == col) * 1.0, xi))

    def linear(self, dim: int) -> bool:
        return True

    def theta(self, xi: np.ndarray, dim: int) -> np.ndarray:
        return np.asarray((self.theta_jacobian(xi, dim) * xi).sum(1) / 2)

    def theta_units(self, units: np.ndarray, dim: int) -> np.ndarray:
        row, col = lower_entries(dim)
        by_effect = units[np.flatnonzero(row == col)]
        return np.asarray(by_effect[row] * by_effect[col])

    def theta_jacobian(self, xi: np.ndarray, dim: int) -> np.ndarray:
        first, second = partners(dim)
        padded = np.concatenate([xi, np.zeros((1, *xi.shape[1:]))])
        return np.asarray(padded[first] + padded[second])

    def theta_curvature(self, xi: np.ndarray, weight: np.ndarray, dim: int) -> np.ndarray:
        row, col = lower_entries(dim)
        full = np.zeros((dim, dim, *weight.shape[1:]))
        full[row, col] += weight / 2
        full[col, row] += weight / 2
        return self.curvature(weight, full, dim)

    def directions(self, xi: np.ndarray, dim: int) -> np.ndarray:
        return over_data_sets(np.where(_half_entries(dim) > 0, 1.0, 0.0), xi)

    def scatter(self, share: np.ndarray, sd: Callable[[np.ndarray], np.ndarray], dim: int) -> np.ndarray:
        """SDs, and angles of the rows of L: uniform ones, which give every correlation a chance to be large."""
        row, col = lower_entries(dim)
        L, left, at = np.zeros((dim, dim, *share.shape[1:])), sd(share[:dim]), dim
        for j in range(dim - 1):
            for i in range(j + 1, dim):
                L[i, j], left[i] = left[i] * np.cos(np.pi * share[at]), left[i] * np.sin(np.pi * share[at])
                at += 1
        L[np.arange(dim), np.arange(dim)] = left
        return np.asarray(L[row, col])

    def canonical(self, xi: np.ndarray, dim: int) -> np.ndarray:
        row, col = lower_entries(dim)
        diagonal = xi[np.flatnonzero(row == col)]
        return np.asarray(xi * np.where(diagonal < 0, -1.0, 1.0)[col])

    def start(self, moment: np.ndarray) -> np.ndarray:
        variances = np.diagonal(moment)
        ridge = RIDGE * np.maximum(variances, LEAST * variances.mean()) if len(moment) > 1 else np.zeros(1)
        row, col = lower_entries(len(moment))
        return np.asarray(np.linalg.cholesky(moment + np.diag(ridge))[row, col])

    def units(self, effect_units: np.ndarray) -> np.ndarray:
        return np.asarray(effect_units[lower_entries(len(effect_units))[0]])

    def zero_positions(self, dim: int) -> np.ndarray:
        row, col = lower_entries(dim)
        return np.flatnonzero(row == col)

    def sd_positions(self, effect: int, dim: int) -> np.ndarray:
        return np.flatnonzero(lower_entries(dim)[0] == effect)
