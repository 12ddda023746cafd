"""Pages as text, HTML, Markdown and LaTeX, and as tables of a paper: the same digits, each with its own escapes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

from bayesmeta.display import tables
from bayesmeta.display.escapes import for_latex, for_markdown, latex_row
from bayesmeta.display.paper import PaperTable, paper_tables
from bayesmeta.display.paper_files import write_tables
from bayesmeta.display.paper_html import great_tables, paper_html
from bayesmeta.display.paper_word import paper_word
from bayesmeta.display.tables import Block, Facts, Table

if TYPE_CHECKING:
    from docx.document import Document
    from great_tables import GT


class Page(ABC):
    """A result that people read: it prints in a terminal, shows as tables in a notebook, and goes into a manuscript.

    A subclass says what its `blocks` are, in order.

    >>> class Sizes(Page):
    ...     def blocks(self):
    ...         return [Table("Sizes", ("n", "P(Q > q)"), (("a_1", "12", "<0.0001"),))]
    >>> Sizes()
    Sizes
          n  P(Q > q)
    a_1  12   <0.0001
    >>> print(Sizes().to_markdown())
    **Sizes**
    <BLANKLINE>
    |  | n | P(Q \\> q) |
    | :-- | --: | --: |
    | a\\_1 | 12 | \\<0.0001 |
    """

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """The parts of the page, in order."""

    def __repr__(self) -> str:
        return tables.text(self.blocks(), tables.page_width())

    def _repr_html_(self) -> str:
        return tables.html(self.blocks())

    def to_markdown(self) -> str:
        """The page in Markdown with pipe tables (GitHub, Jupyter, Quarto, Pandoc)."""
        return markdown(self.blocks())

    def to_latex(self) -> str:
        r"""The page in LaTeX: a floating `table` with its caption for every table; needs `\usepackage{booktabs}`."""
        return latex(self.blocks())

    def paper(self) -> list[PaperTable]:
        """The tables of the page as journals print them, which `save` and the methods below it write."""
        return paper_tables(self.blocks())

    def save(self, path: str | PathLike[str]) -> Path:
        """Save the tables as journals print them: captions above, notes below, no vertical lines.

        Parameters
        ----------
        path : str or path-like
            Its extension says what is written: .docx (Word), .html, .tex (LaTeX, needs the package booktabs), .md
            (Markdown); or by a headless Chrome or Chromium .png, .jpg, .webp, .pdf. A file that is there already is
            replaced, whole or not at all.

        Returns
        -------
        Path
            The path.

        Raises
        ------
        SpecError
            For another extension, and where the packages of the extra `bayesmeta[tables]` are missing, without which
            there are .tex and .md alone.
        DataError
            Where there is no such folder, or the file cannot be written.
        BayesmetaError
            Where no browser can draw a picture.

        Examples
        --------
        >>> import bayesmeta as bm, tempfile
        >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     bm.summary(fit).save(f"{folder}/table1.docx").name
        'table1.docx'
        """
        return write_tables(self.paper(), path)

    def to_html(self) -> str:
        """The tables as journals print them: a whole page of HTML, made by great_tables, that needs no network."""
        return paper_html(self.paper(), "to_html")

    def to_great_tables(self) -> "list[GT]":
        """The tables as journals print them, each one of great_tables, to go on with."""
        return great_tables(self.paper(), "to_great_tables")

    def to_word(self, document: "Document | None" = None) -> "Document":
        """The tables as journals print them in a document of python-docx, to go on with.

        Parameters
        ----------
        document : docx.document.Document, optional
            One that is begun, to whose end the tables are added, as wide as its pages allow; by default a new one.

        Returns
        -------
        docx.document.Document
            The document; its method `save` writes it.

        Raises
        ------
        SpecError
            For anything but a document of python-docx, and where python-docx is not installed.

        Examples
        --------
        >>> import bayesmeta as bm
        >>> fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
        >>> paper = bm.methods_text(fit).to_word()
        >>> len(bm.summary(fit).to_word(paper).tables)
        1
        """
        return paper_word(self.paper(), "to_word", document)


def markdown(blocks: Iterable[Block]) -> str:
    """Blocks in Markdown: a pipe table for each table, a list for each set of facts, titles in bold."""
    return "\n\n".join(
        _markdown_facts(block) if isinstance(block, Facts) else _markdown_table(block) for block in blocks
    )


def latex(blocks: Iterable[Block]) -> str:
    r"""Blocks in LaTeX: booktabs for each table, a description for each set of facts.

    >>> print(latex([Table("Fit (95% intervals)", ("x_1", "p"), (("[1] a~b", "-0.5", "<0.0001"),))]))
    \begin{table}
    \centering
    \caption{Fit (95\% intervals)}
    \begin{tabular}{lrr}
    \toprule
     & x\_1 & p \\
    \midrule
    {}[1] a\textasciitilde{}b & $-$0.5 & $<$0.0001 \\
    \bottomrule
    \end{tabular}
    \end{table}
    """
    return "\n\n".join(_latex_facts(block) if isinstance(block, Facts) else _latex_table(block) for block in blocks)


def _markdown_facts(facts: Facts) -> str:
    items = [f"- **{for_markdown(label)}**: {for_markdown(value)}" for label, value in facts.pairs]
    return "\n".join([*_bold(facts.title), *items])


def _markdown_table(table: Table) -> str:
    head = _piped(map(for_markdown, ("", *table.header)))
    rows = [_piped(map(for_markdown, row)) for row in table.rows]
    return "\n".join([*_bold(table.title), head, _piped([":--", *["--:"] * len(table.header)]), *rows])


def _bold(title: str) -> list[str]:
    return [f"**{for_markdown(title)}**", ""] if title else []


def _piped(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _latex_facts(facts: Facts) -> str:
    title = [rf"\noindent\textbf{{{for_latex(facts.title)}}}"] if facts.title else []
    items = [rf"\item[{{{for_latex(label)}}}] {for_latex(value)}" for label, value in facts.pairs]
    return "\n".join([*title, r"\begin{description}", *items, r"\end{description}"])


def _latex_table(table: Table) -> str:
    caption = [rf"\caption{{{for_latex(table.title)}}}"] if table.title else []
    return "\n".join(
        [
            *(r"\begin{table}", r"\centering", *caption),
            *(
                rf"\begin{{tabular}}{{l{'r' * len(table.header)}}}",
                r"\toprule",
                latex_row(("", *table.header)),
                r"\midrule",
            ),
            *map(latex_row, table.rows),
            *(r"\bottomrule", r"\end{tabular}", r"\end{table}"),
        ]
    )
