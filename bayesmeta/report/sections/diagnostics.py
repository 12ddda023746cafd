"""Whether the numbers can be trusted: the search of a fit, the chains of a posterior."""

import xarray as xr

from bayesmeta import schema
from bayesmeta.bayes import chains
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.tables import Facts, Table, fixed, number
from bayesmeta.report.blocks import Block, blocks, notes, words
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group


def diagnostics(tree: xr.DataTree, name: str) -> tuple[Block, ...]:
    """Alarms, and the tables behind them."""
    alarms = notes(f"Warning: {name}", remarks.alarms(tree), alarm=True)
    if is_posterior(tree):
        return blocks(alarms, *_chains(tree, name))
    if schema.OPTIMIZER not in tree.children or not group(tree, schema.OPTIMIZER).sizes[schema.FREE]:
        return blocks(alarms, words(f"{name}: computed without a search, so there is none that could fail."))
    return blocks(alarms, _search(tree, name), _free(tree, name))


def _search(tree: xr.DataTree, name: str) -> Facts:
    found = group(tree, schema.OPTIMIZER)
    pairs = (
        ("Converged", "yes" if bool(found["converged"]) else "no"),
        *([("Message", message)] if (message := str(found.attrs["message"])) else []),
        ("Gradient norm", number(float(found["gradient_norm"]))),
        ("Evaluations", str(int(found["evaluations"]))),
        ("Starts", str(found.sizes["start"])),
        ("Iterations of the best", str(found.sizes["iteration"])),
    )
    return Facts(pairs, f"Search of the likelihood's maximum: {name}")


def _free(tree: xr.DataTree, name: str) -> Table:
    """Free parameters at the maximum, with gradient and boundary."""
    found = group(tree, schema.OPTIMIZER)
    xi = group(tree, schema.ESTIMATE)["xi"].values
    rows = tuple(
        (str(label), number(float(at)), number(float(slope)), "yes" if edge else "no")
        for label, at, slope, edge in zip(
            found[schema.FREE].values, xi, found["gradient"].values, found["at_boundary"].values, strict=True
        )
    )
    return Table(f"Free parameters: {name}", ("estimate", "gradient", "at boundary"), rows)


def _chains(tree: xr.DataTree, name: str) -> list[Block | None]:
    priors = Facts(posterior_remarks.prior_facts(tree), f"Priors: {name}")
    if schema.DIAGNOSTICS not in tree.children:
        return [priors, words(f"{name}: the tree holds no diagnostics of its chains.")]
    found = group(tree, schema.DIAGNOSTICS)
    rows = tuple(
        (str(label), fixed(float(one["r_hat"]), 3), fixed(float(one["ess_bulk"]), 0), fixed(float(one["ess_tail"]), 0))
        for label in found["parameter"].values
        for one in [found.sel(parameter=label)]
    )
    table = Table(f"Chains: {name}", ("R-hat", "bulk ESS", "tail ESS"), rows)
    counts = Facts((("Sampling", posterior_remarks.method(tree)), *_counts(found)), f"Sampler: {name}")
    limits = (
        f"R-hat should not exceed {chains.LARGEST_R_HAT}, effective sample sizes (ESS) should reach "
        f"{chains.LEAST_ESS}, and no transition should diverge."
    )
    return [priors, counts, table, words(limits)]


def _counts(found: xr.Dataset) -> tuple[tuple[str, str], ...]:
    return (
        ("Divergences", str(int(found["divergences"]))),
        ("Draws at the largest tree depth", str(int(found["max_treedepth_hits"]))),
    )
