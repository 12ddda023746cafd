"""Moment estimators of tau2 for one outcome, and the generalised Q statistic that they rest on.

All of them equate a quadratic form y'Py with its expectation, where P projects off the fixed effects with weights W:
P = W - W X (X'WX)^-1 X'W. So one formula gives every standard error: that of c y'Py is c sqrt(2 tr(P M P M)) with the
marginal variances M = V + tau2 I (Viechtbauer 2005, J. Educ. Behav. Stat. 30:261-293; Viechtbauer et al. 2015,
Psychol. Methods 20:360-374).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import DataError, SpecError
from bayesmeta.estimation.methods import Method, OneVariance, register
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.units import LIKELIHOOD, at_psi, check_rows_are_groups, check_unstructured
from bayesmeta.kernel import one_variance
from bayesmeta.model.spec import Spec

ROUNDING = 4 * np.finfo(float).eps
UPPER = 100.0  # where other software begins to search a root in tau2; ten times as far until the root lies below


@dataclass(frozen=True, eq=False)
class Study:
    """y (n,) less the offset, X (n, P) and sampling variances v (n,) of one outcome."""

    y: FloatArray
    X: FloatArray
    v: FloatArray

    @property
    def df(self) -> int:
        return len(self.y) - self.X.shape[1]

    def weighted(self, w: FloatArray) -> "Weighted":
        root = np.sqrt(w)
        basis = np.linalg.qr(root[:, None] * self.X)[0]
        left = root * self.y
        for _ in range(2):  # the second pass removes the rounding of the first, which is relative to y
            left = left - basis @ (basis.T @ left)
        return Weighted(w, basis, float(left @ left), float(w @ left**2))

    def Q(self, tau2: float) -> float:
        """Generalised Q: the residual sum of squares with the weights 1 / (v + tau2)."""
        return self.weighted(1 / (self.v + tau2)).rss

    def tau2_at(self, Q: float) -> float:
        """The tau2 at which the generalised Q, which falls in tau2, has a given value; NaN where even Q(0) is less.

        Q is a sum of z^2 / (l + tau2) over error contrasts with variances l. Its reciprocal is concave, so that Newton
        steps on it, from zero, come to the root from below.
        """
        if self.Q(0.0) < Q:
            return np.nan
        tau2, step = 0.0, np.inf
        while step > ROUNDING * tau2:
            fit = self.weighted(1 / (self.v + tau2))
            step = fit.rss / fit.fall * (fit.rss / Q - 1)
            tau2 += max(step, 0.0)
        return tau2

    def tau2_near(self, Q: float, tolerance: float) -> float:
        """The same with an error up to the tolerance, by Brent's method in the range that other software searches."""
        from scipy.optimize import brentq

        if self.Q(0.0) < Q:
            return np.nan
        upper = UPPER
        while self.Q(upper) > Q:
            upper *= 10
        return float(brentq(lambda tau2: self.Q(tau2) - Q, 0.0, upper, xtol=tolerance, maxiter=2000))

    @property
    def typical_variance(self) -> float:
        """Of sampling: (n - P) / tr(P) with the weights 1 / v (Higgins and Thompson 2002, equation 9)."""
        return self.df / self.weighted(1 / self.v).trace(np.ones_like(self.v))


@dataclass(frozen=True, eq=False)
class Weighted:
    """A weighted least-squares fit: weights w (n,), orthonormal basis (n, P) of W^(1/2) X, residual sum of squares.

    fall : y'PPy, by which the residual sum of squares falls with tau2 where the weights are 1 / (v + tau2).
    """

    w: FloatArray
    basis: FloatArray
    rss: float
    fall: float

    def trace(self, m: FloatArray) -> float:
        """tr(P M) for the diagonal matrix M."""
        return float(np.sum(self.w * m * (1 - (self.basis**2).sum(axis=1))))

    def trace_of_square(self, m: FloatArray) -> float:
        """tr(P M P M)."""
        d, leverage = self.w * m, (self.basis**2).sum(axis=1)
        inner = self.basis.T @ (d[:, None] * self.basis)
        return float(np.sum(d**2 * (1 - 2 * leverage)) + np.sum(inner**2))


@dataclass(frozen=True)
class Moment:
    """An estimate of tau2, before truncation at zero, from a quadratic form with slope c and the weights of `fit`."""

    tau2: float
    c: float
    fit: Weighted

    def se(self, v: FloatArray) -> float:
        return self.c * float(np.sqrt(2 * self.fit.trace_of_square(v + self.tau2)))


def study_of(spec: Spec, what: str, several: str, advice: str) -> Study:
    """The data of a specification of one outcome with one random intercept for each row; otherwise SpecError.

    what : needs this; several, advice : what to do with several outcomes, and with other groups or effects.
    """
    if len(spec.outcomes) > 1:
        raise SpecError(
            f"{what} is for one outcome, the model has {len(spec.outcomes)}: {', '.join(spec.outcomes)}\n"
            f"  for several: {several}"
        )
    check_rows_are_groups(spec, what, advice)
    study = Study(spec.y - spec.offset, spec.X, spec.S.variances)
    if study.df < 1:
        raise DataError(
            f"{what} needs more rows than coefficients, there are {len(spec.y)} rows and {len(spec.coef)} coefficients"
        )
    return study


def dersimonian_laird(study: Study) -> Moment:
    fit = study.weighted(1 / study.v)
    trace = fit.trace(np.ones_like(study.v))
    return Moment((fit.rss - study.df) / trace, 1 / trace, fit)


def hedges(study: Study) -> Moment:
    fit = study.weighted(np.ones_like(study.v))
    return Moment((fit.rss - fit.trace(study.v)) / study.df, 1 / study.df, fit)


def hunter_schmidt(study: Study) -> Moment:
    fit = study.weighted(1 / study.v)
    return Moment((fit.rss - len(study.y)) / fit.w.sum(), 1 / fit.w.sum(), fit)


def sidik_jonkman(study: Study) -> Moment:
    """Begun at the variance of y with divisor n, whatever the covariates."""
    crude = float(np.var(study.y))
    fit = study.weighted(1 / (study.v + crude))
    return Moment(crude * fit.rss / study.df, crude / study.df, fit)


def at_quantile(study: Study, Q: float, tolerance: float | None) -> Moment:
    """The tau2 whose generalised Q has a given value."""
    tau2 = study.tau2_at(Q) if tolerance is None else study.tau2_near(Q, tolerance)
    fit = study.weighted(1 / (study.v + np.nan_to_num(tau2)))
    return Moment(tau2, len(study.y) / (study.df * float(fit.w.sum())), fit)


def paule_mandel(study: Study, tolerance: float | None = None) -> Moment:
    return at_quantile(study, float(study.df), tolerance)


def median_unbiased(study: Study, tolerance: float | None = None) -> Moment:
    return at_quantile(study, float(chi_squared_median(np.array(study.df))), tolerance)


def chi_squared_median(df: FloatArray) -> FloatArray:
    """Medians of chi-squared distributions; NaN without degrees of freedom."""
    from scipy.special import chdtri

    return np.asarray(chdtri(np.where(df > 0, df, np.nan), 0.5))


def fit_tau2(spec: Spec, method: str, estimator: Callable[..., Moment], tolerance: float | None = None) -> Estimate:
    """tau2 by one of the estimators above, truncated at zero.

    The standard error of tau, sqrt(xi_cov), is that of tau2 over 2 tau; at zero tau2 has one and tau has none.
    """
    study = study_of(spec, f"method '{method}'", 'method="mm", "vc", "reml" or "ml"', LIKELIHOOD)
    check_unstructured(spec, method)
    moment = estimator(study) if tolerance is None else estimator(study, tolerance)
    at_zero = not moment.tau2 > 0
    moment = replace(moment, tau2=0.0 if at_zero else moment.tau2)
    tau, se = np.sqrt(moment.tau2), moment.se(study.v)
    variance = np.nan if at_zero else (se / (2 * tau)) ** 2
    search = Optimizer(
        starts=np.zeros((0, 1)),
        path=np.zeros(0),
        evaluations=0,
        gradient=np.full(1, np.nan),
        gradient_norm=np.nan,
        converged=True,
        at_boundary=np.array([at_zero]),
        message="solved directly",
    )
    psi = np.array([[moment.tau2]])
    return at_psi(spec, method, psi, np.array([se]), np.array([tau]), np.array([[variance]]), search)


_REFERENCES = {
    "dl": "DerSimonian R, Laird N (1986). Meta-analysis in clinical trials. Controlled Clinical Trials 7:177-188.",
    "he": "Hedges LV (1983). A random effects model for effect sizes. Psychological Bulletin 93:388-395.",
    "hs": "Hunter JE, Schmidt FL (1990). Methods of meta-analysis: correcting error and bias in research findings. "
    "Thousand Oaks, CA: Sage.",
    "sj": "Sidik K, Jonkman JN (2005). Simple heterogeneity variance estimation for meta-analysis. Journal of the "
    "Royal Statistical Society, Series C 54:367-384.",
    "eb": "Morris CN (1983). Parametric empirical Bayes inference: theory and applications. Journal of the American "
    "Statistical Association 78:47-55.",
    "pm": "Paule RC, Mandel J (1982). Consensus values and weighting factors. Journal of Research of the National "
    "Bureau of Standards 87:377-385.",
    "pmm": "Viechtbauer W (2021). Median-unbiased estimators for the amount of heterogeneity in meta-analysis. "
    "European Congress of Methodology, Valencia, Spain.",
}

_COMPILED = {
    "dl": OneVariance(one_variance.DL),
    "he": OneVariance(one_variance.HE),
    "hs": OneVariance(one_variance.HS),
    "sj": OneVariance(one_variance.SJ),
    "eb": OneVariance(one_variance.AT_Q),
    "pm": OneVariance(one_variance.AT_Q),
    "pmm": OneVariance(one_variance.AT_Q, chi_squared_median),
}

for _name, _label, _estimator, _options, _synonyms in (
    ("dl", "DerSimonian and Laird's method", dersimonian_laird, (), ("DerSimonian-Laird",)),
    ("he", "Hedges's method", hedges, (), ("Hedges", "Hedges-Olkin")),
    ("hs", "Hunter and Schmidt's method", hunter_schmidt, (), ("Hunter-Schmidt",)),
    ("sj", "Sidik and Jonkman's method", sidik_jonkman, (), ("Sidik-Jonkman",)),
    ("eb", "empirical Bayes", paule_mandel, (), ("empirical Bayes",)),
    ("pm", "Paule and Mandel's method", paule_mandel, ("tolerance",), ("Paule-Mandel", "MP", "Mandel-Paule")),
    ("pmm", "Paule and Mandel's method, median-unbiased", median_unbiased, ("tolerance",), ()),
):
    _short = _name.upper()
    _estimate = partial(fit_tau2, method=_name, estimator=_estimator)
    _full, _source = f"{_label} ({_short})", _REFERENCES[_name]
    register(
        Method(
            _name,
            _full,
            _short,
            _estimate,
            _options,
            synonyms=_synonyms,
            reference=_source,
            one_variance=_COMPILED[_name],
        )
    )
