"""Engines that compute a posterior without Markov chains, what each can do, and which of them takes a model."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import scipy
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._validation import listing
from bayesmeta.bayes import importance, quadrature
from bayesmeta.bayes.chart import Chart, obstacles
from bayesmeta.bayes.evaluator import Evaluator
from bayesmeta.bayes.integration_points import integration_group, remember
from bayesmeta.bayes.marginals import marginal_groups
from bayesmeta.bayes.posterior import Draws, Undrawn, posterior_tree
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import ConvergenceError, SpecError
from bayesmeta.model.spec import Spec
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.tree.heterogeneity import heterogeneity_table

CHAINS = 4  # that independent draws are divided into, for readers of chains


@dataclass(frozen=True)
class Engine:
    """A way to a posterior without chains.

    most : parameters that are integrated numerically, at most. run : the integration, with a seed of what is random in
    it.
    """

    name: str
    most: int
    run: Callable[[Evaluator, int], WeightedPoints]


ENGINES = {
    engine.name: engine
    for engine in (
        Engine("quadrature", quadrature.MOST, quadrature.integrate),
        Engine("importance", importance.MOST, importance.integrate),
    )
}
NUTS = "nutpie"  # that takes what no engine does


class Choice(NamedTuple):
    """The engine that takes a model, None for Markov chains, and why, in a sentence."""

    engine: Engine | None
    why: str


def choose(spec: Spec, priors: ModelPriors, sampler: str) -> Choice:
    """The engine that is asked for, or with "auto" the first that can; where nothing is integrated, the first.

    Raises
    ------
    SpecError
        Where the engine that is asked for cannot; it names one that can.
    """
    reasons = obstacles(spec, priors)
    names = [] if reasons else [c.label for c in Chart.of(spec, priors).coordinates]
    if not reasons and not names:  # one point, whichever engine is asked for
        return Choice(next(iter(ENGINES.values())), "everything is normal")
    for engine in ENGINES.values() if sampler == "auto" else (ENGINES[sampler],):
        if reasons:
            break
        if len(names) <= engine.most:
            free = f"{len(names)} {'parameter is' if len(names) == 1 else 'parameters are'} left to integrate"
            return Choice(engine, f"{free} numerically ({listing(names)})")
    most = max(engine.most for engine in ENGINES.values())
    why = listing(reasons) if reasons else f"{len(names)} parameters are more than the {most} of importance sampling"
    if sampler == "auto":
        return Choice(None, why)
    if reasons:
        raise SpecError(f"sampler='{sampler}' cannot take this model: {why}\n  sampler='{NUTS}' takes every prior")
    raise SpecError(
        f"sampler='{sampler}' integrates over at most {ENGINES[sampler].most} parameters, and this model has"
        f" {len(names)}: {listing(names)}\n  sampler='auto' takes any number"
    )


def posterior(
    spec: Spec, priors: ModelPriors, choice: Choice, draws: int, seed: int, random_effects: bool | None
) -> xr.DataTree:
    """The results tree of a posterior by an engine: exact marginals, and independent draws, made once they are read.

    Raises
    ------
    ConvergenceError
        When the engine's own diagnostics say that its result cannot be trusted.
    """
    assert choice.engine is not None
    first, *rest, last = (int(s) for s in np.random.SeedSequence(seed).generate_state(5))
    try:
        exact = choice.engine.run(Evaluator(spec, priors), last)
    except importance.NotIntegratedError as reason:
        name = choice.engine.name
        raise ConvergenceError(
            f"sampler='{name}' failed: {reason}\n  sampler='{NUTS}' runs Markov chains instead"
        ) from None
    about = {"sampler": choice.engine.name, "sampler_reason": choice.why, "seed": str(seed)}
    about["software"] = f"NumPy {np.__version__}, SciPy {scipy.__version__}"
    tree = posterior_tree(
        spec,
        priors,
        Undrawn((CHAINS, draws), lambda: independent(exact, draws, np.random.default_rng(first))),
        None,
        about,
        rest,
        random_effects,
        marginal_groups(exact)
        | {
            schema.INTEGRATION: integration_group(exact),
            schema.HETEROGENEITY: heterogeneity_table(
                spec, [np.moveaxis(psi, -1, 0) for psi in exact.psi], exact.main[0]
            ),
        },
    )
    remember(tree, exact)
    return tree


def independent(exact: WeightedPoints, draws: int, rng: np.random.Generator) -> Draws:
    """Independent draws of the parameters, in as many chains as readers expect."""
    chart, points = exact.evaluator.chart, exact.draw(CHAINS * draws, rng)
    beta = exact.draw_beta(points, rng)

    def shaped(values: Any) -> Any:
        return np.asarray(values).reshape(CHAINS, draws, -1)

    tau, rho = (tuple(shaped(each.T) for each in part) for part in (chart.tau(points.u), chart.rho(points.u)))
    return Draws(shaped(beta), tau, rho)
