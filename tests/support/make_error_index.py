"""The page of every error and warning that the package gives, read from its code: message, remedy, where it arises.

A message is a template, in which names in angle brackets stand for what users wrote. What a function makes errors of
(`problem(where, what)`) is entered where it is called, with the words of the call.
"""

import ast
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[2] / "bayesmeta"
ERRORS = ("SpecError", "DataError", "ConvergenceError")
UNDER = {"CallError": "SpecError", "NoTestError": "SpecError", "NotIntegratedError": "SpecError"}  # subclasses
WARNINGS = ("AssumptionWarning", "BoundaryWarning", "ConvergenceWarning", "BayesmetaWarning")
HEAD = """\
# Errors and warnings

Every message that the package gives on purpose, by class and by the part of the package in which it arises, as its
code has them. What stands in angle brackets is of the case at hand. The first line of a message says what is wrong,
with the value and its column, row, group or parameter; what would be right follows, where the first line does not say
it. All errors are `bm.BayesmetaError`, which is a `ValueError`; all warnings are `bm.BayesmetaWarning`.
"""
ABOUT = {
    "SpecError": "The model as specified cannot be fitted, or a question cannot be asked: change the call.",
    "DataError": "The data cannot serve the model: look at the column, row, group or file that is named.",
    "ConvergenceError": "A search or a sampler ended without a result: change the model, the priors or the method.",
    "AssumptionWarning": "Something was assumed: state it, and the warning is gone.",
    "BoundaryWarning": "An estimate lies at the edge of its range, or the data cannot identify it.",
    "ConvergenceWarning": "A search or chains stopped short: look before you use the result.",
    "BayesmetaWarning": "What else is worth a look.",
}
SHOWING = ("shown", "listing", "quoted", "str", "repr", "sorted", "list", "float", "int", "len", "shortened")


@dataclass(frozen=True)
class Entry:
    """A message: its class, template with line breaks, and where it is in the code."""

    kind: str
    text: str
    path: str
    line: int

    @property
    def first(self) -> str:
        return self.text.strip().partition("\n")[0].strip()

    @property
    def remedy(self) -> str:
        return " ".join(self.text.strip().partition("\n")[2].split())

    @property
    def has_words(self) -> bool:
        return bool(re.search("[a-z]", re.sub(r"<[^<>]*>", "", self.first)))

    @property
    def pattern(self) -> re.Pattern[str]:
        """What messages of this template look like."""
        parts = re.split(r"<[^<>]*>", " ".join(self.text.split()))
        return re.compile(".*".join(map(re.escape, parts)), re.DOTALL)


def word(node: ast.expr) -> str:
    """A placeholder: the name of what is filled in."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in SHOWING and node.args:
        return word(node.args[0])
    if isinstance(node, ast.Name):
        return f"<{'place' if node.id == 'self' else node.id.strip('_').replace('_', ' ')}>"
    if isinstance(node, ast.Attribute):
        return f"<{node.attr.strip('_').replace('_', ' ')}>"
    if isinstance(node, ast.Subscript):
        return word(node.value)
    return "<...>"


@dataclass
class Module:
    """The functions and texts of a file, by their names."""

    path: Path
    tree: ast.Module

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return [*ast.walk(self.tree)]

    @cached_property
    def functions(self) -> dict[str, ast.FunctionDef]:
        return {node.name: node for node in self.nodes if isinstance(node, ast.FunctionDef)}

    @cached_property
    def texts(self) -> dict[str, ast.expr]:
        of_classes = [each for node in self.nodes if isinstance(node, ast.ClassDef) for each in node.body]
        assigned = [node for node in self.nodes if isinstance(node, ast.Assign) and node not in of_classes]
        return {target.id: node.value for node in assigned for target in node.targets if isinstance(target, ast.Name)}


@cache
def modules() -> dict[str, Module]:
    paths = sorted(PACKAGE.rglob("*.py"))
    return {str(path.relative_to(PACKAGE)): Module(path, ast.parse(path.read_text(encoding="utf-8"))) for path in paths}


def template(node: ast.expr, module: Module, words: Mapping[str, str], depth: int = 0) -> str:
    """A text with placeholders; `words` are those of the names that a call fills in."""
    if depth > 4:
        return word(node)
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(
            part.value if isinstance(part, ast.Constant) else template(part.value, module, words, depth + 1)
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return template(node.left, module, words, depth) + template(node.right, module, words, depth)
    if isinstance(node, ast.IfExp):
        return template(node.body, module, words, depth + 1) if depth == 0 else "<...>"
    if isinstance(node, ast.Name):
        if node.id in words:
            return words[node.id]
        value = module.texts.get(node.id)
        return template(value, module, words, depth + 1) if _is_text(value) else word(node)
    if isinstance(node, ast.Call):
        return _of_call(node, module, words, depth)
    return word(node)


def _is_text(node: ast.expr | None) -> bool:
    return isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str))


def _of_call(node: ast.Call, module: Module, words: Mapping[str, str], depth: int) -> str:
    if isinstance(node.func, ast.Attribute) and node.func.attr == "format":
        return re.sub(r"\{[^}]*\}", "<...>", template(node.func.value, module, words, depth + 1))
    if isinstance(node.func, ast.Name) and depth < 2 and node.func.id not in SHOWING:
        function = module.functions.get(node.func.id)
        returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return)] if function else []
        texts = [each for each in returned if each is not None and not isinstance(each, ast.Name)]
        if function is not None and texts:
            return template(texts[-1], module, _bound(function, node, module, words), depth + 1)
    return word(node)


def _bound(function: ast.FunctionDef, call: ast.Call, module: Module, words: Mapping[str, str]) -> dict[str, str]:
    names = [each.arg for each in function.args.args if each.arg != "self"]
    given = dict(zip(names, call.args, strict=False)) | {each.arg: each.value for each in call.keywords if each.arg}
    return {name: template(value, module, words, 1) for name, value in given.items()}


def _made(node: ast.Call) -> str | None:
    """The class of the error that a call makes; SpecError where a caller may choose another (`raise error(...)`)."""
    name = _name(node)
    return UNDER.get(name, name) if name in (*ERRORS, *UNDER) else None


def _name(call: ast.Call) -> str:
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _raised(function: ast.FunctionDef) -> Iterator[ast.Call]:
    """The errors that a function makes, also of a class that is its argument `error`."""
    chosen = any(each.arg == "error" for each in function.args.args)
    for node in ast.walk(function):
        if isinstance(node, ast.Call) and node.args and (_made(node) or (chosen and _name(node) == "error")):
            yield node


@cache
def makers() -> dict[str, tuple[Module, ast.FunctionDef, ast.Call]]:
    """Functions with an error whose first line is all of what they are called with."""
    found = {}
    for module in modules().values():
        for name, function in module.functions.items():
            parameters = {word(ast.Name(each.arg)) for each in function.args.args}
            for node in _raised(function) if parameters else ():
                first = template(node.args[0], module, {}).partition("\n")[0]
                words = {*re.findall(r"<[^<>]*>", first)}
                if (
                    words & parameters
                    and "<error>" not in words
                    and not re.search("[a-z]", re.sub("<[^<>]*>", "", first))
                ):
                    found[name] = (module, function, node)
    return found


def entries() -> list[Entry]:
    """Every message, in the order of the files; those that pass the words of another on are left out."""
    return [entry for entry in with_passed_on() if entry.has_words]


@cache
def with_passed_on() -> tuple[Entry, ...]:
    return tuple(entry for path, module in modules().items() for entry in _of_module(path, module))


def _of_module(path: str, module: Module) -> Iterator[Entry]:
    for node in module.nodes:
        if not isinstance(node, ast.Call) or not node.args:
            continue
        name = node.func.id if isinstance(node.func, ast.Name) else getattr(node.func, "attr", "")
        kind = _made(node)
        if kind:
            yield from (Entry(kind, text, path, node.lineno) for text in alternatives(node.args[0], module))
        elif name == "error" and isinstance(node.func, ast.Name):
            yield from (Entry("SpecError", text, path, node.lineno) for text in alternatives(node.args[0], module))
        elif name == "warn" and len(node.args) == 2 and getattr(node.args[1], "id", "") in WARNINGS:
            yield Entry(getattr(node.args[1], "id", ""), template(node.args[0], module, {}), path, node.lineno)
        if name in makers() and node is not makers()[name][2]:
            where, function, made = makers()[name]
            chosen = [each.id for each in node.args if isinstance(each, ast.Name) and each.id in ERRORS]
            own = chosen[0] if chosen else _made(made) or "SpecError"
            yield Entry(own, template(made.args[0], where, _bound(function, node, module, {})), path, node.lineno)


def alternatives(node: ast.expr, module: Module) -> list[str]:
    """The texts that an expression can be: of a name what it is assigned, of a function all that it returns."""
    if isinstance(node, ast.Name) and isinstance(module.texts.get(node.id), ast.Call):
        node = module.texts[node.id]
    name = node.func.id if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) else ""
    function = module.functions.get(name)
    if function is None or not isinstance(node, ast.Call):
        return [template(node, module, {})]
    returned = [each.value for each in ast.walk(function) if isinstance(each, ast.Return) and each.value is not None]
    bound = _bound(function, node, module, {})
    return [template(each, module, bound, 1) for each in returned if not isinstance(each, ast.Constant) or each.value]


def area(entry: Entry) -> str:
    """The part of the package, in the words of its docstring."""
    part = entry.path.partition("/")[0]
    module = modules()[f"{part}/__init__.py" if "/" in entry.path else entry.path]
    return f"`{part.removesuffix('.py')}`: {(ast.get_docstring(module.tree) or '').partition('.')[0]}"


def literal(text: str) -> str:
    return f"`` {' '.join(text.split())} ``" if "`" in text else f"`{' '.join(text.split())}`"


def page() -> str:
    parts = [HEAD]
    listed = entries()
    for kind in (*ERRORS, *WARNINGS):
        own = [entry for entry in listed if entry.kind == kind]
        if not own:
            continue
        parts.append(f"\n## {kind}\n\n{ABOUT[kind]}\n")
        by_area: dict[str, dict[str, str]] = {}
        for entry in own:
            by_area.setdefault(area(entry), {}).setdefault(entry.first, entry.remedy)
        for heading, messages in sorted(by_area.items()):
            parts.append(f"\n### {heading}\n")
            parts += [
                f"- {literal(first)}" + (f"  \n  {literal(remedy)}" if remedy else "")
                for first, remedy in sorted(messages.items(), key=lambda each: re.sub(r"^\W+", "", each[0]).lower())
            ]
    return "\n".join(parts) + "\n"
