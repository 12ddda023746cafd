"""The one reader of CSV files: text in, columns out, and an error wherever a file could be read in two ways.

Every row has as many fields as the header. Separators (comma, semicolon, tab) and decimal commas are recognised. A
column is numbers where all of its cells are numbers or missing, and text otherwise; columns that hold labels, such as
those of groups, keep their text: 01 is not 1, and NA is a name.
"""

import csv
import re
from collections.abc import Collection, Iterator
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from bayesmeta._validation import listing, shown
from bayesmeta.errors import AssumptionWarning, DataError, warn
from bayesmeta.io.columns import label

MISSING = frozenset({"", "NA", "N/A", "n/a", "NaN", "nan", "null", "NULL", "None", "<NA>", "#N/A"})
SEPARATORS = {",": "a comma", ";": "a semicolon", "\t": "a tab"}
MOST_CELL = 10_000_000  # characters of one cell
_NUMBER = re.compile(r"\s*[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?\s*|\s*[-+]?(inf|Inf|INF)\s*")
_DECIMAL_COMMA = re.compile(r"\s*[-+]?(\d+,\d+|,\d+)([eE][-+]?\d+)?\s*")
_BINARY = {
    b"\x1f\x8b": "a gzip file; unpack it",
    b"PK\x03\x04": "a zip file or a workbook of Excel; unpack it, or save the sheet as CSV",
    b"\x89HDF": "an HDF5 or netCDF file",
    b"\xd0\xcf\x11\xe0": "an old workbook of Excel; save the sheet as CSV",
    b"%PDF": "a PDF file",
    b"BZh": "a bzip2 file; unpack it",
    b"\xfd7zXZ": "an xz file; unpack it",
}
_BOOLEANS = {"True": True, "TRUE": True, "true": True, "False": False, "FALSE": False, "false": False}


class Row(NamedTuple):
    """The fields of one row, and the line on which it ends."""

    line: int
    fields: list[str]


def read_csv(path: Path, labels: Collection[str] = ()) -> pd.DataFrame:
    """The table of a CSV file.

    Parameters
    ----------
    path : Path
        A text file in UTF-8, or in UTF-16 with a byte-order mark.
    labels : collection of str
        Columns whose cells are names rather than numbers, those of groups above all: their text is kept wherever a
        number would be written differently, and only an empty cell is missing.

    Returns
    -------
    DataFrame
        Columns of numbers, of True and False, and of text; rows are numbered from 0.

    Raises
    ------
    DataError
        When the file is not text or empty, a name in its header is missing or occurs twice, a row has more or fewer
        fields than the header, or a quote is not closed, with the line.

    Warns
    -----
    AssumptionWarning
        When a separator other than the comma, or a decimal comma, was recognised.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "trials.csv"
    ...     _ = file.write_text("trial,y,v\\n01,0.5,0.1\\n1,,0.2\\n", encoding="utf-8")
    ...     read_csv(file, labels=["trial"])
      trial    y    v
    0    01  0.5  0.1
    1     1  NaN  0.2
    """
    text = _text(path)
    separator = _separator(text, path.name)
    header, rows = _table(text, separator, path.name)
    cells = {name: [row.fields[j] for row in rows] for j, name in enumerate(header)}
    for name in [name for name, column in cells.items() if not name and not any(c.strip() for c in column)]:
        del cells[name]  # what a spreadsheet writes for an empty column
    if "" in cells:
        raise DataError(
            f"{path.name}: column {header.index('') + 1} has no name in the header (line 1) but holds values\n"
            "  name it, or delete it; row names, as R writes them, are left out by row.names=FALSE"
        )
    comma = separator != "," and _has_decimal_commas(cells, path.name)
    return pd.DataFrame({name: _column(values, name in labels, comma) for name, values in cells.items()})


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(
            f"{path} cannot be read: {error.strerror}\n  check the path, and whether you may read it"
        ) from None
    for start, what in _BINARY.items():
        if data.startswith(start):
            raise DataError(
                f"{path.name} is not a CSV file but {what}"
                "\n  save the table as CSV, or read it with pandas and pass the data frame"
            )
    encoding = "utf-16" if data.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path.name}, line {line}: the text is not in UTF-8 (byte {data[error.start]:#04x})\n"
            "  save the file in UTF-8; in Excel: 'CSV UTF-8'"
        ) from None
    if "\0" in text:
        line = text[: text.index("\0")].count("\n") + 1
        raise DataError(
            f"{path.name}, line {line}: holds a NUL character, so it is no text, or UTF-16 without a mark"
            "\n  save it as CSV in UTF-8"
        )
    if not text.strip():
        raise DataError(f"{path.name} is empty\n  its first line must name the columns")
    return text.lstrip("\n\r") if not text[0].strip(" \t") else text


def _rows(text: str, separator: str, name: str) -> Iterator[Row]:
    """The rows that are not blank."""
    old = csv.field_size_limit(MOST_CELL)
    reader = csv.reader(
        StringIO(text, newline=""), delimiter=separator, skipinitialspace=separator != "\t", strict=True
    )
    try:
        yield from (Row(reader.line_num, fields) for fields in reader if any(field.strip() for field in fields))
    except csv.Error as error:
        hint = "a quote is not closed" if "end of data" in str(error) else str(error)
        raise DataError(f"{name}, line {reader.line_num}: {hint}\n  check the quotes from there upwards") from None
    finally:
        csv.field_size_limit(old)


def _separator(text: str, name: str) -> str:
    """The separator by which the header and all rows have the same number of fields, more than one."""
    counts = {}
    for separator in SEPARATORS:
        try:
            counts[separator] = [len(row.fields) for row in _rows(text, separator, name)]
        except DataError:
            continue
    fitting = [s for s, sizes in counts.items() if len(set(sizes)) == 1 and sizes[0] > 1]
    if len(fitting) == 1 or "," in fitting or not counts:
        separator = fitting[0] if fitting else ","
        if len(fitting) > 1 and counts[separator][0] <= max(counts[s][0] for s in fitting[1:]):
            other = " or ".join(SEPARATORS[s] for s in fitting)
            raise DataError(f"{name}: fields may be separated by {other}; quote the cells that hold one of them")
    else:  # none fits: the errors of the one that the header has most of
        header = text.splitlines()[0]
        separator = max(SEPARATORS, key=header.count)
    if separator != ",":
        warn(f"{name}: the fields are taken as separated by {SEPARATORS[separator]}", AssumptionWarning)
    return separator


def _table(text: str, separator: str, name: str) -> tuple[list[str], list[Row]]:
    """The names of the columns, and the rows, all with as many fields."""
    first, *rows = _rows(text, separator, name)
    header = [field.strip() for field in first.fields]
    usual = max({len(row.fields) for row in rows}, key=[len(row.fields) for row in rows].count, default=len(header))
    for row in rows:
        if len(row.fields) != len(header):
            raise DataError(_uneven(row, header, usual, name))
    if twice := next((field for i, field in enumerate(header) if field and field in header[:i]), None):
        raise DataError(f"{name}: the header names '{twice}' twice\n  rename one of the two columns, or delete it")
    if header.count("") > 1 and any(row.fields[j].strip() for row in rows for j, h in enumerate(header) if not h):
        raise DataError(f"{name}: several columns have no name in the header\n  name them, or delete them")
    if all(_NUMBER.fullmatch(field) for field in header):
        raise DataError(f"{name}: the first line holds numbers only ({listing(header)}); it must name the columns")
    return header, rows


def _uneven(row: Row, header: list[str], usual: int, name: str) -> str:
    what = f"{len(row.fields)} field{'s' * (len(row.fields) != 1)}"
    message = f"{name}, line {row.line}: {what}, but the header has {len(header)} ({shown(', '.join(header))})"
    if len(header) < usual:
        if len(header) == 1:
            return (
                f"{message}\n  if the first line is a title or a comment, delete it; the first line names the columns"
            )
        return f"{message}\n  a separator at the end of every row, row names that the header lacks, or a decimal comma"
    return f"{message}\n  a comma inside a cell needs quotes around the cell; an empty cell needs its comma"


def _has_decimal_commas(cells: dict[str, list[str]], name: str) -> bool:
    """Whether numbers have a decimal comma; DataError where some have a comma and others a point."""
    commas = [cell for values in cells.values() for cell in values if _DECIMAL_COMMA.fullmatch(cell)]
    if not commas:
        return False
    points = [cell for values in cells.values() for cell in values if "." in cell and _NUMBER.fullmatch(cell)]
    if points:
        raise DataError(
            f"{name}: some numbers have a decimal comma ({commas[0]}), others a point ({points[0]})"
            "\n  write all with a point, or all with a comma"
        )
    warn(f"{name}: a comma in a number is taken as its decimal point ({commas[0]})", AssumptionWarning)
    return True


def _column(cells: list[str], is_label: bool, comma: bool) -> pd.Series:
    """Numbers where every cell is one or missing, else text."""
    missing = [not cell.strip() if is_label else cell.strip() in MISSING for cell in cells]
    present = [cell.replace(",", ".") if comma and _DECIMAL_COMMA.fullmatch(cell) else cell for cell in cells]
    known = [cell for cell, gone in zip(present, missing, strict=True) if not gone]
    if known and all(map(_NUMBER.fullmatch, known)):
        whole = not any(missing) and all(re.fullmatch(r"\s*[-+]?\d{1,18}\s*", cell) for cell in known)
        kind: type = np.int64 if whole else float
        values = [float("nan") if gone else kind(cell) for cell, gone in zip(present, missing, strict=True)]
        if not is_label or all(label(kind(cell)) == cell for cell in known):
            return pd.Series(values, dtype=kind)
    elif known and not is_label and all(cell in _BOOLEANS for cell in known):
        truth = [None if gone else _BOOLEANS[cell] for cell, gone in zip(cells, missing, strict=True)]
        return pd.Series(truth, dtype=object if any(missing) else bool)
    if not known:
        return pd.Series(np.full(len(cells), np.nan))
    return pd.Series([None if gone else cell for cell, gone in zip(cells, missing, strict=True)], dtype="str")
