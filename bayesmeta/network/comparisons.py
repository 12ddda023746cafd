"""Every comparison of two treatments: the league table and what it is made from."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_mapping, check_name, check_number, check_probability
from bayesmeta.errors import SpecError
from bayesmeta.inference.linear_combinations import Combined, combined, off_diagonal, square
from bayesmeta.inference.reference import Vcov
from bayesmeta.inference.weights import covariances, marginal_matrix
from bayesmeta.io.long_tables import by_label
from bayesmeta.model.spec import Spec
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.response import Reading, Scale, reading
from bayesmeta.tree.specification import spec_from_tree
from bayesmeta.within.trial_tables import TREATMENT, VERSUS

COMPARISON = "comparison"


def network_of(source: Any, function: str) -> Spec:
    """The specification of a network, of a results tree or as it is."""
    spec = source if isinstance(source, Spec) else spec_from_tree(source)
    if spec.analysis.get("kind") != "network":
        raise SpecError(f"bm.network.{function} is for networks, which bm.network.specify makes")
    return spec


def consistency_of(source: Any, function: str) -> Spec:
    """The same of a consistency model without covariates."""
    spec = network_of(source, function)
    if spec.analysis["model"] != "consistency" or spec.analysis["covariates"]:
        raise SpecError(
            f"bm.network.{function} is of consistency models without covariates, this is one of "
            f"{'covariates' if spec.analysis['covariates'] else spec.analysis['model']}"
        )
    return spec


def contrast_rows(spec: Spec) -> pd.DataFrame:
    """The contrasts that the observations are, in their order."""
    return spec.data.loc[spec.kept]


def trials_of(spec: Spec) -> Iterator[tuple[list[str], IntArray]]:
    """The arms of every trial, the one that others are compared with first, and the rows of its contrasts."""
    rows = contrast_rows(spec)
    first, second = rows[TREATMENT].to_numpy(object), rows[VERSUS].to_numpy(object)
    for _, at in by_label(rows[spec.analysis["study"]].astype(str).to_numpy()):
        yield [second[at[0]], *first[at]], at


@dataclass(frozen=True, eq=False)
class Network:
    """A results tree of a network, and the covariates at which treatments are compared."""

    tree: xr.DataTree
    spec: Spec
    at: Mapping[str, float]

    @classmethod
    def of(cls, tree: Any, function: str, at: Mapping[str, float] | None = None) -> "Network":
        """Covariates that are not named have their mean over trials; function: what asks."""
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

    @cached_property
    def Sigma(self) -> FloatArray:
        """(n, n) covariance of all contrasts."""
        return marginal_matrix(self.spec, covariances(self.tree, self.spec).mean)

    @property
    def named_pairs(self) -> list[tuple[str, str]]:
        return list(combinations(self.treatments, 2))

    @property
    def pairs(self) -> tuple[np.ndarray, np.ndarray]:
        """Positions of the two treatments of every comparison, the first of which stands earlier."""
        return np.triu_indices(len(self.treatments), 1)


def compared(
    network: Network,
    first: np.ndarray,
    second: np.ndarray,
    prob: float,
    vcov: Vcov | None,
    df: str | None,
    read: Reading,
) -> Combined:
    """The first treatments against the second, by positions, on the scale of `read`."""
    own = network.arms[first] - network.arms[second]
    Z = [own if level.dim == own.shape[1] else np.zeros((len(own), level.dim)) for level in network.spec.levels]
    L = network.weights[first] - network.weights[second]
    return combined(network.tree, network.spec, L, Z, prob, vcov, df, read)


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
    answer = compared(network, *off_diagonal(len(network.treatments)), prob, vcov, df, read)
    same = {"se": 0.0, "pvalue": 1.0}  # of a treatment with itself, whose effect is none
    variables = {
        name: ((TREATMENT, VERSUS), square(values, same.get(name, float(read.values(0.0)))))
        for name, values in answer._asdict().items()
        if name != "positive" and not (name == "pvalue" and is_posterior(tree))
    }
    coords = {TREATMENT: network.treatments, VERSUS: network.treatments}
    attrs = {"prob": prob, "label": read.label, **{f"at {k}": v for k, v in network.at.items()}}
    return xr.Dataset(variables, coords, attrs)
