"""Estimates and covariances of arms from all their pairwise comparisons."""

from collections.abc import Sequence

import numpy as np

from bayesmeta._typing import AnyArray, FloatArray
from bayesmeta.errors import AssumptionWarning, DataError, warn

_ROUNDING = 1e-9


def from_all_pairs(
    where: str, arms: Sequence[str], pairs: tuple[AnyArray, AnyArray], y: FloatArray, se: FloatArray, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Estimates theta (K,) and covariances V (K, K) of arms, of which only contrasts mean anything.

    The variances D of all pairs determine the covariances of contrasts: V = -J D J / 2 with J centring, so that
    cov(AB, AC) = (v_AB + v_AC - v_BC) / 2 (Higgins and Whitehead 1996, Stat. Med. 15:2733-2749).

    Parameters
    ----------
    where : str
        What the arms belong to, in errors.
    arms : sequence of str
        (K,) their names.
    pairs : pair of arrays
        (q,) names of the first and of the second arm of every comparison, q = K (K - 1) / 2.
    y, se : array
        (q,) estimates, the first less the second, and their standard errors.
    tolerance : float
        By how much estimates may contradict each other, in standard errors, and these those of independent arms, as a
        share, before this is an error, or a warning.

    Raises
    ------
    DataError
        When differences do not add up, or no arms can have these standard errors.

    Examples
    --------
    >>> pairs = np.array(["A", "A", "B"]), np.array(["B", "C", "C"])
    >>> theta, V = from_all_pairs("trial 1", list("ABC"), pairs, np.array([1.0, 3.0, 2.0]), np.sqrt([2, 3, 3]), 0.1)
    >>> theta.round(3).tolist(), (V[0, 0] + V[1, 1] - 2 * V[0, 1]).round(3).item()
    ([1.333, 0.333, -1.667], 2.0)
    """
    K = len(arms)
    i, j = (np.array([arms.index(t) for t in each]) for each in pairs)
    difference, D = np.zeros((K, K)), np.zeros((K, K))
    difference[i, j], difference[j, i] = y, -y
    D[i, j] = D[j, i] = se**2
    theta = difference.mean(1)
    off = np.abs(y - (theta[i] - theta[j]))
    if off[worst := int(np.argmax(off / se))] > _ROUNDING * np.abs(y).max(initial=1.0):
        pair = f"{pairs[0][worst]} with {pairs[1][worst]}"
        loop = f"{where}: its comparisons contradict each other, by {_loop(difference):.3g} around a loop of {pair}"
        if off[worst] > tolerance * se[worst]:
            raise DataError(
                f"{loop}\n  differences of one trial add up: A with C is A with B and B with C; "
                "the sign, or one of the numbers, is wrong"
            )
        warn(f"{loop}; they are averaged, as after rounding", AssumptionWarning)
    if K > 2:
        _check_variances(where, arms, D, tolerance)
    J = np.eye(K) - 1 / K
    return theta, -J @ D @ J / 2


def _loop(difference: FloatArray) -> float:
    """The largest sum of differences around three arms."""
    return float(np.abs(difference[:, :, None] + difference[None] + difference.T[:, None]).max())


def _check_variances(where: str, arms: Sequence[str], D: FloatArray, tolerance: float) -> None:
    """That standard errors of all pairs are those of arms: v_ij = v_i + v_j with positive v."""
    K = len(arms)
    own = (D.sum(1) - D.sum() / 2 / (K - 1)) / (K - 2)
    worst = int(np.argmin(own))
    if own[worst] <= -_ROUNDING * D.max():
        raise DataError(
            f"{where}: no trial can have these standard errors; arm '{arms[worst]}' would have the variance "
            f"{own[worst]:.3g}\n  the variance of a comparison is the sum of those of its arms: one is too small or "
            "another too large"
        )
    J = np.eye(K) - 1 / K
    if np.linalg.eigvalsh(-J @ D @ J)[1] <= _ROUNDING * D.max():
        raise DataError(
            f"{where}: no trial can have these standard errors; their covariances are not positive definite"
            "\n  check them against the publication"
        )
    i, j = np.triu_indices(K, 1)
    misfit = np.abs(np.sqrt(D[i, j] / np.maximum(own[i] + own[j], _ROUNDING * D.max())) - 1).max()
    if misfit > tolerance:
        warn(
            f"{where}: its standard errors are not those of independent arms, by up to {misfit:.0%}; they are taken as "
            "they are",
            AssumptionWarning,
        )
