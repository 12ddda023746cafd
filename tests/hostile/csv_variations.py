"""One true table written as people write CSV files, right and wrong."""

import csv
import gzip
import io
import random
import zipfile
from collections.abc import Callable
from typing import NamedTuple

HEADER = ("study", "y", "v", "x", "arm")
ROWS = tuple(
    (study, f"{0.1 * i - 0.3:.2f}", f"{0.05 + 0.01 * i:.2f}", f"{i * i % 7}.5", arm)
    for i, (study, arm) in enumerate(
        zip(("01", "1", "NA", "b", "c", "12345678901234567", "12345678901234568", "d"), "pqrpqrpq", strict=True)
    )
)


class Variation(NamedTuple):
    """A file, and whether its rows are those of the true table to anyone who reads it."""

    name: str
    data: bytes
    same: bool


def written(rows: list[list[str]], separator: str = ",", end: str = "\n", quote: int = csv.QUOTE_MINIMAL) -> str:
    out = io.StringIO(newline="")
    csv.writer(out, delimiter=separator, lineterminator=end, quoting=quote).writerows(rows)
    return out.getvalue()


def table() -> list[list[str]]:
    return [list(HEADER), *map(list, ROWS)]


def _dialect(rng: random.Random) -> tuple[str, bytes]:
    """A way of writing the true table that changes nothing."""
    separator = rng.choice(",,;\t")
    end = rng.choice(["\n", "\r\n", "\r"])
    rows = table()
    if separator == ";" and rng.random() < 0.5:
        rows = [rows[0], *([row[0], *(cell.replace(".", ",") for cell in row[1:4]), row[4]] for row in rows[1:])]
    text = written(rows, separator, end, rng.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]))
    if rng.random() < 0.3:
        text = end * rng.randrange(3) + text + end * rng.randrange(3)
    if rng.random() < 0.2 and separator == ",":
        text = text.replace(",", ", ")
    if rng.random() < 0.2:
        text = end.join(line + separator * (separator == ",") for line in text.strip(end).split(end)) + end
        text = text if separator == "," and '"' not in text else written(rows, separator, end)
    coded = rng.choice(["utf-8", "utf-8-sig", "utf-16"])
    return f"{separator!r} {end!r} {coded}", text.encode(coded)


def _cell(rng: random.Random, column: int, text: str) -> bytes:
    rows = table()
    rows[rng.randrange(1, len(rows))][column] = text
    return written(rows).encode()


BAD_CELLS = (
    "5%",
    "1,234",
    "0x1A",
    "1_000",
    "1D-3",
    "abc",
    "-",
    ".",
    "1,5",
    "\u22121",
    "1 000",
    "1e",
    "True",
    "2020-01-05",
    "<5",
)


def _wrong(rng: random.Random) -> tuple[str, bytes]:
    """A file that nobody can read as the true table, or only with a guess."""
    rows, text = table(), written(table())
    lines = text.splitlines()
    at = rng.randrange(1, len(lines))
    wrong: dict[str, Callable[[], bytes]] = {
        "comma at the end of the rows": lambda: "\n".join([lines[0], *(line + "," for line in lines[1:])]).encode(),
        "comma at the end of one row": lambda: "\n".join([*lines[:at], lines[at] + ",", *lines[at + 1 :]]).encode(),
        "a field more": lambda: "\n".join([*lines[:at], lines[at] + ",7", *lines[at + 1 :]]).encode(),
        "a field less": lambda: "\n".join([*lines[:at], lines[at].rpartition(",")[0], *lines[at + 1 :]]).encode(),
        "row names": lambda: "\n".join([lines[0], *(f"{i},{line}" for i, line in enumerate(lines[1:]))]).encode(),
        "the same name twice": lambda: text.replace("arm", rng.choice(HEADER[:4]), 1).encode(),
        "no name": lambda: text.replace("arm", "", 1).encode(),
        "a quote left open": lambda: "\n".join([*lines[:at], '"' + lines[at], *lines[at + 1 :]]).encode(),
        "a title": lambda: ("My meta-analysis\n" + text).encode(),
        "a comment": lambda: ("# extracted by hand\n" + text).encode(),
        "no header": lambda: "\n".join(lines[1:]).encode(),
        "nothing": lambda: rng.choice([b"", b"\n\n", b"  \n"]),
        "latin-1": lambda: text.replace("study", "étude").encode("latin-1"),
        "a NUL": lambda: text.replace(rows[at][1], rows[at][1] + "\0", 1).encode(),
        "gzip": lambda: gzip.compress(text.encode()),
        "zip": lambda: _zipped(text),
        "UTF-16 without a mark": lambda: text.encode("utf-16-le"),
        "decimal commas in a comma file": lambda: text.replace(".", ",").encode(),
        "both decimal marks": lambda: (
            written(rows, ";").replace(rows[at][1], rows[at][1].replace(".", ","), 1).encode()
        ),
        "a bad effect": lambda: _cell(rng, 1, rng.choice(BAD_CELLS)),
        "a bad variance": lambda: _cell(rng, 2, rng.choice(BAD_CELLS)),
        "a bad predictor": lambda: _cell(rng, 3, rng.choice(BAD_CELLS)),
    }
    name = rng.choice(list(wrong))
    return name, wrong[name]()


def _zipped(text: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("table.csv", text)
    return buffer.getvalue()


def variation(seed: int) -> Variation:
    rng = random.Random(seed)
    same = rng.random() < 0.4
    return Variation(*(_dialect(rng) if same else _wrong(rng)), same)
