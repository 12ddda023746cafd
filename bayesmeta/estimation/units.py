"""Observations arranged by unit, for estimators that take the rows of the data as independent groups."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import SpecError
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.kernel import Likelihood, batched_linalg, likelihood
from bayesmeta.kernel.layout import distinct
from bayesmeta.model.spec import Spec

LIKELIHOOD = 'leave out random= and psi=, or fit by method="reml" or "ml"'  # what to do where moments do not serve


@dataclass(frozen=True, eq=False)
class Units:
    """The m units of a specification with one level whose groups are the rows and whose effects are the outcomes.

    y (m, k) less the offset, X (m, k, P), S (m, k, k), seen (m, k). An outcome that is missing has zeros in y and X,
    and in S a one on the diagonal and zeros beside it, so that it is independent of the others and tells nothing.
    """

    y: FloatArray
    X: FloatArray
    S: FloatArray
    seen: BoolArray

    @cached_property
    def pairs(self) -> BoolArray:
        """(m, k, k) whether both outcomes are observed."""
        return self.seen[:, :, None] & self.seen[:, None, :]

    @cached_property
    def precision(self) -> FloatArray:
        """(m, k, k) S^-1 of the observed outcomes, zero beside them."""
        C = batched_linalg.accurate_cholesky(np.ascontiguousarray(np.moveaxis(self.S, 0, -1)[:, :, None]))
        root = batched_linalg.solve_lower(C, np.broadcast_to(batched_linalg.identity(len(C)), C.shape))
        return np.moveaxis(batched_linalg.gram(root, root)[:, :, 0], -1, 0) * self.pairs

    @cached_property
    def n_pairs(self) -> FloatArray:
        """(k, k) number of units that observe both outcomes."""
        return self.pairs.sum(axis=0).astype(float)

    @cached_property
    def typical(self) -> FloatArray:
        """(k,) square root of every outcome's median sampling variance."""
        variances = np.diagonal(self.S, axis1=1, axis2=2)
        return np.sqrt(np.nanmedian(np.where(self.seen, variances, np.nan), axis=0))

    def residuals(self, beta: FloatArray) -> FloatArray:
        return self.y - self.X @ beta

    def covariances(self, psi: FloatArray) -> FloatArray:
        """Sigma = S + Psi of every unit's observed outcomes (m, k, k)."""
        return self.S + np.where(self.pairs, psi, 0.0)


def units_of(spec: Spec, what: str, advice: str) -> Units:
    """The units of a specification; raises SpecError where it has other groups or effects."""
    check_rows_are_groups(spec, what, advice)
    m, k, P = spec.levels[0].n_groups, len(spec.outcomes), len(spec.coef)
    unit, outcome = spec.levels[0].index, spec.outcome_index
    y, X, seen = np.zeros((m, k)), np.zeros((m, k, P)), np.zeros((m, k), bool)
    y[unit, outcome], X[unit, outcome], seen[unit, outcome] = spec.y - spec.offset, spec.X, True
    S = np.eye(k) * ~seen[:, :, None]
    row, col = spec.S.row, spec.S.col
    S[unit[row], outcome[row], outcome[col]] = spec.S.value
    S[unit[row], outcome[col], outcome[row]] = spec.S.value
    return Units(y, X, S, seen)


def check_rows_are_groups(spec: Spec, what: str, advice: str) -> None:
    """Raise SpecError unless there is one level, its groups are the rows and its effects one for every outcome.

    what : needs this, and begins the error; advice : what to do instead.
    """
    if otherwise := _otherwise(spec):
        raise SpecError(f"{what} needs one random effect for each row and outcome, {otherwise}\n  {advice}")


def one_effect_a_row(spec: Spec) -> bool:
    """Whether there is one outcome with one random effect for each row."""
    return len(spec.outcomes) == 1 and not _otherwise(spec)


def _otherwise(spec: Spec) -> str:
    """What keeps a specification from having one random effect for each row and outcome; empty where nothing does."""
    if len(spec.levels) > 1:
        return f"the model has the levels {listing(v.name for v in spec.levels)}"
    (level,) = spec.levels
    rows = len(distinct(spec.row))
    if level.n_groups != rows:
        return f"level '{level.name}' joins {rows} rows in {level.n_groups} groups"
    if not np.array_equal(level.Z, np.eye(len(spec.outcomes))[spec.outcome_index]):
        return f"the random effects of level '{level.name}' are: {listing(level.effects) or 'none'}"
    return ""


def check_unstructured(spec: Spec, method: str) -> None:
    """Raise SpecError when Psi has a structure, which moments do not keep."""
    structure = spec.levels[0].structure
    if not structure.unrestricted:
        raise SpecError(
            f"method '{method}' estimates an unstructured Psi, the model has psi=\"{structure.name}\"\n  {LIKELIHOOD}"
        )


def least_squares(spec: Spec, psi: FloatArray) -> Likelihood:
    """Generalised least squares at a given Psi."""
    return likelihood(spec.statistics, (psi,), restricted=False)


def at_psi(
    spec: Spec,
    method: str,
    psi: FloatArray,
    tau2_se: FloatArray,
    xi: FloatArray,
    xi_cov: FloatArray,
    search: Optimizer,
) -> Estimate:
    """The estimates at a Psi that comes without a likelihood."""
    level, fit = spec.levels[0], least_squares(spec, psi)
    return Estimate(
        method=method,
        beta=fit.beta,
        beta_cov=fit.beta_cov,
        psi=(psi,),
        xi=xi,
        xi_cov=xi_cov,
        free=tuple(f"{level.name}.{label}" for label in level.structure.labels(level.effects)),
        loglik=np.nan,
        df_fixed=spec.statistics.n_coef,
        df_random=len(xi),
        nobs=spec.statistics.n_obs,
        optimizer=search,
        tau2_se=(tau2_se,),
    )
