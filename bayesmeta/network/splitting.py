"""Direct and indirect evidence on every comparison, of fits and of posteriors."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Literal

import numpy as np
import xarray as xr
from scipy.linalg import block_diag
from scipy.special import ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.posterior_parts import integrated
from bayesmeta.inference.posterior_predict import means
from bayesmeta.io.long_tables import by_label
from bayesmeta.model.spec import Spec
from bayesmeta.network.comparisons import COMPARISON, Network
from bayesmeta.network.consistency import TREATMENT, VERSUS
from bayesmeta.network.extended import difference_of, is_identified, node_split
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.priors.scales import default_beta
from bayesmeta.tree.posterior_draws import is_posterior

PARTS = ("network", "direct", "indirect", "difference")
_ALL = 1e-10  # share of indirect evidence that is rounding


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
    if not network.is_plain:
        raise SpecError("bm.network.split is of consistency models without covariates")
    method = ("refit" if sampled else "back-calculation") if method is None else method
    check_choice(method, ("back-calculation", "refit"), "method")
    if sampled and method != "refit":
        raise SpecError('method="back-calculation" is for fits; of a posterior leave it out')
    of = _of_posterior if sampled else _refitted if method == "refit" else _calculated
    made = of(network, prob)
    if np.isnan(made["difference"]).all():
        warn(
            "no comparison has both direct and indirect evidence: the network has no closed loop of different trials",
            AssumptionWarning,
        )
    pairs = network.named_pairs
    labels = {
        name: np.array(column, dtype=object)
        for name, column in zip((TREATMENT, VERSUS), zip(*pairs, strict=True), strict=True)
    }
    names, attrs = [f"{a} : {b}" for a, b in pairs], {"method": method, "prob": prob}
    return xr.Dataset({k: (COMPARISON, v) for k, v in (labels | made).items()}, {COMPARISON: names}, attrs)


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


def _calculated(network: Network, prob: float) -> dict[str, FloatArray]:
    """By the estimates of the network and of the direct evidence, at the heterogeneity of the network."""
    i, j = network.pairs
    L, estimate = network.weights[i] - network.weights[j], network.tree["estimate"]
    mean = L @ estimate["beta"].to_numpy()
    se = np.sqrt(np.einsum("qp,pr,qr->q", L, estimate["beta_cov"].to_numpy(), L))
    direct, direct_se, trials = (each[i, j] for each in direct_evidence(network))
    share = np.where(trials > 0, (se / direct_se) ** 2, 0.0)
    share = np.where(1 - share < _ALL, 1.0, share)
    with np.errstate(divide="ignore", invalid="ignore"):
        indirect = np.where(share == 1, np.nan, np.where(trials > 0, (mean - share * direct) / (1 - share), mean))
        indirect_se = np.where(share == 1, np.nan, se / np.sqrt(1 - share))
    values = np.stack([mean, direct, indirect, direct - indirect])
    errors = np.stack([se, direct_se, indirect_se, np.sqrt(direct_se**2 + indirect_se**2)])
    return {"trials": trials, "share": share} | _normal(values, errors, prob)


def _normal(values: FloatArray, errors: FloatArray, prob: float) -> dict[str, FloatArray]:
    """Parts (4, q) with normal intervals, and the test of the difference."""
    half = ndtri(0.5 + prob / 2) * errors
    made = _named(values, errors, values - half, values + half)
    statistic = made["difference"] / made["difference_se"]
    return made | {"statistic": statistic, "pvalue": 2 * ndtr(-np.abs(statistic))}


def _named(*statistics: FloatArray) -> dict[str, FloatArray]:
    """Estimates, errors and bounds (4, q) of the parts by name."""
    endings = ("", "_se", "_lower", "_upper")
    return {part + end: each[k] for k, part in enumerate(PARTS) for end, each in zip(endings, statistics, strict=True)}


def _weights_in(wider: Spec, network: Network, at: int) -> FloatArray:
    """(3, P) direct, indirect evidence and their difference as combinations of the coefficients of a split model."""
    i, j = (each[at] for each in network.pairs)
    indirect = np.append(network.weights[i] - network.weights[j], 0.0)
    return np.stack([indirect, indirect, 0 * indirect]) + np.outer([1, 0, 1], np.eye(len(wider.coef))[-1])


def _refitted(network: Network, prob: float) -> dict[str, FloatArray]:
    start, level = _calculated(network, prob), network.spec.levels[-1].name
    values, errors = (np.stack([start[part + end] for part in PARTS]) for end in ("", "_se"))
    tau = np.full(values.shape[1], np.nan)
    for at in np.flatnonzero(np.isfinite(start["difference"])).tolist():
        wider = node_split(network.spec, *network.named_pairs[at])
        estimate = fit(wider, method_of(network.tree).name)["estimate"]
        L = _weights_in(wider, network, at)
        values[1:, at] = L @ estimate["beta"].to_numpy()
        errors[1:, at] = np.sqrt(np.einsum("kp,pq,kq->k", L, estimate["beta_cov"].to_numpy(), L))
        tau[at] = np.sqrt(np.max(estimate[f"psi_{level}"].to_numpy()))
    return {"trials": start["trials"], "tau": tau} | _normal(values, errors, prob)


def _of_posterior(network: Network, prob: float) -> dict[str, FloatArray]:
    """By the exact posterior of a split model for every comparison that has both kinds of evidence."""
    i, j = network.pairs
    of_all = means(network.tree, network.weights[i] - network.weights[j], np.zeros(len(i)), prob)
    own = np.stack([of_all[name] for name in ("mean", "se", "lower", "upper")])  # (statistics, q)
    statistics, probability = np.full((4, len(PARTS), len(i)), np.nan), np.full(len(i), np.nan)
    trials = direct_evidence(network)[2][i, j]
    known = ModelPriors.from_json(network.tree.attrs["priors"])
    statistics[:, 0] = own
    for at, pair in enumerate(network.named_pairs):
        if not trials[at] or not is_identified(network.spec, difference_of(network.spec, *pair)):
            statistics[:, 1 if trials[at] else 2, at] = own[:, at]  # all evidence is of one kind
            continue
        wider = node_split(network.spec, *pair)
        points = integrated(wider, _with_difference(known, wider), "bm.network.split")
        made = points.combination(_weights_in(wider, network, at))
        statistics[:, 1:, at] = made.mean, made.sd, *made.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))
        probability[at] = 1 - made.below(np.zeros((1, 3)))[0, 2]
    twice = 2 * np.minimum(probability, 1 - probability)
    return {"trials": trials} | _named(*statistics) | {"probability": probability, "pvalue": twice}


def _with_difference(known: ModelPriors, wider: Spec) -> ModelPriors:
    """The priors of the network, and one of the difference between direct and indirect evidence."""
    chosen = known.beta[0] if len(set(map(str, known.beta))) == 1 and not any(known.beta_default) else None
    prior = default_beta(wider, len(wider.coef) - 1) if chosen is None else chosen
    return replace(
        known,
        beta=(*known.beta, prior),
        centring=block_diag(known.centring, 1.0),
        beta_labels=wider.coef,
        beta_default=(*known.beta_default, chosen is None),
    )
