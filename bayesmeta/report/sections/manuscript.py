"""Text for a paper: the paragraphs of `bm.methods_text` for every tree of a chapter, to be copied."""

import xarray as xr

from bayesmeta.report.blocks import Block, Section, blocks, notes, paragraphs
from bayesmeta.report.sections.opening import titles
from bayesmeta.report.sections.results import Trees
from bayesmeta.summaries.methods_text import MethodsText, methods_text

TITLE = "Text for a paper"


def manuscript(trees: Trees, prob: float, influential: xr.Dataset | None = None) -> Section:
    """The section; one part for each tree where there are several.

    influential : diagnostics of the tree by whose method they were made, which its text reports.
    """
    names = titles(trees)
    parts = [Section(names[name], _blocks(tree, prob, influential)) for name, tree in trees.items()]
    if len(parts) == 1:
        return Section(TITLE, parts[0].blocks, folded=True)
    return Section(TITLE, (), tuple(parts), folded=True)


def _blocks(tree: xr.DataTree, prob: float, influential: xr.Dataset | None) -> tuple[Block, ...]:
    own = influential is not None and influential.attrs["method"] == tree.attrs["method"]
    text = methods_text(tree, prob, influence=influential if own else None)
    return blocks(
        notes("Do not publish these numbers", text.warnings, alarm=True),
        paragraphs(*_titled("Methods", text.methods)),
        paragraphs(*_titled("Results", text.results)),
        notes("References", _numbered(text)),
        notes("Notes for the authors", text.notes),
    )


def _titled(title: str, text: str) -> list[str]:
    """Paragraphs, the first with the title of the section in front."""
    first, *more = text.split("\n\n")
    return [f"{title}. {first}", *more]


def _numbered(text: MethodsText) -> list[str]:
    return [f"[{i}] {reference}" for i, reference in enumerate(text.references, 1)]
