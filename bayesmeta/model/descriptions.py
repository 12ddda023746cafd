"""What the data say of themselves: which measure and which arms an outcome compares, and the names of the rows.

`bm.effects` leaves measure and arms in the attributes of the data frame. The names are those that tables and pictures
show; errors about the data go on to name a row by its index, by which it is looked up.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import is_label, listing, shown
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.columns import find_column, label
from bayesmeta.measures import MEASURES, check_measure

_YEARS = range(1500, 2200)


def measure_of(explicit: Any, data: Any, outcomes: Sequence[str]) -> str | None:
    """The measure that the user names, else the one as which all outcomes were computed."""
    if explicit is not None:
        return check_measure(explicit)
    attrs = getattr(data, "attrs", {})
    computed = attrs.get("columns")
    if isinstance(computed, Mapping):
        measures = {computed.get(outcome) if is_label(outcome) else None for outcome in outcomes}
    else:  # the user's own attribute
        measures = {attrs.get("measure")}
    name = measures.pop() if len(measures) == 1 else None
    return name if isinstance(name, str) and name in MEASURES else None


def arms_of(explicit: Any, data: Any, outcomes: Sequence[str], measure: str | None) -> tuple[str, str] | None:
    """The names of the two arms that the user gives, else those of the counts or means behind all outcomes."""
    if explicit is not None:
        return check_arms(explicit, measure)
    attrs = getattr(data, "attrs", {})
    computed = attrs.get("column_arms")
    if not isinstance(computed, Mapping):
        pairs = [attrs.get("arms")] if "columns" not in attrs else []
    else:
        pairs = [computed.get(outcome) for outcome in outcomes]
    first = pairs[0] if pairs else None
    if first is None or any(pair != first for pair in pairs) or not _compares(measure):
        return None
    return check_arms(first, measure)


def arm_columns_of(data: Any, outcomes: Sequence[str], columns: Collection[str]) -> dict[str, dict[str, list[str]]]:
    """Of every outcome that `bm.effects` computed, the columns of the two arms that it was made from, where kept."""
    behind = getattr(data, "attrs", {}).get("arm_columns")
    if not isinstance(behind, Mapping):
        return {}
    own = {outcome: behind[outcome] for outcome in outcomes if is_label(outcome) and outcome in behind}
    return {
        outcome: {str(what): list(pair) for what, pair in reported.items()}
        for outcome, reported in own.items()
        if isinstance(reported, Mapping) and all(is_stored_pair(pair, columns) for pair in reported.values())
    }


def corrections_of(
    data: Any, outcomes: Sequence[str], values: FloatArray, variances: FloatArray, names: Sequence[str]
) -> Iterator[str]:
    """A sentence on what `bm.effects` added to empty cells behind the estimates of every outcome.

    values, variances : (n, outcomes) of the rows in the model.  names : (n,) of these rows.
    """
    corrected = getattr(data, "attrs", {}).get("corrected")
    for j, outcome in enumerate(outcomes):
        made = corrected.get(outcome) if isinstance(corrected, Mapping) and is_label(outcome) else None
        own = [*map(_estimate, values[:, j].tolist(), variances[:, j].tolist())]
        for words, estimates in made.items() if isinstance(made, Mapping) else ():
            known = {_estimate(*pair) for pair in estimates}
            if rows := [row for row, pair in enumerate(own) if pair in known]:
                of = f"{outcome}: " if len(outcomes) > 1 else ""
                where = listing(names[row] for row in rows)
                yield f"{of}{words} of {where} ({len(rows)} of {len(own)} rows), because of empty cells"


def _estimate(y: float, v: float) -> tuple[float, str]:
    """An estimate and its variance, which may have been a standard error in between."""
    return y, f"{v:.9g}"


def is_stored_pair(pair: object, columns: Collection[str] | None = None) -> bool:
    """Whether this is a list of the names of two columns, which are among these."""
    if not isinstance(pair, list) or len(pair) != 2 or not all(isinstance(name, str) for name in pair):
        return False
    return columns is None or all(name in columns for name in pair)


def check_arms(arms: Any, measure: str | None) -> tuple[str, str]:
    """Two names, of the first arm and the second; SpecError also where the measure compares nothing.

    >>> check_arms(["vaccine", "control"], "logor")
    ('vaccine', 'control')
    """
    pair = arms if isinstance(arms, Sequence) and not isinstance(arms, str) else ()
    if len(pair) != 2 or not all(isinstance(name, str) and name.strip() for name in pair) or pair[0] == pair[1]:
        raise SpecError(
            f"arms is {shown(arms)}; it must be two names, of the first arm and of the one that it is compared with"
        )
    if not _compares(measure):
        raise SpecError(
            f"arms={shown(arms)} with measure '{measure}', which compares nothing: no value of it favours either arm\n"
            "  leave arms out, or choose the measure of a comparison"
        )
    return pair[0], pair[1]


def _compares(measure: str | None) -> bool:
    return measure is None or MEASURES[measure].null is not None


def row_names(
    labels: Any, frame: pd.DataFrame, row_labels: Sequence[str], grouping: Collection[str]
) -> tuple[tuple[str, ...] | None, list[str]]:
    """A name for each row, all different, or None where the data have none; and what was assumed, in sentences.

    labels : the column that the user names, or one value for each row; by default a named index or one of texts, else
    the first column of texts, all different, else authors that differ with their years. row_labels : the index as text.
    grouping : columns of groups, whose labels stand in several rows as a matter of course.
    """
    if labels is None:
        return _from_index(frame.index, row_labels) or _from_columns(frame), []
    column = _column(labels, frame)
    texts, notes = _complete(column, row_labels)
    repeated = {text: count for text, count in Counter(texts).items() if count > 1}
    if repeated and column.name not in grouping:
        first = next(iter(repeated))
        rows = [row for row, text in zip(row_labels, texts, strict=True) if text == first]
        notes.append(
            f"labels: {first!r} names {len(rows)} rows ({listing(rows)}), which are told apart as '{first} (1)', "
            f"'{first} (2)'{' ...' * (len(rows) > 2)}"
        )
    return _numbered(texts, repeated), notes


def _column(labels: Any, frame: pd.DataFrame) -> pd.Series:
    """The labels of all rows; DataError where there is not one for each."""
    if isinstance(labels, str):
        return find_column(frame, labels, "labels")
    if not isinstance(labels, Sequence | np.ndarray | pd.Series | pd.Index | pd.Categorical):
        raise SpecError(f"labels is {shown(labels)}; it must be the name of a column, or one text for each row")
    size = len(labels) if getattr(labels, "ndim", 1) == 1 else 0
    if size != len(frame):
        raise DataError(f"labels has {size} values, but the data have {len(frame)} rows\n  give one for each row")
    if isinstance(labels, pd.Series) and not labels.index.equals(frame.index):
        raise DataError(
            "labels is a pandas object whose index is not that of the data, so the rows cannot be matched\n"
            "  give it the data's index, or pass .to_list() if it is in the order of the data"
        )
    return pd.Series(list(labels), index=frame.index, name=getattr(labels, "name", None), dtype=object)


def _complete(column: pd.Series, row_labels: Sequence[str]) -> tuple[list[str], list[str]]:
    """The labels as text, those that are missing by the row's index, with a sentence about them."""
    kind = "row" if column.name is None else str(column.name)
    texts, lacking = [], []
    for row, cell in zip(row_labels, column.astype(object), strict=True):
        if _is_missing(cell):
            lacking.append(row)
        elif not is_label(cell):
            raise DataError(
                f"labels: row {row} holds {shown(cell)}; the label of a row is text or a number"
                "\n  name a column of such, or leave labels= out"
            )
        texts.append(f"row {row}" if _is_missing(cell) else named(kind, cell))
    if not lacking:
        return texts, []
    places = f"row{'s' * (len(lacking) > 1)} {listing(lacking)}"
    return texts, [f"labels: none in {places}; tables and plots write 'row {lacking[0]}'"]


def _is_missing(cell: object) -> bool:
    return (
        cell is None or cell is pd.NA or cell is pd.NaT or cell != cell or (isinstance(cell, str) and not cell.strip())
    )


def _numbered(texts: Sequence[str], repeated: Mapping[str, int]) -> tuple[str, ...]:
    """All different: "Rosenthal (1)" and "Rosenthal (2)"."""
    used, times = set(texts), Counter[str]()
    names = []
    for text in texts:
        name = text
        while text in repeated and name in used:
            times[text] += 1
            name = f"{text} ({times[text]})"
        used.add(name)
        names.append(name)
    return tuple(names)


def named(kind: str, cell: object) -> str:
    """A label, preceded by its kind where it is only a number.

    >>> named("district", 11.0), named("author", "Aronson")
    ('district 11', 'Aronson')
    """
    text = " ".join(label(cell).split())
    return text if any(character.isalpha() for character in text) else f"{kind} {text}"


def _from_index(index: pd.Index, row_labels: Sequence[str]) -> tuple[str, ...] | None:
    """The labels of an index that is named or holds texts; a plain one only counts."""
    if isinstance(index, pd.MultiIndex) or not index.is_unique or index.hasnans:
        return None
    if index.name is None and not (index.dtype.kind == "O" and _is_text(index)):
        return None
    kind = "row" if index.name is None else str(index.name)
    return _if_different([named(kind, text) for text in row_labels])


def _from_columns(frame: pd.DataFrame) -> tuple[str, ...] | None:
    """The first column of texts that are all different, else the first that is so with the year of publication."""
    columns = [position for position, dtype in enumerate(frame.dtypes.tolist()) if _holds_objects(dtype)]
    several = []
    for position in columns:
        cells = frame.iloc[:, position].tolist()
        different = len(set(cells)) if all(isinstance(cell, str) for cell in cells) else 0
        if 2 * different > len(cells) and _is_text(cells):
            if different == len(cells):
                return _if_different([" ".join(cell.split()) for cell in cells])
            several.append(cells)
    years = _years(frame) if several else None
    for cells in several if years else ():
        if names := _if_different([f"{cell} ({label(year)})" for cell, year in zip(cells, years or (), strict=True)]):
            return names
    return None


def _holds_objects(dtype: Any) -> bool:
    """Whether cells of a column of this type may be texts."""
    return bool(dtype.kind == "O")


def _years(frame: pd.DataFrame) -> list[float] | None:
    """The column of years of publication, where it is the only one that is called so."""
    named_so = [position for position, name in enumerate(frame.columns) if "year" in str(name).casefold()]
    if len(named_so) != 1 or (column := frame.iloc[:, named_so[0]]).dtype.kind not in "iuf":
        return None
    years: list[float] = column.tolist()
    plausible = all(year == year and float(year).is_integer() and int(year) in _YEARS for year in years)
    return years if plausible else None


def _if_different(names: Sequence[str]) -> tuple[str, ...] | None:
    return tuple(names) if len(set(names)) == len(names) else None


def _is_text(cells: Iterable[object]) -> bool:
    """Whether every cell is text with a letter in it."""
    return all(isinstance(cell, str) and any(map(str.isalpha, cell)) for cell in cells)
