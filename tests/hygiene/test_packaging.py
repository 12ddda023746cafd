"""What a package index, a continuous integration and a reader of the repository rely on."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

import bayesmeta as bm

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
LINK = re.compile(r"\]\(([^)]*)\)")


def test_the_readme_of_an_index_has_no_link_into_the_repository():
    hook = PROJECT["tool"]["hatch"]["metadata"]["hooks"]["fancy-pypi-readme"]
    text = "".join((ROOT / fragment["path"]).read_text(encoding="utf-8") for fragment in hook["fragments"])
    before = LINK.findall(text)
    for each in hook["substitutions"]:
        text = re.sub(each["pattern"], each["replacement"], text)
    after = LINK.findall(text)
    assert len(after) < len(before)
    assert all(target.startswith(("https://", "#")) for target in after)
    assert "![" not in text
    for part in ("# bayesmeta", "what this cannot do", "```python", "Sera F, Armstrong B"):
        assert part in text


def test_links_of_the_readme_lead_somewhere():
    for target in LINK.findall((ROOT / "README.md").read_text(encoding="utf-8")):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_versions_of_the_changelog_and_the_citation():
    assert f"version: {bm.__version__}\n" in (ROOT / "CITATION.cff").read_text(encoding="utf-8")
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    assert f"## {bm.__version__}" in changes
    assert "is not promised" in changes


def test_every_python_that_is_claimed_is_tried():
    workflow = (ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8")
    (matrix,) = re.findall(r"python: \[(.*)\]", workflow)
    tried = re.findall(r'"([\d.]+)"', matrix)
    claimed = [text.rpartition(" ")[2] for text in PROJECT["project"]["classifiers"] if "Python :: 3." in text]
    assert tried == claimed
    assert PROJECT["project"]["requires-python"] == f">={claimed[0]}"
    assert ".ci/run" in workflow


def test_hooks_download_nothing():
    hooks = (ROOT / ".pre-commit-config.yaml").read_text(encoding="utf-8")
    assert re.findall(r"repo: (\S+)", hooks) == ["local"]
    assert set(re.findall(r"language: (\S+)", hooks)) == {"system"}


def test_every_decision_is_listed():
    folder = ROOT / "docs/decisions"
    listed = re.findall(r"\(([^)]*\.md)\)", (folder / "README.md").read_text(encoding="utf-8"))
    assert listed == sorted(path.name for path in folder.glob("0*.md"))
    assert len(listed) >= 4


def test_nothing_beside_the_checkout_is_read():
    outside = re.compile(r"""\.\./shared|shared/|["']shared["']|BAYESMETA_(DATA|CACHE)=""")
    command = ["git", "ls-files", "-z", "tests", "bayesmeta", ".ci", "README.md"]
    names = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if name != "tests/hygiene/test_packaging.py" and (ROOT / name).is_file():
            assert not outside.search((ROOT / name).read_text(encoding="utf-8", errors="ignore")), name


@pytest.mark.parametrize("script", ["publish", "run", "smoke"])
def test_scripts_can_be_run(script):
    assert (ROOT / ".ci" / script).stat().st_mode & 0o100
