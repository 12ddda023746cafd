"""What of the variation between effect estimates is not sampling error, from the fitted Psi rather than from Q."""

from collections.abc import Sequence

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.kernel.precision import residual_precision
from bayesmeta.model.partitioned_spec import PartitionedSpec
from bayesmeta.model.spec import Spec

_NONE_LEFT = 1e-8  # degrees of freedom of an outcome that are rounding


def between_variances(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """(..., outcomes, levels) mean of z' Psi z over the observations of every outcome.

    psi : (..., a, a) for every level.
    """
    squares = mean_squares(spec)
    return np.stack([np.einsum("...ij,kij->...k", *each) for each in zip(psi, squares, strict=True)], axis=-1)


def mean_squares(spec: Spec) -> list[FloatArray]:
    """Of every level (outcomes, a, a) mean of z z' over the observations of every outcome."""
    if isinstance(spec, PartitionedSpec):
        return list(spec.totals.squares)
    n, outcomes = _by_outcome(spec, np.ones(len(spec.y))), range(len(spec.outcomes))
    rows = [spec.outcome_index == outcome for outcome in outcomes]
    return [np.stack([level.Z[rows[k]].T @ level.Z[rows[k]] / n[k] for k in outcomes]) for level in spec.levels]


def precision_and_df(spec: Spec) -> tuple[FloatArray, FloatArray]:
    """(outcomes,) of every outcome tr(P) and tr(S P) over its own observations, NaN where no df is left.

    P = S^-1 - S^-1 X (X' S^-1 X)^-1 X' S^-1, with the whole S. The second sums to observations less coefficients.
    """
    if isinstance(spec, PartitionedSpec):
        precision, df = spec.totals.precision, spec.totals.residual_df
    else:
        S = (spec.S.value, spec.S.row, spec.S.col)
        precision, df = (_by_outcome(spec, d) for d in residual_precision(spec.X, spec.levels[0].index, S))
    return np.where(df > _NONE_LEFT, precision, np.nan), np.where(df > _NONE_LEFT, df, np.nan)


def typical_variances(spec: Spec) -> FloatArray:
    """(outcomes,) typical sampling variance, NaN where no degrees of freedom are left."""
    precision, df = precision_and_df(spec)
    return df / precision


def excess(spec: Spec, psi: Sequence[FloatArray]) -> FloatArray:
    """(..., 1 or 1 + outcomes) between-group variance in units of the typical sampling variance, overall first.

    With one outcome tau2 / s2, the sum over levels above, s2 = (n - P) / tr(P). Of several outcomes, which may have
    different units, the overall one is the mean of theirs, each weighted by its degrees of freedom; then every outcome.
    """
    precision, df = precision_and_df(spec)
    weighted = between_variances(spec, psi).sum(axis=-1) * precision
    with np.errstate(invalid="ignore", divide="ignore"):
        overall = np.nansum(weighted, axis=-1) / np.nansum(df)
    of_all = overall[..., None]
    return of_all if len(df) == 1 else np.concatenate([of_all, weighted / df], axis=-1)


def _by_outcome(spec: Spec, values: FloatArray) -> FloatArray:
    """Sums of (n_obs,) values over the observations of every outcome."""
    return np.bincount(spec.outcome_index, values, len(spec.outcomes))
