"""What a report is made of: sections, and in them words, formulas, tables, pictures and lines of code."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from markupsafe import Markup

from bayesmeta.display.tables import Facts, Table


@dataclass(frozen=True)
class Words:
    """Sentences, each a paragraph."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Notes:
    """Sentences that a reader must not miss, in a list; alarm : they forbid to trust the numbers."""

    title: str
    sentences: tuple[str, ...]
    alarm: bool = False


@dataclass(frozen=True)
class Equations:
    """Lines of MathML, and the same in words."""

    lines: tuple[Markup, ...]
    words: str


@dataclass(frozen=True)
class Code:
    """Lines to be copied; language : "sh" or "python"."""

    title: str
    text: str
    language: str


@dataclass(frozen=True)
class Picture:
    """A picture within the page.

    alt : what it shows, for those who cannot see it. caption : how to read it, for all. uri : the image itself.
    width, height : in CSS pixels, as it was drawn.
    """

    title: str
    alt: str
    caption: str
    uri: str
    width: int
    height: int


Block = Words | Notes | Equations | Code | Picture | Facts | Table


@dataclass(frozen=True)
class Section:
    """A heading with what stands under it; `of` tells apart the sections of several models that have one title."""

    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple["Section", ...] = ()
    of: str = ""
    anchor: str = field(default="", compare=False)


@dataclass(frozen=True)
class Finding:
    """One line of the summary at the top; ok : whether the numbers can be trusted, None where nothing is judged."""

    text: str
    ok: bool | None = None


@dataclass(frozen=True)
class Page:
    """A whole report."""

    title: str
    citation: str
    findings: tuple[tuple[str, tuple[Finding, ...]], ...]
    sections: tuple[Section, ...]
    written: str


def blocks(*given: Block | None) -> tuple[Block, ...]:
    """Those that are there."""
    return tuple(block for block in given if block is not None)


def notes(title: str, sentences: Iterable[str], alarm: bool = False) -> Notes | None:
    found = tuple(sentences)
    return Notes(title, found, alarm) if found else None


def words(*sentences: str) -> Words | None:
    found = tuple(sentence for sentence in sentences if sentence)
    return Words(found) if found else None


def numbered(sections: Iterable[Section], prefix: str = "s") -> tuple[Section, ...]:
    """The same sections with anchors that no words of the user are in."""
    return tuple(
        Section(each.title, each.blocks, numbered(each.sections, f"{prefix}{i}-"), each.of, f"{prefix}{i}")
        for i, each in enumerate(sections, 1)
    )
