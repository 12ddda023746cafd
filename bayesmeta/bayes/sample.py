"""`sample`: from a specification and priors to a results tree with draws from the posterior."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesmeta._validation import (
    check_bayes,
    check_booleans,
    check_choice,
    check_count,
    check_integer,
    check_probability,
    check_size,
)
from bayesmeta.bayes import engines
from bayesmeta.bayes.engines import CHAINS, ENGINES, Choice, choose
from bayesmeta.bayes.waiting import announce
from bayesmeta.errors import ConvergenceError, SpecError, keeps_old_names
from bayesmeta.model.identification import warn_without_effects
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import ModelPriors

if TYPE_CHECKING:
    import xarray as xr

    from bayesmeta.priors.prior import Priors


@keeps_old_names
def sample(
    spec: Spec,
    priors: "Priors | None" = None,
    draws: int = 1000,
    tune: int | None = None,
    chains: int | None = None,
    random_seed: int | None = None,
    sampler: Literal["auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"] = "auto",
    target_accept: float | None = None,
    *,
    backend: Literal["numba", "jax"] | None = None,
    random_effects: bool | None = None,
    progress: bool | None = None,
) -> "xr.DataTree":
    """The posterior of a specification: exact where few parameters are left to integrate, else by Markov chains.

    Given the SDs and correlations between groups everything in the model is normal, so random effects and coefficients
    are integrated out analytically. What is left, at most three parameters in most meta-analyses, is integrated
    numerically; up to fifteen of them by importance sampling, and what neither takes is sampled by Hamiltonian Monte
    Carlo.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    priors : Priors, optional
        Priors of some or all parameters; defaults for the others by the measure of the specification, or scaled from
        the data, with a warning.
    draws : int, default 1000
        Number of draws of every chain that are kept, at least 1. Of an exact posterior they are independent, and
        results do not depend on their number.
    tune : int, optional
        Number of draws of every Markov chain that are discarded before, at least 1; 1,000 by default.
    chains : int, optional
        Number of Markov chains, at least 1; 4 by default. Convergence cannot be checked with fewer than 2. Independent
        draws stand in four.
    random_seed : int, optional
        Seed of everything random; the same seed gives the same tree. By default one is drawn and kept in the tree.
    sampler : {"auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"}, default "auto"
        "quadrature" integrates over at most three SDs and correlations, under priors whose quantiles are known in
        closed form (a Student t or Cauchy prior of a coefficient is one parameter more, and so is any other that is
        neither normal nor flat). "importance" weights independent draws of up to fifteen of them from a mixture that is
        fitted to the posterior. "nutpie", "pymc" and "numpyro" (needs numpyro and jax) run Markov chains. "auto" is the
        first of quadrature, importance sampling and nutpie that takes the model, and nutpie where something is asked of
        Markov chains (`tune`, `target_accept`, `backend`, or other than four `chains`); the tree says which, and why.
    target_accept : float, optional
        Target acceptance probability of Markov chains, between 0 and 1, 0.9 by default; values closer to 1 take smaller
        steps and reduce divergences.
    backend : {"numba", "jax"}, optional
        How nutpie compiles the model, "numba" by default.
    random_effects : bool, optional
        Whether draws of the random effects are kept; by default where they are at most a million values.
    progress : bool, optional
        Whether to show a progress bar with the remaining time; by default in terminals and notebooks. A line before
        says that a model is compiled, where that takes long, unless progress is False.

    Returns
    -------
    DataTree
        The results tree. `/posterior` with beta, tau_L and rho_L over (chain, draw); `/random_effects` b_L; `/derived`
        psi_L; densities `/log_likelihood` of the outer groups, `/log_likelihood_conditional` of every observation given
        all others, `/log_prior` by block; `/prior`, `/prior_predictive`; `/posterior_predictive`, y of the same groups
        given their random effects, and `/posterior_predictive_new`, y of new groups; and the specification. Without
        chains `/marginals` holds exact means, SDs, quantiles and densities, which summaries prefer, and `/criteria` the
        log marginal likelihood, by importance sampling also its diagnostics; draws are then computed when they are
        first read, the same for the same seed. Of Markov chains there are `/diagnostics`. ArviZ works on it as it is.
        The page docs/results_tree.md says what is where.

    Raises
    ------
    ConvergenceError
        When sampler="importance" is asked for and its weights are too uneven to be trusted.
    SpecError
        For priors that do not fit the model, a sampler that is unknown, not installed or not able to take the model,
        settings of Markov chains where there are none, and numbers out of range.

    Warns
    -----
    ConvergenceWarning
        When a chain diverged, R-hat exceeds 1.01, or an effective sample size is below 400.
    AssumptionWarning
        When default priors were scaled from the data, or the model has no random effects.

    Notes
    -----
    Quadrature is by the trapezoid rule in coordinates in which the prior is normal, on a lattice that is refined until
    rules of double step agree; the marginal distributions of coefficients and random effects are mixtures of normals.

    Importance sampling draws from a mixture of multivariate t distributions, fitted to pilot draws, and of the prior,
    which bounds the weights. It is refused where the weights are worth fewer than 2,000 draws, one of them has more
    than 2%, or the error of the log marginal likelihood exceeds 0.05, also at a second attempt with four times as many
    draws; "auto" then runs Markov chains, and says so.

    Markov chains start at the REML estimate, each moved at random by about a standard error. Random effects are exact
    draws given beta and Psi, without a Markov chain of their own.

    References
    ----------
    Trefethen and Weideman (2014), SIAM Rev. 56:385-458, for the rule; Owen and Zhou (2000), J. Am. Stat. Assoc.
    95:135-143, and Cappe et al. (2008), Stat. Comput. 18:447-459, for mixtures in importance sampling; Hoffman
    and Gelman (2014), J. Mach. Learn. Res. 15:1593-1623, for the chains.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1)
    >>> post.attrs["sampler"]
    'quadrature'
    >>> round(float(post["marginals"]["tau_unit_mean"]), 4)
    0.5886
    """
    check_spec(spec, "sample")
    check_choice(sampler, ("auto", *ENGINES, *CHAIN_SAMPLERS), "sampler")
    asked = {"tune": tune, "target_accept": target_accept, "backend": backend, "chains": chains}
    check_settings(draws, tune, chains, target_accept, spec)
    check_booleans(random_effects=random_effects, progress=progress)
    seed = check_seed(random_seed)
    warn_without_effects(spec.levels)
    chains_only = chains_asked_for(sampler, asked)
    if chains_only:
        check_bayes("sample")
    elif sampler != "auto":
        check_no_chains(asked, sampler)
    own = resolve(spec, priors)
    choice = Choice(None, chains_only) if chains_only else choose(spec, own, sampler)
    why = choice.why
    if choice.engine is not None:
        try:
            return engines.posterior(spec, own, choice, draws, seed, random_effects)
        except ConvergenceError as error:
            if sampler != "auto":
                raise
            why = str(error).partition("\n")[0]
    check_bayes("sample" if chains_only else f"sample ({why})")
    return _by_chains(spec, own, draws, seed, sampler, asked, random_effects, progress, why)


CHAIN_SAMPLERS = ("nutpie", "pymc", "numpyro")
_DEFAULTS: dict[str, Any] = {"tune": 1000, "target_accept": 0.9, "chains": 4, "backend": None}


def by_chains_settings(asked: dict[str, Any]) -> dict[str, Any]:
    """Settings of Markov chains, with defaults for what is not asked for."""
    return {name: _DEFAULTS[name] if value is None else value for name, value in asked.items()}


def _by_chains(
    spec: Spec,
    priors: ModelPriors,
    draws: int,
    seed: int,
    sampler: str,
    asked: dict[str, Any],
    random_effects: bool | None,
    progress: bool | None,
    why: str = "",
) -> "xr.DataTree":
    """The results tree of Markov chains, with defaults for what is not asked for."""
    announce(progress, why)
    from bayesmeta.bayes import sampling  # loads PyMC, which takes seconds

    used = by_chains_settings(asked)
    record = sampling.sampler_named(sampler, used["backend"])
    settings = sampling.Settings(draws, used["tune"], used["chains"], seed, used["target_accept"], shown(progress))
    return sampling.posterior(spec, priors, record, settings, used["backend"], random_effects, why)


def chains_asked_for(sampler: str, asked: Mapping[str, Any]) -> str:
    """Why Markov chains are run whatever the model: they, or settings of theirs, are asked for; empty if neither."""
    settings = [name for name, value in asked.items() if _of_chains(name, value)]
    if sampler in CHAIN_SAMPLERS:
        return f"sampler='{sampler}' is asked for"
    return f"{settings[0]}= is a setting of Markov chains" if sampler == "auto" and settings else ""


def _of_chains(name: str, value: Any) -> bool:
    """Whether a setting is one of Markov chains; four chains are what readers get anyway."""
    return value is not None and not (name == "chains" and value == CHAINS)


def check_no_chains(asked: dict[str, Any], engine: str) -> None:
    """That nothing is asked of Markov chains where there are none."""
    for name, value in asked.items():
        if _of_chains(name, value):
            raise SpecError(
                f"{name} is {value!r}, a setting of Markov chains, and this posterior is computed without them, by"
                f" {engine}\n  leave {name}= out, or ask for chains by sampler='nutpie'"
            )


def check_settings(draws: Any, tune: Any, chains: Any, target_accept: Any, spec: Spec | None = None) -> None:
    """Validate the settings of a sampler, and that the draws fit into memory; None stands for the default."""
    tune, chains, target_accept = (
        _DEFAULTS[name] if value is None else value
        for name, value in (("tune", tune), ("chains", chains), ("target_accept", target_accept))
    )
    for name, value, least in (("draws", draws, 1), ("tune", tune, 1), ("chains", chains, 1)):
        check_count(value, name, least)
    check_probability(target_accept, "target_accept")
    if spec is None:
        return
    effects = sum(level.n_groups * level.dim for level in spec.levels)
    values = 5 * len(spec.y) + effects + len(spec.coef) + sum(level.n_free + level.dim**2 for level in spec.levels)
    check_size(8.0 * (draws + tune) * chains * values, f"{draws:,} draws of {chains:,} chains (after {tune:,} to tune)")


def check_seed(seed: Any) -> int:
    """The seed, or a new one."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return check_integer(seed, "random_seed", 0, remedy=", or None")


def shown(progress: bool | None) -> bool:
    """Whether to show a progress bar: by default where someone may see it."""
    return progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules
