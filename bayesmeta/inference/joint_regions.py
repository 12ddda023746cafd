"""Regions of two quantities at once: ellipses of fits, and regions of highest density of posteriors."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import pandas as pd
from scipy.interpolate import CubicSpline
from scipy.stats import chi2, f

from bayesmeta._typing import FloatArray
from bayesmeta.bayes.integration_points import exact_posterior
from bayesmeta.bayes.weighted_points import WeightedPoints
from bayesmeta.errors import BoundaryWarning, warn
from bayesmeta.inference.adjusted import NoTestError
from bayesmeta.inference.posterior_predict import normal_draws
from bayesmeta.inference.quantities import Points
from bayesmeta.inference.reference import Reference

_CORNERS = 120  # of an outline
_RADII, _FAR = 61, 7.0  # at which a density is looked at along a ray; the last, in SDs, unless more lies beyond
_CLOSER = 1.5  # power of even steps by which radii lie closer to the centre
_FINE = 20  # parts of a step between radii
_MOST, _NEGLIGIBLE = 4096, 1e-4  # components of a mixture; mass of those that are left out
_SMOOTH = 2.0  # bandwidth in those of Scott's rule; a region of draws holds as many of them whatever it is
_DRAWS = 1500  # of Markov chains that make up a density, and as many that it is looked at
_STREAM = 8837  # keeps the new effects apart from all else that is drawn with the seed
_CELLS = 1 << 22  # numbers held at a time


def region_of(points: Points, i: int, new: bool, prob: float, used: Reference | None, shape: str) -> FloatArray:
    """(corners, 2) outline about the means of two outcomes at one of the points, on the scale of the model.

    new : whether it is of a new group rather than of the means.  used : of a fit, whose regions are ellipses, the means
    that the joint test of both does not reject, for a new group with Psi added to the covariance; None of a posterior.
     shape : of a posterior, "ellipse" by mean and covariance, or "highest-density".
    """
    if used is not None:
        at, X = points.fitted, points.X[i]
        cov = X @ used.cov @ X.T + at.psi[i, 0] * new
        return ellipse(at.mean[i, 0], cov, _radius_of_test(X, prob, used))
    draws = None
    if (exact := exact_posterior(points.tree)) is not None:
        Z = [z[i] for z in points.Z] if new else []
        mixture = Mixture.of_posterior(exact, points.X[i], points.offset[i], Z)
    else:
        mixture, draws = _of_chains(points, i, new, shape)
    if shape == "ellipse":
        return ellipse(*mixture.moments, float(np.sqrt(chi2.ppf(prob, 2))))
    return highest_density(mixture, prob, draws)


def table_of_regions(
    points: Points, regions: Sequence[str], prob: float, used: Reference | None, shape: str
) -> pd.DataFrame:
    """Outlines at all points, as proportions `first` and `second`, indexed by the predictors and `region`.

    regions : "confidence", for the means, and "prediction", for a new group.
    """
    parts = []
    for i, name in product(range(len(points.X)), regions):
        outline = region_of(points, i, name == "prediction", prob, used, shape)
        first, second = (link.inverse(x) for link, x in zip(points.links, outline.T, strict=True))
        values = {column: points.labels[column].iloc[i] for column in points.labels} | {"region": name}
        parts.append(pd.DataFrame(values | {"first": first, "second": second}))
    return pd.concat(parts).set_index([*points.labels.columns, "region"])


def _of_chains(points: Points, i: int, new: bool, shape: str) -> tuple["Mixture", FloatArray]:
    """The mixture, and draws that are counted in it."""
    truth = points.draws
    means, psi = truth.mean[i], truth.psi[i]
    if shape == "ellipse":
        return Mixture.of_draws(means, psi if new else np.zeros_like(psi), len(means)), means
    mixture = Mixture.of_draws(means, psi if new else None, _DRAWS)
    if new:
        means = means + normal_draws(psi, np.random.default_rng([_STREAM, i, int(points.tree.attrs["seed"])]))
    return mixture, means[np.linspace(0, len(means) - 1, min(_DRAWS, len(means))).astype(int)]


def _circle() -> FloatArray:
    angle = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def ellipse(centre: FloatArray, cov: FloatArray, radius: float) -> FloatArray:
    """(corners, 2) of the points whose distance from the centre is a radius, in the metric of a covariance (2, 2)."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(centre + radius * _circle() @ (vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _radius_of_test(L: FloatArray, prob: float, used: Reference) -> float:
    """Of the region that the joint test of two combinations (2, P) of coefficients does not reject; NaN without one."""
    try:
        df2, scale = used.calibration.joint(L.T)
    except NoTestError as reason:
        warn(f'regions: {reason}\n  df="z" gives one by the normal distribution', BoundaryWarning)
        return np.nan
    return float(np.sqrt(chi2.ppf(prob, 2) if np.isinf(df2) else 2 * f.ppf(prob, 2, df2) / scale))


@dataclass(frozen=True, eq=False)
class Mixture:
    """Normal distributions of two quantities with weights: weight (n,), centre (n, 2), cov (n, 2, 2)."""

    weight: FloatArray
    centre: FloatArray
    cov: FloatArray

    @classmethod
    def of_posterior(
        cls, points: WeightedPoints, L: FloatArray, shift: FloatArray, Z: Sequence[FloatArray]
    ) -> "Mixture":
        """Of L beta + shift, L (2, P), and of new groups of every level with designs Z (2, a); none for the means."""
        weight, at = points.main
        root = L @ at.root
        cov = root @ root.mT
        for z, psi in zip(Z, points.psi, strict=False):
            cov = cov + np.einsum("ka,abn,lb->nkl", z, psi, z)
        order = np.argsort(weight)
        kept = order[np.cumsum(weight[order]) > _NEGLIGIBLE]
        share = weight[kept] / weight[kept].sum()
        if len(kept) > _MOST:  # of weighted draws
            kept = kept[np.searchsorted(np.cumsum(share), (np.arange(_MOST) + 0.5) / _MOST)]
            share = np.full(_MOST, 1 / _MOST)
        return cls(share, at.beta[kept] @ L.T + shift, cov[kept])

    @classmethod
    def of_draws(cls, draws: FloatArray, cov: FloatArray | None, most: int) -> "Mixture":
        """About some of the draws (B, 2): with covariances (B, 2, 2) of their own, or those of a normal kernel."""
        some = np.linspace(0, len(draws) - 1, min(most, len(draws))).astype(int)
        if cov is None:
            kernel = np.cov(draws.T) * _SMOOTH**2 * len(some) ** (-1 / 3)
            return cls(np.full(len(some), 1 / len(some)), draws[some], np.broadcast_to(kernel, (len(some), 2, 2)))
        return cls(np.full(len(some), 1 / len(some)), draws[some], cov[some])

    @property
    def moments(self) -> tuple[FloatArray, FloatArray]:
        """Mean (2,) and covariance (2, 2)."""
        mean = self.weight @ self.centre
        away = self.centre - mean
        return mean, (self.weight[:, None] * away).T @ away + np.tensordot(self.weight, self.cov, 1)

    def density(self, x: FloatArray) -> FloatArray:
        """(m,) at points (m, 2)."""
        cov = self.cov + 1e-9 * np.trace(self.moments[1]) * np.eye(2)
        (a, _), (b, c) = np.moveaxis(np.linalg.inv(np.linalg.cholesky(cov)), 0, -1)
        parts, step = [], max(1, _CELLS // len(self.weight))
        for start in range(0, len(x), step):
            first, second = x[start : start + step].T[:, None] - self.centre.T[:, :, None]
            distance = (a[:, None] * first) ** 2 + (b[:, None] * first + c[:, None] * second) ** 2
            parts.append((self.weight * a * c) @ np.exp(-0.5 * distance) / (2 * np.pi))
        return np.concatenate(parts)


def highest_density(mixture: Mixture, prob: float, draws: FloatArray | None = None) -> FloatArray:
    """(corners, 2) outline of the region of highest density, which is star-shaped about the mean.

    The mixture's mass along rays is integrated in polar coordinates; or draws (B, 2), where there are some, are counted
    inside, since a kernel is wider than what it smooths.
    """
    mean, cov = mixture.moments
    root, far = np.linalg.cholesky(cov), _FAR
    rays = _circle()[:-1] @ root.T
    for _ in range(8):
        radii, fine = (far * np.linspace(0, 1, n) ** _CLOSER for n in (_RADII, _FINE * (_RADII - 1) + 1))
        along = mixture.density((mean + radii[:, None, None] * rays).reshape(-1, 2)).reshape(_RADII, -1)
        log = CubicSpline(radii, np.log(np.maximum(along, 1e-300)))(fine)
        share = np.exp(log) * fine[:, None] * (2 * np.pi / len(rays)) * np.linalg.det(root)
        mass = np.vstack(
            [np.zeros(len(rays)), np.cumsum((share[1:] + share[:-1]) / 2 * np.diff(fine)[:, None], axis=0)]
        )
        if draws is not None or mass[-1].sum() > (1 + prob) / 2:
            break
        far *= 2
    counted = None if draws is None else np.log(np.quantile(mixture.density(draws), 1 - prob))
    level = _level(log, mass, prob) if counted is None else float(counted)
    radius = np.interp(_last_above(log, level), np.arange(len(fine)), fine)
    outline = mean + radius[:, None] * rays
    return np.concatenate([outline, outline[:1]])


def _last_above(log: FloatArray, level: float) -> FloatArray:
    """(rays,) the place, in steps, where a log density (radii, rays) falls below a level for the last time."""
    last = np.minimum(len(log) - 1 - np.argmax((log >= level)[::-1], axis=0), len(log) - 2)
    column = np.arange(log.shape[1])
    inner, outer = log[last, column], log[last + 1, column]
    return np.asarray(last + np.clip((inner - level) / np.maximum(inner - outer, 1e-300), 0.0, 1.0))


def _level(log: FloatArray, mass: FloatArray, prob: float) -> float:
    """The log density above which this probability lies, by halving."""
    low, high, column = float(log.min()), float(log.max()), np.arange(log.shape[1])
    for _ in range(60):
        middle = (low + high) / 2
        place = _last_above(log, middle)
        at = np.minimum(place.astype(int), len(log) - 2)
        inside = mass[at, column] + (place - at) * (mass[at + 1, column] - mass[at, column])
        low, high = (middle, high) if inside.sum() > prob else (low, middle)
    return low
