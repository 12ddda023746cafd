"""One model under many priors: which evaluations of the likelihood serve which of them, and what follows for each."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from scipy.special import logsumexp

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.bayes import importance, many_marginals, quadrature, shared_draws, shared_lattice
from bayesmeta.bayes.chart import FLAT, Chart
from bayesmeta.bayes.engines import choose
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.many_marginals import Statistics, Term
from bayesmeta.bayes.shared_lattice import SharedLattice
from bayesmeta.bayes.shared_points import SharedPoints
from bayesmeta.errors import SpecError
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.model.spec import Spec
from bayesmeta.priors.closed_forms import mixing, moments
from bayesmeta.priors.distributions import IMPROPER
from bayesmeta.priors.model_priors import ModelPriors

QUADRATURE, IMPORTANCE = "quadrature", "importance"


@dataclass(frozen=True, eq=False)
class Served:
    """Priors that the same points serve.

    cells (c,) : which of all priors. weight (c, n) : of the points under each. The others (c,) : log marginal
    likelihoods, bounds or standard errors of them, effective sample sizes and Pareto k, NaN on a lattice.
    """

    shared: SharedPoints
    engine: str
    anchor: str
    cells: IntArray
    weight: FloatArray
    log: FloatArray
    error: FloatArray
    effective: FloatArray
    shape: FloatArray

    def of(self, cells: Sequence[ModelPriors]) -> list[ModelPriors]:
        """Its own among all priors."""
        return [cells[i] for i in self.cells]


class Parameter(NamedTuple):
    """Of one parameter under every prior: mean, sd (cells,), quantiles (cells, m)."""

    kind: str
    level: str
    term: str
    mean: FloatArray
    sd: FloatArray
    quantile: FloatArray

    @property
    def label(self) -> str:
        return f"{self.kind}[{', '.join(part for part in (self.level, self.term) if part)}]"


@dataclass(frozen=True, eq=False)
class Posteriors:
    """The posteriors of one specification under many priors.

    cells : the priors. parts : by the points that serve them. reasons : of those that no points serve.
    """

    spec: Spec
    cells: tuple[ModelPriors, ...]
    parts: tuple[Served, ...]
    reasons: dict[int, str]

    def column(self, name: str) -> FloatArray:
        """(cells,) one of the figures of `Served`; NaN where no points serve."""
        whole = np.full(len(self.cells), np.nan)
        for part in self.parts:
            whole[part.cells] = getattr(part, name)
        return whole

    def words(self, name: str) -> list[str]:
        """Engine or anchor of every prior; empty where none serves."""
        whole = [""] * len(self.cells)
        for part in self.parts:
            for i in part.cells:
                whole[i] = getattr(part, name)
        return whole

    def parameters(self, prob: FloatArray) -> list[Parameter]:
        """Coefficients, SDs and correlations, in the order of tables."""
        made: dict[tuple[str, str, str], Parameter] = {}
        for part in self.parts:
            for name, own in _of_part(part, self.cells, prob):
                if name not in made:
                    empty = np.full((len(self.cells), 2 + len(prob)), np.nan)
                    made[name] = Parameter(*name, empty[:, 0], empty[:, 1], empty[:, 2:])
                made[name].mean[part.cells], made[name].sd[part.cells] = own.mean[:, 0], own.sd[:, 0]
                made[name].quantile[part.cells] = own.quantile[:, :, 0]
        return list(made.values())

    def below(self, value: float) -> FloatArray:
        """(cells, P) probabilities that coefficients lie below a value."""
        whole = np.full((len(self.cells), len(self.spec.coef)), np.nan)
        for part in self.parts:
            for rows, centre, spread in _by_beta(part, self.cells):
                whole[part.cells[rows]] = many_marginals.below(part.weight[rows], centre, spread, value)
        return whole

    def log_density(self, j: int, value: float) -> FloatArray:
        """(cells,) log density of coefficient j at a value."""
        whole = np.full(len(self.cells), np.nan)
        for part in self.parts:
            for rows, centre, spread in _by_beta(part, self.cells):
                with np.errstate(all="ignore"):
                    c, s = centre[:, j], spread[:, j]
                    log = np.log(part.weight[rows]) - ((value - c) / s) ** 2 / 2 - np.log(s) - LOG_2PI / 2
                whole[part.cells[rows]] = logsumexp(np.where(np.isfinite(log), log, -np.inf), axis=1)
        return whole


def _by_beta(part: Served, cells: Sequence[ModelPriors]) -> list[tuple[IntArray, FloatArray, FloatArray]]:
    """Rows of a part under one prior of the coefficients each, with their means and SDs (n, P) at every point."""
    of: dict[object, list[int]] = {}
    for row, i in enumerate(part.cells):
        of.setdefault(cells[i].beta, []).append(row)
    made = []
    for rows in of.values():
        points = part.shared.under(cells[part.cells[rows[0]]])
        spread = np.sqrt((points.root**2).sum(2))
        made.append((np.array(rows), np.where(points.usable[:, None], points.beta, 0.0), spread))
    return made


def _of_part(
    part: Served, cells: Sequence[ModelPriors], prob: FloatArray
) -> list[tuple[tuple[str, str, str], Statistics]]:
    coef, P, m = part.shared.evaluator.spec.coef, len(part.shared.evaluator.spec.coef), len(prob)
    c = len(part.cells)
    whole = Statistics(np.empty((c, P)), np.empty((c, P)), np.empty((c, m, P)))
    for rows, centre, spread in _by_beta(part, cells):
        own = many_marginals.of_mixtures(part.weight[rows], centre, spread, prob)
        for into, values in zip(whole, own, strict=True):
            into[rows] = values
    made = [
        (("beta", "", name), Statistics(*(values[..., j : j + 1] for values in whole))) for j, name in enumerate(coef)
    ]
    return [
        *made,
        *(((t.kind, t.level, t.name), _of_term(part, t, cells, prob)) for t in many_marginals.terms(part.shared)),
    ]


def _of_term(part: Served, term: Term, cells: Sequence[ModelPriors], prob: FloatArray) -> Statistics:
    shared, c = part.shared, len(part.cells)
    if term.constant:
        known = term.values[np.isfinite(term.values)]
        value = float(known[0]) if len(known) else np.nan
        return Statistics(np.full((c, 1), value), np.full((c, 1), np.nan), np.full((c, len(prob), 1), np.nan))
    if term.coordinate is not None and isinstance(shared, SharedLattice):
        j, lattice = term.coordinate, shared.lattice
        law = shared.chart.coordinates[j].prior
        if law is not None:
            place = (lattice.position[:, j], float(lattice.origin[j]), float(lattice.step[j]))
            own = many_marginals.along_axis(part.weight, *place, shared_lattice.log_priors(shared, j, part.of(cells)))
            return many_marginals.of_axis(own, lambda u: term.scale * law.of_normal(u), prob)
    usable = part.shared.points.usable & np.isfinite(term.values)
    return many_marginals.of_values(part.weight[:, usable], term.values[usable], prob)


def posteriors(spec: Spec, cells: Sequence[ModelPriors], seed: int, sampler: str = "auto") -> Posteriors:
    """All posteriors without chains, from as few evaluations of the likelihood as serve them.

    seed : of importance sampling; on lattices nothing is random.
    sampler : the engine of all priors, or "auto" for the first that takes each.

    Raises
    ------
    SpecError
        Where no engine without chains, or not the one that is asked for, takes one of the priors.
    """
    kinds: dict[tuple[str, object], list[int]] = {}
    for i, priors in enumerate(cells):
        choice = choose(spec, priors, sampler)
        if choice.engine is None:
            raise SpecError(
                f"{choice.why}, so this prior needs Markov chains\n"
                "  bm.sensitivity runs them; give it the few priors that matter"
            )
        kinds.setdefault((choice.engine.name, _kind(priors)), []).append(i)
    parts: list[Served] = []
    reasons: dict[int, str] = {}
    for (engine, _), members in kinds.items():
        at, own = np.array(members), [cells[i] for i in members]
        if engine == QUADRATURE:
            parts += _on_lattices(spec, own, at, seed)
        else:
            anchored = shared_draws.integrate(spec, own, seed)
            parts += _by_anchors(anchored, own, at)
            reasons |= {int(at[i]): why for i, why in anchored.reasons.items() if anchored.anchor[i] < 0}
    return Posteriors(spec, tuple(cells), tuple(parts), reasons)


def _kind(priors: ModelPriors) -> object:
    """Priors of one kind have the same coordinates; what cannot be reweighted is part of the kind."""
    beta = tuple(
        "normal" if prior.name == FLAT or moments(prior) else "mixture" if mixing(prior) else prior
        for prior in priors.beta
    )
    rho = tuple(None if own.rho is None or own.rho.name == "LKJ" else own.rho for own in priors.levels)
    improper = tuple(prior.name in IMPROPER for own in priors.levels for prior in own.tau)
    return beta, rho, improper


def _on_lattices(spec: Spec, cells: Sequence[ModelPriors], at: IntArray, seed: int) -> list[Served]:
    """One lattice for all priors that are smooth, and one of its own for every other that it does not serve."""
    parts: list[Served] = []
    left = set(range(len(cells)))
    smooth = [i for i, priors in enumerate(cells) if shared_lattice.takes(priors)]
    if len(smooth) > 1 and Chart.of(spec, cells[0]).dim:
        integrated = shared_lattice.integrate(spec, [cells[i] for i in smooth])
        rows = np.flatnonzero(np.isfinite(integrated.error)) if integrated is not None else np.zeros(0, int)
        if integrated is not None and len(rows):
            here = np.array(smooth)[rows]
            none = np.full(len(rows), np.nan)
            results = integrated.weight[rows], integrated.log[rows], integrated.error[rows], none, none
            parts.append(Served(integrated.shared, QUADRATURE, "lattice of all priors", at[here], *results))
            left -= set(here.tolist())
    return [*parts, *(_own_lattice(spec, cells[i], at[[i]], seed) for i in sorted(left))]


def alone(spec: Spec, priors: ModelPriors, seed: int) -> Served:
    """One posterior by itself, as weighted points with their volumes.

    Raises
    ------
    NotIntegratedError
        When the weights of importance sampling are too uneven.
    """
    if Chart.of(spec, priors).dim <= quadrature.MOST:
        own = _own_lattice(spec, priors, np.zeros(1, int), seed)
        with np.errstate(invalid="ignore"):
            volume = np.log(own.weight[0]) - own.shared.points.loglik - own.shared.log_prior(priors)
        return replace(own, shared=replace(own.shared, log_volume=np.where(np.isfinite(volume), volume, -np.inf)))
    made = shared_draws.reweighted(importance.integrate(Evaluator(spec, priors), seed), [priors], 0)
    figures = made.weight, made.log, made.error, made.effective, made.shape
    return Served(made.shared, IMPORTANCE, f"draws under {_in_words(priors)}", np.zeros(1, int), *figures)


def _own_lattice(spec: Spec, priors: ModelPriors, at: IntArray, seed: int) -> Served:
    exact = quadrature.integrate(Evaluator(spec, priors), seed)
    none = np.zeros(len(exact.points))
    shared = (
        SharedPoints(exact.evaluator, exact.points, none)
        if exact.lattice is None
        else SharedLattice(exact.evaluator, exact.points, none, exact.lattice)
    )
    log, error = np.array([exact.log_marginal_likelihood]), np.array([exact.error])
    missing = np.full(1, np.nan)
    return Served(shared, QUADRATURE, "lattice of its own", at, exact.weight[None], log, error, missing, missing)


def _by_anchors(anchored: shared_draws.Anchored, cells: Sequence[ModelPriors], at: IntArray) -> list[Served]:
    parts = []
    for k, (made, owner) in enumerate(zip(anchored.anchors, anchored.owners, strict=True)):
        rows = np.flatnonzero(anchored.anchor == k)
        if not len(rows):
            continue
        figures = (made.weight[rows], made.log[rows], made.error[rows], made.effective[rows], made.shape[rows])
        parts.append(Served(made.shared, IMPORTANCE, f"draws under {_in_words(cells[owner])}", at[rows], *figures))
    return parts


def _in_words(priors: ModelPriors) -> str:
    each = [*(tau for own in priors.levels for tau in own.tau), *(own.rho for own in priors.levels if own.rho)]
    return ", ".join(dict.fromkeys(map(str, each)))
