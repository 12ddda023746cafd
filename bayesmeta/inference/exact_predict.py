"""Predictions from posteriors without chains: mixtures of normals over the points that the tree keeps.

Given a point all that is linear in coefficients and random effects is normal, so its distribution is a mixture whose
means, SDs, quantiles and probabilities have no Monte Carlo error. On another scale quantiles are transformed, and means
are averages over the components: of ratios, means of log-normal distributions.
"""

from collections.abc import Callable, Sequence

import numpy as np
import xarray as xr
from scipy.special import ndtr

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.mixtures import Normals, Weighted
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.inference.prediction_rows import Rows
from bayesmeta.tree import exact_marginals
from bayesmeta.tree.response import Reading
from bayesmeta.tree.specification import group
from bayesmeta.tree_schema import MARGINALS, b

_MOST_CELLS = 8_000_000  # points times quantities at a time
_NEAR, _FAR = 0.01, 0.998  # probabilities of intervals between which quantiles in the tree serve
_RATIO = np.array([-1.5, 0.0, 0.7])  # at which a scale is told to be that of the exponential


def statistics(points: WeightedPoints, made: Normals, prob: float, read: Reading) -> dict[str, FloatArray]:
    """`mean`, `se` (not on another scale), `lower` and `upper` (q,) of mixtures as they are read."""
    ends = np.sort(read.values(made.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))), axis=0)
    own = {"mean": mean_as_read(points, made, read), "se": made.sd, "lower": ends[0], "upper": ends[1]}
    return read.of_draws(own)


def mean_as_read(points: WeightedPoints, made: Normals, read: Reading) -> FloatArray:
    """(q,) means on the scale on which effects are read; infinite where a mean of ratios does not exist."""
    if not read.response:
        return made.mean
    if np.array_equal(read.values(_RATIO), np.exp(_RATIO)):
        return made.mean_of_exponential(*points.unresolved)
    return made.mean_of(read.values)


def of_rows(
    points: WeightedPoints, X: FloatArray, offset: FloatArray, Z: Sequence[FloatArray], prob: float, read: Reading
) -> dict[str, FloatArray]:
    """Statistics (n, k) of x beta, plus effects of new groups of the first levels: X (n, k, P), Z (n, k, a)."""

    def made(some: slice) -> Normals:
        noise = [_flat(z[some]) for z in Z]
        flat = _flat(X[some])
        return points.combination(flat, noise).shifted(np.repeat(offset[some], X.shape[1]))

    return _in_pieces(points, X.shape[:2], made, prob, read)


def covariance_of_rows(points: WeightedPoints, X: FloatArray, Z: Sequence[FloatArray]) -> FloatArray:
    """(n, k, k) covariances of the outcomes of each row, of what `of_rows` describes."""

    def made(sums: FloatArray) -> Normals:
        flat = [_flat(sums @ A) for A in (X, *Z)]
        return points.combination(flat[0], flat[1:])

    return _covariances(X.shape[0], X.shape[1], made)


def covariance_of_groups(points: WeightedPoints, rows: Rows, depth: int, with_fixed: bool) -> FloatArray:
    """(n, k, k) covariances of the outcomes of each row, of what `of_groups` describes."""
    spec = points.evaluator.spec
    X, levels = spec.design.fixed(rows.frame) * with_fixed, spec.levels[:depth]
    Z = [spec.design.random(level.name, rows.frame) for level in levels]
    of_row = [rows.group(spec, level) for level in levels]

    def made(sums: FloatArray) -> Normals:
        flat = [_flat(sums @ A) for A in (X, *Z)]
        return points.predicted(flat[0], flat[1:], [np.repeat(codes, len(sums)) for codes in of_row])

    return _covariances(X.shape[0], X.shape[1], made)


def _covariances(n: int, k: int, made: Callable[[FloatArray], Normals]) -> FloatArray:
    """From the variances of sums of two outcomes; made: mixtures of sums (m, k) of the outcomes of every row."""
    first, second = np.triu_indices(k)
    one = np.eye(k)
    sums = np.where((first == second)[:, None], one[first], one[first] + one[second])
    variance = made(sums).sd.reshape(n, len(sums)) ** 2
    own = variance[:, first == second]
    covariance = np.empty((n, k, k))
    covariance[:, first, second] = (variance - own[:, first] - own[:, second]) / 2
    covariance[:, second, first] = covariance[:, first, second]
    covariance[:, range(k), range(k)] = own
    return covariance


def of_groups(
    points: WeightedPoints, rows: Rows, depth: int, with_fixed: bool, prob: float, read: Reading
) -> dict[str, FloatArray]:
    """Statistics (n, k) of the effects of the rows of the data, of levels down to `depth`."""
    spec = points.evaluator.spec
    X, offset = spec.design.fixed(rows.frame) * with_fixed, spec.design.offset(rows.frame) * with_fixed
    levels, k = spec.levels[:depth], X.shape[1]
    Z = [spec.design.random(level.name, rows.frame) for level in levels]
    of_row = [rows.group(spec, level) for level in levels]

    def made(some: slice) -> Normals:
        designs = [_flat(z[some]) for z in Z]
        groups = [np.repeat(codes[some], k) for codes in of_row]
        own = points.predicted(_flat(X[some]), designs, groups)
        return own.shifted(np.repeat(offset[some], k))

    return _in_pieces(points, X.shape[:2], made, prob, read)


def _flat(designs: FloatArray) -> FloatArray:
    """(n k, a) rows of designs (n, k, a), of which a level without random effects has a = 0."""
    return designs.reshape(designs.shape[0] * designs.shape[1], designs.shape[2])


def _in_pieces(
    points: WeightedPoints, shape: tuple[int, ...], made: Callable[[slice], Normals], prob: float, read: Reading
) -> dict[str, FloatArray]:
    n, k = shape
    step = max(1, _MOST_CELLS // (len(points.main[0]) * k))
    parts = [statistics(points, made(slice(at, at + step)), prob, read) for at in range(0, max(n, 1), step)]
    return {name: np.concatenate([part[name] for part in parts]).reshape(shape) for name in parts[0]}


def of_effects(tree: xr.DataTree, points: WeightedPoints, level: int, prob: float) -> dict[str, FloatArray]:
    """Statistics (groups, effects) of the random effects of one level, from the tree where it has them."""
    record = points.evaluator.spec.levels[level]
    if _NEAR < prob < _FAR and f"{b(record.name)}_quantile" in group(tree, MARGINALS):
        known = exact_marginals.statistics(tree, b(record.name), prob)
        return {name: record.present(values) for name, values in (known or {}).items()}
    own = points.effects[level]
    lower, upper = own.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))
    values = {"mean": own.mean, "se": own.sd, "lower": lower, "upper": upper}
    return {name: record.present(np.reshape(x, (record.n_groups, record.dim))) for name, x in values.items()}


def of_probability(
    points: WeightedPoints, X: FloatArray, start: FloatArray, side: int, Z: Sequence[FloatArray], prob: float
) -> dict[str, FloatArray]:
    """`mean`, `lower`, `upper` (n, k) of the probability that a new effect less a threshold has a sign.

    Given a point the mean of the new effect is normal and its SD known, so the probit of the probability is normal.
    """
    weight, at = points.main
    flat = X.reshape(-1, X.shape[2])
    mean = (at.beta @ flat.T + np.repeat(start, X.shape[1])) * side
    error = np.sqrt(((flat @ at.root) ** 2).sum(2))
    variance = np.zeros(mean.shape)
    for z, psi in zip(Z, points.psi, strict=True):
        variance += np.einsum("qa,abn,qb->nq", z.reshape(len(flat), -1), psi, z.reshape(len(flat), -1))
    below = weight @ ndtr(mean / np.sqrt(np.maximum(variance + error**2, np.finfo(float).tiny)))
    sd = np.sqrt(np.maximum(variance, np.finfo(float).tiny))
    probit = Normals(weight, mean / sd, error / sd)
    lower, upper = ndtr(probit.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2])))
    return {name: x.reshape(X.shape[:2]) for name, x in (("mean", below), ("lower", lower), ("upper", upper))}


def of_psi(
    points: WeightedPoints, function: Callable[[Sequence[FloatArray]], FloatArray], prob: float
) -> dict[str, FloatArray]:
    """Mean, SD and quantiles (q,) of functions of Psi: function takes (n, a, a) of every level to (n, q)."""

    def values(u: FloatArray) -> FloatArray:
        return function([np.moveaxis(psi, -1, 0) for psi in points.evaluator.chart.psi(u)])

    weight, u = points.dense
    moments, fine = points.function(values(points.main[1].u)), Weighted(weight, values(u))
    lower, upper = fine.quantile(np.array([(1 - prob) / 2, (1 + prob) / 2]))
    return {"mean": moments.mean, "se": moments.sd, "lower": lower, "upper": upper}
