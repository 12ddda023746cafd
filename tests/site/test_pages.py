"""The pages of the site: what they must cover, before it is built."""

import importlib.util
import inspect
import os
import re
import subprocess
import sys
import tomllib
from collections.abc import Mapping
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
import pytest

import bayesmeta as bm
from tests.support import make_site_files
from tests.support.make_gallery import GALLERY, THUMBNAILS, index, pages
from tests.support.make_site_files import public_names
from tests.support.reference import REFERENCE

DOCS = GALLERY.parent
MADE = [DOCS / made for made in ("reference/command_line.md", "reference/errors.md", "cheat_sheet.pdf")]  # by the build
LINK = re.compile(r"(?<!!)\]\((?!https?:|#)([^)#\s]+)[^)]*\)")


def test_every_public_name_has_a_page():
    listed = re.findall(
        r"^   ([a-zA-Z_][\w.]*)$", (DOCS / "reference/index.rst").read_text(encoding="utf-8"), re.MULTILINE
    )
    assert sorted(name for name in listed if name not in ("command_line", "errors")) == sorted(public_names())


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
        assert (path.parent / target).exists() or (path.parent / target).resolve() in MADE, target


def test_commands_of_the_evidence_name_what_is_there():
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    paths = re.findall(r"\btests/[\w/.]+", " ".join(re.findall(r"`pytest [^`]*`", text)))
    modules = re.findall(r"`python -m ([\w.]+)`", text)
    assert len(paths) > 10
    assert all((DOCS.parent / path).exists() for path in paths), paths
    assert all(importlib.util.find_spec(module) is not None for module in modules), modules


def test_figures_of_the_evidence_are_those_of_the_pages_that_it_leads_to():
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    seen = 0
    for words, page in re.findall(r"\[([^\]]*\d[^\]]*)\]\(([\w./]+\.md)\)", text):
        figures = re.findall(r"\d[\d.,]*(?:e-?\d+)?%?", words)
        whole = (DOCS / page).read_text(encoding="utf-8")
        assert all(re.search(rf"(?<![\d.,]){re.escape(figure)}", whole) for figure in figures), (words, page)
        seen += len(figures)
    assert seen >= 11


@pytest.mark.parametrize(
    ("folder", "words"),
    [("mixmeta", "| {} fits"), ("robust", "of [{} analyses]"), ("small_sample", "Knapp-Hartung, t and F of {}")],
)
def test_the_evidence_counts_the_files_of_other_software(folder, words):
    text = (DOCS / "evidence.md").read_text(encoding="utf-8")
    assert words.format(len([*(REFERENCE / folder).glob("*.json")])) in text


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


def blocks(page: str) -> str:
    return "".join(re.findall(r"^```python\n(.*?)^```", (DOCS / page).read_text(encoding="utf-8"), re.M | re.S))


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_every_line_of_the_cheat_sheet_runs(tmp_path, monkeypatch, capsys):
    assert max(map(len, blocks("cheat_sheet.md").splitlines())) <= 61  # what fits a column on paper
    monkeypatch.chdir(tmp_path)
    exec(compile(blocks("cheat_sheet.md"), "cheat_sheet.md", "exec"), {})
    plt.close("all")
    written = {"forest.pdf", "summary.docx", "trials.docx", "bcg.html", "bcg.nc"}
    assert {path.name for path in tmp_path.iterdir()} == written


def test_every_page_is_in_the_tree_of_pages_and_in_llms_txt():
    tree, text = [*make_site_files.pages()], make_site_files.llms()
    kept = [path for path in DOCS.rglob("*.md") if not {"decisions", "data", "api"} & {*path.parts}]
    kept += (DOCS.parent / "notebooks").glob("*.ipynb")
    assert {*kept} - {*MADE, DOCS / "index.md"} <= {*tree}
    assert len(tree) == len({*tree})
    for page in {*tree} - {*MADE}:
        heading, sentence = make_site_files.title_and_sentence(page)
        assert heading, page
        assert len(sentence) > 10 or page.parent.name == "reference", page
        assert f"[{heading}]({make_site_files.source_link(page)})" in text
    for name, value in public_names().items():
        assert f"- [bm.{name}](docs/reference/api/bayesmeta.{name}.html): " in text
        assert (value.__doc__ or "").strip().partition("\n")[0] in text, name


def test_the_switch_lists_the_newest_release_first():
    listed = make_site_files.versions(["0.9", "dev", "0.10.1", "0.10", "assets"], "/bayesmeta")
    assert [entry["version"] for entry in listed] == ["dev", "0.10.1", "0.10", "0.9"]
    assert [entry["version"] for entry in listed if entry.get("preferred")] == ["0.10.1"]
    assert {entry["url"] for entry in listed} >= {"/bayesmeta/dev/", "/bayesmeta/0.10.1/"}


def git(folder: Path, *words: str) -> str:
    return subprocess.run(["git", *words], cwd=folder, check=True, capture_output=True, text=True).stdout


def test_publishing_keeps_earlier_versions_and_renews_the_list(tmp_path, monkeypatch):
    git(tmp_path, "init", "--quiet", "--bare", "origin")
    git(tmp_path, "clone", "--quiet", "origin", "clone")
    clone = tmp_path / "clone"
    git(clone, "-c", "user.name=a", "-c", "user.email=a@b", "commit", "--quiet", "--allow-empty", "--message", "first")
    (clone / "build/site").mkdir(parents=True)
    monkeypatch.setenv("PYTHONPATH", str(DOCS.parent))
    monkeypatch.setenv("PATH", f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}")
    for version in ("0.1", "dev", "dev"):
        (clone / "build/site/index.html").write_text(version + str(os.urandom(4)), encoding="utf-8")
        subprocess.run([DOCS.parent / ".ci/publish", version, "/bayesmeta"], cwd=clone, check=True, capture_output=True)
    held = git(tmp_path / "origin", "ls-tree", "-r", "--name-only", "gh-pages").split()
    assert held == [".nojekyll", "0.1/index.html", "dev/index.html", "versions.json"]
    assert '"dev"' in git(tmp_path / "origin", "show", "gh-pages:versions.json")


def test_the_workflow_builds_and_publishes_the_site_as_the_run_does():
    run, workflow = (
        (DOCS.parent / name).read_text(encoding="utf-8") for name in (".ci/run", ".github/workflows/ci.yml")
    )
    (command,) = re.findall(r"^uv run .*sphinx-build .*$", run, re.MULTILINE)
    assert f"- run: {command}\n" in workflow
    assert "uv run --extra test .ci/publish" in workflow


def test_every_page_of_a_function_has_its_parts():
    """Arguments with their types, what is returned, and an example, which the tests of docstrings run."""
    for name, value in public_names().items():
        text = inspect.getdoc(value) or ""
        if inspect.isfunction(value):
            documented = "Parameters\n---" in text or not inspect.signature(value).parameters
            assert documented, name
            assert "Returns\n---" in text, name
        if inspect.isfunction(value) or name.startswith("structures."):
            shown = not isinstance(value, type) or not inspect.isabstract(value)
            assert ">>> " in text or not shown or isinstance(value, Mapping), name


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_the_page_on_structures_of_ones_own_runs(tmp_path, monkeypatch):
    text = (DOCS / "how_to/own_structure.md").read_text(encoding="utf-8")
    cells = re.findall(r"^```\{code-cell\} python\n(.*?)^```", text, re.M | re.S)
    assert len(cells) > 5
    monkeypatch.chdir(tmp_path)
    registered = dict(bm.structures.REGISTER)
    try:
        exec(compile("".join(cells), "own_structure", "exec"), {})
        assert {"shrunk", "toep2", "bands"} <= {*bm.structures.REGISTER}
    finally:
        for name in {*bm.structures.REGISTER} - {*registered}:
            del bm.structures.REGISTER[name]


def test_pages_that_moved_lead_to_where_they_are(tmp_path):
    make_site_files.write_redirects(tmp_path)
    tree = {page.relative_to(DOCS.parent).with_suffix("").as_posix() for page in make_site_files.pages()}
    assert make_site_files.MOVED
    for old, new in make_site_files.MOVED.items():
        assert old not in tree
        assert new in tree
        (target,) = re.findall(r'url=([^"]+)"', (tmp_path / f"{old}.html").read_text(encoding="utf-8"))
        assert (tmp_path / old).parent.joinpath(target).resolve() == (tmp_path / f"{new}.html").resolve()


def test_installing_names_the_extras_and_the_version_that_there_are(capsys):
    page = (DOCS / "install.md").read_text(encoding="utf-8")
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    rows = re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE)
    assert {*rows} == {*project["optional-dependencies"]} - {"test", "docs", "browser"}
    assert f"Python {project['requires-python'].removeprefix('>=')} or newer" in page
    assert f"bayesmeta-{bm.__version__}-py3-none-any.whl" in page
    (code,) = re.findall(r"^```python\n(.*?)^```", page, re.MULTILINE | re.DOTALL)
    exec(code, {})
    assert "beta[Intercept]" in capsys.readouterr().out
