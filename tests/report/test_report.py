"""The page of a report: its sections, the same numbers as everywhere else, every text of the user escaped."""

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from bayesmeta.errors import DataError, SpecError
from tests.support.posteriors import make_posterior

SECTIONS = [
    *("Contents", "In short", "Estimates", "Heterogeneity", "Pictures", "Tests and criteria"),
    *(
        "Specification",
        "Data",
        "More pictures",
        "Influence",
        "Small-study effects",
        "Convergence",
        "Text for a paper",
        "How to reproduce this page",
    ),
]
EVIL = "<script>alert('x')</script>"


@pytest.fixture(scope="module")
def spec() -> bm.Spec:
    return bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor")


@pytest.fixture(scope="module")
def trees(spec):
    return {"reml": bm.fit(spec), "bayes": make_posterior(spec)}


@pytest.fixture(scope="module")
def html(trees) -> str:
    return bm.report(trees, title="BCG", citation="Somebody (2026)").html


def text_of(html: str) -> str:
    """What a reader reads, in one line."""
    return " ".join(unescape(re.sub(r"<[^>]*>", " ", re.sub(r"<style>.*?</style>", "", html, flags=re.S))).split())


def headings(html: str) -> list[tuple[int, str]]:
    return [(int(level), unescape(text)) for level, text in re.findall(r"<h(\d)[^>]*>(.*?)</h\1>", html)]


def test_sections_in_their_order(html):
    *before, last = SECTIONS
    of_trees = [(3, "Restricted maximum likelihood (REML)"), (3, "Full Bayes")]
    last_two = [(2, last), (3, "How the results were made")]
    assert headings(html) == [(1, "BCG"), *((2, title) for title in before), *of_trees, *last_two]
    assert html.count("Somebody (2026)") == 2
    assert 'lang="en"' in html


def test_numbers_are_those_of_compare_and_summary(html, trees):
    said = text_of(html)
    page = bm.compare(trees)
    for row in page.estimates_table().rows:
        for cell in row:
            assert cell in said
    for tree in trees.values():
        for row in bm.summary(tree).fixed_table().rows:
            assert " ".join(" ".join(row).split()) in said
    het = bm.heterogeneity(trees["reml"])
    assert f"I² {float(het['I2_tau2']):.1f}%, Q {float(het['Q']):.1f} on {int(het['df'])} degrees of freedom" in said


def test_the_first_screen_is_the_answer_and_one_picture(html):
    first = html.partition('<section class="summary"')[2].partition("</section>")[0]
    assert first.count("<img") == 1
    assert "Forest plot" in first
    assert "prediction interval)" in first


def test_what_is_behind_the_answer_is_folded(html):
    folded = re.findall(r"<details><summary>\s*<h[234][^>]*>(.*?)</h", html)
    assert folded == [
        "Specification",
        "Data",
        "More pictures",
        "Influence",
        "Small-study effects",
        "Convergence",
        "Text for a paper",
        "How the results were made",
    ]


def test_many_rows_are_one_swarm_on_the_first_screen():
    school = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study", measure="smd")
    html = bm.report(bm.fit(school)).html
    first = html.partition('<section class="summary"')[2].partition("</section>")[0]
    assert "Orchard plot of 56 observations" in first
    assert "Forest plot of 56 observations" in html
    assert "<h1>Meta-analysis: standardised mean difference</h1>" in html
    assert len(html) < 500_000


def test_the_opening_says_the_result_as_a_ratio(html, trees):
    row = bm.estimates(trees["reml"]).loc["beta[Intercept]"]
    assert row["df"] == 12
    beta, low, high = row["estimate"], *np.exp(row[["lower", "upper"]].astype(float))
    found = re.search(r"pooled odds ratio ([\d.]+) \(95% confidence interval ([\d.]+) to ([\d.]+)\)", text_of(html))
    assert found
    assert [float(number) for number in found.groups()] == pytest.approx([np.exp(beta), low, high], abs=6e-5)
    assert "the chains agree (largest R-hat 1.001, smallest effective sample size 900, no divergences)" in text_of(html)
    assert "the search converged" in text_of(html)


def test_prob_is_that_of_every_interval(trees):
    said = text_of(bm.report(trees["reml"], prob=0.8).html)
    assert "80% confidence interval" in said
    assert "95%" not in said


def test_an_alarm_stands_at_the_top(spec):
    page = bm.report(make_posterior(spec, divergences=3, r_hat=1.2))
    top = page.html[page.html.index("In short") : page.html.index("Specification</h2>")]
    assert "THE CHAINS DO NOT AGREE" in top
    assert "3 DIVERGENCES" in top
    assert "the chains agree" not in top


def test_several_models_are_chapters_called_by_their_names(spec):
    bcg = bm.datasets.load("bcg")
    ablat = bm.specify("logor ~ ablat", bcg, S="logorvar", measure="logor")
    other = bm.specify("logor ~ year", bcg, S="logorvar", measure="logor")
    fits = {"mean_ml": bm.fit(spec, "ml"), "mean_reml": bm.fit(spec), "latitude": bm.fit(ablat), "year": bm.fit(other)}
    html = bm.report(fits).html
    chapters = [title for level, title in headings(html) if level == 2 and title.startswith("Model ")]
    assert chapters == ["Model mean", "Model latitude", "Model year"]
    own = [title for level, title in headings(html) if level == 3]
    assert own.count("Estimates") == 3
    assert "factor by which the odds ratio changes per unit of a predictor: ablat" in text_of(html)


def test_same_rows_are_shown_once(spec):
    with pytest.warns(bm.AssumptionWarning, match="no random effects"):
        common = bm.fit(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar", measure="logor", groups="trial"))
    html = bm.report({"one": bm.fit(spec, "fixed"), "two": bm.fit(spec)}).html
    assert "The same rows as those of model one." in html
    assert "The same rows" not in bm.report({"one": bm.fit(spec), "two": common}).html


def awkward_tree():
    rng, n = np.random.default_rng(3), 6
    data = pd.DataFrame({"trial": [f"{EVIL} & {i}" for i in range(n)], f"y {EVIL}": rng.normal(0, 1, n), "v": 0.1})
    return bm.fit(bm.specify(f"`y {EVIL}` ~ 1", data, S="v", random="1 | trial"))


class Tags(HTMLParser):
    """Names of all elements, and all attributes that could run something."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.handlers += [name for name, value in attrs if name.startswith("on") or "javascript:" in (value or "")]


def test_words_of_the_user_stay_words(trees):
    html = bm.report({f"a {EVIL}": awkward_tree()}, title=EVIL, citation=EVIL).html
    tags = Tags()
    tags.feed(html)
    assert "script" not in tags.names
    assert tags.handlers == []
    assert unescape(html).count(EVIL) > 10
    assert f"{EVIL} & 3" in unescape(html)


def test_nothing_comes_from_elsewhere(html):
    sources = re.findall(r'(?:src|href)="([^"]*)"', html)
    assert all(source.startswith(("data:", "#")) for source in sources)
    assert not re.search(r"url\(|@import|<link[^>]*stylesheet|<script", html)
    anchors = [source[1:] for source in sources if source.startswith("#")]
    assert all(f'id="{anchor}"' in html for anchor in anchors)
    ids = re.findall(r' id="([^"]*)"', html)
    assert len(ids) == len(set(ids))


def test_tables_and_pictures_are_accessible(html):
    assert html.count("<table>") == html.count("<caption>")
    assert not re.search(r"<th(?! scope)(?!ead)", html)
    assert html.count('<div class="scroll') == html.count('role="region" tabindex="0" aria-label="')
    labels = re.findall(r'role="region" tabindex="0" aria-label="([^"]*)"', html)
    assert len(labels) == len(set(labels))
    assert all(re.findall(r'<img [^>]*alt="([^"]*)"', html))


def test_a_plot_that_cannot_be_drawn_is_missed_with_a_reason(html):
    missed = re.search(r"Not drawn</p>\s*<ul>(.*?)</ul>", html, re.S)
    assert missed
    assert "(LOO-PIT): left out, because no group /log_likelihood_conditional in this tree" in text_of(missed[1])


def test_sensitivity_that_is_given_is_shown(spec, trees):
    from bayesmeta.inference.sensitivity import side_by_side

    found = side_by_side({"default": trees["bayes"], "narrow <b>": make_posterior(spec, seed=2)}, 0.95)
    html = bm.report(trees, sensitivity=found).html
    said = text_of(html)
    for value, se in zip(found["estimate"].values[1], found["se"].values[1], strict=True):
        assert f"{value:.4f} ({se:.4f})" in said
    assert "narrow <b>" in said
    assert "Estimates by prior" in html


def test_a_file_is_written_and_a_notebook_shows_the_page(trees, tmp_path: Path):
    page = bm.report(trees["reml"], path=tmp_path / "page.html")
    assert (tmp_path / "page.html").read_text(encoding="utf-8") == page.html
    assert page._repr_html_().startswith("<iframe")
    assert "<table" not in page._repr_html_()
    with pytest.raises(DataError, match="no directory"):
        page.save(tmp_path / "none" / "page.html")
    with pytest.raises(DataError, match="is a directory"):
        page.save(tmp_path)
    with pytest.raises(SpecError, match=r"results\.nc: a report is one HTML file"):
        page.save(tmp_path / "results.nc")


@pytest.mark.parametrize(
    ("given", "options", "message"),
    [
        ((), {}, "at least one results tree"),
        (({"a": 1},), {}, "expected the results tree"),
        (("reml",), {"prob": 2}, "prob is 2"),
        (("reml",), {"sensitivity": 3}, "the dataset returned by bm.sensitivity"),
        (("reml",), {"sensitivity": "found"}, "needs a posterior"),
    ],
)
def test_bad_input(trees, given, options, message):
    from bayesmeta.inference.sensitivity import side_by_side

    if options.get("sensitivity") == "found":
        options = {"sensitivity": side_by_side({"default": trees["bayes"]}, 0.95)}
    with pytest.raises(SpecError, match=message):
        bm.report(*(trees.get(one, one) if isinstance(one, str) else one for one in given), **options)


def test_sensitivity_beside_two_specifications_is_refused(trees, spec):
    from bayesmeta.inference.sensitivity import side_by_side

    other = bm.fit(bm.specify("logor ~ ablat", bm.datasets.load("bcg"), S="logorvar"))
    with pytest.raises(SpecError, match="the trees have 2"):
        bm.report(one=trees["bayes"], two=other, sensitivity=side_by_side({"default": trees["bayes"]}, 0.95))


def test_figures_are_closed(trees):
    before = plt.get_fignums()
    bm.report(trees["reml"])
    assert plt.get_fignums() == before
