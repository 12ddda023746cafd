"""Rankings of treatments."""

from collections.abc import Mapping
from typing import Literal

import numpy as np
import xarray as xr

from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.inference.linear_combinations import off_diagonal, square
from bayesmeta.inference.reference import Vcov, reference
from bayesmeta.network.comparisons import Network, compared
from bayesmeta.network.consistency import BETTER
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, rank_probabilities
from bayesmeta.tree.response import reading
from bayesmeta.within.trial_tables import TREATMENT

RANK = "rank"


def ranking(
    tree: xr.DataTree,
    better: Literal["smaller", "larger"] | None = None,
    at: Mapping[str, float] | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> xr.Dataset:
    """How treatments rank.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network.
    better : {"smaller", "larger"}, optional
        Which effects are good: smaller ones of deaths and pain, larger ones of cures. By default as
        `bm.network.specify` was told.
    at : mapping, optional
        Values of covariates; by default their means over trials.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`; P-scores are usually
        made with `df="z"`.

    Returns
    -------
    Dataset
        Over `treatment`. Of a fit `p_score`, the mean extent of certainty that a treatment is better than another, from
        one-sided p-values. Of a posterior `sucra`, the mean probability that it is better than another, which is the
        surface under the cumulative ranking curve; `mean_rank`, `median_rank`; over (treatment, rank) `probability` of
        each rank, 1 the best, and `cumulative`, with the Monte Carlo error `probability_mcse` of independent draws.

    Raises
    ------
    SpecError
        When the tree is not of a network, or an argument is not as above.

    Notes
    -----
    Ranks do not say how much better a treatment is, nor how sure that is; see Mbuagbaw et al. (2017).

    References
    ----------
    Rücker and Schwarzer (2015), BMC Med. Res. Methodol. 15:58; Salanti, Ades and Ioannidis (2011), J. Clin. Epidemiol.
    64:163-171; Mbuagbaw et al. (2017), Syst. Rev. 6:79.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> scores = bm.network.ranking(bm.fit(spec), better="smaller", df="z")["p_score"]
    >>> scores.to_series().sort_values().tail(2).round(2).to_dict()
    {'metformin': 0.79, 'rosiglitazone': 0.9}
    """
    network = Network.of(tree, "ranking", at)
    better = network.spec.analysis.get("better") if better is None else better
    if better is None:
        raise SpecError('better is left out: whether smaller or larger effects are good\n  better="smaller" of deaths')
    check_choice(better, BETTER, "better")
    of = _of_posterior if is_posterior(tree) else _p_scores
    return of(network, better, vcov, df).assign_attrs(better=better)


def _p_scores(network: Network, better: str, vcov: Vcov | None, df: str | None) -> xr.Dataset:
    T = len(network.treatments)
    larger = compared(network, *off_diagonal(T), 0.95, vcov, df, reading(network.tree, None)).positive
    beats = square(larger if better == "larger" else 1 - larger, 0.0)
    return xr.Dataset({"p_score": (TREATMENT, beats.sum(1) / (T - 1))}, {TREATMENT: network.treatments})


def _of_posterior(network: Network, better: str, vcov: Vcov | None, df: str | None) -> xr.Dataset:
    reference(network.tree, vcov, df)  # refuses what is for fits
    effects = beta_draws(network.tree) @ network.weights.T  # (draws, T)
    over = rank_probabilities(effects if better == "smaller" else -effects)
    variables = {name: ((TREATMENT, RANK)[: values.ndim], values) for name, values in over.items()}
    return xr.Dataset(variables, {TREATMENT: network.treatments, RANK: np.arange(1, len(network.treatments) + 1)})
