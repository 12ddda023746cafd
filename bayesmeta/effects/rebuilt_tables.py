"""Two-by-two tables from what papers print of them: an odds ratio, phi or chi-squared with the margins."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, listing, shown
from bayesmeta.effects.arms import frame_of
from bayesmeta.effects.call_words import Values, single
from bayesmeta.effects.reported import Reported
from bayesmeta.errors import AssumptionWarning, BayesmetaWarning, SpecError, warn


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
    listed = isinstance(names, Sequence) and not isinstance(names, str)
    if not listed or len(names) != 4 or len(set(map(str, names))) != 4 or not all(isinstance(n, str) for n in names):
        raise SpecError(f"names is {shown(names)}; it must be four names, for the cells of the tables")
    sources = single(total=("total", total), first=("first", first), events=("events", events))
    sources |= single(OR=("odds_ratio", odds_ratio), phi=("phi", phi), chi2=("chi_squared", chi_squared))
    reported = Reported(frame_of(data), sources, "bm.effects.cells_from")
    n, n1, x = (reported.count(name) for name in ("total", "first", "events"))
    for name, margin in (("first", n1), ("events", x)):
        reported.refuse(name, margin > n, f"exceeds the number of all persons, {reported.where('total')}")
    with np.errstate(divide="ignore", invalid="ignore"):
        a = np.round(n * _share(reported, n1 / n, x / n, n, continuity))
    return _with_cells(reported.frame, np.stack([a, n1 - a, x - a, n - n1 - x + a]), names)


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
    cancels where the ratio is near 1.

    Bonett (2007), Psychol. Methods 12:401-404, equation 3.
    """
    middle = 1 + (p + q) * (ratio - 1)
    return 2 * ratio * p * q / (middle + np.sqrt(np.maximum(middle**2 - 4 * ratio * (ratio - 1) * p * q, 0)))


def _with_cells(frame: pd.DataFrame, cells: FloatArray, names: Sequence[str]) -> pd.DataFrame:
    if taken := [name for name in names if name in frame.columns]:
        raise SpecError(f"names: the data already have a column '{taken[0]}'; choose another name for the new one")
    negative, missing = (cells < 0).any(axis=0), np.isnan(cells).any(axis=0)
    cells = np.where(negative | missing, np.nan, cells)
    table = frame.assign(**dict(zip(names, cells, strict=True)))
    table.attrs = dict(frame.attrs)
    warn(f"the cells of {int((~negative & ~missing).sum())} tables were worked out and rounded", AssumptionWarning)
    reasons = {"cells would be negative": negative, "a value is missing": missing}
    clauses = [
        f"rows {listing(frame.index[rows])}, where {why} ({rows.sum()})" for why, rows in reasons.items() if rows.any()
    ]
    if clauses:
        warn(f"no table in {'; in '.join(clauses)}", BayesmetaWarning)
    return table
