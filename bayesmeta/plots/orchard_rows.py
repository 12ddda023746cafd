"""The numbers of orchard plots: observed effects by category, and the means and intervals of `bm.predict`."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.columns import is_categorical, label
from bayesmeta.errors import DataError, SpecError
from bayesmeta.inference.predict import predict
from bayesmeta.model.spec import Spec
from bayesmeta.plots.panels import probability
from bayesmeta.tree.specification import spec_from_tree

_MOST_CATEGORIES = 20


@dataclass(frozen=True)
class Orchard:
    """One row of an orchard plot.

    y, se : (k,) observed effects and their standard errors. groups : number of outer groups.
    mean, confidence, prediction : of the true effects; the last two are intervals.
    """

    category: str
    y: FloatArray
    se: FloatArray
    groups: int
    mean: float
    confidence: tuple[float, float]
    prediction: tuple[float, float]


def categories(
    tree: xr.DataTree,
    by: str | None = None,
    at: Mapping[str, Any] | None = None,
    outcome: str | None = None,
    prob: float = 0.95,
) -> tuple[list[Orchard], str]:
    """The rows of an orchard plot from top to bottom, and at which values of other predictors they hold, in words."""
    probability(prob)
    spec = spec_from_tree(tree)
    frame = spec.data.loc[spec.kept]
    if outcome is not None and outcome not in spec.outcomes:
        hint = did_you_mean(outcome, spec.outcomes)
        raise SpecError(f"no outcome {outcome!r}{hint}\n  outcomes: {listing(spec.outcomes)}")
    values = _values(spec, frame, by)
    first = [0] if by is None else [int(np.flatnonzero(values == value)[0]) for value in dict.fromkeys(values)]
    new, held = _newdata(spec, frame.iloc[first].copy(), frame, by, at or {})
    try:
        confidence, prediction = (predict(tree, new, interval, prob) for interval in ("confidence", "prediction"))
    except DataError as error:  # such as the mean of a number that the formula takes for a category
        raise SpecError(f"no prediction at {held}: {error}\n  give by= or at= for these predictors") from None
    of_row = np.full(len(spec.kept), "", dtype=object)
    of_row[spec.kept] = values
    of_obs = of_row[spec.row]
    rows = []
    for j in [spec.outcomes.index(outcome)] if outcome else range(len(spec.outcomes)):
        for i, value in enumerate(dict.fromkeys(values)):
            used = (of_obs == value) & (spec.outcome_index == j)
            means = (table.isel(row=i, outcome=j) for table in (confidence, prediction))
            rows.append(_row(spec, _name(spec, j, value, outcome), used, *means))
    return rows, held


def _row(spec: Spec, name: str, used: FloatArray, confidence: xr.Dataset, prediction: xr.Dataset) -> Orchard:
    bounds = [(float(table["lower"]), float(table["upper"])) for table in (confidence, prediction)]
    se = np.sqrt(spec.S.variances[used])
    groups = len(np.unique(spec.levels[0].index[used]))
    return Orchard(name, spec.y[used], se, groups, float(confidence["mean"]), *bounds)


def _values(spec: Spec, frame: pd.DataFrame, by: str | None) -> "np.ndarray[Any, Any]":
    """(n,) category of every kept row, as text; the same for all without `by`."""
    if by is None:
        return np.full(len(frame), "", dtype=object)
    known = list(spec.design.parsed.predictors)
    if by not in known:
        hint = did_you_mean(by, known)
        raise SpecError(f"by is {by!r}, no predictor of this model{hint}\n  predictors: {listing(known) or 'none'}")
    values = np.array([label(value) for value in frame[by]], dtype=object)
    n = len(set(values))
    if n > _MOST_CATEGORIES:
        raise SpecError(
            f"by is {by!r}, which has {n} values; at most {_MOST_CATEGORIES} are drawn below one another\n"
            "  bm.plots.bubble draws effects against a continuous predictor"
        )
    return values


def _newdata(
    spec: Spec, new: pd.DataFrame, frame: pd.DataFrame, by: str | None, at: Mapping[str, Any]
) -> tuple[pd.DataFrame, str]:
    """Rows to predict for, one for each category, and what is held at which value."""
    others = [column for column in spec.design.parsed.predictors if column != by]
    for column in at:
        if column not in others:
            hint = did_you_mean(column, others)
            raise SpecError(
                f"at names {column!r}, which is no other predictor{hint}\n  others: {listing(others) or 'none'}"
            )
    held = []
    for column in others:
        values = frame[column]
        if column not in at and is_categorical(values) and values.nunique() > 1:
            raise SpecError(
                f"the mean depends on the categories of {column!r}\n  give by={column!r}, or at={{{column!r}: ...}} "
                f"with one of {listing(values.unique())}"
            )
        if column not in at and is_categorical(values):
            continue
        value = at.get(column, values.mean() if column not in at else None)
        new[column] = value
        held.append(f"{column} = {value:.4g}" if isinstance(value, float) else f"{column} = {value}")
    return new, ", ".join(held)


def _name(spec: Spec, j: int, value: str, outcome: str | None) -> str:
    parts = [spec.outcomes[j]] if len(spec.outcomes) > 1 and outcome is None else []
    return ", ".join([*parts, *([value] if value else [])]) or "All"
