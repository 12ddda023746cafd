"""Tables of effects by dose, as papers print them, read and checked: references, effects and their covariances.

A study has one row for each dose. One of them is its reference, against which its effects are reported; it has no error
of its own, and the effects of all other rows share its.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray, ObjectArray
from bayesmeta._validation import check_choice, listing, shown
from bayesmeta.effects.with_errors import Errors, reported_effects
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column, marked, rows, words_by_row
from bayesmeta.io.long_tables import everywhere, refuse_cells
from bayesmeta.measures import check_measure
from bayesmeta.within.dose_response import DESIGNS
from bayesmeta.within.one_reference import (
    Referenced,
    check_references,
    from_cases,
    from_counts,
    from_means,
    given_matrices,
    lowest,
    whole_groups,
)

MEASURES = {"cc": "logor", "ir": "logirr", "ci": "logrr", "md": "md", "smd": "smd"}
MEANS = ("md", "smd")
COVARIANCES = {"greenland-longnecker": ("gl",), "hamling": ("h",), "independent": ("indep",)}  # and dosresmeta's words
BOUNDS = "of categories give the limits: bounds=('from', 'to')"


@dataclass(frozen=True)
class Asked:
    """The columns and choices of a table, as users name them; see `bayesmeta.dose_response.specify`."""

    study: str
    doses: tuple[str, ...]
    cases: str | None
    total: str | None
    person_years: str | None
    means: tuple[str | None, str | None, str | None]  # mean, sd, n
    y: str | None
    se: str | None
    interval: Sequence[str] | None
    scale: str
    type: str | None
    reference: str | None
    covariance: str | None
    measure: str | None


class DoseTable(NamedTuple):
    """What a table says: effects with their covariance over rows without the references.

    y : (n,) NaN never.  S : matrix of every study, in the order of its rows.  made : how S was, in words.
    """

    studies: Referenced
    y: FloatArray
    S: Mapping[Any, FloatArray]
    made: str
    measure: str
    notes: tuple[str, ...]


def read_table(frame: pd.DataFrame, asked: Asked, S: Mapping[Any, Any] | None) -> DoseTable:
    """The table with every check of its content; errors name the study and the row."""
    _check_combination(asked, S)
    by_study = whole_groups(frame, asked.study, "study", "dose")
    for dose in asked.doses:
        everywhere(frame, dose, "a dose", asked.study, BOUNDS)
    if asked.y is not None:
        return _reported(frame, asked, by_study, S)
    return (
        _from_means(frame, asked, by_study)
        if asked.means != (None, None, None)
        else _from_counts(frame, asked, by_study)
    )


def _check_combination(asked: Asked, S: Any) -> None:
    """That columns are names, and nothing is given that would not be used."""
    for what in ("study", "cases", "total", "person_years", "y", "se", "reference"):
        name = getattr(asked, what)
        if name is not None and not isinstance(name, str):
            raise SpecError(f"{what} is {shown(name)}; it must be the name of a column")
    counts = [name for name in (asked.cases, asked.total, asked.person_years) if name is not None]
    means = [name for name in asked.means if name is not None]
    check_measure(asked.measure)
    if asked.y is None:
        if S is not None:
            raise SpecError("S is given without y, the effects whose covariance it is")
        if asked.se is not None or asked.interval is not None or asked.scale != "model":
            raise SpecError("se, interval and scale are of y, which is not given\n  name the column of the effects: y=")
        if means and counts:
            raise SpecError("cases (with total or person_years) and means (mean, sd, n) are given: name one of them")
        if not means and asked.cases is None:
            raise SpecError("neither effects (y=) nor counts (cases=) nor means (mean=, sd=, n=) are given")
        return
    if means:
        raise SpecError(
            f"means ({listing(map(shown, means))}) have no use beside reported effects: leave them or y out"
        )
    if S is not None and (counts or asked.covariance is not None):
        raise SpecError("S is given, for which counts and covariance have no use: leave S or these out")
    if asked.cases is None and counts:
        raise SpecError(f"{shown(counts[0])} is given without the number of cases: cases=")


# ---- which rows are references


def _references(
    frame: pd.DataFrame, asked: Asked, by_study: Mapping[Any, IntArray], without: BoolArray | None
) -> tuple[Referenced, tuple[str, ...]]:
    """One reference of every study: as marked, as the row without an error, or else that of the lowest dose."""
    notes: tuple[str, ...] = ()
    if asked.reference is not None:
        chosen = marked(frame, asked.reference, "reference")
        how = f"rows that '{asked.reference}' marks"
    elif without is not None:
        chosen, how = without, "rows without an error"
    else:
        if len(asked.doses) > 1:
            raise SpecError("with several exposures reference= must name the column that marks the reference rows")
        chosen, how = lowest(column(frame, asked.doses[0], "dose"), by_study), f"rows with the lowest {asked.doses[0]}"
        notes = (f"the reference of every {asked.study} is the row with its lowest {asked.doses[0]}",)
    remedy = "mark it by a column of true and false: reference='column'"
    return Referenced.of(frame, asked.study, by_study, chosen, how, remedy), notes


# ---- effects as reported


def _reported(
    frame: pd.DataFrame, asked: Asked, by_study: Mapping[Any, IntArray], S: Mapping[Any, Any] | None
) -> DoseTable:
    """Effects with their errors, S as given or from counts."""
    assert asked.y is not None
    check_choice(asked.scale, ("model", "response"), "scale")
    measure = _measure(frame, asked)
    if asked.se is not None and asked.interval is not None:
        raise SpecError(f"se is {shown(asked.se)} and interval {shown(asked.interval)}: name one of them, not both")
    if asked.se is None and asked.interval is None and S is None:
        raise SpecError("y has no errors; give either se= (standard errors) or interval=('lower', 'upper')")
    with_errors, null = S is None or asked.se or asked.interval, 1.0 if asked.scale == "response" else 0.0
    errors = Errors.of(frame, asked.se, asked.interval, asked.study) if with_errors else None
    if errors is not None and asked.reference is None:
        check_references(frame, asked.study, by_study, asked.y, null, errors)
    studies, notes = _references(frame, asked, by_study, None if errors is None else errors.missing)
    studies.check_effects(asked.y, null, errors)
    y, v = reported_effects(frame, asked.y, asked.se, asked.interval, asked.scale, measure, ~studies.reference)
    if S is not None:
        return DoseTable(studies, y, given_matrices(studies, S), "given", measure, notes)
    kind = _covariance(asked)
    if kind == "independent":
        matrices = {name: np.diag(v[others]) for name, _, others in studies.each()}
        return DoseTable(studies, y, matrices, kind, measure, notes)
    n, of_type = _counts(frame, asked)
    cases = column(frame, asked.cases or "", "cases")
    return DoseTable(studies, y, from_cases(studies, kind, y, v, cases, n, of_type), kind, measure, notes)


def _covariance(asked: Asked) -> str:
    """The method that is asked for; with counts Greenland and Longnecker's where none is."""
    counts = asked.cases is not None
    if asked.covariance is not None:
        kind = check_choice(asked.covariance, COVARIANCES, "covariance", COVARIANCES.__getitem__)
        if kind != "independent" and not counts:
            raise SpecError(f"covariance='{kind}' needs the counts: cases= with total= or person_years=")
        return kind
    if not counts:
        raise SpecError(
            "the effects of a study share their reference: their covariances need counts, or must be given\n"
            "  give cases= with total= or person_years=; or S={study: matrix}; or covariance='independent'"
        )
    return "greenland-longnecker"


# ---- types and counts


def _types(frame: pd.DataFrame, asked: Asked) -> ObjectArray:
    """The design of every row."""
    known = (*DESIGNS, *MEANS)
    if asked.type is None:
        if asked.person_years is not None and asked.total is None:
            return np.full(len(frame), "ir", dtype=object)
        raise SpecError(
            f"type is missing: a column, or one of {listing(known)}\n"
            "  case-control (cc), person-time (ir), cumulative incidence (ci), differences of means (md, smd)"
        )
    return words_by_row(frame, asked.type, known, "type")


def _measure(frame: pd.DataFrame, asked: Asked) -> str:
    """The measure of the effects: as named, else by the types, and of several ratios the log relative risk."""
    if (named := check_measure(asked.measure)) is not None:
        return named
    if asked.type is None and asked.person_years is None:
        if asked.scale == "response" or asked.interval is not None:
            return "logrr"
        return "generic"
    kinds = set(_types(frame, asked))
    if len(kinds) > 1 and kinds & set(MEANS):
        raise DataError(f"types {listing(sorted(kinds))} cannot be in one analysis: ratios and differences of means")
    return MEASURES[kinds.pop()] if len(kinds) == 1 else "logrr"


def _counts(frame: pd.DataFrame, asked: Asked) -> tuple[FloatArray, ObjectArray]:
    """Subjects or person-time of every row, by its design, and the designs."""
    of_type = _types(frame, asked)
    if (means := (of_type == "md") | (of_type == "smd")).any():
        raise DataError(f"cases are given for means: the type is {of_type[means][0]} in {rows(frame, means)}")
    total, years = asked.total, asked.person_years
    if total is None and years is None:
        raise SpecError("cases are given without total= (subjects) or person_years= (person-time)")
    if total is None and (persons := of_type != "ir").any():
        raise SpecError(f"type '{of_type[persons][0]}' has subjects, not person-time; name their column: total=")
    total, years = total or years or "", years or total or ""  # one column may hold both
    what = "total" if asked.person_years is None else "person_years"
    n = np.where(of_type == "ir", column(frame, years, what), column(frame, total, "total"))
    merge = "merge a category without cases with its neighbour, or add 1/2 to the cells of the study"
    cases = everywhere(frame, asked.cases or "", "a number of cases", asked.study, merge, positive=True)
    for name, what, own in ((years, "person-time", of_type == "ir"), (total, "a number of subjects", of_type != "ir")):
        refuse_cells(frame, name, own & ~(np.isfinite(n) & (n > 0)), f"{what} must be finite and above 0", asked.study)
    if (odd := (of_type != "ir") & ~(cases < n)).any():
        rule = f"it must be below the number of subjects there, {n[odd][0]:g} ('{total}'), which includes cases"
        refuse_cells(frame, asked.cases or "", odd, rule, asked.study)
    return n, of_type


def _from_counts(frame: pd.DataFrame, asked: Asked, by_study: Mapping[Any, IntArray]) -> DoseTable:
    """Crude log ratios with the covariances that their counts have."""
    if asked.covariance is not None:
        raise SpecError(f"covariance={shown(asked.covariance)} is of reported effects; crude ones have that of counts")
    n, of_type = _counts(frame, asked)
    studies, notes = _references(frame, asked, by_study, None)
    y, S = from_counts(studies, of_type, column(frame, asked.cases or "", "cases"), n)
    return DoseTable(studies, y, S, "crude", _measure(frame, asked), notes)


def _from_means(frame: pd.DataFrame, asked: Asked, by_study: Mapping[Any, IntArray]) -> DoseTable:
    """Differences of means, or of standardised means, from the reference, which all share."""
    if asked.covariance is not None:
        raise SpecError("differences of means have the covariances of their arms: leave covariance out")
    if None in asked.means:
        raise SpecError("differences of means need mean=, sd= and n=, all three")
    kinds = set(_types(frame, asked))
    if len(kinds) > 1 or not kinds <= set(MEANS):
        raise DataError(f"mean, sd and n are given, and the type is {listing(sorted(kinds))}; it must be 'md' or 'smd'")
    kind = kinds.pop()
    names, study = [name or "" for name in asked.means], asked.study
    mean, sd = everywhere(frame, names[0], "a mean", study), everywhere(frame, names[1], "an SD", study, positive=True)
    n = everywhere(frame, names[2], "a number of persons", study, positive=True)
    refuse_cells(frame, names[2], n < 2, "an SD needs two persons or more", study)
    studies, notes = _references(frame, asked, by_study, None)
    y, S = from_means(studies, mean, sd, n, kind == "smd")
    return DoseTable(studies, y, S, "arms", check_measure(asked.measure) or MEASURES[kind], notes)
