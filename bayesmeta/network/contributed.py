"""The flow of evidence from one treatment to another: what every direct comparison contributes to the network's."""

from typing import Literal

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.inference.path_shares import by_random_walk, by_shortest_paths, flows
from bayesmeta.network.comparisons import COMPARISON, Network, consistency_of, contrast_rows
from bayesmeta.network.splitting import trial_pairs
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.within.trial_tables import incidence

DIRECT = "direct_comparison"


def contributions(tree: xr.DataTree, method: Literal["shortest-path", "random-walk"] = "random-walk") -> xr.Dataset:
    """How much every direct comparison contributes to the network's estimate of every comparison.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` for a consistency model without covariates.
    method : {"random-walk", "shortest-path"}, default "random-walk"
        How the flow of evidence between two treatments is divided into paths: "random-walk" follows it at random, which
        is unique; "shortest-path" takes away the shortest path again and again, of several the one through treatments
        that come first in the list of flows. A path's evidence belongs to its comparisons in equal parts.

    Returns
    -------
    Dataset
        `contribution` over (comparison, direct_comparison), shares of which every row adds up to 1, and `flow`, the
        weights of direct estimates in the network's, with their signs.

    Raises
    ------
    SpecError
        When the tree is a posterior, or of another model.

    References
    ----------
    König, Krahn and Binder (2013), Stat. Med. 32:5414-5429; Papakonstantinou et al. (2018), F1000Research 7:610;
    Davies, Papakonstantinou, Nikolakopoulou, Rücker and Galla (2022), Stat. Med. 41:2091-2114.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> table = bm.network.contributions(bm.fit(spec))["contribution"]
    >>> table.sel(comparison="metformin : placebo").to_series().nlargest(2).round(2).to_dict()
    {'metformin : placebo': 0.54, 'placebo : rosiglitazone': 0.13}
    """
    check_choice(method, ("shortest-path", "random-walk"), "method")
    network = Network.of(tree, "contributions")
    consistency_of(network.spec, "contributions")
    if is_posterior(tree):
        raise SpecError("bm.network.contributions is of fits\n  bm.network.contributions(bm.fit(spec))")
    i, j = network.pairs
    compared = {frozenset(pair[:2]) for pair in trial_pairs(network.spec)}
    edges = np.flatnonzero([frozenset(pair) in compared for pair in network.named_pairs])
    divide = by_random_walk if method == "random-walk" else by_shortest_paths
    flow, shares = flows(_conductances(network), i, j, edges, divide)
    names = np.array([f"{a} : {b}" for a, b in network.named_pairs])
    dims, coords = (COMPARISON, DIRECT), {COMPARISON: names, DIRECT: names[edges]}
    return xr.Dataset({"contribution": (dims, shares), "flow": (dims, flow)}, coords, {"method": method})


def _conductances(network: Network) -> FloatArray:
    """(T, T) weights of comparisons: those of an electrical network with the same estimates (Rücker 2012)."""
    C = incidence(contrast_rows(network.spec), network.treatments)
    W = -(C.T @ np.linalg.solve(network.Sigma, C))
    np.fill_diagonal(W, 0.0)
    return W
