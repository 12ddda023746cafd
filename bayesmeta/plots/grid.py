"""Predictions along one predictor, the others held: which values, and which words say so. Numbers only, no drawing."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray, IntArray
from bayesmeta._validation import did_you_mean, listing
from bayesmeta.columns import as_categories, categories, finite, is_categorical, label
from bayesmeta.errors import SpecError
from bayesmeta.formula.safety import Part
from bayesmeta.model.spec import Spec

POINTS = 241  # of a curve; 240 steps, so that curves over 60 or 24 units pass through whole numbers
_IN_C = re.compile(r"\bC\s*\(\s*(\w+)")


@dataclass(frozen=True, eq=False)
class Predictor:
    """A raw column of the part of the model that one outcome has, with numbers or categories.

    parts : the formulas of which predictions are made.
    """

    spec: Spec
    column: str
    outcome: int
    parts: tuple[Part, ...]

    @classmethod
    def of(cls, spec: Spec, column: str, outcome: int, argument: str, random: bool = False) -> "Predictor":
        """Checks that the outcome's mean depends on the column; `random`: predictions take the random parts too."""
        known = _columns(_fixed(spec, outcome))
        if not isinstance(column, str) or column not in known:
            hint = did_you_mean(str(column), known)
            columns = f"predictors: {listing(known, 20)}" if known else "the model has no predictors"
            raise SpecError(f"{argument}: {column!r} is no predictor of {spec.outcomes[outcome]}{hint}\n  {columns}")
        return cls(spec, column, outcome, (*_fixed(spec, outcome), *(spec.design.parsed.random if random else ())))

    @cached_property
    def categories(self) -> tuple[str, ...]:
        """Labels in the order of the model; none for numbers."""
        values = self.spec.data.loc[self.spec.kept, self.column]
        return categories(values) if _is_category(self.column, values, self.parts) else ()

    @cached_property
    def positions(self) -> FloatArray:
        """Of the categories: the numbers that they are, such as months, else 0, 1, and so on."""
        return self._numbers if self.numeric else np.arange(len(self.categories), dtype=float)

    @property
    def numeric(self) -> bool:
        """Whether all categories are numbers."""
        return bool(np.isfinite(self._numbers).all())

    @cached_property
    def _numbers(self) -> FloatArray:
        return pd.to_numeric(pd.Series(self.categories, dtype=object), errors="coerce").to_numpy(float)

    @cached_property
    def obs(self) -> IntArray:
        """Positions of the outcome's observations."""
        return np.flatnonzero(self.spec.outcome_index == self.outcome)

    def observed(self) -> FloatArray:
        """Numbers, or positions of the categories, of the outcome's observations."""
        values = self.spec.data[self.column].iloc[self.spec.row[self.obs]]
        if not self.categories:
            return finite(values.to_frame(), self.column)
        return self.positions[as_categories(values, self.categories).cat.codes.to_numpy()]

    def curve(self, low: float, high: float) -> FloatArray:
        return np.linspace(low, high, POINTS)

    def values(self) -> list[Any]:
        """The categories as the data have them."""
        found = {label(value): value for value in self.spec.data.loc[self.spec.kept, self.column].unique()}
        return [found[text] for text in self.categories]

    def rows(self, values: Sequence[Any] | FloatArray, held: Mapping[str, Any]) -> pd.DataFrame:
        """Rows to predict for, with these values of the column."""
        columns = {name: [value] * len(values) for name, value in held.items()}
        return pd.DataFrame(columns | {self.column: list(values)})

    def held(self, at: Mapping[str, Any] | None) -> dict[str, Any]:
        """The value of every other predictor of the model: as given, else the mean, or the most frequent category."""
        others = [name for name in self.spec.design.parsed.predictors if name != self.column]
        given = {} if at is None else dict(at)
        for name, value in given.items():
            if name not in others:
                raise SpecError(
                    f"at: {name!r} is none of the other predictors{did_you_mean(str(name), others)}\n"
                    f"  predictors to be held: {listing(others, 20) or 'none'}"
                )
            self._check(name, value)
        return {name: given.get(name, self._usual(name)) for name in others}

    def _check(self, column: str, value: Any) -> None:
        if not np.isscalar(value) or bool(pd.isna(value)):  # type: ignore[arg-type]
            raise SpecError(f"at: {column!r} is {value!r}; give one value, as the data have them")
        known = categories(self.spec.data.loc[self.spec.kept, column]) if self._is_category(column) else ()
        if known and label(value) not in known:
            hint = did_you_mean(label(value), known)
            raise SpecError(f"at: {column!r} never is {value!r} in the data{hint}\n  known: {listing(known, 30)}")

    def words(self, held: Mapping[str, Any], at: Mapping[str, Any] | None) -> str:
        """What is held where, of the predictors that this outcome has; "" for none."""
        how = {True: "most frequent", False: "mean"}
        found = [
            f"{name} = {_number(held[name])}" + ("" if name in (at or {}) else f" ({how[self._is_category(name)]})")
            for name in _columns(self.parts)
            if name in held
        ]
        return "; ".join(found)

    def _usual(self, column: str) -> Any:
        values = self.spec.data.loc[self.spec.kept, column]
        if not self._is_category(column):
            return float(np.mean(finite(values.to_frame(), column)))
        order = categories(values)
        counts = values.map(label).value_counts()
        most = max(order, key=lambda text: int(counts[text]))  # of several the first
        return next(value for value in values if label(value) == most)

    def _is_category(self, column: str) -> bool:
        parsed = self.spec.design.parsed
        common = () if parsed.common is None else (parsed.common,)
        parts = (*parsed.fixed, *common, *parsed.random, *parsed.offsets)
        return _is_category(column, self.spec.data.loc[self.spec.kept, column], parts)


def chosen_outcome(spec: Spec, outcome: str | None) -> int:
    """Position of the outcome to be drawn; SpecError where there are several and none is named."""
    if outcome is None and len(spec.outcomes) > 1:
        raise SpecError(
            f"this model has {len(spec.outcomes)} outcomes: {listing(spec.outcomes)}\n"
            f"  draw one of them: outcome={spec.outcomes[0]!r}, each into axes of its own"
        )
    if outcome is not None and outcome not in spec.outcomes:
        hint = did_you_mean(outcome, spec.outcomes)
        raise SpecError(f"no outcome {outcome!r}{hint}\n  outcomes: {listing(spec.outcomes, 20)}")
    return 0 if outcome is None else spec.outcomes.index(outcome)


def has_intercept(spec: Spec, outcome: int) -> bool:
    """Whether some coefficients give the same mean to all observations of an outcome."""
    X = spec.X[spec.outcome_index == outcome]
    ones = np.ones(len(X))
    return bool(np.allclose(X @ np.linalg.lstsq(X, ones)[0], ones, atol=1e-6))


def _fixed(spec: Spec, outcome: int) -> tuple[Part, ...]:
    """The formulas of an outcome's mean."""
    parsed = spec.design.parsed
    common = () if parsed.common is None else (parsed.common,)
    return (parsed.fixed[outcome], *common, *parsed.offsets)


def _columns(parts: Sequence[Part]) -> list[str]:
    return list(dict.fromkeys(column for part in parts for column in part.columns))


def _is_category(column: str, values: pd.Series, parts: Sequence[Part]) -> bool:
    """Whether one of the formulas takes the column as categories, so that it has no values between."""
    for part in parts:
        for name in (name for name, found in part.names.items() if found == column):
            free = name not in part.numeric and is_categorical(values)
            if free or name in _IN_C.findall(part.text):
                return True
    return False


def _number(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float | np.floating) else label(value)
