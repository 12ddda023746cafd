"""From a data frame and formulas to a frozen specification, with every check of the user's input."""

from collections import Counter
from collections.abc import Sequence
from operator import itemgetter, not_
from typing import Any, Literal

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import listing
from bayesmeta.errors import AssumptionWarning, BoundaryWarning, DataError, SpecError, warn
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Parsed, Terms, parse
from bayesmeta.io.columns import alike, as_frame, check_storable, numbered, numbers
from bayesmeta.io.partitions import are_in_partitions
from bayesmeta.model import doubts
from bayesmeta.model.descriptions import arm_columns_of, arms_of, corrections_of, measure_of, row_names
from bayesmeta.model.identification import check_coefficients, check_free, check_rank, nothing_varies, unidentified
from bayesmeta.model.input_columns import kept_columns, taken
from bayesmeta.model.level_structures import positions_of, shared_times, structures_asked, structures_of, with_times
from bayesmeta.model.magnitudes import check_designs, check_effects, check_estimates
from bayesmeta.model.observations import Groups, Observations, nested, recurring_labels
from bayesmeta.model.partitioned_spec import partitioned
from bayesmeta.model.partitions_read import Asked, Piece, Taught
from bayesmeta.model.sampling_covariance import assumed_of, read_sampling, sampling_covariance
from bayesmeta.model.spec import Level, SamplingCovariance, Spec
from bayesmeta.model.subset import NOT_CHOSEN, chosen_rows
from bayesmeta.structures.base import Structure

StructureName = Literal["unstr", "diag", "id", "cs", "hcs", "ar1", "har1"]  # those without arguments
MeasureName = Literal[  # a record of `measures` each
    "logor",
    "logrr",
    "loghr",
    "logirr",
    "logrom",
    "rd",
    "md",
    "smd",
    "cor",
    "zcor",
    "logit",
    "arcsine",
    "lograte",
    "mean",
    "asd",
    "phi",
    "zphi",
    "yuq",
    "yuy",
    "rtet",
    "ztet",
    "rpb",
    "zpb",
    "rbis",
    "zbis",
    "pcor",
    "zpcor",
    "spcor",
    "zspcor",
    "r2",
    "zr2",
    "ird",
    "irsd",
    "hd",
    "proportion",
    "logproportion",
    "probit",
    "doublearcsine",
    "rate",
    "rootrate",
    "irft",
    "smn",
    "logmean",
    "logsd",
    "logcv",
    "logvr",
    "logcvr",
    "cles",
    "mc",
    "smc",
    "smcr",
    "alpha",
    "alphahw",
    "alphalog",
    "logreh",
    "generic",
]
OFFSET = "(offset)"  # raw column of an offset that the user passes as an array


def specify(
    formula: str | dict[str, str],
    data: Any,
    S: Any = None,
    random: str | dict[str, str] | Sequence[str] | None = None,
    psi: StructureName | str | Structure | dict[str, str | Structure] = "unstr",
    common: str | None = None,
    offset: Any = None,
    S_correlation: Any = None,
    groups: str | None = None,
    measure: MeasureName | str | None = None,
    se: Any = None,
    labels: str | Sequence[Any] | None = None,
    arms: tuple[str, str] | None = None,
    keep: str | Sequence[str] | None = None,
    subset: Any = None,
    partitions: int | None = None,
    n_jobs: int | None = None,
) -> Spec:
    """A meta-analytical model with its data, checked and frozen; what `fit` and `sample` take.

    y = X beta + sum over the levels of Z b + e, with Var(e) = S known and Var(b) = Psi of the level to be estimated
    (Sera et al. 2019, equation 1). The data have n rows (units) with k outcomes each.

    Parameters
    ----------
    formula : str or dict of str to str
        "y ~ x"; several outcomes "PD + AL ~ year" or "cbind(PD, AL) ~ year"; predictors that differ by outcome
        {"PD": "1 + year", "AL": "1"}. Outcomes are effect estimates, in the unit of the measure (log ratios as logs).
    data : DataFrame
        The table, or anything `pandas.DataFrame` takes. An outcome may be missing; rows without any outcome, or with a
        missing predictor, group or offset, are dropped and recorded. A Dask data frame, or the path of a Parquet file
        or folder, is taken partition by partition and never as a whole: see docs/distributed.md.
    S : str, list of str, array or dict
        Known sampling (co)variances in squared units of the outcomes, positive definite:
        a column name or (n,) for one outcome; k names or (n, k) variances; k (k + 1) / 2 names or columns with the
        lower triangle by column (v11, c21, v22); (n, k, k); a dict {label of the outer group: matrix over its rows in
        the order of the data, outcomes fastest}, at full size or with the missing outcomes left out; one matrix over
        all n k cells or all observations; or what a function of `bm.within` returns, such as
        `bm.within.ar1(...)`. pandas objects must have the index of the data.
    random : str, list of str or dict of str to str, optional
        "1 | district/study" for random intercepts at nested levels; where the levels differ, {"district": "1",
        "district/study": "1 + x"} or a list, outer to inner: ["1 | district", "1 + x | study"]. Levels are always
        nested: a label of an inner level that recurs in another outer group is another group, with a warning unless a
        slash says so. By default there is one random effect per outcome in every row.
    psi : str, Structure or dict, default "unstr"
        Structure of the between-group covariance, a name (unstr diag id cs hcs ar1 har1, in any case) or an object of
        `bm.structures`; one for all levels, or {level: structure} for each. With `bm.structures.CAR1(time="month")`
        a level whose random part is an intercept has one effect for each distinct time of a group.
    common : str, optional
        Formula of predictors that have one coefficient for all outcomes.
    offset : str or array, optional
        Column name or (n,) known part of the linear predictor, the same for all outcomes.
    S_correlation : float, str, list of str or array, optional
        Within-row correlations where S holds variances of several outcomes: a number, k (k - 1) / 2 numbers or column
        names (lower triangle by column), one such row per row of the data, or a (k, k) matrix.
    groups : str, optional
        Column of the independent groups when there is no random part but S couples rows.
    measure : str, optional
        What the outcomes are, for default priors and axis labels: logor logrr loghr logirr logrom rd md smd cor zcor
        logit arcsine lograte mean generic, or a name that `bm.measures.register` has entered. Other names of these,
        such as "OR", "RR", "HR", "MD" or "log(or)", mean the same; outcomes are logs of ratios all the same. By
        default the one that a function of `bm.effects` computed the outcomes as, kept in the data frame's `attrs`.
    se : str, list of str or array, optional
        Standard errors in place of `S`, in the unit of the outcomes and positive: a column name or (n,) for one
        outcome, k names or (n, k) for several, whose correlations within a row `S_correlation` gives.
    labels : str or sequence, optional
        Names of the rows, for tables and plots: a column, or one text for each row. By default a named index or one of
        texts, else the first column of texts that are all different, else authors whom their years tell apart.
    arms : (str, str), optional
        What the effects compare, such as ("vaccine", "control"): the first arm with the second. By default what a
        function of `bm.effects` kept in the data frame's `attrs`.
    keep : str or list of str, optional
        Columns that no formula uses and that results trees keep all the same, so that plots and later questions find
        them by name. By default all up to a million cells of `data`, beyond which none are; [] keeps none.
    subset : str or array, optional
        Rows that are used: a column of true and false, or (n,) of these. The others stay in the table, and are dropped
        and recorded; `S` is still that of all rows.
    partitions : int, optional
        Into how many partitions of whole outer groups a data frame in memory, of any library, is divided, so that their
        statistics are built and stay on the workers of a Dask cluster.
    n_jobs : int, optional
        For data in partitions where no `dask.distributed.Client` is in scope: processes of a local cluster that is
        started and lasts as long as the specification. By default partitions are worked through in this process.

    Returns
    -------
    Spec
        The specification: arrays, labels and the raw columns.

    Raises
    ------
    SpecError
        When the model as written cannot be: unknown columns, levels or structures, aliased predictors, a wrong shape.
    DataError
        When the data cannot serve it: values that are not numbers, S not a covariance matrix, nothing left; partitions
        whose types differ; a cluster that is lost.

    Warns
    -----
    AssumptionWarning
        When covariances between outcomes are taken as zero, or levels that may have been meant to cross as nested; when
        labels differ only by case or blanks, or one of them may stand for a missing value; when a column that no
        formula uses cannot be stored. When the data look like a mistake: standard errors in place of variances, ratios
        in place of logarithms, a few labels that recur.
    BoundaryWarning
        When the data cannot identify a variance.

    References
    ----------
    Sera, Armstrong, Blangiardo and Gasparrini (2019), Stat. Med. 38:5429-5444.

    Examples
    --------
    >>> trials = {"trial": ["a", "b", "c"], "logor": [-0.9, -0.2, -0.5], "var": [0.1, 0.2, 0.05]}
    >>> spec = specify("logor ~ 1", trials, S="var")
    >>> spec.y, spec.coef, [level.name for level in spec.levels]
    (array([-0.9, -0.2, -0.5]), ('Intercept',), ['unit'])
    """
    if partitions is not None or n_jobs is not None or are_in_partitions(data):
        asked = Asked(
            formula, S, random, psi, common, offset, S_correlation, groups, measure, se, labels, arms, keep, subset
        )
        return partitioned(asked, data, partitions, n_jobs, piece_of)
    frame = _frame(data)
    reported = read_sampling(S, se, S_correlation, frame)
    frame, offset_column = _with_offset(frame, offset)
    terms = Terms(_copied(formula), _copied(random), common, offset_column, groups)
    parsed = parse(terms, list(frame.columns))
    structures = structures_asked(psi, parsed)
    parsed = with_times(parsed, structures, list(frame.columns))
    columns, lost = kept_columns(frame, parsed.columns, keep)
    raw = taken(columns, parsed.columns)
    _check_storable(raw)
    response = parsed.response(raw)
    dropped = _dropped(parsed, raw, response, chosen_rows(subset, frame))
    row_labels = tuple(map(str, raw.index.tolist()))
    stated, measure = measure, measure_of(measure, data, parsed.outcomes)
    arms = arms_of(arms, data, parsed.outcomes, measure)
    behind = arm_columns_of(data, parsed.outcomes, columns.columns)
    grouping = _grouping(parsed, raw, row_labels)
    names, unnamed = row_names(labels, frame, row_labels, parsed.group_columns)
    observations = _observations(parsed, grouping[0], response, dropped, row_labels)
    rows = raw if observations.kept.all() else raw[observations.kept]
    positions = positions_of(parsed, structures, raw, response)
    design = Design(parsed, rows, positions)
    effects = {level: design.effects(level) for level in parsed.levels}
    psis = structures_of(structures, effects, positions)
    check_free(psis, effects)
    X, offsets, Z = _matrices(design, rows, observations.present[observations.kept])
    check_designs(X, design.coef, offsets, observations.place)
    basis = check_rank(X, design.coef)
    sampling, assumed = sampling_covariance(reported, observations)
    y = response[observations.observed]
    outcome = f"outcome '{parsed.outcomes[0]}'" if len(parsed.outcomes) == 1 else "the outcome"
    check_estimates(y, sampling.variances, outcome, observations.place)
    notes = (
        *assumed,
        *unnamed,
        *_doubts(parsed, y, X, sampling, S=S, se=se, stated=measure if stated is not None else None),
        *(doubts.of_groups(parsed, grouping, frame, observations.kept) if _is_diagonal(sampling) else ()),
        *recurring_labels(parsed.levels, grouping, parsed.nested, observations.row),
        *_doubtful_labels(parsed, raw, design, grouping),
        *shared_times(parsed, grouping, raw, observations),
    )
    levels = tuple(
        Level(name, *_numbered(groups_, observations.row), Z[name], design.effects(name), psis[name])
        for name, groups_ in zip(parsed.levels, _named(grouping, names, parsed), strict=True)
    )
    check_effects(levels, sampling.variances, observations.place)
    check_coefficients(levels, len(design.coef))
    flat = unidentified(levels, X, basis)
    notes = (*notes, *nothing_varies(levels))
    shown = row_labels if names is None else names
    used = np.flatnonzero(observations.kept)
    variances = np.full(response.shape, np.nan)
    variances[observations.observed] = sampling.variances
    of_rows = response[used], variances[used], [str(shown[row]) for row in used]
    corrected = corrections_of(data, parsed.outcomes, *of_rows)
    for note in (*lost, *notes):
        warn(note, AssumptionWarning)
    for note in flat:
        warn(note, BoundaryWarning)
    return Spec(
        y=y,
        X=X,
        offset=offsets,
        S=sampling,
        levels=levels,
        outcomes=parsed.outcomes,
        coef=design.coef,
        row=observations.row,
        outcome_index=observations.outcome,
        row_labels=row_labels,
        kept=observations.kept,
        dropped=tuple(dropped),
        data=columns,
        terms=parsed.terms,
        measure=measure,
        notes=(*notes, *_without_effects(parsed), *flat, *corrected),
        labels=names,
        arms=arms,
        arm_columns=behind,
        S_assumed=assumed_of(S, S_correlation, parsed.outcomes),
    )


def piece_of(asked: Asked, taught: Taught, data: pd.DataFrame) -> Piece:
    """One partition read as all are: what `specify` makes of data in one place, less the labels of its rows."""
    frame = _frame(data)
    reported = read_sampling(asked.sampling(frame), asked.se, asked.S_correlation, frame)
    parsed, raw = taught.parsed, taken(frame, taught.parsed.columns)
    response = parsed.response(raw)
    dropped = _dropped(parsed, raw, response, np.ones(len(raw), bool))
    row_labels = tuple(map(str, raw.index.tolist()))
    grouping = _grouping(parsed, raw, row_labels)
    observations = _observations(parsed, grouping[0], response, dropped, row_labels)
    rows, design = raw[observations.kept], taught.design
    X, offsets, Z = _matrices(design, rows, observations.present[observations.kept])
    check_designs(X, design.coef, offsets, observations.place)
    sampling, assumed = sampling_covariance(reported, observations)
    y = response[observations.observed]
    check_estimates(y, sampling.variances, "the outcome", observations.place)
    levels = tuple(
        Level(name, *_numbered(groups_, observations.row), Z[name], design.effects(name), taught.structures[name])
        for name, groups_ in zip(parsed.levels, grouping, strict=True)
    )
    check_effects(levels, sampling.variances, observations.place)
    return Piece(y - offsets, X, offsets, sampling, levels, observations.row, observations.outcome, row_labels, assumed)


def _is_diagonal(S: SamplingCovariance) -> bool:
    return len(S.value) == len(S.variances)


def _doubts(
    parsed: Parsed, y: FloatArray, X: FloatArray, sampling: SamplingCovariance, S: Any, se: Any, stated: str | None
) -> list[str]:
    """Sentences about numbers that may not be what the arguments say.

    S, se : as the user wrote them.  stated : the measure that the user names; not one of `bm.effects`.
    """
    alone = len(parsed.outcomes) == 1 and _is_diagonal(sampling)
    notes = doubts.of_sampling(S, se, y, X, sampling.variances if alone else None)
    return notes + (doubts.of_scale(stated, parsed.outcomes[0], y, sampling.variances) if alone else [])


def _copied(formulas: Any) -> Any:
    """Formulas that the caller cannot change any more."""
    return dict(formulas) if isinstance(formulas, dict) else formulas


def _frame(data: Any) -> pd.DataFrame:
    """The data with text as column names; the caller's frame is never changed."""
    frame = as_frame(data, "data")
    if not len(frame):
        raise DataError("the data have no rows\n  check the file, and what was filtered before")
    if isinstance(frame.columns, pd.MultiIndex):
        raise DataError(
            f"the data have names of columns in {frame.columns.nlevels} rows\n  join them into one name for each column"
        )
    return frame if all(type(name) is str for name in frame.columns) else frame.rename(columns=str)


def _check_storable(raw: pd.DataFrame) -> None:
    """Every text that a results tree will hold."""
    check_storable(raw.columns, "the name of a column,")
    if raw.index.dtype.kind not in "biuf":
        check_storable(raw.index, "the label of a row,")
    for name, column in raw.items():
        if isinstance(column.dtype, pd.CategoricalDtype):
            check_storable(column.cat.categories, f"column '{name}':")
        elif column.dtype == object or isinstance(column.dtype, pd.StringDtype):
            check_storable(column.to_numpy(dtype=object), f"column '{name}':")


def _without_effects(parsed: Parsed) -> list[str]:
    """A sentence where groups= names the groups, and so nothing varies between them."""
    if parsed.terms.groups is None:
        return []
    return [
        (
            f"groups='{parsed.terms.groups}' without random=: nothing varies between groups, a common-effect model; "
            f"random='1 | {parsed.terms.groups}' gives each a random effect"
        )
    ]


def _doubtful_labels(parsed: Parsed, raw: pd.DataFrame, design: Design, grouping: Sequence[Groups]) -> list[str]:
    """Sentences about labels of groups and categories that look alike, or like a missing value."""
    notes = []
    for column, level, groups in zip(parsed.group_columns, parsed.levels, grouping, strict=False):
        if raw[column].dtype.kind not in "iu":  # integers look like themselves alone
            notes += alike(f"groups of '{level}'", map(itemgetter(-1), groups.labels))
    for column, known in design.categories.items():
        notes += alike(f"categories of '{column}'", known)
    return notes


def _with_offset(frame: pd.DataFrame, offset: Any) -> tuple[pd.DataFrame, str | None]:
    """The data with an offset given as numbers in a column of its own, and the name of the offset's column."""
    if offset is None or isinstance(offset, str):
        return frame, offset
    values, _ = numbers(offset, frame, "offset")
    if values.shape != (len(frame),):
        raise SpecError(f"offset has shape {values.shape}; expected a column name or ({len(frame)},) numbers")
    return frame.assign(**{OFFSET: values}), OFFSET


def _dropped(parsed: Parsed, raw: pd.DataFrame, response: FloatArray, chosen: BoolArray) -> list[str]:
    """For each row the reason why it is left out, "" where it is kept."""
    reasons = parsed.missing(raw)
    for row in np.flatnonzero(~chosen):
        reasons[row] = NOT_CHOSEN
    what = f"missing {parsed.outcomes[0]}" if len(parsed.outcomes) == 1 else "all outcomes missing"
    for row in np.flatnonzero(np.isnan(response).all(axis=1)):
        reasons[row] = reasons[row] or what
    if all(reasons):
        counts = listing(f"{reason} ({count})" for reason, count in Counter(reasons).most_common())
        raise DataError(
            f"nothing is left of {len(raw)} rows: {counts}"
            "\n  fill in what is missing, or leave out of the model what no row has"
        )
    return reasons


def _grouping(parsed: Parsed, raw: pd.DataFrame, row_labels: Sequence[str]) -> list[Groups]:
    if parsed.group_columns:
        return nested([raw[column] for column in parsed.group_columns])
    return [Groups(np.arange(len(raw)), tuple((label,) for label in row_labels))]


def _named(grouping: list[Groups], names: tuple[str, ...] | None, parsed: Parsed) -> list[Groups]:
    """The groups of every level; where each row is one, it goes by the row's name."""
    if parsed.group_columns or names is None:
        return grouping
    return [Groups(grouping[0].codes, tuple((name,) for name in names))]


def _observations(
    parsed: Parsed, outer: Groups, response: FloatArray, dropped: Sequence[str], row_labels: Sequence[str]
) -> Observations:
    present = ~np.isnan(response)
    kept = np.fromiter(map(not_, dropped), bool, len(dropped))
    return Observations(
        outcomes=parsed.outcomes,
        row_labels=row_labels,
        kept=kept,
        present=present,
        level=parsed.levels[0],
        group=outer.codes,
        group_labels=[path[0] for path in outer.labels],
        by_row=not parsed.group_columns,
    )


def _matrices(
    design: Design, rows: pd.DataFrame, observed: BoolArray
) -> tuple[FloatArray, FloatArray, dict[str, FloatArray]]:
    """X, the offset and the Z of every level over the observations.

    rows : those kept.  observed : (n, k) which of their outcomes have a value.
    """
    Z = {level: design.random(level, rows)[observed] for level in design.parsed.levels}
    return design.fixed(rows)[observed], design.offset(rows)[np.nonzero(observed)[0]], Z


def _numbered(groups: Groups, row: IntArray) -> tuple[tuple[tuple[str, ...], ...], IntArray]:
    """Labels of the groups that have observations, by first appearance, and the group of every observation."""
    index, codes = numbered(groups.codes[row])
    return tuple(map(groups.labels.__getitem__, codes.tolist())), index
