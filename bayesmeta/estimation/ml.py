"""Maximum likelihood and restricted maximum likelihood."""

import warnings

import numpy as np

from bayesmeta.errors import ConvergenceWarning, SpecError
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.record import Estimate, Optimizer


from bayesmeta.kernel import likelihood
from bayesmeta.model.spec import Spec

NO_SEARCH = Optimizer(np.zeros((0, 0)), np.zeros(0), 0, np.zeros(0), 0.0, True, np.zeros(0, bool), "nothing to search")


def fit_likelihood(
    spec: Spec,
    restricted: bool,
    start: np.ndarray | None = None,
    max_iterations: int = 200,
    tolerance: float = 1e-6,
    verbose: bool = False,
) -> Estimate:
    """Maximise the (restricted) log-likelihood over the free parameters of Psi, with beta profiled out.

    Sera et al. (2019), section 3.2 and equation (2).
    """
    stats = spec.statistics
    free = Free(spec, stats.typical)

    def report(iteration: int, loglik: float) -> None:
        if verbose:
            print(f"iteration {iteration:3d}  log-likelihood {loglik:.8f}")

    if free.size:
        objective = Objective(stats, free, restricted)
        xi, xi_cov, record = maximise(objective, checked_start(start, free), max_iterations, tolerance, report)
        if not record.converged:
            warnings.warn(
                f"the search did not converge: gradient norm {record.gradient_norm:.1e} after {record.evaluations} "
                f"evaluations; try other starts (start=), more iterations (max_iterations=) or a simpler structure",
                ConvergenceWarning,
                stacklevel=3,
            )
    else:
        xi, xi_cov, record = np.zeros(0), np.zeros((0, 0)), NO_SEARCH
    psi = free.psi(xi)
    value = likelihood(stats, psi, restricted)
    return Estimate(
        method="reml" if restricted else "ml",
        beta=value.beta,
        beta_cov=value.beta_cov,
        psi=tuple(psi),
        xi=xi,
        xi_cov=xi_cov,
        free=free.labels,
        loglik=float(value.loglik),
        df_fixed=stats.n_coef,
        df_random=free.size,
        nobs=stats.n_obs - (stats.n_coef if restricted else 0),
        optimizer=record,
    )


def checked_start(start: np.ndarray | None, free: Free) -> np.ndarray | None:
    if start is None:
        return None
    try:
        given = np.asarray(start, float)
    except (TypeError, ValueError):
        raise SpecError(f"start is {start!r}; give {free.size} numbers, for {', '.join(free.labels)}") from None
    if given.shape != (free.size,) or not np.isfinite(given).all():
        raise SpecError(
            f"start has shape {given.shape}; give {free.size} finite numbers, for {', '.join(free.labels)}",
        )
    return np.maximum(given, free.lower)
