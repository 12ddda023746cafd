"""Summary ROC curves: HSROC parameters, curves by several definitions, and the areas under them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit, logit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_probability
from bayesmeta.diagnostic.bivariate import Asked
from bayesmeta.errors import AssumptionWarning, BoundaryWarning, SpecError, warn
from bayesmeta.inference.outcome_lines import SLOPES as SLOPES
from bayesmeta.inference.outcome_lines import Lines, check_kind, evenly
from bayesmeta.inference.quantities import Along, NewData, Points, Quantity, Truth, as_table
from bayesmeta.inference.quantity_answers import answers, mention_no_interval
from bayesmeta.inference.reference import Vcov
from bayesmeta.io.arrays import proportions, two_proportions
from bayesmeta.tree.posterior_draws import is_posterior

Kind = Literal["rutter-gatsonis", "eta-xi", "xi-eta", "moses-littenberg", "major-axis"]
_GRID = 101  # points of a curve


def hsroc(
    tree: xr.DataTree,
    newdata: NewData = None,
    *,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Parameters of the hierarchical summary ROC model that is the same as the bivariate one.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `quantity`: "Lambda", the accuracy; "Theta", the threshold; "beta", the asymmetry
        of the curve; "sigma2_alpha" and "sigma2_theta", the variances of accuracy and threshold between studies.
        Columns `estimate`, `lower`, `upper`: normal intervals, of the variances on the scale of their logarithms; of a
        posterior mean and quantiles. NaN where a variance between studies is zero.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and for a link other than the logit, which the model is defined by.

    Warns
    -----
    BoundaryWarning
        When there are no intervals, because Psi lies at the edge of its range.

    Notes
    -----
    With mu_A, mu_B, sigma_A and sigma_B of logit sensitivity and specificity, and their covariance sigma_AB: beta =
    log(sigma_B / sigma_A), Lambda = e^(beta/2) mu_A + e^(-beta/2) mu_B, Theta = (e^(beta/2) mu_A - e^(-beta/2) mu_B)/2,
    sigma2_alpha = 2 (sigma_A sigma_B + sigma_AB) and sigma2_theta = (sigma_A sigma_B - sigma_AB)/2.

    References
    ----------
    Rutter and Gatsonis (2001), Stat. Med. 20:2865-2884; Harbord, Deeks, Egger, Whiting and Sterne (2007), Biostatistics
    8:239-251, section 3.2.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.diagnostic.hsroc(fit)["estimate"].round(3).to_dict()  # doctest: +NORMALIZE_WHITESPACE
    {'Lambda': 3.262, 'Theta': -0.083, 'beta': -0.61, 'sigma2_alpha': 0.218, 'sigma2_theta': 0.695}
    """
    prob, points = check_probability(prob), Asked.of(tree, newdata, "hsroc")
    if {link.name for link in points.links} != {"logit"}:
        names = " and ".join(dict.fromkeys(link.name for link in points.links))
        raise SpecError(f"hsroc: the model is defined for logits, and this one is on the scale {names}")
    quantities = [
        Quantity(("Lambda", "Theta"), _location, between=True, given_psi=Along(_scales)),
        Quantity(("beta",), _asymmetry, between=True, given_psi="known"),
        Quantity(("sigma2_alpha", "sigma2_theta"), _log_variances, np.exp, between=True, given_psi="known"),
    ]
    columns = answers(points, quantities, prob, vcov, df)
    mention_no_interval(columns, "hsroc")
    return as_table(points, [name for each in quantities for name in each.names], columns)


def _asymmetry(at: Truth) -> FloatArray:
    return np.asarray(np.log(at.psi[..., 1, 1] / at.psi[..., 0, 0])[..., None] / 2)


def _scales(at: Truth) -> FloatArray:
    """(..., 2, 2) of the means in Lambda and in Theta."""
    first, second = np.exp(_asymmetry(at)[..., 0] / 2), np.exp(-_asymmetry(at)[..., 0] / 2)
    return np.stack([np.stack([first, second], axis=-1), np.stack([first, -second], axis=-1) / 2], axis=-2)


def _location(at: Truth) -> FloatArray:
    return np.asarray((_scales(at) @ at.mean[..., None])[..., 0])


def _log_variances(at: Truth) -> FloatArray:
    product, both = np.sqrt(at.psi[..., 0, 0] * at.psi[..., 1, 1]), at.psi[..., 0, 1]
    return np.log(np.maximum(np.stack([2 * (product + both), (product - both) / 2], axis=-1), 0.0))


def sroc(
    tree: xr.DataTree,
    kind: Kind | str = "rutter-gatsonis",
    fpr: Sequence[float] | FloatArray | None = None,
    newdata: NewData = None,
    *,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """A summary ROC curve: sensitivity by false-positive rate.

    Every curve is a line through the summary point in the plane of xi, the transformed false-positive rate, and eta,
    the transformed sensitivity; the definitions differ in its slope.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    kind : str, default "rutter-gatsonis"
        "rutter-gatsonis", slope sigma_eta / sigma_xi, the curve of the HSROC model; "eta-xi", the regression of eta on
        xi, called "naive" elsewhere; "xi-eta", that of xi on eta; "moses-littenberg", that of eta - xi on eta + xi,
        from the model rather than from the points; "major-axis", the major axis of the ellipse of both.
    fpr : sequence of float, optional
        False-positive rates, strictly between 0 and 1. By default 101 over the range of those observed, beyond which a
        curve says what no study has seen.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `fpr`: columns `estimate`, the sensitivity on the curve, and `lower` and `upper`,
        pointwise: normal on the scale of the model, of a posterior quantiles of the draws. NaN without a Psi that has
        errors, and where a curve is not defined.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and when `kind` is unknown, or a rate does not lie between 0 and 1.

    Warns
    -----
    AssumptionWarning
        When studies with higher sensitivity also have higher specificity, which no threshold explains.
    BoundaryWarning
        When there is no curve, because a variance between studies is zero, or no interval.

    References
    ----------
    Arends, Hamza, van Houwelingen, Heijenbrok-Kal, Hunink and Stijnen (2008), Med. Decis. Making 28:621-638.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.diagnostic.sroc(fit, fpr=[0.1, 0.2, 0.5])["estimate"].round(4).to_dict()
    {0.1: 0.5942, 0.2: 0.8669, 0.5: 0.9882}
    """
    kind, prob, points = check_kind(kind), check_probability(prob), Asked.of(tree, newdata, "sroc")
    at = evenly(seen(points), _GRID) if fpr is None else np.tile(proportions(fpr, "fpr"), (len(points.X), 1))
    mention_slope(points, kind)
    inverse = points.links[0].inverse
    rising = Along(lambda truth: np.repeat(Lines.of(truth, kind).weights, at.shape[1], axis=-2))
    quantity = Quantity((), lambda truth: Lines.of(truth, kind).at(at[:, None]), inverse, True, rising)
    columns = answers(points, [quantity], prob, vcov, df)
    mention_no_interval(columns, "sroc")
    return as_table(points, at, columns, "fpr")


def seen(points: Asked) -> FloatArray:
    """(n, 2) the smallest and the largest false-positive rate observed, half a person from 0 and 1.

    By the tables with the categories of each of the points, by all where there are none.
    """
    accuracy = points.accuracy
    known = accuracy.spec.kept & ~np.isnan(accuracy.tables.fpr)
    half = 0.5 / accuracy.tables.healthy
    rates = np.clip(accuracy.tables.fpr, half, 1 - half)
    ends = []
    for _, row in points.labels.iterrows():
        alike = known & np.all([accuracy.spec.data[name] == row[name] for name in points.categories], axis=0)
        own = rates[alike if alike.any() else known]
        ends.append([own.min(), own.max()])
    return np.array(ends)


def mention_slope(points: Points, kind: str) -> None:
    """Warn of a curve that is not defined, and of one that does not show the trade-off of a threshold."""
    at = points.draws if is_posterior(points.tree) else points.fitted
    if Lines.of(at, kind).flat.all(1).any():
        sizes = np.diagonal(at.psi, axis1=-2, axis2=-1).max((0, 1))
        warn(
            f"no curve {kind!r}: variances between studies of {sizes[0]:.3g} (sensitivity) and {sizes[1]:.3g} "
            "(specificity) do not determine its slope",
            BoundaryWarning,
        )
    elif (np.median(at.psi[..., 0, 1], axis=1) > 0).any():
        warn(
            "sensitivity and specificity are positively correlated between studies, which different thresholds cannot "
            f"explain\n  a curve ({kind!r}) has no meaning as one of thresholds; take the summary point",
            AssumptionWarning,
        )


def auc(
    tree: xr.DataTree,
    kind: Kind | str = "rutter-gatsonis",
    within: tuple[float, float] | None = None,
    newdata: NewData = None,
    *,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Areas under a summary ROC curve: all of it, and the part over false-positive rates that studies have observed.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    kind : str, default "rutter-gatsonis"
        Definition of the curve, see `bm.diagnostic.sroc`.
    within : (float, float), optional
        False-positive rates between which the partial area is taken. By default the range of those observed.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `quantity`: "auc"; "partial", the area between the rates of `within`, divided by
        their distance, the mean sensitivity there; "q_star", sensitivity and specificity where the curve has them
        equal. Columns `estimate`, `lower`, `upper`: of a fit normal intervals on the logit scale; `fpr_lower` and
        `fpr_upper`, the rates between which an area is taken.

    Raises
    ------
    SpecError
        As `bm.diagnostic.sroc`, and when `within` is not two increasing rates.

    Warns
    -----
    AssumptionWarning, BoundaryWarning
        As `bm.diagnostic.sroc`.

    References
    ----------
    Walter (2002), Stat. Med. 21:1237-1256; Moses, Shapiro and Littenberg (1993), Stat. Med. 12:1293-1316, of Q*.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> bm.diagnostic.auc(fit)["estimate"].round(4).to_dict()
    {'auc': ..., 'partial': ..., 'q_star': ...}
    """
    kind, prob, points = check_kind(kind), check_probability(prob), Asked.of(tree, newdata, "auc")
    between = seen(points) if within is None else np.tile(two_proportions(within, "within"), (len(points.X), 1))
    whole = np.tile([0.0, 1.0], (len(points.X), 1))
    mention_slope(points, kind)
    rising = Along(lambda at: Lines.of(at, kind).weights, linear=False)
    areas: dict[str, Callable[[Lines], FloatArray]] = {
        "auc": lambda lines: lines.area(whole),
        "partial": lambda lines: lines.area(between),
        "q_star": Lines.crossing,
    }
    quantities = [Quantity((name,), partial(_area, kind, of), expit, True, rising) for name, of in areas.items()]
    columns = answers(points, quantities, prob, vcov, df)
    mention_no_interval(columns, "auc")
    over = np.stack([whole, between, np.full(whole.shape, np.nan)], axis=1)
    columns |= {"fpr_lower": over[..., 0], "fpr_upper": over[..., 1]}
    frame = as_table(points, [name for each in quantities for name in each.names], columns)
    frame.attrs.update(kind=kind, prob=prob)
    return frame


def _area(kind: str, of: Callable[[Lines], FloatArray], at: Truth) -> FloatArray:
    return np.asarray(logit(of(Lines.of(at, kind)))[..., None])
