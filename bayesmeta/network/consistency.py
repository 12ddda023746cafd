"""From arms or contrasts of trials to the specification of a consistency model, and to models beyond it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
from scipy.linalg import block_diag

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_choice, check_name, check_names, check_number, listing, shown
from bayesmeta.effects.by_arm import COUNTS, MEANS, RATES, ZeroArms, measure_of_arms
from bayesmeta.effects.reported import Reported, Source
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import as_frame, column, rows
from bayesmeta.io.long_tables import connected, labelled, shared_by_group, stacked
from bayesmeta.measures import check_measure
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify as specify_model
from bayesmeta.structures.base import Structure
from bayesmeta.structures.known import Proportional
from bayesmeta.tree.response import DIFFERENCE, EFFECT
from bayesmeta.within.multi_arm import Trial, from_arms, from_contrasts

EQUAL = "equal"
BETTER = ("smaller", "larger")
ACTIVE = "any treatment"  # column of what is compared with the reference, for slopes that all treatments share
TREATMENT, VERSUS, PEOPLE = "treatment", "versus", "people"
Columns = str | Sequence[str]


def specify(
    data: Any,
    *,
    study: str,
    treatment: Columns | None = None,
    events: Columns | None = None,
    total: Columns | None = None,
    person_time: Columns | None = None,
    mean: Columns | None = None,
    sd: Columns | None = None,
    n: Columns | None = None,
    treat1: str | None = None,
    treat2: str | None = None,
    y: Columns | None = None,
    se: Columns | None = None,
    measure: str | None = None,
    reference: str | None = None,
    psi: Literal["equal", "unstr", "id", "diag", "cs", "hcs"] | Structure = "equal",
    levels: Columns | None = None,
    covariates: Columns | None = None,
    slopes: Literal["treatment", "common"] = "treatment",
    add: float | None = None,
    drop_double_zero: bool | None = None,
    better: Literal["smaller", "larger"] | None = None,
    tolerance: float = 0.1,
) -> Spec:
    """A network meta-analysis of trials of two or more treatments, ready for `bm.fit` and `bm.sample`.

    Every trial with K arms enters with K - 1 contrasts and their sampling covariances. A coefficient is the effect of a
    treatment against the reference; all other comparisons are differences of two (consistency).

    Parameters
    ----------
    data : DataFrame
        One row for each arm; or one for each trial, where `treatment` and what is known of arms list a column for each
        arm, missing where a trial has fewer; or one row for each comparison of two arms (`treat1`, `treat2`).
    study : str
        Column of the trials.
    treatment : str or list of str, optional
        Column of the treatment of an arm.
    events, total, person_time : str or list of str, optional
        Columns of the numbers of events, and of persons or of their time at risk.
    mean, sd, n : str or list of str, optional
        Columns of means, standard deviations and numbers of persons.
    treat1, treat2 : str, optional
        Columns of two treatments, the first compared with the second; of a trial with several arms all pairs.
    y, se : str or list of str, optional
        Columns of the estimate and its standard error: of a comparison with `treat1` and `treat2`, of an arm (such as a
        log odds) with `treatment`. Ratios as logarithms.
    measure : str, optional
        What contrasts measure: logor, logrr, rd, asd of events and persons; logirr, ird, irsd of events and time; md,
        smd, logrom of means; of `y` any. It must be given except with `y`.
    reference : str, optional
        The treatment that coefficients compare with; by default that of the most trials. No comparison depends on it.
    psi : {"equal", "unstr", "id", "diag", "cs", "hcs"} or Structure, default "equal"
        How effects vary between trials: all comparisons by the same SD and any two that share an arm with a correlation
        of 1/2 ("equal", the usual model); or a structure for the effects against the reference.
    levels : str or list of str, optional
        Columns of groups of trials, outer to inner, that have effects of their own with the same structure.
    covariates : str or list of str, optional
        Columns of numbers that are the same in all arms of a trial and may modify effects.
    slopes : {"treatment", "common"}, default "treatment"
        Whether covariates modify the effect of each treatment against the reference by a slope of its own, or of all by
        the same one, so that comparisons without the reference are not modified.
    add : float, optional
        What is added to the cells of all arms of a trial with an arm without events (or nothing else); 0 adds nothing,
        and such arms are left out. By default 0.5, with a warning.
    drop_double_zero : bool, optional
        Whether trials without any event, which say nothing about a ratio, are left out. By default they are, with a
        warning.
    better : {"smaller", "larger"}, optional
        Which effects are good, for rankings: smaller ones of deaths, larger ones of cures.
    tolerance : float, default 0.1
        By how much contrasts of one trial may contradict each other, in standard errors, as they do after rounding; and
        standard errors those of independent arms, as a share.

    Returns
    -------
    Spec
        The specification; `analysis` holds treatments and reference.

    Raises
    ------
    SpecError
        For unknown columns, a combination of arguments that describes no data, or an unknown reference.
    DataError
        For data that are no network: one trial with one arm, an arm or a comparison twice, a treatment compared with
        itself, pieces that no trial connects, contrasts that contradict each other, standard errors that no trial can
        have, events that exceed persons, missing labels.

    Warns
    -----
    AssumptionWarning
        When something is added to empty cells, when a trial or an arm is left out, or contrasts are averaged.

    Notes
    -----
    The random effects of a trial are those of its arms, N(0, tau2 (I + J) / 2) for the treatments against the
    reference: any contrast then has the variance tau2, and the likelihood is exact whatever arms a trial has. tau has
    the default priors of the measure.

    References
    ----------
    Lu and Ades (2006), J. Am. Stat. Assoc. 101:447-459; Salanti (2012), Res. Synth. Methods 3:80-97; White, Barrett,
    Jackson and Higgins (2012), Res. Synth. Methods 3:111-125; Rücker (2012), Res. Synth. Methods 3:312-324.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> arms = {"trial": [1, 1, 2, 2, 3, 3], "drug": list("ABACBC"), "ill": [9, 4, 20, 9, 6, 8], "n": [50] * 6}
    >>> spec = bm.network.specify(arms, study="trial", treatment="drug", events="ill", total="n", measure="logor",
    ...                           reference="A")
    >>> spec.coef, spec.y.round(2)
    (('B', 'C'), array([-0.93, -1.11,  0.33]))
    """
    frame = as_frame(data, "data").rename(columns=str)
    of_arms = {"treatment": treatment, "events": events, "total": total, "person_time": person_time}
    of_arms |= {"mean": mean, "sd": sd, "n": n, "y": y, "se": se}
    outer = [] if levels is None else check_names(levels, "levels")
    modifiers = [] if covariates is None else check_names(covariates, "covariates")
    check_choice(slopes, ("treatment", "common"), "slopes")
    check_number(tolerance, "tolerance", least=0)
    if better is not None:
        check_choice(better, BETTER, "better")
    for name, value in of_arms.items():
        if value is not None:
            check_names(value, name)
    zeros = ZeroArms(add, drop_double_zero)
    pairwise = {"treat1": treat1, "treat2": treat2}
    if any(value is not None for value in pairwise.values()):
        measure = None if measure is None else check_measure(measure)
        trials, table = _of_pairs(
            frame, study, pairwise, {k: v for k, v in of_arms.items() if v is not None}, tolerance
        )
    else:
        trials, table, measure = _of_arms(frame, study, of_arms, measure, zeros)
    if not trials:
        raise DataError("no trial has two arms with an estimate")
    order = _order([trial.treatments for trial in trials])
    reference = _reference(trials, order, reference)
    check_connected(trials)
    order = [reference, *(t for t in order if t != reference)]
    made, S = _contrast_table(
        [trial.ordered(order) for trial in trials], order, study, y if isinstance(y, str) else measure
    )
    for each in (*outer, *modifiers):
        values = column(table, each, "covariates") if each in modifiers else labelled(table, each, "levels")
        shared = shared_by_group(labelled(table, study, "study"), values, each, "covariates and levels are of trials")
        made[each] = made[study].map(shared).to_numpy()
    spec = _model(made, S, order, study, measure, psi, outer, modifiers, slopes)
    return replace(spec, analysis={**spec.analysis, "better": better})


def _of_arms(
    frame: pd.DataFrame, study: str, columns: Mapping[str, Any], measure: Any, zeros: ZeroArms
) -> tuple[list[Trial], pd.DataFrame, str | None]:
    if columns["treatment"] is None:
        raise SpecError(
            "treatment is left out\n  name the column of the treatment of each arm, or treat1 and treat2 of comparisons"
        )
    outcome_columns = {name: value for name, value in columns.items() if value is not None and name != "treatment"}
    kind = next((kind for kind in (COUNTS, RATES, MEANS) if set(kind) == set(outcome_columns)), None)
    if kind is None and set(outcome_columns) not in ({"y", "se"}, {"y", "se", "n"}):
        raise SpecError(
            f"of arms {listing(outcome_columns) or 'nothing'} is given\n"
            "  give one of: events and total; events and person_time; mean, sd and n; y and se"
        )
    table, called = stacked(frame, columns, "treatment")
    labels, treatments = labelled(table, study, "study"), labelled(table, called["treatment"], "treatment")
    if kind is not None:
        measure = measure_of_arms(measure, kind)
    elif measure is not None:
        measure = check_measure(measure)
    named = {name: called[name] for name in outcome_columns}
    return from_arms(table, labels, treatments, named, measure or "generic", zeros), table, measure


def _of_pairs(
    frame: pd.DataFrame, study: str, pairwise: Mapping[str, Any], outcome_columns: Mapping[str, Any], tolerance: float
) -> tuple[list[Trial], pd.DataFrame]:
    lacking = [name for name in ("treat1", "treat2") if pairwise[name] is None]
    lacking += [name for name in ("y", "se") if name not in outcome_columns]
    others = [name for name in outcome_columns if name not in ("y", "se")]
    if lacking or others:
        raise SpecError(
            f"treat1 and treat2 name the arms of contrasts: {listing(lacking or others)} "
            f"{'is left out' if lacking else 'describes single arms'}\n  give treat1, treat2, y and se"
        )
    first, second = (labelled(frame, pairwise[name], "treatment") for name in ("treat1", "treat2"))
    reported = Reported(frame, {name: Source(outcome_columns[name], name) for name in ("y", "se")}, "a contrast")
    y, se, labels = reported.real("y"), reported.standard_error("se"), labelled(frame, study, "study")
    if (same := first == second).any():
        raise DataError(f"'{first[int(np.argmax(same))]}' is compared with itself in {rows(frame, same)}")
    known = np.isfinite(y) & np.isfinite(se)
    if not known.all():
        warn(f"no estimate in {rows(frame, ~known)}; left out", AssumptionWarning)
    kept = frame[known]
    return from_contrasts(kept, labels[known], (first[known], second[known]), y[known], se[known], tolerance), kept


def _order(arms: Sequence[Sequence[str]]) -> list[str]:
    return sorted({t for each in arms for t in each}, key=lambda t: (t.casefold(), t))


def _reference(trials: Sequence[Trial], order: Sequence[str], reference: str | None) -> str:
    if reference is not None:
        check_name(reference, order, "reference: no trial has the treatment", "treatments")
        return reference
    count = {t: sum(t in trial.treatments for trial in trials) for t in order}
    return max(order, key=lambda t: count[t])


def check_connected(trials: Sequence[Trial]) -> None:
    """That a path of trials leads from every treatment to every other."""
    parts = connected([trial.treatments for trial in trials])
    if len(parts) > 1:
        raise DataError(
            f"the network is in {len(parts)} pieces that no trial connects: {' | '.join(listing(p) for p in parts)}\n"
            "  analyse each by itself, or look for spellings of one treatment"
        )


def _contrast_table(
    trials: Sequence[Trial], order: Sequence[str], study: str, outcome: str | None
) -> tuple[pd.DataFrame, dict[str, FloatArray]]:
    """A row for each contrast of an arm with the first of its trial, the design of effects, and S by trial."""
    table: dict[str, list[Any]] = {study: [], TREATMENT: [], VERSUS: [], (name := outcome or "y"): []}
    people: list[tuple[float, float]] = []
    S = {}
    for trial in trials:
        y, S[trial.name] = trial.contrasts()
        base, *others = trial.treatments
        table[study] += [trial.name] * len(others)
        table[TREATMENT] += others
        table[VERSUS] += [base] * len(others)
        table[name] += y.tolist()
        people += list(zip(trial.people[1:].tolist(), [trial.people[0]] * len(others), strict=True))
    frame = pd.DataFrame(table)
    if np.isfinite(np.array(people)).all():
        frame[[PEOPLE, f"{PEOPLE} versus"]] = np.array(people)
    taken = [*frame.columns, ACTIVE, "Intercept"]
    if clash := next((t for t in order if t in taken), None):
        raise DataError(f"treatment '{clash}' has the name of a column of the contrasts\n  give it another name")
    if odd := next((t for t in order if "`" in t), None):
        raise DataError(f"treatment {shown(odd)} holds a backtick, which formulas need\n  give it another name")
    for t in order[1:]:
        frame[t] = (frame[TREATMENT] == t).astype(float) - (frame[VERSUS] == t)
    frame[ACTIVE] = (frame[VERSUS] == order[0]).astype(float)
    return frame, S


def quoted(name: str) -> str:
    """A column as formulas write it."""
    return f"`{name}`"


def _model(
    frame: pd.DataFrame,
    S: Mapping[str, FloatArray],
    order: Sequence[str],
    study: str,
    measure: str | None,
    psi: Any,
    outer: list[str],
    modifiers: list[str],
    slopes: str,
) -> Spec:
    outcome, T = frame.columns[3], len(order) - 1
    own = [quoted(t) for t in order[1:]]
    if modifiers and slopes == "common":
        own += [f"{quoted(ACTIVE)}:{quoted(x)}" for x in modifiers]
    elif modifiers:
        own += [f"{quoted(t)}:{quoted(x)}" for x in modifiers for t in order[1:]]
    if isinstance(psi, str):
        check_choice(psi, (EQUAL, "unstr", "id", "diag", "cs", "hcs"), "psi")
    structure = Proportional((np.eye(T) + np.ones((T, T))) / 2) if isinstance(psi, str) and psi == EQUAL else psi
    effects = "0 + " + " + ".join(quoted(t) for t in order[1:])
    places = frame[study] + ": " + frame[TREATMENT] + " - " + frame[VERSUS]
    spec = specify_model(
        f"{quoted(outcome)} ~ 0 + {' + '.join(own)}",
        frame,
        S=block_diag(*S.values()) if outer else S,  # dicts are by outer group
        random=f"{effects} | {'/'.join([*outer, study])}",
        psi=structure,
        measure=measure,
        labels=list(places),
    )
    means = {x: float(frame.groupby(study, sort=False)[x].first().mean()) for x in modifiers}
    slope = {t: [[f"{ACTIVE if slopes == 'common' else t}:{x}", 1.0, x] for x in modifiers] for t in order[1:]}
    record = {
        "kind": "network",
        "what": f"network meta-analysis of {len(order)} treatments",
        "model": "consistency",
        "treatments": sorted(order, key=str.casefold),
        "reference": order[0],
        "study": study,
        "covariates": means,
        "effects": {order[0]: []} | {t: [[t, 1.0, None], *slope[t]] for t in order[1:]},
        "roles": {coef: EFFECT if coef in order else DIFFERENCE for coef in spec.coef},
    }
    return replace(spec, analysis=record)
