"""The priors of one model, every one filled in: records, their plain form, and their joint density and draws."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.model.spec import Spec, freeze
from bayesmeta.priors.correlations import rho_draws, rho_logp
from bayesmeta.priors.distributions import draws, logp
from bayesmeta.priors.prior import Prior

BETA = "beta"


@dataclass(frozen=True)
class LevelPriors:
    """Priors of one level.

    tau : one for every SD of the structure. rho : of all its correlations together, None where it has none.
    tau_labels, rho_label : names of the parameters. tau_default, rho_default : whether the user gave none.
    """

    tau: tuple[Prior, ...]
    rho: Prior | None
    tau_labels: tuple[str, ...]
    rho_label: str
    tau_default: tuple[bool, ...]
    rho_default: bool


class Row(NamedTuple):
    """One line of the table of priors."""

    parameter: str
    prior: str
    default: bool


@dataclass(frozen=True, eq=False)
class ModelPriors:
    """Priors of every parameter of a model.

    beta : P priors, independent, of theta = centring @ beta.
    centring : (P, P) with determinant 1. The row of an intercept with a default prior is the effect at the mean of the
        predictors; other rows are those of the identity.
    levels : in the order of the specification's levels.
    notes : assumptions made, in sentences.
    beta_labels, beta_default : (P,) names of the coefficients, and whether the user gave no prior.
    """

    beta: tuple[Prior, ...]
    centring: FloatArray
    levels: tuple[LevelPriors, ...]
    notes: tuple[str, ...]
    beta_labels: tuple[str, ...]
    beta_default: tuple[bool, ...]

    def __post_init__(self) -> None:
        freeze(self, "centring")

    def table(self) -> list[Row]:
        """Parameter, text of the prior, and whether it is a default, for every parameter."""
        centred = (self.centring != np.eye(len(self.beta))).any(1)
        at = [" at the mean of the predictors" if moved else "" for moved in centred]
        rows = [
            Row(f"beta[{label}]", f"{prior}{where}", default)
            for label, prior, where, default in zip(self.beta_labels, self.beta, at, self.beta_default, strict=True)
        ]
        for level in self.levels:
            rows += map(Row, level.tau_labels, map(str, level.tau), level.tau_default)
            rows += [] if level.rho is None else [Row(level.rho_label, str(level.rho), level.rho_default)]
        return rows

    def to_json(self) -> str:
        """Plain text that `from_json` turns back, for an attribute of a results tree."""
        plain = {
            "beta": self.beta,
            "centring": self.centring.tolist(),
            "levels": [vars(level) for level in self.levels],
            "notes": self.notes,
            "beta_labels": self.beta_labels,
            "beta_default": self.beta_default,
        }
        return json.dumps(plain, default=Prior.to_json)

    @classmethod
    def from_json(cls, text: str) -> "ModelPriors":
        plain = json.loads(text)
        P = len(plain["beta"])
        fixed = {name: tuple(plain[name]) for name in ("notes", "beta_labels", "beta_default")}
        levels = tuple(_level_from_json(level) for level in plain["levels"])
        return cls(_priors(plain["beta"]), np.reshape(plain["centring"], (P, P)).astype(float), levels, **fixed)


def _priors(plain: Sequence[Any]) -> tuple[Prior, ...]:
    return tuple(map(Prior.from_json, plain))


def _level_from_json(plain: dict[str, Any]) -> LevelPriors:
    rho = None if plain["rho"] is None else Prior.from_json(plain["rho"])
    tuples = {name: tuple(plain[name]) for name in ("tau_labels", "tau_default")}
    return LevelPriors(
        _priors(plain["tau"]), rho, rho_label=plain["rho_label"], rho_default=plain["rho_default"], **tuples
    )


def log_prior(
    priors: ModelPriors, spec: Spec, beta: Any, taus: Sequence[Any], rhos: Sequence[Any]
) -> dict[str, FloatArray]:
    """Log prior density of every block of parameters: "beta", and the names of tau and rho of each level.

    Parameters
    ----------
    beta : (..., P) coefficients.
    taus, rhos : of every level (n_tau, ...) and (n_rho, ...).

    Returns
    -------
    dict
        Name of the block in the posterior -> (...); blocks without parameters are left out.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> from bayesmeta.priors.defaults import resolve
    >>> spec = bm.specify("y ~ 1", {"y": [0.1, 0.3, 0.2], "v": [0.1, 0.2, 0.1]}, S="v", measure="smd")
    >>> priors = resolve(spec)
    >>> {name: float(block.round(3)) for name, block in log_prior(priors, spec, [0.0], [[0.2]], [[]]).items()}
    {'beta': -0.572, 'tau_unit': 0.654}
    """
    theta = np.asarray(beta, dtype=float) @ priors.centring.T
    blocks = {BETA: sum(logp(prior, theta[..., j]) for j, prior in enumerate(priors.beta))} if priors.beta else {}
    for level, own, tau, rho in zip(spec.levels, priors.levels, taus, rhos, strict=True):
        if own.tau:
            blocks[schema.tau(level.name)] = sum(logp(prior, t) for prior, t in zip(own.tau, tau, strict=True))
        if own.rho is not None:
            blocks[schema.rho(level.name)] = rho_logp(level.structure, level.dim, own.rho, rho)
    return {name: np.asarray(block) for name, block in blocks.items()}


def prior_draws(
    priors: ModelPriors, spec: Spec, n: int, random_seed: int | np.random.Generator | None = None
) -> tuple[FloatArray, list[FloatArray], list[FloatArray]]:
    """Draws of all parameters from their prior.

    Returns
    -------
    beta : (n, P).
    taus, rhos : of every level (n_tau, n) and (n_rho, n).

    Raises
    ------
    SpecError
        When a prior is improper.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> from bayesmeta.priors.defaults import resolve
    >>> spec = bm.specify("y ~ 1", {"y": [0.1, 0.3, 0.2], "v": [0.1, 0.2, 0.1]}, S="v", measure="smd")
    >>> beta, (tau,), (rho,) = prior_draws(resolve(spec), spec, 5, random_seed=1)
    >>> beta.shape, tau.shape, rho.shape
    ((5, 1), (1, 5), (0, 5))
    """
    rng = np.random.default_rng(random_seed)
    theta = np.reshape([draws(prior, n, rng) for prior in priors.beta], (len(priors.beta), n))
    taus, rhos = [], []
    for level, own in zip(spec.levels, priors.levels, strict=True):
        taus.append(np.reshape([draws(prior, n, rng) for prior in own.tau], (len(own.tau), n)))
        drawn = np.zeros((0, n))
        if own.rho is not None:
            drawn = rho_draws(level.structure, level.dim, own.rho, n, rng)
        rhos.append(drawn)
    return np.linalg.solve(priors.centring, theta).T, taus, rhos
