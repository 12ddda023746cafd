"""Many data sets of one outcome with one random effect a row, each fitted by itself in compiled code."""

from typing import NamedTuple

import numpy as np
from scipy.special import chdtrc, ndtri, stdtr, stdtrit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.methods import Method
from bayesmeta.estimation.ml_many import DataSets, ManyEstimates
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.model.spec import Spec

UNEQUAL = 1e6  # ratio of the sampling variances of a data set from which sums over rows lose digits
DISTRIBUTIONS = ("z", "residual", "knapp-hartung", "knapp-hartung-adhoc")


def suits(spec: Spec, method: Method) -> bool:
    """Whether the compiled estimator of a method serves: one outcome, one random effect a row whose variance is free,
    independent sampling errors, and more rows than coefficients."""
    if method.one_variance is None or not one_effect_a_row(spec) or len(spec.S.value) > len(spec.y):
        return False
    (level,) = spec.levels
    if len(spec.y) <= len(spec.coef) or (level.n_free != 1 and not method.zero_psi):
        return False
    return method.zero_psi or all(level.structure.psi(np.array([sd]), 1) == sd**2 for sd in (1.0, 2.0))


def alike(data: DataSets) -> bool:
    """Whether sums over rows keep their digits: no data set has sampling variances of very different sizes."""
    least, most = data.extremes
    if most <= UNEQUAL * least:
        return True
    with np.errstate(invalid="ignore"):
        seen = np.where(np.isnan(data.y), np.nan, data.S) if np.isnan(data.y).any() else np.atleast_2d(data.S)
        return bool(np.all(np.nanmax(seen, axis=1) <= UNEQUAL * np.nanmin(seen, axis=1)))


def fit_rows(data: DataSets, method: Method) -> ManyEstimates:
    """Estimates of every data set, missing values (NaN in y) left out; NaN where too little is left."""
    assert method.one_variance is not None
    spec = data.spec
    in_order = np.array_equal(data.row, np.arange(len(data.row)))
    v = data.S if in_order else data.S[..., np.argsort(data.row)]
    y = data.y - spec.offset if spec.offset.any() else data.y
    fit = method.one_variance(y, spec.X, v)
    n_free = 0 if method.zero_psi else 1
    return ManyEstimates(
        beta=fit.beta,
        beta_se=np.sqrt(np.diagonal(fit.V, axis1=1, axis2=2)),
        psi=(fit.tau2[:, None, None],),
        xi=np.sqrt(fit.tau2)[:, None][:, :n_free],
        loglik=fit.loglik,
        converged=fit.arrived == 1,
        at_boundary=(fit.tau2 == 0)[:, None][:, :n_free],
        Q=fit.Q,
        rss=fit.rss,
        n_obs=fit.n.astype(np.int64),
    )


def warn_of_too_few(estimates: ManyEstimates, listed: str, n: int) -> None:
    """Say which data sets have no results."""
    warn(
        f"{n} of {len(estimates.beta)} data sets do not identify what is estimated, so their results are NaN: "
        f"data sets {listed}\n  each needs more studies than coefficients, and predictors that vary among them",
        AssumptionWarning,
    )


class Heterogeneity(NamedTuple):
    """Of every data set (B,): Cochran's Q, its degrees of freedom, and I2 in percent."""

    Q: FloatArray
    df: FloatArray
    I2: FloatArray

    @property
    def pvalue(self) -> FloatArray:
        return np.asarray(chdtrc(self.df, self.Q))


def heterogeneity_of(estimates: ManyEstimates) -> Heterogeneity:
    """Higgins and Thompson (2002), Stat. Med. 21:1539-1558; NaN where no degrees of freedom are left."""
    assert estimates.Q is not None
    assert estimates.n_obs is not None
    Q, df = estimates.Q, (estimates.n_obs - estimates.beta.shape[1]).astype(float)
    df = np.where((df > 0) & ~np.isnan(Q), df, np.nan)
    share = np.divide(Q - df, Q, out=np.zeros_like(Q), where=Q > 0)
    return Heterogeneity(Q, df, np.where(np.isnan(df), np.nan, 100 * np.maximum(share, 0)))


class Tests(NamedTuple):
    """Of every coefficient (B, P): standard error, degrees of freedom, p value and interval."""

    se: FloatArray
    df: FloatArray
    pvalue: FloatArray
    lower: FloatArray
    upper: FloatArray


def tests_of(estimates: ManyEstimates, df: str, prob: float, n_obs: int) -> Tests:
    """Tests and intervals of the coefficients.

    df : one of `DISTRIBUTIONS`. n_obs : observations of a data set, where that is the same of all.
    """
    check_choice(df, DISTRIBUTIONS, "df")
    P = estimates.beta.shape[1]
    left = np.broadcast_to((n_obs if estimates.n_obs is None else estimates.n_obs) - P, len(estimates.beta))
    se = estimates.beta_se
    if df.startswith("knapp-hartung"):
        if estimates.rss is None:
            raise SpecError(
                f'df="{df}" is for one outcome with one random effect for each row and independent sampling errors\n'
                '  take df="z" or "residual", or fit the data sets one by one and ask bm.estimates'
            )
        factor = estimates.rss / np.where(left > 0, left, np.nan)
        factor = factor if df == "knapp-hartung" else np.maximum(factor, 1.0)
        se = se * np.sqrt(factor)[:, None]
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.abs(estimates.beta / se)
    nu = np.where(left > 0, left, np.nan) if df != "z" else np.full(len(se), np.inf)
    nu = np.broadcast_to(nu[:, None], se.shape)
    half = (ndtri(0.5 + prob / 2) if df == "z" else stdtrit(nu, 0.5 + prob / 2)) * se
    return Tests(se, nu, 2 * stdtr(nu, -statistic), estimates.beta - half, estimates.beta + half)
