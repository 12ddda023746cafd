"""The page as HTML: the template filled in, with nothing loaded from elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any

from bayesmeta._version import __version__
from bayesmeta.display.tables import NOTHING, Table
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.atomic import is_stream, write_file
from bayesmeta.report.blocks import ReportPage
from bayesmeta.tree.files import check_place

SUFFIXES = (".html", ".htm")
_HERE = Path(__file__).parent
_GENERATOR, _HEAD = b'name="generator" content="bayesmeta', 4096  # which every report has within its first bytes


@dataclass(frozen=True, repr=False)
class Report:
    """A page of HTML; notebooks display it, `save` writes it to a file.

    Parameters
    ----------
    title : str
        Title of the page.
    html : str
        The whole page.

    Examples
    --------

    >>> Report("A title", "<p>One line.</p>")
    Report 'A title', 0 kB of HTML; save("page.html") writes it
    """

    title: str
    html: str

    def save(self, path: str | Path) -> Path:
        """Write the page, whole or not at all, replacing an earlier one.

        Parameters
        ----------
        path : str or Path
            Name of the file.

        Returns
        -------
        Path
            The same path.

        Raises
        ------
        SpecError
            If the name does not end in .html or .htm.
        DataError
            If no page can be written there, or the file there is no report of bayesmeta.
        """
        path = check_page(path)
        write_file(path, self.html)
        return path

    def __repr__(self) -> str:
        return f'Report {self.title!r}, {len(self.html) // 1000} kB of HTML; save("page.html") writes it'

    def _repr_html_(self) -> str:
        frame = "width:100%;height:40rem;border:1px solid #8888"
        return f'<iframe title="{escape(self.title)}" style="{frame}" srcdoc="{escape(self.html)}"></iframe>'


def check_page(path: Any, inputs: Iterable[Path] = ()) -> Path:
    """The path; an error if no page can be written there.

    inputs : files that the page is made from.
    """
    path = check_place(path, "report", inputs)
    if is_stream(path):
        return path
    if path.is_dir():
        raise DataError(f"{path} is a directory; give the name of a file, such as page.html")
    if path.suffix.lower() not in SUFFIXES:
        raise SpecError(f"{path}: a report is one HTML file; give a name such as {path.stem}.html")
    if path.exists() and path.stat().st_size and _GENERATOR not in _beginning(path):
        raise DataError(
            f"{path} exists and is no report of bayesmeta; it is not overwritten\n  give another name, or remove it"
        )
    return path


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(_HEAD)


def render(page: ReportPage) -> Report:
    template = _environment().get_template("page.html.j2")
    style = (_HERE / "page.css").read_text(encoding="utf-8")
    return Report(page.title, template.render(page=page, style=style, version=__version__))


@cache
def _environment() -> Any:
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(_HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {
        "kind": lambda block: type(block).__name__,
        "spans": spans,
        "columns_of_words": columns_of_words,
    }
    return environment


def spans(rows: tuple[tuple[str, ...], ...]) -> list[tuple[int, tuple[str, ...]]]:
    """Rows with the number of lines that their label spans: a row without a label belongs to the one above.

    >>> spans((("a", "1"), ("", "[0, 2]"), ("b", "3")))
    [(2, ('a', '1')), (0, ('', '[0, 2]')), (1, ('b', '3'))]
    """
    if not any(row[0] for row in rows):
        return [(1, row) for row in rows]
    lengths = [0] * len(rows)
    at = 0
    for i, row in enumerate(rows):
        at = i if row[0] or i == 0 else at
        lengths[at] += 1
    return list(zip(lengths, rows, strict=True))


def columns_of_words(table: Table) -> list[bool]:
    """Which columns after the labels are aligned left, because not all their cells are numbers."""
    return [not all(numeric(row[j + 1]) for row in table.rows) for j in range(len(table.header))]


def numeric(cell: str) -> bool:
    """Whether a cell holds a number, an interval or nothing, and so is aligned right.

    >>> numeric("-0.5 (0.1)"), numeric("[1, 2]"), numeric("<0.0001"), numeric("one variance"), numeric("11/3 b")
    (True, True, True, False, False)
    """
    return cell == NOTHING or not any(
        letter.isalpha() for letter in cell.replace("inf", "").replace("e-", "").replace("e+", "")
    )
