"""Fixed (common) effects: every Psi is zero, groups are kept."""

import numpy as np

from bayesmeta.estimation.methods import Method, OneVariance, register
from bayesmeta.estimation.ml import NO_SEARCH, warn_if_excluded
from bayesmeta.estimation.record import Estimate
from bayesmeta.kernel import likelihood, one_variance, statistics
from bayesmeta.model.spec import Spec


def fit_fixed(spec: Spec) -> Estimate:
    """Generalised least squares with the known S alone."""
    stats = spec.statistics
    value = likelihood(stats, [np.zeros((a, a)) for a in stats.dims], restricted=False)
    if not np.array_equal(stats.beta0, stats.beta_fixed):
        # centred where the data are heterogeneous, these statistics have fewer digits at Psi = 0
        nothing = np.zeros((stats.n_obs, 0))
        groups = [level.index for level in spec.levels]
        S = (spec.S.value, spec.S.row, spec.S.col)
        alone = statistics(spec.y - spec.offset, spec.X, [nothing for _ in groups], groups, S)
        value = likelihood(alone, [np.zeros((0, 0)) for _ in groups], restricted=False)
    warn_if_excluded(float(value.rss), stats.n_obs)
    return Estimate(
        method="fixed",
        beta=value.beta,
        beta_cov=value.beta_cov,
        psi=tuple(np.zeros((a, a)) for a in stats.dims),
        xi=np.zeros(0),
        xi_cov=np.zeros((0, 0)),
        free=(),
        loglik=float(value.loglik),
        df_fixed=stats.n_coef,
        df_random=0,
        nobs=stats.n_obs,
        optimizer=NO_SEARCH,
    )


register(
    Method(
        name="fixed",
        label="fixed effects, no between-group variance",
        short="common effect",
        estimate=fit_fixed,
        likelihood="full",
        zero_psi=True,
        one_variance=OneVariance(one_variance.FIXED),
        synonyms=("fe", "ee", "ce", "fixed effect", "fixed effects", "equal effects", "common effect", "common"),
        reference="Rice K, Higgins JPT, Lumley T (2018). A re-evaluation of fixed effect(s) meta-analysis. Journal of "
        "the Royal Statistical Society, Series A 181:205-227.",
    )
)
