"""New columns from expressions written in a model file: arithmetic, comparisons and a few functions, nothing else."""

import ast
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._validation import check_name, listing, shown
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
_NUMBERS, _COLUMN, _GROUP = "numbers", "a column of numbers", "a column"  # what arguments can be


class _Function(NamedTuple):
    """A function of the frame and its arguments, and what these must be."""

    compute: Callable[..., Any]
    takes: tuple[str, ...]


_FUNCTIONS = {
    **{name: _Function(lambda frame, x, f=f: f(x), (_NUMBERS,)) for name, f in ELEMENTWISE.items()},
    "mean": _Function(lambda frame, x: np.mean(x), (_NUMBERS,)),
    "means": _Function(lambda frame, x, by: x.groupby(by, sort=False).mean(), (_COLUMN, _GROUP)),
    "row_number": _Function(lambda frame: pd.Series(np.arange(1, len(frame) + 1), index=frame.index), ()),
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
    derived = f"derive {name} = {shown(expression, 120)}"
    tree = _parsed(expression, derived)
    try:
        with np.errstate(all="ignore"):
            value = _evaluate(tree, frame, derived)
    except SpecError:
        raise
    except (TypeError, ValueError):
        raise SpecError(
            f"{derived} cannot be computed: its parts do not go together\n"
            "  text is only compared with text by == and !=, and means() must be an argument of mean()"
        ) from None
    except (ArithmeticError, RecursionError) as error:
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise SpecError(f"{derived} cannot be computed: {why}\n  check the columns that it names") from None
    if isinstance(value, pd.Series) and len(value) != len(frame):
        raise SpecError(
            f"{derived} has {len(value)} values for {len(frame)} rows\n  means() must be an argument of mean()"
        )
    column = value if isinstance(value, pd.Series) else pd.Series(value, index=frame.index)
    if column.dtype == bool:
        return column.astype(float)
    if column.dtype.kind not in "if":
        raise SpecError(
            f"{derived} gives strings, not numbers"
            "\n  derived columns are numbers: leave it out, and name the column itself"
        )
    used = [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id in frame.columns]
    bad = ~np.isfinite(column) & frame[used].notna().all(axis=1)
    if bad.any():
        rows = listing(frame.index[bad])
        raise DataError(
            f"{derived} is not a finite number in rows {rows}, where its columns have values"
            "\n  change the expression, or leave those rows out of the table"
        )
    return column


def _parsed(expression: str, derived: str) -> ast.expr:
    try:
        return ast.parse(expression.strip(), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        raise SpecError(
            f'{derived} is not an expression\n  write columns, numbers and arithmetic, as in "log(ai / n1i)"'
        ) from None


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
            sides = _evaluate(node.left, frame, what), _evaluate(right, frame, what)
            if _is_numeric(sides[0]) != _is_numeric(sides[1]):  # which are never equal
                raise TypeError
            return _COMPARISONS[type(op)](*sides)
        case ast.Call(func=ast.Name(id=name), keywords=[]):
            check_name(name, _FUNCTIONS, f"{what}: no function", "known")
            arguments = [_evaluate(argument, frame, what) for argument in node.args]
            _check_arguments(name, arguments, frame, what)
            return _FUNCTIONS[name].compute(frame, *arguments)
    raise SpecError(
        f"{what}: {shown(ast.unparse(node), 120)} is not allowed; columns, numbers, arithmetic and a few functions are"
        f"\n  functions: {listing(_FUNCTIONS, 20)}"
    )


def _check_arguments(name: str, arguments: Sequence[Any], frame: pd.DataFrame, what: str) -> None:
    """That a function has as many arguments as it takes, each of its kind."""
    takes = _FUNCTIONS[name].takes
    if len(arguments) != len(takes):
        raise SpecError(f"{what}: {name}() takes {listing(takes) or 'no argument'}, and has {len(arguments)} arguments")
    for argument, kind in zip(arguments, takes, strict=True):
        of_frame = isinstance(argument, pd.Series) and len(argument) == len(frame)
        if (kind != _GROUP and not _is_numeric(argument)) or (kind != _NUMBERS and not of_frame):
            raise SpecError(f"{what}: {name}() takes {listing(takes)}, and one of its arguments is something else")


def _is_numeric(argument: Any) -> bool:
    if isinstance(argument, pd.Series):
        return pd.api.types.is_numeric_dtype(argument.dtype)
    return not isinstance(argument, str)
