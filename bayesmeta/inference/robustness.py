"""How the answers depend on the priors: a model under hundreds of them, from evaluations that they share."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_integer, check_name, check_number, check_probability, listing
from bayesmeta.bayes.many_priors import Posteriors, posteriors
from bayesmeta.errors import ConvergenceError, ConvergenceWarning, SpecError, warn
from bayesmeta.inference.bayes_factors import Model, improper, restricted
from bayesmeta.inference.prior_grid import PriorGrid, prior_grid
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.priors.closed_forms import closed_form
from bayesmeta.priors.defaults import check_priors, resolve
from bayesmeta.priors.distributions import IMPROPER
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Priors, half_normal


def robustness(
    spec: Spec,
    grid: Mapping[str, Any] | None = None,
    priors: Priors | None = None,
    *,
    effect: str | None = None,
    null: float = 0.0,
    prob: float = 0.95,
    random_seed: int = 1,
) -> xr.Dataset:
    """Estimates and Bayes factors of one model under hundreds of priors.

    The likelihood is evaluated once for all of them: on one lattice where at most three SDs and correlations are free,
    else at importance draws under a few of the priors, which are reweighted to the others.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    grid : mapping, optional
        Axes of the grid: `tau`, families of the prior of every SD, a list of "half-normal", "half-t" (3 degrees of
        freedom), "half-Cauchy", "exponential", "log-normal" (`scale` is its median, the SD of its logarithm 1) and
        "uniform" (from 0 to `scale`), or a dict of names and functions that make a prior of a scale; `scale`, their
        scales, positive and in the unit of the outcome; `beta`, a dict of names and priors of coefficients as
        `bm.Priors` takes them; `eta`, numbers of LKJ(eta); `level`, the levels whose SDs vary, by default all. By
        default four families at 25 scales from a tenth to four times that of the default prior. Or else priors by name,
        `{"wide": bm.Priors(...)}`.
    priors : Priors, optional
        The reference prior: what the grid does not vary, and what Bayes factors compare with; by default that of
        `bm.sample`.
    effect : str, optional
        The coefficient whose Bayes factor against zero is computed; by default the first.
    null : float, default 0
        Value below which the probability of every coefficient is given.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    random_seed : int, default 1
        Seed of importance draws; nothing else is random.

    Returns
    -------
    Dataset
        Over the axes of the grid (`family`, `scale`, `beta`, `eta`; or `prior`) and `parameter`: `estimate` the
        posterior mean, `sd`, `lower` and `upper` of the equal-tailed interval, and `probability_below`, of coefficients
        below `null`. Over the axes: `log_marginal_likelihood` and its `_se`; `log_bayes_factor`, of the prior against
        the reference, its `_se`; `log_bayes_factor_heterogeneity`, of the model against that in which all SDs are zero,
        and `log_bayes_factor_effect`, against that in which `effect` is zero, both under the same prior, NaN where an
        improper or centred prior leaves them undefined; `engine`, `anchor`, what the evaluations were made for, and
        of importance draws `ess`, their effective size, and `pareto_k`; `priors`, in words. `bm.plots.robustness` draws
        it.

    Raises
    ------
    SpecError
        For axes that are unknown or empty, priors that do not fit the model, and those that only Markov chains take.

    ConvergenceError
        When importance sampling failed under all priors.

    Warns
    -----
    ConvergenceWarning
        When importance sampling failed under a prior; its row is NaN.
    AssumptionWarning
        Of the priors, as `bm.sample`; each once.

    Notes
    -----
    On the lattice, SDs are s exp(v - exp(-v)), a coordinate in which the trapezoid rule converges under every prior
    that is smooth on the half-line; the error of each cell is what its two rules of double step, and the edge of the
    lattice, leave open. A cell whose error is too large, or whose prior ends at a bound, gets a lattice of its own.
    Draws are taken under the reference prior first, then under whichever prior they serve worst, until the effective
    size is at least 2,000, the largest weight at most 2%, and Pareto k at most 0.7 under every prior, and also where
    draws under two priors contradict each other.

    The Bayes factor of the effect is the ratio of its densities at zero in prior and posterior (Savage and Dickey),
    which is exact since SDs have the same prior in both models.

    References
    ----------
    Trefethen and Weideman (2014), SIAM Rev. 56:385-458; Vehtari et al. (2024), J. Mach. Learn. Res. 25(72), for
    Pareto k; Dickey (1971), Ann. Math. Stat. 42:204-223.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> school = bm.datasets.load("school")
    >>> spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd")
    >>> robust = bm.robustness(spec, {"tau": ["half-normal", "half-Cauchy"], "scale": [0.1, 0.2, 0.5, 1]})
    >>> robust["estimate"].sel(parameter="beta[Intercept]", family="half-Cauchy").round(3).values
    array([0.181, 0.181, 0.18 , 0.18 ])
    """
    check_spec(spec, "robustness")
    check_priors(priors)
    prob, null = check_probability(prob), check_number(null, "null")
    seed = check_integer(random_seed, "random_seed", 0)
    at = _coefficient(spec, effect)
    made = prior_grid(spec, grid, priors)
    reference = resolve(spec, priors)
    under_priors = posteriors(spec, (reference, *made.cells), seed)
    _warn_of_failures(under_priors, made)
    return _dataset(spec, under_priors, made, prob, null, at)


def _coefficient(spec: Spec, effect: str | None) -> int:
    if effect is None:
        return 0
    name = effect.removeprefix("beta[").removesuffix("]") if isinstance(effect, str) else effect
    check_name(name, spec.coef, "effect: no coefficient", "coefficients")
    return spec.coef.index(name)


def _warn_of_failures(under_priors: Posteriors, made: PriorGrid) -> None:
    if not under_priors.reasons:
        return
    (first, why), *_ = under_priors.reasons.items()
    n = len(under_priors.reasons)
    if not under_priors.parts:
        raise ConvergenceError(
            f"importance sampling failed under all {n} priors: {why}\n"
            "  take a structure with fewer parameters, or bm.sensitivity with sampler='nutpie'"
        )
    warn(
        f"importance sampling failed under {n} of {len(made.cells)} priors, whose results are NaN: {why}\n"
        f"  the first has {_in_words(under_priors.cells[first])}; bm.sensitivity can run Markov chains",
        ConvergenceWarning,
    )


def _dataset(
    spec: Spec, under_priors: Posteriors, made: PriorGrid, prob: float, null: float, effect: int
) -> xr.Dataset:
    dims, shape = tuple(made.dims), made.shape
    table = under_priors.parameters(np.array([(1 - prob) / 2, (1 + prob) / 2]))

    def over(values: Any, *more: str) -> tuple[tuple[str, ...], Any]:
        kept = np.asarray(values)[1:]  # the first is the reference
        return (*dims, *more), kept.reshape(*shape, *kept.shape[1:])

    below = np.full((len(under_priors.cells), len(table)), np.nan)
    below[:, : len(spec.coef)] = under_priors.below(null)
    log, error = under_priors.column("log"), under_priors.column("error")
    variables = {
        "estimate": over(np.stack([p.mean for p in table], 1), "parameter"),
        "sd": over(np.stack([p.sd for p in table], 1), "parameter"),
        "lower": over(np.stack([p.quantile[:, 0] for p in table], 1), "parameter"),
        "upper": over(np.stack([p.quantile[:, 1] for p in table], 1), "parameter"),
        "probability_below": over(below, "parameter"),
        schema.LOG_ML: over(log),
        schema.LOG_ML_SE: over(error),
    }
    variables |= {name: over(values) for name, values in _bayes_factors(spec, under_priors, effect, log, error).items()}
    variables |= {"ess": over(under_priors.column("effective")), schema.PARETO_K: over(under_priors.column("shape"))}
    variables |= {name: over(np.array(under_priors.words(name), dtype=object)) for name in ("engine", "anchor")}
    variables["priors"] = over(np.array([_in_words(priors) for priors in under_priors.cells], dtype=object))
    coords: dict[str, Any] = {
        name: pd.Index(labels, dtype=float if name in ("scale", "eta") else object)
        for name, labels in made.dims.items()
    }
    coords |= {"parameter": pd.Index([p.label for p in table], dtype=object)}
    coords |= {
        name: ("parameter", np.array([getattr(p, name) for p in table], object)) for name in ("kind", "level", "term")
    }
    attrs = {"prob": prob, "null": null, "effect": f"beta[{spec.coef[effect]}]", "measure": spec.measure or ""}
    attrs["reference"] = _in_words(under_priors.cells[0])
    attrs["reference_" + schema.LOG_ML] = float(log[0])
    return xr.Dataset(variables, coords, attrs)


def _bayes_factors(
    spec: Spec, under_priors: Posteriors, effect: int, log: FloatArray, error: FloatArray
) -> dict[str, FloatArray]:
    """Against the reference, against no heterogeneity, and against no effect."""
    flat = [improper(priors) for priors in under_priors.cells]
    same = np.array([each == flat[0] for each in flat])
    nulls = _without_variation(spec, under_priors.cells)
    ratio = np.array([_density_ratio(priors, effect) for priors in under_priors.cells])
    with np.errstate(invalid="ignore"):
        return {
            "log_bayes_factor": np.where(same, log - log[0], np.nan),
            "log_bayes_factor_se": np.where(same, np.hypot(error, error[0]), np.nan),
            "log_bayes_factor_heterogeneity": log - nulls,
            "log_bayes_factor_effect": ratio - under_priors.log_density(effect, 0.0),
        }


def _without_variation(spec: Spec, cells: Sequence[ModelPriors]) -> FloatArray:
    """Log marginal likelihoods with all SDs at zero, under the same priors of the coefficients."""
    if not any(level.n_free for level in spec.levels):
        return np.full(len(cells), np.nan)
    known: dict[object, float] = {}
    for priors in cells:
        if priors.beta not in known:
            try:
                null = restricted(Model(spec, _proper(priors)), ["tau = 0"])
                known[priors.beta] = null.integrated.log_marginal_likelihood
            except SpecError:
                known[priors.beta] = np.nan
    flat = [any(prior.name in IMPROPER for own in priors.levels for prior in own.tau) for priors in cells]
    return np.array([np.nan if own else known[priors.beta] for priors, own in zip(cells, flat, strict=True)])


def _proper(priors: ModelPriors) -> ModelPriors:
    """The same with some proper prior of every SD, none of which is left in a model without variation."""
    levels = [replace(own, tau=(half_normal(1.0),) * len(own.tau)) for own in priors.levels]
    return replace(priors, levels=tuple(levels))


def _density_ratio(priors: ModelPriors, j: int) -> float:
    """Log density at zero of the prior of a coefficient; NaN where it is improper, or not of the coefficient alone."""
    law = closed_form(priors.beta[j])
    off = priors.centring - np.eye(len(priors.beta))
    if priors.beta[j].name in IMPROPER or law is None or off[j].any() or off[:, j].any():
        return np.nan
    return float(law.logpdf(0.0))


def _in_words(priors: ModelPriors) -> str:
    return listing([f"{row.parameter} ~ {row.prior}" for row in priors.table()], 50)
