"""The words by which the site is searched, as an extension of Sphinx: entered in the index of their page, and kept."""

import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.index_entries import split_index_msg

FILE = "search_terms.toml"  # beside the conf.py


@cache
def terms(folder: Path) -> dict[str, list[str]]:
    return tomllib.loads((folder / FILE).read_text(encoding="utf-8"))


def terms_of(app: Sphinx, page: str) -> list[str]:
    return terms(Path(app.confdir)).get(page.removeprefix("docs/"), [])


def enter(app: Sphinx, page: str, source: list[str]) -> None:
    """Below the heading of a page in Markdown."""
    app.env.metadata[page]["search_terms"] = own = terms_of(app, page)
    if own:
        entries = ", ".join(f"! {term}" for term in own)
        source[0] = re.sub(r"^(# .*\n)", rf"\1\n```{{index}} {entries}\n```\n", source[0], count=1, flags=re.MULTILINE)


def pages_with_other_terms(app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """Pages that were read when their words were others, which are read again."""
    return [page for page in env.all_docs if env.metadata[page].get("search_terms") != terms_of(app, page)]


def keep(app: Sphinx) -> list[Any]:
    """Entries of pages that this build does not write, which Sphinx does not take over from the build before."""
    indexer = getattr(app.builder, "indexer", None)
    for page, entries in app.env.domains.index_domain.entries.items() if indexer else ():
        if page not in indexer._index_entries:
            words = {
                (word, target or "", main) for kind, text, target, main, _ in entries for word in words_of(kind, text)
            }
            indexer._index_entries[page] = sorted(words)
    return []


def words_of(kind: str, text: str) -> list[str]:
    try:
        return split_index_msg(kind, text)
    except ValueError:  # as the search itself leaves them out
        return []


def setup(app: Sphinx) -> dict[str, bool]:
    app.connect("env-get-outdated", pages_with_other_terms)
    app.connect("source-read", enter)
    app.connect("html-collect-pages", keep)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
