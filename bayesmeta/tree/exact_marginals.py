"""Exact marginal distributions that a posterior tree holds where it was computed without Markov chains.

The quantiles in the tree stand so close that splines through them, over the quantiles of the standard normal
distribution, give those between to a few hundred-thousandths of an SD.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import xarray as xr
from scipy.special import ndtr, ndtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.structures.base import Structure
from bayesmeta.tree.posterior_draws import psi_draws
from bayesmeta.tree.specification import group

NODES = 64  # of Gauss-Hermite quadrature, for means of functions


def is_exact(tree: xr.DataTree) -> bool:
    """Whether a posterior was computed without Markov chains."""
    return schema.MARGINALS in tree.children


def statistics(tree: xr.DataTree, name: str, prob: float) -> dict[str, FloatArray] | None:
    """`mean`, `se` (the SD), `lower` and `upper` (equal-tailed) of a variable; None where the tree lacks it."""
    if not is_exact(tree) or f"{name}_mean" not in group(tree, schema.MARGINALS):
        return None
    table = group(tree, schema.MARGINALS)
    mean, sd = (table[f"{name}_{each}"].to_numpy().astype(float) for each in ("mean", "sd"))
    lower, upper = quantiles(table, name, np.array([(1 - prob) / 2, (1 + prob) / 2]))
    return {"mean": mean, "se": sd, "lower": lower, "upper": upper}


def psi_means(tree: xr.DataTree, level: str) -> FloatArray:
    """(a, a) posterior means of the between-group covariances of a level; a is 0 for a level that only groups."""
    own = f"{schema.psi(level)}_mean"
    if is_exact(tree) and own in (table := group(tree, schema.MARGINALS)):
        effect = schema.effect(level)
        return np.asarray(table[own].transpose(effect, schema.bis(effect)).to_numpy(), float)
    return np.asarray(psi_draws(tree, level).mean(0))


def quantiles(table: xr.Dataset, name: str, prob: FloatArray) -> FloatArray:
    """Quantiles (len(prob), ...) of a variable."""
    known = table[f"{name}_quantile"].transpose(schema.QUANTILE, ...).to_numpy().astype(float)
    at = table[schema.QUANTILE].to_numpy().astype(float)
    near = np.abs(at[:, None] - prob) < 1e-9
    if near.any(0).all():
        return np.asarray(known[near.argmax(0)])
    return np.asarray(_spline(ndtri(at), known)(ndtri(prob)))


def _spline(at: FloatArray, known: FloatArray) -> Callable[..., Any]:
    from scipy.interpolate import make_interp_spline  # heavy, and fits have no use of it

    return make_interp_spline(at, known, k=3)


def mean_of(table: xr.Dataset, name: str, j: int, function: Callable[[FloatArray], FloatArray]) -> float:
    """Mean of a function of entry j of a variable, by quadrature over its quantiles."""
    z, weight = np.polynomial.hermite_e.hermegauss(NODES)
    known = (
        table[f"{name}_quantile"].transpose(schema.QUANTILE, ...).to_numpy().reshape(len(table[schema.QUANTILE]), -1)
    )
    at = ndtri(table[schema.QUANTILE].to_numpy().astype(float))
    values = _straight_beyond(at, known[:, j], z)
    return float(function(values) @ weight / weight.sum())


def _straight_beyond(at: FloatArray, known: FloatArray, z: FloatArray) -> FloatArray:
    """A cubic spline through quantiles, and straight lines beyond."""
    spline = _spline(at, known)
    inner = np.clip(z, at[0], at[-1])
    return np.asarray(spline(inner) + (z - inner) * np.maximum(spline(inner, 1), 0.0))


def probability_below(tree: xr.DataTree, name: str, j: int, value: float) -> float:
    """Probability that entry j of a variable lies below a value."""
    table = group(tree, schema.MARGINALS)
    known = (
        table[f"{name}_quantile"].transpose(schema.QUANTILE, ...).to_numpy().reshape(len(table[schema.QUANTILE]), -1)
    )
    x, z = known[:, j], ndtri(table[schema.QUANTILE].to_numpy().astype(float))
    kept = np.append(True, np.diff(np.maximum.accumulate(x)) > 0)
    x, z = x[kept], z[kept]
    if len(x) < 3:
        return float(value > x[0])
    from scipy.interpolate import PchipInterpolator

    score = PchipInterpolator(x, z)
    inside = float(np.clip(value, x[0], x[-1]))
    end = score.derivative()(inside) if inside != value else 0.0
    return float(ndtr(score(inside) + (value - inside) * end))


def of_sds(tree: xr.DataTree, level: str, structure: Structure, dim: int, prob: float) -> dict[str, FloatArray] | None:
    """Statistics (dim,) of the SDs of all effects of a level; None where some are not free."""
    n = structure.n_tau(dim)
    own = statistics(tree, schema.tau(level), prob)
    if own is None or not n or not dim:
        return None
    none = np.zeros(structure.n_rho(dim))
    size = np.sqrt(np.diag(np.asarray(structure.compose(np.ones(n), none, dim), float)))
    return {name: np.broadcast_to(np.ravel(values), dim) * size for name, values in own.items()}


def of_correlations(
    tree: xr.DataTree, level: str, structure: Structure, dim: int, prob: float
) -> Mapping[int, dict[str, float]]:
    """Statistics of the correlations that are free parameters themselves, by position among the pairs of rows."""
    own = statistics(tree, schema.rho(level), prob)
    n = structure.n_rho(dim)
    if own is None or not n:
        return {}
    pairs = np.triu_indices(dim, k=1)
    trial = np.linspace(0.05, 0.2, n)
    R = np.asarray(structure.compose(np.ones(structure.n_tau(dim)), trial, dim), float)[pairs]
    flat = {name: np.ravel(values) for name, values in own.items()}
    return {
        at: {name: float(values[int(np.argmin(np.abs(trial - value)))]) for name, values in flat.items()}
        for at, value in enumerate(R)
        if np.abs(trial - value).min() < 1e-12
    }
