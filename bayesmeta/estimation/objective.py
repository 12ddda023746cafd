"""The (restricted) log-likelihood of one or many data sets as a function of z, with two derivatives."""

from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from bayesmeta.estimation.free import Free
from bayesmeta.kernel import Statistics, likelihood
from bayesmeta.model.spec import FloatArray

IntArray = NDArray[np.int64]
BoolArray = NDArray[np.bool_]


@dataclass(frozen=True)
class Points:
    """Where N climbs stand.

    z (N, F); loglik (N,), minus infinity where a point has no likelihood; gradient (N, F); H (N, F, F) the negative
    Hessian; scores (N, K) and information (N, K, K) by the entries of all Psi, observed and average.
    """

    z: FloatArray
    loglik: FloatArray
    gradient: FloatArray
    H: FloatArray
    scores: FloatArray
    observed: FloatArray
    average: FloatArray

    def take(self, which: IntArray) -> "Points":
        return Points(*(getattr(self, f.name)[which] for f in fields(self)))

    def put(self, which: IntArray, other: "Points") -> "Points":
        """These points with some replaced."""
        arrays = [getattr(self, f.name).copy() for f in fields(self)]
        for array, f in zip(arrays, fields(self), strict=True):
            array[which] = getattr(other, f.name)
        return Points(*arrays)


@dataclass(frozen=True)
class Objective:
    """Log-likelihoods over z = xi / units: of one data set at any number of points, or of B data sets at B points."""

    stats: Statistics
    free: Free
    restricted: bool

    def take(self, which: IntArray) -> "Objective":
        """The same for some of the data sets, or for other points of the only one."""
        if self.stats.n_data_sets == 1:
            return self
        return Objective(self.stats.take(which), self.free, self.restricted)

    def loglik(self, z: FloatArray) -> FloatArray:
        """(N,) at z (N, F)."""
        with np.errstate(all="ignore"):
            try:
                value = np.atleast_1d(likelihood(self.stats, self.free.psi_batch(z.T), self.restricted).loglik)
            except np.linalg.LinAlgError:
                if len(z) == 1:
                    return np.full(1, -np.inf)
                parts = [self.take(np.array([i])).loglik(z[i : i + 1]) for i in range(len(z))]
                return np.concatenate(parts)
        return np.where(np.isfinite(value), value, -np.inf)

    def __call__(self, z: FloatArray) -> Points:
        """At z (N, F), with two derivatives."""
        with np.errstate(all="ignore"):
            try:
                return self._at(z)
            except np.linalg.LinAlgError:
                if len(z) == 1:
                    return self._nowhere(z)
        parts = [self.take(np.array([i]))(z[i : i + 1]) for i in range(len(z))]
        return Points(*(np.concatenate([getattr(part, f.name) for part in parts]) for f in fields(Points)))

    def _at(self, z: FloatArray) -> Points:
        free = self.free
        value = likelihood(self.stats, free.psi_batch(z.T), self.restricted, second=True)
        assert value.scores is not None
        assert value.information is not None
        scores = np.concatenate([_lower(s) for s in value.scores], axis=1)
        observed, J = value.information.observed, free.jacobian(z.T)
        gradient = (scores[:, None, :] @ J)[:, 0]
        H = J.mT @ observed @ J - free.bend(z.T, scores)
        loglik = np.where(np.isfinite(value.loglik) & np.isfinite(H).all((1, 2)), value.loglik, -np.inf)
        return Points(z, loglik, gradient, H, scores, observed, value.information.average)

    def _nowhere(self, z: FloatArray) -> Points:
        n, F, K = len(z), self.free.size, self.free.n_entries
        zeros = np.zeros((n, K, K))
        return Points(z, np.full(n, -np.inf), np.zeros((n, F)), np.zeros((n, F, F)), np.zeros((n, K)), zeros, zeros)


def _lower(scores: FloatArray) -> FloatArray:
    """(N, a (a + 1) / 2) derivatives by the free entries of Psi from symmetric scores (N, a, a)."""
    col, row = np.triu_indices(scores.shape[1])
    return scores[:, row, col] * np.where(row == col, 1.0, 2.0)
