"""The built site as a reader has it: every kind of page in Chromium, search, downloads, links and cheat sheet.

`.ci/run` builds it before; here: `sphinx-build --conf-dir docs . build/site`.
"""

import json
import re
import threading
import tomllib
from collections.abc import Iterator
from functools import cache, partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, unquote, urldefrag

import pytest

from tests.support.browsers import SCHEMES, WIDTHS, Opened, chromium, faults_of_axe, listened
from tests.support.make_site_files import ROOT, SHEET, llms, public_names

if TYPE_CHECKING:
    from playwright.sync_api import Browser

SITE = ROOT / "build/site"
pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(not (SITE / "docs/index.html").is_file(), reason="the site is not built"),
    pytest.mark.xdist_group("site"),
]
KINDS = {
    "home": "docs/index.html",
    "tutorial": "docs/learn/first.html",
    "gallery": "docs/gallery/index.html",
    "published analysis": "docs/gallery/berkey1998.html",
    "formulas": "docs/model.html",
    "reference": "docs/reference/api/bayesmeta.fit.html",
    "all names": "docs/reference/index.html",
    "command line": "docs/reference/command_line.html",
    "results tree": "docs/results_tree.html",
    "glossary": "docs/glossary.html",
    "notebook": "notebooks/school.html",
    "cheat sheet": "docs/cheat_sheet.html",
}
SEARCHED = {
    "odds ratio": "docs/effects.html",
    "three-level": "docs/learn/levels.html",
    "Knapp-Hartung": "docs/small_samples.html",
    "RVE": "docs/small_samples.html",
}
# pictures that are not there; what is wider than the page outside of what scrolls
BROKEN = """() => [...document.images].filter(image => image.getClientRects().length
    && !(image.complete && image.naturalWidth && image.alt)).map(image => image.src)"""
SPILT = """() => { const scrolls = part => { for (; part; part = part.parentElement)
        if (['auto', 'scroll', 'hidden', 'clip'].includes(getComputedStyle(part).overflowX)) return true; return false }
    return [...document.querySelectorAll('.bd-article *')]
        .filter(part => part.getBoundingClientRect().right > innerWidth + 1 && !scrolls(part))
        .map(part => part.outerHTML.slice(0, 80))}"""
LOADED = """() => Promise.all([...document.images].map(
    image => { image.loading = 'eager'; return image.decode().catch(() => 0) }))"""
# the page that the search shows first, for each of many terms
FIRST_HITS = """terms => Object.fromEntries(terms.map(term => {
    const results = Search._performSearch(...Search._parseQuery(term));
    return [term, results.length ? results[results.length - 1][0] + '.html' : ''] }))"""
GROUND = "() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).slice(0, 3).map(Number)"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(SITE)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()
    server.server_close()


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


@pytest.fixture(scope="module", params=[(scheme, width) for scheme in SCHEMES for width in WIDTHS], ids=str)
def opened(browser: "Browser", request: pytest.FixtureRequest) -> Iterator[tuple[Opened, str]]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 900})
    yield listened(context), scheme
    context.close()


@pytest.mark.parametrize("kind", KINDS)
def test_a_page_of_each_kind(opened: tuple[Opened, str], kind: str, address: str) -> None:
    """Nothing on the console, nothing from elsewhere, nothing beside the page, and what axe-core calls serious."""
    (found, scheme), path = opened, KINDS[kind]
    found.said.clear()
    found.asked.clear()
    found.page.goto(address + path, wait_until="load")
    width = found.page.viewport_size["width"]
    found.page.evaluate(LOADED)
    found.page.wait_for_function("document.querySelector('.version-switcher__button')?.dataset.activeVersion")
    assert [said for said in found.said if not said.startswith(("debug:", "log: [PST]"))] == []
    assert [url for url in found.asked if not url.startswith((address, "data:"))] == []
    assert found.page.evaluate(BROKEN) == []
    assert found.page.evaluate("document.scrollingElement.scrollWidth") <= width
    assert found.page.evaluate(SPILT) == []
    assert (sum(found.page.evaluate(GROUND)) < 384) == (scheme == "dark")
    assert faults_of_axe(found.page) == []


def test_the_search_leads_to_the_right_page(browser: "Browser", address: str) -> None:
    """What readers search for, each term with its page as the first hit."""
    terms = tomllib.loads((ROOT / "docs/search_terms.toml").read_text(encoding="utf-8"))
    pages = {term: f"docs/{page}.html" for page, listed in terms.items() for term in listed}
    assert len(pages) == sum(map(len, terms.values()))
    assert pages.items() >= SEARCHED.items()
    page = browser.new_page()
    for term in SEARCHED:
        page.goto(f"{address}search.html?q={quote(term)}", wait_until="load")
        first = page.wait_for_selector("#search-results li > a")
        assert first is not None
        assert urldefrag(str(first.get_attribute("href"))).url == SEARCHED[term]
    assert page.evaluate(FIRST_HITS, [*pages]) == pages
    page.close()


def test_the_switch_of_versions_shows_the_version(browser: "Browser", address: str) -> None:
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(address + KINDS["tutorial"], wait_until="load")
    (entry,) = json.loads((SITE / "versions.json").read_text(encoding="utf-8"))
    page.wait_for_function("document.querySelector('.version-switcher__button')?.dataset.activeVersion")
    assert page.inner_text(".version-switcher__button").strip() == entry["name"]
    page.close()


def test_notebooks_download_as_they_run(browser: "Browser", address: str) -> None:
    page = browser.new_page()
    page.goto(address + "docs/notebooks.html", wait_until="load")
    links = page.eval_on_selector_all("a.download", "all => all.map(each => each.href)")
    kept = sorted((ROOT / "notebooks").glob("*.ipynb"))
    assert sorted(link.rpartition("/")[2] for link in links) == [path.name for path in kept]
    for link in links:
        assert page.request.get(link).body() == (ROOT / "notebooks" / link.rpartition("/")[2]).read_bytes()
    page.close()


def test_the_cheat_sheet_is_one_page_of_paper() -> None:
    printed = (SITE / f"{SHEET}.pdf").read_bytes()
    assert printed.startswith(b"%PDF")
    assert len(re.findall(rb"/Type\s*/Page\b", printed)) == 1
    (box,) = re.findall(rb"/MediaBox\s*\[([^\]]*)\]", printed)
    _, _, width, height = map(float, box.split())
    assert width == pytest.approx(842, abs=2)
    assert height == pytest.approx(595, abs=2)


@cache
def anchors(path: Path) -> frozenset[str]:
    return frozenset(re.findall(r'\b(?:id|name)="([^"]+)"', path.read_text(encoding="utf-8")))


def test_links_and_anchors_of_all_pages_lead_somewhere() -> None:
    pages = [path for path in SITE.rglob("*.html") if "_static" not in path.parts]
    assert len(pages) > 350
    broken = []
    for page in pages:
        found = set(re.findall(r'\b(?:href|src)="([^"]*)"', page.read_text(encoding="utf-8")))
        for link in (link for link in found if not re.match(r"[a-z]+:|//|$", link)):
            target, anchor = urldefrag(link.replace("&amp;", "&"))
            path = (page.parent / unquote(target.partition("?")[0])).resolve() if target else page
            path = path / "index.html" if path.is_dir() else path
            if not path.is_file() or (anchor and path.suffix == ".html" and unquote(anchor) not in anchors(path)):
                broken.append(f"{page.relative_to(SITE)}: {link}")
    assert broken == []


def test_every_public_name_has_a_built_page() -> None:
    for name in public_names():
        text = (SITE / f"docs/reference/api/bayesmeta.{name}.html").read_text(encoding="utf-8")
        assert f'id="bayesmeta.{name}"' in text or 'class="sig' in text, name


def test_llms_txt_is_current_and_its_links_lead_somewhere() -> None:
    text = (SITE / "llms.txt").read_text(encoding="utf-8")
    assert text == llms()
    links = re.findall(r"^- \[[^\]]*\]\((\S+)\):", text, re.MULTILINE)
    assert len(links) > 350
    assert [link for link in links if not (SITE / link).is_file()] == []
