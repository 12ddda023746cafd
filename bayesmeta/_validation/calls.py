"""Calls of public functions whose arguments do not fit: what to type instead.

`explain` puts this behind every public name, in a wrapper that costs a call nothing: only when a TypeError comes back
are the arguments looked at.
"""

import sys
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from functools import wraps
from inspect import Parameter, isclass, isfunction, signature
from typing import Any

from bayesmeta._validation import did_you_mean, listing, shown
from bayesmeta._validation.other_software import advice
from bayesmeta.errors import DEPRECATIONS, SpecError

_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)
_BY_POSITION = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_RENAMED = {each.old: each.new for each in DEPRECATIONS}


class CallError(SpecError, TypeError):
    """A call whose arguments do not fit the parameters of a public function, which Python calls a TypeError."""


def explain(namespace: MutableMapping[str, Any], names: Iterable[str], prefix: str) -> None:
    """Replace the public functions of a module, and the constructors of its classes, by ones that explain a wrong call.

    prefix : of their names as users write them, such as "bm.plots.".
    """
    for name in names:
        value: Any = namespace[name]
        if isfunction(value) and not hasattr(value, "explains"):
            explained = explaining(value, prefix + name)
            namespace[name] = explained
            home = vars(sys.modules[str(value.__module__)])
            if home.get(explained.__name__) is value:  # so that pickle finds it where it says it is
                home[explained.__name__] = explained
        elif isclass(value) and value.__module__.startswith("bayesmeta.") and isfunction(vars(value).get("__init__")):
            made_by = vars(value)["__init__"]
            if not hasattr(made_by, "explains"):
                setattr(value, "__init__", explaining(made_by, prefix + name, bound=1))  # noqa: B010  # mypy


def explaining[**P, R](function: Callable[P, R], name: str, bound: int = 0) -> Callable[P, R]:
    """A function that raises a CallError where its arguments do not fit.

    name : as users write it.  bound : arguments by position that they do not write.
    """

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except TypeError as error:
            message = None if isinstance(error, SpecError) else mismatch(function, name, args, kwargs, bound)
            if message is None:
                raise
            raise CallError(message) from None

    call.explains = name  # type: ignore[attr-defined]
    return call


def mismatch(
    function: Callable[..., Any], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any], bound: int = 0
) -> str | None:
    """Why arguments do not fit the parameters of a function, and what to type; None where they do fit.

    >>> def fit(spec, method="reml"): ...
    >>> print(mismatch(fit, "bm.fit", (1,), {"methd": "ml"}))
    bm.fit has no argument 'methd'; did you mean 'method'?
      its arguments: spec, method
    """
    form = signature(function)
    known = {_RENAMED[key] if key in _RENAMED and key not in form.parameters else key: kwargs[key] for key in kwargs}
    try:
        form.bind(*args, **known)
    except TypeError:
        parameters = [each for each in form.parameters.values() if not each.name.startswith("_")][bound:]
        problem = _problem(parameters, name, args[bound:], known)
        return f"{problem}\n  its arguments: {listing((each.name for each in parameters), 30)}"
    return None


def _problem(parameters: list[Parameter], name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> str:
    named = [each.name for each in parameters if each.kind in _NAMED]
    by_position = [each.name for each in parameters if each.kind in _BY_POSITION]
    for argument, value in kwargs.items():
        if argument not in named:
            return _unknown(name, argument, value, named)
    if len(args) > len(by_position):
        which = f": {', '.join(by_position)}" if by_position else ""
        return f"{name} has {len(args)} arguments without a name, and takes at most {len(by_position)}{which}"
    if twice := [each for each in by_position[: len(args)] if each in kwargs]:
        return f"{name} has '{twice[0]}' twice, once without its name"
    missing = [each.name for each in parameters[len(args) :] if _is_needed(each) and each.name not in kwargs]
    remedy = advice(name, missing[0], "", named) if missing else ""
    return f"{name} needs {listing(map(repr, missing))}" + (f"; {remedy}" if remedy else "")


def _unknown(name: str, argument: str, value: object, known: Collection[str]) -> str:
    remedy = advice(name, argument, shown(value, 40), known)
    return f"{name} has no argument '{argument}'" + (f"; {remedy}" if remedy else did_you_mean(argument, known))


def no_argument(function: Callable[..., Any], name: str, argument: str, value: object) -> CallError:
    """The error about an argument that a function does not have, for those that take results trees under any name."""
    parameters = [each for each in signature(function).parameters.values() if each.kind is not Parameter.VAR_KEYWORD]
    known = [each.name for each in parameters]
    return CallError(f"{_unknown(name, argument, value, known)}\n  its arguments: {listing(known, 30)}")


def _is_needed(parameter: Parameter) -> bool:
    return parameter.default is parameter.empty and parameter.kind in (*_NAMED, *_BY_POSITION)
