"""Fixed (common) effects: every Psi is zero, groups are kept."""

from functools import partial

import numpy as np

from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.ml import NO_SEARCH, warn_if_excluded
from bayesmeta.estimation.record import Estimate
from bayesmeta.estimation.tau2 import by_columns, fit_common
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.kernel import Likelihood, likelihood, statistics
from bayesmeta.kernel.weighted_rows import Rows
from bayesmeta.model.spec import Spec


def fit_fixed(spec: Spec) -> Estimate:
    """Generalised least squares with the known S alone."""
    stats = spec.statistics
    if one_effect_a_row(spec) and len(spec.S.value) == len(spec.y):
        rows = Rows.of((spec.y - spec.offset)[:, None], spec.X, spec.S.variances[:, None])
        fit = fit_common(rows)
        beta, beta_cov, rss, loglik = fit.beta[0], fit.V[0], fit.rss[0], fit.loglik[0]
    else:
        value = _least_squares(spec)
        beta, beta_cov, rss, loglik = value.beta, value.beta_cov, value.rss, value.loglik
    warn_if_excluded(float(rss), stats.n_obs)
    return Estimate(
        method="fixed",
        beta=beta,
        beta_cov=beta_cov,
        psi=tuple(np.zeros((a, a)) for a in stats.dims),
        xi=np.zeros(0),
        xi_cov=np.zeros((0, 0)),
        free=(),
        loglik=float(loglik),
        df_fixed=stats.n_coef,
        df_random=0,
        nobs=stats.n_obs,
        optimizer=NO_SEARCH,
    )


def _least_squares(spec: Spec) -> Likelihood:
    stats = spec.statistics
    if np.array_equal(stats.beta0, stats.beta_fixed):
        return likelihood(stats, [np.zeros((a, a)) for a in stats.dims], restricted=False)
    # centred where the data are heterogeneous, these statistics have fewer digits at Psi = 0
    nothing, groups = np.zeros((stats.n_obs, 0)), [level.index for level in spec.levels]
    S = (spec.S.value, spec.S.row, spec.S.col)
    alone = statistics(spec.y - spec.offset, spec.X, [nothing for _ in groups], groups, S)
    return likelihood(alone, [np.zeros((0, 0)) for _ in groups], restricted=False)


register(
    Method(
        name="fixed",
        label="fixed effects, no between-group variance",
        short="common effect",
        estimate=fit_fixed,
        likelihood="full",
        zero_psi=True,
        one_variance=partial(by_columns, fit=fit_common),
        synonyms=("fe", "ee", "ce", "fixed effect", "fixed effects", "equal effects", "common effect", "common"),
        reference="Rice K, Higgins JPT, Lumley T (2018). A re-evaluation of fixed effect(s) meta-analysis. Journal of "
        "the Royal Statistical Society, Series A 181:205-227.",
    )
)
