"""Results trees in IPython and Jupyter: their estimates first, xarray's view of the arrays folded away below.

`bm.fit` returns a plain `xarray.DataTree`, whose own display is that of its arrays. Where IPython runs, importing the
package tells it to show the summary of a results tree instead, and the comparison of a file of several models. Every
other tree is displayed as xarray displays it.
"""

import sys
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from bayesmeta.display import tables
from bayesmeta.errors import BayesmetaError

if TYPE_CHECKING:
    import xarray as xr

_WRITTEN_BY = "bayesmeta_version"
_DATA_TREE = "xarray.core.datatree", "DataTree"  # by name, so that registering does not import xarray


def register() -> None:
    """Shows results trees as pages in the IPython session that runs, if one does."""
    shell = sys.modules["IPython"].get_ipython() if "IPython" in sys.modules else None
    if shell is not None:
        formatters = shell.display_formatter.formatters
        formatters["text/html"].for_type_by_name(*_DATA_TREE, html)
        formatters["text/plain"].for_type_by_name(*_DATA_TREE, pretty)


def html(tree: "xr.DataTree") -> str:
    """The page of a results tree with its arrays folded away; xarray's HTML of any other tree."""
    blocks, arrays = _blocks(tree), tree._repr_html_()  # type: ignore[no-untyped-call]
    if blocks is None:
        return arrays
    folded = f"<details><summary>Arrays: {escape(_groups(tree))}</summary>{arrays}</details>"
    return f"<div>{tables.html(blocks)}{folded}</div>"


def pretty(tree: "xr.DataTree", printer: Any, cycle: bool) -> None:
    """The page of a results tree as text, for IPython's printer; xarray's text of any other tree."""
    blocks = _blocks(tree)
    arrays = tables.Facts((("Arrays", f"{_groups(tree)} of this xarray.DataTree, which print() shows"),))
    printer.text(repr(tree) if blocks is None else tables.text([*blocks, arrays]))


def _blocks(tree: "xr.DataTree") -> "Sequence[tables.Block] | None":
    """The summary of a results tree or the comparison of several in one; None for what is not whole or not ours."""
    # at the first tree that is shown: these load xarray and pandas, which importing the package must not
    from bayesmeta.summaries.compare import compare
    from bayesmeta.summaries.summary import summary

    try:
        if _WRITTEN_BY in tree.attrs:
            return summary(tree).blocks()
        if tree.children and all(_WRITTEN_BY in child.attrs for child in tree.children.values()):
            return compare(dict(tree.children)).blocks()
    except (BayesmetaError, KeyError):  # groups or variables were removed from it
        return None
    return None


def _groups(tree: "xr.DataTree") -> str:
    return ", ".join(f"/{name}" for name in tree.children)
