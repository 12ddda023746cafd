"""Bayes factors: of two posteriors, or of one against the same model with a parameter held at a value."""

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import expit

from bayesmeta import tree_schema as schema
from bayesmeta._validation import listing, shown
from bayesmeta.bayes.engines import choose
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.importance import NotIntegratedError
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.inference.contrasts import of_terms, written
from bayesmeta.inference.same_data import other_sampling_covariances, same_observations
from bayesmeta.model.spec import Spec
from bayesmeta.priors.closed_forms import closed_form
from bayesmeta.priors.distributions import IMPROPER
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.structures.known import Fixed
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, reading_once, spec_from_tree

_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)
_TAU = re.compile(r"^\s*tau\s*(?:\[(.+)\])?\s*=\s*(.+?)\s*$")
_EXAMPLES = '"tau[study] = 0", "Intercept = 0" or "ablat = 0"'


class Evidence(NamedTuple):
    """Log marginal likelihood, and a standard error that numerical integration left in it."""

    log: float
    error: float


@dataclass(frozen=True, eq=False)
class Model:
    """What a posterior is of."""

    spec: Spec
    priors: ModelPriors

    @cached_property
    def integrated(self) -> WeightedPoints:
        """The posterior by an engine without chains; SpecError where none takes the model."""
        choice = choose(self.spec, self.priors, "auto")
        if choice.engine is None:
            raise SpecError(
                f"no log marginal likelihood: {choice.why}, and Markov chains do not give it\n"
                "  take priors whose quantiles are known in closed form, or a structure with fewer parameters"
            )
        try:
            return choice.engine.run(Evaluator(self.spec, self.priors), 0)
        except NotIntegratedError as reason:
            raise SpecError(
                f"no log marginal likelihood: importance sampling failed, since {reason}\n"
                "  take a structure with fewer parameters, or priors that say more"
            ) from None


def bayes_factor(a: xr.DataTree, b: xr.DataTree | str | Sequence[str]) -> xr.Dataset:
    """How much better a model predicted the data than another one, or than itself with a parameter at a value.

    Parameters
    ----------
    a : DataTree
        Results tree of `bm.sample`, also one read back from a file.
    b : DataTree, str or list of str
        Another posterior of the same observations; or what is to be tested: "tau[study] = 0", no heterogeneity between
        studies; "Intercept = 0", no effect; "ablat = 0" or "beta[ablat] = 0", no moderator, also a term with several
        coefficients; several at once with commas or as a list. The other parameters keep their priors.

    Returns
    -------
    Dataset
        0-d: `bayes_factor`, p(y | a) / p(y | b), above 1 where `a` predicted better; `log_bayes_factor` (natural) and
        its standard error `log_bayes_factor_se`, of numerical integration; `probability`, of `a` where both were
        equally probable before. `log_savage_dickey` is the same from the densities of one coefficient in the prior and
        in the posterior, a check of the integration; NaN where another thing is tested. Over `model`:
        `log_marginal_likelihood` and `log_marginal_likelihood_se`.

    Raises
    ------
    SpecError
        When a tree is not a posterior, both are of different observations, a parameter is unknown, a prior of what
        differs is improper, which leaves the Bayes factor undefined, or no engine integrates a model.

    Warns
    -----
    AssumptionWarning
        When the models take different sampling covariances as known.

    Notes
    -----
    A Bayes factor depends on the priors of what is tested, however many data there are; `bm.sensitivity` shows how
    much. Marginal likelihoods are integrals over all parameters; a variance at zero is a model of its own.

    References
    ----------
    Kass and Raftery (1995), J. Am. Stat. Assoc. 90:773-795; Dickey (1971), Ann. Math. Stat. 42:204-223; Gronau, Heck,
    Berkhout, Haaf and Wagenmakers (2021), Adv. Methods Pract. Psychol. Sci. 4(3), for meta-analysis.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    >>> post = bm.sample(spec, priors, random_seed=1)
    >>> round(float(bm.bayes_factor(post, "Intercept = 0")["bayes_factor"]))
    75
    >>> round(float(bm.bayes_factor(post, "tau[unit] = 0")["log_bayes_factor"]))
    63
    """
    with reading_once():
        one = model_of(a, "a")
        own = evidence(a, one)
        if isinstance(b, xr.DataTree):
            check_comparable({"a": a, "b": b})
            other, dickey, names = evidence(b, model_of(b, "b")), np.nan, ("a", "b")
        else:
            hypotheses = _listed(b)
            null = restricted(one, hypotheses)
            there = null.integrated
            other = Evidence(there.log_marginal_likelihood, there.error)
            dickey, names = _savage_dickey(one, hypotheses), ("a", ", ".join(hypotheses))
    log, error = own.log - other.log, float(np.hypot(own.error, other.error))
    with np.errstate(over="ignore"):
        table = {
            "bayes_factor": np.exp(log),
            "log_bayes_factor": log,
            "log_bayes_factor_se": error,
            "probability": expit(log),
            "log_savage_dickey": dickey,
        }
    each = {schema.LOG_ML: ("model", [own.log, other.log]), schema.LOG_ML_SE: ("model", [own.error, other.error])}
    return xr.Dataset({name: ((), float(value)) for name, value in table.items()} | each, {"model": list(names)})


def model_of(tree: object, name: str) -> Model:
    """The specification and the priors of a posterior."""
    if not isinstance(tree, xr.DataTree) or not is_posterior(tree):
        kind = "a fit" if isinstance(tree, xr.DataTree) else shown(tree)
        raise SpecError(
            f"{name} is {kind}; Bayes factors are of posteriors, from bm.sample, and b also of a hypothesis, such as"
            f" {_EXAMPLES}"
        )
    return Model(spec_from_tree(tree), ModelPriors.from_json(tree.attrs["priors"]))


def evidence(tree: xr.DataTree, model: Model) -> Evidence:
    """Of a posterior, as stored, or integrated where Markov chains drew it."""
    table = group(tree, schema.CRITERIA) if schema.CRITERIA in tree.children else {}
    if schema.LOG_ML in table:
        return Evidence(float(table[schema.LOG_ML]), float(table[schema.LOG_ML_SE]))
    exact = model.integrated
    return Evidence(exact.log_marginal_likelihood, exact.error)


def check_comparable(trees: dict[str, xr.DataTree]) -> None:
    """That marginal likelihoods are of the same data, and improper priors in all models the same."""
    (first, known), *others = trees.items()
    flat = improper(model_of(known, first).priors)
    for name, tree in others:
        own = improper(model_of(tree, name).priors)
        if not same_observations(known, tree):
            raise SpecError(
                f"{first} and {name} are of different observations, so their marginal likelihoods cannot be compared\n"
                "  sample both models from the same rows and outcomes"
            )
        if own != flat:
            differs, one = listing(sorted(flat ^ own)), sorted(flat ^ own)[0]
            raise SpecError(
                f"the improper prior of {differs} is in one of {first} and {name} only: their Bayes factor is"
                " undefined\n"
                f"  give it a proper prior: {_proper(one)}"
            )
    if remark := other_sampling_covariances(trees):
        warn(remark, AssumptionWarning)


def _proper(label: str) -> str:
    """The line that gives a parameter a proper prior."""
    if label.startswith("tau["):
        return "bm.Priors(tau=bm.priors.half_normal(0.5))"
    return f'bm.Priors(beta={{"{label}": bm.Prior("Normal", mu=0, sigma=1)}})'


def improper(priors: ModelPriors) -> set[str]:
    """Labels of parameters whose prior is improper: of coefficients their names, of SDs as `tau[unit, Intercept]`."""
    named = [*zip(priors.beta_labels, priors.beta, strict=True)]
    named += [each for own in priors.levels for each in zip(own.tau_labels, own.tau, strict=True)]
    return {label for label, prior in named if prior.name in IMPROPER}


# hypotheses


def _listed(hypotheses: object) -> list[str]:
    texts = [hypotheses] if isinstance(hypotheses, str) else hypotheses
    if not isinstance(texts, Sequence) or not texts or not all(isinstance(text, str) for text in texts):
        raise SpecError(f"b is {shown(hypotheses)}; it must be a posterior, or a hypothesis such as {_EXAMPLES}")
    return [part for text in texts for part in _parts(text)]


def _parts(text: str) -> list[str]:
    """Hypotheses between commas that stand outside brackets; names may have apostrophes, which pair nothing."""
    depth, ends = 0, []
    for at, character in enumerate(text):
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            ends.append(at)
    return [text[a + 1 : b].strip() for a, b in pairwise([-1, *ends, len(text)])]


def restricted(model: Model, hypotheses: Sequence[str]) -> Model:
    """The model under hypotheses about its parameters; all others keep their priors."""
    for text in hypotheses:
        match = _TAU.match(text)
        model = _without_variation(model, text, match[1], match[2]) if match else _with_known(model, text)
    return model


def _without_variation(model: Model, text: str, named: str | None, value: str) -> Model:
    """tau = 0, of one level or of all."""
    spec, priors = model.spec, model.priors
    varying = [level for level in spec.levels if level.n_free]
    if value not in ("0", "0.0"):
        raise SpecError(f"hypothesis {text!r}: an SD is tested at 0 alone; write it as 'tau[{varying[0].name}] = 0'")
    chosen = [level for level in varying if named is None or named == level.name]
    if not chosen:
        of_one = [level for level in varying if named in [f"{level.name}, {effect}" for effect in level.effects]]
        if of_one and of_one[0].dim > 1:
            name, n = of_one[0].name, of_one[0].dim
            raise SpecError(
                f"hypothesis {text!r}: the {n} effects of level '{name}' are held at zero together\n"
                f"  write 'tau[{name}] = 0'; for one of them, sample the model without it"
            )
        chosen = of_one
    if not chosen:
        known = listing([f"tau[{level.name}]" for level in varying]) or "none"
        raise SpecError(f"hypothesis {text!r}: no such SD is free in the model\n  free: {known}")
    for level in chosen:
        at = spec.levels.index(level)
        if any(prior.name in IMPROPER for prior in priors.levels[at].tau):
            raise SpecError(
                f"hypothesis {text!r}: the prior of {priors.levels[at].tau_labels[0]} is improper, so its Bayes factor"
                f" is undefined\n  sample with a proper one: {_proper('tau[')}"
            )
        held = replace(level, structure=Fixed(np.zeros((level.dim, level.dim))))
        own = replace(priors.levels[at], tau=(), tau_labels=(), tau_default=(), rho=None)
        spec = replace(spec, levels=(*spec.levels[:at], held, *spec.levels[at + 1 :]))
        priors = replace(priors, levels=(*priors.levels[:at], own, *priors.levels[at + 1 :]))
    return Model(spec, priors)


def _with_known(model: Model, text: str) -> Model:
    """Coefficients at values."""
    spec, priors = model.spec, model.priors
    places, values = _coefficients(spec, text)
    improper = [spec.coef[j] for j in places if priors.beta[j].name in IMPROPER]
    if improper:
        raise SpecError(
            f"hypothesis {text!r}: the prior of {listing(improper)} is improper, so its Bayes factor is undefined\n"
            f'  sample with a proper one: bm.Priors(beta={{"{improper[0]}": bm.Prior("Normal", mu=0, sigma=1)}})'
        )
    off = priors.centring - np.eye(len(spec.coef))
    if off[places].any() or (off[:, places] @ values).any():
        raise SpecError(
            f"hypothesis {text!r}: the default prior of the intercept is at the mean of the predictors, so it says"
            " nothing about this value by itself\n  give the intercept a prior of its own"
        )
    kept = np.setdiff1d(np.arange(len(spec.coef)), places)
    labels = tuple(spec.coef[j] for j in kept)
    fewer = replace(
        priors,
        beta=tuple(priors.beta[j] for j in kept),
        centring=np.array(priors.centring[np.ix_(kept, kept)]),
        beta_labels=labels,
        beta_default=tuple(priors.beta_default[j] for j in kept),
    )
    offset = spec.offset + spec.X[:, places] @ values
    return Model(replace(spec, X=np.array(spec.X[:, kept]), coef=labels, offset=offset), fewer)


def _coefficients(spec: Spec, text: str) -> tuple[list[int], np.ndarray]:
    """Which coefficients a hypothesis is about, and their values."""
    left, equals, right = text.rpartition("=") if "=" in text else (text, "", "")
    name = left.strip()
    if name.startswith("beta[") and name.endswith("]"):
        name = name[len("beta[") : -1]
    if equals and name in spec.coef and _NUMBER.fullmatch(right.strip()):
        return [spec.coef.index(name)], np.array([float(right)])
    if equals and right.strip() in ("0", "0.0") and name in spec.design.terms:
        made = of_terms(spec, name)
    else:
        made = written(spec, f"{name} = {right}" if equals else text)
    weights = (made.matrix != 0).sum(1)
    if not equals or (weights != 1).any():
        raise SpecError(
            f"hypothesis {text!r}: it must say the value of single coefficients, such as {_EXAMPLES}\n"
            "  for a difference, code the predictors so that it is a coefficient"
        )
    places = np.abs(made.matrix).argmax(1)
    size = made.matrix[np.arange(len(places)), places]
    return [int(j) for j in places], made.null / size


def _savage_dickey(model: Model, hypotheses: Sequence[str]) -> float:
    """Log of the density in the prior over that in the posterior, of one coefficient.

    Not of an SD at zero, where the ratio of densities is that of marginal likelihoods by definition.
    """
    if len(hypotheses) != 1 or _TAU.match(hypotheses[0]):
        return np.nan
    places, values = _coefficients(model.spec, hypotheses[0])
    exact = model.integrated
    if len(places) != 1 or exact.evaluator.chart.beta.at:
        return np.nan
    prior = closed_form(model.priors.beta[places[0]])
    posterior = exact.beta.density(np.full((1, len(model.spec.coef)), values[0]))[0, places[0]]
    return np.nan if prior is None else float(prior.logpdf(values[0]) - np.log(posterior))
