"""The data sets that are timed: simulated from the model that is then fitted."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pandas as pd

Arguments = dict[str, Any]  # of bm.specify


@dataclass(frozen=True)
class Case:
    """One row of the table.

    draw : random generator -> arguments of bm.specify; runs : how many data sets; rows : of the data.
    search, fit : at most so many milliseconds; mixmeta : seconds that mixmeta 1.2.1 took on a machine of this kind.
    """

    title: str
    draw: Callable[[np.random.Generator], Arguments]
    rows: int
    runs: int = 9
    search: float | None = None
    fit: float | None = None
    mixmeta: float | None = None


def exchangeable(dim: int, rho: float) -> np.ndarray:
    """(dim, dim) correlation matrix with one correlation."""
    return np.full((dim, dim), rho) + (1 - rho) * np.eye(dim)


def three_outcomes(rng: np.random.Generator, outer: int, rho: float = 0.8) -> Arguments:
    """The design of Table 6 of Sera et al. (2019): ten inner groups of one unit; within a unit, SDs from U(0.5, 2)."""
    n, R = 10 * outer, exchangeable(3, rho)
    code = np.repeat(np.arange(outer), 10)
    sd = rng.uniform(0.5, 2, (n, 3))
    S = sd[:, :, None] * R * sd[:, None, :]
    between = rng.multivariate_normal(np.zeros(3), R, outer)[code] + rng.multivariate_normal(np.zeros(3), R, n)
    y = between + np.einsum("nij,nj->ni", np.linalg.cholesky(S), rng.standard_normal((n, 3)))
    data = pd.DataFrame(y, columns=["y1", "y2", "y3"]).assign(outer=code, inner=np.arange(n))
    return {"formula": "y1 + y2 + y3 ~ 1", "data": data, "S": S, "random": "1 | outer/inner", "psi": "cs"}


def univariate(rng: np.random.Generator, studies: int) -> Arguments:
    v = rng.uniform(0.05, 0.5, studies)
    data = pd.DataFrame({"y": rng.normal(0.2, np.sqrt(0.1 + v)), "v": v})
    return {"formula": "y ~ 1", "data": data, "S": "v"}


def bivariate(rng: np.random.Generator, studies: int) -> Arguments:
    sd = rng.uniform(0.2, 0.7, (studies, 2))
    S = sd[:, :, None] * exchangeable(2, 0.5) * sd[:, None, :]
    y = np.einsum("nij,nj->ni", np.linalg.cholesky(S + 0.1 * exchangeable(2, 0.3)), rng.standard_normal((studies, 2)))
    return {"formula": "y1 + y2 ~ 1", "data": pd.DataFrame(y, columns=["y1", "y2"]), "S": S, "psi": "unstr"}


def two_levels(rng: np.random.Generator, outer: int, inner: int, units: int = 1) -> Arguments:
    """`outer` groups of `inner` groups of `units` rows, variances of 0.1 between the groups of either level."""
    n = outer * inner * units
    code = np.arange(n) // units
    v = rng.uniform(0.05, 0.5, n)
    b = rng.normal(0, np.sqrt(0.1), outer)[code // inner] + rng.normal(0, np.sqrt(0.1), outer * inner)[code]
    y = 0.2 + b + rng.normal(0, np.sqrt(v))
    data = pd.DataFrame({"y": y, "v": v, "outer": code // inner, "inner": code})
    return {"formula": "y ~ 1", "data": data, "S": "v", "random": "1 | outer/inner"}


LIMITS = (
    Case(
        "three outcomes, two levels, cs: 50 groups of 10", partial(three_outcomes, outer=50), 500, fit=25, mixmeta=2.12
    ),
    Case(
        "three outcomes, two levels, cs: 10 groups of 10",
        partial(three_outcomes, outer=10),
        100,
        search=8,
        fit=15,
        mixmeta=0.52,
    ),
    Case("univariate: 10,000 studies", partial(univariate, studies=10_000), 10_000, fit=25, mixmeta=8.4),
    Case("bivariate, unstr: 1,000 studies", partial(bivariate, studies=1_000), 1_000, fit=25, mixmeta=0.86),
    Case("two levels: 1,000 groups of 10", partial(two_levels, outer=1_000, inner=10), 10_000, fit=50, mixmeta=6.2),
)
GROWTH = tuple(
    Case(f"two levels: {m:,} groups of 10", partial(two_levels, outer=m, inner=10), 10 * m, runs=3)
    for m in (1_000, 10_000, 100_000)
)
ONE_GROUP = tuple(
    Case(f"one outer group: {m:,} inner groups of 5", partial(two_levels, outer=1, inner=m, units=5), 5 * m, runs=3)
    for m in (4_000, 40_000)
)
