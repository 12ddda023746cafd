"""How large and how small numbers may be that enter the likelihood, alone and beside one another.

Inside these ranges results have the digits that notebooks/limits.md states; `tests/benchmarks/precision.py` measures
them. Outside, squares leave the range of numbers, or digits that the data do not have would be made up.
"""

from collections.abc import Callable, Sequence
from itertools import compress

import numpy as np

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta.errors import DataError
from bayesmeta.model.spec import Level

SMALLEST, LARGEST = 1e-50, 1e50  # of effect estimates, offsets and designs: the largest of a column, and every number
LEAST_VARIANCE, MOST_VARIANCE = 1e-100, 1e100  # of a sampling variance
UNEQUAL = 1e12  # a sampling variance over the median of its outcome's, or the reverse
DISTANT = 1e13  # an effect estimate over its standard error: beyond, its own last digit is larger than that
OVERWHELMING = 1e14  # a given variance between groups over the median sampling variance
SLACK = 1 + 1e-9  # of ratios, for rounding

Where = Callable[[tuple[int, ...]], str]  # the words for the place of an entry: `row 7`


def check_size(values: FloatArray, what: str, where: Where) -> None:
    """Refuse numbers that are too large; `what` begins the message, such as `predictor 'dose'`."""
    with np.errstate(invalid="ignore"):  # of entries that are not numbers, which are refused
        large = ~(np.abs(values) <= LARGEST)
    if large.any():
        at = _first(large)
        raise DataError(
            f"{what} is {values[at]:.6g} in {where(at)}; its size must be at most {LARGEST:g}\n"
            "  measure it in another unit"
        )


def check_column(values: FloatArray, what: str, where: Where) -> None:
    """Refuse a column with numbers that are too large, or all too small to be squared."""
    check_size(values, what, where)
    size = np.abs(values)
    largest = size.max(initial=0.0)
    if 0 < largest < SMALLEST:
        at = _first(size == largest)
        raise DataError(
            f"{what} is at most {largest:.6g} in size (in {where(at)}); its largest value must be at least "
            f"{SMALLEST:g}, or all be zero\n  measure it in another unit"
        )


def check_designs(X: FloatArray, coef: Sequence[str], offset: FloatArray, where: Where) -> None:
    """Refuse columns of X, or an offset, outside the range."""
    largest = np.abs(X).max(axis=0, initial=0.0)
    usual = (largest <= LARGEST) & ((largest >= SMALLEST) | (largest == 0))
    for values, name in zip(X.T[~usual], compress(coef, ~usual), strict=True):
        check_column(values, f"predictor '{name}'", where)
    check_size(offset, "the offset", where)


def check_effects(levels: Sequence[Level], variances: FloatArray, where: Where) -> None:
    """Refuse columns of Z outside the range, and a given Psi so large that nothing is left of the sampling errors."""
    typical = float(np.median(variances))
    for level in levels:
        for values, name in zip(level.Z.T, level.effects, strict=True):
            check_column(values, f"the design of the random effect '{name}' of level '{level.name}'", where)
        if level.dim and not level.n_free:
            psi = np.asarray(level.structure.psi(np.zeros(0), level.dim))
            between = np.einsum("ni,ij,nj->n", level.Z, psi, level.Z)
            check_between(between, typical, level.name, where)


def check_between(between: FloatArray, typical: float, level: str, where: Where) -> None:
    large = ~(between <= OVERWHELMING * SLACK * typical)
    if large.any():
        at = _first(large)
        raise DataError(
            f"the given Psi of level '{level}' is a variance of {between[at]:.3g} in {where(at)}, "
            f"{between[at] / typical:.1e} of the median sampling variance; at most {OVERWHELMING:g}\n"
            "  an effect that may be anything is a coefficient: write the level as a factor in the formula"
        )


def ordinary_variances(least: float, most: float) -> bool:
    """Whether the smallest and the largest tell that all of them can be computed with, as is nearly always so."""
    return bool(least >= LEAST_VARIANCE and most <= min(MOST_VARIANCE, UNEQUAL * least))


def check_variance_range(variances: FloatArray, what: str, where: Where) -> None:
    """Refuse sampling variances whose inverses or squares leave the range of numbers."""
    for beyond, bound, words in (
        (np.less, LEAST_VARIANCE, f"at least {LEAST_VARIANCE:g}"),
        (np.greater, MOST_VARIANCE, f"at most {MOST_VARIANCE:g}"),
    ):
        bad = beyond(variances, bound)
        if bad.any():
            at = _first(bad)
            raise DataError(
                f"{what} is {variances[at]:.6g} in {where(at)}; it must be {words}\n"
                "  measure the outcome in another unit"
            )


def check_variance_ratios(variances: FloatArray, outcome: IntArray, what: str, where: Where) -> None:
    """Refuse sampling variances (..., n) that are too unequal to those of the same outcome (n,)."""
    if variances.size and variances.max() <= UNEQUAL * variances.min():  # no two are too unequal, whatever the median
        return
    for k in np.unique(outcome):
        own = np.flatnonzero(outcome == k)
        values = variances[..., own]
        median = np.median(values, axis=-1, keepdims=True)
        bad = (values > UNEQUAL * SLACK * median) | (values * UNEQUAL * SLACK < median)
        if bad.any():
            at = _first(bad)
            middle = float(np.broadcast_to(median, values.shape)[at])
            place = where((*at[:-1], int(own[at[-1]])))
            raise DataError(
                f"{what} is {values[at]:.6g} in {place}, {values[at] / middle:.1e} of the "
                f"median {middle:.3g}; from {1 / UNEQUAL:g} to {UNEQUAL:g} of it can be computed with\n"
                "  check the row, or leave it out"
            )


def check_estimates(y: FloatArray, variances: FloatArray, what: str, where: Where, least: float | None = None) -> None:
    """Refuse effect estimates (..., n) that are too large, alone or beside their standard errors.

    least : the smallest variance, where it is known.
    """
    least = float(variances.min(initial=np.inf)) if least is None else least
    largest = max(y.max(initial=0.0), -y.min(initial=0.0))
    if largest <= min(LARGEST, DISTANT * np.sqrt(least)):
        return  # the rule of every number, which takes longer, holds
    check_size(y, what, where)
    distant = ~(np.abs(y) <= DISTANT * SLACK * np.sqrt(variances))
    if distant.any():
        at = _first(distant)
        se = float(np.sqrt(np.broadcast_to(variances, y.shape)[at]))
        raise DataError(
            f"{what} is {y[at]:.6g} in {where(at)}, {abs(y[at]) / se:.1e} of its standard error {se:.3g}; "
            f"at most {DISTANT:g}, or its last digit is larger than that\n"
            "  check the units of the outcome and of its sampling variance, or subtract a constant from the outcome"
        )


def _first(bad: BoolArray) -> tuple[int, ...]:
    return tuple(int(i) for i in np.argwhere(bad)[0])
