"""The public contract: what is there is what is stored."""

from difflib import unified_diff
from types import ModuleType

import pytest

import bayesmeta as bm
from tests.support import public_surface

AGAIN = "python -m tests.support.public_surface"
CALLABLE = {name: value for name, value in public_surface.public_objects() if callable(value)}


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
