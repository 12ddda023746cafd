"""Tables of a paper as those of great_tables, as a page of HTML that needs no network, and as pictures of it."""

import re
import tempfile
from collections.abc import Sequence
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd

from bayesmeta._validation import check_tables
from bayesmeta.display.paper import PaperTable
from bayesmeta.errors import BayesmetaError

if TYPE_CHECKING:
    from great_tables import GT

IMAGES = (".png", ".jpg", ".webp", ".pdf")
_LABEL, _SECTION = "label", "section"  # columns of the frame behind a table of great_tables
_RULE, _INK = "1.5px", "#1a1a1a"
_LOOK: dict[str, Any] = {  # rules above and below, one below the headings, no others
    "table_font_size": "14px",
    "table_font_color": _INK,
    "table_border_top_style": "none",
    "table_border_bottom_style": "none",
    "heading_align": "left",
    "heading_title_font_size": "15px",
    "heading_title_font_weight": "bold",
    "heading_border_bottom_style": "none",
    "column_labels_border_top_style": "solid",
    "column_labels_border_top_width": _RULE,
    "column_labels_border_top_color": _INK,
    "column_labels_border_bottom_style": "solid",
    "column_labels_border_bottom_width": "1px",
    "column_labels_border_bottom_color": _INK,
    "column_labels_font_weight": "bold",
    "table_body_hlines_style": "none",
    "table_body_vlines_style": "none",
    "table_body_border_top_style": "none",
    "table_body_border_bottom_style": "solid",
    "table_body_border_bottom_width": _RULE,
    "table_body_border_bottom_color": _INK,
    "stub_border_style": "none",
    "row_group_border_top_style": "none",
    "row_group_border_bottom_style": "none",
    "row_group_border_right_style": "none",
    "row_group_font_weight": "bold",
    "data_row_padding": "3px",
    "data_row_padding_horizontal": "9px",
    "column_labels_padding_horizontal": "9px",
    "heading_padding_horizontal": "9px",
    "row_group_padding_horizontal": "9px",
    "source_notes_padding_horizontal": "9px",
    "row_group_padding": "6px",
    "source_notes_font_size": "12px",
    "source_notes_padding": "2px",
    "source_notes_border_bottom_style": "none",
}
_PAGE = """<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>
body {{ margin: 1.5rem; background: #fff; color: {ink}; }}
main {{ width: max-content; max-width: 100%; }}
main > div {{ margin-bottom: 2rem; }}
main .gt_table {{ margin-left: 0; font-variant-numeric: tabular-nums; width: max-content; max-width: none; }}
main .gt_stub {{ white-space: pre-line; }}
main .gt_sourcenote, main .gt_title {{ max-width: 0; min-width: 100%; white-space: normal; }}
main .gt_title {{ font-weight: bold !important; }}
main td.gt_row {{ white-space: nowrap; }}
</style>
</head>
<body>
<main>
{tables}
</main>
</body>
</html>
"""


def great_tables(tables: Sequence[PaperTable], what: str) -> "list[GT]":
    """Each table as one of great_tables; `what` : who asks, for the error where that is not installed."""
    check_tables(what, "great_tables")
    return [_great_table(table, f"table-{i + 1}") for i, table in enumerate(tables)]


def _great_table(table: PaperTable, name: str) -> "GT":
    from great_tables import GT

    table = table.aligned()
    columns = [f"column-{j + 1}" for j in range(len(table.header))]
    frame = pd.DataFrame(table.rows, columns=[_LABEL, *columns])
    frame[_SECTION] = [section.title for section in table.sections for _ in section.rows]
    several = len(table.sections) > 1
    shown = frame if several else frame.drop(columns=_SECTION)
    drawn = GT(shown, rowname_col=_LABEL, groupname_col=_SECTION if several else None, id=name)
    drawn = drawn.cols_label(dict(zip(columns, table.header, strict=True))).tab_stubhead(table.stub)
    if table.caption:
        drawn = drawn.tab_header(title=table.caption)
    if columns:
        drawn = drawn.cols_align("right", columns=columns)
    for note in table.foot:
        drawn = drawn.tab_source_note(note)
    return drawn.tab_options(**_LOOK)


def paper_html(tables: Sequence[PaperTable], what: str) -> str:
    """A whole page with all tables."""
    drawn = great_tables(tables, what)
    parts = [
        _on_page(gt.as_raw_html(), f"table-{i + 1}", table.caption)
        for i, (gt, table) in enumerate(zip(drawn, tables, strict=True))
    ]
    title = next((table.caption for table in tables if table.caption), "Table")
    return _PAGE.format(title=escape(title), ink=_INK, tables="\n".join(parts))


def _on_page(html: str, name: str, caption: str) -> str:
    """The HTML of a table for a page with others: its ids are its own, and keys scroll it where it is too wide."""
    at = html.index("<table")

    def own(attribute: re.Match[str]) -> str:
        return f'{attribute[1]}="{" ".join(f"{name}-{each}" for each in attribute[2].split())}"'

    def in_tag(tag: re.Match[str]) -> str:
        return re.sub(r'(\s(?:id|headers|aria-labelledby))="([^"]*)"', own, tag[0])

    region = f'<div tabindex="0" role="region" aria-label="{escape(caption or "Table")}" '
    table = re.sub(r"<[^>]+>", in_tag, html[at:])  # the texts between tags have no angle brackets
    return html[:at].replace("<div ", region, 1) + table


def paper_image(tables: Sequence[PaperTable], what: str, suffix: str) -> bytes:
    """A picture of all tables, by a headless Chrome or Chromium.

    Raises
    ------
    BayesmetaError
        When no browser is installed, or it does not start.
    """
    check_tables(what, "great_tables", "nokap")
    import nokap

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f"table{suffix}")
        try:
            nokap.find_chrome()
            nokap.from_html(paper_html(tables, what), path, selector="main", expand=8, zoom=3)
        except (nokap.NokapError, RuntimeError, OSError) as error:
            raise BayesmetaError(
                f"{what}: no picture, because no headless Chrome or Chromium could draw it: {error}\n"
                "  install one, or save the table as .html or .docx"
            ) from None
        return path.read_bytes()
