"""What the built site has beside its pages: llms.txt, the list of versions, the cheat sheet as PDF."""

import inspect
import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from os.path import relpath
from pathlib import Path
from types import ModuleType
from typing import Any

import bayesmeta as bm

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
SHEET = "docs/cheat_sheet"
HEAD = """\
# bayesmeta

> Meta-analysis in Python: a model is specified once, with known sampling covariances and random effects at any number
> of levels, and fitted by ML, REML, moments and full Bayes, with the results in one xarray DataTree. `import bayesmeta
> as bm`; `bm.specify`, then `bm.fit` or `bm.sample`, then any question of the result, such as `bm.summary`.

Links lead to the text of the pages. Every page has its HTML at the same path, without `_sources/` and with `.html`.
"""
# pages that were merged into others
MOVED = {"docs/own_structure": "docs/how_to/own_structure", "docs/word": "docs/how_to/export"}
REDIRECT = """\
<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8"><title>Moved</title>
<meta http-equiv="refresh" content="0; url={target}"><link rel="canonical" href="{target}"></head>
<body><p>This page is now <a href="{target}">here</a>.</p></body></html>
"""
TOCTREE = re.compile(
    r"^```\{toctree\}\n(?::[^\n]*\n)*\n?(.*?)^```|^\.\. toctree::\n(?:   :[^\n]*\n)*\n((?:   \S+\n)+)",
    re.MULTILINE | re.DOTALL,
)


def modules() -> dict[str, ModuleType]:
    return {name: getattr(bm, name) for name in bm.__all__ if isinstance(getattr(bm, name), ModuleType)}


def public_names() -> dict[str, Any]:
    """Everything public by the name of its page: what is in a module under a shorter name has one page alone."""
    inside = {
        f"{name}.{public}": getattr(module, public)
        for name, module in modules().items()
        for public in module.__all__
        if getattr(module, public) is not getattr(bm, public, None)
    }
    return {name: getattr(bm, name) for name in bm.__all__ if name not in modules()} | inside


def children(page: Path) -> list[Path]:
    """The pages that a page lists, in its order."""
    names = [name for found in TOCTREE.findall(page.read_text(encoding="utf-8")) for name in "".join(found).split()]
    several = (page.parent / f"{name}{suffix}" for name in names for suffix in (".md", ".ipynb", ".rst"))
    return [path.resolve() for path in several if path.is_file()]


def pages(page: Path = DOCS / "index.md") -> Iterator[Path]:
    """All pages below a page, depth first."""
    for child in children(page):
        yield child
        yield from pages(child)


def text_of(page: Path) -> str:
    text = page.read_text(encoding="utf-8")
    if page.suffix == ".ipynb":
        cells = json.loads(text)["cells"]
        text = "\n\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown")
    return re.sub(r"\A---\n.*?\n---\n", "", text, flags=re.DOTALL).replace("\n=========\n", "\n")


def title_and_sentence(page: Path) -> tuple[str, str]:
    """The heading of a page and the first sentence below it, without links."""
    text = text_of(page).strip()
    heading, _, rest = text.partition("\n")
    paragraphs = [part for part in rest.split("\n\n") if re.match(r"\s*(`{1,2}(?!`)|[\w*>\[])", part)]
    plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", " ".join(paragraphs[0].split())) if paragraphs else ""
    first = re.match(r".*?([.?](?=\s+[A-Z]|$)|:(?=\s|$))", plain.removeprefix("**Question.** "))
    return heading.strip("# "), (first[0] if first else plain).rstrip(":")


def source_link(page: Path) -> str:
    return f"_sources/{page.relative_to(ROOT).as_posix()}.txt"


def llms() -> str:
    """The site for language models: a line for each page and each public name."""
    parts = [HEAD]
    for section in children(DOCS / "index.md"):
        heading, sentence = title_and_sentence(section)
        parts.append(f"\n## {heading}\n\n- [{heading}]({source_link(section)}): {sentence}")
        for page in pages(section):
            heading, sentence = title_and_sentence(page)
            parts.append(f"- [{heading}]({source_link(page)}): {sentence}")
    parts.append("\n## Public names\n")
    for name, value in sorted(public_names().items()):
        first = (inspect.getdoc(value) or "").partition("\n")[0]
        parts.append(f"- [bm.{name}](docs/reference/api/bayesmeta.{name}.html): {first}")
    return "\n".join(parts) + "\n"


def versions(folders: list[str], base: str) -> list[dict[str, Any]]:
    """The entries of the switch between versions: the development version, then releases from the newest.

    folders : those in which versions are published, below the address `base`.
    """
    numbers = sorted((name for name in folders if re.fullmatch(r"\d+(\.\d+)*", name)), key=_order, reverse=True)
    newest = {"preferred": True}
    released = [{"name": name, "version": name, "url": f"{base}/{name}/"} for name in numbers]
    if released:
        released[0] |= newest | {"name": f"{numbers[0]} (stable)"}
    own = [{"name": "development", "version": "dev", "url": f"{base}/dev/"}] if "dev" in folders else []
    return own + released


def _order(version: str) -> list[int]:
    return [int(part) for part in version.split(".")]


def browser() -> str | None:
    return next((path for name in BROWSERS if (path := shutil.which(name))), None)


def print_sheet(site: Path) -> None:
    """The cheat sheet as its page prints."""
    program = browser()
    if program is None:
        print("no Chromium on the path: the cheat sheet has no PDF", file=sys.stderr)
        return
    page, printed = site / f"{SHEET}.html", site / f"{SHEET}.pdf"
    command = [program, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-pdf-header-footer"]
    options = ["--disable-background-networking", "--virtual-time-budget=5000", f"--print-to-pdf={printed}"]
    subprocess.run([*command, *options, page.as_uri()], check=True, capture_output=True, timeout=120)


def write_redirects(site: Path) -> None:
    """At the addresses of pages that moved, a page that leads to the new one."""
    for old, new in MOVED.items():
        target = relpath(f"{new}.html", Path(old).parent)
        (site / old).parent.mkdir(parents=True, exist_ok=True)
        (site / f"{old}.html").write_text(REDIRECT.format(target=target), encoding="utf-8")


def write(site: Path, version: str) -> None:
    write_redirects(site)
    (site / "llms.txt").write_text(llms(), encoding="utf-8")
    alone = [{"name": version, "version": version, "url": "../"}]
    (site / "versions.json").write_text(json.dumps(alone), encoding="utf-8")
    print_sheet(site)


if __name__ == "__main__":
    place, base = Path(sys.argv[1]), sys.argv[2]
    listed = versions([path.name for path in place.iterdir() if path.is_dir()], base)
    (place / "versions.json").write_text(json.dumps(listed, indent=2), encoding="utf-8")
