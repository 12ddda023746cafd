"""Tables with several rows for each group, such as the arms of trials: their labels, and what a group has in common."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import AnyArray, BoolArray, FloatArray, IntArray, ObjectArray
from bayesmeta._validation import listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import alike, column, find_column, group_labels, label, rows


def stacked(frame: pd.DataFrame, columns: Mapping[str, Any], key: str) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each member of a group, of data with one for each group where arguments list the members' columns.

    columns : by argument the column, or the list of those of all members.  key : the argument that names members, by
    which those that a group does not have are missing.  Returns the table, whose index has rows of the data
    with the place of the member, and by argument its column there.
    """
    listed = {name: value for name, value in columns.items() if isinstance(value, list | tuple)}
    if not listed:
        return frame, dict(columns)
    sizes = {name: len(value) for name, value in listed.items()}
    single = [name for name, value in columns.items() if value is not None and name not in listed]
    if single or len(set(sizes.values())) > 1 or key not in listed:
        raise SpecError(
            f"columns of arms: {listing(f'{name} lists {n}' for name, n in sizes.items())}"
            + (f", {listing(single)} names one" if single else "")
            + f"\n  with one row for each trial, {key} and all that is known of its arms list a column for each arm"
        )
    for name, value in listed.items():
        for each in value:
            find_column(frame, each, name)
    parts, order = [], []
    for place in range(sizes[key]):
        own = {value[place]: name for name, value in listed.items()}
        others = [each for value in listed.values() for each in value if each not in own]
        part = frame.drop(columns=others).rename(columns=own)
        there = part[key].notna().to_numpy()
        for source, name in own.items():
            _check_member(frame, ~there & part[name].notna().to_numpy(), source, key, listed[key][place])
        part.index = pd.Index([f"{label(row)} ({key} {place + 1})" for row in part.index])
        parts.append(part[there])
        order.append(np.flatnonzero(there))
    called = {name: name if name in listed else value for name, value in columns.items()}
    return pd.concat(parts).iloc[np.argsort(np.concatenate(order), kind="stable")], called


def _check_member(frame: pd.DataFrame, alone: BoolArray, name: str, key: str, column: str) -> None:
    """That nothing is known of members that a group does not have."""
    if alone.any():
        at = int(np.argmax(alone))
        raise DataError(
            f"column '{name}': {label(frame[name].iloc[at])} in row {label(frame.index[at])} belongs to no {key}: "
            f"column '{column}' is empty there\n  name the {key}, or leave both cells empty"
        )


def labelled(frame: pd.DataFrame, name: str, what: str) -> ObjectArray:
    """(n,) labels of a column in which none may be missing."""
    if not len(frame):
        raise DataError("the data have no rows\n  check the file, and what was filtered before")
    values = group_labels(find_column(frame, name, what))
    empty = values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy()
    if empty.any():
        raise DataError(f"column '{name}' ({what}) has no label in {rows(frame, empty)}\n  every arm needs one")
    labels = np.array([label(value).strip() for value in values], dtype=object)
    for note in alike(f"{what}s of '{name}'", dict.fromkeys(labels)):
        warn(note, AssumptionWarning)
    return labels


def by_label(labels: AnyArray) -> Iterator[tuple[str, IntArray]]:
    """Every label with the positions that have it, in the order of the data."""
    codes, known = pd.factorize(labels)
    order = np.argsort(codes, kind="stable")
    for code, at in enumerate(np.split(order, np.cumsum(np.bincount(codes))[:-1])):
        yield str(known[code]), at


def named_rows(frame: pd.DataFrame, group: str | None) -> tuple[str, ...]:
    """Names of the rows for messages: the group's, with the row where it has several."""
    places = [f"row {label(row)}" for row in frame.index]
    if group is None:
        return tuple(places)
    groups = [value if isinstance(value, str) else f"{group} {label(value)}" for value in frame[group]]
    times = Counter(groups)
    return tuple(f"{name} ({row})" if times[name] > 1 else name for name, row in zip(groups, places, strict=True))


def rows_at(frame: pd.DataFrame, positions: Any) -> str:
    """'row 7' or 'rows 3, 7', by positions."""
    mask = np.zeros(len(frame), bool)
    mask[positions] = True
    return rows(frame, mask)


def refuse_cells(
    frame: pd.DataFrame, name: str, odd: BoolArray, rule: str, group: str | None = None, remedy: str = ""
) -> None:
    """DataError about the odd cells of a column, where there are any: the first by its value, row and group, the rule.

    remedy : the second line.
    """
    if not odd.any():
        return
    first, *others = np.flatnonzero(odd)
    cell = frame[name].iloc[first]
    value = "missing" if pd.isna(cell) else f"{cell:g}" if isinstance(cell, float) else shown(cell)
    of = f" ({group} {label(frame[group].iloc[first])})" if group else ""
    more = f", and unusable in {rows_at(frame, others)} too" if others else ""
    second = f"\n  {remedy}" if remedy else ""
    raise DataError(f"column '{name}' is {value} in {rows_at(frame, [first])}{of}{more}; {rule}{second}")


def everywhere(
    frame: pd.DataFrame, name: str, what: str, group: str | None = None, remedy: str = "", positive: bool = False
) -> FloatArray:
    """A column of finite numbers in every row, of those above zero where they are to be positive."""
    values = column(frame, name, what)
    usable = np.isfinite(values) & (values > 0) if positive else np.isfinite(values)
    refuse_cells(frame, name, ~usable, f"{what} must be finite{' and above 0' * positive}", group, remedy)
    return values


def check_once(frame: pd.DataFrame, at: IntArray, labels: Sequence[Any], where: str, what: str, remedy: str) -> None:
    """That no member of a group, or no pair of members, stands twice; at : their rows."""
    for i, each in enumerate(labels):
        if each in labels[:i]:
            name = each if isinstance(each, str) else " with ".join(sorted(each))
            raise DataError(
                f"{where} has {what} '{name}' twice, in {rows_at(frame, at[[labels.index(each), i]])}\n  {remedy}"
            )


def shared_by_group(labels: AnyArray, values: AnyArray, name: str, remedy: str) -> dict[str, Any]:
    """By group the value of a column that is the same in all its rows."""
    shared = {}
    for group, at in by_label(labels):
        own = pd.unique(pd.Series(values[at]))
        if len(own) > 1:
            raise DataError(
                f"column '{name}' is not the same in all rows of trial '{group}': {listing(own)}\n  {remedy}"
            )
        shared[group] = own[0]
    return shared


def connected(groups: Sequence[Sequence[str]]) -> list[list[str]]:
    """Labels that a chain of groups connects, piece by piece, the largest first.

    >>> connected([["a", "b"], ["c", "d"], ["b", "e"]])
    [['a', 'b', 'e'], ['c', 'd']]
    """
    joined: list[set[str]] = []
    for own in groups:
        touching = [piece for piece in joined if piece & set(own)]
        joined = [piece for piece in joined if piece not in touching] + [set(own).union(*touching)]
    return sorted((sorted(piece, key=str.casefold) for piece in joined), key=lambda piece: (-len(piece), piece))
