"""Ways from one point of the likelihood to a higher one: EM, Newton, quasi-Newton, and the polish at the end."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from bayesmeta._typing import IndexArray
from bayesmeta.estimation.free import Free
from bayesmeta.kernel import Statistics, likelihood

STEP = 1e-5  # of a parameter's size, for differences of the gradient
AT_ONCE = 20_000  # groups times points up to which several points are evaluated in one sweep
LEAST_CURVED = 1e-2  # curvature, as a share of the largest, that a Newton step assumes at least
MOST_SCORING = 15  # Newton steps before a problem is left to L-BFGS-B
LOOSE = 1e-3  # gradient at which Newton's last steps, with a fresh Hessian, take over
POLISHED = 1e-9  # gradient below which nothing is left to gain
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


def curvature(objective: Objective, point: Point, interior: IndexArray) -> np.ndarray:
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


def newton(objective: Objective, point: Point, H: np.ndarray, interior: IndexArray) -> Point:
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
