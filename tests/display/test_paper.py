"""Tables as journals print them: the numbers of the printed page in another form, the same in every kind of file."""

import re
import warnings
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import docx
import pytest
import xarray as xr
from docx.oxml.ns import qn

import bayesmeta as bm
from bayesmeta.display import paper_files
from bayesmeta.display.export import Page
from bayesmeta.display.paper import (
    DASH,
    FIGURE_SPACE,
    POINT_SPACE,
    PaperTable,
    Section,
    decimal_aligned,
    paper_tables,
    symbols,
    typeset,
)
from bayesmeta.display.tables import MINUS, Block, Facts, Table
from tests.support.posteriors import make_posterior

AWKWARD = r"<b>a</b> & \x_1^2 {c} 100% $ # ~ | * `d` [e](f) é"
NO_SPACE = re.compile(f"[{FIGURE_SPACE}{POINT_SPACE}\N{NO-BREAK SPACE}]")


@pytest.fixture(scope="module")
def pages() -> dict[str, Page]:
    """Summaries and comparisons of every shape that they have."""
    bcg, school, berkey = (bm.datasets.load(name) for name in ("bcg", "school", "berkey98"))
    bcg = bm.effects.odds_ratio(bcg, ("tpos", "cpos"), no_events=("tneg", "cneg"))
    pooled = bm.specify("y ~ 1", bcg, S="v")
    null, slope = (bm.fit(bm.specify(f, bcg, S="v"), "ml") for f in ("y ~ 1", "y ~ ablat"))
    both = bm.fit(bm.specify("PD + AL ~ 1", berkey, S=["var_PD", "cov_PD_AL", "var_AL"], psi="unstr"))
    levels = bm.fit(bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        posterior = make_posterior(pooled, draws=200)
    return {
        "pooled": bm.summary(bm.fit(pooled)),
        "response": bm.summary(bm.fit(pooled), scale="response"),
        "regression": bm.summary(slope),
        "outcomes": bm.summary(both),
        "levels": bm.summary(levels),
        "posterior": bm.summary(posterior),
        "comparison": bm.compare({"without": null, "ablat": slope}),
        "test": bm.lr_test(null, slope),
    }


def digits(text: str) -> list[str]:
    return re.findall(r"\d+(?:\.\d+)?", text)


def test_every_number_is_that_of_the_printed_page(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        tables = [block for block in page.blocks() if isinstance(block, Table)]
        printed = sorted(digits(" ".join(cell for table in tables for row in table.rows for cell in row[1:])))
        shown = sorted(digits(" ".join(cell for table in page.paper() for row in table.rows for cell in row[1:])))
        assert shown == printed, name
        assert printed


def test_nothing_that_the_page_says_is_lost(pages: dict[str, Page]) -> None:
    for name, page in pages.items():
        notes = " ".join(note for table in page.paper() for note in table.foot)
        for block in page.blocks():
            for _, value in block.pairs if isinstance(block, Facts) else ():
                assert set(digits(symbols(value))) <= set(digits(notes)), (name, value)


def test_the_summary_of_a_pooled_estimate(pages: dict[str, Page]) -> None:
    (table,) = pages["pooled"].paper()
    assert table.caption == "Random-effects model (k = 13): odds ratio"
    assert table.header == ("Estimate", "SE", "t", "p", "95% CI", "Odds ratio", "95% CI")
    assert [section.title for section in table.sections] == ["Fixed effects", "Heterogeneity"]
    rows = {row[0]: row[1:] for row in table.rows}
    assert rows["Pooled estimate"][:4] == ("−0.7452", "0.1867", "−3.99", "0.0018")
    assert rows["Pooled estimate"][4:] == ("−1.1520 to −0.3383", "0.4746", "0.3160 to 0.7130")
    assert rows["Prediction interval"] == ("", "", "", "", "−2.0752 to 0.5849", "", "0.1255 to 1.7947")
    assert rows["τ²"] == ("0.3378", "0.1793", "", "", "0.1301 to 1.1812", "", "")
    assert rows["I² (%, from τ²)"][4] == "81.74 to 97.60"
    notes = " ".join(table.notes)
    for words in (
        "restricted maximum likelihood (REML)",
        "on the scale of the model, the log odds ratio",
        "t with Knapp-Hartung standard errors, never smaller than the model's, df 12",
        "Estimate, SE, t and p",
        "I², share of the variation",
        "Heterogeneity: intervals by Q-profile",
        "CI, confidence interval; SE, standard error.",
    ):
        assert words in notes


def test_coefficients_are_called_by_their_names_and_levels_by_theirs(pages: dict[str, Page]) -> None:
    labels = {name: [row[0] for table in page.paper() for row in table.rows] for name, page in pages.items()}
    assert labels["regression"][:2] == ["Intercept", "ablat"]
    assert {"τ² (district)", "τ (study)"} <= set(labels["levels"])
    assert {"PD", "AL", "τ (PD)", "Prediction, PD"} <= set(labels["outcomes"])
    assert {"Intercept", "ablat", "τ"} <= set(labels["comparison"])
    assert not any("beta[" in note for note in pages["regression"].paper()[0].notes)


def test_intervals_of_posteriors_are_credible(pages: dict[str, Page]) -> None:
    table = pages["posterior"].paper()[0]
    assert table.header[:3] == ("Mean", "SD", "95% CrI")
    assert "CrI, credible interval (equal-tailed)" in " ".join(table.notes)
    assert "95% CI" not in table.header


def test_names_of_models_stay_as_they_are(pages: dict[str, Page]) -> None:
    estimates, criteria = pages["comparison"].paper()
    assert estimates.header == ("without", "ablat")
    assert estimates.rows[0][1:] == ("−0.7420 (0.1860)", "0.3711 (0.1540)")
    assert re.fullmatch(r"\(−1\.1473 to −0\.3367\)", estimates.rows[1][1])
    assert "AIC − least" in criteria.header


def test_a_reason_not_to_trust_the_numbers_stands_below_every_table() -> None:
    blocks: list[Block] = [
        Facts((("WARNING", "THE CHAINS DO NOT AGREE"), ("Method", "m")), "Model"),
        Table("One", ("x",), (("a", "1"),)),
        Table("Two", ("y",), (("b", "2"),)),
        Facts((("WARNING", "and more"),)),
    ]
    tables = paper_tables(blocks)
    assert len(tables) == 2
    for table in tables:
        assert table.foot[:2] == ["WARNING: THE CHAINS DO NOT AGREE.", "WARNING: and more."]
    assert tables[0].foot[2:] == ["Method: m."]


@pytest.mark.parametrize("kind", ["summary", "comparison", "studies", "heterogeneity"])
def test_a_posterior_that_has_not_converged_says_so_in_its_tables(kind: str, tmp_path: Path) -> None:
    tree = make_posterior(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar"), draws=50, r_hat=1.3)
    page = bm.compare(tree) if kind == "comparison" else bm.table(tree, kind)  # type: ignore[arg-type]
    for table in page.paper():
        assert table.foot[0].startswith("WARNING: ")
        assert "THE CHAINS DO NOT AGREE" in table.foot[0]
    for name in ("t.docx", "t.html", "t.tex", "t.md"):
        assert "THE CHAINS DO NOT AGREE" in read_text(page.save(tmp_path / name)), name


def read_text(path: Path) -> str:
    """What a file says, whatever its kind."""
    if path.suffix == ".docx":
        document = docx.Document(str(path))
        cells = [cell.text for table in document.tables for row in table.rows for cell in row.cells]
        return " ".join([*cells, *(paragraph.text for paragraph in document.paragraphs)])
    return unescape(path.read_text(encoding="utf-8"))


class Rows(HTMLParser):
    """The cells of all tables of a page, row by row."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.rows: list[list[str]] = []
        self.inside = False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")
            self.inside = True

    def handle_endtag(self, tag: str) -> None:
        self.inside = self.inside and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.inside:
            self.rows[-1][-1] += data


def cells_of(path: Path) -> Iterator[list[str]]:
    """The rows of all tables of a Word or HTML file, without the padding of numbers."""
    if path.suffix == ".docx":
        rows = [[cell.text for cell in row.cells] for table in docx.Document(str(path)).tables for row in table.rows]
    else:
        rows = Rows(path.read_text(encoding="utf-8")).rows
    for row in rows:
        yield [NO_SPACE.sub("", cell.replace("\N{NO-BREAK SPACE}to\N{NO-BREAK SPACE}", " to ")) for cell in row]


@pytest.mark.parametrize("suffix", [".docx", ".html"])
def test_word_and_html_have_every_cell(pages: dict[str, Page], suffix: str, tmp_path: Path) -> None:
    for name, page in pages.items():
        rows = list(cells_of(page.save(tmp_path / f"{name}{suffix}")))
        for table in page.paper():
            assert [table.stub, *table.header] in rows
            for row in table.rows:
                assert list(row) in rows, (name, row)


def awkward() -> Page:
    class Awkward(Page):
        def blocks(self) -> list[Block]:
            return [Table(AWKWARD, (AWKWARD, "x"), ((AWKWARD, "-0.5", "-"),)), Facts(((AWKWARD, AWKWARD),))]

    return Awkward()


@pytest.mark.parametrize("suffix", [".docx", ".html"])
def test_markup_in_labels_is_text(suffix: str, tmp_path: Path) -> None:
    path = awkward().save(tmp_path / f"a{suffix}")
    assert [AWKWARD, "−0.5", "–"] in list(cells_of(path))
    if suffix == ".html":
        assert "<b>a</b>" not in path.read_text(encoding="utf-8")


def test_the_page_of_html_is_whole_and_ids_are_its_tables_own(pages: dict[str, Page]) -> None:
    for page in pages.values():
        html = page.to_html()
        assert html.startswith("<!DOCTYPE html>")
        assert '<html lang="en">' in html
        assert "<script" not in html
        assert not re.search(r'(src|href)="?http', html)
        ids = re.findall(r'\sid="([^"]*)"', html)
        assert len(ids) == len(set(ids))
        for named in re.findall(r'aria-labelledby="([^"]*)"', html):
            assert named in ids
        assert page.to_html() == html


def test_great_tables_and_documents_are_there_to_go_on_with(pages: dict[str, Page]) -> None:
    for page in pages.values():
        drawn = page.to_great_tables()
        assert len(drawn) == len(page.paper())
        assert "<table" in drawn[0].as_raw_html()
        assert len(page.to_word().tables) == len(drawn)


def test_figure_tables_and_text_share_one_document(pages: dict[str, Page], tmp_path: Path) -> None:
    fit = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"))
    text = bm.methods_text(fit)
    paper = docx.Document()  # the pages and margins of another, narrower than those of `save`
    paper.add_heading("BCG", 0)
    assert text.to_word(paper) is paper
    assert bm.table(fit).to_word(paper) is paper
    bm.summary(fit).to_word(paper).save(tmp_path / "paper.docx")
    read = docx.Document(str(tmp_path / "paper.docx"))
    (section,) = read.sections
    room = section.page_width - section.left_margin - section.right_margin
    assert len(read.tables) == len(bm.table(fit).paper()) + len(bm.summary(fit).paper())
    for table in read.tables:
        assert sum(column.width for column in table.columns) <= room + 635 * len(
            table.columns
        )  # of a twip, to which each is rounded
    headings = [p.text for p in read.paragraphs if p.style is not None and p.style.name == "Heading 1"]
    assert headings == [title for title, _ in text.sections()]
    lines = [p.text for p in read.paragraphs]
    first = lines.index("References") + 1
    numbered = [f"{i}. {reference}" for i, reference in enumerate(text.references, 1)]
    assert lines[first : first + len(numbered)] == numbered
    apart = text.to_word(parts=["Methods", "Results"])
    text.to_word(apart, parts=["References"])
    assert [p.text for p in apart.paragraphs] == [p.text for p in text.to_word().paragraphs]
    with pytest.raises(bm.SpecError, match=r"^parts is \['Figures'\]; it must be a list of: Methods, Results, Ref"):
        text.to_word(parts=["Figures"])
    with pytest.raises(bm.SpecError, match="it must be a list of"):
        text.to_word(parts=[["Methods"]])  # type: ignore[list-item]
    assert section.orientation == docx.Document().sections[0].orientation


@pytest.mark.parametrize("document", ["paper.docx", 1, {}])
def test_documents_are_those_of_python_docx(document: object, pages: dict[str, Page]) -> None:
    with pytest.raises(bm.SpecError, match=r"^document is .*; it must be a document of python-docx"):
        pages["pooled"].to_word(document)  # type: ignore[arg-type]


def test_word_has_rules_above_and_below_and_none_between_columns(pages: dict[str, Page], tmp_path: Path) -> None:
    document = docx.Document(str(pages["pooled"].save(tmp_path / "a.docx")))
    (table,) = document.tables
    borders = {(border.tag.split("}")[1]) for border in table._tbl.iter(qn("w:top"), qn("w:bottom"))}
    assert borders == {"top", "bottom"}
    assert not list(table._tbl.iter(qn("w:left"), qn("w:right"), qn("w:insideV"), qn("w:start"), qn("w:end")))
    first, *others = table.rows
    assert first._tr.trPr.find(qn("w:tblHeader")) is not None
    assert all(row._tr.trPr.find(qn("w:tblHeader")) is None for row in others)
    caption, *_ = document.paragraphs
    assert caption.text == document.core_properties.title == "Random-effects model (k = 13): odds ratio"
    assert document.core_properties.author == ""


def test_a_wide_table_turns_the_page(tmp_path: Path) -> None:
    for n, upright in ((2, True), (16, False)):
        table = PaperTable("", ("heading",) * n, (Section("", (("a", *["1.25"] * n),)),))
        document = paper_files.paper_word([table], "test")
        assert (document.sections[0].page_height > document.sections[0].page_width) is upright


def test_points_lie_below_one_another() -> None:
    cells = ["1.25", "−10.5", "3", "<0.0001", "", DASH, "1 to 2"]
    shown = decimal_aligned(cells)
    for cell, padded in zip(cells, shown, strict=True):
        assert padded.rstrip(FIGURE_SPACE + POINT_SPACE) == cell
    places = {len(padded) - padded.replace(POINT_SPACE, ".").index(".") for padded in shown[:4]}
    assert places == {5}
    assert shown[4:] == cells[4:]


@pytest.mark.parametrize(
    ("cell", "text"),
    [
        ("-1", f"{MINUS}1"),
        ("a-1", "a-1"),
        ("2-5", "2-5"),
        ("[-1, 2]", f"({MINUS}1 to 2)"),
        ("-inf", f"{MINUS}∞"),
        ("inf", "∞"),
        ("-", DASH),
        ("-.5", f"{MINUS}.5"),
        ("P(OR < 1) 0.9990", "P(OR < 1) 0.9990"),
    ],
)
def test_signs(cell: str, text: str) -> None:
    assert typeset(cell) == text


class TestFiles:
    @pytest.fixture
    def page(self, pages: dict[str, Page]) -> Page:
        return pages["pooled"]

    def test_the_extension_says_what_is_written_in_any_case(self, page: Page, tmp_path: Path) -> None:
        starts = {
            "a.docx": b"PK",
            "b.DOCX": b"PK",
            "c.html": b"<!DOCTYPE",
            "d.tex": b"\\begin{table}",
            "e.md": b"**Ran",
        }
        for name, start in starts.items():
            path = page.save(tmp_path / name)
            assert path == tmp_path / name
            assert path.read_bytes().startswith(start)
        assert isinstance(page.save(str(tmp_path / "f.md")), Path)

    @pytest.mark.parametrize("name", ["a.csv", "a.doc", "a.nc", "a", ".docx", "a.docx.txt", "a.xlsx"])
    def test_another_extension_is_refused_with_those_that_there_are(
        self, page: Page, tmp_path: Path, name: str
    ) -> None:
        with pytest.raises(bm.SpecError, match=r"tables are saved as \.docx \(Word\), \.html, \.tex") as raised:
            page.save(tmp_path / name)
        assert name in str(raised.value).splitlines()[0]
        assert not list(tmp_path.iterdir())

    def test_a_slip_in_the_extension_has_a_hint(self, page: Page, tmp_path: Path) -> None:
        with pytest.raises(bm.SpecError, match=r"did you mean '\.docx'"):
            page.save(tmp_path / "a.doc")

    @pytest.mark.parametrize("path", [None, 3, "", " ", ["a.docx"], b"a.docx"])
    def test_what_is_no_path_is_refused(self, page: Page, path: object) -> None:
        with pytest.raises(bm.SpecError, match=r"^the path of the table is "):
            page.save(path)  # type: ignore[arg-type]

    def test_a_folder_that_is_not_there_is_an_error(self, page: Page, tmp_path: Path) -> None:
        with pytest.raises(bm.DataError, match=r"no directory .*none for the table a\.docx"):
            page.save(tmp_path / "none" / "a.docx")
        (tmp_path / "b.docx").mkdir()
        with pytest.raises(bm.DataError, match="is a directory"):
            page.save(tmp_path / "b.docx")

    @pytest.mark.parametrize("suffix", [".docx", ".html", ".tex", ".md"])
    def test_a_file_is_replaced_whole_or_not_at_all(
        self, page: Page, tmp_path: Path, suffix: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        path = page.save(tmp_path / f"a{suffix}")
        before = path.read_bytes()

        def fail(*_: object) -> None:
            raise OSError(28, "No space left on device")

        monkeypatch.setattr("os.replace", fail)
        with pytest.raises(bm.DataError, match=r"cannot be written: No space left.*what was there is as it was"):
            page.save(path)
        monkeypatch.undo()
        assert path.read_bytes() == before
        assert [each.name for each in tmp_path.iterdir()] == [path.name]

    @pytest.mark.parametrize(
        ("what", "missing", "package"),
        [("a.docx", "docx", "python-docx"), ("a.html", "great_tables", "great-tables"), ("a.png", "nokap", "nokap")],
    )
    def test_without_the_packages_it_says_how_to_get_them(
        self, page: Page, tmp_path: Path, what: str, missing: str, package: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(__import__("sys").modules, missing, None)
        with pytest.raises(bm.SpecError, match=rf"needs {package}, which is not installed\n  pip install .*tables"):
            page.save(tmp_path / what)
        assert not list(tmp_path.iterdir())
        page.save(tmp_path / "a.tex")
        page.save(tmp_path / "a.md")

    def test_a_picture_needs_a_browser(self, page: Page, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", str(tmp_path))
        monkeypatch.delenv("CHROME_PATH", raising=False)
        with pytest.raises(bm.BayesmetaError, match="no headless Chrome or Chromium could draw it"):
            page.save(tmp_path / "a.png")


def test_an_empty_page_of_facts_is_a_table_of_notes() -> None:
    (table,) = paper_tables([Facts((("note", "nothing"),))])
    assert (table.rows, table.foot) == ([], ["Nothing."])


def test_a_fit_without_heterogeneity_has_its_tables_too(tmp_path: Path) -> None:
    tree: xr.DataTree = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor"), "fixed")
    (table,) = bm.summary(tree).paper()
    assert table.caption.startswith("Fixed-effects model (k = 13): odds ratio")
    assert not any("τ²" in note for note in table.notes)
    bm.summary(tree).save(tmp_path / "a.docx")
