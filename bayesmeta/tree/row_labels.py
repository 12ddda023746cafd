"""The names of the rows of the data, as tables, plots and reports show them, and columns that users give by row."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta._typing import AnyArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.errors import SpecError
from bayesmeta.io.arrays import check_labels
from bayesmeta.model.descriptions import named
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import spec_from_tree

type ByRow = str | Sequence[Any] | AnyArray | pd.Series | pd.Index | pd.Categorical
"""One value for each row of the data, or the name of a column in the tree."""


def row_labels(source: Spec | xr.DataTree) -> tuple[str, ...]:
    """A name for every row of the input, also for those that are not in the model.

    Names that `specify` took from the data, or from `labels=`; without any, the groups of the innermost level where
    each is one row, with its kind where it is a number, "study 7"; else the row's place in the index, "row 7".

    Parameters
    ----------
    source : Spec or results tree.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("PD ~ 1", bm.datasets.load("berkey98"), S="var_PD")
    >>> row_labels(spec)[:2]
    ('Pihlstrom et al.', 'Lindhe et al.')
    """
    spec = source if isinstance(source, Spec) else spec_from_tree(source)
    return spec.labels or _of_groups(spec) or tuple(named("row", label) for label in spec.row_labels)


def has_row_labels(spec: Spec) -> bool:
    """Whether the rows have names of their own, rather than a place in the index."""
    return spec.labels is not None or _of_groups(spec) is not None


def _of_groups(spec: Spec) -> tuple[str, ...] | None:
    """The groups of the innermost level, where each is one row of the data; with those around it, where they recur."""
    inner, terms = spec.levels[-1], spec.terms
    if terms.random is None and terms.groups is None:
        return None  # the level is the row itself, whatever column has its name
    if inner.name not in spec.data or len(np.unique(spec.row)) > inner.n_groups:
        return None
    above = [level.name for level in spec.levels[:-1] if level.name in spec.data]
    for levels in ([inner.name], [*above, inner.name]):
        paths = zip(*(spec.data[level] for level in levels), strict=True)
        names = [
            f"row {row}" if any(map(pd.isna, path)) else ", ".join(map(named, levels, path))
            for row, path in zip(spec.row_labels, paths, strict=True)
        ]
        if len(set(names)) == len(names):
            return tuple(names)
    return None


def by_row(spec: Spec, column: ByRow, argument: str) -> pd.Series:
    """A column by row of the data: one in the tree by its name, or the values themselves.

    A pandas Series is put in the order of the data by its index, which holds the labels of their rows; anything else
    is matched by position.
    """
    n = len(spec.row_labels)
    if isinstance(column, str):
        if column not in spec.data:
            raise SpecError(
                f"{argument}={column!r} is not a column in this tree{did_you_mean(column, spec.data.columns)}\n"
                f"  it holds: {listing(spec.data.columns, 20)}\n"
                f"  for another column give the values: {argument}=data[{column!r}]"
            )
        return spec.data[column].reset_index(drop=True)
    if not isinstance(column, Sequence | np.ndarray | pd.Series | pd.Index | pd.Categorical):
        raise SpecError(f"{argument} is a {type(column).__name__}; give one value for each of the {n} rows of the data")
    if getattr(column, "ndim", 1) != 1 or len(column) != n:
        raise SpecError(
            f"{argument} has {len(column) if getattr(column, 'ndim', 1) else 1} values, but the data have {n} rows\n"
            f"  give one for every row, also for the {int((~spec.kept).sum())} that are not in the model"
        )
    if not isinstance(column, pd.Series):
        return pd.Series(column if isinstance(column, pd.Categorical) else list(column))
    labels = column.index.map(str)
    if labels.is_unique and set(labels) == set(spec.row_labels):
        column = column.set_axis(labels).loc[list(spec.row_labels)]
    else:
        check_labels(labels, spec.row_labels, argument, unlabelled=False)
    return column.reset_index(drop=True)
