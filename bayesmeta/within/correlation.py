"""Builders of the sampling covariance S: what a study's report leaves to be worked out.

Every function returns a form of S that `bm.specify` takes. Those that return a dict hold one matrix per group, keyed by
the group's label in the data.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import check_correlation, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.arrays import as_numbers, check_labels
from bayesmeta.io.columns import as_frame, column, rows_by_group
from bayesmeta.within.assumed import (
    AssumedCovariance,
    Groups,
    check_column,
    check_variances,
    in_range,
    of_correlations,
)

FLOOR = 1e-8  # smallest eigenvalue that `nearest` leaves, on the correlation scale
PROJECTIONS = 10_000


@dataclass(frozen=True, eq=False)
class StandardErrors:
    """Standard errors, to be squared.

    Parameters
    ----------
    errors : str, list of str or array
        Column names, one per outcome, or numbers.
    """

    errors: Any


def from_se(*se: Any) -> StandardErrors:
    """Standard errors instead of sampling variances.

    Parameters
    ----------
    *se : str or array
        Column names, one per outcome; or one array (n,) or (n, k) of positive numbers in the unit of the outcome.

    Returns
    -------
    StandardErrors
        To be passed as `S`.

    Raises
    ------
    SpecError
        For anything but column names or a single array.

    Examples
    --------
    >>> from_se("se")
    StandardErrors(errors='se')
    >>> from_se("se_PD", "se_AL")
    StandardErrors(errors=['se_PD', 'se_AL'])
    """
    if not se or (len(se) > 1 and not all(isinstance(each, str) for each in se)):
        raise SpecError("from_se takes column names, one per outcome, or one array of standard errors")
    return StandardErrors(se[0] if len(se) == 1 else list(se))


def ar1(data: Any, variance: str, rho: float, group: str, position: str | None = None) -> AssumedCovariance:
    """Sampling covariances of measurements in sequence: sd_i sd_j rho^|p_i - p_j| within every group.

    Parameters
    ----------
    data : DataFrame
        One row per measurement, those with a missing outcome included.
    variance : str
        Column of sampling variances; where it is missing so are the entries, which `specify` ignores together with the
        missing outcome.
    rho : float
        Correlation of neighbours, in (-1, 1).
    group : str
        Column of the groups within which measurements are correlated.
    position : str, optional
        Column of numeric positions, such as times; by default the order of the rows within the group, 0, 1, 2, ...

    Returns
    -------
    dict
        Label of the group -> (rows, rows) matrix in the order of the data.

    Raises
    ------
    SpecError
        For unknown columns, rho outside its range, or a negative rho with fractional positions.
    DataError
        For a negative variance, and a position that is missing or occurs twice in a group.

    References
    ----------
    Sera et al. (2019), section 4.5; Trikalinos and Olkin (2012), Clin. Trials 9:610-620.

    Examples
    --------
    >>> ar1({"study": ["a", "a"], "v": [1.0, 4.0]}, variance="v", rho=0.5, group="study")
    {'a': array([[1., 1.],
           [1., 4.]])}
    """
    check_correlation(rho, "rho")
    return _in_sequence(as_frame(data, "data"), variance, rho, group, position, "ar1")


def car1(data: Any, variance: str, rho: float, group: str, time: str) -> AssumedCovariance:
    """Sampling covariances of measurements at any times: sd_i sd_j rho^|t_i - t_j| within every group.

    Parameters
    ----------
    data : DataFrame
        One row per measurement, those with a missing outcome included.
    variance : str
        Column of sampling variances; missing where the outcome is.
    rho : float
        Correlation of measurements one unit of time apart, at least 0 and below 1.
    group : str
        Column of the groups within which measurements are correlated.
    time : str
        Column of times, numbers in any unit, all different within a group.

    Returns
    -------
    AssumedCovariance
        {label of the group: (rows, rows) matrix in the order of the data}.

    Raises
    ------
    SpecError
        For unknown columns, and rho outside its range.
    DataError
        For a variance that is not positive, and a time that is missing or occurs twice in a group.

    References
    ----------
    Jones (1993), Longitudinal Data with Serial Correlation, chapter 3.

    Examples
    --------
    >>> car1({"study": ["a", "a"], "v": [1.0, 4.0], "year": [0, 0.5]}, "v", rho=0.25, group="study", time="year")
    {'a': array([[1., 1.],
           [1., 4.]])}
    """
    in_range(rho, "rho", low=0.0)
    check_column(time, "time")
    return _in_sequence(as_frame(data, "data"), variance, rho, group, time, "car1")


def _misplaced(name: str, position: str | None, at: FloatArray, rows: IntArray) -> str:
    """What is wrong with the positions of a group, and in which rows."""
    if not (finite := np.isfinite(at)).all():
        where = listing(f"{row}" for row in rows[~finite])
        return f"{name} has a position that is missing or infinite (column '{position}', rows {where})"
    values, counts = np.unique(at, return_counts=True)
    twice = values[counts > 1][0]
    where = listing(f"{row}" for row in rows[at == twice])
    return (
        f"{name} has position {twice:g} more than once (column '{position}', rows {where})\n"
        "  average these estimates with bm.effects.aggregate, or take bm.within.vcalc, which has obs= for them"
    )


def _in_sequence(
    frame: pd.DataFrame, variance: str, rho: float, group: str, position: str | None, builder: str
) -> AssumedCovariance:
    places = None if position is None else column(frame, position, "position")

    def correlation(rows: IntArray) -> FloatArray:
        at = np.arange(len(rows), dtype=float) if places is None else places[rows]
        with np.errstate(invalid="ignore"):  # of positions that are refused below
            lag = np.abs(np.subtract.outer(at, at))
        if not np.isfinite(at).all() or (lag == 0).sum() > len(rows):
            raise DataError(_misplaced(f"{group} {frame[group].iloc[rows[0]]}", position, at, rows))
        if rho < 0 and not np.array_equal(lag, np.round(lag)):
            raise SpecError(
                f"rho is {rho}; with fractional positions (column '{position}') it cannot be negative"
                "\n  give a rho from 0 to 1, or whole positions"
            )
        return np.asarray(rho**lag)

    place = f"in '{position}'" if position is not None else "of their rows"
    words = f"sampling errors of one {group} were assumed to correlate by {rho:g} to the power of the distance {place}"
    name = "time" if builder == "car1" else "position"
    arguments = {"variance": variance, "rho": rho, "group": group, name: position}
    return AssumedCovariance(_by_group(frame, variance, group, correlation), words, builder, arguments)


def correlated(data: Any, variance: str, rho: float, group: str) -> AssumedCovariance:
    """Sampling covariances with one correlation between all rows of a group: sd_i sd_j rho.

    Parameters
    ----------
    data : DataFrame
        One row per effect estimate.
    variance : str
        Column of sampling variances; missing where the outcome is.
    rho : float
        Correlation within a group, in (-1, 1) and above -1/(rows - 1).
    group : str
        Column of the groups.

    Returns
    -------
    dict
        Label of the group -> (rows, rows) matrix in the order of the data.

    Raises
    ------
    SpecError
        For unknown columns and rho outside its range.
    DataError
        For a variance that is not positive, and correlations that are not possible in a group: the message names it and
        the nearest that is.

    Examples
    --------
    >>> correlated({"study": [1, 1], "v": [1.0, 4.0]}, variance="v", rho=0.25, group="study")
    {1: array([[1. , 0.5],
           [0.5, 4. ]])}
    """
    check_correlation(rho, "rho")

    def correlation(rows: IntArray) -> FloatArray:
        return np.where(np.eye(len(rows), dtype=bool), 1.0, rho)

    words = f"sampling errors of one {group} were assumed to correlate by {rho:g}"
    arguments = {"variance": variance, "rho": rho, "group": group}
    made = _by_group(as_frame(data, "data"), variance, group, correlation, rho)
    return AssumedCovariance(made, words, "correlated", arguments)


def _by_group(
    frame: pd.DataFrame,
    variance: str,
    group: str,
    correlation: Callable[[IntArray], FloatArray],
    rho: float | None = None,
) -> dict[Any, FloatArray]:
    """rho : the number to which correlations are in proportion, where there is one."""
    variances = check_variances(frame, variance, "variance")
    groups = Groups(frame, group, rows_by_group(frame, group))
    one = None if rho is None else dict.fromkeys(groups.rows, rho)
    return of_correlations(groups, variances, lambda _, rows: correlation(rows), rho=one)


def nearest(matrix: Any) -> FloatArray:
    """The nearest positive definite matrix with the same variances.

    Nearest in the Frobenius norm of the correlation matrices, by alternating projections with Dykstra's correction;
    the smallest eigenvalue on the correlation scale is then about 1e-8.

    Parameters
    ----------
    matrix : array
        (s, s), symmetric with a positive diagonal.

    Returns
    -------
    array
        (s, s); the matrix itself where it is positive definite already.

    Raises
    ------
    DataError
        For anything but a symmetric matrix of finite numbers with positive variances.

    References
    ----------
    Higham (2002), IMA J. Numer. Anal. 22:329-343, algorithm 3.3.

    Examples
    --------
    >>> nearest([[4.0, 2.1], [2.1, 1.0]]).round(6)
    array([[4., 2.],
           [2., 1.]])
    """
    if isinstance(matrix, pd.DataFrame):
        check_labels(matrix.columns, matrix.index, "the matrix for nearest, by columns,")
    values = as_numbers(matrix, "the matrix for nearest")
    if values.ndim != 2 or not len(values) or values.shape[0] != values.shape[1] or not np.isfinite(values).all():
        raise DataError(f"nearest needs a square matrix of finite numbers, got shape {values.shape}")
    if not np.allclose(values, values.T, rtol=1e-8, atol=0) or not (np.diag(values) > 0).all():
        raise DataError("nearest needs a symmetric matrix with positive variances on its diagonal")
    sd = np.sqrt(np.diag(values))
    R = values / np.outer(sd, sd)
    if np.linalg.eigvalsh(R)[0] >= FLOOR:
        return values
    correction = np.zeros_like(R)
    for _ in range(PROJECTIONS):
        lifted = _lift(R - correction)
        correction = lifted - (R - correction)
        before, R = R, lifted.copy()
        np.fill_diagonal(R, 1.0)
        if np.abs(R - before).max() < FLOOR / 100:
            break
    R = _lift(R)
    scale = sd / np.sqrt(np.diag(R))
    result = R * np.outer(scale, scale)
    np.fill_diagonal(result, np.diag(values))
    return result


def _lift(R: FloatArray) -> FloatArray:
    """Projection onto the matrices whose eigenvalues are at least FLOOR."""
    values, vectors = np.linalg.eigh((R + R.T) / 2)
    lifted = (vectors * np.maximum(values, FLOOR)) @ vectors.T
    return np.asarray((lifted + lifted.T) / 2)
