"""The prior that a meta-analysis is for the effect in a new study, a mixture of normal distributions."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_count, check_name, check_number, check_probability
from bayesmeta.bayes.mixtures import Normals
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import SpecError
from bayesmeta.inference.posterior_parts import whole_points
from bayesmeta.inference.prediction_rows import Rows, new_design
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import reading_once, spec_from_tree

COMPONENT = "component"
MOST = 400  # components that a mixture is worked with; more are merged
REACH = np.arange(-8.0, 8.01, 0.25)  # nodes around components, in their SDs, for integrals over the density


@dataclass(frozen=True, eq=False)
class MapPrior:
    """A mixture of normal distributions as prior of the effect in a new study: `bm.map_prior` makes one.

    Attributes
    ----------
    weight, centre, spread : array
        (components,) weights, which add up to one, means and SDs.
    sigma : float or None
        SD of one observation in the planned study, that effective sample sizes are in units of.
    """

    weight: FloatArray
    centre: FloatArray
    spread: FloatArray
    sigma: float | None = None

    @property
    def _mixture(self) -> Normals:
        return Normals(self.weight, self.centre[:, None], self.spread[:, None])

    @property
    def mean(self) -> float:
        """Mean of the effect in a new study."""
        return float(self._mixture.mean[0])

    @property
    def sd(self) -> float:
        """Standard deviation of the effect in a new study."""
        return float(self._mixture.sd[0])

    def quantile(self, prob: float) -> float:
        """The value below which the effect lies with this probability, between 0 and 1."""
        return float(self._mixture.quantile(np.array([check_probability(prob)]))[0, 0])

    def below(self, value: float) -> float:
        """The probability that the effect lies below a value."""
        return float(self._mixture.below(np.array([[check_number(value, "value")]]))[0, 0])

    def ess(self, method: Literal["elir", "moment"] = "elir") -> float:
        """Effective sample size: how many observations of SD `sigma` the prior is worth.

        Parameters
        ----------
        method : {"elir", "moment"}, default "elir"
            "elir", the expected local information ratio: sigma squared times the mean of the second derivative of
            minus the log density. With n observations more it grows by n on average, whatever the prior. "moment",
            sigma squared by the variance, which heavy tails make small.

        Returns
        -------
        float
            A number of observations.

        Raises
        ------
        SpecError
            When `sigma` is not known.

        References
        ----------
        Neuenschwander, Weber, Schmidli and O'Hagan (2020), Biometrics 76:578-587.

        Examples
        --------
        >>> import bayesmeta as bm
        >>> data = {"y": [-51, -49, -36, -47, -90, -54], "se": [10.23, 6.83, 4.86, 19.68, 17.6, 11.56]}
        >>> spec = bm.specify("y ~ 1", data, se="se")
        >>> priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=88), tau=bm.priors.half_normal(44))
        >>> round(bm.map_prior(bm.sample(spec, priors, random_seed=1), sigma=88).ess("moment"))
        21
        """
        check_choice(method, ("elir", "moment"), "method")
        if self.sigma is None:
            raise SpecError("an effective sample size is in units of one observation\n  give its SD: sigma=")
        if method == "moment":
            return float(self.sigma**2 / self.sd**2)
        return float(self.sigma**2 * _information(self.weight, self.centre, self.spread))

    def robust(self, weight: float, mean: float | None = None, sd: float | None = None) -> "MapPrior":
        """The same with a vague component, for a new study that is not like the others.

        Parameters
        ----------
        weight : float
            Of the component, between 0 and 1.
        mean : float, optional
            Its mean; by default that of the prior.
        sd : float, optional
            Its SD; by default `sigma`, the information of one observation.

        Returns
        -------
        MapPrior
            With one component more.

        Raises
        ------
        SpecError
            When a number is out of range, or neither `sd` nor `sigma` is known.

        References
        ----------
        Schmidli et al. (2014), Biometrics 70:1023-1032.
        """
        weight = check_probability(weight, "weight")
        mean = self.mean if mean is None else check_number(mean, "mean")
        if sd is None and self.sigma is None:
            raise SpecError("robust needs the SD of the vague component: sd=, or sigma= of map_prior")
        sd = check_number(self.sigma if sd is None else sd, "sd", above=0)
        return MapPrior(
            np.append((1 - weight) * self.weight, weight),
            np.append(self.centre, mean),
            np.append(self.spread, sd),
            self.sigma,
        )

    def updated(self, y: float, se: float) -> "MapPrior":
        """The posterior once the new study reports an estimate and its standard error.

        Parameters
        ----------
        y, se : float
            On the scale of the model.

        Returns
        -------
        MapPrior
            Again a mixture of as many components.

        Raises
        ------
        SpecError
            When a number is not finite, or the standard error not positive.
        """
        y, se = check_number(y, "y"), check_number(se, "se", above=0)
        total = self.spread**2 + se**2
        log = np.log(self.weight) - np.log(total) / 2 - (y - self.centre) ** 2 / total / 2
        weight = np.exp(log - log.max())
        share = self.spread**2 / total
        return MapPrior(
            weight / weight.sum(),
            self.centre + share * (y - self.centre),
            self.spread * np.sqrt(1 - share),
            self.sigma,
        )

    def to_dataframe(self) -> pd.DataFrame:
        """One row for every component: `weight`, `mean`, `sd`."""
        index = pd.RangeIndex(1, len(self.weight) + 1, name=COMPONENT)
        return pd.DataFrame({"weight": self.weight, "mean": self.centre, "sd": self.spread}, index)


def map_prior(
    tree: xr.DataTree,
    newdata: pd.DataFrame | Mapping[str, Any] | None = None,
    *,
    outcome: str | None = None,
    sigma: float | None = None,
    components: int | None = None,
) -> MapPrior:
    """The meta-analytic-predictive prior: the distribution of the true effect in a new study, as a mixture of normals.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.sample`, also read back from a file.
    newdata : DataFrame or mapping, optional
        One row with the predictors of the new study, as for `bm.predict`. By default `{}`, of a model without any.
    outcome : str, optional
        Of a model of several outcomes the one that is meant.
    sigma : float, optional
        SD of one observation in the planned study, on the scale of the model, positive: what effective sample sizes
        count. For a log odds ratio about 2 / sqrt(p (1 - p)) with the event rate p.
    components : int, optional
        How many components to merge the mixture to, at least 1, for a protocol; the fewer, the coarser. By default as
        the posterior has them, up to 400.

    Returns
    -------
    MapPrior
        With `mean`, `sd`, `quantile`, `below`, `ess`, `robust`, `updated` and `to_dataframe`.

    Raises
    ------
    SpecError
        When the tree is no posterior, no engine without Markov chains takes the model, an argument is out of range, the
        outcome is unknown, or the new study is not one row.

    See Also
    --------
    bayesmeta.predict : Its mean and interval, by interval="prediction".
    bayesmeta.assurance : What to expect of the planned study.

    Notes
    -----
    Given the SDs and correlations the effect is normal, so the prior is the mixture over their posterior; nothing is
    fitted to draws. Components are merged in pairs, those that change the mixture least first (Runnalls 2007, IEEE
    Trans. Aerosp. Electron. Syst. 43:989-999), which keeps mean and SD.

    References
    ----------
    Neuenschwander, Capkun-Niggli, Branson and Spiegelhalter (2010), Clin. Trials 7:5-18.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")
    >>> post = bm.sample(spec, bm.Priors(tau=bm.priors.half_normal(0.5)), random_seed=1)
    >>> prior = bm.map_prior(post, components=2)
    >>> [round(number, 2) for number in (prior.mean, prior.sd)]
    [-0.72, 0.63]
    >>> round(prior.below(0), 2)
    0.88
    """
    sigma = None if sigma is None else check_number(sigma, "sigma", above=0)
    if components is not None:
        check_count(components, "components", 1)
    with reading_once():
        effect = new_effect(tree, newdata, outcome, "map_prior")
    prior = MapPrior(effect.weight, effect.mean, np.sqrt(effect.own + effect.between), sigma)
    return _merged(prior, min(MOST, len(prior.weight)) if components is None else components)


class NewEffect(NamedTuple):
    """Given every point (n,) the mean of a new study's effect, and its variance in two parts: of the mean, between."""

    weight: FloatArray
    mean: FloatArray
    own: FloatArray
    between: FloatArray


def new_effect(tree: xr.DataTree, newdata: Any, outcome: str | None, what: str) -> NewEffect:
    if not is_posterior(tree):
        spec_from_tree(tree)  # what is no results tree at all says so
        raise SpecError(f"{what} is of a posterior, and this tree holds a fit\n  bm.sample(spec) makes one")
    spec, points = spec_from_tree(tree), whole_points(tree, what)
    points = getattr(points, "fewer", points)
    rows = Rows.of(spec, {} if newdata is None else newdata)
    if len(rows.frame) != 1:
        raise SpecError(
            f"{what}: the new study is one row, newdata has {len(rows.frame)}"
            "\n  give newdata the predictors of one study"
        )
    return _at(points, spec, rows, _outcome(spec, outcome, what))


def _outcome(spec: Spec, outcome: str | None, what: str) -> int:
    if outcome is None:
        if len(spec.outcomes) > 1:
            raise SpecError(f"{what} is of one outcome, and the model has {len(spec.outcomes)}\n  name one: outcome=")
        return 0
    check_name(outcome, spec.outcomes, "outcome: no", "outcomes")
    return spec.outcomes.index(outcome)


def _at(points: WeightedPoints, spec: Spec, rows: Rows, k: int) -> NewEffect:
    weight, at = points.main
    x = spec.design.fixed(rows.frame)[0, k]
    between = np.zeros(len(weight))
    for level, psi in zip(spec.levels, points.psi, strict=True):
        z = new_design(spec, level, rows.frame)[0, k]
        between += np.einsum("a,abn,b->n", z, psi, z)
    return NewEffect(weight, at.beta @ x + spec.design.offset(rows.frame)[0], ((x @ at.root) ** 2).sum(1), between)


def _information(weight: FloatArray, centre: FloatArray, spread: FloatArray) -> float:
    """The mean of the squared derivative of the log density, which is that of minus its second derivative.

    By Gauss-Legendre between nodes around the components.
    """
    chosen = np.argsort(-weight)[: MOST // 2]
    ends = np.unique((centre[chosen, None] + spread[chosen, None] * REACH).ravel())
    z, share = np.polynomial.legendre.leggauss(4)
    half = np.diff(ends)[:, None] / 2
    x = (ends[:-1, None] + half * (1 + z)).ravel()
    total = 0.0
    for part in np.array_split(np.arange(len(x)), max(1, len(x) * len(weight) // 4_000_000)):
        away = (x[part] - centre[:, None]) / spread[:, None]
        density = weight[:, None] * np.exp(-(away**2) / 2) / spread[:, None] / np.sqrt(2 * np.pi)
        p, slope = density.sum(0), -(density * away / spread[:, None]).sum(0)
        safe = p > 1e-290
        total += float(((half * share).ravel()[part][safe] * slope[safe] ** 2 / p[safe]).sum())
    return total


def _merged(prior: MapPrior, n: int) -> MapPrior:
    """At most n components, the two cheapest to merge first; mean and variance stay."""
    order = np.argsort(prior.centre + 1e-9 * prior.spread) if np.ptp(prior.centre) > 0 else np.argsort(prior.spread)
    kept = order[prior.weight[order] > 0]
    w, m, v = prior.weight[kept] / prior.weight[kept].sum(), prior.centre[kept], prior.spread[kept] ** 2
    while len(w) > max(n, MOST):  # neighbours by variance first, where there are many
        by = np.argsort(v)
        w, m, v = w[by], m[by], v[by]
        half = len(w) // 2 * 2
        w, m, v = (
            np.append(joined, rest[half:]) for joined, rest in zip(_pairs(w, m, v, half), (w, m, v), strict=True)
        )
    while len(w) > n:
        total = w[:, None] + w
        mean = (w[:, None] * m[:, None] + w * m) / total
        pooled = (w[:, None] * (v + m**2)[:, None] + w * (v + m**2)) / total - mean**2
        cost = total * np.log(pooled) - w[:, None] * np.log(v)[:, None] - w * np.log(v)
        cost[np.diag_indices(len(w))] = np.inf
        i, j = np.unravel_index(int(np.argmin(cost)), cost.shape)
        w[i], m[i], v[i] = total[i, j], mean[i, j], pooled[i, j]
        w, m, v = (np.delete(each, j) for each in (w, m, v))
    by = np.argsort(-w)
    return MapPrior(w[by], m[by], np.sqrt(v[by]), prior.sigma)


def _pairs(w: FloatArray, m: FloatArray, v: FloatArray, n: int) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Every two neighbours of the first n as one."""
    total = w[:n:2] + w[1:n:2]
    mean = (w[:n:2] * m[:n:2] + w[1:n:2] * m[1:n:2]) / total
    second = (w[:n:2] * (v + m**2)[:n:2] + w[1:n:2] * (v + m**2)[1:n:2]) / total
    return total, mean, second - mean**2
