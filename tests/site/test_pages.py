"""The pages of the site: what they must cover, before it is built."""

import importlib.util
import re
from pathlib import Path
from types import ModuleType

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support.make_gallery import GALLERY, THUMBNAILS, index, pages

DOCS = GALLERY.parent
LINK = re.compile(r"(?<!!)\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def public_names() -> list[str]:
    modules = {name: getattr(bm, name) for name in bm.__all__ if isinstance(getattr(bm, name), ModuleType)}
    inside = [
        f"{name}.{public}"
        for name, module in modules.items()
        for public in module.__all__
        if getattr(module, public) is not getattr(bm, public, None)  # which has a page under the shorter name
    ]
    return sorted({*bm.__all__} - {*modules}) + inside


def test_every_public_name_has_a_page():
    listed = re.findall(
        r"^   ([a-zA-Z_][\w.]*)$", (DOCS / "reference/index.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(name for name in listed if name != "command_line") == sorted(public_names())


def test_the_gallery_shows_all_its_pages():
    written = sorted(path.stem for path in GALLERY.glob("*.md") if path.name != "index.md")
    assert written == sorted(pages())
    assert len(written) >= 20
    assert (GALLERY / "index.md").read_text(encoding="utf-8") == index()
    assert sorted(path.stem for path in THUMBNAILS.glob("*.png")) == written


@pytest.mark.parametrize("page", pages())
def test_a_page_of_the_gallery_has_all_its_parts(page):
    text = (GALLERY / f"{page}.md").read_text(encoding="utf-8")
    for part in ("**Question.**", "**Source.**", "```{code-cell}", f'beside("{page}"'):
        assert part in text, part
    assert re.search(r"\bbm\.plots\.|\.plot\.", text), "a picture"
    assert re.search(r"\b(19|20)\d\d\)", text), "a citation with its year"


@pytest.mark.parametrize("path", sorted(DOCS.rglob("*.md")), ids=lambda path: path.relative_to(DOCS).as_posix())
def test_links_lead_somewhere(path: Path):
    for target in LINK.findall(path.read_text(encoding="utf-8")):
        assert (path.parent / target).exists(), target


def test_commands_of_the_evidence_name_what_is_there():
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    paths = re.findall(r"\btests/[\w/.]+", " ".join(re.findall(r"`pytest [^`]*`", text)))
    modules = re.findall(r"`python -m ([\w.]+)`", text)
    assert len(paths) > 10
    assert all((DOCS.parent / path).exists() for path in paths), paths
    assert all(importlib.util.find_spec(module) is not None for module in modules), modules


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_the_lines_of_the_first_page_run(tmp_path, monkeypatch, capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```", (DOCS / "index.md").read_text(encoding="utf-8"), re.M | re.S)
    counts = {"ill": [4, 6, 3], "vaccinated": [123, 306, 231], "ill_control": [11, 29, 11], "control": [139, 303, 220]}
    pd.DataFrame({"trial": ["Aronson", "Ferguson", "Rosenthal"], **counts}).to_csv(tmp_path / "trials.csv", index=False)
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "index.md", "exec"), {})
    plt.close("all")
    assert (tmp_path / "summary.docx").stat().st_size > 0
    printed = capsys.readouterr().out
    assert all(part in printed for part in ("odds ratio", "Bayes", "References"))
