"""Designs: the matrices of checked formulas, fixed by the rows kept and applied to any rows."""

import math
import re
from collections.abc import Iterator, Mapping
from copy import deepcopy
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_size, listing
from bayesmeta.errors import DataError, SpecError
from bayesmeta.formula.expressions import evaluate, explained, functions
from bayesmeta.formula.parse import Parsed
from bayesmeta.formula.safety import Part, split
from bayesmeta.io.columns import as_categories, categories, finite, is_boolean, is_categorical, rows, take

INTERCEPT_ALONE = "1"


class Design:
    """Fixed and random designs of a model.

    Parameters
    ----------
    parsed : checked formulas (see `formula.parse`).
    frame : the rows kept. Knots, categories, means and scales come from them, and are used for any other rows.
    positions : of every level with `times` these times, increasing.
    states : of formulas what their functions took from other data, of which `frame` is a part: see `states`.

    Attributes
    ----------
    coef : labels of the coefficients, predictors outermost, outcomes fastest; those common to all outcomes come last.

    Examples
    --------
    >>> from bayesmeta.formula.parse import Terms, parse
    >>> data = pd.DataFrame({"PD": [0.5, 0.2], "AL": [-0.3, -0.6], "year": [1983, 1982]})
    >>> design = Design(parse(Terms("PD + AL ~ year"), data.columns), data)
    >>> design.coef, design.fixed(data).shape
    (('PD.Intercept', 'AL.Intercept', 'PD.year', 'AL.year'), (2, 2, 4))
    >>> design.effects("unit")
    ('PD', 'AL')
    """

    def __init__(
        self,
        parsed: Parsed,
        frame: pd.DataFrame,
        positions: Mapping[str, FloatArray] | None = None,
        states: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> None:
        self.parsed = parsed
        self._positions = {
            level: _Positions(column, (positions or {})[level]) for level, column in parsed.times.items()
        }
        common = () if parsed.common is None else (parsed.common,)
        parts = {part.text: part for part in (*parsed.fixed, *common, *parsed.random)}
        self._matrices = {text: FormulaMatrix(part, frame, (states or {}).get(text)) for text, part in parts.items()}
        self.categories = {
            column: known for each in self._matrices.values() for column, known in each.categories.items()
        }
        self._places = tuple(self._coefficients())
        self.coef = tuple(self._label(predictor, outcome) for predictor, outcome in self._places)
        for coef in self.coef:
            if self.coef.count(coef) > 1:
                raise SpecError(f"coefficient '{coef}' arises twice\n  name its predictor in the formula or in common")
        if not self.coef:
            raise SpecError(f"the formula '{parsed.terms.fixed}' has no coefficients\n  write 1 for a mean")

    @property
    def states(self) -> dict[str, Mapping[str, Any]]:
        """Of every formula what its functions took from the rows kept, such as knots, means and scales."""
        return {text: matrix.state for text, matrix in self._matrices.items() if matrix.state}

    @property
    def terms(self) -> dict[str, tuple[int, ...]]:
        """Positions of the coefficients of every term of the fixed part, of all outcomes; "1" is the intercept."""
        places: dict[str, list[int]] = {}
        for c, (predictor, outcome) in enumerate(self._places):
            places.setdefault(self._matrices[self._text(outcome)].term_of(predictor), []).append(c)
        return {term: tuple(of) for term, of in places.items()}

    def effects(self, level: str) -> tuple[str, ...]:
        """Labels of the random effects of a level; the outcomes' names where there is only an intercept for each."""
        if level in self._positions:
            return self._positions[level].labels
        predictors = self._random(level).labels
        if len(self.parsed.outcomes) > 1 and predictors == (schema.INTERCEPT,):
            return self.parsed.outcomes
        return tuple(self._label(p, j) for p in predictors for j in range(len(self.parsed.outcomes)))

    def fixed(self, frame: pd.DataFrame) -> FloatArray:
        """(n, k, P); NaN for an outcome in a row where one of its predictors is missing."""
        parts: dict[int | None, list[tuple[int, str]]] = {}
        for c, (predictor, outcome) in enumerate(self._places):
            parts.setdefault(outcome, []).append((c, predictor))
        values = {text: self._matrices[text](frame) for text in {self._text(outcome) for outcome in parts}}
        X = np.zeros((len(frame), len(self.parsed.outcomes), len(self.coef)))
        for outcome, of in parts.items():
            text = self._text(outcome)
            column = {label: j for j, label in enumerate(self._matrices[text].labels)}
            places, sources = [c for c, _ in of], [column[predictor] for _, predictor in of]
            if outcome is None:
                X[:, :, places] = values[text][:, None, sources]
            else:
                X[:, outcome, places] = values[text][:, sources]
        X[np.isnan(X).any(axis=2)] = np.nan
        return X

    def random(self, level: str, frame: pd.DataFrame) -> FloatArray:
        """(n, k, a); NaN rows where a predictor is missing."""
        if level in self._positions:
            return self._positions[level](frame)[:, None]
        values, k = self._random(level)(frame), len(self.parsed.outcomes)
        return np.einsum("nq,jo->njqo", values, np.eye(k)).reshape(len(frame), k, values.shape[1] * k)

    def offset(self, frame: pd.DataFrame) -> FloatArray:
        """(n,) sum of all offsets, NaN where one is missing."""
        return np.sum([np.zeros(len(frame)), *(evaluate(part, frame) for part in self.parsed.offsets)], axis=0)

    def _coefficients(self) -> Iterator[tuple[str, int | None]]:
        """(predictor, position of the outcome or None for all) of every coefficient."""
        own = [self._matrices[part.text].labels for part in self.parsed.fixed]
        for predictor in dict.fromkeys(p for predictors in own for p in predictors):
            yield from ((predictor, j) for j, predictors in enumerate(own) if predictor in predictors)
        if self.parsed.common is not None:
            text = self.parsed.common.text
            keep_intercept = "1" in split(text, "+")
            yield from ((p, None) for p in self._matrices[text].labels if p != schema.INTERCEPT or keep_intercept)

    def _label(self, predictor: str, outcome: int | None) -> str:
        alone = outcome is None or len(self.parsed.outcomes) == 1
        return predictor if alone else f"{self.parsed.outcomes[outcome or 0]}.{predictor}"

    def _text(self, outcome: int | None) -> str:
        part = self.parsed.common if outcome is None else self.parsed.fixed[outcome]
        assert part is not None
        return part.text

    def _random(self, level: str) -> "FormulaMatrix":
        return self._matrices[self.parsed.random[self.parsed.levels.index(level)].text]


class _Positions:
    """An indicator of every time of a column."""

    def __init__(self, column: str, at: FloatArray) -> None:
        self.column, self.at = column, at
        self.labels = tuple(f"{time:.15g}" for time in at)
        if len(set(self.labels)) < len(at):
            raise DataError(f"column '{column}' has times that agree in 15 digits\n  round them")

    def __call__(self, frame: pd.DataFrame) -> FloatArray:
        """(n, times), NaN rows where the time is missing."""
        times = finite(frame, self.column)
        present = np.isfinite(times)
        place = np.clip(np.searchsorted(self.at, times), 0, len(self.at) - 1)
        other = present & (self.at[place] != times)
        if other.any():
            known = listing((f"{time:g}" for time in self.at), 12)
            raise DataError(
                f"column '{self.column}' has a time that the data of the model do not have in {rows(frame, other)}\n"
                f"  times with a random effect: {known}"
            )
        values = np.zeros((len(frame), len(self.at)))
        values[np.arange(len(frame)), place] = 1.0
        values[~present] = np.nan
        return values


class FormulaMatrix:
    """One formula, fixed by the rows it first sees, whose matrix it keeps."""

    def __init__(self, part: Part, frame: pd.DataFrame, state: Mapping[str, Any] | None = None) -> None:
        self.part, self.first, self.state = part, frame, dict(state or {})
        if part.text == INTERCEPT_ALONE:  # the most common formula needs no parser
            self.labels: tuple[str, ...] = (schema.INTERCEPT,)
            self.categories: dict[str, tuple[str, ...]] = {}
            self.values = np.ones((len(frame), 1))
            return
        frame = frame[self._present(frame)]
        free = {
            c
            for name, c in part.names.items()
            if name not in part.numeric and is_categorical(take(frame, c), name not in part.bare)
        }
        self.categories = {column: categories(frame[column]) for column in free}
        self.booleans = {column for column in part.columns if is_boolean(frame[column])}
        self._check_size(len(frame))
        with explained(part), np.errstate(all="ignore"):
            from formulaic import Formula

            first = Formula(part.text).get_model_matrix(
                self._typed(frame),
                context=functions(),
                output="numpy",
                na_action="ignore",
                **({"transform_state": deepcopy(self.state)} if self.state else {}),
            )
        self.spec, self.values = first.model_spec, np.asarray(first)
        self.state = dict(self.spec.transform_state)
        self.labels = tuple(part.readable(str(name)) for name in self.spec.column_names)
        for term in self.spec.structure:
            if not term.columns:
                raise DataError(
                    f"'{part.readable(str(term.term))}' has no coefficient: a single category in the rows kept\n"
                    "  leave it out of the formula"
                )

    def term_of(self, label: str) -> str:
        """The term, as written, that a column belongs to."""
        if label == schema.INTERCEPT:
            return INTERCEPT_ALONE
        column = self.spec.column_names[self.labels.index(label)]
        return next(self.part.readable(str(t.term)) for t in self.spec.structure if column in t.columns)

    def __call__(self, frame: pd.DataFrame) -> FloatArray:
        """(n, q), NaN rows where a column is missing."""
        if self.part.text == INTERCEPT_ALONE:
            return np.ones((len(frame), 1))
        present = self._present(frame)
        values = np.full((len(frame), len(self.labels)), np.nan)
        if frame is self.first:
            values[present] = self.values
        elif present.any():
            with explained(self.part), np.errstate(all="ignore"):
                values[present] = self.spec.get_model_matrix(self._typed(frame[present]), context=functions())
        odd = ~np.isfinite(values) & present[:, None]
        if odd.any():
            at = int(np.argmax(odd.any(axis=0)))
            raise DataError(
                f"{self.labels[at]} is not a finite number in {rows(frame, odd[:, at])}"
                "\n  change the formula, or leave those rows out by subset="
            )
        return values

    def _check_size(self, n: int) -> None:
        """Refuse a matrix too large for memory before it is made."""
        if not self.categories:
            return
        from formulaic import Formula

        sizes = {name: len(self.categories.get(column, "x")) for name, column in self.part.names.items()}
        columns = 0
        for term in Formula(self.part.text):
            names = [{n for n in sizes if n in re.findall(r"\w+", factor.expr)} for factor in term.factors]
            columns += math.prod(max((sizes[n] for n in used), default=1) for used in names)
        check_size(8.0 * n * columns, f"{columns:,} coefficients over {n:,} rows", remedy="\n  use fewer categories")

    def _present(self, frame: pd.DataFrame) -> BoolArray:
        present = np.ones(len(frame), dtype=bool)
        for column in self.part.columns:
            present &= take(frame, column).notna().to_numpy()
        return present

    def _typed(self, frame: pd.DataFrame) -> pd.DataFrame:
        """The columns by their names in the formula, as floats or known categories, rows numbered."""
        columns: dict[str, Any] = {}
        for name, column in self.part.names.items():
            known = self.categories.get(column)
            columns[name] = (
                finite(frame, column, column in self.booleans)
                if known is None
                else as_categories(frame[column], known).array
            )
        return pd.DataFrame(columns, index=pd.RangeIndex(len(frame)))
