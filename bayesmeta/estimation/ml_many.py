"""Maximum likelihood for many data sets of one design.

A data set that does not pass the convergence test here is given to the search of one data set, so that the answer is
not worse than that of fitting it alone.
"""

import warnings
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.errors import ConvergenceWarning
from bayesmeta.estimation.batch import Objectives, residual_gradients
from bayesmeta.estimation.batch_search import TOLERANCE, maximise_many
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.ml import fit_likelihood
from bayesmeta.estimation.steps import GAIN
from bayesmeta.kernel import likelihood, statistics
from bayesmeta.model.spec import SamplingCovariance, Spec


@dataclass(frozen=True)
class ManyEstimates:
    """Estimates of B data sets.

    beta, beta_se (B, P); psi one (B, a, a) array per level; xi, at_boundary (B, F); loglik, converged (B,).
    """

    beta: FloatArray
    beta_se: FloatArray
    psi: tuple[FloatArray, ...]
    xi: FloatArray
    loglik: FloatArray
    converged: BoolArray
    at_boundary: BoolArray


@dataclass(frozen=True)
class DataSets:
    """Data sets of the design of a specification: y (B, n_obs), and values of S (B, nnz), or (nnz,) for all of them.

    row, col : of the lower triangle of S.
    """

    spec: Spec
    y: FloatArray
    S: FloatArray
    row: np.ndarray
    col: np.ndarray

    def take(self, which: slice) -> "DataSets":
        return replace(self, y=self.y[which], S=self.S if self.S.ndim == 1 else self.S[which])

    def one(self, i: int) -> Spec:
        """The specification of one data set."""
        value = self.S if self.S.ndim == 1 else self.S[i]
        return replace(self.spec, y=self.y[i], S=SamplingCovariance(value, self.row, self.col))


def fit_likelihood_many(
    data: DataSets, typical: tuple[FloatArray, ...], restricted: bool, start: FloatArray | None = None
) -> ManyEstimates:
    """Maximise the (restricted) log-likelihood of every data set.

    typical : per level the natural size of every effect's SD, by which the searches measure their steps.
    start : free parameters (F,) or (F, B) at which the first searches begin; by default SDs of the typical size.
    """
    spec, free = data.spec, Free(data.spec, typical)
    Z, index = [level.Z for level in spec.levels], [level.index for level in spec.levels]
    stats = statistics(data.y - spec.offset, spec.X, Z, index, (data.S, data.row, data.col))
    if free.size == 0:
        none = np.zeros((stats.n_data_sets, 0))
        return _estimates(Objectives(stats, free, restricted), none.T, np.ones(len(none), bool), none.astype(bool))
    objectives = Objectives(stats, free, restricted)
    first = free.start([np.diag(t**2) for t in typical]) if start is None else start
    z = np.reshape(first, (free.size, -1)) / free.units[:, None]
    found = maximise_many(objectives, np.array(np.broadcast_to(z, (free.size, objectives.size))))
    residual = np.where(found.at_edge, 0.0, residual_gradients(free, found.points))
    test = TOLERANCE * max(1.0, np.sqrt(stats.n_obs / 100))
    converged = np.isfinite(found.points.loglik) & (np.abs(residual).max(axis=0) <= test)
    at_boundary = found.at_edge | (found.points.z <= free.lower[:, None])
    together = _estimates(objectives, found.points.z, converged, at_boundary.T)
    return _alone(data, restricted, together)


def _estimates(objectives: Objectives, z: FloatArray, converged: BoolArray, at_boundary: BoolArray) -> ManyEstimates:
    psi = objectives.psi(z)
    value = likelihood(objectives.stats, psi, objectives.restricted)
    return ManyEstimates(
        beta=value.beta,
        beta_se=np.sqrt((value.beta_factor**2).sum(axis=2)),
        psi=tuple(psi),
        xi=(z * objectives.free.units[:, None]).T,
        loglik=np.asarray(value.loglik),
        converged=converged,
        at_boundary=at_boundary,
    )


def _alone(data: DataSets, restricted: bool, found: ManyEstimates) -> ManyEstimates:
    """The same, with the data sets that did not converge searched one by one, where that leads higher."""
    arrays = {name: np.array(getattr(found, name)) for name in ("beta", "beta_se", "xi", "loglik", "at_boundary")}
    converged, psi = found.converged.copy(), [np.array(p) for p in found.psi]
    for i in np.flatnonzero(~found.converged):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            alone = fit_likelihood(data.one(int(i)), restricted)
        assert alone.optimizer is not None
        if alone.optimizer.converged or alone.loglik > found.loglik[i] + GAIN:
            one = (alone.beta, np.sqrt(np.diag(alone.beta_cov)), alone.xi, alone.loglik, alone.optimizer.at_boundary)
            for array, value in zip(arrays.values(), one, strict=True):
                array[i] = value
            converged[i] = alone.optimizer.converged
            for level, value in zip(psi, alone.psi, strict=True):
                level[i] = value
    return ManyEstimates(psi=tuple(psi), converged=converged, **arrays)


OPTIONS = ("start", "max_iterations", "tolerance", "verbose")
register(
    Method(
        name="reml",
        label="restricted maximum likelihood (REML)",
        short="REML",
        estimate=partial(fit_likelihood, restricted=True),
        options=OPTIONS,
        likelihood="restricted",
        together=partial(fit_likelihood_many, restricted=True),
    )
)
register(
    Method(
        name="ml",
        label="maximum likelihood (ML)",
        short="ML",
        estimate=partial(fit_likelihood, restricted=False),
        options=OPTIONS,
        likelihood="full",
        together=partial(fit_likelihood_many, restricted=False),
    )
)
