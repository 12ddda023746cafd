"""The specification of some rows of the data: what subgroups, cumulative and leave-one-out analyses are fitted to."""

from dataclasses import replace
from numbers import Real
from typing import Any

import numpy as np
import pandas as pd

from bayesmeta._typing import BoolArray
from bayesmeta._validation import entries, shown
from bayesmeta.errors import SpecError
from bayesmeta.io.columns import from_pandas, marked
from bayesmeta.model.spec import Level, SamplingCovariance, Spec

NOT_CHOSEN = "not in this part of the data"


def of_rows(spec: Spec, rows: BoolArray) -> Spec:
    """A specification with the same model for the rows that are in it and chosen.

    Parameters
    ----------
    spec : Spec
        The specification.
    rows : array
        (n_rows,) which rows of the data are chosen; those that the model has dropped stay so.

    Returns
    -------
    Spec
        With the groups of these rows only. Sampling covariances with other rows are left out, coefficients are kept,
        also such that these rows no longer identify.

    Examples
    --------
    >>> import bayesmeta as bm
    >>> bcg = bm.datasets.load("bcg")
    >>> of_rows(bm.specify("logor ~ 1", bcg, S="logorvar"), (bcg["alloc"] == "random").to_numpy()).y.shape
    (7,)
    """
    kept = spec.kept & rows
    which = np.flatnonzero(kept[spec.row])
    place = np.full(len(spec.y), -1)
    place[which] = np.arange(len(which))
    inside = (place[spec.S.row] >= 0) & (place[spec.S.col] >= 0)
    S = SamplingCovariance(spec.S.value[inside], place[spec.S.row[inside]], place[spec.S.col[inside]])
    dropped = tuple(
        reason or ("" if own else NOT_CHOSEN) for reason, own in zip(spec.dropped, kept.tolist(), strict=True)
    )
    arrays = {name: getattr(spec, name)[which] for name in ("y", "X", "offset", "row", "outcome_index")}
    levels = tuple(_level(level, which) for level in spec.levels)
    return replace(spec, S=S, levels=levels, kept=kept, dropped=dropped, **arrays)


def _level(level: Level, which: np.ndarray) -> Level:
    groups, index = np.unique(level.index[which], return_inverse=True)
    return replace(level, labels=tuple(level.labels[g] for g in groups), index=index.ravel(), Z=level.Z[which])


def chosen_rows(subset: Any, frame: pd.DataFrame) -> BoolArray:
    """(n,) rows that are used: all, or those that a column, or an array, of true and false marks."""
    if subset is None:
        return np.ones(len(frame), bool)
    if isinstance(subset, str):
        return marked(frame, subset, "subset")
    if isinstance(subset, pd.Series):
        numbers = subset.astype(object).map(lambda cell: float(cell) if isinstance(cell, bool | np.bool_) else cell)
        values = from_pandas(numbers, frame, "subset")
    else:
        cells = entries(subset)
        values = np.asarray(cells if all(isinstance(cell, np.bool_ | Real) for cell in cells) else [])
    if values.shape != (len(frame),) or not np.isin(values, (0, 1)).all():
        raise SpecError(
            f"subset is {shown(subset)}; it must be a column, or true or false for each of {len(frame)} rows"
        )
    return values.astype(bool)
