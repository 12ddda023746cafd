"""What a profile likelihood can be made of: coefficients, and functions of the Psi of one level held at a value."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import BayesmetaWarning, SpecError
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.steps import Objective
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.parameters import BETA, RHO, TAU, parameters
from bayesmeta.tree.specification import group, spec_from_tree

PSI = "psi"
NEAR_ZERO = 1e-3  # of the typical sampling SD: an SD that stands for zero, where its gradient vanishes
NEAR_LIMIT = 1e-4  # distance of a correlation from its limits


@dataclass
class Target:
    """A parameter to be profiled.

    at : value -> the highest log-likelihood with the parameter held there; low, high : the range that can be searched,
    with `edges` the limits of the parameter's range that these stand for; step : first step from the estimate.
    """

    label: str
    kind: str
    estimate: float
    fitted: float
    at: Callable[[float], float]
    step: float
    low: float = -np.inf
    high: float = np.inf
    edges: tuple[float, float] = (-np.inf, np.inf)
    constant: bool = False


def chosen(tree: xr.DataTree, asked: str | Sequence[str] | None, prob: float) -> list[Target]:
    """The parameters asked for."""
    method = tree.attrs.get("method", "")
    group(tree, schema.ESTIMATE)
    if method not in ("ml", "reml"):
        raise SpecError(f'a fit by {method} has no profile likelihood\n  fit with method="ml" or "reml"')
    table = parameters(tree, prob)
    spec = spec_from_tree(tree)
    model = _Model(spec, tree)
    fixed = (model.coefficient(label, row) for label, row in table[table["kind"] == BETA].iterrows())
    made = {target.label: target for target in fixed}
    made |= {target.label: target for level in range(len(spec.levels)) for target in model.covariances(level)}
    kinds = [BETA, TAU, RHO, PSI]
    labels = [asked] if isinstance(asked, str) else list(made if asked is None else asked)
    for label in labels:
        if label not in made and label not in kinds:
            known = [*made, *kinds]
            raise SpecError(f"no parameter '{label}'{did_you_mean(label, known)}\n  known: {listing(known, 24)}")
    wanted = [t for t in made.values() if t.label in labels or t.kind in labels]
    if method == "ml":
        return wanted
    if asked is not None and any(t.kind == BETA for t in wanted):
        raise SpecError(
            'coefficients have no profile in a restricted likelihood\n  fit with method="ml", or use confint "wald"'
        )
    return [t for t in wanted if t.kind != BETA]


class _Model:
    """Makes the targets of a fit."""

    def __init__(self, spec: Spec, tree: xr.DataTree) -> None:
        self.spec, self.restricted = spec, tree.attrs["method"] == "reml"
        self.free = Free(spec, spec.statistics.typical)
        self.objective = Objective(spec.statistics, self.free, self.restricted)
        self.xi = np.asarray(group(tree, schema.ESTIMATE)["xi"].to_numpy(), dtype=float)
        self.fitted = float(group(tree, schema.CRITERIA)["loglik"])

    def coefficient(self, label: object, row: pd.Series) -> Target:
        j = self.spec.coef.index(row["term"])
        rest = np.delete(np.arange(len(self.spec.coef)), j)
        X, coef = self.spec.X[:, rest], tuple(self.spec.coef[i] for i in rest)

        def at(value: float) -> float:
            held = replace(self.spec, X=X, coef=coef, offset=self.spec.offset + value * self.spec.X[:, j])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BayesmetaWarning)
                return fit_likelihood(held, restricted=False, start=np.where(self.xi == 0, 0.1, self.xi)).loglik

        return Target(str(label), BETA, float(row["estimate"]), self.fitted, at, float(row["se"]))

    def covariances(self, number: int) -> list[Target]:
        """tau, rho and the entries of Psi of one level."""
        level, place = self.spec.levels[number], self.free.slices[number]
        psi = np.asarray(level.structure.psi(self.xi[place], level.dim), dtype=float)
        typical, found = self.free.typical[number], []
        for i in range(level.dim):
            term = f"{level.name}, {level.effects[i]}"
            held = self._held(number, _entry(level.dim, i, i))
            least, first = NEAR_ZERO * typical[i], float(np.sqrt(psi[i, i]))
            constant = not held.moves
            for kind, at, power in ((TAU, _squared(held), 1), (PSI, held, 2)):
                step = max(0.2 * first, 0.2 * typical[i]) ** power
                found.append(Target(f"{kind}[{term}]", kind, first**power, self.fitted, at, step, least**power))
                found[-1].edges, found[-1].constant = (0.0, np.inf), constant
        for a, b in zip(*np.triu_indices(level.dim, k=1), strict=True):
            found += self._pair(number, int(a), int(b), psi, typical)
        order = [TAU, RHO, PSI]
        return sorted(found, key=lambda target: order.index(target.kind))

    def _pair(self, number: int, i: int, j: int, psi: FloatArray, typical: FloatArray) -> list[Target]:
        level = self.spec.levels[number]
        term = f"{level.name}, {level.effects[i]}~{level.effects[j]}"
        scale = float(np.sqrt(psi[i, i] * psi[j, j]))
        rho, size = (psi[i, j] / scale if scale > 0 else np.nan), float(typical[i] * typical[j])
        correlation, entry = self._held(number, _correlation(i, j)), self._held(number, _entry(level.dim, i, j))
        low, edge = _range(level)
        inside = float(np.clip(rho, low + NEAR_LIMIT, 1 - NEAR_LIMIT))
        bounds = (low + NEAR_LIMIT, 1 - NEAR_LIMIT)
        zeros = [self._held(number, _entry(level.dim, m, m)) for m in (i, j)]
        least = [(NEAR_ZERO * float(typical[m])) ** 2 for m in (i, j)]

        def at(value: float) -> float:
            # an SD of zero goes with any correlation
            return max(correlation(value), *(zero(size) for zero, size in zip(zeros, least, strict=True)))

        one = Target(f"rho[{term}]", RHO, inside, self.fitted, at, 0.1, *bounds, edge)
        one.constant = not correlation.moves or bool(np.isnan(rho))
        step = max(0.2 * abs(psi[i, j]), 0.1 * size)
        other = Target(f"psi[{term}]", PSI, float(psi[i, j]), self.fitted, entry, step)
        other.constant = not entry.moves
        return [one, other]

    def _held(self, number: int, function: "Function") -> "Held":
        return Held(self.objective, self.xi / self.free.units, number, function)


Function = Callable[[FloatArray, float], tuple[float, FloatArray]]  # Psi, value -> constraint, its slope by Psi


def _range(level: Level) -> tuple[float, tuple[float, float]]:
    low = getattr(level.structure, "low", lambda dim: -1.0)(level.dim)
    return float(low), (float(low), 1.0)


def _entry(dim: int, i: int, j: int) -> Function:
    slope = np.zeros((dim, dim))
    slope[i, j] += 0.5
    slope[j, i] += 0.5
    return lambda psi, value: (float(psi[i, j]) - value, slope)


def _correlation(i: int, j: int) -> Function:
    """rho_ij = value, as psi_ij - value sqrt(psi_ii psi_jj) = 0, over the size of the variances."""

    def constraint(psi: FloatArray, value: float) -> tuple[float, FloatArray]:
        scale = max(float(np.sqrt(psi[i, i] * psi[j, j])), 1e-300)
        rho, slope = float(psi[i, j]) / scale, np.zeros(psi.shape)
        slope[i, j] = slope[j, i] = 0.5 / scale
        slope[i, i], slope[j, j] = (-0.5 * rho / max(float(psi[m, m]), 1e-300) for m in (i, j))
        return rho - value, slope

    return constraint


def _squared(held: "Held") -> Callable[[float], float]:
    return lambda value: held(value**2)


class Held:
    """The highest log-likelihood under a constraint on the Psi of one level, from the nearest point found so far."""

    def __init__(self, objective: Objective, z: FloatArray, number: int, function: Function) -> None:
        self.objective, self.number, self.function = objective, number, function
        self.start = np.where(z == 0, 0.1, z)
        self.known: dict[float, tuple[float, FloatArray]] = {}

    @property
    def moves(self) -> bool:
        """Whether the structure lets the constrained quantity vary."""
        return bool(np.abs(self.constraint(self.start, 0.0)[1]).max(initial=0.0) > 1e-12)

    def constraint(self, z: FloatArray, value: float) -> tuple[float, FloatArray]:
        free = self.objective.free
        level, place, xi = free.spec.levels[self.number], free.slices[self.number], z * free.units
        psi = np.asarray(level.structure.psi(xi[place], level.dim), dtype=float)
        difference, slope = self.function(psi, value)
        gradient = np.zeros(len(z))
        if place.stop > place.start:
            gradient[place] = level.structure.pullback(xi[place], slope, level.dim)
        return difference, gradient * free.units

    def __call__(self, value: float) -> float:
        if value not in self.known:
            near = sorted(self.known, key=lambda known: abs(known - value))[:1]
            tries = [self._solve(self.known[near[0]][1] if near else self.start, value)]
            if near:
                tries.append(self._solve(self.start, value))
            self.known[value] = max(tries, key=lambda found: found[0])
        return self.known[value][0]

    def _solve(self, start: FloatArray, value: float) -> tuple[float, FloatArray]:
        from scipy.optimize import minimize

        def negative(z: FloatArray) -> tuple[float, FloatArray]:
            loglik, gradient = self.objective(z)
            return (-loglik, -gradient) if np.isfinite(loglik) else (1e10, np.zeros_like(z))

        size = max(abs(value), 1e-8)
        found = minimize(
            negative,
            start,
            jac=True,
            method="SLSQP",
            bounds=list(zip(self.objective.free.lower, np.full(len(start), np.inf), strict=True)),
            constraints={
                "type": "eq",
                "fun": lambda z: self.constraint(z, value)[0] / size,
                "jac": lambda z: self.constraint(z, value)[1] / size,
            },
            options={"ftol": 1e-11, "maxiter": 300},
        )
        met = abs(self.constraint(found.x, value)[0]) <= 1e-5 * size
        return (-float(found.fun), found.x) if met else (-np.inf, start)
