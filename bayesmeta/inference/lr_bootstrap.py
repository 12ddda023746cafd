"""The distribution of a likelihood-ratio statistic from data sets of the smaller model."""

import warnings
from typing import Any

import numpy as np
import xarray as xr

from bayesmeta._typing import FloatArray
from bayesmeta.errors import BayesmetaWarning
from bayesmeta.estimation.fit_many import fit_many
from bayesmeta.inference.simulate import simulate
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import spec_from_tree


def null_statistics(small: xr.DataTree, big: xr.DataTree, n: int, seed: Any) -> FloatArray | None:
    """Statistics of the data sets, out of n drawn from the smaller model, of which both fits converge.

    None where the rows of the two models cannot be matched by their labels.
    """
    one, two = spec_from_tree(small), spec_from_tree(big)
    place = _rows_of(one, two)
    if place is None:
        return None
    Y = simulate(small, n, seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", BayesmetaWarning)
        null = fit_many(one, Y, method=small.attrs["method"])
        more = fit_many(two, Y[:, place], method=big.attrs["method"])
    converged = (null["converged"] & more["converged"]).to_numpy()
    return np.asarray(np.maximum(2 * (more["loglik"] - null["loglik"]).to_numpy()[converged], 0.0))


def _rows_of(one: Spec, two: Spec) -> np.ndarray | None:
    """For every row of the second specification its place in the first."""
    place = {label: i for i, label in enumerate(one.row_labels)}
    if len(place) < len(one.row_labels) or set(place) != set(two.row_labels) or one.outcomes != two.outcomes:
        return None
    rows = np.array([place[label] for label in two.row_labels])
    return rows if np.array_equal(_table(one)[rows], _table(two), equal_nan=True) else None


def _table(spec: Spec) -> FloatArray:
    y = np.full((len(spec.row_labels), len(spec.outcomes)), np.nan)
    y[spec.row, spec.outcome_index] = spec.y
    return y
