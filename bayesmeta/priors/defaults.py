"""From a user's priors, and defaults for all others, to the priors of every parameter of a model."""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from scipy.linalg import block_diag

from bayesmeta._typing import BoolArray
from bayesmeta._validation import check_is, listing
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.measures import MEASURES, measure
from bayesmeta.model.spec import Level, Spec
from bayesmeta.priors.checks import (
    beta_priors,
    check_names,
    narrow,
    of_other_effects,
    rho_prior,
    tau_labels,
    tau_priors,
)
from bayesmeta.priors.improper import check_proper_posterior, with_variances
from bayesmeta.priors.model_priors import LevelPriors, ModelPriors
from bayesmeta.priors.prior import Prior, Priors
from bayesmeta.priors.scales import centring, data_scale, default_beta, default_taus, intercepts

__all__ = ["LevelPriors", "ModelPriors", "resolve"]

RHO = Prior("LKJ", eta=2.0)


def resolve(spec: Spec, priors: Priors | None = None) -> ModelPriors:
    """Priors of every parameter: those given, and weakly informative ones for the others.

    Defaults follow the unit-information SD (UISD) of the measure: 2 for log odds, risk, hazard and incidence rate
    ratios, sqrt(2) for standardised mean differences, 1 for Fisher's z. An effect is N(0, UISD / 2), the coefficient of
    a predictor N(0, UISD / 4) per SD of the predictor, an SD between groups half-normal with scale UISD / 4 (that of a
    random slope per SD of its predictor), correlations are LKJ(2).

    The default of an intercept is that of the effect at the mean of the predictors of its outcome: with year as a
    predictor, an intercept is the effect in year 0, about which hardly anybody has an opinion. A prior that is given
    for an intercept is on the coefficient as it stands. Where an outcome has no intercept, a coefficient is N(0, UISD /
    2) over the root mean square of the entries of its column that are not zero.

    For other measures the defaults come from the data, with s the SD of the outcome: N(mean, 5 s), N(0, 2.5 s) per SD
    of the predictor, and half-normal with scale s. This is said in a note and a warning.

    Parameters
    ----------
    spec : Spec
        The model.
    priors : Priors, optional
        The user's priors; None for defaults only.

    Returns
    -------
    ModelPriors
        A prior for every parameter.

    Raises
    ------
    SpecError
        For names not in the model, unknown distributions or parameters, an SD that could be negative, a
        correlation outside the range of its structure, improper priors of correlations, and those of SDs with which the
        posterior would be improper.

    Warns
    -----
    AssumptionWarning
        When a default is scaled from the data, a coefficient has an improper prior, a prior allows it one sign only, or
        that of an SD allows none near zero.

    References
    ----------
    Röver et al. (2021), Res. Synth. Methods 12:448-474; Lewandowski et al. (2009), J. Multivar. Anal. 100:1989-2001.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"logor": [-0.9, -0.2, -0.5], "var": [0.1, 0.2, 0.05]}
    >>> for row in resolve(bm.specify("logor ~ 1", trials, S="var", measure="logor")).table():
    ...     print(row.parameter, row.prior)
    beta[Intercept] Normal(mu=0, sigma=1)
    tau[unit, Intercept] HalfNormal(sigma=0.5)
    """
    check_priors(priors)
    chosen = priors or Priors()
    check_names(spec, chosen)
    betas = beta_priors(spec, chosen)
    levels = tuple(_level(spec, level, chosen) for level in spec.levels)
    default = np.array([prior is None for prior in betas], dtype=bool)
    filled = tuple(default_beta(spec, j) if prior is None else prior for j, prior in enumerate(betas))
    labels = tuple(f"beta[{label}]" for label in spec.coef)
    scaled = [label for label, is_default in zip(labels, default, strict=True) if is_default]
    scaled += [name for v in levels for name, free in zip(v.tau_labels, v.tau_default, strict=True) if free]
    flat = [label for label, prior in zip(labels, filled, strict=True) if prior.name == "Flat"]
    given = {label: prior for label, prior in zip(labels, betas, strict=True) if prior is not None}
    of_sds = {
        label: prior
        for level in levels
        for label, prior, free in zip(level.tau_labels, level.tau, level.tau_default, strict=True)
        if not free
    }
    flat_sds = check_proper_posterior(spec, filled, levels)
    notes = (
        *_scaled_from_data(spec, scaled),
        *_improper(dict.fromkeys(flat, "Flat") | flat_sds),
        *narrow(given, of_sds),
        *of_other_effects(spec, of_sds),
    )
    for note in notes:
        warn(note, AssumptionWarning)
    C = centring(spec, _centred(spec, default))
    return ModelPriors(filled, C, levels, notes, spec.coef, tuple(default.tolist()))


def extended(known: ModelPriors, wider: Spec) -> ModelPriors:
    """The priors of a model with further coefficients behind its own, of the model where it has them all.

    A further one has its default, or the prior of all others where the user has given them all the same.
    """
    more = range(len(known.beta), len(wider.coef))
    shared = len(set(map(str, known.beta))) == 1 and not any(known.beta_default)
    new = tuple(known.beta[0] if shared else default_beta(wider, j) for j in more)
    C = block_diag(known.centring, np.eye(len(new)))
    default = (*known.beta_default, *(not shared for _ in new))
    return replace(known, beta=(*known.beta, *new), centring=C, beta_labels=wider.coef, beta_default=default)


def check_priors(priors: object) -> None:
    """That these are a `Priors`, or None; a dict of them is answered with the line to type."""
    if priors is None or isinstance(priors, Priors):
        return
    tau = "tau=bm.priors.half_normal(0.5)"
    if isinstance(priors, Mapping):
        blocks = [block for block in ("beta", "tau", "rho") if block in priors]
        words = {"beta": 'beta=bm.Prior("Normal", mu=0, sigma=1)', "tau": tau, "rho": 'rho=bm.Prior("LKJ", eta=2)'}
        line = ", ".join(words[block] for block in blocks) or tau
        raise SpecError(f"priors is a dict; write bm.Priors({line})")
    check_is(priors, Priors, "priors", f"a bm.Priors, such as bm.Priors({tau})")


def _centred(spec: Spec, default: BoolArray) -> BoolArray:
    return default & intercepts(spec, spec.X)


def _level(spec: Spec, level: Level, priors: Priors) -> LevelPriors:
    chosen, rho = tau_priors(spec, level, priors), rho_prior(spec, level, priors)
    taus = tuple(prior for prior in chosen if prior is not None)
    if len(taus) < len(chosen):
        taus = tuple(prior or default for prior, default in zip(chosen, default_taus(spec, level), strict=True))
    taus = tuple(with_variances(spec, level, prior) for prior in taus)
    has_rho = level.structure.n_rho(level.dim) > 0
    return LevelPriors(
        tau=taus,
        rho=(rho or RHO) if has_rho else None,
        tau_labels=tau_labels(level),
        rho_label=f"rho[{level.name}]",
        tau_default=tuple(prior is None for prior in chosen),
        rho_default=rho is None,
    )


def _scaled_from_data(spec: Spec, labels: list[str]) -> tuple[str, ...]:
    """The sentence about defaults that are scaled from the data."""
    if not labels or measure(spec.measure).unit_information_sd is not None:
        return ()
    sds = (
        f"{data_scale(spec, spec.outcome_index == k):.4g} ({outcome})"
        for k, outcome in enumerate(spec.outcomes)
        if (spec.outcome_index == k).any()
    )
    known = listing(name for name, record in MEASURES.items() if record.unit_information_sd is not None)
    why, what = f"measure '{spec.measure}' has no scale of its own", "state what is known by priors="
    if spec.measure is None:
        why, what = "no measure is given", f"pass measure= to specify ({known}), or priors="
    return (f"{why}: default priors of {listing(labels)} are scaled by the SD of the outcome, {listing(sds)}; {what}",)


def _improper(labels: dict[str, str]) -> tuple[str, ...]:
    if not labels:
        return ()
    names = listing(dict.fromkeys(labels.values()))
    return (f"the prior of {listing(labels)} is improper ({names}): no draws from the prior, and no Bayes factors",)
