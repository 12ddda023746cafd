"""The same effects with other designs, and other effects with them: fits whose searches advance together."""

import warnings
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import Method
from bayesmeta.estimation.ml_many import fit_statistics
from bayesmeta.kernel import Statistics, likelihood
from bayesmeta.kernel.centring import HETEROGENEOUS
from bayesmeta.kernel.orthogonal import orthonormal
from bayesmeta.kernel.statistics import reduce, whitened_design
from bayesmeta.model.spec import Spec

SINGULAR = 1e-10  # least pivot of a design, relative to its largest, that identifies its coefficients


@dataclass(frozen=True)
class ManyFits:
    """Fits of B designs: beta (B, P), its covariance (B, P, P), weighted residual sums of squares rss (B,).

    usable : (B,) whether the design identifies the coefficients and the search converged.
    """

    beta: FloatArray
    cov: FloatArray
    rss: FloatArray
    usable: BoolArray


def fit_designs(spec: Spec, y: FloatArray, X: FloatArray, method: Method, psi: tuple[FloatArray, ...]) -> ManyFits:
    """Fit a model to B pairs of effects and designs of the same observations.

    Parameters
    ----------
    spec : Spec
        Groups, random part and sampling covariance of all.
    y : array
        (B, n_obs) effect estimates less the offset.
    X : array
        (B, n_obs, P) designs of the fixed part.
    method : Method
        Of the register. Methods without a way to fit many data sets together estimate Psi one by one.
    psi : tuple of arrays
        Per level the Psi (a, a) about which those of the fits may be expected, for numerical centring.

    Returns
    -------
    ManyFits
        What tests of the coefficients need.
    """
    stats, identified = _statistics(spec, y, X, psi)
    converged = np.ones(len(y), bool)
    if method.zero_psi:
        at = tuple(np.zeros((len(y), a, a)) for a in stats.dims)
    elif method.together is not None:
        free = Free(spec, spec.statistics.typical)
        own = fit_statistics(stats, free, method.likelihood == "restricted")
        at, converged = own.psi, own.converged
    else:
        at = _one_by_one(spec, y, X, method)
    value = likelihood(stats, at, restricted=False)
    beta, factor = np.atleast_2d(value.beta), value.beta_factor.reshape(len(y), X.shape[2], X.shape[2])
    return ManyFits(beta, factor @ factor.mT, np.atleast_1d(value.rss), identified & converged)


def _statistics(spec: Spec, y: FloatArray, X: FloatArray, psi: tuple[FloatArray, ...]) -> tuple[Statistics, BoolArray]:
    """Sufficient statistics of all pairs, and which designs are of full rank; the others have that of `spec`."""
    design = whitened_design(
        spec.X,
        [level.Z for level in spec.levels],
        [level.index for level in spec.levels],
        (spec.S.value, spec.S.row, spec.S.col),
    )
    P, order = X.shape[2], design.plan.order
    white = np.moveaxis(design.white.whiten(np.moveaxis(X[:, order], 0, -1)), -1, 0)
    Q, R = orthonormal(white)
    pivots = np.abs(np.diagonal(R, axis1=1, axis2=2))
    identified = pivots.min(1) > SINGULAR * pivots.max(1)
    if not identified.all():
        return _statistics(spec, y, np.where(identified[:, None, None], X, spec.X), psi)[0], identified
    effects = np.broadcast_to(design.columns[:, :-P], (*design.columns[:, :-P].shape[:2], len(y)))
    columns = np.concatenate([effects, np.moveaxis(Q, 0, -1)], axis=1)
    many = replace(design, columns=columns, R=np.moveaxis(R, 0, -1))
    sorted_y, sorted_X = y[:, order].T, np.moveaxis(X[:, order], 0, -1)
    nothing = np.zeros((P, len(y)))

    def centred(beta: FloatArray) -> Statistics:
        stats = reduce(many, sorted_y - np.einsum("npb,pb->nb", sorted_X, beta), nothing)
        return replace(stats, beta0=beta, beta_fixed=beta)

    stats = centred(many.fixed_fit(sorted_y))
    if stats.Q.max() > HETEROGENEOUS * max(1, stats.n_obs - P) and any(stats.dims):
        near = centred(np.atleast_2d(likelihood(stats, psi, restricted=False).beta).T)
        stats = replace(near, beta_fixed=stats.beta_fixed, Q=stats.Q)
    return stats, identified


def _one_by_one(spec: Spec, y: FloatArray, X: FloatArray, method: Method) -> tuple[FloatArray, ...]:
    """Psi of every level (B, a, a)."""
    plain = replace(spec, offset=np.zeros(len(spec.y)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)
        fits = [method.estimate(replace(plain, y=own, X=design)).psi for own, design in zip(y, X, strict=True)]
    return tuple(np.array(level) for level in zip(*fits, strict=True))
