"""The trials of a network: estimates of their arms, and sampling covariances, from whatever data users have.

What is known of a trial are contrasts of its arms. They are kept as estimates theta (K,) and covariances V (K, K) of
the arms themselves, of which only contrasts C theta and C V C' are ever used: so no arm is special.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_booleans, check_name, check_number, listing
from bayesmeta.effects.one_group import Means, Proportions
from bayesmeta.effects.rates import Rate
from bayesmeta.effects.recipe import RECIPES
from bayesmeta.effects.two_groups import bias_factor
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import alike, column, find_column, group_labels, label, rows
from bayesmeta.measures import check_measure

ARM = {  # of a measure that compares arms the one of an arm alone, in metafor's words
    "logor": "PLO",
    "logrr": "PLN",
    "rd": "PR",
    "asd": "PAS",
    "logirr": "IRLN",
    "ird": "IR",
    "irsd": "IRS",
    "md": "MN",
    "logrom": "MNLN",
}
COUNTS, RATES, MEANS = ("events", "total"), ("events", "person_time"), ("mean", "sd", "n")
MEASURES_OF = {
    COUNTS: ("logor", "logrr", "rd", "asd"),
    RATES: ("logirr", "ird", "irsd"),
    MEANS: ("md", "smd", "logrom"),
}
RATIOS = ("logor", "logrr", "logirr")  # of which a trial without any event says nothing
_ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class Trial:
    """One trial with K arms.

    theta, V : estimates of the arms and their covariances, up to a constant in all of them.
    people : persons of every arm, NaN where unknown.  row : where the trial begins in the data.
    """

    name: str
    treatments: tuple[str, ...]
    theta: FloatArray
    V: FloatArray
    people: FloatArray
    row: int
    notes: list[str] = field(default_factory=list)

    def ordered(self, order: Sequence[str]) -> "Trial":
        """The same with its arms in this order."""
        at = sorted(range(len(self.treatments)), key=lambda i: order.index(self.treatments[i]))
        treatments = tuple(self.treatments[i] for i in at)
        return Trial(self.name, treatments, self.theta[at], self.V[np.ix_(at, at)], self.people[at], self.row)

    def contrasts(self) -> tuple[FloatArray, FloatArray]:
        """Estimates (K - 1,) of all arms against the first, and their covariances."""
        C = np.hstack([-np.ones((len(self.theta) - 1, 1)), np.eye(len(self.theta) - 1)])
        return C @ self.theta, C @ self.V @ C.T


def long(frame: pd.DataFrame, columns: Mapping[str, Any]) -> tuple[pd.DataFrame, dict[str, Any]]:
    """One row for each arm, of data with one for each trial where an argument lists the columns of its arms.

    columns : the arguments of `specify` that name columns of arms.
    """
    listed = {name: value for name, value in columns.items() if isinstance(value, list | tuple)}
    if not listed:
        return frame, dict(columns)
    sizes = {name: len(value) for name, value in listed.items()}
    single = [name for name, value in columns.items() if value is not None and name not in listed]
    if single or len(set(sizes.values())) > 1 or "treatment" not in listed:
        raise SpecError(
            f"columns of arms: {listing(f'{name} lists {n}' for name, n in sizes.items())}"
            + (f", {listing(single)} names one" if single else "")
            + "\n  with one row for each trial, treatment and all that is known of its arms list a column for each arm"
        )
    for name, value in listed.items():
        for each in value:
            find_column(frame, each, name)
    parts = []
    for place in range(sizes["treatment"]):
        own = {value[place]: name for name, value in listed.items()}
        others = [each for value in listed.values() for each in value if each not in own]
        part = frame.drop(columns=others).rename(columns=own)
        parts.append(part[part["treatment"].notna()])
    return pd.concat(parts).sort_index(kind="stable").reset_index(drop=True), {
        name: name if name in listed else value for name, value in columns.items()
    }


def texts(frame: pd.DataFrame, name: str, what: str) -> np.ndarray:
    """(n,) labels of a column in which none may be missing."""
    if not len(frame):
        raise DataError("the data have no rows")
    values = group_labels(find_column(frame, name, what))
    empty = values.isna().to_numpy() | (values.astype(str).str.strip() == "").to_numpy()
    if empty.any():
        raise DataError(f"column '{name}' ({what}) has no label in {rows(frame, empty)}\n  every arm needs one")
    labels = np.array([label(value).strip() for value in values], dtype=object)
    for note in alike(f"{what}s of '{name}'", dict.fromkeys(labels)):
        warn(note, AssumptionWarning)
    return labels


def grouped(labels: np.ndarray) -> Iterator[tuple[str, np.ndarray]]:
    """Every label with the positions that have it, in the order of the data."""
    codes, known = pd.factorize(labels)
    order = np.argsort(codes, kind="stable")
    for code, at in enumerate(np.split(order, np.cumsum(np.bincount(codes))[:-1])):
        yield str(known[code]), at


def check_once(labels: Sequence[Any], where: str, at: np.ndarray, frame: pd.DataFrame, what: str, remedy: str) -> None:
    """That no arm, or no comparison, of a trial stands twice."""
    for i, each in enumerate(labels):
        if each in labels[:i]:
            twice = np.zeros(len(frame), bool)
            twice[at[[labels.index(each), i]]] = True
            name = each if isinstance(each, str) else " with ".join(sorted(each))
            raise DataError(f"{where} has {what} '{name}' twice, in {rows(frame, twice)}\n  {remedy}")


# ---- arms


@dataclass(frozen=True)
class Zeros:
    """What is done about arms without events, or with nothing else.

    add : number added to the cells of all arms of a trial with an empty cell; None adds 0.5 and says so.
    drop : whether trials without any event, or with nothing else, are left out of models for ratios; None says so.
    """

    add: float | None = None
    drop: bool | None = None

    def __post_init__(self) -> None:
        check_booleans(drop_double_zero=self.drop)
        if self.add is not None:
            check_number(self.add, "add", least=0)

    def applied(self, cells: FloatArray, labels: np.ndarray, measure: str) -> FloatArray:
        """(c, arms) cells of one measure with what is added to them, NaN where a trial is left out."""
        add = 0.5 if self.add is None else float(self.add)
        codes, known = pd.factorize(labels)
        empty = np.bincount(codes, (cells == 0).any(0), len(known)) > 0
        none = np.bincount(codes, (cells > 0).all(0), len(known)) == 0
        of_one_kind = [np.bincount(codes, cell > 0, len(known)) == 0 for cell in cells]
        none &= np.any(of_one_kind, axis=0) & (measure in RATIOS)
        if (left := none & (self.drop is not False)).any() and self.drop is None:
            warn(
                f"no events in any arm, or nothing but events in all: {listing(known[none])}; such a trial says "
                "nothing about a ratio and is left out\n"
                "  drop_double_zero=True leaves it out without a warning, False keeps it",
                AssumptionWarning,
            )
        adds = empty & ~left & RECIPES[ARM[measure]].adds
        if adds.any() and self.add is None:
            warn(
                f"{add:g} was added to the cells of all arms of trials with an empty cell: {listing(known[adds])}\n"
                "  add=0.5 does so without a warning; add=0 adds nothing",
                AssumptionWarning,
            )
        return np.where(left[codes], np.nan, cells + add * adds[codes])


def from_arms(
    frame: pd.DataFrame,
    labels: np.ndarray,
    treatments: np.ndarray,
    columns: Mapping[str, str],
    measure: str,
    zeros: Zeros,
) -> list[Trial]:
    """Trials of which every arm has counts, a rate, a mean, or an estimate with its standard error.

    columns : of "events", "total", "person_time", "mean", "sd", "n", or "y" and "se", the column.
    """
    theta, variance, people, left = _arm_estimates(frame, labels, columns, measure, zeros)
    trials, alone = [], []
    for name, at in grouped(labels):
        where = f"trial '{name}'"
        own = list(treatments[at])
        remedy = "add up arms of one treatment, or give them different names"
        check_once(own, where, at, frame, "the arm", remedy)
        if len(at) < 2:
            raise DataError(f"{where} has one arm, '{own[0]}' ({rows(frame, _mask(frame, at))})\n  leave it out")
        known = at[np.isfinite(theta[at]) & np.isfinite(variance[at]) & (variance[at] > 0)]
        if len(known) < 2:
            alone += [] if left[at].all() else [name]
            continue
        V = np.diag(variance[known])
        if measure == "smd":
            V = V + np.outer(theta[known], theta[known]) / (2 * people[known].sum())
        trials.append(Trial(name, tuple(treatments[known]), theta[known], V, people[known], int(at[0])))
        if len(known) < len(at):
            lost = listing(treatments[i] for i in at if i not in known)
            warn(f"{where}: no estimate of arm {lost}, which is left out", AssumptionWarning)
    if alone:
        warn(f"fewer than two arms with an estimate: {listing(alone)}; left out", AssumptionWarning)
    return trials


def _mask(frame: pd.DataFrame, at: Any) -> np.ndarray:
    mask = np.zeros(len(frame), bool)
    mask[at] = True
    return mask


def _arm_estimates(
    frame: pd.DataFrame, labels: np.ndarray, columns: Mapping[str, str], measure: str, zeros: Zeros
) -> tuple[FloatArray, FloatArray, FloatArray, np.ndarray]:
    """Estimates, variances and persons (n,) of arms, and which belong to trials that have been left out."""
    none = np.zeros(len(frame), bool)
    if "y" in columns:
        theta, se = column(frame, columns["y"], "y"), column(frame, columns["se"], "se")
        _refuse(frame, se <= 0, columns["se"], se, "is not a standard error, which must be positive")
        n = column(frame, columns["n"], "n") if "n" in columns else np.full(len(frame), np.nan)
        return theta, se**2, n, none
    values = {name: column(frame, name_of, name) for name, name_of in columns.items()}
    for name, each in values.items():
        positive = name in ("total", "person_time", "sd", "n")
        wrong = (each <= 0) if positive else (each < 0) & (name == "events")
        _refuse(
            frame, wrong | np.isinf(each), columns[name], each, "must be positive" if positive else "is not a count"
        )
    if "mean" in columns:
        theta, variance, n = _of_means(values, labels, measure)
        return theta, variance, n, none
    events, size = values["events"], values["total" if "total" in values else "person_time"]
    if "total" in values:
        over = events > size
        _refuse(frame, over, columns["events"], events, f"exceeds '{columns['total']}', all persons of the arm")
    cells = np.stack([events, size - events]) if "total" in values else events[None]
    known = ~np.isnan(cells).any(0)
    cells = zeros.applied(cells, labels, measure)
    with np.errstate(divide="ignore", invalid="ignore"):  # what has no finite estimate is left out, and said
        theta, variances = RECIPES[ARM[measure]].formula(
            Proportions(*cells) if "total" in values else Rate(cells[0], size)
        )
    people = size if "total" in values else np.full(len(frame), np.nan)
    return theta, variances["LS"], people, known & np.isnan(cells).any(0)


def _of_means(
    values: Mapping[str, FloatArray], labels: np.ndarray, measure: str
) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Estimates, variances and persons (n,) of arms; standardised ones by the SD of all arms of their trial."""
    mean, sd, n = values["mean"], values["sd"], values["n"]
    if measure in ARM:
        with np.errstate(divide="ignore", invalid="ignore"):
            theta, variances = RECIPES[ARM[measure]].formula(Means(mean, sd, n))
        bias = variances["LS"] / 2 if measure == "logrom" else 0.0  # of a logarithm, to the second order
        return theta + bias, variances["LS"], n
    codes, known = pd.factorize(labels)
    usable = np.isfinite(mean + sd + n)
    total = [np.bincount(codes, np.where(usable, x, 0.0), len(known)) for x in ((n - 1) * sd**2, n - 1, n * mean, n)]
    pooled, df = np.sqrt(total[0] / total[1])[codes], total[1][codes]
    standard = bias_factor(df) * (mean - (total[2] / total[3])[codes]) / pooled
    return standard, 1 / n, n


def _refuse(frame: pd.DataFrame, wrong: np.ndarray, name: str, values: FloatArray, why: str) -> None:
    if wrong.any():
        at = int(np.argmax(wrong))
        raise DataError(f"column '{name}' holds {values[at]:g} in {rows(frame, _mask(frame, [at]))}, which {why}")


# ---- contrasts


def from_contrasts(
    frame: pd.DataFrame,
    labels: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray],
    y: FloatArray,
    se: FloatArray,
    tolerance: float,
    people: FloatArray | None = None,
) -> list[Trial]:
    """Trials of which every comparison of two arms is given, the first less the second.

    The variances of all pairs determine the covariances: V = -J D J / 2 with D the variances and J centring.
    """
    trials = []
    for name, at in grouped(labels):
        where = f"trial '{name}'"
        compared_arms = [frozenset((pairs[0][i], pairs[1][i])) for i in at]
        check_once(compared_arms, where, at, frame, "the comparison", "each pair of arms is compared once in a trial")
        arms = list(dict.fromkeys(t for i in at for t in (pairs[0][i], pairs[1][i])))
        lacking = [f"{a} with {b}" for a, b in combinations(arms, 2) if frozenset((a, b)) not in compared_arms]
        if lacking:
            raise DataError(
                f"{where} compares {len(arms)} arms and lacks {listing(lacking)}\n"
                "  give all pairs, from whose standard errors the covariances follow, or the arms themselves"
            )
        theta, V = _solved(where, arms, (pairs[0][at], pairs[1][at]), y[at], se[at], tolerance)
        n = np.full(len(arms), np.nan)
        trials.append(Trial(name, tuple(arms), theta, V, n, int(at[0])))
    return trials


def _solved(
    where: str, arms: list[str], pairs: tuple[np.ndarray, np.ndarray], y: FloatArray, se: FloatArray, tolerance: float
) -> tuple[FloatArray, FloatArray]:
    """Estimates and covariances of arms that have these differences, checked."""
    K = len(arms)
    i, j = (np.array([arms.index(t) for t in each]) for each in pairs)
    difference, D = np.zeros((K, K)), np.zeros((K, K))
    difference[i, j], difference[j, i] = y, -y
    D[i, j] = D[j, i] = se**2
    theta = difference.mean(1)
    off = np.abs(y - (theta[i] - theta[j]))
    if (worst := int(np.argmax(off / se))) >= 0 and off[worst] > _ROUNDING * np.abs(y).max(initial=1.0):
        pair = f"{pairs[0][worst]} with {pairs[1][worst]}"
        loop = f"{where}: its comparisons contradict each other, by {_loop(difference):.3g} around a loop of {pair}"
        if off[worst] > tolerance * se[worst]:
            raise DataError(
                f"{loop}\n  differences of one trial add up: A with C is A with B and B with C; "
                "the sign, or one of the numbers, is wrong"
            )
        warn(f"{loop}; they are averaged, as after rounding", AssumptionWarning)
    if K > 2:
        _check_variances(where, arms, D, tolerance)
    J = np.eye(K) - 1 / K
    return theta, -J @ D @ J / 2


def _loop(difference: FloatArray) -> float:
    """The largest sum of differences around three arms."""
    return float(np.abs(difference[:, :, None] + difference[None] + difference.T[:, None]).max())


def _check_variances(where: str, arms: list[str], D: FloatArray, tolerance: float) -> None:
    """That standard errors of all pairs are those of arms: v_ij = v_i + v_j with positive v."""
    K = len(arms)
    own = (D.sum(1) - D.sum() / 2 / (K - 1)) / (K - 2)
    worst = int(np.argmin(own))
    if own[worst] <= -_ROUNDING * D.max():
        raise DataError(
            f"{where}: no trial can have these standard errors; arm '{arms[worst]}' would have the variance "
            f"{own[worst]:.3g}\n  the variance of a comparison is the sum of those of its arms: one is too small or "
            "another too large"
        )
    J = np.eye(K) - 1 / K
    if np.linalg.eigvalsh(-J @ D @ J)[1] <= _ROUNDING * D.max():
        raise DataError(
            f"{where}: no trial can have these standard errors; their covariances are not positive definite"
        )
    i, j = np.triu_indices(K, 1)
    misfit = np.abs(np.sqrt(D[i, j] / np.maximum(own[i] + own[j], _ROUNDING * D.max())) - 1).max()
    if misfit > tolerance:
        warn(
            f"{where}: its standard errors are not those of independent arms, by up to {misfit:.0%}; they are taken as "
            "they are",
            AssumptionWarning,
        )


def choose_measure(measure: Any, kind: tuple[str, ...]) -> str:
    """The measure that compares arms of which this is known."""
    known = MEASURES_OF[kind]
    if measure is None:
        raise SpecError(f"measure is left out; of {listing(kind)} it can be: {listing(known)}")
    name = check_measure(measure) or ""
    check_name(name, known, f"measure: from {listing(kind)} there is no", "measures")
    return name
