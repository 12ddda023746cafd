"""Errors and warnings, and how they are worded.

Every message begins with a line that is enough on its own (the value, and which row, column, group or parameter);
further lines say what would be right and where to look.
"""

import os
import re
import warnings
from collections.abc import Callable, Hashable, Mapping
from functools import wraps
from inspect import signature
from typing import Any, NamedTuple

_PACKAGE = os.path.dirname(__file__) + os.sep  # with the separator: a script bayesmeta_trials.py beside it is outside


_LONGEST = 200  # characters without a blank that a message repeats


class BayesmetaError(ValueError):
    """Base of every error that bayesmeta raises on purpose."""

    def __str__(self) -> str:
        """The message, in which what a user wrote at great length is cut."""
        return re.sub(rf"\S{{{_LONGEST},}}", lambda match: f"{match[0][:_LONGEST]} ...", super().__str__())


class SpecError(BayesmetaError):
    """The model as specified cannot be fitted: a formula, level, structure or option is wrong."""


class DataError(BayesmetaError):
    """The data cannot serve the model: a column, row, group or sampling covariance is wrong."""


class ConvergenceError(BayesmetaError):
    """The search for the maximum ended without a usable point, or the weights of a posterior cannot be trusted."""


class BayesmetaWarning(UserWarning):
    """Base of every warning that bayesmeta gives on purpose."""


class AssumptionWarning(BayesmetaWarning):
    """Something was assumed that the user did not state."""


class BoundaryWarning(BayesmetaWarning):
    """An estimate lies at the edge of its range, or the data cannot identify it."""


class ConvergenceWarning(BayesmetaWarning):
    """The search stopped at a point that does not pass the convergence test."""


def warn(message: str, category: type[Warning]) -> None:
    """A warning that points at the user's line: the innermost one outside this package.

    How deep in the package the cause lies does not matter, so no `stacklevel` has to be counted.
    """
    warnings.warn(message, category, skip_file_prefixes=(_PACKAGE,))


class Deprecation(NamedTuple):
    """A public name, or a parameter of public functions, what to write instead, and the version that removes it.

    values : the new values of a parameter by its old ones, where they are others.
    """

    old: str
    new: str
    removed: str
    values: Mapping[object, object] = {}


DEPRECATIONS = (
    Deprecation("seed", "random_seed", removed="0.3"),
    Deprecation("datasets.fetch", "datasets.load", removed="0.3"),
    Deprecation("found", "dataset", removed="0.3"),  # of plots.profile and plots.sensitivity
    Deprecation("ratio", "scale", "0.3", {True: "response", False: "model"}),  # of plots
    Deprecation("sort", "order", removed="0.3"),  # of plots.forest
)


def warn_deprecated(old: str) -> None:
    """The DeprecationWarning of an entry of `DEPRECATIONS`."""
    (entry,) = (each for each in DEPRECATIONS if each.old == old)
    warn(f"'{old}' is deprecated, use '{entry.new}'; it will be removed in version {entry.removed}", DeprecationWarning)


def keeps_old_names[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a public function: parameters still go by their old names, with a DeprecationWarning."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        return function(*args, **with_new_names(function, kwargs))

    return call


def with_new_names(function: Callable[..., object], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of a public function by the names that its parameters have now, with warnings of the old ones."""
    parameters, named = signature(function).parameters, dict(arguments)
    for entry in DEPRECATIONS:
        if entry.old in named and entry.old not in parameters and entry.new in parameters:
            value = named.pop(entry.old)
            if entry.new in named:
                raise TypeError(f"{function.__name__}() got both '{entry.new}' and its old name '{entry.old}'")
            warn_deprecated(entry.old)
            named[entry.new] = entry.values.get(value, value) if isinstance(value, Hashable) else value
    return named
