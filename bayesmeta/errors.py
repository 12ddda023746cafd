"""What can go wrong, and what a user should be told.

Every message begins with one line that is enough on its own (what was given, which row, column, group or
parameter); further lines say what would be right and where to look.
"""

from collections.abc import Iterable
from difflib import get_close_matches


class BayesmetaError(ValueError):
    """Base of every error that bayesmeta raises on purpose."""


class SpecError(BayesmetaError):
    """The model as specified cannot be fitted: a formula, level, structure or option is wrong."""


class DataError(BayesmetaError):
    """The data cannot serve the model: a column, row, group or sampling covariance is wrong."""


class ConvergenceError(BayesmetaError):
    """The search for the maximum found no usable point."""


class BayesmetaWarning(UserWarning):
    """Base of every warning that bayesmeta gives on purpose."""


class AssumptionWarning(BayesmetaWarning):
    """Something was assumed that the user did not say."""


class BoundaryWarning(BayesmetaWarning):
    """An estimate lies at the edge of its range, or the data cannot identify it."""


class ConvergenceWarning(BayesmetaWarning):
    """The search stopped at a point that does not pass the convergence test."""


def did_you_mean(given: str, known: Iterable[str]) -> str:
    """A short hint naming the known word closest to the given one; empty when none is close.

    >>> did_you_mean("unstrr", ["unstr", "diag"])
    "; did you mean 'unstr'?"
    """
    close = get_close_matches(str(given), [str(k) for k in known], n=1)
    return f"; did you mean '{close[0]}'?" if close else ""


def listing(items: Iterable[object], most: int = 8) -> str:
    """Items joined by commas, cut after `most` with a count of the rest.

    >>> listing(range(10), most=3)
    '0, 1, 2 and 7 more'
    """
    words = [str(i) for i in items]
    rest = len(words) - most
    return ", ".join(words) if rest <= 0 else ", ".join(words[:most]) + f" and {rest} more"
