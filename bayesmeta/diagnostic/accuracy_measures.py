"""What a test does at its summary point: sensitivity and specificity, likelihood ratios, and predictive values."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit, logit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.diagnostic.bivariate import Asked
from bayesmeta.errors import SpecError
from bayesmeta.inference.quantities import STATISTICS, Along, NewData, Points, Quantity, SumOfParts, Truth, as_table
from bayesmeta.inference.quantity_answers import answers, over_normal, table_of, with_independent
from bayesmeta.inference.reference import Vcov, reference
from bayesmeta.io.arrays import proportions
from bayesmeta.priors.closed_forms import beta_values

Method = Literal["delta", "distribution"]
_PARTS = 512  # equally probable values of a distribution, for sums of independent ones


def _summary(points: Points) -> list[Quantity]:
    first, second = points.links
    return [
        Quantity(("sensitivity",), lambda at: at.mean[..., :1], first.inverse, given_psi=Along.outcome(0)),
        Quantity(("specificity",), lambda at: at.mean[..., 1:], second.inverse, given_psi=Along.outcome(1)),
        Quantity(("fpr",), lambda at: at.mean[..., 1:], lambda x: 1 - second.inverse(x), given_psi=Along.outcome(1)),
    ]


def _log_odds(at: Truth, j: int) -> FloatArray:
    return np.asarray(at.log(j) - at.log(j, complement=True))


RATIOS = {  # logarithms, by sensitivity and specificity
    "positive": SumOfParts(lambda at: at.log(0), lambda at: -at.log(1, complement=True)),
    "negative": SumOfParts(lambda at: at.log(0, complement=True), lambda at: -at.log(1)),
    "dor": SumOfParts(lambda at: _log_odds(at, 0), lambda at: _log_odds(at, 1)),
}


def summary_point(
    tree: xr.DataTree,
    newdata: NewData = None,
    *,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Sensitivity, specificity and false-positive rate of a test at the summary point.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.predict`. By default every combination of categories in the data.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, as for `bm.estimates`; "z" is what other
        software has.

    Returns
    -------
    DataFrame
        Indexed by the predictors, if there are any, and `quantity`: "sensitivity", "specificity", "fpr". Columns
        `estimate`, `lower`, `upper`: of a fit the transformed means, and the ends of their intervals, as proportions;
        of a posterior mean and quantiles. Sensitivity and specificity of a typical study, not of all persons together.

    Raises
    ------
    SpecError
        When the tree is not that of a diagnostic analysis, or an argument is not as above.

    References
    ----------
    Reitsma et al. (2005), J. Clin. Epidemiol. 58:982-990.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> data = bm.datasets.load("questionnaires").query("table == 1")
    >>> fit = bm.fit(bm.diagnostic.specify(data, formula="questionnaire", correction="all"))
    >>> bm.diagnostic.summary_point(fit)["estimate"].unstack().round(3)
    quantity       fpr  sensitivity  specificity
    questionnaire
    interviewer    ...
    self           ...
    """
    prob, points = check_probability(prob), Asked.of(tree, newdata, "summary_point")
    return table_of(points, _summary(points), prob, vcov, df)


def likelihood_ratios(
    tree: xr.DataTree,
    newdata: NewData = None,
    *,
    method: Method = "delta",
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Positive and negative likelihood ratio and diagnostic odds ratio of a test at the summary point.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    method : {"delta", "distribution"}, default "delta"
        Of a fit: "delta", the ratios at the summary point, with intervals by the delta method for their logarithms;
        "distribution", mean and quantiles of the ratios over the normal distribution of the two estimates, which
        Zwinderman and Bossuyt simulate, computed here; with it the covariance of `vcov` and `df`, and normal quantiles.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `quantity`: "positive", "negative", "dor". Columns `estimate`, `lower`, `upper`.
        Of a posterior mean and quantiles, infinite where ratios have no mean.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and when `method` is unknown, or not "delta" for a posterior.

    References
    ----------
    Zwinderman and Bossuyt (2008), Stat. Med. 27:687-697.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.diagnostic.likelihood_ratios(fit, df="z").round(2)
              estimate  lower  upper
    quantity
    positive      4.04   3.26   5.01
    negative      0.14   0.08   0.24
    dor          28.89  18.41  45.33
    """
    prob = check_probability(prob)
    check_choice(method, ("delta", "distribution"), "method")
    points = Asked.of(tree, newdata, "likelihood_ratios")
    quantities = [Quantity((name,), of, np.exp, given_psi=of) for name, of in RATIOS.items()]
    if method == "delta":
        return table_of(points, quantities, prob, vcov, df)
    used = reference(tree, vcov, df)
    if used is None:
        raise SpecError('method="distribution" is for fits; the ratios of a posterior have their own distribution')
    cov = points.X @ used.cov @ np.swapaxes(points.X, 1, 2)
    frame = as_table(points, list(RATIOS), over_normal(points, quantities, cov, prob))
    frame.attrs.update({"prob": prob, "method": method} | used.attrs)
    return frame


def predictive_values(
    tree: xr.DataTree,
    prevalence: float | Sequence[float],
    newdata: NewData = None,
    *,
    prevalence_sd: float | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Positive and negative predictive value of a test at the summary point, where the disease is so frequent.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    prevalence : float or sequence of float
        Proportion of diseased persons among those tested, between 0 and 1; one, or several.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    prevalence_sd : float, optional
        Standard deviation of a beta distribution about `prevalence`, where that is not known for certain.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors, `prevalence` and `quantity`: "ppv", the probability of the disease after a positive
        test, and "npv", that of its absence after a negative one. Columns `estimate`, `lower`, `upper`; where the
        prevalence is uncertain, mean and quantiles over that, too.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and when a prevalence does not lie strictly between 0 and 1, or the standard
        deviation is more than a beta distribution with that mean can have.

    Notes
    -----
    With a prevalence p, logit ppv = logit p + log LR+ and logit npv = -logit p - log LR-; intervals are symmetric on
    this scale. The sum with an uncertain logit p is taken over 512 equally probable values of each.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.diagnostic.predictive_values(fit, [0.05, 0.15], df="z").round(3)
                         estimate  lower  upper
    prevalence quantity
    0.05       ppv          0.175  0.146  0.209
               npv          0.993  0.988  0.996
    0.15       ppv          0.416  0.365  0.469
               npv          0.976  0.960  0.986
    """
    prob = check_probability(prob)
    values = proportions(prevalence, "prevalence")
    certain = prevalence_sd is None
    sizes = logit(values) if certain else logit(beta_values(values, prevalence_sd, _PARTS, "prevalence_sd"))
    points = Asked.of(tree, newdata, "predictive_values")
    by_kind = [_predictive(points, name, sizes, prob, vcov, df) for name in _PREDICTIVE]
    columns = {name: np.stack([of[name] for of in by_kind], axis=-1).reshape(len(points.X), -1) for name in STATISTICS}
    labels = [(value, name) for value in values.tolist() for name in _PREDICTIVE]
    return as_table(points, labels, columns, ("prevalence", "quantity"))


_PREDICTIVE = {  # on the logit scale, less the log odds of the disease, and the sign of these
    "ppv": (RATIOS["positive"], 1),
    "npv": (SumOfParts(lambda at: -at.log(0, complement=True), lambda at: at.log(1)), -1),
}


def _predictive(
    points: Points, name: str, odds: FloatArray, prob: float, vcov: Vcov | None, df: str | None
) -> dict[str, FloatArray]:
    """Statistics (n, m) at m log odds of the disease, (m,), or (m, parts) where they are uncertain."""
    form, sign = _PREDICTIVE[name]
    if odds.ndim == 2:
        quantity = Quantity((name,), form, expit, given_psi=form)
        return with_independent(points, quantity, list(sign * odds), prob, vcov, df)
    form = replace(form, plus=tuple(sign * odds))
    return answers(points, [Quantity((name,) * len(odds), form, expit, given_psi=form)], prob, vcov, df)
