"""Writes docs/gallery/index.md, the gallery's first page, and the small pictures on it.

`python -m tests.support.make_gallery` runs the cells of every page and keeps its first picture; with `index` it writes
the page alone.
"""

import contextlib
import re
import sys
import warnings
from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from PIL import Image

GALLERY = Path(__file__).resolve().parents[2] / "docs/gallery"
THUMBNAILS = GALLERY / "thumbnails"
SIZE = (360, 240)
CELL = re.compile(r"^```\{code-cell\} python\n(?::[^\n]*\n)*(.*?)^```", re.MULTILINE | re.DOTALL)
GROUPS = {
    "One effect a study": (
        "vanhouwelingen2002 berkey1995 raudenbush2009 lipsey2001 normand1999 viechtbauer2007b dersimonian2007"
    ),
    "Heterogeneity and small studies": "viechtbauer2005 viechtbauer2007a jackson2014 henmi2010",
    "Rare events and changes": "rothman2008 yusuf1985 morris2008",
    "Several outcomes, treatments or times": "berkey1998 gleser2009 ishak2007 gliomas",
    "Levels": "konstantopoulos2011 thrombolytic",
    "Networks, dose-response, two stages, Bayes factors": "smoking alcohol masselot2025 power_posing",
}
HEAD = """\
# Gallery of replicated analyses

Published analyses, each on a page: the question, the data, a few lines, the printed numbers beside ours, a picture, and
what differs and why. The numbers are checked whenever the site is built, and a page whose numbers move is an error.
Longer analyses of the paper behind this package are [notebooks](../notebooks.md).
"""


def pages() -> list[str]:
    return [page for listed in GROUPS.values() for page in listed.split()]


def title(page: str) -> str:
    heading = re.search(r"^# (.*)$", (GALLERY / f"{page}.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert heading, page
    return heading[1]


def index() -> str:
    parts = [HEAD]
    for group, listed in GROUPS.items():
        cards = (
            f":::{{grid-item-card}} {title(page)}\n:link: {page}\n:link-type: doc\n"
            f":img-top: thumbnails/{page}.png\n:img-alt: Picture of this analysis\n:::\n"
            for page in listed.split()
        )
        parts += [f"## {group}\n\n::::{{grid}} 1 2 3 3\n:gutter: 3\n", *cards, "::::\n"]
    return "\n".join([*parts, "```{toctree}\n:hidden:\n", *pages(), "```\n"])


def run_page(page: str) -> dict[str, Any]:
    """Runs the cells of a page, whose last holds it to its numbers; returns the names that they leave."""
    names: dict[str, Any] = {}
    with contextlib.chdir(GALLERY):
        sys.path.insert(0, str(GALLERY))
        for cell in CELL.findall((GALLERY / f"{page}.md").read_text(encoding="utf-8")):
            exec(compile(cell, page, "exec"), names)
        sys.path.remove(str(GALLERY))
    return names


def draw(page: str) -> None:
    """Runs the cells of a page and keeps the first picture."""
    run_page(page)
    plt.figure(plt.get_fignums()[0]).savefig(THUMBNAILS / f"{page}.png", dpi=100, bbox_inches="tight")
    plt.close("all")
    with Image.open(THUMBNAILS / f"{page}.png") as picture:
        picture.thumbnail(SIZE)
        whole = Image.new("RGB", SIZE, "white")
        whole.paste(picture, ((SIZE[0] - picture.width) // 2, (SIZE[1] - picture.height) // 2))
    whole.quantize(64).save(THUMBNAILS / f"{page}.png", optimize=True)


def main() -> None:
    (GALLERY / "index.md").write_text(index(), encoding="utf-8")
    if sys.argv[1:] == ["index"]:
        return
    mpl.use("Agg")
    THUMBNAILS.mkdir(exist_ok=True)
    for page in sys.argv[1:] or pages():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            draw(page)


if __name__ == "__main__":
    main()
