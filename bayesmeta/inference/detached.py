"""What of Cochran's Q is left, and where, when a block of estimates no longer has to agree with the others."""

from typing import NamedTuple

import numpy as np

from bayesmeta._typing import AnyArray, FloatArray
from bayesmeta.inference.weights import whitened_residuals


class Detached(NamedTuple):
    """Q of m estimates in b blocks about a linear model.

    hat : (m, m) weight of every estimate (columns) in what the model says of each (rows).
    parts : (m,) of Q, r_i (V^-1 r)_i with residuals r.
    without : (m, b) the same when a block has effects of its own, NaN where the others do not identify the model then.
    """

    hat: FloatArray
    parts: FloatArray
    without: FloatArray


def pooled(y: FloatArray, Sigma: FloatArray, groups: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Estimates (m,) of the means of groups of observations and their covariances, by generalised least squares.

    groups : (n, m) 1 where an observation is of a group.

    >>> pooled(np.array([1.0, 3.0, 7.0]), np.diag([1.0, 1.0, 4.0]), np.array([[1, 0], [1, 0], [0, 1]]))[0]
    array([2., 7.])
    """
    weights = np.linalg.solve(Sigma, groups).T
    V = np.linalg.inv(weights @ groups)
    return V @ weights @ y, V


def detaching(y: FloatArray, V: FloatArray, X: FloatArray, block: AnyArray) -> Detached:
    """For estimates y (m,) with covariances V (m, m), a model with design X (m, P), and the block (m,) of each.

    Krahn, Binder and König (2013), BMC Med. Res. Methodol. 13:35, equations 9 to 11.
    """
    root = np.linalg.cholesky(V)

    def parts(design: FloatArray) -> FloatArray:
        if np.linalg.matrix_rank(design) < design.shape[1]:
            return np.full(len(y), np.nan)
        white = whitened_residuals(root, design, y)
        return (root @ white) * np.linalg.solve(root.T, white)

    own = np.eye(len(y))
    without = [parts(np.column_stack([X, own[:, block == each]])) for each in np.unique(block)]
    weighted = np.linalg.solve(V, X)
    hat = X @ np.linalg.solve(X.T @ weighted, weighted.T)
    return Detached(hat, parts(X), np.stack(without, axis=1))
