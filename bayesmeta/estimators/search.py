"""The search for the maximum of a (restricted) log-likelihood over xi.

Moment-based start, a few EM steps, quasi-Newton, Newton polish; then the edges of the family are tried and the result
is put to a gradient test of its own (method: Sera et al. 2019, section 3.2, do RIGLS and then quasi-Newton).
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from bayesmeta.estimators.free import Free
from bayesmeta.estimators.record import Optimizer
from bayesmeta.kernel import Statistics, likelihood

EM_STEPS = 3
STEP = 1e-5  # of a parameter's size, for differences of the gradient
AT_ONCE = 20_000  # groups times points up to which several points are evaluated in one sweep
LEAST_CURVED = 1e-2  # curvature, as a share of the largest, that a Newton step assumes at least
MOST_SCORING = 15  # Newton steps before a problem is left to L-BFGS-B
LOOSE = 1e-3  # gradient at which Newton's last steps, with a fresh Hessian, take over
POLISHED = 1e-9  # gradient below which nothing is left to gain
POLISHED_ENOUGH = 1e-7  # gradient above which the Hessian is taken anew
MOST_POLISHING = 3
SMALL_SD = 0.03  # in units of the typical sampling SD: smaller SDs are tried at zero
OFF_ZERO = 0.1  # in the same units: so far from zero a search begins again
OFF_LIMIT = 2.0  # logit, of either sign, at which it begins again from a correlation's limit
EDGE_SHARE = 2e-3  # a correlation nearer to its limit than this share of its range is tried at the limit
EDGE_LOGIT = 36.0  # logit at which a correlation equals its limit in double precision
GAIN = 1e-9  # log-likelihood that an alternative point must gain to be taken for a better one
FLAT = 1e-7  # curvature for relative steps below which the likelihood does not say where a parameter lies


@dataclass
class Objective:
    """Log-likelihood and gradient over z = xi / units; counts its evaluations."""

    stats: Statistics
    free: Free
    restricted: bool
    evaluations: int = 0

    def __call__(self, z: np.ndarray) -> tuple[float, np.ndarray]:
        self.evaluations += 1
        xi = z * self.free.units
        value = likelihood(self.stats, self.free.psi(xi), self.restricted, gradient=True)
        assert value.scores is not None
        return float(value.loglik), self.free.pullback(xi, value.scores) * self.free.units

    def several(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Log-likelihoods (B,) and gradients (F, B) at points (F, B): at once where they fit the cache together."""
        if points.shape[1] * sum(self.stats.n_groups) > AT_ONCE:
            logliks, gradients = zip(*(self(z) for z in points.T), strict=True)
            return np.array(logliks), np.column_stack(gradients)
        self.evaluations += points.shape[1]
        units = self.free.units[:, None]
        psi = self.free.psi(points * units)
        batch = [np.broadcast_to(p, (*p.shape[:2], points.shape[1])).transpose(2, 0, 1) for p in psi]
        value = likelihood(self.stats, batch, self.restricted, gradient=True)
        assert value.scores is not None
        scores = [s.transpose(1, 2, 0) for s in value.scores]
        return value.loglik, self.free.pullback(points * units, scores) * units


@dataclass
class Point:
    """Where a search stands."""

    z: np.ndarray
    loglik: float
    gradient: np.ndarray
    path: list[float] = field(default_factory=list)


def moment_start(objective: Objective, multiple: float, em_steps: int) -> np.ndarray:
    """z after EM steps from diagonal Psi of `multiple` times the typical sampling variances.

    EM for Psi_l: Psi + 2/n_l Psi (d loglik / d Psi) Psi, which is the mean of E(b b') given the data.
    """
    stats, free = objective.stats, objective.free
    moments = [np.diag(multiple * t**2) for t in free.typical]
    for _ in range(em_steps):
        xi = free.start(moments)
        psi = free.psi(xi)
        scores = likelihood(stats, psi, objective.restricted, gradient=True).scores
        objective.evaluations += 1
        assert scores is not None
        moments = [p + 2 / n * p @ s @ p for p, s, n in zip(psi, scores, stats.n_groups, strict=True)]
    return free.start(moments) / free.units


def quasi_newton(
    objective: Objective, z: np.ndarray, max_iterations: int, report: Callable[[int, float], None]
) -> Point:
    """L-BFGS-B from z."""
    from scipy.optimize import minimize

    path: list[float] = []

    def negative(z: np.ndarray) -> tuple[float, np.ndarray]:
        loglik, gradient = objective(z)
        return (-loglik, -gradient) if np.isfinite(loglik) else (np.inf, np.zeros_like(z))

    def note(intermediate_result: object) -> None:
        path.append(-float(intermediate_result.fun))  # type: ignore[attr-defined]
        report(len(path), path[-1])

    result = minimize(
        negative,
        z,
        jac=True,
        method="L-BFGS-B",
        bounds=list(zip(objective.free.lower, np.full(len(z), np.inf), strict=True)),
        callback=note,
        options={"maxiter": max_iterations, "maxcor": max(10, len(z)), "ftol": 1e-13, "gtol": LOOSE / 10, "maxls": 40},
    )
    return Point(result.x, -float(result.fun), -np.asarray(result.jac), path)


def curvature(objective: Objective, point: Point, interior: NDArray[np.intp]) -> np.ndarray:
    """Negative Hessian in z over the interior parameters, by differences of the gradient."""
    if len(interior) == 0:
        return np.zeros((0, 0))
    ahead = np.repeat(point.z[:, None], len(interior), axis=1)
    ahead[interior, np.arange(len(interior))] += STEP * np.maximum(1.0, np.abs(point.z[interior]))
    change = (point.gradient[:, None] - objective.several(ahead)[1])[interior]
    H = change / (ahead[interior, np.arange(len(interior))] - point.z[interior])
    return (H + H.T) / 2


def scoring(
    objective: Objective, z: np.ndarray, max_iterations: int, report: Callable[[int, float], None]
) -> tuple[Point, bool]:
    """Newton steps whose Hessian is kept up to date by the gradients (BFGS); the point reached, and whether it serves.

    Few evaluations for well-behaved problems: they begin with the curvature where L-BFGS-B has to learn it.
    """
    loglik, gradient = objective(z)
    point = Point(z, loglik, gradient, [loglik])
    if not np.isfinite(loglik):
        return point, False
    H = curvature(objective, point, np.arange(len(z)))
    for _ in range(min(max_iterations, MOST_SCORING)):
        step, H = bounded_step(H, point)
        if (point.z + step < objective.free.lower).any():
            break
        loglik, gradient = objective(point.z + step)
        if not loglik >= point.loglik - GAIN:
            break
        change, bend = point.gradient - gradient, H @ step
        point = Point(point.z + step, loglik, gradient, [*point.path, loglik])
        report(len(point.path) - 1, loglik)
        if np.abs(residual_gradient(objective.free, point)).max() <= LOOSE:
            return point, True
        if change @ step > 0:
            H = H + np.outer(change, change) / (change @ step) - np.outer(bend, bend) / (bend @ step)
    return point, False


def bounded_step(H: np.ndarray, point: Point) -> tuple[np.ndarray, np.ndarray]:
    """Newton's step upwards, no parameter moved by more than its size, and H made positive definite for it."""
    relative = np.maximum(np.abs(point.z), 1.0)
    curved, directions = np.linalg.eigh(H * np.outer(relative, relative))
    curved = np.maximum(np.abs(curved), LEAST_CURVED * np.abs(curved).max())
    step = directions @ ((directions.T @ (relative * point.gradient)) / curved)
    step /= max(1.0, np.abs(step).max())
    return relative * step, (directions * curved) @ directions.T / np.outer(relative, relative)


def is_flat(H: np.ndarray, z: np.ndarray) -> bool:
    """Whether a negative Hessian has no, or hardly any, curvature in some direction of relative steps."""
    relative = np.maximum(np.abs(z), 1.0)
    return len(H) > 0 and bool(np.linalg.eigvalsh(H * np.outer(relative, relative))[0] <= FLAT)


def residual_gradient(free: Free, point: Point) -> np.ndarray:
    """Gradient in relative steps, with what only pushes against a bound left out."""
    pushes = (point.z <= free.lower) & (point.gradient < 0)
    return np.where(pushes, 0.0, point.gradient * np.maximum(np.abs(point.z), 1.0))


def newton(objective: Objective, point: Point, H: np.ndarray, interior: NDArray[np.intp]) -> Point:
    """Polish by Newton steps with one Hessian in its curved directions, as long as the gradient becomes smaller."""
    if len(interior) == 0:
        return point
    relative = np.maximum(np.abs(point.z[interior]), 1.0)
    curved, directions = np.linalg.eigh(H * np.outer(relative, relative))
    inverse = np.divide(1.0, curved, out=np.zeros_like(curved), where=curved > FLAT)
    size = np.abs(residual_gradient(objective.free, point)).max()
    while size > POLISHED:
        z = point.z.copy()
        z[interior] += relative * (directions @ (inverse * (directions.T @ (relative * point.gradient[interior]))))
        if (z < objective.free.lower).any():
            break
        loglik, gradient = objective(z)
        new = Point(z, loglik, gradient, [*point.path, loglik])
        new_size = np.abs(residual_gradient(objective.free, new)).max()
        if new_size > size / 2 or not loglik >= point.loglik - GAIN:
            break
        point, size = new, new_size
    return point


def try_edges(objective: Objective, point: Point) -> tuple[Point, np.ndarray]:
    """Set small SDs to zero and near-limit correlations to their limits where that costs nothing; which are there."""
    free = objective.free
    at_edge = np.zeros(free.size, bool)
    candidates = [(i, 0.0) for i in free.zero_positions if abs(point.z[i]) < SMALL_SD]
    share = {i: (1 + np.tanh(point.z[i] / 2)) / 2 for i in free.rho_positions}
    candidates += [(i, np.copysign(EDGE_LOGIT, point.z[i])) for i, s in share.items() if min(s, 1 - s) < EDGE_SHARE]
    for i, value in candidates:
        z = point.z.copy()
        z[i] = value
        loglik, gradient = objective(z)
        if loglik >= point.loglik - GAIN:
            point = Point(z, loglik, gradient, point.path)
            at_edge[i] = True
    return point, at_edge


def better_at_zero(objective: Objective, point: Point) -> np.ndarray | None:
    """z with the one SD at zero, or all of them, where the likelihood is highest, if it is higher than at the point."""
    zeros = objective.free.zero_positions
    points = np.repeat(point.z[:, None], len(zeros) + 1, axis=1)
    points[zeros, np.arange(len(zeros))] = 0.0
    points[zeros, -1] = 0.0
    logliks = objective.several(points)[0]
    best = int(np.argmax(logliks))
    return points[:, best] if logliks[best] > point.loglik + GAIN else None


def inward_starts(free: Free, point: Point, at_edge: np.ndarray) -> Iterator[np.ndarray]:
    """Starts a little inside the edges where a search ended: at an edge the gradient of the parameter vanishes.

    Where an SD is zero or a correlation at its limit, the correlation may have another mode: it is tried at several
    values, with small SDs of its level raised.
    """
    on_edge = at_edge | (point.z <= free.lower)
    zeros = np.intersect1d(free.zero_positions, np.flatnonzero(on_edge))
    logits = [i for i in free.rho_positions if on_edge[free.level_of(i)].any()]
    for moved in ([zeros] if len(zeros) else []) + ([zeros[[j]] for j in range(len(zeros))] if len(zeros) > 1 else []):
        z = point.z.copy()
        z[moved] = OFF_ZERO
        yield z
    for i in logits:
        sds = np.intersect1d(free.zero_positions, np.arange(free.size)[free.level_of(i)])
        for logit, least in ((-OFF_LIMIT, OFF_ZERO), (0.0, np.abs(point.z[sds]).mean()), (OFF_LIMIT, OFF_ZERO)):
            z = point.z.copy()
            z[sds] = np.maximum(np.abs(z[sds]), least)
            z[i] = logit
            yield z


def interior_of(free: Free, point: Point, at_edge: np.ndarray) -> NDArray[np.intp]:
    """Parameters that are neither at an edge nor meaningless because the SDs they belong to are zero."""
    inside = ~at_edge & (point.z > free.lower)
    for i in free.rho_positions:
        level = free.level_of(i)
        sds = [j for j in free.zero_positions if level.start <= j < level.stop]
        inside[i] &= sum(point.z[j] != 0 for j in sds) >= (2 if len(sds) > 1 else 1)
    return np.flatnonzero(inside)


@dataclass
class Outcome:
    """A finished local search."""

    point: Point
    at_edge: np.ndarray
    interior: NDArray[np.intp]
    H: np.ndarray
    start: np.ndarray

    @property
    def well_curved(self) -> bool:
        return not is_flat(self.H, self.point.z[self.interior])


def local_search(
    objective: Objective, start: np.ndarray, max_iterations: int, report: Callable[[int, float], None]
) -> Outcome:
    """Search from one start, with the edges tried and left again where the likelihood rises inwards."""
    point, serves = scoring(objective, start, max_iterations, report)
    if not serves:
        point = quasi_newton(objective, point.z, max_iterations, report)
    lower = better_at_zero(objective, point)
    if lower is not None:
        point = max(point, quasi_newton(objective, lower, max_iterations, report), key=lambda p: p.loglik)
    point, at_edge = try_edges(objective, point)
    for again in list(inward_starts(objective.free, point, at_edge)):
        inward = quasi_newton(objective, again, max_iterations, report)
        if inward.loglik > point.loglik + GAIN:
            point, at_edge = try_edges(objective, inward)
    interior = interior_of(objective.free, point, at_edge)
    for _ in range(MOST_POLISHING):
        H = curvature(objective, point, interior)
        point = newton(objective, point, H, interior)
        if np.abs(residual_gradient(objective.free, point)[interior]).max(initial=0.0) <= POLISHED_ENOUGH:
            break
    return Outcome(point, at_edge, interior, H, start)


def maximise(
    objective: Objective,
    start: np.ndarray | None,
    max_iterations: int,
    tolerance: float,
    report: Callable[[int, float], None],
) -> tuple[np.ndarray, np.ndarray, Optimizer]:
    """xi at the maximum, its covariance and the record of the search."""
    free = objective.free
    first = moment_start(objective, 1.0, EM_STEPS) if start is None else start / free.units
    outcomes = [local_search(objective, first, max_iterations, report)]
    if needs_second_start(free, outcomes[0], tolerance):
        outcomes.append(local_search(objective, moment_start(objective, 25.0, 1), max_iterations, report))
    best = max(outcomes, key=lambda o: o.point.loglik)
    residual = residual_gradient(free, best.point)
    residual[best.at_edge] = 0.0
    norm = float(np.abs(residual).max(initial=0.0))
    at_bound = best.at_edge | (best.point.z <= free.lower)
    record = Optimizer(
        starts=np.array([o.start * free.units for o in outcomes]),
        path=np.array(best.point.path),
        evaluations=objective.evaluations,
        gradient=best.point.gradient / free.units,
        gradient_norm=norm,
        converged=norm <= tolerance * max(1.0, np.sqrt(objective.stats.n_obs / 100)),
        at_boundary=at_bound,
        message="" if len(outcomes) == 1 else f"best of {len(outcomes)} starts",
    )
    return best.point.z * free.units, covariance(free, best), record


def needs_second_start(free: Free, outcome: Outcome, tolerance: float) -> bool:
    norm = np.abs(residual_gradient(free, outcome.point)[outcome.interior]).max(initial=0.0)
    large_unstr = any(v.structure.name == "unstr" and v.dim >= 3 for v in free.spec.levels)
    return large_unstr or len(outcome.interior) < free.size or not outcome.well_curved or norm > tolerance


def covariance(free: Free, outcome: Outcome) -> np.ndarray:
    """Inverse observed information of xi; NaN where a parameter is at an edge or the likelihood is flat."""
    cov = np.full((free.size, free.size), np.nan)
    if len(outcome.interior) and outcome.well_curved:
        units = free.units[outcome.interior]
        cov[np.ix_(outcome.interior, outcome.interior)] = np.linalg.inv(outcome.H) * np.outer(units, units)
    return cov
