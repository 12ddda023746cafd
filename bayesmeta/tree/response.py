"""Effects on the scale on which people read them: which parameters are effects, and which are differences of effects.

With `measure="logor"` an intercept is a log odds ratio, read as an odds ratio, and a slope is a difference of two, read
as a ratio of odds ratios. Which is which follows from the design: a constant added to every effect estimate is added to
a coefficient that is an effect, and leaves one that is a difference as it is. Where the fixed part holds no constant,
as in dose-response models, effects are zero where the predictors are, and a slope is itself an effect, that of one
unit: an odds ratio per unit. Its interactions are differences again.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import xarray as xr
from numpy.typing import ArrayLike

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import check_choice
from bayesmeta.errors import SpecError
from bayesmeta.formula.safety import split
from bayesmeta.measures import MEASURES, Measure, measure
from bayesmeta.tree.specification import group, no_tree, spec_from_tree

Scale = Literal["model", "response"]
EFFECT, DIFFERENCE, PER_UNIT = "effect", "difference", "effect per unit"
_ROUNDING = 1e-8
_FARTHEST, _HALVINGS = 600.0, 80  # effects on the scale of the model: exp(600) is still a number


def measure_of(tree: xr.DataTree) -> Measure:
    """The effect measure of a results tree; that of "generic" where none was named."""
    if not isinstance(tree, xr.DataTree):
        raise no_tree(tree)
    return measure(str(tree.attrs.get("measure", "")))


def on_response(tree: xr.DataTree, scale: Scale | None) -> bool:
    """Whether effects are wanted on the scale on which people read them; None is the scale of the model.

    Raises
    ------
    SpecError
        When the scale is unknown, or the tree's measure is not read on another scale, or was not named.
    """
    if scale is None:
        return False
    check_choice(scale, ("model", "response"), "scale")
    if scale == "response" and not (record := measure_of(tree)).has_response:
        on_another = ", ".join(f'"{name}"' for name, each in MEASURES.items() if each.has_response)
        if record.name == "generic":
            why = 'the model does not say what its effects measure\n  give it to specify, as in measure="logor"'
        else:
            why = f"a {record.label} is read on the scale of the model\n  leave scale out"
        raise SpecError(f'no scale="response": {why}; measures with another scale: {on_another}')
    return scale == "response"


@dataclass(frozen=True)
class Reading:
    """How predicted effects, or differences of effects, are read: on the scale of the model, or of the measure."""

    record: Measure
    role: str
    response: bool

    def values(self, effects: ArrayLike) -> FloatArray:
        return to_response(self.record, self.role, effects) if self.response else np.asarray(effects, dtype=float)

    def bounds(self, statistics: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Mean and bounds of a normal distribution there, where a standard error has no counterpart."""
        return {name: self.values(values) for name, values in statistics.items() if name != "se" or not self.response}

    @property
    def log(self) -> bool:
        """Whether they are read as ratios, which belong on a logarithmic axis."""
        of_effects = self.role in (EFFECT, PER_UNIT)
        return self.response and (self.record.is_ratio if of_effects else self.record.has_difference_response)

    @property
    def null(self) -> float | None:
        """What means no effect, or no difference, on the scale of the model; None where nothing does."""
        return self.record.null if self.role == EFFECT else 0.0

    @property
    def label(self) -> str:
        """What they are, to begin the label of an axis with: "Odds ratio", or "Log odds ratio"."""
        label = label_of(self.record, self.role) if self.response else model_label_of(self.record, self.role)
        return label[:1].upper() + label[1:]

    @property
    def short_label(self) -> str:
        """The same for the heading of a column: "OR", or "log OR"; "Estimate" where the measure has no word for it."""
        short = self.record.short_label
        if self.role != EFFECT:
            return self.label if self.response else "Estimate"
        if not self.response or (self.record.is_ratio and short):
            return short.removeprefix("log ") if self.response else short or "Estimate"
        return self.label

    def along(self, effects: ArrayLike) -> FloatArray:
        """Their places along an axis, in units of its length: logs on a logarithmic one."""
        return np.asarray(effects, dtype=float) if self.log else self.values(effects)

    def inverse(self, value: float) -> float:
        """The effect that is read as this value; the nearest one for values that none is read as."""
        if not self.response:
            return value
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                return float(np.clip(np.nan_to_num(np.log(value), nan=-_FARTHEST), -_FARTHEST, _FARTHEST))
        return float(self._bisected(np.asarray(value, dtype=float)))

    def back(self, values: FloatArray) -> FloatArray:
        """The effects that are read as these values, NaN and infinite ones as they are."""
        if not self.response:
            return values
        if self.log:
            with np.errstate(divide="ignore", invalid="ignore"):
                return np.asarray(np.log(values))
        return np.where(np.isfinite(values), self._bisected(values), values)

    def _bisected(self, values: FloatArray) -> FloatArray:
        low, high = np.full(values.shape, -_FARTHEST), np.full(values.shape, _FARTHEST)
        sign = 1.0 if self.values(np.asarray(1.0)) >= self.values(np.asarray(-1.0)) else -1.0
        for _ in range(_HALVINGS):
            middle = (low + high) / 2
            below = sign * self.values(middle) < sign * values
            low, high = np.where(below, middle, low), np.where(below, high, middle)
        return (low + high) / 2

    def of_draws(self, statistics: Mapping[str, FloatArray]) -> dict[str, FloatArray]:
        """Statistics of draws that are read there already, without their SD as for fits."""
        return {name: values for name, values in statistics.items() if name != "se" or not self.response}

    def attrs(self, attrs: Mapping[str, object]) -> dict[str, object]:
        """Those of the model's scale, and what the numbers are on the other."""
        if not self.response:
            return dict(attrs)
        return {name: value for name, value in attrs.items() if name != "se"} | {
            "scale": "response",
            "label": label_of(self.record, self.role),
        }


def reading(tree: xr.DataTree, scale: Scale | None, role: str = EFFECT) -> Reading:
    """The way to read predictions of a tree, `scale` as users give it.

    Raises
    ------
    SpecError
        When there is no such scale for effects, or for differences, of this tree's measure.
    """
    response, record = on_response(tree, scale), measure_of(tree)
    if response and not is_read_elsewhere(record, role):
        raise SpecError(
            f'no scale="response": a {record.difference_label} is read on the scale of the model\n  leave scale out'
        )
    return Reading(record, role, response)


def roles(tree: xr.DataTree) -> dict[str, str]:
    """Of every coefficient what it is: an "effect", a "difference", an "effect per unit"; empty for none of these.

    An analysis that makes coefficients of its own, as of networks, says under "roles" what they are.
    """
    coefs, steps = group(tree, schema.CONSTANT)[schema.COEF].values, constant_steps(tree)
    slopes, known = _slopes_from_zero(tree, steps), spec_from_tree(tree).analysis.get("roles", {})
    return {
        str(coef): known.get(str(coef)) or (PER_UNIT if slope else _role(moves))
        for coef, moves, slope in zip(coefs, steps, slopes, strict=True)
    }


def _slopes_from_zero(tree: xr.DataTree, steps: FloatArray) -> BoolArray:
    """(coefficients,) whether effects are zero where its predictors are, and the coefficient is that of one unit.

    Not for an interaction with a term that is there as well, nor for measures without a value that means no effect.
    steps : (coefficients, constants) of `constant_steps`.
    """
    X = group(tree, schema.CONSTANT)["X"].to_numpy()
    of_constants = (np.abs(X @ steps) > _ROUNDING).any(axis=1)
    found = ~(X[of_constants] != 0).any(axis=0)
    if not found.any() or measure_of(tree).null is None or (spec := spec_from_tree(tree)).offset.any():
        return np.zeros(len(found), dtype=bool)
    terms = spec.design.terms
    parts = {term: set(split(term, ":")) for term in terms}
    for term, places in terms.items():
        if any(other < parts[term] for other in parts.values()):
            found[list(places)] = False
    return np.asarray(found)


def constant_steps(tree: xr.DataTree) -> FloatArray:
    """(coefficients, constants) how the coefficients move when one is added to every effect of an outcome.

    A constant for every outcome whose mean the fixed part can take up, else one for all outcomes together.
    """
    constant = group(tree, schema.CONSTANT)
    X, outcome = constant["X"].to_numpy(), constant["outcome_index"].to_numpy()
    of_outcomes = (outcome[:, None] == np.unique(outcome)).astype(float)
    for constants in (of_outcomes, np.ones((len(X), 1))):
        steps = np.linalg.lstsq(X, constants, rcond=None)[0]
        fits = (np.abs(X @ steps - constants) < _ROUNDING).all(axis=0)
        if fits.any():
            return np.asarray(steps[:, fits])
    return np.zeros((X.shape[1], 0))


def has_predictors(tree: xr.DataTree) -> bool:
    """Whether means differ between the rows of an outcome."""
    steps = constant_steps(tree)
    return steps.shape[1] == 0 or len(steps) > steps.shape[1]


def _role(moves: FloatArray) -> str:
    if (np.abs(moves) < _ROUNDING).all():
        return DIFFERENCE
    return EFFECT if abs(moves.sum() - 1) < _ROUNDING and abs(moves.max() - 1) < _ROUNDING else ""


def is_read_elsewhere(record: Measure, role: str) -> bool:
    """Whether a coefficient of this role has a scale of its own beside that of the model."""
    if role == PER_UNIT:
        return record.is_ratio
    return record.has_response if role == EFFECT else role == DIFFERENCE and record.has_difference_response


def to_response(record: Measure, role: str, values: ArrayLike) -> FloatArray:
    """Coefficients of one role on the scale on which people read them; as they are, where there is none."""
    if role == EFFECT or (role == PER_UNIT and record.is_ratio):
        return record.to_response(values)
    return record.difference_to_response(values) if role == DIFFERENCE else np.asarray(values, dtype=float)


def label_of(record: Measure, role: str) -> str:
    """What a coefficient of this role is on that scale, as in "odds ratio" and "ratio of odds ratios"."""
    if not is_read_elsewhere(record, role):
        return ""
    label = record.difference_label if role == DIFFERENCE else record.response_label
    return label[:1].lower() + label[1:] + " per unit" * (role == PER_UNIT)


def model_label_of(record: Measure, role: str) -> str:
    """What it is on the scale of the model, as in "log odds ratio" and "difference in log odds ratio"."""
    if role == EFFECT:
        return record.label
    return f"{record.label} per unit" if role == PER_UNIT else f"difference in {record.label}"
