"""Whether likelihoods and criteria of several results trees may be compared, and if not, why."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IndexArray
from bayesmeta._validation import listing
from bayesmeta.estimation.methods import method_of
from bayesmeta.tree.specification import group

_SAME_SPACE = 1e-8  # largest part of a column of X outside the other model's column space, as a fraction of the column


def obstacle(trees: Mapping[str, xr.DataTree]) -> str:
    """Why the log-likelihoods of the trees are not on the same scale; empty when they do.

    The density must be of the same thing: the same observations, and for REML also the same space of error contrasts,
    which the column space of X fixes. A fixed-effects fit is an ML fit with Psi at zero.
    """
    for name, tree in trees.items():
        if schema.CRITERIA not in tree.children or not np.isfinite(group(tree, schema.CRITERIA)["loglik"].item()):
            return f"{name} has no likelihood (method {tree.attrs['method']})"
    for (one, first), (two, second) in pairwise(trees.items()):
        restricted = [method_of(tree).likelihood == "restricted" for tree in (first, second)]
        if restricted[0] != restricted[1]:
            methods = " and ".join(f"{name} by {tree.attrs['method']}" for name, tree in ((one, first), (two, second)))
            return f"{methods} maximise different likelihoods; fit all by ml, or all by reml"
        if not same_observations(first, second):
            return f"{one} ({_size(first)}) and {two} ({_size(second)}) do not describe the same observations"
        if all(restricted) and not _same_space(_X(first), _X(second)):
            return f'{one} and {two} are REML fits with different fixed parts; fit both with method="ml"'
    return ""


def other_sampling_covariances(trees: Mapping[str, xr.DataTree]) -> str:
    """A remark when trees take different sampling covariances of the same observations as known."""
    kinds: list[tuple[FloatArray, list[str]]] = []
    for name, tree in trees.items():
        values = np.sort(group(tree, schema.CONSTANT)["S_value"].values)
        alike = next((members for known, members in kinds if np.array_equal(known, values)), None)
        if alike is None:
            kinds.append((values, [name]))
        else:
            alike.append(name)
    if len(kinds) < 2:
        return ""
    parties = " and ".join(f"({listing(members)})" for _, members in kinds)
    return f"{parties} take different sampling covariances S as known, so the criteria also judge S"


def _size(tree: xr.DataTree) -> str:
    return f"{group(tree, schema.OBSERVED).sizes[schema.OBS]} observations"


def in_order(tree: xr.DataTree) -> IndexArray:
    """Observations sorted by row and outcome, so that the order of the data does not matter."""
    seen = group(tree, schema.OBSERVED)
    return np.lexsort([seen[name].values.astype(str) for name in (schema.OUTCOME, schema.ROW)])


def same_observations(first: xr.DataTree, second: xr.DataTree) -> bool:
    """Whether two trees describe the same rows and outcomes with the same values, in any order."""
    a, b = (group(tree, schema.OBSERVED).isel({schema.OBS: in_order(tree)}) for tree in (first, second))
    labels = all(
        np.array_equal(a[name].values.astype(str), b[name].values.astype(str)) for name in (schema.ROW, schema.OUTCOME)
    )
    return labels and np.array_equal(a["y"].values, b["y"].values)


def _X(tree: xr.DataTree) -> FloatArray:
    return np.asarray(group(tree, schema.CONSTANT)["X"].values, dtype=float)[in_order(tree)]


def _same_space(first: FloatArray, second: FloatArray) -> bool:
    """Whether the columns of two designs over the same observations span the same space."""
    return first.shape == second.shape and within(first, second)


def within(space: FloatArray, columns: FloatArray) -> bool:
    """Whether columns (n_obs, any) are linear combinations of the columns of `space` (n_obs, any)."""
    basis, scaled = _scaled(space), _scaled(columns)
    left = scaled - basis @ np.linalg.lstsq(basis, scaled)[0]
    return bool(np.all(np.linalg.norm(left, axis=0) < _SAME_SPACE))


def _scaled(columns: FloatArray) -> FloatArray:
    """Columns of length one; those of zeros as they are."""
    length = np.linalg.norm(columns, axis=0)
    return columns / np.where(length > 0, length, 1.0)
