"""What to expect of a planned study: whether it succeeds, and how much more is known after it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import logit, ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_number, check_probability, shown
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.errors import SpecError
from bayesmeta.inference.map_priors import NewEffect, new_effect
from bayesmeta.io.arrays import as_numbers
from bayesmeta.tree.specification import reading_once

SE = "se"
NODES = 801  # estimates of the planned study, at quantiles of their predictive distribution
WIDTHS = 101  # of these, for which an interval is computed
BISECTIONS = 60


def assurance(
    tree: xr.DataTree,
    se: float | Sequence[float],
    below: float | None = None,
    above: float | None = None,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    outcome: str | None = None,
    probability: float = 0.975,
    prob: float = 0.95,
) -> xr.Dataset:
    """What to expect of a planned study: the probabilities that it succeeds, and how much more will be known after it.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`, also read back from a file: what is known before.
    se : float or sequence of float
        Standard errors that the estimate of the planned study may have, on the scale of the model, positive: the larger
        the study, the smaller.
    below, above : float
        The threshold that the effect should lie beyond, on the scale of the model; one of the two.
    newdata : DataFrame or mapping, optional
        One row with the predictors of the planned study, as for `bm.predict`. By default `{}`.
    outcome : str, optional
        Of a model of several outcomes the one that is planned for.
    probability : float, default 0.975
        That the posterior must give to effects beyond the threshold for success, between 0 and 1; of the study alone
        the same for its own normal distribution, as a one-sided test at one minus it.
    prob : float, default 0.95
        Probability of the intervals whose width is told, between 0 and 1.

    Returns
    -------
    Dataset
        Over `se`: `study`, the probability that the study alone is a success, whatever is known; `pooled`, that the
        updated meta-analysis is, of the mean effect at these predictors; `updated`, that the true effect of the study
        itself is, with the meta-analysis as its prior; `width`, the expected width of the interval of the mean effect
        after it, and `study_width`, that of the study's true effect. 0-d: `width_now` and `study_width_now`, the same
        before; `probability_now`, that the mean lies beyond the threshold. Attributes: the threshold, `probability`,
        `prob`.

    Raises
    ------
    SpecError
        When the tree is no posterior, no engine without Markov chains takes the model, neither or both thresholds are
        given, a standard error is not positive, an argument is out of range, or the planned study is not one row.

    See Also
    --------
    bayesmeta.map_prior : The prior that the meta-analysis is for the study.

    Notes
    -----
    Estimates of the study are averaged over their predictive distribution: uncertainty of the mean, differences between
    studies, and sampling error. For each the posterior is updated exactly: weights of the points by the density of the
    estimate there, coefficients by Bayes' theorem for normal distributions.

    References
    ----------
    O'Hagan, Stevens and Campbell (2005), Pharm. Stat. 4:187-201; Sutton et al. (2007), Stat. Med. 26:2479-2500, for
    studies planned from a meta-analysis.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1)
    >>> bm.assurance(post, [0.1, 0.3], below=0)[["study", "updated"]].to_dataframe().round(2)
         study  updated
    se
    0.1   0.80     0.81
    0.3   0.58     0.64
    """
    if (below is None) == (above is None):
        raise SpecError("assurance takes one threshold: below=0 or above=0")
    name, value = ("below", below) if above is None else ("above", above)
    threshold, side = check_number(value, name), 1.0 if name == "above" else -1.0
    probability, prob = check_probability(probability, "probability"), check_probability(prob)
    errors = _errors(se)
    with reading_once():
        effect = new_effect(tree, newdata, outcome, "assurance")
    upward = effect._replace(mean=side * (effect.mean - threshold))  # success is above zero
    planned = [_Planned(upward, each) for each in errors]
    before = _Planned(upward, np.inf)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # of effects that are certain
        return _expected(planned, before, effect, probability, prob).assign_attrs(
            {name: threshold, "probability": probability, "prob": prob}
        )


def _expected(
    planned: Sequence["_Planned"], before: "_Planned", effect: NewEffect, probability: float, prob: float
) -> xr.Dataset:
    """The table of `assurance`."""
    variables: dict[str, Any] = {
        "study": (SE, [each.alone(probability) for each in planned]),
        "pooled": (SE, [each.success(effect.own, probability) for each in planned]),
        "updated": (SE, [each.success(effect.own + effect.between, probability) for each in planned]),
        "width": (SE, [each.width(effect.own, prob) for each in planned]),
        "study_width": (SE, [each.width(effect.own + effect.between, prob) for each in planned]),
        "width_now": ((), before.width(effect.own, prob)),
        "study_width_now": ((), before.width(effect.own + effect.between, prob)),
        "probability_now": ((), float(effect.weight @ ndtr(before.effect.mean / np.sqrt(effect.own)))),
    }
    return xr.Dataset(variables, {SE: [each.se for each in planned]})


def _errors(se: Any) -> FloatArray:
    """(m,) standard errors that are asked about."""
    if not isinstance(se, list | tuple | range | np.ndarray | pd.Series) or getattr(se, "ndim", 1) == 0:
        return np.array([check_number(se, "se", above=0)])
    values = as_numbers(se, "se", SpecError)
    if values.ndim != 1 or not len(values):
        raise SpecError(f"se is {shown(se)}; it must be a number or a list of them")
    return np.array([check_number(float(each), "se", above=0) for each in values])


@dataclass(frozen=True, eq=False)
class _Planned:
    """A study of which the estimate is normal about its effect, with a standard error; infinite for none."""

    effect: NewEffect
    se: float

    @property
    def variance(self) -> FloatArray:
        """(n,) of the estimate given every point."""
        return self.effect.own + self.effect.between + self.se**2

    def alone(self, probability: float) -> float:
        """Probability that the estimate exceeds what a test of the study alone asks for."""
        return float(
            self.effect.weight @ ndtr((self.effect.mean - ndtri(probability) * self.se) / np.sqrt(self.variance))
        )

    def _estimates(self, n: int) -> FloatArray:
        """(n,) at the middles of n parts of equal probability of their predictive distribution."""
        own = Normals(self.effect.weight, self.effect.mean[:, None], np.sqrt(self.variance)[:, None])
        return own.quantile((np.arange(n) + 0.5) / n)[:, 0]

    def _after(self, share: FloatArray, y: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Weights (n, m), means (n, m) and SDs (n, 1) of what has the variance `share` (n,) before, after estimates."""
        mean, variance = self.effect.mean[:, None], self.variance[:, None]
        with np.errstate(divide="ignore"):
            log = np.log(self.effect.weight)[:, None] - np.log(variance) / 2 - (y - mean) ** 2 / variance / 2
        weight = np.exp(log - log.max(0))
        spread = np.sqrt(share[:, None] * (1 - share[:, None] / variance))
        return weight / weight.sum(0), mean + share[:, None] / variance * (y - mean), spread

    def success(self, share: FloatArray, probability: float) -> float:
        """Probability of estimates after which a probability above zero exceeds what is asked for."""
        weight, mean, sd = self._after(share, self._estimates(NODES))
        sure = logit(np.clip((weight * ndtr(mean / sd)).sum(0), 1e-300, 1 - 1e-16)) - logit(probability)
        p = (np.arange(NODES) + 0.5) / NODES
        inside = np.where(sure > 0, 1.0, 0.0)
        total = float(inside.mean())
        for i in np.flatnonzero(np.diff(inside)):  # where the line between two estimates crosses, not halfway
            at = p[i] + (p[i + 1] - p[i]) * sure[i] / (sure[i] - sure[i + 1])
            total += float((at - (p[i] + p[i + 1]) / 2) * (1 if inside[i] else -1))
        return total

    def width(self, share: FloatArray, prob: float) -> float:
        """Expected width of an equal-tailed interval after the study; that before it for an infinite error."""
        if np.isinf(self.se):
            own = Normals(self.effect.weight, self.effect.mean[:, None], np.sqrt(share)[:, None])
            lower, upper = own.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))[:, 0]
            return float(upper - lower)
        parts = self._after(share, self._estimates(WIDTHS))
        return float((_roots(*parts, (1 + prob) / 2) - _roots(*parts, (1 - prob) / 2)).mean())


def _roots(weight: FloatArray, mean: FloatArray, sd: FloatArray, p: float) -> FloatArray:
    """(m,) quantiles of mixtures of different weights (n, m), by bisection."""
    own = mean + ndtri(p) * sd
    low, high = own.min(0), own.max(0)
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        under = (weight * ndtr((middle - mean) / sd)).sum(0) < p
        low, high = np.where(under, middle, low), np.where(under, high, middle)
    return (low + high) / 2
