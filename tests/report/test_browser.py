"""The report as a reader has it: opened from a file in Chromium, on a phone and at a desk, in light and in dark."""

import itertools
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.report import from_file
from tests.support.browsers import SCHEMES, WIDTHS, Opened, chromium, faults_of_axe, listened
from tests.support.posteriors import make_posterior

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.browser

MODELS = Path(__file__).resolve().parents[2] / "models"
PICTURES = """() => [...document.images].map(image => ({
    alt: image.alt, loaded: image.complete && image.naturalWidth > 0, box: image.getBoundingClientRect().width}))"""
# parts wider than the page that no scrolling region holds
SPILT = """() => [...document.querySelectorAll('body *')].filter(part =>
    part.getBoundingClientRect().right > innerWidth + 1 && !part.closest('.scroll'))
    .map(part => part.outerHTML.slice(0, 80))"""
UNREACHABLE = """() => [...document.querySelectorAll('main *')].filter(part =>
    part.scrollWidth > part.clientWidth + 1 && ['auto', 'scroll'].includes(getComputedStyle(part).overflowX)
    && !(part.tabIndex === 0 && part.getAttribute('aria-label'))).map(part => part.outerHTML.slice(0, 80))"""
LEVELS = "() => [...document.querySelectorAll('h1, h2, h3, h4, h5, h6')].map(heading => +heading.tagName[1])"


@pytest.fixture(scope="module")
def browser() -> Iterator["Browser"]:
    with chromium() as started:
        yield started


def two_levels() -> dict[str, Any]:
    school = bm.datasets.load("school")
    spec = bm.specify("effect ~ 1", school, S="var", random="1 | district/study", measure="smd")
    year = bm.specify("effect ~ year", school, S="var", random="1 | district/study", measure="smd")
    return {
        "mean_reml": bm.fit(spec),
        "mean_bayes": make_posterior(spec, draws=200),
        "year_reml": bm.fit(year),
        "year_bayes": make_posterior(year, draws=200, divergences=3),
    }


def awkward() -> dict[str, Any]:
    """Many rows, long labels that would be markup, several outcomes, dropped rows."""
    rng, n = np.random.default_rng(1), 250
    label = "<script>alert('study')</script> of a study whose name is as long as names of studies get"
    data = pd.DataFrame({"trial": [f"{label} {i // 2}" for i in range(n)], "a": rng.normal(0, 1, n)})
    data["b"], data["v"] = data["a"] + rng.normal(0, 1, n), rng.uniform(0.1, 1, n)
    data.loc[7, ["a", "b"]] = np.nan
    spec = bm.specify("a + b ~ 1", data, S=["v", "v"], S_correlation=0.5, random="1 | trial")
    return {"reml": bm.fit(spec)}


@pytest.fixture(scope="session", params=[two_levels, awkward], ids=lambda made: made.__name__)
def file(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path: Path = tmp_path_factory.mktemp("report") / "page.html"
    bm.report(
        request.param(), path=path, title="A report <script>alert(1)</script>", citation="Someone (2026). & others"
    )
    return path


@pytest.fixture(
    scope="module",
    params=[(scheme, width) for scheme in SCHEMES for width in WIDTHS],
    ids=lambda case: f"{case[0]}-{case[1]}",
)
def opened(browser: "Browser", file: Path, request: pytest.FixtureRequest) -> Iterator[Opened]:
    scheme, width = request.param
    context = browser.new_context(color_scheme=scheme, viewport={"width": width, "height": 800})
    found = listened(context)
    found.page.goto(file.as_uri(), wait_until="load")
    yield found
    context.close()


def test_a_page_that_opens_quietly_and_asks_for_nothing(opened: Opened, file: Path) -> None:
    assert opened.said == []
    assert [url for url in opened.asked if not url.startswith("data:")] == [file.as_uri()]
    pictures = opened.page.evaluate(PICTURES)
    assert len(pictures) >= 3
    assert [picture for picture in pictures if not (picture["loaded"] and picture["box"] > 0 and picture["alt"])] == []
    assert opened.page.locator("script").count() == 0


def test_it_fits_its_width_and_all_that_scrolls_can_be_reached(opened: Opened) -> None:
    width, room = opened.page.evaluate("[document.scrollingElement.scrollWidth, document.scrollingElement.clientWidth]")
    assert width <= room == opened.page.viewport_size["width"]
    assert opened.page.evaluate(SPILT) == []
    assert opened.page.evaluate(UNREACHABLE) == []
    levels = opened.page.evaluate(LEVELS)
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert max(below - above for above, below in itertools.pairwise(levels)) <= 1


def test_axe_finds_no_serious_fault(opened: Opened) -> None:
    assert faults_of_axe(opened.page) == []


def test_the_skip_link_leads_to_the_content(opened: Opened) -> None:
    opened.page.keyboard.press("Tab")
    assert opened.page.evaluate("document.activeElement.getBoundingClientRect().left") >= 0
    opened.page.keyboard.press("Enter")
    assert opened.page.evaluate("document.activeElement.id") == "content"


def test_colours_follow_the_scheme(opened: Opened, request: pytest.FixtureRequest) -> None:
    ground = opened.page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    dark = "dark-" in request.node.callspec.id
    assert (sum(ground) < 384) == dark


@pytest.mark.filterwarnings("ignore:no measure is given:bayesmeta.errors.AssumptionWarning")
@pytest.mark.parametrize(("model", "most"), [("bcg", 8), ("school", 12)])
def test_pages_of_paper(browser: "Browser", model: str, most: int, tmp_path: Path) -> None:
    """All that the command writes of a model file."""
    written = tmp_path / "page.html"
    from_file.report_file(MODELS / f"{model}.toml", written, from_file.ReportOptions()).save(written)
    page = browser.new_page()
    page.goto(written.as_uri(), wait_until="load")
    pages = re.findall(rb"/Type\s*/Page\b", page.pdf(prefer_css_page_size=True))
    page.close()
    assert 3 <= len(pages) <= most
