"""Specifications of dose-response models, in one stage and in two."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import FloatArray
from bayesmeta._validation import check_boolean, check_integer, check_names
from bayesmeta.dose_response.dose_table import Asked, DoseTable, read_table
from bayesmeta.effects.category_middles import with_limits, with_midpoints
from bayesmeta.errors import AssumptionWarning, SpecError, warn
from bayesmeta.formula.against import Basis, columns_of
from bayesmeta.formula.safety import quoted_if_needed, split
from bayesmeta.io.columns import as_frame, column, formula_names, label, unused_name
from bayesmeta.model.first_stage import curves_of_groups
from bayesmeta.model.spec import Spec
from bayesmeta.model.specify import StructureName
from bayesmeta.model.specify import specify as specify_model
from bayesmeta.structures.base import Structure

KIND = "dose_response"
ASSUMED = {
    "greenland-longnecker": "covariances of the effects of one {} are those of counts after Greenland and Longnecker",
    "hamling": "covariances of the effects of one {} are those of counts after Hamling and colleagues",
    "independent": "effects of one {} were taken as independent, though they share their reference",
    "crude": "",
    "arms": "",
    "given": "",
}  # what is assumed of S, in words


def specify(
    data: Any,
    *,
    study: str,
    dose: str | Sequence[str] = "dose",
    cases: str | None = None,
    total: str | None = None,
    person_years: str | None = None,
    mean: str | None = None,
    sd: str | None = None,
    n: str | None = None,
    y: str | None = None,
    se: str | None = None,
    interval: tuple[str, str] | None = None,
    scale: Literal["model", "response"] = "model",
    type: str | None = None,  # noqa: A002
    basis: str | None = None,
    random: str | bool | None = None,
    stages: int = 1,
    covariance: Literal["greenland-longnecker", "hamling", "independent"] | None = None,
    S: Mapping[Any, Any] | None = None,
    reference: str | None = None,
    bounds: tuple[str, str] | None = None,
    center: bool = True,
    psi: StructureName | str | Structure = "unstr",
    measure: str | None = None,
) -> Spec:
    """A dose-response model of effects, counts or means by dose in several studies; for `bm.fit` and `bm.sample`.

    The effects of a study are against its reference dose x0, so their mean at dose x is (b(x) - b(x0)) beta with the
    columns b of the basis; there is no intercept. The coefficients vary between studies.

    Parameters
    ----------
    data : DataFrame
        One row for each dose of each study, its reference included, in any order.
    study : str
        Column of the studies.
    dose : str or list of str, default "dose"
        Column of the dose, or columns of several exposures.
    cases : str, optional
        Column of the number of cases.
    total, person_years : str, optional
        Column of the number of subjects, cases included, and of the person-time, the latter for the type "ir". Where
        designs differ, one column may hold both.
    mean, sd, n : str, optional
        Columns of a continuous outcome by dose, for the types "md" and "smd".
    y : str, optional
        Column of reported effects against the reference, adjusted or not; 0 (as ratios 1) or missing at the reference.
        By default crude ones from the counts, or differences of the means.
    se, interval : str, (str, str), optional
        Column of the standard errors of `y` on the scale of the model, missing or 0 at the reference; or columns of the
        limits of its 95 % confidence intervals, on the scale of `y`.
    scale : {"model", "response"}, default "model"
        Of `y` and `interval`: "response" for ratios as they are printed, "model" for their logarithms.
    type : str, optional
        Column of the design, or the design of all: "cc" (case-control), "ir" (person-time; the default with
        `person_years` alone), "ci" (cumulative incidence), "md" (differences of means), "smd" (standardised ones).
    basis : str, optional
        Right-hand side of a formula in the doses, by default a straight line: "dose + I(dose**2)", "log(dose + 1)",
        "ns(dose, knots=[10, 25])", "rcs(dose, 4)" (knots at Harrell's percentiles), "fp(dose, 0.5, 1, shift=1)";
        "dose + dose:region" lets the curve depend on a column. Percentiles and boundary knots are those of all doses.
    random : str or False, optional
        Basis of the random effects, in one stage; by default `basis`. False for none.
    stages : int, default 1
        1, all doses in one model; 2, a curve in every study first, whose coefficients are then the outcomes.
    covariance : {"greenland-longnecker", "hamling", "independent"}, optional
        How the covariances of the effects of a study follow from its counts, by default as Greenland and Longnecker do.
        Crude effects and differences of means have those of their counts and arms.
    S : dict, optional
        Known covariances: of every study a matrix over its rows without the reference, in the order of the data.
    reference : str, optional
        Column of true and false that marks the reference of each study. By default the row without an error; where
        nothing is reported, that of the lowest dose, with a warning.
    bounds : (str, str), optional
        Columns of the lower and upper limit of categories of dose in place of `dose`: the dose is their middle. A
        missing or infinite limit is open: below it is taken as 0, above the category is as wide as the one before it
        of its study. A column `dose` of texts such as "0", "0.1-11.9", "36+", ">36", "<1" is read as such categories.
    center : bool, default True
        False takes b(x) in place of b(x) - b(x0): the effect is then not 0 at the reference.
    psi : str or Structure, default "unstr"
        Structure of the covariance of the coefficients between studies.
    measure : str, optional
        What effects measure, see `bm.specify`; by default that of the type.

    Returns
    -------
    Spec
        In one stage over the doses without the references; in two over the studies, with one outcome for each column of
        the basis. `analysis` keeps the basis with its knots and the reference of every study.

    Raises
    ------
    SpecError, DataError
        For columns, types and bases that are not as above; and for a study, which is named, without exactly one
        reference, with numbers that are missing or impossible, for which no table of counts exists, or, in two stages,
        with fewer doses than columns of the basis.

    Warns
    -----
    AssumptionWarning
        When rows are sorted by dose, a study has a dose twice, limits are open, or references are chosen.

    References
    ----------
    Greenland and Longnecker (1992), Am. J. Epidemiol. 135:1301-1309; Orsini et al. (2012), Am. J. Epidemiol. 175:66-73;
    Crippa et al. (2019), Stat. Methods Med. Res. 28:1579-1596 (one stage); Crippa and Orsini (2016), BMC Med. Res.
    Methodol. 16:91 (means); Gleser and Olkin (2009), in Cooper et al. (eds.), Handbook of Research Synthesis, ch. 19.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.dose_response.specify(
    ...     bm.datasets.load("alcohol"), study="id", cases="cases", person_years="peryears", y="logrr", se="se"
    ... )
    >>> fit = bm.fit(spec)
    >>> bm.dose_response.curve(fit, [12, 24])["mean"].round(2).values
    array([1.08, 1.17])
    """
    check_boolean(center, "center")
    _check_stages(stages, random)
    frame = as_frame(data, "data")
    frame, doses, notes = _with_doses(frame, dose, bounds, study)
    asked = Asked(
        study, doses, cases, total, person_years, (mean, sd, n), y, se, interval, scale, type, reference, covariance,
        measure,
    )  # fmt: skip
    read = read_table(frame, asked, S)
    made = _made(read, asked, notes, center, basis, random)
    for note in made.notes:
        warn(note, AssumptionWarning)
    return _one_stage(made, psi, random is False) if stages == 1 else _two_stages(made, psi)


@dataclass(frozen=True, eq=False)
class _Model:
    """Everything of a model before its stages part: rows without references in order, S, bases, and the record."""

    rows: pd.DataFrame
    study: str
    outcome: str
    S: Mapping[Any, FloatArray]
    terms: dict[str, str]
    random: tuple[str, ...]
    record: dict[str, Any]
    notes: tuple[str, ...]
    measure: str


def _check_stages(stages: Any, random: Any) -> None:
    check_integer(stages, "stages", 1, 2)
    if random is True:
        raise SpecError("random is True; give a basis of dose as text, False for none, or leave it out")
    if stages == 2 and random is not None:
        raise SpecError("random is of one stage: in two all coefficients vary between studies\n  bm.fit(spec, 'fixed')")


def _with_doses(
    frame: pd.DataFrame, dose: Any, bounds: Any, study: str
) -> tuple[pd.DataFrame, tuple[str, ...], tuple[str, ...]]:
    """The doses by names that formulas can have, and what was assumed of open categories."""
    names = [dose] if isinstance(dose, str) else check_names(dose, "dose")
    notes: tuple[str, ...] = ()
    if bounds is not None:
        if len(names) > 1:
            raise SpecError("bounds are the limits of one dose; make the middles of several exposures first")
        frame, notes = with_midpoints(frame, names[0], bounds, study)
    elif len(names) == 1 and (limits := with_limits(frame, names[0])) is not None:
        frame, notes = with_midpoints(limits[0], names[0], limits[1], study)
        frame = frame.drop(columns=list(limits[1]))
    for name in names:
        column(frame, name, "dose")
    frame, plain = formula_names(frame, names, "dose")
    return frame, plain, notes


def _made(read: DoseTable, asked: Asked, notes: Sequence[str], center: bool, basis: Any, random: Any) -> _Model:
    order, S, sorting = read.studies.ordered(asked.doses, read.S)
    frame = read.studies.frame.iloc[order]
    at_reference = {dose: read.studies.at_reference(dose) for dose in asked.doses}
    references: dict[str, float | str] = {}
    for dose, values in at_reference.items():
        if values.nunique() == 1:
            references[dose] = float(values.iloc[0])
        else:
            references[dose] = new = unused_name(f"{dose}_reference", frame)
            frame = frame.assign(**{new: frame[asked.study].map(label).map(values)})
    text = " + ".join(asked.doses) if basis is None else basis
    all_doses = {dose: read.studies.frame[dose].to_numpy(float) for dose in asked.doses}
    against = references if center else None
    columns = list(frame.columns)
    terms = Basis(text, all_doses, against, "basis").written(columns)
    own = terms if random is None or random is False else Basis(random, all_doses, against, "random").written(columns)
    outcome = asked.y if asked.y is not None and asked.scale == "model" else unused_name(read.measure, frame)
    frame = frame.assign(**{outcome: read.y[order]})
    record = {
        "kind": KIND,
        "study": asked.study,
        "doses": list(asked.doses),
        "basis": text,
        "terms": list(terms.values()),
        "references": references,
        "reference_of": {dose: values.to_dict() for dose, values in at_reference.items()},
        "range": {dose: [float(values.min()), float(values.max())] for dose, values in all_doses.items()},
        "center": center,
        "covariance": read.made,
        "measure": read.measure,
        "outcome": outcome,
    }
    notes = (*notes, *read.notes, *sorting)
    return _Model(frame, asked.study, outcome, S, terms, tuple(own.values()), record, notes, read.measure)


def _one_stage(made: _Model, psi: Any, none: bool) -> Spec:
    random = None if none else f"0 + {' + '.join(made.random)} | {quoted_if_needed(made.study)}"
    spec = specify_model(
        f"{quoted_if_needed(made.outcome)} ~ 0 + {' + '.join(made.terms.values())}",
        made.rows,
        S={label(name): matrix for name, matrix in made.S.items()},
        random=random,
        groups=made.study if none else None,
        psi=psi,
        measure=made.measure,
        labels=_labels(made),
    )
    return _with_record(spec, made, {"stages": 1})


def _with_record(spec: Spec, made: _Model, more: dict[str, Any]) -> Spec:
    words = ASSUMED[made.record["covariance"]].format(made.study)
    return replace(
        spec,
        analysis=made.record | more,
        notes=(*made.notes, *spec.notes),
        S_assumed={"words": words} if words else {},
    )


def _labels(made: _Model) -> list[str] | None:
    """Names of the rows, study and dose, where these tell all rows apart."""
    doses = [made.rows[dose].map(lambda x: f"{x:.4g}") for dose in made.record["doses"]]
    names = [", ".join(each) for each in zip(made.rows[made.study].map(label), *doses, strict=True)]
    return names if len(set(names)) == len(names) else None


def _two_stages(made: _Model, psi: Any) -> Spec:
    """The coefficients of every study, by generalised least squares, as outcomes."""
    X, coefs = _of_study(made)
    parts, remedy = ("dose beside its reference", "doses beside its reference"), "stages=1 takes it; or leave it out"
    b, V = curves_of_groups(X, made.rows[made.outcome].to_numpy(), made.S, made.study, parts, remedy)
    frame = pd.DataFrame(b, columns=list(coefs))
    frame[made.study] = [label(name) for name in made.S]
    outcomes = " + ".join(map(quoted_if_needed, coefs))
    spec = specify_model(
        f"{outcomes} ~ 1", frame, S=V, random=f"1 | {quoted_if_needed(made.study)}", psi=psi, labels=made.study
    )
    doses = made.rows[[made.study, *made.record["doses"], *_columns(made.record), made.outcome]]
    kept = {name: doses[name].map(label).tolist() if name == made.study else doses[name].tolist() for name in doses}
    matrices = {label(name): matrix.tolist() for name, matrix in made.S.items()}
    return _with_record(spec, made, {"stages": 2, "rows": kept, "S": matrices})


def _of_study(made: _Model) -> tuple[FloatArray, list[str]]:
    """The basis in every row, of dose alone, and what its columns are called."""
    used = made.rows[[*made.record["doses"], *_columns(made.record)]]
    columns, names = [], []
    for term, written in made.terms.items():
        if other := next((f for f in split(written, ":")[1:]), None):
            raise SpecError(f"in two stages the basis has the dose alone, without {other}: {made.record['basis']}")
        own = columns_of(written, used)[0]
        columns.append(own)
        names += [term] if own.shape[1] == 1 else [f"{term} {j + 1}" for j in range(own.shape[1])]
    return np.column_stack(columns), names


def _columns(record: Mapping[str, Any]) -> list[str]:
    """The columns that hold references, where studies differ."""
    return [name for name in record["references"].values() if isinstance(name, str)]
