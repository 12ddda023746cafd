"""Cells and columns that data frames hold, right and wrong, and what a plain reading makes of them."""

import random
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

NO_NUMBERS = (
    *(
        True,
        False,
        np.True_,
        "0.5",
        "abc",
        "",
        "5%",
        "1,234",
        "1_000",
        b"1",
        1j,
        0.5 + 0j,
        [1.0],
        (1.0,),
        {"a": 1},
        {1.0},
    ),
    *(
        pd.Timestamp("2020-01-01"),
        pd.Timedelta(1, "D"),
        np.datetime64("2020-01-01"),
        object(),
        10**400,
        Decimal("1e400"),
    ),
    *(np.array([1.0, 2.0]), float, "\u0663", "NaN", "inf", "1e5", " 1"),
)
MISSING = (None, np.nan, pd.NA, pd.NaT, Decimal("nan"), float("nan"))
NUMBERS: tuple[Callable[[float], Any], ...] = (
    float,
    np.float64,
    np.float32,
    Decimal,
    Fraction,
    np.longdouble,
    lambda x: np.array(x),
)
TYPES = ("float64", "float32", "Float64", "object", "category")  # of a whole column of numbers


class Column(NamedTuple):
    """A column of data, what was done to it, and the numbers that it stands for; None where it must be refused."""

    what: str
    values: pd.Series
    numbers: np.ndarray | None


def with_cell(values: pd.Series, at: int, cell: Any) -> pd.Series:
    cells = np.empty(len(values), dtype=object)
    cells[:] = values.tolist()
    cells[at] = cell
    return pd.Series(cells, index=values.index, dtype=object)


def column(values: pd.Series, rng: random.Random) -> Column:
    """A column with one or two cells replaced, or of another type."""
    at = rng.randrange(len(values))
    numbers = values.to_numpy(dtype=float)
    kind = rng.choice(["no number", "missing", "number", "type", "infinite", "text", "dates"])
    if kind == "no number":
        cell = rng.choice(NO_NUMBERS)
        return Column(f"row {at}: {type(cell).__name__}", with_cell(values, at, cell), None)
    if kind == "missing":
        return Column(
            f"missing {at}",
            with_cell(values, at, rng.choice(MISSING)),
            np.where(np.arange(len(values)) == at, np.nan, numbers),
        )
    if kind == "number":
        value = round(float(numbers[at]), 2)
        made = rng.choice(NUMBERS)(value)
        return Column(
            f"{type(made).__name__} in row {at}",
            with_cell(values, at, made),
            np.where(np.arange(len(values)) == at, float(made), numbers),
        )
    if kind == "type":
        dtype = rng.choice(TYPES)
        typed = values.astype(dtype)
        return Column(dtype, typed, typed.astype(float).to_numpy(dtype=float))
    if kind == "infinite":
        return Column("infinite", with_cell(values, at, rng.choice([np.inf, -np.inf])), None)
    if kind == "text":
        return Column("text", values.astype(rng.choice(["str", object])).map(str), None)
    return Column("dates", pd.Series(pd.date_range("2020-01-01", periods=len(values)), index=values.index), None)


LABELS = (
    *(
        "a",
        "A",
        "a ",
        "NA",
        "",
        "1",
        "01",
        1,
        1.0,
        1.5,
        True,
        None,
        np.nan,
        pd.NA,
        pd.Timestamp("2020-01-01"),
        Decimal(2),
    ),
    *(np.int64(3), ("a", 1), frozenset({1})),
)
NO_LABELS = ([1], {"a": 1}, {1}, np.array([1]), 1j, b"a", "a\0")
