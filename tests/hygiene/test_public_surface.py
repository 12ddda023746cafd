"""The public contract: what is there is what is stored, documented, and typed."""

import inspect
import os
import re
import subprocess
import sys
import tomllib
from difflib import unified_diff
from pathlib import Path
from types import ModuleType

import pytest
from numpydoc.validate import get_doc_object, validate

import bayesmeta as bm
from bayesmeta import errors
from tests.support import public_surface

ROOT = Path(__file__).parents[2]
PACKAGE = Path(errors.__file__).parent
AGAIN = "python -m tests.support.public_surface"
RESULTS = {cls.__name__: cls for cls in public_surface.result_classes()}
CALLABLE = {name: value for name, value in public_surface.public_objects() if callable(value)}
METHODS = {
    f"{owner}.{name}": value
    for owner, cls in (CALLABLE | RESULTS).items()
    if isinstance(cls, type)
    for name, value in vars(cls).items()
    if name[0] != "_" and (inspect.isfunction(value) or isinstance(value, property))
}


@pytest.mark.filterwarnings("ignore::bayesmeta.BayesmetaWarning")
def test_the_surface_is_the_stored_one() -> None:
    stored = public_surface.STORED.read_text(encoding="utf-8").splitlines()
    diff = "\n".join(unified_diff(stored, public_surface.surface().splitlines(), "stored", "now", lineterm="", n=0))
    assert not diff, f"the public surface has changed; if that is meant, {AGAIN}\n{diff}"


def test_dir_shows_public_names_and_nothing_else() -> None:
    assert sorted(dir(bm)) == sorted(["__version__", *bm.__all__])
    for name in bm.__all__:
        module = getattr(bm, name)
        if not isinstance(module, ModuleType):
            continue
        shown = [inner for inner in dir(module) if not inner.startswith("__")]
        assert shown, name
        for inner in shown:
            value = getattr(module, inner)
            assert not isinstance(value, ModuleType), f"{name}.{inner} is a module"
            home = getattr(value, "__module__", "bayesmeta")
            assert home.startswith("bayesmeta"), f"{name}.{inner} comes from {home}"


@pytest.mark.parametrize("name", CALLABLE)
def test_no_public_callable_takes_whatever_it_is_given(name: str) -> None:
    if name in ("Prior", "priors.Prior"):  # the parameters of PyMC's distributions
        return
    definition = public_surface.definition(CALLABLE[name])
    rest = getattr(getattr(definition, "args", None), "kwarg", None)
    assert rest is None or rest.arg == "named", f"{name}(**{rest.arg})"


def checks() -> set[str]:
    """The checks of `tool.numpydoc_validation`: all but those that it names."""
    chosen = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["numpydoc_validation"]
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


def test_a_script_of_the_readme_passes_strict_type_checks(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(encoding="utf-8"), flags=re.DOTALL)
    script = tmp_path / "script.py"
    script.write_text("\n\n".join(blocks), encoding="utf-8")
    assert "bm.plots.forest" in script.read_text()
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", script.name]
    paths = {"MYPYPATH": str(PACKAGE.parent)}  # the package under test, silent as an installed one is
    ran = subprocess.run(command, cwd=tmp_path, env=os.environ | paths, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
