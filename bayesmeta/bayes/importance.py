"""Integration over a chart of more than three parameters: importance sampling from a mixture fitted to the posterior.

In the chart the prior is N(0, I) and the likelihood is bounded, so N(0, I) among the components of the mixture bounds
the weights. The other components are multivariate t, fitted to weighted pilot draws; where these miss, the likelihood
is tempered until they do not. The draws that count come last, from scrambled Sobol sequences, and the error of the log
marginal likelihood is what independent scrambles show.
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.special import gammaincinv, gammaln, logsumexp, ndtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.kernel.likelihood import LOG_2PI

MOST = 15  # parameters
DF = 7.0  # of the t components
INSURANCE = 0.1  # share of the prior in the mixture
MOST_ROUNDS = 25  # of pilot draws, with tempering
EM_STEPS = 15
PILOT_SHARE = 0.1  # effective share of a pilot's draws below which the likelihood is tempered
SCRAMBLES = 10
MOST_AT_ONCE = 40_000  # further proposals evaluated together
REPEATED = 0.01  # share of draws that repeat another
EFFECTIVE, LARGEST = 2000, 0.02  # effective sample size, at least; largest weight, at most
ERROR = 0.05  # of the log marginal likelihood, at most
SCAN, CLIMBS, CLIMB_STEPS = 1024, 4, 40
APART = 2.0  # SDs between maxima that count as two
FAR = 37.0  # beyond, probabilities of the normal distribution leave the range of numbers
DIFFERENCE = 1e-3  # step of the numerical derivatives, in SDs of the prior


class Effort(NamedTuple):
    """Draws of a pilot, rounds of it with the whole likelihood, components, and draws of every scramble."""

    pilot: int
    rounds: int
    components: int
    draws: int


FIRST, SECOND = Effort(2048, 3, 5, 2048), Effort(8192, 5, 15, 8192)


class NotIntegratedError(Exception):
    """The weights are too uneven to be trusted; the message says by which figure."""


@dataclass(frozen=True, eq=False)
class Mixture:
    """The proposal: t components, and N(0, I) with the share INSURANCE.

    share (m,) : of the components, adding up to one less INSURANCE. centre (m, k), root (m, k, k) : lower triangular.
    """

    share: FloatArray
    centre: FloatArray
    root: FloatArray

    @property
    def dim(self) -> int:
        return self.centre.shape[1]

    def distances(self, u: FloatArray) -> FloatArray:
        """(m, n) squared distances from the centres, in units of the components."""
        inverse = np.linalg.inv(self.root)
        return ((inverse @ (u[None] - self.centre[:, None]).mT) ** 2).sum(1)

    def log_components(self, u: FloatArray) -> FloatArray:
        """(m + 1, n) log densities times shares, that of the prior last."""
        k = self.dim
        t = _log_t(self.distances(u), k) - np.log(np.diagonal(self.root, axis1=1, axis2=2)).sum(1)[:, None]
        prior = -(u**2).sum(1) / 2 - k * LOG_2PI / 2 + np.log(INSURANCE)
        return np.concatenate([np.log(self.share)[:, None] + t, prior[None]])

    def log_density(self, u: FloatArray) -> FloatArray:
        return np.asarray(logsumexp(self.log_components(u), axis=0))

    def at(self, uniform: FloatArray) -> FloatArray:
        """Draws (n, k) from points (n, k + 2) of the unit cube: which component, how far, and where."""
        inside = np.clip(uniform, 1e-12, 1 - 1e-12)
        which = np.searchsorted(np.cumsum(self.share), inside[:, 0])
        z = ndtri(inside[:, 2:])
        far = np.sqrt(DF / (2 * gammaincinv(DF / 2, inside[:, 1])))[:, None]  # over chi-squared
        t = np.minimum(which, len(self.share) - 1)
        moved = self.centre[t] + far * (self.root[t] @ z[..., None])[..., 0]
        return np.where((which < len(self.share))[:, None], moved, z)


def _log_t(distance: FloatArray, k: int) -> FloatArray:
    constant = gammaln((DF + k) / 2) - gammaln(DF / 2) - k / 2 * np.log(DF * np.pi)
    return np.asarray(constant - (DF + k) / 2 * np.log1p(distance / DF))


@dataclass(frozen=True, eq=False)
class Importance(WeightedPoints):
    """Weighted draws from a mixture.

    proposal : the mixture. effective_size : of the weighted points; pareto_k : shape of the tail of the weights.
    largest : share of the largest weight.
    """

    proposal: Mixture
    effective_size: float
    pareto_k: float
    largest: float

    @property
    def diagnostics(self) -> dict[str, float]:
        return {schema.EFFECTIVE_SIZE: self.effective_size, schema.PARETO_K: self.pareto_k}

    def draw(self, n: int, rng: np.random.Generator) -> Evaluated:
        """Every proposal as often as its weight says, nearly all of them once or not at all."""
        ceiling = self._ceiling
        kept = [_copies(self.points, self.log_weight - ceiling, rng)]
        rate = len(kept[0]) / len(self.points)
        while (missing := n - sum(map(len, kept))) > 0:
            m = min(int(1.2 * missing / rate) + 64, MOST_AT_ONCE)
            points = self.evaluator(self.proposal.at(rng.random((m, self.proposal.dim + 2))))
            kept.append(_copies(points, points.log_density - self.proposal.log_density(points.u) - ceiling, rng))
        drawn = Evaluated.joined(kept)
        return drawn.take(rng.permutation(len(drawn))[:n])

    @property
    def _ceiling(self) -> float:
        """The log weight above which a proposal is drawn more than once; few of the draws are such repetitions."""
        highest = float(self.log_weight.max())
        weight = np.sort(np.exp(self.log_weight - highest))[::-1]
        above = np.cumsum(weight) - np.arange(1, len(weight) + 1) * weight  # mass that a ceiling at each cuts off
        return highest + float(np.log(weight[np.searchsorted(above, REPEATED * weight.sum())]))


def _copies(points: Evaluated, log_ratio: FloatArray, rng: np.random.Generator) -> Evaluated:
    with np.errstate(under="ignore"):
        copies = np.floor(np.exp(log_ratio) + rng.random(len(points))).astype(int)
    return points.take(np.repeat(np.arange(len(points)), copies))


def integrate(evaluator: Evaluator, seed: int = 0) -> Importance:
    """The posterior of a model with up to some fifteen parameters in its chart.

    Raises
    ------
    NotIntegratedError
        When the weights are too uneven, also after a second attempt from a tempered start with more draws.
    """
    rng = np.random.default_rng(seed)
    reason = "the density has no maximum that can be climbed to"
    for start, effort in ((_at_modes(evaluator, rng), FIRST), (_prior(evaluator.dim), SECOND)):
        proposal = None if start is None else _adapted(evaluator, start, effort, rng)
        if proposal is not None:
            posterior = _weighted(evaluator, proposal, effort.draws, rng)
            reason = _too_uneven(posterior)
            if not reason:
                return posterior
    raise NotIntegratedError(reason)


def _weighted(evaluator: Evaluator, proposal: Mixture, size: int, rng: np.random.Generator) -> Importance:
    """Draws of independent scrambles with their weights."""
    sobol = [_sobol(evaluator.dim + 2, size, rng) for _ in range(SCRAMBLES)]
    points = evaluator(proposal.at(np.concatenate(sobol)))
    log_weight = points.log_density - proposal.log_density(points.u)
    each = logsumexp(log_weight.reshape(SCRAMBLES, size), axis=1) - np.log(size)
    total = float(logsumexp(each) - np.log(SCRAMBLES))
    weight, n = np.exp(log_weight - log_weight.max()), len(log_weight)
    effective, largest = float(weight.sum() ** 2 / (weight**2).sum()), float(1 / weight.sum())
    between = float(np.exp(each - total).std(ddof=1) / np.sqrt(SCRAMBLES))
    # a few scrambles may agree by chance; the error without them is two to four times too large
    error = max(between, float(np.sqrt(1 / effective - 1 / n)) / 4)
    return Importance(evaluator, points, log_weight, total, error, proposal, effective, tail_shape(log_weight), largest)


def _sobol(k: int, n: int, rng: np.random.Generator) -> FloatArray:
    """(n, k) points of the unit cube, scrambled."""
    from scipy.stats import qmc  # loads half of SciPy

    return np.asarray(qmc.Sobol(k, rng=rng).random(n))


def _too_uneven(posterior: Importance) -> str:
    """Why the weights cannot be trusted; empty where they can.

    Each figure alone may err. Pareto k is for readers: the weights are bounded here, and it scatters by 0.2.
    """
    n = len(posterior.log_weight)
    if posterior.effective_size < EFFECTIVE:
        return f"the effective sample size is {posterior.effective_size:,.0f} of {n:,} draws"
    if posterior.largest > LARGEST:
        return f"one of {n:,} draws has {posterior.largest:.1%} of the weight"
    if posterior.error > ERROR:
        return f"the log marginal likelihood is known to {posterior.error:.2g} only"
    return ""


def tail_shape(log_weight: FloatArray) -> float:
    """Pareto k of the largest weights: Zhang and Stephens (2009), Technometrics 51:316-325, with the weak prior of
    Vehtari et al. (2024), J. Mach. Learn. Res. 25(72)."""
    n = int(min(0.2 * len(log_weight), 3 * np.sqrt(len(log_weight))))
    top = np.sort(log_weight)[-n - 1 :]
    x = np.exp(top[1:] - top[-1]) - np.exp(top[0] - top[-1])
    if not x[n // 4] > 0:
        return -np.inf
    m = 30 + int(np.sqrt(n))
    b = (1 - np.sqrt(m / (np.arange(m) + 0.5))) / (3 * x[n // 4]) + 1 / x[-1]
    shape = np.log1p(-b[:, None] * x).mean(1)
    log_likelihood = n * (np.log(-b / shape) - shape - 1)
    typical = float(_normalised(log_likelihood) @ b)
    return float((n * np.log1p(-typical * x).mean() + 5) / (n + 10))


# adaptation


def _adapted(evaluator: Evaluator, start: Mixture, effort: Effort, rng: np.random.Generator) -> Mixture | None:
    """The mixture after rounds of pilot draws, whose likelihood is tempered as long as few of them would count."""
    proposal, power, full = start, 0.0, 0
    for _ in range(MOST_ROUNDS):
        u = proposal.at(_sobol(evaluator.dim + 2, effort.pilot, rng))
        points = evaluator(u)
        base = -(u**2).sum(1) / 2 - proposal.log_density(u)
        power = _power(points.loglik, base, power)
        proposal = _fitted(u, _normalised(base + power * _finite(points.loglik)), effort.components, rng)
        full += power == 1
        if full == effort.rounds:
            return proposal
    return None


def _finite(loglik: FloatArray) -> FloatArray:
    return np.where(np.isfinite(loglik), loglik, -1e300)


def _power(loglik: FloatArray, base: FloatArray, before: float) -> float:
    """The largest power of the likelihood, up to one, under which enough draws count; it grows in any case."""

    def share(power: float) -> float:
        weight = _normalised(base + power * _finite(loglik))
        return float(1 / (weight**2).sum() / len(weight))

    if before == 1 or share(1.0) >= PILOT_SHARE:
        return 1.0
    low, high = 0.0, 1.0
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (middle, high) if share(middle) >= PILOT_SHARE else (low, middle)
    return max(low, before)


def _normalised(log_weight: FloatArray) -> FloatArray:
    weight = np.exp(log_weight - log_weight.max())
    return np.asarray(weight / weight.sum())


def _fitted(u: FloatArray, weight: FloatArray, m: int, rng: np.random.Generator) -> Mixture:
    """t components fitted to weighted points by EM; components that hardly any point supports are dropped.

    Peel and McLachlan (2000), Statistics and Computing 10:339-348, with fixed degrees of freedom.
    """
    k = u.shape[1]
    kept = weight > 1e-12 * weight.max()
    u, weight = u[kept], weight[kept] / weight[kept].sum()
    mean = weight @ u
    whole = np.einsum("n,ni,nj->ij", weight, u - mean, u - mean) + 1e-10 * np.eye(k)
    places = rng.choice(len(u), m, p=weight)
    share, centre = np.full(m, 1 / m), u[places]
    cov = np.repeat(whole[None] * m ** (-2 / k), m, axis=0)
    support = 1 / (weight**2).sum()
    for _ in range(EM_STEPS):
        now = Mixture(share, centre, np.linalg.cholesky(cov))
        log, distance = now.log_components(u)[:-1], now.distances(u)
        belongs = np.exp(log - logsumexp(log, axis=0)) * weight
        share = belongs.sum(1)
        alive = share * support > 2 * k
        if not alive.any():
            alive = share == share.max()
        belongs, distance, share = belongs[alive], distance[alive], share[alive]
        scaled = belongs * (DF + k) / (DF + distance)
        centre = scaled @ u / scaled.sum(1)[:, None]
        away = u[None] - centre[:, None]
        cov = (away * scaled[..., None]).mT @ away / share[:, None, None]
        # few points make a covariance too small in some directions: that of all points holds against it
        doubt = np.minimum(0.5, k / (share * support))[:, None, None]
        cov = (1 - doubt) * cov + doubt * whole
        share = share / share.sum()
    return Mixture((1 - INSURANCE) * share, centre, np.linalg.cholesky(cov))


def _prior(k: int) -> Mixture:
    return Mixture(np.array([1 - INSURANCE]), np.zeros((1, k)), np.eye(k)[None])


# where to begin


def _at_modes(evaluator: Evaluator, rng: np.random.Generator) -> Mixture | None:
    """A t component at every maximum of the density that climbs from the best points of a scan reach."""
    found: list[_Peak] = []
    for start in _scan(evaluator, rng):
        peak = _climbed(evaluator, start)
        if peak is not None and all(peak.away(other) > APART for other in found):
            found.append(peak)
    if not found:
        return None
    log = np.array([p.log_density + np.log(np.diag(p.root)).sum() for p in found])
    share = np.maximum(_normalised(log), 1e-3)
    centre, root = np.stack([p.at for p in found]), np.stack([p.root for p in found])
    return Mixture((1 - INSURANCE) * share / share.sum(), centre, root)


def _scan(evaluator: Evaluator, rng: np.random.Generator) -> FloatArray:
    """(CLIMBS, k) points of high density that lie apart: of the prior, and with SDs as large as data can tell."""
    k = evaluator.dim
    z = ndtri(np.clip(_sobol(k, SCAN, rng), 1e-12, 1 - 1e-12))
    stats = evaluator.stats
    typical = float(np.median(np.concatenate([t for t in stats.typical if len(t)])))
    excess = np.sqrt(max(1.0, float(np.median(stats.Q)) / max(1, stats.n_obs - stats.n_coef)))
    half = SCAN // 2
    for j, coordinate in enumerate(evaluator.chart.coordinates):
        if coordinate.sd and coordinate.prior is not None:
            scale = typical * np.exp(rng.uniform(np.log(0.05), np.log(4 * excess), half))
            z[:half, j] = np.clip(coordinate.prior.about_normal(scale), -FAR, FAR)
    log = evaluator(z).log_density
    chosen: list[FloatArray] = []
    for i in np.argsort(-np.where(np.isfinite(log), log, -np.inf)):
        if np.isfinite(log[i]) and all(np.linalg.norm(z[i] - other) > 0.35 * np.sqrt(k) for other in chosen):
            chosen.append(z[i])
        if len(chosen) == CLIMBS:
            break
    return np.array(chosen).reshape(-1, k)


class _Peak(NamedTuple):
    at: FloatArray
    log_density: float
    root: FloatArray

    def away(self, other: "_Peak") -> float:
        """In SDs of the other."""
        return float(np.linalg.norm(np.linalg.solve(other.root, self.at - other.at)) / np.sqrt(len(self.at)))


def _climbed(evaluator: Evaluator, start: FloatArray) -> _Peak | None:
    """The maximum uphill by Newton's method with numerical derivatives; curvatures are taken as positive."""
    at = np.clip(start, -FAR, FAR)
    for _ in range(CLIMB_STEPS):
        value, gradient, hessian = _derivatives(evaluator, at)
        if not np.isfinite(hessian).all():
            return None
        size, axes = np.linalg.eigh(-hessian)
        size = np.maximum(np.abs(size), 0.05)
        step = axes @ ((axes.T @ gradient) / size)
        shrunk = at + step * 0.5 ** np.arange(12)[:, None]
        log = evaluator(np.clip(shrunk, -FAR, FAR)).log_density
        best = int(np.argmax(np.where(np.isfinite(log), log, -np.inf)))
        decrement = float(gradient @ step)
        if not log[best] > value:
            break
        at = np.clip(shrunk[best], -FAR, FAR)
        if decrement < 1e-6:
            break
    root = np.linalg.cholesky((axes / size) @ axes.T)
    return _Peak(at, value, root)


def _derivatives(evaluator: Evaluator, at: FloatArray) -> tuple[float, FloatArray, FloatArray]:
    """Log density, gradient and second derivatives by central differences, all points in one batch."""
    k, h = len(at), DIFFERENCE
    step = h * np.eye(k)
    i, j = np.triu_indices(k, 1)
    moves = [np.zeros((1, k)), step, -step, step[i] + step[j], -step[i] - step[j]]
    log = evaluator(at + np.concatenate(moves)).log_density
    middle, up, down, both, neither = np.split(log, np.cumsum([1, k, k, len(i)]))
    gradient = (up - down) / (2 * h)
    hessian = np.diag((up - 2 * middle + down) / h**2)
    mixed = (both + neither - up[i] - up[j] - down[i] - down[j] + 2 * middle) / (2 * h**2)
    hessian[i, j] = hessian[j, i] = mixed
    return float(middle[0]), gradient, hessian
