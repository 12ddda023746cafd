"""The chart of the parameters that are integrated numerically: coordinates u in which their prior is N(0, I).

Every SD and every correlation stands at the quantile of its prior that u is in the standard normal distribution. The
posterior is then N(0, I) times the likelihood, which is bounded where SDs go to zero, so mass there stays finite.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.closed_forms import ClosedForm, beta_form, closed_form, mixing, moments
from bayesmeta.priors.correlations import rho_of_normal
from bayesmeta.priors.distributions import IMPROPER, logp
from bayesmeta.priors.model_priors import LevelPriors, ModelPriors
from bayesmeta.priors.prior import Prior
from bayesmeta.structures.base import law_of

FLAT = "Flat"


class Coordinate(NamedTuple):
    """One coordinate of the chart.

    label : of the parameter. prior : its own marginal prior, None where the parameter is no function of this coordinate
    alone, as are correlations of three effects. sd : whether it is an SD.
    """

    label: str
    prior: ClosedForm | None
    sd: bool = False


@dataclass(frozen=True, eq=False)
class BetaPrior:
    """Priors of theta = centring @ beta that leave beta normal given the coordinates.

    mean, sd (P,) of normal ones and of the scale mixtures. flat, moved (P,) : whether theta_j is flat, or a coordinate
    itself. scaled, at : (coefficient, position in u) of scale mixtures and of moved coefficients, with their laws.
    """

    mean: FloatArray
    sd: FloatArray
    flat: BoolArray
    moved: BoolArray
    scaled: tuple[tuple[int, int, ClosedForm], ...]
    at: tuple[tuple[int, int, ClosedForm], ...]

    def sds(self, u: FloatArray) -> FloatArray:
        """(n, P) SDs of the normal priors at points u (n, k)."""
        sd = np.repeat(self.sd[None], len(u), axis=0)
        with np.errstate(all="ignore"):
            for j, position, precision in self.scaled:
                sd[:, j] = self.sd[j] / np.sqrt(precision.of_normal(u[:, position]))
        return sd

    def values(self, u: FloatArray) -> FloatArray:
        """(n, number moved) coefficients theta_j that are coordinates."""
        columns = [law.of_normal(u[:, position]) for _, position, law in self.at]
        return np.stack(columns, axis=1) if columns else np.zeros((len(u), 0))


@dataclass(frozen=True, eq=False)
class Chart:
    """From u (n, k) to the SDs and correlations of every level, and to what the prior of beta depends on.

    places : of every level the first position of its SDs and of its correlations, and the end. improper : positions of
    SDs under an improper prior, which stand at the quantiles of another, by whose density the likelihood is divided.
    """

    spec: Spec
    priors: ModelPriors
    coordinates: tuple[Coordinate, ...]
    places: tuple[tuple[int, int, int], ...]
    beta: BetaPrior
    improper: tuple[tuple[int, ClosedForm, Prior], ...] = ()

    @property
    def dim(self) -> int:
        return len(self.coordinates)

    @classmethod
    def of(cls, spec: Spec, priors: ModelPriors) -> "Chart":
        """The chart of a model; ask `obstacles` first."""
        coordinates: list[Coordinate] = []
        places, flat = [], list[tuple[int, ClosedForm, Prior]]()
        for level, own in zip(spec.levels, priors.levels, strict=True):
            first = len(coordinates)
            coordinates += [
                Coordinate(label, _carrier(spec) if prior.name in IMPROPER else closed_form(prior), sd=True)
                for label, prior in zip(own.tau_labels, own.tau, strict=True)
            ]
            flat += [(first + j, _carrier(spec), prior) for j, prior in enumerate(own.tau) if prior.name in IMPROPER]
            middle = len(coordinates)
            coordinates += _correlations(level, own)
            places.append((first, middle, len(coordinates)))
        return cls(spec, priors, *_with_beta(priors, coordinates, tuple(places)), tuple(flat))

    def log_improper(self, u: FloatArray) -> FloatArray | float:
        """(n,) log densities of improper priors over those of the priors at whose quantiles their SDs stand."""
        total = np.zeros(len(u))
        with np.errstate(all="ignore"):
            for j, law, prior in self.improper:
                tau = law.of_normal(u[:, j])
                total += logp(prior, tau) - law.logpdf(tau)
        return total

    def tau(self, u: FloatArray) -> list[FloatArray]:
        """SDs (n_tau, n) of every level."""
        return [
            np.reshape([_law(self.coordinates[j]).of_normal(u[:, j]) for j in range(first, middle)], (-1, len(u)))
            for first, middle, _ in self.places
        ]

    def rho(self, u: FloatArray) -> list[FloatArray]:
        """Correlations (n_rho, n) of every level, pairs in the order of rows."""
        none = np.zeros((0, len(u)))
        return [
            none if own.rho is None else rho_of_normal(level.structure, level.dim, own.rho, u[:, middle:end].T)
            for level, own, (_, middle, end) in zip(self.spec.levels, self.priors.levels, self.places, strict=True)
        ]

    def psi(self, u: FloatArray) -> list[FloatArray]:
        """Psi (a, a, n) of every level; entries are not finite where an SD is out of the range of numbers."""
        return self.composed(self.tau(u), self.rho(u), len(u))

    def composed(self, taus: Sequence[FloatArray], rhos: Sequence[FloatArray], n: int) -> list[FloatArray]:
        """Psi (a, a, n) of every level from its SDs and correlations."""
        with np.errstate(all="ignore"):
            matrices = [
                level.structure.compose(tau, rho, level.dim)
                for level, tau, rho in zip(self.spec.levels, taus, rhos, strict=True)
            ]
        return [
            np.array(np.broadcast_to(matrix, (level.dim, level.dim, n)), float)
            for level, matrix in zip(self.spec.levels, matrices, strict=True)
        ]


def _carrier(spec: Spec) -> ClosedForm:
    """A prior with heavy tails on the scale of the data, in the place of an improper one."""
    typical = np.concatenate([t for t in spec.statistics.typical if len(t)])
    law = closed_form(Prior("HalfCauchy", beta=float(np.median(typical))))
    assert law is not None
    return law


def _law(coordinate: Coordinate) -> ClosedForm:
    assert coordinate.prior is not None
    return coordinate.prior


def _correlations(level: Level, own: LevelPriors) -> list[Coordinate]:
    if own.rho is None:
        return []
    n = level.structure.n_rho(level.dim)
    if own.rho.name != "LKJ":
        return [Coordinate(own.rho_label, closed_form(own.rho))]
    law = law_of(level.structure, level.dim, own.rho.params["eta"])
    known = None if law is None else beta_form(law.alpha, law.beta, law.low, law.high, law.power)
    return [Coordinate(own.rho_label if n == 1 else f"{own.rho_label}, partial {i + 1}", known) for i in range(n)]


def _with_beta(
    priors: ModelPriors, coordinates: list[Coordinate], places: tuple[tuple[int, int, int], ...]
) -> tuple[tuple[Coordinate, ...], tuple[tuple[int, int, int], ...], BetaPrior]:
    """Coordinates with those that priors of coefficients add."""
    P = len(priors.beta)
    mean, sd, flat, moved = np.zeros(P), np.ones(P), np.zeros(P, bool), np.zeros(P, bool)
    scaled, at = [], []
    for j, (prior, label) in enumerate(zip(priors.beta, priors.beta_labels, strict=True)):
        normal, mixture = moments(prior), mixing(prior)
        if normal is not None:
            mean[j], sd[j] = normal
        elif mixture is not None:
            mean[j], sd[j], precision = mixture
            scaled.append((j, len(coordinates), precision))
            coordinates.append(Coordinate(f"precision of beta[{label}]", precision))
        elif prior.name == FLAT:
            flat[j] = True
        else:
            moved[j], law = True, closed_form(prior)
            assert law is not None
            at.append((j, len(coordinates), law))
            coordinates.append(Coordinate(f"beta[{label}]", law))
    return tuple(coordinates), places, BetaPrior(mean, sd, flat, moved, tuple(scaled), tuple(at))


def obstacles(spec: Spec, priors: ModelPriors) -> list[str]:
    """Why the model has no chart, in sentences: priors whose quantiles are not known in closed form."""
    named: list[tuple[str, Prior]] = []
    for own in priors.levels:
        named += [(label, prior) for label, prior in zip(own.tau_labels, own.tau, strict=True)]
        named += [(own.rho_label, own.rho)] if own.rho is not None and own.rho.name != "LKJ" else []
    named += [(f"beta[{label}]", p) for label, p in zip(priors.beta_labels, priors.beta, strict=True)]
    return [
        f"the prior {prior} of {label} has no quantiles in closed form here"
        for label, prior in named
        if prior.name not in IMPROPER and closed_form(prior) is None
    ]
