"""Predictions from posteriors; `predict` holds what users call, with its description.

Those without chains are exact. Of Markov chains the statistics of a row are taken over all draws at once, and rows are
worked through in chunks, since rows times draws would not fit in memory.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import shown
from bayesmeta.bayes.integration_points import beta_moments, exact_posterior
from bayesmeta.errors import SpecError
from bayesmeta.inference import exact_predict
from bayesmeta.inference.prediction_rows import (
    JOINT,
    Covariance,
    Rows,
    depth,
    joint_of,
    new_design,
    new_effect,
    quadratic,
    table,
)
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.exact_marginals import psi_means
from bayesmeta.tree.posterior_draws import b_draws, beta_draws, psi_draws, summarised
from bayesmeta.tree.response import Reading
from bayesmeta.tree.specification import spec_from_tree

_STREAM = 6539  # keeps new effects apart from all else that is drawn with the seed; zeros after a seed would not
_MOST_VALUES = 4_000_000  # of predictions in memory at a time, 32 MB


def predict(
    tree: xr.DataTree,
    rows: Rows,
    interval: Literal["confidence", "prediction"] | None,
    prob: float,
    read: Reading,
    levels: Sequence[Level],
    covariance: Covariance,
) -> xr.Dataset:
    """`bm.predict` for a posterior; levels: those of which a prediction interval has a new group."""
    spec, points = spec_from_tree(tree), exact_posterior(tree)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)
    about, Z = "posterior standard deviation of the mean", [new_design(spec, level, rows.frame) for level in levels]
    if levels:
        about = f"posterior standard deviation of {new_effect(spec, levels)}"
    if points is not None:
        statistics = exact_predict.of_rows(points, X, offset, Z, prob, read)
    else:
        statistics = _of_draws(tree, X, offset, Z, levels, prob, read, interval is not None)
    predicted = rows.table(spec.outcomes, statistics)
    predicted.attrs = read.attrs({"se": about} | ({"interval": interval, "prob": prob} if interval else {}))
    if covariance:
        designs = [(X, beta_moments(tree)[1])]
        designs += [(z, psi_means(tree, level.name)) for z, level in zip(Z, levels, strict=True)]
        by_draws = np.sum([z @ V @ z.mT for z, V in designs], axis=0)
        exact = None if points is None else exact_predict.covariance_of_rows(points, X, Z)
        rows.with_covariance(predicted, by_draws if exact is None else exact)
        if covariance == JOINT:
            rows.with_joint_covariance(predicted, np.sum([joint_of(z, V) for z, V in designs], axis=0))
    return predicted if interval else predicted.drop_vars(["lower", "upper"], errors="ignore")


def _of_draws(
    tree: xr.DataTree,
    X: FloatArray,
    offset: FloatArray,
    Z: Sequence[FloatArray],
    levels: Sequence[Level],
    prob: float,
    read: Reading,
    interval: bool,
) -> dict[str, FloatArray]:
    """Statistics (n, k) over draws of Markov chains."""
    beta, new = beta_draws(tree), []
    mean, variance = X @ beta.mean(0) + offset[:, None], quadratic(X, _covariance(beta))
    for position, level in enumerate(levels):
        psi = psi_draws(tree, level.name)
        variance += quadratic(Z[position], psi.mean(0))  # as b has mean zero, no draws of it are needed here
        new.append(normal_draws(psi, np.random.default_rng([_STREAM, position, int(tree.attrs["seed"])])))

    def effects(some: slice) -> FloatArray:
        return sum((z[some] @ b.T for z, b in zip(Z, new, strict=True)), _fixed(X[some], offset[some], beta))

    of_draws = _over_rows(effects, X.shape[:2], len(beta), prob, read) if interval or read.response else {}
    return read.of_draws(of_draws | ({} if read.response else {"mean": mean, "se": np.sqrt(variance)}))


def means(tree: xr.DataTree, X: FloatArray, offset: FloatArray, prob: float) -> dict[str, FloatArray]:
    """Statistics (n,) of x beta + offset, X (n, P), on the scale of the model."""
    if (points := exact_posterior(tree)) is None:
        return summarised(X @ beta_draws(tree).T + offset[:, None], prob, axis=1)
    made = points.combination(X).shifted(offset)
    lower, upper = made.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))
    return {"mean": made.mean, "se": made.sd, "lower": lower, "upper": upper}


def combinations(
    tree: xr.DataTree, L: FloatArray, prob: float, read: Reading, Z: Sequence[FloatArray] = ()
) -> dict[str, FloatArray]:
    """Statistics (q,) of L beta as they are read, L (q, P), plus new effects by Z (q, a) of the first levels."""
    X, offset, designs = L[:, None], np.zeros(len(L)), [z[:, None] for z in Z]
    if (points := exact_posterior(tree)) is not None:
        statistics = exact_predict.of_rows(points, X, offset, designs, prob, read)
    else:
        statistics = _of_draws(tree, X, offset, designs, spec_from_tree(tree).levels[: len(Z)], prob, read, True)
    return {name: values[:, 0] for name, values in statistics.items()}


def below(tree: xr.DataTree, L: FloatArray, value: float) -> FloatArray:
    """(q,) probabilities that combinations L beta, L (q, P), lie below a value."""
    if (points := exact_posterior(tree)) is None:
        return np.asarray(np.mean(beta_draws(tree) @ L.T < value, axis=0))
    return points.combination(L).below(np.full((1, len(L)), value))[0]


def blup(
    tree: xr.DataTree,
    rows: Rows,
    level: str | None,
    kind: str,
    se: str,
    prob: float,
    read: Reading,
    covariance: Covariance,
) -> xr.Dataset:
    """`bm.blup` for a posterior."""
    if se != "exact":
        raise SpecError(
            f"se={shown(se)} is a formula for fits, this tree holds a posterior\n  leave it out for the SD of draws"
        )
    spec, points = spec_from_tree(tree), exact_posterior(tree)
    used = depth(spec, level)
    if points is not None:
        statistics = exact_predict.of_groups(points, rows, used, kind == "outcome", prob, read)
    else:
        shape, n_draws = (len(rows.frame), len(spec.outcomes)), len(beta_draws(tree))
        effects = _drawn_groups(tree, spec, rows, used, kind)
        statistics = read.of_draws(_over_rows(effects, shape, n_draws, prob, read))
    predicted = rows.table(spec.outcomes, statistics)
    predicted.attrs = read.attrs({"level": level or spec.levels[-1].name, "kind": kind, "se": se, "prob": prob})
    if covariance and points is not None:
        rows.with_covariance(predicted, exact_predict.covariance_of_groups(points, rows, used, kind == "outcome"))
    if covariance and (points is None or covariance == JOINT):
        drawn = _drawn_groups(tree, spec, rows, used, kind)(slice(None))
        centred = drawn - drawn.mean(-1, keepdims=True)
        if points is None:
            rows.with_covariance(predicted, centred @ centred.mT / (drawn.shape[-1] - 1))
        if covariance == JOINT:
            rows.with_joint_covariance(predicted, _joint_of_draws(centred))
    return predicted


def _joint_of_draws(centred: FloatArray) -> FloatArray:
    """(n, k, n, k) of draws (n, k, B) about their means."""
    n, k, size = centred.shape
    flat = centred.reshape(-1, size)
    return np.asarray(flat @ flat.T / (size - 1)).reshape(n, k, n, k)


def _drawn_groups(tree: xr.DataTree, spec: Spec, rows: Rows, used: int, kind: str) -> Callable[[slice], FloatArray]:
    """Effects (some rows, k, draws) of the rows of the data by Markov chains."""
    beta = beta_draws(tree)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)
    b = [each.present(draws, 0.0) for each, draws in zip(spec.levels, b_draws(tree, spec)[:used], strict=False)]
    Z = [spec.design.random(each.name, rows.frame) for each in spec.levels[:used]]
    of_row = [rows.group(spec, each) for each in spec.levels[:used]]

    def effects(some: slice) -> FloatArray:
        random = [_product(z[some], draws[:, at[some]]) for z, draws, at in zip(Z, b, of_row, strict=True)]
        return sum(random, _fixed(X[some], offset[some], beta) if kind == "outcome" else np.zeros(1))

    return effects


def ranef(tree: xr.DataTree, prob: float) -> xr.DataTree:
    """`bm.ranef` for a posterior."""
    spec, points = spec_from_tree(tree), exact_posterior(tree)
    root = xr.DataTree(xr.Dataset(attrs={"se": "exact", "prob": prob}))
    draws = b_draws(tree, spec) if points is None else []
    for i, level in enumerate(spec.levels):
        dims = (schema.group(level.name), schema.effect(level.name))
        own = summarised(draws[i], prob) if points is None else exact_predict.of_effects(tree, points, i, prob)
        root[level.name] = xr.DataTree(table(dims, own, {dim: spec.coords[dim] for dim in dims}))
    return root


def _fixed(X: FloatArray, offset: FloatArray, beta: FloatArray) -> FloatArray:
    """(n, k, B) fixed part with the offset."""
    return X @ beta.T + offset[:, None, None]


def _product(Z: FloatArray, b: FloatArray) -> FloatArray:
    """(n, k, B) of designs (n, k, a) and effects (B, n, a)."""
    return np.matmul(Z, np.moveaxis(b, 0, -1))


def _over_rows(
    draws: Callable[[slice], FloatArray], shape: tuple[int, ...], n_draws: int, prob: float, read: Reading
) -> dict[str, FloatArray]:
    """Statistics (n, k) of draws (some rows, k, n_draws)."""
    n, k = shape
    step = max(1, _MOST_VALUES // (n_draws * k))
    parts = [summarised(read.values(draws(slice(at, at + step))), prob, axis=-1) for at in range(0, max(n, 1), step)]
    return {name: np.concatenate([part[name] for part in parts]) for name in ("mean", "se", "lower", "upper")}


def _covariance(draws: FloatArray) -> FloatArray:
    """(P, P) of draws (B, P)."""
    centred = draws - draws.mean(0)
    return centred.T @ centred / (len(draws) - 1)


def normal_draws(psi: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(B, a) one draw from each N(0, Psi), Psi (B, a, a) singular or not."""
    values, vectors = np.linalg.eigh(psi)
    z = rng.standard_normal(values.shape)
    return np.einsum("bij,bj->bi", vectors, np.sqrt(np.maximum(values, 0)) * z)
