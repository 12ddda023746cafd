"""Rows to predict for and the tables of predictions, the same for fits and posteriors; checks of their arguments."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr
from scipy.special import ndtri

from bayesmeta import schema
from bayesmeta._typing import BoolArray, FloatArray, IntArray
from bayesmeta._validation import check_name, check_probability
from bayesmeta.columns import as_frame
from bayesmeta.model.spec import Level, Spec


@dataclass(frozen=True)
class Rows:
    """Rows to predict for: those with predictors as a frame; labels of all, and which of all they are."""

    frame: pd.DataFrame
    labels: Sequence[str]
    used: BoolArray

    @classmethod
    def of(cls, spec: Spec) -> "Rows":
        return cls(spec.data.loc[spec.kept], spec.row_labels, spec.kept)

    @classmethod
    def new(cls, newdata: pd.DataFrame | Mapping[str, Any]) -> "Rows":
        if isinstance(newdata, Mapping) and all(np.isscalar(value) for value in newdata.values()):
            newdata = {name: [value] for name, value in newdata.items()}
        frame = as_frame(newdata, "newdata")
        return cls(frame, [str(row) for row in frame.index], np.ones(len(frame), bool))

    def table(self, outcomes: Sequence[str], found: Mapping[str, FloatArray]) -> xr.Dataset:
        """Statistics (n, k) of the rows with predictors as a table over all rows, NaN for the others."""
        coords = {
            schema.ROW: pd.Index(list(self.labels), dtype=object),
            schema.OUTCOME: pd.Index(list(outcomes), dtype=object),
        }
        return table((schema.ROW, schema.OUTCOME), {name: self._all(values) for name, values in found.items()}, coords)

    def _all(self, values: FloatArray) -> FloatArray:
        everywhere = np.full((len(self.used), values.shape[1]), np.nan)
        everywhere[self.used] = values
        return everywhere


def table(dims: tuple[str, str], found: Mapping[str, FloatArray], coords: Mapping[str, pd.Index]) -> xr.Dataset:
    return xr.Dataset({name: (dims, values) for name, values in found.items()}, coords)


def normal(mean: FloatArray, se: FloatArray, z: float) -> dict[str, FloatArray]:
    """Statistics of a normal distribution, z the quantile of the upper end."""
    return {"mean": mean, "se": se, "lower": mean - z * se, "upper": mean + z * se}


def quantile(prob: float) -> float:
    """Normal quantile of the upper end of a central interval."""
    return float(ndtri(0.5 + check_probability(prob) / 2))


def depth(spec: Spec, level: str | None) -> int:
    """Number of levels, from the outer one, whose effects are wanted."""
    known = [each.name for each in spec.levels]
    if level is None:
        return len(known)
    check_name(level, known, "no level", "levels, outer to inner")
    return known.index(level) + 1


def quadratic(X: FloatArray, V: FloatArray) -> FloatArray:
    """(n, k) values of x V x' for designs X (n, k, P)."""
    return np.asarray(np.einsum("nkp,nkp->nk", X @ V, X))


def group_of_kept(spec: Spec, level: Level) -> IntArray:
    """Group of every kept row; each has at least one observation."""
    of_row = np.zeros(len(spec.kept), dtype=np.int64)
    of_row[spec.row] = level.index
    return of_row[spec.kept]
