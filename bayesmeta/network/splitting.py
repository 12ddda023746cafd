"""Direct and indirect evidence on every comparison, of fits and of posteriors."""

from collections.abc import Iterator, Mapping
from itertools import combinations
from typing import Literal

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.inference.refitted import Refitted
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import COMPARISON, Network, compared, consistency_of, trials_of
from bayesmeta.network.extended import difference_of, is_identified, node_split
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import reading
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

PARTS = ("network", "direct", "indirect", "difference")
_ALL = 1e-10  # share of indirect evidence that is rounding


def trial_pairs(spec: Spec) -> Iterator[tuple[str, str, IntArray, FloatArray]]:
    """Every comparison of two arms of a trial: the treatments, the rows of the trial and the contrast of these.

    The first treatment is the one that stands earlier in the list of treatments.
    """
    order = spec.analysis["treatments"]
    for arms, at in trials_of(spec):
        own = np.vstack([np.zeros(len(at)), np.eye(len(at))])
        for i, j in combinations(sorted(range(len(arms)), key=lambda k: order.index(arms[k])), 2):
            yield arms[i], arms[j], at, own[i] - own[j]


def split(
    tree: xr.DataTree, method: Literal["back-calculation", "refit"] | None = None, prob: float = 0.95
) -> xr.Dataset:
    """Direct and indirect evidence on every comparison, and whether they agree.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a consistency model without covariates.
    method : {"back-calculation", "refit"}, optional
        "back-calculation", the default for fits, takes the direct evidence out of the network's estimates, at their
        heterogeneity; "refit", for posteriors the only one, takes the model of `bm.network.node_split` for every
        comparison, in which trials with the two arms may have another effect, with a heterogeneity of its own.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.

    Returns
    -------
    Dataset
        Over `comparison`, "A : B" for A against B: `treatment`, `versus`; `trials` with both arms; `network`, `direct`,
        `indirect` and the `difference` of the latter two, each also with `_se`, `_lower` and `_upper`; `pvalue` of the
        difference. Of fits by the normal distribution, with its `statistic`, and the `share` of the direct evidence
        (not of refits, which have `tau`). Of posteriors means, SDs and quantiles; `probability`, that the difference is
        positive, and as `pvalue` twice the smaller one of it and its complement. NaN where one of the two is missing.

    Raises
    ------
    SpecError
        When the tree is of another model, the method is not one for it, or only Markov chains can take the model.

    Warns
    -----
    AssumptionWarning
        When no comparison has both, since the network has no closed loop.

    Notes
    -----
    Posteriors are computed without Markov chains, with the priors of the tree. The difference has the default prior of
    a comparison, or the prior of the effects where you have given all of them the same.

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
    prob, network, sampled = check_probability(prob), Network.of(tree, "split"), is_posterior(tree)
    consistency_of(network.spec, "split")
    method = ("refit" if sampled else "back-calculation") if method is None else method
    check_choice(method, ("back-calculation", "refit"), "method")
    if sampled and method != "refit":
        raise SpecError('method="back-calculation" is for fits; of a posterior leave it out')
    made = _refitted(network, prob) if method == "refit" else _calculated(network, prob)
    if np.isnan(made["difference"]).all():
        warn(
            "no comparison has both direct and indirect evidence: the network has no closed loop of different trials",
            AssumptionWarning,
        )
    first, second = np.array(network.named_pairs, dtype=object).T
    variables = {TREATMENT: first, VERSUS: second} | made
    names, attrs = [f"{a} : {b}" for a, b in network.named_pairs], {"method": method, "prob": prob}
    return xr.Dataset({k: (COMPARISON, v) for k, v in variables.items()}, {COMPARISON: names}, attrs)


def direct_evidence(network: Network) -> tuple[FloatArray, FloatArray, np.ndarray]:
    """Estimate, standard error and number of trials (T, T) of what trials with both arms say."""
    spec, T = network.spec, len(network.treatments)
    place = {t: i for i, t in enumerate(network.treatments)}
    rows: dict[tuple[int, int], list[FloatArray]] = {}
    for first, second, at, contrast in trial_pairs(spec):
        row = np.zeros(len(spec.y))
        row[at] = contrast
        rows.setdefault((place[first], place[second]), []).append(row)
    mean, se, count = np.full((T, T), np.nan), np.full((T, T), np.nan), np.zeros((T, T), dtype=int)
    for (i, j), listed in rows.items():
        R = np.array(listed)
        weight = np.linalg.solve(R @ network.Sigma @ R.T, np.ones(len(R)))
        mean[i, j], se[i, j], count[i, j] = weight @ (R @ spec.y) / weight.sum(), weight.sum() ** -0.5, len(R)
    return mean, se, count


def _of_network(network: Network, prob: float) -> FloatArray:
    """(4, q) estimates, errors and bounds of every comparison by the whole network."""
    read, df = reading(network.tree, "model"), None if is_posterior(network.tree) else "z"
    return np.stack(compared(network, *network.pairs, prob, None, df, read)[:4])


def _calculated(network: Network, prob: float) -> dict[str, FloatArray]:
    """By the estimates of the network and of the direct evidence, at the heterogeneity of the network."""
    mean, se = _of_network(network, prob)[:2]
    direct, direct_se, trials = (each[network.pairs] for each in direct_evidence(network))
    share = np.where(trials > 0, (se / direct_se) ** 2, 0.0)
    share = np.where(1 - share < _ALL, 1.0, share)
    with np.errstate(divide="ignore", invalid="ignore"):
        indirect = np.where(share == 1, np.nan, np.where(trials > 0, (mean - share * direct) / (1 - share), mean))
        indirect_se = np.where(share == 1, np.nan, se / np.sqrt(1 - share))
    values = np.stack([mean, direct, indirect, direct - indirect])
    errors = np.stack([se, direct_se, indirect_se, np.sqrt(direct_se**2 + indirect_se**2)])
    half = ndtri(0.5 + prob / 2) * errors
    named = _named(np.stack([values, errors, values - half, values + half]))
    return {"trials": trials, "share": share} | named | _tested(named)


def _refitted(network: Network, prob: float) -> dict[str, FloatArray]:
    """By a model of its own for every comparison that has both kinds of evidence; other evidence is the network's."""
    own, trials = _of_network(network, prob), direct_evidence(network)[2][network.pairs]
    statistics, tau, positive = np.full((4, len(PARTS), len(trials)), np.nan), *np.full((2, len(trials)), np.nan)
    statistics[:, 0] = own
    for at, (i, j) in enumerate(zip(*network.pairs, strict=True)):
        pair = network.named_pairs[at]
        if not trials[at] or not is_identified(network.spec, difference_of(network.spec, *pair)):
            statistics[:, 1 if trials[at] else 2, at] = own[:, at]
            continue
        anew = Refitted.like(network.tree, node_split(network.spec, *pair), "bm.network.split")
        indirect, difference = np.append(network.weights[i] - network.weights[j], 0.0), np.eye(len(anew.spec.coef))[-1]
        made = anew.combinations(np.stack([indirect + difference, indirect, difference]), prob)
        statistics[:, 1:, at], positive[at], tau[at] = made[:4], made.positive[-1], anew.tau
    named = {"trials": trials} | _named(statistics)
    if is_posterior(network.tree):
        return named | {"probability": positive, "pvalue": 2 * np.minimum(positive, 1 - positive)}
    return named | {"tau": tau} | _tested(named)


def _named(statistics: FloatArray) -> dict[str, FloatArray]:
    """Estimates, errors and bounds (4, 4, q) of the parts by name."""
    endings = ("", "_se", "_lower", "_upper")
    return {part + end: own[k] for k, part in enumerate(PARTS) for end, own in zip(endings, statistics, strict=True)}


def _tested(named: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
    """That the two kinds of evidence agree."""
    statistic = named["difference"] / named["difference_se"]
    return {"statistic": statistic, "pvalue": 2 * ndtr(-np.abs(statistic))}
