"""Effects of doses or arms against one reference in each study: from counts, from means, or with given covariances."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray, ObjectArray
from bayesmeta._validation import listing, shown
from bayesmeta.effects.with_errors import Errors
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import column as numbers_of_column
from bayesmeta.io.columns import find_column, label, rows, rows_by_group
from bayesmeta.io.long_tables import rows_at
from bayesmeta.within.dose_response import crude_ratios, differences_of_means, greenland_longnecker, hamling

Effects = tuple[FloatArray, dict[Any, FloatArray]]
"""(n,) effects, 0 of references, and of every study the covariances of the others."""


class Referenced(NamedTuple):
    """The rows of every study, and which one of them is the reference of the others."""

    frame: pd.DataFrame
    column: str
    rows: Mapping[Any, IntArray]
    reference: BoolArray
    part: str = "dose"

    @classmethod
    def of(
        cls,
        frame: pd.DataFrame,
        column: str,
        by_study: Mapping[Any, IntArray],
        chosen: BoolArray,
        how: str,
        remedy: str,
    ) -> "Referenced":
        """With the rows that are chosen, one in every study; how: what they are in words."""
        for name, at in by_study.items():
            own = at[chosen[at]]
            if len(own) != 1:
                where = f" ({rows_at(frame, own)})" if len(own) else ""
                what = f"{len(own) or 'no'} {how}{where}"
                raise DataError(f"{column} {label(name)} has {what}; it needs exactly one reference\n  {remedy}")
        return cls(frame, column, by_study, chosen)

    def check_effects(self, y: str, null: float, errors: Errors | None) -> None:
        """That references have no effect and no error, and all other rows both."""
        values = numbers_of_column(self.frame, y, "y")
        for name, at, others in self.each():
            who = f"{self.column} {label(name)}"
            where = f"{who}: the reference, {rows_at(self.frame, [at])},"
            if np.isfinite(values[at]) and values[at] != null:
                hint = "; ratios as they are printed need scale='response'" if (values[at], null) == (1, 0) else ""
                raise DataError(f"{where} has {y} = {values[at]:g}; against itself it is {null:g}, or missing{hint}")
            if errors is not None and not errors.missing[at]:
                raise DataError(
                    f"{where} has {errors.at(self.frame, at)}; a reference has none\n  make it missing or 0"
                )
            if len(missing := others[~np.isfinite(values[others])]):
                raise DataError(
                    f"{who} has no finite effect in {rows_at(self.frame, missing)} of column '{y}'\n"
                    "  leave out doses that have none, or mark the reference: reference='column'"
                )
            if errors is not None and len(missing := others[errors.missing[others]]):
                raise DataError(f"{who} has {errors.lacking} in {rows_at(self.frame, missing)}; every effect needs one")

    def each(self) -> Iterator[tuple[Any, int, IntArray]]:
        """Label, the row of the reference, and the other rows, of every study."""
        for name, at in self.rows.items():
            yield name, int(at[self.reference[at]][0]), at[~self.reference[at]]

    def at_reference(self, column: str) -> "pd.Series[float]":
        """The value of a column at the reference of every study, by label."""
        values = numbers_of_column(self.frame, column, column)
        return pd.Series({label(name): values[at] for name, at, _ in self.each()})

    def ordered(
        self, by: Sequence[str], S: Mapping[Any, FloatArray]
    ) -> tuple[IntArray, dict[Any, FloatArray], list[str]]:
        """Positions of the rows without references, study by study, S in that order, and what is to be said of it.

        by : columns; the rows of a study ascend by it where it is one, and else stay as they are.
        """
        order, sorted_S, notes, moved = [], {}, [], []
        for name, _, others in self.each():
            values = self.frame[by[0]].to_numpy(float)[others] if len(by) == 1 else np.arange(len(others))
            within = np.argsort(values, kind="stable")
            order.append(others[within])
            sorted_S[name] = S[name][np.ix_(within, within)]
            if (np.diff(within) < 0).any():
                moved.append(label(name))
        if moved:
            notes.append(f"rows of {self.column} {listing(moved)} are sorted by {by[0]}")
        twice = self.frame[[self.column, *by]].duplicated(keep=False).to_numpy()
        for name, at in self.rows.items() if twice.any() else ():
            if twice[at].any():
                where = rows_at(self.frame, at[twice[at]])
                notes.append(f"{self.column} {label(name)} has one {self.part} in several rows, {where}; all are used")
        return np.concatenate(order), sorted_S, notes


def check_references(
    frame: pd.DataFrame, column: str, by_study: Mapping[Any, IntArray], y: str, null: float, errors: Errors
) -> None:
    """That one row of every study has no error, its reference; else what is wrong with the others."""
    values = numbers_of_column(frame, y, "y")
    for name, at in by_study.items():
        own, who = at[errors.missing[at]], f"{column} {label(name)}"
        if len(own) == 1:
            continue
        if not len(own) and len(null_rows := at[values[at] == null]):
            raise DataError(
                f"{who}: {rows_at(frame, null_rows[:1])} has {y} = {null:g}, as a reference has, and "
                f"{errors.at(frame, null_rows[0])}; a reference has none\n  make it missing or 0"
            )
        if not len(own):
            raise DataError(
                f"{who} has no reference: no row has {y} = {null:g} and {errors.lacking}\n"
                "  add the row of the reference dose, or mark it by a column of true and false: reference='column'"
            )
        if len(effects := own[np.isfinite(values[own]) & (values[own] != null)]):
            raise DataError(
                f"{who}: {rows_at(frame, effects[:1])} has {y} = {values[effects[0]]:g} and {errors.lacking}; every "
                "effect needs one, and the reference alone has none"
            )
        raise DataError(
            f"{who} has {len(own)} references, {rows_at(frame, own)}, with {errors.lacking}; it needs exactly one\n"
            "  leave out rows without an effect, or mark one by a column of true and false: reference='column'"
        )


def lowest(values: FloatArray, by_study: Mapping[Any, IntArray]) -> BoolArray:
    """(n,) rows with the lowest value of their study."""
    chosen = np.zeros(len(values), dtype=bool)
    for at in by_study.values():
        chosen[at] = values[at] == values[at].min()
    return chosen


def whole_groups(frame: pd.DataFrame, column: str, what: str, part: str) -> Mapping[Any, IntArray]:
    """Positions of the rows of every study, each with two or more; what a study is called, and what a row of it."""
    missing = find_column(frame, column, what).isna().to_numpy()
    if not len(frame):
        raise DataError("the data have no rows")
    if missing.any():
        raise DataError(f"column '{column}' has no {what} in {rows(frame, missing)}; every {part} needs its {what}")
    made = rows_by_group(frame, column)
    for name, at in made.items():
        if len(at) < 2:
            raise DataError(
                f"{column} {label(name)} has one {part}, in {rows_at(frame, at)}; it needs its reference and at least "
                f"one other {part}\n  leave the {what} out"
            )
    return made


def from_counts(studies: Referenced, designs: ObjectArray, cases: FloatArray, n: FloatArray) -> Effects:
    """Crude log ratios with the covariances that their counts have; designs (n,) as in `dose_response.DESIGNS`."""
    y, S = np.zeros(len(cases)), {}
    for name, at, others in studies.each():
        if (designs[others] != designs[at]).any():
            types = sorted({designs[at], *designs[others]})
            raise DataError(
                f"{studies.column} {label(name)} has the types {listing(map(shown, types))}; it must be one for the "
                "whole study"
            )
        both = np.array([at, *others])
        y[others], S[name] = crude_ratios(designs[at], cases[both], n[both])
    return y, S


def from_means(studies: Referenced, mean: FloatArray, sd: FloatArray, n: FloatArray, standardised: bool) -> Effects:
    """Differences of means, or of standardised means, with the covariances of their arms."""
    y, S = np.zeros(len(mean)), {}
    for name, at, others in studies.each():
        arms = np.array([at, *others])
        where = f"{studies.column} {label(name)}"
        y[others], S[name] = differences_of_means(mean[arms], sd[arms], n[arms], standardised, where)
    return y, S


def from_cases(
    studies: Referenced, kind: str, y: FloatArray, v: FloatArray, cases: FloatArray, n: FloatArray, designs: ObjectArray
) -> dict[Any, FloatArray]:
    """Covariances of reported effects that their numbers of cases say, by "greenland-longnecker" or "hamling".

    y, v : (n,) effects, 0 of references, and their variances.  designs : (n,) as in `dose_response.DESIGNS`.
    """
    names = ("(y)", "(variance)", "(cases)", "(n)", "(type)")  # which no column has
    table = studies.frame[[studies.column]].assign(**dict(zip(names, (y, v, cases, n, designs), strict=True)))
    build = hamling if kind == "hamling" else greenland_longnecker
    return build(table, names[0], variance=names[1], cases=names[2], n=names[3], type=names[4], group=studies.column)


def given_matrices(studies: Referenced, S: Any) -> dict[Any, FloatArray]:
    """Matrices of the user by the labels of the data, each over the rows of its study without the reference."""
    if not isinstance(S, Mapping):
        raise SpecError(f"S is {shown(S)}; it must be a matrix for every {studies.column}, {{label: matrix}}")
    by_label = {label(key): matrix for key, matrix in S.items()}
    made = {}
    for name, _, others in studies.each():
        if label(name) not in by_label:
            raise DataError(f"S has no matrix for {studies.column} {label(name)}; every one of the data needs its own")
        matrix = np.asarray(by_label.pop(label(name)), dtype=float)
        if matrix.shape != (len(others), len(others)):
            raise DataError(
                f"S of {studies.column} {label(name)} has shape {matrix.shape}, expected {(len(others), len(others))}\n"
                "  one row for each dose but the reference, in the order of the data"
            )
        made[name] = matrix
    if by_label:
        raise DataError(
            f"S has a matrix for {studies.column} {listing(by_label)}, which the data do not have"
            "\n  leave it out, or check its label"
        )
    return made
