"""Pages as Markdown and LaTeX: the digits of the printed page, and nothing that is read as markup by accident."""

import re

import pandas as pd
import pytest
import xarray as xr

import bayesmeta as bm
from bayesmeta.display.export import Page, latex, markdown
from bayesmeta.display.tables import Block, Facts, Table

AWKWARD = r"a_b*c*`d`~e~|f|<g>\h$i$&amp;[j](k)#{l}^m%--n"
UNESCAPED = {"latex": re.compile(r"(?<!\\)[_#%~|<>`]"), "markdown": re.compile(r"(?<!\\)[_*`~|<>$&]")}


@pytest.fixture(scope="module")
def school() -> dict[str, xr.DataTree]:
    data = bm.datasets.load("school")
    random = {"one": "1 | district", "year_2": "1 | district/study"}
    return {name: bm.fit(bm.specify("effect ~ 1", data, S="var", random=r), method="ml") for name, r in random.items()}


def pages(trees: dict[str, xr.DataTree]) -> list[Page]:
    return [bm.summary(trees["one"]), bm.summary(trees["year_2"], components="variance"), bm.compare(trees)]


def tables(page: Page) -> list[Table]:
    return [block for block in page.blocks() if isinstance(block, Table)]


def read_markdown(text: str) -> list[list[list[str]]]:
    """The cells of every pipe table, without the line of dashes, unescaped."""
    runs = [block.splitlines() for block in re.findall(r"(?:^\|.*\|$\n?)+", text, re.M)]
    cells = [[re.split(r"(?<!\\)\|", line)[1:-1] for line in run] for run in runs]
    assert all(set("".join(run[1])) <= set(" :-") for run in cells)
    return [
        [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for i, row in enumerate(r) if i != 1] for r in cells
    ]


def read_latex(text: str) -> list[list[list[str]]]:
    """The cells of every tabular, unescaped as far as these pages need it."""
    plain = {r"$-$": "-", "$<$": "<", r"\%": "%", r"\_": "_", r"\textasciitilde{}": "~", r"\textbar{}": "|"}
    bodies = re.findall(r"\\begin\{tabular\}\{l(r+)\}\n\\toprule\n(.*?)\\bottomrule", text, re.S)
    found = []
    for columns, body in bodies:
        rows = [line.removesuffix(r" \\").split(" & ") for line in body.splitlines() if line != r"\midrule"]
        assert {len(row) for row in rows} == {1 + len(columns)}
        for old, new in plain.items():
            rows = [[cell.replace(old, new).strip() for cell in row] for row in rows]
        found.append(rows)
    return found


def test_every_cell_is_that_of_the_printed_page(school) -> None:
    for page in pages(school):
        expected = [[["", *t.header], *map(list, t.rows)] for t in tables(page)]
        assert len(expected) > 1
        assert read_markdown(page.to_markdown()) == expected
        assert read_latex(page.to_latex()) == expected
        for cell in {cell for table in expected for row in table[1:] for cell in row[1:]}:
            assert cell in str(page)


def test_titles_facts_and_notes_are_exported_too(school) -> None:
    for page in pages(school):
        for block in page.blocks():
            words = [block.title, *(sum(block.pairs, ()) if isinstance(block, Facts) else ())]
            for word in filter(None, words):
                assert markdown([Facts((), word)]).strip("*\n") in page.to_markdown()
                assert (
                    latex([Facts((), word)]).splitlines()[0].removeprefix(r"\noindent\textbf{")[:-1] in page.to_latex()
                )


def test_table_2_in_latex(school) -> None:
    page = bm.compare(school).to_latex()
    assert page.count(r"\begin{table}") == page.count(r"\end{table}") == page.count(r"\caption{") == 2
    assert r"beta[Intercept] & 0.1965 (0.0858) & 0.1845 (0.0805) \\" in page
    assert r"\caption{Estimates (standard errors) and 95\% intervals}" in page
    assert r"year\_2 & $-$8.395 & 22.790" in page
    for rule in ("toprule", "midrule", "bottomrule"):
        assert page.count(f"\\{rule}\n") == 2


def awkward_blocks() -> list[Block]:
    return [Facts(((AWKWARD, AWKWARD),), AWKWARD), Table(AWKWARD, (AWKWARD, "x"), ((AWKWARD, "-0.5", "-"),))]


def test_markup_in_labels_is_escaped() -> None:
    for line in markdown(awkward_blocks()).replace("**", "").splitlines():
        if line and set(line) - set("| :-"):
            inner = re.sub(r"^\| | \|$| \| ", "", line)
            assert not UNESCAPED["markdown"].search(inner), inner
            assert "](" not in inner.replace(r"\](", "")
    page = latex(awkward_blocks()).replace("$-$", "").replace("$<$", "").replace("$>$", "")
    assert not UNESCAPED["latex"].search(page)
    assert page.count(r"\textasciicircum{}") == page.count(r"\textbackslash{}") == page.count(r"\{l\}") == 6
    assert r"-{}-n" in page


def test_a_pipe_does_not_break_a_row() -> None:
    page = markdown([Table("", ("a|b",), (("c\n|d", "1"),))])
    assert read_markdown(page) == [[["", "a|b"], ["c |d", "1"]]]


@pytest.mark.parametrize("label", ["[1] a", "*a"])
def test_a_label_is_no_argument_of_the_end_of_a_row(label: str) -> None:
    r"""LaTeX reads `\\ [1]` and `\\ *` as one command."""
    assert f"\n{{}}{label} & 1 \\\\\n" in latex([Table("", ("x",), (("b", "2"), (label, "1")))])


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("-0.5", "$-$0.5"),
        ("[-0.1, -0.2]", "[$-$0.1, $-$0.2]"),
        ("-", "--"),
        ("-inf", "$-$inf"),
        ("6.1e-12", "6.1e-12"),
        ("p-value", "p-value"),
        ("<0.0001", "$<$0.0001"),
    ],
)
def test_minus_signs(cell: str, text: str) -> None:
    assert f"a & {text} \\\\" in latex([Table("", ("x",), (("a", cell),))])


def test_a_page_prints_shows_and_exports_by_its_blocks_alone() -> None:
    class Two(Page):
        def blocks(self) -> list[Block]:
            return [Table("T", ("x",), (("a", "1.5"),)), Facts((("note", "n"),))]

    assert str(Two()) == "T\n     x\na  1.5\n\nnote  n"
    assert Two()._repr_html_().count("<table>") == 2
    assert Two().to_markdown() == "**T**\n\n|  | x |\n| :-- | --: |\n| a | 1.5 |\n\n- **note**: n"
    assert Two().to_latex().endswith("\\begin{description}\n\\item[{note}] n\n\\end{description}")


def test_frames_are_there_for_everything_else(school) -> None:
    for page in pages(school):
        assert isinstance(page.to_dataframe(), pd.DataFrame)  # type: ignore[attr-defined]
