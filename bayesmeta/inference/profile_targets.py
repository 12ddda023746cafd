"""What a profile likelihood can be made of: coefficients, and functions of the Psi of one level held at a value."""

import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names
from bayesmeta.errors import BayesmetaWarning, SpecError
from bayesmeta.estimation import fit_likelihood
from bayesmeta.estimation.constrained import Function, correlation, decay, entry, maximise_held
from bayesmeta.estimation.free import Free
from bayesmeta.estimation.methods import method_of
from bayesmeta.estimation.objective import Objective
from bayesmeta.model.spec import Spec
from bayesmeta.tree.parameters import BETA, PSI, RHO, TAU, TAU2, check_parameter, parameters
from bayesmeta.tree.specification import group, spec_from_tree

NEAR_ZERO = 1e-3  # of the typical sampling SD: an SD that stands for zero, where its gradient vanishes
SMALLEST_SIZE = 1e-3  # of what is typical: by which, at least, distances from a value are measured
OFF_EDGE = 0.05  # in units of z: so far from zero and from limits climbs begin
MEMBERS = 512  # of a structure, among which a start is looked for
NEAR_LIMIT = 1e-4  # distance of a correlation from its limits


@dataclass
class Target:
    """A parameter to be profiled.

    at : values -> the highest log-likelihoods with the parameter held there, NaN where it cannot be.
    low, high : the range that can be searched,
    with `edges` the limits of the parameter's range that these stand for; step : first step from the estimate.
    root : of a variance its SD, which has the same profile. bounds : per side, with what there is to say about it.
    """

    label: str
    kind: str
    estimate: float
    fitted: float
    at: Callable[[FloatArray], FloatArray]
    step: float
    low: float = -np.inf
    high: float = np.inf
    edges: tuple[float, float] = (-np.inf, np.inf)
    constant: bool = False
    root: "Target | None" = None
    bounds: dict[int, tuple[float, str]] = field(default_factory=dict)


def chosen(tree: xr.DataTree, asked: str | Sequence[str] | None, prob: float) -> list[Target]:
    """The parameters asked for."""
    group(tree, schema.ESTIMATE)
    method = tree.attrs.get("method", "")
    if not method_of(tree).searches:
        raise SpecError(f'a fit by {method} has no profile likelihood\n  fit with method="ml" or "reml"')
    table = parameters(tree, prob)
    spec = spec_from_tree(tree)
    model = _Model(spec, tree)
    fixed = (model.coefficient(label, row) for label, row in table[table["kind"] == BETA].iterrows())
    made = {target.label: target for target in fixed}
    made |= {target.label: target for level in range(len(spec.levels)) for target in model.covariances(level)}
    kinds = dict.fromkeys(target.kind for target in made.values())
    labels = list(made) if asked is None else check_names(asked, "parameters")
    for label in labels:
        check_parameter(label, made, kinds)
    wanted = [t for t in made.values() if t.label in labels or t.kind in labels]
    if method_of(tree).likelihood == "full":
        return wanted
    if asked is not None and any(t.kind == BETA for t in wanted):
        raise SpecError(
            'coefficients have no profile in a restricted likelihood\n  fit with method="ml", or use confint "wald"'
        )
    return [t for t in wanted if t.kind != BETA]


class _Model:
    """Makes the targets of a fit."""

    def __init__(self, spec: Spec, tree: xr.DataTree) -> None:
        self.spec, self.restricted = spec, method_of(tree).likelihood == "restricted"
        self.free = Free(spec, spec.statistics.typical)
        self.objective = Objective(spec.statistics, self.free, self.restricted)
        self.known: dict[tuple[int, tuple[tuple[int, int], ...]], Held] = {}
        self.xi = np.asarray(group(tree, schema.ESTIMATE)["xi"].to_numpy(), dtype=float)
        self.fitted = float(group(tree, schema.CRITERIA)["loglik"])
        z = self.xi / self.free.units
        self.off_edges = np.where(np.abs(z) < OFF_EDGE, OFF_EDGE, z)
        for i in self.free.rho_positions:
            self.off_edges[i] = np.clip(z[i], OFF_EDGE, np.pi - OFF_EDGE)

    def coefficient(self, label: object, row: pd.Series) -> Target:
        j = self.spec.coef.index(row["term"])
        rest = np.delete(np.arange(len(self.spec.coef)), j)
        X, coef = self.spec.X[:, rest], tuple(self.spec.coef[i] for i in rest)

        def one(value: float) -> float:
            held = replace(self.spec, X=X, coef=coef, offset=self.spec.offset + value * self.spec.X[:, j])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", BayesmetaWarning)
                return fit_likelihood(held, restricted=False, start=self.off_edges * self.free.units).loglik

        def at(values: FloatArray) -> FloatArray:
            return np.array([one(float(value)) for value in values])

        return Target(str(label), BETA, float(row["estimate"]), self.fitted, at, float(row["se"]))

    def covariances(self, number: int) -> list[Target]:
        """tau, rho and the entries of Psi of one level."""
        level, place = self.spec.levels[number], self.free.slices[number]
        psi = np.asarray(level.structure.psi(self.xi[place], level.dim), dtype=float)
        typical, found = self.free.typical[number], []
        shared = level.structure.own_parameters and level.structure.n_tau(level.dim) == 1
        for i in range(1 if shared else level.dim):
            term = level.name if shared else f"{level.name}, {level.effects[i]}"
            held = self._held(number, entry(i, i), typical[i] ** 2)
            least, first = NEAR_ZERO * typical[i], float(np.sqrt(psi[i, i]))
            constant = not held.moves
            for kind, at, power in ((TAU, _squared(held), 1), (TAU2, held, 2)):
                step = max(0.2 * first, 0.2 * typical[i]) ** power
                found.append(Target(f"{kind}[{term}]", kind, first**power, self.fitted, at, step, least**power))
                found[-1].edges, found[-1].constant = (0.0, np.inf), constant
            found[-1].root = found[-2]
        if level.structure.own_parameters:
            found.append(self._own_rho(number, psi))
        for a, b in zip(*np.triu_indices(level.dim, k=1), strict=True) if not level.structure.own_parameters else ():
            found += self._pair(number, int(a), int(b), psi, typical)
        order = [TAU, RHO, TAU2, PSI]
        return sorted(found, key=lambda target: order.index(target.kind))

    def _own_rho(self, number: int, psi: FloatArray) -> Target:
        """The correlation over one unit of time, held by that of the pair nearest to the median distance."""
        level = self.spec.levels[number]
        at = level.structure.positions
        assert at is not None
        first, second = np.triu_indices(level.dim, k=1)
        distance = at[second] - at[first]
        pair = int(np.argmin(np.abs(distance - np.median(distance))))
        lag = float(distance[pair])
        held = self._held(number, decay(int(first[pair]), int(second[pair])), 1.0)
        rho = level.structure.own_rho(psi)
        inside = float(np.clip(rho**lag, NEAR_LIMIT, 1 - NEAR_LIMIT))
        low, high, near = (float(r ** (1 / lag)) for r in (NEAR_LIMIT, 1 - NEAR_LIMIT, max(inside - 0.1, inside / 2)))
        estimate = inside ** (1 / lag)
        target = Target(
            f"rho[{level.name}]", RHO, estimate, self.fitted, lambda values: held(-lag * np.log(values)), 0.1
        )
        target.step, target.low, target.high, target.edges = estimate - near, low, high, (0.0, 1.0)
        target.constant = bool(np.isnan(rho))
        return target

    def _pair(self, number: int, i: int, j: int, psi: FloatArray, typical: FloatArray) -> list[Target]:
        level = self.spec.levels[number]
        term = f"{level.name}, {level.effects[i]}~{level.effects[j]}"
        scale = float(np.sqrt(psi[i, i] * psi[j, j]))
        rho, size = (psi[i, j] / scale if scale > 0 else np.nan), float(typical[i] * typical[j])
        rho_held = self._held(number, correlation(i, j), 1.0)
        psi_held = self._held(number, entry(i, j), size)
        low, high = edge = level.structure.rho_range(i, j, level.dim)
        bounds = (low + NEAR_LIMIT, high - NEAR_LIMIT) if low < high else edge
        inside = float(np.clip(rho, *bounds))
        zeros = [self._held(number, entry(m, m), typical[m] ** 2) for m in (i, j)]
        least = [(NEAR_ZERO * float(typical[m])) ** 2 for m in (i, j)]

        def at(values: FloatArray) -> FloatArray:
            # an SD of zero goes with any correlation
            without = [zero(np.array([size])) for zero, size in zip(zeros, least, strict=True)]
            return np.asarray(np.fmax(rho_held(values), np.fmax(*without)))

        one = Target(f"rho[{term}]", RHO, inside, self.fitted, at, 0.1, *bounds, edge)
        one.constant = not rho_held.moves or bool(np.isnan(rho))
        step = max(0.2 * abs(psi[i, j]), 0.1 * size)
        other = Target(f"psi[{term}]", PSI, float(psi[i, j]), self.fitted, psi_held, step)
        other.constant = not psi_held.moves
        smallest = float(np.sqrt(least[0] * least[1]))
        if low >= 0:
            other.low, other.edges = smallest, (0.0, np.inf)
        elif high <= 0:
            other.high, other.edges = -smallest, (-np.inf, 0.0)
        return [one, other]

    def _held(self, number: int, function: Function, size: float) -> "Held":
        key = (number, function.entries)
        if key not in self.known:
            self.known[key] = Held(self.objective, self.off_edges, number, function, size)
        return self.known[key]


def _squared(held: "Held") -> Callable[[FloatArray], FloatArray]:
    return lambda values: held(values**2)


class Held:
    """The highest log-likelihood with a function of the Psi of one level held, from the nearest points known."""

    def __init__(self, objective: Objective, z: FloatArray, number: int, function: Function, size: float) -> None:
        self.objective, self.number, self.function, self.size = objective, number, function, float(size)
        self.start = z
        self.known: dict[float, Reached] = {}

    @property
    def moves(self) -> bool:
        """Whether the structure lets the quantity vary."""
        free = self.objective.free
        place, level = free.slices[self.number], free.spec.levels[self.number]
        if not level.n_free:
            return False
        one = self.start[place] * free.units[place]
        around = one[:, None] * np.random.default_rng(0).uniform(0.5, 1.5, (len(one), 4))
        spread = np.broadcast_to(level.structure.psi(around, level.dim), (level.dim, level.dim, 4))
        values = self.function.of(np.stack([spread[i, j] for i, j in self.function.entries]))[0]
        return bool(np.ptp(values) > 1e-12 * np.abs(values).max())

    def __call__(self, values: FloatArray) -> FloatArray:
        """(n,) log-likelihoods at n values, all climbed to together; NaN where none was reached."""
        new = np.array([v for v in np.unique(values) if float(v) not in self.known])
        if len(new):
            self._climb(new, [start for value in new for start in self._near(float(value))])
            lost = np.array([v for v in new if not np.isfinite(self.known[float(v)].loglik)])
            if len(lost) and len(self.function.entries) == 1:  # a correlation can also be held by an SD of zero
                self._climb(lost, [start for value in lost for start in self._members(float(value))])
        loglik = np.array([self.known[float(v)].loglik for v in values])
        return np.where(np.isfinite(loglik), loglik, np.nan)

    def _climb(self, new: FloatArray, starts: "list[Reached]") -> None:
        """Enter the highest ends at new values, from equally many starts for each."""
        z, force = np.stack([start.z for start in starts]), np.array([start.force for start in starts])
        each = len(starts) // len(new)
        values = np.repeat(new, each)
        size = np.maximum(np.abs(values), SMALLEST_SIZE * self.size)
        ends, loglik, met, force = maximise_held(self.objective, self.number, self.function, z, values, size, force)
        loglik = np.where(met & np.isfinite(loglik), loglik, -np.inf)
        for i, value in enumerate(new):
            best = i * each + int(loglik[i * each : (i + 1) * each].argmax())
            self.known[float(value)] = Reached(float(loglik[best]), ends[best], float(force[best]))

    def _near(self, value: float) -> "list[Reached]":
        """Two starts: the nearest ends on both sides, or where there is none on one, the other and the fit."""
        reached = {v: at for v, at in self.known.items() if np.isfinite(at.loglik)}
        below, above = [v for v in reached if v < value], [v for v in reached if v > value]
        sides = [reached[pick(side)] for pick, side in ((max, below), (min, above)) if side]
        return [*sides, *[Reached(-np.inf, self.start, 0.0)] * 2][:2]

    def _members(self, value: float) -> "list[Reached]":
        """Starts at members of the structure whose value is near: an SD of zero can bar the way to another sign."""
        free = self.objective.free
        place, level = free.slices[self.number], free.spec.levels[self.number]
        share = np.random.default_rng(1).uniform(size=(level.n_free, MEMBERS))
        xi = level.structure.scatter(share, lambda s: 0.02 + 2 * s, level.dim)
        psi = np.asarray(level.structure.psi(xi * free.units[place, None], level.dim))
        psi = np.broadcast_to(psi, (*psi.shape[:2], MEMBERS))
        at = self.function.of(np.stack([psi[i, j] for i, j in self.function.entries]))[0]
        starts = np.repeat(self.start[None], 2, axis=0)
        starts[:, place] = xi.T[np.argsort(np.abs(at - value))[:2]]
        return [Reached(-np.inf, start, 0.0) for start in starts]


@dataclass(frozen=True)
class Reached:
    """The end of a climb: log-likelihood, z, and the derivative of the log-likelihood by the value held."""

    loglik: float
    z: FloatArray
    force: float
