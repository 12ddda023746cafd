"""Pages as text, HTML, Markdown and LaTeX: the same blocks and the same digits, each with its own escapes."""

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence

from bayesmeta.display import tables
from bayesmeta.display.escapes import for_latex, for_markdown, latex_row
from bayesmeta.display.tables import Block, Facts, Table


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
