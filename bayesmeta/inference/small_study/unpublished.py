"""The rank correlation of effects with their variances, and how many studies without effect would undo a result."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_number, check_probability, shown
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.small_study.evidence import Evidence, evidence, result

EXACT_RANKS = 50  # effects up to which the distribution of tau is exact where nothing ties, as in R
MOST_STUDIES = 10**9  # beyond which no number of studies is looked for
_ROUNDING = 1e-8
_INDEPENDENT = 'egger(tree, vcov="CR2") is for dependent effects'

type Kind = Literal["rosenthal", "orwin", "rosenberg", "general"]
KINDS = ("rosenthal", "orwin", "rosenberg", "general")


def rank(tree: xr.DataTree, *, outcome: str | None = None) -> xr.Dataset:
    """Begg's test: the rank correlation of standardised effects with their sampling variances.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors and of independent effects.
    outcome : str, optional
        The outcome that is tested; required for a model with several.

    Returns
    -------
    Dataset
        Scalars: Kendall's `tau`, its `pvalue`, exact up to 49 effects without ties, and `k`.

    Raises
    ------
    SpecError
        When the model has predictors, effects are dependent, or the tree is a posterior.
    DataError
        When there are fewer than three effects, or all have the same variance.

    Notes
    -----
    Effects are standardised by their common-effect mean and the variance of their distance from it. At least three
    effects; the test has little power with fewer than 25.

    References
    ----------
    Begg and Mazumdar (1994), Biometrics 50:1088-1101.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> test = bm.small_study.rank(fit)
    >>> test["tau"].round(4).item(), test["pvalue"].round(4).item()
    (0.0256, 0.9524)
    """
    from scipy.stats import kendalltau

    of = evidence(tree, outcome, "rank")
    of.check_independent(_INDEPENDENT)
    of.check_intercept_alone()
    of.check_unequal(of.v, "the sampling variance")
    w = 1 / of.v
    centred = (of.y - np.average(of.y, weights=w)) / np.sqrt(of.v - 1 / w.sum())
    ties = min(len(np.unique(centred)), len(np.unique(of.v))) < of.n
    exact = of.n < EXACT_RANKS and not ties
    test = kendalltau(centred, of.v, method="exact" if exact else "asymptotic")
    return result({"tau": float(test.statistic), "pvalue": float(test.pvalue), "k": of.n}, of.attrs(exact=int(exact)))


def fail_safe(
    tree: xr.DataTree,
    kind: Kind = "rosenthal",
    *,
    alpha: float = 0.05,
    target: float | None = None,
    outcome: str | None = None,
) -> xr.Dataset:
    """How many studies without any effect would have to lie in drawers to undo the result (fail-safe N).

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors and of independent effects.
    kind : {"rosenthal", "orwin", "rosenberg", "general"}, default "rosenthal"
        "rosenthal": until the sum of z values is not significant, one-sided. "rosenberg": until the common-effect
        estimate is not, two-sided. "general": until the estimate of the model of the tree is not, or is no larger than
        `target`. "orwin": until the common-effect estimate is no larger than `target`.
    alpha : float, default 0.05
        Level of significance, between 0 and 1; "orwin" has no use for it.
    target : float, optional
        For "orwin" and "general": the effect that is too small to matter, in the unit of the effects. By default half
        the estimate for "orwin", and none for "general".
    outcome : str, optional
        The outcome; required for a model with several.

    Returns
    -------
    Dataset
        Scalars: `n`, infinite where no number does; `target` and `pvalue`, that of the observed effects, NaN where the
        kind has none; `alpha`; `k`, the number of effects.

    Raises
    ------
    SpecError
        When an argument is wrong or does not belong to the kind, the model has predictors, effects are dependent, or
        "general" is asked of a model that is not of one level.
    DataError
        When there are fewer than two effects.

    Notes
    -----
    At least two effects. A large number is no evidence that there is no bias: hidden studies are taken to have no
    effect on average, though those that selection leaves out have contrary ones (Becker 2005, in: Publication Bias in
    Meta-Analysis, Wiley, 111-125). For "general" the hidden studies have the harmonic mean of the sampling variances
    and the heterogeneity of the others, and tau2 is that of all together.

    References
    ----------
    Rosenthal (1979), Psychol. Bull. 86:638-641; Orwin (1983), J. Educ. Stat. 8:157-159; Rosenberg (2005), Evolution
    59:464-468.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"))
    >>> {kind: int(bm.small_study.fail_safe(fit, kind)["n"]) for kind in ("rosenthal", "rosenberg", "orwin")}
    {'rosenthal': 607, 'rosenberg': 348, 'orwin': 13}
    """
    check_choice(kind, KINDS, "kind")
    check_probability(alpha, "alpha")
    of = evidence(tree, outcome, "fail_safe", least=2)
    of.check_independent(_INDEPENDENT)
    of.check_intercept_alone()
    if target is not None:
        target = abs(check_number(target, "target"))
        if kind not in ("orwin", "general"):
            raise SpecError(f'target={shown(target)} is for kind="orwin" and "general"; leave it out for "{kind}"')
    n, target, p = _KINDS[kind](of, alpha, target)
    numbers = {"n": n, "target": np.nan if target is None else target, "pvalue": p, "alpha": alpha, "k": of.n}
    return result(numbers, of.attrs(kind=kind))


type _Answer = tuple[float, float | None, float]


def _rosenthal(of: Evidence, alpha: float, target: float | None) -> _Answer:
    z = abs(float((of.y / np.sqrt(of.v)).sum())) / np.sqrt(of.n)
    return _whole(of.n * ((z / -ndtri(alpha)) ** 2 - 1)), None, float(ndtr(-z))


def _rosenberg(of: Evidence, alpha: float, target: float | None) -> _Answer:
    w = 1 / of.v
    z = abs(float((w * of.y).sum())) / np.sqrt(w.sum())
    return _whole(of.n * ((z / -ndtri(alpha / 2)) ** 2 - 1)), None, float(2 * ndtr(-z))


def _orwin(of: Evidence, alpha: float, target: float | None) -> _Answer:
    estimate = float(np.average(of.y, weights=1 / of.v))
    target = abs(estimate) / 2 if target is None else target
    signed = float(np.copysign(target, estimate))
    n = np.inf if target == 0 and estimate != 0 else 0.0 if estimate == 0 else _whole(of.n * (estimate / signed - 1))
    return n, signed, np.nan


def _general(of: Evidence, alpha: float, target: float | None) -> _Answer:
    of.check_one_level(_INDEPENDENT)
    now, p = _with_hidden(of, 0)
    if target is None:
        return _least(lambda n: _with_hidden(of, n)[1] >= alpha), None, p
    signed = float(np.copysign(target, now))
    if target == 0:
        return (np.inf if now != 0 else 0.0), signed, p
    return _least(lambda n: abs(_with_hidden(of, n)[0]) <= target), signed, p


_KINDS: dict[str, Callable[[Evidence, float, float | None], _Answer]] = {
    "rosenthal": _rosenthal,
    "orwin": _orwin,
    "rosenberg": _rosenberg,
    "general": _general,
}


def _with_hidden(of: Evidence, n: int) -> tuple[float, float]:
    """Estimate and p value with n studies more that have no effect on average."""
    typical, k = 1 / float(np.mean(1 / of.v)), of.n
    tau2 = 0.0 if method_of(of.tree).zero_psi else of.tau2
    estimate = _mean(of.y, of.v + tau2)
    if n and tau2:
        pooled = k * estimate / (k + n)
        between = k * (estimate - pooled) ** 2 + n * pooled**2
        tau2 = ((k - 1 + max(0, n - 1)) * tau2 + between) / (k + n - 1)
    w, hidden = 1 / (of.v + tau2), n / (typical + tau2)
    total = float(w.sum()) + hidden
    effect = float((w * of.y).sum()) / total
    return effect, float(2 * ndtr(-abs(effect) * np.sqrt(total)))


def _mean(y: FloatArray, v: FloatArray) -> float:
    return float(np.average(y, weights=1 / v))


def _least(enough: Callable[[int], bool]) -> float:
    """The least whole number that is enough, of a property that all larger ones have."""
    if enough(0):
        return 0.0
    low, high = 0, 1
    while not enough(high):
        low, high = high, 2 * high
        if high > MOST_STUDIES:
            return np.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return float(high)


def _whole(n: float) -> float:
    """The next whole number, unless rounding alone separates it from one; at least 0."""
    nearest = float(np.round(n))
    return max(0.0, nearest if abs(n - nearest) < _ROUNDING else float(np.ceil(n)))
