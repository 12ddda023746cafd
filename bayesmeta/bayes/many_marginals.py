"""Means, SDs, quantiles and probabilities of many posteriors over the same points, all at once."""

from collections.abc import Callable
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr, ndtri

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.bayes.mixtures import MATTERS, SQRT_2PI, WEIGHTLESS
from bayesmeta.bayes.shared_points import SharedPoints
from bayesmeta.model.spec import Level

FINE = 16  # parts of a step of a lattice between which a distribution function is interpolated
LOWEST = -45.0  # log density, below its highest, of nodes that weigh nothing
NEWTON, CLOSE = 40, 1e-7  # steps to a quantile at most; change, in SDs, after which it stands
DENSE = 2.5  # nodes of a distribution function for each SD, where there are too many points for Newton's method
NODES, MOST_NODES = 33, 400  # of them
DIRECT = 3_000_000  # points times quantiles times posteriors, up to which Newton's method begins anew
CELLS = 1 << 21  # numbers held at a time
CONSTANT = 1e-10  # spread of values, relative to their size, that is rounding: the structure holds them constant


class Statistics(NamedTuple):
    """Of q quantities in several posteriors: mean, sd (cells, q), quantiles (cells, m, q)."""

    mean: FloatArray
    sd: FloatArray
    quantile: FloatArray


def of_mixtures(weight: FloatArray, centre: FloatArray, spread: FloatArray, prob: FloatArray) -> Statistics:
    """Of mixtures of normals (n, q) with weights (cells, n)."""
    mean, variance = moments(weight, centre, spread)
    sd = np.sqrt(variance)
    columns = [
        _mixture_quantiles(weight, c, s, m, d, prob)
        for c, s, m, d in zip(centre.T, spread.T, mean.T, sd.T, strict=True)
    ]
    return Statistics(mean, sd, np.stack(columns, axis=-1))


def moments(weight: FloatArray, values: FloatArray, spread: FloatArray | float) -> tuple[FloatArray, FloatArray]:
    """Means and variances (cells, q); infinite or missing where points that weigh nothing make up the sum."""
    mean = weight @ values
    middle = mean.mean(0)
    square = (values - middle) ** 2 + np.square(spread)
    variance = np.maximum(weight @ square - (mean - middle) ** 2, 0.0)
    slight = np.where(weight < WEIGHTLESS, weight, 0.0)
    if slight.any():
        size = weight @ np.abs(values)
        variance = np.where(slight @ square > MATTERS * variance, np.inf, variance)
        mean = np.where(slight @ np.abs(values) > MATTERS * size, np.nan, mean)
    return mean, variance


def _mixture_quantiles(
    weight: FloatArray, centre: FloatArray, spread: FloatArray, mean: FloatArray, sd: FloatArray, prob: FloatArray
) -> FloatArray:
    """(cells, m) roots of the distribution functions, by Newton's method for the normal score inside a bracket."""
    z = ndtri(prob)
    spread = np.maximum(spread, np.finfo(float).tiny)
    if weight.size * len(prob) > DIRECT:
        return _from_nodes(weight, centre, spread, mean, sd, z)
    columns = np.empty((len(weight), len(prob)))
    for i, (w, m, d) in enumerate(zip(weight, mean, sd, strict=True)):
        kept = w > 1e-14 * w.max()
        w, c, s = w[kept] / w[kept].sum(), centre[kept], spread[kept]
        m, d = (m, d) if np.isfinite(d) else (float(w @ c), float(np.sqrt(w @ s**2)))
        low, high = (np.min(c + z[:, None] * s, axis=1), np.max(c + z[:, None] * s, axis=1))
        x = np.clip(m + d * z, low, high)
        for _ in range(NEWTON):
            score, slope = _score(w, c, s, x)
            low, high = np.where(score < z, x, low), np.where(score > z, x, high)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                new = x - (score - z) / slope
            new = np.where((new >= low) & (new <= high), new, (low + high) / 2)
            moved, x = np.abs(new - x).max(), new
            if moved <= CLOSE * d:
                break
        columns[i] = x
    return columns


def _score(w: FloatArray, c: FloatArray, s: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Normal score of a mixture's distribution function at x (m,), and its slope."""
    with np.errstate(all="ignore"):
        t = (x[:, None] - c) / s
        score = ndtri(np.clip(ndtr(t) @ w, 1e-15, 1 - 1e-15))
        return score, (np.exp(-0.5 * t * t) / s) @ w * np.exp(score**2 / 2)


def _from_nodes(
    weight: FloatArray, centre: FloatArray, spread: FloatArray, mean: FloatArray, sd: FloatArray, z: FloatArray
) -> FloatArray:
    """From distribution functions at common nodes, whose normal scores are nearly straight lines."""
    usual = np.where(np.isfinite(sd), sd, np.median(spread))
    reach = max(4.5, float(np.abs(z).max()) + 2)
    ends = mean[:, None] + usual[:, None] * reach * np.array([-1, 1])
    # as many nodes as the narrowest of the posteriors needs
    n = int(np.clip(DENSE * np.ptp(ends) / max(float(np.min(usual)), np.finfo(float).tiny), NODES, MOST_NODES))
    x = np.linspace(ends.min(), ends.max(), n)
    below, density = np.empty((len(weight), n)), np.empty((len(weight), n))
    step = max(1, CELLS // len(centre))
    for start in range(0, n, step):
        part = slice(start, start + step)
        with np.errstate(all="ignore"):
            t = (x[part] - centre[:, None]) / spread[:, None]
            below[:, part] = weight @ ndtr(t)
            density[:, part] = weight @ (np.exp(-0.5 * t * t) / (SQRT_2PI * spread[:, None]))
    columns = np.empty((len(weight), len(z)))
    for i in range(len(weight)):
        score = ndtri(np.clip(below[i], 1e-14, 1 - 1e-14))
        with np.errstate(all="ignore"):
            slope = density[i] * SQRT_2PI * np.exp(score**2 / 2)
        at = np.clip(np.searchsorted(score, z) - 1, 0, n - 2)
        columns[i] = _hermite(x, score, slope, at, z)
    return columns


def _hermite(x: FloatArray, score: FloatArray, slope: FloatArray, at: IntArray, z: FloatArray) -> FloatArray:
    """Where the score is z, by a cubic in it between two nodes."""
    width = score[at + 1] - score[at]
    t = (z - score[at]) / width
    left, right = width / slope[at], width / slope[at + 1]
    x0, x1 = x[at], x[at + 1]
    return np.asarray(
        (1 + 2 * t) * (1 - t) ** 2 * x0 + t * (1 - t) ** 2 * left + t**2 * (3 - 2 * t) * x1 + t**2 * (t - 1) * right
    )


def below(weight: FloatArray, centre: FloatArray, spread: FloatArray, value: float) -> FloatArray:
    """(cells, q) probabilities that the quantities of mixtures lie below a value."""
    with np.errstate(all="ignore"):
        return np.asarray(weight @ ndtr((value - centre) / np.maximum(spread, np.finfo(float).tiny)))


LogDensities = Callable[[FloatArray], FloatArray]


class AxisDistribution(NamedTuple):
    """Of one axis of a lattice under several posteriors: fine nodes (f,), distribution function and density (cells, f).

    nodes (n,), mass (cells, n) : what they were made of.
    """

    u: FloatArray
    under: FloatArray
    density: FloatArray
    nodes: FloatArray
    mass: FloatArray


def along_axis(
    weight: FloatArray, position: IntArray, origin: float, step: float, log_prior: LogDensities | None = None
) -> AxisDistribution:
    """Distributions along an axis of a lattice, at whose positions (n,) the points stand.

    log_prior : of the coordinate (n,) under every prior (cells, n). What the data make of it is smoother than the
    posterior, which may fall as steeply as the narrowest of the priors, and is what is interpolated.
    """
    from scipy.interpolate import make_interp_spline  # heavy, and fits have no use of it

    first, n = int(position.min()), int(np.ptp(position)) + 1
    order = np.argsort(position, kind="stable")
    starts = np.flatnonzero(np.diff(position[order], prepend=first - 1))
    mass = np.zeros((len(weight), n))
    mass[:, position[order][starts] - first] = np.add.reduceat(weight[:, order], starts, axis=1)
    with np.errstate(divide="ignore"):
        log = np.maximum(np.log(mass / mass.max(1, keepdims=True)), LOWEST)
    # the spline needs six nodes to stand on
    more = max(0, 6 - n)
    log = np.pad(log, ((0, 0), (more, more)), constant_values=LOWEST)
    wide = np.asarray(origin + step * (first - more + np.arange(n + 2 * more)), float)
    u = np.linspace(wide[0], wide[-1], 2 * FINE * (len(wide) - 1) + 1)
    if log_prior is not None:
        known = log_prior(wide)
        log = np.array([_where_known(each > LOWEST, each - own) for each, own in zip(log, known, strict=True)])
    values = make_interp_spline(wide, log.T, k=5)(u).T + (0.0 if log_prior is None else log_prior(u))
    with np.errstate(under="ignore"):
        fine = np.exp(values - values.max(1, keepdims=True))
    u, half, density, middle = u[::2], u[1] - u[0], fine[:, ::2], fine[:, 1::2]
    pieces = half / 3 * (density[:, :-1] + 4 * middle + density[:, 1:])
    under = np.concatenate([np.zeros((len(weight), 1)), np.cumsum(pieces, axis=1)], axis=1)
    total = under[:, -1:]
    return AxisDistribution(
        u, under / total, density / total, np.asarray(origin + step * (first + np.arange(n)), float), mass
    )


def _where_known(known: BoolArray, values: FloatArray) -> FloatArray:
    """Values, elsewhere those next to them."""
    at = np.flatnonzero(known & np.isfinite(values))
    return np.asarray(np.interp(np.arange(len(values)), at, values[at]), float)


def of_axis(own: AxisDistribution, value: Callable[[FloatArray], FloatArray], prob: FloatArray) -> Statistics:
    """Of an ascending function of one axis of a lattice."""
    mean, variance = moments(own.mass, value(own.nodes)[:, None], 0.0)
    at = np.stack([_inverse(own.u, b, d, prob) for b, d in zip(own.under, own.density, strict=True)])
    return Statistics(mean, np.sqrt(variance), value(at)[..., None])


def _inverse(u: FloatArray, under: FloatArray, density: FloatArray, prob: FloatArray) -> FloatArray:
    """Where a distribution function is prob, the density being a straight line between nodes."""
    at = np.clip(np.searchsorted(under, prob) - 1, 0, len(u) - 2)
    h, f, slope = u[1] - u[0], density[at], (density[at + 1] - density[at]) / (u[1] - u[0])
    missing = prob - under[at]
    root = np.sqrt(np.maximum(f**2 + 2 * slope * missing, 0.0))
    with np.errstate(divide="ignore", invalid="ignore"):
        part = 2 * missing / (f + root)
    return np.asarray(u[at] + np.clip(np.where(np.isfinite(part), part, 0.0), 0.0, h))


def of_values(weight: FloatArray, values: FloatArray, prob: FloatArray) -> Statistics:
    """Of values (n,) at the points, between which mass is shared."""
    mean, variance = moments(weight, values[:, None], 0.0)
    order = np.argsort(values)
    ordered, mass = values[order], weight[:, order]
    middle = np.cumsum(mass, axis=1) - mass / 2
    quantile = np.stack([np.interp(prob, each, ordered) for each in middle])
    return Statistics(mean, np.sqrt(variance), quantile[..., None])


class Term(NamedTuple):
    """One SD or correlation of a table of parameters.

    values (n,) : at the points. coordinate : of the chart that it is `scale` times the own parameter of, if one.
    """

    kind: str
    level: str
    name: str
    values: FloatArray
    coordinate: int | None
    scale: float

    @property
    def constant(self) -> bool:
        """Whether the structure leaves nothing to vary."""
        known = self.values[np.isfinite(self.values)]
        return not len(known) or float(np.ptp(known)) <= CONSTANT * float(np.abs(known).max() or 1.0)


def terms(shared: SharedPoints) -> list[Term]:
    """SDs and correlations of all levels, as `tree.parameters` has them."""
    listed: list[Term] = []
    for i, level in enumerate(shared.evaluator.spec.levels):
        listed += _sds(shared, i, level)
    for i, level in enumerate(shared.evaluator.spec.levels):
        listed += _correlations(shared, i, level)
    return listed


def _sds(shared: SharedPoints, i: int, level: Level) -> list[Term]:
    structure, first = level.structure, shared.chart.places[i][0]
    if structure.own_parameters:
        many = structure.n_tau(2) > 1
        names = level.effects if many else ("",)
        return [
            Term("tau", level.name, n, shared.tau[i][j], first + j, 1.0)
            for j, n in enumerate(names[: len(shared.tau[i])])
        ]
    listed, n = [], structure.n_tau(level.dim)
    size = np.ones(level.dim)
    if n:
        none = np.zeros(structure.n_rho(level.dim))
        size = np.sqrt(np.diag(np.asarray(structure.compose(np.ones(n), none, level.dim), float)))
    for j, effect in enumerate(level.effects):
        with np.errstate(invalid="ignore"):
            values = np.sqrt(shared.psi[i][j, j])
        own = None if not n else first + (j if n > 1 else 0)
        listed.append(Term("tau", level.name, effect, values, own, float(size[j])))
    return listed


def _correlations(shared: SharedPoints, i: int, level: Level) -> list[Term]:
    structure, (_, middle, _) = level.structure, shared.chart.places[i]
    n = structure.n_rho(level.dim)
    if structure.own_parameters:
        return [Term("rho", level.name, "", shared.rho[i][0], middle, 1.0)] if n else []
    listed, own = [], shared.rho[i][0] if n == 1 else None
    for a, b in combinations(range(level.dim), 2):
        with np.errstate(all="ignore"):
            values = shared.psi[i][a, b] / np.sqrt(shared.psi[i][a, a] * shared.psi[i][b, b])
        if own is not None and np.nanmax(np.abs(np.where(np.isfinite(values), values - own, 0.0))) < 1e-9:
            listed.append(Term("rho", level.name, f"{level.effects[a]}~{level.effects[b]}", own, middle, 1.0))
        else:
            listed.append(Term("rho", level.name, f"{level.effects[a]}~{level.effects[b]}", values, None, 1.0))
    return listed
