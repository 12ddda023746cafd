"""Two-by-two tables from what papers print of them: margins with one association, or the accuracy of a test."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, listing, shown
from bayesmeta.effects.arms import frame_of
from bayesmeta.effects.call_words import Values, single
from bayesmeta.effects.reported import Reported
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, SpecError, warn

LARGEST = 1_000_000  # persons of a table whose cells are searched for
BOUNDLESS = 1e100  # an odds ratio beyond which the cell is its limit to all digits
SAME = 1e-15  # sum of squared differences within which two tables fit equally well


def cells_from(
    data: Any,
    total: Values,
    first: Values,
    events: Values,
    *,
    odds_ratio: Values | None = None,
    phi: Values | None = None,
    chi_squared: Values | None = None,
    continuity: bool = True,
    names: Sequence[str] = ("a", "b", "c", "d"),
) -> pd.DataFrame:
    """Cells of two-by-two tables from their margins and an odds ratio, a phi coefficient or a chi-squared statistic.

    Parameters
    ----------
    data : DataFrame
        One row per table, or anything `pandas.DataFrame` takes.
    total : str or float
        Column of the persons of both arms together.
    first : str or float
        Column of the persons of the first arm.
    events : str or float
        Column of the persons with the event in both arms together.
    odds_ratio : str or float, optional
        Column of the odds ratios. Where a row has several of these, the first counts.
    phi : str or float, optional
        Column of the phi coefficients.
    chi_squared : str or float, optional
        Column of the chi-squared statistics with one degree of freedom, with a minus sign where events are less
        frequent in the first arm.
    continuity : bool, default True
        Whether the chi-squared statistics have Yates' continuity correction.
    names : (str, str, str, str), default ("a", "b", "c", "d")
        Names of the new columns: events and non-events of the first arm, of the second.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the cells, as whole numbers; NaN where there are none.

    Raises
    ------
    SpecError
        For a column that does not exist, or an argument that is not as above.
    DataError
        For margins that exceed the total, an odds ratio that is not positive, or a phi beyond 1.

    Warns
    -----
    AssumptionWarning
        Always: that cells were worked out and rounded.
    BayesmetaWarning
        Where a table would have negative cells, or a value is missing, with their number.

    References
    ----------
    Bonett (2007), Psychol. Methods 12:401-404; Di Pietrantonj (2006), Stat. Med. 25:2299-2322.

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> studies = {"n": [100], "treated": [50], "ill": [30], "or": [0.4286]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.cells_from(studies, "n", "treated", "ill", odds_ratio="or")
    >>> table[["a", "b", "c", "d"]].iloc[0].tolist()
    [11.0, 39.0, 19.0, 31.0]
    """
    check_boolean(continuity, "continuity")
    if odds_ratio is None and phi is None and chi_squared is None:
        raise SpecError("bm.effects.cells_from needs odds_ratio, phi or chi_squared")
    _check_names(names)
    sources = single(total=("total", total), first=("first", first), events=("events", events))
    sources |= single(OR=("odds_ratio", odds_ratio), phi=("phi", phi), chi2=("chi_squared", chi_squared))
    reported = Reported(frame_of(data), sources, "bm.effects.cells_from")
    n, n1, x = (reported.count(name) for name in ("total", "first", "events"))
    for name, margin in (("first", n1), ("events", x)):
        reported.refuse(
            name, margin > n, f"exceeds the number of all persons, {reported.where('total')}\n  check both columns"
        )
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.round(n * _share(reported, n1 / n, x / n, n, continuity))
    return _with_cells(reported.frame, np.stack([a, n1 - a, x - a, n - n1 - x + a]), names)


def cells_from_accuracy(
    data: Any,
    total: Values,
    *,
    cases: Values | None = None,
    sensitivity: Values | None = None,
    specificity: Values | None = None,
    ppv: Values | None = None,
    npv: Values | None = None,
    names: Sequence[str] = ("tp", "fp", "fn", "tn"),
) -> pd.DataFrame:
    """Cells of the two-by-two tables of diagnostic tests from their accuracy.

    Parameters
    ----------
    data : DataFrame
        One row per table, or anything `pandas.DataFrame` takes.
    total : str or float
        Column of all persons.
    cases : str or float, optional
        Column of the persons who have the condition. With it sensitivity and specificity are enough.
    sensitivity, specificity : str or float, optional
        Columns of the shares of cases who test positive, and of the others who test negative.
    ppv, npv : str or float, optional
        Columns of the shares of those with a positive test who are cases, and of those with a negative one who are not.
        Without `cases` three of the four are needed.
    names : (str, str, str, str), default ("tp", "fp", "fn", "tn")
        Names of the new columns: true and false positives, false and true negatives.

    Returns
    -------
    DataFrame
        The rows of the data, in order and with their index, and the cells, as whole numbers; NaN where there are none.

    Raises
    ------
    SpecError
        For a column that does not exist, too few measures, or names that are not as above.
    DataError
        For shares beyond 0 and 1, or more cases than persons.

    Warns
    -----
    AssumptionWarning
        Always: that cells were worked out and rounded.
    BayesmetaWarning
        Where tables with different numbers of cases fit equally well, or a value is missing, with their number.

    Notes
    -----
    Of all tables of whole numbers the one whose measures are nearest to the printed ones, by the sum of squared
    differences. Printed to two digits, large tables are not told apart: take `cases` wherever a paper has them.

    Examples
    --------
    >>> import warnings
    >>> import bayesmeta as bm
    >>> studies = {"n": [120], "sens": [0.8], "spec": [0.9], "ppv": [0.727]}
    >>> with warnings.catch_warnings():
    ...     warnings.simplefilter("ignore")
    ...     table = bm.effects.cells_from_accuracy(
    ...         studies, "n", sensitivity="sens", specificity="spec", ppv="ppv"
    ...     )
    >>> table[["tp", "fp", "fn", "tn"]].iloc[0].tolist()
    [24.0, 9.0, 6.0, 81.0]
    """
    _check_names(names)
    shares = {"sensitivity": sensitivity, "specificity": specificity, "ppv": ppv, "npv": npv}
    known = [name for name, value in shares.items() if value is not None]
    enough = {"sensitivity", "specificity"} <= set(known) if cases is not None else len(known) >= 3
    if not enough:
        needed = "sensitivity and specificity beside cases" if cases is not None else "three of them, or cases and two"
        raise SpecError(f"bm.effects.cells_from_accuracy has {listing(known) or 'no measure'}; it needs {needed}")
    sources = single(total=("total", total), cases=("cases", cases), **{k: (k, shares[k]) for k in known})
    reported = Reported(frame_of(data), sources, "bm.effects.cells_from_accuracy")
    n = reported.count("total")
    values = {name: reported.between(name, 0, 1, "a share") for name in known}
    ill = reported.count("cases") if cases is not None else np.full_like(n, np.nan)
    reported.refuse(
        "total",
        n > LARGEST,
        f"is more than {LARGEST:,} persons\n  tables of so many are not rebuilt; take bm.effects.from_interval",
    )
    if cases is not None:
        reported.refuse(
            "cases", ill > n, f"exceeds the number of all persons, {reported.where('total')}\n  check both columns"
        )
    cells = [
        _nearest_table(n[i], ill[i], cases is not None, {name: own[i] for name, own in values.items()})
        for i in range(len(n))
    ]
    return _with_cells(
        reported.frame, np.array(cells).T.reshape(4, -1), names, "tables with other numbers of cases fit as well"
    )


def _nearest_table(n: float, ill: float, ill_known: bool, shares: Mapping[str, float]) -> FloatArray:
    """(4,) true and false positives, false and true negatives: the whole numbers whose shares are nearest; minus one
    where several fit equally well, NaN where a value is missing."""
    if np.isnan([n, *shares.values(), *([ill] if ill_known else [])]).any():
        return np.full(4, np.nan)
    by_cases = ill_known or {"sensitivity", "specificity"} <= shares.keys()
    first, second = ("sensitivity", "specificity") if by_cases else ("ppv", "npv")
    size = np.array([ill]) if ill_known else np.arange(n + 1)
    tp, tn = (
        (np.floor(share * of)[:, None] + [0, 1]).clip(max=of[:, None])
        for share, of in ((shares[first], size), (shares[second], n - size))
    )
    tp, tn, margin = np.broadcast_arrays(tp[:, :, None], tn[:, None], size[:, None, None])
    fn, fp = (margin - tp, n - margin - tn) if by_cases else (n - margin - tn, margin - tp)
    with np.errstate(invalid="ignore", divide="ignore"):
        made = {
            "sensitivity": tp / (tp + fn),
            "specificity": tn / (tn + fp),
            "ppv": tp / (tp + fp),
            "npv": tn / (tn + fn),
        }
        away = np.sum([(made[name] - share) ** 2 for name, share in shares.items()], axis=0)
    away = np.where(np.isnan(away), np.inf, away)
    tables = np.stack([tp, fp, fn, tn], axis=-1)[away <= away.min() + SAME]
    return tables[0] if len(np.unique(tables, axis=0)) == 1 and np.isfinite(away.min()) else np.full(4, -1.0)


def _check_names(names: Sequence[str]) -> None:
    listed = isinstance(names, Sequence) and not isinstance(names, str)
    if not listed or len(names) != 4 or len(set(map(str, names))) != 4 or not all(isinstance(n, str) for n in names):
        raise SpecError(f"names is {shown(names)}; it must be four names, for the cells of the tables")


def _share(reported: Reported, p: FloatArray, q: FloatArray, n: FloatArray, continuity: bool) -> FloatArray:
    """(n,) share of all persons who are in the first arm and have the event, for shares p and q of the margins."""
    share = np.full(len(n), np.nan)
    spread = np.sqrt(p * (1 - p) * q * (1 - q))
    if reported.has("OR"):
        share = share_of_odds_ratio(reported.positive("OR", "an odds ratio"), p, q)
    if reported.has("phi"):
        phi = reported.correlation("phi")
        share = np.where(np.isnan(share), p * q + phi * spread, share)
    if reported.has("chi2"):
        chi2 = reported.real("chi2")
        correction = 1 / (2 * n * spread) if continuity else 0.0
        implied = np.sign(chi2) * (np.sqrt(np.abs(chi2) / n) + correction)
        share = np.where(np.isnan(share), p * q + implied * spread, share)
    return share


def share_of_odds_ratio(ratio: FloatArray, p: FloatArray, q: FloatArray) -> FloatArray:
    """The cell with these margins and this odds ratio: the root of a quadratic equation, written so that nothing
    cancels where the ratio is near 1, nor where it is near 0 and the margins overlap.

    Bonett (2007), Psychol. Methods 12:401-404, equation 3.
    """
    ratio = np.clip(ratio, 1 / BOUNDLESS, BOUNDLESS)
    middle = 1 + (p + q) * (ratio - 1)
    root = np.sqrt(np.maximum(middle**2 - 4 * ratio * (ratio - 1) * p * q, 0))
    with np.errstate(divide="ignore", invalid="ignore"):  # of the form that is not taken
        return np.where(middle < 0, (middle - root) / (2 * (ratio - 1)), 2 * ratio * p * q / (middle + root))


def _with_cells(
    frame: pd.DataFrame, cells: FloatArray, names: Sequence[str], impossible: str = "cells would be negative"
) -> pd.DataFrame:
    if taken := [name for name in names if name in frame.columns]:
        raise SpecError(f"names: the data already have a column '{taken[0]}'; choose another name for the new one")
    negative, missing = (cells < 0).any(axis=0), np.isnan(cells).any(axis=0)
    cells = np.where(negative | missing, np.nan, cells)
    table = frame.assign(**dict(zip(names, cells, strict=True)))
    table.attrs = dict(frame.attrs)
    warn(f"the cells of {int((~negative & ~missing).sum())} tables were worked out and rounded", AssumptionWarning)
    reasons = {impossible: negative, "a value is missing": missing}
    clauses = [
        f"rows {listing(frame.index[rows])}, where {why} ({rows.sum()})" for why, rows in reasons.items() if rows.any()
    ]
    if clauses:
        warn(f"no table in {'; in '.join(clauses)}", BayesmetaWarning)
    return table
