"""Docstrings of public functions and classes pass numpydoc's checks; that their examples run, doctest sees to."""

import inspect
import tomllib
from pathlib import Path

import pytest
from numpydoc.validate import get_doc_object, validate

from tests.support import public_surface

PROJECT = Path(__file__).parents[2] / "pyproject.toml"
RESULTS = {cls.__name__: cls for cls in public_surface.result_classes()}
CALLABLE = {name: value for name, value in public_surface.public_objects() if callable(value)}
METHODS = {
    f"{owner}.{name}": value
    for owner, cls in (CALLABLE | RESULTS).items()
    if isinstance(cls, type)
    for name, value in vars(cls).items()
    if name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))
}


def checks() -> set[str]:
    """The checks of `tool.numpydoc_validation`: all but those that it names."""
    chosen = tomllib.loads(PROJECT.read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]
    assert chosen["checks"][0] == "all"
    return set(chosen["checks"][1:])


@pytest.mark.parametrize("name", CALLABLE)
def test_docstrings_are_numpydoc(name: str) -> None:
    value = CALLABLE[name]
    left_out = checks() | ({"EX01"} if isinstance(value, type) else set())
    problems = [f"{code} {text}" for code, text in validate(get_doc_object(value))["errors"] if code not in left_out]
    assert not problems


@pytest.mark.parametrize("name", METHODS)
def test_methods_of_public_classes_and_results_have_a_docstring(name: str) -> None:
    assert inspect.getdoc(METHODS[name]), "none of its own, and none to inherit"
