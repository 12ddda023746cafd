"""Leave-one-out cross-validation of posterior trees, where what is left out is the same in all of them."""

from collections.abc import Mapping
from itertools import pairwise

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.inference.loo import left_out
from bayesmeta.inference.same_data import in_order, same_observations
from bayesmeta.tree.parameters import level_structures
from bayesmeta.tree.posterior_draws import is_posterior
from bayesmeta.tree.specification import group

MIXED = "maximised likelihoods and posteriors are not on the same scale"
_FEWEST = 100  # draws; with less than 25 the fit of a Pareto distribution to the largest weights fails


def posterior_obstacle(trees: Mapping[str, xr.DataTree]) -> str:
    """Why leave-one-out criteria of the trees may not be compared; empty when they may.

    What is left out is an outer group with all its observations, so the groups must be the same, too.
    """
    if not all(map(is_posterior, trees.values())):
        return MIXED
    for name, tree in trees.items():
        if schema.LOG_LIKELIHOOD not in tree.children:
            return f"{name} has no /{schema.LOG_LIKELIHOOD}"
        if len(_first_observation(tree)) < 2:
            return f"{name} has one group of {_outer(tree)}, and nothing is left when it is left out"
    for (one, first), (two, second) in pairwise(trees.items()):
        if not same_observations(first, second):
            sizes = [group(tree, schema.OBSERVED).sizes[schema.OBS] for tree in (first, second)]
            return f"{one} ({sizes[0]} observations) and {two} ({sizes[1]}) do not describe the same observations"
        if not np.array_equal(_partition(first), _partition(second)):
            return (
                f"{one} leaves out one {_outer(first)} at a time and {two} one {_outer(second)}, "
                "which are not the same observations"
            )
    few = [f"{name} has {_draws(tree)} draws" for name, tree in trees.items() if _draws(tree) < _FEWEST]
    return f"{listing(few)}, and the tails of the weights need {_FEWEST}" if few else ""


def posterior_criteria(trees: Mapping[str, xr.DataTree]) -> pd.DataFrame:
    """One row per tree: elpd_loo, se, p_loo, elpd_diff and se_diff to the best tree, bad_k, good_k, groups, method.

    bad_k is the share of the outer groups whose Pareto k exceeds good_k, so that their part of elpd_loo is not reliable
    (Vehtari, Gelman and Gabry 2017, Stat. Comput. 27:1413-1432). Differences are of the groups, pair by pair.
    """
    criteria = {name: left_out(tree) for name, tree in trees.items()}
    each = {name: _by_group(own.elpd, trees[name]) for name, own in criteria.items()}
    best = max(each, key=lambda name: each[name].sum())
    rows = {}
    for name, own in criteria.items():
        difference, n = each[name] - each[best], len(each[name])
        rows[name] = {
            "elpd_loo": float(own.elpd.sum()),
            "se": float(np.sqrt(n * own.elpd.var(ddof=1))),
            "p_loo": own.p,
            "elpd_diff": float(difference.sum()),
            "se_diff": float(np.sqrt(n * difference.var(ddof=1))),
            "bad_k": own.bad_k,
            "good_k": own.good_k,
            "groups": n,
            "method": trees[name].attrs["method"],
        }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("tree")


def bad_k_note(criteria: pd.DataFrame) -> str:
    """A remark on the trees whose elpd_loo is not reliable; empty when there are none."""
    bad = criteria[criteria["bad_k"] > 0]
    if bad.empty:
        return ""
    each = ", ".join(
        f"{name} ({row['bad_k'] * row['groups']:.0f} of {row['groups']}, k > {row['good_k']:.2f})"
        for name, row in bad.iterrows()
    )
    return f"elpd_loo is not reliable for very influential groups: {each}; sampling without each of them would tell"


def _draws(tree: xr.DataTree) -> int:
    sizes = group(tree, schema.POSTERIOR).sizes
    return sizes[schema.CHAIN] * sizes[schema.DRAW]


def _outer(tree: xr.DataTree) -> str:
    return next(iter(level_structures(tree)))


def _codes(tree: xr.DataTree) -> IntArray:
    """Outer group of every observation, observations sorted so that the order of the data does not matter."""
    return np.asarray(group(tree, schema.CONSTANT)[schema.index(_outer(tree))].values)[in_order(tree)]


def _first_observation(tree: xr.DataTree) -> IntArray:
    """The first of the sorted observations of every outer group, groups in the order of the tree."""
    return np.unique(_codes(tree), return_index=True)[1]


def _partition(tree: xr.DataTree) -> IntArray:
    """Of every sorted observation the first one in its group: the same for the same groups, whatever their labels."""
    return _first_observation(tree)[_codes(tree)]


def _by_group(values: FloatArray, tree: xr.DataTree) -> FloatArray:
    """Values of the outer groups, groups in the order of the sorted observations."""
    return np.asarray(values)[np.argsort(_first_observation(tree))]
