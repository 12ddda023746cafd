"""Trials of two or more arms: estimates of the arms and their sampling covariances, from whatever data users have.

What is known of a trial are contrasts of its arms. They are kept as estimates theta (K,) and covariances V (K, K) of
the arms themselves, of which only contrasts C theta and C V C' are ever used: so no arm is special.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import listing
from bayesmeta.effects.by_arm import ZeroArms, arm_estimates
from bayesmeta.errors import AssumptionWarning, DataError, warn
from bayesmeta.io.long_tables import by_label, check_once, rows_at
from bayesmeta.within.all_pairs import from_all_pairs


@dataclass(frozen=True, eq=False)
class Trial:
    """One trial with K arms.

    theta, V : estimates of the arms and their covariances, up to a constant in all of them.
    people : persons of every arm, NaN where unknown.
    """

    name: str
    treatments: tuple[str, ...]
    theta: FloatArray
    V: FloatArray
    people: FloatArray

    def ordered(self, order: Sequence[str]) -> "Trial":
        """The same with its arms in this order."""
        at = sorted(range(len(self.treatments)), key=lambda i: order.index(self.treatments[i]))
        treatments = tuple(self.treatments[i] for i in at)
        return Trial(self.name, treatments, self.theta[at], self.V[np.ix_(at, at)], self.people[at])

    def contrasts(self) -> tuple[FloatArray, FloatArray]:
        """Estimates (K - 1,) of all arms against the first, and their covariances."""
        C = np.hstack([-np.ones((len(self.theta) - 1, 1)), np.eye(len(self.theta) - 1)])
        return C @ self.theta, C @ self.V @ C.T


def from_arms(
    frame: pd.DataFrame,
    labels: np.ndarray,
    treatments: np.ndarray,
    columns: Mapping[str, str],
    measure: str,
    zeros: ZeroArms,
) -> list[Trial]:
    """Trials of which every arm has counts, a rate, a mean, or an estimate with its standard error."""
    theta, variance, people, left_out = arm_estimates(frame, labels, columns, measure, zeros)
    trials, alone = [], []
    for name, at in by_label(labels):
        where, own = f"trial '{name}'", list(treatments[at])
        check_once(frame, at, own, where, "the arm", "add up arms of one treatment, or give them different names")
        if len(at) < 2:
            raise DataError(f"{where} has one arm, '{own[0]}' ({rows_at(frame, at)})\n  leave it out")
        known = at[np.isfinite(theta[at]) & np.isfinite(variance[at]) & (variance[at] > 0)]
        if len(known) < 2:
            alone += [] if left_out[at].all() else [f"{name} ({rows_at(frame, np.setdiff1d(at, known))})"]
            continue
        V = np.diag(variance[known])
        if measure == "smd":  # the error of the SD that all arms share
            V = V + np.outer(theta[known], theta[known]) / (2 * people[known].sum())
        trials.append(Trial(name, tuple(treatments[known]), theta[known], V, people[known]))
        if len(known) < len(at):
            lost = listing(treatments[i] for i in at if i not in known)
            where += f": no estimate of arm {lost}, which is left out, in {rows_at(frame, np.setdiff1d(at, known))}"
            warn(where, AssumptionWarning)
    if alone:
        warn(
            f"fewer than two arms with an estimate: {listing(alone)}; left out\n"
            "  the rows have none, as where a number is missing",
            AssumptionWarning,
        )
    return trials


def from_contrasts(
    frame: pd.DataFrame,
    labels: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    y: FloatArray,
    se: FloatArray,
    tolerance: float,
) -> list[Trial]:
    """Trials of which there is every comparison of two arms, the first less the second."""
    trials = []
    for name, at in by_label(labels):
        where, first, second = f"trial '{name}'", pairs[0][at], pairs[1][at]
        of_pairs = [frozenset(pair) for pair in zip(first, second, strict=True)]
        check_once(frame, at, of_pairs, where, "the comparison", "each pair of arms is compared once in a trial")
        arms = list(dict.fromkeys(np.column_stack([first, second]).ravel()))
        lacking = [f"{a} with {b}" for a, b in combinations(arms, 2) if frozenset((a, b)) not in of_pairs]
        if lacking:
            raise DataError(
                f"{where} compares {len(arms)} arms and lacks {listing(lacking)}\n"
                "  give all pairs, from whose standard errors the covariances follow, or the arms themselves"
            )
        theta, V = from_all_pairs(where, arms, (first, second), y[at], se[at], tolerance)
        trials.append(Trial(name, tuple(arms), theta, V, np.full(len(arms), np.nan)))
    return trials
