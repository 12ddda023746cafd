"""Rows to predict for and the tables of predictions, the same for fits and posteriors; checks of their arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import tree_schema as schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import (
    check_boolean,
    check_choice,
    check_name,
    check_probability,
    check_size,
    did_you_mean,
    listing,
    shown,
)
from bayesmeta.errors import AssumptionWarning, DataError, SpecError, warn
from bayesmeta.io.columns import as_frame, finite, label
from bayesmeta.model.spec import Level, Spec
from bayesmeta.tree.assembly import table_of
from bayesmeta.tree.response import Reading
from bayesmeta.tree.row_labels import has_row_labels, row_labels

JOINT = "joint"
type Covariance = bool | Literal["joint"]
"""Whether covariances are returned: of the outcomes of each row, or jointly of all rows."""


@dataclass(frozen=True)
class Rows:
    """Rows to predict for: those with predictors as a frame; labels of all, and which of all they are.

    names : of all, as tables and plots show them; None where they have no other names than their labels.
    groups : of new rows in groups that the data have, by level; None of the rows of the data, which have their own.
    """

    frame: pd.DataFrame
    labels: Sequence[str]
    used: BoolArray
    names: Sequence[str] | None = None
    groups: Mapping[str, IntArray] | None = None

    @classmethod
    def kept(cls, spec: Spec) -> "Rows":
        """The rows that the model describes."""
        return cls(spec.data.loc[spec.kept], spec.row_labels, spec.kept, _names(spec))

    @classmethod
    def of(cls, spec: Spec, newdata: pd.DataFrame | Mapping[str, Any] | None) -> "Rows":
        """New rows, or those of the data: also rows that were dropped, as long as their predictors have values."""
        if newdata is not None:
            return cls._new(spec, newdata)
        usable = spec.kept.copy()
        dropped = np.flatnonzero(~spec.kept)
        usable[dropped] = _can_be_evaluated(spec, spec.data.iloc[dropped])
        return cls(spec.data.loc[usable], spec.row_labels, usable, _names(spec))

    @classmethod
    def of_known_groups(cls, spec: Spec, newdata: Any, depth: int) -> "Rows":
        """New rows of groups that the data have, of the levels down to `depth`; the rows of the model without any."""
        if newdata is None:
            return cls.kept(spec)
        rows = cls._new(spec, newdata)
        groups = {level.name: _known_group(spec, i, rows.frame) for i, level in enumerate(spec.levels[:depth])}
        inner = spec.levels[depth - 1]
        own = [path[-1] for path in inner.labels]
        names = own if len(set(own)) == len(own) else [", ".join(path) for path in inner.labels]
        return replace(rows, names=[names[g] for g in groups[inner.name]], groups=groups)

    def group(self, spec: Spec, level: Level) -> IntArray:
        """Group of every row of the frame."""
        return group_of_kept(spec, level) if self.groups is None else self.groups[level.name]

    @classmethod
    def _new(cls, spec: Spec, newdata: pd.DataFrame | Mapping[str, Any]) -> "Rows":
        if isinstance(newdata, Mapping) and all(np.isscalar(value) for value in newdata.values()):
            newdata = pd.DataFrame(dict(newdata), index=[0])
        frame = as_frame(newdata, "newdata")
        if not len(frame):
            raise DataError("newdata has no rows\n  leave it out to predict for the rows of the data")
        _mention_unknown(frame, spec)
        return cls(frame, [str(row) for row in frame.index], np.ones(len(frame), bool))

    def table(self, outcomes: Sequence[str], statistics: Mapping[str, FloatArray]) -> xr.Dataset:
        """Statistics (n, k) of the rows with predictors as a table over all rows, NaN for the others."""
        coords: dict[str, Any] = {
            schema.ROW: pd.Index(list(self.labels), dtype=object),
            schema.OUTCOME: pd.Index(list(outcomes), dtype=object),
        }
        if self.names is not None:
            coords[schema.NAME] = (schema.ROW, np.array(self.names, dtype=object))
        return table(
            (schema.ROW, schema.OUTCOME), {name: self._all(values) for name, values in statistics.items()}, coords
        )

    def with_covariance(self, predicted: xr.Dataset, errors: FloatArray) -> None:
        """Write the covariances (n, k, k) of the rows with predictors into their table."""
        bis = schema.bis(schema.OUTCOME)
        predicted["covariance"] = ((schema.ROW, schema.OUTCOME, bis), self._all(errors))
        predicted.coords[bis] = (bis, predicted[schema.OUTCOME].to_numpy())

    def with_joint_covariance(self, predicted: xr.Dataset, errors: FloatArray) -> None:
        """Write the covariances (n, k, n, k) of all rows with predictors."""
        size = len(self.used)
        everywhere = np.full((size, errors.shape[1], size, errors.shape[1]), np.nan)
        at = np.flatnonzero(self.used)
        everywhere[at[:, None], :, at[None, :]] = errors.transpose(0, 2, 1, 3)
        dims = (schema.ROW, schema.OUTCOME, schema.bis(schema.ROW), schema.bis(schema.OUTCOME))
        predicted[JOINT] = (dims, everywhere)
        predicted.coords[schema.bis(schema.ROW)] = (schema.bis(schema.ROW), predicted[schema.ROW].to_numpy())

    def _all(self, values: FloatArray) -> FloatArray:
        everywhere = np.full((len(self.used), *values.shape[1:]), np.nan)
        everywhere[self.used] = values
        return everywhere


def _names(spec: Spec) -> tuple[str, ...] | None:
    return row_labels(spec) if has_row_labels(spec) else None


def _can_be_evaluated(spec: Spec, frame: pd.DataFrame) -> BoolArray:
    """Whether every predictor of a row has a value that the designs know; a missing one is NaN and does no harm."""
    if not len(frame):
        return np.zeros(0, bool)
    design = spec.design
    try:
        design.fixed(frame)
        design.offset(frame)
        for level in spec.levels:
            new_design(spec, level, frame)
    except DataError:  # in some row: the halves of the frame tell which
        if len(frame) == 1:
            return np.zeros(1, bool)
        half = len(frame) // 2
        return np.concatenate([_can_be_evaluated(spec, part) for part in (frame.iloc[:half], frame.iloc[half:])])
    return np.ones(len(frame), bool)


def _mention_unknown(frame: pd.DataFrame, spec: Spec) -> None:
    """Warn of columns that the model does not use, unless the outcomes are there: then it is a whole data set."""
    if spec.outcomes and set(spec.outcomes) & set(frame.columns):
        return
    known = list(spec.design.parsed.columns)
    unknown = [str(name) for name in frame.columns if name not in known]
    if unknown:
        hint = did_you_mean(unknown[0], known) if len(unknown) == 1 else ""
        warn(f"the model does not use these columns of newdata: {listing(unknown)}{hint}", AssumptionWarning)


def table(dims: tuple[str, str], statistics: Mapping[str, FloatArray], coords: Mapping[str, Any]) -> xr.Dataset:
    return table_of({name: (dims, values) for name, values in statistics.items()}, coords)


def normal(mean: FloatArray, se: FloatArray, z: FloatArray | float) -> dict[str, FloatArray]:
    """Statistics of a normal distribution, z the quantile of the upper end."""
    return {"mean": mean, "se": se, "lower": mean - z * se, "upper": mean + z * se}


def quantile(prob: float) -> float:
    """Normal quantile of the upper end of a central interval."""
    return float(ndtri(0.5 + check_probability(prob) / 2))


def check_covariance(covariance: Covariance, read: Reading, rows: int, outcomes: int) -> None:
    """Covariances are asked for, or not, on the scale that has them; of all rows jointly where memory has room."""
    if isinstance(covariance, str):
        check_choice(covariance, (JOINT,), "covariance")
        check_size(8.0 * (rows * outcomes) ** 2, f"the joint covariance of {rows:,} rows")
    else:
        check_boolean(covariance, "covariance")
    if covariance and read.response:
        raise SpecError(f"covariance={covariance!r} is of the scale of the model\n  leave scale= out")


def _known_group(spec: Spec, depth: int, frame: pd.DataFrame) -> IntArray:
    """Group of every new row at one level, by the labels in the columns of this level and those around it."""
    level, names = spec.levels[depth], [each.name for each in spec.levels[: depth + 1]]
    if lacking := [name for name in names if name not in frame.columns]:
        by_row = spec.terms.random is None and spec.terms.groups is None
        remedy = 'name the groups in the model, bm.specify(..., random="1 | place")' if by_row else ""
        raise DataError(
            f"newdata has no column {shown(lacking[0])}, the {lacking[0]} of every row\n"
            f"  {remedy or 'bm.predict is for rows of no group that the data have'}"
        )
    paths = list(zip(*(map(label, frame[name]) for name in names), strict=True))
    known = {path: g for g, path in enumerate(level.labels)}
    for row, path in zip(frame.index, paths, strict=True):
        if path not in known:
            whole = ", ".join(f"{name} {part}" for name, part in zip(names, path, strict=True))
            raise DataError(
                f"newdata: the data have no {whole} (row {row})\n"
                '  bm.predict(tree, newdata, interval="prediction") is for new groups'
            )
    return np.array([known[path] for path in paths], dtype=np.int64)


def depth(spec: Spec, level: str | None) -> int:
    """Number of levels, from the outer one, whose effects are wanted."""
    known = [each.name for each in spec.levels]
    if level is None:
        return len(known)
    check_name(level, known, "no level", "levels, outer to inner")
    return known.index(level) + 1


def new_levels(spec: Spec, level: str | None, interval: str | None) -> tuple[Level, ...]:
    """The levels of which a prediction interval has a new group: those down to `level`; none without such an interval.

    Raises
    ------
    SpecError
        When there is no such level, or a level is asked for without a prediction interval.
    """
    levels = tuple(spec.levels[: depth(spec, level)])
    if level is not None and interval != "prediction":
        raise SpecError('level is of prediction intervals\n  add interval="prediction", or leave level out')
    return levels if interval == "prediction" else ()


def new_effect(spec: Spec, levels: Sequence[Level]) -> str:
    """What such an interval is about, in words."""
    if len(levels) == len(spec.levels):
        return "the true effect of a new unit in a new group of every level"
    return f"the mean true effect in a new group of level '{levels[-1].name}'"


def new_design(spec: Spec, level: Level, frame: pd.DataFrame) -> FloatArray:
    """(n, k, a) design of a level for a new group of every row.

    Where the effects are times and the structure gives all the same distribution, a row needs none, and one that the
    data do not have takes the place of the nearest that they have.
    """
    structure, time = level.structure, level.structure.time
    if time is not None and structure.stationary and structure.positions is not None:
        nearest = structure.positions[np.zeros(len(frame), dtype=int)]
        if time in frame.columns:
            times = finite(frame, time)
            apart = np.abs(np.subtract.outer(np.nan_to_num(times), structure.positions))
            nearest = np.where(np.isnan(times), np.nan, structure.positions[apart.argmin(axis=1)])
        frame = frame.assign(**{time: nearest})
    return spec.design.random(level.name, frame)


def quadratic(X: FloatArray, V: FloatArray) -> FloatArray:
    """(n, k) values of x V x' for designs X (n, k, P)."""
    return np.asarray(np.einsum("nkp,nkp->nk", X @ V, X))


def joint_of(A: FloatArray, V: FloatArray) -> FloatArray:
    """(n, k, n, k) covariances A V A' of all rows, A (n, k, P)."""
    flat = A.reshape(-1, A.shape[-1])
    return np.asarray((flat @ V @ flat.T).reshape(*A.shape[:2], *A.shape[:2]))


def group_of_kept(spec: Spec, level: Level) -> IntArray:
    """Group of every kept row; each has at least one observation."""
    of_row = np.zeros(len(spec.kept), dtype=np.int64)
    of_row[spec.row] = level.index
    return of_row[spec.kept]
