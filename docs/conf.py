"""How the site is built: `sphinx-build --fail-on-warning --conf-dir docs . build/site` at the repository's root."""

import sys
from pathlib import Path

import typer
import typer.main
from typer.cli import get_docs_for_click

import bayesmeta as bm
from bayesmeta.cli.app import app as command_line

HERE = Path(__file__).resolve().parent

project = "bayesmeta"
author = "the bayesmeta developers"
version = release = bm.__version__

# the repository is the source, so that links between pages lead to the same place in both
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*"]
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
}


def write_command_line() -> None:
    command = typer.main.get_command(command_line)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="bayesmeta", title="The command line")
    (HERE / "reference" / "command_line.md").write_text(text, encoding="utf-8")


write_command_line()
sys.modules["bayesmeta.small_study"] = bm.small_study  # public under this name, and documented so
