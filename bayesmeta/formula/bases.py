"""Bases of curves outside a model: a formula of one variable, whose knots the data fixed, evaluated at any values."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_type, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.design import FormulaMatrix
from bayesmeta.formula.safety import check_formula
from bayesmeta.io.arrays import as_numbers
from bayesmeta.io.columns import as_frame


@dataclass(frozen=True, eq=False)
class Basis:
    """Columns b(x) of a curve b(x)'theta, without a constant; made by `bm.basis`.

    formula : as written. variable : its one column. columns : their labels.
    """

    formula: str
    variable: str
    columns: tuple[str, ...]
    matrix: FormulaMatrix

    def __call__(self, x: ArrayLike) -> FloatArray:
        """(n, k) columns at values (n,); NaN where x is."""
        values = np.atleast_1d(as_numbers(x, self.variable, DataError))
        if values.ndim != 1:
            raise DataError(f"{self.variable} has {values.ndim} dimensions; it must be a list of numbers")
        made = self.matrix(pd.DataFrame({self.variable: values}))
        return made[:, [label != schema.INTERCEPT for label in self.matrix.labels]]

    def __repr__(self) -> str:
        return f"Basis({self.formula!r}, {len(self.columns)} columns)"


def basis(formula: str, data: Any) -> Basis:
    """Basis of a curve in one variable, its knots fixed by data or by the formula.

    Parameters
    ----------
    formula : str
        Right-hand side of a formula in one column, such as `"ns(temperature, df=4)"`, `"bs(x, knots=[1, 5], degree=2)"`
        or `"x + I(x**2)"`. A constant, also where the formula has one, is no column: a curve is read against a
        reference value, where it is zero.
    data : DataFrame or mapping
        With that column: quantiles for knots, and the range, come from it.

    Returns
    -------
    Basis
        To be called with values (n,) of the variable, in any unit that the data have: an array (n, k).

    Raises
    ------
    SpecError
        When the formula cannot be read, has another number of variables than one, or no column.
    DataError
        When the data have no such column, or one without numbers.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> curve = bm.basis("ns(x, knots=[5])", {"x": [0, 4, 10]})
    >>> curve([0, 5, 10]).round(3)
    array([[ 0.   ,  0.   ],
           [ 0.566, -0.211],
           [ 0.344,  0.771]])
    """
    check_type(formula, str, "formula")
    frame = as_frame(data, "data")
    part = check_formula(formula, [str(name) for name in frame.columns])
    if len(part.columns) != 1:
        which = listing(part.columns) or "none"
        raise SpecError(f"formula '{formula}' has the variables {which}; a basis has one")
    (variable,) = part.columns
    values = as_numbers(frame[variable], variable, DataError)
    if not np.isfinite(values).any():
        raise DataError(f"column '{variable}' has no numbers, from which the basis is to take its range")
    matrix = FormulaMatrix(part, pd.DataFrame({variable: values}))
    columns = tuple(label for label in matrix.labels if label != schema.INTERCEPT)
    if not columns:
        raise SpecError(f"formula '{formula}' has no column but a constant; name a function of '{variable}'")
    return Basis(formula, variable, columns, matrix)
