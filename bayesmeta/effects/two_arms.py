"""Effect estimates and their sampling variances from what studies report: counts, or means and SDs, of two arms.

Every function returns the data's rows with two more columns, the estimate `y` and its variance `v`, for `bm.specify`
with `S="v"`. The first arm is compared with the second: ratios are first to second, differences first minus second.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.special import poch

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.effects.arms import Arms, arm_names, frame_of, groups, with_estimates
from bayesmeta.effects.two_by_two import ESTIMATES, Zero, ZeroCells, read

__all__ = ["hedges_g", "mean_difference", "odds_ratio", "risk_difference", "risk_ratio"]

Correction = Literal["exact", "approximate", "none"]
CORRECTIONS = ("exact", "approximate", "none")


def odds_ratio(
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    zero: Zero | None = None,
    add: float = 0.5,
    drop_double_zero: bool | None = None,
    names: Sequence[str] = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Log odds ratio of two arms, positive where events are more frequent in the first.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    events : (str, str)
        Columns of the persons with the event, (first arm, second arm). Counts are numbers of at least 0, not
        necessarily whole: effective sizes of cluster-randomised trials are not.
    total : (str, str), optional
        Columns of all persons of the arms; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    zero : {"only0", "if0all", "all", "none"}, optional
        What is done about a cell of zero persons, among events and non-events of both arms. "only0" adds `add` to the
        four cells of each row that has one; "if0all" to all rows if one of them has one; "all" to all rows; "none" adds
        nothing, and a row whose estimate is not finite, or has no positive variance, has none. By default "only0", with
        a warning where something is added.
    add : float, default 0.5
        What is added to cells, greater than 0.
    drop_double_zero : bool, optional
        Whether a row without any event in both arms, or without any non-event, is left without an estimate. By default
        it is treated like other rows, with a warning.
    names : (str, str), default ("y", "v")
        Names of the two new columns.
    arms : (str, str), optional
        Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
        their columns differ, such as "events_vaccine" and "events_control", if those are words.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, "logor" here, `columns`, the measure of every new column, `arms`, and `arm_columns`, the
        columns that it was made from, which `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, a new column that exists already and was not made by the same function, both
        or none of `total` and `no_events`, or any other argument that is not as above.
    DataError
        For a count that is not a number, negative or infinite, more events than persons, or an arm without persons.

    Warns
    -----
    AssumptionWarning
        Where something is added to cells, or a row has no events in both arms, and no argument says so.
        Where a count is not a whole number.
    BayesmetaWarning
        Where a row has no estimate.

    Notes
    -----
    log(a d / (b c)) with variance 1/a + 1/b + 1/c + 1/d, for events and non-events a, b of the first and c, d of the
    second arm. Cells of zero are treated as by default in metafor's escalc.

    References
    ----------
    Woolf (1955), Ann. Hum. Genet. 19:251-253.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = bm.datasets.load("bcg")
    >>> table = bm.effects.odds_ratio(trials, ("tpos", "cpos"), no_events=("tneg", "cneg"))
    >>> table[["author", "y", "v"]].head(2).round(3)
                 author      y      v
    0           Aronson -0.939  0.357
    1  Ferguson & Simes -1.666  0.208
    >>> spec = bm.specify("y ~ 1", table, S="v")
    >>> spec.measure
    'logor'
    """
    return _of_counts(data, "logor", events, total, no_events, ZeroCells(zero, add, drop_double_zero), names, arms)


def risk_ratio(
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    zero: Zero | None = None,
    add: float = 0.5,
    drop_double_zero: bool | None = None,
    names: Sequence[str] = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Log risk ratio of two arms, positive where the risk is higher in the first.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    events : (str, str)
        Columns of the persons with the event, (first arm, second arm). Counts are numbers of at least 0, not
        necessarily whole: effective sizes of cluster-randomised trials are not.
    total : (str, str), optional
        Columns of all persons of the arms; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    zero : {"only0", "if0all", "all", "none"}, optional
        What is done about a cell of zero persons, among events and non-events of both arms. "only0" adds `add` to the
        four cells of each row that has one; "if0all" to all rows if one of them has one; "all" to all rows; "none" adds
        nothing, and a row whose estimate is not finite, or has no positive variance, has none. By default "only0", with
        a warning where something is added.
    add : float, default 0.5
        What is added to cells, greater than 0.
    drop_double_zero : bool, optional
        Whether a row without any event in both arms, or without any non-event, is left without an estimate. By default
        it is treated like other rows, with a warning.
    names : (str, str), default ("y", "v")
        Names of the two new columns.
    arms : (str, str), optional
        Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
        their columns differ, such as "events_vaccine" and "events_control", if those are words.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, "logrr" here, `columns`, the measure of every new column, and `arms`, which
        `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, a new column that exists already and was not made by the same function, both
        or none of `total` and `no_events`, or any other argument that is not as above.
    DataError
        For a count that is not a number, negative or infinite, more events than persons, or an arm without persons.

    Warns
    -----
    AssumptionWarning
        Where something is added to cells, or a row has no events in both arms, and no argument says so.
        Where a count is not a whole number.
    BayesmetaWarning
        Where a row has no estimate.

    Notes
    -----
    log(a / n1) - log(c / n2) with variance 1/a - 1/n1 + 1/c - 1/n2, for events a, c and persons n1, n2 of the arms.
    Something is added to all four cells, thus twice to each n.

    References
    ----------
    Katz et al. (1978), Biometrics 34:469-474.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"ill": [4], "ill_control": [11], "n": [123], "n_control": [139]}
    >>> bm.effects.risk_ratio(trials, ("ill", "ill_control"), total=("n", "n_control"))[["y", "v"]].round(3)
           y      v
    0 -0.889  0.326
    """
    return _of_counts(data, "logrr", events, total, no_events, ZeroCells(zero, add, drop_double_zero), names, arms)


def risk_difference(
    data: Any,
    events: Arms,
    *,
    total: Arms | None = None,
    no_events: Arms | None = None,
    zero: Zero | None = None,
    add: float = 0.5,
    drop_double_zero: bool | None = None,
    names: Sequence[str] = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Difference of the risks of two arms, between -1 and 1, positive where the risk is higher in the first.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    events : (str, str)
        Columns of the persons with the event, (first arm, second arm). Counts are numbers of at least 0, not
        necessarily whole: effective sizes of cluster-randomised trials are not.
    total : (str, str), optional
        Columns of all persons of the arms; this or `no_events` is needed.
    no_events : (str, str), optional
        Columns of the persons without the event.
    zero : {"only0", "if0all", "all", "none"}, optional
        What is done about a cell of zero persons, among events and non-events of both arms. "only0" adds `add` to the
        four cells of each row that has one; "if0all" to all rows if one of them has one; "all" to all rows; "none" adds
        nothing, and a row whose estimate is not finite, or has no positive variance, has none. By default "only0", with
        a warning where something is added.
    add : float, default 0.5
        What is added to cells, greater than 0.
    drop_double_zero : bool, optional
        Whether a row without any event in both arms, or without any non-event, is left without an estimate. By default
        it is treated like other rows, with a warning.
    names : (str, str), default ("y", "v")
        Names of the two new columns.
    arms : (str, str), optional
        Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
        their columns differ, such as "events_vaccine" and "events_control", if those are words.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, "rd" here, `columns`, the measure of every new column, and `arms`, which
        `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, a new column that exists already and was not made by the same function, both
        or none of `total` and `no_events`, or any other argument that is not as above.
    DataError
        For a count that is not a number, negative or infinite, more events than persons, or an arm without persons.

    Warns
    -----
    AssumptionWarning
        Where something is added to cells, or a row has no events in both arms, and no argument says so.
        Where a count is not a whole number.
    BayesmetaWarning
        Where a row has no estimate.

    Notes
    -----
    p1 - p2 with variance p1 (1 - p1) / n1 + p2 (1 - p2) / n2, for risks p and persons n of the arms. With zero="none"
    the difference of an arm without events is the observed one; without any event in both arms it has no variance.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"ill": [4], "ill_control": [11], "n": [123], "n_control": [139]}
    >>> bm.effects.risk_difference(trials, ("ill", "ill_control"), total=("n", "n_control"))["y"].round(3).item()
    -0.047
    """
    return _of_counts(data, "rd", events, total, no_events, ZeroCells(zero, add, drop_double_zero), names, arms)


def mean_difference(
    data: Any,
    mean: Arms,
    sd: Arms,
    n: Arms,
    *,
    names: Sequence[str] = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Difference of the means of two arms, in the unit of the outcome.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    mean : (str, str)
        Columns of the means, (first arm, second arm).
    sd : (str, str)
        Columns of the standard deviations of persons, positive and in the unit of the means. Not standard errors.
    n : (str, str)
        Columns of the numbers of persons, at least 2, not necessarily whole.
    names : (str, str), default ("y", "v")
        Names of the two new columns.
    arms : (str, str), optional
        Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
        their columns differ, such as "events_vaccine" and "events_control", if those are words.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, "md" here, `columns`, the measure of every new column, and `arms`, which
        `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, or a new column that exists already.
    DataError
        For a value that is not a number or infinite, an SD that is not positive, or fewer than two persons.

    Warns
    -----
    BayesmetaWarning
        Where a row has no estimate, because a value is missing.

    Notes
    -----
    m1 - m2 with variance sd1^2 / n1 + sd2^2 / n2; the SDs of the arms may differ.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"m": [24.1], "m0": [21.0], "sd": [5.1], "sd0": [4.9], "n": [30], "n0": [28]}
    >>> bm.effects.mean_difference(trials, ("m", "m0"), ("sd", "sd0"), ("n", "n0"))[["y", "v"]].round(4)
         y       v
    0  3.1  1.7245
    """
    frame = frame_of(data)
    (m1, m2), (sd1, sd2), (n1, n2) = groups(frame, mean, sd, n)
    estimate = m1 - m2, sd1**2 / n1 + sd2**2 / n2
    return with_estimates(frame, "md", estimate, names, arm_names(arms, mean), mean=mean, sd=sd, n=n)


def hedges_g(
    data: Any,
    mean: Arms,
    sd: Arms,
    n: Arms,
    *,
    correction: Correction = "exact",
    names: Sequence[str] = ("y", "v"),
    arms: tuple[str, str] | None = None,
) -> pd.DataFrame:
    """Standardised mean difference of two arms, in SDs of persons, corrected for the bias of small samples.

    Parameters
    ----------
    data : DataFrame
        One row per comparison, or anything `pandas.DataFrame` takes.
    mean : (str, str)
        Columns of the means, (first arm, second arm).
    sd : (str, str)
        Columns of the standard deviations of persons, positive and in the unit of the means. Not standard errors.
    n : (str, str)
        Columns of the numbers of persons, at least 2, not necessarily whole.
    correction : {"exact", "approximate", "none"}, default "exact"
        Factor J of d = (m1 - m2) / pooled SD, with m = n1 + n2 - 2 degrees of freedom. "exact",
        Gamma(m / 2) / (sqrt(m / 2) Gamma((m - 1) / 2)); "approximate", 1 - 3 / (4 m - 1); "none", 1, for Cohen's d.
    names : (str, str), default ("y", "v")
        Names of the two new columns.
    arms : (str, str), optional
        Names of the two arms, for plots, such as ("vaccine", "control"). By default the words in which the names of
        their columns differ, such as "events_vaccine" and "events_control", if those are words.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the new columns; NaN where there is no estimate. Its
        `attrs` hold `measure`, "smd" here, `columns`, the measure of every new column, and `arms`, which
        `bm.specify` reads.

    Raises
    ------
    SpecError
        For a column that does not exist, an unknown correction, or a new column that exists already.
    DataError
        For a value that is not a number or infinite, an SD that is not positive, or fewer than two persons.

    Warns
    -----
    BayesmetaWarning
        Where a row has no estimate, because a value is missing.

    Notes
    -----
    g = J d with variance 1/n1 + 1/n2 + g^2 / (2 (n1 + n2)), as by default in metafor's escalc.

    References
    ----------
    Hedges (1981), J. Educ. Stat. 6:107-128; Hedges and Olkin (1985), Statistical Methods for Meta-Analysis, page 86.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> trials = {"m": [24.1], "m0": [21.0], "sd": [5.1], "sd0": [4.9], "n": [30], "n0": [28]}
    >>> bm.effects.hedges_g(trials, ("m", "m0"), ("sd", "sd0"), ("n", "n0"))[["y", "v"]].round(4)
            y       v
    0  0.6111  0.0723
    """
    check_choice(correction, CORRECTIONS, "correction")
    frame = frame_of(data)
    (m1, m2), (sd1, sd2), (n1, n2) = groups(frame, mean, sd, n)
    df = n1 + n2 - 2
    # weights of the squares that sum to 1, and a scale of 1, so that no SD is too large or too small to be squared
    scale = np.maximum(sd1, sd2)
    pooled = scale * np.sqrt(((n1 - 1) * (sd1 / scale) ** 2 + (n2 - 1) * (sd2 / scale) ** 2) / df)
    g = _bias_factor(df, correction) * (m1 - m2) / pooled
    estimate = g, 1 / n1 + 1 / n2 + g**2 / (2 * (n1 + n2))
    return with_estimates(frame, "smd", estimate, names, arm_names(arms, mean), mean=mean, sd=sd, n=n)


def _bias_factor(df: FloatArray, correction: Correction) -> FloatArray:
    if correction == "none":
        return np.ones_like(df)
    if correction == "approximate":
        return 1 - 3 / (4 * df - 1)
    return poch((df - 1) / 2, 0.5) / np.sqrt(df / 2)  # poch is the ratio of the gamma functions


def _of_counts(
    data: Any,
    measure: str,
    events: Arms,
    total: Arms | None,
    no_events: Arms | None,
    zeros: ZeroCells,
    names: Sequence[str],
    arms: tuple[str, str] | None,
) -> pd.DataFrame:
    frame = frame_of(data)
    tables = zeros.applied(read(frame, events, total, no_events), frame.index)
    with np.errstate(divide="ignore", invalid="ignore"):  # of cells that stay empty; with_estimates says so
        estimate = ESTIMATES[measure](tables)
    reported = {"events": events, "total": total, "no_events": no_events}
    return with_estimates(frame, measure, estimate, names, arm_names(arms, events), **reported)
