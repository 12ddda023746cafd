"""Fixed (common) effects: every Psi is zero, groups are kept."""

import numpy as np

from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.ml import NO_SEARCH
from bayesmeta.estimation.record import Estimate
from bayesmeta.kernel import likelihood
from bayesmeta.model.spec import Spec


def fit_fixed(spec: Spec) -> Estimate:
    """Generalised least squares with the known S alone."""
    stats = spec.statistics
    psi = tuple(np.zeros((a, a)) for a in stats.dims)
    value = likelihood(stats, psi, restricted=False)
    return Estimate(
        method="fixed",
        beta=value.beta,
        beta_cov=value.beta_cov,
        psi=psi,
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
    )
)
