"""The five tutorials: each from a CSV file that its reader has, and no number of its prose without a computation."""

import importlib.util
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.make_gallery import GALLERY

LEARN = GALLERY.parent / "learn"
PAGES = ("first", "outcomes", "levels", "bayes", "printed")
SPECIFIED = importlib.util.spec_from_file_location("lesson", LEARN / "lesson.py")
assert SPECIFIED is not None
assert SPECIFIED.loader is not None
LESSON = importlib.util.module_from_spec(SPECIFIED)
SPECIFIED.loader.exec_module(LESSON)
CELL = re.compile(r"^```\{code-cell\} python\n(.*?)^```", re.MULTILINE | re.DOTALL)
DOWNLOAD = re.compile(r"\{download\}`(\S+) <(\S+)>`")


def source(page: str) -> str:
    return (LEARN / f"{page}.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_starts_from_files_that_it_offers(page: str):
    text = source(page)
    offered = dict(DOWNLOAD.findall(text))
    read = re.findall(r'pd\.read_csv\("([^"]+)"\)', text)
    assert sorted(read) == sorted(offered)
    assert all(Path(path).name == name and (LEARN / path).is_file() for name, path in offered.items())
    (copied,) = re.findall(r"^folder\((.*?)\)", text, re.MULTILINE | re.DOTALL)
    assert re.findall(r'"([^"]+)"', copied) == [*offered.values()]
    assert "datasets.load" not in text


@pytest.mark.parametrize("page", PAGES)
def test_a_tutorial_has_all_its_parts(page: str):
    text = source(page)
    headings = re.findall(r"^## (.*)", text, re.MULTILINE)
    assert headings[-3:] == ["What to report", "What can go wrong", "Next"]
    assert any("the data" in heading.lower() for heading in headings)
    assert any("question" in heading for heading in headings) or page == "printed"
    report, wrong = (text[text.index(f"## {name}") :].partition("\n## ")[0] for name in headings[-3:-1])
    assert re.search(r"^> .*\d", report, re.MULTILINE), "a paragraph as it would stand in a paper"
    assert len(CELL.findall(wrong)) >= 3, "mistakes with what the package says"
    cells = CELL.findall(text)
    drawn = [cell for cell in cells if re.search(r"^(ax = )?bm\.plots\.", cell, re.MULTILINE)]
    assert len(drawn) >= 2
    assert all("alt: " in cell for cell in drawn), "what a reader who cannot see the picture is told"
    assert f'holds("{page}"' in cells[-1]
    shown = [line for cell in cells if "remove-cell" not in cell for line in cell.splitlines() if "alt: " not in line]
    assert max(map(len, shown)) <= 72, "what fits the width of the page"


def test_the_list_of_tutorials_is_in_order():
    index = (LEARN / "index.md").read_text(encoding="utf-8")
    assert tuple(re.findall(r"^\d\. \[[^]]*\]\((\w+)\.md\)", index, re.MULTILINE)) == PAGES
    for number, page in enumerate(PAGES, 1):
        assert re.search(rf"^# {number}\. ", source(page), re.MULTILINE)


def test_numbers_that_agree():
    text = "The odds ratio is 0.47 (95% CI 0.32 to 0.71; p < 0.001), 1,234 persons, \u22120.5 and -2."
    claims = {
        "ratio is 0.47 (95% CI 0.32 to 0.71": (0.4746, 0.3159, 0.713),
        "p < 0.001": 0.0002,
        "1,234 persons": 1234,
        "\u22120.5 and -2": np.array([-0.54, -2.4]),
    }
    assert LESSON.faults(text, claims) == []


@pytest.mark.parametrize(
    ("claims", "fault"),
    [
        ({"mean is 0.47": 0.4651, "of 12": 12.4}, ""),
        ({"mean is 0.47": 0.4751, "of 12": 12}, "'mean is 0.47': 0.47 on the page, now 0.4751"),
        ({"mean is 0.47": -0.47, "of 12": 12}, "now -0.47"),
        ({"mean is 0.47": np.nan, "of 12": 12}, "now nan"),
        ({"of 12": 12}, "nothing computes 0.47 in 'The mean is 0.47"),
        ({"mean was 0.47": 0.47, "mean is 0.47": 0.47, "of 12": 12}, "'mean was 0.47' is not on the page"),
        ({"mean is 0.47": (0.47, 1), "of 12": 12}, "has 1 numbers, for 2 values"),
    ],
)
def test_a_number_that_moved_or_that_nothing_computes_is_named(claims, fault):
    faults = LESSON.faults("The mean is 0.47 of 12.", claims)
    assert ([fault in each for each in faults] == [True]) if fault else faults == []


def test_a_bound_that_does_not_hold():
    assert LESSON.faults("p < 0.001", {"p < 0.001": 0.0013}) == ["'p < 0.001': 0.001 on the page, now 0.0013"]


def test_words_of_no_result_need_no_value():
    assert LESSON.faults("Colditz et al. 1994", {}, ["Colditz et al. 1994"]) == []
    assert len(LESSON.faults("Colditz et al. 1994", {})) == 1


def test_prose_is_what_stands_between_code():
    cells = "```{code-cell} python\nx = 2\n```\n\n$$\ny = 3\n$$\n"
    text = f"---\na: 1\n---\n\n# 1. Title\n\n{cells}\n> Of `4` [five\n> 5](six_6.md)."
    assert LESSON.prose(text).split() == ["Title", "Of", "five", "5", "."]


def test_the_extraction_sheet_is_what_papers_on_the_trials_might_print():
    """Counts as they are; estimates, limits and p-values rounded."""
    sheet = pd.read_csv(LEARN / "extracted.csv")
    trials = bm.effects.odds_ratio(bm.datasets.load("bcg"), ("tpos", "cpos"), no_events=("tneg", "cneg"))
    assert sheet["trial"].tolist() == trials["author"].tolist()
    counts = sheet["vaccine"].notna().to_numpy()
    assert (sheet["ill_vaccine"] == trials["tpos"])[counts].all()
    assert (sheet["control"] == trials["cpos"] + trials["cneg"])[counts].all()
    ratios = bm.effects.from_se(
        trials.drop(columns=["y", "v"]).assign(logor=trials["y"], se=trials["v"] ** 0.5), "logor", "se", measure="logor"
    )
    z = 1.959963984540054 * np.sqrt(ratios["v"])
    for name, shift in {"odds_ratio": 0.0, "low": -z, "high": z}.items():
        assert np.nanmax(np.abs(sheet[name] - np.exp(ratios["y"] + shift))) <= 0.005 + 1e-9
    assert (counts ^ sheet["odds_ratio"].notna()).all()
    assert (sheet["odds_ratio"].notna() == (sheet["low"].notna() ^ sheet["p"].notna())).all()
