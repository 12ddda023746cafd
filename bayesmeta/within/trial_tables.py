"""Tables of trials as users have them, of arms or of comparisons, and all contrasts in one table with their S."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_name, check_names, listing, shown
from bayesmeta.effects.by_arm import COUNTS, MEANS, RATES, ZeroArms, measure_of_arms
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import rows
from bayesmeta.io.long_tables import connected, labelled, stacked
from bayesmeta.measures import check_measure
from bayesmeta.within.multi_arm import Trial, from_arms, from_contrasts

TREATMENT, VERSUS, PEOPLE = "treatment", "versus", "people"
_ESTIMATE = ("y", "se")


@dataclass(frozen=True, eq=False)
class Trials:
    """Trials of two or more arms.

    table : the data they were read from, one row an arm or a comparison. measure : what contrasts measure, if known.
    """

    trials: Sequence[Trial]
    table: pd.DataFrame
    measure: str | None

    def order(self, reference: str | None) -> list[str]:
        """All treatments, the reference first, that of the most trials by default; the others by name."""
        count = Counter(t for trial in self.trials for t in trial.treatments)
        names = sorted(count, key=lambda t: (t.casefold(), t))
        if reference is None:
            reference = max(names, key=lambda t: count[t])
        check_name(reference, names, "reference: no trial has the treatment", "treatments")
        return [reference, *(t for t in names if t != reference)]

    def check_connected(self, used: Iterable[str]) -> None:
        """That a path of trials, of those that are used, leads from every treatment to every other."""
        used = set(used)
        without = [trial.name for trial in self.trials if trial.name not in used]
        alone = [[t] for trial in self.trials for t in trial.treatments]
        parts = connected([*(trial.treatments for trial in self.trials if trial.name in used), *alone])
        if len(parts) > 1:
            left = f" without those that lack a covariate, {listing(map(repr, without))}" if without else ""
            remedy = "leave the covariate out, or complete it" if left else "look for spellings of one treatment"
            raise DataError(
                f"the network is in {len(parts)} pieces that no trial connects{left}: "
                f"{' | '.join(listing(p) for p in parts)}\n  analyse each by itself, or {remedy}"
            )

    def contrasts(
        self, order: Sequence[str], study: str, outcome: str, taken: Sequence[str]
    ) -> tuple[pd.DataFrame, dict[str, FloatArray]]:
        """A row for each contrast of an arm with the first of its trial in this order, and S by trial.

        Columns: study, treatment, versus, the outcome, persons of both arms where all are known, and by name of a
        treatment 1 where it is compared, -1 where it is compared with.  taken : further names that none may have.
        """
        frame, S = _contrasts([trial.ordered(order) for trial in self.trials], study, outcome)
        if clash := next((t for t in order if t in (*frame.columns, *taken)), None):
            raise DataError(f"treatment '{clash}' has the name of a column of the contrasts\n  give it another name")
        if odd := next((t for t in order if "`" in t), None):
            raise DataError(f"treatment {shown(odd)} holds a backtick, which formulas need\n  give it another name")
        frame[list(order[1:])] = incidence(frame, order[1:])
        return frame, S


def incidence(contrasts: pd.DataFrame, treatments: Sequence[str]) -> FloatArray:
    """(n, T) of contrasts of `treatment` with `versus`: 1 where a treatment is the first of the two, -1 the second.

    >>> incidence(pd.DataFrame({"treatment": ["B", "C"], "versus": ["A", "B"]}), ["A", "B", "C"])
    array([[-1.,  1.,  0.],
           [ 0., -1.,  1.]])
    """
    first, second = (contrasts[name].to_numpy()[:, None] for name in (TREATMENT, VERSUS))
    names = np.array(treatments, dtype=object)
    return (first == names).astype(float) - (second == names)


def read_trials(
    frame: pd.DataFrame,
    study: str,
    of_arms: Mapping[str, Any],
    pairwise: Mapping[str, Any],
    measure: Any,
    zeros: ZeroArms,
    tolerance: float,
) -> Trials:
    """Trials of data with a row, or a set of columns, for each arm; or with a row for each comparison of two arms.

    of_arms : columns by what they hold: treatment; events, total, person_time; mean, sd, n; y, se; None where left out.
    pairwise : columns of treat1 and treat2. zeros, tolerance : as for `within.multi_arm`.
    """
    columns = {name: value for name, value in of_arms.items() if value is not None}
    for name, value in columns.items():
        if not isinstance(value, list | tuple):
            check_names(value, name)  # a number would be that of every arm
    if any(value is not None for value in pairwise.values()):
        made = _of_pairs(
            frame, study, pairwise, columns, None if measure is None else check_measure(measure), tolerance
        )
    else:
        made = _of_arms(frame, study, columns, measure, zeros)
    if not made.trials:
        raise DataError(
            "no trial has two arms with an estimate"
            "\n  check the columns of events and totals, or of means, SDs and sizes"
        )
    return made


def _of_arms(frame: pd.DataFrame, study: str, columns: Mapping[str, Any], measure: Any, zeros: ZeroArms) -> Trials:
    if "treatment" not in columns:
        raise SpecError(
            "treatment is left out\n  name the column of the treatment of each arm, or treat1 and treat2 of comparisons"
        )
    outcome = [name for name in columns if name != "treatment"]
    kind = next((kind for kind in (COUNTS, RATES, MEANS) if set(kind) == set(outcome)), None)
    if kind is None and set(outcome) not in ({*_ESTIMATE}, {*_ESTIMATE, "n"}):
        raise SpecError(
            f"of arms {listing(outcome) or 'nothing'} is given\n"
            "  give one of: events and total; events and person_time; mean, sd and n; y and se"
        )
    table, called = stacked(frame, columns, "treatment")
    labels, treatments = labelled(table, study, "study"), labelled(table, called["treatment"], "treatment")
    if kind is not None:
        measure = measure_of_arms(measure, kind)
    elif measure is not None:
        measure = check_measure(measure)
    own = {name: called[name] for name in outcome}
    return Trials(from_arms(table, labels, treatments, own, measure or "generic", zeros), table, measure)


def _of_pairs(
    frame: pd.DataFrame,
    study: str,
    pairwise: Mapping[str, Any],
    columns: Mapping[str, Any],
    measure: str | None,
    tolerance: float,
) -> Trials:
    lacking = [name for name in ("treat1", "treat2") if pairwise[name] is None]
    lacking += [name for name in _ESTIMATE if name not in columns]
    others = [name for name in columns if name not in _ESTIMATE]
    if lacking or others:
        raise SpecError(
            f"treat1 and treat2 name the arms of contrasts: {listing(lacking or others)} "
            f"{'is left out' if lacking else 'describes single arms'}\n  give treat1, treat2, y and se"
        )
    first, second = (labelled(frame, pairwise[name], "treatment") for name in ("treat1", "treat2"))
    if several := next((name for name in _ESTIMATE if isinstance(columns[name], list | tuple)), None):
        raise SpecError(f"{several} is {shown(columns[several])}; of contrasts it must be the name of one column")
    reported = Reported(frame, {name: Source(columns[name], name) for name in _ESTIMATE}, "a contrast")
    y, se, labels = reported.real("y"), reported.standard_error("se"), labelled(frame, study, "study")
    if (same := first == second).any():
        at = int(np.argmax(same))
        raise DataError(
            f"trial '{labels[at]}': '{first[at]}' is compared with itself in {rows(frame, same)}\n"
            f"  one of the columns '{pairwise['treat1']}' and '{pairwise['treat2']}' is wrong there"
        )
    known = np.isfinite(y) & np.isfinite(se)
    if not known.all():
        lost = [f"'{labels[i]}' ({first[i]} with {second[i]})" for i in np.flatnonzero(~known)]
        warn(
            f"no estimate or no standard error in {rows(frame, ~known)}: trial {listing(lost)}; left out",
            AssumptionWarning,
        )
    kept, pairs = frame[known], (first[known], second[known])
    return Trials(from_contrasts(kept, labels[known], pairs, y[known], se[known], tolerance), kept, measure)


def _contrasts(trials: Sequence[Trial], study: str, outcome: str) -> tuple[pd.DataFrame, dict[str, FloatArray]]:
    table: dict[str, list[Any]] = {study: [], TREATMENT: [], VERSUS: [], outcome: []}
    people: list[tuple[float, float]] = []
    S = {}
    for trial in trials:
        y, S[trial.name] = trial.contrasts()
        base, *others = trial.treatments
        table[study] += [trial.name] * len(others)
        table[TREATMENT] += others
        table[VERSUS] += [base] * len(others)
        table[outcome] += y.tolist()
        people += list(zip(trial.people[1:].tolist(), [trial.people[0]] * len(others), strict=True))
    frame = pd.DataFrame(table)
    if np.isfinite(np.array(people)).all():
        frame[[PEOPLE, f"{PEOPLE} versus"]] = np.array(people)
    return frame, S
