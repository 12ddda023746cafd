"""An estimate for each arm, whose differences within a trial are effect sizes; trials have any number of arms."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import AnyArray, BoolArray, FloatArray
from bayesmeta._validation import check_booleans, check_name, check_number, listing
from bayesmeta.effects.one_group import MEANS as READ_MEANS
from bayesmeta.effects.recipe import RECIPES
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.effects.two_groups import bias_factor
from bayesmeta.effects.zero_cells import ZeroCells
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.measures import check_measure

ARM = {  # of a measure that compares arms the one of an arm alone, in metafor's words
    "logor": "PLO",
    "logrr": "PLN",
    "rd": "PR",
    "asd": "PAS",
    "logirr": "IRLN",
    "ird": "IR",
    "irsd": "IRS",
    "md": "MN",
    "logrom": "MNLN",
}
COUNTS, RATES, MEANS = ("events", "total"), ("events", "person_time"), ("mean", "sd", "n")
MEASURES_OF = {
    COUNTS: ("logor", "logrr", "rd", "asd"),
    RATES: ("logirr", "ird", "irsd"),
    MEANS: ("md", "smd", "logrom"),
}
RATIOS = ("logor", "logrr", "logirr")  # of which a trial without any event says nothing
_WORDS = {"events": "xi", "total": "ni", "person_time": "ti", "mean": "mi", "sd": "sdi", "n": "ni"}
_AS_OBSERVED = ZeroCells(zero="none", drop_double_zero=False)


class ArmEstimates(NamedTuple):
    """Estimates, variances and persons (n,) of arms; left_out: those of trials that say nothing."""

    theta: FloatArray
    variance: FloatArray
    people: FloatArray
    left_out: BoolArray


def measure_of_arms(measure: Any, kind: tuple[str, ...]) -> str:
    """The measure that compares arms of which this is known."""
    known = MEASURES_OF[kind]
    if measure is None:
        raise SpecError(
            f"measure is left out; of {listing(kind)} it can be: {listing(known)}"
            f'\n  name one, as in measure="{next(iter(known))}"'
        )
    name = check_measure(measure) or ""
    check_name(name, known, f"measure: from {listing(kind)} there is no", "measures")
    return name


@dataclass(frozen=True)
class ZeroArms:
    """What is done about arms without events, or with nothing else, so that all arms of a trial are treated alike.

    add : number added to the cells of all arms of a trial with an empty cell; None adds 0.5 and says so.
    drop : whether trials without any event, or with nothing else, are left out of models for ratios; None says so.
    notes : what was added, in sentences; filled when it is.
    """

    add: float | None = None
    drop: bool | None = None
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        check_booleans(drop_double_zero=self.drop)
        if self.add is not None:
            check_number(self.add, "add", least=0)

    def applied(self, cells: FloatArray, trials: AnyArray, measure: str) -> FloatArray:
        """(c, arms) cells of one measure with what is added to them, NaN where a trial is left out."""
        add = 0.5 if self.add is None else float(self.add)
        codes, known = pd.factorize(trials)
        empty = np.bincount(codes, (cells == 0).any(0), len(known)) > 0
        none = np.bincount(codes, (cells > 0).all(0), len(known)) == 0
        of_one_kind = [np.bincount(codes, cell > 0, len(known)) == 0 for cell in cells]
        none &= np.any(of_one_kind, axis=0) & (measure in RATIOS)
        if (left := none & (self.drop is not False)).any() and self.drop is None:
            warn(
                f"no events in any arm, or nothing but events in all: {listing(known[none])}; such a trial says "
                "nothing about a ratio and is left out\n"
                "  drop_double_zero=True leaves it out without a warning, False keeps it",
                AssumptionWarning,
            )
        adds = empty & ~left & RECIPES[ARM[measure]].adds
        if adds.any() and add:
            self.notes.append(
                f"{add:g} was added to the cells of all arms of trials with an empty cell: {listing(known[adds])}"
            )
            if self.add is None:
                advice = "add=0.5 does so without a warning; add=0 adds nothing"
                warn(f"{self.notes[-1]}\n  {advice}", AssumptionWarning)
        return np.where(left[codes], np.nan, cells + add * adds[codes])


def arm_estimates(
    frame: pd.DataFrame, trials: AnyArray, columns: Mapping[str, str], measure: str, zeros: ZeroArms
) -> ArmEstimates:
    """Of every row, an arm of one of the trials (n,).

    columns : of "events" and "total" or "person_time", of "mean", "sd" and "n", or of "y" and "se", the column.
    """
    sources = {_WORDS.get(name, name): Source(column, name) for name, column in columns.items()}
    reported = Reported(frame, sources, "an arm")
    none, unknown = np.zeros(len(frame), bool), np.full(len(frame), np.nan)
    if "y" in columns:
        se, n = reported.standard_error("se"), reported.real("ni") if "n" in columns else unknown
        return ArmEstimates(reported.real("y"), se**2, n, none)
    if measure == "smd":
        return _standardised(reported, trials)
    recipe = RECIPES[ARM[measure]]
    with np.errstate(divide="ignore", invalid="ignore"):  # what has no finite estimate is left out, and said
        observed = recipe.inputs.read(reported, _AS_OBSERVED)
        if "mean" in columns:
            if measure == "logrom" and (none_of := observed.m <= 0).any():
                warn(
                    f"{reported.at('mi', none_of)} has no logarithm, and logrom none of such arms; they are left out\n"
                    '  measure="md" compares means of either sign',
                    AssumptionWarning,
                )
            theta, variances = recipe.formula(observed)
            bias = variances["LS"] / 2 if measure == "logrom" else 0.0  # of a logarithm, to the second order
            return ArmEstimates(theta + bias, variances["LS"], observed.n, none)
        cells = np.stack([observed.x, observed.m] if "total" in columns else [observed.x])
        used = zeros.applied(cells, trials, measure)
        theta, variances = recipe.formula(type(observed)(*used, *([] if "total" in columns else [observed.t])))
    left_out = ~np.isnan(cells).any(0) & np.isnan(used).any(0)
    return ArmEstimates(theta, variances["LS"], observed.n if "total" in columns else unknown, left_out)


def _standardised(reported: Reported, trials: AnyArray) -> ArmEstimates:
    """Means by the SD of all arms of their trial, without the error of that SD, which the arms share."""
    group = READ_MEANS.read(reported, _AS_OBSERVED)
    codes, known = pd.factorize(trials)
    usable = np.isfinite(group.m + group.sd + group.n)
    sums = ((group.n - 1) * group.sd**2, group.n - 1, group.n * group.m, group.n)
    total = [np.bincount(codes, np.where(usable, x, 0.0), len(known)) for x in sums]
    with np.errstate(divide="ignore", invalid="ignore"):
        pooled, df = np.sqrt(total[0] / total[1])[codes], total[1][codes]
        theta = bias_factor(df) * (group.m - (total[2] / total[3])[codes]) / pooled
    return ArmEstimates(theta, 1 / group.n, group.n, np.zeros(len(codes), bool))
