"""Splines for formulas, whose knots are remembered for new data."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_integer, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.arrays import as_numbers


def natural_basis(x: ArrayLike, knots: ArrayLike, boundary: tuple[float, float], intercept: bool = False) -> FloatArray:
    """Basis of the cubic splines that are linear beyond the boundary knots.

    The B-splines are projected on the null space of their second derivatives at the two boundary knots; the first
    B-spline is left out unless `intercept`. The null space is the one that the Householder reflections of a QR
    decomposition give, so that the columns, signs included, are those of R's `splines::ns`.

    Parameters
    ----------
    x : array
        (n,) values, NaN where missing.
    knots : array
        (m,) interior knots, strictly between the boundary knots.
    boundary : tuple of float
        The two boundary knots in increasing order.
    intercept : bool, default False
        Whether the span contains the constant.

    Returns
    -------
    array
        (n, m + 1 + intercept); rows of NaN where x is NaN.

    References
    ----------
    Hastie (1992), Generalized additive models, in Statistical Models in S, chapter 7.

    Examples
    --------
    >>> natural_basis([0, 5, 10], knots=[5], boundary=(0, 10)).round(6)
    array([[ 0.      ,  0.      ],
           [ 0.566263, -0.210842],
           [ 0.344097,  0.770602]])
    """
    from scipy.interpolate import BSpline

    x = np.asarray(x, dtype=float)
    t = np.sort(np.r_[np.repeat(boundary, 4), np.asarray(knots, dtype=float)])
    used = np.eye(len(t) - 4)[:, 0 if intercept else 1 :]
    curvature = BSpline(t, used, 3)(np.asarray(boundary), 2)
    q, _ = np.linalg.qr(curvature.T, mode="complete")
    spline = BSpline(t, used @ q[:, 2:], 3)
    inside = np.clip(x, *boundary)
    return np.asarray(spline(inside) + (x - inside)[:, None] * spline(inside, 1))


def ns(
    x: Any,
    df: int | None = None,
    knots: float | Sequence[float] | None = None,
    boundary_knots: Sequence[float] | None = None,
    intercept: bool = False,
    against: Any = None,
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Natural cubic spline as a term of a formula; columns "1", "2", ...

    Parameters
    ----------
    x : array
        (n,) values.
    df : int, optional
        Number of columns; the interior knots are then equally spaced quantiles of x between the boundary knots.
    knots : float or list of float, optional
        Interior knots. With neither `df` nor `knots` there are none, and the spline is a straight line.
    boundary_knots : list of float, optional
        Beyond them the spline is linear; by default the range of x.
    intercept : bool, default False
        Whether the span contains the constant.
    against : float or array, optional
        Value, or (n,) values, whose basis is subtracted: the columns are then those of x less those of a reference.

    Returns
    -------
    DataFrame
        The basis. The knots of the first evaluation are kept in `_state` and used for new data.

    Raises
    ------
    SpecError, DataError
        For arguments that do not determine a spline, and for x that leaves no room between the knots.

    Examples
    --------
    >>> ns(pd.Series([0.0, 5.0, 10.0]), knots=5).round(3)
           1      2
    0  0.000  0.000
    1  0.566 -0.211
    2  0.344  0.771
    """
    state: dict[str, Any] = {} if _state is None else _state
    values = np.asarray(x, dtype=float)
    if "knots" not in state:
        present = values[np.isfinite(values)]
        boundary = _boundary(present, boundary_knots, "ns")
        least = 1 + bool(intercept)
        state |= {"boundary": boundary, "knots": _interior(present, boundary, df, knots, least, "ns")}
    return numbered(
        lambda at: natural_basis(at, state["knots"], state["boundary"], bool(intercept)), values, against, "ns"
    )


def bs(
    x: Any,
    df: int | None = None,
    knots: float | Sequence[float] | None = None,
    degree: int = 3,
    boundary_knots: Sequence[float] | None = None,
    intercept: bool = False,
    against: Any = None,
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """B-spline as a term of a formula; columns "1", "2", ..., those of R's `splines::bs`.

    Parameters
    ----------
    x : array
        (n,) values; beyond the boundary knots the outer polynomials go on.
    df : int, optional
        Number of columns; the interior knots are then equally spaced quantiles of x between the boundary knots.
    knots : float or list of float, optional
        Interior knots. With neither `df` nor `knots` there are none, and the spline is one polynomial.
    degree : int, default 3
        Of the polynomials: 1 gives straight lines between the knots, 2 is quadratic.
    boundary_knots : list of float, optional
        By default the range of x.
    intercept : bool, default False
        Whether the span contains the constant.
    against : float or array, optional
        Value, or (n,) values, whose basis is subtracted.

    Returns
    -------
    DataFrame
        The basis. The knots of the first evaluation are kept in `_state` and used for new data.

    Raises
    ------
    SpecError, DataError
        For arguments that do not determine a spline, and for x that leaves no room between the knots.

    References
    ----------
    de Boor (2001), A Practical Guide to Splines, chapter IX.

    Examples
    --------
    >>> bs(pd.Series([0.0, 5.0, 10.0]), knots=5, degree=1)
         1    2
    0  0.0  0.0
    1  1.0  0.0
    2  0.0  1.0
    """
    from scipy.interpolate import BSpline

    state: dict[str, Any] = {} if _state is None else _state
    values, order = np.asarray(x, dtype=float), check_integer(degree, "bs(): degree", 1, MOST_DEGREE)
    if "knots" not in state:
        present = values[np.isfinite(values)]
        boundary = _boundary(present, boundary_knots, "bs")
        interior = _interior(present, boundary, df, knots, order + bool(intercept), "bs")
        state |= {"boundary": boundary, "knots": interior}
    t = np.r_[np.repeat(state["boundary"][0], order + 1), state["knots"], np.repeat(state["boundary"][1], order + 1)]
    spline = BSpline(t, np.eye(len(t) - order - 1)[:, 0 if intercept else 1 :], order)
    return numbered(lambda at: np.asarray(spline(at)), values, against, "bs")


MOST_DEGREE = 20


def cr(
    x: Any,
    df: int = 10,
    knots: Sequence[float] | None = None,
    intercept: bool = False,
    against: Any = None,
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Cubic regression spline as a term of a formula, whose coefficients are its values at the knots.

    Columns "1", "2", ... are those of R's `dlnm::cr`, and with `intercept` those of `bs="cr"` in mgcv.

    Parameters
    ----------
    x : array
        (n,) values; beyond the outer knots the spline is linear.
    df : int, default 10
        Number of columns; the knots are then equally spaced quantiles of the different values of x.
    knots : list of float, optional
        The knots, the outer ones included, at least three.
    intercept : bool, default False
        Whether the span contains the constant; without it the column of the first knot is left out.
    against : float or array, optional
        Value, or (n,) values, whose basis is subtracted.

    Returns
    -------
    DataFrame
        The basis. The knots of the first evaluation are kept in `_state` and used for new data.

    Raises
    ------
    SpecError, DataError
        For fewer than three different knots.

    References
    ----------
    Wood (2017), Generalized Additive Models, 2nd edition, section 5.3.1.

    Examples
    --------
    >>> cr(pd.Series([0.0, 5.0, 7.0, 10.0]), knots=[0, 5, 10]).round(3) + 0.0
           1      2
    0  0.000  0.000
    1  1.000  0.000
    2  0.792  0.304
    3  0.000  1.000
    """
    from scipy.interpolate import CubicSpline

    state: dict[str, Any] = {} if _state is None else _state
    values = np.asarray(x, dtype=float)
    if "knots" not in state:
        different, first = np.unique(values[np.isfinite(values)]), 0 if intercept else 1
        if knots is None:
            n_knots = check_integer(df, "cr(): df", 3 - first) + first
            at = np.quantile(different, np.linspace(0, 1, n_knots)) if len(different) else different
        else:
            at = np.sort(numbers_of(knots, "knots", "cr"))
        state["knots"] = _all_different(at, 3, "cr")
    t = state["knots"]
    spline = CubicSpline(t, np.eye(len(t))[:, 0 if intercept else 1 :], bc_type="natural")

    def columns(at: FloatArray) -> FloatArray:
        inside = np.clip(at, t[0], t[-1])
        return np.asarray(spline(inside) + (at - inside)[:, None] * spline(inside, 1))

    return numbered(columns, values, against, "cr")


def restricted_basis(x: ArrayLike, knots: ArrayLike) -> FloatArray:
    """Basis of the cubic splines that are linear beyond the outer knots: x itself and one cubic for each further knot.

    The cubics are divided by the square of the distance of the outer knots, so that every column is in units of x.

    Parameters
    ----------
    x : array
        (n,) values, NaN where missing.
    knots : array
        (m,) increasing knots, at least three.

    Returns
    -------
    array
        (n, m - 1).

    References
    ----------
    Harrell (2015), Regression Modeling Strategies, 2nd ed., equation 2.25.

    Examples
    --------
    >>> restricted_basis([0, 5, 10], knots=[0, 5, 10])
    array([[ 0.  ,  0.  ],
           [ 5.  ,  1.25],
           [10.  ,  7.5 ]])
    """
    x, t = np.asarray(x, dtype=float), np.asarray(knots, dtype=float)
    cubes = np.maximum(x[:, None] - t, 0.0) ** 3
    last, before = t[-1], t[-2]
    above = (cubes[:, [-2]] * (last - t[:-2]) - cubes[:, [-1]] * (before - t[:-2])) / (last - before)
    return np.column_stack([x, (cubes[:, :-2] - above) / (last - t[0]) ** 2])


def rcs(
    x: Any,
    n_knots: int | None = None,
    knots: Sequence[float] | None = None,
    against: Any = None,
    _state: dict[str, Any] | None = None,
) -> pd.DataFrame:
    """Restricted cubic spline as a term of a formula; column "1" is x itself.

    Parameters
    ----------
    x : array
        (n,) values.
    n_knots : int, optional
        From 3 to 7 knots at the percentiles of x that Harrell gives.
    knots : list of float, optional
        The knots themselves, at least three; the spline is linear beyond the first and the last.
    against : float or array, optional
        Value, or (n,) values, whose basis is subtracted.

    Returns
    -------
    DataFrame
        The basis. The knots of the first evaluation are kept in `_state` and used for new data.

    Raises
    ------
    SpecError, DataError
        Unless one of `n_knots` and `knots` is given, with at least three different knots.

    References
    ----------
    Harrell (2015), Regression Modeling Strategies, 2nd ed., section 2.4.5 and Table 2.3.

    Examples
    --------
    >>> rcs(pd.Series([0.0, 5.0, 10.0]), knots=[0, 5, 10], against=5.0)
         1     2
    0 -5.0 -1.25
    1  0.0  0.00
    2  5.0  6.25
    """
    state: dict[str, Any] = {} if _state is None else _state
    values = np.asarray(x, dtype=float)
    if "knots" not in state:
        state["knots"] = _outer_and_inner(values[np.isfinite(values)], n_knots, knots)
    return numbered(lambda at: restricted_basis(at, state["knots"]), values, against, "rcs")


PERCENTILES: Mapping[int, Sequence[float]] = {
    3: (0.10, 0.50, 0.90),
    4: (0.05, 0.35, 0.65, 0.95),
    5: (0.05, 0.275, 0.50, 0.725, 0.95),
    6: (0.05, 0.23, 0.41, 0.59, 0.77, 0.95),
    7: (0.025, 0.1833, 0.3417, 0.50, 0.6583, 0.8167, 0.975),
}


def _outer_and_inner(x: FloatArray, n_knots: int | None, knots: Sequence[float] | None) -> FloatArray:
    if (n_knots is None) == (knots is None):
        raise SpecError("rcs() takes the number of its knots or the knots, as rcs(x, 4) or rcs(x, knots=[5, 15, 40])")
    if knots is None:
        number = check_integer(n_knots, "rcs(): n_knots", min(PERCENTILES), max(PERCENTILES))
        at = np.quantile(x, PERCENTILES[number]) if len(x) else np.zeros(0)
    else:
        at = np.sort(numbers_of(knots, "knots", "rcs"))
    return _all_different(at, 3, "rcs")


def _all_different(knots: FloatArray, least: int, function: str) -> FloatArray:
    if 0 < len(knots) < least:
        knot = "knot" if len(knots) == 1 else "knots"
        raise SpecError(
            f"{function}(): {len(knots)} {knot}, {listing(f'{x:.7g}' for x in knots)}; it takes at least {least}"
        )
    if len(np.unique(knots)) < len(knots) or not len(knots):
        raise DataError(
            f"{function}(): its knots {listing(f'{knot:.7g}' for knot in knots)} are not all different\n"
            "  take fewer, or give knots=[...]"
        )
    return knots


def numbered(basis: Callable[[FloatArray], FloatArray], x: FloatArray, against: Any, function: str) -> pd.DataFrame:
    """Columns "1", "2", ... of a basis at x, less those at a reference."""
    columns = basis(x)
    if against is not None:
        at = np.asarray(against, dtype=float)
        if at.ndim > 1 or (at.ndim and len(at) != len(x)) or np.isinf(at).any():
            raise SpecError(f"{function}(): against is {shown(against)}; it must be a number or a column")
        columns = columns - basis(np.broadcast_to(at, x.shape))
    return pd.DataFrame(columns, columns=[str(j + 1) for j in range(columns.shape[1])])


def _boundary(x: FloatArray, boundary_knots: Sequence[float] | None, function: str) -> tuple[float, float]:
    if boundary_knots is None:
        if len(x) == 0 or x.min() == x.max():
            raise DataError(
                f"{function}() needs at least two different values; or give boundary_knots=[lowest, highest]"
            )
        return float(x.min()), float(x.max())
    ends = np.sort(numbers_of(boundary_knots, "boundary_knots", function))
    if len(ends) != 2 or ends[0] == ends[1]:
        raise SpecError(f"{function}(): boundary_knots is {boundary_knots}; it must be two different numbers")
    return float(ends[0]), float(ends[1])


def _interior(
    x: FloatArray,
    boundary: tuple[float, float],
    df: int | None,
    knots: float | Sequence[float] | None,
    least: int,
    function: str,
) -> FloatArray:
    """Interior knots; least: number of columns without any."""
    if knots is not None and df is not None:
        raise SpecError(f"{function}() takes df or knots, not both: the knots fix the number of columns")
    low, high = boundary
    if knots is not None:
        interior = np.sort(numbers_of(knots, "knots", function))
    elif df is not None:
        inside = x[(x >= low) & (x <= high)]
        if not len(inside):
            raise DataError(
                f"{function}(): no value lies between the boundary knots {low} and {high}\n  give other ones"
            )
        columns = check_integer(df, f"{function}(): df", least, max(len(x), least), remedy=", the number of rows")
        interior = np.quantile(inside, np.linspace(0, 1, columns - least + 2)[1:-1])
    else:
        interior = np.empty(0)
    if not ((low < interior) & (interior < high)).all():
        raise DataError(
            f"{function}(): interior knots {listing(f'{knot:.7g}' for knot in interior)} do not all lie strictly "
            f"between the boundary knots {low:.7g} and {high:.7g}\n  give knots=[...] inside, or other boundary_knots"
        )
    return interior


def numbers_of(argument: Any, what: str, function: str) -> FloatArray:
    values = np.atleast_1d(as_numbers(argument, f"{function}(): {what}", SpecError))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise SpecError(f"{function}(): {what} is {shown(argument)}; it must be a list of numbers")
    return values
