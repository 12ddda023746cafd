"""Data frames of any library, their columns as numbers, groups and categories, and numbers from whatever a user passes.

Data frames of other libraries (Polars, PyArrow, Modin, cuDF, DuckDB ...) become those of pandas with their types kept:
through floats large integers with missing values would change, and text would stand for categories.
"""

import os
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from os import PathLike
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray, ObjectArray
from bayesmeta._validation import check_name, is_label, listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.arrays import Place, as_numbers, position, reads_as_number

if TYPE_CHECKING:
    from narwhals import Series

PLACEHOLDERS = frozenset(
    {"", "-", "--", "\u2013", "\u2014", ".", "?", "*", "na", "n/a", "nan", "null", "none", "nil", "nr"}
)
_DATE = re.compile(r"\d{1,4}[-/.]\d{1,2}[-/.]\d{1,4}")
_HEXADECIMAL = re.compile(r"[-+]?0[xX][0-9a-fA-F]+")
_SIGNS = {0x2212: "-", 0x2013: "-", 0xA0: " ", 0x202F: " ", 0x2009: " ", 0x2019: "'"}
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


def as_frame(table: Any, what: str) -> pd.DataFrame:
    """A pandas data frame of a data frame of any kind, or of anything that pandas can turn into one."""
    if table is None:
        raise DataError(f"{what} is None; it must be a data frame")
    if isinstance(table, str | PathLike):
        raise DataError(_unread(str(table), what))
    if not isinstance(table, pd.DataFrame | Mapping | Sequence | np.ndarray | pd.Series):
        table = _from_foreign(table, what)
    try:
        return pd.DataFrame(table)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"{what} is a {type(table).__name__} that cannot become a data frame: {error}"
            "\n  pass a pandas or polars data frame, or a dict of columns"
        ) from None


def _unread(text: str, what: str) -> str:
    """The message about the name of a file, or of a data set, where its content is wanted, with the line to type."""
    if "~" in text:
        return f'{what} is the formula {shown(text)}; the formula comes first: bm.specify({shown(text)}, data, S="v")'
    suffix = PurePath(text).suffix.lower()
    if os.path.isdir(text):
        return (
            f"{what} is the folder {shown(text, 200)}, which holds no Parquet files\n"
            "  give a folder of files NAME.parquet or of folders COLUMN=VALUE, a file NAME.parquet, or a data frame"
        )
    if not suffix:
        line = f"{what} = bm.datasets.load({shown(text)}) if that is a data set of bayesmeta's"
        return f"{what} is the text {shown(text)}; it must be a data frame\n  {line}"
    readers = {".xlsx": "read_excel", ".xls": "read_excel", ".parquet": "read_parquet", ".dta": "read_stata"}
    separator = ", sep='\\t'" if suffix in (".tsv", ".tab") else ""
    line = f"{what} = pandas.{readers.get(suffix, 'read_csv')}({shown(text, 200)}{separator})"
    return f"{what} is {shown(text)}, the name of a file; it must be a data frame\n  {line}"


def _from_foreign(table: Any, what: str) -> Any:
    """A data frame of another library as one of pandas, a lazy one computed; anything else as it is."""
    import narwhals.stable.v2 as nw
    from narwhals.exceptions import DuplicateError

    try:
        frame = nw.from_native(table, pass_through=True)
    except DuplicateError as error:
        message = f"{what} has several columns of one name: {error}\n  rename them, or drop all but one"
        raise DataError(message) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    if not isinstance(frame, nw.DataFrame):
        return table
    return pd.DataFrame({series.name: _column(series) for series in frame.iter_columns()})


def _column(series: "Series[Any]") -> Any:
    """The values of a column, as pandas holds them."""
    import narwhals.stable.v2 as nw

    kind, missing = series.dtype, bool(series.null_count())
    if isinstance(kind, nw.Int128 | nw.UInt128) or kind.is_nested():
        return pd.Series(series.to_list(), dtype=object)
    if kind.is_integer() or isinstance(kind, nw.Boolean):
        nullable: Any = "boolean" if isinstance(kind, nw.Boolean) else str(kind)
        return pd.array(series.to_list(), dtype=nullable) if missing else series.to_numpy()
    if kind.is_float():
        return series.to_numpy()
    if isinstance(kind, nw.Enum):
        return pd.Categorical(series.to_list(), categories=list(kind.categories), ordered=True)
    if isinstance(kind, nw.Categorical):
        return pd.Categorical(series.to_list(), categories=series.cat.get_categories().to_list())
    if isinstance(kind, nw.Datetime | nw.Date | nw.Duration):
        return _times(series, getattr(kind, "time_zone", None))
    return pd.Series(series.to_list(), dtype=None if isinstance(kind, nw.String) else object)


def _times(series: "Series[Any]", zone: str | None) -> Any:
    times: Any = pd.Series(series.to_numpy())
    if times.dtype == object:  # dates without a time of day
        times = pd.to_datetime(times)
    return times.dt.tz_localize("UTC").dt.tz_convert(zone) if zone and times.dt.tz is None else times


def numbers(values: Any, frame: pd.DataFrame, what: str) -> tuple[FloatArray, str]:
    """The values as floats, NaN where missing, and where they came from: `column var`, or `what`."""
    if isinstance(values, str):
        return column(frame, values, what), f"column {values}"
    if isinstance(values, list | tuple) and values and all(isinstance(name, str) for name in values):
        return np.column_stack([column(frame, name, what) for name in values]), f"columns {listing(values, 12)}"
    if isinstance(values, pd.Series | pd.DataFrame):
        return from_pandas(values, frame, what), what
    rowwise = (isinstance(values, np.ndarray) and values.ndim > 0) or isinstance(values, list)
    by_row = rowwise and len(values) == len(frame)
    return as_numbers(values, what, place=_row_first(frame.index) if by_row else None), what


def _row_first(labels: pd.Index) -> Place:
    """Places in an array with one entry, or one list of them, for each row of the data."""
    return lambda at: f"row {labels[at[0]]}" + (f", {position(at[1:])}" if len(at) > 1 else "")


def find_column(frame: pd.DataFrame, name: str, what: str) -> pd.Series:
    """One column, or an error that names its nearest neighbours."""
    if not isinstance(name, str):
        raise SpecError(f"{what} is {shown(name)}; it must be the name of a column")
    check_name(name, frame.columns, f"{what}: the data have no column", "columns", most=30)
    if list(frame.columns).count(name) > 1:
        raise SpecError(f"{what}: the data have several columns named '{name}'\n  rename them, or drop all but one")
    return frame[name]


def column(frame: pd.DataFrame, name: str, what: str) -> FloatArray:
    """One column as floats."""
    return as_numbers(find_column(frame, name, what), f"column '{name}'")


def rows_by_group(frame: pd.DataFrame, name: str) -> dict[Any, IntArray]:
    """Positions of the rows of every group of a column, in the order of the data; rows without a group are in none.

    A warning tells of those, and of labels that look alike.
    """
    values = find_column(frame, name, "group")
    codes, texts = pd.factorize(group_labels(values))
    labels = values.iloc[[int(np.argmax(codes == code)) for code in range(len(texts))]].tolist()
    if not labels:
        raise DataError(f"column '{name}' names no group: it is missing in all rows\n  name another column")
    if (codes < 0).any():
        warn(f"no group in {rows(frame, codes < 0)} of column '{name}'; no matrix has them", AssumptionWarning)
    for note in alike(f"groups of '{name}'", map(str, texts)):
        warn(note, AssumptionWarning)
    order = np.argsort(codes, kind="stable")
    ends = np.searchsorted(codes[order], np.arange(len(labels) + 1))
    return {label: order[a:b] for label, (a, b) in zip(labels, pairwise(ends), strict=True)}


def numbered(values: Any) -> tuple[IntArray, Any]:
    """Codes by first appearance, -1 where nothing stands, and the distinct values, as `pandas.factorize` has them.

    Whole numbers in ascending order, as large tables mostly have them, are told apart by their neighbours: a table of
    hashes takes longer for every value, the more there are.

    >>> numbered(np.array([3, 3, 7, 9, 9]))
    (array([0, 0, 1, 2, 2]), array([3, 7, 9]))
    """
    array = values.to_numpy() if isinstance(values, pd.Series) and isinstance(values.dtype, np.dtype) else values
    if isinstance(array, np.ndarray) and array.dtype.kind in "iu" and array.ndim == 1 and len(array) > 1:
        before, after = array[:-1], array[1:]
        if (before <= after).all():
            first = np.concatenate([[True], before != after])
            return np.cumsum(first) - 1, array[first]
    codes, distinct = pd.factorize(values)
    return np.asarray(codes), distinct


def group_labels(values: pd.Series) -> pd.Series:
    """A column that names groups, of mixed cells their texts; DataError for cells that cannot be labels."""
    if values.dtype != object and values.dtype.kind != "c":
        return values
    for row, cell in zip(values.index, values, strict=True):
        if not _is_missing(cell) and (not is_label(cell) or isinstance(cell, complex | bytes)):
            raise DataError(
                f"column '{values.name}' cannot name groups: row {row} holds {shown(cell)}\n"
                "  the label of a group is text or a number"
            )
    # True is equal to 1 for Python, and not the same label
    return values.map(lambda cell: cell if _is_missing(cell) else label(cell))


def _is_missing(cell: Any) -> bool:
    return bool(np.isscalar(cell) or cell is None or cell is pd.NA or cell is pd.NaT) and bool(pd.isna(cell))


def as_floats(values: pd.Series, what: str) -> FloatArray:
    """A series as floats; DataError names the first cell that is not a number."""
    return as_numbers(values, what)


def from_pandas(values: pd.Series | pd.DataFrame, frame: pd.DataFrame, what: str) -> FloatArray:
    """Values of a pandas object that has the data's own index; another one would leave the order of the rows open."""
    if len(values) == len(frame) and not values.index.equals(frame.index):
        raise DataError(
            f"{what} is a pandas object whose index is not that of the data, so the rows cannot be matched\n"
            "  give it the data's index, or pass .to_numpy() if it is in the order of the data"
        )
    return as_numbers(values, what)


def label(value: object) -> str:
    """The text that stands for a group or category; 1, 1.0 and "1" are the same.

    >>> label(7.0), label("7"), label(7.5)
    ('7', '7', '7.5')
    """
    if isinstance(value, float | np.floating) and float(value).is_integer():
        return str(int(value))
    return str(value)


def labels(values: pd.Series) -> ObjectArray:
    """(n,) labels of values of which none is missing."""
    codes, unique = pd.factorize(values)
    return np.array([label(u) for u in unique], dtype=object)[codes]


def take(frame: pd.DataFrame, column: str) -> pd.Series:
    """A column of the data; DataError where there is none of that name."""
    check_name(column, frame.columns, "the data have no column", "columns", DataError, most=30)
    values: Any = frame[column]
    if isinstance(values, pd.DataFrame):
        raise DataError(f"the data have several columns named '{column}'\n  rename them, or drop all but one")
    series: pd.Series = values
    return series


def rows(frame: pd.DataFrame | pd.Series, where: BoolArray) -> str:
    """'row 7' or 'rows 3, 7', by their labels in the index."""
    names = list(dict.fromkeys(label(i) for i in frame.index[where]))
    return f"row{'s' * (len(names) > 1)} {listing(names)}"


def counts(values: Any, frame: pd.DataFrame, what: str, words: str, names: Sequence[str], advice: str) -> FloatArray:
    """(n,) numbers of persons or events of every row, NaN where missing, from a column or an array.

    words : what is counted.  names : of the rows.  advice : the second line of the message about what is no count.
    """
    read, where = numbers(values, frame, what)
    if read.ndim != 1 or len(read) != len(frame):
        raise SpecError(
            f"{what} is {shown(values)}; it must be the name of a column, or one number for each of the "
            f"{len(frame)} rows"
        )
    wrong = ~np.isnan(read) & ((read < 0) | np.isinf(read) | (read != np.round(read)))
    if wrong.any():
        at = int(np.argmax(wrong))
        rule = "cannot be negative" if read[at] < 0 else "are whole numbers of persons"
        raise DataError(f"{where}: {words} {rule}; {names[at]} has {read[at]:g}\n  {advice}")
    return read


def marked(frame: pd.DataFrame, name: str, what: str) -> BoolArray:
    """A column of true and false, or 1 and 0, in every row."""
    values = find_column(frame, name, what)
    known = values.notna().to_numpy()
    numbers = np.full(len(frame), np.nan)
    numbers[known] = finite(frame[known], name, booleans=True)
    if (odd := ~np.isin(numbers, (0, 1))).any():
        cell = "missing" if np.isnan(numbers[odd][0]) else f"{numbers[odd][0]:g}"
        raise DataError(
            f"{what}: column '{name}' is {cell} in {rows(frame, odd)}; it must hold true and false, or 1 and 0"
        )
    return np.asarray(numbers == 1)


def words_by_row(frame: pd.DataFrame, word: Any, known: Collection[str], what: str) -> ObjectArray:
    """(n,) one of the known words for each row: of a column, or the same for all."""
    if not isinstance(word, str) or (word not in known and word not in frame.columns):
        raise SpecError(f"{what} is {shown(word)}; it must be a column, or one of {listing(known)}")
    if word not in frame.columns:
        return np.full(len(frame), word, dtype=object)
    values = frame[word].astype(str).to_numpy(dtype=object)
    if (odd := ~np.isin(values.astype(str), list(known))).any():
        has = f"no {what}" if frame[word][odd].isna().iloc[0] else f"the {what} {shown(values[odd][0])}"
        raise DataError(f"column '{word}' has {has} in {rows(frame, odd)}; known {what}s: {listing(known)}")
    return values


def formula_names(frame: pd.DataFrame, names: Sequence[str], stem: str) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """Columns by names that formulas can have: their own, else copies called by the stem, numbered where several."""
    plain = []
    for i, name in enumerate(name for name in names if not name.isidentifier()):
        new = stem if len(names) == 1 else f"{stem}{i + 1}"
        if new in frame.columns:
            raise SpecError(
                f"{stem}: {shown(name)} cannot stand in formulas, and '{new}' is taken\n  rename the column"
            )
        frame = frame.assign(**{new: frame[name]})
        plain.append((name, new))
    renamed = dict(plain)
    return frame, tuple(renamed.get(name, name) for name in names)


def unused_name(name: str, frame: pd.DataFrame) -> str:
    """A name that no column has."""
    while name in frame.columns:
        name += "_"
    return name


def reasons_missing(frame: pd.DataFrame, reasons: Sequence[tuple[str, str]]) -> list[str]:
    """Per row the reasons of the columns that have no value there, joined; "" where all have one."""
    joined = [""] * len(frame)
    for column, reason in reasons:
        for i in np.flatnonzero(take(frame, column).isna()):
            joined[i] += ("; " if joined[i] else "") + reason
    return joined


def finite(frame: pd.DataFrame, column: str, booleans: bool = False) -> FloatArray:
    """A column as floats, NaN where missing; DataError for text and infinite values.

    booleans : whether a column of True and False is one of 1 and 0, as it is for predictors.
    """
    numbers = as_numbers(take(frame, column), f"column '{column}'", booleans=booleans)
    if np.isinf(numbers).any():
        where = rows(frame, np.isinf(numbers))
        raise DataError(f"column '{column}' is infinite in {where}\n  use NaN for a missing value")
    return numbers


def is_categorical(values: pd.Series, coded: bool = False) -> bool:
    """Whether a predictor holds categories: pandas categories, or text in which no cell is a number.

    Text with numbers in it is either a column of numbers with slips, or one of categories: only C() can tell, so
    without C() it is an error.

    coded : whether the column stands in C().
    """
    if isinstance(values.dtype, pd.CategoricalDtype):
        return True
    present = values.dropna()
    if not (values.dtype == object or isinstance(values.dtype, pd.StringDtype)):
        return False
    text = present.map(lambda v: isinstance(v, str)).to_numpy(dtype=bool)
    if text.any() and not text.all():
        odd = text if 2 * text.sum() <= len(text) else ~text
        raise DataError(
            f"column '{values.name}' mixes text and numbers: {present[odd].iloc[0]!r} in {rows(present, odd)}\n"
            "  make it numbers (pandas.to_numeric) or all text (astype(str))"
        )
    if text.any() and not coded:
        _refuse_numbers(present)
    return bool(text.any())


def is_boolean(values: pd.Series) -> bool:
    """Whether a predictor is True or False wherever it is known."""
    present = values.dropna()
    if present.dtype == object:
        return len(present) > 0 and all(isinstance(cell, bool | np.bool_) for cell in present)
    return pd.api.types.is_bool_dtype(present.dtype)


def _refuse_numbers(present: pd.Series) -> None:
    """DataError where a cell of a column of text is a number, or where all are dates."""
    texts = present.unique()
    numeric = [text for text in texts if resembles_number(text)]
    if not numeric and not all(_DATE.fullmatch(text.strip()) for text in texts):
        return
    odd = [text for text in texts if not reads_as_number(text)]
    first = odd[0] if odd else texts[0]
    kind = "is text that holds numbers" if not odd else "is not numeric" if numeric else "is text that holds dates"
    at = int(np.argmax((present == first).to_numpy(dtype=bool)))
    raise DataError(
        f"column '{present.name}' {kind}: row {label(present.index[at])} holds {shown(first)}\n"
        f"  make all of it numbers (pandas.to_numeric), or write C({present.name}) if these are categories"
    )


def resembles_number(text: str) -> bool:
    """Whether text is a number as people write it: with thousands apart, a decimal comma, a percent sign.

    >>> [resembles_number(text) for text in ("5%", "1,234", "0,5", "\u22123", "1D-3", "0x1A", "5 to 9", "none")]
    [True, True, True, True, True, True, False, False]
    """
    plain = text.strip().translate(_SIGNS)
    if _HEXADECIMAL.fullmatch(plain):
        return True
    plain = re.sub(r"(?<=\d)[\s'_,](?=\d)", "", plain).removesuffix("%").strip()
    return any(c.isdigit() for c in plain) and reads_as_number(re.sub(r"(?<=[\d.])[dD](?=[-+\d])", "e", plain))


def alike(what: str, labels: Iterable[str]) -> list[str]:
    """Sentences about labels that only case or blanks set apart, and about those that may stand for a missing value.

    >>> alike("groups of 'study'", ["b", "B ", "c", "NA"])  # doctest: +NORMALIZE_WHITESPACE
    ["groups of 'study' that differ only by case or blanks count as different: 'b' and 'B '",
     "groups of 'study': 'NA' counts as a label, not as a missing value"]
    """
    known = list(dict.fromkeys(labels))
    plain = _plain_texts(known)
    sentences = []
    if len(set(plain)) < len(known):
        first: dict[str, str] = {}
        pairs = ((first.setdefault(p, text), text) for p, text in zip(plain, known, strict=True))
        one, other = next((one, other) for one, other in pairs if one != other)
        sentences.append(f"{what} that differ only by case or blanks count as different: {one!r} and {other!r}")
    if PLACEHOLDERS.intersection(plain):
        doubtful = [repr(text) for text, p in zip(known, plain, strict=True) if p in PLACEHOLDERS]
        sentences.append(f"{what}: {listing(doubtful)} counts as a label, not as a missing value")
    return sentences


def _plain_texts(texts: list[str]) -> list[str]:
    """Texts in small letters and with single blanks; all folded at once, since there can be millions."""
    whole = "\0".join(texts).casefold()
    folded = whole.split("\0")
    if len(folded) != len(texts):  # of a text with the separator in it
        folded = [text.casefold() for text in texts]
    elif len(whole.split(maxsplit=1)) == 1 and whole.strip() == whole:
        return folded
    return [" ".join(text.split()) for text in folded]


def check_storable(texts: Collection[Any], what: str) -> None:
    """That labels can be written to a file: no NUL, and no half of a character."""
    if not _UNSTORABLE.search("".join(text for text in texts if isinstance(text, str))):
        return  # one search, since there may be many
    for text in texts:
        if isinstance(text, str) and _UNSTORABLE.search(text):
            raise DataError(f"{what} {shown(text)} holds a character that cannot be written to a file; rename it")


def categories(values: pd.Series) -> tuple[str, ...]:
    """Labels of the categories that occur: in their own order where the column has one, else sorted."""
    if isinstance(values.dtype, pd.CategoricalDtype):
        return tuple(label(c) for c in values.cat.remove_unused_categories().cat.categories)
    return tuple(label(v) for v in np.sort(values.unique()))


def as_categories(values: pd.Series, known: Sequence[str]) -> pd.Series:
    """The values as pandas categories of which the known labels are all; DataError for any other value."""
    texts = labels(values)
    unseen = sorted(map(repr, set(texts) - set(known)))
    if unseen:
        raise DataError(
            f"column '{values.name}' holds {listing(unseen)}, which are not in the data of the model\n"
            f"  known categories: {listing(known, 30)}"
        )
    coded: Any = pd.Categorical(texts, categories=list(known))
    return pd.Series(coded, index=values.index, name=values.name)
