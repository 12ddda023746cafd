"""Predictions from posterior draws; `predict` holds what users call, with its description.

The statistics of a row are taken over all draws at once, and rows are worked through in chunks, since rows times draws
would not fit in memory.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import shown
from bayesmeta.errors import SpecError
from bayesmeta.inference.prediction_rows import Rows, depth, group_of_kept, new_design, new_effect, quadratic, table
from bayesmeta.model.spec import Level
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.posterior_draws import b_draws, beta_draws, psi_draws, summarised
from bayesmeta.tree.response import Reading
from bayesmeta.tree.specification import group, spec_from_tree

_STREAM = 6539  # keeps new effects apart from all else that is drawn with the seed; zeros after a seed would not
_MOST_VALUES = 4_000_000  # of predictions in memory at a time, 32 MB


def predict(
    tree: xr.DataTree,
    newdata: pd.DataFrame | Mapping[str, Any] | None,
    interval: Literal["confidence", "prediction"] | None,
    prob: float,
    read: Reading,
    levels: Sequence[Level],
) -> xr.Dataset:
    """`bm.predict` for a posterior; levels: those of which a prediction interval has a new group."""
    spec, beta = spec_from_tree(tree), beta_draws(tree)
    rows = Rows.of(spec, newdata)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)
    mean, variance = X @ beta.mean(0) + offset[:, None], quadratic(X, _covariance(beta))
    about, Z, new = "posterior standard deviation of the mean", [], []
    if levels:
        about = f"posterior standard deviation of {new_effect(spec, levels)}"
    for position, level in enumerate(levels):
        psi = psi_draws(tree, level.name)
        Z.append(new_design(spec, level, rows.frame))
        variance += quadratic(Z[-1], psi.mean(0))  # as b has mean zero, no draws of it are needed here
        new.append(_normal(psi, np.random.default_rng([_STREAM, position, int(tree.attrs["seed"])])))

    def effects(some: slice) -> FloatArray:
        return sum((z[some] @ b.T for z, b in zip(Z, new, strict=True)), _fixed(X[some], offset[some], beta))

    of_draws = _over_rows(effects, X.shape[:2], len(beta), prob, read) if interval or read.response else {}
    statistics = read.of_draws(of_draws | ({} if read.response else {"mean": mean, "se": np.sqrt(variance)}))
    if not levels or not read.response:
        _single_coefficients(tree, statistics, X, offset, prob, read, ("mean",) if levels else tuple(statistics))
    predicted = rows.table(spec.outcomes, statistics)
    predicted.attrs = read.attrs({"se": about} | ({"interval": interval, "prob": prob} if interval else {}))
    return predicted if interval else predicted.drop_vars(["lower", "upper"], errors="ignore")


def _single_coefficients(
    tree: xr.DataTree,
    statistics: dict[str, FloatArray],
    X: FloatArray,
    offset: FloatArray,
    prob: float,
    read: Reading,
    names: Sequence[str],
) -> None:
    """Means that are a multiple of one coefficient have its exact distribution, where the tree has that.

    So that a pooled effect is the same number wherever it is shown.
    """
    exact = exact_marginals.statistics(tree, "beta", prob)
    if exact is None:
        return
    table = group(tree, schema.MARGINALS)
    for at in zip(*np.nonzero((X != 0).sum(-1) == 1), strict=True):
        (j,), shift = np.flatnonzero(X[at]), offset[at[0]]
        weight, own = X[at][j], {name: values[j] for name, values in exact.items()}
        ends = sorted(weight * own[name] + shift for name in ("lower", "upper"))
        moved = dict(zip(("lower", "upper"), read.values(np.array(ends)), strict=True))
        moved["mean"] = weight * own["mean"] + shift
        if read.response:

            def mean_there(beta: FloatArray, w: float = weight, s: float = shift) -> FloatArray:
                return read.values(w * beta + s)

            moved["mean"] = exact_marginals.mean_of(table, "beta", int(j), mean_there)
        moved["se"] = np.abs(weight) * own["se"]
        for name in names:
            statistics[name][at] = moved[name]


def blup(tree: xr.DataTree, level: str | None, kind: str, se: str, prob: float, read: Reading) -> xr.Dataset:
    """`bm.blup` for a posterior."""
    if se != "exact":
        raise SpecError(
            f"se={shown(se)} is a formula for fits, this tree holds a posterior\n  leave it out for the SD of draws"
        )
    spec, beta = spec_from_tree(tree), beta_draws(tree)
    rows, used = Rows.kept(spec), depth(spec, level)
    X, offset = spec.design.fixed(rows.frame), spec.design.offset(rows.frame)
    b = [each.present(draws, 0.0) for each, draws in zip(spec.levels, b_draws(tree, spec)[:used], strict=False)]
    Z = [spec.design.random(each.name, rows.frame) for each in spec.levels[:used]]
    of_row = [group_of_kept(spec, each) for each in spec.levels[:used]]

    def effects(some: slice) -> FloatArray:
        random = [_product(z[some], draws[:, at[some]]) for z, draws, at in zip(Z, b, of_row, strict=True)]
        return sum(random, _fixed(X[some], offset[some], beta) if kind == "outcome" else np.zeros(1))

    statistics = read.of_draws(_over_rows(effects, X.shape[:2], len(beta), prob, read))
    predicted = rows.table(spec.outcomes, statistics)
    predicted.attrs = read.attrs({"level": level or spec.levels[-1].name, "kind": kind, "se": se, "prob": prob})
    return predicted


def ranef(tree: xr.DataTree, prob: float) -> xr.DataTree:
    """`bm.ranef` for a posterior."""
    spec = spec_from_tree(tree)
    root = xr.DataTree(xr.Dataset(attrs={"se": "exact", "prob": prob}))
    for level, b in zip(spec.levels, b_draws(tree, spec), strict=True):
        dims = (schema.group(level.name), schema.effect(level.name))
        root[level.name] = xr.DataTree(table(dims, summarised(b, prob), {dim: spec.coords[dim] for dim in dims}))
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


def _normal(psi: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(B, a) one draw from each N(0, Psi), Psi (B, a, a) singular or not."""
    values, vectors = np.linalg.eigh(psi)
    z = rng.standard_normal(values.shape)
    return np.einsum("bij,bj->bi", vectors, np.sqrt(np.maximum(values, 0)) * z)
