"""The same data under another fixed part, or without variation between groups."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray, FloatArray
from bayesmeta._validation import listing
from bayesmeta.errors import BoundaryWarning, DataError, SpecError, warn
from bayesmeta.formula.design import Design
from bayesmeta.formula.parse import Parsed, Terms, parse, timed
from bayesmeta.formula.safety import quoted, split
from bayesmeta.io.columns import as_frame
from bayesmeta.model.identification import check_rank, unidentified
from bayesmeta.model.spec import Spec
from bayesmeta.structures.known import Fixed


def with_fixed(spec: Spec, terms: Terms, data: Any = None) -> Spec:
    """A specification with the observations, S, offset and random part of another, and other fixed effects.

    Parameters
    ----------
    spec : Spec
        The specification.
    terms : Terms
        Its formulas with another fixed part; outcomes, random part and offsets must be the same.
    data : DataFrame, optional
        Columns that the new formulas need and the specification does not hold; the same rows.

    Returns
    -------
    Spec
        The new specification.

    Raises
    ------
    SpecError
        When a formula cannot be read, or its predictors are aliased.
    DataError
        When `data` has other rows or values, or a predictor is missing in a row of the model: rows are never dropped,
        since the fits could not be compared.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bcg := bm.datasets.load("bcg"), S="logorvar")
    >>> with_fixed(spec, Terms("logor ~ ablat"), bcg).coef
    ('Intercept', 'ablat')
    """
    frame = spec.data if data is None else _extended(spec, data)
    times = {level.name: level.structure.time for level in spec.levels}
    parsed = timed(parse(terms, list(frame.columns)), times, list(frame.columns))
    raw = frame[list(dict.fromkeys((*spec.data.columns, *parsed.columns)))]
    _check_complete(spec, parsed, raw)
    rows = raw.loc[spec.kept]
    design = Design(parsed, rows, spec.positions)
    unit = (np.cumsum(spec.kept) - 1)[spec.row]
    X = design.fixed(rows)[unit, spec.outcome_index]
    basis = check_rank(X, design.coef)
    before, flat = unidentified(spec.levels, spec.X), unidentified(spec.levels, X, basis)
    for sentence in flat:
        if sentence not in before:
            warn(sentence, BoundaryWarning)
    notes = (*(note for note in spec.notes if note not in before), *flat)
    return replace(spec, X=X, coef=design.coef, data=raw, terms=terms, notes=notes)


def with_columns(spec: Spec, columns: Mapping[str, FloatArray], coef: Sequence[str], remedy: str) -> Spec:
    """A specification of one outcome with further columns of data, and the named columns alone as its fixed part.

    columns : by name the values (n_obs,) of the rows that are kept, in other rows zero.  remedy : what to do where the
    data have such a column.

    >>> import bayesmeta as bm
    >>> spec = bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")
    >>> with_columns(spec, {"south": spec.data["ablat"] < 30}, ["south"], "rename it").X.sum()
    np.float64(5.0)
    """
    data = spec.data.copy()
    for name, values in columns.items():
        if name in data.columns:
            raise SpecError(f"the data already have a column '{name}'\n  {remedy}")
        data[name] = 0.0
        data.loc[spec.kept, name] = np.asarray(values, dtype=float)
    left = split(str(spec.terms.fixed), "~")[0]
    terms = replace(spec.terms, fixed=f"{left} ~ 0 + {' + '.join(map(quoted, coef))}")
    return with_fixed(spec, terms, data)


def homogeneous(spec: Spec) -> Spec:
    """The same specification with every Psi zero: what a common-effects analysis assumes.

    >>> import bayesmeta as bm
    >>> homogeneous(bm.specify("logor ~ 1", bm.datasets.load("bcg"), S="logorvar")).levels[0].structure
    Fixed([[0.0]])
    """
    levels = tuple(replace(level, structure=Fixed(np.zeros((level.dim, level.dim)))) for level in spec.levels)
    return replace(spec, levels=levels)


def _extended(spec: Spec, data: Any) -> pd.DataFrame:
    """The columns of the specification, of which `data` may change those that its formulas do not use, and more."""
    frame = as_frame(data, "data").rename(columns=str)
    if tuple(map(str, frame.index.tolist())) != spec.row_labels:
        raise DataError(
            f"data has other rows ({len(frame)}) than the data of the fit ({len(spec.row_labels)})\n"
            "  give the data frame that the model was specified with"
        )
    used = spec.data[list(spec.design.parsed.columns)]
    for column in frame.columns.intersection(used.columns):
        differs = _different(frame[column], used[column])
        if differs.any():
            labels = listing(np.array(spec.row_labels)[differs])
            raise DataError(
                f"column '{column}' of data differs from that of the fit in row {labels}"
                "\n  pass the rows that were fitted, or leave the column out"
            )
    new = [column for column in frame.columns if column not in used.columns]
    own = spec.data.drop(columns=[column for column in new if column in spec.data.columns])
    return pd.concat([own, frame[new].set_axis(own.index)], axis=1)


def _different(values: pd.Series, known: pd.Series) -> BoolArray:
    """Where two columns differ; what a file cannot hold is compared as text."""
    differs = values.isna().to_numpy() != known.isna().to_numpy()
    present = values.notna().to_numpy() & known.notna().to_numpy()
    a, b = (column.astype(object).to_numpy()[present] for column in (values, known))
    differs[present] = (a != b) & (a.astype(str) != b.astype(str))
    return np.asarray(differs)


def _check_complete(spec: Spec, parsed: Parsed, raw: pd.DataFrame) -> None:
    reasons = np.array(parsed.missing(raw), dtype=object)
    lacking = spec.kept & (reasons != "")
    if lacking.any():
        labels = listing(np.array(spec.row_labels)[lacking])
        raise DataError(
            f"{listing(dict.fromkeys(reasons[lacking]))} in row {labels}, so the fits would not be of the same rows\n"
            "  fit the smaller model to the complete rows first"
        )
