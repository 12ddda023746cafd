"""From priors of a model to a results tree: the model compiled, sampled, and the draws turned into a tree.

Importing this file loads PyMC; `sample` does so when it is called.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version

import numpy as np
import xarray as xr

from bayesmeta.bayes.chains import alarms
from bayesmeta.bayes.posterior import Draws, posterior_tree
from bayesmeta.bayes.pymc_model import build
from bayesmeta.bayes.samplers import SAMPLERS, Nutpie, Sampler, Settings, by_pymc, sampler_named, start, statistics
from bayesmeta.bayes.vicinity import vicinity
from bayesmeta.errors import ConvergenceWarning, warn
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors

__all__ = ["Compiled", "Settings", "posterior", "sampler_named"]


def posterior(
    spec: Spec,
    priors: ModelPriors,
    sampler: Sampler,
    settings: Settings,
    backend: str | None,
    random_effects: bool | None,
    why: str = "",
) -> xr.DataTree:
    """The results tree of draws by one of the samplers; why : it was taken, where that was left open."""
    if sampler.several_priors:
        return Compiled(spec, [priors], backend).sample(0, settings, random_effects, why)
    near, seeds = vicinity(spec), _Seeds.of(settings.seed)
    raw = by_pymc(sampler, build(spec, [priors], near), start(spec, priors, near), seeds.for_chains(settings))
    return _tree(spec, priors, raw, settings, sampler.name, random_effects, why)


class Compiled:
    """A specification with one or several sets of priors, compiled once by nutpie."""

    def __init__(self, spec: Spec, priors: Sequence[ModelPriors], backend: str | None = None) -> None:
        near = vicinity(spec)
        self.spec, self.priors = spec, priors
        self.nutpie = Nutpie(build(spec, priors, near), spec, start(spec, priors[0], near), backend)

    def sample(self, which: int, settings: Settings, random_effects: bool | None = None, why: str = "") -> xr.DataTree:
        """The results tree under the set of priors at this position."""
        shared = {"prior": which} if len(self.priors) > 1 else {}
        raw = self.nutpie.run(_Seeds.of(settings.seed).for_chains(settings), **shared)
        return _tree(self.spec, self.priors[which], raw, settings, Nutpie.name, random_effects, why)


@dataclass(frozen=True)
class _Seeds:
    """Independent seeds of everything random in a results tree, from one seed: of the chains, and of the rest."""

    chains: int
    rest: tuple[int, ...]

    @classmethod
    def of(cls, seed: int) -> "_Seeds":
        chains, *rest = (int(s) for s in np.random.SeedSequence(seed).generate_state(4))
        return cls(chains, tuple(rest))

    def for_chains(self, settings: Settings) -> Settings:
        return replace(settings, seed=self.chains)


def _software(sampler: str) -> str:
    """What drew the chains, with versions, as a paper names it: "nutpie 0.15.2 and PyMC 5.25.1"."""
    packages = dict.fromkeys((*SAMPLERS[sampler].needs, "pymc"))
    return " and ".join(f"{package.replace('pymc', 'PyMC')} {version(package)}" for package in packages)


def _tree(
    spec: Spec,
    priors: ModelPriors,
    raw: xr.DataTree,
    settings: Settings,
    sampler: str,
    random_effects: bool | None,
    why: str,
) -> xr.DataTree:
    """The results tree of what a sampler returned; warns of chains that are not to be trusted."""
    about = {"sampler": sampler, "seed": str(settings.seed), "tune": str(settings.tune)}
    about |= {"target_accept": str(settings.target_accept), "software": _software(sampler)}
    about |= {"sampler_reason": why} if why else {}
    draws, seeds = Draws.of(spec, raw["posterior"].to_dataset()), _Seeds.of(settings.seed)
    tree = posterior_tree(spec, priors, draws, statistics(raw), about, seeds.rest, random_effects)
    for sentence in alarms(tree):
        warn(sentence, ConvergenceWarning)
    return tree
