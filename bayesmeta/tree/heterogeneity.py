"""Cochran's Q, I2 and H2, overall and of every outcome."""

from collections.abc import Sequence

import numpy as np
import xarray as xr
from scipy.special import chdtrc

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.model.partitioned_spec import PartitionedSpec
from bayesmeta.model.spec import Spec
from bayesmeta.tree.assembly import labels_of, table_of
from bayesmeta.tree.single_entries import without_dimensions
from bayesmeta.tree.specification import group
from bayesmeta.tree.variance_shares import excess

_WEIGHTLESS, _MATTERS = 1e-30, 1e-6  # a weight; share of a mean that such may have


def heterogeneity(tree: xr.DataTree) -> xr.Dataset:
    """Test of homogeneity and the share of the variation that is not sampling error.

    Parameters
    ----------
    tree : DataTree
        Results tree of `fit` or `sample`, in memory or read with `xarray.open_datatree`.

    Returns
    -------
    Dataset
        Scalars; of several outcomes over `outcome`, "overall" first. `Q`: weighted residual sum of squares of the model
        without random effects. Overall it uses the whole sampling covariance S, for one outcome only that outcome's
        sampling variances, at the same fixed-effects coefficients; so the outcomes' Q do not add up to the overall one,
        nor equal those of separate analyses. `df`: observations less the coefficients that touch them. `pvalue`: upper
        tail of the chi-squared distribution with df degrees of freedom. `I2`: 100 max(0, (Q - df) / Q), in percent.
        `H2`: max(1, Q / df). `I2_tau2`, in percent, and `H2_tau2` describe the fitted between-group variance instead:
        tau2 / (tau2 + s2) and tau2 / s2 + 1, with the typical sampling variance s2 of `variance_partition`; summaries
        show these. With several levels tau2 is their sum, with random slopes the mean over the observations; of several
        outcomes the overall tau2 / s2 is the mean of theirs, weighted by degrees of freedom. Of a posterior they are
        means over its distribution. All but Q and df are NaN where df is not positive. The offset is subtracted first,
        missing outcomes are left out.

    Raises
    ------
    SpecError
        When the tree was not written by `fit` or `sample`.

    References
    ----------
    Higgins and Thompson (2002), Stat. Med. 21:1539-1558, equation 9 for s2; Berkey et al. (1996), Stat. Med.
    15:537-557.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    >>> round(float(bm.heterogeneity(bm.fit(spec))["Q"]), 2)
    578.86
    >>> bm.heterogeneity(bm.fit(spec))["I2_tau2"].round(2).item()
    95.19
    """
    return without_dimensions(schema.HETEROGENEITY, group(tree, schema.HETEROGENEITY), {})


def heterogeneity_table(spec: Spec, psi: Sequence[FloatArray], weight: FloatArray | None = None) -> xr.Dataset:
    """The table of `heterogeneity`; psi : of every level (a, a), or draws (B, a, a), of equal weight or of these."""
    stats = spec.statistics
    beta = stats.beta_fixed[:, 0]
    rows = [(schema.OVERALL, float(stats.Q[0]), spec.n_obs - len(spec.coef))]
    if len(spec.outcomes) > 1:
        rows += [(name, *_one_outcome(spec, j, beta)) for j, name in enumerate(spec.outcomes)]
    labels, Q, df = (list(column) for column in zip(*rows, strict=True))
    relative = excess(spec, psi).reshape(-1, len(labels))
    share = np.full(len(relative), 1 / len(relative)) if weight is None else weight
    return _table(labels, np.array(Q), np.array(df, dtype=np.int64), relative, share)


def _existing_mean(values: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Weighted means over the first axis, NaN where what weighs next to nothing makes them up: they do not exist."""
    mean, light = weight @ values, weight < _WEIGHTLESS
    return np.asarray(np.where(weight[light] @ values[light] > _MATTERS * mean, np.nan, mean))


def _one_outcome(spec: Spec, outcome: int, beta: np.ndarray) -> tuple[float, int]:
    if isinstance(spec, PartitionedSpec):
        return float(spec.totals.Q[outcome]), int(spec.totals.df[outcome])
    own = spec.outcome_index == outcome
    X = spec.X[own]
    residual = spec.y[own] - spec.offset[own] - X @ beta
    return float(np.sum(residual**2 / spec.S.variances[own])), len(X) - int(X.any(axis=0).sum())


def _table(labels: list[str], Q: np.ndarray, df: np.ndarray, relative: np.ndarray, weight: np.ndarray) -> xr.Dataset:
    testable = df > 0
    nu = np.where(testable, df, np.nan)
    share = np.divide(Q - nu, Q, out=np.zeros_like(Q), where=Q > 0)
    columns = {
        "Q": Q,
        "df": df,
        "pvalue": np.where(testable, chdtrc(df, Q), np.nan),
        "I2": 100 * np.maximum(share, 0),
        "H2": np.maximum(Q / nu, 1),
        "I2_tau2": weight @ (100 * relative / (1 + relative)),
        "H2_tau2": 1 + _existing_mean(relative, weight),
    }
    columns["I2"] = np.where(testable, columns["I2"], np.nan)
    if len(labels) == 1:
        return table_of({name: ((), values[0]) for name, values in columns.items()}, {schema.OUTCOME: ((), labels[0])})
    variables = {name: (schema.OUTCOME, values) for name, values in columns.items()}
    return table_of(variables, {schema.OUTCOME: labels_of(schema.OUTCOME, labels)})
