"""Maximum likelihood and restricted maximum likelihood."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta.errors import AssumptionWarning, ConvergenceWarning, SpecError, warn
from bayesmeta.estimation.climb import DECREMENT, MOST_EVALUATIONS, relative_sizes
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.objective import Objective
from bayesmeta.estimation.record import Estimate, Modes, Optimizer
from bayesmeta.estimation.scan import Starts, starts
from bayesmeta.estimation.search import Maxima, interiors, maximise
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.kernel import likelihood
from bayesmeta.model.spec import Spec

NO_SEARCH = Optimizer(np.zeros((0, 0)), np.zeros(0), 0, np.zeros(0), 0.0, True, np.zeros(0, bool), "nothing to search")
FLAT = 1e-7  # curvature for relative steps below which the likelihood does not say where a parameter lies
SINGULAR = 1e-8  # eigenvalue of the expected information, scaled to a unit diagonal
BEYOND = 1e8  # natural sizes of a free parameter, beyond which no maximum lies and its square has no digits left
EXCLUDED = 1e5  # standard deviations between outcomes and fit, on average, that no data have
SAME = 1e-5  # log-likelihood, and share of the parameters, by which two modes differ at least


def fit_likelihood(
    spec: Spec,
    restricted: bool,
    start: FloatArray | None = None,
    max_iterations: int = MOST_EVALUATIONS,
    tolerance: float = DECREMENT,
    verbose: bool = False,
) -> Estimate:
    """Maximise the (restricted) log-likelihood over the free parameters of Psi, with beta profiled out.

    Sera et al. (2019), section 3.2 and equation (2).
    """
    stats = spec.statistics
    free = Free(spec.in_search, stats.typical)

    def report(step: int, loglik: float) -> None:
        print(f"iteration {step:3d}  log-likelihood {loglik:.8f}")

    xi, xi_cov, record = np.zeros(0), np.zeros((0, 0)), NO_SEARCH
    objective = Objective(stats, free, restricted)
    if free.size:
        chosen = checked_start(start, free)
        begin = starts(objective) if chosen is None else Starts(chosen[None] / free.units, np.zeros(1, np.int64), 0)
        maxima = maximise(objective, begin, max_iterations, tolerance, report if verbose else None)
        xi, xi_cov = maxima.points.z[0] * free.units, covariance(free, maxima)
        record = recorded(free, maxima, chosen is not None)
        if not record.converged:
            warn(
                f"the search did not converge: Newton decrement {record.decrement:.1e} after {record.evaluations} "
                f"evaluations; try other starts (start=), more iterations (max_iterations=) or a simpler structure",
                ConvergenceWarning,
            )
    psi = free.psi(xi)
    value = likelihood(stats, psi, restricted)
    warn_if_excluded(float(value.rss), stats.n_obs)
    nobs = stats.n_obs - (stats.n_coef if restricted else 0)
    if not nobs:
        warn(
            "as many coefficients as observations: the restricted log-likelihood and its criteria are undefined",
            AssumptionWarning,
        )
    return Estimate(
        method="reml" if restricted else "ml",
        beta=value.beta,
        beta_cov=value.beta_cov,
        psi=tuple(psi),
        xi=xi,
        xi_cov=xi_cov,
        free=free.labels,
        loglik=float(value.loglik) if nobs else np.nan,
        df_fixed=stats.n_coef,
        df_random=free.size,
        nobs=nobs,
        optimizer=record,
        tau2_se=variance_errors(free, xi, xi_cov, psi, objective) if free.size else None,
    )


def warn_if_excluded(rss: float, n_obs: int) -> None:
    """Say so where the outcomes are so far from the model, in standard deviations, that S can hardly be meant."""
    distance = np.sqrt(max(rss, 0.0) / n_obs)  # rounding may leave less than nothing
    if distance > EXCLUDED:
        warn(
            f"the outcomes lie {distance:.1e} standard deviations from the fitted model on average, what S excludes: "
            "coefficients may have lost digits\n  check S: it holds sampling (co)variances, not errors or weights, in "
            "the outcomes' units",
            AssumptionWarning,
        )


def recorded(free: Free, maxima: Maxima, started: bool) -> Optimizer:
    """The record of the search of one data set."""
    points, climbs, winner = maxima.points, maxima.climbs, int(maxima.winner[0])
    steps = int(climbs.evaluations[winner])
    residual = points.gradient[0] * relative_sizes(points.z[0])
    outward = maxima.at_edge[0] | ((points.z[0] <= free.lower) & (residual < 0))
    modes = distinct_modes(free, maxima)
    message = "from start=, without a scan" if started else f"best of {len(climbs.evaluations)} climbs"
    return Optimizer(
        starts=maxima.starts * free.units,
        path=climbs.path[:steps, winner],
        evaluations=steps,
        gradient=points.gradient[0] / free.units,
        gradient_norm=float(np.abs(np.where(outward, 0.0, residual)).max(initial=0.0)),
        converged=bool(maxima.converged[0]),
        at_boundary=maxima.at_edge[0] | (points.z[0] <= free.lower),
        message=message,
        all_evaluations=int(maxima.all_evaluations[0]),
        scan_evaluations=maxima.scanned,
        decrement=float(maxima.decrement[0]),
        modes=modes,
    )


def distinct_modes(free: Free, maxima: Maxima) -> Modes:
    """The ends of climbs that arrived, one of each place, the highest first."""
    climbs = maxima.climbs
    ends = free.canonical(climbs.points.z.T).T
    size = [np.maximum(np.abs(psi).max(initial=0.0), 1e-300) for psi in free.psi_batch(ends.T)]
    scaled = [psi / s for psi, s in zip(free.psi_batch(ends.T), size, strict=True)]
    place = np.concatenate([psi.reshape(len(ends), -1) for psi in scaled], axis=1)
    order = np.argsort(-climbs.points.loglik)
    chosen: list[int] = [int(maxima.winner[0])]
    for i in order[climbs.at_maximum[order]]:
        near = [np.abs(place[i] - place[j]).max(initial=0.0) < 1e-3 for j in chosen]
        level = [abs(climbs.points.loglik[i] - climbs.points.loglik[j]) < SAME for j in chosen]
        if not any(a or b for a, b in zip(near, level, strict=True)):
            chosen.append(int(i))
    return Modes(climbs.points.loglik[chosen], ends[chosen] * free.units, maxima.starts[chosen] * free.units)


def covariance(free: Free, maxima: Maxima) -> FloatArray:
    """Inverse observed information of xi; NaN where a parameter is at an edge or the likelihood is flat."""
    cov = np.full((free.size, free.size), np.nan)
    z, H = maxima.points.z[0], maxima.points.H[0]
    inside = np.flatnonzero(interiors(free, maxima.points.z, maxima.at_edge)[0])
    H = H[np.ix_(inside, inside)]
    if len(inside) and not is_flat(H, z[inside]):
        units = free.units[inside]
        cov[np.ix_(inside, inside)] = np.linalg.inv(H) * np.outer(units, units)
    return cov


def variance_errors(
    free: Free, xi: FloatArray, xi_cov: FloatArray, psi: Sequence[FloatArray], objective: Objective
) -> tuple[FloatArray, ...]:
    """Standard errors (a,) of the variances of every level: from the covariance of xi, at an edge from the expected
    information of Psi, in which a variance of zero is a point like any other. NaN where that is singular."""
    errors = []
    for level, place in free.parts():
        gradients = [level.structure.pullback(xi[place], np.diag(row), level.dim) for row in np.eye(level.dim)]
        G = np.reshape(gradients, (level.dim, place.stop - place.start))
        with np.errstate(invalid="ignore"):
            errors.append(np.sqrt(np.einsum("af,fg,ag->a", G, xi_cov[place, place], G)))
    if not any(np.isnan(se).any() for se in errors):
        return tuple(errors)
    directions = [D[..., 0] for D in free.directions((xi / free.units)[None])]
    value = likelihood(objective.stats, psi, objective.restricted, directions=directions)
    assert value.information is not None
    expected = value.information.expected[0]
    moving = np.flatnonzero(np.diag(expected) > 0)
    scale = np.sqrt(np.diag(expected)[moving])
    scaled = expected[np.ix_(moving, moving)] / np.outer(scale, scale)
    if not len(moving) or np.linalg.eigvalsh(scaled)[0] <= SINGULAR:
        return tuple(errors)
    root = np.full((len(expected), len(moving)), np.nan)
    root[moving] = np.linalg.inv(np.linalg.cholesky(scaled)).T / scale[:, None]
    for se, D, place in zip(errors, directions, free.theta_slices, strict=True):
        at_edge = np.isnan(se)
        se[at_edge] = np.sqrt(np.sum((np.einsum("aam->am", D)[at_edge] @ root[place]) ** 2, axis=1))
    return tuple(errors)


def is_flat(H: FloatArray, z: FloatArray) -> bool:
    """Whether a negative Hessian has no, or hardly any, curvature in some direction of relative steps."""
    size = relative_sizes(z)
    return len(H) > 0 and bool(np.linalg.eigvalsh(H * np.outer(size, size))[0] <= FLAT)


def checked_start(start: Any, free: Free) -> FloatArray | None:
    """The free parameters to begin at, after a check of their number and range."""
    if start is None:
        return None
    if isinstance(start, pd.Series):
        check_labels(start.index, free.labels, "start", error=SpecError)
    values = as_numbers(start, "start", SpecError)
    if values.shape != (free.size,) or not np.isfinite(values).all():
        raise SpecError(
            f"start has shape {values.shape}; give {free.size} finite numbers, for {', '.join(free.labels)}",
        )
    check_start_range(values, free)
    return values


def check_start_range(start: FloatArray, free: Free) -> None:
    """Raise SpecError where free parameters (F,) or (data sets, F) lie outside their range, or beyond all reason."""
    for bad, words in (
        (start < free.lower, "which cannot be negative"),
        (np.abs(start) > BEYOND * free.units, f"more than {BEYOND:g} of its natural size"),
    ):
        if bad.any():
            *data_set, at = (int(i) for i in np.argwhere(bad)[0])
            where = f" in data set {data_set[0]}" if data_set else ""
            natural = f" ({free.units[at]:.3g})" if words.endswith("size") else ""
            raise SpecError(f"start has {start[(*data_set, at)]:g} for {free.labels[at]}{where}, {words}{natural}")
