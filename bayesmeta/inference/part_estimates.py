"""What is said of fits to many parts of the data: tests of their coefficients, Q, I2 and H2, for all parts at once."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import xarray as xr
from scipy.special import chdtrc, ndtr, stdtr

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta.errors import BayesmetaError
from bayesmeta.estimation.methods import method_of
from bayesmeta.estimation.parts import PartFits, Whole, fit_parts, part_of, pieces
from bayesmeta.estimation.record import Estimate
from bayesmeta.estimation.result_tree import from_estimate
from bayesmeta.estimation.units import one_effect_a_row
from bayesmeta.inference.reference import NORMAL, ONE_LEVEL, Asked, Tests, asked_of, declare, model_df, reference_of_fit
from bayesmeta.kernel.precision import part_precision
from bayesmeta.model.spec import Spec
from bayesmeta.tree.specification import group, spec_from_tree

GROUP, VARIANCE = "group", "variance"  # dimensions over what is left out, and over variances between groups
_RESIDUAL, _SHRINKING = "residual", "knapp-hartung"
_NONE_LEFT = 1e-8  # degrees of freedom of an outcome that are rounding


@dataclass(frozen=True, eq=False)
class Parts:
    """Fits of the model of a tree to B parts of its data.

    keep : (B, n_obs) the observations of every part.  asked : how their coefficients are tested.
    """

    whole: Whole
    keep: BoolArray
    fits: PartFits
    asked: Asked

    @property
    def spec(self) -> Spec:
        return self.whole.spec

    def rows(self) -> FloatArray:
        """(B,) number of rows of the data in every part."""
        kept = np.zeros((len(self.keep), len(self.spec.kept)), bool)
        kept[:, self.spec.row] = self.keep  # a row is in a part with all its outcomes
        return np.asarray(kept.sum(1))


def whole_of(tree: xr.DataTree) -> Whole:
    """The model of a fit, with the estimates at which the climbs of its parts begin."""
    return Whole(spec_from_tree(tree), method_of(tree), group(tree, schema.ESTIMATE)["xi"].to_numpy())


def parts_of(tree: xr.DataTree, keep: BoolArray, exact: bool = True) -> Parts:
    """Fit the model of a tree to parts of its data, keep (B, n_obs)."""
    whole = whole_of(tree)
    return Parts(whole, keep, fit_parts(whole, keep, exact), asked_of(tree))


def tests_of(parts: Parts) -> Tests:
    """Tests of every coefficient in every part, arrays (B, P); NaN where a part is too small for the test asked for."""
    spec, method = parts.spec, parts.whole.method
    df = model_df(spec, method, parts.asked)
    alike = one_effect_a_row(spec)
    if df in (NORMAL, _RESIDUAL) or (df in (ONE_LEVEL, _SHRINKING) and alike):
        return _by_formula(parts, str(df))
    return _one_by_one(parts)


def _by_formula(parts: Parts, name: str) -> Tests:
    """Normal and t distributions whose degrees of freedom are those of the residuals."""
    fits, P = parts.fits, len(parts.spec.coef)
    left = parts.keep.sum(1) - P
    se = np.sqrt(np.diagonal(fits.beta_cov, axis1=1, axis2=2))
    # by default as few rows as coefficients are tested as normal, see `reference`
    none = np.inf if name == NORMAL or parts.asked.df is None else np.nan
    df = np.where((left > 0) & (name != NORMAL), left, none)
    if name in (ONE_LEVEL, _SHRINKING):
        factor = np.where(left > 0, fits.rss / np.maximum(left, 1), 1.0)
        se = se * np.sqrt(np.maximum(factor, 1.0) if name == ONE_LEVEL else factor)[:, None]
    return _tests(fits.beta, se, np.broadcast_to(df[:, None], se.shape))


def _tests(beta: FloatArray, se: FloatArray, df: FloatArray) -> Tests:
    with np.errstate(divide="ignore", invalid="ignore"):
        statistic = np.where(np.isnan(df), np.nan, beta / se)
    df = np.where(np.isnan(beta), np.nan, df)
    finite = np.where(np.isfinite(df), df, 1.0)
    tail = np.where(np.isinf(df), ndtr(-np.abs(statistic)), stdtr(finite, -np.abs(statistic)))
    return Tests(beta, se, statistic, df, 2 * np.where(np.isnan(df), np.nan, tail))


def _one_by_one(parts: Parts) -> Tests:
    """Corrections that rest on every part's own design, such as Satterthwaite's and those of sandwiches."""
    shape = parts.fits.beta.shape
    columns = Tests(*(np.full(shape, np.nan) for _ in Tests._fields))
    for i in np.flatnonzero(parts.fits.identified):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # what is worth saying of all parts is said once
            own = tree_of_part(parts, int(i))
            try:
                made = reference_of_fit(own, None, None, "this").each(np.eye(shape[1]))
            except BayesmetaError:
                none = np.full(shape[1], np.nan)
                se = np.sqrt(np.diag(parts.fits.beta_cov[i]))
                made = Tests(parts.fits.beta[i], se, none, none, none)
        for all_, values in zip(columns, made, strict=True):
            all_[i] = values
    return columns


def tree_of_part(parts: Parts, i: int) -> xr.DataTree:
    """The results tree of one part, without a record of its search."""
    fits, method = parts.fits, parts.whole.method
    part, F = part_of(parts.spec, parts.keep[i]), fits.xi.shape[1]
    estimate = Estimate(
        method=method.name,
        beta=fits.beta[i],
        beta_cov=fits.beta_cov[i],
        psi=tuple(psi[i] for psi in fits.psi),
        xi=fits.xi[i],
        xi_cov=np.full((F, F), np.nan),
        free=parts.whole.free.labels if F else (),
        loglik=np.nan,
        df_fixed=len(part.coef),
        df_random=F,
        nobs=len(part.y),
        optimizer=None,
    )
    tree = from_estimate(part, estimate, random_effects=False)
    declare(tree, parts.asked)
    return tree


class Heterogeneity(NamedTuple):
    """Of every part (B, 1), or (B, 1 + outcomes) with all of them first; as `bm.heterogeneity` has it."""

    Q: FloatArray
    df: FloatArray
    pvalue: FloatArray
    I2: FloatArray
    H2: FloatArray


def heterogeneity_of(parts: Parts) -> Heterogeneity:
    """Cochran's Q, and I2 and H2 from the fitted variances."""
    spec, keep, fits = parts.spec, parts.keep, parts.fits
    outcomes = np.eye(len(spec.outcomes))[spec.outcome_index]
    Q, df = fits.Q[:, None], (keep.sum(1) - len(spec.coef))[:, None].astype(float)
    if outcomes.shape[1] > 1:
        own_Q, own_df = _by_outcome(parts, outcomes)
        Q, df = np.concatenate([Q, own_Q], axis=1), np.concatenate([df, own_df], axis=1)
    relative = _excess(parts, outcomes)
    known = fits.identified[:, None]
    pvalue = np.where((df > 0) & known, chdtrc(np.maximum(df, 1), np.where(known, Q, 0.0)), np.nan)
    return Heterogeneity(
        np.where(known, Q, np.nan), np.where(known, df, np.nan), pvalue, 100 * relative / (1 + relative), 1 + relative
    )


def _by_outcome(parts: Parts, outcomes: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Q and its degrees of freedom (B, outcomes), with the sampling variances alone, see `heterogeneity`."""
    spec, keep = parts.spec, parts.keep
    residual = spec.y - spec.offset - parts.fits.beta_fixed @ spec.X.T
    Q = (keep * residual**2 / spec.S.variances) @ outcomes
    touched = np.stack([(keep[:, own] @ np.abs(spec.X[own]) > 0).sum(1) for own in outcomes.T.astype(bool)], axis=1)
    return Q, keep @ outcomes - touched


def _excess(parts: Parts, outcomes: FloatArray) -> FloatArray:
    """(B, 1 or 1 + outcomes) variance between groups in units of the typical sampling variance, see `excess`."""
    spec, S = parts.spec, (parts.spec.S.value, parts.spec.S.row, parts.spec.S.col)
    precision, df = np.full((2, len(parts.keep), outcomes.shape[1]), np.nan)
    which = np.flatnonzero(parts.fits.identified)
    for piece in pieces(parts.keep[which]):
        own = which[piece]
        diagonals = part_precision(spec.X, spec.levels[0].index, S, parts.keep[own])
        precision[own], df[own] = (each @ outcomes for each in diagonals)
    precision, df = (np.where(df > _NONE_LEFT, each, np.nan) for each in (precision, df))
    n = parts.keep @ outcomes
    between = np.zeros(n.shape)
    with np.errstate(divide="ignore", invalid="ignore"):
        for level, psi in zip(spec.levels, parts.fits.psi, strict=True):
            variances = np.einsum("ia,bac,ic->bi", level.Z, psi, level.Z)
            between += (parts.keep * variances) @ outcomes / n
        weighted = between * precision
        overall = (np.nansum(weighted, axis=1) / np.nansum(df, axis=1))[:, None]
        return overall if outcomes.shape[1] == 1 else np.concatenate([overall, weighted / df], axis=1)


def variance_of(parts: Parts, level: str, effect: str) -> FloatArray:
    """(B,) a variance between groups of every part."""
    places: Mapping[str, int] = {each.name: i for i, each in enumerate(parts.spec.levels)}
    at = parts.spec.levels[places[level]].effects.index(effect) if effect else 0  # "": one variance for all times
    return parts.fits.psi[places[level]][:, at, at]


def variances_of(spec: Spec, psi: Sequence[FloatArray], dim: str, name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """The variances of Psi (B, a, a) per level as a variable over `dim`, and over `variance` where there are several.

    With the labels of the variances: levels, effects or both, whatever tells them apart.
    """
    levels = [level for level in spec.levels if level.dim]
    places = [(level.name, effect) for level in levels for effect in level.effects]
    if not places:
        return {}, {}
    values = np.concatenate([np.diagonal(p, axis1=1, axis2=2) for p in psi if p.shape[1]], axis=1)
    if len(places) == 1:
        return {name: (dim, values[:, 0])}, {}
    single = all(level.dim == 1 for level in levels)
    labels = [level if single else effect if len(levels) == 1 else f"{level}, {effect}" for level, effect in places]
    of_levels, effects = zip(*places, strict=True)
    coords = {VARIANCE: labels, "level": (VARIANCE, list(of_levels)), "effect": (VARIANCE, list(effects))}
    return {name: ((dim, VARIANCE), values)}, coords
