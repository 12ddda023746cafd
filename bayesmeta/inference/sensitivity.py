"""The same model under several priors: integrated under each, or sampled from one compiled model."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._validation import check_bayes, check_booleans, check_choice, check_is, check_probability, listing
from bayesmeta.bayes.engines import ENGINES, choose
from bayesmeta.bayes.many_priors import Posteriors, posteriors
from bayesmeta.bayes.sample import (
    CHAIN_SAMPLERS,
    by_chains_settings,
    chains_asked_for,
    check_no_chains,
    check_seed,
    check_settings,
    sample,
    shown,
)
from bayesmeta.bayes.waiting import announce
from bayesmeta.display.posterior_remarks import facts_of, prior_facts
from bayesmeta.errors import BayesmetaWarning, ConvergenceError, SpecError, keeps_old_names, warn
from bayesmeta.estimation.parallel import Backend, Jobs
from bayesmeta.model.spec import Spec, check_spec
from bayesmeta.priors.defaults import resolve
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.prior import Priors
from bayesmeta.tree.parameters import parameters
from bayesmeta.tree.specification import group
from bayesmeta.tree_schema import DIAGNOSTICS

STATISTICS = ("estimate", "se", "lower", "upper")
CONVERGENCE = ("r_hat", "ess_bulk", "ess_tail")


@keeps_old_names
def sensitivity(
    spec: Spec,
    priors: Mapping[str, Priors | None],
    draws: int = 1000,
    tune: int | None = None,
    chains: int | None = None,
    random_seed: int | None = None,
    sampler: Literal["auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"] = "auto",
    target_accept: float | None = None,
    prob: float = 0.95,
    *,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool | None = None,
) -> xr.Dataset:
    """Posterior summaries of one specification under several priors, side by side.

    Parameters
    ----------
    spec : Spec
        From `bm.specify`.
    priors : mapping of str to Priors or None
        Names to show and the priors, None for the defaults: `{"default": None, "wide": bm.Priors(tau=...)}`.
    draws : int, default 1000
        See `bm.sample`.
    tune, chains : int, optional
        See `bm.sample`.
    random_seed : int, optional
        The seed of every prior; by default drawn.
    sampler : {"auto", "quadrature", "importance", "nutpie", "pymc", "numpyro"}, default "auto"
        See `bm.sample`.
    target_accept : float, optional
        See `bm.sample`.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    n_jobs : int, default 1
        Number of processes among which the priors are divided where each is sampled by itself; -1 for one on every
        processor. Posteriors that are integrated share their evaluations in this process.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, optional
        See `bm.sample`.

    Returns
    -------
    Dataset
        Over (prior, parameter): `estimate` the posterior mean, `se` the posterior SD, `lower`, `upper` of the
        equal-tailed interval; by `prior` `r_hat` the largest, `ess_bulk` and `ess_tail` the smallest of all parameters,
        `divergences`, and `priors`, the priors in words. `bm.plots.sensitivity` draws it.

    Raises
    ------
    ConvergenceError
        When sampler="importance" is asked for and its weights are too uneven under one of the priors.
    SpecError
        Without priors, and for priors that do not fit the model; the message names which.

    Warns
    -----
    ConvergenceWarning
        See `bm.sample`; for every prior.

    Notes
    -----
    Without chains one set of evaluations of the likelihood serves all priors of a kind, as in `bm.robustness`.

    With nutpie all priors are compiled into one model, in which one number says which is in force. SDs are then sampled
    on the log scale whatever the prior, so that one which ends at a bound, such as Uniform, may give divergences there.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> found = bm.sensitivity(
    ...     spec,
    ...     {"0.5": bm.Priors(tau=bm.priors.half_normal(0.5)), "1.0": bm.Priors(tau=bm.priors.half_normal(1))},
    ...     random_seed=1,
    ...     progress=False,
    ... )
    >>> found["estimate"].sel(parameter="tau[unit, Intercept]").round(1).values
    array([0.6, 0.6])
    """
    check_spec(spec, "sensitivity")
    _check_priors(priors)
    check_probability(prob)
    check_settings(draws, tune, chains, target_accept, spec)
    check_booleans(progress=progress)
    jobs = Jobs(n_jobs, backend, bool(progress))
    check_choice(sampler, ("auto", *ENGINES, *CHAIN_SAMPLERS), "sampler")
    seed, asked = check_seed(random_seed), {"tune": tune, "target_accept": target_accept, "chains": chains}
    why = chains_asked_for(sampler, asked)
    if why:
        check_bayes("sensitivity")
    elif sampler != "auto":
        check_no_chains(asked, sampler)
    own = _resolved(spec, priors)
    dataset, why = (None, why) if why else _without_chains(spec, own, sampler, seed, prob)
    if dataset is not None:
        return dataset
    check_bayes("sensitivity")
    announce(progress, why)
    used = by_chains_settings(asked)
    from bayesmeta.bayes import sampling  # loads PyMC, which takes seconds

    if sampling.sampler_named(sampler, None).several_priors and jobs.alone:
        settings = sampling.Settings(draws, used["tune"], used["chains"], seed, used["target_accept"], shown(progress))
        compiled = sampling.Compiled(spec, list(own.values()))
        trees = {name: compiled.sample(which, settings) for which, name in enumerate(own)}
    else:
        settings_of = (draws, tune, chains, seed, sampler, target_accept)
        trees = _by_themselves(partial(_by_chains, spec, settings_of, progress if jobs.alone else False), priors, jobs)
    return side_by_side(trees, prob)


def _without_chains(
    spec: Spec, own: Mapping[str, ModelPriors], sampler: str, seed: int, prob: float
) -> tuple[xr.Dataset | None, str]:
    """The dataset by the engine that is asked for, or by whichever takes all priors; or why there is none."""
    choices = [choose(spec, each, sampler) for each in own.values()]
    why = next((choice.why for choice in choices if choice.engine is None), "")
    if why:
        return None, why
    shared = posteriors(spec, list(own.values()), seed, sampler)
    if not shared.reasons:
        return _of_shared(shared, list(own), prob), ""
    which, why = next(iter(shared.reasons.items()))
    if sampler != "auto":
        raise ConvergenceError(
            f"priors '{list(own)[which]}': sampler='{sampler}' failed: {why}\n"
            "  sampler='nutpie' runs Markov chains instead"
        )
    return None, why


def _by_themselves(work: Callable[[Any], xr.DataTree], asked: Mapping[str, Any], jobs: Jobs) -> dict[str, xr.DataTree]:
    """A tree for every prior; warnings of other processes are given here."""
    trees = {}
    made = jobs.in_order(partial(_with_warnings, work), [*asked.values()], "priors")
    for name, (tree, said) in zip(asked, made, strict=True):
        trees[str(name)] = tree
        for message, category in said:
            warn(message, category)
    return trees


def _with_warnings(
    work: Callable[[Any], xr.DataTree], asked: Any
) -> tuple[xr.DataTree, list[tuple[str, type[Warning]]]]:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", BayesmetaWarning)
        tree = work(asked)
    return tree, [(str(each.message), each.category) for each in caught]


def _by_chains(spec: Spec, settings: tuple[Any, ...], progress: bool | None, priors: Priors | None) -> xr.DataTree:
    return sample(spec, priors, *settings, progress=progress)


def _check_priors(priors: object) -> None:
    if not isinstance(priors, Mapping) or not priors:
        raise SpecError(f"priors is {priors!r}; give a dict of names and bm.Priors, with at least one entry")
    for name, each in priors.items():
        if each is not None:
            check_is(each, Priors, f"priors[{name!r}]", "a bm.Priors")


def _resolved(spec: Spec, priors: Mapping[str, Priors | None]) -> dict[str, ModelPriors]:
    resolved = {}
    for name, each in priors.items():
        try:
            resolved[str(name)] = resolve(spec, each)
        except SpecError as error:
            raise SpecError(f"priors '{name}': {error}") from None
    return resolved


def _of_shared(shared: Posteriors, names: Sequence[str], prob: float) -> xr.Dataset:
    """The dataset of `sensitivity`, from posteriors that share their evaluations of the likelihood."""
    known = shared.parameters(np.array([(1 - prob) / 2, (1 + prob) / 2]))
    columns = {
        "estimate": [p.mean for p in known],
        "se": [p.sd for p in known],
        "lower": [p.quantile[:, 0] for p in known],
        "upper": [p.quantile[:, 1] for p in known],
    }
    variables: dict[str, Any] = {name: (("prior", "parameter"), np.stack(c, axis=1)) for name, c in columns.items()}
    variables |= {name: ("prior", np.full(len(names), np.nan)) for name in CONVERGENCE}
    variables["divergences"] = ("prior", [0] * len(names))
    variables["priors"] = ("prior", np.array([_in_words(facts_of(each)) for each in shared.cells], dtype=object))
    coords: dict[str, Any] = {
        name: ("parameter", np.array([getattr(p, name) for p in known], dtype=object))
        for name in ("kind", "level", "term")
    }
    labels = [p.label for p in known]
    coords |= {"prior": pd.Index(list(names), dtype=object), "parameter": pd.Index(labels, dtype=object)}
    return xr.Dataset(variables, coords, {"prob": prob})


def _in_words(facts: Sequence[tuple[str, str]]) -> str:
    return listing([f"{label} ~ {prior}" for label, prior in facts], most=50)


def side_by_side(trees: dict[str, xr.DataTree], prob: float) -> xr.Dataset:
    """The dataset of `sensitivity`, from posterior trees of one specification under their priors' names."""
    tables = {name: parameters(tree, prob) for name, tree in trees.items()}
    known = next(iter(tables.values()))
    variables: dict[str, Any] = {
        statistic: (("prior", "parameter"), np.stack([table[statistic].astype(float) for table in tables.values()]))
        for statistic in STATISTICS
    }
    checks = [group(tree, DIAGNOSTICS) if DIAGNOSTICS in tree.children else None for tree in trees.values()]
    for name in CONVERGENCE:
        worst = np.nanmax if name == "r_hat" else np.nanmin
        variables[name] = (
            "prior",
            [
                float(worst(check[name])) if check is not None and check[name].notnull().any() else np.nan
                for check in checks
            ],
        )
    variables["divergences"] = ("prior", [0 if check is None else int(check["divergences"]) for check in checks])
    words = [_in_words(prior_facts(tree)) for tree in trees.values()]
    variables["priors"] = ("prior", np.array(words, dtype=object))
    coords: dict[str, Any] = {
        column: ("parameter", known[column].to_numpy(dtype=object)) for column in ("kind", "level", "term")
    }
    coords |= {"prior": pd.Index(list(trees), dtype=object), "parameter": pd.Index(known.index, dtype=object)}
    return xr.Dataset(variables, coords, {"prob": prob})
