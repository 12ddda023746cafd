"""What the predictors of the fixed part do together: the test that they do nothing, and the model without them."""

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.formula.parse import Terms
from bayesmeta.inference.reference import JointTest, Reference
from bayesmeta.model.respecify import with_fixed
from bayesmeta.model.spec import Spec
from bayesmeta.tree.response import constant_steps
from bayesmeta.tree.specification import group

_ROUNDING = 1e-8


def omnibus_contrasts(tree: xr.DataTree) -> FloatArray:
    """Combinations (q, P) of the coefficients that are zero where predictors do nothing; without predictors, all."""
    away = _away(tree)
    return away if len(away) else np.eye(group(tree, schema.ESTIMATE).sizes[schema.COEF])


def omnibus(tree: xr.DataTree, used: Reference) -> JointTest | None:
    """Test that the mean of every outcome is the same whatever the predictors; None for a model without any.

    With an intercept it is that all other coefficients are zero, the QM of metafor; categories without an intercept are
    tested against each other, and predictors without a constant against zero.
    """
    away = _away(tree)
    return used.joint(away) if len(away) else None


def all_effects(tree: xr.DataTree, used: Reference) -> JointTest | None:
    """Test that the means of all outcomes are zero, for a model without predictors of several outcomes."""
    P = group(tree, schema.ESTIMATE).sizes[schema.COEF]
    return None if len(_away(tree)) or P < 2 else used.joint(np.eye(P))


def _away(tree: xr.DataTree) -> FloatArray:
    """Combinations that a constant added to an outcome leaves as they are: coefficients where these suffice."""
    steps = constant_steps(tree)
    if not steps.size:
        return np.eye(len(steps))
    still = np.flatnonzero(~(np.abs(steps) > _ROUNDING).any(axis=1))
    if len(still) == len(steps) - _rank(steps):
        return np.eye(len(steps))[still]
    return np.linalg.svd(steps.T, full_matrices=True)[2][_rank(steps) :]


def without_predictors(spec: Spec) -> Spec:
    """The same model with the means of the outcomes alone as its fixed part."""
    fixed = spec.terms.fixed
    means = dict.fromkeys(fixed, "1") if isinstance(fixed, dict) else f"{fixed.partition('~')[0]}~ 1"
    return with_fixed(spec, Terms(**{**vars(spec.terms), "fixed": means, "common": None}))


def _rank(matrix: FloatArray) -> int:
    return int(np.linalg.matrix_rank(matrix))
