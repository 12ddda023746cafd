"""A model with further coefficients, estimated as the tree of a smaller one was: linear combinations of all of them."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import xarray as xr
from scipy.special import ndtr

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.estimation.fit import fit
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.posterior_parts import integrated
from bayesmeta.inference.reference import NORMAL, JointTest, Reference, reference
from bayesmeta.inference.weights import covariances
from bayesmeta.model.spec import Spec
from bayesmeta.priors.defaults import extended
from bayesmeta.priors.model_priors import ModelPriors
from bayesmeta.tree.posterior_draws import is_posterior


class Combinations(NamedTuple):
    """Combinations (q,) of coefficients on the scale of the model; positive: the probability that they are."""

    mean: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray
    positive: FloatArray


@dataclass(frozen=True, eq=False)
class Refitted:
    """The coefficients of a model, and its covariances where it is a fit.

    of : the points of a posterior, or the coefficients of a fit by the normal distribution.
    psi : (a, a) of every level; none of a posterior.
    """

    spec: Spec
    of: WeightedPoints | Reference
    psi: tuple[FloatArray, ...]

    @classmethod
    def fitted(cls, spec: Spec, method: str) -> "Refitted":
        tree = fit(spec, method, random_effects=False)
        used = reference(tree, None, NORMAL)
        assert used is not None
        return cls(spec, used, tuple(covariances(tree, spec).mean))

    @classmethod
    def like(cls, tree: xr.DataTree, wider: Spec, what: str) -> "Refitted":
        """By the method of a fit; or without Markov chains by the priors of a posterior, which `what` needs.

        wider : its coefficients begin with those of the tree.
        """
        if not is_posterior(tree):
            return cls.fitted(wider, method_of(tree).name)
        priors = extended(ModelPriors.from_json(tree.attrs["priors"]), wider)
        return cls(wider, integrated(wider, priors, what), ())

    @property
    def tau(self) -> float:
        """The largest SD of the inner level of a fit; NaN of a posterior."""
        return float(np.sqrt(np.max(self.psi[-1]))) if self.psi else np.nan

    def combinations(self, L: FloatArray, prob: float) -> Combinations:
        """L beta for L (q, P)."""
        if isinstance(self.of, Reference):
            tests = self.of.each(L)
            return Combinations(tests.estimate, tests.se, *tests.bounds(prob), ndtr(tests.statistic))
        made = self.of.combination(L)
        lower, upper = made.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))
        return Combinations(made.mean, made.sd, lower, upper, 1 - made.below(np.zeros((1, len(L))))[0])

    def joint(self, L: FloatArray) -> JointTest:
        """That all of L beta are zero, of a fit."""
        assert isinstance(self.of, Reference)
        return self.of.joint(L)
