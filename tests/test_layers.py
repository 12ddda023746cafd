"""Imports point inwards only, wherever in a file they stand."""

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import bayesmeta as bm

PACKAGE = Path(bm.__file__).parent

# innermost first; a module is named by its first part below the package
RINGS = {
    "words": "errors names",
    "kernel": "kernel",
    "structures": "structures",
    "model": """spec specify formula formula_columns formula_design formula_safety splines grouping columns observations
        sampling_covariance sampling_checks identification fixed_terms respecify within dose_response datasets derive
        raw_data tree_io estimators priors empirical_priors distributions correlation_priors prior_scales prior_checks
        effects arms two_by_two prior_defaults model_priors marginal_op marginal_jax observed vicinity pymc_model""",
    "tables": """results fitting heterogeneity predict prediction_rows sampling samplers posterior posterior_draws
        posterior_predict chains simulate""",
    "people": """summary compare tables parameters remarks same_data nesting partition inference analysis published
        reproduce cli export notebook saved posterior_remarks posterior_criteria sensitivity plots many parallel study
        study_run toml_checks figures figure_files cli_tables report""",
}
RING = {module: ring for ring, modules in enumerate(RINGS.values()) for module in modules.split()}

# third-party packages, each with the innermost ring that may import it; those not named here are banned
OUTSIDE = {
    package: list(RINGS).index(ring)
    for ring, packages in {
        "kernel": "numpy scipy numba",
        "model": "pandas xarray formulaic pooch rdata pymc pytensor jax",
        "tables": "arviz arviz_stats nutpie matplotlib",
        "people": "rich typer joblib threadpoolctl jinja2 markupsafe",
    }.items()
    for package in packages.split()
}

FILES = {path: ".".join(path.relative_to(PACKAGE).with_suffix("").parts) for path in sorted(PACKAGE.rglob("*.py"))}


def ring(module: str) -> int:
    return RING[module.split(".")[0]]


def imported(path: Path) -> Iterator[str]:
    """Every module that a file imports, dotted; a public name becomes the module in which it lives."""
    here = ["bayesmeta", *path.relative_to(PACKAGE).parts]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = here[: len(here) - node.level] if node.level else []
            source = ".".join([*above, *filter(None, [node.module])])
            if source == "bayesmeta":
                yield from (f"bayesmeta.{bm._HOME.get(alias.name, alias.name)}" for alias in node.names)
            else:
                yield source


def test_every_module_has_a_ring():
    found = {name.split(".")[0] for name in FILES.values()} - {"__init__"}
    assert found == set(RING)


@pytest.mark.parametrize("path", [p for p, name in FILES.items() if name != "__init__"], ids=lambda p: FILES[p])
def test_imports_point_inwards(path: Path):
    here = ring(FILES[path])
    for name in imported(path):
        top, _, below = name.partition(".")
        if top == "bayesmeta":
            assert below, "import the module that is meant, not the package"
            if below != "__version__":
                assert ring(below) <= here, f"{FILES[path]} imports {name}, which lies further out"
        elif top not in sys.stdlib_module_names:
            assert top in OUTSIDE, f"{FILES[path]} imports {top}, which no ring may"
            assert OUTSIDE[top] <= here, f"{FILES[path]} lies too far in to import {top}"
