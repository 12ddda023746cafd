"""Tables of a paper as LaTeX and as Markdown."""

from collections.abc import Iterable

from bayesmeta.display.escapes import for_latex, for_markdown, latex_row
from bayesmeta.display.paper import FIGURE_SPACE, POINT_SPACE, PaperTable


def paper_latex(tables: Iterable[PaperTable]) -> str:
    r"""A floating `table` for each, with booktabs' rules, the caption above and the notes below.

    >>> from bayesmeta.display.paper import Section
    >>> rows = (("τ²", "0.34"), ("I² (%)", "92.1"))
    >>> print(paper_latex([PaperTable("Trials", ("Estimate",), (Section("Heterogeneity", rows),), ("By REML.",))]))
    \begin{table}
    \centering
    \caption{Trials}
    \begin{tabular}{lr}
    \toprule
     & Estimate \\
    \midrule
    \multicolumn{2}{l}{\textit{Heterogeneity}} \\
    $\tau$\textsuperscript{2} & 0.34 \\
    I\textsuperscript{2} (\%) & 92.1\phantom{0} \\
    \bottomrule
    \end{tabular}
    \par\smallskip
    \begin{minipage}{\linewidth}\footnotesize
    By REML.
    \end{minipage}
    \end{table}
    """
    return "\n\n".join("\n".join(_latex(table)) for table in tables)


def _latex(table: PaperTable) -> Iterable[str]:
    yield from (r"\begin{table}", r"\centering")
    if table.caption:
        yield rf"\caption{{{for_latex(table.caption)}}}"
    yield from (rf"\begin{{tabular}}{{l{'r' * len(table.header)}}}", r"\toprule")
    yield from (latex_row((table.stub, *table.header)), r"\midrule")
    for i, section in enumerate(table.aligned().sections):
        if section.title:
            yield from [r"\addlinespace"] * bool(i)
            yield rf"\multicolumn{{{1 + len(table.header)}}}{{l}}{{\textit{{{for_latex(section.title)}}}}} \\"
        for row in section.rows:
            yield latex_row(row, _cell)
    yield from (r"\bottomrule", r"\end{tabular}")
    if table.foot:
        yield from (r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize")
        yield "\\par\n".join(map(for_latex, table.foot))
        yield r"\end{minipage}"
    yield r"\end{table}"


def _cell(text: str) -> str:
    """A cell, its padding as the empty space that digits would take."""
    number = text.rstrip(FIGURE_SPACE + POINT_SPACE)
    missing = text[len(number) :].replace(POINT_SPACE, ".").replace(FIGURE_SPACE, "0")
    return for_latex(number) + (rf"\phantom{{{missing}}}" if missing else "")


def paper_markdown(tables: Iterable[PaperTable]) -> str:
    """A pipe table for each, with the caption above and the notes below.

    >>> from bayesmeta.display.paper import Section
    >>> print(paper_markdown([PaperTable("Trials", ("OR",), (Section("", (("Aronson", "0.39"),)),), ("By REML.",))]))
    **Trials**
    <BLANKLINE>
    |  | OR |
    | :-- | --: |
    | Aronson | 0.39 |
    <BLANKLINE>
    By REML.
    """
    return "\n\n".join("\n\n".join(_markdown(table)) for table in tables)


def _markdown(table: PaperTable) -> Iterable[str]:
    if table.caption:
        yield f"**{for_markdown(table.caption)}**"
    lines = [(for_markdown(table.stub), *map(for_markdown, table.header)), (":--", *["--:"] * len(table.header))]
    for section in table.sections:
        if section.title:
            lines.append((f"*{for_markdown(section.title)}*", *[""] * len(table.header)))
        lines += [tuple(map(for_markdown, row)) for row in section.rows]
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    yield from map(for_markdown, table.foot)
