"""From arms or contrasts of trials to the specification of a consistency model."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from scipy.linalg import block_diag

from bayesmeta._validation import check_choice, check_names, check_number
from bayesmeta.effects.by_arm import ZeroArms
from bayesmeta.formula.safety import quoted
from bayesmeta.io.columns import as_frame, column
from bayesmeta.io.long_tables import labelled, shared_by_group
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import specify as specify_model
from bayesmeta.structures.base import Structure
from bayesmeta.structures.known import Proportional
from bayesmeta.tree.response import DIFFERENCE, EFFECT
from bayesmeta.within.trial_tables import TREATMENT, VERSUS, Trials, read_trials

EQUAL = "equal"
BETTER = ("smaller", "larger")
ACTIVE = "any treatment"  # column of what is compared with the reference, for slopes that all treatments share
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
    outer = [] if levels is None else check_names(levels, "levels")
    modifiers = [] if covariates is None else check_names(covariates, "covariates")
    check_choice(slopes, ("treatment", "common"), "slopes")
    check_number(tolerance, "tolerance", least=0)
    if better is not None:
        check_choice(better, BETTER, "better")
    of_arms = {"treatment": treatment, "events": events, "total": total, "person_time": person_time}
    of_arms |= {"mean": mean, "sd": sd, "n": n, "y": y, "se": se}
    pairwise, zeros = {"treat1": treat1, "treat2": treat2}, ZeroArms(add, drop_double_zero)
    read = read_trials(as_frame(data, "data").rename(columns=str), study, of_arms, pairwise, measure, zeros, tolerance)
    order = read.order(reference)
    outcome = y if isinstance(y, str) else read.measure or "y"
    frame, S = read.contrasts(order, study, outcome, (ACTIVE, "Intercept"))
    frame[ACTIVE] = (frame[VERSUS] == order[0]).astype(float)
    for each in (*outer, *modifiers):
        frame[each] = frame[study].map(_of_trials(read, study, each, each in modifiers)).to_numpy()
    read.check_connected(frame.loc[frame[modifiers].notna().all(axis=1), study])
    own = [quoted(t) for t in order[1:]]
    modified = [quoted(ACTIVE)] if slopes == "common" else own
    spec = specify_model(
        f"{quoted(outcome)} ~ 0 + {' + '.join([*own, *(f'{t}:{quoted(x)}' for x in modifiers for t in modified)])}",
        frame,
        S=block_diag(*S.values()) if outer else S,  # dicts are by outer group
        random=f"0 + {' + '.join(own)} | {'/'.join([*outer, study])}",
        psi=_structure(psi, len(own)),
        measure=read.measure,
        labels=list(frame[study] + ": " + frame[TREATMENT] + " - " + frame[VERSUS]),
    )
    means = {x: float(frame.groupby(study, sort=False)[x].first().mean()) for x in modifiers}
    record = _record(spec, order, study, means, ACTIVE if slopes == "common" else None)
    return replace(spec, analysis={**record, "better": better}, notes=(*zeros.notes, *spec.notes))


def _record(
    spec: Spec, order: Sequence[str], study: str, covariates: Mapping[str, float], shared: str | None
) -> dict[str, Any]:
    """What questions need.  shared : the column whose slopes all treatments share."""
    slope = {t: [[f"{shared or t}:{x}", 1.0, x] for x in covariates] for t in order[1:]}
    return {
        "kind": "network",
        "what": f"network meta-analysis of {len(order)} treatments",
        "model": "consistency",
        "treatments": sorted(order, key=str.casefold),
        "reference": order[0],
        "study": study,
        "covariates": covariates,
        "effects": {order[0]: []} | {t: [[t, 1.0, None], *slope[t]] for t in order[1:]},
        "roles": {coef: EFFECT if coef in order else DIFFERENCE for coef in spec.coef},
    }


def _of_trials(read: Trials, study: str, name: str, is_covariate: bool) -> dict[str, Any]:
    """A covariate or level by trial."""
    values = column(read.table, name, "covariates") if is_covariate else labelled(read.table, name, "levels")
    return shared_by_group(labelled(read.table, study, "study"), values, name, "covariates and levels are of trials")


def _structure(psi: Any, T: int) -> Any:
    """The covariances of effects against the reference; "equal" of arms whose effects are independent."""
    if not isinstance(psi, str):
        return psi
    check_choice(psi, (EQUAL, "unstr", "id", "diag", "cs", "hcs"), "psi")
    return Proportional((np.eye(T) + np.ones((T, T))) / 2) if psi == EQUAL else psi
