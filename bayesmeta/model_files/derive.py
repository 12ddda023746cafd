"""New columns from expressions written in a model file: arithmetic, comparisons and a few functions, nothing else."""

import ast
import operator
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._validation import check_name, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.safety import ELEMENTWISE

_ARITHMETIC: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.Pow: operator.pow,
    ast.USub: operator.neg,
    ast.UAdd: operator.pos,
}
_COMPARISONS: dict[type[ast.AST], Callable[..., Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
# each function takes the frame and its arguments
_FUNCTIONS: dict[str, Callable[..., Any]] = {
    **{name: lambda frame, x, f=f: f(x) for name, f in ELEMENTWISE.items()},
    "mean": lambda frame, x: np.mean(x),
    "means": lambda frame, x, by: x.groupby(by, sort=False).mean(),
    "row_number": lambda frame: pd.Series(np.arange(1, len(frame) + 1), index=frame.index),
}


def derive(frame: pd.DataFrame, expressions: Mapping[str, str]) -> pd.DataFrame:
    """The data with new columns, in the order of the expressions; a later one may use an earlier one.

    Parameters
    ----------
    frame : DataFrame
        The data.
    expressions : mapping of str to str
        Expressions in the columns by the name of the new one: numbers, strings in quotes, `+ - * / **`, comparisons (1
        where true, 0 where false), the functions of formulas (`log exp sqrt` ...), `mean(x)`, `means(x, group)` (one
        mean for each group, as an argument of `mean`) and `row_number()` (1, 2, ...).

    Returns
    -------
    DataFrame
        A copy with the new columns last.

    Raises
    ------
    SpecError
        For anything else in an expression, an unknown column, or a column that the data already have.
    DataError
        For a value that is not a finite number although the columns it comes from have one.

    Examples
    --------
    >>> derive(pd.DataFrame({"tpos": [4, 6], "tneg": [119, 300]}), {"odds": "tpos / tneg"}).odds.round(4).tolist()
    [0.0336, 0.02]
    """
    frame = frame.copy()
    for name, expression in expressions.items():
        if name in frame.columns:
            raise SpecError(f"derive: the data already have a column '{name}'; the new one must have another name")
        frame[name] = _column(frame, name, expression)
    return frame


def _column(frame: pd.DataFrame, name: str, expression: str) -> pd.Series:
    try:
        tree = ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(f"derive {name}: '{expression}' is not an expression") from None
    try:
        with np.errstate(all="ignore"):
            value = _evaluate(tree, frame, f"derive {name} = '{expression}'")
    except (TypeError, ArithmeticError) as error:
        raise SpecError(f"derive {name} = '{expression}' cannot be computed: {error}") from None
    if isinstance(value, pd.Series) and len(value) != len(frame):
        raise SpecError(
            f"derive {name} = '{expression}' has {len(value)} values for {len(frame)} rows\n"
            "  means() must be an argument of mean()"
        )
    column = value if isinstance(value, pd.Series) else pd.Series(value, index=frame.index)
    if column.dtype == bool:
        return column.astype(float)
    if column.dtype.kind not in "if":
        raise SpecError(f"derive {name} = '{expression}' gives strings, not numbers")
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in frame.columns]
    bad = ~np.isfinite(column) & frame[used].notna().all(axis=1)
    if bad.any():
        rows = listing(frame.index[bad])
        raise DataError(
            f"derive {name} = '{expression}' is not a finite number in rows {rows}, where its columns have values"
        )
    return column


def _evaluate(node: ast.AST, frame: pd.DataFrame, what: str) -> Any:
    match node:
        case ast.Constant(value=float() | int() as value) if not isinstance(value, bool):
            return np.float64(value)  # never Python's integers, whose powers have no bound
        case ast.Constant(value=str() as value):
            return value
        case ast.Name(id=name):
            check_name(name, frame.columns, f"{what}: the data have no column", "columns")
            return frame[name]
        case ast.BinOp(op=op) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_evaluate(node.left, frame, what), _evaluate(node.right, frame, what))
        case ast.UnaryOp(op=op) if type(op) in _ARITHMETIC:
            return _ARITHMETIC[type(op)](_evaluate(node.operand, frame, what))
        case ast.Compare(ops=[op], comparators=[right]) if type(op) in _COMPARISONS:
            return _COMPARISONS[type(op)](_evaluate(node.left, frame, what), _evaluate(right, frame, what))
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            check_name(name, _FUNCTIONS, f"{what}: no function", "known")
            return _FUNCTIONS[name](frame, *(_evaluate(argument, frame, what) for argument in node.args))
    raise SpecError(
        f"{what}: '{ast.unparse(node)}' is not allowed; columns, numbers, arithmetic and a few functions are"
    )
