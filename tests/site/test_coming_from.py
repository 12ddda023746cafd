"""Pages for users of other software: every call of ours runs, and gives the number that stands beside theirs."""

import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.support.make_gallery import GALLERY

PAGES = sorted((GALLERY.parent / "coming_from").glob("*.md"))
CODE = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
HEADS = {"theirs", "ours", "bayesmeta"}


def rows(text: str) -> list[dict[str, str]]:
    """Rows of the tables that have a call of ours, their number and ours."""
    found: list[dict[str, str]] = []
    head: list[str] = []
    for line in text.splitlines():
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line.strip())[1:-1]]
        if not cells:
            head = []
        elif not head:
            head = cells
        elif set(head) >= HEADS and not set("".join(cells)) <= set("-: "):
            found.append(dict(zip(head, cells, strict=True)))
    return found


def unit(number: str) -> float:
    return float(10.0 ** int(Decimal(number).as_tuple().exponent))


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_numbers_beside_theirs(page: Path):
    text = page.read_text(encoding="utf-8")
    names: dict[str, Any] = {}
    for block in CODE.findall(text):
        exec(compile(block, page.name, "exec"), names)
    table = rows(text)
    assert len(table) >= 15
    for row in table:
        call = row["bayesmeta"].strip("`")
        value = float(eval(call, names))
        assert abs(value - float(row["ours"])) <= 0.501 * unit(row["ours"]), (call, value)
        theirs, _, error = row["theirs"].partition(" ± ")
        places = 1.0 if "brms:" in row.get("number", "") else 0.501  # of what a sampler printed to two places
        apart = 4 * float(error) if error else places * unit(theirs)
        assert abs(value - float(theirs)) <= apart, (call, value, row["theirs"])


def test_every_page_is_in_the_list():
    listed = (GALLERY.parent / "coming_from.md").read_text(encoding="utf-8")
    assert PAGES
    assert all(f"](coming_from/{page.name})" in listed for page in PAGES)
