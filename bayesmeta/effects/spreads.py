"""Standard deviations that papers leave out: from standard errors, intervals and tests, or imputed by a stated rule."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import stdtrit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_probability, listing, shown
from bayesmeta.effects.arms import Arms, frame_of
from bayesmeta.effects.call_words import Values, pair, single
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, SpecError, warn

Rule = Literal["pooled", "mean", "median", "largest", "cv"]
RULES = ("pooled", "mean", "median", "largest", "cv")


def sd_from(
    data: Any,
    n: Values,
    *,
    se: Values | None = None,
    interval: Sequence[str] | None = None,
    prob: float = 0.95,
    name: str = "sd",
) -> pd.DataFrame:
    """Standard deviations of persons of one arm from the standard error of its mean, or the interval of its mean.

    Parameters
    ----------
    data : DataFrame
        One row per arm, or anything `pandas.DataFrame` takes.
    n : str or float
        Column of the numbers of persons, at least 2.
    se : str or float, optional
        Column of the standard errors of the means; this or `interval` is needed, and where a row has both, this counts.
    interval : (str, str), optional
        Columns of the lower and of the upper confidence limit of the means.
    prob : float, default 0.95
        Probability of the interval.
    name : str, default "sd"
        Name of the new column, or of one with gaps that are filled and nothing else.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the SDs.

    Raises
    ------
    SpecError
        For a column that does not exist, or an argument that is not as above.
    DataError
        For a standard error that is not positive, limits in the wrong order, or fewer than two persons.

    Warns
    -----
    BayesmetaWarning
        Where rows stay without an SD, with their number.

    Notes
    -----
    se sqrt(n), where the standard error of an interval is its half over the quantile of the t distribution with n - 1
    degrees of freedom.

    References
    ----------
    Higgins et al. (eds.), Cochrane Handbook for Systematic Reviews of Interventions, section 6.5.2.2.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = {"n": [25, 25], "se": [1.2, None], "low": [None, 30.0], "high": [None, 34.2]}
    >>> bm.effects.sd_from(arms, "n", se="se", interval=("low", "high"))["sd"].round(3).tolist()
    [6.0, 5.087]
    """
    check_probability(prob)
    if se is None and interval is None:
        raise SpecError("bm.effects.sd_from needs se or interval")
    sources = single(n=("n", n), se=("se", se))
    if interval is not None:
        sources |= pair(interval, "lower", "upper", "interval")
    reported = Reported(frame_of(data), sources, "bm.effects.sd_from")
    persons = reported.size("n")
    error = reported.standard_error("se") if se is not None else np.full(len(persons), np.nan)
    if interval is not None:
        lower, upper = reported.real("lower"), reported.real("upper")
        reported.refuse(
            "lower",
            lower >= upper,
            f"is not below the upper limit, {reported.where('upper')}"
            "\n  check both limits, and their order in interval=",
        )
        of_interval = (upper - lower) / 2 / stdtrit(persons - 1, (1 + prob) / 2)
        error = np.where(np.isnan(error), of_interval, error)
    with np.errstate(over="ignore"):
        return _filled(reported, name, error * np.sqrt(persons))


def sd_from_test(
    data: Any,
    mean: Arms,
    n: Arms,
    *,
    t: Values | None = None,
    p: Values | None = None,
    interval: Sequence[str] | None = None,
    prob: float = 0.95,
    name: str = "sd",
) -> pd.DataFrame:
    """Standard deviation of persons that both arms share, from a test or an interval of the difference of their means.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    mean : (str, str)
        Columns of the means of the two arms.
    n : (str, str)
        Columns of the numbers of persons, at least 2.
    t : str or float, optional
        Column of the t statistics of the difference. Where a row has several of these, the first counts.
    p : str or float, optional
        Column of their two-sided p-values.
    interval : (str, str), optional
        Columns of the confidence limits of the difference.
    prob : float, default 0.95
        Probability of the interval.
    name : str, default "sd"
        Name of the new column, or of one with gaps that are filled and nothing else.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the SDs.

    Raises
    ------
    SpecError
        For a column that does not exist, or an argument that is not as above.
    DataError
        For a p-value outside 0 and 1, limits in the wrong order, or fewer than two persons.

    Warns
    -----
    AssumptionWarning
        Always: both arms are supposed to have the same SD.
    BayesmetaWarning
        Where rows stay without an SD, with their number.

    Notes
    -----
    The standard error of the difference, (m1 - m2) / t or half the interval over the quantile of the t distribution
    with n1 + n2 - 2 degrees of freedom, divided by sqrt(1/n1 + 1/n2).

    References
    ----------
    Higgins et al. (eds.), Cochrane Handbook for Systematic Reviews of Interventions, section 6.5.2.3.

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> trials = {"m": [3.8], "m0": [0.0], "n": [25], "n0": [22], "p": [0.008]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.sd_from_test(trials, ("m", "m0"), ("n", "n0"), p="p")
    >>> table["sd"].round(2).tolist()
    [4.68]
    """
    check_probability(prob)
    if t is None and p is None and interval is None:
        raise SpecError("bm.effects.sd_from_test needs t, p or interval")
    sources = pair(mean, "m1i", "m2i", "mean") | pair(n, "n1i", "n2i", "n") | single(ti=("t", t), pi=("p", p))
    if interval is not None:
        sources |= pair(interval, "lower", "upper", "interval")
    reported = Reported(frame_of(data), sources, "bm.effects.sd_from_test")
    n1, n2 = reported.size("n1i"), reported.size("n2i")
    error = _error_of_difference(reported, n1 + n2 - 2, prob)
    table = _filled(reported, name, error / np.sqrt(1 / n1 + 1 / n2))
    warn(f"column '{name}': both arms are supposed to have the same standard deviation", AssumptionWarning)
    return table


def _error_of_difference(reported: Reported, df: FloatArray, prob: float) -> FloatArray:
    unknown = np.full(len(df), np.nan)
    t = reported.real("ti") if reported.has("ti") else unknown
    if reported.has("pi"):
        p = np.abs(reported.pvalue("pi"))
        t = np.where(np.isnan(t), stdtrit(df, 1 - p / 2), t)
    with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
        error = np.abs((reported.real("m1i") - reported.real("m2i")) / t)
    if reported.has("lower"):
        lower, upper = reported.real("lower"), reported.real("upper")
        reported.refuse(
            "lower",
            lower >= upper,
            f"is not below the upper limit, {reported.where('upper')}"
            "\n  check both limits, and their order in interval=",
        )
        error = np.where(np.isnan(error), (upper - lower) / 2 / stdtrit(df, (1 + prob) / 2), error)
    return error


def impute_sd(
    data: Any, sd: str, *, rule: Rule, n: Values | None = None, mean: Values | None = None, name: str | None = None
) -> pd.DataFrame:
    """Standard deviations that are missing, by a rule from those of the other studies.

    Parameters
    ----------
    data : DataFrame
        One row per arm or comparison, or anything `pandas.DataFrame` takes.
    sd : str
        Column of the standard deviations, positive or missing. All of it must be of one outcome in one unit.
    rule : {"pooled", "mean", "median", "largest", "cv"}
        "pooled", the root of the mean variance, weighted by n - 1; "mean" or "median" of the SDs; "largest", which is
        cautious for mean differences; "cv", the pooled coefficient of variation times the mean of the study.
    n : str or float, optional
        Column of the numbers of persons, for "pooled" and "cv".
    mean : str or float, optional
        Column of the means, for "cv".
    name : str, optional
        Name of a new column; by default the column of the SDs itself is filled.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the SDs without gaps.

    Raises
    ------
    SpecError
        For a column that does not exist, an argument that is not as above, or one that the rule needs.
    DataError
        For an SD that is not positive, or no SD at all.

    Warns
    -----
    AssumptionWarning
        By which rule how many SDs were imputed, of which rows. Fit the others alone as well.

    References
    ----------
    Furukawa, Barbui, Cipriani, Brambilla and Watanabe (2006), J. Clin. Epidemiol. 59:7-10, for "pooled"; Lajeunesse
    (2013), in Handbook of Meta-analysis in Ecology and Evolution, 195-206, for "cv".

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.impute_sd({"sd": [3.0, None, 4.0], "n": [11, 20, 11]}, "sd", rule="pooled", n="n")
    >>> table["sd"].round(3).tolist()
    [3.0, 3.536, 4.0]
    """
    check_choice(rule, RULES, "rule")
    needed = {"pooled": ("n",), "cv": ("n", "mean")}.get(rule, ())
    values = {"n": n, "mean": mean}
    if lacking := [each for each in needed if values[each] is None]:
        raise SpecError(f"bm.effects.impute_sd: rule '{rule}' needs {listing(lacking)}")
    reported = Reported(frame_of(data), single(sd=("sd", sd), n=("n", n), mean=("mean", mean)), "bm.effects.impute_sd")
    known = reported.sd("sd")
    if not np.isfinite(known).any():
        raise SpecError(
            f"column '{sd}' has no standard deviation at all, from which others could be imputed"
            "\n  fill in those that are known"
        )
    gaps = np.isnan(known)
    filled = np.where(gaps, _by_rule(reported, known, rule), known)
    frame = reported.frame
    table = frame.assign(**{name or sd: filled})
    table.attrs = dict(frame.attrs)
    if gaps.any():
        warn(
            f"column '{sd}': {gaps.sum()} of {len(gaps)} standard deviations were imputed by rule '{rule}', of rows "
            f"{listing(frame.index[gaps])}",
            AssumptionWarning,
        )
    return table


def _by_rule(reported: Reported, known: FloatArray, rule: Rule) -> FloatArray | float:
    if rule in ("mean", "median", "largest"):
        return float({"mean": np.nanmean(known), "median": np.nanmedian(known), "largest": np.nanmax(known)}[rule])
    n = reported.size("n")
    if rule == "pooled":
        usable = np.isfinite(known) & np.isfinite(n)
        return float(np.sqrt(np.average(known[usable] ** 2, weights=n[usable] - 1)))
    mean = reported.positive("mean", "a mean that an SD could be relative to")
    usable = np.isfinite(known + n + mean)
    return np.asarray(mean * np.sqrt(np.average((known / mean)[usable] ** 2, weights=n[usable])))


def _filled(reported: Reported, name: Any, sd: FloatArray) -> pd.DataFrame:
    """The data with a new column, or with the gaps of an old one filled."""
    if not isinstance(name, str) or not name.strip():
        raise SpecError(f"name is {shown(name)}; it must be the name of a column")
    frame = reported.frame
    if name in frame.columns:
        old = Reported(frame, {"sd": Source(name, "name")}, reported.who).sd("sd")
        sd = np.where(np.isnan(old), sd, old)
    sd = np.where(np.isfinite(sd) & (sd > 0), sd, np.nan)
    table = frame.assign(**{name: sd})
    table.attrs = dict(frame.attrs)
    if (lacking := np.isnan(sd)).any():
        warn(f"no standard deviation in rows {listing(frame.index[lacking])} ({lacking.sum()} rows)", BayesmetaWarning)
    return table
