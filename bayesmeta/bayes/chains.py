"""Whether Markov chains can be trusted: R-hat, effective sample sizes, divergences, and what to do about them."""

from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.tree.specification import group

# Vehtari, Gelman, Simpson, Carpenter and Bürkner (2021), Bayesian Anal. 16:667-718, section 4
LARGEST_R_HAT, LEAST_ESS = 1.01, 400
TAILS = (0.05, 0.95)
FEWEST = 4  # draws of a chain without which there is nothing to say
COUNTED = {"divergences": "diverging", "max_treedepth_hits": "reached_max_treedepth"}


def diagnostics(chains: dict[str, FloatArray], sample_stats: dict[str, xr.DataArray]) -> xr.Dataset:
    """R-hat and effective sample sizes of every parameter (chain, draw), divergences, and trees that were cut."""
    columns = np.array([diagnosed(values) for values in chains.values()]).reshape(-1, 3).T
    variables: dict[str, Any] = {
        name: ("parameter", values) for name, values in zip(("r_hat", "ess_bulk", "ess_tail"), columns, strict=True)
    }
    for name, theirs in COUNTED.items():
        variables[name] = ((), int(np.sum(sample_stats[theirs])) if theirs in sample_stats else 0)
    return xr.Dataset(variables, {"parameter": pd.Index(list(chains), dtype=object)})


def diagnosed(chains: FloatArray) -> tuple[float, float, float]:
    """R-hat, bulk and tail effective sample size of one parameter (chain, draw); NaN where there is too little."""
    from arviz_stats.base import array_stats

    if chains.shape[1] < FEWEST or np.ptp(chains) == 0:
        return (np.nan,) * 3
    r_hat = float(array_stats.rhat(chains)) if len(chains) > 1 else np.nan
    bulk, tail = array_stats.ess(chains, method="bulk"), array_stats.ess(chains, method="tail", prob=TAILS)
    return r_hat, float(bulk), float(tail)


def alarms(tree: xr.DataTree) -> list[str]:
    """Reasons not to trust the draws of a posterior tree, and what to do about each."""
    if schema.DIAGNOSTICS not in tree.children:
        return []
    checks, sentences = group(tree, schema.DIAGNOSTICS), []
    name, r_hat = worst(checks["r_hat"])
    if r_hat > LARGEST_R_HAT:
        sentences.append(
            f"THE CHAINS DO NOT AGREE (R-hat {r_hat:.3f} of {name}, more than {LARGEST_R_HAT}): these draws are "
            "not from the posterior; sample again with more tune= and draws=, more informative priors or a simpler psi"
        )
    name, ess = min((worst(checks[size]) for size in ("ess_bulk", "ess_tail")), key=_missing_last)
    if ess < LEAST_ESS:
        sentences.append(
            f"TOO FEW INDEPENDENT DRAWS (effective sample size {ess:.0f} of {name}, less than {LEAST_ESS}): "
            "means and intervals are still uncertain; sample again with more draws="
        )
    if divergences := int(checks["divergences"]):
        sentences.append(
            f"{count(divergences, 'divergence').upper()}: part of the posterior was not explored; sample again with "
            "target_accept= closer to 1, more informative priors or a simpler psi"
        )
    return sentences


def worst(values: xr.DataArray) -> tuple[str, float]:
    """The parameter with the largest R-hat or the smallest ESS, and the value; no name where there is none."""
    known = values.dropna("parameter")
    if not known.size:
        return "", np.nan
    order = known.values if values.name == "r_hat" else -known.values
    at = int(np.argmax(order))
    return str(known["parameter"].values[at]), float(known[at])


def count(n: int, what: str) -> str:
    """
    >>> count(0, "divergence"), count(1, "divergence"), count(12, "draw")
    ('no divergences', '1 divergence', '12 draws')
    """
    return f"{n} {what}" if n == 1 else f"{n or 'no'} {what}s"


def _missing_last(name_and_size: tuple[str, float]) -> float:
    return np.inf if np.isnan(name_and_size[1]) else name_and_size[1]
