"""Python code that makes the results trees of a page again from the specification that they hold."""

from collections.abc import Mapping

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.display import posterior_remarks
from bayesmeta.priors.prior import Prior
from bayesmeta.report.blocks import Code
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.parameters import effects, level_structures
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group

_SAVED = "bm.load('results.nc')"


def code_of(trees: Mapping[str, xr.DataTree], opened: str = "") -> Code:
    """Calls with the settings, seeds and priors of every tree.

    opened : an expression that reads the trees by name from a file; without it, that file is yet to be saved.
    """
    several = opened or len(trees) > 1
    saved = f"# bm.save({'trees' if several else 'tree'}, 'results.nc') has kept the results with their data"
    lines = ["import bayesmeta as bm", "", *([] if opened else [saved]), f"trees = {opened or _SAVED}"]
    for name, tree in trees.items():
        lines += ["", f"spec = bm.Spec.from_tree({_part(name, len(trees))})", *_made(tree)]
    return Code("In Python", "\n".join(lines), "python")


def _part(name: str, many: int) -> str:
    return "trees" if many == 1 else f"trees[{name!r}]"


def _made(tree: xr.DataTree) -> list[str]:
    about = tree.attrs
    if not is_posterior(tree):
        return [f"fit = bm.fit(spec, method={about['method']!r})"]
    sizes = group(tree, schema.POSTERIOR).sizes
    settings = {"draws": str(sizes[schema.DRAW])}
    settings |= {} if exact_marginals.is_exact(tree) else {"chains": str(sizes[schema.CHAIN])}
    names = {"tune": "tune", "target_accept": "target_accept", "random_seed": "seed"}
    settings |= {argument: about[attribute] for argument, attribute in names.items() if attribute in about}
    arguments = ", ".join(f"{key}={value}" for key, value in settings.items())
    return [f"priors = {priors_of(tree)}", f"post = bm.sample(spec, priors, {arguments}, sampler={about['sampler']!r})"]


def priors_of(tree: xr.DataTree) -> str:
    """The user's priors, as `bm.Priors` in Python; None where all are defaults."""
    model = posterior_remarks.priors(tree)
    beta = {
        label: prior
        for label, prior, default in zip(model.beta_labels, model.beta, model.beta_default, strict=True)
        if not default
    }
    tau, rho = {}, {}
    for level, own in zip(level_structures(tree), model.levels, strict=True):
        labels = effects(tree, level)
        own_priors = {
            effect: prior
            for effect, prior, default in zip(labels, own.tau, own.tau_default, strict=False)
            if not default
        }
        if own_priors:
            tau[level] = _dict(own_priors) if len(own.tau) == len(labels) else _call(own.tau[0])
        if own.rho is not None and not own.rho_default:
            rho[level] = _call(own.rho)
    parts = [f"beta={_dict(beta)}"] if beta else []
    parts += [f"{block}={{{_items(calls)}}}" for block, calls in (("tau", tau), ("rho", rho)) if calls]
    return f"bm.Priors({', '.join(parts)})" if parts else "None"


def _dict(priors: Mapping[str, Prior]) -> str:
    return f"{{{_items({key: _call(prior) for key, prior in priors.items()})}}}"


def _items(calls: Mapping[str, str]) -> str:
    return ", ".join(f"{key!r}: {call}" for key, call in calls.items())


def _call(prior: Prior) -> str:
    parameters = "".join(f", {key}={value!r}" for key, value in prior.params.items())
    return f"bm.Prior({prior.name!r}{parameters})"
