"""Datasets and trees put together from parts that fit already, without what xarray's constructors compare and copy.

Writing a tree takes as long as fitting a small model. Most of it went into aligning arrays that share their labels
anyway, into making an index of the same labels in one group after the other, and, once in every process, into loading
all of Dask where it is installed, to ask whether a NumPy array is one of Dask's. The way around is private to xarray:
where a version of it does not have it, the public constructors take more time.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from xarray.indexes import Index, PandasIndex

from bayesmeta.tree.unread import Unread

_AS_IT_IS = getattr(xr.Dataset, "_construct_direct", None)
_BY_HAND = _AS_IT_IS is not None and all(
    hasattr(owner, name)
    for owner, names in (
        (xr.DataTree(), ("_parent", "_children", "_set_node_data")),
        (xr.Dataset(), ("_coord_names", "_dims", "_indexes")),
    )
    for name in names
)


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
    variables: Mapping[str, Any], coords: Mapping[str, Any], attrs: Mapping[str, Any] | None = None
) -> xr.Dataset:
    """A dataset of arrays whose sizes fit; ValueError where they do not.

    variables : dimensions, array (also one that is yet to be computed) or number, and perhaps attributes of each.
    coords : the same, or labels by dimension, as `Labels` or as a pandas Index.
    """
    about = dict(attrs) if attrs else None
    coords = {name: labels_of(name, part) if isinstance(part, pd.Index) else part for name, part in coords.items()}
    own: dict[Any, xr.Variable] = {name: _variable(*parts) for name, parts in variables.items()}
    indexes: dict[Any, Index] = {name: parts.index for name, parts in coords.items() if isinstance(parts, Labels)}
    labels = {
        name: parts.variable if isinstance(parts, Labels) else _variable(*parts) for name, parts in coords.items()
    }
    if _AS_IT_IS is None:
        public = {
            name: parts.index.index if isinstance(parts, Labels) else labels[name] for name, parts in coords.items()
        }
        return xr.Dataset(own, public, about)
    made: xr.Dataset = _AS_IT_IS(own | labels, set(labels), attrs=about, indexes=indexes)
    return made


def with_variables(table: xr.Dataset, variables: Mapping[str, Any], labels: Mapping[str, Labels]) -> xr.Dataset:
    """A dataset with further arrays, whose sizes fit, in place of those of the same name, and labels of new dimensions.

    The other variables are shared.
    """
    own: dict[Any, xr.Variable] = {name: _variable(*parts) for name, parts in variables.items()}
    indexes: dict[Any, Index] = {name: each.index for name, each in labels.items()}
    if not _BY_HAND:
        return table.assign(own).assign_coords({name: each.index.index for name, each in labels.items()})
    assert _AS_IT_IS is not None
    new: dict[Any, xr.Variable] = {name: each.variable for name, each in labels.items()}
    made: xr.Dataset = _AS_IT_IS(
        dict(table.variables) | own | new,
        set(table._coord_names) | set(labels),
        attrs=dict(table.attrs),
        indexes=dict(table._indexes) | indexes,
        encoding=dict(table.encoding),
    )
    return made


def tree_of(attrs: Mapping[str, str], groups: Mapping[str, xr.Dataset]) -> xr.DataTree:
    """A tree of groups under a root of nothing but attributes, with which they have nothing to align.

    The groups' arrays are shared, their variables and attributes are copies.
    """
    root = xr.DataTree(table_of({}, {}, attrs))
    if not _BY_HAND:
        return xr.DataTree.from_dict({"/": root.to_dataset(), **groups})
    nothing = table_of({}, {})
    for name, table in groups.items():
        node = xr.DataTree(nothing, name=name)
        node._set_node_data(_shallow(table))
        node._parent, root._children[name] = root, node
    return root


def _shallow(table: xr.Dataset) -> xr.Dataset:
    """A dataset of new variables and attributes; its arrays, and its indexes, which nobody can change, are shared."""
    copies: dict[Any, xr.Variable] = {name: variable.copy(deep=False) for name, variable in table.variables.items()}
    assert _AS_IT_IS is not None
    made: xr.Dataset = _AS_IT_IS(
        copies,
        set(table._coord_names),
        dims=dict(table._dims),
        attrs=dict(table.attrs),
        indexes=dict(table._indexes),
        encoding=dict(table.encoding),
    )
    return made


def _variable(dims: str | tuple[str, ...], values: Any, attrs: Mapping[str, Any] | None = None) -> xr.Variable:
    own = values if isinstance(values, Unread) else np.asarray(values)
    return xr.Variable(dims, own, attrs, fastpath=True)
