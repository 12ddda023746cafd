"""Scales on which sensitivities and specificities are taken as normal: each a function of a proportion, and back."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from scipy.special import expit, logit, ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, entries, is_number, shown
from bayesmeta.errors import SpecError

LinkName = Literal["logit", "probit", "cloglog"]
_STEPS, _CLOSE = 200, 1e-13  # of Newton's iteration to the proportion of a value on the scale t_alpha


@dataclass(frozen=True)
class Link:
    """A transformation of proportions.

    name : of it.  forward, inverse : to its scale and back.  slope : its derivative at a proportion.
    measure : the effect measure that is read by it, None where there is none.
    smooth : whether the inverse is analytic within pi / 2 of the real axis.
    """

    name: str
    forward: Callable[[FloatArray], FloatArray]
    inverse: Callable[[FloatArray], FloatArray]
    slope: Callable[[FloatArray], FloatArray]
    measure: str | None = None
    smooth: bool = True

    def variance(self, p: FloatArray, n: FloatArray) -> FloatArray:
        """Of a transformed proportion p of n persons, by the delta method."""
        return np.asarray(self.slope(p) ** 2 * p * (1 - p) / n)


def _loglog_slope(p: FloatArray) -> FloatArray:
    return np.asarray(-1 / ((1 - p) * np.log1p(-p)))


LINKS = {
    "logit": Link("logit", logit, expit, lambda p: 1 / (p * (1 - p)), "logit"),
    "probit": Link("probit", ndtri, ndtr, lambda p: np.sqrt(2 * np.pi) * np.exp(ndtri(p) ** 2 / 2), "probit"),
    "cloglog": Link("cloglog", lambda p: np.log(-np.log1p(-p)), lambda x: -np.expm1(-np.exp(x)), _loglog_slope),
}


def links_of(link: Any) -> tuple[Link, Link]:
    """Those of sensitivity and specificity: a name for both, or alpha of t_alpha for each."""
    if isinstance(link, str):
        known = LINKS[check_choice(link, LINKS, "link")]
        return known, known
    pair = entries(link)
    if len(pair) != 2 or not all(is_number(alpha) and 0 <= float(alpha) <= 2 for alpha in pair):
        raise SpecError(
            f"link is {shown(link)}; it must be one of: logit, probit, cloglog, or two numbers from 0 to 2\n"
            "  the numbers are the alpha of sensitivity and of specificity"
        )
    first, second = (t_alpha(float(alpha)) for alpha in pair)
    return first, second


def t_alpha(alpha: float) -> Link:
    """alpha log p - (2 - alpha) log(1 - p), which is the logit for alpha = 1 (Doebler et al. 2012).

    >>> link = t_alpha(0.5)
    >>> link.inverse(link.forward(np.array([0.01, 0.5, 0.99]))).round(12).tolist()
    [0.01, 0.5, 0.99]
    """
    if alpha == 1:
        return LINKS["logit"]
    beta = 2 - alpha
    return Link(
        f"t_alpha, alpha {alpha:g}",
        lambda p: alpha * np.log(p) - beta * np.log1p(-p),
        lambda x: _proportion(np.asarray(x, dtype=float), alpha),
        lambda p: alpha / p + beta / (1 - p),
        smooth=False,
    )


def _proportion(x: FloatArray, alpha: float) -> FloatArray:
    """The proportion whose t_alpha is x: 0 below the range of alpha = 0, and 1 above that of alpha = 2."""
    if alpha == 0:
        return np.asarray(-np.expm1(-np.maximum(x, 0.0) / 2))
    if alpha == 2:
        return np.asarray(np.exp(np.minimum(x, 0.0) / 2))
    # in t = logit p the function is convex or concave and rises: Newton's steps reach its root from everywhere
    t = np.where(x > 0, x / (2 - alpha), x / alpha)
    for _ in range(_STEPS):
        p = expit(t)
        value = -alpha * np.logaddexp(0, -t) + (2 - alpha) * np.logaddexp(0, t)
        step = np.nan_to_num((value - x) / (alpha * (1 - p) + (2 - alpha) * p), nan=0.0, posinf=0.0, neginf=0.0)
        t = t - step
        if np.all(np.abs(step) <= _CLOSE * (1 + np.abs(t))):
            break
    return np.asarray(expit(t))
