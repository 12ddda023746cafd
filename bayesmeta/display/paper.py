"""Tables as journals print them: a caption above, rows in sections, intervals in one column, and notes below.

The same numbers as those of the page that is printed: what changes is where they stand and the signs around them.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.display.tables import MINUS, NOTHING, Block, Facts, Table, fixed

ALARM = "WARNING"  # the label of a sentence that says not to trust the numbers
FIGURE_SPACE, POINT_SPACE = "\N{FIGURE SPACE}", "\N{PUNCTUATION SPACE}"  # as wide as a digit, and as a point
DASH, TO = "\N{EN DASH}", " to "
_BOUNDS = ("lower", "upper")
_HEADINGS = {
    "estimate": "Estimate",
    "se": "SE",
    "sd": "SD",
    "mean": "Mean",
    "p-value": "p",
    "pvalue": "p",
    "tau": "τ",
    **{name: name.capitalize() for name in ("lower", "upper", "response", "probability", "variance", "statistic")},
}
_ABBREVIATIONS = {
    "CI": "confidence interval",
    "CrI": "credible interval (equal-tailed)",
    "PI": "prediction interval",
    "SE": "standard error",
    "SD": "standard deviation",
}
_NEGATIVE = re.compile(r"(?<![\w)\].])-(?=[\d.]|inf)")
_DIFFERENCE = re.compile(r"(?<=\w) - (?=\w)")
_EXPONENT = re.compile(r"(?<=\d)e-(?=\d)")
_SQUARES = re.compile(r"\b(tau|chi|I|H|R)2(?=\b|_)")
_GREEK = re.compile(r"\b(tau|chi|rho|psi)(?=\b|²|\[)")
_LETTERS = {"tau": "τ", "chi": "χ", "rho": "ρ", "psi": "ψ"}
_WORDS = {NOTHING: DASH, "inf": "∞", "-inf": f"{MINUS}∞"}
_BRACKETS = re.compile(r"\[([^\[\],]+), ([^\[\],]+)\]")
_PARAMETER = re.compile(r"(beta|tau2?|rho|psi)\[(.*)\]")
_PROBABILITY = re.compile(r" \([\d.]+% intervals(?:, (.*))?\)$")  # in titles of pages; papers have it in headings
_METHOD_OF_INTERVALS = {"Wald": "Wald intervals", "by Q-profile": "intervals by Q-profile"}


@dataclass(frozen=True)
class Section:
    """Rows under a heading of their own; "" for none.  rows : per row the label and one cell per column."""

    title: str
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class PaperTable:
    """One table of a paper.

    stub : heading of the labels.  header : those of the other columns.  notes : the sentences below.
    alarms : reasons not to trust the numbers, which stand before the notes.
    """

    caption: str
    header: tuple[str, ...]
    sections: tuple[Section, ...]
    notes: tuple[str, ...] = ()
    stub: str = ""
    alarms: tuple[str, ...] = ()

    @property
    def foot(self) -> list[str]:
        """The paragraphs below: every alarm, and the notes in one."""
        return [*self.alarms, *([" ".join(self.notes)] if self.notes else [])]

    @property
    def rows(self) -> list[tuple[str, ...]]:
        return [row for section in self.sections for row in section.rows]

    def aligned(self) -> "PaperTable":
        """The same with cells padded so that decimal points of a column lie below one another at the right margin."""
        columns = [decimal_aligned([row[j + 1] for row in self.rows]) for j in range(len(self.header))]
        cells = iter(zip(*columns, strict=True) if columns else [() for _ in self.rows])
        sections = [
            Section(section.title, tuple((label, *next(cells)) for label, *_ in section.rows))
            for section in self.sections
        ]
        return replace(self, sections=tuple(sections))


def paper_tables(
    blocks: Iterable[Block],
    interval: str = "Interval",
    notes: Sequence[str] = (),
    label: Callable[[str], str] = str,
    caption: str = "",
) -> list[PaperTable]:
    """Blocks of a page as tables of a paper.

    Tables whose columns the one before has too become its sections. Facts become notes below the table that they
    follow, those at the beginning below the first; reasons not to trust the numbers stand below every table, first.

    interval : heading of columns of intervals.  notes : further ones, below the first table.
    label : what the label of a row is in a paper.
    caption : of the first table; by default the title of the facts at the beginning.
    """
    blocks = list(blocks)
    caption = caption or (blocks[0].title if isinstance(blocks[0], Facts) else "")
    alarms = [_sentence(*pair) for block in blocks if isinstance(block, Facts) for pair in block.pairs if _alarms(pair)]
    tables: list[PaperTable] = []
    before: list[str] = []
    for i, block in enumerate(blocks):
        if isinstance(block, Facts):
            words = _notes(block, bool(i))
            if tables:
                tables[-1] = replace(tables[-1], notes=(*tables[-1].notes, *words))
            else:
                before += words
            continue
        table = _of_table(block, interval, label)
        if tables and set(table.header) <= set(tables[-1].header):
            tables[-1] = _joined(tables[-1], table)
        else:
            tables.append(table)
    if not tables:
        tables, before = [PaperTable("", (), ())], before
    tables[0] = replace(tables[0], notes=(*before, *notes, *tables[0].notes))
    return [_finished(table, caption if j == 0 else "", alarms) for j, table in enumerate(tables)]


def _alarms(pair: tuple[str, str]) -> bool:
    return pair[0] == ALARM


def _notes(facts: Facts, titled: bool) -> list[str]:
    """One note for each fact; of facts under a title one for all of them."""
    pairs = [pair for pair in facts.pairs if not _alarms(pair)]
    if titled and facts.title and pairs:
        return [_sentence(facts.title, "; ".join(f"{label} {value}".strip() for label, value in pairs))]
    return [_sentence(*pair) for pair in pairs]


def _sentence(label: str, value: str) -> str:
    text = f"{label}: {value}" if label and label != "note" else value
    text = f"{text[:1].upper()}{text[1:]}" if label in ("note", "response") else text
    return typeset_text(text if text.endswith((".", "!", "?")) else f"{text}.")


def _of_table(table: Table, interval: str, label: Callable[[str], str]) -> PaperTable:
    """One table, its bounds in one column."""
    at = [j for j in range(len(table.header) - 1) if table.header[j : j + 2] == _BOUNDS]
    groups = [(j, j + 1) if j in at else (j,) for j in range(len(table.header)) if j - 1 not in at]
    header = tuple(interval if len(group) > 1 else heading(table.header[group[0]]) for group in groups)
    rows = tuple((label(row[0]), *(_cell([row[j + 1] for j in group]) for group in groups)) for row in table.rows)
    title = symbols(table.title)
    notes: tuple[str, ...] = ()
    if at and (match := _PROBABILITY.search(title)):
        title = title[: match.start()]
        notes = (f"{title}: {_METHOD_OF_INTERVALS.get(match[1], match[1])}.",) if match[1] else ()
    return PaperTable("", header, (Section(title, rows),), notes)


def _joined(above: PaperTable, below: PaperTable) -> PaperTable:
    """Two tables in one: the columns of the second are among those of the first."""
    places = [below.header.index(name) if first else -1 for name, first in _first_of_its_name(above.header, below)]
    rows = tuple(
        (row[0], *(row[j + 1] if j >= 0 else "" for j in places)) for section in below.sections for row in section.rows
    )
    sections = (*above.sections, Section(below.sections[0].title, rows))
    return replace(above, sections=sections, notes=(*above.notes, *below.notes))


def _first_of_its_name(header: Sequence[str], below: PaperTable) -> list[tuple[str, bool]]:
    """Whether a column of the first table takes one of the second: none does so twice."""
    return [(name, name in below.header and name not in header[:j]) for j, name in enumerate(header)]


def _finished(table: PaperTable, caption: str, alarms: Sequence[str]) -> PaperTable:
    """With its caption, which the title of a single section is part of, and the meaning of abbreviations."""
    sections = table.sections
    if len(sections) == 1:
        caption = ". ".join(filter(None, (caption, sections[0].title)))
        sections = (Section("", sections[0].rows),)
    words = [f"{short}, {long}" for short, long in _ABBREVIATIONS.items() if _used(short, table.header)]
    meaning = [f"{'; '.join(words)}."] if words else []
    return replace(table, caption=caption, sections=sections, notes=(*table.notes, *meaning), alarms=tuple(alarms))


def _used(short: str, header: Sequence[str]) -> bool:
    return any(re.search(rf"\b{short}\b", name) for name in header)


def heading(name: str) -> str:
    """The heading of a column of numbers; names that are not ours, as those of models, stay as they are.

    >>> heading("se"), heading("corr PD"), heading("AIC - least"), heading("I2 (%, from tau2)")
    ('SE', 'corr PD', 'AIC − least', 'I² (%, from τ²)')
    """
    return _HEADINGS.get(name, typeset_text(name))


def _cell(parts: Sequence[str]) -> str:
    if len(parts) == 1 or not any(parts):
        return typeset(parts[0])
    return interval_text(*parts)


def interval_text(lower: str, upper: str) -> str:
    """
    >>> interval_text("-1.11", "-0.38")
    '−1.11 to −0.38'
    """
    return f"{typeset(lower)}{TO}{typeset(upper)}" if lower != NOTHING or upper != NOTHING else DASH


def square_cells(names: Sequence[str], below: FloatArray, above: FloatArray, places: int) -> list[list[str]]:
    """Estimates with their intervals for every two names: (3, T, T) for those below and those above the diagonal.

    A cell without a number is empty; on the diagonal are the names.

    >>> values = np.array([0.5, -1.11, 0.38])[:, None, None] * np.ones((2, 2))
    >>> square_cells(["A", "B"], values, values * np.nan, 1)
    [['A', ''], ['0.5 (−1.1 to 0.4)', 'B']]
    """

    def cell(values: FloatArray) -> str:
        mean, low, high = (fixed(x, places) for x in values.tolist())
        return f"{typeset(mean)} ({interval_text(low, high)})" if np.isfinite(values[0]) else ""

    return [
        [row if i == j else cell((above if i < j else below)[:, i, j]) for j in range(len(names))]
        for i, row in enumerate(names)
    ]


def typeset(cell: str) -> str:
    """A cell with true minus signs, a dash where there is nothing, and intervals in words.

    >>> typeset("-0.74 (0.19)"), typeset("[-1.11, -0.38]"), typeset("-"), typeset("6.100e-12"), typeset("2-5 years")
    ('−0.74 (0.19)', '(−1.11 to −0.38)', '–', '6.100e−12', '2-5 years')
    """
    if cell in _WORDS:
        return _WORDS[cell]
    return _EXPONENT.sub(f"e{MINUS}", _NEGATIVE.sub(MINUS, _BRACKETS.sub(rf"(\1{TO}\2)", cell)))


def typeset_text(text: str) -> str:
    """A sentence with true minus signs and the letters of statistics."""
    return symbols(_NEGATIVE.sub(MINUS, _DIFFERENCE.sub(f" {MINUS} ", text)))


def symbols(text: str) -> str:
    """Words for statistics as they are printed in papers.

    >>> symbols("tau2 and I2 (%, from tau2); chi2 = 3.1; rho[study, a~b]"), symbols("beta2, I20")
    ('τ² and I² (%, from τ²); χ² = 3.1; ρ[study, a~b]', 'beta2, I20')
    """
    return _GREEK.sub(lambda match: _LETTERS[match[1]], _SQUARES.sub(r"\1²", text))


def parameter_label(label: str) -> str:
    """A parameter as a reader of the table knows it: coefficients by name, variances by letter and place.

    >>> parameter_label("beta[ablat]"), parameter_label("tau2[unit, Intercept]"), parameter_label("tau[district, year]")
    ('ablat', 'τ²', 'τ (district, year)')
    """
    match = _PARAMETER.fullmatch(label)
    if match is None:
        words = symbols(label)
        return words[:1].upper() + words[1:] if label.startswith("prediction") else words
    if match[1] == "beta":
        return match[2]
    level, _, effect = match[2].partition(", ")
    place = ", ".join(part for part in (level, effect) if part not in ("unit", "Intercept", ""))
    return symbols(match[1]) + (f" ({place})" if place else "")


def decimal_aligned(cells: Sequence[str]) -> list[str]:
    """Cells that are numbers padded on the right with spaces as wide as digits, so that their points are in one line.

    >>> [cell.replace(FIGURE_SPACE, "0").replace(POINT_SPACE, ".") for cell in decimal_aligned(["1.25", "10", "", "–"])]
    ['1.25', '10.00', '', '–']
    """
    tails = [_tail(cell) for cell in cells]
    longest = max((len(tail) for tail in tails if tail is not None), default=0)
    return [
        cell if tail is None else cell + _padding(longest - len(tail), bool(tail))
        for cell, tail in zip(cells, tails, strict=True)
    ]


def _tail(cell: str) -> str | None:
    """The point and what follows it; None for what is not a number."""
    match = re.fullmatch(rf"[<>{MINUS}]?[\d,]+(\.\d+)?", cell)
    return None if match is None else match[1] or ""


def _padding(places: int, has_point: bool) -> str:
    if places <= 0:
        return ""
    return FIGURE_SPACE * places if has_point else POINT_SPACE + FIGURE_SPACE * (places - 1)
