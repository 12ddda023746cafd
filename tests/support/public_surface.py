"""The public surface as text: names, signatures, and the results trees with their dimensions.

    python -m tests.support.public_surface    writes it anew into tests/hygiene/public_surface.txt

Signatures are those of the source, so that they read the same in every version of Python and NumPy.
"""

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, Literal

import xarray as xr

import bayesmeta as bm
from tests.support.awkward import awkward_spec

STORED = Path(__file__).parent.parent / "hygiene" / "public_surface.txt"


def public_objects() -> Iterator[tuple[str, Any]]:
    """Every public name of the package and of its public modules, and what users are given as results."""
    for name in bm.__all__:
        value = getattr(bm, name)
        if isinstance(value, ModuleType):
            yield from ((f"{name}.{inner}", getattr(value, inner)) for inner in sorted(dir(value)) if inner[0] != "_")
        else:
            yield name, value


def result_classes() -> list[type]:
    """Classes of this package that public functions return and that are not public names themselves."""
    public = [value for _, value in public_objects() if inspect.isclass(value)]
    results: dict[str, type] = {}
    for _, value in public_objects():
        if not inspect.isfunction(value):
            continue
        function = inspect.unwrap(value)
        returned = function.__annotations__.get("return")
        names = re.findall(r"\w+", returned) if isinstance(returned, str) else []
        for each in [returned, *(function.__globals__.get(name) for name in names)]:
            if inspect.isclass(each) and each.__module__.startswith("bayesmeta") and each not in public:
                results[each.__name__] = each
    return [results[name] for name in sorted(results)]


def signature(function: ast.FunctionDef) -> str:
    returns = f" -> {ast.unparse(function.returns)}" if function.returns else ""
    return f"({ast.unparse(function.args)}){returns}"


def visible(value: Any) -> ast.FunctionDef:
    """The definition without first arguments that the function is bound to."""
    function: ast.FunctionDef = definition(value)
    shown = set(inspect.signature(value).parameters)
    function.args.args = [each for each in function.args.args if each.arg in shown]
    return function


def definition(value: Any) -> Any:
    """The syntax tree of a function or class."""
    return ast.parse(textwrap.dedent(inspect.getsource(inspect.unwrap(value)))).body[0]


def _members(value: type, known: set[type]) -> Iterator[str]:
    """Annotated fields and public methods; of a class that derives from a public one only how it is made."""
    derived = bool(known.intersection(value.__mro__[1:]))
    seen = set[str]()
    for base in value.__mro__:
        for node in definition(base).body if base.__module__.startswith("bayesmeta") else ():
            if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
                name, text = node.target.id, f"{node.target.id}: {ast.unparse(node.annotation)}"
            elif isinstance(node, ast.FunctionDef):
                is_property = any("property" in ast.unparse(decorator) for decorator in node.decorator_list)
                name, text = node.name, f"{node.name}{' property' if is_property else ''} {signature(node)}"
            else:
                continue
            if name not in seen and (name == "__init__" or not (derived or name.startswith("_"))):
                yield text
            seen.add(name)


def names() -> Iterator[str]:
    """One line for every function, and the lines of every class."""
    known: dict[Any, str] = {}
    classes = {value for _, value in public_objects() if inspect.isclass(value)}
    for name, value in [*public_objects(), *((f"result {cls.__name__}", cls) for cls in result_classes())]:
        if inspect.isclass(value) and value in known:
            yield f"{name}: see {known[value]}"
        elif inspect.isclass(value):
            bases = ", ".join(base.__name__ for base in value.__bases__ if base is not object)
            yield f"class {name}({bases})"
            yield from (f"    {member}" for member in _members(value, classes))
            known[value] = name
        elif inspect.isfunction(value):
            yield f"{name} {signature(visible(value))}"
        else:
            yield f"{name}: {type(value).__name__}"


def tree_lines(tree: xr.DataTree) -> Iterator[str]:
    """Attributes, and the variables of every group with their dimensions."""
    yield f"    attributes: {', '.join(sorted(map(str, tree.attrs)))}"
    for group in sorted(tree.children):
        yield f"    /{group}"
        dataset = tree[group].to_dataset()
        yield from (f"        {name} ({', '.join(map(str, dataset[name].dims))})" for name in sorted(dataset.data_vars))


def fitted() -> xr.DataTree:
    return bm.fit(awkward_spec())


def sampled(sampler: Literal["quadrature", "nutpie"]) -> xr.DataTree:
    data = bm.datasets.load("berkey98")
    spec = bm.specify("PD + AL ~ 1", data, S=["var_PD", "cov_PD_AL", "var_AL"], measure="md")
    priors = bm.Priors(beta=bm.Prior("Normal", mu=0, sigma=1), tau=bm.priors.half_normal(0.5))
    tune, chains = (8, 2) if sampler == "nutpie" else (None, None)
    return bm.sample(spec, priors, 8, tune, chains, 1, sampler, progress=False)


def surface() -> str:
    lines = ["# names", *names(), "", "# the tree of a fit: two outcomes, levels region and lab", *tree_lines(fitted())]
    lines += ["", "# the tree of a posterior: two outcomes, level unit", *tree_lines(sampled("nutpie"))]
    lines += ["", "# the same without Markov chains", *tree_lines(sampled("quadrature"))]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    import warnings

    warnings.simplefilter("ignore")
    STORED.write_text(surface(), encoding="utf-8")
