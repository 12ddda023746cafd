"""Variance inflation: how much less is known of a term because the other terms of the fixed part resemble it."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.bayes.integration_points import beta_moments
from bayesmeta.errors import SpecError
from bayesmeta.inference.estimates import estimates
from bayesmeta.tree.parameters import BETA
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group, spec_from_tree

_CONSTANT = "1"  # the term that is the intercept


def vif(tree: xr.DataTree) -> pd.DataFrame:
    """Variance inflation factors: by how much collinearity with the other predictors widens a term's variance.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample`, also read back from a file.

    Returns
    -------
    DataFrame
        A row for each term of the fixed part and outcome, without intercepts: `term` and `outcome`; `m`, the number of
        its coefficients; `vif`, 1 where the term has nothing in common with the others; `sif`, the factor by which
        standard errors are inflated, vif^(1 / (2 m)), which can be compared between terms of different m. Values of
        `vif` above 5 to 10 are commonly taken as a warning.

    Raises
    ------
    SpecError
        When the model has fewer than two coefficients beside intercepts.

    Notes
    -----
    With the correlations R of the coefficients without intercepts, those of the term first:
    det(R_11) det(R_22) / det(R), which is the usual factor where m is 1.

    References
    ----------
    Fox and Monette (1992), J. Am. Stat. Assoc. 87:178-183.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ ablat + year + alloc", bm.datasets.load("bcg"), S="logorvar")
    >>> bm.vif(bm.fit(spec))[["term", "m", "vif", "sif"]].round(3)
        term  m    vif    sif
    0  ablat  1  1.754  1.324
    1   year  1  1.911  1.382
    2  alloc  2  1.242  1.056
    """
    spec, frame = spec_from_tree(tree), estimates(tree)
    outcomes = frame.loc[frame["kind"] == BETA].set_index("term")["outcome"]
    terms = {
        (term, outcome): [place for place in places if outcomes[spec.coef[place]] == outcome]
        for term, places in spec.design.terms.items()
        if term != _CONSTANT
        for outcome in dict.fromkeys(outcomes[spec.coef[place]] for place in places)
    }
    others = [place for places in terms.values() for place in places]
    if len(others) < 2:
        raise SpecError(
            f"vif compares coefficients with each other, and this model has {len(others)} beside intercepts\n"
            f"  coefficients: {', '.join(spec.coef)}"
        )
    R = _correlations(_covariance(tree))
    rows = []
    for (term, outcome), own in terms.items():
        rest = [place for place in others if place not in own]
        logs = [np.linalg.slogdet(R[np.ix_(part, part)])[1] for part in (own, rest, [*own, *rest])]
        factor = float(np.exp(logs[0] + logs[1] - logs[2]))
        rows.append((term, outcome, len(own), factor, factor ** (0.5 / len(own))))
    return pd.DataFrame(rows, columns=["term", "outcome", "m", "vif", "sif"])


def _covariance(tree: xr.DataTree) -> FloatArray:
    if is_posterior(tree):
        return beta_moments(tree)[1]
    return group(tree, schema.ESTIMATE)["beta_cov"].to_numpy()


def _correlations(cov: FloatArray) -> FloatArray:
    sd = np.sqrt(np.diag(cov))
    return cov / np.outer(sd, sd)
