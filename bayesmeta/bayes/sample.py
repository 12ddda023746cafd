"""`sample`: from a specification and priors to a results tree with draws from the posterior."""

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bayesmeta._validation import check_integer, check_probability
from bayesmeta.bayes.chains import alarms
from bayesmeta.errors import ConvergenceWarning, SpecError, keeps_old_names, warn
from bayesmeta.model.spec import Spec

if TYPE_CHECKING:
    import xarray as xr

    from bayesmeta.bayes.samplers import Settings
    from bayesmeta.priors.model_priors import ModelPriors
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
    spec : from `bm.specify`.
    priors : `bm.Priors`; by default by the measure of the specification, or scaled from the data, with a warning.
    draws, tune : kept and discarded draws of every chain, at least 1.
    chains : at least 1; fewer than 2 cannot be checked for convergence.
    random_seed : of everything random; the same seed gives the same tree. By default drawn and kept in the tree.
    sampler : "nutpie", "pymc" or "numpyro" (needs numpyro and jax); "auto" is nutpie.
    target_accept : between 0 and 1; nearer to 1, steps are smaller, and divergences rarer.
    backend : of nutpie, "numba" or "jax".
    random_effects : whether draws of the random effects are kept; by default up to a million values of them.
    progress : whether to show a progress bar; by default in terminals and notebooks.

    Returns
    -------
    xr.DataTree
        The results tree. `/posterior` with beta, tau_L and rho_L over (chain, draw); `/random_effects` b_L; `/derived`
        psi_L; densities `/log_likelihood` of the outer groups, `/log_likelihood_conditional` of every observation given
        all others, `/log_prior` by block; `/prior`, `/prior_predictive`; `/posterior_predictive`, y of the same groups
        given their random effects, and `/posterior_predictive_new`, y of new groups; `/diagnostics`; and the
        specification. ArviZ works on it as it is.

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
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1, progress=False)
    >>> round(float(post["posterior"]["tau_unit"].mean()), 1)
    0.6
    """
    from bayesmeta.bayes.pymc_model import build
    from bayesmeta.bayes.samplers import Settings, by_pymc, chosen, start
    from bayesmeta.bayes.vicinity import vicinity
    from bayesmeta.priors.defaults import resolve

    if not isinstance(spec, Spec):
        raise SpecError(f"sample takes a specification from bm.specify, not a {type(spec).__name__}")
    check_settings(draws, tune, chains, target_accept)
    name = chosen(sampler, backend)
    given, options = resolve(spec, priors), (draws, tune, chains, target_accept, shown(progress))
    seed = check_seed(random_seed)
    if name == "nutpie":
        return Compiled(spec, [given], backend).sample(0, seed, *options, random_effects=random_effects)
    near, plan = vicinity(spec), _Plan.of(seed)
    settings = Settings(draws, tune, chains, plan.chains, target_accept, shown(progress))
    raw = by_pymc(name, build(spec, [given], near), start(spec, given, near), settings)
    return plan.tree(spec, given, raw, settings, name, random_effects)


class Compiled:
    """A specification with one or several sets of priors, compiled once by nutpie."""

    def __init__(self, spec: Spec, priors: "Sequence[ModelPriors]", backend: str | None = None) -> None:
        from bayesmeta.bayes.pymc_model import build
        from bayesmeta.bayes.samplers import Nutpie, start
        from bayesmeta.bayes.vicinity import vicinity

        near = vicinity(spec)
        self.spec, self.priors = spec, priors
        self.nutpie = Nutpie(build(spec, priors, near), spec, start(spec, priors[0], near), backend)

    def sample(
        self,
        which: int,
        seed: int,
        draws: int,
        tune: int,
        chains: int,
        target_accept: float,
        progress: bool,
        random_effects: bool | None = None,
    ) -> "xr.DataTree":
        """The results tree under the set of priors at this position."""
        from bayesmeta.bayes.samplers import Settings

        plan = _Plan.of(seed)
        settings = Settings(draws, tune, chains, plan.chains, target_accept, progress)
        raw = self.nutpie.run(settings, **({"prior": which} if len(self.priors) > 1 else {}))
        return plan.tree(self.spec, self.priors[which], raw, settings, "nutpie", random_effects)


@dataclass(frozen=True)
class _Plan:
    """Independent seeds of everything random in a results tree, from one seed."""

    seed: int
    chains: int
    rest: tuple[int, ...]

    @classmethod
    def of(cls, seed: int) -> "_Plan":
        chains, *rest = (int(s) for s in np.random.SeedSequence(seed).generate_state(4))
        return cls(seed, chains, tuple(rest))

    def tree(
        self,
        spec: Spec,
        priors: "ModelPriors",
        raw: "xr.DataTree",
        settings: "Settings",
        sampler: str,
        random_effects: bool | None,
    ) -> "xr.DataTree":
        """The results tree of what a sampler returned; warns of chains that are not to be trusted."""
        from bayesmeta.bayes.posterior import Draws, posterior_tree
        from bayesmeta.bayes.samplers import statistics

        about = {"sampler": sampler, "seed": str(self.seed), "tune": str(settings.tune)}
        about["target_accept"] = str(settings.target_accept)
        draws = Draws.of(spec, raw["posterior"].to_dataset())
        tree = posterior_tree(spec, priors, draws, statistics(raw), about, self.rest, random_effects)
        warn_of_chains(tree)
        return tree


def check_settings(draws: Any, tune: Any, chains: Any, target_accept: Any) -> None:
    """Refuse numbers with which nothing can be sampled."""
    for name, value, least in (("draws", draws, 1), ("tune", tune, 1), ("chains", chains, 1)):
        check_integer(value, name, least)
    check_probability(target_accept, "target_accept")


def check_seed(seed: Any) -> int:
    """The seed, or a new one."""
    if seed is None:
        return int(np.random.SeedSequence().generate_state(1)[0])
    return check_integer(seed, "random_seed", 0, remedy=", or None")


def shown(progress: bool | None) -> bool:
    """Whether somebody is there to look at a progress bar."""
    return progress if progress is not None else sys.stderr.isatty() or "ipykernel" in sys.modules


def warn_of_chains(tree: "xr.DataTree") -> None:
    """ConvergenceWarning where the chains are not to be trusted, with what to do."""
    for sentence in alarms(tree):
        warn(sentence, ConvergenceWarning)
