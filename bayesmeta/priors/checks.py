"""Checks of a user's priors against the model: names, number and support."""

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, listing
from bayesmeta.errors import SpecError
from bayesmeta.measures import MEASURES, measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.distributions import HALF_FLAT, IMPROPER, JEFFREYS, check, draws, logp
from bayesmeta.priors.empirical import CITATIONS, origin
from bayesmeta.priors.prior import Prior, Priors
from bayesmeta.structures.base import law_of

# a factor of 1.2 apart, so that an interval which hides between two of them is hit by the draws
MAGNITUDES = np.logspace(-8, 8, 200)
NEAR_ZERO = 1e-2
N_DRAWS = 200


def beta_priors(spec: Spec, priors: Priors) -> list[Prior | None]:
    """The user's prior of every coefficient, None where there is none."""
    if isinstance(priors.beta, Mapping):
        _known("beta", "coefficient", priors.beta, spec.coef)
    chosen = [_pick(priors.beta, label) for label in spec.coef]
    for label, prior in zip(spec.coef, chosen, strict=True):
        if prior is not None:
            check_beta(prior, f"beta[{label}]")
    return chosen


def tau_priors(spec: Spec, level: Level, priors: Priors) -> list[Prior | None]:
    """The user's prior of every SD of a level, None where there is none."""
    n_tau = level.structure.n_tau(level.dim)
    of_level = _of_level(spec, level, priors.tau, "tau", n_tau)
    if isinstance(of_level, Mapping):
        _known(f"tau[{level.name}]", "random effect", of_level, level.effects)
        if n_tau < level.dim:
            raise SpecError(
                f"tau[{level.name}] has priors by effect, but structure '{level.structure.name}' has one SD for all\n"
                f'  give a single prior: tau={{"{level.name}": prior}}'
            )
    labels = tau_labels(level)
    chosen = [_pick(of_level, effect) for effect, _ in zip(level.effects, labels, strict=False)]
    for label, prior in zip(labels, chosen, strict=True):
        if prior is not None:
            check_tau(prior, label)
    return chosen


def rho_prior(spec: Spec, level: Level, priors: Priors) -> Prior | None:
    """The user's prior of the correlations of a level."""
    prior = _of_level(spec, level, priors.rho, "rho", level.structure.n_rho(level.dim))
    if prior is not None:
        check_rho(prior, f"rho[{level.name}]", level)
    return prior


def check_names(spec: Spec, priors: Priors) -> None:
    """Raise SpecError when tau or rho name unknown levels, or the model has no such parameter at all."""
    levels = [level.name for level in spec.levels]
    for kind, priors_of_kind in (("tau", priors.tau), ("rho", priors.rho)):
        if isinstance(priors_of_kind, Mapping):
            _known(kind, "level", priors_of_kind, levels)
        elif priors_of_kind is not None and not any(_count(level, kind) for level in spec.levels):
            raise SpecError(
                f"{kind} has a prior, but the model has no {kind}; structures: {_structures(spec.levels)}"
                "\n  leave it out of bm.Priors"
            )


def tau_labels(level: Level) -> tuple[str, ...]:
    """One label per SD; without an effect where one SD serves several."""
    n_tau = level.structure.n_tau(level.dim)
    if n_tau == 1 and level.dim > 1:
        return (f"tau[{level.name}]",)
    return tuple(f"tau[{level.name}, {effect}]" for effect in level.effects[:n_tau])


def _count(level: Level, kind: str) -> int:
    return level.structure.n_tau(level.dim) if kind == "tau" else level.structure.n_rho(level.dim)


def _structures(levels: Iterable[Level]) -> str:
    return listing(f"{level.name} '{level.structure.name}'" for level in levels)


def _known(what: str, kind: str, priors: Mapping[str, Any], known: Iterable[str]) -> None:
    known = list(known)
    for name in priors:
        check_name(name, known, f"prior {what}: no {kind}", "the model has")


def _pick(priors: Any, name: str) -> Any:
    return priors.get(name) if isinstance(priors, Mapping) else priors


def _of_level(spec: Spec, level: Level, priors: Any, kind: str, count: int) -> Any:
    """The user's priors of a level; None where one prior for all levels meets a level without such a parameter."""
    prior = _pick(priors, level.name)
    if prior is None or count:
        return prior
    if isinstance(priors, Mapping):
        having = [other for other in spec.levels if _count(other, kind)]
        raise SpecError(
            f"{kind}[{level.name}] has a prior, but structure '{level.structure.name}' of {level.dim} random effects "
            f"has no {kind}\n  levels that have one: {_structures(having) or 'none'}"
        )
    return None


def check_beta(prior: Prior, what: str) -> None:
    if prior.name in ("LKJ", "HalfFlat", JEFFREYS):
        raise SpecError(f"prior of {what} is {prior.name}; for a coefficient choose one such as Normal, or Flat")
    _check(prior, what)


def check_tau(prior: Prior, what: str) -> None:
    if prior == HALF_FLAT or prior.name == JEFFREYS:
        return _check(prior, what)
    if prior.name in IMPROPER or prior.name == "LKJ":
        why = "is improper" if prior.name in IMPROPER else "is a prior of correlations"
        raise SpecError(
            f"prior of {what} is {prior.name}, which {why}\n  for an SD choose HalfNormal, HalfStudentT or HalfCauchy;"
            " HalfFlat and Jeffreys are the improper ones"
        )
    _check(prior, what)
    if _may_be_negative(prior):
        raise SpecError(
            f"prior {prior} of {what} has the wrong support: an SD cannot be negative\n"
            "  choose HalfNormal, HalfStudentT, HalfCauchy, LogNormal, or TruncatedNormal with lower=0"
        )
    return None


def check_rho(prior: Prior, what: str, level: Level) -> None:
    if prior.name == "LKJ":
        return _check(prior, what)
    if prior.name in IMPROPER:
        raise SpecError(f"prior of {what} is {prior.name}, which is improper\n  for correlations give LKJ(eta=2)")
    n_rho = level.structure.n_rho(level.dim)
    law = law_of(level.structure, level.dim, 2.0)
    if n_rho > 1 or law is None:
        raise SpecError(
            f"prior of {what} is {prior}, but '{level.structure.name}' has {n_rho} correlations, which only together "
            "make a positive definite matrix\n  choose LKJ(eta=...)"
        )
    _check(prior, what)
    low, high = law.low, law.high
    if _reaches(prior, np.append(low - MAGNITUDES, high + MAGNITUDES), lambda x: (x < low) | (x > high)):
        raise SpecError(
            f"prior {prior} of {what} has the wrong support: correlations of structure '{level.structure.name}' of "
            f"{level.dim} effects lie between {low:.4g} and {high:.4g}\n"
            "  give LKJ(eta=2), or a distribution inside this range"
        )
    return None


def _check(prior: Prior, what: str) -> None:
    try:
        check(prior)
    except SpecError as error:
        raise SpecError(f"{what}: {error}") from None


@lru_cache(maxsize=1024)
def _may_be_negative(prior: Prior) -> bool:
    return _reaches(prior, -MAGNITUDES, lambda x: x < 0)


def _reaches(prior: Prior, points: Any, outside: Any) -> bool:
    """Whether the prior has density at one of the points outside the range, or draws there."""
    if (logp(prior, points) > -np.inf).any():
        return True
    return bool(outside(draws(prior, N_DRAWS, np.random.default_rng(0))).any())


def narrow(coefficients: Mapping[str, Prior], sds: Mapping[str, Prior]) -> list[str]:
    """Sentences about priors that rule out what priors seldom do: one sign of a coefficient, an SD near zero."""
    sentences = []
    for label, prior in coefficients.items():
        signs = [] if prior.name in IMPROPER else [s for s in (-1, 1) if not _possible(prior, s * MAGNITUDES)]
        if len(signs) == 1:
            sentences.append(
                f"the prior {prior} rules out {'negative' if signs[0] < 0 else 'positive'} values of {label}"
            )
    sentences += [
        f"the prior {prior} rules out values of {label} near zero"
        for label, prior in sds.items()
        if prior.name not in IMPROPER and not _possible(prior, MAGNITUDES[MAGNITUDES < NEAR_ZERO])
    ]
    return sentences


_MADE_FOR = {m.published_prior: m.label_of_several for m in MEASURES.values() if m.published_prior}


def of_other_effects(spec: Spec, sds: Mapping[str, Prior]) -> list[str]:
    """Sentences about published priors of SDs that were made for another effect measure than the model's."""
    own = measure(spec.measure).published_prior
    return [
        f"the prior {prior} of {label} is that of {CITATIONS[publication]} for {_MADE_FOR[publication]}, and the "
        f"effects are {measure(spec.measure).label_of_several}\n  take bm.priors.{own}(...)"
        for label, prior in sds.items()
        if own and (publication := origin(prior.name, prior.params)[0]) not in ("", own)
    ]


def _possible(prior: Prior, points: FloatArray) -> bool:
    return bool((logp(prior, points) > -np.inf).any())
