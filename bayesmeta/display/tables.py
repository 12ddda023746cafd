"""Numbers and tables as people read them: enough digits, aligned at the decimal point, never wider than the page."""

import math
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from shutil import get_terminal_size
from statistics import median
from textwrap import wrap
from typing import NamedTuple

WIDTH = 100
NOTHING = "-"
_NARROWEST = 60  # below, tables would have a column or two a line
_GAP = 2
MINUS = "\N{MINUS SIGN}"
_LARGE_RATIO = 1e5  # larger ratios are written as ">100,000"
_MOST_DECIMALS, _LARGE = 8, 1e9  # beyond, numbers are written with an exponent
_LABEL, _HEADING = 0.4, 24  # the part of the page for labels, and the characters for a heading, that are never denied

# of HTML cells; no colour of their own, so that they can be read on light and on dark pages
_LEFT = "text-align:left;vertical-align:top;padding:0.1em 0.8em 0.1em 0"
_RIGHT = "text-align:right;padding:0.1em 0 0.1em 0.8em;white-space:nowrap;font-variant-numeric:tabular-nums"
_BOLD, _PLAIN, _RULE = "font-weight:bold", "font-weight:normal", "border-bottom:1px solid"


_PLAIN_FROM, _NEGLIGIBLE = 0.1, 1e-6  # least number with a plain six decimals, and error that none of them shows
_MANY, _WHOLE = 1000, 1e-6  # degrees of freedom, and their distance from whole numbers by rounding


def number(x: float, scale: float = math.nan) -> str:
    """A number with the decimals that its standard error deserves.

    scale : the standard error, whose first three significant digits are shown, and at least four decimals below 1;
        where it is missing or zero, four significant digits of `x` itself; where it is negligible, six decimals.

    >>> number(0.19649744, 0.0858389), number(-0.0000117, 0.0000031), number(1234.567, 12.3), number(6.1e-12)
    ('0.1965', '-0.00001170', '1234.6', '6.100e-12')
    """
    if not math.isfinite(x):
        return NOTHING if math.isnan(x) else f"{x}"
    known = math.isfinite(scale) and scale != 0
    if x == 0 and not known:
        return "0"
    size = math.floor(math.log10(abs(scale if known else x)))
    exact = (2 if known else 3) - size
    decimals = max(exact, 4 if size < (0 if known else 1) else 0)
    if decimals > _MOST_DECIMALS and known and _PLAIN_FROM <= abs(x) < _LARGE and abs(scale) < _NEGLIGIBLE * abs(x):
        return f"{x:z.6f}"  # more digits than anyone reads, of a correlation at its bound for instance
    if decimals > _MOST_DECIMALS or abs(x) >= _LARGE:
        digits = exact + math.floor(math.log10(abs(x))) if x else 0
        return f"{x:.{min(max(digits, 3), 12)}e}"
    return f"{x:z.{decimals}f}"


def fixed(x: float, decimals: int) -> str:
    """A number with the given number of decimals, or a dash for a missing one."""
    return f"{x:z.{decimals}f}" if math.isfinite(x) else number(x)


def pvalue(p: float) -> str:
    """A p-value with four decimals; below 1e-4 as a bound.

    >>> pvalue(0.02207), pvalue(3e-9)
    ('0.0221', '<0.0001')
    """
    return "<0.0001" if p < 1e-4 else fixed(p, 4)


def percent(prob: float) -> str:
    """
    >>> percent(0.95), percent(0.999)
    ('95%', '99.9%')
    """
    return f"{100 * prob:.6g}%"


def decimals(se: Iterable[float]) -> int:
    """Number of decimals that show two significant digits of the typical standard error."""
    errors = [float(each) for each in se]
    typical = median(errors) if errors else 0.1
    return min(max(1 - math.floor(math.log10(typical)), 0), 6) if typical > 0 else 6


def df_text(df: float) -> str:
    """Degrees of freedom with one decimal, without where they are whole or many; "unknown" of NaN.

    >>> df_text(12.0), df_text(9.83), df_text(21711.3)
    ('12', '9.8', '21,711')
    """
    if math.isnan(df):
        return "unknown"
    return f"{df:,.0f}" if df >= _MANY or abs(df - round(df)) < _WHOLE else fixed(df, 1)


def signed(value: float, places: int) -> str:
    if math.isinf(value):
        return f"{MINUS if value < 0 else ''}∞"
    text = f"{value:.{places}f}" if abs(value) < 1e6 else f"{value:.2e}"
    return text.replace("-", "" if not float(text) else MINUS)


def ratio_text(log: float, places: int) -> str:
    """A ratio with as many significant digits as one near 1 has; bounds near 0 or in the thousands are abbreviated."""
    if math.isinf(log):
        return "∞" if log > 0 else "0"
    if log >= math.log(_LARGE_RATIO):
        return f">{_LARGE_RATIO:,.0f}"
    value, digits = math.exp(log), max(0, math.floor(log / math.log(10)))
    if value < 0.5 * 10.0**-places:
        return f"<{10.0**-places:.{places}f}"
    return f"{value:.{max(0, places - digits)}f}"


@dataclass(frozen=True)
class Facts:
    """Labelled sentences under a title, wrapped to the page."""

    pairs: tuple[tuple[str, str], ...]
    title: str = ""

    def text(self, width: int = WIDTH) -> str:
        indent = max((len(label) for label, _ in self.pairs), default=0) + _GAP
        lines = [self.title] if self.title else []
        for label, value in self.pairs:
            first, *more = _lines(value, width - indent)
            lines += [label.ljust(indent) + first, *(" " * indent + line for line in more)]
        return "\n".join(lines)

    def html(self) -> str:
        rows = (_tag("th", label, _LEFT, _BOLD) + _tag("td", value, _LEFT) for label, value in self.pairs)
        return _html(self.title, rows)


@dataclass(frozen=True)
class Table:
    """Rows of cells under a header; the first column holds labels, the others are aligned at the decimal point.

    header : the headings of the columns after the labels.  rows : per row the label and one cell per column.
    A table wider than the page goes on below, with its labels repeated; rows that are empty there are left out.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def text(self, width: int = WIDTH) -> str:
        columns = [_Column.of(name, [row[j + 1] for row in self.rows]) for j, name in enumerate(self.header)]
        room = width - sum(_GAP + column.width for column in columns)
        labels = [_lines(row[0], max(room, int(_LABEL * width))) for row in self.rows]
        side = max((len(line) for label in labels for line in label), default=0)
        lines = [self.title] if self.title else []
        for run in _runs([_GAP + column.width for column in columns], width - side):
            lines += _block(labels, side, columns[run])
        return "\n".join(lines)

    def html(self) -> str:
        head = "".join(_tag("th", name, _RIGHT, _BOLD, _RULE) for name in ("", *self.header))
        body = (
            _tag("th", label, _LEFT, _PLAIN) + "".join(_tag("td", cell, _RIGHT) for cell in cells)
            for label, *cells in self.rows
        )
        return _html(self.title, (head, *body))


Block = Facts | Table


def page_width() -> int:
    """Characters of a line: those of a page, or fewer in a narrow terminal."""
    if not sys.stdout.isatty():
        return WIDTH
    return min(WIDTH, max(get_terminal_size().columns, _NARROWEST))


def text(blocks: Sequence[Block], width: int = WIDTH) -> str:
    return "\n\n".join(block.text(width) for block in blocks)


def html(blocks: Sequence[Block]) -> str:
    return "<div>" + "".join(block.html() for block in blocks) + "</div>"


def _html(title: str, rows: Iterable[str]) -> str:
    caption = f"<p><b>{escape(title)}</b></p>" if title else ""
    return f"{caption}<table>{''.join(f'<tr>{row}</tr>' for row in rows)}</table>"


def _tag(tag: str, content: str, *styles: str) -> str:
    return f"<{tag} style='{';'.join(styles)}'>{escape(content)}</{tag}>"


def _lines(sentence: str, width: int) -> list[str]:
    return wrap(sentence, max(width, 1), break_on_hyphens=False) or [""]


class _Column(NamedTuple):
    heading: list[str]
    cells: list[str]
    width: int

    @classmethod
    def of(cls, heading: str, cells: Sequence[str]) -> "_Column":
        """Cells aligned at their first decimal point under a heading that is broken rather than wider than needed."""
        parts = [cell.partition(".") for cell in cells]
        left = max((len(head) for head, _, _ in parts), default=0)
        right = max((len(dot + tail) for _, dot, tail in parts), default=0)
        above = _lines(heading, max(left + right, _HEADING))
        width = max(left + right, *map(len, above))
        aligned = [(head.rjust(left) + (dot + tail).ljust(right)).rjust(width) for head, dot, tail in parts]
        return cls([line.rjust(width) for line in above], aligned, width)


def _runs(widths: Sequence[int], room: int) -> Iterator[slice]:
    """Runs of neighbouring columns that fit the room, at least one column each."""
    start, used = 0, 0
    for j, width in enumerate(widths):
        if used + width > room and j > start:
            yield slice(start, j)
            start, used = j, 0
        used += width
    yield slice(start, len(widths))


def _block(labels: list[list[str]], side: int, columns: list[_Column]) -> list[str]:
    height = max((len(column.heading) for column in columns), default=0)
    above = [[""] * (height - len(column.heading)) + column.heading for column in columns]
    gap = " " * _GAP
    lines = [
        gap.join(["".ljust(side), *(h.rjust(c.width) for h, c in zip(line, columns, strict=True))])
        for line in zip(*above, strict=True)
    ]
    for i, (first, *more) in enumerate(labels):
        if not any(column.cells[i].strip() for column in columns):
            continue
        lines += [gap.join([first.ljust(side), *(column.cells[i] for column in columns)]), *more]
    return [line.rstrip() for line in lines]
