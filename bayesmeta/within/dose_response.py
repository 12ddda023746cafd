"""Sampling covariances of dose-response data, where log ratios of one study share their reference dose.

A_x cases and N_x subjects or person-time at dose x, B_x = N_x - A_x, 0 the reference; v_i the reported variances of the
log ratios y_i. Both methods find a table of counts that reproduces what is reported, and take the correlations from it.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy.special import expit, logit

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import as_frame, column, rows_by_group

DESIGNS = {"cc": "case-control", "ir": "person-time", "ci": "cumulative incidence"}
LARGEST = 50.0  # log ratio: exp(50) is 5e21
MOST, SMALLEST_VARIANCE = 1e20, 1e-20  # of counts and variances: beyond, their products leave the range of numbers
EDGE = 1e-12  # a root is sought inside its range, this share of it away from either end


class Study(NamedTuple):
    """One study as reported, the reference first in y, cases and n, and left out of v."""

    name: str
    design: str
    y: FloatArray
    v: FloatArray
    cases: FloatArray
    n: FloatArray


def greenland_longnecker(
    data: Any,
    y: str,
    *,
    cases: str,
    n: str,
    type: str,  # noqa: A002
    group: str,
    se: str | None = None,
    variance: str | None = None,
) -> dict[Any, FloatArray]:
    """Sampling covariances of log ratios that share a reference, after Greenland and Longnecker.

    Keeps N at every dose and the total of cases, and finds the cases that reproduce the reported log ratios.

    Parameters
    ----------
    data : DataFrame
        One row per dose, the reference included: its log ratio is 0 and its standard error missing or 0.
    y : str
        Column of log odds, rate or risk ratios against the reference of the study.
    cases : str
        Column of the number of cases.
    n : str
        Column of the number of subjects (cases and controls), or the person-time for rate ratios.
    type : str
        Column of the design, or one design for all studies: "cc" (case-control), "ir" (person-time) or "ci" (cumulative
        incidence).
    group : str
        Column of the studies.
    se : str, optional
        Column of the standard errors of `y`; this or `variance` is needed.
    variance : str, optional
        Column of the variances of `y`.

    Returns
    -------
    dict
        Label of the study -> matrix over its rows without the reference, in the order of the data. The rows of the
        reference must be left out of the data given to `specify` as well.

    Raises
    ------
    SpecError
        For unknown columns, and unless exactly one of `se` and `variance` is given.
    DataError
        For an unknown design; and for a study, which is named, without exactly one reference, with missing or
        impossible numbers, or for which no table of counts exists.

    Notes
    -----
    Crude log ratios lead back to the reported cases for all three designs. R's dosresmeta 2.2.0 differs for "ci", whose
    log risk ratios it takes as log odds ratios when it looks for the cases: 200, 300 and 400 of 1,000 persons each
    become 226, 305 and 369. Its covariances are 7 % smaller at such risks, 0.3 % at risks of 1 to 2 %.

    References
    ----------
    Greenland and Longnecker (1992), Am. J. Epidemiol. 135:1301-1309; Orsini et al. (2012), Am. J. Epidemiol. 175:66-73.

    Examples
    --------
    >>> doses = {"id": ["a"] * 3, "y": [0, 0.405, 0.693], "se": [None, 0.0796, 0.0742]}
    >>> doses |= {"cases": [200, 300, 400], "n": [1000, 1000, 1000]}
    >>> greenland_longnecker(doses, y="y", se="se", cases="cases", n="n", type="ci", group="id")["a"].round(4)
    array([[0.0063, 0.004 ],
           [0.004 , 0.0055]])
    """
    studies = read(data, y, se, variance, cases, n, type, group)
    return {label: covariance(study, *counts_of_kept_margins(study)) for label, study in studies.items()}


def hamling(
    data: Any,
    y: str,
    *,
    cases: str,
    n: str,
    type: str,  # noqa: A002
    group: str,
    se: str | None = None,
    variance: str | None = None,
) -> dict[Any, FloatArray]:
    """Sampling covariances of log ratios that share a reference, after Hamling and colleagues.

    Finds counts that reproduce the reported log ratios and their variances, and of the reported counts the share of the
    reference (of the non-cases in case-control data, otherwise of N) and the ratio of non-cases (otherwise N) to cases.

    Parameters
    ----------
    data : DataFrame
        One row per dose, the reference included: its log ratio is 0 and its standard error missing or 0.
    y : str
        Column of log odds, rate or risk ratios against the reference of the study.
    cases : str
        Column of the number of cases.
    n : str
        Column of the number of subjects (cases and controls), or the person-time for rate ratios.
    type : str
        Column of the design, or one design for all studies: "cc" (case-control), "ir" (person-time) or "ci" (cumulative
        incidence).
    group : str
        Column of the studies.
    se : str, optional
        Column of the standard errors of `y`; this or `variance` is needed.
    variance : str, optional
        Column of the variances of `y`.

    Returns
    -------
    dict
        Label of the study -> matrix over its rows without the reference, in the order of the data. The rows of the
        reference must be left out of the data given to `specify` as well.

    Raises
    ------
    SpecError
        For unknown columns, and unless exactly one of `se` and `variance` is given.
    DataError
        For an unknown design; and for a study, which is named, without exactly one reference, with missing or
        impossible numbers, or for which no table of counts exists.

    Notes
    -----
    Crude log ratios with their variances lead back to the reported counts for all three designs. R's dosresmeta 2.2.0
    exchanges the cells of "ir" and "ci"; its covariances then differ by up to 6 % where risks are a tenth, by 0.1 %
    where they are small.

    References
    ----------
    Hamling et al. (2008), Stat. Med. 27:954-970.

    Examples
    --------
    >>> doses = {"id": ["a"] * 3, "y": [0, 0.405, 0.693], "se": [None, 0.0913, 0.0866]}
    >>> doses |= {"cases": [200, 300, 400], "n": [1000, 1000, 1000]}
    >>> hamling(doses, y="y", se="se", cases="cases", n="n", type="ir", group="id")["a"].round(4)
    array([[0.0083, 0.005 ],
           [0.005 , 0.0075]])
    """
    studies = read(data, y, se, variance, cases, n, type, group)
    return {label: covariance(study, *counts_of_kept_ratios(study)) for label, study in studies.items()}


def covariance(study: Study, A: FloatArray, N: FloatArray) -> FloatArray:
    """Correlations of the log ratios of a table of counts, times the reported standard errors.

    The variance of a log ratio is a term of its own plus one of the reference, which is what two of them share.
    """
    term = _terms(study.design, A, N)
    sd = np.sqrt(study.v / (term[0] + term[1:]))
    result = np.asarray(term[0] * np.outer(sd, sd))
    np.fill_diagonal(result, study.v)
    return result


def _terms(design: str, A: FloatArray, N: FloatArray) -> FloatArray:
    match design:
        case "cc":
            return 1 / A + 1 / (N - A)
        case "ci":
            return 1 / A - 1 / N
        case _:
            return 1 / A


def crude_ratios(design: str, A: FloatArray, N: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Log ratios of a table of counts against its first dose, and the covariance that they have."""
    term, rest = _terms(design, A, N), N - A if design == "cc" else N
    return np.log(A[1:] / rest[1:] * rest[0] / A[0]), np.diag(term[1:]) + term[0]


def differences_of_means(
    mean: FloatArray, sd: FloatArray, n: FloatArray, standardised: bool, name: str
) -> tuple[FloatArray, FloatArray]:
    """Differences from the first dose, and their covariance; standardised by the SD over all doses, less its bias.

    Gleser and Olkin (2009), in Cooper et al. (eds.), Handbook of Research Synthesis and Meta-Analysis, chapter 19.
    """
    v = sd**2 / n
    if not standardised:
        return mean[1:] - mean[0], np.diag(v[1:]) + v[0]
    total, df = n.sum(), n.sum() - len(n)
    if df < 2:
        raise DataError(f"{name} has {total:g} persons at {len(n)} doses, too few for a pooled standard deviation")
    pooled = np.sqrt(((n - 1) * sd**2).sum() / df)
    d = (1 - 3 / (4 * df - 1)) * (mean[1:] - mean[0]) / pooled
    return d, np.diag(1 / n[1:]) + 1 / n[0] + np.outer(d, d) / (2 * total)


def counts_of_kept_margins(study: Study) -> tuple[FloatArray, FloatArray]:
    """Cases and N that keep the reported N and total of cases and reproduce the reported log ratios.

    Odds ratios: A_x = N_x expit(t + y_x), whose sum increases with the reference's log odds t, so that the root is the
    only one and lies between the two values at which every term is below, or above, its share of the total. Ratios of
    rates or risks: A_x is proportional to N_x exp(y_x).
    """
    y, N, total = study.y, study.n, study.cases.sum()
    if study.design == "cc":
        center = logit(total / N.sum())
        low, high = center - y.max() - 1e-6, center - y.min() + 1e-6
        A = N * expit(_root(lambda t: N @ expit(t + y) - total, low, high, 1e-13) + y)
    else:
        A = total * N * np.exp(y) / (N @ np.exp(y))
    if study.design == "ci" and not (A < N).all():
        raise DataError(f"{study.name}: its log ratios need more cases than subjects at some dose\n  check cases and n")
    return A, N


def counts_of_kept_ratios(study: Study) -> tuple[FloatArray, FloatArray]:
    """Cases and N with the reported log ratios and variances, share of the reference and ratio of non-cases to cases.

    Given the term of the reference all cells follow; its share of the total falls from 1 to 0 as that term goes from 0
    to the smallest of the variances.
    """
    rest = study.n - study.cases if study.design == "cc" else study.n
    share, ratio = rest[0] / rest.sum(), rest.sum() / study.cases.sum()

    def cells(part: float) -> tuple[FloatArray, FloatArray]:
        shared = part * study.v.min()
        return _cells(study.design, 1 / np.append(shared, study.v - shared), np.exp(study.y), ratio)

    def excess(part: float) -> float:
        rest = cells(part)[1]
        return float(rest[0] / rest.sum() - share)

    if excess(EDGE) * excess(1 - EDGE) > 0:
        raise _no_table(study)
    A, rest = cells(_root(excess, EDGE, 1 - EDGE, 1e-15))
    if not ((A > 0).all() and (rest > 0).all() and np.isclose(rest.sum(), ratio * A.sum(), rtol=1e-8)):
        raise _no_table(study)
    return A, A + rest if study.design == "cc" else rest


def _root(function: Callable[[float], float], low: float, high: float, within: float) -> float:
    """Where a function that changes sign between two values is zero."""
    from scipy.optimize import brentq  # heavy, and no fit of other data needs it

    return float(brentq(function, low, high, xtol=within))


def _cells(design: str, w: FloatArray, r: FloatArray, ratio: float) -> tuple[FloatArray, FloatArray]:
    """Cases and non-cases (N unless case-control) with terms 1/w, ratios r to the reference, and the ratio of totals.

    The ratio of totals fixes the odds or risk of the reference by a quadratic equation.
    """
    up, down, even = w @ r, w @ (1 / r), w.sum()
    match design:
        case "cc":
            half = even * (ratio - 1) / 2
            odds = r * (down / (half + np.sqrt(half**2 + ratio * up * down)))
            return w * (1 + odds), w * (1 + 1 / odds)
        case "ci":
            half = even * (ratio + 1) / 2
            risk = r * (down / (half + np.sqrt(np.maximum(half**2 - ratio * up * down, 0.0))))
            return w * (1 - risk), w * (1 - risk) / risk
        case _:
            return w, ratio * even * (w / r) / down


def _no_table(study: Study) -> DataError:
    return DataError(
        f"{study.name}: no table of counts reproduces its log ratios, their variances and the reported counts\n"
        f"  check its cases and n, and that it is {DESIGNS[study.design]} data; Greenland and Longnecker ask less"
    )


def read(
    data: Any, y: str, se: str | None, variance: str | None, cases: str, n: str, design: str, group: str
) -> dict[Any, Study]:
    """The studies of a table by their labels, each with its reference first."""
    frame = as_frame(data, "data")
    if (se is None) == (variance is None):
        raise SpecError("give either the standard errors (se=) or the variances (variance=) of the log ratios")
    source: Any = se if variance is None else variance
    v = column(frame, source, "variance" if se is None else "se")
    _refuse_negative(frame, v, source)
    v = v if se is None else v**2
    columns = {name: column(frame, source, name) for name, source in (("y", y), ("cases", cases), ("n", n))}
    if not isinstance(design, str):
        raise SpecError(f"type is {shown(design)}; it must be the name of a column, or one of {listing(DESIGNS)}")
    check_name(design, [*DESIGNS, *frame.columns], "type: no design or column", "designs and columns")
    designs = (
        frame[design].astype(str) if design in frame.columns else pd.Series(design, index=frame.index, dtype=object)
    )
    return {
        label: _study(f"{group} {label}", designs.iloc[rows], v[rows], *(values[rows] for values in columns.values()))
        for label, rows in rows_by_group(frame, group).items()
    }


def _refuse_negative(frame: pd.DataFrame, values: FloatArray, source: str) -> None:
    if (values < 0).any():
        row = frame.index[int(np.argmax(values < 0))]
        raise DataError(
            f"column '{source}' is negative in row {row}; standard errors and variances are positive"
            "\n  check the column; the reference row has 0 or none"
        )


def _study(name: str, designs: pd.Series, v: FloatArray, y: FloatArray, cases: FloatArray, n: FloatArray) -> Study:
    design = designs.iloc[0]
    if design not in DESIGNS or (designs != design).any():
        known = ", ".join(f"'{code}' ({meaning})" for code, meaning in DESIGNS.items())
        types = [shown(each) for each in designs.unique()]
        several = f"s {listing(types)}" if len(types) > 1 else f" {types[0]}"
        raise DataError(f"{name} has the type{several}; it must be one for the whole study\n  one of {known}")
    reference = ~(v > 0) & (y == 0)
    if reference.sum() != 1:
        raise DataError(
            f"{name} has {reference.sum()} reference rows; it needs exactly one\n"
            "  the reference has a log ratio of 0, and its standard error is missing or 0"
        )
    order = np.argsort(~reference, kind="stable")
    v, y, cases, n = v[order][1:], y[order], cases[order], n[order]
    for values, what in ((v, "sampling variance"), (cases, "number of cases"), (n, "n")):
        if not (np.isfinite(values) & (values > 0)).all():
            raise DataError(f"{name} has a {what} that is missing or not positive")
    if not (np.abs(y) <= LARGEST).all():
        raise DataError(f"{name} has a log ratio that is missing, or beyond {LARGEST} (ratios enter as logs)")
    if not (n <= MOST).all():
        raise DataError(f"{name} has an n above {MOST:g}, too large to compute with")
    if not ((v >= SMALLEST_VARIANCE) & (v <= MOST)).all():
        raise DataError(f"{name} has a sampling variance outside {SMALLEST_VARIANCE:g} to {MOST:g}")
    if design != "ir" and not (cases < n).all():
        raise DataError(f"{name} has as many cases as subjects, or more; n counts the subjects, cases included")
    return Study(name, design, y, v, cases, n)
