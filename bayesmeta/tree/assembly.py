"""Datasets and trees put together from parts that fit already, without what xarray's constructors compare and copy.

Writing a tree takes as long as fitting a small model. Most of it went into aligning arrays that share their labels
anyway, and into making an index of the same labels in one group after the other.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import Index, PandasIndex


@dataclass(frozen=True, eq=False)
class Labels:
    """The labels along a dimension, as variable and as index; one pair serves any number of datasets."""

    variable: xr.Variable
    index: PandasIndex


def labels_of(dim: str, values: Any) -> Labels:
    """The labels along a dimension.

    values : pandas Index, or texts.
    """
    index = PandasIndex(values if isinstance(values, pd.Index) else pd.Index(values, dtype=object), dim)
    return Labels(index.create_variables()[dim], index)


def table_of(
    variables: Mapping[str, Any], coords: Mapping[str, Any], attrs: Mapping[str, str] | None = None
) -> xr.Dataset:
    """A dataset of arrays whose sizes fit; ValueError where they do not.

    variables : dimensions, array or number, and perhaps attributes of each.
    coords : the same, or `Labels` by dimension.
    """
    # the public constructor with the same arguments gives the same dataset, in some ten times the time
    own: dict[Any, xr.Variable] = {name: _variable(*parts) for name, parts in variables.items()}
    indexes: dict[Any, Index] = {name: parts.index for name, parts in coords.items() if isinstance(parts, Labels)}
    labels = {
        name: parts.variable if isinstance(parts, Labels) else _variable(*parts) for name, parts in coords.items()
    }
    return xr.Dataset._construct_direct(
        own | labels, set(labels), attrs=dict(attrs) if attrs else None, indexes=indexes
    )


def tree_of(attrs: Mapping[str, str], groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """A tree of groups under a root of nothing but attributes, with which they have nothing to align.

    The groups' arrays are shared, their variables and attributes are copies.
    """
    root = xr.DataTree(table_of({}, {}, attrs))
    for name, table in groups.items():
        node = xr.DataTree(table, name=name)
        node._parent, root._children[name] = root, node
    return root


def _variable(dims: str | tuple[str, ...], values: Any, attrs: Mapping[str, Any] | None = None) -> xr.Variable:
    return xr.Variable(dims, np.asarray(values), attrs, fastpath=True)
