"""Linear combinations of coefficients, and of new groups about them: the same questions of fits and of posteriors.

The effect of a new group of a fit has the variance of its mean and that of its random effects. The degrees of freedom
of its interval are those of its mean, as `bm.predict` has them; networks have those of Riley and colleagues, as is
usual there.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.stats import norm, t

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.posterior_predict import below, combinations, means
from bayesmeta.inference.prediction_rows import normal, quadratic
from bayesmeta.inference.reference import Vcov, quantile, reference
from bayesmeta.inference.weights import covariances
from bayesmeta.model.spec import Spec
from bayesmeta.tree.response import Reading
from bayesmeta.tree.specification import spec_from_tree


class Combined(NamedTuple):
    """Combinations (q,) of coefficients; prediction: of a new group.

    se : on the scale of the model.  pvalue : two-sided, NaN of posteriors.  positive : probability that it is above
    zero, of a fit the one-sided p-value's complement.
    """

    mean: FloatArray
    se: FloatArray
    lower: FloatArray
    upper: FloatArray
    pvalue: FloatArray
    prediction_lower: FloatArray
    prediction_upper: FloatArray
    positive: FloatArray


def combined(
    tree: xr.DataTree,
    spec: Spec,
    L: FloatArray,
    Z: Sequence[FloatArray],
    prob: float,
    vcov: Vcov | None,
    df: str | None,
    read: Reading,
) -> Combined:
    """L beta for L (q, P), as they are read; a new group has effects with designs Z (q, a) of every level.

    The t distribution of a fit's new group has as many degrees of freedom as observations are left by coefficients and
    variances (Higgins, Thompson and Spiegelhalter 2009, J. R. Stat. Soc. A 172:137-159).
    """
    used = reference(tree, vcov, df)
    if used is None:
        of, predicted = combinations(tree, L, prob, read), combinations(tree, L, prob, read, Z)
        se = means(tree, L, np.zeros(len(L)), prob)["se"]
        bounds = of["lower"], of["upper"], np.full(len(L), np.nan), predicted["lower"], predicted["upper"]
        return Combined(of["mean"], se, *bounds, 1 - below(tree, L, 0.0))
    tests = used.each(L)
    lower, upper = tests.bounds(prob)
    half = quantile(prob, _df_of_new(tree, spec)) * np.sqrt(tests.se**2 + _between(tree, spec, L, Z))
    with np.errstate(divide="ignore", invalid="ignore"):
        usual = t.cdf(tests.statistic, np.where(np.isfinite(tests.df), tests.df, 1.0))
        positive = np.where(np.isinf(tests.df), norm.cdf(tests.statistic), usual)
    mean, low, high = (read.values(x) for x in (tests.estimate, lower, upper))
    new_low, new_high = read.values(tests.estimate - half), read.values(tests.estimate + half)
    return Combined(mean, tests.se, low, high, tests.pvalue, new_low, new_high, positive)


def off_diagonal(T: int) -> tuple[IntArray, IntArray]:
    """Rows and columns of the entries of a (T, T) table that are not on its diagonal, row by row."""
    first, second = np.nonzero(~np.eye(T, dtype=bool))
    return first, second


def square(values: FloatArray, diagonal: float) -> FloatArray:
    """(T, T) table of values off the diagonal, row by row.

    >>> square(np.array([1.0, 2.0]), 0.0)
    array([[0., 1.],
           [2., 0.]])
    """
    T = round(0.5 + np.sqrt(0.25 + len(values)))
    table = np.full((T, T), diagonal)
    table[off_diagonal(T)] = values
    return table


def of_mean_or_new(
    tree: xr.DataTree,
    L: FloatArray,
    Z: Sequence[FloatArray],
    prob: float,
    read: Reading,
    vcov: Vcov | None,
    df: str | None,
) -> tuple[dict[str, FloatArray], dict[str, Any]]:
    """Mean and bounds (q,) of L beta, or of new groups of the first levels by Z (q, a) about it, and how they are made.

    A combination of zeros is known, and has no degrees of freedom.
    """
    used = reference(tree, vcov, df)
    if used is None:
        return combinations(tree, L, prob, read, Z), {"backend": "posterior"}
    se = np.sqrt(quadratic(L[:, None], used.cov)[:, 0] + _between(tree, spec_from_tree(tree), L, Z))
    t_of = np.where((L == 0).all(1), 1.0, quantile(prob, used.dfs(L)))
    return read.bounds(normal(L @ used.beta, se, t_of)), used.attrs


def _between(tree: xr.DataTree, spec: Spec, L: FloatArray, Z: Sequence[FloatArray]) -> FloatArray:
    """(q,) variances of the random effects of new groups of the first levels."""
    psi = covariances(tree, spec).mean
    return sum((quadratic(z[:, None], own)[:, 0] for z, own in zip(Z, psi, strict=False)), np.zeros(len(L)))


def _df_of_new(tree: xr.DataTree, spec: Spec) -> float:
    """NaN where none vary or none are left."""
    left = len(spec.y) - len(spec.coef) - sum(level.n_free for level in spec.levels)
    return float(left) if left >= 1 and not method_of(tree).zero_psi else np.nan
