"""`sample`: from a specification and priors to a results tree with draws from the posterior."""

import sys
import warnings
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesmeta.chains import alarms
from bayesmeta.errors import ConvergenceWarning, SpecError
from bayesmeta.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

    from bayesmeta.priors import Priors


def sample(
    spec: Spec,
    priors: "Priors | None" = None,
    draws: int = 1000,
    tune: int = 1000,
    chains: int = 4,
    seed: int | None = None,
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
    spec : from `bm.specify`.
    priors : `bm.Priors`; by default by the measure of the specification, or scaled from the data, with a warning.
    draws, tune : kept and discarded draws of every chain, at least 1 and 0.
    chains : at least 1; fewer than 2 cannot be checked for convergence.
    seed : of everything random; the same seed gives the same tree. By default drawn and kept in the tree.
    sampler : "nutpie", "pymc" or "numpyro" (needs numpyro and jax); "auto" is nutpie.
    target_accept : between 0 and 1; nearer to 1, steps are smaller, and divergences rarer.
    backend : of nutpie, "numba" or "jax".
    random_effects : whether draws of the random effects are kept; by default up to a million values of them.
    progress : whether to show a progress bar; by default in terminals and notebooks.

    Returns
    -------
    xr.DataTree
        The results tree. `/posterior` with beta, tau_L, rho_L and b_L over (chain, draw); `/derived` psi_L; densities
        `/log_likelihood` of the outer groups, `/log_likelihood_conditional` of every observation given all others,
        `/log_prior` by block; `/prior`, `/prior_predictive`; `/posterior_predictive`, y of the same groups given their
        random effects, and `/posterior_predictive_new`, y of new groups; `/diagnostics`; and the specification. ArviZ
        works on it as it is.

    Raises
    ------
    SpecError
        For priors that do not fit the model, a sampler that is unknown or not installed, and numbers out of range.

    Warns
    -----
    ConvergenceWarning
        When a chain diverged, R-hat exceeds 1.01, or an effective sample size is below 400.
    AssumptionWarning
        When default priors were scaled from the data.

    Notes
    -----
    Chains start at the REML estimate, each moved at random by about a standard error. Random effects are exact draws
    given beta and Psi, without a Markov chain of their own.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> spec = bm.specify("logor ~ 1", bcg, S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), seed=1, progress=False)
    >>> round(float(post["posterior"]["tau_unit"].mean()), 1)
    0.6
    """
    from bayesmeta.posterior import Draws, posterior_tree
    from bayesmeta.prior_defaults import resolve
    from bayesmeta.pymc_model import build
    from bayesmeta.samplers import Nutpie, Settings, by_pymc, chosen, start, statistics
    from bayesmeta.vicinity import vicinity

    if not isinstance(spec, Spec):
        raise SpecError(f"sample takes a specification from bm.specify, not a {type(spec).__name__}")
    for name, value, least in (("draws", draws, 1), ("tune", tune, 0), ("chains", chains, 1)):
        check_count(name, value, least)
    check_target(target_accept)
    name = chosen(sampler, backend)
    given = resolve(spec, priors)
    seed = check_seed(seed)
    chain_seed, *seeds = (int(s) for s in np.random.SeedSequence(seed).generate_state(4))
    settings = Settings(draws, tune, chains, chain_seed, target_accept, shown(progress))
    near = vicinity(spec)
    model, point = build(spec, [given], near), start(spec, given, near)
    if name == "nutpie":
        raw = Nutpie(model, spec, point, backend).run(settings)
    else:
        raw = by_pymc(name, model, point, settings)
    about = {"sampler": name, "seed": str(seed), "tune": str(tune), "target_accept": str(target_accept)}
    found = Draws.of(spec, raw["posterior"].to_dataset())
    tree = posterior_tree(spec, given, found, statistics(raw), about, seeds, random_effects)
    warn_of_chains(tree)
    return tree


def check_count(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, Integral) or value < least:
        raise SpecError(f"{name} is {value!r}; give a whole number of at least {least}")


def check_target(value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, Real) or not 0 < float(value) < 1:
        raise SpecError(f"target_accept is {value!r}; give a number between 0 and 1, such as 0.9")


def check_seed(seed: Any) -> int:
    """The seed, or a new one."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    if isinstance(seed, bool) or not isinstance(seed, Integral) or seed < 0:
        raise SpecError(f"seed is {seed!r}; give a whole number of at least 0, or None")
    return int(seed)


def shown(progress: bool | None) -> bool:
    """Whether somebody is there to look at a progress bar."""
    return progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules


def warn_of_chains(tree: "xr.DataTree") -> None:
    """ConvergenceWarning where the chains are not to be trusted, with what to do."""
    for sentence in alarms(tree):
        warnings.warn(sentence, ConvergenceWarning, stacklevel=3)
