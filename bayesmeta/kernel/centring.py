"""From data and designs to sufficient statistics, centred so that no digits are lost."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from bayesmeta.kernel.likelihood import likelihood
from bayesmeta.kernel.statistics import Statistics, reduce, whitened_design

HETEROGENEOUS = 100.0  # Q / df above which the fixed-effects fit is too far from the answer to centre y by


def statistics(
    y: np.ndarray,
    X: np.ndarray,
    Z: Sequence[np.ndarray],
    groups: Sequence[np.ndarray],
    S: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> Statistics:
    """Reduce data and designs to sufficient statistics.

    Parameters
    ----------
    y : (n_obs,) or (B, n_obs) effect estimates of one or B data sets of the same design.
    X : (n_obs, P) of full column rank.
    Z, groups : per level, outer to inner, (n_obs, a_l) designs and (n_obs,) codes 0 .. n_groups - 1. An inner group
        lies within one outer group.
    S : values (nnz,) or (B, nnz), rows and columns of the lower triangle of the sampling covariance; it does not
        couple observations of different outer groups.
    """
    design = whitened_design(X, Z, groups, S)
    y = np.atleast_2d(y)[:, design.plan.order].T
    stats = reduce(design, y, design.fixed_fit(y))
    excess = stats.Q / max(1, stats.n_obs - stats.n_coef)
    if excess.max() > HETEROGENEOUS and any(stats.dims):
        # The residual sum of squares would be a difference of numbers of the size of Psi / S.
        innermost = stats.depth - 1
        psi = [np.zeros((len(excess), a, a)) for a in stats.dims]
        psi[innermost] += excess[:, None, None] * np.diag(stats.typical[innermost] ** 2)
        near = reduce(design, y, likelihood(stats, psi, restricted=False).beta.T)
        return replace(near, beta_fixed=stats.beta_fixed, Q=stats.Q)
    return stats
