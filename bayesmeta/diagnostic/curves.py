"""Summary ROC curves: HSROC parameters, curves by several definitions, and the areas under them."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import expit, logit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability, is_number, shown
from bayesmeta.diagnostic.bivariate import Asked
from bayesmeta.errors import AssumptionWarning, BoundaryWarning, SpecError, warn
from bayesmeta.inference.quantities import (
    Along,
    NewData,
    Points,
    Quantity,
    Truth,
    answers,
    as_table,
    mention_no_interval,
)
from bayesmeta.inference.reference import Vcov
from bayesmeta.io.arrays import proportions
from bayesmeta.tree.posterior_draws import is_posterior

Kind = Literal["rutter-gatsonis", "eta-xi", "xi-eta", "moses-littenberg", "major-axis"]
_GRID = 101  # points of a curve
_NODES, _PIECES, _FAR = 16, 24, 36.0  # of Gauss-Legendre quadrature; its pieces; logit of the least false-positive rate
_HALVINGS = 60
_FLAT = 1e-12  # of a variance between studies, to that of the other outcome


class Spread:
    """Variances of eta, the transformed sensitivity, of xi, minus the transformed specificity, and their covariance."""

    def __init__(self, at: Truth) -> None:
        self.eta, self.xi, self.both = at.psi[..., 0, 0], at.psi[..., 1, 1], -at.psi[..., 0, 1]


def _major_axis(v: Spread) -> FloatArray:
    apart = v.eta - v.xi
    return np.asarray((apart + np.sqrt(apart**2 + 4 * v.both**2)) / (2 * v.both))


# slope of the line eta = intercept + slope xi through the summary point (Arends et al. 2008, section 3.3)
SLOPES: dict[str, Callable[[Spread], FloatArray]] = {
    "rutter-gatsonis": lambda v: np.sqrt(v.eta / v.xi),
    "eta-xi": lambda v: v.both / v.xi,
    "xi-eta": lambda v: v.eta / v.both,
    "moses-littenberg": lambda v: (v.eta + v.both) / (v.xi + v.both),
    "major-axis": _major_axis,
}
_SYNONYMS = {
    "rutter-gatsonis": ("ruttergatsonis", "hsroc", "rg"),
    "eta-xi": ("naive", "eta on xi"),
    "xi-eta": ("xi on eta",),
    "moses-littenberg": ("d on s", "moses"),
    "major-axis": ("ma",),
}


def check_kind(kind: Any) -> str:
    """A definition of the curve, by its name or another one."""
    return check_choice(kind, SLOPES, "kind", _SYNONYMS.__getitem__)


def _line(at: Truth, kind: str) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope of the line in the plane of xi and eta."""
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = SLOPES[kind](Spread(at))
        return at.mean[..., 0] + slope * at.mean[..., 1], slope


def _weights(at: Truth, kind: str) -> FloatArray:
    """(..., 1, 2) of the means in the intercept."""
    slope = _line(at, kind)[1]
    return np.stack([np.ones_like(slope), slope], axis=-1)[..., None, :]


def _eta(at: Truth, kind: str, fpr: FloatArray) -> FloatArray:
    """(n, B, m) transformed sensitivity on the curve at false-positive rates (n, 1, m)."""
    intercept, slope = _line(at, kind)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(intercept[..., None] - slope[..., None] * at.links[1].forward(1 - fpr))


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
    at = _evenly(seen(points), _GRID) if fpr is None else np.tile(proportions(fpr, "fpr"), (len(points.X), 1))
    mention_slope(points, kind)
    inverse = points.links[0].inverse
    rising = Along(lambda truth: np.repeat(_weights(truth, kind), at.shape[1], axis=-2))
    quantity = Quantity((), lambda truth: _eta(truth, kind, at[:, None]), inverse, between=True, given_psi=rising)
    columns = answers(points, [quantity], prob, vcov, df)
    mention_no_interval(columns, "sroc")
    return as_table(points, at, columns, "fpr")


def _evenly(ends: FloatArray, n: int) -> FloatArray:
    """(..., n) values from one end to the other of (..., 2)."""
    return np.asarray(ends[..., :1] + (ends[..., 1:] - ends[..., :1]) * np.linspace(0, 1, n))


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
    v, slope = Spread(at), _line(at, kind)[1]
    flat = (v.xi <= _FLAT * v.eta) | (v.eta <= _FLAT * v.xi) | ~np.isfinite(slope)
    if flat.all(1).any():
        warn(
            f"no curve {kind!r}: variances between studies of {v.eta.max():.3g} (sensitivity) and {v.xi.max():.3g} "
            "(specificity) do not determine its slope",
            BoundaryWarning,
        )
    elif (np.median(v.both, axis=1) < 0).any():
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
    between = seen(points) if within is None else np.tile(_pair(within), (len(points.X), 1))
    whole = np.tile([0.0, 1.0], (len(points.X), 1))
    mention_slope(points, kind)
    rising = Along(lambda at: _weights(at, kind), linear=False)
    areas = {
        "auc": lambda at: _area(at, kind, whole),
        "partial": lambda at: _area(at, kind, between),
        "q_star": lambda at: _q_star(at, kind),
    }
    quantities = [
        Quantity((name,), partial(_logit_of, area), expit, between=True, given_psi=rising)
        for name, area in areas.items()
    ]
    columns = answers(points, quantities, prob, vcov, df)
    mention_no_interval(columns, "auc")
    over = np.stack([whole, between, np.full(whole.shape, np.nan)], axis=1)
    columns |= {"fpr_lower": over[..., 0], "fpr_upper": over[..., 1]}
    frame = as_table(points, [name for each in quantities for name in each.names], columns)
    frame.attrs.update(kind=kind, prob=prob)
    return frame


def _logit_of(area: Callable[[Truth], FloatArray], at: Truth) -> FloatArray:
    return np.asarray(logit(area(at))[..., None])


def _pair(within: Any) -> tuple[float, float]:
    pair = list(within) if isinstance(within, Sequence | np.ndarray) and not isinstance(within, str) else []
    if len(pair) != 2 or not all(map(is_number, pair)) or not 0 <= pair[0] < pair[1] <= 1:
        raise SpecError(f"within is {shown(within)}; it must be two rates from 0 to 1, the smaller one first")
    return float(pair[0]), float(pair[1])


def _area(at: Truth, kind: str, within: FloatArray) -> FloatArray:
    """(n, B) mean sensitivity over the false-positive rates between two (n, 2).

    By Gauss-Legendre quadrature over their logits, in which the integrand is smooth; a piece at a time, since there may
    be thousands of draws.
    """
    edges = _evenly(np.clip(logit(within), -_FAR, _FAR), _PIECES + 1)
    (intercept, slope), (z, w) = _line(at, kind), np.polynomial.legendre.leggauss(_NODES)
    total, weights = np.zeros(at.mean.shape[:-1]), np.zeros((len(within), 1))
    for low, high in zip(edges.T[:-1], edges.T[1:], strict=True):
        half = ((high - low) / 2)[:, None]
        x = ((low + high) / 2)[:, None] + half * z
        weight = half * w * expit(x) * expit(-x)
        eta = intercept[..., None] - slope[..., None] * at.links[1].forward(expit(-x))[:, None]
        total += np.einsum("nbm,nm->nb", at.links[0].inverse(eta), weight)
        weights += weight.sum(1, keepdims=True)
    return np.clip(total / weights, 0.0, 1.0)


def _q_star(at: Truth, kind: str) -> FloatArray:
    """Where the curve crosses the line of equal sensitivity and specificity, by halving in the false-positive rate."""
    intercept, slope = _line(at, kind)
    low, high = np.zeros(slope.shape), np.ones(slope.shape)
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = at.links[0].inverse(intercept - slope * at.links[1].forward(1 - middle)) > 1 - middle
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(np.isfinite(slope), 1 - low, np.nan)
