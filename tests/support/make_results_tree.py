"""Writes docs/results_tree.md, the page of what is where in a results tree, from `bayesmeta/tree_schema.py`.

`python -m tests.support.make_results_tree` writes it again; a test holds the page to what this makes.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

from bayesmeta import tree_schema as schema

PAGE = Path(__file__).resolve().parents[2] / "docs/results_tree.md"
WRITERS = {"fit": "`bm.fit`", "sample": "`bm.sample`", "both": "both"}
INTRODUCTION = """\
# What is where in a results tree

`bm.fit` and `bm.sample` return one xarray `DataTree`, which `bm.save` writes and `bm.load` reads. It holds the results
and the specification itself, so every later question takes a tree alone: `bm.summary(tree)`, `bm.predict(tree)`,
`bm.Spec.from_tree(tree)`. ArviZ reads the groups of a posterior as they are.

```python
import bayesmeta as bm

fit = bm.fit(bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study"))
fit["estimate"]["beta"]  # coefficients
fit["estimate"]["tau_district"]  # SD between districts
fit["heterogeneity"]["Q"]
bm.estimates(fit)  # all parameters in one data frame
```

L stands for a level, a grouping factor as it was written (`district`, `study`); without a random part it is `unit`.
Every dimension has its labels as a coordinate. A dimension in parentheses, as in "chain, draw (, effect_L)", is absent
in the case that the last column names: the entry then is one number (for each draw), and its attribute `effect` keeps
the label of a single random effect.

<!-- This page is made by tests/support/make_results_tree.py from bayesmeta/tree_schema.py. -->
"""


def page() -> str:
    """The whole page."""
    dimensions = _pairs("Dimensions", "dimension", schema.DIMENSIONS)
    attributes = _pairs("Attributes of the root", "attribute", schema.ATTRIBUTES)
    return "\n".join([INTRODUCTION, *_groups(), *dimensions, *attributes])


def _groups() -> Iterator[str]:
    yield from ("## Groups", "", "| group | written by | what it is |", "|---|---|---|")
    yield from (f"| [`/{name}`](#{name}) | {WRITERS[each.by]} | {each.meaning} |" for name, each in schema.TREE.items())
    yield ""
    for name, each in schema.TREE.items():
        yield from (f"## {name}", "", f"{each.meaning[:1].upper()}{each.meaning[1:]}.", "")
        yield from ("| variable | dimensions | what it is | one number where there is |", "|---|---|---|---|")
        for variable, entry in each.entries.items():
            yield f"| `{variable}` | {_dims(entry)} | {entry.meaning} | {entry.single} |"
        yield ""
        if each.open:
            yield from (f"Besides: {each.open}.", "")


def _dims(entry: schema.Entry) -> str:
    """As in "chain, draw (, effect_L)"."""
    if not entry.dims:
        return "scalar"
    if not entry.single:
        return ", ".join(entry.dims)
    *always, last = entry.dims
    return f"{', '.join(always)} (, {last})" if always else f"({last})"


def _pairs(title: str, what: str, entries: Mapping[str, str]) -> list[str]:
    rows = [f"| `{name}` | {meaning} |" for name, meaning in entries.items()]
    return [f"## {title}", "", f"| {what} | what it is |", "|---|---|", *rows, ""]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
