"""Limit meta-analysis: the effect of infinitely precise studies where small studies differ from large ones."""

from dataclasses import dataclass

import numpy as np
import xarray as xr
from scipy.special import chdtrc, ndtr, ndtri

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_probability
from bayesmeta.estimation.methods import method_of
from bayesmeta.inference.small_study.evidence import Evidence, of_one_outcome, result


def limit_meta(tree: xr.DataTree, *, prob: float = 0.95) -> xr.Dataset:
    """Limit meta-analysis: the random-effects estimate when the precision of every study goes to infinity.

    The model y_i = beta + sqrt(v_i + tau2) (alpha + e_i) adds to the random-effects model a bias alpha that grows with
    a study's error. Without sampling error the mean of the effects is beta + tau alpha.

    Parameters
    ----------
    tree : DataTree
        Results of `bm.fit` of a model without predictors, of one outcome with one effect a study. tau2 is that of the
        tree.
    prob : float, default 0.95
        Probability of the interval, between 0 and 1.

    Returns
    -------
    Dataset
        Scalars: `estimate`, that mean, with `se`, `lower`, `upper`, `statistic` (z) and `pvalue`; `alpha` and `beta`;
        `tau2`; Cochran's `Q` with what small-study effects explain of it, `Q_small` with one degree of freedom and
        `Q_small_pvalue`, and the rest, `Q_residual` with k - 2 and `Q_residual_pvalue`; `G2`, the share of the
        variation between limits of the studies that these effects do not explain, from 0 to 1; `k`.

    Raises
    ------
    SpecError
        When the model has predictors, several outcomes or levels, or the tree is a posterior.
    DataError
        When there are fewer than three effects, or all have the same standard error.

    Notes
    -----
    At least three effects.

    References
    ----------
    Rücker, Schwarzer, Carpenter, Binder and Schumacher (2011), Biostatistics 12:122-142.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), method="dl")
    >>> out = bm.small_study.limit_meta(fit)
    >>> [round(out[name].item(), 3) for name in ("estimate", "lower", "upper")]
    [-0.664, -1.156, -0.172]
    """
    check_probability(prob)
    made = limit_line(tree, "limit_meta")
    of, tau = made.of, np.sqrt(made.tau2)
    contrast = np.array([1.0, tau])
    estimate, se = float(contrast @ made.coefficients), float(np.sqrt(contrast @ made.cov @ contrast))
    half, z = float(ndtri(0.5 + prob / 2)) * se, estimate / se
    w = 1 / of.v
    Q = float((w * (of.y - np.average(of.y, weights=w)) ** 2).sum())
    residual = min(Q, _straight(of.y, of.v, np.sqrt(of.v))[2])
    numbers = {
        "estimate": estimate,
        "se": se,
        "lower": estimate - half,
        "upper": estimate + half,
        "statistic": z,
        "pvalue": float(2 * ndtr(-abs(z))),
        "alpha": float(made.coefficients[1]),
        "beta": float(made.coefficients[0]),
        "tau2": made.tau2,
        "Q": Q,
        "Q_small": Q - residual,
        "Q_small_pvalue": float(chdtrc(1, Q - residual)),
        "Q_residual": residual,
        "Q_residual_pvalue": float(chdtrc(of.n - 2, residual)),
        "G2": _unexplained(made),
        "k": of.n,
    }
    return result(numbers, of.attrs(prob=prob, method=str(tree.attrs["method"])))


@dataclass(frozen=True, eq=False)
class LimitLine:
    """The regression behind a limit meta-analysis: (beta, alpha) with their covariance, and tau2."""

    of: Evidence
    coefficients: FloatArray
    cov: FloatArray
    tau2: float

    def effect(self, se: FloatArray) -> FloatArray:
        """The mean effect of studies with a standard error."""
        beta, alpha = self.coefficients
        return np.asarray(beta + alpha * np.sqrt(se**2 + self.tau2))


def limit_line(tree: xr.DataTree, what: str) -> LimitLine:
    """The regression of the effects on their standard errors, heterogeneity included."""
    of = of_one_outcome(tree, what)
    of.check_one_level('pet_peese(tree, vcov="CR2") is for dependent effects')
    of.check_intercept_alone()
    of.check_unequal(np.sqrt(of.v), "the standard error")
    tau2 = 0.0 if method_of(tree).zero_psi else of.tau2
    total = of.v + tau2
    coefficients, cov, _ = _straight(of.y, total, np.sqrt(total))
    return LimitLine(of, coefficients, cov, tau2)


def _straight(y: FloatArray, v: FloatArray, x: FloatArray) -> tuple[FloatArray, FloatArray, float]:
    """Weighted least squares of y on (1, x) with weights 1 / v: coefficients, covariance, residual sum of squares."""
    root = 1 / np.sqrt(v)
    basis, R = np.linalg.qr(root[:, None] * np.column_stack([np.ones_like(x), x]))
    coefficients = np.linalg.solve(R, basis.T @ (root * y))
    inverse = np.linalg.inv(R)
    residual = root * y - root * (coefficients[0] + coefficients[1] * x)
    return coefficients, inverse @ inverse.T, float(residual @ residual)


def _unexplained(made: LimitLine) -> float:
    """One less R2 of the radial plot of the studies' limits, their own effects as far as heterogeneity makes them."""
    of, beta = made.of, made.coefficients[0]
    limits = beta + np.sqrt(made.tau2 / (of.v + made.tau2)) * (of.y - beta)
    radial = limits / np.sqrt(of.v)
    around = float(((radial - radial.mean()) ** 2).sum())
    return _straight(limits, of.v, np.sqrt(of.v))[2] / around if around > 0 else np.nan
