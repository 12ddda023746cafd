"""The (restricted) log-likelihood of one or many data sets as a function of z, with two derivatives."""

from dataclasses import dataclass, fields

import numpy as np

from bayesmeta._typing import FloatArray, IndexArray
from bayesmeta.estimation.free import Free
from bayesmeta.kernel import Statistics, likelihood


@dataclass(frozen=True)
class Points:
    """Where N climbs stand.

    z (N, F); loglik (N,), minus infinity where a point has no likelihood; gradient (N, F); H (N, F, F) the negative
    Hessian; scores (N, m) and information (N, m, m) by theta, observed and average.
    """

    z: FloatArray
    loglik: FloatArray
    gradient: FloatArray
    H: FloatArray
    scores: FloatArray
    observed: FloatArray
    average: FloatArray

    def take(self, which: IndexArray) -> "Points":
        return Points(*(getattr(self, f.name)[which] for f in fields(self)))

    def put(self, which: IndexArray, other: "Points") -> "Points":
        """These points with some replaced."""
        arrays = [getattr(self, f.name).copy() for f in fields(self)]
        for array, f in zip(arrays, fields(self), strict=True):
            array[which] = getattr(other, f.name)
        return Points(*arrays)

    def and_more(self, more: "Points") -> "Points":
        return Points(*(np.concatenate([getattr(self, f.name), getattr(more, f.name)]) for f in fields(self)))


@dataclass(frozen=True)
class Objective:
    """Log-likelihoods over z = xi / units: of one data set at any number of points, or of B data sets at B points."""

    stats: Statistics
    free: Free
    restricted: bool

    @property
    def curved(self) -> bool:
        """Whether steps are better taken in theta."""
        return self.free.curved

    def take(self, which: IndexArray) -> "Objective":
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
        directions = free.directions(z)
        value = likelihood(self.stats, free.psi_batch(z.T), self.restricted, directions=directions)
        assert value.scores is not None
        assert value.information is not None
        by_level = zip(value.scores, directions, strict=True)
        scores = np.concatenate([np.einsum("nij,ijmn->nm", s, D) for s, D in by_level], axis=1)
        observed = value.information.observed - free.psi_bend(z, value.scores)
        J = free.theta_jacobian(z)
        gradient = (scores[:, None, :] @ J)[:, 0]
        H = J.mT @ observed @ J - free.theta_bend(z, scores)
        loglik = np.where(np.isfinite(value.loglik) & np.isfinite(H).all((1, 2)), value.loglik, -np.inf)
        return Points(z, loglik, gradient, H, scores, observed, value.information.average)

    def _nowhere(self, z: FloatArray) -> Points:
        n, F, K = len(z), self.free.size, len(self.free.theta_units)
        zeros = np.zeros((n, K, K))
        return Points(z, np.full(n, -np.inf), np.zeros((n, F)), np.zeros((n, F, F)), np.zeros((n, K)), zeros, zeros)
