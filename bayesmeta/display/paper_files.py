"""Tables of a paper in files: the extension of the path says which kind."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from bayesmeta._validation import did_you_mean
from bayesmeta.display.paper import PaperTable
from bayesmeta.display.paper_html import IMAGES, paper_html, paper_image
from bayesmeta.display.paper_markup import paper_latex, paper_markdown
from bayesmeta.display.paper_word import paper_word, word_bytes
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.atomic import is_stream, write_file
from bayesmeta.tree.files import check_place

type Writer = Callable[[Sequence[PaperTable], str], bytes | str]

_WRITERS: Mapping[str, Writer] = {
    ".docx": lambda tables, what: word_bytes(paper_word(tables, what)),
    ".html": paper_html,
    ".tex": lambda tables, _: paper_latex(tables) + "\n",
    ".md": lambda tables, _: paper_markdown(tables) + "\n",
    **{suffix: partial(paper_image, suffix=suffix) for suffix in IMAGES},
}
_WORDS = (
    ".docx (Word), .html, .tex (LaTeX), .md (Markdown), or by a headless Chrome or Chromium .png, .jpg, .webp, .pdf"
)


def check_table_path(path: Any) -> Path:
    """The path of a table; an error where none can be written there, or its extension is that of no table."""
    path = check_place(path, "table")
    if path.suffix.lower() not in _WRITERS:
        hint = did_you_mean(path.suffix, _WRITERS) if path.suffix else ""
        raise SpecError(f"{path}: tables are saved as {_WORDS}{hint}\n  give the name of the file one of these endings")
    if path.is_dir() and not is_stream(path):
        raise DataError(f"{path} is a directory\n  give the name of a file in it")
    return path


def write_tables(tables: Sequence[PaperTable], path: Any) -> Path:
    """Write tables in one file, whole or not at all; the path.

    Raises
    ------
    SpecError
        For an extension that is that of no table, and where the packages are missing that write it.
    DataError
        Where there is no such folder, or the file cannot be written.
    """
    path = check_table_path(path)
    suffix = path.suffix.lower()
    write_file(path, _WRITERS[suffix](tables, f"a {suffix} table"))
    return path
