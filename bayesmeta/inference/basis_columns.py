"""Columns of the basis of a first stage, at the values of an exposure that are wanted."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bayesmeta._typing import FloatArray
from bayesmeta.errors import DataError, SpecError
from bayesmeta.io.arrays import as_numbers


@dataclass(frozen=True, eq=False)
class BasisColumns:
    """A basis of k columns; on_grid: (n, k) its columns at the values that are wanted."""

    basis: Any
    k: int
    grid: FloatArray
    on_grid: FloatArray

    @classmethod
    def of(cls, basis: Any, k: int, grid: FloatArray) -> "BasisColumns":
        if callable(basis):
            empty = cls(basis, k, grid, np.zeros((0, k)))
            return cls(basis, k, grid, empty._evaluated(grid) if len(grid) else np.zeros((0, k)))
        if isinstance(basis, Mapping):
            raise SpecError(
                "basis is a mapping; curves on one grid have one basis\n"
                "  curves of places with bases of their own are drawn one by one, from coefficients.sel(row=[place])"
            )
        columns = as_numbers(basis, "basis", DataError)
        if columns.shape != (len(grid), k):
            raise DataError(
                f"basis has shape {columns.shape}; it must be {(len(grid), k)}, a row for each value of at and a "
                "column for each coefficient"
            )
        if not np.isfinite(columns).all():
            raise DataError("basis has entries that are not finite\n  all of them must be numbers")
        return cls(None, k, grid, columns)

    def at_each(self, x: FloatArray) -> FloatArray:
        """(n, k) columns at values (n,); NaN where these are."""
        if self.basis is None:
            place = [np.flatnonzero(self.grid == value) for value in x]
            if any(len(each) == 0 for each in place):
                raise SpecError("reference must be one of the values of at where basis is an array; or pass a function")
            return self.on_grid[[each[0] for each in place]]
        columns = np.full((len(x), self.k), np.nan)
        known = np.isfinite(x)
        if known.any():
            columns[known] = self._evaluated(x[known])
        return columns

    def _evaluated(self, x: FloatArray) -> FloatArray:
        different, of = np.unique(x, return_inverse=True)
        with np.errstate(all="ignore"):  # what is not finite is refused below
            columns = as_numbers(self.basis(different), "basis", DataError)
        if columns.shape != (len(different), self.k):
            raise DataError(
                f"basis gives an array of shape {columns.shape} for {len(different)} values; it must be "
                f"{(len(different), self.k)}, a column for each coefficient and none for a constant"
            )
        if not np.isfinite(columns).all():
            raise DataError(
                f"basis is not finite at {different[~np.isfinite(columns).all(1)][0]:g}"
                "\n  leave these values out of at=, or change the basis"
            )
        return columns[of.reshape(-1)]
