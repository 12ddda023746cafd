"""Means of subgroups: from the model where its predictors tell them apart, else from fits to each on its own."""

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import chdtrc

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.fit import fit
from bayesmeta.inference.moderators import without_predictors
from bayesmeta.inference.predict import predict
from bayesmeta.inference.reference import JointTest, reference_of_fit
from bayesmeta.model.spec import Spec
from bayesmeta.model.subset import of_rows
from bayesmeta.plots.forest import texts
from bayesmeta.plots.forest.notes import between_note, heterogeneity_note
from bayesmeta.plots.forest.numbers import ForestNumbers, has_random_effects, shared, stacked
from bayesmeta.tree.posterior_draws import is_posterior

_ONE_MODEL, _SEPARATE = "one model", "separate fits"
_SAME = 1e-9  # of the largest difference: smaller ones are rounding


@dataclass(frozen=True, eq=False)
class Subgroups:
    """The groups of a column, with the mean of each.

    codes : (n_rows,) subgroup of every row.  mean, prediction : (3, n_rows, k), every row that of its own subgroup, NaN
    where it has none.  drawn : by outcome whether subgroups have means.  notes : by code the heterogeneity within.
    between : the test of differences, by outcome.
    source : what the means come from.
    """

    name: str
    codes: IntArray
    categories: Sequence[object]
    mean: FloatArray
    prediction: FloatArray | None
    drawn: tuple[bool, ...]
    notes: dict[int, str] = field(default_factory=dict)
    between: tuple[str, ...] = ()
    source: str = ""

    def label(self, code: int) -> str:
        return texts.named(self.name, self.categories[code])


def subgroups(tree: xr.DataTree, spec: Spec, numbers: ForestNumbers, column: pd.Series, prob: float) -> Subgroups:
    """The subgroups of a column; a model with the same mean everywhere is fitted to each of them on its own."""
    codes, categories = pd.factorize(column, use_na_sentinel=False)
    name = column.name if isinstance(column.name, str) else "subgroup"
    none = tuple(False for _ in spec.outcomes)
    groups = Subgroups(name, codes, list(categories), numbers.mean, numbers.prediction, none)
    of_code = {int(code): np.flatnonzero(spec.kept & (codes == code)) for code in np.unique(codes[spec.kept])}
    if any(numbers.pooled):  # of a posterior, each would take a sampler
        return groups if is_posterior(tree) else _separate(tree, spec, groups, of_code, numbers.pooled, prob)
    drawn = tuple(
        all(shared(numbers.mean, rows, j) is not None for rows in of_code.values()) for j in range(len(spec.outcomes))
    )
    between = tuple(_between_one(tree, spec, of_code, j) if own else "" for j, own in enumerate(drawn))
    return replace(groups, drawn=drawn, between=between, source=_ONE_MODEL)


@dataclass(frozen=True, eq=False)
class Overall:
    """All subgroups together: the model without its predictors, fitted to all of them, and its numbers."""

    tree: xr.DataTree
    spec: Spec
    numbers: ForestNumbers


def overall(tree: xr.DataTree, spec: Spec, groups: Subgroups | None, prob: float) -> Overall | None:
    """The pooled estimate beside subgroups that a model distinguishes, which has none itself."""
    if groups is None or not any(groups.drawn) or _ONE_MODEL not in groups.source or is_posterior(tree):
        return None
    common = without_predictors(spec)
    own = _fitted(common, str(tree.attrs["method"]))
    return None if own is None else Overall(own, common, ForestNumbers.of(own, common, prob, blups=False))


def _separate(
    tree: xr.DataTree,
    spec: Spec,
    groups: Subgroups,
    of_code: dict[int, IntArray],
    pooled: tuple[bool, ...],
    prob: float,
) -> Subgroups:
    """Fits of the same model to every subgroup; where it cannot be fitted the subgroup has no mean."""
    mean = np.full_like(groups.mean, np.nan)
    prediction, se = np.full_like(mean, np.nan), np.full(mean.shape[1:], np.nan)
    notes: dict[int, str] = {}
    for code, rows in of_code.items():
        part = of_rows(spec, np.isin(np.arange(len(spec.kept)), rows))
        # a variance between studies takes two of them
        own = _fitted(part, "fixed" if len(part.levels[0].labels) < 2 else str(tree.attrs["method"]))
        if own is None:
            continue
        table = predict(own, interval="confidence", prob=prob)
        mean[:, rows], se[rows] = stacked(table)[:, rows], table["se"].to_numpy()[rows]
        if has_random_effects(own, part):
            prediction[:, rows] = stacked(predict(own, interval="prediction", prob=prob))[:, rows]
        if len(part.outcomes) == 1 and len(part.y) > 1:
            notes[code] = heterogeneity_note(own, part, 0, prob, bounds=False)
    first = [rows[0] for rows in of_code.values()]
    between = tuple(_between_separate(mean[0, first, j], se[first, j]) for j in range(len(spec.outcomes)))
    return replace(
        groups, mean=mean, prediction=prediction, drawn=pooled, notes=notes, between=between, source=_SEPARATE
    )


def _fitted(spec: Spec, method: str) -> xr.DataTree | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what a few studies cannot tell is in the intervals
            return fit(spec, method)
    except BayesmetaError:
        return None


def _between_separate(means: FloatArray, se: FloatArray) -> str:
    """The chi-squared test that independent means are equal."""
    known = np.isfinite(means) & (se > 0)
    if known.sum() < 2:
        return ""
    weight, mean = 1 / se[known] ** 2, means[known]
    Q, df = float(weight @ (mean - weight @ mean / weight.sum()) ** 2), int(known.sum()) - 1
    return between_note(JointTest(Q, df, np.inf, float(chdtrc(df, Q))), _SEPARATE)


def _between_one(tree: xr.DataTree, spec: Spec, of_code: dict[int, IntArray], outcome: int) -> str:
    """The test of equal means, with the covariance of the coefficients of the one model."""
    if is_posterior(tree):
        return ""
    first = [np.flatnonzero((spec.outcome_index == outcome) & np.isin(spec.row, rows)) for rows in of_code.values()]
    X = spec.X[[own[0] for own in first if len(own)]]
    _, size, axes = np.linalg.svd(X[1:] - X[:1], full_matrices=False)
    apart = axes[size > _SAME * size.max(initial=0.0)]
    used = reference_of_fit(tree, None, None, "the test between subgroups")
    return between_note(used.joint(apart), _ONE_MODEL) if len(apart) else ""
