"""Moment estimators of tau2 for one outcome, and the generalised Q statistic that they rest on.

All of them equate a quadratic form y'Py with its expectation, where P projects off the fixed effects with weights W:
P = W - W X (X'WX)^-1 X'W. So one formula gives every standard error: that of c y'Py is c sqrt(2 tr(P M P M)) with the
marginal variances M = V + tau2 I (Viechtbauer 2005, J. Educ. Behav. Stat. 30:261-293; Viechtbauer et al. 2015,
Psychol. Methods 20:360-374).
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import DataError, SpecError
from bayesmeta.estimation.methods import Method, register
from bayesmeta.estimation.record import Estimate, Optimizer
from bayesmeta.estimation.units import LIKELIHOOD, at_psi, check_rows_are_groups, check_unstructured
from bayesmeta.kernel.one_column import Sets, Summed
from bayesmeta.kernel.one_variance import RowFits
from bayesmeta.kernel.weighted_rows import Rows, Weighted
from bayesmeta.model.spec import Spec

TOGETHER = 32_000  # effect estimates of the data sets that are worked through together, that stay near the processor
COMPILED = 2_000_000  # the same of compiled code, which keeps only sums over the rows
MANY = 64  # data sets from which on compiled code takes the place of NumPy, where it has the same operations
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

    @cached_property
    def rows(self) -> Rows:
        """The same as one of many data sets."""
        return Rows.of(np.ascontiguousarray(self.y[:, None]), self.X, np.ascontiguousarray(self.v[:, None]))

    def Q(self, tau2: float) -> float:
        """Generalised Q: the residual sum of squares with the weights 1 / (v + tau2)."""
        return float(self.rows.at(tau2).rss[0])

    def tau2_at(self, Q: float) -> float:
        """The tau2 at which the generalised Q, which falls in tau2, has a given value; NaN where even Q(0) is less."""
        return float(self.rows.tau2_at(np.array([Q]))[0])

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
        return self.df / float(self.rows.at_zero.trace()[0])


@dataclass(frozen=True)
class Moment:
    """Estimates (B,) of tau2 before truncation at zero, from quadratic forms with slopes c and the weights of `fit`."""

    tau2: FloatArray
    c: FloatArray
    fit: Weighted | Summed

    def se(self, v: FloatArray) -> FloatArray:
        """Standard errors, where the fit keeps its rows."""
        assert isinstance(self.fit, Weighted)
        return self.c * np.sqrt(2 * self.fit.trace_of_square(v + self.tau2))


AnyRows = Rows | Sets
Estimator = Callable[[AnyRows], Moment]


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


def dersimonian_laird(rows: AnyRows) -> Moment:
    fit = rows.at_zero
    trace = fit.trace()
    return Moment((fit.rss - rows.df) / trace, 1 / trace, fit)


def hedges(rows: AnyRows) -> Moment:
    fit, trace = rows.unweighted
    return Moment((fit.rss - trace) / rows.df, 1 / rows.df, fit)


def hunter_schmidt(rows: AnyRows) -> Moment:
    fit = rows.at_zero
    return Moment((fit.rss - rows.n) / fit.weight, 1 / fit.weight, fit)


def sidik_jonkman(rows: AnyRows) -> Moment:
    """Begun at the variance of y with divisor n, whatever the covariates."""
    crude = rows.crude
    fit = rows.at(crude, "rss")
    return Moment(crude * fit.rss / rows.df, crude / rows.df, fit)


def at_quantile(rows: AnyRows, target: Callable[[FloatArray], FloatArray]) -> Moment:
    """The tau2 whose generalised Q has a value that depends on the degrees of freedom."""
    return at_root(rows, rows.tau2_at(target(rows.df)))


def at_root(rows: AnyRows, tau2: FloatArray) -> Moment:
    """A tau2 that is a root, NaN where there is none."""
    fit = rows.at(np.nan_to_num(tau2))
    return Moment(tau2, rows.n / (rows.df * fit.weight), fit)


def mean_of_chi_squared(df: FloatArray) -> FloatArray:
    return df


def median_of_chi_squared(df: FloatArray) -> FloatArray:
    """Medians of chi-squared distributions; NaN without degrees of freedom."""
    from scipy.special import chdtri

    return np.asarray(chdtri(np.where(df > 0, df, np.nan), 0.5))


def near_root(rows: AnyRows, study: Study, target: Callable[[FloatArray], FloatArray], tolerance: float) -> Moment:
    """`at_quantile` of one data set, with an error up to the tolerance."""
    return at_root(rows, np.array([study.tau2_near(float(target(rows.df)[0]), tolerance)]))


paule_mandel = partial(at_quantile, target=mean_of_chi_squared)
median_unbiased = partial(at_quantile, target=median_of_chi_squared)


def fit_rows(rows: AnyRows, estimator: Estimator) -> RowFits:
    """Estimates of many data sets, tau2 truncated at zero; NaN where too few rows are left, or none tells X apart."""
    tau2 = truncated(estimator(rows))
    fit = rows.at(tau2, "rss")
    beta = rows.at_zero.beta + fit.beta
    made = RowFits(
        beta.T,
        np.moveaxis(fit.V, -1, 0),
        tau2,
        fit.rss,
        rows.at_zero.rss,
        np.full(len(tau2), np.nan),
        rows.n,
        np.ones_like(rows.n),
    )
    return made.without((rows.df < 1) | np.isnan(beta).any(axis=0))


def fit_common(rows: AnyRows) -> RowFits:
    """The same with common effects, where tau2 is zero."""
    fit = rows.at_zero
    V, Q = np.moveaxis(fit.V, -1, 0), fit.rss
    loglik = -0.5 * (rows.n * np.log(2 * np.pi) + rows.log_v + Q)
    made = RowFits(fit.beta.T, V, np.zeros_like(Q), Q, Q, loglik, rows.n, np.ones_like(Q))
    return made.without((rows.df < 0) | np.isnan(fit.beta).any(axis=0))


def truncated(moment: Moment) -> FloatArray:
    return np.where(moment.tau2 > 0, moment.tau2, 0.0)


def by_columns(Y: FloatArray, X: FloatArray, v: FloatArray, fit: Callable[[AnyRows], RowFits]) -> RowFits:
    """Estimates of the data sets Y (B, n), NaN where missing, some at a time; v (B, n) or (n,)."""
    compiled = X.shape[1] == 1 and len(Y) >= MANY
    parts, size = [], max(2, (COMPILED if compiled else TOGETHER) // len(X))
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(0, len(Y), size):
            y, own = Y[i : i + size], v[None] if v.ndim == 1 else v[i : i + size]
            if compiled:
                parts.append(fit(Sets.of(np.ascontiguousarray(y), X[:, 0], np.ascontiguousarray(own))))
                continue
            y, own = np.ascontiguousarray(y.T), np.ascontiguousarray(own.T)
            seen: FloatArray | float = 1.0
            if np.isnan(y.sum()):
                seen = (~np.isnan(y)).astype(float)
                y = np.where(np.isnan(y), 0.0, y)
            parts.append(fit(Rows.of(y, X, own, seen)))
    return parts[0] if len(parts) == 1 else RowFits(*map(np.concatenate, zip(*parts, strict=True)))


def fit_tau2(spec: Spec, method: str, estimator: Callable[..., Moment], tolerance: float | None = None) -> Estimate:
    """tau2 by one of the estimators above, truncated at zero.

    The standard error of tau, sqrt(xi_cov), is that of tau2 over 2 tau; at zero tau2 has one and tau has none.
    """
    study = study_of(spec, f"method '{method}'", 'method="mm", "vc", "reml" or "ml"', LIKELIHOOD)
    check_unstructured(spec, method)
    if tolerance is not None:
        assert isinstance(estimator, partial)
        estimator = partial(near_root, study=study, target=estimator.keywords["target"], tolerance=tolerance)
    moment, fit = estimator(study.rows), fit_rows(study.rows, estimator)
    (tau2,), at_zero = fit.tau2, fit.tau2[0] == 0
    tau, se = np.sqrt(tau2), float(replace(moment, tau2=fit.tau2).se(study.rows.v)[0])
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
    made = at_psi(spec, method, np.array([[tau2]]), np.array([se]), np.array([tau]), np.array([[variance]]), search)
    return replace(made, beta=fit.beta[0], beta_cov=fit.V[0])


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
            one_variance=partial(by_columns, fit=partial(fit_rows, estimator=_estimator)),
        )
    )
