"""Curves for formulas: splines, whose knots are remembered for new data, and fractional polynomials."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_integer, check_number, listing, shown
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
    return _numbered(
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
        state["knots"] = np.r_[np.repeat(boundary[0], order + 1), interior, np.repeat(boundary[1], order + 1)]
    t = state["knots"]
    spline = BSpline(t, np.eye(len(t) - order - 1)[:, 0 if intercept else 1 :], order)
    return _numbered(lambda at: np.asarray(spline(at)), values, against, "bs")


MOST_DEGREE = 20


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
    return _numbered(lambda at: restricted_basis(at, state["knots"]), values, against, "rcs")


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
        at = np.sort(_numbers(knots, "knots", "rcs"))
        if len(at) < 3:
            raise SpecError(f"rcs(): {len(at)} knots; a restricted cubic spline has at least three")
    if len(np.unique(at)) < len(at) or not len(at):
        raise DataError(
            f"rcs(): its knots {listing(map(float, at))} are not all different\n  take fewer, or give knots=[...]"
        )
    return at


MOST_POWERS = 5


def fp(x: Any, *powers: float, shift: float = 0.0, scale: float = 1.0, against: Any = None) -> pd.DataFrame:
    """Fractional polynomial as a term of a formula; one column for each power, "1", "2", ...

    Parameters
    ----------
    x : array
        (n,) values, above `-shift`.
    powers : float
        One to five; 0 is the logarithm, and a power that recurs is multiplied by the logarithm each time.
    shift, scale : float, default 0 and 1
        Columns are powers of (x + shift) / scale. Powers of 0 or less, and powers that recur, need values above zero:
        a shift moves doses of zero there.
    against : float or array, optional
        Value, or (n,) values, whose columns are subtracted.

    Returns
    -------
    DataFrame
        The columns.

    Raises
    ------
    SpecError, DataError
        Without powers, with powers that are no numbers, and for values that have no such power.

    References
    ----------
    Royston and Altman (1994), Applied Statistics 43:429-467.

    Examples
    --------
    >>> fp(pd.Series([1.0, 4.0]), 0.5, 0.5).round(3)
         1      2
    0  1.0  0.000
    1  2.0  2.773
    """
    if not 1 <= len(powers) <= MOST_POWERS:
        raise SpecError(f"fp() takes one to {MOST_POWERS} powers, as in fp(x, 0.5, 1); {len(powers)} were given")
    exponents = _numbers(powers, "powers", "fp")
    moved, unit = check_number(shift, "fp(): shift"), check_number(scale, "fp(): scale", above=0)
    logs = bool((exponents <= 0).any() or len(np.unique(exponents)) < len(exponents))
    whole = bool((exponents % 1 == 0).all())

    def columns(at: FloatArray) -> FloatArray:
        base = (at + moved) / unit
        if (logs and (base <= 0).any()) or (not whole and (base < 0).any()):
            raise DataError(
                f"fp(): the powers {listing(map(float, exponents))} need values {'above 0' if logs else 'from 0'}, "
                f"and {np.nanmin(at):g} is there\n  move them by shift=, a small dose, or take powers 1, 2, 3"
            )
        return _powers(base, exponents)

    return _numbered(columns, np.asarray(x, dtype=float), against, "fp")


def _powers(base: FloatArray, exponents: FloatArray) -> FloatArray:
    made: list[FloatArray] = []
    for j, power in enumerate(exponents):
        own = np.log(base) if power == 0 else base**power
        made.append(own * np.log(base) ** int((exponents[:j] == power).sum()) if power in exponents[:j] else own)
    return np.column_stack(made)


def _numbered(basis: Callable[[FloatArray], FloatArray], x: FloatArray, against: Any, function: str) -> pd.DataFrame:
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
    ends = np.sort(_numbers(boundary_knots, "boundary_knots", function))
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
        interior = np.sort(_numbers(knots, "knots", function))
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
            f"{function}(): interior knots {listing(map(float, interior))} do not all lie strictly between the "
            f"boundary knots {low} and {high}\n  give knots=[...] inside, or other boundary_knots"
        )
    return interior


def _numbers(argument: Any, what: str, function: str) -> FloatArray:
    values = np.atleast_1d(as_numbers(argument, f"{function}(): {what}", SpecError))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise SpecError(f"{function}(): {what} is {shown(argument)}; it must be a list of numbers")
    return values
