"""Whether a value of a file or of the command line is of the type that a function's parameter has.

TOML has strings, numbers, true and false, lists and tables. Types that none of these can be, such as matplotlib axes,
are never met; a parameter without a type takes anything, and its function is left to check it.
"""

import inspect
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, TypeAliasType, Union, get_args, get_origin

from bayesmeta._validation import is_number, listing
from bayesmeta.errors import SpecError

_LISTS = (list, tuple, Sequence, Iterable, Collection)
_TABLES = (dict, Mapping)
_WORDS = {bool: "true or false", int: "a whole number", float: "a number", str: "a string"}


def check_argument_types(function: Callable[..., Any], arguments: Mapping[str, Any], where: str) -> None:
    """Raise SpecError for an argument whose value is not of its parameter's type."""
    parameters = inspect.signature(function).parameters
    for name, value in arguments.items():
        kind = _evaluated(parameters[name].annotation, function)
        if not fits(value, kind):
            words = list(dict.fromkeys(_words(kind)))
            rule = f"it must be {' or '.join(words)}" if words else "it cannot be given here"
            raise SpecError(f"{where}: {name} is {value!r}; {rule}")


def fits(value: Any, kind: Any) -> bool:
    """Whether a value is of a type.

    >>> fits("banana", float | None), fits([0, 1], tuple[float, float]), fits(True, int)
    (False, True, False)
    """
    kind = _written_out(kind)
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if kind in (Any, inspect.Parameter.empty):
        return True
    if origin is Literal:
        return value in arguments
    if origin in (Union, UnionType):
        return any(fits(value, each) for each in arguments)
    if kind is float:
        return is_number(value)
    if kind is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if origin in _TABLES:
        within = arguments[-1] if arguments else Any
        return isinstance(value, Mapping) and all(fits(each, within) for each in value.values())
    if origin in _LISTS:
        return isinstance(value, list) and _all_fit(value, origin, arguments)
    return isinstance(kind, type) and isinstance(value, kind)


def _all_fit(values: list[Any], origin: Any, kinds: tuple[Any, ...]) -> bool:
    if origin is tuple and kinds and kinds[-1] is not Ellipsis:
        return len(values) == len(kinds) and all(map(fits, values, kinds))
    return all(fits(value, kinds[0] if kinds else Any) for value in values)


def _evaluated(annotation: Any, function: Callable[..., Any]) -> Any:
    """The type that an annotation stands for; one that only a type checker can see takes no value of a file."""
    if not isinstance(annotation, str):
        return annotation
    try:
        return eval(annotation, getattr(function, "__globals__", {}))
    except NameError:
        return NoneType


def _written_out(kind: Any) -> Any:
    """The type that an alias stands for."""
    try:
        return kind.__value__ if isinstance(kind, TypeAliasType) else kind
    except NameError:
        return NoneType


def _words(kind: Any) -> list[str]:
    """The types of TOML that a type allows, in words."""
    kind = _written_out(kind)
    origin, arguments = get_origin(kind) or kind, get_args(kind)
    if origin is Literal:
        return [f"one of {listing(map(str, arguments), 20)}"]
    if origin in (Union, UnionType):
        return [word for each in arguments for word in _words(each)]
    if origin in _TABLES:
        return ["a table"]
    if origin is tuple and arguments and arguments[-1] is not Ellipsis:
        return [f"a list of {len(arguments)} values"]
    if origin in _LISTS:
        return ["a list"]
    return [_WORDS[kind]] if kind in _WORDS else []
