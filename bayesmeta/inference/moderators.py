"""What the predictors of the fixed part do together: the test that they do nothing, and the model without them."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import chdtrc

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.formula.parse import Terms
from bayesmeta.model.respecify import with_fixed
from bayesmeta.model.spec import Spec
from bayesmeta.tree.response import constant_steps
from bayesmeta.tree.specification import group


@dataclass(frozen=True)
class WaldTest:
    """A chi-squared statistic that several coefficients are zero, its degrees of freedom, and p."""

    statistic: float
    df: int
    pvalue: float


def omnibus(tree: xr.DataTree) -> WaldTest | None:
    """Wald test that the mean of every outcome is the same whatever the predictors; None for a model without any.

    With an intercept it is that all other coefficients are zero, the QM of metafor; categories without an intercept are
    tested against each other, and predictors without a constant against zero.
    """
    steps = constant_steps(tree)
    away = np.linalg.svd(steps.T, full_matrices=True)[2][_rank(steps) :] if steps.size else np.eye(len(steps))
    return _wald(tree, away)


def all_effects(tree: xr.DataTree) -> WaldTest | None:
    """Wald test that the means of all outcomes are zero, for a model without predictors of several outcomes."""
    coefficients = np.eye(group(tree, schema.ESTIMATE).sizes[schema.COEF])
    return None if omnibus(tree) is not None or len(coefficients) < 2 else _wald(tree, coefficients)


def without_predictors(spec: Spec) -> Spec:
    """The same model with the means of the outcomes alone as its fixed part."""
    fixed = spec.terms.fixed
    means = dict.fromkeys(fixed, "1") if isinstance(fixed, dict) else f"{fixed.partition('~')[0]}~ 1"
    return with_fixed(spec, Terms(**{**vars(spec.terms), "fixed": means, "common": None}))


def _wald(tree: xr.DataTree, contrasts: FloatArray) -> WaldTest | None:
    estimate = group(tree, schema.ESTIMATE)
    if not len(contrasts):
        return None
    beta, V = contrasts @ estimate["beta"].to_numpy(), contrasts @ estimate["beta_cov"].to_numpy() @ contrasts.T
    statistic = float(beta @ np.linalg.solve(V, beta))
    return WaldTest(statistic, len(contrasts), float(chdtrc(len(contrasts), statistic)))


def _rank(matrix: FloatArray) -> int:
    return int(np.linalg.matrix_rank(matrix))
