"""`sample`: from a specification and priors to a results tree with draws from the posterior."""

import sys
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesmeta._validation import check_bayes, check_booleans, check_count, check_integer, check_probability, check_size
from bayesmeta.bayes.waiting import announce
from bayesmeta.errors import keeps_old_names
from bayesmeta.model.identification import warn_without_effects
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.priors.defaults import resolve

if TYPE_CHECKING:
    import xarray as xr

    from bayesmeta.priors.prior import Priors


@keeps_old_names
def sample(
    spec: Spec,
    priors: "Priors | None" = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    random_seed: int | None = None,
    sampler: Literal["auto", "nutpie", "pymc", "numpyro"] = "auto",
    target_accept: float = 0.9,
    *,
    backend: Literal["numba", "jax"] | None = None,
    random_effects: bool | None = None,
    progress: bool | None = None,
) -> "xr.DataTree":
    """Sample from the posterior of a specification by Hamiltonian Monte Carlo, with the random effects integrated out.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    priors : Priors, optional
        Priors of some or all parameters; defaults for the others by the measure of the specification, or scaled from
        the data, with a warning.
    draws, tune : int, default 1000
        Number of draws of every chain that are kept, and that are discarded before; at least 1.
    chains : int, default 4
        Number of chains, at least 1; convergence cannot be checked with fewer than 2.
    random_seed : int, optional
        Seed of everything random; the same seed gives the same tree. By default one is drawn and kept in the tree.
    sampler : {"auto", "nutpie", "pymc", "numpyro"}, default "auto"
        "nutpie", "pymc" or "numpyro" (needs numpyro and jax); "auto" is nutpie.
    target_accept : float, default 0.9
        Target acceptance probability, between 0 and 1; values closer to 1 take smaller steps and reduce divergences.
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
        given their random effects, and `/posterior_predictive_new`, y of new groups; `/diagnostics`; and the
        specification. ArviZ works on it as it is. The page docs/results_tree.md says what is where.

    Raises
    ------
    SpecError
        For priors that do not fit the model, a sampler that is unknown or not installed, and numbers out of range.

    Warns
    -----
    ConvergenceWarning
        When a chain diverged, R-hat exceeds 1.01, or an effective sample size is below 400.
    AssumptionWarning
        When default priors were scaled from the data, or the model has no random effects.

    Notes
    -----
    Chains start at the REML estimate, each moved at random by about a standard error. Random effects are exact draws
    given beta and Psi, without a Markov chain of their own.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1, progress=False)
    >>> round(float(post["posterior"]["tau_unit"].mean()), 1)
    0.6
    """
    check_spec(spec, "sample")
    check_settings(draws, tune, chains, target_accept, spec)
    check_booleans(random_effects=random_effects, progress=progress)
    check_bayes("sample")
    warn_without_effects(spec.levels)
    announce(progress)
    from bayesmeta.bayes import sampling  # loads PyMC, which takes seconds

    name = sampling.sampler_named(sampler, backend)
    settings = sampling.Settings(draws, tune, chains, check_seed(random_seed), target_accept, shown(progress))
    return sampling.posterior(spec, resolve(spec, priors), name, settings, backend, random_effects)


def check_settings(draws: Any, tune: Any, chains: Any, target_accept: Any, spec: Spec | None = None) -> None:
    """Validate the settings of a sampler, and that the draws fit into memory."""
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
