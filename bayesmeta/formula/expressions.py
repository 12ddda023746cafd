"""Values of checked expressions, and what the names of functions in a formula stand for."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cache
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_integer
from bayesmeta.errors import BayesmetaError, DataError, SpecError
from bayesmeta.formula.fractional import fp
from bayesmeta.formula.safety import ELEMENTWISE, Part
from bayesmeta.formula.splines import bs, cr, ns, rcs
from bayesmeta.io.columns import as_categories, categories, finite, label, rows

MOST_DEGREES = 50  # of a polynomial: a formula from a file must not take the memory of the machine


def evaluate(part: Part, frame: pd.DataFrame) -> FloatArray:
    """(n,) values of an expression, NaN where one of its columns is missing; DataError where it is undefined."""
    values = {name: finite(frame, column) for name, column in part.names.items()}
    if part.text in values:
        return values[part.text]
    with explained(part), np.errstate(all="ignore"):
        # the text holds nothing but arithmetic and the functions listed here: check_expression let it pass
        value = eval(compile(part.text, "formula", "eval"), {"__builtins__": {}}, {**ELEMENTWISE, **values})
        result = np.broadcast_to(np.asarray(value, dtype=float), len(frame)).copy()
    missing = np.any([np.zeros(len(frame), dtype=bool), *map(np.isnan, values.values())], axis=0)
    odd = ~np.isfinite(result) & ~missing
    if odd.any():
        raise DataError(
            f"{part.readable(part.text)} is not a finite number in {rows(frame, odd)}"
            "\n  change the formula, or leave those rows out by subset="
        )
    return np.where(missing, np.nan, result)


@contextmanager
def explained(part: Part) -> Iterator[None]:
    """Errors of an evaluation in our own words, columns by their own names."""
    try:
        yield
    except Exception as error:
        ours = error if isinstance(error, BayesmetaError) else error.__cause__
        if isinstance(ours, BayesmetaError):
            raise type(ours)(part.readable(str(ours))) from None
        reason = str(error.__cause__ or error)
        raise SpecError(part.readable(f"formula '{part.text}' cannot be evaluated: {reason}")) from error


@cache
def functions() -> Mapping[str, Callable[..., Any]]:
    """What the names of functions in a formula stand for."""
    from formulaic.transforms import C, center, poly, scale
    from formulaic.transforms.contrasts import TreatmentContrasts
    from formulaic.utils.stateful_transforms import stateful_transform

    def categorical(data: Any, contrasts: Any = None, levels: Any = None, _state: dict[str, Any] | None = None) -> Any:
        values, state = pd.Series(data), {} if _state is None else _state
        if values.isna().any():
            raise DataError(f"C() of '{values.name}' is undefined in some rows\n  fill in the column, or drop the rows")
        if "levels" not in state:
            present = categories(values)
            state["levels"] = present if levels is None else [text for text in map(label, levels) if text in present]
        return C(as_categories(values, state["levels"]), contrasts)

    def polynomial(x: Any, degree: Any = 1, raw: Any = False, _state: dict[str, Any] | None = None) -> Any:
        check_integer(degree, "poly(): degree", 1, MOST_DEGREES)
        return poly(x, degree, bool(raw), _state=_state)

    return {
        **ELEMENTWISE,
        "C": stateful_transform(categorical),
        "Treatment": lambda reference: TreatmentContrasts(base=label(reference)),
        "center": center,
        "scale": scale,
        "poly": stateful_transform(polynomial),
        "ns": stateful_transform(ns),
        "bs": stateful_transform(bs),
        "cr": stateful_transform(cr),
        "rcs": stateful_transform(rcs),
        "fp": fp,
    }
