"""Imports point inwards only, wherever in a file they stand, and nothing goes round in a circle."""

import ast
import graphlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bayesmeta as bm

PACKAGE = Path(bm.__file__).parent

# innermost first; a package imports from itself and from those before it
ORDER = [
    *("errors", "_version", "_validation", "tree_schema", "_typing", "measures", "io"),
    *("kernel", "structures", "datasets", "effects", "within", "formula", "model", "priors", "tree"),
    *("estimation", "bayes", "display", "inference", "summaries"),
    *("network", "dose_response", "diagnostic"),
    *("plots", "simulation", "model_files", "report", "cli", "__main__"),
]

# third-party packages, each with the innermost package that may import it; those not named here are banned
OUTSIDE = {
    package: ORDER.index(room)
    for room, packages in {
        "_typing": "numpy",
        "io": "pandas narwhals dask distributed pyarrow threadpoolctl",
        "kernel": "scipy numba",
        "formula": "formulaic",
        "model": "xarray",
        "tree": "h5py zarr",
        "priors": "pymc pytensor",
        "estimation": "joblib rich",
        "bayes": "jax arviz arviz_stats nutpie",
        "display": "great_tables docx nokap",
        "inference": "marginaleffects polars",
        "plots": "matplotlib",
        "report": "jinja2 markupsafe PIL",
        "cli": "typer",
    }.items()
    for package in packages.split()
}

FILES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))}
MODULES = {name.removesuffix(".__init__") for name in FILES.values()}


def room(module: str) -> str:
    """The package, or the module beside the packages, that a module lies in."""
    return module.split(".")[0]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, dotted; a submodule that is imported by name is a module of its own."""
    here = ["bayesmeta", *path.relative_to(PACKAGE).parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            below = source.removeprefix("bayesmeta").removeprefix(".")
            for alias in node.names:
                submodule = f"{below}.{alias.name}".removeprefix(".")
                yield f"bayesmeta.{submodule}" if source.startswith("bayesmeta") and submodule in MODULES else source


def test_every_package_has_its_place():
    assert {room(name) for name in FILES.values()} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", [p for p, name in FILES.items() if name != "__init__"], ids=lambda p: FILES[p])
def test_imports_point_inwards(path: Path):
    here = ORDER.index(room(FILES[path]))
    for name in imported(path):
        top, _, below = name.partition(".")
        if top == "bayesmeta":
            assert below, "import the module that is meant, not the package"
            assert ORDER.index(room(below)) <= here, f"{FILES[path]} imports {name}, which lies further out"
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE, f"{FILES[path]} imports {top}, which no package may"
            assert OUTSIDE[top] <= here, f"{FILES[path]} lies too far in to import {top}"


def test_no_imports_go_round_in_a_circle():
    graph = {
        name.removesuffix(".__init__"): {
            m.removeprefix("bayesmeta.") for m in imported(path) if m.startswith("bayesmeta.")
        }
        for path, name in FILES.items()
        if name != "__init__"
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError, which names the circle


def hidden_imports(path: Path) -> Iterator[ast.ImportFrom]:
    """Imports of the package's own modules in functions."""
    tree = ast.parse(path.read_text())
    for function in (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)):
        for node in ast.walk(function):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("bayesmeta"):
                yield node


@pytest.mark.parametrize("path", FILES, ids=lambda p: FILES[p])
def test_an_own_import_in_a_function_is_justified_by_a_comment(path: Path):
    """On its line, or above the block of imports that it stands in: what heavy library loads with it."""
    lines = path.read_text().splitlines()
    for node in hidden_imports(path):
        above = node.lineno - 2
        while lines[above].lstrip().startswith(("from ", "import ")):
            above -= 1
        assert "  # " in lines[node.lineno - 1] or lines[above].lstrip().startswith("# "), ast.unparse(node)


def test_own_imports_in_functions_are_few():
    assert sum(1 for path in FILES for _ in hidden_imports(path)) <= 12
