"""Estimates at values of a predictor, from one tree or several. Numbers only, no drawing."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta.errors import SpecError
from bayesmeta.inference.predict import predict
from bayesmeta.inference.prediction_rows import normal, quadratic, quantile
from bayesmeta.plots import style
from bayesmeta.plots.grid import Predictor
from bayesmeta.tree.posterior_draws import beta_draws, is_posterior, summarised
from bayesmeta.tree.specification import group, spec_from_tree

_MOST_LOG = 100.0  # of a ratio: 43 digits
_MOST_TREES = len(style.COLOURS)


@dataclass(frozen=True, eq=False)
class Estimates:
    """Mean and interval at every value x of a predictor, all of shape (n,), on the scale of the model."""

    x: FloatArray
    mean: FloatArray
    lower: FloatArray
    upper: FloatArray

    def moved(self, by: float) -> "Estimates":
        """The same, drawn beside x."""
        return replace(self, x=self.x + by)

    def sorted(self) -> "Estimates":
        """The same in the order of x."""
        order = np.argsort(self.x, kind="stable")
        return Estimates(self.x[order], self.mean[order], self.lower[order], self.upper[order])

    def without_interval(self, ratio: bool) -> int:
        """How many have an interval that cannot be drawn."""
        return int((np.isnan(drawn(self.lower, ratio)) | np.isnan(drawn(self.upper, ratio))).sum())


def drawn(values: FloatArray, ratio: bool) -> FloatArray:
    """As on the axis; NaN where infinite, and where a ratio has more digits than a logarithmic axis can hold."""
    out = ~np.isfinite(values) | (np.abs(values) > _MOST_LOG if ratio else False)
    return style.shown(np.where(out, np.nan, values), ratio)


def predicted(tree: xr.DataTree, x: FloatArray, rows: pd.DataFrame, outcome: int, what: Any, prob: float) -> Estimates:
    """Of `bm.predict`; `what` is its interval."""
    found = predict(tree, rows, interval=what, prob=prob).isel(outcome=outcome)
    return Estimates(x, *(found[name].to_numpy() for name in ("mean", "lower", "upper")))


def contrast(
    tree: xr.DataTree, x: FloatArray, rows: pd.DataFrame, reference: pd.DataFrame, outcome: int, prob: float
) -> Estimates:
    """Mean of the rows less that of the one row `reference`: its interval is that of the difference."""
    z, design = quantile(prob), spec_from_tree(tree).design
    X = (design.fixed(rows) - design.fixed(reference))[:, outcome]
    offset = design.offset(rows) - design.offset(reference)
    if is_posterior(tree):
        found = summarised(X @ beta_draws(tree).T + offset[:, None], prob, axis=1)
    else:
        estimate = group(tree, schema.ESTIMATE)
        variance = quadratic(X[:, None], estimate["beta_cov"].to_numpy())[:, 0]
        found = normal(X @ estimate["beta"].to_numpy() + offset, np.sqrt(variance), z)
    return Estimates(x, found["mean"], found["lower"], found["upper"])


def named(trees: xr.DataTree | Mapping[str, xr.DataTree], call: str) -> dict[str, xr.DataTree]:
    """The trees by name; the name of a single one is empty. All of one measure, so that they share an axis."""
    one = isinstance(trees, xr.DataTree) or not isinstance(trees, Mapping)  # a DataTree is a Mapping too
    found: dict[str, Any] = {"": trees} if one else dict(trees)
    if not 1 <= len(found) <= _MOST_TREES:
        raise SpecError(f"{call} draws 1 to {_MOST_TREES} trees, it was given {len(found)}")
    for name, tree in found.items():
        if not isinstance(tree, xr.DataTree):
            raise SpecError(
                f"{call}: {repr(name) + ' is' if name else 'given is'} a {type(tree).__name__}, no results tree\n"
                "  give the tree of bm.fit or bm.sample, or several as {name: tree}"
            )
    measures = {name: tree.attrs.get("measure") or "generic" for name, tree in found.items()}
    if len(set(measures.values())) > 1:
        told = ", ".join(f"{name}: {measure}" for name, measure in measures.items())
        raise SpecError(f"the trees have different measures, which no axis can share\n  {told}")
    return {str(name): tree for name, tree in found.items()}


def trajectories(predictor: Predictor) -> IntArray:
    """Which observations are joined: those of a group of the innermost level that has several values of x."""
    x = predictor.observed()
    for level in reversed(predictor.spec.levels):
        index = level.index[predictor.obs]
        if any(len(np.unique(x[index == g])) > 1 for g in np.unique(index)):
            return index
    return np.arange(len(x))


def with_own_data(predictors: Iterable[Predictor]) -> list[Predictor]:
    """Of the predictors of several models, one for each data set."""
    found = {(p.observed().tobytes(), p.spec.y[p.obs].tobytes()): p for p in predictors}
    return list(found.values())
