"""Direct and indirect evidence on every comparison, and the flow of evidence from one treatment to another."""

from collections.abc import Iterator
from itertools import combinations
from typing import Any, Literal

import numpy as np
import xarray as xr
from scipy.special import ndtr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.weights import covariances
from bayesmeta.io.long_tables import by_label
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import COMPARISON, Network
from bayesmeta.network.consistency import TREATMENT, VERSUS
from bayesmeta.network.consistency_tests import sampling_matrix
from bayesmeta.network.extended import node_split
from bayesmeta.tree.posterior_draws import is_posterior

DIRECT = "direct_comparison"
_ALL = 1e-10  # share of indirect evidence, or of a flow, that is rounding


def marginal_covariance(tree: xr.DataTree, spec: Spec) -> FloatArray:
    """(n, n) of all contrasts: S and what varies between trials."""
    Sigma = sampling_matrix(spec)
    for level, psi in zip(spec.levels, covariances(tree, spec), strict=True):
        Sigma += (level.index[:, None] == level.index) * (level.Z @ psi[0] @ level.Z.T)
    return Sigma


def trial_pairs(spec: Spec) -> Iterator[tuple[str, str, np.ndarray, FloatArray]]:
    """Every comparison of two arms of a trial: the treatments, the rows of the trial and the contrast of these.

    The first treatment is the one that stands earlier in the list of treatments.
    """
    rows, order = spec.data.loc[spec.kept], spec.analysis["treatments"]
    for _, at in by_label(rows[spec.analysis["study"]].astype(str).to_numpy()):
        arms = [rows[VERSUS].iloc[at[0]], *rows[TREATMENT].iloc[at]]
        own = np.vstack([np.zeros(len(at)), np.eye(len(at))])
        for i, j in combinations(sorted(range(len(arms)), key=lambda k: order.index(arms[k])), 2):
            yield arms[i], arms[j], at, own[i] - own[j]


def split(tree: xr.DataTree, method: Literal["back-calculation", "refit"] = "back-calculation") -> xr.Dataset:
    """Direct and indirect evidence on every comparison, and whether they agree.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` for a consistency model without covariates.
    method : {"back-calculation", "refit"}, default "back-calculation"
        "back-calculation" takes the direct evidence out of the network's estimates, at their heterogeneity; "refit"
        fits the model of `bm.network.node_split` for every comparison, in which trials with the two arms may have
        another effect, with a heterogeneity of its own.

    Returns
    -------
    Dataset
        Over `comparison`, "A : B" for A against B: `treatment`, `versus`; `trials` with both arms; `network`,
        `network_se`; `direct`, `direct_se`; `indirect`, `indirect_se`; `difference` of direct and indirect,
        `difference_se`, `statistic`, `pvalue` by the normal distribution; `share` of the direct evidence (not of
        refits, which have `tau`). NaN where one of the two is missing.

    Raises
    ------
    SpecError
        When the tree is a posterior, or of another model.

    Warns
    -----
    AssumptionWarning
        When no comparison has both, since the network has no closed loop.

    References
    ----------
    König, Krahn and Binder (2013), Stat. Med. 32:5414-5429; Dias, Welton, Caldwell and Ades (2010), Stat. Med.
    29:932-944.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> own = bm.network.split(bm.fit(spec)).sel(comparison="metformin : sulfonylurea")
    >>> [round(own[name].item(), 2) for name in ("direct", "indirect", "difference", "pvalue")]
    [-0.37, -0.99, 0.62, 0.17]
    """
    check_choice(method, ("back-calculation", "refit"), "method")
    network = Network.of(tree, "split")
    spec = network.spec
    if is_posterior(tree):
        raise SpecError("bm.network.split is for fits\n  sample bm.network.node_split(spec, treatment, versus)")
    if spec.analysis["model"] != "consistency" or spec.analysis["covariates"]:
        raise SpecError("bm.network.split is of consistency models without covariates")
    made = _refitted(network) if method == "refit" else _calculated(network)
    made["statistic"] = made["difference"] / made["difference_se"]
    made["pvalue"] = 2 * ndtr(-np.abs(made["statistic"]))
    if np.isnan(made["difference"]).all():
        warn(
            "no comparison has both direct and indirect evidence: the network has no closed loop of different trials",
            AssumptionWarning,
        )
    names = [f"{a} : {b}" for a, b in zip(made[TREATMENT], made[VERSUS], strict=True)]
    return xr.Dataset({k: (COMPARISON, v) for k, v in made.items()}, {COMPARISON: names}, {"method": method})


def direct_evidence(network: Network) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Estimate, standard error and number of trials (T, T) of what trials with both arms say."""
    spec, T = network.spec, len(network.treatments)
    Sigma = marginal_covariance(network.tree, spec)
    place = {t: i for i, t in enumerate(network.treatments)}
    rows: dict[tuple[int, int], list[FloatArray]] = {}
    for first, second, at, contrast in trial_pairs(spec):
        row = np.zeros(len(spec.y))
        row[at] = contrast
        rows.setdefault((place[first], place[second]), []).append(row)
    mean, se, count = np.full((T, T), np.nan), np.full((T, T), np.nan), np.zeros((T, T), dtype=int)
    for (i, j), listed in rows.items():
        R = np.array(listed)
        weight = np.linalg.solve(R @ Sigma @ R.T, np.ones(len(R)))
        mean[i, j], se[i, j], count[i, j] = weight @ (R @ spec.y) / weight.sum(), weight.sum() ** -0.5, len(R)
    return mean, se, count


def _estimates(network: Network) -> tuple[FloatArray, FloatArray]:
    """Of the network (q,), by the model's covariance."""
    i, j = network.pairs
    L = network.weights[i] - network.weights[j]
    estimate = network.tree["estimate"]
    return L @ estimate["beta"].to_numpy(), np.sqrt(np.einsum("qp,pr,qr->q", L, estimate["beta_cov"].to_numpy(), L))


def _calculated(network: Network) -> dict[str, Any]:
    i, j = network.pairs
    mean, se = _estimates(network)
    direct, direct_se, trials = (each[i, j] for each in direct_evidence(network))
    share = np.where(trials > 0, (se / direct_se) ** 2, 0.0)
    share = np.where(1 - share < _ALL, 1.0, share)
    with np.errstate(divide="ignore", invalid="ignore"):
        indirect = np.where(trials > 0, (mean - share * direct) / (1 - share), mean)
        indirect_se = se / np.sqrt(1 - share)
    only = share == 1
    indirect[only], indirect_se[only] = np.nan, np.nan
    names = np.array(network.treatments, dtype=object)
    made = {TREATMENT: names[i], VERSUS: names[j], "trials": trials, "network": mean, "network_se": se}
    made |= {"direct": direct, "direct_se": direct_se, "indirect": indirect, "indirect_se": indirect_se}
    difference_se = np.sqrt(direct_se**2 + indirect_se**2)
    return made | {"difference": direct - indirect, "difference_se": difference_se, "share": share}


def _refitted(network: Network) -> dict[str, Any]:
    made = _calculated(network)
    method, level = method_of(network.tree).name, network.spec.levels[-1].name
    made["tau"] = np.full(len(made["direct"]), np.nan)
    del made["share"]
    for at in np.flatnonzero(np.isfinite(made["difference"])):
        first, second = made[TREATMENT][at], made[VERSUS][at]
        tree = fit(node_split(network.spec, first, second), method)
        beta, cov = tree["estimate"]["beta"].to_numpy(), tree["estimate"]["beta_cov"].to_numpy()
        own = Network.of(tree, "split")
        i, j = own.treatments.index(first), own.treatments.index(second)
        indirect, difference = own.weights[i] - own.weights[j], np.eye(len(beta))[-1]
        for name, c in (("indirect", indirect), ("difference", difference), ("direct", indirect + difference)):
            made[name][at], made[f"{name}_se"][at] = c @ beta, np.sqrt(c @ cov @ c)
        made["tau"][at] = np.sqrt(np.max(tree["estimate"][f"psi_{level}"].to_numpy()))
    return made


# ---- contributions


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
    if is_posterior(tree) or network.spec.analysis["model"] != "consistency" or network.spec.analysis["covariates"]:
        raise SpecError("bm.network.contributions is of fits of consistency models without covariates")
    W = edge_weights(network)
    i, j = network.pairs
    edges = np.flatnonzero(_compared_in(network)[i, j])
    names = np.array([f"{a} : {b}" for a, b in zip(*(np.array(network.treatments)[x] for x in (i, j)), strict=True)])
    L = np.linalg.pinv(np.diag(W.sum(1)) - W)
    potential = L[i] - L[j]  # (comparisons, T) of a unit of evidence from the first treatment to the second
    flow = W[i, j][edges] * (potential[:, i[edges]] - potential[:, j[edges]])
    flow[np.abs(flow) < _ALL] = 0.0
    divide = _random_walk if method == "random-walk" else _shortest_paths
    shares = np.zeros_like(flow)
    for at in range(len(i)):
        F = np.zeros(W.shape)
        F[i[edges], j[edges]], F[j[edges], i[edges]] = np.maximum(flow[at], 0), np.maximum(-flow[at], 0)
        of_edges = divide(F, int(i[at]), int(j[at]))
        shares[at] = (of_edges + of_edges.T)[i[edges], j[edges]]
    dims = (COMPARISON, DIRECT)
    coords = {COMPARISON: names, DIRECT: names[edges]}
    return xr.Dataset({"contribution": (dims, shares), "flow": (dims, flow)}, coords, {"method": method})


def _compared_in(network: Network) -> np.ndarray:
    place = {t: i for i, t in enumerate(network.treatments)}
    known = np.zeros((len(place), len(place)), bool)
    for first, second, *_ in trial_pairs(network.spec):
        known[place[first], place[second]] = True
    return known


def edge_weights(network: Network) -> FloatArray:
    """(T, T) weights of comparisons: those of an electrical network with the same estimates (Rücker 2012)."""
    spec = network.spec
    Sigma = marginal_covariance(network.tree, spec)
    K = np.linalg.inv(Sigma)
    order = network.treatments
    C = np.zeros((len(spec.y), len(order)))
    rows = spec.data.loc[spec.kept]
    for sign, name in ((1.0, TREATMENT), (-1.0, VERSUS)):
        C[np.arange(len(C)), [order.index(t) for t in rows[name]]] += sign
    W = -(C.T @ K @ C)
    np.fill_diagonal(W, 0.0)
    return W


def _random_walk(F: FloatArray, start: int, end: int) -> FloatArray:
    """(T, T) shares of edges along a flow of one unit: of every path its probability over its number of edges."""
    T = len(F)
    out = F.sum(1)
    P = np.divide(F, out[:, None], out=np.zeros_like(F), where=out[:, None] > _ALL)
    P[end] = 0.0
    ahead, behind = np.zeros((T, T)), np.zeros((T, T))
    ahead[0, start] = behind[0, end] = 1.0
    for k in range(1, T):  # a flow has no circles, so that no path has more edges
        ahead[k], behind[k] = ahead[k - 1] @ P, P @ behind[k - 1]
    length = 1.0 / (1 + np.add.outer(np.arange(T), np.arange(T)))
    return P * np.einsum("ki,lj,kl->ij", ahead, behind, length)


def _shortest_paths(F: FloatArray, start: int, end: int) -> FloatArray:
    """The same where the shortest path is taken away with all the flow that it can have, until none is left."""
    F, shares = F.copy(), np.zeros_like(F)
    i, j = np.nonzero(np.triu(F + F.T))
    forward = F[i, j] > 0
    order = list(dict.fromkeys(np.column_stack([np.where(forward, i, j), np.where(forward, j, i)]).ravel().tolist()))
    while (path := _shortest(F, start, end, order)) is not None:
        a, b = path[:-1], path[1:]
        taken = F[a, b].min()
        F[a, b] -= taken
        F[F < _ALL] = 0.0
        shares[a, b] += taken / len(a)
    return shares


def _shortest(F: FloatArray, start: int, end: int, order: list[int]) -> list[int] | None:
    """The shortest path; of several the one through treatments that come first in this order."""
    before, front = {start: start}, [start]
    while front and end not in before:
        reached = [(i, j) for i in front for j in order if F[i, j] > 0 and j not in before]
        before |= {j: i for i, j in reversed(reached)}
        front = list(dict.fromkeys(j for _, j in reached))
    if end not in before:
        return None
    path = [end]
    while path[-1] != start:
        path.append(before[path[-1]])
    return path[::-1]
