"""Regions about the summary point: where the mean lies, and where the truth of a new study does."""

from collections.abc import Callable
from typing import Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import fdtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability
from bayesmeta.diagnostic.estimands import NewData, Points
from bayesmeta.errors import BoundaryWarning, SpecError, warn
from bayesmeta.inference.adjusted import NoTestError
from bayesmeta.inference.reference import Reference, Vcov, reference

Region = Literal["confidence", "prediction"]
REGIONS = ("confidence", "prediction")
Shape = Literal["ellipse", "highest-density"]
_CORNERS = 120  # of an outline
_RADII = np.linspace(0.0, 7.0, 71)  # SDs from the centre at which a density is looked at
_DRAWS = 1500  # of a posterior that make up a density, and as many that it is looked at
_SMOOTH = 2.0  # bandwidth in those of Scott's rule; the region holds the same draws whatever it is
_STREAM = 8837  # keeps the new effects apart from all else that is drawn with the seed
_CELLS = 1 << 22  # numbers held at a time


def regions(
    tree: xr.DataTree,
    newdata: NewData = None,
    *,
    region: Region | None = None,
    shape: Shape | None = None,
    prob: float = 0.95,
    vcov: Vcov | None = None,
    df: str | None = None,
) -> pd.DataFrame:
    """Outlines of the regions that hold the summary point, and the sensitivity and specificity of a new study.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` or `bm.sample` of what `bm.diagnostic.specify` has made.
    newdata : DataFrame or mapping, optional
        Values of the predictors, as for `bm.diagnostic.summary_point`.
    region : {"confidence", "prediction"}, optional
        "confidence", for the summary point, of a posterior the credible region; "prediction", for the truth of a new
        study. By default both.
    shape : {"ellipse", "highest-density"}, optional
        Of a fit "ellipse", on the scale of the model: the points that `bm.wald_test` does not reject, and for a new
        study the same with Psi added to the covariance. Of a posterior "highest-density", the default: of the kernel
        density of the draws of the summary point, and of the mixture over draws of normal distributions with their
        means and Psi; or "ellipse", with mean and covariance of the draws, and a chi-squared radius.
    prob : float, default 0.95
        Probability of the intervals.
    vcov, df : optional
        As for `bm.diagnostic.summary_point`.

    Returns
    -------
    DataFrame
        Indexed by the predictors and `region`, in the order of the outline, the first point repeated at the end:
        columns `fpr` and `sensitivity`, as proportions. NaN where there is no test of two coefficients.

    Raises
    ------
    SpecError
        As `bm.diagnostic.summary_point`, and when `region` or `shape` is unknown, or the shape is not one of a fit.

    Warns
    -----
    BoundaryWarning
        When the reference distribution has no region, for the reason in the message.

    References
    ----------
    Reitsma et al. (2005), J. Clin. Epidemiol. 58:982-990; Harbord et al. (2007), Biostatistics 8:239-251, section 4.1.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.diagnostic.specify(bm.datasets.load("auditc"), correction="all"))
    >>> outline = bm.diagnostic.regions(fit, region="confidence", df="z")
    >>> outline.agg(["min", "max"]).round(3)
           fpr  sensitivity
    min  0.156        0.781
    max  0.302        0.949
    """
    prob, points = check_probability(prob), Points.of(tree, newdata, "regions")
    asked = REGIONS if region is None else (check_choice(region, REGIONS, "region"),)
    used = reference(tree, vcov, df)
    form = None if shape is None else check_choice(shape, ("ellipse", "highest-density"), "shape")
    if used is not None and form == "highest-density":
        raise SpecError('shape="highest-density" is of posteriors; the regions of a fit are ellipses')
    outlines = _of_draws(points, asked, prob, form) if used is None else _of_fit(points, asked, prob, used)
    parts = []
    for i in range(len(points.X)):
        for name in asked:
            first, second = outlines[name][i].T
            sensitivity, specificity = (
                link.inverse(x) for link, x in zip(points.accuracy.links, (first, second), strict=True)
            )
            values = {column: points.labels[column].iloc[i] for column in points.labels} | {"region": name}
            parts.append(pd.DataFrame(values | {"fpr": 1 - specificity, "sensitivity": sensitivity}))
    frame = pd.concat(parts).set_index([*points.labels.columns, "region"])
    frame.attrs.update(prob=prob, shape=form or ("highest-density" if used is None else "ellipse"))
    frame.attrs.update({} if used is None else used.attrs)
    return frame


def _circle() -> FloatArray:
    angle = np.linspace(0, 2 * np.pi, _CORNERS + 1)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _ellipse(centre: FloatArray, cov: FloatArray, radius: float) -> FloatArray:
    """(corners, 2) of the points whose distance from the centre is a radius, in the metric of a covariance."""
    values, vectors = np.linalg.eigh(cov)
    return np.asarray(centre + radius * _circle() @ (vectors * np.sqrt(np.maximum(values, 0.0))).T)


def _of_fit(points: Points, asked: tuple[str, ...], prob: float, used: Reference) -> dict[str, list[FloatArray]]:
    at = points.fitted
    outlines: dict[str, list[FloatArray]] = {name: [] for name in asked}
    for X, mean, psi in zip(points.X, at.mean[:, 0], at.psi[:, 0], strict=True):
        radius, cov = _radius(X, prob, used), X @ used.cov @ X.T
        for name in asked:
            outlines[name].append(_ellipse(mean, cov if name == "confidence" else cov + psi, radius))
    return outlines


def _radius(X: FloatArray, prob: float, used: Reference) -> float:
    """Of the region that the joint test of two linear combinations (2, P) does not reject."""
    try:
        df2, scale = used.calibration.joint(X.T)
    except NoTestError as reason:
        warn(f'regions: {reason}\n  df="z" gives one by the normal distribution', BoundaryWarning)
        return np.nan
    return float(np.sqrt(_chi2_of_two(prob) if np.isinf(df2) else 2 * fdtri(2, df2, prob) / scale))


def _chi2_of_two(prob: float) -> float:
    """Quantile of chi2 with two degrees of freedom."""
    return float(-2 * np.log1p(-prob))


def _of_draws(points: Points, asked: tuple[str, ...], prob: float, shape: str | None) -> dict[str, list[FloatArray]]:
    at, seed = points.draws, int(points.tree.attrs["seed"])
    outlines: dict[str, list[FloatArray]] = {name: [] for name in asked}
    for i, (means, psi) in enumerate(zip(at.mean, at.psi, strict=True)):
        new = means + _normal(psi, np.random.default_rng([_STREAM, i, seed]))
        for name in asked:
            if shape == "ellipse":
                between = psi.mean(0) if name == "prediction" else 0.0
                cov = np.cov(means.T) + between
                outlines[name].append(_ellipse(means.mean(0), cov, float(np.sqrt(_chi2_of_two(prob)))))
            else:
                draws = means if name == "confidence" else new
                outlines[name].append(_highest(draws, _density(means, psi if name == "prediction" else None), prob))
    return outlines


def _normal(psi: FloatArray, rng: np.random.Generator) -> FloatArray:
    """(B, 2) one draw from each N(0, Psi), singular or not."""
    values, vectors = np.linalg.eigh(psi)
    return np.einsum("bij,bj->bi", vectors, np.sqrt(np.maximum(values, 0)) * rng.standard_normal(values.shape))


def _density(means: FloatArray, psi: FloatArray | None) -> Callable[[FloatArray], FloatArray]:
    """The density at points (m, 2) of a mixture of normals about some of the means, with Psi or the kernel's own."""
    some = np.linspace(0, len(means) - 1, min(_DRAWS, len(means))).astype(int)
    whole = np.cov(means.T)
    cov = np.broadcast_to(whole * _SMOOTH**2 * len(some) ** (-1 / 3), (len(some), 2, 2)) if psi is None else psi[some]
    cov = cov + 1e-9 * np.trace(whole) * np.eye(2)
    (a, _), (b, c) = np.moveaxis(np.linalg.inv(np.linalg.cholesky(cov)), 0, -1)

    def density(x: FloatArray) -> FloatArray:
        parts, step = [], max(1, _CELLS // len(some))
        for start in range(0, len(x), step):
            first, second = x[start : start + step].T[:, None] - means[some].T[:, :, None]
            distance = (a[:, None] * first) ** 2 + (b[:, None] * first + c[:, None] * second) ** 2
            parts.append((a * c) @ np.exp(-0.5 * distance))
        return np.concatenate(parts)

    return density


def _highest(draws: FloatArray, density: Callable[[FloatArray], FloatArray], prob: float) -> FloatArray:
    """(corners, 2) outline of the region of highest density, which is star-shaped about the centre of the draws."""
    some = np.linspace(0, len(draws) - 1, min(_DRAWS, len(draws))).astype(int)
    least = float(np.quantile(density(draws[some]), 1 - prob))
    centre, root = draws.mean(0), np.linalg.cholesky(np.cov(draws.T))
    rays = _circle()[:-1] @ root.T
    along = density((centre + _RADII[:, None, None] * rays).reshape(-1, 2)).reshape(len(_RADII), -1)
    last = np.minimum(len(_RADII) - 1 - np.argmax((along >= least)[::-1], axis=0), len(_RADII) - 2)
    column = np.arange(along.shape[1])
    with np.errstate(divide="ignore"):
        inner, outer, edge = np.log(along[last, column]), np.log(along[last + 1, column]), np.log(least)
    share = np.clip((inner - edge) / np.maximum(inner - outer, 1e-300), 0.0, 1.0)
    radius = _RADII[last] + share * (_RADII[1] - _RADII[0])
    outline = centre + radius[:, None] * rays
    return np.concatenate([outline, outline[:1]])
