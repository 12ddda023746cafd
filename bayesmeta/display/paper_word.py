"""Tables and text of a paper in a Word document."""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from bayesmeta._validation import check_tables, shown
from bayesmeta.display.paper import TO, PaperTable
from bayesmeta.errors import SpecError

if TYPE_CHECKING:
    from docx.document import Document

_FONT, _SIZE, _NOTE = "Times New Roman", 10, 9  # points
_WIDEST = 78  # characters of the longest cells of all columns that an upright page has room for
_CHARACTER = 0.2  # centimetres of a character, and of the gaps
_NO_BREAK = TO.replace(" ", "\N{NO-BREAK SPACE}")
_THICK, _THIN = "12", "6"  # eighths of a point


def paper_word(tables: Sequence[PaperTable], what: str, document: Any = None) -> "Document":
    """The document with all tables at its end, by default one of their own.

    what : who asks, for the error where python-docx is not installed.
    """
    title = next((table.caption for table in tables if table.caption), "")
    document = _begun(document, what, title, wide=max(map(_width, tables)) > _WIDEST)
    for i, table in enumerate(tables):
        _add(document, table.aligned(), apart=i > 0 or len(document.paragraphs) > 0)
    return document


def text_in_word(sections: Sequence[tuple[str, Sequence[str]]], what: str, document: Any = None) -> "Document":
    """The document with headings and their paragraphs at its end, by default one of their own."""
    document = _begun(document, what)
    for title, paragraphs in sections:
        document.add_heading(title, 1)
        for text in paragraphs:
            document.add_paragraph(text)
    return document


def _begun(document: Any, what: str, title: str = "", wide: bool = False) -> "Document":
    """The document that is there, after a check of its kind, or a new one."""
    check_tables(what, "docx")
    from docx.document import Document

    if document is None:
        return _new(title, wide)
    if not isinstance(document, Document):
        hint = f": docx.Document({shown(document)})" if isinstance(document, str) else ""
        raise SpecError(f"document is {shown(document)}; it must be a document of python-docx{hint}")
    return document


def _new(title: str, wide: bool) -> "Document":
    """An empty document on A4 pages, which lie on their side for wide tables."""
    import docx
    from docx.enum.section import WD_ORIENT
    from docx.shared import Cm, Pt, RGBColor

    document = docx.Document()
    style = document.styles["Normal"]
    style.font.name, style.font.size = _FONT, Pt(_SIZE)
    caption = document.styles["Caption"].font
    caption.name, caption.size, caption.color.rgb = _FONT, Pt(_SIZE), RGBColor(0, 0, 0)
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21), Cm(29.7)
    if wide:
        section.orientation = WD_ORIENT.LANDSCAPE
        section.page_width, section.page_height = section.page_height, section.page_width
    section.left_margin = section.right_margin = Cm(2)
    properties = document.core_properties
    properties.author = properties.comments = ""
    properties.title = title
    properties.created = properties.modified = datetime.now(UTC)  # else when python-docx made its template
    return document


def word_bytes(document: "Document") -> bytes:
    file = io.BytesIO()
    document.save(file)
    return file.getvalue()


def _width(table: PaperTable) -> int:
    """Characters of the widest cells of all columns, with the gaps between."""
    return sum(_widths(table))


def _widths(table: PaperTable) -> list[int]:
    rows = [(table.stub, *table.header), *table.rows]
    return [max(len(row[j]) for row in rows) + 2 for j in range(1 + len(table.header))]


def _add(document: "Document", table: PaperTable, apart: bool) -> None:
    """The caption, the table and its notes; apart : from what stands before it."""
    from docx.enum.table import WD_TABLE_ALIGNMENT
    from docx.shared import Cm, Pt

    if table.caption:
        styles = {style.name for style in document.styles}
        caption = document.add_paragraph(style="Caption" if "Caption" in styles else None)
        caption.paragraph_format.keep_with_next = True
        caption.paragraph_format.space_before, caption.paragraph_format.space_after = Pt(12 * apart), Pt(3)
        caption.add_run(table.caption).bold = True
    rows, widths = _rows(table), _widths(table)
    section = document.sections[-1]
    room = (section.page_width - section.left_margin - section.right_margin) / Cm(1)
    unit = min(_CHARACTER, room / sum(widths))
    drawn = document.add_table(rows=0, cols=1 + len(table.header))
    drawn.alignment, drawn.autofit = WD_TABLE_ALIGNMENT.LEFT, True
    for column, width in zip(drawn.columns, widths, strict=True):
        column.width = Cm(unit * width)
    for kind, cells in rows:
        _add_row(drawn, kind, cells, last=(kind, cells) is rows[-1])
    _rule(drawn.rows[0], top=_THICK, bottom=_THIN)
    _repeat(drawn.rows[0])
    _rule(drawn.rows[-1], bottom=_THICK, **({"top": _THICK} if len(rows) == 1 else {}))
    for i, note in enumerate(table.foot):
        below = document.add_paragraph()
        below.paragraph_format.space_before, below.paragraph_format.space_after = Pt(0 if i else 3), Pt(0)
        run = below.add_run(note)
        run.font.size, run.bold = Pt(_NOTE), i < len(table.alarms)
    if not table.foot:  # Word asks for a paragraph after a table
        document.add_paragraph()


def _rows(table: PaperTable) -> list[tuple[str, tuple[str, ...]]]:
    """Headings, titles of sections, and rows, each with its kind."""
    rows = [("head", (table.stub, *table.header))]
    for section in table.sections:
        if section.title:
            rows.append(("section", (section.title, *[""] * len(table.header))))
        rows += [("row", row) for row in section.rows]
    return rows


def _add_row(drawn: Any, kind: str, cells: tuple[str, ...], last: bool) -> None:
    """A row that no page break divides; labels left, numbers right."""
    from docx.enum.text import WD_ALIGN_PARAGRAPH
    from docx.shared import Pt

    row = drawn.add_row()
    _keep_whole(row)
    if kind == "section" and len(row.cells) > 1:
        row.cells[0].merge(row.cells[-1])
        cells = cells[:1]
    for j, text in enumerate(cells):
        paragraph = row.cells[j].paragraphs[0]
        if j:
            paragraph.alignment = WD_ALIGN_PARAGRAPH.RIGHT
        paragraph.paragraph_format.space_before = Pt(4 if kind == "section" else 1)
        paragraph.paragraph_format.space_after = Pt(1)
        paragraph.paragraph_format.keep_with_next = not last  # the notes follow on the same page, where it is one
        run = paragraph.add_run(text.replace(TO, _NO_BREAK))
        run.bold = kind != "row"


def _rule(row: Any, **edges: str) -> None:
    """Lines above and below the cells of a row; python-docx has none of its own for that."""
    from docx.oxml.ns import qn
    from docx.oxml.parser import OxmlElement

    for cell in row._tr.tc_lst:
        properties = cell.get_or_add_tcPr()
        borders = properties.find(qn("w:tcBorders"))
        if borders is None:
            borders = OxmlElement("w:tcBorders")
            properties.append(borders)
        for edge in ("top", "bottom"):  # in the order of the schema
            if edge in edges:
                line = OxmlElement(f"w:{edge}")
                for name, value in (("val", "single"), ("sz", edges[edge]), ("space", "0"), ("color", "000000")):
                    line.set(qn(f"w:{name}"), value)
                borders.append(line)


def _repeat(row: Any) -> None:
    """Headings that stand on every page of a long table."""
    _flag(row, "w:tblHeader")


def _keep_whole(row: Any) -> None:
    _flag(row, "w:cantSplit")


def _flag(row: Any, name: str) -> None:
    from docx.oxml.parser import OxmlElement

    row._tr.get_or_add_trPr().append(OxmlElement(name))
