"""Whether the numbers can be trusted: the optimiser of a fit, the chains of a posterior."""

import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta.bayes import chains
from bayesmeta.display import posterior_remarks, remarks
from bayesmeta.display.tables import Facts, Table, fixed, number
from bayesmeta.report.blocks import Block, blocks, notes, paragraphs
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group


def diagnostics(tree: xr.DataTree, name: str) -> tuple[Block, ...]:
    """Warnings, and the tables behind them."""
    alarms = notes(f"Warning: {name}", remarks.alarms(tree), alarm=True)
    if is_posterior(tree):
        return blocks(alarms, *_chains(tree, name))
    if schema.OPTIMIZER not in tree.children or not group(tree, schema.OPTIMIZER).sizes[schema.FREE]:
        return blocks(alarms, paragraphs(f"{name}: computed directly, without a search that could fail."))
    return blocks(alarms, _search(tree, name), _free(tree, name))


def _search(tree: xr.DataTree, name: str) -> Facts:
    optimizer = group(tree, schema.OPTIMIZER)
    pairs = (
        ("Converged", "yes" if bool(optimizer["converged"]) else "no"),
        *([("Message", message)] if (message := str(optimizer.attrs.get("message", ""))) else []),
        ("Gradient norm", number(float(optimizer["gradient_norm"]))),
        ("Evaluations", str(int(optimizer["evaluations"]))),
        ("Starts", str(optimizer.sizes["start"])),
        ("Iterations from the best start", str(optimizer.sizes["iteration"])),
    )
    return Facts(pairs, f"Search for the maximum of the likelihood: {name}")


def _free(tree: xr.DataTree, name: str) -> Table:
    """Free parameters at the maximum, with their gradients and whether they are at the boundary."""
    optimizer = group(tree, schema.OPTIMIZER)
    xi = group(tree, schema.ESTIMATE)["xi"].values
    rows = tuple(
        (str(label), number(float(at)), number(float(slope)), "yes" if edge else "no")
        for label, at, slope, edge in zip(
            optimizer[schema.FREE].values,
            xi,
            optimizer["gradient"].values,
            optimizer["at_boundary"].values,
            strict=True,
        )
    )
    return Table(f"Free parameters: {name}", ("estimate", "gradient", "at boundary"), rows)


def _chains(tree: xr.DataTree, name: str) -> list[Block | None]:
    priors = Facts(posterior_remarks.prior_facts(tree), f"Priors: {name}")
    if exact_marginals.is_exact(tree):
        criteria = group(tree, schema.CRITERIA)
        value, bound = (float(criteria[name]) for name in (schema.LOG_ML, schema.LOG_ML_SE))
        words = f"{name} was computed by {tree.attrs['sampler']}, without Markov chains. "
        if schema.EFFECTIVE_SIZE in criteria:
            size, shape = (float(criteria[each]) for each in (schema.EFFECTIVE_SIZE, schema.PARETO_K))
            words += (
                f"Its weighted draws are worth {size:,.0f} independent ones (Pareto k {shape:.2f}). The log marginal "
                f"likelihood is {value:.3f}, with a standard error of {bound:.1g}."
            )
        else:
            words += (
                "What is shown has no Monte Carlo error. The log marginal likelihood is "
                f"{value:.4f}, with a numerical error of at most {bound:.1e}."
            )
        return [priors, Facts((("Sampling", posterior_remarks.method(tree)),), f"Sampler: {name}"), paragraphs(words)]
    if schema.DIAGNOSTICS not in tree.children:
        return [priors, paragraphs(f"{name}: the tree has no diagnostics of its chains.")]
    diagnosed = group(tree, schema.DIAGNOSTICS)
    rows = tuple(
        (str(label), fixed(float(one["r_hat"]), 3), fixed(float(one["ess_bulk"]), 0), fixed(float(one["ess_tail"]), 0))
        for label in diagnosed["parameter"].values
        for one in [diagnosed.sel(parameter=label)]
    )
    table = Table(f"Chains: {name}", ("R-hat", "bulk ESS", "tail ESS"), rows)
    counts = Facts((("Sampling", posterior_remarks.method(tree)), *_counts(diagnosed)), f"Sampler: {name}")
    limits = (
        f"R-hat should not exceed {chains.LARGEST_R_HAT}, effective sample sizes (ESS) should be at least "
        f"{chains.LEAST_ESS}, and no transition should diverge."
    )
    return [priors, counts, table, paragraphs(limits)]


def _counts(diagnosed: xr.Dataset) -> tuple[tuple[str, str], ...]:
    return (
        ("Divergences", str(int(diagnosed["divergences"]))),
        ("Draws at the maximum tree depth", str(int(diagnosed["max_treedepth_hits"]))),
    )
