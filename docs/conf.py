"""How the site is built: `sphinx-build --fail-on-warning --conf-dir docs . build/site` at the repository's root."""

import os
import re
import sys
from pathlib import Path

import typer
import typer.main
from docutils import nodes
from latex2mathml.converter import convert
from sphinx.application import Sphinx
from typer.cli import get_docs_for_click

import bayesmeta as bm
from bayesmeta.cli.app import app as command_line

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from tests.support import make_error_index, make_site_files  # noqa: E402

project = "bayesmeta"
author = "the bayesmeta developers"
version = release = bm.__version__
published_as = os.environ.get("SITE_VERSION", version)  # the folder, and the entry of the switch between versions

# the repository is the source, so that links between pages lead to the same place in both
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*"]
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_favicon = "_static/favicon.svg"
html_context = {"default_mode": "auto"}  # light or dark as the reader's system is
html_math_renderer = "mathml"  # which browsers draw themselves, so that no page asks for a script from elsewhere
exclude_patterns = ["docs/_templates", "docs/decisions", "docs/gallery/data/README.md", "**/.ipynb_checkpoints"]
templates_path = ["_templates"]
html_additional_pages = {"index": "home.html"}

extensions = [
    "myst_nb",
    "numpydoc",
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx_copybutton",
    "sphinx_design",
    "tests.support.search_terms",
]
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_heading_anchors = 3
suppress_warnings = ["myst.xref_missing"]  # files of the repository that are no pages; tests hold the links

# notebooks are executed by the tests, which hold their outputs to what they print now; other pages here
nb_execution_mode = "force"
nb_execution_excludepatterns = ["notebooks/*"]
nb_execution_raise_on_error = True
nb_execution_timeout = 600

autosummary_generate = ["docs/reference/index.rst"]
autodoc_typehints = "none"
numpydoc_show_class_members = False
copybutton_prompt_text = ">>> "

html_theme = "pydata_sphinx_theme"
html_title = "bayesmeta"
html_show_sourcelink = False
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": False,
    "secondary_sidebar_items": ["page-toc"],
    "navbar_end": ["version-switcher", "theme-switcher"],
    # one list for all versions, beside the folders in which they are published
    "switcher": {"json_url": "../versions.json", "version_match": published_as},
    "check_switcher": False,
}


def write_command_line() -> None:
    command = typer.main.get_command(command_line)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="bayesmeta", title="The command line")
    for name, each in command.commands.items():  # whole sentences, which the list of a terminal cuts
        sentence = " ".join((each.help or "").partition("\n\n")[0].split())
        text = re.sub(rf"^\* `{name}`: .*$", f"* [`{name}`](#bayesmeta-{name}): {sentence}", text, flags=re.MULTILINE)
    write_if_new("command_line.md", text)


def write_error_index() -> None:
    write_if_new("errors.md", make_error_index.page())


def write_if_new(name: str, text: str) -> None:
    """A page that says what it said stays as old as it is, so that it is not read again."""
    path = HERE / "reference" / name
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        path.write_text(text, encoding="utf-8")


def inline_formula(writer: nodes.NodeVisitor, node: nodes.math) -> None:
    writer.body.append(convert(node.astext(), display="inline"))
    raise nodes.SkipNode


def displayed_formula(writer: nodes.NodeVisitor, node: nodes.math_block) -> None:
    formula = convert(node.astext(), display="block")
    writer.body.append(f'<div class="formula" tabindex="0" role="group" aria-label="Formula">{formula}</div>')
    raise nodes.SkipNode


def write_site_files(app: Sphinx, failed: Exception | None) -> None:
    if failed is None and app.builder.name == "html":
        make_site_files.write(Path(app.outdir), published_as)


def setup(app: Sphinx) -> None:
    app.add_html_math_renderer("mathml", (inline_formula, None), (displayed_formula, None))
    app.connect("build-finished", write_site_files)


write_command_line()
write_error_index()
sys.modules["bayesmeta.small_study"] = bm.small_study  # public under this name, and documented so
