"""Fractional polynomials as terms of formulas."""

from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_number, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.splines import numbered, numbers_of

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
    exponents = numbers_of(powers, "powers", "fp")
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

    return numbered(columns, np.asarray(x, dtype=float), against, "fp")


def _powers(base: FloatArray, exponents: FloatArray) -> FloatArray:
    made: list[FloatArray] = []
    for j, power in enumerate(exponents):
        own = np.log(base) if power == 0 else base**power
        made.append(own * np.log(base) ** int((exponents[:j] == power).sum()) if power in exponents[:j] else own)
    return np.column_stack(made)
