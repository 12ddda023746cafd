"""A posterior as weighted points of the chart: everything exact follows from it, whichever engine made it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from bayesmeta import kernel
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.bayes.mixtures import Axis, Marginal, Normals, Weighted

SMALLEST = 1e-12  # share of the largest weight below which a point says nothing about random effects


@dataclass(frozen=True, eq=False)
class WeightedPoints(ABC):
    """Weighted points; an engine adds how it draws.

    evaluator : the model. points : what is known at each. log_weight (n,) : up to a constant.
    log_marginal_likelihood, error : log p(y), and a bound of what integration did to it.
    """

    evaluator: Evaluator
    points: Evaluated
    log_weight: FloatArray
    log_marginal_likelihood: float
    error: float

    @abstractmethod
    def draw(self, n: int, rng: np.random.Generator) -> Evaluated:
        """n independent draws of the coordinates from the posterior, evaluated."""

    def axis(self, j: int) -> Axis | None:
        """The density along coordinate j, where the engine has it."""
        return None

    @property
    def diagnostics(self) -> dict[str, float]:
        """Figures by which the engine is to be trusted, under their names in `/criteria`."""
        return {}

    @cached_property
    def weight(self) -> FloatArray:
        """(n,) weights, which add up to one."""
        weight = np.exp(self.log_weight - self.log_weight.max())
        return np.asarray(weight / weight.sum())

    @cached_property
    def main(self) -> tuple[FloatArray, Evaluated]:
        """Weights and points without those that say nothing, also where their variances are large."""
        matter = self.weight.copy()
        with np.errstate(over="ignore", invalid="ignore"):
            for psi in self.evaluator.chart.psi(self.points.u):
                size = np.diagonal(psi).sum(1)
                usual = np.abs(size[np.argmax(self.weight)]) or 1.0
                matter = np.fmax(matter, np.where(self.points.usable, self.weight * size / usual, 0.0))
        kept = self.points.usable & (matter > SMALLEST * self.weight.max())
        return self.weight[kept] / self.weight[kept].sum(), self.points.take(kept)

    @property
    def fewer(self) -> "WeightedPoints":
        """The points for what costs much at each: those of a lattice, which are few."""
        return self

    @cached_property
    def psi(self) -> list[FloatArray]:
        """Psi (a, a, n) of every level at the main points."""
        return self.evaluator.chart.psi(self.main[1].u)

    # exact marginals

    def combination(self, c: FloatArray, noise: Sequence[FloatArray] | None = None) -> Normals:
        """Of C beta for c (q, P), plus effects of new groups with designs noise per level (q, a)."""
        weight, points = self.main
        spread2 = ((np.asarray(c) @ points.root) ** 2).sum(2)
        for z, psi in zip(noise or (), self.psi, strict=False):
            spread2 = spread2 + np.einsum("qa,abn,qb->nq", z, psi, z)
        return Normals(weight, points.beta @ np.asarray(c).T, np.sqrt(spread2))

    @property
    def beta(self) -> Normals | Weighted:
        """Of the coefficients."""
        return self.combination(np.eye(self.points.beta.shape[1]))

    def coordinate(self, j: int) -> Marginal:
        """Of the parameter at coordinate j, which must be a function of it alone."""
        axis, known = self.axis(j), self.evaluator.chart.coordinates[j].prior
        if axis is not None:
            return axis
        assert known is not None
        weight, points = self.main
        return Weighted(weight, known.of_normal(points.u[:, j])[:, None])

    @property
    def dense(self) -> tuple[FloatArray, FloatArray]:
        """Weights (n,) and coordinates (n, k) that are dense enough for quantiles of functions of the coordinates."""
        return self.main[0], self.main[1].u

    @property
    def unresolved(self) -> tuple[float, float]:
        """Mass so small that the points do not tell how it is spread, and what share of a mean it may make up."""
        return 20 * float((self.weight**2).sum()), 0.5

    @cached_property
    def beta_moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean (P,) and covariance (P, P) of the coefficients."""
        weight, points = self.main
        mean = weight @ points.beta
        away = points.beta - mean
        return mean, (weight[:, None] * away).T @ away + np.einsum("n,npr,nqr->pq", weight, points.root, points.root)

    def function(self, values: FloatArray) -> Weighted:
        """Of functions of the covariance parameters by their values (n, q) at the main points."""
        return Weighted(self.main[0], values)

    @cached_property
    def effects(self) -> list[Normals]:
        """Of the random effects (groups times effects, groups first) of every level."""
        weight, points = self.main
        moments = kernel.effects_given(self.evaluator.stats, self.psi, points.beta, points.root)
        return [Normals(weight, m.reshape(len(weight), -1), s.reshape(len(weight), -1)) for m, s in moments]

    def predicted(self, X: FloatArray, Z: Sequence[FloatArray], groups: Sequence[IntArray]) -> Normals:
        """Of x beta + sum over levels of z b_g: X (q, P), and of the first levels Z (q, a) and codes of groups (q,)."""
        weight, points = self.main
        moments = kernel.combinations_given(self.evaluator.stats, self.psi, points.beta, points.root, X, Z, groups)
        return Normals(weight, *moments)

    def draw_beta(self, points: Evaluated, rng: np.random.Generator) -> FloatArray:
        """(n, P) coefficients drawn given the coordinates."""
        z = rng.standard_normal((len(points), points.root.shape[2], 1))
        return points.beta + (points.root @ z)[..., 0]
