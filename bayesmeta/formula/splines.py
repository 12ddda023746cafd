"""Natural cubic splines for formulas: the basis of R's splines::ns, knots remembered for new data."""

from collections.abc import Sequence
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
        boundary = _boundary(present, boundary_knots)
        state |= {"boundary": boundary, "knots": _interior(present, boundary, df, knots, bool(intercept))}
    basis = natural_basis(values, state["knots"], state["boundary"], bool(intercept))
    return pd.DataFrame(basis, columns=[str(j + 1) for j in range(basis.shape[1])])


def _boundary(x: FloatArray, boundary_knots: Sequence[float] | None) -> tuple[float, float]:
    if boundary_knots is None:
        if len(x) == 0 or x.min() == x.max():
            raise DataError("ns() needs at least two different values; or give boundary_knots=[lowest, highest]")
        return float(x.min()), float(x.max())
    ends = np.sort(_numbers(boundary_knots, "boundary_knots"))
    if len(ends) != 2 or ends[0] == ends[1]:
        raise SpecError(f"ns(): boundary_knots is {boundary_knots}; it must be two different numbers")
    return float(ends[0]), float(ends[1])


def _interior(
    x: FloatArray,
    boundary: tuple[float, float],
    df: int | None,
    knots: float | Sequence[float] | None,
    intercept: bool,
) -> FloatArray:
    if knots is not None and df is not None:
        raise SpecError("ns() takes df or knots, not both: the knots fix the number of columns")
    low, high = boundary
    if knots is not None:
        interior = np.sort(_numbers(knots, "knots"))
    elif df is not None:
        inside = x[(x >= low) & (x <= high)]
        if not len(inside):
            raise DataError(f"ns(): no value lies between the boundary knots {low} and {high}\n  give other ones")
        interior = np.quantile(inside, _probabilities(df, intercept, len(x)))
    else:
        interior = np.empty(0)
    if not ((low < interior) & (interior < high)).all():
        raise DataError(
            f"ns(): interior knots {listing(map(float, interior))} do not all lie strictly between the boundary knots "
            f"{low} and {high}\n  give knots=[...] inside, or other boundary_knots"
        )
    return interior


def _probabilities(df: int, intercept: bool, n: int) -> FloatArray:
    least = 1 + intercept
    check_integer(df, "ns(): df", least, n, remedy=", the number of rows")
    return np.linspace(0, 1, df - least + 2)[1:-1]


def _numbers(argument: Any, what: str) -> FloatArray:
    values = np.atleast_1d(as_numbers(argument, f"ns(): {what}", SpecError))
    if values.ndim != 1 or not np.isfinite(values).all():
        raise SpecError(f"ns(): {what} is {shown(argument)}; it must be a list of numbers")
    return values
