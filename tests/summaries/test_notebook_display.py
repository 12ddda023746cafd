"""What IPython and Jupyter show of a results tree, and of trees that are none."""

import subprocess
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import xarray as xr
from IPython.core.interactiveshell import InteractiveShell

import bayesmeta as bm
from bayesmeta.summaries import notebook

FOLDED = "<details><summary>Arrays: "


class Balanced(HTMLParser):
    """Fails on tags that are not closed in order; collects the tags and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[str] = []
        self.words = ""
        self.feed(page)
        assert not self.open

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)
        if tag not in ("input", "br", "hr"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: object) -> None:
        self.seen.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


@pytest.fixture(scope="module")
def shell() -> Iterator[InteractiveShell]:
    """An IPython session in which the package was imported."""
    shell = InteractiveShell.instance()
    shell.history_manager.enabled = False
    notebook.register()
    yield shell
    InteractiveShell.clear_instance()
    assert sys.modules["IPython"].get_ipython() is None


@pytest.fixture(scope="module")
def fit() -> xr.DataTree:
    spec = bm.specify("effect ~ 1", bm.datasets.load("school"), S="var", random="1 | district/study")
    return bm.fit(spec, method="ml")


def shown(shell: InteractiveShell, tree: object) -> dict[str, str]:
    return shell.display_formatter.format(tree)[0]


def test_a_fit_shows_its_summary_with_the_arrays_folded_away(shell, fit) -> None:
    page = shown(shell, fit)
    summary = bm.summary(fit)
    assert summary._repr_html_() in page["text/html"]
    above, below = page["text/html"].split(FOLDED)
    assert "0.1845" in above
    assert "constant_data" not in above
    assert fit._repr_html_()[:200] in below
    assert page["text/plain"].startswith(f"{summary}\n\nArrays  /estimate, /criteria, ")
    assert max(map(len, page["text/plain"].splitlines())) <= 100
    assert type(fit) is xr.DataTree


def test_the_html_is_well_formed_and_has_no_colours_of_its_own(shell, fit) -> None:
    page = Balanced(shown(shell, fit)["text/html"])
    assert page.seen.count("details") == 1
    for words in ("Fixed effects (95% intervals)", "578.86", "p < 0.0001"):
        assert words in page.words
    assert "color" not in bm.summary(fit)._repr_html_()
    assert "background" not in bm.summary(fit)._repr_html_()


def test_a_tree_read_from_a_file_shows_the_same_estimates(shell, fit, tmp_path: Path) -> None:
    fit.to_netcdf(tmp_path / "fit.nc")
    with xr.open_datatree(tmp_path / "fit.nc") as read:
        assert shown(shell, read)["text/plain"] == shown(shell, fit)["text/plain"]


def test_several_models_of_one_file_are_compared(shell, fit) -> None:
    page = shown(shell, xr.DataTree(children={"<i>one": fit, "two": fit}))
    assert page["text/plain"].startswith("Models\n<i>one  ml; effect ~ 1;")
    above, below = page["text/html"].split(FOLDED)
    assert "&lt;i&gt;one" in above
    assert "<i>one" not in above
    assert below.startswith("/&lt;i&gt;one, /two</summary>")


def test_labels_are_escaped(shell) -> None:
    data = pd.DataFrame({"y": [0.1, 0.5, 0.3], "v": [0.1, 0.2, 0.1], "x": ["<a>", "<script>", "<script>"]})
    tree = bm.fit(bm.specify("y ~ x", data, S="v"), method="fixed")
    page = shown(shell, tree)["text/html"]
    assert "x[T.&lt;script&gt;]" in page
    assert "<script>" not in page


def damaged(fit: xr.DataTree, group: str) -> xr.DataTree:
    tree = fit.copy()
    del tree[group]
    return tree


@pytest.mark.parametrize("group", ["estimate", "constant_data", "data"])
def test_what_is_not_whole_is_shown_as_xarray_shows_it(group: str, shell, fit) -> None:
    assert_as_xarray(shell, damaged(fit, group))


def test_other_trees_are_shown_as_xarray_shows_them(shell, fit) -> None:
    other = xr.DataTree(xr.Dataset({"x": 1.0}, attrs={"title": "mine"}))
    assert_as_xarray(shell, other)
    assert_as_xarray(shell, xr.DataTree(children={"fit": fit, "other": other}))
    assert_as_xarray(shell, fit["estimate"])
    assert_as_xarray(shell, xr.DataTree())


def assert_as_xarray(shell: InteractiveShell, tree: xr.DataTree) -> None:
    page = shown(shell, tree)
    assert page["text/plain"] == repr(tree)
    assert FOLDED not in page["text/html"]
    assert Balanced(page["text/html"]).words == Balanced(tree._repr_html_()).words


def in_new_process(code: str) -> str:
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout


def test_importing_the_package_registers_and_loads_nothing() -> None:
    assert in_new_process("import bayesmeta, sys; print('IPython' in sys.modules)").strip() == "False"
    code = """
import sys
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
before = set(sys.modules)
import bayesmeta
print({"xarray", "pandas", "numpy"} & (set(sys.modules) - before))
import xarray as xr
for kind in ("text/html", "text/plain"):
    print(shell.display_formatter.formatters[kind].lookup(xr.DataTree()).__module__)
"""
    assert in_new_process(code).split() == ["set()", "bayesmeta.summaries.notebook", "bayesmeta.summaries.notebook"]


def test_ipython_that_is_loaded_but_does_not_run_is_left_alone() -> None:
    code = "import IPython, bayesmeta; print(IPython.get_ipython())"
    assert in_new_process(code).strip() == "None"
