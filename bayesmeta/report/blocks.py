"""What a report is made of: sections with paragraphs, notes, formulas, tables, pictures and code."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from markupsafe import Markup

from bayesmeta.display.tables import Facts, Table


@dataclass(frozen=True)
class Paragraphs:
    """Sentences, each a paragraph of its own."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Notes:
    """A list of sentences that a reader must not miss; alarm : they are reasons not to trust the numbers."""

    title: str
    sentences: tuple[str, ...]
    alarm: bool = False


@dataclass(frozen=True)
class Equations:
    """Lines of MathML, and the same model in words."""

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


Block = Paragraphs | Notes | Equations | Code | Picture | Facts | Table


@dataclass(frozen=True)
class Section:
    """A heading with its content.

    of : distinguishes sections of several models with the same title. folded : whether readers see the heading alone
        until they open it; paper has what is open.
    """

    title: str
    blocks: tuple[Block, ...] = ()
    sections: tuple["Section", ...] = ()
    of: str = ""
    folded: bool = False
    anchor: str = field(default="", compare=False)


@dataclass(frozen=True)
class Finding:
    """One line of the summary at the top; ok : whether the numbers can be trusted, None where it does not say."""

    text: str
    ok: bool | None = None


@dataclass(frozen=True)
class ReportPage:
    """A whole report.

    findings : of every model, by its name. lead : the pictures beside those of the first.
    """

    title: str
    citation: str
    findings: tuple[tuple[str, tuple[Finding, ...]], ...]
    sections: tuple[Section, ...]
    written: str
    lead: tuple[Block, ...] = ()


def blocks(*candidates: Block | None) -> tuple[Block, ...]:
    """Those that are not None."""
    return tuple(block for block in candidates if block is not None)


def notes(title: str, sentences: Iterable[str], alarm: bool = False) -> Notes | None:
    texts = tuple(sentences)
    return Notes(title, texts, alarm) if texts else None


def paragraphs(*sentences: str) -> Paragraphs | None:
    texts = tuple(sentence for sentence in sentences if sentence)
    return Paragraphs(texts) if texts else None


def numbered(sections: Iterable[Section], prefix: str = "s") -> tuple[Section, ...]:
    """The same sections with anchors that contain no text of the user's."""
    return tuple(
        replace(each, sections=numbered(each.sections, f"{prefix}{i}-"), anchor=f"{prefix}{i}")
        for i, each in enumerate(sections, 1)
    )
