"""Every comparison of two treatments: the league table and what it is made from."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_mapping, check_name, check_number, check_probability
from bayesmeta.errors import SpecError
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.posterior_predict import below, combinations, means
from bayesmeta.inference.reference import Vcov, quantile, reference
from bayesmeta.inference.weights import covariances
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale, reading
from bayesmeta.tree.specification import spec_from_tree

TREATMENT, VERSUS, COMPARISON = "treatment", "versus", "comparison"


def network_of(source: Any, function: str) -> Spec:
    """The specification of a network, of a results tree or as it is."""
    spec = source if isinstance(source, Spec) else spec_from_tree(source)
    if spec.analysis.get("kind") != "network":
        raise SpecError(f"bm.network.{function} is for networks, which bm.network.specify makes")
    return spec


@dataclass(frozen=True, eq=False)
class Network:
    """A results tree of a network, and the covariates at which treatments are compared."""

    tree: xr.DataTree
    spec: Spec
    at: Mapping[str, float]

    @classmethod
    def of(cls, tree: Any, function: str, at: Mapping[str, float] | None = None) -> "Network":
        """Covariates that are not named have their mean over trials."""
        if isinstance(tree, Spec):
            raise SpecError(f"bm.network.{function} is for results\n  write bm.network.{function}(bm.fit(spec))")
        spec = network_of(tree, function)
        known = dict(spec.analysis.get("covariates", {}))
        for name, value in check_mapping(at, "at", "covariates and their values").items():
            check_name(name, known, "at: no covariate", "covariates")
            known[name] = check_number(value, f"at['{name}']")
        return cls(tree, spec, known)

    @property
    def treatments(self) -> list[str]:
        return list(self.spec.analysis["treatments"])

    @cached_property
    def weights(self) -> FloatArray:
        """(T, P) how effects against the reference are made of the coefficients."""
        place = {name: j for j, name in enumerate(self.spec.coef)}
        W = np.zeros((len(self.treatments), len(place)))
        for i, t in enumerate(self.treatments):
            for coef, weight, covariate in self.spec.analysis["effects"][t]:
                W[i, place[coef]] += weight * (1.0 if covariate is None else self.at[covariate])
        return W

    @cached_property
    def arms(self) -> FloatArray:
        """(T, a) the same of the random effects, whose first level has one for each treatment but the reference."""
        own = [t for t in self.treatments if t != self.spec.analysis["reference"]]
        effects = list(self.spec.levels[-1].effects)
        return np.array([[float(t == e) for e in effects] for t in self.treatments]) if own else np.zeros((1, 0))

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the two treatments of every comparison, the first of which stands earlier."""
        return np.triu_indices(len(self.treatments), 1)


class Compared(NamedTuple):
    """Comparisons (q,) of treatments; prediction: of the effect in a new trial."""

    mean: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray
    pvalue: FloatArray
    prediction_lower: FloatArray
    prediction_upper: FloatArray
    better: FloatArray  # probability that the first is larger


def compared(
    network: Network,
    first: np.ndarray,
    second: np.ndarray,
    prob: float,
    vcov: Vcov | None,
    df: str | None,
    read: Reading,
) -> Compared:
    """The first treatments against the second, by positions, on the scale of `read`."""
    L = network.weights[first] - network.weights[second]
    Z = network.arms[first] - network.arms[second]
    levels = covariances(network.tree, network.spec)
    own = [draws if draws.shape[1] == Z.shape[1] else draws[:, :0, :0] for draws in levels]
    used = reference(network.tree, vcov, df)
    if used is None:
        return _of_posterior(network, L, Z, own, prob, read)
    tests = used.each(L)
    lower, upper = tests.bounds(prob)
    between = sum(np.einsum("qa,ab,qb->q", Z, psi[0], Z) for psi in own if psi.shape[1]) + np.zeros(len(L))
    t = quantile(prob, _df_of_new(network))
    half = t * np.sqrt(tests.se**2 + between)
    with np.errstate(divide="ignore", invalid="ignore"):
        better = _upper_tail(tests.statistic, tests.df)
    mean, low, high = (read.values(x) for x in (tests.estimate, lower, upper))
    new_low, new_high = read.values(tests.estimate - half), read.values(tests.estimate + half)
    return Compared(mean, tests.se, low, high, tests.pvalue, new_low, new_high, better)


def _df_of_new(network: Network) -> float:
    """Of the effect in a new trial: contrasts less coefficients and variances; NaN where none vary or none are left."""
    spec = network.spec
    left = len(spec.y) - len(spec.coef) - sum(level.n_free for level in spec.levels)
    return float(left) if left >= 1 and not method_of(network.tree).zero_psi else np.nan


def _upper_tail(statistic: FloatArray, df: FloatArray) -> FloatArray:
    from scipy.stats import norm, t

    return np.where(np.isinf(df), norm.cdf(statistic), t.cdf(statistic, np.where(np.isfinite(df), df, 1.0)))


def _of_posterior(
    network: Network, L: FloatArray, Z: FloatArray, own: list[FloatArray], prob: float, read: Reading
) -> Compared:
    """Exact without chains, else from draws; own: one array a level, empty where a new trial has no effect of it."""
    tree = network.tree
    designs = [
        Z if psi.shape[1] else np.zeros((len(L), level.dim))
        for psi, level in zip(own, network.spec.levels, strict=True)
    ]
    of, predicted = combinations(tree, L, prob, read), combinations(tree, L, prob, read, designs)
    se = means(tree, L, np.zeros(len(L)), prob)["se"]
    bounds = of["lower"], of["upper"], np.full(len(L), np.nan), predicted["lower"], predicted["upper"]
    return Compared(of["mean"], se, *bounds, 1 - below(tree, L, 0.0))


def league(
    tree: xr.DataTree,
    prob: float = 0.95,
    scale: Scale | None = None,
    at: Mapping[str, float] | None = None,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> xr.Dataset:
    """Every treatment against every other.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` for a network; of `method="fixed"` for common effects.
    prob : float, default 0.95
        Probability of the intervals, between 0 and 1.
    scale : {"model", "response"}, optional
        "response", as people read the measure: odds ratios. By default the scale of the model.
    at : mapping, optional
        Values of covariates, as {"year": 1990}; by default their means over trials.
    vcov, df : optional
        Covariance and reference distribution of the coefficients of a fit, see `bm.estimates`; `df="z"` is usual for
        networks.

    Returns
    -------
    Dataset
        Over (treatment, versus), both all treatments: `mean` of the first against the second, `se` on the scale of the
        model, `lower`, `upper`, `pvalue`, and `prediction_lower`, `prediction_upper` for the effect in a new trial,
        whose t distribution has as many degrees of freedom as contrasts are left by coefficients and variances. 0, or
        1, on the diagonal. Of a posterior means, SDs and quantiles, and no p-values.

    Raises
    ------
    SpecError
        When the tree is not of a network, or an argument is not as above.

    References
    ----------
    Salanti (2012), Res. Synth. Methods 3:80-97.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = bm.datasets.load("senn2013")
    >>> spec = bm.network.specify(arms, study="study", treatment="treatment", mean="mean", sd="sd", n="n", measure="md")
    >>> table = bm.network.league(bm.fit(spec), df="z")
    >>> table.sel(treatment="metformin", versus="placebo")[["mean", "se"]].to_pandas().round(3).to_dict()
    {'mean': -1.128, 'se': 0.149}
    """
    network, prob, read = Network.of(tree, "league", at), check_probability(prob), reading(tree, scale)
    T = len(network.treatments)
    different = ~np.eye(T, dtype=bool)
    answer = compared(network, *np.nonzero(different), prob, vcov, df, read)
    dims = (TREATMENT, VERSUS)
    variables = {}
    for name in Compared._fields[:-1]:
        values = np.full((T, T), {"se": 0.0, "pvalue": 1.0}.get(name, float(read.values(0.0))))
        values[different] = getattr(answer, name)
        variables[name] = (dims, values)
    if is_posterior(tree):
        del variables["pvalue"]
    coords = {TREATMENT: network.treatments, VERSUS: network.treatments}
    attrs = {"prob": prob, "label": read.label, **{f"at {k}": v for k, v in network.at.items()}}
    return xr.Dataset(variables, coords, attrs)
