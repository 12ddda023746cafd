"""The names of the rows of the data, as tables, plots and reports show them."""

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta.model.descriptions import named
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import spec_from_tree


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
