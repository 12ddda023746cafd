"""The draws of a posterior tree as plain arrays, one axis over all chains first, and what is said of them."""

from collections.abc import Mapping

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta.errors import SpecError
from bayesmeta.kernel.draws import conditional_draws
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import group

SAMPLE = (schema.CHAIN, schema.DRAW)
_SEED = "b_seed"
_CONSTANT = 1e-10  # an SD of the draws below this fraction of their size is rounding: the structure fixes the value


def is_posterior(tree: object) -> bool:
    """Whether a results tree holds draws from a posterior."""
    return isinstance(tree, xr.DataTree) and schema.POSTERIOR in tree.children


def beta_draws(tree: xr.DataTree) -> FloatArray:
    """(B, P) coefficients."""
    return _stacked(group(tree, schema.POSTERIOR)["beta"], schema.COEF)


def psi_draws(tree: xr.DataTree, level: str) -> FloatArray:
    """(B, a, a) between-group covariances of a level; a is 0 for a level that only groups."""
    effect, derived = schema.effect(level), group(tree, schema.DERIVED)
    if schema.psi(level) in derived:
        return _stacked(derived[schema.psi(level)], effect, schema.bis(effect))
    return np.zeros((len(beta_draws(tree)), 0, 0))


def tau_draws(tree: xr.DataTree, level: str) -> FloatArray:
    """(B, a) SDs of all effects of a level, also those that the structure holds equal or constant."""
    return np.sqrt(np.diagonal(psi_draws(tree, level), axis1=1, axis2=2))


def rho_draws(tree: xr.DataTree, level: str) -> FloatArray:
    """(B, pairs) correlations of all pairs of effects, in the order of rows; NaN where an SD is zero."""
    return correlations(psi_draws(tree, level))


def own_draws(tree: xr.DataTree, level: str, kind: str) -> FloatArray:
    """(B, 1 or a) draws of the SDs ("tau"), or of the correlation ("rho"), that a level has as parameters."""
    values = group(tree, schema.POSTERIOR)[f"{kind}_{level}"].transpose(*SAMPLE, ...).to_numpy().astype(float)
    return values.reshape(values.shape[0] * values.shape[1], -1)


def correlations(psi: FloatArray) -> FloatArray:
    """(B, pairs) correlations of covariance matrices (B, a, a)."""
    sd = np.sqrt(np.diagonal(psi, axis1=1, axis2=2))
    first, second = np.triu_indices(psi.shape[1], k=1)
    scale = sd[:, first] * sd[:, second]
    return np.divide(psi[:, first, second], scale, out=np.full(scale.shape, np.nan), where=scale > 0)


def b_draws(tree: xr.DataTree, spec: Spec) -> list[FloatArray]:
    """(B, groups, a) random effects of every level, outer to inner.

    A tree that would have been too large holds a seed in their place, with which they are drawn again given the draws
    of beta and Psi, the same each time. NaN at times that a group does not have.
    """
    posterior = group(tree, schema.POSTERIOR)
    effects = group(tree, schema.RANDOM_EFFECTS) if schema.RANDOM_EFFECTS in tree.children else xr.Dataset()
    if any(level.dim and schema.b(level.name) not in effects for level in spec.levels):
        if not str(posterior.attrs.get(_SEED, "")).isdecimal():
            raise SpecError(
                f"this tree holds neither the random effects nor {_SEED}, from which to draw them again"
                "\n  sample again, or load the file as it was saved"
            )
        psi = [psi_draws(tree, level.name) for level in spec.levels]
        rng = np.random.default_rng(int(posterior.attrs[_SEED]))
        drawn = conditional_draws(spec.statistics, psi, beta_draws(tree), rng)
        return [level.present(b) for level, b in zip(spec.levels, drawn, strict=True)]
    n = posterior.sizes[schema.CHAIN] * posterior.sizes[schema.DRAW]
    return [
        _stacked(effects[schema.b(level.name)], schema.group(level.name), schema.effect(level.name))
        if level.dim
        else np.zeros((n, level.n_groups, 0))
        for level in spec.levels
    ]


def summarised(draws: FloatArray, prob: float, axis: int = 0) -> dict[str, FloatArray]:
    """Mean, SD and equal-tailed interval over one axis: `mean`, `se`, `lower`, `upper`, in this order."""
    tails = (1 - prob) / 2, (1 + prob) / 2
    lower, upper = np.quantile(draws, tails, axis=axis)
    return {"mean": draws.mean(axis), "se": draws.std(axis, ddof=1), "lower": lower, "upper": upper}


def rank_probabilities(draws: FloatArray) -> dict[str, FloatArray]:
    """How n quantities rank by size in draws (B, n), the smallest first.

    `sucra` (n,), the surface under the cumulative ranking curve, `mean_rank` and `median_rank`; over ranks (n, n)
    `probability`, `cumulative`, and `probability_mcse`, the Monte Carlo error of independent draws.

    >>> rank_probabilities(np.array([[0.1, 0.3], [0.2, 0.1], [0.0, 1.0], [0.5, 0.9]]))["sucra"]
    array([0.75, 0.25])
    """
    ranks = np.argsort(np.argsort(draws, axis=1), axis=1)
    probability = np.stack([(ranks == rank).mean(0) for rank in range(draws.shape[1])], axis=1)
    cumulative = probability.cumsum(1)
    return {
        "sucra": cumulative[:, :-1].mean(1),
        "mean_rank": ranks.mean(0) + 1,
        "median_rank": np.median(ranks, axis=0) + 1,
        "probability": probability,
        "cumulative": cumulative,
        "probability_mcse": np.sqrt(probability * (1 - probability) / len(draws)),
    }


def unless_constant(statistics: Mapping[str, FloatArray], size: FloatArray | float) -> dict[str, FloatArray]:
    """The same with NaN for SD and interval where the draws do not vary; size (...) is what an SD is compared with."""
    varies = statistics["se"] > _CONSTANT * np.asarray(size)
    return {name: values if name == "mean" else np.where(varies, values, np.nan) for name, values in statistics.items()}


def _stacked(values: xr.DataArray, *dims: str) -> FloatArray:
    ordered = values.transpose(*SAMPLE, *dims).to_numpy().astype(float)
    return ordered.reshape(-1, *ordered.shape[2:])
