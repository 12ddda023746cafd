"""Linear combinations of coefficients as users write them: names of terms, formulas, weights, matrices."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_names, check_number, did_you_mean, listing, shown
from bayesmeta.errors import SpecError
from bayesmeta.io.arrays import as_numbers
from bayesmeta.model.spec import Spec

_SIGNED = re.compile(r"=\s*([-+])")  # which formulaic reads as one operator
_IN_C = re.compile(r"^C\(\s*(\w+)\s*[,)].*$")


class Contrasts(NamedTuple):
    """Combinations (q, P) of the coefficients, the values (q,) that they are compared with, and q labels."""

    matrix: FloatArray
    null: FloatArray
    labels: tuple[str, ...]


def of_terms(spec: Spec, terms: str | Sequence[str]) -> Contrasts:
    """That all coefficients of some terms are zero: terms as in the formula, the columns in them, or coefficients."""
    known, chosen = spec.design.terms, list[int]()
    for name in check_names(terms, "terms"):
        if name in spec.coef:
            places: tuple[int, ...] = (spec.coef.index(name),)
        else:
            places = tuple(c for term, of in known.items() if _column(name) == _column(term) for c in of)
        if not places:
            others = [*known, *spec.coef]
            raise SpecError(
                f"terms: the model has no term {shown(name)}{did_you_mean(name, others)}\n"
                f"  terms: {listing(known, 20)}; coefficients: {listing(spec.coef, 20)}"
            )
        chosen += [c for c in places if c not in chosen]
    return Contrasts(np.eye(len(spec.coef))[chosen], np.zeros(len(chosen)), tuple(spec.coef[c] for c in chosen))


def _column(term: str) -> str:
    """The column of a term that codes one: alloc of C(alloc)."""
    match = _IN_C.match(term)
    return match[1] if match else term


def written(spec: Spec, contrast: Any) -> Contrasts:
    """Combinations as text, weights by coefficient, or numbers.

    Raises
    ------
    SpecError
        When a coefficient is unknown, or the combinations are of the wrong length, not finite or linearly dependent.
    """
    if isinstance(contrast, str) or _all(contrast, str):
        made = _formulas(spec, [contrast] if isinstance(contrast, str) else list(contrast))
    elif isinstance(contrast, Mapping) or _all(contrast, Mapping):
        made = _weights(spec, [contrast] if isinstance(contrast, Mapping) else list(contrast))
    else:
        made = _numbers(spec, contrast)
    _check_independent(made)
    return made


def _all(values: Any, kind: type) -> bool:
    return isinstance(values, Sequence) and bool(values) and all(isinstance(each, kind) for each in values)


def _formulas(spec: Spec, texts: Sequence[str]) -> Contrasts:
    """As in "ablat = 0, year = 2" and "PD.year - AL.year"."""
    from formulaic.errors import FormulaSyntaxError
    from formulaic.utils.constraints import LinearConstraints

    rows, null, labels = [], [], []
    for text in (part.strip() for each in texts for part in _split(each, spec.coef)):
        if not text:
            raise SpecError(f'contrast is empty; write it as "{spec.coef[-1]} = 0"')
        try:
            signed = _SIGNED.sub(r"= 0 \1", _quoted(text, spec.coef))
            made = LinearConstraints.from_spec(signed, variable_names=list(spec.coef))
        except KeyError as error:
            name = str(error.args[0])
            raise SpecError(
                f"contrast {shown(text)}: no coefficient '{name}'{did_you_mean(name, spec.coef)}\n"
                f"  coefficients: {listing(spec.coef, 20)}"
            ) from None
        except (FormulaSyntaxError, RuntimeError, ValueError, TypeError, ZeroDivisionError) as error:
            raise SpecError(
                f"contrast {shown(text)} is no linear combination of coefficients\n"
                f'  write it as "{spec.coef[-1]} = 0", or as weights: {{"{spec.coef[-1]}": 1}}'
            ) from error
        rows.append(np.asarray(made.constraint_matrix, dtype=float))
        null.append(np.asarray(made.constraint_values, dtype=float))
        labels.append(text)
    return Contrasts(np.concatenate(rows), np.concatenate(null), tuple(labels))


def _names(coef: Sequence[str]) -> str:
    """A pattern for the coefficients and what is in backticks, longer names first."""
    return "|".join(["`[^`]*`", *(re.escape(name) for name in sorted(coef, key=len, reverse=True))])


def _split(text: str, coef: Sequence[str]) -> list[str]:
    """The parts between commas, other than those in names."""
    parts = [""]
    for match in re.finditer(rf"({_names(coef)})|(.)", text, re.DOTALL):
        if match[2] == ",":
            parts.append("")
        else:
            parts[-1] += match[0]
    return parts


def _quoted(text: str, coef: Sequence[str]) -> str:
    """The same with every name in backticks, so that colons and brackets in it are no operators."""
    pattern = rf"(?<![\w.])(?:{_names(coef)})(?![\w(\[])"
    return re.sub(pattern, lambda match: match[0] if match[0].startswith("`") else f"`{match[0]}`", text)


def _weights(spec: Spec, tables: Sequence[Mapping[Any, Any]]) -> Contrasts:
    matrix = np.zeros((len(tables), len(spec.coef)))
    for row, table in zip(matrix, tables, strict=True):
        for name, weight in table.items():
            if name not in spec.coef:
                hint = did_you_mean(str(name), spec.coef)
                raise SpecError(
                    f"contrast: no coefficient {shown(name)}{hint}\n  coefficients: {listing(spec.coef, 20)}"
                )
            row[spec.coef.index(name)] = check_number(weight, f"contrast: weight of '{name}'")
    return Contrasts(matrix, np.zeros(len(tables)), tuple(_text(row, spec.coef) for row in matrix))


def _numbers(spec: Spec, values: Any) -> Contrasts:
    P = len(spec.coef)
    if not isinstance(values, Sequence | np.ndarray | pd.Series | pd.DataFrame):
        raise SpecError(
            f"contrast is {shown(values)}; it must be text, weights by coefficient, or numbers\n"
            f'  as in "{spec.coef[-1]} = 0", {{"{spec.coef[-1]}": 1}} or {_example(P)}'
        )
    matrix = np.atleast_2d(as_numbers(values, "contrast", SpecError))
    if matrix.ndim != 2 or matrix.shape[1] != P or not len(matrix):
        raise SpecError(
            f"contrast has shape {np.shape(values)}; it must have a weight for each of the {P} coefficients, as in "
            f"{_example(P)}\n  coefficients: {listing(spec.coef, 20)}"
        )
    if not np.isfinite(matrix).all():
        raise SpecError("contrast has a weight that is not finite\n  all weights must be numbers")
    return Contrasts(matrix, np.zeros(len(matrix)), tuple(_text(row, spec.coef) for row in matrix))


def _example(P: int) -> str:
    return str([0] * (P - 1) + [1]) if P <= 8 else f"{P} numbers"


def _text(weights: Iterable[float], coef: Sequence[str]) -> str:
    """The combination in words, as "PD.year - AL.year"."""
    text = ""
    for weight, name in zip(weights, coef, strict=True):
        if weight:
            size = "" if abs(weight) == 1 else f"{abs(weight):g} "
            sign = (" - " if text else "-") if weight < 0 else (" + " if text else "")
            text += f"{sign}{size}{name}"
    return text or "0"


def _check_independent(made: Contrasts) -> None:
    for i, row in enumerate(made.matrix):
        if not row.any():
            raise SpecError(
                f"contrast {shown(made.labels[i])} has no coefficient in it"
                "\n  name at least one, with a weight that is not zero"
            )
        above = made.matrix[: i + 1]
        if np.linalg.matrix_rank(above / np.linalg.norm(above, axis=1, keepdims=True)) <= i:
            raise SpecError(f"contrast {shown(made.labels[i])} follows from the others; leave it out")
