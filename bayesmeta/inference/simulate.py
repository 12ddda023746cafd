"""`simulate`: new effect estimates from a model, given its design."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_count, check_name, check_seed, check_size, listing
from bayesmeta.errors import SpecError, keeps_old_names
from bayesmeta.estimation.parallel import Backend, Jobs
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.kernel.layout import components
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.specification import group, spec_from_tree

POSTERIOR, DERIVED = "posterior", "derived"
_SEED = 100  # numbers that the seed of one data set takes as much memory as
BLOCK = 500_000  # random numbers of the data sets that are drawn together
ROUNDING = 1e-10  # of the largest entry of a Psi, for symmetry and for negative eigenvalues


@keeps_old_names
def simulate(
    spec_or_tree: Spec | xr.DataTree,
    n: int,
    random_seed: int | Sequence[int] | None = None,
    beta: ArrayLike | None = None,
    psi: ArrayLike | Mapping[str, ArrayLike] | None = None,
    *,
    n_jobs: int = 1,
    backend: Backend | None = None,
    progress: bool = False,
) -> FloatArray:
    """Draw new effect estimates, given the design and the sampling covariances.

    Parameters
    ----------
    spec_or_tree : Spec or DataTree
        A results tree, whose estimates are taken as true, or, if it holds a posterior, one of whose draws is taken for
        every data set, so that the data sets are draws from the posterior predictive distribution; or a specification,
        which needs `beta` and `psi`.
    n : int
        Number of data sets.
    random_seed : int or sequence of int, optional
        Whatever `numpy.random.SeedSequence` takes. Data set i depends on the seed and i alone.
    beta : array_like, optional
        (coef,) true coefficients, in place of those of the tree.
    psi : array_like or mapping, optional
        True between-study covariance, in place of those of the tree: a matrix, or with several levels one for each in a
        dict {level: matrix}; a number is a variance.
    n_jobs : int, default 1
        Number of processes, -1 for one on every processor. The data sets do not depend on it.
    backend : {"loky", "dask", "threading"}, optional
        Of joblib: processes of this machine (the default), the workers of the Dask client in scope, or threads.
    progress : bool, default False
        Whether a progress bar is shown.

    Returns
    -------
    ndarray
        (dataset, row, outcome), over all rows of the data, NaN where the specification has no observation. Random
        effects and sampling errors are drawn anew from normal distributions, and the offset is added.

    Raises
    ------
    SpecError
        When a specification comes without true values, or these have the wrong shape, are not finite, or a Psi is not
        positive semi-definite; when n is not a positive integer.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> bm.simulate(spec, n=1000, random_seed=1, beta=[-0.7], psi=0.3).shape
    (1000, 13, 1)
    """
    jobs = Jobs(n_jobs, backend, progress)
    root = np.random.SeedSequence(check_seed(random_seed))
    normal = _sized(spec_or_tree, check_count(n, "n"))
    spec, beta_of_tree, psi_of_tree = _values(spec_or_tree, n, np.random.default_rng(_child(root, 0)))
    true_beta = beta_of_tree if beta is None else true_coefficients(spec, beta)
    true_psi = psi_of_tree if psi is None else true_covariances(spec, psi)
    if true_beta is None or true_psi is None:
        raise SpecError("a specification has no true values: give beta= and psi=, or simulate from a fit")
    size = max(1, BLOCK // max(1, normal))
    pieces = [slice(i, min(i + size, n)) for i in range(0, n, size)]
    work = _Draws(spec, root, true_beta, true_psi, root_of_S(spec))
    return np.concatenate(list(jobs.in_order(work, pieces, "blocks of data sets")))


def _child(root: np.random.SeedSequence, i: int) -> np.random.SeedSequence:
    """The seed that `root.spawn` makes in place i, without those before it."""
    return np.random.SeedSequence(root.entropy, spawn_key=(i,))


@dataclass(frozen=True, eq=False)
class _Draws:
    """What draws data sets by their places: the values that are true of all of them, or of each; see `draw`."""

    spec: Spec
    root: np.random.SeedSequence
    beta: FloatArray
    psi: list[FloatArray]
    root_S: tuple[FloatArray, IntArray, IntArray]

    def __call__(self, places: slice) -> FloatArray:
        seeds = [_child(self.root, i + 1) for i in range(places.start, places.stop)]
        beta = self.beta if self.beta.ndim == 1 else self.beta[places]
        psi = [values if values.ndim == 2 else values[places] for values in self.psi]
        return draw(self.spec, seeds, beta, psi, self.root_S)


def _sized(source: Spec | xr.DataTree, n: int) -> int:
    """How many random numbers a data set takes, after a check of the memory that all need."""
    spec = source if isinstance(source, Spec) else spec_from_tree(source)
    normal = len(spec.y) + sum(level.n_groups * level.dim for level in spec.levels)
    values = len(spec.row_labels) * len(spec.outcomes) + 2 * normal + _SEED
    check_size(8.0 * n * values, f"{n:,} data sets of {len(spec.y)} observations")
    return normal


def draw(
    spec: Spec,
    seeds: list[np.random.SeedSequence],
    beta: FloatArray,
    psi: list[FloatArray],
    root_S: tuple[FloatArray, IntArray, IntArray],
) -> FloatArray:
    """One data set for each seed (dataset, row, outcome).

    beta (P,) or (dataset, P); psi per level (a, a) or (dataset, a, a); root_S : values (nnz,) or (dataset, nnz), rows
    and columns of a root C of S, S = C C'.
    """
    sizes = [level.n_groups * level.dim for level in spec.levels]
    normal = np.array([np.random.default_rng(seed).standard_normal(sum(sizes) + len(spec.y)) for seed in seeds])
    *b, e = np.split(normal, np.cumsum(sizes), axis=1)
    y = np.broadcast_to(spec.offset + beta @ spec.X.T, e.shape).copy()
    for level, drawn, covariance in zip(spec.levels, b, psi, strict=True):
        y += _random_part(level, drawn, covariance)
    value, row, col = root_S
    terms = value * e[:, col]
    order = np.argsort(row, kind="stable")
    starts = np.searchsorted(row[order], np.arange(len(spec.y)))
    y += np.add.reduceat(terms[:, order], starts, axis=1)
    Y = np.full((len(seeds), len(spec.row_labels), len(spec.outcomes)), np.nan)
    Y[:, spec.row, spec.outcome_index] = y
    return Y


def _random_part(level: Level, drawn: FloatArray, psi: FloatArray) -> FloatArray:
    if not level.dim:
        return np.zeros((len(drawn), len(level.Z)))
    effects = drawn.reshape(len(drawn), level.n_groups, level.dim) @ psi_root(psi).mT
    return np.asarray(np.einsum("na,bna->bn", level.Z, effects[:, level.index]))


def psi_root(psi: FloatArray) -> FloatArray:
    """F with F F' = Psi, for singular ones too."""
    values, vectors = np.linalg.eigh(psi)
    return np.asarray(vectors * np.sqrt(np.maximum(values, 0.0))[..., None, :])


def root_of_S(spec: Spec) -> tuple[FloatArray, IntArray, IntArray]:
    """Values, rows and columns of the Cholesky factor of the sampling covariance, component by component."""
    row, col = spec.S.row, spec.S.col
    label = components(len(spec.y), row, col)
    order = np.argsort(label, kind="stable")
    size = np.bincount(label)
    start = np.cumsum(np.r_[0, size[:-1]])
    position = np.empty_like(order)
    position[order] = np.arange(len(order)) - start[label[order]]
    parts: list[tuple[FloatArray, IntArray, IntArray]] = []
    for s in np.unique(size):
        these = np.flatnonzero(size == s)
        place = np.full(len(size), -1)
        place[these] = np.arange(len(these))
        own = place[label[row]] >= 0
        blocks = np.zeros((len(these), s, s))
        at, i, j = place[label[row[own]]], position[row[own]], position[col[own]]
        blocks[at, i, j] = blocks[at, j, i] = spec.S.value[own]
        members = order[start[these][:, None] + np.arange(s)]
        lower_i, lower_j = np.tril_indices(s)
        root = np.linalg.cholesky(blocks)[:, lower_i, lower_j]
        parts.append((root.ravel(), members[:, lower_i].ravel(), members[:, lower_j].ravel()))
    value, rows, cols = (np.concatenate(part) for part in zip(*parts, strict=True))
    return value, rows, cols


def true_coefficients(spec: Spec, beta: Any) -> FloatArray:
    """The given coefficients (P,), checked."""
    if isinstance(beta, pd.Series):
        check_labels(beta.index, spec.coef, "beta", error=SpecError)
    values = as_numbers(beta, "beta", SpecError)
    if values.shape != (len(spec.coef),) or not np.isfinite(values).all():
        raise SpecError(f"beta has shape {values.shape}; give {len(spec.coef)} finite numbers: {listing(spec.coef)}")
    return values


def true_covariances(spec: Spec, psi: Any) -> list[FloatArray]:
    """The given Psi of every level, checked."""
    levels = {level.name: level for level in spec.levels if level.dim}
    if isinstance(psi, Mapping):
        psi = dict(psi)
    elif len(levels) == 1:
        psi = dict.fromkeys(levels, psi)
    else:
        raise SpecError(f"the model has several levels ({listing(levels)}); give psi as a dict {{level: matrix}}")
    for name in psi:
        check_name(name, levels, "psi names a level", "levels")
    if missing := [name for name in levels if name not in psi]:
        raise SpecError(f"psi has no matrix for level {listing(missing)}\n  name a matrix for every level")
    return [_checked(psi[v.name], v) if v.dim else np.zeros((0, 0)) for v in spec.levels]


def _checked(matrix: Any, level: Level) -> FloatArray:
    what = f"the true psi of level '{level.name}'"
    if isinstance(matrix, pd.Series | pd.DataFrame):
        for labels in matrix.axes:
            check_labels(labels, level.effects, what, error=SpecError)
    psi = as_numbers(matrix, what, SpecError)
    psi = psi.reshape(1, 1) if psi.ndim == 0 else psi
    if psi.shape != (level.dim, level.dim) or not np.isfinite(psi).all():
        raise SpecError(f"{what} has shape {psi.shape}; give a finite {level.dim} x {level.dim} matrix")
    size = np.abs(psi).max()
    if np.abs(psi - psi.T).max() > ROUNDING * size:
        raise SpecError(f"{what} is not symmetric\n  entries (i, j) and (j, i) must be the same")
    if (least := np.linalg.eigvalsh(psi)[0]) < -ROUNDING * size:
        raise SpecError(
            f"{what} is not positive semi-definite: smallest eigenvalue {least:.3g}"
            "\n  correlations in it lie between -1 and 1, and fit one another: bm.within.nearest"
        )
    return psi


def _values(
    source: Spec | xr.DataTree, n: int, rng: np.random.Generator
) -> tuple[Spec, FloatArray | None, list[FloatArray] | None]:
    """The specification, and what its tree says of beta (P,) or (n, P), and of Psi per level."""
    if isinstance(source, Spec):
        return source, None, None
    if isinstance(source, xr.DataTree) and POSTERIOR in source.children:
        spec = spec_from_tree(source)
        posterior, derived = group(source, POSTERIOR), group(source, DERIVED)
        beta = posterior["beta"].transpose("chain", "draw", schema.COEF).to_numpy().reshape(-1, len(spec.coef))
        which = rng.choice(len(beta), n, replace=n > len(beta))
        return spec, beta[which], [_drawn(derived, level)[which] for level in spec.levels]
    estimate = group(source, schema.ESTIMATE)
    spec = spec_from_tree(source)
    psi = [np.asarray(estimate[schema.psi(level.name)].to_numpy(), dtype=float) for level in spec.levels]
    return spec, np.asarray(estimate["beta"].to_numpy(), dtype=float), psi


def _drawn(derived: xr.Dataset, level: Level) -> FloatArray:
    """Draws (chain x draw, a, a) of the Psi of a level."""
    effect = schema.effect(level.name)
    if level.dim == 0:
        return np.zeros((derived.sizes["chain"] * derived.sizes["draw"], 0, 0))
    psi = derived[schema.psi(level.name)].transpose("chain", "draw", effect, schema.bis(effect))
    return np.asarray(psi.to_numpy(), dtype=float).reshape(-1, level.dim, level.dim)
