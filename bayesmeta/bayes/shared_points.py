"""The same evaluations of the likelihood under many priors: points that stand for the volume around them.

An integral over SDs and correlations is a sum over points of log p(y | point) + log prior + log volume, whichever prior
the points were made for. Where they do not reach, or stand too far apart, the error of that prior says so.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.chart import BetaPrior, Chart
from bayesmeta.bayes.evaluator import Evaluated, Evaluator
from bayesmeta.kernel.likelihood import LOG_2PI
from bayesmeta.priors.closed_forms import mixing
from bayesmeta.priors.correlations import rho_logp
from bayesmeta.priors.distributions import logp
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Prior


def log_normal_density(u: FloatArray) -> FloatArray:
    return np.asarray(-(u**2) / 2 - LOG_2PI / 2)


@dataclass(frozen=True, eq=False)
class SharedPoints:
    """Points u of a chart whose log volumes (n,) are per unit of every SD and mixing precision.

    Correlations, and coefficients that are coordinates, are measured by the density that the chart itself was made for.
    """

    evaluator: Evaluator
    points: Evaluated
    log_volume: FloatArray

    @property
    def chart(self) -> Chart:
        return self.evaluator.chart

    @cached_property
    def tau(self) -> list[FloatArray]:
        """SDs (n_tau, n) of every level."""
        return self.chart.tau(self.points.u)

    @cached_property
    def rho(self) -> list[FloatArray]:
        """Correlations (n_rho, n) of every level."""
        return self.chart.rho(self.points.u)

    @cached_property
    def psi(self) -> list[FloatArray]:
        """Psi (a, a, n) of every level."""
        return self.chart.composed(self.tau, self.rho, len(self.points))

    @cached_property
    def _known(self) -> dict[object, FloatArray]:
        return {}

    def log_prior(self, priors: ModelPriors) -> FloatArray:
        """(n,) log prior of SDs and mixing precisions, and of correlations relative to that of the chart."""
        total = np.zeros(len(self.points))
        with np.errstate(all="ignore"):
            for i, (own, base) in enumerate(zip(priors.levels, self.chart.priors.levels, strict=True)):
                for j, prior in enumerate(own.tau):
                    total += self._density(("tau", i, j, prior), partial(logp, prior), self.tau[i][j])
                if own.rho is not None and own.rho != base.rho:
                    total += self._correlations(i, own.rho) - self._correlations(i, base.rho)
            for j, position, law in self.chart.beta.scaled:
                w = law.of_normal(self.points.u[:, position])
                total += self._density(("precision", j, priors.beta[j]), partial(_log_precision, priors.beta[j]), w)
        return np.where(np.isnan(total), -np.inf, total)

    def _density(self, key: object, law: Callable[[FloatArray], FloatArray], values: FloatArray) -> FloatArray:
        """Computed once for every prior of every parameter."""
        if key not in self._known:
            self._known[key] = np.asarray(law(values), float)
        return self._known[key]

    def _correlations(self, i: int, prior: object) -> FloatArray:
        key = ("rho", i, prior)
        if key not in self._known:
            level = self.evaluator.spec.levels[i]
            self._known[key] = rho_logp(level.structure, level.dim, prior, self.rho[i])  # type: ignore[arg-type]
        return self._known[key]

    def under(self, priors: ModelPriors) -> Evaluated:
        """The points with the coefficients integrated out under other priors of theirs."""
        key = ("beta", priors.beta)
        if key not in self._known:
            self._known[key] = self.evaluator.under(self.points, beta_prior(self.chart, priors))  # type: ignore[assignment]
        return self._known[key]  # type: ignore[return-value]

    def log_weights(self, cells: Sequence[ModelPriors]) -> FloatArray:
        """(cells, n) logarithms of what every point adds to the marginal likelihood."""
        rows = [self.under(priors).loglik + self.log_prior(priors) + self.log_volume for priors in cells]
        return np.where(self.points.usable, np.array(rows).reshape(len(cells), -1), -np.inf)


def _log_precision(prior: Prior, w: FloatArray) -> FloatArray:
    """Log density of the mixing precision of a Student t or Cauchy prior."""
    known = mixing(prior)
    assert known is not None
    return np.asarray(known[2].logpdf(w))


def beta_prior(chart: Chart, priors: ModelPriors) -> BetaPrior:
    """Priors of the coefficients in another chart of the same kind, whose mixing precisions stand where its own are."""
    own, laws = Chart.of(chart.spec, priors).beta, chart.beta.scaled
    return replace(own, scaled=laws, at=chart.beta.at)
