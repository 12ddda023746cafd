"""A second build of the site keeps the words by which its pages are searched."""

import json
from pathlib import Path

import pytest
from sphinx.application import Sphinx

from tests.support import search_terms
from tests.support.make_gallery import GALLERY

PAGES = {
    "index": "Home\n====\n\n.. toctree::\n\n   one\n   two\n",
    "one": "One\n===\n\n.. index:: ! odds ratio, single: ratio; of odds\n\nText.\n",
    "two": "Two\n===\n\nText.\n",
}


def build(folder: Path) -> tuple[dict[str, list], list[str]]:
    """The words of the search after a build, and the pages that it read."""
    search_terms.terms.cache_clear()
    read: list[str] = []
    app = Sphinx(folder, folder, folder / "out", folder / "trees", "html", status=None)
    app.connect("source-read", lambda app, page, source: read.append(page))
    app.build()
    text = (folder / "out/searchindex.js").read_text(encoding="utf-8")
    entries = json.loads(text.removeprefix("Search.setIndex(").removesuffix(")"))["indexentries"]
    return entries, sorted(read)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, text in PAGES.items():
        (tmp_path / f"{name}.rst").write_text(text, encoding="utf-8")
    (tmp_path / "conf.py").write_text('extensions = ["tests.support.search_terms"]\n', encoding="utf-8")
    (tmp_path / "search_terms.toml").write_text('two = ["RVE"]\n', encoding="utf-8")
    return tmp_path


def test_words_of_pages_that_are_not_written_again_are_kept(folder):
    first, read = build(folder)
    assert read == ["index", "one", "two"]
    assert {"odds ratio", "of odds"} <= {*first}
    (folder / "two.rst").write_text(PAGES["two"] + "\nMore.\n", encoding="utf-8")
    assert build(folder) == (first, ["two"])
    assert build(folder) == (first, [])


def test_a_page_whose_words_are_others_is_read_again(folder):
    build(folder)
    (folder / "search_terms.toml").write_text('one = ["RVE"]\n', encoding="utf-8")
    assert build(folder)[1] == ["one", "two"]
    assert build(folder)[1] == []


def test_words_are_entered_below_the_heading():
    class App:
        confdir = GALLERY.parent
        env = type("Environment", (), {"metadata": {"docs/how_to/export": {}}})

    source = ["# A page\n\nText.\n"]
    search_terms.enter(App, "docs/how_to/export", source)
    assert source == ["# A page\n\n```{index} ! Word, ! docx, ! manuscript, ! export\n```\n\nText.\n"]


def test_every_page_with_words_exists():
    assert all((GALLERY.parent / f"{page}.md").is_file() for page in search_terms.terms(GALLERY.parent))
