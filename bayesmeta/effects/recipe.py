"""One record for each effect size, entered beside its formula; its function and `escalc` read this table."""

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, shown
from bayesmeta.effects.arms import arm_names, with_estimates
from bayesmeta.effects.reported import Reported
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import SpecError
from bayesmeta.measures import MEASURES, Measure

Correction = Literal["exact", "approximate", "none"]
CORRECTIONS = ("exact", "approximate", "none")
Estimate = tuple[FloatArray, Mapping[str, FloatArray]]  # (n,) effects and, by their word, their sampling variances


@dataclass(frozen=True, eq=False)
class Inputs:
    """What a family of effect sizes is made from.

    read : from the reported quantities, with the choice about empty cells, to the arguments of the formulas.
    arguments : of `escalc`, all that the family reads.
    pairs : what the two arms report, by the words of `arm_columns`, as pairs of arguments.
    """

    read: Callable[[Reported, ZeroCells], Any]
    arguments: tuple[str, ...]
    pairs: Mapping[str, tuple[str, str]]


@dataclass(frozen=True)
class Recipe:
    """An effect size: its names, what it is made from, and the formula.

    name : in metafor's escalc.  function : in `bayesmeta.effects`.  measure : name of its record in `measures`.
    formula : its docstring has a paragraph of what it means, one of the formula, one of the source.
    adds : whether a half is added to empty cells unless the user decides.
    metafor : what it is called in metafor's escalc, or that it is not there.
    example : first estimate and variance of the family's example, to four digits, as its docstring shows them.
    """

    name: str
    function: str
    measure: str
    inputs: Inputs
    formula: Callable[..., Estimate]
    adds: bool
    metafor: str
    example: str

    @property
    def record(self) -> Measure:
        """Its labels and scales."""
        return MEASURES[self.measure]

    @property
    def corrects(self) -> bool:
        """Whether the estimate is corrected for bias, unless the user decides."""
        return "correction" in inspect.signature(self.formula).parameters

    @property
    def paragraphs(self) -> list[str]:
        """What it means, its formula and its source."""
        return [" ".join(text.split()) for text in (inspect.getdoc(self.formula) or "").split("\n\n")]


RECIPES: dict[str, Recipe] = {}
ALIASES = {"D2OR": "D2ORL", "OR2D": "OR2DL", "AUC": "CLES", "AUCN": "CLESN", "AUCCN": "CLESCN"}


def enters(
    name: str,
    function: str,
    measure: str,
    inputs: Inputs,
    *,
    adds: bool = True,
    metafor: str = "",
    example: str = "",
) -> Callable[[Callable[..., Estimate]], Callable[..., Estimate]]:
    """Enter the formula below in the table."""

    def decorate(formula: Callable[..., Estimate]) -> Callable[..., Estimate]:
        RECIPES[name] = Recipe(name, function, measure, inputs, formula, adds, metafor or name, example)
        return formula

    return decorate


@dataclass(frozen=True)
class Choices:
    """How a call wants its estimates, and what it calls the new columns."""

    zeros: ZeroCells = ZeroCells()  # noqa: RUF009  # frozen
    variance: Any = "LS"
    correction: Correction = "exact"
    names: Any = ("y", "v")
    arms: Any = None


def computed(recipe: Recipe, reported: Reported, choices: Choices) -> pd.DataFrame:
    """The data with estimates and variances of a recipe."""
    check_choice(choices.correction, CORRECTIONS, "correction")
    zeros = choices.zeros.by_default(recipe.adds)
    options = {"correction": choices.correction} if recipe.corrects else {}
    with np.errstate(all="ignore"):  # what has no finite value is reported by with_estimates
        quantities = recipe.inputs.read(reported, zeros)
        y, variances = recipe.formula(quantities, **options)
    v = _chosen(variances, choices.variance, recipe.name, len(reported.frame))
    behind = {what: columns for what, pair in recipe.inputs.pairs.items() if (columns := reported.named(pair))}
    named = arm_names(choices.arms, next(iter(behind.values()))) if behind else choices.arms
    return with_estimates(
        reported.frame, recipe.measure, (y, v), choices.names, named, corrected=reported.corrected, **behind
    )


def _chosen(variances: Mapping[str, FloatArray], which: Any, name: str, rows: int) -> FloatArray:
    """The variances of the kind that is asked for, one for all rows or one for each."""
    if isinstance(which, str):
        check_choice(which, variances, f"{name}: variance")
        return variances[which]
    kinds = np.asarray(which if isinstance(which, list | tuple | np.ndarray | pd.Series) else None, dtype=object)
    if kinds.shape != (rows,) or not all(isinstance(kind, str) for kind in kinds):
        raise SpecError(f"{name}: variance is {shown(which)}; it must be a word, or a word for each of {rows} rows")
    for kind in dict.fromkeys(kinds):
        check_choice(kind, variances, f"{name}: variance")
    return np.array([variances[kind][row] for row, kind in enumerate(kinds)], dtype=float)


def mean_over_rows(values: FloatArray, weights: FloatArray) -> float:
    """The mean of all studies weighted by their sizes, for variances that assume that they share it."""
    known = np.isfinite(values) & np.isfinite(weights)
    return float(np.average(values[known], weights=weights[known])) if known.any() else np.nan
