"""Effect sizes of association: correlations, partial and semi-partial ones, shares of explained variance."""

from dataclasses import dataclass

import numpy as np
from scipy.special import betaincinv, gammaln, hyp2f1, logsumexp, xlogy

from bayesmeta._typing import FloatArray
from bayesmeta.effects.recipe import Estimate, Inputs, enters, mean_over_rows
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.two_by_two import fisher_z
from bayesmeta.effects.two_groups import stated_t
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError

NODES, REACH = 160, 20.0  # of an integral over atanh(rho), and how many of its SDs it goes to either side
SUMMED, AT_ONCE = 141, 50  # terms of a series, and rows that are worked through together
LARGE, TERMS = 20.0, 120  # from where the series is used, whose terms then fall faster than k^-18


_FEWEST = 4  # rows of which a correlation has an interval


@dataclass(frozen=True, eq=False)
class Correlations:
    """Correlations r of n persons, each (n,)."""

    r: FloatArray
    n: FloatArray


def _read(reported: Reported, zeros: ZeroCells) -> Correlations:
    n = reported.size("ni", 2, "fewer than two persons")
    return Correlations(_r(reported, n - 2), n)


def _r(reported: Reported, df: FloatArray, shrink: FloatArray | float = 1.0) -> FloatArray:
    """(n,) correlations as reported, else from t or from the p-value."""
    if not any(map(reported.has, ("ri", "ti", "pi"))):
        raise SpecError(f"{reported.who} needs {' or '.join(reported.argument(name) for name in ('ri', 'ti', 'pi'))}")
    r = reported.correlation("ri") if reported.has("ri") else np.full(len(reported.frame), np.nan)
    t = stated_t(reported, df)
    return np.where(np.isnan(r), t / np.sqrt(t**2 + df) * shrink, r)


CORRELATIONS = Inputs(_read, ("ri", "ni", "ti", "pi"), {})


def pearson(first: FloatArray, second: FloatArray, prob: float) -> tuple[float, float, float]:
    """Correlation of two variables (n,) over rows that have both, with Fisher's interval; NaN where there is none."""
    from scipy.stats import pearsonr  # heavy, and effect sizes need none of it

    both = ~(np.isnan(first) | np.isnan(second))
    if both.sum() < 2 or not np.ptp(first[both]) or not np.ptp(second[both]):
        return np.nan, np.nan, np.nan
    known = pearsonr(first[both], second[both])
    ends = known.confidence_interval(prob) if both.sum() >= _FEWEST else (np.nan, np.nan)
    return float(known.statistic), float(ends[0]), float(ends[1])


def hypergeometric(a: float, c: FloatArray, x: FloatArray) -> FloatArray:
    """F(a, a; c; x) for x between 0 and 1: by its series where c is large, for which SciPy has NaN near x = 1."""
    term, total = np.ones_like(c * x), np.ones_like(c * x)
    for k in range(TERMS):
        term = term * (a + k) ** 2 / ((c + k) * (k + 1)) * x
        total = total + term
    return np.where(c > LARGE, total, hyp2f1(a, a, np.minimum(c, LARGE), x))


def unbiased(r: FloatArray, n: FloatArray) -> FloatArray:
    """Correlations without the bias of small samples; NaN for four persons or fewer.

    Olkin and Pratt (1958), Ann. Math. Stat. 29:201-211, equation 2.3.
    """
    return np.where(n > 4, r * hypergeometric(0.5, (n - 2) / 2, 1 - r**2), np.nan)


def of_correlation(y: FloatArray, n: FloatArray) -> dict[str, FloatArray]:
    """Variances of large samples, NaN for three persons or fewer, and with the mean over studies."""
    n = np.where(n > 3, n, np.nan)
    return {"LS": (1 - y**2) ** 2 / (n - 1), "AV": (1 - mean_over_rows(y, n) ** 2) ** 2 / (n - 1)}


@enters("COR", "correlation", "cor", CORRELATIONS, example="0.3600 0.0111")
def correlation(c: Correlations) -> Estimate:
    """Correlation coefficient, on its own scale.

    r with variance (1 - r^2)^2 / (n - 1); it needs four persons. "AV" has the mean of all studies in place of r, "H0"
    (1 - r^2) / (n - 2), its variance where rho is zero, which is "H0a" too, and "H0b" 1 / n.

    Olkin and Siotani (1976), in Essays in Probability and Statistics, 235-251.
    """
    n = np.where(c.n > 3, c.n, np.nan)
    at_zero = (1 - c.r**2) / (n - 2)
    return c.r, {**of_correlation(c.r, c.n), "H0": at_zero, "H0a": at_zero, "H0b": 1 / n}


@enters("UCOR", "unbiased_correlation", "cor", CORRELATIONS, example="0.3624 0.0111")
def unbiased_correlation(c: Correlations) -> Estimate:
    """Correlation coefficient without the bias of small samples.

    r F(1/2, 1/2; (n - 2) / 2; 1 - r^2), F the hypergeometric function, with variance (1 - y^2)^2 / (n - 1); it needs
    five persons. "UB" is unbiased, "AV" has the mean of all studies.

    Olkin and Pratt (1958), Ann. Math. Stat. 29:201-211; Hedges (1989), J. Appl. Psychol. 74:469-477, for "UB".
    """
    y, free = unbiased(c.r, c.n), 1 - c.r**2
    square = 1 - (c.n - 3) / (c.n - 2) * free * hypergeometric(1.0, c.n / 2, free)  # unbiased estimate of that of rho
    return y, {**of_correlation(y, c.n), "UB": np.where(c.n > 4, y**2 - square, np.nan)}


@enters("ZCOR", "fisher_z", "zcor", CORRELATIONS, example="0.3769 0.0152")
def z_of_correlation(c: Correlations) -> Estimate:
    """Fisher's z of a correlation coefficient, which has the same variance for every correlation.

    atanh(r) with variance 1 / (n - 3); it needs four persons.

    Fisher (1921), Metron 1:1-32.
    """
    return np.arctanh(c.r), {"LS": 1 / np.where(c.n > 3, c.n - 3, np.nan)}


@dataclass(frozen=True, eq=False)
class Partial:
    """Partial or semi-partial correlations in regressions with m predictors and n persons, each (n,)."""

    r: FloatArray
    m: FloatArray
    n: FloatArray
    r2: FloatArray


def _predictors(reported: Reported) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Predictors, persons and residual degrees of freedom of a regression."""
    m, n = reported.size("mi", 1), reported.size("ni", 2, "fewer than two persons")
    df = n - m - 1
    reported.refuse(
        "ni",
        df < 1,
        f"is too few persons for the predictors, {reported.argument('mi')}"
        "\n  more persons than predictors and one are needed; check both columns",
    )
    return m, n, df


def _read_partial(reported: Reported, zeros: ZeroCells) -> Partial:
    m, n, df = _predictors(reported)
    return Partial(_r(reported, df), m, n, np.full_like(n, np.nan))


def _read_semipartial(reported: Reported, zeros: ZeroCells) -> Partial:
    m, n, df = _predictors(reported)
    r2 = reported.between("r2i", 0, 1, "an R squared")
    t = stated_t(reported, df)
    from_t = t * np.sqrt((1 - r2) / df)
    r = reported.correlation("ri") if reported.has("ri") else np.full_like(n, np.nan)
    if not any(map(reported.has, ("ri", "ti", "pi"))):
        raise SpecError(f"{reported.who} needs ri, ti or pi")
    return Partial(np.where(np.isnan(r), from_t, r), m, n, r2)


PARTIAL = Inputs(_read_partial, ("ri", "ti", "mi", "ni", "pi"), {})
SEMIPARTIAL = Inputs(_read_semipartial, ("ri", "ti", "mi", "ni", "r2i", "pi"), {})


@enters("PCOR", "partial_correlation", "pcor", PARTIAL, example="0.3012 0.0039")
def partial_correlation(c: Partial) -> Estimate:
    """Partial correlation of an outcome and a predictor, given the other predictors of a regression.

    r, or t / sqrt(t^2 + n - m - 1), with variance (1 - r^2)^2 / (n - m), for m predictors. "AV" has the mean of all
    studies in place of r.

    Aloe and Thompson (2013), J. Soc. Soc. Work Res. 4:390-405.
    """
    return c.r, {
        "LS": (1 - c.r**2) ** 2 / (c.n - c.m),
        "AV": (1 - mean_over_rows(c.r, c.n) ** 2) ** 2 / (c.n - c.m),
    }


@enters("ZPCOR", "partial_correlation_z", "zpcor", PARTIAL, example="0.3108 0.0047")
def partial_correlation_z(c: Partial) -> Estimate:
    """Fisher's z of a partial correlation, which has the same variance for every correlation.

    atanh(r) with variance 1 / (n - m - 2), for m predictors.

    Fisher (1924), Metron 3:329-332.
    """
    return np.arctanh(c.r), {"LS": 1 / (c.n - c.m - 2)}


@enters("SPCOR", "semipartial_correlation", "spcor", SEMIPARTIAL, example="0.2754 0.0033")
def semipartial_correlation(c: Partial) -> Estimate:
    """Semi-partial correlation of an outcome with what a predictor has of its own in a regression.

    r, or t sqrt((1 - R^2) / (n - m - 1)), with variance (R^4 - 2 R^2 + u + 1 - u^2) / n, where u = R^2 - r^2. "AV" has
    the mean of all studies in place of r.

    Aloe and Becker (2012), J. Educ. Behav. Stat. 37:278-297.
    """

    def variance(r: FloatArray | float) -> FloatArray:
        others = c.r2 - r**2
        return (c.r2**2 - 2 * c.r2 + others + 1 - others**2) / c.n

    return c.r, {"LS": variance(c.r), "AV": variance(mean_over_rows(c.r, c.n))}


@enters("ZSPCOR", "semipartial_correlation_z", "zspcor", SEMIPARTIAL, example="0.2827 0.0038")
def semipartial_correlation_z(c: Partial) -> Estimate:
    """Fisher's z of a semi-partial correlation; it does not make the variance independent of the correlation.

    atanh(r) with the variance of r divided by (1 - r^2)^2.

    The delta method on Aloe and Becker (2012), J. Educ. Behav. Stat. 37:278-297.
    """
    return fisher_z(semipartial_correlation(c))


@dataclass(frozen=True, eq=False)
class Explained:
    """Shares of explained variance of regressions with m predictors and n persons, each (n,)."""

    r2: FloatArray
    m: FloatArray
    n: FloatArray


def _read_explained(reported: Reported, zeros: ZeroCells) -> Explained:
    m, n, df = _predictors(reported)
    if not any(map(reported.has, ("r2i", "fi", "pi"))):
        raise SpecError(f"{reported.who} needs r2i, fi or pi")
    unknown = np.full_like(n, np.nan)
    r2 = reported.between("r2i", 0, 1, "an R squared") if reported.has("r2i") else unknown
    F = reported.between("fi", 0, np.inf, "an F statistic") if reported.has("fi") else unknown
    if reported.has("pi"):
        beyond = betaincinv(df / 2, m / 2, reported.between("pi", 0, 1, "a p-value"))  # df / (df + m F)
        with np.errstate(divide="ignore"):
            F = np.where(np.isnan(F), df * (1 - beyond) / (m * beyond), F)
    return Explained(np.where(np.isnan(r2), m * F / (m * F + df), r2), m, n)


EXPLAINED = Inputs(_read_explained, ("r2i", "mi", "ni", "fi", "pi"), {})


@enters("R2", "r_squared", "r2", EXPLAINED, example="0.2400 0.0025")
def r_squared(e: Explained) -> Estimate:
    """Share of the variance that a regression explains, R squared.

    R^2, or m F / (m F + n - m - 1), with variance 4 R^2 (1 - R^2)^2 / n. "LS2" is the same before it is simplified;
    "AV" and "AV2" have the mean of all studies in place of R^2.

    Kendall and Stuart (1979), The Advanced Theory of Statistics, vol. 2, equations 27.87 and 27.88.
    """
    mean = mean_over_rows(e.r2, e.n)
    exact = (e.n - e.m - 1) ** 2 / ((e.n**2 - 1) * (e.n + 3))
    own, shared = 4 * e.r2 * (1 - e.r2) ** 2, 4 * mean * (1 - mean) ** 2
    return e.r2, {"LS": own / e.n, "LS2": own * exact, "AV": shared / e.n, "AV2": shared * exact}


@enters("ZR2", "r_squared_z", "zr2", EXPLAINED, example="0.5359 0.0046")
def r_squared_z(e: Explained) -> Estimate:
    """Fisher's z of the multiple correlation, the root of R squared.

    atanh(R) with variance 1 / n.

    Olkin and Finn (1995), Psychol. Bull. 118:155-164, page 162.
    """
    return np.arctanh(np.sqrt(e.r2)), {"LS": 1 / e.n}


@enters("R2F", "r_squared_fixed", "r2", EXPLAINED, example="0.2400 0.0022")
def r_squared_fixed(e: Explained) -> Estimate:
    """Share of the variance that a regression explains, with predictors whose values were chosen, not sampled.

    R^2, or m F / (m F + n - m - 1). Its variance is that of the population's rho^2 if all values from 0 to 1 are as
    likely before the data, given that (n - m - 1) R^2 / (m (1 - R^2)) has a noncentral F distribution whose
    noncentrality is n rho^2 / (1 - rho^2).

    For the distribution of F, Helland (1987), Biometrics 43:61-69, section 3.
    """
    return e.r2, {"LS": _spread_of_explained(e)}


@enters("ZR2F", "r_squared_fixed_z", "zr2", EXPLAINED, example="0.5359 0.0039")
def r_squared_fixed_z(e: Explained) -> Estimate:
    """Fisher's z of the multiple correlation, with predictors whose values were chosen; its variance depends on it.

    atanh(R) with the variance of R^2 for chosen predictors divided by 4 R^2 (1 - R^2)^2.

    The delta method on the variance of R^2; see `r_squared_fixed`.
    """
    return np.arctanh(np.sqrt(e.r2)), {"LS": _spread_of_explained(e) / (4 * e.r2 * (1 - e.r2) ** 2)}


def _spread_of_explained(e: Explained) -> FloatArray:
    """(n,) variance of rho^2 given R^2, by Gauss and Legendre over atanh(rho), where all but nothing of it lies."""
    spread = np.empty(len(e.n))
    for start in range(0, len(e.n), AT_ONCE):
        some = slice(start, start + AT_ONCE)
        spread[some] = _by_quadrature(Explained(e.r2[some], e.m[some], e.n[some]))
    return spread


def _by_quadrature(e: Explained) -> FloatArray:
    node, weight = np.polynomial.legendre.leggauss(NODES)
    r2 = np.where(e.r2 < 1, e.r2, np.nan)
    adjusted = np.maximum(1 - (1 - r2) * (e.n - 1) / (e.n - e.m - 1), 0)  # what is not of the predictors' number
    low = np.maximum(np.arctanh(np.sqrt(adjusted)) - REACH / np.sqrt(e.n), 0)
    high = np.arctanh(np.sqrt(r2)) + REACH / np.sqrt(e.n)
    rho = np.tanh((low + high) / 2 + (high - low) / 2 * node[:, None])
    rho2, half = rho**2, e.n * rho**2 / (1 - rho**2) / 2
    density = _log_mixture((e.n - 1) / 2, e.m / 2, half * r2) - half
    density = weight[:, None] * np.exp(density - density.max(0)) * rho * (1 - rho2)
    density /= density.sum(0)
    mean = (rho2 * density).sum(0)
    return np.asarray(((rho2 - mean) ** 2 * density).sum(0))


def _log_mixture(a: FloatArray, b: FloatArray, x: FloatArray) -> FloatArray:
    """log of F(a; b; x), the confluent hypergeometric function, but for a constant of a and b.

    Its terms x^j Gamma(a + j) / (Gamma(b + j) j!) are summed around the largest, in steps where they are many: of a
    smooth bell such a sum is exact to rounding.
    """
    most = np.maximum(x - b - 1 + np.sqrt((x - b - 1) ** 2 + 4 * np.maximum(x * a - b, 0)), 0) / 2
    wide = 1 / np.sqrt(np.maximum(1 / (most + 1) + 1 / (most + b) - 1 / (most + a), 1e-300))
    step = np.maximum(np.ceil(2 * REACH * wide / SUMMED), 1)
    j = np.maximum(np.floor(most - step * (SUMMED // 2)), 0) + step * np.arange(SUMMED)[:, None, None]
    term = xlogy(j, x) + gammaln(a + j) - gammaln(b + j) - gammaln(j + 1)
    return np.asarray(logsumexp(term, axis=0) + np.log(step))
