"""Errors and warnings, and how they are worded.

Every message begins with a line that is enough on its own (the value, and which row, column, group or parameter);
further lines say what would be right and where to look.
"""

import os
import re
import warnings
from collections.abc import Callable
from functools import wraps
from inspect import signature
from typing import NamedTuple

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
    """The search for the maximum ended without a usable point."""


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
    """A public name, or a parameter of public functions, what to write instead, and the version that removes it."""

    old: str
    new: str
    removed: str


DEPRECATIONS = (
    Deprecation("seed", "random_seed", removed="0.3"),
    Deprecation("datasets.fetch", "datasets.load", removed="0.3"),
    Deprecation("found", "dataset", removed="0.3"),  # of plots.profile and plots.sensitivity
)


def warn_deprecated(old: str) -> None:
    """The DeprecationWarning of an entry of `DEPRECATIONS`."""
    (entry,) = (each for each in DEPRECATIONS if each.old == old)
    warn(f"'{old}' is deprecated, use '{entry.new}'; it will be removed in version {entry.removed}", DeprecationWarning)


def keeps_old_names[**P, R](function: Callable[P, R]) -> Callable[P, R]:
    """Decorator of a public function: parameters still go by their old names, with a DeprecationWarning."""
    parameters = signature(function).parameters
    renamed = {each.old: each.new for each in DEPRECATIONS if each.new in parameters}

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> R:
        for old in renamed.keys() & kwargs.keys():
            if renamed[old] in kwargs:
                raise TypeError(f"{function.__name__}() got both '{renamed[old]}' and its old name '{old}'")
            warn_deprecated(old)
            kwargs[renamed[old]] = kwargs.pop(old)
        return function(*args, **kwargs)

    return call
